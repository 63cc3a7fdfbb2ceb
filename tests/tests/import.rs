//! Real exports of real systems go in, go in again without a change, and come out equal.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use stoa_tests::{run, run_well, shared_data};

struct Counts(Value);

impl Counts {
    fn get(&self, key: &str) -> u64 {
        self.0[key].as_u64().unwrap_or_default()
    }
}

fn import(data: &Path, pool: &str, format: &str, files: &[PathBuf]) -> Counts {
    let mut args = vec!["import", "--json", "--pool", pool, "--format", format, "--data", data.to_str().unwrap()];
    args.extend(files.iter().map(|file| file.to_str().unwrap()));
    let output = run(&args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let counts = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    Counts(counts.unwrap_or_else(|| panic!("{args:?}: {error}")))
}

/// Exports both pools in one format that says everything, and compares them line by line.
fn assert_equal_pools(data: &Path, a: &str, b: &str) {
    let export = |pool: &str| {
        let args = ["export", "--pool", pool, "--format", "scim", "--with-hashes", "--data", data.to_str().unwrap()];
        let mut lines: Vec<String> = run_well(&args).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (left, right) = (export(a), export(b));
    assert_eq!(left.len(), right.len(), "{a} and {b} differ in size");
    for (one, other) in left.iter().zip(&right) {
        assert_eq!(one, other);
    }
}

fn twice(data: &Path, pool: &str, format: &str, files: &[PathBuf]) -> Counts {
    let first = import(data, pool, format, files);
    let again = import(data, pool, format, files);
    assert_eq!((again.get("created"), again.get("updated")), (0, 0), "{files:?} changed something the second time");
    assert_eq!((again.get("groups_created"), again.get("groups_updated"), again.get("memberships_added")), (0, 0, 0));
    assert_eq!(again.get("unchanged"), first.get("created") + first.get("updated") + first.get("unchanged"));
    assert_eq!(again.get("refused"), first.get("refused"));
    first
}

fn round_trips(data: &Path, pool: &str, formats: &[(&str, &str)]) {
    for (format, import_format) in formats {
        let file = data.with_file_name(format!("{pool}-{format}.out"));
        let copy = format!("{pool}-{format}");
        let (data_text, file_text) = (data.to_str().unwrap(), file.to_str().unwrap());
        let args =
            ["export", "--pool", pool, "--format", format, "--with-hashes", "--data", data_text, "--out", file_text];
        run_well(&args);
        let counts = import(data, &copy, import_format, &[file]);
        assert_eq!(counts.get("refused"), 0, "{format}");
        assert_equal_pools(data, pool, &copy);
    }
}

const FORMATS: [(&str, &str); 5] =
    [("ldif", "ldif"), ("cognito-csv", "cognito-csv"), ("auth0", "auth0"), ("keycloak", "keycloak"), ("scim", "scim")];

#[test]
fn the_sample_directory_comes_out_equal_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    let sample = dir.path().join("people.ldif");
    run_well(&["sample", "--users", "200", "--seed", "3", "--out", sample.to_str().unwrap()]);
    let counts = twice(&data, "sample", "ldif", &[sample]);
    assert_eq!(counts.get("created"), 200);
    round_trips(&data, "sample", &FORMATS);
}

#[test]
fn every_shared_file_goes_in_twice() {
    let Some(ldif) = shared_data("ldif") else { return };
    let shared = ldif.parent().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&ldif).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for (i, file) in files.iter().enumerate() {
        twice(&data, &format!("ldif{i}"), "ldif", std::slice::from_ref(file));
    }
    let example = twice(&data, "example", "ldif", &[ldif.join("its9282-exampledb.ldif")]);
    assert_eq!(example.get("created"), 999);
    let planets = twice(&data, "planets", "ldif", &[ldif.join("planetexpress")]);
    assert!(planets.get("created") >= 7 && planets.get("groups_created") >= 2);

    let no_hash = twice(&data, "cognito", "cognito-csv", &[shared.join("cognito/import_no_hash.csv")]);
    assert!(no_hash.get("refused") >= 3, "bad date, bad phone and the second dup are refused");
    let bcrypt = twice(&data, "cognito-hash", "cognito-csv", &[shared.join("cognito/import_bcrypt.csv")]);
    assert!(bcrypt.get("created") >= 2);
    let auth0 = shared.join("auth0");
    let files =
        ["zitadel-tools-auth0-users.ndjson", "zitadel-tools-auth0-passwords.ndjson"].map(|name| auth0.join(name));
    assert_eq!(twice(&data, "auth0", "auth0", &files).get("created"), 5);
    twice(&data, "auth0-custom", "auth0", &[auth0.join("auth0-docs-custom-password-hash-examples.json")]);
    let keycloak = shared.join("keycloak");
    let files = ["oauth2-proxy-realm.json", "oauth2-proxy-users-0.json"].map(|name| keycloak.join(name));
    assert!(twice(&data, "kc-proxy", "keycloak", &files).get("created") >= 1);
    for name in ["zitadel-tools-realm.json", "quickstart-servlet-authz-realm.json"] {
        assert!(twice(&data, &name[..5], "keycloak", &[keycloak.join(name)]).get("created") >= 1);
    }
    for name in
        ["akamai_exampleData_2_faImport_faUsers", "generic_exampleData_faUsers", "passportjs_examplesData_faUsers"]
    {
        let pool = name.split('_').next().unwrap();
        let counts = twice(&data, pool, "fusionauth", &[shared.join(format!("fusionauth/{name}.json"))]);
        assert!(counts.get("created") >= 2);
    }
    round_trips(&data, "planets", &FORMATS);
    round_trips(&data, "kc-proxy", &FORMATS);
}
