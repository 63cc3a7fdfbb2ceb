//! Disk reads that hold up their own connection only.
//!
//! A read that hits open pages is answered on the runtime's thread. One that misses has to wait for the disk: then the
//! thread's other connections are handed to another thread, of which there is a bounded pool, for as long as it takes.
//! So it is here, below the engine, and costs nothing where nothing is read.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stoa_engine::io::{File, Io, LockError, LockGuard, OpenMode};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// The same disk for a store that is served: put it into the options that the store is opened with.
pub fn for_server(io: Arc<dyn Io>) -> Arc<dyn Io> {
    Arc::new(Yielding(io))
}

/// Runs what waits for the disk; on a thread of the runtime, others take over what else it has to do.
fn waiting<T>(read: impl FnOnce() -> T) -> T {
    let serves = Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if serves { block_in_place(read) } else { read() }
}

struct Yielding(Arc<dyn Io>);

struct YieldingFile(Arc<dyn File>);

impl Io for Yielding {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = waiting(|| self.0.open(path, mode))?;
        Ok(Arc::new(YieldingFile(file)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        waiting(|| self.0.sync_dir(path))
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        waiting(|| self.0.list_dir(path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.0.file_len(path)
    }

    fn lock(&self, path: &Path) -> Result<LockGuard, LockError> {
        self.0.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.free_bytes(path)
    }

    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.monotonic_ns()
    }

    fn sleep(&self, time: Duration) {
        waiting(|| self.0.sleep(time));
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        self.0.random(out)
    }
}

impl File for YieldingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        waiting(|| self.0.read_at(buf, offset))
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        waiting(|| self.0.read_exact_at(buf, offset))
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        waiting(|| self.0.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        waiting(|| self.0.sync_all())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.write_zeroes(offset, len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.0.allocate(len)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::time::Instant;

    use stoa_engine::io::Disk;
    use stoa_engine::{Store, StoreOptions};

    use super::*;
    use crate::tests::harness::{Running, dev};

    /// A disk whose reads take a while, once it is told to.
    struct Slow(Arc<dyn Io>, Arc<AtomicBool>);

    struct SlowFile(Arc<dyn File>, Arc<AtomicBool>);

    /// Long beside the pauses of a busy machine.
    const READ_MS: u64 = 400;

    macro_rules! delegate {
        ($($name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {
            $(fn $name(&self, $($arg: $ty),*) -> $out { self.0.$name($($arg),*) })*
        };
    }

    impl Io for Slow {
        fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
            Ok(Arc::new(SlowFile(self.0.open(path, mode)?, self.1.clone())))
        }

        delegate! {
            create_dir_all(path: &Path) -> io::Result<()>;
            remove_file(path: &Path) -> io::Result<()>;
            remove_dir_all(path: &Path) -> io::Result<()>;
            rename(from: &Path, to: &Path) -> io::Result<()>;
            sync_dir(path: &Path) -> io::Result<()>;
            list_dir(path: &Path) -> io::Result<Vec<String>>;
            exists(path: &Path) -> io::Result<bool>;
            file_len(path: &Path) -> io::Result<u64>;
            lock(path: &Path) -> Result<LockGuard, LockError>;
            free_bytes(path: &Path) -> io::Result<u64>;
            now_ms() -> u64;
            monotonic_ns() -> u64;
            sleep(time: Duration) -> ();
            random(out: &mut [u8]) -> io::Result<()>;
        }
    }

    impl SlowFile {
        fn wait(&self) {
            if self.1.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(READ_MS));
            }
        }
    }

    impl File for SlowFile {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            self.wait();
            self.0.read_at(buf, offset)
        }

        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.wait();
            self.0.read_exact_at(buf, offset)
        }

        delegate! {
            write_all_at(buf: &[u8], offset: u64) -> io::Result<()>;
            sync_data() -> io::Result<()>;
            sync_all() -> io::Result<()>;
            set_len(len: u64) -> io::Result<()>;
            len() -> io::Result<u64>;
        }
    }

    /// How long a read that misses took, and the longest that another connection waited meanwhile.
    async fn measure(yields: bool) -> (Duration, Duration) {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let store = Store::open(StoreOptions::new(&data)).unwrap();
        store.create_pool("acme", None, None).unwrap();
        store.close().unwrap();
        let is_slow = Arc::new(AtomicBool::new(false));
        let slow: Arc<dyn Io> = Arc::new(Slow(Arc::new(Disk::new()), is_slow.clone()));
        let mut options = StoreOptions::new(&data);
        // Whoever else reads the pages before, none stays open.
        options.limits.runs.page_cache_bytes = 0;
        options.io = if yields { for_server(slow) } else { slow };
        let running = Running::over(Store::open(options).unwrap(), directory, dev()).await;
        let mut other = running.client().await;
        let mut client = running.client().await;
        client.call("USER.CREATE acme username babs name Barbara").await.at("sub");
        let mut state = client.call("POOL.FLUSH acme").await;
        while state.at("state").text() == "running" {
            tokio::time::sleep(Duration::from_millis(5)).await;
            state = client.call(&format!("JOB.STATUS acme {}", state.at("job").number())).await;
        }
        assert_eq!(state.at("state").text(), "done", "{state:?}");
        is_slow.store(true, Relaxed);
        let started = Instant::now();
        let reading = tokio::spawn(async move {
            let user = client.call("USER.GET acme username=babs").await;
            assert_eq!(user.at("name").text(), "Barbara");
            started.elapsed()
        });
        let mut longest = Duration::ZERO;
        while !reading.is_finished() {
            let asked = Instant::now();
            other.call("PING").await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            // With the pause: whose thread keeps the timers, too, is held up.
            longest = longest.max(asked.elapsed());
        }
        is_slow.store(false, Relaxed);
        let took = reading.await.unwrap();
        running.stop().await;
        (took, longest)
    }

    /// One thread serves both connections; the disk takes its time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_read_that_waits_for_the_disk_holds_up_nobody_else() {
        let (alone, held_up) = measure(false).await;
        let (took, longest) = measure(true).await;
        println!("without: {alone:?}, another connection waited {held_up:?}; with: {took:?}, {longest:?}");
        assert!(took >= Duration::from_millis(READ_MS), "the read missed nothing: {took:?}");
        assert!(longest < Duration::from_millis(READ_MS), "another connection waited {longest:?}");
        // What this is for: without it, the other connection waits for as long as the reads take.
        assert!(held_up >= Duration::from_millis(READ_MS), "{held_up:?}");
    }
}
