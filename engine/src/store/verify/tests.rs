//! Every fault that verification is for, planted one at a time past all rules, by the log itself.

use std::path::Path;

use stoa_format::ops::{CellRef, EventKind, Operation, Subject, encode_cells};
use stoa_format::wire::Write;
use stoa_format::{AttrId, Ordinal};

use crate::io::SimDisk;
use crate::pool::Pool;
use crate::pool::draft::Prepared;
use crate::pool::keyspace::flat_key;
use crate::pool::keyspace::{self, Key, split_flat};
use crate::pool::request::{Input, NewUser, Op, Transaction, UserRef};
use crate::{Store, StoreOptions};

fn open(disk: &SimDisk) -> Store {
    let mut options = StoreOptions::new(Path::new("/DATA"));
    options.io = disk.io();
    options.threads = false;
    Store::open(options).unwrap()
}

fn raw(text: &str) -> Input {
    Input::Raw(text.to_owned().into())
}

fn user(i: usize) -> UserRef {
    UserRef::Alias { attr: "username".into(), value: format!("user{i}").into() }
}

/// Three users with everything that a user can have, in two groups; a third group is gone, and so is a user.
fn fill(pool: &Pool) {
    let schema = r#"{"attributes": {"custom:tags": {"type": "string", "multi": true},
                                    "custom:rank": {"type": "integer", "searchable": true}}}"#;
    let mut ops = vec![Op::SchemaAlter { if_version: None, schema: schema.into() }];
    commit(pool, std::mem::take(&mut ops));
    for i in 0..4 {
        let attrs = vec![
            ("username".into(), raw(&format!("user{i}"))),
            ("custom:tags".into(), raw(r#"["a", "b"]"#)),
            ("custom:rank".into(), raw(&i.to_string())),
        ];
        commit(pool, vec![Op::UserCreate(Box::new(NewUser { attrs, ..NewUser::default() }))]);
        let factor = |kind: &str, id: String| Op::FactorPut {
            user: user(i),
            kind: kind.into(),
            id: id.into(),
            if_version: None,
            label: None,
            blob: bytes::Bytes::from_static(b"secret"),
        };
        let subject = format!("subject{i}").into();
        commit(
            pool,
            vec![
                factor("webauthn", format!("key{i}")),
                factor("totp", "app".into()),
                Op::IdentityLink { user: user(i), provider: "idp".into(), subject },
            ],
        );
    }
    for name in ["staff", "team/one", "gone"] {
        let users = (0..4).map(user).collect();
        commit(pool, vec![Op::GroupCreate { name: name.into(), fields: Default::default() }]);
        commit(pool, vec![Op::GroupAdd { name: name.into(), users }]);
    }
    commit(pool, vec![Op::GroupDelete { name: "gone".into() }]);
    commit(pool, vec![Op::UserDelete { user: user(3), if_version: None }]);
}

fn commit(pool: &Pool, ops: Vec<Op>) {
    pool.commit(Transaction { ops, ..Transaction::default() }).unwrap();
}

/// Commits operations as they stand, whatever the rules say.
fn plant(pool: &Pool, ops: &[Operation<'_>]) {
    let mut body = Vec::new();
    body.put_bytes(b"");
    ops.iter().for_each(|op| op.encode(&mut body));
    let prepared = Prepared {
        base_seq: pool.seq(),
        reads: Vec::new(),
        writes: Vec::new(),
        exclusive: true,
        body,
        seq_at: None,
        outcomes: Vec::new(),
    };
    assert!(pool.open.shared.commit_prepared(&pool.open, prepared).unwrap().is_some());
}

/// What a planted fault does, and what must be said of it: in which file, and how.
struct Case {
    name: &'static str,
    plant: Box<dyn Fn(&Pool)>,
    file: &'static str,
    what: &'static str,
}

fn case(name: &'static str, file: &'static str, what: &'static str, plant: impl Fn(&Pool) + 'static) -> Case {
    Case { name, plant: Box::new(plant), file, what }
}

fn set(flat: bytes::Bytes, value: &'static [u8]) -> impl Fn(&Pool) {
    move |pool| {
        let (keyspace, key) = split_flat(&flat);
        plant(pool, &[Operation::SetKey { keyspace, key, value }]);
    }
}

fn delete(flat: bytes::Bytes) -> impl Fn(&Pool) {
    move |pool| {
        let (keyspace, key) = split_flat(&flat);
        plant(pool, &[Operation::DeleteKey { keyspace, key }]);
    }
}

/// Deletes the first key of a keyspace that begins so.
fn delete_first(prefix: bytes::Bytes) -> impl Fn(&Pool) {
    move |pool| {
        let mut first = None;
        let keyspace = split_flat(&prefix).0;
        let found = pool.snapshot().scan_prefix(&prefix, |key, _| {
            first = Some(flat_key(keyspace, key));
            Ok(std::ops::ControlFlow::Break(()))
        });
        found.unwrap();
        delete(first.unwrap())(pool);
    }
}

/// Writes one cell over.
fn cell(pool: &Pool, ordinal: u64, attr: AttrId, cell: CellRef<'_>) {
    let mut cells = Vec::new();
    encode_cells([(attr, cell)].into_iter(), &mut cells);
    plant(pool, &[Operation::Put { ordinal: Ordinal(ordinal), flags: 0, cells: &cells }]);
}

fn attr(pool: &Pool, name: &str) -> AttrId {
    pool.snapshot().schema().by_name(name).unwrap().id
}

const SEVEN: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 7];

fn cases() -> Vec<Case> {
    let pair = |keyspace, one, other| Key::new(keyspace).number(one).number(other).flat();
    let alias = Key::new(keyspace::ALIASES).attr(AttrId::SUB);
    let identity = |subject: &[u8]| Key::new(keyspace::IDENTITIES).terminated(b"idp").rest(subject).flat();
    let factor_id = |id: &[u8]| Key::new(keyspace::FACTOR_IDS).terminated(b"webauthn").rest(id).flat();
    vec![
        case("an alias is not indexed", "alias index", "lacks an entry", delete_first(alias.clone().flat())),
        case(
            "an alias of nobody",
            "alias index",
            "a value that nobody has",
            set(alias.number(5).number(0).flat(), b""),
        ),
        case(
            "a value is not in order",
            "order index",
            "lacks an entry",
            delete_first(Key::new(keyspace::ORDER).flat()),
        ),
        case("a column without its index", "alias index", "lacks an entry", |pool| {
            cell(pool, 0, attr(pool, "username"), CellRef::Bytes(b"somebody"));
        }),
        case("two owners of a name", "alias index", "has two owners of one value", |pool| {
            let username = attr(pool, "username");
            cell(pool, 1, username, CellRef::Bytes(b"user0"));
            let hash = pool.open.alias_hash("user0");
            set(Key::alias(username, hash).number(1).flat(), b"")(pool);
        }),
        case(
            "a member not the other way",
            "members of groups",
            "lack their counterpart",
            delete(pair(keyspace::GROUPS_OF, 0, 1)),
        ),
        case(
            "a group not the other way",
            "groups of users",
            "lack their counterpart",
            delete(pair(keyspace::MEMBERS, 1, 0)),
        ),
        case("a member of a deleted group", "members of groups", "groups that are gone", |pool| {
            set(Key::new(keyspace::MEMBERS).number(3).number(0).flat(), b"")(pool);
            set(Key::new(keyspace::GROUPS_OF).number(0).number(3).flat(), b"")(pool);
        }),
        case("a deleted user is a member", "members of groups", "users that are gone", |pool| {
            set(Key::new(keyspace::MEMBERS).number(1).number(3).flat(), b"")(pool);
            set(Key::new(keyspace::GROUPS_OF).number(3).number(1).flat(), b"")(pool);
        }),
        case(
            "a group without its name",
            "groups",
            "lack their name by id",
            delete(Key::new(keyspace::GROUP_NAMES).number(1).flat()),
        ),
        case(
            "a name without its group",
            "names of groups",
            "groups that are gone",
            set(Key::new(keyspace::GROUP_NAMES).number(9).flat(), b"staff"),
        ),
        case("a group is not counted", "groups", "holds 2 groups, the pool says 3", |pool| {
            let subject = Subject::Named("more");
            plant(pool, &[Operation::Event { event: EventKind::GroupCreate, subject, version: 1, attrs: Vec::new() }]);
        }),
        case("an identity of another", "identities of users", "under another", set(identity(b"subject0"), SEVEN)),
        case("an identity of nobody", "identities", "do not have them", set(identity(b"more"), SEVEN)),
        case("an identity that is not found", "identities of users", "under no user", delete(identity(b"subject1"))),
        case("a factor that is not found", "factors", "under no user", delete(factor_id(b"key0"))),
        case("a factor's id of nobody", "ids of factors", "do not have them", set(factor_id(b"more"), SEVEN)),
        case(
            "a deleted user's factor",
            "factors",
            "users that are gone",
            set(Key::new(keyspace::FACTORS).number(3).terminated(b"totp").rest(b"app").flat(), &[0, 0, 0, 0]),
        ),
        case("an element of a deleted user", "elements of multi-valued attributes", "users that are gone", |pool| {
            let tags = attr(pool, "custom:tags");
            set(Key::new(keyspace::MULTI).number(3).attr(tags).rest(b"c").flat(), b"")(pool);
        }),
        case("an element of a plain attribute", "elements of multi-valued attributes", "not multi-valued", |pool| {
            let username = attr(pool, "username");
            set(Key::new(keyspace::MULTI).number(0).attr(username).rest(b"c").flat(), b"")(pool);
        }),
        case("a value that is not in the digest", "digest", "do not add up", |pool| {
            cell(pool, 0, attr(pool, "nickname"), CellRef::Bytes(b"n"));
        }),
        case("a digest of nothing", "digest", "do not add up", |pool| {
            plant(pool, &[Operation::Digest { leaf: 1, delta: 1 }]);
        }),
        case("a value of no type", "digest", "", |pool| {
            cell(pool, 0, attr(pool, "email_verified"), CellRef::Int(77));
        }),
    ]
}

#[test]
fn every_planted_fault_is_found_before_and_after_a_flush() {
    let disk = SimDisk::new(11);
    let store = open(&disk);
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    fill(&pool);
    for flushed in [false, true] {
        if flushed {
            pool.flush().unwrap();
        }
        let report = pool.verify().unwrap();
        assert_eq!((report.findings, report.unchecked), (Vec::new(), Vec::new()));
        for Case { name, plant, file, what } in cases() {
            // Each on a machine of its own.
            let store = open(&disk.kill());
            let pool = store.pool("acme").unwrap();
            plant(&pool);
            for again in [false, true] {
                if again {
                    pool.flush().unwrap();
                }
                let report = pool.verify().unwrap();
                let found = report.findings.iter().any(|found| found.file == file && found.what.contains(what));
                assert!(found, "{name}, flushed {flushed} {again}: {:?} {:?}", report.findings, report.unchecked);
                // One fault is not told of in many words.
                assert!(report.findings.len() <= 4, "{name}: {:?}", report.findings);
            }
        }
    }
}

/// A user who is deleted while it joins a group leaves no membership behind.
#[test]
fn a_user_that_joins_a_group_while_it_is_deleted_leaves_nothing() {
    use crate::pool::draft::{Draft, Draught};
    let disk = SimDisk::new(12);
    let store = open(&disk);
    store.create_pool("acme", None, None).unwrap();
    let pool = store.pool("acme").unwrap();
    fill(&pool);
    commit(&pool, vec![Op::GroupCreate { name: "late".into(), fields: Default::default() }]);
    let ops = vec![Op::UserDelete { user: user(0), if_version: None }];
    let mut reserved = Vec::new();
    let snapshot = pool.snapshot();
    let draught = Draft::prepare(&snapshot, &Transaction { ops: ops.clone(), ..Transaction::default() }, &mut reserved);
    let Ok(Draught::Write(prepared)) = draught else { panic!("there is something to delete") };
    commit(&pool, vec![Op::GroupAdd { name: "late".into(), users: vec![user(0)] }]);
    let beaten = pool.open.shared.commit_prepared(&pool.open, prepared).unwrap();
    assert!(beaten.is_none(), "who deletes has not seen the new membership");
    commit(&pool, ops);
    assert_eq!(pool.verify().unwrap().findings, []);
}
