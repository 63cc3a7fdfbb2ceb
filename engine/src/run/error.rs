//! Why a run file could not be written or read.

use std::sync::Arc;

use stoa_format::DecodeError;
use stoa_format::run::{EncodeError, SectionId};
use thiserror::Error;

/// Why a run file could not be written or read. As small as a pointer: cells are read by the score, and each is moved
/// about with room for this.
#[derive(Debug, Clone, Error)]
#[error(transparent)]
pub struct RunError(Box<RunFault>);

/// What a [`RunError`] says. Names file and place, never a value.
#[derive(Debug, Clone, Error)]
pub enum RunFault {
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

impl From<RunFault> for RunError {
    #[cold]
    fn from(fault: RunFault) -> Self {
        Self(Box::new(fault))
    }
}

impl RunError {
    /// What it says.
    pub fn fault(&self) -> &RunFault {
        &self.0
    }

    /// A failed call.
    pub(crate) fn io(file: &Arc<str>, source: std::io::Error) -> Self {
        RunFault::Io { file: file.clone(), source: Arc::new(source) }.into()
    }

    /// A broken rule.
    pub(crate) fn refused(file: &Arc<str>, source: EncodeError) -> Self {
        RunFault::Refused { file: file.clone(), source }.into()
    }

    /// Damage outside of any page, at `offset` plus the error's own.
    pub(crate) fn damaged_at(file: &Arc<str>, offset: u64, error: DecodeError) -> Self {
        RunFault::Damaged {
            file: file.clone(),
            section: None,
            page: None,
            offset: offset + error.offset as u64,
            reason: format!("{}: {}", error.structure, error.reason),
        }
        .into()
    }
}
