//! Up to where a pool is visible, who waits for more, and how a reader pins a version that fits.
//!
//! Invariants, tried in every order of events by `tests/loom`:
//! 1. Who sees a Seq sees everything that was applied before it was raised to that.
//! 2. Who waits for a Seq is woken once it is visible, however the two come together.
//! 3. A pinned version holds every transaction up to the pinned Seq, and nothing that is flushed or
//!    published is past it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Acquire, Release};

use stoa_format::Seq;

use crate::sync::{AtomicU64, Mutex, yield_now};

type Wake = Box<dyn FnOnce() + Send>;

/// The newest visible Seq.
pub(crate) struct Watermark {
    visible: AtomicU64,
    waiters: Mutex<Vec<(Seq, Wake)>>,
}

impl Watermark {
    /// Everything up to `seq` is visible.
    pub(crate) fn new(seq: Seq) -> Self {
        Self { visible: AtomicU64::new(seq.0), waiters: Mutex::new(Vec::new()) }
    }

    /// The newest visible Seq.
    pub(crate) fn seq(&self) -> Seq {
        Seq(self.visible.load(Acquire))
    }

    /// Makes everything up to `seq`, which is applied, visible, and wakes who waits for it.
    pub(crate) fn raise(&self, seq: Seq) {
        self.visible.fetch_max(seq.0, Release);
        self.wake(seq);
    }

    /// Calls `wake` once `seq` is visible; at once if it is.
    pub(crate) fn wait_for(&self, seq: Seq, wake: Wake) {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner).push((seq, wake));
        // It may have become visible before this one was noted.
        self.wake(self.seq());
    }

    fn wake(&self, visible: Seq) {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if waiters.is_empty() {
            return;
        }
        let (ready, waiting): (Vec<_>, Vec<_>) = waiters.drain(..).partition(|(wanted, _)| *wanted <= visible);
        *waiters = waiting;
        drop(waiters);
        ready.into_iter().for_each(|(_, wake)| wake());
    }

    /// Pins the newest visible Seq and a version that fits: one that is loaded after the Seq was
    /// read, and that holds nothing beyond it but what can be told apart.
    pub(crate) fn pin<V>(&self, load: impl Fn() -> V, fits: impl Fn(&V, Seq) -> bool) -> (Seq, V) {
        loop {
            // In this order: a version that is loaded later holds everything up to an earlier Seq,
            // unless a flush, or a schema that is just being published, went past it in between.
            let seq = self.seq();
            let version = load();
            if fits(&version, seq) {
                return (seq, version);
            }
            yield_now();
        }
    }
}
