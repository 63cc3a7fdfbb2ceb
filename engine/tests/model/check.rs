//! Compares what the store answers with what the model says.

use std::collections::BTreeMap;

use stoa_engine::digest::fact::{DigestKey, fact, leaf_hash, leaf_index};
use stoa_engine::pool::request::UserRef;
use stoa_engine::pool::snapshot::Snapshot;
use stoa_engine::pool::view::{Select, UserView};
use stoa_engine::{Pool, UserQuery};
use stoa_format::Sub;

use crate::plain::*;
use crate::world::page;

pub fn assert_view(view: &UserView, user: &User) {
    let shown: BTreeMap<String, String> = view
        .attrs
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_ref().unwrap().text().into_owned()))
        .collect();
    assert_eq!(shown, wire(user));
    assert_eq!((view.status.word(), view.enabled), (user.status, user.enabled));
}

pub type Rule = Box<dyn Fn(&Sub, &User, &Model) -> bool>;

/// Filters, and what they mean in the model.
pub fn filters() -> Vec<(&'static str, Rule)> {
    pub fn n(user: &User) -> Option<i64> {
        user.attrs.get("custom:n").map(|n| n.parse().unwrap())
    }
    pub fn family(user: &User) -> Option<String> {
        user.attrs.get("family_name").map(|name| name.to_lowercase().replace('ß', "ss"))
    }
    pub fn within(model: &Model, sub: &Sub, group: &str) -> bool {
        model.groups.get(group).is_some_and(|(_, members)| members.contains(sub))
    }
    vec![
        ("custom:n gt 3", Box::new(|_, user, _| n(user).is_some_and(|n| n > 3))),
        ("custom:n ne 8", Box::new(|_, user, _| n(user) != Some(8))),
        ("not (custom:n pr)", Box::new(|_, user, _| n(user).is_none())),
        ("family_name eq \"SMITH\"", Box::new(|_, user, _| family(user).as_deref() == Some("smith"))),
        ("family_name co \"SS\"", Box::new(|_, user, _| family(user).is_some_and(|name| name.contains("ss")))),
        ("family_name sw \"s\"", Box::new(|_, user, _| family(user).is_some_and(|name| name.starts_with('s')))),
        ("family_name ge \"smith\"", Box::new(|_, user, _| family(user).is_some_and(|name| *name >= *"smith"))),
        (
            "given_name lt \"b\"",
            Box::new(|_, user, _| user.attrs.get("given_name").is_some_and(|name| *name.to_lowercase() < *"b")),
        ),
        ("username eq \"USER7\"", Box::new(|_, user, _| user.attrs["username"] == "user7")),
        ("custom:tags eq \"b\"", Box::new(|_, user, _| user.tags.contains("B"))),
        ("custom:tags ne \"b\"", Box::new(|_, user, _| user.tags.is_empty() || user.tags.iter().any(|tag| tag != "B"))),
        ("custom:nums gt 50", Box::new(|_, user, _| user.nums.iter().any(|num| *num > 50))),
        (
            "custom:flag eq true",
            Box::new(|_, user, _| user.attrs.get("custom:flag").is_some_and(|flag| flag == "true")),
        ),
        ("enabled eq false", Box::new(|_, user, _| !user.enabled)),
        ("status eq \"RESET_REQUIRED\"", Box::new(|_, user, _| user.status == "RESET_REQUIRED")),
        ("groups eq \"staff\"", Box::new(|sub, _, model| within(model, sub, "staff"))),
        ("groups ne \"staff\"", Box::new(|sub, _, model| !within(model, sub, "staff"))),
        ("groups sw \"team/\"", Box::new(|sub, _, model| within(model, sub, "team/a") || within(model, sub, "team/b"))),
        ("not (groups pr)", Box::new(|sub, _, model| !GROUPS.iter().any(|group| within(model, sub, group)))),
        (
            "(custom:n lt 0 or family_name pr) and not (enabled eq false) and groups ne \"z\"",
            Box::new(|sub, user, model| {
                (n(user).is_some_and(|n| n < 0) || family(user).is_some()) && user.enabled && !within(model, sub, "z")
            }),
        ),
    ]
}

/// Reads by sub and alias, memberships, counts.
pub fn check_state(snapshot: &Snapshot, model: &Model) {
    assert_eq!(snapshot.user_count().unwrap(), model.users.len() as u64);
    assert_eq!(snapshot.group_count().unwrap(), model.groups.len() as u64);
    for (sub, user) in &model.users {
        let view = snapshot.user(&UserRef::Sub(*sub), &Select::All).unwrap().unwrap();
        assert_view(&view, user);
        let alias = UserRef::Alias { attr: "username".into(), value: user.attrs["username"].to_uppercase().into() };
        assert_eq!(snapshot.user(&alias, &Select::Nothing).unwrap().map(|view| view.sub), Some(*sub));
    }
    for mail in 0..3 {
        let mail = format!("mail{mail}@EXAMPLE.com");
        let alias = UserRef::Alias { attr: "custom:mail".into(), value: mail.as_str().into() };
        let found = snapshot.user(&alias, &Select::Nothing).unwrap().map(|view| view.sub);
        assert_eq!(found, model.owner(&mail));
    }
    for (filter, rule) in filters() {
        let expected = model.users.iter().filter(|(sub, user)| rule(sub, user, model)).count();
        assert_eq!(snapshot.count(Some(filter), &[]).unwrap(), expected as u64, "{filter}");
    }
}

pub fn walk(pool: &Pool, query: &UserQuery, limit: usize) -> Vec<Sub> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = pool.list_users(query, &page(limit, cursor.as_deref())).unwrap();
        all.extend(page.items.iter().map(|view| view.sub));
        cursor = page.cursor;
        if cursor.is_none() {
            return all;
        }
    }
}

pub fn check_listings(pool: &Pool, model: &Model) {
    let page_of_all = pool.list_users(&UserQuery::default(), &page(1000, None)).unwrap();
    for view in &page_of_all.items {
        assert_view(view, &model.users[&view.sub]);
    }
    assert_eq!(walk(pool, &UserQuery::default(), 7), in_order(model));
    for (filter, rule) in filters() {
        let query = UserQuery { filter: Some(filter.into()), select: Select::Nothing, ..UserQuery::default() };
        let expected: Vec<Sub> =
            in_order(model).into_iter().filter(|sub| rule(sub, &model.users[sub], model)).collect();
        assert_eq!(walk(pool, &query, 5), expected, "{filter}");
    }
    for desc in [false, true] {
        let query = UserQuery { sort: Some("custom:n".into()), desc, ..UserQuery::default() };
        let mut expected: Vec<_> = model
            .users
            .iter()
            .map(|(sub, user)| {
                let n: Option<i64> = user.attrs.get("custom:n").map(|n| n.parse().unwrap());
                ((n.is_none(), n, user.order), *sub)
            })
            .collect();
        expected.sort_unstable();
        let mut expected: Vec<Sub> = expected.into_iter().map(|(_, sub)| sub).collect();
        if desc {
            expected.reverse();
        }
        assert_eq!(walk(pool, &query, 4), expected);
    }
    let shown = pool.list_groups(None, None, &page(100, None)).unwrap();
    let shown: Vec<_> = shown.items.iter().map(|group| (group.name.to_string(), group.kind.clone())).collect();
    let groups = model.groups.iter().map(|(name, (kind, _))| (name.clone(), kind.as_deref().map(Into::into)));
    assert_eq!(shown, groups.collect::<Vec<_>>());
    for (name, (_, members)) in &model.groups {
        let shown = pool.list_members(name, &Select::Nothing, &page(1000, None)).unwrap();
        let shown: Vec<Sub> = shown.items.iter().map(|view| view.sub).collect();
        let expected: Vec<Sub> = in_order(model).into_iter().filter(|sub| members.contains(sub)).collect();
        assert_eq!(shown, expected);
    }
}

/// The sum of a user's facts, out of the model.
pub fn digest(key: &DigestKey, sub: &Sub, user: &User, model: &Model) -> u128 {
    let mut sum = 0u128;
    let mut add = |name: &str, value: &[u8]| sum = sum.wrapping_add(fact(key, &sub.text(), name, value));
    for (name, value) in wire(user) {
        add(&name, value.as_bytes());
    }
    add("$enabled", user.enabled.to_string().as_bytes());
    add("$status", user.status.as_bytes());
    for (provider, subject) in &user.identities {
        add(&format!("$identity:{provider}"), subject.as_bytes());
    }
    for (id, blob) in &user.factors {
        add(&format!("$factor:totp:{id}"), blob);
    }
    for (name, (_, members)) in &model.groups {
        if members.contains(sub) {
            add(&format!("$group:{name}"), b"");
        }
    }
    sum
}

pub fn check_digest(pool: &Pool, model: &Model) {
    let (_, key) = pool.merkle_key().unwrap();
    let key = DigestKey::new(*key);
    let nil = Sub::NIL.text();
    let mut expected = fact(&key, &nil, "$schema", pool.snapshot().schema().to_text().as_bytes());
    for (name, (kind, _)) in &model.groups {
        let json = kind.as_ref().map_or("{}".to_owned(), |kind| format!("{{\"kind\":\"{kind}\"}}"));
        expected = expected.wrapping_add(fact(&key, &nil, &format!("$group:{name}"), json.as_bytes()));
    }
    let users: BTreeMap<Sub, u128> =
        model.users.iter().map(|(sub, user)| (*sub, digest(&key, sub, user, model))).collect();
    expected = users.values().fold(expected, |sum, digest| sum.wrapping_add(*digest));
    let known = pool.info().unwrap().digest;
    let hex: String = expected.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(known, Some(hex), "the deltas of all transactions");
    let root = pool.merkle_root().unwrap();
    assert_eq!((root.digest, root.users, root.seq), (expected, model.users.len() as u64, pool.seq()));
    let leaves: Vec<u64> = (0..1 << root.depth).collect();
    let (_, sums) = pool.merkle_nodes(root.depth / 4, &leaves).unwrap();
    let (_, shown) = pool.merkle_leaf(&leaves).unwrap();
    let mut seen = BTreeMap::new();
    for (leaf, (sum, users)) in leaves.iter().zip(sums.iter().zip(shown)) {
        assert_eq!(users.iter().fold(0u128, |sum, (.., digest)| sum.wrapping_add(*digest)), *sum);
        for (sub, _, digest) in users {
            assert_eq!(leaf_index(leaf_hash(&key, &sub.text()), root.depth), *leaf);
            seen.insert(sub, digest);
        }
    }
    seen.remove(&Sub::NIL);
    assert_eq!(seen, users);
    assert_eq!(pool.merkle_nodes(0, &[0]).unwrap().1, [expected]);
}
