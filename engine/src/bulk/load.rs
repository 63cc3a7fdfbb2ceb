//! The load itself: rows in, files out.

use std::collections::HashSet;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex};

use roaring::RoaringBitmap;
use stoa_format::column::Cell;
use stoa_format::install::Install;
use stoa_format::manifest::FilePlace;
use stoa_format::ops::EventKind;
use stoa_format::{AttrId, FileId, Keyspace, Ordinal, Seq, Sub};
use xxhash_rust::xxh3::xxh3_64;

use super::aliases::Aliases;
use super::columns::{Column, Columns};
use super::files::NewFiles;
use super::groups::Groups;
use super::install::{Announcement, commit};
use super::sorted::{self, Keys};
use super::user::{BulkFactor, BulkUser, Checked, check};
use crate::digest::fact::leaf_hash;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::Pool;
use crate::pool::draft::{check_factor, check_length, check_password};
use crate::pool::keyspace::{self, terminate};
use crate::pool::open::{OpenPool, lock, uuid_v7};
use crate::pool::record::FactorRecord;
use crate::pool::request::GroupFields;
use crate::pool::runs::column_kind;
use crate::pool::schema::{Attribute, Schema};
use crate::pool::value::{AttrType, CellValue, Value};

/// The built-in columns that a load writes, by their ids from 0.
const BUILT_IN: u16 = AttrId::PASSWORD_SET_AT.0 + 1;
/// Subs are minted from this many random bytes at a time.
const RANDOM_BYTES: usize = 4096;
/// Ordinals are 32 bits in memory.
const ORDINALS_MAX: u64 = u32::MAX as u64;
/// A value in a key that is longer goes the ordinary way, which knows what to do with it.
const KEY_VALUE_BYTES_MAX: usize = 768;
/// How often a commit is tried that something else keeps beating.
const BEATEN_MAX: u32 = 8;

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
struct Plan {
    attribute: Attribute,
    column: usize,
    /// Its table in the alias index, if its values name a user.
    table: Option<usize>,
    /// For a verified alias: the flag that says so.
    flag: Option<usize>,
    /// Its list in the order index, if it is searchable.
    order: Option<usize>,
}

/// A load under way. Dropped unfinished, it leaves the pool as it was.
pub struct BulkLoad {
    pool: Arc<OpenPool>,
    schema: Arc<Schema>,
    plans: Vec<Plan>,
    required_count: usize,
    base: u32,
    taken: u32,
    now_ms: u64,
    columns: Columns,
    aliases: Aliases,
    sub_table: usize,
    orders: Vec<(AttrId, Keys)>,
    multi: Keys,
    groups: Groups,
    identities: Keys,
    identities_of: Keys,
    factors: Keys,
    factor_ids: Keys,
    /// Hashes of identities and of factor ids that are unique in the pool.
    seen: HashSet<u64>,
    random: Vec<u8>,
    /// For each attribute, the row that named it last.
    named: Vec<u64>,
    row: u64,
    claims: Vec<(usize, u64)>,
    /// A file failed: nothing can come of this load.
    failed: bool,
    _loading: Loading,
}

/// Keeps other writes out until it is dropped.
struct Loading(Arc<OpenPool>);

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
            columns: Columns::new(files, columns),
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
            _loading: loading,
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

    /// Everything that can refuse a row, whatever other rows say.
    fn check_row<'a>(&mut self, user: &BulkUser<'a>, checked: &mut Vec<(usize, Checked<'a>)>) -> Result<()> {
        if u64::from(self.base) + u64::from(self.taken) >= ORDINALS_MAX {
            return Err(no_ordinals());
        }
        self.row += 1;
        let mut required = 0;
        for (attr, value) in user.attrs {
            let Some(at) = position(&self.schema, *attr) else {
                return Err(Error::invalid("an attribute is not in this pool's schema"));
            };
            let attribute = &self.plans[at].attribute;
            if std::mem::replace(&mut self.named[at], self.row) == self.row {
                return Err(Error::invalid(format!("{} is named twice", attribute.name)));
            }
            required += usize::from(attribute.required);
            checked.push((at, check(attribute, value)?));
        }
        if required < self.required_count {
            let missing =
                self.plans.iter().zip(&self.named).find(|(plan, row)| plan.attribute.required && **row != self.row);
            let name = missing.map_or("an attribute", |(plan, _)| &plan.attribute.name);
            return Err(Error::invalid(format!("{name} is required by this pool's schema")));
        }
        if let Some(stored) = user.password {
            check_password(stored, &self.pool.limits().password_caps)?;
        }
        if user.groups.iter().any(|group| *group as usize >= self.groups.len()) {
            return Err(Error::invalid("a membership names a group that is not in this load"));
        }
        for (provider, subject) in user.identities {
            check_length("a provider", provider)?;
            check_length("a subject", subject)?;
        }
        user.factors.iter().try_for_each(|factor| check_factor(factor.kind, factor.id, factor.blob))
    }

    /// Notes the hashes of the row's alias values; `false` if the row must go the ordinary way.
    fn claim_values(&mut self, checked: &[(usize, Checked<'_>)]) -> bool {
        for (at, value) in checked {
            let plan = &self.plans[*at];
            if (plan.order.is_some() || plan.attribute.multi) && has_long_part(value) {
                return false;
            }
            let Some(table) = plan.table else { continue };
            if let Some(flag) = plan.flag {
                let is_set = |value: &Checked<'_>| matches!(value, Checked::Int(1) | Checked::Owned(Value::Bool(true)));
                if !checked.iter().any(|(other, value)| *other == flag && is_set(value)) {
                    continue;
                }
            }
            let attribute = &plan.attribute;
            match value {
                Checked::Text(text) => {
                    let hash = self.pool.alias_hash(&attribute.key(text));
                    self.claims.push((table, hash));
                }
                Checked::Owned(value) => {
                    for element in value.elements() {
                        let hash = self.pool.alias_hash(&attribute.key(&element.text()));
                        self.claims.push((table, hash));
                    }
                }
                Checked::Int(_) | Checked::Bytes(_) => return false,
            }
        }
        true
    }

    /// Notes identities and factor ids that are unique in the pool; `false` if one was seen.
    fn claim_rest(&mut self, user: &BulkUser<'_>) -> bool {
        if user.identities.is_empty() && user.factors.is_empty() {
            return true;
        }
        let mut hashes = Vec::new();
        let mut key = Vec::new();
        for (provider, subject) in user.identities {
            identity_key(provider, subject, &mut key);
            hashes.push(xxh3_64(&key));
        }
        for factor in user.factors {
            key.clear();
            // Beside identities in one set: their terminated provider never begins with 0 0.
            key.extend_from_slice(&[0, 0]);
            if factor.kind != "webauthn" {
                key.extend_from_slice(&u64::from(self.taken).to_be_bytes());
            }
            factor_key(factor, &mut key);
            hashes.push(xxh3_64(&key));
        }
        for (i, hash) in hashes.iter().enumerate() {
            if !self.seen.insert(*hash) {
                for hash in &hashes[..i] {
                    self.seen.remove(hash);
                }
                return false;
            }
        }
        true
    }

    fn write_row(
        &mut self,
        user: &BulkUser<'_>,
        sub: Sub,
        checked: &[(usize, Checked<'_>)],
        ordinal: u32,
    ) -> Result<()> {
        self.write_built_in(user, sub, ordinal)?;
        for (at, value) in checked {
            let plan = &self.plans[*at];
            let cell = match value {
                Checked::Text(text) => CellValue::Bytes(text.as_bytes()),
                Checked::Int(value) => CellValue::Int(*value),
                Checked::Bytes(raw) => CellValue::Bytes(raw),
                Checked::Owned(value) => match value.as_cell() {
                    Some(cell) => cell,
                    None => {
                        for element in value.elements() {
                            self.multi.push(&[], |key| {
                                key.extend_from_slice(&u64::from(ordinal).to_be_bytes());
                                key.extend_from_slice(&plan.attribute.id.0.to_be_bytes());
                                element.encode(key);
                            });
                            if let (Some(order), Some(cell)) = (plan.order, element.as_cell()) {
                                push_order(&mut self.orders[order].1, &plan.attribute, cell, ordinal);
                            }
                        }
                        continue;
                    }
                },
            };
            if let Some(order) = plan.order {
                push_order(&mut self.orders[order].1, &plan.attribute, cell, ordinal);
            }
            let cell = match cell {
                CellValue::Int(value) => Cell::Int(value),
                CellValue::Bytes(bytes) => Cell::Bytes(bytes.into()),
            };
            self.columns.push(plan.column, ordinal, &cell)?;
        }
        user.groups.iter().for_each(|group| self.groups.join(*group, ordinal));
        self.write_lists(user, ordinal);
        Ok(())
    }

    fn write_built_in(&mut self, user: &BulkUser<'_>, sub: Sub, ordinal: u32) -> Result<()> {
        let created_at_ms = user.created_at_ms.unwrap_or(self.now_ms);
        let updated_at_ms = user.updated_at_ms.unwrap_or(created_at_ms);
        let columns = &mut self.columns;
        columns.push(usize::from(AttrId::SUB.0), ordinal, &Cell::Fixed16(sub.0))?;
        let numbers = [
            (AttrId::LIVE, 1),
            (AttrId::VERSION, 1),
            (AttrId::CREATED_AT, created_at_ms as i64),
            (AttrId::UPDATED_AT, updated_at_ms as i64),
            (AttrId::ENABLED, i64::from(user.enabled.unwrap_or(true))),
            (AttrId::STATUS, user.status().code()),
        ];
        for (attr, value) in numbers {
            columns.push(usize::from(attr.0), ordinal, &Cell::Int(value))?;
        }
        if let Some(stored) = user.password {
            columns.push(usize::from(AttrId::PASSWORD.0), ordinal, &Cell::Bytes(stored.as_bytes().into()))?;
            columns.push(usize::from(AttrId::PASSWORD_SET_AT.0), ordinal, &Cell::Int(self.now_ms as i64))?;
        }
        Ok(())
    }

    /// Identities and factors.
    fn write_lists(&mut self, user: &BulkUser<'_>, ordinal: u32) {
        let number = u64::from(ordinal).to_be_bytes();
        for (provider, subject) in user.identities {
            self.identities.push(&number, |key| identity_key_after(provider, subject, key));
            self.identities_of.push(&[], |key| {
                key.extend_from_slice(&number);
                identity_key_after(provider, subject, key);
            });
        }
        for factor in user.factors {
            let record = FactorRecord {
                label: factor.label.map(Into::into),
                created_at_ms: self.now_ms,
                blob: factor.blob.to_vec(),
            };
            self.factors.push(&record.encode(), |key| {
                key.extend_from_slice(&number);
                factor_key(factor, key);
            });
            if factor.kind == "webauthn" {
                self.factor_ids.push(&number, |key| factor_key(factor, key));
            }
        }
    }

    /// Writes what is left, makes everything durable and puts it in its place in one step.
    ///
    /// # Errors
    /// `TRYAGAIN` if the pool was changed meanwhile, `IOERROR`, `NOSPACE`: the pool is as it was then;
    /// `INDOUBT`: reopening tells.
    pub fn finish(self) -> Result<BulkDone> {
        if self.failed {
            return Err(broken());
        }
        if self.taken == 0 && self.groups.len() == 0 {
            return Ok(BulkDone { users: 0, seq: self.pool.snapshot().seq() });
        }
        let Self { pool, schema, base, taken, columns, aliases, orders, groups, _loading: loading, .. } = self;
        let files = Arc::clone(&columns.files);
        let group_count = groups.len() as u64;
        let mut work: Vec<Work> = Vec::new();
        // The longest first, so that two threads end at about the same time.
        if orders.iter().any(|(_, keys)| !keys.is_empty()) {
            work.push(Work::Order(orders));
        }
        if !aliases.is_empty() {
            work.push(Work::Aliases(aliases));
        }
        work.extend(groups.into_writes().into_iter().map(Work::Groups));
        let lists = [
            (keyspace::MULTI, self.multi),
            (keyspace::IDENTITIES, self.identities),
            (keyspace::IDENTITIES_OF, self.identities_of),
            (keyspace::FACTORS, self.factors),
            (keyspace::FACTOR_IDS, self.factor_ids),
        ];
        work.extend(
            lists.into_iter().filter(|(_, keys)| !keys.is_empty()).map(|(keyspace, keys)| Work::Keys(keyspace, keys)),
        );
        work.extend(columns.into_parts().into_iter().map(Work::Column));
        let threads = if pool.shared.has_threads() { 2 } else { 1 };
        run_all(work, threads, &files)?;
        files.sync_names()?;
        let seq = install(&pool, &schema, &files, base, taken, group_count)?;
        drop(loading);
        // The frame holds everything; a manifest saves replaying it. If it fails, the pool says so.
        let _ = pool.flush();
        Ok(BulkDone { users: u64::from(taken), seq })
    }
}

/// Commits the files, on whatever configuration documents were written meanwhile.
fn install(
    pool: &Arc<OpenPool>,
    schema: &Arc<Schema>,
    files: &NewFiles,
    base: u32,
    taken: u32,
    groups: u64,
) -> Result<Seq> {
    let _flushing = lock(&pool.flushing);
    for _ in 0..BEATEN_MAX {
        let snapshot = pool.snapshot();
        check_unused(pool, &snapshot.version)?;
        if snapshot.schema().version() != schema.version() {
            let what = "the pool's schema was changed while users were loaded: load them again";
            return Err(Error::new(ErrorKind::TryAgain, what));
        }
        let mut live = RoaringBitmap::new();
        live.insert_range(base..base + taken);
        live.optimize();
        let mut bytes = Vec::with_capacity(live.serialized_size());
        live.serialize_into(&mut bytes).expect("writing to memory does not fail");
        let age = pool.next_age.load(Relaxed);
        let install = Install {
            id: FileId(pool.next_file_id.fetch_add(1, Relaxed)),
            next_ordinal: u64::from(base) + u64::from(taken),
            next_group_id: pool.next_group_id.load(Relaxed),
            next_age: age + 1,
            groups,
            live: Some(bytes),
            dropped: Vec::new(),
            files: files.file_refs(age),
        };
        let says =
            Announcement { actor: "", event: EventKind::PoolImport, attrs: Vec::new(), changed: u64::from(taken) };
        if let Some(seq) = commit(pool, files, &install, snapshot.seq(), says)? {
            return Ok(seq);
        }
    }
    Err(Error::new(ErrorKind::TryAgain, "the pool is changing: load the users again"))
}

/// One piece of what a load leaves for its end; pieces do not know of each other.
enum Work {
    Order(Vec<(AttrId, Keys)>),
    Aliases(Aliases),
    Groups(super::groups::GroupWrite),
    Keys(Keyspace, Keys),
    Column(Column),
}

impl Work {
    fn run(self, files: &NewFiles) -> Result<()> {
        let keyspace = match &self {
            Self::Order(_) => keyspace::ORDER,
            Self::Aliases(_) => keyspace::ALIASES,
            Self::Keys(keyspace, _) => *keyspace,
            Self::Groups(_) | Self::Column(_) => Keyspace(0),
        };
        let begin = || {
            let mut writer = files.create(FilePlace::Index, u16::from(keyspace.0))?;
            sorted::begin(&mut writer, keyspace)?;
            Ok::<_, Error>(writer)
        };
        match self {
            Self::Order(orders) => {
                let mut writer = begin()?;
                for (attr, mut keys) in orders {
                    keys.sort();
                    keys.write(&attr.0.to_be_bytes(), &mut writer)?;
                }
                files.finish(writer)
            }
            Self::Aliases(mut aliases) => {
                let mut writer = begin()?;
                aliases.write(&mut writer)?;
                files.finish(writer)
            }
            Self::Keys(_, mut keys) => {
                let mut writer = begin()?;
                keys.sort();
                keys.write(&[], &mut writer)?;
                files.finish(writer)
            }
            Self::Groups(write) => write.run(files),
            Self::Column(mut column) => column.finish(files),
        }
    }
}

/// Does all the work, on the caller's thread alone or with others.
fn run_all(work: Vec<Work>, threads: usize, files: &NewFiles) -> Result<()> {
    let queue = Mutex::new(work.into_iter());
    let run = || -> Result<()> {
        loop {
            let next = lock(&queue).next();
            let Some(work) = next else { return Ok(()) };
            work.run(files)?;
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mine = run();
        let panicked = || Error::new(ErrorKind::Other, "a thread of the load panicked");
        others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err(panicked()))).fold(mine, Result::and)
    })
}

/// A load is for a pool without users, groups or files.
fn check_unused(pool: &OpenPool, version: &crate::pool::version::Version) -> Result<()> {
    let of_tokens = |flat: &[u8]| keyspace::split_flat(flat).0 == keyspace::TOKENS;
    let all = bytes::Bytes::new();
    let used = !version.runs.files.is_empty()
        || !version.runs.live.is_empty()
        || pool.groups.load(Relaxed) > 0
        || version.memtables().any(|memtable| {
            memtable.changed_users(Ordinal(0), Seq(u64::MAX)).next().is_some()
                || memtable.keys_from(&all, Seq(u64::MAX)).any(|(flat, _)| !of_tokens(&flat))
        });
    match used {
        false => Ok(()),
        true => Err(Error::conflict(
            "a direct load wants a pool that was never used: import into this one by ordinary transactions",
        )),
    }
}

/// Whether a text of this value makes a key that may be too long.
fn has_long_part(value: &Checked<'_>) -> bool {
    let is_long =
        |cell: Option<CellValue<'_>>| matches!(cell, Some(CellValue::Bytes(raw)) if raw.len() > KEY_VALUE_BYTES_MAX);
    match value {
        Checked::Text(text) => text.len() > KEY_VALUE_BYTES_MAX,
        Checked::Bytes(raw) => raw.len() > KEY_VALUE_BYTES_MAX,
        Checked::Int(_) => false,
        Checked::Owned(value) => value.elements().iter().any(|element| is_long(element.as_cell())),
    }
}

/// An attribute's place in its schema.
fn position(schema: &Schema, attr: AttrId) -> Option<usize> {
    let attributes = schema.attributes();
    let guess = usize::from(attr.0.wrapping_sub(AttrId::FIRST_USER.0));
    match attributes.get(guess) {
        Some(attribute) if attribute.id == attr => Some(guess),
        _ => attributes.binary_search_by_key(&attr, |attribute| attribute.id).ok(),
    }
}

fn push_order(keys: &mut Keys, attribute: &Attribute, cell: CellValue<'_>, ordinal: u32) {
    keys.push(&[], |key| {
        match cell {
            CellValue::Bytes(raw) if attribute.ty == AttrType::String => {
                terminate(attribute.key(std::str::from_utf8(raw).unwrap_or_default()).as_bytes(), key);
            }
            cell => {
                let mut order = Vec::new();
                attribute.order_key(cell, &mut order);
                terminate(&order, key);
            }
        }
        key.extend_from_slice(&u64::from(ordinal).to_be_bytes());
    });
}

fn identity_key(provider: &str, subject: &str, key: &mut Vec<u8>) {
    key.clear();
    identity_key_after(provider, subject, key);
}

fn identity_key_after(provider: &str, subject: &str, key: &mut Vec<u8>) {
    terminate(provider.as_bytes(), key);
    key.extend_from_slice(subject.as_bytes());
}

fn factor_key(factor: &BulkFactor<'_>, key: &mut Vec<u8>) {
    terminate(factor.kind.as_bytes(), key);
    key.extend_from_slice(factor.id.as_bytes());
}

fn broken() -> Error {
    Error::new(ErrorKind::Io, "a file of this load could not be written: load the users again")
}

fn no_ordinals() -> Error {
    Error::limit("this pool has minted all of its 2^32 ordinals: begin a new pool")
}
