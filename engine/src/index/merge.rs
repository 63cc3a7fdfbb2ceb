//! Walking several sorted sources as one.

use stoa_format::sorted::SortedValue;

use crate::run::RunError;

/// Which way a cursor walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To greater keys.
    Ascending,
    /// To smaller keys.
    Descending,
}

/// A place in something sorted by key: an entry, or the end.
pub trait KeyCursor {
    /// The entry's key; `None` at the end.
    fn key(&self) -> Option<&[u8]>;

    /// The entry's value or tombstone.
    ///
    /// # Errors
    /// At the end, or if the entry is damaged.
    fn value(&self) -> Result<SortedValue<'_>, RunError>;

    /// Moves to the next entry in the cursor's direction, or to the end.
    ///
    /// # Errors
    /// If the next entry cannot be read.
    fn advance(&mut self) -> Result<(), RunError>;
}

impl<C: KeyCursor + ?Sized> KeyCursor for Box<C> {
    fn key(&self) -> Option<&[u8]> {
        (**self).key()
    }

    fn value(&self) -> Result<SortedValue<'_>, RunError> {
        (**self).value()
    }

    fn advance(&mut self) -> Result<(), RunError> {
        (**self).advance()
    }
}

/// Sources, newest first, as one: of a key that several have, the newest entry is given. Tombstones are given
/// too unless they are dropped.
pub struct MergeCursor<C> {
    sources: Vec<C>,
    direction: Direction,
    drop_tombstones: bool,
    /// The source whose entry is the current one.
    current: Option<usize>,
}

impl<C: KeyCursor> MergeCursor<C> {
    /// Merges sources that all stand at or behind the key to start from and ascend. `drop_tombstones` leaves deleted
    /// keys out: for readers, and where nothing older lies below.
    ///
    /// # Errors
    /// If an entry cannot be read.
    pub fn new(sources: Vec<C>, drop_tombstones: bool) -> Result<Self, RunError> {
        Self::in_direction(sources, Direction::Ascending, drop_tombstones)
    }

    /// The same of sources that all walk in `direction`.
    ///
    /// # Errors
    /// If an entry cannot be read.
    pub fn in_direction(sources: Vec<C>, direction: Direction, drop_tombstones: bool) -> Result<Self, RunError> {
        let mut cursor = Self { sources, direction, drop_tombstones, current: None };
        cursor.settle()?;
        Ok(cursor)
    }

    /// Finds the current entry: the key that comes first, and of equal ones the newest.
    fn settle(&mut self) -> Result<(), RunError> {
        loop {
            let keys = self.sources.iter().enumerate().filter_map(|(i, source)| Some((source.key()?, i)));
            self.current = match self.direction {
                Direction::Ascending => keys.min(),
                Direction::Descending => keys.max_by(|(a, i), (b, j)| a.cmp(b).then(j.cmp(i))),
            }
            .map(|(_, source)| source);
            let Some(current) = self.current else { return Ok(()) };
            if !self.drop_tombstones || self.sources[current].value()?.bytes().is_some() {
                return Ok(());
            }
            self.step(current)?;
        }
    }

    /// Moves every source past the current key.
    fn step(&mut self, current: usize) -> Result<(), RunError> {
        // Newer sources stand at later keys, or theirs would be the current one.
        let (upper, older) = self.sources.split_at_mut(current + 1);
        for source in older {
            if source.key() == upper[current].key() {
                source.advance()?;
            }
        }
        upper[current].advance()
    }
}

impl<C: KeyCursor> KeyCursor for MergeCursor<C> {
    fn key(&self) -> Option<&[u8]> {
        self.sources.get(self.current?)?.key()
    }

    fn value(&self) -> Result<SortedValue<'_>, RunError> {
        match self.current {
            Some(current) => self.sources[current].value(),
            None => Ok(SortedValue::Tombstone),
        }
    }

    fn advance(&mut self) -> Result<(), RunError> {
        let Some(current) = self.current else { return Ok(()) };
        self.step(current)?;
        self.settle()
    }
}
