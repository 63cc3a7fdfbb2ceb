//! Making and opening stores, and making pools.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;
use stoa_format::manifest::{ManifestBody, PeriodRef};
use stoa_format::store::{CatalogueBody, CatalogueEntry, CatalogueFile, LOG_DOCUMENT, LogDocument, StoreFile};
use stoa_format::wal::InnerShell;
use stoa_format::wrapped::WrappedKey;
use stoa_format::{Epoch, KeyEpoch, Lsn, Period, PoolId, SegmentNumber, Seq, StoreId};

use super::catalogue::{Catalogue, CatalogueChange};
use super::reserve::Reserve;
use super::slots::PoolSlot;
use super::threads::Threads;
use super::{PoolCreated, Shared, Store, StoreOptions};
use crate::commit::Pipeline;
use crate::commit::sequence::next_chain;
use crate::error::{Error, ErrorKind, Result};
use crate::io::{Io, LockError, LockGuard, read_whole, replace};
use crate::keys::{DataKey, KeyError, KeyProvider, LocalProvider, SealKey, WrapContext};
use crate::manifest;
use crate::pool::names::PoolName;
use crate::pool::open::{Keyring, PoolFrame, PoolSecrets, lock};
use crate::pool::schema::{Schema, SchemaPatch};
use crate::pool::version::SCHEMA_DOCUMENT;
use crate::run::RunEnv;
use crate::wal::{FramePlace, Log, Room, Spare, first_segment, io_error, recover};

/// The store file and the catalogue are small.
const SMALL_FILE_MAX_BYTES: u64 = 1 << 30;

/// Opens a store, or makes one.
pub(super) fn open(options: StoreOptions) -> Result<Store> {
    let io = Arc::clone(&options.io);
    let store_path = options.data.join("STORE");
    let there = io.exists(&store_path).map_err(|source| io_error("opening", &store_path, source))?;
    if !there {
        check_empty(&*io, &options)?;
    } else {
        check_version(&*io, &store_path)?;
    }
    if !there {
        // Before a key is minted for it: a directory that cannot be written gets none.
        prepare_directory(&*io, &options.data)?;
    }
    let provider = provider(&options, there)?;
    let guard = take_lock(&*io, &options.data)?;
    let file = if there { read_store(&*io, &store_path)? } else { make_store(&*io, &store_path, &*provider)? };
    open_locked(options, provider, guard, file)
}

/// A directory that holds something else is left alone, also what is left of a store.
fn check_empty(io: &dyn Io, options: &StoreOptions) -> Result<()> {
    let path = &options.data;
    if let Some(left) = left_of_store(io, path)? {
        let what = format!("STORE is missing, and {left} is there. Nothing was changed; restore STORE from a backup");
        return Err(Error::damaged(what));
    }
    if !options.create {
        let what = format!("{} holds no store: give the right directory, or make one with stoa serve", path.display());
        return Err(Error::new(ErrorKind::Other, what));
    }
    if !io.exists(path).map_err(|source| io_error("opening", path, source))? {
        return Ok(());
    }
    let names = io.list_dir(path).map_err(|source| io_error("opening", path, source))?;
    match names.iter().all(|name| ["LOCK", "wal", "pools"].contains(&name.as_str()) || name.ends_with(".tmp")) {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Other,
            format!("{} is not empty and holds no store: give an empty directory", path.display()),
        )),
    }
}

fn check_version(io: &dyn Io, path: &Path) -> Result<()> {
    let bytes = read_whole(io, path, SMALL_FILE_MAX_BYTES).map_err(|source| io_error("opening", path, source))?;
    match StoreFile::read_version(&bytes) {
        Some(version) if version > stoa_format::store::STORE_VERSION => Err(Error::new(
            ErrorKind::Other,
            format!(
                "store is format {version}, this binary reads up to {}; nothing was changed. Use a newer stoa",
                stoa_format::store::STORE_VERSION
            ),
        )),
        _ => Ok(()),
    }
}

/// What only a store has that had its file `STORE`: that is durable before anything else is written.
fn left_of_store(io: &dyn Io, data: &Path) -> Result<Option<&'static str>> {
    let failed = |source| io_error("opening", data, source);
    let names = |below: &str| match io.exists(&data.join(below)).map_err(failed)? {
        true => io.list_dir(&data.join(below)).map_err(failed),
        false => Ok(Vec::new()),
    };
    if io.exists(&data.join("CATALOGUE")).map_err(failed)? {
        return Ok(Some("CATALOGUE"));
    }
    if names("wal")?.iter().any(|name| name.ends_with(".wal")) {
        return Ok(Some("a log"));
    }
    Ok((!names("pools")?.is_empty()).then_some("a pool"))
}

fn provider(options: &StoreOptions, there: bool) -> Result<Arc<dyn KeyProvider>> {
    let passphrase = options.passphrase.as_ref().map(|passphrase| &passphrase[..]);
    let opened = LocalProvider::open(Arc::clone(&options.io), &options.key_file, passphrase);
    let made = match opened {
        Err(KeyError::Missing { .. }) if !there => {
            let guarded = passphrase.map(|passphrase| (passphrase, Default::default()));
            LocalProvider::create(Arc::clone(&options.io), &options.key_file, guarded)
        }
        other => other,
    };
    match made {
        Ok(provider) => Ok(Arc::new(provider)),
        Err(error) => Err(Error::new(ErrorKind::Other, format!("cannot open the store: {error}")).because(error)),
    }
}

fn prepare_directory(io: &dyn Io, data: &Path) -> Result<()> {
    let made = io
        .create_dir_all(&data.join("wal"))
        .and_then(|()| io.create_dir_all(&data.join("pools")))
        .and_then(|()| io.sync_dir(data))
        .and_then(|()| {
            data.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), |parent| io.sync_dir(parent))
        });
    made.map_err(|source| read_only(data, &source).unwrap_or_else(|| io_error("making", data, source)))
}

/// What is said of a directory that cannot be written; `None` if it is something else that is wrong.
fn read_only(data: &Path, source: &std::io::Error) -> Option<Error> {
    let how = match source.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem => "is on a read-only file system",
        std::io::ErrorKind::PermissionDenied => "may not be written by this user",
        _ => return None,
    };
    let remedy = "make it writable; stoa verify and stoa inspect read it as it is";
    let what = format!("cannot start: {} {how}; nothing was changed. To serve it, {remedy}", data.display());
    Some(Error::new(ErrorKind::Io, what))
}

fn take_lock(io: &dyn Io, data: &Path) -> Result<LockGuard> {
    io.lock(&data.join("LOCK")).map_err(|error| {
        if let LockError::Io(source) = &error
            && let Some(refusal) = read_only(data, source)
        {
            return refusal.because(error);
        }
        let what = match &error {
            LockError::Held { holder: Some(pid), .. } => {
                format!("cannot start: {} is in use by pid {pid}", data.display())
            }
            LockError::Held { .. } => format!("cannot start: {} is in use by another process", data.display()),
            LockError::Io(source) => format!("cannot start: {} cannot be locked: {source}", data.display()),
        };
        Error::new(ErrorKind::Other, what).because(error)
    })
}

fn read_store(io: &dyn Io, path: &Path) -> Result<StoreFile> {
    let bytes = read_whole(io, path, SMALL_FILE_MAX_BYTES).map_err(|source| io_error("opening", path, source))?;
    StoreFile::decode(&bytes).map_err(|fault| {
        Error::damaged(format!("{fault}. Nothing was changed; restore STORE from a backup")).because(fault)
    })
}

fn make_store(io: &dyn Io, path: &Path, provider: &dyn KeyProvider) -> Result<StoreFile> {
    let mut id = [0; 16];
    io.random(&mut id).map_err(|source| io_error("making", path, source))?;
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let key = DataKey::generate(io).map_err(|source| io_error("making", path, source))?;
    let wrapped = provider
        .wrap(&key, &WrapContext { pool: PoolId(id), key_epoch: KeyEpoch(0) })
        .map_err(|error| Error::new(ErrorKind::Other, format!("cannot make the store: {error}")).because(error))?;
    let file =
        StoreFile { id: StoreId(id), incarnation: 0, created_at_ms: io.now_ms(), wrapped_key: wrapped.to_bytes() };
    replace(io, path, &file.encode()).map_err(|source| io_error("making", path, source))?;
    Ok(file)
}

fn open_locked(
    options: StoreOptions,
    provider: Arc<dyn KeyProvider>,
    guard: LockGuard,
    mut file: StoreFile,
) -> Result<Store> {
    let io = Arc::clone(&options.io);
    let context = WrapContext { pool: PoolId(file.id.0), key_epoch: KeyEpoch(0) };
    let wrapped = WrappedKey::decode(&file.wrapped_key)
        .map_err(|fault| Error::damaged(format!("{fault}. Nothing was changed; restore STORE from a backup")))?;
    let key_file = options.key_file.display();
    let unfit = |error: KeyError| {
        Error::new(ErrorKind::Other, format!("cannot open the store: STORE, with key file {key_file}: {error}"))
            .because(error)
    };
    let data_key = provider.unwrap(&wrapped, &context).map_err(unfit)?;
    let store_key = Arc::new(data_key.manifest_key(PoolId::NIL));
    let hedge = Arc::new(data_key.hedge_key(PoolId::NIL));
    let (number, body) = read_catalogue(&*io, &options.data, file.id, &store_key)?;
    let left_log = left_log(&body)?;
    check_log_begins(&*io, &options.data, number, &left_log)?;
    let durable_claim = Lsn(body.durable_lsn);
    let mut catalogue = Catalogue::new(number, body, &store_key, hedge);
    let mut frames: HashMap<PoolId, Vec<PoolFrame>> = HashMap::new();
    let wal_dir = options.data.join("wal");
    let recovery = recover(&*io, &wal_dir, file.id, durable_claim, |place, inner, sealed| {
        if inner.pool == PoolId::NIL {
            return replay_catalogue(&mut catalogue, place, inner, sealed);
        }
        let frame = PoolFrame { place, first_seq: inner.first_seq, last_seq: inner.last_seq() };
        frames.entry(inner.pool).or_default().push(frame);
        Ok(())
    })?;
    // From here on the directory changes: everything that could refuse has been asked.
    // A copy of STORE that was put back may be older than the log.
    file.incarnation = file.incarnation.max(recovery.incarnation) + 1;
    Spare::remove_leftovers(&*io, &wal_dir);
    let store_path = options.data.join("STORE");
    let reserve = Reserve::find(&*io, &options.data, options.limits.reserve_bytes);
    let segment_bytes = options.limits.log_segment_bytes;
    let begin = |room| {
        replace(&*io, &store_path, &file.encode()).map_err(|source| {
            read_only(&options.data, &source).unwrap_or_else(|| io_error("opening", &store_path, source))
        })?;
        Log::begin(Arc::clone(&io), &wal_dir, file.id, file.incarnation, &recovery, segment_bytes, room)
    };
    let room = if reserve.is_given_back() { Room::Tight } else { Room::Plenty };
    let (log, moved) = match begin(room) {
        Err(error) if error.kind() == ErrorKind::NoSpace => {
            // A small segment is enough to read, and to delete; on the reserve, if there is one.
            reserve.give_back(&*io);
            begin(Room::Tight)?
        }
        begun => begun?,
    };
    for frame in frames.values_mut().flatten() {
        frame.place = moved.iter().find(|moved| moved.lsn == frame.place.lsn).copied().unwrap_or(frame.place);
    }
    reserve.settle(&*io, &options.data);
    let mut slots = HashMap::new();
    let mut names = HashMap::new();
    for entry in catalogue.pools.values() {
        let frames = frames.remove(&entry.id).unwrap_or_default();
        names.insert(entry.name.as_str().into(), entry.id);
        let left = left_log.left.iter().find(|left| left.pool == entry.id);
        slots.insert(entry.id, PoolSlot::new(entry, frames, left));
    }
    let env = RunEnv::new(Arc::clone(&io), options.limits.runs);
    let shared = Arc::new_cyclic(|this| Shared {
        this: this.clone(),
        env,
        io,
        data: options.data,
        store_id: file.id,
        incarnation: file.incarnation,
        limits: options.limits,
        provider,
        pipeline: Pipeline::new(log),
        catalogue: Mutex::new(catalogue),
        store_key,
        slots: RwLock::new(slots),
        names: RwLock::new(names),
        usual_hash: Mutex::new(None),
        changing_pools: Mutex::new(()),
        making_pools: Mutex::default(),
        making_spare: AtomicBool::new(false),
        reserve,
        retiring: AtomicBool::new(false),
        retire_again_ms: AtomicU64::new(0),
        opened: Mutex::default(),
        threads: Threads::default(),
        closed: AtomicBool::new(false),
        checkpoints: AtomicU64::new(0),
        checkpointing: Mutex::new(()),
        log_from: AtomicU64::new(0),
        guard: Mutex::new(Some(guard)),
    });
    if options.threads {
        Threads::start(&shared)
            .map_err(|source| Error::new(ErrorKind::Io, format!("a thread could not be started: {source}")))?;
    }
    shared.sweep_dropped();
    // Each start begins a segment.
    let segments = shared.pipeline.log().segments().len();
    shared.watch_log(segments);
    if !options.threads {
        shared.run_deferred();
    }
    Ok(Store::over(shared))
}

fn read_catalogue(io: &dyn Io, data: &Path, store: StoreId, key: &SealKey) -> Result<(u64, CatalogueBody)> {
    let path = data.join("CATALOGUE");
    if !io.exists(&path).map_err(|source| io_error("opening", &path, source))? {
        return Ok((0, CatalogueBody::default()));
    }
    let damaged =
        |what: String| Error::damaged(format!("CATALOGUE: {what}. Nothing was changed; run: stoa verify DIR"));
    let bytes = read_whole(io, &path, SMALL_FILE_MAX_BYTES).map_err(|source| io_error("opening", &path, source))?;
    let file = CatalogueFile::decode(&bytes).map_err(|fault| damaged(fault.to_string()))?;
    if file.store != store {
        return Err(damaged("it belongs to another store".into()));
    }
    let mut plain = Vec::new();
    key.open(&CatalogueFile::associated_data(store, file.number), &file.sealed, &mut plain)
        .map_err(|_| damaged("tag does not match".into()))?;
    let body = CatalogueBody::decode(&plain).map_err(|fault| damaged(fault.to_string()))?;
    Ok((file.number, body))
}

/// What the catalogue says has left the log.
fn left_log(body: &CatalogueBody) -> Result<LogDocument> {
    let content = body.documents.iter().find(|(name, _)| name == LOG_DOCUMENT).map(|(_, content)| content);
    let decoded = content.map(|content| LogDocument::decode(content)).transpose();
    Ok(decoded.map_err(|fault| Error::damaged(format!("CATALOGUE: {fault}")).because(fault))?.unwrap_or_default())
}

/// Refuses a log whose first segments are gone, and a catalogue that is older than what has left the log.
fn check_log_begins(io: &dyn Io, data: &Path, number: u64, left: &LogDocument) -> Result<()> {
    let kept_from = if number == 0 { SegmentNumber(1) } else { left.first_segment };
    let first = first_segment(io, &data.join("wal"))?;
    // Without a catalogue and a log it is a store that was being made, and has no pools.
    let is_new = number == 0 && first.is_none() && io.list_dir(&data.join("pools")).is_ok_and(|pools| pools.is_empty());
    // A catalogue without the document says nothing of it.
    if is_new || kept_from.0 == 0 || first.is_some_and(|first| first <= kept_from) {
        return Ok(());
    }
    let catalogue = if number == 0 { "CATALOGUE is missing" } else { "CATALOGUE is an older one" };
    Err(Error::damaged(format!(
        "refusing to open: wal/{kept_from:016}.wal (offset 0) is missing, or {catalogue}: the log was kept from \
         there on. Nothing was changed. Run: stoa verify DIR"
    )))
}

fn replay_catalogue(catalogue: &mut Catalogue, place: FramePlace, inner: &InnerShell, sealed: &[u8]) -> Result<()> {
    let sequencer = &mut catalogue.sequencer;
    if inner.last_seq().0 < sequencer.next_seq {
        return Ok(());
    }
    let damaged = |what: &str| {
        Error::damaged(format!(
            "refusing to open: wal/{:016}.wal offset {}: {what}. Nothing was changed. Run: stoa verify DIR",
            place.segment.0, place.offset
        ))
    };
    if inner.first_seq.0 != sequencer.next_seq {
        return Err(damaged("a frame of the catalogue is missing before this one"));
    }
    let mut plain = Vec::new();
    sequencer
        .period_key
        .open(&inner.associated_data(&sequencer.chain), sealed, &mut plain)
        .map_err(|error| damaged("tag does not match").because(error))?;
    if next_chain(&sequencer.chain, inner, sealed) != inner.chain {
        return Err(damaged("the chain is broken"));
    }
    sequencer.chain = inner.chain;
    sequencer.next_seq = inner.last_seq().0 + 1;
    catalogue.apply(inner.first_seq, &Bytes::from(plain))
}

/// Makes a pool: one frame of the log, which carries the pool's first manifest.
pub(super) fn create_pool(
    shared: &Arc<Shared>,
    name: &str,
    schema: Option<&str>,
    key: Option<&str>,
) -> Result<PoolCreated> {
    PoolName::parse(name).map_err(|fault| Error::invalid(fault.to_string()).because(fault))?;
    let _reserved = Reserved::take(shared, name)?;
    if key.is_some_and(|uri| uri != "local" && !uri.starts_with("local:")) {
        return Err(Error::invalid("this store's key provider is local: leave KEY out, or say KEY local"));
    }
    let invalid = |fault: crate::pool::schema::InvalidSchema| Error::invalid(fault.to_string()).because(fault);
    let mut rules = Schema::standard();
    if let Some(text) = schema {
        let patch = SchemaPatch::parse(text.as_bytes()).map_err(invalid)?;
        rules = Arc::new(rules.alter(&patch).map_err(invalid)?.0);
    }
    let mut id = PoolId::NIL;
    shared.random(&mut id.0)?;
    id.0[6] = id.0[6] & 0x0f | 0x40;
    id.0[8] = id.0[8] & 0x3f | 0x80;
    let (body, keyring) = first_manifest(shared, id, &rules)?;
    // The catalogue vouches for it: one copy does.
    let manifest = manifest::encode(&*shared.io, id, 0, &body, &keyring, 1)?;
    let entry = CatalogueEntry {
        id,
        name: name.to_owned(),
        manifest_number: 0,
        manifest_digest: [0; 32],
        flushed_seq: Seq(0),
        first_manifest: Some(manifest),
    };
    shared.commit_catalogue(CatalogueChange::Pool(&entry).encode())?;
    let slot = PoolSlot::new(&entry, Vec::new(), None);
    shared.slots.write().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(id, slot);
    shared.names.write().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(name.into(), id);
    shared.close_idle_pools();
    Ok(PoolCreated { id, seq: Seq(0) })
}

/// A pool's name while the pool is made.
struct Reserved<'s> {
    shared: &'s Shared,
    name: &'s str,
}

impl<'s> Reserved<'s> {
    fn take(shared: &'s Shared, name: &'s str) -> Result<Self> {
        let mut making = lock(&shared.making_pools);
        match shared.slot_names().contains_key(name) || !making.insert(name.into()) {
            true => Err(Error::new(ErrorKind::Exists, "a pool of this name is there already: choose another name")),
            false => Ok(Self { shared, name }),
        }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        lock(&self.shared.making_pools).remove(self.name);
    }
}

fn first_manifest(shared: &Shared, id: PoolId, schema: &Schema) -> Result<(ManifestBody, Keyring)> {
    let no_random = |source| Error::new(ErrorKind::Io, "no randomness to be had").because(source);
    let data_key = DataKey::generate(&*shared.io).map_err(no_random)?;
    let wrapped = shared
        .provider
        .wrap(&data_key, &WrapContext { pool: id, key_epoch: KeyEpoch(1) })
        .map_err(|error| manifest::key_error(id, error))?;
    let secret = || -> Result<[u8; 32]> {
        let mut bytes = [0; 32];
        shared.random(&mut bytes)?;
        Ok(bytes)
    };
    let secrets = PoolSecrets { digest: secret()?, cursor: secret()?, alias: secret()? };
    let periods = vec![PeriodRef { period: Period(1), first_seq: Seq(1), key: secret()? }];
    let schema_fact = crate::digest::fact::fact(
        &crate::digest::fact::DigestKey::new(secrets.digest),
        &stoa_format::Sub::NIL.text(),
        "$schema",
        schema.to_text().as_bytes(),
    );
    let body = ManifestBody {
        flushed_seq: Seq(0),
        chain: [0; 32],
        epoch: Epoch(0),
        created_at_ms: shared.io.now_ms(),
        next_ordinal: 0,
        next_file_id: 1,
        next_group_id: 1,
        next_age: 1,
        users: 0,
        groups: 0,
        digest: Some(schema_fact),
        digest_key: secrets.digest,
        cursor_key: secrets.cursor,
        alias_key: secrets.alias,
        periods: periods.clone(),
        documents: vec![(SCHEMA_DOCUMENT.to_owned(), schema.encode().to_vec())],
        live: Vec::new(),
        files: Vec::new(),
        last_verify_ms: 0,
        history_from: Seq(0),
    };
    let hedge = Arc::new(data_key.hedge_key(id));
    let keyring = Keyring {
        data_keys: [(KeyEpoch(1), Arc::new(data_key))].into(),
        wrapped: vec![(KeyEpoch(1), wrapped.to_bytes())],
        hedge,
        periods,
    };
    Ok((body, keyring))
}
