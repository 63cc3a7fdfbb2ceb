//! The codecs of `stoa-format`. What decodes must encode to the very bytes it came from (a second encoding of one thing
//! would be a place to hide in, and a flag that is read as another one a guess), and must keep what its type promises.

mod log;
mod manifest;
mod pages;
mod run;
mod small;
mod transactions;

use stoa_format::DecodeError;
use stoa_fuzz::Seen;

#[global_allocator]
static ALLOCATOR: stoa_fuzz::Counting = stoa_fuzz::Counting;

/// Notes why something was refused, and about where.
fn refused(seen: &mut Seen, fault: &DecodeError) {
    seen.note((fault.structure, fault.reason, usize::BITS - fault.offset.leading_zeros()));
}

/// Puts the CRC-32 of `bytes[from..at]` at `at`, if there is room.
fn mend_sum(bytes: &mut [u8], from: usize, at: usize) {
    if from <= at && at + 4 <= bytes.len() {
        let sum = crc32fast::hash(&bytes[from..at]);
        bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    }
}

/// The u32 at `at`, if there is one.
fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let octets = bytes.get(at..at.checked_add(4)?)?.first_chunk()?;
    Some(u32::from_le_bytes(*octets) as usize)
}

/// Asserts that two encodings are one, but for read and write version (the u16 before and at `at`), which a reader
/// does not keep: it takes older and, for writing, newer ones.
fn assert_same_but_version(again: &[u8], bytes: &[u8], at: usize, sum_at: usize) {
    let mut again = again.to_vec();
    assert_eq!(again.len(), bytes.len(), "another length");
    again[at - 2..at + 2].copy_from_slice(&bytes[at - 2..at + 2]);
    mend_sum(&mut again, 0, sum_at);
    assert_eq!(again, bytes, "another encoding");
}
