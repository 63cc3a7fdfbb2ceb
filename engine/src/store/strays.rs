//! Files of a pool that no manifest names: what a crash, or a reader that outlived its store, left.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use stoa_format::FileId;

use crate::error::Result;
use crate::io::{Io, TEMPORARY_SUFFIX};
use crate::pool::open::OpenPool;
use crate::run::RunIdentity;
use crate::wal::io_error;

impl OpenPool {
    /// Removes the run files that the manifest does not name. One that cannot be removed stays, and
    /// its number is not given again.
    pub(super) fn remove_strays(&self) {
        let io = &*self.shared.io;
        let version = self.version.load();
        let named: HashSet<PathBuf> =
            version.runs.files.iter().map(|(file, _)| self.dir.join(RunIdentity::of(self.id, file).name())).collect();
        for folder in self.run_folders() {
            for name in names(io, &folder) {
                let path = folder.join(&name);
                if !named.contains(&path) && io.remove_file(&path).is_err() {
                    self.pass_over(&name);
                }
            }
        }
        for folder in [self.dir.clone(), self.dir.join("history")] {
            for name in names(io, &folder).iter().filter(|name| name.ends_with(TEMPORARY_SUFFIX)) {
                // What another is written over needs no room of its own.
                let _ = io.remove_file(&folder.join(name));
            }
        }
    }

    /// Whether a run file with an id below this one is on disk, named by a manifest or not.
    ///
    /// # Errors
    /// `IOERROR`: nobody knows then.
    pub(super) fn has_files_below(&self, below: FileId) -> Result<bool> {
        let io = &*self.shared.io;
        for folder in self.run_folders() {
            let failed = |source| io_error("listing", &folder, source);
            if !io.exists(&folder).map_err(failed)? {
                continue;
            }
            let names = io.list_dir(&folder).map_err(failed)?;
            if names.iter().any(|name| file_number(name).is_some_and(|number| number < below.0)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn run_folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.dir.join("flush")];
        for parent in ["col", "idx"] {
            let parent = self.dir.join(parent);
            folders.extend(names(&*self.shared.io, &parent).into_iter().map(|name| parent.join(name)));
        }
        folders
    }

    fn pass_over(&self, name: &str) {
        if let Some(number) = file_number(name) {
            self.next_file_id.fetch_max(number.saturating_add(1), Relaxed);
        }
    }
}

/// The id in a run file's name.
fn file_number(name: &str) -> Option<u64> {
    u64::from_str_radix(name.split('.').next().unwrap_or_default(), 16).ok()
}

/// The names in a directory; none if it is not there.
fn names(io: &dyn Io, dir: &Path) -> Vec<String> {
    match io.exists(dir) {
        Ok(true) => io.list_dir(dir).unwrap_or_default(),
        _ => Vec::new(),
    }
}
