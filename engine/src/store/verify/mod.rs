//! Verification with keys: every page and frame opens, everything is in order, and what is stored
//! twice agrees with itself.

mod indexes;
mod lists;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use stoa_format::PoolId;
use stoa_format::manifest::decode_copy;
use stoa_format::run::SectionId;

use super::Store;
use super::compaction::Progress;
use super::install::Change;
use super::slots::MANIFEST_MAX_BYTES;
use crate::error::{Error, ErrorKind, Result};
use crate::io::read_whole;
use crate::pool::Pool;
use crate::pool::open::{OpenPool, lock};
use crate::pool::snapshot::Snapshot;
use crate::run::RunFault;

/// No more findings than this are kept of one pool.
const FINDINGS_MAX: usize = 1000;
/// What to do about damage.
pub(super) const RESTORE: &str = "restore the pool from a backup, or export what can be read";
/// What to do about a manifest of which one copy is damaged.
const ONE_COPY: &str = "the other copy serves; POOL.FLUSH writes both anew";
/// What to do about an index that contradicts its column.
pub(super) const REBUILD: &str = "export the pool and import it into a new one, which builds its indexes anew";

/// A state of a pool that is verified.
struct Pinned {
    snapshot: Snapshot,
    /// The sum of all facts, if it is known.
    digest: Option<u128>,
    groups: u64,
}

/// Something that is not as it should be. Names places, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The pool, if it is one's.
    pub pool: Option<PoolId>,
    /// The file, from the data directory or the pool's; or the index.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// The page in its section.
    pub page: Option<u32>,
    /// The attribute concerned.
    pub attribute: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

/// What a verification has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Pages whose checksum and tag were checked.
    pub pages: u64,
    /// Frames that were opened.
    pub frames: u64,
    /// Index entries that were compared.
    pub entries: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What could not be checked, and why.
    pub unchecked: Vec<String>,
}

impl Report {
    /// Adds what another part has seen.
    pub fn merge(&mut self, other: Self) {
        self.pages += other.pages;
        self.frames += other.frames;
        self.entries += other.entries;
        self.findings.extend(other.findings);
        self.unchecked.extend(other.unchecked);
    }

    pub(super) fn found(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

impl Store {
    /// Verifies every pool. A pool that cannot be opened is a finding.
    pub fn verify(&self) -> Report {
        let mut report = Report::default();
        for name in self.pool_names() {
            match self.pool(&name).and_then(|pool| pool.verify()) {
                Ok(seen) => report.merge(seen),
                Err(error) if error.kind() == ErrorKind::NoPool => {}
                Err(error) => {
                    let pool = self.shared.slot(&name).map(|slot| slot.id);
                    let finding = Finding {
                        pool,
                        file: pool.map_or_else(String::new, |id| format!("pools/{id}")),
                        offset: None,
                        page: None,
                        attribute: None,
                        what: error.to_string(),
                        remedy: RESTORE,
                    };
                    report.findings.push(finding);
                }
            }
        }
        report
    }
}

impl Pool {
    /// Checks everything that is stored of the pool as of now: files, frames, indexes, digest.
    ///
    /// # Errors
    /// `IOERROR` if the state that it found could not be written down; damage is no error here.
    pub fn verify(&self) -> Result<Report> {
        self.open.verify(&Progress::default())
    }
}

impl OpenPool {
    pub(super) fn verify_job(self: &Arc<Self>, progress: &Progress) -> Result<Option<String>> {
        let report = self.verify(progress)?;
        let Some(first) = report.findings.first() else { return Ok(None) };
        let what = format!("{} findings; the first: {}: {}", report.findings.len(), first.file, first.what);
        Err(Error::damaged(format!("{what}. Run: stoa verify DIR --pool {}", self.id)))
    }

    fn verify(self: &Arc<Self>, progress: &Progress) -> Result<Report> {
        let mut report = Report::default();
        self.verify_manifest(&mut report);
        let found_before = report.findings.len();
        let pinned = self.pin();
        let snapshot = &pinned.snapshot;
        let files = &snapshot.version.runs.files;
        progress.total.store(files.iter().map(|(file, _)| file.len).sum(), Relaxed);
        for (file, run) in files {
            self.go_on(progress)?;
            let mut found = Vec::new();
            report.pages += run.verify(&mut found);
            found.into_iter().for_each(|finding| report.found(self.run_finding(finding)));
            progress.done.fetch_add(file.len, Relaxed);
        }
        let files_are_sound = report.findings.len() == found_before;
        self.verify_frames(&mut report);
        self.verify_indexes(snapshot, progress, &mut report)?;
        self.verify_lists(snapshot, pinned.groups, progress, &mut report)?;
        self.go_on(progress)?;
        match files_are_sound {
            true => self.verify_digest(&pinned, &mut report),
            false => report.unchecked.push(format!("pool {}: the digest: some values cannot be read", self.id)),
        }
        if !report.findings.is_empty() {
            return Ok(report);
        }
        let _flushing = lock(&self.flushing);
        let verified_ms = Some(self.now_ms());
        if !self.dropped.load(Relaxed) && self.manifest_number.load(Relaxed) > 0 {
            self.settle_installs()?;
            self.install(Change { verified_ms, ..Change::default() })?;
        }
        Ok(report)
    }

    /// Both copies of the manifest on disk: the one in force, whole.
    fn verify_manifest(&self, report: &mut Report) {
        let _flushing = lock(&self.flushing);
        let number = self.manifest_number.load(Relaxed);
        if number == 0 || self.dropped.load(Relaxed) {
            return;
        }
        let mut found = |offset: usize, what: String, remedy: &'static str| {
            report.found(Finding {
                pool: Some(self.id),
                file: "MANIFEST".to_owned(),
                offset: Some(offset as u64),
                page: None,
                attribute: None,
                what,
                remedy,
            });
        };
        let bytes = match read_whole(&*self.shared.io, &self.dir.join("MANIFEST"), MANIFEST_MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                return found(0, "is missing".to_owned(), RESTORE);
            }
            Err(source) => return found(0, source.to_string(), RESTORE),
        };
        let half = bytes.len() / 2;
        let copies = [(0, &bytes[..]), (half, &bytes[half..])].map(|(at, copy)| (at, decode_copy(copy)));
        let remedy = if copies.iter().any(|(_, copy)| copy.is_ok()) { ONE_COPY } else { RESTORE };
        for (at, copy) in &copies {
            match copy {
                Ok(copy) if (copy.header.pool, copy.header.number) == (self.id, number) => {}
                Ok(_) => found(at + 16, "is not the manifest in force".to_owned(), remedy),
                Err(fault) => found(at + fault.offset, format!("{}: {}", fault.structure, fault.reason), remedy),
            }
        }
    }

    /// The newest state, and what is counted along with it.
    fn pin(self: &Arc<Self>) -> Pinned {
        // The leader holds the log while it applies.
        let _log = self.shared.pipeline.log();
        Pinned { snapshot: self.snapshot(), digest: lock(&self.tree).sum(), groups: self.groups.load(Relaxed) }
    }

    /// Reads every value of every user, and compares the digest that the log has summed with theirs.
    fn verify_digest(&self, pinned: &Pinned, report: &mut Report) {
        let what = match (pinned.snapshot.digest(), pinned.digest) {
            (Ok(digest), Some(summed)) if digest != summed => {
                "the users do not add up to the digest that the log has summed".to_owned()
            }
            (Ok(_), _) => return,
            (Err(error), _) => error.message().to_owned(),
        };
        report.found(Finding {
            pool: Some(self.id),
            file: "digest".to_owned(),
            offset: None,
            page: None,
            attribute: None,
            what,
            remedy: RESTORE,
        });
    }

    /// Opens every frame that is kept.
    fn verify_frames(&self, report: &mut Report) {
        if let Some(missing) = self.missing_history() {
            report.found(Finding {
                pool: Some(self.id),
                file: format!("history/{:016x}", missing.0),
                offset: Some(0),
                page: None,
                attribute: None,
                what: "is missing".to_owned(),
                remedy: RESTORE,
            });
        }
        let mut opened = 0;
        let walked = self.oldest_change().and_then(|oldest| {
            self.walk_frames(oldest, usize::MAX, &mut |_, _| {
                opened += 1;
                Ok(ControlFlow::Continue(()))
            })
        });
        report.frames += opened;
        match walked {
            Err(error) if error.kind() == ErrorKind::Damaged => report.found(Finding {
                pool: Some(self.id),
                file: "log and history".to_owned(),
                offset: None,
                page: None,
                attribute: None,
                what: error.message().to_owned(),
                remedy: RESTORE,
            }),
            Err(error) => report.unchecked.push(format!("pool {}: some frames: {}", self.id, error.message())),
            Ok(()) => {}
        }
    }

    /// Fails if the work is no longer wanted.
    pub(super) fn go_on(&self, progress: &Progress) -> Result<()> {
        match progress.cancelled.load(Relaxed) || self.shared.is_closed() || self.dropped.load(Relaxed) {
            true => Err(Error::new(ErrorKind::TryAgain, "it was ended before it was done")),
            false => Ok(()),
        }
    }

    fn run_finding(&self, finding: crate::run::Finding) -> Finding {
        let lost = finding.lost_entries.map_or_else(String::new, |lost| format!("; {lost} entries cannot be read"));
        let mut out = Finding {
            pool: Some(self.id),
            file: String::new(),
            offset: None,
            page: None,
            attribute: None,
            what: String::new(),
            remedy: RESTORE,
        };
        match finding.error.fault() {
            RunFault::Damaged { file, section, page, offset, reason } => {
                out.file = file.to_string();
                out.offset = Some(*offset);
                out.page = *page;
                out.attribute = section.and_then(|section| self.section_name(section));
                out.what = format!("{reason}{lost}");
            }
            RunFault::Missing { file } => {
                out.file = file.to_string();
                out.offset = Some(0);
                out.what = "is missing".to_owned();
            }
            RunFault::Io { file, source } => {
                out.file = file.to_string();
                out.what = source.to_string();
            }
            RunFault::Key { file, reason } => {
                out.file = file.to_string();
                out.what = (*reason).to_owned();
            }
            other => out.what = other.to_string(),
        }
        out
    }

    fn section_name(&self, section: SectionId) -> Option<String> {
        let SectionId::Column { attr, .. } = section else { return None };
        let schema = Arc::clone(&self.version.load().documents.schema);
        Some(schema.by_id(attr).map_or_else(|| format!("#{}", attr.0), |attribute| attribute.name.to_string()))
    }
}
