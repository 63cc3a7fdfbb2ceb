//! The chapters against the code: constants, tables, worked examples and golden vectors. So neither can drift.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use stoa_format::ops::EventKind;
use stoa_format::{AttrId, column, history, install, keyfile, manifest, ops, run, sorted, store, wal};

#[path = "../examples/make_vectors/golden.rs"]
mod golden;

use golden::{files, log, runs, worked};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every chapter's name and text.
fn chapters() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(root().join("chapters")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

fn chapter(name: &str) -> String {
    chapters().into_iter().find(|(found, _)| found == name).unwrap().1
}

/// The cells of a line of a table, trimmed; `None` for another line.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split(" | ").map(str::trim).collect())
}

/// The rows of every table of `text` whose head is `head`.
fn rows<'a>(text: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match cells(line) {
            None => inside = false,
            Some(row) if inside && !row[0].starts_with("---") => found.push(row),
            Some(_) => inside |= line == head,
        }
    }
    found
}

#[test]
fn vectors_say_what_the_code_does_and_are_what_make_vectors_makes() {
    let mut faults = Vec::new();
    for (name, vectors) in golden::files() {
        for vector in &vectors {
            let said = golden::decode(vector.structure, &vector.bytes).err().map(|error| error.to_string());
            if said.as_deref() != vector.error {
                faults.push(format!("{name}: {}: {}: says {said:?}", vector.structure, vector.name));
            }
            assert_eq!(golden::from_hex(&golden::hex(&vector.bytes)).as_ref(), Some(&vector.bytes));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for (name, vectors) in golden::files() {
        let failing = vectors.iter().filter(|vector| vector.error.is_some()).count();
        assert!(failing * 2 > vectors.len(), "{name}: most must fail");
        let kept = fs::read_to_string(root().join("vectors").join(name)).unwrap_or_default();
        assert!(
            kept == golden::lines(&vectors),
            "vectors/{name} is not what is made now: run cargo run -p stoa-format --example make_vectors"
        );
    }
}

/// The kept lines by themselves, as a stranger would run them.
#[test]
fn kept_vectors_hold() {
    for (name, _) in golden::files() {
        let text = fs::read_to_string(root().join("vectors").join(name)).unwrap();
        for line in text.lines() {
            let vector: serde_json::Value = serde_json::from_str(line).unwrap();
            let bytes = golden::from_hex(vector["hex"].as_str().unwrap()).unwrap();
            match golden::decode(vector["structure"].as_str().unwrap(), &bytes) {
                Ok(value) => assert_eq!(value, vector["value"], "{name}: {}", vector["name"]),
                Err(error) => assert_eq!(error.to_string(), vector["error"], "{name}: {}", vector["name"]),
            }
        }
    }
}

#[test]
fn worked_examples_are_real() {
    for (name, text) in chapters() {
        let now = golden::with_examples(&text);
        assert!(now == text, "chapters/{name}.md: run cargo run -p stoa-format --example make_vectors");
    }
}

/// The first eight bytes as a chapter writes them.
fn magic(bytes: &[u8]) -> String {
    bytes[..8]
        .iter()
        .map(|&byte| match byte {
            b'\n' => "\\n".to_owned(),
            0 => "\\0".to_owned(),
            byte => char::from(byte).to_string(),
        })
        .collect()
}

/// A label, its zero bytes said in words.
fn label(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).unwrap();
    let trimmed = text.trim_end_matches('\0');
    match text.len() - trimmed.len() {
        0 => format!("`{trimmed}`"),
        zeroes => format!("`{trimmed}` and {zeroes} zero bytes"),
    }
}

fn constants() -> BTreeMap<&'static str, String> {
    let catalogue = store::CatalogueFile { store: stoa_format::StoreId::NIL, number: 0, sealed: vec![] }.encode();
    let seal = log::outer(wal::FrameKind::Seal, b"");
    [
        ("`LOG_VERSION`", wal::LOG_VERSION.to_string()),
        ("`STORE_VERSION`", store::STORE_VERSION.to_string()),
        ("`MANIFEST_VERSION`", manifest::MANIFEST_VERSION.to_string()),
        ("`READ_VERSION` of run files", run::READ_VERSION.to_string()),
        ("`WRITE_VERSION` of run files", run::WRITE_VERSION.to_string()),
        ("`HISTORY_VERSION`", history::HISTORY_VERSION.to_string()),
        ("magic of a history file", format!("`{}`", magic(&log::history_header()))),
        ("`RECORD_BYTES`", history::RECORD_BYTES.to_string()),
        ("`INSTALL_DOCUMENT`", format!("`{}`", install::INSTALL_DOCUMENT)),
        ("`KEY_FILE_VERSION`", keyfile::KEY_FILE_VERSION.to_string()),
        ("magic of `STORE`", format!("`{}`", magic(&files::store()))),
        ("magic of `CATALOGUE`", format!("`{}`", magic(&catalogue))),
        ("`LOG_DOCUMENT`", format!("`{}`", store::LOG_DOCUMENT)),
        ("`CATALOGUE_LABEL`", label(store::CATALOGUE_LABEL)),
        ("`BLOCK_BYTES`", wal::BLOCK_BYTES.to_string()),
        ("`FRAME_ALIGN`", wal::FRAME_ALIGN.to_string()),
        ("`OUTER_BYTES`", wal::OUTER_BYTES.to_string()),
        ("`INNER_BYTES`", wal::INNER_BYTES.to_string()),
        ("magic of a segment", format!("`{}`", magic(&log::segment_header()))),
        ("magic of a frame", format!("`{}`", std::str::from_utf8(&seal[..4]).unwrap())),
        ("`CHAIN_LABEL`", label(wal::CHAIN_LABEL)),
        ("`FRAME_LABEL`", label(wal::FRAME_LABEL)),
        ("`PUT_CREATES`", ops::PUT_CREATES.to_string()),
        ("`PUT_DELETES`", ops::PUT_DELETES.to_string()),
        ("magic of a manifest", format!("`{}`", magic(&files::manifest_header()))),
        ("`MANIFEST_LABEL`", label(manifest::MANIFEST_LABEL)),
        ("`HEADER_BYTES`", run::HEADER_BYTES.to_string()),
        ("`FRAME_BYTES`", run::FRAME_BYTES.to_string()),
        ("`TRAILER_BYTES`", run::TRAILER_BYTES.to_string()),
        ("`NONCE_BYTES`", run::NONCE_BYTES.to_string()),
        ("`TAG_BYTES`", run::TAG_BYTES.to_string()),
        ("`SEAL_BYTES`", run::SEAL_BYTES.to_string()),
        ("`ASSOCIATED_DATA_BYTES`", run::ASSOCIATED_DATA_BYTES.to_string()),
        ("`FOOTER_SECTION`", run::FOOTER_SECTION.to_string()),
        ("`SECTIONS_MAX`", run::SECTIONS_MAX.to_string()),
        ("`SEALED_BYTES_MAX`", run::SEALED_BYTES_MAX.to_string()),
        ("`ZONE_PREFIX_BYTES`", run::ZONE_PREFIX_BYTES.to_string()),
        ("magic of a run file", format!("`{}`", magic(&runs::header()))),
        ("magic of a trailer", format!("`{}`", magic(&runs::trailer()))),
        ("`PAGE_TARGET_BYTES`", column::PAGE_TARGET_BYTES.to_string()),
        ("`PAGE_BYTES_MAX`", column::PAGE_BYTES_MAX.to_string()),
        ("`VALUE_BYTES_MAX`", column::VALUE_BYTES_MAX.to_string()),
        ("`PAGE_ENTRIES_MAX`", column::PAGE_ENTRIES_MAX.to_string()),
        ("`KEY_BYTES_MAX`", sorted::KEY_BYTES_MAX.to_string()),
    ]
    .into()
}

#[test]
fn constants_are_those_of_the_code() {
    let mut left = constants();
    for (name, text) in chapters() {
        for row in rows(&text, "| constant | value |") {
            let expected = left.remove(row[0]);
            assert_eq!(expected.as_deref(), Some(row[1]), "chapters/{name}.md: {}", row[0]);
        }
    }
    assert!(left.is_empty(), "no chapter gives {:?}", left.keys());
}

/// How long a structure is, by the name that its table has in the chapters.
fn length(structure: &str) -> usize {
    match structure {
        "segment header" => log::segment_header().len(),
        "outer shell" => wal::OUTER_BYTES,
        "inner shell" => wal::INNER_BYTES,
        "history header" => history::HEADER_BYTES,
        "run header" => run::HEADER_BYTES,
        "page frame" => run::FRAME_BYTES,
        "page associated data" => run::ASSOCIATED_DATA_BYTES,
        "section summary" => run::SectionSummary::BYTES,
        "run trailer" => run::TRAILER_BYTES,
        "column page header" => 24,
        "sorted page header" => 8,
        other => panic!("no structure {other}"),
    }
}

#[test]
fn tables_of_offsets_leave_no_gap_and_end_where_the_structure_does() {
    let mut seen = 0;
    for (name, text) in chapters() {
        for piece in text.split("<!-- layout: ").skip(1) {
            let (head, rest) = piece.split_once(" -->").unwrap();
            let structure = head.split(',').next().unwrap();
            let table = rest.trim_start().split("\n\n").next().unwrap();
            let mut end = 0;
            for row in rows(table, "| offset | size | field |") {
                assert_eq!(row[0].parse(), Ok(end), "{name}: {structure}: {}", row[2]);
                end += row[1].parse::<usize>().unwrap();
            }
            assert_eq!(end, length(structure), "{name}: {structure}");
            seen += 1;
        }
    }
    assert_eq!(seen, 11);
}

#[test]
fn events_are_those_of_the_code() {
    let text = chapter("log");
    let listed: Vec<_> =
        rows(&text, "| event | name |").into_iter().map(|row| (row[0].to_owned(), row[1].to_owned())).collect();
    let known: Vec<_> =
        EventKind::ALL.iter().map(|event| ((*event as u8).to_string(), format!("`{}`", event.name()))).collect();
    assert_eq!(listed, known);
}

#[test]
fn built_in_columns_are_those_of_the_code() {
    let known = [
        ("`SUB`", AttrId::SUB),
        ("`LIVE`", AttrId::LIVE),
        ("`VERSION`", AttrId::VERSION),
        ("`CREATED_AT`", AttrId::CREATED_AT),
        ("`UPDATED_AT`", AttrId::UPDATED_AT),
        ("`ENABLED`", AttrId::ENABLED),
        ("`STATUS`", AttrId::STATUS),
        ("`PASSWORD`", AttrId::PASSWORD),
        ("`SIGN_IN`", AttrId::SIGN_IN),
        ("`PASSWORD_SET_AT`", AttrId::PASSWORD_SET_AT),
        ("`SOURCE_VERSION`", AttrId::SOURCE_VERSION),
        ("`FIRST_USER`", AttrId::FIRST_USER),
    ];
    let text = chapter("conventions");
    let listed = rows(&text, "| attribute | constant | cell |");
    assert_eq!(listed.len(), known.len());
    for (row, (name, attr)) in listed.iter().zip(known) {
        assert_eq!((row[0], row[1]), (attr.to_string().as_str(), name));
    }
}

/// Keyspaces belong to the engine, which this crate cannot see: its source is read instead.
#[test]
fn keyspaces_are_those_of_the_engine() {
    let source = fs::read_to_string(root().join("../engine/src/pool/keyspace.rs")).unwrap();
    let known: Vec<(String, String)> = source
        .lines()
        .filter_map(|line| {
            let (name, number) = line.strip_prefix("pub const ")?.split_once(": Keyspace = Keyspace(")?;
            Some((number.strip_suffix(");")?.to_owned(), format!("`{name}`")))
        })
        .collect();
    let text = chapter("indexes");
    let listed: Vec<_> = rows(&text, "| number | constant | key | value |")
        .into_iter()
        .map(|row| (row[0].to_owned(), row[1].to_owned()))
        .collect();
    assert!(!known.is_empty());
    assert_eq!(listed, known);
}

#[test]
fn the_digest_example_is_right() {
    let (key, sub, ..) = worked::DIGEST;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let fact = hex(&blake3::keyed_hash(&key, &worked::example("digest-message").unwrap()).as_bytes()[..16]);
    let leaf = hex(&blake3::keyed_hash(&key, sub.as_bytes()).as_bytes()[..8]);
    let text = chapter("digests");
    assert!(text.contains(&format!("`{fact}`")), "the digest is {fact}");
    assert!(text.contains(&format!("`{leaf}`")), "the leaf hash is {leaf}");
}

#[test]
fn every_chapter_is_in_the_index() {
    let index = fs::read_to_string(root().join("README.md")).unwrap();
    for (name, _) in chapters() {
        assert!(index.contains(&format!("(chapters/{name}.md)")), "README.md does not name {name}");
    }
}
