//! The attributes that every pool has: the OpenID Connect claim names and `username` (protocol §2).
//!
//! None is required. `birthdate` and `address` are plain strings, kept as they came: systems disagree about
//! their forms, and neither the text nor its digest may change on the way through.
//!
//! `email` has the `email` collation: everything that `casefold` takes for one address, and the two ways of
//! writing an international domain besides.

use stoa_format::AttrId;

use super::{Alias, Attribute};
use crate::pool::collation::{COLLATION_VERSION, Collation};
use crate::pool::names::AttrName;
use crate::pool::value::AttrType;

/// The id of `username`.
pub const USERNAME: AttrId = id_at(0);
/// The id of `email`.
pub const EMAIL: AttrId = id_at(1);
/// The id of `email_verified`.
pub const EMAIL_VERIFIED: AttrId = id_at(2);
/// The id of `phone_number`, whose values are E.164.
pub const PHONE_NUMBER: AttrId = id_at(3);
/// The id of `phone_number_verified`.
pub const PHONE_NUMBER_VERIFIED: AttrId = id_at(4);

/// Name, type, alias kind and collation, in order of id. Only ever appended to.
const STANDARD: &[(&str, AttrType, Alias, Collation)] = &[
    ("username", AttrType::String, Alias::Unique, Collation::CaseFold),
    ("email", AttrType::String, Alias::Unique, Collation::Email),
    ("email_verified", AttrType::Boolean, Alias::None, Collation::Exact),
    ("phone_number", AttrType::String, Alias::Unique, Collation::Exact),
    ("phone_number_verified", AttrType::Boolean, Alias::None, Collation::Exact),
    ("given_name", AttrType::String, Alias::None, Collation::CaseFold),
    ("family_name", AttrType::String, Alias::None, Collation::CaseFold),
    ("name", AttrType::String, Alias::None, Collation::CaseFold),
    ("nickname", AttrType::String, Alias::None, Collation::CaseFold),
    ("preferred_username", AttrType::String, Alias::None, Collation::CaseFold),
    ("locale", AttrType::String, Alias::None, Collation::Exact),
    ("zoneinfo", AttrType::String, Alias::None, Collation::Exact),
    ("birthdate", AttrType::String, Alias::None, Collation::Exact),
    ("address", AttrType::String, Alias::None, Collation::Exact),
    ("picture", AttrType::String, Alias::None, Collation::Exact),
    ("profile", AttrType::String, Alias::None, Collation::Exact),
    ("website", AttrType::String, Alias::None, Collation::Exact),
    ("gender", AttrType::String, Alias::None, Collation::Exact),
];

/// The id of a standard attribute, the same in every pool.
pub fn standard_id(name: &str) -> Option<AttrId> {
    STANDARD.iter().position(|standard| standard.0 == name).map(id_at)
}

const fn id_at(position: usize) -> AttrId {
    AttrId(AttrId::FIRST_USER.0 + position as u16)
}

/// The standard attributes, in order of id.
pub(super) fn attributes() -> Vec<Attribute> {
    let attribute = |(position, &(name, ty, alias, collation))| Attribute {
        id: id_at(position),
        name: AttrName::parse(name).expect("standard names keep the grammar"),
        ty,
        max_len: ty.max_bytes().map_or(0, |max| max as u32),
        required: false,
        mutable: true,
        multi: false,
        alias,
        searchable: false,
        collation,
        collation_version: COLLATION_VERSION,
        verified_by: None,
    };
    STANDARD.iter().enumerate().map(attribute).collect()
}
