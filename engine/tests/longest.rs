//! What a commit takes, a flush takes: the longest values of every type, in every kind of index.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::path::Path;

use stoa_engine::io::SimDisk;
use stoa_engine::pool::request::{GroupFields, Input, NewUser, Op, RetryToken, Transaction, UserRef};
use stoa_engine::pool::view::Select;
use stoa_engine::{ErrorKind, JobKind, JobState, Pool, Result, Store, StoreOptions};

const SCHEMA: &str = r#"{"attributes": {
    "custom:text": {"type": "string", "max_len": 2048, "searchable": true},
    "custom:fold": {"type": "string", "max_len": 2048, "searchable": true, "collation": "casefold"},
    "custom:mail": {"type": "string", "max_len": 2048, "searchable": true, "collation": "email", "alias": "unique"},
    "custom:texts": {"type": "string", "max_len": 2048, "multi": true, "searchable": true, "collation": "casefold"},
    "custom:json": {"type": "json"},
    "custom:bytes": {"type": "bytes"},
    "custom:many": {"type": "bytes", "multi": true}
}}"#;

fn pool(disk: &SimDisk) -> (Store, Pool) {
    let mut options = StoreOptions::new(Path::new("/DATA"));
    options.io = disk.io();
    options.threads = false;
    let store = Store::open(options).unwrap();
    store.create_pool("acme", Some(SCHEMA), None).unwrap();
    let pool = store.pool("acme").unwrap();
    (store, pool)
}

fn commit(pool: &Pool, ops: Vec<Op>) -> Result<()> {
    pool.commit(Transaction { ops, ..Transaction::default() }).map(drop)
}

fn create(name: &str, attr: &str, value: &[u8]) -> Op {
    let attrs =
        vec![("username".into(), Input::Raw(name.to_owned().into())), (attr.into(), Input::Raw(value.to_vec().into()))];
    Op::UserCreate(Box::new(NewUser { attrs, ..NewUser::default() }))
}

fn set(name: &str, attr: &str, value: &[u8]) -> Op {
    let changes = vec![(attr.into(), Input::Raw(value.to_vec().into()))];
    let user = UserRef::Alias { attr: "username".into(), value: name.into() };
    Op::UserSet { user, if_version: None, take_alias: false, changes }
}

/// Texts of at most `bytes` bytes that grow as they are collated, and some that do not.
fn texts(bytes: usize) -> Vec<String> {
    let of = |part: &str| part.repeat(bytes / part.len());
    // ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM unfolds to 33 bytes, the ligature FFI and the sharp s to more
    // letters, zeroes are escaped in keys.
    vec![of("a"), of("\u{fdfa}"), of("\u{fb03}"), of("\u{df}"), of("\u{1e9e}"), of("\u{10ffff}"), of("\u{390}")]
}

/// A JSON array of 64 texts, each different.
fn list(texts: impl Iterator<Item = String>) -> Vec<u8> {
    serde_json::to_vec(&texts.collect::<Vec<_>>()).unwrap()
}

#[test]
fn what_is_committed_can_be_flushed_and_compacted() {
    let disk = SimDisk::new(1);
    let (store, pool) = pool(&disk);
    let mut written = Vec::new();
    let mut refused = 0;
    let mut values: Vec<(&str, Vec<u8>)> = Vec::new();
    for attr in ["custom:text", "custom:fold", "custom:mail", "given_name", "nickname", "profile", "address"] {
        values.extend(texts(2048).into_iter().map(|text| (attr, text.into_bytes())));
    }
    let mail = |text: String| format!("{}@example.com", text.chars().take(600).collect::<String>()).into_bytes();
    values.extend(texts(1800).into_iter().map(|text| ("custom:mail", mail(text))));
    for part in texts(2040) {
        let numbered = (0..64).map(|i| format!("{i:02}{}", part.chars().take(500).collect::<String>()));
        values.push(("custom:texts", list(numbered)));
    }
    let json = |part: &str| serde_json::to_vec(&part.repeat((65_536 - 2) / part.len())).unwrap();
    values.extend([("custom:json", json("x")), ("custom:json", json("\u{fdfa}"))]);
    values.push(("custom:bytes", vec![0; 65_536]));
    values.push(("custom:bytes", (0..65_536u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()));
    for (i, (attr, value)) in values.iter().enumerate() {
        let name = format!("user{i}");
        match commit(&pool, vec![create(&name, attr, value)]) {
            Ok(()) => written.push(name),
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::Limit | ErrorKind::Invalid | ErrorKind::Duplicate),
                    "{attr}: {error}"
                );
                assert!(error.message().len() < 300, "{error}");
                refused += 1;
            }
        }
    }
    assert!(written.len() > 30, "{} written, {refused} refused", written.len());
    pool.flush().unwrap();
    // Written over, and into the log again.
    for (i, (attr, value)) in values.iter().enumerate() {
        if written.contains(&format!("user{i}")) {
            commit(&pool, vec![set(&format!("user{i}"), attr, &value[..value.len().min(4)])]).ok();
            commit(&pool, vec![set(&format!("user{i}"), attr, value)]).ok();
        }
    }
    let job = pool.start_job(JobKind::Compact).unwrap();
    assert_eq!(pool.job(job.id).unwrap().state, JobState::Done, "{:?}", pool.job(job.id));
    assert_eq!(pool.verify().unwrap().findings, []);
    for name in &written {
        let user = UserRef::Alias { attr: "username".into(), value: name.as_str().into() };
        assert!(pool.snapshot().user(&user, &Select::All).unwrap().is_some());
    }
    drop((pool, store));
}

#[test]
fn a_key_that_no_run_file_holds_is_refused_and_the_flush_is_not() {
    let disk = SimDisk::new(2);
    let (_store, pool) = pool(&disk);
    let limit = |ops: Vec<Op>| {
        let error = commit(&pool, ops).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        error.message().to_owned()
    };
    // 683 ligatures of 33 bytes each are more than a key holds.
    let unfolding = "\u{fdfa}".repeat(682);
    assert!(limit(vec![create("a", "custom:fold", unfolding.as_bytes())]).contains("custom:fold"));
    let fits = "\u{fdfa}".repeat(480);
    commit(&pool, vec![create("b", "custom:fold", fits.as_bytes())]).unwrap();
    // Bytes of one value may be long, of several each is a key.
    let element = |bytes: usize| {
        use base64::Engine;
        serde_json::to_vec(&[base64::engine::general_purpose::STANDARD.encode(vec![7; bytes])]).unwrap()
    };
    assert!(limit(vec![create("c", "custom:many", &element(16_500))]).contains("custom:many"));
    commit(&pool, vec![create("d", "custom:many", &element(16_000))]).unwrap();
    // A schema cannot make searchable what is too long for it.
    commit(
        &pool,
        vec![Op::SchemaAlter {
            if_version: None,
            schema: r#"{"attributes": {"custom:late": {"type": "string", "collation": "casefold"}}}"#.into(),
        }],
    )
    .unwrap();
    commit(&pool, vec![create("e", "custom:late", unfolding.as_bytes())]).unwrap();
    let schema = r#"{"attributes": {"custom:late": {"type": "string", "searchable": true}}}"#;
    assert!(limit(vec![Op::SchemaAlter { if_version: None, schema: schema.into() }]).contains("custom:late"));
    // Names are bounded by their own rules, or by this.
    let long = "n".repeat(20_000);
    let user = || UserRef::Alias { attr: "username".into(), value: "b".into() };
    for op in [
        Op::IdentityLink { user: user(), provider: long.as_str().into(), subject: "s".into() },
        Op::IdentityLink { user: user(), provider: "p".into(), subject: long.as_str().into() },
        Op::GroupCreate { name: long.as_str().into(), fields: GroupFields::default() },
        Op::FactorPut {
            user: user(),
            kind: "webauthn".into(),
            id: long.as_str().into(),
            if_version: None,
            label: None,
            blob: Default::default(),
        },
    ] {
        let error = commit(&pool, vec![op]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Limit | ErrorKind::Invalid), "{error}");
    }
    let token = RetryToken { token: vec![1; 20_000].into(), request: [0; 16] };
    let tx = Transaction { token: Some(token), ops: vec![create("f", "nickname", b"x")], ..Transaction::default() };
    assert_eq!(pool.commit(tx).unwrap_err().kind(), ErrorKind::Limit);
    pool.flush().unwrap();
    assert_eq!(pool.verify().unwrap().findings, []);
}
