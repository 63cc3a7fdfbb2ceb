//! The real server under abuse. Whatever is sent: memory stays within what is configured, other
//! clients hardly notice, what is refused is refused with a clear error, and what was acknowledged
//! is there after a kill.
//!
//! Figures are printed (`-- --nocapture`). Attackers run in this process on the same cores, so they
//! give way to everything else (`nice`): in life they are on machines of their own.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

mod crowds;
mod floods;
mod nonsense;
mod passwords;
mod probe;
mod target;

use std::sync::Mutex;

/// One test at a time: each measures times and memory.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
