//! One person after another, from a seed.

use super::names::{DOMAINS, FAMILY, GIVEN, GROUP_SHARES, LOCALES, TITLES};

/// 2020-01-01, the earliest creation.
const FIRST_CREATED_MS: i64 = 1_577_836_800_000;
/// Creations spread over five years.
const CREATED_SPAN_MS: u64 = 5 * 365 * 86_400_000;

/// Makes people. The state is SplitMix64's (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub(super) struct Generator {
    state: u64,
    made: u64,
    /// How many people have each pair of names so far: what follows the names in a username.
    namesakes: Vec<u32>,
}

/// One person.
pub(super) struct Person {
    /// From 1.
    pub(super) number: u64,
    pub(super) sub: [u8; 16],
    pub(super) created_at_ms: i64,
    pub(super) enabled: bool,
    pair: u32,
    namesake: u32,
    domain: &'static str,
    locale: &'static str,
    title: &'static str,
    has_phone: bool,
    group_bits: u32,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, made: 0, namesakes: vec![0; GIVEN.len() * FAMILY.len()] }
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, by multiplication (Lemire 2019, without the correction of its tiny bias).
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    fn weighted(&mut self, choices: &[(&'static str, u64)]) -> &'static str {
        let mut at = self.below(choices.iter().map(|(_, weight)| weight).sum());
        for (choice, weight) in choices {
            if at < *weight {
                return choice;
            }
            at -= weight;
        }
        choices[0].0
    }

    /// The lower of two draws: names at the front of the lists are more frequent, as in life.
    fn skewed(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        self.below(bound).min(self.below(bound)) as usize
    }

    /// A salt for a hash.
    pub(super) fn salt(&mut self) -> [u8; 8] {
        // Its own stream, so that a format without salts makes the same people.
        let mut own = Self { state: self.state ^ 0x5a17, made: 0, namesakes: Vec::new() };
        own.draw().to_le_bytes()
    }

    /// The next person; the first is always the same, Ana López.
    pub(super) fn next(&mut self) -> Person {
        self.made += 1;
        let (given, family) = (self.skewed(GIVEN.len()), self.skewed(FAMILY.len()));
        let pair = if self.made == 1 { 0 } else { given * FAMILY.len() + family };
        let namesake = self.namesakes[pair];
        self.namesakes[pair] += 1;
        let mut group_bits = 0;
        for (group, share) in GROUP_SHARES.iter().enumerate() {
            if self.below(1000) < *share {
                group_bits |= 1 << group;
            }
        }
        Person {
            number: self.made,
            sub: self.uuid(),
            created_at_ms: FIRST_CREATED_MS + self.below(CREATED_SPAN_MS) as i64,
            enabled: self.below(1000) < 985 || self.made == 1,
            pair: pair as u32,
            namesake,
            domain: self.weighted(DOMAINS),
            locale: self.weighted(LOCALES),
            title: self.weighted(TITLES),
            has_phone: self.below(100) < 35,
            group_bits,
        }
    }

    /// A UUID of version 4 (RFC 9562).
    fn uuid(&mut self) -> [u8; 16] {
        let mut uuid = [0; 16];
        uuid[..8].copy_from_slice(&self.draw().to_be_bytes());
        uuid[8..].copy_from_slice(&self.draw().to_be_bytes());
        uuid[6] = uuid[6] & 0x0f | 0x40;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        uuid
    }
}

/// The username of a pair of names and a count of namesakes.
pub(super) fn username((pair, namesake): (u32, u32)) -> String {
    let (given, family) = (GIVEN[pair as usize / FAMILY.len()].1, FAMILY[pair as usize % FAMILY.len()].1);
    if namesake == 0 { format!("{given}.{family}") } else { format!("{given}.{family}{}", namesake + 1) }
}

impl Person {
    /// What [`username`] makes the username of.
    pub(super) fn name_key(&self) -> (u32, u32) {
        (self.pair, self.namesake)
    }

    pub(super) fn username(&self) -> String {
        username(self.name_key())
    }

    pub(super) fn given_name(&self) -> &'static str {
        GIVEN[self.pair as usize / FAMILY.len()].0
    }

    pub(super) fn family_name(&self) -> &'static str {
        FAMILY[self.pair as usize % FAMILY.len()].0
    }

    pub(super) fn full_name(&self) -> String {
        format!("{} {}", self.given_name(), self.family_name())
    }

    pub(super) fn email(&self) -> String {
        format!("{}@{}", self.username(), self.domain)
    }

    /// A number for fiction: +1 and an area code that is not assigned, counted through.
    pub(super) fn phone_number(&self) -> Option<String> {
        self.has_phone.then(|| format!("+1555{:07}", self.number % 10_000_000))
    }

    pub(super) fn locale(&self) -> &'static str {
        self.locale
    }

    pub(super) fn title(&self) -> &'static str {
        self.title
    }

    /// Places of the groups in their list.
    pub(super) fn groups(&self) -> impl Iterator<Item = usize> + use<> {
        let bits = self.group_bits;
        (0..GROUP_SHARES.len()).filter(move |group| bits & 1 << group != 0)
    }
}
