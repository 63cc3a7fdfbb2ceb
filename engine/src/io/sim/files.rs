//! The calls of [`Io`] and [`File`], played.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::content::PAGE_BYTES;
use super::fault::{Call, Failure, io_error, no_space};
use super::tree::{Change, DirNode, FileNode, Node, NodeId};
use super::{Machine, SimDisk, TICK_NS, names};
use crate::io::{File, Io, LockError, LockGuard, OpenMode, placed};

/// What the holder of a simulated lock is called.
const HOLDER_PID: u32 = 1;

impl SimDisk {
    /// Runs one call on the machine and places its error.
    fn call<T>(
        &self,
        doing: &'static str,
        path: &Path,
        f: impl FnOnce(&mut Machine, &[String], &str) -> io::Result<T>,
    ) -> io::Result<T> {
        names(path).and_then(|n| f(&mut self.machine(), &n, &n.join("/"))).map_err(|e| placed(doing, path, e))
    }
}

impl Io for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.call("open", path, |machine, names, text| {
            let makes = matches!(mode, OpenMode::Create | OpenMode::CreateNew);
            let file = match machine.file(names) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && makes => {
                    machine.enter_or_fail(Call::Create, text)?;
                    let (dir, name) = machine.parent(names)?;
                    let node = machine.tree.add_node(Node::File(FileNode::default()));
                    machine.tree.change(Change::Link { dir, name: name.to_owned(), node });
                    node
                }
                found => {
                    machine.enter_or_fail(Call::Open, text)?;
                    if found.is_ok() && mode == OpenMode::CreateNew {
                        return Err(io::ErrorKind::AlreadyExists.into());
                    }
                    found?
                }
            };
            machine.tree.count_handle(file, true);
            let (disk, is_writable) = (self.clone(), mode != OpenMode::Read);
            Ok(Arc::new(SimFile { disk, file, path: path.into(), text: text.into(), is_writable }) as Arc<dyn File>)
        })
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.call("make directory", path, |machine, names, text| {
            machine.enter_or_fail(Call::CreateDir, text)?;
            for depth in 1..=names.len() {
                match machine.dir(&names[..depth]) {
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {
                        let (dir, name) = machine.parent(&names[..depth])?;
                        let node = machine.tree.add_node(Node::Dir(DirNode::default()));
                        machine.tree.change(Change::Link { dir, name: name.to_owned(), node });
                    }
                    Err(e) => return Err(e),
                }
            }
            Ok(())
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call("remove", path, |machine, names, text| {
            machine.enter_or_fail(Call::Remove, text)?;
            let node = machine.file(names)?;
            let (dir, name) = machine.parent(names)?;
            machine.tree.change(Change::Unlink { dir, name: name.to_owned(), node });
            Ok(())
        })
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.call("remove directory", path, |machine, names, text| {
            machine.enter_or_fail(Call::Remove, text)?;
            let node = machine.dir(names)?;
            let (dir, name) = machine.parent(names)?;
            empty_dir(machine, node);
            machine.tree.change(Change::Unlink { dir, name: name.to_owned(), node });
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", from, |machine, from_names, text| {
            machine.enter_or_fail(Call::Rename, text)?;
            let node = machine.find(from_names)?;
            let to_names = names(to)?;
            let (from_dir, from) = machine.parent(from_names)?;
            let (to_dir, to) = machine.parent(&to_names)?;
            if let Ok(replaced) = machine.find(&to_names) {
                check_replaceable(machine, node, replaced)?;
                if replaced == node {
                    return Ok(());
                }
            }
            machine.tree.change(Change::Rename { from_dir, from: from.to_owned(), to_dir, to: to.to_owned(), node });
            Ok(())
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call("sync directory", path, |machine, names, text| {
            match machine.enter(Call::SyncDir, text)? {
                None => {}
                Some(Failure::Lost) => return Ok(()),
                Some(_) => return Err(io_error()),
            }
            let dir = machine.dir(names)?;
            machine.tree.sync_dir(dir);
            Ok(())
        })
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        self.call("list directory", path, |machine, names, text| {
            machine.enter_or_fail(Call::Ask, text)?;
            let id = machine.dir(names)?;
            match machine.tree.node(id) {
                Some(Node::Dir(dir)) => Ok(dir.live.keys().cloned().collect()),
                _ => Err(io::ErrorKind::NotADirectory.into()),
            }
        })
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.call("look for", path, |machine, names, text| {
            machine.enter_or_fail(Call::Ask, text)?;
            Ok(machine.find(names).is_ok())
        })
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.call("measure", path, |machine, names, text| {
            machine.enter_or_fail(Call::Ask, text)?;
            let file = machine.file(names)?;
            Ok(file_node(machine, file)?.live.len())
        })
    }

    fn lock(&self, path: &Path) -> Result<LockGuard, LockError> {
        let text = names(path)?.join("/");
        self.call("lock", path, |machine, _, text| machine.enter_or_fail(Call::Lock, text))?;
        let file = self.open(path, OpenMode::Create)?;
        if !self.machine().locks.insert(text.clone()) {
            return Err(LockError::Held { path: path.to_owned(), holder: Some(HOLDER_PID) });
        }
        let guard = SimLock { disk: self.clone(), text };
        file.set_len(0)?;
        file.write_all_at(format!("{HOLDER_PID}\n").as_bytes(), 0)?;
        Ok(LockGuard::new(guard))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.call("measure the file system of", path, |machine, names, text| {
            machine.enter_or_fail(Call::Ask, text)?;
            machine.find(names)?;
            Ok(machine.free_bytes())
        })
    }

    fn now_ms(&self) -> u64 {
        self.machine().now_ms
    }

    fn monotonic_ns(&self) -> u64 {
        let mut machine = self.machine();
        machine.monotonic_ns += TICK_NS;
        machine.monotonic_ns
    }

    fn sleep(&self, time: Duration) {
        let mut machine = self.machine();
        machine.now_ms += time.as_millis() as u64;
        machine.monotonic_ns += time.as_nanos() as u64;
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        let mut machine = self.machine();
        machine.enter_or_fail(Call::Random, "")?;
        machine.chance.fill(out);
        Ok(())
    }
}

/// Unlinks what a directory holds, deepest first, as removing a tree does.
fn empty_dir(machine: &mut Machine, dir: NodeId) {
    let Some(Node::Dir(node)) = machine.tree.node(dir) else { return };
    for (name, child) in node.live.clone() {
        empty_dir(machine, child);
        machine.tree.change(Change::Unlink { dir, name, node: child });
    }
}

/// A file replaces a file; a directory replaces an empty directory.
fn check_replaceable(machine: &Machine, node: NodeId, replaced: NodeId) -> io::Result<()> {
    match (machine.tree.node(node), machine.tree.node(replaced)) {
        (Some(Node::File(_)), Some(Node::File(_))) => Ok(()),
        (Some(Node::Dir(_)), Some(Node::Dir(dir))) if dir.live.is_empty() => Ok(()),
        (Some(Node::Dir(_)), Some(Node::Dir(_))) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
        (Some(Node::File(_)), _) => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::ErrorKind::NotADirectory.into()),
    }
}

fn file_node(machine: &Machine, file: NodeId) -> io::Result<&FileNode> {
    match machine.tree.node(file) {
        Some(Node::File(node)) => Ok(node),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

struct SimLock {
    disk: SimDisk,
    text: String,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.machine().locks.remove(&self.text);
    }
}

struct SimFile {
    disk: SimDisk,
    file: NodeId,
    path: Box<Path>,
    /// The path as faults see it.
    text: Box<str>,
    is_writable: bool,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.machine().tree.count_handle(self.file, false);
    }
}

impl SimFile {
    fn call<T>(&self, doing: &'static str, f: impl FnOnce(&mut Machine) -> io::Result<T>) -> io::Result<T> {
        f(&mut self.disk.machine()).map_err(|e| placed(doing, &self.path, e))
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.is_writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    /// Plays a write of `len` bytes; `part(at, range)` is the change that writes these of its bytes there.
    fn write(&self, offset: u64, len: u64, part: impl Fn(u64, Range<u64>) -> Change) -> io::Result<()> {
        self.call("write", |machine| {
            self.check_writable()?;
            if offset.checked_add(len).is_none_or(|end| end > i64::MAX as u64) {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            match machine.enter(Call::Write, &self.text)? {
                Some(Failure::Lost) => return Ok(()),
                Some(Failure::Misdirected { by }) => {
                    machine.tree.change(part(offset.saturating_add(by), 0..len));
                    return Ok(());
                }
                Some(Failure::StalePage) => {
                    let pages = (offset + len).div_ceil(PAGE_BYTES) - offset / PAGE_BYTES;
                    let page = (offset / PAGE_BYTES + machine.fault_chance.below(pages)) * PAGE_BYTES;
                    let (stale, fresh) = (page.saturating_sub(offset), (page + PAGE_BYTES).saturating_sub(offset));
                    machine.tree.change(part(offset, 0..stale));
                    machine.tree.change(part(offset + fresh.min(len), fresh.min(len)..len));
                    return Ok(());
                }
                Some(failure) => {
                    let done = machine.fault_chance.below(len + 1);
                    machine.tree.change(part(offset, 0..done));
                    return Err(if failure == Failure::NoSpace { no_space() } else { io_error() });
                }
                None => {}
            }
            let fitting = fitting_bytes(machine, self.file, offset, len)?;
            machine.tree.change(part(offset, 0..fitting));
            if fitting < len { Err(no_space()) } else { Ok(()) }
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.call("sync", |machine| {
            match machine.enter(Call::Sync, &self.text)? {
                None => machine.tree.sync_file(self.file),
                Some(Failure::Lost) => machine.tree.lose_writes(self.file, true),
                Some(Failure::SyncWritesSome) => {
                    let Machine { tree, fault_chance, .. } = machine;
                    tree.sync_some(self.file, || fault_chance.coin());
                    return Err(io_error());
                }
                Some(failure) => {
                    machine.tree.lose_writes(self.file, failure != Failure::SyncDropsCache);
                    return Err(if failure == Failure::NoSpace { no_space() } else { io_error() });
                }
            }
            Ok(())
        })
    }
}

/// How many of the first bytes of a write there is room for.
fn fitting_bytes(machine: &Machine, file: NodeId, offset: u64, len: u64) -> io::Result<u64> {
    if machine.capacity_bytes.is_none() {
        return Ok(len);
    }
    let (content, free) = (&file_node(machine, file)?.live, machine.free_bytes());
    let mut fitting = len;
    while fitting > 0 && content.room_needed(offset, fitting) > free {
        // Give up the last page that the write touches.
        fitting = ((offset + fitting - 1) / PAGE_BYTES * PAGE_BYTES).saturating_sub(offset);
    }
    Ok(fitting)
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call("read", |machine| {
            let failure = machine.enter(Call::Read, &self.text)?;
            let n = file_node(machine, self.file)?.live.read(buf, offset);
            match failure {
                None => Ok(n),
                Some(Failure::ShortRead) => Ok(machine.fault_chance.below(n as u64) as usize),
                Some(Failure::FlippedBit) => {
                    let place = machine.fault_chance.below(n as u64 * 8);
                    if let Some(byte) = buf[..n].get_mut(place as usize / 8) {
                        *byte ^= 1 << (place % 8);
                    }
                    Ok(n)
                }
                Some(_) => Err(io_error()),
            }
        })
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if self.read_at(buf, offset)? < buf.len() {
            return Err(placed("read", &self.path, io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let bytes: Arc<[u8]> = buf.into();
        self.write(offset, buf.len() as u64, |offset, range| {
            let is_all = range == (0..bytes.len() as u64);
            let bytes = if is_all { bytes.clone() } else { bytes[range.start as usize..range.end as usize].into() };
            Change::Write { file: self.file, offset, bytes }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call("set the length of", |machine| {
            self.check_writable()?;
            machine.enter_or_fail(Call::SetLen, &self.text)?;
            machine.tree.change(Change::SetLen { file: self.file, len });
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.call("measure", |machine| {
            machine.enter_or_fail(Call::Ask, &self.text)?;
            Ok(file_node(machine, self.file)?.live.len())
        })
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> io::Result<()> {
        self.write(offset, len, |offset, range| Change::Zero { file: self.file, offset, len: range.end - range.start })
    }
}
