//! Reading fixed fields one after the other, never past the end.

use crate::DecodeError;

/// A place in some bytes, moved on by each field read. Errors name the structure and the offset.
pub(crate) struct Fields<'a> {
    structure: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(structure: &'static str, bytes: &'a [u8]) -> Self {
        Self::at(structure, bytes, 0)
    }

    /// Starts at byte `at` of `bytes`.
    pub(crate) fn at(structure: &'static str, bytes: &'a [u8], at: usize) -> Self {
        Self { structure, bytes, at }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    pub(crate) fn error(&self, reason: &'static str) -> DecodeError {
        DecodeError::new(self.structure, self.at, reason)
    }

    pub(crate) fn slice(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.at.checked_add(len).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.error("too short"))?;
        self.at += len;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.slice(N)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes behind a u16 that gives their number.
    pub(crate) fn short_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        self.slice(usize::from(len))
    }

    /// A number of 7 bits a byte, lowest first, the high bit saying that another byte follows; at most 32 bits.
    pub(crate) fn varint32(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| self.error("number above 32 bits"));
            }
        }
        Err(self.error("number above 32 bits"))
    }

    /// Reserved bytes, which must be zero.
    pub(crate) fn zeroes(&mut self, len: usize) -> Result<(), DecodeError> {
        let at = self.at;
        if self.slice(len)?.iter().any(|&b| b != 0) {
            return Err(DecodeError::new(self.structure, at, "reserved bytes are not zero"));
        }
        Ok(())
    }

    /// Requires that nothing is left.
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.remaining() != 0 {
            return Err(self.error("bytes behind the end"));
        }
        Ok(())
    }
}

/// Appends what [`Fields::short_bytes`] reads.
///
/// # Panics
/// If there are more than 65,535 bytes: callers bound what they pass.
pub(crate) fn put_short_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).expect("at most 65,535 bytes");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends what [`Fields::varint32`] reads.
pub(crate) fn put_varint32(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
