//! From hashes that arrive in parts to the one text that [`parse`](super::parse) reads.
//!
//! Every function here only rewrites: it checks lengths and alphabets, not costs, which `parse` does with the caps
//! that hold where the result is taken. An unknown algorithm is [`HashError::UnknownScheme`]: the row's fault, never
//! the import's end.
//!
//! The functions named `to_…` go the other way, for an export, and keep every byte: reading what they wrote gives the
//! stored text again. What the other system has no form for travels under the mark `stoa`.

mod auth0;
mod firebase;
mod fusionauth;
mod keycloak;
mod ldap;
mod others;

pub use self::auth0::{auth0_custom, to_auth0_custom};
pub use self::firebase::{FirebaseParams, firebase};
pub use self::fusionauth::fusionauth;
pub use self::keycloak::{KeycloakHash, from_keycloak, keycloak, to_keycloak};
pub use self::ldap::{ldap, to_ldap};
pub use self::others::{okta_bcrypt, passport_local};

use super::HashError;

/// Marks a stored text inside a foreign format that has no form for it.
const ESCAPE: &str = "stoa";
