//! Walking one sorted run in order of keys.

use std::sync::Arc;

use sdd::Shared;
use stoa_format::DecodeError;
use stoa_format::sorted::{SortedPage, SortedPosition, SortedValue};

use super::{Direction, KeyCursor, SortedRun};
use crate::run::{Caching, OpenPage, PageBody, Plain, RunError};

/// A place in a sorted run: an entry, or the end.
pub struct SortedCursor {
    run: Arc<SortedRun>,
    caching: Caching,
    direction: Direction,
    index: usize,
    /// `None` at the end.
    page: Option<Shared<OpenPage>>,
    position: SortedPosition,
}

impl SortedCursor {
    pub(super) fn new(
        run: Arc<SortedRun>,
        from: &[u8],
        direction: Direction,
        caching: Caching,
    ) -> Result<Self, RunError> {
        let mut cursor = Self { run, caching, direction, index: 0, page: None, position: SortedPosition::default() };
        cursor.seek(from)?;
        Ok(cursor)
    }

    /// Moves, wherever the cursor stands, to the first key that is not below `from`, or when descending to the last
    /// key that is below it.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn seek(&mut self, from: &[u8]) -> Result<(), RunError> {
        let index = self.run.opened()?.page_of(from);
        if self.page.is_none() || self.index != index {
            self.open(index)?;
        }
        self.within(|page, position| page.seek(from, position))?;
        match self.direction {
            Direction::Ascending => self.skip_ends(),
            Direction::Descending => self.step_back(),
        }
    }

    /// Moves to the entry before the position, on the page before if need be; to the end if there is none.
    fn step_back(&mut self) -> Result<(), RunError> {
        match self.position.entry().checked_sub(1) {
            Some(entry) => self.within(|page, position| page.seek_entry(entry, position)),
            None if self.index == 0 => {
                self.page = None;
                Ok(())
            }
            None => {
                self.open(self.index - 1)?;
                self.within(|page, position| page.seek_entry(page.count() - 1, position))
            }
        }
    }

    fn open(&mut self, index: usize) -> Result<(), RunError> {
        let opened = self.run.opened()?;
        self.index = index;
        self.page = None;
        if index < opened.pages.data_pages {
            self.page = Some(opened.pages.held(&self.run.file, index, self.caching)?);
        }
        Ok(())
    }

    /// Goes on to the next pages while the position is at a page's end.
    fn skip_ends(&mut self) -> Result<(), RunError> {
        while let Some(PageBody::Sorted(page)) = self.page.as_deref().map(|open| &open.body) {
            if self.position.entry() < page.count() {
                break;
            }
            self.open(self.index + 1)?;
            self.within(|page, position| page.seek_entry(0, position))?;
        }
        Ok(())
    }

    fn within(
        &mut self,
        step: impl FnOnce(&SortedPage<Plain>, &mut SortedPosition) -> Result<(), DecodeError>,
    ) -> Result<(), RunError> {
        match self.page.as_deref().map(|open| &open.body) {
            None => Ok(()),
            Some(PageBody::Sorted(page)) => step(page, &mut self.position).map_err(|e| self.run.damaged(self.index, e)),
            Some(_) => Err(self.run.damaged(self.index, DecodeError::new("page", 0, "is not of a sorted run"))),
        }
    }
}

impl KeyCursor for SortedCursor {
    fn key(&self) -> Option<&[u8]> {
        self.page.as_ref().map(|_| self.position.key())
    }

    fn value(&self) -> Result<SortedValue<'_>, RunError> {
        match self.page.as_deref().map(|open| &open.body) {
            Some(PageBody::Sorted(page)) => page.value(&self.position).map_err(|e| self.run.damaged(self.index, e)),
            _ => Err(self.run.damaged(self.index, DecodeError::new("sorted run", 0, "no entry behind the end"))),
        }
    }

    fn advance(&mut self) -> Result<(), RunError> {
        if self.page.is_none() {
            return Ok(());
        }
        match self.direction {
            Direction::Ascending => {
                self.within(|page, position| page.advance(position))?;
                self.skip_ends()
            }
            Direction::Descending => self.step_back(),
        }
    }
}
