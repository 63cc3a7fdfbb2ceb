//! AES-256-GCM by `aws-lc-rs`, which wipes its key schedules.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

fn schedule(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key of AES-256"))
}

/// Encrypts in place; answers the tag.
pub(super) fn seal(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], text: &mut [u8]) -> [u8; 16] {
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let sealed = schedule(key).seal_in_place_separate_tag(nonce, Aad::from(ad), text);
    let mut tag = [0; 16];
    tag.copy_from_slice(sealed.expect("a text below 4 GiB can be sealed").as_ref());
    tag
}

/// Decrypts in place; `false` if the tag does not fit, and then what `text` holds means nothing.
pub(super) fn open(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], tag: &[u8; 16], text: &mut [u8]) -> bool {
    let nonce = Nonce::assume_unique_for_key(*nonce);
    schedule(key).open_in_place_separate_tag(nonce, Aad::from(ad), tag, text).is_ok()
}
