//! Open pages of the process, under one budget.
//!
//! A section keeps an array with one slot a page, so that an open page is an array look-up away; the cache
//! only knows which slots are filled and empties them again, those first that were not touched for a turn of the
//! clock. A page counts against the budget until its last reader has let go of it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use roaring::RoaringBitmap;
use stoa_format::column::ColumnPage;
use stoa_format::sorted::{FilterPage, SortedPage};

/// Plain text of a page; overwritten when dropped.
#[derive(Debug)]
pub struct Plain(Vec<u8>);

impl Plain {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Plain {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // `zeroize` on bytes writes one at a time; a fill that cannot be optimised away is the same, faster.
        self.0.fill(0);
        zeroize::optimization_barrier(&self.0[..]);
    }
}

/// What an open page is.
#[derive(Debug)]
pub(crate) enum PageBody {
    Column(ColumnPage<Plain>),
    Sorted(SortedPage<Plain>),
    Filter(FilterPage<Plain>),
    OrdinalSet(RoaringBitmap),
}

impl PageBody {
    fn bytes(&self) -> usize {
        match self {
            Self::Column(page) => page.bytes().as_ref().len(),
            Self::Sorted(page) => page.bytes().as_ref().len(),
            Self::Filter(page) => page.bytes().as_ref().len(),
            Self::OrdinalSet(set) => set.serialized_size(),
        }
    }
}

/// An open page.
#[derive(Debug)]
pub(crate) struct OpenPage {
    pub(crate) body: PageBody,
    touched: AtomicBool,
    /// What it took from the budget, and where to give it back.
    charged_bytes: usize,
    used_bytes: Arc<AtomicUsize>,
}

impl OpenPage {
    /// Notes that the page is wanted.
    #[inline]
    pub(crate) fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for OpenPage {
    fn drop(&mut self) {
        self.used_bytes.fetch_sub(self.charged_bytes, Ordering::Relaxed);
    }
}

/// One slot a page of a section.
#[derive(Debug)]
pub(crate) struct Slots(Box<[ArcSwapOption<OpenPage>]>);

impl Slots {
    pub(crate) fn new(pages: usize) -> Arc<Self> {
        Arc::new(Self((0..pages).map(|_| ArcSwapOption::empty()).collect()))
    }

    /// The page's slot; `None` if there are not so many pages.
    #[inline]
    pub(crate) fn get(&self, page: usize) -> Option<&ArcSwapOption<OpenPage>> {
        self.0.get(page)
    }
}

/// The open pages of a process.
#[derive(Debug)]
pub struct PageCache {
    budget_bytes: usize,
    used_bytes: Arc<AtomicUsize>,
    clock: Mutex<VecDeque<Filled>>,
}

#[derive(Debug)]
struct Filled {
    slots: Weak<Slots>,
    page: u32,
}

/// What an open page takes besides its plain text, in bytes.
const PAGE_OVERHEAD_BYTES: usize = size_of::<OpenPage>() + 64;

impl PageCache {
    /// A cache that holds open pages of some `budget_bytes`.
    pub fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, used_bytes: Arc::default(), clock: Mutex::default() }
    }

    /// Bytes that open pages take now, those of readers that keep them past eviction included.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The budget in bytes.
    pub fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }

    /// An open page that counts against the budget, but is in no slot.
    pub(crate) fn charge(&self, body: PageBody) -> Arc<OpenPage> {
        let charged_bytes = body.bytes() + PAGE_OVERHEAD_BYTES;
        self.used_bytes.fetch_add(charged_bytes, Ordering::Relaxed);
        Arc::new(OpenPage { body, touched: AtomicBool::new(false), charged_bytes, used_bytes: self.used_bytes.clone() })
    }

    /// Fills the page's slot and empties others if the budget asks for it.
    pub(crate) fn keep(&self, slots: &Arc<Slots>, page: usize, open: &Arc<OpenPage>) {
        let Some(slot) = slots.get(page) else { return };
        let was_filled = slot.swap(Some(open.clone())).is_some();
        let mut evicted = Vec::new();
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        if !was_filled {
            clock.push_back(Filled { slots: Arc::downgrade(slots), page: page as u32 });
        }
        // Twice round at most: once to take the touch away, once to evict.
        let mut turns = clock.len() * 2;
        let mut over_bytes = self.used_bytes().saturating_sub(self.budget_bytes);
        while over_bytes > 0 && turns > 0 {
            turns -= 1;
            let Some(next) = clock.pop_front() else { break };
            let Some(slots) = next.slots.upgrade() else { continue };
            let Some(slot) = slots.get(next.page as usize) else { continue };
            let touched = slot.load().as_ref().is_some_and(|open| open.touched.swap(false, Ordering::Relaxed));
            if touched {
                clock.push_back(next);
            } else if let Some(open) = slot.swap(None) {
                over_bytes = over_bytes.saturating_sub(open.charged_bytes);
                evicted.push(open);
            }
        }
        drop(clock);
        // Overwriting their plain text takes time: not under the lock.
        drop(evicted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(cache: &PageCache, bytes: usize) -> Arc<OpenPage> {
        let mut builder = stoa_format::sorted::SortedPageBuilder::new();
        builder.push(b"key", Some(&vec![7; bytes])).unwrap();
        let mut plain = Vec::new();
        builder.finish(&mut plain);
        cache.charge(PageBody::Sorted(SortedPage::open(Plain::new(plain)).unwrap()))
    }

    #[test]
    fn the_budget_holds_and_touched_pages_stay() {
        let cache = PageCache::new(20_000);
        let slots = Slots::new(100);
        for i in 0..100 {
            cache.keep(&slots, i, &page(&cache, 1000));
            if let Some(hot) = slots.get(0).unwrap().load().as_ref() {
                hot.touch();
            }
            assert!(cache.used_bytes() <= 20_000);
        }
        assert!(slots.get(0).unwrap().load().is_some());
        assert!(slots.get(99).unwrap().load().is_some());
        assert!(slots.get(50).unwrap().load().is_none());
        drop(slots);
        assert_eq!(cache.used_bytes(), 0);
    }

    #[test]
    fn a_page_that_is_being_read_is_still_counted() {
        let cache = PageCache::new(1);
        let slots = Slots::new(2);
        let held = page(&cache, 1000);
        cache.keep(&slots, 0, &held);
        assert!(slots.get(0).unwrap().load().is_none());
        assert!(cache.used_bytes() > 1000);
        drop(held);
        assert_eq!(cache.used_bytes(), 0);
    }
}
