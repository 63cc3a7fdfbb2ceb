//! One value for every user of a filter, as one transaction.

use bytes::Bytes;
use stoa_format::AttrId;
use stoa_format::ops::{EventKind, Subject};

use super::{Draft, OwnedCell};
use crate::error::Result;
use crate::pool::request::{Input, Outcome, Status};

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
        let mut count = 0;
        let mut attrs: Vec<AttrId> = Vec::new();
        for ordinal in self.snapshot.select(filter, args)? {
            let mut changed = self.set_attributes(ordinal, changes, false, false)?;
            if let Some(status) = status
                && self.set_fact_cell(ordinal, AttrId::STATUS, Some(OwnedCell::Int(status.code())))?
            {
                changed.push(AttrId::STATUS);
            }
            if changed.is_empty() {
                continue;
            }
            self.check_required(ordinal)?;
            self.raise_version(ordinal)?;
            count += 1;
            attrs.extend(changed);
            attrs.sort_unstable();
            attrs.dedup();
        }
        if count > 0 {
            self.event(EventKind::UserSetAll, Subject::Pool, 0, attrs);
        }
        Ok(Outcome { sub: None, version: None, changed: Some(count) })
    }
}
