//! Buffers that pages are read into and opened in, used again: a cache that is smaller than what is read lets go of
//! as many pages as it takes in, and asking the system for the memory of each costs more than opening the page.

use std::sync::LazyLock;

use crossbeam::queue::ArrayQueue;

/// The most buffers that wait to be used again.
const FRAMES_MAX: usize = 256;
/// Only buffers of about a page are kept, so that no small thing takes a large one.
const FRAME_BYTES: std::ops::RangeInclusive<usize> = 12 << 10..=24 << 10;

static FREE: LazyLock<ArrayQueue<Vec<u8>>> = LazyLock::new(|| ArrayQueue::new(FRAMES_MAX));

/// An empty buffer with room for so many bytes.
pub(super) fn take(bytes: usize) -> Vec<u8> {
    let used = FRAME_BYTES.contains(&bytes).then(|| FREE.pop()).flatten();
    used.filter(|frame| frame.capacity() >= bytes).unwrap_or_else(|| Vec::with_capacity(bytes))
}

/// Gives a buffer back that holds no plain text any more.
pub(super) fn give(mut frame: Vec<u8>) {
    frame.clear();
    if FRAME_BYTES.contains(&frame.capacity()) {
        // There are enough if it comes back.
        drop(FREE.push(frame));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_empty_and_has_room() {
        for bytes in [0, 100, 12 << 10, 16 << 10, 24 << 10, 1 << 20] {
            for _ in 0..3 {
                let mut frame = take(bytes);
                assert!(frame.is_empty() && frame.capacity() >= bytes);
                frame.resize(bytes, 7);
                give(frame);
            }
        }
        (0..2 * FRAMES_MAX).map(|_| vec![7; 16 << 10]).for_each(give);
        assert!(FREE.len() <= FRAMES_MAX);
    }
}
