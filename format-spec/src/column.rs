//! The plain text of a column page: cells of one attribute for ascending ordinals.
//!
//! Invariants:
//! 1. A page is read in place: opening it reads headers only, and one cell costs a few loads.
//! 2. Opening checks that every area lies within the page; what only the values themselves can show wrong
//!    (a code above the dictionary, a string's place) is an error of the read that meets it, never a panic and
//!    never another value.
//! 3. A page has 1 to 65,535 entries; an entry is a value or *absent* (an explicit null). About an ordinal
//!    without an entry the page says nothing: *missing*.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 1 | encoding of the values: 1 integers, 2 rows of 16 bytes, 3 strings, 4 dictionary, 5 passwords, 6 compressed strings, 7 compressed strings that refer to symbols |
//! | 1 | 1 | form of the ordinals: 0 dense, 1 bitmap, 2 list |
//! | 2 | 1 | flags: bit 0 an absence bitmap follows the ordinals |
//! | 3 | 1 | list: bits an ordinal; otherwise zero |
//! | 4 | 4 | `count`, entries |
//! | 8 | 8 | `first` ordinal |
//! | 16 | 4 | `span`: last ordinal - first + 1, at most 2^32 - 1 |
//! | 20 | 4 | zero |
//! | 24 | … | ordinals, absence bitmap, values |
//!
//! *Ordinals.* Dense: nothing, entry `i` is `first + i` and `span = count`. Bitmap: `ceil(span / 64)` words of
//! 8 bytes, bit `o - first` set for an entry, then for each 4 words a u16: how many bits are set before them.
//! List: `count` packed numbers `o - first`, ascending.
//!
//! *Absence bitmap.* `ceil(count / 8)` bytes, bit `i` set if entry `i` is absent. Its value is then any filler.
//!
//! *Values.* Integers: `min` i64, width u8, 7 zero bytes, `count` packed numbers `value - min`
//! (modulo 2^64). Rows: a row block ([`rows`]). Strings: a string block ([`strings`]) of `count`. Dictionary:
//! a string block of the distinct values, width u8, 7 zero bytes, `count` packed indexes into it. Passwords: a
//! string block of templates ([`password`]), width u8, 7 zero bytes, `count` packed indexes into it, a string
//! block of `count` raw bits. Compressed strings: symbols, or a reference to them, and a string block ([`compressed`])
//! of `count`. Nothing follows.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::DecodeError;
use crate::run::fields::Fields;

mod builder;
mod compressed;
mod find;
mod ordinals;
pub(crate) mod packed;
pub(crate) mod password;
pub(crate) mod rows;
pub(crate) mod strings;
mod symbols;
mod view;

pub use builder::{ColumnPageBuilder, ColumnPageSummary};
pub use compressed::{Symbols, SymbolsPlace};
pub use find::{BytesTest, Joined, Scratch, Sought};
pub use ordinals::Ordinals;
pub use view::PageView;

use compressed::CompressedAt;
use ordinals::OrdinalsAt;
use packed::PackedAt;
use rows::RowsAt;
use strings::StringsAt;

const NAME: &str = "column page";
const HEADER_BYTES: usize = 24;
/// Plain bytes at which a page is full.
pub const PAGE_TARGET_BYTES: usize = 16 << 10;
/// Most plain bytes of a page of any kind.
pub const PAGE_BYTES_MAX: usize = 16 << 20;
/// Longest value of a cell or of a sorted entry, in bytes.
pub const VALUE_BYTES_MAX: usize = 8 << 20;
/// Most entries of a column page.
pub const PAGE_ENTRIES_MAX: usize = 65_535;

/// What a column's cells hold; the same for a whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ColumnKind {
    /// Integers; also booleans and times in milliseconds.
    Int = 1,
    /// Sixteen bytes, e.g. a UUID.
    Fixed16 = 2,
    /// Byte strings: text, JSON, bytes.
    Bytes = 3,
    /// Stored password hashes, which are text with structure.
    Password = 4,
}

impl ColumnKind {
    /// The kind of this number in a footer.
    ///
    /// # Errors
    /// If there is none.
    pub fn from_number(number: u8) -> Result<Self, DecodeError> {
        Ok(match number {
            1 => Self::Int,
            2 => Self::Fixed16,
            3 => Self::Bytes,
            4 => Self::Password,
            _ => return Err(DecodeError::new("column kind", 0, "unknown number")),
        })
    }
}

/// What a run says about one ordinal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Nothing: an older run may know.
    Missing,
    /// The attribute has no value.
    Absent,
    /// An integer.
    Int(i64),
    /// Sixteen bytes.
    Fixed16([u8; 16]),
    /// A byte string.
    Bytes(Cow<'a, [u8]>),
}

impl Cell<'_> {
    /// The same cell, owning its bytes.
    pub fn into_owned(self) -> Cell<'static> {
        match self {
            Cell::Missing => Cell::Missing,
            Cell::Absent => Cell::Absent,
            Cell::Int(value) => Cell::Int(value),
            Cell::Fixed16(value) => Cell::Fixed16(value),
            Cell::Bytes(value) => Cell::Bytes(Cow::Owned(value.into_owned())),
        }
    }

    /// The cell's bytes, if it holds some.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Cell::Bytes(value) => Some(value),
            Cell::Fixed16(value) => Some(value),
            Cell::Missing | Cell::Absent | Cell::Int(_) => None,
        }
    }
}

/// Where a page's values stand. What is long is elsewhere: see [`ColumnPage`].
#[derive(Debug, Clone, PartialEq, Eq)]
enum ValuesAt {
    Int { min: i64, offsets: PackedAt },
    Rows(Box<RowsAt>),
    Strings(StringsAt),
    Dictionary { values: StringsAt, codes: PackedAt },
    Password { raw: StringsAt, templates: Box<TemplatesAt> },
    Compressed(CompressedAt),
}

/// What password hashes have besides salt and hash: the distinct texts, and which one each has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TemplatesAt {
    texts: StringsAt,
    codes: PackedAt,
}

/// An open column page: its plain text and where everything stands in it. That is what every cell of the page is found
/// by, and comes from memory anew for most users: it takes no more than 80 bytes besides the handle of the text.
#[derive(Debug, Clone)]
pub struct ColumnPage<B = Vec<u8>> {
    bytes: B,
    places: Places,
}

const _: () = assert!(size_of::<Places>() <= 80);

/// Where everything stands in a page.
#[derive(Debug, Clone)]
struct Places {
    ordinals: OrdinalsAt,
    /// Where the absence bitmap stands, if there is one.
    absent_at: Option<NonZeroU32>,
    values: ValuesAt,
}

impl<B: AsRef<[u8]>> ColumnPage<B> {
    /// Reads the headers of a page's plain text.
    ///
    /// # Errors
    /// If an area is malformed or does not lie within the page, the page is longer than [`PAGE_BYTES_MAX`], or refers
    /// to another one.
    pub fn open(bytes: B) -> Result<Self, DecodeError> {
        Self::open_with(bytes, None, |_| None)
    }

    /// The same, with the symbols of another page if this one refers to them: `known` if it is those, otherwise what
    /// `find` finds. Of a page that has `known` symbols itself they share their memory.
    ///
    /// # Errors
    /// As [`ColumnPage::open`]; if the symbols are not found.
    pub fn open_with(
        bytes: B,
        known: Option<&Arc<Symbols>>,
        find: impl FnOnce(SymbolsPlace) -> Option<Arc<Symbols>>,
    ) -> Result<Self, DecodeError> {
        let page = bytes.as_ref();
        if page.len() > PAGE_BYTES_MAX {
            return Err(DecodeError::new(NAME, 0, "longer than any page"));
        }
        let mut fields = Fields::new(NAME, page);
        let (encoding, form, flags, width) = (fields.u8()?, fields.u8()?, fields.u8()?, fields.u8()?);
        let (count, first, span) = (fields.u32()?, fields.u64()?, fields.u32()?);
        fields.zeroes(4)?;
        if count == 0 || count as usize > PAGE_ENTRIES_MAX {
            return Err(DecodeError::new(NAME, 4, "entries are none or too many"));
        }
        if flags > 1 {
            return Err(DecodeError::new(NAME, 2, "unknown flag"));
        }
        let (ordinals, mut at) = OrdinalsAt::parse(page, HEADER_BYTES, form, width, count, first, span)?;
        let absent_at = if flags == 1 { NonZeroU32::new(at as u32) } else { None };
        if flags == 1 {
            at += (count as usize).div_ceil(8);
        }
        let values = parse_values(page, at, encoding, count as usize, known, find)?;
        Ok(Self { places: Places { ordinals, absent_at, values }, bytes })
    }

    /// The page's plain text.
    pub fn bytes(&self) -> &B {
        &self.bytes
    }

    /// What single cells are read from.
    #[inline]
    pub fn view(&self) -> PageView<'_> {
        PageView { bytes: self.bytes.as_ref(), places: &self.places }
    }

    /// The symbols of a page of compressed strings.
    pub fn symbols(&self) -> Option<&Arc<Symbols>> {
        match &self.places.values {
            ValuesAt::Compressed(strings) => Some(strings.symbols()),
            _ => None,
        }
    }

    /// Number of entries.
    pub fn count(&self) -> usize {
        self.places.ordinals.count()
    }

    /// The first ordinal that has an entry.
    pub fn first_ordinal(&self) -> u64 {
        self.places.ordinals.first()
    }

    /// The last ordinal that has an entry.
    pub fn last_ordinal(&self) -> u64 {
        self.places.ordinals.last()
    }

    /// What the page says about `ordinal`.
    ///
    /// # Errors
    /// If the value's bytes are malformed.
    pub fn get(&self, ordinal: u64) -> Result<Cell<'_>, DecodeError> {
        match self.view().entry_of(ordinal) {
            Some(entry) => self.entry(entry),
            None => Ok(Cell::Missing),
        }
    }

    /// Entry `entry` of the page, 0 being the first.
    ///
    /// # Errors
    /// If the value's bytes are malformed or there is no such entry.
    pub fn entry(&self, entry: usize) -> Result<Cell<'_>, DecodeError> {
        match &self.places.values {
            ValuesAt::Compressed(_) | ValuesAt::Password { .. } => {
                self.view().with_entry(entry, &mut Vec::new(), Cell::into_owned)
            }
            _ => self.view().with_entry_in_place(entry, |cell| cell),
        }
    }

    /// Whether any entry may be an explicit null.
    pub fn has_absent(&self) -> bool {
        self.places.absent_at.is_some()
    }

    /// The ordinals of the entries, in order.
    pub fn ordinals(&self) -> Ordinals<'_> {
        self.places.ordinals.iter(self.bytes.as_ref())
    }

    /// Every ordinal with its cell, in order.
    pub fn cells(&self) -> impl Iterator<Item = (u64, Result<Cell<'_>, DecodeError>)> {
        self.ordinals().enumerate().map(|(entry, ordinal)| (ordinal, self.entry(entry)))
    }
}

/// Most bits of an index into a page's distinct values.
const CODE_BITS_MAX: u8 = 16;

fn parse_values(
    page: &[u8],
    at: usize,
    encoding: u8,
    count: usize,
    known: Option<&Arc<Symbols>>,
    find: impl FnOnce(SymbolsPlace) -> Option<Arc<Symbols>>,
) -> Result<ValuesAt, DecodeError> {
    let packed = |at: usize, is_codes: bool| -> Result<(PackedAt, usize), DecodeError> {
        let mut fields = Fields::at(NAME, page, at);
        let width = fields.u8()?;
        if is_codes && width > CODE_BITS_MAX {
            return Err(DecodeError::new(NAME, at, "indexes are wider than 16 bits"));
        }
        fields.zeroes(7)?;
        PackedAt::check(fields.position(), count, width, page.len())
    };
    let (values, end) = match encoding {
        1 => {
            let min = Fields::at(NAME, page, at).u64()? as i64;
            let (offsets, end) = packed(at + 8, false)?;
            (ValuesAt::Int { min, offsets }, end)
        }
        2 => {
            let (rows, end) = RowsAt::parse(page, at, count)?;
            if rows.row_bytes() != 16 {
                return Err(DecodeError::new(NAME, at, "rows are not of 16 bytes"));
            }
            (ValuesAt::Rows(Box::new(rows)), end)
        }
        3 => {
            let (strings, end) = StringsAt::parse(page, at)?;
            expect_strings(&strings, count, at)?;
            (ValuesAt::Strings(strings), end)
        }
        4 => {
            let (values, end) = StringsAt::parse(page, at)?;
            let (codes, end) = packed(end, true)?;
            (ValuesAt::Dictionary { values, codes }, end)
        }
        5 => {
            let (texts, end) = StringsAt::parse(page, at)?;
            let (codes, end) = packed(end, true)?;
            let (raw, end) = StringsAt::parse(page, end)?;
            expect_strings(&raw, count, at)?;
            (ValuesAt::Password { raw, templates: Box::new(TemplatesAt { texts, codes }) }, end)
        }
        6 | 7 => {
            let (strings, end) = match encoding {
                6 => CompressedAt::parse(page, at, known)?,
                _ => CompressedAt::parse_referring(page, at, known, find)?,
            };
            expect_strings(strings.strings(), count, at)?;
            (ValuesAt::Compressed(strings), end)
        }
        _ => return Err(DecodeError::new(NAME, 0, "unknown encoding")),
    };
    if end != page.len() {
        return Err(DecodeError::new(NAME, end, "bytes behind the end"));
    }
    Ok(values)
}

fn expect_strings(strings: &StringsAt, count: usize, at: usize) -> Result<(), DecodeError> {
    if strings.len() != count {
        return Err(DecodeError::new(NAME, at, "number of strings differs from the number of entries"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
