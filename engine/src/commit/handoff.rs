//! Who leads: the queue of what is to be committed, and the lock that the leader holds.
//!
//! Invariants, tried in every order of events by `tests/loom`:
//! 1. There is one leader at a time, whoever holds `led`; what was pushed is led exactly once, in
//!    the order in which it was pushed.
//! 2. Nothing stays queued: whoever pushes leads itself, or finds somebody leading and wakes the
//!    commit thread, which waits for its turn.
//! 3. The commit thread rests only once nothing was led for a while and it has said so; whoever
//!    leads while it rests wakes it, so that it says so again.
//! 4. The commit thread ends once it is told to and the queue is empty. What it waits for, and that it
//!    waits, changes under the queue's lock alone, so that it misses no call, and is called only if it waits.

use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// The commit thread says that nothing is being led when nothing was for this long.
const IDLE_AFTER: Duration = Duration::from_millis(10);
/// It then rests until somebody wakes it; this long if nobody does.
const REST: Duration = Duration::from_secs(3600);
/// Memory is kept for batches of so many requests.
const KEPT_REQUESTS: usize = 1024;

struct Queue<R> {
    requests: Vec<R>,
    /// The memory of a batch that has been led, for the one after next.
    spare: Vec<R>,
    /// The commit thread waits, and nobody has called it yet.
    waiting: bool,
    /// The commit thread has nothing to look after.
    resting: bool,
    stopped: bool,
}

/// Requests on their way to whoever leads them, with what the leader works on.
pub(crate) struct Handoff<R, L> {
    queue: Mutex<Queue<R>>,
    wake: Condvar,
    led: Mutex<L>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R, L> Handoff<R, L> {
    /// An empty queue.
    pub(crate) fn new(led: L) -> Self {
        let queue = Queue { requests: Vec::new(), spare: Vec::new(), waiting: false, resting: false, stopped: false };
        Self { queue: Mutex::new(queue), wake: Condvar::new(), led: Mutex::new(led) }
    }

    /// What the leader works on, for what needs no leading; nobody leads meanwhile.
    pub(crate) fn led(&self) -> MutexGuard<'_, L> {
        lock(&self.led)
    }

    /// Whether somebody leads.
    pub(crate) fn is_led(&self) -> bool {
        matches!(self.led.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Queues a request. Somebody has to lead it: [`Handoff::lead_now`], or the commit thread once
    /// it is woken.
    pub(crate) fn push(&self, request: R) {
        lock(&self.queue).requests.push(request);
    }

    /// Wakes the commit thread for what was pushed, unless it is awake.
    pub(crate) fn wake(&self) {
        self.call(lock(&self.queue));
    }

    /// Each call is one of the system's: only who finds it waiting makes one.
    fn call(&self, mut queue: MutexGuard<'_, Queue<R>>) {
        if std::mem::take(&mut queue.waiting) {
            drop(queue);
            self.wake.notify_one();
        }
    }

    /// Leads what is queued, if nobody else does; what comes meanwhile is the commit thread's, or others who come
    /// one after the other would keep this one from its own answer for ever. `lead` empties the batch.
    pub(crate) fn lead_now(&self, mut lead: impl FnMut(&mut L, &mut Vec<R>)) {
        if let Some(mut led) = self.try_led() {
            self.lead_batch(&mut led, &mut lead);
        }
        // What came while somebody led, and the end of a rest, are the commit thread's.
        let queue = lock(&self.queue);
        if !queue.requests.is_empty() || queue.resting {
            self.call(queue);
        }
    }

    /// Leads until nothing is queued, if nobody else does: where there is no commit thread.
    pub(crate) fn lead_all_now(&self, mut lead: impl FnMut(&mut L, &mut Vec<R>)) {
        if let Some(mut led) = self.try_led() {
            self.drain(&mut led, &mut lead);
        }
    }

    fn try_led(&self) -> Option<MutexGuard<'_, L>> {
        match self.led.try_lock() {
            Ok(led) => Some(led),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Leads whatever is queued, after whoever leads now.
    pub(crate) fn lead_in_turn(&self, mut lead: impl FnMut(&mut L, &mut Vec<R>)) {
        self.drain(&mut self.led(), &mut lead);
    }

    fn drain(&self, led: &mut L, lead: &mut impl FnMut(&mut L, &mut Vec<R>)) {
        while self.lead_batch(led, lead) {}
    }

    /// Leads what is queued; answers whether anything was.
    fn lead_batch(&self, led: &mut L, lead: &mut impl FnMut(&mut L, &mut Vec<R>)) -> bool {
        let mut queue = lock(&self.queue);
        if queue.requests.is_empty() {
            return false;
        }
        let spare = std::mem::take(&mut queue.spare);
        let mut batch = std::mem::replace(&mut queue.requests, spare);
        drop(queue);
        lead(led, &mut batch);
        batch.clear();
        batch.shrink_to(KEPT_REQUESTS);
        lock(&self.queue).spare = batch;
        true
    }

    /// The commit thread: leads what others leave, and calls `idle` when nothing was led for a while.
    pub(crate) fn run(&self, mut lead: impl FnMut(&mut L, &mut Vec<R>), mut idle: impl FnMut(&mut L)) {
        let mut is_idle = false;
        loop {
            let Some(has_waited_in_vain) = self.wait(is_idle) else { return };
            let mut led = self.led();
            self.drain(&mut led, &mut lead);
            is_idle = has_waited_in_vain;
            if is_idle {
                idle(&mut led);
            }
        }
    }

    /// Waits for something to lead; answers whether that was in vain, or nothing at the end.
    fn wait(&self, is_idle: bool) -> Option<bool> {
        let mut queue = lock(&self.queue);
        if !queue.requests.is_empty() {
            return Some(false);
        }
        if queue.stopped {
            return None;
        }
        (queue.waiting, queue.resting) = (true, is_idle);
        let timeout = if is_idle { REST } else { IDLE_AFTER };
        let (mut queue, timed_out) = match self.wake.wait_timeout(queue, timeout) {
            Ok((queue, waited)) => (queue, waited.timed_out()),
            Err(poisoned) => (poisoned.into_inner().0, false),
        };
        (queue.waiting, queue.resting) = (false, false);
        match queue.requests.is_empty() {
            true if queue.stopped => None,
            is_empty => Some(is_empty && timed_out),
        }
    }

    /// Ends the commit thread, once the queue is empty.
    pub(crate) fn stop(&self) {
        lock(&self.queue).stopped = true;
        self.wake.notify_all();
    }
}
