//! Every record of the shared collection of published vectors. It is no part of the repository: where it is missing,
//! the test says so and passes, and the vectors in `vectors.rs` stand alone.

use std::path::PathBuf;

use serde_json::Value;

use super::super::*;

/// Schemes of the collection that are refused: an unsalted digest without a mark of its own, plain text, and PBKDF2
/// with SHA3-224, which Ory Kratos calls sha224.
const UNSUPPORTED: [&str; 3] = ["nthash", "ldap_plaintext", "pbkdf2-sha224"];

/// `hash_vectors.jsonl` under `STOA_SHARED_DATA`, or beside the repository or one of its worktrees.
fn collection() -> Option<PathBuf> {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let beside = ["../../shared/data", "../../../shared/data"].map(|path| manifest.join(path));
    std::env::var_os("STOA_SHARED_DATA")
        .map(PathBuf::from)
        .into_iter()
        .chain(beside)
        .map(|data| data.join("hashes/hash_vectors.jsonl"))
        .find(|path| path.exists())
}

fn records() -> Vec<Value> {
    let Some(path) = collection() else {
        eprintln!("skipped: no hash_vectors.jsonl; set STOA_SHARED_DATA to the shared data directory");
        return Vec::new();
    };
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(record: &'a Value, name: &str) -> &'a str {
    record[name].as_str().unwrap_or_default()
}

fn secret(record: &Value) -> Vec<u8> {
    match record["password_hex"].as_str() {
        Some(hex) => encoding::hex(hex, "test").unwrap(),
        None => text(record, "password").as_bytes().to_vec(),
    }
}

/// The stored text; Firebase's record comes in parts.
fn stored(record: &Value) -> String {
    if text(record, "scheme") != "firebase_scrypt" {
        return text(record, "hash").to_owned();
    }
    let project = convert::FirebaseParams::new(
        text(record, "signer_key_b64"),
        text(record, "salt_separator_b64"),
        record["rounds"].as_u64().unwrap().try_into().unwrap(),
        record["mem_cost"].as_u64().unwrap().try_into().unwrap(),
    )
    .unwrap();
    convert::firebase(&project, text(record, "salt_b64"), text(record, "hash")).unwrap()
}

#[test]
fn every_published_vector_checks_as_its_record_says() {
    // bcrypt of cost 15 is beyond the defaults, and the collection holds two of them.
    let caps = Caps { bcrypt_cost_max: 15, ..Caps::default() };
    let mut arena = Arena::new();
    let mut failures = Vec::new();
    for (at, record) in records().iter().enumerate() {
        let parsed = parse(&stored(record), &caps);
        let scheme = text(record, "scheme");
        if UNSUPPORTED.contains(&scheme) {
            assert_eq!(parsed, Err(HashError::UnknownScheme), "line {} ({scheme})", at + 1);
            continue;
        }
        let expected = record["ok"].as_bool().unwrap();
        let outcome = parsed.and_then(|hash| hash.verify(&secret(record), &mut arena));
        // A record that must not check may as well be malformed; one that must check may not.
        if outcome.unwrap_or(false) != expected {
            failures.push((at + 1, scheme.to_owned(), outcome));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_default_caps_refuse_the_costliest_records_only() {
    for (at, record) in records().iter().enumerate() {
        let stored = stored(record);
        let costly = stored.starts_with("$2a$15$");
        let refused = matches!(parse(&stored, &Caps::default()), Err(HashError::TooCostly(_)));
        assert_eq!(refused, costly, "line {}", at + 1);
    }
}
