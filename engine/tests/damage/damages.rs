//! What is done to a store's files: one damage at a time.
#![allow(clippy::single_range_in_vec_init, reason = "lists of ranges of bytes, some with one range")]

use std::ops::Range;
use std::sync::Arc;

use stoa_engine::io::{Io, SimDisk};
use stoa_format::run::{FRAME_BYTES, HEADER_BYTES, PageFrame, TRAILER_BYTES};
use stoa_format::wal::{BLOCK_BYTES, INNER_BYTES, OUTER_BYTES, OuterShell};

use crate::store::Healthy;

/// What happens to a file.
#[derive(Debug, Clone)]
pub enum Change {
    /// One byte is another.
    Flip { at: usize, mask: u8 },
    /// It holds something else.
    Content(Arc<Vec<u8>>),
    /// It is gone.
    Remove,
}

/// One damage.
#[derive(Debug, Clone)]
pub struct Damage {
    /// What it is, e.g. `flip`: damages are counted by it.
    pub kind: &'static str,
    /// The file.
    pub file: String,
    /// Tells it from others of its kind in that file.
    pub detail: String,
    pub change: Change,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.kind, self.file, self.detail)
    }
}

impl Damage {
    fn new(kind: &'static str, file: &str, detail: impl ToString, change: Change) -> Self {
        Self { kind, file: file.to_owned(), detail: detail.to_string(), change }
    }

    /// Does it.
    pub fn strike(&self, disk: &SimDisk) {
        match &self.change {
            Change::Flip { at, mask } => {
                let byte = disk.contents(&self.file).unwrap()[*at];
                disk.overwrite(&self.file, *at as u64, &[byte ^ mask]).unwrap();
            }
            Change::Content(bytes) => {
                disk.resize(&self.file, 0).unwrap();
                disk.overwrite(&self.file, 0, bytes).unwrap();
            }
            Change::Remove => disk.remove_file(self.file.as_ref()).unwrap(),
        }
    }
}

/// The kind of a file, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    Key,
    Store,
    Catalogue,
    Manifest,
    Run,
    History,
    Segment,
    /// Its content means nothing.
    Nothing,
}

impl FileKind {
    pub fn of(file: &str) -> Self {
        let name = file.rsplit('/').next().unwrap_or_default();
        match name {
            "DATA.key" => Self::Key,
            "STORE" => Self::Store,
            "CATALOGUE" => Self::Catalogue,
            "MANIFEST" => Self::Manifest,
            // A lock's text, room kept, a segment made ahead: directory.md says of each that it means nothing.
            "LOCK" | "RESERVE" | "spare.wal" => Self::Nothing,
            _ if name.ends_with(".spare") => Self::Nothing,
            _ if name.ends_with(".wal") => Self::Segment,
            _ if name.ends_with(".frames") => Self::History,
            _ if [".run", ".col", ".idx"].iter().any(|end| name.ends_with(end)) => Self::Run,
            _ => panic!("a file of no kind: {file}"),
        }
    }

    /// Where its parts begin and end: pages and frames with their shells, blocks.
    pub fn parts(self, bytes: &[u8]) -> Vec<Range<usize>> {
        match self {
            Self::Run => run_parts(bytes),
            Self::Segment => segment_parts(bytes),
            Self::Manifest => vec![0..bytes.len() / 2, bytes.len() / 2..bytes.len()],
            _ => vec![0..bytes.len()],
        }
    }
}

fn run_parts(bytes: &[u8]) -> Vec<Range<usize>> {
    let end = bytes.len() - TRAILER_BYTES;
    let (mut parts, mut at) = (vec![0..HEADER_BYTES], HEADER_BYTES);
    while at < end {
        let frame = PageFrame::decode(&bytes[at..]).unwrap();
        let next = at + FRAME_BYTES + frame.sealed_bytes as usize;
        parts.push(at..next);
        at = next;
    }
    parts.push(end..bytes.len());
    parts
}

/// The header, each frame of the segment's own, and what is between and behind them.
fn segment_parts(bytes: &[u8]) -> Vec<Range<usize>> {
    let (mut parts, mut at) = (vec![0..BLOCK_BYTES], BLOCK_BYTES);
    let number = bytes[32..40].to_vec();
    while at < bytes.len() {
        let frame = OuterShell::decode_frame(&bytes[at..]).ok().filter(|_| bytes[at + 16..at + 24] == number[..]);
        let Some((_, body)) = frame else {
            let next = (at + 1).next_multiple_of(BLOCK_BYTES);
            parts.push(at..next);
            at = next;
            continue;
        };
        let end = at + stoa_format::wal::OUTER_BYTES + body.len();
        parts.push(at..end);
        let next = end.next_multiple_of(8);
        let again = bytes.get(next..next + 4) == Some(b"SFRM");
        at = if again { next } else { next.next_multiple_of(BLOCK_BYTES) };
        if end < at {
            parts.push(end..at);
        }
    }
    parts
}

/// Whether the bytes of a segment are such as no reader looks at: between a batch's last frame and the end of its
/// block, and behind the last frame (log.md: zero, or what a recycled file held before).
pub fn is_between_frames(bytes: &[u8], part: &Range<usize>) -> bool {
    part.start >= BLOCK_BYTES && bytes.get(part.start..part.start + 4) != Some(b"SFRM")
}

/// Changed bits, another choice at each offset.
fn mask(at: usize) -> u8 {
    [0x01, 0x80, 0xff, 0x10, 0x20, 0x08, 0x55][at % 7]
}

/// Flips: every byte of what is small and of each part's first and last bytes, and each `stride`th of the rest.
pub fn flips(healthy: &Healthy, stride: usize) -> Vec<Damage> {
    let (disk, mut damages) = (healthy.image(), Vec::new());
    for (number, file) in disk.files().iter().enumerate() {
        let bytes = disk.contents(file).unwrap();
        let kind = FileKind::of(file);
        for part in kind.parts(&bytes) {
            let stride = match kind {
                _ if stride == 1 => 1,
                FileKind::Nothing => stride * 16,
                FileKind::Segment if is_between_frames(&bytes, &part) => stride * 64,
                FileKind::Key | FileKind::Store => 1,
                _ => stride,
            };
            let edge = match kind {
                FileKind::Manifest | FileKind::Catalogue => 128,
                FileKind::Segment if is_between_frames(&bytes, &part) => 1,
                FileKind::Segment => OUTER_BYTES + INNER_BYTES,
                _ => FRAME_BYTES,
            };
            for at in part.clone() {
                let is_edge = at < part.start + edge || at + 4 >= part.end;
                if is_edge || (at + number) % stride == 0 {
                    damages.push(Damage::new("flip", file, at, Change::Flip { at, mask: mask(at) }));
                }
            }
        }
    }
    damages
}

/// Two pages, frames, blocks or copies of a file change places; so do those of two files of a kind.
pub fn swaps(healthy: &Healthy) -> Vec<Damage> {
    let (disk, mut damages) = (healthy.image(), Vec::new());
    let files: Vec<_> = disk.files().into_iter().filter(|file| FileKind::of(file) != FileKind::Nothing).collect();
    for file in &files {
        let (bytes, kind) = (disk.contents(file).unwrap(), FileKind::of(file));
        let parts: Vec<_> =
            kind.parts(&bytes).into_iter().filter(|part| bytes[part.clone()].iter().any(|&byte| byte != 0)).collect();
        for (one, two) in parts.iter().zip(parts.iter().skip(1)) {
            let swapped = swap(&bytes, one, two);
            if swapped != bytes {
                let detail = format!("{} with {}", one.start, two.start);
                damages.push(Damage::new("swap within", file, detail, Change::Content(Arc::new(swapped))));
            }
        }
        let Some(other) = files.iter().rev().find(|other| *other != file && FileKind::of(other) == kind) else {
            continue;
        };
        let theirs = disk.contents(other).unwrap();
        for (mine, its) in parts.iter().zip(kind.parts(&theirs)) {
            let mut bad = bytes.clone();
            bad.splice(mine.clone(), theirs[its].iter().copied());
            if bad != bytes {
                let detail = format!("{} from {other}", mine.start);
                damages.push(Damage::new("page of another file", file, detail, Change::Content(Arc::new(bad))));
            }
        }
    }
    damages
}

fn swap(bytes: &[u8], one: &Range<usize>, two: &Range<usize>) -> Vec<u8> {
    [&bytes[..one.start], &bytes[two.clone()], &bytes[one.end..two.start], &bytes[one.clone()], &bytes[two.end..]]
        .concat()
}

/// Every file cut at each of its parts, and at some odd lengths.
pub fn cuts(healthy: &Healthy) -> Vec<Damage> {
    let (disk, mut damages) = (healthy.image(), Vec::new());
    for file in disk.files() {
        let bytes = disk.contents(&file).unwrap();
        let kind = FileKind::of(&file);
        let mut lengths: Vec<usize> =
            kind.parts(&bytes).into_iter().flat_map(|part| [part.start, part.start + 5]).collect();
        lengths.extend([1, bytes.len() / 3, bytes.len().saturating_sub(1), bytes.len().saturating_sub(4096)]);
        lengths.retain(|len| *len < bytes.len());
        lengths.sort_unstable();
        lengths.dedup();
        for len in lengths {
            let content = Change::Content(Arc::new(bytes[..len].to_vec()));
            damages.push(Damage::new("cut", &file, len, content));
        }
    }
    damages
}

/// A file is replaced by so many others of its kind, and of another store.
const OTHERS: usize = 3;

/// Every file removed, replaced by what it was before, by every other file of its kind, and by the same file of
/// another store.
pub fn replacements(healthy: &Healthy, other: &Healthy) -> Vec<Damage> {
    let (disk, theirs, mut damages) = (healthy.image(), other.image(), Vec::new());
    let files = disk.files();
    for file in &files {
        let bytes = disk.contents(file).unwrap();
        let kind = FileKind::of(file);
        damages.push(Damage::new("removed", file, "", Change::Remove));
        let former = healthy.former.get(file).into_iter().flatten().filter(|former| **former != bytes);
        for (at, former) in former.enumerate() {
            let content = Change::Content(Arc::new(former.clone()));
            damages.push(Damage::new("older", file, at, content));
        }
        let mut like = |kind_of: &'static str, name: &str, content: Vec<u8>| {
            if content != bytes {
                damages.push(Damage::new(kind_of, file, name, Change::Content(Arc::new(content))));
            }
        };
        let alike: Vec<_> = files.iter().filter(|other| FileKind::of(other) == kind).collect();
        let own = alike.iter().position(|other| *other == file).unwrap_or(0);
        for other in alike.iter().cycle().skip(own + 1).take(OTHERS.min(alike.len() - 1)) {
            like("another file", other, disk.contents(other).unwrap());
        }
        let alike: Vec<_> = theirs.files().into_iter().filter(|other| FileKind::of(other) == kind).collect();
        for other in alike.iter().cycle().skip(own).take(OTHERS.min(alike.len())) {
            like("another store's", other, theirs.contents(other).unwrap());
        }
    }
    damages
}
