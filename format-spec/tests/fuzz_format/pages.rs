//! The plain text of pages: columns, sorted runs (indexes), filters.

use std::borrow::Cow;

use stoa_format::DecodeError;
use stoa_format::column::{Cell, ColumnKind, ColumnPage, ColumnPageBuilder, Scratch, Sought};
use stoa_format::sorted::{
    FilterBuilder, FilterPage, SortedPage, SortedPageBuilder, SortedPosition, SortedValue, filter_hash,
};
use stoa_fuzz::{Seen, Target};

use super::refused;

/// Entries that are looked at one by one; a page has up to 65,535.
const LOOKED_AT: usize = 300;

fn bytes(value: impl Into<Vec<u8>>) -> Cell<'static> {
    Cell::Bytes(Cow::Owned(value.into()))
}

/// A page of each encoding, in each form of ordinals.
fn column_seeds() -> Vec<Vec<u8>> {
    let cell = |what: usize, i: u64| match what {
        0 => (ColumnKind::Int, Cell::Int(i as i64 * 7 - 50)),
        1 => (ColumnKind::Fixed16, Cell::Fixed16((u128::from(i) * 99).to_be_bytes())),
        2 => (ColumnKind::Bytes, bytes(format!("value {}", i % 3))),
        3 => (ColumnKind::Bytes, bytes(format!("{i}-{}", i * 7919 % 101))),
        4 => (ColumnKind::Bytes, bytes(format!("{}.{}@example.com", "ana maria".repeat(i as usize % 3), i))),
        _ => (ColumnKind::Password, bytes(format!("$2b$12$saltsaltsaltsaltsaltsa{:031}", i * 31))),
    };
    let mut seeds = Vec::new();
    for what in 0..6 {
        for (count, step, absent) in [(9, 1, 0), (40, 3, 4), (12, 1000, 5), (1, 1, 0)] {
            let mut builder = ColumnPageBuilder::new(cell(what, 0).0);
            for i in 0..count {
                let value = if absent != 0 && i % absent == 1 { Cell::Absent } else { cell(what, i).1 };
                builder.push(1000 + i * step, &value).expect("a cell of that kind");
            }
            let mut page = Vec::new();
            builder.finish(&mut page);
            seeds.push(page);
        }
    }
    // Enough of one kind to be worth symbols.
    let mut builder = ColumnPageBuilder::new(ColumnKind::Bytes);
    for i in 0..120u64 {
        builder.push(i, &bytes(format!("https://example.com/picture/{}.png", i * 7919 % 1009))).expect("a cell");
    }
    let mut page = Vec::new();
    builder.finish(&mut page);
    seeds.push(page);
    seeds
}

fn kind_of(page: &[u8]) -> ColumnKind {
    match page.first() {
        Some(1) => ColumnKind::Int,
        Some(2) => ColumnKind::Fixed16,
        Some(5) => ColumnKind::Password,
        _ => ColumnKind::Bytes,
    }
}

/// Reads a page in all ways there are, which must agree.
fn read_column(bytes: &[u8], seen: &mut Seen) -> Result<(), DecodeError> {
    let page = ColumnPage::open(bytes)?;
    seen.note(("open", bytes[0], bytes[1], bytes[2]));
    seen.count("entries", page.count());
    let (mut room, mut cells) = (Vec::new(), Vec::new());
    let mut good = Ok(());
    for (entry, ordinal) in page.ordinals().enumerate().take(LOOKED_AT) {
        if let Some(entry) = page.view().entry_of(ordinal) {
            page.view().prefetch(entry);
            page.view().prefetch_text(entry);
        }
        match (page.entry(entry), page.view().with_entry(entry, &mut room, Cell::into_owned)) {
            (Ok(cell), Ok(same)) => {
                assert_eq!(cell, same, "two ways to read one cell");
                assert_eq!(page.view().is_absent(entry), cell == Cell::Absent);
                assert_ne!(cell, Cell::Missing, "an entry is missing");
                cells.push((ordinal, cell.into_owned()));
            }
            (Err(fault), Err(_)) => {
                refused(seen, &fault);
                good = Err(fault);
            }
            (one, other) => panic!("two ways to read one cell: {} {}", one.is_ok(), other.is_ok()),
        }
    }
    for ordinal in [0, page.first_ordinal(), page.last_ordinal(), u64::MAX] {
        let _ = page.get(ordinal);
    }
    let mut scratch = Scratch::default();
    let any = page.find(&mut Sought::Any, &mut scratch)?.to_vec();
    let _ = page.find(&mut Sought::Ints { min: 0, max: 100, outside: false }, &mut scratch);
    let mut looks = |value: &[u8]| value.len() % 2 == 0;
    let even = page.find(&mut Sought::Bytes(&mut looks), &mut scratch).map(<[u64]>::to_vec);
    good?;
    // Opening reads headers only, so ordinals of a page that no builder made may contradict each other: then nothing
    // more is promised. Tags keep such pages from being believed.
    let ascend = cells.windows(2).all(|pair| pair[0].0 < pair[1].0)
        && cells.iter().enumerate().all(|(entry, (ordinal, _))| page.view().entry_of(*ordinal) == Some(entry));
    let bit = |words: &[u64], i: usize| words[i / 64] >> (i % 64) & 1 == 1;
    for (i, (ordinal, cell)) in cells.iter().enumerate() {
        assert_eq!(bit(&any, i), *cell != Cell::Absent);
        if let (Ok(even), Some(value)) = (&even, cell.bytes()) {
            assert_eq!(bit(even, i), value.len() % 2 == 0, "what is found is not what is read");
        }
        if ascend {
            assert_eq!(page.get(*ordinal)?, *cell, "a cell is not found at its ordinal");
        }
    }
    seen.note(("read", ascend));
    if ascend && cells.len() == page.count() {
        again(kind_of(bytes), &cells);
    }
    Ok(())
}

/// What was read can be written, and reads back.
fn again(kind: ColumnKind, cells: &[(u64, Cell<'static>)]) {
    let mut builder = ColumnPageBuilder::new(kind);
    if cells.iter().any(|(ordinal, cell)| builder.push(*ordinal, cell).is_err()) {
        // Ordinals too far apart, or the last one of all: the builder says so.
        return;
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    let page = ColumnPage::open(&out[..]).expect("a page that was just built");
    assert!(page.ordinals().eq(cells.iter().map(|(ordinal, _)| *ordinal)), "other ordinals");
    for (entry, (_, cell)) in cells.iter().enumerate() {
        assert_eq!(page.entry(entry).as_ref(), Ok(cell), "another cell");
    }
}

#[test]
fn fuzz_page() {
    let run = |bytes: &[u8], seen: &mut Seen| {
        if let Err(fault) = read_column(bytes, seen) {
            refused(seen, &fault);
        }
    };
    // A page of a few bytes may name one long string 300 times: what is kept here is the test's, not the parser's.
    Target::new("page", run).seeds(column_seeds()).memory(64 + 8 * LOOKED_AT, 256 << 10).explore();
}

type Rows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn sorted_page(rows: &Rows) -> Vec<u8> {
    let mut builder = SortedPageBuilder::new();
    for (key, value) in rows {
        builder.push(key, value.as_deref()).expect("keys ascend");
    }
    let mut page = Vec::new();
    builder.finish(&mut page);
    page
}

fn sorted_seeds() -> Vec<Vec<u8>> {
    let fixed = |i: u64| (i * 0x1357_9bdf).to_be_bytes().to_vec();
    let rows: Rows = (0..30).map(|i| (fixed(i), Some(vec![i as u8; 4]))).collect();
    let dead: Rows = (0..30).map(|i| (fixed(i), (i % 3 != 0).then(|| vec![i as u8; 4]))).collect();
    let text = |i: u64| format!("name {:04}{}", i, "x".repeat(i as usize % 5)).into_bytes();
    let prefixed: Rows = (0..50).map(|i| (text(i), (i % 7 != 3).then(|| vec![i as u8; i as usize % 9]))).collect();
    let tailed: Rows =
        (0..50).map(|i| ([&text(i)[..], &[0, 1], &(i * 7).to_be_bytes()].concat(), Some(vec![]))).collect();
    [rows, dead, prefixed, tailed].iter().map(sorted_page).collect()
}

fn read_sorted(bytes: &[u8], seen: &mut Seen) -> Result<(), DecodeError> {
    let page = SortedPage::open(bytes)?;
    seen.note(("open", bytes[0], bytes[1]));
    seen.count("entries", page.count());
    let (mut position, mut rows) = (SortedPosition::default(), Rows::new());
    for key in [&b""[..], b"name 0007", &[0xff; 9], bytes] {
        let _ = (page.get(key), page.seek(key, &mut position));
    }
    let _ = page.seek_entry(page.count() - 1, &mut position);
    page.seek_entry(0, &mut position)?;
    while position.entry() < page.count().min(LOOKED_AT) {
        rows.push((position.key().to_vec(), page.value(&position)?.bytes().map(<[u8]>::to_vec)));
        page.advance(&mut position)?;
    }
    if !rows.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        seen.note("out of order");
        return Ok(());
    }
    seen.note("read");
    for (entry, (key, value)) in rows.iter().enumerate() {
        let found = page.get(key)?.as_ref().map(|value| value.bytes().map(<[u8]>::to_vec));
        if rows.len() == page.count() {
            assert_eq!(found.as_ref(), Some(value), "a key is not found");
            page.seek(key, &mut position)?;
            assert_eq!(position.entry(), entry);
        }
    }
    if rows.len() == page.count() {
        let again = sorted_page(&rows);
        let page = SortedPage::open(&again[..]).expect("a page that was just built");
        for (key, value) in &rows {
            let found = page.get(key).expect("a page that was just built");
            assert_eq!(found.as_ref().map(SortedValue::bytes), Some(value.as_deref()), "another value");
        }
    }
    Ok(())
}

#[test]
fn fuzz_index() {
    let run = |bytes: &[u8], seen: &mut Seen| {
        if let Err(fault) = read_sorted(bytes, seen) {
            refused(seen, &fault);
        }
    };
    Target::new("index", run).seeds(sorted_seeds()).memory(64 + 8 * LOOKED_AT, 64 << 10).explore();
}

#[test]
fn fuzz_index_filter() {
    let mut builder = FilterBuilder::default();
    (0..40u32).for_each(|i| builder.add(filter_hash(&i.to_be_bytes())));
    let mut page = Vec::new();
    builder.finish(&mut page);
    Target::new("index_filter", |bytes, seen| match FilterPage::open(bytes) {
        Ok(filter) => {
            let held = (0..64u32).filter(|i| filter.may_hold(filter_hash(&i.to_be_bytes()))).count();
            let _ = (filter.may_hold(0), filter.may_hold(u64::MAX));
            seen.count("held", held);
        }
        Err(fault) => refused(seen, &fault),
    })
    .seeds([page])
    .explore();
}
