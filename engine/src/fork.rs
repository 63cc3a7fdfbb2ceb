//! Two pieces of work at once.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, scope};

/// Does both, `other` on a thread of its own; one after the other where the system has no thread to give. A panic of
/// either is the caller's.
pub(crate) fn join<A: Send, B>(other: impl FnOnce() -> A + Send, own: impl FnOnce() -> B) -> (A, B) {
    let other = Mutex::new(Some(other));
    let take = || other.lock().unwrap_or_else(PoisonError::into_inner).take();
    let run = || take().map(|other| other());
    scope(|scope| {
        let forked = Builder::new().name("stoa-fork".into()).spawn_scoped(scope, run);
        let own = own();
        let other = match forked {
            Ok(forked) => forked.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => run(),
        };
        (other.expect("nobody else takes it"), own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_done_and_both_answers_come() {
        let mut text = String::from("a");
        let numbers = vec![1, 2, 3];
        let (sum, len) = join(
            move || numbers.into_iter().sum::<i32>(),
            || {
                text.push('b');
                text.len()
            },
        );
        assert_eq!((sum, len, &*text), (6, 2, "ab"));
    }

    #[test]
    fn a_panic_is_the_callers() {
        let panicked = std::panic::catch_unwind(|| join(|| panic!("other"), || 1));
        assert!(panicked.is_err());
    }
}
