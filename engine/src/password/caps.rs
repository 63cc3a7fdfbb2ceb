//! How much work a stored hash may ask for. Checked when a hash is taken and each time it is parsed to be verified,
//! before any of that work is done or any memory is reserved.

use super::HashError;

/// The largest costs that a stored hash may name. A hash beyond one of them is refused with [`HashError::TooCostly`].
///
/// The defaults let through whatever Amazon Cognito takes (bcrypt 12, scrypt N 65536 r 8 p 1, Argon2id m 19456 t 2,
/// PBKDF2 600,000) and what current frameworks write, and keep one check near a second on one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Argon2 memory `m`, in KiB.
    pub argon2_memory_kib_max: u32,
    /// Argon2 passes `t`.
    pub argon2_time_max: u32,
    /// Argon2 lanes `p`.
    pub argon2_lanes_max: u32,
    /// bcrypt cost, a power of two: 15 takes some two seconds.
    pub bcrypt_cost_max: u32,
    /// PBKDF2 iterations; also the iterations of an iterated digest. A key of several digests' length may cost
    /// [`Caps::PBKDF2_BLOCKS_FACTOR`] times this in all.
    pub pbkdf2_iterations_max: u32,
    /// scrypt memory, `128 · N · r`, in bytes; over all `p` lanes together [`Caps::SCRYPT_LANES_FACTOR`] times this.
    pub scrypt_memory_max_bytes: u64,
    /// SHA-256-crypt and SHA-512-crypt rounds.
    pub sha_crypt_rounds_max: u32,
    /// phpass iterations, as a power of two.
    pub phpass_log2_max: u32,
}

impl Default for Caps {
    fn default() -> Self {
        Caps {
            argon2_memory_kib_max: 256 * 1024,
            argon2_time_max: 10,
            argon2_lanes_max: 16,
            bcrypt_cost_max: 14,
            pbkdf2_iterations_max: 2_000_000,
            scrypt_memory_max_bytes: 128 * 1024 * 1024,
            sha_crypt_rounds_max: 1_000_000,
            phpass_log2_max: 20,
        }
    }
}

impl Caps {
    /// How many times `pbkdf2_iterations_max` one check may run when the key spans several digests (Keycloak's
    /// 64-byte keys of PBKDF2-SHA1, 389 Directory Server's 256-byte keys).
    pub const PBKDF2_BLOCKS_FACTOR: u64 = 4;
    /// How many times `scrypt_memory_max_bytes` one check may fill in turn (Django writes p = 5).
    pub const SCRYPT_LANES_FACTOR: u64 = 4;

    /// Checks the iterations of PBKDF2 with a key of `blocks` digests, or of an iterated digest (one block).
    pub(super) fn check_iterations(&self, iterations: u32, blocks: u64) -> Result<(), HashError> {
        let total_max = u64::from(self.pbkdf2_iterations_max) * Self::PBKDF2_BLOCKS_FACTOR;
        match iterations {
            0 => Err(HashError::Malformed("zero iterations")),
            n if n > self.pbkdf2_iterations_max => Err(HashError::TooCostly("iterations")),
            n if u64::from(n).saturating_mul(blocks) > total_max => {
                Err(HashError::TooCostly("iterations by key length"))
            }
            _ => Ok(()),
        }
    }

    /// Checks scrypt's parameters: `log_n` is the logarithm of N.
    pub(super) fn check_scrypt(&self, log_n: u8, r: u32, p: u32) -> Result<(), HashError> {
        if log_n == 0 || r == 0 || p == 0 {
            return Err(HashError::Malformed("scrypt parameter of zero"));
        }
        if log_n > 32 || r > 1 << 16 || p > 1 << 10 {
            return Err(HashError::TooCostly("scrypt parameters"));
        }
        // At most 2^7 · 2^32 · 2^16 · 2^10, so nothing here overflows a u128.
        let memory_bytes = (128u128 << log_n) * u128::from(r);
        let lanes_max = u128::from(self.scrypt_memory_max_bytes) * u128::from(Self::SCRYPT_LANES_FACTOR);
        if memory_bytes > u128::from(self.scrypt_memory_max_bytes) {
            return Err(HashError::TooCostly("scrypt memory"));
        }
        if memory_bytes * u128::from(p) > lanes_max {
            return Err(HashError::TooCostly("scrypt lanes"));
        }
        Ok(())
    }
}
