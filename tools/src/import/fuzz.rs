//! Exports that are nearly right. Whatever stands there: each row is taken or reported, the same in whatever parts and
//! batches it is read, and what is taken keeps the record's promises.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use stoa_engine::password::{convert::FirebaseParams, parse};
use stoa_fuzz::{Seen, Target};

use super::attrs::{AttrTable, Kind};
use super::input::Input;
use super::record::{ImportGroup, ImportPassword, ImportUser, ImportValue, Item};
use super::testing::Run;
use super::{Format, Options, plan};
use crate::export::{ExportFormat, ExportUser, exporter};
use crate::sample::{PopulationFormat, population};

/// What an export is written to.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Three people of the sample, as this project exports them.
fn exported(format: ExportFormat) -> Vec<u8> {
    let mut text = Vec::new();
    population(PopulationFormat::Ldif, 3, 1, &mut text).expect("a vector takes all");
    let inputs = [Input::from_bytes("sample", text)];
    let run = Run::plain(Format::Ldif, &inputs);
    let out = Shared::default();
    let mut exporter = exporter(format, "pool", &run.attributes, Box::new(out.clone())).expect("a vector takes all");
    for user in run.users {
        exporter.user(&ExportUser { user, version: 1 }).expect("a vector takes all");
    }
    exporter.finish().expect("a vector takes all");
    drop(exporter);
    out.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What an import yields of one kind each, in order.
#[derive(Default, PartialEq)]
struct Yield<'a> {
    users: Vec<ImportUser<'a>>,
    groups: Vec<ImportGroup<'a>>,
    told: Vec<(u8, u64, String)>,
}

impl<'a> Yield<'a> {
    fn of(format: Format, inputs: &'a [Input], options: &Options, attributes: &Arc<AttrTable>, batch: usize) -> Self {
        let plan = plan(format, inputs, options, attributes);
        let (mut found, mut items) = (Self::default(), Vec::new());
        for mut source in plan.parts.into_iter().chain(plan.last) {
            while source.next_batch(batch, &mut items) {}
            assert!(source.bytes_done() <= plan.bytes_total, "more was read than there is");
        }
        for item in items {
            match item {
                Item::User(user) => found.users.push(user),
                Item::Group(group) => found.groups.push(group),
                Item::Refused { line, reason } => found.told.push((0, line, reason.into_owned())),
                Item::Skipped { line, reason } => found.told.push((1, line, reason.into_owned())),
                Item::Changed { line, note } => found.told.push((2, line, note.into_owned())),
            }
        }
        found
    }

    /// Where rows stand that were taken, refused or left out.
    fn lines(&self) -> BTreeSet<u64> {
        let told = self.told.iter().filter(|(kind, ..)| *kind != 2).map(|(_, line, _)| *line);
        self.users.iter().map(|user| user.line).chain(self.groups.iter().map(|group| group.line)).chain(told).collect()
    }
}

/// `is_own`: the input may be an export of this project, whose field for what a format cannot say carries a hash as it
/// was kept. Whether it is one is the engine's to judge, and the row is reported then.
fn check_user(user: &ImportUser<'_>, attributes: &AttrTable, options: &Options, is_own: bool) {
    for (at, (key, value)) in user.attrs.iter().enumerate() {
        assert!(user.attrs[..at].iter().all(|(other, _)| other != key), "an attribute stands twice");
        let spec = attributes.spec(*key);
        let fits = match value {
            ImportValue::Str(_) => spec.kind == Kind::Str && !spec.multi,
            ImportValue::Bool(_) => spec.kind == Kind::Bool,
            ImportValue::Int(_) => spec.kind == Kind::Int,
            ImportValue::Time(_) => spec.kind == Kind::Time,
            ImportValue::Json(text) => {
                spec.kind == Kind::Json && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
            }
            ImportValue::Bytes(_) => spec.kind == Kind::Bytes,
            ImportValue::Multi(values) => {
                spec.multi && !values.is_empty() && values.windows(2).all(|pair| pair[0] < pair[1])
            }
        };
        assert!(fits, "a value is not what the table says of {}", spec.name);
    }
    if let ImportPassword::Hash(stored) = &user.password {
        assert!(is_own || parse(stored, &options.caps).is_ok(), "a hash that the engine refuses");
    }
}

/// How many rows there are, where JSON's own reader can tell.
fn rows(bytes: &[u8]) -> Option<u64> {
    let all: Vec<serde::de::IgnoredAny> = serde_json::from_slice(bytes).ok()?;
    Some(all.len() as u64)
}

fn import(format: Format, counts_rows: bool, bytes: &[u8], options: &Options, seen: &mut Seen) {
    let inputs = [Input::from_bytes("x", bytes.to_vec())];
    let attributes = Arc::new(AttrTable::default());
    let whole = Yield::of(format, &inputs, options, &attributes, 100);
    let cut = Options { part_bytes: 1 + bytes.len() % 61, ..options.clone() };
    let parts = Yield::of(format, &inputs, &cut, &attributes, 1 + bytes.len() % 3);
    assert!(whole == parts, "other items in parts");
    let is_own = memchr::memmem::find(bytes, b"stoa").is_some();
    whole.users.iter().for_each(|user| check_user(user, &attributes, options, is_own));
    for group in &whole.groups {
        assert!(!group.name.is_empty(), "a group without a name");
    }
    let has_parts = !plan(format, &inputs, options, &attributes).parts.is_empty();
    if let Some(count) = rows(bytes).filter(|_| counts_rows && has_parts) {
        let lines = whole.lines();
        let missing = (1..=count).find(|line| !lines.contains(line));
        assert!(missing.is_none(), "row {missing:?} of {count} was neither taken nor reported");
    }
    seen.count("users", whole.users.len());
    seen.count("groups", whole.groups.len());
    whole.told.iter().for_each(|(_, _, reason)| seen.message(reason));
    for user in &whole.users {
        user.attrs.iter().for_each(|(key, _)| seen.note(key.0));
        seen.note((std::mem::discriminant(&user.password), user.status.map(|status| status.as_str()), user.enabled));
        seen.count("factors", user.factors.len());
        seen.count("identities", user.identities.len());
    }
}

fn explore(
    name: &'static str,
    format: Format,
    counts_rows: bool,
    options: &Options,
    seeds: &[Vec<u8>],
    tokens: &[&str],
) {
    // The table of attributes begins with the standard ones; what is found is kept twice here, to be compared.
    Target::new(name, |bytes, seen| import(format, counts_rows, bytes, options, seen))
        .seeds(seeds.iter().cloned())
        .tokens(tokens)
        .memory(1000, 512 << 10)
        .explore();
}

const LDIF: &str = "version: 1\n# people\ndn: uid=babs,ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\nuid: babs\n\
    cn: Barbara\n  Jensen\ncn;lang-fr: Barbe\nsn:: SmVuc2Vu\nmail: babs@example.com\nmobile: +1 313 555 4332\nuidNumber: 1000\n\
    userPassword: {SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr\nentryUUID: 597ae2f6-16a6-1027-98f4-abcdefabcdef\n\
    createTimestamp: 20200604120000Z\njpegPhoto:< file:///etc/passwd\n\ndn: cn=admins,ou=groups,dc=example,dc=com\n\
    objectClass: groupOfNames\ncn: admins\nmember: UID=babs, ou=people,dc=example,dc=com\nmemberUid: babs\n\n\
    dn: uid=x\nchangetype: delete\n\nsearch: 2\nresult: 0 Success\n";

#[test]
fn fuzz_ldif() {
    let seeds = [LDIF.into(), exported(ExportFormat::Ldif), LDIF.replace('\n', "\r\n").into()];
    let tokens = [
        "dn: ",
        "dn:: ",
        "objectClass: person\n",
        "objectClass: groupOfNames\n",
        "uid: ",
        "cn: ",
        "member: ",
        "\n\n",
        "\r\n",
        "\n ",
        ":: ",
        ":< ",
        "#",
        "version: 1\n",
        "changetype: add\n",
        "userPassword: ",
        "{CRYPT}",
        "uid=a,dc=b",
        "\\2c",
        "+",
        "\\#",
        "uniqueMember: ",
        "memberUid: ",
        "userAccountControl: 514\n",
        "objectSid:: ",
        "unicodePwd:: ",
        "pwdAccountLockedTime: ",
        "nsAccountLock: true\n",
        ";binary",
        ";lang-de",
        "=== \n",
        "20200604120000.5+0100",
    ];
    explore("ldif", Format::Ldif, false, &Options::default(), &seeds, &tokens);
}

#[test]
fn fuzz_csv() {
    let text = "cognito:username,cognito:mfa_enabled,name,email,email_verified,phone_number,birthdate,updated_at,custom:tier,\
        password_hash\r\nana,FALSE,Ana\\, B,ana@example.com,true,+34600000001,02/01/1985,1471453471,x,\
        $2b$04$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi\r\nbob,TRUE,,,,,,,,\r\n";
    let seeds = [text.into(), exported(ExportFormat::CognitoCsv)];
    let tokens = [
        "cognito:username",
        "cognito:mfa_enabled",
        ",",
        "\\,",
        "\"",
        "\r\n",
        "\n",
        "\r",
        "TRUE",
        "true",
        "email_verified",
        "phone_number_verified",
        "custom:",
        "password_hash",
        "stoa:groups",
        "\u{feff}",
        "12/31/1999",
        "{}",
        "\\\\",
    ];
    explore("csv", Format::CognitoCsv, false, &Options::default(), &seeds, &tokens);
}

/// Words of JSON, and those of one format.
fn json_tokens(words: &[&'static str]) -> Vec<&'static str> {
    let json = [
        "{", "}", "[", "]", ":", ",", "null", "true", "\"\"", "\\u0000", "\\ud800", "\n", "[]", "{}", "1e999", "\"x\"",
    ];
    [&json, words].concat()
}

#[test]
fn fuzz_keycloak() {
    let text = r#"{"realm":"r","users":[
        {"id":"597ae2f6-16a6-1027-98f4-abcdefabcdef","username":"a","groups":["/x/y"],"createdTimestamp":1591297959169,
         "attributes":{"locale":["de"],"phoneNumber":["+49 30 123456"],"team":["b","a"]},"realmRoles":["user"],
         "clientRoles":{"account":["view"]},"requiredActions":["UPDATE_PASSWORD","VERIFY_EMAIL"],"enabled":true,
         "credentials":[{"type":"password","hashedSaltedValue":"MDEyMzQ1Njc4OTAxMjM0NTY3ODk=","salt":"c2FsdHNhbHQ=","hashIterations":1000,"algorithm":"pbkdf2"},
           {"id":"1","type":"otp","userLabel":"phone","secretData":"{\"value\":\"x\"}","credentialData":"{\"subType\":\"totp\"}"},
           {"id":"2","type":"webauthn","secretData":"{}","credentialData":"{\"credentialId\":\"abc\"}"},{"type":"magic"}]},
        {"username":"b","federatedIdentities":[{"identityProvider":"google","userId":"7","userName":"b"}]},"no user"],
      "roles":{"realm":[{"name":"user","description":"d"}],"client":{"account":[{"name":"view"}]}},
      "groups":[{"id":"1","name":"x","path":"/x","attributes":{"c":["1"]},"subGroups":[{"name":"y","subGroups":[]}]}]}"#;
    let tokens = json_tokens(&[
        "\"users\"",
        "\"groups\"",
        "\"subGroups\"",
        "\"credentials\"",
        "\"attributes\"",
        "\"username\"",
        "\"secretData\"",
        "\"credentialData\"",
        "\"additionalParameters\"",
        "\"federatedIdentities\"",
        "\"realmRoles\"",
        "\"clientRoles\"",
        "\"password\"",
        "\"argon2\"",
        "\"hashIterations\"",
        "\"stoa\"",
        "/",
        "\"roles\"",
        "\"client\"",
        "\"serviceAccountClientId\"",
    ]);
    let seeds = [text.into(), exported(ExportFormat::Keycloak)];
    explore("keycloak", Format::Keycloak, false, &Options::default(), &seeds, &tokens);
}

#[test]
fn fuzz_auth0() {
    let text = r#"[{"user_id":"google-oauth2|1","email":"G@x","email_verified":true,"identities":[{"provider":"google-oauth2","user_id":"1"},
        {"provider":"github","user_id":7}],"app_metadata":{"a":[1]},"blocked":true,"logins_count":3,"created_at":"2020-06-04T12:00:00.000Z"},
        {"user_id":"auth0|2","email":"h@x","mfa_factors":[{"totp":{"secret":"ABC"}},{"phone":{"value":"+1"}}],
         "custom_password_hash":{"algorithm":"pbkdf2","hash":{"value":"$pbkdf2-sha256$i=1000,l=8$AAAA$AAAAAAAAAAA","encoding":"utf8"}}}, 5]"#;
    let lines = "{\"_id\":{\"$oid\":\"1\"},\"email\":\"a@x\",\"passwordHash\":\"$2b$04$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi\"}\n\
        {\"Id\":\"auth0|1\",\"Email\":\"a@x\",\"Created At\":\"2020-06-04T12:00:00.000Z\"}\n";
    let tokens = json_tokens(&[
        "\"user_id\"",
        "\"_id\"",
        "\"$oid\"",
        "\"passwordHash\"",
        "\"custom_password_hash\"",
        "\"algorithm\"",
        "\"hash\"",
        "\"value\"",
        "\"encoding\"",
        "\"hex\"",
        "\"base64\"",
        "\"salt\"",
        "\"position\"",
        "\"identities\"",
        "\"provider\"",
        "\"mfa_factors\"",
        "\"user_metadata\"",
        "\"stoa_group\"",
        "\"users\"",
        "\"blocked\"",
        "\"phone_number\"",
        "\"$date\"",
    ]);
    let seeds = [text.into(), lines.into(), exported(ExportFormat::Auth0)];
    explore("auth0", Format::Auth0, true, &Options::default(), &seeds, &tokens);
}

#[test]
fn fuzz_firebase() {
    const SIGNER: &str = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==";
    let project = FirebaseParams::new(SIGNER, "Bw==", 8, 14).ok();
    let options = Options { firebase: project, ..Options::default() };
    let json = r#"{"users":[{"localId":"u1","email":"a@x","emailVerified":true,
        "passwordHash":"lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
        "salt":"42xEC+ixf3L2lw==","displayName":"A, B","createdAt":"1591272000000","phoneNumber":"+4930123456","disabled":true,
        "customAttributes":"{\"role\":\"x\"}","providerUserInfo":[{"providerId":"google.com","rawId":"7"},
        {"providerId":"password","rawId":"a@x"}]},{"email":"no id"}]}"#;
    let csv = "u1,a@x,true,,42xEC+ixf3L2lw==,\"A, B\",,7,,,,,,,,,,,,,,,,1591272000000,,+4930123456,true,\"{\"\"role\"\":\"\"x\"\"}\",\n\
        short,row\n";
    let tokens = json_tokens(&[
        "\"localId\"",
        "\"users\"",
        "\"passwordHash\"",
        "\"salt\"",
        "\"providerUserInfo\"",
        "\"providerId\"",
        "\"rawId\"",
        "\"customAttributes\"",
        "\"mfaInfo\"",
        "\"createdAt\"",
        ",,,,",
        "\"\"",
        "\r\n",
        "\"phoneNumber\"",
        "\"disabled\"",
    ]);
    let array = json.trim_start_matches("{\"users\":").trim_end_matches('}');
    explore("firebase", Format::Firebase, true, &options, &[json.into(), csv.into(), array.into()], &tokens);
}

#[test]
fn fuzz_scim() {
    let text = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":3,"Resources":[
      {"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"2819c223-7f76-453a-919d-413861904646","userName":"bjensen",
       "name":{"formatted":"Ms. Barbara J Jensen","familyName":"Jensen","givenName":"Barbara"},"displayName":"Babs",
       "emails":[{"value":"home@x","type":"home"},{"value":"bj@x","primary":true}],"phoneNumbers":[{"value":"tel:+1-201-555-0123"}],
       "active":"True","password":"t1meMa$heen","addresses":[{"formatted":"100 Universal City"}],
       "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"employeeNumber":"701984","manager":{"value":"26"}},
       "meta":{"created":"2020-06-04T12:00:00Z"}},{"id":"u-7","userName":"seven","active":false},
      {"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"id":"g","displayName":"Guides",
       "members":[{"value":"2819c223-7f76-453a-919d-413861904646"},{"value":"u-7"},{"value":"h","type":"Group"}]}]}"#;
    let tokens = json_tokens(&[
        "\"Resources\"",
        "\"schemas\"",
        "\"id\"",
        "\"userName\"",
        "\"displayName\"",
        "\"emails\"",
        "\"value\"",
        "\"primary\"",
        "\"members\"",
        "\"$ref\"",
        "\"urn:ietf:params:scim:schemas:core:2.0:Group\"",
        "\"groups\"",
        "\"active\"",
        "\"name\"",
        "\"x509Certificates\"",
        "\"roles\"",
    ]);
    explore("scim", Format::Scim, true, &Options::default(), &[text.into(), exported(ExportFormat::Scim)], &tokens);
}

#[test]
fn fuzz_fusionauth() {
    let text = r#"{"users":[{"id":"597ae2f6-16a6-1027-98f4-abcdefabcdef","username":"a","email":"a@x","verified":true,"active":true,
        "encryptionScheme":"bcrypt","factor":10,"salt":"ZPo5nOpJSxnuOVG8Oi0JQO","password":"VGlJTqyyCBFSWY37RuOM1e4+Yo3DGGA",
        "data":{"plan":"x"},"mobilePhone":"+4930123456","birthDate":"1985-02-01","registrations":[{"applicationId":"p","roles":["r"]}],
        "memberships":[{"groupId":"g"}],"twoFactor":{"methods":[{"method":"authenticator","secret":"QUJD"}]},"insertInstant":1591272000000},
        {"email":"b@x","encryptionScheme":"salted-pbkdf2-hmac-sha256","factor":24000,"salt":"AAAA","password":"AAAAAAAAAAAAAAAA"},7]}"#;
    let array = text.trim_start_matches("{\"users\":").trim_end_matches('}');
    let csv = "email,username,firstName\na@x,a,A\n";
    let tokens = json_tokens(&[
        "\"users\"",
        "\"encryptionScheme\"",
        "\"factor\"",
        "\"salt\"",
        "\"password\"",
        "\"salted-md5\"",
        "\"registrations\"",
        "\"memberships\"",
        "\"twoFactor\"",
        "\"methods\"",
        "\"data\"",
        "\"identityProviders\"",
        "\"profile\"",
        "\"_id\"",
        "\"credentials\"",
        "\"uuid\"",
    ]);
    explore(
        "fusionauth",
        Format::Fusionauth,
        true,
        &Options::default(),
        &[text.into(), array.into(), csv.into()],
        &tokens,
    );
}
