//! How far an input came: what decides whether it is worth changing further.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The most notes that one input may leave.
const NOTES_MAX: usize = 256;

/// What one input made a parser do, as notes that are compared with those of all inputs before.
///
/// It stands in for the coverage of instrumented code: this project's errors name structure, offset and reason, so that
/// each check in a parser has a note of its own.
#[derive(Debug, Default)]
pub struct Seen {
    notes: Vec<u64>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self { notes: Vec::with_capacity(NOTES_MAX) }
    }

    /// Notes something that this input did, e.g. an error's structure and reason.
    pub fn note(&mut self, what: impl Hash) {
        if self.notes.len() < NOTES_MAX {
            let mut hasher = DefaultHasher::new();
            what.hash(&mut hasher);
            self.notes.push(hasher.finish());
        }
    }

    /// Notes a message without its digits, which would make every one a new one.
    pub fn message(&mut self, text: &str) {
        let letters: Vec<char> = text.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        self.note(letters);
    }

    /// Notes how much there is of something: its power of two.
    pub fn count(&mut self, what: &'static str, count: usize) {
        self.note((what, usize::BITS - count.leading_zeros()));
    }

    pub(crate) fn clear(&mut self) {
        self.notes.clear();
    }

    /// Adds the notes to `all`; answers whether one of them is new there.
    pub(crate) fn is_new_in(&self, all: &mut HashSet<u64>) -> bool {
        self.notes.iter().fold(false, |new, note| all.insert(*note) | new)
    }
}
