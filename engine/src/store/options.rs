//! How a store is opened, and its bounds.

use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::io::{Disk, Io};
use crate::password::Caps;
use crate::run::RunLimits;
use crate::wal::SEGMENT_BYTES_MIN;

/// Bounds of a store. All bytes and milliseconds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A pool's memtable is flushed when it exceeds this; at twice as much, writes are refused.
    pub memtable_bytes: u64,
    /// The log is kept to about this many segments: pools that hold it up are flushed or parked.
    pub log_segments_max: usize,
    /// The log's first segment has so many bytes; later ones grow with the load.
    pub log_segment_bytes: u64,
    /// Open pages and open files.
    pub runs: RunLimits,
    /// Pools open at once; idle ones are closed beyond it.
    pub open_pools_max: usize,
    /// How long the answer to a retry token is kept.
    pub token_ttl_ms: u64,
    /// How long a listing's Seq is kept after its last page.
    pub cursor_ttl_ms: u64,
    /// Listings open at once in a pool.
    pub leases_max: usize,
    /// Bytes of frames that a pool keeps for its change feed after they have left the log.
    pub history_bytes: u64,
    /// A value that is set for all users of a filter is written as columns if it changes so many; for fewer it
    /// goes through the log.
    pub set_all_users_min: u64,
    /// A deleted user's values are gone from files, log and history within this.
    pub erase_within_ms: u64,
    /// Room kept for deletes and compaction on a full disk. It is taken as the store grows, up to
    /// this; 0 for none. See `store::reserve`.
    pub reserve_bytes: u64,
    /// What stored password hashes may cost.
    pub password_caps: Caps,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memtable_bytes: 64 << 20,
            log_segments_max: 8,
            log_segment_bytes: SEGMENT_BYTES_MIN,
            runs: RunLimits::default(),
            open_pools_max: 1000,
            token_ttl_ms: 24 * 3600 * 1000,
            cursor_ttl_ms: 10 * 60 * 1000,
            leases_max: 1000,
            history_bytes: 64 << 20,
            set_all_users_min: 4096,
            erase_within_ms: 24 * 3600 * 1000,
            reserve_bytes: 64 << 20,
            password_caps: Caps::default(),
        }
    }
}

/// How to open a store.
#[derive(Clone)]
pub struct StoreOptions {
    /// The data directory.
    pub data: PathBuf,
    /// The key file; `DATA.key` beside the data directory unless given.
    pub key_file: PathBuf,
    /// The key file's passphrase, if it has one.
    pub passphrase: Option<Zeroizing<Vec<u8>>>,
    /// Make the store if the directory is empty or not there.
    pub create: bool,
    /// Disk, clock and randomness.
    pub io: Arc<dyn Io>,
    /// Bounds.
    pub limits: Limits,
    /// Run a commit thread and background work. Without them everything happens on the caller's
    /// thread, in a fixed order: for simulation.
    pub threads: bool,
}

impl StoreOptions {
    /// Opens the store at `data`, making it if need be, with the key file beside it.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let data: PathBuf = data.into();
        let mut key_file = data.clone().into_os_string();
        while key_file.to_string_lossy().ends_with('/') && key_file.len() > 1 {
            let text = key_file.to_string_lossy().trim_end_matches('/').to_owned();
            key_file = text.into();
        }
        key_file.push(".key");
        Self {
            data,
            key_file: key_file.into(),
            passphrase: None,
            create: true,
            io: Arc::new(Disk::new()),
            limits: Limits::default(),
            threads: true,
        }
    }
}
