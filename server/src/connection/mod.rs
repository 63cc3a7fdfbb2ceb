//! One connection: requests in, replies out, in order.
//!
//! 1. Replies leave in the order of their requests, whatever order the work ends in.
//! 2. A request is carried out only when nothing before it can still change what it sees
//!    ([`crate::dispatch::Footprint`]); otherwise it stays in the input buffer.
//! 3. Reading goes on while replies wait to be written, so that a client that sends a whole pipeline
//!    before it reads is served; beyond the output bound nothing more is read or carried out.
//! 4. Nothing of a request is kept behind it, and the bytes of secrets are zeroed.
//! 5. What all connections hold together is bounded ([`Budget`]), and so is what one of them does
//!    before others have their turn.

mod budget;
mod clients;
mod drive;
mod execute;
mod pending;
mod session;
mod transaction;
mod wire;

pub(crate) use budget::Budget;
pub(crate) use clients::{ClientEntry, Clients, Killed};
pub(crate) use drive::serve;
pub(crate) use session::Session;
pub(crate) use wire::Stream;
