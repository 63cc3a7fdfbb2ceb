//! AES-256-GCM by the pure-Rust `aes-gcm`, which wipes its key schedules (its feature `zeroize`).

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};

/// Encrypts in place; answers the tag.
pub(super) fn seal(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], text: &mut [u8]) -> [u8; 16] {
    let sealed = Aes256Gcm::new(key.into()).encrypt_inout_detached(nonce.into(), ad, text.into());
    sealed.expect("a text below 4 GiB can be sealed").into()
}

/// Decrypts in place; `false` if the tag does not fit, and then what `text` holds means nothing.
pub(super) fn open(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], tag: &[u8; 16], text: &mut [u8]) -> bool {
    Aes256Gcm::new(key.into()).decrypt_inout_detached(nonce.into(), ad, text.into(), tag.into()).is_ok()
}
