//! Run files: immutable, sealed, written once from front to back and then read by page.
//!
//! Columns ([`crate::column`]) and sorted keyspaces ([`crate::index`]) are sections of such files; this module is
//! what they share: the writer, the opened file, the open pages, the file descriptors.
//!
//! Invariants:
//! 1. A file is read only after its header's key commitment, its footer and the root over its directory have
//!    been checked against the manifest; a page only if its nonce and tag are the directory's and it opens.
//! 2. Whatever the bytes are, a read gives what was written or a [`RunError`]; never another value, no panic.
//! 3. Plain text is in memory only, counted against the one page budget of the process while the cache holds
//!    it, and overwritten when the last who could read it has ended.
//! 4. A file that is no longer live ([`RunFile::retire`]) is removed when its last reader has gone.

mod cache;
mod env;
mod error;
mod file;
mod frames;
mod handles;
pub(crate) mod marks;
mod section;
mod verify;
mod writer;

pub use cache::{PageCache, Plain};
pub use env::{RunEnv, RunLimits};
pub use error::{RunError, RunFault};
pub use file::{RunFile, RunIdentity};
pub use handles::FileHandles;
pub use verify::{Finding, check_sums};
pub use writer::{ColumnShape, FinishedRun, RunWriter};

pub(crate) use cache::{OpenPage, PageBody};
pub(crate) use section::SectionPages;
pub use section::{Caching, OrdinalSet};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
