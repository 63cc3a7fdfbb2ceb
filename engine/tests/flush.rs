//! Flushing: reads before and after it, and after a second start, are the same.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use stoa_engine::io::SimDisk;
use stoa_engine::pool::request::{Input, NewUser, Op, Transaction, UserRef};
use stoa_engine::pool::snapshot::Snapshot;
use stoa_engine::pool::view::Select;
use stoa_engine::{ErrorKind, JobKind, JobState, Pool, Store, StoreOptions};
use stoa_format::Seq;

fn options(dir: &tempfile::TempDir) -> StoreOptions {
    StoreOptions::new(dir.path().join("DATA"))
}

fn attrs(pairs: &[(&str, &str)]) -> Vec<(Box<str>, Input)> {
    pairs.iter().map(|(name, value)| ((*name).into(), Input::Raw((*value).to_owned().into()))).collect()
}

fn one(pool: &Pool, op: Op) {
    pool.commit(Transaction { ops: vec![op], ..Transaction::default() }).unwrap();
}

fn create(pool: &Pool, i: usize) {
    let pairs = [
        ("username", format!("user{i}")),
        ("email", format!("user{i}@example.com")),
        ("given_name", format!("Given {}", i % 7)),
    ];
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    one(pool, Op::UserCreate(Box::new(NewUser { attrs: attrs(&pairs), ..NewUser::default() })));
}

fn by(i: usize) -> UserRef {
    UserRef::Alias { attr: "username".into(), value: format!("user{i}").into() }
}

fn set(pool: &Pool, i: usize, pairs: &[(&str, &str)]) {
    one(pool, Op::UserSet { user: by(i), if_version: None, take_alias: false, changes: attrs(pairs) });
}

/// Everything that a reader can see of the users `0..count` and the group.
fn picture(snapshot: &Snapshot, count: usize) -> Vec<String> {
    let mut lines = vec![format!("{} users", snapshot.user_count().unwrap())];
    for i in 0..count {
        lines.push(format!("{:?}", snapshot.user(&by(i), &Select::All).unwrap()));
        let email = UserRef::Alias { attr: "email".into(), value: format!("user{i}@example.com").into() };
        lines.push(format!("{:?}", snapshot.user(&email, &Select::Nothing).unwrap().map(|user| user.sub)));
    }
    lines.push(format!("{:?}", snapshot.group("staff").unwrap()));
    lines
}

fn fill(pool: &Pool) {
    (0..20).for_each(|i| create(pool, i));
    one(pool, Op::GroupCreate { name: "staff".into(), fields: Default::default() });
    let users: Vec<UserRef> = (0..10).map(by).collect();
    one(pool, Op::GroupAdd { name: "staff".into(), users });
}

#[test]
fn reads_are_the_same_before_and_after_a_flush_and_a_second_start() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = {
        let store = Store::open(options(&dir)).unwrap();
        store.create_pool("acme", None, None).unwrap();
        let pool = store.pool("acme").unwrap();
        fill(&pool);
        let before = picture(&pool.snapshot(), 25);
        let pinned = pool.snapshot();
        pool.flush().unwrap();
        assert_eq!(picture(&pool.snapshot(), 25), before);

        set(&pool, 3, &[("given_name", "Other")]);
        set(&pool, 4, &[("username", "user24")]);
        one(&pool, Op::UserDelete { user: by(5), if_version: None });
        create(&pool, 21);
        let after = picture(&pool.snapshot(), 25);
        assert_ne!(after, before);
        assert_eq!(picture(&pinned, 25), before, "a pinned snapshot shows its own Seq");
        pool.flush().unwrap();
        assert_eq!(picture(&pinned, 25), before, "after another flush too");
        assert_eq!(picture(&pool.snapshot(), 25), after);

        create(&pool, 22);
        set(&pool, 3, &[("given_name", "Third")]);
        let wanted = picture(&pool.snapshot(), 25);
        drop(pinned);
        store.close().unwrap();
        wanted
    };
    let store = Store::open(options(&dir)).unwrap();
    let pool = store.pool("acme").unwrap();
    assert_eq!(picture(&pool.snapshot(), 25), wanted);
    create(&pool, 23);
    pool.flush().unwrap();
    let wanted = picture(&pool.snapshot(), 25);
    store.close().unwrap();
    let store = Store::open(options(&dir)).unwrap();
    assert_eq!(picture(&store.pool("acme").unwrap().snapshot(), 25), wanted);
}

#[test]
fn a_full_memtable_is_flushed_by_itself_and_writers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&dir);
    options.limits.memtable_bytes = 64 << 10;
    let store = Store::open(options.clone()).unwrap();
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let pool = pool.clone();
            scope.spawn(move || {
                for i in 0..150 {
                    let i = writer * 1000 + i;
                    loop {
                        let pairs = [("username", format!("user{i}")), ("email", format!("user{i}@example.com"))];
                        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (*n, v.as_str())).collect();
                        let new = NewUser { attrs: attrs(&pairs), ..NewUser::default() };
                        let ops = vec![Op::UserCreate(Box::new(new))];
                        match pool.commit(Transaction { ops, ..Transaction::default() }) {
                            Ok(_) => break,
                            Err(error) if error.kind() == stoa_engine::ErrorKind::Busy => std::thread::yield_now(),
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
    });
    drop(pool);
    store.close().unwrap();
    let flushed = std::fs::read_dir(dir.path().join("DATA/pools")).unwrap().count();
    assert_eq!(flushed, 1);
    let store = Store::open(options).unwrap();
    let pool = store.pool("acme").unwrap();
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.user_count().unwrap(), 600);
    for writer in 0..4 {
        for i in 0..150 {
            let user = snapshot.user(&by(writer * 1000 + i), &Select::Nothing).unwrap();
            assert!(user.is_some());
        }
    }
}

#[test]
fn an_old_manifest_put_back_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(&dir)).unwrap();
    let id = store.create_pool("acme", None, None).unwrap().id;
    let pool = store.pool("acme").unwrap();
    create(&pool, 1);
    pool.flush().unwrap();
    let manifest = dir.path().join(format!("DATA/pools/{id}/MANIFEST"));
    let old = std::fs::read(&manifest).unwrap();
    create(&pool, 2);
    pool.flush().unwrap();
    drop(pool);
    store.close().unwrap();
    let newest = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, &old).unwrap();
    let store = Store::open(options(&dir)).unwrap();
    let message = store.pool("acme").map(drop).unwrap_err().message().to_owned();
    assert!(message.contains("an old copy was put back"), "{message}");
    store.close().unwrap();
    // One of the two copies inside suffices.
    let mut half = newest.clone();
    half[100] ^= 1;
    std::fs::write(&manifest, &half).unwrap();
    let store = Store::open(options(&dir)).unwrap();
    assert_eq!(store.pool("acme").unwrap().snapshot().user_count().unwrap(), 2);
}

#[test]
fn compaction_and_jobs_change_nothing_that_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(&dir)).unwrap();
    let id = store.create_pool("acme", None, None).unwrap().id;
    let pool = store.pool("acme").unwrap();
    fill(&pool);
    for round in 0..9 {
        set(&pool, round % 3, &[("given_name", &format!("Round {round}"))]);
        create(&pool, 30 + round);
        one(&pool, Op::UserDelete { user: by(10 + round), if_version: None });
        pool.flush().unwrap();
    }
    let pinned = pool.snapshot();
    let before = picture(&pinned, 45);
    let job = pool.start_job(JobKind::Compact).unwrap();
    let ended = wait(&pool, job.id);
    assert_eq!(ended.state, JobState::Done, "{ended:?}");
    assert_eq!(picture(&pool.snapshot(), 45), before);
    assert_eq!(picture(&pinned, 45), before);
    let report = pool.verify().unwrap();
    assert_eq!(report.findings, []);
    assert!(report.pages > 0 && report.entries > 0);
    drop((pinned, pool));
    store.close().unwrap();
    let files = || std::fs::read_dir(dir.path().join(format!("DATA/pools/{id}/flush"))).unwrap().count();
    assert!(files() <= 1, "{} flush files are left", files());
    let stray = dir.path().join(format!("DATA/pools/{id}/flush/ffff.run"));
    std::fs::write(&stray, b"of a crash").unwrap();
    let store = Store::open(options(&dir)).unwrap();
    let pool = store.pool("acme").unwrap();
    assert_eq!(picture(&pool.snapshot(), 45), before);
    assert!(!stray.exists(), "what no manifest names is removed");
    assert_eq!(pool.verify().unwrap().findings, []);
}

fn wait(pool: &Pool, id: u64) -> stoa_engine::Job {
    loop {
        let job = pool.job(id).unwrap();
        if job.state != JobState::Running {
            return job;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Closes and opens the store; each start begins a segment of the log.
fn again(store: Store, options: &StoreOptions) -> Store {
    store.close().unwrap();
    Store::open(options.clone()).unwrap()
}

fn segments(dir: &tempfile::TempDir) -> usize {
    let names = std::fs::read_dir(dir.path().join("DATA/wal")).unwrap();
    let names = names.map(|name| name.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('0') && name.ends_with(".wal")).count()
}

#[test]
fn the_log_moves_on_and_nothing_is_lost_from_small_pools() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&dir);
    options.limits.log_segments_max = 3;
    let mut store = Store::open(options.clone()).unwrap();
    for pool in 0..20 {
        store.create_pool(&format!("pool{pool}"), None, None).unwrap();
    }
    for round in 0..8 {
        for pool in 0..20 {
            // One is used in each round, some now and then, one never again.
            if pool == 0 || (round + pool) % 3 == 0 && pool != 19 || round == 0 {
                create(&store.pool(&format!("pool{pool}")).unwrap(), round);
            }
        }
        if round == 4 {
            store.pool("pool0").unwrap().flush().unwrap();
        }
        store = again(store, &options);
    }
    let patience = std::time::Instant::now();
    while segments(&dir) > 3 {
        assert!(patience.elapsed().as_secs() < 20, "{} segments are left", segments(&dir));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    for _ in 0..2 {
        for pool in 0..20 {
            let users: Vec<usize> =
                (0..8).filter(|round| pool == 0 || (round + pool) % 3 == 0 && pool != 19 || *round == 0).collect();
            let pool = store.pool(&format!("pool{pool}")).unwrap();
            assert_eq!(pool.snapshot().user_count().unwrap(), users.len() as u64);
            for user in &users {
                assert!(pool.snapshot().user(&by(*user), &Select::All).unwrap().is_some());
            }
            let changes = pool.changes(Seq(1), 100, true).unwrap();
            assert_eq!(changes.len(), users.len(), "of {}", pool.name());
            assert_eq!(pool.verify().unwrap().findings, []);
        }
        store = again(store, &options);
    }
}

#[test]
fn a_log_that_moves_on_writes_over_its_own_files() {
    let disk = SimDisk::new(1);
    let mut options = StoreOptions::new("DATA");
    (options.io, options.threads) = (disk.io(), false);
    (options.limits.log_segments_max, options.limits.log_segment_bytes) = (8, 64 << 10);
    let store = Store::open(options).unwrap();
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    let segments = || disk.files().into_iter().filter(|file| file.starts_with("DATA/wal/")).collect::<Vec<_>>();
    create(&pool, 0);
    let go = |rounds: usize| (0..rounds).for_each(|round| set(&pool, 0, &[("nickname", &format!("{round:01900}"))]));
    // Till there are as many files as the log may have, and one.
    go(400);
    let before = segments();
    assert_eq!(before.len(), 9, "{before:?}");
    disk.start_trace();
    go(1000);
    let after = segments();
    assert!(after.len() == 9 && after[0] != before[0], "{after:?}");
    let made: Vec<String> = disk.trace().into_iter().filter(|step| step.contains("next.wal")).collect();
    assert!(made.is_empty(), "{made:?}");
}

#[test]
fn the_change_feed_has_no_gap_and_says_what_is_no_longer_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&dir);
    options.limits.log_segments_max = 1;
    options.limits.history_bytes = 20_000;
    let mut store = Store::open(options.clone()).unwrap();
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    create(&pool, 0);
    set(&pool, 0, &[("given_name", "Ana")]);
    one(&pool, Op::UserEnable { user: by(0), enabled: false });
    let changes = pool.changes(Seq(0), 10, true).unwrap();
    assert_eq!(changes.iter().map(|change| change.seq.0).collect::<Vec<_>>(), [1, 2, 3]);
    let op = &changes[1].ops[0];
    assert_eq!((op.op, op.version, &*op.attrs[0]), ("user.set", Some(2), "given_name"));
    assert_eq!(op.values.as_ref().unwrap()[0].as_ref().unwrap().text(), "Ana");
    assert_eq!(changes[2].ops[0].op, "user.disable");
    assert_eq!(pool.changes(Seq(4), 10, false).unwrap(), []);
    one(&pool, Op::UserDelete { user: by(0), if_version: None });
    let changes = pool.changes(Seq(2), 1, true).unwrap();
    assert_eq!(changes[0].ops[0].values, Some(vec![None]), "what is erased is not shown");

    drop(pool);
    let mut last = 4;
    for round in 1..30 {
        let pool = store.pool("acme").unwrap();
        create(&pool, round);
        set(&pool, round, &[("given_name", "x"), ("nickname", &"n".repeat(1000))]);
        last += 2;
        if round % 4 == 0 {
            pool.flush().unwrap();
        }
        let newest = pool.changes(Seq(last), 10, false).unwrap();
        assert_eq!(newest.len(), 1);
        drop(pool);
        store = again(store, &options);
    }
    let patience = std::time::Instant::now();
    while segments(&dir) > 1 {
        assert!(patience.elapsed().as_secs() < 20, "{} segments are left", segments(&dir));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pool = store.pool("acme").unwrap();
    let gone = pool.changes(Seq(1), 100, false).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Expired);
    let oldest: u64 = gone.message().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(oldest > 1 && oldest < last);
    let left = pool.changes(Seq(oldest), 1000, false).unwrap();
    let seqs: Vec<u64> = left.iter().map(|change| change.seq.0).collect();
    assert_eq!(seqs, (oldest..=last).collect::<Vec<_>>());
    assert_eq!(pool.changes(Seq(oldest - 1), 1, false).unwrap_err().kind(), ErrorKind::Expired);
}

#[test]
fn a_rotated_key_seals_everything_anew_and_the_old_one_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(&dir)).unwrap();
    let id = store.create_pool("acme", None, None).unwrap().id;
    let pool = store.pool("acme").unwrap();
    fill(&pool);
    pool.flush().unwrap();
    set(&pool, 1, &[("given_name", "Other")]);
    let before = picture(&pool.snapshot(), 25);
    let manifest = dir.path().join(format!("DATA/pools/{id}/MANIFEST"));
    let epochs = || {
        let bytes = std::fs::read(&manifest).unwrap();
        let copy = stoa_format::manifest::decode_file(&bytes).unwrap();
        copy.header.keys.iter().map(|(epoch, _)| epoch.0).collect::<Vec<_>>()
    };
    assert_eq!(epochs(), [1]);
    pool.rotate_key().unwrap();
    let job = pool.jobs().pop().unwrap();
    assert_eq!((job.kind, wait(&pool, job.id).state), ("reseal", JobState::Done));
    assert_eq!(epochs(), [2], "nothing is sealed under the old key any more");
    assert_eq!(picture(&pool.snapshot(), 25), before);
    pool.rewrap_key("local").unwrap();
    assert_eq!(pool.rewrap_key("aws-kms:x").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(pool.verify().unwrap().findings, []);
    let ops: Vec<_> = pool.changes(pool.seq(), 1, false).unwrap().remove(0).ops;
    assert_eq!(ops[0].op, "pool.key");
    drop(pool);
    store.close().unwrap();
    let store = Store::open(options(&dir)).unwrap();
    let pool = store.pool("acme").unwrap();
    assert_eq!(picture(&pool.snapshot(), 25), before);
    create(&pool, 24);
    pool.flush().unwrap();
    assert_eq!(pool.verify().unwrap().findings, []);
}

#[test]
fn verification_names_the_file_and_the_attribute_of_a_flipped_bit() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(&dir)).unwrap();
    let id = store.create_pool("acme", None, None).unwrap().id;
    let pool = store.pool("acme").unwrap();
    fill(&pool);
    pool.flush().unwrap();
    assert_eq!(pool.verify().unwrap().findings, []);
    drop(pool);
    store.close().unwrap();
    let flush = dir.path().join(format!("DATA/pools/{id}/flush"));
    let path = std::fs::read_dir(&flush).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[128 + 16 + 30] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let store = Store::open(options(&dir)).unwrap();
    let pool = store.pool("acme").unwrap();
    let findings = pool.verify().unwrap().findings;
    let first = &findings[0];
    assert!(first.file.starts_with("flush/"), "{first:?}");
    assert_eq!((first.pool, first.page, first.offset), (Some(id), Some(0), Some(128)));
    let job = pool.start_job(JobKind::Verify).unwrap();
    let ended = wait(&pool, job.id);
    assert_eq!(ended.state, JobState::Failed);
    assert!(ended.message.unwrap().contains("findings"));
}
