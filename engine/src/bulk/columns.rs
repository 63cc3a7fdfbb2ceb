//! The columns of a load: one open file an attribute, its pages sealed as they fill.
//!
//! Rows are checked on the caller's thread and their cells gathered, column by column; a thread of its own turns
//! full batches into pages, so that checking and encoding share the work of two cores. Where a store has no
//! threads, the caller does both.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use stoa_format::column::{Cell, ColumnKind};
use stoa_format::manifest::FilePlace;
use stoa_format::{AttrId, Ordinal};
use zeroize::Zeroize;

use super::files::{NewFiles, PARTITION_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::run::{ColumnShape, RunWriter};

/// Rows of a batch: some 150 KiB of cells, which the cache of one core holds while the next is filled.
const BATCH_ROWS: u32 = 512;
/// Batches that may wait for the encoding thread.
const BATCHES_WAITING: usize = 2;

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

    /// Adds the cells of a batch; ordinals ascend.
    fn push_all(&mut self, files: &NewFiles, cells: &Cells) -> Result<()> {
        for (at, ordinal) in cells.ordinals.iter().enumerate() {
            self.push(files, *ordinal, &cells.get(self.kind, at))?;
        }
        Ok(())
    }

    fn push(&mut self, files: &NewFiles, ordinal: u32, cell: &Cell<'_>) -> Result<()> {
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

/// The cells of one column in one batch.
#[derive(Default)]
struct Cells {
    ordinals: Vec<u32>,
    /// The values of a column of numbers.
    numbers: Vec<i64>,
    /// The values of all others, end to end.
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Cells {
    fn push(&mut self, ordinal: u32, cell: &Cell<'_>) {
        self.ordinals.push(ordinal);
        match cell {
            Cell::Int(value) => self.numbers.push(*value),
            other => {
                self.bytes.extend_from_slice(other.bytes().unwrap_or_default());
                self.ends.push(self.bytes.len() as u32);
            }
        }
    }

    fn get(&self, kind: ColumnKind, at: usize) -> Cell<'_> {
        if kind == ColumnKind::Int {
            return Cell::Int(self.numbers[at]);
        }
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        let value = &self.bytes[start..self.ends[at] as usize];
        match kind {
            ColumnKind::Fixed16 => Cell::Fixed16(value.try_into().unwrap_or_default()),
            _ => Cell::Bytes(value.into()),
        }
    }

    fn clear(&mut self) {
        self.ordinals.clear();
        self.numbers.clear();
        self.bytes.clear();
        self.ends.clear();
    }
}

impl Drop for Cells {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// Cells of some rows, column by column.
type Batch = Vec<Cells>;

/// The columns of all attributes.
pub(super) struct Columns {
    pub files: Arc<NewFiles>,
    batch: Batch,
    rows: u32,
    encoder: Encoder,
}

enum Encoder {
    Here(Vec<Column>),
    Thread(EncodingThread),
    /// It failed, or its columns were taken.
    Gone,
}

struct EncodingThread {
    full: SyncSender<Batch>,
    emptied: Receiver<Batch>,
    thread: JoinHandle<Result<Vec<Column>>>,
}

impl Columns {
    /// # Errors
    /// If no thread can be had.
    pub(super) fn new(files: Arc<NewFiles>, columns: Vec<Column>, has_threads: bool) -> Result<Self> {
        let batch = empty_batch(columns.len());
        let encoder = match has_threads {
            true => Encoder::Thread(EncodingThread::start(Arc::clone(&files), columns)?),
            false => Encoder::Here(columns),
        };
        Ok(Self { files, batch, rows: 0, encoder })
    }

    /// Adds a value to the row under way; ordinals ascend.
    #[inline]
    pub(super) fn push(&mut self, column: usize, ordinal: u32, cell: &Cell<'_>) {
        self.batch[column].push(ordinal, cell);
    }

    /// Ends the row under way.
    ///
    /// # Errors
    /// If a file cannot be written; it may be one of an earlier row.
    pub(super) fn end_row(&mut self) -> Result<()> {
        self.rows += 1;
        if self.rows < BATCH_ROWS { Ok(()) } else { self.hand_over() }
    }

    fn hand_over(&mut self) -> Result<()> {
        self.rows = 0;
        match &mut self.encoder {
            Encoder::Here(columns) => encode(&self.files, columns, &mut self.batch),
            Encoder::Thread(encoding) => {
                let spare = encoding.emptied.try_recv().unwrap_or_else(|_| empty_batch(self.batch.len()));
                let full = std::mem::replace(&mut self.batch, spare);
                match encoding.full.send(full) {
                    Ok(()) => Ok(()),
                    // It ended before its time: with an error.
                    Err(_) => self.take_columns().and(Err(stopped())),
                }
            }
            Encoder::Gone => Err(stopped()),
        }
    }

    /// The columns with everything that was pushed.
    ///
    /// # Errors
    /// If a file could not be written.
    pub(super) fn finish(mut self) -> Result<Vec<Column>> {
        self.hand_over()?;
        self.take_columns()
    }

    fn take_columns(&mut self) -> Result<Vec<Column>> {
        match std::mem::replace(&mut self.encoder, Encoder::Gone) {
            Encoder::Here(columns) => Ok(columns),
            Encoder::Thread(EncodingThread { full, thread, .. }) => {
                drop(full);
                thread.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Other, "a thread of the load panicked")))
            }
            Encoder::Gone => Err(stopped()),
        }
    }
}

impl Drop for Columns {
    fn drop(&mut self) {
        // Unfinished files are removed by whoever drops their writers: not before the thread has ended.
        drop(self.take_columns());
    }
}

impl EncodingThread {
    fn start(files: Arc<NewFiles>, mut columns: Vec<Column>) -> Result<Self> {
        let (full, batches) = sync_channel::<Batch>(BATCHES_WAITING);
        let (empty, emptied) = sync_channel(BATCHES_WAITING + 2);
        let work = move || {
            for mut batch in batches {
                encode(&files, &mut columns, &mut batch)?;
                // Nobody waits for it at the end.
                let _ = empty.try_send(batch);
            }
            Ok(columns)
        };
        let thread = std::thread::Builder::new().name("stoa-bulk".into()).spawn(work);
        let thread = thread.map_err(|error| {
            Error::new(ErrorKind::Other, "no thread can be started to encode the columns of a load").because(error)
        })?;
        Ok(Self { full, emptied, thread })
    }
}

fn empty_batch(columns: usize) -> Batch {
    std::iter::repeat_with(Cells::default).take(columns).collect()
}

fn encode(files: &NewFiles, columns: &mut [Column], batch: &mut Batch) -> Result<()> {
    for (column, cells) in columns.iter_mut().zip(batch) {
        column.push_all(files, cells)?;
        cells.clear();
    }
    Ok(())
}

fn stopped() -> Error {
    Error::new(ErrorKind::Io, "the columns of this load could not be written: load the users again")
}
