//! The files of an import, mapped into memory, so that records can borrow from them.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use memmap2::{Advice, Mmap};

/// One file of an import. Everything parsed from it borrows from it.
pub(crate) struct Input {
    name: String,
    bytes: Bytes,
}

enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

/// Why an input cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}")]
pub(crate) struct InputError {
    path: String,
    source: std::io::Error,
}

impl Input {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn open(path: &Path) -> Result<Self, InputError> {
        let name = path.display().to_string();
        let failed = |source| InputError { path: name.clone(), source };
        if name == "-" {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).map_err(failed)?;
            return Ok(Self::from_bytes("standard input", bytes));
        }
        #[expect(clippy::disallowed_methods, reason = "the user's own file, not one of the store")]
        let mut file = std::fs::File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() || metadata.len() == 0 {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(failed)?;
            return Ok(Self::from_bytes(&name, bytes));
        }
        // SAFETY: the map is only read. Whoever truncates the file meanwhile ends this process with SIGBUS, which is
        // accepted for an import: it can be run again. Whoever changes it gets the records that result, as with read().
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        // Advice is a hint; where the system does not take it the import is only slower.
        let _ = map.advise(Advice::Sequential);
        Ok(Self { name, bytes: Bytes::Mapped(map) })
    }

    /// An input that is already in memory.
    pub(crate) fn from_bytes(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.into(), bytes: Bytes::Owned(bytes) }
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its content, without a byte order mark.
    pub(crate) fn bytes(&self) -> &[u8] {
        let bytes = match &self.bytes {
            Bytes::Mapped(map) => &map[..],
            Bytes::Owned(bytes) => bytes,
        };
        bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
    }
}

/// The files that a list of paths names: each file, and for a directory the files in it that `wanted` takes by name, in
/// order of their names.
///
/// # Errors
/// If a directory cannot be read.
pub(crate) fn expand(paths: &[PathBuf], wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, InputError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let failed = |source| InputError { path: path.display().to_string(), source };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?.path();
            if entry.is_file() && entry.file_name().and_then(|name| name.to_str()).is_some_and(&wanted) {
                found.push(entry);
            }
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}
