//! What goes wrong, and when.

use std::io;

/// A kind of call, as faults pick it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Opening a file that is there.
    Open,
    /// Making a file by opening it.
    Create,
    /// Reading from a file.
    Read,
    /// Writing to a file, zeroes too.
    Write,
    /// Syncing a file.
    Sync,
    /// Setting a file's length.
    SetLen,
    /// Syncing a directory.
    SyncDir,
    /// Making directories.
    CreateDir,
    /// Renaming.
    Rename,
    /// Removing a file or directory.
    Remove,
    /// Asking: listing, existence, lengths, free room.
    Ask,
    /// Taking a lock.
    Lock,
    /// Drawing random bytes.
    Random,
    /// For faults: any call that counts as a step, see [`SimDisk::step_count`](super::SimDisk::step_count).
    AnyStep,
}

impl Call {
    /// Whether a crash before it can leave something else than a crash after it: such calls are steps.
    pub(super) fn is_step(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::Ask | Self::Lock | Self::Random)
    }
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// EIO. A write may have been done in part; of a sync see [`Failure::SyncKeepsCache`].
    Io,
    /// ENOSPC. A write may have been done in part.
    NoSpace,
    /// A sync fails with EIO, the unsynced pages are marked clean and stay in the cache: reads show them, but
    /// they never reach the disk.
    SyncKeepsCache,
    /// A sync fails with EIO, and the unsynced pages are dropped: reads show what the disk has.
    SyncDropsCache,
    /// A sync fails with EIO after some of the unsynced writes have reached the disk; the pages are marked clean
    /// and stay in the cache.
    SyncWritesSome,
    /// A read answers fewer bytes than there are.
    ShortRead,
    /// A read answers one bit wrong; the disk still has the right one.
    FlippedBit,
    /// A write or sync answers `Ok`, but the disk keeps the stale bytes (for a sync: of all unsynced writes).
    Lost,
    /// A write answers `Ok`, but one page of 4 KiB in it keeps the stale bytes.
    StalePage,
    /// A write answers `Ok`, but lands this many bytes further on in the same file.
    Misdirected {
        /// Distance in bytes.
        by: u64,
    },
}

/// A failure of some call of a kind.
#[derive(Debug, Clone)]
pub struct Fault {
    call: Call,
    failure: Failure,
    path_part: Option<String>,
    nth: u64,
    goes_on: bool,
    seen: u64,
}

impl Fault {
    /// The next call of this kind fails, once.
    pub fn new(call: Call, failure: Failure) -> Self {
        Self { call, failure, path_part: None, nth: 1, goes_on: false, seen: 0 }
    }

    /// Only the `n`th such call from now on fails, counted from 1.
    #[must_use]
    pub fn nth(self, n: u64) -> Self {
        Self { nth: n, ..self }
    }

    /// That call and all such calls after it fail.
    #[must_use]
    pub fn and_after(self) -> Self {
        Self { goes_on: true, ..self }
    }

    /// Only calls on a path that contains this text count.
    #[must_use]
    pub fn on(self, path_part: &str) -> Self {
        Self { path_part: Some(path_part.to_owned()), ..self }
    }

    /// Counts a call; answers how it fails, if it does.
    pub(super) fn meet(&mut self, call: Call, path: &str) -> Option<Failure> {
        let is_meant = call == self.call || self.call == Call::AnyStep && call.is_step();
        if !is_meant || self.path_part.as_ref().is_some_and(|part| !path.contains(part.as_str())) {
            return None;
        }
        self.seen += 1;
        (self.seen == self.nth || self.goes_on && self.seen > self.nth).then_some(self.failure)
    }
}

pub(super) fn io_error() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

pub(super) fn no_space() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error())
}

/// What every call answers once the simulated process is dead.
pub(super) fn stopped() -> io::Error {
    io::Error::other("the simulated process has been stopped")
}
