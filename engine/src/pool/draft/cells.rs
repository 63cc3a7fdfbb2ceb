//! The cells of a user that a draft has staged.

use stoa_format::AttrId;

use crate::pool::runs::OwnedCell;

/// Cells in order of attribute: a list, as a user has a score of them. `None` stands for an absent one.
#[derive(Default)]
pub(super) struct StagedCells(Vec<(AttrId, Option<OwnedCell>)>);

impl StagedCells {
    /// With room for what a new user has.
    pub(super) fn of_new_user() -> Self {
        Self(Vec::with_capacity(24))
    }

    /// What is staged for an attribute, if anything.
    pub(super) fn get(&self, attr: AttrId) -> Option<&Option<OwnedCell>> {
        let at = self.position(attr).ok()?;
        Some(&self.0[at].1)
    }

    /// Stages a cell over what was staged before.
    pub(super) fn insert(&mut self, attr: AttrId, cell: Option<OwnedCell>) {
        match self.position(attr) {
            Ok(at) => self.0[at].1 = cell,
            Err(at) => self.0.insert(at, (attr, cell)),
        }
    }

    /// Stages a cell unless one is.
    pub(super) fn insert_if_unset(&mut self, attr: AttrId, cell: Option<OwnedCell>) {
        if let Err(at) = self.position(attr) {
            self.0.insert(at, (attr, cell));
        }
    }

    /// All of them, in order of attribute.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(AttrId, Option<OwnedCell>)> {
        self.0.iter()
    }

    /// Whether nothing is staged.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, attr: AttrId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&attr, |(other, _)| *other)
    }
}
