//! Which ordinals a column page has entries for: see the table in [`super`].

use super::packed::{self, Packed, PackedAt};
use crate::DecodeError;
use crate::run::fields::Fields;

const NAME: &str = "page ordinals";
const DENSE: u8 = 0;
const BITMAP: u8 = 1;
const LIST: u8 = 2;
/// Words of 64 bits for which one running count is kept.
const RANK_WORDS: usize = 4;

/// The form of a page's ordinals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Dense,
    Bitmap,
    List { width: u32 },
}

impl Form {
    /// The shortest form for ascending `offsets` from the first ordinal, and its length in bytes.
    pub(super) fn choose(count: usize, span: u32) -> (Self, usize) {
        if count == span as usize {
            return (Self::Dense, 0);
        }
        let width = packed::width_of(u64::from(span - 1));
        let list = packed::area_bytes(count, width);
        let bitmap = bitmap_bytes(span).0 + bitmap_bytes(span).1;
        if bitmap <= list { (Self::Bitmap, bitmap) } else { (Self::List { width }, list) }
    }

    /// The two header bytes: form and bits an ordinal.
    pub(super) fn numbers(self) -> (u8, u8) {
        match self {
            Self::Dense => (DENSE, 0),
            Self::Bitmap => (BITMAP, 0),
            Self::List { width } => (LIST, width as u8),
        }
    }

    pub(super) fn encode(self, out: &mut Vec<u8>, offsets: &[u32], span: u32) {
        match self {
            Self::Dense => {}
            Self::List { width } => packed::pack(out, width, offsets.iter().map(|&o| u64::from(o))),
            Self::Bitmap => {
                let mut words = vec![0u64; (span as usize).div_ceil(64)];
                for &offset in offsets {
                    words[offset as usize / 64] |= 1 << (offset % 64);
                }
                words.iter().for_each(|w| out.extend_from_slice(&w.to_le_bytes()));
                let mut before = 0u16;
                for group in words.chunks(RANK_WORDS) {
                    out.extend_from_slice(&before.to_le_bytes());
                    // At most 65,535 entries a page; the last group's own bits are never added.
                    before = before.wrapping_add(group.iter().map(|w| w.count_ones() as u16).sum());
                }
            }
        }
    }
}

/// Bytes of a bitmap of `span` bits, and of its running counts.
fn bitmap_bytes(span: u32) -> (usize, usize) {
    let words = (span as usize).div_ceil(64);
    (words * 8, words.div_ceil(RANK_WORDS) * 2)
}

/// Where a page's ordinals stand; checked against the page's length when made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OrdinalsAt {
    count: u32,
    first: u64,
    span: u32,
    form: FormAt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FormAt {
    Dense,
    Bitmap {
        words_at: u32,
    },
    /// A [`PackedAt`], in its parts: one byte tells the forms apart, and there is room for it.
    List {
        at: u32,
        width: u8,
    },
}

impl OrdinalsAt {
    /// Reads the ordinals at byte `at` of `page`; gives the place behind them too.
    pub(super) fn parse(
        page: &[u8],
        at: usize,
        form: u8,
        width: u8,
        count: u32,
        first: u64,
        span: u32,
    ) -> Result<(Self, usize), DecodeError> {
        if span < count || first.checked_add(u64::from(span)).is_none() {
            return Err(DecodeError::new(NAME, at, "span below the number of entries, or past the last ordinal"));
        }
        if width != 0 && form != LIST {
            return Err(DecodeError::new(NAME, at, "a width without a list"));
        }
        let (form, end) = match form {
            DENSE if span == count => (FormAt::Dense, at),
            DENSE => return Err(DecodeError::new(NAME, at, "dense, but span and entries differ")),
            BITMAP => {
                let (words, ranks) = bitmap_bytes(span);
                let mut fields = Fields::at(NAME, page, at);
                fields.slice(words)?;
                fields.slice(ranks)?;
                (FormAt::Bitmap { words_at: at as u32 }, fields.position())
            }
            LIST => {
                let (list, end) = PackedAt::check(at, count as usize, width, page.len())?;
                let (at, width) = list.parts();
                (FormAt::List { at, width }, end)
            }
            _ => return Err(DecodeError::new(NAME, at, "unknown form")),
        };
        Ok((Self { count, first, span, form }, end))
    }

    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    #[inline]
    pub(super) fn is_dense(&self) -> bool {
        matches!(self.form, FormAt::Dense)
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn last(&self) -> u64 {
        self.first + u64::from(self.span) - 1
    }

    /// The index of the entry of `ordinal`.
    #[inline]
    pub(super) fn find(&self, page: &[u8], ordinal: u64) -> Option<usize> {
        let offset = ordinal.wrapping_sub(self.first);
        if offset >= u64::from(self.span) {
            return None;
        }
        // As nearly all are that anybody looks for.
        if self.is_dense() { Some(offset as usize) } else { self.find_offset(page, offset) }
    }

    /// The index of the entry of the first ordinal + `offset`, which is below the span.
    fn find_offset(&self, page: &[u8], offset: u64) -> Option<usize> {
        match &self.form {
            FormAt::Dense => Some(offset as usize),
            FormAt::Bitmap { words_at } => {
                let word_index = offset as usize / 64;
                let word = word_at(page, *words_at, word_index);
                if word >> (offset % 64) & 1 == 0 {
                    return None;
                }
                let group = word_index / RANK_WORDS;
                let rank_at = *words_at as usize + bitmap_bytes(self.span).0 + group * 2;
                let mut rank = usize::from(u16::from_le_bytes([page[rank_at], page[rank_at + 1]]));
                for before in group * RANK_WORDS..word_index {
                    rank += word_at(page, *words_at, before).count_ones() as usize;
                }
                rank += (word & ((1 << (offset % 64)) - 1)).count_ones() as usize;
                Some(rank)
            }
            FormAt::List { at, width } => {
                find_in_list(&PackedAt::of_parts(*at, *width).view(page), self.count as usize, self.span, offset)
            }
        }
    }

    pub(super) fn iter<'a>(&self, page: &'a [u8]) -> Ordinals<'a> {
        let form = match self.form {
            FormAt::Dense => OrdinalsForm::Dense,
            FormAt::List { at, width } => OrdinalsForm::List(PackedAt::of_parts(at, width).view(page)),
            FormAt::Bitmap { words_at } => {
                let words = &page[words_at as usize..words_at as usize + bitmap_bytes(self.span).0];
                OrdinalsForm::Bitmap { words, index: 0, left: word_at(words, 0, 0) }
            }
        };
        Ordinals { form, first: self.first, next: 0, count: self.count as usize }
    }
}

#[inline]
fn word_at(page: &[u8], words_at: u32, index: usize) -> u64 {
    let at = words_at as usize + index * 8;
    page.get(at..).and_then(|b| b.first_chunk::<8>()).map_or(0, |b| u64::from_le_bytes(*b))
}

/// Looks near where `offset` would be if the list's gaps were equal, in steps that double: what a list lacks mostly
/// lacks evenly, and a search from the middle would look all over the page.
fn find_in_list(list: &Packed<'_>, count: usize, span: u32, offset: u64) -> Option<usize> {
    /// So many entries lie on a line of memory, or few more.
    const STEP: usize = 16;
    let guess = (offset * count as u64 / u64::from(span)) as usize;
    let (mut low, mut high, mut step) = (0, count, STEP);
    if list.get(guess) < offset {
        low = guess + 1;
        while let Some(next) = low.checked_add(step).filter(|next| *next < count) {
            if list.get(next) >= offset {
                high = next + 1;
                break;
            }
            (low, step) = (next + 1, step * 2);
        }
    } else {
        high = guess + 1;
        while let Some(before) = high.checked_sub(step + 1) {
            if list.get(before) < offset {
                low = before + 1;
                break;
            }
            (high, step) = (before + 1, step * 2);
        }
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if list.get(middle) < offset { low = middle + 1 } else { high = middle }
    }
    (low < count && list.get(low) == offset).then_some(low)
}

/// The ordinals of a page's entries, in order.
#[derive(Debug, Clone)]
pub struct Ordinals<'a> {
    form: OrdinalsForm<'a>,
    first: u64,
    next: usize,
    count: usize,
}

#[derive(Debug, Clone)]
enum OrdinalsForm<'a> {
    Dense,
    Bitmap { words: &'a [u8], index: usize, left: u64 },
    List(Packed<'a>),
}

impl Iterator for Ordinals<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        if self.next >= self.count {
            return None;
        }
        let offset = match &mut self.form {
            OrdinalsForm::Dense => self.next as u64,
            OrdinalsForm::List(list) => list.get(self.next),
            OrdinalsForm::Bitmap { words, index, left } => {
                while *left == 0 {
                    *index += 1;
                    if *index * 8 >= words.len() {
                        return None;
                    }
                    *left = word_at(words, 0, *index);
                }
                let bit = u64::from(left.trailing_zeros());
                *left &= *left - 1;
                *index as u64 * 64 + bit
            }
        };
        self.next += 1;
        Some(self.first.wrapping_add(offset))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.count - self.next))
    }
}
