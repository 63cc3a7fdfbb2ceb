//! A pool's frames outside of the log, in `history/`: copied byte for byte and without a key, so
//! that the log can move on while they are still needed, or wanted for the change feed.
//!
//! ```text
//! history file = header ‖ record …            (as many as the header says, nothing behind them)
//! record       = length u32 ‖ CRC-32 of the body u32 ‖ body (inner shell ‖ sealed transactions)
//! ```
//!
//! A file is written whole and replaced atomically; its frames follow each other without a gap. Its
//! name is `FIRST-LAST.frames`, both Seqs as 16 hexadecimal digits.

use crate::error::DecodeError;
use crate::ids::{PoolId, Seq};
use crate::wire::{Reader, Write};

const MAGIC: &[u8; 8] = b"STOAHIS\n";
/// The newest version of the format.
pub const HISTORY_VERSION: u16 = 1;
/// Length of the header in bytes.
pub const HEADER_BYTES: usize = 52;
/// Length of what stands before each frame in bytes.
pub const RECORD_BYTES: usize = 8;

/// The header of a history file.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 8 | `STOAHIS` and a line feed |
/// | 8 | 2 | read version |
/// | 10 | 2 | write version |
/// | 12 | 16 | pool |
/// | 28 | 8 | first Seq |
/// | 36 | 8 | last Seq |
/// | 44 | 4 | number of frames |
/// | 48 | 4 | CRC-32 of the bytes before |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryHeader {
    /// Whose frames.
    pub pool: PoolId,
    /// The first transaction of the first frame.
    pub first_seq: Seq,
    /// The last transaction of the last frame.
    pub last_seq: Seq,
    /// How many frames.
    pub count: u32,
}

impl HistoryHeader {
    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_slice(MAGIC);
        out.put_u16(HISTORY_VERSION);
        out.put_u16(HISTORY_VERSION);
        out.put_slice(&self.pool.0);
        out.put_u64(self.first_seq.0);
        out.put_u64(self.last_seq.0);
        out.put_u32(self.count);
        let sum = crc32fast::hash(&out[start..]);
        out.put_u32(sum);
    }

    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// Wrong magic, a newer version, cut short, a checksum that does not match, Seqs out of order.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const NAME: &str = "history header";
        let mut reader = Reader::new(NAME, bytes);
        if &reader.array::<8>()? != MAGIC {
            return Err(DecodeError::new(NAME, 0, "magic does not match"));
        }
        let read_version = reader.u16()?;
        reader.u16()?;
        let header = Self {
            pool: PoolId(reader.array()?),
            first_seq: Seq(reader.u64()?),
            last_seq: Seq(reader.u64()?),
            count: reader.u32()?,
        };
        if reader.u32()? != crc32fast::hash(&bytes[..HEADER_BYTES - 4]) {
            return Err(DecodeError::new(NAME, HEADER_BYTES - 4, "checksum does not match"));
        }
        if read_version > HISTORY_VERSION {
            return Err(DecodeError::new(NAME, 8, "read version is newer than this program"));
        }
        if header.first_seq > header.last_seq || header.count == 0 {
            return Err(DecodeError::new(NAME, 28, "names no frame"));
        }
        Ok(header)
    }

    /// The name of the file.
    pub fn file_name(&self) -> String {
        format!("{:016x}-{:016x}.frames", self.first_seq.0, self.last_seq.0)
    }
}

/// The Seqs in the name of a history file; `None` if it is none.
pub fn parse_file_name(name: &str) -> Option<(Seq, Seq)> {
    let (first, last) = name.strip_suffix(".frames")?.split_once('-')?;
    let number = |digits: &str| {
        let is_ours = digits.len() == 16 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        is_ours.then(|| u64::from_str_radix(digits, 16).ok().map(Seq)).flatten()
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// Appends one frame.
pub fn append_record(body: &[u8], out: &mut Vec<u8>) {
    out.put_u32(body.len() as u32);
    out.put_u32(crc32fast::hash(body));
    out.put_slice(body);
}

/// The frames of a history file, one after the other.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Records<'a> {
    /// Reads a whole file.
    ///
    /// # Errors
    /// As [`HistoryHeader::decode`].
    pub fn decode(bytes: &'a [u8]) -> Result<(HistoryHeader, Self), DecodeError> {
        let header = HistoryHeader::decode(bytes)?;
        let mut reader = Reader::new("history file", bytes);
        reader.slice(HEADER_BYTES)?;
        Ok((header, Self { reader, left: header.count }))
    }

    /// The next frame's body; `None` after the last.
    ///
    /// # Errors
    /// Cut short, a checksum that does not match, bytes left over after the last.
    pub fn next_record(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        if self.left == 0 {
            return self.reader.end().map(|()| None);
        }
        self.left -= 1;
        let (len, sum) = (self.reader.u32()?, self.reader.u32()?);
        let body = self.reader.slice(len as usize)?;
        match crc32fast::hash(body) == sum {
            true => Ok(Some(body)),
            false => Err(self.reader.fault("checksum does not match")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<(HistoryHeader, Vec<Vec<u8>>), DecodeError> {
        let (header, mut records) = Records::decode(bytes)?;
        let mut all = Vec::new();
        while let Some(body) = records.next_record()? {
            all.push(body.to_vec());
        }
        Ok((header, all))
    }

    fn file() -> (HistoryHeader, Vec<u8>) {
        let header = HistoryHeader { pool: PoolId([7; 16]), first_seq: Seq(3), last_seq: Seq(9), count: 2 };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        append_record(b"first", &mut bytes);
        append_record(b"", &mut bytes);
        (header, bytes)
    }

    #[test]
    fn a_file_round_trips_and_every_flipped_byte_is_seen() {
        let (header, bytes) = file();
        assert_eq!(read(&bytes).unwrap(), (header, vec![b"first".to_vec(), Vec::new()]));
        for byte in (0..bytes.len()).filter(|byte| !(10..12).contains(byte)) {
            let mut bad = bytes.clone();
            bad[byte] ^= 1;
            assert!(read(&bad).is_err(), "byte {byte}");
        }
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "cut to {len}");
        }
        assert_eq!(parse_file_name(&header.file_name()), Some((Seq(3), Seq(9))));
        assert_eq!(parse_file_name("0000000000000009-0000000000000003.frames"), None);
        assert_eq!(parse_file_name("3-9.frames"), None);
        assert_eq!(parse_file_name("0000000000000003-+000000000000009.frames"), None);
        assert_eq!(parse_file_name("000000000000000a-000000000000000B.frames"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_error_or_a_value(tail: Vec<u8>) {
            let _ = read(&tail);
            let mut bytes = file().1;
            bytes.truncate(HEADER_BYTES);
            bytes.extend(tail);
            let _ = read(&bytes);
        }
    }
}
