//! `DATA.key`, the key file of the `local` provider: the customer key, in the clear (the file's
//! mode 0600 is its protection) or sealed under a passphrase.
//!
//! ```text
//!   0   8  magic "STOAKEY\n"
//!   8   2  read version (1)
//!  10   2  write version (1)
//!  12  16  key id: derived from the customer key, so that the right key is told from another
//!  28   1  protection: 0 none, 1 passphrase
//!  29   3  zero
//!            protection 0                      protection 1
//!  32  32  customer key               32   4  Argon2id memory in KiB
//!  64   4  CRC-32 of all before it    36   4  Argon2id passes
//!                                     40   4  Argon2id lanes
//!                                     44   4  zero
//!                                     48  32  salt
//!                                     80  32  check value: derived from the passphrase
//!                                    112  72  customer key, sealed: nonce 24 ‖ 32 ‖ tag 16
//!                                              (XAES-256-GCM, associated data: bytes 0 to 112)
//!                                    184   4  CRC-32 of all before it
//! ```
//!
//! Derivations. *Argon2id* (RFC 9106, version 0x13) of the passphrase's bytes and the salt gives
//! 32 bytes; HKDF-SHA-256 (no salt) of these with info `stoa passphrase v1` gives sealing key 32 ‖
//! hedge key 32 ‖ check value 32. HKDF-SHA-256 (no salt) of the customer key with info `stoa
//! customer key v1` gives wrapping key 32 ‖ hedge key 32 ‖ key id 16.
//!
//! A checksum that does not match is damage; one that does, with another check value, is a wrong
//! passphrase; the right check value with a tag that does not open is damage again.

use std::fmt;

use crate::error::DecodeError;
use crate::wire::{Reader, Write};

const NAME: &str = "key file";
const MAGIC: &[u8; 8] = b"STOAKEY\n";
/// The newest version of the key file's format.
pub const KEY_FILE_VERSION: u16 = 1;
/// The length of a key file without and with a passphrase, in bytes.
pub const KEY_FILE_BYTES: [usize; 2] = [68, 188];
/// Length of the associated data of the sealed customer key: all that stands before it.
pub const KEY_FILE_AD_BYTES: usize = 112;

/// HKDF info for what comes out of a passphrase.
pub const PASSPHRASE_INFO: &[u8] = b"stoa passphrase v1";
/// HKDF info for what comes out of a customer key.
pub const CUSTOMER_KEY_INFO: &[u8] = b"stoa customer key v1";

/// Names a customer key without giving it away.
pub type KeyFileId = [u8; 16];

/// What a key file holds; its secrets stay in the bytes it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFile<'a> {
    /// [`KEY_FILE_VERSION`] in what this program writes. It leaves a file with a newer one as it is.
    pub write_version: u16,
    /// Names the customer key.
    pub key_id: KeyFileId,
    /// The customer key and what guards it.
    pub protection: Protection<'a>,
}

/// How a key file guards its customer key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protection<'a> {
    /// By the file's mode alone.
    None {
        /// The customer key.
        key: &'a [u8; 32],
    },
    /// By a passphrase as well.
    Passphrase {
        /// What a guess costs.
        cost: PassphraseCost,
        /// Random.
        salt: [u8; 32],
        /// Tells a wrong passphrase from damage.
        check: [u8; 32],
        /// The customer key: nonce 24 ‖ cipher text 32 ‖ tag 16.
        sealed: &'a [u8; 72],
    },
}

impl fmt::Debug for Protection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None { .. } => f.write_str("None { .. }"),
            Self::Passphrase { cost, .. } => f.debug_struct("Passphrase").field("cost", cost).finish_non_exhaustive(),
        }
    }
}

/// The parameters of Argon2id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory in KiB: 8 a lane at least, 1 GiB at most.
    pub memory_kib: u32,
    /// Passes over the memory: 1 to 100.
    pub passes: u32,
    /// Lanes: 1 to 16.
    pub lanes: u32,
}

impl PassphraseCost {
    /// Whether all three are within their bounds.
    pub fn is_bounded(&self) -> bool {
        (1..=100).contains(&self.passes)
            && (1..=16).contains(&self.lanes)
            && (8 * self.lanes..=1 << 20).contains(&self.memory_kib)
    }
}

impl Default for PassphraseCost {
    /// 64 MiB, 3 passes, 1 lane: the second recommendation of RFC 9106, with one lane.
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 1 }
    }
}

impl<'a> KeyFile<'a> {
    /// Appends the whole file.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        put_head(
            out,
            self.write_version,
            &self.key_id,
            u8::from(matches!(self.protection, Protection::Passphrase { .. })),
        );
        match self.protection {
            Protection::None { key } => out.put_slice(key),
            Protection::Passphrase { cost, salt, check, sealed } => {
                put_passphrase(out, cost, &salt, &check);
                out.put_slice(sealed);
            }
        }
        let crc = crc32fast::hash(&out[start..]);
        out.put_u32(crc);
    }

    /// The associated data under which the customer key is sealed: bytes 0 to 111 of the file.
    pub fn associated_data(
        write_version: u16,
        key_id: &KeyFileId,
        cost: PassphraseCost,
        salt: &[u8; 32],
        check: &[u8; 32],
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(KEY_FILE_AD_BYTES);
        put_head(&mut out, write_version, key_id, 1);
        put_passphrase(&mut out, cost, salt, check);
        out
    }

    /// Reads the whole file.
    ///
    /// # Errors
    /// Wrong magic, a newer version, a checksum that does not match, a cost out of bounds, bytes
    /// too few or too many.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, bytes);
        if reader.array::<8>()? != *MAGIC {
            return Err(DecodeError::new(NAME, 0, "not a key file of Stoa"));
        }
        if reader.u16()? > KEY_FILE_VERSION {
            return Err(DecodeError::new(NAME, 8, "read version is newer than this program"));
        }
        let write_version = reader.u16()?;
        let key_id = reader.array()?;
        let kind = reader.u8()?;
        let Some(&len) = KEY_FILE_BYTES.get(usize::from(kind)) else {
            return Err(DecodeError::new(NAME, 28, "protection is not known"));
        };
        if bytes.len() != len {
            return Err(DecodeError::new(NAME, bytes.len().min(len), "length does not fit its protection"));
        }
        if crc32fast::hash(&bytes[..len - 4]).to_le_bytes() != bytes[len - 4..] {
            return Err(DecodeError::new(NAME, len - 4, "checksum does not match"));
        }
        reader.reserved(3)?;
        let protection = if kind == 0 {
            Protection::None { key: array_of(&mut reader)? }
        } else {
            let cost = PassphraseCost { memory_kib: reader.u32()?, passes: reader.u32()?, lanes: reader.u32()? };
            if !cost.is_bounded() {
                return Err(DecodeError::new(NAME, 32, "Argon2id parameters are out of bounds"));
            }
            reader.reserved(4)?;
            let (salt, check) = (reader.array()?, reader.array()?);
            Protection::Passphrase { cost, salt, check, sealed: array_of(&mut reader)? }
        };
        Ok(Self { write_version, key_id, protection })
    }
}

fn put_head(out: &mut Vec<u8>, write_version: u16, key_id: &KeyFileId, protection: u8) {
    out.put_slice(MAGIC);
    out.put_u16(KEY_FILE_VERSION);
    out.put_u16(write_version);
    out.put_slice(key_id);
    out.put_u8(protection);
    out.put_slice(&[0; 3]);
}

fn put_passphrase(out: &mut Vec<u8>, cost: PassphraseCost, salt: &[u8; 32], check: &[u8; 32]) {
    out.put_u32(cost.memory_kib);
    out.put_u32(cost.passes);
    out.put_u32(cost.lanes);
    out.put_u32(0);
    out.put_slice(salt);
    out.put_slice(check);
}

/// The next `N` octets, in place: a secret is not copied about.
fn array_of<'a, const N: usize>(reader: &mut Reader<'a>) -> Result<&'a [u8; N], DecodeError> {
    let fault = reader.fault("ends too early");
    reader.slice(N)?.try_into().map_err(|_| fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain() -> Vec<u8> {
        let mut out = Vec::new();
        KeyFile { write_version: 1, key_id: [1; 16], protection: Protection::None { key: &[2; 32] } }.encode(&mut out);
        out
    }

    fn guarded() -> Vec<u8> {
        let (cost, mut out) = (PassphraseCost::default(), Vec::new());
        let protection = Protection::Passphrase { cost, salt: [3; 32], check: [4; 32], sealed: &[5; 72] };
        KeyFile { write_version: 1, key_id: [1; 16], protection }.encode(&mut out);
        out
    }

    #[test]
    fn both_kinds_round_trip() {
        for (bytes, len) in [(plain(), KEY_FILE_BYTES[0]), (guarded(), KEY_FILE_BYTES[1])] {
            assert_eq!(bytes.len(), len);
            let mut again = Vec::new();
            KeyFile::decode(&bytes).unwrap().encode(&mut again);
            assert_eq!(again, bytes);
        }
        let ad = KeyFile::associated_data(1, &[1; 16], PassphraseCost::default(), &[3; 32], &[4; 32]);
        assert_eq!(ad, guarded()[..KEY_FILE_AD_BYTES]);
    }

    #[test]
    fn debug_shows_no_secret() {
        let bytes = plain();
        let text = format!("{:?}", KeyFile::decode(&bytes).unwrap().protection);
        assert_eq!(text, "None { .. }");
    }

    /// Every single flipped bit is noticed, in a file of either kind.
    #[test]
    fn every_flipped_bit_is_refused() {
        for good in [plain(), guarded()] {
            for bit in 0..good.len() * 8 {
                let mut bytes = good.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                // The write version alone may be newer; but then the checksum tells.
                assert!(KeyFile::decode(&bytes).is_err(), "bit {bit}");
            }
        }
    }

    fn refused(mut bytes: Vec<u8>, at: usize, with: &[u8]) -> DecodeError {
        bytes[at..at + with.len()].copy_from_slice(with);
        let end = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
        KeyFile::decode(&bytes).unwrap_err()
    }

    #[test]
    fn faults_are_named_though_the_checksum_matches() {
        assert_eq!(refused(plain(), 0, b"X"), DecodeError::new(NAME, 0, "not a key file of Stoa"));
        assert_eq!(refused(plain(), 8, &[2]), DecodeError::new(NAME, 8, "read version is newer than this program"));
        assert_eq!(refused(plain(), 28, &[2]).reason, "protection is not known");
        assert_eq!(refused(plain(), 28, &[1]).reason, "length does not fit its protection");
        assert!(refused(plain(), 30, &[1]).offset >= 29);
        assert!(refused(guarded(), 45, &[1]).offset >= 44);
        for (at, value) in [(32, 7u32), (32, (1 << 20) + 1), (36, 0), (36, 101), (40, 0), (40, 17)] {
            let error = refused(guarded(), at, &value.to_le_bytes());
            assert_eq!(error.reason, "Argon2id parameters are out of bounds");
        }
    }

    /// Made by another implementation: `vectors/make_keys.py`.
    #[test]
    fn vectors() {
        for line in include_str!("../vectors/key-file.jsonl").lines() {
            let vector: serde_json::Value = serde_json::from_str(line).unwrap();
            let bytes = from_hex(vector["hex"].as_str().unwrap());
            let error = KeyFile::decode(&bytes).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), vector["error"].as_str(), "{}", vector["name"]);
        }
    }

    fn from_hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, head in 0usize..32) {
            let mixed: Vec<u8> = plain()[..head].iter().chain(&bytes).copied().collect();
            prop_assert!(KeyFile::decode(&mixed).is_err());
        }
    }
}
