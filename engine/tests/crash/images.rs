//! Every image that losing power can leave of a life, reopened and held against what was acknowledged.
//!
//! 1. A life is run once, and every moment of it kept; the images come out of the moments, so that trying one costs
//!    no second run.
//! 2. At a moment with `n` acknowledgements behind it an image must hold the state after the `n`th, or the one after
//!    it: every acknowledged transaction, and all or nothing of the one under way.
//! 3. An image is opened once, however many moments leave it; what it held is then compared with what the other
//!    moments allow.
//! 4. From an image another life begins (its recovery, and a few writes more), whose moments leave images in turn.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use stoa_engine::Store;
use stoa_engine::io::SimDisk;
use stoa_engine::io::sim::Moment;

use crate::life::{Aliases, Life, Reading, aliases_of, options, read};
use crate::model::Act;
use crate::script::{Dice, Step, script};

/// Random choices of unsynced changes at each moment: of a script, and of a life that begins with an image.
const RANDOM_COUNTS: [u64; 2] = [3, 1];
/// How many images of a second life are looked at.
const DIVE_IMAGES: usize = 48;
/// Crashes during recovery follow each other so often.
const DEPTH_MAX: usize = 2;

/// Where an image comes from: the script's seed, then the step and the way of each crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub seed: u64,
    pub crashes: Vec<(u64, usize)>,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.seed)?;
        self.crashes.iter().try_for_each(|(step, way)| write!(f, "/{step}.{way}"))
    }
}

impl Origin {
    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let seed = parts.next()?.parse().ok()?;
        let crash = |part: &str| part.split_once('.').and_then(|(s, w)| Some((s.parse().ok()?, w.parse().ok()?)));
        Some(Self { seed, crashes: parts.map(crash).collect::<Option<_>>()? })
    }

    fn and(&self, step: u64, way: usize) -> Self {
        let crashes = self.crashes.iter().copied().chain([(step, way)]).collect();
        Self { seed: self.seed, crashes }
    }
}

/// A life with all its moments.
pub struct Recorded {
    origin: Origin,
    moments: Vec<Moment>,
    trace: Vec<String>,
    /// What was there before, then after each acknowledgement.
    readings: Vec<Reading>,
    digests: Vec<u64>,
    /// How many steps had been done at each acknowledgement.
    acks: Vec<u64>,
    aliases: Aliases,
}

fn digest_of(reading: &Reading) -> u64 {
    let mut hasher = DefaultHasher::new();
    reading.state.hash(&mut hasher);
    hasher.finish()
}

impl Recorded {
    /// The life of a script on a new disk.
    pub fn of_seed(seed: u64) -> Self {
        let origin = Origin { seed, crashes: Vec::new() };
        Self::live(origin, &SimDisk::new(seed), Reading::default(), Aliases::new(), &script(seed))
    }

    /// The life that begins with an image, which holds what was `found`.
    fn after_crash(&self, origin: Origin, image: &SimDisk, found: Reading) -> Self {
        let steps = second_life(&found, image.image_digest() as u64);
        Self::live(origin, image, found, self.aliases.clone(), &steps)
    }

    fn live(origin: Origin, disk: &SimDisk, before: Reading, mut aliases: Aliases, steps: &[Step]) -> Self {
        let _place = Place { origin: &origin, trace: &[] };
        disk.start_trace();
        disk.record();
        let mut acks = Vec::new();
        let mut readings = vec![before];
        let mut life = Life::begin(disk, readings[0].state.clone()).unwrap();
        let mut acknowledged = |life: &Life, step: &dyn std::fmt::Debug| {
            acks.push(disk.step_count());
            life.state.pools.values().for_each(|pool| aliases.extend(aliases_of(pool)));
            let reading = read(life.store().unwrap(), &aliases).unwrap();
            assert_eq!(reading.state.plain(), life.state.plain(), "after {step:?}");
            readings.push(reading);
        };
        acknowledged(&life, &"opening");
        for step in steps {
            let refused = life.refuses(step);
            match life.take(step) {
                Ok(()) => assert!(!refused, "{step:?} must be refused"),
                Err(error) => assert!(refused, "{step:?}: {error}"),
            }
            acknowledged(&life, step);
        }
        let (moments, trace) = (disk.moments(), disk.trace());
        // What is read is read: the process ends here, without closing anything.
        disk.stop_after(0);
        drop(life);
        let digests = readings.iter().map(digest_of).collect();
        Self { origin: origin.clone(), moments, trace, readings, digests, acks, aliases }
    }

    /// How many acknowledgements came before a moment.
    fn acked(&self, moment: &Moment) -> usize {
        self.acks.partition_point(|step| *step <= moment.step())
    }

    /// Which states a moment may leave.
    fn allowed(&self, acked: usize) -> std::ops::Range<usize> {
        acked..(acked + 2).min(self.readings.len())
    }

    fn ways(&self, moment: &Moment) -> Vec<stoa_engine::io::sim::Crash> {
        moment.ways(RANDOM_COUNTS[self.origin.crashes.len().min(1)], self.origin.seed)
    }

    /// Reopens an image and reads it; panics if it is not as it must be.
    fn look(&self, image: &SimDisk, acked: usize) -> Reading {
        let store = Store::open(options(image)).unwrap_or_else(|error| panic!("the store does not open: {error}"));
        let reading = read(&store, &self.aliases).unwrap_or_else(|error| panic!("the store is not readable: {error}"));
        if image.image_digest() % 64 == 0 {
            for pool in reading.state.pools.keys() {
                let report = store.pool(pool).and_then(|pool| pool.verify()).unwrap();
                assert_eq!((report.findings, report.unchecked), (Vec::new(), Vec::new()));
            }
        }
        let ids: Vec<String> = reading.seqs.keys().map(|id| format!("DATA/pools/{id}/")).collect();
        let stray = image
            .files()
            .into_iter()
            .find(|file| file.starts_with("DATA/pools/") && !ids.iter().any(|id| file.starts_with(id.as_str())));
        assert_eq!(stray, None, "a file of a pool that was dropped");
        image.stop_after(0);
        let Some(at) = self.allowed(acked).find(|at| self.readings[*at].state == reading.state) else {
            panic!(
                "after {acked} acknowledgements the store holds\n{:#?}\nand not\n{:#?}",
                reading.state, self.readings[acked].state
            );
        };
        for (pool, feed) in &reading.feeds {
            let acknowledged = self.readings[acked].seqs.get(pool).copied().unwrap_or(0);
            assert!(feed.len() as u64 >= acknowledged, "seq {} after {acknowledged} was acknowledged", feed.len());
            let whole = self.readings[at..]
                .iter()
                .take(2)
                .filter_map(|reading| reading.feeds.get(pool))
                .max_by_key(|feed| feed.len());
            assert!(whole.is_some_and(|whole| whole.starts_with(feed)), "the change feed tells another story");
        }
        reading
    }
}

/// What happens to a store after a crash, decided by a number: most often nothing but its recovery.
fn second_life(found: &Reading, digest: u64) -> Vec<Step> {
    let mut dice = Dice(digest);
    let names = ["acme", "loaded", "brief"];
    let Some(pool) = names.into_iter().find(|name| found.state.pools.contains_key(*name)) else {
        return vec![Step::CreatePool("acme")];
    };
    let user = 900 + dice.below(50);
    let probe = Step::Commit(
        pool,
        vec![Act::Create { user, attrs: vec![("username", format!("probe{user}"))], password: false }],
    );
    match dice.below(8) {
        0 | 1 => vec![probe],
        2 => vec![probe, Step::Flush(pool), Step::Restart],
        3 => vec![Step::Compact(pool), probe, Step::Restart],
        _ => Vec::new(),
    }
}

/// What has been tried so far.
pub struct Explorer {
    /// Distinct images and the digest of the state that each was found to hold.
    seen: Mutex<HashMap<u128, u64>>,
    /// Images made, the same ones again included.
    made: AtomicU64,
    /// Distinct images, each opened and read.
    opened: AtomicU64,
    /// Moments at which power was lost.
    moments: AtomicU64,
    /// Those of them that were in a recovery, and in a recovery of a recovery.
    deep: [AtomicU64; DEPTH_MAX],
    since: Instant,
}

impl Default for Explorer {
    fn default() -> Self {
        Self {
            seen: Mutex::default(),
            made: AtomicU64::default(),
            opened: AtomicU64::default(),
            moments: AtomicU64::default(),
            deep: Default::default(),
            since: Instant::now(),
        }
    }
}

/// An image worth another life.
pub struct Spot {
    digest: u128,
    moment: usize,
    way: usize,
}

impl Explorer {
    /// How many distinct images were opened.
    pub fn count(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    /// How many images were made, the same ones again included.
    pub fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    /// Says what was tried.
    pub fn tell(&self, of: &str) {
        eprintln!(
            "{of}: {} images made, {} distinct ones opened and read; {} were left by a crash in a recovery, {} by one in \
             the recovery after that; power lost at {} moments; {} s",
            self.made(),
            self.count(),
            self.deep[0].load(Relaxed),
            self.deep[1].load(Relaxed),
            self.moments.load(Relaxed),
            self.since.elapsed().as_secs()
        );
    }

    /// Forgets which images were tried, so that going on for days takes no more memory; the counts stay.
    pub fn forget(&mut self) {
        self.seen().clear();
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashMap<u128, u64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries one image; answers what it held if it was not tried before.
    fn image(
        &self,
        life: &Recorded,
        moment: &Moment,
        way: usize,
        how: stoa_engine::io::sim::Crash,
    ) -> Option<(u128, Reading)> {
        self.made.fetch_add(1, Relaxed);
        let image = moment.crash(how);
        let digest = image.image_digest();
        let acked = life.acked(moment);
        let origin = life.origin.and(moment.step(), way);
        let _place = Place { origin: &origin, trace: &life.trace[..moment.step() as usize - life.first_step()] };
        let known = self.seen().get(&digest).copied();
        if let Some(state) = known {
            let fits = life.allowed(acked).any(|at| life.digests[at] == state);
            assert!(fits, "after {acked} acknowledgements the store holds an older state");
            return None;
        }
        let reading = life.look(&image, acked);
        if self.seen().insert(digest, digest_of(&reading)).is_none() {
            self.opened.fetch_add(1, Relaxed);
        }
        Some((digest, reading))
    }

    /// Tries every image of a life, on two threads; answers the distinct ones in an order of chance.
    pub fn explore(&self, life: &Recorded) -> Vec<Spot> {
        let (next, spots) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || loop {
            let at = next.fetch_add(1, Relaxed);
            let Some(moment) = life.moments.get(at) else { return };
            if self.moments.fetch_add(1, Relaxed) % 500 == 499 {
                self.tell(&life.origin.to_string());
            }
            for (way, how) in life.ways(moment).into_iter().enumerate() {
                if let Some((digest, _)) = self.image(life, moment, way, how) {
                    spots.lock().unwrap_or_else(PoisonError::into_inner).push(Spot { digest, moment: at, way });
                }
            }
        };
        on_two_threads(&work);
        let mut spots = spots.into_inner().unwrap_or_else(PoisonError::into_inner);
        spots.sort_unstable_by_key(|spot| (spot.digest.rotate_left(64), spot.moment));
        spots
    }

    /// Crashes recoveries that begin with these images, on two threads, until so many images were opened in all.
    pub fn dive(&self, life: &Recorded, spots: &[Spot], enough: u64) {
        let next = AtomicUsize::new(0);
        let work = || {
            while self.count() < enough
                && let Some(spot) = spots.get(next.fetch_add(1, Relaxed))
            {
                self.dive_at(life, spot.moment, spot.way, 1);
            }
        };
        on_two_threads(&work);
    }

    /// Lets the life that begins with an image be crashed in turn.
    fn dive_at(&self, life: &Recorded, moment: usize, way: usize, depth: usize) {
        let moment = &life.moments[moment];
        let Some(how) = life.ways(moment).get(way).copied() else { return };
        let origin = life.origin.and(moment.step(), way);
        let found = life.look(&moment.crash(how), life.acked(moment));
        let again = life.after_crash(origin, &moment.crash(how), found);
        let mut images: Vec<(usize, usize)> = Vec::new();
        for (at, moment) in again.moments.iter().enumerate() {
            images.extend((0..again.ways(moment).len()).map(|way| (at, way)));
        }
        let mut dice = Dice(again.digests[0] ^ again.moments.len() as u64);
        let mut deeper = None;
        for _ in 0..DIVE_IMAGES.min(images.len()) {
            let (at, way) = images.swap_remove(dice.below(images.len() as u64) as usize);
            let moment = &again.moments[at];
            let Some(how) = again.ways(moment).get(way).copied() else { continue };
            self.deep[depth - 1].fetch_add(1, Relaxed);
            if self.image(&again, moment, way, how).is_some() {
                deeper = deeper.or(Some((at, way)));
            }
        }
        if let Some((at, way)) = deeper.filter(|_| depth < DEPTH_MAX) {
            self.dive_at(&again, at, way, depth + 1);
        }
    }
}

impl Recorded {
    fn first_step(&self) -> usize {
        self.moments.first().map_or(0, |moment| moment.step() as usize)
    }
}

/// Tries one image, and where it comes from on the way.
pub fn replay(origin: &Origin) {
    let mut life = Recorded::of_seed(origin.seed);
    let explorer = Explorer::default();
    for (at, (step, way)) in origin.crashes.iter().enumerate() {
        let Some(moment) = life.moments.iter().find(|moment| moment.step() == *step) else {
            eprintln!("{origin}: step {step} is no longer there");
            return;
        };
        let Some(how) = life.ways(moment).get(*way).copied() else {
            eprintln!("{origin}: way {way} of step {step} is no longer there");
            return;
        };
        explorer.image(&life, moment, *way, how);
        if at + 1 < origin.crashes.len() {
            let found = life.look(&moment.crash(how), life.acked(moment));
            let next = life.after_crash(life.origin.and(*step, *way), &moment.crash(how), found);
            life = next;
        }
    }
}

/// Does the same work on two threads.
pub fn on_two_threads(work: &(impl Fn() + Sync)) {
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
}

/// Says where a check was when it panics.
struct Place<'a> {
    origin: &'a Origin,
    trace: &'a [String],
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.trace[self.trace.len().saturating_sub(12)..].join("\n  ");
            eprintln!(
                "replay with: STOA_CRASH={} cargo test -p stoa-engine --test crash\n\
                 and keep it: add the line {} to engine/tests/crash/seeds.txt\nlast steps:\n  {last}",
                self.origin, self.origin
            );
        }
    }
}
