//! Filters by passes over columns and by indexes, against looking at one user after the other.

use super::*;
use crate::pool::Pool;
use crate::pool::filter::IntTest;
use crate::pool::request::{Input, NewUser, Op, Status, Transaction, UserRef};
use crate::{Store, StoreOptions};

const SCHEMA: &str = r#"{"attributes": {
    "custom:n": {"type": "integer", "searchable": true},
    "custom:late": {"type": "integer"},
    "custom:exact": {"type": "string", "collation": "exact"},
    "custom:tags": {"type": "string", "multi": true, "searchable": true},
    "custom:raw": {"type": "bytes"},
    "family_name": {"searchable": true}}}"#;

const FILTERS: [&str; 52] = [
    "custom:n eq 7",
    "custom:n ne 7",
    "custom:n gt 40",
    "custom:n le 3",
    "custom:n pr",
    "not (custom:n pr)",
    "custom:late pr",
    "custom:late ne 1",
    "custom:exact eq \"e3\"",
    "custom:exact ne \"e3\"",
    "custom:exact sw \"e\"",
    "not (custom:exact eq \"nobody\")",
    "custom:raw eq $1",
    "custom:raw ne $1",
    "given_name eq \"GIVEN 3\"",
    "given_name co \"en 1\"",
    "given_name ew \"2\"",
    "given_name ne \"given 3\"",
    "given_name lt \"given 2\"",
    "nickname pr",
    "email ew \"@münchen.example\"",
    "email ew \"-3ya.example\"",
    "email co \"U1\"",
    "email co \"xn--\"",
    "email sw \"ü\"",
    "email ne \"Ü3@MÜNCHEN.example\"",
    "email gt \"u3\"",
    "given_name co \"Ü\"",
    "given_name ew \"\"",
    "custom:exact gt \"e3\"",
    "created_at gt \"2020-01-01T00:00:00.000Z\"",
    "created_at lt \"2020-01-01T00:00:00.000Z\"",
    "family_name sw \"fam1\"",
    "family_name eq \"FAM12\"",
    "family_name gt \"fam2\" and family_name le \"fam4\"",
    "family_name ge \"fam4\"",
    "family_name lt \"fam1\"",
    "username eq \"U17\"",
    "username eq \"nobody\"",
    "custom:tags eq \"t1\"",
    "custom:tags ne \"t1\"",
    "custom:tags sw \"t2\"",
    "not (custom:tags pr)",
    "groups eq \"staff\"",
    "groups ne \"staff\"",
    "groups eq \"nobody\"",
    "groups co \"a\"",
    "not (groups pr)",
    "locked eq false",
    "enabled eq false and status ne \"CONFIRMED\"",
    "(custom:n lt 10 or given_name eq \"given 4\") and not (groups eq \"staff\" or custom:tags eq \"t1\")",
    "sub eq \"00000000-0000-4000-8000-000000000005\" or created_at gt \"2026-01-01T00:00:00.000Z\"",
];

fn by(i: usize) -> UserRef {
    UserRef::Alias { attr: "username".into(), value: format!("u{i}").into() }
}

fn commit(pool: &Pool, ops: Vec<Op>) {
    pool.commit(Transaction { ops, ..Transaction::default() }).unwrap();
}

fn set(i: usize, attr: &str, value: Option<String>) -> Op {
    let input = value.map_or(Input::Json(serde_json::Value::Null), |value| Input::Raw(value.into()));
    Op::UserSet { user: by(i), if_version: None, take_alias: false, changes: vec![(attr.into(), input)] }
}

fn create(i: usize) -> Op {
    let mut attrs: Vec<(Box<str>, Input)> = Vec::new();
    let mut add = |name: &str, value: String| attrs.push((name.into(), Input::Raw(value.into())));
    add("username", format!("u{i}"));
    add("family_name", format!("fam{}", i % 50));
    if i % 3 != 0 {
        add("custom:n", (i % 47).to_string());
        add("given_name", format!("{} {}", if i % 8 == 1 { "Günther" } else { "Given" }, i % 5));
    }
    match i % 10 {
        0 => {}
        1 => add("email", format!("ü{i}@München.example")),
        2 => add("email", format!("Ü{i}@mail.example")),
        _ => add("email", format!("U{i}@Mail.example")),
    }
    if i % 4 == 1 {
        add("custom:exact", format!("e{}", i % 9));
        add("custom:raw", format!("r{}", i % 9));
    }
    if i % 5 == 2 {
        add("custom:tags", format!("[\"t{}\",\"t2{}\"]", i % 3, i % 7));
    }
    let enabled = Some(i % 6 != 0);
    let status = (i % 7 == 0).then_some(Status::Confirmed);
    Op::UserCreate(Box::new(NewUser { attrs, enabled, status, ..NewUser::default() }))
}

/// Every filter by passes over columns, by indexes, and one user after the other.
fn check(pool: &Pool) {
    let snapshot = pool.snapshot();
    let args = [Bytes::from_static(b"r2")];
    for text in FILTERS {
        let filter = snapshot.filter(text, &args).unwrap();
        let one_by_one = Scan::new(&snapshot, &filter, 0).unwrap().each(filter.root(), &snapshot.live()).unwrap();
        let by_columns = Scan::new(&snapshot, &filter, 0).unwrap().run().unwrap();
        assert_eq!(by_columns, one_by_one, "{text}");
        assert_eq!(snapshot.matching(&filter).unwrap(), one_by_one, "{text}");
        let halves = Scan::new(&snapshot, &filter, 0).unwrap();
        let changed = snapshot.changed(Ordinal(0), Ordinal(u64::from(u32::MAX)));
        let settled = &snapshot.version.runs.live - &changed;
        let halves = halves.halves(&settled).unwrap() | halves.each(filter.root(), &changed).unwrap();
        assert_eq!(halves, one_by_one, "{text}");
    }
}

#[test]
fn columns_and_indexes_find_whom_looking_at_each_finds() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions::new(dir.path().join("DATA"))).unwrap();
    store.create_pool("acme", Some(SCHEMA), None).unwrap();
    let pool = store.pool("acme").unwrap();
    check(&pool);
    commit(&pool, (0..700).map(create).collect());
    for name in ["staff", "a"] {
        commit(&pool, vec![Op::GroupCreate { name: name.into(), fields: Default::default() }]);
    }
    let members = |of: usize| (0..300).filter(|i| i % of == 0).map(by).collect();
    commit(&pool, vec![Op::GroupAdd { name: "staff".into(), users: members(4) }]);
    check(&pool);
    pool.flush().unwrap();
    check(&pool);
    // A sparse run over the base: changed, removed and new values, deleted users.
    commit(&pool, (0..700).step_by(11).map(|i| set(i, "custom:n", Some("7".into()))).collect());
    commit(&pool, (1..700).step_by(13).map(|i| set(i, "custom:exact", None)).collect());
    commit(&pool, (2..700).step_by(17).map(|i| set(i, "custom:late", Some("1".into()))).collect());
    commit(&pool, (3..700).step_by(29).map(|i| Op::UserDelete { user: by(i), if_version: None }).collect());
    commit(&pool, vec![Op::GroupAdd { name: "a".into(), users: vec![by(1), by(5), by(698)] }]);
    pool.flush().unwrap();
    check(&pool);
    // And memtables over both.
    commit(&pool, (0..700).step_by(37).filter(|i| i % 29 != 3).map(|i| set(i, "given_name", None)).collect());
    commit(&pool, (700..720).map(create).collect());
    commit(&pool, vec![Op::GroupRemove { name: "staff".into(), users: vec![by(0), by(4)] }]);
    commit(
        &pool,
        vec![Op::UserRemove {
            user: by(2),
            if_version: None,
            values: vec![("custom:tags".into(), Input::Raw("t2".into()))],
        }],
    );
    check(&pool);
}

#[test]
fn zone_maps_never_hide_a_value_and_never_make_one_up() {
    for order in [Order::Eq, Order::Ne, Order::Gt, Order::Ge, Order::Lt, Order::Le] {
        for (literal, min, width) in (-3..4).flat_map(|l| (-3..4).flat_map(move |m| (0..4).map(move |w| (l, m, w)))) {
            let predicate = Predicate::Int(IntTest::new(order, literal));
            // What absent users do not do is sought.
            let sought = |value: i64| predicate.test_int(value) != predicate.test_absent();
            let (any, all) = ((min..=min + width).any(sought), (min..=min + width).all(sought));
            let expected = if all {
                Look::All
            } else if any {
                Look::Read
            } else {
                Look::Pass
            };
            assert_eq!(
                look(&predicate, &Zone::Int { min, max: min + width }),
                expected,
                "{order:?} {literal} {min} {width}"
            );
        }
    }
}
