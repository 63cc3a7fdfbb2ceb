//! The plain text of a page of a sorted run: keys in strictly ascending byte order, each with a value or a
//! tombstone.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 1 | encoding: 1 rows, 2 prefixes, 3 tails |
//! | 1 | 1 | rows: bit 0 a tombstone bitmap follows; otherwise zero |
//! | 2 | 2 | prefixes, tails: entries between restarts, 1 or more; rows: zero |
//! | 4 | 4 | `count`, entries |
//!
//! *Rows* (all keys of one length, all values of one length, 32 bytes each at most): if flagged,
//! `ceil(count / 8)` bytes of bitmap, bit `i` set if entry `i` is a tombstone; a row block
//! ([`crate::column`], rows) of the keys; a row block of the values, in which a tombstone has any filler.
//!
//! *Prefixes*: u32 length of the entries, then one u32 a restart: the offset among the entries of entry
//! `restart * interval`; then the entries: varint shared, varint unshared, varint value length + 1 (0: tombstone),
//! the unshared bytes of the key, the value. `shared` bytes are those of the key before; a restart shares none.
//! Varints have 7 bits a byte, lowest first. After LevelDB's table format.
//!
//! *Tails* (all keys end in as many bytes that are packed better by themselves, as an ordinal is; all values are empty):
//! a row block of what the keys end in; then as prefixes, over what is before that, an entry being one byte, its upper
//! half shared and its lower half unshared, then for a half of 15 a varint of what is beyond 15, then the unshared
//! bytes.

use smallvec::SmallVec;

use crate::DecodeError;
use crate::column::rows::{ROW_BYTES_MAX, RowsAt};
use crate::column::{PAGE_BYTES_MAX, PAGE_ENTRIES_MAX};
use crate::run::fields::Fields;

mod builder;
mod filter;

pub use builder::{SortedPageBuilder, SortedPageSummary, separator};
pub use filter::{FilterBuilder, FilterPage, filter_hash};

const NAME: &str = "sorted page";
const HEADER_BYTES: usize = 8;
/// The greatest number in half a byte: there is more to come.
const HALF_MAX: u32 = 15;
/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 16 << 10;

/// What a sorted run holds for a key.
#[derive(Debug, Clone, Copy)]
pub enum SortedValue<'a> {
    /// The key is deleted, whatever older runs say.
    Tombstone,
    /// The value, in the page.
    Slice(&'a [u8]),
    /// The value, put together from a row: so many of the leading bytes.
    Row([u8; ROW_BYTES_MAX], u8),
}

impl SortedValue<'_> {
    /// The value's bytes; `None` for a tombstone.
    #[inline]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Tombstone => None,
            Self::Slice(bytes) => Some(bytes),
            Self::Row(row, len) => Some(&row[..usize::from(*len).min(ROW_BYTES_MAX)]),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Body {
    Rows {
        tombstones_at: Option<u32>,
        keys: RowsAt,
        values: RowsAt,
    },
    Prefixes {
        /// What the keys end in, if it stands by itself.
        tails: Option<RowsAt>,
        interval: u32,
        restarts_at: u32,
        restarts: u32,
        entries_at: u32,
    },
}

/// An open page of a sorted run: its plain text and where everything stands in it.
#[derive(Debug, Clone, Copy)]
pub struct SortedPage<B = Vec<u8>> {
    bytes: B,
    count: u32,
    body: Body,
}

/// A place in a page: an entry with its key, or the end. Meant to be used again and again, so that walking does
/// not allocate.
#[derive(Debug, Clone, Default)]
pub struct SortedPosition {
    entry: u32,
    /// Rows: the bucket of the entry's key.
    bucket: u32,
    /// Most keys are those of an alias: they take no memory of their own.
    key: SmallVec<[u8; 32]>,
    /// Prefixes: where the entry's value and the next entry start among the page's bytes.
    value_at: u32,
    next_at: u32,
    tombstone: bool,
}

impl SortedPosition {
    /// The entry's number in the page; the page's count at the end.
    pub fn entry(&self) -> usize {
        self.entry as usize
    }

    /// The entry's key; meaningless at the end.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

impl<B: AsRef<[u8]>> SortedPage<B> {
    /// Reads the headers of a page's plain text.
    ///
    /// # Errors
    /// If an area is malformed or does not lie within the page, or the page is longer than
    /// [`PAGE_BYTES_MAX`].
    pub fn open(bytes: B) -> Result<Self, DecodeError> {
        let page = bytes.as_ref();
        if page.len() > PAGE_BYTES_MAX {
            return Err(DecodeError::new(NAME, 0, "longer than any page"));
        }
        let mut fields = Fields::new(NAME, page);
        let (encoding, flags, interval, count) = (fields.u8()?, fields.u8()?, fields.u16()?, fields.u32()?);
        if count == 0 || count as usize > PAGE_ENTRIES_MAX {
            return Err(DecodeError::new(NAME, 4, "entries are none or too many"));
        }
        let body = match (encoding, flags, interval) {
            (1, 0 | 1, 0) => open_rows(page, flags == 1, count as usize)?,
            (2, 0, 1..) => open_prefixes(page, HEADER_BYTES, None, u32::from(interval), count)?,
            (3, 0, 1..) => {
                let (tails, at) = RowsAt::parse(page, HEADER_BYTES, count as usize)?;
                open_prefixes(page, at, Some(tails), u32::from(interval), count)?
            }
            _ => return Err(DecodeError::new(NAME, 0, "unknown encoding or flag")),
        };
        Ok(Self { count, body, bytes })
    }

    /// The page's plain text.
    pub fn bytes(&self) -> &B {
        &self.bytes
    }

    /// Number of entries.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// What the page holds for exactly this key.
    ///
    /// # Errors
    /// If an entry on the way is malformed.
    pub fn get(&self, key: &[u8]) -> Result<Option<SortedValue<'_>>, DecodeError> {
        if let Body::Rows { keys, .. } = &self.body {
            if key.len() != keys.row_bytes() {
                return Ok(None);
            }
            let place = keys.lower_bound(self.bytes.as_ref(), key);
            return Ok(place.is_key.then(|| self.row_value(place.row)));
        }
        let mut position = SortedPosition::default();
        self.seek(key, &mut position)?;
        if position.entry < self.count && position.key[..] == *key { self.value(&position).map(Some) } else { Ok(None) }
    }

    /// Moves to the first entry whose key is not below `key`, or to the end.
    ///
    /// # Errors
    /// If an entry on the way is malformed.
    pub fn seek(&self, key: &[u8], position: &mut SortedPosition) -> Result<(), DecodeError> {
        match &self.body {
            Body::Rows { keys, .. } => {
                let place = keys.lower_bound(self.bytes.as_ref(), key);
                self.seek_row(keys, place.row, place.bucket, position);
                Ok(())
            }
            Body::Prefixes { restarts, .. } => {
                // The last restart whose key is below the one sought; the entry is there or behind it.
                let (mut low, mut high) = (0, *restarts);
                while low + 1 < high {
                    let middle = low + (high - low) / 2;
                    if self.is_restart_below(middle, key)? { low = middle } else { high = middle }
                }
                self.seek_restart(low, position)?;
                while position.entry < self.count && position.key[..] < *key {
                    self.advance(position)?;
                }
                Ok(())
            }
        }
    }

    /// Moves to entry `entry`, or to the end if there are not so many.
    ///
    /// # Errors
    /// If an entry on the way is malformed.
    pub fn seek_entry(&self, entry: usize, position: &mut SortedPosition) -> Result<(), DecodeError> {
        let entry = entry.min(self.count()) as u32;
        match &self.body {
            Body::Rows { keys, .. } => {
                let bucket = keys.bucket_of(self.bytes.as_ref(), entry as usize);
                self.seek_row(keys, entry as usize, bucket, position);
            }
            Body::Prefixes { .. } if entry == self.count => position.entry = entry,
            Body::Prefixes { interval, .. } => {
                self.seek_restart(entry / interval, position)?;
                while position.entry < entry {
                    self.advance(position)?;
                }
            }
        }
        Ok(())
    }

    /// Moves to the next entry, or to the end.
    ///
    /// # Errors
    /// If the next entry is malformed.
    pub fn advance(&self, position: &mut SortedPosition) -> Result<(), DecodeError> {
        if position.entry >= self.count {
            return Ok(());
        }
        if let Body::Rows { keys, .. } = &self.body {
            self.seek_row(keys, position.entry as usize + 1, position.bucket as usize, position);
            return Ok(());
        }
        position.entry += 1;
        if position.entry >= self.count {
            return Ok(());
        }
        // Who walks and who looks a key up must come by the same entries.
        if let Body::Prefixes { interval, .. } = &self.body
            && position.entry.is_multiple_of(*interval)
            && self.restart_at(position.entry / interval)? != position.next_at as usize
        {
            return Err(DecodeError::new(NAME, 12, "a restart is not where its entry starts"));
        }
        self.read_prefixed(position)
    }

    /// The value at a position that this page gave.
    ///
    /// # Errors
    /// At the end, or if the position is of another page.
    #[inline]
    pub fn value(&self, position: &SortedPosition) -> Result<SortedValue<'_>, DecodeError> {
        if position.entry >= self.count {
            return Err(DecodeError::new(NAME, 4, "no such entry"));
        }
        match &self.body {
            Body::Rows { .. } => Ok(self.row_value(position.entry as usize)),
            Body::Prefixes { .. } if position.tombstone => Ok(SortedValue::Tombstone),
            Body::Prefixes { .. } => {
                let value = self.bytes.as_ref().get(position.value_at as usize..position.next_at as usize);
                value.map(SortedValue::Slice).ok_or(DecodeError::new(NAME, 0, "a value runs past the page"))
            }
        }
    }

    fn row_value(&self, entry: usize) -> SortedValue<'_> {
        let Body::Rows { tombstones_at, values, .. } = &self.body else { return SortedValue::Tombstone };
        let page = self.bytes.as_ref();
        let tombstone = tombstones_at.is_some_and(|at| page[at as usize + entry / 8] >> (entry % 8) & 1 == 1);
        if tombstone {
            return SortedValue::Tombstone;
        }
        SortedValue::Row(values.row(page, entry), values.row_bytes() as u8)
    }

    /// Moves to a row in `bucket` or in one behind it, or to the end.
    fn seek_row(&self, keys: &RowsAt, entry: usize, bucket: usize, position: &mut SortedPosition) {
        position.entry = entry as u32;
        position.key.clear();
        if entry < self.count() {
            let page = self.bytes.as_ref();
            let bucket = keys.bucket_from(page, entry, bucket);
            position.bucket = bucket as u32;
            position.key.extend_from_slice(&keys.row_of(page, entry, bucket)[..keys.row_bytes()]);
        }
    }

    /// Whether the key of restart `restart`, which shares nothing, is below `key`.
    fn is_restart_below(&self, restart: u32, key: &[u8]) -> Result<bool, DecodeError> {
        let Body::Prefixes { tails, interval, .. } = &self.body else { return Ok(false) };
        let page = self.bytes.as_ref();
        let mut fields = Fields::at(NAME, page, self.restart_at(restart)?);
        let entry = EntryHead::read(&mut fields, tails.is_some())?;
        if entry.shared != 0 {
            return Err(fields.error("a restart shares bytes with the key before"));
        }
        let head = fields.slice(entry.unshared as usize)?;
        Ok(match (tails, key.strip_prefix(head)) {
            (Some(tails), Some(rest)) => {
                let row = tails.row(page, (restart * interval) as usize);
                row[..tails.row_bytes()] < *rest
            }
            _ => head < key,
        })
    }

    fn restart_at(&self, restart: u32) -> Result<usize, DecodeError> {
        let Body::Prefixes { restarts_at, entries_at, .. } = &self.body else {
            return Err(DecodeError::new(NAME, 0, "rows have no restarts"));
        };
        let offset = Fields::at(NAME, self.bytes.as_ref(), *restarts_at as usize + restart as usize * 4).u32()?;
        Ok(*entries_at as usize + offset as usize)
    }

    fn seek_restart(&self, restart: u32, position: &mut SortedPosition) -> Result<(), DecodeError> {
        let Body::Prefixes { interval, .. } = &self.body else { return Ok(()) };
        position.entry = restart * interval;
        position.key.clear();
        position.next_at = self.restart_at(restart)? as u32;
        self.read_prefixed(position)
    }

    /// Reads the entry at `next_at`; the key before it is in the position.
    fn read_prefixed(&self, position: &mut SortedPosition) -> Result<(), DecodeError> {
        let Body::Prefixes { tails, .. } = &self.body else { return Ok(()) };
        let page = self.bytes.as_ref();
        let mut fields = Fields::at(NAME, page, position.next_at as usize);
        let entry = EntryHead::read(&mut fields, tails.is_some())?;
        let tail_bytes = tails.as_ref().map_or(0, RowsAt::row_bytes);
        if entry.shared as usize > position.key.len().saturating_sub(tail_bytes) {
            return Err(fields.error("an entry shares more than the key before has"));
        }
        position.key.truncate(entry.shared as usize);
        position.key.extend_from_slice(fields.slice(entry.unshared as usize)?);
        if let Some(tails) = tails {
            position.key.extend_from_slice(&tails.row(page, position.entry as usize)[..tail_bytes]);
        }
        position.tombstone = entry.value == 0;
        position.value_at = fields.position() as u32;
        fields.slice(entry.value.saturating_sub(1) as usize)?;
        position.next_at = fields.position() as u32;
        Ok(())
    }
}

/// What stands in front of an entry's bytes.
struct EntryHead {
    shared: u32,
    unshared: u32,
    /// Length of the value + 1; 0 for a tombstone.
    value: u32,
}

impl EntryHead {
    fn read(fields: &mut Fields<'_>, is_tailed: bool) -> Result<Self, DecodeError> {
        if !is_tailed {
            return Ok(Self { shared: fields.varint32()?, unshared: fields.varint32()?, value: fields.varint32()? });
        }
        let lengths = u32::from(fields.u8()?);
        let mut whole = |half: u32| match half {
            HALF_MAX => fields.varint32().map(|beyond| beyond.saturating_add(HALF_MAX)),
            _ => Ok(half),
        };
        Ok(Self { shared: whole(lengths >> 4)?, unshared: whole(lengths & HALF_MAX)?, value: 1 })
    }
}

fn open_rows(page: &[u8], has_tombstones: bool, count: usize) -> Result<Body, DecodeError> {
    let mut at = HEADER_BYTES;
    let tombstones_at = has_tombstones.then_some(at as u32);
    if has_tombstones {
        at += count.div_ceil(8);
    }
    let (keys, at) = RowsAt::parse(page, at, count)?;
    let (values, end) = RowsAt::parse(page, at, count)?;
    if end != page.len() {
        return Err(DecodeError::new(NAME, end, "bytes behind the end"));
    }
    Ok(Body::Rows { tombstones_at, keys, values })
}

fn open_prefixes(
    page: &[u8],
    at: usize,
    tails: Option<RowsAt>,
    interval: u32,
    count: u32,
) -> Result<Body, DecodeError> {
    let mut fields = Fields::at(NAME, page, at);
    let entries_bytes = fields.u32()? as usize;
    let restarts_at = fields.position() as u32;
    let restarts = count.div_ceil(interval);
    fields.slice(restarts as usize * 4)?;
    let entries_at = fields.position() as u32;
    fields.slice(entries_bytes)?;
    fields.end()?;
    Ok(Body::Prefixes { tails, interval, restarts_at, restarts, entries_at })
}

#[cfg(test)]
mod tests;
