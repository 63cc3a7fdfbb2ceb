//! Ends a case that does not end by itself, with its input written down.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::allocator;

/// How often the guard looks.
const LOOK: Duration = Duration::from_millis(200);
/// A case that is still there at so many looks never ends: a minute, but for a machine that stood still meanwhile.
const LOOKS_MAX: u32 = 300;

#[derive(Debug)]
struct Watched {
    input: Vec<u8>,
    looks: u32,
    done: bool,
}

/// Watches the inputs of one target, one after the other.
#[derive(Debug)]
pub(crate) struct Guard {
    shared: Arc<(Mutex<Watched>, Condvar)>,
}

impl Guard {
    /// Begins to watch; a case that has to be ended is written to `file`.
    pub(crate) fn new(name: &'static str, file: PathBuf) -> Self {
        let watched = Watched { input: Vec::new(), looks: 0, done: false };
        let shared = Arc::new((Mutex::new(watched), Condvar::new()));
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            let (watched, wake) = &*theirs;
            let mut watched = lock(watched);
            while !watched.done {
                let reason = match (allocator::alarm(), watched.looks > LOOKS_MAX) {
                    (true, _) => Some("a case beside or this one asks for more than 2 GiB"),
                    (false, true) => Some("a case does not end"),
                    (false, false) => None,
                };
                if let Some(reason) = reason {
                    let written = std::fs::write(&file, &watched.input).is_ok();
                    eprintln!("fuzz {name}: {reason}; the input is in {} (written: {written})", file.display());
                    // Others write theirs meanwhile: who asked for the memory is not known here.
                    std::thread::sleep(LOOK * 2);
                    std::process::abort();
                }
                watched = wake.wait_timeout(watched, LOOK).unwrap_or_else(PoisonError::into_inner).0;
                watched.looks += 1;
            }
        });
        Self { shared }
    }

    /// Says which input is tried now.
    pub(crate) fn watch(&self, input: &[u8]) {
        let mut watched = lock(&self.shared.0);
        watched.input.clear();
        watched.input.extend_from_slice(input);
        watched.looks = 0;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        lock(&self.shared.0).done = true;
        self.shared.1.notify_all();
    }
}

fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}
