//! What a log holds after a stop of any kind: every acknowledged frame, told from a torn tail and
//! from damage.
//!
//! Sectors of a batch that was not synced persist in any order, so a bad place at the end proves
//! nothing: it is a *torn tail* and cut. It is *damage* when something valid claims that the log
//! was durable beyond it: a later frame's `durable_lsn`, a later segment's header, or what the
//! caller knows from a catalogue or manifest. Then nothing is changed and the store is not opened.
//!
//! What nothing claims, the last batch at most, may be in the kernel's cache alone: where a sync
//! has failed its pages count as clean, and another sync would prove nothing. So these frames
//! ([`Recovery::unclaimed`]) are written anew, into the segment that the log begins next.

use std::collections::VecDeque;
use std::path::Path;

use stoa_format::wal::{
    BLOCK_BYTES, FRAME_ALIGN, FrameKind, InnerShell, OUTER_BYTES, OuterShell, SegmentHeader, round_to_block,
};
use stoa_format::{Lsn, SegmentNumber, StoreId};

use super::segment::{io_error, segment_number, segment_path};
use super::{FramePlace, LiveSegment};
use crate::error::{Error, Result};
use crate::io::{Io, OpenMode, read_whole};

/// A segment cannot be greater than this: one transaction is bounded far below it.
const SEGMENT_READ_MAX_BYTES: u64 = 4 << 30;

/// Where the log ended.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// The last frame's position; 0 if there is none.
    pub last_lsn: Lsn,
    /// The segment in which the log ended; 0 if there is none.
    pub last_segment: SegmentNumber,
    /// The offset after the last frame in it that is known to be durable.
    pub end: u64,
    /// The frames behind that, up to the last one, in order.
    pub unclaimed: Vec<Unclaimed>,
    /// No segment has a higher number.
    pub highest_number: SegmentNumber,
    /// No segment was begun by a process of a higher incarnation.
    pub incarnation: u64,
    /// The segments that hold frames, oldest first.
    pub segments: Vec<LiveSegment>,
}

/// A frame that is whole, and of which nothing says that it was ever durable.
#[derive(Debug, Clone)]
pub struct Unclaimed {
    /// Its position in the log.
    pub lsn: Lsn,
    /// What it carries.
    pub kind: FrameKind,
    /// What follows its outer shell.
    pub body: Vec<u8>,
}

/// Reads the whole log, oldest first, and shows every frame of data to `visit` with its place, its
/// shell and its sealed bytes. Nobody may be told of what it shows before the log has begun its
/// next segment ([`super::Log::begin`]), which makes the last of it durable.
///
/// `durable_claim` is the highest Lsn that a catalogue or manifest says was durable.
///
/// # Errors
/// `DAMAGED`, naming file and offset, if a frame that was durable is not whole.
pub fn recover(
    io: &dyn Io,
    dir: &Path,
    store: StoreId,
    durable_claim: Lsn,
    mut visit: impl FnMut(FramePlace, &InnerShell, &[u8]) -> Result<()>,
) -> Result<Recovery> {
    let names = io.list_dir(dir).map_err(|source| io_error("listing", dir, source))?;
    let mut numbers: Vec<_> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    let mut recovery = Recovery::default();
    let mut headers = Vec::with_capacity(numbers.len());
    for &number in &numbers {
        recovery.highest_number = number;
        let header = read_header(io, dir, number, store)?;
        recovery.incarnation = recovery.incarnation.max(header.incarnation);
        headers.push(header);
    }
    for (i, header) in headers.iter().enumerate() {
        let next = headers.get(i + 1);
        if i == 0 {
            recovery.last_lsn = Lsn(header.first_lsn.0.saturating_sub(1));
        } else if header.previous != recovery.last_segment || header.first_lsn.0 != recovery.last_lsn.0 + 1 {
            return Err(damaged(header.number, 0, "a segment before this one is missing"));
        }
        scan(io, dir, header, next, durable_claim, &mut recovery, &mut visit)?;
    }
    if durable_claim > recovery.last_lsn {
        let what = format!(
            "the log ends at lsn {}, but was durable up to lsn {durable_claim}: what follows is damaged, or \
             wal/{:016}.wal is missing",
            recovery.last_lsn,
            SegmentNumber(recovery.last_segment.0 + 1)
        );
        return Err(damaged(recovery.last_segment, recovery.end, &what));
    }
    Ok(recovery)
}

/// The number of the oldest segment, if there is one.
///
/// # Errors
/// `IOERROR`.
pub fn first_segment(io: &dyn Io, dir: &Path) -> Result<Option<SegmentNumber>> {
    let names = io.list_dir(dir).map_err(|source| io_error("listing", dir, source))?;
    Ok(names.iter().filter_map(|name| segment_number(name)).min())
}

/// Reads a segment's header, which is durable before the segment has its name: one that is not whole is damage,
/// also that of the last segment, which may hold acknowledged frames.
fn read_header(io: &dyn Io, dir: &Path, number: SegmentNumber, store: StoreId) -> Result<SegmentHeader> {
    let path = segment_path(dir, number);
    let file = io.open(&path, OpenMode::Read).map_err(|source| io_error("reading", &path, source))?;
    let mut block = vec![0; BLOCK_BYTES];
    if file.len().map_err(|source| io_error("reading", &path, source))? < BLOCK_BYTES as u64 {
        return Err(damaged(number, 0, "the segment is shorter than its header"));
    }
    file.read_exact_at(&mut block, 0).map_err(|source| io_error("reading", &path, source))?;
    let header = SegmentHeader::decode(&block).map_err(|fault| {
        damaged(number, fault.offset as u64, &format!("the segment's header: {}", fault.reason)).because(fault)
    })?;
    if header.number != number {
        return Err(damaged(number, 32, "the header is another segment's"));
    }
    // Counting on from here must neither wrap nor go below the first of all.
    if header.first_lsn.0 == 0 || header.first_lsn.0 >= 1 << 63 {
        return Err(damaged(number, 48, "the segment's first lsn is out of bounds"));
    }
    match header.store == store {
        true => Ok(header),
        false => Err(damaged(number, 16, "the segment belongs to another store")),
    }
}

/// Reads one segment up to where it ended.
fn scan(
    io: &dyn Io,
    dir: &Path,
    header: &SegmentHeader,
    next: Option<&SegmentHeader>,
    durable_claim: Lsn,
    recovery: &mut Recovery,
    visit: &mut impl FnMut(FramePlace, &InnerShell, &[u8]) -> Result<()>,
) -> Result<()> {
    let path = segment_path(dir, header.number);
    let bytes = read_whole(io, &path, SEGMENT_READ_MAX_BYTES).map_err(|source| io_error("reading", &path, source))?;
    // A later segment says where this one ended: what lies behind was cut once, and is never believed.
    let limit = next.map_or(bytes.len(), |next| (next.previous_end as usize).min(bytes.len()));
    let mut at = BLOCK_BYTES;
    let mut expected = header.first_lsn;
    recovery.end = at as u64;
    // Where the last whole frame ends: what is bad begins behind it.
    let mut whole_end = recovery.end;
    // Those that nothing so far says were durable.
    let mut unclaimed = VecDeque::new();
    while let Some((offset, shell, body)) = frame_at_or_after(&bytes[..limit], at, header, expected) {
        let len = (OUTER_BYTES + body.len()) as u32;
        let place = FramePlace { lsn: shell.lsn, segment: header.number, offset: offset as u64, len };
        if shell.kind == FrameKind::Data {
            let (inner, sealed) = InnerShell::decode(body).map_err(|fault| {
                damaged(header.number, offset as u64, "the inner shell is not whole").because(fault)
            })?;
            visit(place, &inner, sealed)?;
        }
        unclaimed.push_back((place, shell.kind));
        let claim = if next.is_some() { shell.lsn } else { shell.durable_lsn.max(durable_claim) };
        while let Some((place, _)) = unclaimed.pop_front_if(|(place, _)| place.lsn <= claim) {
            recovery.end = place.offset + u64::from(place.len);
        }
        whole_end = offset as u64 + u64::from(len);
        at = (offset + len as usize).next_multiple_of(FRAME_ALIGN);
        expected = Lsn(expected.0 + 1);
    }
    recovery.last_lsn = Lsn(expected.0 - 1);
    recovery.last_segment = header.number;
    let body_of = |place: FramePlace| &bytes[place.offset as usize..][OUTER_BYTES..place.len as usize];
    recovery.unclaimed = unclaimed
        .into_iter()
        .map(|(place, kind)| Unclaimed { lsn: place.lsn, kind, body: body_of(place).to_vec() })
        .collect();
    recovery.segments.push(LiveSegment {
        number: header.number,
        first_lsn: header.first_lsn,
        bytes: bytes.len() as u64,
    });
    if let Some(next) = next
        && (next.previous_end != recovery.end || next.first_lsn != expected)
    {
        return Err(damaged(header.number, whole_end, "frames are missing that the next segment says were here"));
    }
    if let Some(claim) = highest_claim(&bytes, round_to_block(at as u64) as usize, header)
        && next.is_none()
        && claim >= expected
    {
        let what = format!("is damaged and valid frames follow (up to lsn {claim})");
        return Err(damaged(header.number, whole_end, &what));
    }
    Ok(())
}

/// The frame `expected` at `at`, or, where a batch ended there, at the next block.
fn frame_at_or_after<'a>(
    bytes: &'a [u8],
    at: usize,
    header: &SegmentHeader,
    expected: Lsn,
) -> Option<(usize, OuterShell, &'a [u8])> {
    let next_block = at.next_multiple_of(BLOCK_BYTES);
    let places = if next_block == at { [at, at] } else { [at, next_block] };
    places.into_iter().find_map(|place| {
        let (shell, body) = own_frame(bytes.get(place..)?, header)?;
        (shell.lsn == expected).then_some((place, shell, body))
    })
}

/// The frame at the start of `bytes`, if it was written into this segment by the process that began it.
fn own_frame<'a>(bytes: &'a [u8], header: &SegmentHeader) -> Option<(OuterShell, &'a [u8])> {
    let (shell, body) = OuterShell::decode_frame(bytes).ok()?;
    (shell.segment == header.number && shell.incarnation == header.incarnation).then_some((shell, body))
}

/// The highest Lsn that a valid frame from `from` on says was durable.
fn highest_claim(bytes: &[u8], from: usize, header: &SegmentHeader) -> Option<Lsn> {
    (from..bytes.len())
        .step_by(BLOCK_BYTES)
        .filter_map(|place| own_frame(&bytes[place..], header))
        .map(|(shell, _)| shell.durable_lsn)
        .max()
}

fn damaged(segment: SegmentNumber, offset: u64, what: &str) -> Error {
    Error::damaged(format!(
        "refusing to open: wal/{:016}.wal offset {offset}: {what}. Nothing was changed. Run: stoa verify DIR",
        segment.0
    ))
}
