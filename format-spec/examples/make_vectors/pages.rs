//! Vectors of the plain texts of pages: columns of each encoding, sorted pages, filters.

use std::borrow::Cow;

use stoa_format::column::{Cell, ColumnKind, ColumnPageBuilder};
use stoa_format::sorted::{FilterBuilder, SortedPageBuilder, filter_hash};

use super::{Vector, and, bad, cut, good, with};

const BCRYPT: &str = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
const ARGON2: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$gZiV/M1gPc22ElAH/Jh1Hw$CWOrkoo7oJBQ/iyh7uJ0LO2aLEfrHwTWllSAxT0zRno";

fn column<'a>(kind: ColumnKind, cells: impl IntoIterator<Item = (u64, Cell<'a>)>) -> Vec<u8> {
    let mut builder = ColumnPageBuilder::new(kind);
    for (ordinal, cell) in cells {
        builder.push(ordinal, &cell).expect("the vectors' cells can be stored");
    }
    let mut out = Vec::new();
    builder.finish(&mut out).expect("the vectors' pages have entries");
    out
}

fn bytes(text: &str) -> Cell<'_> {
    Cell::Bytes(Cow::Borrowed(text.as_bytes()))
}

pub fn integers() -> Vec<u8> {
    column(ColumnKind::Int, [(10, Cell::Int(1000)), (11, Cell::Int(1003)), (12, Cell::Absent), (13, Cell::Int(1001))])
}

pub fn strings() -> Vec<u8> {
    column(ColumnKind::Bytes, [(7, bytes("ana")), (9, bytes("bo"))])
}

pub fn dictionary() -> Vec<u8> {
    column(ColumnKind::Bytes, (0..12).map(|i| (i, bytes(if i % 2 == 0 { "free" } else { "premium" }))))
}

pub fn rows() -> Vec<u8> {
    let id = |last| Cell::Fixed16([1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, last]);
    column(ColumnKind::Fixed16, [(0, id(0x10)), (1, id(0x20))])
}

pub fn passwords() -> Vec<u8> {
    column(ColumnKind::Password, [(3, bytes(BCRYPT))])
}

pub fn column_pages() -> Vec<Vector> {
    let mut all = good_columns();
    all.extend(bad_columns());
    all
}

fn good_columns() -> Vec<Vector> {
    const S: &str = "column page";
    let limits = [(0, Cell::Int(i64::MIN)), (1, Cell::Int(i64::MAX)), (2, Cell::Int(-1)), (3, Cell::Int(0))];
    let list = [5, 1_000_000, 4_000_000_000u64].map(|ordinal| (ordinal, Cell::Int(7)));
    let bitmap = (0..400).filter(|i| i % 3 != 1).map(|i| (i + (1 << 40), Cell::Int(i as i64 % 5)));
    let odd = [bytes(""), bytes("\0"), Cell::Absent, Cell::Bytes(Cow::Borrowed(&[0xff, 0xfe]))];
    let hashes = [bytes(BCRYPT), bytes(ARGON2), Cell::Absent, bytes("plain"), bytes(""), bytes(&ARGON2[..40])];
    vec![
        good(S, "integers, dense, one absent", integers()),
        good(S, "integers of all 64 bits", column(ColumnKind::Int, limits)),
        good(S, "integers, all alike, a list of ordinals", column(ColumnKind::Int, list)),
        good(S, "integers, a bitmap of seven words", column(ColumnKind::Int, bitmap)),
        good(S, "integers, all absent", column(ColumnKind::Int, [(1, Cell::Absent), (2, Cell::Absent)])),
        good(S, "rows", rows()),
        good(S, "rows, one absent", column(ColumnKind::Fixed16, [(0, Cell::Fixed16([9; 16])), (4, Cell::Absent)])),
        good(S, "strings, a list of ordinals", strings()),
        good(S, "strings, empty and not UTF-8", column(ColumnKind::Bytes, (0..).zip(odd))),
        good(S, "dictionary", dictionary()),
        good(S, "passwords of several schemes", column(ColumnKind::Password, (0..).zip(hashes))),
        good(S, "a password", passwords()),
    ]
}

fn bad_columns() -> Vec<Vector> {
    const S: &str = "column page";
    let (int, rows, strings, password) = (integers(), rows(), strings(), passwords());
    let bitmap = column(ColumnKind::Int, (0..400).filter(|i| i % 3 != 1).map(|i| (i, Cell::Int(7))));
    let one_row = column(ColumnKind::Fixed16, [(0, Cell::Fixed16([9; 16]))]);
    let three = column(ColumnKind::Bytes, (0..24).map(|i| (i, bytes(["silver", "golden", "bronze"][i as usize % 3]))));
    let list = column(ColumnKind::Int, [(5, Cell::Int(7)), (1_000_000, Cell::Int(7))]);
    vec![
        bad(S, "empty", vec![], "column page at offset 0: too short"),
        bad(S, "header alone", int[..24].to_vec(), "column page at offset 25: too short"),
        bad(S, "encoding 0", with(&int, 0, &[0]), "column page at offset 0: unknown encoding"),
        bad(S, "encoding 8", with(&int, 0, &[8]), "column page at offset 0: unknown encoding"),
        bad(S, "form 3", with(&int, 1, &[3]), "page ordinals at offset 24: unknown form"),
        bad(S, "flag 2", with(&int, 2, &[2]), "column page at offset 2: unknown flag"),
        bad(S, "width without a list", with(&int, 3, &[1]), "page ordinals at offset 24: a width without a list"),
        bad(S, "no entries", with(&int, 4, &[0]), "column page at offset 4: entries are none or too many"),
        bad(S, "65,536 entries", with(&int, 4, &[0, 0, 1]), "column page at offset 4: entries are none or too many"),
        bad(
            S,
            "span below the entries",
            with(&int, 16, &[3]),
            "page ordinals at offset 24: span below the number of entries, or past the last ordinal",
        ),
        bad(
            S,
            "past the last ordinal",
            with(&int, 8, &[0xff; 8]),
            "page ordinals at offset 24: span below the number of entries, or past the last ordinal",
        ),
        bad(
            S,
            "dense with a gap",
            with(&int, 16, &[5]),
            "page ordinals at offset 24: dense, but span and entries differ",
        ),
        bad(S, "reserved in the header", with(&int, 20, &[1]), "column page at offset 20: reserved bytes are not zero"),
        bad(
            S,
            "reserved behind the width",
            with(&int, 34, &[1]),
            "column page at offset 34: reserved bytes are not zero",
        ),
        bad(S, "width 65", with(&int, 33, &[65]), "packed numbers at offset 41: width above 64 bits"),
        bad(S, "packed numbers cut", cut(&int, 1), "packed numbers at offset 41: area runs past the page"),
        bad(S, "a byte more", and(&int, &[0]), "column page at offset 50: bytes behind the end"),
        bad(S, "bitmap cut", bitmap[..30].to_vec(), "page ordinals at offset 24: too short"),
        bad(S, "list cut", list[..30].to_vec(), "packed numbers at offset 24: area runs past the page"),
        bad(S, "rows of 8 bytes", with(&one_row, 24, &[8]), "column page at offset 24: rows are not of 16 bytes"),
        bad(S, "rows of 33 bytes", with(&rows, 24, &[33]), "row block at offset 24: a row is longer than 32 bytes"),
        bad(S, "a word of 65 bits", with(&rows, 40, &[65]), "row block at offset 42: a word has more than 64 bits"),
        bad(S, "a word shifted out", with(&rows, 41, &[64]), "row block at offset 42: a word has more than 64 bits"),
        bad(S, "a word of too many", with(&rows, 40, &[60, 5]), "row block at offset 42: a word has more than 64 bits"),
        bad(S, "a word past 2^64", with(&rows, 42, &[0xff; 8]), "row block at offset 52: a word has more than 64 bits"),
        bad(S, "bits behind a row", with(&rows, 24, &[15]), "row block at offset 52: a word has bits behind the row"),
        bad(S, "reserved in a row block", with(&rows, 27, &[1]), "row block at offset 27: reserved bytes are not zero"),
        bad(S, "rows cut", cut(&rows, 1), "row block at offset 52: too short"),
        bad(
            S,
            "one string fewer than entries",
            with(&strings, 33, &[1]),
            "column page at offset 33: number of strings differs from the number of entries",
        ),
        bad(S, "strings cut", cut(&strings, 1), "string block at offset 37: strings run past the page"),
        bad(
            S,
            "reserved in a string block",
            with(&strings, 54, &[1]),
            "string block at offset 54: reserved bytes are not zero",
        ),
        bad(
            S,
            "a string ends behind the data",
            with(&strings, 49, &[1]),
            "string block at offset 24: a string's place is out of bounds",
        ),
        bad(
            S,
            "a string starts before the data",
            with(&strings, 49, &[0xff; 4]),
            "string block at offset 24: a string's place is out of bounds",
        ),
        bad(
            S,
            "a code without a value",
            with(&three, three.len() - 14, &[0xff]),
            "string block at offset 0: no such string",
        ),
        bad(S, "an unknown token", with(&password, 65, &[7]), "password template at offset 0: unknown token"),
    ]
}

fn sorted(entries: &[(&[u8], Option<&[u8]>)]) -> Vec<u8> {
    let mut builder = SortedPageBuilder::new();
    for (key, value) in entries {
        builder.push(key, *value).expect("the vectors' keys ascend");
    }
    let mut out = Vec::new();
    builder.finish(&mut out).expect("the vectors' pages have entries");
    out
}

pub fn sorted_rows() -> Vec<u8> {
    sorted(&[(&[0, 1], Some(b"")), (&[0, 2], Some(b"")), (&[0, 3], None)])
}

pub fn sorted_prefixes() -> Vec<u8> {
    sorted(&[(b"admin", Some(b"1")), (b"admins", None), (b"bo", Some(b"22"))])
}

pub fn sorted_tails() -> Vec<u8> {
    sorted(&[(b"bo\x00\x01\0\0\0\0\0\0\0\x07", Some(b"")), (b"bob\x00\x01\0\0\0\0\0\0\0\x04", Some(b""))])
}

fn many_prefixes() -> Vec<u8> {
    let keys: Vec<String> = (0..40).map(|i| format!("user{i:02}@example.com{}", "x".repeat(i % 3))).collect();
    let entries: Vec<(&[u8], Option<&[u8]>)> = keys
        .iter()
        .enumerate()
        .map(|(i, key)| (key.as_bytes(), (i % 7 != 3).then_some(&key.as_bytes()[..i % 5])))
        .collect();
    sorted(&entries)
}

/// Keys enough for buckets: a first word that varies in its lower half alone, then two bytes more.
fn bucketed_rows() -> Vec<u8> {
    let key = |i: u64| [&((7 << 32) | (i * i * 40_503)).to_be_bytes()[..], &(i as u16 * 77).to_be_bytes()].concat();
    let keys: Vec<Vec<u8>> = (0..300).map(key).collect();
    sorted(&keys.iter().map(|key| (&key[..], Some(&b""[..]))).collect::<Vec<_>>())
}

fn filter(keys: u32) -> Vec<u8> {
    let mut builder = FilterBuilder::default();
    (0..keys).for_each(|key| builder.add(filter_hash(&key.to_be_bytes())));
    let mut out = Vec::new();
    builder.finish(&mut out);
    out
}

pub fn sorted_pages() -> Vec<Vector> {
    const S: &str = "sorted page";
    const F: &str = "filter page";
    let (rows, prefixes, filter_page) = (sorted_rows(), sorted_prefixes(), filter(30));
    let numbers: Vec<[u8; 8]> = (0..20u64).map(|i| (i * 1000).to_be_bytes()).collect();
    let numbered: Vec<(&[u8], Option<&[u8]>)> = numbers.iter().map(|key| (&key[..], Some(&key[4..]))).collect();
    vec![
        good(S, "rows with a tombstone", rows.clone()),
        good(S, "rows with values", sorted(&numbered)),
        good(S, "rows in buckets", bucketed_rows()),
        bad(
            S,
            "buckets that start beyond the first row",
            with(&bucketed_rows(), 12, &[0xff]),
            "row block at offset 36: buckets do not ascend over all rows",
        ),
        good(S, "rows, tombstones alone", sorted(&[(b"a", None), (b"b", None)])),
        good(S, "prefixes with a tombstone", prefixes.clone()),
        good(S, "prefixes with three restarts", many_prefixes()),
        good(S, "the empty key", sorted(&[(b"", Some(b"root")), (b"a", Some(b""))])),
        bad(S, "empty", vec![], "sorted page at offset 0: too short"),
        good(S, "tails", sorted_tails()),
        bad(
            S,
            "tails with a flag",
            with(&sorted_tails(), 1, &[1]),
            "sorted page at offset 0: unknown encoding or flag",
        ),
        bad(S, "encoding 4", with(&rows, 0, &[4]), "sorted page at offset 0: unknown encoding or flag"),
        bad(S, "flag 2", with(&rows, 1, &[2]), "sorted page at offset 0: unknown encoding or flag"),
        bad(S, "rows with an interval", with(&rows, 2, &[16]), "sorted page at offset 0: unknown encoding or flag"),
        bad(S, "prefixes without one", with(&prefixes, 2, &[0]), "sorted page at offset 0: unknown encoding or flag"),
        bad(S, "prefixes with a flag", with(&prefixes, 1, &[1]), "sorted page at offset 0: unknown encoding or flag"),
        bad(S, "no entries", with(&rows, 4, &[0]), "sorted page at offset 4: entries are none or too many"),
        bad(S, "65,536 entries", with(&rows, 4, &[0, 0, 1]), "sorted page at offset 4: entries are none or too many"),
        bad(S, "rows cut", cut(&rows, 1), "row block at offset 44: too short"),
        bad(S, "rows and a byte more", and(&rows, &[0]), "sorted page at offset 52: bytes behind the end"),
        bad(S, "prefixes cut", cut(&prefixes, 1), "sorted page at offset 16: too short"),
        bad(S, "prefixes and a byte more", and(&prefixes, &[0]), "sorted page at offset 36: bytes behind the end"),
        bad(
            S,
            "an entry shares more than there is",
            with(&prefixes, 25, &[9]),
            "sorted page at offset 28: an entry shares more than the key before has",
        ),
        bad(S, "an entry runs past the page", with(&prefixes, 31, &[9]), "sorted page at offset 34: too short"),
        bad(
            S,
            "a number above 32 bits",
            with(&prefixes, 16, &[0xff, 0xff, 0xff, 0xff, 0x7f]),
            "sorted page at offset 21: number above 32 bits",
        ),
        good(F, "thirty keys in two blocks", filter_page.clone()),
        good(F, "no key", filter(0)),
        bad(F, "no block", vec![0; 8], "filter page at offset 0: length is not that of the blocks"),
        bad(F, "cut", cut(&filter_page, 1), "filter page at offset 0: length is not that of the blocks"),
        bad(F, "reserved", with(&filter_page, 7, &[1]), "filter page at offset 4: reserved bytes are not zero"),
    ]
}
