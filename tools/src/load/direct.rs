//! Loading into a pool that was never used: past log and memtable, straight into column files.
//!
//! What the direct way does not take (a row that may clash with another, an attribute that was not
//! known when the load began) is kept, borrowed from the mapped input, and goes the ordinary way
//! once the load is committed.

use std::collections::HashMap;

use anyhow::Result;
use stoa_engine::bulk::{BulkFactor, BulkLoad, BulkUser, BulkValue, Pushed};
use stoa_engine::pool::request::GroupFields;
use stoa_engine::{ErrorKind, Pool};
use stoa_format::{AttrId, Sub};

use super::plain::{Hasher, status};
use super::report::Report;
use super::{Change, local::is_of_the_row};
use crate::import::attrs::AttrTable;
use crate::import::record::{self, ImportPassword, ImportUser, ImportValue, MemberRef};

/// A direct load under way.
pub(super) struct Direct<'a> {
    load: BulkLoad,
    /// The pool's attribute for each key of the import's table; none for what came later.
    ids: Vec<Option<AttrId>>,
    username: Option<AttrId>,
    email: Option<AttrId>,
    groups: HashMap<String, u32>,
    /// Rows that go the ordinary way afterwards.
    pub(super) rows: Vec<ImportUser<'a>>,
    /// Memberships of users that are not in the load.
    pub(super) late: Vec<(String, MemberRef<'static>)>,
}

/// What a password comes to in a new user.
enum Stored {
    None,
    Hash(Box<str>),
}

impl<'a> Direct<'a> {
    /// Begins a load, if the pool was never used.
    pub(super) fn begin(pool: &Pool, table: &AttrTable) -> Result<Option<Self>> {
        let load = match pool.bulk_load() {
            Ok(load) => load,
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let id = |name: &str| load.schema().by_name(name).map(|attribute| attribute.id);
        let ids = table.since(0).iter().map(|(_, spec)| id(&spec.name)).collect();
        let (username, email) = (id("username"), id("email"));
        Ok(Some(Self { load, ids, username, email, groups: HashMap::new(), rows: Vec::new(), late: Vec::new() }))
    }

    /// Takes a group, or more of its properties.
    pub(super) fn group(&mut self, name: &str, fields: &GroupFields) -> Result<Change, String> {
        let number = self.load.group(name, fields).map_err(|error| error.to_string())?;
        let known = self.groups.insert(name.to_owned(), number).is_some();
        Ok(if known { Change::Unchanged } else { Change::Created })
    }

    /// Takes a user, or keeps it for later.
    pub(super) fn user(&mut self, user: ImportUser<'a>, hasher: &mut Hasher, report: &mut Report) -> Result<()> {
        if user.attrs.iter().any(|(key, _)| self.ids.get(usize::from(key.0)).copied().flatten().is_none()) {
            self.rows.push(user);
            return Ok(());
        }
        match self.push(&user, hasher) {
            Ok(Pushed::Taken(_)) => report.user(Change::Created),
            Ok(Pushed::Deferred) => {
                self.rows.push(user);
                return Ok(());
            }
            Err(error) if is_of_the_row(error.kind()) => report.refused(user.line, &error.to_string()),
            Err(error) => return Err(error.into()),
        }
        if let ImportPassword::Unsupported { reason } = &user.password {
            report.changed(user.line, &format!("the password cannot be kept ({reason}): the user must reset it"));
        }
        Ok(())
    }

    fn push(&mut self, user: &ImportUser<'a>, hasher: &mut Hasher) -> stoa_engine::Result<Pushed> {
        let mut attrs = Vec::with_capacity(user.attrs.len());
        for (key, value) in &user.attrs {
            let Some(id) = self.ids.get(usize::from(key.0)).copied().flatten() else { continue };
            attrs.push((id, borrowed(value)));
        }
        let mut wanted_status = user.status.map(status);
        let mut enabled = user.enabled;
        let stored = match &user.password {
            ImportPassword::None => Stored::None,
            ImportPassword::Hash(hash) => Stored::Hash(hash.as_ref().into()),
            ImportPassword::Plain(secret) => Stored::Hash(hasher.hash(secret).map_err(stoa_engine::Error::invalid)?),
            ImportPassword::ResetRequired => {
                wanted_status = wanted_status.or(Some(status(record::Status::ResetRequired)));
                Stored::None
            }
            ImportPassword::Locked => {
                enabled = Some(false);
                wanted_status = wanted_status.or(Some(status(record::Status::ResetRequired)));
                Stored::None
            }
            ImportPassword::Unsupported { .. } => {
                wanted_status = Some(status(record::Status::ResetRequired));
                Stored::None
            }
        };
        let mut groups: Vec<u32> =
            user.groups.iter().filter_map(|name| self.groups.get(name.as_ref()).copied()).collect();
        groups.sort_unstable();
        groups.dedup();
        let identities: Vec<(&str, &str)> = user.identities.iter().map(|(a, b)| (a.as_ref(), b.as_ref())).collect();
        let factors: Vec<BulkFactor<'_>> = user
            .factors
            .iter()
            .map(|factor| BulkFactor {
                kind: factor.kind.as_str(),
                id: &factor.id,
                label: factor.label.as_deref(),
                blob: &factor.blob,
            })
            .collect();
        let time = |ms: Option<i64>| ms.and_then(|ms| u64::try_from(ms).ok());
        self.load.push(&BulkUser {
            sub: user.sub.map(Sub),
            attrs: &attrs,
            password: match &stored {
                Stored::None => None,
                Stored::Hash(hash) => Some(hash),
            },
            temporary: user.temporary,
            enabled,
            status: wanted_status,
            created_at_ms: time(user.created_at_ms),
            updated_at_ms: time(user.updated_at_ms),
            groups: &groups,
            identities: &identities,
            factors: &factors,
        })
    }

    /// Takes a membership, or keeps it for later.
    pub(super) fn membership(&mut self, group: &str, member: &MemberRef<'static>) -> Result<bool, String> {
        let alias = |attr: Option<AttrId>, value: &str| attr.and_then(|attr| self.load.find_alias(attr, value));
        let user = match member {
            MemberRef::Sub(sub) => self.load.find_sub(Sub(*sub)),
            MemberRef::Username(name) => alias(self.username, name),
            MemberRef::Email(email) => alias(self.email, email),
        };
        match (self.groups.get(group), user) {
            (Some(number), Some(user)) => {
                self.load.join(*number, user).map_err(|error| error.to_string())?;
                Ok(true)
            }
            _ => {
                self.late.push((group.to_owned(), member.clone()));
                Ok(false)
            }
        }
    }

    /// Commits the load; answers what goes the ordinary way.
    pub(super) fn finish(self) -> Result<(Vec<ImportUser<'a>>, Vec<(String, MemberRef<'static>)>)> {
        if self.load.users() > 0 || !self.groups.is_empty() {
            self.load.finish()?;
        }
        Ok((self.rows, self.late))
    }
}

fn borrowed<'v>(value: &'v ImportValue<'_>) -> BulkValue<'v> {
    match value {
        ImportValue::Str(text) => BulkValue::Text(text),
        ImportValue::Bool(truth) => BulkValue::Bool(*truth),
        ImportValue::Int(number) => BulkValue::Int(*number),
        ImportValue::Time(ms) => BulkValue::Time(*ms),
        ImportValue::Json(text) => BulkValue::Json(text),
        ImportValue::Bytes(bytes) => BulkValue::Bytes(bytes),
        ImportValue::Multi(texts) => BulkValue::Multi(texts),
    }
}
