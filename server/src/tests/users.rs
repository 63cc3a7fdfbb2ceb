//! Users, their credentials, groups and identities, through the engine.

use super::client::{Client, Value, encode};
use super::harness::{Running, config, dev};

async fn with_pool() -> (Running, Client) {
    let running = Running::start(dev()).await;
    let mut client = running.client().await;
    assert_eq!(client.call("POOL.CREATE acme").await.keys(), ["id", "seq"]);
    (running, client)
}

async fn create(client: &mut Client, pairs: &str) -> String {
    let created = client.call(&format!("USER.CREATE acme {pairs}")).await;
    assert_eq!(created.keys(), ["sub", "version", "seq"]);
    created.at("sub").text().to_string()
}

#[tokio::test]
async fn a_user_is_made_read_changed_and_deleted() {
    let (running, mut client) = with_pool().await;
    let sub = create(&mut client, "email babs@example.com given_name Barbara email_verified true").await;
    let user = client.call("USER.GET acme email=BABS@example.com").await;
    assert_eq!(user.keys()[..6], ["sub", "version", "enabled", "status", "created_at", "updated_at"]);
    assert_eq!((user.at("sub").text(), user.at("given_name").text()), (sub.as_str(), "Barbara"));
    assert_eq!(*user.at("email_verified"), Value::Bool(true));
    assert!(user.at("created_at").text().ends_with('Z'));
    let named = client.call(&format!("USER.GET acme {sub} given_name nickname version")).await;
    assert_eq!(named.keys(), ["given_name", "nickname", "version"]);
    assert_eq!((named.at("nickname"), named.at("version")), (&Value::Null, &Value::Number(1)));
    assert_eq!(client.call("USER.GET acme login=babs@example.com").await.at("sub").text(), sub);
    assert_eq!(client.call("USER.GET acme email=nobody@example.com").await, Value::Null);

    let set = client.words(&["USER.SET", "acme", &sub, "IF", "1", "JSON", r#"{"name":"IF","given_name":null}"#]).await;
    assert_eq!(set.at("version").number(), 2);
    let conflict = client.call(&format!("USER.SET acme {sub} IF 1 name x")).await;
    assert!(conflict.error().starts_with("CONFLICT"), "{conflict:?}");
    let user = client.call(&format!("USER.GET acme {sub} name given_name")).await;
    assert_eq!((user.at("name").text(), user.at("given_name")), ("IF", &Value::Null));
    client.call(&format!("USER.UNSET acme {sub} name")).await.at("seq");
    assert!(!client.call(&format!("USER.GET acme {sub}")).await.keys().contains(&"name"));
    let seq = client.call(&format!("USER.DISABLE acme {sub}")).await.at("seq").number();
    assert_eq!(
        *client.call(&format!("USER.GET acme {sub} MINSEQ {seq} enabled")).await.at("enabled"),
        Value::Bool(false)
    );
    assert!(client.call(&format!("USER.GET acme {sub} MINSEQ 9000000")).await.error().starts_with("STALE"));

    let both = client.call(&format!("USER.MGET acme {sub} login=nobody")).await;
    assert_eq!((both.items().len(), &both.items()[1]), (2, &Value::Null));
    assert_eq!(client.call(&format!("USER.DELETE acme {sub}")).await.at("changed").number(), 1);
    assert_eq!(client.call(&format!("USER.DELETE acme {sub}")).await.at("changed").number(), 0);
    assert_eq!(client.call(&format!("USER.GET acme {sub}")).await, Value::Null);
    running.stop().await;
}

#[tokio::test]
async fn refusals_name_the_attribute_and_never_the_value() {
    let (running, mut client) = with_pool().await;
    create(&mut client, "email s3cret@example.com").await;
    let duplicate = client.call("USER.CREATE acme email s3cret@example.com").await;
    assert!(duplicate.error().starts_with("DUPLICATE") && duplicate.error().contains("email"), "{duplicate:?}");
    for (line, word) in [
        ("USER.CREATE acme email s3cret@example.com email b", "INVALID"),
        ("USER.CREATE acme email a name", "INVALID"),
        ("USER.CREATE acme bogus s3cret", "INVALID"),
        ("USER.SET acme s3cret name x", "INVALID"),
        ("USER.SET acme email=s3cret2@example.com name x", "NOUSER"),
        ("USER.GET nope login=s3cret", "NOPOOL"),
        ("USER.CREATE acme name x IF 3", "INVALID"),
        ("CRED.SET acme email=s3cret@example.com HASH s3cret", "INVALID"),
        ("USER.STATUS acme email=s3cret@example.com s3cret", "INVALID"),
    ] {
        let refused = client.call(line).await;
        assert!(refused.error().starts_with(word), "{line}: {refused:?}");
        assert!(!refused.error().contains("s3cret"), "{line}: {refused:?}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_transaction_swaps_an_alias_or_writes_nothing() {
    let (running, mut client) = with_pool().await;
    let one = create(&mut client, "username one").await;
    let two = create(&mut client, "username two").await;
    for line in
        ["MULTI".to_string(), format!("USER.SET acme {one} username two"), format!("USER.GET acme {one} username")]
    {
        client.call(&line).await;
    }
    client.call(&format!("USER.SET acme {two} username one")).await;
    let replies = client.call("EXEC").await;
    assert_eq!(replies.items()[1].at("username").text(), "one", "reads see the state before");
    assert_eq!(replies.items()[0].at("seq"), replies.items()[2].at("seq"));
    assert_eq!(client.call("USER.GET acme username=one").await.at("sub").text(), two);

    client.call("MULTI").await;
    client.call(&format!("USER.SET acme {one} name changed")).await;
    client.call(&format!("USER.SET acme {two} IF 7 name changed")).await;
    client.call("PING").await;
    let refused = client.call("EXEC").await;
    assert!(
        refused.error().starts_with("EXECABORT CONFLICT command 2 of 3 (USER.SET): version=2 expected=7"),
        "{refused:?}"
    );
    assert_eq!(*client.call(&format!("USER.GET acme {one} name")).await.at("name"), Value::Null);
    running.stop().await;
}

#[tokio::test]
async fn a_token_makes_a_write_safe_to_repeat() {
    let (running, mut client) = with_pool().await;
    let first = client.call("USER.CREATE acme TOKEN t1 username one PASSWORD s3cret-one").await;
    let again = client.call("USER.CREATE acme TOKEN t1 username one PASSWORD s3cret-one").await;
    assert_eq!((first.at("sub"), first.at("seq")), (again.at("sub"), again.at("seq")));
    assert_eq!(*again.at("replayed"), Value::Bool(true));
    let other = client.call("USER.CREATE acme TOKEN t1 username two").await;
    assert!(other.error().starts_with("CONFLICT"), "{other:?}");
    // A code is used up once, however often the request is repeated.
    client.call("CRED.PUT acme username=one recovery r1 s3cret-code").await.at("seq");
    let first = client.call("CRED.CONSUME acme username=one recovery s3cret-code TOKEN c1").await;
    let again = client.call("CRED.CONSUME acme username=one recovery s3cret-code TOKEN c1").await;
    assert_eq!((first.at("changed").number(), again.at("changed").number()), (1, 1));
    assert_eq!(*again.at("replayed"), Value::Bool(true));
    running.stop().await;
}

#[tokio::test]
async fn passwords_are_checked_counted_and_changed() {
    let (running, mut client) = with_pool().await;
    let sub = create(&mut client, "username babs PASSWORD correct-horse").await;
    let verdict = client.call("CRED.VERIFY acme username=babs correct-horse").await;
    assert_eq!(
        verdict.keys()[..9],
        ["verified", "matched", "reason", "sub", "status", "scheme", "upgraded", "locked", "locked_until"]
    );
    assert_eq!((verdict.at("verified"), verdict.at("reason")), (&Value::Bool(true), &Value::Null));
    assert_eq!((verdict.at("sub").text(), verdict.at("status").text()), (sub.as_str(), "CONFIRMED"));
    let wrong = client.call("CRED.VERIFY acme username=babs wrong").await;
    assert_eq!((wrong.at("verified"), wrong.at("reason").text()), (&Value::Bool(false), "wrong"));
    let nobody = client.call("CRED.VERIFY acme username=nobody wrong").await;
    assert_eq!((nobody.at("reason").text(), nobody.at("sub")), ("no_user", &Value::Null));

    assert!(
        client.call("CRED.CHANGE acme username=babs correct-horse correct-horse").await.error().starts_with("REUSED")
    );
    let changed = client.call("CRED.CHANGE acme username=babs wrong battery-staple").await;
    assert_eq!(*changed.at("verified"), Value::Bool(false));
    let changed = client.call("CRED.CHANGE acme username=babs correct-horse battery-staple").await;
    assert_eq!(*changed.at("verified"), Value::Bool(true));
    assert_eq!(*client.call("CRED.VERIFY acme username=babs battery-staple").await.at("verified"), Value::Bool(true));
    assert!(client.call("CRED.GET acme username=babs").await.at("hash").text().starts_with("$argon2id$"));

    client.call(&format!("CRED.SET acme {sub} TEMPORARY PASSWORD temporary-1")).await.at("seq");
    let temporary = client.call("CRED.VERIFY acme username=babs temporary-1").await;
    assert_eq!((temporary.at("matched"), temporary.at("reason").text()), (&Value::Bool(true), "change_required"));
    assert_eq!(*temporary.at("verified"), Value::Bool(false));
    let changed = client.call("CRED.CHANGE acme username=babs temporary-1 permanent-1").await;
    assert_eq!((changed.at("verified"), changed.at("status").text()), (&Value::Bool(true), "CONFIRMED"));

    client.call(r#"POOL.CONFIG acme SET password {"min_length":12}"#).await.at("seq");
    assert!(client.call(&format!("CRED.SET acme {sub} PASSWORD short")).await.error().starts_with("WEAK"));
    for _ in 0..5 {
        client.call("CRED.VERIFY acme username=babs wrong").await;
    }
    let locked = client.call("CRED.VERIFY acme username=babs permanent-1").await;
    assert_eq!((locked.at("locked"), locked.at("reason").text()), (&Value::Bool(true), "locked"));
    client.call(&format!("CRED.UNLOCK acme {sub}")).await.at("seq");
    assert_eq!(*client.call("CRED.VERIFY acme username=babs permanent-1").await.at("verified"), Value::Bool(true));
    running.stop().await;
}

#[tokio::test]
async fn a_pools_policy_judges_new_passwords() {
    let (running, mut client) = with_pool().await;
    let sub = create(&mut client, "username barbara email b.jensen@example.com PASSWORD first-one").await;
    let policy = r#"{"min_length":8,"require_numbers":true,"deny":["acme"],"deny_attributes":true,"history":3}"#;
    client.words(&["POOL.CONFIG", "acme", "SET", "password", policy]).await.at("seq");
    for document in [r#"{"min_lenght":8}"#, r#"{"history":99}"#, "[]"] {
        let refused = client.words(&["POOL.CONFIG", "acme", "SET", "password", document]).await;
        assert!(refused.error().starts_with("INVALID password: "), "{refused:?}");
    }
    for (line, word) in [
        (format!("CRED.SET acme {sub} PASSWORD short-1"), "WEAK"),
        (format!("CRED.SET acme {sub} PASSWORD no-number"), "WEAK"),
        (format!("CRED.SET acme {sub} PASSWORD xACMEx-77"), "WEAK"),
        (format!("CRED.SET acme {sub} PASSWORD xBarbara77"), "WEAK"),
        ("USER.CREATE acme username charlotte PASSWORD xCharlotte77".to_string(), "WEAK"),
        // What the user's own names are is told to nobody who does not know the old password.
        ("CRED.CHANGE acme username=barbara first-one xJensen-77".to_string(), "WEAK"),
    ] {
        let refused = client.call(&line).await;
        assert!(refused.error().starts_with(word), "{line}: {refused:?}");
        assert!(!refused.error().to_lowercase().contains("barbara"), "{refused:?}");
    }
    let wrong = client.call("CRED.CHANGE acme username=barbara wrong xJensen-77").await;
    assert_eq!(wrong.at("reason").text(), "wrong");

    client.call(&format!("CRED.SET acme {sub} PASSWORD second-2")).await.at("seq");
    client.call("CRED.CHANGE acme username=barbara second-2 third-33").await.at("seq");
    // Three are looked back on: the third, the second and the first.
    for old in ["first-one1", "second-2", "third-33"] {
        let expected = if old == "first-one1" { None } else { Some("REUSED") };
        let reply = client.call(&format!("CRED.SET acme {sub} PASSWORD {old}")).await;
        match expected {
            Some(word) => assert!(reply.error().starts_with(word), "{old}: {reply:?}"),
            None => drop(reply.at("seq")),
        }
        if expected.is_none() {
            client.call(&format!("CRED.SET acme {sub} PASSWORD third-33")).await.error();
        }
    }
    client.call("MULTI").await;
    client.call(&format!("USER.SET acme {sub} nickname x")).await;
    client.call(&format!("CRED.SET acme {sub} PASSWORD third-33")).await;
    let refused = client.call("EXEC").await;
    assert!(refused.error().starts_with("EXECABORT REUSED command 2 of 2 (CRED.SET): "), "{refused:?}");
    assert_eq!(*client.call(&format!("USER.GET acme {sub} nickname")).await.at("nickname"), Value::Null);
    // An operator's temporary password is not chosen by the user; a hash is taken as it is.
    client.call(&format!("CRED.SET acme {sub} TEMPORARY PASSWORD third-33")).await.at("seq");
    // Far enough back, a password may come again.
    for new in ["fourth-4", "fifth-55", "sixth-66", "third-33"] {
        client.call(&format!("CRED.SET acme {sub} PASSWORD {new}")).await.at("seq");
    }
    running.stop().await;
}

#[tokio::test]
async fn changes_of_many_users_stand_in_the_audit_log() {
    let (running, mut client) = with_pool().await;
    create(&mut client, "username one").await;
    client.call("USER.SETALL acme STATUS RESET_REQUIRED").await.at("changed");
    client.call("USER.SETALL acme STATUS s3cret").await.error();
    let audit = client.call("AUDIT").await;
    let of = audit.items().iter().filter(|entry| entry.at("command").text() == "USER.SETALL");
    let outcomes: Vec<_> = of.map(|entry| (entry.at("pool").text(), entry.at("outcome").text())).collect();
    assert_eq!(outcomes, [("acme", "ok"), ("acme", "INVALID")]);
    running.stop().await;
}

/// The replies of a pipeline come in order, whatever overlaps inside.
#[tokio::test]
async fn pipelined_writes_and_reads_take_effect_in_order() {
    let (running, mut client) = with_pool().await;
    let mut bytes = Vec::new();
    for number in 0..100 {
        bytes.extend(encode(&["USER.CREATE", "acme", "username", &format!("user{number}")]));
        bytes.extend(encode(&["USER.GET", "acme", &format!("username=user{number}"), "username"]));
        bytes.extend(encode(&[
            "USER.SET",
            "acme",
            &format!("username=user{number}"),
            "username",
            &format!("now{number}"),
        ]));
        bytes.extend(encode(&["USER.CREATE", "acme", "username", &format!("user{number}")]));
        bytes.extend(encode(&["USER.DELETE", "acme", &format!("username=user{number}")]));
    }
    client.send(&bytes).await;
    for number in 0..100 {
        client.read().await.at("sub");
        assert_eq!(client.read().await.at("username").text(), format!("user{number}"));
        assert_eq!(client.read().await.at("version").number(), 2);
        client.read().await.at("sub");
        assert_eq!(client.read().await.at("changed").number(), 1);
    }
    running.stop().await;
}

#[tokio::test]
async fn groups_identities_and_factors() {
    let (running, mut client) = with_pool().await;
    let one = create(&mut client, "username one").await;
    let two = create(&mut client, "username two").await;
    let made = client.words(&["GROUP.CREATE", "acme", "team/red", "DESCRIPTION", "The reds", "PRECEDENCE", "-1"]).await;
    made.at("seq");
    assert!(client.call("GROUP.CREATE acme team/red").await.error().starts_with("EXISTS"));
    assert_eq!(client.call(&format!("GROUP.ADD acme team/red {one} {two}")).await.at("changed").number(), 2);
    assert_eq!(client.call(&format!("GROUP.ADD acme team/red {one}")).await.at("changed").number(), 0);
    let group = client.call("GROUP.GET acme team/red").await;
    assert_eq!((group.at("description").text(), group.at("precedence").number()), ("The reds", -1));
    assert!(client.call(&format!("GROUP.ADD acme nope {one}")).await.error().starts_with("NOGROUP"));
    assert_eq!(client.call(&format!("GROUP.REMOVE acme team/red {two}")).await.at("changed").number(), 1);
    assert_eq!(client.call("GROUP.DELETE acme nope").await.at("changed").number(), 0);

    client.call(&format!("IDENTITY.LINK acme {one} google 1234")).await.at("seq");
    assert!(client.call(&format!("IDENTITY.LINK acme {two} google 1234")).await.error().starts_with("DUPLICATE"));
    assert_eq!(client.call("IDENTITY.FIND acme google 1234").await.text(), one);
    assert_eq!(client.call(&format!("IDENTITY.LIST acme {one}")).await.at("identities").items().len(), 1);
    client.call(&format!("IDENTITY.UNLINK acme {one} google 1234")).await.at("seq");
    assert_eq!(client.call("IDENTITY.FIND acme google 1234").await, Value::Null);

    client.words(&["CRED.PUT", "acme", &one, "webauthn", "key-1", "LABEL", "My key", "blob"]).await.at("seq");
    assert_eq!(client.call("CRED.FIND acme webauthn key-1").await.text(), one);
    let list = client.call(&format!("CRED.LIST acme {one}")).await;
    assert_eq!(list.at("creds").items()[0].keys(), ["kind", "id", "label", "created_at"]);
    assert_eq!(client.call(&format!("CRED.READ acme {one} webauthn key-1")).await.at("blob").text(), "blob");
    assert_eq!(client.call(&format!("CRED.DEL acme {one} webauthn key-1")).await.at("changed").number(), 1);
    running.stop().await;
}

#[tokio::test]
async fn attributes_that_are_kept_from_a_user_do_not_show() {
    let running = Running::start(config()).await;
    let mut admin = running.admin().await;
    admin.call("POOL.CREATE acme").await.at("id");
    let sub = create(&mut admin, "username babs email b@example.com name Babs").await;
    admin.call("ACL SETUSER web on >s3cret +@read +@write +@bulk ~acme &username &email").await;
    let mut web = running.connect().await;
    web.call("AUTH web s3cret").await;
    web.call("HELLO 3").await;
    let user = web.call(&format!("USER.GET acme {sub}")).await;
    assert!(user.keys().contains(&"email") && !user.keys().contains(&"name"), "{user:?}");
    for line in [
        format!("USER.GET acme {sub} name"),
        "USER.GET acme phone_number=1".to_string(),
        "USER.GET acme login=babs".to_string(),
        format!("USER.SET acme {sub} name x"),
        format!("USER.UNSET acme {sub} name"),
        "USER.COUNT acme FILTER name_pr".to_string(),
        "USER.LIST acme SORT name".to_string(),
        "USER.CREATE acme username x PASSWORD s3cret-2".to_string(),
    ] {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.iter_mut().filter(|word| **word == "name_pr").for_each(|word| *word = "name pr");
        let refused = web.words(&words).await;
        assert!(refused.error().starts_with("NOPERM"), "{line}: {refused:?}");
    }
    assert_eq!(web.words(&["USER.COUNT", "acme", "FILTER", "email pr"]).await.number(), 1);
    running.stop().await;
}

#[tokio::test]
async fn what_is_stored_outlives_the_server() {
    let running = Running::start(config()).await;
    let mut admin = running.admin().await;
    admin.call("POOL.CREATE acme").await.at("id");
    create(&mut admin, "username babs PASSWORD correct-horse").await;
    drop(admin);
    let directory = running.stop().await;
    let store = stoa_engine::Store::open(stoa_engine::StoreOptions::new(directory.path().join("data"))).unwrap();
    let running = Running::over(store, directory, config()).await;
    let mut admin = running.admin().await;
    assert_eq!(*admin.call("CRED.VERIFY acme login=babs correct-horse").await.at("verified"), Value::Bool(true));
    running.stop().await;
}
