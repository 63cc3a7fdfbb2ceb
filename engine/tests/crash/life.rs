//! A store that lives through a script, and what can be read of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use stoa_engine::bulk::{BulkUser, BulkValue};
use stoa_engine::digest::fact::DigestKey;
use stoa_engine::io::SimDisk;
use stoa_engine::pool::request::{GroupFields, Input, NewUser, Op, Status, Transaction, UserRef};
use stoa_engine::pool::snapshot::Snapshot;
use stoa_engine::pool::view::Select;
use stoa_engine::{Error, ErrorKind, JobKind, JobState, Pool, Result, Store, StoreOptions};
use stoa_format::{PoolId, Seq};

use crate::model::{ALIASES, Act, Group, HASH, MAIL, PROVIDER, PoolState, SCHEMA, StoreState, User, sub_of};
use crate::script::{Step, new_user_attrs};

/// Alias attributes and values that somebody had at some time.
pub type Aliases = BTreeSet<(String, String)>;

/// How every store here is opened: no threads, so that a seed decides all; small segments, so that the log moves on.
pub fn options(disk: &SimDisk) -> StoreOptions {
    let mut options = StoreOptions::new(Path::new("/DATA"));
    options.io = disk.io();
    options.threads = false;
    // A disk that is full once is another test's: see `full.rs`.
    options.limits.reserve_bytes = 0;
    options.limits.log_segment_bytes = 48 << 10;
    options.limits.log_segments_max = 2;
    // One value for everybody goes both ways: as operations, and as columns.
    options.limits.set_all_users_min = 3;
    options
}

/// A store, the state that the model says it has, and the first that it may have instead where it is not known
/// whether the last step came through.
pub struct Life {
    pub disk: SimDisk,
    pub store: Option<Store>,
    pub state: StoreState,
}

impl Life {
    /// Opens the store that is on the disk, which holds `state`.
    pub fn begin(disk: &SimDisk, state: StoreState) -> Result<Self> {
        Ok(Self { disk: disk.clone(), store: Some(Store::open(options(disk))?), state })
    }

    /// The open store.
    pub fn store(&self) -> Result<&Store> {
        self.store.as_ref().ok_or_else(|| Error::new(ErrorKind::Other, "the store is not open"))
    }

    /// The state after a step; as it is if the step must be refused.
    pub fn after(&self, step: &Step) -> StoreState {
        let mut state = self.state.clone();
        match step {
            Step::Commit(pool, acts) => {
                if let Some(after) = state.pools.get(*pool).and_then(|pool| pool.after(acts)) {
                    state.pools.insert((*pool).into(), after);
                }
            }
            Step::CreatePool(pool) => drop(state.pools.insert((*pool).into(), PoolState::default())),
            Step::DropPool(pool) => drop(state.pools.remove(*pool)),
            Step::Load(pool, users) => drop(state.pools.insert((*pool).into(), loaded(users))),
            Step::Document(name, content) => {
                state.documents.insert((*name).into(), content.as_bytes().to_vec());
            }
            _ => {}
        }
        state
    }

    /// Whether the model refuses this step.
    pub fn refuses(&self, step: &Step) -> bool {
        match step {
            Step::Commit(pool, acts) => self.state.pools.get(*pool).is_none_or(|pool| pool.after(acts).is_none()),
            Step::CreatePool(pool) => self.state.pools.contains_key(*pool),
            Step::DropPool(pool)
            | Step::Load(pool, _)
            | Step::Flush(pool)
            | Step::Compact(pool)
            | Step::Rotate(pool)
            | Step::Rewrap(pool)
            | Step::Verify(pool) => !self.state.pools.contains_key(*pool),
            Step::Document(..) | Step::Restart | Step::Wait(_) => false,
        }
    }

    /// Does one step. The model takes it as done when it answers `Ok`.
    pub fn take(&mut self, step: &Step) -> Result<()> {
        self.try_take(step)?;
        self.state = self.after(step);
        Ok(())
    }

    fn try_take(&mut self, step: &Step) -> Result<()> {
        let done = |job: stoa_engine::Job| match job.state {
            JobState::Done => Ok(()),
            _ => Err(Error::new(ErrorKind::Other, job.message.unwrap_or_default())),
        };
        match step {
            Step::Commit(pool, acts) => self.store()?.pool(pool)?.commit(transaction(acts)).map(drop),
            Step::CreatePool(pool) => self.store()?.create_pool(pool, Some(SCHEMA), None).map(drop),
            Step::DropPool(pool) => self.store()?.drop_pool(pool),
            Step::Load(pool, users) => load(&self.store()?.pool(pool)?, users),
            Step::Flush(pool) => self.store()?.pool(pool)?.flush(),
            Step::Compact(pool) => done(self.store()?.pool(pool)?.start_job(JobKind::Compact)?),
            Step::Rotate(pool) => self.store()?.pool(pool)?.rotate_key().map(drop),
            Step::Rewrap(pool) => self.store()?.pool(pool)?.rewrap_key("local").map(drop),
            Step::Verify(pool) => {
                let findings = self.store()?.pool(pool)?.verify()?.findings;
                let found = |finding| Err(Error::new(ErrorKind::Other, format!("{finding:?}")));
                findings.first().map_or(Ok(()), found)
            }
            Step::Document(name, content) => self.store()?.set_document(name, content.as_bytes().into()),
            Step::Restart => {
                let closed = self.store.take().map_or(Ok(()), Store::close);
                self.store = Some(Store::open(options(&self.disk))?);
                closed
            }
            Step::Wait(ms) => {
                self.disk.advance_ms(*ms);
                Ok(())
            }
        }
    }
}

/// The pool after a load of these users.
pub fn loaded(users: &[u64]) -> PoolState {
    let acts: Vec<Act> = users
        .iter()
        .map(|user| Act::Create { user: *user, attrs: new_user_attrs(*user), password: false })
        .chain([Act::GroupCreate { name: "all", kind: None }])
        .collect();
    let joined = Act::Join { name: "all", users: users.to_vec(), on: true };
    let state = PoolState::default().after(&acts).and_then(|state| state.after(&[joined]));
    state.expect("a load that the model takes")
}

fn load(pool: &Pool, users: &[u64]) -> Result<()> {
    let mut load = pool.bulk_load()?;
    let group = load.group("all", &GroupFields::default())?;
    for user in users {
        let attrs = new_user_attrs(*user);
        let schema = load.schema().clone();
        let id = |name: &str| schema.by_name(name).map(|attribute| attribute.id);
        let attrs: Vec<_> =
            attrs.iter().filter_map(|(name, value)| Some((id(name)?, BulkValue::Text(value)))).collect();
        let sub = Some(sub_of(*user));
        load.push(&BulkUser { sub, attrs: &attrs, groups: &[group], ..BulkUser::default() })?;
    }
    load.finish().map(drop)
}

fn raw(text: &str) -> Input {
    Input::Raw(text.to_owned().into())
}

fn inputs<'a>(pairs: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Vec<(Box<str>, Input)> {
    pairs.map(|(name, value)| (name.into(), value.map_or(Input::Json(serde_json::Value::Null), raw))).collect()
}

/// A script's transaction as the engine takes it.
pub fn transaction(acts: &[Act]) -> Transaction {
    Transaction { ops: acts.iter().map(op).collect(), ..Transaction::default() }
}

/// A script's operation as the engine takes it.
fn op(act: &Act) -> Op {
    let by = |user: &u64| UserRef::Sub(sub_of(*user));
    match act {
        Act::Create { user, attrs, password } => Op::UserCreate(Box::new(NewUser {
            sub: Some(sub_of(*user)),
            attrs: inputs(attrs.iter().map(|(name, value)| (*name, Some(value.as_str())))),
            password: password.then(|| HASH.into()),
            ..NewUser::default()
        })),
        Act::Set { user, changes } => {
            let changes = inputs(changes.iter().map(|(name, value)| (name.as_str(), value.as_deref())));
            Op::UserSet { user: by(user), if_version: None, take_alias: false, changes }
        }
        Act::Tag { user, tag, on } => {
            let (user, values) = (by(user), inputs([("custom:tags", Some(tag.as_str()))].into_iter()));
            match on {
                true => Op::UserAdd { user, if_version: None, values },
                false => Op::UserRemove { user, if_version: None, values },
            }
        }
        Act::Verify { user, take } => {
            let changes = inputs([(crate::model::MAIL_VERIFIED, Some("true"))].into_iter());
            Op::UserSet { user: by(user), if_version: None, take_alias: *take, changes }
        }
        Act::Delete { user } => Op::UserDelete { user: by(user), if_version: None },
        Act::Enable { user, on } => Op::UserEnable { user: by(user), enabled: *on },
        Act::Reset { user, on } => {
            let status = if *on { Status::ResetRequired } else { Status::Confirmed };
            Op::UserStatus { user: by(user), if_version: None, status }
        }
        Act::Password { user } => {
            Op::CredSet { user: by(user), if_version: None, temporary: false, password: HASH.into() }
        }
        Act::Link { user, subject, on } => {
            let (user, provider, subject) = (by(user), PROVIDER.into(), subject.as_str().into());
            match on {
                true => Op::IdentityLink { user, provider, subject },
                false => Op::IdentityUnlink { user, provider, subject },
            }
        }
        Act::Factor { user, id, blob } => {
            let (user, kind, id) = (by(user), "totp".into(), id.as_str().into());
            match blob {
                Some(blob) => {
                    Op::FactorPut { user, kind, id, if_version: None, label: None, blob: blob.clone().into() }
                }
                None => Op::FactorDel { user, kind, id },
            }
        }
        Act::GroupCreate { name, kind } => {
            let fields = GroupFields { kind: kind.map(Into::into), ..GroupFields::default() };
            Op::GroupCreate { name: (*name).into(), fields }
        }
        Act::GroupSet { name, description } => {
            let fields = GroupFields { description: Some(description.as_str().into()), ..GroupFields::default() };
            Op::GroupSet { name: (*name).into(), fields }
        }
        Act::GroupRename { name, to } => Op::GroupRename { name: (*name).into(), to: (*to).into() },
        Act::GroupDelete { name } => Op::GroupDelete { name: (*name).into() },
        Act::Join { name, users, on } => {
            let (name, users) = ((*name).into(), users.iter().map(by).collect());
            if *on { Op::GroupAdd { name, users } } else { Op::GroupRemove { name, users } }
        }
        Act::Schema { attr } => {
            let schema = format!("{{\"attributes\": {{\"{attr}\": {{\"type\": \"string\"}}}}}}");
            Op::SchemaAlter { if_version: None, schema: schema.into() }
        }
        Act::Config { name, json } => match json {
            Some(json) => Op::ConfigSet { name: (*name).into(), if_version: None, json: json.as_str().into() },
            None => Op::ConfigDel { name: (*name).into() },
        },
        Act::SetAll { locale, attr, value, reset } => Op::UserSetAll {
            filter: locale.map(|locale| format!("locale eq \"{locale}\"").into()),
            args: Vec::new(),
            status: reset.then_some(Status::ResetRequired),
            changes: inputs([(*attr, Some(value.as_str()))].into_iter()),
        },
    }
}

/// What was read of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    pub state: StoreState,
    /// Each pool's Seq, by its id.
    pub seqs: BTreeMap<PoolId, u64>,
    /// Each pool's change feed, a line a transaction.
    pub feeds: BTreeMap<PoolId, Vec<String>>,
}

/// Reads everything there is, and holds it against itself: aliases and groups against users, the digest against
/// one summed from scratch, the change feed against the Seq.
pub fn read(store: &Store, aliases: &Aliases) -> Result<Reading> {
    let mut reading = Reading::default();
    reading.state.documents.extend(store.document("acl").map(|content| ("acl".into(), content.to_vec())));
    for name in store.pool_names() {
        let pool = store.pool(&name)?;
        let snapshot = pool.snapshot();
        let state = read_pool(&snapshot)?;
        check_indexes(&snapshot, &state, aliases)?;
        let (_, key) = pool.merkle_key()?;
        let summed = state.digest(&DigestKey::new(*key), &snapshot.schema().to_text());
        let root = pool.merkle_root()?;
        assert_eq!((root.digest, root.users), (summed, state.users.len() as u64), "digest root of {name}");
        let changes = pool.changes(Seq(1), 10_000, false)?;
        let seqs = changes.iter().map(|change| change.seq.0);
        assert!(seqs.eq(1..=pool.seq().0), "the change feed of {name} has gaps before seq {}", pool.seq());
        reading.seqs.insert(pool.id(), pool.seq().0);
        reading.feeds.insert(pool.id(), changes.iter().map(|change| format!("{change:?}")).collect());
        reading.state.pools.insert(name.into(), state);
    }
    Ok(reading)
}

fn read_pool(snapshot: &Snapshot) -> Result<PoolState> {
    let mut state = PoolState::default();
    snapshot.each_user::<Error>(&mut |view| {
        let by = UserRef::Sub(view.sub);
        let mut user = User {
            status: view.status.word().to_owned(),
            enabled: view.enabled,
            password: snapshot.password(&by)?.map(|password| password.hash.into()),
            version: view.version,
            created_at_ms: view.created_at_ms,
            updated_at_ms: view.updated_at_ms,
            ..User::default()
        };
        for (name, value) in view.attrs {
            let Some(text) = value.map(|value| value.text().into_owned()) else { continue };
            match &*name {
                "custom:tags" => user.tags = serde_json::from_str(&text).expect("a list of texts"),
                _ => drop(user.attrs.insert(name.to_string(), text)),
            }
        }
        for identity in snapshot.identities(&by)? {
            assert_eq!(snapshot.find_identity(&identity.provider, &identity.subject)?, Some(view.sub));
            user.identities.insert((identity.provider.into(), identity.subject.into()));
        }
        for factor in snapshot.factors(&by)? {
            let blob = snapshot.factor(&by, &factor.kind, &factor.id)?.and_then(|factor| factor.blob);
            user.factors.insert(factor.id.into(), blob.unwrap_or_default().to_vec());
        }
        state.users.insert(view.sub, user);
        Ok(())
    })?;
    let mut groups = Vec::new();
    snapshot.each_group::<Error>(&mut |group| {
        groups.push(group);
        Ok(())
    })?;
    for group in groups {
        let mut members = BTreeSet::new();
        snapshot.each_member::<Error>(&group.name, &mut |view| {
            members.insert(view.sub);
            Ok(())
        })?;
        let (kind, description) = (group.kind.map(Into::into), group.description.map(Into::into));
        state.groups.insert(group.name.into(), Group { kind, description, members });
    }
    for name in snapshot.config_names() {
        let json = snapshot.config(&name).map(|document| document.json.into());
        state.config.extend(json.map(|json| (String::from(name), json)));
    }
    let ours = ["custom:n", "custom:tags", "custom:mail", "custom:mail_verified"];
    let names = snapshot.schema().attributes().iter().map(|attribute| attribute.name.as_str());
    state.more_attrs =
        names.filter(|name| name.starts_with("custom:") && !ours.contains(name)).map(Into::into).collect();
    Ok(state)
}

/// Every alias leads to the user who has it, every other alias that ever was to nobody; each user is in the groups
/// that hold them; counts are right.
fn check_indexes(snapshot: &Snapshot, state: &PoolState, aliases: &Aliases) -> Result<()> {
    let of = |attr: &str, value: &str| UserRef::Alias { attr: attr.into(), value: value.into() };
    let held = aliases_of(state);
    for (attr, value) in held.union(aliases) {
        let found = snapshot.user(&of(attr, value), &Select::Nothing)?.map(|view| view.sub);
        assert_eq!(found, state.owner(attr, value), "the alias {attr}={value}");
    }
    for sub in state.users.keys() {
        let within = |(name, group): (&String, &Group)| group.members.contains(sub).then(|| name.clone());
        let expected: Vec<String> = state.groups.iter().filter_map(within).collect();
        assert_eq!(snapshot.group_names(&UserRef::Sub(*sub))?, expected, "the groups of {sub}");
    }
    assert_eq!(snapshot.user_count()?, state.users.len() as u64);
    assert_eq!(snapshot.group_count()?, state.groups.len() as u64);
    Ok(())
}

/// The aliases that somebody has.
pub fn aliases_of(state: &PoolState) -> Aliases {
    let pairs = |user: &User| -> Vec<(String, String)> {
        let named = ALIASES.iter().chain([&MAIL]);
        named.filter_map(|attr| Some(((*attr).to_owned(), user.attrs.get(*attr)?.clone()))).collect()
    };
    state.users.values().flat_map(pairs).collect()
}
