//! The server over real sockets: each test starts one on ports that the system chooses.

mod access;
mod client;
mod connection;
mod fuzz;
pub(crate) mod harness;
mod hostile;
mod limits;
mod lists;
mod secure;
mod users;
