//! A condition on text, asked of all strings of a page at once.
//!
//! The strings stand end to end, so they are brought to lower case in one go, and what must stand somewhere in them is
//! sought once through all of them; a place that lies across two strings does not count. Strings that are not ASCII
//! are looked at one by one, with [`Predicate::test_bytes`], which decides for all what counts as a match.

use memchr::memmem::Finder;
use stoa_format::column::{BytesTest, Joined};

use super::predicate::{Order, Predicate, TextOp, TextTest, holds};
use crate::pool::collation::{Collation, DomainKeys};

/// The values of which a predicate says this.
pub struct Passing<'p> {
    predicate: &'p Predicate,
    says: bool,
    /// The condition, if a page's strings can be asked at once.
    text: Option<(&'p TextTest, Pattern<'p>)>,
    lower: Vec<u8>,
    domains: DomainKeys,
}

impl<'p> Passing<'p> {
    /// The values of which `predicate` says `says`.
    pub fn new(predicate: &'p Predicate, says: bool) -> Self {
        let text = match predicate {
            Predicate::Text(test) => test.single_pattern().map(|pattern| (test, Pattern::new(pattern))),
            _ => None,
        };
        Self { predicate, says, text, lower: Vec::new(), domains: DomainKeys::default() }
    }
}

impl BytesTest for Passing<'_> {
    #[inline]
    fn test(&mut self, value: &[u8]) -> bool {
        self.predicate.test_bytes(value) == self.says
    }

    fn may_begin(&self, beginning: &[u8]) -> Option<bool> {
        let (test, pattern) = self.text.as_ref()?;
        match (test.op(), self.says) {
            (TextOp::Order(Order::Eq) | TextOp::StartsWith, true) | (TextOp::Order(Order::Ne), false) => {
                Some(!begins_otherwise(test.collation(), beginning, pattern.bytes))
            }
            _ => None,
        }
    }

    fn test_all(&mut self, values: &Joined<'_>, found: &mut [u64]) {
        let Some((test, pattern)) = &self.text else {
            for (i, value) in values.iter().enumerate() {
                set(found, i, self.predicate.test_bytes(value) == self.says);
            }
            return;
        };
        if test.collation() == Collation::Exact {
            pattern.mark(test.op(), values.data(), values.starts(), found);
        } else {
            self.lower.clear();
            self.lower.extend_from_slice(values.data());
            self.lower.make_ascii_lowercase();
            pattern.mark(test.op(), &self.lower, values.starts(), found);
            each_not_ascii(values, |i| {
                found[i / 64] &= !(1 << (i % 64));
                set(found, i, test.test_knowing(values.get(i), &mut self.domains));
            });
        }
        if !self.says {
            flip(found, values.len());
        }
    }
}

/// Whether the key of no text that begins with these bytes begins with `key`, as far as they tell, unless it is
/// shorter.
///
/// An ASCII character that another one follows is its own key, in lower case; what else may follow could compose with
/// it. A domain's key is not told from its beginning.
fn begins_otherwise(collation: Collation, beginning: &[u8], key: &[u8]) -> bool {
    if collation == Collation::Exact {
        return beginning.iter().zip(key).any(|(byte, expected)| byte != expected);
    }
    let told =
        beginning.windows(2).take_while(|pair| pair.is_ascii() && (collation != Collation::Email || pair[0] != b'@'));
    told.zip(key).any(|(pair, expected)| pair[0].to_ascii_lowercase() != *expected)
}

/// Sets bit `i`, which is clear, if `passes`.
#[inline]
fn set(found: &mut [u64], i: usize, passes: bool) {
    found[i / 64] |= u64::from(passes) << (i % 64);
}

/// Turns the first `count` bits round.
fn flip(found: &mut [u64], count: usize) {
    found.iter_mut().for_each(|word| *word = !*word);
    if let Some(last) = found.last_mut()
        && count % 64 > 0
    {
        *last &= (1 << (count % 64)) - 1;
    }
}

/// Calls `visit` with each string that is not ASCII.
fn each_not_ascii(values: &Joined<'_>, mut visit: impl FnMut(usize)) {
    let (data, starts) = (values.data(), values.starts());
    let (mut i, mut at) = (0, starts[0] as usize);
    let end = starts[values.len()] as usize;
    while let Some(ahead) = first_not_ascii(&data[at..end]) {
        while starts[i + 1] as usize <= at + ahead {
            i += 1;
        }
        visit(i);
        at = starts[i + 1] as usize;
    }
}

fn first_not_ascii(bytes: &[u8]) -> Option<usize> {
    const STRIDE: usize = 64;
    let (mut at, mut chunks) = (0, bytes.chunks_exact(STRIDE));
    for chunk in chunks.by_ref() {
        if chunk.iter().fold(0, |all, byte| all | byte) >= 0x80 {
            break;
        }
        at += STRIDE;
    }
    bytes[at..].iter().position(|byte| !byte.is_ascii()).map(|ahead| at + ahead)
}

/// What strings are compared with.
struct Pattern<'p> {
    bytes: &'p [u8],
    /// Its first eight bytes and which bits of eight count: most strings differ there.
    head: u64,
    mask: u64,
    finder: Finder<'p>,
}

impl<'p> Pattern<'p> {
    fn new(bytes: &'p [u8]) -> Self {
        let mut head = [0; 8];
        let len = bytes.len().min(8);
        head[..len].copy_from_slice(&bytes[..len]);
        let mask = if len == 0 { 0 } else { u64::MAX >> (64 - len * 8) };
        Self { bytes, head: u64::from_le_bytes(head), mask, finder: Finder::new(bytes) }
    }

    /// Whether the pattern stands at `at`.
    #[inline]
    fn stands_at(&self, data: &[u8], at: usize) -> bool {
        let rest = &data[at..];
        match rest.first_chunk::<8>() {
            Some(head) if (u64::from_le_bytes(*head) ^ self.head) & self.mask != 0 => false,
            Some(_) if self.bytes.len() <= 8 => true,
            _ => rest.starts_with(self.bytes),
        }
    }

    /// Sets the bit of each string, from one of `starts` to the next in `data`, that stands so to the pattern.
    fn mark(&self, op: TextOp, data: &[u8], starts: &[u32], found: &mut [u64]) {
        let len = self.bytes.len();
        let strings = || starts.windows(2).map(|ends| (ends[0] as usize, ends[1] as usize)).enumerate();
        match op {
            TextOp::Order(Order::Eq | Order::Ne) => {
                for (i, (start, end)) in strings() {
                    let same = end - start == len && self.stands_at(data, start);
                    set(found, i, same == (op == TextOp::Order(Order::Eq)));
                }
            }
            TextOp::Order(_) => {
                for (i, (start, end)) in strings() {
                    set(found, i, holds(op, &data[start..end], self.bytes));
                }
            }
            TextOp::StartsWith => {
                for (i, (start, end)) in strings() {
                    set(found, i, end - start >= len && self.stands_at(data, start));
                }
            }
            TextOp::EndsWith => {
                for (i, (start, end)) in strings() {
                    set(found, i, end - start >= len && self.stands_at(data, end - len));
                }
            }
            TextOp::Contains if len == 0 => strings().for_each(|(i, _)| set(found, i, true)),
            TextOp::Contains => {
                let (mut i, mut at) = (0, starts[0] as usize);
                let last = starts[starts.len() - 1] as usize;
                while let Some(ahead) = self.finder.find(&data[at..last]) {
                    at += ahead;
                    while starts[i + 1] as usize <= at {
                        i += 1;
                    }
                    let end = starts[i + 1] as usize;
                    if at + len <= end {
                        set(found, i, true);
                        at = end;
                    } else {
                        // It runs into the next string.
                        at += 1;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stoa_format::column::{Cell, ColumnKind, ColumnPage, ColumnPageBuilder, Scratch, Sought};

    use super::*;

    const OPS: [TextOp; 9] = [
        TextOp::Order(Order::Eq),
        TextOp::Order(Order::Ne),
        TextOp::Order(Order::Gt),
        TextOp::Order(Order::Ge),
        TextOp::Order(Order::Lt),
        TextOp::Order(Order::Le),
        TextOp::Contains,
        TextOp::StartsWith,
        TextOp::EndsWith,
    ];

    /// Asks a whole page, and each of its values by itself.
    fn check(values: &[String], literals: &[&str]) {
        let mut builder = ColumnPageBuilder::new(ColumnKind::Bytes);
        for (i, value) in values.iter().enumerate() {
            builder.push(i as u64, &Cell::Bytes(value.as_bytes().into())).unwrap();
        }
        let mut bytes = Vec::new();
        builder.finish(&mut bytes).unwrap();
        let page = ColumnPage::open(bytes).unwrap();
        let mut scratch = Scratch::default();
        for (op, collation) in OPS.into_iter().flat_map(|op| Collation::ALL.map(|collation| (op, collation))) {
            for literal in literals {
                let predicate = Predicate::Text(TextTest::new(collation, op, literal));
                for says in [true, false] {
                    let mut passing = Passing::new(&predicate, says);
                    let found = page.find(&mut Sought::Bytes(&mut passing), &mut scratch).unwrap();
                    for (i, value) in values.iter().enumerate() {
                        let expected = predicate.test_bytes(value.as_bytes()) == says;
                        assert_eq!(
                            found[i / 64] >> (i % 64) & 1 == 1,
                            expected,
                            "{collation:?} {op:?} {literal:?} {value:?}"
                        );
                    }
                    let ones: u32 = found.iter().map(|word| word.count_ones()).sum();
                    assert!(ones as usize <= values.len());
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_page_answers_as_each_of_its_values(
            values in prop::collection::vec(prop_oneof![8 => "[aAbB@.]{0,6}", 2 => "[aäÄßß\u{301}@bB.]{0,5}", 2 => "[aä]{0,2}[@\u{ff20}][aäA.]{1,3}", 1 => "[a-cA-C]{6,20}"], 1..200),
            literal in prop_oneof!["[abA@.]{0,3}", "[aä\u{301}ß@]{0,2}", "[a-cA-C]{8,12}"],
            of in any::<prop::sample::Index>(),
        ) {
            let whole = of.get(&values).clone();
            let half: String = whole.chars().skip(whole.chars().count() / 2).collect();
            check(&values, &[&literal, &whole, &half]);
        }
    }

    #[test]
    fn compressed_pages_answer_as_each_of_their_values() {
        let name = |i: usize| match i % 23 {
            0 => format!("Jürgen{i}.Müller@Straße.example"),
            1 => String::new(),
            _ => format!("Given{}.Family{}@Mail{}.Example", i * 7 % 50, i * 31 % 900, i % 3),
        };
        let values: Vec<_> = (0..1500).map(name).collect();
        check(
            &values,
            &["", "given7", "@mail1.example", "Given7.Family217@Mail1.Example", "ü", "straße", "family89", "EG"],
        );
    }
}
