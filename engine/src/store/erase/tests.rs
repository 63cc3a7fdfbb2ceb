//! What a deleted user leaves, looked for in everything that opens.

use stoa_format::Ordinal;
use stoa_format::run::{PagePlace, Zone};
use stoa_format::wal::InnerShell;

use super::*;
use crate::StoreOptions;
use crate::column::ColumnCursor;
use crate::index::KeyCursor;
use crate::io::SimDisk;
use crate::io::sim::CrashPlan;
use crate::pool::open::PoolFrame;
use crate::pool::request::{Input, NewUser, Op, Transaction, UserRef};
use crate::pool::view::Select;
use crate::run::Caching;
use crate::wal::read_frame;

const SCHEMA: &str = r#"{"attributes": {
    "nickname": {"searchable": true}, "custom:tags": {"type": "string", "multi": true, "searchable": true}}}"#;
/// Stands in every value of the user who is deleted.
const TRACE: &str = "vanish";
const HOUR_MS: u64 = 3_600_000;

fn options(disk: &SimDisk) -> StoreOptions {
    let mut options = StoreOptions::new("/DATA");
    options.io = disk.io();
    options.threads = false;
    options.limits.log_segments_max = 2;
    options
}

fn by(name: &str) -> UserRef {
    UserRef::Alias { attr: "username".into(), value: name.into() }
}

fn raw(text: &str) -> Input {
    Input::Raw(text.to_owned().into())
}

fn one(pool: &Pool, op: Op) -> Result<Seq> {
    Ok(pool.commit(Transaction { ops: vec![op], ..Transaction::default() })?.seq)
}

fn create(name: &str) -> Op {
    let value = |what: &str| raw(&format!("{name} {what}"));
    let mut attrs = vec![("username".into(), raw(name)), ("email".into(), raw(&format!("{name}@example.com")))];
    attrs.extend([("nickname".into(), value("nick")), ("given_name".into(), value("given"))]);
    attrs.push(("custom:tags".into(), Input::Json(serde_json::json!([format!("{name} tag")]))));
    Op::UserCreate(Box::new(NewUser { attrs, ..NewUser::default() }))
}

fn set(name: &str, given: &str) -> Op {
    let changes = vec![("given_name".into(), raw(given))];
    Op::UserSet { user: by(name), if_version: None, take_alias: false, changes }
}

fn delete(name: &str) -> Op {
    Op::UserDelete { user: by(name), if_version: None }
}

fn link(name: &str) -> Op {
    Op::IdentityLink { user: by(name), provider: "idp".into(), subject: format!("{name} subject").into() }
}

/// Where in live files the trace is found: in values, in keys, in zone maps and separators.
fn traces(pool: &Pool) -> Vec<String> {
    let holds = |bytes: &[u8]| bytes.windows(TRACE.len()).any(|window| window == TRACE.as_bytes());
    let version = pool.open.version.load_full();
    let mut found = Vec::new();
    for (file, run) in &version.runs.files {
        for section in run.sections().unwrap() {
            for page in &section.section.pages {
                let told = match &page.place {
                    PagePlace::Column { zone: Zone::Bytes { min, max }, .. } => holds(min) || holds(max),
                    PagePlace::Sorted { from_key } => holds(from_key),
                    _ => false,
                };
                if told || holds(&section.section.last_key) {
                    found.push(format!("directory of file {}", file.id));
                }
            }
        }
    }
    for (attr, stack) in version.runs.columns() {
        for run in stack.sparse().iter().chain(stack.base()) {
            let mut cursor = ColumnCursor::new([Arc::clone(run)], Ordinal(0), Caching::Pass).unwrap();
            while let Some((_, cell)) = cursor.next().unwrap() {
                if cell.bytes().is_some_and(holds) {
                    found.push(format!("column {attr}"));
                }
            }
        }
    }
    for (keyspace, stack) in version.runs.keyspaces() {
        for run in stack.runs() {
            let mut cursor = run.cursor(&[], Caching::Pass).unwrap();
            while let Some(key) = cursor.key() {
                if holds(key) || cursor.value().unwrap().bytes().is_some_and(holds) {
                    found.push(format!("keyspace {keyspace}"));
                }
                cursor.advance().unwrap();
            }
        }
    }
    found
}

fn frames(pool: &Pool) -> Vec<PoolFrame> {
    lock(&pool.open.frames).iter().copied().collect()
}

/// How many of these frames the manifest's keys open.
fn readable(pool: &Pool, frames: &[PoolFrame]) -> usize {
    let shared = &pool.open.shared;
    let opens = |frame: &&PoolFrame| {
        let Ok(body) = read_frame(&*shared.io, &shared.wal_dir(), frame.place) else { return false };
        let (inner, _) = InnerShell::decode(&body).unwrap();
        lock(&pool.open.keyring).period_key(inner.period).is_some()
    };
    frames.iter().filter(opens).count()
}

fn new_pool(disk: &SimDisk) -> Result<(Store, Pool)> {
    let store = Store::open(options(disk))?;
    store.create_pool("p", Some(SCHEMA), None)?;
    let pool = store.pool("p")?;
    Ok((store, pool))
}

/// A user who leaves something everywhere, and is deleted; one who stays.
fn live_and_die(pool: &Pool) -> Result<Seq> {
    one(pool, create("stays"))?;
    one(pool, create(TRACE))?;
    one(pool, link(TRACE))?;
    pool.flush()?;
    one(pool, set(TRACE, "vanish newer"))?;
    pool.flush()?;
    let deleted = one(pool, delete(TRACE))?;
    one(pool, set("stays", "A"))?;
    Ok(deleted)
}

fn assert_erased(pool: &Pool, deleted: Seq) {
    let erasure = pool.erasure();
    assert!(erasure.pending.is_empty() && erasure.erased_seq >= deleted, "{erasure:?}");
    assert_eq!(traces(pool), Vec::<String>::new());
    let oldest = lock(&pool.open.keyring).periods[0].first_seq;
    assert!(oldest > deleted, "no key of what was logged is left");
    assert_eq!(pool.info().unwrap().erasure_due_ms, None);
    assert_eq!(pool.verify().unwrap().findings, []);
    let stays = pool.snapshot().user(&by("stays"), &Select::All).unwrap().unwrap();
    assert!(stays.attrs.iter().any(|(name, value)| &**name == "given_name" && value.is_some()));
    // The feed goes on from what is left, and says what is not.
    let gone = pool.changes(deleted, 10, true).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Expired);
    let oldest: u64 = gone.message().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(oldest > deleted.0);
    let left = pool.changes(Seq(oldest), 1000, true).unwrap();
    assert_eq!(left.len() as u64, pool.seq().0 + 1 - oldest);
}

#[test]
fn what_a_deleted_user_left_is_gone_from_files_log_and_history_before_it_is_due() {
    let disk = SimDisk::new(1);
    let (store, pool) = new_pool(&disk).unwrap();
    let began_ms = disk.io().now_ms();
    let deleted = live_and_die(&pool).unwrap();
    pool.flush().unwrap();
    let before = frames(&pool);
    assert!(traces(&pool).len() > 8, "{:?}", traces(&pool));
    assert_eq!(readable(&pool, &before), before.len());
    assert_eq!(pool.info().unwrap().erasure_due_ms, Some(began_ms + 24 * HOUR_MS));

    disk.advance_ms(11 * HOUR_MS);
    store.erase_due();
    assert_eq!(pool.erasure().pending.len(), 1, "half of the time is for those who follow the feed");
    // Another, later: it goes along.
    one(&pool, create("later")).unwrap();
    one(&pool, delete("later")).unwrap();
    disk.advance_ms(2 * HOUR_MS);
    store.erase_due();
    assert_erased(&pool, deleted);
    let old: Vec<PoolFrame> = before.into_iter().filter(|frame| frame.last_seq <= deleted).collect();
    assert_eq!(readable(&pool, &old), 0);
    // The creation of the pool, with its first key, was in there.
    let segments: Vec<_> = disk.files().into_iter().filter(|name| name.ends_with(".wal")).collect();
    assert_eq!(segments.len(), 1, "{segments:?}");
    assert!(old.iter().all(|frame| !segments[0].contains(&format!("{:016}", frame.place.segment.0))));
    one(&pool, set("stays", "B")).unwrap();
    drop(pool);
    store.close().unwrap();

    // The log still has the frames; nobody opens them.
    let store = Store::open(options(&disk)).unwrap();
    let pool = store.pool("p").unwrap();
    assert_erased(&pool, deleted);
    one(&pool, set("stays", "C")).unwrap();
    store.erase_due();
    assert_eq!(pool.changes(pool.seq(), 1, true).unwrap().len(), 1);
    store.close().unwrap();
}

#[test]
fn history_files_with_erased_frames_are_removed() {
    let disk = SimDisk::new(2);
    let (mut store, pool) = new_pool(&disk).unwrap();
    let deleted = live_and_die(&pool).unwrap();
    drop(pool);
    for round in 0..4 {
        // Each start begins a segment, and the log moves on.
        store.close().unwrap();
        store = Store::open(options(&disk)).unwrap();
        one(&store.pool("p").unwrap(), set("stays", &format!("round {round}"))).unwrap();
    }
    let history = || disk.files().into_iter().filter(|name| name.contains("/history/")).count();
    assert!(history() > 0, "{:?}", disk.files());
    disk.advance_ms(13 * HOUR_MS);
    store.erase_due();
    assert_eq!(history(), 0);
    assert_erased(&store.pool("p").unwrap(), deleted);
    store.close().unwrap();
}

#[test]
fn a_reader_of_old_files_holds_an_erasure_up() {
    let disk = SimDisk::new(3);
    let (store, pool) = new_pool(&disk).unwrap();
    let deleted = live_and_die(&pool).unwrap();
    pool.flush().unwrap();
    let reader = pool.snapshot();
    disk.advance_ms(13 * HOUR_MS);
    store.erase_due();
    assert_eq!(pool.erasure().pending.len(), 1);
    assert!(reader.user(&by("stays"), &Select::All).unwrap().is_some());
    drop(reader);
    store.erase_due();
    assert_erased(&pool, deleted);
    drop(pool);
    store.close().unwrap();
}

#[test]
fn deletions_that_only_the_log_has_are_pending_and_pools_that_nobody_opens_are_erased() {
    let disk = SimDisk::new(4);
    let (store, pool) = new_pool(&disk).unwrap();
    let deleted = live_and_die(&pool).unwrap();
    let pending = pool.erasure();
    assert_eq!(pending.pending.len(), 1);
    let killed = disk.kill();
    drop(pool);
    store.close().unwrap();
    let store = Store::open(options(&killed)).unwrap();
    killed.advance_ms(13 * HOUR_MS);
    store.erase_due();
    assert_erased(&store.pool("p").unwrap(), deleted);
    store.close().unwrap();
    // From the manifest of a pool that is closed.
    let store = Store::open(options(&killed)).unwrap();
    let pool = store.pool("p").unwrap();
    one(&pool, create("second")).unwrap();
    let deleted = one(&pool, delete("second")).unwrap();
    pool.flush().unwrap();
    drop(pool);
    store.close().unwrap();
    let store = Store::open(options(&killed)).unwrap();
    store.erase_due();
    killed.advance_ms(25 * HOUR_MS);
    store.erase_due();
    assert_erased(&store.pool("p").unwrap(), deleted);
    store.close().unwrap();
}

#[test]
fn an_erasure_that_a_crash_cuts_short_is_done_again() {
    let plan = CrashPlan { stride: 11, random_count: 2, single_count: 1, ..CrashPlan::default() };
    let workload = |disk: &SimDisk, deleted: &mut Option<Seq>| -> Result<()> {
        let (store, pool) = new_pool(disk)?;
        *deleted = Some(live_and_die(&pool)?);
        disk.advance_ms(13 * HOUR_MS);
        store.erase_due();
        one(&pool, set("stays", "later"))?;
        drop(pool);
        store.close()
    };
    let crashes = plan.run(
        |disk| {
            let mut deleted = None;
            let _ = workload(disk, &mut deleted);
            deleted
        },
        |disk, deleted| {
            let Some(deleted) = *deleted else { return };
            let store = Store::open(options(disk)).unwrap();
            let pool = store.pool("p").unwrap();
            assert!(pool.snapshot().user(&by(TRACE), &Select::All).unwrap().is_none());
            if pool.erasure().pending.is_empty() {
                assert_erased(&pool, deleted);
            }
            assert_eq!(pool.verify().unwrap().findings, []);
            disk.advance_ms(13 * HOUR_MS);
            store.erase_due();
            assert_erased(&pool, deleted);
        },
    );
    assert!(crashes > 30, "{crashes}");
}
