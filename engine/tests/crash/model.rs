//! What a store is to hold, as plain maps: the model knows nothing of ordinals, columns, indexes, logs or files.
//!
//! 1. A transaction is applied to a copy, which takes the old state's place only if the whole of it is allowed:
//!    so no part of a refused one is ever seen.
//! 2. Users are named by a small number, from which their sub follows, so that a script is plain data.

use std::collections::{BTreeMap, BTreeSet};

use stoa_engine::digest::fact::{DigestKey, fact};
use stoa_format::Sub;

/// A user in plain values, as they travel. The last three are not modelled: they are read from the first run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct User {
    pub attrs: BTreeMap<String, String>,
    pub tags: BTreeSet<String>,
    pub status: String,
    pub enabled: bool,
    pub password: Option<String>,
    pub identities: BTreeSet<(String, String)>,
    pub factors: BTreeMap<String, Vec<u8>>,
    pub version: u64,
    pub created_at_ms: u64,
    pub updated_at_ms: u64,
}

/// A group and who is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Group {
    pub kind: Option<String>,
    pub description: Option<String>,
    pub members: BTreeSet<Sub>,
}

/// A pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PoolState {
    pub users: BTreeMap<Sub, User>,
    pub groups: BTreeMap<String, Group>,
    pub config: BTreeMap<String, String>,
    /// Attributes beyond those that every pool of the script has.
    pub more_attrs: BTreeSet<String>,
}

/// A store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct StoreState {
    pub pools: BTreeMap<String, PoolState>,
    pub documents: BTreeMap<String, Vec<u8>>,
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Create {
        user: u64,
        attrs: Vec<(&'static str, String)>,
        password: bool,
    },
    Set {
        user: u64,
        changes: Vec<(String, Option<String>)>,
    },
    Tag {
        user: u64,
        tag: String,
        on: bool,
    },
    Verify {
        user: u64,
        take: bool,
    },
    Delete {
        user: u64,
    },
    Enable {
        user: u64,
        on: bool,
    },
    Reset {
        user: u64,
        on: bool,
    },
    Password {
        user: u64,
    },
    Link {
        user: u64,
        subject: String,
        on: bool,
    },
    Factor {
        user: u64,
        id: String,
        blob: Option<Vec<u8>>,
    },
    GroupCreate {
        name: &'static str,
        kind: Option<&'static str>,
    },
    GroupSet {
        name: &'static str,
        description: String,
    },
    GroupRename {
        name: &'static str,
        to: &'static str,
    },
    GroupDelete {
        name: &'static str,
    },
    Join {
        name: &'static str,
        users: Vec<u64>,
        on: bool,
    },
    Schema {
        attr: String,
    },
    Config {
        name: &'static str,
        json: Option<String>,
    },
    /// Sets one value for every user whose `locale` is this, or for all.
    SetAll {
        locale: Option<&'static str>,
        attr: &'static str,
        value: String,
        reset: bool,
    },
}

/// The stored form of every password in a script.
pub const HASH: &str = "$2b$04$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi";
/// The provider of every linked identity.
pub const PROVIDER: &str = "idp";
/// The attributes that name one user, with a value in whatever case.
pub const ALIASES: [&str; 2] = ["username", "email"];
/// The alias that only a verified owner holds, and its flag.
pub const MAIL: &str = "custom:mail";
pub const MAIL_VERIFIED: &str = "custom:mail_verified";
/// The schema that every pool of a script begins with.
pub const SCHEMA: &str = r#"{"attributes": {
    "custom:n": {"type": "integer", "searchable": true},
    "custom:tags": {"type": "string", "multi": true, "collation": "casefold"},
    "custom:mail": {"type": "string", "alias": "verified", "collation": "casefold"},
    "custom:mail_verified": {"type": "boolean"}}}"#;

/// The sub of a script's user.
pub fn sub_of(user: u64) -> Sub {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&user.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..].copy_from_slice(&user.to_be_bytes());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = 0x80;
    Sub(bytes)
}

impl User {
    fn is_verified(&self) -> bool {
        self.attrs.get(MAIL_VERIFIED).is_some_and(|flag| flag == "true")
    }

    /// The same without what the model does not know.
    fn plain(&self) -> Self {
        Self { version: 0, created_at_ms: 0, updated_at_ms: 0, ..self.clone() }
    }
}

impl PoolState {
    /// The state after a transaction; `None` if it must be refused.
    pub fn after(&self, acts: &[Act]) -> Option<Self> {
        let mut after = self.clone();
        for act in acts {
            after.apply(act)?;
        }
        after.aliases_are_unique().then_some(after)
    }

    fn apply(&mut self, act: &Act) -> Option<()> {
        match act {
            Act::Create { user, attrs, password } => {
                let attrs = attrs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                let status = if *password { "CONFIRMED" } else { "UNCONFIRMED" }.to_owned();
                let password = password.then(|| HASH.to_owned());
                let new = User { attrs, status, password, enabled: true, ..User::default() };
                if self.users.insert(sub_of(*user), new).is_some() {
                    return None;
                }
            }
            Act::Set { user, changes } => {
                let user = self.users.get_mut(&sub_of(*user))?;
                for (name, value) in changes {
                    let verified = name == MAIL && user.is_verified() && user.attrs.get(MAIL) != value.as_ref();
                    match value {
                        Some(value) => drop(user.attrs.insert(name.clone(), value.clone())),
                        None => drop(user.attrs.remove(name)),
                    }
                    if verified {
                        user.attrs.insert(MAIL_VERIFIED.into(), "false".into());
                    }
                }
            }
            Act::Tag { user, tag, on } => {
                let tags = &mut self.users.get_mut(&sub_of(*user))?.tags;
                let _ = if *on { tags.insert(tag.clone()) } else { tags.remove(tag) };
            }
            Act::Verify { user, take } => self.verify(sub_of(*user), *take)?,
            Act::Delete { user } => {
                self.users.remove(&sub_of(*user));
                for group in self.groups.values_mut() {
                    group.members.remove(&sub_of(*user));
                }
            }
            Act::Enable { user, on } => self.users.get_mut(&sub_of(*user))?.enabled = *on,
            Act::Reset { user, on } => {
                self.users.get_mut(&sub_of(*user))?.status =
                    if *on { "RESET_REQUIRED" } else { "CONFIRMED" }.to_owned();
            }
            Act::Password { user } => {
                let user = self.users.get_mut(&sub_of(*user))?;
                user.password = Some(HASH.to_owned());
                user.status = "CONFIRMED".to_owned();
            }
            Act::Link { user, subject, on } => {
                let link = (PROVIDER.to_owned(), subject.clone());
                if *on
                    && self.users.iter().any(|(sub, other)| *sub != sub_of(*user) && other.identities.contains(&link))
                {
                    return None;
                }
                let identities = &mut self.users.get_mut(&sub_of(*user))?.identities;
                let _ = if *on { identities.insert(link) } else { identities.remove(&link) };
            }
            Act::Factor { user, id, blob } => {
                let factors = &mut self.users.get_mut(&sub_of(*user))?.factors;
                match blob {
                    Some(blob) => drop(factors.insert(id.clone(), blob.clone())),
                    None => drop(factors.remove(id)),
                }
            }
            Act::GroupCreate { name, kind } => {
                let new = Group { kind: kind.map(str::to_owned), ..Group::default() };
                if self.groups.insert((*name).to_owned(), new).is_some() {
                    return None;
                }
            }
            Act::GroupSet { name, description } => {
                self.groups.get_mut(*name)?.description = Some(description.clone());
            }
            Act::GroupRename { name, to } => {
                let group = self.groups.remove(*name)?;
                if self.groups.insert((*to).to_owned(), group).is_some() {
                    return None;
                }
            }
            Act::GroupDelete { name } => drop(self.groups.remove(*name)),
            Act::Join { name, users, on } => {
                for user in users {
                    let sub = sub_of(*user);
                    self.users.get(&sub)?;
                    let members = &mut self.groups.get_mut(*name)?.members;
                    let _ = if *on { members.insert(sub) } else { members.remove(&sub) };
                }
            }
            Act::Schema { attr } => drop(self.more_attrs.insert(attr.clone())),
            Act::Config { name, json } => match json {
                Some(json) => drop(self.config.insert((*name).to_owned(), json.clone())),
                None => drop(self.config.remove(*name)),
            },
            Act::SetAll { locale, attr, value, reset } => {
                for user in self.users.values_mut() {
                    if locale.is_none_or(|locale| user.attrs.get("locale").is_some_and(|own| own == locale)) {
                        user.attrs.insert((*attr).to_owned(), value.clone());
                        if *reset {
                            user.status = "RESET_REQUIRED".to_owned();
                        }
                    }
                }
            }
        }
        Some(())
    }

    fn verify(&mut self, sub: Sub, take: bool) -> Option<()> {
        let mail = self.users.get(&sub)?.attrs.get(MAIL).cloned();
        let owns = |user: &User| user.is_verified() && user.attrs.get(MAIL) == mail.as_ref() && mail.is_some();
        let owner = self.users.iter().find(|(other, user)| **other != sub && owns(user)).map(|(other, _)| *other);
        if let Some(owner) = owner {
            if !take {
                return None;
            }
            self.users.get_mut(&owner)?.attrs.insert(MAIL_VERIFIED.into(), "false".into());
        }
        self.users.get_mut(&sub)?.attrs.insert(MAIL_VERIFIED.into(), "true".into());
        Some(())
    }

    fn aliases_are_unique(&self) -> bool {
        ALIASES.iter().all(|alias| {
            let held = self.users.values().filter_map(|user| user.attrs.get(*alias)).map(|value| value.to_lowercase());
            let mut seen = BTreeSet::new();
            held.into_iter().all(|value| seen.insert(value))
        })
    }

    /// Who owns an alias value.
    pub fn owner(&self, attr: &str, value: &str) -> Option<Sub> {
        let owns = |user: &User| {
            (attr != MAIL || user.is_verified())
                && user.attrs.get(attr).is_some_and(|own| own.to_lowercase() == value.to_lowercase())
        };
        self.users.iter().find(|(_, user)| owns(user)).map(|(sub, _)| *sub)
    }

    /// The same without what the model does not know.
    pub fn plain(&self) -> Self {
        let users = self.users.iter().map(|(sub, user)| (*sub, user.plain())).collect();
        Self { users, ..self.clone() }
    }

    /// The sum of all facts, out of the model; `schema` is the schema document as the pool tells it.
    pub fn digest(&self, key: &DigestKey, schema: &str) -> u128 {
        let nil = Sub::NIL.text();
        let mut sum = fact(key, &nil, "$schema", schema.as_bytes());
        let mut add = |sub: &[u8; 36], name: &str, value: &[u8]| sum = sum.wrapping_add(fact(key, sub, name, value));
        for (name, json) in &self.config {
            add(&nil, &format!("$config:{name}"), json.as_bytes());
        }
        for (name, group) in &self.groups {
            let fields = [("description", &group.description), ("kind", &group.kind)];
            let fields: Vec<String> = fields
                .into_iter()
                .filter_map(|(name, value)| value.as_ref().map(|value| format!("\"{name}\":\"{value}\"")))
                .collect();
            add(&nil, &format!("$group:{name}"), format!("{{{}}}", fields.join(",")).as_bytes());
            for sub in &group.members {
                add(&sub.text(), &format!("$group:{name}"), b"");
            }
        }
        for (sub, user) in &self.users {
            let sub = sub.text();
            user.attrs.iter().for_each(|(name, value)| add(&sub, name, value.as_bytes()));
            if !user.tags.is_empty() {
                let tags = serde_json::to_string(&user.tags).unwrap();
                add(&sub, "custom:tags", tags.as_bytes());
            }
            add(&sub, "$enabled", user.enabled.to_string().as_bytes());
            add(&sub, "$status", user.status.as_bytes());
            user.password.iter().for_each(|password| add(&sub, "$password", password.as_bytes()));
            for (provider, subject) in &user.identities {
                add(&sub, &format!("$identity:{provider}"), subject.as_bytes());
            }
            user.factors.iter().for_each(|(id, blob)| add(&sub, &format!("$factor:totp:{id}"), blob));
        }
        sum
    }
}

impl StoreState {
    /// The same without what the model does not know.
    pub fn plain(&self) -> Self {
        let pools = self.pools.iter().map(|(name, pool)| (name.clone(), pool.plain())).collect();
        Self { pools, documents: self.documents.clone() }
    }
}
