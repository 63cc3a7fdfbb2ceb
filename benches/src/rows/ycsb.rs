//! YCSB's workloads A to F on the systems in this process: reads, updates, insertions, short scans and
//! read-modify-writes by key, with the records of this suite's population instead of ten fields of 100 bytes.
//!
//! Source: Cooper et al.: "Benchmarking cloud serving systems with YCSB", 2010. Keys by Zipf's law with the exponent
//! 0.99, scattered; D reads the newest most often. A scan is the first fifty by a prefix of the username. Writes are
//! durable, so there are many threads, that share syncs where a system can.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};

use crate::load::{Alias, Keys, Spread};
use crate::measure::{Act, rate};
use crate::peer::{Peer, Seen, Update};
use crate::population::{Numbers, Text, User, mix};
use crate::suite::{Bench, Sample, Turn};

const THREADS: usize = 16;
const SCANNED_USERS: usize = 50;
/// Families of newcomers from here on are of these rows.
const FAMILIES_FROM: u64 = 40_000;

/// What one operation is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Read,
    ReadNewest,
    Update,
    Insert,
    Scan,
    ReadModifyWrite,
}

/// Rows, and how often of a hundred each operation is done.
const WORKLOADS: [(&str, [(Step, u64); 2]); 6] = [
    ("ycsb-a", [(Step::Read, 50), (Step::Update, 50)]),
    ("ycsb-b", [(Step::Read, 95), (Step::Update, 5)]),
    ("ycsb-c", [(Step::Read, 100), (Step::Update, 0)]),
    ("ycsb-d", [(Step::ReadNewest, 95), (Step::Insert, 5)]),
    ("ycsb-e", [(Step::Scan, 95), (Step::Insert, 5)]),
    ("ycsb-f", [(Step::Read, 50), (Step::ReadModifyWrite, 50)]),
];

/// All six, once each: they are many.
pub(super) fn workloads(bench: &mut Bench<'_>) -> Result<()> {
    for (number, (row, steps)) in WORKLOADS.iter().enumerate() {
        bench.in_turns_times(row, 1, &mut |turn, member| {
            let peer = member.peer()?;
            let families = FAMILIES_FROM + (number * THREADS) as u64;
            let (found, syncs) = turn.beside_syncs(|| run(turn, peer, steps, families))?;
            // The next row does not pay for these; among each other they follow as they would in life.
            if number + 1 == WORKLOADS.len() {
                peer.settle()?;
            }
            let latencies = Some(found.latencies);
            Ok(vec![Sample { syncs: Some(syncs), latencies, ..Sample::of(*row, found.per_second) }])
        })?;
    }
    Ok(())
}

fn run(turn: &Turn<'_>, peer: &dyn Peer, steps: &[(Step, u64); 2], families: u64) -> Result<crate::measure::Rate> {
    let users = &turn.people.users;
    let keys = Keys::new(Spread::Zipf, users.len(), 0);
    let inserted: Vec<AtomicU64> = (0..THREADS).map(|_| AtomicU64::new(0)).collect();
    rate(THREADS, turn.options.time, |thread| {
        let (mut reader, mut writer) = (peer.reader()?, peer.writer()?);
        let seed = mix(turn.options.seed ^ families ^ thread as u64);
        let (mut keys, mut numbers) = (keys.reseeded(seed), Numbers::new(mix(seed)));
        let (family, inserted, mut number) = (families + thread as u64, &inserted[thread], 0u64);
        let act: Act<'_> = Box::new(move || {
            let step = if numbers.below(100) < steps[0].1 { steps[0].0 } else { steps[1].0 };
            let (user, mut seen) = (&users[keys.draw()], Seen::default());
            number += 1;
            let prefs = format!("y={family}.{number:08}");
            match step {
                Step::Read => ensure!(reader.by_sub(&user.sub, &mut seen)?, "a user of the population is not found"),
                Step::ReadNewest => {
                    // Its own thread's newest are the most frequent; before there are any, the population.
                    let newest = inserted.load(Ordering::Relaxed);
                    let back = numbers.skewed(newest.max(1) as usize) as u64;
                    let made = (newest > 0).then(|| User::newcomer(family, newest - back));
                    let sub = made.as_ref().map_or(&user.sub, |made| &made.sub);
                    ensure!(reader.by_sub(sub, &mut seen)?, "a user who was inserted is not found");
                }
                Step::Update => writer.update(Update { sub: &user.sub, prefs: &prefs })?,
                Step::Insert => {
                    let next = inserted.load(Ordering::Relaxed) + 1;
                    ensure!(writer.create(&User::newcomer(family, next))?, "an alias of a newcomer is taken");
                    inserted.store(next, Ordering::Relaxed);
                }
                Step::Scan => {
                    let name = user.text(Alias::Username.text());
                    let prefix = name.char_indices().nth(4).map_or(name, |(end, _)| &name[..end]);
                    ensure!(reader.first_by_prefix(prefix, SCANNED_USERS, &mut seen)? > 0, "nobody begins so");
                }
                Step::ReadModifyWrite => {
                    ensure!(reader.by_sub(&user.sub, &mut seen)?, "a user of the population is not found");
                    writer.update(Update { sub: &user.sub, prefs: &prefs })?;
                }
            }
            std::hint::black_box((seen, user.text(Text::Email)));
            Ok(())
        });
        Ok(act)
    })
}
