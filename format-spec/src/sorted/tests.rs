use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn page_of(model: &Model) -> Vec<u8> {
    let mut builder = SortedPageBuilder::new();
    for (key, value) in model {
        builder.push(key, value.as_deref()).unwrap();
    }
    let mut out = Vec::new();
    let summary = builder.finish(&mut out).unwrap();
    assert_eq!(summary.count as usize, model.len());
    assert_eq!(summary.tombstones as usize, model.values().filter(|v| v.is_none()).count());
    assert!(builder.is_empty());
    out
}

/// Reads the page in every way there is and compares with the model.
fn check(model: &Model, probes: &[Vec<u8>]) {
    let page = SortedPage::open(page_of(model)).unwrap();
    let mut position = SortedPosition::default();
    page.seek_entry(0, &mut position).unwrap();
    for (i, (key, value)) in model.iter().enumerate() {
        assert_eq!((position.entry(), position.key()), (i, &key[..]));
        assert_eq!(page.value(&position).unwrap().bytes(), value.as_deref());
        let mut other = SortedPosition::default();
        page.seek_entry(i, &mut other).unwrap();
        assert_eq!(other.key(), key);
        page.advance(&mut position).unwrap();
    }
    assert_eq!(position.entry(), page.count());
    assert!(page.value(&position).is_err());
    let shorter = |key: &Vec<u8>| key[..key.len().saturating_sub(1)].to_vec();
    let longer = |key: &Vec<u8>| [&key[..], &[0]].concat();
    let near = model.keys().flat_map(|key| [key.clone(), shorter(key), longer(key)]);
    for probe in near.chain(probes.iter().cloned()) {
        let got = page.get(&probe).unwrap();
        assert_eq!(got.map(|v| v.bytes().map(<[u8]>::to_vec)), model.get(&probe).cloned());
        page.seek(&probe, &mut position).unwrap();
        match model.range((Bound::Included(probe), Bound::Unbounded)).next() {
            Some((key, _)) => assert_eq!(position.key(), key),
            None => assert_eq!(position.entry(), page.count()),
        }
    }
}

fn value(len: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![6 => prop::collection::vec(any::<u8>(), len).prop_map(Some), 1 => Just(None)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_come_back(
        model in (1usize..20, 0usize..10).prop_flat_map(|(key, len)| prop::collection::btree_map(prop::collection::vec(prop_oneof![3 => 0u8..3, 1 => any::<u8>()], key), value(len), 1..120)),
        probes in prop::collection::vec(prop::collection::vec(0u8..4, 0..22), 0..20),
    ) {
        check(&model, &probes);
    }

    #[test]
    fn prefixed_entries_come_back(
        model in prop::collection::btree_map(prop::collection::vec(0u8..3, 0..60), prop_oneof![value(0), value(5), value(40)], 1..120),
        probes in prop::collection::vec(prop::collection::vec(0u8..4, 0..22), 0..20),
    ) {
        check(&model, &probes);
    }

    #[test]
    fn texts_with_ordinals_come_back(
        texts in prop::collection::btree_map((prop::collection::vec(97u8..100, 0..50), 0u64..1 << 40), any::<bool>(), 2..120),
        values in prop::bool::weighted(0.2),
        probes in prop::collection::vec(prop::collection::vec(97u8..101, 0..50), 0..20),
    ) {
        let key = |text: &[u8], ordinal: u64| [text, &[0, 1], &ordinal.to_be_bytes()].concat();
        let value = |is_one: bool| Some(vec![7; usize::from(values && is_one)]);
        let model: Model = texts.into_iter().map(|((text, ordinal), is_one)| (key(&text, ordinal), value(is_one))).collect();
        check(&model, &probes);
        let is_plain = model.values().flatten().all(Vec::is_empty);
        if is_plain && model.keys().any(|key| key.len() != model.keys().next().map_or(0, Vec::len)) {
            prop_assert_eq!(page_of(&model)[0], 3);
        }
    }

    #[test]
    fn any_bytes_are_a_page_or_an_error(mut page in prop::collection::vec(any::<u8>(), 0..300), encoding in 0u8..5, count in 0u32..40) {
        if page.len() >= 8 {
            let interval = if encoding == 2 || encoding == 3 { page[2] & 3 } else { 0 };
            let flags = if encoding == 1 { page[1] & 1 } else { 0 };
            page[..4].copy_from_slice(&[encoding, flags, interval, 0]);
            page[4..8].copy_from_slice(&count.to_le_bytes());
        }
        read_all(&page);
    }

    #[test]
    fn a_damaged_page_never_panics(wide in any::<bool>(), at in any::<prop::sample::Index>(), mask in 1u8..) {
        let key = |i: u32| if wide { format!("key {i:05} {}", "x".repeat(i as usize % 40)).into_bytes() } else { i.to_be_bytes().to_vec() };
        let mut page = page_of(&(0..100).map(|i| (key(i), Some(vec![1; 3]))).collect());
        let at = at.index(page.len());
        page[at] ^= mask;
        read_all(&page);
    }

    #[test]
    fn a_separator_separates(mut a in prop::collection::vec(0u8..3, 0..9), mut b in prop::collection::vec(0u8..3, 0..9)) {
        prop_assume!(a != b);
        if a > b { std::mem::swap(&mut a, &mut b) }
        let between = separator(&a, &b);
        prop_assert!(a < between && between <= b);
    }
}

fn read_all(bytes: &[u8]) {
    let Ok(page) = SortedPage::open(bytes) else { return };
    let mut position = SortedPosition::default();
    for probe in [&b""[..], b"key 00050", &[0, 0, 0, 50], &[255; 40]] {
        let _ = page.get(probe);
        let _ = page.seek(probe, &mut position);
    }
    for entry in 0..page.count().min(200) {
        if page.seek_entry(entry, &mut position).is_ok() {
            let _ = page.value(&position);
        }
    }
}

#[test]
fn hash_keys_lose_what_they_share() {
    // An alias index: attribute, 64-bit hash, ordinal below a million; no value.
    let mut builder = SortedPageBuilder::new();
    let mut count = 0;
    let mut hash = 0u64;
    while !builder.is_full() {
        hash += (1 << 44) + count % 7;
        let key = [&[0, 64][..], &hash.to_be_bytes(), &(count * 7919 % 1_000_000).to_be_bytes()].concat();
        builder.push(&key, Some(&[])).unwrap();
        count += 1;
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    assert!(out.len() < 17_000);
    assert!(count > 1_300, "{count} keys of 18 bytes in a page");
}

#[test]
fn a_builder_refuses_what_breaks_the_rules() {
    let mut builder = SortedPageBuilder::new();
    builder.push(b"b", None).unwrap();
    assert!(builder.push(b"b", None).is_err());
    assert!(builder.push(b"a", None).is_err());
    assert!(builder.push(&[255; KEY_BYTES_MAX + 1], None).is_err());
    assert_eq!(builder.finish(&mut Vec::new()).unwrap().count, 1);
    assert!(builder.finish(&mut Vec::new()).is_none());
}
