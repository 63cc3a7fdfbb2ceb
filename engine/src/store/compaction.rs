//! The driver of compaction: asks the choice for each attribute and keyspace, runs the merges, and
//! installs what they wrote by a manifest.
//!
//! Invariants:
//! 1. One compaction a pool at a time. Flushes go on meanwhile: they only put newer runs on top.
//! 2. What a merge wrote is as old as the newest of what it read, so that it stays below anything
//!    flushed since.
//! 3. A merge that fails or is cancelled leaves no file and changes nothing.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use stoa_format::manifest::{FilePlace, SectionContent};
use stoa_format::{AttrId, FileId, KeyEpoch, Keyspace};

use super::Shared;
use super::flush::file_ref;
use super::gather::{filter_prefix, is_expired};
use super::install::Change;
use crate::column::ColumnStack;
use crate::compact::{
    ColumnStep, MergeDriver, Policy, RunSizes, SortedStep, choose_column, choose_sorted, join_sparse, merge_keys,
    rebase,
};
use crate::error::Result;
use crate::index::SortedStack;
use crate::keys::{DataKey, HedgeKey};
use crate::pool::open::{OpenPool, lock};
use crate::pool::version::Version;
use crate::run::{FinishedRun, RunError, RunFile, RunIdentity, RunWriter};

/// What a compaction is to achieve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// What the choice says.
    Policy,
    /// As few runs as there can be.
    Few,
    /// No file under an old data key.
    NewestKey,
    /// No file with an id below this one.
    Erase(FileId),
}

/// How far a long work is, and whether to go on.
#[derive(Default)]
pub(crate) struct Progress {
    pub done: AtomicU64,
    pub total: AtomicU64,
    pub cancelled: AtomicBool,
}

impl Shared {
    /// Asks for a compaction of this pool in the background, unless one waits already.
    pub(crate) fn want_compaction(&self, pool: &Arc<OpenPool>) {
        if pool.compaction_queued.swap(true, Relaxed) {
            return;
        }
        let pool = Arc::clone(pool);
        self.at_leisure(Box::new(move || {
            pool.compaction_queued.store(false, Relaxed);
            if let Err(error) = pool.compact(Aim::Policy, &Progress::default()) {
                lock(&pool.trouble).get_or_insert(error);
            }
        }));
    }
}

impl OpenPool {
    /// Merges runs until there is nothing to do for `aim`.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`, `NOSPACE`; `TRYAGAIN` if it was cancelled.
    pub(super) fn compact(self: &Arc<Self>, aim: Aim, progress: &Progress) -> Result<()> {
        let _compacting = lock(&self.compacting);
        while self.shared.on_reserve(|| self.compact_once(aim, progress))? && aim == Aim::Policy {}
        self.shared.look_for_room();
        Ok(())
    }

    /// One pass over all attributes and keyspaces; answers whether anything was merged.
    pub(super) fn compact_once(self: &Arc<Self>, aim: Aim, progress: &Progress) -> Result<bool> {
        let version = self.version.load_full();
        let newest = lock(&self.keyring).newest()?.0;
        let mut columns: Vec<AttrId> = Vec::new();
        for (attr, stack) in version.runs.columns() {
            if column_step(stack, aim, newest)? != ColumnStep::Nothing {
                columns.push(attr);
            }
        }
        let mut keyspaces: Vec<Keyspace> = Vec::new();
        for (keyspace, stack) in version.runs.keyspaces() {
            if sorted_step(stack, aim, newest)? != SortedStep::Nothing {
                keyspaces.push(keyspace);
            }
        }
        if columns.is_empty() && keyspaces.is_empty() {
            return Ok(false);
        }
        columns.sort_unstable();
        keyspaces.sort_unstable();
        progress.total.store(version.runs.files.iter().map(|(file, _)| file.len).sum(), Relaxed);
        let mut change = Change::default();
        let merged = columns
            .into_iter()
            .try_for_each(|attr| self.merge_column(&version, attr, aim, newest, progress, &mut change))
            .and_then(|()| {
                keyspaces.into_iter().try_for_each(|keyspace| {
                    self.merge_keyspace(&version, keyspace, aim, newest, progress, &mut change)
                })
            });
        if let Err(error) = merged {
            let written = change.added.iter().map(|file| self.dir.join(RunIdentity::of(self.id, file).name()));
            // Whichever cannot be removed now goes when the pool is opened.
            written.for_each(|path| drop(self.shared.io.remove_file(&path)));
            return Err(error);
        }
        let _flushing = lock(&self.flushing);
        if self.dropped.load(Relaxed) {
            return Err(super::no_pool());
        }
        self.settle_installs()?;
        // Should this fail, nobody knows whether the disk has the new manifest: its files stay.
        self.install(change).map(|()| true)
    }

    fn merge_column(
        &self,
        version: &Version,
        attr: AttrId,
        aim: Aim,
        newest: KeyEpoch,
        progress: &Progress,
        change: &mut Change,
    ) -> Result<()> {
        let Some(stack) = version.runs.column(attr) else { return Ok(()) };
        let mut driver = self.driver(FilePlace::Column, attr.0, progress)?;
        let live = Some(&version.runs.live);
        let (written, read, dense): (Vec<FinishedRun>, Vec<&Arc<RunFile>>, bool) =
            match column_step(stack, aim, newest)? {
                ColumnStep::Nothing => return Ok(()),
                ColumnStep::Join(range) => {
                    let runs = &stack.sparse()[range];
                    let joined = driver.run(|driver| join_sparse(attr, runs, live, driver))?;
                    (joined.into_iter().collect(), runs.iter().map(|run| run.file()).collect(), false)
                }
                ColumnStep::Rebase => {
                    let policy = Policy::default();
                    let reseal = |run: &crate::column::ColumnRun| must_go(run.file(), aim, newest);
                    let (sparse, base) = (stack.sparse(), stack.base());
                    let rebased = driver
                        .run(|driver| rebase(attr, sparse, base, live, policy.partition_bytes, &reseal, driver))?;
                    let mut read: Vec<_> = sparse.iter().map(|run| run.file()).collect();
                    read.extend(rebased.replaced.iter().map(|partition| base[*partition].file()));
                    (rebased.written, read, true)
                }
            };
        self.sync_folder(FilePlace::Column, attr.0)?;
        let is_it = |content: SectionContent| matches!(content, SectionContent::Column { attr: of, .. } if of == attr);
        replace_sections(version, &read, is_it, &written, dense, change);
        Ok(())
    }

    fn merge_keyspace(
        &self,
        version: &Version,
        keyspace: Keyspace,
        aim: Aim,
        newest: KeyEpoch,
        progress: &Progress,
        change: &mut Change,
    ) -> Result<()> {
        let Some(stack) = version.runs.keyspace(keyspace) else { return Ok(()) };
        let SortedStep::Merge(range) = sorted_step(stack, aim, newest)? else { return Ok(()) };
        let is_bottom = range.end == stack.runs().len();
        let runs = &stack.runs()[range];
        let tokens_from_ms = self.now_ms().saturating_sub(self.limits().token_ttl_ms);
        let expired = |value: &[u8]| is_expired(keyspace, value, tokens_from_ms);
        let folder = u16::from(keyspace.0);
        let mut driver = self.driver(FilePlace::Index, folder, progress)?;
        let merged =
            driver.run(|driver| merge_keys(keyspace, filter_prefix(keyspace), runs, is_bottom, &expired, driver))?;
        self.sync_folder(FilePlace::Index, folder)?;
        let read: Vec<_> = runs.iter().map(|run| run.file()).collect();
        let is_it = |content| content == SectionContent::Keys { keyspace };
        replace_sections(version, &read, is_it, merged.as_slice(), false, change);
        Ok(())
    }

    fn driver<'p>(&'p self, place: FilePlace, folder: u16, progress: &'p Progress) -> Result<Driver<'p>> {
        self.make_folder(place, folder)?;
        let keyring = lock(&self.keyring);
        let (key_epoch, data_key) = keyring.newest()?;
        let hedge = Arc::clone(&keyring.hedge);
        Ok(Driver { pool: self, place, folder, key_epoch, data_key, hedge, progress, begun: Vec::new() })
    }
}

/// Enters what was written in place of what was read.
fn replace_sections(
    version: &Version,
    read: &[&Arc<RunFile>],
    is_it: impl Fn(SectionContent) -> bool,
    written: &[FinishedRun],
    dense: bool,
    change: &mut Change,
) {
    let ids: HashSet<FileId> = read.iter().map(|file| file.identity().file).collect();
    let mut age = 0;
    for (file, _) in version.runs.files.iter().filter(|(file, _)| ids.contains(&file.id)) {
        age = age.max(file.age);
        let sections = file.sections.iter().filter(|section| is_it(section.content));
        change.removed.extend(sections.map(|section| (file.id, section.section)));
    }
    change.added.extend(written.iter().map(|run| file_ref(run, age, |_| dense)));
}

/// Whether the aim is missed as long as this file is there.
fn must_go(file: &RunFile, aim: Aim, newest: KeyEpoch) -> bool {
    match aim {
        Aim::Policy | Aim::Few => false,
        Aim::NewestKey => file.identity().key_epoch < newest,
        Aim::Erase(below) => file.identity().file < below,
    }
}

fn column_step(stack: &ColumnStack, aim: Aim, newest: KeyEpoch) -> Result<ColumnStep> {
    let mut sizes = RunSizes::default();
    for run in stack.sparse() {
        sizes.runs.push(run.summary()?.disk_bytes);
        sizes.run_entries += run.summary()?.entries;
    }
    for run in stack.base() {
        sizes.base += run.summary()?.disk_bytes;
        sizes.base_entries += run.summary()?.entries;
    }
    let all = || stack.sparse().iter().chain(stack.base());
    Ok(match aim {
        Aim::Policy => choose_column(&sizes, &Policy::default()),
        Aim::Few if !stack.sparse().is_empty() => ColumnStep::Rebase,
        Aim::NewestKey | Aim::Erase(_) if all().any(|run| must_go(run.file(), aim, newest)) => ColumnStep::Rebase,
        Aim::Few | Aim::NewestKey | Aim::Erase(_) => ColumnStep::Nothing,
    })
}

fn sorted_step(stack: &SortedStack, aim: Aim, newest: KeyEpoch) -> Result<SortedStep> {
    let runs = stack.runs();
    let mut sizes = RunSizes::default();
    for run in runs {
        sizes.runs.push(run.summary()?.disk_bytes);
    }
    Ok(match aim {
        Aim::Policy => choose_sorted(&sizes, &Policy::default()),
        Aim::Few if runs.len() > 1 => SortedStep::Merge(0..runs.len()),
        Aim::NewestKey | Aim::Erase(_) if runs.iter().any(|run| must_go(run.file(), aim, newest)) => {
            SortedStep::Merge(0..runs.len())
        }
        Aim::Few | Aim::NewestKey | Aim::Erase(_) => SortedStep::Nothing,
    })
}

/// Gives a merge its files.
struct Driver<'p> {
    pool: &'p OpenPool,
    place: FilePlace,
    folder: u16,
    key_epoch: KeyEpoch,
    data_key: Arc<DataKey>,
    hedge: Arc<HedgeKey>,
    progress: &'p Progress,
    /// The files that were begun.
    begun: Vec<PathBuf>,
}

impl Driver<'_> {
    /// Runs a merge; what it wrote is removed if it fails.
    fn run<T>(&mut self, merge: impl FnOnce(&mut dyn MergeDriver) -> Result<T, RunError>) -> Result<T> {
        let merged = merge(self);
        if merged.is_err() {
            self.begun.iter().for_each(|path| drop(self.pool.shared.io.remove_file(path)));
        }
        Ok(merged?)
    }
}

impl MergeDriver for Driver<'_> {
    fn new_file(&mut self) -> Result<RunWriter, RunError> {
        let (pool, file) = (self.pool.id, self.pool.mint_file());
        let identity = RunIdentity { pool, file, place: self.place, folder: self.folder, key_epoch: self.key_epoch };
        self.begun.push(self.pool.dir.join(identity.name()));
        RunWriter::create(&self.pool.shared.io, &self.pool.dir, identity, &self.data_key, &self.hedge)
    }

    fn go_on(&mut self, written_bytes: u64) -> bool {
        self.progress.done.fetch_add(written_bytes, Relaxed);
        !self.progress.cancelled.load(Relaxed) && !self.pool.shared.is_closed() && !self.pool.dropped.load(Relaxed)
    }
}
