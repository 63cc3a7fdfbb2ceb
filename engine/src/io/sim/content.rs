//! The bytes of a simulated file, in pages shared between images: copying one costs no page.
//!
//! Always true:
//! 1. Bytes past `len` inside the last page are zero, and no page lies wholly past `len`.
//! 2. A digest that is remembered is that of the present bytes: whatever changes them forgets it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// Room is given out in pages of this many bytes.
pub(super) const PAGE_BYTES: u64 = 4096;

/// One page, with its digest once somebody has asked for it.
#[derive(Debug, Clone)]
struct Page {
    bytes: [u8; PAGE_BYTES as usize],
    digest: OnceLock<u128>,
}

impl Page {
    /// The digest of its bytes.
    fn digest(&self) -> u128 {
        *self.digest.get_or_init(|| xxh3_128(&self.bytes))
    }
}

fn zero_page() -> Arc<Page> {
    static ZERO: OnceLock<Arc<Page>> = OnceLock::new();
    ZERO.get_or_init(|| Arc::new(Page { bytes: [0; PAGE_BYTES as usize], digest: OnceLock::new() })).clone()
}

#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    len: u64,
    pages: Arc<BTreeMap<u64, Arc<Page>>>,
    digest: OnceLock<u128>,
}

impl Content {
    /// Whether both share all their bytes: equal, and told at once.
    pub(super) fn is_shared_with(&self, other: &Self) -> bool {
        self.len == other.len && Arc::ptr_eq(&self.pages, &other.pages)
    }

    /// A digest of length and bytes; a hole is as good as zeroes.
    pub(super) fn digest(&self) -> u128 {
        *self.digest.get_or_init(|| {
            let zero = zero_page().digest();
            let mut hasher = Xxh3::new();
            hasher.update(&self.len.to_le_bytes());
            for (number, page) in self.pages.iter().filter(|(_, page)| page.digest() != zero) {
                hasher.update(&number.to_le_bytes());
                hasher.update(&page.digest().to_le_bytes());
            }
            hasher.digest128()
        })
    }

    /// The pages, to be changed.
    fn pages_mut(&mut self) -> &mut BTreeMap<u64, Arc<Page>> {
        self.digest = OnceLock::new();
        Arc::make_mut(&mut self.pages)
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of room taken: pages that were written, holes not counted.
    pub(super) fn allocated_bytes(&self) -> u64 {
        self.pages.len() as u64 * PAGE_BYTES
    }

    /// Bytes of room that a write of `len` bytes at `offset` would newly take.
    pub(super) fn room_needed(&self, offset: u64, len: u64) -> u64 {
        if len == 0 {
            return 0;
        }
        let (first, last) = (offset / PAGE_BYTES, (offset + len - 1) / PAGE_BYTES);
        (last - first + 1 - self.pages.range(first..=last).count() as u64) * PAGE_BYTES
    }

    /// Reads what there is at `offset`; answers how many bytes that was.
    pub(super) fn read(&self, out: &mut [u8], offset: u64) -> usize {
        let n = self.len.saturating_sub(offset).min(out.len() as u64) as usize;
        for_each_page(offset, n as u64, |number, from, range| {
            let to = &mut out[range.clone()];
            match self.pages.get(&number) {
                Some(page) => to.copy_from_slice(&page.bytes[from..from + range.len()]),
                None => to.fill(0),
            }
        });
        n
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        self.len = self.len.max(offset + bytes.len() as u64);
        let pages = self.pages_mut();
        for_each_page(offset, bytes.len() as u64, |number, from, range| {
            let page = changed(pages.entry(number).or_insert_with(zero_page));
            page[from..from + range.len()].copy_from_slice(&bytes[range]);
        });
    }

    pub(super) fn write_zeroes(&mut self, offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        self.len = self.len.max(offset + len);
        let pages = self.pages_mut();
        for_each_page(offset, len, |number, from, range| {
            let page = pages.entry(number).or_insert_with(zero_page);
            if range.len() as u64 == PAGE_BYTES {
                *page = zero_page();
            } else {
                changed(page)[from..from + range.len()].fill(0);
            }
        });
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let pages = self.pages_mut();
        pages.split_off(&len.div_ceil(PAGE_BYTES));
        if let Some(page) = pages.get_mut(&(len / PAGE_BYTES)) {
            changed(page)[(len % PAGE_BYTES) as usize..].fill(0);
        }
        self.len = len;
    }

    /// Flips one bit; `false` if the file has no such byte.
    pub(super) fn flip_bit(&mut self, offset: u64, bit: u8) -> bool {
        if offset >= self.len {
            return false;
        }
        let mut byte = [0];
        self.read(&mut byte, offset);
        self.write(&[byte[0] ^ 1 << (bit & 7)], offset);
        true
    }
}

/// The bytes of a page that are about to change.
fn changed(page: &mut Arc<Page>) -> &mut [u8; PAGE_BYTES as usize] {
    let page = Arc::make_mut(page);
    page.digest = OnceLock::new();
    &mut page.bytes
}

/// Calls `f(page number, offset inside the page, range inside the piece)` for each page that a piece touches.
fn for_each_page(offset: u64, len: u64, mut f: impl FnMut(u64, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < len {
        let at = offset + done;
        let from = at % PAGE_BYTES;
        let piece = (PAGE_BYTES - from).min(len - done);
        f(at / PAGE_BYTES, from as usize, done as usize..(done + piece) as usize);
        done += piece;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        Zero(u64, u64),
        SetLen(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u64..20_000, proptest::collection::vec(any::<u8>(), 0..9_000)).prop_map(|(o, b)| Step::Write(o, b)),
            (0u64..20_000, 0u64..9_000).prop_map(|(o, l)| Step::Zero(o, l)),
            (0u64..30_000).prop_map(Step::SetLen),
        ]
    }

    proptest! {
        #[test]
        fn content_is_a_byte_vector(steps in proptest::collection::vec(step(), 0..12)) {
            let (mut content, mut model) = (Content::default(), Vec::<u8>::new());
            for step in steps {
                match step {
                    Step::Write(offset, bytes) => {
                        let end = offset as usize + bytes.len();
                        if !bytes.is_empty() && model.len() < end { model.resize(end, 0); }
                        if !bytes.is_empty() { model[offset as usize..end].copy_from_slice(&bytes); }
                        let before = content.allocated_bytes();
                        let needed = content.room_needed(offset, bytes.len() as u64);
                        content.write(&bytes, offset);
                        prop_assert_eq!(content.allocated_bytes(), before + needed);
                    }
                    Step::Zero(offset, len) => {
                        let end = (offset + len) as usize;
                        if len > 0 && model.len() < end { model.resize(end, 0); }
                        if len > 0 { model[offset as usize..end].fill(0); }
                        content.write_zeroes(offset, len);
                    }
                    Step::SetLen(len) => { model.resize(len as usize, 0); content.set_len(len); }
                }
                let mut all = vec![1; model.len() + 10];
                prop_assert_eq!(content.read(&mut all, 0), model.len());
                prop_assert_eq!(&all[..model.len()], &model[..]);
                prop_assert_eq!(content.len(), model.len() as u64);
                // A copy made by one write has the same digest, and one with another byte has not.
                let mut copy = Content::default();
                copy.write(&model, 0);
                copy.set_len(model.len() as u64);
                prop_assert_eq!(copy.digest(), content.digest());
                if let Some(last) = model.len().checked_sub(1) {
                    copy.flip_bit(last as u64, 3);
                    prop_assert_ne!(copy.digest(), content.digest());
                }
            }
        }
    }
}
