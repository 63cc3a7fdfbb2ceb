//! What all connections of one server share.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use stoa_engine::Store;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::acl::{Acl, Actor};
use crate::audit::Audit;
use crate::config::ServerConfig;
use crate::connection::{Budget, Clients};
use crate::hashing::Hashing;
use crate::names::NameLists;
use crate::stats::Stats;

/// The state of one server.
pub(crate) struct Shared {
    /// The settings.
    pub config: ServerConfig,
    /// The engine.
    pub store: Store,
    /// Access control.
    pub acl: Acl,
    /// The connections.
    pub clients: Clients,
    /// What the buffers of all connections hold.
    pub buffers: Budget,
    /// Threads that hash passwords.
    pub hashing: Hashing,
    /// Counters.
    pub stats: Stats,
    /// The audit log.
    pub audit: Audit,
    /// Listings of names that no pool keeps.
    pub names: NameLists,
    /// Permits for long reads.
    pub scans: Arc<Semaphore>,
    /// Permits for what waits for the log on a thread: many share one sync.
    pub waits: Arc<Semaphore>,
    /// Where tasks are started from other threads.
    pub runtime: Handle,
    /// When the server started.
    pub started_at: Instant,
    /// This node's id in CLUSTER replies: 40 hexadecimal digits.
    pub node_id: String,
    /// Becomes true when the server stops.
    pub stopping: watch::Receiver<bool>,
    /// Who every connection is in development mode.
    pub dev: Option<Arc<Actor>>,
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
