//! Strings compressed by a table of symbols, each readable by itself: FSST (Boncz, Neumann, Leis: FSST: Fast
//! Random Access String Compression, VLDB 2020).
//!
//! | size | field |
//! | --- | --- |
//! | 1 | `n`, number of symbols, at most 255 |
//! | 3 | zero |
//! | `n` | length of each symbol, 1 to 8 |
//! | … | the symbols, end to end |
//! | … | a string block ([`super::strings`]) of the compressed strings |
//!
//! In a compressed string a byte below 255 stands for the symbol of that number; 255 says that the byte behind
//! it stands for itself.

use std::borrow::Cow;
use std::sync::Arc;

use super::strings::{self, StringsAt};
use super::symbols::{ESCAPE, SYMBOL_BYTES_MAX, SymbolTable};
use super::{Cell, VALUE_BYTES_MAX};
use crate::DecodeError;
use crate::run::fields::Fields;

const NAME: &str = "compressed strings";
/// Less plain text than this in a page is not worth a table.
const WORTH_BYTES: usize = 8 << 10;
/// For how many pages nothing is tried after one that did not shrink.
const REST_PAGES: u32 = 15;

/// The symbols of a page of compressed strings. The pages of a run mostly have the same ones: sharing them in
/// memory keeps them near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbols {
    symbols: [[u8; SYMBOL_BYTES_MAX]; 256],
    /// 0 for a number that has no symbol.
    lengths: [u8; 256],
}

/// Where compressed strings stand in a page, and its symbols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CompressedAt {
    symbols: Arc<Symbols>,
    strings: StringsAt,
}

impl CompressedAt {
    /// Reads the symbols and the block's header at byte `at` of `page`; gives the place behind the block too.
    /// Takes `known` for its symbols if they are the same.
    pub(super) fn parse(page: &[u8], at: usize, known: Option<&Arc<Symbols>>) -> Result<(Self, usize), DecodeError> {
        let mut fields = Fields::at(NAME, page, at);
        let n = usize::from(fields.u8()?);
        fields.zeroes(3)?;
        let mut table = Symbols { symbols: [[0; SYMBOL_BYTES_MAX]; 256], lengths: [0; 256] };
        if n > usize::from(ESCAPE) {
            return Err(fields.error("more symbols than numbers"));
        }
        table.lengths[..n].copy_from_slice(fields.slice(n)?);
        for i in 0..n {
            let len = usize::from(table.lengths[i]);
            if len == 0 || len > SYMBOL_BYTES_MAX {
                return Err(fields.error("a symbol is empty or longer than 8 bytes"));
            }
            table.symbols[i][..len].copy_from_slice(fields.slice(len)?);
        }
        let (strings, end) = StringsAt::parse(page, fields.position())?;
        let symbols = known.filter(|known| ***known == table).cloned().unwrap_or_else(|| Arc::new(table));
        Ok((Self { symbols, strings }, end))
    }

    /// The page's symbols.
    pub(super) fn symbols(&self) -> &Arc<Symbols> {
        &self.symbols
    }

    /// The compressed strings.
    pub(super) fn strings(&self) -> &StringsAt {
        &self.strings
    }

    /// String `i`.
    pub(super) fn get(&self, page: &[u8], i: usize) -> Result<Vec<u8>, DecodeError> {
        let mut value = Vec::new();
        self.symbols.expand(self.strings.get(page, i)?, &mut value)?;
        Ok(value)
    }

    /// Gives all strings in order to `take`.
    pub(super) fn for_each(&self, page: &[u8], mut take: impl FnMut(usize, Cell<'_>)) -> Result<(), DecodeError> {
        let (mut value, mut result) = (Vec::new(), Ok(()));
        self.strings.for_each(page, |i, compressed| {
            if result.is_ok() {
                result = self.symbols.expand(compressed, &mut value);
                take(i, Cell::Bytes(Cow::Borrowed(&value)));
            }
        })?;
        result
    }
}

impl Symbols {
    /// Replaces what is in `out` by the plain text of `compressed`.
    fn expand(&self, compressed: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        if compressed.len() > VALUE_BYTES_MAX {
            return Err(DecodeError::new(NAME, 0, "a string is longer than any value"));
        }
        // Room for the longest symbols: each is written with all of its 8 bytes, and the next one over the rest.
        out.clear();
        out.resize(compressed.len() * SYMBOL_BYTES_MAX, 0);
        let (mut at, mut i) = (0, 0);
        while let Some(&code) = compressed.get(i) {
            i += 1;
            if code == ESCAPE {
                let literal = compressed.get(i).ok_or(DecodeError::new(NAME, 0, "a string ends in an escape"))?;
                out[at] = *literal;
                (at, i) = (at + 1, i + 1);
                continue;
            }
            let len = usize::from(self.lengths[usize::from(code)]);
            if len == 0 {
                return Err(DecodeError::new(NAME, 0, "a number has no symbol"));
            }
            out[at..at + SYMBOL_BYTES_MAX].copy_from_slice(&self.symbols[usize::from(code)]);
            at += len;
        }
        out.truncate(at);
        Ok(())
    }
}

/// Compresses the pages of a column, with symbols learned from the first of them.
#[derive(Debug, Default)]
pub(super) struct Packer {
    trained: Option<Trained>,
    rest_pages: u32,
}

#[derive(Debug)]
struct Trained {
    symbols: SymbolTable,
    /// The symbols as they stand in a page.
    table: Vec<u8>,
    /// Plain bytes a compressed byte, table included: of the first page, and of the last one.
    first_ratio: f64,
    last_ratio: f64,
}

/// A page's strings, compressed.
pub(super) struct Packed {
    table: Vec<u8>,
    data: Vec<u8>,
    ends: Vec<u32>,
}

impl Packed {
    /// Length of the encoding in bytes, but for the strings' places.
    pub(super) fn bytes(&self) -> usize {
        self.table.len() + self.data.len()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.table);
        strings::encode(out, &self.data, &self.ends);
    }
}

impl Packer {
    /// By how much a page is expected to shrink; 1 as long as nothing is known.
    pub(super) fn ratio(&self) -> f64 {
        self.trained.as_ref().map_or(1.0, |trained| trained.last_ratio)
    }

    /// Compresses a page's strings; `None` if that does not pay.
    pub(super) fn pack(&mut self, data: &[u8], ends: &[u32]) -> Option<Packed> {
        if self.rest_pages > 0 {
            self.rest_pages -= 1;
            return None;
        }
        if data.len() < WORTH_BYTES {
            return None;
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let values: Vec<&[u8]> = starts.zip(ends).map(|(start, end)| &data[start as usize..*end as usize]).collect();
        // Values of another kind than the first page's: learn again.
        self.trained.take_if(|trained| trained.last_ratio < trained.first_ratio * 0.75);
        let trained = self.trained.get_or_insert_with(|| Trained::new(&values));
        let mut packed =
            Packed { table: trained.table.clone(), data: Vec::new(), ends: Vec::with_capacity(ends.len()) };
        for value in &values {
            trained.symbols.compress(value, &mut packed.data);
            packed.ends.push(packed.data.len() as u32);
        }
        let ratio = data.len() as f64 / packed.bytes() as f64;
        if trained.first_ratio == 0.0 {
            trained.first_ratio = ratio;
        }
        trained.last_ratio = ratio;
        if ratio < 1.15 {
            self.trained = None;
            self.rest_pages = REST_PAGES;
            return None;
        }
        Some(packed)
    }
}

impl Trained {
    fn new(values: &[&[u8]]) -> Self {
        let symbols = SymbolTable::learn(values);
        Self { table: symbols.encode(), symbols, first_ratio: 0.0, last_ratio: 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends(values: &[Vec<u8>]) -> Vec<u32> {
        values
            .iter()
            .scan(0, |at, value| {
                *at += value.len() as u32;
                Some(*at)
            })
            .collect()
    }

    #[test]
    fn text_shrinks_and_comes_back_page_after_page() {
        let mut packer = Packer::default();
        for page in 0..3u32 {
            let value = |i: u32| format!("user{}.{}@example.org", i * 7919 % 9973, page).into_bytes();
            let values: Vec<_> = (0..3000).map(value).collect();
            let packed = packer.pack(&values.concat(), &ends(&values)).unwrap();
            assert!(packed.bytes() * 2 < values.concat().len());
            let mut bytes = Vec::new();
            packed.encode(&mut bytes);
            let (at, end) = CompressedAt::parse(&bytes, 0, None).unwrap();
            assert_eq!(end, bytes.len());
            for (i, value) in values.iter().enumerate() {
                assert_eq!(at.get(&bytes, i).unwrap(), *value);
            }
            let mut all = Vec::new();
            at.for_each(&bytes, |_, cell| all.push(cell.bytes().unwrap_or_default().to_vec())).unwrap();
            assert_eq!(all, values);
        }
    }

    #[test]
    fn noise_is_left_alone() {
        let noise: Vec<u8> = (0..40_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut packer = Packer::default();
        assert!(packer.pack(&noise, &(1..=400).map(|i| i * 100).collect::<Vec<_>>()).is_none());
        assert_eq!(packer.ratio(), 1.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_strings_come_back(mut values in prop::collection::vec(prop_oneof!["[a-c]{0,30}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..9)], 1..80)) {
            // Long enough to be worth it, with bytes that no symbol has.
            values.extend((0..400u32).map(|i| format!("abcabc {i}").repeat(3).into_bytes()));
            let mut packer = Packer::default();
            if let Some(packed) = packer.pack(&values.concat(), &ends(&values)) {
                let mut bytes = Vec::new();
                packed.encode(&mut bytes);
                let (at, _) = CompressedAt::parse(&bytes, 0, None).unwrap();
                for (i, value) in values.iter().enumerate() {
                    prop_assert_eq!(&at.get(&bytes, i).unwrap(), value);
                }
            }
        }

        #[test]
        fn any_bytes_are_strings_or_an_error(mut page in prop::collection::vec(any::<u8>(), 40..300), n in 0u8..4) {
            page[..4].copy_from_slice(&[n, 0, 0, 0]);
            page[4..4 + usize::from(n)].fill(2);
            let block = 4 + usize::from(n) * 3;
            page[block..block + 4].copy_from_slice(&3u32.to_le_bytes());
            page[block + 20..block + 24].copy_from_slice(&[5, 0, 0, 0]);
            if let Ok((at, _)) = CompressedAt::parse(&page, 0, None) {
                for i in 0..4 {
                    let _ = at.get(&page, i);
                }
            }
        }
    }
}
