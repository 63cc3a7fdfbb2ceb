//! Authentication and access control.

use std::os::unix::fs::PermissionsExt;

use stoa_engine::{Store, StoreOptions};

use super::harness::{Running, config, dev};
use crate::{FirstSecret, Server, mint_admin};

#[tokio::test]
async fn nothing_runs_before_authentication() {
    let running = Running::start(config()).await;
    let mut client = running.connect().await;
    for line in ["PING", "NOPE", "USER.GET acme login=x", "HELLO 3", "COMMAND", "INFO"] {
        assert!(client.call(line).await.error().starts_with("NOAUTH"), "{line}");
    }
    assert!(client.call("AUTH admin wrong").await.error().starts_with("WRONGPASS"));
    assert!(client.call("HELLO 3 AUTH nobody wrong").await.error().starts_with("WRONGPASS"));
    assert_eq!(client.call(&format!("AUTH admin {}", running.secret())).await.text(), "OK");
    assert_eq!(client.call("ACL WHOAMI").await.text(), "admin");
    assert_eq!(client.call("RESET").await.text(), "RESET");
    assert!(client.call("PING").await.error().starts_with("NOAUTH"));
    running.stop().await;
}

#[tokio::test]
async fn the_first_secret_is_private_and_minted_once() {
    let running = Running::start(config()).await;
    let mode = std::fs::metadata(running.secret_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(running.secret().len(), 64);
    let (file, secret) = (running.secret_file(), running.secret());
    let directory = running.stop().await;
    let store = Store::open(StoreOptions::new(directory.path().join("data"))).unwrap();
    assert_eq!(mint_admin(&store, &file).unwrap(), FirstSecret::Present);
    let running = Running::over(store, directory, config()).await;
    assert_eq!(running.secret(), secret);
    running.admin().await;
    running.stop().await;
}

#[tokio::test]
async fn a_store_without_users_is_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions::new(directory.path().join("data"))).unwrap();
    let refused = Server::bind(config(), store).await.err().unwrap().to_string();
    assert!(refused.contains("no users"), "{refused}");
}

#[tokio::test]
async fn failures_close_the_connection_in_the_end() {
    let running = Running::start(config()).await;
    let mut client = running.connect().await;
    for _ in 0..8 {
        assert!(client.call("AUTH admin wrong").await.error().starts_with("WRONGPASS"));
    }
    assert!(client.try_read().await.is_none());
    let mut admin = running.admin().await;
    let log = admin.call("ACL LOG").await;
    assert_eq!((log.items()[0].at("reason").text(), log.items()[0].at("count").number()), ("auth", 8));
    let audit = admin.call("AUDIT").await;
    assert!(audit.items().iter().any(|entry| entry.at("outcome").text() == "WRONGPASS"));
    running.stop().await;
}

#[tokio::test]
async fn a_user_is_made_limited_changed_and_deleted() {
    let running = Running::start(config()).await;
    let mut admin = running.admin().await;
    assert_eq!(admin.call("ACL SETUSER web on >s3cret +@signin +@read ~acme* &email").await.text(), "OK");
    let refused = admin.call("ACL SETUSER web on nonsense").await;
    assert!(refused.error().starts_with("INVALID rule 2") && !refused.error().contains("nonsense"));

    let mut web = running.connect().await;
    assert_eq!(web.call("AUTH web s3cret").await.text(), "OK");
    assert_eq!(web.call("PING").await.text(), "PONG");
    for line in
        ["POOL.DROP acme CONFIRM acme", "USER.LIST acme", "USER.GET other login=x", "ACL LIST", "CONFIG GET save"]
    {
        assert!(web.call(line).await.error().starts_with("NOPERM"), "{line}");
    }
    // A pool outside the patterns answers the same whether or not it exists; one inside does not.
    assert!(web.call("USER.GET acme login=x").await.error().starts_with("NOPOOL"));

    let lines = admin.call("ACL LIST").await;
    let line = lines.items()[1].text();
    assert!(line.starts_with("user web on !") && line.contains("~acme* &email") && !line.contains("s3cret"), "{line}");
    let user = admin.call("ACL GETUSER web").await;
    assert_eq!(user.keys(), ["flags", "passwords", "commands", "keys", "channels", "selectors"]);
    assert_eq!(admin.call("ACL DRYRUN web USER.GET acme login=x").await.text(), "OK");
    assert!(admin.call("ACL DRYRUN web USER.GET other login=x").await.text().contains("may not"));
    assert_eq!(admin.call("ACL USERS").await.items().len(), 2);

    // Changing a user closes its connections, also in a transaction.
    web.call("MULTI").await;
    admin.call("ACL SETUSER web -@read").await;
    assert!(web.try_read().await.is_none());
    let mut web = running.connect().await;
    web.call("AUTH web s3cret").await;
    assert!(web.call("USER.GET acme login=x").await.error().starts_with("NOPERM"));
    assert_eq!(admin.call("ACL DELUSER web nobody").await.number(), 1);
    assert!(web.try_read().await.is_none());
    let mut web = running.connect().await;
    assert!(web.call("AUTH web s3cret").await.error().starts_with("WRONGPASS"));

    let audit = admin.call("AUDIT").await;
    let commands: Vec<_> = audit.items().iter().map(|entry| entry.at("command").text().to_string()).collect();
    assert!(commands.contains(&"ACL SETUSER".to_string()) && commands.contains(&"ACL DELUSER".to_string()));
    running.stop().await;
}

#[tokio::test]
async fn users_outlive_the_server() {
    let running = Running::start(config()).await;
    running.admin().await.call("ACL SETUSER web on >s3cret +@read ~*").await;
    let directory = running.stop().await;
    let store = Store::open(StoreOptions::new(directory.path().join("data"))).unwrap();
    let running = Running::over(store, directory, config()).await;
    let mut web = running.connect().await;
    assert_eq!(web.call("AUTH web s3cret").await.text(), "OK");
    running.stop().await;
}

#[tokio::test]
async fn a_changed_admin_gets_the_reply_and_loses_the_connection() {
    let running = Running::start(config()).await;
    let mut admin = running.admin().await;
    assert_eq!(admin.call("ACL SETUSER admin >another").await.text(), "OK");
    assert!(admin.try_read().await.is_none());
    running.stop().await;
}

#[tokio::test]
async fn secrets_are_random_and_as_long_as_asked() {
    let running = Running::start(dev()).await;
    let mut client = running.client().await;
    let (one, two) = (client.call("ACL GENPASS").await, client.call("ACL GENPASS").await);
    assert!(one.text().len() == 64 && one != two);
    assert_eq!(client.call("ACL GENPASS 5").await.text().len(), 2);
    assert!(client.call("ACL GENPASS 0").await.error().starts_with("ERR"));
    assert_eq!(client.call("ACL CAT").await.items().len(), 13);
    assert_eq!(client.call("ACL CAT dangerous").await.items()[0].text(), "pool.drop");
    running.stop().await;
}
