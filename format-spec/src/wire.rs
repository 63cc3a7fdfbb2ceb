//! The two halves of every encoding here: a writer that appends to a buffer and a reader that
//! checks every length before it believes it.
//!
//! Numbers of fixed width are little endian. A *varint* is LEB128: seven bits a byte, lowest
//! first, at most ten bytes, and the shortest form only. *Bytes* are a varint length and as many
//! octets; *text* is bytes that are UTF-8.

use crate::error::DecodeError;

/// Appends encoded values to a buffer.
pub trait Write {
    /// Appends one octet.
    fn put_u8(&mut self, value: u8);
    /// Appends octets as they are.
    fn put_slice(&mut self, value: &[u8]);

    /// Appends a fixed u16.
    fn put_u16(&mut self, value: u16) {
        self.put_slice(&value.to_le_bytes());
    }
    /// Appends a fixed u32.
    fn put_u32(&mut self, value: u32) {
        self.put_slice(&value.to_le_bytes());
    }
    /// Appends a fixed u64.
    fn put_u64(&mut self, value: u64) {
        self.put_slice(&value.to_le_bytes());
    }
    /// Appends a varint.
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.put_u8(value as u8);
    }
    /// Appends a signed number as a zigzag varint.
    fn put_signed(&mut self, value: i64) {
        self.put_varint(((value << 1) ^ (value >> 63)) as u64);
    }
    /// Appends a length and as many octets.
    fn put_bytes(&mut self, value: &[u8]) {
        self.put_varint(value.len() as u64);
        self.put_slice(value);
    }
}

impl Write for Vec<u8> {
    #[inline]
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }
    #[inline]
    fn put_slice(&mut self, value: &[u8]) {
        self.extend_from_slice(value);
    }
}

/// Reads encoded values out of a slice, front to back.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    structure: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` as a `structure`, whose name errors carry.
    pub fn new(structure: &'static str, bytes: &'a [u8]) -> Self {
        Self { structure, bytes, at: 0 }
    }

    /// How far it has read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How much is left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// An error at the present place.
    pub fn fault(&self, reason: &'static str) -> DecodeError {
        DecodeError::new(self.structure, self.at, reason)
    }

    /// The next `len` octets as they are.
    pub fn slice(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        if len > self.remaining() {
            return Err(self.fault("ends too early"));
        }
        let slice = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(slice)
    }

    /// The next `N` octets.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.slice(N)?);
        Ok(out)
    }

    /// One octet.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        match self.bytes.get(self.at) {
            Some(&byte) => {
                self.at += 1;
                Ok(byte)
            }
            None => Err(self.fault("ends too early")),
        }
    }

    /// A fixed u16.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }
    /// A fixed u32.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }
    /// A fixed u64.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A varint, in its shortest form only.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        match self.bytes.get(self.at) {
            // Most take one octet.
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return Err(self.fault("varint exceeds 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                if byte == 0 && shift > 0 {
                    return Err(self.fault("varint is not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(self.fault("varint exceeds ten bytes"))
    }

    /// A zigzag varint.
    #[inline]
    pub fn signed(&mut self) -> Result<i64, DecodeError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A varint that counts things of which each takes at least `least` octets: never more than
    /// the rest could hold, so that a damaged count allocates nothing.
    pub fn count(&mut self, least: usize) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        if count > (self.remaining() / least.max(1)) as u64 {
            return Err(self.fault("counts more than there is"));
        }
        Ok(count as usize)
    }

    /// A length and as many octets.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.count(1)?;
        self.slice(len)
    }

    /// A length and as many octets of UTF-8.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let at = self.at;
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::new(self.structure, at, "is not UTF-8"))
    }

    /// A flag: 0 or 1, nothing else.
    pub fn flag(&mut self) -> Result<bool, DecodeError> {
        let fault = self.fault("flag is neither 0 nor 1");
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(fault),
        }
    }

    /// A flag, and a length and as many octets, which are none where the flag is 0.
    pub fn optional_bytes(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let is_there = self.flag()?;
        let fault = self.fault("content without its flag");
        match (is_there, self.bytes()?) {
            (true, bytes) => Ok(Some(bytes)),
            (false, []) => Ok(None),
            (false, _) => Err(fault),
        }
    }

    /// Octets that must be zero, kept for later versions.
    pub fn reserved(&mut self, len: usize) -> Result<(), DecodeError> {
        match self.slice(len)?.iter().all(|&byte| byte == 0) {
            true => Ok(()),
            false => Err(DecodeError::new(self.structure, self.at - len, "reserved bytes are not zero")),
        }
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            _ => Err(self.fault("bytes are left over")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_round_trip(unsigned: u64, signed: i64, octets: Vec<u8>) {
            let mut out = Vec::new();
            out.put_varint(unsigned);
            out.put_signed(signed);
            out.put_bytes(&octets);
            let mut reader = Reader::new("test", &out);
            prop_assert_eq!(reader.varint().unwrap(), unsigned);
            prop_assert_eq!(reader.signed().unwrap(), signed);
            prop_assert_eq!(reader.bytes().unwrap(), &octets[..]);
            reader.end().unwrap();
        }

        #[test]
        fn any_bytes_end_in_an_error_or_a_value(octets: Vec<u8>) {
            let mut reader = Reader::new("test", &octets);
            while reader.bytes().is_ok() && reader.remaining() > 0 {}
            let mut reader = Reader::new("test", &octets);
            while reader.varint().is_ok() && reader.remaining() > 0 {}
        }
    }

    #[test]
    fn a_flag_is_0_or_1_and_what_is_not_there_has_no_content() {
        let optional = |octets: &'static [u8]| Reader::new("test", octets).optional_bytes();
        assert_eq!(optional(b"\x01\x02ab"), Ok(Some(&b"ab"[..])));
        assert_eq!(optional(b"\x01\x00"), Ok(Some(&b""[..])));
        assert_eq!(optional(b"\x00\x00"), Ok(None));
        assert_eq!(optional(b"\x02\x00"), Err(DecodeError::new("test", 0, "flag is neither 0 nor 1")));
        assert_eq!(optional(b"\x00\x01a"), Err(DecodeError::new("test", 1, "content without its flag")));
    }

    #[test]
    fn long_forms_and_great_counts_are_refused() {
        assert_eq!(Reader::new("t", &[0x80, 0x00]).varint().unwrap_err().reason, "varint is not in its shortest form");
        assert_eq!(Reader::new("t", &[0xff; 11]).varint().unwrap_err().reason, "varint exceeds 64 bits");
        assert_eq!(Reader::new("t", &[200, 1, 0]).count(1).unwrap_err().reason, "counts more than there is");
    }
}
