//! Writing a column page: cells in, the shortest encoding out.

use super::compressed::Packer;
use super::ordinals::Form;
use super::password;
use super::rows::Varying;
use super::{Cell, ColumnKind, HEADER_BYTES, PAGE_ENTRIES_MAX, PAGE_TARGET_BYTES, VALUE_BYTES_MAX, packed, strings};
use crate::run::{EncodeError, Zone};

/// Most distinct values of a page's dictionary.
const DICTIONARY_MAX: usize = 4096;
/// After how many values of a page its dictionary is judged.
const DICTIONARY_TRIAL: usize = 512;
/// For how many pages no dictionary is tried after one that did not pay.
const DICTIONARY_REST_PAGES: u32 = 15;
/// Slots of the table that finds a value's code: twice [`DICTIONARY_MAX`].
const TABLE_SLOTS: usize = 2 * DICTIONARY_MAX;
/// Most distinct templates of a password page.
const TEMPLATES_MAX: usize = 255;

/// Collects cells in ascending order of ordinals and writes them as one page. Used again for the next page of the
/// section: pages refer to those before them.
#[derive(Debug)]
pub struct ColumnPageBuilder {
    kind: ColumnKind,
    first: u64,
    /// Ordinals of the entries, from the first.
    offsets: Vec<u32>,
    /// One bit an entry; empty as long as none is absent.
    absent: Vec<u8>,
    absent_count: u32,
    values: Values,
    /// How many pages were finished.
    pages: u32,
}

/// What a finished page holds, for the footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnPageSummary {
    /// Number of entries.
    pub count: u32,
    /// How many of them are explicit nulls.
    pub absent_count: u32,
    /// The first ordinal that has an entry.
    pub first_ordinal: u64,
    /// The last ordinal that has an entry.
    pub last_ordinal: u64,
    /// Bounds of the values.
    pub zone: Zone,
}

#[derive(Debug)]
enum Values {
    Int(Vec<i64>, Option<(i64, i64)>),
    Fixed16(Vec<[u8; 16]>, Varying),
    Bytes(StringValues),
    Password { templates: Codes, raw: Strings },
}

impl ColumnPageBuilder {
    /// A builder of pages of one column.
    pub fn new(kind: ColumnKind) -> Self {
        let values = match kind {
            ColumnKind::Int => Values::Int(Vec::new(), None),
            ColumnKind::Fixed16 => Values::Fixed16(Vec::new(), Varying::default()),
            ColumnKind::Bytes => Values::Bytes(StringValues::default()),
            ColumnKind::Password => Values::Password { templates: Codes::default(), raw: Strings::default() },
        };
        Self { kind, first: 0, offsets: Vec::new(), absent: Vec::new(), absent_count: 0, values, pages: 0 }
    }

    /// Whether the page has no entry yet.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Number of entries so far.
    pub fn count(&self) -> usize {
        self.offsets.len()
    }

    /// Whether the page must be finished before an entry of this ordinal is pushed.
    pub fn must_finish_before(&self, ordinal: u64) -> bool {
        !self.is_empty() && ordinal.saturating_sub(self.first) >= u64::from(u32::MAX) - 1
    }

    /// Whether the page has reached its target size.
    pub fn is_full(&self) -> bool {
        if self.offsets.len() >= PAGE_ENTRIES_MAX {
            return true;
        }
        let count = self.offsets.len();
        let values = match &self.values {
            Values::Int(_, None) => 0,
            Values::Int(_, Some((min, max))) => {
                packed::area_bytes(count, packed::width_of(max.wrapping_sub(*min) as u64))
            }
            Values::Fixed16(_, varying) => varying.block_bytes(count),
            Values::Bytes(values) => values.estimated_bytes(self.pages),
            Values::Password { templates, raw } => templates.estimated_bytes() + raw.data.len(),
        };
        let span = self.offsets.last().map_or(0, |last| last + 1);
        let ordinals = if span == 0 { 0 } else { Form::choose(count, span).1 };
        HEADER_BYTES + ordinals + self.absent.len() + values >= PAGE_TARGET_BYTES
    }

    /// Adds an entry: a value or [`Cell::Absent`].
    ///
    /// # Errors
    /// If the ordinal is not above the last one, the cell is [`Cell::Missing`] or not of the column's kind, or a
    /// value is longer than [`VALUE_BYTES_MAX`]. Nothing is added then.
    pub fn push(&mut self, ordinal: u64, cell: &Cell<'_>) -> Result<(), EncodeError> {
        let refuse = |reason| Err(EncodeError { structure: "column page", reason });
        let offset = if self.offsets.is_empty() { Some(0) } else { ordinal.checked_sub(self.first) };
        let offset = match offset.and_then(|o| u32::try_from(o).ok()) {
            Some(offset) if self.offsets.last().is_none_or(|&last| offset > last) && offset < u32::MAX - 1 => offset,
            _ => return refuse("ordinals must ascend, within 2^32 in a page"),
        };
        if ordinal == u64::MAX {
            return refuse("the last ordinal of all cannot be used");
        }
        if self.offsets.len() >= PAGE_ENTRIES_MAX {
            return refuse("the page is full");
        }
        if cell.bytes().is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
            return refuse("a value is too long");
        }
        let absent = matches!(cell, Cell::Absent);
        match (&mut self.values, cell) {
            (_, Cell::Missing) => return refuse("a missing cell cannot be stored"),
            (Values::Int(values, bounds), Cell::Int(value)) => {
                values.push(*value);
                *bounds = Some(bounds.map_or((*value, *value), |(min, max)| (min.min(*value), max.max(*value))));
            }
            (Values::Int(values, _), Cell::Absent) => values.push(0),
            (Values::Fixed16(values, varying), Cell::Fixed16(value)) => {
                varying.add(value);
                values.push(*value);
            }
            (Values::Fixed16(values, _), Cell::Absent) => values.push([0; 16]),
            (Values::Bytes(values), Cell::Bytes(value)) => values.push(value),
            (Values::Bytes(values), Cell::Absent) => values.push(&[]),
            (Values::Password { templates, raw }, Cell::Bytes(value)) => push_password(value, templates, raw),
            (Values::Password { templates, raw }, Cell::Absent) => push_password(&[], templates, raw),
            _ => return refuse("the cell is not of the column's kind"),
        }
        if self.offsets.is_empty() {
            self.first = ordinal;
        }
        let entry = self.offsets.len();
        self.offsets.push(offset);
        if absent || !self.absent.is_empty() {
            self.absent.resize(entry / 8 + 1, 0);
            self.absent[entry / 8] |= u8::from(absent) << (entry % 8);
            self.absent_count += u32::from(absent);
        }
        Ok(())
    }

    /// Appends the page's plain text and starts the next page; `None` if there are no entries.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Option<ColumnPageSummary> {
        let (count, last) = (self.offsets.len(), *self.offsets.last()?);
        let span = last + 1;
        let (form, _) = Form::choose(count, span);
        let zone = self.zone();
        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        form.encode(out, &self.offsets, span);
        self.absent.resize(if self.absent_count == 0 { 0 } else { count.div_ceil(8) }, 0);
        out.extend_from_slice(&self.absent);
        let encoding = self.encode_values(out);

        let (form, width) = form.numbers();
        let header = &mut out[start..start + HEADER_BYTES];
        header[..4].copy_from_slice(&[encoding, form, u8::from(self.absent_count > 0), width]);
        header[4..8].copy_from_slice(&(count as u32).to_le_bytes());
        header[8..16].copy_from_slice(&self.first.to_le_bytes());
        header[16..20].copy_from_slice(&span.to_le_bytes());
        let summary = ColumnPageSummary {
            count: count as u32,
            absent_count: self.absent_count,
            first_ordinal: self.first,
            last_ordinal: self.first + u64::from(last),
            zone,
        };
        self.clear();
        self.pages += 1;
        Some(summary)
    }

    fn zone(&self) -> Zone {
        match &self.values {
            Values::Int(_, Some((min, max))) => Zone::Int { min: *min, max: *max },
            Values::Bytes(values) => {
                let value = |(entry, value): (usize, _)| (!self.is_absent(entry)).then_some(value);
                Zone::of_bytes(values.iter().enumerate().filter_map(value))
            }
            Values::Int(_, None) | Values::Fixed16(..) | Values::Password { .. } => Zone::Unknown,
        }
    }

    fn is_absent(&self, entry: usize) -> bool {
        self.absent.get(entry / 8).is_some_and(|byte| byte >> (entry % 8) & 1 == 1)
    }

    /// Appends the values and gives the number of the encoding taken.
    fn encode_values(&mut self, out: &mut Vec<u8>) -> u8 {
        let absent = std::mem::take(&mut self.absent);
        let is_absent = |entry: usize| absent.get(entry / 8).is_some_and(|byte| byte >> (entry % 8) & 1 == 1);
        let encoding = match &mut self.values {
            Values::Int(values, bounds) => {
                let (min, max) = bounds.unwrap_or((0, 0));
                let width = packed::width_of(max.wrapping_sub(min) as u64);
                out.extend_from_slice(&min.to_le_bytes());
                put_width(out, width);
                let offset =
                    |(entry, value): (usize, &i64)| if is_absent(entry) { 0 } else { value.wrapping_sub(min) as u64 };
                packed::pack(out, width, values.iter().enumerate().map(offset));
                1
            }
            Values::Fixed16(values, varying) => {
                if values.len() == absent_entries(&absent) {
                    varying.add(&[0; 16]);
                }
                varying.encode(out, values.iter().map(|v| &v[..]));
                2
            }
            Values::Bytes(values) => values.encode(out, self.pages),
            Values::Password { templates, raw } => {
                templates.encode(out);
                strings::encode(out, &raw.data, &raw.ends);
                5
            }
        };
        self.absent = absent;
        encoding
    }

    fn clear(&mut self) {
        self.offsets.clear();
        self.absent.clear();
        self.absent_count = 0;
        match &mut self.values {
            Values::Int(values, bounds) => {
                values.clear();
                *bounds = None;
            }
            Values::Fixed16(values, varying) => {
                values.clear();
                *varying = Varying::default();
            }
            Values::Bytes(values) => values.clear(),
            Values::Password { templates, raw } => {
                templates.clear();
                raw.clear();
            }
        }
    }

    /// What the column holds.
    pub fn kind(&self) -> ColumnKind {
        self.kind
    }
}

fn absent_entries(absent: &[u8]) -> usize {
    absent.iter().map(|b| b.count_ones() as usize).sum()
}

fn put_width(out: &mut Vec<u8>, width: u32) {
    out.extend_from_slice(&[width as u8, 0, 0, 0, 0, 0, 0, 0]);
}

fn push_password(hash: &[u8], templates: &mut Codes, raw: &mut Strings) {
    if let Some(last) = templates.last_value()
        && password::split_as(last, hash, &mut raw.data)
    {
        raw.ends.push(raw.data.len() as u32);
        templates.repeat_last();
        return;
    }
    let (mut template, start) = (Vec::new(), raw.data.len());
    password::split(hash, &mut template, &mut raw.data);
    if templates.push(&template, TEMPLATES_MAX) {
        raw.ends.push(raw.data.len() as u32);
        return;
    }
    // One page has few schemes; the odd one more is kept verbatim, for which a place is held from the start.
    raw.data.truncate(start);
    raw.push(hash);
    templates.push(&[], TEMPLATES_MAX + 1);
}

/// Strings end to end.
#[derive(Debug, Default)]
struct Strings {
    data: Vec<u8>,
    ends: Vec<u32>,
}

impl Strings {
    fn push(&mut self, value: &[u8]) {
        self.data.extend_from_slice(value);
        self.ends.push(self.data.len() as u32);
    }

    fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.data[start..self.ends[i] as usize]
    }

    fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
    }
}

/// Strings of few distinct values: each value once, and an index into them an entry.
#[derive(Debug, Default)]
struct Codes {
    values: Strings,
    codes: Vec<u16>,
    /// Code + 1 by hash, 0 for a free slot; allocated when first needed.
    table: Vec<u16>,
}

impl Codes {
    /// Adds an entry, unless its value would be one more than `values_max`.
    fn push(&mut self, value: &[u8], values_max: usize) -> bool {
        if self.table.is_empty() {
            self.table.resize(TABLE_SLOTS, 0);
        }
        let mut slot = xxhash_rust::xxh3::xxh3_64(value) as usize % TABLE_SLOTS;
        loop {
            match self.table[slot] {
                0 if self.values.ends.len() >= values_max => return false,
                0 => {
                    self.values.push(value);
                    self.table[slot] = self.values.ends.len() as u16;
                    self.codes.push(self.values.ends.len() as u16 - 1);
                    return true;
                }
                code if self.values.get(usize::from(code) - 1) == value => {
                    self.codes.push(code - 1);
                    return true;
                }
                _ => slot = (slot + 1) % TABLE_SLOTS,
            }
        }
    }

    /// The value of the last entry.
    fn last_value(&self) -> Option<&[u8]> {
        self.codes.last().map(|&code| self.values.get(usize::from(code)))
    }

    /// Adds an entry of the same value as the last one.
    fn repeat_last(&mut self) {
        self.codes.extend(self.codes.last().copied());
    }

    fn width(&self) -> u32 {
        packed::width_of(self.values.ends.len().saturating_sub(1) as u64)
    }

    fn estimated_bytes(&self) -> usize {
        let offsets = packed::area_bytes(self.values.ends.len() + 1, 8);
        self.values.data.len() + offsets + packed::area_bytes(self.codes.len(), self.width())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        strings::encode(out, &self.values.data, &self.values.ends);
        put_width(out, self.width());
        packed::pack(out, self.width(), self.codes.iter().map(|&code| u64::from(code)));
    }

    fn clear(&mut self) {
        self.values.clear();
        self.codes.clear();
        self.table.fill(0);
    }
}

/// Byte strings of a page: as a dictionary as long as that may pay, then end to end.
#[derive(Debug, Default)]
struct StringValues {
    codes: Codes,
    plain: Strings,
    /// Whether the values are in `plain`, not in `codes`.
    is_plain: bool,
    total_bytes: usize,
    /// How many more pages start without a dictionary.
    rest_pages: u32,
    packer: Packer,
}

impl StringValues {
    fn len(&self) -> usize {
        if self.is_plain { self.plain.ends.len() } else { self.codes.codes.len() }
    }

    fn push(&mut self, value: &[u8]) {
        if self.len() == 0 {
            self.is_plain = self.rest_pages > 0;
        }
        self.total_bytes += value.len();
        if !self.is_plain {
            let pays = || {
                self.codes.codes.len() < DICTIONARY_TRIAL
                    || self.codes.values.ends.len() * 4 < self.codes.codes.len() * 3
            };
            if pays() && self.codes.push(value, DICTIONARY_MAX) {
                return;
            }
            self.leave_dictionary();
            self.rest_pages = DICTIONARY_REST_PAGES;
        }
        self.plain.push(value);
    }

    fn leave_dictionary(&mut self) {
        self.plain = self.expanded();
        self.codes.clear();
        self.is_plain = true;
    }

    /// The dictionary's entries, end to end.
    fn expanded(&self) -> Strings {
        let mut plain = Strings::default();
        for &code in &self.codes.codes {
            plain.push(self.codes.values.get(usize::from(code)));
        }
        plain
    }

    fn plain_bytes(&self) -> usize {
        self.total_bytes + self.len()
    }

    fn estimated_bytes(&self, page: u32) -> usize {
        let packed = self.packer.estimate(self.total_bytes, page) + self.len();
        if self.is_plain { packed } else { self.codes.estimated_bytes().min(packed) }
    }

    /// The values in order.
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|i| {
            if self.is_plain { self.plain.get(i) } else { self.codes.values.get(usize::from(self.codes.codes[i])) }
        })
    }

    /// Appends the values of page `page` in the shortest encoding and gives its number.
    fn encode(&mut self, out: &mut Vec<u8>, page: u32) -> u8 {
        self.rest_pages = self.rest_pages.saturating_sub(1);
        let with_dictionary = if self.is_plain { usize::MAX } else { self.codes.estimated_bytes() };
        if with_dictionary.saturating_mul(3) <= self.plain_bytes() {
            self.codes.encode(out);
            return 4;
        }
        let expanded = (!self.is_plain).then(|| self.expanded());
        let plain = expanded.as_ref().unwrap_or(&self.plain);
        let packed = self.packer.pack(&plain.data, &plain.ends, page);
        let shortest = packed.as_ref().map_or(self.plain_bytes(), |packed| packed.bytes() + self.len());
        if with_dictionary <= shortest {
            self.codes.encode(out);
            return 4;
        }
        // A page that never filled tells nothing about the next one.
        if !self.is_plain && self.total_bytes >= PAGE_TARGET_BYTES / 2 {
            self.rest_pages = DICTIONARY_REST_PAGES;
        }
        if let Some(packed) = packed {
            return self.packer.encode(&packed, page, out);
        }
        strings::encode(out, &plain.data, &plain.ends);
        3
    }

    fn clear(&mut self) {
        self.codes.clear();
        self.plain.clear();
        self.is_plain = false;
        self.total_bytes = 0;
    }
}
