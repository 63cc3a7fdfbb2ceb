//! Creating and changing users.

use std::sync::Arc;

use bytes::Bytes;
use stoa_format::ops::{EventKind, Subject};
use stoa_format::{AttrId, Ordinal, Sub};

use super::cells::StagedCells;
use super::conflict::user_conflict;
use super::index::{Claim, Claimed};
use super::{Draft, OwnedCell, UserDraft, built_in_fact};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::request::{Input, NewUser, Outcome, Status, UserRef};
use crate::pool::schema::{Alias, Attribute, InvalidValue, Schema};
use crate::pool::value::Value;

/// Ordinals are 32 bits in memory.
const ORDINALS_MAX: u64 = u32::MAX as u64;

pub(super) fn invalid_value(fault: InvalidValue) -> Error {
    Error::invalid(fault.to_string()).because(fault)
}

fn unknown_attribute() -> Error {
    Error::invalid("an attribute is not in this pool's schema: see POOL.INFO, add it with POOL.ALTER")
}

impl Draft<'_> {
    fn mint_ordinal(&mut self) -> Result<Ordinal> {
        if self.taken == self.reserved.len() {
            let ordinal = self.snapshot.pool.mint_ordinal();
            if ordinal.0 >= ORDINALS_MAX {
                return Err(Error::limit("this pool has minted all of its 2^32 ordinals: begin a new pool"));
            }
            self.reserved.push(ordinal);
        }
        self.taken += 1;
        Ok(self.reserved[self.taken - 1])
    }

    pub(super) fn user_create(&mut self, new: &NewUser) -> Result<Outcome> {
        let sub = match new.sub {
            Some(sub) if sub != Sub::NIL => sub,
            Some(_) => return Err(Error::invalid("the nil UUID is no sub: leave SUB out to have one minted")),
            None => self.snapshot.pool.mint_sub(self.now_ms)?,
        };
        // Of one that was just minted the end of the transaction sees whether somebody has it, as of every alias.
        if self.by_sub.contains_key(&sub) || (new.sub.is_some() && self.snapshot.find_sub(sub)?.is_some()) {
            let what = "a user with this sub is there already: use USER.SET, or leave SUB out";
            return Err(Error::new(ErrorKind::Exists, what));
        }
        let ordinal = self.mint_ordinal()?;
        let status = new.status.unwrap_or(match (&new.password, new.temporary) {
            (None, _) => Status::Unconfirmed,
            (Some(_), true) => Status::ForceChangePassword,
            (Some(_), false) => Status::Confirmed,
        });
        let created_at_ms = new.created_at_ms.unwrap_or(self.now_ms);
        let updated_at_ms = new.updated_at_ms.unwrap_or(created_at_ms);
        let built_in = [
            (AttrId::SUB, OwnedCell::Bytes(Bytes::copy_from_slice(&sub.0))),
            (AttrId::LIVE, OwnedCell::Int(1)),
            (AttrId::VERSION, OwnedCell::Int(1)),
            (AttrId::CREATED_AT, OwnedCell::Int(created_at_ms as i64)),
            (AttrId::UPDATED_AT, OwnedCell::Int(updated_at_ms as i64)),
            (AttrId::ENABLED, OwnedCell::Int(i64::from(new.enabled.unwrap_or(true)))),
            (AttrId::STATUS, OwnedCell::Int(status.code())),
        ];
        self.begin_user(sub, ordinal, built_in);
        if let Some(password) = &new.password {
            self.set_password(ordinal, password)?;
        }
        let changed = self.set_attributes(ordinal, &new.attrs, new.take_alias, true)?;
        self.check_required(ordinal)?;
        self.event(EventKind::UserCreate, Subject::User(sub), 1, changed);
        Ok(Outcome { sub: Some(sub), version: Some(1), changed: None })
    }

    /// Stages a user of whom there was nothing, with the cells that every user has and what follows from them.
    fn begin_user(&mut self, sub: Sub, ordinal: Ordinal, built_in: [(AttrId, OwnedCell); 7]) {
        let (_, hash) = self.leaf(sub);
        self.set_alias(AttrId::SUB, hash, ordinal, true);
        self.claims.push(Claim { attr: AttrId::SUB, ordinal, what: Claimed::Sub(sub), hash, op: self.op });
        self.reads.insert(user_conflict(ordinal));
        self.writes.insert(user_conflict(ordinal));
        let mut cells = StagedCells::of_new_user();
        for (attr, cell) in built_in {
            if let Some((name, value)) = built_in_fact(attr, &cell) {
                self.count_fact(sub, name, value, true);
            }
            cells.insert(attr, Some(cell));
        }
        self.users.insert(ordinal, UserDraft { sub, created: true, deleted: false, cells });
        self.by_sub.insert(sub, ordinal);
    }

    pub(super) fn user_set(
        &mut self,
        user: &UserRef,
        if_version: Option<u64>,
        take_alias: bool,
        changes: &[(Box<str>, Input)],
    ) -> Result<Outcome> {
        let ordinal = self.require(user)?;
        self.check_version(ordinal, if_version)?;
        let changed = self.set_attributes(ordinal, changes, take_alias, false)?;
        self.check_required(ordinal)?;
        self.conclude(ordinal, EventKind::UserSet, changed)
    }

    pub(super) fn user_multi(
        &mut self,
        user: &UserRef,
        if_version: Option<u64>,
        values: &[(Box<str>, Input)],
        add: bool,
    ) -> Result<Outcome> {
        let ordinal = self.require(user)?;
        self.check_version(ordinal, if_version)?;
        let schema = Arc::clone(&self.schema);
        let mut changed = Vec::new();
        for (name, input) in values {
            let attribute = schema.by_name(name).ok_or_else(unknown_attribute)?;
            if !attribute.multi {
                let what = format!("{} holds one value: use USER.SET", attribute.name);
                return Err(Error::invalid(what));
            }
            let before = self.value(ordinal, attribute)?;
            let mut elements = before.as_ref().map(|value| value.elements().to_vec()).unwrap_or_default();
            for element in attribute.parse_elements(input).map_err(invalid_value)? {
                match elements.iter().position(|other| *other == element) {
                    None if add => elements.push(element),
                    Some(at) if !add => drop(elements.remove(at)),
                    _ => {}
                }
            }
            let after = match elements.is_empty() {
                true => None,
                false => {
                    let value = Value::multi(elements);
                    let value = value.and_then(|value| attribute.check(&value).map(|()| value));
                    Some(value.map_err(|fault| invalid_value(InvalidValue { attr: attribute.name.shared(), fault }))?)
                }
            };
            let set = self.reindexed(ordinal, &[attribute], |draft| draft.set_value(ordinal, attribute, after))?;
            if set && !changed.contains(&attribute.id) {
                changed.push(attribute.id);
            }
        }
        self.check_required(ordinal)?;
        self.conclude(ordinal, EventKind::UserSet, changed)
    }

    pub(super) fn user_enable(&mut self, user: &UserRef, enabled: bool) -> Result<Outcome> {
        let ordinal = self.require(user)?;
        let set = self.set_fact_cell(ordinal, AttrId::ENABLED, Some(OwnedCell::Int(i64::from(enabled))))?;
        let event = if enabled { EventKind::UserEnable } else { EventKind::UserDisable };
        self.conclude(ordinal, event, if set { vec![AttrId::ENABLED] } else { Vec::new() })
    }

    pub(super) fn user_status(&mut self, user: &UserRef, if_version: Option<u64>, status: Status) -> Result<Outcome> {
        let ordinal = self.require(user)?;
        self.check_version(ordinal, if_version)?;
        let set = self.set_fact_cell(ordinal, AttrId::STATUS, Some(OwnedCell::Int(status.code())))?;
        self.conclude(ordinal, EventKind::UserStatus, if set { vec![AttrId::STATUS] } else { Vec::new() })
    }

    /// Raises the version if anything changed, and says what was done.
    pub(super) fn conclude(&mut self, ordinal: Ordinal, event: EventKind, changed: Vec<AttrId>) -> Result<Outcome> {
        let sub = self.sub(ordinal)?;
        if changed.is_empty() {
            let version = self.int(ordinal, AttrId::VERSION)?.unwrap_or_default() as u64;
            return Ok(Outcome { sub: Some(sub), version: Some(version), changed: Some(0) });
        }
        let count = changed.len() as u64;
        let version = self.raise_version(ordinal)?;
        self.event(event, Subject::User(sub), version, changed);
        Ok(Outcome { sub: Some(sub), version: Some(version), changed: Some(count) })
    }

    /// +1 for the version, and the time of it.
    pub(super) fn raise_version(&mut self, ordinal: Ordinal) -> Result<u64> {
        let version = self.int(ordinal, AttrId::VERSION)?.unwrap_or_default() + 1;
        self.stage_cell(ordinal, AttrId::VERSION, Some(OwnedCell::Int(version)))?;
        self.set_cell(ordinal, AttrId::UPDATED_AT, Some(OwnedCell::Int(self.now_ms as i64)))?;
        Ok(version as u64)
    }

    pub(super) fn check_version(&mut self, ordinal: Ordinal, if_version: Option<u64>) -> Result<()> {
        let Some(expected) = if_version else { return Ok(()) };
        let version = self.int(ordinal, AttrId::VERSION)?.unwrap_or_default() as u64;
        match version == expected {
            true => Ok(()),
            false => Err(Error::conflict(format!("version={version} expected={expected}"))),
        }
    }

    /// Sets or removes attributes; answers which have changed.
    pub(super) fn set_attributes(
        &mut self,
        ordinal: Ordinal,
        changes: &[(Box<str>, Input)],
        take_alias: bool,
        creating: bool,
    ) -> Result<Vec<AttrId>> {
        let schema = Arc::clone(&self.schema);
        let mut parsed = Vec::with_capacity(changes.len());
        for (name, input) in changes {
            let attribute = schema.by_name(name).ok_or_else(unknown_attribute)?;
            if parsed.iter().any(|(other, _): &(&Attribute, _)| other.id == attribute.id) {
                return Err(Error::invalid(format!("{} is named twice", attribute.name)));
            }
            let value = match input.is_removal() {
                true => None,
                false => Some(attribute.parse(input).map_err(invalid_value)?),
            };
            parsed.push((attribute, value));
        }
        self.unverify_changed(ordinal, &schema, &mut parsed)?;
        if take_alias {
            self.take_aliases(ordinal, &schema, &parsed)?;
        }
        let mut indexed: Vec<&Attribute> = parsed.iter().map(|(attribute, _)| *attribute).collect();
        indexed.extend(parsed.iter().filter_map(|(attribute, _)| schema.verified_alias_of(attribute.id)));
        indexed.sort_by_key(|attribute| attribute.id);
        indexed.dedup_by_key(|attribute| attribute.id);
        indexed.retain(|attribute| attribute.alias != Alias::None || attribute.searchable);
        self.reindexed(ordinal, &indexed, |draft| {
            let mut changed = Vec::new();
            for (attribute, value) in parsed {
                let frozen = !attribute.mutable && !creating && draft.value(ordinal, attribute)?.is_some();
                if draft.set_value(ordinal, attribute, value)? {
                    if frozen {
                        let what = format!("{} cannot be changed: its schema says mutable false", attribute.name);
                        return Err(Error::invalid(what));
                    }
                    changed.push(attribute.id);
                }
            }
            changed.sort_unstable();
            Ok(changed)
        })
    }

    /// A new value of a verified alias is not verified, unless the same request says that it is.
    fn unverify_changed<'s>(
        &mut self,
        ordinal: Ordinal,
        schema: &'s Schema,
        parsed: &mut Vec<(&'s Attribute, Option<Value>)>,
    ) -> Result<()> {
        let mut flags = Vec::new();
        for (attribute, value) in parsed.iter() {
            let Some(flag) = attribute.verified_by.and_then(|id| schema.by_id(id)) else { continue };
            let named = parsed.iter().any(|(other, _)| other.id == flag.id);
            if !named && self.value(ordinal, attribute)? != *value && self.int(ordinal, flag.id)? == Some(1) {
                flags.push((flag, Some(Value::Bool(false))));
            }
        }
        parsed.extend(flags);
        Ok(())
    }

    /// Unverifies whoever owns the verified aliases that this user is about to own.
    fn take_aliases(
        &mut self,
        ordinal: Ordinal,
        schema: &Schema,
        parsed: &[(&Attribute, Option<Value>)],
    ) -> Result<()> {
        for attribute in schema.aliases().filter(|attribute| attribute.alias == Alias::Verified) {
            let Some(flag) = attribute.verified_by.and_then(|id| schema.by_id(id)) else { continue };
            let staged = |id: AttrId| parsed.iter().find(|(other, _)| other.id == id).map(|(_, value)| value.clone());
            let verified = match staged(flag.id) {
                Some(value) => value == Some(Value::Bool(true)),
                None => self.int(ordinal, flag.id)? == Some(1),
            };
            let value = match staged(attribute.id) {
                Some(value) => value,
                None => self.value(ordinal, attribute)?,
            };
            let (true, Some(value)) = (verified, value) else { continue };
            let Some(owner) = self.snapshot.find_alias(attribute, &value.text())? else { continue };
            if owner == ordinal || !self.is_live(owner) {
                continue;
            }
            self.reads.insert(super::conflict::user_conflict(owner));
            let changed =
                self.reindexed(owner, &[attribute], |draft| draft.set_value(owner, flag, Some(Value::Bool(false))))?;
            if changed {
                self.conclude(owner, EventKind::UserSet, vec![flag.id])?;
            }
        }
        Ok(())
    }

    pub(super) fn check_required(&mut self, ordinal: Ordinal) -> Result<()> {
        let schema = Arc::clone(&self.schema);
        for attribute in schema.required() {
            if self.value(ordinal, attribute)?.is_none() {
                return Err(Error::invalid(format!("{} is required by this pool's schema", attribute.name)));
            }
        }
        Ok(())
    }
}
