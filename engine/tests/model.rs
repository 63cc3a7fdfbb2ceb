//! A random workload against a plain model: reads, filters, listings at one Seq, counts and digests,
//! before and after flushes.
//!
//! The model knows nothing of ordinals, columns, indexes or deltas: a map of users and a map of groups.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use stoa_engine::digest::fact::{DigestKey, fact, leaf_hash, leaf_index};
use stoa_engine::pool::request::{GroupFields, Input, NewUser, Op, Status, Transaction, UserRef};
use stoa_engine::pool::snapshot::Snapshot;
use stoa_engine::pool::view::{Select, UserView};
use stoa_engine::{ErrorKind, PageRequest, Pool, Store, StoreOptions, UserQuery};
use stoa_format::Sub;

const SCHEMA: &str = r#"{"attributes": {
    "custom:n": {"type": "integer", "searchable": true},
    "custom:flag": {"type": "boolean"},
    "custom:tags": {"type": "string", "multi": true, "collation": "casefold"},
    "custom:nums": {"type": "integer", "multi": true, "searchable": true},
    "family_name": {"searchable": true, "collation": "casefold"},
    "custom:mail": {"type": "string", "alias": "verified", "collation": "casefold"},
    "custom:mail_verified": {"type": "boolean"}}}"#;

/// A user in plain values, as they travel.
#[derive(Debug, Clone, Default, PartialEq)]
struct User {
    attrs: BTreeMap<&'static str, String>,
    tags: BTreeSet<String>,
    nums: BTreeSet<i64>,
    status: &'static str,
    enabled: bool,
    identities: BTreeSet<(String, String)>,
    factors: BTreeMap<String, Vec<u8>>,
    order: usize,
}

#[derive(Debug, Clone, Default)]
struct Model {
    users: BTreeMap<Sub, User>,
    groups: BTreeMap<String, (Option<String>, BTreeSet<Sub>)>,
    created: usize,
}

/// One step; numbers choose among what is there.
#[derive(Debug, Clone)]
enum Step {
    Create { name: u8, family: Option<u8>, n: Option<i8> },
    Set { user: u8, attr: u8, value: Option<u8> },
    Add { user: u8, value: u8, add: bool },
    AddNum { user: u8, value: i16, add: bool },
    Verify { user: u8, take: bool },
    Delete { user: u8 },
    Enable { user: u8, on: bool },
    Status { user: u8, reset: bool },
    Link { user: u8, subject: u8, on: bool },
    Factor { user: u8, id: u8, blob: Option<u8> },
    Group { name: u8, kind: Option<u8> },
    Rename { from: u8, to: u8 },
    Drop { name: u8 },
    Join { name: u8, users: Vec<u8>, on: bool },
    Flush,
    Pin,
}

fn step() -> impl Strategy<Value = Step> {
    let any8 = any::<u8>;
    prop_oneof![
        8 => (0u8..40, prop::option::of(0u8..6), prop::option::of(any::<i8>()))
            .prop_map(|(name, family, n)| Step::Create { name, family, n }),
        8 => (any8(), 0u8..5, prop::option::of(0u8..6)).prop_map(|(user, attr, value)| Step::Set { user, attr, value }),
        4 => (any8(), 0u8..5, any::<bool>()).prop_map(|(user, value, add)| Step::Add { user, value, add }),
        4 => (any8(), -20i16..120, any::<bool>()).prop_map(|(user, value, add)| Step::AddNum { user, value, add }),
        3 => (any8(), any::<bool>()).prop_map(|(user, take)| Step::Verify { user, take }),
        2 => any8().prop_map(|user| Step::Delete { user }),
        2 => (any8(), any::<bool>()).prop_map(|(user, on)| Step::Enable { user, on }),
        2 => (any8(), any::<bool>()).prop_map(|(user, reset)| Step::Status { user, reset }),
        2 => (any8(), 0u8..6, any::<bool>()).prop_map(|(user, subject, on)| Step::Link { user, subject, on }),
        2 => (any8(), 0u8..3, prop::option::of(any8())).prop_map(|(user, id, blob)| Step::Factor { user, id, blob }),
        2 => (0u8..5, prop::option::of(0u8..2)).prop_map(|(name, kind)| Step::Group { name, kind }),
        1 => (0u8..5, 0u8..5).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => (0u8..5).prop_map(|name| Step::Drop { name }),
        4 => (0u8..5, prop::collection::vec(any8(), 1..6), any::<bool>())
            .prop_map(|(name, users, on)| Step::Join { name, users, on }),
        2 => Just(Step::Flush),
        1 => Just(Step::Pin),
    ]
}

const NAMES: [&str; 5] = ["family_name", "given_name", "custom:flag", "custom:n", "custom:mail"];
const FAMILIES: [&str; 6] = ["Straße", "Smith", "smith", "", "Ångström", "jones"];
const GROUPS: [&str; 5] = ["staff", "team/a", "team/b", "admins", "z"];

fn value_of(attr: &str, value: u8) -> String {
    match attr {
        "custom:flag" => (value % 2 == 0).to_string(),
        "custom:n" => (i64::from(value) * 7 - 20).to_string(),
        "custom:mail" => format!("Mail{}@example.com", value % 3),
        _ => FAMILIES[usize::from(value)].to_owned(),
    }
}

fn raw(text: &str) -> Input {
    Input::Raw(text.to_owned().into())
}

impl Model {
    fn sub(&self, user: u8) -> Option<Sub> {
        let count = self.users.len();
        (count > 0).then(|| *self.users.keys().nth(usize::from(user) % count).unwrap())
    }

    fn owner(&self, mail: &str) -> Option<Sub> {
        let owns = |user: &User| {
            user.attrs.get("custom:mail_verified").is_some_and(|flag| flag == "true")
                && user.attrs.get("custom:mail").is_some_and(|own| own.eq_ignore_ascii_case(mail))
        };
        self.users.iter().find(|(_, user)| owns(user)).map(|(sub, _)| *sub)
    }
}

struct World {
    pool: Pool,
    model: Model,
    pinned: Vec<(Snapshot, Model)>,
    listings: Vec<(Vec<Sub>, Vec<Sub>, Option<String>)>,
}

fn page<'a>(limit: usize, cursor: Option<&'a str>) -> PageRequest<'a> {
    PageRequest { limit, cursor, actor: "model", max_bytes: 4 << 20, min_seq: None, state: None }
}

impl World {
    fn commit(&self, op: Op) -> Result<stoa_engine::pool::request::Committed, ErrorKind> {
        let done = self.pool.commit(Transaction { ops: vec![op], ..Transaction::default() });
        done.map_err(|error| error.kind())
    }

    /// Does one step on both sides.
    fn take(&mut self, step: &Step) {
        match step {
            Step::Create { name, family, n } => self.create(*name, *family, *n),
            Step::Set { user, attr, value } => self.set(*user, NAMES[usize::from(*attr)], *value),
            Step::Add { user, value, add } => {
                let text = ["a", "B", "ä", "tag ten", "9"][usize::from(*value)];
                if let Some(sub) = self.list(*user, "custom:tags", text, *add) {
                    let tags = &mut self.model.users.get_mut(&sub).unwrap().tags;
                    let _ = if *add { tags.insert(text.to_owned()) } else { tags.remove(text) };
                }
            }
            Step::AddNum { user, value, add } => {
                if let Some(sub) = self.list(*user, "custom:nums", &value.to_string(), *add) {
                    let nums = &mut self.model.users.get_mut(&sub).unwrap().nums;
                    let _ = if *add { nums.insert((*value).into()) } else { nums.remove(&(*value).into()) };
                }
            }
            Step::Verify { user, take } => self.verify(*user, *take),
            Step::Delete { user } => {
                let Some(sub) = self.model.sub(*user) else { return };
                self.commit(Op::UserDelete { user: UserRef::Sub(sub), if_version: None }).unwrap();
                self.model.users.remove(&sub);
                for (_, members) in self.model.groups.values_mut() {
                    members.remove(&sub);
                }
            }
            Step::Enable { user, on } => {
                let Some(sub) = self.model.sub(*user) else { return };
                self.commit(Op::UserEnable { user: UserRef::Sub(sub), enabled: *on }).unwrap();
                self.model.users.get_mut(&sub).unwrap().enabled = *on;
            }
            Step::Status { user, reset } => {
                let Some(sub) = self.model.sub(*user) else { return };
                let (status, word) = match reset {
                    true => (Status::ResetRequired, "RESET_REQUIRED"),
                    false => (Status::Confirmed, "CONFIRMED"),
                };
                self.commit(Op::UserStatus { user: UserRef::Sub(sub), if_version: None, status }).unwrap();
                self.model.users.get_mut(&sub).unwrap().status = word;
            }
            Step::Link { user, subject, on } => self.link(*user, *subject, *on),
            Step::Factor { user, id, blob } => self.factor(*user, *id, *blob),
            Step::Group { name, kind } => {
                let name = GROUPS[usize::from(*name)];
                let kind = kind.map(|kind| ["team", "role"][usize::from(kind)].to_owned());
                let fields = GroupFields { kind: kind.clone().map(Into::into), ..GroupFields::default() };
                let done = self.commit(Op::GroupCreate { name: name.into(), fields });
                assert_eq!(done.is_ok(), !self.model.groups.contains_key(name));
                self.model.groups.entry(name.to_owned()).or_insert((kind, BTreeSet::new()));
            }
            Step::Rename { from, to } => {
                let (from, to) = (GROUPS[usize::from(*from)], GROUPS[usize::from(*to)]);
                let done = self.commit(Op::GroupRename { name: from.into(), to: to.into() });
                let free = from == to || !self.model.groups.contains_key(to);
                assert_eq!(done.is_ok(), self.model.groups.contains_key(from) && free);
                if done.is_ok() {
                    let group = self.model.groups.remove(from).unwrap();
                    self.model.groups.insert(to.to_owned(), group);
                }
            }
            Step::Drop { name } => {
                let name = GROUPS[usize::from(*name)];
                self.commit(Op::GroupDelete { name: name.into() }).unwrap();
                self.model.groups.remove(name);
            }
            Step::Join { name, users, on } => {
                let name = GROUPS[usize::from(*name)];
                let subs: Vec<Sub> = users.iter().filter_map(|user| self.model.sub(*user)).collect();
                let users = subs.iter().map(|sub| UserRef::Sub(*sub)).collect();
                let op = match on {
                    true => Op::GroupAdd { name: name.into(), users },
                    false => Op::GroupRemove { name: name.into(), users },
                };
                let done = self.commit(op);
                assert_eq!(done.is_ok(), self.model.groups.contains_key(name));
                if let Some((_, members)) = self.model.groups.get_mut(name) {
                    for sub in subs {
                        let _ = if *on { members.insert(sub) } else { members.remove(&sub) };
                    }
                }
            }
            Step::Flush => self.pool.flush().unwrap(),
            Step::Pin => self.pin(),
        }
    }

    fn create(&mut self, name: u8, family: Option<u8>, n: Option<i8>) {
        let mut attrs = BTreeMap::from([("username", format!("user{name}"))]);
        attrs.extend(family.map(|family| ("family_name", FAMILIES[usize::from(family)].to_owned())));
        attrs.extend(n.map(|n| ("custom:n", n.to_string())));
        let new = NewUser {
            attrs: attrs.iter().map(|(name, value)| ((*name).into(), raw(value))).collect(),
            ..NewUser::default()
        };
        let taken = self.model.users.values().any(|user| user.attrs["username"] == attrs["username"]);
        match self.commit(Op::UserCreate(Box::new(new))) {
            Ok(done) => {
                assert!(!taken);
                self.model.created += 1;
                let (order, status) = (self.model.created, "UNCONFIRMED");
                let user = User { attrs, status, enabled: true, order, ..User::default() };
                self.model.users.insert(done.outcomes[0].sub.unwrap(), user);
            }
            Err(kind) => assert_eq!((kind, taken), (ErrorKind::Duplicate, true)),
        }
    }

    fn set(&mut self, user: u8, attr: &'static str, value: Option<u8>) {
        let Some(sub) = self.model.sub(user) else { return };
        let value = value.map(|value| value_of(attr, value));
        let input = value.as_deref().map_or(Input::Json(serde_json::Value::Null), raw);
        let changes = vec![(attr.into(), input)];
        let op = Op::UserSet { user: UserRef::Sub(sub), if_version: None, take_alias: false, changes };
        self.commit(op).unwrap();
        let user = self.model.users.get_mut(&sub).unwrap();
        let before = user.attrs.get(attr).cloned();
        match value.clone() {
            Some(value) => drop(user.attrs.insert(attr, value)),
            None => drop(user.attrs.remove(attr)),
        }
        // A new value of a verified alias is not verified.
        let verified = user.attrs.get("custom:mail_verified").is_some_and(|flag| flag == "true");
        if attr == "custom:mail" && before != value && verified {
            user.attrs.insert("custom:mail_verified", "false".into());
        }
    }

    fn list(&mut self, user: u8, attr: &str, value: &str, add: bool) -> Option<Sub> {
        let sub = self.model.sub(user)?;
        let (user, values) = (UserRef::Sub(sub), vec![(attr.into(), raw(value))]);
        let op = match add {
            true => Op::UserAdd { user, if_version: None, values },
            false => Op::UserRemove { user, if_version: None, values },
        };
        match self.commit(op) {
            Ok(_) => Some(sub),
            // More than 64 values.
            Err(kind) => {
                assert_eq!((kind, add), (ErrorKind::Invalid, true));
                None
            }
        }
    }

    fn verify(&mut self, user: u8, take: bool) {
        let Some(sub) = self.model.sub(user) else { return };
        let changes = vec![("custom:mail_verified".into(), raw("true"))];
        let op = Op::UserSet { user: UserRef::Sub(sub), if_version: None, take_alias: take, changes };
        let mail = self.model.users[&sub].attrs.get("custom:mail").cloned();
        let other = mail.and_then(|mail| self.model.owner(&mail)).filter(|owner| *owner != sub);
        match self.commit(op) {
            Ok(_) => {
                assert!(other.is_none() || take);
                if let Some(other) = other {
                    let attrs = &mut self.model.users.get_mut(&other).unwrap().attrs;
                    attrs.insert("custom:mail_verified", "false".into());
                }
                self.model.users.get_mut(&sub).unwrap().attrs.insert("custom:mail_verified", "true".into());
            }
            Err(kind) => assert_eq!((kind, other.is_some() && !take), (ErrorKind::Duplicate, true)),
        }
    }

    fn link(&mut self, user: u8, subject: u8, on: bool) {
        let Some(sub) = self.model.sub(user) else { return };
        let link = ("google".to_owned(), format!("g{subject}"));
        let (user, provider, subject) = (UserRef::Sub(sub), link.0.as_str().into(), link.1.as_str().into());
        let op = match on {
            true => Op::IdentityLink { user, provider, subject },
            false => Op::IdentityUnlink { user, provider, subject },
        };
        let taken = self.model.users.iter().any(|(other, user)| *other != sub && user.identities.contains(&link));
        let done = self.commit(op);
        assert_eq!(done.is_ok(), !(on && taken));
        let identities = &mut self.model.users.get_mut(&sub).unwrap().identities;
        if !on {
            identities.remove(&link);
        } else if !taken {
            identities.insert(link);
        }
    }

    fn factor(&mut self, user: u8, id: u8, blob: Option<u8>) {
        let Some(sub) = self.model.sub(user) else { return };
        let (user, kind, name) = (UserRef::Sub(sub), "totp".into(), format!("f{id}"));
        let factors = &mut self.model.users.get_mut(&sub).unwrap().factors;
        let id = name.as_str().into();
        let op = match blob {
            Some(byte) => {
                factors.insert(name, vec![byte; 3]);
                let blob = vec![byte; 3].into();
                Op::FactorPut { user, kind, id, if_version: None, label: None, blob }
            }
            None => {
                factors.remove(&name);
                Op::FactorDel { user, kind, id }
            }
        };
        self.commit(op).unwrap();
    }

    /// Keeps this state and a listing that begins here, for later.
    fn pin(&mut self) {
        self.pinned.push((self.pool.snapshot(), self.model.clone()));
        let first = self.pool.list_users(&UserQuery::default(), &page(3, None)).unwrap();
        let shown = first.items.iter().map(|view| view.sub).collect();
        self.listings.push((in_order(&self.model), shown, first.cursor));
    }

    fn check(&self) {
        check_state(&self.pool.snapshot(), &self.model);
        for (snapshot, model) in &self.pinned {
            check_state(snapshot, model);
        }
        for (expected, shown, cursor) in &self.listings {
            let (mut shown, mut cursor) = (shown.clone(), cursor.clone());
            while let Some(token) = cursor {
                let page = self.pool.list_users(&UserQuery::default(), &page(4, Some(&token))).unwrap();
                shown.extend(page.items.iter().map(|view| view.sub));
                cursor = page.cursor;
            }
            assert_eq!(shown, *expected);
        }
        check_listings(&self.pool, &self.model);
        check_digest(&self.pool, &self.model);
    }
}

fn in_order(model: &Model) -> Vec<Sub> {
    let mut subs: Vec<_> = model.users.iter().map(|(sub, user)| (user.order, *sub)).collect();
    subs.sort_unstable();
    subs.into_iter().map(|(_, sub)| sub).collect()
}

fn text_list(values: impl Iterator<Item = String>) -> Option<String> {
    let mut values: Vec<String> = values.collect();
    values.sort_unstable();
    (!values.is_empty()).then(|| serde_json::to_string(&values).unwrap())
}

/// All set attributes as they travel.
fn wire(user: &User) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> =
        user.attrs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    all.extend(text_list(user.tags.iter().cloned()).map(|list| ("custom:tags".into(), list)));
    all.extend(text_list(user.nums.iter().map(i64::to_string)).map(|list| ("custom:nums".into(), list)));
    all
}

fn assert_view(view: &UserView, user: &User) {
    let shown: BTreeMap<String, String> = view
        .attrs
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_ref().unwrap().text().into_owned()))
        .collect();
    assert_eq!(shown, wire(user));
    assert_eq!((view.status.word(), view.enabled), (user.status, user.enabled));
}

type Rule = Box<dyn Fn(&Sub, &User, &Model) -> bool>;

/// Filters, and what they mean in the model.
fn filters() -> Vec<(&'static str, Rule)> {
    fn n(user: &User) -> Option<i64> {
        user.attrs.get("custom:n").map(|n| n.parse().unwrap())
    }
    fn family(user: &User) -> Option<String> {
        user.attrs.get("family_name").map(|name| name.to_lowercase().replace('ß', "ss"))
    }
    fn within(model: &Model, sub: &Sub, group: &str) -> bool {
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
fn check_state(snapshot: &Snapshot, model: &Model) {
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

fn walk(pool: &Pool, query: &UserQuery, limit: usize) -> Vec<Sub> {
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

fn check_listings(pool: &Pool, model: &Model) {
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
fn digest(key: &DigestKey, sub: &Sub, user: &User, model: &Model) -> u128 {
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

fn check_digest(pool: &Pool, model: &Model) {
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

fn run(steps: &[Step], memtable_bytes: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = StoreOptions::new(dir.path().join("DATA"));
    options.limits.memtable_bytes = memtable_bytes;
    let store = Store::open(options.clone()).unwrap();
    store.create_pool("acme", Some(SCHEMA), None).unwrap();
    let mut world =
        World { pool: store.pool("acme").unwrap(), model: Model::default(), pinned: Vec::new(), listings: Vec::new() };
    for (at, step) in steps.iter().enumerate() {
        world.take(step);
        if at % 60 == 59 {
            world.check();
        }
    }
    world.check();
    let World { model, pool, .. } = world;
    drop(pool);
    store.close().unwrap();
    // A second start: the digest comes out of the manifest and the log, and is summed anew.
    let store = Store::open(options).unwrap();
    let pool = store.pool("acme").unwrap();
    check_state(&pool.snapshot(), &model);
    check_digest(&pool, &model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(
        steps in prop::collection::vec(step(), 1..180),
        memtable_bytes in prop_oneof![Just(64 << 20), Just(4096u64)],
    ) {
        run(&steps, memtable_bytes);
    }
}

#[test]
fn the_tree_is_built_while_commits_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions::new(dir.path().join("DATA"))).unwrap();
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    let create = |pool: &Pool, name: String| {
        let new = NewUser { attrs: vec![("username".into(), raw(&name))], ..NewUser::default() };
        pool.commit(Transaction { ops: vec![Op::UserCreate(Box::new(new))], ..Transaction::default() }).unwrap();
    };
    (0..300).for_each(|i| create(&pool, format!("before{i}")));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (pool, stop) = (pool.clone(), Arc::clone(&stop));
            scope.spawn(move || {
                let mut i = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    create(&pool, format!("w{writer}-{i}"));
                    i += 1;
                }
            });
        }
        let root = pool.merkle_root().unwrap();
        assert!(root.seq.0 >= 300);
        std::thread::sleep(std::time::Duration::from_millis(50));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let incremental = pool.merkle_root().unwrap();
    let (leaves, digests): (Vec<u64>, Vec<u128>) = {
        let leaves: Vec<u64> = (0..1 << incremental.depth).collect();
        let (_, users) = pool.merkle_leaf(&leaves).unwrap();
        let sum = |users: &Vec<(Sub, u64, u128)>| users.iter().fold(0u128, |sum, user| sum.wrapping_add(user.2));
        let digests = users.iter().map(sum).collect();
        (leaves, digests)
    };
    assert_eq!(pool.merkle_nodes(incremental.depth / 4, &leaves).unwrap().1, digests);
}
