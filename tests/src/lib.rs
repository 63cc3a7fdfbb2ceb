//! What whole-system tests share: a real `stoa` process on a private port and a data directory of
//! its own, and the real clients that `tests/install.sh` has installed.
#![allow(clippy::disallowed_methods, reason = "tests look at files as a stranger would")]

pub mod history;
pub mod resp;

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The `stoa` binary: `STOA_BIN`, or the one that was built beside these tests.
///
/// # Panics
/// If there is none: `cargo build --workspace` makes it.
pub fn stoa() -> PathBuf {
    if let Some(path) = std::env::var_os("STOA_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own file");
    let built = test.parent().and_then(Path::parent).map(|dir| dir.join("stoa")).filter(|path| path.exists());
    built.expect("no stoa binary: run cargo build --workspace --all-targets first (make test does)")
}

/// A folder of data that is not in the repository; `None`, and a line that says so, where it is absent.
pub fn shared_data(what: &str) -> Option<PathBuf> {
    let dir = std::env::var_os("STOA_SHARED_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let path = dir.join(what);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// A program of `target/test-env` or of the system; `None`, and a line that says so, where it is absent.
pub fn client(name: &str) -> Option<PathBuf> {
    let env = root().join("target/test-env");
    let path = match name {
        "python" => env.join("python/bin/python"),
        "node" if !env.join("node/node_modules").exists() => {
            eprintln!("skipped: the npm clients are not installed (tests/install.sh)");
            return None;
        }
        name => PathBuf::from(name),
    };
    let there = Command::new(&path).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_ok_and(|status| status.success()) {
        return Some(path);
    }
    eprintln!("skipped: {name} is not installed (tests/install.sh)");
    None
}

/// Runs `stoa` to its end.
///
/// # Panics
/// If it cannot be started.
pub fn run(args: &[&str]) -> Output {
    Command::new(stoa()).args(args).stdin(Stdio::null()).output().expect("stoa starts")
}

/// Runs `stoa` to its end, which must be a good one; answers what it printed.
///
/// # Panics
/// If it fails.
pub fn run_well(args: &[&str]) -> String {
    let output = run(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "stoa {args:?} failed: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A running server.
pub struct Server {
    child: Child,
    /// Where it listens in the clear.
    pub port: u16,
    /// Where it speaks TLS, if it does.
    pub tls_port: Option<u16>,
    /// Everything it wrote to standard error goes here.
    pub log: PathBuf,
}

impl Server {
    /// Starts `stoa serve --dev` over `data`, with more arguments; waits until it is ready.
    ///
    /// # Panics
    /// If it does not come up within a minute.
    pub fn start(data: &Path, more: &[&str]) -> Self {
        Self::try_start(data, &[&["--dev"], more].concat()).unwrap_or_else(|error| panic!("stoa serve: {error}"))
    }

    /// The same without `--dev`; answers what it wrote to standard error if it ends before it is ready.
    ///
    /// # Errors
    /// What the server said before it ended.
    pub fn try_start(data: &Path, more: &[&str]) -> Result<Self, String> {
        let log = data.with_extension("log");
        let stderr = std::fs::File::create(&log).map_err(|error| error.to_string())?;
        let mut child = Command::new(stoa())
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(if more.contains(&"--metrics") { &[][..] } else { &["--metrics", "127.0.0.1:0"] })
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let mut ready = || {
            let line = lines.find_map(|line| Some(line.ok()?.strip_prefix("stoa is ready on ")?.to_owned()))?;
            line.trim_end_matches(" (TLS)").rsplit(':').next()?.parse().ok()
        };
        if let Some(port) = ready() {
            let tls_port = if more.contains(&"--config") && speaks_tls(more) { ready() } else { None };
            return Ok(Self { child, port, tls_port, log });
        }
        let _ = child.wait();
        Err(std::fs::read_to_string(&log).unwrap_or_default())
    }

    /// The address as clients take it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What the process takes of memory now, and at most so far, in bytes.
    ///
    /// # Panics
    /// If it has ended.
    pub fn memory_bytes(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the server runs");
        let kib = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
        };
        (kib("VmRSS:") * 1024, kib("VmHWM:") * 1024)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process as a power cut would: no clean-up runs.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(mut self) {
        self.child.kill().expect("the server can be killed");
        let _ = self.child.wait();
    }

    /// Stops the process cleanly and waits for it.
    ///
    /// # Panics
    /// If it does not end well within half a minute.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(status.success());
        let patience = Instant::now() + Duration::from_secs(30);
        while Instant::now() < patience {
            if let Some(status) = self.child.try_wait().expect("the server can be waited for") {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                assert!(status.success(), "the server ended badly: {log}");
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server did not stop within 30 s");
    }

    /// One command by redis-cli, as a stranger would type it.
    ///
    /// # Panics
    /// If redis-cli cannot be run.
    pub fn cli(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(words).output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Sends bytes on a connection of their own and answers what comes back until it closes or
    /// falls silent.
    ///
    /// # Panics
    /// If the server cannot be reached.
    pub fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(self.address()).expect("the server can be reached");
        stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout can be set");
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..count]);
        }
        answer
    }
}

/// Whether the settings among these arguments name an address for TLS.
fn speaks_tls(arguments: &[&str]) -> bool {
    let file = arguments.iter().skip_while(|argument| **argument != "--config").nth(1);
    file.and_then(|file| std::fs::read_to_string(file).ok()).is_some_and(|text| text.contains("[tls]"))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
