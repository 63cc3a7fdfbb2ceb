//! Writing a page of a sorted run.

use super::{HALF_MAX, HEADER_BYTES, KEY_BYTES_MAX};
use crate::column::rows::Varying;
use crate::column::{PAGE_ENTRIES_MAX, PAGE_TARGET_BYTES, VALUE_BYTES_MAX};
use crate::run::EncodeError;
use crate::run::fields::put_varint32;

/// Entries from one restart to the next.
const RESTART_INTERVAL: usize = 16;
/// About what an entry's three varints take, in bytes.
const ENTRY_OVERHEAD_BYTES: usize = 4;
/// What keys of a text and an ordinal end in: the terminator and the ordinal.
const TAIL_BYTES: usize = 10;
/// Tails of more bits than this are left in their keys: they are no ordinals.
const TAIL_BITS_MAX: u32 = 48;

/// Collects entries in ascending order of keys and writes them as one page. Used again for the next page.
#[derive(Debug, Default)]
pub struct SortedPageBuilder {
    /// Keys and values, one after the other.
    data: Vec<u8>,
    entries: Vec<Entry>,
    tombstones: u32,
    keys: Varying,
    values: Varying,
    /// Whether an entry came that rows cannot hold.
    needs_prefixes: bool,
    /// What the entries take with prefixes, restarts included.
    prefixed_bytes: usize,
    /// What the keys end in, if all are as long and no entry has a value or is a tombstone.
    tails: Varying,
    has_tails: bool,
    /// Entries whose keys' ends were looked at.
    noted: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key_at: u32,
    value_at: u32,
    end: u32,
    tombstone: bool,
}

/// What a finished page holds, for the footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortedPageSummary {
    /// Number of entries.
    pub count: u32,
    /// How many of them are tombstones.
    pub tombstones: u32,
}

impl SortedPageBuilder {
    /// An empty page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the page has no entry yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The first key, if there is one.
    pub fn first_key(&self) -> Option<&[u8]> {
        self.entries.first().map(|entry| self.key(entry))
    }

    /// The last key, if there is one.
    pub fn last_key(&self) -> Option<&[u8]> {
        self.entries.last().map(|entry| self.key(entry))
    }

    /// Whether the page has reached its target size.
    pub fn is_full(&self) -> bool {
        let n = self.entries.len();
        let rows = self.keys.bucketed_bytes(n) + self.values.block_bytes(n);
        let bytes = match self.needs_prefixes {
            true if self.is_tailed() => {
                self.prefixed_bytes.saturating_sub(n * (TAIL_BYTES + 3)) + self.tails.block_bytes(n)
            }
            true => self.prefixed_bytes,
            false => rows,
        };
        n >= PAGE_ENTRIES_MAX || HEADER_BYTES + bytes >= PAGE_TARGET_BYTES
    }

    /// Adds an entry: a value, or `None` for a tombstone.
    ///
    /// # Errors
    /// If the key is not above the last one, the key is longer than [`KEY_BYTES_MAX`] or the value than
    /// [`VALUE_BYTES_MAX`]. Nothing is added then.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), EncodeError> {
        let refuse = |reason| Err(EncodeError { structure: "sorted page", reason });
        if key.len() > KEY_BYTES_MAX || value.is_some_and(|v| v.len() > VALUE_BYTES_MAX) {
            return refuse("a key or value is too long");
        }
        if self.entries.len() >= PAGE_ENTRIES_MAX {
            return refuse("the page is full");
        }
        let mut shared = 0;
        if let Some(last) = self.last_key() {
            if last >= key {
                return refuse("keys must ascend");
            }
            if !self.entries.len().is_multiple_of(RESTART_INTERVAL) {
                shared = shared_prefix(last, key);
            }
        }
        let rows = self.keys.add(key) && value.is_none_or(|v| self.values.add(v));
        self.needs_prefixes |= !rows;
        let restart = if self.entries.len().is_multiple_of(RESTART_INTERVAL) { 4 } else { 0 };
        self.prefixed_bytes += key.len() - shared + value.map_or(0, <[u8]>::len) + ENTRY_OVERHEAD_BYTES + restart;
        let key_at = self.data.len() as u32;
        self.data.extend_from_slice(key);
        let value_at = self.data.len() as u32;
        self.data.extend_from_slice(value.unwrap_or_default());
        let end = self.data.len() as u32;
        self.entries.push(Entry { key_at, value_at, end, tombstone: value.is_none() });
        self.tombstones += u32::from(value.is_none());
        if self.needs_prefixes {
            self.note_tails();
        }
        Ok(())
    }

    /// Looks at what the keys that came since the last time end in.
    fn note_tails(&mut self) {
        let (mut tails, mut has_tails) = (self.tails, self.has_tails || self.noted == 0);
        for entry in &self.entries[self.noted..] {
            let tail = self.key(entry).last_chunk::<TAIL_BYTES>();
            let is_plain = entry.value_at == entry.end && !entry.tombstone;
            has_tails = has_tails && is_plain && tail.is_some_and(|tail| tails.add(tail));
        }
        (self.tails, self.has_tails, self.noted) = (tails, has_tails, self.entries.len());
    }

    /// Appends the page's plain text and starts the next page; `None` if there are no entries.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Option<SortedPageSummary> {
        if self.is_empty() {
            return None;
        }
        if self.needs_prefixes {
            self.encode_prefixes(out, if self.is_tailed() { TAIL_BYTES } else { 0 })
        } else {
            self.encode_rows(out)
        }
        let summary = SortedPageSummary { count: self.entries.len() as u32, tombstones: self.tombstones };
        self.data.clear();
        self.entries.clear();
        self.tombstones = 0;
        (self.keys, self.values, self.tails) = Default::default();
        (self.has_tails, self.noted) = (false, 0);
        self.needs_prefixes = false;
        self.prefixed_bytes = 0;
        Some(summary)
    }

    fn encode_rows(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[1, u8::from(self.tombstones > 0), 0, 0]);
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        if self.tombstones > 0 {
            let bits = self.entries.chunks(8).map(|chunk| {
                chunk.iter().enumerate().fold(0, |byte, (i, entry)| byte | u8::from(entry.tombstone) << i)
            });
            out.extend(bits);
        }
        self.keys.encode_bucketed(out, self.entries.len(), self.entries.iter().map(|entry| self.key(entry)));
        // A tombstone's filler: any bytes of the values' length.
        let filler = self.entries.iter().find(|entry| !entry.tombstone).map_or(&[][..], |entry| self.value(entry));
        self.values.encode(out, self.entries.iter().map(|e| if e.tombstone { filler } else { self.value(e) }));
    }

    fn is_tailed(&self) -> bool {
        self.has_tails && self.tails.row_bits() <= TAIL_BITS_MAX
    }

    /// With the last `tail_bytes` of the keys by themselves.
    fn encode_prefixes(&self, out: &mut Vec<u8>, tail_bytes: usize) {
        out.extend_from_slice(&[if tail_bytes > 0 { 3 } else { 2 }, 0]);
        out.extend_from_slice(&(RESTART_INTERVAL as u16).to_le_bytes());
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        if tail_bytes > 0 {
            let keys = self.entries.iter().map(|entry| self.key(entry));
            self.tails.encode(out, keys.map(|key| &key[key.len() - tail_bytes..]));
        }
        let restarts_at = out.len() + 4;
        let restarts = self.entries.len().div_ceil(RESTART_INTERVAL);
        let entries_at = restarts_at + restarts * 4;
        out.resize(entries_at, 0);
        let mut before: &[u8] = &[];
        for (i, entry) in self.entries.iter().enumerate() {
            if i % RESTART_INTERVAL == 0 {
                let offset = (out.len() - entries_at) as u32;
                let at = restarts_at + i / RESTART_INTERVAL * 4;
                out[at..at + 4].copy_from_slice(&offset.to_le_bytes());
                before = &[];
            }
            let (key, value) = (self.key(entry), self.value(entry));
            let key = &key[..key.len() - tail_bytes];
            let shared = shared_prefix(before, key);
            if tail_bytes > 0 {
                put_halves(out, [shared, key.len() - shared].map(|length| length as u32));
            } else {
                put_varint32(out, shared as u32);
                put_varint32(out, (key.len() - shared) as u32);
                put_varint32(out, if entry.tombstone { 0 } else { value.len() as u32 + 1 });
            }
            out.extend_from_slice(&key[shared..]);
            out.extend_from_slice(value);
            before = key;
        }
        let entries_bytes = (out.len() - entries_at) as u32;
        out[restarts_at - 4..restarts_at].copy_from_slice(&entries_bytes.to_le_bytes());
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        &self.data[entry.key_at as usize..entry.value_at as usize]
    }

    fn value(&self, entry: &Entry) -> &[u8] {
        &self.data[entry.value_at as usize..entry.end as usize]
    }
}

/// Two lengths in the halves of a byte, and behind it what is beyond them.
fn put_halves(out: &mut Vec<u8>, lengths: [u32; 2]) {
    let [upper, lower] = lengths.map(|length| length.min(HALF_MAX) as u8);
    out.push(upper << 4 | lower);
    lengths.iter().filter_map(|length| length.checked_sub(HALF_MAX)).for_each(|beyond| put_varint32(out, beyond));
}

/// How many leading bytes the two have in common.
fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The shortest key that is above `before` and not above `first`, of which `before < first` holds.
pub fn separator(before: &[u8], first: &[u8]) -> Vec<u8> {
    let len = (shared_prefix(before, first) + 1).min(first.len());
    first[..len].to_vec()
}
