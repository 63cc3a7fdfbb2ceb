//! Merging runs of a keyspace.

use std::sync::Arc;

use stoa_format::Keyspace;

use super::{MergeDriver, Pace};
use crate::index::{KeyCursor, MergeCursor, SortedRun};
use crate::run::{Caching, FinishedRun, RunError, RunWriter};

/// Merges sorted runs, newest first, into one with a filter over `filter_prefix` leading bytes (0: none).
/// `is_bottom` says that nothing older lies below: deleted keys are dropped then. Keys whose value `is_expired` go
/// too: what an older run has of them is older still. `None` if nothing is left.
///
/// # Errors
/// If a run cannot be read or the new one cannot be written, or the driver ends it.
pub fn merge_keys(
    keyspace: Keyspace,
    filter_prefix: u16,
    runs: &[Arc<SortedRun>],
    is_bottom: bool,
    is_expired: &dyn Fn(&[u8]) -> bool,
    driver: &mut dyn MergeDriver,
) -> Result<Option<FinishedRun>, RunError> {
    let mut cursors = Vec::with_capacity(runs.len());
    for run in runs {
        cursors.push(run.cursor(&[], Caching::Pass)?);
    }
    let mut cursor = MergeCursor::new(cursors, is_bottom)?;
    let (mut writer, mut pace) = (None, Pace::default());
    while let Some(key) = cursor.key() {
        let value = cursor.value()?;
        if value.bytes().is_some_and(is_expired) {
            cursor.advance()?;
            continue;
        }
        let writer: &mut RunWriter = match &mut writer {
            Some(writer) => writer,
            none => {
                let mut new = driver.new_file()?;
                new.begin_sorted(keyspace, filter_prefix)?;
                none.insert(new)
            }
        };
        writer.push_key(key, value.bytes())?;
        pace.step(driver, writer)?;
        cursor.advance()?;
    }
    writer.map(RunWriter::finish).transpose()
}
