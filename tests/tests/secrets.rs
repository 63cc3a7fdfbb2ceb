//! No stored value reaches a file, a log line, a metric or an error in the clear.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use stoa_tests::{Server, client};

/// Every string of 6 or more characters that is put into the store below.
const VALUES: [&str; 9] = [
    "qzvorblax77",
    "vexq.yumplo@kwizzarp.xqtest",
    "+15559817263",
    "Wxqilhemzna-Zuvqara",
    "{SSHA}0H+zTv8o4MR4H43n03eCsvw1luG8LdB7",
    "gzorfbqen-jkqpwy",
    "plzqv-xyjkw-vqlu",
    "pqzn-wfx-nbdyq",
    "fqzct-blxbz-yyw",
];

fn assert_absent(what: &str, bytes: &[u8]) {
    for value in VALUES {
        // A part is as bad as the whole.
        for part in value.as_bytes().windows(6) {
            // A hash's scheme is no secret, and errors list the schemes.
            let scheme = part.starts_with(b"{SSHA");
            let found = !scheme && bytes.windows(6).any(|window| window.eq_ignore_ascii_case(part));
            assert!(!found, "{what} holds {:?}, a part of a stored value", String::from_utf8_lossy(part));
        }
    }
}

fn visit(dir: &Path, check: &mut impl FnMut(&Path, Vec<u8>)) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => visit(&path, check),
            false => check(&path, std::fs::read(&path).unwrap()),
        }
    }
}

#[test]
fn nothing_stored_is_found_on_disk_in_logs_metrics_or_errors() {
    if client("redis-cli").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(&data, &["--log", "trace", "--metrics", &metrics.to_string()]);
    let [name, mail, phone, given, hash, group, plan, pool, blob] = VALUES;
    let schema = r#"{"attributes":{"custom:plan":{"type":"string","searchable":true}}}"#;
    let cli = |words: &[&str]| server.cli(words);
    cli(&["POOL.CREATE", pool, "SCHEMA", schema]);
    let made = cli(&[
        "USER.CREATE",
        pool,
        "username",
        name,
        "email",
        mail,
        "phone_number",
        phone,
        "given_name",
        given,
        "custom:plan",
        plan,
        "HASH",
        hash,
    ]);
    assert!(made.contains("sub"), "{made}");
    cli(&["GROUP.CREATE", pool, group]);
    cli(&["GROUP.ADD", pool, group, &format!("username={name}")]);
    cli(&["CRED.PUT", pool, &format!("username={name}"), "totp", "device", blob]);
    let mut errors = String::new();
    for words in [
        &["USER.CREATE", pool, "username", name][..],
        &["USER.CREATE", pool, "email", mail],
        &["USER.CREATE", pool, "phone_number", mail],
        &["USER.GET", pool, &format!("given_name={given}")],
        &["USER.COUNT", pool, "FILTER", &format!("given_name eq {given}")],
        &["GROUP.CREATE", pool, group],
        &["IDENTITY.LINK", pool, "username=nobody", given, mail],
        &["CRED.SET", pool, &format!("username={name}"), "HASH", plan],
        &["POOL.CREATE", pool],
        &["CRED.VERFY", name, mail],
        &["USER.GET", &format!("{pool}-x"), mail],
    ] {
        errors.push_str(&cli(words));
        errors.push('\n');
    }
    assert!(errors.contains("DUPLICATE") && errors.contains("INVALID"), "{errors}");
    assert_absent("an error", errors.as_bytes());
    cli(&["CRED.VERIFY", pool, &format!("login={name}"), given]);
    cli(&["POOL.FLUSH", pool]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    let mut scrape = TcpStream::connect(metrics).unwrap();
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut body = Vec::new();
    let _ = scrape.read_to_end(&mut body);
    assert!(String::from_utf8_lossy(&body).contains("stoa"), "metrics are answered");
    assert_absent("a metric", &body);
    for list in [&["CLIENT", "LIST"][..], &["STATS"], &["INFO"], &["ACL", "LOG"]] {
        assert_absent(list[0], cli(list).as_bytes());
    }
    let log = server.log.clone();
    server.stop();
    assert_absent("the log at its most verbose", &std::fs::read(log).unwrap());
    let mut files = 0;
    visit(&data, &mut |path, bytes| {
        files += 1;
        assert_absent(&path.display().to_string(), &bytes);
    });
    assert!(files >= 4, "there are files to look at");
}
