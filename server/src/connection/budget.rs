//! What the buffers of all connections may hold together.
//!
//! 1. A connection counts what it holds beyond [`FREE_BYTES`]: requests that are not complete, queued
//!    or under way, and replies that wait to be read. So all connections together hold at most
//!    `limits.buffers_bytes`, and `FREE_BYTES` each, and what one turn of each adds before it counts.
//! 2. Who takes the sum beyond the bound has the connection that holds most closed, which may be
//!    itself: a client that sends and never reads costs others nothing.
//! 3. Requests grow only while there is room: a connection counts the larger buffer, and the one that it
//!    is copied from, before it takes it, and waits for those that were told to close to give theirs back
//!    ([`Budget::room`]). What was told to close and is not given back yet is no reason to close more.
//! 4. Replies that wait hold up their connection before they come to that: it carries out no more while they
//!    take more than half of what is free ([`Budget::share_bytes`]). So only requests that have not arrived whole
//!    can fill the bound. (Dynamic thresholds: Choudhury and Hahne, "Dynamic queue length thresholds for
//!    shared-memory packet switches", 1998.)

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::clients::{ClientEntry, Clients};

/// What every connection may hold without counting.
pub(super) const FREE_BYTES: usize = 32 << 10;

/// The sum of what all connections hold.
#[derive(Default)]
pub(crate) struct Budget {
    /// Changed under the lock of `promised_bytes`, as what each connection holds is.
    used_bytes: AtomicUsize,
    /// The part of it whose connections were told to close.
    promised_bytes: Mutex<usize>,
    given_back: Notify,
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

    /// Counts what a connection holds now, or is about to. Answers how many connections were told to close for it.
    pub(super) fn count(&self, client: &ClientEntry, held_bytes: usize, max_bytes: usize, clients: &Clients) -> usize {
        let holds = held_bytes.saturating_sub(FREE_BYTES);
        if holds == client.held_bytes() {
            return 0;
        }
        let mut promised = self.promised_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if client.is_evicted() {
            return 0;
        }
        let held = client.hold(holds);
        let used = self.used_bytes() - held + holds;
        self.used_bytes.store(used, Relaxed);
        if holds < held && used <= max_bytes {
            self.given_back.notify_waiters();
        }
        let mut closed = 0;
        if used - *promised > max_bytes {
            let mut all = clients.all();
            all.retain(|client| !client.is_evicted());
            all.sort_by_key(|client| std::cmp::Reverse(client.held_bytes()));
            for largest in all {
                if used - *promised <= max_bytes {
                    break;
                }
                *promised += largest.evict();
                closed += 1;
            }
        }
        closed
    }

    /// Nothing if the connections hold no more than they may; otherwise, what is ready once something was given back.
    pub(super) fn room(&self, max_bytes: usize) -> Option<Pin<Box<Notified<'_>>>> {
        let mut given_back = Box::pin(self.given_back.notified());
        given_back.as_mut().enable();
        (self.used_bytes() > max_bytes).then_some(given_back)
    }

    /// Forgets what a connection held that has given it back, and counts it no more.
    pub(super) fn forget(&self, client: &ClientEntry) {
        let mut promised = self.promised_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if !client.is_evicted() {
            *promised += client.evict();
        }
        let held = client.hold(0);
        *promised -= held;
        self.used_bytes.store(self.used_bytes() - held, Relaxed);
        self.given_back.notify_waiters();
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
        assert_eq!((count(&last, 200), budget.used_bytes()), (1, 1100));
        assert!(large.is_evicted() && !small.is_evicted() && !last.is_evicted());
        // What it still holds while it ends is counted, and closes nobody else, but nobody may grow beside it.
        assert_eq!((count(&large, 700), count(&last, 201), budget.used_bytes()), (0, 0, 1101));
        assert!(budget.room(1100).is_some() && budget.room(1101).is_none());
        budget.forget(&large);
        assert_eq!(budget.used_bytes(), 501);
        assert!(budget.room(1000).is_none());
        budget.forget(&small);
        budget.forget(&small);
        assert_eq!(budget.used_bytes(), 201);
        assert_eq!(budget.share_bytes(1001), FREE_BYTES + 400);
        // One that is too large by itself goes itself.
        assert_eq!((count(&last, 1001), last.is_evicted(), budget.used_bytes()), (1, true, 1001));
        budget.forget(&last);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[tokio::test]
    async fn who_waits_for_room_is_told() {
        let (budget, clients) = (Budget::default(), Clients::default());
        let enter = || clients.enter("a:1".into(), "b:2".into(), 10).unwrap();
        let (large, small) = (enter(), enter());
        let count = |client: &ClientEntry, held: usize| budget.count(client, FREE_BYTES + held, 1000, &clients);
        assert_eq!((count(&large, 900), count(&small, 200)), (0, 1));
        let room = budget.room(1000).unwrap();
        budget.forget(&large);
        tokio::select! {
            biased;
            () = room => {}
            () = std::future::ready(()) => panic!("it was not told"),
        }
        assert!(budget.room(1000).is_none());
    }
}
