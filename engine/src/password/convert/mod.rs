//! From hashes that arrive in parts to the one text that [`parse`](super::parse) reads.
//!
//! Every function here only rewrites: it checks lengths and alphabets, not costs, which `parse` does with the caps
//! that hold where the result is taken. An unknown algorithm is [`HashError::UnknownScheme`]: the row's fault, never
//! the import's end.

mod auth0;
mod firebase;
mod fusionauth;
mod keycloak;
mod others;

pub use self::auth0::auth0_custom;
pub use self::firebase::{FirebaseParams, firebase};
pub use self::fusionauth::fusionauth;
pub use self::keycloak::{KeycloakHash, from_keycloak, keycloak, to_keycloak};
pub use self::others::{okta_bcrypt, passport_local};

use super::HashError;
