//! A machine just before one of its steps, and all that losing power there can leave.

use super::crash::{self, Crash, Keep, Tear};
use super::random::Chance;
use super::tree::{Change, Tree};
use super::{Machine, SimDisk};

/// What disks write as one, in bytes.
const SECTORS_BYTES: [u64; 3] = [512, 4096, 16384];
/// A sector under way can only be spoilt together with what shares it, which the log rules out up to its block.
const NOISY_SECTORS_BYTES: [u64; 2] = [512, 4096];

/// A machine as it was before a step (or now), with what was synced and what was not. Cheap to keep: the pages
/// are shared.
#[derive(Debug, Clone)]
pub struct Moment {
    step: u64,
    tree: Tree,
    now_ms: u64,
    monotonic_ns: u64,
}

impl Moment {
    pub(super) fn of(machine: &Machine) -> Self {
        Self {
            step: machine.step_count,
            tree: machine.tree.clone(),
            now_ms: machine.now_ms,
            monotonic_ns: machine.monotonic_ns,
        }
    }

    /// How many steps had been done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// How many changes no sync had covered.
    pub fn pending_count(&self) -> usize {
        self.tree.pending.len()
    }

    /// The machine as it comes up after losing power at this moment, as by [`SimDisk::crash`]; its randomness is
    /// decided by what the disk holds, so that the same image goes on in the same way.
    #[must_use]
    pub fn crash(&self, how: Crash) -> SimDisk {
        let tree = crash::crash(&self.tree, how);
        let seed = tree.digest() as u64;
        SimDisk::with_tree(tree, seed, self.now_ms, self.monotonic_ns)
    }

    /// The crashes to try: of the unsynced changes none, all, each alone, all but each, each write torn in each
    /// way, alone and with all others; and `random_count` times a random choice of them, whole, torn, out of
    /// order, and with noise in what is torn away. The same for the same moment and seed.
    pub fn ways(&self, random_count: u64, seed: u64) -> Vec<Crash> {
        let mut chance = Chance::new(seed ^ self.step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut ways = vec![Crash::whole(Keep::None)];
        if self.tree.pending.is_empty() {
            return ways;
        }
        ways.push(Crash::whole(Keep::All));
        for (i, change) in self.tree.pending.iter().enumerate() {
            ways.extend([Crash::whole(Keep::One(i)), Crash::whole(Keep::AllBut(i))]);
            let Some((from, to)) = written(change) else { continue };
            for sector_bytes in SECTORS_BYTES {
                // What lies in one sector survives or not: that was tried.
                if from / sector_bytes != to / sector_bytes {
                    ways.push(Crash::torn(Keep::One(i), sector_bytes, chance.next()));
                    ways.push(Crash::torn(Keep::AllBut(i), sector_bytes, chance.next()));
                }
            }
            for sector_bytes in NOISY_SECTORS_BYTES {
                ways.push(Crash::noisy(Keep::AllBut(i), sector_bytes, chance.next()));
            }
        }
        for n in 0..random_count as usize {
            let mut keep = || chance.next();
            let (subset, torn, shuffled, noisy) =
                (Keep::Random(keep()), Keep::Random(keep()), Keep::Shuffled(keep()), Keep::Random(keep()));
            ways.push(Crash::whole(subset));
            ways.push(Crash::torn(torn, SECTORS_BYTES[n % 3], chance.next()));
            let tear = Tear { sector_bytes: SECTORS_BYTES[(n + 1) % 3], seed: chance.next(), noise: false };
            ways.push(Crash { keep: shuffled, tear: chance.coin().then_some(tear) });
            ways.push(Crash::noisy(noisy, NOISY_SECTORS_BYTES[n % 2], chance.next()));
        }
        ways
    }
}

/// The first and last byte that a change writes, if it is a write.
fn written(change: &Change) -> Option<(u64, u64)> {
    let (offset, len) = match change {
        Change::Write { offset, bytes, .. } => (*offset, bytes.len() as u64),
        Change::Zero { offset, len, .. } => (*offset, *len),
        _ => return None,
    };
    (len > 0).then(|| (offset, offset + len - 1))
}
