//! Whatever is encoded decodes to itself: every structure with every value that its fields can have. Pages, wrapped keys
//! and the primitives have such tests beside their code.

use proptest::collection::vec;
use proptest::prelude::*;
use stoa_format::erasure::{Erasure, PendingErasure};
use stoa_format::history::{HistoryHeader, Records, append_record, parse_file_name};
use stoa_format::install::Install;
use stoa_format::keyfile::{KeyFile, PassphraseCost, Protection};
use stoa_format::manifest::{
    FilePlace, FileRef, ManifestBody, ManifestHeader, PeriodRef, SectionContent, SectionRef, append_copy, decode_file,
};
use stoa_format::ops::{
    CellRef, Cells, EventKind, FrameReader, Operation, Subject, append_transaction, begin_frame, encode_cells,
};
use stoa_format::run::{
    FRAME_BYTES, HEADER_BYTES, Header, PageFrame, PageKind, RunKind, SEAL_BYTES, TRAILER_BYTES, Trailer,
};
use stoa_format::store::{CatalogueBody, CatalogueEntry, CatalogueFile, StoreFile};
use stoa_format::wal::{FrameKind, InnerShell, OuterShell, SegmentHeader};
use stoa_format::wire::Write;
use stoa_format::{
    AttrId, Epoch, FileId, KeyEpoch, Keyspace, Lsn, Ordinal, Period, PoolId, SegmentNumber, Seq, StoreId, Sub,
};

type Bytes = Vec<u8>;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40)
}

fn file_ref() -> impl Strategy<Value = FileRef> {
    let place = prop_oneof![Just(FilePlace::Flush), Just(FilePlace::Column), Just(FilePlace::Index)];
    let content = prop_oneof![
        any::<(u16, bool)>().prop_map(|(attr, dense)| SectionContent::Column { attr: AttrId(attr), dense }),
        any::<u8>().prop_map(|keyspace| SectionContent::Keys { keyspace: Keyspace(keyspace) }),
    ];
    let section = (any::<u16>(), content).prop_map(|(section, content)| SectionRef { section, content });
    (place, any::<([u64; 3], u16, u32)>(), any::<([u8; 32], [u8; 32])>(), vec(section, 0..5)).prop_map(
        |(place, ([id, len, age], folder, key_epoch), (salt, root), sections)| FileRef {
            id: FileId(id),
            place,
            folder,
            key_epoch: KeyEpoch(key_epoch),
            salt,
            root,
            len,
            age,
            sections,
        },
    )
}

fn documents() -> impl Strategy<Value = Vec<(String, Bytes)>> {
    vec(("\\PC{0,9}", bytes()), 0..4)
}

fn manifest_body() -> impl Strategy<Value = ManifestBody> {
    let period = any::<(u32, u64, [u8; 32])>().prop_map(|(period, first_seq, key)| PeriodRef {
        period: Period(period),
        first_seq: Seq(first_seq),
        key,
    });
    let numbers = any::<([u64; 10], u32, Option<u128>)>();
    (numbers, any::<[[u8; 32]; 4]>(), vec(period, 0..4), documents(), bytes(), vec(file_ref(), 0..4)).prop_map(
        |((numbers, epoch, digest), [chain, digest_key, cursor_key, alias_key], periods, documents, live, files)| {
            let [a, b, c, d, e, f, g, h, i, j] = numbers;
            ManifestBody {
                flushed_seq: Seq(a),
                chain,
                epoch: Epoch(epoch),
                created_at_ms: b,
                next_ordinal: c,
                next_file_id: d,
                next_group_id: e,
                next_age: f,
                users: g,
                groups: h,
                digest,
                digest_key,
                cursor_key,
                alias_key,
                periods,
                documents,
                live,
                files,
                last_verify_ms: i,
                history_from: Seq(j),
            }
        },
    )
}

/// An operation, owned.
#[derive(Debug, Clone)]
enum Op {
    Put(u64, u8, Vec<(u16, Option<Result<i64, Bytes>>)>),
    Set(u8, Bytes, Bytes),
    Delete(u8, Bytes),
    Digest(u64, u128),
    Event(usize, u8, [u8; 16], String, u64, Vec<u16>),
    Meta(String, Option<Bytes>),
}

fn op() -> impl Strategy<Value = Op> {
    let value = prop::option::of(prop_oneof![any::<i64>().prop_map(Ok), bytes().prop_map(Err)]);
    let cells = prop::collection::btree_map(any::<u16>(), value, 0..5).prop_map(|cells| cells.into_iter().collect());
    let events = 0..EventKind::ALL.len();
    prop_oneof![
        (any::<u64>(), 0u8..4, cells).prop_map(|(ordinal, flags, cells)| Op::Put(ordinal, flags, cells)),
        (any::<u8>(), bytes(), bytes()).prop_map(|(keyspace, key, value)| Op::Set(keyspace, key, value)),
        (any::<u8>(), bytes()).prop_map(|(keyspace, key)| Op::Delete(keyspace, key)),
        any::<(u64, u128)>().prop_map(|(leaf, delta)| Op::Digest(leaf, delta)),
        (events, 0u8..4, any::<[u8; 16]>(), "\\PC{0,9}", any::<u64>(), vec(any::<u16>(), 0..4))
            .prop_map(|(event, kind, sub, name, version, attrs)| Op::Event(event, kind, sub, name, version, attrs)),
        ("\\PC{0,9}", prop::option::of(bytes())).prop_map(|(name, content)| Op::Meta(name, content)),
    ]
}

fn encoded_cells(op: &Op) -> Bytes {
    let mut out = Vec::new();
    if let Op::Put(_, _, cells) = op {
        let cells = cells.iter().map(|(attr, cell)| (AttrId(*attr), cell_ref(cell)));
        encode_cells(cells.collect::<Vec<_>>().into_iter(), &mut out);
    }
    out
}

fn cell_ref(cell: &Option<Result<i64, Bytes>>) -> CellRef<'_> {
    match cell {
        None => CellRef::Absent,
        Some(Ok(value)) => CellRef::Int(*value),
        Some(Err(value)) => CellRef::Bytes(value),
    }
}

fn operation<'a>(op: &'a Op, cells: &'a [u8]) -> Operation<'a> {
    match op {
        Op::Put(ordinal, flags, _) => Operation::Put { ordinal: Ordinal(*ordinal), flags: *flags, cells },
        Op::Set(keyspace, key, value) => Operation::SetKey { keyspace: Keyspace(*keyspace), key, value },
        Op::Delete(keyspace, key) => Operation::DeleteKey { keyspace: Keyspace(*keyspace), key },
        Op::Digest(leaf, delta) => Operation::Digest { leaf: *leaf, delta: *delta },
        Op::Event(event, kind, sub, name, version, attrs) => {
            let subject = match kind {
                0 => Subject::Pool,
                1 => Subject::User(Sub(*sub)),
                2 => Subject::Named(name),
                _ => Subject::Member(Sub(*sub), name),
            };
            let attrs = attrs.iter().copied().map(AttrId).collect();
            Operation::Event { event: EventKind::ALL[*event], subject, version: *version, attrs }
        }
        Op::Meta(name, content) => Operation::Meta { name, content: content.as_deref() },
    }
}

proptest! {
    #[test]
    fn segments_and_frames(
        store in any::<[u8; 16]>(), numbers in any::<[u64; 5]>(), kind in any::<bool>(), body in bytes(), durable in any::<u64>(),
    ) {
        let [number, incarnation, first_lsn, previous, previous_end] = numbers;
        let header = SegmentHeader {
            store: StoreId(store),
            number: SegmentNumber(number),
            incarnation,
            first_lsn: Lsn(first_lsn),
            previous: SegmentNumber(previous),
            previous_end,
        };
        prop_assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        let body = if kind { body } else { Vec::new() };
        let lsn = first_lsn.max(1);
        let shell = OuterShell {
            kind: if kind { FrameKind::Data } else { FrameKind::Seal },
            body_len: body.len() as u32,
            segment: SegmentNumber(number),
            incarnation,
            lsn: Lsn(lsn),
            durable_lsn: Lsn(durable % lsn),
        };
        let mut frame = Vec::new();
        shell.encode_frame(&body, &mut frame);
        prop_assert_eq!(OuterShell::decode_frame(&frame), Ok((shell, &body[..])));
    }

    #[test]
    fn inner_shells(
        pool in any::<[u8; 16]>(), [epoch, key_epoch, period] in any::<[u32; 3]>(), count in 1u32.., seq in 0u64..1 << 52,
        chain in any::<[u8; 32]>(), sealed in bytes(),
    ) {
        let shell = InnerShell {
            pool: PoolId(pool),
            epoch: Epoch(epoch),
            key_epoch: KeyEpoch(key_epoch),
            period: Period(period),
            count,
            first_seq: Seq(seq),
            sealed_len: sealed.len() as u32,
            chain,
        };
        let mut out = Vec::new();
        shell.encode(&mut out);
        out.extend_from_slice(&sealed);
        prop_assert_eq!(InnerShell::decode(&out), Ok((shell, &sealed[..])));
    }

    #[test]
    fn transactions(time_ms in any::<u64>(), transactions in vec(("\\PC{0,9}", vec(op(), 0..6)), 0..4)) {
        let mut frame = Vec::new();
        begin_frame(time_ms, &mut frame);
        let cells: Vec<Vec<Bytes>> =
            transactions.iter().map(|(_, ops)| ops.iter().map(encoded_cells).collect()).collect();
        for ((actor, ops), cells) in transactions.iter().zip(&cells) {
            let mut body = Vec::new();
            body.put_bytes(actor.as_bytes());
            ops.iter().zip(cells).for_each(|(op, cells)| operation(op, cells).encode(&mut body));
            append_transaction(&body, &mut frame);
        }
        let mut reader = FrameReader::decode(&frame).unwrap();
        prop_assert_eq!(reader.time_ms, time_ms);
        for ((actor, ops), cells) in transactions.iter().zip(&cells) {
            let mut transaction = reader.next_transaction().unwrap().unwrap();
            prop_assert_eq!(transaction.actor, actor);
            for (op, cells) in ops.iter().zip(cells) {
                prop_assert_eq!(transaction.next_op().unwrap(), Some(operation(op, cells)));
                let Op::Put(_, _, list) = op else { continue };
                let mut read = Cells::decode(cells).unwrap();
                for (attr, cell) in list {
                    prop_assert_eq!(read.next_cell().unwrap(), Some((AttrId(*attr), cell_ref(cell))));
                }
                prop_assert_eq!(read.next_cell(), Ok(None));
            }
            prop_assert_eq!(transaction.next_op(), Ok(None));
        }
        prop_assert!(reader.next_transaction().unwrap().is_none());
    }

    #[test]
    fn manifests(
        pool in any::<[u8; 16]>(), number in any::<u64>(), keys in vec((any::<u32>(), bytes()), 1..4), sealed in bytes(),
        body in manifest_body(),
    ) {
        let keys = keys.into_iter().map(|(epoch, wrapped)| (KeyEpoch(epoch), wrapped)).collect();
        let header = ManifestHeader { pool: PoolId(pool), number, keys };
        let clear = header.encode(sealed.len());
        let mut file = Vec::new();
        append_copy(&clear, &sealed, &mut file);
        append_copy(&clear, &sealed, &mut file);
        let copy = decode_file(&file).unwrap();
        prop_assert_eq!((&copy.header, copy.clear, copy.sealed, copy.len * 2), (&header, &clear[..], &sealed[..], file.len()));
        prop_assert_eq!(ManifestBody::decode(&body.encode()), Ok(body));
    }

    #[test]
    fn stores_and_catalogues(
        id in any::<[u8; 16]>(), [number, created_at_ms, seq, durable_lsn] in any::<[u64; 4]>(), sealed in bytes(),
        chain in any::<[u8; 32]>(), documents in documents(),
        pools in vec((any::<[u8; 16]>(), "\\PC{0,9}", any::<[u64; 2]>(), prop::option::of(bytes())), 0..4),
    ) {
        let store = StoreFile { id: StoreId(id), incarnation: number, created_at_ms, wrapped_key: sealed.clone() };
        prop_assert_eq!(StoreFile::decode(&store.encode()), Ok(store));
        let file = CatalogueFile { store: StoreId(id), number, sealed };
        prop_assert_eq!(CatalogueFile::decode(&file.encode()), Ok(file));
        let pools = pools.into_iter().map(|(id, name, [manifest_number, flushed_seq], first_manifest)| CatalogueEntry {
            id: PoolId(id),
            name,
            manifest_number,
            manifest_digest: chain,
            flushed_seq: Seq(flushed_seq),
            first_manifest,
        });
        let body = CatalogueBody { seq: Seq(seq), chain, durable_lsn, pools: pools.collect(), documents };
        prop_assert_eq!(CatalogueBody::decode(&body.encode()), Ok(body));
    }

    #[test]
    fn history(pool in any::<[u8; 16]>(), a in any::<u64>(), b in any::<u64>(), bodies in vec(bytes(), 1..5)) {
        let count = bodies.len() as u32;
        let header = HistoryHeader { pool: PoolId(pool), first_seq: Seq(a.min(b)), last_seq: Seq(a.max(b)), count };
        let mut file = Vec::new();
        header.encode(&mut file);
        bodies.iter().for_each(|body| append_record(body, &mut file));
        let (read, mut records) = Records::decode(&file).unwrap();
        prop_assert_eq!(read, header);
        for body in &bodies {
            prop_assert_eq!(records.next_record(), Ok(Some(&body[..])));
        }
        prop_assert_eq!(records.next_record(), Ok(None));
        prop_assert_eq!(parse_file_name(&header.file_name()), Some((header.first_seq, header.last_seq)));
    }

    #[test]
    fn installs_and_erasures(
        [id, next_ordinal, next_group_id, next_age, groups] in any::<[u64; 5]>(), live in prop::option::of(bytes()),
        dropped in vec(any::<(u64, u16)>(), 0..4), files in vec(file_ref(), 0..4),
        pending in prop::collection::btree_map(1u64.., any::<u64>(), 0..4),
    ) {
        let dropped = dropped.into_iter().map(|(file, section)| (FileId(file), section)).collect();
        let install = Install { id: FileId(id), next_ordinal, next_group_id, next_age, groups, live, dropped, files };
        prop_assert_eq!(Install::decode(&install.encode()), Ok(install));
        let pending = pending.into_iter().map(|(seq, due_ms)| PendingErasure { due_ms, last_seq: Seq(seq) }).collect();
        let erasure = Erasure { erased_seq: Seq(0), frames_from: Seq(next_age), files_from: FileId(id), pending };
        prop_assert_eq!(Erasure::decode(&erasure.encode()), Ok(erasure));
    }

    #[test]
    fn key_files(
        write_version in any::<u16>(), key_id in any::<[u8; 16]>(), key in any::<[u8; 32]>(), salt in any::<[u8; 32]>(),
        sealed in any::<([u8; 32], [u8; 32], [u8; 8])>(), passes in 1u32..=100, lanes in 1u32..=16, memory in 0u32..1 << 20,
    ) {
        let sealed: [u8; 72] = [&sealed.0[..], &sealed.1, &sealed.2].concat().try_into().unwrap();
        let cost = PassphraseCost { memory_kib: memory.max(8 * lanes), passes, lanes };
        for protection in
            [Protection::None { key: &key }, Protection::Passphrase { cost, salt, check: key, sealed: &sealed }]
        {
            let file = KeyFile { write_version, key_id, protection };
            let mut out = Vec::new();
            file.encode(&mut out);
            let read = KeyFile::decode(&out).unwrap();
            prop_assert_eq!((read.write_version, read.key_id), (write_version, key_id));
            match read.protection {
                Protection::None { key: read } => prop_assert_eq!(read, &key),
                Protection::Passphrase { cost: read, salt: read_salt, check, sealed: read_sealed } => {
                    prop_assert_eq!((read, read_salt, check, read_sealed), (cost, salt, key, &sealed));
                }
            }
        }
    }

    #[test]
    fn run_files(
        write_version in any::<u16>(), kind in 1u8..=3, pool in any::<[u8; 16]>(), file in any::<u64>(), key_epoch in any::<u32>(),
        commitment in any::<[u8; 32]>(), (page, section) in any::<(u32, u16)>(), sealed in vec(any::<u8>(), SEAL_BYTES..99),
        footer_offset in HEADER_BYTES as u64..1 << 40,
    ) {
        let kind = RunKind::from_number(kind).unwrap();
        let (pool, file, key_epoch) = (PoolId(pool), FileId(file), KeyEpoch(key_epoch));
        let header = Header { write_version, kind, pool, file, key_epoch, commitment };
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
        for kind in [PageKind::Data, PageKind::Filter, PageKind::OrdinalSet, PageKind::Footer] {
            let frame = PageFrame { sealed_bytes: sealed.len() as u32, page, section, kind };
            let whole = [&frame.encode(&sealed)[..], &sealed].concat();
            prop_assert_eq!(PageFrame::split(&whole), Ok((frame, &sealed[..])));
        }
        let footer_bytes = (FRAME_BYTES + sealed.len()) as u32;
        let trailer = Trailer { footer_offset, footer_bytes, page_count: page, root: commitment };
        let file_bytes = footer_offset + u64::from(footer_bytes) + TRAILER_BYTES as u64;
        prop_assert_eq!(Trailer::decode(&trailer.encode(), file_bytes), Ok(trailer));
    }
}
