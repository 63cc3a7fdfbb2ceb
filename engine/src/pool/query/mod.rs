//! Which users match a filter.

mod row;

use bytes::Bytes;
use stoa_format::Ordinal;

use super::filter::Filter;
use super::snapshot::Snapshot;
use crate::error::{Error, Result};

pub(crate) use row::FilterRow;

impl Snapshot {
    /// The live users from `from` on, in order of creation.
    pub(crate) fn live_ordinals(&self, from: Ordinal) -> impl Iterator<Item = Ordinal> + '_ {
        let changed: Vec<_> =
            self.version.memtables().map(|memtable| memtable.changed_users(from, self.seq).peekable()).collect();
        let mut stored = self.version.runs.live.iter();
        stored.advance_to(u32::try_from(from.0).unwrap_or(u32::MAX));
        LiveOrdinals { snapshot: self, stored: stored.peekable(), changed }
    }

    /// Reads a filter over this snapshot's schema.
    ///
    /// # Errors
    /// `INVALID`, naming the place.
    pub(crate) fn filter(&self, text: &str, args: &[Bytes]) -> Result<Filter> {
        Filter::parse(text.as_bytes(), args, self.schema())
            .map_err(|fault| Error::invalid(format!("filter: {fault}")).because(fault))
    }

    /// The users that match, in order of creation; all of them without a filter.
    pub(crate) fn select(&self, filter: Option<&str>, args: &[Bytes]) -> Result<Vec<Ordinal>> {
        let Some(text) = filter else { return Ok(self.live_ordinals(Ordinal(0)).collect()) };
        let filter = self.filter(text, args)?;
        let groups = FilterRow::resolve_groups(self, &filter)?;
        let mut matching = Vec::new();
        for ordinal in self.live_ordinals(Ordinal(0)) {
            if filter.matches(&mut FilterRow::new(self, ordinal, &groups))? {
                matching.push(ordinal);
            }
        }
        Ok(matching)
    }

    /// How many users match.
    ///
    /// # Errors
    /// `INVALID` for a filter that is none, `DAMAGED`, `IOERROR`.
    pub fn count(&self, filter: Option<&str>, args: &[Bytes]) -> Result<u64> {
        match filter {
            None => self.user_count(),
            Some(_) => Ok(self.select(filter, args)?.len() as u64),
        }
    }
}

/// Merges who is live in the runs with who has changed since.
struct LiveOrdinals<'a, S: Iterator<Item = u32>, C: Iterator<Item = Ordinal>> {
    snapshot: &'a Snapshot,
    stored: std::iter::Peekable<S>,
    changed: Vec<std::iter::Peekable<C>>,
}

impl<S: Iterator<Item = u32>, C: Iterator<Item = Ordinal>> Iterator for LiveOrdinals<'_, S, C> {
    type Item = Ordinal;

    fn next(&mut self) -> Option<Ordinal> {
        loop {
            let changed = self.changed.iter_mut().filter_map(|source| source.peek().copied()).min();
            let stored = self.stored.peek().map(|ordinal| Ordinal(u64::from(*ordinal)));
            let next = match (changed, stored) {
                (None, None) => return None,
                (Some(a), Some(b)) => a.min(b),
                (Some(one), None) | (None, Some(one)) => one,
            };
            if stored == Some(next) {
                self.stored.next();
            }
            if changed != Some(next) {
                return Some(next);
            }
            for source in &mut self.changed {
                source.next_if_eq(&next);
            }
            if self.snapshot.is_live(next) {
                return Some(next);
            }
        }
    }
}
