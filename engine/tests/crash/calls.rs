//! The n-th call of each kind fails, for n from 1 until nothing fails, once and from then on.
//!
//! Of every run:
//! 1. Nothing panics.
//! 2. What was acknowledged is there: in the store that met the failure, in what is found after the process is
//!    killed, and after the power goes.
//! 3. A commit that was refused has left nothing. One in doubt is there whole or not at all.
//! 4. A store whose log has failed says so, takes no write and goes on reading, until it is reopened. A store that
//!    does not say so takes the step that failed when it is asked again, and every one after it.

use stoa_engine::io::SimDisk;
use stoa_engine::io::sim::{Call, Crash, Failure, Fault, Keep};
use stoa_engine::{ErrorKind, Store};

use crate::life::{Aliases, Life, options, read};
use crate::model::{Act, StoreState};
use crate::script::{Step, short_script};

/// What can fail, and how.
const FAILURES: [(Call, &[Failure]); 13] = [
    (Call::Write, &[Failure::Io, Failure::NoSpace]),
    (Call::Sync, &[Failure::SyncKeepsCache, Failure::SyncDropsCache, Failure::SyncWritesSome, Failure::NoSpace]),
    (Call::SyncDir, &[Failure::Io]),
    (Call::Create, &[Failure::Io, Failure::NoSpace]),
    (Call::Rename, &[Failure::Io, Failure::NoSpace]),
    (Call::SetLen, &[Failure::Io, Failure::NoSpace]),
    (Call::CreateDir, &[Failure::Io, Failure::NoSpace]),
    (Call::Remove, &[Failure::Io]),
    (Call::Open, &[Failure::Io]),
    (Call::Read, &[Failure::Io, Failure::ShortRead]),
    (Call::Ask, &[Failure::Io]),
    (Call::Lock, &[Failure::Io]),
    (Call::Random, &[Failure::Io]),
];

/// One run: which call fails how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    pub call: Call,
    pub failure: Failure,
    pub goes_on: bool,
    pub nth: u64,
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let often = if self.goes_on { "on" } else { "once" };
        write!(f, "{:?}.{:?}.{often}.{}", self.call, self.failure, self.nth)
    }
}

impl Run {
    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, nth) = text.rsplit_once('.')?;
        let nth = nth.parse().ok()?;
        kinds()
            .map(|run| Self { nth, ..run })
            .find(|run| run.to_string().rsplit_once('.').is_some_and(|(k, _)| k == kind))
    }
}

/// Every kind of failure, to begin with the first call.
pub fn kinds() -> impl Iterator<Item = Run> {
    FAILURES.into_iter().flat_map(|(call, failures)| {
        failures.iter().flat_map(move |&failure| [false, true].map(|goes_on| Run { call, failure, goes_on, nth: 1 }))
    })
}

/// Says which run it was when it panics.
struct Place(Run);

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with: STOA_CALLS={} cargo test -p stoa-engine --test crash calls", self.0);
        }
    }
}

/// Lives the script through with that failure; answers whether it struck.
pub fn try_run(run: Run) -> bool {
    let _place = Place(run);
    let disk = SimDisk::new(run.nth);
    let fault = Fault::new(run.call, run.failure).nth(run.nth);
    disk.inject(if run.goes_on { fault.and_after() } else { fault });
    let mut life = match Life::begin(&disk, StoreState::default()) {
        Ok(life) => life,
        Err(error) => {
            assert!(disk.struck_count() > 0, "opening: {error}");
            disk.heal();
            Life::begin(&disk, StoreState::default()).unwrap()
        }
    };
    for step in short_script() {
        if life.refuses(&step) {
            assert!(life.take(&step).is_err(), "{step:?} must be refused");
            continue;
        }
        let Err(error) = life.take(&step) else { continue };
        assert!(disk.struck_count() > 0, "{step:?}: {error}");
        disk.heal();
        life = after_failure(life, &step, error.kind());
    }
    // What was swallowed must not have left anything behind either.
    let struck = life.disk.struck_count() > 0 || disk.struck_count() > 0;
    life.disk.heal();
    for crashed in crashes(&life.disk, run.nth) {
        found_in(&crashed, &[&life.state]);
    }
    assert_reads(life.store().unwrap(), &life.state);
    if life.store().is_ok_and(|store| store.info().failure.is_none()) {
        life.store.take().map_or(Ok(()), Store::close).unwrap();
        found_in(&life.disk.kill(), &[&life.state]);
    }
    struck
}

/// What a store is after a step has failed; the disk works again.
fn after_failure(mut life: Life, step: &Step, kind: ErrorKind) -> Life {
    let (before, after) = (life.state.clone(), life.after(step));
    let Some(store) = &life.store else {
        // Opening failed, and changed nothing.
        return Life::begin(&life.disk, before).unwrap_or_else(|error| panic!("opening again: {error}"));
    };
    let failed = store.info().failure;
    let is_commit = matches!(step, Step::Commit(..));
    let found = read(store, &Aliases::new()).unwrap_or_else(|error| panic!("reads go on: {error}")).state.plain();
    let allowed = found == before.plain() || !is_commit && found == after.plain();
    assert!(allowed, "{step:?} has failed, and the store holds\n{found:#?}");
    let in_doubt = kind == ErrorKind::InDoubt || !is_commit;
    let candidates: &[&StoreState] = if in_doubt { &[&before, &after] } else { &[&before] };
    for crashed in crashes(&life.disk, 7) {
        found_in(&crashed, candidates);
    }
    if failed.is_some() {
        assert_takes_no_write(store);
        // The process ends, and another finds what the cache shows, which after a failed sync is not what the disk holds.
        let ended = life.disk.kill();
        drop(life.store.take());
        let state = found_in(&ended.kill(), candidates);
        return Life::begin(&ended, state).unwrap();
    }
    assert!(!is_commit || kind != ErrorKind::InDoubt, "the outcome is in doubt and the store claims to be well");
    if !is_commit && found == after.plain() && found != before.plain() {
        // It was done, and what failed came after.
        life.state = after;
    } else {
        life.take(step).unwrap_or_else(|error| panic!("{step:?} once more: {error}"));
    }
    life
}

/// The machine after the process was killed, and after the power went in some ways.
fn crashes(disk: &SimDisk, seed: u64) -> Vec<SimDisk> {
    let ways = [
        Crash::whole(Keep::None),
        Crash::whole(Keep::All),
        Crash::whole(Keep::Random(seed)),
        Crash::torn(Keep::Random(!seed), 512, seed),
    ];
    ways.into_iter().map(|how| disk.crash(how)).chain([disk.kill()]).collect()
}

/// Opens a disk that works and reads it; answers which of the states it holds.
fn found_in(disk: &SimDisk, candidates: &[&StoreState]) -> StoreState {
    let store = Store::open(options(disk)).unwrap_or_else(|error| panic!("the store does not open: {error}"));
    let found =
        read(&store, &Aliases::new()).unwrap_or_else(|error| panic!("it cannot be read: {error}")).state.plain();
    disk.stop_after(0);
    let state = candidates.iter().find(|state| state.plain() == found);
    (*state.unwrap_or_else(|| panic!("found\n{found:#?}\nand not\n{candidates:#?}"))).clone()
}

fn assert_reads(store: &Store, state: &StoreState) {
    let found = read(store, &Aliases::new()).unwrap_or_else(|error| panic!("reads go on: {error}"));
    assert_eq!(found.state.plain(), state.plain());
}

fn assert_takes_no_write(store: &Store) {
    assert!(store.set_document("acl", b"three".as_slice().into()).is_err());
    for name in store.pool_names() {
        let act = Act::Config { name: "a", json: Some("{\"v\":99}".into()) };
        let commit = store.pool(&name).and_then(|pool| pool.commit(crate::life::transaction(&[act])));
        assert!(commit.is_err(), "the log has failed");
    }
}
