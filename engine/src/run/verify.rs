//! Checking run files: their checksums without any key, or everything with them.

use std::path::Path;
use std::sync::Arc;

use sdd::Guard;
use stoa_format::DecodeError;
use stoa_format::run::{FRAME_BYTES, HEADER_BYTES, Header, PageFrame, PagePlace, SectionId, TRAILER_BYTES, Trailer};
use stoa_format::sorted::{SortedPage, SortedPosition};

use super::{Caching, PageBody, RunError, RunFile, SectionPages};
use crate::io::{File, Io, OpenMode};
use crate::run::Plain;

/// Something that is wrong with a run file.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What and where.
    pub error: RunError,
    /// Entries that cannot be read because of it, if that is known.
    pub lost_entries: Option<u64>,
}

/// Checks every checksum of a run file, which needs no key: header, trailer, and each page. `name` is what the
/// findings call it. Gives how many pages were checked.
///
/// # Errors
/// [`RunFault::Io`](super::RunFault::Io) if the file cannot be read at all.
pub fn check_sums(io: &dyn Io, path: &Path, name: &Arc<str>, findings: &mut Vec<Finding>) -> Result<u64, RunError> {
    let as_io = |e| RunError::io(name, e);
    let file = io.open(path, OpenMode::Read).map_err(as_io)?;
    let len = file.len().map_err(as_io)?;
    let mut found = |offset: u64, error: DecodeError| {
        findings.push(Finding { error: RunError::damaged_at(name, offset, error), lost_entries: None });
    };
    if len < (HEADER_BYTES + TRAILER_BYTES) as u64 {
        found(0, DecodeError::new("run file", 0, "too short"));
        return Ok(0);
    }
    let header = read(&*file, 0, HEADER_BYTES).map_err(as_io)?;
    if let Err(error) = Header::decode(&header) {
        found(0, error);
    }
    let end = len - TRAILER_BYTES as u64;
    let trailer = read(&*file, end, TRAILER_BYTES).map_err(as_io)?;
    let page_count = match Trailer::decode(&trailer, len) {
        Ok(trailer) => Some(u64::from(trailer.page_count)),
        Err(error) => {
            found(end, error);
            None
        }
    };
    let (mut at, mut checked) = (HEADER_BYTES as u64, 0);
    while at < end {
        let frame = read(&*file, at, (end - at).min(FRAME_BYTES as u64) as usize).map_err(as_io)?;
        let page_bytes = match PageFrame::decode(&frame) {
            Ok(frame) if u64::from(frame.sealed_bytes) + FRAME_BYTES as u64 <= end - at => {
                FRAME_BYTES + frame.sealed_bytes as usize
            }
            Ok(_) => {
                found(at, DecodeError::new("page frame", 4, "runs past the end; what follows is not checked"));
                return Ok(checked);
            }
            Err(error) => {
                found(at, error);
                found(at, DecodeError::new("page frame", 0, "what follows is not checked"));
                return Ok(checked);
            }
        };
        let page = read(&*file, at, page_bytes).map_err(as_io)?;
        match PageFrame::split(&page) {
            Ok(_) => checked += 1,
            Err(error) => found(at, error),
        }
        at += page_bytes as u64;
    }
    if page_count.is_some_and(|count| count != checked) && findings.is_empty() {
        let error = DecodeError::new("run trailer", 20, "number of pages differs");
        findings.push(Finding { error: RunError::damaged_at(name, end, error), lost_entries: None });
    }
    Ok(checked)
}

fn read(file: &dyn File, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

impl RunFile {
    /// Checks the file as a reader trusts it, and more: commitment, root, every page's checksum and tag, that
    /// every value decodes, and the order of ordinals and keys within and between pages. Reads everything from
    /// disk again but pages that are open. Gives how many pages were checked.
    pub fn verify(&self, findings: &mut Vec<Finding>) -> u64 {
        let sections = match self.sections() {
            Ok(sections) => sections,
            Err(error) => {
                findings.push(Finding { error, lost_entries: None });
                return 0;
            }
        };
        let mut checked = 0;
        for section in sections {
            let mut entries = 0;
            for (page, entry) in section.section.pages.iter().enumerate() {
                match self.verify_page(section, page) {
                    Ok(()) => {
                        checked += 1;
                        entries += if page < section.data_pages { u64::from(entry.entries) } else { 0 };
                    }
                    Err(error) => {
                        findings.push(Finding { error, lost_entries: Some(u64::from(entry.entries)) });
                        entries += u64::from(entry.entries);
                    }
                }
            }
            if entries != section.section.summary.entries && findings.is_empty() {
                let error = DecodeError::new("footer", 0, "number of entries differs from the pages'");
                findings.push(Finding { error: section.damaged(self, 0, error), lost_entries: None });
            }
        }
        checked
    }

    fn verify_page(&self, section: &SectionPages, page: usize) -> Result<(), RunError> {
        let checked = match section.page(self, page, Caching::Pass, &Guard::new())? {
            PageBody::Column(open) => {
                let mut last = None;
                let mut in_order = open.ordinals().count() == open.count();
                for (ordinal, cell) in open.cells() {
                    cell.map_err(|e| section.damaged(self, page, e))?;
                    in_order &= last.is_none_or(|last| last < ordinal) && open.get(ordinal).is_ok();
                    in_order &= open.view().entry_of(ordinal).is_some();
                    last = Some(ordinal);
                }
                in_order && last == Some(open.last_ordinal()) && matches!(section.id(), SectionId::Column { .. })
            }
            PageBody::Sorted(open) => {
                let in_order = keys_in_order(open, section, page).map_err(|e| section.damaged(self, page, e))?;
                in_order && matches!(section.id(), SectionId::Sorted(_))
            }
            PageBody::Filter(_) | PageBody::OrdinalSet(_) => true,
        };
        if checked {
            return Ok(());
        }
        Err(section.damaged(self, page, DecodeError::new("page", 0, "entries are out of order")))
    }
}

/// Whether a page's keys ascend and lie between its bound and the next page's.
fn keys_in_order(open: &SortedPage<Plain>, section: &SectionPages, page: usize) -> Result<bool, DecodeError> {
    let from_key = |page: usize| match section.data().get(page).map(|entry| &entry.place) {
        Some(PagePlace::Sorted { from_key }) => Some(&from_key[..]),
        _ => None,
    };
    let mut position = SortedPosition::default();
    let mut last: Option<Vec<u8>> = None;
    open.seek_entry(0, &mut position)?;
    while position.entry() < open.count() {
        open.value(&position)?;
        let key = position.key();
        if last.as_deref().is_some_and(|last| last >= key) || from_key(page).is_some_and(|from| key < from) {
            return Ok(false);
        }
        last.get_or_insert_default().clear();
        last.get_or_insert_default().extend_from_slice(key);
        open.advance(&mut position)?;
    }
    let Some(last) = last else { return Ok(false) };
    Ok(match from_key(page + 1) {
        Some(next) => &last[..] < next,
        None => last == section.section.last_key,
    })
}
