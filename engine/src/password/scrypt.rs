//! scrypt (RFC 7914) in every form in which it is stored, and Firebase's variant of it.
//!
//! | form | written by |
//! | --- | --- |
//! | `$scrypt$ln=14,r=8,p=1$salt$hash` | the PHC string form, passlib; what this crate writes |
//! | `$scrypt$ln=16384,r=8,p=1$salt$hash` | Ory Kratos, which writes N where PHC writes its logarithm |
//! | `$7$C6..../....salt$hash` | libxcrypt, libsodium; `crypt(3)`'s alphabet, the salt is text |
//! | `scrypt$salt$16384$8$1$hash` | Django; the salt is text |
//! | `scrypt:32768:8:1$salt$hash` | Werkzeug; the salt is text, the hash hexadecimal |
//! | `16384$8$1$salt$hash` | Cognito's import; hexadecimal |
//! | `$firescrypt$ln=14,r=8,p=1$salt$hash$separator$key` | Firebase's scrypt as Ory Kratos spells it; what this crate writes |
//!
//! The memory comes from the allocator: the `scrypt` crate cannot be lent any.

use aes::cipher::{KeyIvInit, StreamCipher};

use super::caps::Caps;
use super::encoding::{base64, crypt_value, crypt64, decimal, fields, hex, keyed, to_base64, to_base64_padded};
use super::{HASH_BYTES_MIN, HashError, same};

const HASH_BYTES_MAX: usize = 512;
/// Values below this in `ln=` are logarithms; from here on they are N itself.
const LOGARITHM_END: u32 = 64;

/// scrypt's costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Costs {
    log_n: u8,
    r: u32,
    p: u32,
}

impl Costs {
    fn new(log_n: u8, r: u32, p: u32, caps: &Caps) -> Result<Self, HashError> {
        caps.check_scrypt(log_n, r, p)?;
        Ok(Costs { log_n, r, p })
    }

    /// From the texts of N, r and p.
    fn from_n(n: &str, r: &str, p: &str, caps: &Caps) -> Result<Self, HashError> {
        const WHAT: &str = "scrypt parameters";
        Self::new(log2(decimal(n, WHAT)?)?, decimal(r, WHAT)?, decimal(p, WHAT)?, caps)
    }

    /// Reads `ln=…,r=…,p=…`.
    fn from_phc(text: &str, caps: &Caps) -> Result<Self, HashError> {
        const WHAT: &str = "scrypt parameters";
        let mut parts = text.split(',');
        let mut next = |key| decimal(keyed(parts.next().unwrap_or_default(), key, WHAT)?, WHAT);
        let (n, r, p) = (next("ln")?, next("r")?, next("p")?);
        if parts.next().is_some() {
            return Err(HashError::Malformed(WHAT));
        }
        let log_n = match u8::try_from(n) {
            Ok(log_n) if n < LOGARITHM_END => log_n,
            _ => log2(n)?,
        };
        Self::new(log_n, r, p, caps)
    }

    fn derive(self, secret: &[u8], salt: &[u8], length: usize) -> Result<Vec<u8>, HashError> {
        const REASON: HashError = HashError::Malformed("scrypt parameters");
        let params = ::scrypt::Params::new(self.log_n, self.r, self.p).map_err(|_| REASON)?;
        let mut key = vec![0; length];
        ::scrypt::scrypt(secret, salt, &params, &mut key).map_err(|_| REASON)?;
        Ok(key)
    }

    fn micros(self) -> u64 {
        ((u64::from(self.r) * u64::from(self.p)) << self.log_n) * 3 / 10
    }
}

/// A parsed scrypt hash.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ScryptHash {
    costs: Costs,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl ScryptHash {
    fn new(costs: Costs, salt: Vec<u8>, hash: Vec<u8>) -> Result<Self, HashError> {
        if !(HASH_BYTES_MIN..=HASH_BYTES_MAX).contains(&hash.len()) {
            return Err(HashError::Malformed("scrypt hash length"));
        }
        Ok(ScryptHash { costs, salt, hash })
    }

    /// Parses what follows `$scrypt$`.
    pub(super) fn parse_phc(text: &str, caps: &Caps) -> Result<Self, HashError> {
        let [params, salt, hash] = fields(text, "scrypt fields")?;
        let costs = Costs::from_phc(params, caps)?;
        Self::new(costs, base64(salt, "scrypt salt")?, base64(hash, "scrypt hash")?)
    }

    /// Parses what follows `$7$`.
    pub(super) fn parse_crypt(text: &str, caps: &Caps) -> Result<Self, HashError> {
        const WHAT: &str = "scrypt parameters";
        let [head, hash] = fields(text, "scrypt fields")?;
        if head.len() < 11 || !head.is_ascii() {
            return Err(HashError::Malformed(WHAT));
        }
        let number = |range: std::ops::Range<usize>| {
            head.as_bytes()[range].iter().rev().try_fold(0u32, |value, &byte| {
                crypt_value(byte).map(|digit| value << 6 | digit).ok_or(HashError::Malformed(WHAT))
            })
        };
        let log_n = u8::try_from(number(0..1)?).map_err(|_| HashError::Malformed(WHAT))?;
        let costs = Costs::new(log_n, number(1..6)?, number(6..11)?, caps)?;
        Self::new(costs, head.as_bytes()[11..].to_vec(), crypt64(hash, "scrypt hash")?)
    }

    /// Parses what follows `scrypt$` in Django's form.
    pub(super) fn parse_django(text: &str, caps: &Caps) -> Result<Self, HashError> {
        let [salt, n, r, p, hash] = fields(text, "scrypt fields")?;
        let costs = Costs::from_n(n, r, p, caps)?;
        Self::new(costs, salt.as_bytes().to_vec(), base64(hash, "scrypt hash")?)
    }

    /// Parses what follows `scrypt:` in Werkzeug's form.
    pub(super) fn parse_werkzeug(text: &str, caps: &Caps) -> Result<Self, HashError> {
        let [params, salt, hash] = fields(text, "scrypt fields")?;
        let mut parts = params.split(':');
        let mut next = || parts.next().unwrap_or_default();
        let costs = Costs::from_n(next(), next(), next(), caps)?;
        if parts.next().is_some() {
            return Err(HashError::Malformed("scrypt parameters"));
        }
        Self::new(costs, salt.as_bytes().to_vec(), hex(hash, "scrypt hash")?)
    }

    /// Parses Cognito's form, which has no prefix.
    pub(super) fn parse_cognito(text: &str, caps: &Caps) -> Result<Self, HashError> {
        let [n, r, p, salt, hash] = fields(text, "scrypt fields")?;
        let costs = Costs::from_n(n, r, p, caps)?;
        Self::new(costs, hex(salt, "scrypt salt")?, hex(hash, "scrypt hash")?)
    }

    pub(super) fn verify(&self, secret: &[u8]) -> Result<bool, HashError> {
        Ok(same(&self.costs.derive(secret, &self.salt, self.hash.len())?, &self.hash))
    }

    pub(super) fn cost_micros(&self) -> u64 {
        self.costs.micros()
    }

    pub(super) fn blank(&mut self) {
        self.salt.fill(0);
        self.hash.fill(0);
    }
}

/// The string that this crate stores for a scrypt hash that came in parts.
pub(super) fn to_phc(n: u32, r: u32, p: u32, salt: &[u8], hash: &[u8]) -> Result<String, HashError> {
    Ok(format!("$scrypt$ln={},r={r},p={p}${}${}", log2(n)?, to_base64(salt), to_base64(hash)))
}

/// The logarithm of N, which must be a power of two.
fn log2(n: u32) -> Result<u8, HashError> {
    if !n.is_power_of_two() {
        return Err(HashError::Malformed("scrypt N is no power of two"));
    }
    u8::try_from(n.ilog2()).map_err(|_| HashError::Malformed("scrypt N"))
}

/// A parsed hash of Firebase's scrypt: the derived key encrypts the project's signer key, and the result is stored.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct FirebaseHash {
    costs: Costs,
    salt: Vec<u8>,
    separator: Vec<u8>,
    signer_key: Vec<u8>,
    hash: Vec<u8>,
}

impl FirebaseHash {
    /// Parses what follows `$firescrypt$`.
    pub(super) fn parse(text: &str, caps: &Caps) -> Result<Self, HashError> {
        let [params, salt, hash, separator, signer_key] = fields(text, "firebase fields")?;
        let hash = FirebaseHash {
            costs: Costs::from_phc(params, caps)?,
            salt: base64(salt, "firebase salt")?,
            separator: base64(separator, "firebase salt separator")?,
            signer_key: base64(signer_key, "firebase signer key")?,
            hash: base64(hash, "firebase hash")?,
        };
        if !(HASH_BYTES_MIN..=HASH_BYTES_MAX).contains(&hash.hash.len()) || hash.hash.len() != hash.signer_key.len() {
            return Err(HashError::Malformed("firebase hash length"));
        }
        Ok(hash)
    }

    pub(super) fn verify(&self, secret: &[u8]) -> Result<bool, HashError> {
        let salt = [self.salt.as_slice(), &self.separator].concat();
        let derived = self.costs.derive(secret, &salt, 64)?;
        let mut sealed = self.signer_key.clone();
        let (Some(key), nonce) = (derived.first_chunk::<32>(), [0; 16]) else {
            return Err(HashError::Malformed("firebase key length"));
        };
        ctr::Ctr128BE::<aes::Aes256>::new(key.into(), &nonce.into()).apply_keystream(&mut sealed);
        Ok(same(&sealed, &self.hash))
    }

    pub(super) fn cost_micros(&self) -> u64 {
        self.costs.micros()
    }

    pub(super) fn blank(&mut self) {
        for part in [&mut self.salt, &mut self.separator, &mut self.signer_key, &mut self.hash] {
            part.fill(0);
        }
    }
}

/// The string that this crate stores for a Firebase hash that came in parts.
pub(super) fn to_firescrypt(
    mem_cost: u32,
    rounds: u32,
    salt: &[u8],
    hash: &[u8],
    separator: &[u8],
    signer_key: &[u8],
) -> String {
    let text = to_base64_padded;
    let (salt, hash, separator, signer_key) = (text(salt), text(hash), text(separator), text(signer_key));
    format!("$firescrypt$ln={mem_cost},r={rounds},p=1${salt}${hash}${separator}${signer_key}")
}
