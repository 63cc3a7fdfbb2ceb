//! What the protocols between threads are made of. `tests/loom` compiles the same protocols with
//! loom's versions in place of these, and tries every way in which threads can take turns.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64};
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};
pub(crate) use std::thread::{Thread, current, park, yield_now};
