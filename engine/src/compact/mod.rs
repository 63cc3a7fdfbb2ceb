//! Compaction: what to merge, and merging it. The choice is pure and the merging knows runs only; when it runs, at
//! what pace, and how the manifest learns of it, is its caller's.
//!
//! Invariants:
//! 1. What is merged is always the *oldest* runs of a stack or a stretch of it without gaps, so that no cell or
//!    key ever passes a newer one of its own kind.
//! 2. An explicit null or a tombstone is dropped only where nothing older lies below.
//! 3. Inputs are not changed; outputs are durable but for their names when they are handed over.

mod choose;
mod columns;
mod keys;

#[cfg(test)]
mod tests;

pub use choose::{ColumnStep, Policy, RunSizes, SortedStep, choose_column, choose_sorted};
pub use columns::{Rebased, join_sparse, rebase};
pub use keys::merge_keys;

use crate::run::{RunError, RunFault, RunWriter};

/// How a merge gets its output files and hears whether to go on.
pub trait MergeDriver {
    /// A writer of a new file of the merge's attribute or keyspace.
    ///
    /// # Errors
    /// As [`RunWriter::create`].
    fn new_file(&mut self) -> Result<RunWriter, RunError>;

    /// Called every few thousand entries with how many bytes were written since: the place to keep a pace. False
    /// ends the merge with [`RunFault::Cancelled`]; what was written so far is removed.
    fn go_on(&mut self, written_bytes: u64) -> bool;
}

/// Entries between two looks at [`MergeDriver::go_on`].
const PACE_ENTRIES: u32 = 4096;

/// Counts entries and asks now and then whether to go on.
#[derive(Default)]
struct Pace {
    entries: u32,
    told_bytes: u64,
}

impl Pace {
    fn step(&mut self, driver: &mut dyn MergeDriver, writer: &RunWriter) -> Result<(), RunError> {
        self.entries += 1;
        if self.entries < PACE_ENTRIES {
            return Ok(());
        }
        self.entries = 0;
        let written = writer.len_bytes();
        let since = written.saturating_sub(self.told_bytes);
        self.told_bytes = written;
        if driver.go_on(since) { Ok(()) } else { Err(RunFault::Cancelled.into()) }
    }

    /// The next file's bytes are counted from 0 again.
    fn next_file(&mut self) {
        self.told_bytes = 0;
    }
}
