//! Firebase Authentication: hash and salt stand in the file, the project's parameters beside it.

use super::HashError;
use crate::password::encoding::base64;
use crate::password::scrypt::to_firescrypt;

/// A project's password hash parameters, as the console shows them. They are needed to check any of its hashes and
/// become part of each stored text.
#[derive(Clone, PartialEq, Eq)]
pub struct FirebaseParams {
    signer_key: Vec<u8>,
    salt_separator: Vec<u8>,
    rounds: u32,
    mem_cost: u32,
}

impl FirebaseParams {
    /// From `base64_signer_key`, `base64_salt_separator`, `rounds` (scrypt's r) and `mem_cost` (the logarithm of N).
    ///
    /// # Errors
    /// `Malformed` for a key or separator that is not base64, or a parameter of zero.
    pub fn new(signer_key_b64: &str, salt_separator_b64: &str, rounds: u32, mem_cost: u32) -> Result<Self, HashError> {
        if rounds == 0 || !(1..64).contains(&mem_cost) {
            return Err(HashError::Malformed("firebase rounds or memory cost"));
        }
        let signer_key = base64(signer_key_b64, "firebase signer key")?;
        Ok(FirebaseParams {
            signer_key,
            salt_separator: base64(salt_separator_b64, "firebase salt separator")?,
            rounds,
            mem_cost,
        })
    }
}

/// The text for one account's `passwordHash` and `salt`, both in base64 of either alphabet.
///
/// # Errors
/// `Malformed` where they are not base64, or of another length than the signer key.
pub fn firebase(project: &FirebaseParams, salt_b64: &str, hash_b64: &str) -> Result<String, HashError> {
    // The command-line export writes the URL-safe alphabet, the console's the standard one.
    let decode = |text: &str, what| base64(&text.replace('-', "+").replace('_', "/"), what);
    let (salt, hash) = (decode(salt_b64, "firebase salt")?, decode(hash_b64, "firebase hash")?);
    if hash.len() != project.signer_key.len() {
        return Err(HashError::Malformed("firebase hash length"));
    }
    let FirebaseParams { signer_key, salt_separator, rounds, mem_cost } = project;
    Ok(to_firescrypt(*mem_cost, *rounds, &salt, &hash, salt_separator, signer_key))
}
