//! One section of an opened file: its directory and the slots of its open pages.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use roaring::RoaringBitmap;
use sdd::{Guard, Shared};
use stoa_format::column::{ColumnPage, Symbols};
use stoa_format::run::{PageEntry, PageId, PageKind, PagePlace, Section, SectionId};
use stoa_format::sorted::{FilterPage, SortedPage};
use stoa_format::{DecodeError, run};

use super::cache::{Plain, Slots};
use super::{OpenPage, PageBody, RunError, RunFault, RunFile};

/// The ordinals that a run has cells for.
#[derive(Debug)]
pub enum OrdinalSet {
    /// All of these.
    Range(RangeInclusive<u64>),
    /// These.
    Set(RoaringBitmap),
}

impl OrdinalSet {
    /// Whether the run has a cell for `ordinal`.
    #[inline]
    pub fn contains(&self, ordinal: u64) -> bool {
        match self {
            Self::Range(range) => range.contains(&ordinal),
            Self::Set(set) => u32::try_from(ordinal).is_ok_and(|ordinal| set.contains(ordinal)),
        }
    }

    /// Adds all of them to `set`; ordinals of 2^32 and more do not exist in memory.
    pub fn add_to(&self, set: &mut RoaringBitmap) {
        match self {
            Self::Set(own) => *set |= own,
            Self::Range(range) => {
                let short = |ordinal: u64| u32::try_from(ordinal).unwrap_or(u32::MAX);
                set.insert_range(short(*range.start())..=short(*range.end()));
            }
        }
    }
}

/// What becomes of a page that had to be read from disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// It is kept: others will want it.
    Keep,
    /// It is let go: a scan passes by once.
    Pass,
}

/// A section's directory and open pages.
pub(crate) struct SectionPages {
    pub(crate) number: u16,
    pub(crate) section: Section,
    /// How many of the pages are data pages; they come first.
    pub(crate) data_pages: usize,
    slots: Arc<Slots>,
    /// The symbols of the page of compressed strings that was opened last.
    symbols: ArcSwapOption<Symbols>,
    /// The ordinals of a column; read when first asked for.
    ordinals: OnceLock<OrdinalSet>,
}

impl SectionPages {
    pub(crate) fn new(number: u16, section: Section) -> Self {
        let data_pages = section.pages.iter().take_while(|page| page.kind() == PageKind::Data).count();
        let slots = Slots::new(section.pages.len());
        Self { number, section, data_pages, slots, symbols: ArcSwapOption::empty(), ordinals: OnceLock::new() }
    }

    pub(crate) fn id(&self) -> SectionId {
        self.section.summary.id
    }

    /// The directory's data pages.
    pub(crate) fn data(&self) -> &[PageEntry] {
        &self.section.pages[..self.data_pages]
    }

    /// The ordinals that a column has cells for: its set if it has one, otherwise the range.
    pub(crate) fn ordinals(&self, file: &RunFile) -> Result<&OrdinalSet, RunError> {
        if let Some(ordinals) = self.ordinals.get() {
            return Ok(ordinals);
        }
        let set_page = self.section.pages.iter().position(|page| page.place == PagePlace::OrdinalSet);
        let ordinals = match set_page {
            None => OrdinalSet::Range(self.section.summary.first_ordinal..=self.section.summary.last_ordinal),
            Some(index) => match self.page(file, index, Caching::Pass, &Guard::new())? {
                PageBody::OrdinalSet(set) => OrdinalSet::Set(set.clone()),
                _ => return Err(self.wrong_kind(file, index)),
            },
        };
        Ok(self.ordinals.get_or_init(|| ordinals))
    }

    /// Page `page`, open; read from disk unless it is open already.
    #[inline]
    pub(crate) fn page<'g>(
        &self,
        file: &RunFile,
        page: usize,
        caching: Caching,
        guard: &'g Guard,
    ) -> Result<&'g PageBody, RunError> {
        match self.open_page(page, guard) {
            Some(open) => {
                if caching == Caching::Keep {
                    open.touch();
                }
                Ok(&open.body)
            }
            None => Ok(&self.read_page(file, page, caching, guard)?.body),
        }
    }

    /// Page `page`, if it is open already. Nothing of the page itself is looked at.
    #[inline]
    pub(crate) fn open_page<'g>(&self, page: usize, guard: &'g Guard) -> Option<&'g OpenPage> {
        self.slots.get(page, guard)
    }

    /// Page `page`, read from disk.
    #[cold]
    pub(crate) fn read_page<'g>(
        &self,
        file: &RunFile,
        page: usize,
        caching: Caching,
        guard: &'g Guard,
    ) -> Result<&'g OpenPage, RunError> {
        Ok(self.read(file, page, caching)?.get_guarded_ref(guard))
    }

    /// The same, to keep for longer than a guard.
    pub(crate) fn held(&self, file: &RunFile, page: usize, caching: Caching) -> Result<Shared<OpenPage>, RunError> {
        match self.slots.held(page) {
            Some(open) => {
                if caching == Caching::Keep {
                    open.touch();
                }
                Ok(open)
            }
            None => self.read(file, page, caching),
        }
    }

    /// Whether page `page` is open.
    #[inline]
    pub(crate) fn is_open(&self, page: usize) -> bool {
        self.slots.is_open(page)
    }

    #[cold]
    fn read(&self, file: &RunFile, page: usize, caching: Caching) -> Result<Shared<OpenPage>, RunError> {
        let Some(entry) = self.section.pages.get(page) else {
            return Err(self.damaged(file, page, DecodeError::new("page directory", 0, "no such page")));
        };
        let plain = file.read_page(self.page_id(page, entry), entry)?;
        let body = self.parse(file, page, entry, plain)?;
        let open = file.env().cache.charge(body);
        if caching == Caching::Keep {
            file.env().cache.keep(&self.slots, page, &open);
        }
        Ok(open)
    }

    pub(crate) fn page_id(&self, page: usize, entry: &PageEntry) -> PageId {
        let last = page + 1 == self.section.pages.len();
        PageId { section: self.number, of: Some(self.id()), page: page as u32, last, kind: entry.kind() }
    }

    /// Opens a page's plain text and compares it with what the directory says.
    fn parse(&self, file: &RunFile, page: usize, entry: &PageEntry, plain: Plain) -> Result<PageBody, RunError> {
        let damaged = |error| self.damaged(file, page, error);
        let differs = || damaged(DecodeError::new("page", 0, "holds other entries than the directory says"));
        let (body, entries) = match &entry.place {
            PagePlace::Column { first_ordinal, last_ordinal, .. } => {
                let open = self.open_column(file, page, plain)?;
                if (open.first_ordinal(), open.last_ordinal()) != (*first_ordinal, *last_ordinal) {
                    return Err(differs());
                }
                let entries = open.count();
                (PageBody::Column(open), entries)
            }
            PagePlace::Sorted { .. } => {
                let open = SortedPage::open(plain).map_err(damaged)?;
                let entries = open.count();
                (PageBody::Sorted(open), entries)
            }
            PagePlace::Filter { .. } => {
                (PageBody::Filter(FilterPage::open(plain).map_err(damaged)?), entry.entries as usize)
            }
            PagePlace::OrdinalSet => {
                let set = RoaringBitmap::deserialize_from(plain.as_ref())
                    .map_err(|_| damaged(DecodeError::new("set of ordinals", 0, "malformed bitmap")))?;
                let entries = set.len() as usize;
                (PageBody::OrdinalSet(set), entries)
            }
        };
        if entries != entry.entries as usize {
            return Err(differs());
        }
        Ok(body)
    }

    fn open_column(&self, file: &RunFile, page: usize, plain: Plain) -> Result<ColumnPage<Plain>, RunError> {
        let (known, mut unread) = (self.symbols.load(), None);
        let open = ColumnPage::open_with(plain, known.as_ref(), |place| {
            self.symbols_before(file, page, place.page as usize).map_err(|error| unread = Some(error)).ok()
        });
        let open = open.map_err(|error| unread.unwrap_or_else(|| self.damaged(file, page, error)))?;
        if let Some(symbols) = open.symbols()
            && known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, symbols))
        {
            self.symbols.store(Some(symbols.clone()));
        }
        Ok(open)
    }

    /// The symbols of page `page`, which has them itself and stands before page `referring`.
    fn symbols_before(&self, file: &RunFile, referring: usize, page: usize) -> Result<Arc<Symbols>, RunError> {
        let lacks = || self.damaged(file, page, DecodeError::new("page", 0, "lacks the symbols that others refer to"));
        let entry = self.data().get(page).filter(|_| page < referring).ok_or_else(lacks)?;
        let plain = file.read_page(self.page_id(page, entry), entry)?;
        let open = ColumnPage::open(plain).map_err(|error| self.damaged(file, page, error))?;
        open.symbols().cloned().ok_or_else(lacks)
    }

    /// Damage in a page's plain text: the offset is the page's, since what is inside is sealed.
    #[cold]
    pub(crate) fn damaged(&self, file: &RunFile, page: usize, error: DecodeError) -> RunError {
        RunFault::Damaged {
            file: file.name().clone(),
            section: Some(self.id()),
            page: Some(page as u32),
            offset: self.section.pages.get(page).map_or(run::HEADER_BYTES as u64, |entry| entry.offset),
            reason: format!("{}: {}", error.structure, error.reason),
        }
        .into()
    }

    /// Damage: a page of another kind than its place asks for.
    #[cold]
    pub(crate) fn wrong_kind(&self, file: &RunFile, page: usize) -> RunError {
        self.damaged(file, page, DecodeError::new("page", 0, "is of another kind than its section"))
    }
}
