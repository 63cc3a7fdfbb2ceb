//! Stoa over the network: RESP on TCP, TLS and a Unix socket, access control, metrics.
//!
//! A thin layer over the engine: parse, authorise, call, answer. From the outside in:
//!
//! | module | owns |
//! | --- | --- |
//! | `serve` · `listener` · `tls` · `health` | starting and stopping; taking connections; metrics and health |
//! | `connection` | one connection: buffers, order of replies, transactions |
//! | `resp` | the protocol's bytes |
//! | `command` | the one declaration of the commands, and what is generated from it |
//! | `acl` · `audit` | who may do what; who did |
//! | `args` · `dispatch` | arguments; what each command does |
//! | `io` | disk reads that hold up their own connection only |
//! | `hashing` · `names` | threads for password hashing; listings of names that no pool keeps |
//!
//! No argument of a request is ever echoed: not in errors, logs, metrics or listings of connections.

mod acl;
mod args;
mod audit;
mod command;
mod config;
mod connection;
mod dispatch;
mod error;
mod hashing;
mod health;
mod io;
mod listener;
mod names;
mod refusal;
mod resp;
mod serve;
mod shared;
mod stats;
mod tls;

pub use acl::{FirstSecret, mint_admin, reset_secret};
pub use config::{DEFAULT_METRICS_PORT, DEFAULT_PORT, HashingConfig, Limits, ServerConfig, StoreBudgets, TlsConfig};
pub use error::ServeError;
pub use io::for_server;
pub use serve::{Addresses, Server, serve};

#[cfg(test)]
mod tests;

/// Counts what a case of the fuzz targets holds of memory.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: stoa_fuzz::Counting = stoa_fuzz::Counting;
