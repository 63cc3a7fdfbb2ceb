//! The versioned state since the last flush: what was committed, ordered by key and then by Seq.
//!
//! Invariants:
//! 1. Only the commit leader inserts, in ascending order of Seq. Readers wait for one insertion at most.
//! 2. Nothing is ever changed or removed: a reader that pins a Seq sees the same for as long as it
//!    holds the memtable. A flush drops the whole memtable.
//! 3. One packed delta a user and transaction: a commit makes one insertion a user, not one an
//!    attribute. It says all that the memtable knows of the user, with what counts under it: however often a user
//!    changes, a reader looks at one or two, since what lies under a delta is more than twice as long (17 of them
//!    would hold 16 MiB).
//! 4. A list a keyspace: most commits and look-ups meet keyspaces of which the memtable holds nothing,
//!    and those cost nothing. Of users and aliases, which every sign-in asks for, a filter says which it may hold.

mod filter;
mod gathered;
mod ordered;

use std::cmp::Reverse;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use smallvec::SmallVec;
use stoa_format::ops::{CellRef, Cells, PUT_CREATES, encode_cells};
use stoa_format::{AttrId, DecodeError, Keyspace, Ordinal, Seq};

use crate::index::Direction;
use crate::pool::keyspace::{ALIAS_BYTES, ALIASES, first_number, flat_key, last_number};
use filter::Filter;
pub use gathered::Gathered;
use ordered::Ordered;

/// What an entry costs besides its bytes: its place in a B-tree that is two thirds full, and handles.
const ENTRY_OVERHEAD_BYTES: u64 = 120;

/// So many bytes of what was said of a user before are copied into what is said next, or twice as many as that has.
const CARRIED_BYTES: usize = 256;

/// What one transaction did to one user, and all that was done before and still counts.
#[derive(Clone)]
pub struct Delta {
    /// `PUT_CREATES`, `PUT_DELETES` or 0.
    pub flags: u8,
    /// Encoded cells.
    pub cells: Bytes,
    /// What was done before, where it is too much to be copied.
    under: Option<Arc<Delta>>,
}

impl Delta {
    /// What one transaction does.
    pub fn new(flags: u8, cells: Bytes) -> Self {
        Self { flags, cells, under: None }
    }

    /// The same, with what was done before: copied, as long as that is not much longer.
    fn over(self, before: &Self) -> Self {
        let (mut merged, mut next) = (self, Some(before));
        while let Some(under) = next {
            match merged.merged_with(under) {
                Some(longer) => (merged, next) = (longer, under.under.as_deref()),
                None => return Self { under: Some(Arc::new(under.clone())), ..merged },
            }
        }
        merged
    }

    /// Both as one; `None` if too much of `under` would have to be copied.
    fn merged_with(&self, under: &Self) -> Option<Self> {
        let changed: SmallVec<[AttrId; 16]> = self.each_cell().map(|(attr, _)| attr).collect();
        let carried = under.each_cell().filter(|(attr, _)| changed.binary_search(attr).is_err());
        // No more than their encoding takes, attribute and tag included.
        let bytes = |cell: CellRef<'_>| if let CellRef::Bytes(value) = cell { value.len() + 2 } else { 2 };
        let carried_bytes: usize = carried.clone().map(|(_, cell)| bytes(cell)).sum();
        if carried_bytes > CARRIED_BYTES.max(2 * self.cells.len()) {
            return None;
        }
        let flags = self.flags | under.flags & PUT_CREATES;
        if carried_bytes == 0 {
            return Some(Self::new(flags, self.cells.clone()));
        }
        let mut cells: SmallVec<[_; 32]> = self.each_cell().chain(carried).collect();
        cells.sort_unstable_by_key(|(attr, _)| *attr);
        let mut encoded = Vec::with_capacity(under.cells.len() + self.cells.len());
        encode_cells(cells.into_iter(), &mut encoded);
        Some(Self::new(flags, encoded.into()))
    }

    /// The cells, in order of attribute.
    pub fn each_cell(&self) -> impl Iterator<Item = (AttrId, CellRef<'_>)> + Clone {
        let mut cells = self.cells();
        std::iter::from_fn(move || cells.next_cell().ok().flatten())
    }

    /// This, and what counts under it.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |delta| delta.under.as_deref())
    }

    /// The cells, which the writer encoded or replay has checked.
    pub fn cells(&self) -> Cells<'_> {
        Cells::decode(&self.cells).unwrap_or_default()
    }

    /// Whether no run says anything about this user.
    pub fn creates(&self) -> bool {
        self.flags & PUT_CREATES != 0
    }
}

/// Ordinal, then the newest first.
type UserKey = (u64, Reverse<u64>);

/// A key of [`ALIASES`] taken apart, then the newest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct AliasKey {
    attr: u16,
    hash: u64,
    ordinal: u64,
    seq: Reverse<u64>,
}

/// An alias with its keyspace's octet in front.
type FlatAlias = [u8; 1 + ALIAS_BYTES];

impl AliasKey {
    fn new(alias: &[u8; ALIAS_BYTES], seq: u64) -> Self {
        let [a, b, rest @ ..] = alias;
        let (hash, ordinal) = (first_number(rest), last_number(rest));
        Self {
            attr: u16::from_be_bytes([*a, *b]),
            hash: hash.unwrap_or_default(),
            ordinal: ordinal.unwrap_or_default(),
            seq: Reverse(seq),
        }
    }

    /// The least alias that is not below `flat`, up to those that begin with it, at the greatest Seq or the least.
    fn bound(flat: &[u8], seq: u64) -> Self {
        let mut alias = [0; ALIAS_BYTES];
        let key = flat.get(1..).unwrap_or_default();
        let len = key.len().min(ALIAS_BYTES);
        alias[..len].copy_from_slice(&key[..len]);
        Self::new(&alias, seq)
    }

    fn flat(&self) -> FlatAlias {
        let mut flat = [ALIASES.0; 1 + ALIAS_BYTES];
        flat[1..3].copy_from_slice(&self.attr.to_be_bytes());
        flat[3..11].copy_from_slice(&self.hash.to_be_bytes());
        flat[11..].copy_from_slice(&self.ordinal.to_be_bytes());
        flat
    }
}

/// Any other flat key, then the newest first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FlatKey {
    /// The first 16 octets as a number that sorts as they do: it settles most comparisons without a look at the key.
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

/// Lists of keys: one a keyspace, the last one for all further. That of the aliases is empty.
const KEY_LISTS: usize = 16;

/// One memtable: active while it takes commits, frozen once a flush has begun.
#[derive(Default)]
pub struct Memtable {
    users: Ordered<UserKey, Delta>,
    users_filter: Filter,
    /// Whether the alias was set, or deleted.
    aliases: Ordered<AliasKey, bool>,
    aliases_filter: Filter,
    keys: [Ordered<FlatKey, Option<Bytes>>; KEY_LISTS],
    size_bytes: AtomicU64,
}

/// A flat key, the Seq that set it, its value; `None` if it was deleted.
type KeyEntry = (Bytes, u64, Option<Bytes>);

impl Memtable {
    /// Adds a user's delta at `seq`.
    pub fn put(&self, ordinal: Ordinal, seq: Seq, delta: Delta) {
        let delta = match self.user(ordinal, seq) {
            Some(before) => delta.over(&before),
            None => delta,
        };
        self.grow(delta.cells.len());
        self.users_filter.add(spread(ordinal.0));
        self.users.insert((ordinal.0, Reverse(seq.0)), delta);
    }

    /// Adds what was gathered: of each user what counts in the end, at the Seq of the last delta. Nobody may be
    /// reading as of an older Seq.
    pub fn put_all(&self, gathered: Gathered) {
        let mut entries = Vec::with_capacity(gathered.len());
        for (ordinal, seq, newest) in gathered.newest_of_each() {
            self.grow(newest.cells.len());
            self.users_filter.add(spread(ordinal.0));
            entries.push(((ordinal.0, Reverse(seq.0)), newest));
        }
        self.users.extend(entries);
    }

    /// Sets or deletes a key at `seq`.
    ///
    /// # Errors
    /// An alias that is not [`ALIAS_BYTES`] long.
    pub fn set_key(&self, keyspace: Keyspace, key: &[u8], seq: Seq, value: Option<Bytes>) -> Result<(), DecodeError> {
        self.grow(1 + key.len() + value.as_ref().map_or(0, Bytes::len));
        if keyspace == ALIASES {
            let alias = key.try_into().map_err(|_| DecodeError::new("alias", 0, "is not 18 bytes long"))?;
            let key = AliasKey::new(alias, seq.0);
            self.aliases_filter.add(spread_alias(key.attr, key.hash));
            self.aliases.insert(key, value.is_some());
        } else {
            let flat = flat_key(keyspace, key);
            self.list(&flat).insert(FlatKey::new(flat, seq.0), value);
        }
        Ok(())
    }

    fn list(&self, flat: &[u8]) -> &Ordered<FlatKey, Option<Bytes>> {
        &self.keys[list_number(flat)]
    }

    /// Whether it may hold keys that begin so; `prefix` holds a keyspace's octet.
    pub fn may_hold(&self, prefix: &[u8]) -> bool {
        if !is_alias(prefix) {
            return !self.list(prefix).is_empty();
        }
        // With the hash of a value, or without.
        let sought = prefix.len() >= 11;
        let bound = AliasKey::bound(prefix, 0);
        !self.aliases.is_empty() && (!sought || self.aliases_filter.may_hold(spread_alias(bound.attr, bound.hash)))
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
        self.users.is_empty() && self.aliases.is_empty() && self.keys.iter().all(Ordered::is_empty)
    }

    /// The newest delta of a user at or before `seq`.
    pub fn user(&self, ordinal: Ordinal, seq: Seq) -> Option<Delta> {
        if self.users.is_empty() || !self.users_filter.may_hold(spread(ordinal.0)) {
            return None;
        }
        let (from, to) = ((ordinal.0, Reverse(seq.0)), (ordinal.0, Reverse(0)));
        self.users.first(&from, &to, Delta::clone)
    }

    /// The users with a delta at or before `seq`, in ascending order from `from`, each once.
    pub fn changed_users(&self, from: Ordinal, seq: Seq) -> impl Iterator<Item = Ordinal> + '_ {
        let first = Bound::Included((from.0, Reverse(u64::MAX)));
        let at = move |key: &UserKey, _: &Delta| (key.1.0 <= seq.0).then_some(key.0);
        let mut last = None;
        let changed = self.users.walk(Direction::Ascending, first, at);
        changed.filter(move |ordinal| last.replace(*ordinal) != Some(*ordinal)).map(Ordinal)
    }

    /// The newest delta at or before `seq` of each user, ascending by ordinal.
    pub fn deltas_at(&self, seq: Seq) -> impl Iterator<Item = (Ordinal, Delta)> + '_ {
        let at = move |key: &UserKey, delta: &Delta| (key.1.0 <= seq.0).then(|| (Ordinal(key.0), delta.clone()));
        let mut last = None;
        let newest = self.users.walk(Direction::Ascending, Bound::Unbounded, at);
        newest.filter(move |(ordinal, _)| last.replace(*ordinal) != Some(*ordinal))
    }

    /// How many deltas there are; of a user who changed often there are several.
    pub fn delta_count(&self) -> usize {
        self.users.len()
    }

    /// The newest delta of each user, ascending by ordinal.
    pub fn deltas(&self) -> impl Iterator<Item = (Ordinal, Delta)> + '_ {
        self.deltas_at(Seq(u64::MAX))
    }

    /// Whether a key of this keyspace was set or deleted after `seq`.
    pub fn has_keys_after(&self, keyspace: Keyspace, seq: Seq) -> bool {
        let start = [keyspace.0];
        self.entries(&start, Direction::Ascending, &start).any(|(_, at, _)| at > seq.0)
    }

    /// What this memtable says of a key at `seq`: `None` for nothing, `Some(None)` for deleted.
    pub fn key(&self, flat: &Bytes, seq: Seq) -> Option<Option<Bytes>> {
        if !self.may_hold(flat) {
            return None;
        }
        if is_alias(flat) {
            let (from, to) = (AliasKey::bound(flat, seq.0), AliasKey::bound(flat, 0));
            return self.aliases.first(&from, &to, |is_set| is_set.then(Bytes::new));
        }
        let from = FlatKey::new(flat.clone(), seq.0);
        let to = FlatKey { seq: Reverse(0), ..from.clone() };
        self.list(flat).first(&from, &to, Option::clone)
    }

    /// The newest entry at or before `seq` of each key of `prefix` from `from` on, in ascending order. Keys are flat:
    /// they begin with their keyspace's octet.
    pub fn keys_up(&self, prefix: Bytes, from: &Bytes, seq: Seq) -> impl Iterator<Item = (Bytes, Option<Bytes>)> + '_ {
        let mut last: Option<Bytes> = None;
        // What is newer is passed over.
        let entries = self.entries(&prefix, Direction::Ascending, from).filter(move |(_, at, _)| *at <= seq.0);
        entries.filter_map(move |(key, _, value)| {
            if last.as_ref() == Some(&key) {
                return None;
            }
            last = Some(key.clone());
            Some((key, value))
        })
    }

    /// The newest entry at or before `seq` of each key of `prefix` below `below`, in descending order.
    pub fn keys_down(
        &self,
        prefix: Bytes,
        below: &Bytes,
        seq: Seq,
    ) -> impl Iterator<Item = (Bytes, Option<Bytes>)> + '_ {
        let mut entries = self.entries(&prefix, Direction::Descending, below).peekable();
        std::iter::from_fn(move || {
            loop {
                let (key, at, value) = entries.next()?;
                let mut newest = (at <= seq.0).then_some(value);
                // Of one key the oldest comes first: the last that is not too new has the word.
                while let Some((_, at, value)) = entries.next_if(|(next, ..)| *next == key) {
                    if at <= seq.0 {
                        newest = Some(value);
                    }
                }
                if let Some(value) = newest {
                    return Some((key, value));
                }
            }
        })
    }

    /// All entries of the keys of `prefix`: up from `bound` on, newest first, or down from below it, oldest first.
    /// Going down, `bound` is not beyond the keys of `prefix`.
    fn entries(&self, prefix: &[u8], direction: Direction, bound: &[u8]) -> Box<dyn Iterator<Item = KeyEntry> + '_> {
        let up = direction == Direction::Ascending;
        let (prefix, bound) = (Bytes::copy_from_slice(prefix), Bytes::copy_from_slice(bound));
        if is_alias(&prefix) {
            let start = match direction {
                Direction::Ascending => Bound::Included(AliasKey::bound(&bound, u64::MAX)),
                Direction::Descending if is_alias(&bound) => Bound::Included(AliasKey::bound(&bound, 0)),
                Direction::Descending => Bound::Unbounded,
            };
            // A bound may be longer than an alias, or shorter.
            let within = move |flat: &[u8]| (flat < &bound[..]) != up;
            let take = move |key: &AliasKey, is_set: &bool| {
                let flat = key.flat();
                within(&flat).then_some((flat, key.seq.0, *is_set))
            };
            let aliases = self.aliases.walk(direction, start, take);
            let aliases = aliases.take_while(move |(flat, ..)| flat.starts_with(&prefix));
            return Box::new(
                aliases.map(|(flat, seq, is_set)| (Bytes::copy_from_slice(&flat), seq, is_set.then(Bytes::new))),
            );
        }
        let list = self.list(&prefix);
        let start = match direction {
            Direction::Ascending => Bound::Included(FlatKey::new(bound, u64::MAX)),
            Direction::Descending => Bound::Excluded(FlatKey::new(bound, u64::MAX)),
        };
        let take = |key: &FlatKey, value: &Option<Bytes>| Some((key.flat.clone(), key.seq.0, value.clone()));
        Box::new(list.walk(direction, start, take).take_while(move |(flat, ..)| flat.starts_with(&prefix)))
    }
}

/// The list of keys that begin so.
fn list_number(flat: &[u8]) -> usize {
    flat.first().map_or(0, |octet| usize::from(*octet).min(KEY_LISTS - 1))
}

fn is_alias(flat: &[u8]) -> bool {
    flat.first() == Some(&ALIASES.0)
}

/// An odd number, so that nothing is lost: 2^64 over the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Numbers that follow each other, far apart in all their bits.
fn spread(number: u64) -> u64 {
    let wide = u128::from(number ^ SPREAD) * u128::from(SPREAD);
    wide as u64 ^ (wide >> 64) as u64
}

/// One value under two attributes is two aliases. Of the hash in a key the lower bits are zero.
fn spread_alias(attr: u16, hash: u64) -> u64 {
    spread(hash ^ u64::from(attr))
}

#[cfg(test)]
mod tests;
