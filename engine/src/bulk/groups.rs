//! The groups of a load, and who is in them.

use std::collections::HashMap;

use stoa_format::Keyspace;
use stoa_format::manifest::FilePlace;

use super::files::NewFiles;
use super::sorted::{self, Keys};
use crate::error::Result;
use crate::pool::draft::{apply_fields, check_name};
use crate::pool::keyspace;
use crate::pool::record::GroupRecord;
use crate::pool::request::GroupFields;

/// Groups by number and name, memberships by both.
#[derive(Default)]
pub(super) struct Groups {
    records: Vec<(Box<str>, GroupRecord)>,
    by_name: HashMap<Box<str>, u32>,
    /// Group and ordinal, with repetitions.
    memberships: Vec<(u32, u32)>,
}

impl Groups {
    /// The number of a group, made if it is new; `mint` gives its id in the pool.
    pub(super) fn group(
        &mut self,
        name: &str,
        fields: &GroupFields,
        now_ms: u64,
        mint: impl FnOnce() -> u64,
    ) -> Result<u32> {
        check_name(name)?;
        if let Some(&at) = self.by_name.get(name) {
            apply_fields(&mut self.records[at as usize].1, fields)?;
            return Ok(at);
        }
        let mut record =
            GroupRecord { version: 1, created_at_ms: now_ms, updated_at_ms: now_ms, ..GroupRecord::default() };
        apply_fields(&mut record, fields)?;
        record.id = mint();
        let at = self.records.len() as u32;
        self.records.push((name.into(), record));
        self.by_name.insert(name.into(), at);
        Ok(at)
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn join(&mut self, group: u32, ordinal: u32) {
        self.memberships.push((group, ordinal));
    }

    /// The keyspaces that hold groups, each to be written on its own.
    pub(super) fn into_writes(mut self) -> Vec<GroupWrite> {
        if self.records.is_empty() {
            return Vec::new();
        }
        let (mut by_name, mut by_id) = (Keys::default(), Keys::default());
        for (name, record) in &self.records {
            by_name.push(&record.encode(), |key| key.extend_from_slice(name.as_bytes()));
            by_id.push(name.as_bytes(), |key| key.extend_from_slice(&record.id.to_be_bytes()));
        }
        by_name.sort();
        by_id.sort();
        let mut writes =
            vec![GroupWrite::Keys(keyspace::GROUPS, by_name), GroupWrite::Keys(keyspace::GROUP_NAMES, by_id)];
        if !self.memberships.is_empty() {
            let ids: Vec<u64> = self.records.iter().map(|(_, record)| record.id).collect();
            let members = |(group, ordinal): &(u32, u32)| (ids[*group as usize], u64::from(*ordinal));
            let groups_of = self.memberships.iter().map(members).map(|(group, ordinal)| (ordinal, group)).collect();
            let members = std::mem::take(&mut self.memberships).iter().map(members).collect();
            writes.push(GroupWrite::Pairs(keyspace::MEMBERS, members));
            writes.push(GroupWrite::Pairs(keyspace::GROUPS_OF, groups_of));
        }
        writes
    }
}

/// One keyspace to write.
pub(super) enum GroupWrite {
    Keys(Keyspace, Keys),
    /// Keys of two numbers, in any order and with repetitions.
    Pairs(Keyspace, Vec<(u64, u64)>),
}

impl GroupWrite {
    pub(super) fn run(self, files: &NewFiles) -> Result<()> {
        let keyspace = match &self {
            Self::Keys(keyspace, _) | Self::Pairs(keyspace, _) => *keyspace,
        };
        let mut writer = files.create(FilePlace::Index, u16::from(keyspace.0))?;
        sorted::begin(&mut writer, keyspace)?;
        match self {
            Self::Keys(_, keys) => keys.write(&[], &mut writer)?,
            Self::Pairs(_, mut pairs) => {
                pairs.sort_unstable();
                pairs.dedup();
                let mut key = [0; 16];
                for (first, second) in pairs {
                    key[..8].copy_from_slice(&first.to_be_bytes());
                    key[8..].copy_from_slice(&second.to_be_bytes());
                    writer.push_key(&key, Some(&[]))?;
                }
            }
        }
        files.finish(writer)
    }
}
