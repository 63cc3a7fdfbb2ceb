//! Several users at once, a column at a time: what lists, digests and scans read by.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use stoa_format::{AttrId, Keyspace, Ordinal, Sub};

use crate::error::{Error, Result};
use crate::pool::draft::cell_value;
use crate::pool::keyspace::{self, Key, first_number};
use crate::pool::record::SignIn;
use crate::pool::request::Status;
use crate::pool::runs::OwnedCell;
use crate::pool::schema::Attribute;
use crate::pool::snapshot::{Snapshot, UserDeltas, damaged};
use crate::pool::value::Value;
use crate::pool::view::{Select, UserView};

/// So few users are looked up in the memtables one by one.
const FEW_USERS: usize = 64;

/// Live users of one snapshot, in order of creation.
pub(crate) struct Batch<'a> {
    snapshot: &'a Snapshot,
    ordinals: Vec<Ordinal>,
    deltas: Vec<UserDeltas>,
}

impl<'a> Batch<'a> {
    /// These users, ascending, who are live.
    pub(crate) fn new(snapshot: &'a Snapshot, ordinals: Vec<Ordinal>) -> Self {
        assert!(ordinals.is_sorted(), "columns are read in order of ordinals");
        let deltas = match (ordinals.first(), ordinals.last()) {
            (Some(&first), Some(&last)) if ordinals.len() > FEW_USERS => {
                let changed = snapshot.changed(first, last);
                let of = |ordinal: &Ordinal| match changed.contains(ordinal.0 as u32) {
                    true => snapshot.deltas(*ordinal),
                    false => UserDeltas::default(),
                };
                ordinals.iter().map(of).collect()
            }
            _ => ordinals.iter().map(|ordinal| snapshot.deltas(*ordinal)).collect(),
        };
        Self { snapshot, ordinals, deltas }
    }

    /// What is read.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        self.snapshot
    }

    /// How many users these are.
    pub(crate) fn len(&self) -> usize {
        self.ordinals.len()
    }

    /// The users.
    pub(crate) fn ordinals(&self) -> &[Ordinal] {
        &self.ordinals
    }

    /// The cells of a column, one a user.
    pub(crate) fn column(&self, attr: AttrId) -> Result<Vec<Option<OwnedCell>>> {
        let mut cells: Vec<Option<OwnedCell>> = vec![None; self.ordinals.len()];
        let (mut asked, mut places) = (Vec::new(), Vec::new());
        for (at, deltas) in self.deltas.iter().enumerate() {
            match deltas.find(attr) {
                Some(found) => cells[at] = found,
                None => {
                    asked.push(self.ordinals[at]);
                    places.push(at);
                }
            }
        }
        if let Some(stack) = self.snapshot.version.runs.column(attr)
            && !asked.is_empty()
        {
            let mut places = places.into_iter();
            stack.get_many(&asked, |_, cell| {
                if let Some(at) = places.next() {
                    cells[at] = OwnedCell::of(cell);
                }
            })?;
        }
        Ok(cells)
    }

    /// Visits the keys of a keyspace that begin with a user's ordinal: the user's place in this
    /// batch, the key behind the ordinal, the value. In order of keys.
    pub(crate) fn each_key(
        &self,
        keyspace: Keyspace,
        mut visit: impl FnMut(usize, &[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let (Some(&first), Some(&last)) = (self.ordinals.first(), self.ordinals.last()) else { return Ok(()) };
        if last.0 - first.0 < 4 * self.ordinals.len() as u64 {
            let mut at = 0;
            let from = Key::new(keyspace).ordinal(first).flat();
            return self.snapshot.scan(&keyspace::start_of(keyspace), &from, |key, value| {
                let Some(ordinal) = first_number(key) else { return Ok(ControlFlow::Continue(())) };
                if ordinal > last.0 {
                    return Ok(ControlFlow::Break(()));
                }
                while self.ordinals[at].0 < ordinal {
                    at += 1;
                }
                if self.ordinals[at].0 == ordinal {
                    visit(at, &key[8..], value)?;
                }
                Ok(ControlFlow::Continue(()))
            });
        }
        for (at, ordinal) in self.ordinals.iter().enumerate() {
            self.snapshot.scan_prefix(&Key::new(keyspace).ordinal(*ordinal).flat(), |key, value| {
                visit(at, &key[8..], value)?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(())
    }

    /// The values of multi-valued attributes of which `wanted` says yes, by the user's place in
    /// this batch and attribute.
    pub(crate) fn lists(&self, wanted: impl Fn(&Attribute) -> bool) -> Result<HashMap<(usize, AttrId), Value>> {
        let schema = self.snapshot.schema();
        let mut elements: HashMap<(usize, AttrId), Vec<Value>> = HashMap::new();
        if !schema.attributes().iter().any(|attribute| attribute.multi && wanted(attribute)) {
            return Ok(HashMap::new());
        }
        self.each_key(keyspace::MULTI, |at, key, _| {
            let Some((attr, raw)) = key.split_first_chunk::<2>() else { return Ok(()) };
            let attr = AttrId(u16::from_be_bytes(*attr));
            if let Some(attribute) = schema.by_id(attr).filter(|attribute| wanted(attribute)) {
                let value = Value::decode(attribute.ty, false, raw).map_err(|fault| damaged(&fault))?;
                elements.entry((at, attr)).or_default().push(value);
            }
            Ok(())
        })?;
        let lists = elements.into_iter().map(|(place, values)| {
            let list = Value::multi(values).map_err(|fault| Error::damaged(format!("a list {fault}; run stoa verify")));
            Ok((place, list?))
        });
        lists.collect()
    }

    /// The views of all users.
    pub(crate) fn views(&self, select: &Select) -> Result<Vec<UserView>> {
        let mut views = self.bare_views()?;
        let schema = self.snapshot.schema();
        match select {
            Select::Nothing => {}
            Select::All => {
                let mut lists = self.lists(|_| true)?;
                for attribute in schema.attributes() {
                    let name = attribute.name.shared();
                    for (at, value) in self.values(attribute, &mut lists)?.into_iter().enumerate() {
                        if let Some(value) = value {
                            views[at].attrs.push((Arc::clone(&name), Some(value)));
                        }
                    }
                }
            }
            Select::Named(names) => {
                let mut lists = self.lists(|attribute| names.iter().any(|name| **name == *attribute.name))?;
                for name in names.iter() {
                    let shared: Arc<str> = Arc::from(&**name);
                    for (at, value) in self.named(name, &views, &mut lists)?.into_iter().enumerate() {
                        views[at].attrs.push((Arc::clone(&shared), value));
                    }
                }
            }
        }
        Ok(views)
    }

    fn bare_views(&self) -> Result<Vec<UserView>> {
        let subs = self.subs()?;
        let columns = [AttrId::VERSION, AttrId::ENABLED, AttrId::STATUS, AttrId::CREATED_AT, AttrId::UPDATED_AT];
        let [versions, enabled, statuses, created, updated] = columns.map(|attr| self.ints(attr));
        let (versions, enabled, statuses, created, updated) = (versions?, enabled?, statuses?, created?, updated?);
        let mut views = Vec::with_capacity(self.len());
        for (at, sub) in subs.into_iter().enumerate() {
            let status = Status::from_code(statuses[at])
                .ok_or_else(|| Error::damaged("a user's status is unknown; run stoa verify"))?;
            views.push(UserView {
                sub,
                version: versions[at] as u64,
                enabled: enabled[at] != 0,
                status,
                created_at_ms: created[at] as u64,
                updated_at_ms: updated[at] as u64,
                attrs: Vec::new(),
            });
        }
        Ok(views)
    }

    /// Everyone's sub.
    pub(crate) fn subs(&self) -> Result<Vec<Sub>> {
        let sub = |cell: Option<OwnedCell>| match cell {
            Some(OwnedCell::Bytes(bytes)) if bytes.len() == 16 => {
                let mut sub = Sub::NIL;
                sub.0.copy_from_slice(&bytes);
                Ok(sub)
            }
            _ => Err(Error::damaged("a user has no sub; run stoa verify")),
        };
        self.column(AttrId::SUB)?.into_iter().map(sub).collect()
    }

    /// A column of numbers; 0 where there is none.
    pub(crate) fn ints(&self, attr: AttrId) -> Result<Vec<i64>> {
        let cells = self.column(attr)?;
        Ok(cells.into_iter().map(|cell| cell.and_then(|cell| cell.as_int()).unwrap_or_default()).collect())
    }

    /// The values of an attribute; those of multi-valued ones are taken out of `lists`.
    pub(crate) fn values(
        &self,
        attribute: &Attribute,
        lists: &mut HashMap<(usize, AttrId), Value>,
    ) -> Result<Vec<Option<Value>>> {
        if attribute.multi {
            return Ok((0..self.len()).map(|at| lists.remove(&(at, attribute.id))).collect());
        }
        let cells = self.column(attribute.id)?.into_iter();
        cells.map(|cell| cell.map(|cell| cell_value(attribute, &cell)).transpose()).collect()
    }

    /// An attribute or built-in field by name.
    fn named(
        &self,
        name: &str,
        views: &[UserView],
        lists: &mut HashMap<(usize, AttrId), Value>,
    ) -> Result<Vec<Option<Value>>> {
        let built_in = |field: &dyn Fn(&UserView) -> Value| Ok(views.iter().map(|view| Some(field(view))).collect());
        match name {
            "sub" => built_in(&|view| Value::Str(view.sub.to_string().into())),
            "version" => built_in(&|view| Value::Int(view.version as i64)),
            "enabled" => built_in(&|view| Value::Bool(view.enabled)),
            "status" => built_in(&|view| Value::Str(view.status.word().into())),
            "created_at" => built_in(&|view| Value::Time(view.created_at_ms as i64)),
            "updated_at" => built_in(&|view| Value::Time(view.updated_at_ms as i64)),
            "locked" => {
                let now_ms = self.snapshot.pool.now_ms();
                let locked = |cell: Option<OwnedCell>| match cell {
                    Some(OwnedCell::Bytes(bytes)) => {
                        let state = SignIn::decode(&bytes).map_err(|fault| damaged(&fault))?;
                        Ok(Some(Value::Bool(state.locked_until_ms > now_ms)))
                    }
                    _ => Ok(Some(Value::Bool(false))),
                };
                self.column(AttrId::SIGN_IN)?.into_iter().map(locked).collect()
            }
            _ => {
                let attribute = self.snapshot.schema().by_name(name).ok_or_else(|| {
                    Error::invalid("an attribute named to be read is not in this pool's schema: see POOL.INFO")
                })?;
                self.values(attribute, lists)
            }
        }
    }
}
