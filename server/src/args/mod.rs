//! The grammar of arguments (protocol §2): fixed arguments, options, pairs, a secret at the end.
//!
//! 1. Options stand after the fixed arguments, in any order, each at most once; the first word that
//!    is no option of that command begins what follows.
//! 2. An odd word, an attribute named twice or an option out of place is refused.
//! 3. A refusal names what is wrong by position or keyword, never by the word that was sent.

mod json;
mod options;
mod pairs;

pub(crate) use json::object;
pub(crate) use options::{Options, Takes};
pub(crate) use pairs::{Pairs, Secret, attribute, is_attribute};

use stoa_engine::pool::request::UserRef;

use crate::refusal::{Refusal, Result};
use crate::resp::Words;

/// The arguments of one request, read from left to right; the command's own words are behind.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a> {
    words: Words<'a>,
    at: usize,
}

impl<'a> Args<'a> {
    /// The arguments behind the first `skip` words.
    pub(crate) fn new(words: Words<'a>, skip: usize) -> Self {
        Self { words, at: skip }
    }

    /// How many are left.
    pub(crate) fn left(&self) -> usize {
        self.words.len().saturating_sub(self.at)
    }

    /// The request's words, those that were read too.
    pub(crate) fn words(&self) -> Words<'a> {
        self.words
    }

    /// The next one, which stays.
    pub(crate) fn peek(&self) -> Option<&'a [u8]> {
        self.words.get(self.at)
    }

    /// The next one, as it is.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let word = self.peek().ok_or_else(|| Refusal::invalid("an argument is missing at the end"))?;
        self.at += 1;
        Ok(word)
    }

    /// The next one as text.
    pub(crate) fn text(&mut self) -> Result<&'a str> {
        let place = self.at + 1;
        text(self.bytes()?).map_err(|_| Refusal::invalid(format!("word {place} is not UTF-8")))
    }

    /// The next one as a number below 2^53.
    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64> {
        number(self.bytes()?, what)
    }

    /// The next one as a pool's name.
    pub(crate) fn pool(&mut self) -> Result<&'a str> {
        let word = self.bytes()?;
        if !is_pool(word) {
            return Err(Refusal::invalid(
                "a pool's name is 1 to 64 of a-z 0-9 _ . - and begins with a letter or digit",
            ));
        }
        text(word)
    }

    /// The next one as a reference to a user.
    pub(crate) fn user(&mut self) -> Result<UserRef> {
        let refused = || Refusal::invalid("a user is a sub (UUID), attr=value or login=text");
        let user = UserRef::parse(self.text()?).ok_or_else(refused)?;
        match &user {
            UserRef::Alias { attr, value } if value.is_empty() || !is_attribute(attr.as_bytes()) => Err(refused()),
            UserRef::Login(value) if value.is_empty() => Err(refused()),
            _ => Ok(user),
        }
    }

    /// The next one if it is this keyword, in any case.
    pub(crate) fn keyword(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.eq_ignore_ascii_case(keyword.as_bytes()));
        self.at += usize::from(found);
        found
    }

    /// All that are left, as text.
    pub(crate) fn rest(&mut self) -> Result<Vec<&'a str>> {
        let mut rest = Vec::with_capacity(self.left());
        while self.left() > 0 {
            rest.push(self.text()?);
        }
        Ok(rest)
    }

    /// Refuses what is left over.
    pub(crate) fn end(&self) -> Result<()> {
        match self.left() {
            0 => Ok(()),
            _ => Err(Refusal::invalid(format!(
                "word {} is no option or argument of this command, or stands out of place",
                self.at + 1
            ))),
        }
    }
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Refusal::invalid("an argument is not UTF-8"))
}

/// A decimal number below 2^53.
pub(crate) fn number(bytes: &[u8], what: &'static str) -> Result<u64> {
    let digits = bytes.len() <= 16 && !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    digits
        .then(|| bytes.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0')))
        .filter(|number| *number < 1 << 53)
        .ok_or_else(|| Refusal::invalid(format!("{what} is not a number of 0 to 2^53-1")))
}

/// Whether this can name a pool.
pub(crate) fn is_pool(word: &[u8]) -> bool {
    matches!(word.first(), Some(b'a'..=b'z' | b'0'..=b'9'))
        && word.len() <= 64
        && word.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests;
