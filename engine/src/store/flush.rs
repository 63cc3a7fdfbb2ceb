//! Flushing: the memtable of a pool becomes a run file, and a manifest says so.
//!
//! Invariants:
//! 1. One flush a pool at a time, under `OpenPool::flushing`, which every manifest is written under.
//! 2. What is flushed is a state between two batches: everything up to its Seq, nothing beyond it.
//! 3. Until the manifest is durable the new files are nobody's; opening the pool removes them.
//! 4. A flush that fails leaves the memtables where they are; the next one takes them too.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use stoa_format::column::{Cell, ColumnKind};
use stoa_format::manifest::{FilePlace, FileRef, SectionContent, SectionRef};
use stoa_format::ops::CellRef;
use stoa_format::run::SectionId;
use stoa_format::{AttrId, FileId, Ordinal, Seq};

use super::Shared;
use super::gather::{Cells, Gathered, filter_prefix, gather, users_in};
use super::install::{Change, Flushed};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::open::{OpenPool, lock};
use crate::pool::runs::column_kind;
use crate::pool::version::Version;
use crate::run::{ColumnShape, FinishedRun, RunIdentity, RunWriter};

/// A flush with so many new users writes them as a base of their own, not as a run over one.
const DENSE_ENTRIES_MIN: usize = 200_000;
/// After a failed flush the next is not begun by itself for so long.
const RETRY_AFTER_MS: u64 = 5_000;

/// This part of a pool's files is to be had as a reserve for compacting it on a full disk.
const RESERVE_PART: u64 = 4;

/// A state of the pool between two batches.
struct Frozen {
    seq: Seq,
    chain: [u8; 32],
    groups: u64,
    digest: Option<u128>,
    version: Arc<Version>,
}

impl Shared {
    /// Asks for a flush of this pool in the background, unless one is under way.
    pub(crate) fn want_flush(&self, pool: &Arc<OpenPool>) {
        if self.io.now_ms() < pool.flush_again_ms.load(Relaxed) || pool.flush_queued.swap(true, Relaxed) {
            return;
        }
        let pool = Arc::clone(pool);
        self.later(Box::new(move || {
            pool.flush_queued.store(false, Relaxed);
            // A failure is kept in the pool, which says so in its state.
            if let Ok(true) = pool.flush() {
                pool.shared.want_compaction(&pool);
            }
        }));
    }
}

impl OpenPool {
    /// Writes everything committed so far into files. Answers whether there was anything to write.
    ///
    /// # Errors
    /// `IOERROR`, `NOSPACE`, `DAMAGED`; nothing is lost then, and what is in memory stays there.
    pub(crate) fn flush(self: &Arc<Self>) -> Result<bool> {
        let _flushing = lock(&self.flushing);
        if self.dropped.load(Relaxed) {
            return Ok(false);
        }
        // What an expired listing holds need not outlive this.
        lock(&self.leases).sweep(self.now_ms());
        let flushed = self.shared.on_reserve(|| self.flush_now());
        match &flushed {
            Ok(_) => {
                *lock(&self.trouble) = None;
                self.flush_again_ms.store(0, Relaxed);
                self.shared.look_for_room();
            }
            Err(error) => {
                *lock(&self.trouble) = Some(error.clone());
                self.flush_again_ms.store(self.now_ms() + RETRY_AFTER_MS, Relaxed);
            }
        }
        flushed
    }

    fn flush_now(self: &Arc<Self>) -> Result<bool> {
        let Some(frozen) = self.freeze()? else { return Ok(false) };
        let memtables = frozen.version.frozen.clone();
        let tokens_from_ms = self.now_ms().saturating_sub(self.limits().token_ttl_ms);
        let users = users_in(&memtables);
        let gathered = gather(&memtables, &users, &frozen.version.runs.live, tokens_from_ms)?;
        let file = self.write_run(&gathered, &frozen.version)?;
        let flushed = Flushed {
            seq: frozen.seq,
            chain: frozen.chain,
            groups: frozen.groups,
            digest: frozen.digest,
            documents: Arc::clone(&frozen.version.documents),
            live: gathered.live,
            memtables,
        };
        self.install(Change { flushed: Some(flushed), added: file.into_iter().collect(), ..Change::default() })?;
        self.shared.grow_reserve(self.live_bytes() / RESERVE_PART);
        Ok(true)
    }

    /// Bytes of the files that the manifest names.
    fn live_bytes(&self) -> u64 {
        self.version.load().runs.files.iter().map(|(file, _)| file.len).sum()
    }

    /// Flushes if a bulk load has put files in place since the last flush: a manifest that names
    /// them must be past the frame that did. Called under `flushing`, before a manifest that
    /// flushes nothing.
    pub(super) fn settle_installs(self: &Arc<Self>) -> Result<()> {
        let is_settled = {
            let checkpoint = lock(&self.checkpoint);
            let version = self.version.load();
            version.runs.files.iter().all(|(file, _)| checkpoint.files.iter().any(|known| known.id == file.id))
        };
        if is_settled { Ok(()) } else { self.flush_now().map(drop) }
    }

    /// Freezes the active memtable between two batches; `None` if everything is flushed.
    fn freeze(&self) -> Result<Option<Frozen>> {
        // The leader holds the log from numbering to applying.
        let log = self.shared.pipeline.log();
        if let Some(failed) = log.failure() {
            return Err(failed.clone());
        }
        let sequencer = lock(&self.sequencer);
        let seq = self.visible.seq();
        if sequencer.next_seq != seq.0 + 1 {
            return Err(Error::new(
                ErrorKind::Io,
                "the log failed under a transaction of this pool: restart the store",
            ));
        }
        let before = self.version.load_full();
        if before.flushed_seq() == seq {
            return Ok(None);
        }
        let mut after = (*before).clone();
        if !before.active.is_empty() {
            after.frozen.insert(0, std::mem::take(&mut after.active));
        }
        let version = Arc::new(after);
        self.version.store(Arc::clone(&version));
        Ok(Some(Frozen {
            seq,
            chain: sequencer.chain,
            groups: self.groups.load(Relaxed),
            digest: lock(&self.tree).sum(),
            version,
        }))
    }

    /// Writes what was gathered into one file; `None` if it is nothing.
    fn write_run(&self, gathered: &Gathered<'_>, version: &Version) -> Result<Option<FileRef>> {
        if gathered.columns.values().all(Vec::is_empty) && gathered.keys.is_empty() {
            return Ok(None);
        }
        let mut writer = self.new_file(FilePlace::Flush, 0)?;
        let mut dense = Vec::new();
        for (attr, cells) in &gathered.columns {
            if self.write_column(&mut writer, *attr, cells, version)? == ColumnShape::Dense {
                dense.push(*attr);
            }
        }
        for (keyspace, keys) in &gathered.keys {
            let is_bottom = version.runs.keyspace(*keyspace).is_none();
            writer.begin_sorted(*keyspace, filter_prefix(*keyspace))?;
            for (key, value) in keys {
                if value.is_some() || !is_bottom {
                    writer.push_key(key, value.as_deref())?;
                }
            }
        }
        let finished = writer.finish()?;
        self.sync_folder(FilePlace::Flush, 0)?;
        let age = self.next_age.fetch_add(1, Relaxed);
        let file = file_ref(&finished, age, |attr| dense.contains(&attr));
        Ok((!file.sections.is_empty()).then_some(file))
    }

    fn write_column(
        &self,
        writer: &mut RunWriter,
        attr: AttrId,
        cells: &Cells<'_>,
        version: &Version,
    ) -> Result<ColumnShape> {
        let stack = version.runs.column(attr);
        let mut above = None;
        let mut kind = column_kind(attr, &version.documents.schema);
        if let Some(stack) = stack {
            for run in stack.sparse().iter().chain(stack.base()) {
                kind = run.kind()?;
                above = above.max(Some(run.summary()?.last_ordinal));
            }
        }
        let is_above = cells.first().is_some_and(|(first, _)| above.is_none_or(|last| u64::from(*first) > last));
        let shape = match is_above && (above.is_none() || cells.len() >= DENSE_ENTRIES_MIN) {
            true => ColumnShape::Dense,
            false => ColumnShape::Sparse,
        };
        writer.begin_column(attr, kind, shape)?;
        for (ordinal, cell) in cells {
            if shape == ColumnShape::Sparse || *cell != CellRef::Absent {
                writer.push_cell(Ordinal(u64::from(*ordinal)), &stored_cell(kind, *cell)?)?;
            }
        }
        Ok(shape)
    }

    /// A writer of a new file of this pool, under its newest data key.
    pub(crate) fn new_file(&self, place: FilePlace, folder: u16) -> Result<RunWriter> {
        self.make_folder(place, folder)?;
        let ((key_epoch, data_key), hedge) = {
            let keyring = lock(&self.keyring);
            (keyring.newest()?, Arc::clone(&keyring.hedge))
        };
        let identity = RunIdentity { pool: self.id, file: self.mint_file(), place, folder, key_epoch };
        Ok(RunWriter::create(&self.shared.io, &self.dir, identity, &data_key, &hedge)?)
    }

    pub(super) fn mint_file(&self) -> FileId {
        FileId(self.next_file_id.fetch_add(1, Relaxed))
    }
}

/// The manifest's entry of a file all of whose sections are in use.
pub(crate) fn file_ref(finished: &FinishedRun, age: u64, is_dense: impl Fn(AttrId) -> bool) -> FileRef {
    let mut file = finished.file_ref(age);
    for (number, section) in finished.sections.iter().enumerate() {
        let content = match section.id {
            SectionId::Column { attr, .. } => SectionContent::Column { attr, dense: is_dense(attr) },
            SectionId::Sorted(keyspace) => SectionContent::Keys { keyspace },
        };
        file.sections.push(SectionRef { section: number as u16, content });
    }
    file
}

/// A cell as a column of this kind takes it.
fn stored_cell(kind: ColumnKind, cell: CellRef<'_>) -> Result<Cell<'_>> {
    let wrong = || Error::damaged("a value in memory is not of its attribute's kind; run stoa verify");
    Ok(match (kind, cell) {
        (_, CellRef::Absent) => Cell::Absent,
        (ColumnKind::Int, CellRef::Int(value)) => Cell::Int(value),
        (ColumnKind::Fixed16, CellRef::Bytes(bytes)) => {
            Cell::Fixed16(<[u8; 16]>::try_from(bytes).map_err(|_| wrong())?)
        }
        (ColumnKind::Bytes | ColumnKind::Password, CellRef::Bytes(bytes)) => Cell::Bytes(bytes.into()),
        _ => return Err(wrong()),
    })
}
