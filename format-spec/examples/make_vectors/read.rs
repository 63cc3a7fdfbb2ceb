//! Every decoder by its structure's name, its result as JSON. Members stand in alphabetical order.

use serde_json::{Value, json};
use stoa_format::DecodeError;
use stoa_format::column::{Cell, ColumnPage};
use stoa_format::history::Records;
use stoa_format::install::Install;
use stoa_format::manifest::{ManifestBody, SectionContent, decode_file};
use stoa_format::ops::{CellRef, Cells, FrameReader, Operation, Subject};
use stoa_format::run::{Footer, Header, PageFrame, Trailer, Zone};
use stoa_format::sorted::{FilterPage, SortedPage, SortedPosition};
use stoa_format::store::{CatalogueBody, CatalogueFile, StoreFile};
use stoa_format::wal::{InnerShell, OuterShell, SegmentHeader};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The length of the file that trailers of vectors are of.
pub const TRAILER_FILE_BYTES: u64 = 4096;

pub fn decode(structure: &str, bytes: &[u8]) -> Result<Value, DecodeError> {
    match structure {
        "segment header" => segment_header(bytes),
        "frame" => frame(bytes),
        "inner shell" => inner_shell(bytes),
        "transactions" => transactions(bytes),
        "history file" => history_file(bytes),
        "install" => install(bytes),
        "STORE" => store(bytes),
        "CATALOGUE" => catalogue(bytes),
        "catalogue body" => catalogue_body(bytes),
        "manifest" => manifest(bytes),
        "manifest body" => manifest_body(bytes),
        "run header" => run_header(bytes),
        "page frame" => PageFrame::split(bytes).map(|(frame, sealed)| {
            json!({"kind": frame.kind as u8, "page": frame.page, "sealed": hex(sealed), "section": frame.section})
        }),
        "run trailer" => run_trailer(bytes),
        "run footer" => footer(bytes),
        "column page" => column_page(bytes),
        "sorted page" => sorted_page(bytes),
        "filter page" => FilterPage::open(bytes).map(|page| json!({"bytes": page.bytes().len()})),
        other => panic!("there is no decoder for {other}"),
    }
}

fn segment_header(bytes: &[u8]) -> Result<Value, DecodeError> {
    let header = SegmentHeader::decode(bytes)?;
    Ok(json!({
        "first_lsn": header.first_lsn.0, "incarnation": header.incarnation, "number": header.number.0,
        "previous": header.previous.0, "previous_end": header.previous_end, "store": header.store.to_string(),
    }))
}

fn frame(bytes: &[u8]) -> Result<Value, DecodeError> {
    let (shell, body) = OuterShell::decode_frame(bytes)?;
    Ok(json!({
        "body": hex(body), "durable_lsn": shell.durable_lsn.0, "incarnation": shell.incarnation,
        "kind": shell.kind as u8, "lsn": shell.lsn.0, "segment": shell.segment.0,
    }))
}

fn inner_shell(bytes: &[u8]) -> Result<Value, DecodeError> {
    let (shell, sealed) = InnerShell::decode(bytes)?;
    Ok(json!({
        "chain": hex(&shell.chain), "count": shell.count, "epoch": shell.epoch.0, "first_seq": shell.first_seq.0,
        "key_epoch": shell.key_epoch.0, "period": shell.period.0, "pool": shell.pool.to_string(),
        "sealed": hex(sealed),
    }))
}

fn transactions(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut frame = FrameReader::decode(bytes)?;
    let time_ms = frame.time_ms;
    let mut transactions = Vec::new();
    while let Some(mut transaction) = frame.next_transaction()? {
        let mut ops = Vec::new();
        while let Some(op) = transaction.next_op()? {
            ops.push(operation(&op)?);
        }
        transactions.push(json!({"actor": transaction.actor, "ops": ops}));
    }
    Ok(json!({"time_ms": time_ms, "transactions": transactions}))
}

fn operation(op: &Operation<'_>) -> Result<Value, DecodeError> {
    Ok(match op {
        Operation::Put { ordinal, flags, cells } => {
            let mut list = Vec::new();
            let mut cells = Cells::decode(cells)?;
            while let Some((attr, cell)) = cells.next_cell()? {
                list.push(json!([attr.0, cell_ref(cell)]));
            }
            json!({"cells": list, "flags": flags, "op": "put", "ordinal": ordinal.0})
        }
        Operation::SetKey { keyspace, key, value } => {
            json!({"key": hex(key), "keyspace": keyspace.0, "op": "set", "value": hex(value)})
        }
        Operation::DeleteKey { keyspace, key } => {
            json!({"key": hex(key), "keyspace": keyspace.0, "op": "delete"})
        }
        Operation::Digest { leaf, delta } => {
            json!({"delta": format!("{delta:032x}"), "leaf": format!("{leaf:016x}"), "op": "digest"})
        }
        Operation::Event { event, subject, version, attrs } => {
            let subject = match subject {
                Subject::Pool => json!([]),
                Subject::User(sub) => json!([sub.to_string()]),
                Subject::Named(name) => json!([null, name]),
                Subject::Member(sub, name) => json!([sub.to_string(), name]),
            };
            let attrs: Vec<u16> = attrs.iter().map(|attr| attr.0).collect();
            json!({"attrs": attrs, "event": event.name(), "op": "event", "subject": subject, "version": version})
        }
        Operation::Meta { name, content } => json!({"content": content.map(hex), "name": name, "op": "meta"}),
    })
}

fn cell_ref(cell: CellRef<'_>) -> Value {
    match cell {
        CellRef::Absent => Value::Null,
        CellRef::Int(value) => value.into(),
        CellRef::Bytes(value) => hex(value).into(),
    }
}

fn history_file(bytes: &[u8]) -> Result<Value, DecodeError> {
    let (header, mut records) = Records::decode(bytes)?;
    let mut bodies = Vec::new();
    while let Some(body) = records.next_record()? {
        bodies.push(hex(body));
    }
    Ok(json!({
        "first_seq": header.first_seq.0, "frames": bodies, "last_seq": header.last_seq.0,
        "pool": header.pool.to_string(),
    }))
}

fn install(bytes: &[u8]) -> Result<Value, DecodeError> {
    let install = Install::decode(bytes)?;
    let dropped: Vec<_> = install.dropped.iter().map(|(file, section)| json!([file.0, section])).collect();
    let files: Vec<_> = install.files.iter().map(|file| json!([file.id.0, file.len, file.sections.len()])).collect();
    Ok(json!({
        "dropped": dropped, "files": files, "groups": install.groups, "id": install.id.0,
        "live": install.live.as_deref().map(hex), "next_age": install.next_age,
        "next_group_id": install.next_group_id, "next_ordinal": install.next_ordinal,
    }))
}

fn store(bytes: &[u8]) -> Result<Value, DecodeError> {
    let file = StoreFile::decode(bytes)?;
    Ok(json!({
        "created_at_ms": file.created_at_ms, "id": file.id.to_string(), "incarnation": file.incarnation,
        "wrapped_key": hex(&file.wrapped_key),
    }))
}

fn catalogue(bytes: &[u8]) -> Result<Value, DecodeError> {
    let file = CatalogueFile::decode(bytes)?;
    Ok(json!({"number": file.number, "sealed": hex(&file.sealed), "store": file.store.to_string()}))
}

fn documents(list: &[(String, Vec<u8>)]) -> Vec<Value> {
    list.iter().map(|(name, content)| json!([name, hex(content)])).collect()
}

fn catalogue_body(bytes: &[u8]) -> Result<Value, DecodeError> {
    let body = CatalogueBody::decode(bytes)?;
    let pools: Vec<_> = body
        .pools
        .iter()
        .map(|pool| {
            json!({
                "first_manifest": pool.first_manifest.as_deref().map(hex), "flushed_seq": pool.flushed_seq.0,
                "id": pool.id.to_string(), "manifest_digest": hex(&pool.manifest_digest),
                "manifest_number": pool.manifest_number, "name": pool.name,
            })
        })
        .collect();
    Ok(json!({
        "chain": hex(&body.chain), "documents": documents(&body.documents), "durable_lsn": body.durable_lsn,
        "pools": pools, "seq": body.seq.0,
    }))
}

fn manifest(bytes: &[u8]) -> Result<Value, DecodeError> {
    let copy = decode_file(bytes)?;
    let keys: Vec<_> = copy.header.keys.iter().map(|(epoch, wrapped)| json!([epoch.0, hex(wrapped)])).collect();
    Ok(json!({
        "keys": keys, "number": copy.header.number, "pool": copy.header.pool.to_string(), "sealed": hex(copy.sealed),
    }))
}

fn manifest_body(bytes: &[u8]) -> Result<Value, DecodeError> {
    let body = ManifestBody::decode(bytes)?;
    let periods: Vec<_> =
        body.periods.iter().map(|period| json!([period.period.0, period.first_seq.0, hex(&period.key)])).collect();
    let files: Vec<_> = body
        .files
        .iter()
        .map(|file| {
            let sections: Vec<_> = file
                .sections
                .iter()
                .map(|section| match section.content {
                    SectionContent::Column { attr, dense } => {
                        json!([section.section, if dense { "dense" } else { "sparse" }, attr.0])
                    }
                    SectionContent::Keys { keyspace } => json!([section.section, "keys", keyspace.0]),
                })
                .collect();
            json!({
                "age": file.age, "folder": file.folder, "id": file.id.0, "key_epoch": file.key_epoch.0,
                "len": file.len, "place": file.place as u8, "root": hex(&file.root), "salt": hex(&file.salt),
                "sections": sections,
            })
        })
        .collect();
    Ok(json!({
        "alias_key": hex(&body.alias_key), "chain": hex(&body.chain), "created_at_ms": body.created_at_ms,
        "cursor_key": hex(&body.cursor_key), "digest": body.digest.map(|digest| format!("{digest:032x}")),
        "digest_key": hex(&body.digest_key), "documents": documents(&body.documents), "epoch": body.epoch.0,
        "files": files, "flushed_seq": body.flushed_seq.0, "groups": body.groups,
        "history_from": body.history_from.0, "last_verify_ms": body.last_verify_ms, "live": hex(&body.live),
        "next_age": body.next_age, "next_file_id": body.next_file_id, "next_group_id": body.next_group_id,
        "next_ordinal": body.next_ordinal, "periods": periods, "users": body.users,
    }))
}

fn run_header(bytes: &[u8]) -> Result<Value, DecodeError> {
    let header = Header::decode(bytes)?;
    Ok(json!({
        "commitment": hex(&header.commitment), "file": header.file.0, "key_epoch": header.key_epoch.0,
        "kind": header.kind as u8, "pool": header.pool.to_string(), "write_version": header.write_version,
    }))
}

fn run_trailer(bytes: &[u8]) -> Result<Value, DecodeError> {
    let trailer = Trailer::decode(bytes, TRAILER_FILE_BYTES)?;
    Ok(json!({
        "footer_bytes": trailer.footer_bytes, "footer_offset": trailer.footer_offset,
        "page_count": trailer.page_count, "root": hex(&trailer.root),
    }))
}

fn footer(bytes: &[u8]) -> Result<Value, DecodeError> {
    use stoa_format::run::PagePlace;
    let footer = Footer::decode(bytes)?;
    let sections = footer.sections.iter().map(|section| {
        let summary = &section.summary;
        let pages = section.pages.iter().map(|page| {
            let place = match &page.place {
                PagePlace::Column { first_ordinal, last_ordinal, zone } => {
                    let zone = match zone {
                        Zone::Unknown => Value::Null,
                        Zone::Int { min, max } => json!([min, max]),
                        Zone::Bytes { min, max } => json!([hex(min), hex(max)]),
                    };
                    json!([first_ordinal, last_ordinal, zone])
                }
                PagePlace::Sorted { from_key } => json!([hex(from_key)]),
                PagePlace::Filter { first_page } => json!([first_page]),
                PagePlace::OrdinalSet => json!([]),
            };
            json!({
                "entries": page.entries, "kind": page.kind() as u8, "nonce": hex(&page.nonce), "offset": page.offset,
                "place": place, "sealed_bytes": page.sealed_bytes, "tag": hex(&page.tag),
            })
        });
        json!({
            "disk_bytes": summary.disk_bytes, "empty_entries": summary.empty_entries, "entries": summary.entries,
            "filter_prefix": section.filter_prefix, "first_ordinal": summary.first_ordinal,
            "kind": summary.id.kind_number(), "last_key": hex(&section.last_key),
            "last_ordinal": summary.last_ordinal, "number": summary.id.number(), "pages": pages.collect::<Vec<_>>(),
        })
    });
    Ok(json!({"sections": sections.collect::<Vec<_>>()}))
}

fn column_page(bytes: &[u8]) -> Result<Value, DecodeError> {
    let page = ColumnPage::open(bytes)?;
    let mut cells = Vec::new();
    for (ordinal, cell) in page.cells() {
        cells.push(match cell? {
            Cell::Missing | Cell::Absent => json!([ordinal, null]),
            Cell::Int(value) => json!([ordinal, value]),
            Cell::Fixed16(value) => json!([ordinal, hex(&value)]),
            Cell::Bytes(value) => json!([ordinal, hex(&value)]),
        });
    }
    Ok(cells.into())
}

fn sorted_page(bytes: &[u8]) -> Result<Value, DecodeError> {
    let page = SortedPage::open(bytes)?;
    let mut entries = Vec::new();
    let mut position = SortedPosition::default();
    page.seek_entry(0, &mut position)?;
    while position.entry() < page.count() {
        let value = page.value(&position)?.bytes().map(hex);
        entries.push(json!([hex(position.key()), value]));
        page.advance(&mut position)?;
    }
    Ok(entries.into())
}
