//! Mixes of operations as a sign-in service has them, over TCP, since that is how a service meets its store: 32
//! connections, one question under way on each, users drawn by Zipf's law with the exponent 0.99.
//!
//! A server takes part in a mix if it can do all of it. Sign-in state is the time of the last sign-in, a durable write:
//! checking passwords would measure Argon2id, which is the same for everyone. A sign-in read is password hash, status
//! and whether the user is enabled, by an alias; a filter the first sixty by a prefix of the username.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use super::mistakes;
use super::served::sample;
use crate::load::{Alias, Keys, Spread};
use crate::peer::{Seen, hex};
use crate::population::{GROUP_COUNT, Numbers, Text, User, mix};
use crate::suite::{Bench, Host, Sample, Turn};
use crate::tcp::client::{Line, Script, Shape, drive};
use crate::tcp::talk::{Attr, Kind, PAGE_USERS, Question, group_name};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    SignIn,
    /// A sign-in of nobody.
    Miss,
    ById,
    Groups,
    State,
    Update,
    Password,
    Create,
    /// Into a group or out of it, in turns.
    Group,
    Filter,
    Members,
}

/// A mix: its row, and how often of a thousand each is done.
struct Mix {
    row: &'static str,
    acts: &'static [(Act, u64)],
}

const STEADY: &[(Act, u64)] = &[
    (Act::SignIn, 110),
    (Act::ById, 720),
    (Act::Groups, 80),
    (Act::State, 30),
    (Act::Update, 20),
    (Act::Password, 5),
    (Act::Create, 5),
    (Act::Group, 5),
    (Act::Filter, 20),
    (Act::Members, 5),
];
const MIXES: [Mix; 5] = [
    Mix { row: "mix-a", acts: STEADY },
    Mix { row: "mix-b", acts: &[(Act::SignIn, 700), (Act::State, 200), (Act::ById, 100)] },
    Mix {
        row: "mix-c",
        acts: &[
            (Act::Update, 400),
            (Act::State, 150),
            (Act::Create, 100),
            (Act::Password, 50),
            (Act::Group, 100),
            (Act::ById, 200),
        ],
    },
    Mix { row: "mix-d", acts: &[(Act::Miss, 900), (Act::SignIn, 90), (Act::State, 10)] },
    Mix { row: BESIDE_BACKFILL, acts: STEADY },
];
const BESIDE_BACKFILL: &str = "mix-e";

/// Connections of a mix.
pub(super) const CONNECTIONS: usize = 32;
/// What a backfill takes beside it.
const BACKFILL: Shape = Shape { connections: 4, depth: 16 };
/// Families of newcomers from here on are of mixes: those below are of other rows.
const FAMILIES_FROM: u64 = 60_000;
/// Families of one mix in one round.
const FAMILIES: u64 = 40;

impl Act {
    const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::SignIn | Self::Miss => &[Kind::SignIn],
            Self::ById => &[Kind::BySub],
            Self::Groups => &[Kind::Groups],
            Self::State | Self::Update => &[Kind::Set],
            Self::Password => &[Kind::Password],
            Self::Create => &[Kind::Create],
            Self::Group => &[Kind::Join, Kind::Leave],
            Self::Filter => &[Kind::Prefix],
            Self::Members => &[Kind::Members],
        }
    }
}

pub(super) fn can(host: &Host, kinds: &[Kind]) -> bool {
    kinds.iter().all(|kind| (host.service.answers)(*kind))
}

/// Mixes A to E.
pub(super) fn mixes(bench: &mut Bench<'_>) -> Result<()> {
    for (number, of) in MIXES.iter().enumerate() {
        bench.hosts_in_turns(of.row, bench.options.repetitions.saturating_sub(1).max(1), &mut |turn, host| {
            if !of.acts.iter().all(|(act, _)| can(host, act.kinds())) {
                return Ok(Vec::new());
            }
            if number == 0 && turn.round == 0 {
                compare(host, turn)?;
            }
            let first = FAMILIES_FROM + FAMILIES * (number * 8 + turn.round) as u64;
            run(turn, host, of, first)
        })?;
    }
    Ok(())
}

fn run(turn: &Turn<'_>, host: &Host, of: &Mix, first_family: u64) -> Result<Vec<Sample>> {
    let users = &turn.people.users[..host.users];
    let (served, keys) = (host.served()?, Keys::new(Spread::Zipf, users.len(), 0));
    let last: Vec<Mutex<Last>> = (0..CONNECTIONS).map(|_| Mutex::default()).collect();
    let shape = Shape { connections: CONNECTIONS, depth: 1 };
    let mixing = || {
        drive(served, shape, turn.options.time, &|at| {
            let seed = mix(turn.options.seed ^ mix(first_family + at as u64));
            Box::new(Mixing {
                users,
                keys: keys.reseeded(seed),
                numbers: Numbers::new(mix(seed)),
                acts: of.acts,
                own: (at, CONNECTIONS),
                family: first_family + at as u64,
                made: 0,
                joined: None,
                text: String::new(),
                newcomer: None,
                open: VecDeque::new(),
                last: &last[at],
            })
        })
    };
    let (driven, filled, syncs) = if of.row == BESIDE_BACKFILL {
        let backfilling = || {
            drive(served, BACKFILL, turn.options.time, &|at| {
                let family = first_family + (CONNECTIONS + at) as u64;
                Box::new(Backfilling { family, number: 0, newcomer: None })
            })
        };
        let ((driven, filled), syncs) = turn.beside_syncs(|| {
            std::thread::scope(|scope| {
                let filling = scope.spawn(backfilling);
                let driven = mixing();
                let filled = filling.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the backfill panicked")));
                Ok((driven?, Some(filled?)))
            })
        })?;
        (driven, filled, syncs)
    } else {
        let (driven, syncs) = turn.beside_syncs(mixing)?;
        (driven, None, syncs)
    };
    let mut line = Line::to(served)?;
    for last in &last {
        last.lock().unwrap_or_else(PoisonError::into_inner).must_hold(users, &mut line)?;
    }
    let sign_ins = driven.by_kind.get(&Kind::SignIn).cloned();
    let mut samples = vec![Sample { syncs: Some(syncs), ..sample(of.row.to_owned(), driven) }];
    samples.extend(sign_ins.map(|latencies| {
        let p99 = latencies.value_at_quantile(0.99) as f64 / 1e9;
        Sample { latencies: Some(latencies), ..Sample::of(format!("{}-sign-in", of.row), p99) }
    }));
    samples.extend(filled.map(|filled| sample(format!("{}-backfill", of.row), filled)));
    Ok(samples)
}

/// What one connection wrote last.
#[derive(Default)]
struct Last {
    set: Option<(usize, Attr, String)>,
    made: Option<User>,
}

impl Last {
    fn must_hold(&self, users: &[User], line: &mut Line) -> Result<()> {
        if let Some((place, Attr::Prefs, value)) = &self.set {
            let (found, seen) = line.ask(Question::BySub(&users[*place].sub))?;
            ensure!(found, "a user who was changed is gone");
            mistakes::none_in_kept(&seen.into_kept(), Attr::Prefs.name(), value)?;
        }
        if let Some(user) = &self.made {
            let (found, seen) = line.ask(Question::Profile(user.text(Text::Email)))?;
            ensure!(found, "a new user is not found by e-mail");
            mistakes::none_in_kept(&seen.into_kept(), "username", user.text(Text::Username))?;
        }
        Ok(())
    }
}

/// What an open question must come to.
enum Open {
    Found,
    Missing,
    Set(usize, Attr, String),
    Made(User),
}

/// One connection of a mix.
struct Mixing<'u> {
    users: &'u [User],
    keys: Keys,
    numbers: Numbers,
    acts: &'static [(Act, u64)],
    /// Users that it changes: of so many connections this one's.
    own: (usize, usize),
    family: u64,
    made: u64,
    /// Who is to leave which group next.
    joined: Option<(u16, usize)>,
    text: String,
    newcomer: Option<User>,
    open: VecDeque<Open>,
    last: &'u Mutex<Last>,
}

impl Mixing<'_> {
    fn draw_act(&mut self) -> Act {
        let mut at = self.numbers.below(self.acts.iter().map(|(_, weight)| weight).sum());
        for (act, weight) in self.acts {
            if at < *weight {
                return *act;
            }
            at -= weight;
        }
        self.acts[0].0
    }

    fn own_user(&mut self) -> usize {
        let (at, of) = self.own;
        let place = self.keys.draw() / of * of + at;
        if place < self.users.len() { place } else { at.min(self.users.len() - 1) }
    }

    fn set(&mut self, attr: Attr) -> Question<'_> {
        let place = self.own_user();
        self.made += 1;
        self.text = format!("m={}.{}", self.family, self.made);
        self.open.push_back(Open::Set(place, attr, self.text.clone()));
        Question::Set(&self.users[place].sub, attr, &self.text)
    }
}

impl Script for Mixing<'_> {
    fn next(&mut self) -> Option<Question<'_>> {
        let act = self.draw_act();
        match act {
            Act::State => return Some(self.set(Attr::LastSignIn)),
            Act::Update => return Some(self.set(Attr::Prefs)),
            Act::Create => {
                self.made += 1;
                let user = self.newcomer.insert(User::newcomer(self.family, self.made));
                self.open.push_back(Open::Made(user.clone()));
                return Some(Question::Create(user));
            }
            _ => self.open.push_back(if act == Act::Miss { Open::Missing } else { Open::Found }),
        }
        let (users, place) = (self.users, self.keys.draw());
        let user = &users[place];
        Some(match act {
            Act::SignIn => {
                let alias = Alias::of_sign_in(user, &mut self.numbers);
                Question::SignIn(alias, user.text(alias.text()))
            }
            Act::Miss => {
                self.made += 1;
                self.text = format!("nobody.{}.{}@nowhere.example", self.family, self.made);
                Question::SignIn(Alias::Email, &self.text)
            }
            Act::Groups => Question::Groups(&user.sub),
            Act::Password => {
                let own = self.own_user();
                // Another user's hash: as good as any.
                Question::Password(&users[own].sub, user.text(Text::Hash))
            }
            Act::Group => match self.joined.take() {
                None => {
                    let (group, own) = (self.numbers.below(u64::from(GROUP_COUNT)) as u16, self.own_user());
                    self.joined = Some((group, own));
                    Question::Join(group, &users[own].sub)
                }
                Some((group, own)) => Question::Leave(group, &users[own].sub),
            },
            Act::Filter => Question::Prefix(prefix_of(user)),
            Act::Members => Question::Members(self.numbers.below(u64::from(GROUP_COUNT)) as u16),
            _ => Question::BySub(&user.sub),
        })
    }

    fn judge(&mut self, kind: Kind, found: bool, seen: Seen) -> Result<()> {
        let open = self.open.pop_front().context("an answer that nobody waits for")?;
        ensure!(found != matches!(open, Open::Missing), "{kind:?} finds {}", if found { "nobody's" } else { "nobody" });
        std::hint::black_box(seen);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match open {
            // The last of several users of few that a small population has may be another's too.
            Open::Set(place, attr, value) if place % self.own.1 == self.own.0 && attr == Attr::Prefs => {
                last.set = Some((place, attr, value));
            }
            Open::Made(user) => last.made = Some(user),
            _ => {}
        }
        Ok(())
    }
}

/// The first characters of a username.
fn prefix_of(user: &User) -> &str {
    let name = user.text(Text::Username);
    name.char_indices().nth(4).map_or(name, |(end, _)| &name[..end])
}

/// Makes newcomers as fast as they are taken.
struct Backfilling {
    family: u64,
    number: u64,
    newcomer: Option<User>,
}

impl Script for Backfilling {
    fn next(&mut self) -> Option<Question<'_>> {
        self.number += 1;
        Some(Question::Create(self.newcomer.insert(User::newcomer(self.family, self.number))))
    }

    fn judge(&mut self, _: Kind, found: bool, _: Seen) -> Result<()> {
        ensure!(found, "an alias of a newcomer is taken");
        Ok(())
    }
}

/// Compares groups, filters and pages of members with the population, before a mix changes them.
fn compare(host: &Host, turn: &Turn<'_>) -> Result<()> {
    let users = &turn.people.users[..host.users];
    let mut line = Line::to(host.served()?)?;
    let mut members: BTreeMap<u16, BTreeSet<String>> = BTreeMap::new();
    for user in users {
        for group in &user.groups {
            members.entry(*group).or_default().insert(hex(&user.sub));
        }
    }
    let mut keys = Keys::new(Spread::Uniform, users.len(), 7);
    for at in 0..50 {
        let user = &users[keys.draw()];
        let (_, seen) = line.ask(Question::Groups(&user.sub))?;
        ensure!(seen.values == user.groups.len() as u64, "a user is in {} groups", seen.values);
        if let (Some(group), Some(kept)) = (user.groups.last(), seen.into_kept().first()) {
            // Of several names one is kept: any that is one of them.
            let known = |name: &String| user.groups.iter().any(|group| group_name(*group) == *name);
            ensure!(kept.get("group").is_some_and(known), "{} is not among {kept:?}", group_name(*group));
        }
        let (_, seen) = line.ask(Question::Prefix(prefix_of(user)))?;
        mistakes::none_in_listed(seen, users, prefix_of(user), PAGE_USERS)?;
        let (_, seen) = line.ask(Question::Members(at))?;
        let (kept, of) = (seen.into_kept(), members.get(&at).map_or(0, BTreeSet::len));
        ensure!(kept.len() == of.min(PAGE_USERS), "a page of {of} members shows {}", kept.len());
        let known = |user: &BTreeMap<String, String>| members[&at].contains(&user["sub"]);
        ensure!(kept.iter().all(known), "somebody who is listed is no member");
    }
    Ok(())
}
