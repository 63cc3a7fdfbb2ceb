//! Deleting a user with all that belongs to it.

use std::ops::ControlFlow;
use std::sync::Arc;

use stoa_format::ops::{EventKind, Subject};
use stoa_format::{AttrId, Ordinal};

use super::conflict::user_conflict;
use super::{Draft, built_in_fact};
use crate::error::Result;
use crate::pool::keyspace::{self, Key, last_number, split_terminated};
use crate::pool::request::{Outcome, UserRef};
use crate::pool::schema::Attribute;

impl Draft<'_> {
    pub(super) fn user_delete(&mut self, user: &UserRef, if_version: Option<u64>) -> Result<Outcome> {
        let Some(ordinal) = self.find(user)? else {
            let sub = if let UserRef::Sub(sub) = user { Some(*sub) } else { None };
            return Ok(Outcome { sub, version: None, changed: Some(0) });
        };
        self.check_version(ordinal, if_version)?;
        let sub = self.sub(ordinal)?;
        let schema = Arc::clone(&self.schema);
        let attributes: Vec<&Attribute> = schema.attributes().iter().collect();
        for attribute in &attributes {
            if let Some(value) = self.value(ordinal, attribute)? {
                self.count_fact(sub, &attribute.name, &value.wire(), false);
            }
        }
        for attr in [AttrId::ENABLED, AttrId::STATUS, AttrId::PASSWORD] {
            let cell = self.cell(ordinal, attr)?;
            if let Some((name, value)) = cell.as_ref().and_then(|cell| built_in_fact(attr, cell)) {
                self.count_fact(sub, name, value, false);
            }
        }
        self.delete_memberships(ordinal)?;
        self.delete_identities(ordinal)?;
        self.delete_factors(ordinal)?;
        self.delete_all(Key::new(keyspace::ATTEMPTS).ordinal(ordinal))?;
        self.delete_all(Key::new(keyspace::FORMER_PASSWORDS).ordinal(ordinal))?;
        let indexed: Vec<&Attribute> = attributes
            .into_iter()
            .filter(|attribute| attribute.alias != crate::pool::schema::Alias::None || attribute.searchable)
            .collect();
        self.reindexed(ordinal, &indexed, |draft| {
            draft.user(ordinal)?.deleted = true;
            Ok(())
        })?;
        self.delete_all(Key::new(keyspace::MULTI).ordinal(ordinal))?;
        let (_, hash) = self.leaf(sub);
        self.set_alias(AttrId::SUB, hash, ordinal, false);
        self.claims.retain(|claim| claim.ordinal != ordinal);
        self.reads.insert(user_conflict(ordinal));
        self.writes.insert(user_conflict(ordinal));
        self.event(EventKind::UserDelete, Subject::User(sub), 0, Vec::new());
        Ok(Outcome { sub: Some(sub), version: None, changed: Some(1) })
    }

    fn delete_all(&mut self, prefix: Key) -> Result<()> {
        for flat in self.keys_with(&prefix.flat())?.into_keys() {
            self.set_key(flat, None);
        }
        Ok(())
    }

    fn delete_memberships(&mut self, ordinal: Ordinal) -> Result<()> {
        let sub = self.sub(ordinal)?;
        self.reads.insert(super::conflict::groups_conflict(ordinal));
        for flat in self.keys_with(&Key::new(keyspace::GROUPS_OF).ordinal(ordinal).flat())?.into_keys() {
            let group = last_number(&flat).unwrap_or_default();
            if let Some(name) = self.key(&Key::new(keyspace::GROUP_NAMES).number(group).flat())? {
                let name = format!("$group:{}", String::from_utf8_lossy(&name));
                self.count_fact(sub, &name, b"", false);
            }
            self.set_key(Key::new(keyspace::MEMBERS).number(group).ordinal(ordinal).flat(), None);
            self.set_key(flat, None);
        }
        Ok(())
    }

    fn delete_identities(&mut self, ordinal: Ordinal) -> Result<()> {
        let sub = self.sub(ordinal)?;
        for flat in self.keys_with(&Key::new(keyspace::IDENTITIES_OF).ordinal(ordinal).flat())?.into_keys() {
            if let Some((provider, subject)) = split_terminated(&flat[9..]) {
                let name = format!("$identity:{}", String::from_utf8_lossy(&provider));
                self.count_fact(sub, &name, subject, false);
                self.set_key(Key::new(keyspace::IDENTITIES).terminated(&provider).rest(subject).flat(), None);
            }
            self.set_key(flat, None);
        }
        Ok(())
    }

    fn delete_factors(&mut self, ordinal: Ordinal) -> Result<()> {
        let sub = self.sub(ordinal)?;
        for (flat, value) in self.keys_with(&Key::new(keyspace::FACTORS).ordinal(ordinal).flat())? {
            if let Some((kind, id)) = split_terminated(&flat[9..]) {
                self.count_factor(sub, &String::from_utf8_lossy(&kind), &String::from_utf8_lossy(id), &value, false)?;
                self.set_key(Key::new(keyspace::FACTOR_IDS).terminated(&kind).rest(id).flat(), None);
            }
            self.set_key(flat, None);
        }
        Ok(())
    }

    /// The ordinals in a group as the transaction leaves it, `most` at most.
    pub(super) fn members(&self, group: u64, most: usize) -> Result<Vec<Ordinal>> {
        let prefix = Key::new(keyspace::MEMBERS).number(group).flat();
        let staged = self.keys.range(prefix.clone()..).next().is_some_and(|(flat, _)| flat.starts_with(&prefix));
        if staged {
            let members = self.keys_with(&prefix)?;
            return Ok(members.keys().filter_map(|flat| last_number(flat)).map(Ordinal).take(most).collect());
        }
        let mut members = Vec::new();
        self.snapshot.scan_prefix(&prefix, |key, _| {
            members.extend(last_number(key).map(Ordinal));
            Ok(if members.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(members)
    }
}
