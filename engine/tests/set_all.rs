//! One value for everybody as columns, against the same user by user: random lives, crashes, the change feed.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use proptest::prelude::*;
use stoa_engine::io::SimDisk;
use stoa_engine::io::sim::CrashPlan;
use stoa_engine::pool::request::{Committed, Input, NewUser, Op, RetryToken, Status, Transaction, UserRef};
use stoa_engine::pool::view::Select;
use stoa_engine::{ErrorKind, JobKind, Pool, Store, StoreOptions};
use stoa_format::{Seq, Sub};

const SCHEMA: &str = r#"{"attributes": {
    "custom:n": {"type": "integer"}, "custom:prefs": {"type": "json"}, "custom:at": {"type": "timestamp"},
    "custom:once": {"type": "string", "mutable": false}, "custom:tags": {"type": "string", "multi": true},
    "family_name": {"searchable": true}, "nickname": {"required": true}}}"#;
const USERS: u8 = 24;

fn options(disk: &SimDisk, set_all_users_min: u64) -> StoreOptions {
    let mut options = StoreOptions::new("/DATA");
    options.io = disk.io();
    options.threads = false;
    options.limits.log_segments_max = 2;
    options.limits.set_all_users_min = set_all_users_min;
    options
}

fn sub(n: u8) -> UserRef {
    UserRef::Sub(Sub([n + 1; 16]))
}

fn raw(text: &str) -> Input {
    Input::Raw(text.to_owned().into())
}

fn create(n: u8) -> Op {
    let name = format!("user{n}");
    let attrs = vec![("username".into(), raw(&name)), ("nickname".into(), raw(["a", "b", "c"][usize::from(n) % 3]))];
    Op::UserCreate(Box::new(NewUser { sub: Some(Sub([n + 1; 16])), attrs, ..NewUser::default() }))
}

fn set(n: u8, name: &str, value: &str) -> Op {
    let changes = vec![(name.into(), raw(value))];
    Op::UserSet { user: sub(n), if_version: None, take_alias: false, changes }
}

fn set_all(filter: Option<&str>, status: Option<Status>, changes: &[(&str, Input)]) -> Op {
    let changes = changes.iter().map(|(name, input)| ((*name).into(), input.clone())).collect();
    Op::UserSetAll { filter: filter.map(Into::into), args: Vec::new(), status, changes }
}

fn one(pool: &Pool, op: Op) -> stoa_engine::Result<Committed> {
    pool.commit(Transaction { ops: vec![op], ..Transaction::default() })
}

const FILTERS: [&str; 6] = [
    "nickname eq \"a\"",
    "not (locale pr)",
    "status eq \"RESET_REQUIRED\" or custom:n gt 3",
    "groups eq \"staff\"",
    "custom:tags eq \"t\"",
    "locale ne \"fr\"",
];

/// Everything that can be read.
fn picture(pool: &Pool) -> Vec<String> {
    let snapshot = pool.snapshot();
    let mut lines = vec![format!("{} users at {}", snapshot.user_count().unwrap(), pool.seq())];
    lines.extend((0..USERS).map(|n| format!("{:?}", snapshot.user(&sub(n), &Select::All).unwrap())));
    lines.extend(FILTERS.iter().map(|filter| format!("{filter}: {}", snapshot.count(Some(filter), &[]).unwrap())));
    let root = pool.merkle_root().unwrap();
    lines.push(format!("digest {:x} of {}", root.digest, root.users));
    let changes = pool.changes(Seq(1), 10_000, true).unwrap();
    lines.extend(changes.iter().map(|change| format!("{}: {:?}", change.seq, change.ops)));
    lines
}

/// One thing that happens; numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Create(u8),
    Set(u8, u8),
    Tag(u8, bool),
    Delete(u8),
    Join(u8, bool),
    SetAll { filter: u8, what: u8 },
    Flush,
    Compact,
    Rotate,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let user = || 0..USERS;
    prop_oneof![
        10 => user().prop_map(Step::Create),
        6 => (user(), 0u8..6).prop_map(|(user, what)| Step::Set(user, what)),
        2 => (user(), any::<bool>()).prop_map(|(user, on)| Step::Tag(user, on)),
        2 => user().prop_map(Step::Delete),
        2 => (user(), any::<bool>()).prop_map(|(user, on)| Step::Join(user, on)),
        6 => (0u8..8, 0u8..13).prop_map(|(filter, what)| Step::SetAll { filter, what }),
        2 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => Just(Step::Rotate),
        1 => Just(Step::Restart),
    ]
}

/// What a SETALL sets: most of it as columns, some of it an index or a rule hangs on.
fn request(filter: u8, what: u8) -> Op {
    let null = Input::Json(serde_json::Value::Null);
    let (status, changes): (Option<Status>, Vec<(&str, Input)>) = match what {
        0 => (Some(Status::ResetRequired), vec![]),
        1 => (Some(Status::Confirmed), vec![("locale", raw("fr"))]),
        2 => (None, vec![("locale", raw("de"))]),
        3 => (None, vec![("locale", null)]),
        4 => (None, vec![("custom:n", raw("7")), ("locale", raw("fr"))]),
        5 => (None, vec![("custom:n", null), ("custom:prefs", raw("{\"b\": 1, \"a\": [2]}"))]),
        6 => (None, vec![("custom:at", raw("2026-01-31T12:00:00.000Z")), ("nickname", raw("a"))]),
        7 => (None, vec![("family_name", raw("Indexed"))]),
        8 => (None, vec![("custom:tags", Input::Json(serde_json::json!(["t", "u"])))]),
        9 => (None, vec![("nickname", null)]),
        10 => (None, vec![("custom:once", raw("x"))]),
        11 => (None, vec![("username", raw("everybody"))]),
        _ => (None, vec![("custom:n", raw("no number"))]),
    };
    set_all(FILTERS.get(usize::from(filter)).copied(), status, &changes)
}

struct World {
    disk: SimDisk,
    users_min: u64,
    store: Option<Store>,
    pool: Option<Pool>,
}

impl World {
    fn new(users_min: u64) -> Self {
        // The same seed, so that all have the same digest key.
        let disk = SimDisk::new(7);
        let store = Store::open(options(&disk, users_min)).unwrap();
        store.create_pool("p", Some(SCHEMA), None).unwrap();
        let pool = store.pool("p").unwrap();
        one(&pool, Op::GroupCreate { name: "staff".into(), fields: Default::default() }).unwrap();
        Self { disk, users_min, store: Some(store), pool: Some(pool) }
    }

    fn pool(&self) -> &Pool {
        self.pool.as_ref().unwrap()
    }

    fn take(&mut self, step: &Step) -> Option<Result<Committed, ErrorKind>> {
        let op = match step {
            Step::Create(n) => create(*n),
            Step::Set(n, what) => match what {
                0 => set(*n, "locale", "fr"),
                1 => set(*n, "custom:n", "5"),
                2 => set(*n, "nickname", "a"),
                3 => set(*n, "family_name", "F"),
                4 => Op::UserStatus { user: sub(*n), if_version: None, status: Status::ResetRequired },
                _ => set(*n, "locale", "it"),
            },
            Step::Tag(n, add) => {
                let (user, values) = (sub(*n), vec![("custom:tags".into(), raw("t"))]);
                match add {
                    true => Op::UserAdd { user, if_version: None, values },
                    false => Op::UserRemove { user, if_version: None, values },
                }
            }
            Step::Delete(n) => Op::UserDelete { user: sub(*n), if_version: None },
            Step::Join(n, true) => Op::GroupAdd { name: "staff".into(), users: vec![sub(*n)] },
            Step::Join(n, false) => Op::GroupRemove { name: "staff".into(), users: vec![sub(*n)] },
            Step::SetAll { filter, what } => request(*filter, *what),
            Step::Flush => {
                self.pool().flush().unwrap();
                return None;
            }
            Step::Compact => {
                self.pool().start_job(JobKind::Compact).unwrap();
                return None;
            }
            Step::Rotate => {
                // Only where files are made: elsewhere it is one transaction too, so both do it.
                self.pool().rotate_key().unwrap();
                return None;
            }
            Step::Restart => {
                self.pool = None;
                self.store.take().unwrap().close().unwrap();
                let store = Store::open(options(&self.disk, self.users_min)).unwrap();
                self.pool = Some(store.pool("p").unwrap());
                self.store = Some(store);
                return None;
            }
        };
        Some(one(self.pool(), op).map_err(|error| error.kind()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn columns_come_to_what_user_by_user_comes_to(
        users in 1u8..USERS,
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let (mut columns, mut rows) = (World::new(1), World::new(u64::MAX));
        for n in 0..users {
            columns.take(&Step::Create(n));
            rows.take(&Step::Create(n));
        }
        for step in &steps {
            let (a, b) = (columns.take(step), rows.take(step));
            prop_assert_eq!(a, b, "{:?}", step);
            prop_assert_eq!(picture(columns.pool()), picture(rows.pool()), "after {:?}", step);
        }
        prop_assert_eq!(columns.pool().verify().unwrap().findings, []);
        // A start from the log alone.
        let killed = columns.disk.kill();
        let store = Store::open(options(&killed, 1)).unwrap();
        prop_assert_eq!(picture(&store.pool("p").unwrap()), picture(rows.pool()));
    }
}

#[test]
fn few_bytes_are_written_for_many_users() {
    let disk = SimDisk::new(3);
    let store = Store::open(options(&disk, 100)).unwrap();
    store.create_pool("p", None, None).unwrap();
    let pool = store.pool("p").unwrap();
    let mut load = pool.bulk_load().unwrap();
    let id = |name: &str| load.schema().by_name(name).unwrap().id;
    let (username, locale) = (id("username"), id("locale"));
    for n in 0..3000u32 {
        use stoa_engine::bulk::{BulkUser, BulkValue};
        let name = format!("user{n}");
        let attrs = [(username, BulkValue::Text(&name)), (locale, BulkValue::Text("de-DE"))];
        load.push(&BulkUser { attrs: &attrs, ..BulkUser::default() }).unwrap();
    }
    load.finish().unwrap();
    let before = disk.used_bytes();
    let done = one(&pool, set_all(None, Some(Status::ResetRequired), &[("locale", raw("fr-FR"))])).unwrap();
    assert_eq!(done.outcomes[0].changed, Some(3000));
    // Four columns of pages that hold one value each, in one block; the log has its blocks already.
    let written = disk.used_bytes() - before;
    assert!(written <= 4096, "{written} bytes");
    let again = one(&pool, set_all(None, Some(Status::ResetRequired), &[("locale", raw("fr-FR"))])).unwrap();
    assert_eq!((again.seq, again.outcomes[0].changed), (done.seq, Some(0)));
    // The feed names the operation and the attributes, of no user.
    let change = pool.changes(done.seq, 1, true).unwrap().remove(0);
    let [op] = &change.ops[..] else { panic!("{change:?}") };
    let names: Vec<&str> = op.attrs.iter().map(|name| &**name).collect();
    assert_eq!((op.op, op.sub, &names[..]), ("user.setall", None, &["status", "locale"][..]));
    drop(pool);
    store.close().unwrap();
}

#[test]
fn a_repeated_token_is_answered_and_writes_nothing() {
    let disk = SimDisk::new(4);
    let store = Store::open(options(&disk, 2)).unwrap();
    store.create_pool("p", Some(SCHEMA), None).unwrap();
    let pool = store.pool("p").unwrap();
    (0..9).for_each(|n| drop(one(&pool, create(n)).unwrap()));
    let request = |request: u8| Transaction {
        actor: "admin".into(),
        token: Some(RetryToken { token: "t".into(), request: [request; 16] }),
        ops: vec![set_all(None, None, &[("locale", raw("fr"))])],
    };
    let first = pool.commit(request(1)).unwrap();
    one(&pool, set(3, "locale", "de")).unwrap();
    let again = pool.commit(request(1)).unwrap();
    assert_eq!((again.seq, again.replayed, &again.outcomes), (first.seq, true, &first.outcomes));
    assert_eq!(pool.commit(request(2)).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(pool.snapshot().count(Some("locale eq \"fr\""), &[]).unwrap(), 8);
    drop(pool);
    store.close().unwrap();
    let store = Store::open(options(&disk, 2)).unwrap();
    assert!(store.pool("p").unwrap().commit(request(1)).unwrap().replayed);
    store.close().unwrap();
}

/// What was acknowledged.
#[derive(Default)]
struct Told {
    made: bool,
    committed: usize,
}

fn live(disk: &SimDisk, told: &mut Told, mut after: impl FnMut(&Pool)) -> stoa_engine::Result<()> {
    let store = Store::open(options(disk, 2))?;
    store.create_pool("p", Some(SCHEMA), None)?;
    told.made = true;
    let pool = store.pool("p")?;
    after(&pool);
    let mut commit = |op: Op| -> stoa_engine::Result<()> {
        one(&pool, op)?;
        told.committed += 1;
        after(&pool);
        Ok(())
    };
    commit(Op::GroupCreate { name: "staff".into(), fields: Default::default() })?;
    (0..5).try_for_each(|n| commit(create(n)))?;
    commit(set_all(None, Some(Status::ResetRequired), &[("locale", raw("fr"))]))?;
    commit(set(2, "locale", "de"))?;
    commit(set_all(Some("locale eq \"fr\""), None, &[("custom:n", raw("4"))]))?;
    commit(Op::UserDelete { user: sub(1), if_version: None })?;
    pool.rotate_key()?;
    commit(set_all(None, None, &[("locale", Input::Json(serde_json::Value::Null))]))?;
    pool.start_job(JobKind::Compact)?;
    commit(set(3, "locale", "nl"))?;
    commit(set_all(None, Some(Status::Confirmed), &[("locale", raw("it"))]))?;
    store.close()
}

#[test]
fn a_crash_leaves_all_of_it_or_nothing() {
    let stride = std::env::var("STOA_CRASH_STRIDE").ok().and_then(|text| text.parse().ok()).unwrap_or(17);
    let plan = CrashPlan { stride, random_count: 2, single_count: 1, ..CrashPlan::default() };
    // Without what a rotation writes into the feed: it is not counted as a step.
    let short = |pool: &Pool| -> Vec<String> {
        let all = picture(pool);
        all[1..=usize::from(USERS) + FILTERS.len() + 1].to_vec()
    };
    let mut pictures = Vec::new();
    live(&SimDisk::new(plan.seed), &mut Told::default(), |pool| pictures.push(short(pool))).unwrap();
    let crashes = plan.run(
        |disk| {
            let mut told = Told::default();
            let _ = live(disk, &mut told, |_| ());
            told
        },
        |disk, told| {
            if !told.made {
                return;
            }
            let store = Store::open(options(disk, 2)).unwrap();
            let pool = store.pool("p").unwrap();
            let found = short(&pool);
            let wanted = &pictures[told.committed..(told.committed + 2).min(pictures.len())];
            assert!(wanted.contains(&found), "{} acknowledged: {found:#?}", told.committed);
            assert_eq!(pool.verify().unwrap().findings, []);
            // And it goes on.
            one(&pool, set_all(None, None, &[("locale", raw("pt"))])).unwrap();
            one(&pool, create(8)).unwrap();
            pool.flush().unwrap();
            let found = short(&pool);
            drop(pool);
            store.close().unwrap();
            let store = Store::open(options(disk, 2)).unwrap();
            assert_eq!(short(&store.pool("p").unwrap()), found);
        },
    );
    assert!(crashes > 100, "{crashes}");
}
