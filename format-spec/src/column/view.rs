//! Reading single cells of an open page.

use std::borrow::Cow;

use super::{Cell, NAME, Places, TemplatesAt, ValuesAt, password};
use crate::DecodeError;
use crate::prefetch::{prefetch, prefetch_value};

/// An open page's plain text beside where everything stands in it.
#[derive(Debug, Clone, Copy)]
pub struct PageView<'p> {
    pub(super) bytes: &'p [u8],
    pub(super) places: &'p Places,
}

impl<'p> PageView<'p> {
    /// The index of the entry of `ordinal`, if there is one.
    #[inline]
    pub fn entry_of(self, ordinal: u64) -> Option<usize> {
        self.places.ordinals.find(self.bytes, ordinal)
    }

    /// Gives what the page says about `ordinal` to `read`; bytes that do not stand in the page as they are come in
    /// `room`.
    ///
    /// # Errors
    /// If the value's bytes are malformed.
    #[inline]
    pub fn with_at<'a, R>(
        self,
        ordinal: u64,
        room: &'a mut Vec<u8>,
        read: impl FnOnce(Cell<'a>) -> R,
    ) -> Result<R, DecodeError>
    where
        'p: 'a,
    {
        match self.entry_of(ordinal) {
            Some(entry) => self.with_entry(entry, room, read),
            None => Ok(read(Cell::Missing)),
        }
    }

    /// Gives entry `entry` of the page, 0 being the first, to `read`; bytes that do not stand in the page as they are
    /// come in `room`. `read` is called where the value is found, so that it need not go through memory.
    ///
    /// # Errors
    /// If the value's bytes are malformed or there is no such entry.
    #[inline]
    pub fn with_entry<'a, R>(
        self,
        entry: usize,
        room: &'a mut Vec<u8>,
        read: impl FnOnce(Cell<'a>) -> R,
    ) -> Result<R, DecodeError>
    where
        'p: 'a,
    {
        let (raw, templates) = match &self.places.values {
            ValuesAt::Compressed(strings) if self.check(entry)? => {
                return Ok(read(Cell::Bytes(Cow::Borrowed(strings.get(self.bytes, entry, room)?))));
            }
            ValuesAt::Password { raw, templates } if self.check(entry)? => (raw, templates),
            _ => return self.with_entry_in_place(entry, read),
        };
        let TemplatesAt { texts, codes } = &**templates;
        let template = texts.get(self.bytes, codes.get(self.bytes, entry) as usize)?;
        let raw = raw.get(self.bytes, entry)?;
        if template.is_empty() {
            return Ok(read(Cell::Bytes(Cow::Borrowed(raw))));
        }
        room.clear();
        password::join(template, raw, room)?;
        Ok(read(Cell::Bytes(Cow::Borrowed(room))))
    }

    /// The same, of a page that keeps values as they are, or of an explicit null.
    #[inline]
    pub(super) fn with_entry_in_place<R>(
        self,
        entry: usize,
        read: impl FnOnce(Cell<'p>) -> R,
    ) -> Result<R, DecodeError> {
        if !self.check(entry)? {
            return Ok(read(Cell::Absent));
        }
        let page = self.bytes;
        Ok(match &self.places.values {
            ValuesAt::Int { min, offsets } => read(Cell::Int(min.wrapping_add(offsets.get(page, entry) as i64))),
            ValuesAt::Rows(rows) => {
                let row = rows.row(page, entry);
                read(Cell::Fixed16(row.first_chunk::<16>().copied().unwrap_or_default()))
            }
            ValuesAt::Strings(strings) => read(Cell::Bytes(Cow::Borrowed(strings.get(page, entry)?))),
            ValuesAt::Dictionary { values, codes } => {
                read(Cell::Bytes(Cow::Borrowed(values.get(page, codes.get(page, entry) as usize)?)))
            }
            ValuesAt::Password { .. } | ValuesAt::Compressed(_) => {
                return Err(DecodeError::new(NAME, 0, "values do not stand as they are"));
            }
        })
    }

    /// Asks memory for the value of entry `entry`, so that it is near when it is read.
    #[inline]
    pub fn prefetch(self, entry: usize) {
        let page = self.bytes;
        if let Some(at) = self.places.absent_at {
            prefetch(page, at.get() as usize + entry / 8);
        }
        match &self.places.values {
            ValuesAt::Int { offsets: numbers, .. } | ValuesAt::Dictionary { codes: numbers, .. } => {
                numbers.prefetch(page, entry)
            }
            ValuesAt::Rows(rows) => rows.prefetch(page, entry),
            ValuesAt::Strings(strings) => strings.prefetch(page, entry),
            ValuesAt::Password { raw, templates } => {
                prefetch_value(&**templates);
                raw.prefetch(page, entry);
            }
            ValuesAt::Compressed(strings) => strings.strings().prefetch(page, entry),
        }
    }

    /// Asks memory for a text exactly where it is, once [`Self::prefetch`] was answered: of many cells at once.
    #[inline]
    pub fn prefetch_text(self, entry: usize) {
        match &self.places.values {
            ValuesAt::Strings(strings) | ValuesAt::Password { raw: strings, .. } => {
                strings.prefetch_text(self.bytes, entry);
            }
            ValuesAt::Compressed(strings) => strings.strings().prefetch_text(self.bytes, entry),
            ValuesAt::Int { .. } | ValuesAt::Rows(_) | ValuesAt::Dictionary { .. } => {}
        }
    }

    /// Whether entry `entry` has a value; otherwise it is an explicit null.
    #[inline]
    fn check(self, entry: usize) -> Result<bool, DecodeError> {
        if entry >= self.places.ordinals.count() {
            return Err(DecodeError::new(NAME, 4, "no such entry"));
        }
        Ok(!self.is_absent(entry))
    }

    /// Whether entry `entry` is an explicit null.
    #[inline]
    pub fn is_absent(self, entry: usize) -> bool {
        self.places.absent_at.is_some_and(|at| {
            let byte = self.bytes.get(at.get() as usize + entry / 8).copied().unwrap_or(0);
            byte >> (entry % 8) & 1 == 1
        })
    }
}
