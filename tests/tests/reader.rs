//! A stranger with the specification alone reads what the engine wrote: the Kaitai Struct files are
//! compiled, and an independent Python reader prints the same values as `stoa inspect --reveal`.

use std::process::Command;

use stoa_tests::{Server, client, root, run_well, stoa};

#[test]
fn the_independent_reader_prints_what_inspect_prints() {
    if client("redis-cli").is_none() || client("node").is_none() || client("python").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    let people = dir.path().join("people.ldif");
    run_well(&["sample", "--users", "150", "--seed", "5", "--out", people.to_str().unwrap()]);
    let data_text = data.to_str().unwrap();
    run_well(&["import", "--pool", "acme", "--format", "ldif", people.to_str().unwrap(), "--data", data_text]);
    let server = Server::start(&data, &[]);
    for words in [
        &["USER.CREATE", "acme", "username", "late", "given_name", "Łukasz", "PASSWORD", "a late secret"][..],
        &["GROUP.CREATE", "acme", "late/group", "DESCRIPTION", "made by hand"],
        &["GROUP.ADD", "acme", "late/group", "username=late"],
        &["POOL.FLUSH", "acme"],
        &["USER.SET", "acme", "username=late", "nickname", "after the flush"],
        &["USER.DELETE", "acme", "username=ana.lopez"],
        &["POOL.CREATE", "unflushed"],
        &["USER.CREATE", "unflushed", "username", "only-in-the-log"],
    ] {
        let answer = server.cli(words);
        assert!(!answer.starts_with("ERR"), "{words:?}: {answer}");
    }
    server.stop();
    let output = Command::new(root().join("format-spec/reader/check.sh"))
        .arg(&data)
        .env("STOA", stoa())
        .env("STOA_READER", root().join("target/test-env/reader"))
        .output()
        .expect("check.sh runs");
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{error}");
    println!("{out}");
}
