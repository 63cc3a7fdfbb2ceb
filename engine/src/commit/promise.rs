//! One answer for one thread, which waits for it: a channel of one message, whose receiver is known to the sender.
//!
//! Invariants, tried in every order of events by `tests/loom`:
//! 1. Whoever waits gets what was given, or learns that nothing will be: a promise that is dropped is broken.
//! 2. Whoever gives calls the operating system only if the other sleeps already.

use std::marker::PhantomData;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Acquire, Release};

use crate::sync::{Arc, AtomicBool, Mutex, Thread, current, park};

struct Answer<T> {
    given: Mutex<Option<T>>,
    /// Given, or never will be.
    over: AtomicBool,
    waiter: Thread,
}

/// To be kept once, from any thread.
pub(crate) struct Promise<T>(Arc<Answer<T>>);

/// What the thread that asked for the promise waits for.
pub(crate) struct Promised<T> {
    answer: Arc<Answer<T>>,
    /// Not to be sent: the thread that made it is the one that is woken.
    here: PhantomData<*const ()>,
}

/// A promise to this thread.
pub(crate) fn promise<T>() -> (Promise<T>, Promised<T>) {
    let answer = Arc::new(Answer { given: Mutex::new(None), over: AtomicBool::new(false), waiter: current() });
    (Promise(Arc::clone(&answer)), Promised { answer, here: PhantomData })
}

impl<T> Promise<T> {
    /// Gives the answer.
    pub(crate) fn keep(self, answer: T) {
        *self.0.given.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.0.over.store(true, Release);
        self.0.waiter.unpark();
    }
}

impl<T> Promised<T> {
    /// Waits for the answer; `None` if the promise was dropped.
    pub(crate) fn wait(self) -> Option<T> {
        // Others may have called this thread for something else.
        while !self.answer.over.load(Acquire) {
            park();
        }
        self.answer.given.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
