//! A small store with files of every kind, and what it was before.

use std::collections::BTreeMap;

use stoa_engine::Store;
use stoa_engine::io::SimDisk;
use stoa_engine::io::sim::{Crash, Keep, Moment};
use stoa_format::PoolId;

use crate::life::{Life, options};
use crate::model::{Act, StoreState};
use crate::reading::{Answers, Asked, ask_pool, ask_store};
use crate::script::{Step, new_user_attrs};

/// The pools: one that was compacted and lives on in sparse runs and in the log, one that was loaded in bulk, and
/// one that was never flushed, so that the log had to copy its frames.
pub const POOLS: [&str; 3] = ["acme", "loaded", "parked"];

/// A store that was closed in order, and what it answers.
pub struct Healthy {
    closed: Moment,
    pub asked: BTreeMap<String, Asked>,
    pub answers: Answers,
    /// Each pool's directory, by its name.
    pub ids: BTreeMap<String, PoolId>,
    /// What files held at some time, by path, oldest first.
    pub former: BTreeMap<String, Vec<Vec<u8>>>,
}

fn create(user: u64) -> Act {
    Act::Create { user, attrs: new_user_attrs(user), password: user % 2 == 0 }
}

fn set(user: u64, name: &str, value: &str) -> Act {
    Act::Set { user, changes: vec![(name.to_owned(), Some(value.to_owned()))] }
}

fn join(name: &'static str, users: &[u64]) -> Act {
    Act::Join { name, users: users.to_vec(), on: true }
}

fn group(name: &'static str) -> Act {
    Act::GroupCreate { name, kind: Some("team") }
}

fn steps() -> Vec<Step> {
    use Step::{Commit, Compact, CreatePool, Document, Flush, Load, Restart, Rotate};
    let acme = |acts| Commit("acme", acts);
    let config = |name, json: &str| Act::Config { name, json: Some(json.to_owned()) };
    let mut steps = vec![
        CreatePool("acme"),
        CreatePool("parked"),
        Commit("parked", vec![create(70), create(71), group("crew"), join("crew", &[70])]),
        acme((0..8).map(create).collect()),
        acme(vec![group("staff"), join("staff", &[0, 1, 2]), config("a", "{\"x\":1}")]),
        Flush("acme"),
        acme(vec![
            Act::Link { user: 0, subject: "s0".into(), on: true },
            Act::Factor { user: 0, id: "f".into(), blob: Some(vec![1, 2, 3]) },
            Act::Tag { user: 1, tag: "b".into(), on: true },
            Act::Delete { user: 7 },
        ]),
        Document("acl", "one"),
        Rotate("acme"),
        Compact("acme"),
        CreatePool("loaded"),
        Load("loaded", vec![40, 41, 42, 43]),
        Flush("loaded"),
        Compact("loaded"),
        Commit("loaded", vec![Act::Delete { user: 41 }, create(44)]),
        Flush("loaded"),
        acme(vec![set(3, "given_name", "Ana"), set(4, "nickname", "bo"), Act::Enable { user: 5, on: false }]),
        Flush("acme"),
        acme(vec![set(3, "given_name", "Anna"), Act::Password { user: 1 }, create(8)]),
        Flush("acme"),
        Commit("parked", vec![create(72)]),
    ];
    // The log moves on: what is not flushed goes to history files, what is flushed too, for the change feed.
    steps.extend([Restart, Commit("parked", vec![join("crew", &[71])]), Restart, Restart]);
    steps.extend([
        acme(vec![set(2, "nickname", "late"), Act::GroupCreate { name: "late", kind: None }]),
        Document("acl", "two"),
        Commit("loaded", vec![set(42, "locale", "fr")]),
        acme(vec![join("late", &[2, 3]), Act::Verify { user: 3, take: false }]),
    ]);
    steps
}

impl Healthy {
    /// Makes the store; of two seeds all keys and ids differ.
    pub fn make(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let mut former: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        let mut keep = |disk: &SimDisk| {
            for file in disk.files() {
                let bytes = disk.contents(&file).unwrap();
                let known = former.entry(file).or_default();
                if known.last() != Some(&bytes) {
                    known.push(bytes);
                }
            }
        };
        let mut life = Life::begin(&disk, StoreState::default()).unwrap();
        for step in steps() {
            life.take(&step).unwrap_or_else(|error| panic!("{step:?}: {error}"));
            keep(&disk);
        }
        let state = life.state.clone();
        let store = life.store.take().unwrap();
        store.close().unwrap();
        disk.record();
        let closed = disk.moments().pop().unwrap();
        keep(&closed.crash(Crash::whole(Keep::None)));
        let mut healthy =
            Self { closed, asked: BTreeMap::new(), answers: Answers::new(), ids: BTreeMap::new(), former };
        let opened = Store::open(options(&healthy.image())).unwrap();
        for name in POOLS {
            let pool = opened.pool(name).unwrap();
            let mut asked = Asked::of(&state.pools[name], Default::default());
            asked.find_oldest(&pool);
            healthy.ids.insert(name.into(), pool.id());
            healthy.asked.insert(name.into(), asked);
        }
        let mut answers = Answers::new();
        ask_store(&opened, &mut answers);
        POOLS.iter().for_each(|name| ask_pool(&opened, name, &healthy.asked[*name], &mut answers));
        let refused: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_err()).collect();
        assert!(refused.is_empty(), "{refused:?}");
        for name in POOLS {
            let report = opened.pool(name).unwrap().verify().unwrap();
            assert_eq!((report.findings, report.unchecked), (Vec::new(), Vec::new()));
        }
        healthy.answers = answers;
        healthy
    }

    /// The disk as it was left; each call gives one of its own.
    pub fn image(&self) -> SimDisk {
        self.closed.crash(Crash::whole(Keep::None))
    }

    /// The pool that a file belongs to.
    pub fn pool_of(&self, file: &str) -> Option<&str> {
        let id = file.strip_prefix("DATA/pools/")?.split('/').next()?;
        self.ids.iter().find(|(_, pool)| pool.to_string() == id).map(|(name, _)| name.as_str())
    }
}
