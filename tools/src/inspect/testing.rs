//! A store made by the engine, with files of every kind, for the tests of the inspection tools.

use std::path::{Path, PathBuf};

use stoa_engine::io::{Disk, Io, read_whole, replace};
use stoa_engine::pool::request::{GroupFields, Input, NewUser, Op, Transaction, UserRef};
use stoa_engine::{Pool, Store, StoreOptions};

/// Everything that is stored and must not be shown: values, names, documents.
pub(crate) const SECRETS: [&str; 9] = [
    "acme-people",
    "ana.lovelace",
    "ana.lovelace@example.com",
    "Anastasia",
    "bo.hopper",
    "Bohumila",
    "cy.turing",
    "Cyprian",
    "group-of-analysts",
];

/// A data directory that goes with the test.
pub(crate) struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    /// A store that was flushed, written to again and closed.
    pub(crate) fn closed() -> Self {
        let (fixture, store) = Self::open();
        store.close().unwrap();
        fixture
    }

    /// The same, still open.
    pub(crate) fn open() -> (Self, Store) {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        let store = Store::open(StoreOptions::new(fixture.data())).unwrap();
        store.create_pool("acme-people", None, None).unwrap();
        let pool = store.pool("acme-people").unwrap();
        create(
            &pool,
            &[("username", "ana.lovelace"), ("email", "ana.lovelace@example.com"), ("given_name", "Anastasia")],
        );
        create(&pool, &[("username", "bo.hopper"), ("given_name", "Bohumila")]);
        let group = Op::GroupCreate { name: "group-of-analysts".into(), fields: GroupFields::default() };
        commit(&pool, group);
        pool.flush().unwrap();
        create(&pool, &[("username", "cy.turing"), ("given_name", "Cyprian")]);
        let changes = attrs(&[("given_name", "Bohumila")]);
        let user = UserRef::Alias { attr: "username".into(), value: "ana.lovelace".into() };
        commit(&pool, Op::UserSet { user, if_version: None, take_alias: false, changes });
        (fixture, store)
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("DATA")
    }

    /// The only pool's directory.
    pub(crate) fn pool_dir(&self) -> PathBuf {
        let pools = self.data().join("pools");
        let names = Disk::new().list_dir(&pools).unwrap();
        pools.join(&names[0])
    }

    /// The newest run file.
    pub(crate) fn run_file(&self) -> PathBuf {
        let flush = self.pool_dir().join("flush");
        flush.join(Disk::new().list_dir(&flush).unwrap().last().unwrap())
    }

    /// The segments of the log, in order.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        super::site::Site::at(&self.data()).segments().into_iter().map(|(_, path)| path).collect()
    }
}

/// A file's bytes.
pub(crate) fn bytes_of(path: &Path) -> Vec<u8> {
    read_whole(&Disk::new(), path, 1 << 30).unwrap()
}

/// Changes one byte of a file.
pub(crate) fn flip(path: &Path, offset: usize) {
    let mut bytes = bytes_of(path);
    bytes[offset] ^= 0x40;
    replace(&Disk::new(), path, &bytes).unwrap();
}

fn attrs(pairs: &[(&str, &str)]) -> Vec<(Box<str>, Input)> {
    pairs.iter().map(|(name, value)| ((*name).into(), Input::Raw((*value).to_owned().into()))).collect()
}

/// Makes a user.
pub(crate) fn create(pool: &Pool, pairs: &[(&str, &str)]) {
    let new = NewUser { attrs: attrs(pairs), ..NewUser::default() };
    commit(pool, Op::UserCreate(Box::new(new)));
}

fn commit(pool: &Pool, op: Op) {
    pool.commit(Transaction { ops: vec![op], ..Transaction::default() }).unwrap();
}
