//! Counts what a thread has allocated, so that a test can bound what an input costs.
//!
//! A test binary takes part by `#[global_allocator] static ALLOCATOR: Counting = Counting;`. Each thread counts for
//! itself: tests run beside each other. What another thread frees is missing from its count and not from ours, which
//! only ever makes the count of a case larger.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

/// More than this at one time is not given to a case: the process is ended with the input written down.
const CASE_BYTES_MAX: isize = 2 << 30;

thread_local! {
    /// Bytes that this thread holds since the case began.
    static HELD: Cell<isize> = const { Cell::new(0) };
    /// The most that it held at one time.
    static PEAK: Cell<isize> = const { Cell::new(0) };
    /// Whether a case is being tried on this thread.
    static COUNTS: Cell<bool> = const { Cell::new(false) };
}

/// A case asked for more than `CASE_BYTES_MAX`: its thread waits to be ended.
static ALARM: AtomicBool = AtomicBool::new(false);

/// The system's allocator, counted.
#[derive(Debug, Clone, Copy)]
pub struct Counting;

/// Begins to count for a case on this thread.
pub(crate) fn begin() {
    HELD.set(0);
    PEAK.set(0);
    COUNTS.set(true);
}

/// Ends the count; answers the most bytes that were held at one time.
pub(crate) fn end() -> usize {
    COUNTS.set(false);
    PEAK.get().max(0) as usize
}

/// Whether a case asked for so much that its thread waits to be ended.
pub(crate) fn alarm() -> bool {
    ALARM.load(Ordering::SeqCst)
}

fn take(bytes: isize) {
    // A thread that is ending has no cells any more; nothing is tried there.
    let counts = COUNTS.try_with(Cell::get).unwrap_or(false);
    if !counts {
        return;
    }
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
    if held > CASE_BYTES_MAX {
        ALARM.store(true, Ordering::SeqCst);
        loop {
            std::thread::yield_now();
        }
    }
}

// SAFETY: every call goes to the system's allocator as it came; the counts change no pointer and allocate nothing
// (cells that are initialised by constants and need no drop).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size() as isize);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        take(layout.size() as isize);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        take(-(layout.size() as isize));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        take(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
