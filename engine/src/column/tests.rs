use std::collections::BTreeMap;

use proptest::prelude::*;
use stoa_format::manifest::FilePlace;
use stoa_format::{AttrId, KeyEpoch};

use super::*;
use crate::run::testing::Yard;
use crate::run::{ColumnShape, FinishedRun, RunLimits};

type Model = BTreeMap<u64, Cell<'static>>;

fn write_run(yard: &Yard, file: u64, shape: ColumnShape, cells: &Model) -> FinishedRun {
    let mut writer = yard.writer(file, FilePlace::Column);
    writer.begin_column(AttrId(64), ColumnKind::Bytes, shape).unwrap();
    for (&ordinal, cell) in cells {
        writer.push_cell(Ordinal(ordinal), cell).unwrap();
    }
    let run = writer.finish().unwrap();
    assert_eq!(run.identity.key_epoch, KeyEpoch(1));
    run
}

fn write(yard: &Yard, file: u64, shape: ColumnShape, cells: &Model) -> Arc<ColumnRun> {
    ColumnRun::new(yard.open(&write_run(yard, file, shape, cells)), 0)
}

fn text(text: impl Into<String>) -> Cell<'static> {
    Cell::Bytes(text.into().into_bytes().into())
}

/// A stack of two sparse runs over two partitions, and what it must answer.
fn stack(yard: &Yard, newest: Model, newer: Model, base: Model) -> (ColumnStack, Model) {
    let mut model = base.clone();
    model.extend(newer.clone());
    model.extend(newest.clone());
    let (mut low, mut high) = (base.clone(), base);
    low.retain(|&ordinal, _| ordinal < 5_000);
    high.retain(|&ordinal, _| ordinal >= 5_000);
    let mut sparse = Vec::new();
    for (file, cells) in [(1, &newest), (2, &newer)] {
        if !cells.is_empty() {
            sparse.push(write(yard, file, ColumnShape::Sparse, cells));
        }
    }
    let mut partitions = Vec::new();
    for (file, cells) in [(3, &high), (4, &low)] {
        if !cells.is_empty() {
            partitions.push(write(yard, file, ColumnShape::Dense, cells));
        }
    }
    (ColumnStack::new(sparse, partitions), model)
}

fn check(stack: &ColumnStack, model: &Model, from: u64) {
    for ordinal in (0..10_000).step_by(37).chain(model.keys().copied().take(300)) {
        let expected = model.get(&ordinal).cloned().unwrap_or(Cell::Missing);
        assert_eq!(stack.get(Ordinal(ordinal)).unwrap(), expected, "ordinal {ordinal}");
        if let Some(run) = stack.run_of(Ordinal(ordinal)).unwrap() {
            assert_eq!(run.get(Ordinal(ordinal)).unwrap(), expected);
            let guard = Guard::new();
            let mut found = run.find_cell(Ordinal(ordinal), &guard).unwrap();
            found.look();
            assert_eq!(found.with_in(&mut Vec::new(), |cell| cell.into_owned()).unwrap(), expected);
        }
    }
    let wanted: Vec<_> = (0..10_000).step_by(11).map(Ordinal).collect();
    let mut got = Vec::new();
    stack.get_many(&wanted, |ordinal, cell| got.push((ordinal, cell.into_owned()))).unwrap();
    let expected: Vec<_> = wanted.iter().map(|o| (*o, model.get(&o.0).cloned().unwrap_or(Cell::Missing))).collect();
    assert_eq!(got, expected);

    let mut cursor = stack.cursor(Ordinal(from), Caching::Pass).unwrap();
    let mut walked = Vec::new();
    while let Some((ordinal, cell)) = cursor.next().unwrap() {
        walked.push((ordinal.0, cell.into_owned()));
    }
    let expected: Vec<_> = model.range(from..).map(|(o, c)| (*o, c.clone())).collect();
    assert_eq!(walked, expected);

    let even = |cell: &Cell<'_>| cell.bytes().is_some_and(|b| b.len() % 2 == 0);
    let any = |cell: &Cell<'_>| *cell != Cell::Absent;
    let (mut passes, mut never) = (|bytes: &[u8]| bytes.len() % 2 == 0, |_: &[u8]| false);
    let nothing = |_: &Cell<'_>| false;
    let ways: [(&dyn Fn(&Cell<'_>) -> bool, Look, Sought<'_>); 4] = [
        (&even, Look::Read, Sought::Bytes(&mut passes)),
        (&any, Look::All, Sought::Bytes(&mut never)),
        (&any, Look::Read, Sought::Any),
        (&nothing, Look::Pass, Sought::Any),
    ];
    for (wanted, look, mut sought) in ways {
        let to = 9_000.max(from);
        let found = stack.find(from..=to, Caching::Keep, |_| look, &mut sought).unwrap();
        let expected: Vec<_> = model.range(from..=to).filter(|(_, c)| wanted(c)).map(|(o, _)| *o as u32).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    }
}

fn cells(max: usize) -> impl Strategy<Value = Model> {
    let cell = prop_oneof![6 => "[a-z]{0,12}".prop_map(text), 1 => Just(Cell::Absent)];
    prop::collection::btree_map(0u64..10_000, cell, 0..max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_stack_answers_as_its_model(newest in cells(60), newer in cells(300), base in cells(2_000), from in 0u64..10_500) {
        let yard = Yard::new(1);
        let (stack, model) = stack(&yard, newest, newer, base);
        check(&stack, &model, from);
    }
}

#[test]
fn many_pages_answer_as_their_model() {
    let yard = Yard::with_limits(1, RunLimits { page_cache_bytes: 100_000, open_files_max: 2 });
    let base: Model = (0..10_000).map(|i| (i, text(format!("value number {i} of the base, long enough")))).collect();
    let newer: Model = (0..10_000).step_by(3).map(|i| (i, text(format!("newer {i}")))).collect();
    let newest: Model = (4_000..6_000).map(|i| (i, if i % 2 == 0 { Cell::Absent } else { text("x") })).collect();
    let (stack, model) = stack(&yard, newest, newer, base);
    for from in [0, 4_999, 5_000, 9_999, 10_000] {
        check(&stack, &model, from);
    }
    assert!(yard.env.cache().settled_bytes() < 150_000);
}

#[test]
fn an_empty_stack_knows_nothing() {
    let stack = ColumnStack::default();
    assert_eq!(stack.get(Ordinal(3)).unwrap(), Cell::Missing);
    assert!(stack.cursor(Ordinal(0), Caching::Keep).unwrap().next().unwrap().is_none());
    stack.get_many(&[Ordinal(1)], |_, cell| assert_eq!(cell, Cell::Missing)).unwrap();
}

const ADDRESSES: u64 = 120_000;

/// What fills pages of which one of sixteen has the symbols.
fn addresses() -> Model {
    let address = |i: u64| text(format!("user{}.{}@example.org", i * 7919 % 99_991, i % 7));
    (0..ADDRESSES).map(|i| (i, address(i))).collect()
}

#[test]
fn pages_that_refer_to_symbols_are_read_in_any_order() {
    let (yard, model) = (Yard::new(1), addresses());
    let run = write_run(&yard, 1, ColumnShape::Dense, &model);
    let pages = ColumnRun::new(yard.open(&run), 0).opened().unwrap().pages.data_pages;
    assert!(pages > 32, "{pages}");
    // Each first: no other page is open, and no symbols are known.
    for ordinal in (0..ADDRESSES).step_by(ADDRESSES as usize / pages) {
        let column = ColumnRun::new(yard.open(&run), 0);
        assert_eq!(column.get(Ordinal(ordinal)).unwrap(), model[&ordinal]);
    }
    let column = ColumnRun::new(yard.open(&run), 0);
    for ordinal in (0..ADDRESSES).rev().step_by(97) {
        assert_eq!(column.get(Ordinal(ordinal)).unwrap(), model[&ordinal]);
    }
}

#[test]
fn a_damaged_page_with_symbols_takes_no_more_than_those_that_refer_to_it() {
    let (yard, model) = (Yard::new(1), addresses());
    let run = write_run(&yard, 1, ColumnShape::Dense, &model);
    let (firsts, at) = {
        let column = ColumnRun::new(yard.open(&run), 0);
        let opened = column.opened().unwrap();
        (opened.first_ordinals.clone(), opened.pages.data()[16].offset)
    };
    let mut bytes = yard.bytes(&run);
    bytes[at as usize + 1000] ^= 1;
    yard.overwrite(&run, &bytes);
    for (page, first) in firsts.iter().enumerate() {
        let read = ColumnRun::new(yard.open(&run), 0).get(Ordinal(*first));
        match (16..32).contains(&page) {
            false => assert_eq!(read.unwrap(), model[first]),
            true => assert!(read.unwrap_err().to_string().contains("page 16"), "page {page}"),
        }
    }
}
