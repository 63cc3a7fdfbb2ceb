//! Vectors of the files that are replaced whole: `STORE`, `CATALOGUE`, `MANIFEST`.

use stoa_format::install::Install;
use stoa_format::manifest::{
    FilePlace, FileRef, ManifestBody, ManifestHeader, PeriodRef, SectionContent, SectionRef, append_copy,
};
use stoa_format::store::{CatalogueBody, CatalogueEntry, CatalogueFile, StoreFile};
use stoa_format::{AttrId, Epoch, FileId, KeyEpoch, Keyspace, Period, PoolId, Seq, StoreId};

use super::{Vector, and, bad, cut, good, summed, with};

/// An install of one file, with a new set of live ordinals.
pub fn installs() -> Vec<Vector> {
    const S: &str = "install";
    let file = manifest_body().files.remove(1);
    let install = Install {
        id: FileId(9),
        next_ordinal: 1000,
        next_group_id: 3,
        next_age: 5,
        groups: 2,
        live: Some(vec![1, 2]),
        dropped: vec![(FileId(1), 3)],
        files: vec![file],
    };
    let bytes = install.encode();
    let none = Install::default().encode();
    vec![
        good(S, "all there is", bytes.clone()),
        good(S, "nothing", none.clone()),
        bad(S, "empty", vec![], "install at offset 0: ends too early"),
        bad(S, "version 2", with(&none, 0, &[2]), "install at offset 0: version is unknown"),
        bad(S, "a byte more", and(&none, &[0]), "install at offset 10: bytes are left over"),
        bad(S, "more sections than bytes", with(&none, 8, &[9]), "install at offset 9: counts more than there is"),
        bad(S, "more files than bytes", with(&none, 9, &[1]), "install at offset 10: counts more than there is"),
        bad(S, "place 3", with(&bytes, 17, &[3]), "install at offset 18: file place is unknown"),
    ]
}

/// Of year 2023; what is in the examples needs no other.
const TIME_MS: u64 = 1_700_000_000_000;

pub fn store() -> Vec<u8> {
    StoreFile { id: StoreId([0x11; 16]), incarnation: 2, created_at_ms: TIME_MS, wrapped_key: b"dummy".to_vec() }
        .encode()
}

pub fn store_files() -> Vec<Vector> {
    const S: &str = "STORE";
    let file = store();
    let end = file.len();
    vec![
        good(S, "as written", file.clone()),
        good(S, "newer write version", summed(with(&file, 10, &[9]))),
        bad(S, "empty", vec![], "STORE at offset 0: ends too early"),
        bad(S, "too short for anything", file[..15].to_vec(), "STORE at offset 15: ends too early"),
        bad(S, "the catalogue's magic", summed(with(&file, 4, b"CAT")), "STORE at offset 0: magic does not match"),
        bad(S, "flipped bit", with(&file, 20, &[0x10]), "STORE at offset 50: checksum does not match"),
        bad(S, "cut", cut(&file, 1), "STORE at offset 49: checksum does not match"),
        bad(
            S,
            "newer read version",
            summed(with(&file, 8, &[2])),
            "STORE at offset 8: read version is newer than this program",
        ),
        bad(
            S,
            "key longer than the file",
            summed(with(&file, end - 10, &[6])),
            "STORE at offset 45: counts more than there is",
        ),
        bad(S, "a byte more", summed(with(&file, end - 10, &[4])), "STORE at offset 49: bytes are left over"),
    ]
}

fn catalogue_body() -> CatalogueBody {
    let pool = |byte, name: &str, first: Option<&[u8]>| CatalogueEntry {
        id: PoolId([byte; 16]),
        name: name.to_owned(),
        manifest_number: if first.is_some() { 0 } else { 5 },
        manifest_digest: if first.is_some() { [0; 32] } else { [0x77; 32] },
        flushed_seq: Seq(if first.is_some() { 0 } else { 9 }),
        first_manifest: first.map(<[u8]>::to_vec),
    };
    CatalogueBody {
        seq: Seq(4),
        chain: [0x88; 32],
        durable_lsn: 41,
        pools: vec![pool(0x33, "acme", None), pool(0x44, "beta", Some(b"first"))],
        documents: vec![("acl".to_owned(), b"{}".to_vec())],
    }
}

pub fn catalogues() -> Vec<Vector> {
    const S: &str = "CATALOGUE";
    const B: &str = "catalogue body";
    let file = CatalogueFile { store: StoreId([0x11; 16]), number: 3, sealed: vec![0xaa; 40] }.encode();
    let body = catalogue_body().encode();
    let none = CatalogueBody::default().encode();
    vec![
        good(S, "as written", file.clone()),
        bad(S, "STORE's magic", summed(with(&file, 4, b"STO")), "CATALOGUE at offset 0: magic does not match"),
        bad(S, "flipped bit", with(&file, 28, &[4]), "CATALOGUE at offset 77: checksum does not match"),
        bad(
            S,
            "newer read version",
            summed(with(&file, 9, &[1])),
            "CATALOGUE at offset 8: read version is newer than this program",
        ),
        bad(S, "body cut", summed(with(&file, 36, &[41])), "CATALOGUE at offset 37: counts more than there is"),
        bad(S, "a byte more", summed(with(&file, 36, &[39])), "CATALOGUE at offset 76: bytes are left over"),
        good(B, "two pools and a document", body.clone()),
        good(B, "nothing", none.clone()),
        bad(B, "no durable Lsn", none[..47].to_vec(), "catalogue body at offset 40: ends too early"),
        bad(
            B,
            "more pools than bytes",
            and(&none[..48], &[1, 0]),
            "catalogue body at offset 49: counts more than there is",
        ),
        bad(B, "document cut", cut(&body, 1), "catalogue body at offset 202: counts more than there is"),
        bad(B, "a byte more", and(&none, &[0]), "catalogue body at offset 50: bytes are left over"),
        bad(B, "name is not UTF-8", with(&body, 66, &[0xff]), "catalogue body at offset 65: is not UTF-8"),
    ]
}

/// The clear header of the worked example, for a sealed body of 44 bytes.
pub fn manifest_header() -> Vec<u8> {
    ManifestHeader { pool: PoolId([0x44; 16]), number: 5, keys: vec![(KeyEpoch(1), b"dummy".to_vec())] }.encode(44)
}

fn copy() -> Vec<u8> {
    let mut out = Vec::new();
    append_copy(&manifest_header(), &[0xaa; 44], &mut out);
    out
}

fn manifest_body() -> ManifestBody {
    let section = |section, content| SectionRef { section, content };
    let file = |id, place, folder, sections| FileRef {
        id: FileId(id),
        place,
        folder,
        key_epoch: KeyEpoch(1),
        salt: [0x61; 32],
        root: [0x62; 32],
        len: 4096,
        age: id,
        sections,
    };
    ManifestBody {
        flushed_seq: Seq(9),
        chain: [0x51; 32],
        epoch: Epoch(1),
        created_at_ms: TIME_MS,
        next_ordinal: 300,
        next_file_id: 4,
        next_group_id: 2,
        next_age: 4,
        users: 299,
        groups: 1,
        digest: Some(77),
        digest_key: [0x52; 32],
        cursor_key: [0x53; 32],
        alias_key: [0x54; 32],
        periods: vec![
            PeriodRef { period: Period(1), first_seq: Seq(1), key: [0x55; 32] },
            PeriodRef { period: Period(2), first_seq: Seq(10), key: [0x56; 32] },
        ],
        documents: vec![("config/login".into(), b"\x01{}".to_vec()), ("schema".into(), b"{}".to_vec())],
        live: vec![0x3a, 0x30, 0, 0, 0, 0, 0, 0],
        files: vec![
            file(
                1,
                FilePlace::Flush,
                0,
                vec![
                    section(0, SectionContent::Column { attr: AttrId(64), dense: false }),
                    section(3, SectionContent::Keys { keyspace: Keyspace(1) }),
                ],
            ),
            file(2, FilePlace::Column, 64, vec![section(0, SectionContent::Column { attr: AttrId(64), dense: true })]),
            file(3, FilePlace::Index, 1, vec![section(0, SectionContent::Keys { keyspace: Keyspace(1) })]),
        ],
        last_verify_ms: 0,
        history_from: Seq(0),
    }
}

pub fn manifests() -> Vec<Vector> {
    const S: &str = "manifest";
    const B: &str = "manifest body";
    let one = copy();
    let both = [&one[..], &one].concat();
    let broken = with(&one, 20, &[0]);
    let body = manifest_body().encode();
    let unknown = ManifestBody { digest: None, periods: vec![], documents: vec![], files: vec![], ..manifest_body() };
    let short = unknown.encode();
    let twice = |copy: Vec<u8>| [&copy[..], &copy].concat();
    vec![
        good(S, "as written", both.clone()),
        good(S, "the first copy is damaged", [&broken[..], &one].concat()),
        good(S, "the second copy is damaged", [&one[..], &broken].concat()),
        good(S, "the second copy is missing", one.clone()),
        good(S, "newer write version", twice(summed(with(&one, 10, &[2])))),
        bad(S, "empty", vec![], "manifest at offset 0: ends too early"),
        bad(S, "another magic", twice(with(&one, 0, b"X")), "manifest at offset 0: magic does not match"),
        bad(S, "both copies are damaged", twice(broken.clone()), "manifest at offset 99: checksum does not match"),
        bad(
            S,
            "newer read version",
            twice(summed(with(&one, 8, &[2]))),
            "manifest at offset 8: read version is newer than this program",
        ),
        bad(S, "cut in the first copy", one[..80].to_vec(), "manifest at offset 12: ends too early"),
        bad(
            S,
            "body longer than the copy",
            twice(summed(with(&one, 51, &[45]))),
            "manifest at offset 55: ends too early",
        ),
        bad(S, "a byte more", twice(summed(with(&one, 51, &[43]))), "manifest at offset 98: bytes are left over"),
        bad(S, "no key", twice(summed(with(&one, 40, &[0]))), "manifest at offset 41: names no key"),
        bad(
            S,
            "more keys than bytes",
            twice(summed(with(&one, 40, &[0x7f]))),
            "manifest at offset 41: counts more than there is",
        ),
        good(B, "all there is", body.clone()),
        good(B, "digest unknown, no files", short.clone()),
        bad(B, "empty", vec![], "manifest body at offset 0: ends too early"),
        bad(B, "a byte more", and(&body, &[0]), "manifest body at offset 564: bytes are left over"),
        bad(B, "cut", cut(&body, 1), "manifest body at offset 556: ends too early"),
        bad(
            B,
            "more period keys than bytes",
            with(&short, 173, &[9]),
            "manifest body at offset 174: counts more than there is",
        ),
        bad(B, "place 3", with(&body, 301, &[3]), "manifest body at offset 302: file place is unknown"),
        bad(B, "content 0", with(&body, 378, &[0]), "manifest body at offset 381: section content is unknown"),
    ]
}
