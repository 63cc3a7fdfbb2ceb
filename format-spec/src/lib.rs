//! Stoa's file and wire formats: pure encoding and decoding. No I/O, no keys held, no threads.
//!
//! Everything here is `encode` into bytes or `decode(&[u8]) -> Result<T, DecodeError>`, and every
//! error names the structure, the offset inside it and the reason. The prose in `chapters/` is
//! normative; this crate is its reference implementation.

pub mod column;
pub mod erasure;
pub mod error;
pub mod history;
pub mod ids;
pub mod install;
pub mod keyfile;
pub mod manifest;
pub mod ops;
pub mod prefetch;
pub mod run;
pub mod sorted;
pub mod store;
pub mod wal;
pub mod wire;
pub mod wrapped;

pub use error::DecodeError;
pub use ids::*;
