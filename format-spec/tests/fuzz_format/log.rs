//! Segments and frames, with checksums that are right.

use stoa_format::wal::{
    BLOCK_BYTES, FRAME_ALIGN, FrameKind, INNER_BYTES, InnerShell, OUTER_BYTES, OuterShell, SegmentHeader,
};
use stoa_format::{Epoch, KeyEpoch, Lsn, Period, PoolId, SegmentNumber, Seq, StoreId};
use stoa_fuzz::{Seen, Target};

use super::{assert_same_but_version, mend_sum, refused, u32_at};

fn header() -> Vec<u8> {
    let header = SegmentHeader {
        store: StoreId([9; 16]),
        number: SegmentNumber(4),
        incarnation: 2,
        first_lsn: Lsn(100),
        previous: SegmentNumber(3),
        previous_end: 8192,
    };
    header.encode()
}

fn frame(kind: FrameKind, sealed: &[u8], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    if kind == FrameKind::Data {
        let inner = InnerShell {
            pool: PoolId([5; 16]),
            epoch: Epoch(1),
            key_epoch: KeyEpoch(2),
            period: Period(3),
            count: 2,
            first_seq: Seq(7),
            sealed_len: sealed.len() as u32,
            chain: [8; 32],
        };
        inner.encode(&mut body);
        body.extend_from_slice(sealed);
    }
    let (lsn, body_len) = (Lsn(100), body.len() as u32);
    let shell = OuterShell { kind, body_len, segment: SegmentNumber(4), incarnation: 2, lsn, durable_lsn: Lsn(99) };
    shell.encode_frame(&body, out);
    out.resize(out.len().next_multiple_of(FRAME_ALIGN), 0);
}

/// Mends the header of a segment, and every frame on a place where one may stand.
fn repair(bytes: &mut [u8]) {
    if bytes.starts_with(b"STOAWAL\n") {
        mend_sum(bytes, 0, BLOCK_BYTES - 4);
    }
    for at in (0..bytes.len()).step_by(FRAME_ALIGN) {
        let Some(body_len) = u32_at(bytes, at + 8).filter(|_| bytes[at..].starts_with(b"SFRM")) else { continue };
        let Some(covered) = bytes.get(at + 8..at + OUTER_BYTES + body_len) else { continue };
        let sum = crc32fast::hash(covered);
        bytes[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
    }
}

fn read_frame<'a>(bytes: &'a [u8], seen: &mut Seen) -> Option<&'a [u8]> {
    let (shell, body) = match OuterShell::decode_frame(bytes) {
        Ok(read) => read,
        Err(fault) => {
            refused(seen, &fault);
            return None;
        }
    };
    let len = OUTER_BYTES + body.len();
    let mut again = Vec::new();
    shell.encode_frame(body, &mut again);
    assert_eq!(again, bytes[..len], "another encoding");
    assert_eq!(shell.body_len as usize, body.len());
    assert!(shell.durable_lsn < shell.lsn, "a frame says that it is durable itself");
    match shell.kind {
        FrameKind::Seal => assert!(body.is_empty(), "a seal frame carries something"),
        FrameKind::Data => match InnerShell::decode(body) {
            Ok((inner, sealed)) => {
                let mut again = Vec::new();
                inner.encode(&mut again);
                assert_eq!(again.len(), INNER_BYTES);
                again.extend_from_slice(sealed);
                assert_eq!(again, body, "another encoding");
                assert!(inner.first_seq <= inner.last_seq() && inner.last_seq().0 < 1 << 53, "a Seq beyond 2^53");
                seen.note("inner shell");
            }
            Err(fault) => refused(seen, &fault),
        },
    }
    seen.note(("frame", shell.kind as u8));
    bytes.get(len.next_multiple_of(FRAME_ALIGN)..)
}

#[test]
fn fuzz_log() {
    let mut frames = Vec::new();
    for sealed in [&[1; 40][..], &[2; 133]] {
        frame(FrameKind::Data, sealed, &mut frames);
    }
    frame(FrameKind::Seal, &[], &mut frames);
    let segment = [header(), frames.clone()].concat();
    Target::new("log", |bytes, seen| {
        let mut rest = bytes;
        match SegmentHeader::decode(bytes) {
            Ok(header) => {
                seen.note("segment");
                assert_same_but_version(&header.encode(), &bytes[..BLOCK_BYTES], 10, BLOCK_BYTES - 4);
                rest = &bytes[BLOCK_BYTES..];
            }
            Err(fault) => refused(seen, &fault),
        }
        let mut count = 0;
        while let Some(next) = read_frame(rest, seen) {
            rest = next;
            count += 1;
        }
        seen.count("frames", count);
        if let Err(fault) = InnerShell::decode(bytes) {
            refused(seen, &fault);
        }
    })
    .seeds([segment, frames, header()])
    .tokens(&["SFRM", "STOAWAL\n"])
    .repair(repair)
    .longest(12 << 10)
    .explore();
}
