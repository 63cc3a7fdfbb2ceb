//! All runs of one attribute in one version of a pool.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;
use sdd::Guard;
use stoa_format::Ordinal;
use stoa_format::column::{Cell, Scratch, Sought};
use stoa_format::run::PageEntry;

use super::{ColumnCursor, ColumnRun, FoundCell, Look, OrdinalSet};
use crate::run::marks::Marks;
use crate::run::{Caching, RunError};

/// Sparse runs, newest first, over dense partitions. Immutable; shared by readers.
#[derive(Default)]
pub struct ColumnStack {
    sparse: Vec<Arc<ColumnRun>>,
    base: Vec<Arc<ColumnRun>>,
    /// The partitions by first ordinal, once they were all opened.
    partitions: OnceLock<Vec<(u64, usize)>>,
    /// All ordinals of the sparse runs: of most users none of them says anything.
    changed: OnceLock<RoaringBitmap>,
}

impl ColumnStack {
    /// A stack of sparse runs, newest first, over partitions that do not overlap, in any order.
    pub fn new(sparse: Vec<Arc<ColumnRun>>, base: Vec<Arc<ColumnRun>>) -> Self {
        Self { sparse, base, partitions: OnceLock::new(), changed: OnceLock::new() }
    }

    /// The sparse runs, newest first.
    pub fn sparse(&self) -> &[Arc<ColumnRun>] {
        &self.sparse
    }

    /// The base partitions.
    pub fn base(&self) -> &[Arc<ColumnRun>] {
        &self.base
    }

    /// Gives the attribute's cell to `read`, without a copy: [`Cell::Missing`] if no run says anything.
    ///
    /// # Errors
    /// If a page cannot be read.
    #[inline]
    pub fn with<R>(&self, ordinal: Ordinal, read: impl FnOnce(Cell<'_>) -> R) -> Result<R, RunError> {
        self.with_in(ordinal, &mut Vec::new(), read)
    }

    /// The same; a value that has to be put together is put together in `room`.
    ///
    /// # Errors
    /// As [`ColumnStack::with`].
    #[inline]
    pub fn with_in<R>(
        &self,
        ordinal: Ordinal,
        room: &mut Vec<u8>,
        read: impl FnOnce(Cell<'_>) -> R,
    ) -> Result<R, RunError> {
        let guard = Guard::new();
        let mut cell = self.find_cell(ordinal, &guard)?;
        cell.look();
        cell.with_in(room, read)
    }

    /// Where the attribute's cell is.
    ///
    /// # Errors
    /// If a page cannot be read.
    #[inline]
    pub fn find_cell<'g>(&'g self, ordinal: Ordinal, guard: &'g Guard) -> Result<FoundCell<'g>, RunError> {
        // Mostly there is one run, or none says anything newer.
        if let ([], [only]) = (&self.sparse[..], &self.base[..]) {
            return only.find_cell(ordinal, guard);
        }
        match self.run_of(ordinal)? {
            Some(run) => run.find_cell(ordinal, guard),
            None => Ok(FoundCell::default()),
        }
    }

    /// The same, where that takes no reading: one run decides about all, and its page is open.
    #[inline]
    pub fn open_cell<'g>(&'g self, ordinal: Ordinal, guard: &'g Guard) -> Option<FoundCell<'g>> {
        match (&self.sparse[..], &self.base[..]) {
            ([], [only]) => only.open_cell(ordinal, guard),
            _ => None,
        }
    }

    /// The attribute's cell: [`Cell::Missing`] if no run says anything.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn get(&self, ordinal: Ordinal) -> Result<Cell<'static>, RunError> {
        self.with(ordinal, |cell| cell.into_owned())
    }

    /// The run that decides about `ordinal`: the newest that has it, or the partition that it would be in.
    ///
    /// # Errors
    /// If a run's directory or set of ordinals cannot be read.
    #[inline]
    pub fn run_of(&self, ordinal: Ordinal) -> Result<Option<&Arc<ColumnRun>>, RunError> {
        let in_sparse = !self.sparse.is_empty() && u32::try_from(ordinal.0).is_ok();
        if in_sparse && self.changed()?.contains(ordinal.0 as u32) {
            for run in &self.sparse {
                if run.ordinals()?.contains(ordinal.0) {
                    return Ok(Some(run));
                }
            }
        }
        if let [only] = &self.base[..] {
            return Ok(Some(only));
        }
        let partitions = self.partitions()?;
        let behind = partitions.partition_point(|(first, _)| *first <= ordinal.0);
        Ok(behind.checked_sub(1).map(|at| &self.base[partitions[at].1]))
    }

    /// Gives the cell of each of these ascending ordinals to `visit`, in order.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn get_many(&self, ordinals: &[Ordinal], mut visit: impl FnMut(Ordinal, Cell<'_>)) -> Result<(), RunError> {
        if let ([], [only]) = (&self.sparse[..], &self.base[..]) {
            return only.get_many(ordinals, visit);
        }
        let mut at = 0;
        while at < ordinals.len() {
            let run = self.run_of(ordinals[at])?;
            let mut end = at + 1;
            // A stretch that one run decides is read a page at a time.
            while end < ordinals.len() && same_run(self.run_of(ordinals[end])?, run) {
                end += 1;
            }
            match run {
                Some(run) => run.get_many(&ordinals[at..end], &mut visit)?,
                None => ordinals[at..end].iter().for_each(|&ordinal| visit(ordinal, Cell::Missing)),
            }
            at = end;
        }
        Ok(())
    }

    /// The ordinals of `range` whose values are sought; explicit nulls are never found. `look` says of each page by
    /// its entry of the directory whether it need be read.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn find(
        &self,
        range: RangeInclusive<u64>,
        caching: Caching,
        look: impl Fn(&PageEntry) -> Look,
        sought: &mut Sought<'_>,
    ) -> Result<RoaringBitmap, RunError> {
        let mut scratch = Scratch::default();
        let mut found = Marks::new();
        for (_, partition) in self.partitions()? {
            self.base[*partition].find(range.clone(), caching, &look, sought, &mut scratch, &mut found)?;
        }
        let mut found = found.into_bitmap();
        // Older runs have no say in what newer ones hold.
        for run in self.sparse.iter().rev() {
            let mut newer = Marks::new();
            run.find(range.clone(), caching, &look, sought, &mut scratch, &mut newer)?;
            match run.ordinals()? {
                OrdinalSet::Set(decided) => found -= decided,
                decided => {
                    let mut set = RoaringBitmap::new();
                    decided.add_to(&mut set);
                    found -= set;
                }
            }
            found |= newer.into_bitmap();
        }
        let short = |ordinal: u64| u32::try_from(ordinal).unwrap_or(u32::MAX);
        let (first, last) = (short(*range.start()), short(*range.end()));
        found.remove_range(..first);
        if last < u32::MAX {
            found.remove_range(last + 1..);
        }
        Ok(found)
    }

    /// Walks all entries in order of ordinals, from `from` on; of each ordinal the newest.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn cursor(&self, from: Ordinal, caching: Caching) -> Result<ColumnCursor, RunError> {
        // Partitions do not overlap, so their order does not matter.
        ColumnCursor::new(self.sparse.iter().chain(&self.base).cloned(), from, caching)
    }

    /// The ordinals that any sparse run has. Ordinals of 2^32 and more do not exist in memory.
    fn changed(&self) -> Result<&RoaringBitmap, RunError> {
        if let Some(changed) = self.changed.get() {
            return Ok(changed);
        }
        let mut changed = RoaringBitmap::new();
        for run in &self.sparse {
            run.ordinals()?.add_to(&mut changed);
        }
        Ok(self.changed.get_or_init(|| changed))
    }

    fn partitions(&self) -> Result<&[(u64, usize)], RunError> {
        if let Some(partitions) = self.partitions.get() {
            return Ok(partitions);
        }
        let mut partitions = Vec::with_capacity(self.base.len());
        for (i, run) in self.base.iter().enumerate() {
            partitions.push((run.summary()?.first_ordinal, i));
        }
        partitions.sort_unstable();
        Ok(self.partitions.get_or_init(|| partitions))
    }
}

fn same_run(a: Option<&Arc<ColumnRun>>, b: Option<&Arc<ColumnRun>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}
