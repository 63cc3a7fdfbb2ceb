//! A pool's frames outside of the log: those that the log has moved on from before they were
//! flushed (*parked*), and flushed ones that are kept for the change feed.
//!
//! Invariants:
//! 1. The files of a pool follow each other without a gap, and the log's frames follow them.
//! 2. A file is there whole, or not at all.
//! 3. A file with a Seq beyond what is flushed is never removed.
//! 4. A file is removed only after a checkpoint of the catalogue, or the pool's manifest, says that it is not kept: so
//!    one that is gone without that is missed.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use stoa_format::history::{HEADER_BYTES, HistoryHeader, Records, append_record, parse_file_name};
use stoa_format::wal::InnerShell;
use stoa_format::{PoolId, Seq};

use crate::error::{Error, Result};
use crate::io::{Io, read_whole, replace};
use crate::pool::open::PoolFrame;
use crate::wal::{Frames, io_error};

/// A file is ended when it has reached this.
const FILE_BYTES: usize = 16 << 20;
/// No file is greater: it holds at least one frame, which a transaction's bound keeps far smaller.
const FILE_MAX_BYTES: u64 = 1 << 30;

/// One history file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HistoryFile {
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub bytes: u64,
}

impl HistoryFile {
    /// Its path.
    pub(crate) fn path(&self, pool_dir: &Path) -> PathBuf {
        let header = HistoryHeader { pool: PoolId::NIL, first_seq: self.first_seq, last_seq: self.last_seq, count: 1 };
        pool_dir.join("history").join(header.file_name())
    }

    /// Shows the bodies of its frames to `visit`, oldest first.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`, or what `visit` fails with.
    pub(crate) fn read(
        &self,
        io: &dyn Io,
        pool: PoolId,
        pool_dir: &Path,
        mut visit: impl FnMut(&InnerShell, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let path = self.path(pool_dir);
        let damaged = |what: &str| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Error::damaged(format!("pool {pool}: history/{name}: {what}. Run: stoa verify DIR"))
        };
        let bytes = read_whole(io, &path, FILE_MAX_BYTES).map_err(|source| io_error("reading", &path, source))?;
        let (header, mut records) = Records::decode(&bytes).map_err(|fault| damaged(&fault.to_string()))?;
        if (header.pool, header.first_seq, header.last_seq) != (pool, self.first_seq, self.last_seq) {
            return Err(damaged("it is another file's content"));
        }
        let mut next = self.first_seq;
        while let Some(body) = records.next_record().map_err(|fault| damaged(&fault.to_string()))? {
            let (inner, sealed) = InnerShell::decode(body).map_err(|fault| damaged(&fault.to_string()))?;
            if inner.pool != pool || inner.first_seq != next {
                return Err(damaged("a frame is missing or another pool's"));
            }
            next = Seq(inner.last_seq().0 + 1);
            visit(&inner, sealed)?;
        }
        match next.0 == self.last_seq.0 + 1 {
            true => Ok(()),
            false => Err(damaged("its last frames are missing")),
        }
    }
}

/// The history files of a pool, oldest first.
///
/// # Errors
/// `IOERROR`.
pub(crate) fn list(io: &dyn Io, pool_dir: &Path) -> Result<VecDeque<HistoryFile>> {
    let dir = pool_dir.join("history");
    let failed = |source| io_error("listing", &dir, source);
    if !io.exists(&dir).map_err(failed)? {
        return Ok(VecDeque::new());
    }
    let mut files = Vec::new();
    for name in io.list_dir(&dir).map_err(failed)? {
        if let Some((first_seq, last_seq)) = parse_file_name(&name) {
            let bytes = io.file_len(&dir.join(&name)).map_err(failed)?;
            files.push(HistoryFile { first_seq, last_seq, bytes });
        }
    }
    files.sort_unstable_by_key(|file| file.first_seq);
    Ok(files.into())
}

/// Copies frames of the log, which follow each other, into history files; the directory is there.
///
/// # Errors
/// `DAMAGED` if a frame is not what was written; `NOSPACE`, `IOERROR`.
pub(super) fn copy(
    io: &dyn Io,
    wal_dir: &Path,
    pool: PoolId,
    pool_dir: &Path,
    frames: &[PoolFrame],
) -> Result<Vec<HistoryFile>> {
    let mut files = Vec::new();
    let (mut from, mut bytes) = (0, vec![0; HEADER_BYTES]);
    let mut log = Frames::new(io, wal_dir);
    for (at, frame) in frames.iter().enumerate() {
        append_record(log.read(frame.place)?, &mut bytes);
        if bytes.len() < FILE_BYTES && at + 1 < frames.len() {
            continue;
        }
        let (first_seq, last_seq) = (frames[from].first_seq, frame.last_seq);
        let header = HistoryHeader { pool, first_seq, last_seq, count: (at + 1 - from) as u32 };
        let mut head = Vec::with_capacity(HEADER_BYTES);
        header.encode(&mut head);
        bytes[..HEADER_BYTES].copy_from_slice(&head);
        let file = HistoryFile { first_seq, last_seq, bytes: bytes.len() as u64 };
        let path = file.path(pool_dir);
        replace(io, &path, &bytes).map_err(|source| io_error("writing", &path, source))?;
        files.push(file);
        (from, bytes) = (at + 1, vec![0; HEADER_BYTES]);
    }
    Ok(files)
}

/// From which Seq on files are kept, so that these take no more than `bytes_max`. Files with frames that are not
/// flushed are, and the newest one, which links the log's frames to what was before them.
pub(super) fn kept_from(files: &VecDeque<HistoryFile>, flushed_seq: Seq, bytes_max: u64) -> Option<Seq> {
    let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let goes = |file: &&HistoryFile| {
        let goes = bytes > bytes_max && file.last_seq <= flushed_seq;
        bytes -= file.bytes;
        goes
    };
    let gone = files.iter().take_while(goes).count();
    files.get(gone).or(files.back()).map(|file| file.first_seq)
}

/// Removes the files before `kept_from`, oldest first. One that cannot be removed now is, with those after it, the
/// next time.
pub(super) fn prune(io: &dyn Io, pool_dir: &Path, files: &mut VecDeque<HistoryFile>, kept_from: Seq) {
    while let Some(oldest) = files.front().filter(|oldest| oldest.last_seq < kept_from) {
        if io.remove_file(&oldest.path(pool_dir)).is_err() {
            return;
        }
        files.pop_front();
    }
}

/// The first Seq from `kept_from` to `up_to` that no file has: what the catalogue says is kept and is not there.
pub(super) fn first_missing(files: &VecDeque<HistoryFile>, kept_from: Seq, up_to: Seq) -> Option<Seq> {
    let mut next = kept_from.0.max(1);
    for file in files {
        if file.first_seq.0 > next {
            break;
        }
        next = next.max(file.last_seq.0 + 1);
    }
    (next <= up_to.0).then_some(Seq(next))
}
