//! What a newcomer and an operator meet: one clear line each, exit 1, nothing changed.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::path::Path;
use std::process::{Command, Stdio};

use stoa_tests::{Server, run, stoa};

fn error_of(args: &[&str]) -> String {
    let output = run(args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
    error
}

/// The refusal of `stoa serve`; it must end by itself, with status 1, saying one thing.
fn serve_error(data: &Path, more: &[&str]) -> String {
    let output = Command::new(stoa())
        .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--data"])
        .arg(data)
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().filter(|line| line.starts_with("stoa: ")).count(), 1, "{error}");
    error
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                // The lock file holds the pid of whoever tried last to take it.
                false if path.ends_with("LOCK") => {}
                false => out.push((path.display().to_string(), std::fs::read(&path).unwrap())),
            }
        }
    }
    out.sort();
    out
}

fn store(dir: &Path) -> std::path::PathBuf {
    let data = dir.join("DATA");
    Server::start(&data, &[]).stop();
    data
}

#[test]
fn a_directory_in_use_names_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    let server = Server::start(&data, &[]);
    let error = serve_error(&data, &[]);
    assert!(error.contains(&format!("in use by pid {}", server.pid())), "{error}");
    server.stop();
}

#[test]
fn a_port_in_use_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let output = Command::new(stoa())
        .args(["serve", "--dev", "--metrics", "127.0.0.1:0", "--listen", &address, "--data"])
        .arg(dir.path().join("DATA"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("in use"), "{error}");
}

#[test]
fn a_missing_key_file_is_never_minted_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = store(dir.path());
    std::fs::rename(dir.path().join("DATA.key"), dir.path().join("kept")).unwrap();
    let before = files(&data);
    let error = serve_error(&data, &[]);
    assert!(error.contains("no key file"), "{error}");
    assert_eq!(files(&data), before);
    assert!(!dir.path().join("DATA.key").exists());
    std::fs::rename(dir.path().join("kept"), dir.path().join("DATA.key")).unwrap();
    Server::start(&data, &[]).stop();
}

#[test]
fn a_store_of_a_newer_format_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = store(dir.path());
    let path = data.join("STORE");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 9;
    let covered = bytes.len() - 4;
    let sum = crc32fast::hash(&bytes[..covered]);
    bytes[covered..].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let before = files(&data);
    let error = serve_error(&data, &[]);
    assert!(error.contains("store is format 9"), "{error}");
    assert_eq!(files(&data), before);
}

#[test]
fn a_damaged_store_is_told_of_with_file_and_place() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    let server = Server::start(&data, &[]);
    for pool in ["acme", "other"] {
        assert!(!server.cli(&["POOL.CREATE", pool]).is_empty());
        assert!(server.cli(&["USER.CREATE", pool, "username", "ana"]).contains("version"));
        server.cli(&["POOL.FLUSH", pool]);
    }
    let found = || files(&data).into_iter().map(|(path, _)| path).filter(|path| path.ends_with(".run"));
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while found().count() < 2 && std::time::Instant::now() < patience {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    server.stop();
    let verify = |more: &[&str]| {
        let output = run(&[&["verify", data.to_str().unwrap()], more].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(verify(&["--keys"]).0, Some(0), "{}", verify(&["--keys"]).1);
    let flip = |path: &str, at: usize| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 0x20;
        std::fs::write(path, bytes).unwrap();
    };
    let file = found().next().unwrap();
    let name = file.strip_prefix(data.to_str().unwrap()).unwrap().trim_start_matches('/');
    // The first page begins behind the header of 128 bytes.
    flip(&file, 150);
    for more in [&[][..], &["--keys"]] {
        let (code, told) = verify(more);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains(&format!("file {name} offset 128 ")), "{told}");
    }
    let server = Server::start(&data, &[]);
    let answers = ["acme", "other"].map(|pool| server.cli(&["USER.GET", pool, "username=ana"]));
    let damaged: Vec<_> = answers.iter().filter(|answer| answer.starts_with("DAMAGED")).collect();
    let place = format!("{} page 0 (offset 128)", &name[name.find("flush/").unwrap()..]);
    assert!(damaged.len() == 1 && damaged[0].contains(&place), "{answers:?}");
    assert!(answers.iter().any(|answer| answer.contains("version")), "{answers:?}");
    server.stop();
    flip(&file, 150);
    // The log's first frame.
    let segment = data.join("wal/0000000000000001.wal");
    flip(segment.to_str().unwrap(), 4096 + 60);
    let (code, told) = verify(&[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("file wal/0000000000000001.wal offset 4096 "), "{told}");
    let error = serve_error(&data, &[]);
    assert!(error.contains("wal/0000000000000001.wal offset 4096"), "{error}");
}

#[test]
fn a_wrong_passphrase_is_told_from_damage() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    let (right, wrong) = (dir.path().join("right"), dir.path().join("wrong"));
    std::fs::write(&right, "correct horse battery staple\n").unwrap();
    std::fs::write(&wrong, "incorrect\n").unwrap();
    Server::start(&data, &["--passphrase-file", right.to_str().unwrap()]).stop();
    let before = files(&data);
    let error = serve_error(&data, &["--passphrase-file", wrong.to_str().unwrap()]);
    assert!(error.contains("wrong passphrase"), "{error}");
    let error = serve_error(&data, &[]);
    assert!(error.contains("needs its passphrase"), "{error}");
    assert_eq!(files(&data), before);
    Server::start(&data, &["--passphrase-file", right.to_str().unwrap()]).stop();
}

#[test]
fn a_directory_that_holds_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("letter.txt"), "dear").unwrap();
    let error = serve_error(&data, &[]);
    assert!(error.contains("not empty"), "{error}");
    assert_eq!(files(&data).len(), 1);
    assert!(!dir.path().join("DATA.key").exists());
}

#[test]
fn a_typo_is_wrong_usage_and_a_missing_store_is_an_error() {
    for args in [&["srve"][..], &["import", "--pool"], &["export", "--format", "nonsense"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("NONE");
    let error = error_of(&["export", "--pool", "p", "--format", "ldif", "--data", data.to_str().unwrap()]);
    assert!(error.contains("holds no store"), "{error}");
    assert!(!data.exists());
}

/// A file system of its own; `None`, and a line that says so, where that takes rights that are not there.
struct Mount(std::path::PathBuf);

impl Mount {
    fn tmpfs(dir: &Path, name: &str, options: &str) -> Option<Self> {
        let place = dir.join(name);
        std::fs::create_dir(&place).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&place).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: a file system of its own cannot be mounted here");
            return None;
        }
        Some(Self(place))
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_read_only_directory_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::tmpfs(dir.path(), "mount", "size=32m") else { return };
    let data = store(&mount.0);
    mount.remount("ro");
    let before = files(&mount.0);
    for more in [&[][..], &["--listen", "127.0.0.1:0"]] {
        let error = serve_error(&data, more);
        assert!(error.contains("is on a read-only file system; nothing was changed"), "{error}");
    }
    // It is read all the same.
    let data_text = data.to_str().unwrap();
    assert!(run(&["verify", data_text, "--keys"]).status.success());
    assert_eq!(files(&mount.0), before);
    mount.remount("rw");
    Server::start(&data, &[]).stop();
    // An empty one gets no key beside it.
    let Some(empty) = Mount::tmpfs(dir.path(), "EMPTY", "size=1m,ro") else { return };
    let error = serve_error(&empty.0, &[]);
    assert!(error.contains("is on a read-only file system; nothing was changed"), "{error}");
    assert!(!dir.path().join("EMPTY.key").exists());
}

#[test]
fn on_a_full_disk_users_can_be_deleted_and_writes_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::tmpfs(dir.path(), "small", "size=48m") else { return };
    // The key and the server's own log stand beside it, on the other disk.
    let data = mount.0.clone();
    let ballast = data.join("ballast");
    let note = "n".repeat(1900);
    let create = |server: &Server, name: &str| {
        server.cli(&["USER.CREATE", "acme", "username", name, "profile", &note, "address", &note])
    };
    let mut server = Server::start(&data, &[]);
    assert!(!server.cli(&["POOL.CREATE", "acme"]).is_empty());
    assert!(create(&server, "first").contains("version"));
    // Somebody else fills the disk: all but a little is gone.
    let free = |path: &Path| {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(path).output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().last().unwrap().trim().parse::<usize>().unwrap()
    };
    std::fs::write(&ballast, vec![7; free(&mount.0) - (1 << 20)]).unwrap();
    let mut count = 0;
    let refusal = loop {
        let answer = create(&server, &format!("user{count}"));
        if !answer.contains("version") {
            break answer;
        }
        count += 1;
        assert!(count < 20_000, "the disk is never full");
    };
    assert!(refusal.contains("NOSPACE") && refusal.contains("reserve released"), "{refusal}");
    assert!(refusal.contains("only deletes and compaction run"), "{refusal}");
    assert!(refusal.contains("or raise the volume"), "{refusal}");
    let delete = |server: &Server, name: &str| {
        let answer = server.cli(&["USER.DELETE", "acme", &format!("username={name}")]);
        assert!(answer.contains("changed"), "{answer}");
    };
    let count_users = |server: &Server| server.cli(&["USER.COUNT", "acme"]);
    (0..10).for_each(|i| delete(&server, &format!("user{i}")));
    assert!(create(&server, "late").contains("NOSPACE"));
    assert!(server.cli(&["USER.GET", "acme", "username=first"]).contains("first"));
    for turn in 0..3 {
        server.kill();
        server = Server::start(&data, &[]);
        assert_eq!(count_users(&server), (count - 10 * (turn + 1) + 1).to_string());
        assert!(create(&server, "late").contains("NOSPACE"));
        (0..10).for_each(|i| delete(&server, &format!("user{}", 10 * (turn + 1) + i)));
        let flush = server.cli(&["POOL.FLUSH", "acme"]);
        assert!(flush.contains("state"), "{flush}");
    }
    // Room is made, and writes come back without a restart.
    std::fs::remove_file(&ballast).unwrap();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !create(&server, "late").contains("version") {
        assert!(std::time::Instant::now() < patience, "{}", create(&server, "late"));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(count_users(&server), (count - 40 + 2).to_string());
    assert_eq!(std::fs::metadata(data.join("RESERVE")).unwrap().len(), 4 << 20);
    server.stop();
    let verified = run(&["verify", data.to_str().unwrap(), "--keys"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn a_full_disk_refuses_writes_and_still_opens() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::tmpfs(dir.path(), "small", "size=14m") else { return };
    let small = mount.0.clone();
    let data = small.join("DATA");
    let data_text = data.to_str().unwrap();
    let people = |users: &str, name: &str| {
        let path = dir.path().join(name);
        assert!(run(&["sample", "--users", users, "--out", path.to_str().unwrap()]).status.success());
        path.display().to_string()
    };
    let (few, many) = (people("100", "few.ldif"), people("60000", "many.ldif"));
    let import =
        |pool: &str, file: &str| run(&["import", "--pool", pool, "--format", "ldif", file, "--data", data_text]);
    let before = import("before", &few);
    let refused = import("after", &many);
    let export = run(&["export", "--pool", "before", "--format", "scim", "--data", data_text]);
    drop(mount);
    assert!(before.status.success());
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(error.contains("NOSPACE"), "{error}");
    let error = String::from_utf8_lossy(&export.stderr).into_owned();
    assert!(export.status.success(), "what was there before is still read: {error}");
    assert_eq!(String::from_utf8_lossy(&export.stdout).matches("\"userName\"").count(), 100);
}
