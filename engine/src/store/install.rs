//! The second straight line: whatever changes a pool's files does so by one new manifest.
//! Write it, make it durable, show it to readers, let go of what it no longer names, tell the
//! catalogue.
//!
//! Invariants:
//! 1. Its caller holds `OpenPool::flushing`: manifests are written one at a time.
//! 2. Files that the new manifest names are durable, with their names, before it is written.
//! 3. The catalogue never knows a manifest that is not durable; one that is newer than the
//!    catalogue knows is accepted.
//! 4. A period's key is in a durable manifest before it seals a frame, and stays in it while any
//!    frame that it may have sealed is kept.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use roaring::RoaringBitmap;
use stoa_format::manifest::{FilePlace, FileRef, ManifestBody, PeriodRef};
use stoa_format::store::CatalogueEntry;
use stoa_format::{FileId, KeyEpoch, Period, Seq};

use super::catalogue::CatalogueChange;
use crate::error::{Error, ErrorKind, Result};
use crate::io::{Io, replace};
use crate::keys::SealKey;
use crate::manifest;
use crate::memtable::Memtable;
use crate::pool::open::{Keyring, OpenPool, lock};
use crate::pool::runs::Runs;
use crate::pool::version::{Documents, Version};
use crate::wal::io_error;

/// What the next manifest says that the last one did not.
#[derive(Default)]
pub(super) struct Change {
    /// A newer state, if memtables were flushed.
    pub flushed: Option<Flushed>,
    /// New files.
    pub added: Vec<FileRef>,
    /// Sections that new ones replace.
    pub removed: Vec<(FileId, u16)>,
    /// When the pool was verified, if it just was.
    pub verified_ms: Option<u64>,
}

/// A state of the pool whose memtables have been written.
pub(super) struct Flushed {
    pub seq: Seq,
    pub chain: [u8; 32],
    pub groups: u64,
    pub digest: Option<u128>,
    pub documents: Arc<Documents>,
    pub live: RoaringBitmap,
    pub memtables: Vec<Arc<Memtable>>,
}

impl OpenPool {
    /// Writes the next manifest and puts it in force.
    ///
    /// # Errors
    /// If it cannot be made durable; then nothing has changed, whichever manifest the disk has.
    pub(super) fn install(self: &Arc<Self>, change: Change) -> Result<()> {
        let number = self.manifest_number.load(Relaxed) + 1;
        let (body, live) = self.next_body(&change)?;
        let keyring = self.next_keyring(&body);
        let before = self.version.load_full();
        let data_key = |file: &FileRef| {
            let key = keyring.data_keys.get(&file.key_epoch).cloned();
            key.ok_or_else(|| Error::damaged("a file is sealed under a data key that this pool does not have"))
        };
        let (known, env) = (&before.runs.files, &self.shared.env);
        let runs = Runs::assemble(env, &self.dir, self.id, &body.files, known, data_key, live, body.flushed_seq)?;
        let runs = Arc::new(runs);
        let bytes = manifest::encode(&*self.shared.io, self.id, number, &body, &keyring, 2)?;
        self.make_dir("")?;
        let path = self.dir.join("MANIFEST");
        replace(&*self.shared.io, &path, &bytes).map_err(|source| io_error("writing", &path, source))?;
        self.put_in_force(number, body, keyring, runs, &change);
        self.tell_catalogue(number, &bytes)
    }

    fn next_body(&self, change: &Change) -> Result<(ManifestBody, RoaringBitmap)> {
        let mut body = lock(&self.checkpoint).clone();
        let before = self.version.load();
        let mut live = before.runs.live.clone();
        let is_new = |file: &FileRef| !body.files.iter().any(|known| known.id == file.id);
        if change.flushed.is_none() && before.runs.files.iter().any(|(file, _)| is_new(file)) {
            // A frame has put them there, and a manifest that names them must be past it.
            return Err(Error::new(ErrorKind::TryAgain, "files were installed that no flush has seen yet"));
        }
        body.files = before.runs.files.iter().map(|(file, _)| file.clone()).collect();
        if let Some(flushed) = &change.flushed {
            live = flushed.live.clone();
            body.flushed_seq = flushed.seq;
            body.chain = flushed.chain;
            body.groups = flushed.groups;
            body.digest = flushed.digest;
            let documents = flushed.documents.by_name.iter();
            body.documents = documents.map(|(name, content)| (name.to_string(), content.to_vec())).collect();
            let mut bitmap = live.clone();
            bitmap.optimize();
            body.live = Vec::with_capacity(bitmap.serialized_size());
            bitmap
                .serialize_into(&mut body.live)
                .map_err(|source| Error::damaged("the set of live users cannot be written").because(source))?;
            body.users = live.len();
        }
        for file in &mut body.files {
            let id = file.id;
            file.sections.retain(|section| !change.removed.contains(&(id, section.section)));
        }
        body.files.retain(|file| !file.sections.is_empty());
        body.files.extend(change.added.iter().cloned());
        body.next_ordinal = self.next_ordinal.load(Relaxed);
        body.next_file_id = self.next_file_id.load(Relaxed);
        body.next_group_id = self.next_group_id.load(Relaxed);
        body.next_age = self.next_age.load(Relaxed);
        body.last_verify_ms = change.verified_ms.unwrap_or(body.last_verify_ms);
        body.history_from = self.oldest_frame().unwrap_or(Seq(0));
        self.next_periods(&mut body)?;
        lock(&self.erasures).enter(&mut body);
        Ok((body, live))
    }

    /// Mints the next period and drops those whose frames are all gone.
    fn next_periods(&self, body: &mut ManifestBody) -> Result<()> {
        let mut key = [0; 32];
        self.shared.random(&mut key)?;
        let last = body.periods.last().map_or(Period(0), |period| period.period);
        let first_seq = Seq(self.visible.seq().0.max(body.flushed_seq.0) + 1);
        body.periods.push(PeriodRef { period: Period(last.0 + 1), first_seq, key });
        // A period goes on until the manifest after the one that mints its successor is in force,
        // so its frames end before the first Seq of the period after next.
        let needed = self.oldest_frame().map_or(body.flushed_seq.0 + 1, |seq| seq.0.min(body.flushed_seq.0 + 1));
        while body.periods.get(2).is_some_and(|after_next| after_next.first_seq.0 <= needed) {
            body.periods.remove(0);
        }
        Ok(())
    }

    /// The keys that the new manifest names: the newest, and whatever a live file is sealed under.
    fn next_keyring(&self, body: &ManifestBody) -> Keyring {
        let keyring = lock(&self.keyring);
        let newest = keyring.data_keys.last_key_value().map_or(KeyEpoch(0), |(epoch, _)| *epoch);
        let needed = |epoch: KeyEpoch| epoch >= newest || body.files.iter().any(|file| file.key_epoch == epoch);
        let data_keys = keyring.data_keys.iter().filter(|(epoch, _)| needed(**epoch));
        Keyring {
            data_keys: data_keys.map(|(epoch, key)| (*epoch, Arc::clone(key))).collect(),
            wrapped: keyring.wrapped.iter().filter(|(epoch, _)| needed(*epoch)).cloned().collect(),
            hedge: Arc::clone(&keyring.hedge),
            periods: body.periods.clone(),
        }
    }

    /// Shows the new state to readers and to the leader.
    fn put_in_force(&self, number: u64, body: ManifestBody, keyring: Keyring, runs: Arc<Runs>, change: &Change) {
        let flushed: &[Arc<Memtable>] = change.flushed.as_ref().map_or(&[], |flushed| &flushed.memtables);
        let is_flushed = |memtable: &Arc<Memtable>| flushed.iter().any(|other| Arc::ptr_eq(other, memtable));
        let before = self.version.rcu(|version| {
            let frozen = version.frozen.iter().filter(|memtable| !is_flushed(memtable)).cloned().collect();
            Version { runs: Arc::clone(&runs), frozen, ..(**version).clone() }
        });
        for (file, run) in &before.runs.files {
            if !body.files.iter().any(|kept| kept.id == file.id) {
                run.retire();
            }
        }
        let newest_epoch = keyring.data_keys.last_key_value().map(|(epoch, _)| *epoch);
        let period = body.periods.last().cloned();
        *lock(&self.keyring) = keyring;
        {
            // Between two frames: the leader holds the sequencer while it makes one.
            let mut sequencer = lock(&self.sequencer);
            if let Some(period) = period {
                sequencer.period = period.period;
                sequencer.period_key = Arc::new(SealKey::new(&period.key));
            }
            sequencer.key_epoch = newest_epoch.unwrap_or(sequencer.key_epoch);
        }
        self.history_from.store(body.history_from.0, Relaxed);
        self.last_verify_ms.store(body.last_verify_ms, Relaxed);
        self.manifest_number.store(number, Relaxed);
        *lock(&self.checkpoint) = body;
    }

    fn tell_catalogue(&self, number: u64, bytes: &[u8]) -> Result<()> {
        let entry = CatalogueEntry {
            id: self.id,
            name: self.name.to_string(),
            manifest_number: number,
            manifest_digest: *blake3::hash(bytes).as_bytes(),
            flushed_seq: lock(&self.checkpoint).flushed_seq,
            first_manifest: None,
        };
        self.shared.commit_catalogue(CatalogueChange::Pool(&entry).encode()).map(drop)
    }

    /// The first Seq of the oldest frame that is kept anywhere.
    pub(super) fn oldest_frame(&self) -> Option<Seq> {
        let frames = lock(&self.frames);
        let history = lock(&self.history).front().map(|file| file.first_seq);
        history.or_else(|| frames.front().map(|frame| frame.first_seq))
    }

    /// Makes a folder for run files, durably.
    pub(crate) fn make_folder(&self, place: FilePlace, folder: u16) -> Result<()> {
        self.make_dir(&folder_name(place, folder))
    }

    /// Makes the names in a folder of run files durable.
    pub(crate) fn sync_folder(&self, place: FilePlace, folder: u16) -> Result<()> {
        let path = self.dir.join(folder_name(place, folder));
        self.shared.io.sync_dir(&path).map_err(|source| io_error("syncing", &path, source))
    }

    /// Makes a directory below the pool's own, or that one itself, and the names on the way to it durable.
    pub(super) fn make_dir(&self, below: &str) -> Result<()> {
        let path = if below.is_empty() { self.dir.clone() } else { self.dir.join(below) };
        if lock(&self.made_dirs).contains(&path) {
            return Ok(());
        }
        make_durable_dir(&*self.shared.io, &self.shared.data, &path)?;
        lock(&self.made_dirs).insert(path);
        Ok(())
    }
}

/// Makes a directory below the data directory, and the names on the way to it durable.
pub(super) fn make_durable_dir(io: &dyn Io, data: &Path, path: &Path) -> Result<()> {
    io.create_dir_all(path).map_err(|source| io_error("making", path, source))?;
    let on_the_way: Vec<&Path> = path.ancestors().skip(1).take_while(|dir| dir.starts_with(data)).collect();
    for dir in on_the_way.into_iter().rev() {
        io.sync_dir(dir).map_err(|source| io_error("syncing", dir, source))?;
    }
    Ok(())
}

fn folder_name(place: FilePlace, folder: u16) -> String {
    match place {
        FilePlace::Flush => "flush".to_owned(),
        FilePlace::Column => format!("col/{folder}"),
        FilePlace::Index => format!("idx/{folder}"),
    }
}
