//! What opens the sealed parts of a store: the customer key, and from it the keys of the catalogue, of each pool's
//! manifest, files and frames. Built from the files alone; nothing is opened for writing.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use stoa_engine::keys::{DataKey, FileKeys, KeyProvider, LocalProvider, SealKey, WrapContext, WrappedKey};
use stoa_format::install::{INSTALL_DOCUMENT, Install};
use stoa_format::manifest::{FileRef, ManifestBody, ManifestHeader, decode_copy};
use stoa_format::ops::{FrameReader, Operation};
use stoa_format::store::{CatalogueBody, CatalogueEntry, CatalogueFile, StoreFile};
use stoa_format::wal::InnerShell;
use stoa_format::wire::Reader;
use stoa_format::{KeyEpoch, PoolId, Seq};
use zeroize::Zeroizing;

use super::frames::{Frame, next_chain, scan, scan_history};
use super::site::Site;

/// What is known of the catalogue: its checkpoint, and the frames of the log after it.
#[derive(Default)]
pub(crate) struct CatalogueState {
    /// The checkpoint, if it opened.
    pub checkpoint: Option<CatalogueBody>,
    /// The pools, with later frames applied.
    pub pools: BTreeMap<PoolId, CatalogueEntry>,
    /// The last catalogue transaction that was seen.
    pub seq: u64,
}

/// A pool's manifest, open, and the keys it gives.
pub(crate) struct PoolKeys {
    /// The manifest's number.
    pub number: u64,
    /// BLAKE3 of the manifest's file; `None` if it stands in the catalogue still.
    pub digest: Option<[u8; 32]>,
    /// What was sealed in it.
    pub body: ManifestBody,
    /// The data keys that could be unwrapped.
    pub data_keys: BTreeMap<KeyEpoch, DataKey>,
    /// Epochs whose data key could not be unwrapped, and why.
    pub refused: Vec<(KeyEpoch, String)>,
}

impl PoolKeys {
    /// The live files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &FileRef> {
        self.body.files.iter()
    }

    /// The live file of this id.
    pub(crate) fn file(&self, id: stoa_format::FileId) -> Option<&FileRef> {
        self.files().find(|file| file.id == id)
    }

    /// Takes in an install: its files come, and the sections that it drops go.
    fn install(&mut self, install: Install) {
        for file in &mut self.body.files {
            file.sections.retain(|section| !install.dropped.contains(&(file.id, section.section)));
        }
        self.body.files.retain(|file| !file.sections.is_empty());
        self.body.files.extend(install.files);
    }

    /// The keys of a live file.
    pub(crate) fn file_keys(&self, pool: PoolId, file: &FileRef) -> Option<FileKeys> {
        let data_key = self.data_keys.get(&file.key_epoch)?;
        Some(FileKeys::derive(data_key, pool, file.id, &file.salt))
    }

    fn period_key(&self, period: stoa_format::Period) -> Option<SealKey> {
        let found = self.body.periods.iter().rev().find(|other| other.period == period)?;
        Some(SealKey::new(&found.key))
    }
}

/// Why a frame was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unopened {
    /// Nothing is wrong, but what it would take is not there any more.
    Gone(&'static str),
    /// It should open and does not.
    Damaged(&'static str),
    /// The pool's manifest does not open; said once elsewhere.
    NoManifest(String),
}

/// The keys of a store.
pub(crate) struct Opener<'s> {
    site: &'s Site,
    provider: Rc<LocalProvider>,
    store_key: Option<SealKey>,
    /// Why the store's own key is not there.
    pub store_fault: Option<String>,
    /// Why the catalogue's checkpoint did not open.
    pub catalogue_fault: Option<String>,
    /// The log's last frame when it was read; later ones may be under keys that are not known here.
    pub last_lsn: u64,
    /// What the catalogue says.
    pub catalogue: CatalogueState,
    /// The chain after a pool's transaction, as the shells of the log's frames say.
    chains: RefCell<HashMap<(PoolId, u64), [u8; 32]>>,
    /// Each pool's frames in the log, by segment.
    places: RefCell<HashMap<PoolId, Vec<(PathBuf, Vec<Frame>)>>>,
    pools: RefCell<HashMap<PoolId, Result<Rc<PoolKeys>, String>>>,
}

impl<'s> Opener<'s> {
    /// Opens the key file and, with it, what of the store can be opened.
    ///
    /// # Errors
    /// No key file, a wrong passphrase, a damaged key file.
    pub(crate) fn new(site: &'s Site, key_file: &Path, passphrase: Option<&[u8]>) -> anyhow::Result<Self> {
        let provider = LocalProvider::open(site.io.clone(), key_file, passphrase)?;
        Ok(Self::with(site, Rc::new(provider)))
    }

    /// The same key, with everything read anew: on a running store files change.
    pub(crate) fn again(&self) -> Self {
        Self::with(self.site, Rc::clone(&self.provider))
    }

    fn with(site: &'s Site, provider: Rc<LocalProvider>) -> Self {
        let mut opener = Self {
            site,
            provider,
            last_lsn: 0,
            store_key: None,
            store_fault: None,
            catalogue_fault: None,
            catalogue: CatalogueState::default(),
            chains: RefCell::default(),
            places: RefCell::default(),
            pools: RefCell::default(),
        };
        match opener.open_store() {
            Ok(key) => opener.store_key = Some(key),
            Err(fault) => opener.store_fault = Some(fault),
        }
        match opener.open_checkpoint() {
            Ok(Some(body)) => {
                opener.catalogue.seq = body.seq.0;
                opener.catalogue.pools = body.pools.iter().map(|entry| (entry.id, entry.clone())).collect();
                opener.catalogue.checkpoint = Some(body);
            }
            Ok(None) => {}
            Err(fault) => opener.catalogue_fault = Some(fault),
        }
        opener.read_log();
        opener
    }

    fn open_store(&self) -> Result<SealKey, String> {
        let bytes = self.site.read(&self.site.root.join("STORE")).map_err(|error| error.to_string())?;
        let file = StoreFile::decode(&bytes).map_err(|fault| fault.to_string())?;
        let wrapped = WrappedKey::decode(&file.wrapped_key).map_err(|fault| fault.to_string())?;
        let context = WrapContext { pool: PoolId(file.id.0), key_epoch: KeyEpoch(0) };
        let key = self.provider.unwrap(&wrapped, &context).map_err(|error| error.to_string())?;
        Ok(key.manifest_key(PoolId::NIL))
    }

    fn open_checkpoint(&self) -> Result<Option<CatalogueBody>, String> {
        let path = self.site.root.join("CATALOGUE");
        if !self.site.io.exists(&path).map_err(|error| error.to_string())? {
            return Ok(None);
        }
        let bytes = self.site.read(&path).map_err(|error| error.to_string())?;
        let file = CatalogueFile::decode(&bytes).map_err(|fault| fault.to_string())?;
        self.open_catalogue(&file).map(Some)
    }

    /// Opens a catalogue file's body.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn open_catalogue(&self, file: &CatalogueFile) -> Result<CatalogueBody, String> {
        let key = self.store_key.as_ref().ok_or("the store's key in STORE does not open")?;
        let mut plain = Zeroizing::new(Vec::new());
        key.open(&CatalogueFile::associated_data(file.store, file.number), &file.sealed, &mut plain)
            .map_err(|_| "tag does not match")?;
        CatalogueBody::decode(&plain).map_err(|fault| fault.to_string())
    }

    /// Notes the chain after every frame of the log, and applies those of the catalogue.
    fn read_log(&mut self) {
        let mut of_catalogue = Vec::new();
        for (number, path) in self.site.segments() {
            let Ok(bytes) = self.site.read(&path) else { continue };
            let segment = scan(&bytes, number, None);
            self.last_lsn = segment.frames.last().map_or(self.last_lsn, |frame| frame.lsn().0);
            self.note_chains(&bytes, segment.stray.iter().chain(&segment.frames));
            let mut places: HashMap<PoolId, Vec<Frame>> = HashMap::new();
            for frame in segment.frames {
                match frame.inner(&bytes) {
                    Some(Ok((inner, sealed))) if inner.pool == PoolId::NIL => {
                        of_catalogue.push((inner, sealed.to_vec()))
                    }
                    Some(Ok((inner, _))) => places.entry(inner.pool).or_default().push(frame),
                    _ => {}
                }
            }
            for (pool, frames) in places {
                self.places.borrow_mut().entry(pool).or_default().push((path.clone(), frames));
            }
        }
        for (inner, sealed) in &of_catalogue {
            if inner.first_seq.0 == self.catalogue.seq + 1 {
                self.apply_catalogue(inner, sealed);
            }
        }
    }

    fn note_chains<'f>(&self, bytes: &[u8], frames: impl Iterator<Item = &'f Frame>) {
        let mut chains = self.chains.borrow_mut();
        for (inner, _) in frames.filter_map(|frame| frame.inner(bytes)?.ok()) {
            chains.insert((inner.pool, inner.last_seq().0), inner.chain);
        }
    }

    fn apply_catalogue(&mut self, inner: &InnerShell, sealed: &[u8]) {
        let Ok(plain) = self.open_frame(inner, sealed) else { return };
        self.catalogue.seq = inner.last_seq().0;
        let Ok(mut frame) = FrameReader::decode(&plain) else { return };
        while let Ok(Some(mut transaction)) = frame.next_transaction() {
            while let Ok(Some(operation)) = transaction.next_op() {
                let Operation::Meta { name, content } = operation else { continue };
                let Some(id) = name.strip_prefix("pool/").and_then(PoolId::parse) else { continue };
                match content.map(|bytes| CatalogueEntry::decode(&mut Reader::new("catalogue entry", bytes))) {
                    Some(Ok(entry)) => drop(self.catalogue.pools.insert(id, entry)),
                    Some(Err(_)) => {}
                    None => drop(self.catalogue.pools.remove(&id)),
                }
            }
        }
    }

    /// A pool's manifest and keys.
    ///
    /// # Errors
    /// Why it does not open.
    pub(crate) fn pool(&self, pool: PoolId) -> Result<Rc<PoolKeys>, String> {
        if let Some(known) = self.pools.borrow().get(&pool) {
            return known.clone();
        }
        let mut bodies = Vec::new();
        for path in self.site.history_files(pool) {
            if let Ok(bytes) = self.site.read(&path) {
                let found = scan_history(&bytes);
                self.note_chains(&bytes, found.frames.iter());
                bodies.push((path, found.frames));
            }
        }
        let opened = self.open_pool(pool).map(Rc::new);
        self.pools.borrow_mut().insert(pool, opened.clone());
        let Ok(as_manifest) = opened else { return opened };
        // Files that an install has put in since the manifest was written: its frames open with the keys above.
        bodies.extend(self.places.borrow().get(&pool).cloned().unwrap_or_default());
        let installs = self.installs(&bodies, pool, &as_manifest);
        if installs.is_empty() {
            return Ok(as_manifest);
        }
        let mut with_installs = self.open_pool(pool)?;
        installs.into_iter().for_each(|install| with_installs.install(install));
        let opened = Ok(Rc::new(with_installs));
        self.pools.borrow_mut().insert(pool, opened.clone());
        opened
    }

    /// The installs in a pool's frames that its manifest does not know yet, in order.
    fn installs(&self, files: &[(PathBuf, Vec<Frame>)], pool: PoolId, keys: &PoolKeys) -> Vec<Install> {
        let mut installs = Vec::new();
        for (path, frames) in files {
            let Ok(bytes) = self.site.read(path) else { continue };
            for (inner, sealed) in frames.iter().filter_map(|frame| frame.inner(&bytes)?.ok()) {
                if inner.pool != pool || inner.last_seq() <= keys.body.flushed_seq {
                    continue;
                }
                let Ok(plain) = self.open_frame(&inner, sealed) else { continue };
                let Ok(mut frame) = FrameReader::decode(&plain) else { continue };
                while let Ok(Some(mut transaction)) = frame.next_transaction() {
                    while let Ok(Some(operation)) = transaction.next_op() {
                        if let Operation::Meta { name: INSTALL_DOCUMENT, content: Some(content) } = operation {
                            installs.extend(Install::decode(content));
                        }
                    }
                }
            }
        }
        installs.retain(|install| install.id.0 >= keys.body.next_file_id);
        installs
    }

    /// Forgets a pool's manifest, so that it is read anew: on a running store it is replaced now and then.
    pub(crate) fn forget(&self, pool: PoolId) {
        self.pools.borrow_mut().remove(&pool);
    }

    fn open_pool(&self, pool: PoolId) -> Result<PoolKeys, String> {
        let path = self.site.pool_dir(pool).join("MANIFEST");
        if self.site.io.exists(&path).map_err(|error| error.to_string())? {
            let bytes = self.site.read(&path).map_err(|error| error.to_string())?;
            return self.open_manifest(pool, &bytes).map(|mut opened| {
                opened.digest = Some(*blake3::hash(&bytes).as_bytes());
                opened
            });
        }
        let first = self.catalogue.pools.get(&pool).and_then(|entry| entry.first_manifest.as_deref());
        self.open_manifest(pool, first.ok_or("there is no MANIFEST, and the catalogue holds none")?)
    }

    /// Opens a manifest file's bytes: the first copy that is whole and opens.
    ///
    /// # Errors
    /// Why neither does.
    pub(crate) fn open_manifest(&self, pool: PoolId, bytes: &[u8]) -> Result<PoolKeys, String> {
        self.open_copy(pool, bytes)
            .or_else(|first| self.open_copy(pool, bytes.get(bytes.len() / 2..).unwrap_or_default()).map_err(|_| first))
    }

    /// Opens the copy of a manifest at the start of `bytes`.
    ///
    /// # Errors
    /// Why it does not open.
    pub(crate) fn open_copy(&self, pool: PoolId, bytes: &[u8]) -> Result<PoolKeys, String> {
        let copy = decode_copy(bytes).map_err(|fault| fault.to_string())?;
        if copy.header.pool != pool {
            return Err("it belongs to another pool".into());
        }
        let (mut data_keys, mut refused) = (BTreeMap::new(), Vec::new());
        for (epoch, bytes) in &copy.header.keys {
            let key = WrappedKey::decode(bytes).map_err(|fault| fault.to_string()).and_then(|wrapped| {
                let context = WrapContext { pool, key_epoch: *epoch };
                self.provider.unwrap(&wrapped, &context).map_err(|error| error.to_string())
            });
            match key {
                Ok(key) => drop(data_keys.insert(*epoch, key)),
                Err(fault) => refused.push((*epoch, fault)),
            }
        }
        // Several customer keys may wrap one data key: any of them will do.
        refused.retain(|(epoch, _)| !data_keys.contains_key(epoch));
        let newest = copy.header.newest_key_epoch();
        let Some(data_key) = data_keys.get(&newest) else {
            return Err(refused.pop().map_or_else(|| "it names no key".into(), |(_, fault)| fault));
        };
        let mut plain = Zeroizing::new(Vec::new());
        let ad = ManifestHeader::associated_data(copy.clear);
        data_key.manifest_key(pool).open(&ad, copy.sealed, &mut plain).map_err(|_| "tag does not match")?;
        let body = ManifestBody::decode(&plain).map_err(|fault| fault.to_string())?;
        Ok(PoolKeys { number: copy.header.number, digest: None, body, data_keys, refused })
    }

    /// The chain before a frame, if it is known: from the frame before it, the manifest or the catalogue.
    fn chain_before(&self, inner: &InnerShell) -> Option<[u8; 32]> {
        let before = inner.first_seq.0.checked_sub(1)?;
        if let Some(chain) = self.chains.borrow().get(&(inner.pool, before)) {
            return Some(*chain);
        }
        // The first frame of all links to zeroes.
        let first = (before == 0).then_some([0; 32]);
        if inner.pool == PoolId::NIL {
            let checkpoint = self.catalogue.checkpoint.as_ref().filter(|body| body.seq == Seq(before));
            return checkpoint.map(|body| body.chain).or(first);
        }
        let pool = self.pool(inner.pool).ok()?;
        (pool.body.flushed_seq == Seq(before)).then_some(pool.body.chain).or(first)
    }

    /// Opens a frame's transactions, and checks its link in the chain.
    ///
    /// # Errors
    /// Why they do not open.
    pub(crate) fn open_frame(&self, inner: &InnerShell, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let gone = "its period has been flushed and the key dropped";
        let pool = match inner.pool {
            PoolId::NIL => None,
            id => Some(self.pool(id).map_err(Unopened::NoManifest)?),
        };
        let key = match &pool {
            Some(pool) => Some(pool.period_key(inner.period).ok_or(Unopened::Gone(gone))?),
            None => None,
        };
        let store_key = || Unopened::NoManifest("the store's key in STORE does not open".into());
        let key = match &key {
            Some(key) => key,
            None => self.store_key.as_ref().ok_or_else(store_key)?,
        };
        let before = self.chain_before(inner).ok_or(Unopened::Gone("the chain before it is not known"))?;
        if next_chain(&before, inner, sealed) != inner.chain {
            return Err(Unopened::Damaged("the chain is broken"));
        }
        let mut plain = Zeroizing::new(Vec::new());
        key.open(&inner.associated_data(&before), sealed, &mut plain)
            .map_err(|_| Unopened::Damaged("tag does not match"))?;
        Ok(plain)
    }
}
