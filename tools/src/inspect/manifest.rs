//! A pool's `MANIFEST`: two copies, each a clear header with the wrapped keys and a sealed body.

use std::collections::BTreeMap;
use std::io;

use roaring::RoaringBitmap;
use serde_json::{Value, json};
use stoa_format::KeyEpoch;
use stoa_format::manifest::{FilePlace, FileRef, ManifestBody, SectionContent, decode_copy};

use super::printer::{hex, octets};
use super::{Inspector, store_files};

/// The file `MANIFEST`.
pub(super) fn inspect(inspector: &mut Inspector<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let half = bytes.len() / 2;
    let mut shown = false;
    for (copy, start) in [(1, 0), (2, half)] {
        let decoded = match decode_copy(&bytes[start..]) {
            Ok(decoded) => decoded,
            Err(fault) => {
                let structure = format!("manifest copy {copy}");
                inspector.printer.damage(name, &structure, (start + fault.offset) as u64, fault.reason)?;
                continue;
            }
        };
        let fields = [
            ("copy", json!(copy)),
            ("pool", json!(decoded.header.pool.to_string())),
            ("number", json!(decoded.header.number)),
            ("newest_key_epoch", json!(decoded.header.newest_key_epoch().0)),
            ("clear_bytes", json!(decoded.clear.len())),
            ("sealed_bytes", json!(decoded.sealed.len())),
        ];
        inspector.printer.fact(name, "manifest", Some(start as u64), &fields)?;
        if decoded.len != half {
            inspector.printer.damage(name, "manifest", (start + 12) as u64, "is not half of the file")?;
        }
        if shown {
            continue;
        }
        for (KeyEpoch(epoch), wrapped) in &decoded.header.keys {
            store_files::wrapped(inspector, name, Some(*epoch), wrapped)?;
        }
        let Some(opener) = inspector.opener else { continue };
        match opener.open_copy(decoded.header.pool, &bytes[start..]) {
            Ok(opened) => {
                shown = true;
                body(inspector, name, &opened.body)?;
            }
            Err(fault) => {
                inspector.printer.damage(name, "manifest body", (start + decoded.clear.len()) as u64, &fault)?
            }
        }
    }
    Ok(())
}

fn body(inspector: &mut Inspector<'_>, name: &str, body: &ManifestBody) -> io::Result<()> {
    let live = match body.live.is_empty() {
        true => Some(0),
        false => RoaringBitmap::deserialize_from(&body.live[..]).ok().map(|set| set.len()),
    };
    let printer = &mut inspector.printer;
    let fields = [
        ("flushed_seq", json!(body.flushed_seq.0)),
        ("chain", json!(hex(&body.chain))),
        ("epoch", json!(body.epoch.0)),
        ("users", json!(body.users)),
        ("groups", json!(body.groups)),
        ("live", json!(live)),
        ("files", json!(body.files.len())),
        ("periods", json!(body.periods.len())),
        ("documents", json!(body.documents.len())),
        ("has_digest", json!(body.digest.is_some())),
        ("history_from", json!(body.history_from.0)),
    ];
    printer.fact(name, "manifest body", None, &fields)?;
    if live.is_none() {
        printer.damage(name, "live ordinals", 0, "malformed bitmap")?;
    }
    if inspector.wanted.brief {
        return Ok(());
    }
    for file in &body.files {
        printer.fact(name, "live file", None, &file_fields(file))?;
    }
    for period in &body.periods {
        let fields = [("period", json!(period.period.0)), ("first_seq", json!(period.first_seq.0))];
        printer.fact(name, "period", None, &fields)?;
    }
    for (_, content) in &body.documents {
        printer.fact(name, "document", None, &[("bytes", json!(content.len()))])?;
    }
    if inspector.wanted.reveal { values(inspector, name, body, live) } else { Ok(()) }
}

fn file_fields(file: &FileRef) -> Vec<(&'static str, Value)> {
    let mut held: BTreeMap<String, ()> = BTreeMap::new();
    for section in &file.sections {
        let what = match section.content {
            SectionContent::Column { attr, dense: true } => format!("attr {attr} dense"),
            SectionContent::Column { attr, dense: false } => format!("attr {attr}"),
            SectionContent::Keys { keyspace } => format!("keyspace {keyspace}"),
        };
        held.insert(what, ());
    }
    let place = match file.place {
        FilePlace::Flush => "flush".to_owned(),
        FilePlace::Column => format!("col/{}", file.folder),
        FilePlace::Index => format!("idx/{}", file.folder),
    };
    vec![
        ("id", json!(file.id.0)),
        ("place", json!(place)),
        ("bytes", json!(file.len)),
        ("age", json!(file.age)),
        ("key_epoch", json!(file.key_epoch.0)),
        ("sections", json!(file.sections.len())),
        ("of", json!(held.into_keys().collect::<Vec<_>>())),
    ]
}

fn values(inspector: &mut Inspector<'_>, name: &str, body: &ManifestBody, live: Option<u64>) -> io::Result<()> {
    let printer = &mut inspector.printer;
    let numbers = [
        ("flushed_seq", json!(body.flushed_seq.0)),
        ("epoch", json!(body.epoch.0)),
        ("created_at_ms", json!(body.created_at_ms)),
        ("next_ordinal", json!(body.next_ordinal)),
        ("next_file_id", json!(body.next_file_id)),
        ("next_group_id", json!(body.next_group_id)),
        ("next_age", json!(body.next_age)),
        ("users", json!(body.users)),
        ("groups", json!(body.groups)),
        ("last_verify_ms", json!(body.last_verify_ms)),
        ("history_from", json!(body.history_from.0)),
        ("digest", json!(body.digest.map(|digest| format!("{digest:032x}")))),
        ("live", json!(live)),
    ];
    for (key, value) in numbers {
        printer.value(name, &[("section", json!("body")), ("key", json!(key))], value)?;
    }
    for (key, content) in &body.documents {
        printer.value(name, &[("section", json!("document")), ("key", json!(key))], octets(content))?;
    }
    for file in &body.files {
        let place = [("section", json!("file")), ("key", json!(file.id.0.to_string()))];
        printer.value(name, &place, json!(file.len))?;
    }
    for period in &body.periods {
        let place = [("section", json!("period")), ("key", json!(period.period.0.to_string()))];
        printer.value(name, &place, json!(period.first_seq.0))?;
    }
    Ok(())
}
