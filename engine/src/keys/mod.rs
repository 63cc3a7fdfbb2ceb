//! Keys: how they come from each other, how they seal, and who keeps the first of them.
//!
//! ```text
//! customer key (kept by a KeyProvider, never leaves it)
//!   └ wraps → DataKey: one a pool and key epoch, random
//!       ├ HKDF → manifest key
//!       ├ HKDF → HedgeKey: feeds nonces, seals nothing
//!       └ HKDF with the file's salt → FileKeys: a SealKey and a commitment, one a file
//! PeriodKey: random, one a pool and flush period, kept in the manifest → SealKey of log frames
//! ```
//!
//! Always true:
//! 1. A key is made for one purpose and used for no other.
//! 2. Key bytes are wiped when dropped, and no `Debug` or `Display` shows them.
//! 3. A nonce depends on key, associated data and plain text: it repeats only for the same text.

mod derive;
mod local;
mod provider;
mod seal;
#[cfg(test)]
mod vector_tests;

pub use derive::{DataKey, FileKeys, PeriodKey};
pub use local::{KeyFileStatus, LocalProvider, PASSPHRASE_BYTES_MAX, PassphraseCost};
pub use provider::{KeyError, KeyProvider, WrapContext};
pub use seal::{HedgeKey, NONCE_BYTES, OpenError, SEAL_OVERHEAD_BYTES, SealKey, TAG_BYTES};
pub use stoa_format::wrapped::WrappedKey;
