//! A disk that reads a real one and writes to memory: on it the engine opens a store, recovers its log and reads
//! its pools, while the files stay as they are and a server may have them open.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stoa_engine::io::{Disk, File, Io, LockError, LockGuard, OpenMode, SimDisk};

/// The real disk below, changes above.
pub(super) struct Overlay {
    below: Disk,
    above: Arc<dyn Io>,
    /// Names that are gone as seen from above.
    removed: Mutex<HashSet<PathBuf>>,
}

impl Overlay {
    /// Nothing changed yet.
    pub(super) fn new() -> Self {
        Self { below: Disk::new(), above: SimDisk::new(0).io(), removed: Mutex::default() }
    }

    fn removed(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.removed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_above(&self, path: &Path) -> io::Result<bool> {
        self.above.exists(path)
    }

    /// Whether the name is seen as that of the file below.
    fn is_below(&self, path: &Path) -> io::Result<bool> {
        let gone = path.ancestors().any(|part| self.removed().contains(part));
        Ok(!gone && self.below.exists(path)?)
    }

    /// Makes the parents of `path` above, so that it can be made there.
    fn make_parents(&self, path: &Path) -> io::Result<()> {
        path.parent().map_or(Ok(()), |parent| self.above.create_dir_all(parent))
    }

    /// Copies a file up, to be changed there.
    fn lift(&self, path: &Path) -> io::Result<()> {
        if self.is_above(path)? || !self.is_below(path)? {
            return Ok(());
        }
        self.make_parents(path)?;
        let from = self.below.open(path, OpenMode::Read)?;
        let to = self.above.open(path, OpenMode::CreateNew)?;
        let len = from.len()?;
        let mut piece = vec![0; 1 << 20];
        let mut at = 0;
        while at < len {
            let read = from.read_at(&mut piece, at)?;
            if read == 0 {
                break;
            }
            to.write_all_at(&piece[..read], at)?;
            at += read as u64;
        }
        Ok(())
    }
}

impl Io for Overlay {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        if self.is_above(path)? {
            return self.above.open(path, mode);
        }
        if self.is_below(path)? {
            return match mode {
                OpenMode::CreateNew => Err(io::ErrorKind::AlreadyExists.into()),
                // Opened for writing, but recovery only syncs: what is not written is not copied.
                _ => Ok(Arc::new(Unchanged(self.below.open(path, OpenMode::Read)?))),
            };
        }
        self.make_parents(path)?;
        self.above.open(path, mode)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.above.create_dir_all(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let (above, below) = (self.is_above(path)?, self.is_below(path)?);
        if above {
            self.above.remove_file(path)?;
        }
        if below {
            self.removed().insert(path.to_owned());
        }
        if above || below { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        if self.is_above(path)? {
            self.above.remove_dir_all(path)?;
        }
        self.removed().insert(path.to_owned());
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.lift(from)?;
        self.make_parents(to)?;
        self.above.rename(from, to)?;
        self.removed().insert(from.to_owned());
        Ok(())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        if self.is_below(path)? {
            names = self.below.list_dir(path)?;
            let removed = self.removed();
            names.retain(|name| !removed.contains(&path.join(name)));
        } else if !self.is_above(path)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.is_above(path)? {
            names.extend(self.above.list_dir(path)?);
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.is_above(path)? || self.is_below(path)?)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        match self.is_above(path)? {
            true => self.above.file_len(path),
            false if self.is_below(path)? => self.below.file_len(path),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn lock(&self, path: &Path) -> Result<LockGuard, LockError> {
        // Nobody else sees what is written above, so nobody is kept out.
        self.make_parents(path)?;
        self.above.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.below.free_bytes(path)
    }

    fn now_ms(&self) -> u64 {
        self.below.now_ms()
    }

    fn monotonic_ns(&self) -> u64 {
        self.below.monotonic_ns()
    }

    fn sleep(&self, time: Duration) {
        self.below.sleep(time);
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        self.below.random(out)
    }
}

/// A file of the disk below: it can be read, and synced for nothing.
struct Unchanged(Arc<dyn File>);

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "verification changes no file in place")
}

impl File for Unchanged {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, _buf: &[u8], _offset: u64) -> io::Result<()> {
        Err(refused())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(refused())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(io: &dyn Io, path: &Path) -> io::Result<Vec<u8>> {
        stoa_engine::io::read_whole(io, path, 1 << 20)
    }

    #[test]
    fn what_is_written_above_is_not_seen_below() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        stoa_engine::io::replace(&disk, &one, b"below").unwrap();
        let overlay = Overlay::new();
        assert_eq!(read(&overlay, &one).unwrap(), b"below");
        stoa_engine::io::replace(&overlay, &one, b"above").unwrap();
        overlay.rename(&one, &two).unwrap();
        assert_eq!(read(&overlay, &two).unwrap(), b"above");
        assert!(!overlay.exists(&one).unwrap());
        assert_eq!(overlay.list_dir(dir.path()).unwrap(), ["two"]);
        assert_eq!(disk.list_dir(dir.path()).unwrap(), ["one"]);
        assert_eq!(read(&disk, &one).unwrap(), b"below");
    }

    #[test]
    fn a_file_below_is_moved_and_removed_above_alone() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        stoa_engine::io::replace(&disk, &one, b"below").unwrap();
        let overlay = Overlay::new();
        overlay.rename(&one, &two).unwrap();
        assert_eq!(read(&overlay, &two).unwrap(), b"below");
        overlay.remove_file(&two).unwrap();
        assert!(overlay.list_dir(dir.path()).unwrap().is_empty());
        assert_eq!(disk.list_dir(dir.path()).unwrap(), ["one"]);
        let again = overlay.open(&one, OpenMode::CreateNew).unwrap();
        again.write_all_at(b"new", 0).unwrap();
        assert_eq!(read(&overlay, &one).unwrap(), b"new");
    }
}
