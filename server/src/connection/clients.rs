//! The connections of a server, for CLIENT LIST and CLIENT KILL.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::command::table;
use crate::shared::now_ms;

/// What others may know of one connection.
pub(crate) struct ClientEntry {
    /// Its number; never given twice.
    pub id: u64,
    /// The peer.
    pub address: Arc<str>,
    /// Where it was taken.
    pub local: Arc<str>,
    /// When, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it last sent a command, milliseconds since the Unix epoch.
    pub active_ms: AtomicU64,
    /// The number of that command in the table.
    pub last_command: AtomicUsize,
    /// Speaks RESP3.
    pub resp3: AtomicBool,
    /// How many commands are queued in a transaction; `usize::MAX`: none is open.
    pub queued: AtomicUsize,
    /// What the client says of itself, and who it is.
    pub names: Mutex<Names>,
    kill: Notify,
    is_killed: AtomicBool,
    /// What its buffers hold and the budget counts; changed by the budget alone, under its lock.
    held_bytes: AtomicUsize,
    /// It has to give all of it up; as well.
    is_evicted: AtomicBool,
}

/// What a client says of itself, and who it is.
#[derive(Default, Clone)]
pub(crate) struct Names {
    /// CLIENT SETNAME
    pub name: String,
    /// CLIENT SETINFO LIB-NAME
    pub library: String,
    /// CLIENT SETINFO LIB-VER
    pub version: String,
    /// The access-control user; empty before authentication.
    pub user: String,
}

/// Which connections to close; all conditions must hold.
#[derive(Default)]
pub(crate) struct Killed {
    /// This number.
    pub id: Option<u64>,
    /// This peer.
    pub address: Option<String>,
    /// This end.
    pub local: Option<String>,
    /// This access-control user.
    pub user: Option<String>,
    /// Not this one.
    pub but: Option<u64>,
}

impl ClientEntry {
    /// The names, locked.
    pub(crate) fn names(&self) -> std::sync::MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its buffers hold and the budget counts, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Relaxed)
    }

    /// Notes what its buffers hold now; answers what they held.
    pub(super) fn hold(&self, bytes: usize) -> usize {
        self.held_bytes.swap(bytes, Relaxed)
    }

    /// Has it give up what it holds, and close; answers how much that is.
    pub(super) fn evict(&self) -> usize {
        self.is_evicted.store(true, Relaxed);
        self.kill.notify_one();
        self.held_bytes()
    }

    /// Whether somebody wants this connection closed.
    pub(super) fn is_killed(&self) -> bool {
        self.is_killed.load(Relaxed)
    }

    /// Whether it has to give up what it holds.
    pub(super) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Relaxed)
    }

    /// Waits until somebody wants this connection closed.
    pub(crate) async fn killed(&self) {
        self.kill.notified().await;
    }

    /// One line of CLIENT LIST.
    pub(crate) fn line(&self) -> String {
        let now = now_ms();
        let names = self.names().clone();
        let command = table().entries().get(self.last_command.load(Relaxed)).map_or("NULL", |entry| &entry.name);
        let queued = self.queued.load(Relaxed) as i64;
        let mut line = String::new();
        let _ = write!(
            line,
            "id={} addr={} laddr={} fd=0 name={} age={} idle={} flags={} db=0 sub=0 psub=0 ssub=0 multi={} watch=0 \
             cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
            self.id,
            self.address,
            self.local,
            names.name,
            now.saturating_sub(self.created_ms) / 1000,
            now.saturating_sub(self.active_ms.load(Relaxed)) / 1000,
            if queued < 0 { "N" } else { "x" },
            queued,
            command,
            names.user,
            if self.resp3.load(Relaxed) { 3 } else { 2 },
            names.library,
            names.version,
        );
        line
    }
}

/// All connections of one server.
#[derive(Default)]
pub(crate) struct Clients {
    next_id: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<ClientEntry>>>,
}

impl Clients {
    /// Notes a new connection, unless there are `max`.
    pub(crate) fn enter(&self, address: Arc<str>, local: Arc<str>, max: usize) -> Option<Arc<ClientEntry>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= max {
            return None;
        }
        let now = now_ms();
        let entry = Arc::new(ClientEntry {
            id: self.next_id.fetch_add(1, Relaxed) + 1,
            address,
            local,
            created_ms: now,
            active_ms: AtomicU64::new(now),
            last_command: AtomicUsize::new(usize::MAX),
            resp3: AtomicBool::new(false),
            queued: AtomicUsize::new(usize::MAX),
            names: Mutex::default(),
            kill: Notify::new(),
            is_killed: AtomicBool::new(false),
            held_bytes: AtomicUsize::new(0),
            is_evicted: AtomicBool::new(false),
        });
        open.insert(entry.id, entry.clone());
        Some(entry)
    }

    /// Forgets a connection that has ended.
    pub(crate) fn leave(&self, id: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<ClientEntry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Closes those that match, once their replies are written; answers how many.
    pub(crate) fn kill(&self, which: &Killed) -> usize {
        let all = self.all();
        let chosen = all.iter().filter(|entry| {
            which.id.is_none_or(|id| id == entry.id)
                && which.address.as_ref().is_none_or(|address| **address == *entry.address)
                && which.local.as_ref().is_none_or(|local| **local == *entry.local)
                && which.user.as_ref().is_none_or(|user| *user == entry.names().user)
                && which.but != Some(entry.id)
                && !entry.is_killed.swap(true, Relaxed)
        });
        chosen.map(|entry| entry.kill.notify_one()).count()
    }
}
