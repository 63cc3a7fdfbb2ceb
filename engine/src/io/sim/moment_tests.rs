//! Moments and the images that they leave.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::io::{File, OpenMode};

fn open(disk: &SimDisk, path: &str) -> Arc<dyn File> {
    disk.open(path.as_ref(), OpenMode::Create).unwrap()
}

/// A durable file of dots.
fn settled(disk: &SimDisk, len: usize) -> Arc<dyn File> {
    let file = open(disk, "a");
    file.write_all_at(&vec![b'.'; len], 0).unwrap();
    file.sync_all().unwrap();
    disk.sync_dir("".as_ref()).unwrap();
    file
}

fn text(disk: &SimDisk) -> String {
    String::from_utf8(disk.contents("a").unwrap()).unwrap()
}

#[test]
fn a_recording_holds_the_moment_before_each_step() {
    let disk = SimDisk::new(1);
    let file = settled(&disk, 3);
    let before = disk.step_count();
    disk.record();
    file.write_all_at(b"x", 0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(b"y", 1).unwrap();
    let moments = disk.moments();
    let steps: Vec<u64> = moments.iter().map(Moment::step).collect();
    assert_eq!(steps, [before, before + 1, before + 2, before + 3]);
    let left = |at: usize, keep| text(&moments[at].crash(Crash::whole(keep)));
    assert_eq!(
        (left(0, Keep::All), left(1, Keep::None), left(1, Keep::All)),
        ("...".into(), "...".into(), "x..".into())
    );
    assert_eq!(
        (left(2, Keep::None), left(3, Keep::None), left(3, Keep::All)),
        ("x..".into(), "x..".into(), "xy.".into())
    );
    assert_eq!(disk.moments().len(), 1, "the recording has ended");
}

#[test]
fn the_ways_of_a_moment_meet_every_subset_of_few_writes() {
    let disk = SimDisk::new(1);
    let file = settled(&disk, 4);
    for (at, byte) in b"xyz".iter().enumerate() {
        file.write_all_at(&[*byte], at as u64).unwrap();
    }
    let moment = &disk.moments()[0];
    assert_eq!(moment.pending_count(), 3);
    let ways = moment.ways(40, 1);
    assert_eq!(ways, moment.ways(40, 1));
    assert_ne!(ways, moment.ways(40, 2));
    let noisy = |crash: &Crash| crash.tear.is_some_and(|tear| tear.noise);
    let left: BTreeSet<String> =
        ways.into_iter().filter(|way| !noisy(way)).map(|way| text(&moment.crash(way))).collect();
    assert_eq!(left.len(), 8, "{left:?}");
}

#[test]
fn shuffled_writes_land_in_any_order_and_names_in_theirs() {
    let disk = SimDisk::new(1);
    let file = settled(&disk, 1);
    file.write_all_at(b"x", 0).unwrap();
    file.write_all_at(b"y", 0).unwrap();
    disk.rename("a".as_ref(), "b".as_ref()).unwrap();
    disk.rename("b".as_ref(), "a".as_ref()).unwrap();
    let all = disk.moments().remove(0);
    let left: BTreeSet<(Vec<String>, Vec<u8>)> = (0..200)
        .map(|seed| all.crash(Crash::whole(Keep::Shuffled(seed))))
        .map(|disk| (disk.files(), disk.contents(&disk.files()[0]).unwrap()))
        .collect();
    let contents: BTreeSet<&[u8]> = left.iter().map(|(_, content)| &content[..]).collect();
    assert_eq!(contents, BTreeSet::from([&b"."[..], b"x", b"y"]));
    assert!(left.iter().all(|(files, _)| files == &["a"] || files == &["b"]), "{left:?}");
}

#[test]
fn equal_images_have_one_digest_however_they_came_about() {
    let (one, two) = (SimDisk::new(1), SimDisk::new(2));
    settled(&one, 9000);
    let file = settled(&two, 10_000);
    file.write_all_at(b"x", 5).unwrap();
    assert_ne!(one.image_digest(), two.image_digest());
    file.set_len(9000).unwrap();
    file.write_all_at(b".", 5).unwrap();
    assert_eq!(one.image_digest(), two.image_digest());
    two.rename("a".as_ref(), "b".as_ref()).unwrap();
    assert_ne!(one.image_digest(), two.image_digest());
}

#[test]
fn a_stale_page_is_one_of_those_written() {
    let mut met = BTreeSet::new();
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let file = settled(&disk, 3 * 4096);
        disk.inject(Fault::new(Call::Write, Failure::StalePage));
        file.write_all_at(&[b'x'; 2 * 4096], 2048).unwrap();
        assert_eq!(disk.struck_count(), 1);
        let content = disk.contents("a").unwrap();
        let fresh: Vec<bool> = content.chunks(1024).map(|piece| piece[0] == b'x').collect();
        assert!(content.chunks(1024).all(|piece| piece.iter().all(|byte| *byte == piece[0])));
        met.insert(fresh);
    }
    let stale = |pieces: std::ops::Range<usize>| -> Vec<bool> {
        (0..12).map(|piece| (2..10).contains(&piece) && !pieces.contains(&piece)).collect()
    };
    assert_eq!(met, BTreeSet::from([stale(2..4), stale(4..8), stale(8..10)]));
}

#[test]
fn a_failed_sync_may_have_written_some() {
    let mut met = BTreeSet::new();
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let file = settled(&disk, 2);
        disk.inject(Fault::new(Call::Sync, Failure::SyncWritesSome));
        file.write_all_at(b"x", 0).unwrap();
        file.write_all_at(b"y", 1).unwrap();
        file.sync_data().unwrap_err();
        assert_eq!(text(&disk), "xy", "the cache shows them");
        file.sync_data().unwrap();
        met.insert(text(&disk.crash(Crash::whole(Keep::All))));
    }
    assert_eq!(met, BTreeSet::from(["..", "x.", ".y", "xy"].map(String::from)));
}
