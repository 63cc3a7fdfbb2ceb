//! A pool's manifest and run files: checksums without a key; with it commitments, roots, tags and order too.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stoa_engine::pool::schema::Schema;
use stoa_engine::run::{
    Finding as RunFinding, RunEnv, RunError, RunFault, RunFile, RunIdentity, RunLimits, check_sums,
};
use stoa_format::manifest::{FileRef, SectionContent, decode_copy};
use stoa_format::run::{HEADER_BYTES, Header, SectionId};
use stoa_format::{AttrId, FileId, PoolId};

use super::report::Finding;
use super::{FROM_BACKUP, Verification};
use crate::inspect::opener::PoolKeys;

const RUN_DAMAGED: &str =
    "The rest is served. Restore the pool from a backup, or take what can be read: stoa salvage DIR --pool P --to NEW";
const ONE_COPY: &str = "The other copy serves; POOL.FLUSH writes both anew";

impl Verification<'_> {
    /// One pool.
    pub(super) fn pool(&mut self, pool: PoolId) {
        self.report.counts(pool);
        let key_epochs = self.manifest(pool);
        match self.opener.clone() {
            Some(opener) => match opener.pool(pool) {
                Ok(_) => self.live_files(pool),
                Err(fault) => self.unopened(pool, &fault),
            },
            None => self.report.leave_out(Some(pool), "whether every live file is there", "only the key tells which"),
        }
        self.files_on_disk(pool, key_epochs.as_deref());
        self.history(pool);
    }

    /// A manifest that is whole and does not open is a finding; one that is not whole has been told of.
    fn unopened(&mut self, pool: PoolId, fault: &str) {
        let name = format!("pools/{pool}/MANIFEST");
        let known = self.report.findings.iter().any(|finding| finding.file == name && finding.remedy != ONE_COPY);
        if !known {
            self.find_in(Some(pool), &name, 0, fault, "Use the key that this pool was made with, or restore the pool");
        }
        self.report.leave_out(Some(pool), "everything that needs its keys", "its manifest does not open");
    }

    /// Both copies of the manifest. Answers the key epochs that it names.
    fn manifest(&mut self, pool: PoolId) -> Option<Vec<u32>> {
        let path = self.site.pool_dir(pool).join("MANIFEST");
        let name = self.site.name(&path);
        let bytes = match self.site.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.no_manifest(pool, &name);
                return None;
            }
            Err(error) => {
                self.find_in(Some(pool), &name, 0, error.to_string(), FROM_BACKUP);
                return None;
            }
        };
        let half = bytes.len() / 2;
        let copies = [(0, decode_copy(&bytes)), (half, decode_copy(&bytes[half..]))];
        let remedy = if copies.iter().any(|(_, copy)| copy.is_ok()) { ONE_COPY } else { FROM_BACKUP };
        let mut epochs = None;
        for (start, copy) in &copies {
            match copy {
                Ok(copy) => {
                    if copy.header.pool != pool {
                        self.find_in(Some(pool), &name, *start as u64 + 16, "it belongs to another pool", FROM_BACKUP);
                    }
                    epochs = Some(copy.header.keys.iter().map(|(epoch, _)| epoch.0).collect());
                }
                Err(fault) => {
                    let what = format!("{}: {}", fault.structure, fault.reason);
                    self.find_in(Some(pool), &name, (start + fault.offset) as u64, what, remedy);
                }
            }
        }
        if let [(_, Ok(one)), (_, Ok(two))] = &copies
            && (one.clear, one.sealed) != (two.clear, two.sealed)
        {
            self.find_in(Some(pool), &name, half as u64, "its two copies differ", ONE_COPY);
        }
        if let Some(opener) = self.opener.clone() {
            self.against_catalogue(pool, &name, &opener);
        }
        epochs
    }

    fn no_manifest(&mut self, pool: PoolId, name: &str) {
        let opener = self.opener.clone();
        let entry = opener.as_ref().and_then(|opener| opener.catalogue.pools.get(&pool));
        match entry {
            Some(entry) if entry.first_manifest.is_none() => {
                self.find_in(Some(pool), name, 0, "is missing", FROM_BACKUP);
            }
            Some(_) => {}
            None if opener.is_some() => {
                self.report.leave_out(Some(pool), "its directory", "the catalogue names no such pool: it was dropped");
            }
            None => self.report.leave_out(
                Some(pool),
                "its manifest",
                "there is none, as for a pool that was never flushed; the key tells",
            ),
        }
    }

    /// The catalogue records the newest manifest, so that an old copy put back is seen.
    fn against_catalogue(&mut self, pool: PoolId, name: &str, opener: &crate::inspect::opener::Opener<'_>) {
        let (Ok(keys), Some(entry)) = (opener.pool(pool), opener.catalogue.pools.get(&pool)) else { return };
        if keys.number < entry.manifest_number {
            let what = format!("is number {}, but number {} was written", keys.number, entry.manifest_number);
            self.find_in(Some(pool), name, 32, what, "An old copy was put back: restore the whole pool");
        } else if keys.number == entry.manifest_number
            && entry.manifest_digest != [0; 32]
            && keys.digest.is_some_and(|digest| digest != entry.manifest_digest)
            && !self.report.findings.iter().any(|finding| finding.file == name)
        {
            self.find_in(Some(pool), name, 0, "is not the one that the catalogue recorded", FROM_BACKUP);
        }
        for (epoch, fault) in &keys.refused {
            self.report.leave_out(Some(pool), format!("files sealed under key epoch {epoch}"), fault.clone());
        }
    }

    /// Every run file in the pool's directory: its checksums, and that it is the file its name says.
    fn files_on_disk(&mut self, pool: PoolId, key_epochs: Option<&[u32]>) {
        let with_keys = self.opener.as_ref().is_some_and(|opener| opener.pool(pool).is_ok());
        for path in self.site.run_files(pool) {
            let name: Arc<str> = self.site.name(&path).into();
            let mut found = Vec::new();
            let checked = match check_sums(&*self.site.io, &path, &name, &mut found) {
                Ok(checked) => checked,
                Err(error) if is_gone(&error) => continue,
                Err(error) => {
                    self.find_in(Some(pool), &name, 0, error.to_string(), RUN_DAMAGED);
                    continue;
                }
            };
            // A file that is being written has no end yet, and no manifest names it.
            let live = self.is_live(pool, &path);
            if !found.is_empty() && live.is_none() && self.running && is_fresh(&path) {
                self.report.leave_out(Some(pool), name.to_string(), "it is being written, or went meanwhile");
                continue;
            }
            let counts = self.report.counts(pool);
            counts.files += 1;
            counts.bytes += self.site.io.file_len(&path).unwrap_or(0);
            if !with_keys || live == Some(false) {
                counts.pages += checked;
            }
            if live == Some(false) {
                // Nobody reads it, and opening the pool removes it.
                continue;
            }
            self.header(pool, &path, &name, key_epochs);
            found.into_iter().for_each(|finding| self.run_finding(pool, &name, finding, None));
        }
    }

    /// Whether the manifest names the file; `None` if that cannot be told.
    fn is_live(&self, pool: PoolId, path: &Path) -> Option<bool> {
        let keys = self.opener.as_ref()?.pool(pool).ok()?;
        let dir = self.site.pool_dir(pool);
        Some(keys.files().any(|file| dir.join(RunIdentity::of(pool, file).name()) == path))
    }

    fn header(&mut self, pool: PoolId, path: &Path, name: &str, key_epochs: Option<&[u32]>) {
        let Ok(bytes) = self.site.start_of(path, HEADER_BYTES) else { return };
        // What does not decode has been told of with the checksums.
        let Ok(header) = Header::decode(&bytes) else { return };
        let id = path.file_stem().and_then(|stem| u64::from_str_radix(&stem.to_string_lossy(), 16).ok());
        if header.pool != pool {
            self.find_in(Some(pool), name, 16, "it belongs to another pool", RUN_DAMAGED);
        }
        if id.is_some_and(|id| FileId(id) != header.file) {
            self.find_in(Some(pool), name, 32, "it is another file of its pool", RUN_DAMAGED);
        }
        // On a running store the key may be newer than the manifest that was read.
        if !self.running && key_epochs.is_some_and(|epochs| !epochs.contains(&header.key_epoch.0)) {
            let what = format!("is sealed under key epoch {}, which the manifest does not name", header.key_epoch);
            self.find_in(Some(pool), name, 40, what, RUN_DAMAGED);
        }
    }

    /// Every file that the manifest names, with its key.
    fn live_files(&mut self, pool: PoolId) {
        let Some(opener) = self.opener.clone() else { return };
        let env = RunEnv::new(self.site.io.clone(), RunLimits { page_cache_bytes: 1 << 20, open_files_max: 64 });
        let mut done: Vec<FileId> = Vec::new();
        // A file that vanished is looked for in the manifest that replaced this one.
        for _ in 0..5 {
            let Ok(keys) = opener.pool(pool) else { return };
            let mut gone = Vec::new();
            for file in keys.files() {
                if !done.contains(&file.id) {
                    match self.live_file(pool, &env, &keys, file) {
                        true => done.push(file.id),
                        false => gone.push(file.clone()),
                    }
                }
            }
            if gone.is_empty() {
                return;
            }
            opener.forget(pool);
            let unchanged = opener.pool(pool).is_ok_and(|again| again.number == keys.number);
            if unchanged || !self.running {
                for file in gone {
                    let name = format!("pools/{pool}/{}", RunIdentity::of(pool, &file).name());
                    self.find_in(Some(pool), &name, 0, "is missing", RUN_DAMAGED);
                }
                return;
            }
        }
        self.report.leave_out(Some(pool), "some of its files", "they were replaced faster than they could be read");
    }

    /// One live file; false if it is not there.
    fn live_file(&mut self, pool: PoolId, env: &Arc<RunEnv>, keys: &PoolKeys, file: &FileRef) -> bool {
        let dir = self.site.pool_dir(pool);
        let path = dir.join(RunIdentity::of(pool, file).name());
        let name = self.site.name(&path);
        let Some(data_key) = keys.data_keys.get(&file.key_epoch) else {
            return true; // Said once for the whole epoch.
        };
        match self.site.io.file_len(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
            Ok(len) if len != file.len => {
                let what = format!("has {len} bytes, the manifest says {}", file.len);
                self.find_in(Some(pool), &name, len.min(file.len), what, RUN_DAMAGED);
            }
            _ => {}
        }
        let run = RunFile::new(env, &dir, pool, file, data_key);
        let mut found = Vec::new();
        let checked = run.verify(&mut found);
        let vanished = found.iter().any(|finding| matches!(finding.error.fault(), RunFault::Missing { .. }));
        if vanished {
            return false;
        }
        self.report.counts(pool).pages += checked;
        let schema = schema_of(keys);
        found.into_iter().for_each(|finding| self.run_finding(pool, &name, finding, schema.as_ref()));
        if let Ok(sections) = run.section_ids() {
            let agrees = file.sections.iter().all(|section| {
                let held = sections.get(usize::from(section.section));
                held.is_some_and(|held| match (section.content, held) {
                    (SectionContent::Column { attr, .. }, SectionId::Column { attr: held, .. }) => attr == *held,
                    (SectionContent::Keys { keyspace }, SectionId::Sorted(held)) => keyspace == *held,
                    _ => false,
                })
            });
            if !agrees {
                self.find_in(Some(pool), &name, 0, "holds other sections than the manifest says", RUN_DAMAGED);
            }
        }
        true
    }

    fn run_finding(&mut self, pool: PoolId, name: &str, finding: RunFinding, schema: Option<&Schema>) {
        let (offset, page, section, what) = match finding.error.fault() {
            RunFault::Damaged { section, page, offset, reason, .. } => (Some(*offset), *page, *section, reason.clone()),
            RunFault::Key { reason, .. } => (Some(48), None, None, (*reason).to_owned()),
            other => (None, None, None, other.to_string()),
        };
        // The same place may be found without the key and again, with more to say, with it.
        let known = |other: &Finding| other.file == name && other.offset == offset && offset.is_some();
        if self.report.findings.iter().any(known) {
            return;
        }
        let attribute = section.map(|section| match section {
            SectionId::Column { attr, .. } => attribute_name(attr, schema),
            SectionId::Sorted(keyspace) => format!("keyspace {keyspace}"),
        });
        let lost = finding.lost_entries.map(|lost| format!("; {lost} entries cannot be read")).unwrap_or_default();
        let (file, what) = (name.to_owned(), format!("{what}{lost}"));
        self.report.find(Finding { pool: Some(pool), file, offset, page, attribute, what, remedy: RUN_DAMAGED });
    }
}

/// Whether a file was written to in the last seconds, or is gone.
fn is_fresh(path: &Path) -> bool {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.map_or(true, |at| at.elapsed().is_ok_and(|age| age < Duration::from_secs(10)))
}

/// Whether the file went while it was looked for.
fn is_gone(error: &RunError) -> bool {
    matches!(error.fault(), RunFault::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

fn schema_of(keys: &PoolKeys) -> Option<Schema> {
    let (_, content) = keys.body.documents.iter().find(|(name, _)| name == "schema")?;
    Schema::decode(content).ok()
}

/// An attribute's name where the schema has one; names of attributes are no values.
fn attribute_name(attr: AttrId, schema: Option<&Schema>) -> String {
    let built_in = match attr {
        AttrId::SUB => "sub",
        AttrId::LIVE => "live",
        AttrId::VERSION => "version",
        AttrId::CREATED_AT => "created_at",
        AttrId::UPDATED_AT => "updated_at",
        AttrId::ENABLED => "enabled",
        AttrId::STATUS => "status",
        AttrId::PASSWORD => "password",
        AttrId::SIGN_IN => "sign-in",
        AttrId::PASSWORD_SET_AT => "password_set_at",
        AttrId::SOURCE_VERSION => "source_version",
        _ => "",
    };
    match schema.and_then(|schema| schema.by_id(attr)) {
        Some(attribute) => attribute.name.as_str().to_owned(),
        None if built_in.is_empty() => format!("attr {attr}"),
        None => built_in.to_owned(),
    }
}
