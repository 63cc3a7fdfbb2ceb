//! Ten thousand small pools in one store: each costs little, and nothing until it is used. Times are
//! printed, not judged: `cargo build --release -p stoa` and `cargo test --release -p stoa-tests --test pools
//! -- --nocapture --test-threads=1`.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::time::{Duration, Instant};

use stoa_engine::pool::request::{Input, NewUser, Op, Transaction, UserRef};
use stoa_engine::pool::view::Select;
use stoa_engine::{Store, StoreOptions};
use stoa_tests::Server;
use stoa_tests::resp::{Client, Reply, encode};

/// A debug build is ten times slower: there a fifth of them must do.
const POOLS: usize = if cfg!(debug_assertions) { 2_000 } else { 10_000 };
const USERS: usize = 20;
const RESIDENT_MAX_BYTES: u64 = 300 << 20;
/// Over TCP: so many connections, each with the requests of so many pools under way.
const CONNECTIONS: usize = 40;
const POOLS_AT_ONCE: usize = 5;

/// This process's resident memory.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn ten_thousand_pools_cost_little() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(dir.path().join("DATA"));
    let store = Store::open(options.clone()).unwrap();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let store = store.clone();
            scope.spawn(move || {
                for i in (worker..POOLS).step_by(8) {
                    let name = format!("pool{i}");
                    store.create_pool(&name, None, None).unwrap();
                    let user = |j: usize| {
                        let attrs = vec![("username".into(), Input::Raw(format!("user{j}").into()))];
                        Op::UserCreate(Box::new(NewUser { attrs, ..NewUser::default() }))
                    };
                    let ops = (0..USERS).map(user).collect();
                    store.pool(&name).unwrap().commit(Transaction { ops, ..Transaction::default() }).unwrap();
                }
            });
        }
    });
    println!("created {POOLS} pools of {USERS} users in {:?}", started.elapsed());
    let started = Instant::now();
    store.close().unwrap();
    println!("closed in {:?}", started.elapsed());
    let started = Instant::now();
    let store = Store::open(options).unwrap();
    println!("reopened in {:?}, {} MiB resident", started.elapsed(), resident_bytes() >> 20);
    let mut slowest = Duration::ZERO;
    for i in 0..POOLS {
        let begun = Instant::now();
        let user = UserRef::Alias { attr: "username".into(), value: "user7".into() };
        let pool = store.pool(&format!("pool{i}")).unwrap();
        assert!(pool.snapshot().user(&user, &Select::All).unwrap().is_some());
        slowest = slowest.max(begun.elapsed());
        drop(pool);
    }
    println!("slowest first read {slowest:?}, {} MiB resident", resident_bytes() >> 20);
    assert_eq!(store.pool_names().len(), POOLS);
    assert!(resident_bytes() < RESIDENT_MAX_BYTES, "{} MiB resident", resident_bytes() >> 20);
}

/// What makes one pool and its users: a request for each.
fn requests_of(pool: usize, out: &mut Vec<u8>) {
    let pool = format!("pool{pool}");
    out.extend(encode(&["POOL.CREATE", &pool]));
    for user in 0..USERS {
        let (username, email) = (format!("user{user}"), format!("user{user}@example.com"));
        out.extend(encode(&["USER.CREATE", &pool, "username", &username, "email", &email]));
    }
}

#[test]
fn ten_thousand_pools_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    let server = Server::start(&data, &["--log", "warn"]);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for first in 0..CONNECTIONS {
            let mut client = Client::connect(server.address()).unwrap();
            scope.spawn(move || {
                let pools: Vec<usize> = (first..POOLS).step_by(CONNECTIONS).collect();
                for some in pools.chunks(POOLS_AT_ONCE) {
                    let mut out = Vec::new();
                    some.iter().for_each(|pool| requests_of(*pool, &mut out));
                    client.send(&out).unwrap();
                    for _ in 0..some.len() * (USERS + 1) {
                        let reply = client.read().unwrap();
                        assert_eq!(reply.error(), None);
                    }
                }
            });
        }
    });
    let created = started.elapsed();
    let started = Instant::now();
    server.stop();
    let closed = started.elapsed();
    let started = Instant::now();
    let server = Server::start(&data, &["--log", "warn"]);
    let reopened = started.elapsed();
    println!(
        "served: {POOLS} pools of {USERS} users created in {created:?}, closed in {closed:?}, reopened in {reopened:?}"
    );
    let mut client = Client::connect(server.address()).unwrap();
    let mut slowest = Duration::ZERO;
    for pool in 0..POOLS {
        let (pool, begun) = (format!("pool{pool}"), Instant::now());
        let user = client.call(&["USER.GET", &pool, "email=user7@example.com", "username"]).unwrap();
        slowest = slowest.max(begun.elapsed());
        assert_eq!(user.at("username"), Some(&Reply::Text("user7".into())));
    }
    let (resident, peak) = server.memory_bytes();
    println!("served: slowest first read {slowest:?}, {} MiB resident, at most {} MiB", resident >> 20, peak >> 20);
    assert!(resident < RESIDENT_MAX_BYTES, "{} MiB resident", resident >> 20);
    server.stop();
}
