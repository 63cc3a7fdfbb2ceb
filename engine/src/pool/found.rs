//! A user that was found, read without copies: what a sign-in asks for, from one look-up.
//!
//! Invariants:
//! 1. A cell is what the newest memtable that knows the user says of it, otherwise what the runs say.
//! 2. All cells of a question are found, then looked at, then read: a user's cells lie in a page a column, and
//!    memory answers many questions in the time of one.

use sdd::Guard;
use smallvec::SmallVec;
use stoa_format::{AttrId, DecodeError, Ordinal, Sub};

use super::record::SignIn;
use super::request::{Status, UserRef};
use super::runs::cell_of;
use super::schema::{Attribute, Schema};
use super::snapshot::{Snapshot, UserDeltas};
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

/// The columns of the built-in fields, in the order in which `fields_in` reads them.
const FIELDS: [AttrId; 6] =
    [AttrId::SUB, AttrId::VERSION, AttrId::ENABLED, AttrId::STATUS, AttrId::CREATED_AT, AttrId::UPDATED_AT];

/// Where a cell is.
#[derive(Clone, Copy)]
enum Place<'g> {
    /// A memtable says this, or nobody says anything.
    Memory(Option<CellValue<'g>>),
    /// The runs say it, there.
    Run(FoundCell<'g>),
}

/// Of so many cells the places take no memory of their own.
type Places<'g> = SmallVec<[Place<'g>; 32]>;

/// Room for values that have to be put together: mostly enough, so that it need not grow.
const ROOM_BYTES: usize = 1024;

impl Place<'_> {
    #[inline]
    fn look(&mut self) {
        if let Self::Run(cell) = self {
            cell.look();
        }
    }

    #[inline]
    fn with<R>(&self, room: &mut Vec<u8>, read: impl FnOnce(Option<CellValue<'_>>) -> R) -> Result<R> {
        match self {
            Self::Memory(cell) => Ok(read(*cell)),
            Self::Run(cell) => Ok(cell.with_in(room, |cell| read(cell_of(&cell)))?),
        }
    }

    fn int(&self, room: &mut Vec<u8>) -> Result<i64> {
        self.with(room, |cell| match cell {
            Some(CellValue::Int(value)) => value,
            _ => 0,
        })
    }
}

/// Looks at all places, so that the cells come together.
fn look(places: &mut [Place<'_>]) {
    places.iter_mut().for_each(Place::look);
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
        sub_in(&self.place(AttrId::SUB, &Guard::new())?, &mut Vec::new())
    }

    /// The built-in fields.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn fields(&self) -> Result<UserFields> {
        let guard = Guard::new();
        let mut places = Places::new();
        self.add_places(FIELDS, &guard, &mut places)?;
        look(&mut places);
        fields_in(&places, &mut Vec::new())
    }

    /// The built-in fields, and to `visit` each attribute that is set, in the schema's order. `visit` must be short:
    /// while it runs no page that others let go of is freed.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn profile(&self, mut visit: impl FnMut(&Attribute, ValueRef<'_>)) -> Result<UserFields> {
        let guard = Guard::new();
        let attributes = self.snapshot.schema().attributes();
        let mut places = Places::with_capacity(FIELDS.len() + attributes.len());
        let attrs = FIELDS.into_iter().chain(attributes.iter().map(|attribute| attribute.id));
        self.add_places(attrs, &guard, &mut places)?;
        look(&mut places);
        let mut room = vec![0; ROOM_BYTES];
        let (fields, values) = places.split_at(FIELDS.len());
        let fields = fields_in(fields, &mut room)?;
        for (attribute, place) in attributes.iter().zip(values) {
            if attribute.multi {
                let values = self.list(attribute)?;
                if !values.is_empty() {
                    visit(attribute, ValueRef::Multi(&values));
                }
                continue;
            }
            place.with(&mut room, |cell| match cell {
                Some(cell) => value_in(attribute, cell).map(|value| visit(attribute, value)),
                None => Ok(()),
            })??;
        }
        Ok(fields)
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
        self.place(attribute.id, &Guard::new())?
            .with(&mut Vec::new(), |cell| cell.map(|cell| value_in(attribute, cell)).transpose().map(read))?
    }

    /// The stored password hash to `read`; `None` if there is none.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn with_password<R>(&self, read: impl FnOnce(Option<&str>) -> R) -> Result<R> {
        self.place(AttrId::PASSWORD, &Guard::new())?.with(&mut Vec::new(), |cell| password_in(cell).map(read))?
    }

    /// What a sign-in asks for: to `read` the status, whether the user is enabled, and the stored password hash;
    /// `None` if there is none.
    ///
    /// # Errors
    /// `DAMAGED`, `IOERROR`.
    pub fn with_sign_in<R>(&self, read: impl FnOnce(Status, bool, Option<&str>) -> R) -> Result<R> {
        const ATTRS: [AttrId; 3] = [AttrId::STATUS, AttrId::ENABLED, AttrId::PASSWORD];
        let (guard, mut room) = (Guard::new(), Vec::new());
        let mut places = Places::new();
        self.add_places(ATTRS, &guard, &mut places)?;
        look(&mut places);
        let [status, enabled, password] = &places[..] else {
            unreachable!("there is a place for each attribute that was asked for")
        };
        let (status, enabled) = (status_of(status.int(&mut room)?)?, enabled.int(&mut room)? != 0);
        password.with(&mut room, |cell| password_in(cell).map(|hash| read(status, enabled, hash)))?
    }

    /// When the password was set, milliseconds since the Unix epoch; 0 if there is none.
    pub(super) fn password_set_at_ms(&self) -> Result<u64> {
        Ok(self.place(AttrId::PASSWORD_SET_AT, &Guard::new())?.int(&mut Vec::new())? as u64)
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

    fn add_places<'g>(
        &'g self,
        attrs: impl IntoIterator<Item = AttrId>,
        guard: &'g Guard,
        places: &mut Places<'g>,
    ) -> Result<()> {
        let known = self.deltas.known();
        for attr in attrs {
            places.push(self.place_unless(known.look(attr), attr, guard)?);
        }
        Ok(())
    }

    fn place<'g>(&'g self, attr: AttrId, guard: &'g Guard) -> Result<Place<'g>> {
        self.place_unless(self.deltas.look(attr), attr, guard)
    }

    /// Where a cell is, of which the memtables say this.
    #[inline(always)]
    fn place_unless<'g>(
        &'g self,
        known: Option<Option<CellValue<'g>>>,
        attr: AttrId,
        guard: &'g Guard,
    ) -> Result<Place<'g>> {
        Ok(match (known, self.snapshot.version.runs.column(attr)) {
            (Some(cell), _) => Place::Memory(cell),
            (None, Some(column)) => Place::Run(column.find_cell(self.ordinal, guard)?),
            (None, None) => Place::Memory(None),
        })
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

/// The built-in fields in the places of [`FIELDS`].
fn fields_in(places: &[Place<'_>], room: &mut Vec<u8>) -> Result<UserFields> {
    let [sub, version, enabled, status, created_at, updated_at] = places else {
        unreachable!("there is a place for each built-in field")
    };
    Ok(UserFields {
        sub: sub_in(sub, room)?,
        version: version.int(room)? as u64,
        enabled: enabled.int(room)? != 0,
        status: status_of(status.int(room)?)?,
        created_at_ms: created_at.int(room)? as u64,
        updated_at_ms: updated_at.int(room)? as u64,
    })
}

fn sub_in(place: &Place<'_>, room: &mut Vec<u8>) -> Result<Sub> {
    let sub = place.with(room, |cell| match cell {
        Some(CellValue::Bytes(bytes)) => <[u8; 16]>::try_from(bytes).ok().map(Sub),
        _ => None,
    })?;
    sub.ok_or_else(|| Error::damaged("a user has no sub; run stoa verify"))
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
