//! The neutral record: what every parser of a foreign format produces and every exporter takes.
//!
//! Invariants:
//! 1. A record borrows from the input wherever the input holds the value as it is (`'a` is the mapped file), and owns
//!    what had to be decoded. Nothing is copied before it must be.
//! 2. Attributes stand in `attrs` at most once each, under a key of the import's [`AttrTable`](super::attrs::AttrTable),
//!    and have the type that the table says.
//! 3. No reason, note or `Debug` text of this module holds a value from the input.

use std::{borrow::Cow, fmt};

use zeroize::Zeroizing;

/// Text of a record: borrowed from the input, or owned where it had to be decoded.
pub(crate) type Text<'a> = Cow<'a, str>;

/// An attribute's place in the import's [`AttrTable`](super::attrs::AttrTable): names are compared once, not a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AttrKey(pub(crate) u16);

/// One attribute's value. The variant agrees with the attribute's type in the table.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum ImportValue<'a> {
    /// A string.
    Str(Text<'a>),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A timestamp in milliseconds since 1970.
    Time(i64),
    /// JSON text as it stood in the input, not canonical.
    Json(Text<'a>),
    /// Bytes that are no text, such as a photo.
    Bytes(Cow<'a, [u8]>),
    /// A set of strings: sorted bytewise, each once, never empty.
    Multi(Vec<Text<'a>>),
}

/// What the source says of the password.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) enum ImportPassword<'a> {
    /// Nothing: whatever the pool holds stays.
    #[default]
    None,
    /// A stored hash in a form that the engine takes (`CRED.SET … HASH`).
    Hash(Text<'a>),
    /// A password in the clear, to be hashed at once.
    Plain(Zeroizing<String>),
    /// There is none that can be verified: the user must set a new one.
    ResetRequired,
    /// The account is locked (`*`, `!`): disabled, and a new password is needed.
    Locked,
    /// There is a hash, in a form that cannot be verified.
    Unsupported {
        /// Which form, without any of its content.
        reason: Cow<'static, str>,
    },
}

/// The user's place in the sign-in life cycle, as in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Registered, not yet confirmed.
    Unconfirmed,
    /// May sign in.
    Confirmed,
    /// Must set a new password.
    ResetRequired,
    /// Signs in once with a temporary password and must change it.
    ForceChangePassword,
    /// Signs in elsewhere; has no password here.
    External,
}

impl Status {
    /// The status as the protocol writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Unconfirmed => "UNCONFIRMED",
            Self::Confirmed => "CONFIRMED",
            Self::ResetRequired => "RESET_REQUIRED",
            Self::ForceChangePassword => "FORCE_CHANGE_PASSWORD",
            Self::External => "EXTERNAL",
        }
    }

    /// Reads what [`Status::as_str`] writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Unconfirmed, Self::Confirmed, Self::ResetRequired, Self::ForceChangePassword, Self::External]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// Kinds of further factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FactorKind {
    /// A time-based one-time password.
    Totp,
    /// A WebAuthn credential; its id is unique in the pool.
    Webauthn,
    /// A recovery code.
    Recovery,
}

impl FactorKind {
    /// The kind as the protocol writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Webauthn => "webauthn",
            Self::Recovery => "recovery",
        }
    }

    /// Reads what [`FactorKind::as_str`] writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Totp, Self::Webauthn, Self::Recovery].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A further factor, kept as the source held it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Factor<'a> {
    pub(crate) kind: FactorKind,
    pub(crate) id: Text<'a>,
    pub(crate) label: Option<Text<'a>>,
    /// The factor's secret and parameters, in the source's own form.
    pub(crate) blob: Cow<'a, [u8]>,
}

/// One user of the source.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct ImportUser<'a> {
    /// Where it stands, from 1: its first line in LDIF, CSV and NDJSON, its place in a JSON array.
    pub(crate) line: u64,
    /// The source's immutable id, if that is a UUID.
    pub(crate) sub: Option<[u8; 16]>,
    /// Attributes, each at most once.
    pub(crate) attrs: Vec<(AttrKey, ImportValue<'a>)>,
    pub(crate) password: ImportPassword<'a>,
    pub(crate) enabled: Option<bool>,
    /// None: follows from the password (protocol §3, sign-in).
    pub(crate) status: Option<Status>,
    /// Milliseconds since 1970.
    pub(crate) created_at_ms: Option<i64>,
    /// Milliseconds since 1970.
    pub(crate) updated_at_ms: Option<i64>,
    /// Groups that the user's own record names. A source announces each as an [`Item::Group`] before, so that its kind
    /// is known; that group may be bare.
    pub(crate) groups: Vec<Text<'a>>,
    /// Linked identities: provider and subject.
    pub(crate) identities: Vec<(Text<'a>, Text<'a>)>,
    pub(crate) factors: Vec<Factor<'a>>,
    /// The password is temporary: FORCE_CHANGE_PASSWORD.
    pub(crate) temporary: bool,
}

impl<'a> ImportUser<'a> {
    /// The value of an attribute, if the record has it.
    pub(crate) fn attr(&self, key: AttrKey) -> Option<&ImportValue<'a>> {
        self.attrs.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// Makes the user a member of a group; one without a name is left out, with a note.
    pub(crate) fn join(&mut self, group: Text<'a>, notes: &mut Vec<Cow<'static, str>>) {
        match group.is_empty() {
            true => notes.push("a group without a name: left out".into()),
            false => self.groups.push(group),
        }
    }

    /// A string attribute's text.
    pub(crate) fn text(&self, key: AttrKey) -> Option<&str> {
        match self.attr(key)? {
            ImportValue::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Sets an attribute, in place of what it had.
    pub(crate) fn set(&mut self, key: AttrKey, value: ImportValue<'a>) {
        match self.attrs.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => *old = value,
            None => self.attrs.push((key, value)),
        }
    }
}

/// How a group names one of its members.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum MemberRef<'a> {
    /// By the user's immutable id.
    Sub([u8; 16]),
    /// By the user's username.
    Username(Text<'a>),
    /// By the user's e-mail address, where there is no username.
    Email(Text<'a>),
}

/// One group of the source. What is None is not said: a group that exists keeps its own.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct ImportGroup<'a> {
    /// Where it stands, from 1, as in [`ImportUser::line`].
    pub(crate) line: u64,
    /// 1 to 128 characters; `/` makes a path.
    pub(crate) name: Text<'a>,
    pub(crate) description: Option<Text<'a>>,
    pub(crate) precedence: Option<i64>,
    pub(crate) role: Option<Text<'a>>,
    pub(crate) kind: Option<Text<'a>>,
    /// A JSON object.
    pub(crate) attributes: Option<Text<'a>>,
    pub(crate) members: Vec<MemberRef<'a>>,
}

/// What a source yields, in the order of the input. Several may carry the same line.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A user to create or bring up to date.
    User(ImportUser<'a>),
    /// A group to create or bring up to date.
    Group(ImportGroup<'a>),
    /// A row that cannot be taken.
    Refused {
        /// Where it stands.
        line: u64,
        /// Why, without values.
        reason: Cow<'static, str>,
    },
    /// A row that is no user and no group, or is left out on purpose.
    Skipped {
        /// Where it stands.
        line: u64,
        /// Why, without values.
        reason: Cow<'static, str>,
    },
    /// The row was taken, and something of it was changed or left out.
    Changed {
        /// Where it stands.
        line: u64,
        /// What, without values.
        note: Cow<'static, str>,
    },
}

impl fmt::Debug for ImportValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Str(_) => "Str(…)",
            Self::Bool(_) => "Bool(…)",
            Self::Int(_) => "Int(…)",
            Self::Time(_) => "Time(…)",
            Self::Json(_) => "Json(…)",
            Self::Bytes(_) => "Bytes(…)",
            Self::Multi(_) => "Multi(…)",
        })
    }
}

impl fmt::Debug for ImportPassword<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Hash(_) => f.write_str("Hash(…)"),
            Self::Plain(_) => f.write_str("Plain(…)"),
            Self::ResetRequired => f.write_str("ResetRequired"),
            Self::Locked => f.write_str("Locked"),
            Self::Unsupported { reason } => write!(f, "Unsupported({reason})"),
        }
    }
}

impl fmt::Debug for Factor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} factor", self.kind.as_str())
    }
}

impl fmt::Debug for ImportUser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User at {} ({} attributes, {:?})", self.line, self.attrs.len(), self.password)
    }
}

impl fmt::Debug for ImportGroup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group at {} ({} members)", self.line, self.members.len())
    }
}

impl fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Group(group) => group.fmt(f),
            Self::Refused { line, reason } => write!(f, "Refused at {line}: {reason}"),
            Self::Skipped { line, reason } => write!(f, "Skipped at {line}: {reason}"),
            Self::Changed { line, note } => write!(f, "Changed at {line}: {note}"),
        }
    }
}
