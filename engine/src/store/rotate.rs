//! A pool's data keys: minting the next, wrapping them anew, and what there is to say about them.
//!
//! Invariants:
//! 1. A key is in the log, wrapped, before anything is sealed under it: whoever replays the log has
//!    it, whether or not the manifest that names it was written.
//! 2. A key is dropped with the first manifest that names no file under it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use stoa_format::ops::{EventKind, Operation, Subject};
use stoa_format::wire::{Reader, Write};
use stoa_format::wrapped::WrappedKey;
use stoa_format::{DecodeError, KeyEpoch, Seq};

use super::catalogue::Catalogue;
use super::install::Change;
use super::jobs::JobKind;
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{DataKey, WrapContext};
use crate::manifest::key_error;
use crate::pool::Pool;
use crate::pool::open::{OpenPool, lock};
use crate::pool::snapshot::damaged;

/// The document that carries wrapped keys through the log.
const KEYRING_DOCUMENT: &str = "keyring";

type Wrapped = Vec<(KeyEpoch, Vec<u8>)>;

impl Pool {
    /// Mints a new data key: everything written from now on is sealed under it, and what is sealed
    /// under older ones is written anew in the background. Answers the Seq of the rotation.
    ///
    /// # Errors
    /// `KEYDISABLED`, `KEYUNAVAILABLE`, `NOSPACE`, `IOERROR`, `INDOUBT`.
    pub fn rotate_key(&self) -> Result<Seq> {
        let seq = self.open.rotate_key()?;
        self.start_job(JobKind::Reseal)?;
        Ok(seq)
    }

    /// Wraps the pool's data keys under the present customer key; no data is written anew.
    ///
    /// # Errors
    /// `INVALID` if `uri` names another provider than the store's; else as [`Pool::rotate_key`].
    pub fn rewrap_key(&self, uri: &str) -> Result<Seq> {
        let provider = self.open.shared.provider.name();
        if uri != provider && !uri.strip_prefix(provider).is_some_and(|rest| rest.starts_with(':')) {
            return Err(Error::invalid(format!("this store's key provider is {provider}: say {provider}")));
        }
        self.open.rewrap_key()
    }
}

impl OpenPool {
    fn rotate_key(self: &Arc<Self>) -> Result<Seq> {
        let _flushing = lock(&self.flushing);
        self.refuse_if_dropped()?;
        self.settle_installs()?;
        let (newest, mut wrapped) = {
            let keyring = lock(&self.keyring);
            (keyring.newest()?.0, keyring.wrapped.clone())
        };
        let epoch = KeyEpoch(newest.0 + 1);
        let key = DataKey::generate(&*self.shared.io)
            .map_err(|source| Error::new(ErrorKind::Io, "no randomness to be had").because(source))?;
        wrapped.push((epoch, self.wrap(epoch, &key)?));
        let seq = self.log_keyring(&wrapped)?;
        {
            let mut keyring = lock(&self.keyring);
            keyring.data_keys.insert(epoch, Arc::new(key));
            keyring.wrapped = wrapped;
        }
        self.install(Change::default())?;
        Ok(seq)
    }

    fn rewrap_key(self: &Arc<Self>) -> Result<Seq> {
        let _flushing = lock(&self.flushing);
        self.refuse_if_dropped()?;
        self.settle_installs()?;
        let keys = lock(&self.keyring).data_keys.clone();
        let mut wrapped = Wrapped::with_capacity(keys.len());
        for (epoch, key) in &keys {
            wrapped.push((*epoch, self.wrap(*epoch, key)?));
        }
        let seq = self.log_keyring(&wrapped)?;
        lock(&self.keyring).wrapped = wrapped;
        self.install(Change::default())?;
        Ok(seq)
    }

    fn refuse_if_dropped(&self) -> Result<()> {
        if self.dropped.load(Relaxed) { Err(super::no_pool()) } else { Ok(()) }
    }

    fn wrap(&self, key_epoch: KeyEpoch, key: &DataKey) -> Result<Vec<u8>> {
        let wrapped = self.shared.provider.wrap(key, &WrapContext { pool: self.id, key_epoch });
        Ok(wrapped.map_err(|error| key_error(self.id, error))?.to_bytes())
    }

    /// Commits the wrapped keys, sealed like any other transaction.
    fn log_keyring(self: &Arc<Self>, wrapped: &Wrapped) -> Result<Seq> {
        let mut body = Vec::new();
        body.put_bytes(b"");
        let event = EventKind::PoolKey;
        Operation::Event { event, subject: Subject::Pool, version: 0, attrs: Vec::new() }.encode(&mut body);
        let content = encode_keyring(wrapped);
        Operation::Meta { name: KEYRING_DOCUMENT, content: Some(&content) }.encode(&mut body);
        let committed = self.shared.commit_prepared(self, Catalogue::prepared(body))?;
        let changing = || Error::new(ErrorKind::TryAgain, "the pool is changing: try again");
        committed.map(|committed| committed.seq).ok_or_else(changing)
    }

    /// Takes over keys that the log has and the manifest does not: a stop came between the two.
    ///
    /// # Errors
    /// `DAMAGED`, `KEYDISABLED`, `KEYUNAVAILABLE`.
    pub(crate) fn adopt_keyring(&self) -> Result<()> {
        let documents = Arc::clone(&self.version.load().documents);
        let Some(content) = documents.by_name.get(KEYRING_DOCUMENT) else { return Ok(()) };
        let listed = decode_keyring(content).map_err(|fault| damaged(&fault))?;
        let newest = lock(&self.keyring).newest()?.0;
        for (epoch, bytes) in listed.into_iter().filter(|(epoch, _)| *epoch > newest) {
            let wrapped = WrappedKey::decode(&bytes).map_err(|fault| damaged(&fault))?;
            let context = WrapContext { pool: self.id, key_epoch: epoch };
            let key = self.shared.provider.unwrap(&wrapped, &context).map_err(|error| key_error(self.id, error))?;
            let mut keyring = lock(&self.keyring);
            keyring.data_keys.insert(epoch, Arc::new(key));
            keyring.wrapped.push((epoch, bytes));
        }
        Ok(())
    }
}

fn encode_keyring(wrapped: &Wrapped) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_varint(wrapped.len() as u64);
    for (epoch, bytes) in wrapped {
        out.put_u32(epoch.0);
        out.put_bytes(bytes);
    }
    out
}

fn decode_keyring(content: &[u8]) -> Result<Wrapped, DecodeError> {
    let mut reader = Reader::new("keyring", content);
    let mut wrapped = Wrapped::new();
    for _ in 0..reader.count(5)? {
        wrapped.push((KeyEpoch(reader.u32()?), reader.bytes()?.to_vec()));
    }
    reader.end()?;
    Ok(wrapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_round_trips_and_a_cut_one_is_refused() {
        let wrapped = vec![(KeyEpoch(1), b"one".to_vec()), (KeyEpoch(2), Vec::new())];
        let bytes = encode_keyring(&wrapped);
        assert_eq!(decode_keyring(&bytes).unwrap(), wrapped);
        for len in 0..bytes.len() {
            assert!(decode_keyring(&bytes[..len]).is_err());
        }
    }
}
