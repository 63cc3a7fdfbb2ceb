//! What takes time, and so is nothing for `tests/loom`.
#![allow(clippy::disallowed_methods, reason = "a test waits in real time for another thread")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::handoff::Handoff;

/// A writer that leads by itself does not leave the log unsealed: the commit thread says that all is
/// idle after every write, however long it has rested.
#[test]
fn who_leads_alone_ends_the_commit_threads_rest() {
    let handoff: Arc<Handoff<u32, Vec<u32>>> = Arc::new(Handoff::new(Vec::new()));
    let idles = Arc::new(AtomicU32::new(0));
    let (leading, counting) = (Arc::clone(&handoff), Arc::clone(&idles));
    let thread = std::thread::spawn(move || {
        leading.run(
            |led: &mut Vec<u32>, batch| led.append(batch),
            |_| {
                counting.fetch_add(1, SeqCst);
            },
        );
    });
    for number in 1..=3 {
        let patience = Instant::now() + Duration::from_secs(10);
        while idles.load(SeqCst) < number {
            assert!(Instant::now() < patience, "it rests for ever: {number}");
            std::thread::yield_now();
        }
        // Time enough to rest.
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(idles.load(SeqCst), number, "it says so once");
        handoff.push(number);
        handoff.lead_now(|led, batch| led.append(batch));
        assert_eq!(handoff.led().len(), number as usize);
    }
    handoff.stop();
    thread.join().unwrap();
}

/// A writer that leads has its own answer in the first batch: however many come meanwhile, it leads no more.
#[test]
fn who_leads_is_not_kept_by_those_who_come_meanwhile() {
    let handoff: Handoff<u32, Vec<u32>> = Handoff::new(Vec::new());
    handoff.push(0);
    handoff.lead_now(|led, batch| {
        led.append(batch);
        if led.len() < 10 {
            handoff.push(led.len() as u32);
        }
    });
    assert_eq!(*handoff.led(), [0]);
    handoff.lead_in_turn(|led, batch| led.append(batch));
    assert_eq!(*handoff.led(), [0, 1]);
}
