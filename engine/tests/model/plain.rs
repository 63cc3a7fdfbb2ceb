//! The model: a map of users and a map of groups, and the steps that change both sides.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stoa_engine::pool::request::Input;
use stoa_format::Sub;

pub const SCHEMA: &str = r#"{"attributes": {
    "custom:n": {"type": "integer", "searchable": true},
    "custom:flag": {"type": "boolean"},
    "custom:tags": {"type": "string", "multi": true, "collation": "casefold"},
    "custom:nums": {"type": "integer", "multi": true, "searchable": true},
    "family_name": {"searchable": true, "collation": "casefold"},
    "custom:mail": {"type": "string", "alias": "verified", "collation": "casefold"},
    "custom:mail_verified": {"type": "boolean"}}}"#;

/// A user in plain values, as they travel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct User {
    pub attrs: BTreeMap<&'static str, String>,
    pub tags: BTreeSet<String>,
    pub nums: BTreeSet<i64>,
    pub status: &'static str,
    pub enabled: bool,
    pub identities: BTreeSet<(String, String)>,
    pub factors: BTreeMap<String, Vec<u8>>,
    pub order: usize,
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub users: BTreeMap<Sub, User>,
    pub groups: BTreeMap<String, (Option<String>, BTreeSet<Sub>)>,
    pub created: usize,
}

/// One step; numbers choose among what is there.
#[derive(Debug, Clone)]
pub enum Step {
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

pub fn step() -> impl Strategy<Value = Step> {
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

pub const NAMES: [&str; 5] = ["family_name", "given_name", "custom:flag", "custom:n", "custom:mail"];
pub const FAMILIES: [&str; 6] = ["Straße", "Smith", "smith", "", "Ångström", "jones"];
pub const GROUPS: [&str; 5] = ["staff", "team/a", "team/b", "admins", "z"];

pub fn value_of(attr: &str, value: u8) -> String {
    match attr {
        "custom:flag" => (value % 2 == 0).to_string(),
        "custom:n" => (i64::from(value) * 7 - 20).to_string(),
        "custom:mail" => format!("Mail{}@example.com", value % 3),
        _ => FAMILIES[usize::from(value)].to_owned(),
    }
}

pub fn raw(text: &str) -> Input {
    Input::Raw(text.to_owned().into())
}

impl Model {
    pub fn sub(&self, user: u8) -> Option<Sub> {
        let count = self.users.len();
        (count > 0).then(|| *self.users.keys().nth(usize::from(user) % count).unwrap())
    }

    pub fn owner(&self, mail: &str) -> Option<Sub> {
        let owns = |user: &User| {
            user.attrs.get("custom:mail_verified").is_some_and(|flag| flag == "true")
                && user.attrs.get("custom:mail").is_some_and(|own| own.eq_ignore_ascii_case(mail))
        };
        self.users.iter().find(|(_, user)| owns(user)).map(|(sub, _)| *sub)
    }
}

pub fn in_order(model: &Model) -> Vec<Sub> {
    let mut subs: Vec<_> = model.users.iter().map(|(sub, user)| (user.order, *sub)).collect();
    subs.sort_unstable();
    subs.into_iter().map(|(_, sub)| sub).collect()
}

pub fn text_list(values: impl Iterator<Item = String>) -> Option<String> {
    let mut values: Vec<String> = values.collect();
    values.sort_unstable();
    (!values.is_empty()).then(|| serde_json::to_string(&values).unwrap())
}

/// All set attributes as they travel.
pub fn wire(user: &User) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> =
        user.attrs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    all.extend(text_list(user.tags.iter().cloned()).map(|list| ("custom:tags".into(), list)));
    all.extend(text_list(user.nums.iter().map(i64::to_string)).map(|list| ("custom:nums".into(), list)));
    all
}
