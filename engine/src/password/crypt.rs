//! The iterated digests of `crypt(3)`: MD5-crypt, SHA-256/512-crypt and NetBSD's SHA-1-crypt.
//!
//! `$1$salt$hash`, `$apr1$salt$hash` (Apache), `$5$[rounds=n$]salt$hash`, `$6$…`, `$sha1$rounds$salt$hash`, and the
//! spellings `$md5-crypt$`, `$sha256-crypt$`, `$sha512-crypt$` of Ory Kratos. All are written in `crypt(3)`'s alphabet,
//! the digest's bytes permuted before.

use sha_crypt::Params;
use zeroize::Zeroizing;

use super::caps::Caps;
use super::digest::Digest;
use super::encoding::{crypt64, decimal};
use super::{HashError, same};

/// A parsed MD5-crypt hash (Poul-Henning Kamp, 1994).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Md5Crypt {
    /// Goes into the digest, so `$1$` and `$apr1$` differ.
    magic: &'static str,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Md5Crypt {
    const ROUNDS: usize = 1000;
    const SALT_BYTES_MAX: usize = 8;
    /// Which digest bytes stand at which place, in the order in which they are written.
    const ORDER: [usize; 16] = [12, 6, 0, 13, 7, 1, 14, 8, 2, 15, 9, 3, 5, 10, 4, 11];

    /// Parses what follows `magic`: `salt$hash`.
    pub(super) fn parse(magic: &'static str, text: &str) -> Result<Self, HashError> {
        let (salt, hash) = text.split_once('$').ok_or(HashError::Malformed("md5-crypt fields"))?;
        let hash = crypt64(hash, "md5-crypt hash")?;
        if hash.len() != Self::ORDER.len() {
            return Err(HashError::Malformed("md5-crypt hash length"));
        }
        if salt.len() > Self::SALT_BYTES_MAX {
            return Err(HashError::Malformed("md5-crypt salt length"));
        }
        Ok(Md5Crypt { magic, salt: salt.as_bytes().to_vec(), hash })
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.magic == "$apr1$" { "apr1" } else { "md5-crypt" }
    }

    pub(super) fn verify(&self, secret: &[u8]) -> bool {
        same(&self.compute(secret), &self.hash)
    }

    fn compute(&self, secret: &[u8]) -> Vec<u8> {
        let salt = self.salt.as_slice();
        let inner = Digest::Md5.hash(&Zeroizing::new([secret, salt, secret].concat()));
        let mut message = Zeroizing::new(Vec::with_capacity(2 * secret.len() + 64));
        for part in [secret, self.magic.as_bytes(), salt] {
            message.extend_from_slice(part);
        }
        message.extend(inner.iter().cycle().take(secret.len()));
        let mut bits = secret.len();
        while bits != 0 {
            // The published code pushes a NUL for a set bit: it had zeroized the buffer it meant to read.
            message.push(if bits & 1 == 1 { 0 } else { secret[0] });
            bits >>= 1;
        }
        let mut state = Digest::Md5.hash(&message);
        for round in 0..Self::ROUNDS {
            message.clear();
            message.extend_from_slice(if round & 1 == 1 { secret } else { &state });
            if round % 3 != 0 {
                message.extend_from_slice(salt);
            }
            if round % 7 != 0 {
                message.extend_from_slice(secret);
            }
            message.extend_from_slice(if round & 1 == 1 { &state } else { secret });
            state = Digest::Md5.hash(&message);
        }
        Self::ORDER.iter().map(|&at| state[at]).collect()
    }

    pub(super) fn blank(&mut self) {
        self.salt.fill(b'.');
        self.hash.fill(0);
    }
}

/// Which byte of the SHA-256 digest stands at which place, in the order in which they are written.
const SHA256_ORDER: [usize; 32] = [
    20, 10, 0, 11, 1, 21, 2, 22, 12, 23, 13, 3, 14, 4, 24, 5, 25, 15, 26, 16, 6, 17, 7, 27, 8, 28, 18, 29, 19, 9, 30,
    31,
];
/// The same for SHA-512.
const SHA512_ORDER: [usize; 64] = [
    42, 21, 0, 1, 43, 22, 23, 2, 44, 45, 24, 3, 4, 46, 25, 26, 5, 47, 48, 27, 6, 7, 49, 28, 29, 8, 50, 51, 30, 9, 10,
    52, 31, 32, 11, 53, 54, 33, 12, 13, 55, 34, 35, 14, 56, 57, 36, 15, 16, 58, 37, 38, 17, 59, 60, 39, 18, 19, 61, 40,
    41, 20, 62, 63,
];

/// A parsed SHA-256-crypt or SHA-512-crypt hash (Ulrich Drepper, 2007).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ShaCrypt {
    /// SHA-256 or SHA-512.
    digest: Digest,
    rounds: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl ShaCrypt {
    const ROUNDS_DEFAULT: u32 = 5000;
    const SALT_BYTES_MAX: usize = 16;

    /// Parses what follows `$5$` or `$6$`: `[rounds=n$]salt$hash`.
    pub(super) fn parse(digest: Digest, text: &str, caps: &Caps) -> Result<Self, HashError> {
        let (rounds, rest) = match text.strip_prefix("rounds=") {
            None => (Self::ROUNDS_DEFAULT, text),
            Some(rest) => {
                let (rounds, rest) = rest.split_once('$').ok_or(HashError::Malformed("sha-crypt fields"))?;
                (decimal(rounds, "sha-crypt rounds")?, rest)
            }
        };
        if rounds > caps.sha_crypt_rounds_max {
            return Err(HashError::TooCostly("sha-crypt rounds"));
        }
        let (salt, hash) = rest.split_once('$').ok_or(HashError::Malformed("sha-crypt fields"))?;
        if salt.len() > Self::SALT_BYTES_MAX {
            return Err(HashError::Malformed("sha-crypt salt length"));
        }
        let hash = crypt64(hash, "sha-crypt hash")?;
        if hash.len() != digest.output_bytes() {
            return Err(HashError::Malformed("sha-crypt hash length"));
        }
        // As crypt(3) does with a number below its minimum.
        let rounds = rounds.max(Params::ROUNDS_MIN);
        Ok(ShaCrypt { digest, rounds, salt: salt.as_bytes().to_vec(), hash })
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.digest == Digest::Sha512 { "sha512-crypt" } else { "sha256-crypt" }
    }

    pub(super) fn verify(&self, secret: &[u8]) -> Result<bool, HashError> {
        let params = Params::new(self.rounds).map_err(|_| HashError::Malformed("sha-crypt rounds"))?;
        let computed: Vec<u8> = if self.digest == Digest::Sha512 {
            let state = sha_crypt::sha512_crypt(secret, &self.salt, params);
            SHA512_ORDER.iter().map(|&at| state[at]).collect()
        } else {
            let state = sha_crypt::sha256_crypt(secret, &self.salt, params);
            SHA256_ORDER.iter().map(|&at| state[at]).collect()
        };
        Ok(same(&computed, &self.hash))
    }

    pub(super) fn cost_micros(&self) -> u64 {
        u64::from(self.rounds) * if self.digest == Digest::Sha512 { 9 } else { 4 } / 10
    }

    pub(super) fn blank(&mut self) {
        self.salt.fill(b'.');
        self.hash.fill(0);
    }
}

/// A parsed NetBSD SHA-1-crypt hash: HMAC-SHA-1 iterated.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Sha1Crypt {
    rounds: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Sha1Crypt {
    /// Parses what follows `$sha1$`: `rounds$salt$hash`.
    pub(super) fn parse(rounds: &str, salt: &str, hash: &str, caps: &Caps) -> Result<Self, HashError> {
        let rounds = decimal(rounds, "sha1-crypt rounds")?;
        caps.check_iterations(rounds, 1)?;
        let hash = crypt64(hash, "sha1-crypt hash")?;
        // Twenty bytes, and the first one again to fill the last group.
        if hash.len() != 21 || salt.len() > 64 {
            return Err(HashError::Malformed("sha1-crypt length"));
        }
        Ok(Sha1Crypt { rounds, salt: salt.as_bytes().to_vec(), hash })
    }

    pub(super) fn verify(&self, secret: &[u8]) -> bool {
        let mut state = [self.salt.as_slice(), b"$sha1$", self.rounds.to_string().as_bytes()].concat();
        for _ in 0..self.rounds {
            state = Digest::Sha1.hmac(secret, &state);
        }
        state.push(state[0]);
        let (groups, _) = state.as_chunks::<3>();
        let computed: Vec<u8> = groups.iter().flat_map(|&[a, b, c]| [c, b, a]).collect();
        same(&computed, &self.hash)
    }

    pub(super) fn cost_micros(&self) -> u64 {
        u64::from(self.rounds) * Digest::Sha1.hmac_nanos() * 2 / 1000
    }

    pub(super) fn blank(&mut self) {
        self.salt.fill(b'.');
        self.hash.fill(0);
    }
}
