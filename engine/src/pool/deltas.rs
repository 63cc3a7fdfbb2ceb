//! What the memtables say of one user, before the runs are asked.

use smallvec::SmallVec;
use stoa_format::AttrId;
use stoa_format::ops::CellRef;

use super::runs::OwnedCell;
use super::value::CellValue;
use crate::memtable::Delta;

/// What the memtables say of one user, newest first.
#[derive(Default)]
pub(crate) struct UserDeltas {
    /// One a memtable, with what lies under it.
    deltas: Vec<Delta>,
    /// The oldest of them creates the user: no run says anything.
    complete: bool,
}

/// What the memtables say of one user, taken apart: the newest cell of each attribute, in order of attribute.
pub(crate) struct Known<'d> {
    cells: SmallVec<[(AttrId, CellRef<'d>); 24]>,
    complete: bool,
}

impl<'d> Known<'d> {
    /// What the memtables say of a cell: `None` for nothing, `Some(None)` for absent.
    #[inline]
    pub(crate) fn look(&self, attr: AttrId) -> Option<Option<CellValue<'d>>> {
        // Mostly they know nothing of the user.
        if self.cells.is_empty() {
            return self.complete.then_some(None);
        }
        match self.cells.binary_search_by_key(&attr, |(other, _)| *other) {
            Ok(at) => Some(CellValue::of_log(self.cells[at].1)),
            Err(_) => self.complete.then_some(None),
        }
    }
}

impl UserDeltas {
    /// Adds what the next older memtable says.
    pub(crate) fn add(&mut self, newest: Delta) {
        self.complete |= newest.chain().any(Delta::creates);
        self.deltas.push(newest);
    }

    /// Whether no older memtable and no run says anything of the user.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// All of them, newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Delta> {
        self.deltas.iter().flat_map(Delta::chain)
    }

    /// What the memtables say of a cell: `None` for nothing, `Some(None)` for absent.
    pub(crate) fn find(&self, attr: AttrId) -> Option<Option<OwnedCell>> {
        match self.newest(attr) {
            Some((delta, cell)) => Some(match cell {
                CellRef::Absent => None,
                CellRef::Int(value) => Some(OwnedCell::Int(value)),
                CellRef::Bytes(value) => Some(OwnedCell::Bytes(delta.cells.slice_ref(value))),
            }),
            None => self.complete.then_some(None),
        }
    }

    /// The same, lent.
    #[inline]
    pub(crate) fn look(&self, attr: AttrId) -> Option<Option<CellValue<'_>>> {
        // Mostly they know nothing of the user.
        if self.deltas.is_empty() {
            return None;
        }
        match self.newest(attr) {
            Some((_, cell)) => Some(CellValue::of_log(cell)),
            None => self.complete.then_some(None),
        }
    }

    /// All that the memtables say of the user, for who asks for many cells.
    pub(crate) fn known(&self) -> Known<'_> {
        // Mostly they know nothing of the user.
        if self.deltas.is_empty() {
            return Known { cells: SmallVec::new(), complete: false };
        }
        let mut cells: SmallVec<_> = self.iter().flat_map(Delta::each_cell).collect();
        // Of one attribute the newest stays: it came first.
        if self.iter().nth(1).is_some() {
            cells.sort_by_key(|(attr, _)| *attr);
            cells.dedup_by_key(|(attr, _)| *attr);
        }
        Known { cells, complete: self.complete }
    }

    fn newest(&self, attr: AttrId) -> Option<(&Delta, CellRef<'_>)> {
        self.iter().find_map(|delta| Some((delta, delta.cells().find(attr).ok()??)))
    }
}
