//! Loading into a data directory: ordinary transactions, many users each.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use stoa_engine::pool::request::{GroupFields, Input, NewUser, Op, Transaction, UserRef};
use stoa_engine::pool::snapshot::Snapshot;
use stoa_engine::pool::value::Value;
use stoa_engine::pool::view::{Select, UserView};
use stoa_engine::{ErrorKind, Pool, Store};
use stoa_format::Sub;

use super::direct::Direct;
use super::plain::{Hasher, Wanted, WantedPassword, wanted};
use super::report::Report;
use super::{Change, Target, schema_patch, specs_of};
use crate::import::attrs::{AttrSpec, AttrTable};
use crate::import::record::{ImportGroup, ImportUser, MemberRef};
use crate::store::StoreArgs;

/// Users a transaction.
const BATCH_USERS: usize = 256;

/// A pool of an open store.
pub(super) struct Local<'a> {
    /// The load, while it goes the direct way.
    direct: Option<Direct<'a>>,
    /// Whether the direct way has been thought of.
    decided: bool,
    /// Attributes that came while a direct load was under way.
    schema_waiting: Vec<Arc<AttrSpec>>,
    store: Store,
    pool: Pool,
    hasher: Hasher,
    waiting: Vec<Waiting>,
    /// Memberships by group that wait to be committed together.
    joining: HashMap<String, Vec<UserRef>>,
}

/// A user's operations, not yet committed.
struct Waiting {
    line: u64,
    change: Change,
    ops: Vec<Op>,
}

impl<'a> Local<'a> {
    pub(super) fn open(store: &StoreArgs, name: &str) -> Result<Self> {
        let store = store.open(true)?;
        let pool = match store.pool(name) {
            Err(error) if error.kind() == ErrorKind::NoPool => {
                store.create_pool(name, None, None)?;
                store.pool(name)?
            }
            other => other?,
        };
        Ok(Self {
            direct: None,
            decided: false,
            schema_waiting: Vec::new(),
            store,
            pool,
            hasher: Hasher::default(),
            waiting: Vec::new(),
            joining: HashMap::new(),
        })
    }

    fn commit(&self, ops: Vec<Op>) -> stoa_engine::Result<stoa_engine::pool::request::Committed> {
        self.pool.commit(Transaction { actor: "import".into(), token: None, ops })
    }

    /// The user that a record means, if it is there: by sub, else by username, else by e-mail where one
    /// of the two has no username. Two people who share an address are two people.
    fn find(snapshot: &Snapshot, wanted: &Wanted) -> stoa_engine::Result<Option<UserView>> {
        let alias = |attr: &str, value: &Option<String>| {
            value.as_ref().map(|value| UserRef::Alias { attr: attr.into(), value: value.as_str().into() })
        };
        let named = [wanted.sub.map(|sub| UserRef::Sub(Sub(sub))), alias("username", &wanted.username)];
        for user in named.into_iter().flatten() {
            if let Some(view) = snapshot.user(&user, &Select::All)? {
                return Ok(Some(view));
            }
        }
        let Some(user) = alias("email", &wanted.email) else { return Ok(None) };
        let found = snapshot.user(&user, &Select::All)?;
        Ok(found.filter(|view| {
            let name = view.attrs.iter().find(|(name, _)| &**name == "username").and_then(|(_, value)| value.as_ref());
            wanted.may_be(name.map(Value::text).as_deref())
        }))
    }

    /// The operations that make the pool's user what the record says; none if it is so already.
    fn plan(&mut self, mut wanted: Wanted) -> Result<Waiting, String> {
        let snapshot = self.pool.snapshot();
        let found = Self::find(&snapshot, &wanted).map_err(|error| error.to_string())?;
        let (sub, mut ops, change) = match &found {
            None => {
                let sub = wanted.sub.map_or_else(mint_sub, |sub| Ok(Sub(sub)))?;
                (sub, vec![self.create(sub, &mut wanted)?], Change::Created)
            }
            Some(view) => (view.sub, self.update(&snapshot, view, &mut wanted)?, Change::Updated),
        };
        let user = UserRef::Sub(sub);
        let known = |error: stoa_engine::Error| error.to_string();
        let (identities, factors) = match &found {
            None => (Vec::new(), Vec::new()),
            Some(_) => {
                let factors = snapshot.factors(&user).map_err(known)?;
                (snapshot.identities(&user).map_err(known)?, factors)
            }
        };
        for (provider, subject) in wanted.identities {
            if !identities.iter().any(|other| other.provider == provider && other.subject == subject) {
                ops.push(Op::IdentityLink { user: user.clone(), provider, subject });
            }
        }
        for (kind, id, label, blob) in wanted.factors {
            let same = factors.iter().any(|other| &*other.kind == kind && other.id == id)
                && snapshot
                    .factor(&user, kind, &id)
                    .map_err(known)?
                    .is_some_and(|factor| factor.label == label && factor.blob.as_deref() == Some(&blob[..]));
            if !same {
                let kind = kind.into();
                ops.push(Op::FactorPut { user: user.clone(), kind, id, if_version: None, label, blob: blob.into() });
            }
        }
        let groups = match &found {
            Some(_) => snapshot.group_names(&user).map_err(known)?,
            None => Vec::new(),
        };
        for name in wanted.groups {
            if !groups.iter().any(|group| **group == *name) {
                ops.push(Op::GroupAdd { name, users: vec![user.clone()] });
            }
        }
        let change = if ops.is_empty() { Change::Unchanged } else { change };
        Ok(Waiting { line: wanted.line, change, ops })
    }

    fn create(&mut self, sub: Sub, wanted: &mut Wanted) -> Result<Op, String> {
        let password = match &wanted.password {
            WantedPassword::Nothing => None,
            WantedPassword::Hash(hash) => Some(hash.clone()),
            WantedPassword::Plain(secret) => Some(self.hasher.hash(secret)?),
        };
        Ok(Op::UserCreate(Box::new(NewUser {
            sub: Some(sub),
            take_alias: false,
            attrs: std::mem::take(&mut wanted.attrs),
            password,
            temporary: wanted.temporary,
            status: wanted.status,
            enabled: wanted.enabled,
            created_at_ms: wanted.created_at_ms,
            updated_at_ms: wanted.updated_at_ms,
        })))
    }

    fn update(&mut self, snapshot: &Snapshot, view: &UserView, wanted: &mut Wanted) -> Result<Vec<Op>, String> {
        let user = UserRef::Sub(view.sub);
        let mut ops = Vec::new();
        let mut changes = Vec::new();
        for (name, input) in std::mem::take(&mut wanted.attrs) {
            let present = view.attrs.iter().find(|(other, _)| **other == *name).and_then(|(_, value)| value.as_ref());
            if !same_value(snapshot, &name, &input, present)? {
                changes.push((name, input));
            }
        }
        if !changes.is_empty() {
            ops.push(Op::UserSet { user: user.clone(), if_version: None, take_alias: false, changes });
        }
        let stored = snapshot.password(&user).map_err(|error| error.to_string())?;
        let stored = stored.as_ref().map(|password| &*password.hash);
        let password = match &wanted.password {
            WantedPassword::Nothing => None,
            WantedPassword::Hash(hash) => Some(hash.clone()).filter(|hash| stored != Some(&**hash)),
            WantedPassword::Plain(secret) => match stored {
                Some(stored) if self.hasher.is(stored, secret) => None,
                _ => Some(self.hasher.hash(secret)?),
            },
        };
        let has_password = password.is_some();
        if let Some(password) = password {
            let temporary = wanted.temporary;
            ops.push(Op::CredSet { user: user.clone(), if_version: None, temporary, password });
        }
        if let Some(status) = wanted.status
            && (status != view.status || has_password)
        {
            ops.push(Op::UserStatus { user: user.clone(), if_version: None, status });
        }
        if let Some(enabled) = wanted.enabled.filter(|enabled| *enabled != view.enabled) {
            ops.push(Op::UserEnable { user, enabled });
        }
        Ok(ops)
    }

    /// Commits users together; if one is refused, all but that one.
    fn commit_waiting(&mut self, report: &mut Report) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        while !waiting.is_empty() {
            let ops: Vec<Op> = waiting.iter().flat_map(|user| user.ops.iter().cloned()).collect();
            let Err(error) = self.commit(ops) else {
                waiting.iter().for_each(|user| report.user(user.change));
                return Ok(());
            };
            if !is_of_the_row(error.kind()) {
                return Err(error.into());
            }
            let mut end = 0;
            let refused = error.op().unwrap_or_default();
            let at = waiting.iter().position(|user| {
                end += user.ops.len();
                refused < end
            });
            let user = waiting.remove(at.unwrap_or_default());
            report.refused(user.line, &error.to_string());
        }
        Ok(())
    }
}

/// Whether a refusal says something of one row; anything else ends the import.
pub(super) fn is_of_the_row(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Duplicate
            | ErrorKind::Exists
            | ErrorKind::Invalid
            | ErrorKind::Limit
            | ErrorKind::Conflict
            | ErrorKind::NoUser
            | ErrorKind::NoGroup
            | ErrorKind::Weak
    )
}

/// Whether the pool holds just this value.
fn same_value(snapshot: &Snapshot, name: &str, input: &Input, present: Option<&Value>) -> Result<bool, String> {
    let Some(attribute) = snapshot.schema().by_name(name) else { return Ok(false) };
    if input.is_removal() {
        return Ok(present.is_none());
    }
    let value = attribute.parse(input).map_err(|fault| format!("INVALID {fault}"))?;
    Ok(present == Some(&value))
}

pub(super) fn mint_sub() -> Result<Sub, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
    bytes[..6].copy_from_slice(&(now_ms as u64).to_be_bytes()[2..]);
    bytes[6] = bytes[6] & 0x0f | 0x70;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(Sub(bytes))
}

impl<'a> Target<'a> for Local<'a> {
    fn schema(&mut self) -> Result<Vec<AttrSpec>> {
        Ok(specs_of(&self.pool.snapshot().schema().to_json()))
    }

    fn extend_schema(&mut self, specs: &[Arc<AttrSpec>]) -> Result<()> {
        if self.direct.is_some() {
            self.schema_waiting.extend_from_slice(specs);
            return Ok(());
        }
        let schema = schema_patch(specs).into();
        self.commit(vec![Op::SchemaAlter { if_version: None, schema }])?;
        Ok(())
    }

    fn group(&mut self, group: &ImportGroup<'_>, table: &AttrTable) -> Result<Change, String> {
        let text = |text: &Option<crate::import::record::Text<'_>>| text.as_ref().map(|text| text.as_ref().into());
        let json = match &group.attributes {
            None => None,
            Some(text) => Some(serde_json::from_str(text).map_err(|_| "the group's attributes are no JSON object")?),
        };
        let fields = GroupFields {
            description: text(&group.description),
            precedence: group.precedence,
            role: text(&group.role),
            kind: text(&group.kind),
            json,
        };
        let name: Box<str> = group.name.as_ref().into();
        self.decide(table).map_err(|error| error.to_string())?;
        if let Some(direct) = &mut self.direct {
            return direct.group(&name, &fields);
        }
        let there = self.pool.snapshot().group(&name).map_err(|error| error.to_string())?.is_some();
        let op = if there { Op::GroupSet { name, fields } } else { Op::GroupCreate { name, fields } };
        let done = self.commit(vec![op]).map_err(|error| error.to_string())?;
        let changed = done.outcomes.first().and_then(|outcome| outcome.changed).unwrap_or(1);
        Ok(match (there, changed) {
            (false, _) => Change::Created,
            (true, 0) => Change::Unchanged,
            (true, _) => Change::Updated,
        })
    }

    fn user(&mut self, user: ImportUser<'a>, table: &AttrTable, report: &mut Report) -> Result<()> {
        self.decide(table)?;
        match &mut self.direct {
            Some(direct) => direct.user(user, &mut self.hasher, report),
            None => self.ordinary_user(user, table, report),
        }
    }

    fn membership(&mut self, group: &str, member: &MemberRef<'static>, report: &mut Report) -> Result<()> {
        if let Some(direct) = &mut self.direct {
            match direct.membership(group, member) {
                Ok(true) => report.membership(Ok(Some(true))),
                Ok(false) => {}
                Err(reason) => report.membership(Err(reason)),
            }
            return Ok(());
        }
        let result = self.ordinary_membership(group, member);
        report.membership(result);
        Ok(())
    }

    fn flush(&mut self, report: &mut Report) -> Result<()> {
        self.commit_waiting(report)
    }

    fn finish(&mut self, table: &AttrTable, report: &mut Report) -> Result<()> {
        if let Some(direct) = self.direct.take() {
            let (rows, late) = direct.finish()?;
            let specs = std::mem::take(&mut self.schema_waiting);
            if !specs.is_empty() {
                self.extend_schema(&specs)?;
            }
            for user in rows {
                self.ordinary_user(user, table, report)?;
            }
            self.commit_waiting(report)?;
            for (group, member) in late {
                let result = self.ordinary_membership(&group, &member);
                report.membership(result);
            }
        }
        self.commit_waiting(report)?;
        for (name, users) in std::mem::take(&mut self.joining) {
            if !users.is_empty() {
                self.commit(vec![Op::GroupAdd { name: name.as_str().into(), users }])?;
            }
        }
        self.store.clone().close()?;
        Ok(())
    }
}

impl<'a> Local<'a> {
    /// Takes the direct way if the pool was never used; asked before the first row.
    fn decide(&mut self, table: &AttrTable) -> Result<()> {
        if !self.decided {
            self.decided = true;
            self.direct = Direct::begin(&self.pool, table)?;
        }
        Ok(())
    }

    fn ordinary_user(&mut self, user: ImportUser<'_>, table: &AttrTable, report: &mut Report) -> Result<()> {
        let wanted = wanted(user, table);
        let line = wanted.line;
        if let Some(note) = &wanted.note {
            report.changed(line, note);
        }
        match self.plan(wanted) {
            Err(reason) => report.refused(line, &reason),
            Ok(user) if user.ops.is_empty() => report.user(Change::Unchanged),
            Ok(user) => self.waiting.push(user),
        }
        if self.waiting.len() >= BATCH_USERS {
            self.commit_waiting(report)?;
        }
        Ok(())
    }

    fn ordinary_membership(&mut self, group: &str, member: &MemberRef<'_>) -> Result<Option<bool>, String> {
        let user = match member {
            MemberRef::Sub(sub) => UserRef::Sub(Sub(*sub)),
            MemberRef::Username(name) => UserRef::Alias { attr: "username".into(), value: name.as_ref().into() },
            MemberRef::Email(email) => UserRef::Alias { attr: "email".into(), value: email.as_ref().into() },
        };
        let snapshot = self.pool.snapshot();
        let known = |error: stoa_engine::Error| error.to_string();
        let Some(view) = snapshot.user(&user, &Select::Nothing).map_err(known)? else { return Ok(None) };
        let user = UserRef::Sub(view.sub);
        if snapshot.group_names(&user).map_err(known)?.iter().any(|name| **name == *group) {
            return Ok(Some(false));
        }
        let waiting = self.joining.entry(group.to_owned()).or_default();
        waiting.push(user);
        if waiting.len() >= 1000 {
            let users = std::mem::take(waiting);
            self.commit(vec![Op::GroupAdd { name: group.into(), users }]).map_err(known)?;
        }
        Ok(Some(true))
    }
}
