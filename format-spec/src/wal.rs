//! The store's log: segments, and frames with their two shells.
//!
//! A segment is a file of 4 KiB blocks. Block 0 is the [`SegmentHeader`]; frames follow. A batch
//! (what one sync covers) starts on a fresh block; its frames stand back to back, each on a
//! multiple of [`FRAME_ALIGN`] bytes. A frame is
//!
//! ```text
//! outer shell   48 bytes   belongs to this store: segment, incarnation, Lsn, durable Lsn, checksum
//! inner shell   80 bytes   belongs to the pool: pool, epoch, Seqs, period, chain
//! sealed        inner.sealed_len bytes: nonce (24) ‖ cipher text ‖ tag (16)
//! ```
//!
//! A seal frame is an outer shell alone. An inner shell is never sealed again: relocation and
//! replication copy it, with the sealed bytes, as it is.

use crate::error::DecodeError;
use crate::ids::{Epoch, KeyEpoch, Lsn, Period, PoolId, SegmentNumber, Seq, StoreId};
use crate::wire::{Reader, Write};

/// The unit in which a batch starts.
pub const BLOCK_BYTES: usize = 4096;
/// Frames of one batch start on multiples of this.
pub const FRAME_ALIGN: usize = 8;
/// Length of [`OuterShell`].
pub const OUTER_BYTES: usize = 48;
/// Length of [`InnerShell`].
pub const INNER_BYTES: usize = 80;
/// The newest version of the log's format.
pub const LOG_VERSION: u16 = 1;

const SEGMENT_MAGIC: &[u8; 8] = b"STOAWAL\n";
const FRAME_MAGIC: &[u8; 4] = b"SFRM";
const FRAME: &str = "frame";

/// The first block of a segment.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 8 | magic `STOAWAL\n` |
/// | 8 | 2 | read version: a reader that knows only lower ones refuses |
/// | 10 | 2 | write version: a writer that knows only lower ones opens read-only |
/// | 12 | 4 | reserved, zero |
/// | 16 | 16 | store id |
/// | 32 | 8 | segment number |
/// | 40 | 8 | incarnation of the process that writes it |
/// | 48 | 8 | first Lsn |
/// | 56 | 8 | number of the segment before it, 0 for none |
/// | 64 | 8 | offset at which that one ended |
/// | 72 | 4020 | reserved, zero |
/// | 4092 | 4 | CRC-32 of bytes 0 to 4091 |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The store it belongs to.
    pub store: StoreId,
    /// Its number; never given twice, though the file may be.
    pub number: SegmentNumber,
    /// The process that writes it.
    pub incarnation: u64,
    /// The Lsn of its first frame.
    pub first_lsn: Lsn,
    /// The segment before it; 0 for none.
    pub previous: SegmentNumber,
    /// Where that one ended: the offset after its last frame.
    pub previous_end: u64,
}

impl SegmentHeader {
    /// The whole block.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_BYTES);
        out.put_slice(SEGMENT_MAGIC);
        out.put_u16(LOG_VERSION);
        out.put_u16(LOG_VERSION);
        out.put_u32(0);
        out.put_slice(&self.store.0);
        out.put_u64(self.number.0);
        out.put_u64(self.incarnation);
        out.put_u64(self.first_lsn.0);
        out.put_u64(self.previous.0);
        out.put_u64(self.previous_end);
        out.resize(BLOCK_BYTES - 4, 0);
        out.put_u32(crc32fast::hash(&out));
        out
    }

    /// Reads a block.
    ///
    /// # Errors
    /// Too short, wrong magic, a newer version, a checksum that does not match.
    pub fn decode(block: &[u8]) -> Result<Self, DecodeError> {
        const NAME: &str = "segment header";
        if block.len() < BLOCK_BYTES {
            return Err(DecodeError::new(NAME, block.len(), "ends too early"));
        }
        let mut reader = Reader::new(NAME, &block[..BLOCK_BYTES]);
        if &reader.array::<8>()? != SEGMENT_MAGIC {
            return Err(DecodeError::new(NAME, 0, "magic does not match"));
        }
        let stored = u32::from_le_bytes([block[4092], block[4093], block[4094], block[4095]]);
        if stored != crc32fast::hash(&block[..BLOCK_BYTES - 4]) {
            return Err(DecodeError::new(NAME, BLOCK_BYTES - 4, "checksum does not match"));
        }
        if reader.u16()? > LOG_VERSION {
            return Err(DecodeError::new(NAME, 8, "read version is newer than this program"));
        }
        reader.u16()?;
        reader.reserved(4)?;
        let header = Self {
            store: StoreId(reader.array()?),
            number: SegmentNumber(reader.u64()?),
            incarnation: reader.u64()?,
            first_lsn: Lsn(reader.u64()?),
            previous: SegmentNumber(reader.u64()?),
            previous_end: reader.u64()?,
        };
        reader.reserved(BLOCK_BYTES - 4 - 72)?;
        Ok(header)
    }
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Transactions of one pool (or, with the nil pool, of the catalogue).
    Data = 1,
    /// Nothing: says that everything before it is durable.
    Seal = 2,
}

/// The part of a frame that belongs to this store.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 4 | magic `SFRM` |
/// | 4 | 4 | CRC-32 of everything after it, to the end of the frame |
/// | 8 | 4 | length of what follows this shell |
/// | 12 | 1 | kind: 1 data, 2 seal |
/// | 13 | 3 | reserved, zero |
/// | 16 | 8 | segment number |
/// | 24 | 8 | incarnation |
/// | 32 | 8 | Lsn |
/// | 40 | 8 | durable Lsn as known when this was written |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OuterShell {
    /// What follows.
    pub kind: FrameKind,
    /// Length of what follows, in bytes.
    pub body_len: u32,
    /// The segment it was written into.
    pub segment: SegmentNumber,
    /// The process that wrote it.
    pub incarnation: u64,
    /// Its position in the log.
    pub lsn: Lsn,
    /// Every frame up to this one was durable when this was written: `durable_lsn < lsn`.
    pub durable_lsn: Lsn,
}

impl OuterShell {
    /// Appends the whole frame: this shell and `body`.
    pub fn encode_frame(&self, body: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.put_slice(FRAME_MAGIC);
        out.put_u32(0);
        out.put_u32(body.len() as u32);
        out.put_u8(self.kind as u8);
        out.put_slice(&[0; 3]);
        out.put_u64(self.segment.0);
        out.put_u64(self.incarnation);
        out.put_u64(self.lsn.0);
        out.put_u64(self.durable_lsn.0);
        out.put_slice(body);
        let crc = crc32fast::hash(&out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the shell at the start of `bytes`, with or without what follows it. Nothing is checked by the checksum yet:
    /// this is to tell whose frame it would be, and how long.
    ///
    /// # Errors
    /// Not a shell, cut short.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(FRAME, bytes);
        if &reader.array::<4>()? != FRAME_MAGIC {
            return Err(DecodeError::new(FRAME, 0, "magic does not match"));
        }
        let _checksum = reader.u32()?;
        let body_len = reader.u32()?;
        let kind = match reader.u8()? {
            1 => FrameKind::Data,
            2 => FrameKind::Seal,
            _ => return Err(DecodeError::new(FRAME, 12, "kind is unknown")),
        };
        reader.reserved(3)?;
        Ok(Self {
            kind,
            body_len,
            segment: SegmentNumber(reader.u64()?),
            incarnation: reader.u64()?,
            lsn: Lsn(reader.u64()?),
            durable_lsn: Lsn(reader.u64()?),
        })
    }

    /// Reads the frame at the start of `bytes`, which may go on behind it; answers the shell and
    /// the body.
    ///
    /// # Errors
    /// Not a frame, cut short, a checksum that does not match, a durable Lsn that is not below its own, a seal
    /// that carries something.
    pub fn decode_frame(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let shell = Self::decode(bytes)?;
        let mut reader = Reader::new(FRAME, bytes);
        reader.slice(4)?;
        let crc = reader.u32()?;
        reader.slice(OUTER_BYTES - 8)?;
        let body = reader.slice(shell.body_len as usize)?;
        if crc != crc32fast::hash(&bytes[8..OUTER_BYTES + body.len()]) {
            return Err(DecodeError::new(FRAME, 4, "checksum does not match"));
        }
        if shell.durable_lsn >= shell.lsn {
            return Err(DecodeError::new(FRAME, 40, "says that it is durable itself"));
        }
        if shell.kind == FrameKind::Seal && !body.is_empty() {
            return Err(DecodeError::new(FRAME, 8, "a seal frame has a body"));
        }
        Ok((shell, body))
    }
}

/// The part of a frame that belongs to its pool, in front of the sealed transactions.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 16 | pool id; nil for the catalogue |
/// | 16 | 4 | epoch |
/// | 20 | 4 | key epoch |
/// | 24 | 4 | period |
/// | 28 | 4 | number of transactions, at least 1 |
/// | 32 | 8 | first Seq |
/// | 40 | 4 | length of the sealed bytes |
/// | 44 | 4 | reserved, zero |
/// | 48 | 32 | chain: BLAKE3(label ‖ pool ‖ chain before ‖ bytes 0 to 47 ‖ sealed bytes) |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerShell {
    /// Whose transactions these are.
    pub pool: PoolId,
    /// The leadership term.
    pub epoch: Epoch,
    /// The data key in force.
    pub key_epoch: KeyEpoch,
    /// The period whose key seals this frame.
    pub period: Period,
    /// How many transactions.
    pub count: u32,
    /// The Seq of the first; the others follow it.
    pub first_seq: Seq,
    /// Length of the sealed bytes.
    pub sealed_len: u32,
    /// The chain digest after this frame.
    pub chain: [u8; 32],
}

/// The label in front of everything that a chain digest covers.
pub const CHAIN_LABEL: &[u8; 16] = b"stoa chain v1\0\0\0";
/// The label in front of a frame's associated data.
pub const FRAME_LABEL: &[u8; 16] = b"stoa frame v1\0\0\0";

impl InnerShell {
    /// The Seq of the last transaction.
    pub fn last_seq(&self) -> Seq {
        Seq(self.first_seq.0 + u64::from(self.count) - 1)
    }

    /// Bytes 0 to 47: what the chain covers of the shell itself.
    pub fn head(&self) -> [u8; 48] {
        let mut out = Vec::with_capacity(48);
        out.put_slice(&self.pool.0);
        out.put_u32(self.epoch.0);
        out.put_u32(self.key_epoch.0);
        out.put_u32(self.period.0);
        out.put_u32(self.count);
        out.put_u64(self.first_seq.0);
        out.put_u32(self.sealed_len);
        out.put_u32(0);
        let mut head = [0; 48];
        head.copy_from_slice(&out);
        head
    }

    /// What the seal binds besides the transactions: label, bytes 0 to 39 and the chain before
    /// (the sealed length is bound by the seal itself).
    pub fn associated_data(&self, chain_before: &[u8; 32]) -> [u8; 88] {
        let mut ad = [0; 88];
        ad[..16].copy_from_slice(FRAME_LABEL);
        ad[16..56].copy_from_slice(&self.head()[..40]);
        ad[56..].copy_from_slice(chain_before);
        ad
    }

    /// Appends the shell; the sealed bytes follow it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_slice(&self.head());
        out.put_slice(&self.chain);
    }

    /// Reads a frame's body; answers the shell and the sealed bytes.
    ///
    /// # Errors
    /// Cut short, no transaction, a Seq of 2^53 or more, bytes left over.
    pub fn decode(body: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        const NAME: &str = "inner shell";
        let mut reader = Reader::new(NAME, body);
        let mut shell = Self {
            pool: PoolId(reader.array()?),
            epoch: Epoch(reader.u32()?),
            key_epoch: KeyEpoch(reader.u32()?),
            period: Period(reader.u32()?),
            count: reader.u32()?,
            first_seq: Seq(reader.u64()?),
            sealed_len: reader.u32()?,
            chain: [0; 32],
        };
        reader.reserved(4)?;
        shell.chain = reader.array()?;
        if shell.count == 0 {
            return Err(DecodeError::new(NAME, 28, "carries no transaction"));
        }
        if shell.first_seq.0 >= (1 << 53) - u64::from(shell.count - 1) {
            return Err(DecodeError::new(NAME, 32, "Seq exceeds 2^53"));
        }
        let sealed = reader.slice(shell.sealed_len as usize)?;
        reader.end()?;
        Ok((shell, sealed))
    }
}

/// `bytes` rounded up to a whole number of blocks.
pub const fn round_to_block(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES as u64) * BLOCK_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outer() -> OuterShell {
        OuterShell {
            kind: FrameKind::Data,
            body_len: 5,
            segment: SegmentNumber(7),
            incarnation: 3,
            lsn: Lsn(12),
            durable_lsn: Lsn(11),
        }
    }

    #[test]
    fn a_frame_round_trips_and_every_flipped_bit_is_seen() {
        let mut bytes = Vec::new();
        outer().encode_frame(b"hello", &mut bytes);
        assert_eq!(bytes.len(), OUTER_BYTES + 5);
        assert_eq!(OuterShell::decode_frame(&bytes).unwrap(), (outer(), &b"hello"[..]));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(OuterShell::decode_frame(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_segment_header_round_trips_and_every_flipped_bit_is_seen() {
        let header = SegmentHeader {
            store: StoreId([9; 16]),
            number: SegmentNumber(4),
            incarnation: 2,
            first_lsn: Lsn(100),
            previous: SegmentNumber(3),
            previous_end: 8192,
        };
        let block = header.encode();
        assert_eq!(SegmentHeader::decode(&block).unwrap(), header);
        for byte in (0..128).chain(4090..4096) {
            let mut bad = block.clone();
            bad[byte] ^= 0x10;
            assert!(SegmentHeader::decode(&bad).is_err(), "byte {byte}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_error_or_a_value(bytes: Vec<u8>) {
            let _ = OuterShell::decode_frame(&bytes);
            let _ = InnerShell::decode(&bytes);
            let _ = SegmentHeader::decode(&bytes);
        }
    }
}
