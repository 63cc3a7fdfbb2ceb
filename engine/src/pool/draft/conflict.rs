//! Conflict keys: 64-bit hashes of what a draft read and of what it writes, by which the leader sees whether anything
//! that the draft rests on has changed.
//!
//! Two things of one key cost a draft that is prepared again for nothing; nothing is ever missed.

use stoa_format::{AttrId, Ordinal};
use xxhash_rust::xxh3::xxh3_64;

/// The key of a user's profile.
pub(crate) fn user_conflict(ordinal: Ordinal) -> u64 {
    numbered(0, ordinal.0)
}

/// The key of a user's sign-in state, which profile changes leave alone.
pub(crate) fn sign_in_conflict(ordinal: Ordinal) -> u64 {
    numbered(1, ordinal.0)
}

/// The key of what stands behind a flat key.
pub(super) fn key_conflict(flat: &[u8]) -> u64 {
    tagged(2, flat)
}

/// The key of what every transaction rests on: whoever writes it beats all drafts.
pub(crate) fn schema_conflict() -> u64 {
    tagged(3, b"schema")
}

/// The key of an alias value, by its hash.
pub(super) fn alias_conflict(attr: AttrId, hash: u64) -> u64 {
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&attr.0.to_be_bytes());
    bytes[2..].copy_from_slice(&hash.to_be_bytes());
    tagged(4, &bytes)
}

/// The key of which groups a user is in.
pub(crate) fn groups_conflict(ordinal: Ordinal) -> u64 {
    numbered(5, ordinal.0)
}

fn numbered(tag: u8, number: u64) -> u64 {
    tagged(tag, &number.to_be_bytes())
}

fn tagged(tag: u8, bytes: &[u8]) -> u64 {
    let mut buffer = [0; 40];
    if bytes.len() < buffer.len() {
        buffer[0] = tag;
        buffer[1..=bytes.len()].copy_from_slice(bytes);
        return xxh3_64(&buffer[..=bytes.len()]);
    }
    xxh3_64(&[&[tag], bytes].concat())
}

/// A set of conflict keys, sorted once it is complete: most drafts have a dozen.
#[derive(Default)]
pub(super) struct Conflicts(Vec<u64>);

impl Conflicts {
    /// Adds a key.
    pub(super) fn insert(&mut self, key: u64) {
        // One user is mostly changed cell by cell.
        if self.0.last() != Some(&key) {
            self.0.push(key);
        }
    }

    /// The keys, ascending, each once.
    pub(super) fn into_sorted(self) -> Vec<u64> {
        let mut keys = self.0;
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}
