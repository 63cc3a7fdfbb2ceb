//! Rows come back and are found, in buckets and without; damage is told or harmless.

use super::*;
use proptest::prelude::*;

fn block(rows: &[Vec<u8>]) -> Vec<u8> {
    let mut varying = Varying::default();
    assert!(rows.iter().all(|r| varying.add(r)));
    let mut out = Vec::new();
    varying.encode(&mut out, rows.iter().map(|r| &r[..]));
    if !rows.is_empty() {
        assert_eq!(out.len(), varying.block_bytes(rows.len()));
    }
    out
}

/// Rows of one length in which some positions never change.
fn rows() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let byte = || prop_oneof![0u8..4, any::<u8>()];
    (0usize..=32, any::<u32>()).prop_flat_map(move |(len, same)| {
        prop::collection::vec(prop::collection::vec(byte(), len), 1..60).prop_map(move |mut rows| {
            for row in &mut rows {
                row.iter_mut().enumerate().filter(|(i, _)| same >> i & 1 == 1).for_each(|(_, b)| *b = 2);
            }
            rows
        })
    })
}

/// Looks up `key`, all rows, what is beside them and halves of them.
fn check_look_ups(at: &RowsAt, page: &[u8], rows: &[Vec<u8>], key: &[u8]) -> Result<(), TestCaseError> {
    let beside = |row: &Vec<u8>| {
        let (mut below, mut above) = (row.clone(), row.clone());
        below.last_mut().iter_mut().for_each(|byte| **byte = byte.wrapping_sub(1));
        above.push(0);
        [row.clone(), below, above, row[..row.len() / 2].to_vec()]
    };
    for key in rows.iter().flat_map(beside).chain([key.to_vec()]) {
        let low = rows.partition_point(|row| *row < key);
        let KeyPlace { row, bucket, is_key } = at.lower_bound(page, &key);
        prop_assert_eq!((row, is_key), (low, rows.get(low) == Some(&key)));
        prop_assert!(row == rows.len() || at.bucket_from(page, row, bucket) == at.bucket_of(page, row));
    }
    Ok(())
}

/// Ascending rows of one length, enough for buckets; some crowd at their beginning or agree in their first bytes.
fn many_rows() -> impl Strategy<Value = Vec<Vec<u8>>> {
    (1usize..=20, 0usize..10, any::<bool>(), any::<u64>(), 256usize..3000).prop_map(|(len, same, crowd, seed, n)| {
        let mut state = seed;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        let mut rows = Vec::new();
        for _ in 0..n {
            let few = crowd && random() < 200;
            let byte = |i: usize| if i < same || few && i == same { 7 } else { random() };
            rows.push((0..len).map(byte).collect::<Vec<u8>>());
        }
        rows.sort_unstable();
        rows.dedup();
        rows
    })
}

fn bucketed(rows: &[Vec<u8>]) -> Vec<u8> {
    let mut varying = Varying::default();
    assert!(rows.iter().all(|r| varying.add(r)));
    let mut out = Vec::new();
    varying.encode_bucketed(&mut out, rows.len(), rows.iter().map(|r| &r[..]));
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn rows_in_buckets_come_back_and_are_found(
        rows in many_rows(),
        key in prop::collection::vec(any::<u8>(), 0..24),
        flip in any::<prop::sample::Index>(),
    ) {
        let mut page = bucketed(&rows);
        let (at, end) = RowsAt::parse(&page, 0, rows.len()).unwrap();
        prop_assert_eq!(end, page.len());
        for (i, row) in rows.iter().enumerate() {
            prop_assert_eq!(&at.row(&page, i)[..at.row_bytes()], &row[..]);
        }
        check_look_ups(&at, &page, &rows, &key)?;
        // Whatever one damaged bit makes of it, reading goes on within the page.
        let bit = flip.index(page.len() * 8);
        page[bit / 8] ^= 1 << (bit % 8);
        if let Ok((at, _)) = RowsAt::parse(&page, 0, rows.len()) {
            for (i, row) in rows.iter().enumerate() {
                at.row(&page, i);
                at.lower_bound(&page, row);
            }
        }
    }
}

#[test]
fn buckets_take_nine_bits_from_each_row_of_a_hash() {
    let hash = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i << 40).to_be_bytes().to_vec();
    let mut rows: Vec<Vec<u8>> = (0..3000).map(hash).collect();
    rows.sort_unstable();
    let page = bucketed(&rows);
    assert!(page.len() < 3000 * (64 - 9 + 2) / 8, "{}", page.len());
}

#[test]
fn starts_that_do_not_ascend_over_all_rows_are_refused() {
    let rows: Vec<Vec<u8>> = (0..1000u16).map(|i| i.to_be_bytes().to_vec()).collect();
    let page = bucketed(&rows);
    assert!(RowsAt::parse(&page, 0, 1000).is_ok());
    for (at, byte) in [(1, 17), (1, 60), (2, 33), (3, 1), (4, 1), (7, 0xff)] {
        let mut page = page.clone();
        page[at] = byte;
        assert!(RowsAt::parse(&page, 0, 1000).is_err(), "byte {at}");
    }
}

proptest! {
    #[test]
    fn rows_come_back(rows in rows()) {
        let page = block(&rows);
        let (at, end) = RowsAt::parse(&page, 0, rows.len()).unwrap();
        prop_assert_eq!(end, page.len());
        for (i, row) in rows.iter().enumerate() {
            prop_assert_eq!(&at.row(&page, i)[..at.row_bytes()], &row[..]);
        }
    }

    #[test]
    fn a_probe_orders_as_the_whole_rows_do(rows in rows(), key in prop::collection::vec(0u8..5, 0..40)) {
        let page = block(&rows);
        let (at, _) = RowsAt::parse(&page, 0, rows.len()).unwrap();
        for (i, row) in rows.iter().enumerate() {
            for key in [&key[..], row, &row[..row.len() / 2]] {
                prop_assert_eq!(at.compare(&page, i, &at.probe(key)), row[..].cmp(key));
            }
        }
    }

    #[test]
    fn a_lower_bound_is_where_a_search_finds_it(mut rows in rows(), key in prop::collection::vec(0u8..5, 0..40)) {
        rows.sort_unstable();
        rows.dedup();
        let page = block(&rows);
        let (at, _) = RowsAt::parse(&page, 0, rows.len()).unwrap();
        check_look_ups(&at, &page, &rows, &key)?;
    }

    #[test]
    fn any_bytes_are_rows_or_an_error(page in prop::collection::vec(any::<u8>(), 0..200), n in 0usize..1000) {
        if let Ok((at, _)) = RowsAt::parse(&page, 0, n) {
            (0..n).for_each(|i| { at.row(&page, i); });
        }
    }
}
