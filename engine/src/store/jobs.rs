//! Maintenance that is asked for: it runs in the background, one of a kind in a pool at a time, and
//! says how far it is.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::compaction::{Aim, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::Pool;
use crate::pool::open::{OpenPool, lock};

/// So many ended jobs of a pool are remembered.
const ENDED_MAX: usize = 64;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Writes what is in memory into files.
    Flush,
    /// Merges files until there are as few as there can be.
    Compact,
    /// Checks everything that is stored.
    Verify,
    /// Writes anew what is sealed under an old data key.
    Reseal,
}

impl JobKind {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Compact => "compact",
            Self::Verify => "verify",
            Self::Reseal => "reseal",
        }
    }
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It waits for its turn or is under way.
    Running,
    /// It has ended well.
    Done,
    /// It has failed; the message says why.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl JobState {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A job as it is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number, unique in the pool while the pool is open.
    pub id: u64,
    /// What it does, e.g. `compact`.
    pub kind: &'static str,
    /// Where it is.
    pub state: JobState,
    /// How much of `total` is done: bytes written, or pages checked.
    pub done: u64,
    /// How much there is to do, as far as that is known.
    pub total: u64,
    /// How it ended, if there is something to say.
    pub message: Option<String>,
}

/// A pool's jobs.
#[derive(Default)]
pub(crate) struct Jobs {
    next_id: u64,
    /// Oldest first.
    list: Vec<Entry>,
}

struct Entry {
    id: u64,
    kind: JobKind,
    state: JobState,
    message: Option<String>,
    progress: Arc<Progress>,
}

impl Entry {
    fn view(&self) -> Job {
        let done = self.progress.done.load(Relaxed);
        Job {
            id: self.id,
            kind: self.kind.name(),
            state: self.state,
            done,
            total: self.progress.total.load(Relaxed).max(done),
            message: self.message.clone(),
        }
    }
}

impl Pool {
    /// Starts a job in the background. If one of this kind runs, that is the answer.
    ///
    /// # Errors
    /// None now; kept for kinds that a pool can refuse.
    pub fn start_job(&self, kind: JobKind) -> Result<Job> {
        let (id, progress) = {
            let mut jobs = lock(&self.open.jobs);
            if let Some(running) = jobs.list.iter().find(|job| job.kind == kind && job.state == JobState::Running) {
                return Ok(running.view());
            }
            jobs.next_id += 1;
            let (id, progress) = (jobs.next_id, Arc::new(Progress::default()));
            let entry = Entry { id, kind, state: JobState::Running, message: None, progress: Arc::clone(&progress) };
            jobs.list.push(entry);
            let ended = jobs.list.iter().filter(|job| job.state != JobState::Running).count();
            if ended > ENDED_MAX
                && let Some(oldest) = jobs.list.iter().position(|job| job.state != JobState::Running)
            {
                jobs.list.remove(oldest);
            }
            (id, progress)
        };
        let pool = Arc::clone(&self.open);
        let work = Box::new(move || {
            let outcome = run(&pool, kind, &progress);
            end(&pool, id, outcome, progress.cancelled.load(Relaxed));
        });
        match kind {
            JobKind::Flush => self.open.shared.on_flush_thread(work),
            JobKind::Compact | JobKind::Verify | JobKind::Reseal => self.open.shared.at_leisure(work),
        }
        self.job(id).ok_or_else(no_job)
    }

    /// A job by number; `None` if there is none, or it ended long ago.
    pub fn job(&self, id: u64) -> Option<Job> {
        lock(&self.open.jobs).list.iter().find(|job| job.id == id).map(Entry::view)
    }

    /// The jobs that run, and the last that ended, oldest first.
    pub fn jobs(&self) -> Vec<Job> {
        lock(&self.open.jobs).list.iter().map(Entry::view).collect()
    }

    /// Asks a job to end; it does so at its next step. A flush cannot be ended.
    ///
    /// # Errors
    /// `INVALID` if there is no such job.
    pub fn cancel_job(&self, id: u64) -> Result<Job> {
        let jobs = lock(&self.open.jobs);
        let job = jobs.list.iter().find(|job| job.id == id).ok_or_else(no_job)?;
        if job.state == JobState::Running {
            job.progress.cancelled.store(true, Relaxed);
        }
        Ok(job.view())
    }
}

fn no_job() -> Error {
    Error::invalid("there is no such job; see JOB.LIST")
}

/// Does a job's work; answers what there is to say about it.
fn run(pool: &Arc<OpenPool>, kind: JobKind, progress: &Progress) -> Result<Option<String>> {
    match kind {
        JobKind::Flush => {
            if pool.flush()? {
                pool.shared.want_compaction(pool);
            }
            Ok(None)
        }
        JobKind::Compact => {
            pool.flush()?;
            pool.compact(Aim::Few, progress).map(|()| None)
        }
        JobKind::Reseal => {
            pool.flush()?;
            pool.compact(Aim::NewestKey, progress).map(|()| None)
        }
        JobKind::Verify => pool.verify_job(progress),
    }
}

fn end(pool: &OpenPool, id: u64, outcome: Result<Option<String>>, cancelled: bool) {
    let mut jobs = lock(&pool.jobs);
    let Some(job) = jobs.list.iter_mut().find(|job| job.id == id) else { return };
    (job.state, job.message) = match outcome {
        Ok(message) => (JobState::Done, message),
        Err(error) if cancelled && error.kind() == ErrorKind::TryAgain => (JobState::Cancelled, None),
        Err(error) => (JobState::Failed, Some(error.to_string())),
    };
    if job.state == JobState::Done {
        job.progress.total.store(job.progress.done.load(Relaxed), Relaxed);
    }
}
