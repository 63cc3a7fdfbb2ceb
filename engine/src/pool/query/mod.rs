//! Which users match a filter, and listings of users and groups.

mod batch;
mod cursor;
mod facts;
mod listing;
mod plan;
mod row;
mod rows;
mod scan;

use bytes::Bytes;
use roaring::RoaringBitmap;
use stoa_format::{Ordinal, Seq};

use super::filter::Filter;
use super::snapshot::Snapshot;
use super::view::Select;
use crate::error::{Error, Result};

pub(crate) use batch::Batch;
pub(crate) use facts::pool_facts;
pub use listing::{LIMIT_MAX, PAGE_MAX_BYTES};
pub(crate) use plan::Plan;
pub(crate) use row::FilterRow;
pub use rows::UserRow;

/// Which page of a listing is wanted.
#[derive(Clone, Copy)]
pub struct PageRequest<'a> {
    /// How many things at most: 1 to [`LIMIT_MAX`].
    pub limit: usize,
    /// Where it begins, from the page before; none for the first page.
    pub cursor: Option<&'a str>,
    /// The access-control user, whom a cursor is bound to.
    pub actor: &'a str,
    /// About how many bytes at most; [`PAGE_MAX_BYTES`] bounds it. One thing is shown whatever its size.
    pub max_bytes: usize,
    /// For a first page: a state at or after this one.
    pub min_seq: Option<Seq>,
    /// For a first page: the state to show; the newest where there is none.
    pub state: Option<&'a Snapshot>,
}

/// Which users to list.
#[derive(Debug, Clone, Default)]
pub struct UserQuery {
    /// Those that match; all where there is none.
    pub filter: Option<Box<str>>,
    /// The filter's `$1…`.
    pub args: Vec<Bytes>,
    /// The searchable attribute to sort by; order of creation where there is none.
    pub sort: Option<Box<str>>,
    /// Sorted the other way round.
    pub desc: bool,
    /// Which attributes to show.
    pub select: Select,
}

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
        match filter {
            None => Ok(self.live_ordinals(Ordinal(0)).collect()),
            Some(text) => {
                let these = self.matching(&self.filter(text, args)?)?;
                Ok(these.into_iter().map(|ordinal| Ordinal(u64::from(ordinal))).collect())
            }
        }
    }

    /// The live users.
    pub(crate) fn live(&self) -> RoaringBitmap {
        let mut live = self.version.runs.live.clone();
        let walked = self.each_changed(|ordinal, deltas| {
            match self.is_live_under(&deltas, ordinal) {
                true => live.insert(ordinal.0 as u32),
                false => live.remove(ordinal.0 as u32),
            };
            Ok(())
        });
        assert!(walked.is_ok(), "nothing in it fails");
        live
    }

    /// The users from `first` to `last` of whom the memtables say anything.
    pub(crate) fn changed(&self, first: Ordinal, last: Ordinal) -> RoaringBitmap {
        let mut changed = RoaringBitmap::new();
        for memtable in self.version.memtables() {
            let users = memtable.changed_users(first, self.seq).take_while(|ordinal| *ordinal <= last);
            changed.extend(users.map(|ordinal| ordinal.0 as u32));
        }
        changed
    }

    /// How many users match.
    ///
    /// # Errors
    /// `INVALID` for a filter that is none, `DAMAGED`, `IOERROR`.
    pub fn count(&self, filter: Option<&str>, args: &[Bytes]) -> Result<u64> {
        match filter {
            None => self.user_count(),
            Some(text) => Ok(self.matching(&self.filter(text, args)?)?.len()),
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
