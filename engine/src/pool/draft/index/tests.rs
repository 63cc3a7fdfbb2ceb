//! Values that meet in the alias index: different ones under one key.

use std::collections::HashMap;
use std::sync::Arc;

use crate::bulk::{BulkUser, BulkValue, Pushed};
use crate::io::SimDisk;
use crate::pool::keyspace::alias_hash_in_key;
use crate::pool::request::{Input, NewUser, Op, Transaction, UserRef};
use crate::pool::view::Select;
use crate::{ErrorKind, Pool, Result, Store, StoreOptions};

const SCHEMA: &str = r#"{"attributes": {"custom:ids": {"type": "string", "multi": true, "alias": "unique"}}}"#;

fn store(disk: &SimDisk) -> Store {
    let options = StoreOptions { io: Arc::new(disk.clone()), threads: false, ..StoreOptions::new("/DATA") };
    Store::open(options).unwrap()
}

/// Two values whose hashes are the same as far as they stand in keys: of 100,000 values two mostly are.
fn meeting(pool: &Pool) -> [String; 2] {
    let mut seen = HashMap::new();
    let value = |number: u32| format!("v{number}");
    (0..)
        .find_map(|number| {
            let hash = alias_hash_in_key(pool.open.alias_hash(&value(number)));
            seen.insert(hash, number).map(|other| [value(other), value(number)])
        })
        .unwrap()
}

fn raw(text: &str) -> Input {
    Input::Raw(text.to_owned().into())
}

fn commit(pool: &Pool, op: Op) -> Result<()> {
    pool.commit(Transaction { ops: vec![op], ..Transaction::default() }).map(drop)
}

fn create(pool: &Pool, username: &str) -> Result<()> {
    let attrs = vec![("username".into(), raw(username))];
    commit(pool, Op::UserCreate(Box::new(NewUser { attrs, ..NewUser::default() })))
}

fn alias(attr: &str, value: &str) -> UserRef {
    UserRef::Alias { attr: attr.into(), value: value.into() }
}

fn sub(pool: &Pool, attr: &str, value: &str) -> Option<stoa_format::Sub> {
    pool.snapshot().user(&alias(attr, value), &Select::Nothing).unwrap().map(|user| user.sub)
}

#[test]
fn users_whose_names_meet_in_the_index_are_told_apart() {
    for is_flushed in [false, true] {
        let disk = SimDisk::new(1);
        let store = store(&disk);
        store.create_pool("p", None, None).unwrap();
        let pool = store.pool("p").unwrap();
        let [one, other] = meeting(&pool);
        create(&pool, &one).unwrap();
        if is_flushed {
            pool.flush().unwrap();
        }
        assert_eq!(sub(&pool, "username", &other), None);
        create(&pool, &other).unwrap();
        let [first, second] = [&one, &other].map(|name| sub(&pool, "username", name).unwrap());
        assert_ne!(first, second);
        for name in [&one, &other] {
            assert_eq!(create(&pool, name).unwrap_err().kind(), ErrorKind::Duplicate);
        }
        commit(&pool, Op::UserDelete { user: alias("username", &one), if_version: None }).unwrap();
        if is_flushed {
            pool.flush().unwrap();
        }
        assert_eq!(sub(&pool, "username", &one), None);
        assert_eq!(sub(&pool, "username", &other), Some(second));
        create(&pool, &one).unwrap();
    }
}

#[test]
fn of_a_users_values_that_meet_in_the_index_one_goes_and_the_other_stays() {
    let disk = SimDisk::new(1);
    let store = store(&disk);
    store.create_pool("p", Some(SCHEMA), None).unwrap();
    let pool = store.pool("p").unwrap();
    let [one, other] = meeting(&pool);
    create(&pool, "user").unwrap();
    let set = |values: &[&String]| {
        let changes = vec![("custom:ids".into(), raw(&serde_json::to_string(values).unwrap()))];
        let user = alias("username", "user");
        commit(&pool, Op::UserSet { user, if_version: None, take_alias: false, changes }).unwrap();
    };
    let found = || [&one, &other].map(|value| sub(&pool, "custom:ids", value).is_some());
    for (values, expected) in [
        (&[&one, &other][..], [true, true]),
        (&[&other], [false, true]),
        (&[&one], [true, false]),
        (&[&one, &other], [true, true]),
        (&[&one], [true, false]),
    ] {
        set(values);
        assert_eq!(found(), expected);
        pool.flush().unwrap();
        assert_eq!(found(), expected);
    }
}

#[test]
fn loaded_users_whose_names_meet_in_the_index_are_told_apart() {
    let disk = SimDisk::new(1);
    let store = store(&disk);
    store.create_pool("p", None, None).unwrap();
    let pool = store.pool("p").unwrap();
    let names = meeting(&pool);
    let mut load = pool.bulk_load().unwrap();
    let username = load.schema().by_name("username").unwrap().id;
    for name in names.iter().rev() {
        let attrs = [(username, BulkValue::Text(name))];
        let pushed = load.push(&BulkUser { attrs: &attrs, ..BulkUser::default() }).unwrap();
        assert!(matches!(pushed, Pushed::Taken(_)));
    }
    load.finish().unwrap();
    let [one, other] = [0, 1].map(|i| sub(&pool, "username", &names[i]));
    assert!(one.is_some() && other.is_some() && one != other);
    assert!(store.verify().findings.is_empty());
}
