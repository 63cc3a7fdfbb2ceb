//! The lists: groups and their members, identities, factors, the elements of multi-valued attributes. Each
//! entry belongs to a user and a group that are there, and what is kept in two directions agrees.
//!
//! Entries of one keyspace with the same fault make one finding, which counts them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use stoa_format::{AttrId, Keyspace, Ordinal};

use super::indexes::{STRIDE, name_of};
use super::{Finding, REBUILD, Report};
use crate::error::Result;
use crate::pool::keyspace::{self, Key, first_number, last_number, split_terminated, start_of};
use crate::pool::open::OpenPool;
use crate::pool::record::{FactorRecord, GroupRecord};
use crate::pool::snapshot::Snapshot;
use crate::pool::value::Value;
use crate::store::compaction::Progress;

/// Its ids are unique in the pool, and found by an index of their own.
const UNIQUE_KIND: &[u8] = b"webauthn";

const MALFORMED: &str = "are malformed";
const OF_NO_USER: &str = "are of users that are gone";
const OF_NO_GROUP: &str = "are of groups that are gone";

/// What is wrong with an entry, if anything.
type Fault = Option<&'static str>;

impl OpenPool {
    /// Checks all lists. `groups` is how many groups the pool says it has.
    ///
    /// # Errors
    /// If the work is no longer wanted.
    pub(super) fn verify_lists(
        &self,
        snapshot: &Snapshot,
        groups: u64,
        progress: &Progress,
        report: &mut Report,
    ) -> Result<()> {
        let mut lists = Lists { pool: self, snapshot, progress, report };
        lists.groups(groups)?;
        lists.members()?;
        lists.identities()?;
        lists.factors()?;
        lists.elements()
    }
}

struct Lists<'a> {
    pool: &'a OpenPool,
    snapshot: &'a Snapshot,
    progress: &'a Progress,
    report: &'a mut Report,
}

impl Lists<'_> {
    /// Checks every entry of a keyspace; answers how many there are.
    fn each(
        &mut self,
        keyspace: Keyspace,
        mut fault_of: impl FnMut(&Snapshot, &[u8], &[u8]) -> Result<Fault>,
    ) -> Result<u64> {
        let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut count, mut ended) = (0u64, None);
        let (snapshot, pool, progress) = (self.snapshot, self.pool, self.progress);
        let scanned = snapshot.scan_prefix(&start_of(keyspace), |key, value| {
            if count.is_multiple_of(STRIDE)
                && let Err(error) = pool.go_on(progress)
            {
                ended = Some(error);
                return Ok(ControlFlow::Break(()));
            }
            count += 1;
            if let Some(fault) = fault_of(snapshot, key, value)? {
                *faults.entry(fault).or_default() += 1;
            }
            Ok(ControlFlow::Continue(()))
        });
        if let Some(error) = ended {
            return Err(error);
        }
        if let Err(error) = scanned {
            self.report.found(self.pool.unreadable(name_of(keyspace), &error));
        }
        for (fault, count) in faults {
            let file = name_of(keyspace).to_owned();
            let what = format!("{count} entries {fault}");
            let pool = Some(self.pool.id);
            self.report.found(Finding { pool, file, offset: None, page: None, attribute: None, what, remedy: REBUILD });
        }
        self.report.entries += count;
        Ok(count)
    }

    fn groups(&mut self, groups: u64) -> Result<()> {
        let held = self.each(keyspace::GROUPS, |snapshot, name, value| {
            let Ok(record) = GroupRecord::decode(value) else { return Ok(Some(MALFORMED)) };
            let by_id = snapshot.key(&Key::new(keyspace::GROUP_NAMES).number(record.id).flat())?;
            Ok((by_id.as_deref() != Some(name)).then_some("lack their name by id"))
        })?;
        if held != groups {
            let what = format!("holds {held} groups, the pool says {groups}");
            let file = name_of(keyspace::GROUPS).to_owned();
            let pool = Some(self.pool.id);
            self.report.found(Finding { pool, file, offset: None, page: None, attribute: None, what, remedy: REBUILD });
        }
        self.each(keyspace::GROUP_NAMES, |snapshot, key, name| {
            let (Some(id), Ok(name)) = (first_number(key), std::str::from_utf8(name)) else {
                return Ok(Some(MALFORMED));
            };
            let is_there = snapshot.group_record(name)?.is_some_and(|record| record.id == id);
            // A large group is hidden at once and swept little by little.
            let is_swept = snapshot.version.documents.by_name.contains_key(&*format!("sweep/{id}"));
            Ok((!is_there && !is_swept).then_some(OF_NO_GROUP))
        })?;
        Ok(())
    }

    fn members(&mut self) -> Result<()> {
        let of_pair = |key: &[u8]| (key.len() == 16).then(|| first_number(key).zip(last_number(key))).flatten();
        let mut known = None;
        let members = self.each(keyspace::MEMBERS, |snapshot, key, _| {
            let Some((group, ordinal)) = of_pair(key) else { return Ok(Some(MALFORMED)) };
            if !snapshot.is_live(Ordinal(ordinal)) {
                return Ok(Some(OF_NO_USER));
            }
            if known != Some(group) {
                let name = Key::new(keyspace::GROUP_NAMES).number(group).flat();
                if snapshot.key(&name)?.is_none() {
                    return Ok(Some(OF_NO_GROUP));
                }
                known = Some(group);
            }
            let turned = Key::new(keyspace::GROUPS_OF).number(ordinal).number(group).flat();
            Ok(snapshot.key(&turned)?.is_none().then_some("lack their counterpart in groups of users"))
        })?;
        let held = self.each(keyspace::GROUPS_OF, |snapshot, key, _| {
            let Some((ordinal, _)) = of_pair(key) else { return Ok(Some(MALFORMED)) };
            Ok((!snapshot.is_live(Ordinal(ordinal))).then_some(OF_NO_USER))
        })?;
        // Where there are as many as members, each is a member's, or a member was said to lack its own.
        if held != members {
            self.each(keyspace::GROUPS_OF, |snapshot, key, _| {
                let Some((ordinal, group)) = of_pair(key) else { return Ok(None) };
                let turned = Key::new(keyspace::MEMBERS).number(group).number(ordinal).flat();
                Ok(snapshot.key(&turned)?.is_none().then_some("lack their counterpart in members of groups"))
            })?;
        }
        Ok(())
    }

    fn identities(&mut self) -> Result<()> {
        let of_users = self.each(keyspace::IDENTITIES_OF, |snapshot, key, _| {
            let Some(ordinal) = first_number(key) else { return Ok(Some(MALFORMED)) };
            let Some((provider, subject)) = split_terminated(&key[8..]) else { return Ok(Some(MALFORMED)) };
            if !snapshot.is_live(Ordinal(ordinal)) {
                return Ok(Some(OF_NO_USER));
            }
            let turned = Key::new(keyspace::IDENTITIES).terminated(&provider).rest(subject).flat();
            Ok(not_of(snapshot, &turned, ordinal)?.then_some("are found under no user, or under another"))
        })?;
        let found = self.count(keyspace::IDENTITIES)?;
        if found != of_users {
            self.each(keyspace::IDENTITIES, |snapshot, key, value| {
                let Some((ordinal, (provider, subject))) = last_number(value).zip(split_terminated(key)) else {
                    return Ok(Some(MALFORMED));
                };
                let turned =
                    Key::new(keyspace::IDENTITIES_OF).number(ordinal).terminated(&provider).rest(subject).flat();
                Ok(snapshot.key(&turned)?.is_none().then_some("are of users that do not have them"))
            })?;
        }
        Ok(())
    }

    fn factors(&mut self) -> Result<()> {
        let mut unique = 0;
        self.each(keyspace::FACTORS, |snapshot, key, value| {
            let Some(ordinal) = first_number(key) else { return Ok(Some(MALFORMED)) };
            let Some((kind, id)) = split_terminated(&key[8..]) else { return Ok(Some(MALFORMED)) };
            if FactorRecord::decode(value).is_err() {
                return Ok(Some(MALFORMED));
            }
            if !snapshot.is_live(Ordinal(ordinal)) {
                return Ok(Some(OF_NO_USER));
            }
            if kind != UNIQUE_KIND {
                return Ok(None);
            }
            unique += 1;
            let by_id = Key::new(keyspace::FACTOR_IDS).terminated(&kind).rest(id).flat();
            Ok(not_of(snapshot, &by_id, ordinal)?.then_some("are found under no user, or under another"))
        })?;
        let found = self.count(keyspace::FACTOR_IDS)?;
        if found != unique {
            self.each(keyspace::FACTOR_IDS, |snapshot, key, value| {
                let Some((ordinal, (kind, id))) = last_number(value).zip(split_terminated(key)) else {
                    return Ok(Some(MALFORMED));
                };
                let factor = Key::new(keyspace::FACTORS).number(ordinal).terminated(&kind).rest(id).flat();
                Ok(snapshot.key(&factor)?.is_none().then_some("are of users that do not have them"))
            })?;
        }
        Ok(())
    }

    /// The elements of multi-valued attributes.
    fn elements(&mut self) -> Result<()> {
        self.each(keyspace::MULTI, |snapshot, key, _| {
            let (Some(ordinal), Some(attr)) = (first_number(key), key.get(8..10).and_then(<[u8]>::first_chunk)) else {
                return Ok(Some(MALFORMED));
            };
            let attr = AttrId(u16::from_be_bytes(*attr));
            let Some(attribute) = snapshot.schema().by_id(attr).filter(|attribute| attribute.multi) else {
                return Ok(Some("are of an attribute that is not multi-valued"));
            };
            if !snapshot.is_live(Ordinal(ordinal)) {
                return Ok(Some(OF_NO_USER));
            }
            Ok(Value::decode(attribute.ty, false, &key[10..]).is_err().then_some(MALFORMED))
        })?;
        Ok(())
    }

    fn count(&mut self, keyspace: Keyspace) -> Result<u64> {
        self.each(keyspace, |_, _, _| Ok(None))
    }
}

/// Whether the key's value is not this ordinal.
fn not_of(snapshot: &Snapshot, flat: &Bytes, ordinal: u64) -> Result<bool> {
    Ok(snapshot.key(flat)?.and_then(|value| last_number(&value)) != Some(ordinal))
}
