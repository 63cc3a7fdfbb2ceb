//! Histories of many threads on few users, recorded and checked (`tests/src/history.rs` says how, and
//! why that can fail): through the engine, with flushes and compactions beside, and over TCP.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use stoa_engine::pool::request::{Committed, Input, NewUser, Op, Transaction, UserRef};
use stoa_engine::pool::view::{Select, UserView};
use stoa_engine::{JobKind, Pool, Store, StoreOptions};
use stoa_format::Sub;
use stoa_tests::Server;
use stoa_tests::history::{Answer, Call, Event, Model, User, check};
use stoa_tests::resp::{Client, Reply};

const USERS: usize = 3;
/// One more than there are users: a name that is given up can be taken by another.
const NAMES: [&str; USERS + 1] = ["ana", "bo", "cy", "di"];
const THREADS: u64 = 6;
/// Calls of one thread.
const CALLS: usize = if cfg!(debug_assertions) { 1_500 } else { 10_000 };

/// Whoever carries calls out: the answer, and the Seq where it names one.
trait Carrier {
    fn carry_out(&mut self, call: &Call) -> (Answer, Option<u64>);
}

/// A generator of numbers, seeded: xorshift64* (Marsaglia, 2003; Vigna, 2016).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn name(&mut self) -> String {
        NAMES[self.below(NAMES.len())].to_owned()
    }
}

/// A call that has something to do with what was seen before.
fn next_call(numbers: &mut Numbers, seen: &mut [User; USERS], value: u64) -> Call {
    let user = numbers.below(USERS);
    match numbers.below(10) {
        0..=3 => Call::Read((0..=numbers.below(3)).map(|_| numbers.name()).collect()),
        4 | 5 => Call::Set(user, seen[user].version, value),
        6 => Call::SetNamed(numbers.name(), value),
        7 | 8 => Call::Rename(user, numbers.name(), value),
        _ => {
            let other = (user + 1 + numbers.below(USERS - 1)) % USERS;
            Call::Swap([(user, seen[other].name.clone()), (other, seen[user].name.clone())], value)
        }
    }
}

/// Remembers what an answer shows of users.
fn learn(seen: &mut [User; USERS], call: &Call, answer: &Answer) {
    match (call, answer) {
        (_, Answer::Users(users)) => {
            users.iter().flatten().for_each(|(at, user)| seen[*at].clone_from(user));
        }
        (Call::Set(user, ..), Answer::Done(versions)) => seen[*user].version = versions[0],
        (Call::Rename(user, name, _), Answer::Done(versions)) => {
            seen[*user].version = versions[0];
            seen[*user].name.clone_from(name);
        }
        (Call::Swap(both, _), Answer::Done(versions)) => {
            for ((user, name), version) in both.iter().zip(versions) {
                seen[*user].version = *version;
                seen[*user].name.clone_from(name);
            }
        }
        _ => {}
    }
}

/// Has threads make calls, and checks what they were answered.
fn record_and_check<C: Carrier>(first_seq: u64, connect: impl Fn() -> C + Sync, beside: impl Fn() + Sync) {
    let seed = u64::from(std::process::id());
    let (started, history) = (Instant::now(), Mutex::new(Vec::new()));
    let (values, over) = (AtomicU64::new(1), AtomicBool::new(false));
    let first = std::array::from_fn(|at| User { name: NAMES[at].to_owned(), version: 1, value: 0 });
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (connect, history, values, mut seen) = (&connect, &history, &values, first.clone());
                scope.spawn(move || {
                    let mut numbers = Numbers((seed + 1) << 8 | thread);
                    let (mut carrier, mut events) = (connect(), Vec::with_capacity(CALLS));
                    for _ in 0..CALLS {
                        let call = next_call(&mut numbers, &mut seen, values.fetch_add(1, Relaxed));
                        let began_ns = started.elapsed().as_nanos() as u64;
                        let (answer, seq) = carrier.carry_out(&call);
                        let ended_ns = started.elapsed().as_nanos() as u64;
                        learn(&mut seen, &call, &answer);
                        events.push(Event { began_ns, ended_ns, call, answer, seq });
                    }
                    history.lock().unwrap().extend(events);
                })
            })
            .collect();
        scope.spawn(|| {
            while !over.load(Relaxed) {
                beside();
            }
        });
        let panics: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().err()).collect();
        over.store(true, Relaxed);
        assert!(panics.is_empty(), "a client panicked");
    });
    let history = history.into_inner().unwrap();
    let model = Model { users: first.to_vec() };
    let checked = check(model, first_seq, &history);
    let transactions = checked.unwrap_or_else(|unexplained| panic!("{} calls, {unexplained}", history.len()));
    let refused = |word: &str| history.iter().filter(|event| event.answer == Answer::Refused(word.to_owned())).count();
    let (conflicts, duplicates, missing) = (refused("CONFLICT"), refused("DUPLICATE"), refused("NOUSER"));
    println!(
        "{} calls are explained: {transactions} transactions, {conflicts} conflicts, {duplicates} duplicates, \
         {missing} without user",
        history.len()
    );
    // A history in which nothing meets anything would show nothing.
    assert!(transactions > CALLS && conflicts > 20 && duplicates > 20 && missing > 20);
}

fn input(text: &str) -> Input {
    Input::Raw(text.to_owned().into())
}

struct Engine {
    pool: Pool,
    subs: Arc<Vec<Sub>>,
}

impl Engine {
    fn set(&self, user: UserRef, if_version: Option<u64>, name: Option<&String>, value: u64) -> Op {
        let mut changes = vec![("nickname".into(), input(&value.to_string()))];
        changes.extend(name.map(|name| ("username".into(), input(name))));
        Op::UserSet { user, if_version, take_alias: false, changes }
    }

    fn seen(&self, view: &UserView) -> (usize, User) {
        let text = |name: &str| {
            let found = view.attrs.iter().find(|(attr, _)| **attr == *name);
            found.and_then(|(_, value)| value.as_ref()).map(|value| value.text().into_owned()).unwrap_or_default()
        };
        let at = self.subs.iter().position(|sub| *sub == view.sub).unwrap();
        let value = text("nickname").parse().unwrap();
        (at, User { name: text("username"), version: view.version, value })
    }

    fn commit(&self, ops: Vec<Op>) -> (Answer, Option<u64>) {
        match self.pool.commit(Transaction { ops, ..Transaction::default() }) {
            Ok(Committed { seq, outcomes, .. }) => {
                (Answer::Done(outcomes.iter().filter_map(|outcome| outcome.version).collect()), Some(seq.0))
            }
            Err(error) => (Answer::Refused(error.kind().word().to_owned()), None),
        }
    }
}

fn named(name: &str) -> UserRef {
    UserRef::Alias { attr: "username".into(), value: name.into() }
}

impl Carrier for Engine {
    fn carry_out(&mut self, call: &Call) -> (Answer, Option<u64>) {
        let by_sub = |user: usize| UserRef::Sub(self.subs[user]);
        match call {
            Call::Read(names) => {
                let snapshot = self.pool.snapshot();
                let users: Vec<UserRef> = names.iter().map(|name| named(name)).collect();
                let found = snapshot.users(&users, &Select::All).unwrap();
                let found = found.iter().map(|view| view.as_ref().map(|view| self.seen(view))).collect();
                (Answer::Users(found), Some(snapshot.seq().0))
            }
            Call::Set(user, version, value) => self.commit(vec![self.set(by_sub(*user), Some(*version), None, *value)]),
            Call::SetNamed(name, value) => self.commit(vec![self.set(named(name), None, None, *value)]),
            Call::Rename(user, name, value) => self.commit(vec![self.set(by_sub(*user), None, Some(name), *value)]),
            Call::Swap(both, value) => {
                let ops = both.iter().map(|(user, name)| self.set(by_sub(*user), None, Some(name), *value)).collect();
                self.commit(ops)
            }
        }
    }
}

#[test]
fn what_threads_are_answered_by_the_engine_has_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions::new(dir.path().join("DATA"))).unwrap();
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    let create = |name: &&str| {
        let attrs = vec![("username".into(), input(name)), ("nickname".into(), input("0"))];
        let op = Op::UserCreate(Box::new(NewUser { attrs, ..NewUser::default() }));
        let done = pool.commit(Transaction { ops: vec![op], ..Transaction::default() }).unwrap();
        done.outcomes[0].sub.unwrap()
    };
    let subs: Arc<Vec<Sub>> = Arc::new(NAMES[..USERS].iter().map(create).collect());
    let connect = || Engine { pool: pool.clone(), subs: Arc::clone(&subs) };
    let beside = || {
        pool.flush().unwrap();
        pool.start_job(JobKind::Compact).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(3));
    };
    record_and_check(pool.seq().0, connect, beside);
}

struct Wire {
    client: Client,
    subs: Arc<Vec<String>>,
}

impl Wire {
    fn seen(&self, reply: &Reply) -> Option<(usize, User)> {
        let text = |key: &str| reply.at(key).map(|value| value.text().to_owned()).unwrap_or_default();
        let at = self.subs.iter().position(|sub| *sub == text("sub"))?;
        let version = reply.at("version")?.number()? as u64;
        Some((at, User { name: text("username"), version, value: text("nickname").parse().ok()? }))
    }

    fn call(&mut self, words: &[&str]) -> io::Result<(Answer, Option<u64>)> {
        let reply = self.client.call(words)?;
        Ok(match &reply {
            Reply::Error(error) => {
                let error = error.strip_prefix("EXECABORT ").unwrap_or(error);
                (Answer::Refused(error.split(' ').next().unwrap_or_default().to_owned()), None)
            }
            Reply::Array(parts) if reply.at("seq").is_none() => {
                let versions = parts.iter().filter_map(|part| part.at("version")?.number()).map(|v| v as u64).collect();
                let seq = parts.iter().find_map(|part| part.at("seq")?.number()).map(|seq| seq as u64);
                (Answer::Done(versions), seq)
            }
            reply => {
                let number = |key: &str| reply.at(key).and_then(Reply::number).map(|number| number as u64);
                (Answer::Done(number("version").into_iter().collect()), number("seq"))
            }
        })
    }

    fn carry_out(&mut self, call: &Call) -> io::Result<(Answer, Option<u64>)> {
        let subs = Arc::clone(&self.subs);
        let by_name = |name: &String| format!("username={name}");
        match call {
            Call::Read(names) => {
                let names: Vec<String> = names.iter().map(by_name).collect();
                let words =
                    [&["USER.MGET", "acme"][..], &names.iter().map(String::as_str).collect::<Vec<_>>()].concat();
                let Reply::Array(found) = self.client.call(&words)? else { panic!("no array") };
                Ok((Answer::Users(found.iter().map(|reply| self.seen(reply)).collect()), None))
            }
            Call::Set(user, version, value) => {
                let (version, value) = (version.to_string(), value.to_string());
                self.call(&["USER.SET", "acme", &subs[*user], "IF", &version, "nickname", &value])
            }
            Call::SetNamed(name, value) => {
                self.call(&["USER.SET", "acme", &by_name(name), "nickname", &value.to_string()])
            }
            Call::Rename(user, name, value) => {
                self.call(&["USER.SET", "acme", &subs[*user], "nickname", &value.to_string(), "username", name])
            }
            Call::Swap(both, value) => {
                assert_eq!(self.client.call(&["MULTI"])?.text(), "OK");
                for (user, name) in both {
                    let value = value.to_string();
                    let words = ["USER.SET", "acme", &subs[*user], "nickname", &value, "username", name];
                    assert_eq!(self.client.call(&words)?.text(), "QUEUED");
                }
                self.call(&["EXEC"])
            }
        }
    }
}

impl Carrier for Wire {
    fn carry_out(&mut self, call: &Call) -> (Answer, Option<u64>) {
        Wire::carry_out(self, call).unwrap()
    }
}

#[test]
fn what_clients_are_answered_over_tcp_has_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("DATA"), &["--log", "error"]);
    let setup = Mutex::new(Client::connect(server.address()).unwrap());
    let call = |words: &[&str]| setup.lock().unwrap().call(words).unwrap();
    call(&["POOL.CREATE", "acme"]);
    let mut first_seq = 0;
    let mut create = |name: &&str| {
        let made = call(&["USER.CREATE", "acme", "username", name, "nickname", "0"]);
        first_seq = made.at("seq").and_then(Reply::number).unwrap() as u64;
        made.at("sub").unwrap().text().to_owned()
    };
    let subs: Arc<Vec<String>> = Arc::new(NAMES[..USERS].iter().map(&mut create).collect());
    let connect = || Wire { client: Client::connect(server.address()).unwrap(), subs: Arc::clone(&subs) };
    let beside = || {
        call(&["POOL.FLUSH", "acme"]);
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    record_and_check(first_seq, connect, beside);
    server.stop();
}
