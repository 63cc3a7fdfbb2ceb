//! The sorted keyspaces of a pool, and how their keys are made.
//!
//! Numbers inside keys are big endian, so that keys sort as the numbers do. A text that is
//! followed by something else is *terminated*: each octet 0 becomes 0 255, and 0 1 ends it, so
//! that terminated texts sort as the texts do and none is the beginning of another.

use bytes::Bytes;
use smallvec::SmallVec;
use stoa_format::{AttrId, Keyspace, Ordinal};

/// attribute u16 ‖ hash u64, of which [`ALIAS_HASH_BITS`] count ‖ ordinal u64 → nothing. The owner of a unique value;
/// attribute 0 is sub.
pub const ALIASES: Keyspace = Keyspace(1);
/// Bytes of a key of [`ALIASES`].
pub const ALIAS_BYTES: usize = 2 + 8 + 8;
/// attribute u16 ‖ terminated order key ‖ ordinal u64 → nothing. Searchable attributes in value order.
pub const ORDER: Keyspace = Keyspace(2);
/// ordinal u64 ‖ attribute u16 ‖ value → nothing. Multi-valued attributes.
pub const MULTI: Keyspace = Keyspace(3);
/// group id u64 ‖ ordinal u64 → nothing. Who is in a group.
pub const MEMBERS: Keyspace = Keyspace(4);
/// ordinal u64 ‖ group id u64 → nothing. Which groups a user is in.
pub const GROUPS_OF: Keyspace = Keyspace(5);
/// name → the group's record.
pub const GROUPS: Keyspace = Keyspace(6);
/// group id u64 → name; present also while a deleted group is being swept.
pub const GROUP_NAMES: Keyspace = Keyspace(7);
/// terminated provider ‖ subject → ordinal u64.
pub const IDENTITIES: Keyspace = Keyspace(8);
/// ordinal u64 ‖ terminated provider ‖ subject → nothing.
pub const IDENTITIES_OF: Keyspace = Keyspace(9);
/// ordinal u64 ‖ terminated kind ‖ id → the factor's record.
pub const FACTORS: Keyspace = Keyspace(10);
/// terminated kind ‖ id → ordinal u64, for kinds whose ids are unique in the pool.
pub const FACTOR_IDS: Keyspace = Keyspace(11);
/// terminated access-control user ‖ token → the answer given.
pub const TOKENS: Keyspace = Keyspace(12);
/// ordinal u64 ‖ attempt id → the verdict given.
pub const ATTEMPTS: Keyspace = Keyspace(13);
/// ordinal u64 ‖ number u64, ascending → a password hash that was replaced, while the pool's policy looks back.
pub const FORMER_PASSWORDS: Keyspace = Keyspace(14);

/// All of them, for what must visit each.
pub const ALL: [Keyspace; 14] = [
    ALIASES,
    ORDER,
    MULTI,
    MEMBERS,
    GROUPS_OF,
    GROUPS,
    GROUP_NAMES,
    IDENTITIES,
    IDENTITIES_OF,
    FACTORS,
    FACTOR_IDS,
    TOKENS,
    ATTEMPTS,
    FORMER_PASSWORDS,
];

/// Builds one key, part by part.
#[derive(Clone)]
pub struct Key {
    flat: SmallVec<[u8; 40]>,
}

impl Key {
    /// An empty key of a keyspace.
    pub fn new(keyspace: Keyspace) -> Self {
        Self { flat: SmallVec::from_slice(&[keyspace.0]) }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn attr(mut self, attr: AttrId) -> Self {
        self.flat.extend_from_slice(&attr.0.to_be_bytes());
        self
    }

    /// A key of [`ALIASES`], but for its ordinal.
    pub fn alias(attr: AttrId, hash: u64) -> Self {
        Self::new(ALIASES).attr(attr).number(alias_hash_in_key(hash))
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.flat.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Adds an ordinal.
    #[must_use]
    pub fn ordinal(self, ordinal: Ordinal) -> Self {
        self.number(ordinal.0)
    }

    /// Adds a text or octets that something follows.
    #[must_use]
    pub fn terminated(mut self, part: &[u8]) -> Self {
        each_piece(part, |piece| self.flat.extend_from_slice(piece));
        self
    }

    /// Adds the last part as it is.
    #[must_use]
    pub fn rest(mut self, part: &[u8]) -> Self {
        self.flat.extend_from_slice(part);
        self
    }

    /// The keyspace and the key in one.
    pub fn flat(self) -> Bytes {
        Bytes::copy_from_slice(&self.flat)
    }
}

/// Appends `part` so that nothing can be taken for its continuation.
pub fn terminate(part: &[u8], out: &mut Vec<u8>) {
    each_piece(part, |piece| out.extend_from_slice(piece));
}

fn each_piece(part: &[u8], mut put: impl FnMut(&[u8])) {
    for (i, piece) in part.split(|&byte| byte == 0).enumerate() {
        if i > 0 {
            put(&[0, 255]);
        }
        put(piece);
    }
    put(&[0, 1]);
}

/// Splits a terminated part off the front: the part and what follows it.
pub fn split_terminated(key: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut part = Vec::new();
    let mut at = 0;
    loop {
        match (key.get(at)?, key.get(at + 1)) {
            (0, Some(1)) => return Some((part, &key[at + 2..])),
            (0, Some(255)) => {
                part.push(0);
                at += 2;
            }
            (0, _) => return None,
            (byte, _) => {
                part.push(*byte);
                at += 1;
            }
        }
    }
}

/// The number in the last eight octets of a key.
pub fn last_number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|tail| u64::from_be_bytes(*tail))
}

/// The number in the first eight octets of a key.
pub fn first_number(key: &[u8]) -> Option<u64> {
    key.first_chunk::<8>().map(|head| u64::from_be_bytes(*head))
}

/// So many bits of an alias's hash stand in its key; the rest of the eight bytes is zero and takes no room in pages. Of
/// look-ups among ten million values one in 430 meets another value's key, which the value itself tells apart.
pub const ALIAS_HASH_BITS: u32 = 32;

/// An alias's hash as it stands in its key.
pub const fn alias_hash_in_key(hash: u64) -> u64 {
    hash & (u64::MAX << (64 - ALIAS_HASH_BITS))
}

/// What the flat keys of [`ALIASES`] begin with for the values of this hash.
pub fn alias_prefix(attr: AttrId, hash: u64) -> [u8; 11] {
    let mut prefix = [ALIASES.0; 11];
    prefix[1..3].copy_from_slice(&attr.0.to_be_bytes());
    prefix[3..].copy_from_slice(&alias_hash_in_key(hash).to_be_bytes());
    prefix
}

/// A key with its keyspace's octet in front.
pub fn flat_key(keyspace: Keyspace, key: &[u8]) -> Bytes {
    let mut flat = Vec::with_capacity(1 + key.len());
    flat.push(keyspace.0);
    flat.extend_from_slice(key);
    Bytes::from(flat)
}

/// A flat key's keyspace and key.
pub fn split_flat(flat: &[u8]) -> (Keyspace, &[u8]) {
    match flat.split_first() {
        Some((keyspace, key)) => (Keyspace(*keyspace), key),
        None => (Keyspace(0), &[]),
    }
}

/// The start of a whole keyspace.
pub fn start_of(keyspace: Keyspace) -> Bytes {
    flat_key(keyspace, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn terminated_parts_split_again_and_keep_their_order(a: Vec<u8>, b: Vec<u8>, rest: Vec<u8>) {
            let (mut x, mut y) = (Vec::new(), Vec::new());
            terminate(&a, &mut x);
            terminate(&b, &mut y);
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            x.extend_from_slice(&rest);
            prop_assert_eq!(split_terminated(&x), Some((a, &rest[..])));
        }

        #[test]
        fn any_key_splits_or_not(key: Vec<u8>) {
            let _ = split_terminated(&key);
            let _ = last_number(&key);
        }
    }
}
