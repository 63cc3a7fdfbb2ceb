//! What a caller may ask of a pool: every change is an [`Op`] in a [`Transaction`], whoever asks.

use std::sync::Arc;

use bytes::Bytes;
use stoa_format::Sub;

pub use super::names::Status;
pub use super::value::Input;

/// Names one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserRef {
    /// By the immutable UUID.
    Sub(Sub),
    /// By a unique alias: attribute name and value as it travels.
    Alias {
        /// The attribute, e.g. `email`.
        attr: Box<str>,
        /// The value, in any form that the attribute's collation takes as equal.
        value: Box<str>,
    },
    /// By any of the aliases that the pool's `login` document names.
    Login(Box<str>),
}

impl UserRef {
    /// Reads the wire form: a sub, `attr=value` or `login=text`. `None` if it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('=') {
            Some(("login", value)) => Some(Self::Login(value.into())),
            Some((attr, value)) => Some(Self::Alias { attr: attr.into(), value: value.into() }),
            None => Sub::parse(text).map(Self::Sub),
        }
    }
}

/// Makes a write safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryToken {
    /// 1 to 64 bytes, chosen by the client.
    pub token: Bytes,
    /// A digest of the request's content, so that the same token with other content is refused.
    pub request: [u8; 16],
}

/// Operations on one pool that become visible together, or not at all.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// The access-control user on whose behalf this is done; retry tokens are theirs.
    pub actor: Arc<str>,
    /// Makes it safe to repeat.
    pub token: Option<RetryToken>,
    /// What to do, in order; reads inside see the state before the transaction.
    pub ops: Vec<Op>,
}

/// A new user.
#[derive(Debug, Clone, Default)]
pub struct NewUser {
    /// A UUIDv7 is minted where there is none.
    pub sub: Option<Sub>,
    /// Takes a `verified` alias over from its owner, who becomes unverified.
    pub take_alias: bool,
    /// Attribute names and values.
    pub attrs: Vec<(Box<str>, Input)>,
    /// The stored form of the password: a hash string that [`crate::password::parse`] accepts.
    pub password: Option<Box<str>>,
    /// The password must be changed at first use.
    pub temporary: bool,
    /// `CONFIRMED` with a password and `UNCONFIRMED` without, unless given.
    pub status: Option<Status>,
    /// Enabled unless given.
    pub enabled: Option<bool>,
    /// Kept from the system the user comes from, in milliseconds since the Unix epoch.
    pub created_at_ms: Option<u64>,
    /// Kept from the system the user comes from, in milliseconds since the Unix epoch.
    pub updated_at_ms: Option<u64>,
}

/// A group's properties; `None` leaves what is there.
#[derive(Debug, Clone, Default)]
pub struct GroupFields {
    /// Free text.
    pub description: Option<Box<str>>,
    /// Lower comes first.
    pub precedence: Option<i64>,
    /// A role's name or URI.
    pub role: Option<Box<str>>,
    /// What kind of group this is, e.g. `team`.
    pub kind: Option<Box<str>>,
    /// Anything else, a JSON object.
    pub json: Option<serde_json::Map<String, serde_json::Value>>,
}

/// When failures lock a user, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lockout {
    /// Failures from this one on lock; 0 for never.
    pub max_attempts: u32,
    /// How long the first lock lasts; each further failure doubles it.
    pub base_delay_ms: u64,
    /// No lock lasts longer.
    pub max_delay_ms: u64,
}

impl Default for Lockout {
    fn default() -> Self {
        Self { max_attempts: 5, base_delay_ms: 1000, max_delay_ms: 900_000 }
    }
}

impl Lockout {
    /// Until when `failures` lock a user, the last of them at `now_ms`; 0 for not at all.
    pub fn locked_until_ms(&self, failures: u32, now_ms: u64) -> u64 {
        if self.max_attempts == 0 || failures < self.max_attempts {
            return 0;
        }
        let doublings = (failures - self.max_attempts).min(32);
        now_ms + self.base_delay_ms.saturating_mul(1 << doublings).min(self.max_delay_ms)
    }
}

/// What a password check came to.
#[derive(Clone)]
pub struct CheckRecorded {
    pub(crate) ordinal: stoa_format::Ordinal,
    pub(crate) matched: bool,
    pub(crate) verified: bool,
    pub(crate) attempt: Option<Box<str>>,
    /// The hash that was checked.
    pub(crate) checked: Box<str>,
    /// The hash that is to replace it.
    pub(crate) upgraded: Option<Box<str>>,
    pub(crate) lockout: Lockout,
}

impl std::fmt::Debug for CheckRecorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CheckRecorded(ordinal {}, matched {})", self.ordinal, self.matched)
    }
}

/// One change.
#[derive(Debug, Clone)]
pub enum Op {
    /// Makes a user.
    UserCreate(Box<NewUser>),
    /// Sets or removes attributes.
    UserSet {
        /// Whom.
        user: UserRef,
        /// Only if this is the user's version.
        if_version: Option<u64>,
        /// Takes `verified` aliases over.
        take_alias: bool,
        /// Attribute names and values; JSON null removes.
        changes: Vec<(Box<str>, Input)>,
    },
    /// Adds values to multi-valued attributes.
    UserAdd {
        /// Whom.
        user: UserRef,
        /// Only if this is the user's version.
        if_version: Option<u64>,
        /// Attribute names and values.
        values: Vec<(Box<str>, Input)>,
    },
    /// Removes values from multi-valued attributes.
    UserRemove {
        /// Whom.
        user: UserRef,
        /// Only if this is the user's version.
        if_version: Option<u64>,
        /// Attribute names and values.
        values: Vec<(Box<str>, Input)>,
    },
    /// Deletes a user with all that belongs to it. No such user: changed 0.
    UserDelete {
        /// Whom.
        user: UserRef,
        /// Only if this is the user's version.
        if_version: Option<u64>,
    },
    /// Enables or disables sign-in.
    UserEnable {
        /// Whom.
        user: UserRef,
        /// On or off.
        enabled: bool,
    },
    /// Sets the sign-in status.
    UserStatus {
        /// Whom.
        user: UserRef,
        /// Only if this is the user's version.
        if_version: Option<u64>,
        /// The new status.
        status: Status,
    },
    /// Sets the password.
    CredSet {
        /// Whom.
        user: UserRef,
        /// Only if this is the user's version.
        if_version: Option<u64>,
        /// Must be changed at first use.
        temporary: bool,
        /// The stored form: a hash string that [`crate::password::parse`] accepts.
        password: Box<str>,
    },
    /// Clears the failure counter and the lock.
    CredUnlock {
        /// Whom.
        user: UserRef,
    },
    /// Stores a further factor.
    FactorPut {
        /// Whose.
        user: UserRef,
        /// `totp`, `webauthn` or `recovery`.
        kind: Box<str>,
        /// The factor's id, unique for the user and kind; for `webauthn` in the pool.
        id: Box<str>,
        /// Only if this is the user's version.
        if_version: Option<u64>,
        /// A name for people.
        label: Option<Box<str>>,
        /// The secret; sealed, never listed.
        blob: Bytes,
    },
    /// Removes a further factor. Not there: changed 0.
    FactorDel {
        /// Whose.
        user: UserRef,
        /// `totp`, `webauthn` or `recovery`.
        kind: Box<str>,
        /// The factor's id.
        id: Box<str>,
    },
    /// Uses up a recovery code: changed 1 if it was there, 0 if not.
    FactorConsume {
        /// Whose.
        user: UserRef,
        /// The code as the user typed it.
        code: Bytes,
    },
    /// Links an identity at another provider.
    IdentityLink {
        /// Whose.
        user: UserRef,
        /// The provider's name.
        provider: Box<str>,
        /// The subject there.
        subject: Box<str>,
    },
    /// Unlinks one. Not there: changed 0.
    IdentityUnlink {
        /// Whose.
        user: UserRef,
        /// The provider's name.
        provider: Box<str>,
        /// The subject there.
        subject: Box<str>,
    },
    /// Makes a group.
    GroupCreate {
        /// 1 to 128 characters.
        name: Box<str>,
        /// Its properties.
        fields: GroupFields,
    },
    /// Changes a group's properties.
    GroupSet {
        /// Which.
        name: Box<str>,
        /// The properties to change.
        fields: GroupFields,
    },
    /// Gives a group another name; members stay.
    GroupRename {
        /// Which.
        name: Box<str>,
        /// The new name.
        to: Box<str>,
    },
    /// Deletes a group. Not there: changed 0.
    GroupDelete {
        /// Which.
        name: Box<str>,
    },
    /// Adds members: all or nothing, 1,000 at most.
    GroupAdd {
        /// Which.
        name: Box<str>,
        /// Whom.
        users: Vec<UserRef>,
    },
    /// Removes members: all or nothing, 1,000 at most.
    GroupRemove {
        /// Which.
        name: Box<str>,
        /// Whom.
        users: Vec<UserRef>,
    },
    /// Changes the schema.
    SchemaAlter {
        /// Only if this is the schema's version.
        if_version: Option<u64>,
        /// The schema document of the protocol page.
        schema: Box<str>,
    },
    /// Replaces a configuration document.
    ConfigSet {
        /// The document's name.
        name: Box<str>,
        /// Only if this is the document's version.
        if_version: Option<u64>,
        /// The document.
        json: Box<str>,
    },
    /// Removes a configuration document. Not there: changed 0.
    ConfigDel {
        /// The document's name.
        name: Box<str>,
    },
    /// Writes down what a password check came to; made by [`crate::Pool::check_finish`] alone.
    #[doc(hidden)]
    CheckRecorded(Box<CheckRecorded>),
    /// Sweeps members out of a deleted group; made by background work alone.
    #[doc(hidden)]
    GroupSweep {
        /// The group's id.
        id: u64,
    },
    /// Sets one value for every user of a filter.
    UserSetAll {
        /// Which users; all where there is none.
        filter: Option<Box<str>>,
        /// The filter's `$1…`.
        args: Vec<Bytes>,
        /// The status to set, if any.
        status: Option<Status>,
        /// Attribute names and values.
        changes: Vec<(Box<str>, Input)>,
    },
}

impl Op {
    /// Whether it only takes away: that is still done when the disk is full.
    pub(crate) fn frees_room(&self) -> bool {
        matches!(
            self,
            Self::UserDelete { .. }
                | Self::UserRemove { .. }
                | Self::FactorDel { .. }
                | Self::IdentityUnlink { .. }
                | Self::GroupDelete { .. }
                | Self::GroupRemove { .. }
                | Self::GroupSweep { .. }
                | Self::ConfigDel { .. }
        )
    }
}

impl Transaction {
    /// Whether it only takes away.
    pub(crate) fn frees_room(&self) -> bool {
        !self.ops.is_empty() && self.ops.iter().all(Op::frees_room)
    }
}

/// What one operation did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The user concerned.
    pub sub: Option<Sub>,
    /// The version after it, of the user, schema or document.
    pub version: Option<u64>,
    /// How many things it changed, for the operations that may find it already so.
    pub changed: Option<u64>,
}

/// A transaction that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The pool's Seq of this transaction (or of the present state, if nothing had to change).
    pub seq: stoa_format::Seq,
    /// The answer of an earlier request with the same token; nothing was written now.
    pub replayed: bool,
    /// One an operation, in order.
    pub outcomes: Vec<Outcome>,
}
