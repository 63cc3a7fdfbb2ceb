//! Names as checked types: parse once at the edge, then pass these.
//!
//! 1. A value of one of these types has passed its grammar; there is no other way to make one.
//! 2. Refusals say which rule was broken, never the text that broke it.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// What kind of name was refused, and the rule that it breaks. Never holds the name itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{what} must be {rule}")]
pub struct InvalidName {
    /// The kind of name, e.g. `"a pool's name"`.
    pub what: &'static str,
    /// The rule in words.
    pub rule: &'static str,
}

/// Words that stand for options and fixed fields on the wire (protocol §2), so never for an attribute.
///
/// The last line is ours: fields of a full read and of filters, the words of the filter grammar,
/// and `ifdigest`, which stands before the pairs of an ingest.
pub const RESERVED_WORDS: &[&str] = &[
    "sub",
    "if",
    "minseq",
    "version",
    "token",
    "password",
    "hash",
    "secret",
    "json",
    "attrs",
    "filter",
    "limit",
    "cursor",
    "sort",
    "desc",
    "offset",
    "takealias",
    "temporary",
    "enabled",
    "status",
    "groups",
    "identities",
    "creds",
    "backfill",
    "label",
    "ttl",
    "tries",
    "opt",
    "values",
    "kind",
    "args",
    "attempt",
    "login",
    "created_at",
    "updated_at",
    "locked",
    "and",
    "or",
    "not",
    "ifdigest",
];

/// What stands before the name of an attribute that is the pool's own.
pub const CUSTOM_PREFIX: &str = "custom:";

/// The longest attribute name in bytes, without [`CUSTOM_PREFIX`].
pub const ATTR_NAME_MAX_BYTES: usize = 32;

/// The longest group name, in characters.
pub const GROUP_NAME_MAX_CHARS: usize = 128;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type! {
    /// A pool's name: `[a-z0-9][a-z0-9_.-]{0,63}`.
    PoolName
}
name_type! {
    /// An attribute's name: `[a-z][a-z0-9_]{0,31}` and no reserved word, or `custom:` and the same
    /// (there every word is free).
    AttrName
}
name_type! {
    /// A group's name: 1 to 128 characters, none of them a control character; `/` makes a path.
    ///
    /// Compared exactly, byte for byte. Any other character may stand in it, a leading or doubled `/` too,
    /// because other systems' group paths (`/staff/admins`) are kept as they are.
    GroupName
}
name_type! {
    /// A configuration document's name: `[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}`, compared exactly.
    ConfigName
}

macro_rules! show {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )*};
}
show!(PoolName AttrName ConfigName);

/// A group's name is stored data: it must not reach a log by way of `{:?}`.
impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupName({} bytes)", self.0.len())
    }
}

impl PoolName {
    /// Checks a pool's name.
    ///
    /// # Errors
    /// The rule, if `text` breaks it.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let rest = |b: u8| first(b) || matches!(b, b'_' | b'.' | b'-');
        check(text, 64, first, rest).then(|| Self(text.into())).ok_or(InvalidName {
            what: "a pool's name",
            rule: "1 to 64 of a-z 0-9 _ . - and begin with a letter or digit",
        })
    }
}

impl AttrName {
    /// Checks an attribute's name.
    ///
    /// # Errors
    /// The rule, if `text` breaks it or is a reserved word.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let what = "an attribute's name";
        let (bare, custom) = match text.strip_prefix(CUSTOM_PREFIX) {
            Some(bare) => (bare, true),
            None => (text, false),
        };
        let first = |b: u8| b.is_ascii_lowercase();
        let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !check(bare, ATTR_NAME_MAX_BYTES, first, rest) {
            let rule = "1 to 32 of a-z 0-9 _ and begin with a letter (custom: may stand before it)";
            return Err(InvalidName { what, rule });
        }
        if !custom && RESERVED_WORDS.contains(&bare) {
            return Err(InvalidName { what, rule: "none of the reserved words (put custom: before it)" });
        }
        Ok(Self(text.into()))
    }

    /// Whether the name begins with `custom:`.
    pub fn is_custom(&self) -> bool {
        self.0.starts_with(CUSTOM_PREFIX)
    }

    /// The text shared, without a copy.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl GroupName {
    /// Checks a group's name.
    ///
    /// # Errors
    /// The rule, if `text` breaks it.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        // A character takes at most four bytes: no need to count those of a text that is far too long.
        let fits =
            !text.is_empty() && text.len() <= 4 * GROUP_NAME_MAX_CHARS && text.chars().count() <= GROUP_NAME_MAX_CHARS;
        if fits && !text.chars().any(char::is_control) {
            return Ok(Self(text.into()));
        }
        Err(InvalidName { what: "a group's name", rule: "1 to 128 characters without control characters" })
    }
}

impl ConfigName {
    /// Checks a configuration document's name.
    ///
    /// # Errors
    /// The rule, if `text` breaks it.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let first = |b: u8| b.is_ascii_alphanumeric();
        let rest = |b: u8| first(b) || matches!(b, b'_' | b'.' | b':' | b'-');
        check(text, 64, first, rest).then(|| Self(text.into())).ok_or(InvalidName {
            what: "a configuration document's name",
            rule: "1 to 64 of letters, digits, _ . : - and begin with a letter or digit",
        })
    }
}

/// Whether `text` has 1 to `max_bytes` bytes, its first passing `first`, all others `rest`.
fn check(text: &str, max_bytes: usize, first: impl Fn(u8) -> bool, rest: impl Fn(u8) -> bool) -> bool {
    match text.as_bytes() {
        [head, tail @ ..] => text.len() <= max_bytes && first(*head) && tail.iter().all(|&b| rest(b)),
        [] => false,
    }
}

/// Whether `text` is a phone number in E.164 form: `+`, then 2 to 15 digits, the first not 0.
pub fn is_e164(text: &str) -> bool {
    match text.as_bytes() {
        [b'+', b'1'..=b'9', tail @ ..] => (1..=14).contains(&tail.len()) && tail.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Brings an international phone number as people write it (`+1 (555) 010-9999`) to E.164 by dropping
/// spaces, hyphens, dots, slashes and parentheses. `None` if what is left is not E.164: a number without
/// country code is never guessed at. For importers; the store itself takes E.164 only.
pub fn to_e164(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '/' | '(' | ')' | '\u{a0}')).collect();
    is_e164(&digits).then_some(digits)
}

/// Where a user stands in the sign-in flow; kept as a small integer in the `STATUS` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Created without a credential; the address is not confirmed.
    Unconfirmed = 0,
    /// May sign in.
    Confirmed = 1,
    /// Must go through a reset before the next sign-in.
    ResetRequired = 2,
    /// Signed in with a temporary password, which must be changed.
    ForceChangePassword = 3,
    /// Signs in elsewhere; has no password here.
    External = 4,
}

impl Status {
    /// All of them, in order of their code.
    pub const ALL: [Self; 5] =
        [Self::Unconfirmed, Self::Confirmed, Self::ResetRequired, Self::ForceChangePassword, Self::External];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unconfirmed => "UNCONFIRMED",
            Self::Confirmed => "CONFIRMED",
            Self::ResetRequired => "RESET_REQUIRED",
            Self::ForceChangePassword => "FORCE_CHANGE_PASSWORD",
            Self::External => "EXTERNAL",
        }
    }

    /// The code in the column.
    pub const fn code(self) -> i64 {
        self as i64
    }

    /// The status of a column's code; `None` if there is no such.
    pub fn from_code(code: i64) -> Option<Self> {
        usize::try_from(code).ok().and_then(|code| Self::ALL.get(code)).copied()
    }

    /// Reads the word, in either case.
    ///
    /// # Errors
    /// The list of words, if `text` is none of them.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        Self::ALL.into_iter().find(|status| status.word().eq_ignore_ascii_case(text)).ok_or(InvalidName {
            what: "a status",
            rule: "UNCONFIRMED, CONFIRMED, RESET_REQUIRED, FORCE_CHANGE_PASSWORD or EXTERNAL",
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_names() {
        let longest = "p".repeat(64);
        for good in ["acme", "0", "a_b.c-d", &longest] {
            assert_eq!(PoolName::parse(good).unwrap().as_str(), good);
        }
        let too_long = "p".repeat(65);
        for bad in ["", "-a", ".a", "_a", "Acme", "a b", "ä", "a/b", &too_long] {
            assert!(PoolName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn attribute_names() {
        let longest = "p".repeat(32);
        for good in ["email", "a", "a1_", "custom:plan", "custom:sub", "custom:if", &longest] {
            assert!(AttrName::parse(good).is_ok(), "{good}");
        }
        let too_long = "p".repeat(33);
        for bad in ["", "custom:", "Email", "1a", "_a", "a-b", "custom:custom:a", "other:a", "é", &too_long] {
            assert!(AttrName::parse(bad).is_err(), "{bad}");
        }
        for word in RESERVED_WORDS {
            assert!(AttrName::parse(word).is_err(), "{word}");
        }
        assert!(AttrName::parse("custom:plan").unwrap().is_custom());
        assert!(!AttrName::parse("customs").unwrap().is_custom());
    }

    #[test]
    fn group_names() {
        let longest = "組".repeat(128);
        for good in ["staff", "/staff/admins", "Größe XL", " ", &longest] {
            assert!(GroupName::parse(good).is_ok(), "{good}");
        }
        let too_long = "組".repeat(129);
        for bad in ["", "a\nb", "a\0", "\u{85}", &too_long] {
            assert!(GroupName::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(format!("{:?}", GroupName::parse("staff").unwrap()), "GroupName(5 bytes)");
    }

    #[test]
    fn phone_numbers() {
        for good in ["+15550109999", "+12", "+123456789012345"] {
            assert!(is_e164(good), "{good}");
        }
        for bad in ["", "+", "+1", "15550109999", "+05550109999", "+1 555", "+1234567890123456", "+1555010999٩"] {
            assert!(!is_e164(bad), "{bad}");
        }
        assert_eq!(to_e164("+1 (555) 010-9999").as_deref(), Some("+15550109999"));
        assert_eq!(to_e164("(555) 010-9999"), None);
        assert_eq!(to_e164("+1 555 ext 3"), None);
    }

    #[test]
    fn statuses_round_trip() {
        for status in Status::ALL {
            assert_eq!(Status::from_code(status.code()), Some(status));
            assert_eq!(Status::parse(&status.word().to_lowercase()), Ok(status));
        }
        assert_eq!(Status::from_code(5), None);
        assert_eq!(Status::from_code(-1), None);
        assert!(Status::parse("GONE").is_err());
    }
}
