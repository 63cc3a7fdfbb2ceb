//! The reads that callers ask for, on top of [`Snapshot`]'s look-ups.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use stoa_format::{AttrId, Ordinal, Sub};

use super::found::FoundUser;
use super::keyspace::{self, Key, last_number, split_terminated};
use super::record::{FactorRecord, GroupRecord};
use super::request::UserRef;
use super::runs::OwnedCell;
use super::snapshot::{Snapshot, damaged, no_user};
use super::view::{FactorView, GroupView, IdentityView, PasswordView, Select, UserView};
use crate::error::{Error, Result};
use crate::password;

impl Snapshot {
    /// A user, or the part of it that `select` names; `None` if there is no such user. [`Snapshot::find`] reads without
    /// copies.
    ///
    /// # Errors
    /// `INVALID` for an attribute that the schema does not have, `DAMAGED`, `IOERROR`.
    pub fn user(&self, user: &UserRef, select: &Select) -> Result<Option<UserView>> {
        self.find(user)?.map(|found| selected(&found, select)).transpose()
    }

    /// Several users, in the order in which they are named.
    ///
    /// # Errors
    /// As [`Snapshot::user`].
    pub fn users(&self, users: &[UserRef], select: &Select) -> Result<Vec<Option<UserView>>> {
        users.iter().map(|user| self.user(user, select)).collect()
    }

    /// The view of a live user.
    pub(crate) fn view(&self, ordinal: Ordinal, select: &Select) -> Result<UserView> {
        selected(&self.found(ordinal), select)
    }

    /// A user's stored password; `None` if there is none.
    ///
    /// # Errors
    /// `NOUSER`, `DAMAGED`, `IOERROR`.
    pub fn password(&self, user: &UserRef) -> Result<Option<PasswordView>> {
        let found = self.find(user)?.ok_or_else(no_user)?;
        let Some(hash) = found.with_password(|hash| hash.map(Box::<str>::from))? else { return Ok(None) };
        let scheme = password::parse(&hash, &self.pool.caps()).map_or("unknown", |stored| stored.scheme());
        Ok(Some(PasswordView { sub: found.sub()?, scheme, hash, set_at_ms: found.password_set_at_ms()? }))
    }

    /// The hashes that a user's new password may not match, the present one first: as many as the
    /// pool's policy looks back.
    ///
    /// # Errors
    /// `NOUSER`, `DAMAGED`, `IOERROR`.
    pub fn former_passwords(&self, user: &UserRef) -> Result<Vec<Box<str>>> {
        let ordinal = self.require(user)?;
        let history = self.password_policy().history;
        if history == 0 {
            return Ok(Vec::new());
        }
        let text = |bytes: &[u8]| -> Box<str> { String::from_utf8_lossy(bytes).into() };
        let mut hashes = Vec::new();
        if let Some(OwnedCell::Bytes(present)) = self.cell(ordinal, AttrId::PASSWORD)? {
            hashes.push(text(&present));
        }
        let mut former = Vec::new();
        self.scan_prefix(&Key::new(keyspace::FORMER_PASSWORDS).ordinal(ordinal).flat(), |_, value| {
            former.push(text(value));
            Ok(ControlFlow::Continue(()))
        })?;
        hashes.extend(former.into_iter().rev());
        hashes.truncate(history);
        Ok(hashes)
    }

    /// A user's further factors, without their secrets.
    ///
    /// # Errors
    /// `NOUSER`, `DAMAGED`, `IOERROR`.
    pub fn factors(&self, user: &UserRef) -> Result<Vec<FactorView>> {
        let mut factors = self.factors_of(self.require(user)?)?;
        factors.iter_mut().for_each(|factor| factor.blob = None);
        Ok(factors)
    }

    /// The same by ordinal, with the secrets.
    pub(crate) fn factors_of(&self, ordinal: Ordinal) -> Result<Vec<FactorView>> {
        let prefix = Key::new(keyspace::FACTORS).ordinal(ordinal).flat();
        let mut factors = Vec::new();
        self.scan_prefix(&prefix, |key, value| {
            factors.push(factor_view(&key[8..], value)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(factors)
    }

    /// One further factor with its secret; `None` if there is none.
    ///
    /// # Errors
    /// `NOUSER`, `DAMAGED`, `IOERROR`.
    pub fn factor(&self, user: &UserRef, kind: &str, id: &str) -> Result<Option<FactorView>> {
        let flat = Key::new(keyspace::FACTORS)
            .ordinal(self.require(user)?)
            .terminated(kind.as_bytes())
            .rest(id.as_bytes())
            .flat();
        let Some(bytes) = self.key(&flat)? else { return Ok(None) };
        let record = FactorRecord::decode(&bytes).map_err(|fault| damaged(&fault))?;
        Ok(Some(FactorView {
            kind: kind.into(),
            id: id.into(),
            label: record.label,
            created_at_ms: record.created_at_ms,
            blob: Some(Bytes::from(record.blob)),
        }))
    }

    /// The holder of a factor whose id is unique in the pool.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn find_factor(&self, kind: &str, id: &str) -> Result<Option<Sub>> {
        let flat = Key::new(keyspace::FACTOR_IDS).terminated(kind.as_bytes()).rest(id.as_bytes()).flat();
        self.owner_behind(&flat)
    }

    /// The holder of a linked identity.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn find_identity(&self, provider: &str, subject: &str) -> Result<Option<Sub>> {
        let flat = Key::new(keyspace::IDENTITIES).terminated(provider.as_bytes()).rest(subject.as_bytes()).flat();
        self.owner_behind(&flat)
    }

    /// The ordinal behind a key.
    pub(crate) fn ordinal_behind(&self, flat: &Bytes) -> Result<Option<Ordinal>> {
        Ok(self.key(flat)?.and_then(|value| last_number(&value)).map(Ordinal))
    }

    fn owner_behind(&self, flat: &Bytes) -> Result<Option<Sub>> {
        self.ordinal_behind(flat)?.map(|ordinal| self.sub_of(ordinal)).transpose()
    }

    /// A user's linked identities.
    ///
    /// # Errors
    /// `NOUSER`, `DAMAGED`, `IOERROR`.
    pub fn identities(&self, user: &UserRef) -> Result<Vec<IdentityView>> {
        self.identities_of(self.require(user)?)
    }

    pub(crate) fn identities_of(&self, ordinal: Ordinal) -> Result<Vec<IdentityView>> {
        let prefix = Key::new(keyspace::IDENTITIES_OF).ordinal(ordinal).flat();
        let mut identities = Vec::new();
        self.scan_prefix(&prefix, |key, _| {
            identities.push(identity_view(&key[8..])?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(identities)
    }

    /// A group; `None` if there is none.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn group(&self, name: &str) -> Result<Option<GroupView>> {
        Ok(self.group_record(name)?.map(|record| group_view(name, record)))
    }

    /// The ids of the groups that a user is in, ascending, from `after` on.
    pub(crate) fn group_ids_of(&self, ordinal: Ordinal) -> Result<Vec<u64>> {
        let prefix = Key::new(keyspace::GROUPS_OF).ordinal(ordinal).flat();
        let mut ids = Vec::new();
        self.scan_prefix(&prefix, |key, _| {
            ids.extend(last_number(key));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(ids)
    }

    /// The name of a group by id; `None` once it is swept.
    pub(crate) fn group_name(&self, id: u64) -> Result<Option<String>> {
        let flat = Key::new(keyspace::GROUP_NAMES).number(id).flat();
        Ok(self.key(&flat)?.map(|name| String::from_utf8_lossy(&name).into_owned()))
    }

    /// The name of a group by id; `None` as soon as it is deleted.
    pub(crate) fn live_group_name(&self, id: u64) -> Result<Option<String>> {
        let Some(name) = self.group_name(id)? else { return Ok(None) };
        let live = self.group_record(&name)?.is_some_and(|record| record.id == id);
        Ok(live.then_some(name))
    }

    /// The names of the groups that a user is in, those that are deleted and not yet swept left out.
    pub(crate) fn group_names_of(&self, ordinal: Ordinal) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for id in self.group_ids_of(ordinal)? {
            names.extend(self.live_group_name(id)?);
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The names of a user's groups, sorted.
    ///
    /// # Errors
    /// `NOUSER`, `DAMAGED`, `IOERROR`.
    pub fn group_names(&self, user: &UserRef) -> Result<Vec<String>> {
        self.group_names_of(self.require(user)?)
    }

    /// Shows every user to `visit`, in order of creation.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`, and what `visit` fails with.
    pub fn each_user<E: From<Error>>(&self, visit: &mut impl FnMut(UserView) -> Result<(), E>) -> Result<(), E> {
        self.live_ordinals(Ordinal(0)).try_for_each(|ordinal| visit(self.view(ordinal, &Select::All)?))
    }

    /// Shows every group to `visit`, in order of name.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`, and what `visit` fails with.
    pub fn each_group<E: From<Error>>(&self, visit: &mut impl FnMut(GroupView) -> Result<(), E>) -> Result<(), E> {
        let mut failed = None;
        self.scan_prefix(&Key::new(keyspace::GROUPS).flat(), |key, value| {
            let record = GroupRecord::decode(value).map_err(|fault| damaged(&fault))?;
            if let Err(error) = visit(group_view(&String::from_utf8_lossy(key), record)) {
                failed = Some(error);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// Shows every member of a group to `visit`, in order of creation; nobody if there is no such group.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`, and what `visit` fails with.
    pub fn each_member<E: From<Error>>(
        &self,
        group: &str,
        visit: &mut impl FnMut(UserView) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(record) = self.group_record(group)? else { return Ok(()) };
        let mut failed = None;
        self.scan_prefix(&Key::new(keyspace::MEMBERS).number(record.id).flat(), |key, _| {
            let ordinal = Ordinal(last_number(key).unwrap_or_default());
            if let Err(error) = visit(self.view(ordinal, &Select::All)?) {
                failed = Some(error);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// How many users there are.
    ///
    /// # Errors
    /// None now; kept for snapshots that must read.
    pub fn user_count(&self) -> Result<u64> {
        let mut count = self.version.runs.live.len() as i64;
        self.each_changed(|ordinal, deltas| {
            count += i64::from(self.is_live_under(&deltas, ordinal)) - i64::from(self.version.runs.is_live(ordinal));
            Ok(())
        })?;
        Ok(count as u64)
    }
}

/// What `select` names of a user.
fn selected(found: &FoundUser<'_>, select: &Select) -> Result<UserView> {
    match select {
        Select::All => found.view(),
        Select::Nothing => Ok(found.fields()?.into()),
        Select::Named(names) => {
            let fields = found.fields()?;
            let attrs = names.iter().map(|name| Ok((Arc::from(&**name), found.named(name, &fields)?)));
            Ok(UserView { attrs: attrs.collect::<Result<_>>()?, ..fields.into() })
        }
    }
}

/// A factor, of what follows the ordinal in its key and of its record.
pub(crate) fn factor_view(rest: &[u8], value: &[u8]) -> Result<FactorView> {
    let (kind, id) = split_terminated(rest).ok_or_else(|| Error::damaged("a factor's key is malformed"))?;
    let record = FactorRecord::decode(value).map_err(|fault| damaged(&fault))?;
    Ok(FactorView {
        kind: String::from_utf8_lossy(&kind).into(),
        id: String::from_utf8_lossy(id).into(),
        label: record.label,
        created_at_ms: record.created_at_ms,
        blob: Some(Bytes::from(record.blob)),
    })
}

/// A linked identity, of what follows the ordinal in its key.
pub(crate) fn identity_view(rest: &[u8]) -> Result<IdentityView> {
    let (provider, subject) = split_terminated(rest).ok_or_else(|| Error::damaged("an identity's key is malformed"))?;
    Ok(IdentityView {
        provider: String::from_utf8_lossy(&provider).into(),
        subject: String::from_utf8_lossy(subject).into(),
    })
}

pub(crate) fn group_view(name: &str, record: GroupRecord) -> GroupView {
    GroupView {
        name: name.into(),
        description: record.description,
        precedence: record.precedence,
        role: record.role,
        kind: record.kind,
        json: record.json.as_deref().and_then(|json| serde_json::from_str(json).ok()),
        version: record.version,
        created_at_ms: record.created_at_ms,
        updated_at_ms: record.updated_at_ms,
    }
}
