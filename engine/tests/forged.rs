//! Frames that are whole, with every checksum right, but not what the pool's leader wrote.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::path::{Path, PathBuf};

use stoa_engine::pool::request::{Input, NewUser, Op, Transaction};
use stoa_engine::{ErrorKind, Pool, Store, StoreOptions};
use stoa_format::PoolId;
use stoa_format::wal::{BLOCK_BYTES, FrameKind, InnerShell, OUTER_BYTES, OuterShell};

fn create(pool: &Pool, name: &str) {
    let attrs = vec![("username".into(), Input::Raw(name.to_owned().into()))];
    let op = Op::UserCreate(Box::new(NewUser { attrs, ..NewUser::default() }));
    pool.commit(Transaction { ops: vec![op], ..Transaction::default() }).unwrap();
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(data.join("wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Writes every frame of this pool anew as `forge` wants its body, and its checksum over that.
fn forge_frames(data: &Path, pool: PoolId, mut forge: impl FnMut(&mut Vec<u8>)) -> usize {
    let mut forged = 0;
    for path in segments(data) {
        let mut bytes = std::fs::read(&path).unwrap();
        for at in (BLOCK_BYTES..bytes.len()).step_by(BLOCK_BYTES) {
            let Ok((shell, body)) = OuterShell::decode_frame(&bytes[at..]) else { continue };
            let mut body = body.to_vec();
            let is_ours = |body: &[u8]| InnerShell::decode(body).is_ok_and(|(inner, _)| inner.pool == pool);
            if shell.kind != FrameKind::Data || !is_ours(&body) {
                continue;
            }
            forge(&mut body);
            let mut frame = Vec::new();
            shell.encode_frame(&body, &mut frame);
            assert_eq!(frame.len(), OUTER_BYTES + body.len());
            bytes[at..at + frame.len()].copy_from_slice(&frame);
            forged += 1;
        }
        std::fs::write(&path, bytes).unwrap();
    }
    forged
}

/// A store with three users, closed; then forged, and its pool opened again.
fn open_forged(forge: impl FnMut(&mut Vec<u8>)) -> stoa_engine::Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(dir.path().join("DATA"));
    let store = Store::open(options.clone()).unwrap();
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    ["ana", "bob", "cyn"].into_iter().for_each(|name| create(&pool, name));
    let id = pool.id();
    drop(pool);
    store.close().unwrap();
    assert_eq!(forge_frames(&dir.path().join("DATA"), id, forge), 3);
    let store = Store::open(options).unwrap();
    store.pool("acme").map(drop)
}

#[test]
fn frames_that_were_not_changed_open() {
    open_forged(|_| ()).unwrap();
}

#[test]
fn a_frame_with_another_chain_is_refused() {
    let mut frames = 0;
    let refused = open_forged(|body| {
        frames += 1;
        // The last frame alone: no later one is sealed over its chain.
        if frames == 3 {
            body[48] ^= 1;
        }
    });
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().contains("chain") && error.message().contains("wal/"), "{}", error.message());
}

#[test]
fn a_frame_in_the_place_of_another_is_refused() {
    let mut before: Option<Vec<u8>> = None;
    let error = open_forged(|body| {
        let own = body.clone();
        if let Some(before) = before.replace(own)
            && before.len() == body.len()
        {
            // The sealed bytes of the frame before, under this frame's Seq.
            body[80..].copy_from_slice(&before[80..]);
        }
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().contains("tag does not match"), "{}", error.message());
}
