//! A store that loses power at any moment of its life, and what it is when it comes up again: as after the last
//! acknowledged transaction, or after the one that was under way.
//!
//! `STOA_CRASH=ORIGIN` replays one image, or all of one seed; `STOA_CRASH_IMAGES=N` says how many distinct images
//! are enough.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

mod calls;
mod images;
mod life;
mod model;
mod script;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use images::{Explorer, Origin, Recorded, replay};
use stoa_engine::io::SimDisk;
use stoa_engine::io::sim::Call;

/// What once failed: seeds whose images are all tried, and single images.
const SEEDS: &str = include_str!("seeds.txt");

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The image that the environment asks for.
fn asked() -> Option<Origin> {
    let text = std::env::var("STOA_CRASH").ok()?;
    Some(Origin::parse(&text).unwrap_or_else(|| panic!("STOA_CRASH={text} is not SEED[/STEP.WAY…]")))
}

fn kept() -> impl Iterator<Item = Origin> {
    let lines = SEEDS.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(|line| Origin::parse(line).unwrap_or_else(|| panic!("seeds.txt: {line}")))
}

fn retry(origin: &Origin, explorer: &Explorer) {
    match origin.crashes.is_empty() {
        true => drop(explorer.explore(&Recorded::of_seed(origin.seed))),
        false => replay(origin),
    }
}

#[test]
fn whatever_the_power_does_nothing_acknowledged_is_lost() {
    let explorer = Explorer::default();
    if let Some(origin) = asked() {
        return retry(&origin, &explorer);
    }
    kept().for_each(|origin| retry(&origin, &explorer));
    let enough = number("STOA_CRASH_IMAGES", 30_000);
    let life = Recorded::of_seed(0);
    let spots = explorer.explore(&life);
    explorer.dive(&life, &spots, enough / 2);
    let mut seed = 1;
    // Every third is like none before it, about: 100,000 images where 30,000 are distinct.
    while explorer.count() < enough || explorer.made() < enough / 3 * 10 {
        let life = Recorded::of_seed(seed);
        let spots = explorer.explore(&life);
        let some = explorer.count() + 2000;
        explorer.dive(&life, &spots, some.min(enough));
        seed += 1;
    }
    explorer.tell("in all");
}

/// Without end, or for `STOA_SOAK_SECONDS`.
#[test]
#[ignore = "make soak runs it"]
fn soak() {
    let (since, seconds) = (Instant::now(), number("STOA_SOAK_SECONDS", u64::MAX));
    let mut explorer = Explorer::default();
    for seed in number("STOA_SOAK_SEED", 1).. {
        let life = Recorded::of_seed(seed);
        let spots = explorer.explore(&life);
        let some = explorer.count() + 20_000;
        explorer.dive(&life, &spots, some);
        explorer.tell(&format!("to seed {seed}"));
        explorer.forget();
        if since.elapsed().as_secs() > seconds {
            return;
        }
    }
}

#[test]
fn one_seed_is_one_run_byte_for_byte() {
    for seed in [0, 1, 2] {
        let run = || {
            let disk = SimDisk::new(seed);
            disk.start_trace();
            let mut life = life::Life::begin(&disk, model::StoreState::default()).unwrap();
            let told: Vec<String> =
                script::script(seed).iter().map(|step| format!("{:?}", life.take(step).err())).collect();
            drop(life);
            (told, disk.trace(), disk)
        };
        let (one, two) = (run(), run());
        assert_eq!(one.0, two.0, "answers of seed {seed}");
        let parted = one.1.iter().zip(&two.1).find(|(one, two)| one != two);
        assert_eq!(parted, None, "calls of seed {seed}");
        for file in one.2.files() {
            let same = one.2.contents(&file).unwrap() == two.2.contents(&file).unwrap();
            assert!(same, "seed {seed} wrote two contents of {file}");
        }
        assert_eq!(one.2.image_digest(), two.2.image_digest());
    }
}

/// Calls that change nothing are many and alike: of these each so many-th fails in a run of `make test`.
const READ_STRIDE: u64 = 11;

#[test]
fn whatever_call_fails_nothing_acknowledged_is_lost() {
    if let Ok(text) = std::env::var("STOA_CALLS") {
        let run = calls::Run::parse(&text).unwrap_or_else(|| panic!("STOA_CALLS={text} is no CALL.FAILURE.OFTEN.N"));
        calls::try_run(run);
        return;
    }
    let stride = number("STOA_CALLS_STRIDE", READ_STRIDE);
    let (kinds, next): (Vec<_>, _) = (calls::kinds().collect(), AtomicUsize::new(0));
    let runs = AtomicUsize::new(0);
    images::on_two_threads(&|| {
        while let Some(kind) = kinds.get(next.fetch_add(1, Relaxed)) {
            let stride =
                if matches!(kind.call, Call::Open | Call::Read | Call::Ask | Call::Random) { stride } else { 1 };
            let struck = (1..).step_by(stride as usize).take_while(|&nth| calls::try_run(calls::Run { nth, ..*kind }));
            runs.fetch_add(struck.count(), Relaxed);
        }
    });
    eprintln!("{} runs, each with a failing call of another kind or place", runs.load(Relaxed));
    assert!(runs.load(Relaxed) > 1000);
}
