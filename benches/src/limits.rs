//! The machine's own limits, measured in the same run as the rows that they bound. What the
//! loopback allows is in [`crate::tcp::echo`].

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Bytes of a write that is synced by itself: a small transaction's.
const SYNCED_BYTES: usize = 512;
/// The file that is overwritten is so long, as a log segment is made beforehand.
const PROBED_FILE_BYTES: usize = 1 << 20;
/// Bytes of a page.
const PAGE_BYTES: usize = 16 << 10;
const COPIED_BYTES: usize = 64 << 20;

/// How often a second the disk takes 512 bytes over zero-written ones and says that they are safe (`fdatasync`).
///
/// Beside every durable row, since a shared machine's disk swings by a factor of a hundred.
///
/// # Errors
/// If the file cannot be written.
pub fn syncs_per_second(dir: &Path, time: Duration) -> Result<f64> {
    let path = dir.join("probe");
    let file = std::fs::File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all_at(&vec![0; PROBED_FILE_BYTES], 0)?;
    file.sync_all()?;
    let started = Instant::now();
    let mut times = 0u64;
    while started.elapsed() < time {
        let place = times * SYNCED_BYTES as u64 % PROBED_FILE_BYTES as u64;
        file.write_all_at(&[times as u8; SYNCED_BYTES], place)?;
        file.sync_data()?;
        times += 1;
    }
    let rate = times as f64 / started.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}

/// Bytes a second that one core copies from memory to memory.
pub fn copied_bytes_per_second(time: Duration) -> f64 {
    let from = vec![7u8; COPIED_BYTES];
    let mut to = vec![0u8; COPIED_BYTES];
    let mut times = 0u64;
    let started = Instant::now();
    while started.elapsed() < time {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
        times += 1;
    }
    (times * COPIED_BYTES as u64) as f64 / started.elapsed().as_secs_f64()
}

/// Bytes a second that one core seals by AES-256-GCM in pages of 16 KiB, and that it opens.
///
/// # Errors
/// If the library refuses, which it does not.
pub fn sealed_bytes_per_second(time: Duration) -> Result<(f64, f64)> {
    let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| anyhow::anyhow!("no AES-256-GCM"))?;
    let key = LessSafeKey::new(key);
    let (mut seal_time, mut open_time, mut pages) = (Duration::ZERO, Duration::ZERO, 0u64);
    let mut page = vec![42u8; PAGE_BYTES];
    while seal_time + open_time < time {
        for _ in 0..64 {
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&pages.to_le_bytes());
            let sealing = Instant::now();
            let nonce_of = || Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce_of(), Aad::empty(), &mut page)
                .map_err(|_| anyhow::anyhow!("a page cannot be sealed"))?;
            let opening = Instant::now();
            key.open_in_place(nonce_of(), Aad::empty(), &mut page)
                .map_err(|_| anyhow::anyhow!("a page cannot be opened"))?;
            seal_time += opening - sealing;
            open_time += opening.elapsed();
            page.truncate(PAGE_BYTES);
            pages += 1;
        }
    }
    let bytes = (pages * PAGE_BYTES as u64) as f64;
    Ok((bytes / seal_time.as_secs_f64(), bytes / open_time.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_a_number() {
        let (dir, time) = (tempfile::tempdir().expect("a directory"), Duration::from_millis(5));
        assert!(syncs_per_second(dir.path(), time).expect("a disk") > 1.0);
        assert!(copied_bytes_per_second(time) > 1e6);
        let (seal, open) = sealed_bytes_per_second(time).expect("an AEAD");
        assert!(seal > 1e6 && open > 1e6);
    }
}
