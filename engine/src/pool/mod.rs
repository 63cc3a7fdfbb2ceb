//! One pool: its state, its rules, its reads, and how its writes are prepared.

pub(crate) mod changes;
pub mod check;
pub mod collation;
pub(crate) mod deltas;
pub(crate) mod draft;
pub mod filter;
pub mod found;
mod handle;
mod info;
pub(crate) mod keyspace;
pub(crate) mod lease;
mod merkle;
pub mod names;
pub(crate) mod open;
pub mod policy;
mod query;
mod read;
pub(crate) mod record;
pub mod request;
pub(crate) mod runs;
pub mod schema;
pub mod snapshot;
pub mod value;
pub(crate) mod version;
pub mod view;
pub(crate) mod watermark;

pub use handle::Pool;
pub use merkle::{INDEXES_MAX, MerkleRoot};
pub use query::{LIMIT_MAX, PAGE_MAX_BYTES, PageRequest, UserQuery, UserRow};
