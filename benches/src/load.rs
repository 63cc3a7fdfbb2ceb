//! Which user is asked for next, and how: keys and sign-ins, the same for every system.
//!
//! Requests are made before the clock starts, in one piece of memory that is read from front to back, so that what is
//! measured is the store and not how the benchmark finds its next question.

use crate::population::{Numbers, Text, User, mix};

/// How likely each user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Spread {
    /// All alike.
    Uniform,
    /// By Zipf's law with the exponent 0.99, the ranks scattered over the users.
    Zipf,
}

/// Zipf's exponent: YCSB's (Cooper et al.: "Benchmarking cloud serving systems with YCSB", 2010).
const THETA: f64 = 0.99;

/// Draws users of a population.
#[derive(Clone)]
pub struct Keys {
    numbers: Numbers,
    count: u64,
    zipf: Option<Zipf>,
}

/// Gray et al.: "Quickly generating billion-record synthetic databases", 1994, as in YCSB.
#[derive(Clone)]
struct Zipf {
    alpha: f64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    fn new(count: u64) -> Self {
        let zeta = |n: u64| (1..=n).map(|i| (i as f64).powf(-THETA)).sum::<f64>();
        let (whole, two) = (zeta(count), zeta(2));
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - THETA)) / (1.0 - two / whole);
        Self { alpha: 1.0 / (1.0 - THETA), zeta: whole, eta }
    }

    /// A rank from 0, the most frequent.
    fn rank(&self, unit: f64, count: u64) -> u64 {
        let at = unit * self.zeta;
        if at < 1.0 {
            return 0;
        }
        if at < 1.0 + 0.5_f64.powf(THETA) {
            return 1.min(count - 1);
        }
        ((count as f64 * (self.eta * unit - self.eta + 1.0).powf(self.alpha)) as u64).min(count - 1)
    }
}

impl Keys {
    /// Draws of `count` users, at least one.
    pub fn new(spread: Spread, count: usize, seed: u64) -> Self {
        let count = count.max(1) as u64;
        let zipf = (spread == Spread::Zipf).then(|| Zipf::new(count));
        Self { numbers: Numbers::new(seed), count, zipf }
    }

    /// The same draws from another seed: what the law needs is computed once.
    pub fn reseeded(&self, seed: u64) -> Self {
        Self { numbers: Numbers::new(seed), ..self.clone() }
    }

    /// The next user's place in the population.
    pub fn draw(&mut self) -> usize {
        let place = match &self.zipf {
            None => self.numbers.below(self.count),
            // As YCSB's scrambled Zipfian: neighbours in rank are no neighbours in the store.
            Some(zipf) => mix(zipf.rank(self.numbers.unit(), self.count) ^ 0x5ca3) % self.count,
        };
        place as usize
    }
}

/// Which alias a user is named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alias {
    /// The username.
    Username,
    /// The e-mail address, in the case in which its user writes it.
    Email,
    /// The telephone number.
    Phone,
}

impl Alias {
    /// The attribute's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Email => "email",
            Self::Phone => "phone_number",
        }
    }

    /// The text of a user that is this alias.
    pub const fn text(self) -> Text {
        match self {
            Self::Username => Text::Username,
            Self::Email => Text::Email,
            Self::Phone => Text::Phone,
        }
    }

    /// The alias under which a user signs in: 20 % by username, 65 % by e-mail, 15 % by telephone number. Who has
    /// none takes the e-mail.
    pub fn of_sign_in(user: &User, numbers: &mut Numbers) -> Self {
        match numbers.below(100) {
            0..20 => Self::Username,
            20..35 if !user.text(Text::Phone).is_empty() => Self::Phone,
            _ => Self::Email,
        }
    }
}

/// Questions in order, at least one.
pub struct Requests {
    texts: String,
    list: Vec<(u32, Alias, u32)>,
}

/// One question: a user's place in the population, and the alias that names it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// The user's place in the population.
    pub user: usize,
    /// Which alias.
    pub alias: Alias,
    /// Its value.
    pub value: &'r str,
}

impl Requests {
    /// So many users by e-mail.
    pub fn emails(users: &[User], spread: Spread, count: usize, seed: u64) -> Self {
        Self::new(users, spread, count, seed, |_, _| Alias::Email)
    }

    /// So many sign-ins.
    pub fn sign_ins(users: &[User], spread: Spread, count: usize, seed: u64) -> Self {
        Self::new(users, spread, count, seed, Alias::of_sign_in)
    }

    fn new(
        users: &[User],
        spread: Spread,
        count: usize,
        seed: u64,
        alias: impl Fn(&User, &mut Numbers) -> Alias,
    ) -> Self {
        let mut keys = Keys::new(spread, users.len(), seed);
        let mut numbers = Numbers::new(mix(seed));
        let (mut texts, mut list) = (String::new(), Vec::with_capacity(count));
        for _ in 0..count.max(1) {
            let place = keys.draw();
            let user = &users[place];
            let alias = alias(user, &mut numbers);
            texts += user.text(alias.text());
            list.push((place as u32, alias, texts.len() as u32));
        }
        Self { texts, list }
    }

    /// A walk over them from the first, without end.
    pub fn walk(&self) -> Walk<'_> {
        Walk { requests: self, next: 0, start: 0 }
    }

    /// How many there are before they repeat.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Never: there is at least one.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// A walk over questions: after the last the first again.
pub struct Walk<'r> {
    requests: &'r Requests,
    next: usize,
    start: u32,
}

impl<'r> Walk<'r> {
    /// The next question.
    #[inline]
    pub fn step(&mut self) -> Request<'r> {
        let (user, alias, end) = self.requests.list[self.next];
        let value = &self.requests.texts[self.start as usize..end as usize];
        let is_last = self.next + 1 == self.requests.list.len();
        (self.next, self.start) = if is_last { (0, 0) } else { (self.next + 1, end) };
        Request { user: user as usize, alias, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::Population;

    fn shares(spread: Spread) -> Vec<u32> {
        let mut keys = Keys::new(spread, 1000, 3);
        let mut counts = vec![0; 1000];
        (0..200_000).for_each(|_| counts[keys.draw()] += 1);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }

    #[test]
    fn uniform_is_flat_and_zipf_is_steep() {
        let uniform = shares(Spread::Uniform);
        assert!(uniform[0] < 300 && uniform[999] > 120, "{} to {}", uniform[0], uniform[999]);
        let zipf = shares(Spread::Zipf);
        // The first of a thousand has 1 / zeta(1000, 0.99), the second half of that and a little.
        assert!((24_000..28_500).contains(&zipf[0]), "{}", zipf[0]);
        assert!((11_500..14_800).contains(&zipf[1]), "{}", zipf[1]);
        assert!(zipf[..10].iter().sum::<u32>() > 65_000);
    }

    #[test]
    fn sign_ins_come_by_all_aliases_and_name_their_users() {
        let people = Population::new(2000, 1);
        let requests = Requests::sign_ins(&people.users, Spread::Uniform, 5000, 9);
        let mut walk = requests.walk();
        let mut by = [0; 3];
        for _ in 0..requests.len() {
            let Request { user, alias, value } = walk.step();
            assert_eq!(people.users[user].text(alias.text()), value);
            by[alias as usize] += 1;
        }
        assert!((850..1150).contains(&by[0]), "{by:?}");
        assert_eq!((walk.next, walk.start), (0, 0));
        // A third of those who would sign in by telephone have one.
        assert!((200..330).contains(&by[2]), "{by:?}");
        assert!(by[1] > 3400, "{by:?}");
    }
}
