//! Erasure: which of a pool's deleted users may still have values in its files and frames, and what is rid of them.
//!
//! It stands in the manifest as the document [`ERASURE_DOCUMENT`], which no operation sets.
//!
//! ```text
//! erasure = version u8 (1) ‖ erased Seq u64 ‖ frames from Seq u64 ‖ files from varint
//!           ‖ count ‖ (due u64, milliseconds ‖ last Seq u64)…
//! ```

use crate::error::DecodeError;
use crate::ids::{FileId, Seq};
use crate::wire::{Reader, Write};

/// The name under which it stands in the manifest.
pub const ERASURE_DOCUMENT: &str = "erasure";
/// The only version of the encoding.
const VERSION: u8 = 1;

/// What was erased of a pool, and what is still to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Erasure {
    /// No file and no frame that opens has a value of a user who was deleted up to here.
    pub erased_seq: Seq,
    /// Frames before this Seq are given up: the keys of some are gone.
    pub frames_from: Seq,
    /// Files with an id below this one had such values: there is none left.
    pub files_from: FileId,
    /// Deletions after `erased_seq`, oldest first.
    pub pending: Vec<PendingErasure>,
}

/// Users deleted one soon after the other, whose values may still be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingErasure {
    /// When the first one's values must be gone, milliseconds since the Unix epoch.
    pub due_ms: u64,
    /// The Seq of the last one's deletion.
    pub last_seq: Seq,
}

impl Erasure {
    /// The document's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + 16 * self.pending.len());
        out.put_u8(VERSION);
        out.put_u64(self.erased_seq.0);
        out.put_u64(self.frames_from.0);
        out.put_varint(self.files_from.0);
        out.put_varint(self.pending.len() as u64);
        for pending in &self.pending {
            out.put_u64(pending.due_ms);
            out.put_u64(pending.last_seq.0);
        }
        out
    }

    /// Reads the document's content.
    ///
    /// # Errors
    /// A version that is not known, cut short, Seqs that do not ascend, bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("erasure", bytes);
        if reader.u8()? != VERSION {
            return Err(DecodeError::new("erasure", 0, "version is unknown"));
        }
        let mut erasure = Self {
            erased_seq: Seq(reader.u64()?),
            frames_from: Seq(reader.u64()?),
            files_from: FileId(reader.varint()?),
            pending: Vec::new(),
        };
        let mut before = erasure.erased_seq;
        for _ in 0..reader.count(16)? {
            let pending = PendingErasure { due_ms: reader.u64()?, last_seq: Seq(reader.u64()?) };
            if pending.last_seq <= before {
                return Err(reader.fault("seqs do not ascend"));
            }
            before = pending.last_seq;
            erasure.pending.push(pending);
        }
        reader.end()?;
        Ok(erasure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_erasure_reads_back_and_no_part_of_one_does() {
        let pending = [(1000, 8), (900, 12)];
        let pending = pending.map(|(due_ms, seq)| PendingErasure { due_ms, last_seq: Seq(seq) }).to_vec();
        let erasure = Erasure { erased_seq: Seq(5), frames_from: Seq(7), files_from: FileId(300), pending };
        let bytes = erasure.encode();
        assert_eq!(Erasure::decode(&bytes), Ok(erasure.clone()));
        for len in 0..bytes.len() {
            assert!(Erasure::decode(&bytes[..len]).is_err(), "{len} bytes of {}", bytes.len());
        }
        assert!(Erasure::decode(&[&bytes[..], &[0]].concat()).is_err());
        assert_eq!(Erasure::decode(&[2]).unwrap_err().reason, "version is unknown");
        let unordered = Erasure { erased_seq: Seq(8), ..erasure };
        assert_eq!(Erasure::decode(&unordered.encode()).unwrap_err().reason, "seqs do not ascend");
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_error_or_an_erasure(bytes: Vec<u8>) {
            let _ = Erasure::decode(&bytes);
        }
    }
}
