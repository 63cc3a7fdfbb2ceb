//! Durable writes. Each is checked by reading back what was written last.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::mistakes;
use crate::load::{Alias, Keys, Spread};
use crate::machine;
use crate::measure::{Act, rate, time};
use crate::peer::{Peer, Seen, Update, profile_of};
use crate::population::{User, mix};
use crate::suite::{Bench, Sample, Turn};

/// So many users are changed one by one where that is measured as a whole, unless there are fewer.
const SINGLE_UPDATES_MAX: usize = 100_000;
/// The device is taken to be quiet when it wrote nothing for this long; nobody is waited for longer than the other.
const QUIET: Duration = Duration::from_millis(200);
const QUIET_WAIT_MAX: Duration = Duration::from_secs(2);

/// One attribute of a user, drawn uniformly, by so many writers at once.
pub(super) fn updates(bench: &mut Bench<'_>) -> Result<()> {
    each_writers(bench, "update", &|turn, peer, writers| {
        let last = last_of(writers);
        let found = turn.beside_syncs(|| {
            rate(writers, turn.options.time, |thread| {
                let mut writer = peer.writer()?;
                let count = turn.people.users.len();
                let mut keys = Keys::new(Spread::Uniform, count, mix((turn.round * writers + thread) as u64));
                let (last, mut number) = (&last[thread], 0u64);
                let act: Act<'_> = Box::new(move || {
                    // A writer has users of its own, so that it knows what they hold in the end.
                    let place = (keys.draw() / writers * writers + thread).min(count - 1);
                    // Systems that see an unchanged value do not write: each is a fresh one.
                    let prefs = format!("v={:x}.{writers}.{thread}.{number:06x}", turn.round);
                    number += 1;
                    writer.update(Update { sub: &turn.people.users[place].sub, prefs: &prefs })?;
                    if place % writers == thread {
                        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some((place, prefs));
                    }
                    Ok(())
                });
                Ok(act)
            })
        })?;
        let mut reader = peer.reader()?;
        for (place, prefs) in last.iter().filter_map(|last| last.lock().ok()?.clone()) {
            mistakes::none_in_value(&mut *reader, &turn.people.users[place].sub, "custom:prefs", &prefs)?;
        }
        Ok(found)
    })
}

/// New users with three aliases each, by so many writers at once.
pub(super) fn creations(bench: &mut Bench<'_>) -> Result<()> {
    let mut first = 0;
    // A family of newcomers for each thread of each measurement.
    let families: Vec<(usize, u64)> = bench
        .options
        .writers
        .iter()
        .map(|writers| {
            first += writers;
            (*writers, (first - writers) as u64)
        })
        .collect();
    let all = first as u64;
    each_writers(bench, "create", &|turn, peer, writers| {
        let family = families.iter().find(|(of, _)| *of == writers).map_or(0, |(_, family)| *family);
        let family = family + all * turn.round as u64;
        let last = last_of(writers);
        let found = turn.beside_syncs(|| {
            rate(writers, turn.options.time, |thread| {
                let (mut writer, last, mut number) = (peer.writer()?, &last[thread], 0);
                let act: Act<'_> = Box::new(move || {
                    let user = User::newcomer(family + thread as u64, number);
                    number += 1;
                    ensure!(writer.create(&user)?, "an alias of a newcomer is taken");
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(user);
                    Ok(())
                });
                Ok(act)
            })
        })?;
        let last: Vec<User> = last.iter().filter_map(|last| last.lock().ok()?.take()).collect();
        let mut reader = peer.reader()?;
        for user in &last {
            let mut seen = Seen::keeping();
            let email = user.text(Alias::Email.text());
            ensure!(reader.profile(Alias::Email, email, &mut seen)?, "a new user is not found by e-mail");
            let (kept, wanted) = (seen.into_kept(), profile_of(user));
            // A verified flag that nobody set may be absent.
            let holds = |(name, value): (&String, &String)| kept[0].get(name).is_none_or(|found| found == value);
            ensure!(kept[0].len() + 1 >= wanted.len() && wanted.iter().all(holds), "a new user is {kept:?}");
        }
        if turn.round == 0 {
            one_of_many_wins(peer, last.first().context("somebody was made")?, family)?;
        }
        Ok(found)
    })
}

/// An alias that is taken is refused, in any case of its letters; and of several who claim a free one at once, one has
/// it.
fn one_of_many_wins(peer: &dyn Peer, user: &User, family: u64) -> Result<()> {
    let refused = !peer.writer()?.create(&user.impostor(0))?;
    ensure!(refused, "two users have one e-mail address");
    let free = User::newcomer(family, 999_999_999);
    let wins: Vec<Result<bool>> = std::thread::scope(|scope| {
        let free = &free;
        let claims: Vec<_> =
            (1..=4).map(|number| scope.spawn(move || peer.writer()?.create(&free.impostor(number)))).collect();
        let panicked = |_| Err(anyhow::anyhow!("a writer panicked"));
        claims.into_iter().map(|claim| claim.join().unwrap_or_else(panicked)).collect()
    });
    let mut winners = 0;
    for win in wins {
        winners += usize::from(win?);
    }
    ensure!(winners == 1, "{winners} of four have an e-mail address that all claimed at once");
    Ok(())
}

fn last_of<T>(writers: usize) -> Vec<Mutex<Option<T>>> {
    (0..writers).map(|_| Mutex::new(None)).collect()
}

type WithWriters<'a> = dyn Fn(&Turn<'_>, &dyn Peer, usize) -> Result<(crate::measure::Rate, f64)> + 'a;

fn each_writers(bench: &mut Bench<'_>, row: &str, measure: &WithWriters<'_>) -> Result<()> {
    let (first, last) = (bench.options.writers.first().copied(), bench.options.writers.last().copied());
    for writers in bench.options.writers.clone() {
        let id = format!("{row}-{writers}");
        // What lies in between is for the plot: once is enough.
        let in_between = Some(writers) != first && Some(writers) != last;
        let times = if in_between { 1 } else { bench.options.repetitions };
        bench.in_turns_times(&id, times, &mut |turn, member| {
            let peer = member.peer()?;
            let (found, syncs) = measure(turn, peer, writers)?;
            peer.settle()?;
            Ok(vec![Sample {
                syncs: Some(syncs),
                latencies: Some(found.latencies),
                ..Sample::of(id.as_str(), found.per_second)
            }])
        })?;
    }
    Ok(())
}

/// One attribute of many users by single updates, as many under way at once as serves the system.
pub(super) fn single_updates(bench: &mut Bench<'_>) -> Result<()> {
    bench.in_turns_times("single-updates", bench.options.heavy_repetitions(), &mut |turn, member| {
        let peer = member.peer()?;
        let users = &turn.people.users;
        let count = users.len().min(SINGLE_UPDATES_MAX);
        // Every user once, scattered over the store: the step has no divisor in common with the count.
        let step = step_through(users.len());
        let prefs: Vec<String> = (0..count).map(|number| format!("s={}.{number:07}", turn.round)).collect();
        let place = |number: usize| number * step % users.len();
        let updates: Vec<Update<'_>> =
            prefs.iter().enumerate().map(|(number, prefs)| Update { sub: &users[place(number)].sub, prefs }).collect();
        let (took, written) = written_by(turn, || time(|| peer.update_many(&updates)))?;
        let mut reader = peer.reader()?;
        for number in (0..count).step_by((count / 50).max(1)) {
            mistakes::none_in_value(&mut *reader, &users[place(number)].sub, "custom:prefs", &prefs[number])?;
        }
        let mut samples = vec![Sample::of("single-updates", count as f64 / took.1.as_secs_f64())];
        samples.extend(written.map(|bytes| Sample::of("single-updates-written", bytes / count as f64)));
        peer.settle()?;
        Ok(samples)
    })
}

/// A step that goes through all of `count` places, far from neighbour to neighbour.
fn step_through(count: usize) -> usize {
    let divisor = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    (count * 5 / 8..).find(|step| *step > 0 && divisor(*step, count) == 1).unwrap_or(1)
}

/// The locale of every user, until it stands in files.
pub(super) fn set_all(bench: &mut Bench<'_>) -> Result<()> {
    bench.in_turns_times("set-all", bench.options.heavy_repetitions(), &mut |turn, member| {
        let peer = member.peer()?;
        // As long as the locales that stood there, so that no system has to move its rows.
        let locale = format!("xx-{:02}", turn.round);
        let ((count, took), written) = written_by(turn, || {
            time(|| {
                let count = peer.set_all(&locale)?;
                peer.settle()?;
                Ok(count)
            })
        })?;
        ensure!(count >= turn.people.users.len() as u64, "only {count} users were changed");
        let mut reader = peer.reader()?;
        let users = &turn.people.users;
        for user in users.iter().step_by((users.len() / 50).max(1)) {
            mistakes::none_in_value(&mut *reader, &user.sub, "locale", &locale)?;
        }
        let mut samples = vec![Sample::of("set-all", took.as_secs_f64())];
        samples.extend(written.map(|bytes| Sample::of("set-all-written", bytes)));
        Ok(samples)
    })
}

/// What something writes to the device, also what follows in the background; `None` where that cannot be told.
fn written_by<T>(turn: &Turn<'_>, act: impl FnOnce() -> Result<T>) -> Result<(T, Option<f64>)> {
    let dir = &turn.options.dir;
    machine::sync(dir)?;
    let before = machine::written_bytes(dir);
    let result = act()?;
    let give_up = Instant::now() + QUIET_WAIT_MAX;
    let mut last = machine::written_bytes(dir);
    while last.is_some() && Instant::now() < give_up {
        std::thread::sleep(QUIET);
        machine::sync(dir)?;
        let now = machine::written_bytes(dir);
        if now == last {
            break;
        }
        last = now;
    }
    let after = machine::written_bytes(dir);
    Ok((result, before.zip(after).map(|(before, after)| after.saturating_sub(before) as f64)))
}
