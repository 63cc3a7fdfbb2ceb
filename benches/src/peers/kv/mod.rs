//! The identity workload over any ordered key-value store: one row a user under its sub, and three tables of aliases
//! that lead to subs. The application keeps aliases unique, in the transaction that claims them.
//!
//! A store implements [`Kv`]; [`KvPeer`] makes a [`Peer`] of it. A store whose own commits of many threads share a sync
//! is given each transaction under locks of the keys that it touches; for the others the application groups them.

mod row;

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::group::Group;
use crate::load::Alias;
use crate::machine::DiskBytes;
use crate::peer::{Peer, Reader, Seen, Update, Writer, folded};
use crate::population::{Text, User};
pub(super) use row::Row;

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Table {
    Rows,
    Usernames,
    Emails,
    Phones,
}

impl Table {
    pub(super) const ALL: [Self; 4] = [Self::Rows, Self::Usernames, Self::Emails, Self::Phones];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rows => "users",
            Self::Usernames => "usernames",
            Self::Emails => "emails",
            Self::Phones => "phones",
        }
    }

    const fn of(alias: Alias) -> Self {
        match alias {
            Alias::Username => Self::Usernames,
            Alias::Email => Self::Emails,
            Alias::Phone => Self::Phones,
        }
    }
}

const ALIASES: [Alias; 3] = [Alias::Username, Alias::Email, Alias::Phone];
/// Single updates that are written in one transaction where many are under way.
const UPDATES_AT_ONCE: usize = 1000;
/// Locks of a store that groups commits by itself.
const STRIPES: usize = 4096;

/// An ordered key-value store with tables and atomic durable transactions.
pub(super) trait Kv: Send + Sync + Sized {
    /// What a read sees.
    type View<'k>: View
    where
        Self: 'k;

    /// Whether transactions of many threads are to be given to it as they come.
    const GROUPS_COMMITS: bool = false;

    /// The newest state.
    fn view(&self) -> Result<Self::View<'_>>;

    /// Has `work` read and change, and commits that; durable when it returns.
    fn transact(&self, work: &mut dyn FnMut(&mut dyn Changes) -> Result<()>) -> Result<()>;

    /// Fills the empty store with tables in order of keys; durable when it returns.
    fn load(&self, source: &Source<'_>) -> Result<()>;

    /// Rewrites every row; durable when it returns.
    fn rewrite(&self, each: &mut dyn FnMut(&[u8], &mut Vec<u8>) -> Result<()>) -> Result<u64>;

    /// Writes what is in memory into files, and waits for what follows from that.
    fn settle(&self) -> Result<()>;

    /// Ends it in order.
    fn close(self) -> Result<()>;
}

/// One state of a store.
pub(super) trait View {
    /// Shows the value of a key to `read`.
    fn get<R>(&self, table: Table, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>>;

    /// Shows all from `from` on, in order of keys, until `visit` breaks.
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()>;
}

/// A transaction under way; reads see its own changes.
pub(super) trait Changes {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>>;
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()>;
}

/// Changes of a store that does not show a transaction its own: they are remembered beside it.
#[derive(Default)]
pub(super) struct Overlay(HashMap<(Table, Vec<u8>), Vec<u8>>);

impl Overlay {
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        if self.0.is_empty() { None } else { self.0.get(&(table, key.to_vec())).cloned() }
    }

    pub(super) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.0.insert((table, key.to_vec()), value.to_vec());
    }
}

/// What a load reads: users in memory, and the orders of the tables.
pub(super) struct Source<'u> {
    users: &'u [User],
    by_sub: Vec<u32>,
    aliases: [Vec<(String, u32)>; 3],
}

impl<'u> Source<'u> {
    /// Sorts, on two threads.
    fn new(users: &'u [User]) -> Result<Self> {
        let count = u32::try_from(users.len()).context("a population has fewer users")?;
        let by_alias = |alias: Alias| {
            let mut list: Vec<(String, u32)> = (0..count)
                .map(|place| (folded(alias, users[place as usize].text(alias.text())), place))
                .filter(|(value, _)| !value.is_empty())
                .collect();
            list.sort_unstable();
            list
        };
        let (by_sub, usernames, emails, phones) = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut by_sub: Vec<u32> = (0..count).collect();
                by_sub.sort_unstable_by_key(|place| users[*place as usize].sub);
                (by_sub, by_alias(Alias::Username))
            });
            let (emails, phones) = (by_alias(Alias::Email), by_alias(Alias::Phone));
            let (by_sub, usernames) = other.join().unwrap_or_default();
            (by_sub, usernames, emails, phones)
        });
        ensure!(by_sub.len() == users.len(), "sorting failed");
        Ok(Self { users, by_sub, aliases: [usernames, emails, phones] })
    }

    /// Shows a table's keys and values in order.
    pub(super) fn each(&self, table: Table, visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        if table == Table::Rows {
            let mut row = Vec::new();
            for place in &self.by_sub {
                let user = &self.users[*place as usize];
                row.clear();
                row::encode(user, &mut row);
                visit(&user.sub, &row)?;
            }
            return Ok(());
        }
        for (value, place) in &self.aliases[table as usize - 1] {
            visit(value.as_bytes(), &self.users[*place as usize].sub)?;
        }
        Ok(())
    }
}

/// One change, as the application's group commit gathers it.
enum Change {
    Update([u8; 16], String),
    Create(Box<User>),
}

/// A key-value store as a peer.
pub(super) struct KvPeer<K> {
    kv: K,
    dir: PathBuf,
    /// Names of files that are logs.
    is_log: fn(&str) -> bool,
    group: Group<Change, Result<bool>>,
    /// Locks of keys where the store groups commits by itself; else the first of them is the lock of all writers.
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl<K: Kv> KvPeer<K> {
    pub(super) fn new(kv: K, dir: PathBuf, is_log: fn(&str) -> bool) -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::new(())).collect();
        Self { kv, dir, is_log, group: Group::new(), stripes, hasher: RandomState::new() }
    }

    fn commit(&self, change: Change) -> Result<bool> {
        if !K::GROUPS_COMMITS {
            return self.group.commit(change, |changes| {
                let _held = self.lock(0);
                self.write(&changes)
            })?;
        }
        let _held = self.hold(&change);
        let mut results = self.write(std::slice::from_ref(&change))?;
        results.pop().context("a change has an answer")?
    }

    /// Writes changes in one transaction; answers each.
    fn write(&self, changes: &[Change]) -> Result<Vec<Result<bool>>> {
        let mut results = Vec::with_capacity(changes.len());
        self.kv.transact(&mut |transaction| {
            results.clear();
            results.extend(changes.iter().map(|change| apply(transaction, change)));
            Ok(())
        })?;
        Ok(results)
    }

    /// Locks what a change reads and writes, always in one order.
    fn hold(&self, change: &Change) -> Vec<MutexGuard<'_, ()>> {
        let stripe = |table: Table, key: &[u8]| self.hasher.hash_one((table, key)) as usize % STRIPES;
        let mut stripes = match change {
            Change::Update(sub, _) => vec![stripe(Table::Rows, sub)],
            Change::Create(user) => {
                let of = |alias: Alias| stripe(Table::of(alias), folded(alias, user.text(alias.text())).as_bytes());
                ALIASES.map(of).to_vec()
            }
        };
        stripes.sort_unstable();
        stripes.dedup();
        stripes.into_iter().map(|at| self.lock(at)).collect()
    }

    fn lock(&self, stripe: usize) -> MutexGuard<'_, ()> {
        self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps all other writers out.
    fn hold_all(&self) -> Vec<MutexGuard<'_, ()>> {
        (0..STRIPES).map(|at| self.lock(at)).collect()
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn apply(transaction: &mut dyn Changes, change: &Change) -> Result<bool> {
    match change {
        Change::Update(sub, prefs) => update(transaction, sub, prefs).map(|()| true),
        Change::Create(user) => create(transaction, user),
    }
}

fn update(transaction: &mut dyn Changes, sub: &[u8; 16], prefs: &str) -> Result<()> {
    let old = transaction.get(Table::Rows, sub)?.context("there is no such user")?;
    let mut new = Vec::with_capacity(old.len() + prefs.len());
    Row::read(&old)?.with(Text::Prefs, prefs, now_ms(), &mut new);
    transaction.put(Table::Rows, sub, &new)
}

fn create(transaction: &mut dyn Changes, user: &User) -> Result<bool> {
    let keys = ALIASES.map(|alias| (Table::of(alias), folded(alias, user.text(alias.text()))));
    for (table, key) in &keys {
        if !key.is_empty() && transaction.get(*table, key.as_bytes())?.is_some() {
            return Ok(false);
        }
    }
    for (table, key) in keys.iter().filter(|(_, key)| !key.is_empty()) {
        transaction.put(*table, key.as_bytes(), &user.sub)?;
    }
    let mut row = Vec::with_capacity(320);
    row::encode(user, &mut row);
    transaction.put(Table::Rows, &user.sub, &row)?;
    Ok(true)
}

impl<K: Kv> Peer for KvPeer<K> {
    fn load(&self, users: &[User]) -> Result<()> {
        self.kv.load(&Source::new(users)?)
    }

    fn settle(&self) -> Result<()> {
        self.kv.settle()
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(KvReader { kv: &self.kv, key: RefCell::default() }))
    }

    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(KvWriter { peer: self }))
    }

    fn update_many(&self, updates: &[Update<'_>]) -> Result<()> {
        let _held = self.hold_all();
        for some in updates.chunks(UPDATES_AT_ONCE) {
            self.kv.transact(&mut |transaction| {
                some.iter().try_for_each(|each| update(transaction, each.sub, each.prefs))
            })?;
        }
        Ok(())
    }

    fn set_all(&self, locale: &str) -> Result<u64> {
        let (_held, now_ms) = (self.hold_all(), now_ms());
        self.kv.rewrite(&mut |old, new| {
            Row::read(old)?.with(Text::Locale, locale, now_ms, new);
            Ok(())
        })
    }

    fn disk_bytes(&self) -> Result<DiskBytes> {
        let is_log = self.is_log;
        DiskBytes::below(&self.dir, &|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_log))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.kv.close()
    }
}

struct KvReader<'k, K> {
    kv: &'k K,
    /// The folded alias, in the same memory each time.
    key: RefCell<String>,
}

impl<K: Kv> KvReader<'_, K> {
    /// Shows the row of the user whom the alias names.
    fn row(&self, alias: Alias, value: &str, show: impl FnOnce(&[u8; 16], Row<'_>) -> Result<()>) -> Result<bool> {
        let mut key = self.key.borrow_mut();
        key.clear();
        match (alias, value.is_ascii()) {
            (Alias::Phone, _) => key.push_str(value),
            (_, true) => {
                key.push_str(value);
                key.make_ascii_lowercase();
            }
            (_, false) => *key = value.to_lowercase(),
        }
        let view = self.kv.view()?;
        let Some(sub) = view.get(Table::of(alias), key.as_bytes(), to_sub)? else { return Ok(false) };
        self.row_of(&view, &sub?, show)
    }

    fn row_of(
        &self,
        view: &K::View<'_>,
        sub: &[u8; 16],
        show: impl FnOnce(&[u8; 16], Row<'_>) -> Result<()>,
    ) -> Result<bool> {
        let shown = view.get(Table::Rows, sub, |bytes| show(sub, Row::read(bytes)?))?;
        shown.transpose().map(|shown| shown.is_some())
    }
}

fn to_sub(bytes: &[u8]) -> Result<[u8; 16]> {
    bytes.try_into().context("a sub has 16 bytes")
}

impl<K: Kv> Reader for KvReader<'_, K> {
    fn profile(&mut self, alias: Alias, value: &str, seen: &mut Seen) -> Result<bool> {
        self.row(alias, value, |sub, row| row.show(sub, seen))
    }

    fn hash(&mut self, email: &str, seen: &mut Seen) -> Result<bool> {
        self.row(Alias::Email, email, |_, row| {
            seen.text("hash", row.text(Text::Hash)?);
            Ok(())
        })
    }

    fn sign_in(&mut self, alias: Alias, value: &str, seen: &mut Seen) -> Result<bool> {
        self.row(alias, value, |_, row| row.show_sign_in(seen))
    }

    fn by_sub(&mut self, sub: &[u8; 16], seen: &mut Seen) -> Result<bool> {
        self.row_of(&self.kv.view()?, sub, |sub, row| row.show(sub, seen))
    }

    fn count_family_name(&mut self, part: &str) -> Result<u64> {
        let mut count = 0;
        self.kv.view()?.scan(Table::Rows, &[], &mut |_, bytes| {
            count += u64::from(row::contains(Row::read(bytes)?.text(Text::FamilyName)?, part));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(count)
    }

    fn first_by_prefix(&mut self, prefix: &str, limit: usize, seen: &mut Seen) -> Result<usize> {
        let (view, mut count) = (self.kv.view()?, 0);
        view.scan(Table::Usernames, prefix.as_bytes(), &mut |key, sub| {
            if count == limit || !key.starts_with(prefix.as_bytes()) {
                return Ok(ControlFlow::Break(()));
            }
            ensure!(self.row_of(&view, &to_sub(sub)?, |sub, row| row.show(sub, seen))?, "an alias leads nowhere");
            count += 1;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(count)
    }

    fn page(&mut self, cursor: Option<&[u8]>, limit: usize, seen: &mut Seen) -> Result<Option<Vec<u8>>> {
        // Keys have 16 bytes: the first after one is that with an octet more.
        let from = cursor.map_or_else(Vec::new, |last| [last, &[0]].concat());
        let (mut count, mut last) = (0, Vec::new());
        self.kv.view()?.scan(Table::Rows, &from, &mut |key, bytes| {
            let sub = to_sub(key)?;
            Row::read(bytes)?.show(&sub, seen)?;
            count += 1;
            if count == limit {
                last = key.to_vec();
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((count == limit).then_some(last))
    }
}

struct KvWriter<'p, K> {
    peer: &'p KvPeer<K>,
}

impl<K: Kv> Writer for KvWriter<'_, K> {
    fn update(&mut self, update: Update<'_>) -> Result<()> {
        self.peer.commit(Change::Update(*update.sub, update.prefs.to_owned())).map(drop)
    }

    fn create(&mut self, user: &User) -> Result<bool> {
        self.peer.commit(Change::Create(Box::new(user.clone())))
    }
}
