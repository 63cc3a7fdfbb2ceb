//! Several users at once, a column at a time: what lists, digests and scans read by.

use std::collections::HashMap;
use std::ops::ControlFlow;

use stoa_format::{AttrId, Keyspace, Ordinal, Sub};

use crate::error::{Error, Result};
use crate::pool::deltas::UserDeltas;
use crate::pool::keyspace::{self, Key, first_number};
use crate::pool::runs::{OwnedCell, cell_of};
use crate::pool::schema::Attribute;
use crate::pool::snapshot::{Snapshot, damaged};
use crate::pool::value::{CellValue, Value};

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

    /// Whether the memtables say anything of any of them.
    pub(super) fn has_deltas(&self) -> bool {
        !self.deltas.is_empty()
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
    pub(super) fn each_cell(&self, attr: AttrId, mut visit: impl FnMut(usize, Option<CellValue<'_>>)) -> Result<()> {
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
            match deltas.look(attr) {
                Some(found) => visit(at, found),
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
