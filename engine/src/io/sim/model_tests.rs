//! The simulated disk against the real one, and against what its promises say of a crash.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::io::{Disk, File, OpenMode, read_whole, replace};

const NAMES: [&str; 5] = ["a", "b", "d/a", "d/b", "d/e/a"];
const DIRS: [&str; 3] = ["", "d", "d/e"];

#[derive(Debug, Clone)]
enum Act {
    Open(usize, OpenMode),
    Write(usize, u64, Vec<u8>),
    Zero(usize, u64, u64),
    SetLen(usize, u64),
    Read(usize, u64, usize),
    Sync(usize),
    Rename(usize, usize),
    Remove(usize),
    CreateDir(usize),
    RemoveDir(usize),
    SyncDir(usize),
    List(usize),
    Len(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let (name, dir, offset) = (0..NAMES.len(), 0..DIRS.len(), 0u64..10_000);
    let mode = prop_oneof![
        1 => Just(OpenMode::Read),
        1 => Just(OpenMode::Write),
        3 => Just(OpenMode::Create),
        1 => Just(OpenMode::CreateNew)
    ];
    prop_oneof![
        5 => (name.clone(), mode).prop_map(|(n, m)| Act::Open(n, m)),
        4 => (name.clone(), offset.clone(), prop::collection::vec(any::<u8>(), 0..5_000)).prop_map(|(n, o, b)| Act::Write(n, o, b)),
        1 => (name.clone(), offset.clone(), 0u64..9_000).prop_map(|(n, o, l)| Act::Zero(n, o, l)),
        1 => (name.clone(), offset.clone()).prop_map(|(n, l)| Act::SetLen(n, l)),
        2 => (name.clone(), offset, 0usize..9_000).prop_map(|(n, o, l)| Act::Read(n, o, l)),
        2 => name.clone().prop_map(Act::Sync),
        2 => (name.clone(), name.clone()).prop_map(|(f, t)| Act::Rename(f, t)),
        1 => name.clone().prop_map(Act::Remove),
        3 => dir.clone().prop_map(Act::CreateDir),
        1 => (1..DIRS.len()).prop_map(Act::RemoveDir),
        2 => dir.clone().prop_map(Act::SyncDir),
        1 => dir.prop_map(Act::List),
        1 => name.prop_map(Act::Len),
    ]
}

/// One machine under test, with the files that it has open by the name they were opened under.
struct Machine {
    io: Arc<dyn Io>,
    root: PathBuf,
    open: BTreeMap<usize, Arc<dyn File>>,
}

impl Machine {
    fn new(io: Arc<dyn Io>, root: PathBuf) -> Self {
        Self { io, root, open: BTreeMap::new() }
    }

    /// Does it, and tells all that can be seen of it.
    fn act(&mut self, act: &Act) -> Result<String, io::ErrorKind> {
        let name = |n: &usize| self.root.join(NAMES[*n]);
        let dir = |n: &usize| self.root.join(DIRS[*n]);
        let file = |n: &usize| self.open.get(n).ok_or(io::Error::from(io::ErrorKind::Other));
        let nothing = |()| String::new();
        let told = match act {
            Act::Open(n, mode) => {
                let opened = self.io.open(&name(n), *mode);
                opened.map(|file| {
                    self.open.insert(*n, file);
                    String::new()
                })
            }
            Act::Write(n, offset, bytes) => file(n).and_then(|f| f.write_all_at(bytes, *offset)).map(nothing),
            Act::Zero(n, offset, len) => file(n).and_then(|f| f.write_zeroes(*offset, *len)).map(nothing),
            Act::SetLen(n, len) => file(n).and_then(|f| f.set_len(*len)).map(nothing),
            Act::Read(n, offset, len) => {
                let mut bytes = vec![0; *len];
                let read = file(n).and_then(|f| f.read_at(&mut bytes, *offset));
                read.map(|count| format!("{:?}", &bytes[..count]))
            }
            Act::Sync(n) => file(n).and_then(|f| f.sync_data()).map(nothing),
            Act::Rename(from, to) => self.io.rename(&name(from), &name(to)).map(nothing),
            Act::Remove(n) => self.io.remove_file(&name(n)).map(nothing),
            Act::CreateDir(n) => self.io.create_dir_all(&dir(n)).map(nothing),
            Act::RemoveDir(n) => self.io.remove_dir_all(&dir(n)).map(nothing),
            Act::SyncDir(n) => self.io.sync_dir(&dir(n)).map(nothing),
            Act::List(n) => self.io.list_dir(&dir(n)).map(|names| names.join(" ")),
            Act::Len(n) => {
                let there = self.io.exists(&name(n));
                there.map(|there| format!("{there} {:?}", self.io.file_len(&name(n)).map_err(|e| e.kind())))
            }
        };
        // The real disk has a number (EBADF) and no kind for a write to a file opened for reading.
        told.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => io::ErrorKind::Other,
            kind if is_unnamed(kind) => io::ErrorKind::Other,
            kind => kind,
        })
    }
}

fn is_unnamed(kind: io::ErrorKind) -> bool {
    format!("{kind:?}") == "Uncategorized"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// To a process that does not crash, the simulated disk is a disk.
    #[test]
    fn the_simulated_disk_does_what_the_real_one_does(acts in prop::collection::vec(act(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut real = Machine::new(Arc::new(Disk::new()), dir.path().to_owned());
        let mut simulated = Machine::new(SimDisk::new(1).io(), PathBuf::new());
        for act in &acts {
            prop_assert_eq!(real.act(act), simulated.act(act), "{:?}", act);
        }
    }

    /// A file that keeps its name holds, after any crash, each byte as it was at the last sync or as some later
    /// write made it; with nothing kept, as it was at the last sync.
    #[test]
    fn a_crash_leaves_each_byte_synced_or_newer(
        acts in prop::collection::vec(
            prop_oneof![
                4 => (0u64..3_000, 1usize..2_000).prop_map(Some),
                1 => Just(None),
            ],
            1..20,
        ),
        seed: u64,
        sector in prop::sample::select(vec![512u64, 4096, 16384]),
    ) {
        let disk = SimDisk::new(seed);
        let file = disk.open("a".as_ref(), OpenMode::Create).unwrap();
        disk.sync_dir("".as_ref()).unwrap();
        let (mut live, mut synced) = (Vec::new(), Vec::new());
        let mut allowed: Vec<Vec<u8>> = Vec::new();
        for (i, act) in acts.iter().enumerate() {
            match *act {
                Some((offset, len)) => {
                    let (offset, byte) = (offset as usize, i as u8 + 1);
                    file.write_all_at(&vec![byte; len], offset as u64).unwrap();
                    live.resize(live.len().max(offset + len), 0);
                    live[offset..offset + len].fill(byte);
                    // A write that is lost while a later one is kept leaves a hole.
                    allowed.resize(allowed.len().max(offset + len), vec![0]);
                    allowed[offset..offset + len].iter_mut().for_each(|bytes| bytes.push(byte));
                }
                None => {
                    file.sync_data().unwrap();
                    synced.clone_from(&live);
                    allowed = live.iter().map(|byte| vec![*byte]).collect();
                }
            }
        }
        prop_assert_eq!(disk.contents("a").unwrap(), live.clone());
        prop_assert_eq!(disk.crash(Crash::whole(Keep::None)).contents("a").unwrap(), synced.clone());
        prop_assert_eq!(disk.crash(Crash::whole(Keep::All)).contents("a").unwrap(), live.clone());
        let left = disk.crash(Crash::torn(Keep::Random(seed), sector, !seed)).contents("a").unwrap();
        prop_assert!((synced.len()..=live.len()).contains(&left.len()));
        for (at, byte) in left.iter().enumerate() {
            prop_assert!(allowed[at].contains(byte), "byte {} is {}", at, byte);
        }
    }
}

/// A log of 8-byte numbers, each synced before it is told: the smallest thing that must survive every crash.
fn append_numbers(disk: &SimDisk, sync: bool) -> u64 {
    let log = || -> io::Result<Arc<dyn File>> {
        disk.create_dir_all("wal".as_ref())?;
        let file = disk.open("wal/1".as_ref(), OpenMode::CreateNew)?;
        file.write_zeroes(0, 8192)?;
        file.sync_data()?;
        disk.sync_dir("wal".as_ref())?;
        disk.sync_dir("".as_ref())?;
        Ok(file)
    };
    let Ok(file) = log() else { return 0 };
    for number in 1..=8u64 {
        // One block each: a block that holds what was told is never written again.
        let written = file.write_all_at(&number.to_le_bytes(), (number - 1) * 512);
        if written.is_err() || sync && file.sync_data().is_err() {
            return number - 1;
        }
    }
    8
}

fn check_numbers(disk: &SimDisk, told: &u64) {
    if *told == 0 {
        return;
    }
    let bytes = read_whole(disk, "wal/1".as_ref(), 8192).unwrap();
    for number in 1..=*told {
        let at = (number - 1) as usize * 512;
        assert_eq!(bytes[at..at + 8], number.to_le_bytes(), "number {number} of {told}");
    }
}

#[test]
fn a_log_that_syncs_survives_every_crash() {
    let crashes = CrashPlan::default().run(|disk| append_numbers(disk, true), check_numbers);
    assert!(crashes > 200, "{crashes}");
}

#[test]
#[should_panic(expected = "of 1")]
fn a_log_that_does_not_sync_is_caught() {
    CrashPlan::default().run(|disk| append_numbers(disk, false), check_numbers);
}

/// Two files that must change together, by way of a third that names them: what a manifest does.
#[test]
fn a_replaced_pointer_switches_both_files_at_once() {
    let publish = |disk: &SimDisk, n: u8| -> io::Result<()> {
        for part in ["x", "y"] {
            let file = disk.open(format!("{part}{n}").as_ref(), OpenMode::Create)?;
            file.write_all_at(&[n; 600], 0)?;
            file.sync_data()?;
        }
        disk.sync_dir("".as_ref())?;
        replace(disk, "now".as_ref(), &[n])
    };
    let workload = |disk: &SimDisk| (1..=3).take_while(|&n| publish(disk, n).is_ok()).count() as u8;
    let check = |disk: &SimDisk, told: &u8| {
        let now = read_whole(disk, "now".as_ref(), 1).map_or(0, |bytes| bytes[0]);
        assert!(now == *told || now == *told + 1, "{now} after {told}");
        for part in ["x", "y"].iter().filter(|_| now > 0) {
            assert_eq!(disk.contents(format!("{part}{now}")).unwrap(), [now; 600]);
        }
    };
    CrashPlan::default().run(workload, check);
}

/// Every step that can fail does so once: the error is told, and nothing told before is lost.
#[test]
fn every_single_failure_is_told() {
    for failure in [Failure::Io, Failure::NoSpace] {
        for n in 1..=20 {
            let disk = SimDisk::new(1);
            disk.inject(Fault::new(Call::AnyStep, failure).nth(n).and_after());
            let told = append_numbers(&disk, true);
            assert!(told < 8 || disk.step_count() < n);
            check_numbers(&disk.crash(Crash::whole(Keep::None)), &told);
        }
    }
}
