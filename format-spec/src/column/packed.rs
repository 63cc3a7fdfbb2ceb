//! Numbers of one width, bit-packed, each readable by itself.
//!
//! Number `i` of width `w` bits (0 to 64) stands at bits `i*w .. i*w+w` of the area, bit 0 being the lowest bit
//! of the first byte. The area is `ceil(count*w / 8)` bytes, then 8 zero bytes, so that a reader may load eight
//! bytes at any number's first byte. A width of 0 means that all are 0 and the area is the 8 zero bytes.

use crate::DecodeError;
use crate::prefetch::prefetch;

/// Most bits of a number that says where something stands in a page, beside where it was expected.
pub(crate) const PLACE_BITS_MAX: u8 = 32;
/// Zero bytes behind the packed bits.
const PAD_BYTES: usize = 8;

/// How many bits the largest of the numbers needs.
pub(crate) fn width_of(max: u64) -> u32 {
    64 - max.leading_zeros()
}

/// Length of the area in bytes, padding included.
pub(crate) fn area_bytes(count: usize, width: u32) -> usize {
    (count as u64 * u64::from(width)).div_ceil(8) as usize + PAD_BYTES
}

/// Appends the area of `values`, each of which fits `width` bits.
pub(crate) fn pack(out: &mut Vec<u8>, width: u32, values: impl Iterator<Item = u64>) {
    let mut bits = Bits::default();
    values.for_each(|value| bits.push(out, value, width));
    bits.finish(out);
}

/// Appends numbers bit by bit, each of a width of its own.
#[derive(Debug, Default)]
pub(crate) struct Bits {
    pending: u128,
    filled: u32,
}

impl Bits {
    /// Appends a number that fits `width` bits.
    #[inline]
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, value: u64, width: u32) {
        debug_assert!(width_of(value) <= width);
        self.pending |= u128::from(value) << self.filled;
        self.filled += width;
        while self.filled >= 32 {
            out.extend_from_slice(&(self.pending as u32).to_le_bytes());
            self.pending >>= 32;
            self.filled -= 32;
        }
    }

    /// Appends what is left of the last byte, and the zero bytes behind an area.
    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pending.to_le_bytes()[..(self.filled as usize).div_ceil(8)]);
        out.extend_from_slice(&[0; PAD_BYTES]);
    }
}

/// The number of `width` bits that starts at bit `bit` of an area, with whatever bits follow it above; 0 past the end
/// of the area.
#[inline]
pub(crate) fn at_bit(area: &[u8], bit: u64, width: u32) -> u64 {
    let (byte, shift) = ((bit >> 3) as usize, (bit & 7) as u32);
    let Some(low) = area.get(byte..).and_then(|bytes| bytes.first_chunk::<8>()) else { return 0 };
    let mut value = u64::from_le_bytes(*low) >> shift;
    if width + shift > 64 {
        let high = area.get(byte + 8).copied().unwrap_or(0);
        value |= u64::from(high) << (64 - shift);
    }
    value
}

/// The lowest `width` bits, 0 to 64.
#[inline]
pub(crate) fn mask(width: u32) -> u64 {
    u64::MAX.checked_shr(64 - width).unwrap_or(0)
}

/// Where a packed area stands in a page; checked against the page's length when made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackedAt {
    at: u32,
    width: u8,
}

impl PackedAt {
    /// An area of `count` numbers at byte `at` of a page of `page_bytes`; gives the place behind it too.
    pub(crate) fn check(at: usize, count: usize, width: u8, page_bytes: usize) -> Result<(Self, usize), DecodeError> {
        if width > 64 {
            return Err(DecodeError::new("packed numbers", at, "width above 64 bits"));
        }
        let end = at.saturating_add(area_bytes(count, u32::from(width)));
        if end > page_bytes {
            return Err(DecodeError::new("packed numbers", at, "area runs past the page"));
        }
        Ok((Self { at: at as u32, width }, end))
    }

    /// Where it stands, and bits a number.
    pub(crate) fn parts(self) -> (u32, u8) {
        (self.at, self.width)
    }

    /// What has these [`Self::parts`].
    #[inline]
    pub(crate) fn of_parts(at: u32, width: u8) -> Self {
        Self { at, width }
    }

    /// The area as a view of the page that it was checked against.
    #[inline]
    pub(crate) fn view<'a>(&self, page: &'a [u8]) -> Packed<'a> {
        Packed::new(&page[self.at as usize..], u32::from(self.width))
    }

    /// Asks memory for number `i`.
    #[inline]
    pub(crate) fn prefetch(&self, page: &[u8], i: usize) {
        let byte = (i as u64 * u64::from(self.width)) >> 3;
        prefetch(page, self.at as usize + byte as usize);
    }

    /// Number `i` of the area.
    #[inline]
    pub(crate) fn get(&self, page: &[u8], i: usize) -> u64 {
        self.view(page).get(i)
    }

    /// Numbers `i` and `i + 1` of the area, mostly from one load.
    #[inline]
    pub(crate) fn pair(&self, page: &[u8], i: usize) -> (u64, u64) {
        let view = self.view(page);
        let bit = i as u64 * u64::from(view.width);
        let (byte, shift) = ((bit >> 3) as usize, (bit & 7) as u32);
        match view.bytes.get(byte..).and_then(|bytes| bytes.first_chunk::<8>()) {
            Some(word) if shift + 2 * view.width <= 64 => {
                let word = u64::from_le_bytes(*word) >> shift;
                (word & view.mask, (word >> view.width) & view.mask)
            }
            _ => (view.get(i), view.get(i + 1)),
        }
    }
}

/// Bit-packed numbers of one width, e.g. the dictionary codes of a page.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    bytes: &'a [u8],
    width: u32,
    mask: u64,
}

impl<'a> Packed<'a> {
    fn new(bytes: &'a [u8], width: u32) -> Self {
        Self { bytes, width, mask: mask(width) }
    }

    /// Number `i`; 0 past the end of the area.
    #[inline]
    pub fn get(&self, i: usize) -> u64 {
        at_bit(self.bytes, i as u64 * u64::from(self.width), self.width) & self.mask
    }

    /// Gives the first `count` numbers in order to `take`, several from each load.
    #[inline]
    pub fn for_each(&self, count: usize, mut take: impl FnMut(usize, u64)) {
        // A load starts at a byte, so up to 7 of its 64 bits belong to the number before.
        let a_load = if self.width == 0 { 0 } else { 57 / self.width as usize };
        if a_load < 2 {
            (0..count).for_each(|i| take(i, self.get(i)));
            return;
        }
        let mut i = 0;
        while i < count {
            let bit = i as u64 * u64::from(self.width);
            let load = self.bytes.get((bit >> 3) as usize..).and_then(|b| b.first_chunk::<8>());
            let mut word = load.map_or(0, |load| u64::from_le_bytes(*load)) >> (bit & 7);
            for _ in 0..a_load.min(count - i) {
                take(i, word & self.mask);
                word >>= self.width;
                i += 1;
            }
        }
    }

    /// Bits a number.
    pub fn width(&self) -> u32 {
        self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_of_any_width_come_back(width in 0u32..=64, raw in prop::collection::vec(any::<u64>(), 0..200)) {
            let mask = mask(width);
            let values: Vec<u64> = raw.iter().map(|v| v & mask).collect();
            let mut area = Vec::new();
            pack(&mut area, width, values.iter().copied());
            prop_assert_eq!(area.len(), area_bytes(values.len(), width));
            let (at, end) = PackedAt::check(0, values.len(), width as u8, area.len()).unwrap();
            prop_assert_eq!(end, area.len());
            for (i, value) in values.iter().enumerate() {
                prop_assert_eq!(at.get(&area, i), *value);
            }
            for (i, two) in values.windows(2).enumerate() {
                prop_assert_eq!(at.pair(&area, i), (two[0], two[1]));
            }
            let mut all = Vec::new();
            at.view(&area).for_each(values.len(), |i, value| { assert_eq!(i, all.len()); all.push(value) });
            prop_assert_eq!(all, values);
        }
    }

    #[test]
    fn an_area_past_the_page_is_refused() {
        assert!(PackedAt::check(0, 100, 8, 107).is_err());
        assert!(PackedAt::check(0, 100, 8, 108).is_ok());
        assert!(PackedAt::check(0, 1, 65, 1000).is_err());
        assert!(PackedAt::check(usize::MAX, 1, 1, 1000).is_err());
    }
}
