//! The engine's one public error: a small set of kinds that say what the caller should do, a
//! sentence that names what is wrong and the remedy, and the source. Never a stored or sent value.

use std::fmt;

/// What kind of refusal or failure this is; each is one first word on the wire (protocol §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Nothing written; the pool is being opened or changed: try again soon.
    TryAgain,
    /// Nothing written; too much unflushed or too many in the queue: try again later.
    Busy,
    /// The state asked for by `MINSEQ` is not there yet.
    Stale,
    /// The key service cannot be reached; nothing is known to be wrong with the key.
    KeyUnavailable,
    /// The customer key was denied: the pool is closed until it is allowed again.
    KeyDisabled,
    /// Outcome unknown: settle it by repeating with the same retry token.
    InDoubt,
    /// No such pool.
    NoPool,
    /// No such user.
    NoUser,
    /// No such group.
    NoGroup,
    /// A pool, group or sub of that name is there already.
    Exists,
    /// A unique alias is held by another user.
    Duplicate,
    /// A version or a retry token does not match what is stored.
    Conflict,
    /// The request itself cannot be carried out as it stands.
    Invalid,
    /// A bound is exceeded.
    Limit,
    /// A cursor, lease or change-feed position is no longer kept.
    Expired,
    /// One transaction names two pools.
    CrossPool,
    /// Stored bytes are not what was written.
    Damaged,
    /// The operating system failed a call.
    Io,
    /// No space left for this kind of write.
    NoSpace,
    /// The password does not satisfy the pool's policy.
    Weak,
    /// The password was used before.
    Reused,
    /// The pool or command is protected from this.
    NoPerm,
    /// Anything that has no word of its own.
    Other,
}

impl ErrorKind {
    /// The first word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TryAgain => "TRYAGAIN",
            Self::Busy => "BUSY",
            Self::Stale => "STALE",
            Self::KeyUnavailable => "KEYUNAVAILABLE",
            Self::KeyDisabled => "KEYDISABLED",
            Self::InDoubt => "INDOUBT",
            Self::NoPool => "NOPOOL",
            Self::NoUser => "NOUSER",
            Self::NoGroup => "NOGROUP",
            Self::Exists => "EXISTS",
            Self::Duplicate => "DUPLICATE",
            Self::Conflict => "CONFLICT",
            Self::Invalid => "INVALID",
            Self::Limit => "LIMIT",
            Self::Expired => "EXPIRED",
            Self::CrossPool => "CROSSPOOL",
            Self::Damaged => "DAMAGED",
            Self::Io => "IOERROR",
            Self::NoSpace => "NOSPACE",
            Self::Weak => "WEAK",
            Self::Reused => "REUSED",
            Self::NoPerm => "NOPERM",
            Self::Other => "ERR",
        }
    }
}

/// Why a call was refused or failed. As small as a pointer: what may fail is mostly answered with something else, and
/// that answer is moved about with room for this.
#[derive(Clone)]
pub struct Error(Box<Refusal>);

#[derive(Clone)]
struct Refusal {
    kind: ErrorKind,
    message: String,
    /// Which operation of the transaction it was, counted from 0, where that is known.
    op: Option<usize>,
    source: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>,
}

/// A result of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` whose `message` names what is wrong and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Refusal { kind, message: message.into(), op: None, source: None }))
    }

    /// The same with the error that caused it.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(std::sync::Arc::new(source));
        self
    }

    /// The same, naming the operation of the transaction that was refused (from 0).
    #[must_use]
    pub fn at_op(mut self, op: usize) -> Self {
        self.0.op.get_or_insert(op);
        self
    }

    /// What the caller should do, by kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence, without the first word.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The operation of the transaction that was refused, from 0.
    pub fn op(&self) -> Option<usize> {
        self.0.op
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.kind.word(), self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// Shorthands for the kinds that are made in many places.
macro_rules! shorthand {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),* $(,)?) => {
        impl Error {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self { Self::new(ErrorKind::$kind, message) })*
        }
    };
}

shorthand! {
    /// A request that cannot be carried out as it stands.
    invalid => Invalid,
    /// A bound is exceeded.
    limit => Limit,
    /// A version or token does not match.
    conflict => Conflict,
    /// Stored bytes are not what was written.
    damaged => Damaged,
}
