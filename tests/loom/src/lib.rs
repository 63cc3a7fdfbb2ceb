//! The engine's protocols between threads, compiled from the engine's own files with loom's mutexes,
//! condition variables and atomics, and tried in every order of events that the memory model of C11
//! allows (within a bound of preemptions): the hand-off of commits, the answers to them, the watermark, and the
//! pinning of a version while others are swapped in.
//!
//! `make test-loom` runs it: `RUSTFLAGS="--cfg loom" cargo test -p stoa-loom --target-dir target/loom`.
//! A crate of its own, so that loom's flag recompiles loom alone and not the engine's dependencies.
#![cfg(all(loom, test))]
#![allow(dead_code, reason = "the engine uses more of its files than these tests do")]

extern crate self as stoa_format;

/// What the engine's files take for `stoa_format::Seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seq(
    /// The number.
    pub u64,
);

/// What the engine's files take for `crate::sync`.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64};
    pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
    pub(crate) use loom::thread::{Thread, current, park, yield_now};
}

#[path = "../../../engine/src/commit/handoff.rs"]
mod handoff;
#[path = "../../../engine/src/commit/promise.rs"]
mod promise;
#[path = "../../../engine/src/pool/watermark.rs"]
mod watermark;

mod handoff_tests;
mod promise_tests;
mod watermark_tests;

/// What one thread waits for and another gives; loom's own `Notify` may wake for nothing.
struct Signal {
    given: loom::sync::Mutex<bool>,
    changed: loom::sync::Condvar,
}

impl Signal {
    fn new() -> Self {
        Self { given: loom::sync::Mutex::new(false), changed: loom::sync::Condvar::new() }
    }

    fn give(&self) {
        *self.given.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut given = self.given.lock().unwrap();
        while !*given {
            given = self.changed.wait(given).unwrap();
        }
    }
}

/// Tries every order of events with at most so many preemptions; with more, runs take hours.
fn every_order(test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(test);
}
