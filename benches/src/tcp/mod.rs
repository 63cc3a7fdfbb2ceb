//! Systems that are servers: Stoa and those that it is compared with over the loopback.
//!
//! - [`talk`]: what is asked of a server, and what speaking its protocol means: bytes in, bytes out, no socket.
//! - [`client`]: the one load generator that asks all of them; what it costs itself is measured as a limit ([`echo`]).
//! - [`process`]: servers as processes of their own, on private ports and in private directories, ended by the suite.
//! - `resp`: the protocol of Stoa and of Redis; `pgwire`, `ldap`: those of PostgreSQL and
//!   OpenLDAP; `stoa`, `redis`, `postgres`, `slapd`: the systems.
//!
//! Rules that hold for every system, beside those of [`crate::peer`]: a write is durable before it is answered, and a
//! question is one hop: however many lookups it takes, the client waits once.

pub mod client;
pub mod echo;
#[cfg(any(test, feature = "peers"))]
#[cfg_attr(not(feature = "peers"), allow(dead_code, reason = "only its tests are in such a build"))]
mod ldap;
#[cfg(any(test, feature = "peers"))]
#[cfg_attr(not(feature = "peers"), allow(dead_code, reason = "only its tests are in such a build"))]
mod pgwire;
#[cfg(feature = "peers")]
mod postgres;
pub mod process;
#[cfg(feature = "peers")]
mod redis;
mod resp;
#[cfg(feature = "peers")]
mod slapd;
mod stoa;
pub mod talk;

use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::population::User;
use talk::{Kind, Talk};

/// One server that can be measured.
#[derive(Clone, Copy)]
pub struct Service {
    /// Its name on the command line and in tables, in small letters.
    pub name: &'static str,
    /// Whether what it stores is encrypted.
    pub encrypted: bool,
    /// Its version and how it is configured, in one line.
    pub about: fn() -> String,
    /// What is not there and how it is had; `None` if the server can be started. Is told where Stoa's program would be.
    pub missing: fn(&Place<'_>) -> Option<String>,
    /// It is loaded with so many users at most.
    pub users_max: usize,
    /// Whether it answers the questions of one connection in their order, so that several can be under way.
    pub in_order: bool,
    /// Whether it can be asked this.
    pub answers: fn(Kind) -> bool,
    /// Starts it over these users.
    pub start: fn(&Place<'_>, &[User]) -> Result<Box<dyn Served>>,
}

/// Where a server is to run.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    /// An empty directory of its own.
    pub dir: &'p Path,
    /// The `stoa` program.
    pub stoa: Option<&'p PathBuf>,
}

/// A server that runs, with users in it.
pub trait Served: Send + Sync {
    /// A new connection, past its greetings.
    ///
    /// # Errors
    /// What the server says.
    fn connect(&self) -> Result<Link>;

    /// Ends it in order.
    ///
    /// # Errors
    /// If it does not end.
    fn stop(self: Box<Self>) -> Result<()>;
}

/// One connection.
pub struct Link {
    /// The socket, blocking.
    pub stream: TcpStream,
    /// Who speaks on it.
    pub talk: Box<dyn Talk>,
}

/// All servers of this build, Stoa first.
pub fn services() -> Vec<Service> {
    #[cfg(not(feature = "peers"))]
    const OTHERS: [Service; 0] = [];
    #[cfg(feature = "peers")]
    const OTHERS: [Service; 3] = [redis::SERVICE, postgres::SERVICE, slapd::SERVICE];
    std::iter::once(stoa::SERVICE).chain(OTHERS).collect()
}
