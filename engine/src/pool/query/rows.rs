//! Some users with what was selected of them, a column at a time, in few buffers: a page of a listing takes no memory
//! for each value.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use stoa_format::AttrId;

use super::Batch;
use crate::error::{Error, Result};
use crate::pool::found::{UserFields, by_name};
use crate::pool::record::SignIn;
use crate::pool::request::Status;
use crate::pool::schema::Attribute;
use crate::pool::snapshot::damaged;
use crate::pool::value::{CellValue, Value, ValueRef};
use crate::pool::view::{Select, UserView};

/// Users with what was selected of them.
pub(crate) struct Rows {
    fields: Vec<UserFields>,
    columns: Vec<Column>,
    /// Absent values are shown: they were asked for by name.
    shows_absent: bool,
    /// About what each takes in a reply.
    reply_bytes: Vec<usize>,
    values: Held,
}

/// One of a page's users; see [`Pool::each_listed`](crate::Pool::each_listed).
#[derive(Clone, Copy)]
pub struct UserRow<'r> {
    rows: &'r Rows,
    at: usize,
}

struct Column {
    name: Arc<str>,
    /// One a user.
    cells: Vec<Cell>,
}

/// A value, or where it stands in [`Held`].
#[derive(Clone, Copy)]
enum Cell {
    Absent,
    Int(i64),
    Bool(bool),
    Time(i64),
    Str(Place),
    Json(Place),
    Bytes(Place),
    List(usize),
}

/// Bytes from a place on, so many.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    len: usize,
}

impl Place {
    fn range(self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

/// The values that are longer than a cell, one after the other.
#[derive(Default)]
struct Held {
    text: String,
    raw: Vec<u8>,
    lists: Vec<Value>,
}

impl Held {
    #[inline]
    fn hold(&mut self, value: ValueRef<'_>) -> Cell {
        match value {
            ValueRef::Int(value) => Cell::Int(value),
            ValueRef::Bool(value) => Cell::Bool(value),
            ValueRef::Time(value) => Cell::Time(value),
            ValueRef::Str(text) => Cell::Str(self.put_text(text)),
            ValueRef::Json(text) => Cell::Json(self.put_text(text)),
            ValueRef::Bytes(raw) => {
                let start = self.raw.len();
                self.raw.extend_from_slice(raw);
                Cell::Bytes(Place { start, len: raw.len() })
            }
            ValueRef::Multi(values) => self.hold_list(Value::Multi(values.to_vec())),
        }
    }

    fn put_text(&mut self, text: &str) -> Place {
        let start = self.text.len();
        self.text.push_str(text);
        Place { start, len: text.len() }
    }

    fn hold_list(&mut self, list: Value) -> Cell {
        self.lists.push(list);
        Cell::List(self.lists.len() - 1)
    }

    #[inline]
    fn show(&self, cell: Cell) -> Option<ValueRef<'_>> {
        Some(match cell {
            Cell::Absent => return None,
            Cell::Int(value) => ValueRef::Int(value),
            Cell::Bool(value) => ValueRef::Bool(value),
            Cell::Time(value) => ValueRef::Time(value),
            Cell::Str(place) => ValueRef::Str(&self.text[place.range()]),
            Cell::Json(place) => ValueRef::Json(&self.text[place.range()]),
            Cell::Bytes(place) => ValueRef::Bytes(&self.raw[place.range()]),
            Cell::List(at) => ValueRef::Multi(self.lists[at].elements()),
        })
    }
}

impl Held {
    /// About what a value takes in a reply.
    fn reply_bytes(&self, cell: Cell) -> usize {
        16 + match cell {
            Cell::Str(place) | Cell::Json(place) | Cell::Bytes(place) => place.len,
            Cell::List(at) => {
                // Elements are written with what separates them.
                self.lists[at].elements().iter().map(|element| 16 + element.wire().len()).sum()
            }
            Cell::Absent | Cell::Int(_) | Cell::Bool(_) | Cell::Time(_) => 24,
        }
    }
}

impl Rows {
    /// User `at`.
    pub(crate) fn row(&self, at: usize) -> UserRow<'_> {
        UserRow { rows: self, at }
    }
}

impl<'r> UserRow<'r> {
    /// The built-in fields.
    pub fn fields(&self) -> &'r UserFields {
        &self.rows.fields[self.at]
    }

    /// The selected attributes with their values: those that are set, in the schema's order, or those that were asked
    /// for by name, in that order, `None` for an absent one.
    pub fn attrs(&self) -> impl Iterator<Item = (&'r str, Option<ValueRef<'r>>)> + Clone {
        self.named().map(|(name, value)| (&**name, value))
    }

    fn named(&self) -> impl Iterator<Item = (&'r Arc<str>, Option<ValueRef<'r>>)> + Clone {
        let Self { rows, at } = *self;
        let shown = move |column: &'r Column| {
            let value = rows.values.show(column.cells[at]);
            (value.is_some() || rows.shows_absent).then_some((&column.name, value))
        };
        rows.columns.iter().filter_map(shown)
    }

    /// About what it takes in a reply.
    pub(crate) fn reply_bytes(&self) -> usize {
        self.rows.reply_bytes[self.at]
    }

    /// A copy of it all.
    pub fn view(&self) -> UserView {
        let attrs = self.named().map(|(name, value)| (Arc::clone(name), value.map(ValueRef::into_owned)));
        UserView { attrs: attrs.collect(), ..(*self.fields()).into() }
    }
}

impl Batch<'_> {
    /// All users with what `select` names.
    ///
    /// # Errors
    /// `INVALID` for a name that is no attribute's; `DAMAGED`, `IOERROR`.
    pub(crate) fn rows(&self, select: &Select) -> Result<Rows> {
        let fields = self.fields()?;
        let (mut values, mut columns) = (Held::default(), Vec::new());
        let schema = self.snapshot().schema();
        match select {
            Select::Nothing => {}
            Select::All => {
                let mut lists = self.lists(|_| true)?;
                let runs = &self.snapshot().version.runs;
                for attribute in schema.attributes() {
                    // What neither runs nor memtables know nobody has.
                    if attribute.multi || runs.column(attribute.id).is_some() || self.has_deltas() {
                        columns.push(self.hold_column(attribute, &mut lists, &mut values)?);
                    }
                }
            }
            Select::Named(names) => {
                let mut lists = self.lists(|attribute| names.iter().any(|name| **name == *attribute.name))?;
                for name in names.iter() {
                    columns.push(self.hold_named(name, &fields, &mut lists, &mut values)?);
                }
            }
        }
        let shows_absent = matches!(select, Select::Named(_));
        let reply_bytes = self.reply_bytes(&columns, shows_absent, &values);
        Ok(Rows { fields, columns, shows_absent, reply_bytes, values })
    }

    /// About what each user takes in a reply.
    fn reply_bytes(&self, columns: &[Column], shows_absent: bool, held: &Held) -> Vec<usize> {
        const FIXED_BYTES: usize = 200;
        let mut bytes = vec![FIXED_BYTES; self.len()];
        for column in columns {
            for (bytes, cell) in bytes.iter_mut().zip(&column.cells) {
                *bytes += match cell {
                    Cell::Absent if shows_absent => 12 + column.name.len(),
                    Cell::Absent => 0,
                    cell => 8 + column.name.len() + held.reply_bytes(*cell),
                };
            }
        }
        bytes
    }

    fn fields(&self) -> Result<Vec<UserFields>> {
        let subs = self.subs()?;
        let columns = [AttrId::VERSION, AttrId::ENABLED, AttrId::STATUS, AttrId::CREATED_AT, AttrId::UPDATED_AT];
        let [versions, enabled, statuses, created, updated] = columns.map(|attr| self.ints(attr));
        let (versions, enabled, statuses, created, updated) = (versions?, enabled?, statuses?, created?, updated?);
        let field = |(at, sub)| {
            let status = Status::from_code(statuses[at])
                .ok_or_else(|| Error::damaged("a user's status is unknown; run stoa verify"))?;
            Ok(UserFields {
                sub,
                version: versions[at] as u64,
                enabled: enabled[at] != 0,
                status,
                created_at_ms: created[at] as u64,
                updated_at_ms: updated[at] as u64,
            })
        };
        subs.into_iter().enumerate().map(field).collect()
    }

    /// The values of an attribute; those of a multi-valued one are taken out of `lists`.
    fn hold_column(
        &self,
        attribute: &Attribute,
        lists: &mut HashMap<(usize, AttrId), Value>,
        held: &mut Held,
    ) -> Result<Column> {
        let mut cells = vec![Cell::Absent; self.len()];
        if attribute.multi {
            for (at, cell) in cells.iter_mut().enumerate() {
                let list = lists.remove(&(at, attribute.id));
                *cell = list.map_or(Cell::Absent, |list| held.hold_list(list));
            }
        } else {
            let mut failed = None;
            self.each_cell(attribute.id, |at, cell| {
                let Some(cell) = cell else { return };
                match ValueRef::from_cell(attribute.ty, cell) {
                    Ok(value) => cells[at] = held.hold(value),
                    Err(fault) => drop(failed.get_or_insert(fault)),
                }
            })?;
            failed.map_or(Ok(()), |fault| Err(damaged(&fault)))?;
        }
        Ok(Column { name: attribute.name.shared(), cells })
    }

    /// An attribute or built-in field by name.
    fn hold_named(
        &self,
        name: &str,
        fields: &[UserFields],
        lists: &mut HashMap<(usize, AttrId), Value>,
        held: &mut Held,
    ) -> Result<Column> {
        let mut built_in = |field: &dyn Fn(&UserFields, &mut Held) -> Cell| {
            Ok(Column { name: name.into(), cells: fields.iter().map(|fields| field(fields, held)).collect() })
        };
        match name {
            "sub" => built_in(&|fields, held| held.hold(ValueRef::Str(&fields.sub.to_string()))),
            "version" => built_in(&|fields, _| Cell::Int(fields.version as i64)),
            "enabled" => built_in(&|fields, _| Cell::Bool(fields.enabled)),
            "status" => built_in(&|fields, held| held.hold(ValueRef::Str(fields.status.word()))),
            "created_at" => built_in(&|fields, _| Cell::Time(fields.created_at_ms as i64)),
            "updated_at" => built_in(&|fields, _| Cell::Time(fields.updated_at_ms as i64)),
            "locked" => Ok(Column { name: name.into(), cells: self.locked()? }),
            _ => self.hold_column(by_name(self.snapshot().schema(), name)?, lists, held),
        }
    }

    /// Whether each is locked out now.
    fn locked(&self) -> Result<Vec<Cell>> {
        let now_ms = self.snapshot().pool.now_ms();
        let mut cells = vec![Cell::Bool(false); self.len()];
        let mut failed = None;
        self.each_cell(AttrId::SIGN_IN, |at, cell| {
            let Some(CellValue::Bytes(bytes)) = cell else { return };
            match SignIn::decode(bytes) {
                Ok(state) => cells[at] = Cell::Bool(state.locked_until_ms > now_ms),
                Err(fault) => drop(failed.get_or_insert(fault)),
            }
        })?;
        failed.map_or(Ok(cells), |fault| Err(damaged(&fault)))
    }
}
