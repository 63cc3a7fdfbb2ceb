//! The people of every benchmark: one generator for the suite, for `stoa bench` and for `stoa sample`.
//!
//! It lives here and not in the binary, so that data flows one way: `tools → benches → engine → format-spec`. What
//! compares with other stores sits behind the feature `peers`; a tool that wants people compiles none of that.
//!
//! A [`Population`] holds users in memory, ready to be loaded anywhere: a seed gives the same users on every machine.
//! Shares and skews: 35 % have a telephone number, a tenth a long preference text, 5 % an e-mail address in mixed case,
//! 10 % one with a tag; domains, locales, names and sizes of groups are spread unevenly, as in life. Every user has a
//! password hash in the PHC form of Argon2id; salt and hash are random bytes, and nobody's password is known.

mod book;
mod names;
mod numbers;
mod person;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

pub use book::Book;
pub use names::{GROUP_SHARES, GROUPS};
pub use numbers::{Numbers, mix};
pub use person::{Generator, NameKey, Person};

/// How many groups a large population has, by number.
pub const GROUP_COUNT: u16 = 200;
/// The most groups of one user.
const GROUPS_MAX: f64 = 20.0;
/// The longest preference text, in bytes.
const PREFS_MAX_BYTES: f64 = 2048.0;
/// Sets the stream of what only the suite's users have apart.
const OF_USERS: u64 = 0x05e7;

/// The texts of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Text {
    /// Unique.
    Username,
    /// Unique, compared without case.
    Email,
    /// Unique; empty for who has none.
    Phone,
    /// As people write it.
    GivenName,
    /// As people write it.
    FamilyName,
    /// Given name and family name.
    Name,
    /// Of BCP 47.
    Locale,
    /// The custom attribute `custom:tier`.
    Tier,
    /// The custom attribute `custom:prefs`; empty for nine in ten.
    Prefs,
    /// The stored form of the password, 97 bytes.
    Hash,
}

/// How many texts a user has.
pub const TEXTS: usize = Text::Hash as usize + 1;

/// Where users stand in the sign-in flow, by their code, with how many in a hundred do.
pub const STATUSES: [(&str, u64); 5] =
    [("UNCONFIRMED", 8), ("CONFIRMED", 80), ("RESET_REQUIRED", 3), ("FORCE_CHANGE_PASSWORD", 2), ("EXTERNAL", 7)];

/// One user, in one piece of memory.
#[derive(Debug, Clone)]
pub struct User {
    /// A UUID of version 4 (RFC 9562).
    pub sub: [u8; 16],
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// Milliseconds since the Unix epoch, at or after the creation.
    pub updated_at_ms: u64,
    /// May sign in.
    pub enabled: bool,
    /// The address is confirmed.
    pub email_verified: bool,
    /// The number is confirmed; false for who has none.
    pub phone_verified: bool,
    /// A place in [`STATUSES`].
    pub status: u8,
    /// Groups, by number below [`GROUP_COUNT`], ascending.
    pub groups: Box<[u16]>,
    /// All texts one after the other, and where each ends.
    texts: Box<str>,
    ends: [u16; TEXTS],
}

impl User {
    fn new(person: &Person, book: &Book) -> Self {
        let mut numbers = Numbers::new(u64::from_be_bytes(*person.sub.first_chunk().unwrap_or(&[0; 8])) ^ OF_USERS);
        let username = person.key.username(book);
        let phone = person.phone_number(book).unwrap_or_default();
        let mut texts = String::with_capacity(320);
        let mut ends = [0; TEXTS];
        let mut place = 0;
        let mut end = |texts: &str| {
            ends[place] = u16::try_from(texts.len()).expect("a user's texts are some thousand bytes at most");
            place += 1;
        };
        texts += &username;
        end(&texts);
        push_email(&mut texts, &username, person.domain, &mut numbers);
        end(&texts);
        texts += &phone;
        end(&texts);
        texts += person.key.given_name(book);
        end(&texts);
        texts += person.key.family_name(book);
        end(&texts);
        texts += person.key.given_name(book);
        texts.push(' ');
        texts += person.key.family_name(book);
        end(&texts);
        texts += person.locale;
        end(&texts);
        texts += numbers.weighted(&[("free", 8), ("pro", 1), ("ent", 1)]);
        end(&texts);
        if numbers.chance(100) {
            push_prefs(&mut texts, &mut numbers);
        }
        end(&texts);
        push_hash(&mut texts, &mut numbers);
        end(&texts);
        let status = numbers.weighted(&STATUSES);
        Self {
            sub: person.sub,
            created_at_ms: person.created_at_ms as u64,
            updated_at_ms: person.created_at_ms as u64 + numbers.below(30_000_000_000),
            enabled: person.enabled,
            email_verified: numbers.chance(820),
            phone_verified: !phone.is_empty() && numbers.chance(600),
            status: STATUSES.iter().position(|(word, _)| *word == status).unwrap_or_default() as u8,
            groups: groups(&mut numbers),
            texts: texts.into(),
            ends,
        }
    }

    /// A user that is in no population, of number `number` (below 10^9) in the family `family` (below 10^5): for
    /// creations.
    pub fn newcomer(family: u64, number: u64) -> Self {
        let username = format!("new.{family}.{number}");
        let email = format!("{username}@new.example");
        // Fifteen digits: these numbers are longer than any of a population.
        let phone = format!("+9{family:05}{number:09}");
        Self::made_up(mix(family) ^ number, [&username, &email, &phone])
    }

    /// A newcomer who claims this user's e-mail address, in other case, and nothing else of theirs.
    pub fn impostor(&self, number: u64) -> Self {
        let seed = mix(u64::from_be_bytes(*self.sub.first_chunk().unwrap_or(&[0; 8])) ^ number);
        let username = format!("impostor.{seed:x}");
        let phone = format!("+8{:014}", seed % 100_000_000_000_000);
        Self::made_up(seed, [&username, &self.text(Text::Email).to_uppercase(), &phone])
    }

    fn made_up(seed: u64, [username, email, phone]: [&str; 3]) -> Self {
        let mut numbers = Numbers::new(seed);
        let mut sub = numbers.sixteen();
        sub[6] = sub[6] & 0x0f | 0x40;
        sub[8] = sub[8] & 0x3f | 0x80;
        let parts = [username, email, phone, "New", "Comer", "New Comer", "en-US", "free", ""];
        let (mut texts, mut ends) = (String::new(), [0; TEXTS]);
        for (end, part) in ends.iter_mut().zip(parts) {
            texts += part;
            *end = texts.len() as u16;
        }
        push_hash(&mut texts, &mut numbers);
        ends[TEXTS - 1] = texts.len() as u16;
        let created_at_ms = 1_760_000_000_000 + numbers.below(1_000_000_000);
        Self {
            sub,
            created_at_ms,
            updated_at_ms: created_at_ms,
            enabled: true,
            email_verified: false,
            phone_verified: false,
            status: 1,
            groups: Box::default(),
            texts: texts.into(),
            ends,
        }
    }

    /// One of the texts; empty where the user has none.
    #[inline]
    pub fn text(&self, text: Text) -> &str {
        let at = text as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.texts[usize::from(start)..usize::from(self.ends[at])]
    }

    /// Bytes of the bare fields: texts, the sub as 16, times as 8, status and truth values as 1 each.
    pub fn raw_bytes(&self) -> u64 {
        self.texts.len() as u64 + 16 + 2 * 8 + 4
    }
}

/// One in ten addresses has a tag, one in twenty is in mixed case.
fn push_email(texts: &mut String, username: &str, domain: &str, numbers: &mut Numbers) {
    let tag = match numbers.chance(100) {
        true => ["+shop", "+news", "+x"][numbers.below(3) as usize],
        false => "",
    };
    let plain = [username, tag, "@", domain];
    if !numbers.chance(50) {
        texts.extend(plain);
        return;
    }
    let mut begins = true;
    for letter in plain.iter().flat_map(|part| part.chars()) {
        match begins {
            true => texts.extend(letter.to_uppercase()),
            false => texts.push(letter),
        }
        begins = !letter.is_alphabetic();
    }
}

/// What a client keeps of its user's taste. Lengths are spread log-normally around 90 bytes.
fn push_prefs(texts: &mut String, numbers: &mut Numbers) {
    const WORDS: [&str; 12] = [
        "theme=dark",
        "theme=light",
        "tz=utc",
        "mail=weekly",
        "mail=never",
        "beta",
        "font=14",
        "cols=3",
        "sort=name",
        "tour=done",
        "lang=auto",
        "sound=off",
    ];
    // Box and Muller (1958).
    let (a, b) = (1.0 - numbers.unit(), numbers.unit());
    let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
    let length = texts.len() + (4.5 + normal).exp().clamp(4.0, PREFS_MAX_BYTES) as usize;
    while texts.len() < length {
        texts.push_str(WORDS[numbers.below(WORDS.len() as u64) as usize]);
        texts.push(';');
    }
    texts.truncate(length);
}

/// The PHC string of Argon2id at OWASP's parameters, with 16 bytes of salt and 32 of hash.
fn push_hash(texts: &mut String, numbers: &mut Numbers) {
    texts.push_str("$argon2id$v=19$m=19456,t=2,p=1$");
    STANDARD_NO_PAD.encode_string(numbers.sixteen(), texts);
    texts.push('$');
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(&numbers.sixteen());
    hash[16..].copy_from_slice(&numbers.sixteen());
    STANDARD_NO_PAD.encode_string(hash, texts);
}

/// Most users are in no group, a few in many (Pareto, 1.6); some groups are large (Zipf, 0.9).
fn groups(numbers: &mut Numbers) -> Box<[u16]> {
    let count = ((1.0 - numbers.unit()).powf(-1.0 / 1.6) - 1.0).clamp(0.0, GROUPS_MAX) as usize;
    let mut groups: Vec<u16> = (0..count)
        .map(|_| {
            // The inverse of the integral of x^-0.9, from 1 to the count and one.
            let whole = f64::from(GROUP_COUNT + 1).powf(0.1) - 1.0;
            let rank = (1.0 + numbers.unit() * whole).powf(10.0);
            (rank as u16 - 1).min(GROUP_COUNT - 1)
        })
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups.into()
}

/// Many users.
pub struct Population {
    /// In no particular order.
    pub users: Vec<User>,
    /// The seed they were made from.
    pub seed: u64,
}

impl Population {
    /// Makes so many users. A million take some two seconds and 400 MB.
    pub fn new(users: usize, seed: u64) -> Self {
        let mut generator = Generator::new(Book::long(), seed);
        let users = (0..users)
            .map(|_| {
                let person = generator.next_person();
                User::new(&person, generator.book())
            })
            .collect();
        Self { users, seed }
    }

    /// The sum of all users' [`User::raw_bytes`].
    pub fn raw_bytes(&self) -> u64 {
        self.users.iter().map(User::raw_bytes).sum()
    }

    /// How many users' family name contains `part`, which is in small letters, in any case.
    pub fn count_family_name(&self, part: &str) -> u64 {
        count_family_name(&self.users, part)
    }
}

/// How many of these users' family name contains `part`, which is in small letters, in any case.
pub fn count_family_name(users: &[User], part: &str) -> u64 {
    users.iter().filter(|user| user.text(Text::FamilyName).to_lowercase().contains(part)).count() as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_users_and_aliases_are_unique() {
        let (a, b) = (Population::new(20_000, 7), Population::new(20_000, 7));
        let mut seen = HashSet::new();
        let mut shown =
            |kind: char, text: &str| text.is_empty() || seen.insert(format!("{kind}{}", text.to_lowercase()));
        for (a, b) in a.users.iter().zip(&b.users) {
            assert!(a.sub == b.sub && a.texts == b.texts && a.groups == b.groups);
            assert!(shown('u', a.text(Text::Username)), "{a:?}");
            assert!(shown('e', a.text(Text::Email)), "{a:?}");
            assert!(shown('p', a.text(Text::Phone)), "{a:?}");
            assert_eq!(a.text(Text::Hash).len(), 97);
        }
        assert!(Population::new(10, 8).users[5].sub != a.users[5].sub);
    }

    #[test]
    fn shares_are_as_promised() {
        let people = Population::new(20_000, 1);
        let share = |is: &dyn Fn(&User) -> bool| people.users.iter().filter(|user| is(user)).count() as f64 / 20_000.0;
        let near = |share: f64, wanted: f64| assert!((share - wanted).abs() < 0.02, "{share} is not {wanted}");
        near(share(&|user| !user.text(Text::Phone).is_empty()), 0.35);
        near(share(&|user| !user.text(Text::Prefs).is_empty()), 0.10);
        near(share(&|user| user.text(Text::Email).chars().any(char::is_uppercase)), 0.05);
        near(share(&|user| user.status == 1), 0.80);
        let names: HashSet<_> = people.users.iter().map(|user| user.text(Text::FamilyName)).collect();
        assert!(names.len() > 5_000, "{} family names", names.len());
        let mean = people.raw_bytes() as f64 / 20_000.0;
        assert!((230.0..300.0).contains(&mean), "{mean} bytes a user");
    }

    #[test]
    fn newcomers_are_nobody_of_a_population_and_differ() {
        let mut seen = HashSet::new();
        for family in 0..3 {
            for number in 0..100 {
                let user = User::newcomer(family, number);
                assert!(seen.insert(user.sub.to_vec()) && seen.insert(user.text(Text::Phone).as_bytes().to_vec()));
                assert!(user.text(Text::Email).ends_with("@new.example"));
            }
        }
    }
}
