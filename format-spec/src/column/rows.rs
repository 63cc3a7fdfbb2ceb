//! A block of byte strings of one length, each as up to four numbers of which only the bits that differ are kept.
//!
//! A row is read as words: its bytes 0 to 7 as a big-endian number, its bytes 8 to 15 as the next, and so on; where
//! the row ends within a word, zero bytes follow. So rows are ordered as their words are.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 1 | `row_bytes`, 0 to 32 |
//! | 1 | 1 | `bucket_bits`, 0 to 16 |
//! | 2 | 1 | `start_width` |
//! | 3 | 1 | zero |
//! | 4 | 4 | `start_base`, i32 |
//! | 8 | 10 a word | for each of the `ceil(row_bytes / 8)` words: `base` u64, `width` u8, `shift` u8 |
//! | … | … | unless `bucket_bits` is 0: `2^bucket_bits + 1` packed numbers of `start_width` bits, the *starts* |
//! | … | … | the rows, packed |
//!
//! Of a word stand `(word - base) >> shift` in `width` bits, its lower `shift` bits being those of the base in all
//! rows. The words of a row stand one after the other, the first in the lowest bits, and so do the rows
//! ([`super::packed`]); 8 zero bytes follow. Rows of a keyed hash lose the leading bits that are alike in a page,
//! ordinals keep no more than the greatest needs, and random bytes stay as they are.
//!
//! Rows that ascend may be put in *buckets* by the upper `bucket_bits` of the first word with a width: these bits are
//! then left out of the rows. Bucket `b` is of the rows `start(b) .. start(b + 1)` with
//! `start(b) = (b * n >> bucket_bits) + start_base + starts[b]`. A look-up reads two starts and the few rows
//! between them. After Elias's code for ascending numbers (1974), with places in the stead of unary counts.

use std::cmp::Ordering;
use std::ops::Range;

use super::packed::{self, PackedAt, mask};
use crate::DecodeError;
use crate::prefetch::{LINE_BYTES, prefetch};
use crate::run::fields::Fields;

mod varying;

pub(crate) use varying::Varying;

const NAME: &str = "row block";
const HEADER_BYTES: usize = 8;
const WORD_HEADER_BYTES: usize = 10;
/// Longest row that a block holds, in bytes.
pub(crate) const ROW_BYTES_MAX: usize = 32;
/// Words of the longest row.
const WORDS_MAX: usize = ROW_BYTES_MAX / 8;
/// How far from where it is expected a row of a keyed hash mostly is.
const NEAR_ROWS: usize = 24;
/// More than the rows of any page need.
const BUCKET_BITS_MAX: u8 = 16;

/// Where a key stands among rows that ascend strictly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyPlace {
    /// The first row that is not below the key.
    pub(crate) row: usize,
    /// The bucket in which the key would be.
    pub(crate) bucket: usize,
    /// Whether the row is the key itself.
    pub(crate) is_key: bool,
}

/// The words of a row.
#[inline]
fn words_of(row: &[u8]) -> impl Iterator<Item = u64> {
    let (whole, rest) = row.as_chunks::<8>();
    let last = match row.last_chunk::<8>() {
        _ if rest.is_empty() => None,
        // Of the last eight bytes those of the word before are shifted out.
        Some(eight) => Some(u64::from_be_bytes(*eight) << (64 - 8 * rest.len())),
        None => {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            Some(u64::from_be_bytes(word))
        }
    };
    whole.iter().map(|word| u64::from_be_bytes(*word)).chain(last)
}

/// By how much the greatest word of a width and shift is above the base.
fn span(width: u32, shift: u32) -> u64 {
    mask(width) << shift
}

/// Where a bucket would start if the rows were spread evenly.
#[inline]
fn expected_start(bucket: usize, n: usize, bucket_bits: u32) -> i64 {
    // Below 2^17 * 2^32.
    ((bucket as u64 * n as u64) >> bucket_bits) as i64
}

/// Where a row block stands in a page; checked against the page's length when made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowsAt {
    n: u32,
    rows_at: u32,
    bases: [u64; WORDS_MAX],
    /// Bits that a row keeps of each word; of the leading one without those of the bucket.
    widths: [u8; WORDS_MAX],
    shifts: [u8; WORDS_MAX],
    row_bits: u16,
    row_bytes: u8,
    /// The first word that is not alike in all rows; 0 if all are.
    leading_word: u8,
    bucket_bits: u8,
    start_base: i32,
    starts: PackedAt,
}

impl RowsAt {
    /// Reads the header at byte `at` of `page` of a block of `n` rows; gives the place behind the block too.
    pub(crate) fn parse(page: &[u8], at: usize, n: usize) -> Result<(Self, usize), DecodeError> {
        let mut fields = Fields::at(NAME, page, at);
        let (row_bytes, bucket_bits, start_width) = (fields.u8()?, fields.u8()?, fields.u8()?);
        fields.zeroes(1)?;
        let start_base = fields.u32()? as i32;
        if usize::from(row_bytes) > ROW_BYTES_MAX {
            return Err(DecodeError::new(NAME, at, "a row is longer than 32 bytes"));
        }
        if bucket_bits > BUCKET_BITS_MAX || bucket_bits == 0 && (start_width, start_base) != (0, 0) {
            return Err(DecodeError::new(NAME, at + 1, "buckets are too many, or have starts and are none"));
        }
        if start_width > packed::PLACE_BITS_MAX {
            return Err(DecodeError::new(NAME, at + 2, "starts of buckets have more than 32 bits"));
        }
        let mut block = Self {
            n: n as u32,
            rows_at: 0,
            bases: [0; WORDS_MAX],
            widths: [0; WORDS_MAX],
            shifts: [0; WORDS_MAX],
            row_bits: 0,
            row_bytes,
            leading_word: 0,
            bucket_bits,
            start_base,
            starts: PackedAt::of_parts(0, 0),
        };
        for i in 0..usize::from(row_bytes).div_ceil(8) {
            (block.bases[i], block.widths[i], block.shifts[i]) = (fields.u64()?, fields.u8()?, fields.u8()?);
            let (width, shift) = (u32::from(block.widths[i]), u32::from(block.shifts[i]));
            let is_word = shift < 64 && width + shift <= 64;
            if !is_word || block.bases[i].checked_add(span(width, shift)).is_none() {
                return Err(fields.error("a word has more than 64 bits"));
            }
            // What follows the row in its last word.
            let behind = (8 * (i as u32 + 1)).saturating_sub(u32::from(row_bytes)) * 8;
            if (block.bases[i] | span(width, shift)).trailing_zeros() < behind {
                return Err(fields.error("a word has bits behind the row"));
            }
            block.row_bits += u16::from(block.widths[i]);
        }
        block.leading_word = block.widths.iter().position(|width| *width > 0).unwrap_or(0) as u8;
        if bucket_bits > 0 {
            block.take_starts(page, &mut fields, start_width)?;
        }
        block.rows_at = fields.position() as u32;
        fields.slice(packed::area_bytes(n, u32::from(block.row_bits)))?;
        Ok((block, fields.position()))
    }

    /// Reads and checks the starts of the buckets, and takes the buckets' bits from the rows' leading word.
    fn take_starts(&mut self, page: &[u8], fields: &mut Fields<'_>, start_width: u8) -> Result<(), DecodeError> {
        let width = &mut self.widths[usize::from(self.leading_word)];
        *width = width.checked_sub(self.bucket_bits).ok_or(fields.error("buckets of more bits than rows have"))?;
        self.row_bits -= u16::from(self.bucket_bits);
        let n_starts = (1 << self.bucket_bits) + 1;
        let (starts, end) = PackedAt::check(fields.position(), n_starts, start_width, page.len())?;
        self.starts = starts;
        let (mut before, mut ascend) = (0, true);
        starts.view(page).for_each(n_starts, |bucket, number| {
            let start = self.start(bucket, number);
            ascend &= before <= start && (bucket > 0 || start == 0);
            before = start;
        });
        if !ascend || before != i64::from(self.n) {
            return Err(fields.error("buckets do not ascend over all rows"));
        }
        fields.slice(end - fields.position()).map(drop)
    }

    /// Length of a row in bytes.
    #[inline]
    pub(crate) fn row_bytes(&self) -> usize {
        usize::from(self.row_bytes)
    }

    /// Asks memory for row `i`.
    #[inline]
    pub(crate) fn prefetch(&self, page: &[u8], i: usize) {
        prefetch(page, self.place(i));
    }

    /// Asks memory for the rows of a range.
    #[inline]
    fn prefetch_range(&self, page: &[u8], rows: Range<usize>) {
        (self.place(rows.start)..self.place(rows.end) + LINE_BYTES)
            .step_by(LINE_BYTES)
            .for_each(|at| prefetch(page, at));
    }

    /// Row `i`, whole, in the first [`Self::row_bytes`] bytes.
    #[inline]
    pub(crate) fn row(&self, page: &[u8], i: usize) -> [u8; ROW_BYTES_MAX] {
        self.row_of(page, i, self.bucket_of(page, i))
    }

    /// Row `i`, which is in this bucket.
    #[inline]
    pub(crate) fn row_of(&self, page: &[u8], i: usize, bucket: usize) -> [u8; ROW_BYTES_MAX] {
        let mut row = [0; ROW_BYTES_MAX];
        let mut bit = self.bit_of(i);
        for (word, chunk) in row.chunks_exact_mut(8).enumerate().take(self.row_bytes().div_ceil(8)) {
            let width = self.widths[word];
            let mut kept = self.kept_at(page, word).of(bit);
            if word == usize::from(self.leading_word) && self.bucket_bits > 0 {
                kept |= (bucket as u64) << width;
            }
            chunk.copy_from_slice(&(self.bases[word] + (kept << self.shifts[word])).to_be_bytes());
            bit += u64::from(width);
        }
        row
    }

    /// The bucket of row `i`; 0 if there are no buckets or not so many rows.
    pub(crate) fn bucket_of(&self, page: &[u8], i: usize) -> usize {
        let (mut low, mut left) = (0, if i < self.n as usize { (1_usize << self.bucket_bits) - 1 } else { 0 });
        while left > 0 {
            let half = left.div_ceil(2);
            low += if self.bucket(page, low + half - 1).end <= i { half } else { 0 };
            left -= half;
        }
        low
    }

    /// The bucket of row `i`, which is in this bucket or in one behind it.
    #[inline]
    pub(crate) fn bucket_from(&self, page: &[u8], i: usize, bucket: usize) -> usize {
        let last = (1 << self.bucket_bits) - 1;
        let mut bucket = bucket.min(last);
        while bucket < last && self.bucket(page, bucket).end <= i {
            bucket += 1;
        }
        bucket
    }

    /// The rows of a bucket.
    #[inline]
    fn bucket(&self, page: &[u8], bucket: usize) -> Range<usize> {
        if self.bucket_bits == 0 {
            return 0..self.n as usize;
        }
        let (start, end) = self.starts.pair(page, bucket);
        self.start(bucket, start) as usize..self.start(bucket + 1, end) as usize
    }

    /// Where a bucket starts, by its number among the starts.
    #[inline]
    fn start(&self, bucket: usize, number: u64) -> i64 {
        let expected = expected_start(bucket, self.n as usize, u32::from(self.bucket_bits));
        // Each below 2^49.
        expected + i64::from(self.start_base) + number as i64
    }

    /// Where `key` stands among these rows, which ascend strictly.
    pub(crate) fn lower_bound(&self, page: &[u8], key: &[u8]) -> KeyPlace {
        let (mut probe, leading_word) = (self.probe(key), usize::from(self.leading_word));
        if usize::from(probe.words) <= leading_word {
            // All rows lead with the same, and the key is below or above them all.
            let row = if probe.tie.is_lt() { self.n as usize } else { 0 };
            return KeyPlace { row, bucket: 0, is_key: probe.tie.is_eq() && self.n > 0 };
        }
        let leading = self.kept_at(page, leading_word);
        let bucket = if self.bucket_bits == 0 { 0 } else { (probe.kept[leading_word] >> leading.width) as usize };
        probe.kept[leading_word] &= leading.mask;
        let target = probe.kept[leading_word];
        if self.bucket_bits > 0 {
            // Memory brings the starts and the rows at the same time, not one after the other.
            let near = expected_start(bucket, self.n as usize, u32::from(self.bucket_bits)) as usize;
            let rows = near.saturating_sub(NEAR_ROWS)..(near + NEAR_ROWS).min(self.n as usize);
            self.prefetch_range(page, rows);
        }
        let Range { start: mut low, end } = self.bucket(page, bucket);
        // Which half it is no processor foresees: without branches.
        let mut left = end - low;
        while left > 0 {
            let half = left.div_ceil(2);
            low += if leading.of(self.bit_of(low + half - 1)) < target { half } else { 0 };
            left -= half;
        }
        let (row, is_key) = self.settle(page, &probe, low, end);
        KeyPlace { row, bucket, is_key }
    }

    /// The same from row `low` of a bucket that ends at `end` on, before which all are below the key: where rows lead as
    /// it does, the rest of their words tells.
    fn settle(&self, page: &[u8], probe: &Probe, mut low: usize, end: usize) -> (usize, bool) {
        let (mut high, mut step) = (low, 1);
        while high < end && self.compare(page, high, probe).is_lt() {
            low = high + 1;
            high += step;
            step *= 2;
        }
        high = high.min(end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.compare(page, middle, probe).is_lt() { low = middle + 1 } else { high = middle }
        }
        (low, low < end && self.compare(page, low, probe).is_eq())
    }

    /// How row `i` of the bucket of a probe stands to the probe's key.
    fn compare(&self, page: &[u8], i: usize, probe: &Probe) -> Ordering {
        let mut bit = self.bit_of(i);
        for word in 0..usize::from(probe.words) {
            let order = self.kept_at(page, word).of(bit).cmp(&probe.kept[word]);
            if order.is_ne() {
                return order;
            }
            bit += u64::from(self.widths[word]);
        }
        probe.tie
    }

    /// What `key` looks like among rows: see [`Probe`].
    fn probe(&self, key: &[u8]) -> Probe {
        let row_bytes = self.row_bytes();
        // Of what agrees as far as it goes the shorter comes first.
        let tie = row_bytes.cmp(&key.len());
        let mut probe = Probe { kept: [0; WORDS_MAX], words: 0, tie };
        let mut padded = [0; ROW_BYTES_MAX];
        let shared = key.len().min(row_bytes);
        padded[..shared].copy_from_slice(&key[..shared]);
        for (i, word) in words_of(&padded[..row_bytes]).enumerate() {
            let above = word.wrapping_sub(self.bases[i]);
            let kept = above >> self.shifts[i];
            let bucket_bits = if i == usize::from(self.leading_word) { self.bucket_bits } else { 0 };
            let (is_below, is_above) = (word < self.bases[i], kept > mask(u32::from(self.widths[i] + bucket_bits)));
            if is_below || is_above {
                probe.tie = if is_below { Ordering::Greater } else { Ordering::Less };
                return probe;
            }
            probe.kept[i] = kept;
            probe.words += 1;
            if kept << self.shifts[i] != above {
                // The key lies between this row and the next that could be.
                probe.tie = Ordering::Less;
                return probe;
            }
        }
        probe
    }

    /// The first bit of row `i` among the rows.
    #[inline]
    fn bit_of(&self, i: usize) -> u64 {
        i as u64 * u64::from(self.row_bits)
    }

    /// The byte of the page in which row `i` begins.
    #[inline]
    fn place(&self, i: usize) -> usize {
        self.rows_at as usize + (self.bit_of(i) >> 3) as usize
    }

    /// What is kept of word `word` of the rows.
    #[inline]
    fn kept_at<'p>(&self, page: &'p [u8], word: usize) -> Kept<'p> {
        let width = u32::from(self.widths[word]);
        Kept { rows: &page[self.rows_at as usize..], width, mask: mask(width) }
    }
}

/// What is kept of one word, row by row.
struct Kept<'p> {
    rows: &'p [u8],
    width: u32,
    mask: u64,
}

impl Kept<'_> {
    /// Of the row in which it starts at this bit of the rows.
    #[inline]
    fn of(&self, bit: u64) -> u64 {
        packed::at_bit(self.rows, bit, self.width) & self.mask
    }
}

/// A key cut down to what a row block keeps, up to the first word that settles the order.
#[derive(Debug, Clone, Copy)]
struct Probe {
    /// Of the words that are within what rows can say; so many.
    kept: [u64; WORDS_MAX],
    words: u8,
    /// How a row stands to the key if what they keep is the same.
    tie: Ordering,
}

#[cfg(test)]
mod tests;
