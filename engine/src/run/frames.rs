//! Frames: the memory that pages are read into and opened in, of one length, used again and again.
//!
//! A profile is read from a page a column, each somewhere else in memory: with pages of 4 KiB every such read asks for
//! a translation of its address too. So frames are cut from stretches of memory that the system is asked to back by
//! huge pages, and are not given back to it: a cache that is smaller than what is read lets go of as many pages as it
//! takes in.
//!
//! Invariants:
//! 1. A frame has one owner; it waits in `FREE` for the next.
//! 2. Plain text is overwritten before its frame is free: see [`Plain`](super::cache::Plain).

use std::ops::{Deref, DerefMut, Range, RangeInclusive};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use memmap2::{Advice, MmapMut};

/// A full page, sealed, and no power of two: first bytes of pages share no set of a processor's cache.
const FRAME_BYTES: usize = (16 << 10) + 9 * 64;
/// What is read into a frame: shorter ones would waste most of it.
const FRAMED_BYTES: RangeInclusive<usize> = 12 << 10..=FRAME_BYTES;
/// The system's huge pages.
const HUGE_BYTES: usize = 2 << 20;
/// How much memory is asked for at a time; it is taken up as frames are used.
const STRETCH_BYTES: usize = 16 << 20;

/// The frames that wait to be used again, of all stores of the process.
static FREE: Mutex<Vec<&'static mut [u8]>> = Mutex::new(Vec::new());
/// The first stretch was cut. It is not on huge pages: a process that opens a few pages takes no more than those.
static HAS_STRETCHES: AtomicBool = AtomicBool::new(false);

/// A buffer of some length, in a frame if it is about as long as one.
#[derive(Debug)]
pub struct Buffer {
    room: Room,
    len: u32,
}

#[derive(Debug)]
enum Room {
    Frame(&'static mut [u8]),
    Own(Box<[u8]>),
}

impl Buffer {
    /// A buffer of so many bytes, whatever they are: to be filled.
    pub(crate) fn new(len: usize) -> Self {
        let frame = FRAMED_BYTES.contains(&len).then(frame).flatten();
        Self { room: frame.map_or_else(|| Room::Own(vec![0; len].into()), Room::Frame), len: len as u32 }
    }

    /// All the memory that it takes; the buffer is what comes first.
    #[inline]
    pub(crate) fn room(&self) -> &[u8] {
        match &self.room {
            Room::Frame(frame) => frame,
            Room::Own(bytes) => bytes,
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.room()[..self.len as usize]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.room {
            Room::Frame(frame) => &mut frame[..self.len as usize],
            Room::Own(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { len: bytes.len() as u32, room: Room::Own(bytes.into()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Room::Frame(frame) = &mut self.room {
            FREE.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(frame));
        }
    }
}

/// A frame; none if the system has no memory to cut one from.
fn frame() -> Option<&'static mut [u8]> {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    if free.is_empty() {
        // Those that were cut first are used first.
        free.extend(stretch()?.chunks_exact_mut(FRAME_BYTES).rev());
    }
    free.pop()
}

/// Memory to cut frames from, for the life of the process.
fn stretch() -> Option<&'static mut [u8]> {
    let map = Box::leak(Box::new(MmapMut::map_anon(STRETCH_BYTES + HUGE_BYTES).ok()?));
    let aligned = aligned(map.as_ptr() as usize);
    if HAS_STRETCHES.swap(true, Relaxed) {
        // Where the system has no huge pages, small ones do.
        let _ = map.advise_range(Advice::HugePage, aligned.start, STRETCH_BYTES);
    }
    map.get_mut(aligned)
}

/// Where in a map from this address huge pages begin, and a stretch of them ends.
fn aligned(address: usize) -> Range<usize> {
    let start = address.next_multiple_of(HUGE_BYTES) - address;
    start..start + STRETCH_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_as_long_as_asked_for_and_its_frame_is_used_again() {
        for len in [0, 100, 12 << 10, 16 << 10, FRAME_BYTES, FRAME_BYTES + 1, 1 << 20] {
            let mut buffer = Buffer::new(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(matches!(buffer.room, Room::Frame(_)), FRAMED_BYTES.contains(&len));
            buffer.fill(7);
            assert!(buffer.room().len() >= len && buffer.iter().all(|byte| *byte == 7));
        }
        let held: Vec<_> = (0..2 * STRETCH_BYTES / FRAME_BYTES).map(|_| Buffer::new(FRAME_BYTES)).collect();
        let before: std::collections::BTreeSet<_> = held.iter().map(|buffer| buffer.as_ptr() as usize).collect();
        assert_eq!(before.len(), held.len(), "two owners of one frame");
        drop(held);
        assert!(before.contains(&(Buffer::new(FRAME_BYTES).as_ptr() as usize)));
    }

    #[test]
    fn a_stretch_lies_on_huge_pages_within_its_map() {
        for address in [0, 1, HUGE_BYTES - 1, HUGE_BYTES, 7 * HUGE_BYTES + 4096] {
            let range = aligned(address);
            assert!((address + range.start).is_multiple_of(HUGE_BYTES) && range.end <= STRETCH_BYTES + HUGE_BYTES);
        }
    }
}
