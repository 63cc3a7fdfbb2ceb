//! What was refused lately, for ACL LOG: the newest first, equal ones counted together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// How many entries are kept.
const ENTRIES_MAX: usize = 128;
/// Equal refusals within this time are one entry, in milliseconds.
const SAME_MS: u64 = 60_000;

/// One entry.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// How many times.
    pub count: u64,
    /// `auth`, `command` or `key`.
    pub reason: &'static str,
    /// Whether it was in a transaction.
    pub in_multi: bool,
    /// The command's name.
    pub object: Arc<str>,
    /// The access-control user, where authenticated.
    pub user: Arc<str>,
    /// The peer's address.
    pub address: Arc<str>,
    /// Counts the entries.
    pub id: u64,
    /// When first, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When last, milliseconds since the Unix epoch.
    pub updated_ms: u64,
}

/// The log of refusals.
#[derive(Default)]
pub(crate) struct RefusedLog {
    entries: Mutex<(u64, VecDeque<Refused>)>,
}

impl RefusedLog {
    /// Adds an entry, or counts it with an equal one.
    pub(crate) fn add(&self, mut entry: Refused) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |other: &&mut Refused| {
            other.reason == entry.reason
                && other.object == entry.object
                && other.user == entry.user
                && other.in_multi == entry.in_multi
                && entry.updated_ms.saturating_sub(other.updated_ms) < SAME_MS
        };
        if let Some(known) = entries.1.iter_mut().find(same) {
            (known.count, known.updated_ms) = (known.count + 1, entry.updated_ms);
            return;
        }
        entry.id = entries.0;
        entries.0 += 1;
        entries.1.push_front(entry);
        entries.1.truncate(ENTRIES_MAX);
    }

    /// The newest entries.
    pub(crate) fn newest(&self, count: usize) -> Vec<Refused> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.1.iter().take(count).cloned().collect()
    }

    /// Forgets all entries.
    pub(crate) fn reset(&self) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).1.clear();
    }
}
