//! A pool that is open: its version, its counters, its keys. Reads go through [`Snapshot`],
//! writes through `commit`.
//!
//! Invariants:
//! 1. `visible ≤ durable`: a Seq is visible only once its frame is synced.
//! 2. The sequencer is touched by the commit leader (and by opening) alone.
//! 3. Everything here can be rebuilt from the manifest and the frames after its `flushed_seq`.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use stoa_format::erasure::ERASURE_DOCUMENT;
use stoa_format::install::INSTALL_DOCUMENT;
use stoa_format::manifest::{ManifestBody, PeriodRef};
use stoa_format::ops::{EventKind, FrameReader, Operation, PUT_DELETES};
use stoa_format::{Epoch, KeyEpoch, Ordinal, Period, PoolId, Seq, Sub};

use super::handle::Hold;
use super::keyspace::Key;
use super::lease::Leases;
use super::request::Lockout;
use super::runs::Runs;
use super::schema::Schema;
use super::snapshot::{Snapshot, damaged};
use super::version::{Documents, PinnedVersion, SCHEMA_DOCUMENT, Version};
use super::watermark::Watermark;
use crate::commit::conflicts::ConflictTable;
use crate::digest::fact::DigestKey;
use crate::digest::tree::Tree;
use crate::error::{Error, Result};
use crate::keys::{DataKey, HedgeKey, SealKey};
use crate::memtable::{Delta, Memtable};
use crate::password::Caps;
use crate::store::Shared;
use crate::store::erase::Erasures;
use crate::store::history::HistoryFile;
use crate::store::jobs::Jobs;
use crate::wal::FramePlace;

/// A frame of this pool in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolFrame {
    pub place: FramePlace,
    pub first_seq: Seq,
    pub last_seq: Seq,
}

/// A pool's keys.
pub(crate) struct Keyring {
    /// Data keys by epoch; the last is the newest.
    pub data_keys: BTreeMap<KeyEpoch, Arc<DataKey>>,
    /// The same, wrapped, as the manifest has them.
    pub wrapped: Vec<(KeyEpoch, Vec<u8>)>,
    /// Feeds the nonces of everything sealed for this pool.
    pub hedge: Arc<HedgeKey>,
    /// Frame keys, oldest first.
    pub periods: Vec<PeriodRef>,
}

impl Keyring {
    /// The newest data key.
    pub fn newest(&self) -> Result<(KeyEpoch, Arc<DataKey>)> {
        let newest = self.data_keys.last_key_value();
        newest.map(|(epoch, key)| (*epoch, Arc::clone(key))).ok_or_else(|| Error::damaged("the manifest names no key"))
    }

    /// The key of a period.
    pub fn period_key(&self, period: Period) -> Option<SealKey> {
        self.periods.iter().rev().find(|other| other.period == period).map(|found| SealKey::new(&found.key))
    }
}

/// What the leader numbers transactions by.
pub(crate) struct Sequencer {
    pub next_seq: u64,
    pub chain: [u8; 32],
    pub epoch: Epoch,
    pub period: Period,
    pub period_key: Arc<SealKey>,
    pub key_epoch: KeyEpoch,
    pub conflicts: ConflictTable,
}

/// An open pool.
pub(crate) struct OpenPool {
    pub shared: Arc<Shared>,
    pub id: PoolId,
    pub name: Box<str>,
    pub dir: PathBuf,
    pub version: ArcSwap<Version>,
    pub visible: Watermark,
    pub sequencer: Mutex<Sequencer>,
    pub keyring: Mutex<Keyring>,
    pub digest_key: DigestKey,
    pub cursor_key: SealKey,
    pub secrets: PoolSecrets,
    pub next_ordinal: AtomicU64,
    pub next_group_id: AtomicU64,
    pub next_file_id: AtomicU64,
    pub next_age: AtomicU64,
    pub groups: AtomicU64,
    pub manifest_number: AtomicU64,
    pub last_verify_ms: AtomicU64,
    pub history_from: AtomicU64,
    pub tree: Mutex<Tree>,
    /// Held while the tree's leaves are summed from the data.
    pub tree_building: Mutex<()>,
    /// The newest applied Seq and the chain digest after it.
    pub head: Mutex<(Seq, [u8; 32])>,
    pub leases: Mutex<Leases>,
    pub checks: Mutex<HashMap<u64, u32>>,
    /// The frames that stand in the log, flushed ones too, oldest first.
    pub frames: Mutex<VecDeque<PoolFrame>>,
    /// The frames that stand in history files, all older than those in the log. Locked after `frames`.
    pub history: Mutex<VecDeque<HistoryFile>>,
    /// The first Seq whose frame should be in a history file and is not, as opening the pool found.
    pub missing_history: Mutex<Option<Seq>>,
    /// Held while files and manifest change.
    pub flushing: Mutex<()>,
    /// Held by the one compaction at a time.
    pub compacting: Mutex<()>,
    /// A compaction waits for its turn.
    pub compaction_queued: AtomicBool,
    /// Maintenance that was asked for.
    pub jobs: Mutex<Jobs>,
    /// The manifest in force.
    pub checkpoint: Mutex<ManifestBody>,
    /// A flush waits for its turn.
    pub flush_queued: AtomicBool,
    /// No flush begins by itself before this.
    pub flush_again_ms: AtomicU64,
    /// Why the last flush failed, if it did.
    pub trouble: Mutex<Option<Error>>,
    /// The pool was dropped: nothing of it is written any more.
    pub dropped: AtomicBool,
    /// Directories that are known to be there after a crash.
    pub made_dirs: Mutex<HashSet<PathBuf>>,
    /// Users are being loaded in bulk: other writes are refused meanwhile.
    pub loading: AtomicBool,
    /// Installs with an id below this one are done.
    pub installed_below: AtomicU64,
    /// What deleted users have left.
    pub erasures: Mutex<Erasures>,
    pub last_use_ms: AtomicU64,
}

/// Random secrets of a pool that never change.
#[derive(Clone)]
pub(crate) struct PoolSecrets {
    pub digest: [u8; 32],
    pub cursor: [u8; 32],
    pub alias: [u8; 32],
}

/// A lock that a panicking thread has left is taken all the same: what it guards is replaced
/// whole, never left half changed.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The UUIDv7 of 16 random bytes and a time.
pub(crate) fn uuid_v7(mut bytes: [u8; 16], now_ms: u64) -> Sub {
    bytes[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    bytes[6] = bytes[6] & 0x0f | 0x70;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Sub(bytes)
}

impl OpenPool {
    /// Opens a pool as its manifest has it; the frames after it are applied next.
    pub(crate) fn from_manifest(
        shared: Arc<Shared>,
        id: PoolId,
        name: Box<str>,
        number: u64,
        body: ManifestBody,
        keyring: Keyring,
    ) -> Result<Self> {
        let dir = shared.pool_dir(id);
        let mut by_name: BTreeMap<Box<str>, Bytes> = BTreeMap::new();
        for (name, content) in &body.documents {
            if name == ERASURE_DOCUMENT {
                continue;
            }
            by_name.insert(name.as_str().into(), Bytes::copy_from_slice(content));
        }
        let schema = match by_name.get(SCHEMA_DOCUMENT) {
            Some(bytes) => Schema::shared(bytes).map_err(|fault| damaged(&fault))?,
            None => return Err(Error::damaged("the manifest holds no schema; run stoa verify")),
        };
        let live = match body.live.is_empty() {
            true => roaring::RoaringBitmap::new(),
            false => roaring::RoaringBitmap::deserialize_from(&body.live[..])
                .map_err(|error| Error::damaged("the manifest's live users are malformed").because(error))?,
        };
        let data_key = |file: &stoa_format::manifest::FileRef| {
            keyring
                .data_keys
                .get(&file.key_epoch)
                .cloned()
                .ok_or_else(|| Error::damaged("a file is sealed under a data key that the manifest does not name"))
        };
        let runs = Runs::assemble(&shared.env, &dir, id, &body.files, &[], data_key, live, body.flushed_seq)?;
        let period = body.periods.last().ok_or_else(|| Error::damaged("the manifest names no period"))?;
        let sequencer = Sequencer {
            next_seq: body.flushed_seq.0 + 1,
            chain: body.chain,
            epoch: body.epoch,
            period: period.period,
            period_key: Arc::new(SealKey::new(&period.key)),
            key_epoch: keyring.newest()?.0,
            conflicts: ConflictTable::new(body.flushed_seq.0),
        };
        let version = Version {
            active: Arc::new(Memtable::default()),
            frozen: Vec::new(),
            runs: Arc::new(runs),
            documents: Arc::new(Documents { seq: body.flushed_seq, schema, by_name }),
        };
        let now_ms = shared.io.now_ms();
        Ok(Self {
            id,
            name,
            dir,
            version: ArcSwap::from_pointee(version),
            visible: Watermark::new(body.flushed_seq),
            sequencer: Mutex::new(sequencer),
            keyring: Mutex::new(keyring),
            digest_key: DigestKey::new(body.digest_key),
            cursor_key: SealKey::new(&body.cursor_key),
            secrets: PoolSecrets { digest: body.digest_key, cursor: body.cursor_key, alias: body.alias_key },
            next_ordinal: AtomicU64::new(body.next_ordinal),
            next_group_id: AtomicU64::new(body.next_group_id),
            next_file_id: AtomicU64::new(body.next_file_id),
            next_age: AtomicU64::new(body.next_age),
            groups: AtomicU64::new(body.groups),
            manifest_number: AtomicU64::new(number),
            last_verify_ms: AtomicU64::new(body.last_verify_ms),
            history_from: AtomicU64::new(body.history_from.0),
            tree: Mutex::new(Tree::new(body.digest, body.flushed_seq)),
            tree_building: Mutex::new(()),
            head: Mutex::new((body.flushed_seq, body.chain)),
            leases: Mutex::new(Leases::default()),
            checks: Mutex::new(HashMap::new()),
            frames: Mutex::new(VecDeque::new()),
            history: Mutex::new(VecDeque::new()),
            missing_history: Mutex::new(None),
            flushing: Mutex::new(()),
            compacting: Mutex::new(()),
            compaction_queued: AtomicBool::new(false),
            jobs: Mutex::new(Jobs::default()),
            flush_queued: AtomicBool::new(false),
            flush_again_ms: AtomicU64::new(0),
            trouble: Mutex::new(None),
            dropped: AtomicBool::new(false),
            made_dirs: Mutex::new(HashSet::new()),
            loading: AtomicBool::new(false),
            installed_below: AtomicU64::new(body.next_file_id),
            erasures: Mutex::new(Erasures::of(&body)?),
            last_use_ms: AtomicU64::new(now_ms),
            checkpoint: Mutex::new(body),
            shared,
        })
    }

    /// The newest durable state.
    pub(crate) fn snapshot(self: &Arc<Self>) -> Snapshot {
        Hold::new(self).snapshot()
    }

    /// Its Seq, and a version that fits.
    pub(crate) fn newest(&self) -> (Seq, PinnedVersion) {
        let fits = |version: &PinnedVersion, seq| version.flushed_seq() <= seq && version.documents.seq <= seq;
        self.visible.pin(|| PinnedVersion::from(self.version.load()), fits)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.shared.io.now_ms()
    }

    pub(crate) fn limits(&self) -> &crate::store::Limits {
        &self.shared.limits
    }

    pub(crate) fn caps(&self) -> Caps {
        self.shared.limits.password_caps
    }

    pub(crate) fn mint_ordinal(&self) -> Ordinal {
        Ordinal(self.next_ordinal.fetch_add(1, Relaxed))
    }

    pub(crate) fn mint_group_id(&self) -> u64 {
        self.next_group_id.fetch_add(1, Relaxed)
    }

    /// A UUIDv7: RFC 9562, 48 bits of milliseconds, the rest random.
    pub(crate) fn mint_sub(&self, now_ms: u64) -> Result<Sub> {
        let mut bytes = [0; 16];
        self.shared.random(&mut bytes)?;
        Ok(uuid_v7(bytes, now_ms))
    }

    /// The hash under which the alias index has a collated value.
    pub(crate) fn alias_hash(&self, key: &str) -> u64 {
        let hash = blake3::keyed_hash(&self.secrets.alias, key.as_bytes());
        let mut top = [0; 8];
        top.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_be_bytes(top)
    }

    /// The pool's lock-out policy.
    pub(crate) fn lockout(&self, documents: &Snapshot) -> Lockout {
        let mut lockout = Lockout::default();
        let Some(config) = documents.config("lockout") else { return lockout };
        let Ok(json) = serde_json::from_str::<serde_json::Value>(&config.json) else { return lockout };
        let number = |key: &str| json.get(key).and_then(serde_json::Value::as_u64);
        if let Some(max) = number("max_attempts") {
            lockout.max_attempts = u32::try_from(max).unwrap_or(u32::MAX);
        }
        lockout.base_delay_ms = number("base_delay_ms").unwrap_or(lockout.base_delay_ms);
        lockout.max_delay_ms = number("max_delay_ms").unwrap_or(lockout.max_delay_ms);
        lockout
    }

    /// Applies a frame's transactions, the first of which has `first_seq`, to the memtable. They
    /// become visible by [`OpenPool::publish`].
    ///
    /// # Errors
    /// `DAMAGED` if the plain text is not what a leader writes.
    pub(crate) fn apply(&self, first_seq: Seq, plain: &Bytes) -> Result<()> {
        let version = self.version.load();
        self.apply_with(first_seq, plain, |ordinal, seq, delta| version.active.put(ordinal, seq, delta))
    }

    /// The same, with users' deltas handed to `put` instead.
    ///
    /// # Errors
    /// As [`OpenPool::apply`].
    pub(crate) fn apply_with(
        &self,
        first_seq: Seq,
        plain: &Bytes,
        mut put: impl FnMut(Ordinal, Seq, Delta),
    ) -> Result<()> {
        let fault = |fault: stoa_format::DecodeError| damaged(&fault);
        let version = self.version.load();
        let mut frame = FrameReader::decode(plain).map_err(fault)?;
        let mut seq = first_seq;
        let mut documents: Option<Documents> = None;
        let mut installs: Vec<&[u8]> = Vec::new();
        let mut leaves: Vec<(u64, u128)> = Vec::new();
        while let Some(mut transaction) = frame.next_transaction().map_err(fault)? {
            while let Some(op) = transaction.next_op().map_err(fault)? {
                match op {
                    Operation::Put { ordinal, flags, cells } => {
                        if flags & PUT_DELETES != 0 {
                            lock(&self.erasures).note(frame.time_ms, seq, self.limits().erase_within_ms);
                        }
                        self.next_ordinal.fetch_max(ordinal.0 + 1, Relaxed);
                        put(ordinal, seq, Delta::new(flags, plain.slice_ref(cells)));
                    }
                    Operation::SetKey { keyspace, key, value } => {
                        self.note_key(keyspace, key);
                        let value = Some(plain.slice_ref(value));
                        version.active.set_key(keyspace, key, seq, value).map_err(fault)?;
                    }
                    Operation::DeleteKey { keyspace, key } => {
                        version.active.set_key(keyspace, key, seq, None).map_err(fault)?;
                    }
                    Operation::Digest { leaf, delta } => leaves.push((leaf, delta)),
                    Operation::Event { event: EventKind::GroupCreate, .. } => drop(self.groups.fetch_add(1, Relaxed)),
                    Operation::Event { event: EventKind::GroupDelete, .. } => drop(self.groups.fetch_sub(1, Relaxed)),
                    Operation::Event { .. } => {}
                    Operation::Meta { name: INSTALL_DOCUMENT, content } => installs.extend(content),
                    Operation::Meta { name, content } => {
                        let documents = documents.get_or_insert_with(|| (*version.documents).clone());
                        set_document(documents, name, content)?;
                    }
                }
            }
            seq = Seq(seq.0 + 1);
        }
        // Under one lock: who sums the tree takes a version in which both are there, or neither.
        let mut tree = lock(&self.tree);
        tree.add(Seq(seq.0.saturating_sub(1)), &leaves);
        if !installs.is_empty() {
            // Whoever reads an older Seq waits, as with a new schema: files carry no Seq of their own.
            documents.get_or_insert_with(|| (*version.documents).clone());
        }
        if let Some(mut documents) = documents {
            documents.seq = tree.seq();
            let documents = Arc::new(documents);
            self.version.rcu(|version| Version { documents: Arc::clone(&documents), ..(**version).clone() });
        }
        installs.into_iter().try_for_each(|content| self.apply_install(content, &mut tree))
    }

    fn note_key(&self, keyspace: stoa_format::Keyspace, key: &[u8]) {
        if keyspace == super::keyspace::GROUP_NAMES
            && let Some(id) = super::keyspace::first_number(key)
        {
            self.next_group_id.fetch_max(id + 1, Relaxed);
        }
    }

    /// Makes everything up to `seq` visible and wakes who waits for it.
    pub(crate) fn publish(&self, seq: Seq) {
        self.visible.raise(seq);
    }

    /// Bytes in memtables.
    pub(crate) fn memtable_bytes(&self) -> u64 {
        let version = self.version.load();
        version.memtables().map(|memtable| memtable.size_bytes()).sum()
    }

    /// The key of a membership list's group: used by listings.
    pub(crate) fn members_prefix(group: u64) -> Bytes {
        Key::new(super::keyspace::MEMBERS).number(group).flat()
    }
}

fn set_document(documents: &mut Documents, name: &str, content: Option<&[u8]>) -> Result<()> {
    match content {
        Some(content) => {
            if name == SCHEMA_DOCUMENT {
                documents.schema = Schema::shared(content).map_err(|fault| damaged(&fault))?;
            }
            documents.by_name.insert(name.into(), Bytes::copy_from_slice(content));
        }
        None => drop(documents.by_name.remove(name)),
    }
    Ok(())
}
