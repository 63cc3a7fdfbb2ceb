//! Committing an install, and applying one: live, at recovery and on a replica by the same code.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use roaring::RoaringBitmap;
use stoa_format::install::{INSTALL_DOCUMENT, Install};
use stoa_format::manifest::FileRef;
use stoa_format::ops::{EventKind, Operation, Subject};
use stoa_format::wire::Write;
use stoa_format::{AttrId, FileId, Seq};

use super::files::NewFiles;
use crate::digest::tree::Tree;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::draft::{Prepared, schema_conflict};
use crate::pool::open::{OpenPool, lock};
use crate::pool::request::Outcome;
use crate::pool::runs::Runs;
use crate::pool::snapshot::damaged;
use crate::pool::version::Version;

/// What an install says of itself in the change feed.
pub(super) struct Announcement<'a> {
    pub actor: &'a str,
    pub event: EventKind,
    pub attrs: Vec<AttrId>,
    pub changed: u64,
}

/// Commits `install`, which rests on the pool's state at `base_seq` and on nothing that came after it.
/// Its files are durable, names included. `None` if something was committed in between: nothing is changed then.
pub(super) fn commit(
    pool: &Arc<OpenPool>,
    files: &NewFiles,
    install: &Install,
    base_seq: Seq,
    says: Announcement<'_>,
) -> Result<Option<Seq>> {
    let has_key = |file: &FileRef| lock(&pool.keyring).data_keys.contains_key(&file.key_epoch);
    if !install.files.iter().all(has_key) {
        let what = "the pool's data key was replaced meanwhile: try again";
        return Err(Error::new(ErrorKind::TryAgain, what));
    }
    let mut body = Vec::new();
    body.put_bytes(says.actor.as_bytes());
    Operation::Event { event: says.event, subject: Subject::Pool, version: 0, attrs: says.attrs }.encode(&mut body);
    Operation::Meta { name: INSTALL_DOCUMENT, content: Some(&install.encode()) }.encode(&mut body);
    let prepared = Prepared {
        base_seq,
        reads: Vec::new(),
        // Who read the pool as it was before is sent back.
        writes: vec![schema_conflict()],
        exclusive: true,
        body,
        seq_at: None,
        outcomes: vec![Outcome { sub: None, version: None, changed: Some(says.changed) }],
    };
    match pool.shared.commit_prepared(pool, prepared) {
        Ok(Some(committed)) => {
            files.keep();
            Ok(Some(committed.seq))
        }
        Ok(None) => Ok(None),
        Err(error) => {
            if error.kind() == ErrorKind::InDoubt {
                files.keep();
            }
            Err(error)
        }
    }
}

impl OpenPool {
    /// Puts an install's files in their place, unless the manifest that the pool was opened with has them.
    ///
    /// # Errors
    /// `DAMAGED` if the content is not what a leader writes.
    pub(crate) fn apply_install(&self, content: &[u8], tree: &mut Tree) -> Result<()> {
        let install = Install::decode(content).map_err(|fault| damaged(&fault))?;
        if install.id.0 < self.installed_below.load(Relaxed) {
            return Ok(());
        }
        self.next_ordinal.fetch_max(install.next_ordinal, Relaxed);
        self.next_group_id.fetch_max(install.next_group_id, Relaxed);
        self.next_age.fetch_max(install.next_age, Relaxed);
        self.next_file_id.fetch_max(install.id.0 + 1, Relaxed);
        let version = self.version.load_full();
        let runs = self.runs_with(&version.runs, &install)?;
        let runs = Arc::new(runs);
        self.version.rcu(|version| Version { runs: Arc::clone(&runs), ..(**version).clone() });
        self.groups.fetch_add(install.groups, Relaxed);
        self.installed_below.store(install.id.0 + 1, Relaxed);
        tree.forget();
        Ok(())
    }

    fn runs_with(&self, before: &Runs, install: &Install) -> Result<Runs> {
        let live = match &install.live {
            None => before.live.clone(),
            Some(bytes) => RoaringBitmap::deserialize_from(&bytes[..])
                .map_err(|error| Error::damaged("an install's live users are malformed").because(error))?,
        };
        let mut files: Vec<FileRef> = before.files.iter().map(|(file, _)| file.clone()).collect();
        let is_dropped = |file: FileId, section: u16| install.dropped.contains(&(file, section));
        for file in &mut files {
            file.sections.retain(|section| !is_dropped(file.id, section.section));
        }
        files.retain(|file| !file.sections.is_empty());
        files.extend(install.files.iter().cloned());
        // A key that the log has made known, and no manifest yet.
        self.adopt_keyring()?;
        let keyring = lock(&self.keyring);
        let data_key = |file: &FileRef| {
            let key = keyring.data_keys.get(&file.key_epoch).cloned();
            key.ok_or_else(|| Error::damaged("a file is sealed under a data key that the manifest does not name"))
        };
        let (env, seq) = (&self.shared.env, before.flushed_seq);
        Runs::assemble(env, &self.dir, self.id, &files, &before.files, data_key, live, seq)
    }
}
