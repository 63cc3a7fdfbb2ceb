//! A log's segment as recovery reads it: it is damage or a log, whatever stands there under checksums that are right.

use std::path::Path;

use stoa_engine::io::{OpenMode, SimDisk};
use stoa_engine::wal::{recover, segment_path};
use stoa_format::wal::{BLOCK_BYTES, FRAME_ALIGN, FrameKind, InnerShell, OUTER_BYTES, OuterShell, SegmentHeader};
use stoa_format::{Epoch, KeyEpoch, Lsn, Period, PoolId, SegmentNumber, Seq, StoreId};
use stoa_fuzz::{Seen, Target};

const STORE: StoreId = StoreId([9; 16]);
const FIRST_LSN: u64 = 100;

fn segment() -> Vec<u8> {
    let header = SegmentHeader {
        store: STORE,
        number: SegmentNumber(1),
        incarnation: 2,
        first_lsn: Lsn(FIRST_LSN),
        previous: SegmentNumber(0),
        previous_end: 0,
    };
    let mut out = header.encode();
    for (at, sealed) in [(0, 40), (1, 133), (2, 0)] {
        let kind = if at == 2 { FrameKind::Seal } else { FrameKind::Data };
        let mut body = Vec::new();
        if kind == FrameKind::Data {
            let (pool, chain, first_seq) = (PoolId([5; 16]), [8; 32], Seq(7 + at));
            let (epoch, key_epoch, period, sealed_len) = (Epoch(1), KeyEpoch(2), Period(3), sealed);
            InnerShell { pool, epoch, key_epoch, period, count: 1, first_seq, sealed_len, chain }.encode(&mut body);
            body.resize(body.len() + sealed as usize, 1);
        }
        let (lsn, durable_lsn) = (Lsn(FIRST_LSN + at), Lsn(FIRST_LSN + at - 1));
        let body_len = body.len() as u32;
        OuterShell { kind, body_len, segment: SegmentNumber(1), incarnation: 2, lsn, durable_lsn }
            .encode_frame(&body, &mut out);
        out.resize(out.len().next_multiple_of(FRAME_ALIGN), 0);
    }
    out
}

fn repair(bytes: &mut [u8]) {
    if let Some(block) = bytes.get_mut(..BLOCK_BYTES) {
        let sum = crc32fast::hash(&block[..BLOCK_BYTES - 4]);
        block[BLOCK_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
    }
    for at in (BLOCK_BYTES..bytes.len()).step_by(FRAME_ALIGN) {
        let Some(frame) = bytes.get(at..).filter(|frame| frame.starts_with(b"SFRM")) else { continue };
        let Some(body_len) = frame.get(8..).and_then(<[u8]>::first_chunk) else { continue };
        let Some(covered) = frame.get(8..OUTER_BYTES + u32::from_le_bytes(*body_len) as usize) else { continue };
        let sum = crc32fast::hash(covered);
        bytes[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
    }
}

fn run(bytes: &[u8], seen: &mut Seen) {
    let (disk, dir) = (SimDisk::new(1).io(), Path::new("wal"));
    let path = segment_path(dir, SegmentNumber(1));
    let made = disk.create_dir_all(dir).and_then(|()| disk.open(&path, OpenMode::Create));
    made.and_then(|file| file.write_all_at(bytes, 0)).expect("a simulated disk has room");
    let (mut shown, mut end) = (0, BLOCK_BYTES as u64);
    let recovered = recover(&*disk, dir, STORE, Lsn(0), |place, inner, sealed| {
        assert!(
            place.offset >= end && place.offset + u64::from(place.len) <= bytes.len() as u64,
            "a frame beyond its file"
        );
        assert_eq!(inner.sealed_len as usize, sealed.len());
        end = place.offset + u64::from(place.len);
        shown += 1;
        Ok(())
    });
    match recovered {
        Ok(recovery) => {
            assert!(recovery.end <= bytes.len().max(BLOCK_BYTES) as u64, "the log ends beyond its file");
            seen.count("frames", shown);
            seen.note(("segments", recovery.segments.len()));
        }
        Err(error) => seen.message(&error.to_string()),
    }
}

#[test]
fn fuzz_recovery() {
    Target::new("recovery", run)
        .seeds([segment(), [segment(), vec![0; BLOCK_BYTES]].concat()])
        .tokens(&["SFRM"])
        .repair(repair)
        .longest(16 << 10)
        // The simulated disk keeps the file, and a copy of it as it was.
        .memory(64, 512 << 10)
        .explore();
}
