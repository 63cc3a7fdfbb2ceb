//! Unmodified Redis clients against a real server.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::process::Command;

use stoa_tests::{Server, client, root, run_well};

fn started() -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("DATA"), &[]);
    (dir, server)
}

fn check(mut command: Command) {
    let output = command.output().expect("the client starts");
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{error}");
    println!("{out}");
}

#[test]
fn redis_py_runs_every_command_in_both_protocol_versions() {
    let Some(python) = client("python") else { return };
    let (_dir, server) = started();
    for proto in ["2", "3"] {
        let mut command = Command::new(&python);
        command.arg(root().join("tests/clients/python_client.py")).arg(server.port.to_string()).arg(proto);
        check(command);
    }
    server.stop();
}

#[test]
fn node_redis_and_ioredis_work_unmodified() {
    let Some(node) = client("node") else { return };
    let (_dir, server) = started();
    for proto in ["2", "3"] {
        let mut command = Command::new(&node);
        command.env("STOA_NODE_ENV", root().join("target/test-env/node").canonicalize().unwrap());
        command.arg(root().join("tests/clients/node_client.mjs")).arg(server.port.to_string()).arg(proto);
        check(command);
    }
    server.stop();
}

#[test]
fn redis_cli_shows_help_and_redis_benchmark_drives() {
    if client("redis-cli").is_none() {
        return;
    }
    let (_dir, server) = started();
    server.cli(&["POOL.CREATE", "bench"]);
    server.cli(&["USER.CREATE", "bench", "username", "ana", "email", "ana@example.com"]);
    let mut help = Command::new("redis-cli");
    help.args(["-p", &server.port.to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = help.spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"help USER.GET\n").unwrap();
    let shown = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(shown.contains("USER.GET") && shown.contains("summary"), "{shown}");
    for words in [&["USER.GET", "bench", "username=ana"][..], &["USER.SET", "bench", "username=ana", "nickname", "x"]] {
        let mut bench = Command::new("redis-benchmark");
        bench.args(["-p", &server.port.to_string(), "-c", "10", "-n", "2000", "-q"]).args(words);
        let output = bench.output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).replace('\r', "\n");
        assert!(output.status.success() && shown.contains("requests per second"), "{shown}");
        assert!(!shown.contains("Error"), "{shown}");
    }
    server.stop();
}

#[test]
fn a_second_start_finds_what_the_first_was_told() {
    if client("redis-cli").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    let server = Server::start(&data, &[]);
    server.cli(&["POOL.CREATE", "acme"]);
    server.cli(&["USER.CREATE", "acme", "username", "ana"]);
    server.stop();
    let server = Server::start(&data, &[]);
    assert_eq!(server.cli(&["USER.COUNT", "acme"]), "1");
    server.stop();
    let exported = run_well(&["export", "--pool", "acme", "--format", "scim", "--data", data.to_str().unwrap()]);
    assert!(exported.contains("ana"));
}
