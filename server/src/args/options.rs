//! Options: keywords, alone or with one value, in any order, each at most once.

use bytes::Bytes;

use super::{Args, number, text};
use crate::refusal::{Refusal, Result};

/// What follows a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing.
    Nothing,
    /// One word.
    Word,
    /// A count and that many words, as `ARGS n v …`.
    Counted,
}

/// The most different options that a command has.
const OPTIONS_MAX: usize = 10;
/// The longest retry token, in bytes.
const TOKEN_BYTES_MAX: usize = 64;

/// The options of one request.
pub(crate) struct Options<'a> {
    allowed: &'static [(&'static str, Takes)],
    given: [Option<Args<'a>>; OPTIONS_MAX],
}

impl<'a> Options<'a> {
    /// Reads options from the front of `args`, up to the first word that is none of `allowed`.
    pub(crate) fn read(args: &mut Args<'a>, allowed: &'static [(&'static str, Takes)]) -> Result<Self> {
        let mut options = Self { allowed, given: [None; OPTIONS_MAX] };
        while let Some(word) = args.peek() {
            let Some(index) = allowed.iter().position(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())) else {
                break;
            };
            let (name, takes) = allowed[index];
            args.bytes()?;
            let values = *args;
            let skip = match takes {
                Takes::Nothing => 0,
                Takes::Word => 1,
                Takes::Counted => usize::try_from(args.number(name)?).unwrap_or(usize::MAX),
            };
            if args.left() < skip {
                return Err(Refusal::invalid(format!("{name} lacks its value")));
            }
            for _ in 0..skip {
                args.bytes()?;
            }
            if options.given[index].replace(values).is_some() {
                return Err(Refusal::invalid(format!("{name} is given twice")));
            }
        }
        Ok(options)
    }

    fn values(&self, name: &'static str) -> Option<Args<'a>> {
        let index = self.allowed.iter().position(|(allowed, _)| *allowed == name);
        debug_assert!(index.is_some(), "{name} is not among the options of this command");
        self.given[index?]
    }

    /// Whether the option was given.
    pub(crate) fn has(&self, name: &'static str) -> bool {
        self.values(name).is_some()
    }

    /// Its value.
    pub(crate) fn bytes(&self, name: &'static str) -> Result<Option<&'a [u8]>> {
        self.values(name).map(|mut values| values.bytes()).transpose()
    }

    /// Its value as text.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&'a str>> {
        self.bytes(name)?
            .map(|word| text(word).map_err(|_| Refusal::invalid(format!("{name} is not UTF-8"))))
            .transpose()
    }

    /// Its value as a number below 2^53.
    pub(crate) fn number(&self, name: &'static str) -> Result<Option<u64>> {
        self.bytes(name)?.map(|word| number(word, name)).transpose()
    }

    /// Its value as a number that may be negative.
    pub(crate) fn integer(&self, name: &'static str) -> Result<Option<i64>> {
        self.text(name)?
            .map(|word| word.parse().map_err(|_| Refusal::invalid(format!("{name} is not an integer"))))
            .transpose()
    }

    /// Its counted values.
    pub(crate) fn counted(&self, name: &'static str) -> Result<Vec<Bytes>> {
        let Some(mut values) = self.values(name) else { return Ok(Vec::new()) };
        let count = values.number(name)?;
        (0..count).map(|_| values.bytes().map(Bytes::copy_from_slice)).collect()
    }

    /// The retry token.
    pub(crate) fn token(&self) -> Result<Option<Bytes>> {
        match self.bytes("TOKEN")? {
            Some(token) if token.is_empty() || token.len() > TOKEN_BYTES_MAX => {
                Err(Refusal::invalid(format!("TOKEN is 1 to {TOKEN_BYTES_MAX} bytes")))
            }
            token => Ok(token.map(Bytes::copy_from_slice)),
        }
    }
}
