//! Secrets of access-control users.
//!
//! They are keyed BLAKE3 hashes under a random key each. A slow hash would let an unauthenticated
//! peer buy work with little; what it protects against (somebody reads the stored hashes) takes the
//! store's key here, as the document is sealed. Use `ACL GENPASS` for secrets that cannot be guessed.

use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
/// Bytes of the hash by which a secret is named in listings.
const FINGERPRINT_BYTES: usize = 6;

/// The stored form of one secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SecretHash {
    pub(super) key: [u8; KEY_BYTES],
    pub(super) hash: blake3::Hash,
}

impl SecretHash {
    /// The stored form of `secret`, under a fresh key.
    pub(super) fn new(secret: &[u8]) -> Self {
        let mut key = [0; KEY_BYTES];
        fill_random(&mut key);
        Self { key, hash: blake3::keyed_hash(&key, secret) }
    }

    /// Whether this is of `secret`; in constant time, as comparing BLAKE3 hashes is.
    pub(super) fn matches(&self, secret: &[u8]) -> bool {
        blake3::keyed_hash(&self.key, secret) == self.hash
    }

    /// A short name of it that gives nothing away.
    pub(super) fn fingerprint(&self) -> String {
        self.hash.to_hex()[..FINGERPRINT_BYTES * 2].to_string()
    }
}

/// Costs what one comparison costs.
pub(super) fn check_none(secret: &[u8]) {
    let hash = SecretHash { key: [0; KEY_BYTES], hash: blake3::Hash::from_bytes([0; 32]) };
    std::hint::black_box(hash.matches(secret));
}

/// A random secret of `bits`, in hexadecimal.
pub(crate) fn generate(bits: usize) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(vec![0u8; bits.div_ceil(8)]);
    fill_random(&mut bytes);
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes.iter() {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text.truncate(bits.div_ceil(4));
    text
}

/// Random bytes of the operating system.
fn fill_random(bytes: &mut [u8]) {
    // Only a kernel without any source of randomness fails here; no secret is better than a weak one.
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}
