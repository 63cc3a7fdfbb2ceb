//! Reading a small file whole, and replacing one so that a crash leaves the old or the new.

use std::io;
use std::path::{Path, PathBuf};

use super::{Io, OpenMode, placed};

/// Ends the name of a file that is being written to take another's place. One that is found at start belongs
/// to nobody and may be removed.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Reads a whole file.
///
/// # Errors
/// `FileTooLarge` if it holds more than `bytes_max`; else as the operating system gives them.
pub fn read_whole(io: &dyn Io, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = io.open(path, OpenMode::Read)?;
    let len = file.len()?;
    if len > bytes_max {
        return Err(placed("read", path, io::ErrorKind::FileTooLarge.into()));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Puts `bytes` in the place of what `path` held: written beside it, synced, renamed, directory synced. When
/// this returns `Ok` the new content is durable; before, a crash leaves either.
///
/// # Errors
/// As the operating system gives them; the old content then stands, unless the last step (the sync of the
/// directory) failed: then either may.
pub fn replace(io: &dyn Io, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = temporary_path(path);
    if let Err(error) = write_beside(io, &beside, bytes) {
        // On a full disk the half of it would be in the way.
        if super::is_out_of_space(&error) {
            let _ = io.remove_file(&beside);
        }
        return Err(error);
    }
    io.rename(&beside, path)?;
    io.sync_dir(directory_of(path))
}

fn write_beside(io: &dyn Io, beside: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = io.open(beside, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()
}

fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    name.into()
}

/// The directory that holds `path`; a bare name stands in the working directory.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
