//! Merging runs of a column.

use std::ops::RangeInclusive;
use std::sync::Arc;

use roaring::RoaringBitmap;
use stoa_format::column::{Cell, ColumnKind};
use stoa_format::{AttrId, Ordinal};

use super::{MergeDriver, Pace};
use crate::column::{ColumnCursor, ColumnRun};
use crate::run::{Caching, ColumnShape, FinishedRun, RunError, RunWriter};

/// The new base of a column.
pub struct Rebased {
    /// The partitions that were written.
    pub written: Vec<FinishedRun>,
    /// The partitions that they replace, by their index in what was given; the sparse runs go too.
    pub replaced: Vec<usize>,
}

/// Joins sparse runs, newest first, into one sparse run. Explicit nulls are kept, since older runs lie below;
/// a dead user's value becomes one. `None` if nothing is left.
///
/// # Errors
/// If a run cannot be read or the new one cannot be written, or the driver ends it.
pub fn join_sparse(
    attr: AttrId,
    runs: &[Arc<ColumnRun>],
    live: Option<&RoaringBitmap>,
    driver: &mut dyn MergeDriver,
) -> Result<Option<FinishedRun>, RunError> {
    let Some(first) = runs.first() else { return Ok(None) };
    let kind = first.kind()?;
    let mut cursor = ColumnCursor::new(runs.iter().cloned(), Ordinal(0), Caching::Pass)?;
    let (mut writer, mut pace) = (None, Pace::default());
    while let Some((ordinal, cell)) = cursor.next()? {
        let cell = if is_live(live, ordinal) { cell } else { Cell::Absent };
        let writer = begun(&mut writer, attr, kind, ColumnShape::Sparse, driver)?;
        writer.push_cell(ordinal, &cell)?;
        pace.step(driver, writer)?;
    }
    writer.map(RunWriter::finish).transpose()
}

/// Writes sparse runs, newest first, into the base: each partition that has any of their ordinals is written
/// anew, and those of which `reseal` says yes; the others stay. Explicit nulls and the cells of dead users are
/// dropped. Partitions end at some `partition_bytes`.
///
/// # Errors
/// If a run cannot be read or a new one cannot be written, or the driver ends it.
pub fn rebase(
    attr: AttrId,
    sparse: &[Arc<ColumnRun>],
    base: &[Arc<ColumnRun>],
    live: Option<&RoaringBitmap>,
    partition_bytes: u64,
    reseal: &dyn Fn(&ColumnRun) -> bool,
    driver: &mut dyn MergeDriver,
) -> Result<Rebased, RunError> {
    let mut changed = RoaringBitmap::new();
    let mut sparse_bytes = 0;
    for run in sparse {
        run.ordinals()?.add_to(&mut changed);
        sparse_bytes += run.summary()?.disk_bytes;
    }
    let bytes_an_ordinal = sparse_bytes as f64 / changed.len().max(1) as f64;
    let mut rebased = Rebased { written: Vec::new(), replaced: Vec::new() };
    for (partition, range) in ranges(base)? {
        let in_range = changed_in(&changed, &range);
        let touched = in_range > 0 || partition.is_some_and(|partition| reseal(&base[partition]));
        if !touched {
            continue;
        }
        let mut runs = sparse.to_vec();
        let mut bytes = (in_range as f64 * bytes_an_ordinal) as u64;
        if let Some(partition) = partition {
            runs.push(base[partition].clone());
            bytes += base[partition].summary()?.disk_bytes;
            rebased.replaced.push(partition);
        }
        // Pieces of one size, rather than full ones and a rest.
        let pieces = bytes.div_ceil(partition_bytes.max(1)).max(1);
        let piece_bytes = if pieces == 1 { partition_bytes } else { bytes / pieces };
        write_partition(attr, runs, &range, live, piece_bytes, driver, &mut rebased.written)?;
    }
    Ok(rebased)
}

fn write_partition(
    attr: AttrId,
    runs: Vec<Arc<ColumnRun>>,
    range: &RangeInclusive<u64>,
    live: Option<&RoaringBitmap>,
    piece_bytes: u64,
    driver: &mut dyn MergeDriver,
    written: &mut Vec<FinishedRun>,
) -> Result<(), RunError> {
    let Some(first) = runs.first() else { return Ok(()) };
    let kind = first.kind()?;
    let mut cursor = ColumnCursor::new(runs, Ordinal(*range.start()), Caching::Pass)?;
    let (mut writer, mut pace) = (None, Pace::default());
    while let Some((ordinal, cell)) = cursor.next()? {
        if ordinal.0 > *range.end() {
            break;
        }
        if cell == Cell::Absent || !is_live(live, ordinal) {
            continue;
        }
        if writer.as_ref().is_some_and(|writer: &RunWriter| writer.len_bytes() >= piece_bytes) {
            written.extend(writer.take().map(RunWriter::finish).transpose()?);
            pace.next_file();
        }
        let writer = begun(&mut writer, attr, kind, ColumnShape::Dense, driver)?;
        writer.push_cell(ordinal, &cell)?;
        pace.step(driver, writer)?;
    }
    written.extend(writer.map(RunWriter::finish).transpose()?);
    Ok(())
}

/// The writer, with a file of its own if it has none yet: a merge that leaves nothing makes no file.
fn begun<'w>(
    writer: &'w mut Option<RunWriter>,
    attr: AttrId,
    kind: ColumnKind,
    shape: ColumnShape,
    driver: &mut dyn MergeDriver,
) -> Result<&'w mut RunWriter, RunError> {
    match writer {
        Some(writer) => Ok(writer),
        none => {
            let mut new = driver.new_file()?;
            new.begin_column(attr, kind, shape)?;
            Ok(none.insert(new))
        }
    }
}

fn is_live(live: Option<&RoaringBitmap>, ordinal: Ordinal) -> bool {
    live.is_none_or(|live| u32::try_from(ordinal.0).is_ok_and(|ordinal| live.contains(ordinal)))
}

fn changed_in(changed: &RoaringBitmap, range: &RangeInclusive<u64>) -> u64 {
    let Ok(start) = u32::try_from(*range.start()) else { return 0 };
    changed.range_cardinality(start..=u32::try_from(*range.end()).unwrap_or(u32::MAX))
}

/// The ordinals that each partition is in charge of, all ordinals together; without a base, one range for none.
fn ranges(base: &[Arc<ColumnRun>]) -> Result<Vec<(Option<usize>, RangeInclusive<u64>)>, RunError> {
    let mut firsts = Vec::with_capacity(base.len());
    for (partition, run) in base.iter().enumerate() {
        firsts.push((run.summary()?.first_ordinal, partition));
    }
    firsts.sort_unstable();
    let Some((lowest, _)) = firsts.first_mut() else { return Ok(vec![(None, 0..=u64::MAX)]) };
    *lowest = 0;
    let end = |i: usize| firsts.get(i + 1).map_or(u64::MAX, |(next, _)| next - 1);
    Ok(firsts.iter().enumerate().map(|(i, (first, partition))| (Some(*partition), *first..=end(i))).collect())
}
