//! Realms as Keycloak and its documents write them.

use super::super::{
    Format,
    attrs::standard,
    input::Input,
    record::{FactorKind, ImportPassword, ImportValue, Status},
    testing::{Run, shared, string, strings},
};

#[test]
fn a_directory_export_keeps_ids_hashes_and_roles() {
    let (Some(realm), Some(users)) =
        (shared("keycloak/oauth2-proxy-realm.json"), shared("keycloak/oauth2-proxy-users-0.json"))
    else {
        return;
    };
    let inputs = [realm, users];
    let run = Run::plain(Format::Keycloak, &inputs);
    // Four realm roles in the realm file; three realm and two client roles announced for the user's file.
    assert_eq!(run.counts(), (1, 9, 0, 0), "{:?}", run.refused);
    let admin = run.user("admin@example.com");
    assert_eq!(admin.sub.map(|sub| sub[0]), Some(0x33));
    assert_eq!(admin.created_at_ms, Some(1_591_297_959_169));
    assert!(admin.groups.contains(&"role:admin".into()) && admin.groups.contains(&"role:account/view-profile".into()));
    let ImportPassword::Hash(hash) = &admin.password else { panic!("no hash") };
    assert!(hash.starts_with("$pbkdf2-sha256$"));
    assert_eq!(run.group("role:create-realm").kind.as_deref(), Some("role"));
}

#[test]
fn a_single_file_and_plain_passwords_are_read() {
    let Some(input) = shared("keycloak/zitadel-tools-realm.json") else { return };
    let inputs = [input];
    let run = Run::plain(Format::Keycloak, &inputs);
    assert_eq!(run.counts(), (1, 1, 0, 0));
    assert!(matches!(run.user("test-user").password, ImportPassword::Hash(_)));

    let Some(input) = shared("keycloak/quickstart-servlet-authz-realm.json") else { return };
    let inputs = [input];
    let run = Run::plain(Format::Keycloak, &inputs);
    assert_eq!(run.counts(), (3, 3, 0, 1));
    assert_eq!(run.user("alice").password, ImportPassword::Plain(zeroize::Zeroizing::new("alice".into())));
    assert_eq!(run.group("role:user").description.as_deref(), Some("User privileges"));
    assert!(run.user("jdoe").groups == ["role:user", "role:user_premium"]);
}

#[test]
fn groups_attributes_factors_and_old_hashes_are_read() {
    let text = r#"{"realm":"r","users":[
        {"username":"a","groups":["/x/y"],"attributes":{"locale":["de"],"phoneNumber":["+49 30 123456"],"team":["b","a"]},
         "requiredActions":["UPDATE_PASSWORD","VERIFY_EMAIL"],
         "credentials":[{"type":"password","hashedSaltedValue":"MDEyMzQ1Njc4OTAxMjM0NTY3ODk=","salt":"c2FsdHNhbHQ=","hashIterations":1000,"algorithm":"pbkdf2"},
           {"id":"1","type":"otp","userLabel":"phone","secretData":"{\"value\":\"x\"}","credentialData":"{\"subType\":\"totp\"}"},
           {"id":"2","type":"webauthn","secretData":"{}","credentialData":"{\"credentialId\":\"abc\"}"},
           {"type":"magic"}]},
        {"username":"b","federatedIdentities":[{"identityProvider":"google","userId":"7","userName":"b"}]},
        "no user"],
      "groups":[{"id":"1","name":"x","path":"/x","attributes":{"c":["1"]},"subGroups":[{"name":"y","subGroups":[]}]}]}"#;
    let inputs = [Input::from_bytes("x", text.as_bytes().to_vec())];
    let run = Run::plain(Format::Keycloak, &inputs);
    assert_eq!(run.counts(), (2, 2, 1, 0));
    let a = run.user("a");
    assert!(a.groups == ["x/y"] && a.temporary);
    assert!(
        matches!(&a.password, ImportPassword::Hash(hash) if hash.starts_with("$pbkdf2$") || hash.starts_with("$pbkdf2-sha1$"))
    );
    assert_eq!(a.text(standard::LOCALE), Some("de"));
    assert!(run.attr(a, "phone_number") == Some(string("+4930123456")));
    assert!(run.attr(a, "custom:team") == Some(strings(&["a", "b"])));
    assert!(run.attr(a, "custom:required_actions") == Some(strings(&["VERIFY_EMAIL"])));
    let factors: Vec<_> = a.factors.iter().map(|f| (f.kind, &*f.id)).collect();
    assert_eq!(factors, [(FactorKind::Totp, "1"), (FactorKind::Webauthn, "abc")]);
    assert_eq!(a.factors[0].label.as_deref(), Some("phone"));
    assert_eq!(run.user("b").status, Some(Status::External));
    assert_eq!(run.group("x").attributes.as_deref(), Some(r#"{"attributes":{"c":["1"]}}"#));
    assert_eq!(run.changed.len(), 1, "{:?}", run.changed);
    assert_eq!(run.attr(a, "email_verified"), None::<ImportValue<'_>>);
}
