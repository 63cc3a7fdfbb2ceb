use super::every_order;
use super::promise::promise;

#[test]
fn a_promise_that_is_kept_wakes_whoever_waits() {
    every_order(|| {
        let (there, promised) = promise();
        let thread = loom::thread::spawn(move || there.keep(7));
        assert_eq!(promised.wait(), Some(7));
        thread.join().unwrap();
    });
}

#[test]
fn a_promise_that_is_dropped_wakes_whoever_waits() {
    every_order(|| {
        let (there, promised) = promise::<u32>();
        let thread = loom::thread::spawn(move || drop(there));
        assert_eq!(promised.wait(), None);
        thread.join().unwrap();
    });
}
