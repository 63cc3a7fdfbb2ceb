//! What reads answer: owned views of users, groups, factors and pools.

use std::sync::Arc;

use bytes::Bytes;
use stoa_format::{PoolId, Seq, Sub};

use super::request::Status;
use super::value::Value;

/// Which attributes of a user to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Select {
    /// All that are set.
    #[default]
    All,
    /// These, in this order; absent ones answer `None`.
    Named(Arc<[Box<str>]>),
    /// The built-in fields alone.
    Nothing,
}

/// A user, or the part of it that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct UserView {
    /// The immutable UUID.
    pub sub: Sub,
    /// +1 for each change of profile or credentials.
    pub version: u64,
    /// May sign in, as far as the operator is concerned.
    pub enabled: bool,
    /// The sign-in status.
    pub status: Status,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub updated_at_ms: u64,
    /// The attributes; only `Select::Named` yields `None`. Built-in fields asked for by name
    /// (`sub`, `version`, `enabled`, `status`, `created_at`, `updated_at`, `locked`) are among them.
    pub attrs: Vec<(Arc<str>, Option<Value>)>,
}

/// A group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupView {
    /// Its name, unique in the pool.
    pub name: Box<str>,
    /// Free text.
    pub description: Option<Box<str>>,
    /// Lower comes first.
    pub precedence: Option<i64>,
    /// A role's name or URI.
    pub role: Option<Box<str>>,
    /// What kind of group this is.
    pub kind: Option<Box<str>>,
    /// Anything else.
    pub json: Option<serde_json::Map<String, serde_json::Value>>,
    /// +1 for each change of its properties.
    pub version: u64,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub updated_at_ms: u64,
}

/// A stored password hash.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordView {
    /// Whose.
    pub sub: Sub,
    /// A short name of its scheme, e.g. `argon2id`.
    pub scheme: &'static str,
    /// The hash string as it was taken.
    pub hash: Box<str>,
    /// Milliseconds since the Unix epoch.
    pub set_at_ms: u64,
}

/// A further factor.
#[derive(Clone, PartialEq, Eq)]
pub struct FactorView {
    /// `totp`, `webauthn` or `recovery`.
    pub kind: Box<str>,
    /// Its id.
    pub id: Box<str>,
    /// A name for people.
    pub label: Option<Box<str>>,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// The secret; only where it was asked for.
    pub blob: Option<Bytes>,
}

/// A linked identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityView {
    /// The provider's name.
    pub provider: Box<str>,
    /// The subject there.
    pub subject: Box<str>,
}

/// A configuration document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigView {
    /// +1 for each replacement.
    pub version: u64,
    /// The document, in canonical form.
    pub json: Box<str>,
}

/// Why a password check did not end in a sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The secret does not match.
    Wrong,
    /// No such user.
    NoUser,
    /// The user has no password.
    NoPassword,
    /// The user is disabled.
    Disabled,
    /// Too many failures.
    Locked,
    /// Not confirmed yet.
    Unconfirmed,
    /// The password must be reset.
    ResetRequired,
    /// The password is temporary and must be changed.
    ChangeRequired,
    /// The password is too old.
    Expired,
}

impl Refusal {
    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::NoUser => "no_user",
            Self::NoPassword => "no_password",
            Self::Disabled => "disabled",
            Self::Locked => "locked",
            Self::Unconfirmed => "unconfirmed",
            Self::ResetRequired => "reset_required",
            Self::ChangeRequired => "change_required",
            Self::Expired => "expired",
        }
    }
}

/// The answer to a password check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The secret is right and nothing else stands in the way.
    pub verified: bool,
    /// The secret was right.
    pub matched: bool,
    /// What stands in the way.
    pub reason: Option<Refusal>,
    /// The user; none where there is none.
    pub sub: Option<Sub>,
    /// The user's status; none where there is no user.
    pub status: Option<Status>,
    /// The scheme of the stored hash.
    pub scheme: Option<&'static str>,
    /// The hash was replaced by one of the configured scheme.
    pub upgraded: bool,
    /// Too many failures.
    pub locked: bool,
    /// When the lock ends, milliseconds since the Unix epoch.
    pub locked_until_ms: Option<u64>,
    /// The Seq after the outcome was recorded.
    pub seq: Seq,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The things on this page.
    pub items: Vec<T>,
    /// Where the next page begins; none at the end, and only then.
    pub cursor: Option<String>,
    /// The Seq that all pages of this listing show.
    pub seq: Seq,
}

/// One committed transaction, as the change feed shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its Seq.
    pub seq: Seq,
    /// When it was committed, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What it did.
    pub ops: Vec<ChangeOp>,
}

/// One operation of a committed transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeOp {
    /// e.g. `user.create`.
    pub op: &'static str,
    /// The user concerned.
    pub sub: Option<Sub>,
    /// The group (or document) concerned.
    pub group: Option<Box<str>>,
    /// The version after it.
    pub version: Option<u64>,
    /// The attributes concerned.
    pub attrs: Vec<Arc<str>>,
    /// Where it came from: the access-control user.
    pub origin: Arc<str>,
    /// The values, in the order of `attrs`, if they were asked for; `None` for removed ones.
    pub values: Option<Vec<Option<Value>>>,
}

/// What there is to say about a pool.
#[derive(Debug, Clone)]
pub struct PoolInfo {
    /// Its UUID.
    pub id: PoolId,
    /// Its name.
    pub name: Box<str>,
    /// `open`, `damaged`, `keydisabled`, ….
    pub state: &'static str,
    /// Why, where it is not open.
    pub state_reason: Option<String>,
    /// How many users it holds.
    pub users: u64,
    /// How many groups it holds.
    pub groups: u64,
    /// The newest visible Seq.
    pub seq: Seq,
    /// The newest durable Seq.
    pub durable_seq: Seq,
    /// The leadership term.
    pub epoch: u32,
    /// `primary` or `replica`.
    pub role: &'static str,
    /// The chain digest after `seq`, hexadecimal.
    pub chain: String,
    /// The digest of all facts, hexadecimal; none while the tree is not built.
    pub digest: Option<String>,
    /// The schema document.
    pub schema: String,
    /// The schema's version.
    pub schema_version: u64,
    /// Which customer key wraps the data key.
    pub key: KeyInfo,
    /// Bytes of live files.
    pub disk_live_bytes: u64,
    /// Bytes of files that nothing names any more.
    pub disk_garbage_bytes: u64,
    /// Bytes of the log that this pool has not flushed.
    pub log_bytes_unflushed: u64,
    /// How many runs it has.
    pub runs: u64,
    /// Ordinals that can still be minted.
    pub ordinals_left: u64,
    /// When values of deleted users must be gone next, milliseconds since the Unix epoch; none where all are.
    pub erasure_due_ms: Option<u64>,
    /// When it was last verified, milliseconds since the Unix epoch.
    pub last_verify_ms: Option<u64>,
}

/// Which keys a pool is under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// e.g. `local`.
    pub provider: String,
    /// The customer key's id.
    pub key_id: String,
    /// The newest data key.
    pub key_epoch: u32,
    /// All data keys that some file still needs.
    pub epochs_in_use: Vec<u32>,
    /// Bytes in files that are not under the newest data key.
    pub bytes_to_reseal: u64,
}
