//! Schemas: as clients send them, and as the pool keeps them.

use stoa_engine::pool::schema::{Schema, SchemaPatch};
use stoa_fuzz::{Seen, Target};

const TOKENS: [&str; 42] = [
    "\"attributes\"",
    "\"custom:a\"",
    "\"custom:a_verified\"",
    "\"email\"",
    "\"username\"",
    "\"type\"",
    "\"max_len\"",
    "\"required\"",
    "\"mutable\"",
    "\"multi\"",
    "\"alias\"",
    "\"searchable\"",
    "\"collation\"",
    "\"string\"",
    "\"integer\"",
    "\"boolean\"",
    "\"timestamp\"",
    "\"json\"",
    "\"bytes\"",
    "\"none\"",
    "\"unique\"",
    "\"verified\"",
    "\"exact\"",
    "\"casefold\"",
    "true",
    "false",
    "null",
    "{}",
    "[]",
    ":",
    ",",
    "\"id\"",
    "\"format\"",
    "\"version\"",
    "\"next_attr_id\"",
    "\"collation_version\"",
    "65535",
    "65536",
    "4294967296",
    "1e3",
    "\\u0061",
    "\"custom:\"",
];

const SEEDS: [&str; 6] = [
    r#"{"attributes": {"custom:a": {"type": "string", "max_len": 32, "required": false, "mutable": true,
        "multi": false, "alias": "none", "searchable": false, "collation": "exact"}}}"#,
    r#"{"attributes": {"email": {"alias": "verified"}, "custom:n": {"type": "integer", "searchable": true}}}"#,
    r#"{"attributes": {"custom:a": {"type": "string", "alias": "verified"}, "custom:a_verified": {"type": "boolean"}}}"#,
    r#"{"attributes": {"custom:a": {"type": "string", "alias": "unique", "multi": true, "collation": "casefold"},
        "custom:b": {"type": "json"}, "custom:c": {"type": "bytes", "max_len": 10}, "custom:d": {"type": "timestamp"}}}"#,
    r#"{"attributes": {"given_name": {"searchable": true, "required": true, "max_len": 100, "mutable": false}}}"#,
    "{}",
];

/// Kept and read again, a schema is the same; sent back as it was shown, it changes nothing.
fn check(schema: &Schema) {
    let kept = schema.encode();
    let again = Schema::decode(&kept).expect("what was kept reads back");
    assert_eq!(again, *schema, "another schema");
    assert_eq!(again.encode(), kept, "another encoding");
    let shown = SchemaPatch::parse(schema.to_text().as_bytes()).expect("what is shown can be sent back");
    let (same, changes) = schema.alter(&shown).expect("what is shown can be sent back");
    assert!(changes.is_empty() && same == *schema, "what is shown changes something when it is sent back");
}

fn run(bytes: &[u8], seen: &mut Seen) {
    match Schema::decode(bytes) {
        Ok(schema) => {
            seen.count("kept", schema.attributes().len());
            check(&schema);
        }
        Err(fault) => seen.note(fault.reason),
    }
    let patch = match SchemaPatch::parse(bytes) {
        Ok(patch) => patch,
        Err(fault) => return seen.message(&fault.to_string()),
    };
    match Schema::standard().alter(&patch) {
        Ok((schema, changes)) => {
            changes.iter().for_each(|change| seen.note((std::mem::discriminant(change), change.needs_check())));
            check(&schema);
            let (same, changes) = schema.alter(&patch).expect("what was taken is taken again");
            assert!(changes.is_empty() && same == schema, "a patch changes something twice");
        }
        Err(fault) => seen.message(&fault.to_string()),
    }
}

#[test]
fn fuzz_schema() {
    let kept = [Schema::standard().encode(), super::schema().encode()];
    // Some eighteen standard attributes come with every schema, and text in several forms.
    Target::new("schema", run).seeds(kept).seeds(SEEDS).tokens(&TOKENS).memory(400, 1 << 20).explore();
}
