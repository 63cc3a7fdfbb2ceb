//! Rows over TCP: e-mail to profile and to password hash, durable updates, over one connection and over many.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};

use super::mistakes;
use crate::load::{Keys, Request, Requests, Spread, Walk};
use crate::peer::{Seen, profile_of};
use crate::population::{Text, User, mix};
use crate::suite::{Bench, Host, Sample, Turn};
use crate::tcp::client::{Driven, Line, Script, Shape, drive};
use crate::tcp::talk::{Attr, Kind, Question};

/// The most questions that a connection has before they repeat.
const REQUESTS_MAX: usize = 20_000;
/// Users whose answers are compared with the population, each by all ways.
const COMPARED: usize = 300;

type Ask = fn(Request<'_>) -> Question<'_>;

const PROFILE: Ask = |request| Question::Profile(request.value);
const HASH: Ask = |request| Question::Hash(request.value);

/// E-mail to whole profile: by connections, and with many questions under way on each.
pub(super) fn profiles(bench: &mut Bench<'_>) -> Result<()> {
    let (counts, deep) = (bench.options.connections.clone(), bench.options.depth);
    let most = counts.last().copied().unwrap_or(1);
    bench.hosts_in_turns("tcp-profile", bench.options.repetitions, &mut |turn, host| {
        let requests = requests(turn, host, most);
        let served = host.served()?;
        let read = |connections, depth| -> Result<Driven> {
            let shape = Shape { connections, depth };
            drive(served, shape, turn.options.time, &|at| Reading::script(&requests[at], PROFILE))
        };
        if turn.round == 0 {
            compare(host, turn, 1)?;
            if host.service.in_order {
                compare(host, turn, deep)?;
            }
            read(most, 1)?;
        }
        let mut samples = Vec::new();
        for connections in turn.measured(&counts) {
            samples.push(sample(format!("tcp-profile-{connections}"), read(connections, 1)?));
        }
        if host.service.in_order {
            samples.push(sample(format!("tcp-profile-deep-{most}"), read(most, deep)?));
        }
        Ok(samples)
    })
}

/// E-mail to password hash.
pub(super) fn hashes(bench: &mut Bench<'_>) -> Result<()> {
    let counts = bench.options.connections.clone();
    let ends = [counts.first().copied().unwrap_or(1), counts.last().copied().unwrap_or(1)];
    bench.hosts_in_turns("tcp-hash", bench.options.heavy_repetitions(), &mut |turn, host| {
        let requests = requests(turn, host, ends[1]);
        let mut samples = Vec::new();
        for connections in ends {
            let shape = Shape { connections, depth: 1 };
            let read = drive(host.served()?, shape, turn.options.time, &|at| Reading::script(&requests[at], HASH))?;
            samples.push(sample(format!("tcp-hash-{connections}"), read));
        }
        Ok(samples)
    })
}

/// One attribute of a user, drawn uniformly, durably.
pub(super) fn updates(bench: &mut Bench<'_>) -> Result<()> {
    let counts = bench.options.tcp_writers.clone();
    bench.hosts_in_turns("tcp-update", bench.options.repetitions, &mut |turn, host| {
        let mut samples = Vec::new();
        for connections in turn.measured(&counts) {
            let users = &turn.people.users[..host.users];
            let last: Vec<Mutex<Option<(usize, String)>>> = (0..connections).map(|_| Mutex::new(None)).collect();
            let (served, shape) = (host.served()?, Shape { connections, depth: 1 });
            let (driven, syncs) = turn.beside_syncs(|| {
                drive(served, shape, turn.options.time, &|at| {
                    Box::new(Updating::new(users, (at, connections), turn.round, &last[at]))
                })
            })?;
            let mut line = Line::to(served)?;
            for (place, value) in last.iter().filter_map(|last| last.lock().ok()?.clone()) {
                let (found, seen) = line.ask(Question::BySub(&users[place].sub))?;
                ensure!(found, "a user who was changed is gone");
                mistakes::none_in_kept(&seen.into_kept(), "custom:prefs", &value)?;
            }
            samples.push(Sample { syncs: Some(syncs), ..sample(format!("tcp-update-{connections}"), driven) });
        }
        Ok(samples)
    })
}

pub(super) fn sample(row: String, driven: Driven) -> Sample {
    Sample { latencies: Some(driven.latencies()), ..Sample::of(row, driven.per_second) }
}

/// Questions for each connection, about the users that this server holds.
fn requests(turn: &Turn<'_>, host: &Host, connections: usize) -> Vec<Requests> {
    let users = &turn.people.users[..host.users];
    let count = users.len().min(REQUESTS_MAX);
    let seed = |at: u64| mix(turn.options.seed ^ at ^ (turn.round as u64) << 32);
    (0..connections as u64).map(|at| Requests::emails(users, Spread::Uniform, count, seed(at))).collect()
}

/// Reads users of the population, who are all there.
struct Reading<'r> {
    walk: Walk<'r>,
    ask: Ask,
}

impl<'r> Reading<'r> {
    fn script(requests: &'r Requests, ask: Ask) -> Box<dyn Script + 'r> {
        Box::new(Self { walk: requests.walk(), ask })
    }
}

impl Script for Reading<'_> {
    fn next(&mut self) -> Option<Question<'_>> {
        Some((self.ask)(self.walk.step()))
    }

    fn judge(&mut self, _: Kind, found: bool, seen: Seen) -> Result<()> {
        ensure!(found, "a user of the population is not found");
        std::hint::black_box(seen);
        Ok(())
    }
}

/// Sets fresh values: systems that see an unchanged one do not write. A connection has users of its own, so that it
/// knows what they hold in the end.
struct Updating<'u> {
    users: &'u [User],
    keys: Keys,
    own: (usize, usize),
    round: usize,
    number: u64,
    asked: VecDeque<(usize, String)>,
    last: &'u Mutex<Option<(usize, String)>>,
}

impl<'u> Updating<'u> {
    fn new(users: &'u [User], own: (usize, usize), round: usize, last: &'u Mutex<Option<(usize, String)>>) -> Self {
        let keys = Keys::new(Spread::Uniform, users.len(), mix((round * own.1 + own.0) as u64));
        Self { users, keys, own, round, number: 0, asked: VecDeque::new(), last }
    }
}

impl Script for Updating<'_> {
    fn next(&mut self) -> Option<Question<'_>> {
        let (at, of) = self.own;
        let place = (self.keys.draw() / of * of + at).min(self.users.len() - 1);
        self.asked.push_back((place, format!("t={:x}.{of}.{at}.{:06x}", self.round, self.number)));
        self.number += 1;
        let (_, value) = self.asked.back()?;
        Some(Question::Set(&self.users[place].sub, Attr::Prefs, value))
    }

    fn judge(&mut self, _: Kind, found: bool, _: Seen) -> Result<()> {
        ensure!(found, "a user of the population is not there to be changed");
        if let Some((place, value)) = self.asked.pop_front()
            && place % self.own.1 == self.own.0
        {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((place, value));
        }
        Ok(())
    }
}

/// Compares what a server answers with the population, over several connections at once: profiles by e-mail and by sub,
/// hashes, sign-ins, and nobody.
fn compare(host: &Host, turn: &Turn<'_>, depth: usize) -> Result<()> {
    let users = &turn.people.users[..host.users];
    let shape = Shape { connections: 8, depth };
    let many = std::time::Duration::from_secs(3600);
    drive(host.served()?, shape, many, &|at| {
        let mut keys = Keys::new(Spread::Uniform, users.len(), mix(at as u64 ^ 77));
        let count = COMPARED.min(users.len()) / 8 + 1;
        let mut list = Vec::new();
        for _ in 0..count {
            let user = &users[keys.draw()];
            let aliases = [crate::load::Alias::Username, crate::load::Alias::Email, crate::load::Alias::Phone];
            let email = user.text(Text::Email);
            list.extend(
                [Question::Profile(email), Question::BySub(&user.sub), Question::Hash(email)].map(|q| (user, q)),
            );
            let held = aliases.into_iter().filter(|alias| !user.text(alias.text()).is_empty());
            list.extend(held.map(|alias| (user, Question::SignIn(alias, user.text(alias.text())))));
        }
        Box::new(Comparing { list, next: 0, judged: 0 })
    })?;
    let mut line = Line::to(host.served()?)?;
    let nobody = "nobody@nowhere.example";
    let username = crate::load::Alias::Username;
    for question in [
        Question::Profile(nobody),
        Question::Hash(nobody),
        Question::BySub(&[3; 16]),
        Question::SignIn(username, "nobody at all"),
    ] {
        let (found, seen) = line.ask(question)?;
        ensure!(!found && seen.values == 0, "nobody is found by {:?}", question.kind());
    }
    Ok(())
}

/// Asks a list once and compares each answer.
struct Comparing<'u> {
    list: Vec<(&'u User, Question<'u>)>,
    next: usize,
    judged: usize,
}

impl Script for Comparing<'_> {
    fn next(&mut self) -> Option<Question<'_>> {
        let (_, question) = self.list.get(self.next)?;
        self.next += 1;
        Some(*question)
    }

    fn seen(&self) -> Seen {
        Seen::keeping()
    }

    fn judge(&mut self, kind: Kind, found: bool, seen: Seen) -> Result<()> {
        let (user, question) = &self.list[self.judged];
        self.judged += 1;
        ensure!(kind == question.kind() && found, "a user of the population is not found by {kind:?}");
        let (kept, wanted) = (seen.into_kept(), profile_of(user));
        match kind {
            Kind::Profile | Kind::BySub => {
                ensure!(kept.len() == 1 && kept[0] == wanted, "a profile is {kept:?}, not {wanted:?}");
            }
            _ => {
                mistakes::none_in_kept(&kept, "hash", user.text(Text::Hash))?;
                for name in ["status", "enabled"].into_iter().filter(|_| kind == Kind::SignIn) {
                    mistakes::none_in_kept(&kept, name, &wanted[name])?;
                }
            }
        }
        Ok(())
    }
}
