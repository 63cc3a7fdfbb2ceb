//! A pool that may or may not be open. Closed it costs its name, its id and where its frames are.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, RwLockReadGuard};

use bytes::Bytes;
use stoa_format::store::{CatalogueEntry, LeftFrames};
use stoa_format::wal::InnerShell;
use stoa_format::{PoolId, SegmentNumber, Seq};

use super::Shared;
use super::erase::Erasures;
use super::history::{self, HistoryFile};
use crate::commit::sequence::next_chain;
use crate::error::{Error, ErrorKind, Result};
use crate::io::read_whole;
use crate::manifest;
use crate::memtable::Gathered;
use crate::pool::open::{OpenPool, PoolFrame, lock};
use crate::wal::{Frames, io_error};

/// No manifest is greater: it lists files and live users.
pub(super) const MANIFEST_MAX_BYTES: u64 = 1 << 30;

/// A pool's place in the store.
pub(crate) struct PoolSlot {
    pub id: PoolId,
    pub name: Box<str>,
    /// The last Seq whose frame has left the log; 0 if none has.
    left_log: AtomicU64,
    /// The first Seq whose frame is kept in a history file, or is about to be: files before it are removed once a
    /// checkpoint of the catalogue says so.
    kept_from: AtomicU64,
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    open: Option<Arc<OpenPool>>,
    /// Frames found at recovery, or left when the pool was closed.
    frames: Vec<PoolFrame>,
    dropped: bool,
    /// When the closed pool's next erasure is due; the outer `None` where nobody has looked yet.
    erasure_due_ms: Option<Option<u64>>,
}

impl PoolSlot {
    pub(crate) fn new(entry: &CatalogueEntry, frames: Vec<PoolFrame>, left: Option<&LeftFrames>) -> Arc<Self> {
        let state = SlotState { frames, ..SlotState::default() };
        Arc::new(Self {
            id: entry.id,
            name: entry.name.as_str().into(),
            left_log: AtomicU64::new(left.map_or(0, |left| left.up_to.0)),
            kept_from: AtomicU64::new(left.map_or(0, |left| left.kept_from.0)),
            state: Mutex::new(state),
        })
    }

    /// What of the pool's frames has left the log, for the catalogue's checkpoint.
    pub(super) fn left_frames(&self) -> Option<LeftFrames> {
        let up_to = Seq(self.left_log.load(Relaxed));
        let kept_from = Seq(self.kept_from.load(Relaxed));
        (up_to > Seq(0)).then_some(LeftFrames { pool: self.id, kept_from, up_to })
    }

    /// The open pool, if it is open.
    pub(crate) fn opened(&self) -> Option<Arc<OpenPool>> {
        lock(&self.state).open.clone()
    }

    /// The frames that the pool would need to be opened, oldest first.
    pub(crate) fn frames(&self) -> Vec<PoolFrame> {
        let state = lock(&self.state);
        match &state.open {
            Some(open) => lock(&open.frames).iter().copied().collect(),
            None => state.frames.clone(),
        }
    }

    /// Opens the pool: manifest, then every frame after it.
    pub(crate) fn open(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<Arc<OpenPool>> {
        let mut state = lock(&self.state);
        if state.dropped {
            return Err(super::no_pool());
        }
        if let Some(open) = &state.open {
            open.last_use_ms.store(shared.io.now_ms(), std::sync::atomic::Ordering::Relaxed);
            return Ok(Arc::clone(open));
        }
        let open = Arc::new(self.load(shared, &state.frames)?);
        state.frames = Vec::new();
        state.open = Some(Arc::clone(&open));
        lock(&shared.opened).insert(self.id, Arc::clone(self));
        Ok(open)
    }

    /// Closes the pool if nobody holds it; its frames stay where they are.
    pub(crate) fn close_if_idle(&self, shared: &Shared) {
        let mut state = lock(&self.state);
        if let Some(open) = state.open.take_if(|open| Arc::strong_count(open) == 1) {
            state.frames = lock(&open.frames).iter().copied().collect();
            state.erasure_due_ms = Some(lock(&open.erasures).due_ms());
            lock(&shared.opened).remove(&self.id);
        }
    }

    /// Whether it costs nothing to say when the next erasure is due.
    pub(super) fn knows_erasure(&self) -> bool {
        let state = lock(&self.state);
        state.open.is_some() || state.erasure_due_ms.is_some()
    }

    /// When the next erasure is due, if any is.
    ///
    /// # Errors
    /// As opening the pool.
    pub(super) fn erasure_due_ms(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<Option<u64>> {
        let is_unflushed = {
            let state = lock(&self.state);
            match (&state.open, state.erasure_due_ms) {
                (Some(open), _) => return Ok(lock(&open.erasures).due_ms()),
                (None, Some(known)) => return Ok(known),
                (None, None) => state.frames.iter().map(|frame| frame.last_seq).max(),
            }
        };
        if is_unflushed.is_some_and(|last| last > self.flushed_seq(shared)) {
            // What the log alone has is known by replaying it.
            return Ok(lock(&self.open(shared)?.erasures).due_ms());
        }
        let entry = lock(&shared.catalogue).pools.get(&self.id).cloned().ok_or_else(super::no_pool)?;
        let bytes = self.manifest_bytes(shared, &entry)?;
        let due_ms = Erasures::of(&manifest::decode(&bytes, self.id, &*shared.provider)?.body)?.due_ms();
        lock(&self.state).erasure_due_ms = Some(due_ms);
        Ok(due_ms)
    }

    /// What is known to be flushed.
    pub(super) fn flushed_seq(&self, shared: &Shared) -> Seq {
        match self.opened() {
            Some(pool) => lock(&pool.checkpoint).flushed_seq,
            None => lock(&shared.catalogue).pools.get(&self.id).map_or(Seq(0), |entry| entry.flushed_seq),
        }
    }

    /// Copies the frames in segments before `boundary` into history files, and forgets their places. Answers whether
    /// there are history files to remove once a checkpoint says so: see [`PoolSlot::prune`].
    pub(super) fn relocate(&self, shared: &Shared, boundary: SegmentNumber) -> Result<bool> {
        let dir = shared.pool_dir(self.id);
        let flushed_seq = self.flushed_seq(shared);
        let is_old = |frame: &PoolFrame| frame.place.segment < boundary;
        let mut state = lock(&self.state);
        if state.dropped {
            return Ok(false);
        }
        if let Some(pool) = state.open.clone() {
            // Held here, the pool is not closed; its readers need not wait for the copying.
            drop(state);
            let old: Vec<PoolFrame> = lock(&pool.frames).iter().copied().filter(is_old).collect();
            let written = shared.relocate(self.id, &old, flushed_seq)?;
            let mut frames = lock(&pool.frames);
            let mut history = lock(&pool.history);
            let is_copied = !written.is_empty();
            history.extend(written);
            frames.retain(|frame| !is_old(frame));
            return Ok(self.note_left(shared, &old, is_copied, &history, flushed_seq));
        }
        let mut files = history::list(&*shared.io, &dir)?;
        let copied = files.back().map_or(Seq(0), |file| file.last_seq);
        let is_new = |frame: &PoolFrame| is_old(frame) && frame.last_seq > copied;
        let old: Vec<PoolFrame> = state.frames.iter().copied().filter(is_new).collect();
        let written = shared.relocate(self.id, &old, flushed_seq)?;
        let is_copied = !written.is_empty();
        files.extend(written);
        state.frames.retain(|frame| !is_old(frame));
        Ok(self.note_left(shared, &old, is_copied, &files, flushed_seq))
    }

    /// Notes that these frames have left the log, and which history files are kept.
    fn note_left(
        &self,
        shared: &Shared,
        old: &[PoolFrame],
        is_copied: bool,
        files: &VecDeque<HistoryFile>,
        flushed_seq: Seq,
    ) -> bool {
        let left = old.last().map_or(0, |frame| frame.last_seq.0);
        let kept_from = match is_copied || left == 0 {
            true => history::kept_from(files, flushed_seq, shared.limits.history_bytes).map_or(0, |seq| seq.0),
            // Nobody wants them: what is older goes too, so that no gap is left.
            false => left + 1,
        };
        self.kept_from.fetch_max(kept_from, Relaxed);
        self.left_log.fetch_max(files.back().map_or(left, |file| left.max(file.last_seq.0)), Relaxed);
        files.front().is_some_and(|oldest| oldest.last_seq.0 < self.kept_from.load(Relaxed))
    }

    /// Removes the history files that the newest checkpoint no longer wants.
    pub(super) fn prune(&self, shared: &Shared) -> Result<()> {
        let dir = shared.pool_dir(self.id);
        let kept_from = Seq(self.kept_from.load(Relaxed));
        let state = lock(&self.state);
        match &state.open {
            _ if state.dropped => {}
            Some(pool) => history::prune(&*shared.io, &dir, &mut lock(&pool.history), kept_from),
            None => history::prune(&*shared.io, &dir, &mut history::list(&*shared.io, &dir)?, kept_from),
        }
        Ok(())
    }

    /// Lets go of the pool, whoever holds it.
    pub(crate) fn close(&self, shared: &Shared) {
        let mut state = lock(&self.state);
        state.open = None;
        lock(&shared.opened).remove(&self.id);
    }

    pub(crate) fn drop_pool(&self, shared: &Shared) {
        let mut state = lock(&self.state);
        state.dropped = true;
        state.open = None;
        lock(&shared.opened).remove(&self.id);
        state.frames = Vec::new();
    }

    fn load(&self, shared: &Arc<Shared>, frames: &[PoolFrame]) -> Result<OpenPool> {
        let entry = lock(&shared.catalogue).pools.get(&self.id).cloned().ok_or_else(super::no_pool)?;
        let bytes = self.manifest_bytes(shared, &entry)?;
        let opened = manifest::decode(&bytes, self.id, &*shared.provider)?;
        if opened.number < entry.manifest_number {
            let what = format!(
                "pool {}: MANIFEST is number {}, but number {} was written: an old copy was put back. Run: stoa verify DIR",
                self.id, opened.number, entry.manifest_number
            );
            return Err(Error::damaged(what));
        }
        if opened.number == entry.manifest_number && number_is_forked(&entry, &bytes) {
            let what = format!(
                "pool {}: MANIFEST is not the number {} that was written: another copy was put in its place. Run: stoa verify DIR",
                self.id, opened.number
            );
            return Err(Error::damaged(what));
        }
        let (number, flushed_seq) = (opened.number, opened.body.flushed_seq);
        let pool = OpenPool::from_manifest(
            Arc::clone(shared),
            self.id,
            self.name.clone(),
            number,
            opened.body,
            opened.keyring,
        )?;
        // A pool that was never flushed has no directory.
        let has_files = shared.io.exists(&pool.dir).map_err(|source| io_error("opening", &pool.dir, source))?;
        let mut history = if has_files { history::list(&*shared.io, &pool.dir)? } else { VecDeque::new() };
        // What is erased is not there, though a log or a file may still have it, sealed under a key that is gone.
        let frames_from = lock(&pool.erasures).state.frames_from;
        while let Some(oldest) = history.front().filter(|oldest| oldest.last_seq < frames_from) {
            // If it cannot be removed, nobody can open it.
            let _ = shared.io.remove_file(&oldest.path(&pool.dir));
            history.pop_front();
        }
        let (left_log, kept_from) = (Seq(self.left_log.load(Relaxed)), Seq(self.kept_from.load(Relaxed)));
        let missing = history::first_missing(&history, kept_from.max(frames_from), left_log);
        if let Some(missing) = missing {
            let behind = history.iter().map(|file| file.first_seq).find(|first| *first > missing);
            let wanted = missing.max(Seq(flushed_seq.0 + 1));
            let is_in_log = frames.iter().any(|frame| (frame.first_seq..=frame.last_seq).contains(&wanted));
            if wanted < behind.unwrap_or(Seq(left_log.0 + 1)) && !is_in_log {
                let what = format!(
                    "pool {}: history/{:016x} (offset 0): is missing. Run: stoa verify DIR",
                    self.id, missing.0
                );
                return Err(Error::damaged(what));
            }
        }
        let mut users = Gathered::default();
        for file in history.iter().filter(|file| file.last_seq > flushed_seq) {
            file.read(&*shared.io, self.id, &pool.dir, |inner, sealed| {
                let damaged = |what: &str| {
                    let first = file.first_seq.0;
                    Error::damaged(format!("pool {}: history/{first:016x}: {what}. Run: stoa verify DIR", self.id))
                };
                replay(&pool, inner, sealed, &mut users, &damaged)
            })?;
        }
        // What was copied is not needed from the log too: a stop came before the segment was given up.
        let copied = history.back().map_or(Seq(0), |file| file.last_seq);
        let frames = frames.iter().filter(|frame| frame.last_seq > copied && frame.last_seq >= frames_from);
        let wal_dir = shared.wal_dir();
        let mut log = Frames::new(&*shared.io, &wal_dir);
        for frame in frames.clone().filter(|frame| frame.last_seq > flushed_seq) {
            replay_from_log(&pool, frame, &mut log, &mut users)?;
        }
        pool.version.load().active.put_all(users);
        if left_log == Seq(0) {
            // No checkpoint knows of them yet.
            self.kept_from.fetch_max(history.front().map_or(0, |file| file.first_seq.0), Relaxed);
        }
        self.left_log.fetch_max(copied.0, Relaxed);
        *lock(&pool.missing_history) = missing;
        *lock(&pool.history) = history;
        lock(&pool.frames).extend(frames.copied());
        pool.adopt_keyring()?;
        if has_files {
            pool.remove_strays();
        }
        Ok(pool)
    }

    fn manifest_bytes(&self, shared: &Shared, entry: &CatalogueEntry) -> Result<Vec<u8>> {
        let path = shared.pool_dir(self.id).join("MANIFEST");
        let there = shared.io.exists(&path).map_err(|source| io_error("reading", &path, source))?;
        match (&entry.first_manifest, there) {
            (_, true) => {
                let bytes = read_whole(&*shared.io, &path, MANIFEST_MAX_BYTES)
                    .map_err(|source| io_error("reading", &path, source))?;
                Ok(bytes)
            }
            (Some(first), false) => Ok(first.clone()),
            (None, false) => {
                Err(Error::damaged(format!("pool {}: MANIFEST is missing. Run: stoa verify DIR", self.id)))
            }
        }
    }
}

/// Whether this manifest is not the one that the catalogue knows under its number.
fn number_is_forked(entry: &CatalogueEntry, bytes: &[u8]) -> bool {
    entry.manifest_number > 0 && manifest::digest(bytes) != Some(entry.manifest_digest)
}

/// Applies one frame of the log to a pool that is being opened.
fn replay_from_log(pool: &OpenPool, frame: &PoolFrame, log: &mut Frames<'_>, users: &mut Gathered) -> Result<()> {
    let damaged = |what: &str| {
        let place = frame.place;
        Error::damaged(format!(
            "pool {}: wal/{:016}.wal offset {}: {what}. Run: stoa verify DIR",
            pool.id, place.segment.0, place.offset
        ))
    };
    let (inner, sealed) =
        InnerShell::decode(log.read(frame.place)?).map_err(|fault| damaged(fault.reason).because(fault))?;
    replay(pool, &inner, sealed, users, &damaged)
}

/// Applies one frame to a pool that is being opened, unless the manifest holds it already; what it says of users is
/// gathered.
fn replay(
    pool: &OpenPool,
    inner: &InnerShell,
    sealed: &[u8],
    users: &mut Gathered,
    damaged: &dyn Fn(&str) -> Error,
) -> Result<()> {
    let mut sequencer = lock(&pool.sequencer);
    if inner.last_seq().0 < sequencer.next_seq {
        return Ok(());
    }
    if inner.first_seq.0 != sequencer.next_seq {
        return Err(damaged("a frame before this one is missing"));
    }
    let key = lock(&pool.keyring).period_key(inner.period);
    let Some(key) = key else { return Err(damaged("the manifest does not name the frame's key")) };
    let mut plain = Vec::new();
    key.open(&inner.associated_data(&sequencer.chain), sealed, &mut plain)
        .map_err(|error| damaged("tag does not match").because(error))?;
    if next_chain(&sequencer.chain, inner, sealed) != inner.chain {
        return Err(damaged("the chain is broken"));
    }
    sequencer.chain = inner.chain;
    sequencer.next_seq = inner.last_seq().0 + 1;
    sequencer.conflicts.restart(inner.last_seq().0);
    drop(sequencer);
    pool.apply_with(inner.first_seq, &Bytes::from(plain), |ordinal, seq, delta| users.put(ordinal, seq, delta))?;
    *lock(&pool.head) = (inner.last_seq(), inner.chain);
    pool.publish(inner.last_seq());
    Ok(())
}

impl Shared {
    /// Pool ids by name.
    pub(super) fn slot_names(&self) -> RwLockReadGuard<'_, std::collections::HashMap<Box<str>, PoolId>> {
        self.names.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Removes what pools that were dropped right before a stop have left on disk.
    pub(super) fn sweep_dropped(&self) {
        let dropped = lock(&self.catalogue).dropped.clone();
        for id in dropped {
            // Where that cannot be, the log tells the next start of it.
            let _ = self.remove_pool_files(id);
        }
    }

    /// Removes what a dropped pool has left on disk: the manifest with the wrapped keys first.
    pub(super) fn remove_pool_files(&self, id: PoolId) -> Result<()> {
        self.remove_dir_of(id)?;
        lock(&self.catalogue).dropped.remove(&id);
        Ok(())
    }

    fn remove_dir_of(&self, id: PoolId) -> Result<()> {
        let dir = self.pool_dir(id);
        if !self.io.exists(&dir).map_err(|source| io_error("removing", &dir, source))? {
            return Ok(());
        }
        let manifest = dir.join("MANIFEST");
        let gone = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(source),
        };
        self.io
            .remove_file(&manifest)
            .or_else(gone)
            .and_then(|()| self.io.sync_dir(&dir))
            .and_then(|()| self.io.remove_dir_all(&dir))
            .and_then(|()| self.io.sync_dir(&self.data.join("pools")))
            .map_err(|source| io_error("removing", &dir, source))
    }

    /// Refuses a write to a pool whose memtables are full, or that is being loaded.
    pub(crate) fn admit(&self, pool: &Arc<OpenPool>) -> Result<()> {
        if pool.loading.load(std::sync::atomic::Ordering::Acquire) {
            let what = "users are being loaded into this pool: try again when that is done";
            return Err(Error::new(ErrorKind::TryAgain, what));
        }
        if pool.memtable_bytes() <= self.limits.memtable_bytes * 4 {
            return Ok(());
        }
        self.want_flush(pool);
        Err(Error::new(ErrorKind::Busy, "too much of this pool waits to be flushed: try again in a moment"))
    }
}
