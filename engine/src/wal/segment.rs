//! Segment files: made ahead, written, recycled, read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stoa_format::SegmentNumber;
use stoa_format::wal::{OuterShell, SegmentHeader};

use super::FramePlace;
use crate::error::{Error, ErrorKind, Result};
use crate::io::{File, Io, OpenMode};

const SPARE_NAME: &str = "spare.wal";
/// What is made because no spare is there must not touch the one that may be in the making.
const NEXT_NAME: &str = "next.wal";
/// What stands behind the number of a segment whose file waits to be another's.
const RECYCLED_SUFFIX: &str = ".spare";

/// The file of a segment.
pub fn segment_path(dir: &Path, number: SegmentNumber) -> PathBuf {
    dir.join(format!("{:016}.wal", number.0))
}

/// The number in a segment's file name, if it is one.
pub fn segment_number(name: &str) -> Option<SegmentNumber> {
    let digits = name.strip_suffix(".wal")?;
    (digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok().map(SegmentNumber))
        .flatten()
}

/// A segment made ahead: as long as it will be, written once, so that later writes neither grow
/// the file nor touch its metadata.
pub struct Spare {
    path: PathBuf,
    file: Arc<dyn File>,
    /// Its length.
    pub bytes: u64,
}

impl Spare {
    /// Writes a file of `bytes` zeroes and syncs it.
    ///
    /// # Errors
    /// `NOSPACE` or `IOERROR`; what was begun is removed.
    pub fn make(io: &dyn Io, dir: &Path, bytes: u64) -> Result<Self> {
        Self::make_at(io, dir.join(SPARE_NAME), bytes)
    }

    /// The same for a segment that is needed at once, whether or not another is being made.
    ///
    /// # Errors
    /// As [`Spare::make`].
    pub fn make_now(io: &dyn Io, dir: &Path, bytes: u64) -> Result<Self> {
        Self::make_at(io, dir.join(NEXT_NAME), bytes)
    }

    /// Removes what a process that was killed had made ahead, or was making: on a full disk there is no room but that.
    pub fn remove_leftovers(io: &dyn Io, dir: &Path) {
        let mut names = io.list_dir(dir).unwrap_or_default();
        names.retain(|name| name == SPARE_NAME || name == NEXT_NAME || name.ends_with(RECYCLED_SUFFIX));
        for name in names {
            // One that stays costs room until the next start, and nothing believes what it holds.
            let _ = io.remove_file(&dir.join(name));
        }
    }

    fn make_at(io: &dyn Io, path: PathBuf, bytes: u64) -> Result<Self> {
        let made = io.open(&path, OpenMode::Create).and_then(|file| {
            file.set_len(0)?;
            file.write_zeroes(0, bytes)?;
            file.sync_all()?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(Self { path, file, bytes }),
            Err(source) => {
                let _ = io.remove_file(&path);
                Err(io_error("making", &path, source))
            }
        }
    }

    /// Takes over the file of a segment that nobody needs any more. What it held is never
    /// believed again: frames carry their segment's number. The old name is durably gone before
    /// another header is written into it.
    ///
    /// # Errors
    /// If it cannot be opened or renamed.
    pub fn recycle(io: &dyn Io, dir: &Path, old: &Path, bytes: u64) -> Result<Self> {
        let path = old.with_extension(&RECYCLED_SUFFIX[1..]);
        let renamed = io.rename(old, &path).and_then(|()| io.sync_dir(dir));
        renamed.map_err(|source| io_error("recycling", old, source))?;
        let file = io.open(&path, OpenMode::Write).map_err(|source| io_error("recycling", &path, source))?;
        Ok(Self { path, file, bytes })
    }

    /// Removes it.
    ///
    /// # Errors
    /// `IOERROR`.
    pub fn discard(self, io: &dyn Io) -> Result<()> {
        drop(self.file);
        io.remove_file(&self.path).map_err(|source| io_error("removing", &self.path, source))
    }

    /// Writes the header and the frames of the first blocks behind it, if there are any yet, gives the file its
    /// name and makes all of that durable: after a crash the name is there only with what it stands for.
    ///
    /// # Errors
    /// `NOSPACE` or `IOERROR`, with whether the name may be there all the same.
    pub fn become_segment(
        self,
        io: &dyn Io,
        dir: &Path,
        header: &SegmentHeader,
        frames: &[u8],
    ) -> std::result::Result<Arc<dyn File>, Unbegun> {
        let path = segment_path(dir, header.number);
        let unbegun = |is_named, source| Unbegun { is_named, error: io_error("beginning", &path, source) };
        let blocks = [&header.encode()[..], frames].concat();
        let written = self.file.write_all_at(&blocks, 0).and_then(|()| self.file.sync_data());
        written.map_err(|source| unbegun(false, source))?;
        let named = io.rename(&self.path, &path).and_then(|()| io.sync_dir(dir));
        named.map_err(|source| unbegun(true, source))?;
        Ok(self.file)
    }
}

/// A segment that was not begun.
pub struct Unbegun {
    /// The disk may have it all the same: no frame may go into the segment before it.
    pub is_named: bool,
    /// Why.
    pub error: Error,
}

/// Reads frames by their places: a segment stays open for as long as they lie in it, and the memory is used again.
pub struct Frames<'a> {
    io: &'a dyn Io,
    dir: &'a Path,
    segment: Option<(SegmentNumber, Arc<dyn File>)>,
    bytes: Vec<u8>,
}

impl<'a> Frames<'a> {
    /// Frames of the log in `dir`.
    pub fn new(io: &'a dyn Io, dir: &'a Path) -> Self {
        Self { io, dir, segment: None, bytes: Vec::new() }
    }

    /// What one frame carries: all that follows its outer shell.
    ///
    /// # Errors
    /// `IOERROR` if it cannot be read, `DAMAGED` if it is not the frame that was written.
    pub fn read(&mut self, place: FramePlace) -> Result<&[u8]> {
        let len = place.len as usize;
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        let read = self.file(place.segment).and_then(|file| file.read_exact_at(&mut self.bytes[..len], place.offset));
        read.map_err(|source| io_error("reading", &segment_path(self.dir, place.segment), source))?;
        let (shell, body) = OuterShell::decode_frame(&self.bytes[..len]).map_err(|fault| {
            Error::damaged(format!("wal/{:016}.wal offset {}: {fault}", place.segment.0, place.offset)).because(fault)
        })?;
        if shell.lsn != place.lsn || shell.segment != place.segment {
            let what = format!("wal/{:016}.wal offset {}: another frame stands there", place.segment.0, place.offset);
            return Err(Error::damaged(what));
        }
        Ok(body)
    }

    fn file(&mut self, segment: SegmentNumber) -> io::Result<Arc<dyn File>> {
        if let Some((_, file)) = self.segment.as_ref().filter(|(open, _)| *open == segment) {
            return Ok(Arc::clone(file));
        }
        let file = self.io.open(&segment_path(self.dir, segment), OpenMode::Read)?;
        self.segment = Some((segment, Arc::clone(&file)));
        Ok(file)
    }
}

/// One frame, as [`Frames::read`].
///
/// # Errors
/// As there.
pub fn read_frame(io: &dyn Io, dir: &Path, place: FramePlace) -> Result<Vec<u8>> {
    Frames::new(io, dir).read(place).map(<[u8]>::to_vec)
}

/// What the operating system said, as an error that says what to do.
pub(crate) fn io_error(doing: &str, path: &Path, source: io::Error) -> Error {
    let kind = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        _ => ErrorKind::Io,
    };
    let remedy = match kind {
        ErrorKind::NoSpace => "; free space or raise the volume, then try again",
        _ => "",
    };
    Error::new(kind, format!("{doing} {} failed: {source}{remedy}", path.display())).because(source)
}
