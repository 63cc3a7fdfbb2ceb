//! A pool's directory on a simulated disk, for tests of runs.

use std::path::Path;
use std::sync::Arc;

use stoa_format::manifest::{FilePlace, FileRef};
use stoa_format::{FileId, KeyEpoch, PoolId};

use super::{FinishedRun, RunEnv, RunFile, RunIdentity, RunLimits, RunWriter};
use crate::io::{Io, OpenMode, SimDisk};
use crate::keys::{DataKey, HedgeKey};

pub(crate) const POOL: PoolId = PoolId([7; 16]);

/// A pool's directory.
pub(crate) struct Yard {
    pub(crate) io: Arc<dyn Io>,
    pub(crate) env: Arc<RunEnv>,
    pub(crate) key: DataKey,
    pub(crate) hedge: Arc<HedgeKey>,
}

impl Yard {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_limits(seed, RunLimits::default())
    }

    pub(crate) fn with_limits(seed: u64, limits: RunLimits) -> Self {
        let io = SimDisk::new(seed).io();
        for folder in ["pool/flush", "pool/col/64", "pool/idx/1"] {
            io.create_dir_all(folder.as_ref()).unwrap();
        }
        let key = DataKey::from_bytes(&[1; 32]);
        let hedge = Arc::new(key.hedge_key(POOL));
        Self { env: RunEnv::new(io.clone(), limits), io, key, hedge }
    }

    pub(crate) fn dir(&self) -> &'static Path {
        Path::new("pool")
    }

    pub(crate) fn identity(&self, file: u64, place: FilePlace) -> RunIdentity {
        let folder = match place {
            FilePlace::Flush => 0,
            FilePlace::Column => 64,
            FilePlace::Index => 1,
        };
        RunIdentity { pool: POOL, file: FileId(file), place, folder, key_epoch: KeyEpoch(1) }
    }

    pub(crate) fn writer(&self, file: u64, place: FilePlace) -> RunWriter {
        RunWriter::create(&self.io, self.dir(), self.identity(file, place), &self.key, &self.hedge).unwrap()
    }

    pub(crate) fn open(&self, run: &FinishedRun) -> Arc<RunFile> {
        self.open_ref(&run.file_ref(1))
    }

    pub(crate) fn open_ref(&self, file: &FileRef) -> Arc<RunFile> {
        RunFile::new(&self.env, self.dir(), POOL, file, &self.key)
    }

    pub(crate) fn bytes(&self, run: &FinishedRun) -> Vec<u8> {
        let path = self.dir().join(run.identity.name());
        let mut bytes = vec![0; self.io.file_len(&path).unwrap() as usize];
        self.io.open(&path, OpenMode::Read).unwrap().read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    pub(crate) fn overwrite(&self, run: &FinishedRun, bytes: &[u8]) {
        let file = self.io.open(&self.dir().join(run.identity.name()), OpenMode::Write).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all_at(bytes, 0).unwrap();
    }
}
