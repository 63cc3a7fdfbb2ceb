//! FusionAuth: `encryptionScheme`, `factor`, `salt` and `password` of its import file.

use super::HashError;
use crate::password::digest::Digest;
use crate::password::encoding::base64;
use crate::password::salted::{SaltPosition, TextEncoding, to_hmac, to_modular};
use crate::password::{pbkdf2, phpass};

/// The text for a user's `encryptionScheme`, `factor`, `salt` and `password`.
///
/// Taken: `bcrypt` (salt and hash in bcrypt's alphabet), `salted-md5` and `salted-sha256` (the digest of password and
/// salt, hashed `factor` times), `salted-hmac-sha256` (the salt is the key), `salted-pbkdf2-hmac-sha256`, `-256-512`,
/// `-512` and `-512-512` (the key's length follows from the hash), `phpass-md5`.
///
/// # Errors
/// `UnknownScheme` for any other scheme; `Malformed` where a part does not follow its scheme.
pub fn fusionauth(scheme: &str, factor: u32, salt: &str, password: &str) -> Result<String, HashError> {
    let salt_bytes = || base64(salt, "fusionauth salt");
    let hash_bytes = || base64(password, "fusionauth password");
    let salted = |digest| {
        let (salt, hash) = (salt_bytes()?, hash_bytes()?);
        Ok(to_modular(digest, SaltPosition::After, factor, TextEncoding::Utf8, &salt, &hash))
    };
    match scheme.to_ascii_lowercase().as_str() {
        "bcrypt" => super::others::bcrypt(factor, salt, password),
        "salted-md5" => salted(Digest::Md5),
        "salted-sha256" => salted(Digest::Sha256),
        "salted-hmac-sha256" => {
            let (key, hash) = (salt_bytes()?, hash_bytes()?);
            Ok(to_hmac(Digest::Sha256, SaltPosition::After, TextEncoding::Utf8, &[], &hash, &key))
        }
        "salted-pbkdf2-hmac-sha256" | "salted-pbkdf2-hmac-sha256-512" => {
            Ok(pbkdf2::to_phc(Digest::Sha256, factor, &salt_bytes()?, &hash_bytes()?))
        }
        "salted-pbkdf2-hmac-sha512" | "salted-pbkdf2-hmac-sha512-512" => {
            Ok(pbkdf2::to_phc(Digest::Sha512, factor, &salt_bytes()?, &hash_bytes()?))
        }
        "phpass-md5" => phpass::to_phpass(factor, salt, password),
        _ => Err(HashError::UnknownScheme),
    }
}
