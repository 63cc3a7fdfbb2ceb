//! A data key as it is stored: sealed by a customer key that never leaves its provider.
//!
//! ```text
//! wrapped key = version u8 (1) ‖ text(provider) ‖ text(key id) ‖ bytes(the provider's own bytes)
//! ```
//!
//! What a provider binds to a wrapped key, so that it unwraps for its own pool and epoch only
//! (associated data for the `local` provider, encryption context for a KMS):
//!
//! ```text
//! context = "stoa wrapped key" (16) ‖ pool id 16 ‖ key epoch u32
//! ```
//!
//! Bytes of the `local` provider: nonce 24 ‖ cipher text 32 ‖ tag 16, XAES-256-GCM.

use crate::error::DecodeError;
use crate::ids::{KeyEpoch, PoolId};
use crate::wire::{Reader, Write};

const NAME: &str = "wrapped key";
const VERSION: u8 = 1;
const CONTEXT_LABEL: &[u8; 16] = b"stoa wrapped key";

/// The longest name of a provider, in bytes.
pub const PROVIDER_BYTES_MAX: usize = 32;
/// The longest key id, in bytes; the ARN of a key in AWS has at most 2,048.
pub const KEY_ID_BYTES_MAX: usize = 2048;
/// The most bytes of its own that a provider may add; AWS KMS gives at most 6,144.
pub const WRAPPED_BYTES_MAX: usize = 8192;

/// A data key under a customer key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WrappedKey {
    /// Which kind of provider unwraps it, e.g. `local`.
    pub provider: String,
    /// Which of that provider's keys.
    pub key_id: String,
    /// What the provider needs to unwrap it; no secret without the customer key.
    pub bytes: Vec<u8>,
}

impl WrappedKey {
    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        out.put_bytes(self.provider.as_bytes());
        out.put_bytes(self.key_id.as_bytes());
        out.put_bytes(&self.bytes);
    }

    /// It alone.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.provider.len() + self.key_id.len() + self.bytes.len() + 6);
        self.encode(&mut out);
        out
    }

    /// Reads one that fills `bytes`.
    ///
    /// # Errors
    /// Another version, names that are no printable ASCII or too long, bytes that end early or go on.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, bytes);
        let wrapped = Self::read(&mut reader)?;
        reader.end()?;
        Ok(wrapped)
    }

    /// Reads the next one.
    ///
    /// # Errors
    /// As [`WrappedKey::decode`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let fault = reader.fault("version is not 1");
        if reader.u8()? != VERSION {
            return Err(fault);
        }
        let provider = name(reader, PROVIDER_BYTES_MAX)?;
        let key_id = name(reader, KEY_ID_BYTES_MAX)?;
        let fault = reader.fault("wrapped bytes are too long");
        let bytes = reader.bytes()?;
        if bytes.len() > WRAPPED_BYTES_MAX {
            return Err(fault);
        }
        Ok(Self { provider, key_id, bytes: bytes.to_vec() })
    }
}

fn name(reader: &mut Reader<'_>, bytes_max: usize) -> Result<String, DecodeError> {
    let fault = reader.fault("name is empty, too long or not printable ASCII");
    let text = reader.text()?;
    let fits = !text.is_empty() && text.len() <= bytes_max && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err(fault) }
}

/// What is bound to the data key of a pool and epoch when it is wrapped.
pub fn wrap_context(pool: PoolId, key_epoch: KeyEpoch) -> [u8; 36] {
    let mut out = [0; 36];
    out[..16].copy_from_slice(CONTEXT_LABEL);
    out[16..32].copy_from_slice(&pool.0);
    out[32..].copy_from_slice(&key_epoch.0.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> WrappedKey {
        WrappedKey { provider: "local".into(), key_id: "00ff".into(), bytes: vec![7; 3] }
    }

    #[test]
    fn bytes_are_as_the_table_says() {
        assert_eq!(sample().to_bytes(), b"\x01\x05local\x0400ff\x03\x07\x07\x07");
    }

    #[test]
    fn faults_are_named() {
        let good = sample().to_bytes();
        let fault = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            WrappedKey::decode(&bytes).unwrap_err()
        };
        assert_eq!(fault(0, 2), DecodeError::new(NAME, 0, "version is not 1"));
        assert_eq!(fault(3, b' ').offset, 1);
        assert_eq!(fault(7, 0).reason, "name is empty, too long or not printable ASCII");
        let long = WrappedKey { provider: "x".repeat(33), ..sample() };
        assert!(WrappedKey::decode(&long.to_bytes()).is_err());
        let long = WrappedKey { bytes: vec![0; WRAPPED_BYTES_MAX + 1], ..sample() };
        assert_eq!(WrappedKey::decode(&long.to_bytes()).unwrap_err().reason, "wrapped bytes are too long");
        for end in 0..good.len() {
            assert!(WrappedKey::decode(&good[..end]).is_err());
        }
        assert!(WrappedKey::decode(&[good, vec![0]].concat()).is_err());
    }

    #[test]
    fn the_context_tells_pools_and_epochs_apart() {
        let context = wrap_context(PoolId([1; 16]), KeyEpoch(2));
        assert_eq!(context[..16], *CONTEXT_LABEL);
        assert_ne!(context, wrap_context(PoolId([1; 16]), KeyEpoch(3)));
        assert_ne!(context, wrap_context(PoolId([2; 16]), KeyEpoch(2)));
    }

    /// Made by another implementation: `vectors/make_keys.py`.
    #[test]
    fn vectors() {
        for line in include_str!("../vectors/wrapped-key.jsonl").lines() {
            let vector: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| vector[name].as_str().unwrap().to_owned();
            let bytes = from_hex(&text("hex"));
            let expected = match vector["error"].as_str() {
                Some(error) => Err(error.to_owned()),
                None => Ok(WrappedKey {
                    provider: text("provider"),
                    key_id: text("key_id"),
                    bytes: from_hex(&text("bytes")),
                }),
            };
            assert_eq!(WrappedKey::decode(&bytes).map_err(|error| error.to_string()), expected, "{}", text("name"));
            if let Ok(key) = expected {
                assert_eq!(key.to_bytes(), bytes);
            }
        }
    }

    fn from_hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn round_trips(provider in "[!-~]{1,32}", key_id in "[!-~]{1,200}", bytes: Vec<u8>) {
            let key = WrappedKey { provider, key_id, bytes };
            prop_assert_eq!(WrappedKey::decode(&key.to_bytes()), Ok(key));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(key) = WrappedKey::decode(&bytes) {
                prop_assert_eq!(key.to_bytes(), bytes);
            }
        }
    }
}
