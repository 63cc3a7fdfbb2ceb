//! The one error of decoding.

use thiserror::Error;

/// Why some bytes are not what they should be. Never holds a stored value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{structure} at offset {offset}: {reason}")]
pub struct DecodeError {
    /// The structure that was being decoded, e.g. `"segment header"`.
    pub structure: &'static str,
    /// Offset in bytes from the start of that structure.
    pub offset: usize,
    /// What is wrong, e.g. `"checksum does not match"`.
    pub reason: &'static str,
}

impl DecodeError {
    /// Names a fault at `offset` bytes into `structure`.
    pub const fn new(structure: &'static str, offset: usize, reason: &'static str) -> Self {
        Self { structure, offset, reason }
    }
}
