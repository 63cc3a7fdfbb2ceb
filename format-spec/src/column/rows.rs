//! A block of byte strings of one length, without the bytes that are the same in all.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 1 | `row_bytes`, 0 to 32 |
//! | 1 | 3 | zero |
//! | 4 | 4 | `stored`: bit `i` is set if byte `i` of a row is stored, clear if it is the template's |
//! | 8 | `row_bytes` | the template; stored bytes are zero in it |
//! | … | `n` × popcount(`stored`) | the stored bytes of each row |
//!
//! Rows of a keyed hash keep all their bytes but the leading ones; big-endian numbers and UUIDs of one
//! time lose those that are alike.

use crate::DecodeError;
use crate::prefetch::prefetch;
use crate::run::fields::Fields;

const NAME: &str = "row block";
const HEADER_BYTES: usize = 8;
/// Longest row that a block holds, in bytes.
pub(crate) const ROW_BYTES_MAX: usize = 32;

/// Which byte positions differ among rows seen one by one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Varying {
    first: [u8; ROW_BYTES_MAX],
    row_bytes: usize,
    stored: u32,
    started: bool,
}

impl Varying {
    /// Takes one more row; false if it is of another length or too long, and then nothing changed.
    pub(crate) fn add(&mut self, row: &[u8]) -> bool {
        if !self.started {
            if row.len() > ROW_BYTES_MAX {
                return false;
            }
            self.first[..row.len()].copy_from_slice(row);
            self.row_bytes = row.len();
            self.started = true;
            return true;
        }
        if row.len() != self.row_bytes {
            return false;
        }
        // Only positions that were alike so far can change anything.
        let mut alike = !self.stored & all_stored(self.row_bytes);
        while alike != 0 {
            let i = alike.trailing_zeros();
            self.stored |= u32::from(self.first[i as usize] != row[i as usize]) << i;
            alike &= alike - 1;
        }
        true
    }

    /// Length in bytes of a block of `n` such rows.
    pub(crate) fn block_bytes(&self, n: usize) -> usize {
        HEADER_BYTES + self.row_bytes + n * self.stored.count_ones() as usize
    }

    /// Appends the block of `rows`, which are those that were added.
    pub(crate) fn encode<'a>(&self, out: &mut Vec<u8>, rows: impl Iterator<Item = &'a [u8]>) {
        out.extend_from_slice(&[self.row_bytes as u8, 0, 0, 0]);
        out.extend_from_slice(&self.stored.to_le_bytes());
        let template = (0..self.row_bytes).map(|i| if self.stored >> i & 1 == 1 { 0 } else { self.first[i] });
        out.extend(template);
        let whole = self.stored == all_stored(self.row_bytes);
        for row in rows {
            if whole {
                out.extend_from_slice(row);
                continue;
            }
            let mut left = self.stored;
            while left != 0 {
                let i = left.trailing_zeros();
                out.push(row[i as usize]);
                left &= left - 1;
            }
        }
    }
}

/// The mask of a row that stores all of its bytes.
fn all_stored(row_bytes: usize) -> u32 {
    u32::MAX.checked_shr(32 - row_bytes as u32).unwrap_or(0)
}

/// Where a row block stands in a page; checked against the page's length when made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowsAt {
    n: u32,
    row_bytes: u8,
    stored_bytes: u8,
    stored: u32,
    rows_at: u32,
    template: [u8; ROW_BYTES_MAX],
}

impl RowsAt {
    /// Reads the header at byte `at` of `page` of a block of `n` rows; gives the place behind the block too.
    pub(crate) fn parse(page: &[u8], at: usize, n: usize) -> Result<(Self, usize), DecodeError> {
        let mut fields = Fields::at(NAME, page, at);
        let row_bytes = fields.u8()?;
        fields.zeroes(3)?;
        let stored = fields.u32()?;
        if usize::from(row_bytes) > ROW_BYTES_MAX || u64::from(stored) >> row_bytes != 0 {
            return Err(DecodeError::new(NAME, at, "a row is longer than 32 bytes or stores bytes that it lacks"));
        }
        let mut template = [0; ROW_BYTES_MAX];
        template[..usize::from(row_bytes)].copy_from_slice(fields.slice(usize::from(row_bytes))?);
        let stored_bytes = stored.count_ones() as u8;
        let rows_at = fields.position();
        fields.slice(n.saturating_mul(usize::from(stored_bytes)))?;
        let block = Self { n: n as u32, row_bytes, stored_bytes, stored, rows_at: rows_at as u32, template };
        Ok((block, fields.position()))
    }

    /// Length of a row in bytes.
    #[inline]
    pub(crate) fn row_bytes(&self) -> usize {
        usize::from(self.row_bytes)
    }

    /// The stored bytes of row `i`.
    #[inline]
    pub(crate) fn stored<'a>(&self, page: &'a [u8], i: usize) -> &'a [u8] {
        debug_assert!(i < self.n as usize);
        let width = usize::from(self.stored_bytes);
        let at = self.rows_at as usize + i * width;
        &page[at..at + width]
    }

    /// Asks memory for the stored bytes of row `i`.
    #[inline]
    pub(crate) fn prefetch(&self, page: &[u8], i: usize) {
        prefetch(page, self.rows_at as usize + i * usize::from(self.stored_bytes));
    }

    /// Row `i`, whole, in the first [`Self::row_bytes`] bytes.
    #[inline]
    pub(crate) fn row(&self, page: &[u8], i: usize) -> [u8; ROW_BYTES_MAX] {
        let mut row = self.template;
        let mut left = self.stored;
        let stored = self.stored(page, i);
        if left.count_ones() + left.leading_zeros() + left.trailing_zeros() == 32 {
            // One stretch, as most are: the leading bytes alike, or none.
            let at = left.trailing_zeros() as usize;
            row[at..at + stored.len()].copy_from_slice(stored);
            return row;
        }
        for &byte in stored {
            row[left.trailing_zeros() as usize & (ROW_BYTES_MAX - 1)] = byte;
            left &= left.wrapping_sub(1);
        }
        row
    }

    /// What `key` looks like among the stored bytes of rows: see [`Probe`].
    pub(crate) fn probe(&self, key: &[u8]) -> Probe {
        let mut probe = Probe { bytes: [0; ROW_BYTES_MAX], len: 0, tie: std::cmp::Ordering::Equal };
        for i in 0..self.row_bytes() {
            let Some(&byte) = key.get(i) else {
                // The key is a proper prefix of every row that agrees so far.
                probe.tie = std::cmp::Ordering::Greater;
                return probe;
            };
            if self.stored >> i & 1 == 1 {
                probe.bytes[probe.len] = byte;
                probe.len += 1;
            } else if byte != self.template[i] {
                probe.tie = self.template[i].cmp(&byte);
                return probe;
            }
        }
        if key.len() > self.row_bytes() {
            probe.tie = std::cmp::Ordering::Less;
        }
        probe
    }
}

/// A key cut down to what a row block stores, up to the first byte that settles the order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    bytes: [u8; ROW_BYTES_MAX],
    len: usize,
    /// How a row stands to the key if their stored bytes are the same.
    tie: std::cmp::Ordering,
}

impl Probe {
    /// How a row with these stored bytes stands to the key.
    #[inline]
    pub(crate) fn row_cmp(&self, stored: &[u8]) -> std::cmp::Ordering {
        stored[..self.len.min(stored.len())].cmp(&self.bytes[..self.len]).then(self.tie)
    }

    /// The first eight stored bytes as a number, for interpolation.
    #[inline]
    pub(crate) fn leading(&self) -> u64 {
        leading(&self.bytes)
    }

    /// Whether a row with these stored bytes is below the key.
    #[inline]
    pub(crate) fn is_above(&self, stored: &[u8]) -> bool {
        if self.len >= 8 {
            let (row, key) = (leading(stored), self.leading());
            if row != key {
                return row < key;
            }
        }
        self.row_cmp(stored).is_lt()
    }
}

/// The first eight bytes as a big-endian number, zeroes behind a shorter one.
#[inline]
pub(crate) fn leading(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*eight);
    }
    let mut eight = [0; 8];
    eight[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(eight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(rows: &[Vec<u8>]) -> Vec<u8> {
        let mut varying = Varying::default();
        assert!(rows.iter().all(|r| varying.add(r)));
        let mut out = Vec::new();
        varying.encode(&mut out, rows.iter().map(|r| &r[..]));
        if !rows.is_empty() {
            assert_eq!(out.len(), varying.block_bytes(rows.len()));
        }
        out
    }

    /// Rows of one length in which some positions never change.
    fn rows() -> impl Strategy<Value = Vec<Vec<u8>>> {
        (0usize..=32, any::<u32>()).prop_flat_map(|(len, same)| {
            prop::collection::vec(prop::collection::vec(0u8..4, len), 1..60).prop_map(move |mut rows| {
                for row in &mut rows {
                    row.iter_mut().enumerate().filter(|(i, _)| same >> i & 1 == 1).for_each(|(_, b)| *b = 2);
                }
                rows
            })
        })
    }

    proptest! {
        #[test]
        fn rows_come_back(rows in rows()) {
            let page = block(&rows);
            let (at, end) = RowsAt::parse(&page, 0, rows.len()).unwrap();
            prop_assert_eq!(end, page.len());
            for (i, row) in rows.iter().enumerate() {
                prop_assert_eq!(&at.row(&page, i)[..at.row_bytes()], &row[..]);
            }
        }

        #[test]
        fn a_probe_orders_as_the_whole_rows_do(rows in rows(), key in prop::collection::vec(0u8..5, 0..40)) {
            let page = block(&rows);
            let (at, _) = RowsAt::parse(&page, 0, rows.len()).unwrap();
            for (i, row) in rows.iter().enumerate() {
                for key in [&key[..], row, &row[..row.len() / 2]] {
                    prop_assert_eq!(at.probe(key).row_cmp(at.stored(&page, i)), row[..].cmp(key));
                    prop_assert_eq!(at.probe(key).is_above(at.stored(&page, i)), row[..] < *key);
                }
            }
        }

        #[test]
        fn any_bytes_are_rows_or_an_error(page in prop::collection::vec(any::<u8>(), 0..200), n in 0usize..1000) {
            if let Ok((at, _)) = RowsAt::parse(&page, 0, n) {
                (0..n).for_each(|i| { at.row(&page, i); });
            }
        }
    }
}
