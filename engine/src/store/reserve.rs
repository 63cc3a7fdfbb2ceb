//! The reserve: room that the store keeps in the file `RESERVE` and gives back to the disk when that
//! is full, so that what makes room can still be done: deletes, flushes, compaction, letting the log
//! move on. Everything else is refused until the reserve could be taken back.
//!
//! Invariants:
//! 1. What the file holds means nothing; its length is the room that is kept. An empty file says that
//!    the reserve was given back: so it is after a restart too.
//! 2. While it is given back, no transaction is taken that does not only take away.
//! 3. It is taken back only where as much again is left, a log segment at least: then writes go on,
//!    and the next one does not find the disk full.
//!
//! How much: a log segment's worth at first (4 MiB), and as the store grows as much as its segments,
//! or a quarter of a pool's files, up to the limit. It never takes more than an eighth of what is free.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use super::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::io::{Io, OpenMode};
use crate::pool::open::lock;
use crate::wal::{SEGMENT_BYTES_MIN, io_error};

/// Its name in the data directory.
pub(crate) const RESERVE_NAME: &str = "RESERVE";
/// A smaller one is of no use.
const BYTES_MIN: u64 = 256 << 10;
/// It takes no more than this part of what is free.
const PART_OF_FREE: u64 = 8;
/// While it is given back, the disk is asked for room this often at most.
const LOOK_AGAIN_MS: u64 = 500;

/// Room that is kept.
pub(crate) struct Reserve {
    path: PathBuf,
    bytes_max: u64,
    /// How much there is, or is to be again.
    bytes: AtomicU64,
    /// It was given back to the disk.
    given_back: AtomicBool,
    /// The disk is not asked again before this.
    look_again_ms: AtomicU64,
    /// Held while the file changes.
    changing: Mutex<()>,
}

impl Reserve {
    /// Finds what a former process kept; changes nothing.
    pub(crate) fn find(io: &dyn Io, data: &Path, bytes_max: u64) -> Self {
        let path = data.join(RESERVE_NAME);
        let there = io.file_len(&path).ok();
        let is_empty = there == Some(0) && bytes_max > 0;
        let bytes = if is_empty { SEGMENT_BYTES_MIN } else { there.unwrap_or(0) };
        Self {
            path,
            bytes_max,
            bytes: AtomicU64::new(bytes.min(bytes_max)),
            given_back: AtomicBool::new(is_empty),
            look_again_ms: AtomicU64::new(0),
            changing: Mutex::new(()),
        }
    }

    /// Once the store has what it needs to be opened: takes room for the first time, or back if it was
    /// given back to a disk that has room now. A failure is none: the store runs without.
    pub(crate) fn settle(&self, io: &dyn Io, data: &Path) {
        if self.bytes_max == 0 {
            // Nobody wants it any more.
            let _ = io.remove_file(&self.path);
        } else if self.is_given_back() {
            self.take_back(io, data);
        } else {
            self.grow(io, data, SEGMENT_BYTES_MIN);
        }
    }

    /// Whether the disk is full and the reserve was given back.
    pub(crate) fn is_given_back(&self) -> bool {
        self.given_back.load(Acquire)
    }

    /// How much room is kept now, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        if self.is_given_back() { 0 } else { self.bytes.load(Relaxed) }
    }

    /// Keeps `bytes`, as far as the limit and the disk allow. A failure changes nothing.
    pub(crate) fn grow(&self, io: &dyn Io, data: &Path, bytes: u64) {
        let _changing = lock(&self.changing);
        let kept = self.bytes.load(Relaxed);
        let Ok(free) = io.free_bytes(data) else { return };
        let wanted = bytes.min(self.bytes_max).min(kept + free / PART_OF_FREE);
        if self.is_given_back() || wanted <= kept || wanted < BYTES_MIN.min(self.bytes_max) {
            return;
        }
        if self.allocate(io, data, wanted, kept) {
            self.bytes.store(wanted, Relaxed);
        }
    }

    /// Gives the room back to the disk. Answers whether there was any: then what has just failed is
    /// worth another try.
    pub(crate) fn give_back(&self, io: &dyn Io) -> bool {
        let _changing = lock(&self.changing);
        if self.is_given_back() || self.bytes.load(Relaxed) == 0 {
            return false;
        }
        let emptied = io.open(&self.path, OpenMode::Write).and_then(|file| {
            file.set_len(0)?;
            file.sync_all()
        });
        if emptied.is_ok() {
            self.given_back.store(true, Release);
        }
        emptied.is_ok()
    }

    /// Takes the room back if there is enough again; answers whether it is there.
    fn take_back(&self, io: &dyn Io, data: &Path) -> bool {
        let _changing = lock(&self.changing);
        if !self.is_given_back() {
            return true;
        }
        let is_enough = io.free_bytes(data).is_ok_and(|free| free >= self.needed_bytes());
        let taken = is_enough && self.allocate(io, data, self.bytes.load(Relaxed), 0);
        if taken {
            self.given_back.store(false, Release);
        }
        taken
    }

    /// So much must be free before it is taken back.
    fn needed_bytes(&self) -> u64 {
        let bytes = self.bytes.load(Relaxed);
        bytes + bytes.max(SEGMENT_BYTES_MIN)
    }

    /// Makes the file `bytes` long; where that fails, as long as it was.
    fn allocate(&self, io: &dyn Io, data: &Path, bytes: u64, before: u64) -> bool {
        let Ok(file) = io.open(&self.path, OpenMode::Create) else { return false };
        let made = file.allocate(bytes).and_then(|()| file.sync_all()).and_then(|()| io.sync_dir(data));
        if made.is_err() {
            let _ = file.set_len(before);
        }
        made.is_ok()
    }
}

impl Shared {
    /// Whether only what takes away is written.
    pub(crate) fn is_full(&self) -> bool {
        self.reserve.is_given_back()
    }

    /// Gives the reserve back to a full disk, and says whether there was one to give.
    pub(crate) fn give_back_reserve(&self) -> bool {
        self.reserve.give_back(&*self.io)
    }

    /// Runs what makes room, or is needed to make some; once more on the reserve if the disk is full.
    ///
    /// # Errors
    /// As `work`.
    pub(crate) fn on_reserve<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        match work() {
            Err(error) if error.kind() == ErrorKind::NoSpace && self.give_back_reserve() => work(),
            done => done,
        }
    }

    /// Keeps as much room as the store's size calls for; off the commit path.
    pub(crate) fn grow_reserve(&self, bytes: u64) {
        let reserve = &self.reserve;
        if !self.has_threads() || bytes <= reserve.bytes.load(Relaxed) || reserve.is_given_back() {
            return;
        }
        let Some(shared) = self.this.upgrade() else { return };
        self.background(Box::new(move || shared.reserve.grow(&*shared.io, &shared.data, bytes)));
    }

    /// Refuses what does not only take away while the disk is full.
    ///
    /// # Errors
    /// `NOSPACE`, with how much must be freed.
    pub(crate) fn check_room(&self) -> Result<()> {
        if !self.reserve.is_given_back() {
            return Ok(());
        }
        let now_ms = self.io.now_ms();
        if now_ms >= self.reserve.look_again_ms.load(Relaxed) {
            self.reserve.look_again_ms.store(now_ms + LOOK_AGAIN_MS, Relaxed);
            self.look_for_room();
        }
        if self.reserve.is_given_back() { Err(self.no_room()) } else { Ok(()) }
    }

    /// Takes the reserve back if there is room again.
    pub(crate) fn look_for_room(&self) {
        if !self.reserve.is_given_back() {
            return;
        }
        match self.this.upgrade().filter(|_| self.has_threads()) {
            Some(shared) => {
                self.background(Box::new(move || {
                    shared.reserve.take_back(&*shared.io, &shared.data);
                }));
            }
            None => {
                self.reserve.take_back(&*self.io, &self.data);
            }
        }
    }

    /// What is said to whoever cannot write now.
    pub(crate) fn no_room(&self) -> Error {
        let data = self.data.display();
        let free = match self.io.free_bytes(&self.data) {
            Ok(free) => free,
            Err(source) => return io_error("asking for room on", &self.data, source),
        };
        let what = match self.reserve.needed_bytes().checked_sub(free) {
            Some(missing @ 1..) => format!(
                "{} left on {data}, reserve released; only deletes and compaction run. Free {} or raise the volume",
                in_words(free),
                in_words(missing)
            ),
            _ => format!("there is room again on {data}; the reserve is being taken back: try again in a moment"),
        };
        Error::new(ErrorKind::NoSpace, what)
    }
}

/// A number of bytes as people read it, rounded up.
fn in_words(bytes: u64) -> String {
    match bytes {
        0..=0xf_ffff => format!("{} KiB", bytes.div_ceil(1 << 10)),
        0x10_0000..=0x3fff_ffff => format!("{} MiB", bytes.div_ceil(1 << 20)),
        _ => format!("{:.1} GiB", (bytes as f64 / f64::from(1 << 30) * 10.0).ceil() / 10.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SimDisk;

    fn open(io: &dyn Io, data: &Path, bytes_max: u64) -> Reserve {
        let reserve = Reserve::find(io, data, bytes_max);
        reserve.settle(io, data);
        reserve
    }

    #[test]
    fn it_takes_little_of_little_and_grows_up_to_its_limit() {
        let disk = SimDisk::new(1);
        let (io, data) = (disk.io(), Path::new(""));
        disk.set_capacity(16 << 20);
        let reserve = open(&*io, data, 8 << 20);
        assert_eq!(reserve.bytes(), 2 << 20, "an eighth");
        disk.set_capacity(1 << 30);
        reserve.grow(&*io, data, 6 << 20);
        assert_eq!(reserve.bytes(), 6 << 20);
        reserve.grow(&*io, data, 1 << 40);
        assert_eq!((reserve.bytes(), disk.used_bytes()), (8 << 20, 8 << 20));
        // A second start finds it, and one that wants none removes it.
        assert_eq!(open(&*io, data, 64 << 20).bytes(), 8 << 20);
        assert_eq!(open(&*io, data, 0).bytes(), 0);
        assert_eq!(disk.files(), [""; 0]);
        // Too small a disk has none, and nothing is refused for that.
        disk.set_capacity(1 << 20);
        let none = open(&*io, data, 8 << 20);
        assert_eq!((none.bytes(), none.give_back(&*io), none.is_given_back()), (0, false, false));
    }

    #[test]
    fn it_is_given_back_once_and_taken_back_where_as_much_again_is_left() {
        let disk = SimDisk::new(2);
        let (io, data) = (disk.io(), Path::new(""));
        let reserve = open(&*io, data, 64 << 20);
        assert_eq!(reserve.bytes(), SEGMENT_BYTES_MIN);
        disk.set_capacity(6 << 20);
        assert!(reserve.give_back(&*io) && !reserve.give_back(&*io));
        assert_eq!((reserve.bytes(), disk.used_bytes()), (0, 0));
        assert!(!reserve.take_back(&*io, data));
        reserve.grow(&*io, data, 64 << 20);
        assert_eq!(disk.used_bytes(), 0, "what is given back does not grow");
        // After a restart it is still known to be gone.
        let again = open(&*io, data, 64 << 20);
        assert!(again.is_given_back());
        disk.set_capacity(8 << 20);
        assert!(again.take_back(&*io, data) && !again.is_given_back());
        assert_eq!(again.bytes(), SEGMENT_BYTES_MIN);
    }

    #[test]
    fn bytes_in_words_are_rounded_up() {
        assert_eq!(in_words(1), "1 KiB");
        assert_eq!(in_words((48 << 20) - 5), "48 MiB");
        assert_eq!(in_words(2_200_000_000), "2.1 GiB");
    }
}
