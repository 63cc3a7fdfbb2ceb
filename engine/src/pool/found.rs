//! A user that was found, read without copies: what a sign-in asks for, from one look-up.
//!
//! Invariants:
//! 1. A cell is what the newest memtable that knows the user says of it, otherwise what the runs say.
//! 2. All cells of a question are found, then looked at, then read: a user's cells lie in a page a column, and
//!    memory answers many questions in the time of one.

use sdd::Guard;
use stoa_format::{AttrId, DecodeError, Ordinal, Sub};

use super::deltas::{Known, UserDeltas};
use super::record::SignIn;
use super::request::{Status, UserRef};
use super::runs::cell_of;
use super::schema::{Attribute, Schema};
use super::snapshot::{Snapshot, sub_in};
use super::value::{CellValue, Value, ValueRef};
use super::view::UserView;
use crate::column::FoundCell;
use crate::error::{Error, Result};

/// How a user is named: a [`UserRef`], lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserKey<'k> {
    /// By the immutable UUID.
    Sub(Sub),
    /// By a unique alias: attribute name, and value in any form that its collation takes as equal.
    Alias(&'k str, &'k str),
    /// By any of the aliases that the pool's `login` document names.
    Login(&'k str),
}

impl<'k> From<&'k UserRef> for UserKey<'k> {
    fn from(user: &'k UserRef) -> Self {
        match user {
            UserRef::Sub(sub) => Self::Sub(*sub),
            UserRef::Alias { attr, value } => Self::Alias(attr, value),
            UserRef::Login(text) => Self::Login(text),
        }
    }
}

/// The built-in fields of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserFields {
    /// The immutable UUID.
    pub sub: Sub,
    /// +1 for each change of profile or credentials.
    pub version: u64,
    /// May sign in, as far as the operator is concerned.
    pub enabled: bool,
    /// The sign-in status.
    pub status: Status,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub updated_at_ms: u64,
}

/// A live user in one state of a pool.
pub struct FoundUser<'s> {
    snapshot: &'s Snapshot,
    ordinal: Ordinal,
    deltas: UserDeltas,
}

/// The columns of the built-in fields, in the order in which `Found::fields` reads them.
const FIELDS: [AttrId; 6] =
    [AttrId::SUB, AttrId::VERSION, AttrId::ENABLED, AttrId::STATUS, AttrId::CREATED_AT, AttrId::UPDATED_AT];

/// So many cells are looked for at once: more than memory answers in the time of one.
const AT_ONCE: usize = 32;
/// Room for values that have to be put together: mostly enough, so that it need not grow.
const ROOM_BYTES: usize = 1024;

/// What the memtables say of a user, and where the runs say the rest.
struct Found<'f> {
    user: &'f FoundUser<'f>,
    known: Known<'f>,
    guard: &'f Guard,
}

impl<'f> Found<'f> {
    /// Finds the cells that the memtables do not know, for [`Found::with`]; of the others nothing.
    #[inline]
    fn find(&self, attrs: impl Iterator<Item = AttrId>, cells: &mut [FoundCell<'f>]) -> Result<()> {
        for (attr, cell) in attrs.zip(cells) {
            *cell = match (self.known.look(attr), self.user.snapshot.version.runs.column(attr)) {
                (None, Some(column)) => column.find_cell(self.user.ordinal, self.guard)?,
                _ => FoundCell::default(),
            };
        }
        Ok(())
    }

    /// Gives the attribute's cell to `read`; `cell` is what [`Found::find`] found of it.
    #[inline]
    fn with<R>(
        &self,
        attr: AttrId,
        cell: &FoundCell<'f>,
        room: &mut Vec<u8>,
        read: impl FnOnce(Option<CellValue<'_>>) -> R,
    ) -> Result<R> {
        match self.known.look(attr) {
            Some(known) => Ok(read(known)),
            None => Ok(cell.with_in(room, |cell| read(cell_of(&cell)))?),
        }
    }

    fn int(&self, attr: AttrId, cell: &FoundCell<'f>, room: &mut Vec<u8>) -> Result<i64> {
        self.with(attr, cell, room, |cell| match cell {
            Some(CellValue::Int(value)) => value,
            _ => 0,
        })
    }

    /// The built-in fields; `cells` are those of [`FIELDS`].
    fn fields(&self, cells: &[FoundCell<'f>; FIELDS.len()], room: &mut Vec<u8>) -> Result<UserFields> {
        let [sub, version, enabled, status, created_at, updated_at] = cells;
        Ok(UserFields {
            sub: self.with(AttrId::SUB, sub, room, sub_in)??,
            version: self.int(AttrId::VERSION, version, room)? as u64,
            enabled: self.int(AttrId::ENABLED, enabled, room)? != 0,
            status: status_of(self.int(AttrId::STATUS, status, room)?)?,
            created_at_ms: self.int(AttrId::CREATED_AT, created_at, room)? as u64,
            updated_at_ms: self.int(AttrId::UPDATED_AT, updated_at, room)? as u64,
        })
    }
}

impl Snapshot {
    /// The user that `user` names.
    ///
    /// # Errors
    /// `INVALID` if the attribute is no alias or if a login names two users; `DAMAGED`, `IOERROR`.
    pub fn find<'k>(&self, user: impl Into<UserKey<'k>>) -> Result<Option<FoundUser<'_>>> {
        let found = self.owner(user.into())?;
        Ok(found.map(|(ordinal, deltas)| FoundUser { snapshot: self, ordinal, deltas }))
    }

    /// The live user of this ordinal.
    pub(super) fn found(&self, ordinal: Ordinal) -> FoundUser<'_> {
        FoundUser { snapshot: self, ordinal, deltas: self.deltas(ordinal) }
    }
}

impl FoundUser<'_> {
    /// The user's sub.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn sub(&self) -> Result<Sub> {
        self.with_cell(AttrId::SUB, sub_in)?
    }

    /// The built-in fields.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn fields(&self) -> Result<UserFields> {
        let guard = Guard::new();
        let found = self.all(&guard);
        let mut cells = [FoundCell::default(); FIELDS.len()];
        found.find(FIELDS.into_iter(), &mut cells)?;
        cells.iter_mut().for_each(FoundCell::look);
        found.fields(&cells, &mut Vec::new())
    }

    /// The built-in fields, and to `visit` each attribute that is set, in the schema's order. `visit` must be short:
    /// while it runs no page that others let go of is freed.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn profile(&self, mut visit: impl FnMut(&Attribute, ValueRef<'_>)) -> Result<UserFields> {
        let guard = Guard::new();
        let found = self.all(&guard);
        let mut fields = [FoundCell::default(); FIELDS.len()];
        let mut cells = [FoundCell::default(); AT_ONCE];
        found.find(FIELDS.into_iter(), &mut fields)?;
        let mut room = vec![0; ROOM_BYTES];
        for (turn, attributes) in self.snapshot.schema().attributes().chunks(AT_ONCE).enumerate() {
            let cells = &mut cells[..attributes.len()];
            found.find(attributes.iter().map(|attribute| attribute.id), cells)?;
            if turn == 0 {
                fields.iter_mut().for_each(FoundCell::look);
            }
            cells.iter_mut().for_each(FoundCell::look);
            for (attribute, cell) in attributes.iter().zip(cells) {
                if attribute.multi {
                    let values = self.list(attribute)?;
                    if !values.is_empty() {
                        visit(attribute, ValueRef::Multi(&values));
                    }
                    continue;
                }
                found.with(attribute.id, cell, &mut room, |cell| match cell {
                    Some(cell) => value_in(attribute, cell).map(|value| visit(attribute, value)),
                    None => Ok(()),
                })??;
            }
        }
        found.fields(&fields, &mut room)
    }

    /// One attribute's value to `read`; `None` if it is not set.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn with_value<R>(&self, attribute: &Attribute, read: impl FnOnce(Option<ValueRef<'_>>) -> R) -> Result<R> {
        if attribute.multi {
            let values = self.list(attribute)?;
            return Ok(read((!values.is_empty()).then_some(ValueRef::Multi(&values))));
        }
        self.with_cell(attribute.id, |cell| cell.map(|cell| value_in(attribute, cell)).transpose().map(read))?
    }

    /// The stored password hash to `read`; `None` if there is none.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn with_password<R>(&self, read: impl FnOnce(Option<&str>) -> R) -> Result<R> {
        self.with_cell(AttrId::PASSWORD, |cell| password_in(cell).map(read))?
    }

    /// What a sign-in asks for: to `read` the status, whether the user is enabled, and the stored password hash;
    /// `None` if there is none.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn with_sign_in<R>(&self, read: impl FnOnce(Status, bool, Option<&str>) -> R) -> Result<R> {
        const ATTRS: [AttrId; 3] = [AttrId::STATUS, AttrId::ENABLED, AttrId::PASSWORD];
        let guard = Guard::new();
        let (found, mut room) = (self.all(&guard), Vec::new());
        let mut cells = [FoundCell::default(); ATTRS.len()];
        found.find(ATTRS.into_iter(), &mut cells)?;
        cells.iter_mut().for_each(FoundCell::look);
        let [status, enabled, password] = &cells;
        let status = status_of(found.int(AttrId::STATUS, status, &mut room)?)?;
        let enabled = found.int(AttrId::ENABLED, enabled, &mut room)? != 0;
        let read = |cell: Option<CellValue<'_>>| password_in(cell).map(|hash| read(status, enabled, hash));
        found.with(AttrId::PASSWORD, password, &mut room, read)?
    }

    /// When the password was set, milliseconds since the Unix epoch; 0 if there is none.
    pub(super) fn password_set_at_ms(&self) -> Result<u64> {
        self.with_cell(AttrId::PASSWORD_SET_AT, |cell| match cell {
            Some(CellValue::Int(value)) => value as u64,
            _ => 0,
        })
    }

    /// A copy of it all.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub(super) fn view(&self) -> Result<UserView> {
        let mut attrs = Vec::with_capacity(self.snapshot.schema().attributes().len());
        let fields =
            self.profile(|attribute, value| attrs.push((attribute.name.shared(), Some(value.into_owned()))))?;
        Ok(UserView { attrs, ..fields.into() })
    }

    /// An attribute or built-in field by name.
    pub(super) fn named(&self, name: &str, fields: &UserFields) -> Result<Option<Value>> {
        Ok(Some(match name {
            "sub" => Value::Str(fields.sub.to_string().into()),
            "version" => Value::Int(fields.version as i64),
            "enabled" => Value::Bool(fields.enabled),
            "status" => Value::Str(fields.status.word().into()),
            "created_at" => Value::Time(fields.created_at_ms as i64),
            "updated_at" => Value::Time(fields.updated_at_ms as i64),
            "locked" => Value::Bool(self.sign_in()?.locked_until_ms > self.snapshot.pool.now_ms()),
            _ => {
                let attribute = by_name(self.snapshot.schema(), name)?;
                return self.with_value(attribute, |value| value.map(ValueRef::into_owned));
            }
        }))
    }

    fn sign_in(&self) -> Result<SignIn> {
        self.snapshot.sign_in(&self.deltas, self.ordinal)
    }

    /// The values of a multi-valued attribute.
    fn list(&self, attribute: &Attribute) -> Result<Vec<Value>> {
        self.snapshot.multi_values(self.ordinal, attribute)
    }

    /// For who asks for many cells.
    fn all<'f>(&'f self, guard: &'f Guard) -> Found<'f> {
        Found { user: self, known: self.deltas.known(), guard }
    }

    /// Gives one cell to `read`.
    fn with_cell<R>(&self, attr: AttrId, read: impl FnOnce(Option<CellValue<'_>>) -> R) -> Result<R> {
        self.snapshot.with_cell(&self.deltas, self.ordinal, attr, &mut Vec::new(), read)
    }
}

impl From<UserFields> for UserView {
    fn from(fields: UserFields) -> Self {
        let UserFields { sub, version, enabled, status, created_at_ms, updated_at_ms } = fields;
        Self { sub, version, enabled, status, created_at_ms, updated_at_ms, attrs: Vec::new() }
    }
}

impl UserView {
    /// The built-in fields.
    pub fn fields(&self) -> UserFields {
        let &Self { sub, version, enabled, status, created_at_ms, updated_at_ms, .. } = self;
        UserFields { sub, version, enabled, status, created_at_ms, updated_at_ms }
    }
}

/// The attribute of a name that a caller gave.
pub(super) fn by_name<'s>(schema: &'s Schema, name: &str) -> Result<&'s Attribute> {
    schema
        .by_name(name)
        .ok_or_else(|| Error::invalid("an attribute named to be read is not in this pool's schema: see POOL.INFO"))
}

fn status_of(code: i64) -> Result<Status> {
    Status::from_code(code).ok_or_else(|| Error::damaged("a user's status is unknown; run stoa verify"))
}

fn password_in<'c>(cell: Option<CellValue<'c>>) -> Result<Option<&'c str>> {
    match cell {
        Some(CellValue::Bytes(bytes)) => std::str::from_utf8(bytes)
            .map(Some)
            .map_err(|_| Error::damaged("a password hash is not UTF-8; run stoa verify")),
        _ => Ok(None),
    }
}

#[inline]
fn value_in<'c>(attribute: &Attribute, cell: CellValue<'c>) -> Result<ValueRef<'c>> {
    ValueRef::from_cell(attribute.ty, cell).map_err(|fault| damaged_value(attribute, &fault))
}

#[cold]
fn damaged_value(attribute: &Attribute, fault: &DecodeError) -> Error {
    Error::damaged(format!("{}: {fault}; run stoa verify", attribute.name))
}
