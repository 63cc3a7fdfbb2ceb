//! When each conflict key was last written: what lies between a draft's snapshot and its turn.
//!
//! Invariants:
//! 1. Every key that was written after `floor` is in the table, with the Seq that wrote it or a later one.
//! 2. Who rests on less than `floor` is sent back: nothing is known of what came before it.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Beyond this the table is pruned to what drafts in flight can need.
const KEYS_MAX: usize = 1 << 17;

/// The conflict keys that were written lately, of one pool.
pub(crate) struct ConflictTable {
    written: HashMap<u64, u64, Spread>,
    floor: u64,
}

impl ConflictTable {
    /// A table that knows of everything after `floor`: nothing, yet.
    pub(crate) fn new(floor: u64) -> Self {
        Self { written: HashMap::with_hasher(Spread(RandomState::new().hash_one(floor))), floor }
    }

    /// Goes on after `floor`: what came before it is over.
    pub(crate) fn restart(&mut self, floor: u64) {
        self.floor = floor;
    }

    /// Notes that these were written at `seq`.
    pub(super) fn note(&mut self, keys: &[u64], seq: u64) {
        self.written.extend(keys.iter().map(|key| (*key, seq)));
    }

    /// Whether any of these may have been written after `base`.
    pub(super) fn any_after<'k>(&self, base: u64, mut keys: impl Iterator<Item = &'k u64>) -> bool {
        base < self.floor || keys.any(|key| self.written.get(key).is_some_and(|seq| *seq > base))
    }

    /// Forgets what everybody who begins now sees, if the table has grown large.
    pub(super) fn prune(&mut self, visible: u64) {
        if self.written.len() > KEYS_MAX {
            self.floor = visible;
            self.written.retain(|_, seq| *seq > visible);
        }
    }

    /// Takes everything after `last` for as old as that: its numbers are given again. What stood in the table before
    /// is lost: at worst a draft is sent back that need not be.
    pub(super) fn take_back(&mut self, last: u64) {
        self.written.values_mut().for_each(|seq| *seq = last.min(*seq));
    }
}

/// The keys are hashes already. A multiplication with a secret keeps whoever can choose what is hashed from filling
/// one place of the table.
#[derive(Clone)]
struct Spread(u64);

struct Spreading {
    secret: u64,
    hash: u64,
}

impl BuildHasher for Spread {
    type Hasher = Spreading;

    fn build_hasher(&self) -> Spreading {
        Spreading { secret: self.0, hash: 0 }
    }
}

impl Hasher for Spreading {
    fn write_u64(&mut self, key: u64) {
        /// 2^64 over the golden ratio, made odd: Knuth, The Art of Computer Programming, volume 3, 6.4.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let wide = u128::from(key ^ self.secret) * u128::from(GOLDEN ^ self.secret.rotate_left(32) | 1);
        self.hash = wide as u64 ^ (wide >> 64) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.hash ^ u64::from(byte));
        }
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_rests_on_what_was_written_since_is_found() {
        let mut table = ConflictTable::new(10);
        table.note(&[1, 2], 11);
        table.note(&[2, 3], 12);
        let after = |table: &ConflictTable, base, keys: &[u64]| table.any_after(base, keys.iter());
        assert!(after(&table, 10, &[1]) && after(&table, 11, &[1, 2]) && !after(&table, 11, &[1]));
        assert!(!after(&table, 12, &[1, 2, 3]) && !after(&table, 10, &[4]) && after(&table, 9, &[4]));
        table.take_back(11);
        assert!(!after(&table, 11, &[2, 3]) && after(&table, 10, &[3]));
    }

    #[test]
    fn a_pruned_table_sends_back_who_may_have_missed_something() {
        let mut table = ConflictTable::new(0);
        let keys: Vec<u64> = (0..=KEYS_MAX as u64).collect();
        table.note(&keys, 5);
        table.note(&[7], 6);
        table.prune(5);
        assert!(table.any_after(4, [u64::MAX].iter()) && !table.any_after(5, [8].iter()));
        assert!(table.any_after(5, [7].iter()) && table.written.len() == 1);
    }
}
