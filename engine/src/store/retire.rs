//! Letting the log move on: what its oldest segments hold is flushed, or copied beside the pool's
//! files without a key, and the segments are given up.
//!
//! Invariants:
//! 1. A segment is given up only when every frame in it is in a history file or its pool's manifest,
//!    and the catalogue's checkpoint holds everything that its catalogue frames say.
//! 2. No pool holds up another: one that cannot be flushed is parked, which needs no key.
//! 3. All of this happens off the commit path; the log is held only to read and change its list.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use stoa_format::{SegmentNumber, Seq};

use super::install::make_durable_dir;
use super::slots::PoolSlot;
use super::{Shared, history};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::open::{PoolFrame, lock};
use crate::wal::{LiveSegment, Spare, io_error, segment_path};

/// A pool with so many bytes that are not flushed is worth files of its own.
const WORTH_BYTES: u64 = 1 << 20;
/// So are as many transactions.
const WORTH_TRANSACTIONS: u64 = 10_000;
/// On a full disk the log is kept to so many segments.
const SEGMENTS_FULL: usize = 2;
/// After a failure it is tried again after so long.
const RETRY_AFTER_MS: u64 = 5_000;

impl Shared {
    /// Lets the log move on in the background if it has grown too long. Called with the log's
    /// number of segments, after a commit.
    pub(crate) fn watch_log(&self, segments: usize) {
        if segments <= self.segments_max()
            || self.io.now_ms() < self.retire_again_ms.load(Relaxed)
            || self.retiring.swap(true, Relaxed)
        {
            return;
        }
        let Some(shared) = self.this.upgrade() else { return };
        let job = Box::new(move || {
            if shared.on_reserve(|| shared.retire()).is_err() {
                shared.retire_again_ms.store(shared.io.now_ms() + RETRY_AFTER_MS, Relaxed);
            }
            shared.retiring.store(false, Relaxed);
            shared.look_for_room();
        });
        match self.has_threads() {
            true => self.on_retirement_thread(job),
            false => self.later(job),
        }
    }

    fn segments_max(&self) -> usize {
        let most = self.limits.log_segments_max.max(1);
        if self.reserve.is_given_back() { most.min(SEGMENTS_FULL) } else { most }
    }

    /// Gives up the oldest segments of a log that has too many.
    ///
    /// # Errors
    /// `IOERROR`, `NOSPACE`, `DAMAGED`; then the log keeps its segments.
    pub(crate) fn retire(self: &Arc<Self>) -> Result<()> {
        let most = self.segments_max();
        let boundary = {
            let log = self.pipeline.log();
            if let Some(failed) = log.failure() {
                return Err(failed.clone());
            }
            let numbers: Vec<SegmentNumber> = log.segments().map(|segment| segment.number).collect();
            if numbers.len() <= most {
                return Ok(());
            }
            // Several at once: each costs a look at every pool.
            let kept = (most - most / 4).max(1);
            numbers[numbers.len() - kept]
        };
        self.retire_before(boundary, true)
    }

    /// Begins a new segment and removes all others: whatever they held is not even in a recycled file. What is
    /// not flushed or is wanted for a change feed is copied first.
    ///
    /// # Errors
    /// `TRYAGAIN` while the log is being shortened, and as [`Shared::retire`].
    pub(super) fn purge_log(self: &Arc<Self>) -> Result<()> {
        if self.retiring.swap(true, Relaxed) {
            return Err(Error::new(ErrorKind::TryAgain, "the log is being shortened: try again in a moment"));
        }
        let rolled = {
            let mut log = self.pipeline.log();
            log.roll().map(|()| log.segments().last().map_or(SegmentNumber(0), |segment| segment.number))
        };
        let purged = rolled.and_then(|boundary| self.retire_before(boundary, false));
        self.retiring.store(false, Relaxed);
        purged
    }

    fn retire_before(self: &Arc<Self>, boundary: SegmentNumber, recycle: bool) -> Result<()> {
        let mut pruned = Vec::new();
        for slot in self.all_slots() {
            if self.retire_pool(&slot, boundary)? {
                pruned.push(slot);
            }
        }
        // What the checkpoint does not miss any more may go, and nothing before it is durable.
        self.log_from.fetch_max(boundary.0, Relaxed);
        self.checkpoint()?;
        self.remove_segments(boundary, recycle)?;
        pruned.iter().try_for_each(|slot| slot.prune(self))
    }

    /// Sees to it that the pool needs no frame in segments before `boundary`. Answers whether it has history files to
    /// remove after the next checkpoint.
    fn retire_pool(self: &Arc<Self>, slot: &Arc<PoolSlot>, boundary: SegmentNumber) -> Result<bool> {
        let frames = slot.frames();
        if frames.first().is_none_or(|frame| frame.place.segment >= boundary) {
            return Ok(false);
        }
        if self.is_worth_flushing(slot, &frames) {
            // Where that cannot be, the frames are parked like those of a small pool.
            let _ = slot.open(self).and_then(|pool| {
                if pool.flush()? {
                    self.want_compaction(&pool);
                }
                Ok(())
            });
        }
        // The pool is not dropped meanwhile.
        let _changing = lock(&self.changing_pools);
        slot.relocate(self, boundary)
    }

    fn is_worth_flushing(&self, slot: &PoolSlot, frames: &[PoolFrame]) -> bool {
        let flushed_seq = slot.flushed_seq(self);
        let unflushed = frames.iter().filter(|frame| frame.last_seq > flushed_seq);
        let bytes: u64 = unflushed.clone().map(|frame| u64::from(frame.place.len)).sum();
        let first = unflushed.map(|frame| frame.first_seq).next();
        let last = frames.last().map_or(Seq(0), |frame| frame.last_seq);
        let memory = slot.opened().map_or(0, |pool| pool.memtable_bytes());
        bytes.max(memory) >= WORTH_BYTES
            || first.is_some_and(|first| last.0.saturating_sub(first.0) >= WORTH_TRANSACTIONS)
    }

    /// Copies frames into history files; answers those files. Nothing is copied that nobody wants.
    pub(super) fn relocate(
        &self,
        id: stoa_format::PoolId,
        frames: &[PoolFrame],
        flushed_seq: Seq,
    ) -> Result<Vec<history::HistoryFile>> {
        let is_wanted = |frame: &&PoolFrame| frame.last_seq > flushed_seq;
        if self.limits.history_bytes == 0 && !frames.iter().any(|frame| is_wanted(&frame)) {
            return Ok(Vec::new());
        }
        let dir = self.pool_dir(id);
        make_durable_dir(&*self.io, &self.data, &dir.join("history"))?;
        history::copy(&*self.io, &self.wal_dir(), id, &dir, frames)
    }

    /// Removes the segments before `boundary`, oldest first and each durably: what is left is a log without
    /// a gap, whenever this ends, and where it ends early the next time begins with the same one. As many as the log
    /// will have next are kept for that: to overwrite a file is cheaper than to write zeroes into a new one first.
    fn remove_segments(&self, boundary: SegmentNumber, recycle: bool) -> Result<()> {
        let dir = self.wal_dir();
        loop {
            let Some(segment) = self.pipeline.log().oldest_before(boundary) else { return Ok(()) };
            let path = segment_path(&dir, segment.number);
            if !(recycle && self.recycle(&segment)) {
                let removed = self.io.remove_file(&path).or_else(|source| match source.kind() {
                    // Gone already, but perhaps not durably.
                    std::io::ErrorKind::NotFound => Ok(()),
                    _ => Err(source),
                });
                removed.map_err(|source| io_error("removing", &path, source))?;
                self.io.sync_dir(&dir).map_err(|source| io_error("syncing", &dir, source))?;
            }
            self.pipeline.log().forget(segment.number);
        }
    }

    fn recycle(&self, segment: &LiveSegment) -> bool {
        {
            let log = self.pipeline.log();
            let current = log.segments().last().map_or(0, |last| last.bytes);
            // The one that goes now is still among them: together they are one more than the log's most.
            let is_enough = log.spares() > 0 && log.spares() + log.segments().len() > self.segments_max() + 1;
            if is_enough || segment.bytes < current {
                return false;
            }
        }
        let dir = self.wal_dir();
        let spare = Spare::recycle(&*self.io, &dir, &segment_path(&dir, segment.number), segment.bytes);
        spare.map(|spare| self.pipeline.log().put_spare(spare)).is_ok()
    }
}
