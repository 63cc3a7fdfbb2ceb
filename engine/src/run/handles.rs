//! Open files of the process, under one limit.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::io::{File, Io, OpenMode};

/// Files that are open for reading. Any file may be closed and opened again between two reads.
pub struct FileHandles {
    limit: usize,
    next: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    files: HashMap<u64, Handle>,
    /// In the order in which they may be closed; those used since they were last looked at get another turn.
    turns: VecDeque<u64>,
}

struct Handle {
    file: Arc<dyn File>,
    used: bool,
}

impl FileHandles {
    /// At most `limit` files open at once (those in the middle of a read come on top).
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), next: AtomicU64::new(0), open: Mutex::default() }
    }

    /// A number under which a file is known here; never given twice.
    pub(crate) fn register(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The file of this number, opened if it is not.
    pub(crate) fn get(&self, number: u64, io: &dyn Io, path: &Path) -> io::Result<Arc<dyn File>> {
        if let Some(handle) = self.lock().files.get_mut(&number) {
            handle.used = true;
            return Ok(handle.file.clone());
        }
        let file = io.open(path, OpenMode::Read)?;
        let mut closed = Vec::new();
        let mut open = self.lock();
        if open.files.insert(number, Handle { file: file.clone(), used: false }).is_none() {
            open.turns.push_back(number);
        }
        while open.files.len() > self.limit {
            let Some(candidate) = open.turns.pop_front() else { break };
            match open.files.get_mut(&candidate) {
                Some(handle) if handle.used => {
                    handle.used = false;
                    open.turns.push_back(candidate);
                }
                Some(_) => closed.extend(open.files.remove(&candidate)),
                None => {}
            }
        }
        drop(open);
        // Closing is a system call: not under the lock.
        drop(closed);
        Ok(file)
    }

    /// Closes the file of this number, if it is open.
    pub(crate) fn forget(&self, number: u64) {
        let mut open = self.lock();
        let handle = open.files.remove(&number);
        if handle.is_some() {
            open.turns.retain(|&turn| turn != number);
        }
        drop(open);
        drop(handle);
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.lock().files.len()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing is left half done by a panic in here.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
