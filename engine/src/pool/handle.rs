//! What callers hold of a pool.

use std::ops::Deref;
use std::sync::Arc;

use stoa_format::{PoolId, Seq};

use super::check::Check;
use super::open::OpenPool;
use super::request::{Committed, Transaction, UserRef};
use super::snapshot::Snapshot;
use super::view::Verdict;
use crate::error::Result;

/// A pool of an open store.
///
/// It counts the states that were read through it and are still held, and a clone counts its own: threads that read much
/// do best with a clone each, as none of them then writes what another one reads.
pub struct Pool {
    pub(crate) open: Arc<Hold>,
}

/// Keeps a pool open, for one handle and the states that were read through it.
pub(crate) struct Hold(Arc<OpenPool>);

impl Hold {
    pub(crate) fn new(pool: &Arc<OpenPool>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(pool)))
    }

    /// The newest durable state.
    pub(crate) fn snapshot(self: &Arc<Self>) -> Snapshot {
        let (seq, version) = self.0.newest();
        Snapshot { pool: Arc::clone(self), version, seq }
    }
}

impl Deref for Hold {
    type Target = Arc<OpenPool>;

    fn deref(&self) -> &Arc<OpenPool> {
        &self.0
    }
}

impl Clone for Pool {
    fn clone(&self) -> Self {
        Self::new(&self.open)
    }
}

impl Pool {
    pub(crate) fn new(pool: &Arc<OpenPool>) -> Self {
        Self { open: Hold::new(pool) }
    }

    /// The pool's UUID.
    pub fn id(&self) -> PoolId {
        self.open.id
    }

    /// The pool's name.
    pub fn name(&self) -> &str {
        &self.open.name
    }

    /// The newest visible Seq.
    pub fn seq(&self) -> Seq {
        self.open.visible.seq()
    }

    /// The newest state.
    pub fn snapshot(&self) -> Snapshot {
        self.open.snapshot()
    }

    /// The newest state, if it is at or after `min_seq`.
    ///
    /// # Errors
    /// `STALE` if it is not.
    pub fn snapshot_at(&self, min_seq: Option<Seq>) -> Result<Snapshot> {
        self.snapshot().at_least(min_seq)
    }

    /// Commits a transaction; it is durable and visible when this returns.
    ///
    /// # Errors
    /// What refuses it, with the operation's place; `INDOUBT` if the log failed meanwhile.
    pub fn commit(&self, transaction: Transaction) -> Result<Committed> {
        self.open.shared.commit(&self.open, transaction)
    }

    /// Prepares a transaction on this thread; `done` is called once it is durable and visible, or
    /// refused. Never waits for a sync.
    pub fn submit(&self, transaction: Transaction, done: Box<dyn FnOnce(Result<Committed>) + Send>) {
        self.open.shared.submit(&self.open, transaction, done);
    }

    /// Begins a password check: reads the user and decides the lock-out, before any hashing.
    ///
    /// # Errors
    /// `INVALID` for a selector that is none, `DAMAGED`, `IOERROR`.
    pub fn check_begin(&self, actor: Arc<str>, user: &UserRef, attempt: Option<&str>) -> Result<Check> {
        Check::begin(&self.open, actor, user, attempt)
    }

    /// Ends a password check: writes down the outcome, and calls `done` with the verdict once that
    /// is durable. `upgraded` replaces the stored hash; `change` sets a new password if the old one
    /// matched.
    pub fn check_finish(
        &self,
        check: Check,
        matched: bool,
        upgraded: Option<Box<str>>,
        change: Option<Box<str>>,
        done: Box<dyn FnOnce(Result<Verdict>) + Send>,
    ) {
        check.finish(matched, upgraded, change, done);
    }

    /// Writes everything committed so far into files; returns when that is durable.
    ///
    /// # Errors
    /// `IOERROR`, `NOSPACE`, `DAMAGED`; nothing is lost then.
    pub fn flush(&self) -> Result<()> {
        if self.open.flush()? {
            self.open.shared.want_compaction(&self.open);
        }
        Ok(())
    }

    /// Calls `wake` once `seq` is visible; at once if it is.
    pub fn wait_for_seq(&self, seq: Seq, wake: Box<dyn FnOnce() + Send>) {
        self.open.visible.wait_for(seq, wake);
    }
}
