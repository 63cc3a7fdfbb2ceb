//! A user as a load takes it, and the checks that it must pass.

use std::borrow::Cow;

use stoa_format::{AttrId, Sub};

use crate::error::{Error, Result};
use crate::pool::request::Status;
use crate::pool::schema::{Attribute, InvalidValue};
use crate::pool::value::{AttrType, Value, ValueFault};

/// One attribute's value, borrowed from wherever the caller has it.
///
/// A variant that is not the attribute's own type is read as the text that it would be on the wire.
#[derive(Clone, Copy)]
pub enum BulkValue<'a> {
    /// A string, or the text of any other value as it travels on the wire.
    Text(&'a str),
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Milliseconds since the Unix epoch.
    Time(i64),
    /// JSON text in any form.
    Json(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// The elements of a multi-valued attribute, in any order.
    Multi(&'a [Cow<'a, str>]),
}

impl std::fmt::Debug for BulkValue<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(…)",
            Self::Bool(_) => "Bool(…)",
            Self::Int(_) => "Int(…)",
            Self::Time(_) => "Time(…)",
            Self::Json(_) => "Json(…)",
            Self::Bytes(_) => "Bytes(…)",
            Self::Multi(_) => "Multi(…)",
        })
    }
}

/// A further factor of a user.
#[derive(Clone, Copy)]
pub struct BulkFactor<'a> {
    /// `totp`, `webauthn` or `recovery`.
    pub kind: &'a str,
    /// Unique for the user and kind; for `webauthn` in the pool.
    pub id: &'a str,
    /// A name for people.
    pub label: Option<&'a str>,
    /// The secret.
    pub blob: &'a [u8],
}

/// A user of a load. Everything is borrowed: nothing need outlive the call.
#[derive(Clone, Copy, Default)]
pub struct BulkUser<'a> {
    /// A UUIDv7 is minted where there is none.
    pub sub: Option<Sub>,
    /// Attributes of the pool's schema, each at most once.
    pub attrs: &'a [(AttrId, BulkValue<'a>)],
    /// The stored form of the password: a hash string that [`crate::password::parse`] accepts.
    pub password: Option<&'a str>,
    /// The password must be changed at first use.
    pub temporary: bool,
    /// Enabled unless given.
    pub enabled: Option<bool>,
    /// `CONFIRMED` with a password and `UNCONFIRMED` without, unless given.
    pub status: Option<Status>,
    /// Milliseconds since the Unix epoch; now unless given.
    pub created_at_ms: Option<u64>,
    /// Milliseconds since the Unix epoch; as created unless given.
    pub updated_at_ms: Option<u64>,
    /// Groups, as [`super::BulkLoad::group`] has numbered them, each at most once.
    pub groups: &'a [u32],
    /// Linked identities: provider and subject.
    pub identities: &'a [(&'a str, &'a str)],
    /// Further factors.
    pub factors: &'a [BulkFactor<'a>],
}

impl BulkUser<'_> {
    pub(super) fn status(&self) -> Status {
        self.status.unwrap_or(match (self.password, self.temporary) {
            (None, _) => Status::Unconfirmed,
            (Some(_), true) => Status::ForceChangePassword,
            (Some(_), false) => Status::Confirmed,
        })
    }
}

/// A value that passed its attribute's rules.
pub(super) enum Checked<'a> {
    /// A string as it came.
    Text(&'a str),
    /// A number, a truth value, a time.
    Int(i64),
    /// Bytes as they came.
    Bytes(&'a [u8]),
    /// What had to be brought into another form.
    Owned(Value),
}

/// Checks a value against its attribute; the common types are not copied.
pub(super) fn check<'a>(attribute: &Attribute, value: &BulkValue<'a>) -> Result<Checked<'a>> {
    check_value(attribute, value).map_err(|fault| Error::invalid(fault.to_string()).because(fault))
}

fn check_value<'a>(attribute: &Attribute, value: &BulkValue<'a>) -> Result<Checked<'a>, InvalidValue> {
    if attribute.multi {
        return check_multi(attribute, value).map(Checked::Owned);
    }
    Ok(match (attribute.ty, value) {
        (AttrType::String, BulkValue::Text(text)) => {
            attribute.check_text(text)?;
            Checked::Text(text)
        }
        (AttrType::Boolean, BulkValue::Bool(value)) => Checked::Int(i64::from(*value)),
        (AttrType::Integer, BulkValue::Int(value)) => Checked::Int(*value),
        (AttrType::Bytes, BulkValue::Bytes(raw)) => match attribute.parse_wire(raw)? {
            Value::Bytes(_) => Checked::Bytes(raw),
            other => Checked::Owned(other),
        },
        _ => Checked::Owned(attribute.parse_wire(&wire(attribute, value)?)?),
    })
}

fn check_multi(attribute: &Attribute, value: &BulkValue<'_>) -> Result<Value, InvalidValue> {
    let fault = |fault| InvalidValue { attr: attribute.name.shared(), fault };
    let mut elements = Vec::new();
    match value {
        BulkValue::Multi(texts) => {
            for text in *texts {
                elements.push(attribute.parse_wire(text.as_bytes())?);
            }
        }
        one => elements.push(attribute.parse_wire(&wire(attribute, one)?)?),
    }
    let value = Value::multi(elements).map_err(fault)?;
    attribute.check(&value).map_err(fault)?;
    Ok(value)
}

/// The value as it would travel.
fn wire<'a>(attribute: &Attribute, value: &BulkValue<'a>) -> Result<Cow<'a, [u8]>, InvalidValue> {
    let owned = |value: Value| Cow::Owned(value.wire().into_owned());
    Ok(match value {
        BulkValue::Text(text) | BulkValue::Json(text) => Cow::Borrowed(text.as_bytes()),
        BulkValue::Bytes(raw) => Cow::Borrowed(raw),
        BulkValue::Bool(value) => owned(Value::Bool(*value)),
        BulkValue::Int(value) => owned(Value::Int(*value)),
        BulkValue::Time(ms) => {
            let range = crate::pool::value::TIME_MIN_MS..=crate::pool::value::TIME_MAX_MS;
            if !range.contains(ms) {
                return Err(InvalidValue { attr: attribute.name.shared(), fault: ValueFault::NotTime });
            }
            owned(Value::Time(*ms))
        }
        BulkValue::Multi(_) => {
            return Err(InvalidValue { attr: attribute.name.shared(), fault: ValueFault::NotString });
        }
    })
}
