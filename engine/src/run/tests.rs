use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use stoa_format::column::{Cell, ColumnKind};
use stoa_format::manifest::FilePlace;
use stoa_format::run::{FRAME_BYTES, HEADER_BYTES, NONCE_BYTES, PageFrame, SectionId};
use stoa_format::{AttrId, Keyspace, Ordinal};

use super::testing::Yard;
use super::*;
use crate::column::ColumnRun;
use crate::index::{Found, SortedRun};
use crate::keys::DataKey;

const ATTR: AttrId = AttrId(64);
const KEYS: Keyspace = Keyspace(1);

fn email(i: u64) -> Cell<'static> {
    Cell::Bytes(format!("user{i}@example.org").into_bytes().into())
}

/// A flush of a sparse column, a dense one and a filtered keyspace, of several pages each.
fn flush(yard: &Yard) -> FinishedRun {
    let mut writer = yard.writer(1, FilePlace::Flush);
    writer.begin_column(ATTR, ColumnKind::Bytes, ColumnShape::Sparse).unwrap();
    for i in 0..2000 {
        writer.push_cell(Ordinal(i * 3), &if i % 7 == 0 { Cell::Absent } else { email(i) }).unwrap();
    }
    writer.begin_column(AttrId(3), ColumnKind::Int, ColumnShape::Dense).unwrap();
    for i in 0..2000 {
        writer.push_cell(Ordinal(i), &Cell::Int(i as i64 * 1_000_003)).unwrap();
    }
    writer.begin_column(AttrId(65), ColumnKind::Bytes, ColumnShape::Sparse).unwrap();
    writer.begin_sorted(KEYS, 4).unwrap();
    for i in 0..3000u64 {
        let value = (i % 5 != 0).then(|| i.to_le_bytes());
        writer.push_key(&(i << 33).to_be_bytes(), value.as_ref().map(|v| &v[..])).unwrap();
    }
    writer.finish().unwrap()
}

/// Reads all of what [`flush`] wrote; the first error, if any read fails. Panics at a wrong answer.
fn fault_of<T>(result: Result<T, RunError>) -> RunFault {
    result.err().expect("a refusal").fault().clone()
}

fn read_all(file: &std::sync::Arc<RunFile>) -> Result<(), RunError> {
    let mut first_error = Ok(());
    let mut note = |result: Result<(), RunError>| {
        if first_error.is_ok() {
            first_error = result;
        }
    };
    let column = ColumnRun::new(file.clone(), 0);
    for ordinal in 0..6003 {
        let expected = match ordinal {
            _ if ordinal % 3 != 0 || ordinal >= 6000 => Cell::Missing,
            _ if ordinal % 21 == 0 => Cell::Absent,
            _ => email(ordinal / 3),
        };
        note(column.with(Ordinal(ordinal), |cell| assert_eq!(cell, expected, "ordinal {ordinal}")));
    }
    note(column.ordinals().map(|set| assert!(set.contains(3) && !set.contains(4))));
    let numbers = ColumnRun::new(file.clone(), 1);
    for ordinal in 0..2000 {
        note(numbers.with(Ordinal(ordinal), |cell| assert_eq!(cell, Cell::Int(ordinal as i64 * 1_000_003))));
    }
    let keys = SortedRun::new(file.clone(), 2);
    for i in 0..3001u64 {
        let expected = match i {
            3000 => Found::Missing,
            _ if i % 5 == 0 => Found::Tombstone,
            _ => Found::Value(i.to_le_bytes().to_vec()),
        };
        note(keys.get(&(i << 33).to_be_bytes()).map(|found| assert_eq!(found, expected, "key {i}")));
        note(keys.get(&((i << 33) + 1).to_be_bytes()).map(|found| assert_eq!(found, Found::Missing)));
    }
    first_error
}

#[test]
fn what_was_written_is_read() {
    let yard = Yard::new(1);
    let run = flush(&yard);
    assert_eq!(run.sections.len(), 3, "the section without entries is left out");
    assert_eq!(run.sections[0].entries, 2000);
    assert_eq!(run.sections[0].empty_entries, 286);
    assert_eq!((run.sections[0].first_ordinal, run.sections[0].last_ordinal), (0, 5997));
    assert_eq!(run.sections[2].empty_entries, 600);
    let file = yard.open(&run);
    assert_eq!(file.section_ids().unwrap()[2], SectionId::Sorted(KEYS));
    read_all(&file).unwrap();
    let mut findings = Vec::new();
    let pages = file.verify(&mut findings);
    assert!(pages > 5 && findings.is_empty(), "{findings:?}");
    let path = yard.dir().join(run.identity.name());
    let checked = check_sums(&*yard.io, &path, file.name(), &mut findings).unwrap();
    assert_eq!((checked, findings.len()), (pages + 1, 0));
}

#[test]
fn a_small_budget_and_one_open_file_change_nothing() {
    let limits = RunLimits { page_cache_bytes: 1, open_files_max: 1 };
    let yard = Yard::with_limits(1, limits);
    let run = flush(&yard);
    let (one, other) = (yard.open(&run), yard.open(&run));
    read_all(&one).unwrap();
    read_all(&other).unwrap();
    assert_eq!(yard.env.handles().open_count(), 1);
    drop((one, other));
    assert_eq!(yard.env.handles().open_count(), 0);
    assert_eq!(yard.env.cache().settled_bytes(), 0);
}

#[test]
fn a_file_does_not_open_under_another_key_salt_or_root() {
    let yard = Yard::new(1);
    let run = flush(&yard);
    let right = run.file_ref(1);
    let mut salt = right.clone();
    salt.salt[0] ^= 1;
    assert!(matches!(fault_of(yard.open_ref(&salt).section_ids()), RunFault::Key { .. }));
    let mut root = right.clone();
    root.root[0] ^= 1;
    assert!(matches!(fault_of(yard.open_ref(&root).section_ids()), RunFault::Damaged { .. }));
    let mut epoch = right.clone();
    epoch.key_epoch.0 += 1;
    assert!(matches!(fault_of(yard.open_ref(&epoch).section_ids()), RunFault::Damaged { .. }));
    let other = RunFile::new(&yard.env, yard.dir(), testing::POOL, &right, &DataKey::from_bytes(&[2; 32]));
    assert!(matches!(fault_of(other.section_ids()), RunFault::Key { .. }));
}

#[test]
fn a_page_of_an_older_file_in_its_place_is_refused() {
    let yard = Yard::new(1);
    let run = flush(&yard);
    let bytes = yard.bytes(&run);
    // Another file of the same id, key and salt would be needed; a page of the same file at another place is
    // the nearest that an attacker without the key can make.
    let frame = |at: usize| PageFrame::decode(&bytes[at..]).unwrap();
    let first = HEADER_BYTES;
    let second = first + FRAME_BYTES + frame(first).sealed_bytes as usize;
    let mut swapped = bytes.clone();
    let (a, b) = (frame(first).sealed_bytes as usize, frame(second).sealed_bytes as usize);
    let len = a.min(b);
    swapped[first + FRAME_BYTES..first + FRAME_BYTES + len]
        .copy_from_slice(&bytes[second + FRAME_BYTES..second + FRAME_BYTES + len]);
    let head = PageFrame { sealed_bytes: a as u32, ..frame(first) };
    let sealed = swapped[first + FRAME_BYTES..first + FRAME_BYTES + a].to_vec();
    swapped[first..first + FRAME_BYTES].copy_from_slice(&head.encode(&sealed));
    yard.overwrite(&run, &swapped);
    let error = read_all(&yard.open(&run)).unwrap_err();
    assert_eq!(error.to_string(), "flush/1.run page 0 (offset 128): is not the page that the footer names");
}

#[test]
fn a_retired_file_goes_with_its_last_reader() {
    let yard = Yard::new(1);
    let run = flush(&yard);
    let path = yard.dir().join(run.identity.name());
    let (file, reader) = (yard.open(&run), ColumnRun::new(yard.open(&run), 0));
    drop(file);
    assert!(yard.io.exists(&path).unwrap());
    reader.file().retire();
    assert_eq!(reader.get(Ordinal(3)).unwrap(), email(1));
    drop(reader);
    assert!(!yard.io.exists(&path).unwrap());
}

#[test]
fn an_unfinished_file_is_removed_and_rules_are_kept() {
    let yard = Yard::new(1);
    let mut writer = yard.writer(9, FilePlace::Column);
    let path = yard.dir().join("col/64/9.col");
    assert!(writer.push_cell(Ordinal(1), &Cell::Int(1)).is_err());
    writer.begin_column(ATTR, ColumnKind::Int, ColumnShape::Dense).unwrap();
    assert!(writer.push_key(b"key", None).is_err());
    writer.push_cell(Ordinal(5), &Cell::Int(1)).unwrap();
    assert!(writer.push_cell(Ordinal(5), &Cell::Int(1)).is_err());
    assert!(writer.push_cell(Ordinal(1 << 32), &Cell::Int(1)).is_err());
    writer.begin_sorted(KEYS, 0).unwrap();
    for i in 0..100_000u32 {
        writer.push_key(&i.to_be_bytes(), None).unwrap();
        assert!(writer.push_key(&i.to_be_bytes(), None).is_err());
    }
    assert!(yard.io.exists(&path).unwrap());
    assert!(
        RunWriter::create(&yard.io, yard.dir(), yard.identity(9, FilePlace::Column), &yard.key, &yard.hedge).is_err()
    );
    drop(writer);
    assert!(!yard.io.exists(&path).unwrap());
}

#[test]
fn no_nonce_is_used_twice() {
    let yard = Yard::new(1);
    let mut nonces = HashSet::new();
    for _ in 0..2 {
        let run = flush(&yard);
        let bytes = yard.bytes(&run);
        let mut at = HEADER_BYTES;
        while let Ok(frame) = PageFrame::decode(&bytes[at..]) {
            assert!(nonces.insert(bytes[at + FRAME_BYTES..at + FRAME_BYTES + NONCE_BYTES].to_vec()));
            at += FRAME_BYTES + frame.sealed_bytes as usize;
            if at + 64 >= bytes.len() {
                break;
            }
        }
        yard.io.remove_file(&yard.dir().join(run.identity.name())).unwrap();
    }
    assert!(nonces.len() > 10);
}

/// Dropping a salt makes its file unreadable: no other file may have the same.
#[test]
fn no_salt_is_used_twice() {
    let yard = Yard::new(1);
    let mut salts = HashSet::new();
    for _ in 0..3 {
        let run = flush(&yard);
        assert!(salts.insert(run.salt));
        yard.io.remove_file(&yard.dir().join(run.identity.name())).unwrap();
    }
}

#[test]
fn no_value_is_on_the_disk_in_the_clear() {
    let yard = Yard::new(1);
    let bytes = yard.bytes(&flush(&yard));
    for text in [&b"example"[..], b"user17", b"@exam"] {
        assert!(!bytes.windows(text.len()).any(|window| window == text));
    }
}

#[test]
fn a_cut_file_is_refused_at_every_length() {
    let yard = Yard::new(1);
    let run = flush(&yard);
    let bytes = yard.bytes(&run);
    for len in [0, 1, 127, 128, 5000, bytes.len() - 65, bytes.len() - 64, bytes.len() - 1] {
        yard.overwrite(&run, &bytes[..len]);
        assert!(matches!(fault_of(yard.open(&run).section_ids()), RunFault::Damaged { .. }), "cut to {len}");
        let mut findings = Vec::new();
        let path = yard.dir().join(run.identity.name());
        check_sums(&*yard.io, &path, &run.identity.name().into(), &mut findings).unwrap();
        assert!(!findings.is_empty(), "cut to {len}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever byte is flipped: an error that names the file, or the answers that were written.
    #[test]
    fn damage_is_never_a_wrong_answer(at in any::<prop::sample::Index>(), mask in 1u8..) {
        let yard = Yard::new(1);
        let run = flush(&yard);
        let mut bytes = yard.bytes(&run);
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        yard.overwrite(&run, &bytes);
        let file = yard.open(&run);
        let error = read_all(&file).expect_err("every byte of a file counts");
        prop_assert!(error.to_string().starts_with("flush/1.run"), "{}", error);
        let mut findings = Vec::new();
        file.verify(&mut findings);
        prop_assert!(!findings.is_empty());
        findings.clear();
        check_sums(&*yard.io, &yard.dir().join(run.identity.name()), file.name(), &mut findings).unwrap();
        prop_assert!(!findings.is_empty());
    }
}

/// A page's worth of entries is all that a writer holds, whatever the file's size.
#[test]
fn the_directory_covers_every_page_once() {
    let yard = Yard::new(1);
    let file = yard.open(&flush(&yard));
    let mut ends = BTreeMap::new();
    for section in file.sections().unwrap() {
        for entry in &section.section.pages {
            ends.insert(entry.offset, entry.offset + FRAME_BYTES as u64 + u64::from(entry.sealed_bytes));
        }
    }
    let mut at = HEADER_BYTES as u64;
    for (start, end) in ends {
        assert_eq!(start, at);
        at = end;
    }
}
