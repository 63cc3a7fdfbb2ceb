use std::collections::BTreeMap;

use proptest::prelude::*;
use stoa_format::Keyspace;
use stoa_format::manifest::FilePlace;

use super::*;
use crate::run::testing::Yard;

type Model = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn write(yard: &Yard, file: u64, filter_prefix: u16, entries: &Model) -> Arc<SortedRun> {
    let mut writer = yard.writer(file, FilePlace::Index);
    writer.begin_sorted(Keyspace(1), filter_prefix).unwrap();
    for (key, value) in entries {
        writer.push_key(key, value.as_deref()).unwrap();
    }
    SortedRun::new(yard.open(&writer.finish().unwrap()), 0)
}

fn stack(yard: &Yard, filter_prefix: u16, runs: &[Model]) -> (SortedStack, Model) {
    let mut model = Model::new();
    let mut sorted = Vec::new();
    for (file, entries) in runs.iter().enumerate() {
        if !entries.is_empty() {
            sorted.push(write(yard, file as u64, filter_prefix, entries));
        }
    }
    runs.iter().rev().for_each(|entries| model.extend(entries.clone()));
    (SortedStack::new(sorted), model)
}

fn walk(mut cursor: impl KeyCursor) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    while let Some(key) = cursor.key() {
        let value = cursor.value().unwrap().bytes().map(<[u8]>::to_vec);
        all.push((key.to_vec(), value));
        cursor.advance().unwrap();
    }
    all
}

fn check(stack: &SortedStack, model: &Model, probes: &[Vec<u8>], prefix: usize) {
    for key in probes.iter().chain(model.keys().take(400)) {
        let expected = match model.get(key) {
            None => Found::Missing,
            Some(None) => Found::Tombstone,
            Some(Some(value)) => Found::Value(value.clone()),
        };
        assert_eq!(stack.get(key).unwrap(), expected, "{key:?}");
        if key.len() >= prefix && model.contains_key(key) {
            assert!(stack.may_hold(&key[..prefix]).unwrap());
        }
    }
    for from in probes.iter().take(5).chain([&vec![]]) {
        let live = model.range(from.clone()..).filter(|(_, v)| v.is_some()).map(|(k, v)| (k.clone(), v.clone()));
        assert_eq!(walk(stack.range(from, Caching::Keep).unwrap()), live.collect::<Vec<_>>());
        let all = MergeCursor::new(stack.cursors(&[], from, Caching::Pass).unwrap(), false).unwrap();
        let expected: Vec<_> = model.range(from.clone()..).map(|(k, v)| (k.clone(), v.clone())).collect();
        assert_eq!(walk(all), expected);
        let down = stack.cursors_down(from, Caching::Keep).unwrap();
        let down = MergeCursor::in_direction(down, Direction::Descending, false).unwrap();
        let expected: Vec<_> = model.range(..from.clone()).rev().map(|(k, v)| (k.clone(), v.clone())).collect();
        assert_eq!(walk(down), expected);
    }
}

fn entries(max: usize, key_bytes: std::ops::Range<usize>) -> impl Strategy<Value = Model> {
    let value = prop_oneof![5 => prop::collection::vec(any::<u8>(), 0..9).prop_map(Some), 1 => Just(None)];
    prop::collection::btree_map(prop::collection::vec(0u8..4, key_bytes), value, 0..max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_lower_bound_is_where_a_search_finds_it(
        mut numbers in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..50, (0u32..64).prop_map(|bit| 1 << bit)], 0..200),
        sought in prop_oneof![any::<u64>(), 0u64..60],
    ) {
        numbers.sort_unstable();
        for sought in numbers.iter().copied().chain([sought]) {
            prop_assert_eq!(lower_bound(&numbers, sought), numbers.partition_point(|&n| n < sought));
            let ascending = Ascending::new(numbers.clone());
            prop_assert_eq!(ascending.lower_bound(sought), numbers.partition_point(|&n| n < sought));
        }
    }

    #[test]
    fn a_stack_answers_as_its_model(
        runs in prop::collection::vec(entries(300, 0..9), 1..4),
        probes in prop::collection::vec(prop::collection::vec(0u8..5, 0..10), 1..40),
        prefix in 0u16..6,
    ) {
        let yard = Yard::new(1);
        let (stack, model) = stack(&yard, prefix, &runs);
        check(&stack, &model, &probes, usize::from(prefix));
    }
}

/// Keys of an alias index: hash and ordinal; some hashes have several ordinals.
fn alias(i: u64, ordinal: u64) -> Vec<u8> {
    let hash = xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes());
    [&[0, 64][..], &hash.to_be_bytes(), &ordinal.to_be_bytes()].concat()
}

#[test]
fn many_pages_answer_as_their_model() {
    let yard = Yard::new(1);
    let old: Model = (0..60_000).map(|i| (alias(i / 2, i), Some(vec![]))).collect();
    let new: Model = (0..20_000).map(|i| (alias(i, i * 2), (i % 3 == 0).then(Vec::new))).collect();
    let (stack, model) = stack(&yard, 10, &[new, old]);
    let probes: Vec<_> = (0..400).map(|i| alias(i * 77 + 29_900, i)).collect();
    check(&stack, &model, &probes, 10);
    // Of hashes that are not there, the filters let few pass.
    let passed = (100_000..110_000).filter(|&i| stack.may_hold(&alias(i, 0)[..10]).unwrap()).count();
    assert!(passed < 500, "{passed} of 10,000 absent hashes passed two filters");
}

#[test]
fn long_and_short_keys_answer_as_their_model() {
    let yard = Yard::new(1);
    let key = |i: u32| format!("{:05}{}", i * 7919 % 99_991, "name ".repeat(i as usize % 60)).into_bytes();
    let entries: Model = (0..9_000).map(|i| (key(i), (i % 9 != 0).then(|| vec![i as u8; i as usize % 50]))).collect();
    let probes: Vec<_> = (0..300).map(|i| key(i * 31 + 7)).collect();
    let (stack, model) = stack(&yard, 3, &[entries]);
    check(&stack, &model, &probes, 3);
}

#[test]
fn an_empty_stack_has_nothing() {
    let stack = SortedStack::default();
    assert_eq!(stack.get(b"key").unwrap(), Found::Missing);
    assert!(!stack.may_hold(b"key").unwrap());
    assert!(stack.range(b"", Caching::Keep).unwrap().key().is_none());
}
