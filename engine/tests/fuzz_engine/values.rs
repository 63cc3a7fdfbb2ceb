//! Values, times, names and collations: what is read can be written, and reads back as the same.

use bytes::Bytes;
use stoa_engine::pool::collation::Collation;
use stoa_engine::pool::names::{AttrName, GroupName, is_e164, to_e164};
use stoa_engine::pool::value::{Input, Value, parse_time, time_text};
use stoa_fuzz::{Seen, Target};

const TOKENS: [&str; 44] = [
    "T",
    "Z",
    "+14:00",
    "-23:59",
    ".999",
    ".9999999999",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999Z",
    ":60",
    "-02-29",
    "\"",
    "\\u0000",
    "\\ud83d\\ude00",
    "\\ud800",
    "{\"a\":1}",
    "[1,2]",
    "1e308",
    "1E400",
    "-0",
    "-0.0",
    "9007199254740993",
    "18446744073709551616",
    "0.1",
    "1e-7",
    "null",
    "true",
    "FALSE",
    "+4915112345678",
    "(0)",
    "ß",
    "ẞ",
    "İ",
    "ı",
    "ﬀ",
    "Å",
    "\u{301}",
    "\u{345}",
    "\u{ad}",
    "xn--mnchen-3ya",
    "@",
    "münchen.example",
    "。",
    "\u{200d}",
    "custom:",
];

const SEEDS: [&str; 22] = [
    "0ana",
    "1-42",
    "2true",
    "32026-01-01T01:00:00.123456789+01:00",
    r#"4{"b":[1,2.5,1e21],"a":{"x":"é","y":null}}"#,
    "5xyz",
    r#"6["red","Blue","red"]"#,
    r#"6["straße","STRASSE"]"#,
    "7[1,-5,9223372036854775807]",
    "8Ana.López@MÜNCHEN.example",
    "8a@b@xn--mnchen-3ya.example",
    "0+1 (555) 010-9999",
    "0custom:plan",
    "0/staff/admins",
    "30000-01-01T00:00:00Z",
    "39999-12-31T23:59:59.999-00:00",
    r#"4"text""#,
    "4-0",
    "41E400",
    "0ﬁ ǅ \u{345}a",
    "8ẞ@faß.de",
    "2FALSE",
];

const NAMES: [&str; 9] =
    ["custom:s", "custom:n", "custom:b", "custom:t", "custom:j", "custom:raw", "custom:m", "custom:mn", "custom:mail"];

fn run(bytes: &[u8], seen: &mut Seen, schema: &stoa_engine::pool::schema::Schema) {
    let Some((which, rest)) = bytes.split_first() else { return };
    let Some(name) = NAMES.get(usize::from(which.wrapping_sub(b'0'))) else { return };
    let attribute = schema.by_name(name).expect("an attribute");
    let read = |raw: &[u8]| attribute.parse(&Input::Raw(Bytes::copy_from_slice(raw)));
    match read(rest) {
        Ok(value) => {
            seen.note(("value", which));
            seen.count("elements", value.elements().len());
            let mut kept = Vec::new();
            value.encode(&mut kept);
            let again = Value::decode(attribute.ty, attribute.multi, &kept);
            assert_eq!(again.as_ref(), Ok(&value), "another value when kept");
            assert_eq!(read(&value.wire()).as_ref(), Ok(&value), "another value when sent back");
            let sent = attribute.parse(&Input::Json(value.to_json()));
            assert!(
                sent.as_ref() == Ok(&value) || attribute.ty.word() == "json",
                "another value when sent back as JSON"
            );
        }
        Err(invalid) => seen.message(&invalid.to_string()),
    }
    match Value::decode(attribute.ty, attribute.multi, rest) {
        Ok(value) => {
            let mut again = Vec::new();
            value.encode(&mut again);
            assert_eq!(again, rest, "another encoding");
        }
        Err(fault) => seen.note(fault.reason),
    }
    if let Some(ms) = parse_time(rest) {
        assert_eq!(parse_time(&time_text(ms)), Some(ms), "another time");
    }
    let Ok(text) = std::str::from_utf8(rest) else { return };
    for collation in [Collation::Exact, Collation::CaseFold, Collation::Email] {
        let key = collation.key(text);
        assert_eq!(collation.key(&key), key, "the key of a key is another one ({})", collation.word());
        assert!(collation.equal(text, &key) && collation.equal(text, text), "a text differs from its key");
    }
    if let Some(number) = to_e164(text) {
        seen.note("e164");
        assert!(is_e164(&number) && to_e164(&number).as_deref() == Some(&*number));
    }
    seen.note((AttrName::parse(text).is_ok(), GroupName::parse(text).is_ok()));
    if let Ok(name) = AttrName::parse(text) {
        assert_eq!(name.as_str(), text);
    }
}

#[test]
fn fuzz_value() {
    let schema = super::schema();
    let run = |bytes: &[u8], seen: &mut Seen| run(bytes, seen, &schema);
    Target::new("value", run).seeds(SEEDS).tokens(&TOKENS).memory(400, 64 << 10).explore();
}
