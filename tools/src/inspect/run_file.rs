//! Run files: header, pages, footer, trailer; with the key what is in the pages.

use std::io;

use serde_json::{Value, json};
use stoa_engine::keys::FileKeys;
use stoa_format::FileId;
use stoa_format::column::{ColumnPage, SymbolsPlace};
use stoa_format::run::{
    FRAME_BYTES, Footer, HEADER_BYTES, Header, PageEntry, PageFrame, PageId, PageKind, RunKind, Section, SectionId,
    TRAILER_BYTES, Trailer,
};
use zeroize::Zeroizing;

use super::printer::hex;
use super::{Inspector, page};

/// A page as it stands in the file.
struct Found {
    offset: usize,
    frame: PageFrame,
    /// Whether its checksum matches.
    sound: bool,
}

/// A run file.
pub(super) fn inspect(inspector: &mut Inspector<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let header = show_header(inspector, name, bytes)?;
    let trailer_at = bytes.len().saturating_sub(TRAILER_BYTES);
    let trailer = Trailer::decode(&bytes[trailer_at..], bytes.len() as u64);
    let pages = walk(inspector, name, bytes, trailer_at)?;
    let opened = open(inspector, name, bytes, header.as_ref(), &pages)?;
    if let Some(opened) = opened.as_ref().filter(|_| inspector.wanted.page.is_none() && !inspector.wanted.brief) {
        show_sections(inspector, name, &opened.footer)?;
    }
    for index in 0..pages.len() {
        if inspector.wanted.page.is_none_or(|wanted| wanted == index as u64) {
            show_page(inspector, name, bytes, &pages, index, opened.as_ref())?;
        }
    }
    if inspector.wanted.page.is_some_and(|wanted| wanted >= pages.len() as u64) {
        inspector.printer.note(name, &format!("the file has {} pages", pages.len()))?;
    }
    let printer = &mut inspector.printer;
    match trailer {
        Ok(trailer) => {
            let fields = [
                ("footer_offset", json!(trailer.footer_offset)),
                ("footer_bytes", json!(trailer.footer_bytes)),
                ("pages", json!(trailer.page_count)),
                ("root", json!(hex(&trailer.root))),
                ("file_bytes", json!(bytes.len())),
            ];
            printer.fact(name, "trailer", Some(trailer_at as u64), &fields)
        }
        Err(fault) => printer.damage(name, fault.structure, (trailer_at + fault.offset) as u64, fault.reason),
    }
}

fn show_header(inspector: &mut Inspector<'_>, name: &str, bytes: &[u8]) -> io::Result<Option<Header>> {
    match Header::decode(bytes) {
        Ok(header) => {
            let kind = match header.kind {
                RunKind::Flush => "flush",
                RunKind::Column => "column",
                RunKind::Index => "index",
            };
            let fields = [
                ("kind", json!(kind)),
                ("pool", json!(header.pool.to_string())),
                ("id", json!(header.file.0)),
                ("key_epoch", json!(header.key_epoch.0)),
                ("write_version", json!(header.write_version)),
                ("commitment", json!(hex(&header.commitment))),
            ];
            inspector.printer.fact(name, "run file", Some(0), &fields)?;
            Ok(Some(header))
        }
        Err(fault) => {
            inspector.printer.damage(name, fault.structure, fault.offset as u64, fault.reason)?;
            Ok(None)
        }
    }
}

/// Finds the pages, one after the other; behind a damaged frame, the next place where one is whole.
fn walk(inspector: &mut Inspector<'_>, name: &str, bytes: &[u8], end: usize) -> io::Result<Vec<Found>> {
    let (mut pages, mut at) = (Vec::new(), HEADER_BYTES);
    while at < end {
        let length = frame_bytes(&bytes[at..end]);
        let whole = length.is_some_and(|length| PageFrame::split(&bytes[at..at + length]).is_ok());
        // A damaged length leads astray: it is believed only if a frame, or the end, follows.
        let believed =
            length.filter(|&length| whole || at + length == end || frame_bytes(&bytes[at + length..end]).is_some());
        match (believed, PageFrame::decode(&bytes[at..])) {
            (Some(length), Ok(frame)) => {
                if !whole {
                    inspector.printer.damage(name, "page", at as u64, "checksum does not match")?;
                }
                pages.push(Found { offset: at, frame, sound: whole });
                at += length;
            }
            _ => {
                inspector.printer.damage(name, "page frame", at as u64, "is malformed")?;
                let whole_at = |from: &usize| {
                    let length = frame_bytes(&bytes[*from..end]);
                    length.is_some_and(|length| PageFrame::split(&bytes[*from..*from + length]).is_ok())
                };
                at = (at + 1..end).find(whole_at).unwrap_or(end);
            }
        }
    }
    Ok(pages)
}

/// The length of the page at the start of `rest`, frame included, if it fits.
fn frame_bytes(rest: &[u8]) -> Option<usize> {
    let frame = PageFrame::decode(rest).ok()?;
    let length = FRAME_BYTES + frame.sealed_bytes as usize;
    (length <= rest.len()).then_some(length)
}

/// What it takes to open the file's pages.
struct Opened {
    header: Header,
    keys: FileKeys,
    footer: Footer,
}

impl Opened {
    fn entry(&self, frame: &PageFrame) -> Option<(&Section, &PageEntry, PageId)> {
        let section = self.footer.sections.get(usize::from(frame.section))?;
        let entry = section.pages.get(frame.page as usize)?;
        let last = frame.page as usize + 1 == section.pages.len();
        let of = Some(section.summary.id);
        Some((section, entry, PageId { section: frame.section, of, page: frame.page, last, kind: entry.kind() }))
    }

    fn open_page(&self, id: PageId, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
        self.keys.key.open(&id.associated_data(&self.header), sealed, &mut plain).ok()?;
        Some(plain)
    }
}

/// Opens the footer, with the key that the pool's manifest gives.
fn open(
    inspector: &mut Inspector<'_>,
    name: &str,
    bytes: &[u8],
    header: Option<&Header>,
    pages: &[Found],
) -> io::Result<Option<Opened>> {
    let (Some(opener), Some(header)) = (inspector.opener, header) else { return Ok(None) };
    let keys = opener.pool(header.pool).and_then(|pool| {
        let file = pool.file(FileId(header.file.0)).ok_or("the manifest does not name this file: it is not live")?;
        pool.file_keys(header.pool, file).ok_or_else(|| "its data key cannot be unwrapped".to_owned())
    });
    let keys = match keys {
        Ok(keys) => keys,
        Err(why) => return inspector.printer.note(name, &format!("not opened: {why}")).map(|()| None),
    };
    if !keys.commits_to(&header.commitment) {
        let what = "sealed under another data key or salt than the manifest names";
        return inspector.printer.damage(name, "run header", 48, what).map(|()| None);
    }
    let Some(found) = pages.iter().rev().find(|found| found.frame.kind == PageKind::Footer) else {
        return inspector.printer.damage(name, "footer", bytes.len() as u64, "is missing").map(|()| None);
    };
    let mut plain = Zeroizing::new(Vec::new());
    let sealed = sealed_page(bytes, found);
    let footer = match keys.key.open(&PageId::FOOTER.associated_data(header), sealed, &mut plain) {
        Ok(()) => Footer::decode(&plain).map_err(|fault| fault.reason),
        Err(_) => Err("tag does not match"),
    };
    match footer {
        Ok(footer) => Ok(Some(Opened { header: *header, keys, footer })),
        Err(what) => inspector.printer.damage(name, "footer", found.offset as u64, what).map(|()| None),
    }
}

fn sealed_page<'b>(bytes: &'b [u8], found: &Found) -> &'b [u8] {
    let start = found.offset + FRAME_BYTES;
    bytes.get(start..start + found.frame.sealed_bytes as usize).unwrap_or_default()
}

fn show_sections(inspector: &mut Inspector<'_>, name: &str, footer: &Footer) -> io::Result<()> {
    for (number, section) in footer.sections.iter().enumerate() {
        let summary = &section.summary;
        let mut fields = vec![("section", json!(number))];
        fields.extend(page::of(summary.id));
        fields.push(("entries", json!(summary.entries)));
        fields.push(("empty_entries", json!(summary.empty_entries)));
        if let SectionId::Column { .. } = summary.id {
            fields.push(("first_ordinal", json!(summary.first_ordinal)));
            fields.push(("last_ordinal", json!(summary.last_ordinal)));
        }
        fields.push(("pages", json!(section.pages.len())));
        fields.push(("disk_bytes", json!(summary.disk_bytes)));
        inspector.printer.fact(name, "section", None, &fields)?;
    }
    Ok(())
}

fn show_page(
    inspector: &mut Inspector<'_>,
    name: &str,
    bytes: &[u8],
    pages: &[Found],
    index: usize,
    opened: Option<&Opened>,
) -> io::Result<()> {
    let found = &pages[index];
    let (frame, offset) = (&found.frame, found.offset as u64);
    let symbols = |place: SymbolsPlace| {
        let is_it = |other: &&Found| (other.frame.section, other.frame.page) == (frame.section, place.page);
        let (found, opened) = (pages[..index].iter().find(is_it)?, opened?);
        let plain = opened.open_page(opened.entry(&found.frame)?.2, sealed_page(bytes, found))?;
        ColumnPage::open(&plain[..]).ok()?.symbols().cloned()
    };
    let kind = match frame.kind {
        PageKind::Data => "data",
        PageKind::Filter => "filter",
        PageKind::OrdinalSet => "ordinals",
        PageKind::Footer => "footer",
    };
    let mut fields: Vec<(&str, Value)> = vec![
        ("index", json!(index)),
        ("kind", json!(kind)),
        ("section", json!(frame.section)),
        ("page", json!(frame.page)),
        ("sealed_bytes", json!(frame.sealed_bytes)),
    ];
    let known = opened.filter(|_| frame.kind != PageKind::Footer).map(|opened| (opened, opened.entry(frame)));
    let mut plain = None;
    match known {
        Some((opened, Some((section, entry, id)))) => {
            fields.extend(page::of(section.summary.id));
            fields.push(("entries", json!(entry.entries)));
            if found.sound {
                plain = opened.open_page(id, sealed_page(bytes, found)).map(|plain| (plain, section.summary.id));
                match &plain {
                    Some((plain, of)) => match page::shape(*of, frame.kind, plain, &symbols) {
                        Ok(shape) => fields.extend(shape),
                        Err(fault) => inspector.printer.damage(name, fault.structure, offset, fault.reason)?,
                    },
                    None => inspector.printer.damage(name, "page", offset, "tag does not match")?,
                }
            }
        }
        Some((_, None)) => inspector.printer.damage(name, "page", offset, "the footer does not name it")?,
        None => {}
    }
    if !inspector.wanted.brief {
        inspector.printer.fact(name, "page", Some(offset), &fields)?;
    }
    let plain = plain.filter(|_| inspector.wanted.reveal);
    if let Some((plain, of)) = plain.as_ref().filter(|_| frame.kind == PageKind::Data) {
        let shown = page::values(&mut inspector.printer, name, (frame.section, frame.page), *of, plain, &symbols)?;
        if let Err(fault) = shown {
            inspector.printer.damage(name, fault.structure, offset, fault.reason)?;
        }
    }
    if inspector.wanted.hex {
        match &plain {
            Some((plain, _)) => inspector.printer.hex(name, 0, plain, true)?,
            None => inspector.printer.hex(name, offset + FRAME_BYTES as u64, sealed_page(bytes, found), false)?,
        }
    }
    Ok(())
}
