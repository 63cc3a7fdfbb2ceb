//! Run files: header, frames of pages, trailer, footer.

use stoa_format::column::ColumnKind;
use stoa_format::run::{
    FRAME_BYTES, Footer, HEADER_BYTES, Header, PageEntry, PageFrame, PageKind, PagePlace, RunKind, SEAL_BYTES, Section,
    SectionId, SectionSummary, TRAILER_BYTES, Trailer, WRITE_VERSION, Zone,
};
use stoa_format::{AttrId, FileId, KeyEpoch, Keyspace, PoolId};
use stoa_fuzz::{Seen, Target};

use super::{assert_same_but_version, mend_sum, refused, u32_at};

/// A header, two frames, a trailer.
fn file() -> Vec<u8> {
    let header = Header {
        write_version: WRITE_VERSION,
        kind: RunKind::Column,
        pool: PoolId([7; 16]),
        file: FileId(0x1234),
        key_epoch: KeyEpoch(3),
        commitment: [9; 32],
    };
    let mut file = header.encode().to_vec();
    for (page, kind, sealed) in [(0, PageKind::Data, &[3; 50][..]), (1, PageKind::Footer, &[4; 77])] {
        let frame = PageFrame { sealed_bytes: sealed.len() as u32, page, section: 1, kind };
        file.extend_from_slice(&frame.encode(sealed));
        file.extend_from_slice(sealed);
    }
    let footer_bytes = (FRAME_BYTES + 77) as u32;
    let footer_offset = file.len() as u64 - u64::from(footer_bytes);
    let trailer = Trailer { footer_offset, footer_bytes, page_count: 2, root: [5; 32] };
    file.extend_from_slice(&trailer.encode());
    file
}

/// Mends header, trailer, and the frames that follow each other.
fn repair(bytes: &mut [u8]) {
    mend_sum(bytes, 0, HEADER_BYTES - 4);
    if let Some(trailer) = bytes.len().checked_sub(TRAILER_BYTES) {
        mend_sum(&mut bytes[trailer..], 0, TRAILER_BYTES - 4);
    }
    let mut at = HEADER_BYTES;
    while let Some(len) = u32_at(bytes, at + 4)
        && let Some(frame) = bytes.get_mut(at..at + FRAME_BYTES + len)
    {
        let sum = crc32fast::hash(&frame[4..]);
        frame[..4].copy_from_slice(&sum.to_le_bytes());
        at += FRAME_BYTES + len;
    }
}

/// Reads a file as a scrubber without keys does.
fn scrub(bytes: &[u8], seen: &mut Seen) {
    match Header::decode(bytes) {
        Ok(header) => assert_same_but_version(&header.encode(), &bytes[..HEADER_BYTES], 10, HEADER_BYTES - 4),
        Err(fault) => refused(seen, &fault),
    }
    let mut at = HEADER_BYTES;
    while let Some(rest) = bytes.get(at..) {
        let frame = match PageFrame::decode(rest) {
            Ok(frame) => frame,
            Err(fault) => return refused(seen, &fault),
        };
        let len = FRAME_BYTES + frame.sealed_bytes as usize;
        let Some(whole) = rest.get(..len) else { break };
        match PageFrame::split(whole) {
            Ok((frame, sealed)) => {
                assert_eq!(frame.encode(sealed)[..], whole[..FRAME_BYTES], "another encoding");
                assert!(sealed.len() >= SEAL_BYTES);
            }
            Err(fault) => refused(seen, &fault),
        }
        seen.note(("frame", frame.kind as u8));
        at += len;
    }
}

#[test]
fn fuzz_run() {
    Target::new("run", |bytes, seen| {
        scrub(bytes, seen);
        let Some(start) = bytes.len().checked_sub(TRAILER_BYTES) else { return };
        match Trailer::decode(&bytes[start..], bytes.len() as u64) {
            Ok(trailer) => {
                seen.note("trailer");
                assert_eq!(trailer.encode()[..], bytes[start..], "another encoding");
                assert_eq!(trailer.footer_offset + u64::from(trailer.footer_bytes), start as u64);
            }
            Err(fault) => refused(seen, &fault),
        }
    })
    .seeds([file()])
    .tokens(&["STOARUN\0", "STOAREND"])
    .repair(repair)
    .explore();
}

fn section(id: SectionId, places: Vec<PagePlace>) -> Section {
    let pages = (1u64..).zip(places).map(|(at, place)| {
        let (nonce, tag) = ([1; 24], [2; 16]);
        PageEntry { offset: at * 1000, sealed_bytes: 99, entries: 3, nonce, tag, place }
    });
    let summary =
        SectionSummary { id, entries: 5, empty_entries: 1, first_ordinal: 0, last_ordinal: 9, disk_bytes: 77 };
    Section { summary, filter_prefix: 10, last_key: vec![1, 2, 3], pages: pages.collect() }
}

fn footer() -> Footer {
    let column = |first_ordinal, zone| PagePlace::Column { first_ordinal, last_ordinal: first_ordinal + 5, zone };
    let numbers = vec![
        column(0, Zone::Int { min: -3, max: 9 }),
        column(9, Zone::Unknown),
        column(20, Zone::Bytes { min: b"a".to_vec(), max: vec![0xff; 16] }),
        PagePlace::OrdinalSet,
    ];
    let keys = vec![
        PagePlace::Sorted { from_key: vec![] },
        PagePlace::Sorted { from_key: b"key".to_vec() },
        PagePlace::Filter { first_page: 0 },
        PagePlace::Filter { first_page: 1 },
    ];
    let sections = vec![
        section(SectionId::Column { attr: AttrId(64), kind: ColumnKind::Bytes }, numbers),
        section(SectionId::Sorted(Keyspace(2)), keys),
    ];
    Footer { sections }
}

#[test]
fn fuzz_footer() {
    Target::new("footer", |bytes, seen| {
        match Footer::decode(bytes) {
            Ok(footer) => {
                seen.count("sections", footer.sections.len());
                seen.count("pages", footer.sections.iter().map(|section| section.pages.len()).sum());
                assert_eq!(footer.encode(), bytes, "another encoding");
                for page in footer.sections.iter().flat_map(|section| &section.pages) {
                    let PagePlace::Column { zone, .. } = &page.place else { continue };
                    let _ = (zone.may_hold_bytes(bytes), zone.may_hold_int(i64::MIN, 0));
                    if let Zone::Bytes { min, max } = zone {
                        // What a page's zone was made of must pass it.
                        assert!(min > max || zone.may_hold_bytes(min), "a zone does not hold its own bound");
                    }
                }
            }
            Err(fault) => refused(seen, &fault),
        }
        match SectionSummary::decode(bytes) {
            Ok(summary) => {
                let mut again = Vec::new();
                summary.encode(&mut again);
                assert_eq!(again, bytes[..SectionSummary::BYTES], "another encoding");
            }
            Err(fault) => refused(seen, &fault),
        }
    })
    .seeds([footer().encode(), footer().encode()[4..].to_vec(), Footer::default().encode()])
    .explore();
}
