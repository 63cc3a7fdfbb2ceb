//! What there is to say about a pool.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;

use stoa_format::manifest::FileRef;
use stoa_format::wrapped::WrappedKey;

use super::Pool;
use super::keyspace;
use super::open::{OpenPool, lock};
use super::snapshot::{Snapshot, damaged};
use super::version::Version;
use super::view::{KeyInfo, PoolInfo};
use crate::error::Result;
use crate::wal::io_error;

/// Ordinals are 32 bits in memory.
const ORDINALS_MAX: u64 = u32::MAX as u64;

impl Snapshot {
    /// How many groups there are.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn group_count(&self) -> Result<u64> {
        let mut count = 0;
        self.scan_prefix(&keyspace::start_of(keyspace::GROUPS), |_, _| {
            count += 1;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(count)
    }
}

impl Pool {
    /// Facts about the pool, as of now.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn info(&self) -> Result<PoolInfo> {
        let open = &self.open;
        // The head is raised before it is visible; the digest before that. Both are durable.
        let snapshot = self.snapshot();
        let (seq, chain) = *lock(&open.head);
        let trouble = lock(&open.trouble).as_ref().map(|error| error.message().to_owned());
        let full = || open.shared.check_room().err().map(|error| error.to_string());
        let version = &snapshot.version;
        let files = version.runs.files.iter().map(|(file, _)| file);
        let disk = Disk::of(open, files.clone())?;
        let last_verify_ms = open.last_verify_ms.load(Relaxed);
        Ok(PoolInfo {
            id: open.id,
            name: open.name.clone(),
            state: "open",
            state_reason: trouble.or_else(full),
            users: snapshot.user_count()?,
            groups: open.groups.load(Relaxed),
            seq,
            durable_seq: seq,
            epoch: lock(&open.sequencer).epoch.0,
            role: "primary",
            chain: hex(&chain),
            digest: lock(&open.tree).sum().map(|digest| hex(&digest.to_le_bytes())),
            schema: snapshot.schema().to_text(),
            schema_version: snapshot.schema().version(),
            key: key_info(open, version)?,
            disk_live_bytes: disk.live_bytes,
            disk_garbage_bytes: disk.garbage_bytes,
            log_bytes_unflushed: lock(&open.frames)
                .iter()
                .filter(|frame| frame.last_seq > version.flushed_seq())
                .map(|frame| u64::from(frame.place.len))
                .sum(),
            runs: files.map(|file| file.sections.len() as u64).sum(),
            ordinals_left: ORDINALS_MAX.saturating_sub(open.next_ordinal.load(Relaxed)),
            erasure_due_ms: lock(&open.erasures).due_ms(),
            last_verify_ms: (last_verify_ms > 0).then_some(last_verify_ms),
        })
    }
}

fn key_info(open: &OpenPool, version: &Version) -> Result<KeyInfo> {
    let keyring = lock(&open.keyring);
    let newest = keyring.newest()?.0;
    let wrapped = keyring.wrapped.iter().find(|(epoch, _)| *epoch == newest);
    let wrapped = wrapped.map(|(_, bytes)| WrappedKey::decode(bytes)).transpose().map_err(|fault| damaged(&fault))?;
    let files = || version.runs.files.iter().map(|(file, _)| file);
    let epochs: BTreeSet<u32> = files().map(|file| file.key_epoch.0).chain([newest.0]).collect();
    Ok(KeyInfo {
        provider: wrapped.as_ref().map_or_else(String::new, |key| key.provider.clone()),
        key_id: wrapped.map_or_else(String::new, |key| key.key_id),
        key_epoch: newest.0,
        epochs_in_use: epochs.into_iter().collect(),
        bytes_to_reseal: files().filter(|file| file.key_epoch != newest).map(|file| file.len).sum(),
    })
}

/// What a pool takes on disk besides the log.
#[derive(Default)]
struct Disk {
    live_bytes: u64,
    garbage_bytes: u64,
}

impl Disk {
    /// Looks through the pool's folders: what no version names any more is garbage that goes when its
    /// last reader does.
    fn of<'f>(open: &OpenPool, files: impl Iterator<Item = &'f FileRef>) -> Result<Self> {
        let io = &*open.shared.io;
        let mut disk = Self::default();
        let mut live = BTreeSet::new();
        for file in files {
            disk.live_bytes += file.len;
            live.insert(file.id.0);
        }
        let manifest = open.dir.join("MANIFEST");
        disk.live_bytes += io.file_len(&manifest).unwrap_or_default();
        let failed = |path: &std::path::Path| {
            let path = path.to_owned();
            move |source| io_error("listing", &path, source)
        };
        let mut folders = vec![open.dir.join("flush")];
        for place in ["col", "idx"] {
            let parent = open.dir.join(place);
            if io.exists(&parent).map_err(failed(&parent))? {
                let names = io.list_dir(&parent).map_err(failed(&parent))?;
                folders.extend(names.into_iter().map(|name| parent.join(name)));
            }
        }
        for folder in folders {
            if !io.exists(&folder).map_err(failed(&folder))? {
                continue;
            }
            for name in io.list_dir(&folder).map_err(failed(&folder))? {
                let id = name.split('.').next().and_then(|stem| u64::from_str_radix(stem, 16).ok());
                if id.is_none_or(|id| !live.contains(&id)) {
                    // A file may go between the listing and the look.
                    disk.garbage_bytes += io.file_len(&folder.join(&name)).unwrap_or_default();
                }
            }
        }
        Ok(disk)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
