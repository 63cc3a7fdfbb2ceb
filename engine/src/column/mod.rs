//! Columns: the cells of one attribute, by ordinal, in runs.
//!
//! A *run* is a section of a run file. A *stack* is what one version of a pool has of an attribute: at most a
//! few sparse runs, newest first, over a dense base of partitions that do not overlap. The newest run that says
//! anything about an ordinal decides; an explicit null is something said.
//!
//! ```text
//! get(ordinal): sparse run 0 ─ its set of ordinals ─ no ─→ sparse run 1 ─ no ─→ base partition of the ordinal
//!                              └ yes → page by first ordinals → slot → open page → cell
//! ```

mod cursor;
mod stack;

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use sdd::Guard;
use smallvec::SmallVec;
use stoa_format::column::{Cell, ColumnKind, ColumnPage, PageView, Scratch, Sought};
use stoa_format::prefetch::prefetch_value;
use stoa_format::run::{PageEntry, PagePlace, SectionId, SectionSummary};
use stoa_format::{DecodeError, Ordinal};

use crate::run::marks::Marks;
use crate::run::{Caching, OpenPage, PageBody, Plain, RunError, RunFile, SectionPages};

pub use crate::run::OrdinalSet;

pub use cursor::ColumnCursor;
pub use stack::ColumnStack;

/// A column run: one section of a run file. Costs no I/O until something is read.
pub struct ColumnRun {
    file: Arc<RunFile>,
    number: u16,
    opened: OnceLock<OpenedColumn>,
}

struct OpenedColumn {
    pages: Arc<SectionPages>,
    kind: ColumnKind,
    /// The first ordinal of each data page, for finding a page.
    first_ordinals: Vec<u64>,
    /// How many pages an ordinal is, as if all pages held the same number.
    page_share: f64,
}

/// Whether a page need be read to know which of its values are sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// None is: it is passed over.
    Pass,
    /// Some may be.
    Read,
    /// All are, explicit nulls excepted.
    All,
}

/// Fewer cells of one page are not worth looking at it alone.
const FEW: usize = 4;
/// So many cells are looked for at once: more than memory answers in the time of one.
const AT_ONCE: usize = 32;

/// An open page of a column.
pub type OpenColumnPage = ColumnPage<Plain>;

impl ColumnRun {
    /// Section `number` of a file, which holds a column.
    pub fn new(file: Arc<RunFile>, number: u16) -> Arc<Self> {
        Arc::new(Self { file, number, opened: OnceLock::new() })
    }

    /// The file that the run is in.
    pub fn file(&self) -> &Arc<RunFile> {
        &self.file
    }

    /// What the cells hold.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn kind(&self) -> Result<ColumnKind, RunError> {
        Ok(self.opened()?.kind)
    }

    /// The run in brief.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn summary(&self) -> Result<&SectionSummary, RunError> {
        Ok(&self.opened()?.pages.section.summary)
    }

    /// Gives what the run says about `ordinal` to `read`, without a copy.
    ///
    /// # Errors
    /// If the page cannot be read.
    #[inline]
    pub fn with<R>(&self, ordinal: Ordinal, read: impl FnOnce(Cell<'_>) -> R) -> Result<R, RunError> {
        self.with_in(ordinal, &mut Vec::new(), read)
    }

    /// The same; a value that has to be put together is put together in `room`.
    ///
    /// # Errors
    /// As [`ColumnRun::with`].
    #[inline]
    pub fn with_in<R>(
        &self,
        ordinal: Ordinal,
        room: &mut Vec<u8>,
        read: impl FnOnce(Cell<'_>) -> R,
    ) -> Result<R, RunError> {
        let guard = Guard::new();
        let mut cell = self.find_cell(ordinal, &guard)?;
        cell.look();
        cell.with_in(room, read)
    }

    /// Where the run says something about `ordinal`.
    ///
    /// # Errors
    /// If the page cannot be read.
    #[inline]
    pub fn find_cell<'g>(&'g self, ordinal: Ordinal, guard: &'g Guard) -> Result<FoundCell<'g>, RunError> {
        match self.open_cell(ordinal, guard) {
            Some(cell) => Ok(cell),
            None => self.find_cell_in_file(ordinal, guard),
        }
    }

    /// The same, if its page is open.
    #[inline]
    fn open_cell<'g>(&'g self, ordinal: Ordinal, guard: &'g Guard) -> Option<FoundCell<'g>> {
        let opened = self.opened.get()?;
        let page = opened.pages.open_page(opened.page_of(ordinal.0)?, guard)?;
        Some(FoundCell::new(self, page, ordinal))
    }

    #[cold]
    fn find_cell_in_file<'g>(&'g self, ordinal: Ordinal, guard: &'g Guard) -> Result<FoundCell<'g>, RunError> {
        let opened = self.opened()?;
        let Some(index) = opened.page_of(ordinal.0) else { return Ok(FoundCell::default()) };
        let page = match opened.pages.open_page(index, guard) {
            Some(page) => page,
            None => opened.pages.read_page(&self.file, index, Caching::Keep, guard)?,
        };
        Ok(FoundCell::new(self, page, ordinal))
    }

    /// What the run says about `ordinal`.
    ///
    /// # Errors
    /// If the page cannot be read.
    pub fn get(&self, ordinal: Ordinal) -> Result<Cell<'static>, RunError> {
        self.with(ordinal, |cell| cell.into_owned())
    }

    /// Gives the cell of each of these ascending ordinals to `visit`: a page at a time, or where they are far apart
    /// some from a page each.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn get_many(&self, ordinals: &[Ordinal], mut visit: impl FnMut(Ordinal, Cell<'_>)) -> Result<(), RunError> {
        let opened = self.opened()?;
        let mut room = Vec::new();
        let mut left = ordinals;
        while let Some(&first) = left.first() {
            let Some(index) = opened.page_of(first.0) else {
                visit(first, Cell::Missing);
                left = &left[1..];
                continue;
            };
            // All that this page decides.
            let next = opened.first_ordinals.get(index + 1).copied().unwrap_or(u64::MAX);
            let end = 1 + left[1..].iter().take_while(|ordinal| ordinal.0 < next).count();
            let guard = Guard::new();
            if end < FEW {
                let (some, others) = left.split_at(left.len().min(AT_ONCE));
                let found: Result<SmallVec<[_; AT_ONCE]>, _> =
                    some.iter().map(|ordinal| self.find_cell(*ordinal, &guard)).collect();
                let mut found = found?;
                found.iter_mut().for_each(FoundCell::look);
                found.iter().for_each(FoundCell::aim);
                for (ordinal, cell) in some.iter().zip(&found) {
                    cell.with_in(&mut room, |cell| visit(*ordinal, cell))?;
                }
                left = others;
                continue;
            }
            let page = opened.pages.page(&self.file, index, Caching::Keep, &guard)?;
            let page = self.column_page(&opened.pages, page, index)?.view();
            for &ordinal in &left[..end] {
                let read = page.with_at(ordinal.0, &mut room, |cell| visit(ordinal, cell));
                read.map_err(|e| opened.pages.damaged(&self.file, index, e))?;
            }
            left = &left[end..];
        }
        Ok(())
    }

    /// Adds the ordinals, of pages that have some of `range`, whose values are sought; see [`ColumnStack::find`].
    fn find(
        &self,
        range: RangeInclusive<u64>,
        caching: Caching,
        look: &impl Fn(&PageEntry) -> Look,
        sought: &mut Sought<'_>,
        scratch: &mut Scratch,
        found: &mut Marks,
    ) -> Result<(), RunError> {
        let opened = self.opened()?;
        for index in opened.pages_of(&range) {
            let look = look(&opened.pages.data()[index]);
            if look == Look::Pass {
                continue;
            }
            let guard = Guard::new();
            let page = opened.pages.page(&self.file, index, caching, &guard)?;
            let page = self.column_page(&opened.pages, page, index)?;
            let bits = match look {
                Look::All => page.find(&mut Sought::Any, scratch),
                _ => page.find(sought, scratch),
            };
            let bits = bits.map_err(|e| opened.pages.damaged(&self.file, index, e))?;
            if page.is_dense() {
                found.add_bits(page.first_ordinal(), bits);
            } else {
                let is_found = |entry: usize| bits[entry / 64] >> (entry % 64) & 1 == 1;
                let ordinals = page.ordinals().enumerate().filter(|(entry, _)| is_found(*entry));
                ordinals.for_each(|(_, ordinal)| found.add(ordinal));
            }
        }
        Ok(())
    }

    /// The ordinals that the run has cells for. Exact for sparse runs; of a dense run, which is asked last
    /// anyway, the range.
    ///
    /// # Errors
    /// If the set cannot be read.
    pub fn ordinals(&self) -> Result<&OrdinalSet, RunError> {
        self.opened()?.pages.ordinals(&self.file)
    }

    #[inline]
    fn opened(&self) -> Result<&OpenedColumn, RunError> {
        match self.opened.get() {
            Some(opened) => Ok(opened),
            None => self.open(),
        }
    }

    #[cold]
    fn open(&self) -> Result<&OpenedColumn, RunError> {
        let pages = self.file.section(self.number)?.clone();
        let SectionId::Column { kind, .. } = pages.id() else { return Err(pages.wrong_kind(&self.file, 0)) };
        let first = |entry: &PageEntry| match entry.place {
            PagePlace::Column { first_ordinal, .. } => first_ordinal,
            _ => 0,
        };
        let first_ordinals: Vec<u64> = pages.data().iter().map(first).collect();
        let page_share = match &first_ordinals[..] {
            [first, .., last] if first < last => (first_ordinals.len() - 1) as f64 / (last - first) as f64,
            _ => 0.0,
        };
        let opened = OpenedColumn { pages, kind, first_ordinals, page_share };
        Ok(self.opened.get_or_init(|| opened))
    }

    /// Damage in the page that has `ordinal`.
    #[cold]
    fn damaged(&self, ordinal: Ordinal, error: DecodeError) -> RunError {
        match self.opened() {
            Ok(opened) => opened.pages.damaged(&self.file, opened.page_of(ordinal.0).unwrap_or_default(), error),
            Err(error) => error,
        }
    }

    #[inline]
    fn column_page<'p>(
        &self,
        pages: &SectionPages,
        page: &'p PageBody,
        index: usize,
    ) -> Result<&'p OpenColumnPage, RunError> {
        match page {
            PageBody::Column(page) => Ok(page),
            _ => Err(pages.wrong_kind(&self.file, index)),
        }
    }
}

/// Where a column says something about an ordinal; its page is open for as long as the guard is held. Of several
/// cells find all, then look at all ([`FoundCell::look`]), then read: memory answers many questions in the time of
/// one, as long as there is little to do between them.
#[derive(Default, Clone, Copy)]
pub struct FoundCell<'g> {
    /// Small, and made in registers: a score of them is made for each user.
    place: Option<(&'g ColumnRun, &'g OpenPage)>,
    ordinal: Ordinal,
    entry: Entry,
}

/// Which entry of its page a cell is.
#[derive(Default, Clone, Copy)]
enum Entry {
    /// Not looked for yet.
    #[default]
    Unknown,
    /// There is none.
    Missing,
    /// This one.
    At(u16),
}

impl Entry {
    #[inline]
    fn of(page: PageView<'_>, ordinal: Ordinal) -> Self {
        // A page has no more than 65,535 of them.
        page.entry_of(ordinal.0).map_or(Self::Missing, |entry| Self::At(entry as u16))
    }
}

impl<'g> FoundCell<'g> {
    #[inline]
    fn new(run: &'g ColumnRun, page: &'g OpenPage, ordinal: Ordinal) -> Self {
        prefetch_value(page);
        Self { place: Some((run, page)), ordinal, entry: Entry::Unknown }
    }

    /// Looks for the cell in its page and asks memory for it, so that it is near when it is read.
    #[inline]
    pub fn look(&mut self) {
        let Some((_, OpenPage { body: PageBody::Column(page), .. })) = self.place else { return };
        let page = page.view();
        self.entry = Entry::of(page, self.ordinal);
        if let Entry::At(entry) = self.entry {
            page.prefetch(usize::from(entry));
        }
    }

    /// Asks memory for a text exactly where it is, after a [`FoundCell::look`]: pays where many cells are of one column.
    #[inline]
    fn aim(&self) {
        if let (Some((_, OpenPage { body: PageBody::Column(page), .. })), Entry::At(entry)) = (self.place, self.entry) {
            page.view().prefetch_text(usize::from(entry));
        }
    }

    /// Gives the cell to `read`, without a copy: [`Cell::Missing`] if the column says nothing. A value that has to be
    /// put together is put together in `room`.
    ///
    /// # Errors
    /// If the cell's bytes are malformed.
    #[inline]
    pub fn with_in<R>(&self, room: &mut Vec<u8>, read: impl FnOnce(Cell<'_>) -> R) -> Result<R, RunError> {
        let Some((run, page)) = self.place else { return Ok(read(Cell::Missing)) };
        page.touch();
        let PageBody::Column(page) = &page.body else {
            return Err(run.damaged(self.ordinal, DecodeError::new("page", 0, "is of another kind than its section")));
        };
        let page = page.view();
        let entry = match self.entry {
            Entry::Unknown => Entry::of(page, self.ordinal),
            known => known,
        };
        match entry {
            Entry::At(entry) => {
                let read = page.with_entry(usize::from(entry), room, read);
                read.map_err(|error| run.damaged(self.ordinal, error))
            }
            _ => Ok(read(Cell::Missing)),
        }
    }
}

impl OpenedColumn {
    /// The page that has `ordinal` if any has. Guesses as if all pages held the same number of ordinals, as
    /// those of a dense run nearly do.
    #[inline]
    fn page_of(&self, ordinal: u64) -> Option<usize> {
        let firsts = &self.first_ordinals[..];
        let (first, last) = (*firsts.first()?, *firsts.last()?);
        if ordinal < first {
            return None;
        }
        if ordinal >= last {
            return Some(firsts.len() - 1);
        }
        // Here first <= ordinal < last, so there are two pages at least.
        let guess = ((ordinal - first) as f64 * self.page_share) as usize;
        for page in [guess, guess.wrapping_sub(1), guess + 1, guess.wrapping_sub(2), guess + 2] {
            if let (Some(first), Some(next)) = (firsts.get(page), firsts.get(page.wrapping_add(1)))
                && (*first..*next).contains(&ordinal)
            {
                return Some(page);
            }
        }
        Some(firsts.partition_point(|&first| first <= ordinal) - 1)
    }

    /// The pages that have ordinals of `range`.
    fn pages_of(&self, range: &RangeInclusive<u64>) -> std::ops::Range<usize> {
        let end = self.first_ordinals.partition_point(|first| first <= range.end());
        let start = self.page_of(*range.start()).unwrap_or(0);
        start.min(end)..end
    }
}
