//! What the operating system says: bytes written to the device, bytes that a directory takes, memory of this process.
//! Linux only; elsewhere the figures are absent and the rows that need them say so.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Sectors of `/proc/diskstats` are of 512 bytes, whatever the device's are.
const SECTOR_BYTES: u64 = 512;

/// Bytes written so far to the device under `dir`, by everyone; `None` where that cannot be told.
///
/// The device's own count is taken and not the process's, since that counts pages that were only made dirty.
pub fn written_bytes(dir: &Path) -> Option<u64> {
    let device = std::fs::metadata(dir).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stats = std::fs::read_to_string("/proc/diskstats").ok()?;
    stats.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let is_it = fields.next()?.parse() == Ok(major) && fields.next()?.parse() == Ok(minor);
        is_it.then(|| fields.nth(7)?.parse::<u64>().ok().map(|sectors| sectors * SECTOR_BYTES)).flatten()
    })
}

/// Has everything that was written below `dir`'s file system reach the device, so that it is in [`written_bytes`].
///
/// # Errors
/// If the directory cannot be opened or the system fails to write.
pub fn sync(dir: &Path) -> Result<()> {
    let dir_file = std::fs::File::open(dir).with_context(|| format!("cannot open {}", dir.display()))?;
    rustix::fs::syncfs(&dir_file).with_context(|| format!("cannot sync {}", dir.display()))
}

/// Bytes that files below `dir` take on the device; `is_apart` says of a path below it which are counted apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskBytes {
    /// Of data and indexes.
    pub data: u64,
    /// Of logs, and of room kept in reserve.
    pub apart: u64,
}

impl DiskBytes {
    /// Looks through `dir`.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn below(dir: &Path, is_apart: &dyn Fn(&Path) -> bool) -> Result<Self> {
        let mut sum = Self::default();
        sum.add(dir, dir, is_apart)?;
        Ok(sum)
    }

    fn add(&mut self, root: &Path, dir: &Path, is_apart: &dyn Fn(&Path) -> bool) -> Result<()> {
        for entry in std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let path = entry?.path();
            // A file may go between the listing and the look.
            let Ok(facts) = std::fs::symlink_metadata(&path) else { continue };
            if facts.is_dir() {
                self.add(root, &path, is_apart)?;
                continue;
            }
            let apart = path.strip_prefix(root).is_ok_and(is_apart);
            *(if apart { &mut self.apart } else { &mut self.data }) += facts.blocks() * 512;
        }
        Ok(())
    }
}

/// Memory of this process in bytes: what it holds of its own, and all that is resident with mapped files.
pub fn memory_bytes() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    Some((kib("RssAnon:")? * 1024, kib("VmRSS:")? * 1024))
}

/// The processor's name, how many there are, and the kernel.
pub fn describe() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{}, {cores} cores, Linux {}", model.unwrap_or("an unknown processor"), kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_below_a_directory_are_told_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("wal")).expect("a directory");
        std::fs::write(dir.path().join("wal/1"), vec![1; 100_000]).expect("a file");
        std::fs::write(dir.path().join("data"), vec![1; 10_000]).expect("a file");
        sync(dir.path()).expect("synced");
        let bytes = DiskBytes::below(dir.path(), &|path| path.starts_with("wal")).expect("readable");
        assert!((100_000..120_000).contains(&bytes.apart), "{bytes:?}");
        assert!((10_000..20_000).contains(&bytes.data), "{bytes:?}");
    }
}
