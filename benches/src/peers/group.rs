//! Group commit in the application: whoever comes while a batch syncs goes with the next one.
//!
//! One of those who wait leads: it takes all that has gathered, writes it in one transaction, tells the others, and hands
//! the lead to one who came meanwhile. Each waits on a lock of its own, so that no crowd is woken for one.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, anyhow};

/// Gathers changes of kind `T`, each of which is answered with an `R`.
pub(super) struct Group<T, R> {
    queue: Mutex<Queue<T, R>>,
}

struct Queue<T, R> {
    waiting: Vec<(T, Arc<Seat<R>>)>,
    is_led: bool,
}

struct Seat<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
}

enum State<R> {
    Waits,
    Leads,
    Done(Result<R>),
}

impl<T, R> Group<T, R> {
    pub(super) fn new() -> Self {
        Self { queue: Mutex::new(Queue { waiting: Vec::new(), is_led: false }) }
    }

    /// Has `item` written by `write`, alone or with others; `write` answers each item in order, durably.
    pub(super) fn commit(&self, item: T, write: impl FnOnce(Vec<T>) -> Result<Vec<R>>) -> Result<R> {
        let seat = Arc::new(Seat { state: Mutex::new(State::Waits), changed: Condvar::new() });
        let leads = {
            let mut queue = lock(&self.queue);
            queue.waiting.push((item, Arc::clone(&seat)));
            !std::mem::replace(&mut queue.is_led, true)
        };
        if !leads {
            let state = lock(&seat.state);
            let waits = |state: &mut State<R>| matches!(state, State::Waits);
            let mut state = seat.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
            if let State::Done(result) = std::mem::replace(&mut *state, State::Waits) {
                return result;
            }
        }
        let batch = std::mem::take(&mut lock(&self.queue).waiting);
        let (items, seats): (Vec<T>, Vec<_>) = batch.into_iter().unzip();
        let results = write(items);
        {
            let mut queue = lock(&self.queue);
            match queue.waiting.first() {
                Some((_, next)) => next.set(State::Leads),
                None => queue.is_led = false,
            }
        }
        let mut mine = Err(anyhow!("a batch was answered in part"));
        match results {
            Ok(results) => {
                for (of, result) in seats.iter().zip(results) {
                    if Arc::ptr_eq(of, &seat) {
                        mine = Ok(result);
                    } else {
                        of.set(State::Done(Ok(result)));
                    }
                }
            }
            Err(error) => {
                for of in seats.iter().filter(|of| !Arc::ptr_eq(of, &seat)) {
                    of.set(State::Done(Err(anyhow!("the batch failed: {error:#}"))));
                }
                mine = Err(error);
            }
        }
        mine
    }
}

impl<R> Seat<R> {
    fn set(&self, state: State<R>) {
        *lock(&self.state) = state;
        self.changed.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_gets_an_answer_of_their_own() {
        let group = Group::new();
        let batches = Mutex::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (group, batches) = (&group, &batches);
                scope.spawn(move || {
                    for number in 0..500 {
                        let item = thread * 1000 + number;
                        let answer = group.commit(item, |items: Vec<u64>| {
                            *lock(batches) += 1;
                            Ok(items.into_iter().map(|item| item + 1).collect())
                        });
                        assert_eq!(answer.expect("nothing fails"), item + 1);
                    }
                });
            }
        });
        assert!(*lock(&batches) <= 4000);
        assert!(group.commit(1, |_| Err(anyhow!("no"))).is_err());
        assert_eq!(group.commit(1, Ok).expect("it goes on"), 1);
    }
}
