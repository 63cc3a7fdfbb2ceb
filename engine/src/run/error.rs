//! Why a run file could not be written or read.

use std::sync::Arc;

use stoa_format::DecodeError;
use stoa_format::run::{EncodeError, SectionId};
use thiserror::Error;

/// Why a run file could not be written or read. Names file and place, never a value.
#[derive(Debug, Clone, Error)]
pub enum RunError {
    /// The operating system failed a call.
    #[error("{file}: {source}")]
    Io {
        /// The file, from the pool's directory.
        file: Arc<str>,
        /// What it said; names the call and the path.
        source: Arc<std::io::Error>,
    },
    /// The manifest names the file, and it is not there.
    #[error("{file} (offset 0): is missing")]
    Missing {
        /// The file, from the pool's directory.
        file: Arc<str>,
    },
    /// Stored bytes are not what was written.
    #[error("{}", damage(file, *page, *offset, reason))]
    Damaged {
        /// The file, from the pool's directory.
        file: Arc<str>,
        /// Whose values cannot be read, if it is a page of theirs.
        section: Option<SectionId>,
        /// The page in its section; `None` for header, footer and trailer.
        page: Option<u32>,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The file is whole but was not sealed under this key.
    #[error("{file}: {reason}")]
    Key {
        /// The file, from the pool's directory.
        file: Arc<str>,
        /// What does not match.
        reason: &'static str,
    },
    /// A caller broke a rule of the format; nothing was written.
    #[error("{file}: {source}")]
    Refused {
        /// The file, from the pool's directory.
        file: Arc<str>,
        /// The rule.
        source: EncodeError,
    },
    /// A merge was ended before it was done; nothing of it is kept.
    #[error("the merge was ended before it was done")]
    Cancelled,
}

fn damage(file: &str, page: Option<u32>, offset: u64, reason: &str) -> String {
    match page {
        Some(page) => format!("{file} page {page} (offset {offset}): {reason}"),
        None => format!("{file} (offset {offset}): {reason}"),
    }
}

impl RunError {
    /// A failed call.
    pub(crate) fn io(file: &Arc<str>, source: std::io::Error) -> Self {
        Self::Io { file: file.clone(), source: Arc::new(source) }
    }

    /// A broken rule.
    pub(crate) fn refused(file: &Arc<str>, source: EncodeError) -> Self {
        Self::Refused { file: file.clone(), source }
    }

    /// Damage outside of any page, at `offset` plus the error's own.
    pub(crate) fn damaged_at(file: &Arc<str>, offset: u64, error: DecodeError) -> Self {
        Self::Damaged {
            file: file.clone(),
            section: None,
            page: None,
            offset: offset + error.offset as u64,
            reason: format!("{}: {}", error.structure, error.reason),
        }
    }
}
