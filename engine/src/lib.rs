//! Stoa's engine: the embeddable identity store. No network, no async runtime.

pub mod digest;
pub mod io;
pub mod keys;
pub mod password;
pub mod pool;
