//! The watermark, and versions that are swapped while readers pin them.

use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use loom::sync::atomic::{AtomicU64, AtomicUsize};
use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::watermark::Watermark;
use crate::{Seq, Signal, every_order};

#[test]
fn who_waits_for_a_seq_is_woken() {
    every_order(|| {
        let watermark = Arc::new(Watermark::new(Seq(0)));
        let raising = Arc::clone(&watermark);
        let leader = thread::spawn(move || {
            raising.raise(Seq(1));
            raising.raise(Seq(2));
        });
        let woken = Arc::new(Signal::new());
        let wake = Arc::clone(&woken);
        watermark.wait_for(Seq(2), Box::new(move || wake.give()));
        woken.wait();
        assert_eq!(watermark.seq(), Seq(2));
        leader.join().unwrap();
    });
}

#[test]
fn what_is_visible_was_applied_and_never_sinks() {
    every_order(|| {
        let (watermark, applied) = (Arc::new(Watermark::new(Seq(0))), Arc::new(AtomicU64::new(0)));
        let (raising, applying) = (Arc::clone(&watermark), Arc::clone(&applied));
        let leader = thread::spawn(move || {
            for seq in 1..=2 {
                applying.store(seq, Relaxed);
                raising.raise(Seq(seq));
            }
        });
        let first = watermark.seq();
        assert!(applied.load(Relaxed) >= first.0);
        assert!(watermark.seq() >= first);
        leader.join().unwrap();
    });
}

/// A version: what is flushed, the memtable that takes commits, the one that is being flushed.
#[derive(Clone, Copy)]
struct Version {
    flushed: u64,
    active: usize,
    frozen: Option<usize>,
}

/// A pool with two memtables, of which only the newest Seq in them is kept. Versions are made ahead,
/// so that one is published by its number: released and acquired, as `ArcSwap` does, and no more.
struct Pool {
    watermark: Watermark,
    version: AtomicUsize,
    tables: [AtomicU64; 2],
    log: Mutex<u64>,
}

impl Pool {
    /// The first version; the one while Seqs up to `flushed` are flushed; the one after.
    fn version(&self) -> Version {
        let number = self.version.load(Acquire);
        let flushed = (number >> 2) as u64;
        match number & 3 {
            0 => Version { flushed, active: 0, frozen: None },
            1 => Version { flushed, active: 1, frozen: Some(0) },
            _ => Version { flushed, active: 1, frozen: None },
        }
    }

    /// As the leader does: numbers, applies, raises, holding the log.
    fn commit(&self) {
        let mut seq = self.log.lock().unwrap();
        *seq += 1;
        self.tables[self.version().active].store(*seq, Relaxed);
        self.watermark.raise(Seq(*seq));
    }

    /// As a flush does: freezes between two batches, installs when it has written.
    fn flush(&self) {
        let seq = {
            let _log = self.log.lock().unwrap();
            self.version.store(1, Release);
            self.watermark.seq().0
        };
        self.version.store(2 | (seq as usize) << 2, Release);
    }

    /// As a reader does. The version holds everything up to the Seq, and the runs nothing beyond it.
    fn read(&self) {
        let (seq, version) = self.watermark.pin(|| self.version(), |version, seq| version.flushed <= seq.0);
        assert!(version.flushed <= seq.0);
        let table = |at: usize| self.tables[at].load(Relaxed);
        let newest = version.flushed.max(table(version.active)).max(version.frozen.map_or(0, table));
        assert!(newest >= seq.0, "pinned {seq:?}, but the version holds {newest}");
    }
}

#[test]
fn a_pinned_version_holds_what_its_seq_says() {
    every_order(|| {
        let pool = Arc::new(Pool {
            watermark: Watermark::new(Seq(0)),
            version: AtomicUsize::new(0),
            tables: [AtomicU64::new(0), AtomicU64::new(0)],
            log: Mutex::new(0),
        });
        let (leader, flusher) = (Arc::clone(&pool), Arc::clone(&pool));
        let commits = thread::spawn(move || {
            leader.commit();
            leader.commit();
        });
        let flush = thread::spawn(move || flusher.flush());
        pool.read();
        commits.join().unwrap();
        flush.join().unwrap();
        pool.read();
        assert_eq!(pool.watermark.seq(), Seq(2));
    });
}
