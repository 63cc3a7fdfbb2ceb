//! Keycloak: one realm file, or a directory export of `REALM-realm.json` and `REALM-users-N.json`.
//!
//! A pool is one realm. Groups keep their path without the leading `/`; realm roles become groups `role:NAME` and the
//! client roles that users hold become groups `role:CLIENT/NAME`, all of kind `role`. Groups and roles that a user names
//! and no file defines are announced bare before the user. Service accounts are skipped. User attributes whose names are
//! standard ones take those places; the others become custom attributes of several strings, as Keycloak keeps them.

mod credential;
mod realm;
mod user;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{
    Options, Plan, Source,
    announce::Announcer,
    attrs::AttrTable,
    input::Input,
    json::{Element, Elements, members},
    place::Notes,
    record::{ImportGroup, Item},
};
use user::Users;

/// The kind of groups that stand for roles.
pub(crate) const ROLE_KIND: &str = "role";
/// How the names of groups that stand for roles begin.
pub(crate) const ROLE_PREFIX: &str = "role:";

/// Plans an import of a realm's files.
pub(crate) fn plan<'a>(inputs: &'a [Input], options: &Options, attributes: &Arc<AttrTable>) -> Plan<'a> {
    let mut parts: Vec<Box<dyn Source<'a> + 'a>> = Vec::new();
    for input in inputs {
        parts.push(Box::new(Part {
            input,
            sections: sections(input.bytes()).into_iter(),
            current: None,
            users: Users::new(attributes, options),
            announcer: Announcer::default(),
            bytes_done: 0,
        }));
    }
    Plan { parts, last: None, bytes_total: inputs.iter().map(|input| input.bytes().len() as u64).sum() }
}

/// What a realm file holds for an import.
enum Section<'a> {
    Roles(&'a [u8]),
    Groups(&'a [u8]),
    Users(&'a [u8]),
    /// A file that is a list of users, as an array or one behind the other.
    Listed(&'a [u8]),
    /// A second realm, or no realm at all: its place and why it is not read.
    Refused(u64, &'static str),
}

/// The sections of a file, groups and roles before users.
fn sections(text: &[u8]) -> Vec<Section<'_>> {
    let mut found = Vec::new();
    let mut realms = Elements::new(text, &[]);
    let mut first = true;
    loop {
        let realm = match realms.next() {
            Element::End => break,
            Element::Bad { line, reason } => {
                found.push(Section::Refused(line, reason));
                continue;
            }
            Element::Record { line, text } => {
                if !std::mem::take(&mut first) {
                    found.push(Section::Refused(line, "a second realm in one file: a pool is one realm"));
                    continue;
                }
                text
            }
        };
        // What the admin API answers to GET /users: users alone, without a realm around them.
        if is_user(realm) {
            return vec![Section::Listed(text)];
        }
        let mut users = Vec::new();
        for (name, value) in members(realm) {
            match &*name {
                "roles" => found.push(Section::Roles(value)),
                "groups" => found.push(Section::Groups(value)),
                "users" => users.push(Section::Users(value)),
                _ => {}
            }
        }
        found.append(&mut users);
    }
    found
}

/// Whether an object is a user and no realm.
fn is_user(object: &[u8]) -> bool {
    let mut is_named = false;
    for (name, _) in members(object) {
        match &*name {
            "realm" | "users" => return false,
            "username" => is_named = true,
            _ => {}
        }
    }
    is_named
}

/// One file of a realm.
struct Part<'a> {
    input: &'a Input,
    sections: std::vec::IntoIter<Section<'a>>,
    current: Option<Elements<'a>>,
    users: Users,
    announcer: Announcer,
    bytes_done: u64,
}

impl<'a> Part<'a> {
    /// Opens the next section; false when there is none.
    fn open(&mut self, out: &mut Vec<Item<'a>>) -> bool {
        let mut groups = Vec::new();
        match self.sections.next() {
            None => return false,
            Some(Section::Refused(line, reason)) => out.push(Item::Refused { line, reason: reason.into() }),
            Some(Section::Roles(text)) => groups = realm::roles(text),
            Some(Section::Groups(text)) => groups = realm::groups(text),
            Some(Section::Users(text)) => self.current = Some(Elements::of_array(text)),
            Some(Section::Listed(text)) => self.current = Some(Elements::new(text, &[])),
        }
        for group in groups {
            match group {
                Ok(group) => self.define(group, out),
                Err(reason) => out.push(Item::Refused { line: 0, reason: reason.into() }),
            }
        }
        true
    }

    fn define(&mut self, group: ImportGroup<'a>, out: &mut Vec<Item<'a>>) {
        if self.announcer.note(&group.name) {
            out.push(Item::Group(group));
        }
    }
}

/// Groups that stand for roles are known by their names.
fn kind_of<'a>(name: &str) -> Option<super::record::Text<'a>> {
    name.starts_with(ROLE_PREFIX).then_some(ROLE_KIND.into())
}

impl<'a> Source<'a> for Part<'a> {
    fn input(&self) -> &'a str {
        self.input.name()
    }

    fn next_batch(&mut self, max: usize, out: &mut Vec<Item<'a>>) -> bool {
        let mut notes = Notes::new();
        for _ in 0..max {
            let Some(elements) = &mut self.current else {
                if !self.open(out) {
                    self.bytes_done = self.input.bytes().len() as u64;
                    return false;
                }
                continue;
            };
            match elements.next() {
                Element::End => self.current = None,
                Element::Bad { line, reason } => out.push(Item::Refused { line, reason: reason.into() }),
                Element::Record { line, text } => {
                    self.bytes_done += text.len() as u64;
                    let item = match self.users.read(line, text, &mut notes) {
                        Ok(item) => item,
                        Err(reason) => Item::Refused { line, reason: reason.into() },
                    };
                    if let Item::User(user) = &item {
                        self.announcer.announce(user, kind_of, out);
                    }
                    out.push(item);
                    out.extend(notes.drain(..).map(|note| Item::Changed { line, note }));
                }
            }
        }
        true
    }

    fn bytes_done(&self) -> u64 {
        self.bytes_done
    }
}
