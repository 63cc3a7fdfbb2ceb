//! The only door to the operating system: files, directories, locks, clocks and randomness.
//!
//! Everything else in the engine takes an `Arc<dyn Io>`: [`Disk`] in a real process, [`SimDisk`] where
//! crashes, faults and time are to be played. `clippy.toml` bans the ways around it.
//!
//! What a caller may rely on, of either:
//! 1. A write is durable once [`File::sync_data`] or [`File::sync_all`] of that file has returned `Ok`,
//!    and not before; writes that are not yet durable may reach the disk in any order, sector by sector.
//! 2. A name (created, renamed, removed) is durable once [`Io::sync_dir`] of the directory that holds it
//!    has returned `Ok`; syncing the file does not do it.
//! 3. A rename replaces atomically: after a crash the target is the old file or the new one, never a mix.
//! 4. After a sync has failed nothing is known about the unsynced writes, and syncing again proves nothing.
//! 5. Errors name what was being done and the path, and keep their [`io::ErrorKind`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

mod disk;
mod replace;
pub mod sim;

pub use disk::{Disk, forbid_core_dumps, raise_open_files};
pub use replace::{TEMPORARY_SUFFIX, read_whole, replace};
pub use sim::SimDisk;

/// What opening a file asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Read an existing file.
    Read,
    /// Read and write an existing file.
    Write,
    /// Read and write; made if it is not there, kept as it is if it is.
    Create,
    /// Read and write; fails with [`io::ErrorKind::AlreadyExists`] if it is there.
    CreateNew,
}

/// Disk, clock and randomness.
pub trait Io: Send + Sync + 'static {
    /// Opens a file. One that this makes is readable and writable by its owner alone (mode 0600).
    ///
    /// # Errors
    /// As the operating system gives them: `NotFound`, `AlreadyExists`, `PermissionDenied`, …
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Makes a directory and its missing parents, each for the owner alone (mode 0700). The names are durable
    /// after [`Io::sync_dir`] of each parent.
    ///
    /// # Errors
    /// As the operating system gives them; that the directory is already there is none.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all that is in it; not atomic.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Renames a file or directory; a file at `to` is replaced in one step.
    ///
    /// # Errors
    /// `NotFound` if there is nothing at `from`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the operating system gives them; see invariant 4 of the module.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted bytewise.
    ///
    /// # Errors
    /// `InvalidData` if a name is not UTF-8.
    fn list_dir(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Whether something has this name.
    ///
    /// # Errors
    /// When that cannot be told, e.g. `PermissionDenied`.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The length of a file in bytes.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn file_len(&self, path: &Path) -> io::Result<u64>;

    /// Takes an exclusive lock on a file, made if it is not there, until the guard is dropped or the process
    /// ends. The holder's process id is written into the file.
    ///
    /// # Errors
    /// [`LockError::Held`] at once if another holds it.
    fn lock(&self, path: &Path) -> Result<LockGuard, LockError>;

    /// Bytes that an unprivileged process can still write on the file system that holds `path`.
    ///
    /// # Errors
    /// `NotFound` if `path` is not there.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Wall clock, milliseconds since the Unix epoch. May jump either way.
    fn now_ms(&self) -> u64;

    /// A clock that never goes back, in nanoseconds since some moment before the first call.
    fn monotonic_ns(&self) -> u64;

    /// Holds the calling thread up for `time`.
    fn sleep(&self, time: Duration);

    /// Fills `out` with bytes that nobody can foretell.
    ///
    /// # Errors
    /// If the operating system has none to give.
    fn random(&self, out: &mut [u8]) -> io::Result<()>;
}

/// An open file. Reads and writes name their place; there is no cursor.
pub trait File: Send + Sync {
    /// Reads at most `buf.len()` bytes at `offset`; 0 at or past the end.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buf` at `offset`, growing the file as needed.
    ///
    /// # Errors
    /// As the operating system gives them; then any part may have been written.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable, with as much metadata as reading it back needs.
    ///
    /// # Errors
    /// As the operating system gives them; see invariant 4 of the module.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes what was written and all metadata durable.
    ///
    /// # Errors
    /// As [`File::sync_data`].
    fn sync_all(&self) -> io::Result<()>;

    /// Cuts the file, or grows it with zeroes that take no room on the disk yet.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no byte.
    ///
    /// # Errors
    /// As [`File::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Writes `len` zero bytes at `offset`, so that later writes there need no new room: overwriting zeroes
    /// syncs in half the time that growing the file takes.
    ///
    /// # Errors
    /// As [`File::write_all_at`].
    fn write_zeroes(&self, offset: u64, len: u64) -> io::Result<()> {
        static ZEROES: [u8; 1 << 16] = [0; 1 << 16];
        let (mut at, end) = (offset, offset.saturating_add(len));
        while at < end {
            let piece = (end - at).min(ZEROES.len() as u64);
            self.write_all_at(&ZEROES[..piece as usize], at)?;
            at += piece;
        }
        Ok(())
    }

    /// Makes the file `len` bytes long and keeps that much room on the disk for it; what it holds means nothing.
    /// Of less than `len` only what is missing is taken.
    ///
    /// # Errors
    /// As [`File::write_all_at`]: `StorageFull` where there is not as much.
    fn allocate(&self, len: u64) -> io::Result<()> {
        let there = self.len()?;
        if there > len {
            return self.set_len(len);
        }
        self.write_zeroes(there, len - there)
    }
}

/// Holds a lock until dropped.
pub struct LockGuard(#[expect(dead_code, reason = "kept for its drop")] Box<dyn Send + Sync>);

impl LockGuard {
    pub(crate) fn new(held: impl Send + Sync + 'static) -> Self {
        Self(Box::new(held))
    }
}

impl std::fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LockGuard(..)")
    }
}

/// Why a lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process (or another part of this one) holds it.
    #[error("{} is in use{}", path.display(), by(*holder))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The holder's process id, if it could be read.
        holder: Option<u32>,
    },
    /// The lock file could not be made, opened or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn by(holder: Option<u32>) -> String {
    holder.map(|pid| format!(" by process {pid}")).unwrap_or_default()
}

/// Whether an error says that the disk, or the owner's share of it, is full.
pub fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An error of the operating system with what was being done, and where.
#[derive(Debug, Error)]
#[error("cannot {doing} {}: {source}", path.display())]
struct PlacedError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Adds what was being done, and where; the kind stays.
fn placed(doing: &'static str, path: &Path, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), PlacedError { doing, path: path.to_owned(), source })
}
