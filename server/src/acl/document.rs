//! The stored form of the users: a JSON document, sealed by the store. Rules are kept as text and
//! compiled when read, so that a command that a newer version brings falls under its category.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::actor::Actor;
use super::secret::SecretHash;

/// The version of this form.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    users: Vec<StoredUser>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredUser {
    name: String,
    rules: Vec<String>,
    secrets: Vec<StoredSecret>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSecret {
    key: String,
    hash: String,
}

/// The document of these users.
pub(super) fn encode(users: &BTreeMap<Arc<str>, Arc<Actor>>) -> Bytes {
    let stored = |actor: &Arc<Actor>| StoredUser {
        name: actor.name().to_string(),
        rules: actor.rules(),
        secrets: actor
            .secrets
            .iter()
            .map(|secret| StoredSecret { key: BASE64.encode(secret.key), hash: BASE64.encode(secret.hash.as_bytes()) })
            .collect(),
    };
    let document = Document { format: FORMAT, users: users.values().map(stored).collect() };
    serde_json::to_vec(&document).expect("strings and numbers are always JSON").into()
}

/// The users of a document.
///
/// # Errors
/// A sentence that names the user whose rules this version does not understand.
pub(super) fn decode(content: &[u8]) -> Result<BTreeMap<Arc<str>, Arc<Actor>>, String> {
    let document: Document = serde_json::from_slice(content)
        .map_err(|error| format!("the access-control document is malformed at column {}", error.column()))?;
    if document.format != FORMAT {
        return Err(format!(
            "the access-control document is format {}, this binary reads {FORMAT}; use a newer Stoa",
            document.format
        ));
    }
    let named = |actor: Actor| (actor.name().clone(), Arc::new(actor));
    document.users.into_iter().map(|stored| decode_user(stored).map(named)).collect()
}

fn decode_user(stored: StoredUser) -> Result<Actor, String> {
    let mut actor = Actor::new(&stored.name);
    for rule in &stored.rules {
        actor
            .apply(rule.as_bytes())
            .map_err(|reason| format!("access-control user {}: a stored rule {reason}", stored.name))?;
    }
    for secret in &stored.secrets {
        let bytes = |text: &str| BASE64.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let (Some(key), Some(hash)) = (bytes(&secret.key), bytes(&secret.hash)) else {
            return Err(format!("access-control user {}: a stored secret is malformed", stored.name));
        };
        actor.secrets.push(SecretHash { key, hash: blake3::Hash::from_bytes(hash) });
    }
    Ok(actor)
}
