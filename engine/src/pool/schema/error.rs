//! Why a schema is refused: always the attribute and the rule, and what to do.

use std::sync::Arc;

use thiserror::Error;

use super::ATTRIBUTE_MAX_COUNT;
use crate::pool::names::InvalidName;

/// Why a schema, or a change of one, is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidSchema {
    /// The text is not JSON, or a key stands twice.
    #[error("the schema is not JSON, or names something twice")]
    NotJson,
    /// The JSON has another shape.
    #[error("the schema must be {{\"attributes\": {{name: {{…}}}}}}")]
    Shape,
    /// A name is no attribute's name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// More attributes than a pool may have.
    #[error("a pool has at most {ATTRIBUTE_MAX_COUNT} attributes, the standard ones included")]
    TooManyAttributes,
    /// One attribute's rules are refused.
    #[error("{attr}: {fault}")]
    Attribute {
        /// The attribute's name.
        attr: Arc<str>,
        /// What is wrong with it.
        fault: AttributeFault,
    },
}

/// What is wrong with one attribute's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AttributeFault {
    /// Not an object.
    #[error("its rules must be a JSON object")]
    NotObject,
    /// A rule that does not exist.
    #[error("has an unknown rule; there are type, max_len, required, mutable, multi, alias, searchable, collation")]
    UnknownRule,
    /// A new attribute without type.
    #[error("is new and needs a type")]
    NoType,
    /// A type that does not exist.
    #[error("type must be string, integer, boolean, timestamp, json or bytes")]
    Type,
    /// Another type than it has.
    #[error("its type cannot change: add an attribute under another name")]
    TypeChange,
    /// Another `multi` than it has.
    #[error("multi cannot change: add an attribute under another name")]
    MultiChange,
    /// `max_len` out of range.
    #[error("max_len must be an integer from 1 to {max_bytes}")]
    MaxLen {
        /// The limit of its type.
        max_bytes: usize,
    },
    /// `max_len` where there is no length.
    #[error("max_len is for string, json and bytes only")]
    MaxLenOfFixed,
    /// Not a boolean.
    #[error("required, mutable, multi and searchable must be true or false")]
    NotBoolean,
    /// An alias kind that does not exist.
    #[error("alias must be none, unique or verified")]
    Alias,
    /// An alias that is no string.
    #[error("only a string can be an alias")]
    AliasType,
    /// A verified alias of several values.
    #[error("a multi-valued alias can only be unique, not verified")]
    VerifiedMulti,
    /// A verified alias without its flag.
    #[error("a verified alias needs a boolean attribute of its name with _verified: add it in the same request")]
    NoVerifiedFlag,
    /// A collation that does not exist.
    #[error("collation must be exact, casefold or email")]
    Collation,
    /// A collation on something else than text.
    #[error("only a string can have a collation other than exact")]
    CollationType,
    /// A value-order index over values without order.
    #[error("json and bytes cannot be searchable")]
    SearchableType,
    /// Several JSON values.
    #[error("a json attribute cannot be multi-valued: it can hold an array itself")]
    MultiJson,
}
