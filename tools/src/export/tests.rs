//! Whatever a pool holds comes back from each format as it was.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io::Write,
    rc::Rc,
    sync::Arc,
};

use proptest::prelude::*;

use super::{ExportFormat, ExportMember, ExportUser, Memberships, exporter};
use crate::import::{
    Format,
    attrs::{AttrSpec, AttrTable, Kind, standard},
    input::Input,
    record::{AttrKey, Factor, FactorKind, ImportGroup, ImportPassword, ImportUser, ImportValue, MemberRef, Status},
    testing::{Run, shared},
};

const FORMATS: [(ExportFormat, Format); 5] = [
    (ExportFormat::Ldif, Format::Ldif),
    (ExportFormat::CognitoCsv, Format::CognitoCsv),
    (ExportFormat::Auth0, Format::Auth0),
    (ExportFormat::Keycloak, Format::Keycloak),
    (ExportFormat::Scim, Format::Scim),
];

/// A pool to export.
#[derive(Clone)]
struct Pool {
    table: Arc<AttrTable>,
    users: Vec<ImportUser<'static>>,
    groups: Vec<ImportGroup<'static>>,
}

/// An output that can be looked at while its exporter lives.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn export(format: ExportFormat, pool: &Pool) -> Vec<u8> {
    let out = Shared::default();
    let mut exporter = exporter(format, "acme, inc", &pool.table, Box::new(out.clone())).unwrap();
    for group in &pool.groups {
        exporter.group(group).unwrap();
        if exporter.memberships() == Memberships::OfGroups {
            for user in pool.users.iter().filter(|user| user.groups.contains(&group.name)) {
                let username = user.text(standard::USERNAME);
                exporter.member(&ExportMember { sub: user.sub.unwrap(), username }).unwrap();
            }
        }
    }
    for user in &pool.users {
        exporter.user(&ExportUser { user: user.clone(), version: 3 }).unwrap();
    }
    exporter.finish().unwrap();
    drop(exporter);
    out.0.borrow().clone()
}

/// Exports, imports into nothing, and compares.
fn comes_back(format: ExportFormat, import: Format, pool: &Pool) -> Result<(), TestCaseError> {
    let input = [Input::from_bytes("export", export(format, pool))];
    let run = Run::plain(import, &input);
    prop_assert!(run.refused.is_empty(), "{format:?}: {:?}", run.refused);
    prop_assert_eq!(run.users.len(), pool.users.len(), "{:?}", format);
    let mut memberships = BTreeSet::new();
    for (got, want) in run.users.iter().zip(&pool.users) {
        same_user(format, &run, got, pool, want)?;
        memberships.extend(got.groups.iter().map(|group| (group.to_string(), want.sub)));
    }
    let mut names = BTreeSet::new();
    for group in &run.groups {
        let want = pool.groups.iter().find(|want| want.name == group.name);
        let Some(want) = want else {
            prop_assert!(false, "{format:?}: a group too many");
            continue;
        };
        names.insert(group.name.to_string());
        prop_assert!(group.description == want.description, "{format:?}: description");
        prop_assert_eq!(group.precedence, want.precedence);
        prop_assert!(group.role == want.role && group.kind == want.kind, "{format:?}: role or kind");
        prop_assert!(group.attributes == want.attributes, "{format:?}: attributes");
        for member in &group.members {
            memberships.insert((group.name.to_string(), sub_of(pool, member)));
        }
    }
    prop_assert_eq!(names.len(), pool.groups.len(), "{:?}", format);
    let want: BTreeSet<_> =
        pool.users.iter().flat_map(|user| user.groups.iter().map(|group| (group.to_string(), user.sub))).collect();
    prop_assert!(memberships == want, "{format:?}: memberships");
    Ok(())
}

fn same_user(
    format: ExportFormat,
    run: &Run<'_>,
    got: &ImportUser<'_>,
    pool: &Pool,
    want: &ImportUser<'_>,
) -> Result<(), TestCaseError> {
    let named = |table: &AttrTable, user: &ImportUser<'_>| -> BTreeMap<String, String> {
        let show = |value: &ImportValue<'_>| match value {
            ImportValue::Str(text) => format!("str {text:?}"),
            ImportValue::Json(text) => format!("json {text:?}"),
            ImportValue::Bool(value) => format!("bool {value}"),
            ImportValue::Int(value) => format!("int {value}"),
            ImportValue::Time(value) => format!("time {value}"),
            ImportValue::Bytes(bytes) => format!("bytes {bytes:?}"),
            ImportValue::Multi(values) => format!("multi {values:?}"),
        };
        user.attrs.iter().map(|(key, value)| (table.spec(*key).name.to_string(), show(value))).collect()
    };
    prop_assert_eq!(named(&run.attributes, got), named(&pool.table, want), "{:?}", format);
    for (key, _) in &got.attrs {
        let spec = run.attributes.spec(*key);
        let wanted = pool.table.spec(pool.table.key(&spec.name).unwrap());
        prop_assert_eq!(&*spec, &*wanted, "{:?}", format);
    }
    prop_assert_eq!(got.sub, want.sub);
    prop_assert!(got.password == want.password, "{format:?}: password {:?} {:?}", got.password, want.password);
    prop_assert_eq!((got.enabled, got.status, got.temporary), (want.enabled, want.status, want.temporary));
    prop_assert_eq!((got.created_at_ms, got.updated_at_ms), (want.created_at_ms, want.updated_at_ms), "{:?}", format);
    prop_assert!(got.identities == want.identities, "{format:?}: identities");
    prop_assert!(got.factors == want.factors, "{format:?}: factors");
    Ok(())
}

fn sub_of(pool: &Pool, member: &MemberRef<'_>) -> Option<[u8; 16]> {
    let of_name = |key: AttrKey, text: &str| {
        pool.users.iter().find(|user| user.text(key) == Some(text)).and_then(|user| user.sub)
    };
    match member {
        MemberRef::Sub(sub) => Some(*sub),
        MemberRef::Username(name) => of_name(standard::USERNAME, name),
        MemberRef::Email(email) => of_name(standard::EMAIL, email),
    }
}

const HASHES: [&str; 9] = [
    "{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr",
    "{SSHA256}xfqc9aOR6z15YaEk3/Ufd7UL9+JozB/1EPmCDTizL0GkdA7BuNda6w==",
    "$2b$10$nFguVi9LsCAcvTZFKQlRKeLVydo8ETv483lkNsSFI/Wl1Rz1Ypo1K",
    "$argon2id$v=19$m=32,t=2,p=4$cm94YnRVOW5jZzFzcVE4bQ$MNzk5BtR2vUhrp6qQEjRNw",
    "$pbkdf2-sha256$1212$3SABFJGDtyhrQMVt1uABPw$WyaUoqCLgvz97s523nF4iuOqZNbp5Nt8do/cuaa7AiI",
    "$pbkdf2-sha256$i=27500,l=32$RaXjs4RiUKgJGkX6kp277w$ng6oDRung/pBLayd5ro7IU3mL/p86pg3WvQNQc+N1Eg",
    "$5$LKO/Ute40T3FNF95$U0prpBQd4PloSGU0pnpM4z9wKn4vZ1.jsrzQfPqxph9",
    "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0",
    "pbkdf2_sha256$10000$bEwAfNrH1TlQ$OgYUblFNUX1B8GfMqaCYUK/iHyO0pa7STTDdaEJBuY0=",
];

fn text() -> impl Strategy<Value = String> {
    let odd = [
        "",
        " ",
        " lead",
        "trail ",
        "a,b",
        "a\\,b",
        "\\",
        "line\nbreak",
        "\r\n",
        "\t",
        "Łukasz Żak",
        "例え",
        "=x",
        ": <",
        "\"q\"",
        "\u{feff}x",
        "null",
        "true",
        "{}",
        "[1]",
        "0",
        "+49 30 1",
        "+4930123456",
        "#x",
        "+a",
        "\u{a0}x",
        "محمد",
        "/a",
        "role:x",
    ];
    prop_oneof![3 => "\\PC{0,12}", 3 => prop::sample::select(odd.to_vec()).prop_map(str::to_owned), 1 => "[a-z]{100,200}"]
}

fn json_text() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "{\"a\":[1,2.5,\"ü\"]}",
        "null",
        "\"text\"",
        "[1]",
        "{\"b\":1,\"a\":2}",
        "1e2",
        "[\"x\"]",
    ])
    .prop_map(str::to_owned)
}

fn factor() -> impl Strategy<Value = Factor<'static>> {
    let kind = prop::sample::select(vec![FactorKind::Totp, FactorKind::Webauthn, FactorKind::Recovery]);
    let blob = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        Just(b"{\"id\":\"7\",\"type\":\"otp\",\"credentialData\":\"{}\"}".to_vec()),
    ];
    (kind, text(), prop::option::of(text()), blob).prop_map(|(kind, id, label, blob)| Factor {
        kind,
        id: id.into(),
        label: label.map(Cow::Owned),
        blob: blob.into(),
    })
}

fn password() -> impl Strategy<Value = ImportPassword<'static>> {
    prop_oneof![
        4 => prop::sample::select(HASHES.to_vec()).prop_map(|hash| ImportPassword::Hash(hash.into())),
        1 => Just(ImportPassword::None),
        1 => Just(ImportPassword::ResetRequired),
        1 => Just(ImportPassword::Locked),
    ]
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![
        Status::Unconfirmed,
        Status::Confirmed,
        Status::ResetRequired,
        Status::ForceChangePassword,
        Status::External,
    ])
}

/// Custom attributes of every type, some with names that formats know.
fn customs() -> Vec<(&'static str, Kind, bool)> {
    vec![
        ("tier", Kind::Str, false),
        ("teams", Kind::Str, true),
        ("age", Kind::Int, false),
        ("beta", Kind::Bool, false),
        ("prefs", Kind::Json, false),
        ("seen_at", Kind::Time, false),
        ("jpeg_photo", Kind::Bytes, false),
        ("employee_number", Kind::Str, false),
        ("employee_type", Kind::Str, true),
        ("department_number", Kind::Str, false),
        ("app_metadata", Kind::Json, false),
        ("user_metadata", Kind::Str, false),
        ("middle_name", Kind::Str, false),
        ("mfa_enabled", Kind::Str, false),
        ("uid_number", Kind::Int, false),
        ("cn", Kind::Str, false),
        ("emails", Kind::Str, true),
    ]
}

fn value(kind: Kind, multi: bool) -> BoxedStrategy<ImportValue<'static>> {
    if multi {
        return prop::collection::btree_set(text(), 1..5)
            .prop_map(|values| ImportValue::Multi(values.into_iter().map(Cow::Owned).collect()))
            .boxed();
    }
    match kind {
        Kind::Str => text().prop_map(|text| ImportValue::Str(text.into())).boxed(),
        Kind::Bool => any::<bool>().prop_map(ImportValue::Bool).boxed(),
        Kind::Int => any::<i64>().prop_map(ImportValue::Int).boxed(),
        Kind::Time => any::<i64>().prop_map(ImportValue::Time).boxed(),
        Kind::Json => json_text().prop_map(|text| ImportValue::Json(text.into())).boxed(),
        Kind::Bytes => prop::collection::vec(any::<u8>(), 0..90).prop_map(|b| ImportValue::Bytes(b.into())).boxed(),
    }
}

fn attributes() -> impl Strategy<Value = BTreeMap<AttrKey, ImportValue<'static>>> {
    let table = pool_table();
    let specs = table.since(0);
    let some = prop::sample::subsequence(specs, 0..12);
    some.prop_flat_map(|specs| {
        let pairs: Vec<_> = specs.into_iter().map(|(key, spec)| (Just(key), value(spec.kind, spec.multi))).collect();
        pairs.prop_map(|pairs| pairs.into_iter().collect())
    })
}

fn pool_table() -> AttrTable {
    AttrTable::with_schema(customs().into_iter().map(|(name, kind, multi)| AttrSpec {
        name: format!("custom:{name}").into(),
        kind,
        multi,
    }))
}

fn user(number: u8) -> impl Strategy<Value = ImportUser<'static>> {
    let times = (prop::option::of(0_i64..4_102_444_800_000), prop::option::of(0_i64..4_102_444_800_000));
    let identities = prop::collection::vec((text(), text()), 0..3);
    let flags = (any::<bool>(), prop::option::of(status()), any::<bool>());
    let rest = (times, identities, prop::collection::vec(factor(), 0..3), flags);
    let groups = prop::sample::subsequence(GROUPS.to_vec(), 0..GROUPS.len());
    (attributes(), password(), groups, text(), rest).prop_map(
        move |(
            mut attrs,
            password,
            groups,
            name,
            ((created, updated), identities, factors, (enabled, status, temporary)),
        )| {
            // Usernames are unique and not empty; some users have none.
            attrs.remove(&standard::USERNAME);
            if number % 3 != 2 {
                attrs.insert(standard::USERNAME, ImportValue::Str(format!("{name}{number}").into()));
            }
            ImportUser {
                sub: Some([number.wrapping_mul(37); 16]),
                attrs: attrs.into_iter().collect(),
                password,
                enabled: Some(enabled),
                status,
                created_at_ms: created,
                updated_at_ms: updated,
                groups: groups.into_iter().map(Cow::Borrowed).collect(),
                identities: identities.into_iter().map(|(p, s)| (p.into(), s.into())).collect(),
                factors,
                temporary,
                ..ImportUser::default()
            }
        },
    )
}

const GROUPS: [&str; 9] = [
    "staff",
    "staff/night, late",
    "role:admin",
    "role:app/reader",
    " edge ",
    "a//b",
    "/x",
    "Gruppe\nß",
    "staff/night, late/x",
];

fn groups() -> impl Strategy<Value = Vec<ImportGroup<'static>>> {
    let one = (
        prop::option::of(text()),
        prop::option::of(any::<i64>()),
        prop::option::of(text()),
        prop::option::of(prop_oneof![Just("role".to_owned()), text()]),
        prop::option::of(Just("{\"a\":1}")),
    );
    prop::collection::vec(one, GROUPS.len()).prop_map(|all| {
        let with_name = all.into_iter().zip(GROUPS);
        with_name
            .map(|((description, precedence, role, kind, attributes), name)| ImportGroup {
                name: name.into(),
                description: description.map(Cow::Owned),
                precedence,
                role: role.map(Cow::Owned),
                kind: kind.map(Cow::Owned),
                attributes: attributes.map(Cow::Borrowed),
                ..ImportGroup::default()
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_exported_is_imported_as_it_was(users in (user(0), user(1), user(2), user(3)), groups in groups()) {
        let users = vec![users.0, users.1, users.2, users.3];
        let pool = Pool { table: Arc::new(pool_table()), users, groups };
        for (format, import) in FORMATS {
            comes_back(format, import, &pool)?;
        }
    }
}

#[test]
fn every_known_hash_comes_back_from_every_format() {
    let Some(vectors) = shared("hashes/hash_vectors.jsonl") else { return };
    let caps = stoa_engine::password::Caps::default();
    let mut users = Vec::new();
    for line in vectors.bytes().split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let vector: serde_json::Value = serde_json::from_slice(line).unwrap();
        let hash = vector["hash"].as_str().unwrap().to_owned();
        if stoa_engine::password::parse(&hash, &caps).is_err() {
            continue;
        }
        let number = users.len() as u16;
        let mut sub = [7; 16];
        sub[..2].copy_from_slice(&number.to_be_bytes());
        users.push(ImportUser {
            sub: Some(sub),
            attrs: vec![(standard::USERNAME, ImportValue::Str(format!("user{number}").into()))],
            password: ImportPassword::Hash(hash.into()),
            enabled: Some(true),
            ..ImportUser::default()
        });
    }
    assert!(users.len() > 150, "{}", users.len());
    let pool = Pool { table: Arc::new(AttrTable::default()), users, groups: Vec::new() };
    for (format, import) in FORMATS {
        comes_back(format, import, &pool).unwrap();
    }
}

#[test]
fn what_a_real_directory_held_goes_through_every_format() {
    for name in ["ldif/test.ldif", "ldif/its9282-exampledb.ldif"] {
        let Some(input) = shared(name) else { return };
        let inputs = [input];
        let run = Run::plain(Format::Ldif, &inputs);
        let mut users = Vec::new();
        for (number, user) in run.users.into_iter().enumerate() {
            let mut sub = [9; 16];
            sub[..8].copy_from_slice(&(number as u64).to_be_bytes());
            // A pool keeps no password in the clear and always knows whether a user is enabled.
            let password = match user.password {
                ImportPassword::Plain(_) => ImportPassword::ResetRequired,
                other => other,
            };
            users.push(ImportUser { sub: Some(sub), password, enabled: user.enabled.or(Some(true)), ..user });
        }
        for (format, import) in FORMATS {
            let input = [Input::from_bytes("export", {
                let pool = PoolRef { table: &run.attributes, users: &users };
                pool.export(format)
            })];
            let back = Run::plain(import, &input);
            assert_eq!(back.users.len(), users.len(), "{name} {format:?}");
            for (got, want) in back.users.iter().zip(&users) {
                assert_eq!(got.attrs.len(), want.attrs.len(), "{name} {format:?} at {}", want.line);
                for (key, value) in &want.attrs {
                    let got = back.attrs(got);
                    assert!(
                        got.get(&*run.attributes.spec(*key).name) == Some(value),
                        "{name} {format:?} at {}",
                        want.line
                    );
                }
                assert!(got.password == want.password && got.sub == want.sub, "{name} {format:?} at {}", want.line);
            }
        }
    }
}

/// Borrowed users, as a pool's reader would give them.
struct PoolRef<'p, 'a> {
    table: &'p Arc<AttrTable>,
    users: &'p [ImportUser<'a>],
}

impl PoolRef<'_, '_> {
    fn export(&self, format: ExportFormat) -> Vec<u8> {
        let out = Shared::default();
        let mut exporter = exporter(format, "pool", self.table, Box::new(out.clone())).unwrap();
        for user in self.users {
            exporter.user(&ExportUser { user: user.clone(), version: 1 }).unwrap();
        }
        exporter.finish().unwrap();
        drop(exporter);
        out.0.borrow().clone()
    }
}
