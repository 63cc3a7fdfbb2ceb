//! The columns of a load: one open file an attribute, its pages sealed as they fill.

use std::sync::Arc;

use stoa_format::column::{Cell, ColumnKind};
use stoa_format::manifest::FilePlace;
use stoa_format::{AttrId, Ordinal};

use super::files::{NewFiles, PARTITION_BYTES};
use crate::error::Result;
use crate::run::{ColumnShape, RunWriter};

/// One attribute's column.
pub(super) struct Column {
    attr: AttrId,
    kind: ColumnKind,
    /// The partition being written; none before the first value.
    writer: Option<RunWriter>,
}

impl Column {
    pub(super) fn new(attr: AttrId, kind: ColumnKind) -> Self {
        Self { attr, kind, writer: None }
    }

    /// Adds a value; ordinals ascend.
    pub(super) fn push(&mut self, files: &NewFiles, ordinal: u32, cell: &Cell<'_>) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let mut writer = files.create(FilePlace::Column, self.attr.0)?;
                writer.begin_column(self.attr, self.kind, ColumnShape::Dense)?;
                none.insert(writer)
            }
        };
        writer.push_cell(Ordinal(u64::from(ordinal)), cell)?;
        if writer.len_bytes() >= PARTITION_BYTES { self.finish(files) } else { Ok(()) }
    }

    /// Makes what was written durable.
    pub(super) fn finish(&mut self, files: &NewFiles) -> Result<()> {
        self.writer.take().map_or(Ok(()), |writer| files.finish(writer))
    }
}

/// The columns of all attributes.
pub(super) struct Columns {
    pub files: Arc<NewFiles>,
    columns: Vec<Column>,
}

impl Columns {
    pub(super) fn new(files: Arc<NewFiles>, columns: Vec<Column>) -> Self {
        Self { files, columns }
    }

    #[inline]
    pub(super) fn push(&mut self, column: usize, ordinal: u32, cell: &Cell<'_>) -> Result<()> {
        self.columns[column].push(&self.files, ordinal, cell)
    }

    pub(super) fn into_parts(self) -> Vec<Column> {
        self.columns
    }
}
