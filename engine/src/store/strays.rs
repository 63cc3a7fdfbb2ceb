//! Files of a pool that no manifest names: what a crash, or a reader that outlived its store, left.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use crate::io::{Io, TEMPORARY_SUFFIX};
use crate::pool::open::OpenPool;
use crate::run::RunIdentity;

impl OpenPool {
    /// Removes the run files that the manifest does not name. One that cannot be removed stays, and
    /// its number is not given again.
    pub(super) fn remove_strays(&self) {
        let io = &*self.shared.io;
        let version = self.version.load();
        let named: HashSet<PathBuf> =
            version.runs.files.iter().map(|(file, _)| self.dir.join(RunIdentity::of(self.id, file).name())).collect();
        let mut folders = vec![self.dir.join("flush")];
        for parent in ["col", "idx"] {
            let parent = self.dir.join(parent);
            folders.extend(names(io, &parent).into_iter().map(|name| parent.join(name)));
        }
        for folder in folders {
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

    fn pass_over(&self, name: &str) {
        let digits = name.split('.').next().unwrap_or_default();
        if let Ok(number) = u64::from_str_radix(digits, 16) {
            self.next_file_id.fetch_max(number.saturating_add(1), Relaxed);
        }
    }
}

/// The names in a directory; none if it is not there.
fn names(io: &dyn Io, dir: &Path) -> Vec<String> {
    match io.exists(dir) {
        Ok(true) => io.list_dir(dir).unwrap_or_default(),
        _ => Vec::new(),
    }
}
