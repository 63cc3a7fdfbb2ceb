//! A pool's manifest as a file: sealed, written twice inside, replaced atomically.

use std::collections::BTreeMap;
use std::sync::Arc;
use stoa_format::manifest::{ManifestBody, ManifestHeader, append_copy, decode_file};
use stoa_format::wrapped::WrappedKey;
use stoa_format::{KeyEpoch, PoolId};

use crate::error::{Error, ErrorKind, Result};
use crate::io::Io;
use crate::keys::{KeyError, KeyProvider, WrapContext};
use crate::pool::open::Keyring;

/// A manifest that has been opened.
pub(crate) struct OpenManifest {
    pub number: u64,
    pub body: ManifestBody,
    pub keyring: Keyring,
}

/// The bytes of a manifest file, which holds two copies, or of a single one.
pub(crate) fn encode(
    io: &dyn Io,
    pool: PoolId,
    number: u64,
    body: &ManifestBody,
    keyring: &Keyring,
    copies: usize,
) -> Result<Vec<u8>> {
    let (_, data_key) = keyring.newest()?;
    let header = ManifestHeader { pool, number, keys: keyring.wrapped.clone() };
    let plain = zeroize::Zeroizing::new(body.encode());
    let clear = header.encode(plain.len() + crate::keys::SEAL_OVERHEAD_BYTES);
    let mut random = [0; 16];
    // The nonce is hedged: without randomness it still repeats for the same text alone.
    let _ = io.random(&mut random);
    let mut sealed = Vec::new();
    let ad = ManifestHeader::associated_data(&clear);
    data_key.manifest_key(pool).seal(&keyring.hedge, random, &ad, &plain, &mut sealed);
    let mut file = Vec::with_capacity(copies * (clear.len() + sealed.len() + 4));
    (0..copies).for_each(|_| append_copy(&clear, &sealed, &mut file));
    Ok(file)
}

/// The BLAKE3 digest of a manifest file as it was written, of which one copy may since have been damaged.
pub(crate) fn digest(bytes: &[u8]) -> Option<[u8; 32]> {
    let copy = decode_file(bytes).ok()?;
    let mut whole = Vec::with_capacity(2 * copy.len);
    append_copy(copy.clear, copy.sealed, &mut whole);
    append_copy(copy.clear, copy.sealed, &mut whole);
    Some(*blake3::hash(&whole).as_bytes())
}

/// Opens a manifest file's bytes.
///
/// # Errors
/// `DAMAGED` if it is not whole or not this pool's; `KEYUNAVAILABLE`, `KEYDISABLED` as the provider says.
pub(crate) fn decode(bytes: &[u8], pool: PoolId, provider: &dyn KeyProvider) -> Result<OpenManifest> {
    let damaged = |what: String| Error::damaged(format!("pool {pool}: MANIFEST: {what}. Run: stoa verify DIR"));
    let copy = decode_file(bytes).map_err(|fault| damaged(fault.to_string()).because(fault))?;
    if copy.header.pool != pool {
        return Err(damaged("it belongs to another pool".into()));
    }
    let mut data_keys = BTreeMap::new();
    let mut refused = None;
    for (epoch, bytes) in &copy.header.keys {
        let wrapped = WrappedKey::decode(bytes).map_err(|fault| damaged(fault.to_string()).because(fault))?;
        match provider.unwrap(&wrapped, &WrapContext { pool, key_epoch: *epoch }) {
            Ok(key) => drop(data_keys.insert(*epoch, Arc::new(key))),
            // Several customer keys may wrap one data key: any of them will do.
            Err(error) => refused = Some(error),
        }
    }
    let newest: KeyEpoch = copy.header.newest_key_epoch();
    let Some(data_key) = data_keys.get(&newest).cloned() else {
        return Err(refused.map_or_else(|| damaged("it names no key".into()), |error| key_error(pool, error)));
    };
    let mut plain = zeroize::Zeroizing::new(Vec::new());
    let ad = ManifestHeader::associated_data(copy.clear);
    data_key
        .manifest_key(pool)
        .open(&ad, copy.sealed, &mut plain)
        .map_err(|error| damaged("tag does not match".into()).because(error))?;
    let body = ManifestBody::decode(&plain).map_err(|fault| damaged(fault.to_string()).because(fault))?;
    let oldest = data_keys.first_key_value().map(|(_, key)| Arc::clone(key)).unwrap_or(data_key);
    let keyring = Keyring {
        hedge: Arc::new(oldest.hedge_key(pool)),
        data_keys,
        wrapped: copy.header.keys.clone(),
        periods: body.periods.clone(),
    };
    Ok(OpenManifest { number: copy.header.number, body, keyring })
}

/// What a key provider said, as an error of the pool.
pub(crate) fn key_error(pool: PoolId, error: KeyError) -> Error {
    let kind = match &error {
        KeyError::Denied { .. } => ErrorKind::KeyDisabled,
        KeyError::Unreachable { .. } => ErrorKind::KeyUnavailable,
        _ => ErrorKind::Damaged,
    };
    Error::new(kind, format!("pool {pool}: {error}")).because(error)
}
