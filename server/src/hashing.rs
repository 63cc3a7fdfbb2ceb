//! Threads of their own for password hashing: bounded in number and in what may wait, each with one
//! arena of memory that is used again and again. A slow hash holds up nobody but who asked for it.

use std::thread;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use stoa_engine::password::{Arena, Argon2Params, Caps, HashError, hash_new};
use zeroize::Zeroizing;

use crate::config::HashingConfig;
use crate::refusal::{Refusal, Result};

/// Gets an arena, or the reason why it is not run.
type Job = Box<dyn FnOnce(Result<&mut Arena>) + Send>;

/// The hashing threads; they end when this is dropped.
pub(crate) struct Hashing {
    jobs: Sender<Job>,
    params: Argon2Params,
}

impl Hashing {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(config: &HashingConfig) -> std::io::Result<Self> {
        let (jobs, waiting) = bounded::<Job>(config.queue);
        let threads = match config.threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        for number in 0..threads {
            let waiting = waiting.clone();
            thread::Builder::new().name(format!("hash-{number}")).spawn(move || work(&waiting))?;
        }
        let params = Argon2Params { m_kib: config.argon2_memory_kib, t: config.argon2_passes, p: config.argon2_lanes };
        Ok(Self { jobs, params })
    }

    /// Runs the job on one of the threads; at once, with the refusal `BUSY`, when too many wait.
    pub(crate) fn run(&self, job: impl FnOnce(Result<&mut Arena>) + Send + 'static) {
        match self.jobs.try_send(Box::new(job)) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => {
                let sentence = "too many password checks are waiting; nothing was done, try again later";
                job(Err(Refusal::new("BUSY", sentence)));
            }
            Err(TrySendError::Disconnected(job)) => {
                job(Err(Refusal::new("TRYAGAIN", "the server is stopping; nothing was done")));
            }
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.jobs.len()
    }

    /// The parameters of new hashes.
    pub(crate) fn params(&self) -> Argon2Params {
        self.params
    }
}

/// How much the hashing threads give way to others where cores are short, in steps of `nice`: a read
/// then takes microseconds beside a check of tens of milliseconds.
const NICENESS: i32 = 5;

fn work(waiting: &Receiver<Job>) {
    // On Linux this concerns the calling thread alone; elsewhere it would be the whole process.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICENESS);
    let mut arena = Arena::new();
    while let Ok(job) = waiting.recv() {
        // A job that panics answers nobody, which its connection reports; the thread goes on.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(Ok(&mut arena))));
        if outcome.is_err() {
            tracing::error!("a password job panicked");
            arena = Arena::new();
        }
    }
}

/// The stored form of a new password.
///
/// # Errors
/// `LIMIT` where the password is too long.
pub(crate) fn stored_form(secret: &[u8], params: &Argon2Params, arena: &mut Arena) -> Result<Box<str>> {
    let mut salt = [0u8; 16];
    getrandom::fill(&mut salt).map_err(|_| Refusal::new("TRYAGAIN", "the system gives no random bytes"))?;
    hash_new(secret, salt, params, arena).map(String::into_boxed_str).map_err(refusal)
}

/// A new password on its way to its stored form.
pub(crate) struct NewSecret {
    /// As it was sent.
    pub text: Zeroizing<Vec<u8>>,
    /// Hashes that it may not match.
    pub former: Vec<Box<str>>,
}

impl NewSecret {
    /// The stored form.
    ///
    /// # Errors
    /// `REUSED` for a password that was used before, `LIMIT` where it is too long.
    pub(crate) fn stored_form(&self, params: &Argon2Params, arena: &mut Arena) -> Result<Box<str>> {
        refuse_reused(&self.text, &self.former, arena)?;
        stored_form(&self.text, params, arena)
    }
}

/// Refuses a password that matches one of these hashes.
///
/// # Errors
/// `REUSED`
pub(crate) fn refuse_reused(secret: &[u8], former: &[Box<str>], arena: &mut Arena) -> Result<()> {
    for hash in former {
        // One that can no longer be checked stands in nobody's way.
        let Ok(hash) = stoa_engine::password::parse(hash, &Caps::default()) else { continue };
        if hash.verify(secret, arena).unwrap_or(false) {
            return Err(Refusal::new("REUSED", "this pool's policy does not take a password that was used lately"));
        }
    }
    Ok(())
}

/// What a hash that is not taken answers.
pub(crate) fn refusal(error: HashError) -> Refusal {
    match error {
        HashError::TooCostly(_) => Refusal::limit(error.to_string()),
        _ => Refusal::invalid(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_busy_and_a_panic_ends_no_thread() {
        let config = HashingConfig { threads: 1, queue: 1, ..HashingConfig::default() };
        let hashing = Hashing::start(&config).unwrap();
        let (running, started) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        hashing.run(move |_| {
            running.send(()).unwrap();
            released.recv().unwrap();
            panic!("on purpose");
        });
        started.recv().unwrap();
        let (done, finished) = std::sync::mpsc::channel();
        hashing.run(move |arena| done.send(arena.is_ok()).unwrap());
        assert_eq!(hashing.waiting(), 1);
        let (refuse, refused) = std::sync::mpsc::channel();
        hashing.run(move |arena| refuse.send(arena.err().unwrap().word()).unwrap());
        assert_eq!(refused.recv().unwrap(), "BUSY");
        release.send(()).unwrap();
        assert!(finished.recv().unwrap());
    }
}
