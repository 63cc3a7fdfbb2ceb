//! The plain text of a page: its shape, and its values.

use std::io;
use std::sync::Arc;

use roaring::RoaringBitmap;
use serde_json::{Value, json};
use stoa_format::DecodeError;
use stoa_format::column::{Cell, ColumnKind, ColumnPage, Symbols, SymbolsPlace};
use stoa_format::run::{PageKind, SectionId};
use stoa_format::sorted::{FilterPage, SortedPage, SortedPosition};

use super::printer::{Printer, hex, octets};

/// A structure's members, none of them a stored value.
type Members = Vec<(&'static str, Value)>;

/// What a section is of.
pub(super) fn of(id: SectionId) -> Members {
    match id {
        SectionId::Column { attr, kind } => {
            let holds = match kind {
                ColumnKind::Int => "integers",
                ColumnKind::Fixed16 => "sixteen bytes",
                ColumnKind::Bytes => "strings",
                ColumnKind::Password => "passwords",
            };
            vec![("attr", json!(attr.0)), ("holds", json!(holds))]
        }
        SectionId::Sorted(keyspace) => vec![("keyspace", json!(keyspace.0))],
    }
}

/// Finds the symbols that a page refers to.
pub(super) type FindSymbols<'f> = &'f dyn Fn(SymbolsPlace) -> Option<Arc<Symbols>>;

/// How a page is encoded.
pub(super) fn shape(
    of: SectionId,
    kind: PageKind,
    plain: &[u8],
    symbols: FindSymbols<'_>,
) -> Result<Members, DecodeError> {
    let mut members = vec![("plain_bytes", json!(plain.len()))];
    match (kind, of) {
        (PageKind::Data, SectionId::Column { .. }) => {
            let page = ColumnPage::open_with(plain, None, symbols)?;
            members.push(("encoding", json!(column_encoding(plain))));
            members.push(("ordinals", json!(ordinals_form(plain))));
            members.push(("first_ordinal", json!(page.first_ordinal())));
            members.push(("last_ordinal", json!(page.last_ordinal())));
            members.push(("nulls", json!((0..page.count()).filter(|&entry| page.view().is_absent(entry)).count())));
        }
        (PageKind::Data, SectionId::Sorted(_)) => {
            SortedPage::open(plain)?;
            let encoding = match plain.first() {
                Some(1) => "rows",
                Some(2) => "prefixes",
                _ => "tails",
            };
            members.push(("encoding", json!(encoding)));
        }
        (PageKind::Filter, _) => drop(FilterPage::open(plain)?),
        (PageKind::OrdinalSet, _) => {
            RoaringBitmap::deserialize_from(plain)
                .map_err(|_| DecodeError::new("set of ordinals", 0, "malformed bitmap"))?;
        }
        (PageKind::Footer, _) => {}
    }
    Ok(members)
}

fn column_encoding(plain: &[u8]) -> &'static str {
    match plain.first() {
        Some(1) => "integers",
        Some(2) => "rows",
        Some(3) => "strings",
        Some(4) => "dictionary",
        Some(5) => "passwords",
        Some(6) => "compressed strings",
        Some(7) => "compressed strings that refer to symbols",
        _ => "unknown",
    }
}

fn ordinals_form(plain: &[u8]) -> &'static str {
    match plain.get(1) {
        Some(0) => "dense",
        Some(1) => "bitmap",
        Some(2) => "list",
        _ => "unknown",
    }
}

/// Prints every value of a data page; `place` is its section and its number there. Answers what ended it early.
pub(super) fn values(
    printer: &mut Printer<'_>,
    name: &str,
    place: (u16, u32),
    of: SectionId,
    plain: &[u8],
    symbols: FindSymbols<'_>,
) -> io::Result<Result<(), DecodeError>> {
    let place = [("section", json!(place.0)), ("page", json!(place.1))];
    match of {
        SectionId::Column { attr, .. } => {
            let page = match ColumnPage::open_with(plain, None, symbols) {
                Ok(page) => page,
                Err(fault) => return Ok(Err(fault)),
            };
            let mut first_fault = Ok(());
            for (ordinal, cell) in page.cells() {
                let value = match cell {
                    Ok(Cell::Int(value)) => json!(value),
                    Ok(Cell::Fixed16(value)) => json!({ "hex": hex(&value) }),
                    Ok(Cell::Bytes(value)) => octets(&value),
                    Ok(Cell::Absent | Cell::Missing) => Value::Null,
                    Err(fault) => {
                        first_fault = first_fault.and(Err(fault));
                        continue;
                    }
                };
                let [section, number] = place.clone();
                printer.value(name, &[section, number, ("attr", json!(attr.0)), ("ordinal", json!(ordinal))], value)?;
            }
            Ok(first_fault)
        }
        SectionId::Sorted(keyspace) => {
            let mut lines = Vec::new();
            let walked = walk(plain, |key, value| lines.push((hex(key), value.map_or(Value::Null, octets))));
            for (key, value) in lines {
                let [section, number] = place.clone();
                let members = [section, number, ("keyspace", json!(keyspace.0)), ("key", json!(key))];
                printer.value(name, &members, value)?;
            }
            Ok(walked)
        }
    }
}

/// Shows every entry of a sorted page to `visit`.
fn walk(plain: &[u8], mut visit: impl FnMut(&[u8], Option<&[u8]>)) -> Result<(), DecodeError> {
    let page = SortedPage::open(plain)?;
    let mut position = SortedPosition::default();
    page.seek_entry(0, &mut position)?;
    while position.entry() < page.count() {
        visit(position.key(), page.value(&position)?.bytes());
        page.advance(&mut position)?;
    }
    Ok(())
}
