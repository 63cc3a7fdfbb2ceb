//! Crashes a workload at every step it takes, in many ways, and lets a check look at what each leaves.
//!
//! A failing check prints the one setting that replays it alone: `STOA_CRASH=step/way`. A workload that uses
//! threads takes its steps in an order of its own each time; such a failure may need several replays.

use super::{Crash, Keep, SimDisk};

/// How thorough to be.
#[derive(Debug, Clone, Copy)]
pub struct CrashPlan {
    /// Decides the disk's randomness and every coin.
    pub seed: u64,
    /// Crash at each step whose number leaves this remainder …
    pub remainder: u64,
    /// … when divided by this; 1 takes every step.
    pub stride: u64,
    /// How many random choices of surviving writes to try at each step, torn at 512 bytes, 4 KiB and 16 KiB in turn.
    pub random_count: u64,
    /// Of how many pending changes to try each alone, and each alone missing; the newest.
    pub single_count: usize,
}

impl Default for CrashPlan {
    fn default() -> Self {
        Self { seed: 1, remainder: 0, stride: 1, random_count: 6, single_count: 4 }
    }
}

impl CrashPlan {
    /// Runs `workload` on a new disk for each step, with the process stopped at it, and gives every disk that a
    /// crash there can leave to `check`, along with what the workload answered (say, what was acknowledged).
    /// Ends with a run that was not stopped. Answers how many crashes were checked.
    ///
    /// The workload sees errors from the step on and must return; it is not to panic over them.
    pub fn run<T>(&self, workload: impl Fn(&SimDisk) -> T, check: impl Fn(&SimDisk, &T)) -> u64 {
        let only = replayed();
        let mut crash_count = 0;
        for step in 0.. {
            if step % self.stride != self.remainder {
                continue;
            }
            // A replay goes straight to its step; the run to the end is one as well.
            if only.is_some_and(|(s, _)| s != step) {
                if only.is_some_and(|(s, _)| s < step) {
                    break;
                }
                continue;
            }
            let disk = SimDisk::new(self.seed);
            disk.start_trace();
            disk.stop_after(step);
            let told = workload(&disk);
            let is_last = !disk.is_stopped();
            for (way, how) in self.ways(&disk, step).into_iter().enumerate() {
                if only.is_some_and(|(_, w)| w != way) {
                    continue;
                }
                let _place = Place { disk: &disk, step, way, how };
                check(&disk.crash(how), &told);
                crash_count += 1;
            }
            if is_last {
                break;
            }
        }
        crash_count
    }

    /// The crashes to try in this state; the same for the same plan, state and step.
    fn ways(&self, disk: &SimDisk, step: u64) -> Vec<Crash> {
        let seed = |n: u64| self.seed.wrapping_mul(0x9e37_79b9).wrapping_add(step << 20).wrapping_add(n);
        let mut ways = vec![Crash::whole(Keep::None), Crash::whole(Keep::All)];
        for n in 0..self.random_count {
            let sector_bytes = [512, 4096, 16384][n as usize % 3];
            let keep = Keep::Random(seed(n));
            ways.push(match n % 2 {
                0 => Crash::torn(keep, sector_bytes, seed(n)),
                _ => Crash::noisy(keep, sector_bytes, seed(n)),
            });
        }
        let pending = disk.pending_count();
        for i in pending.saturating_sub(self.single_count)..pending {
            ways.push(Crash::whole(Keep::One(i)));
            ways.push(Crash::whole(Keep::AllBut(i)));
            ways.push(Crash::torn(Keep::AllBut(i), 512, seed(i as u64)));
        }
        ways
    }
}

/// The step and way that the environment asks for.
fn replayed() -> Option<(u64, usize)> {
    let text = std::env::var("STOA_CRASH").ok()?;
    let (step, way) = text.split_once('/')?;
    Some((step.parse().ok()?, way.parse().ok()?))
}

/// Says where a check was when it panics.
struct Place<'a> {
    disk: &'a SimDisk,
    step: u64,
    way: usize,
    how: Crash,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let trace = self.disk.trace();
            let last = &trace[trace.len().saturating_sub(12)..];
            eprintln!(
                "replay with STOA_CRASH={}/{}: {:?} after\n  {}",
                self.step,
                self.way,
                self.how,
                last.join("\n  ")
            );
        }
    }
}
