//! Learning the symbols of compressed strings, and compressing with them: the writer's half of FSST (Boncz,
//! Neumann, Leis, VLDB 2020, section 4). The choice of symbols is not part of the format; any will do.

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

/// Up to 8 bytes, the first one lowest.
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
        (len <= SYMBOL_BYTES_MAX).then(|| Self { word: self.word | next.word << (self.len * 8), len })
    }

    fn mask(self) -> u64 {
        u64::MAX >> (64 - self.len * 8)
    }
}

/// A table of symbols that strings are compressed with.
#[derive(Debug)]
pub(super) struct SymbolTable {
    /// Those of two bytes and more by their first two, then the longest first: the first that matches is the one to
    /// take. Behind them those of one byte.
    symbols: Vec<Symbol>,
    /// Where the symbols of each two bytes start, read as a little-endian number.
    starts: Vec<u16>,
    /// The number of each byte's own symbol; [`ESCAPE`] if it has none.
    singles: [u8; 256],
}

/// Two bytes in a number.
const PAIRS: usize = 1 << 16;

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
        let pair = |symbol: &Symbol| if symbol.len == 1 { PAIRS } else { symbol.word as usize % PAIRS };
        symbols.sort_unstable_by_key(|symbol| (pair(symbol), usize::MAX - symbol.len, symbol.word));
        let mut starts = Vec::with_capacity(PAIRS + 1);
        for (code, symbol) in symbols.iter().enumerate() {
            starts.resize(starts.len().max(pair(symbol) + 1), code as u16);
        }
        starts.resize(PAIRS + 1, symbols.len() as u16);
        let mut singles = [ESCAPE; 256];
        for (code, symbol) in symbols.iter().enumerate().filter(|(_, symbol)| symbol.len == 1) {
            singles[symbol.word as usize] = code as u8;
        }
        Self { symbols, starts, singles }
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

    /// Appends the compressed `value`.
    pub(super) fn compress(&self, value: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        while at < value.len() {
            match self.longest(value, at) {
                Some(code) => {
                    out.push(code as u8);
                    at += self.symbols[code].len;
                }
                None => {
                    out.extend_from_slice(&[ESCAPE, value[at]]);
                    at += 1;
                }
            }
        }
    }

    /// The longest symbol that `value` goes on with.
    #[inline]
    fn longest(&self, value: &[u8], at: usize) -> Option<usize> {
        let rest = &value[at..];
        let word = match rest.first_chunk::<8>() {
            Some(word) => u64::from_le_bytes(*word),
            None => {
                let mut word = [0; 8];
                word[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(word)
            }
        };
        let pair = word as usize % PAIRS;
        let range = usize::from(self.starts[pair])..usize::from(self.starts[pair + 1]);
        let start = range.start;
        let symbols = &self.symbols[range];
        let longer = symbols.iter().position(|s| word & s.mask() == s.word && s.len <= rest.len());
        longer.map(|i| start + i).or_else(|| match self.singles[usize::from(rest[0])] {
            ESCAPE => None,
            code => Some(usize::from(code)),
        })
    }

    /// What a counted unit stands for.
    fn unit(&self, unit: usize) -> Symbol {
        if unit >= LITERALS { Symbol::byte((unit - LITERALS) as u8) } else { self.symbols[unit] }
    }

    /// Counts the units of a value and their pairs; `seen` are the pairs counted.
    fn count(&self, value: &[u8], singles: &mut [u32], pairs: &mut [u32], seen: &mut Vec<usize>) {
        let (mut at, mut before) = (0, None);
        while at < value.len() {
            let unit = self.longest(value, at).unwrap_or(LITERALS + usize::from(value[at]));
            singles[unit] += 1;
            if let Some(before) = before {
                let pair = before * UNITS + unit;
                if pairs[pair] == 0 {
                    seen.push(pair);
                }
                pairs[pair] += 1;
            }
            at += self.unit(unit).len;
            before = Some(unit);
        }
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
