//! Learning the symbols of compressed strings, and compressing with them: the writer's half of FSST (Boncz,
//! Neumann, Leis, VLDB 2020, section 4). The choice of symbols is not part of the format; any will do.

use std::cmp::Reverse;
use std::collections::HashMap;

/// Most symbols of a table; the number behind them is the escape.
const SYMBOLS_MAX: usize = 255;
pub(super) const ESCAPE: u8 = 255;
pub(super) const SYMBOL_BYTES_MAX: usize = 8;
/// Plain bytes that symbols are learned from.
const SAMPLE_BYTES: usize = 16 << 10;
/// Rounds of learning: each can double the length of symbols.
const ROUNDS: usize = 5;
/// What stands for a byte without a symbol among the counted units: this and the byte.
const LITERALS: usize = 256;
const UNITS: usize = LITERALS + 256;
/// How much more a single byte's symbol is worth than what it saves: it makes longer ones possible.
const SINGLE_BOOST: u64 = 8;

/// Up to 8 bytes, the first one lowest. None of two and more has a zero: what lies behind a value's end is read as zero,
/// and so matches no symbol that is longer than the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Symbol {
    word: u64,
    len: usize,
}

impl Symbol {
    fn byte(byte: u8) -> Self {
        Self { word: u64::from(byte), len: 1 }
    }

    fn then(self, next: Self) -> Option<Self> {
        let len = self.len + next.len;
        // Symbols of a single byte are the only ones that may be zero.
        (len <= SYMBOL_BYTES_MAX && self.word != 0 && next.word != 0)
            .then(|| Self { word: self.word | next.word << (self.len * 8), len })
    }

    fn mask(self) -> u64 {
        u64::MAX >> (64 - self.len * 8)
    }
}

/// A table of symbols that strings are compressed with.
#[derive(Debug)]
pub(super) struct SymbolTable {
    /// By their numbers.
    symbols: Vec<Symbol>,
    /// Those of three bytes and more by the hash of their first three, then the longest first: the first that matches
    /// is the one to take.
    longer: Vec<Longer>,
    /// Where those of each hash start.
    starts: Vec<u16>,
    /// What else matches, for each two bytes, read as a little-endian number.
    shorter: Vec<Match>,
}

/// A symbol of three bytes and more.
#[derive(Debug, Clone, Copy)]
struct Longer {
    word: u64,
    mask: u64,
    found: Match,
}

/// What a value goes on with: a symbol, or a byte that has none.
#[derive(Debug, Clone, Copy)]
struct Match {
    code: u8,
    len: u8,
}

impl Match {
    const LITERAL: Self = Self { code: ESCAPE, len: 1 };

    fn new(code: usize, symbol: &Symbol) -> Self {
        Self { code: code as u8, len: symbol.len as u8 }
    }
}

/// Two bytes in a number.
const PAIRS: usize = 1 << 16;
/// Hashes of three bytes.
const HASHES: usize = 1 << 12;

fn hash(word: u64) -> usize {
    // Multiplicative: the upper bits are mixed best.
    ((word as u32 & 0xff_ffff).wrapping_mul(0x9e37_79b1) >> 20) as usize
}

impl SymbolTable {
    /// Learns symbols from some of these values.
    pub(super) fn learn(values: &[&[u8]]) -> Self {
        let sample = sample(values);
        let mut table = Self::of(Vec::new());
        let mut singles = vec![0u32; UNITS];
        let mut pairs = vec![0u32; UNITS * UNITS];
        for round in 1..=ROUNDS {
            let mut seen = Vec::new();
            for value in &sample {
                table.count(value, &mut singles, &mut pairs, &mut seen);
            }
            let mut gains: HashMap<Symbol, u64> = HashMap::new();
            for (unit, count) in singles.iter().enumerate().filter(|(_, count)| **count > 0) {
                let symbol = table.unit(unit);
                let boost = if symbol.len == 1 { SINGLE_BOOST } else { 1 };
                *gains.entry(symbol).or_default() += u64::from(*count) * symbol.len as u64 * boost;
            }
            // The last round only drops what was not used.
            for &pair in seen.iter().filter(|_| round < ROUNDS) {
                let (first, second) = (table.unit(pair / UNITS), table.unit(pair % UNITS));
                if let Some(symbol) = first.then(second).filter(|_| pairs[pair] > 1) {
                    *gains.entry(symbol).or_default() += u64::from(pairs[pair]) * symbol.len as u64;
                }
            }
            seen.iter().for_each(|&pair| pairs[pair] = 0);
            singles.fill(0);
            let mut best: Vec<_> = gains.into_iter().map(|(symbol, gain)| (gain, symbol)).collect();
            best.sort_unstable_by(|a, b| b.cmp(a));
            table = Self::of(best.into_iter().take(SYMBOLS_MAX).map(|(_, symbol)| symbol).collect());
        }
        table
    }

    fn of(mut symbols: Vec<Symbol>) -> Self {
        symbols.sort_unstable();
        let numbered = || symbols.iter().enumerate();
        let mut shorter = vec![Match::LITERAL; PAIRS];
        for (code, symbol) in numbered().filter(|(_, symbol)| symbol.len == 1) {
            shorter.iter_mut().skip(symbol.word as usize).step_by(256).for_each(|at| *at = Match::new(code, symbol));
        }
        for (code, symbol) in numbered().filter(|(_, symbol)| symbol.len == 2) {
            shorter[symbol.word as usize] = Match::new(code, symbol);
        }
        let longer = numbered().filter(|(_, symbol)| symbol.len > 2);
        let mut longer: Vec<Longer> = longer
            .map(|(code, symbol)| Longer { word: symbol.word, mask: symbol.mask(), found: Match::new(code, symbol) })
            .collect();
        longer.sort_by_key(|longer| (hash(longer.word), Reverse(longer.found.len)));
        let mut starts = Vec::with_capacity(HASHES + 1);
        for (at, longer) in longer.iter().enumerate() {
            starts.resize(starts.len().max(hash(longer.word) + 1), at as u16);
        }
        starts.resize(HASHES + 1, longer.len() as u16);
        Self { symbols, longer, starts, shorter }
    }

    /// The symbols' lengths and bytes as a page holds them, behind their number and three zero bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.symbols.len() as u8, 0, 0, 0];
        out.extend(self.symbols.iter().map(|symbol| symbol.len as u8));
        for symbol in &self.symbols {
            out.extend_from_slice(&symbol.word.to_le_bytes()[..symbol.len]);
        }
        out
    }

    /// Writes the compressed `value` to `out`, which has room for twice its length; gives what that takes.
    #[inline]
    pub(super) fn compress(&self, value: &[u8], out: &mut [u8]) -> usize {
        let mut written = 0;
        self.each_match(value, |found, byte| {
            // The byte counts where it is a literal; else the next symbol is written over it.
            out[written..written + 2].copy_from_slice(&[found.code, byte]);
            written += 1 + usize::from(found.code == ESCAPE);
        });
        written
    }

    /// Shows what `value` consists of: each match, and the byte that it begins with.
    #[inline]
    fn each_match(&self, value: &[u8], mut show: impl FnMut(Match, u8)) {
        // The last eight bytes, of which those are shifted out that are done; of a shorter value what there is.
        let tail_at = value.len().saturating_sub(8);
        let mut tail = [0; 8];
        tail[..value.len() - tail_at].copy_from_slice(&value[tail_at..]);
        let tail = u64::from_le_bytes(tail);
        let mut at = 0;
        while at < value.len() {
            let word = match value.get(at..).and_then(|rest| rest.first_chunk()) {
                Some(word) => u64::from_le_bytes(*word),
                None => tail >> (8 * (at - tail_at)),
            };
            let found = self.longest(word);
            show(found, word as u8);
            at += usize::from(found.len);
        }
    }

    /// The longest symbol that eight bytes begin with.
    #[inline]
    fn longest(&self, word: u64) -> Match {
        let hash = hash(word);
        let longer = &self.longer[usize::from(self.starts[hash])..usize::from(self.starts[hash + 1])];
        let longer = longer.iter().find(|longer| word & longer.mask == longer.word);
        longer.map_or(self.shorter[word as usize % PAIRS], |longer| longer.found)
    }

    /// What a counted unit stands for.
    fn unit(&self, unit: usize) -> Symbol {
        if unit >= LITERALS { Symbol::byte((unit - LITERALS) as u8) } else { self.symbols[unit] }
    }

    /// Counts the units of a value and their pairs; `seen` are the pairs counted.
    fn count(&self, value: &[u8], singles: &mut [u32], pairs: &mut [u32], seen: &mut Vec<usize>) {
        let mut before = None;
        self.each_match(value, |found, byte| {
            let unit = if found.code == ESCAPE { LITERALS + usize::from(byte) } else { usize::from(found.code) };
            singles[unit] += 1;
            if let Some(before) = before {
                let pair = before * UNITS + unit;
                if pairs[pair] == 0 {
                    seen.push(pair);
                }
                pairs[pair] += 1;
            }
            before = Some(unit);
        });
    }
}

/// Values spread over all of them, of some [`SAMPLE_BYTES`] together.
fn sample<'v>(values: &[&'v [u8]]) -> Vec<&'v [u8]> {
    let total: usize = values.iter().map(|value| value.len()).sum();
    let step = total.div_ceil(SAMPLE_BYTES).max(1);
    let mut left = SAMPLE_BYTES;
    let mut sample = Vec::new();
    for value in values.iter().step_by(step) {
        let taken = &value[..value.len().min(left)];
        left -= taken.len();
        sample.push(taken);
    }
    sample
}
