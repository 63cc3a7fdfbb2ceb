//! What the engine reads of clients and disk: filters, schemas, values, stored password hashes, cursors, a log's segments.

mod cursors;
mod filter;
mod hashes;
mod recovery;
mod schema;
mod values;

use stoa_engine::pool::schema::{Schema, SchemaPatch};

#[global_allocator]
static ALLOCATOR: stoa_fuzz::Counting = stoa_fuzz::Counting;

/// A schema with an attribute of every type.
fn schema() -> Schema {
    let patch = SchemaPatch::parse(
        br#"{"attributes": {
        "custom:n": {"type": "integer", "searchable": true},
        "custom:t": {"type": "timestamp"},
        "custom:b": {"type": "boolean"},
        "custom:s": {"type": "string", "searchable": true},
        "custom:m": {"type": "string", "multi": true, "collation": "casefold"},
        "custom:mail": {"type": "string", "searchable": true, "collation": "email"},
        "custom:mn": {"type": "integer", "multi": true},
        "custom:j": {"type": "json"},
        "custom:raw": {"type": "bytes"}}}"#,
    );
    Schema::standard().alter(&patch.expect("a schema")).expect("a schema").0
}
