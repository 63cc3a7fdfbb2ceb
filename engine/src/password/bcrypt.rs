//! bcrypt (Provos and Mazières, 1999) and the two constructions that hash the secret before it.
//!
//! bcrypt reads at most 72 bytes of the secret and stops at a NUL. `$2a$`, `$2b$` and `$2y$` are one algorithm here;
//! `$2x$` marks hashes of crypt_blowfish before 1.1, which sign-extended each byte of the secret.

use zeroize::Zeroizing;

use super::HashError;
use super::caps::Caps;
use super::digest::Digest;
use super::encoding::{bcrypt_hash, bcrypt_salt, decimal, fields, keyed, to_base64_padded, to_hex};
use super::same;

const KEY_BYTES_MAX: usize = 72;
const SALT_CHARS: usize = 22;
const HASH_CHARS: usize = 31;

/// What happens to the secret before bcrypt sees it.
#[derive(Clone, PartialEq, Eq)]
enum Prehash {
    /// Nothing.
    Plain,
    /// passlib's `bcrypt_sha256` version 1: SHA-256 in base64.
    Sha256Base64,
    /// passlib's `bcrypt_sha256` version 2: HMAC-SHA-256 under the salt's text, in base64.
    HmacSha256Base64(String),
    /// Django's `bcrypt_sha256`: SHA-256 in hexadecimal.
    Sha256Hex,
}

/// A parsed bcrypt hash.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct BcryptHash {
    prehash: Prehash,
    sign_extended: bool,
    cost: u32,
    salt: [u8; 16],
    hash: [u8; 23],
}

impl BcryptHash {
    /// Parses `$2b$10$` followed by 22 characters of salt and 31 of hash.
    pub(super) fn parse(text: &str, caps: &Caps) -> Result<Self, HashError> {
        Self::parse_as(Prehash::Plain, text, caps)
    }

    /// Parses what follows `bcrypt_sha256$` in Django's form.
    pub(super) fn parse_django_sha256(text: &str, caps: &Caps) -> Result<Self, HashError> {
        Self::parse_as(Prehash::Sha256Hex, text, caps)
    }

    /// Parses what follows `$bcrypt-sha256$` in passlib's form: `2a,5$salt$hash`, or `v=2,t=2b,r=5$salt$hash`.
    pub(super) fn parse_passlib_sha256(text: &str, caps: &Caps) -> Result<Self, HashError> {
        const WHAT: &str = "bcrypt-sha256 fields";
        let [params, salt, hash] = fields(text, WHAT)?;
        let (prehash, variant, cost) = match params.strip_prefix("v=2,") {
            Some(rest) => {
                let (variant, cost) = rest.split_once(',').ok_or(HashError::Malformed(WHAT))?;
                (Prehash::HmacSha256Base64(salt.to_owned()), keyed(variant, "t", WHAT)?, keyed(cost, "r", WHAT)?)
            }
            None => {
                let (variant, cost) = params.split_once(',').ok_or(HashError::Malformed(WHAT))?;
                (Prehash::Sha256Base64, variant, cost)
            }
        };
        Self::from_parts(prehash, variant, decimal(cost, "bcrypt cost")?, salt, hash, caps)
    }

    fn parse_as(prehash: Prehash, text: &str, caps: &Caps) -> Result<Self, HashError> {
        let [empty, variant, cost, rest] = fields(text, "bcrypt fields")?;
        if !empty.is_empty() || rest.len() != SALT_CHARS + HASH_CHARS || !rest.is_ascii() || cost.len() != 2 {
            return Err(HashError::Malformed("bcrypt length"));
        }
        let cost = decimal(cost.strip_prefix('0').unwrap_or(cost), "bcrypt cost")?;
        let (salt, hash) = rest.split_at(SALT_CHARS);
        Self::from_parts(prehash, variant, cost, salt, hash, caps)
    }

    fn from_parts(
        prehash: Prehash,
        variant: &str,
        cost: u32,
        salt: &str,
        hash: &str,
        caps: &Caps,
    ) -> Result<Self, HashError> {
        let sign_extended = match variant {
            "2a" | "2b" | "2y" => false,
            "2x" => true,
            _ => return Err(HashError::UnknownScheme),
        };
        if !(4..=31).contains(&cost) {
            return Err(HashError::Malformed("bcrypt cost"));
        }
        if cost > caps.bcrypt_cost_max {
            return Err(HashError::TooCostly("bcrypt cost"));
        }
        Ok(BcryptHash { prehash, sign_extended, cost, salt: bcrypt_salt(salt)?, hash: bcrypt_hash(hash)? })
    }

    pub(super) fn scheme(&self) -> &'static str {
        match self.prehash {
            Prehash::Plain => "bcrypt",
            _ => "bcrypt-sha256",
        }
    }

    pub(super) fn verify(&self, secret: &[u8]) -> bool {
        let prehashed: Option<String> = match &self.prehash {
            Prehash::Plain => None,
            Prehash::Sha256Base64 => Some(to_base64_padded(&Digest::Sha256.hash(secret))),
            Prehash::HmacSha256Base64(key) => Some(to_base64_padded(&Digest::Sha256.hmac(key.as_bytes(), secret))),
            Prehash::Sha256Hex => Some(to_hex(&Digest::Sha256.hash(secret))),
        };
        let key = key_of(prehashed.as_ref().map_or(secret, String::as_bytes));
        let computed = if self.sign_extended {
            ::bcrypt::bcrypt(self.cost, self.salt, &*sign_extend(&key))
        } else {
            ::bcrypt::bcrypt(self.cost, self.salt, &key)
        };
        // bcrypt drops the last byte of the 24 that it computes.
        same(&computed[..23], &self.hash)
    }

    pub(super) fn cost_micros(&self) -> u64 {
        55 << self.cost
    }

    pub(super) fn blank(&mut self) {
        self.salt.fill(0);
        self.hash.fill(0);
        if let Prehash::HmacSha256Base64(key) = &mut self.prehash {
            *key = ".".repeat(SALT_CHARS);
        }
    }
}

/// The bytes that bcrypt takes as its key: up to the first NUL, that NUL included, 72 at most.
fn key_of(secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let text = secret.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut key = Zeroizing::new(Vec::with_capacity(KEY_BYTES_MAX));
    key.extend(text.iter().copied().chain([0]).take(KEY_BYTES_MAX));
    key
}

/// The key that makes a correct bcrypt compute what the broken one did.
///
/// Blowfish's key schedule mixes in 18 words, made of four key bytes each, beginning again at the key's end. The
/// broken one built a word as `word << 8 | byte as signed`, so that a byte of 128 and more set all bits above it.
/// Since 18 words are just the 72 bytes of the longest key, those words can be given as a key themselves.
fn sign_extend(key: &[u8]) -> Zeroizing<[u8; KEY_BYTES_MAX]> {
    let mut extended = Zeroizing::new([0; KEY_BYTES_MAX]);
    let mut bytes = key.iter().cycle();
    for word_out in extended.chunks_exact_mut(4) {
        let word = bytes.by_ref().take(4).fold(0u32, |word, &byte| word << 8 | byte.cast_signed() as u32);
        word_out.copy_from_slice(&word.to_be_bytes());
    }
    extended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stops_at_nul_and_at_72_bytes() {
        assert_eq!(*key_of(b""), [0]);
        assert_eq!(*key_of(b"ab\0cd"), *b"ab\0");
        assert_eq!(key_of(&[b'x'; 71]).len(), 72);
        assert_eq!(key_of(&[b'x'; 71]).last(), Some(&0));
        assert_eq!(*key_of(&[b'x'; 100]), [b'x'; 72]);
    }

    #[test]
    fn sign_extension_leaves_ascii_alone() {
        let key = key_of(b"abc");
        assert_eq!(&sign_extend(&key)[..8], b"abc\0abc\0");
        // A byte above 127 wipes out what stood before it in its word.
        assert_eq!(&sign_extend(b"ab\xa3\0")[..4], &[0xff, 0xff, 0xa3, 0]);
    }
}
