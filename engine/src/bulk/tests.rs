//! A loaded pool is the pool that transactions would have made.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use stoa_format::{AttrId, Ordinal, Sub};

use super::*;
use crate::io::SimDisk;
use crate::io::sim::{Call, Crash, CrashPlan, Failure, Fault, Keep};
use crate::pool::open::lock;
use crate::pool::request::{GroupFields, Input, NewUser, Op, Status, Transaction, UserRef};
use crate::pool::view::{Select, UserView};
use crate::{Error, ErrorKind, Pool, Store, StoreOptions};

const SCHEMA: &str = r#"{"attributes":{
    "custom:age":{"type":"integer","searchable":true},
    "custom:tags":{"type":"string","multi":true,"searchable":true},
    "custom:ids":{"type":"string","multi":true,"alias":"unique"},
    "custom:prefs":{"type":"json"},
    "custom:photo":{"type":"bytes"},
    "custom:seen":{"type":"timestamp"},
    "custom:mail":{"type":"string","alias":"verified","collation":"email"},
    "custom:mail_verified":{"type":"boolean"},
    "email":{"searchable":true},
    "username":{"required":true}
}}"#;
const HASH: &str = "{SSHA}MFjIAQAJ7g5i2+uF8QCBRRCIbHFzYWx0c2FsdA==";

fn store(disk: &SimDisk) -> crate::Result<Store> {
    let options = StoreOptions { io: Arc::new(disk.clone()), threads: false, ..StoreOptions::new("/DATA") };
    Store::open(options)
}

fn new_pool(disk: &SimDisk) -> (Store, Pool) {
    let store = store(disk).unwrap();
    store.create_pool("p", Some(SCHEMA), None).unwrap();
    let pool = store.pool("p").unwrap();
    (store, pool)
}

/// A user as both ways take it.
#[derive(Debug, Clone, Default)]
struct Person {
    sub: Sub,
    attrs: BTreeMap<&'static str, String>,
    tags: Vec<String>,
    password: bool,
    status: Option<Status>,
    enabled: Option<bool>,
    groups: Vec<u32>,
    identities: Vec<(String, String)>,
    factors: Vec<(&'static str, String)>,
}

fn person(n: u128) -> Person {
    let mut attrs = BTreeMap::from([("username", format!("user{n}")), ("email", format!("User{n}@Example.com"))]);
    attrs.insert("phone_number", format!("+1{:010}", n + 1));
    attrs.insert("given_name", "Ana".into());
    attrs.insert("custom:age", format!("{}", n as i64 - 3));
    attrs.insert("custom:prefs", format!("{{ \"b\": {n}, \"a\": [1, 2] }}"));
    attrs.insert("custom:seen", "2026-01-31T12:00:00.000Z".into());
    attrs.insert("email_verified", if n % 2 == 0 { "true" } else { "false" }.into());
    Person {
        sub: Sub((n + (1 << 100)).to_be_bytes()),
        attrs,
        tags: vec![format!("t{}", n % 3), "b".into(), "a".into()],
        password: n % 2 == 0,
        status: (n % 3 == 0).then_some(Status::ResetRequired),
        enabled: (n % 4 == 0).then_some(false),
        groups: (0..(n % 3) as u32).collect(),
        identities: if n % 2 == 1 {
            vec![("google".into(), format!("s{n}")), ("a".into(), format!("x{n}"))]
        } else {
            Vec::new()
        },
        factors: if n % 3 == 1 { vec![("webauthn", format!("w{n}")), ("totp", "phone".into())] } else { Vec::new() },
    }
}

const GROUPS: [&str; 3] = ["staff", "admins", "all/of/them"];

fn fields(at: usize) -> GroupFields {
    GroupFields {
        description: Some(format!("group {at}").into()),
        precedence: Some(at as i64),
        ..GroupFields::default()
    }
}

fn push(load: &mut BulkLoad, person: &Person) -> crate::Result<Pushed> {
    let schema = Arc::clone(load.schema());
    let id = |name: &str| schema.by_name(name).unwrap().id;
    let mut attrs: Vec<(AttrId, BulkValue<'_>)> =
        person.attrs.iter().map(|(name, text)| (id(name), BulkValue::Text(text))).collect();
    for (attr, value) in &mut attrs {
        if let (BulkValue::Text(text), Some(attribute)) = (*value, schema.by_id(*attr)) {
            // The typed forms where they exist, text elsewhere.
            match attribute.ty {
                crate::pool::value::AttrType::Boolean => *value = BulkValue::Bool(text == "true"),
                crate::pool::value::AttrType::Integer => *value = BulkValue::Int(text.parse().unwrap()),
                crate::pool::value::AttrType::Json => *value = BulkValue::Json(text),
                _ => {}
            }
        }
    }
    let tags: Vec<Cow<'_, str>> = person.tags.iter().map(|tag| Cow::Borrowed(tag.as_str())).collect();
    if !tags.is_empty() {
        attrs.push((id("custom:tags"), BulkValue::Multi(&tags)));
    }
    let identities: Vec<_> = person.identities.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let factors: Vec<_> =
        person.factors.iter().map(|(kind, id)| BulkFactor { kind, id, label: Some("l"), blob: b"secret" }).collect();
    load.push(&BulkUser {
        sub: Some(person.sub),
        attrs: &attrs,
        password: person.password.then_some(HASH),
        enabled: person.enabled,
        status: person.status,
        created_at_ms: Some(5_000),
        updated_at_ms: Some(6_000),
        groups: &person.groups,
        identities: &identities,
        factors: &factors,
        ..BulkUser::default()
    })
}

fn loaded(pool: &Pool, people: &[Person]) -> BulkDone {
    let mut load = pool.bulk_load().unwrap();
    for (at, name) in GROUPS.iter().enumerate() {
        assert_eq!(load.group(name, &fields(at)).unwrap(), at as u32);
    }
    for (n, person) in people.iter().enumerate() {
        assert_eq!(push(&mut load, person).unwrap(), Pushed::Taken(Ordinal(n as u64)));
    }
    load.finish().unwrap()
}

fn transact(pool: &Pool, ops: Vec<Op>) -> crate::Result<()> {
    pool.commit(Transaction { ops, ..Transaction::default() }).map(drop)
}

fn create(pool: &Pool, person: &Person) -> crate::Result<()> {
    let raw = |text: &str| Input::Raw(text.to_owned().into());
    let mut attrs: Vec<(Box<str>, Input)> =
        person.attrs.iter().map(|(name, text)| ((*name).into(), raw(text))).collect();
    if !person.tags.is_empty() {
        attrs.push(("custom:tags".into(), Input::Json(person.tags.clone().into())));
    }
    let new = NewUser {
        sub: Some(person.sub),
        attrs,
        password: person.password.then(|| HASH.into()),
        status: person.status,
        enabled: person.enabled,
        created_at_ms: Some(5_000),
        updated_at_ms: Some(6_000),
        ..NewUser::default()
    };
    let mut ops = vec![Op::UserCreate(Box::new(new))];
    let user = UserRef::Sub(person.sub);
    for (provider, subject) in &person.identities {
        let (provider, subject) = (provider.as_str().into(), subject.as_str().into());
        ops.push(Op::IdentityLink { user: user.clone(), provider, subject });
    }
    for (kind, id) in &person.factors {
        let (kind, id, blob) = ((*kind).into(), id.as_str().into(), "secret".into());
        ops.push(Op::FactorPut { user: user.clone(), kind, id, if_version: None, label: Some("l".into()), blob });
    }
    for group in &person.groups {
        ops.push(Op::GroupAdd { name: GROUPS[*group as usize].into(), users: vec![user.clone()] });
    }
    transact(pool, ops)
}

fn transacted(pool: &Pool, people: &[Person]) {
    for (at, name) in GROUPS.iter().enumerate() {
        transact(pool, vec![Op::GroupCreate { name: (*name).into(), fields: fields(at) }]).unwrap();
    }
    people.iter().for_each(|person| create(pool, person).unwrap());
}

/// A user's view, apart from what counts its changes.
fn view(pool: &Pool, user: &UserRef) -> Option<UserView> {
    let view = pool.snapshot().user(user, &Select::All).unwrap()?;
    Some(UserView { version: 0, updated_at_ms: 0, ..view })
}

fn assert_equal(a: &Pool, b: &Pool, people: &[Person]) {
    let (x, y) = (a.snapshot(), b.snapshot());
    assert_eq!(x.user_count().unwrap(), people.len() as u64);
    for person in people {
        let user = UserRef::Sub(person.sub);
        let seen = view(a, &user);
        assert!(seen.is_some());
        assert_eq!(seen, view(b, &user));
        for attr in ["username", "email", "phone_number"] {
            let Some(value) = person.attrs.get(attr) else { continue };
            let by = UserRef::Alias { attr: attr.into(), value: value.to_uppercase().into() };
            assert_eq!(view(a, &by), seen, "by {attr}");
        }
        let hash = |pool: &Pool| pool.snapshot().password(&user).unwrap().map(|view| view.hash);
        assert_eq!(hash(a), hash(b));
        assert_eq!(x.identities(&user).unwrap(), y.identities(&user).unwrap());
        for (provider, subject) in &person.identities {
            assert_eq!(x.find_identity(provider, subject).unwrap(), Some(person.sub));
        }
        let factors = |snapshot: &crate::pool::snapshot::Snapshot| {
            let factors = snapshot.factors(&user).unwrap();
            factors.into_iter().map(|view| (view.kind, view.id, view.label)).collect::<Vec<_>>()
        };
        assert_eq!(factors(&x), factors(&y));
        for (kind, id) in person.factors.iter().filter(|(kind, _)| *kind == "webauthn") {
            assert_eq!(x.find_factor(kind, id).unwrap(), Some(person.sub));
        }
    }
    for name in GROUPS {
        let described = |snapshot: &crate::pool::snapshot::Snapshot| {
            snapshot.group(name).unwrap().map(|view| (view.name, view.description, view.precedence, view.version))
        };
        assert_eq!(described(&x), described(&y));
        let filter = format!("groups eq \"{name}\"");
        assert_eq!(x.count(Some(&filter), &[]).unwrap(), y.count(Some(&filter), &[]).unwrap(), "{filter}");
    }
    for filter in [
        "email sw \"user1\"",
        "custom:age gt 0",
        "email_verified eq true",
        "custom:tags eq \"t1\"",
        "status eq \"CONFIRMED\"",
    ] {
        assert_eq!(x.count(Some(filter), &[]).unwrap(), y.count(Some(filter), &[]).unwrap(), "{filter}");
    }
}

fn two_pools(people: &[Person]) -> (SimDisk, SimDisk) {
    let (one, two) = (SimDisk::new(1), SimDisk::new(2));
    let ((one_store, a), (two_store, b)) = (new_pool(&one), new_pool(&two));
    let done = loaded(&a, people);
    assert_eq!((done.users, done.seq.0), (people.len() as u64, 1));
    transacted(&b, people);
    assert_equal(&a, &b, people);
    drop((a, b));
    one_store.close().unwrap();
    two_store.close().unwrap();
    (one, two)
}

#[test]
fn a_loaded_pool_is_what_transactions_make_also_when_opened_again() {
    let people: Vec<Person> = (0..60).map(person).collect();
    let (one, two) = two_pools(&people);
    let (a, b) = (store(&one).unwrap(), store(&two).unwrap());
    let (a, b) = (a.pool("p").unwrap(), b.pool("p").unwrap());
    assert_equal(&a, &b, &people);
    // It takes ordinary writes, refuses what is taken, and no second load.
    assert_eq!(create(&a, &person(7)).unwrap_err().kind(), ErrorKind::Exists);
    let same_name = Person { sub: Sub([9; 16]), ..person(7) };
    assert_eq!(create(&a, &same_name).unwrap_err().kind(), ErrorKind::Duplicate);
    create(&a, &person(60)).unwrap();
    create(&b, &person(60)).unwrap();
    assert_equal(&a, &b, &(0..61).map(person).collect::<Vec<_>>());
    assert_eq!(a.bulk_load().map(drop).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(a.seq().0, 2);
}

#[test]
fn what_may_clash_is_deferred_and_takes_nothing() {
    let (_store, pool) = new_pool(&SimDisk::new(1));
    let mut load = pool.bulk_load().unwrap();
    load.group(GROUPS[0], &fields(0)).unwrap();
    load.group(GROUPS[1], &fields(1)).unwrap();
    let first = Person { groups: Vec::new(), ..person(1) };
    assert!(matches!(push(&mut load, &first).unwrap(), Pushed::Taken(_)));
    let other = |n| Person { groups: Vec::new(), ..person(n) };
    let mut clashes = Vec::new();
    clashes.push(Person { sub: first.sub, ..other(10) });
    for attr in ["username", "email", "phone_number"] {
        let mut clash = other(11);
        clash.attrs.insert(attr, first.attrs[attr].to_lowercase());
        clashes.push(clash);
    }
    clashes.push(Person { identities: first.identities.clone(), ..other(12) });
    clashes.push(Person { factors: first.factors.clone(), ..other(13) });
    for clash in &clashes {
        assert_eq!(push(&mut load, clash).unwrap(), Pushed::Deferred, "{clash:?}");
    }
    // What they would have taken is free.
    for n in 10..14 {
        assert!(matches!(push(&mut load, &other(n)).unwrap(), Pushed::Taken(_)));
    }
    assert_eq!(load.finish().unwrap().users, 5);
    for clash in &clashes {
        assert!(matches!(create(&pool, clash).unwrap_err().kind(), ErrorKind::Exists | ErrorKind::Duplicate));
    }
}

#[test]
fn a_verified_alias_is_owned_by_who_verified_it() {
    let (_store, pool) = new_pool(&SimDisk::new(1));
    let mut load = pool.bulk_load().unwrap();
    let with = |n: u128, verified: &str| {
        let mut person = Person { groups: Vec::new(), ..person(n) };
        person.attrs.insert("custom:mail", "One@Example.com".into());
        person.attrs.insert("custom:mail_verified", verified.into());
        person
    };
    assert!(matches!(push(&mut load, &with(0, "false")).unwrap(), Pushed::Taken(_)));
    assert!(matches!(push(&mut load, &with(3, "true")).unwrap(), Pushed::Taken(_)));
    assert_eq!(push(&mut load, &with(6, "true")).unwrap(), Pushed::Deferred);
    load.finish().unwrap();
    let by = UserRef::Alias { attr: "custom:mail".into(), value: "one@example.com".into() };
    assert_eq!(view(&pool, &by).unwrap().sub, person(3).sub);
}

#[test]
fn a_row_that_breaks_a_rule_names_its_attribute_and_takes_nothing() {
    let (_store, pool) = new_pool(&SimDisk::new(1));
    let mut load = pool.bulk_load().unwrap();
    let good = Person { groups: Vec::new(), ..person(1) };
    let refusal = |load: &mut BulkLoad, person: &Person| -> Error { push(load, person).unwrap_err() };
    for (attr, text) in
        [("phone_number", "123"), ("username", ""), ("custom:seen", "soon"), ("email", &"x".repeat(3000))]
    {
        let mut bad = good.clone();
        bad.attrs.insert(attr, text.into());
        let error = refusal(&mut load, &bad);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(attr), "{error}");
    }
    let mut bad = good.clone();
    bad.attrs.remove("username");
    assert_eq!(refusal(&mut load, &bad).message(), "username is required by this pool's schema");
    assert_eq!(refusal(&mut load, &Person { groups: vec![0], ..good.clone() }).kind(), ErrorKind::Invalid);
    assert_eq!(refusal(&mut load, &Person { sub: Sub::NIL, ..good.clone() }).kind(), ErrorKind::Invalid);
    let factors = vec![("sms", "x".to_owned())];
    assert_eq!(refusal(&mut load, &Person { factors, ..good.clone() }).kind(), ErrorKind::Invalid);
    assert!(matches!(push(&mut load, &good).unwrap(), Pushed::Taken(Ordinal(0))));
    assert_eq!(load.users(), 1);
}

#[test]
fn other_writes_wait_for_the_load_and_its_end_lets_them_in() {
    let (_store, pool) = new_pool(&SimDisk::new(1));
    let load = pool.bulk_load().unwrap();
    assert_eq!(create(&pool, &Person { groups: Vec::new(), ..person(0) }).unwrap_err().kind(), ErrorKind::TryAgain);
    assert_eq!(pool.bulk_load().map(drop).unwrap_err().kind(), ErrorKind::TryAgain);
    drop(load);
    create(&pool, &Person { groups: Vec::new(), ..person(0) }).unwrap();
    assert_eq!(pool.bulk_load().map(drop).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn members_join_after_their_rows() {
    let (_store, pool) = new_pool(&SimDisk::new(1));
    let mut load = pool.bulk_load().unwrap();
    let group = load.group("staff", &GroupFields::default()).unwrap();
    assert_eq!(load.group("staff", &fields(1)).unwrap(), group);
    let people: Vec<_> = (0..5).map(|n| Person { groups: Vec::new(), ..person(n) }).collect();
    for person in &people {
        push(&mut load, person).unwrap();
    }
    let username = load.schema().by_name("username").unwrap().id;
    let found = load.find_alias(username, "USER3").unwrap();
    assert_eq!(load.find_sub(people[3].sub), Some(found));
    assert_eq!(load.find_alias(username, "nobody"), None);
    load.join(group, found).unwrap();
    load.join(group, found).unwrap();
    assert!(load.join(group, Ordinal(5)).is_err());
    assert!(load.join(1, found).is_err());
    load.finish().unwrap();
    assert_eq!(pool.snapshot().count(Some("groups eq \"staff\""), &[]).unwrap(), 1);
}

#[test]
fn the_frame_alone_puts_the_files_in_their_place() {
    let people: Vec<Person> = (0..4).map(person).collect();
    let disk = SimDisk::new(1);
    let (_store, pool) = new_pool(&disk);
    disk.inject(Fault::new(Call::Rename, Failure::Io).on("MANIFEST").and_after());
    assert_eq!(loaded(&pool, &people).users, 4);
    let crashed = disk.crash(Crash::whole(Keep::None));
    let store = store(&crashed).unwrap();
    let pool = store.pool("p").unwrap();
    assert_eq!(lock(&pool.open.checkpoint).flushed_seq.0, 0);
    for person in &people {
        assert!(view(&pool, &UserRef::Sub(person.sub)).is_some());
    }
    // The next flush is past the frame, and the pool opens from its manifest.
    create(&pool, &person(4)).unwrap();
    pool.flush().unwrap();
    drop(pool);
    store.close().unwrap();
    let store = self::store(&crashed).unwrap();
    let pool = store.pool("p").unwrap();
    assert_eq!(lock(&pool.open.checkpoint).flushed_seq.0, 2);
    assert_eq!(pool.snapshot().user_count().unwrap(), 5);
    assert_eq!(pool.open.groups.load(std::sync::atomic::Ordering::Relaxed), 3);
    create(&pool, &person(5)).unwrap();
}

#[test]
fn a_crash_leaves_the_empty_pool_or_the_loaded_one() {
    let people: Vec<Person> = (0..4).map(person).collect();
    let workload = |disk: &SimDisk| -> crate::Result<bool> {
        let store = store(disk)?;
        store.create_pool("p", Some(SCHEMA), None)?;
        let pool = store.pool("p")?;
        let mut load = pool.bulk_load()?;
        for (at, name) in GROUPS.iter().enumerate() {
            load.group(name, &fields(at))?;
        }
        for person in &people {
            push(&mut load, person)?;
        }
        load.finish()?;
        Ok(true)
    };
    let plan = CrashPlan { stride: 13, random_count: 1, single_count: 1, ..CrashPlan::default() };
    let crashes = plan.run(workload, |disk, told| {
        let opened = store(disk).and_then(|store| store.pool("p").map(|pool| (store, pool)));
        let Ok((_store, pool)) = opened else {
            assert!(told.is_err(), "a loaded pool opens");
            return;
        };
        match pool.snapshot().user_count().unwrap() {
            0 => {
                assert!(told.is_err(), "what was acknowledged is there");
                // It can be loaded as if nothing had been.
                let done = loaded(&pool, &people);
                assert_eq!(done.users, 4);
            }
            count => assert_eq!(count, 4),
        }
        for person in &people {
            assert!(view(&pool, &UserRef::Sub(person.sub)).is_some());
        }
    });
    assert!(crashes > 50);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn any_people_load_as_they_would_be_created(names in prop::collection::btree_set("[a-zäß]{1,12}", 1..40)) {
        let people: Vec<Person> = names
            .iter()
            .enumerate()
            .map(|(n, name)| {
                let mut person = person(n as u128);
                person.attrs.insert("username", format!("{name}-{n}"));
                person.attrs.insert("given_name", name.repeat(n));
                person
            })
            .collect();
        two_pools(&people);
    }
}
