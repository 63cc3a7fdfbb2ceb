//! What the commands do, one file a family; each function reads its arguments, asks the engine, and
//! writes the reply.

pub(crate) mod access;
pub(crate) mod changes;
pub(crate) mod clients;
pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod creds;
pub(crate) mod factors;
pub(crate) mod groups;
pub(crate) mod identity;
pub(crate) mod jobs;
pub(crate) mod maintenance;
pub(crate) mod merkle;
pub(crate) mod pools;
pub(crate) mod server;
pub(crate) mod users;
pub(crate) mod users_write;

mod answer;
mod call;
mod footprint;
mod listing;
mod write;

pub(crate) use answer::{Answer, Later};
pub(crate) use call::Call;
pub(crate) use footprint::Footprint;
pub(crate) use write::{Planned, Show, commit_later, give_password, request_digest, write_outcome};

/// A time as it travels: `YYYY-MM-DDThh:mm:ss.mmmZ`.
pub(crate) fn time_text(ms: u64) -> [u8; stoa_engine::pool::value::TIME_TEXT_BYTES] {
    stoa_engine::pool::value::time_text(i64::try_from(ms).unwrap_or(i64::MAX))
}
