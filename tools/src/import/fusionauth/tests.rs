//! FusionAuth's own examples: what an export says must come out as the `faUsers.json` beside it says.

use super::super::{
    Format,
    attrs::standard,
    input::Input,
    record::{ImportPassword, ImportUser, ImportValue, Status},
    testing::{Run, shared},
};

/// The attributes that both forms must agree on.
const COMPARED: [&str; 8] = [
    "username",
    "email",
    "email_verified",
    "given_name",
    "family_name",
    "birthdate",
    "phone_number",
    "custom:middle_name",
];

fn compared<'a>(run: &Run<'a>, user: &ImportUser<'a>) -> Vec<Option<ImportValue<'a>>> {
    COMPARED.iter().map(|name| run.attr(user, name)).collect()
}

fn bcrypt_tail(user: &ImportUser<'_>) -> Option<String> {
    match &user.password {
        // `$2a$` and `$2b$` differ in name only.
        ImportPassword::Hash(hash) if hash.starts_with("$2") => Some(hash[3..].to_owned()),
        ImportPassword::Hash(hash) => Some(hash.to_string()),
        _ => None,
    }
}

/// Imports an export and the normalised form, and compares them user by user; gives the count.
fn compare(export: &str, normalised: &str) -> Option<usize> {
    let inputs = [shared(&format!("fusionauth/{export}"))?];
    let wanted = [shared(&format!("fusionauth/{normalised}"))?];
    let (got, want) = (Run::plain(Format::Fusionauth, &inputs), Run::plain(Format::Fusionauth, &wanted));
    assert_eq!(got.counts(), want.counts());
    for user in &want.users {
        let twin = got.user(user.text(standard::USERNAME)?);
        for (name, (a, b)) in COMPARED.iter().zip(compared(&got, twin).into_iter().zip(compared(&want, user))) {
            assert!(a == b, "{export}: {name} at {}", user.line);
        }
        assert_eq!(bcrypt_tail(twin), bcrypt_tail(user), "{export} at {}", user.line);
        assert_eq!(twin.enabled, user.enabled, "{export} at {}", user.line);
    }
    Some(want.users.len())
}

#[test]
fn exports_come_out_as_their_normalised_form() {
    let pairs = [
        ("akamai_exampleData_1_akamaiExport_users.json", "akamai_exampleData_2_faImport_faUsers.json", 2),
        ("passportjs_examplesData_users.json", "passportjs_examplesData_faUsers.json", 9),
        ("generic_exampleData_users.json", "generic_exampleData_faUsers.json", 2),
    ];
    for (export, normalised, count) in pairs {
        match compare(export, normalised) {
            Some(compared) => assert_eq!(compared, count),
            None => return,
        }
    }
}

#[test]
fn normalised_users_are_read_whole() {
    let Some(input) = shared("fusionauth/akamai_exampleData_2_faImport_faUsers.json") else { return };
    let inputs = [input];
    let run = Run::plain(Format::Fusionauth, &inputs);
    let jane = run.user("Jane Smith");
    assert_eq!(jane.sub.map(|sub| sub[0]), Some(0x36));
    assert_eq!(bcrypt_tail(jane).as_deref(), Some("$10$fGr0/0QnnDkv9VG0BtyaiOj9Fb5rNQTXkrCcidzQqR061kc6e5VBu"));
    assert!(run.attr(jane, "custom:unique_username") == Some(ImportValue::Str("janesmith@example.com".into())));
    assert!(matches!(run.attr(jane, "custom:data"), Some(ImportValue::Json(data)) if data.contains("akamaiId")));
    assert!(run.attr(jane, "custom:last_login_instant") == Some(ImportValue::Time(1_746_696_922_000)));
}

#[test]
fn rails_exports_and_the_csv_are_read() {
    for (file, plain) in [
        ("rails_export-scripts_built-in-auth_users_export.json", false),
        ("rails_export-scripts_devise_users_export.json", false),
        ("rails_export-scripts_omniauth_users_export.json", true),
    ] {
        let Some(input) = shared(&format!("fusionauth/{file}")) else { return };
        let inputs = [input];
        let run = Run::plain(Format::Fusionauth, &inputs);
        assert_eq!(run.counts(), (1, 0, 0, 0), "{file}");
        match &run.users[0].password {
            ImportPassword::Plain(_) => assert!(plain, "{file}"),
            ImportPassword::Hash(hash) => {
                assert!(!plain && hash.starts_with("$2") && hash[3..].starts_with("$12$"), "{file}")
            }
            other => panic!("{file}: {other:?}"),
        }
    }
    let Some(input) = shared("fusionauth/csv_example_users.csv") else { return };
    let inputs = [input];
    let run = Run::plain(Format::Fusionauth, &inputs);
    assert_eq!(run.counts(), (1, 0, 0, 0));
    let user = run.user("user1@example.com");
    assert_eq!(user.text(standard::FAMILY_NAME), Some("Bachman"));
    assert!(matches!(user.password, ImportPassword::Hash(_)), "{:?}", user.password);
}

#[test]
fn users_of_other_providers_have_no_password() {
    let Some(input) = shared("fusionauth/passportjs_examplesData_users.json") else { return };
    let inputs = [input];
    let run = Run::plain(Format::Fusionauth, &inputs);
    let alex = run.user("alex.rodriguez@gmail.com");
    assert_eq!((alex.status, alex.identities.len()), (Some(Status::External), 1));
}

#[test]
fn factors_and_what_has_no_place_are_kept() {
    let text = r#"{"users":[{"username":"a","twoFactor":{"methods":[{"method":"authenticator","id":"X","secret":"s"},{"method":"sms"}],"recoveryCodes":["1"]},"preferredLanguages":["de","fr"],"title":"Dr","password":"p","encryptionScheme":"odd","factor":1,"salt":"c2FsdA=="}]}"#;
    let inputs = [Input::from_bytes("x", text.as_bytes().to_vec())];
    let run = Run::plain(Format::Fusionauth, &inputs);
    let a = run.user("a");
    assert_eq!(a.factors.len(), 2);
    assert_eq!(a.text(standard::LOCALE), Some("de"));
    assert!(run.attr(a, "custom:title") == Some(ImportValue::Str("Dr".into())));
    assert!(matches!(a.password, ImportPassword::Unsupported { .. }));
}
