//! Writing a run file: sections one after the other, each of ascending ordinals or keys, a page in memory at a
//! time; one sync at the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use stoa_format::column::{Cell, ColumnKind, ColumnPageBuilder};
use stoa_format::manifest::FileRef;
use stoa_format::run::{
    EncodeError, FRAME_BYTES, Footer, HEADER_BYTES, Header, NONCE_BYTES, PageEntry, PageFrame, PageId, PageKind,
    PagePlace, SEAL_BYTES, SEALED_BYTES_MAX, SECTIONS_MAX, Section, SectionId, SectionSummary, TAG_BYTES, Trailer,
    WRITE_VERSION,
};
use stoa_format::sorted::{FilterBuilder, SortedPageBuilder, filter_hash, separator};
use stoa_format::{AttrId, KeyEpoch, Keyspace, Ordinal};

use super::marks::Marks;
use super::{RunError, RunIdentity};
use crate::io::{File, Io, OpenMode};
use crate::keys::{DataKey, FileKeys, HedgeKey};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// Whether a column run is the base for its ordinals or lies over one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnShape {
    /// The base: what it does not hold is absent.
    Dense,
    /// Changes over a base; a set of its ordinals is written too, so that readers can pass it over.
    Sparse,
}

/// A finished run file: what a manifest must know of it.
#[derive(Clone)]
pub struct FinishedRun {
    /// Which file it is.
    pub identity: RunIdentity,
    /// Salt of its file key.
    pub salt: [u8; 32],
    /// Root over its pages.
    pub root: [u8; 32],
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Its sections, numbered from 0; those without entries were left out.
    pub sections: Vec<SectionSummary>,
}

impl FinishedRun {
    /// The manifest's entry, without the sections that it lists.
    pub fn file_ref(&self, age: u64) -> FileRef {
        let RunIdentity { file, place, folder, key_epoch, .. } = self.identity;
        FileRef {
            id: file,
            place,
            folder,
            key_epoch,
            salt: self.salt,
            root: self.root,
            len: self.len_bytes,
            age,
            sections: Vec::new(),
        }
    }
}

/// Writes one run file. A writer that is dropped unfinished removes what it wrote.
pub struct RunWriter {
    io: Arc<dyn Io>,
    path: PathBuf,
    name: Arc<str>,
    identity: RunIdentity,
    header: Header,
    keys: FileKeys,
    salt: [u8; 32],
    hedge: Arc<HedgeKey>,
    file: Arc<dyn File>,
    /// What is not written yet, and where it goes.
    buffer: Vec<u8>,
    buffer_at: u64,
    root: blake3::Hasher,
    page_count: u32,
    done: Vec<Section>,
    current: Option<Current>,
    finished: bool,
}

/// The section that is being written.
struct Current {
    section: Section,
    entries: Entries,
    /// The page that is complete but for knowing whether another one follows.
    pending: Option<PendingPage>,
}

enum Entries {
    Column {
        builder: ColumnPageBuilder,
        /// The section's ordinals, if it is sparse.
        ordinals: Option<Marks>,
    },
    Sorted {
        builder: SortedPageBuilder,
        filter: FilterBuilder,
        /// The first data page that the filter covers.
        filter_from: u32,
        filter_pages: Vec<PendingPage>,
    },
}

struct PendingPage {
    plain: Vec<u8>,
    entries: u32,
    place: PagePlace,
}

impl RunWriter {
    /// Starts a new file in a pool's directory; the directory of its kind must be there.
    ///
    /// # Errors
    /// [`RunFault::Io`](super::RunFault::Io) if the file is there already, or cannot be made.
    pub fn create(
        io: &Arc<dyn Io>,
        pool_dir: &Path,
        identity: RunIdentity,
        data_key: &DataKey,
        hedge: &Arc<HedgeKey>,
    ) -> Result<Self, RunError> {
        let name: Arc<str> = identity.name().into();
        let path = pool_dir.join(&*name);
        let mut salt = [0; 32];
        io.random(&mut salt).map_err(|e| RunError::io(&name, e))?;
        let keys = FileKeys::derive(data_key, identity.pool, identity.file, &salt);
        let header = Header {
            write_version: WRITE_VERSION,
            kind: identity.place.into(),
            pool: identity.pool,
            file: identity.file,
            key_epoch: identity.key_epoch,
            commitment: keys.commitment,
        };
        let file = io.open(&path, OpenMode::CreateNew).map_err(|e| RunError::io(&name, e))?;
        let root = keys.root_hasher();
        Ok(Self {
            io: io.clone(),
            path,
            name,
            identity,
            keys,
            salt,
            hedge: hedge.clone(),
            file,
            buffer: header.encode().to_vec(),
            buffer_at: 0,
            header,
            root,
            page_count: 0,
            done: Vec::new(),
            current: None,
            finished: false,
        })
    }

    /// The data key's epoch that the file is sealed under.
    pub fn key_epoch(&self) -> KeyEpoch {
        self.identity.key_epoch
    }

    /// Bytes of the file so far; the page in memory is not among them.
    pub fn len_bytes(&self) -> u64 {
        self.buffer_at + self.buffer.len() as u64
    }

    /// Ends the section before and starts a column's.
    ///
    /// # Errors
    /// As [`RunWriter::push_cell`].
    pub fn begin_column(&mut self, attr: AttrId, kind: ColumnKind, shape: ColumnShape) -> Result<(), RunError> {
        let ordinals = (shape == ColumnShape::Sparse).then(Marks::new);
        let entries = Entries::Column { builder: ColumnPageBuilder::new(kind), ordinals };
        self.begin(SectionId::Column { attr, kind }, 0, entries)
    }

    /// Ends the section before and starts a keyspace's. With a `filter_prefix` above 0, a filter over that many
    /// leading bytes of the keys is written too, for keys that are at least as long.
    ///
    /// # Errors
    /// As [`RunWriter::push_key`].
    pub fn begin_sorted(&mut self, keyspace: Keyspace, filter_prefix: u16) -> Result<(), RunError> {
        let entries = Entries::Sorted {
            builder: SortedPageBuilder::new(),
            filter: FilterBuilder::default(),
            filter_from: 0,
            filter_pages: Vec::new(),
        };
        self.begin(SectionId::Sorted(keyspace), filter_prefix, entries)
    }

    /// Adds a cell to the column that was begun last: a value or [`Cell::Absent`], ordinals ascending.
    ///
    /// # Errors
    /// [`RunFault::Refused`](super::RunFault::Refused) if the ordinal is not above the last one or not below 2^32, or
    /// the cell is not of the column's kind; [`RunFault::Io`](super::RunFault::Io) if writing fails. The file cannot be
    /// finished usefully then.
    pub fn push_cell(&mut self, ordinal: Ordinal, cell: &Cell<'_>) -> Result<(), RunError> {
        let refused = |reason| RunError::refused(&self.name, EncodeError { structure: "column run", reason });
        let Some(Current { section, entries: Entries::Column { builder, .. }, .. }) = &mut self.current else {
            return Err(refused("no column was begun"));
        };
        if ordinal.0 > u64::from(u32::MAX) {
            return Err(refused("ordinals of 2^32 and more are not supported"));
        }
        if section.summary.entries > 0 && ordinal.0 <= section.summary.last_ordinal {
            return Err(refused("ordinals must ascend"));
        }
        let full = builder.must_finish_before(ordinal.0) || builder.is_full();
        if full {
            self.cut_page()?;
        }
        let Some(Current { section, entries: Entries::Column { builder, ordinals }, .. }) = &mut self.current else {
            return Ok(());
        };
        builder.push(ordinal.0, cell).map_err(|e| RunError::refused(&self.name, e))?;
        if let Some(ordinals) = ordinals {
            ordinals.add(ordinal.0);
        }
        let summary = &mut section.summary;
        if summary.entries == 0 {
            summary.first_ordinal = ordinal.0;
        }
        summary.last_ordinal = ordinal.0;
        summary.entries += 1;
        summary.empty_entries += u64::from(matches!(cell, Cell::Absent));
        Ok(())
    }

    /// Adds a key to the keyspace that was begun last: with a value, or a tombstone; keys ascending.
    ///
    /// # Errors
    /// [`RunFault::Refused`](super::RunFault::Refused) if the key is not above the last one, or key or value are too
    /// long; [`RunFault::Io`](super::RunFault::Io) if writing fails. The file cannot be finished usefully then.
    pub fn push_key(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), RunError> {
        let refused = |reason| RunError::refused(&self.name, EncodeError { structure: "sorted run", reason });
        let Some(Current { section, entries: Entries::Sorted { builder, .. }, .. }) = &mut self.current else {
            return Err(refused("no keyspace was begun"));
        };
        if builder.is_empty() && section.summary.entries > 0 && key <= &section.last_key[..] {
            return Err(refused("keys must ascend"));
        }
        if builder.is_full() {
            if builder.last_key().is_some_and(|last| key <= last) {
                return Err(refused("keys must ascend"));
            }
            self.cut_page()?;
        }
        let Some(Current { section, entries: Entries::Sorted { builder, filter, .. }, .. }) = &mut self.current else {
            return Ok(());
        };
        builder.push(key, value).map_err(|e| RunError::refused(&self.name, e))?;
        if let Some(prefix) = key.get(..usize::from(section.filter_prefix)).filter(|p| !p.is_empty()) {
            filter.add(filter_hash(prefix));
        }
        section.summary.entries += 1;
        section.summary.empty_entries += u64::from(value.is_none());
        Ok(())
    }

    /// Writes the footer and the trailer, makes the file durable and closes it. Its name is durable after a
    /// sync of the directory, which is left to the caller.
    ///
    /// # Errors
    /// [`RunFault::Io`](super::RunFault::Io) if writing or syncing fails; the file is removed then.
    pub fn finish(mut self) -> Result<FinishedRun, RunError> {
        self.end_section()?;
        let footer = Footer { sections: std::mem::take(&mut self.done) };
        let plain = footer.encode();
        if plain.len() + SEAL_BYTES > SEALED_BYTES_MAX {
            let error = EncodeError { structure: "run footer", reason: "too many pages for one file" };
            return Err(RunError::refused(&self.name, error));
        }
        let footer_offset = self.len_bytes();
        self.seal(PageId::FOOTER, &plain)?;
        let footer_bytes = (self.len_bytes() - footer_offset) as u32;
        let root = *self.root.finalize().as_bytes();
        let trailer = Trailer { footer_offset, footer_bytes, page_count: self.page_count, root };
        self.buffer.extend_from_slice(&trailer.encode());
        self.write_buffer()?;
        self.file.sync_data().map_err(|e| RunError::io(&self.name, e))?;
        self.finished = true;
        Ok(FinishedRun {
            identity: self.identity,
            salt: self.salt,
            root,
            len_bytes: self.buffer_at,
            sections: footer.sections.iter().map(|section| section.summary).collect(),
        })
    }

    fn begin(&mut self, id: SectionId, filter_prefix: u16, entries: Entries) -> Result<(), RunError> {
        self.end_section()?;
        if self.done.len() >= SECTIONS_MAX {
            let error = EncodeError { structure: "run file", reason: "too many sections" };
            return Err(RunError::refused(&self.name, error));
        }
        let summary =
            SectionSummary { id, entries: 0, empty_entries: 0, first_ordinal: 0, last_ordinal: 0, disk_bytes: 0 };
        let section = Section { summary, filter_prefix, last_key: Vec::new(), pages: Vec::new() };
        self.current = Some(Current { section, entries, pending: None });
        Ok(())
    }

    /// Ends the page in memory, which is then the pending one.
    fn cut_page(&mut self) -> Result<(), RunError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let mut plain = Vec::new();
        let page = match &mut current.entries {
            Entries::Column { builder, .. } => builder.finish(&mut plain).map(|page| PendingPage {
                plain,
                entries: page.count,
                place: PagePlace::Column {
                    first_ordinal: page.first_ordinal,
                    last_ordinal: page.last_ordinal,
                    zone: page.zone,
                },
            }),
            Entries::Sorted { builder, filter, filter_from, filter_pages } => {
                let data_pages = current.section.pages.len() + usize::from(current.pending.is_some());
                let first_key = builder.first_key().unwrap_or_default();
                let from_key =
                    if data_pages == 0 { Vec::new() } else { separator(&current.section.last_key, first_key) };
                current.section.last_key = builder.last_key().unwrap_or(&current.section.last_key).to_vec();
                if filter.len() >= FilterBuilder::TARGET_KEYS {
                    filter_pages.push(filter_page(filter, *filter_from));
                    *filter_from = data_pages as u32 + 1;
                }
                let place = PagePlace::Sorted { from_key };
                builder.finish(&mut plain).map(|page| PendingPage { plain, entries: page.count, place })
            }
        };
        match page {
            Some(page) => self.follow(page),
            None => Ok(()),
        }
    }

    /// Seals the pending page, as not the last one, and makes `page` the pending one.
    fn follow(&mut self, page: PendingPage) -> Result<(), RunError> {
        let before = self.current.as_mut().and_then(|current| current.pending.replace(page));
        before.map_or(Ok(()), |before| self.seal_page(before, false))
    }

    fn end_section(&mut self) -> Result<(), RunError> {
        self.cut_page()?;
        let Some(current) = &mut self.current else { return Ok(()) };
        let mut others = Vec::new();
        match &mut current.entries {
            Entries::Column { ordinals, .. } => others.extend(ordinals.take().and_then(ordinal_set_page)),
            Entries::Sorted { filter, filter_from, filter_pages, .. } => {
                others.append(filter_pages);
                if !filter.is_empty() {
                    others.push(filter_page(filter, *filter_from));
                }
            }
        }
        if current.pending.is_some() {
            for page in others {
                self.follow(page)?;
            }
        }
        if let Some(last) = self.current.as_mut().and_then(|current| current.pending.take()) {
            self.seal_page(last, true)?;
        }
        let section = self.current.take().map(|current| current.section);
        self.done.extend(section.filter(|section| !section.pages.is_empty()));
        Ok(())
    }

    /// Seals a page of the current section and enters it in the directory.
    fn seal_page(&mut self, page: PendingPage, last: bool) -> Result<(), RunError> {
        let number = self.done.len() as u16;
        let Some(current) = &self.current else { return Ok(()) };
        let kind = match page.place {
            PagePlace::Column { .. } | PagePlace::Sorted { .. } => PageKind::Data,
            PagePlace::Filter { .. } => PageKind::Filter,
            PagePlace::OrdinalSet => PageKind::OrdinalSet,
        };
        let (of, index) = (Some(current.section.summary.id), current.section.pages.len() as u32);
        let id = PageId { section: number, of, page: index, last, kind };
        let offset = self.len_bytes();
        let (nonce, tag) = self.seal(id, &page.plain)?;
        if let Some(current) = &mut self.current {
            let sealed_bytes = (page.plain.len() + SEAL_BYTES) as u32;
            let entry = PageEntry { offset, sealed_bytes, entries: page.entries, nonce, tag, place: page.place };
            current.section.summary.disk_bytes += u64::from(sealed_bytes) + FRAME_BYTES as u64;
            current.section.pages.push(entry);
        }
        if self.buffer.len() >= BUFFER_BYTES { self.write_buffer() } else { Ok(()) }
    }

    /// Appends frame and sealed page to the buffer; gives nonce and tag.
    fn seal(&mut self, id: PageId, plain: &[u8]) -> Result<([u8; NONCE_BYTES], [u8; TAG_BYTES]), RunError> {
        let mut random = [0; 16];
        self.io.random(&mut random).map_err(|e| RunError::io(&self.name, e))?;
        let start = self.buffer.len();
        self.buffer.resize(start + FRAME_BYTES, 0);
        self.keys.key.seal(&self.hedge, random, &id.associated_data(&self.header), plain, &mut self.buffer);
        let (frame, sealed) = self.buffer[start..].split_at_mut(FRAME_BYTES);
        assert_eq!(sealed.len(), plain.len() + SEAL_BYTES, "a sealed page is its nonce, as many bytes, and its tag");
        let head = PageFrame { sealed_bytes: sealed.len() as u32, page: id.page, section: id.section, kind: id.kind };
        frame.copy_from_slice(&head.encode(sealed));
        let (mut nonce, mut tag) = ([0; NONCE_BYTES], [0; TAG_BYTES]);
        nonce.copy_from_slice(&sealed[..NONCE_BYTES]);
        tag.copy_from_slice(&sealed[sealed.len() - TAG_BYTES..]);
        self.root.update(&id.root_entry(&nonce, &tag));
        self.page_count += 1;
        Ok((nonce, tag))
    }

    fn write_buffer(&mut self) -> Result<(), RunError> {
        self.file.write_all_at(&self.buffer, self.buffer_at).map_err(|e| RunError::io(&self.name, e))?;
        self.buffer_at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

const _: () = assert!(HEADER_BYTES < BUFFER_BYTES);

fn filter_page(filter: &mut FilterBuilder, first_page: u32) -> PendingPage {
    let (mut plain, entries) = (Vec::new(), filter.len() as u32);
    filter.finish(&mut plain);
    PendingPage { plain, entries, place: PagePlace::Filter { first_page } }
}

/// The page that lists a sparse column's ordinals; none if they have no gap.
fn ordinal_set_page(ordinals: Marks) -> Option<PendingPage> {
    let mut ordinals = ordinals.into_bitmap();
    let (first, last) = (ordinals.min()?, ordinals.max()?);
    if u64::from(last - first) + 1 == ordinals.len() {
        return None;
    }
    ordinals.optimize();
    let mut plain = Vec::with_capacity(ordinals.serialized_size());
    ordinals.serialize_into(&mut plain).expect("writing to memory does not fail");
    Some(PendingPage { plain, entries: ordinals.len() as u32, place: PagePlace::OrdinalSet })
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing names the file yet; if it cannot be removed now, opening the pool removes it.
            let _ = self.io.remove_file(&self.path);
        }
    }
}
