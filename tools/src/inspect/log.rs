//! Segments of the log, and files of frames that have left it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::{Value, json};
use stoa_format::ops::{CellRef, Cells, FrameReader, Operation};
use stoa_format::wal::{BLOCK_BYTES, InnerShell, SegmentHeader};
use stoa_format::{DecodeError, Lsn, Seq};

use super::Inspector;
use super::frames::{Frame, scan, scan_history};
use super::opener::Unopened;
use super::printer::{hex, octets};
use super::site::{last_name, segment_number};

/// A segment of the log.
pub(super) fn segment(inspector: &mut Inspector<'_>, path: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let header = SegmentHeader::decode(bytes);
    let Some(number) = segment_number(&last_name(path)).or_else(|| header.as_ref().ok().map(|header| header.number))
    else {
        let note = format!("a segment without a number, {} bytes; what it holds is not believed", bytes.len());
        return inspector.printer.note(name, &note);
    };
    let next = following(inspector, path, number.0);
    let found = scan(bytes, number, next.as_ref().map(|next| next.previous_end));
    let printer = &mut inspector.printer;
    match &found.header {
        Ok(header) => {
            let fields = [
                ("store", json!(header.store.to_string())),
                ("number", json!(header.number.0)),
                ("incarnation", json!(header.incarnation)),
                ("first_lsn", json!(header.first_lsn.0)),
                ("previous", json!(header.previous.0)),
                ("previous_end", json!(header.previous_end)),
                ("bytes", json!(bytes.len())),
                ("frames", json!(found.frames.len())),
                ("end", json!(found.end)),
            ];
            printer.fact(name, "segment", Some(0), &fields)?;
        }
        Err(fault) => printer.damage(name, fault.structure, fault.offset as u64, fault.reason)?,
    }
    for frame in &found.frames {
        show(inspector, name, bytes, frame)?;
    }
    if let Some((at, what)) = found.damage(next.as_ref()) {
        inspector.printer.damage(name, "frame", at as u64, &what)?;
    } else if let Some((at, fault)) = &found.stop {
        let what = format!("torn tail at {at} ({}): never acknowledged, cut when the store is opened", fault.reason);
        inspector.printer.note(name, &what)?;
    }
    for frame in &found.stray {
        let fields = [("lsn", json!(frame.lsn().0)), ("bytes", json!(frame.len()))];
        inspector.printer.fact(name, "frame behind the end", Some(frame.offset as u64), &fields)?;
    }
    Ok(())
}

/// The header of the segment after this one, if it is there and whole.
fn following(inspector: &Inspector<'_>, path: &Path, number: u64) -> Option<SegmentHeader> {
    let dir = path.parent()?;
    let names = inspector.site.names(dir);
    let next = names.iter().filter_map(|name| segment_number(name)).filter(|other| other.0 > number).min()?;
    let start = inspector.site.start_of(&dir.join(format!("{:016}.wal", next.0)), BLOCK_BYTES).ok()?;
    SegmentHeader::decode(&start).ok().filter(|header| header.previous.0 == number && header.number == next)
}

/// A file of frames that have left the log.
pub(super) fn history(inspector: &mut Inspector<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let found = scan_history(bytes);
    if let Ok(header) = &found.header {
        let fields = [
            ("pool", json!(header.pool.to_string())),
            ("first_seq", json!(header.first_seq.0)),
            ("last_seq", json!(header.last_seq.0)),
            ("frames", json!(header.count)),
            ("bytes", json!(bytes.len())),
        ];
        inspector.printer.fact(name, "history", Some(0), &fields)?;
    }
    for frame in &found.frames {
        show(inspector, name, bytes, frame)?;
    }
    for (at, fault) in found.faults() {
        inspector.printer.damage(name, fault.structure, at as u64, fault.reason)?;
    }
    Ok(())
}

/// One frame.
fn show(inspector: &mut Inspector<'_>, name: &str, bytes: &[u8], frame: &Frame) -> io::Result<()> {
    let offset = frame.offset as u64;
    let blocks = frame.offset / BLOCK_BYTES..=(frame.offset + frame.len() - 1) / BLOCK_BYTES;
    if inspector.wanted.page.is_some_and(|page| !blocks.contains(&(page as usize))) {
        return Ok(());
    }
    let mut fields = Vec::new();
    if let Some(outer) = &frame.outer {
        fields.push(("lsn", json!(outer.lsn.0)));
        fields.push(("durable_lsn", json!(outer.durable_lsn.0)));
    }
    fields.push(("bytes", json!(frame.len())));
    let (inner, sealed) = match frame.inner(bytes) {
        None if inspector.wanted.brief => return Ok(()),
        None => return inspector.printer.fact(name, "seal frame", Some(offset), &fields),
        Some(Ok(parts)) => parts,
        Some(Err(fault)) => {
            return inspector.printer.damage(name, fault.structure, offset + fault.offset as u64, fault.reason);
        }
    };
    fields.extend([
        ("pool", json!(inner.pool.to_string())),
        ("epoch", json!(inner.epoch.0)),
        ("key_epoch", json!(inner.key_epoch.0)),
        ("period", json!(inner.period.0)),
        ("first_seq", json!(inner.first_seq.0)),
        ("count", json!(inner.count)),
        ("sealed_bytes", json!(inner.sealed_len)),
        ("chain", json!(hex(&inner.chain))),
    ]);
    let mut plain = None;
    if let Some(opener) = inspector.opener {
        match opener.open_frame(&inner, sealed) {
            Ok(opened) => {
                match count_operations(&opened) {
                    Ok((time_ms, counts)) => {
                        fields.push(("time_ms", json!(time_ms)));
                        fields.push(("operations", json!(counts)));
                    }
                    Err(fault) => inspector.printer.damage(name, fault.structure, offset, fault.reason)?,
                }
                plain = Some(opened);
            }
            Err(Unopened::Gone(why)) => fields.push(("not_opened", json!(why))),
            Err(Unopened::NoManifest(why)) => fields.push(("not_opened", json!(why))),
            Err(Unopened::Damaged(what)) => inspector.printer.damage(name, "frame", offset, what)?,
        }
    }
    if !inspector.wanted.brief {
        inspector.printer.fact(name, "frame", Some(offset), &fields)?;
    }
    if let Some(plain) = plain.filter(|_| inspector.wanted.reveal) {
        // What cannot be decoded has been told of above.
        let _ = values(inspector, name, frame.lsn(), &inner, &plain)?;
        if inspector.wanted.hex {
            inspector.printer.hex(name, offset, &plain, true)?;
        }
    }
    Ok(())
}

/// When a frame was committed, and how many operations of each kind are in it.
fn count_operations(plain: &[u8]) -> Result<(u64, BTreeMap<&'static str, u64>), DecodeError> {
    let mut frame = FrameReader::decode(plain)?;
    let mut counts = BTreeMap::new();
    while let Some(mut transaction) = frame.next_transaction()? {
        while let Some(operation) = transaction.next_op()? {
            let kind = match operation {
                Operation::Put { cells, .. } => {
                    let mut cells = Cells::decode(cells)?;
                    while cells.next_cell()?.is_some() {}
                    "put"
                }
                Operation::SetKey { .. } => "set",
                Operation::DeleteKey { .. } => "delete",
                Operation::Digest { .. } => "digest",
                Operation::Event { .. } => "event",
                Operation::Meta { .. } => "meta",
            };
            *counts.entry(kind).or_insert(0) += 1;
        }
    }
    Ok((frame.time_ms, counts))
}

/// The values in a frame, as far as it can be decoded.
fn values(
    inspector: &mut Inspector<'_>,
    name: &str,
    lsn: Lsn,
    inner: &InnerShell,
    plain: &[u8],
) -> io::Result<Result<(), DecodeError>> {
    let mut frame = match FrameReader::decode(plain) {
        Ok(frame) => frame,
        Err(fault) => return Ok(Err(fault)),
    };
    let mut seq = inner.first_seq;
    loop {
        let mut transaction = match frame.next_transaction() {
            Ok(Some(transaction)) => transaction,
            Ok(None) => return Ok(Ok(())),
            Err(fault) => return Ok(Err(fault)),
        };
        loop {
            match transaction.next_op() {
                Ok(Some(operation)) => operation_values(inspector, name, lsn, seq, &operation)?,
                Ok(None) => break,
                Err(fault) => return Ok(Err(fault)),
            }
        }
        seq = Seq(seq.0 + 1);
    }
}

fn operation_values(
    inspector: &mut Inspector<'_>,
    name: &str,
    lsn: Lsn,
    seq: Seq,
    operation: &Operation<'_>,
) -> io::Result<()> {
    let printer = &mut inspector.printer;
    let mut line = |section: &str, more: &[(&'static str, Value)], value: Value| {
        let mut members = vec![("section", json!(section)), ("lsn", json!(lsn.0)), ("seq", json!(seq.0))];
        members.extend_from_slice(more);
        printer.value(name, &members, value)
    };
    match operation {
        Operation::Put { ordinal, cells, .. } => {
            let Ok(mut cells) = Cells::decode(cells) else { return Ok(()) };
            while let Ok(Some((attr, cell))) = cells.next_cell() {
                let value = match cell {
                    CellRef::Absent => Value::Null,
                    CellRef::Int(value) => json!(value),
                    CellRef::Bytes(value) => octets(value),
                };
                line("put", &[("ordinal", json!(ordinal.0)), ("attr", json!(attr.0))], value)?;
            }
            Ok(())
        }
        Operation::SetKey { keyspace, key, value } => {
            line("set", &[("keyspace", json!(keyspace.0)), ("key", json!(hex(key)))], octets(value))
        }
        Operation::DeleteKey { keyspace, key } => {
            line("delete", &[("keyspace", json!(keyspace.0)), ("key", json!(hex(key)))], Value::Null)
        }
        Operation::Digest { leaf, delta } => {
            line("digest", &[("key", json!(format!("{leaf:016x}")))], json!(format!("{delta:032x}")))
        }
        Operation::Event { event, version, .. } => line("event", &[("key", json!(event.name()))], json!(version)),
        Operation::Meta { name, content } => line("meta", &[("key", json!(name))], content.map_or(Value::Null, octets)),
    }
}
