//! PBKDF2 (RFC 8018) in every form in which it is stored.
//!
//! | form | written by |
//! | --- | --- |
//! | `$pbkdf2-sha256$i=600000,l=32$salt$hash` | the PHC string form; what this crate writes for Keycloak and others |
//! | `$pbkdf2-sha256$600000$salt$hash`, `$pbkdf2$…` (SHA-1) | passlib, Cognito; base64 with `.` for `+` |
//! | `pbkdf2_sha256$600000$salt$hash` | Django; the salt is text, not base64 |
//! | `pbkdf2:sha256:600000$salt$hash` | Werkzeug; the salt is text, the hash hexadecimal |
//! | `{PBKDF2-SHA256}600000$salt$hash`, `{PBKDF2}…` (SHA-1) | OpenLDAP's pw-pbkdf2, passlib |
//! | `{PBKDF2_SHA256}blob` | 389 Directory Server: iterations (4 bytes, big-endian), salt (64), key (256) |
//! | `{PKCS5S2}blob` | Atlassian: salt (16 bytes), key (32); SHA-1, 10,000 iterations |
//! | `$p5k2$3e8$salt$hash` | Cryptacular (hash in URL-safe base64) and python-pbkdf2 (the whole head is the salt) |
//! | `grub.pbkdf2.sha512.10000.salt.hash` | GRUB; hexadecimal |

use super::caps::Caps;
use super::digest::Digest;
use super::encoding::{base64, base64_url, decimal, fields, hex, keyed, to_base64};
use super::{HASH_BYTES_MIN, HashError, same};

/// The longest key taken: passport-local-mongoose writes 512 bytes.
const KEY_BYTES_MAX: usize = 1024;

/// A parsed PBKDF2 hash.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pbkdf2Hash {
    digest: Digest,
    iterations: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Pbkdf2Hash {
    /// Checks the parts; every form ends here.
    pub(super) fn new(
        digest: Digest,
        iterations: u32,
        salt: Vec<u8>,
        hash: Vec<u8>,
        caps: &Caps,
    ) -> Result<Self, HashError> {
        if !(HASH_BYTES_MIN..=KEY_BYTES_MAX).contains(&hash.len()) {
            return Err(HashError::Malformed("pbkdf2 hash length"));
        }
        caps.check_iterations(iterations, hash.len().div_ceil(digest.output_bytes()) as u64)?;
        Ok(Pbkdf2Hash { digest, iterations, salt, hash })
    }

    /// Parses what follows `$pbkdf2-DIGEST$`: the PHC form or passlib's.
    pub(super) fn parse_modular(digest: Digest, text: &str, caps: &Caps) -> Result<Self, HashError> {
        let [params, salt, hash] = fields(text, "pbkdf2 fields")?;
        let (iterations, length) = if params.contains('=') { phc_params(params)? } else { (iterations(params)?, None) };
        let hash = base64(hash, "pbkdf2 hash")?;
        if length.is_some_and(|length| length as usize != hash.len()) {
            return Err(HashError::Malformed("pbkdf2 hash length"));
        }
        Self::new(digest, iterations, base64(salt, "pbkdf2 salt")?, hash, caps)
    }

    /// Parses what follows `{PBKDF2-DIGEST}`.
    pub(super) fn parse_ldap(digest: Digest, text: &str, caps: &Caps) -> Result<Self, HashError> {
        let [count, salt, hash] = fields(text, "pbkdf2 fields")?;
        let (salt, hash) = (base64(salt, "pbkdf2 salt")?, base64(hash, "pbkdf2 hash")?);
        Self::new(digest, iterations(count)?, salt, hash, caps)
    }

    /// Parses what follows `pbkdf2_DIGEST$` in Django's form.
    pub(super) fn parse_django(digest: Digest, text: &str, caps: &Caps) -> Result<Self, HashError> {
        let [count, salt, hash] = fields(text, "pbkdf2 fields")?;
        let hash = base64(hash, "pbkdf2 hash")?;
        Self::new(digest, iterations(count)?, salt.as_bytes().to_vec(), hash, caps)
    }

    /// Parses what follows `pbkdf2:` in Werkzeug's form: `sha256:600000$salt$hash`.
    pub(super) fn parse_werkzeug(text: &str, caps: &Caps) -> Result<Self, HashError> {
        let [method, salt, hash] = fields(text, "pbkdf2 fields")?;
        let (digest, count) = method.split_once(':').ok_or(HashError::Malformed("pbkdf2 fields"))?;
        let digest = Digest::named(digest).ok_or(HashError::UnknownScheme)?;
        let hash = hex(hash, "pbkdf2 hash")?;
        Self::new(digest, iterations(count)?, salt.as_bytes().to_vec(), hash, caps)
    }

    /// Parses what follows `{PBKDF2_SHA256}`: 389 Directory Server's binary record.
    pub(super) fn parse_389(text: &str, caps: &Caps) -> Result<Self, HashError> {
        const SALT_BYTES: usize = 64;
        const KEY_BYTES: usize = 256;
        let blob = base64(text, "pbkdf2 blob")?;
        let Some((count, rest)) =
            blob.split_first_chunk::<4>().filter(|(_, rest)| rest.len() == SALT_BYTES + KEY_BYTES)
        else {
            return Err(HashError::Malformed("pbkdf2 blob length"));
        };
        let (salt, key) = rest.split_at(SALT_BYTES);
        Self::new(Digest::Sha256, u32::from_be_bytes(*count), salt.to_vec(), key.to_vec(), caps)
    }

    /// Parses what follows `{PKCS5S2}`: Atlassian's record.
    pub(super) fn parse_atlassian(text: &str, caps: &Caps) -> Result<Self, HashError> {
        let blob = base64(text, "pbkdf2 blob")?;
        if blob.len() != 48 {
            return Err(HashError::Malformed("pbkdf2 blob length"));
        }
        let (salt, key) = blob.split_at(16);
        Self::new(Digest::Sha1, 10_000, salt.to_vec(), key.to_vec(), caps)
    }

    /// Parses what follows `$p5k2$`: iterations in hexadecimal, salt, hash.
    pub(super) fn parse_p5k2(text: &str, caps: &Caps) -> Result<Self, HashError> {
        const WHAT: &str = "pbkdf2 iterations";
        let [count, salt, hash] = fields(text, "pbkdf2 fields")?;
        let iterations = match count {
            "" => 400,
            _ if !count.bytes().all(|byte| byte.is_ascii_hexdigit()) => return Err(HashError::Malformed(WHAT)),
            _ => u32::from_str_radix(count, 16).map_err(|_| HashError::TooCostly(WHAT))?,
        };
        // python-pbkdf2 writes 24 bytes without padding, Cryptacular 20 with it.
        let (salt, hash) = if hash.len() == 32 {
            (format!("$p5k2${count}${salt}").into_bytes(), base64(hash, "pbkdf2 hash")?)
        } else {
            (base64_url(salt, "pbkdf2 salt")?, base64_url(hash, "pbkdf2 hash")?)
        };
        Self::new(Digest::Sha1, iterations, salt, hash, caps)
    }

    /// Parses what follows `grub.pbkdf2.sha512.`.
    pub(super) fn parse_grub(text: &str, caps: &Caps) -> Result<Self, HashError> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(HashError::Malformed("pbkdf2 fields"));
        let (count, salt, hash) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(HashError::Malformed("pbkdf2 fields"));
        }
        let (salt, hash) = (hex(salt, "pbkdf2 salt")?, hex(hash, "pbkdf2 hash")?);
        Self::new(Digest::Sha512, iterations(count)?, salt, hash, caps)
    }

    pub(super) fn scheme(&self) -> &'static str {
        match self.digest {
            Digest::Md4 => "pbkdf2-md4",
            Digest::Md5 => "pbkdf2-md5",
            Digest::Sha1 => "pbkdf2-sha1",
            Digest::Sha224 => "pbkdf2-sha224",
            Digest::Sha256 => "pbkdf2-sha256",
            Digest::Sha384 => "pbkdf2-sha384",
            Digest::Sha512 => "pbkdf2-sha512",
        }
    }

    /// The digest, iterations, salt and hash.
    pub(super) fn parts(&self) -> (Digest, u32, &[u8], &[u8]) {
        (self.digest, self.iterations, &self.salt, &self.hash)
    }

    pub(super) fn verify(&self, secret: &[u8]) -> bool {
        same(&self.digest.pbkdf2(secret, &self.salt, self.iterations, self.hash.len()), &self.hash)
    }

    pub(super) fn cost_micros(&self) -> u64 {
        let blocks = self.hash.len().div_ceil(self.digest.output_bytes()) as u64;
        u64::from(self.iterations) * blocks * self.digest.hmac_nanos() / 1000
    }

    pub(super) fn blank(&mut self) {
        self.salt.fill(0);
        self.hash.fill(0);
    }
}

/// The string that this crate stores for a PBKDF2 hash that came in parts.
pub(super) fn to_phc(digest: Digest, iterations: u32, salt: &[u8], hash: &[u8]) -> String {
    let (name, length) = (digest.name(), hash.len());
    format!("$pbkdf2-{name}$i={iterations},l={length}${}${}", to_base64(salt), to_base64(hash))
}

/// Reads `i=…[,l=…]`.
fn phc_params(text: &str) -> Result<(u32, Option<u32>), HashError> {
    const WHAT: &str = "pbkdf2 parameters";
    let (count, length) = match text.split_once(',') {
        Some((count, length)) => (count, Some(decimal(keyed(length, "l", WHAT)?, "pbkdf2 hash length")?)),
        None => (text, None),
    };
    Ok((iterations(keyed(count, "i", WHAT)?)?, length))
}

fn iterations(text: &str) -> Result<u32, HashError> {
    decimal(text, "pbkdf2 iterations")
}
