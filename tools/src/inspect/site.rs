//! A data directory as the inspection tools see it: files that are read and never changed, whether or not a
//! server has the store open.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stoa_engine::StoreOptions;
use stoa_engine::io::{Disk, Io, OpenMode, TEMPORARY_SUFFIX, read_whole};
use stoa_format::{PoolId, SegmentNumber};

/// Files are read whole up to this; greater ones are no file of a store.
const FILE_BYTES_MAX: u64 = 8 << 30;

/// A data directory.
pub(crate) struct Site {
    /// Where it is.
    pub root: PathBuf,
    /// The way to the disk.
    pub io: Arc<dyn Io>,
}

impl Site {
    /// The data directory at `root`.
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), io: Arc::new(Disk::new()) }
    }

    /// The data directory that `path` is, or is in: the nearest one upwards that looks like one.
    pub(crate) fn find(path: &Path) -> Option<Self> {
        let path = std::fs::canonicalize(path).ok()?;
        let is_root = |dir: &&Path| {
            dir.join("STORE").is_file()
                || dir.join("CATALOGUE").is_file()
                || (dir.join("wal").is_dir() && dir.join("pools").is_dir())
        };
        path.ancestors().find(is_root).map(Self::at)
    }

    /// The key file that belongs beside the directory.
    pub(crate) fn default_key_file(&self) -> PathBuf {
        StoreOptions::new(&self.root).key_file
    }

    /// A file's name from the data directory, with `/`; for a file elsewhere its last name.
    pub(crate) fn name(&self, path: &Path) -> String {
        let full = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let root = std::fs::canonicalize(&self.root).unwrap_or_else(|_| self.root.clone());
        let inside = full.strip_prefix(&root).or_else(|_| path.strip_prefix(&self.root));
        match inside {
            Ok(inside) => {
                let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
                parts.join("/")
            }
            Err(_) => last_name(path),
        }
    }

    /// A whole file.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        read_whole(&*self.io, path, FILE_BYTES_MAX)
    }

    /// A file that is never written again once it has its name, mapped into memory where that can be had.
    ///
    /// A file that is cut short meanwhile ends this process; nothing but an operator cuts one.
    pub(crate) fn map(&self, path: &Path) -> io::Result<Content> {
        #[expect(clippy::disallowed_methods, reason = "the engine's files cannot be mapped")]
        let file = std::fs::File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Content::Read(Vec::new()));
        }
        // SAFETY: run files are written once, before they get their name, and only removed afterwards, which
        // leaves the mapping as it is.
        match unsafe { memmap2::Mmap::map(&file) } {
            Ok(map) => Ok(Content::Mapped(map)),
            Err(_) => self.read(path).map(Content::Read),
        }
    }

    /// At most the first `len` bytes of a file.
    pub(crate) fn start_of(&self, path: &Path, len: usize) -> io::Result<Vec<u8>> {
        let file = self.io.open(path, OpenMode::Read)?;
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match file.read_at(&mut bytes[filled..], filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// The directory of a pool.
    pub(crate) fn pool_dir(&self, pool: PoolId) -> PathBuf {
        self.root.join("pools").join(pool.to_string())
    }

    /// The pools that have a directory, in order.
    pub(crate) fn pools(&self) -> Vec<PoolId> {
        let mut pools: Vec<_> =
            self.names(&self.root.join("pools")).iter().filter_map(|name| PoolId::parse(name)).collect();
        pools.sort_unstable();
        pools
    }

    /// The segments of the log, in order.
    pub(crate) fn segments(&self) -> Vec<(SegmentNumber, PathBuf)> {
        let dir = self.root.join("wal");
        let mut segments: Vec<_> =
            self.names(&dir).iter().filter_map(|name| Some((segment_number(name)?, dir.join(name)))).collect();
        segments.sort_unstable();
        segments
    }

    /// The run files below a pool's directory, live or not, in order.
    pub(crate) fn run_files(&self, pool: PoolId) -> Vec<PathBuf> {
        let dir = self.pool_dir(pool);
        let mut files = self.files_in(&dir.join("flush"), ".run");
        for (folder, ending) in [("col", ".col"), ("idx", ".idx")] {
            for name in self.names(&dir.join(folder)) {
                files.extend(self.files_in(&dir.join(folder).join(name), ending));
            }
        }
        files
    }

    /// The files of a pool's frames that have left the log, oldest first.
    pub(crate) fn history_files(&self, pool: PoolId) -> Vec<PathBuf> {
        self.files_in(&self.pool_dir(pool).join("history"), ".frames")
    }

    /// Whether some process has the store open, as its lock says.
    pub(crate) fn is_running(&self) -> bool {
        // A shared lock, given back at once: nothing is written, not even the lock file.
        #[expect(clippy::disallowed_methods, reason = "the engine's lock writes into the file, which is not ours")]
        let Ok(lock) = std::fs::File::open(self.root.join("LOCK")) else { return false };
        matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
    }

    /// The names in a directory, sorted; none if it is not there.
    pub(crate) fn names(&self, dir: &Path) -> Vec<String> {
        self.io.list_dir(dir).unwrap_or_default()
    }

    fn files_in(&self, dir: &Path, ending: &str) -> Vec<PathBuf> {
        let names = self.names(dir);
        let kept = names.iter().filter(|name| name.ends_with(ending) && !name.ends_with(TEMPORARY_SUFFIX));
        kept.map(|name| dir.join(name)).collect()
    }
}

/// A file's bytes.
pub(crate) enum Content {
    /// Mapped into memory.
    Mapped(memmap2::Mmap),
    /// Read.
    Read(Vec<u8>),
}

impl std::ops::Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Read(bytes) => bytes,
        }
    }
}

/// The last part of a path, as text.
pub(crate) fn last_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The number in the name of a segment's file.
pub(crate) fn segment_number(name: &str) -> Option<SegmentNumber> {
    let digits = name.strip_suffix(".wal")?;
    let whole = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| digits.parse().ok().map(SegmentNumber)).flatten()
}
