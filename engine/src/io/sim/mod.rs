//! A simulated machine: a disk that forgets what was not synced, fails when told to, and can lose power at any
//! step; a clock that stands still until it is moved; chance that a seed decides.
//!
//! It is meant for tests of everything that stands on [`Io`], and makes the disk as bad as the
//! promises of [`crate::io`] allow, worse than any one file system: a synced file can lose its name if its
//! directory was not synced, names change independently of each other, and unsynced writes survive one by one,
//! in any choice, sector by sector.
//!
//! ```
//! use stoa_engine::io::sim::{Crash, Keep};
//! use stoa_engine::io::{Io, OpenMode, SimDisk};
//!
//! let disk = SimDisk::new(7);
//! let file = disk.open("a".as_ref(), OpenMode::Create)?;
//! file.write_all_at(b"synced", 0)?;
//! file.sync_data()?;
//! file.write_all_at(b"SYN", 0)?;
//! disk.sync_dir("".as_ref())?;
//!
//! let after = disk.crash(Crash::whole(Keep::None));
//! let mut bytes = [0; 6];
//! after.open("a".as_ref(), OpenMode::Read)?.read_exact_at(&mut bytes, 0)?;
//! assert_eq!(&bytes, b"synced");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Two ways to try every crash of a workload: [`SimDisk::record`] keeps every [`Moment`] of one run, each of which
//! leaves as many images as [`Moment::ways`] lists; it wants a workload without threads, and costs no second run.
//! [`CrashPlan`] runs the workload again for each step, stopped there by [`SimDisk::stop_after`], so that what
//! comes after the stop is the workload's own doing.
//!
//! A path is the names between its slashes; `/a`, `a` and `./a` are the same.

mod content;
mod crash;
mod every_crash;
mod fault;
mod files;
mod moment;
mod random;
mod tree;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod moment_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use crash::{Crash, Keep, Tear};
pub use every_crash::CrashPlan;
pub use fault::{Call, Failure, Fault};
pub use moment::Moment;

use crate::io::Io;
use fault::stopped;
use random::Chance;
use tree::{Image, Node, NodeId, ROOT, Tree};

/// Where the simulated wall clock starts: 2026-01-01T00:00:00Z, in milliseconds since the Unix epoch.
const START_MS: u64 = 1_767_225_600_000;

/// What each look at the monotonic clock moves it by.
const TICK_NS: u64 = 1_000;

/// Free room where there is no limit.
const ROOMY_BYTES: u64 = 1 << 40;

/// A simulated machine's [`Io`]. Clones share the machine.
#[derive(Debug, Clone)]
pub struct SimDisk {
    machine: Arc<Mutex<Machine>>,
}

#[derive(Debug)]
struct Machine {
    tree: Tree,
    faults: Vec<Fault>,
    struck_count: u64,
    capacity_bytes: Option<u64>,
    locks: BTreeSet<String>,
    /// Calls so far that a crash could fall before or after.
    step_count: u64,
    stop_at: Option<u64>,
    is_stopped: bool,
    trace: Option<Vec<String>>,
    moments: Option<Vec<Moment>>,
    now_ms: u64,
    monotonic_ns: u64,
    chance: Chance,
    /// Decides injected corruption; apart from `chance`, so that faults do not change what the engine draws.
    fault_chance: Chance,
}

impl SimDisk {
    /// An empty disk; two of the same seed do the same.
    pub fn new(seed: u64) -> Self {
        Self::with_tree(Tree::new(), seed, START_MS, 0)
    }

    fn with_tree(tree: Tree, seed: u64, now_ms: u64, monotonic_ns: u64) -> Self {
        let machine = Machine {
            tree,
            faults: Vec::new(),
            struck_count: 0,
            capacity_bytes: None,
            locks: BTreeSet::new(),
            step_count: 0,
            stop_at: None,
            is_stopped: false,
            trace: None,
            moments: None,
            now_ms,
            monotonic_ns,
            chance: Chance::new(seed),
            fault_chance: Chance::new(!seed),
        };
        Self { machine: Arc::new(Mutex::new(machine)) }
    }

    /// This disk as `Arc<dyn Io>`.
    pub fn io(&self) -> Arc<dyn Io> {
        Arc::new(self.clone())
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        // A test that panics elsewhere while it holds the lock leaves nothing half done here.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine as it comes up after losing power now: no locks, no open files, no faults, no capacity limit,
    /// clock as it was, other randomness. This one goes on unharmed, so that many crashes can be tried from one
    /// state.
    #[must_use]
    pub fn crash(&self, how: Crash) -> Self {
        let mut machine = self.machine();
        let seed = machine.fault_chance.next();
        Self::with_tree(crash::crash(&machine.tree, how), seed, machine.now_ms, machine.monotonic_ns)
    }

    /// The machine as another process finds it after this one was killed: nothing is lost, unsynced changes stay
    /// unsynced; otherwise as [`SimDisk::crash`].
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut machine = self.machine();
        let seed = machine.fault_chance.next();
        Self::with_tree(machine.tree.after_kill(), seed, machine.now_ms, machine.monotonic_ns)
    }

    /// How many changes no sync has covered yet.
    pub fn pending_count(&self) -> usize {
        self.machine().tree.pending.len()
    }

    /// How many calls so far could have a crash fall before or after them: opens, writes, syncs and the like, not
    /// reads and look-ups.
    pub fn step_count(&self) -> u64 {
        self.machine().step_count
    }

    /// Lets `n` more steps be done; the one after that and every later call fail, as if the process were dead.
    pub fn stop_after(&self, n: u64) {
        let mut machine = self.machine();
        machine.stop_at = Some(machine.step_count + n);
    }

    /// Whether [`SimDisk::stop_after`] has struck.
    pub fn is_stopped(&self) -> bool {
        self.machine().is_stopped
    }

    /// Plans a failure.
    pub fn inject(&self, fault: Fault) {
        self.machine().faults.push(fault);
    }

    /// How many calls a planned failure has struck.
    pub fn struck_count(&self) -> u64 {
        self.machine().struck_count
    }

    /// Forgets all planned failures and the capacity limit: the disk works again.
    pub fn heal(&self) {
        let mut machine = self.machine();
        machine.faults.clear();
        machine.capacity_bytes = None;
    }

    /// Limits the room on the disk, in bytes, counted in pages of 4 KiB. What is there already stays.
    pub fn set_capacity(&self, bytes: u64) {
        self.machine().capacity_bytes = Some(bytes);
    }

    /// Room taken, in bytes.
    pub fn used_bytes(&self) -> u64 {
        self.machine().tree.used_bytes()
    }

    /// Flips one bit (0 to 7) of one byte of a file, on the disk and in the cache.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `UnexpectedEof` if it has no such byte.
    pub fn flip_bit(&self, path: impl AsRef<Path>, offset: u64, bit: u8) -> io::Result<()> {
        let mut machine = self.machine();
        let file = machine.file(&names(path.as_ref())?)?;
        let mut found = false;
        machine.tree.with_content(file, Image::Live, |content| found = content.flip_bit(offset, bit));
        machine.tree.with_content(file, Image::Durable, |content| found |= content.flip_bit(offset, bit));
        if found { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Overwrites bytes of a file, on the disk and in the cache, past all faults and counters.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    pub fn overwrite(&self, path: impl AsRef<Path>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut machine = self.machine();
        let file = machine.file(&names(path.as_ref())?)?;
        machine.tree.with_content(file, Image::Live, |content| content.write(bytes, offset));
        machine.tree.with_content(file, Image::Durable, |content| content.write(bytes, offset));
        Ok(())
    }

    /// Cuts or grows a file, on the disk and in the cache, past all faults and counters.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    pub fn resize(&self, path: impl AsRef<Path>, len: u64) -> io::Result<()> {
        let mut machine = self.machine();
        let file = machine.file(&names(path.as_ref())?)?;
        machine.tree.with_content(file, Image::Live, |content| content.set_len(len));
        machine.tree.with_content(file, Image::Durable, |content| content.set_len(len));
        Ok(())
    }

    /// A digest of every file and directory as the process sees it, names and contents.
    pub fn image_digest(&self) -> u128 {
        self.machine().tree.digest()
    }

    /// Keeps the moment before each step from now on.
    pub fn record(&self) {
        self.machine().moments = Some(Vec::new());
    }

    /// The moments since [`SimDisk::record`] and the present one, oldest first; ends the recording.
    pub fn moments(&self) -> Vec<Moment> {
        let mut machine = self.machine();
        let mut moments = machine.moments.take().unwrap_or_default();
        moments.push(Moment::of(&machine));
        moments
    }

    /// Every file there is, by path, sorted.
    pub fn files(&self) -> Vec<String> {
        let machine = self.machine();
        let mut found = Vec::new();
        let mut next = vec![(String::new(), ROOT)];
        while let Some((path, id)) = next.pop() {
            match machine.tree.node(id) {
                Some(Node::Dir(dir)) => next.extend(dir.live.iter().map(|(name, &id)| (format!("{path}/{name}"), id))),
                Some(Node::File(_)) => found.push(path.trim_start_matches('/').to_owned()),
                None => {}
            }
        }
        found.sort_unstable();
        found
    }

    /// The whole of a file as the process sees it, past all faults and counters.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    pub fn contents(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let machine = self.machine();
        let file = machine.file(&names(path.as_ref())?)?;
        let Some(Node::File(file)) = machine.tree.node(file) else { return Err(io::ErrorKind::NotFound.into()) };
        let mut bytes = vec![0; file.live.len() as usize];
        file.live.read(&mut bytes, 0);
        Ok(bytes)
    }

    /// Moves both clocks on.
    pub fn advance_ms(&self, ms: u64) {
        let mut machine = self.machine();
        machine.now_ms += ms;
        machine.monotonic_ns += ms * 1_000_000;
    }

    /// Sets the wall clock, which may jump either way; the monotonic one goes on as it was.
    pub fn set_now_ms(&self, now_ms: u64) {
        self.machine().now_ms = now_ms;
    }

    /// Starts the randomness over from a seed, so that a generator that repeats itself can be played.
    pub fn reseed(&self, seed: u64) {
        self.machine().chance = Chance::new(seed);
    }

    /// Keeps a line for each step from now on.
    pub fn start_trace(&self) {
        self.machine().trace = Some(Vec::new());
    }

    /// The steps since [`SimDisk::start_trace`], as `number call path`, for the message of a failing test.
    pub fn trace(&self) -> Vec<String> {
        self.machine().trace.clone().unwrap_or_default()
    }
}

impl Machine {
    /// Every call starts here: counts it, and answers how it is to go wrong, if it is.
    fn enter(&mut self, call: Call, path: &str) -> io::Result<Option<Failure>> {
        if call.is_step() && self.stop_at == Some(self.step_count) {
            self.is_stopped = true;
        }
        if self.is_stopped {
            return Err(stopped());
        }
        if call.is_step() {
            if self.moments.is_some() {
                let moment = Moment::of(self);
                self.moments.get_or_insert_default().push(moment);
            }
            self.step_count += 1;
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{} {call:?} {path}", self.step_count));
            }
        }
        // Each fault counts the call, also behind one that strikes.
        let struck: Vec<Failure> = self.faults.iter_mut().filter_map(|fault| fault.meet(call, path)).collect();
        self.struck_count += u64::from(!struck.is_empty());
        Ok(struck.first().copied())
    }

    /// As [`Machine::enter`], for calls that can do nothing but fail.
    fn enter_or_fail(&mut self, call: Call, path: &str) -> io::Result<()> {
        match self.enter(call, path)? {
            None => Ok(()),
            Some(Failure::NoSpace) => Err(fault::no_space()),
            Some(_) => Err(fault::io_error()),
        }
    }

    fn find(&self, path: &[String]) -> io::Result<NodeId> {
        let mut id = ROOT;
        for name in path {
            let Some(Node::Dir(dir)) = self.tree.node(id) else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            id = *dir.live.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(id)
    }

    fn file(&self, path: &[String]) -> io::Result<NodeId> {
        let id = self.find(path)?;
        match self.tree.node(id) {
            Some(Node::File(_)) => Ok(id),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn dir(&self, path: &[String]) -> io::Result<NodeId> {
        let id = self.find(path)?;
        match self.tree.node(id) {
            Some(Node::Dir(_)) => Ok(id),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory that holds the last name of a path, and that name.
    fn parent<'a>(&self, path: &'a [String]) -> io::Result<(NodeId, &'a str)> {
        let (name, parents) = path.split_last().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.dir(parents)?, name))
    }

    fn free_bytes(&self) -> u64 {
        self.capacity_bytes.map_or(ROOMY_BYTES, |capacity| capacity.saturating_sub(self.tree.used_bytes()))
    }
}

/// The names that a path is made of.
fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?.to_owned()),
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}
