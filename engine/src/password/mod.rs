//! Stored password hashes: reading them, checking a secret against them, and making new ones.
//!
//! A stored hash is one text, kept byte for byte as it was taken (it is a fact of the user, compared between stores);
//! [`parse`] understands every scheme that protocol §3 "Hashes" names, and some that importers bring. What arrives in
//! parts (Keycloak, Auth0, FusionAuth, Firebase, Okta) becomes such a text through [`convert`].
//!
//! | scheme | texts | file |
//! | --- | --- | --- |
//! | `argon2id`, `argon2i`, `argon2d` | `$argon2id$v=19$m=…,t=…,p=…$salt$hash`, `{ARGON2}…`, `argon2$argon2id$…` | `argon2` |
//! | `bcrypt` | `$2a$ $2b$ $2x$ $2y$`, `bcrypt$$2b$…` | `bcrypt` |
//! | `bcrypt-sha256` | `bcrypt_sha256$$2b$…`, `$bcrypt-sha256$…` | `bcrypt` |
//! | `pbkdf2-sha256`, … | `$pbkdf2-sha256$…`, `pbkdf2_sha256$…`, `{PBKDF2-SHA256}…`, … | `pbkdf2` |
//! | `scrypt`, `firebase-scrypt` | `$scrypt$…`, `$7$…`, `scrypt$…`, `N$r$p$hex$hex`, `$firescrypt$…` | `scrypt` |
//! | `md5-crypt`, `apr1`, `sha256-crypt`, `sha512-crypt`, `sha1-crypt` | `$1$ $apr1$ $5$ $6$ $sha1$` | `crypt` |
//! | `phpass`, `phpass-sha512` | `$P$ $H$ $S$` | `phpass` |
//! | `ssha`, `smd5`, `sha`, `md5`, `ssha256`, …, `hmac-sha256`, … | `{SSHA}…`, `$sha1$pf=…`, `$hmac-sha256$…`, … | `salted` |
//!
//! `{CRYPT}` before a text that begins with `$` changes nothing; names in braces are read in either case.
//!
//! # Invariants
//! 1. Nothing here does I/O, reads a clock or draws randomness: salts are given.
//! 2. A cost is compared with [`Caps`] before the work is done or its memory reserved: a [`StoredHash`] exists only
//!    within the caps that it was parsed with.
//! 3. No error, `Debug` or scheme name holds any part of a stored hash or of a secret.
//! 4. Hashes are compared in constant time, and a hash too short to mean anything is never parsed: an empty one would
//!    match every secret.
//! 5. No input makes this panic.

mod arena;
mod argon2;
mod bcrypt;
mod caps;
pub mod convert;
mod crypt;
mod digest;
mod encoding;
mod pbkdf2;
mod phpass;
mod salted;
mod scrypt;
#[cfg(test)]
mod tests;

use subtle::ConstantTimeEq;

pub use self::arena::Arena;
pub use self::argon2::{Argon2Params, hash_new};
pub use self::caps::Caps;

use self::argon2::Argon2Hash;
use self::bcrypt::BcryptHash;
use self::crypt::{Md5Crypt, Sha1Crypt, ShaCrypt};
use self::digest::Digest;
use self::pbkdf2::Pbkdf2Hash;
use self::phpass::Phpass;
use self::salted::{HmacHash, SaltedDigest};
use self::scrypt::{FirebaseHash, ScryptHash};

/// The longest stored text that is read, in bytes.
pub const STORED_BYTES_MAX: usize = 2048;
/// The longest secret that is checked or hashed, in bytes.
pub const SECRET_BYTES_MAX: usize = 4096;
/// The shortest output of a key derivation that is worth comparing, in bytes.
const HASH_BYTES_MIN: usize = 8;

/// Why a hash was not taken or not checked. Names structure and reason, never a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Not a scheme that is understood here; also plain text.
    #[error("unknown password hash scheme")]
    UnknownScheme,
    /// The scheme is known, the text does not follow it.
    #[error("malformed password hash: {0}")]
    Malformed(&'static str),
    /// Beyond [`Caps`], or beyond the memory there is.
    #[error("password hash too costly: {0}")]
    TooCostly(&'static str),
}

/// A stored hash, parsed and within its [`Caps`].
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHash(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Argon2(Argon2Hash),
    Bcrypt(BcryptHash),
    Pbkdf2(Pbkdf2Hash),
    Scrypt(ScryptHash),
    Firebase(FirebaseHash),
    Md5Crypt(Md5Crypt),
    ShaCrypt(ShaCrypt),
    Sha1Crypt(Sha1Crypt),
    Phpass(Phpass),
    Digest(SaltedDigest),
    Hmac(HmacHash),
}

/// Reads a stored hash.
///
/// # Errors
/// `UnknownScheme`, `Malformed`, or `TooCostly` where it asks for more than `caps` allows.
pub fn parse(stored: &str, caps: &Caps) -> Result<StoredHash, HashError> {
    if !stored.is_ascii() {
        return Err(HashError::UnknownScheme);
    }
    if stored.len() > STORED_BYTES_MAX {
        return Err(HashError::Malformed("length"));
    }
    let kind = match stored.as_bytes().first() {
        Some(b'{') => parse_braced(stored, caps)?,
        Some(b'$') => parse_modular(stored, caps)?,
        _ => parse_bare(stored, caps)?,
    };
    Ok(StoredHash(kind))
}

/// Texts that begin with a scheme in braces, as LDAP directories write them.
fn parse_braced(stored: &str, caps: &Caps) -> Result<Kind, HashError> {
    let (name, rest) = stored[1..].split_once('}').ok_or(HashError::UnknownScheme)?;
    let name = name.to_ascii_uppercase();
    if name.starts_with("FSHP") {
        return SaltedDigest::parse_fshp(&name, rest, caps).map(Kind::Digest);
    }
    let unsalted = |digest| SaltedDigest::parse_ldap(digest, false, rest).map(Kind::Digest);
    let salted = |digest| SaltedDigest::parse_ldap(digest, true, rest).map(Kind::Digest);
    let pbkdf2 = |digest| Pbkdf2Hash::parse_ldap(digest, rest, caps).map(Kind::Pbkdf2);
    match name.as_str() {
        "CRYPT" | "ARGON2" | "BCRYPT" | "MD5-CRYPT" | "SHA256-CRYPT" | "SHA512-CRYPT" | "BLF-CRYPT" | "ARGON2I"
        | "ARGON2ID" => {
            if rest.starts_with('$') {
                parse_modular(rest, caps)
            } else {
                Err(HashError::UnknownScheme)
            }
        }
        "MD5" => unsalted(Digest::Md5),
        "SHA" | "SHA1" => unsalted(Digest::Sha1),
        "SHA224" => unsalted(Digest::Sha224),
        "SHA256" => unsalted(Digest::Sha256),
        "SHA384" => unsalted(Digest::Sha384),
        "SHA512" => unsalted(Digest::Sha512),
        "SMD5" => salted(Digest::Md5),
        "SSHA" | "SSHA1" => salted(Digest::Sha1),
        "SSHA224" => salted(Digest::Sha224),
        "SSHA256" => salted(Digest::Sha256),
        "SSHA384" => salted(Digest::Sha384),
        "SSHA512" => salted(Digest::Sha512),
        "PBKDF2" | "PBKDF2-SHA1" => pbkdf2(Digest::Sha1),
        "PBKDF2-SHA256" => pbkdf2(Digest::Sha256),
        "PBKDF2-SHA384" => pbkdf2(Digest::Sha384),
        "PBKDF2-SHA512" => pbkdf2(Digest::Sha512),
        "PBKDF2_SHA256" => Pbkdf2Hash::parse_389(rest, caps).map(Kind::Pbkdf2),
        "PKCS5S2" => Pbkdf2Hash::parse_atlassian(rest, caps).map(Kind::Pbkdf2),
        _ => Err(HashError::UnknownScheme),
    }
}

/// Texts that begin with `$name$`: the modular crypt format and the PHC string form.
fn parse_modular(stored: &str, caps: &Caps) -> Result<Kind, HashError> {
    let (name, rest) = stored[1..].split_once('$').ok_or(HashError::UnknownScheme)?;
    match name {
        "argon2id" | "argon2i" | "argon2d" => Argon2Hash::parse(stored, caps).map(Kind::Argon2),
        "2a" | "2b" | "2x" | "2y" => BcryptHash::parse(stored, caps).map(Kind::Bcrypt),
        "bcrypt-sha256" => BcryptHash::parse_passlib_sha256(rest, caps).map(Kind::Bcrypt),
        "scrypt" => ScryptHash::parse_phc(rest, caps).map(Kind::Scrypt),
        "7" => ScryptHash::parse_crypt(rest, caps).map(Kind::Scrypt),
        "firescrypt" => FirebaseHash::parse(rest, caps).map(Kind::Firebase),
        "1" | "md5-crypt" => Md5Crypt::parse("$1$", rest).map(Kind::Md5Crypt),
        "apr1" => Md5Crypt::parse("$apr1$", rest).map(Kind::Md5Crypt),
        "5" | "sha256-crypt" => ShaCrypt::parse(Digest::Sha256, rest, caps).map(Kind::ShaCrypt),
        "6" | "sha512-crypt" => ShaCrypt::parse(Digest::Sha512, rest, caps).map(Kind::ShaCrypt),
        "P" | "H" => Phpass::parse(Digest::Md5, rest, caps).map(Kind::Phpass),
        "S" => Phpass::parse(Digest::Sha512, rest, caps).map(Kind::Phpass),
        "p5k2" => Pbkdf2Hash::parse_p5k2(rest, caps).map(Kind::Pbkdf2),
        "pbkdf2" => Pbkdf2Hash::parse_modular(Digest::Sha1, rest, caps).map(Kind::Pbkdf2),
        // NetBSD and Ory Kratos both took the name; a number can be no template.
        "sha1" if rest.starts_with(|first: char| first.is_ascii_digit()) && rest.split('$').count() == 3 => {
            let [rounds, salt, hash] = encoding::fields(rest, "sha1-crypt fields")?;
            Sha1Crypt::parse(rounds, salt, hash, caps).map(Kind::Sha1Crypt)
        }
        _ => {
            let digest = |name| Digest::named(name).ok_or(HashError::UnknownScheme);
            if name == "pbkdf2-sha224" {
                // Ory Kratos computes SHA3-224 under this name; nobody else is known to write it.
                Err(HashError::UnknownScheme)
            } else if let Some(name) = name.strip_prefix("pbkdf2-") {
                Pbkdf2Hash::parse_modular(digest(name)?, rest, caps).map(Kind::Pbkdf2)
            } else if let Some(name) = name.strip_prefix("hmac-") {
                HmacHash::parse(digest(name)?, rest, caps).map(Kind::Hmac)
            } else {
                SaltedDigest::parse_modular(digest(name)?, rest, caps).map(Kind::Digest)
            }
        }
    }
}

/// Texts without a mark of their own: Django's, Werkzeug's, GRUB's and Cognito's.
fn parse_bare(stored: &str, caps: &Caps) -> Result<Kind, HashError> {
    if let Some(rest) = stored.strip_prefix("grub.pbkdf2.sha512.") {
        return Pbkdf2Hash::parse_grub(rest, caps).map(Kind::Pbkdf2);
    }
    if let Some(rest) = stored.strip_prefix("pbkdf2:") {
        return Pbkdf2Hash::parse_werkzeug(rest, caps).map(Kind::Pbkdf2);
    }
    if let Some(rest) = stored.strip_prefix("scrypt:") {
        return ScryptHash::parse_werkzeug(rest, caps).map(Kind::Scrypt);
    }
    let (name, rest) = stored.split_once('$').ok_or(HashError::UnknownScheme)?;
    match name {
        "argon2" => Argon2Hash::parse(&stored["argon2".len()..], caps).map(Kind::Argon2),
        "bcrypt" => BcryptHash::parse(rest, caps).map(Kind::Bcrypt),
        "bcrypt_sha256" => BcryptHash::parse_django_sha256(rest, caps).map(Kind::Bcrypt),
        "scrypt" => ScryptHash::parse_django(rest, caps).map(Kind::Scrypt),
        "md5" => SaltedDigest::parse_django(Digest::Md5, rest).map(Kind::Digest),
        "sha1" => SaltedDigest::parse_django(Digest::Sha1, rest).map(Kind::Digest),
        "pbkdf2_sha1" => Pbkdf2Hash::parse_django(Digest::Sha1, rest, caps).map(Kind::Pbkdf2),
        "pbkdf2_sha256" => Pbkdf2Hash::parse_django(Digest::Sha256, rest, caps).map(Kind::Pbkdf2),
        "pbkdf2_sha512" => Pbkdf2Hash::parse_django(Digest::Sha512, rest, caps).map(Kind::Pbkdf2),
        _ if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) => {
            ScryptHash::parse_cognito(stored, caps).map(Kind::Scrypt)
        }
        _ => Err(HashError::UnknownScheme),
    }
}

impl StoredHash {
    /// The scheme's short name in lower case (`argon2id`, `bcrypt`, `pbkdf2-sha256`, `ssha`).
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match &self.0 {
            Kind::Argon2(hash) => hash.scheme(),
            Kind::Bcrypt(hash) => hash.scheme(),
            Kind::Pbkdf2(hash) => hash.scheme(),
            Kind::Scrypt(_) => "scrypt",
            Kind::Firebase(_) => "firebase-scrypt",
            Kind::Md5Crypt(hash) => hash.scheme(),
            Kind::ShaCrypt(hash) => hash.scheme(),
            Kind::Sha1Crypt(_) => "sha1-crypt",
            Kind::Phpass(hash) => hash.scheme(),
            Kind::Digest(hash) => hash.scheme(),
            Kind::Hmac(hash) => hash.scheme(),
        }
    }

    /// Whether `secret` is the one that was hashed. This is the costly step: run it on a worker.
    ///
    /// # Errors
    /// `TooCostly` for a secret longer than [`SECRET_BYTES_MAX`] or when there is no memory; `Malformed` for
    /// parameters that only the algorithm itself finds wrong.
    pub fn verify(&self, secret: &[u8], arena: &mut Arena) -> Result<bool, HashError> {
        if secret.len() > SECRET_BYTES_MAX {
            return Err(HashError::TooCostly("secret length"));
        }
        match &self.0 {
            Kind::Argon2(hash) => hash.verify(secret, arena),
            Kind::Bcrypt(hash) => Ok(hash.verify(secret)),
            Kind::Pbkdf2(hash) => Ok(hash.verify(secret)),
            Kind::Scrypt(hash) => hash.verify(secret),
            Kind::Firebase(hash) => hash.verify(secret),
            Kind::Md5Crypt(hash) => Ok(hash.verify(secret)),
            Kind::ShaCrypt(hash) => hash.verify(secret),
            Kind::Sha1Crypt(hash) => Ok(hash.verify(secret)),
            Kind::Phpass(hash) => Ok(hash.verify(secret)),
            Kind::Digest(hash) => Ok(hash.verify(secret)),
            Kind::Hmac(hash) => Ok(hash.verify(secret)),
        }
    }

    /// Whether a successful check should replace this hash by one of [`hash_new`] with `params`: every other scheme,
    /// and Argon2id with less memory or less work in all. A stronger Argon2id stays.
    #[must_use]
    pub fn needs_upgrade(&self, params: &Argon2Params) -> bool {
        match &self.0 {
            Kind::Argon2(hash) => hash.weaker_than(params),
            _ => true,
        }
    }

    /// Microseconds that a check takes on one core, roughly (within a factor of two): to weigh schemes against each
    /// other, not to wait by.
    #[must_use]
    pub fn relative_cost(&self) -> u64 {
        match &self.0 {
            Kind::Argon2(hash) => hash.cost_micros(),
            Kind::Bcrypt(hash) => hash.cost_micros(),
            Kind::Pbkdf2(hash) => hash.cost_micros(),
            Kind::Scrypt(hash) => hash.cost_micros(),
            Kind::Firebase(hash) => hash.cost_micros(),
            Kind::Md5Crypt(_) => 250,
            Kind::ShaCrypt(hash) => hash.cost_micros(),
            Kind::Sha1Crypt(hash) => hash.cost_micros(),
            Kind::Phpass(hash) => hash.cost_micros(),
            Kind::Digest(hash) => hash.cost_micros(),
            Kind::Hmac(_) => 2,
        }
    }

    /// The same scheme at the same cost with nothing of the user in it: what a check for a user who does not exist
    /// runs against. Decoys of equal scheme, parameters and lengths are equal, so a pool can count its mix by them.
    #[must_use]
    pub fn decoy(&self) -> Decoy {
        let mut blank = self.clone();
        match &mut blank.0 {
            Kind::Argon2(hash) => hash.blank(),
            Kind::Bcrypt(hash) => hash.blank(),
            Kind::Pbkdf2(hash) => hash.blank(),
            Kind::Scrypt(hash) => hash.blank(),
            Kind::Firebase(hash) => hash.blank(),
            Kind::Md5Crypt(hash) => hash.blank(),
            Kind::ShaCrypt(hash) => hash.blank(),
            Kind::Sha1Crypt(hash) => hash.blank(),
            Kind::Phpass(hash) => hash.blank(),
            Kind::Digest(hash) => hash.blank(),
            Kind::Hmac(hash) => hash.blank(),
        }
        Decoy(blank)
    }
}

impl std::fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredHash({})", self.scheme())
    }
}

/// A hash that nobody has, made by [`StoredHash::decoy`]: it costs what its model costs and matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoy(StoredHash);

impl Decoy {
    /// Does the work of a check. The outcome is thrown away: for whoever asks, the secret was wrong.
    pub fn spend(&self, secret: &[u8], arena: &mut Arena) {
        let _ = std::hint::black_box(self.0.verify(secret, arena));
    }

    /// As [`StoredHash::relative_cost`].
    #[must_use]
    pub fn relative_cost(&self) -> u64 {
        self.0.relative_cost()
    }

    /// As [`StoredHash::scheme`].
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.0.scheme()
    }
}

/// Compares in constant time; lengths are no secret.
fn same(computed: &[u8], stored: &[u8]) -> bool {
    computed.ct_eq(stored).into()
}
