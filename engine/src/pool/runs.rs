//! What a pool has flushed: a stack of runs for each attribute and keyspace, and who is live.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use roaring::RoaringBitmap;
use stoa_format::column::{Cell, ColumnKind};
use stoa_format::manifest::{FileRef, SectionContent};
use stoa_format::{AttrId, Keyspace, Ordinal, PoolId, Seq};

use super::keyspace::{flat_key, split_flat};
use super::schema::Schema;
use super::value::{AttrType, CellValue, Value};
use crate::column::{ColumnRun, ColumnStack};
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Direction, KeyCursor, MergeCursor, Sole, SortedCursor, SortedRun, SortedStack};
use crate::keys::DataKey;
use crate::run::{Caching, RunEnv, RunError, RunFault, RunFile};

/// A cell that outlives its page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedCell {
    /// A number.
    Int(i64),
    /// Octets.
    Bytes(Bytes),
}

impl OwnedCell {
    /// A value's cell, without a copy; `None` for several values, which have none.
    pub fn of_value(value: Value) -> Option<Self> {
        Some(match value {
            Value::Int(value) | Value::Time(value) => Self::Int(value),
            Value::Bool(value) => Self::Int(i64::from(value)),
            Value::Str(text) | Value::Json(text) => Self::Bytes(text.into_boxed_bytes().into()),
            Value::Bytes(raw) => Self::Bytes(raw.into()),
            Value::Multi(_) => return None,
        })
    }

    /// The number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Bytes(_) => None,
        }
    }

    /// The same, lent.
    pub fn as_cell(&self) -> CellValue<'_> {
        match self {
            Self::Int(value) => CellValue::Int(*value),
            Self::Bytes(bytes) => CellValue::Bytes(bytes),
        }
    }

    /// The octets, if it is not a number.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Int(_) => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }

    /// The cell of a page; `None` if it is missing or absent.
    pub fn of(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Missing | Cell::Absent => None,
            Cell::Int(value) => Some(Self::Int(value)),
            Cell::Fixed16(bytes) => Some(Self::Bytes(Bytes::copy_from_slice(&bytes))),
            Cell::Bytes(bytes) => Some(Self::Bytes(Bytes::from(bytes.into_owned()))),
        }
    }
}

impl From<CellValue<'_>> for OwnedCell {
    fn from(cell: CellValue<'_>) -> Self {
        match cell {
            CellValue::Int(value) => Self::Int(value),
            CellValue::Bytes(bytes) => Self::Bytes(Bytes::copy_from_slice(bytes)),
        }
    }
}

/// The cell of a page, lent; `None` if it is missing or absent.
#[inline]
pub fn cell_of<'c>(cell: &'c Cell<'_>) -> Option<CellValue<'c>> {
    match cell {
        Cell::Missing | Cell::Absent => None,
        Cell::Int(value) => Some(CellValue::Int(*value)),
        Cell::Fixed16(bytes) => Some(CellValue::Bytes(bytes)),
        Cell::Bytes(bytes) => Some(CellValue::Bytes(bytes)),
    }
}

/// How an attribute's cells are kept in columns.
pub fn column_kind(attr: AttrId, schema: &Schema) -> ColumnKind {
    match attr {
        AttrId::SUB => ColumnKind::Fixed16,
        AttrId::PASSWORD => ColumnKind::Password,
        AttrId::SIGN_IN | AttrId::SOURCE_VERSION => ColumnKind::Bytes,
        attr if attr < AttrId::FIRST_USER => ColumnKind::Int,
        attr => match schema.by_id(attr).map(|attribute| attribute.ty) {
            Some(AttrType::Integer | AttrType::Boolean | AttrType::Timestamp) => ColumnKind::Int,
            _ => ColumnKind::Bytes,
        },
    }
}

/// The flushed state of a pool in one version of it.
pub struct Runs {
    /// Everything up to here is in the runs, and nothing newer.
    pub flushed_seq: Seq,
    /// The live users.
    pub live: RoaringBitmap,
    /// In order of attributes.
    columns: Vec<(AttrId, ColumnStack)>,
    /// For each attribute up to the last that has runs, the number of its stack among them, from 1; 0 for none: a
    /// profile asks for every attribute there is.
    column_at: Vec<u16>,
    keys: Vec<(Keyspace, SortedStack)>,
    /// The files, oldest first, as the manifest names them. The last field, so that what nothing names any more is
    /// removed in this order, and not in that of a hash table.
    pub files: Vec<(FileRef, Arc<RunFile>)>,
}

impl Runs {
    /// The runs of a manifest's files. Files that `known` has already open are taken from there.
    ///
    /// # Errors
    /// `DAMAGED` if a file names a data key that the pool does not have.
    #[allow(clippy::too_many_arguments, reason = "the parts of a version, put together in two places")]
    pub fn assemble(
        env: &Arc<RunEnv>,
        pool_dir: &Path,
        pool: PoolId,
        files: &[FileRef],
        known: &[(FileRef, Arc<RunFile>)],
        data_key: impl Fn(&FileRef) -> Result<Arc<DataKey>>,
        live: RoaringBitmap,
        flushed_seq: Seq,
    ) -> Result<Self> {
        let mut opened = Vec::with_capacity(files.len());
        for file in files {
            let run = match known.iter().find(|(other, _)| other.id == file.id) {
                Some((_, run)) => Arc::clone(run),
                None => RunFile::new(env, pool_dir, pool, file, &*data_key(file)?),
            };
            opened.push((file.clone(), run));
        }
        opened.sort_by_key(|(file, _)| file.age);
        type Stacked = (Vec<Arc<ColumnRun>>, Vec<Arc<ColumnRun>>);
        let mut columns: HashMap<AttrId, Stacked> = HashMap::new();
        let mut keys: HashMap<Keyspace, Vec<Arc<SortedRun>>> = HashMap::new();
        // Newest first.
        for (file, run) in opened.iter().rev() {
            for section in &file.sections {
                match section.content {
                    SectionContent::Column { attr, dense } => {
                        let (sparse, base) = columns.entry(attr).or_default();
                        let list = if dense { base } else { sparse };
                        list.push(ColumnRun::new(Arc::clone(run), section.section));
                    }
                    SectionContent::Keys { keyspace } => {
                        keys.entry(keyspace).or_default().push(SortedRun::new(Arc::clone(run), section.section));
                    }
                }
            }
        }
        let mut columns: Vec<_> =
            columns.into_iter().map(|(attr, (sparse, base))| (attr, ColumnStack::new(sparse, base))).collect();
        columns.sort_unstable_by_key(|(attr, _)| *attr);
        let mut column_at = vec![0; columns.last().map_or(0, |(attr, _)| usize::from(attr.0) + 1)];
        for (number, (attr, _)) in (1..).zip(&columns) {
            column_at[usize::from(attr.0)] = number;
        }
        let keys = keys.into_iter().map(|(keyspace, runs)| (keyspace, SortedStack::new(runs))).collect();
        Ok(Self { flushed_seq, live, files: opened, columns, column_at, keys })
    }

    /// Whether a user is live as far as the runs go.
    pub fn is_live(&self, ordinal: Ordinal) -> bool {
        u32::try_from(ordinal.0).is_ok_and(|ordinal| self.live.contains(ordinal))
    }

    /// The runs of an attribute.
    #[inline]
    pub fn column(&self, attr: AttrId) -> Option<&ColumnStack> {
        let number = *self.column_at.get(usize::from(attr.0))?;
        self.columns.get(usize::from(number).checked_sub(1)?).map(|(_, stack)| stack)
    }

    /// The attributes that have runs.
    pub fn columns(&self) -> impl Iterator<Item = (AttrId, &ColumnStack)> {
        self.columns.iter().map(|(attr, stack)| (*attr, stack))
    }

    /// The runs of a keyspace.
    pub fn keyspace(&self, keyspace: Keyspace) -> Option<&SortedStack> {
        self.keys.iter().find(|(other, _)| *other == keyspace).map(|(_, stack)| stack)
    }

    /// The keyspaces that have runs.
    pub fn keyspaces(&self) -> impl Iterator<Item = (Keyspace, &SortedStack)> {
        self.keys.iter().map(|(keyspace, stack)| (*keyspace, stack))
    }

    /// One cell; `None` if it is absent or no run says anything.
    pub fn cell(&self, attr: AttrId, ordinal: Ordinal) -> Result<Option<OwnedCell>> {
        match self.column(attr) {
            Some(stack) => stack.with(ordinal, OwnedCell::of).map_err(Error::from),
            None => Ok(None),
        }
    }

    /// Gives one cell to `read`, without a copy. A value that has to be put together is put together in `room`.
    #[inline]
    pub fn with_cell<R>(
        &self,
        attr: AttrId,
        ordinal: Ordinal,
        room: &mut Vec<u8>,
        read: impl FnOnce(Option<CellValue<'_>>) -> R,
    ) -> Result<R> {
        match self.column(attr) {
            Some(stack) => Ok(stack.with_in(ordinal, room, |cell| read(cell_of(&cell)))?),
            None => Ok(read(None)),
        }
    }

    /// The value behind a flat key.
    pub fn key(&self, flat: &[u8]) -> Result<Option<Bytes>> {
        let (keyspace, key) = split_flat(flat);
        match self.keyspace(keyspace) {
            Some(stack) => {
                Ok(stack.with(key, |value| value.and_then(|value| value.bytes().map(Bytes::copy_from_slice)))?)
            }
            None => Ok(None),
        }
    }

    /// Visits the keys that begin with `prefix` from `from` on, in order, until it breaks, without a copy. `prefix`
    /// and `from`, which begins with it, are flat; the keys that `visit` sees are not.
    pub fn each_key(
        &self,
        prefix: &[u8],
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let ((keyspace, prefix), (_, from)) = (split_flat(prefix), split_flat(from));
        let Some(stack) = self.keyspace(keyspace) else { return Ok(()) };
        match stack.sole(prefix, from)? {
            Sole::None => Ok(()),
            Sole::Run(run, first) => run.each(prefix, from, first, |key, value| match value.bytes() {
                Some(value) => visit(key, value),
                None => Ok(ControlFlow::Continue(())),
            }),
            Sole::Several => {
                let mut cursor = MergeCursor::new(stack.cursors(prefix, from, Caching::Keep)?, true)?;
                while let Some(key) = cursor.key().filter(|key| key.starts_with(prefix)) {
                    if visit(key, cursor.value()?.bytes().unwrap_or_default())?.is_break() {
                        break;
                    }
                    cursor.advance()?;
                }
                Ok(())
            }
        }
    }

    /// Walks the keys that begin with `prefix`: up from `bound` on, or down from below it. Both are
    /// flat.
    pub fn keys_from(&self, prefix: &Bytes, bound: &Bytes, direction: Direction) -> Result<KeyWalk> {
        let (keyspace, bare) = split_flat(prefix);
        let (_, bound) = split_flat(bound);
        let cursor = match self.keyspace(keyspace) {
            Some(stack) => {
                let cursors = match direction {
                    Direction::Ascending => stack.cursors(bare, bound, Caching::Keep)?,
                    Direction::Descending => stack.cursors_down(bound, Caching::Keep)?,
                };
                Some(MergeCursor::in_direction(cursors, direction, true)?)
            }
            None => None,
        };
        Ok(KeyWalk { keyspace, prefix: Bytes::copy_from_slice(bare), cursor })
    }
}

/// The keys of one prefix, one after the other.
pub struct KeyWalk {
    keyspace: Keyspace,
    prefix: Bytes,
    cursor: Option<MergeCursor<SortedCursor>>,
}

impl KeyWalk {
    /// The next flat key and its value; `None` at the end.
    pub fn next(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        let Some(cursor) = &mut self.cursor else { return Ok(None) };
        let Some(key) = cursor.key().filter(|key| key.starts_with(&self.prefix)) else { return Ok(None) };
        let flat = flat_key(self.keyspace, key);
        let value = cursor.value()?.bytes().map(Bytes::copy_from_slice).unwrap_or_default();
        cursor.advance()?;
        Ok(Some((flat, value)))
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        let kind = match error.fault() {
            RunFault::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => ErrorKind::NoSpace,
            RunFault::Io { .. } => ErrorKind::Io,
            RunFault::Damaged { .. } | RunFault::Missing { .. } | RunFault::Key { .. } => ErrorKind::Damaged,
            RunFault::Refused { .. } => ErrorKind::Limit,
            RunFault::Cancelled => ErrorKind::TryAgain,
        };
        let remedy = if kind == ErrorKind::Damaged { "; the rest is served. Run: stoa verify DIR" } else { "" };
        Self::new(kind, format!("{error}{remedy}")).because(error)
    }
}
