//! A block of byte strings of one length, each as up to four numbers of which only the bits that differ are kept.
//!
//! A row is read as words: its bytes 0 to 7 as a big-endian number, its bytes 8 to 15 as the next, and so on; where
//! the row ends within a word, zero bytes follow. So rows are ordered as their words are.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 1 | `row_bytes`, 0 to 32 |
//! | 1 | 7 | zero |
//! | 8 | 10 a word | for each of the `ceil(row_bytes / 8)` words: `base` u64, `width` u8, `shift` u8 |
//! | … | … | the rows, packed |
//!
//! Of a word stand `(word - base) >> shift` in `width` bits, its lower `shift` bits being those of the base in all
//! rows. The words of a row stand one after the other, the first in the lowest bits, and so do the rows
//! ([`super::packed`]); 8 zero bytes follow. Rows of a keyed hash lose the leading bits that are alike in a page,
//! ordinals keep no more than the greatest needs, and random bytes stay as they are.

use std::cmp::Ordering;
use std::ops::Range;

use super::packed::{self, Bits};
use crate::DecodeError;
use crate::prefetch::{LINE_BYTES, prefetch};
use crate::run::fields::Fields;

const NAME: &str = "row block";
const HEADER_BYTES: usize = 8;
const WORD_HEADER_BYTES: usize = 10;
/// Longest row that a block holds, in bytes.
pub(crate) const ROW_BYTES_MAX: usize = 32;
/// Words of the longest row.
const WORDS_MAX: usize = ROW_BYTES_MAX / 8;
/// How far from where it is expected a row of a keyed hash mostly is.
const NEAR_ROWS: usize = 24;

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

/// What is alike in rows seen one by one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Varying {
    row_bytes: usize,
    started: bool,
    words: [Spread; WORDS_MAX],
}

/// The values of one word.
#[derive(Debug, Clone, Copy, Default)]
struct Spread {
    min: u64,
    max: u64,
    /// The bits that differ between any two.
    differing: u64,
}

impl Spread {
    fn shift(self) -> u32 {
        if self.differing == 0 { 0 } else { self.differing.trailing_zeros() }
    }

    fn width(self) -> u32 {
        packed::width_of((self.max - self.min) >> self.shift())
    }

    /// The least value, or less, so that all that the width can say ends below 2^64: then what is kept is ordered as
    /// the words are.
    fn base(self) -> u64 {
        let below_shift = !(u64::MAX << self.shift());
        let greatest = !below_shift | self.min & below_shift;
        self.min.min(greatest - span(self.width(), self.shift()))
    }
}

/// By how much the greatest word of a width and shift is above the base.
fn span(width: u32, shift: u32) -> u64 {
    mask(width as u8) << shift
}

impl Varying {
    /// Takes one more row; false if it is of another length or too long, and then nothing changed.
    pub(crate) fn add(&mut self, row: &[u8]) -> bool {
        if !self.started {
            if row.len() > ROW_BYTES_MAX {
                return false;
            }
            (self.row_bytes, self.started) = (row.len(), true);
            let words = self.words.iter_mut().zip(words_of(row));
            words.for_each(|(spread, word)| *spread = Spread { min: word, max: word, differing: 0 });
            return true;
        }
        if row.len() != self.row_bytes {
            return false;
        }
        for (spread, word) in self.words.iter_mut().zip(words_of(row)) {
            spread.differing |= spread.min ^ word;
            spread.min = spread.min.min(word);
            spread.max = spread.max.max(word);
        }
        true
    }

    fn words(&self) -> &[Spread] {
        &self.words[..self.row_bytes.div_ceil(8)]
    }

    /// Bits that a row keeps.
    pub(crate) fn row_bits(&self) -> u32 {
        self.words().iter().map(|word| word.width()).sum()
    }

    /// Length in bytes of a block of `n` such rows.
    pub(crate) fn block_bytes(&self, n: usize) -> usize {
        HEADER_BYTES + self.words().len() * WORD_HEADER_BYTES + packed::area_bytes(n, self.row_bits())
    }

    /// Appends the block of `rows`, which are those that were added; in the place of others comes something.
    pub(crate) fn encode<'a>(&self, out: &mut Vec<u8>, rows: impl Iterator<Item = &'a [u8]>) {
        out.extend_from_slice(&[self.row_bytes as u8, 0, 0, 0, 0, 0, 0, 0]);
        let mut kept = [(0, 0, 0); WORDS_MAX];
        for (spread, kept) in self.words().iter().zip(&mut kept) {
            *kept = (spread.base(), spread.width(), spread.shift());
            out.extend_from_slice(&kept.0.to_le_bytes());
            out.extend_from_slice(&[kept.1 as u8, kept.2 as u8]);
        }
        let mut bits = Bits::default();
        for row in rows {
            for (word, (base, width, shift)) in words_of(row).zip(kept) {
                bits.push(out, word.wrapping_sub(base) >> shift & mask(width as u8), width);
            }
        }
        bits.finish(out);
    }
}

/// Where a row block stands in a page; checked against the page's length when made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowsAt {
    n: u32,
    rows_at: u32,
    bases: [u64; WORDS_MAX],
    widths: [u8; WORDS_MAX],
    shifts: [u8; WORDS_MAX],
    row_bits: u16,
    row_bytes: u8,
}

impl RowsAt {
    /// Reads the header at byte `at` of `page` of a block of `n` rows; gives the place behind the block too.
    pub(crate) fn parse(page: &[u8], at: usize, n: usize) -> Result<(Self, usize), DecodeError> {
        let mut fields = Fields::at(NAME, page, at);
        let row_bytes = fields.u8()?;
        fields.zeroes(7)?;
        if usize::from(row_bytes) > ROW_BYTES_MAX {
            return Err(DecodeError::new(NAME, at, "a row is longer than 32 bytes"));
        }
        let mut block = Self {
            n: n as u32,
            rows_at: 0,
            bases: [0; WORDS_MAX],
            widths: [0; WORDS_MAX],
            shifts: [0; WORDS_MAX],
            row_bits: 0,
            row_bytes,
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
        block.rows_at = fields.position() as u32;
        fields.slice(packed::area_bytes(n, u32::from(block.row_bits)))?;
        Ok((block, fields.position()))
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
        let mut row = [0; ROW_BYTES_MAX];
        let mut bit = self.bit_of(i);
        for (word, chunk) in row.chunks_exact_mut(8).enumerate().take(self.row_bytes().div_ceil(8)) {
            let kept = self.kept_at(page, word).of(bit) << self.shifts[word];
            chunk.copy_from_slice(&(self.bases[word] + kept).to_be_bytes());
            bit += u64::from(self.widths[word]);
        }
        row
    }

    /// What row `i` keeps of the word by which rows differ first, for interpolation: ascends as the rows do; 0 if
    /// they are all alike.
    #[inline]
    pub(crate) fn leading(&self, page: &[u8], i: usize) -> u64 {
        // The words before it take no bits.
        self.kept_at(page, self.leading_word()).of(self.bit_of(i))
    }

    /// The first of these rows, which ascend strictly, that is not below `key`, and whether it is the key itself.
    /// `edges` are what the first and the last row lead with. Starts where the key would be if the rows were spread
    /// evenly, as a keyed hash is: the rows around come from memory at once.
    pub(crate) fn lower_bound(&self, page: &[u8], key: &[u8], edges: (u64, u64)) -> (usize, bool) {
        let (probe, n) = (self.probe(key), self.n as usize);
        let (first, last) = (edges.0, edges.1.max(edges.0));
        let target = probe.leading.clamp(first, last);
        // A float is exact enough for a guess; a division of 128 bits costs more than the search.
        let guess = ((target - first) as f64 / (last - first).max(1) as f64 * (n - 1) as f64) as usize;
        let guess = guess.min(n - 1);
        self.prefetch_range(page, guess.saturating_sub(NEAR_ROWS)..(guess + NEAR_ROWS).min(n));
        let leading = self.kept_at(page, self.leading_word());
        let below = |i: usize| leading.of(self.bit_of(i)) < probe.leading;
        // Widen from the guess until the answer lies within low ..= high.
        let (mut low, mut high) = (0, n);
        let mut step = NEAR_ROWS;
        if below(guess) {
            low = guess + 1;
            while low + step < high {
                if !below(low + step) {
                    high = low + step;
                    break;
                }
                low += step + 1;
                step *= 2;
            }
        } else {
            high = guess;
            while high >= step {
                if below(high - step) {
                    low = high - step + 1;
                    break;
                }
                high -= step;
                step *= 2;
            }
        }
        // Which half it is no processor foresees: without branches.
        let mut left = high - low;
        while left > 0 {
            let half = left.div_ceil(2);
            low += if below(low + half - 1) { half } else { 0 };
            left -= half;
        }
        self.settle(page, &probe, low)
    }

    /// The same from row `low` on, before which all lead with less than the key: where rows lead as it does, the rest
    /// of their words tells.
    fn settle(&self, page: &[u8], probe: &Probe, mut low: usize) -> (usize, bool) {
        let n = self.n as usize;
        let (mut high, mut step) = (low, 1);
        while high < n && self.compare(page, high, probe).is_lt() {
            low = high + 1;
            high += step;
            step *= 2;
        }
        high = high.min(n);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.compare(page, middle, probe).is_lt() { low = middle + 1 } else { high = middle }
        }
        (low, low < n && self.compare(page, low, probe).is_eq())
    }

    /// How row `i` stands to the key of a probe.
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
        let (row_bytes, leading_word) = (self.row_bytes(), self.leading_word());
        // Of what agrees as far as it goes the shorter comes first.
        let tie = row_bytes.cmp(&key.len());
        let mut probe = Probe { kept: [0; WORDS_MAX], leading: 0, words: 0, tie };
        let mut padded = [0; ROW_BYTES_MAX];
        let shared = key.len().min(row_bytes);
        padded[..shared].copy_from_slice(&key[..shared]);
        for (i, word) in words_of(&padded[..row_bytes]).enumerate() {
            let above = word.wrapping_sub(self.bases[i]);
            let kept = above >> self.shifts[i];
            let (is_below, is_above) = (word < self.bases[i], kept > mask(self.widths[i]));
            if is_below || is_above {
                probe.tie = if is_below { Ordering::Greater } else { Ordering::Less };
                if i <= leading_word {
                    probe.leading = if is_below { 0 } else { u64::MAX };
                }
                return probe;
            }
            probe.kept[i] = kept;
            probe.words += 1;
            if i == leading_word {
                probe.leading = kept;
            }
            if kept << self.shifts[i] != above {
                // The key lies between this row and the next that could be.
                probe.tie = Ordering::Less;
                return probe;
            }
        }
        probe
    }

    fn leading_word(&self) -> usize {
        self.widths.iter().position(|width| *width > 0).unwrap_or(0)
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
        let width = self.widths[word];
        Kept { rows: &page[self.rows_at as usize..], width: u32::from(width), mask: mask(width) }
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

#[inline]
fn mask(width: u8) -> u64 {
    u64::MAX.checked_shr(64 - u32::from(width)).unwrap_or(0)
}

/// A key cut down to what a row block keeps, up to the first word that settles the order.
#[derive(Debug, Clone, Copy)]
struct Probe {
    kept: [u64; WORDS_MAX],
    /// Where the key would be among [`RowsAt::leading`].
    leading: u64,
    words: u8,
    /// How a row stands to the key if what they keep is the same.
    tie: Ordering,
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
        let byte = || prop_oneof![0u8..4, any::<u8>()];
        (0usize..=32, any::<u32>()).prop_flat_map(move |(len, same)| {
            prop::collection::vec(prop::collection::vec(byte(), len), 1..60).prop_map(move |mut rows| {
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
                    prop_assert_eq!(at.compare(&page, i, &at.probe(key)), row[..].cmp(key));
                }
            }
        }

        #[test]
        fn a_lower_bound_is_where_a_search_finds_it(mut rows in rows(), key in prop::collection::vec(0u8..5, 0..40)) {
            rows.sort_unstable();
            rows.dedup();
            let page = block(&rows);
            let (at, _) = RowsAt::parse(&page, 0, rows.len()).unwrap();
            let edges = (at.leading(&page, 0), at.leading(&page, rows.len() - 1));
            for key in rows.iter().map(|row| &row[..]).chain([&key[..], &rows[0][..rows[0].len() / 2]]) {
                let low = rows.partition_point(|row| row[..] < *key);
                let found = rows.get(low).is_some_and(|row| row == key);
                prop_assert_eq!(at.lower_bound(&page, key, edges), (low, found));
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
