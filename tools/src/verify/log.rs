//! The store's log: segments in their order, frames in theirs, torn tails told from damage, the chain of each pool.
//!
//! The rule is that of recovery: a bad place is damage if anything valid claims that the log was durable beyond
//! it, otherwise a torn tail, which nobody was ever told of.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use stoa_format::erasure::{ERASURE_DOCUMENT, Erasure};
use stoa_format::history::parse_file_name;
use stoa_format::ops::FrameReader;
use stoa_format::store::{CatalogueBody, LOG_DOCUMENT, LogDocument, StoreFile};
use stoa_format::wal::{BLOCK_BYTES, InnerShell, SegmentHeader};
use stoa_format::{PoolId, SegmentNumber, Seq, StoreId};

use super::Verification;
use super::report::Finding;
use crate::inspect::frames::{Frame, Segment, next_chain, scan, scan_history};
use crate::inspect::opener::Unopened;
use crate::inspect::site::last_name;

const LOG_DAMAGED: &str = "The store does not open so: restore it from a backup or a replica";
/// How often a log is looked at anew that a server writes to meanwhile.
const ATTEMPTS: usize = 5;

/// Where each pool's chain stands while frames are walked in order.
type Chains = HashMap<PoolId, (u64, [u8; 32])>;

/// What one look at the log gave.
#[derive(Default)]
struct Look {
    findings: Vec<Finding>,
    frames: HashMap<PoolId, u64>,
    unopened: Vec<(PoolId, String)>,
    last_lsn: u64,
    /// The highest of a process that began a segment.
    incarnation: u64,
}

/// What a catalogue says has left the log; nothing where it does not say.
pub(super) fn log_document(body: &CatalogueBody) -> LogDocument {
    let content = body.documents.iter().find(|(name, _)| name == LOG_DOCUMENT).map(|(_, content)| content);
    content.and_then(|content| LogDocument::decode(content).ok()).unwrap_or_default()
}

impl Verification<'_> {
    /// The whole log.
    pub(super) fn log(&mut self, store: Option<StoreId>) {
        let mut look = self.look_at_log(store);
        let mut attempts = 1;
        while self.running && !look.findings.is_empty() && attempts < ATTEMPTS {
            self.settle();
            self.opener = self.opener.as_ref().map(|opener| Rc::new(opener.again()));
            look = self.look_at_log(store);
            attempts += 1;
        }
        for (pool, count) in look.frames {
            if pool != PoolId::NIL && self.wants(pool) && self.is_known(pool) {
                self.report.counts(pool).frames += count;
            }
        }
        for (pool, why) in look.unopened {
            if self.wants(pool) && self.is_known(pool) {
                self.report.leave_out(Some(pool), "its frames in the log", why);
            }
        }
        for finding in look.findings {
            if finding.pool.is_none_or(|pool| pool == PoolId::NIL || self.wants(pool)) {
                self.report.find(finding);
            }
        }
    }

    /// Frames of dropped pools stay in the log for a while.
    fn is_known(&self, pool: PoolId) -> bool {
        self.opener.as_ref().map_or_else(
            || self.site.pool_dir(pool).is_dir(),
            |opener| opener.catalogue.pools.contains_key(&pool) || opener.catalogue.checkpoint.is_none(),
        )
    }

    fn look_at_log(&self, store: Option<StoreId>) -> Look {
        let mut look = Look::default();
        let segments = self.site.segments();
        let mut chains = Chains::new();
        let mut before: Option<(SegmentNumber, Segment)> = None;
        for (i, (number, path)) in segments.iter().enumerate() {
            let name = self.site.name(path);
            let next = segments.get(i + 1).and_then(|(_, path)| self.header_of(path));
            let bytes = match self.site.read(path) {
                Ok(bytes) => bytes,
                // Recycled or removed meanwhile: nobody needs its frames.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    look.find(None, &name, 0, error.to_string());
                    continue;
                }
            };
            let next = next.filter(|next| next.previous == *number);
            let segment = scan(&bytes, *number, next.as_ref().map(|next| next.previous_end));
            look.check_header(&name, &segment, before.as_ref(), store);
            look.check_gaps(&name, &segment, &bytes);
            for frame in &segment.frames {
                self.check_frame(&mut look, &mut chains, &name, &bytes, frame);
            }
            if let Some((at, what)) = segment.damage(next.as_ref()).filter(|_| segment.header.is_ok()) {
                look.find(None, &name, at as u64, what);
            }
            look.incarnation = look.incarnation.max(segment.header.as_ref().map_or(0, |header| header.incarnation));
            look.last_lsn = segment.next_lsn().map_or(look.last_lsn, |next| next.0.saturating_sub(1));
            before = Some((*number, segment));
        }
        let checkpoint = self.opener.as_ref().and_then(|opener| opener.catalogue.checkpoint.as_ref());
        self.check_start(&mut look, segments.first().map(|(number, _)| *number), checkpoint);
        self.check_incarnation(&mut look);
        if let Some(claim) = checkpoint.map(|body| body.durable_lsn).filter(|claim| *claim > look.last_lsn) {
            let what =
                format!("the log ends at lsn {}, but the catalogue says it was durable up to {claim}", look.last_lsn);
            let name = segments.last().map_or_else(|| "wal".to_owned(), |(_, path)| self.site.name(path));
            let end = before.map_or(0, |(_, segment)| segment.end as u64);
            look.find(None, &name, end, what);
        }
        look
    }

    /// That the log's first segments are there: see *What has left the log* in the chapter on the directory.
    fn check_start(&self, look: &mut Look, first: Option<SegmentNumber>, checkpoint: Option<&CatalogueBody>) {
        let kept_from = match checkpoint {
            Some(body) => log_document(body).first_segment,
            None if self.site.root.join("CATALOGUE").exists() => return,
            None if first.is_none() => return,
            None => SegmentNumber(1),
        };
        if kept_from.0 > 0 && first.is_none_or(|first| first > kept_from) {
            let name = format!("wal/{kept_from:016}.wal");
            look.find(
                None,
                &name,
                0,
                "is missing, or CATALOGUE is, or is an older one: the log was kept from there on",
            );
        }
    }

    /// That `STORE` is not older than the log. It is replaced before a segment is begun, so it is read after them.
    fn check_incarnation(&self, look: &mut Look) {
        let Ok(Ok(store)) = self.site.read(&self.site.root.join("STORE")).map(|bytes| StoreFile::decode(&bytes)) else {
            return;
        };
        if store.incarnation < look.incarnation {
            look.findings.push(Finding {
                pool: None,
                file: "STORE".to_owned(),
                offset: Some(28),
                page: None,
                attribute: None,
                what: "is older than the log: a copy was put back".to_owned(),
                remedy: "If that was meant, start the store once: it counts on from the log",
            });
        }
    }

    fn header_of(&self, path: &Path) -> Option<SegmentHeader> {
        SegmentHeader::decode(&self.site.start_of(path, BLOCK_BYTES).ok()?).ok()
    }

    /// One frame: its shell, its link, and with keys what is sealed in it.
    fn check_frame(&self, look: &mut Look, chains: &mut Chains, name: &str, bytes: &[u8], frame: &Frame) {
        let at = frame.offset as u64;
        let (inner, sealed) = match frame.inner(bytes) {
            None => return,
            Some(Ok(parts)) => parts,
            Some(Err(fault)) => {
                return look.find(
                    None,
                    name,
                    at + fault.offset as u64,
                    format!("{}: {}", fault.structure, fault.reason),
                );
            }
        };
        let pool = (inner.pool != PoolId::NIL).then_some(inner.pool);
        *look.frames.entry(inner.pool).or_default() += 1;
        let link = check_link(chains, &inner, sealed);
        if let Err(what) = link {
            look.find(pool, name, at, what);
        }
        let Some(opener) = &self.opener else { return };
        if self.running && frame.lsn().0 > opener.last_lsn {
            return; // Written since the keys were read.
        }
        match opener.open_frame(&inner, sealed) {
            Ok(plain) => {
                if let Err(fault) = check_operations(&plain) {
                    look.find(pool, name, at, format!("{}: {}", fault.structure, fault.reason));
                }
            }
            Err(Unopened::Damaged(what)) if link.is_ok() => look.find(pool, name, at, what),
            Err(Unopened::Damaged(_)) => {}
            Err(Unopened::NoManifest(why)) => look.unopened.push((inner.pool, format!("no manifest: {why}"))),
            Err(Unopened::Gone(why)) => {
                let needed = opener.pool(inner.pool).is_ok_and(|keys| inner.last_seq() > keys.body.flushed_seq);
                if needed {
                    look.find(pool, name, at, format!("cannot be opened, and no flush has made it needless: {why}"));
                }
            }
        }
    }

    /// The first Seq whose frame should be in a history file and is not.
    fn missing_history(&self, pool: PoolId) -> Option<Seq> {
        let opener = self.opener.as_ref()?;
        let left = log_document(opener.catalogue.checkpoint.as_ref()?).left;
        let left = left.into_iter().find(|left| left.pool == pool)?;
        // On a running store the newest catalogue counts, which is not known here.
        let keys = opener.pool(pool).ok().filter(|_| !self.running)?;
        let erasure = keys.body.documents.iter().find(|(name, _)| name == ERASURE_DOCUMENT);
        let erasure = erasure.and_then(|(_, content)| Erasure::decode(content).ok()).unwrap_or_default();
        let mut next = left.kept_from.max(erasure.frames_from).max(Seq(1));
        for (first, last) in self.site.history_files(pool).iter().filter_map(|path| parse_file_name(&last_name(path))) {
            if first > next {
                break;
            }
            next = next.max(Seq(last.0 + 1));
        }
        (next <= left.up_to).then_some(next)
    }

    /// A pool's frames that have left the log: those in one file follow each other.
    pub(super) fn history(&mut self, pool: PoolId) {
        if let Some(missing) = self.missing_history(pool) {
            let name = format!("pools/{pool}/history/{:016x}", missing.0);
            self.find_in(Some(pool), &name, 0, "is missing", LOG_DAMAGED);
        }
        for path in self.site.history_files(pool) {
            let name = self.site.name(&path);
            let Ok(bytes) = self.site.read(&path) else { continue };
            let found = scan_history(&bytes);
            let (mut look, mut chains) = (Look::default(), Chains::new());
            match &found.header {
                Ok(header) if header.pool != pool => look.find(Some(pool), &name, 12, "it belongs to another pool"),
                Ok(header) if header.file_name() != last_name(&path) => {
                    look.find(Some(pool), &name, 28, "it is another file of its pool");
                }
                _ => {}
            }
            for frame in &found.frames {
                self.check_frame(&mut look, &mut chains, &name, &bytes, frame);
            }
            for (at, fault) in found.faults() {
                look.find(Some(pool), &name, at as u64, format!("{}: {}", fault.structure, fault.reason));
            }
            self.report.counts(pool).frames += found.frames.len() as u64;
            // Written whole and replaced; what is gone meanwhile nobody wants any more.
            if !self.running || self.site.io.exists(&path).unwrap_or(true) {
                look.findings.into_iter().for_each(|finding| self.report.find(finding));
            }
        }
    }
}

impl Look {
    fn find(&mut self, pool: Option<PoolId>, file: &str, offset: u64, what: impl Into<String>) {
        let (file, what) = (file.to_owned(), what.into());
        let finding =
            Finding { pool, file, offset: Some(offset), page: None, attribute: None, what, remedy: LOG_DAMAGED };
        self.findings.push(finding);
    }

    fn check_header(
        &mut self,
        name: &str,
        segment: &Segment,
        before: Option<&(SegmentNumber, Segment)>,
        store: Option<StoreId>,
    ) {
        let header = match &segment.header {
            Ok(header) => header,
            Err(fault) => {
                return self.find(None, name, fault.offset as u64, format!("{}: {}", fault.structure, fault.reason));
            }
        };
        if store.is_some_and(|store| store != header.store) {
            self.find(None, name, 16, "the segment belongs to another store");
        }
        let Some((number, previous)) = before else { return };
        let links = header.previous == *number;
        let follows = links && previous.next_lsn().is_none_or(|lsn| lsn == header.first_lsn);
        // Where the former one ended wrongly, that has been told of there.
        if !follows && !(links && previous.damage(Some(header)).is_some()) {
            self.find(None, name, 56, "a segment before this one is missing");
        }
    }
}

impl Look {
    /// Between two frames there are zeroes. (Behind the last one there may be what a crash has torn.)
    fn check_gaps(&mut self, name: &str, segment: &Segment, bytes: &[u8]) {
        for (one, next) in segment.frames.iter().zip(segment.frames.iter().skip(1)) {
            let gap = &bytes[one.offset + one.len()..next.offset];
            if let Some(at) = gap.iter().position(|&byte| byte != 0) {
                self.find(None, name, (one.offset + one.len() + at) as u64, "bytes between two frames are not zero");
            }
        }
    }
}

/// A frame's place and link behind the one of its pool before it.
fn check_link(chains: &mut Chains, inner: &InnerShell, sealed: &[u8]) -> Result<(), &'static str> {
    let before = chains.insert(inner.pool, (inner.last_seq().0, inner.chain));
    let Some((last_seq, chain)) = before else { return Ok(()) };
    let first = inner.first_seq.0;
    let epoch_starts = first.is_multiple_of(1 << 32) && first > last_seq;
    if first != last_seq + 1 && !epoch_starts {
        return Err("a frame of this pool is missing before this one");
    }
    if next_chain(&chain, inner, sealed) != inner.chain {
        return Err("the chain is broken");
    }
    Ok(())
}

fn check_operations(plain: &[u8]) -> Result<(), stoa_format::DecodeError> {
    let mut frame = FrameReader::decode(plain)?;
    while let Some(mut transaction) = frame.next_transaction()? {
        while let Some(operation) = transaction.next_op()? {
            if let stoa_format::ops::Operation::Put { cells, .. } = operation {
                let mut cells = stoa_format::ops::Cells::decode(cells)?;
                while cells.next_cell()?.is_some() {}
            }
        }
    }
    Ok(())
}
