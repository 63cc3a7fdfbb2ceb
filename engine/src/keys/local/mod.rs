//! The `local` provider: the customer key in a file beside the data, guarded by the file's mode or by a
//! passphrase as well. The file's bytes are in [`stoa_format::keyfile`].
//!
//! Always true:
//! 1. A key file that is there is never overwritten by a new key, only by the same key guarded otherwise.
//! 2. A crash while the guard changes leaves the file with the old guard or with the new one.

mod customer;
mod guard;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stoa_format::keyfile::{KEY_FILE_BYTES, KEY_FILE_VERSION, KeyFile, Protection};
use stoa_format::wrapped::WrappedKey;
use zeroize::Zeroizing;

pub use guard::PASSPHRASE_BYTES_MAX;
pub use stoa_format::keyfile::PassphraseCost;

use super::derive::{DataKey, random_key};
use super::provider::{KeyError, KeyProvider, WrapContext};
use crate::io::{Io, TEMPORARY_SUFFIX, read_whole, replace};
use customer::CustomerKey;

/// What wrapped keys call this provider.
const NAME: &str = "local";

/// Longer than any key file of this version, so that one of a newer version is read far enough to say so.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The customer key of a key file, open.
pub struct LocalProvider {
    io: Arc<dyn Io>,
    path: PathBuf,
    key: CustomerKey,
    /// A newer program's file is read but left as it is.
    write_version: u16,
}

/// What a key file says without its passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFileStatus {
    /// The customer key's id, as wrapped keys carry it.
    pub key_id: String,
    /// What a guess of the passphrase costs, if there is one.
    pub passphrase: Option<PassphraseCost>,
}

impl LocalProvider {
    /// Makes a key file with a new random customer key. Only for a new store: the caller has made sure that no
    /// data is there that another key has sealed.
    ///
    /// # Errors
    /// [`KeyError::Exists`], [`KeyError::UnfitPassphrase`], or the disk fails.
    pub fn create(io: Arc<dyn Io>, path: &Path, passphrase: Option<(&[u8], PassphraseCost)>) -> Result<Self, KeyError> {
        if io.exists(path)? {
            return Err(KeyError::Exists { path: path.to_owned() });
        }
        let key = CustomerKey::new(random_key(&*io)?);
        let provider = Self { io, path: path.to_owned(), key, write_version: KEY_FILE_VERSION };
        provider.write(passphrase)?;
        Ok(provider)
    }

    /// Opens a key file. A passphrase that is given for a file without one is not looked at.
    ///
    /// # Errors
    /// [`KeyError::Missing`], [`KeyError::PassphraseNeeded`], [`KeyError::WrongPassphrase`],
    /// [`KeyError::FileDamaged`], or the disk fails.
    pub fn open(io: Arc<dyn Io>, path: &Path, passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let bytes = read_key_file(&*io, path)?;
        let file = decode(path, &bytes)?;
        let key = customer_key(path, &file, passphrase)?;
        let provider = Self { io, path: path.to_owned(), key, write_version: file.write_version };
        provider.remove_temporary();
        Ok(provider)
    }

    /// What a key file says of itself.
    ///
    /// # Errors
    /// [`KeyError::Missing`], [`KeyError::FileDamaged`], or the disk fails.
    pub fn status(io: &dyn Io, path: &Path) -> Result<KeyFileStatus, KeyError> {
        let bytes = read_key_file(io, path)?;
        let file = decode(path, &bytes)?;
        let passphrase = match file.protection {
            Protection::None { .. } => None,
            Protection::Passphrase { cost, .. } => Some(cost),
        };
        Ok(KeyFileStatus { key_id: customer::id_text(&file.key_id), passphrase })
    }

    /// Guards the same customer key by another passphrase, or by none. Nothing that it wrapped changes, and copies
    /// of the former file go on opening as before: whoever has one, and could open it, still can.
    ///
    /// # Errors
    /// [`KeyError::UnfitPassphrase`], [`KeyError::Newer`], or the disk fails; then the file is as it was, unless only
    /// the sync of its directory failed.
    pub fn set_passphrase(&self, passphrase: Option<(&[u8], PassphraseCost)>) -> Result<(), KeyError> {
        if self.write_version > KEY_FILE_VERSION {
            return Err(KeyError::Newer { path: self.path.clone() });
        }
        self.write(passphrase)
    }

    /// Where the key file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self, passphrase: Option<(&[u8], PassphraseCost)>) -> Result<(), KeyError> {
        // Of full length from the start: a buffer that grows leaves pieces of the key behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES[1]));
        match passphrase {
            None => {
                let protection = Protection::None { key: self.key.secret_bytes() };
                KeyFile { write_version: KEY_FILE_VERSION, key_id: *self.key.id(), protection }.encode(&mut bytes);
            }
            Some((text, cost)) => guard::seal(&*self.io, &self.key, text, cost, &mut bytes)?,
        }
        replace(&*self.io, &self.path, &bytes).map_err(|error| {
            self.remove_temporary();
            error.into()
        })
    }

    /// Removes what a crash or a failed write has left beside the key file: it may hold the key in the clear.
    /// Where that fails (say, on a read-only disk) nothing else is harmed.
    fn remove_temporary(&self) {
        let mut beside = self.path.as_os_str().to_owned();
        beside.push(TEMPORARY_SUFFIX);
        let beside = Path::new(&beside);
        if self.io.exists(beside).unwrap_or(false) {
            let _ = self.io.remove_file(beside);
        }
    }
}

impl KeyProvider for LocalProvider {
    fn name(&self) -> &str {
        NAME
    }

    fn key_id(&self) -> &str {
        self.key.id_text()
    }

    fn wrap(&self, key: &DataKey, context: &WrapContext) -> Result<WrappedKey, KeyError> {
        let bytes = self.key.wrap(&*self.io, key, &context.to_bytes())?;
        Ok(WrappedKey { provider: NAME.to_owned(), key_id: self.key_id().to_owned(), bytes })
    }

    fn unwrap(&self, wrapped: &WrappedKey, context: &WrapContext) -> Result<DataKey, KeyError> {
        if wrapped.provider != NAME || wrapped.key_id != self.key_id() {
            return Err(KeyError::WrongKey {
                provider: wrapped.provider.clone(),
                wanted: wrapped.key_id.clone(),
                at_hand: self.key_id().to_owned(),
            });
        }
        let WrapContext { pool, key_epoch } = *context;
        self.key.unwrap(&wrapped.bytes, &context.to_bytes()).ok_or(KeyError::Damaged { pool, key_epoch })
    }
}

impl fmt::Debug for LocalProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalProvider")
            .field("path", &self.path)
            .field("key_id", &self.key_id())
            .finish_non_exhaustive()
    }
}

fn read_key_file(io: &dyn Io, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    match read_whole(io, path, FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(KeyError::Missing { path: path.to_owned() }),
        Err(error) => Err(error.into()),
    }
}

fn decode<'a>(path: &Path, bytes: &'a [u8]) -> Result<KeyFile<'a>, KeyError> {
    KeyFile::decode(bytes).map_err(|fault| KeyError::FileDamaged { path: path.to_owned(), fault })
}

fn customer_key(path: &Path, file: &KeyFile<'_>, passphrase: Option<&[u8]>) -> Result<CustomerKey, KeyError> {
    let key = match (&file.protection, passphrase) {
        (Protection::None { key }, _) => Zeroizing::new(**key),
        (Protection::Passphrase { .. }, None) => return Err(KeyError::PassphraseNeeded { path: path.to_owned() }),
        (Protection::Passphrase { .. }, Some(text)) => guard::open(path, file, text)?,
    };
    let key = CustomerKey::new(key);
    if key.id() != &file.key_id {
        let fault = stoa_format::DecodeError::new("key file", 12, "key id is not that of the key");
        return Err(KeyError::FileDamaged { path: path.to_owned(), fault });
    }
    Ok(key)
}
