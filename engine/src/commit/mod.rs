//! The one write path. Every change of every pool goes through [`Pipeline::lead`], which reads top
//! to bottom as the steps happen: check against what is newer, number, encode, seal, append and
//! sync, apply, publish, answer.
//!
//! Invariants:
//! 1. One leader at a time: whoever holds the log. A lone writer leads on its own thread.
//! 2. A frame is everything that one pool commits in one batch.
//! 3. `applied ≤ synced`: a transaction reaches a memtable only once it is durable, so a failed
//!    sync leaves nothing to undo. The conflict table bridges the time in between.
//! 4. The leader reads no page: what a transaction rests on was read by its writer, who names it.

pub(crate) mod conflicts;
mod handoff;
#[cfg(test)]
mod handoff_tests;
mod promise;
#[cfg(test)]
mod promise_tests;
pub(crate) mod sequence;

use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use stoa_format::Seq;
use stoa_format::wal::InnerShell;

use crate::error::{Error, ErrorKind, Result};
use crate::pool::draft::{Draft, Draught, Prepared};
use crate::pool::open::{OpenPool, PoolFrame, lock};
use crate::pool::request::{Committed, Op, Transaction};
use crate::pool::snapshot::Snapshot;
use crate::store::Shared;
use crate::store::catalogue::Catalogue;
use crate::wal::{Log, Room};

use handoff::Handoff;
use promise::promise;
use sequence::{Frame, sequence};

/// A draft that was beaten this often is prepared by the leader itself, who cannot be beaten.
const BEATEN_MAX: u32 = 4;

/// Whose transaction it is.
#[derive(Clone)]
pub(crate) enum Target {
    /// A pool's.
    Pool(Arc<OpenPool>),
    /// The store's own: pools, access control.
    Catalogue,
}

/// How a request ended.
pub(crate) enum Reply {
    /// It is durable and visible.
    Committed(Committed),
    /// Something that it rests on has changed: prepare it again.
    Beaten,
    /// It failed.
    Failed(Error),
}

type Done = Box<dyn FnOnce(Reply) + Send>;

/// A transaction on its way.
pub(crate) enum Work {
    /// Prepared by its writer.
    Prepared(Prepared),
    /// To be prepared by the leader.
    Unprepared(Prepare),
}

/// Prepares a transaction on the state that it is given.
pub(crate) type Prepare = Box<dyn FnOnce(&Snapshot) -> Result<Draught> + Send>;

struct Request {
    target: Target,
    work: Work,
    /// It is carried out on a full disk too.
    frees_room: bool,
    done: Done,
}

/// The queue of transactions and the log behind it.
pub(crate) struct Pipeline {
    handoff: Handoff<Request, Log>,
}

impl Pipeline {
    pub(crate) fn new(log: Log) -> Self {
        Self { handoff: Handoff::new(log) }
    }

    /// The log, for what is not a commit: retirement, sealing, facts about it.
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.handoff.led()
    }

    /// Whether somebody holds the log.
    fn is_led(&self) -> bool {
        self.handoff.is_led()
    }

    /// Puts a request into the queue. Some thread leads it: this one by [`Pipeline::lead_now`], or
    /// the commit thread once it is woken.
    fn enqueue(&self, target: Target, work: Work, frees_room: bool, done: Done) {
        self.handoff.push(Request { target, work, frees_room, done });
    }

    /// Leads what is queued, if nobody else does.
    fn lead_now(&self, shared: &Shared) {
        match shared.has_threads() {
            true => self.handoff.lead_now(|log, batch| self.lead(shared, log, batch)),
            false => self.handoff.lead_all_now(|log, batch| self.lead(shared, log, batch)),
        }
    }

    /// The commit thread: leads what others leave, and seals the log when it is idle.
    pub(crate) fn run(&self, shared: &Shared) {
        // A failed seal fails the log itself, which says so to the next writer.
        self.handoff.run(|log, batch| self.lead(shared, log, batch), |log| drop(log.seal()));
    }

    /// Wakes the commit thread for the last time.
    pub(crate) fn stop(&self) {
        self.handoff.stop();
    }

    /// Commits one batch, and empties it.
    fn lead(&self, shared: &Shared, log: &mut Log, batch: &mut Vec<Request>) {
        let unprepared: Vec<_> = batch.extract_if(.., |request| matches!(request.work, Work::Unprepared(_))).collect();
        self.commit_batch(shared, log, batch);
        // Each of these sees everything before it, so that nothing can beat it.
        for request in unprepared {
            if let Some(request) = prepare_in_turn(request) {
                self.commit_batch(shared, log, &mut vec![request]);
            }
        }
    }

    fn commit_batch(&self, shared: &Shared, log: &mut Log, batch: &mut Vec<Request>) {
        if batch.is_empty() {
            return;
        }
        self.ensure_room(shared, log, batch);
        let requests = batch.drain(..).filter_map(|request| match request.work {
            Work::Prepared(prepared) => Some((request.target, prepared, request.done)),
            Work::Unprepared(_) => None,
        });
        let (mut frames, beaten) = sequence(shared, requests);
        if !frames.is_empty() {
            match log.append(frames.iter().map(|frame| &frame.body[..])) {
                Ok(places) => {
                    for (frame, place) in frames.iter_mut().zip(places) {
                        finish_frame(shared, frame, place);
                    }
                    self.wants_spare(shared, log);
                    shared.watch_log(log.segments().len());
                }
                Err(error) => {
                    let error = settle_failure(shared, log, &frames, error);
                    let answers = frames.into_iter().flat_map(|frame| frame.answers);
                    answers.for_each(|(_, done)| done(Reply::Failed(error.clone())));
                    beaten.into_iter().for_each(|done| done(Reply::Failed(error.clone())));
                    return;
                }
            }
        }
        for frame in frames {
            for (committed, done) in frame.answers {
                done(Reply::Committed(committed));
            }
        }
        beaten.into_iter().for_each(|done| done(Reply::Beaten));
    }

    /// Sees to it that the log can take the batch. On a full disk only what frees room stays in it, on the
    /// reserve; the rest is refused.
    fn ensure_room(&self, shared: &Shared, log: &mut Log, batch: &mut Vec<Request>) {
        let bound = |batch: &[Request]| batch.iter().map(Request::bytes_max).sum::<usize>() as u64;
        let mut ensured = Ok(());
        if !shared.reserve.is_given_back() {
            ensured = log.ensure_room(bound(batch), Room::Plenty);
            match &ensured {
                Ok(()) => return,
                Err(error) if error.kind() == ErrorKind::NoSpace => drop(shared.give_back_reserve()),
                Err(_) => {}
            }
        }
        if shared.reserve.is_given_back() {
            let refused: Vec<_> = batch.extract_if(.., |request| !request.frees_room).collect();
            if !refused.is_empty() {
                let error = shared.no_room();
                refused.into_iter().for_each(|request| (request.done)(Reply::Failed(error.clone())));
            }
            ensured = log.ensure_room(bound(batch), Room::Tight);
        }
        if let Err(error) = ensured {
            batch.drain(..).for_each(|request| (request.done)(Reply::Failed(error.clone())));
        }
    }

    fn wants_spare(&self, shared: &Shared, log: &Log) {
        if let Some(bytes) = log.wants_spare()
            && !shared.reserve.is_given_back()
        {
            shared.make_spare(bytes);
        }
    }
}

/// What a reply comes to for whoever does not try again.
fn finished(reply: Reply) -> Result<Committed> {
    match reply {
        Reply::Committed(committed) => Ok(committed),
        Reply::Failed(error) => Err(error),
        Reply::Beaten => Err(Error::new(ErrorKind::TryAgain, "the pool is changing: try again")),
    }
}

impl Request {
    /// No more than this goes to the log for it.
    fn bytes_max(&self) -> usize {
        /// Shells, nonce, tag, lengths and alignment.
        const OVERHEAD_BYTES: usize = 256;
        match &self.work {
            Work::Prepared(prepared) => prepared.body.len() + OVERHEAD_BYTES,
            Work::Unprepared(_) => OVERHEAD_BYTES,
        }
    }
}

/// What a failed append means for those who wait. If the disk was full and the log could be cut before the
/// batch, nothing was written: the frames' numbers are given again.
fn settle_failure(shared: &Shared, log: &mut Log, frames: &[Frame], error: Error) -> Error {
    if error.kind() != ErrorKind::NoSpace {
        return error;
    }
    let has_room = shared.give_back_reserve();
    if let Err(in_doubt) = log.cut_torn() {
        return in_doubt;
    }
    frames.iter().for_each(|frame| frame.take_back(shared));
    if has_room { shared.no_room() } else { error }
}

/// Prepares a transaction on the newest state, under the leader's lock.
fn prepare_in_turn(request: Request) -> Option<Request> {
    let Request { target, work, frees_room, done } = request;
    let (Target::Pool(pool), Work::Unprepared(prepare)) = (&target, work) else { return None };
    match prepare(&pool.snapshot()) {
        Ok(Draught::Write(prepared)) => Some(Request { target, work: Work::Prepared(prepared), frees_room, done }),
        Ok(Draught::Answer(committed)) => {
            done(Reply::Committed(committed));
            None
        }
        Err(error) => {
            done(Reply::Failed(error));
            None
        }
    }
}

/// The leader's way to prepare a transaction.
fn in_turn(transaction: Transaction) -> Work {
    Work::Unprepared(Box::new(move |snapshot| Draft::prepare(snapshot, &transaction, &mut Vec::new())))
}

/// Applies a durable frame and makes it visible.
fn finish_frame(shared: &Shared, frame: &mut Frame, place: crate::wal::FramePlace) {
    let last_seq = Seq(frame.first_seq.0 + frame.answers.len() as u64 - 1);
    let plain = Bytes::from(std::mem::take(&mut frame.plain));
    match &frame.target {
        Target::Pool(pool) => {
            lock(&pool.frames).push_back(PoolFrame { place, first_seq: frame.first_seq, last_seq });
            let applied = pool.apply(frame.first_seq, &plain);
            assert!(applied.is_ok(), "what this leader encoded decodes");
            if let Ok((inner, _)) = InnerShell::decode(&frame.body) {
                *lock(&pool.head) = (last_seq, inner.chain);
            }
            pool.publish(last_seq);
            shared.after_commit(pool);
        }
        Target::Catalogue => {
            let applied = lock(&shared.catalogue).apply(frame.first_seq, &plain);
            assert!(applied.is_ok(), "what this leader encoded decodes");
        }
    }
}

impl Shared {
    /// Commits a transaction and waits until it is durable and visible.
    pub(crate) fn commit(&self, pool: &Arc<OpenPool>, transaction: Transaction) -> Result<Committed> {
        if matches!(transaction.ops[..], [Op::UserSetAll { .. }]) {
            self.admit(pool)?;
            self.check_room()?;
            if let Some(committed) = crate::bulk::set_all(pool, &transaction)? {
                return Ok(committed);
            }
        }
        let mut reserved = Vec::new();
        let frees_room = transaction.frees_room();
        for _ in 0..BEATEN_MAX {
            self.admit(pool)?;
            let snapshot = pool.snapshot();
            let prepared = match Draft::prepare(&snapshot, &transaction, &mut reserved)? {
                Draught::Answer(committed) => return Ok(committed),
                Draught::Write(prepared) => prepared,
            };
            if !frees_room {
                self.check_room()?;
            }
            let reply = self.send_and_wait(Target::Pool(Arc::clone(pool)), Work::Prepared(prepared), frees_room);
            self.run_deferred();
            match reply {
                Reply::Committed(committed) => return Ok(committed),
                Reply::Failed(error) => return Err(error),
                Reply::Beaten => {}
            }
        }
        finished(self.send_and_wait(Target::Pool(Arc::clone(pool)), in_turn(transaction), frees_room))
    }

    /// Prepares a transaction on this thread and answers from the commit thread.
    pub(crate) fn submit(
        self: &Arc<Self>,
        pool: &Arc<OpenPool>,
        transaction: Transaction,
        done: Box<dyn FnOnce(Result<Committed>) + Send>,
    ) {
        let pool = Arc::clone(pool);
        if matches!(transaction.ops[..], [Op::UserSetAll { .. }]) {
            // It may write whole columns, and waits for their sync.
            let shared = Arc::clone(self);
            return self.background(Box::new(move || done(shared.commit(&pool, transaction))));
        }
        self.submit_again(pool, transaction, Vec::new(), 0, done);
    }

    fn submit_again(
        self: &Arc<Self>,
        pool: Arc<OpenPool>,
        transaction: Transaction,
        mut reserved: Vec<stoa_format::Ordinal>,
        beaten: u32,
        done: Box<dyn FnOnce(Result<Committed>) + Send>,
    ) {
        let target = Target::Pool(Arc::clone(&pool));
        let frees_room = transaction.frees_room();
        if beaten >= BEATEN_MAX {
            let work = in_turn(transaction);
            self.pipeline.enqueue(target, work, frees_room, Box::new(move |reply| done(finished(reply))));
            self.wake_commit();
            return;
        }
        if let Err(error) = self.admit(&pool) {
            return done(Err(error));
        }
        let prepared = match Draft::prepare(&pool.snapshot(), &transaction, &mut reserved) {
            Ok(Draught::Write(prepared)) => prepared,
            Ok(Draught::Answer(committed)) => return done(Ok(committed)),
            Err(error) => return done(Err(error)),
        };
        if let (false, Err(error)) = (frees_room, self.check_room()) {
            return done(Err(error));
        }
        let shared = Arc::clone(self);
        let reply: Done = Box::new(move |reply| match reply {
            Reply::Beaten => {
                // Not on the commit thread: preparing may read pages.
                let again = Arc::clone(&shared);
                shared.retry(Box::new(move || again.submit_again(pool, transaction, reserved, beaten + 1, done)));
            }
            reply => done(finished(reply)),
        });
        self.pipeline.enqueue(target, Work::Prepared(prepared), frees_room, reply);
        self.wake_commit();
    }

    /// Commits what was prepared otherwise than from a transaction; `None` if it was beaten.
    pub(crate) fn commit_prepared(&self, pool: &Arc<OpenPool>, prepared: Prepared) -> Result<Option<Committed>> {
        match self.send_and_wait(Target::Pool(Arc::clone(pool)), Work::Prepared(prepared), false) {
            Reply::Committed(committed) => Ok(Some(committed)),
            Reply::Failed(error) => Err(error),
            Reply::Beaten => Ok(None),
        }
    }

    /// Has the leader prepare a transaction and commit it, which nothing can beat.
    pub(crate) fn commit_in_turn(&self, pool: &Arc<OpenPool>, prepare: Prepare) -> Result<Committed> {
        finished(self.send_and_wait(Target::Pool(Arc::clone(pool)), Work::Unprepared(prepare), false))
    }

    /// Commits a change of the catalogue and waits until it is durable. On a full disk too: flushes need it.
    pub(crate) fn commit_catalogue(&self, body: Vec<u8>) -> Result<Seq> {
        let prepared = Catalogue::prepared(body);
        match self.send_and_wait(Target::Catalogue, Work::Prepared(prepared), true) {
            Reply::Committed(committed) => Ok(committed.seq),
            Reply::Failed(error) => Err(error),
            Reply::Beaten => Err(Error::new(ErrorKind::TryAgain, "the catalogue is changing: try again")),
        }
    }

    fn send_and_wait(&self, target: Target, work: Work, frees_room: bool) -> Reply {
        let (promise, promised) = promise();
        let done = Box::new(move |reply| promise.keep(reply));
        self.pipeline.enqueue(target, work, frees_room, done);
        self.pipeline.lead_now(self);
        if !self.has_threads() {
            // Nobody else would take it up.
            self.pipeline.handoff.lead_in_turn(|log, batch| self.pipeline.lead(self, log, batch));
        }
        promised
            .wait()
            .unwrap_or_else(|| Reply::Failed(Error::new(ErrorKind::InDoubt, "the store was closed meanwhile")))
    }

    fn wake_commit(&self) {
        match self.has_threads() {
            true => self.pipeline.handoff.wake(),
            false => {
                self.pipeline.lead_now(self);
                // An answer that writes again comes here while the log is held: its outer call does it.
                if !self.pipeline.is_led() {
                    self.run_deferred();
                }
            }
        }
    }
}
