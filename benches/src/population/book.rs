//! Where names come from: a short book for a sample directory that people look at, a long one for populations of any
//! size, whose names are as many and as unevenly spread as in a real country.
//!
//! The long book is made, not copied: pronounceable names, 88,000 family names and 4,300 given names, as often as the
//! curve says that fits the published frequencies of the United States' census of 1990 (Smith 1.0 %, the hundredth name
//! 0.1 %, the thousandth 0.01 %, no name rarer than 0.0005 %). One person in fifty has a name from the short book,
//! where names stand in many scripts. What an encoding gains from repeated names is thus what it would gain in life.

use std::collections::HashSet;

use super::names::{DOMAINS, FAMILY, GIVEN, LOCALES};
use super::numbers::Numbers;

const LONG_GIVEN: usize = 4_300;
const LONG_FAMILY: usize = 88_000;
/// So many people in a thousand have a name of the short book, in the long one.
const FOREIGN_THOUSANDTHS: u64 = 20;
/// So many in a thousand have a username of an initial and the family name.
const SHORT_FORM_THOUSANDTHS: u64 = 300;

/// E-mail domains of the long book: one has half of all, and some are rare. Reserved names (RFC 2606, RFC 6761).
const LONG_DOMAINS: &[(&str, u64)] = &[
    ("gmail.example", 53),
    ("yahoo.example", 13),
    ("hotmail.example", 9),
    ("outlook.example", 7),
    ("icloud.example", 6),
    ("example.org", 4),
    ("aol.example", 3),
    ("proton.example", 2),
    ("correo.es.example", 1),
    ("münchen.example", 1),
    ("例え.example", 1),
];

const LONG_LOCALES: &[(&str, u64)] = &[
    ("en-US", 45),
    ("en-GB", 10),
    ("es-ES", 10),
    ("de-DE", 8),
    ("fr-FR", 7),
    ("pt-BR", 7),
    ("ja-JP", 6),
    ("hi-IN", 4),
    ("ar-EG", 3),
];

/// A name as it is drawn: places in the book's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Drawn {
    given: u32,
    family: u32,
    /// The username is an initial and the family name.
    short: bool,
}

/// Names, domains and locales to draw from.
pub struct Book {
    long: Option<Long>,
}

struct Long {
    given: List,
    family: List,
}

struct List {
    names: Vec<Box<str>>,
    /// How likely a name up to this one is, in parts of the last.
    up_to: Vec<f64>,
}

impl Book {
    /// The book of a sample directory.
    pub fn short() -> Self {
        Self { long: None }
    }

    /// The book of a large population. Making it takes some 20 ms.
    pub fn long() -> Self {
        let given = List::new(LONG_GIVEN, 0x61, 20.0, 2);
        let family = List::new(LONG_FAMILY, 0x5eed, 12.0, 3);
        Self { long: Some(Long { given, family }) }
    }

    pub(super) fn is_long(&self) -> bool {
        self.long.is_some()
    }

    /// The first person of every sample: Ana López.
    pub(super) fn first(&self) -> Drawn {
        let foreign = |list: Option<&List>| list.map_or(0, |list| list.names.len() as u32);
        let (given, family) = (self.long.as_ref().map(|long| &long.given), self.long.as_ref().map(|long| &long.family));
        Drawn { given: foreign(given), family: foreign(family), short: false }
    }

    pub(super) fn draw(&self, numbers: &mut Numbers) -> Drawn {
        let Some(long) = &self.long else {
            let (given, family) = (numbers.skewed(GIVEN.len()), numbers.skewed(FAMILY.len()));
            return Drawn { given: given as u32, family: family as u32, short: false };
        };
        let short = numbers.chance(SHORT_FORM_THOUSANDTHS);
        let (given, family) = if numbers.chance(FOREIGN_THOUSANDTHS) {
            let at = |list: &List, place: usize| list.names.len() + place;
            (at(&long.given, numbers.skewed(GIVEN.len())), at(&long.family, numbers.skewed(FAMILY.len())))
        } else {
            (long.given.draw(numbers), long.family.draw(numbers))
        };
        Drawn { given: given as u32, family: family as u32, short }
    }

    pub(super) fn domain(&self, numbers: &mut Numbers) -> &'static str {
        numbers.weighted(if self.is_long() { LONG_DOMAINS } else { DOMAINS })
    }

    pub(super) fn locale(&self, numbers: &mut Numbers) -> &'static str {
        numbers.weighted(if self.is_long() { LONG_LOCALES } else { LOCALES })
    }

    /// The given name.
    pub fn given(&self, name: Drawn) -> &str {
        match &self.long {
            None => GIVEN[name.given as usize].0,
            Some(long) => match long.given.names.get(name.given as usize) {
                Some(name) => name,
                None => GIVEN[name.given as usize - long.given.names.len()].0,
            },
        }
    }

    /// The family name.
    pub fn family(&self, name: Drawn) -> &str {
        match &self.long {
            None => FAMILY[name.family as usize].0,
            Some(long) => match long.family.names.get(name.family as usize) {
                Some(name) => name,
                None => FAMILY[name.family as usize - long.family.names.len()].0,
            },
        }
    }

    /// What a username begins with; namesakes add digits. In the short book it is spelled in ASCII.
    pub(super) fn base(&self, name: Drawn) -> String {
        if !self.is_long() {
            return format!("{}.{}", GIVEN[name.given as usize].1, FAMILY[name.family as usize].1);
        }
        let (given, family) = (self.given(name), self.family(name));
        let text = match given.chars().next() {
            Some(initial) if name.short => format!("{initial}{family}"),
            _ => format!("{given}.{family}"),
        };
        text.to_lowercase()
    }
}

impl List {
    /// So many different names, the `n`th as often as 1 / (1 + n / `bend`).
    fn new(count: usize, seed: u64, bend: f64, syllables: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        let mut seen = HashSet::with_capacity(count);
        let (mut names, mut up_to, mut sum) = (Vec::with_capacity(count), Vec::with_capacity(count), 0.0);
        while names.len() < count {
            // Frequent names are short.
            let longest = if names.len() < count / 40 { syllables - 1 } else { syllables };
            let name = pronounceable(&mut numbers, longest.max(1));
            if !seen.insert(name.clone()) {
                continue;
            }
            sum += (1.0 / (1.0 + names.len() as f64 / bend)).max(0.0005);
            names.push(name);
            up_to.push(sum);
        }
        Self { names, up_to }
    }

    fn draw(&self, numbers: &mut Numbers) -> usize {
        let whole = self.up_to.last().copied().unwrap_or_default();
        let at = numbers.unit() * whole;
        self.up_to.partition_point(|up_to| *up_to <= at).min(self.names.len() - 1)
    }
}

/// A name of one to `longest` syllables and an ending.
fn pronounceable(numbers: &mut Numbers, longest: u64) -> Box<str> {
    const ONSETS: [&str; 28] = [
        "b", "br", "c", "ch", "cl", "d", "dr", "f", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pr", "r", "s", "sh",
        "st", "t", "tr", "v", "w", "z", "",
    ];
    const VOWELS: [&str; 9] = ["a", "e", "i", "o", "u", "a", "e", "ea", "oo"];
    const CODAS: [&str; 12] = ["", "", "n", "r", "l", "s", "m", "ck", "nd", "rt", "ng", "ss"];
    const ENDINGS: [&str; 16] =
        ["", "", "", "a", "y", "er", "son", "man", "ez", "ski", "ton", "ley", "ford", "in", "o", "ell"];
    let mut pick = |list: &[&'static str]| list[numbers.below(list.len() as u64) as usize];
    let mut name = String::new();
    let mut left = longest;
    while left > 0 {
        name += pick(&ONSETS);
        name += pick(&VOWELS);
        name += pick(&CODAS);
        left -= 1;
    }
    name += pick(&ENDINGS);
    let mut letters = name.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect::<String>().into(),
        None => name.into(),
    }
}
