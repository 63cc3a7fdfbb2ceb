//! Listings: every page of one shows one Seq, whatever happens meanwhile.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::sync::Arc;

use stoa_engine::pool::request::{GroupFields, Input, NewUser, Op, Transaction, UserRef};
use stoa_engine::pool::view::{Page, Select, UserView};
use stoa_engine::{ErrorKind, PageRequest, Pool, Store, StoreOptions, UserQuery};

const SCHEMA: &str = r#"{"attributes": {
    "custom:n": {"type": "integer", "searchable": true},
    "custom:tags": {"type": "string", "multi": true},
    "family_name": {"searchable": true}}}"#;

struct Fixture {
    store: Store,
    pool: Pool,
    _dir: tempfile::TempDir,
}

fn fixture(adjust: impl FnOnce(&mut StoreOptions)) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let mut options = StoreOptions::new(dir.path().join("DATA"));
    adjust(&mut options);
    let store = Store::open(options).unwrap();
    store.create_pool("acme", Some(SCHEMA), None).unwrap();
    let pool = store.pool("acme").unwrap();
    Fixture { store, pool, _dir: dir }
}

fn commit(pool: &Pool, ops: Vec<Op>) -> stoa_engine::pool::request::Committed {
    pool.commit(Transaction { ops, ..Transaction::default() }).unwrap()
}

fn create(pairs: &[(&str, &str)]) -> Op {
    let raw = |text: &str| Input::Raw(text.to_owned().into());
    let attrs = pairs.iter().map(|(name, value)| ((*name).into(), raw(value))).collect();
    Op::UserCreate(Box::new(NewUser { attrs, ..NewUser::default() }))
}

fn by(username: &str) -> UserRef {
    UserRef::Alias { attr: "username".into(), value: username.into() }
}

fn request<'a>(limit: usize, cursor: Option<&'a str>) -> PageRequest<'a> {
    PageRequest { limit, cursor, actor: "ops", max_bytes: 4 << 20, min_seq: None, state: None }
}

fn usernames() -> Select {
    Select::Named(Arc::from(vec!["username".into()]))
}

fn names(page: &Page<UserView>) -> Vec<String> {
    page.items.iter().map(|view| view.attrs[0].1.as_ref().unwrap().text().into_owned()).collect()
}

/// All pages of a listing.
fn walk(pool: &Pool, query: &UserQuery, limit: usize) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = pool.list_users(query, &request(limit, cursor.as_deref())).unwrap();
        assert!(page.items.len() <= limit && (page.cursor.is_none() || !page.items.is_empty()));
        all.extend(names(&page));
        cursor = page.cursor;
        if cursor.is_none() {
            return all;
        }
    }
}

fn query(filter: Option<&str>, sort: Option<&str>, desc: bool) -> UserQuery {
    UserQuery {
        filter: filter.map(Into::into),
        args: Vec::new(),
        sort: sort.map(Into::into),
        desc,
        select: usernames(),
    }
}

#[test]
fn pages_show_one_state_while_writes_go_on() {
    let fixture = fixture(|_| {});
    let pool = &fixture.pool;
    commit(pool, (0..50).map(|i| create(&[("username", &format!("u{i:02}"))])).collect());
    let all = query(None, None, false);
    let first = pool.list_users(&all, &request(20, None)).unwrap();
    commit(pool, vec![Op::UserDelete { user: by("u30"), if_version: None }, create(&[("username", "late")])]);
    let second = pool.list_users(&all, &request(20, first.cursor.as_deref())).unwrap();
    let third = pool.list_users(&all, &request(20, second.cursor.as_deref())).unwrap();
    let again = pool.list_users(&all, &request(20, first.cursor.as_deref())).unwrap();
    let shown: Vec<_> = [&first, &second, &third].into_iter().flat_map(names).collect();
    assert_eq!(shown, (0..50).map(|i| format!("u{i:02}")).collect::<Vec<_>>());
    assert_eq!((first.seq, third.cursor.as_deref()), (third.seq, None));
    assert_eq!(names(&again), names(&second), "a page can be asked for again");
    assert_eq!(walk(pool, &all, 7).len(), 50);
    assert!(walk(pool, &all, 1000).contains(&"late".to_owned()));
}

#[test]
fn sorted_both_ways_and_filtered() {
    let fixture = fixture(|_| {});
    let pool = &fixture.pool;
    let user = |i: i64| match i % 5 {
        0 => create(&[("username", &format!("u{i}"))]),
        _ => create(&[("username", &format!("u{i}")), ("custom:n", &(10 - i).to_string()), ("family_name", "x")]),
    };
    commit(pool, (0..20).map(user).collect());
    let with = |list: &[i64]| list.iter().map(|i| format!("u{i}")).collect::<Vec<_>>();
    let up = [19, 18, 17, 16, 14, 13, 12, 11, 9, 8, 7, 6, 4, 3, 2, 1, 0, 5, 10, 15];
    let down: Vec<i64> = up.iter().rev().copied().collect();
    for limit in [1, 3, 16, 17, 1000] {
        assert_eq!(walk(pool, &query(None, Some("custom:n"), false), limit), with(&up));
        assert_eq!(walk(pool, &query(None, Some("custom:n"), true), limit), with(&down));
        let few = query(Some("custom:n gt 5 or username eq \"u15\""), Some("custom:n"), false);
        assert_eq!(walk(pool, &few, limit), with(&[4, 3, 2, 1, 15]));
        assert_eq!(walk(pool, &query(Some("family_name pr"), None, false), limit).len(), 16);
    }
    for refused in ["username", "custom:tags", "nobody"] {
        let error = pool.list_users(&query(None, Some(refused), false), &request(1, None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{refused}");
    }
}

/// What an index leads to exactly is walked there; beside another condition it is found and sorted. Both are one list.
#[test]
fn a_stretch_of_an_index_lists_whom_the_filter_finds() {
    let fixture = fixture(|_| {});
    let pool = &fixture.pool;
    let name = |i: u64| ["Ab", "aB\u{ff}", "abc", "ABD", "b", "a", "Straße", "STRASSE", "\u{10ffff}"][i as usize % 9];
    let user = |i: u64| match i % 7 {
        0 => create(&[("username", &format!("u{i}"))]),
        _ => create(&[("username", &format!("u{i}")), ("custom:n", &(i % 13).to_string()), ("family_name", name(i))]),
    };
    let filters = [
        ("family_name", "family_name sw \"ab\""),
        ("family_name", "family_name sw \"STRAS\""),
        ("family_name", "family_name sw \"\u{10ffff}\""),
        ("family_name", "family_name sw \"zz\""),
        ("family_name", "family_name eq \"ABC\""),
        ("family_name", "family_name ge \"abc\""),
        ("family_name", "family_name lt \"abd\""),
        ("custom:n", "custom:n gt 4"),
        ("custom:n", "custom:n le 4"),
        ("custom:n", "custom:n eq 7"),
        ("custom:n", "custom:n ne 7"),
    ];
    let compare = || {
        for (sort, filter) in filters {
            for desc in [false, true] {
                let sorted = walk(pool, &query(Some(&format!("{filter} and username pr")), Some(sort), desc), 1000);
                for limit in [1, 3, 1000] {
                    assert_eq!(walk(pool, &query(Some(filter), Some(sort), desc), limit), sorted, "{filter} {desc}");
                }
            }
        }
    };
    commit(pool, (0..60).map(user).collect());
    compare();
    pool.flush().unwrap();
    compare();
    let set = |i: u64| {
        let changes = vec![("family_name".into(), Input::Raw(name(i + 4).into()))];
        Op::UserSet { user: by(&format!("u{i}")), if_version: None, take_alias: false, changes }
    };
    commit(pool, (10..20).map(set).chain((60..70).map(user)).collect());
    commit(pool, (20..25).map(|i| Op::UserDelete { user: by(&format!("u{i}")), if_version: None }).collect());
    compare();
}

#[test]
fn a_cursor_works_in_its_own_listing_alone() {
    let fixture = fixture(|_| {});
    let pool = &fixture.pool;
    commit(pool, (0..5).map(|i| create(&[("username", &format!("u{i}"))])).collect());
    let all = query(None, None, false);
    let token = pool.list_users(&all, &request(2, None)).unwrap().cursor.unwrap();
    let kind = |query: &UserQuery, request: &PageRequest<'_>| pool.list_users(query, request).unwrap_err().kind();
    let other_actor = PageRequest { actor: "eve", ..request(2, Some(&token)) };
    assert_eq!(kind(&all, &other_actor), ErrorKind::Invalid);
    assert_eq!(kind(&query(Some("username pr"), None, false), &request(2, Some(&token))), ErrorKind::Invalid);
    assert_eq!(kind(&query(None, None, true), &request(2, Some(&token))), ErrorKind::Invalid);
    assert_eq!(kind(&UserQuery { select: Select::All, ..all.clone() }, &request(2, Some(&token))), ErrorKind::Invalid);
    for broken in ["", "x", &token[1..], &token[..token.len() - 1]] {
        assert_eq!(kind(&all, &request(2, Some(broken))), ErrorKind::Invalid);
    }
    assert_eq!(pool.list_groups(None, None, &request(2, Some(&token))).unwrap_err().kind(), ErrorKind::Invalid);
    fixture.store.create_pool("other", Some(SCHEMA), None).unwrap();
    let other = fixture.store.pool("other").unwrap();
    assert_eq!(other.list_users(&all, &request(2, Some(&token))).unwrap_err().kind(), ErrorKind::Invalid);
    for limit in [0, 1001] {
        assert_eq!(kind(&all, &request(limit, None)), ErrorKind::Invalid);
    }
    assert_eq!(names(&pool.list_users(&all, &request(2, Some(&token))).unwrap()), ["u2", "u3"]);
}

#[test]
fn leases_end_and_make_room() {
    let fixture = fixture(|options| {
        options.limits.leases_max = 2;
        options.limits.cursor_ttl_ms = 60_000;
    });
    let pool = &fixture.pool;
    commit(pool, (0..5).map(|i| create(&[("username", &format!("u{i}"))])).collect());
    let all = query(None, None, false);
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(pool.list_users(&all, &request(2, None)).unwrap().cursor.unwrap());
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    let expired = pool.list_users(&all, &request(2, Some(&tokens[0]))).unwrap_err();
    assert_eq!(expired.kind(), ErrorKind::Expired);
    assert!(pool.list_users(&all, &request(2, Some(&tokens[1]))).is_ok());

    let fixture = self::fixture(|options| options.limits.cursor_ttl_ms = 30);
    let pool = &fixture.pool;
    commit(pool, (0..5).map(|i| create(&[("username", &format!("u{i}"))])).collect());
    let token = pool.list_users(&all, &request(2, None)).unwrap().cursor.unwrap();
    std::thread::sleep(std::time::Duration::from_millis(60));
    let expired = pool.list_users(&all, &request(2, Some(&token))).unwrap_err();
    assert_eq!(expired.kind(), ErrorKind::Expired);
}

#[test]
fn a_page_ends_at_its_bytes_but_shows_one_thing_at_least() {
    let fixture = fixture(|_| {});
    let pool = &fixture.pool;
    let long = "x".repeat(2000);
    commit(pool, (0..6).map(|i| create(&[("username", &format!("u{i}")), ("family_name", &long)])).collect());
    let everything = UserQuery::default();
    let small = PageRequest { max_bytes: 5000, ..request(1000, None) };
    let page = pool.list_users(&everything, &small).unwrap();
    assert_eq!((page.items.len(), page.cursor.is_some()), (2, true));
    let tiny = PageRequest { max_bytes: 1, ..request(1000, page.cursor.as_deref()) };
    assert_eq!(pool.list_users(&everything, &tiny).unwrap().items.len(), 1);
}

#[test]
fn groups_and_members() {
    let fixture = fixture(|_| {});
    let pool = &fixture.pool;
    commit(pool, (0..30).map(|i| create(&[("username", &format!("u{i:02}"))])).collect());
    let group = |name: &str, kind: &str| Op::GroupCreate {
        name: name.into(),
        fields: GroupFields { kind: Some(kind.into()), ..GroupFields::default() },
    };
    commit(pool, vec![group("team/b", "team"), group("team/a", "team"), group("team/c", "role"), group("z", "team")]);
    let users = |range: std::ops::Range<u32>| range.map(|i| by(&format!("u{i:02}"))).collect();
    let add = |name: &str, users: Vec<UserRef>| Op::GroupAdd { name: name.into(), users };
    commit(pool, vec![add("team/a", users(3..28)), add("z", users(5..6)), add("team/b", users(5..6))]);
    let (mut members, mut cursor) = (Vec::new(), None);
    loop {
        let page = pool.list_members("team/a", &usernames(), &request(10, cursor.as_deref())).unwrap();
        members.extend(names(&page));
        // Who leaves meanwhile stays in this listing.
        let leave = Op::GroupRemove { name: "team/a".into(), users: users(20..21) };
        commit(pool, vec![leave]);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(members, (3..28).map(|i| format!("u{i:02}")).collect::<Vec<_>>());
    let page = pool.list_groups(Some("team/"), Some("team"), &request(1, None)).unwrap();
    assert_eq!(&*page.items[0].name, "team/a");
    let page = pool.list_groups(Some("team/"), Some("team"), &request(1, page.cursor.as_deref())).unwrap();
    assert_eq!(&*page.items[0].name, "team/b");
    assert_eq!(pool.list_groups(None, None, &request(100, None)).unwrap().items.len(), 4);
    let page = pool.list_groups_of(&by("u05"), &request(2, None)).unwrap();
    assert_eq!((page.items.clone(), page.cursor.is_some()), (vec!["team/b".into(), "team/a".into()], true));
    let page = pool.list_groups_of(&by("u05"), &request(2, page.cursor.as_deref())).unwrap();
    assert_eq!((page.items, page.cursor), (vec!["z".into()], None));
    assert_eq!(pool.list_members("none", &usernames(), &request(1, None)).unwrap_err().kind(), ErrorKind::NoGroup);
    assert_eq!(pool.list_groups_of(&by("nobody"), &request(1, None)).unwrap_err().kind(), ErrorKind::NoUser);
}
