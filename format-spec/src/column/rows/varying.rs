//! Writing a row block: what differs between the rows is gathered while they come.

use super::super::packed::{self, Bits, mask};
use super::{HEADER_BYTES, ROW_BYTES_MAX, WORD_HEADER_BYTES, WORDS_MAX, expected_start, span, words_of};

/// Rows that a bucket has on average, at least; below twice as many.
const BUCKET_ROWS: usize = 4;
/// Fewer rows than this are not worth buckets.
const BUCKETED_ROWS_MIN: usize = 256;

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
        self.bytes_with(packed::area_bytes(n, self.row_bits()))
    }

    /// About the length in bytes of a block of `n` such rows that ascend and are spread evenly.
    pub(crate) fn bucketed_bytes(&self, n: usize) -> usize {
        // Of each word once: this is asked for each row that comes.
        let widths = self.words().iter().map(|word| word.width()).filter(|width| *width > 0);
        let (leading, row_bits) =
            widths.fold((0, 0), |(leading, sum), width| (if sum == 0 { width } else { leading }, sum + width));
        let bucket_bits = bucket_bits(n, leading);
        let rows = packed::area_bytes(n, row_bits - bucket_bits);
        if bucket_bits == 0 {
            return self.bytes_with(rows);
        }
        // Random rows stray from where they are expected by some square roots of their number.
        let start_width = packed::width_of(n as u64) / 2 + 2;
        self.bytes_with(rows + packed::area_bytes((1 << bucket_bits) + 1, start_width))
    }

    /// Length of a block whose packed areas have so many bytes.
    fn bytes_with(&self, areas: usize) -> usize {
        HEADER_BYTES + self.words().len() * WORD_HEADER_BYTES + areas
    }

    /// The first word of which something is kept.
    fn leading_word(&self) -> usize {
        self.words().iter().position(|word| word.width() > 0).unwrap_or(0)
    }

    /// Appends the block of `rows`, which are those that were added; in the place of others comes something.
    pub(crate) fn encode<'a>(&self, out: &mut Vec<u8>, rows: impl Iterator<Item = &'a [u8]>) {
        out.extend_from_slice(&[self.row_bytes as u8, 0, 0, 0, 0, 0, 0, 0]);
        self.encode_words(out);
        self.encode_rows(out, rows, 0);
    }

    /// Appends the block of the `n` `rows`, which are those that were added, ascending.
    pub(crate) fn encode_bucketed<'a>(
        &self,
        out: &mut Vec<u8>,
        n: usize,
        rows: impl Iterator<Item = &'a [u8]> + Clone,
    ) {
        let leading = self.leading_word();
        let spread = self.words[leading];
        let bucket_bits = bucket_bits(n, spread.width());
        if bucket_bits == 0 {
            return self.encode(out, rows);
        }
        let rest = spread.shift() + spread.width() - bucket_bits;
        let buckets = 1 << bucket_bits;
        let mut starts = vec![0; buckets + 1];
        let leading_words = rows.clone().filter_map(|row| words_of(row).nth(leading));
        leading_words.for_each(|word| starts[(word.wrapping_sub(spread.base()) >> rest) as usize + 1] += 1);
        let mut before = 0;
        for (bucket, start) in starts.iter_mut().enumerate() {
            before += *start;
            *start = before - expected_start(bucket, n, bucket_bits);
        }
        let (base, top) = (starts.iter().copied().min().unwrap_or(0), starts.iter().copied().max().unwrap_or(0));
        let width = packed::width_of((top - base) as u64);
        out.extend_from_slice(&[self.row_bytes as u8, bucket_bits as u8, width as u8, 0]);
        out.extend_from_slice(&(base as i32).to_le_bytes());
        self.encode_words(out);
        packed::pack(out, width, starts.iter().map(|start| (start - base) as u64));
        self.encode_rows(out, rows, bucket_bits);
    }

    fn encode_words(&self, out: &mut Vec<u8>) {
        for spread in self.words() {
            out.extend_from_slice(&spread.base().to_le_bytes());
            out.extend_from_slice(&[spread.width() as u8, spread.shift() as u8]);
        }
    }

    /// The rows without the upper `bucket_bits` of their leading word.
    fn encode_rows<'a>(&self, out: &mut Vec<u8>, rows: impl Iterator<Item = &'a [u8]>, bucket_bits: u32) {
        let mut kept = [(0, 0, 0); WORDS_MAX];
        for (spread, kept) in self.words().iter().zip(&mut kept) {
            *kept = (spread.base(), spread.width(), spread.shift());
        }
        kept[self.leading_word()].1 -= bucket_bits;
        let mut bits = Bits::default();
        for row in rows {
            for (word, (base, width, shift)) in words_of(row).zip(kept) {
                bits.push(out, word.wrapping_sub(base) >> shift & mask(width), width);
            }
        }
        bits.finish(out);
    }
}

/// By how many leading bits `n` rows that ascend are put in buckets, of the `width` bits of their leading word.
fn bucket_bits(n: usize, width: u32) -> u32 {
    if n < BUCKETED_ROWS_MIN { 0 } else { (n / BUCKET_ROWS).ilog2().min(width) }
}
