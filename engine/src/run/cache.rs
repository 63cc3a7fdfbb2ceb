//! Open pages of the process, under one budget.
//!
//! A section keeps an array with one slot a page, so that an open page is an array look-up away; the cache
//! only knows which slots are filled and empties them again, those first that were not touched for a turn of the
//! clock. The budget is that of the pages in slots. A page that was let go of is there until all who read at that
//! moment have ended (epoch-based reclamation: Fraser, Practical lock-freedom, 2004): a reader says once, by a
//! [`Guard`], that it reads, and then a page costs it one load, without an atomic write that would hold up the
//! loads before it. Guards are held for a read or a page, not for a scan.

use std::collections::VecDeque;
use std::mem::offset_of;
use std::ops::Range;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use roaring::RoaringBitmap;
use sdd::{AtomicShared, Guard, Shared, Tag};
use stoa_format::column::ColumnPage;
use stoa_format::prefetch::LINE_BYTES;
use stoa_format::sorted::{FilterPage, SortedPage};

use super::frames::Buffer;

/// Plain text of a page; overwritten when dropped.
#[derive(Debug)]
pub struct Plain {
    buffer: Buffer,
    /// Where in the buffer it stands: short, since an open page is found by little memory.
    start: u32,
    end: u32,
}

impl Plain {
    pub(crate) fn new(buffer: Buffer, at: Range<usize>) -> Self {
        // Pages are far shorter than 4 GiB.
        Self { buffer, start: at.start as u32, end: at.end as u32 }
    }

    fn at(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    fn room_bytes(&self) -> usize {
        self.buffer.room().len()
    }
}

impl AsRef<[u8]> for Plain {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.buffer.room()[self.at()]
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // `zeroize` on bytes writes one at a time; a fill that cannot be optimised away is the same, faster.
        let at = self.at();
        self.buffer[at].fill(0);
        zeroize::optimization_barrier(&self.buffer[..]);
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
            Self::Column(page) => page.bytes().room_bytes(),
            Self::Sorted(page) => page.bytes().room_bytes(),
            Self::Filter(page) => page.bytes().room_bytes(),
            Self::OrdinalSet(set) => set.serialized_size(),
        }
    }
}

/// An open page. What a cell of a column is found by stands in its first two lines of memory.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct OpenPage {
    touched: AtomicBool,
    pub(crate) body: PageBody,
    charged_bytes: usize,
    account: Arc<Account>,
}

const _: () = assert!(offset_of!(OpenPage, body) + size_of::<ColumnPage<Plain>>() <= 2 * LINE_BYTES);

/// What open pages take, in bytes.
#[derive(Debug, Default)]
struct Account {
    /// Those in slots.
    kept: AtomicUsize,
    /// Those, and those that were let go of and may still be read.
    used: AtomicUsize,
}

impl OpenPage {
    /// Notes that the page is wanted.
    #[inline]
    pub(crate) fn touch(&self) {
        if !self.touched.load(Relaxed) {
            self.touched.store(true, Relaxed);
        }
    }
}

impl Drop for OpenPage {
    fn drop(&mut self) {
        self.account.used.fetch_sub(self.charged_bytes, Relaxed);
    }
}

/// One slot a page of a section.
#[derive(Debug)]
pub(crate) struct Slots(Box<[AtomicShared<OpenPage>]>);

impl Slots {
    pub(crate) fn new(pages: usize) -> Arc<Self> {
        Arc::new(Self((0..pages).map(|_| AtomicShared::null()).collect()))
    }

    /// The page, if it is open.
    #[inline]
    pub(crate) fn get<'g>(&self, page: usize, guard: &'g Guard) -> Option<&'g OpenPage> {
        self.0.get(page)?.load(Acquire, guard).as_ref()
    }

    /// The same, to keep for longer than a guard.
    pub(crate) fn held(&self, page: usize) -> Option<Shared<OpenPage>> {
        self.0.get(page)?.get_shared(Acquire, &Guard::new())
    }

    /// Whether the page is open.
    #[inline]
    pub(crate) fn is_open(&self, page: usize) -> bool {
        self.0.get(page).is_some_and(|slot| !slot.is_null(Relaxed))
    }

    /// Puts `open` into the page's slot in place of what is there; says whether something was.
    fn fill(&self, page: usize, open: Option<Shared<OpenPage>>) -> bool {
        let Some(slot) = self.0.get(page) else { return false };
        if let Some(open) = &open {
            open.account.kept.fetch_add(open.charged_bytes, Relaxed);
        }
        let (before, _) = slot.swap((open, Tag::None), AcqRel);
        if let Some(before) = &before {
            before.account.kept.fetch_sub(before.charged_bytes, Relaxed);
        }
        before.is_some()
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        (0..self.0.len()).for_each(|page| {
            self.fill(page, None);
        });
        // This thread may not read again for long, and nobody else frees what it let go of.
        reclaim(PATIENCE);
    }
}

/// What was let go of is freed three epochs later; one more to begin with.
const EPOCHS: usize = 4;
/// How often a reader that is still there is waited for: reads are short.
const PATIENCE: usize = 100;

/// Frees what this thread let go of, as far as all who could read it have ended; asks so many times.
fn reclaim(times: usize) {
    for time in 0..times {
        let guard = Guard::new();
        if !guard.has_garbage() {
            return;
        }
        guard.accelerate();
        drop(guard);
        if time >= EPOCHS {
            std::thread::yield_now();
        }
    }
}

/// The open pages of a process.
#[derive(Debug)]
pub struct PageCache {
    budget_bytes: usize,
    account: Arc<Account>,
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
        Self { budget_bytes, account: Arc::default(), clock: Mutex::default() }
    }

    /// Bytes that open pages take now, those that were let go of and may still be read included.
    pub fn used_bytes(&self) -> usize {
        self.account.used.load(Relaxed)
    }

    /// The same once all who read when this thread let go of pages have ended; other tests read, too.
    #[cfg(test)]
    pub(crate) fn settled_bytes(&self) -> usize {
        reclaim(10_000 * PATIENCE);
        self.used_bytes()
    }

    /// The budget in bytes.
    pub fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }

    /// An open page that is in no slot yet.
    pub(crate) fn charge(&self, body: PageBody) -> Shared<OpenPage> {
        let charged_bytes = body.bytes() + PAGE_OVERHEAD_BYTES;
        self.account.used.fetch_add(charged_bytes, Relaxed);
        let account = Arc::clone(&self.account);
        Shared::new(OpenPage { body, touched: AtomicBool::new(false), charged_bytes, account })
    }

    /// Fills the page's slot and empties others if the budget asks for it.
    pub(crate) fn keep(&self, slots: &Arc<Slots>, page: usize, open: &Shared<OpenPage>) {
        let was_filled = slots.fill(page, Some(open.clone()));
        let mut evicted = false;
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        if !was_filled {
            clock.push_back(Filled { slots: Arc::downgrade(slots), page: page as u32 });
        }
        // Twice round at most: once to take the touch away, once to evict.
        let mut turns = clock.len() * 2;
        while self.account.kept.load(Relaxed) > self.budget_bytes && turns > 0 {
            turns -= 1;
            let Some(next) = clock.pop_front() else { break };
            let Some(slots) = next.slots.upgrade() else { continue };
            let page = next.page as usize;
            let touched = slots.get(page, &Guard::new()).is_some_and(|open| open.touched.swap(false, Relaxed));
            if touched {
                clock.push_back(next);
            } else {
                evicted |= slots.fill(page, None);
            }
        }
        drop(clock);
        // Overwriting their plain text takes time: not under the lock.
        if evicted {
            reclaim(EPOCHS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(cache: &PageCache, bytes: usize) -> Shared<OpenPage> {
        let mut builder = stoa_format::sorted::SortedPageBuilder::new();
        builder.push(b"key", Some(&vec![7; bytes])).unwrap();
        let mut plain = Vec::new();
        builder.finish(&mut plain);
        let at = 0..plain.len();
        cache.charge(PageBody::Sorted(SortedPage::open(Plain::new(plain.into(), at)).unwrap()))
    }

    #[test]
    fn the_budget_holds_and_touched_pages_stay() {
        let cache = PageCache::new(20_000);
        let slots = Slots::new(100);
        for i in 0..100 {
            cache.keep(&slots, i, &page(&cache, 1000));
            if let Some(hot) = slots.get(0, &Guard::new()) {
                hot.touch();
            }
            assert!(cache.settled_bytes() <= 20_000);
        }
        assert!(slots.is_open(0) && slots.is_open(99) && !slots.is_open(50));
        drop(slots);
        assert_eq!(cache.settled_bytes(), 0);
    }

    #[test]
    fn a_page_that_is_being_read_is_still_counted() {
        let cache = PageCache::new(1);
        let slots = Slots::new(2);
        let held = page(&cache, 1000);
        cache.keep(&slots, 0, &held);
        assert!(!slots.is_open(0) && slots.held(0).is_none());
        assert!(cache.used_bytes() > 1000);
        drop(held);
        assert_eq!(cache.settled_bytes(), 0);
    }

    #[test]
    fn a_page_is_there_until_the_guard_under_which_it_was_found_has_ended() {
        let cache = PageCache::new(1 << 20);
        let slots = Slots::new(1);
        cache.keep(&slots, 0, &page(&cache, 1000));
        let guard = Guard::new();
        let found = slots.get(0, &guard).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(slots.fill(0, None));
                reclaim(PATIENCE);
            });
        });
        assert_eq!(cache.used_bytes(), found.charged_bytes);
        assert!(matches!(&found.body, PageBody::Sorted(page) if page.count() == 1));
        drop(guard);
    }
}
