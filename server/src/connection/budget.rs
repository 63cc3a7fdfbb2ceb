//! What the buffers of all connections may hold together.
//!
//! 1. A connection counts what it holds beyond [`FREE_BYTES`]: requests that are not complete, queued
//!    or under way, and replies that wait to be read. So all connections together hold at most
//!    `limits.buffers_bytes`, and `FREE_BYTES` each, and what one turn of each adds before it counts.
//! 2. Who takes the sum beyond the bound has the connection that holds most closed, which may be
//!    itself: a client that sends and never reads costs others nothing.
//! 3. What is given up counts as free at once, so that one excess closes no more than it must.
//! 4. Replies that wait hold up their connection before they come to that: it carries out no more while they
//!    take more than half of what is free ([`Budget::share_bytes`]). So only requests that have not arrived whole
//!    can fill the bound. (Dynamic thresholds: Choudhury and Hahne, "Dynamic queue length thresholds for
//!    shared-memory packet switches", 1998.)

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::clients::{ClientEntry, Clients};

/// What every connection may hold without counting.
pub(super) const FREE_BYTES: usize = 32 << 10;

/// The sum of what all connections hold.
#[derive(Default)]
pub(crate) struct Budget {
    used_bytes: AtomicUsize,
}

impl Budget {
    /// What the connections hold beyond what is free, in bytes.
    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Relaxed)
    }

    /// How much of replies, and of requests under way, one connection may hold now before it is held up.
    pub(super) fn share_bytes(&self, max_bytes: usize) -> usize {
        FREE_BYTES + max_bytes.saturating_sub(self.used_bytes()) / 2
    }

    /// Counts what a connection holds now. Answers how many connections were told to close for it.
    pub(super) fn count(&self, client: &ClientEntry, held_bytes: usize, max_bytes: usize, clients: &Clients) -> usize {
        let holds = held_bytes.saturating_sub(FREE_BYTES);
        let held = client.held_bytes();
        // Added to the sum before it can be given up, and taken off once it is not held: the sum is
        // never below what is held.
        let added = holds.saturating_sub(held);
        let mut used = self.used_bytes.fetch_add(added, Relaxed) + added;
        if !client.hold(held, holds) {
            self.used_bytes.fetch_sub(added, Relaxed);
            return 0;
        }
        if holds <= held {
            self.used_bytes.fetch_sub(held - holds, Relaxed);
            return 0;
        }
        if used <= max_bytes {
            return 0;
        }
        let mut all = clients.all();
        all.sort_by_key(|client| std::cmp::Reverse(client.held_bytes()));
        let mut closed = 0;
        for largest in all {
            if used <= max_bytes {
                break;
            }
            let given_up = largest.evict();
            used = self.used_bytes.fetch_sub(given_up, Relaxed) - given_up;
            closed += usize::from(given_up > 0);
        }
        closed
    }

    /// Forgets a connection that has ended.
    pub(super) fn forget(&self, client: &ClientEntry) {
        self.used_bytes.fetch_sub(client.evict(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_holds_most_goes_and_nothing_is_counted_twice() {
        let (budget, clients) = (Budget::default(), Clients::default());
        let enter = || clients.enter("a:1".into(), "b:2".into(), 10).unwrap();
        let (small, large, last) = (enter(), enter(), enter());
        let count = |client: &ClientEntry, held: usize| budget.count(client, FREE_BYTES + held, 1000, &clients);
        assert_eq!(budget.count(&small, FREE_BYTES, 0, &clients), 0);
        assert_eq!((count(&small, 300), count(&large, 600), budget.used_bytes()), (0, 0, 900));
        // Shrinking and growing again counts once.
        assert_eq!((count(&large, 500), count(&large, 600), budget.used_bytes()), (0, 0, 900));
        assert_eq!((count(&last, 200), budget.used_bytes()), (1, 500));
        assert!(large.is_evicted() && !small.is_evicted() && !last.is_evicted());
        // What it still holds while it ends is not counted again.
        assert_eq!((count(&large, 600), budget.used_bytes()), (0, 500));
        budget.forget(&large);
        budget.forget(&small);
        assert_eq!(budget.used_bytes(), 200);
        assert_eq!(budget.share_bytes(1000), FREE_BYTES + 400);
        // One that is too large by itself goes itself.
        assert_eq!((count(&last, 1001), last.is_evicted(), budget.used_bytes()), (1, true, 0));
        budget.forget(&last);
        assert_eq!(budget.used_bytes(), 0);
    }
}
