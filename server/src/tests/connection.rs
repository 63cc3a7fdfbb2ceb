//! Words that concern the connection, and how requests and replies keep their order.

use super::client::encode;
use super::harness::{Running, dev};

#[tokio::test]
async fn hello_chooses_the_protocol() {
    let running = Running::start(dev()).await;
    let mut client = running.connect().await;
    let hello = client.call("HELLO").await;
    assert_eq!((hello.at("server").text(), hello.at("proto").number()), ("stoa", 2));
    assert_eq!(client.call("CLIENT GETNAME").await, super::client::Value::Null);
    let hello = client.call("HELLO 3 SETNAME web").await;
    assert_eq!(hello.keys(), ["server", "version", "proto", "id", "mode", "role", "modules"]);
    assert_eq!(client.call("CLIENT GETNAME").await.text(), "web");
    assert!(client.call("HELLO 4").await.error().starts_with("NOPROTO"));
    assert!(client.call("HELLO 3 BOGUS").await.error().starts_with("ERR"));
    assert!(client.words(&["CLIENT", "SETNAME", "a b"]).await.error().starts_with("ERR"));
    assert_eq!(client.call("RESET").await.text(), "RESET");
    assert_eq!(client.call("CLIENT GETNAME").await, super::client::Value::Null);
    assert_eq!(client.call("QUIT").await.text(), "OK");
    assert!(client.try_read().await.is_none());
    running.stop().await;
}

#[tokio::test]
async fn errors_use_redis_words_and_repeat_no_argument() {
    let running = Running::start(dev()).await;
    let mut client = running.client().await;
    for (line, expected) in [
        ("CRED.VERFY acme s3cret", "ERR unknown command 'CRED.VERFY'"),
        ("GET", "ERR unknown command 'GET'"),
        ("s3cret=\u{7f} x", "ERR unknown command"),
        ("PING a b", "ERR wrong number of arguments for 'ping' command"),
        ("CLIENT s3cret", "ERR unknown subcommand. Try CLIENT HELP."),
        ("CLIENT", "ERR wrong number of arguments for 'client' command"),
        ("SELECT 1", "ERR DB index is out of range"),
        ("WATCH a", "ERR WATCH is not offered: use IF version in the commands of the transaction"),
    ] {
        assert_eq!(client.call(line).await.error(), expected);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_pipeline_is_answered_in_order_however_it_arrives() {
    let running = Running::start(dev()).await;
    let mut client = running.client().await;
    let bytes: Vec<u8> = (0..500).flat_map(|number| encode(&["ECHO", &number.to_string()])).collect();
    for piece in bytes.chunks(997) {
        client.send(piece).await;
    }
    for number in 0..500 {
        assert_eq!(client.read().await.text(), number.to_string());
    }
    running.stop().await;
}

/// A client may send all its requests before it reads the first reply.
#[tokio::test]
async fn a_whole_pipeline_is_taken_before_a_reply_is_read() {
    let running = Running::start(dev()).await;
    let mut client = running.client().await;
    let word = "x".repeat(100_000);
    let request = encode(&["ECHO", &word]);
    // Twelve megabytes: far more than the sockets hold.
    for _ in 0..120 {
        tokio::time::timeout(std::time::Duration::from_secs(20), client.send(&request)).await.unwrap();
    }
    for _ in 0..120 {
        assert_eq!(client.read().await.text().len(), word.len());
    }
    running.stop().await;
}

#[tokio::test]
async fn inline_commands_work_for_a_person() {
    let running = Running::start(dev()).await;
    let mut client = running.connect().await;
    client.send(b"ping\r\n\r\necho \"a b\"\n").await;
    assert_eq!(client.read().await.text(), "PONG");
    assert_eq!(client.read().await.text(), "a b");
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nping\r\n").await;
    assert_eq!(client.read().await.error(), "ERR Protocol error");
    assert!(client.try_read().await.is_none());
    running.stop().await;
}

/// As `printf … | nc` does.
#[tokio::test]
async fn what_was_sent_before_the_end_is_answered() {
    let running = Running::start(dev()).await;
    let mut client = running.connect().await;
    let mut bytes = encode(&["POOL.CREATE", "acme"]);
    bytes.extend(encode(&["USER.CREATE", "acme", "username", "babs"]));
    bytes.extend(encode(&["USER.COUNT", "acme"]));
    client.send(&bytes).await;
    client.end().await;
    client.read().await.at("id");
    client.read().await.at("sub");
    assert_eq!(client.read().await.number(), 1);
    assert!(client.try_read().await.is_none());
    running.stop().await;
}

#[tokio::test]
async fn transactions_queue_and_abort() {
    let running = Running::start(dev()).await;
    let mut client = running.client().await;
    assert!(client.call("EXEC").await.error().starts_with("ERR EXEC without MULTI"));
    assert!(client.call("DISCARD").await.error().starts_with("ERR"));
    client.call("MULTI").await;
    assert!(client.call("MULTI").await.error().contains("nested"));
    assert_eq!(client.call("PING").await.text(), "QUEUED");
    assert_eq!(client.call("ECHO hi").await.text(), "QUEUED");
    let replies = client.call("EXEC").await;
    assert_eq!((replies.items()[0].text(), replies.items()[1].text()), ("PONG", "hi"));
    client.call("MULTI").await;
    assert_eq!(client.call("EXEC").await.items().len(), 0);

    for refused in ["NOPE", "PING a b", "CRED.VERIFY acme login=a b", "POOL.CREATE acme", "CHANGES acme FROM 1"] {
        client.call("MULTI").await;
        client.call(refused).await.error();
        client.call("PING").await;
        assert_eq!(client.call("EXEC").await.error(), "EXECABORT Transaction discarded because of previous errors.");
    }
    client.call("MULTI").await;
    assert_eq!(client.call("USER.GET acme login=a").await.text(), "QUEUED");
    assert!(client.call("USER.GET other login=a").await.error().starts_with("CROSSPOOL"));
    assert!(client.call("EXEC").await.error().starts_with("EXECABORT"));
    client.call("MULTI").await;
    client.call("PING").await;
    assert_eq!(client.call("DISCARD").await.text(), "OK");
    assert_eq!(client.call("PING").await.text(), "PONG");
    running.stop().await;
}

#[tokio::test]
async fn what_clients_ask_when_they_connect() {
    let running = Running::start(dev()).await;
    let mut client = running.client().await;
    assert_eq!(client.call("CLIENT SETINFO LIB-NAME redis-py").await.text(), "OK");
    assert_eq!(client.call("CLIENT SETINFO LIB-VER 8").await.text(), "OK");
    assert!(client.call("CLIENT MAINT_NOTIFICATIONS ON").await.error().starts_with("ERR"));
    let info = client.call("INFO").await;
    for line in ["redis_version:7.2.0", "stoa_version:", "loading:0", "# Replication", "role:master"] {
        assert!(info.text().contains(line), "{line}");
    }
    assert!(!client.call("INFO server").await.text().contains("# Memory"));
    let settings = client.call("CONFIG GET save appendonly max*").await;
    assert_eq!((settings.at("save").text(), settings.at("appendonly").text()), ("", "yes"));
    assert_eq!(settings.at("maxclients").text(), "10000");
    assert_eq!(client.call("ROLE").await.items()[0].text(), "master");
    assert_eq!(client.call("WAIT 0 100").await.number(), 0);
    assert!(client.call("CLUSTER INFO").await.text().contains("cluster_state:ok"));
    let slots = client.call("CLUSTER SLOTS").await;
    let node = slots.items()[0].items();
    assert_eq!((node[0].number(), node[1].number()), (0, 16_383));
    assert_eq!(node[2].items()[1].number(), i64::from(running.addresses.plain[0].port()));
    assert_eq!(node[2].items()[2].text(), client.call("CLUSTER MYID").await.text());
    assert!(client.call("CLIENT LIST").await.text().contains("lib-name=redis-py lib-ver=8"));
    running.stop().await;
}

#[tokio::test]
async fn commands_describe_themselves() {
    let running = Running::start(dev()).await;
    let mut client = running.client().await;
    let all = client.call("COMMAND").await;
    assert_eq!(all.items().len() as i64, client.call("COMMAND COUNT").await.number());
    let get = &client.call("COMMAND INFO user.get nope").await;
    assert_eq!(get.items()[1], super::client::Value::Null);
    let get = get.items()[0].items();
    assert_eq!((get[0].text(), get[1].number(), get[3].number()), ("user.get", -3, 1));
    let docs = client.call("COMMAND DOCS USER.GET").await;
    let docs = docs.at("user.get");
    assert_eq!(docs.at("group").text(), "read");
    let arguments = docs.at("arguments").items();
    assert_eq!((arguments[0].at("type").text(), arguments[2].at("token").text()), ("key", "MINSEQ"));
    assert_eq!(client.call("COMMAND GETKEYS USER.GET acme login=x").await.items()[0].text(), "acme");
    assert!(client.call("COMMAND GETKEYS PING").await.error().contains("no key arguments"));
    let signin = client.call("COMMAND LIST FILTERBY ACLCAT signin").await;
    assert_eq!(signin.items().len(), 3);
    assert!(client.call("CLIENT HELP").await.items().len() > 5);
    running.stop().await;
}
