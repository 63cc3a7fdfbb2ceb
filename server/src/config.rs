//! The configuration file (TOML): every limit and budget, with its default. An unknown key is an
//! error that names it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::error::ServeError;

/// The default port of the protocol.
pub const DEFAULT_PORT: u16 = 7862;
/// The default port of metrics and health, on loopback.
pub const DEFAULT_METRICS_PORT: u16 = 7863;

/// All settings of the server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Addresses that speak in the clear; loopback only, unless `insecure_plaintext`.
    pub listen: Vec<SocketAddr>,
    /// A Unix socket to listen on too.
    pub unix_socket: Option<PathBuf>,
    /// Where metrics and health are answered; none: nowhere. Loopback only.
    pub metrics: Option<SocketAddr>,
    /// The host name and port that CLUSTER SLOTS names; the address that the client reached, if none.
    pub announce: Option<String>,
    /// Allows `listen` to name addresses that others can reach.
    pub insecure_plaintext: bool,
    /// Serves everything to everyone, on loopback only.
    pub dev: bool,
    /// TLS.
    pub tls: Option<TlsConfig>,
    /// What connections and requests may cost.
    pub limits: Limits,
    /// Password hashing.
    pub hashing: HashingConfig,
    /// Memory and times of the store.
    pub store: StoreBudgets,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT))],
            unix_socket: None,
            metrics: Some(SocketAddr::from(([127, 0, 0, 1], DEFAULT_METRICS_PORT))),
            announce: None,
            insecure_plaintext: false,
            dev: false,
            tls: None,
            limits: Limits::default(),
            hashing: HashingConfig::default(),
            store: StoreBudgets::default(),
        }
    }
}

/// TLS listeners.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Addresses that speak TLS.
    pub listen: Vec<SocketAddr>,
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// Authorities whose client certificates are taken, PEM; none are asked for if absent.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// A client without a certificate is turned away.
    #[serde(default)]
    pub require_client_cert: bool,
}

/// What connections and requests may cost.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The longest argument.
    pub argument_bytes: usize,
    /// The most arguments of a request.
    pub arguments: usize,
    /// The longest request.
    pub request_bytes: usize,
    /// The same before authentication.
    pub unauthenticated_arguments: usize,
    /// The same before authentication.
    pub unauthenticated_bytes: usize,
    /// The most connections.
    pub connections: usize,
    /// How long a TLS handshake, and then authentication, may take.
    pub handshake_ms: u64,
    /// Replies that wait for a client to read them; beyond, no more of its requests are carried out.
    pub output_buffer_bytes: usize,
    /// A client that reads nothing for so long is closed, if replies wait.
    pub output_stall_ms: u64,
    /// Requests and replies in the buffers of all connections; beyond, the one that holds most is closed.
    pub buffers_bytes: usize,
    /// A request that has begun must be whole within this time.
    pub request_ms: u64,
    /// The most commands of a transaction.
    pub transaction_commands: usize,
    /// The most bytes of a transaction.
    pub transaction_bytes: usize,
    /// Threads for listings, counts and other long reads.
    pub scan_threads: usize,
    /// The longest time that CHANGES waits.
    pub block_ms: u64,
    /// How long a stop waits for commands that are being carried out.
    pub stop_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            argument_bytes: 1 << 20,
            arguments: 16_384,
            request_bytes: 8 << 20,
            unauthenticated_arguments: 10,
            unauthenticated_bytes: 16 << 10,
            connections: 10_000,
            handshake_ms: 10_000,
            output_buffer_bytes: 32 << 20,
            output_stall_ms: 60_000,
            buffers_bytes: 512 << 20,
            request_ms: 60_000,
            transaction_commands: 1024,
            transaction_bytes: 8 << 20,
            scan_threads: 8,
            block_ms: 60_000,
            stop_ms: 10_000,
        }
    }
}

impl Limits {
    /// The handshake's bound.
    pub(crate) fn handshake(&self) -> Duration {
        Duration::from_millis(self.handshake_ms)
    }
}

/// Password hashing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HashingConfig {
    /// Threads that hash; 0: one a core.
    pub threads: usize,
    /// Checks that may wait for a thread; beyond, `BUSY`.
    pub queue: usize,
    /// Argon2id memory of new hashes, in KiB.
    pub argon2_memory_kib: u32,
    /// Argon2id passes of new hashes.
    pub argon2_passes: u32,
    /// Argon2id lanes of new hashes.
    pub argon2_lanes: u32,
}

impl Default for HashingConfig {
    fn default() -> Self {
        Self { threads: 0, queue: 1024, argon2_memory_kib: 19_456, argon2_passes: 2, argon2_lanes: 1 }
    }
}

/// Memory and times of the store, for whoever opens it; `None` takes the engine's default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreBudgets {
    /// Decrypted pages kept in memory.
    pub cache_bytes: Option<u64>,
    /// What is kept in memory before it is flushed.
    pub memtable_bytes: Option<u64>,
    /// Room kept on the disk for deletes and compaction when it is full; 0 for none.
    pub reserve_bytes: Option<u64>,
    /// How long a retry token is remembered.
    pub token_ttl_ms: Option<u64>,
    /// How long a listing's state is kept between pages.
    pub cursor_ttl_ms: Option<u64>,
    /// Within which a deleted user's values are gone.
    pub erase_within_ms: Option<u64>,
}

impl ServerConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The file cannot be read, or is malformed, or has an unknown key.
    pub fn read(path: &Path) -> Result<Self, ServeError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ServeError::File { path: path.to_path_buf(), source })?;
        Self::parse(&text).map_err(|error| match error {
            ServeError::Config(reason) => ServeError::Config(format!("{}: {reason}", path.display())),
            other => other,
        })
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// It is malformed, or has an unknown key.
    pub fn parse(text: &str) -> Result<Self, ServeError> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            ServeError::Config(format!("line {line}: {}", error.message()))
        })?;
        Ok(config)
    }

    /// Refuses what cannot be, or must not be by mistake.
    ///
    /// # Errors
    /// Names the setting and what to do.
    pub fn check(&self) -> Result<(), ServeError> {
        let refuse = |reason: &str| Err(ServeError::Config(reason.to_string()));
        let loopback = |address: &SocketAddr| is_loopback(address.ip());
        if self.dev {
            let tls = self.tls.iter().flat_map(|tls| &tls.listen);
            if let Some(address) = self.listen.iter().chain(tls).find(|address| !loopback(address)) {
                return Err(ServeError::Config(format!("--dev serves everyone, so {address} must be loopback")));
            }
        }
        if let Some(address) = self.listen.iter().find(|address| !loopback(address) && !self.insecure_plaintext) {
            return Err(ServeError::Plaintext(address.to_string()));
        }
        if self.metrics.is_some_and(|address| !loopback(&address)) {
            return refuse("metrics: the address must be loopback");
        }
        let limits = &self.limits;
        if limits.request_bytes > 1 << 30 || limits.argument_bytes > limits.request_bytes {
            return refuse("limits: argument_bytes <= request_bytes <= 1 GiB");
        }
        if limits.buffers_bytes < limits.request_bytes {
            return refuse("limits: buffers_bytes is at least request_bytes");
        }
        if limits.connections == 0 || limits.arguments == 0 || limits.scan_threads == 0 || self.hashing.queue == 0 {
            return refuse("limits: connections, arguments, scan_threads and hashing.queue are at least 1");
        }
        if self.hashing.argon2_memory_kib < 8 * self.hashing.argon2_lanes.max(1) || self.hashing.argon2_passes == 0 {
            return refuse("hashing: argon2_memory_kib is at least 8 a lane, argon2_passes at least 1");
        }
        Ok(())
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_protocol() {
        let config = ServerConfig::parse("").unwrap();
        assert_eq!(config.listen[0].port(), 7862);
        assert_eq!((config.limits.connections, config.limits.output_buffer_bytes), (10_000, 32 << 20));
        config.check().unwrap();
    }

    /// The example names every setting that has a default, with that default.
    #[test]
    fn the_example_says_the_defaults() {
        let text = include_str!("../stoa.example.toml");
        let settings = format!("{:?}", ServerConfig::parse(text).unwrap());
        assert_eq!(settings, format!("{:?}", ServerConfig::default()));
        let uncommented = text.replace("\n# [tls]", "\n[tls]").replace("\n#: ", "\n");
        let config = ServerConfig::parse(&uncommented).unwrap();
        assert!(config.tls.is_some() && config.store.cursor_ttl_ms.is_some() && config.unix_socket.is_some());
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = ServerConfig::parse("listen = []\n[limits]\nconections = 3\n").unwrap_err().to_string();
        assert!(error.contains("conections") && error.contains("line 3"), "{error}");
    }

    #[test]
    fn what_must_not_be_by_mistake_is_refused() {
        let wrong = |text: &str| ServerConfig::parse(text).unwrap().check().unwrap_err().to_string();
        assert!(wrong("listen = ['0.0.0.0:7862']").contains("in the clear"));
        assert!(wrong("dev = true\ninsecure_plaintext = true\nlisten = ['0.0.0.0:1']").contains("--dev"));
        assert!(wrong("metrics = '10.0.0.1:1'").contains("loopback"));
        assert!(wrong("[hashing]\nargon2_memory_kib = 1").contains("argon2"));
        assert!(wrong("[limits]\nbuffers_bytes = 1").contains("buffers_bytes"));
        ServerConfig::parse("insecure_plaintext = true\nlisten = ['[::]:1']").unwrap().check().unwrap();
    }
}
