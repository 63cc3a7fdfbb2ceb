//! A full disk: what makes room goes on, the rest is refused and lost nothing, and all goes on once there
//! is room again.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::path::Path;

use stoa_engine::io::SimDisk;
use stoa_engine::io::sim::{Call, Crash, Failure, Fault, Keep};
use stoa_engine::pool::request::{Input, NewUser, Op, Transaction, UserRef};
use stoa_engine::pool::view::Select;
use stoa_engine::{ErrorKind, JobKind, JobState, Pool, Result, Store, StoreOptions};

const RESERVE: &str = "DATA/RESERVE";

fn open(disk: &SimDisk) -> Store {
    let mut options = StoreOptions::new(Path::new("/DATA"));
    options.io = disk.io();
    options.threads = false;
    Store::open(options).unwrap()
}

fn by(i: usize) -> UserRef {
    UserRef::Alias { attr: "username".into(), value: format!("user{i}").into() }
}

fn create(i: usize) -> Op {
    let attrs = vec![("username".into(), Input::Raw(format!("user{i}").into()))];
    Op::UserCreate(Box::new(NewUser { attrs, ..NewUser::default() }))
}

fn delete(i: usize) -> Op {
    Op::UserDelete { user: by(i), if_version: None }
}

fn one(pool: &Pool, op: Op) -> Result<()> {
    pool.commit(Transaction { ops: vec![op], ..Transaction::default() }).map(drop)
}

fn is_there(pool: &Pool, i: usize) -> bool {
    pool.snapshot().user(&by(i), &Select::Nothing).unwrap().is_some()
}

fn reserve_bytes(disk: &SimDisk) -> u64 {
    disk.io().file_len(RESERVE.as_ref()).unwrap()
}

/// Creates users from `from` on until one is refused; answers which, and how.
fn fill(pool: &Pool, from: usize) -> (usize, stoa_engine::Error) {
    for i in from..from + 5_000 {
        if let Err(error) = one(pool, create(i)) {
            return (i, error);
        }
    }
    panic!("the disk is never full");
}

#[test]
fn on_a_full_disk_deletes_flush_and_compaction_run_and_writes_come_back() {
    let disk = SimDisk::new(5);
    let store = open(&disk);
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    assert_eq!(reserve_bytes(&disk), 4 << 20);
    assert_eq!(store.info().reserve_bytes, 4 << 20);
    let capacity = disk.used_bytes() + (1 << 20);
    disk.set_capacity(capacity);
    let (count, error) = fill(&pool, 0);
    assert!(count > 500, "the first segment is filled: {count}");
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    for part in ["MiB left on /DATA", "reserve released; only deletes and compaction run", "or raise the volume"] {
        assert!(error.message().contains(part), "{error}");
    }
    assert_eq!((reserve_bytes(&disk), store.info().reserve_bytes), (0, 0));
    assert!(store.info().full.is_some() && store.info().failure.is_none());
    // User writes are refused, also those that would fit; what takes away is done; reading goes on.
    let set = Op::UserSet { user: by(1), if_version: None, take_alias: false, changes: Vec::new() };
    one(&pool, set).unwrap();
    assert_eq!(one(&pool, create(count)).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(store.create_pool("other", None, None).unwrap_err().kind(), ErrorKind::NoSpace);
    let mixed = pool.commit(Transaction { ops: vec![delete(0), create(count)], ..Transaction::default() });
    assert_eq!(mixed.unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(is_there(&pool, 0));
    one(&pool, delete(0)).unwrap();
    assert!(!is_there(&pool, 0) && is_there(&pool, 1) && !is_there(&pool, count));
    pool.flush().unwrap();
    let job = pool.start_job(JobKind::Compact).unwrap();
    assert_eq!(pool.job(job.id).unwrap().state, JobState::Done);
    assert!(pool.info().unwrap().state_reason.is_some_and(|reason| reason.contains("NOSPACE")));

    // Killed and started again on the disk as full as before.
    let killed = disk.kill();
    drop((pool, store));
    killed.set_capacity(capacity);
    let store = open(&killed);
    let pool = store.pool("acme").unwrap();
    assert!(!is_there(&pool, 0) && is_there(&pool, count - 1) && !is_there(&pool, count));
    assert_eq!(one(&pool, create(count)).unwrap_err().kind(), ErrorKind::NoSpace);
    (1..300).for_each(|i| one(&pool, delete(i)).unwrap());
    // There is room again: the reserve is taken back, and writes come back without a restart.
    killed.set_capacity(capacity + (8 << 20));
    killed.advance_ms(1_000);
    one(&pool, create(count)).unwrap();
    assert_eq!(reserve_bytes(&killed), 4 << 20);
    assert!(store.info().full.is_none());
    assert_eq!(pool.verify().unwrap().findings, []);
    assert_eq!(pool.snapshot().user_count().unwrap(), count as u64 + 1 - 300);
}

/// A batch that the disk had no room for, though its segment was made ahead: on file systems that copy
/// on write, or give out less than they promised. A sync that fails is another matter: nobody knows what it wrote.
#[test]
fn a_batch_without_room_is_cut_off_and_the_log_goes_on() {
    let disk = SimDisk::new(6);
    let store = open(&disk);
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    one(&pool, create(0)).unwrap();
    disk.inject(Fault::new(Call::Write, Failure::NoSpace).on("wal/").nth(1));
    let error = one(&pool, create(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(store.info().failure.is_none(), "the log is not poisoned");
    assert!(!is_there(&pool, 1));
    // Refused means that it was not written, whatever becomes of the disk now.
    let mut images = vec![disk.kill()];
    for keep in [Keep::All, Keep::None, Keep::Random(3)] {
        images.push(disk.crash(Crash::whole(keep)));
    }
    for image in images {
        let store = open(&image);
        let pool = store.pool("acme").unwrap();
        assert!(is_there(&pool, 0) && !is_there(&pool, 1));
        one(&pool, create(1)).unwrap();
        assert_eq!(pool.verify().unwrap().findings, []);
    }
    // There was room after all, and the reserve is there again.
    disk.advance_ms(1_000);
    one(&pool, create(1)).unwrap();
    one(&pool, create(2)).unwrap();
    assert_eq!((pool.seq().0, reserve_bytes(&disk)), (3, 4 << 20));
    pool.flush().unwrap();
    drop((pool, store));
    let store = open(&disk.kill());
    let pool = store.pool("acme").unwrap();
    assert!((0..3).all(|i| is_there(&pool, i)));
    assert_eq!(pool.verify().unwrap().findings, []);
}

/// Where the batch cannot even be cut off, nobody can say what became of it.
#[test]
fn a_batch_that_cannot_be_cut_off_is_in_doubt() {
    let disk = SimDisk::new(7);
    let store = open(&disk);
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    one(&pool, create(0)).unwrap();
    disk.inject(Fault::new(Call::Write, Failure::NoSpace).on("wal/").and_after());
    assert_eq!(one(&pool, create(1)).unwrap_err().kind(), ErrorKind::InDoubt);
    disk.heal();
    assert_eq!(one(&pool, create(1)).unwrap_err().kind(), ErrorKind::Io);
    assert!(store.info().failure.is_some() && is_there(&pool, 0));
}

/// A store that is opened on a full disk gives its reserve to be opened at all.
#[test]
fn a_full_disk_is_opened_on_the_reserve() {
    let disk = SimDisk::new(8);
    let store = open(&disk);
    store.create_pool("acme", None, None).unwrap();
    one(&store.pool("acme").unwrap(), create(0)).unwrap();
    drop(store);
    let full = disk.kill();
    full.set_capacity(full.used_bytes());
    let store = open(&full);
    assert_eq!(reserve_bytes(&full), 0);
    let pool = store.pool("acme").unwrap();
    assert_eq!(one(&pool, create(1)).unwrap_err().kind(), ErrorKind::NoSpace);
    one(&pool, delete(0)).unwrap();
    assert!(!is_there(&pool, 0));
}

#[test]
fn a_segment_that_was_being_made_does_not_keep_a_full_disk_from_being_opened() {
    let disk = SimDisk::new(12);
    let store = open(&disk);
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    let capacity = disk.used_bytes() + (1 << 20);
    disk.set_capacity(capacity);
    let (count, error) = fill(&pool, 0);
    assert_eq!((error.kind(), reserve_bytes(&disk)), (ErrorKind::NoSpace, 0), "{error}");
    drop((pool, store));
    let disk = disk.kill();
    disk.set_capacity(capacity);
    // What a process that was killed had made of it took all that the reserve had given back.
    let spare = disk.io().open("DATA/wal/spare.wal".as_ref(), stoa_engine::io::OpenMode::Create).unwrap();
    let left = disk.io().free_bytes("DATA".as_ref()).unwrap();
    spare.write_zeroes(0, left).unwrap();
    drop(spare);
    assert!(disk.io().free_bytes("DATA".as_ref()).unwrap() < 128 << 10);
    let store = open(&disk);
    let pool = store.pool("acme").unwrap();
    assert!(is_there(&pool, 0) && is_there(&pool, count - 1) && !is_there(&pool, count));
    one(&pool, delete(0)).unwrap();
}
