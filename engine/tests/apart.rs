//! No pool holds up another, and no work another kind of work: threads and all, on a simulated disk.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use stoa_engine::io::sim::{Call, Failure, Fault};
use stoa_engine::io::{File, Io, LockError, LockGuard, OpenMode, SimDisk};
use stoa_engine::pool::request::{Input, NewUser, Op, Transaction, UserRef};
use stoa_engine::pool::view::Select;
use stoa_engine::{ErrorKind, JobKind, JobState, Pool, Result, Store, StoreOptions};

const SCHEMA: &str = r#"{"attributes": {"custom:blob": {"type": "bytes"}}}"#;

fn open(io: Arc<dyn Io>) -> Store {
    let mut options = StoreOptions::new(Path::new("/DATA"));
    options.io = io;
    options.limits.memtable_bytes = 256 << 10;
    options.limits.log_segments_max = 2;
    Store::open(options).unwrap()
}

fn pool(store: &Store, name: &str) -> Pool {
    store.create_pool(name, Some(SCHEMA), None).unwrap();
    store.pool(name).unwrap()
}

fn commit(pool: &Pool, op: Op) -> Result<()> {
    pool.commit(Transaction { ops: vec![op], ..Transaction::default() }).map(drop)
}

fn create(i: usize) -> Op {
    let blob = vec![i as u8; 60 << 10];
    let attrs = vec![
        ("username".into(), Input::Raw(format!("user{i}").into())),
        ("custom:blob".into(), Input::Raw(blob.into())),
    ];
    Op::UserCreate(Box::new(NewUser { attrs, ..NewUser::default() }))
}

fn by(i: usize) -> UserRef {
    UserRef::Alias { attr: "username".into(), value: format!("user{i}").into() }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < patience, "{what} never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_pool_that_cannot_flush_holds_up_none_of_the_others() {
    let disk = SimDisk::new(1);
    let store = open(disk.io());
    let (stuck, other) = (pool(&store, "stuck"), pool(&store, "other"));
    let its_files = format!("{}/flush", stuck.id());
    disk.inject(Fault::new(Call::Create, Failure::Io).on(&its_files).and_after());
    // The one that cannot flush takes what its budget allows, and says why it takes no more.
    let mut taken = 0;
    let refusal = loop {
        match commit(&stuck, create(taken)) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 1000, "its memory is bounded");
    };
    assert_eq!(refusal.kind(), ErrorKind::Busy, "{refusal}");
    until("the reason", || stuck.info().unwrap().state_reason.is_some());
    // The other is written to as if nothing were: it is flushed, and the log moves on.
    for i in 0..500 {
        let patience = Instant::now() + Duration::from_secs(60);
        while let Err(error) = commit(&other, create(i)) {
            assert!(error.kind() == ErrorKind::Busy && Instant::now() < patience, "{error}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    until("a flush", || other.info().unwrap().runs > 0);
    until("a short log", || {
        // Each commit has a look at the log's length.
        other.commit(Transaction { ops: vec![set_nickname(0)], ..Transaction::default() }).is_ok()
            && store.info().log_segments <= 3
    });
    // What could not be flushed is parked, and there.
    assert_eq!(stuck.snapshot().user_count().unwrap(), taken as u64);
    assert!(disk.files().iter().any(|file| file.contains(&format!("{}/history/", stuck.id()))));
    assert!(stuck.info().unwrap().log_bytes_unflushed < 100 << 20);
    disk.heal();
    disk.advance_ms(10_000);
    stuck.flush().unwrap();
    assert_eq!(stuck.info().unwrap().state_reason, None);
    commit(&stuck, create(taken)).unwrap();
    for pool in [&stuck, &other] {
        assert_eq!(pool.verify().unwrap().findings, []);
        assert!(pool.snapshot().user(&by(0), &Select::All).unwrap().is_some());
    }
    drop((stuck, other));
    store.close().unwrap();
}

fn set_nickname(i: usize) -> Op {
    static TURN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let turn = TURN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let changes = vec![("nickname".into(), Input::Raw(format!("n{turn}").into()))];
    Op::UserSet { user: by(i), if_version: None, take_alias: false, changes }
}

#[test]
fn a_long_compaction_delays_no_flush() {
    let disk = SimDisk::new(2);
    let gate = Arc::new(Gate { disk: disk.io(), closed: Mutex::new(false), opened: Condvar::new() });
    let store = open(gate.clone());
    let (long, other) = (pool(&store, "long"), pool(&store, "other"));
    for turn in 0..2 {
        (0..3).for_each(|i| commit(&long, if turn == 0 { create(i) } else { set_nickname(i) }).unwrap());
        long.flush().unwrap();
    }
    gate.close();
    let compaction = long.start_job(JobKind::Compact).unwrap();
    until("the compaction's first file", || long.job(compaction.id).unwrap().total > 0);
    // Others flush meanwhile, by themselves; so does the pool that is being compacted.
    for i in 0..20 {
        while let Err(error) = commit(&other, create(i)) {
            assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    until("a flush of another pool", || other.info().unwrap().runs > 0);
    commit(&long, set_nickname(1)).unwrap();
    let flush = long.start_job(JobKind::Flush).unwrap();
    until("a flush of the same pool", || long.job(flush.id).unwrap().state == JobState::Done);
    assert_eq!(long.job(compaction.id).unwrap().state, JobState::Running);
    gate.open();
    until("the compaction's end", || long.job(compaction.id).unwrap().state == JobState::Done);
    assert_eq!(long.verify().unwrap().findings, []);
    drop((long, other));
    store.close().unwrap();
}

/// Without threads, an answer that writes again does so in the middle of a commit: what was put off till its
/// end must not run before it.
#[test]
fn an_answer_may_write_again_where_there_are_no_threads() {
    let disk = SimDisk::new(3);
    let mut options = StoreOptions::new(Path::new("/DATA"));
    options.io = disk.io();
    options.threads = false;
    options.limits.memtable_bytes = 48 << 10;
    let store = Store::open(options).unwrap();
    let pool = pool(&store, "acme");
    let answered = Arc::new(Mutex::new(0));
    for i in 0..5 {
        let (again, count) = (pool.clone(), Arc::clone(&answered));
        let transaction = |i: usize| Transaction { ops: vec![create(i)], ..Transaction::default() };
        let then = Box::new(move |result: Result<_>| {
            assert!(result.is_ok());
            let count_again = Arc::clone(&count);
            again.submit(
                transaction(100 + i),
                Box::new(move |result| {
                    assert!(result.is_ok());
                    *count_again.lock().unwrap() += 1;
                }),
            );
            *count.lock().unwrap() += 1;
        });
        pool.submit(transaction(i), then);
    }
    assert_eq!(*answered.lock().unwrap(), 10);
    assert!(pool.info().unwrap().runs > 0, "it was flushed in between");
    assert_eq!(pool.verify().unwrap().findings, []);
}

/// A disk on which no file of a compaction can be begun while the gate is closed.
struct Gate {
    disk: Arc<dyn Io>,
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
    }
}

impl Io for Gate {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let text = path.to_string_lossy();
        if mode == OpenMode::CreateNew && (text.contains("/col/") || text.contains("/idx/")) {
            let closed = self.closed.lock().unwrap();
            drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
        }
        self.disk.open(path, mode)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.disk.file_len(path)
    }

    fn lock(&self, path: &Path) -> Result<LockGuard, LockError> {
        self.disk.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }

    fn now_ms(&self) -> u64 {
        self.disk.now_ms()
    }

    fn monotonic_ns(&self) -> u64 {
        self.disk.monotonic_ns()
    }

    fn sleep(&self, time: Duration) {
        self.disk.sleep(time);
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        self.disk.random(out)
    }
}
