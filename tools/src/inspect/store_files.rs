//! `STORE`, `CATALOGUE` and the key file.

use std::io;

use serde_json::json;
use stoa_format::keyfile::{KeyFile, Protection};
use stoa_format::store::{CatalogueBody, CatalogueFile, StoreFile};
use stoa_format::wrapped::WrappedKey;

use super::Inspector;
use super::printer::{hex, octets};

/// The file `STORE`.
pub(super) fn store(inspector: &mut Inspector<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let printer = &mut inspector.printer;
    let file = match StoreFile::decode(bytes) {
        Ok(file) => file,
        Err(fault) => return printer.damage(name, fault.structure, fault.offset as u64, fault.reason),
    };
    let fields = [
        ("store", json!(file.id.to_string())),
        ("read_version", json!(StoreFile::read_version(bytes))),
        ("incarnation", json!(file.incarnation)),
        ("created_at_ms", json!(file.created_at_ms)),
    ];
    printer.fact(name, "store", Some(0), &fields)?;
    wrapped(inspector, name, None, &file.wrapped_key)?;
    if let Some(fault) = inspector.opener.and_then(|opener| opener.store_fault.clone()) {
        inspector.printer.damage(name, "wrapped key", 0, &fault)?;
    }
    Ok(())
}

/// A wrapped key: who can unwrap it.
pub(super) fn wrapped(
    inspector: &mut Inspector<'_>,
    name: &str,
    key_epoch: Option<u32>,
    bytes: &[u8],
) -> io::Result<()> {
    match WrappedKey::decode(bytes) {
        Ok(key) => {
            let fields = [
                ("key_epoch", json!(key_epoch)),
                ("provider", json!(key.provider)),
                ("key_id", json!(key.key_id)),
                ("bytes", json!(key.bytes.len())),
            ];
            let fields = if key_epoch.is_some() { &fields[..] } else { &fields[1..] };
            inspector.printer.fact(name, "wrapped key", None, fields)
        }
        Err(fault) => inspector.printer.damage(name, fault.structure, fault.offset as u64, fault.reason),
    }
}

/// The file `CATALOGUE`.
pub(super) fn catalogue(inspector: &mut Inspector<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let printer = &mut inspector.printer;
    let file = match CatalogueFile::decode(bytes) {
        Ok(file) => file,
        Err(fault) => return printer.damage(name, fault.structure, fault.offset as u64, fault.reason),
    };
    let fields = [
        ("store", json!(file.store.to_string())),
        ("number", json!(file.number)),
        ("sealed_bytes", json!(file.sealed.len())),
    ];
    printer.fact(name, "catalogue", Some(0), &fields)?;
    let Some(opener) = inspector.opener else { return Ok(()) };
    match opener.open_catalogue(&file) {
        Ok(body) => catalogue_body(inspector, name, &body),
        Err(fault) => inspector.printer.damage(name, "catalogue body", 0, &fault),
    }
}

fn catalogue_body(inspector: &mut Inspector<'_>, name: &str, body: &CatalogueBody) -> io::Result<()> {
    let printer = &mut inspector.printer;
    let fields = [
        ("seq", json!(body.seq.0)),
        ("durable_lsn", json!(body.durable_lsn)),
        ("chain", json!(hex(&body.chain))),
        ("pools", json!(body.pools.len())),
        ("documents", json!(body.documents.len())),
    ];
    printer.fact(name, "catalogue body", None, &fields)?;
    if inspector.wanted.brief {
        return Ok(());
    }
    for entry in &body.pools {
        let fields = [
            ("pool", json!(entry.id.to_string())),
            ("name_bytes", json!(entry.name.len())),
            ("manifest_number", json!(entry.manifest_number)),
            ("manifest_digest", json!(hex(&entry.manifest_digest))),
            ("flushed_seq", json!(entry.flushed_seq.0)),
            ("first_manifest_bytes", json!(entry.first_manifest.as_ref().map(Vec::len))),
        ];
        printer.fact(name, "catalogue entry", None, &fields)?;
    }
    for (_, content) in &body.documents {
        printer.fact(name, "document", None, &[("bytes", json!(content.len()))])?;
    }
    if !inspector.wanted.reveal {
        return Ok(());
    }
    for (key, value) in [("seq", body.seq.0), ("durable_lsn", body.durable_lsn)] {
        printer.value(name, &[("section", json!("body")), ("key", json!(key))], json!(value))?;
    }
    for entry in &body.pools {
        let place = [("section", json!("pool")), ("key", json!(entry.name))];
        printer.value(name, &place, json!(entry.id.to_string()))?;
    }
    for (key, content) in &body.documents {
        printer.value(name, &[("section", json!("document")), ("key", json!(key))], octets(content))?;
    }
    Ok(())
}

/// The key file: what it says without its secrets.
pub(super) fn key_file(inspector: &mut Inspector<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let printer = &mut inspector.printer;
    let file = match KeyFile::decode(bytes) {
        Ok(file) => file,
        Err(fault) => return printer.damage(name, fault.structure, fault.offset as u64, fault.reason),
    };
    let (protection, cost) = match &file.protection {
        Protection::None { .. } => ("none", None),
        Protection::Passphrase { cost, .. } => ("passphrase", Some(cost)),
    };
    let fields = [
        ("key_id", json!(hex(&file.key_id))),
        ("write_version", json!(file.write_version)),
        ("protection", json!(protection)),
        ("memory_kib", json!(cost.map(|cost| cost.memory_kib))),
        ("passes", json!(cost.map(|cost| cost.passes))),
        ("lanes", json!(cost.map(|cost| cost.lanes))),
    ];
    let shown = if cost.is_some() { &fields[..] } else { &fields[..3] };
    printer.fact(name, "key file", Some(0), shown)
    // Its bytes are never dumped, whatever was asked for: the key stands among them.
}
