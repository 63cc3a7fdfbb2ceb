//! What `make_vectors` writes and `tests/spec.rs` runs: a good encoding of each structure, and many with one fault each.

use serde_json::Value;
use stoa_format::DecodeError;

pub mod files;
pub mod log;
pub mod pages;
pub mod read;
pub mod runs;
pub mod worked;

/// One line of a vector file.
pub struct Vector {
    /// What is special about it.
    pub name: &'static str,
    /// Which decoder it is for.
    pub structure: &'static str,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What a decoder must say: the fault, written by hand here, or `None` for a good one.
    pub error: Option<&'static str>,
}

/// A vector that decodes.
pub fn good(structure: &'static str, name: &'static str, bytes: Vec<u8>) -> Vector {
    Vector { name, structure, bytes, error: None }
}

/// A vector that must be refused with exactly this fault.
pub fn bad(structure: &'static str, name: &'static str, bytes: Vec<u8>, error: &'static str) -> Vector {
    Vector { name, structure, bytes, error: Some(error) }
}

/// `bytes` with some of them replaced.
pub fn with(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[at..at + new.len()].copy_from_slice(new);
    out
}

/// `bytes` without the last `count`.
pub fn cut(bytes: &[u8], count: usize) -> Vec<u8> {
    bytes[..bytes.len() - count].to_vec()
}

/// `bytes` and some more.
pub fn and(bytes: &[u8], more: &[u8]) -> Vec<u8> {
    [bytes, more].concat()
}

/// `bytes` with a right CRC-32 in the last four.
pub fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// All vector files that are made here, with their vectors.
pub fn files() -> Vec<(&'static str, Vec<Vector>)> {
    vec![
        ("segment-header.jsonl", log::segment_headers()),
        ("frame.jsonl", log::frames()),
        ("inner-shell.jsonl", log::inner_shells()),
        ("operations.jsonl", log::operations()),
        ("history.jsonl", log::history_files()),
        ("install.jsonl", files::installs()),
        ("store.jsonl", files::store_files()),
        ("catalogue.jsonl", files::catalogues()),
        ("manifest.jsonl", files::manifests()),
        ("run-file.jsonl", runs::run_files()),
        ("run-footer.jsonl", runs::footers()),
        ("column-page.jsonl", pages::column_pages()),
        ("sorted-page.jsonl", pages::sorted_pages()),
    ]
}

/// What a decoder makes of the bytes, as JSON.
///
/// # Errors
/// What the decoder says.
pub fn decode(structure: &str, bytes: &[u8]) -> Result<Value, DecodeError> {
    read::decode(structure, bytes)
}

/// A vector file's text.
pub fn lines(vectors: &[Vector]) -> String {
    vectors.iter().map(line).collect()
}

fn line(vector: &Vector) -> String {
    let text = |text: &str| Value::from(text).to_string();
    let (error, value) = match vector.error {
        Some(error) => (text(error), String::new()),
        None => {
            let value = decode(vector.structure, &vector.bytes).expect("a good vector decodes");
            ("null".to_owned(), format!(", \"value\": {value}"))
        }
    };
    format!(
        "{{\"name\": {}, \"structure\": {}, \"hex\": {}, \"error\": {error}{value}}}\n",
        text(vector.name),
        text(vector.structure),
        text(&hex(&vector.bytes)),
    )
}

/// Fewer equal bytes than this are written out.
const RUN_MIN: usize = 24;

/// Hexadecimal, in which long runs of one byte are `00*n` between spaces.
pub fn hex(bytes: &[u8]) -> String {
    let mut words = vec![String::new()];
    let mut at = 0;
    while at < bytes.len() {
        let run = bytes[at..].iter().take_while(|byte| **byte == bytes[at]).count();
        if run >= RUN_MIN {
            words.push(format!("{:02x}*{run}", bytes[at]));
            words.push(String::new());
            at += run;
        } else {
            let digits = format!("{:02x}", bytes[at]);
            words.last_mut().expect("there is always one").push_str(&digits);
            at += 1;
        }
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// What [`hex`] writes, back as bytes; `None` if it is something else.
#[allow(dead_code, reason = "the test reads, the program only writes")]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = |word: &str| -> Option<Vec<u8>> {
        (0..word.len()).step_by(2).map(|at| u8::from_str_radix(word.get(at..at + 2)?, 16).ok()).collect()
    };
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        match word.split_once('*') {
            Some((byte, count)) => out.extend(digits(byte)?.repeat(count.parse().ok()?)),
            None => out.extend(digits(word)?),
        }
    }
    Some(out)
}

/// A chapter with its worked examples filled in: what stands in a block marked `hex NAME` is replaced.
pub fn with_examples(chapter: &str) -> String {
    let mut out = String::with_capacity(chapter.len());
    let mut inside = false;
    for line in chapter.split_inclusive('\n') {
        if inside {
            if line.trim_end() == "```" {
                inside = false;
                out.push_str(line);
            }
            continue;
        }
        out.push_str(line);
        if let Some(name) = line.trim_end().strip_prefix("```hex ") {
            inside = true;
            let bytes = worked::example(name).unwrap_or_else(|| panic!("there is no example {name}"));
            out.push_str(&wrapped_hex(&bytes));
        }
    }
    out
}

/// Lines of 32 bytes; long runs of one byte on lines of their own.
fn wrapped_hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for word in hex(bytes).split(' ') {
        if word.contains('*') {
            out.push_str(word);
            out.push('\n');
            continue;
        }
        for piece in word.as_bytes().chunks(64) {
            let pairs: Vec<&str> = piece.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or("??")).collect();
            out.push_str(&pairs.join(" "));
            out.push('\n');
        }
    }
    out
}
