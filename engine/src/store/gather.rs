//! What frozen memtables come to: of every cell and key the newest, in the order in which a run
//! file takes them.
//!
//! Invariants:
//! 1. A user that the memtables make has no explicit null: no run says anything about it.
//! 2. A user that is gone has no cell; that it is gone is said by the bitmap of live users alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use roaring::RoaringBitmap;
use stoa_format::ops::{CellRef, PUT_CREATES, PUT_DELETES};
use stoa_format::{AttrId, Keyspace, Ordinal, Seq};

use crate::error::{Error, ErrorKind, Result};
use crate::memtable::{Delta, Memtable};
use crate::pool::keyspace;
use crate::pool::snapshot::damaged;

/// The cells of one attribute, where the memtables hold them: ordinals ascend; an absent one is an explicit null.
pub(super) type Cells<'a> = Vec<(u32, CellRef<'a>)>;
/// The keys of one keyspace, ascending, without its octet; `None` is a tombstone.
pub(super) type Keys = Vec<(Bytes, Option<Bytes>)>;

/// What is to be written.
#[derive(Default)]
pub(super) struct Gathered<'a> {
    pub columns: BTreeMap<AttrId, Cells<'a>>,
    pub keys: BTreeMap<Keyspace, Keys>,
    pub live: RoaringBitmap,
}

/// What memtables, newest first, say of users, in order of ordinals; of one user the newest first.
pub(super) fn users_in(memtables: &[Arc<Memtable>]) -> Vec<(Ordinal, Delta)> {
    let mut users = Vec::with_capacity(memtables.iter().map(|memtable| memtable.delta_count()).sum());
    memtables.iter().for_each(|memtable| users.extend(memtable.deltas()));
    // Stable: of one user the newest delta stays the first.
    users.sort_by_key(|(ordinal, _)| *ordinal);
    users
}

/// Gathers memtables, newest first, and what [`users_in`] them there is, over the users that were live before. Retry
/// tokens from before `tokens_from_ms` are left out.
pub(super) fn gather<'a>(
    memtables: &[Arc<Memtable>],
    users: &'a [(Ordinal, Delta)],
    live: &RoaringBitmap,
    tokens_from_ms: u64,
) -> Result<Gathered<'a>> {
    let mut gathered = Gathered { live: live.clone(), columns: empty_columns(users)?, ..Gathered::default() };
    for of_user in users.chunk_by(|(a, _), (b, _)| a == b) {
        gathered.add_user(of_user)?;
    }
    // Of those who were deleted nothing is left.
    gathered.columns.retain(|_, cells| !cells.is_empty());
    for keyspace in keyspace::ALL {
        let keys = gather_keys(memtables, keyspace, tokens_from_ms);
        if !keys.is_empty() {
            gathered.keys.insert(keyspace, keys);
        }
    }
    Ok(gathered)
}

/// A column for each attribute, with room for all its cells: as columns grow by themselves, more memory would be touched
/// for the room than for the cells.
fn empty_columns<'a>(users: &[(Ordinal, Delta)]) -> Result<BTreeMap<AttrId, Cells<'a>>> {
    let mut counts: BTreeMap<AttrId, usize> = BTreeMap::new();
    for delta in users.iter().flat_map(|(_, delta)| delta.chain()) {
        let mut cells = delta.cells();
        while let Some((attr, _)) = cells.next_cell().map_err(|fault| damaged(&fault))? {
            *counts.entry(attr).or_default() += 1;
        }
    }
    counts.remove(&AttrId::LIVE);
    Ok(counts.into_iter().map(|(attr, count)| (attr, Vec::with_capacity(count))).collect())
}

impl<'a> Gathered<'a> {
    fn add_user(&mut self, deltas: &'a [(Ordinal, Delta)]) -> Result<()> {
        let Some((ordinal, _)) = deltas.first() else { return Ok(()) };
        let short = u32::try_from(ordinal.0).map_err(|_| {
            Error::new(ErrorKind::Limit, "this pool has used up its 4,294,967,296 ordinals: export it into a new pool")
        })?;
        let deltas = || deltas.iter().flat_map(|(_, delta)| delta.chain());
        let has = |flag| deltas().any(|delta| delta.flags & flag != 0);
        let (created, deleted) = (has(PUT_CREATES), has(PUT_DELETES));
        if deleted {
            self.live.remove(short);
            return Ok(());
        }
        if created {
            self.live.insert(short);
        }
        for delta in deltas() {
            let mut cells = delta.cells();
            while let Some((attr, cell)) = cells.next_cell().map_err(|fault| damaged(&fault))? {
                if attr == AttrId::LIVE {
                    continue;
                }
                let column = self.columns.entry(attr).or_default();
                // Deltas come newest first: whoever was here before has the word.
                if column.last().is_some_and(|(last, _)| *last == short) {
                    continue;
                }
                column.push((short, cell));
            }
        }
        if created {
            for column in self.columns.values_mut() {
                column.pop_if(|(last, cell)| *last == short && *cell == CellRef::Absent);
            }
        }
        Ok(())
    }
}

fn gather_keys(memtables: &[Arc<Memtable>], keyspace: Keyspace, tokens_from_ms: u64) -> Keys {
    let start = keyspace::start_of(keyspace);
    let mut all: Vec<(Bytes, Option<Bytes>)> = Vec::new();
    for memtable in memtables {
        let of_keyspace = memtable.keys_up(start.clone(), &start, Seq(u64::MAX));
        all.extend(of_keyspace.map(|(flat, value)| (flat.slice(1..), value)));
    }
    // Stable: of one key the newest memtable's entry stays the first.
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all.dedup_by(|next, kept| next.0 == kept.0);
    all.retain(|(_, value)| !value.as_deref().is_some_and(|value| is_expired(keyspace, value, tokens_from_ms)));
    all
}

/// Whether a retry token's or attempt's record is from before `from_ms`: nobody asks for it again.
pub(super) fn is_expired(keyspace: Keyspace, value: &[u8], from_ms: u64) -> bool {
    let time_ms = match keyspace {
        keyspace::TOKENS => value.get(8..).and_then(<[u8]>::first_chunk).map(|time| u64::from_le_bytes(*time)),
        keyspace::ATTEMPTS => value.first_chunk().map(|time| u64::from_be_bytes(*time)),
        _ => None,
    };
    time_ms.is_some_and(|time_ms| time_ms < from_ms)
}

/// How many leading bytes of a keyspace's keys its filters are over; 0 for no filter. It is the
/// length that its look-ups ask for.
pub(crate) fn filter_prefix(keyspace: Keyspace) -> u16 {
    match keyspace {
        keyspace::ALIASES | keyspace::MULTI => 10,
        keyspace::MEMBERS => 16,
        keyspace::GROUPS_OF
        | keyspace::GROUP_NAMES
        | keyspace::IDENTITIES_OF
        | keyspace::FACTORS
        | keyspace::ATTEMPTS
        | keyspace::FORMER_PASSWORDS => 8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stoa_format::ops::encode_cells;

    fn delta(flags: u8, cells: &[(AttrId, CellRef<'_>)]) -> Delta {
        let mut out = Vec::new();
        encode_cells(cells.iter().copied(), &mut out);
        Delta::new(flags, Bytes::from(out))
    }

    #[test]
    fn the_newest_word_counts_and_the_dead_and_the_new_say_no_more_than_they_must() {
        let (older, newer) = (Memtable::default(), Memtable::default());
        let (a, b) = (AttrId(64), AttrId(65));
        older.put(Ordinal(1), Seq(1), delta(PUT_CREATES, &[(a, CellRef::Int(1)), (b, CellRef::Int(2))]));
        older.put(Ordinal(2), Seq(1), delta(PUT_CREATES, &[(a, CellRef::Int(1))]));
        older.put(Ordinal(0), Seq(2), delta(0, &[(a, CellRef::Absent), (b, CellRef::Int(5))]));
        older.put(Ordinal(0), Seq(3), delta(0, &[(b, CellRef::Int(6))]));
        newer.put(Ordinal(1), Seq(4), delta(0, &[(a, CellRef::Absent)]));
        newer.put(Ordinal(2), Seq(5), delta(PUT_DELETES, &[]));
        let token = |time_ms: u64| Some(Bytes::from([0u64.to_le_bytes(), time_ms.to_le_bytes()].concat()));
        older.set_key(keyspace::TOKENS, b"old", Seq(1), token(10)).unwrap();
        older.set_key(keyspace::TOKENS, b"new", Seq(1), token(1000)).unwrap();
        older.set_key(keyspace::GROUPS, b"g", Seq(1), Some(Bytes::from_static(b"1"))).unwrap();
        newer.set_key(keyspace::GROUPS, b"g", Seq(6), None).unwrap();
        let before: RoaringBitmap = [0].into_iter().collect();
        let memtables = [newer.into(), older.into()];
        let users = users_in(&memtables);
        let gathered = gather(&memtables, &users, &before, 500).unwrap();
        assert_eq!(gathered.live.iter().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(gathered.columns[&a], [(0, CellRef::Absent)]);
        assert_eq!(gathered.columns[&b], [(0, CellRef::Int(6)), (1, CellRef::Int(2))]);
        assert_eq!(gathered.keys[&keyspace::GROUPS], [(Bytes::from_static(b"g"), None)]);
        assert_eq!(gathered.keys[&keyspace::TOKENS].len(), 1);
    }
}
