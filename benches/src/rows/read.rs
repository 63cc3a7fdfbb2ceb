//! Point reads: e-mail to profile, e-mail to password hash, sign-ins.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::mistakes;
use crate::load::{Alias, Request, Requests, Spread};
use crate::measure::{Act, rate};
use crate::peer::{Peer, Reader, Seen};
use crate::population::{User, mix};
use crate::suite::{Bench, Sample, Turn};

/// The least and the most questions that a thread has before they repeat.
const REQUESTS: (usize, usize) = (10_000, 400_000);
/// Nobody's caches are filled for longer.
const FILL_MAX: Duration = Duration::from_secs(10);
/// A small cache is this part of the raw bytes.
const SMALL_CACHE_PART: u64 = 10;

type Read = fn(&mut dyn Reader, Request<'_>, &mut Seen) -> Result<bool>;

const PROFILE: Read = |reader, request, seen| reader.profile(Alias::Email, request.value, seen);
const HASH: Read = |reader, request, seen| reader.hash(request.value, seen);
const SIGN_IN: Read = |reader, request, seen| reader.sign_in(request.alias, request.value, seen);

/// E-mail to whole profile, users drawn uniformly.
pub(super) fn profiles(bench: &mut Bench<'_>) -> Result<()> {
    let requests = by_email(bench);
    bench.in_turns("profile", |turn, member| {
        let peer = member.peer()?;
        if turn.round == 0 {
            mistakes::none_in_reads(&mut *peer.reader()?, turn.people)?;
            fill_caches(peer, &requests)?;
        }
        on_readers(turn, peer, "profile", &requests, PROFILE)
    })
}

/// E-mail to password hash, users drawn uniformly.
pub(super) fn hashes(bench: &mut Bench<'_>) -> Result<()> {
    let requests = by_email(bench);
    bench.in_turns("hash", |turn, member| on_readers(turn, member.peer()?, "hash", &requests, HASH))
}

/// Sign-ins by all aliases, some users much more often than others.
pub(super) fn sign_ins(bench: &mut Bench<'_>) -> Result<()> {
    let requests = requests(bench, Spread::Zipf, Requests::sign_ins);
    bench.in_turns_times("sign-in", bench.options.heavy_repetitions(), &mut |turn, member| {
        on_readers(turn, member.peer()?, "sign-in", &requests, SIGN_IN)
    })
}

/// Profiles and sign-ins of users drawn uniformly from ten times as many as the system's own cache holds. What the
/// operating system caches of files it still does, for everyone.
pub(super) fn small_cache(bench: &mut Bench<'_>) -> Result<()> {
    let cache_bytes = bench.people.raw_bytes() / SMALL_CACHE_PART;
    let emails = by_email(bench);
    let sign_ins = requests(bench, Spread::Uniform, Requests::sign_ins);
    bench.in_turns("small-cache", |turn, member| {
        member.close()?;
        member.open(Some(cache_bytes))?;
        let one = |row: &str, requests, read| -> Result<Sample> {
            warm(turn, member.peer()?, 1, requests, read)?;
            measured(turn, member.peer()?, row, 1, requests, read)
        };
        let samples = vec![one("small-profile", &emails, PROFILE)?, one("small-sign-in", &sign_ins, SIGN_IN)?];
        member.close()?;
        member.open(None)?;
        Ok(samples)
    })
}

fn by_email(bench: &Bench<'_>) -> Vec<Requests> {
    requests(bench, Spread::Uniform, Requests::emails)
}

/// Questions for each thread.
fn requests(bench: &Bench<'_>, spread: Spread, make: fn(&[User], Spread, usize, u64) -> Requests) -> Vec<Requests> {
    let count = bench.people.users.len().clamp(REQUESTS.0, REQUESTS.1);
    let threads = bench.options.readers.iter().copied().max().unwrap_or(1);
    (0..threads as u64)
        .map(|thread| make(&bench.people.users, spread, count, mix(bench.options.seed ^ thread)))
        .collect()
}

fn on_readers(turn: &Turn<'_>, peer: &dyn Peer, row: &str, requests: &[Requests], read: Read) -> Result<Vec<Sample>> {
    if turn.round == 0 {
        warm(turn, peer, requests.len(), requests, read)?;
    }
    let readers = turn.options.readers.iter();
    readers.map(|threads| measured(turn, peer, &format!("{row}-{threads}"), *threads, requests, read)).collect()
}

/// Asks all questions once, on as many threads as will be measured, so that each system's caches hold what they can.
fn fill_caches(peer: &dyn Peer, requests: &[Requests]) -> Result<()> {
    let give_up = Instant::now() + FILL_MAX;
    let fill = |requests: &Requests| -> Result<()> {
        let (mut reader, mut walk) = (peer.reader()?, requests.walk());
        for _ in 0..requests.len() {
            PROFILE(&mut *reader, walk.step(), &mut Seen::default())?;
            if Instant::now() >= give_up {
                break;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let fill = &fill;
        let threads: Vec<_> = requests.iter().map(|requests| scope.spawn(move || fill(requests))).collect();
        let panicked = |_| Err(anyhow::anyhow!("a thread of the benchmark panicked"));
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(panicked))
    })
}

/// The first answers of another kind are not measured either.
fn warm(turn: &Turn<'_>, peer: &dyn Peer, threads: usize, requests: &[Requests], read: Read) -> Result<()> {
    measured(turn, peer, "warm", threads, requests, read).map(drop)
}

fn measured(
    turn: &Turn<'_>,
    peer: &dyn Peer,
    row: &str,
    threads: usize,
    requests: &[Requests],
    read: Read,
) -> Result<Sample> {
    let found = rate(threads, turn.options.time, |thread| {
        let (mut reader, mut walk) = (peer.reader()?, requests[thread].walk());
        let act: Act<'_> = Box::new(move || {
            let mut seen = Seen::default();
            ensure!(read(&mut *reader, walk.step(), &mut seen)?, "a user of the population is not found");
            std::hint::black_box(seen);
            Ok(())
        });
        Ok(act)
    })?;
    Ok(Sample { latencies: Some(found.latencies), ..Sample::of(row, found.per_second) })
}
