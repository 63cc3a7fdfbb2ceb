//! The server that is abused, with what memory it may take.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stoa_tests::Server;
use stoa_tests::resp::{Client, Reply};

use crate::probe::{USER, measure};

/// Requests and replies in the buffers of all connections, as configured.
pub const BUFFERS_BYTES: u64 = 64 << 20;
/// What one connection may hold outside of that, with its task and its stream: the free part of its
/// buffers is 32 KiB.
pub const CONNECTION_BYTES: u64 = 48 << 10;
/// What an allocator keeps back of buffers that were given back, at worst as much again, and what
/// threads hold for a moment, while a buffer grows.
const SLACK_BYTES: u64 = BUFFERS_BYTES + (16 << 20);

const SETTINGS: &str = "
[limits]
handshake_ms = 4000
request_ms = 5000
output_stall_ms = 5000
output_buffer_bytes = 8388608
buffers_bytes = 67108864
[hashing]
threads = 2
queue = 64
[store]
cache_bytes = 16777216
memtable_bytes = 16777216
";

/// A server with one pool, and a probe that uses it as a client would.
pub struct Target {
    pub server: Server,
    dir: tempfile::TempDir,
    secret: String,
    resting_bytes: u64,
    /// The last value that a probe wrote and saw acknowledged.
    pub acknowledged: AtomicU64,
}

impl Target {
    /// Starts it, with settings of one's own behind the common ones.
    pub fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = dir.path().join("stoa.toml");
        std::fs::write(&settings, format!("{SETTINGS}{more}")).unwrap();
        let server = Self::serve(&dir);
        let secret = std::fs::read_to_string(dir.path().join("DATA.admin-secret")).unwrap().trim().to_owned();
        let mut target = Self { server, dir, secret, resting_bytes: 0, acknowledged: AtomicU64::new(0) };
        let mut admin = target.admin();
        admin.call(&["POOL.CREATE", "acme"]).unwrap();
        admin.call(&["USER.CREATE", "acme", "username", USER, "email", "probe@example.com"]).unwrap();
        // Warm, as a server is: what it takes now is not the attackers' doing.
        measure(&target);
        target.resting_bytes = target.server.memory_bytes().0;
        target
    }

    fn serve(dir: &tempfile::TempDir) -> Server {
        let (data, settings) = (dir.path().join("DATA"), dir.path().join("stoa.toml"));
        Server::try_start(&data, &["--log", "error", "--config", settings.to_str().unwrap()]).unwrap()
    }

    /// A connection that has said nothing.
    pub fn stranger(&self) -> Client {
        Client::connect(self.server.address()).unwrap()
    }

    /// A connection of user `admin`.
    pub fn admin(&self) -> Client {
        let mut client = self.stranger();
        assert_eq!(client.call(&["AUTH", "admin", &self.secret]).unwrap(), Reply::Text("OK".into()));
        client
    }

    /// Asserts that memory never went beyond what the attackers may take: the buffers' bound, what
    /// `connections` cost, and `more`.
    pub fn assert_memory(&self, what: &str, connections: u64, more: u64) {
        let (now, peak) = self.server.memory_bytes();
        let bound = self.resting_bytes + BUFFERS_BYTES + connections * CONNECTION_BYTES + more + SLACK_BYTES;
        let mib = |bytes: u64| bytes >> 20;
        println!(
            "{what}: {} MiB at rest, {} now, {} at most, bound {}",
            mib(self.resting_bytes),
            mib(now),
            mib(peak),
            mib(bound)
        );
        assert!(peak <= bound, "{what}: {} MiB at most, bound {} MiB", mib(peak), mib(bound));
    }

    /// What the server takes more than at rest.
    pub fn grown_bytes(&self) -> u64 {
        self.server.memory_bytes().0.saturating_sub(self.resting_bytes)
    }

    /// Kills the server and starts it again: the last value that was acknowledged is there.
    pub fn assert_nothing_is_lost(self) {
        let Self { server, dir, secret, acknowledged, .. } = self;
        let acknowledged = acknowledged.into_inner();
        server.kill();
        let server = Self::serve(&dir);
        let mut client = Client::connect(server.address()).unwrap();
        client.call(&["AUTH", "admin", &secret]).unwrap();
        let user = format!("username={USER}");
        let found = client.call(&["USER.GET", "acme", &user, "nickname"]).unwrap();
        let found: u64 = found.at("nickname").unwrap().text().parse().unwrap();
        // The write under way at the kill may be there too.
        assert!((acknowledged..=acknowledged + 1).contains(&found), "acknowledged {acknowledged}, found {found}");
        server.stop();
    }

    /// Waits until `done`, half a minute at most.
    pub fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let patience = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(Instant::now() < patience, "in vain: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Lets this process, and the servers that it starts, open so many files; says so where it cannot.
pub fn may_open(files: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    if setrlimit(Resource::Nofile, raised).is_err() || allowed < files {
        eprintln!("skipped: the system allows {allowed} open files, {files} are needed (ulimit -Hn)");
        return false;
    }
    true
}
