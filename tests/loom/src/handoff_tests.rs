//! The hand-off of commits. A call that is missed shows as a deadlock, which loom reports.

use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::handoff::Handoff;
use crate::{Signal, every_order};

/// What was led, in order, and how often the commit thread said that nothing is.
#[derive(Default)]
struct Led {
    requests: Vec<u32>,
    idle_count: u32,
}

type Request = (u32, Arc<Signal>);
type Requests = Handoff<Request, Led>;

fn lead(led: &mut Led, batch: &mut Vec<Request>) {
    for (number, done) in batch.drain(..) {
        led.requests.push(number);
        done.give();
    }
}

fn commit_thread(handoff: &Arc<Requests>) -> thread::JoinHandle<()> {
    let handoff = Arc::clone(handoff);
    thread::spawn(move || handoff.run(lead, |led| led.idle_count += 1))
}

/// Commits and waits, as a writer does that leads if it can.
fn commit(handoff: &Requests, number: u32) {
    let done = Arc::new(Signal::new());
    handoff.push((number, Arc::clone(&done)));
    handoff.lead_now(lead);
    done.wait();
}

#[test]
fn every_request_is_led_once_and_its_writer_answered() {
    every_order(|| {
        let handoff: Arc<Requests> = Arc::new(Handoff::new(Led::default()));
        let thread = commit_thread(&handoff);
        let other = Arc::clone(&handoff);
        let writer = thread::spawn(move || commit(&other, 1));
        commit(&handoff, 2);
        writer.join().unwrap();
        handoff.stop();
        thread.join().unwrap();
        let mut led = handoff.led().requests.clone();
        led.sort_unstable();
        assert_eq!(led, [1, 2]);
    });
}

/// Whoever holds the log for something else leads nothing: what came meanwhile is the commit thread's.
#[test]
fn what_comes_while_the_log_is_held_is_led_too() {
    every_order(|| {
        let handoff: Arc<Requests> = Arc::new(Handoff::new(Led::default()));
        let thread = commit_thread(&handoff);
        let other = Arc::clone(&handoff);
        let holder = thread::spawn(move || {
            let led = other.led();
            // Others have their turn while it is held.
            thread::yield_now();
            drop(led);
        });
        commit(&handoff, 1);
        holder.join().unwrap();
        handoff.stop();
        thread.join().unwrap();
        assert_eq!(handoff.led().requests, [1]);
    });
}

/// A request that nobody waits for is led before the commit thread ends, in the order of pushing.
#[test]
fn what_is_queued_at_the_stop_is_led_in_order() {
    every_order(|| {
        let handoff: Arc<Requests> = Arc::new(Handoff::new(Led::default()));
        let thread = commit_thread(&handoff);
        for number in [1, 2] {
            handoff.push((number, Arc::new(Signal::new())));
            handoff.wake();
        }
        handoff.stop();
        thread.join().unwrap();
        assert_eq!(handoff.led().requests, [1, 2]);
    });
}

/// The commit thread is called only if it waits: no request is left to a call that was not made.
#[test]
fn who_leaves_a_request_to_the_commit_thread_is_answered() {
    every_order(|| {
        let handoff: Arc<Requests> = Arc::new(Handoff::new(Led::default()));
        let thread = commit_thread(&handoff);
        let leave = |handoff: &Requests, number| {
            let done = Arc::new(Signal::new());
            handoff.push((number, Arc::clone(&done)));
            handoff.wake();
            done
        };
        let other = Arc::clone(&handoff);
        let writer = thread::spawn(move || leave(&other, 1).wait());
        leave(&handoff, 2).wait();
        writer.join().unwrap();
        handoff.stop();
        thread.join().unwrap();
        assert_eq!(handoff.led().requests.len(), 2);
    });
}

#[test]
fn the_commit_thread_hears_the_stop_whenever_it_comes() {
    every_order(|| {
        let handoff: Arc<Requests> = Arc::new(Handoff::new(Led::default()));
        let thread = commit_thread(&handoff);
        handoff.stop();
        thread.join().unwrap();
    });
}

/// One leader at a time: two that lead see all that the other has done, or nothing of it.
#[test]
fn leaders_take_turns() {
    every_order(|| {
        let handoff: Arc<Handoff<u32, Vec<u32>>> = Arc::new(Handoff::new(Vec::new()));
        let seen = Arc::new(Mutex::new(0));
        let lead = |seen: Arc<Mutex<usize>>| {
            move |led: &mut Vec<u32>, batch: &mut Vec<u32>| {
                led.append(batch);
                *seen.lock().unwrap() += led.len();
            }
        };
        let (other, other_seen) = (Arc::clone(&handoff), Arc::clone(&seen));
        let thread = thread::spawn(move || {
            other.push(1);
            other.lead_in_turn(lead(other_seen));
        });
        handoff.push(2);
        handoff.lead_in_turn(lead(Arc::clone(&seen)));
        thread.join().unwrap();
        assert_eq!(handoff.led().len(), 2);
        // Two batches of one, or one of two.
        assert!([2, 3].contains(&*seen.lock().unwrap()));
    });
}
