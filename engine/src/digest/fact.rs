//! Keyed digests of single facts, and the leaf that a user's facts belong to.
//!
//! The digest of a fact is the first 16 bytes of keyed BLAKE3 over
//! `len32le(sub) ‖ sub ‖ len32le(attr) ‖ attr ‖ len32le(value) ‖ value`, read as a little-endian integer; the sub
//! as its 36 bytes of lower-case text, the value as it travels on the wire. Digests of users, leaves and nodes are
//! sums of these modulo 2^128: add with `wrapping_add`, take out with `wrapping_sub`.
//!
//! A user's leaf is the top `depth` bits, big-endian, of keyed BLAKE3 over the sub's text alone. The two uses of
//! the key cannot meet: a fact begins with a zero byte at offset 1, a sub's text with hexadecimal digits.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A pool's digest key: random, in its keyring, the same for the pool's whole life.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DigestKey([u8; 32]);

impl DigestKey {
    /// Takes the key's bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes, for the keyring and `MERKLE.KEY`.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(…)")
    }
}

/// Facts up to this many bytes are hashed from one buffer on the stack: one call, which is what is fast.
const SHORT_FACT_BYTES: usize = 256;

/// Bytes of a fact that are neither attribute name nor value: three lengths and the sub.
const FRAME_BYTES: usize = 3 * 4 + 36;

/// The digest of one fact. `value` may be up to 4 GiB less one byte, far above every limit of the protocol.
pub fn fact(key: &DigestKey, sub_text: &[u8; 36], attr: &str, value: &[u8]) -> u128 {
    let total = FRAME_BYTES + attr.len() + value.len();
    if total > SHORT_FACT_BYTES {
        return long_fact(key, sub_text, attr, value);
    }
    let mut buffer = [0u8; SHORT_FACT_BYTES];
    let mut at = 0;
    for part in [sub_text.as_slice(), attr.as_bytes(), value] {
        buffer[at..at + 4].copy_from_slice(&length(part));
        buffer[at + 4..at + 4 + part.len()].copy_from_slice(part);
        at += 4 + part.len();
    }
    low_half(&blake3::keyed_hash(&key.0, &buffer[..total]))
}

fn long_fact(key: &DigestKey, sub_text: &[u8; 36], attr: &str, value: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    for part in [sub_text.as_slice(), attr.as_bytes(), value] {
        hasher.update(&length(part)).update(part);
    }
    low_half(&hasher.finalize())
}

fn length(part: &[u8]) -> [u8; 4] {
    (part.len() as u32).to_le_bytes()
}

fn low_half(hash: &blake3::Hash) -> u128 {
    let mut low = [0; 16];
    low.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_le_bytes(low)
}

/// The 64 bits whose top `depth` bits are the user's leaf.
pub fn leaf_hash(key: &DigestKey, sub_text: &[u8; 36]) -> u64 {
    let mut top = [0; 8];
    top.copy_from_slice(&blake3::keyed_hash(&key.0, sub_text).as_bytes()[..8]);
    u64::from_be_bytes(top)
}

/// The leaf of a [`leaf_hash`] in a tree of 2^`depth` leaves, `depth` from 0 to 64.
pub const fn leaf_index(leaf_hash: u64, depth: u32) -> u64 {
    match depth {
        0 => 0,
        _ => leaf_hash >> (64 - depth),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUB: &[u8; 36] = b"36cdc8af-909f-48d3-909d-313a9fdfe6c1";

    fn key() -> DigestKey {
        DigestKey::new(*b"0123456789abcdef0123456789abcdef")
    }

    /// The definition, written out.
    fn by_definition(attr: &str, value: &[u8]) -> u128 {
        let mut message = Vec::new();
        for part in [SUB.as_slice(), attr.as_bytes(), value] {
            message.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes());
            message.extend_from_slice(part);
        }
        let hash = blake3::keyed_hash(key().bytes(), &message);
        u128::from_le_bytes(hash.as_bytes()[..16].try_into().unwrap())
    }

    #[test]
    fn short_and_long_facts_agree_with_the_definition() {
        for length in [0, 1, 100, 202, 203, 204, 205, 5000] {
            let value = vec![0xa5; length];
            assert_eq!(fact(&key(), SUB, "email", &value), by_definition("email", &value), "{length}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(fact(&key(), SUB, "ab", b"c"), fact(&key(), SUB, "a", b"bc"));
        assert_ne!(fact(&key(), SUB, "$group:a", b""), fact(&key(), SUB, "$group:", b"a"));
    }

    #[test]
    fn another_key_gives_another_digest() {
        let other = DigestKey::new([7; 32]);
        assert_ne!(fact(&key(), SUB, "a", b"b"), fact(&other, SUB, "a", b"b"));
        assert_ne!(leaf_hash(&key(), SUB), leaf_hash(&other, SUB));
    }

    #[test]
    fn leaves_are_the_top_bits() {
        let hash = leaf_hash(&key(), SUB);
        let bytes = *blake3::keyed_hash(key().bytes(), SUB).as_bytes();
        assert_eq!(leaf_index(hash, 8), u64::from(bytes[0]));
        assert_eq!(leaf_index(hash, 4), u64::from(bytes[0] >> 4));
        assert_eq!(leaf_index(hash, 0), 0);
        assert_eq!(leaf_index(hash, 64), hash);
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", key()), "DigestKey(…)");
    }
}
