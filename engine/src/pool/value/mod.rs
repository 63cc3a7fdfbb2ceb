//! Attribute values: what travels on the wire, what stands in a cell, and the way between.
//!
//! 1. A [`Value`] made by [`Value::parse`] keeps its type's limits; what it prints ([`Value::wire`],
//!    [`Value::to_json`]) parses back to an equal value.
//! 2. A multi-valued [`Value::Multi`] holds 1 to 64 scalars of one type, in bytewise order of their wire text,
//!    no two of them equal.
//! 3. `Debug` and errors show the type and length of a value, never the value.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use bytes::Bytes;
use serde_json::Value as Json;
use thiserror::Error;

mod encoding;
mod json;
mod time;

pub use encoding::{CellValue, ValueRef};
pub use json::JSON_MAX_DEPTH;
pub use time::{TIME_MAX_MS, TIME_MIN_MS, TIME_TEXT_BYTES, parse_time, time_text};

pub(crate) use encoding::sortable;
pub(crate) use json::read as read_json;

/// The longest string, in bytes of UTF-8.
pub const STRING_MAX_BYTES: usize = 2048;
/// The longest JSON value, in bytes of its canonical form.
pub const JSON_MAX_BYTES: usize = 64 * 1024;
/// The longest value of type `bytes`.
pub const BYTES_MAX_BYTES: usize = 64 * 1024;
/// The most values that a multi-valued attribute holds.
pub const MULTI_MAX_COUNT: usize = 64;

/// Base64 in JSON: written with padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The type of an attribute's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttrType {
    /// UTF-8 text, at most [`STRING_MAX_BYTES`].
    String,
    /// A signed 64-bit integer.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A time to the millisecond, years 0000 to 9999, UTC.
    Timestamp,
    /// A JSON value in its RFC 8785 form, at most [`JSON_MAX_BYTES`], depth [`JSON_MAX_DEPTH`].
    Json,
    /// Any bytes, at most [`BYTES_MAX_BYTES`].
    Bytes,
}

impl AttrType {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::String, Self::Integer, Self::Boolean, Self::Timestamp, Self::Json, Self::Bytes];

    /// The word in a schema.
    pub const fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
            Self::Json => "json",
            Self::Bytes => "bytes",
        }
    }

    /// The type of a schema's word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.word() == word)
    }

    /// The longest value in bytes that any schema may allow; `None` for types of fixed size.
    pub const fn max_bytes(self) -> Option<usize> {
        match self {
            Self::String => Some(STRING_MAX_BYTES),
            Self::Json => Some(JSON_MAX_BYTES),
            Self::Bytes => Some(BYTES_MAX_BYTES),
            Self::Integer | Self::Boolean | Self::Timestamp => None,
        }
    }

    /// Whether a column of this type holds integers (the others hold bytes).
    pub const fn is_int_cell(self) -> bool {
        matches!(self, Self::Integer | Self::Boolean | Self::Timestamp)
    }
}

impl fmt::Display for AttrType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One attribute's value.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// Text.
    Str(Box<str>),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// Milliseconds since the Unix epoch.
    Time(i64),
    /// A JSON text in its RFC 8785 form.
    Json(Box<str>),
    /// Bytes.
    Bytes(Box<[u8]>),
    /// The values of a multi-valued attribute: scalars of one type, sorted and distinct.
    Multi(Vec<Value>),
}

/// A value as a request brings it.
#[derive(Clone, PartialEq)]
pub enum Input {
    /// A value of an attribute-value pair.
    Raw(Bytes),
    /// A field of the object after `JSON`.
    Json(Json),
}

impl Input {
    /// Whether this removes the attribute: JSON null.
    pub fn is_removal(&self) -> bool {
        matches!(self, Self::Json(Json::Null))
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw(raw) => write!(f, "Raw({} bytes)", raw.len()),
            Self::Json(_) => f.write_str("Json(…)"),
        }
    }
}

/// Why a value is not one of its type. Never holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ValueFault {
    /// The text is not UTF-8.
    #[error("is not valid UTF-8")]
    NotUtf8,
    /// A string was wanted, and JSON of another type came.
    #[error("wants a string: put it in quotes")]
    NotString,
    /// Not a decimal i64.
    #[error("wants an integer from -9223372036854775808 to 9223372036854775807, without leading zeros")]
    NotInteger,
    /// Neither `true` nor `false`.
    #[error("wants true or false")]
    NotBoolean,
    /// Not an RFC 3339 time.
    #[error("wants a time like 2026-01-31T12:00:00.000Z")]
    NotTime,
    /// Not JSON, or a key stands twice in one object.
    #[error("wants one JSON value in which no object repeats a key")]
    NotJson,
    /// An integer in JSON that a double cannot hold.
    #[error("has an integer beyond what JSON keeps exactly (2^53): send it as a string")]
    JsonInteger,
    /// JSON nested too deep.
    #[error("is nested deeper than {JSON_MAX_DEPTH} levels")]
    JsonTooDeep,
    /// Not base64.
    #[error("wants base64 text in JSON")]
    NotBase64,
    /// More bytes than the type or the schema allows.
    #[error("is longer than {max_bytes} bytes")]
    TooLong {
        /// The limit that it exceeds.
        max_bytes: usize,
    },
    /// A multi-valued attribute's value is not a JSON array of values.
    #[error("is multi-valued and wants one JSON array of strings")]
    NotArray,
    /// An array without an element.
    #[error("wants at least one value: remove the attribute to clear it")]
    NoValues,
    /// An array of too many elements.
    #[error("takes at most {MULTI_MAX_COUNT} values")]
    TooManyValues,
    /// Null where a value is wanted.
    #[error("wants a value, not null")]
    Null,
    /// An alias that is empty, or that its collation leaves empty.
    #[error("is an alias and cannot be empty")]
    EmptyAlias,
    /// Two values of a multi-valued alias that its collation holds for the same.
    #[error("holds two values that its collation takes for the same one")]
    SameAlias,
    /// A phone number in another form.
    #[error("wants a phone number in E.164 form: +, country code and number, digits only")]
    NotE164,
}

impl Value {
    /// Reads a value of type `ty` of at most `max_bytes` bytes (of the type's own limit, if that is less).
    ///
    /// Text is taken as it travels: booleans `true`/`false` in either case, integers in plain decimal, times in
    /// RFC 3339, bytes raw. JSON may hold booleans and integers as such; bytes are base64 there; for `json`
    /// a JSON string is taken as the text of the value, anything else as the value itself. Several values
    /// (`multi`) come as one JSON array, in either form.
    ///
    /// # Errors
    /// The fault, if the input is no such value.
    pub fn parse(ty: AttrType, multi: bool, input: &Input, max_bytes: usize) -> Result<Self, ValueFault> {
        match input {
            Input::Raw(raw) if multi => {
                Self::from_array(ty, &json::read(utf8(raw)?).or(Err(ValueFault::NotArray))?, max_bytes)
            }
            Input::Raw(raw) => Self::from_wire(ty, raw, max_bytes),
            Input::Json(json) if multi => Self::from_array(ty, json, max_bytes),
            Input::Json(json) => Self::from_json(ty, json, max_bytes),
        }
    }

    /// Reads one scalar as it travels in a pair.
    ///
    /// # Errors
    /// The fault, if it is no value of that type or longer than `max_bytes`.
    pub fn from_wire(ty: AttrType, raw: &[u8], max_bytes: usize) -> Result<Self, ValueFault> {
        let max_bytes = max_bytes.min(ty.max_bytes().unwrap_or(max_bytes));
        match ty {
            AttrType::String => {
                within(raw.len(), max_bytes)?;
                utf8(raw).map(|text| Self::Str(text.into()))
            }
            AttrType::Integer => parse_int(raw).map(Self::Int).ok_or(ValueFault::NotInteger),
            AttrType::Boolean if raw.eq_ignore_ascii_case(b"true") => Ok(Self::Bool(true)),
            AttrType::Boolean if raw.eq_ignore_ascii_case(b"false") => Ok(Self::Bool(false)),
            AttrType::Boolean => Err(ValueFault::NotBoolean),
            AttrType::Timestamp => parse_time(raw).map(Self::Time).ok_or(ValueFault::NotTime),
            AttrType::Json => json::canonical(&json::read(utf8(raw)?)?, max_bytes).map(Self::Json),
            AttrType::Bytes => within(raw.len(), max_bytes).map(|()| Self::Bytes(raw.into())),
        }
    }

    /// Reads one scalar from JSON.
    fn from_json(ty: AttrType, json: &Json, max_bytes: usize) -> Result<Self, ValueFault> {
        match (ty, json) {
            (_, Json::Null) => Err(ValueFault::Null),
            (AttrType::Bytes, Json::String(text)) => {
                let raw = BASE64.decode(text).map_err(|_| ValueFault::NotBase64)?;
                Self::from_wire(ty, &raw, max_bytes)
            }
            (_, Json::String(text)) => Self::from_wire(ty, text.as_bytes(), max_bytes),
            (AttrType::Json, json) => json::canonical(json, max_bytes.min(JSON_MAX_BYTES)).map(Self::Json),
            (AttrType::Boolean, Json::Bool(value)) => Ok(Self::Bool(*value)),
            (AttrType::Integer, Json::Number(number)) => number.as_i64().map(Self::Int).ok_or(ValueFault::NotInteger),
            (AttrType::String, _) => Err(ValueFault::NotString),
            (AttrType::Integer, _) => Err(ValueFault::NotInteger),
            (AttrType::Boolean, _) => Err(ValueFault::NotBoolean),
            (AttrType::Timestamp, _) => Err(ValueFault::NotTime),
            (AttrType::Bytes, _) => Err(ValueFault::NotBase64),
        }
    }

    fn from_array(ty: AttrType, json: &Json, max_bytes: usize) -> Result<Self, ValueFault> {
        let Json::Array(items) = json else {
            return Err(ValueFault::NotArray);
        };
        let values = items.iter().map(|item| Self::from_json(ty, item, max_bytes)).collect::<Result<_, _>>()?;
        Self::multi(values)
    }

    /// Makes a multi-valued value of scalars of one type: sorts them and drops repetitions.
    ///
    /// # Errors
    /// If none or more than [`MULTI_MAX_COUNT`] are left.
    pub fn multi(mut values: Vec<Self>) -> Result<Self, ValueFault> {
        values.sort_by(|a, b| a.element_text().cmp(&b.element_text()));
        values.dedup();
        match values.len() {
            0 => Err(ValueFault::NoValues),
            1..=MULTI_MAX_COUNT => Ok(Self::Multi(values)),
            _ => Err(ValueFault::TooManyValues),
        }
    }

    /// The scalars in this value: itself, or its elements if it is multi-valued.
    pub fn elements(&self) -> &[Self] {
        match self {
            Self::Multi(values) => values,
            scalar => std::slice::from_ref(scalar),
        }
    }

    /// The value as it travels on the wire, which is also what its digest is taken of.
    pub fn wire(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Bytes(raw) => Cow::Borrowed(raw),
            Self::Multi(_) => Cow::Owned(self.to_json().to_string().into_bytes()),
            scalar => match scalar.element_text() {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
        }
    }

    /// The value as text: as on the wire, but bytes in base64.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Multi(_) => Cow::Owned(self.to_json().to_string()),
            scalar => scalar.element_text(),
        }
    }

    /// The value in JSON: booleans and integers as such, times and bytes (base64) as strings, several values
    /// as an array of strings. A `json` value stands as itself, or, if it is a string or null, as a
    /// string that holds its text.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Int(value) => Json::Number((*value).into()),
            Self::Bool(value) => Json::Bool(*value),
            Self::Multi(values) => {
                Json::Array(values.iter().map(|value| Json::String(value.element_text().into_owned())).collect())
            }
            Self::Json(text) => match serde_json::from_str(text) {
                Ok(json @ (Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_))) => json,
                _ => Json::String(text.as_ref().into()),
            },
            scalar => Json::String(scalar.element_text().into_owned()),
        }
    }

    /// A scalar's text as it stands in an array of strings.
    fn element_text(&self) -> Cow<'_, str> {
        match self {
            Self::Str(text) | Self::Json(text) => Cow::Borrowed(text),
            Self::Int(value) => Cow::Owned(value.to_string()),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Time(ms) => Cow::Owned(time_text(*ms).iter().map(|&b| char::from(b)).collect()),
            Self::Bytes(raw) => Cow::Owned(STANDARD.encode(raw)),
            Self::Multi(_) => Cow::Borrowed(""),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(text) => write!(f, "Str({} bytes)", text.len()),
            Self::Int(_) => f.write_str("Int"),
            Self::Bool(_) => f.write_str("Bool"),
            Self::Time(_) => f.write_str("Time"),
            Self::Json(text) => write!(f, "Json({} bytes)", text.len()),
            Self::Bytes(raw) => write!(f, "Bytes({} bytes)", raw.len()),
            Self::Multi(values) => f.debug_tuple("Multi").field(values).finish(),
        }
    }
}

fn utf8(raw: &[u8]) -> Result<&str, ValueFault> {
    std::str::from_utf8(raw).map_err(|_| ValueFault::NotUtf8)
}

fn within(bytes: usize, max_bytes: usize) -> Result<(), ValueFault> {
    if bytes <= max_bytes { Ok(()) } else { Err(ValueFault::TooLong { max_bytes }) }
}

/// Reads an i64 in the one form in which it is also written.
fn parse_int(raw: &[u8]) -> Option<i64> {
    let digits = raw.strip_prefix(b"-").unwrap_or(raw);
    let canonical = matches!(digits, [b'1'..=b'9', ..]) || raw == b"0";
    if !canonical {
        return None;
    }
    std::str::from_utf8(raw).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
