//! Erasure: what deleted users have left in files, log and history is gone before it is due.
//!
//! Invariants:
//! 1. A deletion that is durable is known to be pending: from the manifest, or from the frame that is replayed.
//!    It is struck off by the manifest that names nothing any more which may hold its values.
//! 2. *Files*: everything is flushed, and then every file is written anew that is older than that flush, columns
//!    without the dead and indexes down to the oldest key, so that tombstones (which hold values too) go. No file
//!    is struck off that is still on disk.
//! 3. *Frames*, wherever they stand, the log's recycled segments among them, cannot be opened once no manifest has
//!    their period's key. Those before `frames_from` are given up for that: the change feed says `EXPIRED`.
//! 4. The first period's key stands in the log too, with the pool's creation. So a pool's first erasure removes the
//!    log's segments themselves.
//! 5. A store does this by itself from half of `erase_within` on; a failure is told by the pool and tried again.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use stoa_format::erasure::{ERASURE_DOCUMENT, Erasure, PendingErasure};
use stoa_format::manifest::ManifestBody;
use stoa_format::{FileId, Seq};

use super::compaction::{Aim, Progress};
use super::install::Change;
use super::{Shared, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::Pool;
use crate::pool::open::{OpenPool, lock};
use crate::pool::snapshot::damaged;

/// Deletions within this part of `erase_within` are erased together: one in so many.
const TOGETHER_PART: u64 = 32;
/// How often a store looks for what is due, at most.
const LOOK_EVERY_MS: u64 = 60_000;
/// No more pending deletions than these are told apart.
const PENDING_MAX: usize = 64;
/// After a failure a pool is left alone for so long.
const RETRY_AFTER_MS: u64 = 600_000;
/// So many closed pools are looked at at once, which were never open since the start.
const UNKNOWN_AT_ONCE: usize = 64;

/// An open pool's erasures.
#[derive(Default)]
pub(crate) struct Erasures {
    /// As the next manifest has it.
    pub state: Erasure,
    /// The last of the pending is being erased: later deletions begin another.
    closed: bool,
    /// Up to which deletion files are written anew already, and from which file id on.
    rewritten: Option<(Seq, FileId)>,
    /// The next manifest strikes off the deletions up to there, if it names no key of their frames any more.
    striking: Option<(Seq, FileId)>,
    /// It is not tried again before this.
    again_ms: u64,
}

impl Erasures {
    /// Those of a manifest.
    ///
    /// # Errors
    /// `DAMAGED` if they are malformed.
    pub(crate) fn of(body: &ManifestBody) -> Result<Self> {
        let content = body.documents.iter().find(|(name, _)| name == ERASURE_DOCUMENT).map(|(_, content)| content);
        let state = content.map(|content| Erasure::decode(content).map_err(|fault| damaged(&fault))).transpose()?;
        Ok(Self { state: state.unwrap_or_default(), ..Self::default() })
    }

    /// Enters itself in the next manifest, which has its periods already.
    pub(super) fn enter(&self, body: &mut ManifestBody) {
        let mut state = self.state.clone();
        if let Some((up_to, files_from)) = self.striking
            && body.periods.first().is_some_and(|period| period.first_seq > up_to)
        {
            strike(&mut state, up_to, files_from);
        }
        body.documents.retain(|(name, _)| name != ERASURE_DOCUMENT);
        if state != Erasure::default() {
            body.documents.push((ERASURE_DOCUMENT.to_owned(), state.encode()));
        }
    }

    /// Notes that a user was deleted at `seq`, at that time.
    pub(crate) fn note(&mut self, time_ms: u64, seq: Seq, within_ms: u64) {
        let due_ms = time_ms.saturating_add(within_ms);
        let is_full = self.state.pending.len() >= PENDING_MAX;
        match self.state.pending.last_mut() {
            // Replayed, and in the manifest already.
            Some(last) if seq <= last.last_seq => {}
            None if seq <= self.state.erased_seq => {}
            Some(last)
                if !self.closed && (due_ms.saturating_sub(last.due_ms) <= within_ms / TOGETHER_PART || is_full) =>
            {
                last.due_ms = last.due_ms.min(due_ms);
                last.last_seq = seq;
            }
            _ => {
                self.closed = false;
                self.state.pending.push(PendingErasure { due_ms, last_seq: seq });
            }
        }
    }

    /// When the next values must be gone.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.state.pending.iter().map(|pending| pending.due_ms).min()
    }
}

impl Store {
    /// Erases what deleted users have left wherever that is due within half of `erase_within`. A store with
    /// threads does so by itself, about once a minute. A pool that fails says so in its state.
    pub fn erase_due(&self) {
        self.shared.erase_due();
    }
}

impl Pool {
    /// What was erased of the pool, and which deletions are still to be.
    pub fn erasure(&self) -> Erasure {
        lock(&self.open.erasures).state.clone()
    }
}

impl Shared {
    /// How often to look for what is due.
    pub(super) fn erasure_look_ms(&self) -> u64 {
        (self.limits.erase_within_ms / 8).clamp(1000, LOOK_EVERY_MS)
    }

    /// Sees to every pool whose erasure is due.
    pub(crate) fn erase_due(self: &Arc<Self>) {
        // Without threads the log may wait to be shortened, which keeps it from being purged.
        self.run_deferred();
        let mut unknown = 0;
        for slot in self.all_slots() {
            if self.is_closed() {
                return;
            }
            if !slot.knows_erasure() {
                unknown += 1;
                if unknown > UNKNOWN_AT_ONCE {
                    continue;
                }
            }
            let now_ms = self.io.now_ms();
            let from_ms = |due_ms: u64| due_ms.saturating_sub(self.limits.erase_within_ms / 2);
            // A pool that does not open says so to whoever asks for it; its deletions stay pending.
            let Ok(Some(due_ms)) = slot.erasure_due_ms(self) else { continue };
            if now_ms < from_ms(due_ms) {
                continue;
            }
            let Ok(pool) = slot.open(self) else { continue };
            if now_ms < lock(&pool.erasures).again_ms {
                continue;
            }
            if let Err(error) = pool.erase() {
                lock(&pool.erasures).again_ms = now_ms + RETRY_AFTER_MS;
                lock(&pool.trouble).get_or_insert(error);
            }
        }
        self.close_idle_pools();
    }
}

impl OpenPool {
    /// Erases what the users have left who are deleted by now. Answers whether it is done: while a reader holds an
    /// old file it is not.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`, `NOSPACE`, `TRYAGAIN`; then it stays pending.
    pub(crate) fn erase(self: &Arc<Self>) -> Result<bool> {
        let (up_to, rewritten) = {
            let mut erasures = lock(&self.erasures);
            let Some(last) = erasures.state.pending.last().copied() else { return Ok(true) };
            match erasures.rewritten {
                Some((up_to, files_from)) => (up_to, Some(files_from)),
                None => {
                    erasures.closed = true;
                    (last.last_seq, None)
                }
            }
        };
        let files_from = match rewritten {
            Some(files_from) => files_from,
            None => {
                let files_from = self.rewrite_old_files()?;
                lock(&self.erasures).rewritten = Some((up_to, files_from));
                files_from
            }
        };
        if lock(&self.erasures).due_ms().is_some_and(|due_ms| due_ms <= self.now_ms() + self.shared.erasure_look_ms()) {
            // Whoever lists still is told that the listing has expired.
            lock(&self.leases).end_all();
        }
        if self.has_files_below(files_from)? {
            if self.version.load().runs.files.iter().any(|(file, _)| file.id < files_from) {
                lock(&self.erasures).rewritten = None;
            }
            return Ok(false);
        }
        self.give_up_frames(up_to)?;
        if lock(&self.erasures).state.erased_seq == Seq(0) {
            self.shared.purge_log()?;
        }
        self.strike_off(up_to, files_from)?;
        Ok(true)
    }

    /// Flushes, and writes every file anew that is older. Answers the file id from which on files are rid of all
    /// who were dead before.
    fn rewrite_old_files(self: &Arc<Self>) -> Result<FileId> {
        // A merge that began before the flush would carry the dead into a new file.
        let _compacting = lock(&self.compacting);
        self.flush()?;
        let files_from = {
            // Whoever writes a file of an older state to install it holds this from before until after.
            let _flushing = lock(&self.flushing);
            FileId(self.next_file_id.load(Relaxed))
        };
        self.compact_once(Aim::Erase(files_from), &Progress::default())?;
        match self.version.load().runs.files.iter().any(|(file, _)| file.id < files_from) {
            false => Ok(files_from),
            true => Err(Error::new(ErrorKind::TryAgain, "files were installed while old ones were written anew")),
        }
    }

    /// Lets go of the frames up to `up_to`, and of as many more as share their keys.
    fn give_up_frames(self: &Arc<Self>, up_to: Seq) -> Result<()> {
        // A period's frames end before the first Seq of the period after next.
        let ends_before = || {
            let checkpoint = lock(&self.checkpoint);
            let mut later = checkpoint.periods.iter().filter(|period| period.first_seq > up_to);
            later.nth(1).map(|period| period.first_seq)
        };
        let frames_from = loop {
            if let Some(seq) = ends_before() {
                break seq;
            }
            let _flushing = lock(&self.flushing);
            self.settle_installs()?;
            self.install(Change::default())?;
        };
        self.flush()?;
        let _flushing = lock(&self.flushing);
        let flushed_seq = lock(&self.checkpoint).flushed_seq;
        let unflushed = || Error::new(ErrorKind::TryAgain, "frames that are to be erased are not flushed yet");
        if flushed_seq.0 + 1 < frames_from.0 {
            return Err(unflushed());
        }
        // Before a file goes that is not missed then.
        {
            let mut erasures = lock(&self.erasures);
            erasures.state.frames_from = erasures.state.frames_from.max(frames_from);
        }
        self.settle_installs()?;
        self.install(Change::default())?;
        let mut frames = lock(&self.frames);
        let mut history = lock(&self.history);
        let mut removes = false;
        while let Some(oldest) = history.front().filter(|oldest| oldest.first_seq < frames_from) {
            if oldest.last_seq > flushed_seq {
                return Err(unflushed());
            }
            let path = oldest.path(&self.dir);
            let removed = self.shared.io.remove_file(&path);
            if let Err(source) = removed.or_else(|source| match source.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(source),
            }) {
                return Err(crate::wal::io_error("removing", &path, source));
            }
            history.pop_front();
            removes = true;
        }
        if removes {
            let dir = self.dir.join("history");
            self.shared.io.sync_dir(&dir).map_err(|source| crate::wal::io_error("syncing", &dir, source))?;
        }
        frames.retain(|frame| frame.first_seq >= frames_from);
        Ok(())
    }

    /// Writes the manifest that has no key of what is erased, and says that it is.
    fn strike_off(self: &Arc<Self>, up_to: Seq, files_from: FileId) -> Result<()> {
        let _flushing = lock(&self.flushing);
        self.settle_installs()?;
        lock(&self.erasures).striking = Some((up_to, files_from));
        let installed = self.install(Change::default());
        let entered = Erasures::of(&lock(&self.checkpoint));
        let mut erasures = lock(&self.erasures);
        erasures.striking = None;
        installed?;
        if entered?.state.erased_seq < up_to {
            return Err(Error::new(ErrorKind::TryAgain, "a key of frames that are to be erased is still needed"));
        }
        erasures.rewritten = None;
        strike(&mut erasures.state, up_to, files_from);
        Ok(())
    }
}

/// Notes that what was deleted up to there is erased.
fn strike(state: &mut Erasure, up_to: Seq, files_from: FileId) {
    state.pending.retain(|pending| pending.last_seq > up_to);
    state.erased_seq = state.erased_seq.max(up_to);
    state.files_from = state.files_from.max(files_from);
}

#[cfg(test)]
mod tests;
