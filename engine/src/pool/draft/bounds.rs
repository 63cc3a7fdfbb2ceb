//! What a run file can hold: nothing is committed that a flush would have to refuse.

use bytes::Bytes;
use stoa_format::AttrId;
use stoa_format::column::VALUE_BYTES_MAX;
use stoa_format::sorted::KEY_BYTES_MAX;

use super::Draft;
use crate::error::{Error, Result};
use crate::pool::keyspace::{self, split_flat};
use crate::pool::runs::OwnedCell;

impl Draft<'_> {
    /// Refuses keys and values that are too long for a run file. A text takes more room in the order
    /// index than its own length where its collation unfolds it, and an element of a multi-valued
    /// attribute is a key as a whole.
    ///
    /// # Errors
    /// `LIMIT`, naming the attribute where there is one.
    pub(super) fn check_bounds(&self, token_key: Option<&Bytes>) -> Result<()> {
        let set = self.keys.iter().filter_map(|(flat, value)| Some((flat, value.as_ref()?.len())));
        for (flat, value_bytes) in set.chain(token_key.map(|flat| (flat, 0))) {
            let (keyspace, key) = split_flat(flat);
            if key.len() <= KEY_BYTES_MAX && value_bytes <= VALUE_BYTES_MAX {
                continue;
            }
            let attr_at = match keyspace {
                keyspace::ORDER => Some(0),
                keyspace::MULTI => Some(8),
                _ => None,
            };
            let attr = attr_at.and_then(|at| key.get(at..at + 2)?.first_chunk().copied()).map(u16::from_be_bytes);
            let name = attr.and_then(|attr| Some(self.schema.by_id(AttrId(attr))?.name.as_str()));
            let what = match (keyspace, name) {
                (keyspace::MULTI, Some(name)) => {
                    format!("{name}: one of several values takes 16,000 bytes at most")
                }
                (_, Some(name)) => format!("{name} is too long to be searchable: its collated text takes 16,000 bytes"),
                (_, None) => "a name is too long: 16,000 bytes at most".to_owned(),
            };
            return Err(Error::limit(what));
        }
        let too_long = |(_, cell): &(AttrId, Option<OwnedCell>)| matches!(cell, Some(OwnedCell::Bytes(bytes)) if bytes.len() > VALUE_BYTES_MAX);
        match self.users.values().any(|user| user.cells.iter().any(too_long)) {
            true => Err(Error::limit(format!("a value is too long: {VALUE_BYTES_MAX} bytes at most"))),
            false => Ok(()),
        }
    }
}
