//! Argon2 (RFC 9106) in the PHC string form, the scheme that replaces all others.
//!
//! `$argon2id$v=19$m=19456,t=2,p=1[,data=…]$salt$hash`; without `v=` it is version 16, as the first release wrote it.

use argon2::{Algorithm, AssociatedData, Params, ParamsBuilder, Version};

use super::arena::Arena;
use super::caps::Caps;
use super::encoding::{base64, decimal, keyed, to_base64};
use super::{HASH_BYTES_MIN, HashError, SECRET_BYTES_MAX, same};

/// What Argon2 costs: 19 MiB, two passes and one lane unless configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Params {
    /// Memory in KiB, at least eight times `p`.
    pub m_kib: u32,
    /// Passes over the memory, at least 1.
    pub t: u32,
    /// Lanes, at least 1. They are filled one after the other.
    pub p: u32,
}

impl Default for Argon2Params {
    fn default() -> Self {
        Argon2Params { m_kib: 19456, t: 2, p: 1 }
    }
}

const HASH_BYTES: usize = 32;

/// Hashes `secret` by Argon2id and returns the PHC string to store. `salt` must be fresh randomness.
///
/// # Errors
/// `Malformed` when `params` is none that Argon2 takes; `TooCostly` for a secret longer than [`SECRET_BYTES_MAX`] or
/// when there is no memory.
pub fn hash_new(secret: &[u8], salt: [u8; 16], params: &Argon2Params, arena: &mut Arena) -> Result<String, HashError> {
    if secret.len() > SECRET_BYTES_MAX {
        return Err(HashError::TooCostly("secret length"));
    }
    let hash = Argon2Hash {
        algorithm: Algorithm::Argon2id,
        version: Version::V0x13,
        params: build_params(params, &[])?,
        salt: salt.to_vec(),
        hash: vec![0; HASH_BYTES],
    };
    let hashed = hash.compute(secret, arena)?;
    let Argon2Params { m_kib, t, p } = params;
    Ok(format!("$argon2id$v=19$m={m_kib},t={t},p={p}${}${}", to_base64(&salt), to_base64(&hashed)))
}

/// A parsed Argon2 hash.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Argon2Hash {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Argon2Hash {
    /// Parses a whole PHC string.
    pub(super) fn parse(text: &str, caps: &Caps) -> Result<Self, HashError> {
        let mut fields = text.strip_prefix('$').ok_or(HashError::UnknownScheme)?.split('$');
        let mut next = || fields.next().ok_or(HashError::Malformed("argon2 fields"));
        let algorithm = match next()? {
            "argon2d" => Algorithm::Argon2d,
            "argon2i" => Algorithm::Argon2i,
            "argon2id" => Algorithm::Argon2id,
            _ => return Err(HashError::UnknownScheme),
        };
        let mut costs = next()?;
        let version = match costs {
            "v=19" => Version::V0x13,
            "v=16" => Version::V0x10,
            _ if costs.starts_with("v=") => return Err(HashError::Malformed("argon2 version")),
            _ => Version::V0x10,
        };
        if costs.starts_with("v=") {
            costs = next()?;
        }
        let (params, data) = parse_costs(costs, caps)?;
        let salt = base64(next()?, "argon2 salt")?;
        let hash = base64(next()?, "argon2 hash")?;
        if fields.next().is_some() {
            return Err(HashError::Malformed("argon2 fields"));
        }
        if salt.len() < argon2::MIN_SALT_LEN {
            return Err(HashError::Malformed("argon2 salt length"));
        }
        if hash.len() < HASH_BYTES_MIN {
            return Err(HashError::Malformed("argon2 hash length"));
        }
        Ok(Argon2Hash { algorithm, version, params: build_params(&params, &data)?, salt, hash })
    }

    pub(super) fn scheme(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Argon2d => "argon2d",
            Algorithm::Argon2i => "argon2i",
            Algorithm::Argon2id => "argon2id",
        }
    }

    pub(super) fn verify(&self, secret: &[u8], arena: &mut Arena) -> Result<bool, HashError> {
        Ok(same(&self.compute(secret, arena)?, &self.hash))
    }

    fn compute(&self, secret: &[u8], arena: &mut Arena) -> Result<Vec<u8>, HashError> {
        let argon2 = argon2::Argon2::new(self.algorithm, self.version, self.params.clone());
        let mut output = vec![0; self.hash.len()];
        arena.with_blocks(self.params.block_count(), |blocks| {
            argon2
                .hash_password_into_with_memory(secret, &self.salt, &mut output, blocks)
                .map_err(|_| HashError::Malformed("argon2 parameters"))
        })?;
        Ok(output)
    }

    /// Whether this is weaker than Argon2id, version 19, with `params`: less memory, or less work in all.
    pub(super) fn weaker_than(&self, params: &Argon2Params) -> bool {
        let work = |m_kib: u32, t: u32| u64::from(m_kib) * u64::from(t);
        self.algorithm != Algorithm::Argon2id
            || self.version != Version::V0x13
            || self.hash.len() < HASH_BYTES
            || self.params.m_cost() < params.m_kib
            || work(self.params.m_cost(), self.params.t_cost()) < work(params.m_kib, params.t)
    }

    /// What it was parsed from, for an export.
    pub(super) fn parts(&self) -> Argon2Parts<'_> {
        Argon2Parts {
            kind: self.algorithm.as_str().trim_start_matches("argon2"),
            version: if self.version == Version::V0x13 { "1.3" } else { "1.0" },
            params: Argon2Params { m_kib: self.params.m_cost(), t: self.params.t_cost(), p: self.params.p_cost() },
            salt: &self.salt,
            hash: &self.hash,
        }
    }

    pub(super) fn cost_micros(&self) -> u64 {
        u64::from(self.params.m_cost()) * u64::from(self.params.t_cost()) * 46 / 100
    }

    pub(super) fn blank(&mut self) {
        self.salt.fill(0);
        self.hash.fill(0);
    }
}

/// The parts of a parsed hash.
pub(super) struct Argon2Parts<'a> {
    /// `id`, `i` or `d`.
    pub(super) kind: &'static str,
    /// `1.3` or `1.0`.
    pub(super) version: &'static str,
    pub(super) params: Argon2Params,
    pub(super) salt: &'a [u8],
    pub(super) hash: &'a [u8],
}

/// Reads `m=…,t=…,p=…[,keyid=…][,data=…]`.
fn parse_costs(text: &str, caps: &Caps) -> Result<(Argon2Params, Vec<u8>), HashError> {
    const WHAT: &str = "argon2 parameters";
    let mut parts = text.split(',');
    let mut next = |key| keyed(parts.next().unwrap_or_default(), key, WHAT);
    let m_kib = decimal(next("m")?, "argon2 memory")?;
    let t = decimal(next("t")?, "argon2 passes")?;
    let p = decimal(next("p")?, "argon2 lanes")?;
    let mut data = Vec::new();
    for part in parts {
        // A key id says that a secret key went in, which nobody has given us.
        data = base64(keyed(part, "data", WHAT)?, "argon2 data")?;
    }
    if m_kib > caps.argon2_memory_kib_max {
        return Err(HashError::TooCostly("argon2 memory"));
    }
    if t > caps.argon2_time_max {
        return Err(HashError::TooCostly("argon2 passes"));
    }
    if p > caps.argon2_lanes_max {
        return Err(HashError::TooCostly("argon2 lanes"));
    }
    Ok((Argon2Params { m_kib, t, p }, data))
}

fn build_params(params: &Argon2Params, data: &[u8]) -> Result<Params, HashError> {
    const REASON: HashError = HashError::Malformed("argon2 parameters");
    let mut builder = ParamsBuilder::new();
    builder.m_cost(params.m_kib).t_cost(params.t).p_cost(params.p);
    builder.data(AssociatedData::new(data).map_err(|_| REASON)?);
    builder.build().map_err(|_| REASON)
}
