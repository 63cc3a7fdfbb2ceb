//! Reading a pool at one Seq, without a lock.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use sdd::Guard;
use stoa_format::ops::PUT_DELETES;
use stoa_format::{AttrId, Ordinal, Seq, Sub};

use super::deltas::UserDeltas;
use super::found::UserKey;
use super::handle::Hold;
use super::keyspace::{self, Key, last_number};
use super::policy::PasswordPolicy;
use super::record::{GroupRecord, SignIn, decode_document};
use super::request::UserRef;
use super::runs::OwnedCell;
use super::schema::{Alias, Attribute, Schema};
use super::value::{CellValue, Value};
use super::version::{CONFIG_PREFIX, PinnedVersion};
use crate::column::FoundCell;
use crate::digest::fact::leaf_hash;
use crate::error::{Error, ErrorKind, Result};
use crate::index::Direction;
use crate::memtable::Memtable;

/// One state of a pool: what it holds never changes.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) pool: Arc<Hold>,
    pub(crate) version: PinnedVersion,
    pub(crate) seq: Seq,
}

/// A live user, and what the memtables say of it.
pub(crate) type Owner = (Ordinal, UserDeltas);

impl Snapshot {
    /// The Seq that it shows.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// This state, if it is at or after `min_seq`.
    ///
    /// # Errors
    /// `STALE` if it is not.
    pub fn at_least(self, min_seq: Option<Seq>) -> Result<Self> {
        match min_seq {
            Some(wanted) if wanted > self.seq => {
                let what = format!("the state is at seq {}: wait, or read without MINSEQ", self.seq);
                Err(Error::new(ErrorKind::Stale, what))
            }
            _ => Ok(self),
        }
    }

    /// The pool's schema.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.version.documents.schema
    }

    pub(crate) fn deltas(&self, ordinal: Ordinal) -> UserDeltas {
        let mut out = UserDeltas::default();
        for memtable in self.version.memtables() {
            if out.is_complete() {
                break;
            }
            if let Some(delta) = memtable.user(ordinal, self.seq) {
                out.add(delta);
            }
        }
        out
    }

    /// Shows what the memtables say, user by user in ascending order: one walk, where a look-up a user would be
    /// a descent each.
    pub(crate) fn each_changed(&self, mut visit: impl FnMut(Ordinal, UserDeltas) -> Result<()>) -> Result<()> {
        let mut sources: Vec<_> =
            self.version.memtables().map(|memtable| memtable.deltas_at(self.seq).peekable()).collect();
        loop {
            let ordinals = sources.iter_mut().filter_map(|source| source.peek().map(|(ordinal, _)| *ordinal));
            let Some(next) = ordinals.min() else { return Ok(()) };
            let mut deltas = UserDeltas::default();
            for source in &mut sources {
                if let Some((_, delta)) = source.next_if(|(ordinal, _)| *ordinal == next)
                    && !deltas.is_complete()
                {
                    deltas.add(delta);
                }
            }
            visit(next, deltas)?;
        }
    }

    pub(crate) fn cell_under(&self, deltas: &UserDeltas, ordinal: Ordinal, attr: AttrId) -> Result<Option<OwnedCell>> {
        match deltas.find(attr) {
            Some(found) => Ok(found),
            None => self.version.runs.cell(attr, ordinal),
        }
    }

    /// Gives a cell to `read`, without a copy. A value that has to be put together is put together in `room`.
    #[inline]
    pub(crate) fn with_cell<R>(
        &self,
        deltas: &UserDeltas,
        ordinal: Ordinal,
        attr: AttrId,
        room: &mut Vec<u8>,
        read: impl FnOnce(Option<CellValue<'_>>) -> R,
    ) -> Result<R> {
        match deltas.look(attr) {
            Some(found) => Ok(read(found)),
            None => self.version.runs.with_cell(attr, ordinal, room, read),
        }
    }

    /// One cell of a user; `None` if it is absent.
    pub(crate) fn cell(&self, ordinal: Ordinal, attr: AttrId) -> Result<Option<OwnedCell>> {
        self.cell_under(&self.deltas(ordinal), ordinal, attr)
    }

    pub(crate) fn is_live_under(&self, deltas: &UserDeltas, ordinal: Ordinal) -> bool {
        for delta in deltas.iter() {
            if delta.flags & PUT_DELETES != 0 {
                return false;
            }
            if delta.creates() {
                return true;
            }
        }
        self.version.runs.is_live(ordinal)
    }

    /// Whether this user exists.
    pub(crate) fn is_live(&self, ordinal: Ordinal) -> bool {
        self.is_live_under(&self.deltas(ordinal), ordinal)
    }

    /// The value behind a key.
    pub(crate) fn key(&self, flat: &Bytes) -> Result<Option<Bytes>> {
        for memtable in self.version.memtables() {
            if let Some(found) = memtable.key(flat, self.seq) {
                return Ok(found);
            }
        }
        self.version.runs.key(flat)
    }

    /// Visits all keys that begin with `prefix`, from `from` on, in order, until it breaks. Keys
    /// come without their keyspace's octet.
    pub(crate) fn scan(
        &self,
        prefix: &Bytes,
        from: &Bytes,
        visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        // Mostly no memtable knows such keys.
        let known = |memtable: &Arc<Memtable>| {
            memtable.may_hold(prefix) && memtable.keys_up(prefix.clone(), from, self.seq).next().is_some()
        };
        if !self.version.memtables().any(known) {
            return self.version.runs.each_key(prefix, from, visit);
        }
        self.walk(prefix, from, Direction::Ascending, visit)
    }

    /// Visits all keys that begin with `prefix` and are below `below`, the greatest first.
    pub(crate) fn scan_down(
        &self,
        prefix: &Bytes,
        below: &Bytes,
        visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        self.walk(prefix, below, Direction::Descending, visit)
    }

    fn walk(
        &self,
        prefix: &Bytes,
        bound: &Bytes,
        direction: Direction,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        type Entries<'m> = Box<dyn Iterator<Item = (Bytes, Option<Bytes>)> + 'm>;
        let up = direction == Direction::Ascending;
        let mut memory: Vec<_> = self
            .version
            .memtables()
            .filter(|memtable| memtable.may_hold(prefix))
            .map(|memtable| {
                let entries: Entries<'_> = match direction {
                    Direction::Ascending => Box::new(memtable.keys_up(prefix.clone(), bound, self.seq)),
                    Direction::Descending => Box::new(memtable.keys_down(prefix.clone(), bound, self.seq)),
                };
                entries.peekable()
            })
            .collect();
        let mut runs = self.version.runs.keys_from(prefix, bound, direction)?;
        let mut stored = runs.next()?;
        loop {
            let keys = memory.iter_mut().filter_map(|source| source.peek().map(|(key, _)| key.clone()));
            let next = if up { keys.min() } else { keys.max() };
            let from_runs = match (&next, &stored) {
                (None, None) => return Ok(()),
                (Some(key), Some((other, _))) => other != key && (other < key) == up,
                (None, Some(_)) => true,
                (Some(_), None) => false,
            };
            if from_runs {
                if let Some((key, value)) = stored.take()
                    && visit(&key[1..], &value)?.is_break()
                {
                    return Ok(());
                }
                stored = runs.next()?;
                continue;
            }
            let Some(key) = next else { return Ok(()) };
            // The newest memtable that knows the key has the word; all others step over it.
            let mut word: Option<Option<Bytes>> = None;
            for source in &mut memory {
                if let Some((_, value)) = source.next_if(|(other, _)| *other == key) {
                    word.get_or_insert(value);
                }
            }
            if stored.as_ref().is_some_and(|(other, _)| *other == key) {
                stored = runs.next()?;
            }
            if let Some(Some(value)) = word
                && visit(&key[1..], &value)?.is_break()
            {
                return Ok(());
            }
        }
    }

    /// Visits all keys that begin with `prefix`.
    pub(crate) fn scan_prefix(
        &self,
        prefix: &Bytes,
        visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        self.scan(prefix, prefix, visit)
    }

    /// The user of that sub.
    pub(crate) fn find_sub(&self, sub: Sub) -> Result<Option<Ordinal>> {
        Ok(self.owner(UserKey::Sub(sub))?.map(|(ordinal, _)| ordinal))
    }

    /// The user of that sub, by the hash of its leaf in the digest tree.
    pub(crate) fn sub_owner(&self, sub: Sub, hash: u64) -> Result<Option<Owner>> {
        let mut room = Vec::new();
        self.find_owner(AttrId::SUB, hash, |deltas, ordinal| {
            let is_it = |cell: Option<CellValue<'_>>| matches!(cell, Some(CellValue::Bytes(bytes)) if *bytes == sub.0);
            self.with_cell(deltas, ordinal, AttrId::SUB, &mut room, is_it)
        })
    }

    /// The live user under `(attr, hash)` that `verify` confirms.
    fn find_owner(
        &self,
        attr: AttrId,
        hash: u64,
        mut verify: impl FnMut(&UserDeltas, Ordinal) -> Result<bool>,
    ) -> Result<Option<Owner>> {
        let mut found = None;
        let near = [AttrId::PASSWORD, attr].map(|attr| self.version.runs.column(attr));
        let visit = |key: &[u8], _: &[u8]| {
            let ordinal = Ordinal(last_number(key).unwrap_or_default());
            // What tells whether this is the one comes from memory while the rest is looked at, and the hash with it:
            // whoever is found mostly signs in.
            let guard = Guard::new();
            let mut near = near.map(|column| column.and_then(|column| column.open_cell(ordinal, &guard)));
            let deltas = self.deltas(ordinal);
            near.iter_mut().flatten().for_each(FoundCell::look);
            if self.is_live_under(&deltas, ordinal) && verify(&deltas, ordinal)? {
                found = Some((ordinal, deltas));
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        };
        let prefix = keyspace::alias_prefix(attr, hash);
        if self.version.memtables().any(|memtable| memtable.may_hold(&prefix)) {
            self.scan_prefix(&Bytes::copy_from_slice(&prefix), visit)?;
        } else {
            self.version.runs.each_key(&prefix, &prefix, visit)?;
        }
        Ok(found)
    }

    /// The owner of an alias value.
    pub(crate) fn find_alias(&self, attribute: &Attribute, value: &str) -> Result<Option<Ordinal>> {
        Ok(self.alias_owner(attribute, value)?.map(|(ordinal, _)| ordinal))
    }

    fn alias_owner(&self, attribute: &Attribute, value: &str) -> Result<Option<Owner>> {
        let mut room = Vec::new();
        let wanted = attribute.key(value);
        let hash = self.pool.alias_hash(&wanted);
        self.find_owner(attribute.id, hash, |deltas, ordinal| {
            if attribute.multi {
                let values = self.multi_values(ordinal, attribute)?;
                return Ok(values.iter().any(|value| attribute.key(&value.text()) == wanted));
            }
            self.with_cell(deltas, ordinal, attribute.id, &mut room, |cell| match cell {
                // Mostly it is asked for as it was typed.
                Some(CellValue::Bytes(bytes)) => {
                    bytes == value.as_bytes()
                        || std::str::from_utf8(bytes).is_ok_and(|text| attribute.key(text) == wanted)
                }
                _ => false,
            })
        })
    }

    /// The user that `user` names.
    ///
    /// # Errors
    /// `INVALID` if the attribute is no alias, or if a login names two users.
    pub fn resolve(&self, user: &UserRef) -> Result<Option<Ordinal>> {
        Ok(self.owner(user.into())?.map(|(ordinal, _)| ordinal))
    }

    /// The same, with what the memtables say of the user.
    pub(crate) fn owner(&self, user: UserKey<'_>) -> Result<Option<Owner>> {
        match user {
            UserKey::Sub(sub) => self.sub_owner(sub, leaf_hash(&self.pool.digest_key, &sub.text())),
            UserKey::Alias(attr, value) => self.alias_owner(self.alias_attribute(attr)?, value),
            UserKey::Login(text) => {
                let mut found: Option<Owner> = None;
                for attr in self.login_aliases() {
                    let Ok(attribute) = self.alias_attribute(&attr) else { continue };
                    let Some(owner) = self.alias_owner(attribute, text)? else { continue };
                    if found.as_ref().is_some_and(|(other, _)| *other != owner.0) {
                        return Err(Error::invalid("login names two users: name one by attr=value or by sub"));
                    }
                    found = Some(owner);
                }
                Ok(found)
            }
        }
    }

    fn alias_attribute(&self, attr: &str) -> Result<&Attribute> {
        self.schema().by_name(attr).filter(|attribute| attribute.alias != Alias::None).ok_or_else(|| {
            Error::invalid(
                "that attribute is no alias in this pool's schema: name the user by sub or by a unique attribute",
            )
        })
    }

    /// The aliases that `login=` tries, in order.
    fn login_aliases(&self) -> Vec<String> {
        let configured = self.config("login").and_then(|document| {
            let json: serde_json::Value = serde_json::from_str(&document.json).ok()?;
            let list = json.get("aliases").or_else(|| json.get("attributes")).unwrap_or(&json).as_array()?.clone();
            list.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        configured.unwrap_or_else(|| ["username", "email", "phone_number"].map(str::to_owned).to_vec())
    }

    /// The same, where a user must be there.
    pub(crate) fn require(&self, user: &UserRef) -> Result<Ordinal> {
        self.resolve(user)?.ok_or_else(no_user)
    }

    /// A user's sub.
    pub(crate) fn sub_of(&self, ordinal: Ordinal) -> Result<Sub> {
        self.with_cell(&self.deltas(ordinal), ordinal, AttrId::SUB, &mut Vec::new(), sub_in)?
    }

    /// The values of a multi-valued attribute, sorted bytewise.
    pub(crate) fn multi_values(&self, ordinal: Ordinal, attribute: &Attribute) -> Result<Vec<Value>> {
        let prefix = Key::new(keyspace::MULTI).ordinal(ordinal).attr(attribute.id).flat();
        let mut values = Vec::new();
        self.scan_prefix(&prefix, |key, _| {
            let value = Value::decode(attribute.ty, false, &key[prefix.len() - 1..])
                .map_err(|fault| Error::damaged(format!("{}: {fault}", attribute.name)))?;
            values.push(value);
            Ok(ControlFlow::Continue(()))
        })?;
        // The keys are in order of encoded values, a list in order of their texts.
        values.sort_by(|a, b| a.text().cmp(&b.text()));
        Ok(values)
    }

    /// A group's record.
    pub(crate) fn group_record(&self, name: &str) -> Result<Option<GroupRecord>> {
        let flat = Key::new(keyspace::GROUPS).rest(name.as_bytes()).flat();
        self.key(&flat)?.map(|bytes| GroupRecord::decode(&bytes).map_err(|fault| damaged(&fault))).transpose()
    }

    /// A user's sign-in state.
    pub(crate) fn sign_in(&self, deltas: &UserDeltas, ordinal: Ordinal) -> Result<SignIn> {
        match self.cell_under(deltas, ordinal, AttrId::SIGN_IN)? {
            Some(OwnedCell::Bytes(bytes)) => SignIn::decode(&bytes).map_err(|fault| damaged(&fault)),
            _ => Ok(SignIn::default()),
        }
    }

    /// A configuration document.
    pub fn config(&self, name: &str) -> Option<super::view::ConfigView> {
        let content = self.version.documents.by_name.get(format!("{CONFIG_PREFIX}{name}").as_str())?;
        let (version, json) = decode_document(content).ok()?;
        Some(super::view::ConfigView { version, json: json.into() })
    }

    /// What the pool's `password` document asks of new passwords; nothing where there is none.
    pub fn password_policy(&self) -> PasswordPolicy {
        let document = self.config("password");
        let json = document.and_then(|document| serde_json::from_str(&document.json).ok());
        json.and_then(|json| PasswordPolicy::parse(&json).ok()).unwrap_or_default()
    }

    /// The names of the configuration documents, sorted.
    pub fn config_names(&self) -> Vec<Box<str>> {
        let names = self.version.documents.by_name.keys();
        names.filter_map(|name| name.strip_prefix(CONFIG_PREFIX)).map(Into::into).collect()
    }
}

/// The sub in its cell.
pub(crate) fn sub_in(cell: Option<CellValue<'_>>) -> Result<Sub> {
    match cell {
        Some(CellValue::Bytes(bytes)) => {
            bytes.try_into().map(Sub).map_err(|_| Error::damaged("a user's sub is not 16 bytes; run stoa verify"))
        }
        _ => Err(Error::damaged("a user has no sub; run stoa verify")),
    }
}

pub(crate) fn no_user() -> Error {
    Error::new(ErrorKind::NoUser, "there is no such user in this pool")
}

pub(crate) fn no_group() -> Error {
    Error::new(ErrorKind::NoGroup, "there is no such group in this pool")
}

pub(crate) fn damaged(fault: &stoa_format::DecodeError) -> Error {
    Error::damaged(format!("{fault}; run stoa verify")).because(fault.clone())
}
