//! A client that minds its own business, and how long that takes it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use stoa_tests::resp::Reply;

use crate::target::Target;

/// Whom it reads and writes.
pub const USER: &str = "probe";
/// Reads of one window, of which the 99th percentile is taken; a write stands between every ten.
const WINDOW_READS: usize = 200;
const WINDOWS: usize = 6;
/// The window that counts, from the best one.
const BEST_PERCENT: usize = 20;
/// How much slower others may become: the promise.
const SLOWER_MAX: u32 = 5;
/// Faster than this is not told from noise on a machine that also runs the attackers, and whatever
/// else is being tested: a normal time below counts as this.
const NOISE: Duration = Duration::from_millis(4);
/// A write waits for a disk that others use too.
const NOISE_WRITE: Duration = Duration::from_millis(20);
/// Between two requests.
const PAUSE: Duration = Duration::from_millis(1);

/// 99th percentiles, of the best windows: noise of the machine only ever adds, comes and goes, and a
/// server that neglects a client does so in every window.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    read: Duration,
    write: Duration,
}

/// Times during an attack, and of a server that is not attacked, at the same time.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    during: Times,
    control: Times,
}

impl Beside {
    /// Prints how much slower others are than they normally are; with `STOA_ABUSE_TIMES` set, asserts that it
    /// is hardly at all.
    pub fn assert_near(self, what: &str, normal: Times) {
        let Self { during, control } = self;
        for (kind, now, before, control, noise) in [
            ("reads", during.read, normal.read, control.read, NOISE),
            ("writes", during.write, normal.write, control.write, NOISE_WRITE),
        ] {
            println!("{what}: p99 of {kind} {now:?}, before {before:?}, of another server meanwhile {control:?}");
            let bound = before.max(control).max(noise) * SLOWER_MAX;
            // Where other tests and compilers run too, a late answer tells nothing of the server.
            let is_judged = std::env::var_os("STOA_ABUSE_TIMES").is_some();
            assert!(now <= bound || !is_judged, "{what}: p99 of {kind} is {now:?}, bound {bound:?}");
        }
    }
}

/// Reads and writes on a connection of its own, and takes the time.
pub fn measure(target: &Target) -> Times {
    let mut client = target.admin();
    let user = format!("username={USER}");
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for _ in 0..WINDOWS {
        let (mut read, mut write) = (Vec::new(), Vec::new());
        for i in 0..WINDOW_READS {
            if i % 10 == 0 {
                let value = target.acknowledged.load(Relaxed) + 1;
                let started = Instant::now();
                let reply = client.call(&["USER.SET", "acme", &user, "nickname", &value.to_string()]).unwrap();
                write.push(started.elapsed());
                assert!(matches!(reply.at("seq"), Some(Reply::Number(_))), "{reply:?}");
                target.acknowledged.store(value, Relaxed);
            }
            let started = Instant::now();
            let reply = client.call(&["USER.GET", "acme", &user, "email"]).unwrap();
            read.push(started.elapsed());
            assert_eq!(reply.at("email").map(Reply::text), Some("probe@example.com"), "{reply:?}");
            std::thread::sleep(PAUSE);
        }
        if std::env::var_os("STOA_PROBE_PRINT").is_some() {
            println!(
                "{:?} {:?} {:?}",
                percentile(&mut read, 50),
                percentile(&mut read, 99),
                percentile(&mut write, 99)
            );
        }
        reads.push(percentile(&mut read, 99));
        writes.push(percentile(&mut write, 99));
    }
    Times { read: percentile(&mut reads, BEST_PERCENT), write: percentile(&mut writes, BEST_PERCENT) }
}

/// The same while `attack` goes on, on a thread that gives way to others, until it is told that it is
/// over. What is normal meanwhile says another server on the same machine, which nobody attacks.
pub fn measure_during<T: Send>(target: &Target, attack: impl FnOnce(&AtomicBool) -> T + Send) -> (Beside, T) {
    let control = Target::start("");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let attack = scope.spawn(|| {
            give_way();
            attack(&over)
        });
        // The attack is well under way then.
        std::thread::sleep(Duration::from_millis(500));
        let control = scope.spawn(|| measure(&control));
        let during = catch_unwind(AssertUnwindSafe(|| measure(target)));
        let control = control.join().unwrap();
        over.store(true, Relaxed);
        let done = attack.join().unwrap();
        let during = during.unwrap_or_else(|panic| resume_unwind(panic));
        (Beside { during, control }, done)
    })
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// This thread, and those that it starts, give way to the others of this process.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 5);
}
