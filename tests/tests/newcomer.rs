//! What a newcomer's mistakes meet: files of another kind, files cut short, people who share an address, secrets that are
//! wrong. One clear line each, nothing lost, nothing made by mistake.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use stoa_tests::{Server, run, run_well};

fn file(dir: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// Status, standard output and standard error of an import into `data`.
fn import(data: &Path, format: &str, file: &Path) -> (Option<i32>, Value, String) {
    let args = ["import", "--json", "--pool", "acme", "--format", format, "--data"];
    let output = run(&[&args[..], &[data.to_str().unwrap(), file.to_str().unwrap()]].concat());
    let counts = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), counts, String::from_utf8_lossy(&output.stderr).into_owned())
}

const PEOPLE: &str = "cognito:username,email,email_verified,cognito:mfa_enabled,name\r\n\
                      one,shared@example.com,TRUE,false,One\r\ntwo,shared@example.com,FALSE,false,Two\r\n";

#[test]
fn a_file_of_another_kind_is_one_line_and_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let utf16: Vec<u8> = std::iter::once(0xfeff).chain(PEOPLE.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for (format, name, content, says) in [
        ("ldif", "people.csv", PEOPLE.as_bytes(), "LDIF begins with"),
        ("cognito-csv", "people.ldif", b"dn: uid=a\nuid: a\n", "cognito:username"),
        ("cognito-csv", "utf16.csv", &utf16, "iconv"),
        ("ldif", "people.ldif.gz", b"\x1f\x8b\x08\x00xx", "gunzip"),
        ("keycloak", "people.xml", b"<realm/>", "no JSON"),
        ("scim", "empty.json", b" \n", "empty"),
    ] {
        let data = dir.path().join(format!("{name}.data"));
        let (status, _, error) = import(&data, format, &file(dir.path(), name, content));
        assert_eq!(status, Some(1), "{name}: {error}");
        assert!(error.contains(says) && error.lines().count() == 1, "{name}: {error}");
        assert!(!data.exists() && !data.with_extension("data.key").exists(), "{name} left a store behind");
    }
    let data = dir.path().join("DATA");
    let people = file(dir.path(), "people.csv", PEOPLE.as_bytes());
    let args = ["import", "--pool", "Acme!", "--format", "cognito-csv", "--data"];
    let output = run(&[&args[..], &[data.to_str().unwrap(), people.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(!data.exists(), "a store was made for a pool that cannot be");
}

#[test]
fn a_file_that_was_cut_short_is_told_and_what_stands_before_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    for (format, name, content, created) in [
        ("keycloak", "line", r#"{"realm":"r","users":[{"username":"x","email":"x@e.com"},{"username":"y""#, 0),
        ("keycloak", "lines", "{\n \"realm\": \"r\",\n \"users\": [\n  {\"username\": \"x\"},\n  {\"user", 0),
        ("auth0", "array", r#"[{"user_id":"auth0|1","email":"a@e.com"},{"user_id":"auth0|2","em"#, 1),
        ("scim", "ndjson", "{\"userName\":\"a\"}\n{\"userName\":\"b\"}\n{\"userNa", 2),
        ("scim", "one bad line", "{\"userName\":\"a\n{\"userName\":\"b\"}\n", 1),
    ] {
        let data = dir.path().join(name);
        let (status, counts, error) =
            import(&data, format, &file(dir.path(), &format!("{name}.json"), content.as_bytes()));
        assert_eq!(status, Some(1), "{name}: {error}");
        assert_eq!(
            (counts["created"].as_u64(), counts["refused"].as_u64()),
            (Some(created), Some(1)),
            "{name}: {error}"
        );
    }
}

#[test]
fn two_people_who_share_an_address_stay_two() {
    let dir = tempfile::tempdir().unwrap();
    let people = file(dir.path(), "people.csv", PEOPLE.as_bytes());
    let data = dir.path().join("DATA");
    for turn in ["first", "second"] {
        let (status, counts, error) = import(&data, "cognito-csv", &people);
        assert_eq!(
            (status, counts["refused"].as_u64(), counts["updated"].as_u64()),
            (Some(1), Some(1), Some(0)),
            "{turn}: {error}"
        );
        assert!(error.contains("DUPLICATE") && error.contains("email") && !error.contains("shared@"), "{error}");
    }
    let export = ["export", "--pool", "acme", "--format", "scim", "--data", data.to_str().unwrap()];
    let text = run_well(&export);
    assert!(text.contains("\"one\"") && !text.contains("\"two\""), "the first was overwritten by the second: {text}");

    let other = dir.path().join("OTHER");
    let server = Server::start(&other, &[]);
    let args = ["import", "--json", "--pool", "acme", "--format", "cognito-csv", "--to", &server.address()];
    let output = run(&[&args[..], &[people.to_str().unwrap()]].concat());
    let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (counts["created"].as_u64(), counts["refused"].as_u64(), counts["updated"].as_u64()),
        (Some(1), Some(1), Some(0))
    );
    server.stop();
}

/// As ldapsearch writes it without -LLL, with referrals; and a change record with its separators is one refusal.
#[test]
fn what_ldapsearch_says_of_its_search_is_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let entry = "# extended LDIF\n#\n# LDAPv3\n\n# babs, example.com\ndn: uid=babs,dc=example,dc=com\nobjectClass: person\n\
                 uid: babs\nsn: J\ncn: Babs\n ette\n\n";
    let trailer = "# search reference\nref: ldap://b.example.com/dc=x??sub\nref: ldap://c.example.com/\n\n\
                   # search result\nsearch: 2\nresult: 0 Success\n\n# numEntries: 1\n";
    let path = file(dir.path(), "search.ldif", format!("{entry}{trailer}").as_bytes());
    let (status, counts, error) = import(&dir.path().join("A"), "ldif", &path);
    assert_eq!(
        (status, counts["created"].as_u64(), counts["skipped"].as_u64()),
        (Some(0), Some(1), Some(2)),
        "{error}"
    );
    let change = "dn: uid=x,dc=e\nchangetype: modify\nreplace: mail\nmail: a@e.com\n-\ndelete: sn\n-\n\n";
    let path = file(dir.path(), "change.ldif", format!("{change}{entry}").as_bytes());
    let (status, counts, error) = import(&dir.path().join("B"), "ldif", &path);
    assert_eq!(
        (status, counts["created"].as_u64(), counts["refused"].as_u64()),
        (Some(1), Some(1), Some(1)),
        "{error}"
    );
    assert!(error.contains("change record"), "{error}");
}

/// The users that Keycloak's admin API lists, and partial imports, are no realms and are taken all the same.
#[test]
fn users_of_keycloak_come_in_every_wrapping() {
    let dir = tempfile::tempdir().unwrap();
    let user =
        |name: &str| format!(r#"{{"id":"{}","username":"{name}","enabled":true,"groups":["/staff"]}}"#, uuid(name));
    let (a, b) = (user("anna"), user("bert"));
    for (name, text) in [
        ("realm", format!(r#"{{"realm":"r","groups":[{{"name":"staff"}}],"users":[{a},{b}]}}"#)),
        ("partial", format!(r#"{{"ifResourceExists":"SKIP","users":[{a},{b}]}}"#)),
        ("array", format!("[{a},{b}]")),
        ("lines", format!("{a}\n{b}\n")),
        ("realms", format!(r#"[{{"realm":"r","users":[{a},{b}]}}]"#)),
    ] {
        let data = dir.path().join(name);
        let (status, counts, error) =
            import(&data, "keycloak", &file(dir.path(), &format!("{name}.json"), text.as_bytes()));
        assert_eq!((status, counts["created"].as_u64()), (Some(0), Some(2)), "{name}: {error}");
        assert_eq!(counts["groups_created"], 1, "{name}");
    }
}

fn uuid(name: &str) -> String {
    format!("00000000-0000-4000-8000-0000000000{:02x}", name.as_bytes()[0])
}

#[test]
fn an_export_from_a_server_is_that_of_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    let (data_text, sample) = (data.to_str().unwrap(), dir.path().join("people.ldif"));
    run_well(&["sample", "--users", "1200", "--seed", "5", "--out", sample.to_str().unwrap()]);
    run_well(&["import", "--pool", "acme", "--format", "ldif", sample.to_str().unwrap(), "--data", data_text]);
    let server = Server::start(&data, &[]);
    // Something of every kind, on the first page and behind it.
    for line in [
        "POOL.ALTER acme SCHEMA {\"attributes\":{\"custom:n\":{\"type\":\"integer\"},\"custom:t\":{\"type\":\"timestamp\"},\"custom:j\":{\"type\":\"json\"},\"custom:b\":{\"type\":\"bytes\"},\"custom:m\":{\"type\":\"string\",\"multi\":true}}}",
        "USER.CREATE acme username last custom:n -7 custom:t 2026-01-02T03:04:05.678Z custom:j {\"a\":[1]} custom:b AAH/ custom:m [\"x\",\"y\"] email_verified true HASH $2b$10$Z6hUTEEeoJXN5/AmSm/4.eZ75RYgFVriQM9LPhNEC7kbAbS/VAaJ2",
        "CRED.PUT acme username=last totp t1 LABEL phone blob",
        "IDENTITY.LINK acme username=last google 1234",
        "GROUP.CREATE acme zz/team DESCRIPTION d PRECEDENCE -3 ROLE r KIND k JSON {\"a\":1}",
        "GROUP.ADD acme zz/team username=last",
        "USER.DISABLE acme username=last",
        "USER.CREATE acme username elsewhere",
        "USER.STATUS acme username=elsewhere EXTERNAL",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let bytes = stoa_tests_encode(&words);
        let answer = String::from_utf8_lossy(&server.raw(&bytes)).into_owned();
        assert!(!answer.starts_with('-'), "{line}: {answer}");
    }
    let formats = ["ldif", "cognito-csv", "auth0", "keycloak", "scim"];
    let export = |format: &str, hashes: bool, place: [&str; 2]| {
        let mut args = vec!["export", "--pool", "acme", "--format", format, place[0], place[1]];
        args.extend(hashes.then_some("--with-hashes"));
        run_well(&args)
    };
    let address = server.address();
    let all = || formats.iter().flat_map(|format| [(*format, false), (*format, true)]);
    let over_tcp: Vec<String> = all().map(|(format, hashes)| export(format, hashes, ["--from", &address])).collect();
    server.stop();
    for ((format, hashes), remote) in all().zip(over_tcp) {
        let local = export(format, hashes, ["--data", data_text]);
        assert!(local.len() > 100_000, "{format}");
        let differs = local.lines().zip(remote.lines()).find(|(local, remote)| local != remote);
        assert!(differs.is_none(), "{format} {hashes}: {differs:?}");
        assert_eq!(local.len(), remote.len(), "{format} {hashes}");
    }
}

/// What comes back until it says `last`, or nothing more comes: a check of a password takes its time in a debug build.
fn until(server: &Server, bytes: &[u8], last: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    stream.write_all(bytes).unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&answer).contains(last) {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => answer.extend_from_slice(&buffer[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request as it travels.
fn stoa_tests_encode(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
    bytes
}

#[test]
fn secrets_are_set_without_being_shown_and_rights_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    let server = Server::try_start(&data, &[]).unwrap();
    let address = server.address();
    let admin = data.with_extension("admin-secret");
    let admin = admin.to_str().unwrap();
    let people = file(dir.path(), "people.csv", PEOPLE.lines().take(2).collect::<Vec<_>>().join("\r\n").as_bytes());
    let to = ["--to", &address, "--secret-file", admin];
    run_well(&[&["import", "--pool", "acme", "--format", "cognito-csv", people.to_str().unwrap()][..], &to].concat());

    let new = file(dir.path(), "new", b"correct-horse-1\n");
    let set = ["passwd", "--pool", "acme", "username=one", "--new-file", new.to_str().unwrap()];
    let said = run_well(&[&set[..], &to].concat());
    assert!(!said.contains("correct"), "{said}");
    let no_secret = run(&[&set[..], &["--to", &address]].concat());
    let error = String::from_utf8_lossy(&no_secret.stderr).into_owned();
    assert!(
        no_secret.status.code() == Some(1) && error.contains("NOAUTH") && error.contains("--secret-file"),
        "{error}"
    );
    let nobody = run(&[&["passwd", "--acl", "nobody", "--new-file", new.to_str().unwrap()][..], &to].concat());
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no access-control user"));

    // A reader without @credentials exports, but no hashes.
    let secret = std::fs::read_to_string(admin).unwrap();
    let mut bytes = stoa_tests_encode(&["AUTH", "admin", secret.trim()]);
    bytes.extend(stoa_tests_encode(&["ACL", "SETUSER", "reader", "on", ">reader-secret", "+@read", "+@bulk", "~acme"]));
    bytes.extend(stoa_tests_encode(&["CRED.VERIFY", "acme", "username=one", "correct-horse-1"]));
    let answers = until(&server, &bytes, "locked_until");
    assert!(answers.contains("verified\r\n:1"), "{answers}");
    let reader = file(dir.path(), "reader", b"reader-secret\n");
    let export = [
        "export",
        "--pool",
        "acme",
        "--format",
        "scim",
        "--from",
        &address,
        "--user",
        "reader",
        "--secret-file",
        reader.to_str().unwrap(),
    ];
    assert!(run_well(&export).contains("\"one\""));
    let refused = run(&[&export[..], &["--with-hashes"]].concat());
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && error.contains("NOPERM") && error.contains("@credentials"), "{error}");

    let top = run_well(&["top", "--count", "1", "--json", "--to", &address, "--secret-file", admin]);
    let top: Value = serde_json::from_str(&top).unwrap();
    assert!(top["commands"]["cred.verify"]["calls"].as_u64() == Some(1), "{top}");
    let screen = run_well(&["top", "--count", "1", "--to", &address, "--secret-file", admin]);
    assert!(screen.contains("commands a second") && screen.contains("cred.verify"), "{screen}");
    server.stop();

    // Locked out: with the directory and its key, admin gets a secret that is known.
    run_well(&["passwd", "--acl", "admin", "--new-file", new.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    let offline = ["passwd", "--pool", "acme", "username=one", "--temporary", "--new-file", reader.to_str().unwrap()];
    run_well(&[&offline[..], &["--data", data.to_str().unwrap()]].concat());
    let server = Server::try_start(&data, &[]).unwrap();
    let mut bytes = stoa_tests_encode(&["AUTH", "admin", "correct-horse-1"]);
    bytes.extend(stoa_tests_encode(&["CRED.VERIFY", "acme", "username=one", "reader-secret"]));
    let answers = until(&server, &bytes, "locked_until");
    assert!(answers.starts_with("+OK") && answers.contains("change_required"), "{answers}");
    let mut bytes = stoa_tests_encode(&["AUTH", "admin", secret.trim()]);
    bytes.extend(stoa_tests_encode(&["PING"]));
    assert!(server.raw(&bytes).starts_with(b"-WRONGPASS"), "the former secret still works");
    server.stop();
}

/// Every subcommand shows examples, a typing mistake is status 2, and completions name every subcommand.
#[test]
fn help_shows_examples_and_completions_name_every_subcommand() {
    let help = run_well(&["help"]);
    let names: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() >= 11 && names.contains(&"passwd") && help.contains("Examples:"), "{help}");
    let completions = run_well(&["completions", "bash"]);
    for name in names {
        assert!(completions.contains(&format!("stoa,{name})")), "{name} is not completed");
        if !matches!(name, "help" | "completions") {
            assert!(run_well(&[name, "--help"]).contains("stoa "), "{name}");
            assert!(run_well(&[name, "--help"]).contains("Examples:"), "{name} shows no example");
        }
        if name != "help" {
            assert_eq!(run(&[name, "--no-such-option"]).status.code(), Some(2), "{name}");
        }
    }
    assert_eq!(run(&["imprt"]).status.code(), Some(2));
}
