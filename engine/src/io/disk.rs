//! The real operating system.

#![allow(clippy::disallowed_methods, reason = "this is the place that the ban points to")]

use std::cell::RefCell;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

use super::{File, Io, LockError, LockGuard, OpenMode, placed};

const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;
/// No nonce and no id is longer. What is longer is a key, which comes from the system itself.
const SMALL_RANDOM_MAX_BYTES: usize = 16;

/// The real disk, clock and random generator of this machine.
#[derive(Debug)]
pub struct Disk {
    /// Where [`Io::monotonic_ns`] counts from.
    start: Instant,
}

impl Disk {
    /// The machine's own.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps this process's memory, keys among it, out of core dumps and from debuggers of the same user.
///
/// # Errors
/// As the operating system gives them.
pub fn forbid_core_dumps() -> io::Result<()> {
    let limit = Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum };
    setrlimit(Resource::Core, limit)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Lets this process open as many files and connections as the system allows it at most; answers
/// how many that are.
///
/// # Errors
/// As the operating system gives them.
pub fn raise_open_files() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

impl Io for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let (doing, mut options) = ("open", OpenOptions::new());
        options.read(true).mode(FILE_MODE);
        let doing = match mode {
            OpenMode::Read => doing,
            OpenMode::Write => {
                options.write(true);
                doing
            }
            OpenMode::Create => {
                options.write(true).create(true);
                "open or make"
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
                "make"
            }
        };
        let file = options.open(path).map_err(|e| placed(doing, path, e))?;
        Ok(Arc::new(DiskFile { file, path: path.into() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(path).map_err(|e| placed("make directory", path, e))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path).map_err(|e| placed("remove", path, e))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path).map_err(|e| placed("remove directory", path, e))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to).map_err(|e| placed("rename", from, e))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| placed("sync directory", path, e))
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(path)? {
                let name = entry?.file_name().into_string();
                names.push(name.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a name in it is not UTF-8"))?);
            }
            names.sort_unstable();
            Ok(names)
        };
        list().map_err(|e| placed("list directory", path, e))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists().map_err(|e| placed("look for", path, e))
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(path).map(|m| m.len()).map_err(|e| placed("measure", path, e))
    }

    fn lock(&self, path: &Path) -> Result<LockGuard, LockError> {
        let place = |e: io::Error| placed("lock", path, e);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path);
        let file = file.map_err(place)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::Held { path: path.to_owned(), holder: read_holder(&file) });
            }
            Err(e) => return Err(place(e.into()).into()),
        }
        file.set_len(0).map_err(place)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0).map_err(place)?;
        Ok(LockGuard::new(file))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = statvfs(path).map_err(|e| placed("measure the file system of", path, e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn now_ms(&self) -> u64 {
        // Before 1970 there is no sensible answer but the epoch itself.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }

    fn monotonic_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        if out.len() > SMALL_RANDOM_MAX_BYTES {
            return system_random(out);
        }
        AHEAD.with_borrow_mut(|ahead| ahead.take(out))
    }
}

fn system_random(out: &mut [u8]) -> io::Result<()> {
    getrandom::fill(out).map_err(|e| io::Error::other(format!("no randomness: {e}")))
}

/// Random bytes fetched ahead: a call of the system for each nonce and id is 2 % of a creation.
struct RandomAhead {
    bytes: [u8; 512],
    used: usize,
}

thread_local! {
    static AHEAD: RefCell<RandomAhead> = const { RefCell::new(RandomAhead { bytes: [0; 512], used: 512 }) };
}

impl RandomAhead {
    /// Gives bytes that nobody had, and forgets them.
    fn take(&mut self, out: &mut [u8]) -> io::Result<()> {
        if self.used + out.len() > self.bytes.len() {
            system_random(&mut self.bytes)?;
            self.used = 0;
        }
        let taken = &mut self.bytes[self.used..self.used + out.len()];
        out.copy_from_slice(taken);
        taken.fill(0);
        self.used += out.len();
        Ok(())
    }
}

/// The process id that the holder of a lock wrote, if it is there.
fn read_holder(file: &fs::File) -> Option<u32> {
    let mut buf = [0u8; 16];
    let n = file.read_at(&mut buf, 0).ok()?;
    std::str::from_utf8(&buf[..n]).ok()?.trim_end().parse().ok()
}

struct DiskFile {
    file: fs::File,
    path: Box<Path>,
}

impl File for DiskFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(buf, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return done.map_err(|e| placed("read", &self.path, e)),
            }
        }
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset).map_err(|e| placed("read", &self.path, e))
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset).map_err(|e| placed("write", &self.path, e))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().map_err(|e| placed("sync", &self.path, e))
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all().map_err(|e| placed("sync", &self.path, e))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len).map_err(|e| placed("set the length of", &self.path, e))
    }

    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|m| m.len()).map_err(|e| placed("measure", &self.path, e))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let there = self.len()?;
        if there > len {
            return self.set_len(len);
        }
        match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.fill(there, len),
            done => done.map_err(|e| placed("make room for", &self.path, e.into())),
        }
    }
}

impl DiskFile {
    /// Writes what no file system can store in less room: for those that cannot be asked to keep some.
    fn fill(&self, from: u64, to: u64) -> io::Result<()> {
        let mut noise = [0; 1 << 16];
        let mut at = from;
        while at < to {
            let piece = (to - at).min(noise.len() as u64) as usize;
            getrandom::fill(&mut noise[..piece]).map_err(|e| io::Error::other(format!("no randomness: {e}")))?;
            self.write_all_at(&noise[..piece], at)?;
            at += piece as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{read_whole, replace};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_written_read_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let (io, path) = (Disk::new(), dir.path().join("sub/dir"));
        io.create_dir_all(&path).unwrap();
        io.create_dir_all(&path).unwrap();
        let file = io.open(&path.join("a"), OpenMode::CreateNew).unwrap();
        file.write_all_at(b"hello", 3).unwrap();
        file.write_zeroes(8, 200_000).unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.len().unwrap(), 200_008);
        let mut buf = [9; 8];
        file.read_exact_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"\0\0\0hello");
        let end = file.read_exact_at(&mut buf, 200_004).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(file.read_at(&mut buf, 200_004).unwrap(), 4);
        io.sync_dir(&path).unwrap();
        assert_eq!(fs::metadata(path.join("a")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(io.open(&path.join("a"), OpenMode::CreateNew).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        let missing = io.open(&path.join("b"), OpenMode::Write).err().unwrap();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(missing.to_string().contains("/sub/dir/b: "), "{missing}");
        assert!(io.free_bytes(&path).unwrap() > 0);
    }

    #[test]
    fn allocated_room_is_taken_from_the_disk() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let (io, path) = (Disk::new(), dir.path().join("room"));
        let file = io.open(&path, OpenMode::Create).unwrap();
        for len in [100_000, 1 << 20, 1 << 20, 0] {
            file.allocate(len).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(metadata.len(), len);
            assert!(metadata.blocks() * 512 >= len, "{} blocks for {len} bytes", metadata.blocks());
        }
        // What a file system is given that cannot keep room.
        let plain = fs::File::options().read(true).write(true).open(&path).unwrap();
        let plain = DiskFile { file: plain, path: path.as_path().into() };
        plain.fill(0, 100_000).unwrap();
        assert_eq!(plain.len().unwrap(), 100_000);
    }

    #[test]
    fn replace_takes_the_place_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (io, path) = (Disk::new(), dir.path().join("m"));
        replace(&io, &path, b"one, longer").unwrap();
        replace(&io, &path, b"two").unwrap();
        assert_eq!(read_whole(&io, &path, 3).unwrap(), b"two");
        assert_eq!(read_whole(&io, &path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(io.list_dir(dir.path()).unwrap(), ["m"]);
    }

    #[test]
    fn a_lock_names_its_holder_and_ends_with_its_guard() {
        let dir = tempfile::tempdir().unwrap();
        let (io, path) = (Disk::new(), dir.path().join("LOCK"));
        let guard = io.lock(&path).unwrap();
        match io.lock(&path) {
            Err(LockError::Held { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(guard);
        io.lock(&path).unwrap();
    }

    #[test]
    fn clocks_and_randomness_move() {
        let io = Disk::new();
        let before = io.monotonic_ns();
        io.sleep(Duration::from_millis(1));
        assert!(io.monotonic_ns() >= before + 1_000_000);
        assert!(io.now_ms() > 1_700_000_000_000);
        let (mut a, mut b) = ([0; 16], [0; 16]);
        io.random(&mut a).unwrap();
        io.random(&mut b).unwrap();
        assert_ne!(a, b);
    }
}
