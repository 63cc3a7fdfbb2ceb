use std::path::Path;

use super::*;
use crate::inspect::testing::{Fixture, SECRETS, bytes_of, flip};

fn report(fixture: &Fixture, keys: bool) -> Report {
    report_of(fixture, keys, false)
}

fn report_of(fixture: &Fixture, keys: bool, erasure: bool) -> Report {
    let args = VerifyArgs { dir: fixture.data(), keys, erasure, pool: None, json: false, key: KeyArgs::default() };
    verify(&Site::at(&args.dir), &args).unwrap()
}

/// What is printed holds no stored value.
fn printed(report: &Report) -> String {
    let mut out = Vec::new();
    report.print_text(&mut out, true).unwrap();
    report.print_json(&mut out, true).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
    text
}

/// The finding in this file, or a panic that shows what was found.
fn finding<'r>(report: &'r Report, file: &str) -> &'r Finding {
    let found = report.findings.iter().find(|finding| finding.file.ends_with(file));
    found.unwrap_or_else(|| panic!("nothing in {file}: {}", printed(report)))
}

fn name(path: &Path) -> String {
    crate::inspect::site::last_name(path)
}

#[test]
fn a_sound_store_gives_no_finding_open_or_not() {
    let (fixture, store) = Fixture::open();
    for running in [true, false] {
        assert_eq!(Site::at(&fixture.data()).is_running(), running);
        for keys in [false, true] {
            let report = report(&fixture, keys);
            assert_eq!(report.findings, [], "running {running} keys {keys}: {}", printed(&report));
            let counts = report.pools.values().next().unwrap();
            assert!(counts.files >= 1 && counts.pages > 5 && counts.frames > 2, "{}", printed(&report));
            assert_eq!(counts.entries > 0, keys, "{}", printed(&report));
            assert_eq!(report.unchecked.is_empty(), keys, "{}", printed(&report));
        }
        if running {
            store.clone().close().unwrap();
        }
    }
}

#[test]
fn a_store_that_is_written_to_meanwhile_gives_no_finding() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let (fixture, store) = Fixture::open();
    let pool = store.pool("acme-people").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 0;
            while !stop.load(Ordering::Relaxed) {
                turn += 1;
                crate::inspect::testing::create(&pool, &[("username", &format!("user-{turn}"))]);
                if turn % 50 == 0 {
                    pool.flush().unwrap();
                }
            }
        });
        let reports: Vec<_> = (0..4).map(|turn| report(&fixture, turn % 2 == 0)).collect();
        stop.store(true, Ordering::Relaxed);
        for report in reports {
            assert_eq!(report.findings, [], "{}", printed(&report));
        }
    });
}

#[test]
fn nothing_is_changed() {
    let fixture = Fixture::closed();
    let all = || {
        let mut files = vec![fixture.data().join("STORE"), fixture.data().join("CATALOGUE"), fixture.run_file()];
        files.push(fixture.pool_dir().join("MANIFEST"));
        files.extend(fixture.segments());
        files.into_iter().map(|path| (bytes_of(&path), path)).collect::<Vec<_>>()
    };
    let before = all();
    report(&fixture, true);
    assert!(before == all());
}

#[test]
fn a_flipped_byte_in_any_file_is_found_with_its_place() {
    let fixture = Fixture::closed();
    let run = fixture.run_file();
    let segment = fixture.segments()[0].clone();
    let manifest = fixture.pool_dir().join("MANIFEST");
    let end = bytes_of(&run).len();
    let half = bytes_of(&manifest).len() / 2;
    let places = [
        (fixture.data().join("STORE"), 20, 0..1 << 20),
        (fixture.data().join("CATALOGUE"), 50, 0..1 << 20),
        (manifest.clone(), 100, 0..half),
        (manifest, half + 100, half..2 * half),
        (segment.clone(), 50, 4092..4093),
        (segment, 4096 + 100, 4096..4097),
        (run.clone(), 60, 124..125),
        (run.clone(), 200, 128..200),
        (run.clone(), end / 2, 128..end / 2 + 1),
        (run, end - 20, end - 64..end),
    ];
    for (path, offset, within) in places {
        flip(&path, offset);
        for keys in [false, true] {
            let report = report(&fixture, keys);
            let found = finding(&report, &name(&path));
            let at = found.offset.unwrap() as usize;
            assert!(within.contains(&at), "{} byte {offset}: said {at}, {}", path.display(), printed(&report));
            assert!(printed(&report).contains(found.remedy));
        }
        flip(&path, offset);
    }
    assert_eq!(report(&fixture, true).findings, []);
}

#[test]
fn with_keys_what_checksums_cannot_show_is_found() {
    let fixture = Fixture::closed();
    let run = fixture.run_file();
    let sound = bytes_of(&run);
    // A sealed byte is changed and its checksum made to fit.
    let mut bad = sound.clone();
    let sealed = u32::from_le_bytes(bad[132..136].try_into().unwrap()) as usize;
    bad[128 + 16 + 30] ^= 1;
    let sum = crc32fast::hash(&bad[132..144 + sealed]);
    bad[128..132].copy_from_slice(&sum.to_le_bytes());
    stoa_engine::io::replace(&stoa_engine::io::Disk::new(), &run, &bad).unwrap();
    assert_eq!(report(&fixture, false).findings, []);
    let with_keys = report(&fixture, true);
    let found = finding(&with_keys, &name(&run));
    assert_eq!((found.offset, found.page), (Some(128), Some(0)), "{}", printed(&with_keys));
    assert!(found.attribute.is_some());
    // A live file is gone.
    stoa_engine::io::Io::remove_file(&stoa_engine::io::Disk::new(), &run).unwrap();
    assert_eq!(report(&fixture, false).findings, []);
    assert_eq!(finding(&report(&fixture, true), &name(&run)).what, "is missing");
}

#[test]
fn a_torn_tail_is_no_finding_but_a_claim_beyond_it_makes_it_one() {
    // As after a crash: nothing was closed, and nothing claims that the last frame was durable.
    let (fixture, store) = Fixture::open();
    // An idle log is sealed after 10 ms; from then on it stays as it is.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let last = fixture.segments().pop().unwrap();
    let found = crate::inspect::frames::scan(&bytes_of(&last), number(&last), None);
    let (before, frame) = match &found.frames[..] {
        [.., before, last] => (before, last),
        _ => panic!("too few frames"),
    };
    flip(&last, frame.offset + 30);
    for keys in [false, true] {
        let report = report(&fixture, keys);
        assert_eq!(report.findings, [], "{}", printed(&report));
    }
    flip(&last, frame.offset + 30);
    flip(&last, before.offset + 30);
    assert_eq!(finding(&report(&fixture, false), &name(&last)).offset, Some(before.offset as u64));
    drop(store);
}

#[test]
fn a_missing_segment_is_found() {
    let fixture = Fixture::closed();
    for _ in 0..2 {
        stoa_engine::Store::open(stoa_engine::StoreOptions::new(fixture.data())).unwrap().close().unwrap();
    }
    let segments = fixture.segments();
    assert!(segments.len() >= 3, "a start begins a segment");
    let middle = segments.len() - 2;
    stoa_engine::io::Io::remove_file(&stoa_engine::io::Disk::new(), &segments[middle]).unwrap();
    let report = report(&fixture, false);
    assert!(finding(&report, &name(&segments[middle + 1])).what.contains("missing"), "{}", printed(&report));
}

fn number(path: &Path) -> stoa_format::SegmentNumber {
    crate::inspect::site::segment_number(&name(path)).unwrap()
}

#[test]
fn an_erasure_is_told_of_and_what_is_called_erased_must_be() {
    let (fixture, store) = Fixture::open();
    let name = store.pool_names().remove(0);
    let pool = store.pool(&name).unwrap();
    let id = pool.id();
    assert!(report(&fixture, true).erasures.is_empty(), "only where it is asked for");
    let told = report_of(&fixture, false, true);
    assert_eq!(told.erasures[&id].due_ms, None, "{}", printed(&told));
    let user = stoa_engine::pool::request::UserRef::Alias { attr: "username".into(), value: "bo.hopper".into() };
    let ops = vec![stoa_engine::pool::request::Op::UserDelete { user, if_version: None }];
    pool.commit(stoa_engine::pool::request::Transaction { ops, ..Default::default() }).unwrap();
    // From the log alone, then from the manifest.
    for flushed in [false, true] {
        if flushed {
            pool.flush().unwrap();
        }
        let told = report_of(&fixture, false, true);
        assert_eq!(told.findings, [], "{}", printed(&told));
        assert_eq!(told.erasures[&id].up_to, Some(pool.seq()), "{}", printed(&told));
        assert!(printed(&told).contains("are to be gone by 2"), "{}", printed(&told));
    }
    drop(pool);
    store.close().unwrap();
}
