//! Stoa in this process: encrypted, checked, every write in its log and synced before it is answered.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use stoa_engine::bulk::{BulkLoad, BulkUser, BulkValue, Pushed};
use stoa_engine::pool::found::{UserFields, UserKey};
use stoa_engine::pool::request::{Input, NewUser, Op, Status, Transaction, UserRef};
use stoa_engine::pool::value::ValueRef;
use stoa_engine::{ErrorKind, PageRequest, Pool, Store, StoreOptions, UserQuery};
use stoa_format::{AttrId, Sub};

use crate::load::Alias;
use crate::machine::DiskBytes;
use crate::peer::{AMPLE_CACHE_BYTES, Peer, Reader, Seen, Setup, System, Transport, Update, Writer};
use crate::population::{Text, User};

/// Usernames are listed in order; the rest is as the standard schema has it.
const SCHEMA: &str = r#"{"attributes":{"username":{"searchable":true},"custom:tier":{"type":"string"},"custom:prefs":{"type":"string"}}}"#;
const POOL: &str = "people";
const ACTOR: &str = "suite";
/// So many transactions of one thread wait for their sync at most.
const IN_FLIGHT_MAX: usize = 4096;
const PAGE_MAX_BYTES: usize = 1 << 20;

/// How the suite measures Stoa.
pub const SYSTEM: System = System {
    name: "stoa",
    transport: Transport::Embedded,
    encrypted: true,
    replays: true,
    about: || {
        let version = env!("CARGO_PKG_VERSION");
        format!("Stoa {version}: default limits, page cache 4 GiB, XAES-256-GCM, log synced before each answer")
    },
    open: |setup| Ok(Box::new(Stoa::open(setup)?)),
};

/// A store with one pool.
pub struct Stoa {
    data: PathBuf,
    store: Store,
    pool: Pool,
}

impl Stoa {
    /// Opens the store of a directory, or makes it.
    ///
    /// # Errors
    /// What the engine says.
    pub fn open(setup: &Setup) -> Result<Self> {
        let data = setup.dir.join("DATA");
        let mut options = StoreOptions::new(&data);
        options.limits.runs.page_cache_bytes = setup.cache_bytes.unwrap_or(AMPLE_CACHE_BYTES) as usize;
        let store = Store::open(options)?;
        if !store.pool_names().iter().any(|name| &**name == POOL) {
            store.create_pool(POOL, Some(SCHEMA), None)?;
        }
        let pool = store.pool(POOL)?;
        Ok(Self { data, store, pool })
    }

    /// The pool, for rows that only Stoa has.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Peer for Stoa {
    fn load(&self, users: &[User]) -> Result<()> {
        let mut load = self.pool.bulk_load()?;
        let ids = Ids::of(&load)?;
        let mut deferred = Vec::new();
        for user in users {
            if ids.push(&mut load, user)? == Pushed::Deferred {
                deferred.push(user);
            }
        }
        load.finish()?;
        // Users whose alias hashes clash with another's, if there are any, go the ordinary way.
        for user in deferred {
            ensure!(self.create(user)?, "an alias of a population is taken");
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        Ok(self.pool.flush()?)
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(StoaReader { pool: self.pool.clone() }))
    }

    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(StoaWriter { stoa: self }))
    }

    fn update_many(&self, updates: &[Update<'_>]) -> Result<()> {
        let flight = Arc::new(Flight::default());
        for update in updates {
            flight.take_off()?;
            let landing = Arc::clone(&flight);
            let done = Box::new(move |result: stoa_engine::Result<_>| landing.land(result.map(drop)));
            self.pool.submit(transaction(set(*update)), done);
        }
        flight.wait_for_all()
    }

    fn set_all(&self, locale: &str) -> Result<u64> {
        let changes = vec![("locale".into(), raw(locale))];
        let op = Op::UserSetAll { filter: None, args: Vec::new(), status: None, changes };
        let committed = self.pool.commit(transaction(op))?;
        committed.outcomes.first().and_then(|outcome| outcome.changed).context("the outcome says nothing of a count")
    }

    fn disk_bytes(&self) -> Result<DiskBytes> {
        // The log, and room that is kept for deletes on a full disk, are not data.
        DiskBytes::below(&self.data, &|path: &Path| !path.starts_with("pools"))
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Self { store, pool, .. } = *self;
        drop(pool);
        Ok(store.close()?)
    }
}

impl Stoa {
    fn create(&self, user: &User) -> Result<bool> {
        let mut attrs: Vec<(Box<str>, Input)> = TEXTS
            .iter()
            .map(|(name, text)| (*name, user.text(*text)))
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.into(), raw(value)))
            .collect();
        attrs.push(("email_verified".into(), raw(if user.email_verified { "true" } else { "false" })));
        let new = NewUser {
            sub: Some(Sub(user.sub)),
            attrs,
            password: Some(user.text(Text::Hash).into()),
            status: Status::from_code(i64::from(user.status)),
            enabled: Some(user.enabled),
            created_at_ms: Some(user.created_at_ms),
            updated_at_ms: Some(user.updated_at_ms),
            ..NewUser::default()
        };
        match self.pool.commit(transaction(Op::UserCreate(Box::new(new)))) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::Duplicate | ErrorKind::Exists) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The text attributes, in the order of [`Ids`].
const TEXTS: [(&str, Text); 9] = [
    ("username", Text::Username),
    ("email", Text::Email),
    ("given_name", Text::GivenName),
    ("family_name", Text::FamilyName),
    ("name", Text::Name),
    ("locale", Text::Locale),
    ("custom:tier", Text::Tier),
    ("custom:prefs", Text::Prefs),
    ("phone_number", Text::Phone),
];

/// The attributes of a load.
struct Ids {
    texts: [AttrId; TEXTS.len()],
    email_verified: AttrId,
    phone_verified: AttrId,
}

impl Ids {
    fn of(load: &BulkLoad) -> Result<Self> {
        let id = |name: &str| {
            let attribute = load.schema().by_name(name);
            attribute.map(|attribute| attribute.id).with_context(|| format!("the schema lacks {name}"))
        };
        let mut texts = [AttrId::FIRST_USER; TEXTS.len()];
        for (place, (name, _)) in texts.iter_mut().zip(TEXTS) {
            *place = id(name)?;
        }
        Ok(Self { texts, email_verified: id("email_verified")?, phone_verified: id("phone_number_verified")? })
    }

    fn push(&self, load: &mut BulkLoad, user: &User) -> Result<Pushed> {
        let none = (self.email_verified, BulkValue::Bool(user.email_verified));
        let mut attrs = [none; TEXTS.len() + 2];
        let mut count = 1;
        for (id, (_, text)) in self.texts.iter().zip(TEXTS) {
            let value = user.text(text);
            if !value.is_empty() {
                attrs[count] = (*id, BulkValue::Text(value));
                count += 1;
            }
        }
        if !user.text(Text::Phone).is_empty() {
            attrs[count] = (self.phone_verified, BulkValue::Bool(user.phone_verified));
            count += 1;
        }
        let pushed = load.push(&BulkUser {
            sub: Some(Sub(user.sub)),
            attrs: &attrs[..count],
            password: Some(user.text(Text::Hash)),
            enabled: Some(user.enabled),
            status: Status::from_code(i64::from(user.status)),
            created_at_ms: Some(user.created_at_ms),
            updated_at_ms: Some(user.updated_at_ms),
            ..BulkUser::default()
        })?;
        Ok(pushed)
    }
}

fn raw(value: &str) -> Input {
    Input::Raw(bytes::Bytes::copy_from_slice(value.as_bytes()))
}

fn transaction(op: Op) -> Transaction {
    Transaction { ops: vec![op], ..Transaction::default() }
}

fn set(update: Update<'_>) -> Op {
    let changes = vec![("custom:prefs".into(), raw(update.prefs))];
    Op::UserSet { user: UserRef::Sub(Sub(*update.sub)), if_version: None, take_alias: false, changes }
}

struct StoaReader {
    pool: Pool,
}

impl StoaReader {
    fn list(
        &self,
        query: &UserQuery,
        cursor: Option<&str>,
        limit: usize,
        seen: &mut Seen,
    ) -> Result<(usize, Option<String>)> {
        let request =
            PageRequest { limit, cursor, actor: ACTOR, max_bytes: PAGE_MAX_BYTES, min_seq: None, state: None };
        let mut count = 0;
        let page = self.pool.each_listed(query, &request, |row| {
            seen.begin_user();
            row.attrs().for_each(|(name, value)| value.into_iter().for_each(|value| show(name, value, seen)));
            show_fields(row.fields(), seen);
            count += 1;
        })?;
        Ok((count, page.cursor))
    }

    fn show(&self, user: UserKey<'_>, seen: &mut Seen) -> Result<bool> {
        let snapshot = self.pool.snapshot();
        let Some(user) = snapshot.find(user)? else { return Ok(false) };
        seen.begin_user();
        let fields = user.profile(|attribute, value| show(&attribute.name, value, seen))?;
        show_fields(&fields, seen);
        Ok(true)
    }
}

impl Reader for StoaReader {
    fn profile(&mut self, alias: Alias, value: &str, seen: &mut Seen) -> Result<bool> {
        self.show(UserKey::Alias(alias.name(), value), seen)
    }

    fn by_sub(&mut self, sub: &[u8; 16], seen: &mut Seen) -> Result<bool> {
        self.show(UserKey::Sub(Sub(*sub)), seen)
    }

    fn hash(&mut self, email: &str, seen: &mut Seen) -> Result<bool> {
        let snapshot = self.pool.snapshot();
        let Some(user) = snapshot.find(UserKey::Alias(Alias::Email.name(), email))? else { return Ok(false) };
        Ok(user.with_password(|hash| hash.map(|hash| seen.text("hash", hash)).is_some())?)
    }

    fn sign_in(&mut self, alias: Alias, value: &str, seen: &mut Seen) -> Result<bool> {
        let snapshot = self.pool.snapshot();
        let Some(user) = snapshot.find(UserKey::Alias(alias.name(), value))? else { return Ok(false) };
        user.with_sign_in(|status, enabled, hash| {
            seen.text("hash", hash.context("a user without a password")?);
            seen.text("status", status.word());
            seen.flag("enabled", enabled);
            Ok(true)
        })?
    }

    fn count_family_name(&mut self, part: &str) -> Result<u64> {
        Ok(self.pool.snapshot().count(Some(&format!("family_name co \"{part}\"")), &[])?)
    }

    fn first_by_prefix(&mut self, prefix: &str, limit: usize, seen: &mut Seen) -> Result<usize> {
        let query = UserQuery {
            filter: Some(format!("username sw \"{prefix}\"").into()),
            sort: Some("username".into()),
            ..UserQuery::default()
        };
        Ok(self.list(&query, None, limit, seen)?.0)
    }

    fn page(&mut self, cursor: Option<&[u8]>, limit: usize, seen: &mut Seen) -> Result<Option<Vec<u8>>> {
        let cursor = cursor.map(std::str::from_utf8).transpose()?;
        Ok(self.list(&UserQuery::default(), cursor, limit, seen)?.1.map(String::into_bytes))
    }
}

fn show_fields(fields: &UserFields, seen: &mut Seen) {
    seen.sub(&fields.sub.0);
    seen.text("status", fields.status.word());
    seen.flag("enabled", fields.enabled);
    seen.int("created_at", fields.created_at_ms);
    seen.int("updated_at", fields.updated_at_ms);
}

fn show(name: &str, value: ValueRef<'_>, seen: &mut Seen) {
    match value {
        ValueRef::Str(text) => seen.text(name, text),
        ValueRef::Bool(truth) => seen.flag(name, truth),
        other => seen.text(name, &other.into_owned().text()),
    }
}

struct StoaWriter<'s> {
    stoa: &'s Stoa,
}

impl Writer for StoaWriter<'_> {
    fn update(&mut self, update: Update<'_>) -> Result<()> {
        self.stoa.pool.commit(transaction(set(update)))?;
        Ok(())
    }

    fn create(&mut self, user: &User) -> Result<bool> {
        self.stoa.create(user)
    }
}

/// Transactions under way.
#[derive(Default)]
struct Flight {
    state: Mutex<InFlight>,
    landed: Condvar,
}

#[derive(Default)]
struct InFlight {
    count: usize,
    failed: Option<stoa_engine::Error>,
}

impl Flight {
    fn lock(&self) -> MutexGuard<'_, InFlight> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_off(&self) -> Result<()> {
        let mut state = self.lock();
        // Woken when half of them have landed, so that the two threads do not take turns.
        if state.count >= IN_FLIGHT_MAX {
            let full = |state: &mut InFlight| state.count > IN_FLIGHT_MAX / 2 && state.failed.is_none();
            state = self.landed.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
        }
        state.count += 1;
        state.failed.take().map_or(Ok(()), |error| Err(anyhow!(error)))
    }

    fn land(&self, result: stoa_engine::Result<()>) {
        let mut state = self.lock();
        state.count -= 1;
        if let Err(error) = result {
            state.failed = Some(error);
        }
        if state.count <= IN_FLIGHT_MAX / 2 {
            self.landed.notify_one();
        }
    }

    fn wait_for_all(&self) -> Result<()> {
        let state = self.landed.wait_while(self.lock(), |state| state.count > 0);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.failed.take().map_or(Ok(()), |error| Err(anyhow!(error)))
    }
}
