//! Auth0: the `custom_password_hash` of a bulk import.

use serde_json::{Value, json};

use super::{ESCAPE, HashError};
use crate::password::digest::Digest;
use crate::password::encoding::{base64, base64_url, hex};
use crate::password::salted::{SaltPosition, TextEncoding, to_hmac, to_modular};
use crate::password::scrypt;

const SHAPE: HashError = HashError::Malformed("custom_password_hash");

/// The text for a `custom_password_hash` object: `{algorithm, hash {value, encoding, digest, key}, salt {value,
/// encoding, position}, password {encoding}}` with the algorithms argon2, bcrypt, hmac, ldap, md4, md5, sha1, sha256,
/// sha512, pbkdf2 and scrypt.
///
/// # Errors
/// `UnknownScheme` for another algorithm or digest; `Malformed` for an object that does not follow its algorithm.
pub fn auth0_custom(object: &Value) -> Result<String, HashError> {
    let algorithm = object["algorithm"].as_str().ok_or(SHAPE)?;
    let hash = &object["hash"];
    let value = hash["value"].as_str().ok_or(SHAPE)?;
    match algorithm {
        // These are whole texts already.
        "argon2" | "bcrypt" | "pbkdf2" => {
            if encoding_of(object)? != TextEncoding::Utf8 {
                return Err(HashError::Malformed("password encoding"));
            }
            if value.starts_with('$') { Ok(value.to_owned()) } else { Err(SHAPE) }
        }
        ESCAPE => Ok(value.to_owned()),
        "ldap" => {
            if value.starts_with('{') {
                Ok(value.to_owned())
            } else {
                Err(SHAPE)
            }
        }
        "hmac" => {
            let digest = digest_named(hash["digest"].as_str().ok_or(SHAPE)?)?;
            let key = decode(&hash["key"], "utf8")?;
            let (salt, position) = salt_of(object)?;
            Ok(to_hmac(digest, position, encoding_of(object)?, &salt, &decode(hash, "hex")?, &key))
        }
        "scrypt" => {
            let number =
                |name: &str, default: u32| match [&object[name], &hash[name]].into_iter().find(|v| !v.is_null()) {
                    None => Ok(default),
                    Some(value) => value.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or(SHAPE),
                };
            let derived = decode(hash, "hex")?;
            if number("keylen", u32::try_from(derived.len()).map_err(|_| SHAPE)?)? as usize != derived.len() {
                return Err(HashError::Malformed("scrypt hash length"));
            }
            let (salt, _) = salt_of(object)?;
            let (n, r, p) = (number("cost", 16384)?, number("blockSize", 8)?, number("parallelization", 1)?);
            scrypt::to_phc(n, r, p, &salt, &derived)
        }
        _ => {
            let digest = digest_named(algorithm)?;
            let (salt, position) = salt_of(object)?;
            Ok(to_modular(digest, position, 1, encoding_of(object)?, &salt, &decode(hash, "hex")?))
        }
    }
}

/// The `custom_password_hash` of a stored text, for an export: [`auth0_custom`] makes the same text of it again. What
/// Auth0 has no algorithm for goes out as algorithm `stoa`, which only this store reads.
#[must_use]
pub fn to_auth0_custom(stored: &str) -> Value {
    let algorithm = match stored.split('$').nth(1) {
        _ if stored.starts_with('{') => "ldap",
        Some("argon2id" | "argon2i" | "argon2d") if stored.starts_with('$') => "argon2",
        Some("2a" | "2b" | "2x" | "2y") if stored.starts_with('$') => "bcrypt",
        // Auth0 knows the PHC form only.
        Some(name) if name.starts_with("pbkdf2-") && stored.contains("$i=") => "pbkdf2",
        _ => ESCAPE,
    };
    json!({"algorithm": algorithm, "hash": {"value": stored, "encoding": "utf8"}})
}

fn digest_named(name: &str) -> Result<Digest, HashError> {
    Digest::named(name).ok_or(HashError::UnknownScheme)
}

/// The bytes of `{value, encoding}`.
fn decode(object: &Value, default: &str) -> Result<Vec<u8>, HashError> {
    let value = object["value"].as_str().ok_or(SHAPE)?;
    match object["encoding"].as_str().unwrap_or(default) {
        "hex" => hex(value, "hexadecimal"),
        "base64" if value.contains(['-', '_']) => base64_url(value, "base64"),
        "base64" => base64(value, "base64"),
        "utf8" | "ascii" => Ok(value.as_bytes().to_vec()),
        _ => Err(HashError::Malformed("encoding")),
    }
}

/// The salt and where it stands: before the password unless said otherwise.
fn salt_of(object: &Value) -> Result<(Vec<u8>, SaltPosition), HashError> {
    let salt = &object["salt"];
    if salt.is_null() {
        return Ok((Vec::new(), SaltPosition::Before));
    }
    let position = match salt["position"].as_str() {
        None | Some("prefix") => SaltPosition::Before,
        Some("suffix") => SaltPosition::After,
        Some(_) => return Err(HashError::Malformed("salt position")),
    };
    Ok((decode(salt, "utf8")?, position))
}

fn encoding_of(object: &Value) -> Result<TextEncoding, HashError> {
    match object["password"]["encoding"].as_str() {
        None | Some("utf8" | "ascii") => Ok(TextEncoding::Utf8),
        Some("utf16le" | "ucs2") => Ok(TextEncoding::Utf16Le),
        Some(_) => Err(HashError::Malformed("password encoding")),
    }
}
