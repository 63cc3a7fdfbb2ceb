//! The vectors of `vectors/pages.jsonl`, which a second implementation made from the chapters alone.

use serde_json::Value;

use super::{Header, PageFrame, Trailer};
use crate::column::{Cell, ColumnPage, Scratch, Sought};
use crate::sorted::{FilterPage, SortedPage, SortedPosition, filter_hash};
use crate::{DecodeError, FileId};

const VECTORS: &str = include_str!("../../vectors/pages.jsonl");

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a vector's bytes hold, in the words of the vector.
fn read(vector: &Value, bytes: &[u8]) -> Result<(), DecodeError> {
    let number = |name: &str| vector[name].as_u64();
    match vector["what"].as_str().unwrap() {
        "header" => {
            let header = Header::decode(bytes)?;
            assert_eq!(Some(header.kind as u64), number("kind"));
            assert_eq!(Some(header.file), number("file").map(FileId));
            assert_eq!(Some(u64::from(header.key_epoch.0)), number("key_epoch"));
            assert!(header.write_version != crate::run::WRITE_VERSION || header.encode() == *bytes);
        }
        "trailer" => {
            let trailer = Trailer::decode(bytes, number("file_bytes").unwrap())?;
            assert_eq!(Some(u64::from(trailer.page_count)), number("page_count"));
            assert_eq!(trailer.encode(), *bytes);
        }
        "frame" => {
            let (frame, sealed) = PageFrame::split(bytes)?;
            assert_eq!(Some(u64::from(frame.page)), number("page"));
            assert_eq!(Some(u64::from(frame.section)), number("section"));
            assert_eq!([&frame.encode(sealed)[..], sealed].concat(), bytes);
        }
        "column page" => return read_column(vector, bytes),
        "sorted page" => return read_sorted(vector, bytes),
        "filter page" => {
            let filter = FilterPage::open(bytes)?;
            for key in [&b""[..], b"key", b"another"] {
                assert_eq!(Some(filter.may_hold(filter_hash(key))), vector["holds"].as_bool());
            }
        }
        what => panic!("unknown kind of vector: {what}"),
    }
    Ok(())
}

fn read_column(vector: &Value, bytes: &[u8]) -> Result<(), DecodeError> {
    let page = ColumnPage::open(bytes)?;
    let cells: Result<Vec<_>, _> = page.cells().map(|(ordinal, cell)| cell.map(|cell| (ordinal, cell))).collect();
    if let Some(reason) = vector["cells_error"].as_str() {
        assert_eq!(cells.unwrap_err().reason, reason, "{vector}");
        let mut any = |_: &[u8]| true;
        assert!(page.find(&mut Sought::Bytes(&mut any), &mut Scratch::default()).is_err(), "{vector}");
        return Ok(());
    }
    let expected = vector["cells"].as_array().unwrap();
    let cells = cells?;
    assert_eq!(cells.len(), expected.len(), "{vector}");
    for ((ordinal, cell), expected) in cells.iter().zip(expected) {
        assert_eq!(Some(*ordinal), expected[0].as_u64());
        assert_eq!(page.get(*ordinal)?, *cell);
        let matches = match (cell, &expected[1]) {
            (Cell::Absent, Value::Null) => true,
            (Cell::Int(value), Value::Number(number)) => number.as_i64() == Some(*value),
            (cell, Value::String(text)) => cell.bytes().map(hex).as_ref() == Some(text),
            _ => false,
        };
        assert!(matches, "{cell:?} in {vector}");
    }
    Ok(())
}

fn read_sorted(vector: &Value, bytes: &[u8]) -> Result<(), DecodeError> {
    let page = SortedPage::open(bytes)?;
    let mut position = SortedPosition::default();
    let mut walk = || -> Result<Vec<(String, Option<String>)>, DecodeError> {
        let mut entries = Vec::new();
        page.seek_entry(0, &mut position)?;
        while position.entry() < page.count() {
            entries.push((hex(position.key()), page.value(&position)?.bytes().map(hex)));
            page.advance(&mut position)?;
        }
        Ok(entries)
    };
    let walked = walk();
    if let Some(reason) = vector["entries_error"].as_str() {
        assert_eq!(walked.unwrap_err().reason, reason, "{vector}");
        return Ok(());
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let expected = vector["entries"].as_array().unwrap().iter();
    let expected: Vec<_> = expected.map(|entry| (text(&entry[0]).unwrap(), text(&entry[1]))).collect();
    assert_eq!(walked?, expected);
    for (key, value) in &expected {
        let found = page.get(&unhex(key))?.expect("a key of the page is found");
        assert_eq!(found.bytes().map(hex), *value);
    }
    Ok(())
}

#[test]
fn every_vector_reads_as_it_says() {
    let mut failing = 0;
    for line in VECTORS.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let bytes = unhex(vector["hex"].as_str().unwrap());
        match (read(&vector, &bytes), vector["error"].as_str()) {
            (Ok(()), None) => {}
            (Err(error), Some(reason)) => {
                failing += 1;
                assert_eq!(error.reason, reason, "{vector}");
            }
            (result, _) => panic!("{result:?} for {vector}"),
        }
    }
    assert!(failing > 30, "{failing} vectors fail");
}
