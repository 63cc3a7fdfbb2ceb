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
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stoa_format::wal::{
    BLOCK_BYTES, FRAME_ALIGN, FrameKind, InnerShell, OUTER_BYTES, OuterShell, SegmentHeader, round_to_block,
};
use stoa_format::{Lsn, SegmentNumber, StoreId};

use super::segment::{io_error, segment_number, segment_path};
use super::{FramePlace, LiveSegment};
use crate::error::{Error, Result};
use crate::io::{File, Io, OpenMode};

/// A segment cannot be greater than this: one transaction is bounded far below it.
const SEGMENT_READ_MAX_BYTES: u64 = 4 << 30;
/// So much of a segment is read at a time, unless a frame is longer.
const WINDOW_BYTES: usize = 1 << 20;

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
        let (mut window, segment_bytes) = Window::open(io, dir, header, next)?;
        recovery.segments.push(LiveSegment {
            number: header.number,
            first_lsn: header.first_lsn,
            bytes: segment_bytes,
        });
        scan(&mut window, header, next, durable_claim, &mut recovery, &mut visit)?;
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

/// A stretch of a segment in memory, which moves to what is asked for: no more of a log is in memory at once.
struct Window {
    path: PathBuf,
    file: Arc<dyn File>,
    /// Nothing is read from there on.
    end: u64,
    from: u64,
    held: usize,
    bytes: Vec<u8>,
}

impl Window {
    /// A segment and its length. A later one says where it ended: what lies behind was cut once, and is never believed.
    fn open(io: &dyn Io, dir: &Path, header: &SegmentHeader, next: Option<&SegmentHeader>) -> Result<(Self, u64)> {
        let path = segment_path(dir, header.number);
        let opened = io.open(&path, OpenMode::Read).and_then(|file| match file.len()? {
            len if len > SEGMENT_READ_MAX_BYTES => Err(ErrorKind::FileTooLarge.into()),
            len => Ok((len, file)),
        });
        let (len, file) = opened.map_err(|source| io_error("reading", &path, source))?;
        let end = next.map_or(len, |next| next.previous_end.min(len));
        Ok((Self { path, file, end, from: 0, held: 0, bytes: Vec::new() }, len))
    }

    /// The `len` bytes from `at` on, or those before the end.
    fn at(&mut self, at: u64, len: usize) -> Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        let len = len.min(left);
        if at < self.from || at + len as u64 > self.from + self.held as u64 {
            let held = len.max(WINDOW_BYTES).min(left);
            if self.bytes.len() < held {
                self.bytes.resize(held, 0);
            }
            // What a failure may leave there is not held.
            (self.from, self.held) = (at, 0);
            let read = self.file.read_exact_at(&mut self.bytes[..held], at);
            read.map_err(|source| io_error("reading", &self.path, source))?;
            self.held = held;
        }
        let skipped = at.saturating_sub(self.from) as usize;
        Ok(&self.bytes[skipped..][..len])
    }
}

/// Goes through one segment, up to where it ended.
fn scan(
    window: &mut Window,
    header: &SegmentHeader,
    next: Option<&SegmentHeader>,
    durable_claim: Lsn,
    recovery: &mut Recovery,
    visit: &mut impl FnMut(FramePlace, &InnerShell, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut at = BLOCK_BYTES as u64;
    let mut expected = header.first_lsn;
    recovery.end = at;
    // Where the last whole frame ends: what is bad begins behind it.
    let mut whole_end = recovery.end;
    // Those that nothing so far says were durable.
    let mut unclaimed = VecDeque::new();
    while let Some((offset, shell)) = frame_at_or_after(window, at, header, expected)? {
        let len = OUTER_BYTES as u32 + shell.body_len;
        let place = FramePlace { lsn: shell.lsn, segment: header.number, offset, len };
        if shell.kind == FrameKind::Data {
            let (inner, sealed) = InnerShell::decode(body_of(window, place)?)
                .map_err(|fault| damaged(header.number, offset, "the inner shell is not whole").because(fault))?;
            visit(place, &inner, sealed)?;
        }
        unclaimed.push_back((place, shell.kind));
        let claim = if next.is_some() { shell.lsn } else { shell.durable_lsn.max(durable_claim) };
        while let Some((place, _)) = unclaimed.pop_front_if(|(place, _)| place.lsn <= claim) {
            recovery.end = place.offset + u64::from(place.len);
        }
        whole_end = offset + u64::from(len);
        at = whole_end.next_multiple_of(FRAME_ALIGN as u64);
        expected = Lsn(expected.0 + 1);
    }
    recovery.last_lsn = Lsn(expected.0 - 1);
    recovery.last_segment = header.number;
    for (place, kind) in unclaimed {
        recovery.unclaimed.push(Unclaimed { lsn: place.lsn, kind, body: body_of(window, place)?.to_vec() });
    }
    if let Some(next) = next
        && (next.previous_end != recovery.end || next.first_lsn != expected)
    {
        return Err(damaged(header.number, whole_end, "frames are missing that the next segment says were here"));
    }
    if next.is_none()
        && let Some(claim) = highest_claim(window, round_to_block(at), header)?
        && claim >= expected
    {
        let what = format!("is damaged and valid frames follow (up to lsn {claim})");
        return Err(damaged(header.number, whole_end, &what));
    }
    Ok(())
}

/// The frame `expected` at `at`, or, where a batch ended there, at the next block.
fn frame_at_or_after(
    window: &mut Window,
    at: u64,
    header: &SegmentHeader,
    expected: Lsn,
) -> Result<Option<(u64, OuterShell)>> {
    for place in [at, round_to_block(at)] {
        if let Some(shell) = own_frame(window, place, header)?.filter(|shell| shell.lsn == expected) {
            return Ok(Some((place, shell)));
        }
    }
    Ok(None)
}

/// The frame at `at`, if it was written into this segment by the process that began it.
fn own_frame(window: &mut Window, at: u64, header: &SegmentHeader) -> Result<Option<OuterShell>> {
    let is_own = |shell: &OuterShell| shell.segment == header.number && shell.incarnation == header.incarnation;
    // Most of what is looked at behind the end of a log is no frame, or another segment's: its body is not read.
    let shell = OuterShell::decode(window.at(at, OUTER_BYTES)?);
    let Some(shell) = shell.ok().filter(is_own) else { return Ok(None) };
    let frame = window.at(at, OUTER_BYTES + shell.body_len as usize)?;
    Ok(OuterShell::decode_frame(frame).is_ok().then_some(shell))
}

/// What follows the outer shell of a frame that was found whole.
fn body_of(window: &mut Window, place: FramePlace) -> Result<&[u8]> {
    Ok(&window.at(place.offset, place.len as usize)?[OUTER_BYTES..])
}

/// The highest Lsn that a valid frame from `from` on says was durable.
fn highest_claim(window: &mut Window, from: u64, header: &SegmentHeader) -> Result<Option<Lsn>> {
    let mut highest = None;
    for place in (from..window.end).step_by(BLOCK_BYTES) {
        highest = highest.max(own_frame(window, place, header)?.map(|shell| shell.durable_lsn));
    }
    Ok(highest)
}

fn damaged(segment: SegmentNumber, offset: u64, what: &str) -> Error {
    Error::damaged(format!(
        "refusing to open: wal/{:016}.wal offset {offset}: {what}. Nothing was changed. Run: stoa verify DIR",
        segment.0
    ))
}
