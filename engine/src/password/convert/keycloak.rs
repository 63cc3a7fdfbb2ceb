//! Keycloak: `credentialData` and `secretData` of a password credential, and the way back for an export.

use serde_json::{Value, json};

use super::{ESCAPE, HashError};
use crate::password::digest::Digest;
use crate::password::encoding::{base64, decimal, to_base64, to_base64_padded};
use crate::password::{Caps, Kind, parse, pbkdf2};

/// A Keycloak password credential, its parts as they stand in the JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct KeycloakHash {
    /// `pbkdf2` (SHA-1), `pbkdf2-sha256`, `pbkdf2-sha512` or `argon2`.
    pub algorithm: String,
    /// `hashIterations`; Argon2's passes.
    pub iterations: u32,
    /// `salt`, in base64.
    pub salt: String,
    /// `value`, in base64. Its length is the key's, which is not written down.
    pub value: String,
    /// `additionalParameters` of `credentialData`: `{"memory": ["7168"], "type": ["id"], …}`.
    pub additional: Value,
}

/// The text for a credential whose parts are given one by one: those of releases before 8
/// (`hashedSaltedValue`, `salt`, `hashIterations`, `algorithm`), or what [`from_keycloak`] reads.
///
/// # Errors
/// `UnknownScheme` for another algorithm; `Malformed` for parts that do not follow it.
pub fn keycloak(parts: &KeycloakHash) -> Result<String, HashError> {
    if let Some(stored) = parts.additional[ESCAPE][0].as_str() {
        return Ok(stored.to_owned());
    }
    let salt = base64(&parts.salt, "keycloak salt")?;
    let value = base64(&parts.value, "keycloak value")?;
    let pbkdf2 = |digest| Ok(pbkdf2::to_phc(digest, parts.iterations, &salt, &value));
    match parts.algorithm.as_str() {
        "pbkdf2" => pbkdf2(Digest::Sha1),
        "pbkdf2-sha256" => pbkdf2(Digest::Sha256),
        "pbkdf2-sha512" => pbkdf2(Digest::Sha512),
        "argon2" => argon2(parts, &salt, &value),
        _ => Err(HashError::UnknownScheme),
    }
}

/// The text for a credential's `credentialData` and `secretData`, each the JSON that stands inside a string.
///
/// # Errors
/// As [`keycloak`]; `Malformed` for JSON that is none or lacks a part.
pub fn from_keycloak(credential_data: &str, secret_data: &str) -> Result<String, HashError> {
    const REASON: HashError = HashError::Malformed("keycloak credential");
    let data: Value = serde_json::from_str(credential_data).map_err(|_| REASON)?;
    let secret: Value = serde_json::from_str(secret_data).map_err(|_| REASON)?;
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(REASON);
    keycloak(&KeycloakHash {
        algorithm: text(&data["algorithm"])?,
        iterations: data["hashIterations"].as_u64().and_then(|count| u32::try_from(count).ok()).ok_or(REASON)?,
        salt: text(&secret["salt"])?,
        value: text(&secret["value"])?,
        additional: data["additionalParameters"].clone(),
    })
}

/// The parts of a stored text, for an export: [`keycloak`] makes the same text of them again.
///
/// PBKDF2 with SHA-1, SHA-256 or SHA-512 and Argon2 become what Keycloak itself can check. Where its parts would give
/// another text than the stored one, or it has no such scheme (then the algorithm is `stoa`), the text stands beside
/// them as the additional parameter `stoa`, which Keycloak keeps and does not read.
#[must_use]
pub fn to_keycloak(stored: &str, caps: &Caps) -> KeycloakHash {
    let native = parse(stored, caps).ok().and_then(|hash| native_parts(&hash.0));
    let mut parts = native.unwrap_or_else(|| KeycloakHash {
        algorithm: ESCAPE.to_owned(),
        iterations: 0,
        salt: String::new(),
        value: String::new(),
        additional: json!({}),
    });
    if keycloak(&parts).as_deref() != Ok(stored) {
        parts.additional[ESCAPE] = json!([stored]);
    }
    parts
}

fn native_parts(kind: &Kind) -> Option<KeycloakHash> {
    match kind {
        Kind::Pbkdf2(hash) => {
            let (digest, iterations, salt, value) = hash.parts();
            let algorithm = match digest {
                Digest::Sha1 => "pbkdf2",
                Digest::Sha256 => "pbkdf2-sha256",
                Digest::Sha512 => "pbkdf2-sha512",
                _ => return None,
            };
            let (salt, value) = (to_base64_padded(salt), to_base64_padded(value));
            Some(KeycloakHash { algorithm: algorithm.to_owned(), iterations, salt, value, additional: json!({}) })
        }
        Kind::Argon2(hash) => {
            let parts = hash.parts();
            let additional = json!({
                "type": [parts.kind], "version": [parts.version], "memory": [parts.params.m_kib.to_string()],
                "parallelism": [parts.params.p.to_string()], "hashLength": [parts.hash.len().to_string()],
            });
            Some(KeycloakHash {
                algorithm: "argon2".to_owned(),
                iterations: parts.params.t,
                salt: to_base64_padded(parts.salt),
                value: to_base64_padded(parts.hash),
                additional,
            })
        }
        _ => None,
    }
}

fn argon2(parts: &KeycloakHash, salt: &[u8], value: &[u8]) -> Result<String, HashError> {
    let parameter = |name: &str, default: &'static str| -> Result<String, HashError> {
        match &parts.additional[name] {
            Value::Null => Ok(default.to_owned()),
            // Each parameter is a list of one text.
            value => match value.get(0).unwrap_or(value) {
                Value::String(text) => Ok(text.clone()),
                Value::Number(number) => Ok(number.to_string()),
                _ => Err(HashError::Malformed("keycloak argon2 parameters")),
            },
        }
    };
    let kind = match parameter("type", "id")?.as_str() {
        "id" => "argon2id",
        "i" => "argon2i",
        "d" => "argon2d",
        _ => return Err(HashError::Malformed("keycloak argon2 type")),
    };
    let version = match parameter("version", "1.3")?.as_str() {
        "1.3" => 19,
        "1.0" => 16,
        _ => return Err(HashError::Malformed("keycloak argon2 version")),
    };
    let memory = decimal(&parameter("memory", "7168")?, "keycloak argon2 memory")?;
    let lanes = decimal(&parameter("parallelism", "1")?, "keycloak argon2 parallelism")?;
    let (t, salt, value) = (parts.iterations, to_base64(salt), to_base64(value));
    Ok(format!("${kind}$v={version}$m={memory},t={t},p={lanes}${salt}${value}"))
}
