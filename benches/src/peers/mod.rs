//! The systems, a module each. All but Stoa are behind the feature `peers`.

pub mod stoa;

#[cfg(feature = "peers")]
mod fjall;
#[cfg(feature = "peers")]
mod group;
#[cfg(feature = "peers")]
mod kv;
#[cfg(feature = "peers")]
mod lmdb;
#[cfg(feature = "peers")]
mod redb;
#[cfg(feature = "peers")]
mod rocksdb;
#[cfg(feature = "peers")]
mod sqlite;

use crate::peer::System;

#[cfg(not(feature = "peers"))]
const OTHERS: [System; 0] = [];
#[cfg(feature = "peers")]
const OTHERS: [System; 6] =
    [lmdb::SYSTEM, rocksdb::SYSTEM, fjall::SYSTEM, redb::SYSTEM, sqlite::SQLITE, sqlite::SQLCIPHER];

/// Stoa, then the others in the order of the tables.
pub(crate) fn all() -> Vec<System> {
    std::iter::once(stoa::SYSTEM).chain(OTHERS).collect()
}
