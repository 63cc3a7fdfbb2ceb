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
//!
//! The pages of a run mostly have the same symbols, which would take a fifteenth of each: one page of sixteen has them,
//! and the others *refer* to it.
//!
//! | size | field |
//! | --- | --- |
//! | 4 | the page of the section, before this one, that has the symbols |
//! | 4 | zero |
//! | 8 | XXH3-64 of that table, from `n` to the last symbol |
//! | … | a string block of the compressed strings |

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::PAGE_BYTES_MAX;
use super::strings::{self, StringsAt};
use super::symbols::{ESCAPE, SYMBOL_BYTES_MAX, SymbolTable};
use crate::DecodeError;
use crate::run::fields::Fields;

const NAME: &str = "compressed strings";
/// Less plain text than this in a page is not worth a table.
const WORTH_BYTES: usize = 8 << 10;
/// For how many pages nothing is tried after one that did not shrink.
const REST_PAGES: u32 = 15;
/// How many pages follow one that has symbols and refer to it: what one damaged page takes with it.
const REFERRING_PAGES: u32 = 15;
/// Length of a reference to symbols in bytes.
const REFERENCE_BYTES: usize = 16;

/// The symbols of a page of compressed strings. The pages of a run mostly have the same ones: sharing them in
/// memory keeps them near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbols {
    symbols: [[u8; SYMBOL_BYTES_MAX]; 256],
    /// 0 for a number that has no symbol.
    lengths: [u8; 256],
    /// Of the table as it stands in a page.
    hash: u64,
}

/// Which symbols a page needs that it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SymbolsPlace {
    /// The page of the section that has them.
    pub page: u32,
    hash: u64,
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
        let mut table = Symbols { symbols: [[0; SYMBOL_BYTES_MAX]; 256], lengths: [0; 256], hash: 0 };
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
        table.hash = xxh3_64(&page[at..fields.position()]);
        let (strings, end) = StringsAt::parse(page, fields.position())?;
        let symbols = known.filter(|known| ***known == table).cloned().unwrap_or_else(|| Arc::new(table));
        Ok((Self { symbols, strings }, end))
    }

    /// Reads a reference to symbols and the block's header at byte `at` of `page`; gives the place behind the block
    /// too. The symbols are `known`, or what `find` finds.
    pub(super) fn parse_referring(
        page: &[u8],
        at: usize,
        known: Option<&Arc<Symbols>>,
        find: impl FnOnce(SymbolsPlace) -> Option<Arc<Symbols>>,
    ) -> Result<(Self, usize), DecodeError> {
        let mut fields = Fields::at(NAME, page, at);
        let number = fields.u32()?;
        fields.zeroes(4)?;
        let place = SymbolsPlace { page: number, hash: fields.u64()? };
        let (strings, end) = StringsAt::parse(page, fields.position())?;
        let is_it = |symbols: &&Arc<Symbols>| symbols.hash == place.hash;
        let symbols = known.filter(is_it).cloned().or_else(|| find(place).filter(|found| is_it(&found)));
        match symbols {
            Some(symbols) => Ok((Self { symbols, strings }, end)),
            None => Err(DecodeError::new(NAME, at, "the symbols are not in the page that is named")),
        }
    }

    /// The page's symbols.
    pub(super) fn symbols(&self) -> &Arc<Symbols> {
        &self.symbols
    }

    /// The compressed strings.
    pub(super) fn strings(&self) -> &StringsAt {
        &self.strings
    }

    /// String `i`, in `out` in place of what is there.
    #[inline]
    pub(super) fn get<'o>(&self, page: &[u8], i: usize, out: &'o mut Vec<u8>) -> Result<&'o [u8], DecodeError> {
        let compressed = self.strings.get(page, i)?;
        make_room(compressed, out);
        let end = self.symbols.expand(compressed, out, 0)?;
        Ok(&out[..end])
    }

    /// For each number whether a string may begin with what it stands for.
    pub(super) fn judge_symbols(&self, may_begin: impl Fn(&[u8]) -> bool) -> [bool; 256] {
        let mut verdicts = [true; 256];
        verdicts.iter_mut().zip(self.symbols.symbols()).for_each(|(verdict, symbol)| *verdict = may_begin(symbol));
        // What a literal begins is not known yet.
        verdicts[usize::from(ESCAPE)] = true;
        verdicts
    }

    /// Gives those strings whose first number `may_begin` lets pass to `test`, each expanded into `out`, with its
    /// place in order.
    pub(super) fn each_beginning(
        &self,
        page: &[u8],
        out: &mut Vec<u8>,
        starts: &mut Vec<u32>,
        may_begin: &[bool; 256],
        mut test: impl FnMut(usize, &[u8]),
    ) -> Result<(), DecodeError> {
        let data = self.strings.starts(page, starts)?;
        for (i, ends) in starts.windows(2).enumerate() {
            let compressed = &data[ends[0] as usize..ends[1] as usize];
            if compressed.first().is_none_or(|code| may_begin[usize::from(*code)]) {
                make_room(compressed, out);
                let end = self.symbols.expand(compressed, out, 0)?;
                test(i, &out[..end]);
            }
        }
        Ok(())
    }

    /// Puts all strings end to end at the start of `out`, and into `starts` where each starts and the last one ends.
    /// `places` is for use on the way.
    pub(super) fn expand_all(
        &self,
        page: &[u8],
        out: &mut Vec<u8>,
        starts: &mut Vec<u32>,
        places: &mut Vec<u32>,
    ) -> Result<(), DecodeError> {
        let data = self.strings.starts(page, starts)?;
        let first = starts.first().map_or(0, |first| *first as usize);
        let last = starts.last().map_or(0, |last| *last as usize);
        let compressed = &data[first..last];
        make_room(compressed, out);
        if places.len() <= compressed.len() {
            places.resize(compressed.len() + 1, 0);
        }
        self.symbols.expand_noting(compressed, out, places)?;
        for start in starts {
            *start = places[*start as usize - first];
            if *start == INSIDE {
                return Err(DecodeError::new(NAME, 0, "a string ends in an escape"));
            }
        }
        Ok(())
    }
}

/// The place of a byte that no string can start with: the one behind an escape. No plain text is as long.
const INSIDE: u32 = u32::MAX;

/// Lengthens `out` so that [`Symbols::expand`] has room for this, which is no longer than a page: each symbol is
/// written with all of its 8 bytes, and the next one over the rest.
#[inline]
fn make_room(compressed: &[u8], out: &mut Vec<u8>) {
    debug_assert!(compressed.len() <= PAGE_BYTES_MAX);
    if out.len() < compressed.len() * SYMBOL_BYTES_MAX {
        out.resize(compressed.len() * SYMBOL_BYTES_MAX, 0);
    }
}

impl Symbols {
    /// Writes the plain text of `compressed` to `out` from `at` on; gives its end. There must be room for 8 bytes a
    /// compressed one.
    #[inline]
    fn expand(&self, compressed: &[u8], out: &mut [u8], mut at: usize) -> Result<usize, DecodeError> {
        let mut codes = compressed.iter();
        while let Some(&code) = codes.next() {
            if code == ESCAPE {
                out[at] = *codes.next().ok_or(DecodeError::new(NAME, 0, "a string ends in an escape"))?;
                at += 1;
                continue;
            }
            let len = usize::from(self.lengths[usize::from(code)]);
            if len == 0 {
                return Err(DecodeError::new(NAME, 0, "a number has no symbol"));
            }
            out[at..at + SYMBOL_BYTES_MAX].copy_from_slice(&self.symbols[usize::from(code)]);
            at += len;
        }
        Ok(at)
    }

    /// The same for many strings end to end, from the start of `out`. Notes in `places` where what each compressed
    /// byte stands for starts, and where all ends: without regard to the strings' ends, which come too irregularly for
    /// a processor to foresee.
    fn expand_noting(&self, compressed: &[u8], out: &mut [u8], places: &mut [u32]) -> Result<(), DecodeError> {
        let (mut at, mut shortest) = (0, u8::MAX);
        let mut codes = compressed.iter().zip(&mut *places);
        while let Some((&code, place)) = codes.next() {
            *place = at as u32;
            let Some(room) = out.get_mut(at..).and_then(|out| out.first_chunk_mut::<SYMBOL_BYTES_MAX>()) else {
                return Err(DecodeError::new(NAME, 0, "strings are longer than their room"));
            };
            if code == ESCAPE {
                let (literal, place) = codes.next().ok_or(DecodeError::new(NAME, 0, "a string ends in an escape"))?;
                room[0] = *literal;
                *place = INSIDE;
                at += 1;
                continue;
            }
            *room = self.symbols[usize::from(code)];
            let len = self.lengths[usize::from(code)];
            shortest = shortest.min(len);
            at += usize::from(len);
        }
        places[compressed.len()] = at as u32;
        if shortest == 0 { Err(DecodeError::new(NAME, 0, "a number has no symbol")) } else { Ok(()) }
    }

    /// What numbers stand for, in order; nothing for one that has no symbol.
    fn symbols(&self) -> impl Iterator<Item = &[u8]> {
        self.symbols.iter().zip(&self.lengths).map(|(symbol, len)| &symbol[..usize::from(*len)])
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
    /// The page that has them, of the last.
    page: Option<u32>,
    /// Plain bytes a compressed byte, table included: of the first page, and of the last one.
    first_ratio: f64,
    last_ratio: f64,
    /// Of the last one, without the table.
    data_ratio: f64,
}

/// A page's strings, compressed.
pub(super) struct Packed {
    /// The symbols, or where they are.
    head: Vec<u8>,
    refers: bool,
    data: Vec<u8>,
    ends: Vec<u32>,
}

impl Packed {
    /// Length of the encoding in bytes, but for the strings' places.
    pub(super) fn bytes(&self) -> usize {
        self.head.len() + self.data.len()
    }
}

impl Packer {
    /// About how long so many bytes of strings on page `page` become.
    pub(super) fn estimate(&self, plain_bytes: usize, page: u32) -> usize {
        let Some(trained) = &self.trained else { return plain_bytes };
        let head_bytes = if trained.referred(page).is_some() { REFERENCE_BYTES } else { trained.table.len() };
        head_bytes + (plain_bytes as f64 / trained.data_ratio) as usize
    }

    /// Compresses the strings of page `page` of a section; `None` if that does not pay.
    pub(super) fn pack(&mut self, data: &[u8], ends: &[u32], page: u32) -> Option<Packed> {
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
        let mut packed = Packed {
            head: trained.head(page),
            refers: trained.referred(page).is_some(),
            data: vec![0; 2 * data.len()],
            ends: Vec::with_capacity(ends.len()),
        };
        let mut end = 0;
        for value in &values {
            end += trained.symbols.compress(value, &mut packed.data[end..]);
            packed.ends.push(end as u32);
        }
        packed.data.truncate(end);
        let plain_bytes = data.len() as f64;
        let ratio = plain_bytes / (trained.table.len() + packed.data.len()) as f64;
        if trained.first_ratio == 0.0 {
            trained.first_ratio = ratio;
        }
        trained.last_ratio = ratio;
        trained.data_ratio = plain_bytes / packed.data.len().max(1) as f64;
        if plain_bytes < 1.15 * packed.bytes() as f64 {
            self.trained = None;
            self.rest_pages = REST_PAGES;
            return None;
        }
        Some(packed)
    }

    /// Appends what was packed for page `page`, and gives the number of the encoding.
    pub(super) fn encode(&mut self, packed: &Packed, page: u32, out: &mut Vec<u8>) -> u8 {
        out.extend_from_slice(&packed.head);
        strings::encode(out, &packed.data, &packed.ends);
        if packed.refers {
            return 7;
        }
        if let Some(trained) = &mut self.trained {
            trained.page = Some(page);
        }
        6
    }
}

impl Trained {
    fn new(values: &[&[u8]]) -> Self {
        let symbols = SymbolTable::learn(values);
        Self { table: symbols.encode(), symbols, page: None, first_ratio: 0.0, last_ratio: 1.0, data_ratio: 1.0 }
    }

    /// The page to which page `page` refers; `None` if it has the symbols itself.
    fn referred(&self, page: u32) -> Option<u32> {
        self.page.filter(|before| (1..=REFERRING_PAGES).contains(&page.wrapping_sub(*before)))
    }

    /// What stands in front of the strings of page `page`.
    fn head(&self, page: u32) -> Vec<u8> {
        let Some(before) = self.referred(page) else { return self.table.clone() };
        let mut head = Vec::with_capacity(REFERENCE_BYTES);
        head.extend_from_slice(&before.to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&xxh3_64(&self.table).to_le_bytes());
        head
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
        let (mut packer, mut known) = (Packer::default(), None);
        for page in 0..20u32 {
            let value = |i: u32| format!("user{}.{}@example.org", (i + page * 3) * 7919 % 9973, i % 3).into_bytes();
            let values: Vec<_> = (0..3000).map(value).collect();
            let packed = packer.pack(&values.concat(), &ends(&values), page).unwrap();
            assert!(packed.bytes() * 2 < values.concat().len());
            let mut bytes = Vec::new();
            let encoding = packer.encode(&packed, page, &mut bytes);
            assert_eq!(encoding, if page % 16 == 0 { 6 } else { 7 }, "page {page}");
            let (at, end) = match encoding {
                6 => CompressedAt::parse(&bytes, 0, None).unwrap(),
                _ => {
                    assert!(CompressedAt::parse_referring(&bytes, 0, None, |_| None).is_err());
                    let find = |place: SymbolsPlace| {
                        assert_eq!(place.page, page / 16 * 16);
                        known.clone()
                    };
                    CompressedAt::parse_referring(&bytes, 0, None, find).unwrap()
                }
            };
            known = Some(at.symbols().clone());
            assert_eq!(end, bytes.len());
            let (mut out, mut starts) = (Vec::new(), Vec::new());
            for (i, value) in values.iter().enumerate() {
                assert_eq!(at.get(&bytes, i, &mut out).unwrap(), *value);
            }
            at.expand_all(&bytes, &mut out, &mut starts, &mut Vec::new()).unwrap();
            let all: Vec<_> = starts.windows(2).map(|ends| out[ends[0] as usize..ends[1] as usize].to_vec()).collect();
            assert_eq!(all, values);
        }
    }

    #[test]
    fn noise_is_left_alone() {
        let noise: Vec<u8> = (0..40_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut packer = Packer::default();
        assert!(packer.pack(&noise, &(1..=400).map(|i| i * 100).collect::<Vec<_>>(), 0).is_none());
        assert_eq!(packer.estimate(1000, 1), 1000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_strings_come_back(mut values in prop::collection::vec(prop_oneof!["[a-c]{0,30}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..9)], 1..80)) {
            // Long enough to be worth it, with bytes that no symbol has.
            values.extend((0..400u32).map(|i| format!("abcabc {i}").repeat(3).into_bytes()));
            let mut packer = Packer::default();
            if let Some(packed) = packer.pack(&values.concat(), &ends(&values), 0) {
                let mut bytes = Vec::new();
                packer.encode(&packed, 0, &mut bytes);
                let (at, _) = CompressedAt::parse(&bytes, 0, None).unwrap();
                let (mut out, mut starts) = (Vec::new(), Vec::new());
                for (i, value) in values.iter().enumerate() {
                    prop_assert_eq!(at.get(&bytes, i, &mut out).unwrap(), &value[..]);
                }
                at.expand_all(&bytes, &mut out, &mut starts, &mut Vec::new()).unwrap();
                for (value, ends) in values.iter().zip(starts.windows(2)) {
                    prop_assert_eq!(&out[ends[0] as usize..ends[1] as usize], &value[..]);
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
                let (mut out, mut starts) = (Vec::new(), Vec::new());
                for i in 0..4 {
                    let _ = at.get(&page, i, &mut out);
                }
                let all = at.expand_all(&page, &mut out, &mut starts, &mut Vec::new());
                let one_by_one = (0..at.strings().len()).try_for_each(|i| at.get(&page, i, &mut Vec::new()).map(drop));
                prop_assert!(one_by_one.is_err() || all.is_ok());
            }
        }
    }
}
