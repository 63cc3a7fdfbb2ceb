//! Why a request was refused, as it goes on the wire: a first word that says what the caller
//! should do, and a sentence. Never an argument, never a stored value.

use std::borrow::Cow;
use std::fmt;

/// The answer to a request that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    word: &'static str,
    sentence: Cow<'static, str>,
    /// Which operation of a transaction it was, from 0.
    op: Option<usize>,
}

/// A result with a refusal.
pub(crate) type Result<T, E = Refusal> = std::result::Result<T, E>;

impl Refusal {
    /// A refusal with this first word.
    pub(crate) fn new(word: &'static str, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { word, sentence: sentence.into(), op: None }
    }

    /// `ERR …`
    pub(crate) fn err(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new("ERR", sentence)
    }

    /// `INVALID …`: the request cannot be carried out as it stands.
    pub(crate) fn invalid(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new("INVALID", sentence)
    }

    /// `LIMIT …`: a bound is exceeded.
    pub(crate) fn limit(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new("LIMIT", sentence)
    }

    /// `NOPERM …`: the connection's user may not do this.
    pub(crate) fn no_perm(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new("NOPERM", sentence)
    }

    /// The first word.
    pub(crate) fn word(&self) -> &'static str {
        self.word
    }

    /// What follows the first word.
    pub(crate) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Which operation of a transaction it was, from 0.
    pub(crate) fn op(&self) -> Option<usize> {
        self.op
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.word, self.sentence)
    }
}

impl From<stoa_engine::Error> for Refusal {
    fn from(error: stoa_engine::Error) -> Self {
        Self { word: error.kind().word(), sentence: error.message().to_string().into(), op: error.op() }
    }
}
