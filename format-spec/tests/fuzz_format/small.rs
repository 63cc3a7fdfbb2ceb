//! Files and documents that are small: STORE, CATALOGUE, history, keys, erasure, install.

use stoa_format::erasure::{Erasure, PendingErasure};
use stoa_format::history::{self, HistoryHeader, Records, append_record};
use stoa_format::install::Install;
use stoa_format::keyfile::{KEY_FILE_BYTES, KeyFile, PassphraseCost, Protection};
use stoa_format::store::{CatalogueBody, CatalogueEntry, CatalogueFile, LeftFrames, LogDocument, StoreFile};
use stoa_format::wrapped::WrappedKey;
use stoa_format::{DecodeError, FileId, PoolId, SegmentNumber, Seq, StoreId};
use stoa_fuzz::{Seen, Target};

use super::manifest::file_ref;
use super::{assert_same_but_version, mend_sum, refused, u32_at};

/// Mends a checksum over everything in the last four octets.
fn repair_end(bytes: &mut [u8]) {
    if let Some(at) = bytes.len().checked_sub(4) {
        mend_sum(bytes, 0, at);
    }
}

/// Reads `bytes`; what is read must encode to them.
fn same<T>(
    bytes: &[u8],
    seen: &mut Seen,
    read: impl Fn(&[u8]) -> Result<T, DecodeError>,
    write: impl Fn(&T) -> Vec<u8>,
) {
    match read(bytes) {
        Ok(value) => {
            seen.note("read");
            assert_eq!(write(&value), bytes, "another encoding");
        }
        Err(fault) => refused(seen, &fault),
    }
}

fn catalogue_body() -> CatalogueBody {
    let pool = |name: &str, first_manifest| CatalogueEntry {
        id: PoolId([3; 16]),
        name: name.into(),
        manifest_number: 0,
        manifest_digest: [0; 32],
        flushed_seq: Seq(0),
        first_manifest,
    };
    CatalogueBody {
        seq: Seq(3),
        chain: [2; 32],
        durable_lsn: 8,
        pools: vec![pool("acme", Some(vec![1, 2])), pool("other", None)],
        documents: vec![("acl".into(), b"x".to_vec())],
    }
}

#[test]
fn fuzz_store() {
    let store = StoreFile { id: StoreId([1; 16]), incarnation: 4, created_at_ms: 9, wrapped_key: b"wrapped".to_vec() };
    let catalogue = CatalogueFile { store: StoreId([1; 16]), number: 2, sealed: vec![7; 50] };
    Target::new("store", |bytes, seen| {
        let sum_at = bytes.len().saturating_sub(4);
        match StoreFile::decode(bytes) {
            Ok(file) => {
                seen.note("STORE");
                assert_same_but_version(&file.encode(), bytes, 10, sum_at);
                assert!(StoreFile::read_version(bytes).is_some());
            }
            Err(fault) => refused(seen, &fault),
        }
        match CatalogueFile::decode(bytes) {
            Ok(file) => {
                seen.note("CATALOGUE");
                assert_same_but_version(&file.encode(), bytes, 10, sum_at);
            }
            Err(fault) => refused(seen, &fault),
        }
    })
    .seeds([store.encode(), catalogue.encode()])
    .tokens(&["STOASTO\n", "STOACAT\n"])
    .repair(repair_end)
    .explore();
}

#[test]
fn fuzz_catalogue() {
    let run = |bytes: &[u8], seen: &mut Seen| same(bytes, seen, CatalogueBody::decode, CatalogueBody::encode);
    Target::new("catalogue", run).seeds([catalogue_body().encode()]).explore();
}

#[test]
fn fuzz_log_document() {
    let left = [(1, 3), (9, 8)];
    let left =
        left.map(|(from, to)| LeftFrames { pool: PoolId([4; 16]), kept_from: Seq(from), up_to: Seq(to) }).to_vec();
    let document = LogDocument { first_segment: SegmentNumber(5), left };
    let run = |bytes: &[u8], seen: &mut Seen| same(bytes, seen, LogDocument::decode, LogDocument::encode);
    Target::new("log_document", run).seeds([document.encode(), LogDocument::default().encode()]).explore();
}

#[test]
fn fuzz_history() {
    let header = HistoryHeader { pool: PoolId([7; 16]), first_seq: Seq(3), last_seq: Seq(9), count: 3 };
    let mut file = Vec::new();
    header.encode(&mut file);
    [&b"first frame"[..], b"", &[7; 200]].iter().for_each(|body| append_record(body, &mut file));
    Target::new("history", |bytes, seen| {
        if let Ok(name) = std::str::from_utf8(bytes)
            && let Some((first, last)) = history::parse_file_name(name)
        {
            seen.note("name");
            let header = HistoryHeader { first_seq: first, last_seq: last, ..header };
            assert_eq!(header.file_name(), name, "another name");
        }
        let (header, mut records) = match Records::decode(bytes) {
            Ok(read) => read,
            Err(fault) => return refused(seen, &fault),
        };
        let mut again = Vec::new();
        header.encode(&mut again);
        let mut count = 0;
        loop {
            match records.next_record() {
                Ok(Some(body)) => append_record(body, &mut again),
                Ok(None) => break,
                Err(fault) => return refused(seen, &fault),
            }
            count += 1;
        }
        seen.count("records", count);
        assert_eq!(count, header.count as usize);
        assert_same_but_version(&again, bytes, 10, history::HEADER_BYTES - 4);
    })
    .seeds([file, header.file_name().into_bytes()])
    .tokens(&["STOAHIS\n", "+", ".frames"])
    .repair(|bytes| {
        mend_sum(bytes, 0, history::HEADER_BYTES - 4);
        let mut at = history::HEADER_BYTES;
        while let Some(len) = u32_at(bytes, at)
            && let Some(body) = bytes.get(at + history::RECORD_BYTES..at + history::RECORD_BYTES + len)
        {
            let sum = crc32fast::hash(body);
            bytes[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
            at += history::RECORD_BYTES + len;
        }
    })
    .explore();
}

#[test]
fn fuzz_keyfile() {
    let mut seeds = [Vec::new(), Vec::new()];
    let file = |protection| KeyFile { write_version: 1, key_id: [1; 16], protection };
    file(Protection::None { key: &[2; 32] }).encode(&mut seeds[0]);
    let (cost, salt, check) = (PassphraseCost::default(), [3; 32], [4; 32]);
    file(Protection::Passphrase { cost, salt, check, sealed: &[5; 72] }).encode(&mut seeds[1]);
    Target::new("keyfile", |bytes, seen| match KeyFile::decode(bytes) {
        Ok(file) => {
            let mut again = Vec::new();
            file.encode(&mut again);
            again[8..10].copy_from_slice(&bytes[8..10]);
            mend_sum(&mut again, 0, bytes.len() - 4);
            assert_eq!(again, bytes, "another encoding");
            assert!(KEY_FILE_BYTES.contains(&bytes.len()));
            if let Protection::Passphrase { cost, .. } = file.protection {
                // What a wrong file can make the program spend.
                assert!(cost.is_bounded() && cost.memory_kib <= 1 << 20 && cost.passes <= 100 && cost.lanes <= 16);
            }
        }
        Err(fault) => refused(seen, &fault),
    })
    .seeds(seeds)
    .repair(repair_end)
    .explore();
}

#[test]
fn fuzz_wrapped() {
    let key = WrappedKey { provider: "local".into(), key_id: "00ff".into(), bytes: vec![7; 72] };
    let run = |bytes: &[u8], seen: &mut Seen| same(bytes, seen, WrappedKey::decode, WrappedKey::to_bytes);
    Target::new("wrapped", run)
        .seeds([key.to_bytes()])
        .tokens(&["aws-kms", "arn:aws:kms:"])
        .longest(16 << 10)
        .explore();
}

#[test]
fn fuzz_erasure() {
    let pending = [(1000, 8), (900, 12)].map(|(due_ms, seq)| PendingErasure { due_ms, last_seq: Seq(seq) }).to_vec();
    let erasure = Erasure { erased_seq: Seq(5), frames_from: Seq(7), files_from: FileId(300), pending };
    let run = |bytes: &[u8], seen: &mut Seen| same(bytes, seen, Erasure::decode, Erasure::encode);
    Target::new("erasure", run).seeds([erasure.encode(), Erasure::default().encode()]).explore();
}

#[test]
fn fuzz_install() {
    let install = Install {
        id: FileId(9),
        next_ordinal: 1000,
        next_group_id: 3,
        next_age: 5,
        groups: 2,
        live: Some(vec![1, 2]),
        dropped: vec![(FileId(1), 3), (FileId(200), 0)],
        files: vec![file_ref(7), file_ref(8)],
    };
    let run = |bytes: &[u8], seen: &mut Seen| same(bytes, seen, Install::decode, Install::encode);
    Target::new("install", run).seeds([install.encode(), Install::default().encode()]).explore();
}
