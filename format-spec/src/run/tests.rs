use proptest::prelude::*;

use super::*;
use crate::column::ColumnKind;
use crate::{AttrId, Keyspace};

fn header() -> Header {
    Header {
        write_version: WRITE_VERSION,
        kind: RunKind::Column,
        pool: PoolId([7; 16]),
        file: FileId(0x1234),
        key_epoch: KeyEpoch(3),
        commitment: [9; 32],
    }
}

#[test]
fn a_header_comes_back_and_every_flipped_bit_shows() {
    let bytes = header().encode();
    assert_eq!(Header::decode(&bytes), Ok(header()));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Header::decode(&damaged).is_err(), "bit {bit}");
    }
    assert!(Header::decode(&bytes[..127]).is_err());
}

#[test]
fn a_newer_format_is_refused_as_such() {
    let mut bytes = header().encode();
    bytes[8] = 2;
    let sum = crc32fast::hash(&bytes[..124]);
    bytes[124..].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(Header::decode(&bytes).unwrap_err().reason, "written by a newer version");
}

#[test]
fn a_trailer_comes_back_and_every_flipped_bit_shows() {
    let trailer = Trailer { footer_offset: 1000, footer_bytes: 500, page_count: 9, root: [5; 32] };
    let bytes = trailer.encode();
    assert_eq!(Trailer::decode(&bytes, 1564), Ok(trailer));
    assert!(Trailer::decode(&bytes, 1565).is_err());
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Trailer::decode(&damaged, 1564).is_err(), "bit {bit}");
    }
}

#[test]
fn a_frame_shows_every_flipped_bit() {
    let sealed = [3; 50];
    let frame = PageFrame { sealed_bytes: 50, page: 2, section: 1, kind: PageKind::Data };
    let bytes = [&frame.encode(&sealed)[..], &sealed].concat();
    assert_eq!(PageFrame::split(&bytes), Ok((frame, &sealed[..])));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(PageFrame::split(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn associated_data_differs_with_every_field() {
    let of = Some(SectionId::Column { attr: AttrId(64), kind: ColumnKind::Int });
    let page = PageId { section: 0, of, page: 0, last: false, kind: PageKind::Data };
    let variants = [
        (page, header()),
        (PageId { section: 1, ..page }, header()),
        (PageId { page: 1, ..page }, header()),
        (PageId { last: true, ..page }, header()),
        (PageId { kind: PageKind::OrdinalSet, ..page }, header()),
        (PageId { of: Some(SectionId::Sorted(Keyspace(64))), ..page }, header()),
        (PageId { of: Some(SectionId::Column { attr: AttrId(65), kind: ColumnKind::Int }), ..page }, header()),
        (PageId::FOOTER, header()),
        (page, Header { pool: PoolId([8; 16]), ..header() }),
        (page, Header { file: FileId(1), ..header() }),
        (page, Header { key_epoch: KeyEpoch(4), ..header() }),
        (page, Header { kind: RunKind::Flush, ..header() }),
    ];
    let all: std::collections::HashSet<_> =
        variants.iter().map(|(page, header)| page.associated_data(header)).collect();
    assert_eq!(all.len(), variants.len());
}

fn zone() -> impl Strategy<Value = Zone> {
    let short = || prop::collection::vec(any::<u8>(), 0..=ZONE_PREFIX_BYTES);
    prop_oneof![
        Just(Zone::Unknown),
        any::<(i64, i64)>().prop_map(|(min, max)| Zone::Int { min, max }),
        (short(), short()).prop_map(|(min, max)| Zone::Bytes { min, max }),
    ]
}

fn section() -> impl Strategy<Value = Section> {
    (any::<bool>(), prop::collection::vec((zone(), 1u64..9, any::<[u8; 16]>()), 0..9), any::<u16>()).prop_map(
        |(sorted, pages, number)| {
            let id = if sorted {
                SectionId::Sorted(Keyspace(number as u8))
            } else {
                SectionId::Column { attr: AttrId(number), kind: ColumnKind::Bytes }
            };
            let mut at = 0;
            let mut entries: Vec<PageEntry> = pages
                .into_iter()
                .map(|(zone, step, tag)| {
                    at += step * 2;
                    let place = if sorted {
                        PagePlace::Sorted { from_key: at.to_be_bytes().to_vec() }
                    } else {
                        PagePlace::Column { first_ordinal: at, last_ordinal: at + 1, zone }
                    };
                    PageEntry { offset: at * 1000, sealed_bytes: 99, entries: 3, nonce: [1; 24], tag, place }
                })
                .collect();
            if let Some(last) = entries.last().cloned() {
                let place = if sorted { PagePlace::Filter { first_page: 0 } } else { PagePlace::OrdinalSet };
                entries.push(PageEntry { offset: last.offset + 1, place, ..last });
            }
            let summary =
                SectionSummary { id, entries: 5, empty_entries: 1, first_ordinal: 0, last_ordinal: at, disk_bytes: 77 };
            Section { summary, filter_prefix: 10, last_key: vec![1, 2, 3], pages: entries }
        },
    )
}

proptest! {
    #[test]
    fn a_footer_comes_back(sections in prop::collection::vec(section(), 0..5)) {
        let footer = Footer { sections };
        let bytes = footer.encode();
        prop_assert_eq!(Footer::decode(&bytes), Ok(footer));
        prop_assert!(bytes.is_empty() || Footer::decode(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn any_bytes_are_a_footer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Footer::decode(&bytes);
        let _ = Header::decode(&bytes);
        let _ = Trailer::decode(&bytes, 10_000);
        let _ = PageFrame::split(&bytes);
        let _ = SectionSummary::decode(&bytes);
    }
}
