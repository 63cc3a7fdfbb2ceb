//! What one reader pins: memtables and runs that together hold every transaction up to a Seq.
//!
//! Invariants:
//! 1. Everything with a Seq up to the visible one is in the runs or in one of the memtables.
//! 2. The runs hold the newest state as of `flushed_seq` only: a reader pins a Seq at or after it.
//! 3. A version never changes; a commit goes into its active memtable, above the visible Seq.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::Guard;
use bytes::Bytes;
use stoa_format::Seq;

use super::runs::Runs;
use super::schema::Schema;
use crate::memtable::Memtable;

/// The name of the document that holds the schema.
pub const SCHEMA_DOCUMENT: &str = "schema";
/// What stands before the name of a configuration document.
pub const CONFIG_PREFIX: &str = "config/";

/// A pool's documents: schema and configuration.
#[derive(Clone)]
pub struct Documents {
    /// The transaction that changed them last, or a later one of its batch: who pins an earlier Seq must not see them.
    pub seq: Seq,
    /// The schema, parsed.
    pub schema: Arc<Schema>,
    /// All documents by name, encoded.
    pub by_name: BTreeMap<Box<str>, Bytes>,
}

/// One version of a pool.
#[derive(Clone)]
pub struct Version {
    /// Takes commits.
    pub active: Arc<Memtable>,
    /// Being flushed; newest first.
    pub frozen: Vec<Arc<Memtable>>,
    /// What has been flushed.
    pub runs: Arc<Runs>,
    /// The documents as of the newest commit.
    pub documents: Arc<Documents>,
}

impl Version {
    /// The memtables, newest first.
    pub fn memtables(&self) -> impl DoubleEndedIterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.active).chain(&self.frozen)
    }

    /// What the runs hold.
    pub fn flushed_seq(&self) -> Seq {
        self.runs.flushed_seq
    }
}

/// A version that stays for as long as this is held. Mostly it is held by a note of this thread's, not by a count that all
/// threads would write to.
pub(crate) struct PinnedVersion(Guard<Arc<Version>>);

impl Deref for PinnedVersion {
    type Target = Arc<Version>;

    fn deref(&self) -> &Arc<Version> {
        &self.0
    }
}

impl From<Guard<Arc<Version>>> for PinnedVersion {
    fn from(version: Guard<Arc<Version>>) -> Self {
        Self(version)
    }
}

impl From<Arc<Version>> for PinnedVersion {
    fn from(version: Arc<Version>) -> Self {
        Self(Guard::from_inner(version))
    }
}

impl Clone for PinnedVersion {
    fn clone(&self) -> Self {
        Arc::clone(self).into()
    }
}
