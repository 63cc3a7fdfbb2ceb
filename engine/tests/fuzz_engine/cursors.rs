//! Cursors: one works in the listing that it is of, unchanged; anything else is refused as none.

use std::collections::HashSet;

use stoa_engine::pool::request::{Input, NewUser, Op, Transaction};
use stoa_engine::{ErrorKind, PageRequest, Pool, Store, StoreOptions, UserQuery};
use stoa_fuzz::{Seen, Target};

fn page<'a>(cursor: Option<&'a str>, actor: &'a str) -> PageRequest<'a> {
    PageRequest { limit: 2, cursor, actor, max_bytes: 4 << 20, min_seq: None, state: None }
}

fn cursors_of(pool: &Pool, query: &UserQuery) -> HashSet<String> {
    let (mut all, mut next) = (HashSet::new(), pool.list_users(query, &page(None, "ops")).expect("a page").cursor);
    while let Some(cursor) = next {
        next = pool.list_users(query, &page(Some(&cursor), "ops")).expect("a page").cursor;
        all.insert(cursor);
    }
    all
}

#[test]
fn fuzz_cursor() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(StoreOptions::new(dir.path().join("DATA"))).expect("a store");
    store.create_pool("acme", None, None).expect("a pool");
    let pool = store.pool("acme").expect("a pool");
    for name in ["ana", "bob", "cid", "dan", "eve", "fay", "gus"] {
        let attrs = vec![("username".into(), Input::Raw(name.into()))];
        let user = NewUser { attrs, ..NewUser::default() };
        pool.commit(Transaction { ops: vec![Op::UserCreate(Box::new(user))], ..Transaction::default() })
            .expect("a user");
    }
    let sorted = UserQuery { sort: Some("username".into()), ..UserQuery::default() };
    let filtered = UserQuery { filter: Some("username pr".into()), ..UserQuery::default() };
    let queries = [UserQuery::default(), sorted, filtered].into_iter();
    let listings: Vec<_> = queries
        .filter(|query| pool.list_users(query, &page(None, "ops")).is_ok())
        .map(|query| (cursors_of(&pool, &query), query))
        .collect();
    let seeds: Vec<String> = listings.iter().flat_map(|(cursors, _)| cursors.iter().cloned()).collect();
    assert!(seeds.len() >= 6);
    let run = |bytes: &[u8], seen: &mut Seen| {
        let Ok(token) = std::str::from_utf8(bytes) else { return };
        for (of, query) in &listings {
            match pool.list_users(query, &page(Some(token), "ops")) {
                Ok(page) => {
                    assert!(of.contains(token), "a changed cursor works");
                    assert!(!page.items.is_empty());
                    seen.note("works");
                }
                Err(error) => {
                    assert!(!of.contains(token), "a cursor works no more: {error}");
                    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
                    seen.message(&error.to_string());
                }
            }
            let stranger = pool.list_users(query, &page(Some(token), "eve"));
            assert_eq!(
                stranger.map(drop).map_err(|error| error.kind()),
                Err(ErrorKind::Invalid),
                "another's cursor works"
            );
        }
    };
    Target::new("cursor", run)
        .seeds(seeds.iter().map(String::as_bytes))
        .tokens(&["=", "-", "_", "A", "AAAAAAAA", "+", "/"])
        .longest(40 << 10)
        .memory(64, 256 << 10)
        .explore();
}
