//! Every record of the shared collection of published vectors. It is no part of the repository: where it is missing,
//! the test says so and passes, and the vectors in `vectors.rs` stand alone.

use std::path::PathBuf;

use serde_json::Value;

use super::super::*;

/// Schemes of the collection that are refused: an unsalted digest without a mark of its own, plain text, and PBKDF2
/// with SHA3-224, which Ory Kratos calls sha224.
const UNSUPPORTED: [&str; 3] = ["nthash", "ldap_plaintext", "pbkdf2-sha224"];

/// A file of the shared data, looked for under `STOA_SHARED_DATA` and beside the repository or one of its worktrees.
fn shared(name: &str) -> Option<String> {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let beside = ["../../shared/data", "../../../shared/data"].map(|path| manifest.join(path));
    let mut places = std::env::var_os("STOA_SHARED_DATA").map(PathBuf::from).into_iter().chain(beside);
    let found = places.find_map(|data| std::fs::read_to_string(data.join(name)).ok());
    if found.is_none() {
        eprintln!("skipped: no {name}; set STOA_SHARED_DATA to the shared data directory");
    }
    found
}

fn records() -> Vec<Value> {
    let text = shared("hashes/hash_vectors.jsonl").unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A shared JSON file; an empty list where it is missing.
fn json(name: &str) -> Value {
    shared(name).map_or_else(|| Value::Array(Vec::new()), |text| serde_json::from_str(&text).unwrap())
}

fn check(stored: &str, secret: &str) -> Result<bool, HashError> {
    parse(stored, &Caps::default())?.verify(secret.as_bytes(), &mut Arena::new())
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

#[test]
fn auth0s_own_examples_convert() {
    for user in json("auth0/auth0-docs-custom-password-hash-examples.json").as_array().unwrap() {
        let object = &user["custom_password_hash"];
        let stored = convert::auth0_custom(object).unwrap();
        parse(&stored, &Caps::default()).unwrap_or_else(|error| panic!("{}: {error}", object["algorithm"]));
    }
}

#[test]
fn fusionauths_own_examples_convert() {
    let mut converted = 0;
    let lists = [
        json("fusionauth/akamai_exampleData_2_faImport_faUsers.json"),
        json("fusionauth/generic_exampleData_faUsers.json"),
        json("fusionauth/passportjs_examplesData_faUsers.json"),
        json("fusionauth/rails_export-scripts_built-in-auth_users_export.json")
            .get_mut("users")
            .map(Value::take)
            .unwrap_or_default(),
        json("fusionauth/rails_export-scripts_devise_users_export.json")
            .get_mut("users")
            .map(Value::take)
            .unwrap_or_default(),
    ];
    for user in lists.iter().filter_map(Value::as_array).flatten().filter(|user| user["salt"].is_string()) {
        let factor = user["factor"].as_u64().or_else(|| user["factor"].as_str()?.parse().ok()).unwrap();
        let parts = (text(user, "encryptionScheme"), u32::try_from(factor).unwrap());
        let stored = convert::fusionauth(parts.0, parts.1, text(user, "salt"), text(user, "password"));
        if text(user, "salt").is_empty() {
            // Users who signed in elsewhere only: their password is a placeholder.
            assert_eq!(stored, Err(HashError::Malformed("bcrypt salt length")));
            continue;
        }
        parse(&stored.unwrap(), &Caps::default()).unwrap();
        converted += 1;
    }
    assert!(converted == 0 || converted >= 8, "{converted}");
}

#[test]
fn keycloaks_exported_credential_takes_its_password() {
    let users = json("keycloak/oauth2-proxy-users-0.json");
    let credentials = users["users"].as_array().into_iter().flatten().filter_map(|user| user["credentials"].get(0));
    for credential in credentials.filter(|credential| credential["type"] == "password") {
        let stored =
            convert::from_keycloak(text(credential, "credentialData"), text(credential, "secretData")).unwrap();
        assert_eq!(check(&stored, "password"), Ok(true));
    }
}

#[test]
fn cognitos_fixture_is_taken_and_refused_row_by_row() {
    let Some(file) = shared("cognito/import_bcrypt.csv") else { return };
    let mut taken = Vec::new();
    for line in file.lines().skip(1) {
        let (name, hash) = (line.split(',').next().unwrap(), line.rsplit(',').next().unwrap());
        taken.push((name, parse(hash, &Caps::default()).map(|hash| hash.scheme())));
    }
    assert_eq!(taken[0], ("hello", Ok("bcrypt")));
    assert_eq!(check(file.lines().nth(1).unwrap().rsplit(',').next().unwrap(), "hello"), Ok(true));
    assert_eq!(taken[2], ("cost15", Err(HashError::TooCostly("bcrypt cost"))));
    assert_eq!(taken[4], ("truncated", Err(HashError::Malformed("bcrypt length"))));
}
