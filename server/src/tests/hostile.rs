//! Every command, with arguments that mean something and arguments that do not: each request gets
//! exactly one reply, the connection lives, and the server goes on.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::client::{Client, Value, encode};
use super::harness::{Running, dev};
use crate::command::{Flags, table};

/// Commands that end the connection, or change what the next reply is.
const LEFT_OUT: [&str; 6] = ["QUIT", "RESET", "CLIENT KILL", "HELLO", "MULTI", "ACL SETUSER"];

/// Words that some command understands, and words that none does.
const WORDS: [&str; 44] = [
    "acme",
    "other",
    "email=a@example.com",
    "login=a",
    "username=u",
    "01890a5d-ac96-774b-bcce-b302099a8057",
    "email",
    "username",
    "custom:plan",
    "x",
    "",
    "0",
    "1",
    "-1",
    "9007199254740993",
    "IF",
    "TOKEN",
    "MINSEQ",
    "FILTER",
    "ARGS",
    "LIMIT",
    "CURSOR",
    "SORT",
    "ATTRS",
    "JSON",
    "{}",
    r#"{"username":"z"}"#,
    "[[[",
    "PASSWORD",
    "HASH",
    "$2b$04$x",
    "SET",
    "GET",
    "LIST",
    "STATUS",
    "FROM",
    "SCHEMA",
    "totp",
    "recovery",
    "red",
    "\u{0}\u{7f}\r\n",
    "GENPASS",
    "ON",
    "username eq \"u\"",
];

async fn answered(client: &mut Client, words: &[&str]) -> Value {
    client.send(&encode(words)).await;
    client.send(&encode(&["ECHO", "behind"])).await;
    let reply = client.try_read().await.unwrap_or_else(|| panic!("{words:?} closed the connection"));
    if let Value::Error(error) = &reply {
        assert!(!error.starts_with("INDOUBT"), "{words:?}: {error}");
    }
    assert_eq!(client.read().await, Value::Text("behind".to_string()), "{words:?} has more than one reply");
    reply
}

#[test]
fn every_command_answers_once_whatever_its_arguments() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (running, mut client) = runtime.block_on(async {
        let running = Running::start(dev()).await;
        let mut client = running.client().await;
        for line in ["POOL.CREATE acme", "USER.CREATE acme username u email a@example.com", "GROUP.CREATE acme red"] {
            answered(&mut client, &line.split(' ').collect::<Vec<_>>()).await.at("seq");
        }
        (running, client)
    });
    let commands: Vec<_> = table()
        .entries()
        .iter()
        .filter(|entry| entry.subcommands.is_empty() && !LEFT_OUT.contains(&entry.spoken.as_str()))
        .filter(|entry| !entry.command.flags.has(Flags::BLOCKS))
        .collect();
    let argument = prop_oneof![4 => prop::sample::select(WORDS.to_vec()).prop_map(str::to_string), 1 => ".{0,12}"];
    let request = (prop::sample::select(commands), any::<bool>(), prop::collection::vec(argument, 0..7));
    let mut runner = TestRunner::new(Config { cases: 1500, failure_persistence: None, ..Config::default() });
    let client = std::cell::RefCell::new(&mut client);
    let outcome = runner.run(&request, |(entry, on_pool, arguments)| {
        let mut words: Vec<&str> = entry.spoken.split(' ').collect();
        if on_pool && entry.command.names_pool {
            words.push("acme");
        }
        words.extend(arguments.iter().map(String::as_str));
        runtime.block_on(answered(&mut client.borrow_mut(), &words));
        Ok(())
    });
    outcome.unwrap();
    runtime.block_on(running.stop());
}
