//! Indexes against columns.
//!
//! Each entry that the data calls for is looked up; if as many entries stand in the index, there
//! are no others. Only if there are, the index is walked to name them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use stoa_format::{AttrId, Keyspace, Ordinal};

use super::{Finding, REBUILD, Report};
use crate::error::{Error, Result};
use crate::pool::draft::index::{index_keys, share_alias};
use crate::pool::keyspace::flat_key;
use crate::pool::keyspace::{self, last_number, start_of};
use crate::pool::open::OpenPool;
use crate::pool::snapshot::Snapshot;
use crate::store::compaction::Progress;

/// Between two looks at whether to go on.
pub(super) const STRIDE: u64 = 1024;

impl OpenPool {
    pub(super) fn verify_indexes(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        progress: &Progress,
        report: &mut Report,
    ) -> Result<()> {
        let mut expected = 0u64;
        for (at, ordinal) in snapshot.live_ordinals(Ordinal(0)).enumerate() {
            if (at as u64).is_multiple_of(STRIDE) {
                self.go_on(progress)?;
            }
            match index_keys(snapshot, ordinal) {
                Ok(keys) => {
                    for (attr, flat) in keys {
                        expected += 1;
                        if snapshot.key(&flat).map_or(true, |found| found.is_none()) {
                            report.found(self.index_finding(&flat, Some(attr), "lacks an entry for a stored value"));
                        }
                    }
                }
                Err(error) => report.found(self.unreadable("columns", &error)),
            }
            progress.done.fetch_add(u64::from((at as u64).is_multiple_of(STRIDE)), Relaxed);
        }
        let held = self.verify_owners(snapshot, report) + self.count_keys(snapshot, keyspace::ORDER, report);
        report.entries += expected;
        if held != expected {
            self.find_extra_entries(snapshot, report);
        }
        Ok(())
    }

    fn count_keys(&self, snapshot: &Snapshot, keyspace: Keyspace, report: &mut Report) -> u64 {
        let mut count = 0;
        let scanned = snapshot.scan_prefix(&start_of(keyspace), |_, _| {
            count += 1;
            Ok(ControlFlow::Continue(()))
        });
        if let Err(error) = scanned {
            report.found(self.unreadable(name_of(keyspace), &error));
        }
        count
    }

    /// Counts the entries of the alias index; no two users own a value.
    fn verify_owners(&self, snapshot: &Snapshot, report: &mut Report) -> u64 {
        let mut count = 0;
        let mut last: Option<([u8; 10], Vec<Ordinal>)> = None;
        let scanned = snapshot.scan_prefix(&start_of(keyspace::ALIASES), |key, _| {
            count += 1;
            let (Some(value), Some(owner)) = (key.first_chunk::<10>(), last_number(key)) else {
                return Ok(ControlFlow::Continue(()));
            };
            let owner = Ordinal(owner);
            match &mut last {
                // Of equal hashes the values are compared.
                Some((before, owners)) if before == value => {
                    let attr = AttrId(u16::from_be_bytes([value[0], value[1]]));
                    for other in owners.iter() {
                        if snapshot.is_live(owner)
                            && snapshot.is_live(*other)
                            && share_alias(snapshot, attr, owner, *other)?
                        {
                            let flat = flat_key(keyspace::ALIASES, key);
                            report.found(self.index_finding(&flat, Some(attr), "has two owners of one value"));
                        }
                    }
                    owners.push(owner);
                }
                _ => last = Some((*value, vec![owner])),
            }
            Ok(ControlFlow::Continue(()))
        });
        if let Err(error) = scanned {
            report.found(self.unreadable(name_of(keyspace::ALIASES), &error));
        }
        count
    }

    /// Names the entries of alias and order index that no value calls for.
    fn find_extra_entries(&self, snapshot: &Snapshot, report: &mut Report) {
        for keyspace in [keyspace::ALIASES, keyspace::ORDER] {
            let scanned = snapshot.scan_prefix(&start_of(keyspace), |key, _| {
                let flat = flat_key(keyspace, key);
                let owner = Ordinal(last_number(key).unwrap_or(u64::MAX));
                let wanted = snapshot.is_live(owner)
                    && index_keys(snapshot, owner).is_ok_and(|keys| keys.iter().any(|(_, wanted)| *wanted == flat));
                if !wanted {
                    let attr = key.first_chunk().map(|attr| AttrId(u16::from_be_bytes(*attr)));
                    report.found(self.index_finding(&flat, attr, "has an entry for a value that nobody has"));
                }
                Ok(ControlFlow::Continue(()))
            });
            if let Err(error) = scanned {
                report.found(self.unreadable(name_of(keyspace), &error));
            }
        }
    }

    fn index_finding(&self, flat: &Bytes, attr: Option<AttrId>, what: &str) -> Finding {
        let schema = Arc::clone(&self.version.load().documents.schema);
        let attribute = attr.map(|attr| match schema.by_id(attr) {
            Some(attribute) => attribute.name.to_string(),
            None if attr == AttrId::SUB => "sub".to_owned(),
            None => format!("#{}", attr.0),
        });
        let file = name_of(Keyspace(flat[0])).to_owned();
        Finding {
            pool: Some(self.id),
            file,
            offset: None,
            page: None,
            attribute,
            what: what.to_owned(),
            remedy: REBUILD,
        }
    }

    pub(super) fn unreadable(&self, place: &str, error: &Error) -> Finding {
        Finding {
            pool: Some(self.id),
            file: place.to_owned(),
            offset: None,
            page: None,
            attribute: None,
            what: error.to_string(),
            remedy: super::RESTORE,
        }
    }
}

pub(super) fn name_of(keyspace: Keyspace) -> &'static str {
    match keyspace {
        keyspace::ALIASES => "alias index",
        keyspace::ORDER => "order index",
        keyspace::MULTI => "elements of multi-valued attributes",
        keyspace::GROUPS => "groups",
        keyspace::GROUP_NAMES => "names of groups",
        keyspace::FACTORS => "factors",
        keyspace::FACTOR_IDS => "ids of factors",
        keyspace::MEMBERS => "members of groups",
        keyspace::GROUPS_OF => "groups of users",
        keyspace::IDENTITIES => "identities",
        keyspace::IDENTITIES_OF => "identities of users",
        _ => "a keyspace",
    }
}
