//! A random workload against a plain model: reads, filters, listings at one Seq, counts and digests,
//! before and after flushes.
//!
//! The model knows nothing of ordinals, columns, indexes or deltas: a map of users and a map of groups.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

mod check;
mod plain;
mod world;

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use stoa_engine::pool::request::{NewUser, Op, Transaction};
use stoa_engine::{Pool, Store, StoreOptions};
use stoa_format::Sub;

use check::{check_digest, check_state};
use plain::{Model, SCHEMA, Step, raw, step};
use world::World;

fn run(steps: &[Step], memtable_bytes: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = StoreOptions::new(dir.path().join("DATA"));
    options.limits.memtable_bytes = memtable_bytes;
    let store = Store::open(options.clone()).unwrap();
    store.create_pool("acme", Some(SCHEMA), None).unwrap();
    let mut world =
        World { pool: store.pool("acme").unwrap(), model: Model::default(), pinned: Vec::new(), listings: Vec::new() };
    for (at, step) in steps.iter().enumerate() {
        world.take(step);
        if at % 60 == 59 {
            world.check();
        }
    }
    world.check();
    let World { model, pool, .. } = world;
    drop(pool);
    store.close().unwrap();
    // A second start: the digest comes out of the manifest and the log, and is summed anew.
    let store = Store::open(options).unwrap();
    let pool = store.pool("acme").unwrap();
    check_state(&pool.snapshot(), &model);
    check_digest(&pool, &model);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        max_shrink_iters: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/model/regressions.txt"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_engine_does_what_the_model_does(
        steps in prop::collection::vec(step(), 1..180),
        memtable_bytes in prop_oneof![Just(64 << 20), Just(4096u64)],
    ) {
        run(&steps, memtable_bytes);
    }
}

#[test]
fn the_tree_is_built_while_commits_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions::new(dir.path().join("DATA"))).unwrap();
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    let create = |pool: &Pool, name: String| {
        let new = NewUser { attrs: vec![("username".into(), raw(&name))], ..NewUser::default() };
        pool.commit(Transaction { ops: vec![Op::UserCreate(Box::new(new))], ..Transaction::default() }).unwrap();
    };
    (0..300).for_each(|i| create(&pool, format!("before{i}")));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (pool, stop) = (pool.clone(), Arc::clone(&stop));
            scope.spawn(move || {
                let mut i = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    create(&pool, format!("w{writer}-{i}"));
                    i += 1;
                }
            });
        }
        let root = pool.merkle_root().unwrap();
        assert!(root.seq.0 >= 300);
        std::thread::sleep(std::time::Duration::from_millis(50));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let incremental = pool.merkle_root().unwrap();
    let (leaves, digests): (Vec<u64>, Vec<u128>) = {
        let leaves: Vec<u64> = (0..1 << incremental.depth).collect();
        let (_, users) = pool.merkle_leaf(&leaves).unwrap();
        let sum = |users: &Vec<(Sub, u64, u128)>| users.iter().fold(0u128, |sum, user| sum.wrapping_add(user.2));
        let digests = users.iter().map(sum).collect();
        (leaves, digests)
    };
    assert_eq!(pool.merkle_nodes(incremental.depth / 4, &leaves).unwrap().1, digests);
}
