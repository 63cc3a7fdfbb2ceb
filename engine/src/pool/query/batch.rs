//! Several users at once, a column at a time: what lists, digests and scans read by.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use stoa_format::{AttrId, Keyspace, Ordinal, Sub};

use crate::error::{Error, Result};
use crate::pool::keyspace::{self, Key, first_number};
use crate::pool::record::SignIn;
use crate::pool::request::Status;
use crate::pool::runs::{OwnedCell, cell_of};
use crate::pool::schema::Attribute;
use crate::pool::snapshot::{Snapshot, UserDeltas, damaged};
use crate::pool::value::{CellValue, Value};
use crate::pool::view::{Select, UserView};

/// Users that lie so far apart, on average, are looked up in the memtables one by one.
const FAR_APART: u64 = 16;

/// Live users of one snapshot, in order of creation.
pub(crate) struct Batch<'a> {
    snapshot: &'a Snapshot,
    ordinals: Vec<Ordinal>,
    /// What the memtables say of each; empty if they say nothing of any.
    deltas: Vec<UserDeltas>,
}

impl<'a> Batch<'a> {
    /// These users, ascending, who are live.
    pub(crate) fn new(snapshot: &'a Snapshot, ordinals: Vec<Ordinal>) -> Self {
        assert!(ordinals.is_sorted(), "columns are read in order of ordinals");
        let deltas = deltas(snapshot, &ordinals);
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
        self.each_cell(attr, |at, cell| cells[at] = cell.map(OwnedCell::from))?;
        Ok(cells)
    }

    /// Gives the cell of each user, once, to `visit`, with the user's place in this batch; without a copy.
    fn each_cell(&self, attr: AttrId, mut visit: impl FnMut(usize, Option<CellValue<'_>>)) -> Result<()> {
        let stack = self.snapshot.version.runs.column(attr);
        if self.deltas.is_empty() {
            let mut places = 0..;
            match stack {
                Some(stack) => stack.get_many(&self.ordinals, |_, cell| {
                    places.next().into_iter().for_each(|at| visit(at, cell_of(&cell)));
                })?,
                None => (0..self.len()).for_each(|at| visit(at, None)),
            }
            return Ok(());
        }
        let (mut asked, mut places) = (Vec::new(), Vec::new());
        for (at, deltas) in self.deltas.iter().enumerate() {
            match deltas.find(attr) {
                Some(found) => visit(at, found.as_ref().map(OwnedCell::as_cell)),
                None => {
                    asked.push(self.ordinals[at]);
                    places.push(at);
                }
            }
        }
        let mut places = places.into_iter();
        match stack {
            Some(stack) => stack.get_many(&asked, |_, cell| {
                places.next().into_iter().for_each(|at| visit(at, cell_of(&cell)));
            })?,
            None => places.for_each(|at| visit(at, None)),
        }
        Ok(())
    }

    /// Gives the value of each user who has one to `take`.
    fn each_value(&self, attribute: &Attribute, mut take: impl FnMut(usize, Value)) -> Result<()> {
        let mut failed = None;
        self.each_cell(attribute.id, |at, cell| match cell.map(|cell| Value::from_cell(attribute.ty, cell)) {
            None => {}
            Some(Ok(value)) => take(at, value),
            Some(Err(fault)) => {
                failed.get_or_insert(fault);
            }
        })?;
        failed.map_or(Ok(()), |fault| Err(damaged(&fault)))
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
                let runs = &self.snapshot.version.runs;
                let columns = schema.attributes().iter().filter(|attribute| runs.column(attribute.id).is_some());
                let columns = columns.count();
                views.iter_mut().for_each(|view| view.attrs.reserve(columns));
                for attribute in schema.attributes() {
                    let name = attribute.name.shared();
                    if attribute.multi {
                        for (at, view) in views.iter_mut().enumerate() {
                            let list = lists.remove(&(at, attribute.id));
                            view.attrs.extend(list.map(|list| (Arc::clone(&name), Some(list))));
                        }
                        continue;
                    }
                    self.each_value(attribute, |at, value| views[at].attrs.push((Arc::clone(&name), Some(value))))?;
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
        let mut subs = vec![Sub::NIL; self.len()];
        let mut lacking = false;
        self.each_cell(AttrId::SUB, |at, cell| match cell {
            Some(CellValue::Bytes(bytes)) if bytes.len() == 16 => subs[at].0.copy_from_slice(bytes),
            _ => lacking = true,
        })?;
        if lacking { Err(Error::damaged("a user has no sub; run stoa verify")) } else { Ok(subs) }
    }

    /// A column of numbers; 0 where there is none.
    pub(crate) fn ints(&self, attr: AttrId) -> Result<Vec<i64>> {
        let mut numbers = vec![0; self.len()];
        self.each_cell(attr, |at, cell| {
            if let Some(CellValue::Int(value)) = cell {
                numbers[at] = value;
            }
        })?;
        Ok(numbers)
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
        let mut values = vec![None; self.len()];
        self.each_value(attribute, |at, value| values[at] = Some(value))?;
        Ok(values)
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

/// What the memtables say of each of these ascending users; nothing if they say nothing of any.
fn deltas(snapshot: &Snapshot, ordinals: &[Ordinal]) -> Vec<UserDeltas> {
    let (Some(&first), Some(&last)) = (ordinals.first(), ordinals.last()) else { return Vec::new() };
    if snapshot.version.memtables().all(|memtable| memtable.is_empty()) {
        return Vec::new();
    }
    if last.0 - first.0 > FAR_APART * ordinals.len() as u64 {
        return ordinals.iter().map(|ordinal| snapshot.deltas(*ordinal)).collect();
    }
    let changed = snapshot.changed(first, last);
    if changed.is_empty() {
        return Vec::new();
    }
    let of = |ordinal: &Ordinal| match changed.contains(ordinal.0 as u32) {
        true => snapshot.deltas(*ordinal),
        false => UserDeltas::default(),
    };
    ordinals.iter().map(of).collect()
}
