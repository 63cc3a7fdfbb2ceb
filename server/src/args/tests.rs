use proptest::prelude::*;
use stoa_engine::pool::request::Input;

use super::*;
use crate::resp::OwnedRequest;

const OPTIONS: &[(&str, Takes)] =
    &[("IF", Takes::Word), ("TOKEN", Takes::Word), ("TAKEALIAS", Takes::Nothing), ("ARGS", Takes::Counted)];

fn request(line: &[&str]) -> OwnedRequest {
    OwnedRequest::of(&line.iter().map(|word| word.as_bytes()).collect::<Vec<_>>())
}

fn pairs(line: &[&str]) -> Result<(Vec<(String, Input)>, bool)> {
    let request = request(line);
    let mut args = Args::new(request.words(), 0);
    let pairs = Pairs::read(&mut args, true)?;
    Ok((pairs.attrs.into_iter().map(|(name, value)| (name.into(), value)).collect(), pairs.secret.is_some()))
}

fn raw(value: &'static str) -> Input {
    Input::Raw(bytes::Bytes::from_static(value.as_bytes()))
}

#[test]
fn options_in_any_order_and_case_each_once() {
    let line = request(&["takealias", "ARGS", "2", "IF", "token", "if", "7", "email", "TOKEN"]);
    let mut args = Args::new(line.words(), 0);
    let options = Options::read(&mut args, OPTIONS).unwrap();
    assert!(options.has("TAKEALIAS") && !options.has("TOKEN"));
    assert_eq!(options.number("IF").unwrap(), Some(7));
    assert_eq!(options.counted("ARGS").unwrap(), ["IF", "token"]);
    assert_eq!(args.left(), 2);

    for wrong in [&["IF"][..], &["IF", "1", "if", "2"], &["ARGS", "3", "a"], &["ARGS", "x"], &["TOKEN"]] {
        let line = request(wrong);
        assert_eq!(Options::read(&mut Args::new(line.words(), 0), OPTIONS).err().unwrap().word(), "INVALID");
    }
}

#[test]
fn numbers_are_below_two_to_the_53() {
    assert_eq!(number(b"9007199254740991", "n").unwrap(), (1 << 53) - 1);
    for wrong in [&b"9007199254740992"[..], b"", b"-1", b"+1", b"1.0", b" 1", b"99999999999999999999"] {
        assert!(number(wrong, "n").is_err());
    }
}

#[test]
fn pairs_and_a_secret_at_the_end() {
    let (attrs, secret) = pairs(&["email", "if", "custom:plan", "password", "PASSWORD", "x"]).unwrap();
    assert_eq!(attrs, [("email".to_string(), raw("if")), ("custom:plan".to_string(), raw("password"))]);
    assert!(secret);
    for wrong in [
        &["email"][..],
        &["email", "a", "email", "b"],
        &["PASSWORD", "x", "email", "a"],
        &["email", "a", "IF", "7"],
        &["Email", "a"],
        &["custom:", "a"],
        &["a", "b", "JSON", "{}"],
        &["JSON", "{}", "a", "b"],
        &["JSON", "[]"],
        &["JSON", r#"{"a":1,"a":2}"#],
        &["JSON", r#"{"sub":"x"}"#],
        &["PASSWORD"],
        &["login", "x"],
    ] {
        assert_eq!(pairs(wrong).err().map(|refusal| refusal.word()), Some("INVALID"), "{wrong:?}");
    }
}

#[test]
fn json_in_place_of_pairs() {
    let (attrs, secret) = pairs(&["json", r#"{"name":"IF","nickname":null,"n":3}"#, "HASH", "$x"]).unwrap();
    assert_eq!(attrs[0], ("name".to_string(), Input::Json("IF".into())));
    assert_eq!(attrs[1], ("nickname".to_string(), Input::Json(serde_json::Value::Null)));
    assert!(secret);
}

#[test]
fn users_and_pools_have_their_form() {
    for (text, good) in
        [("email=a@b", true), ("login=x", true), ("email=", false), ("Email=x", false), ("babs", false), ("=x", false)]
    {
        assert_eq!(Args::new(request(&[text]).words(), 0).user().is_ok(), good, "{text}");
    }
    for (pool, good) in [("acme", true), ("0.a-b_c", true), ("Acme", false), ("-a", false), ("", false)] {
        assert_eq!(is_pool(pool.as_bytes()), good, "{pool}");
    }
}

proptest! {
    #[test]
    fn no_words_panic_and_no_refusal_repeats_them(words in prop::collection::vec("[a-zA-Z0-9:={}\"]{8,20}|IF|JSON|PASSWORD|ARGS|[0-9]", 0..12)) {
        let line: Vec<&str> = words.iter().map(String::as_str).collect();
        let request = request(&line);
        let mut args = Args::new(request.words(), 0);
        let refused = Options::read(&mut args, OPTIONS).err().or_else(|| Pairs::read(&mut args, true).err());
        if let Some(refused) = refused {
            for word in words.iter().filter(|word| word.len() >= 8) {
                prop_assert!(!refused.sentence().contains(word.as_str()));
            }
        }
    }
}
