//! The inside of a frame: transactions, operations, cells.

use stoa_format::ops::{
    CellRef, Cells, EventKind, FrameReader, Operation, PUT_CREATES, Subject, append_transaction, begin_frame,
    encode_cells,
};
use stoa_format::wire::Write;
use stoa_format::{AttrId, DecodeError, Keyspace, Ordinal, Sub};
use stoa_fuzz::{Seen, Target};

use super::refused;

fn sample() -> Vec<u8> {
    let mut cells = Vec::new();
    let list = [(AttrId(2), CellRef::Int(-5)), (AttrId(64), CellRef::Bytes(b"ana")), (AttrId(65), CellRef::Absent)];
    encode_cells(list.into_iter(), &mut cells);
    let operations = [
        Operation::Put { ordinal: Ordinal(7), flags: PUT_CREATES, cells: &cells },
        Operation::SetKey { keyspace: Keyspace(1), key: b"key", value: b"value" },
        Operation::DeleteKey { keyspace: Keyspace(2), key: b"k2" },
        Operation::Digest { leaf: 9, delta: u128::MAX },
        Operation::Event {
            event: EventKind::GroupAdd,
            subject: Subject::Member(Sub([1; 16]), "g"),
            version: 3,
            attrs: vec![AttrId(64), AttrId(300)],
        },
        Operation::Meta { name: "schema", content: Some(b"{}") },
        Operation::Meta { name: "config/x", content: None },
    ];
    let mut frame = Vec::new();
    begin_frame(1234, &mut frame);
    for count in [2, operations.len()] {
        let mut body = Vec::new();
        body.put_bytes(b"admin");
        operations.iter().rev().take(count).for_each(|operation| operation.encode(&mut body));
        append_transaction(&body, &mut frame);
    }
    frame
}

/// Reads everything and writes it again.
fn again(bytes: &[u8], seen: &mut Seen) -> Result<Vec<u8>, DecodeError> {
    let mut frame = FrameReader::decode(bytes)?;
    let mut out = Vec::new();
    begin_frame(frame.time_ms, &mut out);
    while let Some(mut transaction) = frame.next_transaction()? {
        let mut body = Vec::new();
        body.put_bytes(transaction.actor.as_bytes());
        while let Some(operation) = transaction.next_op()? {
            seen.note(std::mem::discriminant(&operation));
            if let Operation::Put { cells, .. } = &operation {
                check_cells(cells)?;
            }
            operation.encode(&mut body);
        }
        append_transaction(&body, &mut out);
    }
    Ok(out)
}

fn check_cells(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut cells = Cells::decode(bytes)?;
    let mut list = Vec::new();
    while let Some(cell) = cells.next_cell()? {
        list.push(cell);
    }
    assert!(list.windows(2).all(|pair| pair[0].0 < pair[1].0), "attributes do not ascend");
    let mut again = Vec::new();
    encode_cells(list.iter().copied(), &mut again);
    assert_eq!(again, bytes, "another encoding of cells");
    for (attr, cell) in &list {
        assert_eq!(Cells::decode(bytes)?.find(*attr)?, Some(*cell));
    }
    Ok(())
}

#[test]
fn fuzz_transactions() {
    let run = |bytes: &[u8], seen: &mut Seen| match again(bytes, seen) {
        Ok(out) => {
            seen.note("read");
            assert_eq!(out, bytes, "another encoding");
        }
        Err(fault) => refused(seen, &fault),
    };
    Target::new("transactions", run).seeds([sample()]).tokens(&["\x05admin", "\x03\x02\x01\x05", "\0"]).explore();
}
