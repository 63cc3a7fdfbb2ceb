//! Groups and memberships.

use bytes::Bytes;
use stoa_format::ops::{EventKind, Subject};
use stoa_format::{Ordinal, Sub};

use super::Draft;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::keyspace::{self, Key};
use crate::pool::names::GroupName;
use crate::pool::record::GroupRecord;
use crate::pool::request::{GroupFields, Outcome, UserRef};
use crate::pool::snapshot::{damaged, no_group};

/// How many members one transaction sweeps out of a deleted group.
pub(crate) const SWEEP_COUNT: usize = 1000;
/// How many users one GROUP.ADD or GROUP.REMOVE may name.
const MEMBERS_MAX: usize = 1000;
/// The longest text of a group's property.
const TEXT_MAX_BYTES: usize = 2048;
/// The longest JSON of a group.
const JSON_MAX_BYTES: usize = 64 * 1024;

/// Checks a group's name.
pub(crate) fn check_name(name: &str) -> Result<()> {
    GroupName::parse(name).map(drop).map_err(|fault| Error::invalid(fault.to_string()).because(fault))
}

fn group_key(name: &str) -> Bytes {
    Key::new(keyspace::GROUPS).rest(name.as_bytes()).flat()
}

fn name_key(id: u64) -> Bytes {
    Key::new(keyspace::GROUP_NAMES).number(id).flat()
}

impl Draft<'_> {
    fn group(&mut self, name: &str) -> Result<Option<GroupRecord>> {
        let bytes = self.key(&group_key(name))?;
        bytes.map(|bytes| GroupRecord::decode(&bytes).map_err(|fault| damaged(&fault))).transpose()
    }

    fn require_group(&mut self, name: &str) -> Result<GroupRecord> {
        self.group(name)?.ok_or_else(no_group)
    }

    /// Adds or takes out the fact that a group is, which stands under the nil UUID.
    fn count_group(&mut self, name: &str, record: &GroupRecord, present: bool) {
        self.count_fact(Sub::NIL, &format!("$group:{name}"), record.canonical_json().as_bytes(), present);
    }

    fn put_group(&mut self, name: &str, record: &GroupRecord) {
        self.count_group(name, record, true);
        self.set_key(group_key(name), Some(Bytes::from(record.encode())));
    }

    pub(super) fn group_create(&mut self, name: &str, fields: &GroupFields) -> Result<Outcome> {
        check_name(name)?;
        if self.group(name)?.is_some() {
            let what = "a group of this name is there already: use GROUP.SET to change it";
            return Err(Error::new(ErrorKind::Exists, what));
        }
        let id = self.snapshot.pool.mint_group_id();
        let mut record = GroupRecord {
            id,
            version: 1,
            created_at_ms: self.now_ms,
            updated_at_ms: self.now_ms,
            ..GroupRecord::default()
        };
        apply_fields(&mut record, fields)?;
        self.put_group(name, &record);
        self.set_key(name_key(id), Some(Bytes::copy_from_slice(name.as_bytes())));
        self.event(EventKind::GroupCreate, Subject::Named(name), 1, Vec::new());
        Ok(Outcome { sub: None, version: Some(1), changed: Some(1) })
    }

    pub(super) fn group_set(&mut self, name: &str, fields: &GroupFields) -> Result<Outcome> {
        let before = self.require_group(name)?;
        let mut after = before.clone();
        apply_fields(&mut after, fields)?;
        if after == before {
            return Ok(Outcome { sub: None, version: Some(before.version), changed: Some(0) });
        }
        after.version += 1;
        after.updated_at_ms = self.now_ms;
        self.count_group(name, &before, false);
        self.put_group(name, &after);
        self.event(EventKind::GroupSet, Subject::Named(name), after.version, Vec::new());
        Ok(Outcome { sub: None, version: Some(after.version), changed: Some(1) })
    }

    pub(super) fn group_rename(&mut self, name: &str, to: &str) -> Result<Outcome> {
        check_name(to)?;
        let before = self.require_group(name)?;
        if name == to {
            return Ok(Outcome { sub: None, version: Some(before.version), changed: Some(0) });
        }
        if self.group(to)?.is_some() {
            return Err(Error::new(ErrorKind::Exists, "a group of the new name is there already: choose another name"));
        }
        // Who joins or leaves meanwhile has a fact under one of the names.
        self.exclusive = true;
        for ordinal in self.members(before.id, usize::MAX)? {
            let sub = self.sub(ordinal)?;
            self.count_fact(sub, &format!("$group:{name}"), b"", false);
            self.count_fact(sub, &format!("$group:{to}"), b"", true);
        }
        let after = GroupRecord { version: before.version + 1, updated_at_ms: self.now_ms, ..before.clone() };
        self.count_group(name, &before, false);
        self.set_key(group_key(name), None);
        self.put_group(to, &after);
        self.set_key(name_key(after.id), Some(Bytes::copy_from_slice(to.as_bytes())));
        self.event(EventKind::GroupRename, Subject::Named(to), after.version, Vec::new());
        Ok(Outcome { sub: None, version: Some(after.version), changed: Some(1) })
    }

    /// Hides the group at once. A small one is swept in the same transaction; of a large one the
    /// members are swept by [`Draft::group_sweep`], transaction by transaction.
    pub(super) fn group_delete(&mut self, name: &str) -> Result<Outcome> {
        let Some(record) = self.group(name)? else {
            return Ok(Outcome { sub: None, version: None, changed: Some(0) });
        };
        self.count_group(name, &record, false);
        self.set_key(group_key(name), None);
        // Who joins between the snapshot and the commit would be left behind by the sweep below.
        self.exclusive = true;
        self.sweep(record.id, name)?;
        self.event(EventKind::GroupDelete, Subject::Named(name), 0, Vec::new());
        Ok(Outcome { sub: None, version: None, changed: Some(1) })
    }

    /// Sweeps some members out of a deleted group; `changed` is how many.
    pub(super) fn group_sweep(&mut self, id: u64) -> Result<Outcome> {
        let Some(name) = self.key(&name_key(id))? else {
            return Ok(Outcome { sub: None, version: None, changed: Some(0) });
        };
        let name = String::from_utf8_lossy(&name).into_owned();
        let swept = self.sweep(id, &name)?;
        Ok(Outcome { sub: None, version: None, changed: Some(swept as u64) })
    }

    fn sweep(&mut self, id: u64, name: &str) -> Result<usize> {
        let members = self.members(id, SWEEP_COUNT)?;
        for &ordinal in &members {
            self.reads.insert(super::conflict::user_conflict(ordinal));
            self.leave(id, name, ordinal)?;
        }
        if members.len() < SWEEP_COUNT {
            self.set_key(name_key(id), None);
            self.documents.insert(format!("sweep/{id}"), None);
        } else {
            self.documents.insert(format!("sweep/{id}"), Some(Vec::new()));
        }
        Ok(members.len())
    }

    fn leave(&mut self, id: u64, name: &str, ordinal: Ordinal) -> Result<()> {
        let sub = self.sub(ordinal)?;
        self.count_fact(sub, &format!("$group:{name}"), b"", false);
        self.set_key(Key::new(keyspace::MEMBERS).number(id).ordinal(ordinal).flat(), None);
        self.set_key(Key::new(keyspace::GROUPS_OF).ordinal(ordinal).number(id).flat(), None);
        Ok(())
    }

    pub(super) fn group_members(&mut self, name: &str, users: &[UserRef], add: bool) -> Result<Outcome> {
        if users.len() > MEMBERS_MAX {
            return Err(Error::limit("1000 users at most in one request: send several"));
        }
        let id = self.require_group(name)?.id;
        let mut changed = 0;
        for user in users {
            let ordinal = self.require(user)?;
            let member = Key::new(keyspace::MEMBERS).number(id).ordinal(ordinal).flat();
            if self.key(&member)?.is_some() == add {
                continue;
            }
            changed += 1;
            let sub = match self.users.get(&ordinal) {
                Some(user) => user.sub,
                None => self.snapshot.sub_of(ordinal)?,
            };
            // Who deletes the user meanwhile has not seen that it joined.
            self.writes.insert(super::conflict::groups_conflict(ordinal));
            let value = add.then(Bytes::new);
            self.count_fact(sub, &format!("$group:{name}"), b"", add);
            self.set_key(member, value.clone());
            self.set_key(Key::new(keyspace::GROUPS_OF).ordinal(ordinal).number(id).flat(), value);
            let event = if add { EventKind::GroupAdd } else { EventKind::GroupRemove };
            self.event(event, Subject::Member(sub, name), 0, Vec::new());
        }
        Ok(Outcome { sub: None, version: None, changed: Some(changed) })
    }
}

/// Sets the properties that `fields` names.
pub(crate) fn apply_fields(record: &mut GroupRecord, fields: &GroupFields) -> Result<()> {
    for (text, place) in [
        (&fields.description, &mut record.description),
        (&fields.role, &mut record.role),
        (&fields.kind, &mut record.kind),
    ] {
        if let Some(text) = text {
            if text.len() > TEXT_MAX_BYTES {
                return Err(Error::limit("a group's description, role and kind take 2048 bytes at most"));
            }
            *place = Some(text.clone());
        }
    }
    if let Some(precedence) = fields.precedence {
        record.precedence = Some(precedence);
    }
    if let Some(json) = &fields.json {
        let text = serde_json_canonicalizer::to_string(json).map_err(|error| {
            Error::invalid("the group's JSON has no canonical form: use plain numbers").because(error)
        })?;
        if text.len() > JSON_MAX_BYTES {
            return Err(Error::limit("a group's JSON takes 65536 bytes at most"));
        }
        record.json = Some(text.into());
    }
    Ok(())
}
