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
    assert_eq!((first.at("pools").items()[0].text(), first.at("cursor").text()), ("acme", "acme"));
    let second = client.call("POOL.LIST LIMIT 1 CURSOR acme").await;
    assert_eq!((second.at("pools").items()[0].text(), second.at("cursor")), ("beta", &Value::Null));

    let schema = r#"{"attributes":{"custom:plan":{"type":"string","max_len":32}}}"#;
    client.words(&["POOL.ALTER", "acme", "SCHEMA", schema]).await.at("seq");
    client.call("USER.SET acme username=user000 custom:plan gold").await.at("seq");
    assert_eq!(client.call("USER.GET acme username=user000 custom:plan").await.at("custom:plan").text(), "gold");
    assert_eq!(client.call(r#"POOL.CONFIG acme SET own {"a":1}"#).await.at("version").number(), 1);
    assert_eq!(client.call("POOL.CONFIG acme GET own").await.at("json").text(), r#"{"a":1}"#);
    assert_eq!(client.call("POOL.CONFIG acme LIST").await.at("names").items().len(), 1);
    assert_eq!(client.call("POOL.CONFIG acme DEL own").await.at("changed").number(), 1);

    assert!(client.call("POOL.DROP beta CONFIRM acme").await.error().starts_with("INVALID"));
    assert_eq!(client.call("POOL.DROP beta CONFIRM beta").await.at("changed").number(), 1);
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
