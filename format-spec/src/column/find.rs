//! Finding cells by their values, all of a page at once.
//!
//! What is found comes as bits, one an entry: bit `i % 64` of word `i / 64`. Integers are compared as they are
//! packed, a dictionary's values are judged once each, and strings are laid end to end before any is looked at.

use super::packed::Packed;
use super::{ColumnPage, NAME, ValuesAt};
use crate::DecodeError;

/// What is sought among values. An explicit null is never found.
pub enum Sought<'t> {
    /// Every value.
    Any,
    /// The integers from `min` to `max`.
    Ints {
        /// The least of them.
        min: i64,
        /// The greatest; below `min` if there are none.
        max: i64,
        /// All other integers instead.
        outside: bool,
    },
    /// Byte strings and sixteen bytes that pass.
    Bytes(&'t mut dyn BytesTest),
}

/// A condition on bytes.
pub trait BytesTest {
    /// Whether this value passes.
    fn test(&mut self, value: &[u8]) -> bool;

    /// Whether a value that begins with these bytes may pass; `None` if beginnings tell nothing.
    fn may_begin(&self, _beginning: &[u8]) -> Option<bool> {
        None
    }

    /// Sets the bit of each value that passes. All bits are clear before.
    fn test_all(&mut self, values: &Joined<'_>, found: &mut [u64]) {
        for (i, value) in values.iter().enumerate() {
            found[i / 64] |= u64::from(self.test(value)) << (i % 64);
        }
    }
}

impl<F: FnMut(&[u8]) -> bool> BytesTest for F {
    fn test(&mut self, value: &[u8]) -> bool {
        self(value)
    }
}

/// Byte strings that stand end to end.
#[derive(Debug, Clone, Copy)]
pub struct Joined<'a> {
    data: &'a [u8],
    /// Where each starts, and where the last one ends: ascending, all within `data`.
    starts: &'a [u32],
}

impl<'a> Joined<'a> {
    /// Number of strings.
    #[inline]
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes; the strings are a stretch of them.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Where each string starts in the bytes, and where the last one ends.
    pub fn starts(&self) -> &'a [u32] {
        self.starts
    }

    /// String `i`.
    #[inline]
    pub fn get(&self, i: usize) -> &'a [u8] {
        &self.data[self.starts[i] as usize..self.starts[i + 1] as usize]
    }

    /// The strings, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        let Self { data, starts } = *self;
        starts.windows(2).map(move |ends| &data[ends[0] as usize..ends[1] as usize])
    }
}

/// Memory that is used page after page.
#[derive(Debug, Default)]
pub struct Scratch {
    data: Vec<u8>,
    starts: Vec<u32>,
    places: Vec<u32>,
    found: Vec<u64>,
    verdicts: Vec<u8>,
}

/// The verdict on a code that has no value.
const UNKNOWN: u8 = 2;

impl<B: AsRef<[u8]>> ColumnPage<B> {
    /// The bits of the entries whose values are sought.
    ///
    /// # Errors
    /// If a value's bytes are malformed.
    pub fn find<'s>(&self, sought: &mut Sought<'_>, scratch: &'s mut Scratch) -> Result<&'s [u64], DecodeError> {
        let page = self.bytes.as_ref();
        let count = self.count();
        let Scratch { data, starts, places, found, verdicts } = scratch;
        found.clear();
        found.resize(count.div_ceil(64), 0);
        match (sought, &self.places.values) {
            (Sought::Any, _) => set_all(found, count),
            (Sought::Ints { min, max, outside }, ValuesAt::Int { min: base, offsets }) => {
                let none = max < min;
                // Modulo 2^64 a range stays one wherever it is moved to.
                let (from, span) = (base.wrapping_sub(*min) as u64, max.wrapping_sub(*min) as u64);
                let within = |offset: u64| !none && offset.wrapping_add(from) <= span;
                let outside = *outside;
                mark(&offsets.view(page), found, count, |offset| within(offset) != outside);
            }
            (Sought::Ints { .. }, _) | (Sought::Bytes(_), ValuesAt::Int { .. }) => {}
            (Sought::Bytes(test), ValuesAt::Strings(strings)) => {
                let data = strings.starts(page, starts)?;
                test.test_all(&Joined { data, starts }, found);
            }
            (Sought::Bytes(test), ValuesAt::Compressed(strings)) if test.may_begin(&[]).is_some() => {
                let may_begin = strings.judge_symbols(|beginning| test.may_begin(beginning).unwrap_or(true));
                strings.each_beginning(page, data, starts, &may_begin, |i, value| {
                    found[i / 64] |= u64::from(test.test(value)) << (i % 64);
                })?;
            }
            (Sought::Bytes(test), ValuesAt::Compressed(strings)) => {
                strings.expand_all(page, data, starts, places)?;
                let end = starts.last().map_or(0, |end| *end as usize);
                test.test_all(&Joined { data: &data[..end], starts }, found);
            }
            (Sought::Bytes(test), ValuesAt::Dictionary { values, codes }) => {
                let codes = codes.view(page);
                // One verdict for each code that the width allows, so that no code needs a check of its own.
                verdicts.clear();
                verdicts.resize(1 << codes.width(), UNKNOWN);
                for (value, verdict) in verdicts.iter_mut().enumerate().take(values.len()) {
                    *verdict = u8::from(test.test(values.get(page, value)?));
                }
                let mut seen = 0;
                mark(&codes, found, count, |code| {
                    let verdict = verdicts[code as usize];
                    seen |= verdict;
                    verdict == 1
                });
                if seen >= UNKNOWN {
                    // An explicit null may have any code.
                    let damaged =
                        |entry: usize| !self.view().is_absent(entry) && codes.get(entry) >= values.len() as u64;
                    if (0..count).any(damaged) {
                        return Err(DecodeError::new(NAME, super::HEADER_BYTES, "a code has no value"));
                    }
                }
            }
            (Sought::Bytes(test), ValuesAt::Rows(_) | ValuesAt::Password { .. }) => {
                for entry in 0..count {
                    let passes = self.entry(entry)?.bytes().is_some_and(|value| test.test(value));
                    found[entry / 64] |= u64::from(passes) << (entry % 64);
                }
            }
        }
        self.clear_absent(found);
        Ok(found)
    }

    /// Whether the ordinals of the entries have no gaps.
    pub fn is_dense(&self) -> bool {
        self.places.ordinals.is_dense()
    }

    /// Takes the bits of explicit nulls away.
    fn clear_absent(&self, found: &mut [u64]) {
        let Some(at) = self.places.absent_at else { return };
        let Some(absent) = self.bytes.as_ref().get(at.get() as usize..) else { return };
        for (word, bytes) in found.iter_mut().zip(absent.chunks(8)) {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            *word &= !u64::from_le_bytes(eight);
        }
    }
}

/// Sets the first `count` bits.
fn set_all(found: &mut [u64], count: usize) {
    found.fill(u64::MAX);
    if let Some(last) = found.last_mut()
        && count % 64 > 0
    {
        *last = (1 << (count % 64)) - 1;
    }
}

/// Sets the bit of each number that passes; all bits are clear before.
#[inline]
fn mark(numbers: &Packed<'_>, found: &mut [u64], count: usize, mut passes: impl FnMut(u64) -> bool) {
    if numbers.width() == 0 {
        if count > 0 && passes(0) {
            set_all(found, count);
        }
        return;
    }
    let mut word = 0;
    numbers.for_each(count, |i, number| {
        word |= u64::from(passes(number)) << (i % 64);
        if i % 64 == 63 {
            found[i / 64] = word;
            word = 0;
        }
    });
    if count % 64 > 0 {
        found[count / 64] = word;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_are_marked_as_one_by_one(width in 0u32..=64, raw in prop::collection::vec(any::<u64>(), 0..300)) {
            let numbers: Vec<u64> = raw.iter().map(|n| if width == 0 { 0 } else { n >> (64 - width) }).collect();
            let mut area = Vec::new();
            super::super::packed::pack(&mut area, width, numbers.iter().copied());
            let (at, _) = super::super::packed::PackedAt::check(0, numbers.len(), width as u8, area.len()).unwrap();
            for test in [|n: u64| n % 3 == 0, |_| true, |_| false] {
                let mut found = vec![0; numbers.len().div_ceil(64)];
                mark(&at.view(&area), &mut found, numbers.len(), test);
                for (i, number) in numbers.iter().enumerate() {
                    prop_assert_eq!(found[i / 64] >> (i % 64) & 1 == 1, test(*number));
                }
                let ones: u32 = found.iter().map(|word| word.count_ones()).sum();
                prop_assert_eq!(ones as usize, numbers.iter().filter(|n| test(**n)).count());
            }
        }
    }
}
