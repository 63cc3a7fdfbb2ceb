//! Makes a store that has something of everything in it, for readers of its files:
//! `cargo run -p stoa-engine --example make_store -- DATA [USERS]`. The key goes to `DATA.key`.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use stoa_engine::pool::request::{GroupFields, Input, NewUser, Op, Transaction, UserRef};
use stoa_engine::{JobKind, JobState, Pool, Result, Store, StoreOptions};

const SCHEMA: &str = r#"{"attributes": {
    "custom:plan": {"type": "string", "searchable": true},
    "custom:points": {"type": "integer"},
    "custom:trial": {"type": "boolean"},
    "custom:seen": {"type": "timestamp"},
    "custom:blob": {"type": "bytes"},
    "custom:prefs": {"type": "json"},
    "custom:tags": {"type": "string", "multi": true}
}}"#;
const BCRYPT: &str = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
const ARGON2: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$gZiV/M1gPc22ElAH/Jh1Hw$CWOrkoo7oJBQ/iyh7uJ0LO2aLEfrHwTWllSAxT0zRno";

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let Some(data) = args.next() else {
        println!("usage: make_store DATA [USERS]");
        return Ok(());
    };
    let users = args.next().and_then(|count| count.parse().ok()).unwrap_or(500);
    let store = Store::open(StoreOptions::new(data))?;
    store.set_document("example", b"a document of the store".as_slice().into())?;
    store.create_pool("acme", Some(SCHEMA), None)?;
    store.create_pool("empty", None, None)?;
    store.create_pool("dropped", None, None)?;
    store.drop_pool("dropped")?;
    let pool = store.pool("acme")?;
    fill(&pool, users)?;
    settle(&pool, JobKind::Flush)?;
    change(&pool, users)?;
    settle(&pool, JobKind::Flush)?;
    settle(&pool, JobKind::Compact)?;
    commit(&pool, change_of(1, "nickname", "of a run over the base"))?;
    settle(&pool, JobKind::Flush)?;
    commit(&pool, change_of(2, "nickname", "in the log alone"))?;
    commit(&pool, create(users))?;
    store.close()
}

fn settle(pool: &Pool, kind: JobKind) -> Result<()> {
    let job = pool.start_job(kind)?;
    while pool.job(job.id).is_some_and(|job| job.state == JobState::Running) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Ok(())
}

fn commit(pool: &Pool, op: Op) -> Result<()> {
    pool.commit(Transaction { actor: "example".into(), ops: vec![op], ..Transaction::default() }).map(drop)
}

fn by(i: usize) -> UserRef {
    UserRef::Alias { attr: "username".into(), value: format!("user{i}").into() }
}

fn raw(name: &str, value: String) -> (Box<str>, Input) {
    (name.into(), Input::Raw(value.into()))
}

fn change_of(i: usize, name: &str, value: &str) -> Op {
    Op::UserSet { user: by(i), if_version: None, take_alias: false, changes: vec![raw(name, value.to_owned())] }
}

fn create(i: usize) -> Op {
    let mut attrs = vec![
        raw("username", format!("user{i}")),
        raw("email", format!("User{i}@Example.com")),
        raw("custom:plan", ["free", "team", "enterprise"][i % 3].to_owned()),
        raw("custom:points", format!("{}", i as i64 * 37 - 1000)),
        raw("custom:prefs", format!("{{\"theme\": \"dark\", \"n\": {i}}}")),
    ];
    if i % 2 == 0 {
        attrs.push(raw("custom:trial", (i % 4 == 0).to_string()));
        attrs.push(raw("custom:seen", format!("2026-11-22T14:{:02}:00.000Z", i % 60)));
        attrs.push(raw("given_name", "Žofie\n".repeat(i % 3)));
    }
    if i % 5 == 0 {
        attrs.push(raw("custom:tags", r#"["a", "b"]"#.to_owned()));
    }
    let password = [Some(BCRYPT), None, Some(ARGON2), None][i % 4].map(Box::from);
    Op::UserCreate(Box::new(NewUser { attrs, password, ..NewUser::default() }))
}

fn fill(pool: &Pool, users: usize) -> Result<()> {
    for i in 0..users {
        commit(pool, create(i))?;
    }
    for name in ["staff", "staff/paris", "gone"] {
        let fields = GroupFields { description: Some(name.into()), precedence: Some(-3), ..GroupFields::default() };
        commit(pool, Op::GroupCreate { name: name.into(), fields })?;
        let users = (0..users.min(40)).step_by(3).map(by).collect();
        commit(pool, Op::GroupAdd { name: name.into(), users })?;
    }
    let factor = |i: usize, kind: &str, id: String| Op::FactorPut {
        user: by(i),
        kind: kind.into(),
        id: id.into(),
        if_version: None,
        label: (i % 2 == 0).then(|| "phone".into()),
        blob: vec![i as u8; 20].into(),
    };
    for i in (0..users).step_by(50) {
        commit(pool, factor(i, "totp", "one".to_owned()))?;
        commit(pool, factor(i, "webauthn", format!("key\0{i}")))?;
        let link = Op::IdentityLink { user: by(i), provider: "google".into(), subject: format!("sub{i}").into() };
        commit(pool, link)?;
    }
    let login = Op::ConfigSet { name: "login".into(), if_version: None, json: r#"{"aliases": ["username"]}"#.into() };
    commit(pool, login)
}

fn change(pool: &Pool, users: usize) -> Result<()> {
    for i in (0..users).step_by(7) {
        commit(pool, change_of(i, "nickname", "one of the changed"))?;
    }
    for i in (3..users).step_by(11) {
        let changes = vec![("custom:points".into(), Input::Json(serde_json::Value::Null))];
        commit(pool, Op::UserSet { user: by(i), if_version: None, take_alias: false, changes })?;
    }
    for i in (5..users).step_by(29) {
        commit(pool, Op::UserDelete { user: by(i), if_version: None })?;
    }
    commit(pool, Op::GroupDelete { name: "gone".into() })
}
