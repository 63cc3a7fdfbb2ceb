//! One user, as a filter looks at it.

use stoa_format::{AttrId, Ordinal};

use crate::error::{Error, Result};
use crate::pool::deltas::UserDeltas;
use crate::pool::filter::{Filter, GroupRef, Row};
use crate::pool::keyspace::{self, Key};
use crate::pool::runs::OwnedCell;
use crate::pool::snapshot::Snapshot;
use crate::pool::value::CellValue;

/// A user under evaluation.
pub(crate) struct FilterRow<'a> {
    snapshot: &'a Snapshot,
    ordinal: Ordinal,
    deltas: UserDeltas,
    groups: &'a [Option<u64>],
    cell: Option<OwnedCell>,
}

impl<'a> FilterRow<'a> {
    /// A row over one user; `groups` come from [`FilterRow::resolve_groups`].
    pub(crate) fn new(snapshot: &'a Snapshot, ordinal: Ordinal, groups: &'a [Option<u64>]) -> Self {
        Self { snapshot, ordinal, deltas: snapshot.deltas(ordinal), groups, cell: None }
    }

    /// The same, where what the memtables say of the user is known already.
    pub(crate) fn under(
        snapshot: &'a Snapshot,
        ordinal: Ordinal,
        deltas: UserDeltas,
        groups: &'a [Option<u64>],
    ) -> Self {
        Self { snapshot, ordinal, deltas, groups, cell: None }
    }

    /// Whether the user exists.
    pub(crate) fn is_live(&self) -> bool {
        self.snapshot.is_live_under(&self.deltas, self.ordinal)
    }

    /// The ids of the groups that a filter names.
    pub(crate) fn resolve_groups(snapshot: &Snapshot, filter: &Filter) -> Result<Vec<Option<u64>>> {
        let records = filter.groups().iter().map(|name| snapshot.group_record(name.as_str()));
        records.map(|record| Ok(record?.map(|record| record.id))).collect()
    }
}

impl Row for FilterRow<'_> {
    type Error = Error;

    fn cell(&mut self, attr: AttrId) -> Result<Option<CellValue<'_>>> {
        self.cell = self.snapshot.cell_under(&self.deltas, self.ordinal, attr)?;
        Ok(self.cell.as_ref().map(|cell| match cell {
            OwnedCell::Int(value) => CellValue::Int(*value),
            OwnedCell::Bytes(bytes) => CellValue::Bytes(bytes),
        }))
    }

    fn each_value(&mut self, attr: AttrId, matches: &mut dyn FnMut(CellValue<'_>) -> bool) -> Result<bool> {
        let Some(attribute) = self.snapshot.schema().by_id(attr) else { return Ok(false) };
        let values = self.snapshot.multi_values(self.ordinal, attribute)?;
        let _ = values.iter().filter_map(|value| value.as_cell()).any(matches);
        Ok(!values.is_empty())
    }

    fn locked(&mut self) -> Result<bool> {
        let state = self.snapshot.sign_in(&self.deltas, self.ordinal)?;
        Ok(state.locked_until_ms > self.snapshot.pool.now_ms())
    }

    fn in_group(&mut self, group: GroupRef) -> Result<bool> {
        let Some(Some(id)) = self.groups.get(group.0) else { return Ok(false) };
        let member = Key::new(keyspace::MEMBERS).number(*id).ordinal(self.ordinal).flat();
        Ok(self.snapshot.key(&member)?.is_some())
    }

    fn each_group(&mut self, matches: &mut dyn FnMut(&str) -> bool) -> Result<bool> {
        let names = self.snapshot.group_names_of(self.ordinal)?;
        let _ = names.iter().any(|name| matches(name));
        Ok(!names.is_empty())
    }
}
