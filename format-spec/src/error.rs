//! The one error of decoding.

use std::ops::Deref;

use thiserror::Error;

/// Why some bytes are not what they should be. Never holds a stored value. As small as a pointer: cells are read by
/// the score, and each is moved about with room for this.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} at offset {}: {}", .0.structure, .0.offset, .0.reason)]
pub struct DecodeError(Box<Fault>);

/// What a [`DecodeError`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The structure that was being decoded, e.g. `"segment header"`.
    pub structure: &'static str,
    /// Offset in bytes from the start of that structure.
    pub offset: usize,
    /// What is wrong, e.g. `"checksum does not match"`.
    pub reason: &'static str,
}

impl DecodeError {
    /// Names a fault at `offset` bytes into `structure`.
    #[cold]
    pub fn new(structure: &'static str, offset: usize, reason: &'static str) -> Self {
        Self(Box::new(Fault { structure, offset, reason }))
    }

    /// The same fault at another offset.
    #[must_use]
    pub fn at(mut self, offset: usize) -> Self {
        self.0.offset = offset;
        self
    }
}

impl Deref for DecodeError {
    type Target = Fault;

    fn deref(&self) -> &Fault {
        &self.0
    }
}
