//! Keys gathered in memory in any order, and written in order.

use stoa_format::Keyspace;

use crate::error::Result;
use crate::run::RunWriter;

/// Keys with their values, each with the first eight octets beside it: these settle most comparisons.
#[derive(Default)]
pub(super) struct Keys {
    /// Keys and values, one after the other.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    leading: u64,
    at: u64,
    key_bytes: u32,
    value_bytes: u32,
}

impl Keys {
    /// Adds a key that `write` appends, and its value.
    pub(super) fn push(&mut self, value: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.bytes.len();
        write(&mut self.bytes);
        let key = &self.bytes[at..];
        let key_bytes = key.len() as u32;
        let leading = leading(key);
        self.bytes.extend_from_slice(value);
        self.entries.push(Entry { leading, at: at as u64, key_bytes, value_bytes: value.len() as u32 });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sorts the keys. The last of equal ones is kept, and equal ones have equal values here.
    pub(super) fn sort(&mut self) {
        let bytes = &self.bytes;
        let key = |entry: &Entry| &bytes[entry.at as usize..entry.at as usize + entry.key_bytes as usize];
        let order = |a: &Entry, b: &Entry| a.leading.cmp(&b.leading).then_with(|| key(a).cmp(key(b)));
        if !self.entries.is_sorted_by(|a, b| order(a, b).is_lt()) {
            self.entries.sort_unstable_by(order);
            self.entries.dedup_by(|a, b| order(a, b).is_eq());
        }
    }

    /// Writes the sorted keys into the keyspace that was begun, each behind `prefix`.
    pub(super) fn write(&self, prefix: &[u8], writer: &mut RunWriter) -> Result<()> {
        let mut whole = prefix.to_vec();
        for entry in &self.entries {
            let at = entry.at as usize;
            let (key, rest) = self.bytes[at..].split_at(entry.key_bytes as usize);
            let value = &rest[..entry.value_bytes as usize];
            if prefix.is_empty() {
                writer.push_key(key, Some(value))?;
            } else {
                whole.truncate(prefix.len());
                whole.extend_from_slice(key);
                writer.push_key(&whole, Some(value))?;
            }
        }
        Ok(())
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.bytes);
    }
}

/// The first eight octets as a number that sorts as they do; zeroes behind a shorter key.
fn leading(key: &[u8]) -> u64 {
    let mut eight = [0; 8];
    let len = key.len().min(8);
    eight[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(eight)
}

/// Starts a keyspace's section with the filter that its runs have.
pub(super) fn begin(writer: &mut RunWriter, keyspace: Keyspace) -> Result<()> {
    Ok(writer.begin_sorted(keyspace, crate::store::gather::filter_prefix(keyspace))?)
}
