//! Commits between the writing of the columns and their transaction.

use super::*;
use crate::io::SimDisk;
use crate::pool::request::{GroupFields, NewUser, UserRef};
use crate::pool::view::Select;
use crate::{Pool, Store, StoreOptions};
use stoa_format::Sub;

const USERS: u8 = 12;

fn sub(n: u8) -> UserRef {
    UserRef::Sub(Sub([n + 1; 16]))
}

fn raw(text: &str) -> Input {
    Input::Raw(text.to_owned().into())
}

fn create(n: u8) -> Op {
    let mut attrs = vec![("username".into(), raw(&format!("user{n}")))];
    if n % 2 == 0 {
        attrs.push(("locale".into(), raw("de")));
    }
    attrs.push(("nickname".into(), raw(if n % 3 == 0 { "a" } else { "b" })));
    Op::UserCreate(Box::new(NewUser { sub: Some(Sub([n + 1; 16])), attrs, ..NewUser::default() }))
}

fn set(n: u8, name: &str, value: &str) -> Op {
    let changes = vec![(name.into(), raw(value))];
    Op::UserSet { user: sub(n), if_version: None, take_alias: false, changes }
}

fn one(pool: &Pool, op: Op) -> Committed {
    pool.commit(Transaction { ops: vec![op], ..Transaction::default() }).unwrap()
}

fn new_pool(set_all_users_min: u64) -> (Store, Pool) {
    let mut options = StoreOptions::new("/DATA");
    // The same seed everywhere, so that all have the same digest key.
    options.io = SimDisk::new(1).io();
    options.threads = false;
    options.limits.set_all_users_min = set_all_users_min;
    let store = Store::open(options).unwrap();
    store.create_pool("p", None, None).unwrap();
    let pool = store.pool("p").unwrap();
    for n in 0..USERS {
        one(&pool, create(n));
    }
    one(&pool, Op::GroupCreate { name: "g".into(), fields: GroupFields::default() });
    one(&pool, Op::GroupAdd { name: "g".into(), users: vec![sub(0), sub(1), sub(2)] });
    (store, pool)
}

fn picture(pool: &Pool) -> Vec<String> {
    let snapshot = pool.snapshot();
    let mut lines: Vec<String> =
        (0..USERS + 4).map(|n| format!("{:?}", snapshot.user(&sub(n), &Select::All).unwrap())).collect();
    for filter in ["locale eq \"fr\"", "nickname eq \"a\"", "status eq \"RESET_REQUIRED\"", "not (locale pr)"] {
        lines.push(format!("{filter}: {}", snapshot.count(Some(filter), &[]).unwrap()));
    }
    let root = pool.merkle_root().unwrap();
    lines.push(format!("seq {} digest {:x} of {}", pool.seq(), root.digest, root.users));
    lines
}

fn request(filter: &str) -> Transaction {
    let op = Op::UserSetAll {
        filter: (!filter.is_empty()).then(|| filter.into()),
        args: Vec::new(),
        status: Some(Status::ResetRequired),
        changes: vec![("locale".into(), raw("fr"))],
    };
    Transaction { ops: vec![op], ..Transaction::default() }
}

/// Writes the columns for `transaction`, lets `meanwhile` happen and commits.
fn interrupted(pool: &Pool, transaction: &Transaction, meanwhile: &[Op]) -> Result<Committed> {
    let [Op::UserSetAll { filter, args, status, changes }] = &transaction.ops[..] else { panic!("no SETALL") };
    pool.flush().unwrap();
    let open = &pool.open;
    let files = NewFiles::new(open);
    let targets = targets(pool.snapshot().schema(), *status, changes).unwrap();
    let columns = write(open, &files, filter.as_deref(), args, &targets).unwrap();
    for op in meanwhile {
        one(pool, op.clone());
    }
    let _flushing = lock(&open.flushing);
    commit(open, &files, transaction, Arc::new(columns))
}

fn meanwhile() -> Vec<Op> {
    let status = |n, status| Op::UserStatus { user: sub(n), if_version: None, status };
    vec![
        // One who matches all the same, one who no longer does, one who does now.
        set(0, "family_name", "A"),
        set(3, "nickname", "b"),
        set(4, "nickname", "a"),
        // The very values that are set, and others.
        set(6, "locale", "fr"),
        set(9, "locale", "it"),
        status(9, Status::ResetRequired),
        status(1, Status::ResetRequired),
        Op::UserDelete { user: sub(7), if_version: None },
        create(USERS),
        create(USERS + 1),
        Op::UserDelete { user: sub(USERS), if_version: None },
    ]
}

#[test]
fn what_is_committed_meanwhile_is_neither_lost_nor_passed_over() {
    for filter in
        ["", "nickname eq \"a\"", "nickname eq \"a\" and locale pr", "not (locale eq \"de\")", "locale eq \"x\""]
    {
        let ((one_store, columns), (two_store, rows)) = (new_pool(1), new_pool(u64::MAX));
        let request = request(filter);
        let done = interrupted(&columns, &request, &meanwhile()).unwrap();
        rows.flush().unwrap();
        meanwhile().into_iter().for_each(|op| drop(one(&rows, op)));
        let wanted = rows.commit(request.clone()).unwrap();
        assert_eq!((done.seq, &done.outcomes), (wanted.seq, &wanted.outcomes), "{filter}");
        assert_eq!(picture(&columns), picture(&rows), "{filter}");
        assert_eq!(columns.changes(done.seq, 9, true).unwrap(), rows.changes(done.seq, 9, true).unwrap(), "{filter}");
        // And after what follows.
        for pool in [&columns, &rows] {
            one(pool, set(0, "locale", "nl"));
            pool.commit(request.clone()).unwrap();
            pool.flush().unwrap();
        }
        assert_eq!(picture(&columns), picture(&rows), "{filter}, flushed");
        assert_eq!(columns.verify().unwrap().findings, []);
        drop((columns, rows));
        one_store.close().unwrap();
        two_store.close().unwrap();
    }
}

#[test]
fn columns_that_no_longer_fit_are_not_committed() {
    let filter = "groups eq \"g\"";
    let alter = r#"{"attributes":{"custom:x":{"type":"string"}}}"#;
    let changes = [
        Op::GroupRemove { name: "g".into(), users: vec![sub(1)] },
        Op::GroupRename { name: "g".into(), to: "h".into() },
        Op::SchemaAlter { if_version: None, schema: alter.into() },
    ];
    for change in changes {
        let (store, pool) = new_pool(1);
        let refused = interrupted(&pool, &request(filter), std::slice::from_ref(&change)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TryAgain);
        assert_eq!(pool.snapshot().count(Some("locale eq \"fr\""), &[]).unwrap(), 0);
        let of_group = pool.snapshot().count(Some(filter), &[]).unwrap();
        assert_eq!(pool.commit(request(filter)).unwrap().outcomes[0].changed, Some(of_group));
        assert_eq!(pool.snapshot().count(Some("locale eq \"fr\""), &[]).unwrap(), of_group);
        drop(pool);
        store.close().unwrap();
    }
}

#[test]
fn who_read_before_an_install_is_sent_back_and_who_reads_sees_all_or_nothing() {
    let (store, pool) = new_pool(1);
    pool.flush().unwrap();
    let before = pool.snapshot();
    let mut reserved = Vec::new();
    let transaction = Transaction { ops: vec![set(5, "family_name", "late")], ..Transaction::default() };
    let Draught::Write(late) = Draft::prepare(&before, &transaction, &mut reserved).unwrap() else {
        panic!("no write")
    };
    pool.commit(request("")).unwrap();
    assert!(pool.open.version.load().memtables().all(|memtable| memtable.is_empty()), "no deltas were written");
    assert!(pool.open.shared.commit_prepared(&pool.open, late).unwrap().is_none(), "it rests on an old version");
    assert_eq!(before.count(Some("locale eq \"fr\""), &[]).unwrap(), 0);
    assert_eq!(pool.snapshot().count(Some("locale eq \"fr\""), &[]).unwrap(), u64::from(USERS));
    drop((before, pool));
    store.close().unwrap();
}

#[test]
fn writers_and_set_alls_at_once_lose_nothing() {
    const WRITES: u64 = 150;
    let dir = tempfile::tempdir().unwrap();
    let mut options = StoreOptions::new(dir.path().join("DATA"));
    options.limits.set_all_users_min = 1;
    let store = Store::open(options).unwrap();
    store.create_pool("p", None, None).unwrap();
    let pool = store.pool("p").unwrap();
    (0..USERS).for_each(|n| drop(one(&pool, create(n))));
    let mut rounds = 0;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4u8)
            .map(|n| {
                let pool = pool.clone();
                scope.spawn(move || (0..WRITES).for_each(|i| drop(one(&pool, set(n, "family_name", &i.to_string())))))
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) || rounds < 3 {
            let mut transaction = request("");
            if let [Op::UserSetAll { changes, .. }] = &mut transaction.ops[..] {
                changes[0].1 = raw(&format!("l{rounds}"));
            }
            assert_eq!(pool.commit(transaction).unwrap().outcomes[0].changed, Some(u64::from(USERS)));
            rounds += 1;
        }
    });
    let snapshot = pool.snapshot();
    for n in 0..USERS {
        let user = snapshot.user(&sub(n), &Select::All).unwrap().unwrap();
        let writes = if n < 4 { WRITES } else { 0 };
        assert_eq!(user.version, 1 + writes + rounds, "user {n}");
    }
    assert_eq!(pool.verify().unwrap().findings, []);
    drop((snapshot, pool));
    store.close().unwrap();
}
