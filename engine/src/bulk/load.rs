//! The load itself: rows in, files out.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use stoa_format::{AttrId, Ordinal, Seq, Sub};

use super::aliases::Aliases;
use super::columns::{Column, Columns};
use super::files::NewFiles;
use super::groups::Groups;
use super::sorted::Keys;
use super::user::BulkUser;
use crate::digest::fact::leaf_hash;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::Pool;
use crate::pool::keyspace;
use crate::pool::open::{OpenPool, uuid_v7};
use crate::pool::request::GroupFields;
use crate::pool::runs::column_kind;
use crate::pool::schema::{Attribute, Schema};

/// The built-in columns that a load writes, by their ids from 0.
const BUILT_IN: u16 = AttrId::PASSWORD_SET_AT.0 + 1;
/// Subs are minted from this many random bytes at a time.
const RANDOM_BYTES: usize = 4096;

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The user is in the load.
    Taken(Ordinal),
    /// Nothing of it was taken, since it may clash with a user that is in the load: create it by an ordinary
    /// transaction after [`BulkLoad::finish`], which says whether it does.
    Deferred,
}

/// A load that is done: durable and visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkDone {
    /// How many users it brought.
    pub users: u64,
    /// The Seq from which on they are there.
    pub seq: Seq,
}

/// What must be known of an attribute at each value.
pub(super) struct Plan {
    pub(super) attribute: Attribute,
    pub(super) column: usize,
    /// Its table in the alias index, if its values name a user.
    pub(super) table: Option<usize>,
    /// For a verified alias: the flag that says so.
    pub(super) flag: Option<usize>,
    /// Its list in the order index, if it is searchable.
    pub(super) order: Option<usize>,
}

/// A load under way. Dropped unfinished, it leaves the pool as it was.
pub struct BulkLoad {
    pub(super) pool: Arc<OpenPool>,
    pub(super) schema: Arc<Schema>,
    pub(super) plans: Vec<Plan>,
    pub(super) required_count: usize,
    pub(super) base: u32,
    pub(super) taken: u32,
    pub(super) now_ms: u64,
    pub(super) columns: Columns,
    pub(super) aliases: Aliases,
    pub(super) sub_table: usize,
    pub(super) orders: Vec<(AttrId, Keys)>,
    pub(super) multi: Keys,
    pub(super) groups: Groups,
    pub(super) identities: Keys,
    pub(super) identities_of: Keys,
    pub(super) factors: Keys,
    pub(super) factor_ids: Keys,
    /// Hashes of identities and of factor ids that are unique in the pool.
    pub(super) seen: HashSet<u64>,
    random: Vec<u8>,
    /// For each attribute, the row that named it last.
    pub(super) named: Vec<u64>,
    pub(super) row: u64,
    pub(super) claims: Vec<(usize, u64)>,
    /// A file failed: nothing can come of this load.
    pub(super) failed: bool,
    pub(super) loading: Loading,
}

/// Keeps other writes out until it is dropped.
pub(super) struct Loading(Arc<OpenPool>);

impl Drop for Loading {
    fn drop(&mut self) {
        self.0.loading.store(false, Release);
    }
}

impl Pool {
    /// Begins a direct load of users into this pool, which must never have had a user or a group.
    ///
    /// # Errors
    /// `CONFLICT` if the pool was used, `TRYAGAIN` if a load is under way, `IOERROR`.
    pub fn bulk_load(&self) -> Result<BulkLoad> {
        BulkLoad::begin(&self.open)
    }
}

impl BulkLoad {
    fn begin(pool: &Arc<OpenPool>) -> Result<Self> {
        if pool.loading.swap(true, AcqRel) {
            let what = "users are being loaded into this pool: try again when that is done";
            return Err(Error::new(ErrorKind::TryAgain, what));
        }
        let loading = Loading(Arc::clone(pool));
        let snapshot = pool.snapshot();
        check_unused(pool, &snapshot.version)?;
        let schema = Arc::clone(snapshot.schema());
        let files = Arc::new(NewFiles::new(pool));
        let base = u32::try_from(pool.next_ordinal.load(Acquire)).map_err(|_| no_ordinals())?;
        let mut columns: Vec<Column> =
            (0..BUILT_IN).map(|id| Column::new(AttrId(id), column_kind(AttrId(id), &schema))).collect();
        let aliased = schema.aliases().map(|attribute| attribute.id);
        let aliases = Aliases::new(std::iter::once(AttrId::SUB).chain(aliased));
        let mut orders = Vec::new();
        let mut plans = Vec::with_capacity(schema.attributes().len());
        for attribute in schema.attributes() {
            let flag = attribute.verified_by.and_then(|id| position(&schema, id));
            let order = attribute.searchable.then_some(orders.len());
            orders.extend(attribute.searchable.then(|| (attribute.id, Keys::default())));
            let table = aliases.table_of(attribute.id);
            plans.push(Plan { attribute: attribute.clone(), column: columns.len(), table, flag, order });
            columns.push(Column::new(attribute.id, column_kind(attribute.id, &schema)));
        }
        Ok(Self {
            now_ms: pool.now_ms(),
            required_count: schema.required().count(),
            base,
            taken: 0,
            columns: Columns::new(files, columns, pool.shared.has_threads())?,
            sub_table: 0,
            aliases,
            orders,
            multi: Keys::default(),
            groups: Groups::default(),
            identities: Keys::default(),
            identities_of: Keys::default(),
            factors: Keys::default(),
            factor_ids: Keys::default(),
            seen: HashSet::new(),
            random: Vec::new(),
            named: vec![0; plans.len()],
            row: 0,
            claims: Vec::new(),
            failed: false,
            plans,
            schema,
            pool: Arc::clone(pool),
            loading,
        })
    }

    /// The schema that rows are checked against.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// How many users were taken so far.
    pub fn users(&self) -> u64 {
        u64::from(self.taken)
    }

    /// The number of a group for [`BulkUser::groups`]; makes the group, or sets more of its properties.
    ///
    /// # Errors
    /// `INVALID` for a name that is none, `LIMIT` for a property that is too long.
    pub fn group(&mut self, name: &str, fields: &GroupFields) -> Result<u32> {
        let pool = &self.pool;
        self.groups.group(name, fields, self.now_ms, || pool.mint_group_id())
    }

    /// Puts a user of this load into a group, also after its row.
    ///
    /// # Errors
    /// `INVALID` if there is no such group or user in this load.
    pub fn join(&mut self, group: u32, user: Ordinal) -> Result<()> {
        let ordinal = u32::try_from(user.0).ok().filter(|user| (self.base..self.base + self.taken).contains(user));
        match ordinal {
            Some(ordinal) if (group as usize) < self.groups.len() => {
                self.groups.join(group, ordinal);
                Ok(())
            }
            _ => Err(Error::invalid("a membership names a group or user that is not in this load")),
        }
    }

    /// The user of that sub in this load, as far as 64 bits of a keyed hash tell.
    pub fn find_sub(&self, sub: Sub) -> Option<Ordinal> {
        let hash = leaf_hash(&self.pool.digest_key, &sub.text());
        self.aliases.owner(self.sub_table, hash).map(|ordinal| Ordinal(u64::from(ordinal)))
    }

    /// The user in this load who owns that alias value, as far as 64 bits of a keyed hash tell.
    pub fn find_alias(&self, attr: AttrId, value: &str) -> Option<Ordinal> {
        let plan = &self.plans[position(&self.schema, attr)?];
        let hash = self.pool.alias_hash(&plan.attribute.key(value));
        self.aliases.owner(plan.table?, hash).map(|ordinal| Ordinal(u64::from(ordinal)))
    }

    /// Takes a user, or says that it must go the ordinary way.
    ///
    /// # Errors
    /// `INVALID` or `LIMIT`, naming the attribute, if the row breaks a rule: nothing of it is taken, the load
    /// goes on. `IOERROR`, `NOSPACE` if a file cannot be written: nothing comes of the load then.
    pub fn push(&mut self, user: &BulkUser<'_>) -> Result<Pushed> {
        if self.failed {
            return Err(broken());
        }
        let mut checked = Vec::with_capacity(user.attrs.len());
        self.check_row(user, &mut checked)?;
        let ordinal = self.base + self.taken;
        let sub = match user.sub {
            Some(Sub::NIL) => return Err(Error::invalid("the nil UUID is no sub: leave SUB out to have one minted")),
            Some(sub) => sub,
            None => self.mint_sub()?,
        };
        let sub_hash = leaf_hash(&self.pool.digest_key, &sub.text());
        self.claims.clear();
        self.claims.push((self.sub_table, sub_hash));
        if !self.claim_values(&checked) || !self.aliases.claim(&self.claims, ordinal) {
            return Ok(Pushed::Deferred);
        }
        if !self.claim_rest(user) {
            self.aliases.release(&self.claims);
            return Ok(Pushed::Deferred);
        }
        if let Err(error) = self.write_row(user, sub, &checked, ordinal) {
            self.failed = true;
            return Err(error);
        }
        self.taken += 1;
        Ok(Pushed::Taken(Ordinal(u64::from(ordinal))))
    }

    fn mint_sub(&mut self) -> Result<Sub> {
        if self.random.len() < 16 {
            self.random.resize(RANDOM_BYTES, 0);
            self.pool.shared.random(&mut self.random)?;
        }
        let mut bytes = [0; 16];
        let at = self.random.len() - 16;
        bytes.copy_from_slice(&self.random[at..]);
        self.random.truncate(at);
        Ok(uuid_v7(bytes, self.now_ms))
    }
}

/// A load is for a pool without users, groups or files.
pub(super) fn check_unused(pool: &OpenPool, version: &crate::pool::version::Version) -> Result<()> {
    let lasting = || keyspace::ALL.iter().filter(|keyspace| **keyspace != keyspace::TOKENS);
    let used = !version.runs.files.is_empty()
        || !version.runs.live.is_empty()
        || pool.groups.load(Relaxed) > 0
        || version.memtables().any(|memtable| {
            memtable.changed_users(Ordinal(0), Seq(u64::MAX)).next().is_some()
                || lasting().any(|keyspace| memtable.may_hold(&[keyspace.0]))
        });
    match used {
        false => Ok(()),
        true => Err(Error::conflict(
            "a direct load wants a pool that was never used: import into this one by ordinary transactions",
        )),
    }
}

/// An attribute's place in its schema.
pub(super) fn position(schema: &Schema, attr: AttrId) -> Option<usize> {
    let attributes = schema.attributes();
    let guess = usize::from(attr.0.wrapping_sub(AttrId::FIRST_USER.0));
    match attributes.get(guess) {
        Some(attribute) if attribute.id == attr => Some(guess),
        _ => attributes.binary_search_by_key(&attr, |attribute| attribute.id).ok(),
    }
}

pub(super) fn broken() -> Error {
    Error::new(ErrorKind::Io, "a file of this load could not be written: load the users again")
}

pub(super) fn no_ordinals() -> Error {
    Error::limit("this pool has minted all of its 2^32 ordinals: begin a new pool")
}
