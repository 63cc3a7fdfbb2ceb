//! Pools, listings, counts, the change feed, digests and jobs, through the engine.

use std::time::Duration;

use super::client::{Client, Value};
use super::harness::{Running, dev};

async fn with_users(count: usize) -> (Running, Client) {
    let running = Running::start(dev()).await;
    let mut client = running.client().await;
    client.call("POOL.CREATE acme").await.at("id");
    for number in 0..count {
        client.call(&format!("USER.CREATE acme username user{number:03} locale en")).await.at("sub");
    }
    (running, client)
}

#[tokio::test]
async fn pools_tell_about_themselves() {
    let (running, mut client) = with_users(3).await;
    client.call("POOL.CREATE beta").await.at("id");
    assert!(client.call("POOL.CREATE beta").await.error().starts_with("EXISTS"));
    let first = client.call("POOL.LIST LIMIT 1").await;
    assert_eq!(first.at("pools").items()[0].text(), "acme");
    let cursor = first.at("cursor").text();
    assert!(!cursor.contains("acme") && first.at("seq").number() > 0, "{first:?}");
    // What is made between two pages is not shown, and all pages have one Seq.
    client.call("POOL.CREATE alpha").await.at("id");
    let second = client.call(&format!("POOL.LIST LIMIT 1 CURSOR {cursor}")).await;
    assert_eq!((second.at("pools").items()[0].text(), second.at("cursor")), ("beta", &Value::Null));
    assert_eq!(second.at("seq"), first.at("seq"));
    assert!(client.call("POOL.LIST").await.at("seq").number() > first.at("seq").number());
    assert!(client.call("POOL.LIST CURSOR acme").await.error().starts_with("INVALID"));
    assert!(client.call("POOL.LIST MINSEQ 9000000").await.error().starts_with("STALE"));

    let schema = r#"{"attributes":{"custom:plan":{"type":"string","max_len":32}}}"#;
    client.words(&["POOL.ALTER", "acme", "SCHEMA", schema]).await.at("seq");
    client.call("USER.SET acme username=user000 custom:plan gold").await.at("seq");
    assert_eq!(client.call("USER.GET acme username=user000 custom:plan").await.at("custom:plan").text(), "gold");
    assert_eq!(client.call(r#"POOL.CONFIG acme SET own {"a":1}"#).await.at("version").number(), 1);
    assert_eq!(client.call("POOL.CONFIG acme GET own").await.at("json").text(), r#"{"a":1}"#);
    client.call("POOL.CONFIG acme SET other {}").await.at("seq");
    let page = client.call("POOL.CONFIG acme LIST LIMIT 1").await;
    let rest = client.call(&format!("POOL.CONFIG acme LIST LIMIT 1 CURSOR {}", page.at("cursor").text())).await;
    assert_eq!((page.at("names").items()[0].text(), rest.at("names").items()[0].text()), ("other", "own"));
    assert_eq!(client.call("POOL.CONFIG acme DEL own TOKEN d1").await.at("changed").number(), 1);
    let again = client.call("POOL.CONFIG acme DEL own TOKEN d1").await;
    assert_eq!((again.at("changed").number(), again.at("replayed")), (1, &Value::Bool(true)));
    let set = client.call(r#"POOL.CONFIG acme SET own TOKEN s1 {"a":2}"#).await;
    let again = client.call(r#"POOL.CONFIG acme SET own TOKEN s1 {"a":2}"#).await;
    assert_eq!((set.at("seq"), again.at("replayed")), (again.at("seq"), &Value::Bool(true)));
    let other = client.call(r#"POOL.CONFIG acme SET own TOKEN s1 {"a":3}"#).await;
    assert!(other.error().starts_with("CONFLICT"), "{other:?}");
    assert!(client.call(r#"POOL.CONFIG acme SET own IF 7 {"a":2}"#).await.error().starts_with("CONFLICT version="));
    let alter = ["POOL.ALTER", "acme", "TOKEN", "a1", "SCHEMA", r#"{"attributes":{"custom:x":{"type":"string"}}}"#];
    client.words(&alter).await.at("seq");
    assert_eq!(*client.words(&alter).await.at("replayed"), Value::Bool(true));

    assert!(client.call("POOL.DROP beta CONFIRM acme").await.error().starts_with("INVALID"));
    let dropped = client.call("POOL.DROP beta CONFIRM beta").await;
    assert_eq!((dropped.keys(), dropped.at("changed").number()), (vec!["seq", "changed"], 1));
    assert!(client.call("USER.COUNT beta").await.error().starts_with("NOPOOL"));
    running.stop().await;
}

#[tokio::test]
async fn listings_show_one_state_on_all_pages() {
    let (running, mut client) = with_users(25).await;
    let (mut seen, mut line) = (Vec::new(), "USER.LIST acme LIMIT 10".to_string());
    loop {
        let page = client.call(&line).await;
        assert_eq!(page.keys(), ["users", "cursor", "seq"]);
        seen.extend(page.at("users").items().iter().map(|user| user.at("username").text().to_string()));
        if *page.at("cursor") == Value::Null {
            break;
        }
        client.call(&format!("USER.CREATE acme username late{}", seen.len())).await.at("sub");
        line = format!("USER.LIST acme LIMIT 10 CURSOR {}", page.at("cursor").text());
    }
    assert_eq!(seen, (0..25).map(|number| format!("user{number:03}")).collect::<Vec<_>>());
    assert_eq!(client.call("USER.COUNT acme").await.number(), 27);
    let some = client.words(&["USER.COUNT", "acme", "FILTER", "username sw $1", "ARGS", "1", "late"]).await;
    assert_eq!(some.number(), 2);
    let some = client.words(&["USER.LIST", "acme", "FILTER", "username sw \"user00\"", "ATTRS", "username"]).await;
    assert_eq!((some.at("users").items().len(), some.at("users").items()[0].keys()), (10, vec!["username"]));
    assert!(client.call("USER.LIST acme LIMIT 1001").await.error().starts_with("INVALID"));
    assert!(client.call("USER.LIST acme CURSOR bogus").await.error().starts_with("INVALID"));
    assert!(client.words(&["USER.COUNT", "acme", "FILTER", "username sw"]).await.error().starts_with("INVALID"));
    running.stop().await;
}

#[tokio::test]
async fn members_and_groups_are_listed() {
    let (running, mut client) = with_users(5).await;
    client.call("GROUP.CREATE acme red KIND team").await.at("seq");
    client.call("GROUP.CREATE acme blue").await.at("seq");
    client.call("GROUP.ADD acme red username=user001 username=user003").await.at("seq");
    let members = client.call("GROUP.MEMBERS acme red LIMIT 1 ATTRS username").await;
    assert_eq!(members.at("users").items()[0].at("username").text(), "user001");
    assert_ne!(*members.at("cursor"), Value::Null);
    assert_eq!(client.call("USER.GROUPS acme username=user003").await.at("groups").items()[0].text(), "red");
    let groups = client.call("GROUP.LIST acme").await;
    let names: Vec<_> = groups.at("groups").items().iter().map(|group| group.at("name").text()).collect();
    assert_eq!(names, ["blue", "red"]);
    assert_eq!(client.call("GROUP.LIST acme KIND team").await.at("groups").items().len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn one_value_for_many() {
    let (running, mut client) = with_users(4).await;
    let set = client
        .words(&[
            "USER.SETALL",
            "acme",
            "FILTER",
            "username ge \"user002\"",
            "STATUS",
            "RESET_REQUIRED",
            "locale",
            "fr",
        ])
        .await;
    assert_eq!(set.at("changed").number(), 2);
    let user = client.call("USER.GET acme username=user003 status locale").await;
    assert_eq!((user.at("status").text(), user.at("locale").text()), ("RESET_REQUIRED", "fr"));
    running.stop().await;
}

#[tokio::test]
async fn jobs_end_well() {
    let (running, mut client) = with_users(3).await;
    for command in ["POOL.FLUSH", "POOL.COMPACT", "POOL.VERIFY"] {
        let job = client.call(&format!("{command} acme")).await;
        let id = job.at("job").number();
        let mut state = job.at("state").text().to_string();
        for _ in 0..500 {
            if state != "running" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            state = client.call(&format!("JOB.STATUS acme {id}")).await.at("state").text().to_string();
        }
        assert_eq!(state, "done", "{command}");
    }
    assert_eq!(client.call("USER.COUNT acme").await.number(), 3);
    running.stop().await;
}

#[tokio::test]
async fn pools_tell_how_they_are() {
    let (running, mut client) = with_users(3).await;
    let info = client.call("POOL.INFO acme").await;
    assert_eq!(info.keys()[..4], ["id", "state", "state_reason", "users"]);
    assert_eq!((info.at("users").number(), info.at("role").text()), (3, "primary"));
    assert_eq!(info.at("key").at("provider").text(), "local");
    let before = client.call("POOL.KEY acme STATUS").await.at("key_epoch").number();
    assert_eq!(client.call("POOL.KEY acme ROTATE").await.at("key_epoch").number(), before + 1);
    assert_eq!(client.call("USER.COUNT acme").await.number(), 3);
    running.stop().await;
}

#[tokio::test]
async fn changes_are_pulled_and_waited_for() {
    let (running, mut client) = with_users(2).await;
    let changes = client.call("CHANGES acme FROM 1").await;
    let last = changes.items().last().unwrap();
    assert_eq!(last.keys(), ["seq", "time", "ops"]);
    let op = &last.at("ops").items()[0];
    assert!(op.at("attrs").items().iter().any(|name| name.text() == "username"));
    let next = last.at("seq").number() + 1;
    assert_eq!(client.call(&format!("CHANGES acme FROM {next}")).await.items().len(), 0);
    assert_eq!(client.call(&format!("CHANGES acme FROM {next} BLOCK 50")).await.items().len(), 0);
    let mut waiting = running.client().await;
    let waited =
        tokio::spawn(async move { waiting.call(&format!("CHANGES acme FROM {next} BLOCK 20000 VALUES")).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.call("USER.SET acme username=user000 nickname zero").await.at("seq");
    let waited = tokio::time::timeout(Duration::from_secs(5), waited).await.unwrap().unwrap();
    let op = &waited.items()[0].at("ops").items()[0];
    assert_eq!(op.at("values").at("nickname").text(), "zero");
    running.stop().await;
}

#[tokio::test]
async fn digests_of_equal_pools_are_equal() {
    let (running, mut client) = with_users(3).await;
    let root = client.call("MERKLE.ROOT acme").await;
    assert_eq!((root.at("users").number(), root.at("digest").text().len()), (3, 32));
    let nodes = client.call("MERKLE.NODES acme 0 0").await;
    assert_eq!(nodes.at("digests").items()[0], *root.at("digest"));
    assert_eq!(client.call("MERKLE.KEY acme").await.at("key").text().len(), 64);
    client.call("USER.SET acme username=user000 nickname zero").await.at("seq");
    assert_ne!(client.call("MERKLE.ROOT acme").await.at("digest"), root.at("digest"));
    client.call("USER.UNSET acme username=user000 nickname").await.at("seq");
    assert_eq!(client.call("MERKLE.ROOT acme").await.at("digest"), root.at("digest"));
    running.stop().await;
}

/// The cursor of a listing of what one user has is of no use for another user, listing or caller.
#[tokio::test]
async fn cursors_of_small_listings_are_bound_too() {
    let (running, mut client) = with_users(2).await;
    for number in 0..5 {
        client.call(&format!("CRED.PUT acme username=user000 totp t{number} LABEL l{number} s3cret")).await.at("seq");
        client.call(&format!("IDENTITY.LINK acme username=user000 google g{number}")).await.at("seq");
    }
    for (command, key, other) in [("CRED.LIST", "creds", "IDENTITY.LIST"), ("IDENTITY.LIST", "identities", "CRED.LIST")]
    {
        let whole = client.call(&format!("{command} acme username=user000")).await;
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = client.call(&format!("{command} acme username=user000 LIMIT 2 {cursor}")).await;
            assert_eq!(page.at("seq"), whole.at("seq"), "{command}");
            seen.extend(page.at(key).items().to_vec());
            let Value::Text(next) = page.at("cursor") else { break };
            if cursor.is_empty() {
                // Written behind the first page: the others do not show it, and end it all the same.
                client.call("CRED.PUT acme username=user000 totp t9 s3cret").await.at("seq");
                client.call("IDENTITY.LINK acme username=user000 google g9").await.at("seq");
            }
            cursor = format!("CURSOR {next}");
            for line in [
                format!("{command} acme username=user001 {cursor}"),
                format!("{other} acme username=user000 {cursor}"),
                format!("{command} acme username=user000 CURSOR 2"),
            ] {
                assert!(client.call(&line).await.error().starts_with("INVALID"), "{line}");
            }
        }
        assert_eq!(seen, whole.at(key).items(), "{command}");
        for name in ["t9", "g9"] {
            let kind = if name == "t9" {
                "CRED.DEL acme username=user000 totp"
            } else {
                "IDENTITY.UNLINK acme username=user000 google"
            };
            client.call(&format!("{kind} {name}")).await.at("seq");
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn listings_in_a_transaction_see_the_state_before_it() {
    let (running, mut client) = with_users(2).await;
    client.call("GROUP.CREATE acme red").await.at("seq");
    let before = client.call("POOL.INFO acme").await.at("seq").number();
    let lines = [
        "USER.CREATE acme username late",
        "GROUP.ADD acme red username=user000",
        "CRED.PUT acme username=user000 totp t1 s3cret",
        "IDENTITY.LINK acme username=user000 google g1",
        "GROUP.CREATE acme blue",
        "USER.LIST acme",
        "GROUP.LIST acme",
        "GROUP.MEMBERS acme red",
        "USER.GROUPS acme username=user000",
        "CRED.LIST acme username=user000",
        "IDENTITY.LIST acme username=user000",
        "USER.COUNT acme",
    ];
    client.call("MULTI").await;
    for line in lines {
        assert_eq!(client.call(line).await.text(), "QUEUED", "{line}");
    }
    // Another connection writes between MULTI and EXEC: the transaction's reads see that, as its state is of EXEC.
    let replies = client.call("EXEC").await;
    let replies = &replies.items()[5..];
    for (reply, (key, count)) in
        replies.iter().zip([("users", 2), ("groups", 1), ("users", 0), ("groups", 0), ("creds", 0), ("identities", 0)])
    {
        assert_eq!((reply.at(key).items().len(), reply.at("seq").number()), (count, before), "{reply:?}");
    }
    assert_eq!(replies[6].number(), 2);
    client.call("MULTI").await;
    client.call("USER.LIST acme MINSEQ 9000000").await;
    assert!(client.call("EXEC").await.error().starts_with("STALE"));
    running.stop().await;
}

/// Protocol §2: every read takes MINSEQ, every write takes TOKEN, every list LIMIT and CURSOR.
#[test]
fn every_read_and_write_takes_what_all_do() {
    use crate::command::{Flags, Run, table};
    // Facts of the node, not of a state of the pool.
    const NO_STATE: [&str; 7] =
        ["POOL.KEY", "POOL.FLUSH", "POOL.COMPACT", "POOL.VERIFY", "JOB.STATUS", "JOB.LIST", "JOB.CANCEL"];
    // Repeating them is safe by what they are: EXISTS, NOPOOL, and a key that is never changed.
    const BY_NATURE: [&str; 3] = ["POOL.CREATE", "POOL.DROP", "MERKLE.KEY"];
    for entry in table().entries().iter().filter(|entry| entry.command.names_pool) {
        let name = entry.spoken.as_str();
        let takes = |word: &str| entry.command.syntax.contains(word);
        match entry.command.run {
            _ if NO_STATE.contains(&name) || BY_NATURE.contains(&name) => {}
            Run::Write(_) => assert!(takes("[TOKEN token]"), "{name}"),
            Run::Call(..) if entry.command.flags.has(Flags::WRITE) => assert!(takes("[TOKEN token]"), "{name}"),
            Run::Call(..) => assert!(takes("[MINSEQ seq]"), "{name}"),
            _ => {}
        }
        let is_list = name.ends_with(".LIST") || matches!(name, "GROUP.MEMBERS" | "USER.GROUPS");
        assert!(!is_list || name == "JOB.LIST" || takes("[LIMIT n] [CURSOR cursor]"), "{name}");
    }
}

#[tokio::test]
async fn every_read_refuses_a_state_that_is_not_there_yet() {
    let (running, mut client) = with_users(1).await;
    client.call("GROUP.CREATE acme red").await.at("seq");
    for line in [
        "POOL.INFO acme MINSEQ 9000000",
        "POOL.CONFIG acme GET login MINSEQ 9000000",
        "POOL.CONFIG acme LIST MINSEQ 9000000",
        "USER.GET acme username=user000 MINSEQ 9000000",
        "USER.MGET acme MINSEQ 9000000 username=user000",
        "USER.LIST acme MINSEQ 9000000",
        "USER.COUNT acme MINSEQ 9000000",
        "USER.GROUPS acme username=user000 MINSEQ 9000000",
        "CRED.GET acme username=user000 MINSEQ 9000000",
        "CRED.LIST acme username=user000 MINSEQ 9000000",
        "CRED.READ acme username=user000 totp x MINSEQ 9000000",
        "CRED.FIND acme webauthn x MINSEQ 9000000",
        "IDENTITY.FIND acme google x MINSEQ 9000000",
        "IDENTITY.LIST acme username=user000 MINSEQ 9000000",
        "GROUP.GET acme red MINSEQ 9000000",
        "GROUP.LIST acme MINSEQ 9000000",
        "GROUP.MEMBERS acme red MINSEQ 9000000",
        "MERKLE.ROOT acme MINSEQ 9000000",
        "MERKLE.NODES acme 0 MINSEQ 9000000 0",
        "MERKLE.LEAF acme MINSEQ 9000000 0",
    ] {
        let refused = client.call(line).await;
        assert!(refused.error().starts_with("STALE"), "{line}: {refused:?}");
    }
    running.stop().await;
}
