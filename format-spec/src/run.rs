//! The container of run files: `.run` (a flush), `.col` (a column partition) and `.idx` (a sorted keyspace)
//! share it.
//!
//! | part | bytes | sealed |
//! | --- | --- | --- |
//! | header | 128 | no |
//! | pages, each a frame of 16 bytes and the sealed page | | yes |
//! | footer: one more page, the last, section number 65,535 ([`Footer`]) | | yes |
//! | trailer | 64 | no |
//!
//! *Sealed page*: nonce (24) ‖ ciphertext ‖ tag (16), XAES-256-GCM under the file key, with the associated data
//! of [`PageId::associated_data`]. The file key comes from the pool's data key and a salt that stands in the
//! manifest only. All numbers are little-endian. A file is written once, from front to back.
//!
//! *Without keys*, a scrubber checks the header, walks the frames from byte 128 to the trailer, and checks the
//! checksum of each. *With keys*, a reader checks the header's commitment, opens the footer, checks the root
//! over its directory against the trailer and the manifest, and then believes a page only if nonce and tag are
//! those of the directory: so no page can be exchanged for an older one of the same place.

use thiserror::Error;

use crate::manifest::FilePlace;
use crate::{DecodeError, FileId, KeyEpoch, PoolId};

pub(crate) mod fields;
mod footer;
mod zone;

pub use footer::{Footer, PageEntry, PagePlace, Section, SectionId, SectionSummary};
pub use zone::{ZONE_PREFIX_BYTES, Zone};

use fields::Fields;

/// The version of this format that a reader must know at least to read what is written here.
pub const READ_VERSION: u16 = 1;
/// The version of this format that is written here.
pub const WRITE_VERSION: u16 = 1;
/// Length of a run file's header in bytes.
pub const HEADER_BYTES: usize = 128;
/// Length of the clear frame before each sealed page in bytes.
pub const FRAME_BYTES: usize = 16;
/// Length of a run file's trailer in bytes.
pub const TRAILER_BYTES: usize = 64;
/// Length of a sealed page's nonce in bytes.
pub const NONCE_BYTES: usize = 24;
/// Length of a sealed page's tag in bytes.
pub const TAG_BYTES: usize = 16;
/// What sealing adds to a page in bytes.
pub const SEAL_BYTES: usize = NONCE_BYTES + TAG_BYTES;
/// Length of the associated data of a page in bytes.
pub const ASSOCIATED_DATA_BYTES: usize = 58;
/// The section number under which the footer is sealed.
pub const FOOTER_SECTION: u16 = u16::MAX;
/// Most sections of a file.
pub const SECTIONS_MAX: usize = 4096;
/// Longest sealed page in bytes, the footer included.
pub const SEALED_BYTES_MAX: usize = 256 << 20;

const HEADER_MAGIC: &[u8; 8] = b"STOARUN\0";
const TRAILER_MAGIC: &[u8; 8] = b"STOAREND";

/// Why something cannot be encoded: a caller broke a rule of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{structure}: {reason}")]
pub struct EncodeError {
    /// The structure that was being written.
    pub structure: &'static str,
    /// The rule that was broken.
    pub reason: &'static str,
}

/// Which of the three uses a run file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RunKind {
    /// A flush: sections of many columns and keyspaces.
    Flush = 1,
    /// A compacted run of one attribute.
    Column = 2,
    /// A compacted run of one keyspace.
    Index = 3,
}

impl From<FilePlace> for RunKind {
    fn from(place: FilePlace) -> Self {
        match place {
            FilePlace::Flush => Self::Flush,
            FilePlace::Column => Self::Column,
            FilePlace::Index => Self::Index,
        }
    }
}

impl RunKind {
    /// The kind of this number.
    ///
    /// # Errors
    /// If there is none.
    pub fn from_number(number: u8) -> Result<Self, DecodeError> {
        Ok(match number {
            1 => Self::Flush,
            2 => Self::Column,
            3 => Self::Index,
            _ => return Err(DecodeError::new("run kind", 0, "unknown number")),
        })
    }
}

/// The clear header of a run file.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 8 | `STOARUN` and a zero byte |
/// | 8 | 2 | read version: who knows less must refuse |
/// | 10 | 2 | write version |
/// | 12 | 1 | kind: 1 flush, 2 column, 3 index |
/// | 13 | 1 | cipher: 1 = XAES-256-GCM |
/// | 14 | 2 | zero |
/// | 16 | 16 | pool |
/// | 32 | 8 | file id |
/// | 40 | 4 | key epoch |
/// | 44 | 4 | zero |
/// | 48 | 32 | key commitment |
/// | 80 | 44 | zero |
/// | 124 | 4 | CRC-32 of the bytes before |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The version in which the file was written.
    pub write_version: u16,
    /// The file's use.
    pub kind: RunKind,
    /// The pool that the file belongs to.
    pub pool: PoolId,
    /// The file's number in its pool.
    pub file: FileId,
    /// The data key that the file key comes from.
    pub key_epoch: KeyEpoch,
    /// Shows, before any page is opened, that the key is the right one.
    pub commitment: [u8; 32],
}

impl Header {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(HEADER_MAGIC);
        out[8..10].copy_from_slice(&READ_VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&self.write_version.to_le_bytes());
        out[12] = self.kind as u8;
        out[13] = 1;
        out[16..32].copy_from_slice(&self.pool.0);
        out[32..40].copy_from_slice(&self.file.0.to_le_bytes());
        out[40..44].copy_from_slice(&self.key_epoch.0.to_le_bytes());
        out[48..80].copy_from_slice(&self.commitment);
        let sum = crc32fast::hash(&out[..HEADER_BYTES - 4]);
        out[HEADER_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// If it is no run header, its checksum does not match, or its read version is newer than
    /// [`READ_VERSION`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const NAME: &str = "run header";
        let mut fields = Fields::new(NAME, bytes);
        if &fields.array::<8>()? != HEADER_MAGIC {
            return Err(DecodeError::new(NAME, 0, "not a run file"));
        }
        let (read_version, write_version) = (fields.u16()?, fields.u16()?);
        let kind = fields.u8()?;
        let cipher = fields.u8()?;
        check_sum(NAME, bytes, HEADER_BYTES)?;
        if read_version > READ_VERSION {
            return Err(DecodeError::new(NAME, 8, "written by a newer version"));
        }
        let kind = RunKind::from_number(kind).map_err(|e| DecodeError::new(NAME, 12, e.reason))?;
        if cipher != 1 {
            return Err(DecodeError::new(NAME, 13, "unknown cipher"));
        }
        fields.zeroes(2)?;
        let pool = PoolId(fields.array()?);
        let file = FileId(fields.u64()?);
        let key_epoch = KeyEpoch(fields.u32()?);
        fields.zeroes(4)?;
        let commitment = fields.array()?;
        fields.zeroes(44)?;
        Ok(Self { write_version, kind, pool, file, key_epoch, commitment })
    }
}

/// Checks the CRC-32 in the last 4 of the first `len` bytes.
fn check_sum(structure: &'static str, bytes: &[u8], len: usize) -> Result<(), DecodeError> {
    let Some((body, sum)) = bytes.get(..len).and_then(|b| b.split_last_chunk::<4>()) else {
        return Err(DecodeError::new(structure, bytes.len(), "too short"));
    };
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return Err(DecodeError::new(structure, len - 4, "checksum does not match"));
    }
    Ok(())
}

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PageKind {
    /// Entries of a column or of a sorted run.
    Data = 1,
    /// A filter over keys of a sorted run.
    Filter = 2,
    /// The ordinals that a column run has entries for, as a portable roaring bitmap.
    OrdinalSet = 3,
    /// The footer.
    Footer = 4,
}

impl PageKind {
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Data, Self::Filter, Self::OrdinalSet, Self::Footer].into_iter().find(|&kind| kind as u8 == number)
    }
}

/// Which page this is, of which file: what the page is bound to.
///
/// Associated data:
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 12 | `stoa page`, padded with zero bytes |
/// | 12 | 16 | pool |
/// | 28 | 8 | file id |
/// | 36 | 2 | section |
/// | 38 | 2 | attribute or keyspace |
/// | 40 | 4 | page in the section |
/// | 44 | 1 | 1 for the last page of the section |
/// | 45 | 1 | page kind |
/// | 46 | 1 | section kind: 1 column, 2 sorted, 0 footer |
/// | 47 | 1 | run kind |
/// | 48 | 2 | write version |
/// | 50 | 4 | key epoch |
/// | 54 | 4 | zero |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageId {
    /// Number of the section in the file.
    pub section: u16,
    /// What the section is; `None` for the footer.
    pub of: Option<SectionId>,
    /// Number of the page in the section.
    pub page: u32,
    /// Whether the section ends with it.
    pub last: bool,
    /// What the page holds.
    pub kind: PageKind,
}

impl PageId {
    /// The footer's.
    pub const FOOTER: Self = Self { section: FOOTER_SECTION, of: None, page: 0, last: true, kind: PageKind::Footer };

    /// What the page is sealed with, in the file of this header.
    pub fn associated_data(&self, header: &Header) -> [u8; ASSOCIATED_DATA_BYTES] {
        let (section_kind, number) = self.of.map_or((0, 0), |of| (of.kind_number(), of.number()));
        let mut out = [0; ASSOCIATED_DATA_BYTES];
        out[..9].copy_from_slice(b"stoa page");
        out[12..28].copy_from_slice(&header.pool.0);
        out[28..36].copy_from_slice(&header.file.0.to_le_bytes());
        out[36..38].copy_from_slice(&self.section.to_le_bytes());
        out[38..40].copy_from_slice(&number.to_le_bytes());
        out[40..44].copy_from_slice(&self.page.to_le_bytes());
        out[44..48].copy_from_slice(&[u8::from(self.last), self.kind as u8, section_kind, header.kind as u8]);
        out[48..50].copy_from_slice(&header.write_version.to_le_bytes());
        out[50..54].copy_from_slice(&header.key_epoch.0.to_le_bytes());
        out
    }

    /// What the page adds to the file's root: section u16 ‖ page u32 ‖ nonce ‖ tag. The root is keyed BLAKE3 over
    /// these, for every page in the order of the file, the footer last.
    pub fn root_entry(&self, nonce: &[u8; NONCE_BYTES], tag: &[u8; TAG_BYTES]) -> [u8; 6 + SEAL_BYTES] {
        let mut out = [0; 6 + SEAL_BYTES];
        out[..2].copy_from_slice(&self.section.to_le_bytes());
        out[2..6].copy_from_slice(&self.page.to_le_bytes());
        out[6..6 + NONCE_BYTES].copy_from_slice(nonce);
        out[6 + NONCE_BYTES..].copy_from_slice(tag);
        out
    }
}

/// The clear frame before a sealed page.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 4 | CRC-32 of the rest of the frame and the sealed page |
/// | 4 | 4 | length of the sealed page |
/// | 8 | 4 | page in the section |
/// | 12 | 2 | section |
/// | 14 | 1 | page kind |
/// | 15 | 1 | zero |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageFrame {
    /// Length of the sealed page that follows, in bytes.
    pub sealed_bytes: u32,
    /// Number of the page in the section.
    pub page: u32,
    /// Number of the section in the file.
    pub section: u16,
    /// What the page holds.
    pub kind: PageKind,
}

impl PageFrame {
    /// The frame of a sealed page.
    pub fn encode(&self, sealed: &[u8]) -> [u8; FRAME_BYTES] {
        let mut out = [0; FRAME_BYTES];
        out[4..8].copy_from_slice(&self.sealed_bytes.to_le_bytes());
        out[8..12].copy_from_slice(&self.page.to_le_bytes());
        out[12..14].copy_from_slice(&self.section.to_le_bytes());
        out[14] = self.kind as u8;
        let sum = frame_sum(&out, sealed);
        out[..4].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads a frame; its checksum is checked by [`PageFrame::split`].
    ///
    /// # Errors
    /// If it is malformed or asks for more than [`SEALED_BYTES_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const NAME: &str = "page frame";
        let mut fields = Fields::new(NAME, bytes);
        fields.u32()?;
        let (sealed_bytes, page, section) = (fields.u32()?, fields.u32()?, fields.u16()?);
        let kind = PageKind::from_number(fields.u8()?).ok_or(DecodeError::new(NAME, 14, "unknown page kind"))?;
        fields.zeroes(1)?;
        if (sealed_bytes as usize) < SEAL_BYTES || sealed_bytes as usize > SEALED_BYTES_MAX {
            return Err(DecodeError::new(NAME, 4, "length out of bounds"));
        }
        Ok(Self { sealed_bytes, page, section, kind })
    }

    /// Splits a frame and its whole sealed page, and checks the checksum over both.
    ///
    /// # Errors
    /// If the frame is malformed, the lengths differ or the checksum does not match.
    pub fn split(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let frame = Self::decode(bytes)?;
        let (head, sealed) = bytes.split_at(FRAME_BYTES);
        if sealed.len() != frame.sealed_bytes as usize {
            return Err(DecodeError::new("page frame", 4, "length differs from the directory's"));
        }
        let mut sum = [0; 4];
        sum.copy_from_slice(&head[..4]);
        if frame_sum(head, sealed) != u32::from_le_bytes(sum) {
            return Err(DecodeError::new("page frame", 0, "checksum does not match"));
        }
        Ok((frame, sealed))
    }
}

fn frame_sum(frame: &[u8], sealed: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&frame[4..FRAME_BYTES]);
    sum.update(sealed);
    sum.finalize()
}

/// The clear end of a run file.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 8 | `STOAREND` |
/// | 8 | 8 | offset of the footer's frame |
/// | 16 | 4 | length of the footer's frame and page |
/// | 20 | 4 | number of pages, the footer included |
/// | 24 | 32 | root over all pages |
/// | 56 | 4 | zero |
/// | 60 | 4 | CRC-32 of the bytes before |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Where the footer's frame starts.
    pub footer_offset: u64,
    /// Length of the footer's frame and sealed page together.
    pub footer_bytes: u32,
    /// Number of pages, the footer included.
    pub page_count: u32,
    /// Keyed root over all pages; the manifest holds it too.
    pub root: [u8; 32],
}

impl Trailer {
    /// The trailer's bytes.
    pub fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut out = [0; TRAILER_BYTES];
        out[..8].copy_from_slice(TRAILER_MAGIC);
        out[8..16].copy_from_slice(&self.footer_offset.to_le_bytes());
        out[16..20].copy_from_slice(&self.footer_bytes.to_le_bytes());
        out[20..24].copy_from_slice(&self.page_count.to_le_bytes());
        out[24..56].copy_from_slice(&self.root);
        let sum = crc32fast::hash(&out[..TRAILER_BYTES - 4]);
        out[TRAILER_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads the trailer of a file of `file_bytes`.
    ///
    /// # Errors
    /// If it is malformed, its checksum does not match, or the footer would not stand right before it.
    pub fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, DecodeError> {
        const NAME: &str = "run trailer";
        let mut fields = Fields::new(NAME, bytes);
        if &fields.array::<8>()? != TRAILER_MAGIC {
            return Err(DecodeError::new(NAME, 0, "the file has no trailer"));
        }
        check_sum(NAME, bytes, TRAILER_BYTES)?;
        let (footer_offset, footer_bytes, page_count) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let root = fields.array()?;
        fields.zeroes(4)?;
        let footer_end = footer_offset.checked_add(u64::from(footer_bytes));
        if footer_end.and_then(|end| end.checked_add(TRAILER_BYTES as u64)) != Some(file_bytes)
            || footer_offset < HEADER_BYTES as u64
            || (footer_bytes as usize) < FRAME_BYTES + SEAL_BYTES
            || footer_bytes as usize > FRAME_BYTES + SEALED_BYTES_MAX
        {
            return Err(DecodeError::new(NAME, 8, "the footer does not stand before the trailer"));
        }
        Ok(Self { footer_offset, footer_bytes, page_count, root })
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
