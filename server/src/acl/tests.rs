use super::*;
use crate::command::table;

fn actor(rules: &[&str]) -> Actor {
    let mut actor = Actor::new("web");
    for rule in rules {
        actor.apply(rule.as_bytes()).unwrap_or_else(|reason| panic!("{rule} {reason}"));
    }
    actor
}

fn may(actor: &Actor, command: &str, pool: &str) -> bool {
    actor.check(table().named(command.as_bytes()).unwrap(), Some(pool.as_bytes())).is_ok()
}

#[test]
fn a_sign_in_tier_needs_two_rules() {
    let web = actor(&["on", "+@signin", "~acme"]);
    assert!(may(&web, "CRED.VERIFY", "acme"));
    for (command, pool) in [("CRED.VERIFY", "acme2"), ("CRED.GET", "acme"), ("USER.GET", "acme"), ("POOL.DROP", "acme")]
    {
        assert!(!may(&web, command, pool), "{command} {pool}");
    }
    assert!(web.may_run(table().named(b"ping").unwrap()), "every new user may do what connections do");
}

#[test]
fn the_later_rule_wins() {
    let web = actor(&["+@all", "-@dangerous", "-client|kill", "~*"]);
    assert!(!may(&web, "POOL.DROP", "a") && !may(&web, "CLIENT|KILL", "a") && may(&web, "CLIENT|LIST", "a"));
    let web = actor(&["-client|kill", "+@all", "~*"]);
    assert!(may(&web, "CLIENT|KILL", "a"));
}

#[test]
fn reading_patterns_do_not_allow_writing() {
    let web = actor(&["+@all", "%R~acme*", "%W~log"]);
    assert!(may(&web, "USER.GET", "acme-2") && !may(&web, "USER.SET", "acme-2"));
    assert!(may(&web, "USER.SET", "log") && !may(&web, "USER.GET", "log"));
    assert!(!may(&web, "CRED.VERIFY", "acme"), "a check of a password counts failures");
}

#[test]
fn attributes_are_open_until_a_pattern_narrows_them() {
    assert!(actor(&[]).may_see("email"));
    let web = actor(&["&email*", "&custom:*"]);
    assert!(web.may_see("email_verified") && web.may_see("custom:plan") && !web.may_see("name"));
    assert!(!actor(&["resetattrs"]).may_see("email"));
    assert!(actor(&["&email", "&*"]).may_see("name"));
}

#[test]
fn secrets_are_added_and_removed() {
    let mut web = actor(&[">one", ">two", ">two"]);
    assert!(web.has_secret(b"one") && web.has_secret(b"two") && !web.has_secret(b"three"));
    assert_eq!(web.secrets.len(), 2);
    web.apply(b"<one").unwrap();
    assert!(!web.has_secret(b"one") && web.apply(b"<one").is_err());
    let name = format!("!{}", web.fingerprints()[0]);
    web.apply(name.as_bytes()).unwrap();
    assert!(web.secrets.is_empty());
    for wrong in ["nopass", ">", "bogus", "+nope", "+@nope", "~", "%X~a", "%Ra", "&", "+"] {
        let reason = web.apply(wrong.as_bytes()).unwrap_err();
        assert!(!reason.contains("nope") && !reason.contains("bogus"));
    }
}

#[test]
fn a_stored_user_comes_back_the_same() {
    let web = actor(&["on", ">s", "+@read", "-user.mget", "+@signin", "%R~a*", "~b", "&email", "&custom:*"]);
    let users = [(web.name().clone(), Arc::new(web))].into();
    let again = document::decode(&document::encode(&users)).unwrap();
    let (before, after) = (&users["web"], &again["web"]);
    assert_eq!(before.rules(), after.rules());
    assert!(after.has_secret(b"s") && after.is_enabled());
    assert_eq!(document::encode(&again), document::encode(&users));
    assert!(document::decode(br#"{"format":9,"users":[]}"#).err().unwrap().contains("format 9"));
    let unknown = br#"{"format":1,"users":[{"name":"x","rules":["+@new"],"secrets":[]}]}"#;
    assert!(document::decode(unknown).err().unwrap().contains("user x"));
}

#[test]
fn equal_refusals_are_counted_together() {
    let log = RefusedLog::default();
    let entry = |object: &str, at| Refused {
        count: 1,
        reason: "command",
        in_multi: false,
        object: object.into(),
        user: "web".into(),
        address: "".into(),
        id: 0,
        created_ms: at,
        updated_ms: at,
    };
    log.add(entry("a", 1000));
    log.add(entry("a", 2000));
    log.add(entry("b", 3000));
    log.add(entry("a", 90_000));
    let newest: Vec<_> = log.newest(10).iter().map(|entry| (entry.object.to_string(), entry.count)).collect();
    assert_eq!(newest, [("a".to_string(), 1), ("b".to_string(), 1), ("a".to_string(), 2)]);
    log.reset();
    assert!(log.newest(10).is_empty());
}

/// What is read of the stored users is written as what reads the same, whatever stands there.
#[test]
fn fuzz_acl() {
    let mut users = std::collections::BTreeMap::new();
    let mut web = actor(&["on", "+@signin", "-cred.get", "~acme", "%R~other-*", ">a secret of some length"]);
    web.secrets.truncate(1);
    users.insert(web.name().clone(), std::sync::Arc::new(web));
    users.insert("admin".into(), std::sync::Arc::new(Actor::unlimited("admin")));
    let seed = document::encode(&users);
    let tokens = [
        "\"format\"",
        "\"users\"",
        "\"name\"",
        "\"rules\"",
        "\"secrets\"",
        "\"key\"",
        "\"hash\"",
        "\"+@all\"",
        "\"-@dangerous\"",
        "\"allpools\"",
        "\"resetpools\"",
        "\"nocommands\"",
        "\"on\"",
        "\"off\"",
        "\"~*\"",
        "\"&*\"",
        "\"@email\"",
        "\"nopass\"",
        "\"+user.get\"",
        "\"[a-\"",
        "\\u0000",
        "null",
    ];
    stoa_fuzz::Target::new("acl", |bytes, seen| match document::decode(bytes) {
        Ok(users) => {
            seen.count("users", users.len());
            users.values().flat_map(|actor| actor.rules()).for_each(|rule| seen.message(&rule));
            let kept = document::encode(&users);
            let again = document::decode(&kept).unwrap_or_else(|error| panic!("what was kept is refused: {error}"));
            assert_eq!(document::encode(&again), kept, "another document");
            for (one, other) in users.values().zip(again.values()) {
                for command in ["CRED.VERIFY", "USER.GET", "POOL.DROP", "ACL SETUSER"] {
                    let Some(entry) = table().named(command.as_bytes()) else { continue };
                    assert_eq!(one.check(entry, Some(b"acme")).is_ok(), other.check(entry, Some(b"acme")).is_ok());
                }
                assert_eq!(one.may_see("email"), other.may_see("email"));
            }
        }
        Err(error) => seen.message(&error),
    })
    .seeds([seed.to_vec()])
    .tokens(&tokens)
    .memory(400, 256 << 10)
    .explore();
}
