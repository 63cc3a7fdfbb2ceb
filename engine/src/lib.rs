//! Stoa's engine: the embeddable identity store. No network, no async runtime.
//!
//! [`Store::open`] opens a data directory; [`Store::pool`] gives a [`Pool`]. Every change is a
//! [`pool::request::Transaction`] and is durable when [`Pool::commit`] returns; reads go through a
//! [`pool::snapshot::Snapshot`], which never changes.

pub mod bulk;
pub mod column;
mod commit;
pub mod compact;
pub mod digest;
mod error;
mod fork;
pub mod index;
pub mod io;
pub mod keys;
mod manifest;
mod memtable;
pub mod password;
pub mod pool;
pub mod run;
pub mod store;
mod sync;
pub mod wal;

pub use error::{Error, ErrorKind, Result};
pub use pool::{MerkleRoot, PageRequest, Pool, UserQuery, UserRow};
pub use store::{Job, JobKind, JobState, Limits, PoolCreated, Store, StoreInfo, StoreOptions};
