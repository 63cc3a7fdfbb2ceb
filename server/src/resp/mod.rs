//! The Redis serialisation protocol: requests are read as borrowed words, replies are appended to
//! a buffer. Nothing in here does I/O, and no byte from outside can make it panic or allocate more
//! than its bounds allow.

mod inline;
mod reply;
mod request;

pub(crate) use reply::Reply;
pub(crate) use request::{Bounds, OwnedRequest, Parser, ProtocolError, Words};
