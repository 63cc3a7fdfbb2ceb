//! Many connections that do next to nothing.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use stoa_tests::resp::{Client, encode};

use crate::alone;
use crate::probe::{measure, measure_during};
use crate::target::{CONNECTION_BYTES, Target, may_open};

/// What an idle connection may cost in a debug build; a release build takes less.
const IDLE_BYTES: u64 = 24 << 10;

#[test]
fn ten_thousand_idle_connections_cost_little_and_the_next_is_told_so() {
    const CROWD: usize = 10_000;
    let _alone = alone();
    if !may_open(CROWD as u64 + 500) {
        return;
    }
    // The probe is one of them; idle ones are authenticated, so that nobody closes them.
    let target = Target::start("");
    let normal = measure(&target);
    let (during, crowd) = measure_during(&target, |over| {
        let mut crowd: Vec<Client> = (0..CROWD - 2).map(|_| target.admin()).collect();
        while !over.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(crowd.iter_mut().step_by(100).all(|client| client.call(&["PING"]).is_ok()));
        crowd
    });
    during.assert_near("while 10,000 connections come", normal);
    let (beside, ()) = measure_during(&target, |_| ());
    beside.assert_near("beside 10,000 idle connections", normal);
    let each = target.grown_bytes() / CROWD as u64;
    println!("an idle connection takes {each} bytes");
    assert!(each <= IDLE_BYTES, "an idle connection takes {each} bytes");
    target.assert_memory("10,000 idle connections", CROWD as u64, 0);
    let _last: Vec<Client> = (0..2).map(|_| target.admin()).collect();
    let mut refused = target.stranger();
    assert_eq!(refused.read().unwrap().error(), Some("ERR max number of clients reached"));
    assert!(refused.has_ended());
    drop(crowd);
    target.wait_until("places become free", || {
        target
            .stranger()
            .call(&["PING"])
            .is_ok_and(|reply| reply.error().is_some_and(|error| error.starts_with("NOAUTH")))
    });
    target.assert_nothing_is_lost();
}

#[test]
fn slow_senders_are_refused_in_time_and_hold_up_nobody() {
    const EACH: usize = 200;
    let _alone = alone();
    if !may_open(2_000) {
        return;
    }
    let target = Target::start("");
    let normal = measure(&target);
    let request = encode(&["USER.GET", "acme", "username=probe", "email", "nickname"]);
    let (during, ()) = measure_during(&target, |over| {
        let mut strangers: Vec<Client> = (0..EACH).map(|_| target.stranger()).collect();
        let mut admins: Vec<Client> = (0..EACH).map(|_| target.admin()).collect();
        // One byte a second each.
        for byte in request.iter().take(8) {
            for client in strangers.iter_mut().chain(&mut admins) {
                // Those that are refused already do not take it.
                let _ = client.send(&[*byte]);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        for stranger in &mut strangers {
            let refused = stranger.read().unwrap();
            assert_eq!(refused.error(), Some("NOAUTH Authentication required: none came within 4000 ms"));
            assert!(stranger.has_ended());
        }
        for admin in &mut admins {
            let refused = admin.read().unwrap();
            assert_eq!(refused.error(), Some("LIMIT a request has to arrive whole within 5000 ms"));
            assert!(admin.has_ended());
        }
        while !over.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    during.assert_near("beside 400 slow senders", normal);
    target.assert_memory("400 slow senders", 2 * EACH as u64, 0);
    target.assert_nothing_is_lost();
}

#[test]
fn who_has_not_authenticated_gets_little_memory() {
    const CROWD: usize = 3_000;
    let _alone = alone();
    if !may_open(CROWD as u64 + 500) {
        return;
    }
    let target = Target::start("");
    let normal = measure(&target);
    // As much of a request as is taken before authentication, but for its last byte.
    let mut half = b"*2\r\n$4\r\nAUTH\r\n$16300\r\n".to_vec();
    half.resize(half.len() + 16_300, b'x');
    let (during, grown_bytes) = measure_during(&target, |over| {
        let mut crowd: Vec<Client> = (0..CROWD).map(|_| target.stranger()).collect();
        for stranger in &mut crowd {
            let _ = stranger.send(&half);
        }
        let grown_bytes = target.grown_bytes();
        while !over.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        for stranger in &mut crowd {
            let refused = stranger.read().unwrap();
            assert!(refused.error().is_some_and(|error| error.starts_with("NOAUTH")), "{refused:?}");
        }
        grown_bytes
    });
    during.assert_near("beside 3,000 half requests of strangers", normal);
    let each = grown_bytes / CROWD as u64;
    println!("a stranger with half a request takes {each} bytes");
    assert!(each <= CONNECTION_BYTES, "a stranger takes {each} bytes");
    target.assert_memory("3,000 strangers", CROWD as u64, 0);
    target.assert_nothing_is_lost();
}
