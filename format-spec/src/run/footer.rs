//! The footer of a run file: which sections it has and where their pages stand.
//!
//! | size | field |
//! | --- | --- |
//! | 2 | number of sections |
//! | 2 | zero |
//!
//! then for each section its summary ([`SectionSummary`]), 2 bytes `filter_prefix` (0: no filter), the last key
//! behind a u16 length (empty for a column), 4 bytes number of pages, and for each page
//!
//! | size | field |
//! | --- | --- |
//! | 8 | offset of the page's frame in the file |
//! | 4 | length of the sealed page |
//! | 4 | entries |
//! | 1 | page kind |
//! | 24 | nonce |
//! | 16 | tag |
//! | … | by page kind and section: data of a column: first and last ordinal, u64 each, zone map ([`Zone`]); data of a sorted run: a key behind a u16 length, not above the page's first and above all keys before; filter: u32, the first data page that it covers; set of ordinals: nothing |

use super::fields::{Fields, put_short_bytes};
use super::{NONCE_BYTES, PageKind, SEAL_BYTES, SECTIONS_MAX, TAG_BYTES, Zone};
use crate::column::{ColumnKind, PAGE_BYTES_MAX};
use crate::{AttrId, DecodeError, Keyspace};

const NAME: &str = "run footer";
/// Shortest entry of the page directory in bytes.
const PAGE_ENTRY_BYTES_MIN: usize = 57;

/// What a section is: a run of one column or of one keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SectionId {
    /// Cells of one attribute, by ordinal.
    Column {
        /// The attribute.
        attr: AttrId,
        /// What its cells hold.
        kind: ColumnKind,
    },
    /// Keys and values of one keyspace, by key.
    Sorted(Keyspace),
}

impl SectionId {
    /// 1 for a column, 2 for a sorted run.
    pub fn kind_number(&self) -> u8 {
        match self {
            Self::Column { .. } => 1,
            Self::Sorted(_) => 2,
        }
    }

    /// The attribute's or keyspace's number.
    pub fn number(&self) -> u16 {
        match self {
            Self::Column { attr, .. } => attr.0,
            Self::Sorted(keyspace) => u16::from(keyspace.0),
        }
    }
}

/// A section in brief: what a manifest may keep of it, so that the file need not be opened to know.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 1 | 1 column, 2 sorted |
/// | 1 | 1 | column kind, or zero |
/// | 2 | 2 | attribute or keyspace |
/// | 4 | 4 | zero |
/// | 8 | 8 | entries |
/// | 16 | 8 | of these, explicit nulls or tombstones |
/// | 24 | 8 | first ordinal of a column, or zero |
/// | 32 | 8 | last ordinal of a column, or zero |
/// | 40 | 8 | bytes on disk, frames included |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionSummary {
    /// What the section is.
    pub id: SectionId,
    /// Number of entries.
    pub entries: u64,
    /// How many of them are explicit nulls (column) or tombstones (sorted).
    pub empty_entries: u64,
    /// First ordinal that has an entry; 0 for a sorted run.
    pub first_ordinal: u64,
    /// Last ordinal that has an entry; 0 for a sorted run.
    pub last_ordinal: u64,
    /// Length of the section's pages on disk, frames included.
    pub disk_bytes: u64,
}

impl SectionSummary {
    /// Length of the encoding in bytes.
    pub const BYTES: usize = 48;

    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let column_kind = match self.id {
            SectionId::Column { kind, .. } => kind as u8,
            SectionId::Sorted(_) => 0,
        };
        out.extend_from_slice(&[self.id.kind_number(), column_kind]);
        out.extend_from_slice(&self.id.number().to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for number in [self.entries, self.empty_entries, self.first_ordinal, self.last_ordinal, self.disk_bytes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Reads the first [`SectionSummary::BYTES`] of `bytes`.
    ///
    /// # Errors
    /// If there are fewer, or a kind is unknown.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Fields::new("section summary", bytes))
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let (kind, column_kind, number) = (fields.u8()?, fields.u8()?, fields.u16()?);
        let id = match (kind, column_kind) {
            (1, kind) => SectionId::Column { attr: AttrId(number), kind: ColumnKind::from_number(kind)? },
            (2, 0) => {
                SectionId::Sorted(Keyspace(u8::try_from(number).map_err(|_| fields.error("keyspace above 255"))?))
            }
            _ => return Err(fields.error("unknown kind of section")),
        };
        fields.zeroes(4)?;
        Ok(Self {
            id,
            entries: fields.u64()?,
            empty_entries: fields.u64()?,
            first_ordinal: fields.u64()?,
            last_ordinal: fields.u64()?,
            disk_bytes: fields.u64()?,
        })
    }
}

/// What a page covers, by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PagePlace {
    /// Cells for ordinals between these.
    Column {
        /// First ordinal that has an entry.
        first_ordinal: u64,
        /// Last ordinal that has an entry.
        last_ordinal: u64,
        /// Bounds of the values.
        zone: Zone,
    },
    /// Keys from this one on: not above the page's first key, above all keys of the pages before.
    Sorted {
        /// The lower bound; empty for the first page.
        from_key: Vec<u8>,
    },
    /// A filter over the keys of data pages.
    Filter {
        /// The first data page that it covers; the next filter page's is where it ends.
        first_page: u32,
    },
    /// The ordinals of the whole section.
    OrdinalSet,
}

/// A page in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageEntry {
    /// Where the page's frame starts in the file.
    pub offset: u64,
    /// Length of the sealed page in bytes, without its frame.
    pub sealed_bytes: u32,
    /// Number of entries.
    pub entries: u32,
    /// The nonce that the page was sealed with.
    pub nonce: [u8; NONCE_BYTES],
    /// The tag that it must have.
    pub tag: [u8; TAG_BYTES],
    /// What it covers.
    pub place: PagePlace,
}

impl PageEntry {
    /// What the page holds.
    pub fn kind(&self) -> PageKind {
        match self.place {
            PagePlace::Column { .. } | PagePlace::Sorted { .. } => PageKind::Data,
            PagePlace::Filter { .. } => PageKind::Filter,
            PagePlace::OrdinalSet => PageKind::OrdinalSet,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.sealed_bytes.to_le_bytes());
        out.extend_from_slice(&self.entries.to_le_bytes());
        out.push(self.kind() as u8);
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.tag);
        match &self.place {
            PagePlace::Column { first_ordinal, last_ordinal, zone } => {
                out.extend_from_slice(&first_ordinal.to_le_bytes());
                out.extend_from_slice(&last_ordinal.to_le_bytes());
                zone.encode(out);
            }
            PagePlace::Sorted { from_key } => put_short_bytes(out, from_key),
            PagePlace::Filter { first_page } => out.extend_from_slice(&first_page.to_le_bytes()),
            PagePlace::OrdinalSet => {}
        }
    }

    fn read(fields: &mut Fields<'_>, section: SectionId) -> Result<Self, DecodeError> {
        let (offset, sealed_bytes, entries) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let kind = PageKind::from_number(fields.u8()?).ok_or_else(|| fields.error("unknown kind of page"))?;
        let (nonce, tag) = (fields.array()?, fields.array()?);
        let place = match (kind, section) {
            (PageKind::Data, SectionId::Column { .. }) => PagePlace::Column {
                first_ordinal: fields.u64()?,
                last_ordinal: fields.u64()?,
                zone: Zone::decode(fields)?,
            },
            (PageKind::Data, SectionId::Sorted(_)) => PagePlace::Sorted { from_key: fields.short_bytes()?.to_vec() },
            (PageKind::Filter, SectionId::Sorted(_)) => PagePlace::Filter { first_page: fields.u32()? },
            (PageKind::OrdinalSet, SectionId::Column { .. }) => PagePlace::OrdinalSet,
            _ => return Err(fields.error("this kind of page does not belong here")),
        };
        if (sealed_bytes as usize) < SEAL_BYTES || sealed_bytes as usize > PAGE_BYTES_MAX + SEAL_BYTES {
            return Err(fields.error("a sealed page is too short or too long"));
        }
        if matches!(place, PagePlace::Column { first_ordinal, last_ordinal, .. } if first_ordinal > last_ordinal) {
            return Err(fields.error("a page ends before it starts"));
        }
        Ok(Self { offset, sealed_bytes, entries, nonce, tag, place })
    }
}

/// A section and its pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The section in brief.
    pub summary: SectionSummary,
    /// How many leading bytes of a key the filter pages were made of; 0 if there are none.
    pub filter_prefix: u16,
    /// The last key of a sorted run; empty for a column.
    pub last_key: Vec<u8>,
    /// Its pages: first all data pages in order, then the others.
    pub pages: Vec<PageEntry>,
}

/// The footer of a run file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Footer {
    /// The file's sections, numbered from 0.
    pub sections: Vec<Section>,
}

impl Footer {
    /// The footer's plain text.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&(self.sections.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        for section in &self.sections {
            section.summary.encode(&mut out);
            out.extend_from_slice(&section.filter_prefix.to_le_bytes());
            put_short_bytes(&mut out, &section.last_key);
            out.extend_from_slice(&(section.pages.len() as u32).to_le_bytes());
            section.pages.iter().for_each(|page| page.encode(&mut out));
        }
        out
    }

    /// Reads a footer.
    ///
    /// # Errors
    /// If it is malformed, or its pages are not in order: by ordinal or key, data pages first.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(NAME, bytes);
        let count = usize::from(fields.u16()?);
        fields.zeroes(2)?;
        if count > SECTIONS_MAX {
            return Err(DecodeError::new(NAME, 0, "too many sections"));
        }
        let mut sections = Vec::with_capacity(count.min(fields.remaining() / SectionSummary::BYTES));
        for _ in 0..count {
            sections.push(read_section(&mut fields)?);
        }
        fields.end()?;
        Ok(Self { sections })
    }
}

fn read_section(fields: &mut Fields<'_>) -> Result<Section, DecodeError> {
    let summary = SectionSummary::read(fields)?;
    let filter_prefix = fields.u16()?;
    let last_key = fields.short_bytes()?.to_vec();
    let page_count = fields.u32()? as usize;
    if page_count > fields.remaining() / PAGE_ENTRY_BYTES_MIN {
        return Err(fields.error("more pages than bytes for them"));
    }
    let mut pages: Vec<PageEntry> = Vec::with_capacity(page_count);
    for _ in 0..page_count {
        let page = PageEntry::read(fields, summary.id)?;
        if pages.last().is_some_and(|before| !follows(before, &page)) {
            return Err(fields.error("pages are out of order"));
        }
        pages.push(page);
    }
    Ok(Section { summary, filter_prefix, last_key, pages })
}

/// Whether `page` may stand behind `before` in a section.
fn follows(before: &PageEntry, page: &PageEntry) -> bool {
    if page.offset <= before.offset {
        return false;
    }
    match (&before.place, &page.place) {
        (PagePlace::Column { last_ordinal, .. }, PagePlace::Column { first_ordinal, last_ordinal: last, .. }) => {
            last_ordinal < first_ordinal && first_ordinal <= last
        }
        (PagePlace::Sorted { from_key: before }, PagePlace::Sorted { from_key }) => before < from_key,
        (PagePlace::Filter { first_page: before }, PagePlace::Filter { first_page }) => before < first_page,
        (PagePlace::Column { .. }, PagePlace::OrdinalSet) | (PagePlace::Sorted { .. }, PagePlace::Filter { .. }) => {
            true
        }
        _ => false,
    }
}
