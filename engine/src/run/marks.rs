//! Ordinals on their way into a bitmap: those that a pass over a column finds, those that a run has.

use roaring::RoaringBitmap;

/// Words of a window: 65,536 ordinals, as many as a container of a bitmap has.
const WINDOW_WORDS: usize = 1024;
const WINDOW_BITS: u64 = WINDOW_WORDS as u64 * 64;

/// Collects ordinals. A window of bits takes them in; it moves with them, and what leaves it goes into the bitmap, so
/// that ordinals that come about in order cost next to nothing.
pub(crate) struct Marks {
    words: Box<[u64; WINDOW_WORDS]>,
    /// Which stretch of ordinals the window shows.
    window: u64,
    dirty: bool,
    done: RoaringBitmap,
}

impl Marks {
    pub(crate) fn new() -> Self {
        Self { words: Box::new([0; WINDOW_WORDS]), window: 0, dirty: false, done: RoaringBitmap::new() }
    }

    /// Adds an ordinal.
    #[inline]
    pub(crate) fn add(&mut self, ordinal: u64) {
        self.add_word(ordinal / 64, 1 << (ordinal % 64));
    }

    /// Adds `first + i` for each bit `i` that is set.
    pub(crate) fn add_bits(&mut self, first: u64, bits: &[u64]) {
        let (at, shift) = (first / 64, first % 64);
        for (at, &word) in (at..).zip(bits) {
            if word == 0 {
                continue;
            }
            self.add_word(at, word << shift);
            if shift > 0 {
                self.add_word(at + 1, word >> (64 - shift));
            }
        }
    }

    #[inline]
    fn add_word(&mut self, at: u64, word: u64) {
        if at / WINDOW_WORDS as u64 != self.window {
            self.move_to(at / WINDOW_WORDS as u64);
        }
        self.words[at as usize % WINDOW_WORDS] |= word;
        self.dirty |= word != 0;
    }

    fn move_to(&mut self, window: u64) {
        // Ordinals of 2^32 and more do not exist in memory.
        if self.dirty
            && let Ok(first) = u32::try_from(self.window * WINDOW_BITS)
        {
            let mut bytes = [0; WINDOW_WORDS * 8];
            for (eight, word) in bytes.chunks_exact_mut(8).zip(&*self.words) {
                eight.copy_from_slice(&word.to_le_bytes());
            }
            self.done |= RoaringBitmap::from_lsb0_bytes(first, &bytes);
        }
        self.words.fill(0);
        self.dirty = false;
        self.window = window;
    }

    /// All of them.
    pub(crate) fn into_bitmap(mut self) -> RoaringBitmap {
        self.move_to(0);
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn marks_are_what_was_added(
            stretches in prop::collection::vec((prop_oneof![0u64..300_000, (1u64 << 32) - 500..(1 << 32) + 500], prop::collection::vec(any::<u64>(), 0..5)), 0..20),
            singles in prop::collection::vec(0u64..200_000, 0..20),
        ) {
            let mut marks = Marks::new();
            let mut model = RoaringBitmap::new();
            for (first, bits) in &stretches {
                marks.add_bits(*first, bits);
                for i in (0..bits.len() * 64).filter(|i| bits[i / 64] >> (i % 64) & 1 == 1) {
                    u32::try_from(first + i as u64).into_iter().for_each(|ordinal| { model.insert(ordinal); });
                }
            }
            for &single in &singles {
                marks.add(single);
                model.insert(single as u32);
            }
            prop_assert_eq!(marks.into_bitmap(), model);
        }
    }
}
