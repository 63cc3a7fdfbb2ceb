//! Okta, and Node's passport-local.

use super::HashError;
use crate::password::digest::Digest;
use crate::password::encoding::{bcrypt_hash, bcrypt_salt, hex};
use crate::password::pbkdf2;

/// The text for Okta's `{"algorithm": "BCRYPT", "workFactor": …, "salt": …, "value": …}`, salt and value in bcrypt's
/// alphabet.
///
/// # Errors
/// `Malformed` for a cost that bcrypt does not know, or a salt or value of another length or alphabet.
pub fn okta_bcrypt(work_factor: u32, salt: &str, value: &str) -> Result<String, HashError> {
    bcrypt(work_factor, salt, value)
}

/// The text for passport-local's `salt` and `hash`: PBKDF2 over `digest` (25,000 iterations of SHA-256 unless the
/// application says otherwise), the hash in hexadecimal, the salt taken as text although it looks hexadecimal.
///
/// # Errors
/// `UnknownScheme` for an unknown digest, `Malformed` for a hash that is not hexadecimal.
pub fn passport_local(digest: &str, iterations: u32, salt: &str, hash: &str) -> Result<String, HashError> {
    let digest = Digest::named(&digest.to_ascii_lowercase()).ok_or(HashError::UnknownScheme)?;
    Ok(pbkdf2::to_phc(digest, iterations, salt.as_bytes(), &hex(hash, "passport-local hash")?))
}

/// A bcrypt text from its parts.
pub(super) fn bcrypt(cost: u32, salt: &str, hash: &str) -> Result<String, HashError> {
    if !(4..=31).contains(&cost) {
        return Err(HashError::Malformed("bcrypt cost"));
    }
    bcrypt_salt(salt)?;
    bcrypt_hash(hash)?;
    Ok(format!("$2b${cost:02}${salt}{hash}"))
}
