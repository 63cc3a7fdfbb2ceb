//! Sealing and opening: XAES-256-GCM with nonces that cannot repeat by accident.
//!
//! Source: C2SP, XAES-256-GCM (c2sp.org/XAES-256-GCM): from the key and the first 12 bytes of a 24-byte nonce
//! a key is derived by CMAC (NIST SP 800-108r1 with AES-CMAC), and AES-256-GCM runs under that key with the
//! other 12 bytes.
//!
//! What one AES-GCM seals the other opens: `aws-lc-rs` by default, the pure-Rust `aes-gcm` with the feature
//! `pure-rust-aead`.

#[cfg(any(test, not(feature = "pure-rust-aead")))]
mod gcm_aws;
#[cfg(any(test, feature = "pure-rust-aead"))]
mod gcm_rust;

#[cfg(test)]
mod keccak;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use aes::Aes256Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

#[cfg(not(feature = "pure-rust-aead"))]
use gcm_aws as gcm;
#[cfg(feature = "pure-rust-aead")]
use gcm_rust as gcm;

/// Length of a nonce.
pub const NONCE_BYTES: usize = 24;
/// Length of a tag.
pub const TAG_BYTES: usize = 16;
/// By how much a sealed text is longer than its plain text: nonce and tag.
pub const SEAL_OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// The longest text that is sealed as one. AES-GCM's own limit is 64 GiB; nothing here comes near.
const PLAIN_BYTES_MAX: usize = u32::MAX as usize;

/// A key that seals and opens. Deriving it once makes each use cheap: what XAES needs beyond AES-GCM is two
/// blocks of AES and one key schedule.
pub struct SealKey {
    /// AES-256 under the key itself; used for deriving only. Wipes itself.
    block: Aes256Enc,
    /// The CMAC subkey K1.
    k1: Zeroizing<[u8; 16]>,
}

const _: () = {
    const fn wipes_itself<T: ZeroizeOnDrop>() {}
    wipes_itself::<Aes256Enc>();
};

/// Why a sealed text does not open. Which of wrong key, wrong associated data and changed bytes it was cannot
/// be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Too short to hold a nonce and a tag.
    #[error("sealed bytes are too short")]
    TooShort,
    /// The tag does not fit.
    #[error("sealed bytes do not open: wrong key, wrong place or damage")]
    Tag,
}

impl SealKey {
    /// The key with these bytes, which the caller wipes.
    pub fn new(key: &[u8; 32]) -> Self {
        let block = Aes256Enc::new(&Array::from(*key));
        let mut l = Array::from([0; 16]);
        block.encrypt_block(&mut l);
        let mut k1 = Zeroizing::new([0; 16]);
        k1.copy_from_slice(&(u128::from_be_bytes(l.into()) << 1).to_be_bytes());
        k1[15] ^= (l[0] >> 7) * 0x87;
        l.zeroize();
        Self { block, k1 }
    }

    /// Seals `plain` and appends nonce (24) ‖ cipher text ‖ tag (16) to `out`. `random` must be fresh; should it
    /// ever repeat, only equal texts can be told to be equal.
    ///
    /// # Panics
    /// If `plain` is 4 GiB or longer.
    pub fn seal(&self, hedge: &HedgeKey, random: [u8; 16], ad: &[u8], plain: &[u8], out: &mut Vec<u8>) {
        self.seal_with_nonce(&hedge.nonce(random, ad, plain), ad, plain, out);
    }

    fn seal_with_nonce(&self, nonce: &[u8; NONCE_BYTES], ad: &[u8], plain: &[u8], out: &mut Vec<u8>) {
        assert!(plain.len() <= PLAIN_BYTES_MAX, "a text of {} bytes is too long to seal", plain.len());
        out.reserve(plain.len() + SEAL_OVERHEAD_BYTES);
        out.extend_from_slice(nonce);
        let start = out.len();
        out.extend_from_slice(plain);
        let (key, nonce) = self.subkey(nonce);
        let tag = gcm::seal(&key, &nonce, ad, &mut out[start..]);
        out.extend_from_slice(&tag);
    }

    /// Opens what [`SealKey::seal`] made under the same associated data, and appends the plain text to `out`.
    ///
    /// # Errors
    /// If it was not sealed so; `out` is then as it was.
    pub fn open(&self, ad: &[u8], sealed: &[u8], out: &mut Vec<u8>) -> Result<(), OpenError> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::TooShort)?;
        let (text, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(OpenError::TooShort)?;
        let start = out.len();
        out.extend_from_slice(text);
        self.open_text(nonce, ad, tag, &mut out[start..]).inspect_err(|_| out.truncate(start))
    }

    /// Opens sealed bytes where they stand, and answers where among them the plain text is.
    ///
    /// # Errors
    /// As [`SealKey::open`]; what stood there is then gone.
    pub fn open_in_place(&self, ad: &[u8], sealed: &mut [u8]) -> Result<Range<usize>, OpenError> {
        let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE_BYTES>().ok_or(OpenError::TooShort)?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG_BYTES>().ok_or(OpenError::TooShort)?;
        self.open_text(nonce, ad, tag, text)?;
        Ok(NONCE_BYTES..NONCE_BYTES + text.len())
    }

    fn open_text(
        &self,
        nonce: &[u8; NONCE_BYTES],
        ad: &[u8],
        tag: &[u8; TAG_BYTES],
        text: &mut [u8],
    ) -> Result<(), OpenError> {
        let (key, nonce) = self.subkey(nonce);
        if gcm::open(&key, &nonce, ad, tag, text) {
            return Ok(());
        }
        text.zeroize();
        Err(OpenError::Tag)
    }

    /// The AES-GCM key and nonce for one XAES nonce.
    fn subkey(&self, nonce: &[u8; NONCE_BYTES]) -> (Zeroizing<[u8; 32]>, [u8; 12]) {
        let mut blocks = [Array::from([0; 16]), Array::from([0; 16])];
        for (block, counter) in blocks.iter_mut().zip([1, 2]) {
            block[..4].copy_from_slice(&[0, counter, b'X', 0]);
            block[4..].copy_from_slice(&nonce[..12]);
            for (byte, mask) in block.iter_mut().zip(self.k1.iter()) {
                *byte ^= mask;
            }
        }
        self.block.encrypt_blocks(&mut blocks);
        let mut key = Zeroizing::new([0; 32]);
        key[..16].copy_from_slice(&blocks[0]);
        key[16..].copy_from_slice(&blocks[1]);
        blocks.iter_mut().for_each(|block| block.zeroize());
        let mut rest = [0; 12];
        rest.copy_from_slice(&nonce[12..]);
        (key, rest)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// A key that only makes nonces, so that a broken random generator, a restored snapshot or a fork does not
/// repeat one for another text.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct HedgeKey([u8; 32]);

impl HedgeKey {
    /// The key with these bytes, which the caller wipes.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(*key)
    }

    /// The first 24 bytes of BLAKE3, keyed, over `random ‖ length of ad (u64 LE) ‖ ad ‖ plain`.
    fn nonce(&self, random: [u8; 16], ad: &[u8], plain: &[u8]) -> [u8; NONCE_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&random).update(&(ad.len() as u64).to_le_bytes()).update(ad).update(plain);
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&hasher.finalize().as_bytes()[..NONCE_BYTES]);
        nonce
    }
}

impl fmt::Debug for HedgeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HedgeKey(..)")
    }
}
