//! Walking column runs in order of ordinals.

use std::sync::Arc;

use sdd::Shared;
use stoa_format::Ordinal;
use stoa_format::column::Cell;

use super::ColumnRun;
use crate::run::{Caching, OpenPage, PageBody, RunError};

/// Walks the entries of several runs, newest first, in order of ordinals; of an ordinal that more than one
/// has, the newest entry is given.
pub struct ColumnCursor {
    runs: Vec<RunCursor>,
    /// The run whose entry is the current one.
    current: Option<usize>,
}

/// Walks one run.
struct RunCursor {
    run: Arc<ColumnRun>,
    caching: Caching,
    next_page: usize,
    page: Option<Shared<OpenPage>>,
    /// The open page's ordinals, and which of them is next.
    ordinals: Vec<u64>,
    entry: usize,
}

impl ColumnCursor {
    /// Starts at the first entry of `from` or above. `runs` are newest first.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn new(
        runs: impl IntoIterator<Item = Arc<ColumnRun>>,
        from: Ordinal,
        caching: Caching,
    ) -> Result<Self, RunError> {
        let runs: Result<_, _> = runs.into_iter().map(|run| RunCursor::new(run, from.0, caching)).collect();
        Ok(Self { runs: runs?, current: None })
    }

    /// Moves to the next entry and gives it: a value or an explicit null. `None` at the end.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn next(&mut self) -> Result<Option<(Ordinal, Cell<'_>)>, RunError> {
        if let Some(current) = self.current.take()
            && let Some(done) = self.runs[current].ordinal()
        {
            for run in &mut self.runs {
                if run.ordinal() == Some(done) {
                    run.advance()?;
                }
            }
        }
        let ordinals = self.runs.iter().enumerate().filter_map(|(i, run)| run.ordinal().map(|ordinal| (ordinal, i)));
        // Of equal ordinals the lower number, which is the newer run.
        let Some((ordinal, newest)) = ordinals.min() else { return Ok(None) };
        self.current = Some(newest);
        Ok(Some((Ordinal(ordinal), self.runs[newest].cell()?)))
    }
}

impl RunCursor {
    fn new(run: Arc<ColumnRun>, from: u64, caching: Caching) -> Result<Self, RunError> {
        let next_page = run.opened()?.page_of(from).unwrap_or(0);
        let mut cursor = Self { run, caching, next_page, page: None, ordinals: Vec::new(), entry: 0 };
        cursor.open_next()?;
        while cursor.page.is_some() {
            cursor.entry = cursor.ordinals.partition_point(|&ordinal| ordinal < from);
            if cursor.entry < cursor.ordinals.len() {
                break;
            }
            cursor.open_next()?;
        }
        Ok(cursor)
    }

    fn ordinal(&self) -> Option<u64> {
        self.ordinals.get(self.entry).copied()
    }

    fn advance(&mut self) -> Result<(), RunError> {
        self.entry += 1;
        if self.entry >= self.ordinals.len() { self.open_next() } else { Ok(()) }
    }

    fn open_next(&mut self) -> Result<(), RunError> {
        self.ordinals.clear();
        self.entry = 0;
        self.page = None;
        let opened = self.run.opened()?;
        if self.next_page >= opened.pages.data_pages {
            return Ok(());
        }
        let page = opened.pages.held(&self.run.file, self.next_page, self.caching)?;
        if let PageBody::Column(page) = &page.body {
            self.ordinals.extend(page.ordinals());
        }
        self.page = Some(page);
        self.next_page += 1;
        Ok(())
    }

    fn cell(&self) -> Result<Cell<'_>, RunError> {
        let opened = self.run.opened()?;
        let index = self.next_page.saturating_sub(1);
        match self.page.as_deref().map(|open| &open.body) {
            Some(PageBody::Column(page)) => {
                page.entry(self.entry).map_err(|e| opened.pages.damaged(&self.run.file, index, e))
            }
            _ => Err(opened.pages.wrong_kind(&self.run.file, index)),
        }
    }
}
