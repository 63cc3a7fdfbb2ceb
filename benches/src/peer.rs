//! What the suite asks of every system that it measures: the identity workload, in Stoa's words.
//!
//! A [`System`] says how one is opened; a [`Peer`] is an open one with a million users or an empty one; a [`Reader`] or
//! [`Writer`] is what one thread (or one connection) holds. Every answer goes through [`Seen`], so that all values of
//! an answer are looked at, by every system alike, and can be compared with the population.
//!
//! Rules that hold for every implementation:
//! 1. A write is durable (`fdatasync` or stronger) before its method returns.
//! 2. The three aliases (username, e-mail without case, telephone number) stay unique, also under concurrent writers.
//! 3. A read sees every write that was answered before it began.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::load::Alias;
use crate::machine::DiskBytes;
use crate::population::{STATUSES, Text, User};

/// How a system is opened.
#[derive(Debug, Clone)]
pub struct Setup {
    /// A directory of its own; what is there already is opened, an empty one begins a new store.
    pub dir: PathBuf,
    /// Bytes of the system's own cache; its ample default for this workload where none are given.
    pub cache_bytes: Option<u64>,
}

/// What a system's cache may take where the row does not limit it: more than a million users need.
pub const AMPLE_CACHE_BYTES: u64 = 4 << 30;

/// How a system is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Transport {
    /// In this process.
    Embedded,
    /// As a server on the loopback.
    Tcp,
}

/// One system that can be measured.
#[derive(Clone, Copy)]
pub struct System {
    /// Its name on the command line and in tables, in small letters.
    pub name: &'static str,
    /// How it is reached: rows compare systems of one transport.
    pub transport: Transport,
    /// Whether what it stores is encrypted.
    pub encrypted: bool,
    /// Whether opening it after a kill takes the longer the more was written before.
    pub replays: bool,
    /// Its version and how it is configured, in one line.
    pub about: fn() -> String,
    /// Opens it.
    pub open: fn(&Setup) -> Result<Box<dyn Peer>>,
}

/// One change of an attribute.
#[derive(Debug, Clone, Copy)]
pub struct Update<'u> {
    /// Whose.
    pub sub: &'u [u8; 16],
    /// The new value of `custom:prefs`.
    pub prefs: &'u str,
}

/// An open system.
pub trait Peer: Send + Sync {
    /// Loads users into the empty store by its fastest way, with all indexes; durable when it returns.
    ///
    /// # Errors
    /// What the system says.
    fn load(&self, users: &[User]) -> Result<()>;

    /// Writes what is in memory into files as far as the system has a call for it, so that the next row does not pay
    /// for the last one.
    ///
    /// # Errors
    /// What the system says.
    fn settle(&self) -> Result<()>;

    /// What one reading thread holds.
    ///
    /// # Errors
    /// What the system says.
    fn reader(&self) -> Result<Box<dyn Reader + '_>>;

    /// What one writing thread holds.
    ///
    /// # Errors
    /// What the system says.
    fn writer(&self) -> Result<Box<dyn Writer + '_>>;

    /// Makes many single updates, each a change of its own that could be refused alone, with as many under way at once
    /// as serves the system best; all durable when it returns.
    ///
    /// # Errors
    /// What the system says.
    fn update_many(&self, updates: &[Update<'_>]) -> Result<()>;

    /// Gives every user this locale; durable when it returns. Answers how many users there are.
    ///
    /// # Errors
    /// What the system says.
    fn set_all(&self, locale: &str) -> Result<u64>;

    /// What it takes on the device.
    ///
    /// # Errors
    /// If its directory cannot be read.
    fn disk_bytes(&self) -> Result<DiskBytes>;

    /// Ends it in order.
    ///
    /// # Errors
    /// What the system says.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Reads of one thread.
pub trait Reader {
    /// The whole profile of the user whom the alias names: its sixteen attributes, without the password hash. False if
    /// there is none.
    ///
    /// # Errors
    /// What the system says.
    fn profile(&mut self, alias: Alias, value: &str, seen: &mut Seen) -> Result<bool>;

    /// The password hash of the user with that e-mail address. False if there is none.
    ///
    /// # Errors
    /// What the system says.
    fn hash(&mut self, email: &str, seen: &mut Seen) -> Result<bool>;

    /// What a sign-in needs: password hash, status and whether the user is enabled. False if there is none.
    ///
    /// # Errors
    /// What the system says.
    fn sign_in(&mut self, alias: Alias, value: &str, seen: &mut Seen) -> Result<bool>;

    /// The whole profile of the user with that sub. False if there is none.
    ///
    /// # Errors
    /// What the system says.
    fn by_sub(&mut self, sub: &[u8; 16], seen: &mut Seen) -> Result<bool>;

    /// How many users' family name contains `part`, which is ASCII in small letters, in any case; no index helps.
    ///
    /// # Errors
    /// What the system says.
    fn count_family_name(&mut self, part: &str) -> Result<u64>;

    /// The whole profiles of the first `limit` users by username whose username begins with `prefix`. Answers how many
    /// there were.
    ///
    /// # Errors
    /// What the system says.
    fn first_by_prefix(&mut self, prefix: &str, limit: usize, seen: &mut Seen) -> Result<usize>;

    /// A page of a listing of all users with their whole profiles, in an order of the system's choice: from the
    /// beginning, or after `cursor`, which is what the page before answered. None after the last page.
    ///
    /// # Errors
    /// What the system says.
    fn page(&mut self, cursor: Option<&[u8]>, limit: usize, seen: &mut Seen) -> Result<Option<Vec<u8>>>;

    /// Whole profiles by e-mail, asked for together where the system can. Answers how many there were.
    ///
    /// # Errors
    /// What the system says.
    fn profiles(&mut self, emails: &[&str], seen: &mut Seen) -> Result<usize> {
        let mut found = 0;
        for email in emails {
            found += usize::from(self.profile(Alias::Email, email, seen)?);
        }
        Ok(found)
    }
}

/// Writes of one thread.
pub trait Writer {
    /// Sets one attribute, durably.
    ///
    /// # Errors
    /// What the system says; that there is no such user.
    fn update(&mut self, update: Update<'_>) -> Result<()>;

    /// Makes a user, durably. False, and nothing changed, if one of its aliases is taken.
    ///
    /// # Errors
    /// What the system says.
    fn create(&mut self, user: &User) -> Result<bool>;
}

/// Looks at each value of an answer: counts them, and keeps them if a test wants to compare.
#[derive(Debug, Default)]
pub struct Seen {
    /// How many values came.
    pub values: u64,
    /// Their bytes; numbers count 8, truth values 1.
    pub bytes: u64,
    /// How many users' they are.
    pub users: u64,
    kept: Option<Vec<BTreeMap<String, String>>>,
}

impl Seen {
    /// One that keeps what it sees, user by user.
    pub fn keeping() -> Self {
        Self { kept: Some(Vec::new()), ..Self::default() }
    }

    /// Whether it keeps what it sees.
    #[inline]
    pub fn keeps(&self) -> bool {
        self.kept.is_some()
    }

    /// The values of another user follow.
    #[inline]
    pub fn begin_user(&mut self) {
        self.users += 1;
        if let Some(kept) = &mut self.kept {
            kept.push(BTreeMap::new());
        }
    }

    /// A text. Empty ones are absent and not to be shown.
    #[inline]
    pub fn text(&mut self, name: &str, value: &str) {
        self.values += 1;
        self.bytes += value.len() as u64;
        self.keep(name, || value.to_owned());
    }

    /// A number.
    #[inline]
    pub fn int(&mut self, name: &str, value: u64) {
        self.values += 1;
        self.bytes += 8;
        self.keep(name, || value.to_string());
    }

    /// A truth value.
    #[inline]
    pub fn flag(&mut self, name: &str, value: bool) {
        self.values += 1;
        self.bytes += 1;
        self.keep(name, || value.to_string());
    }

    /// A sub.
    #[inline]
    pub fn sub(&mut self, value: &[u8; 16]) {
        self.values += 1;
        self.bytes += std::hint::black_box(value).len() as u64;
        self.keep("sub", || hex(value));
    }

    #[inline]
    fn keep(&mut self, name: &str, value: impl FnOnce() -> String) {
        if let Some(kept) = &mut self.kept {
            if kept.is_empty() {
                kept.push(BTreeMap::new());
            }
            if let Some(user) = kept.last_mut() {
                user.insert(name.to_owned(), value());
            }
        }
    }

    /// What it kept: a map for each user.
    pub fn into_kept(self) -> Vec<BTreeMap<String, String>> {
        self.kept.unwrap_or_default()
    }
}

/// The texts that are attributes, by their names.
pub const ATTRIBUTES: [(&str, Text); 9] = [
    ("username", Text::Username),
    ("email", Text::Email),
    ("phone_number", Text::Phone),
    ("given_name", Text::GivenName),
    ("family_name", Text::FamilyName),
    ("name", Text::Name),
    ("locale", Text::Locale),
    ("custom:tier", Text::Tier),
    ("custom:prefs", Text::Prefs),
];

/// What a system must show of a user's profile, as [`Seen`] keeps it.
pub fn profile_of(user: &User) -> BTreeMap<String, String> {
    let mut profile: BTreeMap<String, String> = ATTRIBUTES
        .iter()
        .map(|(name, text)| ((*name).to_owned(), user.text(*text).to_owned()))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let mut put = |name: &str, value: String| profile.insert(name.to_owned(), value);
    put("sub", hex(&user.sub));
    put("email_verified", user.email_verified.to_string());
    if !user.text(Text::Phone).is_empty() {
        put("phone_number_verified", user.phone_verified.to_string());
    }
    put("status", STATUSES[usize::from(user.status)].0.to_owned());
    put("enabled", user.enabled.to_string());
    put("created_at", user.created_at_ms.to_string());
    put("updated_at", user.updated_at_ms.to_string());
    profile
}

/// The form under which every peer that does not fold by itself keeps and looks up an alias.
pub fn folded(alias: Alias, value: &str) -> String {
    match alias {
        Alias::Phone => value.to_owned(),
        Alias::Username | Alias::Email => value.to_lowercase(),
    }
}

/// Bytes as digits, as [`Seen`] keeps a sub.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The systems that this build can measure, Stoa first.
pub fn systems() -> Vec<System> {
    crate::peers::all()
}

/// Where a system keeps its files below a directory of runs.
pub fn dir_of(dir: &Path, system: &System) -> PathBuf {
    dir.join(system.name)
}
