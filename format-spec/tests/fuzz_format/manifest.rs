//! Manifests, and what stands in them.

use stoa_format::manifest::{
    FilePlace, FileRef, ManifestBody, ManifestHeader, PeriodRef, SectionContent, SectionRef, append_copy, decode_copy,
    decode_file,
};
use stoa_format::{AttrId, Epoch, FileId, KeyEpoch, Keyspace, Period, PoolId, Seq};
use stoa_fuzz::Target;

use super::{mend_sum, refused, u32_at};

fn file() -> Vec<u8> {
    let keys = vec![(KeyEpoch(1), b"wrapped".to_vec()), (KeyEpoch(1), vec![3; 150]), (KeyEpoch(2), b"w".to_vec())];
    let clear = ManifestHeader { pool: PoolId([8; 16]), number: 3, keys }.encode(60);
    let mut file = Vec::new();
    append_copy(&clear, &[6; 60], &mut file);
    append_copy(&clear, &[6; 60], &mut file);
    file
}

pub(crate) fn file_ref(id: u64) -> FileRef {
    let column = |number, dense| SectionContent::Column { attr: AttrId(number), dense };
    FileRef {
        id: FileId(id),
        place: FilePlace::Flush,
        folder: 0,
        key_epoch: KeyEpoch(1),
        salt: [6; 32],
        root: [7; 32],
        len: 4096,
        age: 1,
        sections: vec![
            SectionRef { section: 0, content: column(64, false) },
            SectionRef { section: 1, content: column(65, true) },
            SectionRef { section: 2, content: SectionContent::Keys { keyspace: Keyspace(1) } },
        ],
    }
}

fn body() -> ManifestBody {
    let period = |number: u32, first_seq| PeriodRef { period: Period(number), first_seq: Seq(first_seq), key: [5; 32] };
    ManifestBody {
        flushed_seq: Seq(9),
        chain: [1; 32],
        epoch: Epoch(0),
        created_at_ms: 5,
        next_ordinal: 100,
        next_file_id: 3,
        next_group_id: 2,
        next_age: 4,
        users: 99,
        groups: 1,
        digest: Some(77),
        digest_key: [2; 32],
        cursor_key: [3; 32],
        alias_key: [4; 32],
        periods: vec![period(1, 1), period(2, 6)],
        documents: vec![("schema".into(), b"{}".to_vec()), ("config/x".into(), vec![])],
        live: vec![1, 2, 3],
        files: vec![file_ref(1), file_ref(2)],
        last_verify_ms: 0,
        history_from: Seq(0),
    }
}

/// Mends the copy at the start, and the one in the middle.
fn repair(bytes: &mut [u8]) {
    for start in [0, bytes.len() / 2] {
        let copy = &mut bytes[start..];
        if let Some(at) = u32_at(copy, 12).and_then(|len| len.checked_sub(4)).filter(|at| at + 4 <= copy.len()) {
            mend_sum(copy, 0, at);
        }
    }
}

#[test]
fn fuzz_manifest() {
    Target::new("manifest", |bytes, seen| match decode_file(bytes) {
        Ok(copy) => {
            seen.count("keys", copy.header.keys.len());
            let start = if decode_copy(bytes).is_ok() { 0 } else { bytes.len() / 2 };
            let bytes = &bytes[start..start + copy.len];
            let mut clear = copy.header.encode(copy.sealed.len());
            // Versions are not kept.
            clear[8..12].copy_from_slice(&bytes[8..12]);
            assert_eq!(clear, copy.clear, "another encoding");
            let mut again = Vec::new();
            append_copy(&clear, copy.sealed, &mut again);
            assert_eq!(again, bytes, "another encoding");
            assert_eq!(copy.header.keys.last().map(|key| key.0), Some(copy.header.newest_key_epoch()));
        }
        Err(fault) => refused(seen, &fault),
    })
    .seeds([file()])
    .tokens(&["STOAMAN\n"])
    .repair(repair)
    .explore();
}

#[test]
fn fuzz_manifest_body() {
    let empty =
        ManifestBody { digest: None, periods: vec![], documents: vec![], live: vec![], files: vec![], ..body() };
    Target::new("manifest_body", |bytes, seen| match ManifestBody::decode(bytes) {
        Ok(body) => {
            seen.count("files", body.files.len());
            seen.count("periods", body.periods.len());
            seen.note(body.digest.is_some());
            assert_eq!(body.encode(), bytes, "another encoding");
        }
        Err(fault) => refused(seen, &fault),
    })
    .seeds([body().encode(), empty.encode()])
    .explore();
}
