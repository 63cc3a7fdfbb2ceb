use std::sync::Arc;

use super::*;
use crate::io::{File, LockError, OpenMode, read_whole, replace};

fn create(disk: &SimDisk, path: &str) -> Arc<dyn File> {
    disk.open(path.as_ref(), OpenMode::Create).unwrap()
}

fn write_new(disk: &SimDisk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = create(disk, path);
    file.write_all_at(bytes, 0).unwrap();
    file
}

/// A durable file.
fn settle(disk: &SimDisk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = write_new(disk, path, bytes);
    file.sync_all().unwrap();
    disk.sync_dir(Path::new(path).parent().unwrap()).unwrap();
    file
}

const NOTHING: Crash = Crash { keep: Keep::None, tear: None };
const EVERYTHING: Crash = Crash { keep: Keep::All, tear: None };

#[test]
fn only_what_was_synced_survives() {
    let disk = SimDisk::new(1);
    let file = settle(&disk, "a", b"synced");
    file.write_all_at(b"later", 6).unwrap();
    assert_eq!(disk.contents("a").unwrap(), b"syncedlater");
    assert_eq!(disk.crash(NOTHING).contents("a").unwrap(), b"synced");
    assert_eq!(disk.crash(EVERYTHING).contents("a").unwrap(), b"syncedlater");
    file.sync_data().unwrap();
    assert_eq!(disk.crash(NOTHING).contents("a").unwrap(), b"syncedlater");
    assert_eq!(disk.pending_count(), 0);
}

#[test]
fn a_name_needs_its_directory_synced() {
    let disk = SimDisk::new(1);
    disk.create_dir_all("d/e".as_ref()).unwrap();
    let file = write_new(&disk, "d/e/f", b"x");
    file.sync_all().unwrap();
    assert!(disk.crash(NOTHING).files().is_empty());
    disk.sync_dir("d/e".as_ref()).unwrap();
    assert!(disk.crash(NOTHING).files().is_empty(), "the parents have no durable name yet");
    disk.sync_dir("d".as_ref()).unwrap();
    disk.sync_dir("/".as_ref()).unwrap();
    assert_eq!(disk.crash(NOTHING).contents("d/e/f").unwrap(), b"x");
}

#[test]
fn a_synced_name_can_lead_to_an_empty_file() {
    let disk = SimDisk::new(1);
    write_new(&disk, "a", b"x");
    disk.sync_dir("".as_ref()).unwrap();
    assert_eq!(disk.crash(NOTHING).contents("a").unwrap(), b"");
}

#[test]
fn a_rename_is_old_or_new() {
    let disk = SimDisk::new(1);
    settle(&disk, "a", b"old");
    settle(&disk, "a.tmp", b"new");
    disk.rename("a.tmp".as_ref(), "a".as_ref()).unwrap();
    assert_eq!(disk.files(), ["a"]);
    let before = disk.crash(NOTHING);
    assert_eq!((before.contents("a").unwrap(), before.contents("a.tmp").unwrap()), (b"old".to_vec(), b"new".to_vec()));
    let after = disk.crash(EVERYTHING);
    assert_eq!((after.contents("a").unwrap(), after.files()), (b"new".to_vec(), vec!["a".to_owned()]));
    disk.sync_dir("".as_ref()).unwrap();
    assert_eq!(disk.crash(NOTHING).files(), ["a"]);
}

#[test]
fn a_rename_into_a_synced_directory_leaves_the_other() {
    let disk = SimDisk::new(1);
    disk.create_dir_all("x".as_ref()).unwrap();
    disk.create_dir_all("y".as_ref()).unwrap();
    disk.sync_dir("".as_ref()).unwrap();
    write_new(&disk, "x/f", b"1").sync_all().unwrap();
    disk.rename("x/f".as_ref(), "y/f".as_ref()).unwrap();
    disk.sync_dir("y".as_ref()).unwrap();
    assert_eq!(disk.crash(NOTHING).files(), ["y/f"]);
    assert_eq!(disk.crash(EVERYTHING).files(), ["y/f"], "the name in x must not come back");
}

#[test]
fn removal_is_lost_without_a_sync() {
    let disk = SimDisk::new(1);
    settle(&disk, "a", b"x");
    disk.remove_file("a".as_ref()).unwrap();
    assert!(!disk.exists("a".as_ref()).unwrap());
    assert_eq!(disk.crash(NOTHING).contents("a").unwrap(), b"x");
    assert!(disk.crash(EVERYTHING).files().is_empty());
    disk.sync_dir("".as_ref()).unwrap();
    assert!(disk.crash(NOTHING).files().is_empty());
}

#[test]
fn a_tree_can_be_removed_in_part() {
    let disk = SimDisk::new(1);
    disk.create_dir_all("d".as_ref()).unwrap();
    disk.sync_dir("".as_ref()).unwrap();
    settle(&disk, "d/a", b"");
    settle(&disk, "d/b", b"");
    disk.remove_dir_all("d".as_ref()).unwrap();
    assert_eq!(disk.pending_count(), 3);
    assert_eq!(disk.crash(Crash::whole(Keep::One(0))).files(), ["d/b"]);
    assert!(disk.crash(Crash::whole(Keep::One(2))).files().is_empty());
}

#[test]
fn a_removed_file_can_be_read_while_open() {
    let disk = SimDisk::new(1);
    let file = settle(&disk, "a", b"x");
    disk.remove_file("a".as_ref()).unwrap();
    disk.sync_dir("".as_ref()).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0).unwrap();
    assert_eq!(&byte, b"x");
    assert_eq!(disk.used_bytes(), 4096);
    drop(file);
    assert_eq!(disk.used_bytes(), 0);
}

#[test]
fn one_and_all_but_one_pick_by_index() {
    let disk = SimDisk::new(1);
    let file = settle(&disk, "a", b"...");
    for (i, byte) in b"xyz".iter().enumerate() {
        file.write_all_at(&[*byte], i as u64).unwrap();
    }
    assert_eq!(disk.crash(Crash::whole(Keep::One(1))).contents("a").unwrap(), b".y.");
    assert_eq!(disk.crash(Crash::whole(Keep::AllBut(1))).contents("a").unwrap(), b"x.z");
    let outcomes: BTreeSet<_> =
        (0..64).map(|seed| disk.crash(Crash::whole(Keep::Random(seed))).contents("a").unwrap()).collect();
    assert_eq!(outcomes.len(), 8, "every subset is met");
    let again = |seed| disk.crash(Crash::whole(Keep::Random(seed))).contents("a").unwrap();
    assert_eq!(again(5), again(5));
}

#[test]
fn a_torn_write_survives_by_sectors() {
    let disk = SimDisk::new(1);
    let file = settle(&disk, "a", &[b'.'; 4096]);
    file.write_all_at(&[b'x'; 2048], 1024).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let bytes = disk.crash(Crash::torn(Keep::All, 512, seed)).contents("a").unwrap();
        assert_eq!(bytes.len(), 4096);
        assert!(bytes[..1024].iter().chain(&bytes[3072..]).all(|&b| b == b'.'), "bytes not written are as they were");
        let sectors: Vec<u8> = bytes[1024..3072].chunks(512).map(|s| s[0]).collect();
        assert!(bytes.chunks(512).all(|s| s.iter().all(|b| *b == s[0])));
        seen.insert(sectors);
    }
    assert_eq!(seen.len(), 16);
}

#[test]
fn noise_destroys_whole_sectors_and_no_more() {
    let disk = SimDisk::new(1);
    let file = settle(&disk, "a", &[b'.'; 8192]);
    file.write_all_at(&[b'x'; 10], 4090).unwrap();
    let mut noisy = 0;
    for seed in 0..32 {
        let bytes = disk.crash(Crash::noisy(Keep::All, 512, seed)).contents("a").unwrap();
        assert_eq!(bytes.len(), 8192);
        assert!(bytes[..3584].iter().chain(&bytes[4608..]).all(|&b| b == b'.'));
        noisy += usize::from(bytes[3584..4090].iter().any(|&b| b != b'.'));
    }
    assert!(noisy > 8, "{noisy}");
}

#[test]
fn a_torn_write_that_grows_the_file_may_leave_zeroes() {
    let disk = SimDisk::new(1);
    let file = settle(&disk, "a", b"");
    file.write_all_at(&[b'x'; 1024], 0).unwrap();
    let outcomes: BTreeSet<_> = (0..64)
        .map(|seed| {
            let bytes = disk.crash(Crash::torn(Keep::All, 512, seed)).contents("a").unwrap();
            (bytes.len(), bytes.first().copied(), bytes.last().copied())
        })
        .collect();
    assert!(outcomes.contains(&(0, None, None)));
    assert!(outcomes.contains(&(1024, Some(0), Some(0))));
    assert!(outcomes.contains(&(1024, Some(b'x'), Some(0))));
    assert!(outcomes.contains(&(512, Some(b'x'), Some(b'x'))));
}

#[test]
fn a_failed_sync_loses_what_it_was_to_make_durable() {
    for (failure, shown) in [(Failure::SyncKeepsCache, b"new"), (Failure::SyncDropsCache, b"old")] {
        let disk = SimDisk::new(1);
        let file = settle(&disk, "a", b"old");
        file.write_all_at(b"new", 0).unwrap();
        disk.inject(Fault::new(Call::Sync, failure).on("a"));
        assert!(file.sync_data().is_err());
        assert_eq!(disk.contents("a").unwrap(), shown);
        file.sync_data().unwrap();
        assert_eq!(disk.crash(EVERYTHING).contents("a").unwrap(), b"old", "the second sync proves nothing");
    }
}

#[test]
fn faults_strike_the_nth_call_once_or_from_then_on() {
    let disk = SimDisk::new(1);
    let (a, b) = (create(&disk, "a"), create(&disk, "b"));
    disk.inject(Fault::new(Call::Write, Failure::NoSpace).nth(2).on("a"));
    disk.inject(Fault::new(Call::Sync, Failure::Io).nth(2).and_after());
    a.write_all_at(b"1", 0).unwrap();
    b.write_all_at(b"1", 0).unwrap();
    let error = a.write_all_at(b"1", 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(crate::io::is_out_of_space(&error));
    assert!(error.to_string().starts_with("cannot write a: "), "{error}");
    a.write_all_at(b"1", 0).unwrap();
    a.sync_data().unwrap();
    assert!(a.sync_data().is_err() && b.sync_all().is_err());
    disk.heal();
    a.sync_data().unwrap();
}

#[test]
fn reads_can_lie() {
    let disk = SimDisk::new(1);
    let file = settle(&disk, "a", &[0; 100]);
    let mut buf = [0u8; 100];
    disk.inject(Fault::new(Call::Read, Failure::FlippedBit));
    disk.inject(Fault::new(Call::Read, Failure::ShortRead).nth(3));
    file.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!(buf.iter().map(|b| b.count_ones()).sum::<u32>(), 1);
    file.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!(buf, [0; 100], "the disk has it right");
    assert_eq!(file.read_exact_at(&mut buf, 0).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    disk.flip_bit("a", 7, 3).unwrap();
    file.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!(buf[7], 8);
    assert_eq!(disk.crash(NOTHING).contents("a").unwrap()[7], 8);
}

#[test]
fn writes_can_get_lost_or_land_elsewhere() {
    let disk = SimDisk::new(1);
    let file = settle(&disk, "a", b"........");
    disk.inject(Fault::new(Call::Write, Failure::Lost));
    disk.inject(Fault::new(Call::Write, Failure::Misdirected { by: 4 }).nth(2));
    file.write_all_at(b"xx", 0).unwrap();
    file.write_all_at(b"yy", 0).unwrap();
    assert_eq!(disk.contents("a").unwrap(), b"....yy..");
}

#[test]
fn a_full_disk_takes_what_fits_and_has_room_again_after_removal() {
    let disk = SimDisk::new(1);
    let big = write_new(&disk, "big", &[1; 8192]);
    disk.set_capacity(12_288);
    assert_eq!(disk.free_bytes("".as_ref()).unwrap(), 4096);
    let file = create(&disk, "a");
    let error = file.write_all_at(&[2; 6000], 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.contents("a").unwrap().len(), 4096);
    big.write_all_at(&[3; 8192], 0).unwrap();
    drop(big);
    disk.remove_file("big".as_ref()).unwrap();
    file.write_all_at(&[2; 6000], 0).unwrap();
}

#[test]
fn zeroes_take_room_and_holes_do_not() {
    let disk = SimDisk::new(1);
    let file = create(&disk, "a");
    file.set_len(1 << 20).unwrap();
    assert_eq!(disk.used_bytes(), 0);
    file.write_zeroes(0, 1 << 20).unwrap();
    assert_eq!(disk.used_bytes(), 1 << 20);
    file.sync_data().unwrap();
    disk.set_capacity(1 << 20);
    file.write_all_at(&[1; 4096], 8192).unwrap();
}

#[test]
fn a_stopped_process_does_nothing_more() {
    let disk = SimDisk::new(1);
    disk.start_trace();
    disk.stop_after(2);
    let file = create(&disk, "a");
    file.write_all_at(b"x", 0).unwrap();
    assert_eq!(disk.step_count(), 2);
    assert!(!disk.is_stopped());
    assert!(file.sync_data().is_err());
    assert!(disk.is_stopped());
    assert!(file.read_at(&mut [0], 0).is_err() && disk.list_dir("".as_ref()).is_err());
    assert!(disk.random(&mut [0]).is_err() && disk.lock("LOCK".as_ref()).is_err());
    assert_eq!(disk.trace(), ["1 Create a", "2 Write a"]);
    let killed = disk.kill();
    assert_eq!(killed.contents("a").unwrap(), b"x", "a killed process loses nothing");
    assert_eq!(killed.pending_count(), 2);
    assert!(disk.crash(NOTHING).files().is_empty());
}

#[test]
fn locks_are_exclusive_and_end_with_the_guard_or_the_process() {
    let disk = SimDisk::new(1);
    let guard = disk.lock("LOCK".as_ref()).unwrap();
    match disk.lock("LOCK".as_ref()) {
        Err(error @ LockError::Held { holder: Some(1), .. }) => {
            assert_eq!(error.to_string(), "LOCK is in use by process 1");
        }
        other => panic!("{other:?}"),
    }
    disk.kill().lock("LOCK".as_ref()).unwrap();
    drop(guard);
    disk.lock("LOCK".as_ref()).unwrap();
}

#[test]
fn open_modes_and_errors() {
    let disk = SimDisk::new(1);
    let kind = |path: &str, mode| disk.open(path.as_ref(), mode).err().map(|e| e.kind());
    assert_eq!(kind("a", OpenMode::Read), Some(io::ErrorKind::NotFound));
    assert_eq!(kind("a", OpenMode::Write), Some(io::ErrorKind::NotFound));
    assert_eq!(kind("no/a", OpenMode::Create), Some(io::ErrorKind::NotFound));
    assert_eq!(kind("../a", OpenMode::Create), Some(io::ErrorKind::InvalidInput));
    assert_eq!(kind("a", OpenMode::CreateNew), None);
    assert_eq!(kind("a", OpenMode::CreateNew), Some(io::ErrorKind::AlreadyExists));
    let file = disk.open("a".as_ref(), OpenMode::Read).unwrap();
    assert_eq!(file.write_all_at(b"x", 0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(disk.list_dir("".as_ref()).unwrap(), ["a"]);
    assert!(disk.list_dir("a".as_ref()).is_err());
}

#[test]
fn clock_and_chance_are_the_seeds() {
    let (one, two) = (SimDisk::new(9), SimDisk::new(9));
    let draw = |disk: &SimDisk| {
        let mut out = [0; 21];
        disk.random(&mut out).unwrap();
        out
    };
    assert_eq!(draw(&one), draw(&two));
    let first = one.now_ms();
    assert_eq!(one.now_ms(), first);
    one.sleep(std::time::Duration::from_millis(5));
    one.advance_ms(10);
    assert_eq!(one.now_ms(), first + 15);
    assert!(one.monotonic_ns() > 15_000_000);
    let crashed = one.crash(NOTHING);
    assert_eq!(crashed.now_ms(), one.now_ms());
    assert_ne!(draw(&crashed), draw(&one));
    one.reseed(1);
    two.reseed(1);
    assert_eq!(draw(&one), draw(&two));
}

/// The pattern that manifest, catalogue and key file stand on, crashed at every step in many ways.
#[test]
fn replacing_a_file_leaves_old_or_new_at_every_step() {
    let (old, new) = ([1u8; 5000], [2u8; 9000]);
    let steps = {
        let disk = SimDisk::new(3);
        settle(&disk, "m", &old);
        let before = disk.step_count();
        replace(&disk, "m".as_ref(), &new).unwrap();
        disk.step_count() - before
    };
    for stop in 0..=steps {
        let disk = SimDisk::new(3);
        settle(&disk, "m", &old);
        disk.stop_after(stop);
        let done = replace(&disk, "m".as_ref(), &new).is_ok();
        assert_eq!(done, stop == steps);
        for seed in 0..20 {
            let after = disk.crash(Crash::noisy(Keep::Random(seed), 512, seed));
            let found = read_whole(&after, "m".as_ref(), 1 << 20).unwrap();
            assert!(found == new || (!done && found == old), "step {stop} seed {seed}");
            replace(&after, "m".as_ref(), &old).unwrap();
        }
    }
}
