//! A storm of wrong passwords, of connections and of users.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use stoa_tests::resp::{Client, Reply, encode};

use crate::alone;
use crate::probe::{give_way, measure, measure_during};
use crate::target::Target;

/// Two hashing threads with 19 MiB each, twice: one is made while the other is given back.
const ARENAS_BYTES: u64 = 4 * (19 << 20);
const ATTACKED: usize = 20;

/// Wrong secrets of the connection itself: after some the connection is closed, and made again.
fn guess_secrets(target: &Target, over: &AtomicBool, guesses: &AtomicUsize) {
    while !over.load(Relaxed) {
        let Ok(mut client) = Client::connect(target.server.address()) else { continue };
        while let Ok(reply) = client.call(&["AUTH", "admin", "wrong"]) {
            assert!(reply.error().is_some_and(|error| error.starts_with("WRONGPASS")), "{reply:?}");
            guesses.fetch_add(1, Relaxed);
        }
    }
}

/// Wrong passwords of users, known and unknown, a pipeline at a time.
fn guess_passwords(target: &Target, over: &AtomicBool, guesses: &AtomicUsize) {
    let mut client = target.admin();
    let mut i = 0;
    while !over.load(Relaxed) {
        let mut pipeline = Vec::new();
        for _ in 0..50 {
            i += 1;
            let user = format!("username=user{}", i % (2 * ATTACKED));
            pipeline.extend_from_slice(&encode(&["CRED.VERIFY", "acme", &user, "wrong"]));
        }
        client.send(&pipeline).unwrap();
        for _ in 0..50 {
            let reply = client.read().unwrap();
            let refused = reply.at("verified") == Some(&Reply::Number(0));
            let busy = reply.error().is_some_and(|error| error.starts_with("BUSY"));
            assert!(refused || busy, "{reply:?}");
            guesses.fetch_add(1, Relaxed);
        }
    }
}

#[test]
fn a_storm_of_wrong_passwords_locks_users_and_holds_up_nobody() {
    let _alone = alone();
    let target = Target::start("");
    let mut admin = target.admin();
    for i in 0..ATTACKED {
        let made = admin.call(&["USER.CREATE", "acme", "username", &format!("user{i}"), "PASSWORD", "right"]).unwrap();
        assert!(made.at("sub").is_some(), "{made:?}");
    }
    admin.call(&["USER.CREATE", "acme", "username", "calm", "PASSWORD", "right"]).unwrap();
    // Locks outlast the test.
    let lockout = r#"{"max_attempts": 5, "base_delay_ms": 900000, "max_delay_ms": 900000}"#;
    assert!(admin.call(&["POOL.CONFIG", "acme", "SET", "lockout", lockout]).unwrap().at("seq").is_some());
    let normal = measure(&target);
    let (secrets, passwords) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (during, calm) = measure_during(&target, |over| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    give_way();
                    guess_secrets(&target, over, &secrets);
                });
                scope.spawn(|| {
                    give_way();
                    guess_passwords(&target, over, &passwords);
                });
            }
            // Somebody who is not attacked signs in meanwhile; BUSY says to try again.
            let mut client = target.admin();
            let mut signed_in = 0;
            while !over.load(Relaxed) {
                let reply = client.call(&["CRED.VERIFY", "acme", "username=calm", "right"]).unwrap();
                match reply.error() {
                    Some(error) => assert!(error.starts_with("BUSY"), "{error}"),
                    None => {
                        assert_eq!(reply.at("verified"), Some(&Reply::Number(1)), "{reply:?}");
                        signed_in += 1;
                    }
                }
            }
            signed_in
        })
    });
    let (secrets, passwords) = (secrets.into_inner(), passwords.into_inner());
    println!("{secrets} secrets and {passwords} passwords were guessed; {calm} sign-ins beside");
    assert!(secrets > 100 && passwords > 100 && calm > 0, "{secrets} {passwords} {calm}");
    during.assert_near("beside a storm of wrong passwords", normal);
    target.assert_memory("a storm of wrong passwords", 20, ARENAS_BYTES);
    // BUSY counts nothing; after five wrong ones at the latest, the right one does not help either.
    for _ in 0..5 {
        admin.call(&["CRED.VERIFY", "acme", "username=user1", "wrong"]).unwrap();
    }
    let reply = admin.call(&["CRED.VERIFY", "acme", "username=user1", "right"]).unwrap();
    assert_eq!(
        (reply.at("verified"), reply.at("reason")),
        (Some(&Reply::Number(0)), Some(&Reply::Text("locked".into())))
    );
    // Failures crowd nothing out of the audit log: equal ones are counted together.
    let Reply::Array(entries) = admin.call(&["AUDIT", "COUNT", "1000"]).unwrap() else { panic!("no entries") };
    assert!(entries.len() < 100, "{} entries", entries.len());
    target.assert_nothing_is_lost();
}
