//! All runs of one keyspace in one version of a pool.

use std::sync::Arc;

use stoa_format::sorted::SortedValue;

use super::{Found, MergeCursor, SortedCursor, SortedRun};
use crate::run::{Caching, RunError};

/// Sorted runs, newest first. Immutable; shared by readers.
#[derive(Default)]
pub struct SortedStack {
    runs: Vec<Arc<SortedRun>>,
}

/// Which runs of a stack may have some keys.
#[derive(Clone, Copy)]
pub enum Sole<'s> {
    /// None of them.
    None,
    /// This one alone, on this page and behind it.
    Run(&'s Arc<SortedRun>, usize),
    /// Several.
    Several,
}

impl SortedStack {
    /// A stack of these runs, newest first.
    pub fn new(runs: Vec<Arc<SortedRun>>) -> Self {
        Self { runs }
    }

    /// The runs, newest first.
    pub fn runs(&self) -> &[Arc<SortedRun>] {
        &self.runs
    }

    /// Gives what the newest run that has the key holds for it to `read`, without a copy; `None` if no run has it.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn with<R>(&self, key: &[u8], read: impl FnOnce(Option<SortedValue<'_>>) -> R) -> Result<R, RunError> {
        let mut read = Some(read);
        for run in &self.runs {
            let done = run.with(key, |value| match value {
                None => None,
                some => read.take().map(|read| read(some)),
            })?;
            if let Some(done) = done {
                return Ok(done);
            }
        }
        match read {
            Some(read) => Ok(read(None)),
            None => unreachable!("the reader is taken only to be used, and then its answer was given"),
        }
    }

    /// What the newest run that has the key holds for it.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Found, RunError> {
        self.with(key, |value| value.into())
    }

    /// Whether any run may have keys that begin with `prefix`; false is certain. See [`SortedRun::may_hold`].
    ///
    /// # Errors
    /// If a filter page cannot be read.
    pub fn may_hold(&self, prefix: &[u8]) -> Result<bool, RunError> {
        for run in &self.runs {
            if run.may_hold(prefix)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The only run that may have keys of `prefix`, and its page where those from `from` on begin; [`Sole::Several`] if
    /// there are more. A run that can be asked at once is: filters are for pages that would have to be read first.
    ///
    /// # Errors
    /// If a filter page cannot be read.
    pub fn sole(&self, prefix: &[u8], from: &[u8]) -> Result<Sole<'_>, RunError> {
        if let [only] = &self.runs[..]
            && let (page, true) = only.page_at(from)?
        {
            return Ok(Sole::Run(only, page));
        }
        let mut sole = Sole::None;
        for run in &self.runs {
            if run.may_hold(prefix)? {
                match sole {
                    Sole::None => sole = Sole::Run(run, run.page_at(from)?.0),
                    _ => return Ok(Sole::Several),
                }
            }
        }
        Ok(sole)
    }

    /// A cursor for each run that may have keys of `prefix`, at the first key that is not below `from`; newest
    /// first, for a merge with newer sources. An empty prefix is every key's.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn cursors(&self, prefix: &[u8], from: &[u8], caching: Caching) -> Result<Vec<SortedCursor>, RunError> {
        let mut cursors = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            if run.may_hold(prefix)? {
                cursors.push(run.cursor(from, caching)?);
            }
        }
        Ok(cursors)
    }

    /// A descending cursor for each run, at the last key that is below `below`; newest first.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn cursors_down(&self, below: &[u8], caching: Caching) -> Result<Vec<SortedCursor>, RunError> {
        self.runs.iter().map(|run| run.cursor_down(below, caching)).collect()
    }

    /// Walks the keys from the first one that is not below `from`; of each key the newest entry, deleted ones left
    /// out.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn range(&self, from: &[u8], caching: Caching) -> Result<MergeCursor<SortedCursor>, RunError> {
        MergeCursor::new(self.cursors(&[], from, caching)?, true)
    }
}
