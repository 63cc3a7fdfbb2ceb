//! The two files of a store that are not a pool's: `STORE` and `CATALOGUE`.

use crate::error::DecodeError;
use crate::ids::{PoolId, SegmentNumber, Seq, StoreId};
use crate::wire::{Reader, Write};

const STORE_MAGIC: &[u8; 8] = b"STOASTO\n";
const CATALOGUE_MAGIC: &[u8; 8] = b"STOACAT\n";
/// The newest version of a store's format as a whole.
pub const STORE_VERSION: u16 = 1;
/// The document of the catalogue's body that says what has left the log.
pub const LOG_DOCUMENT: &str = "$log";
/// The label in front of the catalogue's associated data.
pub const CATALOGUE_LABEL: &[u8; 16] = b"stoa catalogue 1";

/// The file `STORE`: magic 8 ‖ read version u16 ‖ write version u16 ‖ store id 16 ‖ incarnation
/// u64 ‖ created_at_ms u64 ‖ bytes(wrapped store key) ‖ CRC-32 of all before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFile {
    /// The store's UUID.
    pub id: StoreId,
    /// +1 each time that a process opens the store for writing.
    pub incarnation: u64,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// The key of catalogue frames, wrapped by the customer key.
    pub wrapped_key: Vec<u8>,
}

impl StoreFile {
    /// The whole file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_slice(STORE_MAGIC);
        out.put_u16(STORE_VERSION);
        out.put_u16(STORE_VERSION);
        out.put_slice(&self.id.0);
        out.put_u64(self.incarnation);
        out.put_u64(self.created_at_ms);
        out.put_bytes(&self.wrapped_key);
        let crc = crc32fast::hash(&out);
        out.put_u32(crc);
        out
    }

    /// The format version that a `STORE` file says it needs, if it is one, and whole: where the checksum does not
    /// match, the version proves nothing.
    pub fn read_version(bytes: &[u8]) -> Option<u16> {
        let covered = checked("STORE", STORE_MAGIC, bytes).ok()?;
        Some(u16::from_le_bytes([covered[8], covered[9]]))
    }

    /// Reads the whole file.
    ///
    /// # Errors
    /// Wrong magic, a newer version, a checksum that does not match.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const NAME: &str = "STORE";
        let covered = checked(NAME, STORE_MAGIC, bytes)?;
        let mut reader = Reader::new(NAME, covered);
        reader.slice(8)?;
        if reader.u16()? > STORE_VERSION {
            return Err(DecodeError::new(NAME, 8, "read version is newer than this program"));
        }
        reader.u16()?;
        let file = Self {
            id: StoreId(reader.array()?),
            incarnation: reader.u64()?,
            created_at_ms: reader.u64()?,
            wrapped_key: reader.bytes()?.to_vec(),
        };
        reader.end()?;
        Ok(file)
    }
}

/// Checks magic and trailing CRC-32; answers what the checksum covers.
fn checked<'a>(name: &'static str, magic: &[u8; 8], bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
    if bytes.len() < 16 {
        return Err(DecodeError::new(name, bytes.len(), "ends too early"));
    }
    if &bytes[..8] != magic {
        return Err(DecodeError::new(name, 0, "magic does not match"));
    }
    let (covered, crc) = bytes.split_at(bytes.len() - 4);
    match crc == crc32fast::hash(covered).to_le_bytes() {
        true => Ok(covered),
        false => Err(DecodeError::new(name, covered.len(), "checksum does not match")),
    }
}

/// The file `CATALOGUE`: magic 8 ‖ read version u16 ‖ write version u16 ‖ store id 16 ‖ number
/// u64 ‖ bytes(sealed [`CatalogueBody`]) ‖ CRC-32 of all before it. Associated data: label ‖
/// store id ‖ number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueFile {
    /// The store it belongs to.
    pub store: StoreId,
    /// +1 for each catalogue.
    pub number: u64,
    /// The sealed body.
    pub sealed: Vec<u8>,
}

impl CatalogueFile {
    /// What the body's seal binds.
    pub fn associated_data(store: StoreId, number: u64) -> Vec<u8> {
        [&CATALOGUE_LABEL[..], &store.0, &number.to_le_bytes()].concat()
    }

    /// The whole file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_slice(CATALOGUE_MAGIC);
        out.put_u16(STORE_VERSION);
        out.put_u16(STORE_VERSION);
        out.put_slice(&self.store.0);
        out.put_u64(self.number);
        out.put_bytes(&self.sealed);
        let crc = crc32fast::hash(&out);
        out.put_u32(crc);
        out
    }

    /// Reads the whole file.
    ///
    /// # Errors
    /// Wrong magic, a newer version, a checksum that does not match.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const NAME: &str = "CATALOGUE";
        let covered = checked(NAME, CATALOGUE_MAGIC, bytes)?;
        let mut reader = Reader::new(NAME, covered);
        reader.slice(8)?;
        if reader.u16()? > STORE_VERSION {
            return Err(DecodeError::new(NAME, 8, "read version is newer than this program"));
        }
        reader.u16()?;
        let file = Self { store: StoreId(reader.array()?), number: reader.u64()?, sealed: reader.bytes()?.to_vec() };
        reader.end()?;
        Ok(file)
    }
}

/// A pool as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// The pool's UUID.
    pub id: PoolId,
    /// Its name, unique in the store.
    pub name: String,
    /// The newest manifest's number when this was written; 0 while there is none on disk.
    pub manifest_number: u64,
    /// BLAKE3 of that manifest's file; zero while there is none.
    pub manifest_digest: [u8; 32],
    /// What that manifest has flushed.
    pub flushed_seq: Seq,
    /// The pool's first manifest, while it has none on disk.
    pub first_manifest: Option<Vec<u8>>,
}

impl CatalogueEntry {
    /// Appends the entry.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_slice(&self.id.0);
        out.put_bytes(self.name.as_bytes());
        out.put_u64(self.manifest_number);
        out.put_slice(&self.manifest_digest);
        out.put_u64(self.flushed_seq.0);
        out.put_u8(u8::from(self.first_manifest.is_some()));
        out.put_bytes(self.first_manifest.as_deref().unwrap_or_default());
    }

    /// Reads one entry.
    ///
    /// # Errors
    /// Cut short, a flag that is unknown.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (id, name) = (PoolId(reader.array()?), reader.text()?.to_owned());
        let (manifest_number, manifest_digest) = (reader.u64()?, reader.array()?);
        let flushed_seq = Seq(reader.u64()?);
        let first_manifest = reader.optional_bytes()?.map(<[u8]>::to_vec);
        Ok(Self { id, name, manifest_number, manifest_digest, flushed_seq, first_manifest })
    }
}

/// What the catalogue holds, sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CatalogueBody {
    /// All catalogue transactions up to here are in it.
    pub seq: Seq,
    /// The chain digest after `seq`.
    pub chain: [u8; 32],
    /// The log was durable up to here when this was written.
    pub durable_lsn: u64,
    /// The pools, by name.
    pub pools: Vec<CatalogueEntry>,
    /// Store-wide documents: access control.
    pub documents: Vec<(String, Vec<u8>)>,
}

impl CatalogueBody {
    /// The body's plain text.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u64(self.seq.0);
        out.put_slice(&self.chain);
        out.put_u64(self.durable_lsn);
        out.put_varint(self.pools.len() as u64);
        self.pools.iter().for_each(|pool| pool.encode(&mut out));
        out.put_varint(self.documents.len() as u64);
        for (name, content) in &self.documents {
            out.put_bytes(name.as_bytes());
            out.put_bytes(content);
        }
        out
    }

    /// Reads the body's plain text.
    ///
    /// # Errors
    /// Cut short, bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("catalogue body", bytes);
        let mut body =
            Self { seq: Seq(reader.u64()?), chain: reader.array()?, durable_lsn: reader.u64()?, ..Self::default() };
        for _ in 0..reader.count(67)? {
            body.pools.push(CatalogueEntry::decode(&mut reader)?);
        }
        for _ in 0..reader.count(2)? {
            body.documents.push((reader.text()?.to_owned(), reader.bytes()?.to_vec()));
        }
        reader.end()?;
        Ok(body)
    }
}

/// What has left the log, as of a checkpoint of the catalogue: so that a file that is gone is missed, whichever it
/// is. It stands in the catalogue's body as the document [`LOG_DOCUMENT`], which no operation sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogDocument {
    /// No segment from this one on has been given up.
    pub first_segment: SegmentNumber,
    /// The pools of which frames have left the log, by id.
    pub left: Vec<LeftFrames>,
}

/// What of a pool's frames has left the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftFrames {
    /// The pool.
    pub pool: PoolId,
    /// The first Seq whose frame is kept in a history file; above `up_to` if none is.
    pub kept_from: Seq,
    /// The last Seq whose frame has left the log.
    pub up_to: Seq,
}

impl LogDocument {
    /// The document's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u8(1);
        out.put_u64(self.first_segment.0);
        out.put_varint(self.left.len() as u64);
        for left in &self.left {
            out.put_slice(&left.pool.0);
            out.put_u64(left.kept_from.0);
            out.put_u64(left.up_to.0);
        }
        out
    }

    /// Reads the document's content.
    ///
    /// # Errors
    /// Another version, cut short, bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("log document", bytes);
        if reader.u8()? != 1 {
            return Err(reader.fault("version is unknown"));
        }
        let mut document = Self { first_segment: SegmentNumber(reader.u64()?), left: Vec::new() };
        for _ in 0..reader.count(32)? {
            let pool = PoolId(reader.array()?);
            document.left.push(LeftFrames { pool, kept_from: Seq(reader.u64()?), up_to: Seq(reader.u64()?) });
        }
        reader.end()?;
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_round_trip_and_every_flipped_byte_is_seen() {
        let store =
            StoreFile { id: StoreId([1; 16]), incarnation: 4, created_at_ms: 9, wrapped_key: b"wrapped".to_vec() };
        let bytes = store.encode();
        assert_eq!(StoreFile::decode(&bytes).unwrap(), store);
        for byte in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[byte] ^= 4;
            assert!(StoreFile::decode(&bad).is_err(), "byte {byte}");
        }
        let catalogue = CatalogueFile { store: StoreId([1; 16]), number: 2, sealed: vec![7; 50] };
        assert_eq!(CatalogueFile::decode(&catalogue.encode()).unwrap(), catalogue);
        let body = CatalogueBody {
            seq: Seq(3),
            chain: [2; 32],
            durable_lsn: 8,
            pools: vec![CatalogueEntry {
                id: PoolId([3; 16]),
                name: "acme".into(),
                manifest_number: 0,
                manifest_digest: [0; 32],
                flushed_seq: Seq(0),
                first_manifest: Some(vec![1, 2]),
            }],
            documents: vec![("acl".into(), b"x".to_vec())],
        };
        assert_eq!(CatalogueBody::decode(&body.encode()).unwrap(), body);
        let left = vec![LeftFrames { pool: PoolId([3; 16]), kept_from: Seq(2), up_to: Seq(9) }];
        let log = LogDocument { first_segment: SegmentNumber(4), left };
        assert_eq!(LogDocument::decode(&log.encode()).unwrap(), log);
        assert!(LogDocument::decode(&log.encode()[..20]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_error_or_a_value(bytes: Vec<u8>) {
            let _ = StoreFile::decode(&bytes);
            let _ = CatalogueFile::decode(&bytes);
            let _ = CatalogueBody::decode(&bytes);
            let _ = LogDocument::decode(&bytes);
        }
    }
}
