//! What is stored twice: indexes against columns, lists against their other direction.
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
use crate::memtable::flat_key;
use crate::pool::draft::index::index_keys;
use crate::pool::keyspace::{self, Key, first_number, last_number, split_terminated, start_of};
use crate::pool::open::OpenPool;
use crate::pool::snapshot::Snapshot;
use crate::store::compaction::Progress;

/// Between two looks at whether to go on.
const STRIDE: u64 = 1024;

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
        let mut held = 0;
        for keyspace in [keyspace::ALIASES, keyspace::ORDER] {
            held += self.count_keys(snapshot, keyspace, report);
        }
        report.entries += expected;
        if held != expected {
            self.find_extra_entries(snapshot, report);
        }
        self.verify_both_ways(snapshot, keyspace::MEMBERS, keyspace::GROUPS_OF, turned_pair, report);
        self.verify_both_ways(snapshot, keyspace::IDENTITIES_OF, keyspace::IDENTITIES, turned_identity, report);
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

    /// Every entry of `one` has its counterpart in `other`, and there are as many.
    fn verify_both_ways(
        &self,
        snapshot: &Snapshot,
        one: Keyspace,
        other: Keyspace,
        turned: impl Fn(&[u8]) -> Option<Bytes>,
        report: &mut Report,
    ) {
        let mut count = 0;
        let scanned = snapshot.scan_prefix(&start_of(one), |key, _| {
            count += 1;
            let found = match turned(key) {
                Some(flat) => snapshot.key(&flat)?.is_some(),
                None => false,
            };
            if !found {
                let what = format!("lacks the counterpart of an entry of {}", name_of(one));
                report.found(self.index_finding(&start_of(other), None, &what));
            }
            Ok(ControlFlow::Continue(()))
        });
        if let Err(error) = scanned {
            report.found(self.unreadable(name_of(one), &error));
            return;
        }
        let others = self.count_keys(snapshot, other, report);
        report.entries += count;
        if others > count {
            let what = format!("has {} entries without a counterpart in {}", others - count, name_of(one));
            report.found(self.index_finding(&start_of(other), None, &what));
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

    fn unreadable(&self, place: &str, error: &Error) -> Finding {
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

fn name_of(keyspace: Keyspace) -> &'static str {
    match keyspace {
        keyspace::ALIASES => "alias index",
        keyspace::ORDER => "order index",
        keyspace::MEMBERS => "members of groups",
        keyspace::GROUPS_OF => "groups of users",
        keyspace::IDENTITIES => "identities",
        keyspace::IDENTITIES_OF => "identities of users",
        _ => "a keyspace",
    }
}

/// The other direction of a membership.
fn turned_pair(key: &[u8]) -> Option<Bytes> {
    Some(Key::new(keyspace::GROUPS_OF).number(last_number(key)?).number(first_number(key)?).flat())
}

/// The other direction of a linked identity.
fn turned_identity(key: &[u8]) -> Option<Bytes> {
    let (provider, subject) = split_terminated(key.get(8..)?)?;
    Some(Key::new(keyspace::IDENTITIES).terminated(&provider).rest(subject).flat())
}
