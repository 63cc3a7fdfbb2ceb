//! The store's one log: segments that are zero-written ahead, batches of frames, one sync each.
//!
//! Invariants:
//! 1. `durable_lsn ≤ last_lsn`; a frame is acknowledged only when `durable_lsn` covers it.
//! 2. A batch starts on a fresh block, and a block that holds an acknowledged frame is never
//!    written again while its segment lives.
//! 3. A segment's header and its name are durable before its first frame is written.
//! 4. After a failed write or sync the log takes nothing more until the store is reopened: what
//!    the disk holds of that batch is unknown, and syncing again would prove nothing. The one
//!    exception is a write that a full disk refused: then the batch is cut off by a new segment,
//!    whose header says where the log ended before it, and only then is it said that nothing was
//!    written. (A sync that fails is a failure, whatever it says.)
//! 5. What recovery found at the end, without proof that it is durable, stands in the new segment
//!    before that has its name.

mod recovery;
mod segment;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stoa_format::wal::{BLOCK_BYTES, FRAME_ALIGN, FrameKind, OuterShell, SegmentHeader, round_to_block};
use stoa_format::{Lsn, SegmentNumber, StoreId};

use crate::error::{Error, ErrorKind, Result};
use crate::io::{File, Io, is_out_of_space};

pub use recovery::{Recovery, first_segment, recover};
use segment::Unbegun;
pub(crate) use segment::io_error;
pub use segment::{Frames, Spare, read_frame, segment_path};

/// The first segment's size, unless [`crate::Limits`] say otherwise.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 20;
/// On a full disk a segment has this size, unless one batch needs more: enough to open, and to delete.
const SEGMENT_BYTES_FULL: u64 = 128 << 10;
/// No segment is made greater than this, unless one batch needs it.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// How much room there is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// As far as is known, enough for segments of the usual size.
    Plenty,
    /// The disk is full: no more is taken than is needed.
    Tight,
}

/// Where a frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePlace {
    /// Its position in the log.
    pub lsn: Lsn,
    /// The segment.
    pub segment: SegmentNumber,
    /// Offset of its outer shell.
    pub offset: u64,
    /// Length of the whole frame in bytes.
    pub len: u32,
}

/// A segment that still holds frames that somebody needs.
#[derive(Debug, Clone, Copy)]
pub struct LiveSegment {
    /// Its number.
    pub number: SegmentNumber,
    /// Its first Lsn.
    pub first_lsn: Lsn,
    /// The file's size in bytes.
    pub bytes: u64,
}

/// The log, as its one writer holds it.
pub struct Log {
    io: Arc<dyn Io>,
    dir: PathBuf,
    store: StoreId,
    incarnation: u64,
    file: Arc<dyn File>,
    /// Oldest first; the last is the one being written.
    segments: VecDeque<LiveSegment>,
    /// Where the next batch goes: a multiple of the block size.
    write_at: u64,
    /// Where the last frame ended.
    end: u64,
    next_lsn: Lsn,
    durable_lsn: Lsn,
    /// The last frame is a seal frame.
    sealed: bool,
    /// What a full disk kept of a batch lies behind the last frame: nothing more goes into this segment.
    torn: bool,
    /// Why it takes nothing more.
    failed: Option<Error>,
    /// Segments to come.
    spares: Vec<Spare>,
    buffer: Vec<u8>,
    /// No segment is made smaller, unless the disk is full.
    bytes_min: u64,
}

impl Log {
    /// Begins a new segment after what `recovery` found (or the first one of a new store), of `bytes_min` bytes, or
    /// fewer where room is tight, and more if that takes the frames that recovery has to move into it. Answers where
    /// these stand now.
    ///
    /// # Errors
    /// If the segment cannot be made durable.
    pub fn begin(
        io: Arc<dyn Io>,
        dir: &Path,
        store: StoreId,
        incarnation: u64,
        recovery: &Recovery,
        bytes_min: u64,
        room: Room,
    ) -> Result<(Self, Vec<FramePlace>)> {
        let unclaimed = &recovery.unclaimed;
        let first_lsn = Lsn(recovery.last_lsn.0 + 1 - unclaimed.len() as u64);
        let number = SegmentNumber(recovery.highest_number.0 + 1);
        let shell = OuterShell {
            kind: FrameKind::Data,
            body_len: 0,
            segment: number,
            incarnation,
            lsn: first_lsn,
            durable_lsn: Lsn(first_lsn.0 - 1),
        };
        let mut frames = Vec::new();
        let bodies = unclaimed.iter().map(|frame| (frame.kind, &frame.body[..]));
        let places = encode_batch(shell, bodies, BLOCK_BYTES as u64, &mut frames);
        let write_at = (BLOCK_BYTES + frames.len()) as u64;
        let (previous, previous_end) = (recovery.last_segment, recovery.end);
        let header = SegmentHeader { store, number, incarnation, first_lsn, previous, previous_end };
        let bytes_min = round_to_block(bytes_min).clamp(2 * BLOCK_BYTES as u64, SEGMENT_BYTES_MAX);
        let bytes = if room == Room::Tight { SEGMENT_BYTES_FULL.min(bytes_min) } else { bytes_min };
        let bytes = bytes.max(write_at + BLOCK_BYTES as u64);
        let spare = Spare::make_now(&*io, dir, bytes)?;
        let file = spare.become_segment(&*io, dir, &header, &frames).map_err(|unbegun| unbegun.error)?;
        let mut segments: VecDeque<_> = recovery.segments.iter().copied().collect();
        segments.push_back(LiveSegment { number, first_lsn, bytes });
        let end = places.last().map_or(BLOCK_BYTES as u64, |last| last.offset + u64::from(last.len));
        let log = Self {
            io,
            dir: dir.to_owned(),
            store,
            incarnation,
            file,
            segments,
            write_at,
            end,
            next_lsn: Lsn(recovery.last_lsn.0 + 1),
            durable_lsn: recovery.last_lsn,
            sealed: unclaimed.last().is_none_or(|frame| frame.kind == FrameKind::Seal),
            torn: false,
            failed: None,
            spares: Vec::new(),
            buffer: Vec::new(),
            bytes_min,
        };
        Ok((log, places))
    }

    /// Every frame up to this one is durable.
    pub fn durable_lsn(&self) -> Lsn {
        self.durable_lsn
    }

    /// The segments, oldest first; the last is the one being written.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = LiveSegment> + '_ {
        self.segments.iter().copied()
    }

    /// Why the log takes nothing more, if it does not.
    pub fn failure(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    /// The size of the next segment, if none is made ahead and half of this one is used.
    pub fn wants_spare(&self) -> Option<u64> {
        let current = self.current_bytes();
        (self.spares.is_empty() && self.write_at > current / 2).then(|| (current * 2).min(SEGMENT_BYTES_MAX))
    }

    /// Hands over a segment that was made ahead, or a file that held one.
    pub fn put_spare(&mut self, spare: Spare) {
        self.spares.push(spare);
    }

    /// The directory of the segments.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn current_bytes(&self) -> u64 {
        self.segments.back().map_or(0, |segment| segment.bytes)
    }

    /// Makes sure that a batch of `bytes` (all frames with their shells) can be written.
    ///
    /// # Errors
    /// `NOSPACE` or `IOERROR` if a new segment is needed and cannot be made; nothing was written
    /// then, and trying again later is safe. If nobody knows whether it was made, the log takes
    /// nothing more.
    pub fn ensure_room(&mut self, bytes: u64, room: Room) -> Result<()> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let need = round_to_block(bytes) + BLOCK_BYTES as u64;
        if !self.torn && self.write_at + need <= self.current_bytes() {
            return Ok(());
        }
        self.next_segment(need, room)
    }

    /// Begins a new segment, with room in this one or not, in a file that never was another's.
    ///
    /// # Errors
    /// As [`Log::ensure_room`].
    pub fn roll(&mut self) -> Result<()> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        while let Some(spare) = self.spares.pop() {
            spare.discard(&*self.io)?;
        }
        self.next_segment(BLOCK_BYTES as u64, Room::Plenty)
    }

    fn next_segment(&mut self, need: u64, room: Room) -> Result<()> {
        let bytes_min = need + BLOCK_BYTES as u64;
        let fit = self.spares.iter().position(|spare| spare.bytes >= bytes_min);
        let spare = match fit.map(|place| self.spares.swap_remove(place)) {
            Some(spare) => spare,
            None => self.make_next(bytes_min, room)?,
        };
        let last = self.segments.back().map_or(SegmentNumber(0), |segment| segment.number);
        let number = SegmentNumber(last.0 + 1);
        let header = SegmentHeader {
            store: self.store,
            number,
            incarnation: self.incarnation,
            first_lsn: self.next_lsn,
            previous: last,
            previous_end: self.end,
        };
        let bytes = spare.bytes;
        self.file = match spare.become_segment(&*self.io, &self.dir, &header, &[]) {
            Ok(file) => file,
            Err(Unbegun { is_named: false, error }) => return Err(error),
            Err(Unbegun { error, .. }) => {
                // Its header says where the present segment ended. Were that to go on, the two would contradict
                // each other, and the log would look damaged.
                let what = format!("{}; no write is taken until restart; reads go on", error.message());
                return Err(self.failed.insert(Error::new(ErrorKind::Io, what)).clone());
            }
        };
        self.segments.push_back(LiveSegment { number, first_lsn: self.next_lsn, bytes });
        self.write_at = BLOCK_BYTES as u64;
        self.end = self.write_at;
        self.torn = false;
        Ok(())
    }

    /// Makes a segment of `bytes_min` at least, as great as the disk has room for.
    fn make_next(&self, bytes_min: u64, room: Room) -> Result<Spare> {
        let usual = self.current_bytes().clamp(self.bytes_min, SEGMENT_BYTES_MAX);
        let sizes = match room {
            Room::Plenty => [usual, self.bytes_min],
            Room::Tight => [SEGMENT_BYTES_FULL.min(self.bytes_min), BLOCK_BYTES as u64],
        };
        let [first, second] = sizes.map(|bytes| bytes.max(bytes_min));
        match Spare::make_now(&*self.io, &self.dir, first) {
            Err(error) if error.kind() == ErrorKind::NoSpace && second < first => {
                Spare::make_now(&*self.io, &self.dir, second)
            }
            made => made,
        }
    }

    /// Cuts off what a full disk may have kept of a batch, by a new segment: once this is done, no
    /// recovery will believe any of it.
    ///
    /// # Errors
    /// If that cannot be done, nobody knows what recovery will find: the log takes nothing more.
    pub fn cut_torn(&mut self) -> Result<()> {
        if !self.torn {
            return Ok(());
        }
        self.ensure_room(BLOCK_BYTES as u64, Room::Tight).map_err(|error| {
            let source = std::io::Error::other(error.message().to_owned());
            self.fail(self.next_lsn, source)
        })
    }

    /// Appends one batch: a frame around each body, one write, one sync. Room must have been
    /// ensured. Answers where each frame stands; all of them are durable then.
    ///
    /// # Errors
    /// `INDOUBT` if the write or the sync failed; the log takes nothing more then. `NOSPACE` if the disk
    /// was full: see [`Log::cut_torn`].
    pub fn append<'a>(&mut self, bodies: impl Iterator<Item = &'a [u8]>) -> Result<Vec<FramePlace>> {
        self.append_frames(FrameKind::Data, bodies)
    }

    /// Appends a seal frame, if the last frame is none: it claims that all before it is durable,
    /// so that damage to the last batch can be told from a torn tail.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn seal(&mut self) -> Result<()> {
        if self.sealed || self.failed.is_some() {
            return Ok(());
        }
        match self.ensure_room(BLOCK_BYTES as u64, Room::Plenty) {
            Err(error) if error.kind() == ErrorKind::NoSpace => self.ensure_room(BLOCK_BYTES as u64, Room::Tight)?,
            ensured => ensured?,
        }
        self.append_frames(FrameKind::Seal, std::iter::once(&[][..])).map(drop)
    }

    fn append_frames<'a>(
        &mut self,
        kind: FrameKind,
        bodies: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<FramePlace>> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let segment = self.segments.back().map_or(SegmentNumber(0), |segment| segment.number);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let shell = OuterShell {
            kind,
            body_len: 0,
            segment,
            incarnation: self.incarnation,
            lsn: self.next_lsn,
            durable_lsn: self.durable_lsn,
        };
        let places = encode_batch(shell, bodies.map(|body| (kind, body)), self.write_at, &mut buffer);
        let lsn = Lsn(self.next_lsn.0 + places.len() as u64);
        let end = places.last().map_or(self.end, |last| last.offset + u64::from(last.len));
        assert!(self.write_at + buffer.len() as u64 <= self.current_bytes(), "room was ensured for the batch");
        match self.file.write_all_at(&buffer, self.write_at) {
            Ok(()) => {}
            Err(source) if is_out_of_space(&source) => {
                self.torn = true;
                return Err(io_error("writing", &segment_path(&self.dir, segment), source));
            }
            Err(source) => return Err(self.fail(lsn, source)),
        }
        // Whatever a failed sync says, nobody knows what it has written.
        self.file.sync_data().map_err(|source| self.fail(lsn, source))?;
        self.end = end;
        self.write_at += buffer.len() as u64;
        self.next_lsn = lsn;
        self.durable_lsn = Lsn(lsn.0 - 1);
        self.sealed = kind == FrameKind::Seal;
        self.buffer = buffer;
        Ok(places)
    }

    /// Takes nothing more: the store is closed.
    pub fn close(&mut self) {
        let closed = || Error::new(ErrorKind::Io, "the store was closed; open it again to write");
        self.failed.get_or_insert_with(closed);
    }

    /// Remembers the failure: later writes are refused, those in flight are in doubt.
    fn fail(&mut self, lsn: Lsn, source: std::io::Error) -> Error {
        let what =
            format!("writing the log failed at lsn {lsn} ({source}); no write is taken until restart; reads go on");
        self.failed = Some(Error::new(ErrorKind::Io, what));
        let doubt = format!(
            "the log could not be made durable at lsn {lsn} ({source}); restart, then repeat with the same token"
        );
        Error::new(ErrorKind::InDoubt, doubt).because(source)
    }

    /// The oldest segment, if it is before `first`: nobody needs its frames any more, once that is so.
    pub fn oldest_before(&self, first: SegmentNumber) -> Option<LiveSegment> {
        let oldest = self.segments.front().filter(|segment| segment.number < first);
        oldest.filter(|_| self.segments.len() > 1).copied()
    }

    /// Forgets the oldest segment, whose file is gone. Only then, and oldest first: what is left on disk
    /// is a log without a gap.
    pub fn forget(&mut self, number: SegmentNumber) {
        if self.segments.len() > 1 && self.segments.front().is_some_and(|segment| segment.number == number) {
            self.segments.pop_front();
        }
    }

    /// How many segments to come are there already.
    pub fn spares(&self) -> usize {
        self.spares.len()
    }
}

/// Encodes one batch, which is to stand at `write_at` of a segment: a frame around each body, with Lsns from that of
/// `shell` on, to whole blocks. Answers where each frame will stand.
fn encode_batch<'a>(
    mut shell: OuterShell,
    bodies: impl Iterator<Item = (FrameKind, &'a [u8])>,
    write_at: u64,
    out: &mut Vec<u8>,
) -> Vec<FramePlace> {
    let mut places = Vec::new();
    for (kind, body) in bodies {
        let start = out.len();
        (shell.kind, shell.body_len) = (kind, body.len() as u32);
        shell.encode_frame(body, out);
        let (offset, len) = (write_at + start as u64, (out.len() - start) as u32);
        places.push(FramePlace { lsn: shell.lsn, segment: shell.segment, offset, len });
        out.resize(out.len().next_multiple_of(FRAME_ALIGN), 0);
        shell.lsn = Lsn(shell.lsn.0 + 1);
    }
    out.resize(round_to_block(out.len() as u64) as usize, 0);
    places
}
