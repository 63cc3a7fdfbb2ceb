//! New run files of one install: made one by one, durable when finished, nobody's until the install's
//! frame names them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use stoa_format::AttrId;
use stoa_format::manifest::{FilePlace, FileRef};

use crate::error::Result;
use crate::pool::open::{OpenPool, lock};
use crate::run::{FinishedRun, RunWriter};
use crate::store::flush::file_ref;

/// A column file is ended at this size: a partition of 64 MiB at most, with room for its footer.
pub(super) const PARTITION_BYTES: u64 = 62 << 20;

/// Makes the files of one install and remembers them.
pub(super) struct NewFiles {
    pool: Arc<OpenPool>,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    folders: BTreeSet<(FilePlace, u16)>,
    finished: Vec<FinishedRun>,
    /// A frame names the files, or may.
    kept: bool,
}

impl NewFiles {
    pub(super) fn new(pool: &Arc<OpenPool>) -> Self {
        Self { pool: Arc::clone(pool), made: Mutex::default() }
    }

    /// Starts a file of an attribute or a keyspace.
    pub(super) fn create(&self, place: FilePlace, folder: u16) -> Result<RunWriter> {
        lock(&self.made).folders.insert((place, folder));
        self.pool.new_file(place, folder)
    }

    /// Makes a file's content durable.
    pub(super) fn finish(&self, writer: RunWriter) -> Result<()> {
        let finished = writer.finish()?;
        lock(&self.made).finished.push(finished);
        Ok(())
    }

    /// Makes the names of all files durable.
    pub(super) fn sync_names(&self) -> Result<()> {
        let folders = lock(&self.made).folders.clone();
        folders.into_iter().try_for_each(|(place, folder)| self.pool.sync_folder(place, folder))
    }

    /// The finished files as a manifest names them, all of this age. Which columns are a base, with nothing older
    /// below it, is for the caller to say.
    pub(super) fn file_refs(&self, age: u64, is_dense: impl Fn(AttrId) -> bool) -> Vec<FileRef> {
        let made = lock(&self.made);
        let mut refs: Vec<FileRef> = made.finished.iter().map(|run| file_ref(run, age, &is_dense)).collect();
        refs.sort_by_key(|file| file.id);
        refs
    }

    /// From now on the files stay, whatever becomes of this.
    pub(super) fn keep(&self) {
        lock(&self.made).kept = true;
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        let made = std::mem::take(&mut *lock(&self.made));
        if made.kept {
            return;
        }
        for run in &made.finished {
            // Nothing names the file; if it cannot be removed now, the next opening of the pool does it.
            let _ = self.pool.shared.io.remove_file(&self.pool.dir.join(run.identity.name()));
        }
    }
}
