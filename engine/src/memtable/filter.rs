//! Which aliases a memtable may hold: a Bloom filter that grows, read without a lock.
//!
//! Most look-ups of an alias are of one that the memtable does not hold: a sign-in of a user who was flushed long ago,
//! each unique value of a new user. A miss in a large skip list costs a score of cache misses; here it is one or two.
//!
//! Invariant: what was added is found by whoever sees the Seq that added it. One thread adds at a time; anybody asks
//! meanwhile.
//!
//! Sources: Bloom, Space/time trade-offs in hash coding with allowable errors (1970); all bits of a key in one word as
//! in Putze, Sanders and Singler, Cache-, hash- and space-efficient Bloom filters (2007); growth by layers as in
//! Almeida and others, Scalable Bloom filters (2007).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Words of the first layer; each further one has eight times as many.
const FIRST_WORDS: usize = 64;
/// The last one takes eleven million keys, more than a memtable may grow to; beyond that it says yes more often.
const LAYERS: usize = 6;
/// A layer takes as many keys as it has bits, over this.
const BITS_A_KEY: usize = 12;

/// A set of 64-bit hashes that says yes for a few that are not in it.
#[derive(Default)]
pub(super) struct Filter {
    layers: [OnceLock<Box<[AtomicU64]>>; LAYERS],
    added: AtomicU64,
}

impl Filter {
    /// Adds a hash.
    pub(super) fn add(&self, hash: u64) {
        let added = self.added.fetch_add(1, Relaxed);
        let (mut layer, mut full_at) = (0, capacity(0));
        while layer + 1 < LAYERS && added >= full_at {
            layer += 1;
            full_at += capacity(layer);
        }
        let words = self.layers[layer].get_or_init(|| (0..words_of(layer)).map(|_| AtomicU64::new(0)).collect());
        word(words, hash).fetch_or(bits(hash), Relaxed);
    }

    /// Whether a hash may have been added.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        let bits = bits(hash);
        let layers = self.layers.iter().map_while(OnceLock::get);
        layers.into_iter().any(|words| word(words, hash).load(Relaxed) & bits == bits)
    }
}

const fn words_of(layer: usize) -> usize {
    FIRST_WORDS << (3 * layer)
}

const fn capacity(layer: usize) -> u64 {
    (words_of(layer) * 64 / BITS_A_KEY) as u64
}

/// The word that has all bits of a hash: by its upper half.
fn word(words: &[AtomicU64], hash: u64) -> &AtomicU64 {
    &words[(((hash >> 32) * words.len() as u64) >> 32) as usize]
}

/// Up to four bits, by the lower half.
fn bits(hash: u64) -> u64 {
    (0..4).fold(0, |bits, i| bits | 1 << ((hash >> (6 * i)) & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(i: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes())
    }

    #[test]
    fn what_was_added_is_found_and_little_else() {
        let filter = Filter::default();
        assert!(!filter.may_hold(hash(0)), "an empty one holds nothing");
        for i in 0..30_000 {
            filter.add(hash(i));
            assert!(filter.may_hold(hash(i)));
        }
        assert!((0..30_000).all(|i| filter.may_hold(hash(i))));
        let wrong = (30_000..60_000).filter(|i| filter.may_hold(hash(*i))).count();
        assert!(wrong < 30_000 / 12, "{wrong} of 30,000 are taken for members");
        assert_eq!(filter.layers.iter().filter(|layer| layer.get().is_some()).count(), 4);
    }
}
