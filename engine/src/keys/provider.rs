//! Who keeps customer keys: the trait behind which key files and key management services stand.

use std::io;
use std::path::PathBuf;

use stoa_format::wrapped::{WrappedKey, wrap_context};
use stoa_format::{DecodeError, KeyEpoch, PoolId};
use thiserror::Error;

use super::derive::DataKey;

/// Keeps a customer key and uses it on data keys; the customer key itself never comes out.
pub trait KeyProvider: Send + Sync {
    /// The kind of provider, as wrapped keys name it, e.g. `local`.
    fn name(&self) -> &str;

    /// The customer key that [`KeyProvider::wrap`] uses.
    fn key_id(&self) -> &str;

    /// Wraps a data key for one place.
    ///
    /// # Errors
    /// [`KeyError::Denied`], [`KeyError::Unreachable`], or no randomness.
    fn wrap(&self, key: &DataKey, context: &WrapContext) -> Result<WrappedKey, KeyError>;

    /// Unwraps a data key that was wrapped for this place.
    ///
    /// # Errors
    /// [`KeyError::WrongKey`] if another customer key wrapped it, [`KeyError::Damaged`] if this one did but the
    /// bytes or the place are not the same, [`KeyError::Denied`], [`KeyError::Unreachable`].
    fn unwrap(&self, wrapped: &WrappedKey, context: &WrapContext) -> Result<DataKey, KeyError>;
}

/// The place that a data key is for; a wrapped key opens there and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapContext {
    /// The pool; for the store's own key the store's id.
    pub pool: PoolId,
    /// The data key's generation.
    pub key_epoch: KeyEpoch,
}

impl WrapContext {
    /// The context as bytes, by the table in [`stoa_format::wrapped`].
    pub fn to_bytes(self) -> [u8; 36] {
        wrap_context(self.pool, self.key_epoch)
    }
}

/// Why there is no key. Each says what the one who reads it can do.
#[derive(Debug, Error)]
pub enum KeyError {
    /// No key file where one should be.
    #[error(
        "no key file {}: put the one back that this data was made with (a new one cannot open it); \
         only for a new store make one with `stoa keys init`", path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A key file where a new one was to be made.
    #[error("key file {} is there already and is not overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The key file is guarded by a passphrase and none was given.
    #[error("key file {} needs its passphrase", path.display())]
    PassphraseNeeded {
        /// The file.
        path: PathBuf,
    },
    /// The key file is whole and the passphrase is not its.
    #[error("wrong passphrase for key file {}", path.display())]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// A passphrase that was to guard a key file is empty or too long, or its cost is out of bounds.
    #[error("{0}")]
    UnfitPassphrase(&'static str),
    /// Another customer key wrapped this data key.
    #[error(
        "wrapped by {provider} key {wanted}, but the key at hand is {at_hand}: use the key that this data was made with"
    )]
    WrongKey {
        /// The provider that the wrapped key names.
        provider: String,
        /// The key id that it names.
        wanted: String,
        /// The key id that this provider has.
        at_hand: String,
    },
    /// The key file is not what was written; restore it from its copy.
    #[error("key file {} is damaged, restore it from its copy: {fault}", path.display())]
    FileDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: DecodeError,
    },
    /// A newer program wrote the key file; this one can read it, but would lose something in writing it.
    #[error("key file {} was written by a newer version: change it with that one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// The wrapped key is not what was written, or was wrapped for another pool or epoch.
    #[error("wrapped key of pool {pool}, key epoch {key_epoch}, is damaged or belongs to another place")]
    Damaged {
        /// The pool it was to be for.
        pool: PoolId,
        /// The epoch it was to be for.
        key_epoch: KeyEpoch,
    },
    /// The provider refuses to use the customer key: disabled, or the right to use it withdrawn.
    #[error("key {key_id} is denied: {reason}")]
    Denied {
        /// The customer key.
        key_id: String,
        /// The provider's word.
        reason: String,
    },
    /// The provider does not answer; this says nothing about the key.
    #[error("key provider for {key_id} cannot be reached: {reason}")]
    Unreachable {
        /// The customer key.
        key_id: String,
        /// What was tried and how it failed.
        reason: String,
    },
    /// The disk or the random generator failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
