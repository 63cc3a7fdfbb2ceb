//! The straight line from a request to disk and back, on a real disk.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::sync::Arc;

use stoa_engine::pool::found::UserKey;
use stoa_engine::pool::request::{Input, NewUser, Op, Status, Transaction, UserRef};
use stoa_engine::pool::value::ValueRef;
use stoa_engine::pool::view::Select;
use stoa_engine::{ErrorKind, Pool, Store, StoreOptions};

fn options(dir: &tempfile::TempDir) -> StoreOptions {
    StoreOptions::new(dir.path().join("DATA"))
}

fn raw(text: &str) -> Input {
    Input::Raw(text.to_owned().into())
}

fn attrs(pairs: &[(&str, &str)]) -> Vec<(Box<str>, Input)> {
    pairs.iter().map(|(name, value)| ((*name).into(), raw(value))).collect()
}

fn create(pool: &Pool, pairs: &[(&str, &str)]) -> stoa_engine::Result<stoa_engine::pool::request::Committed> {
    let new = NewUser { attrs: attrs(pairs), ..NewUser::default() };
    pool.commit(Transaction { ops: vec![Op::UserCreate(Box::new(new))], ..Transaction::default() })
}

fn by(attr: &str, value: &str) -> UserRef {
    UserRef::Alias { attr: attr.into(), value: value.into() }
}

fn get(pool: &Pool, user: &UserRef, attr: &str) -> Option<String> {
    let select = Select::Named(Arc::from(vec![attr.into()]));
    let view = pool.snapshot().user(user, &select).unwrap()?;
    view.attrs[0].1.as_ref().map(|value| value.text().into_owned())
}

#[test]
fn what_is_acknowledged_is_there_after_a_second_start() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::open(options(&dir)).unwrap();
        store.create_pool("acme", None, None).unwrap();
        let pool = store.pool("acme").unwrap();
        create(&pool, &[("username", "ana"), ("email", "Ana@Example.com"), ("given_name", "Ana")]).unwrap();
        create(&pool, &[("username", "bo"), ("email", "bo@example.com")]).unwrap();
        assert_eq!(get(&pool, &by("email", "ana@EXAMPLE.com"), "given_name").as_deref(), Some("Ana"));
        let refused = create(&pool, &[("username", "ANA")]).unwrap_err();
        assert_eq!((refused.kind(), refused.op()), (ErrorKind::Duplicate, Some(0)));
        let op = Op::UserSet {
            user: by("username", "bo"),
            if_version: Some(1),
            take_alias: false,
            changes: attrs(&[("given_name", "Bo")]),
        };
        let done = pool.commit(Transaction { ops: vec![op.clone()], ..Transaction::default() }).unwrap();
        assert_eq!(done.outcomes[0].version, Some(2));
        let refused = pool.commit(Transaction { ops: vec![op], ..Transaction::default() }).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        store.close().unwrap();
    }
    let store = Store::open(options(&dir)).unwrap();
    let pool = store.pool("acme").unwrap();
    assert_eq!(get(&pool, &by("username", "bo"), "given_name").as_deref(), Some("Bo"));
    assert_eq!(pool.snapshot().user_count().unwrap(), 2);
    assert_eq!(pool.seq().0, 3);
}

#[test]
fn a_user_that_was_found_reads_alike_from_memory_and_from_files() {
    const HASH: &str = "$2b$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(&dir)).unwrap();
    store.create_pool("acme", Some(r#"{"attributes":{"custom:tags":{"type":"string","multi":true}}}"#), None).unwrap();
    let pool = store.pool("acme").unwrap();
    let pairs = [("username", "ana"), ("email", "Ana@Example.com"), ("custom:tags", r#"["b","a"]"#)];
    let new = NewUser { attrs: attrs(&pairs), password: Some(HASH.into()), ..NewUser::default() };
    pool.commit(Transaction { ops: vec![Op::UserCreate(Box::new(new))], ..Transaction::default() }).unwrap();
    for in_files in [false, true] {
        if in_files {
            pool.flush().unwrap();
        }
        let snapshot = pool.snapshot();
        let user = snapshot.find(UserKey::Alias("email", "ana@example.COM")).unwrap().unwrap();
        let mut seen = Vec::new();
        let fields = user.profile(|attribute, value| seen.push((attribute.name.shared(), value.into_owned()))).unwrap();
        let expected: Vec<_> = seen.iter().map(|(name, value)| (&**name, value.text().into_owned())).collect();
        assert_eq!(
            expected,
            [("username", "ana".into()), ("email", "Ana@Example.com".into()), ("custom:tags", r#"["a","b"]"#.into())]
        );
        assert_eq!((fields, fields.sub), (user.fields().unwrap(), user.sub().unwrap()));
        assert!(user.with_password(|hash| hash == Some(HASH)).unwrap());
        assert!(
            user.with_sign_in(|status, on, hash| (status, on, hash) == (Status::Confirmed, true, Some(HASH))).unwrap()
        );
        for (name, value) in &seen {
            let attribute = snapshot.schema().by_name(name).unwrap();
            assert!(
                user.with_value(attribute, |found| found.map(ValueRef::into_owned).as_ref() == Some(value)).unwrap()
            );
        }
        let nickname = snapshot.schema().by_name("nickname").unwrap();
        assert!(user.with_value(nickname, |found| found.is_none()).unwrap());
        assert!(snapshot.find(UserKey::Alias("username", "bo")).unwrap().is_none());
        assert_eq!(snapshot.find(UserKey::Alias("nickname", "a")).err().unwrap().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn two_users_swap_an_alias_in_one_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(&dir)).unwrap();
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    let one = create(&pool, &[("username", "one")]).unwrap().outcomes[0].sub.unwrap();
    let two = create(&pool, &[("username", "two")]).unwrap().outcomes[0].sub.unwrap();
    let set = |sub, name: &str| Op::UserSet {
        user: UserRef::Sub(sub),
        if_version: None,
        take_alias: false,
        changes: attrs(&[("username", name)]),
    };
    let ops = vec![set(one, "two"), set(two, "one")];
    pool.commit(Transaction { ops, ..Transaction::default() }).unwrap();
    let found = pool.snapshot().user(&by("username", "one"), &Select::Nothing).unwrap().unwrap();
    assert_eq!(found.sub, two);
}

#[test]
fn many_writers_lose_nothing_and_beat_each_other_fairly() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(&dir)).unwrap();
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    create(&pool, &[("username", "hot")]).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let pool = pool.clone();
            scope.spawn(move || {
                for i in 0..25 {
                    create(&pool, &[("username", &format!("u{writer}-{i}"))]).unwrap();
                    let op = Op::UserSet {
                        user: by("username", "hot"),
                        if_version: None,
                        take_alias: false,
                        changes: attrs(&[("nickname", &format!("n{writer}-{i}"))]),
                    };
                    pool.commit(Transaction { ops: vec![op], ..Transaction::default() }).unwrap();
                }
            });
        }
    });
    let hot = pool.snapshot().user(&by("username", "hot"), &Select::Nothing).unwrap().unwrap();
    assert_eq!(hot.version, 201);
    assert_eq!(pool.snapshot().user_count().unwrap(), 201);
}

#[test]
fn one_process_at_a_time_and_no_data_without_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(&dir)).unwrap();
    let message = Store::open(options(&dir)).map(drop).unwrap_err().message().to_owned();
    assert!(message.contains("in use by pid"), "{message}");
    store.close().unwrap();
    std::fs::rename(dir.path().join("DATA.key"), dir.path().join("elsewhere")).unwrap();
    let message = Store::open(options(&dir)).map(drop).unwrap_err().message().to_owned();
    assert!(message.contains("no key file"), "{message}");
    assert!(!dir.path().join("DATA.key").exists(), "a key is never minted where data is");
}
