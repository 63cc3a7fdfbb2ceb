//! A store's own threads: one that leads commits, one that prepares again what was beaten, one for
//! background work.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Shared;
use crate::commit::Pipeline;
use crate::pool::open::{OpenPool, lock};
use crate::wal::Spare;

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The threads, if the store has them.
#[derive(Default)]
pub(super) struct Threads {
    retry: Mutex<Option<Sender<Job>>>,
    background: Mutex<Option<Sender<Job>>>,
    flushes: Mutex<Option<Sender<Job>>>,
    leisure: Mutex<Option<Sender<Job>>>,
    retirement: Mutex<Option<Sender<Job>>>,
    /// What waits for the end of a commit, where there are no threads.
    deferred: Mutex<VecDeque<Job>>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    /// Starts them.
    pub(super) fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
        let mut handles = Vec::new();
        let places = [
            ("stoa-retry", &shared.threads.retry),
            ("stoa-background", &shared.threads.background),
            ("stoa-flush", &shared.threads.flushes),
            ("stoa-retirement", &shared.threads.retirement),
        ];
        for (name, place) in places {
            let (send, receive) = channel::<Job>();
            *lock(place) = Some(send);
            handles.push(std::thread::Builder::new().name(name.into()).spawn(move || run_jobs(&receive))?);
        }
        let (send, receive) = channel::<Job>();
        *lock(&shared.threads.leisure) = Some(send);
        let weak: Weak<Shared> = Arc::downgrade(shared);
        let leisure = move || run_jobs_and_erase(&receive, &weak);
        handles.push(std::thread::Builder::new().name("stoa-leisure".into()).spawn(leisure)?);
        let weak: Weak<Shared> = Arc::downgrade(shared);
        handles.push(std::thread::Builder::new().name("stoa-commit".into()).spawn(move || {
            if let Some(shared) = weak.upgrade() {
                shared.pipeline.run(&shared);
            }
        })?);
        *lock(&shared.threads.handles) = handles;
        Ok(())
    }

    /// Ends them, after what is queued.
    pub(super) fn stop(&self, pipeline: &Pipeline) {
        // What waits holds the store itself: it would never go.
        let waiting = std::mem::take(&mut *lock(&self.deferred));
        drop(waiting);
        drop(lock(&self.retirement).take());
        drop(lock(&self.leisure).take());
        drop(lock(&self.flushes).take());
        drop(lock(&self.background).take());
        drop(lock(&self.retry).take());
        pipeline.stop();
        for handle in std::mem::take(&mut *lock(&self.handles)) {
            // A thread that closes the store itself does not wait for itself.
            if handle.thread().id() != std::thread::current().id() {
                let _ = handle.join();
            }
        }
    }
}

fn run_jobs(jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        job();
    }
}

/// The same, and erases what is due now and then.
fn run_jobs_and_erase(jobs: &Receiver<Job>, shared: &Weak<Shared>) {
    let now_ms = || shared.upgrade().map_or(0, |shared| shared.io.monotonic_ns() / 1_000_000);
    let every_ms = shared.upgrade().map_or(u64::MAX, |shared| shared.erasure_look_ms());
    let mut looked_ms = now_ms();
    loop {
        let left_ms = every_ms.saturating_sub(now_ms().saturating_sub(looked_ms));
        match jobs.recv_timeout(Duration::from_millis(left_ms)) {
            Ok(job) => job(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if now_ms().saturating_sub(looked_ms) >= every_ms {
            if let Some(shared) = shared.upgrade() {
                shared.erase_due();
            }
            looked_ms = now_ms();
        }
    }
}

impl Shared {
    pub(crate) fn has_threads(&self) -> bool {
        lock(&self.threads.retry).is_some()
    }

    /// Runs a job on the thread for what was beaten, or here if there is none.
    pub(crate) fn retry(&self, job: Job) {
        send(&self.threads.retry, job);
    }

    /// Runs a job on the background thread, or here if there is none.
    pub(crate) fn background(&self, job: Job) {
        send(&self.threads.background, job);
    }

    /// Runs a flush on the thread for such, or here if there is none.
    pub(super) fn on_flush_thread(&self, job: Job) {
        send(&self.threads.flushes, job);
    }

    /// Runs a flush on the thread for such or, if there is none, at the end of the commit that is
    /// under way: it needs the log.
    pub(crate) fn later(&self, job: Job) {
        match self.has_threads() {
            true => self.on_flush_thread(job),
            false => lock(&self.threads.deferred).push_back(job),
        }
    }

    /// Runs a job that may take minutes on the thread for such, or here if there is none.
    pub(crate) fn at_leisure(&self, job: Job) {
        send(&self.threads.leisure, job);
    }

    /// Runs a job on the thread that lets the log move on, or here if there is none.
    pub(super) fn on_retirement_thread(&self, job: Job) {
        send(&self.threads.retirement, job);
    }

    /// Runs what was put off till the end of a commit.
    pub(crate) fn run_deferred(&self) {
        loop {
            let job = lock(&self.threads.deferred).pop_front();
            match job {
                Some(job) => job(),
                None => return,
            }
        }
    }

    /// Makes the next segment ahead, off the commit path.
    pub(crate) fn make_spare(&self, bytes: u64) {
        if !self.has_threads() {
            return;
        }
        let (io, dir) = (Arc::clone(&self.io), self.wal_dir());
        let Some(shared) = self.this.upgrade() else { return };
        if shared.making_spare.swap(true, std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        self.background(Box::new(move || {
            // Where that fails, the next segment is made when it is needed, and that says why it cannot be.
            match Spare::make(&*io, &dir, bytes) {
                // The disk was full meanwhile: what the reserve gave back is for others.
                Ok(spare) if shared.reserve.is_given_back() => drop(spare.discard(&*io)),
                Ok(spare) => {
                    shared.pipeline.log().put_spare(spare);
                    shared.reserve.grow(&*io, &shared.data, bytes);
                }
                Err(_) => {}
            }
            shared.making_spare.store(false, std::sync::atomic::Ordering::Relaxed);
        }));
    }

    /// Looks after a pool that has just committed: flushes it when its memtable is full.
    pub(crate) fn after_commit(&self, pool: &Arc<OpenPool>) {
        if pool.version.load().active.size_bytes() > self.limits.memtable_bytes {
            self.want_flush(pool);
        }
    }
}

fn send(place: &Mutex<Option<Sender<Job>>>, job: Job) {
    let sender = lock(place).clone();
    match sender {
        Some(sender) => {
            if let Err(unsent) = sender.send(job) {
                (unsent.0)();
            }
        }
        None => job(),
    }
}
