//! Vectors of run files: header, page frame, footer, trailer.

use stoa_format::column::ColumnKind;
use stoa_format::run::{
    Footer, Header, PageEntry, PageFrame, PageKind, PagePlace, RunKind, Section, SectionId, SectionSummary, Trailer,
    WRITE_VERSION, Zone,
};
use stoa_format::{AttrId, FileId, KeyEpoch, Keyspace, PoolId};

use super::{Vector, and, bad, cut, good, summed, with};

pub fn header() -> Vec<u8> {
    Header {
        write_version: WRITE_VERSION,
        kind: RunKind::Flush,
        pool: PoolId([0x44; 16]),
        file: FileId(18),
        key_epoch: KeyEpoch(1),
        commitment: [0x55; 32],
    }
    .encode()
    .to_vec()
}

pub fn trailer() -> Vec<u8> {
    Trailer { footer_offset: 3832, footer_bytes: 200, page_count: 3, root: [0x66; 32] }.encode().to_vec()
}

fn frame() -> Vec<u8> {
    let sealed = [0xaa; 41];
    let frame = PageFrame { sealed_bytes: sealed.len() as u32, page: 2, section: 1, kind: PageKind::Data };
    [&frame.encode(&sealed)[..], &sealed].concat()
}

/// Puts the right checksum into a page's frame.
fn reframed(mut page: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&page[4..]);
    page[..4].copy_from_slice(&crc.to_le_bytes());
    page
}

pub fn run_files() -> Vec<Vector> {
    const H: &str = "run header";
    const F: &str = "page frame";
    const T: &str = "run trailer";
    let (header, frame, trailer) = (header(), frame(), trailer());
    let place = "run trailer at offset 8: the footer does not stand before the trailer";
    vec![
        good(H, "as written", header.clone()),
        good(H, "newer write version", summed(with(&header, 10, &[2]))),
        bad(H, "empty", vec![], "run header at offset 0: too short"),
        bad(H, "cut", header[..100].to_vec(), "run header at offset 100: too short"),
        bad(H, "another magic", summed(with(&header, 7, b"\n")), "run header at offset 0: not a run file"),
        bad(H, "flipped bit", with(&header, 33, &[1]), "run header at offset 124: checksum does not match"),
        bad(
            H,
            "newer read version",
            summed(with(&header, 8, &[2])),
            "run header at offset 8: written by a newer version",
        ),
        bad(H, "kind 4", summed(with(&header, 12, &[4])), "run header at offset 12: unknown number"),
        bad(H, "cipher 2", summed(with(&header, 13, &[2])), "run header at offset 13: unknown cipher"),
        bad(
            H,
            "reserved at 14",
            summed(with(&header, 14, &[1])),
            "run header at offset 14: reserved bytes are not zero",
        ),
        bad(
            H,
            "reserved at 44",
            summed(with(&header, 44, &[1])),
            "run header at offset 44: reserved bytes are not zero",
        ),
        bad(
            H,
            "reserved at 123",
            summed(with(&header, 123, &[1])),
            "run header at offset 80: reserved bytes are not zero",
        ),
        good(F, "as written", frame.clone()),
        bad(F, "empty", vec![], "page frame at offset 0: too short"),
        bad(F, "kind 5", reframed(with(&frame, 14, &[5])), "page frame at offset 14: unknown page kind"),
        bad(F, "reserved", reframed(with(&frame, 15, &[1])), "page frame at offset 15: reserved bytes are not zero"),
        bad(
            F,
            "too short for a seal",
            reframed(with(&frame, 4, &[39])),
            "page frame at offset 4: length out of bounds",
        ),
        bad(F, "too long", reframed(with(&frame, 7, &[0x11])), "page frame at offset 4: length out of bounds"),
        bad(
            F,
            "another length",
            reframed(with(&frame, 4, &[42])),
            "page frame at offset 4: length differs from the directory's",
        ),
        bad(F, "flipped bit", with(&frame, 40, &[0xab]), "page frame at offset 0: checksum does not match"),
        bad(F, "moved to another section", with(&frame, 12, &[2]), "page frame at offset 0: checksum does not match"),
        good(T, "as written, of a file of 4096 bytes", trailer.clone()),
        bad(T, "another magic", summed(with(&trailer, 7, b"S")), "run trailer at offset 0: the file has no trailer"),
        bad(T, "flipped bit", with(&trailer, 30, &[0]), "run trailer at offset 60: checksum does not match"),
        bad(T, "cut", cut(&trailer, 1), "run trailer at offset 63: too short"),
        bad(T, "reserved", summed(with(&trailer, 57, &[1])), "run trailer at offset 56: reserved bytes are not zero"),
        bad(T, "footer elsewhere", summed(with(&trailer, 8, &[0xf9])), place),
        bad(T, "footer past the end of all", summed(with(&trailer, 8, &[0xff; 8])), place),
        bad(T, "footer in the header", summed(with(&trailer, 8, &[0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0x0f])), place),
    ]
}

fn page(offset: u64, place: PagePlace) -> PageEntry {
    PageEntry { offset, sealed_bytes: 140, entries: 3, nonce: [0xa1; 24], tag: [0xa2; 16], place }
}

fn column(first_ordinal: u64, last_ordinal: u64, zone: Zone) -> PagePlace {
    PagePlace::Column { first_ordinal, last_ordinal, zone }
}

fn summary(id: SectionId) -> SectionSummary {
    let (first_ordinal, last_ordinal) = if matches!(id, SectionId::Column { .. }) { (10, 40) } else { (0, 0) };
    SectionSummary { id, entries: 6, empty_entries: 1, first_ordinal, last_ordinal, disk_bytes: 468 }
}

fn column_section(pages: Vec<PageEntry>) -> Section {
    let id = SectionId::Column { attr: AttrId(64), kind: ColumnKind::Bytes };
    Section { summary: summary(id), filter_prefix: 0, last_key: vec![], pages }
}

fn sorted_section(pages: Vec<PageEntry>) -> Section {
    Section { summary: summary(SectionId::Sorted(Keyspace(1))), filter_prefix: 10, last_key: b"zz".to_vec(), pages }
}

fn footer(sections: Vec<Section>) -> Vec<u8> {
    Footer { sections }.encode()
}

pub fn footers() -> Vec<Vector> {
    const S: &str = "run footer";
    let bytes = Zone::Bytes { min: b"ana".to_vec(), max: b"zoe".to_vec() };
    let whole = footer(vec![
        column_section(vec![
            page(128, column(10, 12, bytes)),
            page(284, column(13, 40, Zone::Int { min: -1, max: 7 })),
            page(440, PagePlace::OrdinalSet),
        ]),
        sorted_section(vec![
            page(596, PagePlace::Sorted { from_key: vec![] }),
            page(752, PagePlace::Sorted { from_key: b"m".to_vec() }),
            page(908, PagePlace::Filter { first_page: 0 }),
        ]),
    ]);
    let one = footer(vec![column_section(vec![page(128, column(10, 12, Zone::Unknown))])]);
    let order = |pages| footer(vec![column_section(pages)]);
    let keys = |pages| footer(vec![sorted_section(pages)]);
    let key = |key: &[u8]| PagePlace::Sorted { from_key: key.to_vec() };
    let late = "run footer at offset 243: pages are out of order";
    vec![
        good(S, "a column and a keyspace", whole.clone()),
        good(S, "no section", footer(vec![])),
        bad(S, "empty", vec![], "run footer at offset 0: too short"),
        bad(S, "reserved", vec![0, 0, 1, 0], "run footer at offset 2: reserved bytes are not zero"),
        bad(S, "more than 4096 sections", vec![1, 0x10, 0, 0], "run footer at offset 0: too many sections"),
        bad(S, "a section that is not there", vec![1, 0, 0, 0], "run footer at offset 4: too short"),
        bad(S, "a byte more", and(&whole, &[0]), "run footer at offset 529: bytes behind the end"),
        bad(S, "section kind 3", with(&one, 4, &[3]), "run footer at offset 8: unknown kind of section"),
        bad(S, "column kind 5", with(&one, 5, &[5]), "column kind at offset 0: unknown number"),
        bad(S, "keyspace above 255", with(&keys(vec![]), 7, &[1]), "run footer at offset 8: keyspace above 255"),
        bad(S, "reserved in a summary", with(&one, 8, &[1]), "run footer at offset 8: reserved bytes are not zero"),
        bad(
            S,
            "more pages than bytes",
            with(&one, 56, &[2]),
            "run footer at offset 60: more pages than bytes for them",
        ),
        bad(S, "page kind 9", with(&one, 76, &[9]), "run footer at offset 77: unknown kind of page"),
        bad(
            S,
            "a filter in a column",
            with(&one, 76, &[2]),
            "run footer at offset 117: this kind of page does not belong here",
        ),
        bad(S, "zone map 3", with(&one, 133, &[3]), "run footer at offset 134: unknown kind of zone map"),
        bad(
            S,
            "page too short for a seal",
            with(&one, 68, &[39]),
            "run footer at offset 134: a sealed page is too short or too long",
        ),
        bad(
            S,
            "page ends before it starts",
            with(&one, 117, &[13]),
            "run footer at offset 134: a page ends before it starts",
        ),
        bad(
            S,
            "pages of a column overlap",
            order(vec![page(128, column(10, 12, Zone::Unknown)), page(284, column(12, 13, Zone::Unknown))]),
            "run footer at offset 208: pages are out of order",
        ),
        bad(
            S,
            "offsets do not ascend",
            order(vec![page(128, column(10, 12, Zone::Unknown)), page(128, column(13, 14, Zone::Unknown))]),
            "run footer at offset 208: pages are out of order",
        ),
        bad(
            S,
            "data behind the ordinal set",
            order(vec![page(128, PagePlace::OrdinalSet), page(284, column(13, 14, Zone::Unknown))]),
            "run footer at offset 191: pages are out of order",
        ),
        bad(
            S,
            "keys do not ascend",
            keys(vec![page(128, key(b"m")), page(284, key(b"m"))]),
            "run footer at offset 182: pages are out of order",
        ),
        bad(
            S,
            "filters do not ascend",
            keys(vec![
                page(128, key(b"")),
                page(284, PagePlace::Filter { first_page: 1 }),
                page(440, PagePlace::Filter { first_page: 1 }),
            ]),
            late,
        ),
    ]
}
