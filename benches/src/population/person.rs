//! One person after another, from a seed.

use std::collections::HashMap;

use super::book::{Book, Drawn};
use super::names::{GROUP_SHARES, TITLES};
use super::numbers::Numbers;

/// 2020-01-01, the earliest creation.
const FIRST_CREATED_MS: i64 = 1_577_836_800_000;
/// Creations spread over five years.
const CREATED_SPAN_MS: u64 = 5 * 365 * 86_400_000;
/// Sets a salt's stream apart.
const OF_SALTS: u64 = 0x5a17;

/// Makes people.
pub struct Generator {
    book: Book,
    numbers: Numbers,
    made: u64,
    /// How many people have each name so far: what follows the names in a username.
    namesakes: HashMap<Drawn, u32>,
    /// The same where different names make one username.
    bases: HashMap<String, u32>,
}

/// Names one person: what a username is made of, in a few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameKey {
    name: Drawn,
    namesake: u32,
}

/// One person.
pub struct Person {
    /// From 1.
    pub number: u64,
    /// A UUID of version 4 (RFC 9562).
    pub sub: [u8; 16],
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// May sign in.
    pub enabled: bool,
    /// What the name and username are made of.
    pub key: NameKey,
    /// Of the e-mail address.
    pub domain: &'static str,
    /// Of BCP 47.
    pub locale: &'static str,
    /// What they do.
    pub title: &'static str,
    has_phone: bool,
    group_bits: u32,
}

impl Generator {
    /// People of `book`.
    pub fn new(book: Book, seed: u64) -> Self {
        Self { book, numbers: Numbers::new(seed), made: 0, namesakes: HashMap::new(), bases: HashMap::new() }
    }

    /// Where their names come from.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// A salt for a hash of the person made last. It is a stream of its own, so that a format without salts makes the
    /// same people.
    pub fn salt(&self) -> [u8; 8] {
        self.numbers.fork(OF_SALTS).draw().to_le_bytes()
    }

    /// The next person; the first of every population is Ana López.
    pub fn next_person(&mut self) -> Person {
        self.made += 1;
        let drawn = self.book.draw(&mut self.numbers);
        let name = if self.made == 1 { self.book.first() } else { drawn };
        let key = NameKey { name, namesake: self.namesake(name) };
        let numbers = &mut self.numbers;
        let mut group_bits = 0;
        for (group, share) in GROUP_SHARES.iter().enumerate() {
            if numbers.below(1000) < *share {
                group_bits |= 1 << group;
            }
        }
        let mut sub = numbers.sixteen();
        sub[6] = sub[6] & 0x0f | 0x40;
        sub[8] = sub[8] & 0x3f | 0x80;
        Person {
            number: self.made,
            sub,
            created_at_ms: FIRST_CREATED_MS + numbers.below(CREATED_SPAN_MS) as i64,
            enabled: numbers.below(1000) < 985 || self.made == 1,
            key,
            domain: self.book.domain(numbers),
            locale: self.book.locale(numbers),
            title: numbers.weighted(TITLES),
            has_phone: numbers.below(100) < 35,
            group_bits,
        }
    }

    fn namesake(&mut self, name: Drawn) -> u32 {
        let count = match self.book.is_long() {
            false => self.namesakes.entry(name).or_default(),
            true => self.bases.entry(self.book.base(name)).or_default(),
        };
        *count += 1;
        *count - 1
    }
}

impl NameKey {
    /// The username, unique in the population.
    pub fn username(&self, book: &Book) -> String {
        let mut text = book.base(self.name);
        if self.namesake > 0 {
            text += &match book.is_long() {
                false => u64::from(self.namesake) + 1,
                // Namesakes choose what they like; a bijection keeps them apart.
                true => 1 + u64::from(self.namesake) * 61_583 % 99_991 + u64::from(self.namesake) / 99_991 * 100_000,
            }
            .to_string();
        }
        text
    }

    /// The given name.
    pub fn given_name<'b>(&self, book: &'b Book) -> &'b str {
        book.given(self.name)
    }

    /// The family name.
    pub fn family_name<'b>(&self, book: &'b Book) -> &'b str {
        book.family(self.name)
    }
}

impl Person {
    /// Given name and family name.
    pub fn full_name(&self, book: &Book) -> String {
        format!("{} {}", self.key.given_name(book), self.key.family_name(book))
    }

    /// The plain address.
    pub fn email(&self, book: &Book) -> String {
        format!("{}@{}", self.key.username(book), self.domain)
    }

    /// For a third of them. In the short book a number for fiction: +1 and an area code that is not assigned, counted
    /// through; in the long one ten digits in no order, each number once.
    pub fn phone_number(&self, book: &Book) -> Option<String> {
        /// How many numbers there are, and a factor that has no divisor in common with it.
        const NUMBERS: u64 = 8_000_000_000;
        const STEP: u64 = 6_364_136_223;
        self.has_phone.then(|| match book.is_long() {
            false => format!("+1555{:07}", self.number % 10_000_000),
            true => {
                let place = u128::from(self.number) * u128::from(STEP) % u128::from(NUMBERS);
                format!("+1{:010}", 2_000_000_000 + place)
            }
        })
    }

    /// Places of the groups in their list.
    pub fn groups(&self) -> impl Iterator<Item = usize> + use<> {
        let bits = self.group_bits;
        (0..GROUP_SHARES.len()).filter(move |group| bits & 1 << group != 0)
    }
}
