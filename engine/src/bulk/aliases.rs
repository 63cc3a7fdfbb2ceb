//! Which alias values were given, by hash: tells a likely duplicate, finds a user, and becomes the alias index.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

use stoa_format::AttrId;

use crate::error::Result;
use crate::pool::keyspace::alias_hash_in_key;
use crate::run::RunWriter;

/// Keyed hashes need no hashing.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(eight);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type ByHash = HashMap<u64, u32, BuildHasherDefault<AsItIs>>;

/// Owners by the hash of their value, attribute by attribute; sub is one of them.
pub(super) struct Aliases {
    /// In ascending order of attribute.
    tables: Vec<(AttrId, ByHash)>,
}

impl Aliases {
    /// For these attributes, in ascending order.
    pub(super) fn new(attrs: impl Iterator<Item = AttrId>) -> Self {
        Self { tables: attrs.map(|attr| (attr, ByHash::default())).collect() }
    }

    /// The table of an attribute.
    pub(super) fn table_of(&self, attr: AttrId) -> Option<usize> {
        self.tables.iter().position(|(other, _)| *other == attr)
    }

    /// Gives all these values to one user, or none of them if any is somebody's.
    pub(super) fn claim(&mut self, claims: &[(usize, u64)], ordinal: u32) -> bool {
        for (i, (table, hash)) in claims.iter().enumerate() {
            match self.tables[*table].1.entry(*hash) {
                Entry::Vacant(vacant) => drop(vacant.insert(ordinal)),
                Entry::Occupied(_) => {
                    self.release(&claims[..i]);
                    return false;
                }
            }
        }
        true
    }

    /// Takes the claims of a user back.
    pub(super) fn release(&mut self, claims: &[(usize, u64)]) {
        for (table, hash) in claims {
            self.tables[*table].1.remove(hash);
        }
    }

    /// Who owns a value.
    pub(super) fn owner(&self, table: usize, hash: u64) -> Option<u32> {
        self.tables[table].1.get(&hash).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.iter().all(|(_, by_hash)| by_hash.is_empty())
    }

    /// Writes the alias index: attribute, hash, ordinal. Frees each table on the way.
    pub(super) fn write(&mut self, writer: &mut RunWriter) -> Result<()> {
        let mut key = [0; 18];
        for (attr, by_hash) in &mut self.tables {
            let by_hash = std::mem::take(by_hash).into_iter();
            let mut sorted: Vec<(u64, u32)> =
                by_hash.map(|(hash, ordinal)| (alias_hash_in_key(hash), ordinal)).collect();
            sorted.sort_unstable();
            key[..2].copy_from_slice(&attr.0.to_be_bytes());
            for (hash, ordinal) in sorted {
                key[2..10].copy_from_slice(&hash.to_be_bytes());
                key[10..].copy_from_slice(&u64::from(ordinal).to_be_bytes());
                writer.push_key(&key, Some(&[]))?;
            }
        }
        Ok(())
    }
}
