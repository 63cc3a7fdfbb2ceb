//! Bytes of a store flipped in turn, each of which verification finds with its place: without a key whatever a
//! checksum covers, with it the rest too.
//!
//! `STOA_DAMAGE_STRIDE=1` takes every byte of everything.
#![allow(clippy::disallowed_methods, reason = "a test looks at files and changes them as a stranger would")]

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use stoa_engine::pool::request::{GroupFields, Input, NewUser, Op, Transaction, UserRef};
use stoa_engine::{JobKind, Pool, Store, StoreOptions};

use super::*;
use crate::inspect::frames::scan;
use crate::inspect::site::{last_name, segment_number};

/// Of bytes behind the last frame of a segment, where there is nothing, one in so many is tried.
const NOTHING_STRIDE: usize = 997;
/// With the key, which is slower, one flip in so many is tried.
const KEYED_EACH: usize = 23;

fn options(data: &Path) -> StoreOptions {
    let mut options = StoreOptions::new(data);
    options.threads = false;
    options.limits.log_segment_bytes = 32 << 10;
    options.limits.log_segments_max = 2;
    options.limits.reserve_bytes = 1 << 10;
    options
}

fn commit(pool: &Pool, ops: Vec<Op>) {
    pool.commit(Transaction { ops, ..Transaction::default() }).unwrap();
}

fn create(pool: &Pool, user: u64) {
    let attrs = [("username", format!("user{user}")), ("given_name", format!("Given {user}"))];
    let attrs = attrs.map(|(name, value)| (name.into(), Input::Raw(value.into()))).into();
    commit(pool, vec![Op::UserCreate(Box::new(NewUser { attrs, ..NewUser::default() }))]);
}

/// A closed store with files of every kind.
fn store(data: &Path) {
    let mut store = Store::open(options(data)).unwrap();
    for name in ["acme", "parked"] {
        store.create_pool(name, None, None).unwrap();
        let pool = store.pool(name).unwrap();
        (0..6).for_each(|user| create(&pool, user));
        let user = UserRef::Alias { attr: "username".into(), value: "user1".into() };
        commit(&pool, vec![Op::GroupCreate { name: "staff".into(), fields: GroupFields::default() }]);
        commit(&pool, vec![Op::GroupAdd { name: "staff".into(), users: vec![user] }]);
        if name == "acme" {
            pool.flush().unwrap();
            create(&pool, 6);
            pool.flush().unwrap();
            pool.start_job(JobKind::Compact).unwrap();
            let user = UserRef::Alias { attr: "username".into(), value: "user2".into() };
            commit(&pool, vec![Op::UserDelete { user, if_version: None }]);
            pool.flush().unwrap();
        }
    }
    for user in 7..11 {
        store.close().unwrap();
        store = Store::open(options(data)).unwrap();
        create(&store.pool("acme").unwrap(), user);
    }
    store.close().unwrap();
}

fn verified(data: &Path, keys: bool) -> Report {
    let (dir, key) = (data.to_owned(), KeyArgs::default());
    verify(&Site::at(data), &VerifyArgs { dir, keys, erasure: false, pool: None, json: false, key }).unwrap()
}

/// Where a file ends to mean anything, and where it does so without a key.
///
/// 1. The contents of `LOCK`, `RESERVE` and of segments made ahead or retired mean nothing (directory.md).
/// 2. Behind the last frame of a segment there are zeroes, or what a recycled file or a torn batch left (log.md).
/// 3. The last frame of all, the seal of a clean close, is covered by the catalogue alone, which takes a key to read.
fn meaning(path: &Path, bytes: &[u8], last_segment: bool) -> (usize, usize) {
    let name = last_name(path);
    let Some(number) = segment_number(&name) else {
        let is_nothing = ["LOCK", "RESERVE", "spare.wal"].contains(&name.as_str()) || name.ends_with(".spare");
        let len = if is_nothing { 0 } else { bytes.len() };
        return (len, len);
    };
    let segment = scan(bytes, number, None);
    let frames_end = segment.end.max(4096);
    let last_at = segment.frames.last().map_or(4096, |frame| frame.offset);
    (frames_end, if last_segment { last_at } else { frames_end })
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn every_flipped_byte_is_found_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("DATA");
    store(&data);
    for keys in [false, true] {
        assert_eq!(verified(&data, keys).findings, []);
    }
    let stride = std::env::var("STOA_DAMAGE_STRIDE").ok().and_then(|text| text.parse().ok()).unwrap_or(11usize);
    let mut all = Vec::new();
    files(&data, &mut all);
    all.sort();
    let segments: Vec<_> = all.iter().filter(|path| segment_number(&last_name(path)).is_some()).cloned().collect();
    let (mut counts, mut wrong, mut tried) = (BTreeMap::<String, [usize; 2]>::new(), Vec::new(), 0);
    for path in &all {
        let bytes = std::fs::read(path).unwrap();
        let (end, keyless_end) = meaning(path, &bytes, segments.last() == Some(path));
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        let name = path.strip_prefix(&data).unwrap().to_string_lossy().into_owned();
        let kind = Path::new(&name).extension().map_or(last_name(path), |kind| kind.to_string_lossy().into_owned());
        for (at, byte) in bytes.iter().enumerate() {
            let stride = if at >= end && stride > 1 { NOTHING_STRIDE } else { stride };
            if at % stride != 0 && at >= 128 {
                continue;
            }
            tried += 1;
            file.write_all_at(&[byte ^ [1, 0x80, 0xff, 0x10][at % 4]], at as u64).unwrap();
            let mut looks = vec![(false, keyless_end)];
            if tried % KEYED_EACH == 0 || (keyless_end..end).contains(&at) {
                looks.push((true, end));
            }
            for (keys, end) in looks {
                let findings = verified(&data, keys).findings;
                // A page or frame is said by its start; of what is one whole, the checksum's place may be said.
                let is_framed = match &*kind {
                    "wal" => at >= 4096,
                    "run" | "col" | "idx" => (128..bytes.len() - 64).contains(&at),
                    _ => false,
                };
                let said_max = if is_framed { at } else { bytes.len() } as u64;
                let fits =
                    |finding: &Finding| finding.file == name && finding.offset.is_some_and(|said| said <= said_max);
                match at < end {
                    true if findings.iter().any(fits) => {
                        counts.entry(kind.clone()).or_default()[usize::from(keys)] += 1
                    }
                    false if findings.is_empty() => {}
                    _ => wrong.push(format!("{name} byte {at} keys {keys}: {findings:?}")),
                }
            }
            file.write_all_at(&[*byte], at as u64).unwrap();
        }
    }
    eprintln!("{tried} bytes flipped; found without and with the key: {counts:?}");
    assert!(wrong.is_empty(), "{} came out wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    assert!(
        ["run", "col", "idx", "frames", "wal", "STORE", "CATALOGUE", "MANIFEST"]
            .iter()
            .all(|kind| { counts.get(*kind).is_some_and(|[without, with]| *without > 30 && *with > 0) }),
        "{counts:?}"
    );
}
