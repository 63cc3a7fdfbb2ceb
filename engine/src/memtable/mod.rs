//! The versioned state since the last flush: what was committed, ordered by key and then by Seq.
//!
//! Invariants:
//! 1. Only the commit leader inserts, in ascending order of Seq; readers need no lock.
//! 2. Nothing is ever changed or removed: a reader that pins a Seq sees the same for as long as it
//!    holds the memtable. A flush drops the whole memtable.
//! 3. One packed delta a user and transaction: a commit makes one insertion a user, not one an
//!    attribute.
//! 4. A list a keyspace: most commits and look-ups meet keyspaces of which the memtable holds nothing,
//!    and those cost nothing.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use crossbeam_skiplist::SkipMap;
use stoa_format::ops::{Cells, PUT_CREATES};
use stoa_format::{Keyspace, Ordinal, Seq};

/// What an entry costs besides its bytes: skip-list node and handles.
const ENTRY_OVERHEAD_BYTES: u64 = 120;

/// What one transaction did to one user.
#[derive(Clone)]
pub struct Delta {
    /// `PUT_CREATES`, `PUT_DELETES` or 0.
    pub flags: u8,
    /// Encoded cells.
    pub cells: Bytes,
}

impl Delta {
    /// The cells, which the writer encoded or replay has checked.
    pub fn cells(&self) -> Cells<'_> {
        Cells::decode(&self.cells).unwrap_or_default()
    }

    /// Whether no run says anything about this user.
    pub fn creates(&self) -> bool {
        self.flags & PUT_CREATES != 0
    }
}

type UserKey = (u64, Reverse<u64>);

/// Keyspace and key in one, then the newest first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FlatKey {
    /// The first 16 octets as a number that sorts as they do: it settles most comparisons within the
    /// list's own nodes, without a look at the key behind them.
    head: u128,
    flat: Bytes,
    seq: Reverse<u64>,
}

impl FlatKey {
    fn new(flat: Bytes, seq: u64) -> Self {
        let mut head = [0; 16];
        let len = flat.len().min(16);
        head[..len].copy_from_slice(&flat[..len]);
        Self { head: u128::from_be_bytes(head), flat, seq: Reverse(seq) }
    }
}

/// Lists of keys: one a keyspace, the last one for all further.
const KEY_LISTS: usize = 16;

type KeyList = SkipMap<FlatKey, Option<Bytes>>;

/// One memtable: active while it takes commits, frozen once a flush has begun.
#[derive(Default)]
pub struct Memtable {
    users: SkipMap<UserKey, Delta>,
    keys: [KeyList; KEY_LISTS],
    size_bytes: AtomicU64,
}

impl Memtable {
    /// Adds a user's delta at `seq`.
    pub fn put(&self, ordinal: Ordinal, seq: Seq, delta: Delta) {
        self.grow(delta.cells.len());
        self.users.insert((ordinal.0, Reverse(seq.0)), delta);
    }

    /// Sets or deletes a key at `seq`. `flat` is the keyspace's octet and the key.
    pub fn set_key(&self, flat: Bytes, seq: Seq, value: Option<Bytes>) {
        self.grow(flat.len() + value.as_ref().map_or(0, Bytes::len));
        self.list(&flat).insert(FlatKey::new(flat, seq.0), value);
    }

    fn list(&self, flat: &[u8]) -> &KeyList {
        &self.keys[list_number(flat)]
    }

    /// Whether it may hold keys that begin so; `prefix` holds a keyspace's octet.
    pub fn may_hold(&self, prefix: &[u8]) -> bool {
        !self.list(prefix).is_empty()
    }

    fn grow(&self, bytes: usize) {
        self.size_bytes.fetch_add(bytes as u64 + ENTRY_OVERHEAD_BYTES, Relaxed);
    }

    /// Roughly how much memory it takes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Relaxed)
    }

    /// Whether nothing was committed into it.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.keys.iter().all(SkipMap::is_empty)
    }

    /// The deltas of one user, newest first, from `seq` backwards. Answers the first that `visit`
    /// makes something of.
    pub fn user<T>(&self, ordinal: Ordinal, seq: Seq, mut visit: impl FnMut(&Delta) -> Option<T>) -> Option<T> {
        let from = (ordinal.0, Reverse(seq.0));
        let to = (ordinal.0, Reverse(0));
        self.users.range(from..=to).find_map(|entry| visit(entry.value()))
    }

    /// The users with a delta at or before `seq`, in ascending order from `from`, each once.
    pub fn changed_users(&self, from: Ordinal, seq: Seq) -> impl Iterator<Item = Ordinal> + '_ {
        let mut last = None;
        self.users.range((from.0, Reverse(u64::MAX))..).filter_map(move |entry| {
            let (ordinal, Reverse(at)) = *entry.key();
            if at > seq.0 || last == Some(ordinal) {
                return None;
            }
            last = Some(ordinal);
            Some(Ordinal(ordinal))
        })
    }

    /// The deltas at or before `seq`: ascending by ordinal, newest first within one.
    pub fn deltas_at(&self, seq: Seq) -> impl Iterator<Item = (Ordinal, Delta)> + '_ {
        let seen = self.users.iter().filter(move |entry| entry.key().1.0 <= seq.0);
        seen.map(|entry| (Ordinal(entry.key().0), entry.value().clone()))
    }

    /// Whether a key of this keyspace was set or deleted after `seq`.
    pub fn has_keys_after(&self, keyspace: Keyspace, seq: Seq) -> bool {
        let mut entries = self.list(&[keyspace.0]).iter();
        entries.any(|entry| entry.key().flat.first() == Some(&keyspace.0) && entry.key().seq.0 > seq.0)
    }

    /// All deltas: ascending by ordinal, newest first within one.
    pub fn deltas(&self) -> impl Iterator<Item = (Ordinal, Delta)> + '_ {
        self.users.iter().map(|entry| (Ordinal(entry.key().0), entry.value().clone()))
    }

    /// What this memtable says of a key at `seq`: `None` for nothing, `Some(None)` for deleted.
    pub fn key(&self, flat: &Bytes, seq: Seq) -> Option<Option<Bytes>> {
        let list = self.list(flat);
        if list.is_empty() {
            return None;
        }
        let from = FlatKey::new(flat.clone(), seq.0);
        let to = FlatKey { seq: Reverse(0), ..from.clone() };
        list.range(from..=to).next().map(|entry| entry.value().clone())
    }

    /// The newest entry at or before `seq` of each key from `from` on, in ascending order of key.
    /// Keys are flat: they begin with their keyspace's octet.
    pub fn keys_from(&self, from: &Bytes, seq: Seq) -> impl Iterator<Item = (Bytes, Option<Bytes>)> + '_ {
        let mut last: Option<Bytes> = None;
        let first = FlatKey::new(from.clone(), u64::MAX);
        let lists = self.keys[list_number(from)..].iter();
        lists.flat_map(move |list| list.range(first.clone()..)).filter_map(move |entry| {
            let FlatKey { flat: key, seq: Reverse(at), .. } = entry.key();
            if *at > seq.0 || last.as_ref() == Some(key) {
                return None;
            }
            last = Some(key.clone());
            Some((key.clone(), entry.value().clone()))
        })
    }

    /// The newest entry at or before `seq` of each key of `prefix` from `from` on, in ascending order.
    pub fn keys_up(&self, prefix: Bytes, from: &Bytes, seq: Seq) -> impl Iterator<Item = (Bytes, Option<Bytes>)> + '_ {
        let mut last: Option<Bytes> = None;
        let entries = self.list(&prefix).range(FlatKey::new(from.clone(), u64::MAX)..);
        // What is newer is passed over, but never beyond the prefix.
        entries.take_while(move |entry| entry.key().flat.starts_with(&prefix)).filter_map(move |entry| {
            let FlatKey { flat: key, seq: Reverse(at), .. } = entry.key();
            if *at > seq.0 || last.as_ref() == Some(key) {
                return None;
            }
            last = Some(key.clone());
            Some((key.clone(), entry.value().clone()))
        })
    }

    /// The newest entry at or before `seq` of each key of `prefix` below `below`, in descending order.
    pub fn keys_down(
        &self,
        prefix: Bytes,
        below: &Bytes,
        seq: Seq,
    ) -> impl Iterator<Item = (Bytes, Option<Bytes>)> + '_ {
        let entries = self.list(&prefix).range(..FlatKey::new(below.clone(), u64::MAX)).rev();
        let mut entries = entries.take_while(move |entry| entry.key().flat.starts_with(&prefix)).peekable();
        std::iter::from_fn(move || {
            loop {
                let oldest = entries.next()?;
                let key = oldest.key().flat.clone();
                let mut entry = Some(oldest);
                let mut newest = None;
                // Of one key the oldest comes first: the last that is not too new has the word.
                while let Some(found) = entry {
                    if found.key().seq.0 <= seq.0 {
                        newest = Some(found.value().clone());
                    }
                    entry = entries.next_if(|next| next.key().flat == key);
                }
                if let Some(value) = newest {
                    return Some((key, value));
                }
            }
        })
    }
}

/// The list of keys that begin so: in ascending order, as the keys.
fn list_number(flat: &[u8]) -> usize {
    flat.first().map_or(0, |octet| usize::from(*octet).min(KEY_LISTS - 1))
}

/// A key with its keyspace in front.
pub fn flat_key(keyspace: Keyspace, key: &[u8]) -> Bytes {
    let mut flat = Vec::with_capacity(1 + key.len());
    flat.push(keyspace.0);
    flat.extend_from_slice(key);
    Bytes::from(flat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stoa_format::AttrId;
    use stoa_format::ops::{CellRef, encode_cells};

    fn delta(flags: u8, cells: &[(AttrId, CellRef<'_>)]) -> Delta {
        let mut out = Vec::new();
        encode_cells(cells.iter().copied(), &mut out);
        Delta { flags, cells: Bytes::from(out) }
    }

    #[test]
    fn a_reader_sees_its_own_seq_for_ever() {
        let table = Memtable::default();
        table.put(Ordinal(1), Seq(5), delta(PUT_CREATES, &[(AttrId(64), CellRef::Int(1))]));
        table.put(Ordinal(1), Seq(7), delta(0, &[(AttrId(64), CellRef::Int(2))]));
        let read = |seq| {
            table.user(Ordinal(1), Seq(seq), |delta| match delta.cells().find(AttrId(64)) {
                Ok(Some(CellRef::Int(value))) => Some(value),
                _ => None,
            })
        };
        assert_eq!((read(4), read(5), read(6), read(7)), (None, Some(1), Some(1), Some(2)));
        let key = flat_key(Keyspace(1), b"k");
        table.set_key(key.clone(), Seq(5), Some(Bytes::from_static(b"v")));
        table.set_key(key.clone(), Seq(6), None);
        assert_eq!(table.key(&key, Seq(4)), None);
        assert_eq!(table.key(&key, Seq(5)), Some(Some(Bytes::from_static(b"v"))));
        assert_eq!(table.key(&key, Seq(9)), Some(None));
        let from = flat_key(Keyspace(1), b"");
        assert_eq!(table.keys_from(&from, Seq(5)).count(), 1);
        assert_eq!(table.keys_from(&from, Seq(6)).next(), Some((key.clone(), None)));
        table.set_key(flat_key(Keyspace(1), b"l"), Seq(7), Some(Bytes::new()));
        table.set_key(flat_key(Keyspace(2), b"k"), Seq(5), Some(Bytes::new()));
        for seq in 4..9 {
            let mut up: Vec<_> = table.keys_up(from.clone(), &from, Seq(seq)).collect();
            let down: Vec<_> = table.keys_down(from.clone(), &flat_key(Keyspace(2), b""), Seq(seq)).collect();
            up.reverse();
            assert_eq!(up, down);
            assert_eq!(up.len(), [0, 1, 1, 2, 2][seq as usize - 4]);
        }
        assert_eq!(table.keys_down(from, &key, Seq(9)).count(), 0);
        assert!(table.has_keys_after(Keyspace(1), Seq(6)) && !table.has_keys_after(Keyspace(1), Seq(7)));
        assert!(table.has_keys_after(Keyspace(2), Seq(4)) && !table.has_keys_after(Keyspace(2), Seq(5)));
        assert!(!table.has_keys_after(Keyspace(3), Seq(0)));
        assert_eq!(table.changed_users(Ordinal(0), Seq(4)).count(), 0);
        assert_eq!(table.changed_users(Ordinal(0), Seq(9)).collect::<Vec<_>>(), [Ordinal(1)]);
    }
}
