//! A data directory: opened and locked by one process, its log recovered, its pools found.
//!
//! Invariants:
//! 1. One process has the directory: it holds the lock on `LOCK` for life.
//! 2. Data without its key file is refused; a key is minted for an empty directory only.
//! 3. Until the log is recovered nothing is changed, so a refusal to open leaves all as it was.
//! 4. A pool costs nothing until it is used: opening reads its manifest and its frames.

pub(crate) mod catalogue;
mod compaction;
mod create;
pub(crate) mod erase;
pub(crate) mod flush;
pub(crate) mod gather;
pub(crate) mod history;
mod install;
pub(crate) mod jobs;
mod options;
mod reserve;
mod retire;
mod rotate;
mod slots;
mod strays;
mod threads;
pub mod verify;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, RwLock, Weak};

use bytes::Bytes;
use stoa_format::store::{CatalogueFile, LogDocument};
use stoa_format::{PoolId, SegmentNumber, Seq, StoreId};

use crate::commit::Pipeline;
use crate::error::{Error, ErrorKind, Result};
use crate::io::{Io, LockGuard};
use crate::keys::{KeyProvider, SealKey};
use crate::password::Decoy;
use crate::pool::Pool;
use crate::pool::open::{OpenPool, lock};
use crate::run::RunEnv;

use catalogue::{Catalogue, CatalogueChange};
pub use jobs::{Job, JobKind, JobState};
pub use options::{Limits, StoreOptions};
use reserve::Reserve;
use slots::PoolSlot;
use threads::Threads;

/// What all parts of an open store share.
pub(crate) struct Shared {
    /// Itself, for work that outlives a call.
    pub this: Weak<Shared>,
    pub io: Arc<dyn Io>,
    pub data: PathBuf,
    pub store_id: StoreId,
    pub incarnation: u64,
    pub env: Arc<RunEnv>,
    pub limits: Limits,
    pub provider: Arc<dyn KeyProvider>,
    pub pipeline: Pipeline,
    pub catalogue: Mutex<Catalogue>,
    pub store_key: Arc<SealKey>,
    pub slots: RwLock<HashMap<PoolId, Arc<PoolSlot>>>,
    pub names: RwLock<HashMap<Box<str>, PoolId>>,
    pub making_spare: AtomicBool,
    pub reserve: Reserve,
    /// The log is being shortened.
    retiring: AtomicBool,
    /// It is not tried again before this.
    retire_again_ms: AtomicU64,
    /// The pools that are open. Locked after a pool's own state.
    pub opened: Mutex<BTreeMap<PoolId, Arc<PoolSlot>>>,
    /// What a password check costs in this store at present, for users that are not there.
    pub usual_hash: Mutex<Option<Decoy>>,
    /// Dropping pools, and moving their frames, one at a time.
    changing_pools: Mutex<()>,
    /// The names of pools that are being made: many at a time, each name once.
    making_pools: Mutex<HashSet<Box<str>>>,
    threads: Threads,
    closed: AtomicBool,
    checkpoints: AtomicU64,
    /// One checkpoint at a time: an older one never takes the place of a newer.
    checkpointing: Mutex<()>,
    /// The segments before this one are given up, or are about to be.
    log_from: AtomicU64,
    /// Given up when the store is closed, though a pool's handle may live on.
    guard: Mutex<Option<LockGuard>>,
}

/// An open store. Cheap to clone; closed by [`Store::close`] or when the process ends.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    _closer: Arc<Closer>,
}

/// Closes the store when its last handle goes.
struct Closer(Arc<Shared>);

impl Drop for Closer {
    fn drop(&mut self) {
        // Everything acknowledged is in the log, whatever closing comes to.
        let _ = self.0.close();
    }
}

/// A pool that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolCreated {
    /// Its UUID.
    pub id: PoolId,
    /// Its first Seq.
    pub seq: Seq,
}

/// Facts about an open store.
#[derive(Debug, Clone)]
pub struct StoreInfo {
    /// The store's UUID.
    pub id: StoreId,
    /// How often it was opened for writing.
    pub incarnation: u64,
    /// How many pools there are.
    pub pools: usize,
    /// How many of them are open.
    pub pools_open: usize,
    /// Bytes in memtables.
    pub memtable_bytes: u64,
    /// Bytes of open pages.
    pub page_cache_bytes: u64,
    /// Bytes of log segments.
    pub log_bytes: u64,
    /// Segments of the log.
    pub log_segments: usize,
    /// Room that is kept for deletes and compaction; 0 once it was given back to a full disk.
    pub reserve_bytes: u64,
    /// Why only deletes and compaction run, if that is so.
    pub full: Option<String>,
    /// Why no write is taken, if none is.
    pub failure: Option<String>,
}

impl Store {
    fn over(shared: Arc<Shared>) -> Self {
        Self { _closer: Arc::new(Closer(Arc::clone(&shared))), shared }
    }

    /// Opens a store, or makes one where `options` allow it and the directory is empty.
    ///
    /// # Errors
    /// One clear sentence each for a directory in use, a missing key, a wrong passphrase, a newer
    /// format, damage. Nothing was changed then.
    pub fn open(options: StoreOptions) -> Result<Self> {
        create::open(options)
    }

    /// Makes a pool.
    ///
    /// # Errors
    /// `INVALID` for a name or schema that is none, `EXISTS`, `NOSPACE`, `IOERROR`.
    pub fn create_pool(&self, name: &str, schema: Option<&str>, key: Option<&str>) -> Result<PoolCreated> {
        self.shared.check_room()?;
        create::create_pool(&self.shared, name, schema, key)
    }

    /// Drops a pool: its keys first, then its files. There is no way back.
    ///
    /// # Errors
    /// `NOPOOL`, `NOPERM` while the pool's `protection` document forbids it, `IOERROR`.
    pub fn drop_pool(&self, name: &str) -> Result<()> {
        let _changing = lock(&self.shared.changing_pools);
        let pool = self.pool(name)?;
        if let Some(protection) = pool.snapshot().config("protection") {
            let json: serde_json::Value = serde_json::from_str(&protection.json).unwrap_or_default();
            if json.get("drop") == Some(&serde_json::Value::Bool(false)) {
                let what = "this pool is protected: set its protection document to {\"drop\": true} first";
                return Err(Error::new(ErrorKind::NoPerm, what));
            }
        }
        let id = pool.id();
        {
            // A flush that is under way ends first; none begins after it.
            let _flushing = lock(&pool.open.flushing);
            self.shared.commit_catalogue(CatalogueChange::Drop(id).encode())?;
            pool.open.dropped.store(true, Relaxed);
        }
        drop(pool);
        self.shared.names.write().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(name);
        let slot = self.shared.slots.write().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(&id);
        if let Some(slot) = slot {
            slot.drop_pool(&self.shared);
        }
        let removed = self.shared.remove_pool_files(id);
        self.shared.look_for_room();
        removed
    }

    /// A pool by name, opened if need be.
    ///
    /// # Errors
    /// `NOPOOL`, `DAMAGED`, `KEYDISABLED`, `KEYUNAVAILABLE`, `IOERROR`.
    pub fn pool(&self, name: &str) -> Result<Pool> {
        let slot = self.shared.slot(name).ok_or_else(no_pool)?;
        let pool = Pool::new(&slot.open(&self.shared)?);
        self.shared.close_idle_pools();
        Ok(pool)
    }

    /// The names of all pools, sorted.
    pub fn pool_names(&self) -> Vec<Box<str>> {
        let slots = self.shared.slots.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut names: Vec<Box<str>> = slots.values().map(|slot| slot.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// The Seq of the catalogue: +1 for each pool that is made, dropped or checkpointed, and each change
    /// of a store-wide document.
    pub fn catalogue_seq(&self) -> Seq {
        Seq(lock(&self.shared.catalogue).sequencer.next_seq.saturating_sub(1))
    }

    /// A store-wide document, e.g. the access-control list.
    pub fn document(&self, name: &str) -> Option<Bytes> {
        lock(&self.shared.catalogue).documents.get(name).cloned()
    }

    /// Replaces a store-wide document; it is durable when this returns.
    ///
    /// # Errors
    /// `NOSPACE`, `IOERROR`, `INDOUBT`.
    pub fn set_document(&self, name: &str, content: Bytes) -> Result<()> {
        self.set_documents(&[(name, content)])
    }

    /// Replaces store-wide documents, all of them or none; they are durable when this returns.
    ///
    /// # Errors
    /// As [`Store::set_document`].
    pub fn set_documents(&self, documents: &[(&str, Bytes)]) -> Result<()> {
        self.shared.check_room()?;
        self.shared.commit_catalogue(CatalogueChange::Documents(documents).encode()).map(drop)
    }

    /// Facts about the store.
    pub fn info(&self) -> StoreInfo {
        let (log_bytes, log_segments, failure) = {
            let log = self.shared.pipeline.log();
            let bytes = log.segments().map(|segment| segment.bytes).sum();
            (bytes, log.segments().len(), log.failure().map(|error| error.message().to_owned()))
        };
        let open = self.shared.open_pools();
        StoreInfo {
            id: self.shared.store_id,
            incarnation: self.shared.incarnation,
            pools: self.shared.slots.read().unwrap_or_else(|poisoned| poisoned.into_inner()).len(),
            pools_open: open.len(),
            memtable_bytes: open.iter().map(|pool| pool.memtable_bytes()).sum(),
            page_cache_bytes: self.shared.env.cache().used_bytes() as u64,
            log_bytes,
            log_segments,
            reserve_bytes: self.shared.reserve.bytes(),
            full: self.shared.reserve.is_given_back().then(|| self.shared.no_room().message().to_owned()),
            failure,
        }
    }

    /// The disk, clock and randomness that the store uses.
    pub fn io(&self) -> &Arc<dyn Io> {
        &self.shared.io
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.shared.data
    }

    /// Closes the store: background work ends, the log is sealed, the catalogue written.
    ///
    /// # Errors
    /// If what is left could not be made durable; everything acknowledged is in the log all the same.
    pub fn close(self) -> Result<()> {
        self.shared.close()
    }
}

pub(crate) fn no_pool() -> Error {
    Error::new(ErrorKind::NoPool, "there is no pool of that name: POOL.LIST shows those there are")
}

impl Shared {
    /// The directory of a pool's files.
    pub(crate) fn pool_dir(&self, id: PoolId) -> PathBuf {
        self.data.join("pools").join(id.to_string())
    }

    /// The directory of the log.
    pub(crate) fn wal_dir(&self) -> PathBuf {
        self.data.join("wal")
    }

    pub(crate) fn random(&self, out: &mut [u8]) -> Result<()> {
        self.io.random(out).map_err(|source| Error::new(ErrorKind::Io, "no randomness to be had").because(source))
    }

    fn slot(&self, name: &str) -> Option<Arc<PoolSlot>> {
        let slots = self.slots.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let id = self.slot_names().get(name).copied()?;
        slots.get(&id).cloned()
    }

    /// All pools' places, in order of id, so that what is done to each is done in that order.
    fn all_slots(&self) -> Vec<Arc<PoolSlot>> {
        let slots = self.slots.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut all: Vec<_> = slots.values().cloned().collect();
        all.sort_unstable_by_key(|slot| slot.id);
        all
    }

    /// The pools that are open, in order of id.
    pub(crate) fn open_pools(&self) -> Vec<Arc<OpenPool>> {
        let slots: Vec<_> = lock(&self.opened).values().cloned().collect();
        slots.iter().filter_map(|slot| slot.opened()).collect()
    }

    /// Whether the store is being closed: long work ends early.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Writes the catalogue's checkpoint.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        let _checkpointing = lock(&self.checkpointing);
        let left = self.all_slots().iter().filter_map(|slot| slot.left_frames()).collect();
        let (number, body) = {
            // The leader holds the log from numbering to applying.
            let log = self.pipeline.log();
            if let Some(failed) = log.failure() {
                return Err(failed.clone());
            }
            let durable_lsn = log.durable_lsn().0;
            let first = log.segments().next().map_or(0, |segment| segment.number.0);
            let first_segment = SegmentNumber(first.max(self.log_from.load(Relaxed)));
            let mut catalogue = lock(&self.catalogue);
            catalogue.number += 1;
            (catalogue.number, catalogue.body(durable_lsn, &LogDocument { first_segment, left }))
        };
        self.checkpoints.store(number, Relaxed);
        let hedge = Arc::clone(&lock(&self.catalogue).hedge);
        let mut random = [0; 16];
        self.random(&mut random)?;
        let mut sealed = Vec::new();
        let ad = CatalogueFile::associated_data(self.store_id, number);
        self.store_key.seal(&hedge, random, &ad, &body.encode(), &mut sealed);
        let file = CatalogueFile { store: self.store_id, number, sealed };
        let (path, bytes) = (self.data.join("CATALOGUE"), file.encode());
        self.on_reserve(|| {
            crate::io::replace(&*self.io, &path, &bytes)
                .map_err(|source| crate::wal::io_error("writing", &path, source))
        })
    }

    fn close(&self) -> Result<()> {
        if self.closed.swap(true, Relaxed) {
            return Ok(());
        }
        self.threads.stop(&self.pipeline);
        let sealed = self.pipeline.log().seal();
        let written = self.checkpoint();
        self.pipeline.log().close();
        let slots = self.slots.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        slots.values().for_each(|slot| slot.close(self));
        drop(lock(&self.guard).take());
        written.and(sealed)
    }

    /// Closes pools that nobody uses, the longest idle first, down to the limit.
    pub(crate) fn close_idle_pools(&self) {
        let max = self.limits.open_pools_max;
        if lock(&self.opened).len() <= max {
            return;
        }
        // A tenth at a time, so that looking at all of them is rare.
        let mut open = self.open_pools();
        let excess = open.len().saturating_sub(max - max / 10);
        open.sort_by_key(|pool| pool.last_use_ms.load(Relaxed));
        let ids: Vec<PoolId> = open.iter().take(excess).map(|pool| pool.id).collect();
        drop(open);
        let slots = self.slots.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        ids.iter().filter_map(|id| slots.get(id)).for_each(|slot| slot.close_if_idle(self));
    }
}
