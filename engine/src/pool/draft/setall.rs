//! One value for every user of a filter, as one transaction: user by user, or over columns that say it already.

use std::sync::Arc;

use bytes::Bytes;
use roaring::RoaringBitmap;
use stoa_format::install::INSTALL_DOCUMENT;
use stoa_format::ops::{EventKind, Subject};
use stoa_format::{AttrId, Ordinal, Seq};

use super::{Draft, OwnedCell};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::keyspace;
use crate::pool::query::FilterRow;
use crate::pool::request::{Input, Outcome, Status};
use crate::pool::runs::Runs;
use crate::pool::schema::{Alias, Schema};
use crate::pool::snapshot::Snapshot;

/// Columns that are written and wait for the transaction that puts them in their place. They say what becomes of
/// users of whom no memtable said anything when they were made. A user of whom one does by now is drafted like
/// any other; what the columns say of it besides is overruled.
pub(crate) struct SetColumns {
    /// The runs that they lie over.
    pub runs: Arc<Runs>,
    /// The Seq of the state that they were made from.
    pub base_seq: Seq,
    /// The schema that they were made under.
    pub schema: Arc<Schema>,
    /// Who has a new cell in each of them.
    pub users: RoaringBitmap,
    /// Users that match, for whom no column was worth it.
    pub others: RoaringBitmap,
    /// The attributes that are set, in ascending order, versions and times not among them.
    pub attrs: Vec<AttrId>,
    /// Those of them that change for any of `users`.
    pub changed: Vec<AttrId>,
    /// What puts them in their place; none where there is nothing to put.
    pub install: Option<Vec<u8>>,
}

impl SetColumns {
    /// Whether what they were made from has not changed but for users that the memtables name.
    fn fits(&self, snapshot: &Snapshot, looks_at_groups: bool) -> bool {
        // What a filter sees of groups can change without a change of the user.
        const OF_GROUPS: [stoa_format::Keyspace; 4] =
            [keyspace::GROUPS, keyspace::GROUP_NAMES, keyspace::MEMBERS, keyspace::GROUPS_OF];
        let regrouped = || {
            let mut memtables = snapshot.version.memtables();
            memtables.any(|memtable| OF_GROUPS.iter().any(|keys| memtable.has_keys_after(*keys, self.base_seq)))
        };
        Arc::ptr_eq(&self.runs, &snapshot.version.runs)
            && Arc::ptr_eq(&self.schema, snapshot.schema())
            && !(looks_at_groups && regrouped())
    }
}

/// What was done so far.
#[derive(Default)]
struct Tally {
    users: u64,
    attrs: Vec<AttrId>,
}

impl Draft<'_> {
    pub(super) fn user_set_all(
        &mut self,
        filter: Option<&str>,
        args: &[Bytes],
        status: Option<Status>,
        changes: &[(Box<str>, Input)],
    ) -> Result<Outcome> {
        // Which users match rests on every user.
        self.exclusive = true;
        let mut tally = Tally::default();
        match self.columns {
            Some(columns) => self.set_others(columns, filter, args, status, changes, &mut tally)?,
            None => {
                let users = self.snapshot.select(filter, args)?;
                if users.len() > 1 {
                    self.refuse_shared_alias(changes)?;
                }
                for ordinal in users {
                    self.set_one(ordinal, status, changes, &mut tally)?;
                }
            }
        }
        let Tally { users, mut attrs } = tally;
        attrs.sort_unstable();
        attrs.dedup();
        if users > 0 {
            self.event(EventKind::UserSetAll, Subject::Pool, 0, attrs);
        }
        Ok(Outcome { sub: None, version: None, changed: Some(users) })
    }

    fn set_one(
        &mut self,
        ordinal: Ordinal,
        status: Option<Status>,
        changes: &[(Box<str>, Input)],
        tally: &mut Tally,
    ) -> Result<()> {
        let mut changed = self.set_attributes(ordinal, changes, false, false)?;
        if let Some(status) = status
            && self.set_fact_cell(ordinal, AttrId::STATUS, Some(OwnedCell::Int(status.code())))?
        {
            changed.push(AttrId::STATUS);
        }
        if changed.is_empty() {
            return Ok(());
        }
        self.check_required(ordinal)?;
        self.raise_version(ordinal)?;
        tally.users += 1;
        changed.retain(|attr| !tally.attrs.contains(attr));
        tally.attrs.extend(changed);
        Ok(())
    }

    /// No two users can hold one value of an alias, so nobody need be looked at.
    fn refuse_shared_alias(&self, changes: &[(Box<str>, Input)]) -> Result<()> {
        let named = changes.iter().filter(|(_, input)| !input.is_removal());
        for attribute in named.filter_map(|(name, _)| self.schema.by_name(name)) {
            if attribute.alias == Alias::Unique {
                let what = format!("{} is an alias: one value cannot be given to several users", attribute.name);
                return Err(Error::invalid(what));
            }
        }
        Ok(())
    }

    /// Sets those of whom the columns do not have the last word.
    fn set_others(
        &mut self,
        columns: &SetColumns,
        filter: Option<&str>,
        args: &[Bytes],
        status: Option<Status>,
        changes: &[(Box<str>, Input)],
        tally: &mut Tally,
    ) -> Result<()> {
        let snapshot = self.snapshot;
        let filter = filter.map(|text| snapshot.filter(text, args)).transpose()?;
        let looks_at_groups =
            filter.as_ref().is_some_and(|filter| filter.attributes().any(|name| name.eq_ignore_ascii_case("groups")));
        if !columns.fits(snapshot, looks_at_groups) {
            return Err(Error::new(ErrorKind::TryAgain, "the pool was changed while columns were written: try again"));
        }
        let groups = filter.as_ref().map(|filter| FilterRow::resolve_groups(snapshot, filter)).transpose()?;
        let spoken_of = snapshot.changed(Ordinal(0), Ordinal(u64::from(u32::MAX))) | &columns.others;
        let settled = columns.users.len() - columns.users.intersection_len(&spoken_of);
        if settled > 0 {
            tally.users += settled;
            tally.attrs.extend(&columns.changed);
        }
        for short in spoken_of {
            let ordinal = Ordinal(u64::from(short));
            if !snapshot.is_live(ordinal) {
                continue;
            }
            let matches = match (&filter, &groups) {
                (Some(filter), Some(groups)) => filter.matches(&mut FilterRow::new(snapshot, ordinal, groups))?,
                _ => true,
            };
            if matches {
                self.set_one(ordinal, status, changes, tally)?;
            }
            if columns.users.contains(short) {
                self.overrule(ordinal, &columns.attrs)?;
            }
        }
        if let Some(install) = &columns.install {
            self.documents.insert(INSTALL_DOCUMENT.to_owned(), Some(install.clone()));
        }
        Ok(())
    }

    /// Stages all cells that the columns have of a user as they are in this draft, changed or not.
    fn overrule(&mut self, ordinal: Ordinal, attrs: &[AttrId]) -> Result<()> {
        for attr in attrs.iter().copied().chain([AttrId::VERSION, AttrId::UPDATED_AT]) {
            let cell = self.cell(ordinal, attr)?;
            self.user(ordinal)?.cells.insert_if_unset(attr, cell);
        }
        Ok(())
    }
}
