//! Servers as processes of their own: found, started, waited for, ended. No service of the system is ever touched.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A server that does not come up within this time has failed. Some read all they hold before they answer.
const START_MAX: Duration = Duration::from_secs(120);
/// One that does not end within this time is killed.
const STOP_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// Where Debian puts what is not in everybody's path.
const ALSO_IN: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/lib/postgresql/*/bin"];
/// Starts a program as somebody else, to be killed with its parent (util-linux).
const SETPRIV: &str = "/usr/bin/setpriv";

/// A program of this machine by its name, the newest of several.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for place in ALSO_IN {
        match place.split_once("/*/") {
            None => places.push(place.into()),
            Some((parent, child)) => {
                let Ok(versions) = std::fs::read_dir(parent) else { continue };
                let mut versions: Vec<PathBuf> = versions.filter_map(|version| Some(version.ok()?.path())).collect();
                versions.sort_by_key(|version| {
                    let number = version.file_name().and_then(OsStr::to_str).and_then(|name| name.parse::<u32>().ok());
                    std::cmp::Reverse(number)
                });
                places.extend(versions.into_iter().map(|version| version.join(child)));
            }
        }
    }
    places.into_iter().map(|place| place.join(name)).find(|path| path.is_file())
}

/// What a program says of its version: the first line of `program option`.
pub fn version(name: &str, option: &str) -> String {
    let said = program(name).and_then(|path| Command::new(path).arg(option).stdin(Stdio::null()).output().ok());
    let line = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().find(|line| !line.is_empty()).map(str::to_owned);
    said.and_then(|said| line(&said.stdout).or_else(|| line(&said.stderr))).unwrap_or_else(|| "version unknown".into())
}

/// A port of the loopback that nobody listened on a moment ago.
///
/// # Errors
/// If there is no loopback.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("no free port on the loopback")?.local_addr()?.port())
}

/// User and group of a name, where there is such a user.
pub fn user_of(name: &str) -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

/// A command that dies with this process, and runs as another user where one is given.
pub fn command(program: &Path, user: Option<(u32, u32)>) -> Command {
    if !Path::new(SETPRIV).exists() {
        let mut command = Command::new(program);
        if let Some((user, group)) = user {
            use std::os::unix::process::CommandExt;
            command.uid(user).gid(group);
        }
        return command;
    }
    let mut command = Command::new(SETPRIV);
    if let Some((user, group)) = user {
        command.arg("--reuid").arg(user.to_string()).arg("--regid").arg(group.to_string()).arg("--clear-groups");
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Runs a command to its good end.
///
/// # Errors
/// If it cannot be run or fails; with the end of what it said.
pub fn run_well(mut command: Command) -> Result<()> {
    let name = format!("{command:?}");
    let said = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    if !said.status.success() {
        bail!("{name} failed ({}): {}", said.status, tail(&String::from_utf8_lossy(&said.stderr)));
    }
    Ok(())
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// A server's process. It does not outlive its owner.
pub struct Process {
    child: Child,
    log: PathBuf,
    /// Where it listens on the loopback.
    pub port: u16,
}

impl Process {
    /// Starts a server that will listen on `port`, and waits until it takes connections.
    ///
    /// # Errors
    /// If it ends before, or does not come up; with what it wrote last.
    pub fn start(mut command: Command, port: u16, log: PathBuf) -> Result<Self> {
        let out = std::fs::File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let mut process = Self { child, log, port };
        let give_up = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            process.must_run(&command)?;
            if Instant::now() >= give_up {
                bail!("{command:?} does not listen on port {port}: {}", process.said());
            }
            std::thread::sleep(POLL);
        }
        process.must_run(&command)?;
        Ok(process)
    }

    /// Starts a server that chooses its port and prints it after `prefix` on standard output.
    ///
    /// # Errors
    /// If it ends before; with what it wrote last.
    pub fn start_announced(mut command: Command, prefix: &str, log: PathBuf) -> Result<Self> {
        let error = std::fs::File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(error);
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let mut process = Self { child, log, port: 0 };
        let out = process.child.stdout.take().context("its output is a pipe")?;
        let announced = BufReader::new(out).lines().map_while(std::io::Result::ok).find_map(|line| {
            let address = line.strip_prefix(prefix)?;
            address.rsplit(':').next()?.trim().parse().ok()
        });
        match announced {
            Some(port) => process.port = port,
            None => bail!("{command:?} has ended: {}", process.said()),
        }
        Ok(process)
    }

    /// A new connection.
    ///
    /// # Errors
    /// If the server does not take one.
    pub fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).context("the server takes no connection")?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Asks the process to end, and waits for it.
    ///
    /// # Errors
    /// If it does not end in time (it is killed then) or ends badly.
    pub fn stop(mut self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).context("the server cannot be told to end")?;
        let give_up = Instant::now() + STOP_MAX;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the server ended badly ({status}): {}", self.said()),
                None if Instant::now() >= give_up => bail!("the server does not end: {}", self.said()),
                None => std::thread::sleep(POLL),
            }
        }
    }

    fn must_run(&mut self, command: &Command) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{command:?} has ended ({status}): {}", self.said()),
        }
    }

    fn said(&self) -> String {
        tail(&std::fs::read_to_string(&self.log).unwrap_or_default())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
