//! A filter over keys: tells, from a few bits a key, that a key is certainly not there.
//!
//! A split-block Bloom filter as in Apache Parquet's specification: blocks of 256 bits, in which a key sets one
//! bit in each of the eight 32-bit words. The hash is XXH3-64 of the key's first `filter_prefix` bytes; its upper
//! half picks the block, its lower half the bits.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | number of blocks, at least 1 |
//! | 4 | 4 | zero |
//! | 8 | 32 a block | eight words, little-endian |

use crate::DecodeError;
use crate::run::fields::Fields;

const NAME: &str = "filter page";
const HEADER_BYTES: usize = 8;
const BLOCK_BYTES: usize = 32;
/// Keys for each block of 256 bits: about 1 in 100 absent keys passes.
const KEYS_A_BLOCK: usize = 24;
/// Multipliers that spread a hash over the words of a block; from the Parquet specification.
const SALT: [u32; 8] = [0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31];

/// The hash under which a key is in a filter.
pub fn filter_hash(key_prefix: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key_prefix)
}

/// Collects hashes and writes them as one filter page. Used again for the next page.
#[derive(Debug, Default)]
pub struct FilterBuilder {
    hashes: Vec<u64>,
}

impl FilterBuilder {
    /// Hashes at which a page has its target size.
    pub const TARGET_KEYS: usize = super::super::column::PAGE_TARGET_BYTES / BLOCK_BYTES * KEYS_A_BLOCK;

    /// Adds a key's hash; the same one twice in a row counts once.
    pub fn add(&mut self, hash: u64) {
        if self.hashes.last() != Some(&hash) {
            self.hashes.push(hash);
        }
    }

    /// Number of hashes.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there is no hash.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Appends the page's plain text and starts the next page.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let blocks = self.hashes.len().div_ceil(KEYS_A_BLOCK).max(1);
        out.extend_from_slice(&(blocks as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let start = out.len();
        out.resize(start + blocks * BLOCK_BYTES, 0);
        for &hash in &self.hashes {
            let at = start + block_of(hash, blocks) * BLOCK_BYTES;
            for (word, bit) in bits_of(hash).into_iter().enumerate() {
                out[at + word * 4 + bit as usize / 8] |= 1 << (bit % 8);
            }
        }
        self.hashes.clear();
    }
}

fn block_of(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

fn bits_of(hash: u64) -> [u32; 8] {
    SALT.map(|salt| (hash as u32).wrapping_mul(salt) >> 27)
}

/// An open filter page.
#[derive(Debug, Clone, Copy)]
pub struct FilterPage<B = Vec<u8>> {
    bytes: B,
    blocks: u32,
}

impl<B: AsRef<[u8]>> FilterPage<B> {
    /// Reads the header of a page's plain text.
    ///
    /// # Errors
    /// If the page has no block, or its length is not that of its blocks.
    pub fn open(bytes: B) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(NAME, bytes.as_ref());
        let blocks = fields.u32()?;
        fields.zeroes(4)?;
        if blocks == 0 || fields.remaining() as u64 != u64::from(blocks) * BLOCK_BYTES as u64 {
            return Err(DecodeError::new(NAME, 0, "length is not that of the blocks"));
        }
        Ok(Self { blocks, bytes })
    }

    /// The page's plain text.
    pub fn bytes(&self) -> &B {
        &self.bytes
    }

    /// Whether a key of this [`filter_hash`] may be there; false is certain.
    #[inline]
    pub fn may_hold(&self, hash: u64) -> bool {
        let at = HEADER_BYTES + block_of(hash, self.blocks as usize) * BLOCK_BYTES;
        let Some(block) = self.bytes.as_ref().get(at..at + BLOCK_BYTES) else { return true };
        bits_of(hash)
            .into_iter()
            .enumerate()
            .all(|(word, bit)| block[word * 4 + bit as usize / 8] >> (bit % 8) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_there_always_pass_and_others_seldom() {
        let mut builder = FilterBuilder::default();
        let mut page = Vec::new();
        (0..10_000u32).for_each(|i| builder.add(filter_hash(&i.to_be_bytes())));
        builder.finish(&mut page);
        assert!(builder.is_empty());
        let filter = FilterPage::open(page).unwrap();
        assert!((0..10_000u32).all(|i| filter.may_hold(filter_hash(&i.to_be_bytes()))));
        let passed = (10_000..110_000u32).filter(|i| filter.may_hold(filter_hash(&i.to_be_bytes()))).count();
        assert!(passed < 2_500, "{passed} of 100,000 absent keys passed");
    }

    #[test]
    fn an_empty_filter_holds_nothing_and_a_short_page_is_refused() {
        let mut page = Vec::new();
        FilterBuilder::default().finish(&mut page);
        assert!(!FilterPage::open(&page[..]).unwrap().may_hold(7));
        assert!(FilterPage::open(&page[..page.len() - 1]).is_err());
        assert!(FilterPage::open(&[0; 8][..]).is_err());
    }
}
