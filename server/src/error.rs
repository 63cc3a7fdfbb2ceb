//! Why the server could not start or go on: one clear line each.

use std::io;
use std::path::PathBuf;

/// Why the server could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration file is malformed, or asks for what cannot be.
    #[error("configuration: {0}")]
    Config(String),
    /// An address that another process listens on.
    #[error("cannot listen on {0}: the port is in use by another process (another stoa serve?)")]
    InUse(String),
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A plaintext listener on an address that others can reach.
    #[error("refusing to listen on {0} in the clear: configure [tls], listen on loopback, or say --insecure-plaintext")]
    Plaintext(String),
    /// A file that cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Certificates or keys that cannot be used.
    #[error("tls: {0}")]
    Tls(String),
    /// Access control that cannot be understood, or that lets nobody in.
    #[error("access control: {0}")]
    Access(String),
    /// The engine refused.
    #[error(transparent)]
    Store(stoa_engine::Error),
}
