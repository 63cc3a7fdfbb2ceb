//! Reading through a draft: what the transaction has staged over what its snapshot holds.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use stoa_format::{AttrId, Ordinal, Sub};

use super::cells::StagedCells;
use super::conflict::{key_conflict, user_conflict};
use super::{Draft, UserDraft};
use crate::error::Result;
use crate::pool::keyspace::last_number;
use crate::pool::request::UserRef;
use crate::pool::runs::OwnedCell;
use crate::pool::snapshot::{no_user, sub_in};
use crate::pool::value::CellValue;

impl Draft<'_> {
    /// The user that `user` names: as before the transaction, or made by it.
    pub(super) fn find(&mut self, user: &UserRef) -> Result<Option<Ordinal>> {
        if let UserRef::Sub(sub) = user
            && let Some(&ordinal) = self.by_sub.get(sub)
        {
            return Ok(Some(ordinal).filter(|ordinal| !self.users[ordinal].deleted));
        }
        let owner = match user {
            UserRef::Sub(sub) => {
                let (_, leaf) = self.leaf(*sub);
                self.snapshot.sub_owner(*sub, leaf)?
            }
            _ => self.snapshot.owner(user.into())?,
        };
        let Some((ordinal, _)) = owner else { return Ok(None) };
        *self.deltas.get_mut() = owner;
        self.reads.insert(user_conflict(ordinal));
        if self.users.get(&ordinal).is_some_and(|user| user.deleted) {
            return Ok(None);
        }
        if let UserRef::Sub(sub) = user {
            self.begin(ordinal, *sub);
        }
        Ok(Some(ordinal))
    }

    pub(super) fn require(&mut self, user: &UserRef) -> Result<Ordinal> {
        self.find(user)?.ok_or_else(no_user)
    }

    /// The draft of a user, begun if need be.
    pub(super) fn user(&mut self, ordinal: Ordinal) -> Result<&mut UserDraft> {
        if !self.users.contains_key(&ordinal) {
            let sub = self.with_stored(ordinal, AttrId::SUB, sub_in)??;
            self.begin(ordinal, sub);
        }
        self.users.get_mut(&ordinal).ok_or_else(no_user)
    }

    /// Begins the draft of a stored user, unless it is begun.
    pub(super) fn begin(&mut self, ordinal: Ordinal, sub: Sub) {
        self.by_sub.insert(sub, ordinal);
        let draft = || UserDraft { sub, created: false, deleted: false, cells: StagedCells::default() };
        self.users.entry(ordinal).or_insert_with(draft);
    }

    pub(super) fn sub(&mut self, ordinal: Ordinal) -> Result<Sub> {
        self.user(ordinal).map(|user| user.sub)
    }

    pub(super) fn cell(&self, ordinal: Ordinal, attr: AttrId) -> Result<Option<OwnedCell>> {
        self.with_cell(ordinal, attr, |cell| cell.map(OwnedCell::from))
    }

    /// Gives a cell as the transaction leaves it to `read`, which must ask for no other, without a copy.
    pub(super) fn with_cell<R>(
        &self,
        ordinal: Ordinal,
        attr: AttrId,
        read: impl FnOnce(Option<CellValue<'_>>) -> R,
    ) -> Result<R> {
        if let Some(user) = self.users.get(&ordinal) {
            match user.cells.get(attr) {
                Some(cell) => return Ok(read(cell.as_ref().map(OwnedCell::as_cell))),
                None if user.created => return Ok(read(None)),
                None => {}
            }
        }
        self.with_stored(ordinal, attr, read)
    }

    /// The same, as it was before the transaction.
    pub(super) fn with_stored<R>(
        &self,
        ordinal: Ordinal,
        attr: AttrId,
        read: impl FnOnce(Option<CellValue<'_>>) -> R,
    ) -> Result<R> {
        let mut last = self.deltas.borrow_mut();
        let (_, deltas) = match &mut *last {
            Some(last) if last.0 == ordinal => last,
            other => other.insert((ordinal, self.snapshot.deltas(ordinal))),
        };
        self.snapshot.with_cell(deltas, ordinal, attr, &mut Vec::new(), read)
    }

    pub(super) fn int(&self, ordinal: Ordinal, attr: AttrId) -> Result<Option<i64>> {
        self.with_cell(ordinal, attr, |cell| match cell {
            Some(CellValue::Int(value)) => Some(value),
            _ => None,
        })
    }

    pub(super) fn key(&mut self, flat: &Bytes) -> Result<Option<Bytes>> {
        self.reads.insert(key_conflict(flat));
        match self.keys.get(flat) {
            Some(staged) => Ok(staged.clone()),
            None => self.snapshot.key(flat),
        }
    }

    /// All keys with `prefix`, staged ones over stored ones; keys with their keyspace.
    pub(super) fn keys_with(&self, prefix: &Bytes) -> Result<BTreeMap<Bytes, Bytes>> {
        let mut out = BTreeMap::new();
        self.snapshot.scan_prefix(prefix, |key, value| {
            let mut flat = Vec::with_capacity(key.len() + 1);
            flat.push(prefix[0]);
            flat.extend_from_slice(key);
            out.insert(Bytes::from(flat), Bytes::copy_from_slice(value));
            Ok(ControlFlow::Continue(()))
        })?;
        for (flat, staged) in self.staged_keys(prefix) {
            match staged {
                Some(value) => out.insert(flat.clone(), value.clone()),
                None => out.remove(flat),
            };
        }
        Ok(out)
    }

    /// The ordinals at the end of all keys with `prefix`, staged ones over stored ones.
    pub(super) fn ordinals_with(&self, prefix: &Bytes) -> Result<Vec<Ordinal>> {
        let mut out = Vec::new();
        self.snapshot.scan_prefix(prefix, |key, _| {
            if !self.staged_keys(prefix).any(|(flat, _)| flat[1..] == *key) {
                out.extend(last_number(key).map(Ordinal));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let present = self.staged_keys(prefix).filter(|(_, value)| value.is_some());
        out.extend(present.filter_map(|(flat, _)| last_number(flat)).map(Ordinal));
        Ok(out)
    }

    /// The staged keys with `prefix`.
    pub(super) fn staged_keys<'p>(&'p self, prefix: &'p [u8]) -> impl Iterator<Item = (&'p Bytes, &'p Option<Bytes>)> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.keys.range::<[u8], _>(from).take_while(move |(flat, _)| flat.starts_with(prefix))
    }
}
