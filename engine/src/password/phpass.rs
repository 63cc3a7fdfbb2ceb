//! phpass (Solar Designer, 2004): a digest over salt and secret, iterated 2^n times with the secret.
//!
//! `$P$` (WordPress) and `$H$` (phpBB) over MD5, `$S$` (Drupal 7) over SHA-512; then one character for n, eight of salt
//! and the digest, all in `crypt(3)`'s alphabet. Drupal keeps the first 43 characters of the digest only.

use zeroize::Zeroizing;

use super::caps::Caps;
use super::digest::Digest;
use super::encoding::{crypt_char, crypt_value, to_crypt64};
use super::{HashError, same};

const LOG2_MIN: u32 = 7;
const LOG2_MAX: u32 = 30;
const SALT_CHARS: usize = 8;
const MD5_CHARS: usize = 22;
const DRUPAL_CHARS: usize = 43;

/// A parsed phpass hash.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Phpass {
    /// MD5 or SHA-512.
    digest: Digest,
    log2: u32,
    salt: String,
    /// As it is written: Drupal cuts its text in the middle of a group of bits.
    hash: String,
}

impl Phpass {
    /// Parses what follows `$P$`, `$H$` (MD5) or `$S$` (SHA-512).
    pub(super) fn parse(digest: Digest, text: &str, caps: &Caps) -> Result<Self, HashError> {
        let hash_chars = if digest == Digest::Md5 { MD5_CHARS } else { DRUPAL_CHARS };
        if !text.is_ascii() || text.len() != 1 + SALT_CHARS + hash_chars {
            return Err(HashError::Malformed("phpass length"));
        }
        let (log2, hash) = (crypt_value(text.as_bytes()[0]), &text[1 + SALT_CHARS..]);
        let log2 = log2.filter(|log2| (LOG2_MIN..=LOG2_MAX).contains(log2));
        let log2 = log2.ok_or(HashError::Malformed("phpass iterations"))?;
        if log2 > caps.phpass_log2_max {
            return Err(HashError::TooCostly("phpass iterations"));
        }
        if !hash.bytes().all(|byte| crypt_value(byte).is_some()) {
            return Err(HashError::Malformed("phpass hash"));
        }
        Ok(Phpass { digest, log2, salt: text[1..=SALT_CHARS].to_owned(), hash: hash.to_owned() })
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.digest == Digest::Md5 { "phpass" } else { "phpass-sha512" }
    }

    pub(super) fn verify(&self, secret: &[u8]) -> bool {
        let mut state = self.digest.hash(&Zeroizing::new([self.salt.as_bytes(), secret].concat()));
        let mut message = Zeroizing::new([state.as_slice(), secret].concat());
        for _ in 0..1u32 << self.log2 {
            message[..state.len()].copy_from_slice(&state);
            state = self.digest.hash(&message);
        }
        let computed = to_crypt64(&state);
        same(&computed.as_bytes()[..self.hash.len()], self.hash.as_bytes())
    }

    pub(super) fn cost_micros(&self) -> u64 {
        (if self.digest == Digest::Md5 { 160 } else { 500 } << self.log2) / 1000
    }

    pub(super) fn blank(&mut self) {
        self.salt = ".".repeat(self.salt.len());
        self.hash = ".".repeat(self.hash.len());
    }
}

/// The text of a phpass hash over MD5 that came in parts; `iterations` must be a power of two.
pub(super) fn to_phpass(iterations: u32, salt: &str, hash: &str) -> Result<String, HashError> {
    if !iterations.is_power_of_two() {
        return Err(HashError::Malformed("phpass iterations are no power of two"));
    }
    Ok(format!("$P${}{salt}{hash}", crypt_char(iterations.ilog2())))
}
