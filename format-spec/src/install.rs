//! An install: files that take their place in a pool with one transaction.
//!
//! A bulk load and a value set for all users write column and index files first, make them durable, and
//! then commit one operation that names them. That operation is the commit: who replays it has the files'
//! content from that Seq on, whatever manifest it starts from. It stands in the log as the document
//! [`INSTALL_DOCUMENT`], which is never kept as a document.
//!
//! ```text
//! install = version u8 (1) ‖ id varint ‖ next ordinal varint ‖ next group id varint ‖ next age varint
//!           ‖ groups varint ‖ flag u8 ‖ bytes(live ordinals)
//!           ‖ count ‖ (file id varint ‖ section u16)… ‖ count ‖ file…        (as in a manifest)
//! ```

use crate::error::DecodeError;
use crate::ids::FileId;
use crate::manifest::{FileRef, decode_file_ref, encode_file_ref};
use crate::wire::{Reader, Write};

/// The name under which an install stands in the log.
pub const INSTALL_DOCUMENT: &str = "install";
/// The only version of the encoding.
const VERSION: u8 = 1;

/// Files that are to become part of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Install {
    /// Minted from the file ids after those of its files. A manifest whose next file id is above it was
    /// written with the install done.
    pub id: FileId,
    /// No ordinal below this one is minted again.
    pub next_ordinal: u64,
    /// No group id below this one is minted again.
    pub next_group_id: u64,
    /// No run age below this one is given again.
    pub next_age: u64,
    /// How many groups come in addition.
    pub groups: u64,
    /// The live ordinals from now on, a serialised roaring bitmap; `None` if they stay as they are.
    pub live: Option<Vec<u8>>,
    /// Sections that are in use no more, by file and number.
    pub dropped: Vec<(FileId, u16)>,
    /// The new files.
    pub files: Vec<FileRef>,
}

impl Install {
    /// The install's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 128 * self.files.len());
        out.put_u8(VERSION);
        for number in [self.id.0, self.next_ordinal, self.next_group_id, self.next_age, self.groups] {
            out.put_varint(number);
        }
        out.put_u8(u8::from(self.live.is_some()));
        out.put_bytes(self.live.as_deref().unwrap_or_default());
        out.put_varint(self.dropped.len() as u64);
        for (file, section) in &self.dropped {
            out.put_varint(file.0);
            out.put_u16(*section);
        }
        out.put_varint(self.files.len() as u64);
        self.files.iter().for_each(|file| encode_file_ref(file, &mut out));
        out
    }

    /// Reads an install.
    ///
    /// # Errors
    /// A version that is not known, cut short, a tag that is unknown, bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("install", bytes);
        let reader = &mut reader;
        if reader.u8()? != VERSION {
            return Err(DecodeError::new("install", 0, "version is unknown"));
        }
        let mut install = Self {
            id: FileId(reader.varint()?),
            next_ordinal: reader.varint()?,
            next_group_id: reader.varint()?,
            next_age: reader.varint()?,
            groups: reader.varint()?,
            ..Self::default()
        };
        install.live = reader.optional_bytes()?.map(<[u8]>::to_vec);
        for _ in 0..reader.count(3)? {
            install.dropped.push((FileId(reader.varint()?), reader.u16()?));
        }
        for _ in 0..reader.count(80)? {
            install.files.push(decode_file_ref(reader)?);
        }
        reader.end()?;
        Ok(install)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AttrId, KeyEpoch};
    use crate::manifest::{FilePlace, SectionContent, SectionRef};
    use proptest::prelude::*;

    fn install() -> Install {
        let content = SectionContent::Column { attr: AttrId(64), dense: true };
        let file = FileRef {
            id: FileId(7),
            place: FilePlace::Column,
            folder: 64,
            key_epoch: KeyEpoch(1),
            salt: [1; 32],
            root: [2; 32],
            len: 300,
            age: 4,
            sections: vec![SectionRef { section: 0, content }],
        };
        Install {
            id: FileId(9),
            next_ordinal: 1000,
            next_group_id: 3,
            next_age: 5,
            groups: 2,
            live: Some(vec![1, 2]),
            dropped: vec![(FileId(1), 3)],
            files: vec![file],
        }
    }

    #[test]
    fn an_install_reads_back_and_no_part_of_one_does() {
        let bytes = install().encode();
        assert_eq!(Install::decode(&bytes), Ok(install()));
        for len in 0..bytes.len() {
            assert!(Install::decode(&bytes[..len]).is_err(), "{len} bytes of {}", bytes.len());
        }
        assert!(Install::decode(&[&bytes[..], &[0]].concat()).is_err());
        assert_eq!(Install::decode(&[2]).unwrap_err().reason, "version is unknown");
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_error_or_an_install(bytes: Vec<u8>) {
            let _ = Install::decode(&bytes);
        }
    }
}
