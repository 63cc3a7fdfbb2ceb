//! A customer key under a passphrase: Argon2id (RFC 9106) makes the passphrase a key that seals it.

use std::io;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use stoa_format::DecodeError;
use stoa_format::keyfile::{KEY_FILE_AD_BYTES, KEY_FILE_VERSION, KeyFile, PASSPHRASE_INFO, PassphraseCost, Protection};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::customer::CustomerKey;
use crate::io::Io;
use crate::keys::derive::{expand, part, random_key};
use crate::keys::provider::KeyError;
use crate::keys::seal::{HedgeKey, SealKey};

/// The longest passphrase, in bytes.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;

/// What comes out of a passphrase.
struct Guard {
    key: SealKey,
    hedge: HedgeKey,
    check: [u8; 32],
}

impl Guard {
    fn new(passphrase: &[u8], cost: PassphraseCost, salt: &[u8; 32]) -> io::Result<Self> {
        let mut hashed = Zeroizing::new([0; 32]);
        Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(hashed.len()))
            .map(|params| Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
            .and_then(|argon2| argon2.hash_password_into(passphrase, salt, &mut *hashed))
            .map_err(|error| match error {
                argon2::Error::OutOfMemory => io::ErrorKind::OutOfMemory.into(),
                other => io::Error::other(other.to_string()),
            })?;
        let derived = expand::<96>(&hashed, None, PASSPHRASE_INFO, &[]);
        let (key, hedge) = (SealKey::new(&part(&derived, 0)), HedgeKey::new(&part(&derived, 32)));
        Ok(Self { key, hedge, check: *part(&derived, 64) })
    }
}

/// Appends the key file that holds `key` under a passphrase.
pub(super) fn seal(
    io: &dyn Io,
    key: &CustomerKey,
    passphrase: &[u8],
    cost: PassphraseCost,
    out: &mut Vec<u8>,
) -> Result<(), KeyError> {
    if passphrase.is_empty() {
        return Err(KeyError::UnfitPassphrase("a passphrase must not be empty"));
    }
    if passphrase.len() > PASSPHRASE_BYTES_MAX {
        return Err(KeyError::UnfitPassphrase("a passphrase has 1,024 bytes at most"));
    }
    if !cost.is_bounded() {
        return Err(KeyError::UnfitPassphrase(
            "a passphrase costs 8 KiB a lane to 1 GiB, 1 to 100 passes, 1 to 16 lanes",
        ));
    }
    let salt = *random_key(io)?;
    let guard = Guard::new(passphrase, cost, &salt)?;
    let mut random = [0; 16];
    io.random(&mut random)?;
    let ad = KeyFile::associated_data(KEY_FILE_VERSION, key.id(), cost, &salt, &guard.check);
    let mut sealed = Vec::new();
    guard.key.seal(&guard.hedge, random, &ad, key.secret_bytes(), &mut sealed);
    let sealed = sealed.as_slice().try_into().expect("32 bytes and 40 more are 72");
    let protection = Protection::Passphrase { cost, salt, check: guard.check, sealed };
    KeyFile { write_version: KEY_FILE_VERSION, key_id: *key.id(), protection }.encode(out);
    Ok(())
}

/// The customer key of a key file with a passphrase.
pub(super) fn open(path: &Path, file: &KeyFile<'_>, passphrase: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let damaged = |reason| KeyError::FileDamaged {
        path: path.to_owned(),
        fault: DecodeError::new("key file", KEY_FILE_AD_BYTES, reason),
    };
    let Protection::Passphrase { cost, salt, check, sealed } = &file.protection else {
        return Err(damaged("no passphrase guards it"));
    };
    let guard = Guard::new(passphrase, *cost, salt)?;
    if !bool::from(guard.check.ct_eq(check)) {
        return Err(KeyError::WrongPassphrase { path: path.to_owned() });
    }
    let ad = KeyFile::associated_data(file.write_version, &file.key_id, *cost, salt, check);
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
    guard.key.open(&ad, *sealed, &mut plain).map_err(|_| damaged("sealed customer key does not open"))?;
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&plain);
    Ok(key)
}
