//! The audit log: who changed access, pools, keys and configuration, and who was refused.
//!
//! It is a ring of the newest entries in memory, written to sealed documents of the store, a block of
//! entries each: before a privileged command is answered, and otherwise within seconds. No entry holds an argument other
//! than the pool's name. Equal refusals are counted in one entry, so that nobody can push out what
//! matters by being refused often.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stoa_engine::Store;

use crate::shared::now_ms;

/// How many entries are kept.
const ENTRIES_MAX: usize = 1024;
/// How many entries stand in one document: adding one writes so many at most.
const BLOCK_ENTRIES: u64 = 32;
/// Documents, written in turn: those of all entries that are kept, and the one being filled.
const DOCUMENTS: u64 = ENTRIES_MAX as u64 / BLOCK_ENTRIES + 1;
/// Equal refusals within this time, and among so many of the newest entries, are one entry.
const SAME_MS: u64 = 60_000;
const SAME_ENTRIES: usize = 64;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditEntry {
    /// Counts the entries, from 1.
    pub n: u64,
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The access-control user; empty before authentication.
    pub user: String,
    /// The command's name.
    pub command: String,
    /// The pool, where the command names one.
    pub pool: Option<String>,
    /// `ok`, or the first word of the error.
    pub outcome: String,
    /// The peer's address.
    pub address: String,
    /// How many equal refusals this stands for; the time is that of the last.
    #[serde(default = "one")]
    pub count: u64,
}

fn one() -> u64 {
    1
}

impl AuditEntry {
    /// An entry of now, of a command that a user ran from an address.
    pub(crate) fn new(user: &str, command: &str, pool: Option<&[u8]>, outcome: &str, address: &str) -> Self {
        Self {
            n: 0,
            time_ms: now_ms(),
            user: user.to_string(),
            command: command.to_string(),
            pool: pool.map(|pool| String::from_utf8_lossy(pool).into_owned()),
            outcome: outcome.to_string(),
            address: address.to_string(),
            count: 1,
        }
    }

    /// Whether both are refusals of the same, from the same host.
    fn is_same_refusal(&self, other: &Self) -> bool {
        let host = |address: &str| address.rsplit_once(':').map_or(0, |(host, _)| host.len());
        self.outcome != "ok"
            && self.time_ms.saturating_sub(other.time_ms) < SAME_MS
            && (&self.user, &self.command, &self.pool, &self.outcome)
                == (&other.user, &other.command, &other.pool, &other.outcome)
            && self.address[..host(&self.address)] == other.address[..host(&other.address)]
    }
}

#[derive(Default)]
struct State {
    entries: VecDeque<AuditEntry>,
    last: u64,
    /// How often an entry was added or counted.
    changes: u64,
    /// The blocks that the store does not have as they are.
    dirty: BTreeSet<u64>,
}

impl State {
    /// The document of a block.
    fn content(&self, block: u64) -> Bytes {
        let entries: Vec<_> = self.entries.iter().filter(|entry| block_of(entry.n) == block).collect();
        serde_json::to_vec(&entries).expect("strings and numbers are always JSON").into()
    }
}

/// The block of entry `n`.
fn block_of(n: u64) -> u64 {
    (n - 1) / BLOCK_ENTRIES
}

/// The document that a block stands in.
fn document(block: u64) -> String {
    format!("audit-{}", block % DOCUMENTS)
}

/// The audit log of one store.
#[derive(Default)]
pub(crate) struct Audit {
    state: Mutex<State>,
    saved: Mutex<Saved>,
    /// A writer is done, and all who wait for it go on at once.
    has_saved: Condvar,
}

#[derive(Default)]
struct Saved {
    /// How many changes the store has.
    changes: u64,
    /// One writer at a time, so that an older document never replaces a newer one.
    is_saving: bool,
}

impl Audit {
    /// The log that the store's document holds.
    ///
    /// # Errors
    /// A document that this version does not understand.
    pub(crate) fn load(store: &Store) -> Result<Self, String> {
        let mut entries: Vec<AuditEntry> = Vec::new();
        for content in (0..DOCUMENTS).filter_map(|block| store.document(&document(block))) {
            let block: Vec<AuditEntry> = serde_json::from_slice(&content)
                .map_err(|error| format!("an audit document is malformed at column {}", error.column()))?;
            entries.extend(block);
        }
        entries.sort_by_key(|entry| entry.n);
        entries.drain(..entries.len().saturating_sub(ENTRIES_MAX));
        let last = entries.last().map_or(0, |entry| entry.n);
        let state = State { entries: entries.into(), last, ..State::default() };
        Ok(Self { state: Mutex::new(state), ..Self::default() })
    }

    /// Adds an entry, whose number is set here, or counts it in an equal one. Answers which change of the log that was.
    pub(crate) fn add(&self, mut entry: AuditEntry) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        state.changes += 1;
        let mut newest = state.entries.iter_mut().rev().take(SAME_ENTRIES);
        if let Some(same) = newest.find(|other| entry.is_same_refusal(other)) {
            (same.count, same.time_ms) = (same.count + 1, entry.time_ms);
            let block = block_of(same.n);
            state.dirty.insert(block);
            return state.changes;
        }
        state.last += 1;
        entry.n = state.last;
        let block = block_of(entry.n);
        state.dirty.insert(block);
        state.entries.push_back(entry);
        if state.entries.len() > ENTRIES_MAX {
            state.entries.pop_front();
        }
        state.changes
    }

    /// Entries from number `from` on, oldest first.
    pub(crate) fn from(&self, from: u64, count: usize) -> Vec<AuditEntry> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.entries.iter().filter(|entry| entry.n >= from).take(count).cloned().collect()
    }

    /// Writes the log to the store if it changed; blocks until it is durable.
    pub(crate) fn save(&self, store: &Store) {
        self.save_to(store, u64::MAX);
    }

    /// The same, unless the store has this change already: who waits for another's writing finds that the next one
    /// writes what all of them have added meanwhile.
    pub(crate) fn save_to(&self, store: &Store, change: u64) {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        while saved.is_saving && saved.changes < change {
            saved = self.has_saved.wait(saved).unwrap_or_else(PoisonError::into_inner);
        }
        if saved.changes >= change {
            return;
        }
        saved.is_saving = true;
        drop(saved);
        let changes = self.write(store);
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        saved.is_saving = false;
        saved.changes = changes.unwrap_or(saved.changes);
        self.has_saved.notify_all();
    }

    /// Writes what changed, all of it or nothing; answers how many changes the store has then.
    fn write(&self, store: &Store) -> Option<u64> {
        let (changes, dirty, documents) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let dirty = std::mem::take(&mut state.dirty);
            let documents: Vec<_> = dirty.iter().map(|&block| (document(block), state.content(block))).collect();
            (state.changes, dirty, documents)
        };
        if documents.is_empty() {
            return Some(changes);
        }
        let documents: Vec<_> = documents.iter().map(|(name, content)| (&name[..], content.clone())).collect();
        if let Err(error) = store.set_documents(&documents) {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).dirty.extend(dirty);
            tracing::error!(word = error.kind().word(), "the audit log could not be written");
            return None;
        }
        Some(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entries_are_kept_and_numbered() {
        let audit = Audit::default();
        for _ in 0..ENTRIES_MAX + 3 {
            audit.add(AuditEntry::new("a", "POOL.DROP", Some(b"p"), "ok", "1.2.3.4:5"));
        }
        let all = audit.from(0, usize::MAX);
        assert_eq!((all.len(), all[0].n), (ENTRIES_MAX, 4));
        assert_eq!(audit.from(ENTRIES_MAX as u64 + 3, 10).len(), 1);
    }

    #[test]
    fn what_is_saved_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(stoa_engine::StoreOptions::new(dir.path().join("DATA"))).unwrap();
        let audit = Audit::default();
        // More than are kept, saved at odd times, so that documents are written again in turn.
        for i in 0..ENTRIES_MAX as u64 + 100 {
            audit.add(AuditEntry::new("a", "POOL.DROP", Some(b"p"), "ok", "1.2.3.4:5"));
            if i % 7 == 0 {
                audit.save(&store);
            }
        }
        audit.save(&store);
        // What another has written is not written again.
        let change = audit.add(AuditEntry::new("a", "POOL.DROP", Some(b"p"), "ok", "1.2.3.4:5"));
        audit.save(&store);
        let seq = store.catalogue_seq();
        audit.save_to(&store, change);
        assert_eq!(store.catalogue_seq(), seq);
        let loaded = Audit::load(&store).unwrap();
        assert_eq!(loaded.from(0, usize::MAX), audit.from(0, usize::MAX));
        loaded.add(AuditEntry::new("a", "POOL.DROP", None, "ok", "1.2.3.4:5"));
        assert_eq!(loaded.from(ENTRIES_MAX as u64 + 102, 10).len(), 1);
    }

    #[test]
    fn nobody_pushes_out_entries_by_being_refused() {
        let audit = Audit::default();
        audit.add(AuditEntry::new("a", "POOL.DROP", Some(b"p"), "ok", "1.2.3.4:5"));
        for port in 0..5000 {
            audit.add(AuditEntry::new("", "AUTH", None, "WRONGPASS", &format!("6.6.6.6:{port}")));
        }
        audit.add(AuditEntry::new("", "AUTH", None, "WRONGPASS", "7.7.7.7:1"));
        let counts: Vec<_> = audit.from(0, 10).iter().map(|entry| entry.count).collect();
        assert_eq!(counts, [1, 5000, 1]);
    }
}
