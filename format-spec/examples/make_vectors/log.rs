//! Vectors of the log: segment headers, frames, inner shells, operations.

use stoa_format::history::{HistoryHeader, append_record};
use stoa_format::ops::{CellRef, EventKind, Operation, PUT_CREATES, PUT_DELETES, Subject, append_transaction};
use stoa_format::ops::{begin_frame, encode_cells};
use stoa_format::wal::{FrameKind, InnerShell, OuterShell, SegmentHeader};
use stoa_format::wire::Write;
use stoa_format::{AttrId, Epoch, KeyEpoch, Keyspace, Lsn, Ordinal, Period, PoolId, SegmentNumber, Seq, StoreId, Sub};

use super::{Vector, and, bad, cut, good, summed, with};

pub fn segment_header() -> Vec<u8> {
    SegmentHeader {
        store: StoreId([0x22; 16]),
        number: SegmentNumber(7),
        incarnation: 3,
        first_lsn: Lsn(40),
        previous: SegmentNumber(6),
        previous_end: 12368,
    }
    .encode()
}

pub fn segment_headers() -> Vec<Vector> {
    const S: &str = "segment header";
    let block = segment_header();
    vec![
        good(S, "as written", block.clone()),
        good(S, "newer write version", summed(with(&block, 10, &[2]))),
        good(S, "followed by frames", and(&block, b"SFRM")),
        bad(S, "empty", vec![], "segment header at offset 0: ends too early"),
        bad(S, "one byte short", cut(&block, 1), "segment header at offset 4095: ends too early"),
        bad(S, "another magic", summed(with(&block, 4, b"M")), "segment header at offset 0: magic does not match"),
        bad(S, "zero block", vec![0; 4096], "segment header at offset 0: magic does not match"),
        bad(S, "flipped bit", with(&block, 33, &[1]), "segment header at offset 4092: checksum does not match"),
        bad(
            S,
            "newer read version",
            summed(with(&block, 8, &[2])),
            "segment header at offset 8: read version is newer than this program",
        ),
        bad(
            S,
            "reserved bytes in front",
            summed(with(&block, 15, &[1])),
            "segment header at offset 12: reserved bytes are not zero",
        ),
        bad(
            S,
            "reserved bytes behind",
            summed(with(&block, 4091, &[1])),
            "segment header at offset 72: reserved bytes are not zero",
        ),
    ]
}

pub fn outer(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let shell = OuterShell {
        kind,
        body_len: body.len() as u32,
        segment: SegmentNumber(7),
        incarnation: 3,
        lsn: Lsn(41),
        durable_lsn: Lsn(40),
    };
    shell.encode_frame(body, &mut out);
    out
}

/// Puts the right checksum into a frame's shell.
fn reframed(mut frame: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&frame[8..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    frame
}

pub fn frames() -> Vec<Vector> {
    const S: &str = "frame";
    let data = outer(FrameKind::Data, &inner_shell());
    let seal = outer(FrameKind::Seal, b"");
    vec![
        good(S, "data", data.clone()),
        good(S, "seal", seal.clone()),
        good(S, "followed by another", and(&seal, &data)),
        bad(S, "empty", vec![], "frame at offset 0: ends too early"),
        bad(S, "no frame", with(&seal, 0, &[0; 4]), "frame at offset 0: magic does not match"),
        bad(S, "shell cut", seal[..44].to_vec(), "frame at offset 40: ends too early"),
        bad(S, "body cut", cut(&data, 1), "frame at offset 48: ends too early"),
        bad(S, "body longer than the file", with(&data, 11, &[0x7f]), "frame at offset 48: ends too early"),
        bad(S, "kind 0", reframed(with(&seal, 12, &[0])), "frame at offset 12: kind is unknown"),
        bad(S, "kind 3", reframed(with(&seal, 12, &[3])), "frame at offset 12: kind is unknown"),
        bad(S, "reserved bytes", reframed(with(&seal, 15, &[1])), "frame at offset 13: reserved bytes are not zero"),
        bad(S, "another Lsn", with(&seal, 32, &[42]), "frame at offset 4: checksum does not match"),
        bad(S, "flipped bit in the body", with(&data, 60, &[1]), "frame at offset 4: checksum does not match"),
        bad(S, "a seal with a body", outer(FrameKind::Seal, b"x"), "frame at offset 8: a seal frame has a body"),
        bad(
            S,
            "durable up to itself",
            reframed(with(&seal, 40, &[41])),
            "frame at offset 40: says that it is durable itself",
        ),
        bad(S, "body shorter than it was", with(&data, 8, &[123]), "frame at offset 4: checksum does not match"),
    ]
}

pub fn inner_shell() -> Vec<u8> {
    let sealed = [[0xaa; 16].as_slice(), &[0xbb; 28]].concat();
    let shell = InnerShell {
        pool: PoolId([0x33; 16]),
        epoch: Epoch(1),
        key_epoch: KeyEpoch(2),
        period: Period(3),
        count: 2,
        first_seq: Seq(9),
        sealed_len: sealed.len() as u32,
        chain: [0xcc; 32],
    };
    let mut out = Vec::new();
    shell.encode(&mut out);
    and(&out, &sealed)
}

pub fn inner_shells() -> Vec<Vector> {
    const S: &str = "inner shell";
    let shell = inner_shell();
    let last = (1u64 << 53) - 1;
    vec![
        good(S, "as written", shell.clone()),
        good(S, "the catalogue's", with(&shell, 0, &[0; 16])),
        good(S, "the last Seq of all", with(&shell, 32, &(last - 1).to_le_bytes())),
        bad(S, "empty", vec![], "inner shell at offset 0: ends too early"),
        bad(S, "no chain", shell[..79].to_vec(), "inner shell at offset 48: ends too early"),
        bad(S, "no transaction", with(&shell, 28, &[0]), "inner shell at offset 28: carries no transaction"),
        bad(
            S,
            "Seq of 2^53",
            with(&shell, 32, &(last + 1).to_le_bytes()),
            "inner shell at offset 32: Seq exceeds 2^53",
        ),
        bad(
            S,
            "its second Seq is 2^53",
            with(&shell, 32, &last.to_le_bytes()),
            "inner shell at offset 32: Seq exceeds 2^53",
        ),
        bad(S, "reserved bytes", with(&shell, 44, &[1]), "inner shell at offset 44: reserved bytes are not zero"),
        bad(S, "sealed bytes cut", cut(&shell, 1), "inner shell at offset 80: ends too early"),
        bad(S, "a byte more", and(&shell, &[0]), "inner shell at offset 124: bytes are left over"),
    ]
}

pub fn history_header() -> Vec<u8> {
    let mut out = Vec::new();
    HistoryHeader { pool: PoolId([0x33; 16]), first_seq: Seq(9), last_seq: Seq(10), count: 1 }.encode(&mut out);
    out
}

pub fn history_files() -> Vec<Vector> {
    const S: &str = "history file";
    const SUM: &str = "history header at offset 48: checksum does not match";
    let head = history_header();
    let mut file = head.clone();
    append_record(&inner_shell(), &mut file);
    let headed = |header: Vec<u8>| and(&summed(header), &file[52..]);
    vec![
        good(S, "one frame", file.clone()),
        good(S, "newer write version", headed(with(&head, 10, &[2]))),
        bad(S, "empty", vec![], "history header at offset 0: ends too early"),
        bad(S, "another magic", with(&file, 0, b"X"), "history header at offset 0: magic does not match"),
        bad(S, "flipped bit in the header", with(&file, 13, &[0]), SUM),
        bad(
            S,
            "newer read version",
            headed(with(&head, 8, &[2])),
            "history header at offset 8: read version is newer than this program",
        ),
        bad(S, "Seqs out of order", headed(with(&head, 36, &[8])), "history header at offset 28: names no frame"),
        bad(S, "no frame", headed(with(&head, 44, &[0])), "history header at offset 28: names no frame"),
        bad(S, "a frame is missing", headed(with(&head, 44, &[2])), "history file at offset 184: ends too early"),
        bad(S, "a byte more", and(&file, &[0]), "history file at offset 184: bytes are left over"),
        bad(S, "cut", cut(&file, 1), "history file at offset 60: ends too early"),
        bad(S, "flipped bit in a frame", with(&file, 100, &[1]), "history file at offset 184: checksum does not match"),
    ]
}

/// The frame's plain text of one transaction with this body behind the actor.
fn plain(ops: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_bytes(b"admin");
    body.extend_from_slice(ops);
    let mut out = Vec::new();
    begin_frame(1_700_000_000_000, &mut out);
    append_transaction(&body, &mut out);
    out
}

fn encoded(ops: &[Operation<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    ops.iter().for_each(|op| op.encode(&mut out));
    out
}

/// The worked example of the chapter.
pub fn small_frame() -> Vec<u8> {
    let mut cells = Vec::new();
    let list = [(AttrId::LIVE, CellRef::Int(1)), (AttrId(64), CellRef::Bytes(b"ana"))];
    encode_cells(list.into_iter(), &mut cells);
    plain(&encoded(&[
        Operation::Put { ordinal: Ordinal(5), flags: PUT_CREATES, cells: &cells },
        Operation::SetKey { keyspace: Keyspace(6), key: b"k", value: b"v" },
        Operation::Event {
            event: EventKind::UserCreate,
            subject: Subject::User(Sub([7; 16])),
            version: 1,
            attrs: vec![],
        },
    ]))
}

fn full_frame() -> Vec<u8> {
    let mut cells = Vec::new();
    let list =
        [(AttrId::VERSION, CellRef::Int(-5)), (AttrId(64), CellRef::Bytes(&[0, 255])), (AttrId(300), CellRef::Absent)];
    encode_cells(list.into_iter(), &mut cells);
    let sub = Sub([7; 16]);
    let event = |event, subject| Operation::Event { event, subject, version: 3, attrs: vec![AttrId(64), AttrId(300)] };
    plain(&encoded(&[
        Operation::Put { ordinal: Ordinal(1 << 40), flags: PUT_DELETES, cells: &cells },
        Operation::SetKey { keyspace: Keyspace(1), key: &[0; 18], value: b"" },
        Operation::DeleteKey { keyspace: Keyspace(255), key: b"gone" },
        Operation::Digest { leaf: 0x0102_0304_0506_0708, delta: u128::MAX - 1 },
        event(EventKind::PoolAlter, Subject::Pool),
        event(EventKind::UserSet, Subject::User(sub)),
        event(EventKind::ConfigSet, Subject::Named("login")),
        event(EventKind::GroupAdd, Subject::Member(sub, "staff")),
        Operation::Meta { name: "config/login", content: Some(b"\x01{}") },
        Operation::Meta { name: "config/login", content: None },
    ]))
}

fn put(cells: &[u8]) -> Vec<u8> {
    plain(&encoded(&[Operation::Put { ordinal: Ordinal(5), flags: 0, cells }]))
}

pub fn operations() -> Vec<Vector> {
    const S: &str = "transactions";
    let empty = 1_700_000_000_000u64.to_le_bytes();
    vec![
        good(S, "one of each", full_frame()),
        good(S, "the worked example", small_frame()),
        good(S, "no transaction", empty.to_vec()),
        good(S, "a transaction that changes nothing", plain(&[])),
        bad(S, "no time", empty[..7].to_vec(), "transactions at offset 0: ends too early"),
        bad(
            S,
            "transaction longer than the frame",
            and(&empty, &[5, b'x']),
            "transactions at offset 9: counts more than there is",
        ),
        bad(
            S,
            "length not in its shortest form",
            and(&empty, &[0x81, 0x00, 0]),
            "transactions at offset 10: varint is not in its shortest form",
        ),
        bad(S, "length above 64 bits", and(&empty, &[0xff; 11]), "transactions at offset 18: varint exceeds 64 bits"),
        bad(S, "actor is not UTF-8", and(&empty, &[2, 1, 0xff]), "transaction at offset 0: is not UTF-8"),
        bad(S, "code 0", plain(&[0]), "transaction at offset 7: operation code is unknown"),
        bad(S, "code 7", plain(&[7]), "transaction at offset 7: operation code is unknown"),
        bad(S, "put without flags", plain(&[1, 5]), "transaction at offset 8: ends too early"),
        bad(S, "key cut", plain(&[2, 1, 3, b'k']), "transaction at offset 9: counts more than there is"),
        bad(S, "digest cut", plain(&[4, 0, 0]), "transaction at offset 7: ends too early"),
        bad(S, "event 0", plain(&[5, 0]), "transaction at offset 8: event is unknown"),
        bad(S, "event 29", plain(&[5, 29, 0, 0, 0]), "transaction at offset 8: event is unknown"),
        bad(S, "subject 4", plain(&[5, 1, 4, 0, 0]), "transaction at offset 9: subject is unknown"),
        bad(
            S,
            "event with an attribute above 65,535",
            plain(&[5, 1, 0, 0, 1, 0x80, 0x80, 0x04]),
            "transaction at offset 14: attribute exceeds 16 bits",
        ),
        bad(S, "meta name is not UTF-8", plain(&[6, 1, 0xff, 0, 0]), "transaction at offset 7: is not UTF-8"),
        bad(S, "more cells than bytes", put(&[9, 1, 0]), "cells at offset 1: counts more than there is"),
        bad(S, "cell cut", put(&[1, 2, 2]), "cells at offset 3: ends too early"),
        bad(S, "tag 3", put(&[1, 2, 3]), "cells at offset 3: tag is unknown"),
        bad(
            S,
            "cell of an attribute above 65,535",
            put(&[1, 0x80, 0x80, 0x04, 0]),
            "cells at offset 4: attribute exceeds 16 bits",
        ),
    ]
}
