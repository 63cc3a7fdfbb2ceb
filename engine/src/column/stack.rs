//! All runs of one attribute in one version of a pool.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;
use stoa_format::Ordinal;
use stoa_format::column::Cell;
use stoa_format::run::PageEntry;

use super::{ColumnCursor, ColumnRun, OpenColumnPage};
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
        match self.run_of(ordinal)? {
            Some(run) => run.with(ordinal, read),
            None => Ok(read(Cell::Missing)),
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

    /// Gives every page that has ordinals of `range` to `visit`, newest runs first, with the ordinals that newer
    /// runs have decided and that do not count in it. Pages of which `wanted` says no are not read.
    ///
    /// # Errors
    /// If a page cannot be read, or what `visit` fails with.
    pub fn scan<E: From<RunError>>(
        &self,
        range: RangeInclusive<u64>,
        caching: Caching,
        mut wanted: impl FnMut(&PageEntry) -> bool,
        mut visit: impl FnMut(&ColumnRun, &OpenColumnPage, &RoaringBitmap) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut decided = RoaringBitmap::new();
        for run in &self.sparse {
            run.scan(range.clone(), caching, &mut wanted, |page| visit(run, page, &decided))?;
            run.ordinals()?.add_to(&mut decided);
        }
        for (_, partition) in self.partitions()? {
            let run = &self.base[*partition];
            run.scan(range.clone(), caching, &mut wanted, |page| visit(run, page, &decided))?;
        }
        Ok(())
    }

    /// Calls `hit` with every ordinal of `range` whose cell, a value or an explicit null, `matches`; not in order.
    /// The predicate sees each distinct value of a dictionary page once.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn select(
        &self,
        range: RangeInclusive<u64>,
        caching: Caching,
        wanted: impl FnMut(&PageEntry) -> bool,
        mut matches: impl FnMut(&Cell<'_>) -> bool,
        mut hit: impl FnMut(Ordinal),
    ) -> Result<(), RunError> {
        self.scan(range.clone(), caching, wanted, |run, page, decided| {
            let counts =
                |ordinal: u64| range.contains(&ordinal) && (decided.is_empty() || !decided.contains(ordinal as u32));
            let selected = page.select(&mut matches, |ordinal| {
                if counts(ordinal) {
                    hit(Ordinal(ordinal));
                }
            });
            selected.map_err(|e| run.damaged_page(page.first_ordinal(), e))
        })
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
