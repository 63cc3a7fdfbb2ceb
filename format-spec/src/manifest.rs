//! A pool's manifest: its keys (wrapped), its live files, and all of its state that is small.
//!
//! ```text
//! manifest file = copy ‖ copy                  (identical; either suffices)
//! copy          = clear header ‖ sealed body ‖ CRC-32 of both
//! clear header  = magic 8 ‖ read version u16 ‖ write version u16 ‖ length of the copy u32
//!                 ‖ pool id 16 ‖ manifest number u64 ‖ newest key epoch u32
//!                 ‖ count ‖ (key epoch u32 ‖ bytes(wrapped key))… ‖ bytes-length of the body u32
//! sealed body   = nonce 24 ‖ cipher text ‖ tag 16; associated data: label ‖ clear header
//! ```
//!
//! The body is sealed under the manifest key of the newest key epoch.

use crate::error::DecodeError;
use crate::ids::{AttrId, Epoch, FileId, KeyEpoch, Keyspace, Period, PoolId, Seq};
use crate::wire::{Reader, Write};

const MAGIC: &[u8; 8] = b"STOAMAN\n";
/// The newest version of the manifest's format.
pub const MANIFEST_VERSION: u16 = 1;
/// The label in front of the body's associated data.
pub const MANIFEST_LABEL: &[u8; 16] = b"stoa manifest v1";

/// The clear part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestHeader {
    /// Whose.
    pub pool: PoolId,
    /// +1 for each manifest of this pool.
    pub number: u64,
    /// Data keys, oldest first, each as a wrapped key's bytes (several for one epoch are several
    /// customer keys). At least one; the last is the newest.
    pub keys: Vec<(KeyEpoch, Vec<u8>)>,
}

impl ManifestHeader {
    /// The newest data key's epoch.
    pub fn newest_key_epoch(&self) -> KeyEpoch {
        self.keys.last().map_or(KeyEpoch(0), |(epoch, _)| *epoch)
    }

    /// The clear header of a copy whose sealed body has `body_len` bytes.
    pub fn encode(&self, body_len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_slice(MAGIC);
        out.put_u16(MANIFEST_VERSION);
        out.put_u16(MANIFEST_VERSION);
        out.put_u32(0);
        out.put_slice(&self.pool.0);
        out.put_u64(self.number);
        out.put_varint(self.keys.len() as u64);
        for (epoch, wrapped) in &self.keys {
            out.put_u32(epoch.0);
            out.put_bytes(wrapped);
        }
        out.put_u32(body_len as u32);
        let copy_len = (out.len() + body_len + 4) as u32;
        out[12..16].copy_from_slice(&copy_len.to_le_bytes());
        out
    }

    /// What the body's seal binds.
    pub fn associated_data(clear: &[u8]) -> Vec<u8> {
        [MANIFEST_LABEL, clear].concat()
    }
}

/// One copy, split into its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestCopy<'a> {
    /// The clear header.
    pub header: ManifestHeader,
    /// The clear header's bytes.
    pub clear: &'a [u8],
    /// The sealed body.
    pub sealed: &'a [u8],
    /// How many bytes the copy takes.
    pub len: usize,
}

/// Appends one copy.
pub fn append_copy(clear: &[u8], sealed: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.put_slice(clear);
    out.put_slice(sealed);
    let crc = crc32fast::hash(&out[start..]);
    out.put_u32(crc);
}

/// Reads the copy at the start of `bytes`.
///
/// # Errors
/// Wrong magic, a newer version, cut short, a checksum that does not match.
pub fn decode_copy(bytes: &[u8]) -> Result<ManifestCopy<'_>, DecodeError> {
    const NAME: &str = "manifest";
    let mut reader = Reader::new(NAME, bytes);
    if &reader.array::<8>()? != MAGIC {
        return Err(DecodeError::new(NAME, 0, "magic does not match"));
    }
    let read_version = reader.u16()?;
    reader.u16()?;
    let len = reader.u32()? as usize;
    if read_version > MANIFEST_VERSION {
        return Err(DecodeError::new(NAME, 8, "read version is newer than this program"));
    }
    if len < 48 || len > bytes.len() {
        return Err(DecodeError::new(NAME, 12, "ends too early"));
    }
    let (covered, crc) = bytes[..len].split_at(len - 4);
    if crc != crc32fast::hash(covered).to_le_bytes() {
        return Err(DecodeError::new(NAME, len - 4, "checksum does not match"));
    }
    let mut reader = Reader::new(NAME, covered);
    reader.slice(16)?;
    let pool = PoolId(reader.array()?);
    let number = reader.u64()?;
    let count = reader.count(5)?;
    let mut keys = Vec::with_capacity(count);
    for _ in 0..count {
        keys.push((KeyEpoch(reader.u32()?), reader.bytes()?.to_vec()));
    }
    if keys.is_empty() {
        return Err(reader.fault("names no key"));
    }
    let body_len = reader.u32()? as usize;
    let clear = &covered[..reader.position()];
    let sealed = reader.slice(body_len)?;
    reader.end()?;
    Ok(ManifestCopy { header: ManifestHeader { pool, number, keys }, clear, sealed, len })
}

/// Reads a manifest file: the first copy that is whole.
///
/// # Errors
/// The first copy's fault, if neither is whole.
pub fn decode_file(bytes: &[u8]) -> Result<ManifestCopy<'_>, DecodeError> {
    let fault = match decode_copy(bytes) {
        Ok(copy) => return Ok(copy),
        Err(fault) => fault,
    };
    decode_copy(&bytes[bytes.len() / 2..]).map_err(|_| fault)
}

/// Which folder a run file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum FilePlace {
    /// `flush/`: all attributes and keyspaces of one memtable.
    Flush = 0,
    /// `col/<attr>/`: one attribute.
    Column = 1,
    /// `idx/<keyspace>/`: one keyspace.
    Index = 2,
}

/// One section of a live file that is still in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionRef {
    /// The section's number in its file.
    pub section: u16,
    /// What it holds.
    pub content: SectionContent,
}

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SectionContent {
    /// Cells of one attribute. A dense run is the base for its ordinals; a sparse run lies over it.
    Column {
        /// Which attribute.
        attr: AttrId,
        /// Whether it is a base.
        dense: bool,
    },
    /// Keys of one keyspace.
    Keys {
        /// Which keyspace.
        keyspace: Keyspace,
    },
}

/// A live file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// Its id, in its name.
    pub id: FileId,
    /// Its folder.
    pub place: FilePlace,
    /// For `col/` and `idx/`: the attribute or keyspace of the folder.
    pub folder: u16,
    /// The data key that its file key comes from.
    pub key_epoch: KeyEpoch,
    /// 32 random bytes that make its file key; whoever lacks them cannot read the file.
    pub salt: [u8; 32],
    /// The keyed root over all of its pages.
    pub root: [u8; 32],
    /// Its length in bytes.
    pub len: u64,
    /// +1 for each flush or compaction: of two runs that speak of the same key, the higher wins.
    pub age: u64,
    /// The sections in use.
    pub sections: Vec<SectionRef>,
}

/// A key that seals frames.
#[derive(Clone, PartialEq, Eq)]
pub struct PeriodRef {
    /// Its number.
    pub period: Period,
    /// The first Seq that it may seal.
    pub first_seq: Seq,
    /// 32 random bytes.
    pub key: [u8; 32],
}

impl std::fmt::Debug for PeriodRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PeriodRef({} from {})", self.period, self.first_seq)
    }
}

/// The sealed part: the pool's state after all transactions up to `flushed_seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestBody {
    /// Everything up to here is in the files and in this body.
    pub flushed_seq: Seq,
    /// The chain digest after `flushed_seq`.
    pub chain: [u8; 32],
    /// The leadership term.
    pub epoch: Epoch,
    /// When the pool was made, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// The next ordinal to mint.
    pub next_ordinal: u64,
    /// The next file id to mint.
    pub next_file_id: u64,
    /// The next group id to mint.
    pub next_group_id: u64,
    /// The next run age to give.
    pub next_age: u64,
    /// Live users.
    pub users: u64,
    /// Live groups.
    pub groups: u64,
    /// The sum of all leaves, if the digest tree has been built.
    pub digest: Option<u128>,
    /// The pool's digest key.
    pub digest_key: [u8; 32],
    /// Seals cursors.
    pub cursor_key: [u8; 32],
    /// Hashes aliases.
    pub alias_key: [u8; 32],
    /// Frame keys, oldest first; the last is in force.
    pub periods: Vec<PeriodRef>,
    /// Documents: schema, configuration, each under its name.
    pub documents: Vec<(String, Vec<u8>)>,
    /// Live ordinals, a serialised roaring bitmap.
    pub live: Vec<u8>,
    /// Live files.
    pub files: Vec<FileRef>,
    /// When the pool was last verified, milliseconds since the Unix epoch; 0 for never.
    pub last_verify_ms: u64,
    /// The oldest Seq whose frame is kept in `history/`; 0 for none.
    pub history_from: Seq,
}

impl ManifestBody {
    /// The body's plain text.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u64(self.flushed_seq.0);
        out.put_slice(&self.chain);
        out.put_u32(self.epoch.0);
        out.put_u64(self.created_at_ms);
        for number in [self.next_ordinal, self.next_file_id, self.next_group_id, self.next_age, self.users, self.groups]
        {
            out.put_varint(number);
        }
        out.put_u8(u8::from(self.digest.is_some()));
        out.put_slice(&self.digest.unwrap_or_default().to_le_bytes());
        out.put_slice(&self.digest_key);
        out.put_slice(&self.cursor_key);
        out.put_slice(&self.alias_key);
        out.put_varint(self.periods.len() as u64);
        for period in &self.periods {
            out.put_u32(period.period.0);
            out.put_u64(period.first_seq.0);
            out.put_slice(&period.key);
        }
        out.put_varint(self.documents.len() as u64);
        for (name, content) in &self.documents {
            out.put_bytes(name.as_bytes());
            out.put_bytes(content);
        }
        out.put_bytes(&self.live);
        out.put_varint(self.files.len() as u64);
        self.files.iter().for_each(|file| encode_file_ref(file, &mut out));
        out.put_u64(self.last_verify_ms);
        out.put_u64(self.history_from.0);
        out
    }

    /// Reads the body's plain text.
    ///
    /// # Errors
    /// Cut short, a tag or flag that is unknown, bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("manifest body", bytes);
        let reader = &mut reader;
        let flushed_seq = Seq(reader.u64()?);
        let chain = reader.array()?;
        let epoch = Epoch(reader.u32()?);
        let created_at_ms = reader.u64()?;
        let mut numbers = [0; 6];
        for number in &mut numbers {
            *number = reader.varint()?;
        }
        let [next_ordinal, next_file_id, next_group_id, next_age, users, groups] = numbers;
        let built = reader.flag()?;
        let fault = reader.fault("content without its flag");
        let digest = u128::from_le_bytes(reader.array()?);
        if !built && digest != 0 {
            return Err(fault);
        }
        let (digest_key, cursor_key, alias_key) = (reader.array()?, reader.array()?, reader.array()?);
        let mut periods = Vec::new();
        for _ in 0..reader.count(44)? {
            let (period, first_seq) = (Period(reader.u32()?), Seq(reader.u64()?));
            periods.push(PeriodRef { period, first_seq, key: reader.array()? });
        }
        let mut documents = Vec::new();
        for _ in 0..reader.count(2)? {
            documents.push((reader.text()?.to_owned(), reader.bytes()?.to_vec()));
        }
        let live = reader.bytes()?.to_vec();
        let mut files = Vec::new();
        for _ in 0..reader.count(80)? {
            files.push(decode_file_ref(reader)?);
        }
        let body = Self {
            flushed_seq,
            chain,
            epoch,
            created_at_ms,
            next_ordinal,
            next_file_id,
            next_group_id,
            next_age,
            users,
            groups,
            digest: built.then_some(digest),
            digest_key,
            cursor_key,
            alias_key,
            periods,
            documents,
            live,
            files,
            last_verify_ms: reader.u64()?,
            history_from: Seq(reader.u64()?),
        };
        reader.end()?;
        Ok(body)
    }
}

pub(crate) fn encode_file_ref(file: &FileRef, out: &mut Vec<u8>) {
    out.put_varint(file.id.0);
    out.put_u8(file.place as u8);
    out.put_u16(file.folder);
    out.put_u32(file.key_epoch.0);
    out.put_slice(&file.salt);
    out.put_slice(&file.root);
    out.put_varint(file.len);
    out.put_varint(file.age);
    out.put_varint(file.sections.len() as u64);
    for section in &file.sections {
        out.put_u16(section.section);
        match section.content {
            SectionContent::Column { attr, dense } => {
                out.put_u8(if dense { 1 } else { 2 });
                out.put_u16(attr.0);
            }
            SectionContent::Keys { keyspace } => {
                out.put_u8(3);
                out.put_u16(u16::from(keyspace.0));
            }
        }
    }
}

pub(crate) fn decode_file_ref(reader: &mut Reader<'_>) -> Result<FileRef, DecodeError> {
    let id = FileId(reader.varint()?);
    let place = match reader.u8()? {
        0 => FilePlace::Flush,
        1 => FilePlace::Column,
        2 => FilePlace::Index,
        _ => return Err(reader.fault("file place is unknown")),
    };
    let mut file = FileRef {
        id,
        place,
        folder: reader.u16()?,
        key_epoch: KeyEpoch(reader.u32()?),
        salt: reader.array()?,
        root: reader.array()?,
        len: reader.varint()?,
        age: reader.varint()?,
        sections: Vec::new(),
    };
    for _ in 0..reader.count(5)? {
        let section = reader.u16()?;
        let tag = reader.u8()?;
        let number = reader.u16()?;
        let content = match tag {
            1 | 2 => SectionContent::Column { attr: AttrId(number), dense: tag == 1 },
            3 => match u8::try_from(number) {
                Ok(number) => SectionContent::Keys { keyspace: Keyspace(number) },
                Err(_) => return Err(reader.fault("keyspace exceeds 8 bits")),
            },
            _ => return Err(reader.fault("section content is unknown")),
        };
        file.sections.push(SectionRef { section, content });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body() -> ManifestBody {
        ManifestBody {
            flushed_seq: Seq(9),
            chain: [1; 32],
            epoch: Epoch(0),
            created_at_ms: 5,
            next_ordinal: 100,
            next_file_id: 3,
            next_group_id: 2,
            next_age: 4,
            users: 99,
            groups: 1,
            digest: Some(77),
            digest_key: [2; 32],
            cursor_key: [3; 32],
            alias_key: [4; 32],
            periods: vec![PeriodRef { period: Period(1), first_seq: Seq(1), key: [5; 32] }],
            documents: vec![("schema".into(), b"{}".to_vec())],
            live: vec![1, 2, 3],
            files: vec![FileRef {
                id: FileId(1),
                place: FilePlace::Flush,
                folder: 0,
                key_epoch: KeyEpoch(1),
                salt: [6; 32],
                root: [7; 32],
                len: 4096,
                age: 1,
                sections: vec![
                    SectionRef { section: 0, content: SectionContent::Column { attr: AttrId(64), dense: false } },
                    SectionRef { section: 1, content: SectionContent::Keys { keyspace: Keyspace(1) } },
                ],
            }],
            last_verify_ms: 0,
            history_from: Seq(0),
        }
    }

    #[test]
    fn a_body_round_trips() {
        assert_eq!(ManifestBody::decode(&body().encode()).unwrap(), body());
    }

    #[test]
    fn either_copy_suffices() {
        let header =
            ManifestHeader { pool: PoolId([8; 16]), number: 3, keys: vec![(KeyEpoch(1), b"wrapped".to_vec())] };
        let clear = header.encode(6);
        let mut file = Vec::new();
        append_copy(&clear, b"sealed", &mut file);
        append_copy(&clear, b"sealed", &mut file);
        for byte in 0..file.len() {
            let mut bad = file.clone();
            bad[byte] ^= 1;
            let copy = decode_file(&bad).unwrap();
            assert_eq!((&copy.header, copy.sealed), (&header, &b"sealed"[..]), "byte {byte}");
        }
        let half = file.len() / 2;
        file[20] ^= 1;
        file[half + 20] ^= 1;
        assert_eq!(decode_file(&file).unwrap_err().reason, "checksum does not match");
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_error_or_a_value(bytes: Vec<u8>) {
            let _ = decode_file(&bytes);
            let _ = ManifestBody::decode(&bytes);
        }
    }
}
