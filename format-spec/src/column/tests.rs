use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::run::Zone;

fn page_of(kind: ColumnKind, cells: &[(u64, Cell<'static>)]) -> (Vec<u8>, ColumnPageSummary) {
    let mut builder = ColumnPageBuilder::new(kind);
    for (ordinal, cell) in cells {
        builder.push(*ordinal, cell).unwrap();
    }
    let mut out = Vec::new();
    let summary = builder.finish(&mut out).unwrap();
    assert!(builder.is_empty());
    (out, summary)
}

/// Reads the page in every way there is and compares with what was written.
fn check(kind: ColumnKind, cells: &BTreeMap<u64, Cell<'static>>) {
    let entries: Vec<_> = cells.iter().map(|(o, c)| (*o, c.clone())).collect();
    let (bytes, summary) = page_of(kind, &entries);
    let page = ColumnPage::open(&bytes[..]).unwrap();
    let (first, last) = (entries[0].0, entries[entries.len() - 1].0);
    assert_eq!((page.first_ordinal(), page.last_ordinal(), page.count()), (first, last, entries.len()));
    assert_eq!((summary.first_ordinal, summary.last_ordinal, summary.count as usize), (first, last, entries.len()));
    let read: Vec<_> = page.cells().map(|(ordinal, cell)| (ordinal, cell.unwrap())).collect();
    assert_eq!(read, entries);
    for (ordinal, _) in &entries {
        for near in ordinal.saturating_sub(2)..=ordinal.saturating_add(2) {
            assert_eq!(page.get(near).unwrap(), cells.get(&near).cloned().unwrap_or(Cell::Missing), "ordinal {near}");
        }
    }
    let mut room = Vec::new();
    for (entry, (ordinal, cell)) in entries.iter().enumerate() {
        assert_eq!(page.view().with_entry(entry, &mut room, Cell::into_owned).unwrap(), *cell);
        assert_eq!(page.view().with_at(*ordinal, &mut room, Cell::into_owned).unwrap(), *cell);
    }
    check_finds(&page, &entries);
    for (_, cell) in &entries {
        match cell {
            Cell::Int(value) => assert!(summary.zone.may_hold_int(*value, *value)),
            Cell::Bytes(value) => assert!(summary.zone.may_hold_bytes(value)),
            _ => {}
        }
    }
}

/// Finds entries by their values, and compares with looking at each.
fn check_finds(page: &ColumnPage<&[u8]>, entries: &[(u64, Cell<'static>)]) {
    let mut scratch = Scratch::default();
    let mut check = |mut sought: Sought<'_>, wanted: &dyn Fn(&Cell<'_>) -> bool| {
        let found = page.find(&mut sought, &mut scratch).unwrap();
        assert_eq!(found.len(), entries.len().div_ceil(64));
        let ones: u32 = found.iter().map(|word| word.count_ones()).sum();
        assert_eq!(ones as usize, entries.iter().filter(|(_, cell)| wanted(cell)).count());
        for (i, (ordinal, cell)) in entries.iter().enumerate() {
            assert_eq!(found[i / 64] >> (i % 64) & 1 == 1, wanted(cell), "ordinal {ordinal}");
        }
    };
    check(Sought::Any, &|cell| *cell != Cell::Absent);
    let some = entries.iter().find_map(|(_, cell)| if let Cell::Int(value) = cell { Some(*value) } else { None });
    let some = some.unwrap_or(3);
    let most = some.saturating_add(1 << 40);
    for (min, max) in [(some, some), (i64::MIN, some), (some, i64::MAX), (some, most), (1, 0), (i64::MIN, i64::MAX)] {
        for outside in [false, true] {
            let wanted = |cell: &Cell<'_>| matches!(cell, Cell::Int(v) if (min..=max).contains(v) != outside);
            check(Sought::Ints { min, max, outside }, &wanted);
        }
    }
    let odd = |cell: &Cell<'_>| cell.bytes().is_some_and(|bytes| bytes.len() % 2 == 1);
    check(Sought::Bytes(&mut |bytes: &[u8]| bytes.len() % 2 == 1), &odd);
    let first = entries.iter().find_map(|(_, cell)| cell.bytes()).unwrap_or_default();
    check(Sought::Bytes(&mut |bytes: &[u8]| bytes == first), &|cell| cell.bytes() == Some(first));
}

/// Ascending ordinals: dense, scattered or far apart.
fn ordinals() -> impl Strategy<Value = Vec<u64>> {
    let gap = prop_oneof![Just(1u64..2), Just(1..4), Just(1..5000), Just(1..(1 << 22))];
    (0u64..1 << 40, gap).prop_flat_map(|(first, gap)| {
        prop::collection::vec(gap, 1..150).prop_map(move |gaps| {
            gaps.iter()
                .scan(first, |at, gap| {
                    *at += gap;
                    Some(*at)
                })
                .collect()
        })
    })
}

fn cells(value: impl Strategy<Value = Cell<'static>>) -> impl Strategy<Value = BTreeMap<u64, Cell<'static>>> {
    let cell = prop_oneof![8 => value, 1 => Just(Cell::Absent)];
    (ordinals(), prop::collection::vec(cell, 150))
        .prop_map(|(ordinals, cells)| ordinals.into_iter().zip(cells).collect())
}

fn bytes(value: impl Into<Vec<u8>>) -> Cell<'static> {
    Cell::Bytes(Cow::Owned(value.into()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn integers_come_back(cells in cells(prop_oneof![any::<i64>(), -9i64..9].prop_map(Cell::Int))) {
        check(ColumnKind::Int, &cells);
    }

    #[test]
    fn sixteen_bytes_come_back(cells in cells(prop_oneof![any::<[u8; 16]>(), any::<u8>().prop_map(|b| [b / 64; 16])].prop_map(Cell::Fixed16))) {
        check(ColumnKind::Fixed16, &cells);
    }

    #[test]
    fn strings_come_back(cells in cells(prop_oneof!["[a-c]{1,2}".prop_map(bytes), prop::collection::vec(any::<u8>(), 0..40).prop_map(bytes)])) {
        check(ColumnKind::Bytes, &cells);
    }

    #[test]
    fn few_distinct_strings_come_back(cells in cells((0u8..5).prop_map(|i| bytes(format!("locale-{i}"))))) {
        check(ColumnKind::Bytes, &cells);
    }

    #[test]
    fn passwords_come_back(cells in cells("(\\$argon2id\\$v=19\\$m=1,t=2,p=1\\$[A-Za-z0-9+/]{22}\\$[A-Za-z0-9+/]{43}|\\$2b\\$12\\$[./A-Za-z0-9]{53}|.{0,9})".prop_map(bytes))) {
        check(ColumnKind::Password, &cells);
    }

    #[test]
    fn any_bytes_are_a_page_or_an_error(mut page in prop::collection::vec(any::<u8>(), 0..400), encoding in 0u8..8, form in 0u8..4, count in 0u32..70_000) {
        // Random headers hardly ever get past the first checks: help them.
        if page.len() >= 24 {
            let flags = page[2] & 1;
            page[..4].copy_from_slice(&[encoding, form, flags, 0]);
            page[4..8].copy_from_slice(&count.to_le_bytes());
            page[16..24].fill(0);
            page[16..20].copy_from_slice(&count.to_le_bytes());
        }
        read_all(&page);
    }

    #[test]
    fn a_damaged_page_never_panics(seed in 0usize..4, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let (mut page, _) = sample(seed);
        for (at, mask) in flips {
            let at = at.index(page.len().min(120));
            page[at] ^= mask;
        }
        read_all(&page);
    }
}

fn sample(seed: usize) -> (Vec<u8>, ColumnPageSummary) {
    let kinds = [ColumnKind::Int, ColumnKind::Fixed16, ColumnKind::Bytes, ColumnKind::Password];
    let cell = |i: u64| match kinds[seed] {
        ColumnKind::Int => Cell::Int(i as i64 * 7),
        ColumnKind::Fixed16 => Cell::Fixed16(u128::from(i * 99).to_be_bytes()),
        ColumnKind::Bytes => bytes(format!("value {}", i % 9)),
        ColumnKind::Password => bytes(format!("$x$saltsaltsalt{:08}", i)),
    };
    let cells: Vec<_> = (0..200).map(|i| (i * (seed as u64 + 1), cell(i))).collect();
    page_of(kinds[seed], &cells)
}

fn read_all(bytes: &[u8]) {
    let Ok(page) = ColumnPage::open(bytes) else { return };
    for ordinal in [0, 1, 77, page.first_ordinal(), page.last_ordinal(), u64::MAX] {
        page.view().entry_of(ordinal).into_iter().for_each(|entry| page.view().prefetch(entry));
        let _ = page.get(ordinal);
    }
    for (_, cell) in page.cells().take(2000) {
        let _ = cell;
    }
    let mut scratch = Scratch::default();
    for sought in [&mut Sought::Any, &mut Sought::Bytes(&mut |_: &[u8]| true)] {
        let _ = page.find(sought, &mut scratch);
    }
    let _ = page.find(&mut Sought::Ints { min: 0, max: 9, outside: true }, &mut scratch);
}

#[test]
fn every_prefix_of_a_page_is_refused() {
    for seed in 0..4 {
        let (page, _) = sample(seed);
        assert!(ColumnPage::open(&page[..]).is_ok());
        for len in 0..page.len() {
            assert!(ColumnPage::open(&page[..len]).is_err(), "kind {seed} cut to {len}");
        }
    }
}

#[test]
fn pages_fill_to_their_target() {
    let mut builder = ColumnPageBuilder::new(ColumnKind::Bytes);
    let mut sizes = Vec::new();
    for i in 0..20_000u64 {
        builder.push(i, &bytes(format!("user{:06}@example.org", i * 7919 % 1_000_000))).unwrap();
        if builder.is_full() {
            let mut out = Vec::new();
            builder.finish(&mut out);
            sizes.push(out.len());
        }
    }
    // The first page is taken for learning what the others can be expected to shrink by.
    let near = PAGE_TARGET_BYTES * 3 / 4..PAGE_TARGET_BYTES * 5 / 4;
    assert!(sizes.len() > 5 && sizes[0] < PAGE_TARGET_BYTES);
    assert!(sizes[1..].iter().all(|size| near.contains(size)), "{sizes:?}");
}

#[test]
fn few_distinct_strings_take_bits() {
    let locales = ["de-DE", "en-US", "en-GB", "fr-FR", "ja-JP"];
    let mut builder = ColumnPageBuilder::new(ColumnKind::Bytes);
    for i in 0..40_000u64 {
        builder.push(i, &bytes(locales[(i % 5) as usize])).unwrap();
        assert!(!builder.is_full());
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    assert!(out.len() < 40_000 * 3 / 8 + 200);
}

#[test]
fn a_builder_refuses_what_breaks_the_rules_and_goes_on() {
    let mut builder = ColumnPageBuilder::new(ColumnKind::Int);
    builder.push(5, &Cell::Int(1)).unwrap();
    for (ordinal, cell) in
        [(5, Cell::Int(2)), (4, Cell::Int(2)), (6, Cell::Missing), (6, bytes("x")), (u64::MAX, Cell::Int(1))]
    {
        assert!(builder.push(ordinal, &cell).is_err());
    }
    assert!(builder.must_finish_before(5 + (1 << 32)));
    builder.push(6, &Cell::Absent).unwrap();
    let mut out = Vec::new();
    let summary = builder.finish(&mut out).unwrap();
    assert_eq!(summary.zone, Zone::Int { min: 1, max: 1 });
    let page = ColumnPage::open(out).unwrap();
    assert_eq!(page.get(6).unwrap(), Cell::Absent);
    assert_eq!(page.count(), 2);
}
