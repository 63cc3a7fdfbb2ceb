//! What stands behind the options of a write: attributes and values, or a JSON object, then a secret.

use bytes::Bytes;
use stoa_engine::pool::request::Input;
use zeroize::Zeroizing;

use super::{Args, json, text};
use crate::refusal::{Refusal, Result};

/// Words that no attribute may be called, for ever: options, and fields of replies.
const RESERVED: [&str; 33] = [
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
];

/// A password as text, or the hash of one.
pub(crate) enum Secret {
    /// To be hashed.
    Text(Zeroizing<Vec<u8>>),
    /// A hash string of a scheme that Stoa verifies.
    Hash(Box<str>),
}

/// Attributes with their values, in the order given.
#[derive(Default)]
pub(crate) struct Pairs {
    /// Names and values; each name once.
    pub attrs: Vec<(Box<str>, Input)>,
    /// What stood behind them.
    pub secret: Option<Secret>,
}

impl Pairs {
    /// Reads all that is left: pairs or `JSON object`, then, where `with_secret`, `PASSWORD text` or
    /// `HASH phc`.
    pub(crate) fn read(args: &mut Args<'_>, with_secret: bool) -> Result<Self> {
        let mut pairs = Self::default();
        let is_json = args.keyword("JSON");
        if is_json {
            pairs.attrs = json::attributes(args.text()?)?;
        }
        while args.left() > 0 {
            if with_secret && let Some(secret) = Secret::read(args)? {
                pairs.secret = Some(secret);
                args.end()?;
                break;
            }
            if is_json {
                args.end()?;
            }
            let name = attribute(args)?;
            if args.left() == 0 {
                return Err(Refusal::invalid("the last attribute has no value"));
            }
            pairs.attrs.push((name.into(), Input::Raw(Bytes::copy_from_slice(args.bytes()?))));
        }
        refuse_twice(&pairs.attrs)?;
        Ok(pairs)
    }
}

impl Secret {
    /// Reads `PASSWORD text` or `HASH phc` if it stands here.
    pub(crate) fn read(args: &mut Args<'_>) -> Result<Option<Self>> {
        if args.keyword("PASSWORD") {
            Ok(Some(Self::Text(Zeroizing::new(args.bytes()?.to_vec()))))
        } else if args.keyword("HASH") {
            Ok(Some(Self::Hash(args.text()?.into())))
        } else {
            Ok(None)
        }
    }
}

/// Reads an attribute's name.
pub(crate) fn attribute<'a>(args: &mut Args<'a>) -> Result<&'a str> {
    let word = args.bytes()?;
    if RESERVED.iter().any(|reserved| word.eq_ignore_ascii_case(reserved.as_bytes())) {
        return Err(Refusal::invalid(
            "an option stands out of place: options come before the attributes, PASSWORD or HASH last",
        ));
    }
    if !is_attribute(word) {
        return Err(Refusal::invalid(
            "an attribute's name is 1 to 32 of a-z 0-9 _ and begins with a letter, or custom: and the same",
        ));
    }
    text(word)
}

/// Whether this has the form of an attribute's name.
pub(crate) fn is_attribute(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"custom:").unwrap_or(word);
    matches!(word.first(), Some(b'a'..=b'z'))
        && word.len() <= 32
        && word.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Whether this can be an attribute that a client sets.
pub(super) fn may_be_set(name: &str) -> bool {
    is_attribute(name.as_bytes()) && !RESERVED.contains(&name)
}

fn refuse_twice(attrs: &[(Box<str>, Input)]) -> Result<()> {
    let twice = if attrs.len() <= 16 {
        attrs.iter().enumerate().any(|(at, (name, _))| attrs[..at].iter().any(|(other, _)| other == name))
    } else {
        let mut names: Vec<&str> = attrs.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    };
    if twice { Err(Refusal::invalid("an attribute is named twice")) } else { Ok(()) }
}
