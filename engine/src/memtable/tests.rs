//! What a memtable says as of a Seq.

use super::gathered::STRETCH_ORDINALS;
use super::*;
use crate::pool::keyspace::{ALIAS_HASH_BITS, Key, flat_key};

fn delta(flags: u8, cells: &[(AttrId, CellRef<'_>)]) -> Delta {
    let mut out = Vec::new();
    encode_cells(cells.iter().copied(), &mut out);
    Delta::new(flags, Bytes::from(out))
}

/// However often a user changes, and whatever: a reader looks at few deltas and finds the newest of each cell.
#[test]
fn a_user_who_changes_often_is_read_from_few_deltas() {
    let table = Memtable::default();
    let long = vec![7; 4 * CARRIED_BYTES];
    let first = [(AttrId(64), CellRef::Int(0)), (AttrId(65), CellRef::Bytes(&long)), (AttrId(66), CellRef::Int(0))];
    table.put(Ordinal(1), Seq(1), delta(PUT_CREATES, &first));
    for seq in 2..1000 {
        let attr = if seq % 2 == 0 { AttrId(64) } else { AttrId(67) };
        table.put(Ordinal(1), Seq(seq), delta(0, &[(attr, CellRef::Int(seq as i64))]));
    }
    let read = |seq, attr| {
        let newest = table.user(Ordinal(1), Seq(seq)).unwrap();
        assert!(newest.chain().count() <= 2 && newest.chain().any(Delta::creates));
        let found = newest.chain().find_map(|delta| match delta.cells().find(AttrId(attr)) {
            Ok(Some(CellRef::Int(value))) => Some(value),
            Ok(Some(CellRef::Bytes(value))) => Some(value.len() as i64),
            _ => None,
        });
        found.unwrap_or(-1)
    };
    assert_eq!([64, 65, 66, 67].map(|attr| read(999, attr)), [998, long.len() as i64, 0, 999]);
    assert_eq!([64, 65, 66, 67].map(|attr| read(500, attr)), [500, long.len() as i64, 0, 499]);
    assert_eq!([64, 65, 66, 67].map(|attr| read(1, attr)), [0, long.len() as i64, 0, -1]);
    assert_eq!(table.deltas().count(), 1);
    assert!(table.size_bytes() < 1000 * (ENTRY_OVERHEAD_BYTES + 2 * CARRIED_BYTES as u64));
}

/// What a long and a short attribute say in turns, and many that together are longer than what is copied, makes
/// no chain that grows: each in it is more than twice as long as what lies on it.
#[test]
fn what_lies_under_a_delta_is_far_longer() {
    let (turns, many) = (Memtable::default(), Memtable::default());
    let (long, short) = (vec![1; 4 * CARRIED_BYTES], vec![2; CARRIED_BYTES / 8]);
    for seq in 1..3000u64 {
        let (attr, value) = if seq % 2 == 0 { (64, &long) } else { (65, &short) };
        turns.put(Ordinal(1), Seq(seq), delta(0, &[(AttrId(attr), CellRef::Bytes(value))]));
        let attr = AttrId(64 + (seq * 7 % 40) as u16);
        many.put(Ordinal(1), Seq(seq), delta(0, &[(attr, CellRef::Bytes(&short))]));
        for table in [&turns, &many] {
            let newest = table.user(Ordinal(1), Seq(seq)).unwrap();
            let lengths: Vec<usize> = newest.chain().map(|delta| delta.cells.len()).collect();
            assert!(lengths.windows(2).all(|two| two[1] > 2 * two[0]), "{lengths:?}");
            assert!(lengths.len() <= 4, "{lengths:?}");
        }
    }
}

/// What a replay gathers is what commits would have put there one by one, as of the end.
#[test]
fn what_is_put_all_at_once_is_what_is_put_one_by_one() {
    let (once, each) = (Memtable::default(), Memtable::default());
    let mut gathered = Gathered::default();
    for seq in 1..5000u64 {
        // Some users change often, in two stretches.
        let ordinal = Ordinal(seq * 7919 % 1500 * (STRETCH_ORDINALS / 1000));
        let flags = if seq < 100 { PUT_CREATES } else { 0 };
        let delta = delta(flags, &[(AttrId(64 + (seq % 7) as u16), CellRef::Int(seq as i64))]);
        each.put(ordinal, Seq(seq), delta.clone());
        gathered.put(ordinal, Seq(seq), delta);
    }
    once.put_all(gathered);
    let picture = |table: &Memtable| {
        let deltas = table.deltas().map(|(ordinal, delta)| (ordinal, delta.flags, delta.cells));
        deltas.collect::<Vec<_>>()
    };
    assert_eq!(picture(&once), picture(&each));
    assert_eq!(picture(&once).len(), 1500);
    assert!(once.users_filter.may_hold(spread(0)) && !once.is_empty());
    assert!(once.user(Ordinal(0), Seq(4999)).is_some() && once.user(Ordinal(1), Seq(4999)).is_none());
    // Commits go on from there.
    once.put(Ordinal(0), Seq(5000), delta(0, &[(AttrId(80), CellRef::Int(1))]));
    assert_eq!(once.user(Ordinal(0), Seq(5000)).unwrap().each_cell().count(), 4);
    once.put_all(Gathered::default());
    assert_eq!(picture(&once).len(), 1500);
}

#[test]
fn a_reader_sees_its_own_seq_for_ever() {
    let table = Memtable::default();
    table.put(Ordinal(1), Seq(5), delta(PUT_CREATES, &[(AttrId(64), CellRef::Int(1))]));
    table.put(Ordinal(1), Seq(7), delta(0, &[(AttrId(64), CellRef::Int(2))]));
    let read = |seq| {
        let delta = table.user(Ordinal(1), Seq(seq))?;
        match delta.cells().find(AttrId(64)) {
            Ok(Some(CellRef::Int(value))) => Some(value),
            _ => None,
        }
    };
    assert_eq!((read(4), read(5), read(6), read(7)), (None, Some(1), Some(1), Some(2)));
    let set = |keyspace, key: &[u8], seq, value| table.set_key(Keyspace(keyspace), key, Seq(seq), value).unwrap();
    let key = flat_key(Keyspace(6), b"k");
    set(6, b"k", 5, Some(Bytes::from_static(b"v")));
    set(6, b"k", 6, None);
    assert_eq!(table.key(&key, Seq(4)), None);
    assert_eq!(table.key(&key, Seq(5)), Some(Some(Bytes::from_static(b"v"))));
    assert_eq!(table.key(&key, Seq(9)), Some(None));
    let from = flat_key(Keyspace(6), b"");
    assert_eq!(table.keys_up(from.clone(), &from, Seq(5)).count(), 1);
    assert_eq!(table.keys_up(from.clone(), &from, Seq(6)).next(), Some((key.clone(), None)));
    set(6, b"l", 7, Some(Bytes::new()));
    set(7, b"k", 5, Some(Bytes::new()));
    for seq in 4..9 {
        let mut up: Vec<_> = table.keys_up(from.clone(), &from, Seq(seq)).collect();
        let down: Vec<_> = table.keys_down(from.clone(), &flat_key(Keyspace(7), b""), Seq(seq)).collect();
        up.reverse();
        assert_eq!(up, down);
        assert_eq!(up.len(), [0, 1, 1, 2, 2][seq as usize - 4]);
    }
    assert_eq!(table.keys_down(from, &key, Seq(9)).count(), 0);
    assert!(table.has_keys_after(Keyspace(6), Seq(6)) && !table.has_keys_after(Keyspace(6), Seq(7)));
    assert!(table.has_keys_after(Keyspace(7), Seq(4)) && !table.has_keys_after(Keyspace(7), Seq(5)));
    assert!(!table.has_keys_after(Keyspace(3), Seq(0)));
    assert_eq!(table.changed_users(Ordinal(0), Seq(4)).count(), 0);
    assert_eq!(table.changed_users(Ordinal(0), Seq(9)).collect::<Vec<_>>(), [Ordinal(1)]);
}
#[test]
fn aliases_are_found_by_value_and_walked_in_order() {
    let table = Memtable::default();
    let alias = |attr, hash: u64| Key::alias(AttrId(attr), hash.rotate_right(ALIAS_HASH_BITS / 2));
    let set = |attr, hash, ordinal, seq, value: Option<Bytes>| {
        let flat = alias(attr, hash).ordinal(Ordinal(ordinal)).flat();
        table.set_key(ALIASES, &flat[1..], Seq(seq), value).unwrap();
    };
    let present = || Some(Bytes::new());
    set(64, 5, 1, 1, present());
    set(64, 5, 1, 2, None);
    set(64, 5, 2, 3, present());
    set(64, u64::MAX, 3, 4, present());
    set(65, 5, 4, 5, present());
    assert!(table.set_key(ALIASES, b"short", Seq(6), None).is_err());
    let prefixes = [alias(64, 5).flat(), Key::new(ALIASES).attr(AttrId(64)).flat(), Key::new(ALIASES).flat()];
    assert!(prefixes.iter().all(|prefix| table.may_hold(prefix)));
    assert!(!table.may_hold(&alias(64, u64::MAX / 3).flat()) && !table.may_hold(&[9]));
    let up = |prefix: &Bytes, from: &Bytes, seq| {
        let entries = table.keys_up(prefix.clone(), from, Seq(seq));
        entries.map(|(flat, value)| (last_number(&flat).unwrap(), value.is_some())).collect::<Vec<_>>()
    };
    let down = |prefix: &Bytes, below: &Bytes, seq| {
        let entries = table.keys_down(prefix.clone(), below, Seq(seq));
        entries.map(|(flat, value)| (last_number(&flat).unwrap(), value.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(up(&prefixes[0], &prefixes[0], 1), [(1, true)]);
    assert_eq!(up(&prefixes[0], &prefixes[0], 9), [(1, false), (2, true)]);
    assert_eq!(up(&prefixes[1], &prefixes[1], 9), [(1, false), (2, true), (3, true)]);
    assert_eq!(up(&prefixes[2], &prefixes[2], 4), [(1, false), (2, true), (3, true)]);
    let second = alias(64, 5).ordinal(Ordinal(2));
    assert_eq!(up(&prefixes[2], &second.clone().flat(), 9), [(2, true), (3, true), (4, true)]);
    // A bound that goes on after an alias is past it.
    assert_eq!(up(&prefixes[2], &second.clone().rest(&[0]).flat(), 9), [(3, true), (4, true)]);
    assert_eq!(down(&prefixes[1], &second.clone().flat(), 9), [(1, false)]);
    assert_eq!(down(&prefixes[1], &second.clone().rest(&[0]).flat(), 9), [(2, true), (1, false)]);
    assert_eq!(down(&prefixes[2], &Bytes::from_static(&[ALIASES.0 + 1]), 1), [(1, true)]);
    let key = |ordinal, seq| table.key(&alias(64, 5).ordinal(Ordinal(ordinal)).flat(), Seq(seq));
    assert_eq!((key(1, 1), key(1, 2), key(2, 2), key(2, 3)), (Some(present()), Some(None), None, Some(present())));
    assert!(table.has_keys_after(ALIASES, Seq(4)) && !table.has_keys_after(ALIASES, Seq(5)));
}
