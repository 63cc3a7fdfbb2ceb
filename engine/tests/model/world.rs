//! Both sides, changed step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use stoa_engine::pool::request::{GroupFields, Input, NewUser, Op, Status, Transaction, UserRef};
use stoa_engine::pool::snapshot::Snapshot;
use stoa_engine::{ErrorKind, PageRequest, Pool, UserQuery};
use stoa_format::Sub;

use crate::check::{check_digest, check_listings, check_state};
use crate::plain::*;

pub struct World {
    pub pool: Pool,
    pub model: Model,
    pub pinned: Vec<(Snapshot, Model)>,
    pub listings: Vec<(Vec<Sub>, Vec<Sub>, Option<String>)>,
}

pub fn page<'a>(limit: usize, cursor: Option<&'a str>) -> PageRequest<'a> {
    PageRequest { limit, cursor, actor: "model", max_bytes: 4 << 20, min_seq: None, state: None }
}

impl World {
    /// Tries again while flushes are behind, as a client does: on a machine that is busy with others they are.
    pub fn commit(&self, op: Op) -> Result<stoa_engine::pool::request::Committed, ErrorKind> {
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            let done = self.pool.commit(Transaction { ops: vec![op.clone()], ..Transaction::default() });
            match done.map_err(|error| error.kind()) {
                Err(ErrorKind::Busy) if Instant::now() < patience => std::thread::sleep(Duration::from_millis(5)),
                done => return done,
            }
        }
    }

    /// Does one step on both sides.
    pub fn take(&mut self, step: &Step) {
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

    pub fn create(&mut self, name: u8, family: Option<u8>, n: Option<i8>) {
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

    pub fn set(&mut self, user: u8, attr: &'static str, value: Option<u8>) {
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

    pub fn list(&mut self, user: u8, attr: &str, value: &str, add: bool) -> Option<Sub> {
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

    pub fn verify(&mut self, user: u8, take: bool) {
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

    pub fn link(&mut self, user: u8, subject: u8, on: bool) {
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

    pub fn factor(&mut self, user: u8, id: u8, blob: Option<u8>) {
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
    pub fn pin(&mut self) {
        self.pinned.push((self.pool.snapshot(), self.model.clone()));
        let first = self.pool.list_users(&UserQuery::default(), &page(3, None)).unwrap();
        let shown = first.items.iter().map(|view| view.sub).collect();
        self.listings.push((in_order(&self.model), shown, first.cursor));
    }

    pub fn check(&self) {
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
