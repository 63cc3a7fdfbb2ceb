//! A block of byte strings, each readable by itself.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | `n`, number of strings |
//! | 4 | 4 | `data_bytes` |
//! | 8 | 8 | `slope`: mean length in 1/65536 bytes, or less |
//! | 16 | 4 | `base`, i32: the smallest residual |
//! | 20 | 1 | `width` of a residual in bits, at most 32 |
//! | 21 | 3 | zero |
//! | 24 | … | `n + 1` packed residuals |
//! | … | `data_bytes` | the strings, end to end |
//!
//! String `i` stands at data bytes `start(i) .. start(i+1)` with
//! `start(i) = (i * slope >> 16) + base + residual(i)`: strings of one length cost no offsets at all, others
//! a few bits each.

use super::packed::{self, PackedAt};
use crate::DecodeError;
use crate::prefetch::prefetch;
use crate::run::fields::Fields;

const NAME: &str = "string block";
const HEADER_BYTES: usize = 24;

/// Appends a block of strings whose ends in `data` are `ends` (ascending, the last being `data.len()`).
pub(crate) fn encode(out: &mut Vec<u8>, data: &[u8], ends: &[u32]) {
    let n = ends.len();
    let slope = ((data.len() as u64) << 16).checked_div(n as u64).unwrap_or(0);
    let starts = || std::iter::once(0).chain(ends.iter().copied()).enumerate();
    let residual = |(i, start): (usize, u32)| i64::from(start) - line(i, slope);
    let base = starts().map(residual).min().unwrap_or(0);
    let top = starts().map(residual).max().unwrap_or(0);
    let width = packed::width_of((top - base) as u64);
    out.extend_from_slice(&(n as u32).to_le_bytes());
    out.extend_from_slice(&(data.len() as u32).to_le_bytes());
    out.extend_from_slice(&slope.to_le_bytes());
    out.extend_from_slice(&(base as i32).to_le_bytes());
    out.extend_from_slice(&[width as u8, 0, 0, 0]);
    packed::pack(out, width, starts().map(|s| (residual(s) - base) as u64));
    out.extend_from_slice(data);
}

/// Where string `i` would start if all had the mean length.
#[inline]
fn line(i: usize, slope: u64) -> i64 {
    // No more than one further than all strings.
    ((i as u64 * slope) >> 16) as i64
}

/// Where a string block stands in a page; checked against the page's length when made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StringsAt {
    n: u32,
    data_at: u32,
    data_bytes: u32,
    slope: u64,
    base: i32,
    residuals: PackedAt,
}

impl StringsAt {
    /// Reads the block's header at byte `at` of `page`; gives the place behind the block too.
    pub(crate) fn parse(page: &[u8], at: usize) -> Result<(Self, usize), DecodeError> {
        let mut fields = Fields::at(NAME, page, at);
        let n = fields.u32()?;
        let data_bytes = fields.u32()?;
        let slope = fields.u64()?;
        let base = fields.u32()? as i32;
        let width = fields.u8()?;
        fields.zeroes(3)?;
        if width > packed::PLACE_BITS_MAX {
            return Err(DecodeError::new(NAME, at + 20, "residuals have more than 32 bits"));
        }
        if slope.checked_mul(u64::from(n)).is_none_or(|end| end > u64::from(data_bytes) << 16) {
            return Err(DecodeError::new(NAME, at + 8, "the mean length is more than the strings have"));
        }
        debug_assert_eq!(fields.position(), at + HEADER_BYTES);
        let (residuals, data_at) = PackedAt::check(at + HEADER_BYTES, n as usize + 1, width, page.len())?;
        let end = data_at + data_bytes as usize;
        if end > page.len() {
            return Err(DecodeError::new(NAME, at + 4, "strings run past the page"));
        }
        Ok((Self { n, data_at: data_at as u32, data_bytes, slope, base, residuals }, end))
    }

    /// Number of strings.
    pub(crate) fn len(&self) -> usize {
        self.n as usize
    }

    /// Where string `i` starts in the data, by its residual.
    #[inline]
    fn start(&self, i: usize, residual: u64) -> i64 {
        line(i, self.slope) + i64::from(self.base) + residual as i64
    }

    /// Asks memory for where string `i` starts, as far as that is known without a look at its place, and for its place.
    #[inline]
    pub(crate) fn prefetch(&self, page: &[u8], i: usize) {
        let near = line(i, self.slope).wrapping_add(i64::from(self.data_at));
        prefetch(page, usize::try_from(near).unwrap_or(usize::MAX));
        self.residuals.prefetch(page, i);
    }

    /// Asks memory for string `i` where it is, once its place has come.
    #[inline]
    pub(crate) fn prefetch_text(&self, page: &[u8], i: usize) {
        let (residual, next) = self.residuals.pair(page, i);
        for edge in [self.start(i, residual), self.start(i + 1, next) - 1] {
            prefetch(page, usize::try_from(edge + i64::from(self.data_at)).unwrap_or(usize::MAX));
        }
    }

    /// String `i` of the page that this was read from.
    #[inline]
    pub(crate) fn get<'a>(&self, page: &'a [u8], i: usize) -> Result<&'a [u8], DecodeError> {
        if i >= self.n as usize {
            return Err(DecodeError::new(NAME, 0, "no such string"));
        }
        let (residual, next) = self.residuals.pair(page, i);
        let (start, end) = (self.start(i, residual), self.start(i + 1, next));
        if start < 0 || start > end || end > i64::from(self.data_bytes) {
            return Err(DecodeError::new(NAME, HEADER_BYTES, "a string's place is out of bounds"));
        }
        let data = self.data_at as usize;
        Ok(&page[data + start as usize..data + end as usize])
    }

    /// Puts into `starts` where each string starts in the block's data, and where the last one ends; gives the
    /// data.
    pub(crate) fn starts<'a>(&self, page: &'a [u8], starts: &mut Vec<u32>) -> Result<&'a [u8], DecodeError> {
        let data = &page[self.data_at as usize..self.data_at as usize + self.data_bytes as usize];
        let n = self.n as usize + 1;
        starts.clear();
        starts.reserve(n);
        let (mut before, mut ascend) = (0, true);
        self.residuals.view(page).for_each(n, |i, residual| {
            let start = self.start(i, residual);
            ascend &= before <= start;
            before = start;
            starts.push(start as u32);
        });
        // They ascend from 0 or above, so the last one bounds them all.
        if ascend && before <= data.len() as i64 {
            Ok(data)
        } else {
            Err(DecodeError::new(NAME, HEADER_BYTES, "a string's place is out of bounds"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(strings: &[Vec<u8>]) -> Vec<u8> {
        let (mut data, mut ends, mut out) = (Vec::new(), Vec::new(), Vec::new());
        for s in strings {
            data.extend_from_slice(s);
            ends.push(data.len() as u32);
        }
        encode(&mut out, &data, &ends);
        out
    }

    proptest! {
        #[test]
        fn strings_come_back(strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..100)) {
            let page = block(&strings);
            let (at, end) = StringsAt::parse(&page, 0).unwrap();
            prop_assert_eq!(end, page.len());
            prop_assert_eq!(at.len(), strings.len());
            for (i, s) in strings.iter().enumerate() {
                prop_assert_eq!(at.get(&page, i).unwrap(), &s[..]);
            }
            prop_assert!(at.get(&page, strings.len()).is_err());
            let mut starts = Vec::new();
            let data = at.starts(&page, &mut starts).unwrap();
            let all: Vec<_> = starts.windows(2).map(|ends| data[ends[0] as usize..ends[1] as usize].to_vec()).collect();
            prop_assert_eq!(all, strings);
        }

        #[test]
        fn any_bytes_are_strings_or_an_error(page in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((at, _)) = StringsAt::parse(&page, 0) {
                for i in 0..at.len().min(300) {
                    let _ = at.get(&page, i);
                }
                let mut starts = Vec::new();
                if at.len() < 10_000 && at.starts(&page, &mut starts).is_ok() {
                    for i in 0..at.len() {
                        prop_assert!(at.get(&page, i).is_ok());
                    }
                }
            }
        }
    }

    #[test]
    fn strings_of_one_length_cost_no_offsets() {
        let strings: Vec<Vec<u8>> = (0..1000u32).map(|i| i.to_le_bytes().repeat(4)).collect();
        assert_eq!(block(&strings).len(), HEADER_BYTES + 8 + 16_000);
    }
}
