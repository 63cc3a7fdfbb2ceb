//! Sorted keyspaces: byte keys in order, each with a value or a tombstone, in runs.
//!
//! A *run* is a section of a run file. A *stack* is what one version of a pool has of a keyspace: runs, newest
//! first; the newest that has a key decides, a tombstone included. Pages are found by the directory's keys, keys of
//! one length within a page by their leading bits; a filter in front says of most keys that are not there that they
//! are not.

mod cursor;
mod merge;
mod stack;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use sdd::Guard;
use stoa_format::DecodeError;
use stoa_format::run::{PagePlace, SectionId, SectionSummary};
use stoa_format::sorted::{SortedPage, SortedPosition, SortedValue, filter_hash};

use crate::run::{Caching, PageBody, Plain, RunError, RunFile, SectionPages};

pub use cursor::SortedCursor;
pub use merge::{Direction, KeyCursor, MergeCursor};
pub use stack::{Sole, SortedStack};

/// A sorted run: one section of a run file. Costs no I/O until something is read.
pub struct SortedRun {
    file: Arc<RunFile>,
    number: u16,
    opened: OnceLock<OpenedSorted>,
}

struct OpenedSorted {
    pages: Arc<SectionPages>,
    /// What the lower bounds of all pages but the first begin with.
    common: Vec<u8>,
    /// The eight bytes behind that of each such page's bound, for finding a page.
    leading: Ascending,
}

/// What a run or a stack has for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing: older runs may.
    Missing,
    /// It is deleted.
    Tombstone,
    /// This value.
    Value(Vec<u8>),
}

impl From<Option<SortedValue<'_>>> for Found {
    fn from(value: Option<SortedValue<'_>>) -> Self {
        match value {
            None => Self::Missing,
            Some(value) => value.bytes().map_or(Self::Tombstone, |bytes| Self::Value(bytes.to_vec())),
        }
    }
}

impl SortedRun {
    /// Section `number` of a file, which holds a keyspace.
    pub fn new(file: Arc<RunFile>, number: u16) -> Arc<Self> {
        Arc::new(Self { file, number, opened: OnceLock::new() })
    }

    /// The file that the run is in.
    pub fn file(&self) -> &Arc<RunFile> {
        &self.file
    }

    /// The run in brief.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn summary(&self) -> Result<&SectionSummary, RunError> {
        Ok(&self.opened()?.pages.section.summary)
    }

    /// Gives what the run has for exactly this key to `read`, without a copy; `None` if nothing.
    ///
    /// # Errors
    /// If the page cannot be read.
    pub fn with<R>(&self, key: &[u8], read: impl FnOnce(Option<SortedValue<'_>>) -> R) -> Result<R, RunError> {
        let opened = self.opened()?;
        let prefix = usize::from(opened.pages.section.filter_prefix);
        if prefix > 0 && key.len() >= prefix && !self.may_hold(&key[..prefix])? {
            return Ok(read(None));
        }
        let index = opened.page_of(key);
        let guard = Guard::new();
        let page = opened.pages.page(&self.file, index, Caching::Keep, &guard)?;
        let value = self.sorted_page(&opened.pages, page, index)?.get(key);
        value.map(read).map_err(|e| opened.pages.damaged(&self.file, index, e))
    }

    /// What the run has for exactly this key.
    ///
    /// # Errors
    /// If the page cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Found, RunError> {
        self.with(key, |value| value.into())
    }

    /// How many leading bytes of a key the run's filter is over; 0 if there is none.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn filter_prefix(&self) -> Result<u16, RunError> {
        Ok(self.opened()?.pages.section.filter_prefix)
    }

    /// Whether the run may have keys that begin with `prefix`; false is certain. Costs one look at a filter page
    /// if `prefix` is as long as the filter's; otherwise the answer is yes.
    ///
    /// # Errors
    /// If a filter page cannot be read.
    pub fn may_hold(&self, prefix: &[u8]) -> Result<bool, RunError> {
        let opened = self.opened()?;
        let pages = &opened.pages;
        let filters = &pages.section.pages[pages.data_pages..];
        if prefix.is_empty() || prefix.len() != usize::from(pages.section.filter_prefix) || filters.is_empty() {
            return Ok(true);
        }
        let data_page = opened.page_of(prefix);
        // Keys of this prefix may begin on the next page, whose filter can be another.
        let next = pages.data().get(data_page + 1).map(|entry| &entry.place);
        if matches!(next, Some(PagePlace::Sorted { from_key }) if from_key.starts_with(prefix)) {
            return Ok(true);
        }
        let covers =
            |place: &PagePlace| matches!(place, PagePlace::Filter { first_page } if *first_page as usize <= data_page);
        let Some(filter) = filters.partition_point(|entry| covers(&entry.place)).checked_sub(1) else {
            return Ok(true);
        };
        let index = pages.data_pages + filter;
        match pages.page(&self.file, index, Caching::Keep, &Guard::new())? {
            PageBody::Filter(page) => Ok(page.may_hold(filter_hash(prefix))),
            _ => Err(pages.wrong_kind(&self.file, index)),
        }
    }

    /// The page where keys from `from` on begin, and whether it is open already.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn page_at(&self, from: &[u8]) -> Result<(usize, bool), RunError> {
        let opened = self.opened()?;
        let page = opened.page_of(from);
        Ok((page, opened.pages.is_open(page)))
    }

    /// Walks the run from the first key that is not below `from`.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn cursor(self: &Arc<Self>, from: &[u8], caching: Caching) -> Result<SortedCursor, RunError> {
        SortedCursor::new(self.clone(), from, Direction::Ascending, caching)
    }

    /// Walks the run downwards from the last key that is below `below`.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn cursor_down(self: &Arc<Self>, below: &[u8], caching: Caching) -> Result<SortedCursor, RunError> {
        SortedCursor::new(self.clone(), below, Direction::Descending, caching)
    }

    /// Gives the keys that begin with `prefix`, from `from` on, which begin on page `first`, to `visit` with their
    /// values, tombstones included, until it breaks. `from` begins with `prefix`. Without what a cursor takes to be
    /// kept.
    ///
    /// # Errors
    /// If a page cannot be read, or what `visit` fails with.
    pub fn each<E: From<RunError>>(
        &self,
        prefix: &[u8],
        from: &[u8],
        first: usize,
        mut visit: impl FnMut(&[u8], SortedValue<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let opened = self.opened()?;
        let mut position = SortedPosition::default();
        for index in first..opened.pages.data_pages {
            let guard = Guard::new();
            let page = opened.pages.page(&self.file, index, Caching::Keep, &guard)?;
            let page = self.sorted_page(&opened.pages, page, index)?;
            let damaged = |error| opened.pages.damaged(&self.file, index, error);
            match index == first {
                true => page.seek(from, &mut position).map_err(damaged)?,
                false => page.seek_entry(0, &mut position).map_err(damaged)?,
            }
            while position.entry() < page.count() {
                if !position.key().starts_with(prefix) {
                    return Ok(());
                }
                if visit(position.key(), page.value(&position).map_err(damaged)?)?.is_break() {
                    return Ok(());
                }
                page.advance(&mut position).map_err(damaged)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn opened(&self) -> Result<&OpenedSorted, RunError> {
        match self.opened.get() {
            Some(opened) => Ok(opened),
            None => self.open(),
        }
    }

    #[cold]
    fn open(&self) -> Result<&OpenedSorted, RunError> {
        let pages = self.file.section(self.number)?.clone();
        if !matches!(pages.id(), SectionId::Sorted(_)) {
            return Err(pages.wrong_kind(&self.file, 0));
        }
        let bounds = pages.data().iter().skip(1).map(|entry| match &entry.place {
            PagePlace::Sorted { from_key } => &from_key[..],
            _ => &[],
        });
        let bounds: Vec<&[u8]> = bounds.collect();
        let common = match &bounds[..] {
            [first, .., last] => first.iter().zip(*last).take_while(|(a, b)| a == b).count(),
            [only] => only.len(),
            [] => 0,
        };
        let leading = Ascending::new(bounds.iter().map(|bound| leading(&bound[common..])).collect());
        let common = bounds.first().map_or_else(Vec::new, |bound| bound[..common].to_vec());
        Ok(self.opened.get_or_init(|| OpenedSorted { pages, common, leading }))
    }

    #[inline]
    fn sorted_page<'p>(
        &self,
        pages: &SectionPages,
        page: &'p PageBody,
        index: usize,
    ) -> Result<&'p SortedPage<Plain>, RunError> {
        match page {
            PageBody::Sorted(page) => Ok(page),
            _ => Err(pages.wrong_kind(&self.file, index)),
        }
    }

    #[cold]
    fn damaged(&self, page: usize, error: DecodeError) -> RunError {
        match self.opened() {
            Ok(opened) => opened.pages.damaged(&self.file, page, error),
            Err(error) => error,
        }
    }
}

impl OpenedSorted {
    /// The page that has `key` if any has: the last whose bound is not above it.
    fn page_of(&self, key: &[u8]) -> usize {
        let Some(rest) = key.strip_prefix(&self.common[..]) else {
            return if key < &self.common[..] { 0 } else { self.leading.numbers.len() };
        };
        // Eight bytes settle all but ties, and zeroes behind a short one never put it above its place.
        let sought = leading(rest);
        let low = self.leading.lower_bound(sought);
        let mut high = low;
        while self.leading.numbers.get(high) == Some(&sought) {
            high += 1;
        }
        let not_above = |page: usize| match &self.pages.data()[page].place {
            PagePlace::Sorted { from_key } => &from_key[..] <= key,
            _ => true,
        };
        // Bound `i` is that of page `i + 1`.
        let (mut low, mut high) = (low, high);
        while low < high {
            let middle = low + (high - low) / 2;
            if not_above(middle + 1) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// Ascending numbers, to be searched.
struct Ascending {
    numbers: Vec<u64>,
    /// Where the numbers of each first byte begin, and where all end: those of one attribute's hashes are spread evenly,
    /// those of all attributes together are not.
    starts: Box<[u32; 257]>,
}

impl Ascending {
    fn new(numbers: Vec<u64>) -> Self {
        let start_of = |byte: u64| numbers.partition_point(|number| number >> 56 < byte) as u32;
        Self { starts: Box::new(std::array::from_fn(|byte| start_of(byte as u64))), numbers }
    }

    /// The index of the first number that is not below `sought`.
    fn lower_bound(&self, sought: u64) -> usize {
        let byte = (sought >> 56) as usize;
        let (start, end) = (self.starts[byte] as usize, self.starts[byte + 1] as usize);
        start + lower_bound(&self.numbers[start..end], sought)
    }
}

/// The index of the first of these ascending numbers that is not below `sought`. Looks first where it would be
/// if they were spread evenly, as those of a keyed hash are.
fn lower_bound(numbers: &[u64], sought: u64) -> usize {
    let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else { return 0 };
    if sought <= first {
        return 0;
    }
    if sought > last {
        return numbers.len();
    }
    let share = (sought - first) as f64 / (last - first) as f64;
    let guess = (share * (numbers.len() - 1) as f64) as usize;
    // Widen from the guess until the answer lies within low ..= high.
    let low;
    let (mut high, mut step) = (numbers.len(), 4);
    if numbers.get(guess).is_some_and(|&number| number < sought) {
        let mut above = guess + 1;
        while let Some(&number) = numbers.get(above + step) {
            if number >= sought {
                high = above + step;
                break;
            }
            above += step + 1;
            step *= 2;
        }
        low = above;
    } else {
        high = guess.min(high);
        while high >= step && numbers[high - step] >= sought {
            high -= step;
            step *= 2;
        }
        low = high.saturating_sub(step);
    }
    low + numbers[low..high].partition_point(|&number| number < sought)
}

/// The first eight bytes as a big-endian number, zeroes behind a shorter one.
fn leading(bytes: &[u8]) -> u64 {
    let mut eight = [0; 8];
    let len = bytes.len().min(8);
    eight[..len].copy_from_slice(&bytes[..len]);
    u64::from_be_bytes(eight)
}
