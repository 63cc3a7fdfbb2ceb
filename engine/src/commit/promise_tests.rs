use super::promise::promise;

#[test]
fn what_is_given_is_got_from_any_thread_and_what_is_dropped_is_not_waited_for() {
    let (here, promised) = promise();
    here.keep(1);
    assert_eq!(promised.wait(), Some(1));
    for answer in [Some(2), None].into_iter().cycle().take(200) {
        // This thread may have been called for something else before.
        std::thread::current().unpark();
        let (there, promised) = promise();
        let thread = std::thread::spawn(move || match answer {
            Some(answer) => there.keep(answer),
            None => drop(there),
        });
        assert_eq!(promised.wait(), answer);
        thread.join().unwrap();
    }
}
