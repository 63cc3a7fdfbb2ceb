//! A run file as its readers see it: opened when first needed, checked against the manifest.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use stoa_format::manifest::{FilePlace, FileRef};
use stoa_format::run::{
    FRAME_BYTES, Footer, HEADER_BYTES, Header, NONCE_BYTES, PageEntry, PageFrame, PageId, SectionId, TAG_BYTES,
    TRAILER_BYTES, Trailer,
};
use stoa_format::{DecodeError, FileId, KeyEpoch, PoolId};

use super::cache::Plain;
use super::frames::Buffer;
use super::{RunEnv, RunError, RunFault, SectionPages};
use crate::keys::{DataKey, FileKeys};

/// Which run file this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunIdentity {
    /// The pool that it belongs to.
    pub pool: PoolId,
    /// Its number in the pool.
    pub file: FileId,
    /// Its folder.
    pub place: FilePlace,
    /// For `col/` and `idx/`: the attribute or keyspace; otherwise 0.
    pub folder: u16,
    /// The data key that it is sealed under.
    pub key_epoch: KeyEpoch,
}

impl RunIdentity {
    /// The identity of a file that a manifest names.
    pub fn of(pool: PoolId, file: &FileRef) -> Self {
        Self { pool, file: file.id, place: file.place, folder: file.folder, key_epoch: file.key_epoch }
    }

    /// The file's path from the pool's directory, e.g. `col/64/7f3a.col`.
    pub fn name(&self) -> String {
        let (folder, file) = (self.folder, self.file.0);
        match self.place {
            FilePlace::Flush => format!("flush/{file:x}.run"),
            FilePlace::Column => format!("col/{folder}/{file:x}.col"),
            FilePlace::Index => format!("idx/{folder}/{file:x}.idx"),
        }
    }
}

/// A live run file. Costs no I/O until something is read.
pub struct RunFile {
    env: Arc<RunEnv>,
    path: PathBuf,
    name: Arc<str>,
    identity: RunIdentity,
    keys: FileKeys,
    root: [u8; 32],
    len_bytes: u64,
    /// Its number among the process's open files.
    handle: u64,
    opened: OnceLock<Opened>,
    retired: AtomicBool,
}

struct Opened {
    header: Header,
    sections: Vec<Arc<SectionPages>>,
}

impl RunFile {
    /// The file that a pool's manifest names; `data_key` is that of the file's key epoch.
    pub fn new(env: &Arc<RunEnv>, pool_dir: &Path, pool: PoolId, file: &FileRef, data_key: &DataKey) -> Arc<Self> {
        let identity = RunIdentity::of(pool, file);
        let name: Arc<str> = identity.name().into();
        Arc::new(Self {
            path: pool_dir.join(&*name),
            name,
            identity,
            keys: FileKeys::derive(data_key, pool, file.id, &file.salt),
            root: file.root,
            len_bytes: file.len,
            handle: env.handles.register(),
            env: env.clone(),
            opened: OnceLock::new(),
            retired: AtomicBool::new(false),
        })
    }

    /// Which file it is.
    pub fn identity(&self) -> &RunIdentity {
        &self.identity
    }

    /// The file's path from the pool's directory.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its length in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Says that no manifest names the file any more: it is removed when its last reader lets go of it.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// What its sections are, in order.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn section_ids(&self) -> Result<Vec<SectionId>, RunError> {
        Ok(self.opened()?.sections.iter().map(|section| section.id()).collect())
    }

    pub(crate) fn env(&self) -> &Arc<RunEnv> {
        &self.env
    }

    /// Every section.
    pub(crate) fn sections(&self) -> Result<&[Arc<SectionPages>], RunError> {
        Ok(&self.opened()?.sections)
    }

    /// Section `number`, which the manifest says is there.
    pub(crate) fn section(&self, number: u16) -> Result<&Arc<SectionPages>, RunError> {
        let section = self.opened()?.sections.get(usize::from(number));
        section.ok_or_else(|| self.damaged(0, DecodeError::new("footer", 0, "lacks a section that the manifest names")))
    }

    /// Reads a page and opens it: its plain text.
    pub(super) fn read_page(&self, id: PageId, entry: &PageEntry) -> Result<Plain, RunError> {
        let damaged = |reason: &str| {
            RunError::from(RunFault::Damaged {
                file: self.name.clone(),
                section: id.of,
                page: Some(id.page),
                offset: entry.offset,
                reason: reason.to_owned(),
            })
        };
        let mut bytes = self.read(entry.offset, FRAME_BYTES + entry.sealed_bytes as usize)?;
        let (frame, sealed) = PageFrame::split(&bytes).map_err(|e| damaged(e.reason))?;
        if (frame.page, frame.section, frame.kind) != (id.page, id.section, id.kind) {
            return Err(damaged("another page stands in its place"));
        }
        if sealed[..NONCE_BYTES] != entry.nonce || sealed[sealed.len() - TAG_BYTES..] != entry.tag {
            return Err(damaged("is not the page that the footer names"));
        }
        let ad = id.associated_data(&self.opened()?.header);
        let start = bytes.len() - sealed.len();
        let plain = self.keys.key.open_in_place(&ad, &mut bytes[start..]).map_err(|_| damaged("tag does not match"))?;
        Ok(Plain::new(bytes, start + plain.start..start + plain.end))
    }

    fn opened(&self) -> Result<&Opened, RunError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = self.open()?;
        Ok(self.opened.get_or_init(|| opened))
    }

    #[cold]
    fn open(&self) -> Result<Opened, RunError> {
        if self.len_bytes < (HEADER_BYTES + TRAILER_BYTES) as u64 {
            return Err(self.damaged(0, DecodeError::new("run file", 0, "the manifest names a length too short")));
        }
        let header = self.check_header(&self.read(0, HEADER_BYTES)?)?;
        let trailer_at = self.len_bytes - TRAILER_BYTES as u64;
        let trailer = self.read(trailer_at, TRAILER_BYTES)?;
        let trailer = Trailer::decode(&trailer, self.len_bytes).map_err(|e| self.damaged(trailer_at, e))?;
        if trailer.root != self.root {
            return Err(self.damaged(trailer_at, DecodeError::new("trailer", 24, "root is not the manifest's")));
        }
        let at = trailer.footer_offset;
        let bytes = self.read(at, trailer.footer_bytes as usize)?;
        let (_, sealed) = PageFrame::split(&bytes).map_err(|e| self.damaged(at, e))?;
        let mut plain = Vec::with_capacity(sealed.len());
        self.keys
            .key
            .open(&PageId::FOOTER.associated_data(&header), sealed, &mut plain)
            .map_err(|_| self.damaged(at, DecodeError::new("footer", 0, "tag does not match")))?;
        let footer = Footer::decode(&plain).map_err(|e| self.damaged(at, e.at(0)))?;
        let sections = footer.sections.into_iter().enumerate();
        let sections: Vec<_> = sections.map(|(i, section)| Arc::new(SectionPages::new(i as u16, section))).collect();
        self.check_root(&sections, sealed, &trailer)?;
        Ok(Opened { header, sections })
    }

    fn check_header(&self, bytes: &[u8]) -> Result<Header, RunError> {
        let header = Header::decode(bytes).map_err(|e| self.damaged(0, e))?;
        let RunIdentity { pool, file, place, key_epoch, .. } = self.identity;
        if (header.pool, header.file, header.kind, header.key_epoch) != (pool, file, place.into(), key_epoch) {
            return Err(self.damaged(0, DecodeError::new("run header", 16, "is another file's")));
        }
        if !self.keys.commits_to(&header.commitment) {
            let reason = "sealed under another data key or salt";
            return Err(RunFault::Key { file: self.name.clone(), reason }.into());
        }
        Ok(header)
    }

    /// Checks that the directory is the one over which the root was made.
    fn check_root(&self, sections: &[Arc<SectionPages>], footer: &[u8], trailer: &Trailer) -> Result<(), RunError> {
        let mut root = self.keys.root_hasher();
        let mut page_count = 1;
        for section in sections {
            for (page, entry) in section.section.pages.iter().enumerate() {
                root.update(&section.page_id(page, entry).root_entry(&entry.nonce, &entry.tag));
                page_count += 1;
            }
        }
        let (mut nonce, mut tag) = ([0; NONCE_BYTES], [0; TAG_BYTES]);
        nonce.copy_from_slice(&footer[..NONCE_BYTES]);
        tag.copy_from_slice(&footer[footer.len() - TAG_BYTES..]);
        root.update(&PageId::FOOTER.root_entry(&nonce, &tag));
        if *root.finalize().as_bytes() != trailer.root || page_count != trailer.page_count {
            let error = DecodeError::new("footer", 0, "directory does not match the root");
            return Err(self.damaged(trailer.footer_offset, error));
        }
        Ok(())
    }

    fn read(&self, offset: u64, len: usize) -> Result<Buffer, RunError> {
        let io = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => RunFault::Missing { file: self.name.clone() }.into(),
            _ => RunError::io(&self.name, e),
        };
        let file = self.env.handles.get(self.handle, &*self.env.io, &self.path).map_err(io)?;
        let mut bytes = Buffer::new(len);
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(bytes),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(self.damaged(offset, DecodeError::new("run file", 0, "the file ends before")))
            }
            Err(e) => Err(io(e)),
        }
    }

    #[cold]
    fn damaged(&self, offset: u64, error: DecodeError) -> RunError {
        RunError::damaged_at(&self.name, offset, error)
    }
}

impl Drop for RunFile {
    fn drop(&mut self) {
        self.env.handles.forget(self.handle);
        if self.retired.load(Ordering::Acquire) {
            // If it cannot be removed now, opening the pool removes what no manifest names.
            let _ = self.env.io.remove_file(&self.path);
        }
    }
}
