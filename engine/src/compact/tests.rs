use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use roaring::RoaringBitmap;
use stoa_format::column::{Cell, ColumnKind};
use stoa_format::manifest::FilePlace;
use stoa_format::{AttrId, Keyspace, Ordinal};

use super::*;
use crate::column::{ColumnRun, ColumnStack};
use crate::index::{KeyCursor, SortedRun, SortedStack};
use crate::run::testing::Yard;
use crate::run::{Caching, ColumnShape};

const ATTR: AttrId = AttrId(64);

type Cells = BTreeMap<u64, Cell<'static>>;
type Keys = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

struct Driver<'y> {
    yard: &'y Yard,
    place: FilePlace,
    next_file: u64,
    looks_left: u32,
}

impl<'y> Driver<'y> {
    fn new(yard: &'y Yard, place: FilePlace) -> Self {
        Self { yard, place, next_file: 100, looks_left: u32::MAX }
    }
}

impl MergeDriver for Driver<'_> {
    fn new_file(&mut self) -> Result<RunWriter, RunError> {
        self.next_file += 1;
        Ok(self.yard.writer(self.next_file, self.place))
    }

    fn go_on(&mut self, _: u64) -> bool {
        self.looks_left = self.looks_left.saturating_sub(1);
        self.looks_left > 0
    }
}

fn column(yard: &Yard, file: u64, shape: ColumnShape, cells: &Cells) -> Arc<ColumnRun> {
    let mut writer = yard.writer(file, FilePlace::Column);
    writer.begin_column(ATTR, ColumnKind::Int, shape).unwrap();
    cells.iter().for_each(|(&ordinal, cell)| writer.push_cell(Ordinal(ordinal), cell).unwrap());
    ColumnRun::new(yard.open(&writer.finish().unwrap()), 0)
}

fn keys(yard: &Yard, file: u64, entries: &Keys) -> Arc<SortedRun> {
    let mut writer = yard.writer(file, FilePlace::Index);
    writer.begin_sorted(Keyspace(1), 2).unwrap();
    entries.iter().for_each(|(key, value)| writer.push_key(key, value.as_deref()).unwrap());
    SortedRun::new(yard.open(&writer.finish().unwrap()), 0)
}

fn walk(stack: &ColumnStack) -> Vec<(u64, Cell<'static>)> {
    let mut cursor = stack.cursor(Ordinal(0), Caching::Pass).unwrap();
    let mut all = Vec::new();
    while let Some((ordinal, cell)) = cursor.next().unwrap() {
        all.push((ordinal.0, cell.into_owned()));
    }
    all
}

fn cells(ordinals: std::ops::Range<u64>, count: std::ops::Range<usize>) -> impl Strategy<Value = Cells> {
    let cell = prop_oneof![5 => any::<i64>().prop_map(Cell::Int), 1 => Just(Cell::Absent)];
    prop::collection::btree_map(ordinals, cell, count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_rebased_column_holds_what_the_stack_said(
        newer in cells(0..900, 1..200),
        older in cells(0..600, 1..200),
        low in cells(50..200, 1..150),
        high in cells(300..500, 1..150),
        dead in prop::collection::btree_set(0u32..900, 0..100),
    ) {
        let yard = Yard::new(1);
        let sparse = vec![column(&yard, 1, ColumnShape::Sparse, &newer), column(&yard, 2, ColumnShape::Sparse, &older)];
        let base = vec![column(&yard, 3, ColumnShape::Dense, &high), column(&yard, 4, ColumnShape::Dense, &low)];
        let mut live = RoaringBitmap::from_iter(0..1000);
        dead.iter().for_each(|&ordinal| { live.remove(ordinal); });
        let mut driver = Driver::new(&yard, FilePlace::Column);
        let rebased = rebase(ATTR, &sparse, &base, Some(&live), 64 << 20, &|_| false, &mut driver).unwrap();

        let mut runs: Vec<_> = rebased.written.iter().map(|run| ColumnRun::new(yard.open(run), 0)).collect();
        let kept = (0..base.len()).filter(|i| !rebased.replaced.contains(i));
        runs.extend(kept.map(|i| base[i].clone()));
        let mut model: Cells = low.into_iter().chain(high).collect();
        model.extend(older);
        model.extend(newer);
        model.retain(|&ordinal, cell| *cell != Cell::Absent && live.contains(ordinal as u32));
        let walked = walk(&ColumnStack::new(Vec::new(), runs));
        // A partition that was not touched keeps its nulls and its dead.
        let said: Vec<_> = walked.into_iter().filter(|(ordinal, cell)| *cell != Cell::Absent && live.contains(*ordinal as u32)).collect();
        prop_assert_eq!(said, model.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn joined_runs_say_what_they_said(
        newest in cells(0..900, 1..200),
        newer in cells(0..900, 1..200),
        dead in prop::collection::btree_set(0u32..900, 0..100),
    ) {
        let yard = Yard::new(1);
        let runs = [column(&yard, 1, ColumnShape::Sparse, &newest), column(&yard, 2, ColumnShape::Sparse, &newer)];
        let mut live = RoaringBitmap::from_iter(0..1000);
        dead.iter().for_each(|&ordinal| { live.remove(ordinal); });
        let mut driver = Driver::new(&yard, FilePlace::Column);
        let joined = join_sparse(ATTR, &runs, Some(&live), &mut driver).unwrap().unwrap();
        let mut model = newer;
        model.extend(newest);
        for (&ordinal, cell) in &mut model {
            if dead.contains(&(ordinal as u32)) {
                *cell = Cell::Absent;
            }
        }
        let run = ColumnRun::new(yard.open(&joined), 0);
        prop_assert_eq!(walk(&ColumnStack::new(vec![run], Vec::new())), model.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn merged_keys_say_what_the_stack_said(
        runs in prop::collection::vec(prop::collection::btree_map(prop::collection::vec(0u8..5, 0..6), prop::option::of(prop::collection::vec(any::<u8>(), 0..5)), 1..150), 1..4),
        is_bottom in any::<bool>(),
    ) {
        let yard = Yard::new(1);
        let opened: Vec<_> = runs.iter().enumerate().map(|(i, entries)| keys(&yard, i as u64, entries)).collect();
        let mut model = Keys::new();
        runs.iter().rev().for_each(|entries| model.extend(entries.clone()));
        if is_bottom {
            model.retain(|_, value| value.is_some());
        }
        let mut driver = Driver::new(&yard, FilePlace::Index);
        let merged = merge_keys(Keyspace(1), 2, &opened, is_bottom, &|_| false, &mut driver).unwrap();
        let Some(merged) = merged else {
            prop_assert!(model.is_empty());
            return Ok(());
        };
        let stack = SortedStack::new(vec![SortedRun::new(yard.open(&merged), 0)]);
        let mut cursor = stack.cursors(&[], &[], Caching::Pass).unwrap().remove(0);
        for (key, value) in &model {
            prop_assert_eq!(cursor.key(), Some(&key[..]));
            let held = cursor.value().unwrap().bytes().map(<[u8]>::to_vec);
            prop_assert_eq!(&held, value);
            cursor.advance().unwrap();
        }
        prop_assert!(cursor.key().is_none());
    }
}

#[test]
fn only_touched_partitions_are_rewritten_and_big_ones_are_split() {
    let yard = Yard::new(1);
    let number = |i: u64| Cell::Int(i.wrapping_mul(0x9e37_79b9_7f4a_7c15) as i64);
    let low: Cells = (0..20_000).map(|i| (i, number(i))).collect();
    let high: Cells = (20_000..40_000).map(|i| (i, number(i))).collect();
    let base = [column(&yard, 1, ColumnShape::Dense, &low), column(&yard, 2, ColumnShape::Dense, &high)];
    let changes: Cells = (30_000..60_000).map(|i| (i, number(i + 1))).collect();
    let sparse = [column(&yard, 3, ColumnShape::Sparse, &changes)];
    let mut driver = Driver::new(&yard, FilePlace::Column);
    let rebased = rebase(ATTR, &sparse, &base, None, 150_000, &|_| false, &mut driver).unwrap();
    assert_eq!(rebased.replaced, [1]);
    assert!((2..5).contains(&rebased.written.len()), "{} files", rebased.written.len());
    assert!(rebased.written.iter().all(|run| (60_000..200_000).contains(&run.len_bytes)));
    let mut runs = vec![base[0].clone()];
    runs.extend(rebased.written.iter().map(|run| ColumnRun::new(yard.open(run), 0)));
    let stack = ColumnStack::new(Vec::new(), runs);
    for i in (0..60_000).step_by(97) {
        let expected = number(if i >= 30_000 { i + 1 } else { i });
        assert_eq!(stack.get(Ordinal(i)).unwrap(), expected);
    }
    let resealed = rebase(ATTR, &[], &base, None, 64 << 20, &|_| true, &mut driver).unwrap();
    assert_eq!((resealed.replaced.len(), resealed.written.len()), (2, 2));
}

#[test]
fn a_cancelled_merge_leaves_nothing() {
    let yard = Yard::new(1);
    let cells: Cells = (0..20_000).map(|i| (i, Cell::Int(i as i64))).collect();
    let runs = [column(&yard, 1, ColumnShape::Sparse, &cells)];
    let mut driver = Driver { looks_left: 3, ..Driver::new(&yard, FilePlace::Column) };
    let cancelled = join_sparse(ATTR, &runs, None, &mut driver);
    assert!(matches!(cancelled.map_err(|error| error.fault().clone()), Err(RunFault::Cancelled)));
    assert!(!yard.io.exists(&yard.dir().join("col/64/65.col")).unwrap());
    let nobody = RoaringBitmap::new();
    let mut driver = Driver::new(&yard, FilePlace::Column);
    let rebased = rebase(ATTR, &runs, &[], Some(&nobody), 64 << 20, &|_| false, &mut driver).unwrap();
    assert!(rebased.written.is_empty() && driver.next_file == 100);
}
