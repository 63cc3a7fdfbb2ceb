//! A store that loses power at any moment of its life, and what it is when it comes up again: as
//! after the last acknowledged transaction, or after the one that was under way.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::path::Path;

use stoa_engine::io::SimDisk;
use stoa_engine::io::sim::CrashPlan;
use stoa_engine::pool::request::{Input, NewUser, Op, Transaction, UserRef};
use stoa_engine::pool::view::Select;
use stoa_engine::{JobKind, JobState, Pool, Store, StoreOptions};
use stoa_format::Seq;

const USERS: usize = 9;

fn options(disk: &SimDisk) -> StoreOptions {
    let mut options = StoreOptions::new(Path::new("/DATA"));
    options.io = disk.io();
    options.threads = false;
    options.limits.log_segments_max = 2;
    options
}

fn attrs(pairs: &[(&str, &str)]) -> Vec<(Box<str>, Input)> {
    pairs.iter().map(|(name, value)| ((*name).into(), Input::Raw((*value).to_owned().into()))).collect()
}

fn by(i: usize) -> UserRef {
    UserRef::Alias { attr: "username".into(), value: format!("user{i}").into() }
}

fn create(i: usize) -> Op {
    let (name, mail) = (format!("user{i}"), format!("user{i}@example.com"));
    let attrs = attrs(&[("username", &name), ("email", &mail)]);
    Op::UserCreate(Box::new(NewUser { attrs, ..NewUser::default() }))
}

fn set(i: usize, pairs: &[(&str, &str)]) -> Op {
    Op::UserSet { user: by(i), if_version: None, take_alias: false, changes: attrs(pairs) }
}

/// One thing that happens to the store.
enum Step {
    Commit(Vec<Op>),
    Flush,
    Compact,
    Rotate,
    Restart,
}

fn script() -> Vec<Step> {
    use Step::{Commit, Compact, Flush, Restart, Rotate};
    vec![
        Commit(vec![create(0)]),
        Commit(vec![create(1), create(2)]),
        Flush,
        Commit(vec![Op::GroupCreate { name: "staff".into(), fields: Default::default() }]),
        Commit(vec![Op::GroupAdd { name: "staff".into(), users: vec![by(0), by(1), by(2)] }]),
        // Two users swap an alias.
        Commit(vec![set(0, &[("username", "user1")]), set(1, &[("username", "user0")])]),
        Flush,
        Commit(vec![Op::UserDelete { user: by(2), if_version: None }]),
        Commit(vec![create(3), set(0, &[("given_name", "Ana")])]),
        Restart,
        Commit(vec![create(4)]),
        Rotate,
        Commit(vec![set(4, &[("given_name", "Bo"), ("nickname", "b")])]),
        Restart,
        Commit(vec![create(5)]),
        Compact,
        Restart,
        // The log moves on: frames that are not flushed are parked.
        Commit(vec![set(4, &[("nickname", "bo")])]),
        Commit(vec![create(6)]),
        Flush,
        Commit(vec![Op::UserDelete { user: by(0), if_version: None }]),
    ]
}

/// What was acknowledged.
#[derive(Default)]
struct Told {
    made: bool,
    committed: usize,
}

/// Lives through the script; `after` sees the pool after each transaction.
fn live(disk: &SimDisk, told: &mut Told, mut after: impl FnMut(&Pool)) -> stoa_engine::Result<()> {
    let mut store = Store::open(options(disk))?;
    store.create_pool("acme", None, None)?;
    told.made = true;
    after(&store.pool("acme")?);
    for step in script() {
        let pool = store.pool("acme")?;
        match step {
            Step::Commit(ops) => {
                pool.commit(Transaction { ops, ..Transaction::default() })?;
                told.committed += 1;
                after(&pool);
            }
            Step::Flush => pool.flush()?,
            Step::Compact => drop(pool.start_job(JobKind::Compact)?),
            Step::Rotate => drop(pool.rotate_key()?),
            Step::Restart => {
                drop(pool);
                store.close()?;
                store = Store::open(options(disk))?;
            }
        }
    }
    store.close()
}

/// Everything that can be read.
fn picture(pool: &Pool) -> Vec<String> {
    let snapshot = pool.snapshot();
    let mut lines = vec![format!("{} users", snapshot.user_count().unwrap())];
    for i in 0..USERS {
        lines.push(format!("{:?}", snapshot.user(&by(i), &Select::All).unwrap()));
        let mail = UserRef::Alias { attr: "email".into(), value: format!("user{i}@example.com").into() };
        lines.push(format!("{:?}", snapshot.user(&mail, &Select::Nothing).unwrap().map(|user| user.sub)));
    }
    lines.push(format!("{:?}", snapshot.group("staff").unwrap()));
    lines
}

#[test]
fn whatever_the_power_does_nothing_acknowledged_is_lost() {
    // By default every so many steps, so that this takes seconds; 1 takes them all.
    let stride = std::env::var("STOA_CRASH_STRIDE").ok().and_then(|text| text.parse().ok()).unwrap_or(23);
    let plan = CrashPlan { stride, random_count: 2, single_count: 1, ..CrashPlan::default() };
    let mut pictures = Vec::new();
    let reference = SimDisk::new(plan.seed);
    live(&reference, &mut Told::default(), |pool| pictures.push(picture(pool))).unwrap();
    let files = reference.files();
    for kind in ["/history/", "/col/", "/idx/", "/MANIFEST"] {
        assert!(files.iter().any(|name| name.contains(kind)), "the script makes no {kind}: {files:?}");
    }
    let crashes = plan.run(
        |disk| {
            let mut told = Told::default();
            let _ = live(disk, &mut told, |_| ());
            told
        },
        |disk, told| {
            if !told.made {
                return;
            }
            let store = Store::open(options(disk)).unwrap();
            let pool = store.pool("acme").unwrap();
            let found = picture(&pool);
            let wanted = &pictures[told.committed..(told.committed + 2).min(pictures.len())];
            assert!(wanted.contains(&found), "{} acknowledged: {found:#?}", told.committed);
            assert_eq!(pool.verify().unwrap().findings, []);
            let changes = pool.changes(Seq(1), 1000, true).unwrap();
            let seqs: Vec<u64> = changes.iter().map(|change| change.seq.0).collect();
            assert_eq!(seqs, (1..=pool.seq().0).collect::<Vec<_>>());
            // And it goes on.
            pool.commit(Transaction { ops: vec![create(8)], ..Transaction::default() }).unwrap();
            pool.flush().unwrap();
            let job = pool.start_job(JobKind::Compact).unwrap();
            assert_eq!(job.state, JobState::Done, "{job:?}");
            let found = picture(&pool);
            drop(pool);
            store.close().unwrap();
            let store = Store::open(options(disk)).unwrap();
            assert_eq!(picture(&store.pool("acme").unwrap()), found);
        },
    );
    assert!(crashes > 100, "{crashes}");
}
