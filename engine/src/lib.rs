//! Stoa's engine: the embeddable identity store. No network, no async runtime.

pub mod column;
pub mod compact;
pub mod digest;
pub mod index;
pub mod io;
pub mod keys;
pub mod password;
pub mod pool;
pub mod run;
