//! The change feed: what was committed, transaction by transaction, without a gap.

pub(crate) mod frames;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use stoa_format::ops::{CellRef, Cells, EventKind, FrameReader, Operation, Subject, TransactionReader};
use stoa_format::{AttrId, Ordinal, Seq, Sub};

use super::Pool;
use super::draft::cell_value;
use super::request::Status;
use super::runs::OwnedCell;
use super::snapshot::{Snapshot, damaged};
use super::value::Value;
use super::view::{Change, ChangeOp};
use crate::error::Result;

/// No more transactions than this are answered at once.
const COUNT_MAX: usize = 10_000;

impl Pool {
    /// The transactions from `from` on, at most `count`, oldest first: those that are durable, each
    /// once. `values` adds the values that were set; a user that is gone by now shows none.
    ///
    /// # Errors
    /// `EXPIRED`, naming the oldest Seq that is left, if `from` is older; `DAMAGED`, `IOERROR`.
    pub fn changes(&self, from: Seq, count: usize, values: bool) -> Result<Vec<Change>> {
        let count = count.min(COUNT_MAX);
        let from = Seq(from.0.max(1));
        let snapshot = self.snapshot();
        let mut changes = Vec::new();
        if count == 0 {
            return Ok(changes);
        }
        self.open.walk_frames(from, count, &mut |inner, plain| {
            let mut frame = FrameReader::decode(plain).map_err(|fault| damaged(&fault))?;
            let mut seq = inner.first_seq;
            while let Some(transaction) = frame.next_transaction().map_err(|fault| damaged(&fault))? {
                if seq >= from && seq <= snapshot.seq {
                    let ops = operations(&snapshot, transaction, plain, values)?;
                    changes.push(Change { seq, time_ms: frame.time_ms, ops });
                    if changes.len() >= count {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                seq = Seq(seq.0 + 1);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(changes)
    }
}

/// One event with what is needed to tell its values.
struct Event<'a> {
    kind: EventKind,
    subject: Subject<'a>,
    version: u64,
    attrs: Vec<AttrId>,
}

fn operations(
    snapshot: &Snapshot,
    mut transaction: TransactionReader<'_>,
    plain: &Bytes,
    values: bool,
) -> Result<Vec<ChangeOp>> {
    let origin: Arc<str> = Arc::from(transaction.actor);
    let mut events = Vec::new();
    let mut puts: HashMap<Ordinal, Bytes> = HashMap::new();
    while let Some(op) = transaction.next_op().map_err(|fault| damaged(&fault))? {
        match op {
            Operation::Event { event, subject, version, attrs } => {
                events.push(Event { kind: event, subject, version, attrs });
            }
            Operation::Put { ordinal, cells, .. } if values => drop(puts.insert(ordinal, plain.slice_ref(cells))),
            _ => {}
        }
    }
    events.iter().map(|event| event.operation(snapshot, &origin, values.then_some(&puts))).collect()
}

impl Event<'_> {
    fn operation(
        &self,
        snapshot: &Snapshot,
        origin: &Arc<str>,
        puts: Option<&HashMap<Ordinal, Bytes>>,
    ) -> Result<ChangeOp> {
        let (sub, group) = match self.subject {
            Subject::Pool => (None, None),
            Subject::User(sub) => (Some(sub), None),
            Subject::Named(name) => (None, Some(name)),
            Subject::Member(sub, name) => (Some(sub), Some(name)),
        };
        // An attribute that the schema no longer has, has no name.
        let named: Vec<(AttrId, Arc<str>)> =
            self.attrs.iter().filter_map(|attr| Some((*attr, name_of(snapshot, *attr)?))).collect();
        let values = match (puts, sub) {
            (Some(puts), Some(sub)) => Some(values_of(snapshot, sub, &named, puts)?),
            _ => None,
        };
        Ok(ChangeOp {
            op: self.kind.name(),
            sub,
            group: group.map(Into::into),
            version: (self.version > 0).then_some(self.version),
            attrs: named.into_iter().map(|(_, name)| name).collect(),
            origin: Arc::clone(origin),
            values,
        })
    }
}

fn name_of(snapshot: &Snapshot, attr: AttrId) -> Option<Arc<str>> {
    let built_in = match attr {
        AttrId::ENABLED => "enabled",
        AttrId::STATUS => "status",
        AttrId::PASSWORD => "password",
        _ => return snapshot.schema().by_id(attr).map(|attribute| attribute.name.shared()),
    };
    Some(Arc::from(built_in))
}

/// The values that a transaction set. Of a multi-valued attribute the log has the difference
/// alone, so the present elements are told.
fn values_of(
    snapshot: &Snapshot,
    sub: Sub,
    attrs: &[(AttrId, Arc<str>)],
    puts: &HashMap<Ordinal, Bytes>,
) -> Result<Vec<Option<Value>>> {
    let Some(ordinal) = snapshot.find_sub(sub)? else { return Ok(vec![None; attrs.len()]) };
    let mut values = Vec::with_capacity(attrs.len());
    for (attr, _) in attrs {
        let attribute = snapshot.schema().by_id(*attr);
        if let Some(attribute) = attribute.filter(|attribute| attribute.multi) {
            let present = snapshot.multi_values(ordinal, attribute)?;
            values.push((!present.is_empty()).then_some(Value::Multi(present)));
            continue;
        }
        let cell = match puts.get(&ordinal) {
            Some(cells) => cell_of(cells, *attr)?,
            None => None,
        };
        values.push(match (cell, attribute) {
            (Some(cell), Some(attribute)) => Some(cell_value(attribute, cell.as_cell())?),
            (Some(cell), None) => built_in_value(*attr, &cell),
            (None, _) => None,
        });
    }
    Ok(values)
}

fn cell_of(cells: &Bytes, attr: AttrId) -> Result<Option<OwnedCell>> {
    let found = Cells::decode(cells).and_then(|list| list.find(attr)).map_err(|fault| damaged(&fault))?;
    Ok(match found {
        None | Some(CellRef::Absent) => None,
        Some(CellRef::Int(value)) => Some(OwnedCell::Int(value)),
        Some(CellRef::Bytes(bytes)) => Some(OwnedCell::Bytes(cells.slice_ref(bytes))),
    })
}

/// A password is named and never shown.
fn built_in_value(attr: AttrId, cell: &OwnedCell) -> Option<Value> {
    match attr {
        AttrId::ENABLED => cell.as_int().map(|value| Value::Bool(value != 0)),
        AttrId::STATUS => Status::from_code(cell.as_int()?).map(|status| Value::Str(status.word().into())),
        _ => None,
    }
}
