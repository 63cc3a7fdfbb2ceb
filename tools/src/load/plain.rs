//! What an imported user asks of a pool, whether it is here or behind TCP.

use stoa_engine::password::{self, Arena, Argon2Params};
use stoa_engine::pool::request::{Input, Status};

use crate::import::attrs::AttrTable;
use crate::import::record::{self, ImportPassword, ImportUser, ImportValue};

/// A user's wishes, in the engine's terms.
pub(super) struct Wanted {
    pub line: u64,
    pub sub: Option<[u8; 16]>,
    pub username: Option<String>,
    pub email: Option<String>,
    pub attrs: Vec<(Box<str>, Input)>,
    pub password: WantedPassword,
    pub enabled: Option<bool>,
    pub status: Option<Status>,
    pub temporary: bool,
    pub created_at_ms: Option<u64>,
    pub updated_at_ms: Option<u64>,
    pub groups: Vec<Box<str>>,
    pub identities: Vec<(Box<str>, Box<str>)>,
    pub factors: Vec<(&'static str, Box<str>, Option<Box<str>>, Vec<u8>)>,
    /// Something of it cannot be kept.
    pub note: Option<String>,
}

/// What the import says of the password.
pub(super) enum WantedPassword {
    Nothing,
    Hash(Box<str>),
    Plain(zeroize::Zeroizing<String>),
}

pub(super) fn status(status: record::Status) -> Status {
    match status {
        record::Status::Unconfirmed => Status::Unconfirmed,
        record::Status::Confirmed => Status::Confirmed,
        record::Status::ResetRequired => Status::ResetRequired,
        record::Status::ForceChangePassword => Status::ForceChangePassword,
        record::Status::External => Status::External,
    }
}

/// A record's value as the engine takes it.
fn input(value: ImportValue<'_>) -> Input {
    match value {
        ImportValue::Str(text) => Input::Raw(text.into_owned().into()),
        ImportValue::Bool(truth) => Input::Json(truth.into()),
        ImportValue::Int(number) => Input::Json(number.into()),
        ImportValue::Time(ms) => {
            let text = stoa_engine::pool::value::time_text(ms);
            Input::Raw(text.to_vec().into())
        }
        ImportValue::Json(text) => Input::Raw(text.into_owned().into()),
        ImportValue::Bytes(bytes) => Input::Raw(bytes.into_owned().into()),
        ImportValue::Multi(values) => {
            Input::Json(values.into_iter().map(|value| serde_json::Value::from(value.into_owned())).collect())
        }
    }
}

impl Wanted {
    /// Whether a user that was found under this record's e-mail address is whom it means: a record with
    /// a username of its own means somebody else than the user of another name.
    pub(super) fn may_be(&self, username: Option<&str>) -> bool {
        self.username.is_none() || username.is_none()
    }
}

/// Turns a record into wishes.
pub(super) fn wanted(user: ImportUser<'_>, table: &AttrTable) -> Wanted {
    use crate::import::attrs::standard;
    let text = |key| user.text(key).map(str::to_owned);
    let (username, email) = (text(standard::USERNAME), text(standard::EMAIL));
    let mut wanted = Wanted {
        line: user.line,
        sub: user.sub,
        username,
        email,
        attrs: Vec::with_capacity(user.attrs.len()),
        password: WantedPassword::Nothing,
        enabled: user.enabled,
        status: user.status.map(status),
        temporary: user.temporary,
        created_at_ms: user.created_at_ms.and_then(|ms| u64::try_from(ms).ok()),
        updated_at_ms: user.updated_at_ms.and_then(|ms| u64::try_from(ms).ok()),
        groups: user.groups.into_iter().map(|name| name.into_owned().into()).collect(),
        identities: user.identities.into_iter().map(|(a, b)| (a.into_owned().into(), b.into_owned().into())).collect(),
        factors: Vec::with_capacity(user.factors.len()),
        note: None,
    };
    for factor in user.factors {
        let label = factor.label.map(|label| label.into_owned().into());
        wanted.factors.push((factor.kind.as_str(), factor.id.into_owned().into(), label, factor.blob.into_owned()));
    }
    for (key, value) in user.attrs {
        wanted.attrs.push((table.spec(key).name.clone(), input(value)));
    }
    match user.password {
        ImportPassword::None => {}
        ImportPassword::Hash(hash) => wanted.password = WantedPassword::Hash(hash.into_owned().into()),
        ImportPassword::Plain(secret) => wanted.password = WantedPassword::Plain(secret),
        ImportPassword::ResetRequired => wanted.status = wanted.status.or(Some(Status::ResetRequired)),
        ImportPassword::Locked => {
            wanted.enabled = Some(false);
            wanted.status = wanted.status.or(Some(Status::ResetRequired));
        }
        ImportPassword::Unsupported { reason } => {
            wanted.status = Some(Status::ResetRequired);
            wanted.note = Some(format!("the password cannot be kept ({reason}): the user must reset it"));
        }
    }
    wanted
}

/// Hashes passwords that came in the clear.
#[derive(Default)]
pub(super) struct Hasher {
    arena: Arena,
}

impl Hasher {
    /// The stored form of a password in the clear.
    pub(super) fn hash(&mut self, secret: &str) -> Result<Box<str>, String> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
        let stored = password::hash_new(secret.as_bytes(), salt, &Argon2Params::default(), &mut self.arena);
        stored.map(String::into_boxed_str).map_err(|error| error.to_string())
    }

    /// Whether a stored hash is of this password.
    pub(super) fn is(&mut self, stored: &str, secret: &str) -> bool {
        let parsed = password::parse(stored, &password::Caps::default());
        parsed.is_ok_and(|hash| hash.verify(secret.as_bytes(), &mut self.arena).unwrap_or(false))
    }
}
