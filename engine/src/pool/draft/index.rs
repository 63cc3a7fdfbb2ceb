//! The index entries that a user's values call for: what verification compares the indexes with.

use bytes::Bytes;
use stoa_format::{AttrId, Ordinal};

use super::Draft;
use crate::digest::fact::leaf_hash;
use crate::error::Result;
use crate::pool::keyspace::{self, Key};
use crate::pool::snapshot::Snapshot;

/// The keys of the alias and the order index that name a live user, each with its attribute.
pub(crate) fn index_keys(snapshot: &Snapshot, ordinal: Ordinal) -> Result<Vec<(AttrId, Bytes)>> {
    let mut reserved = Vec::new();
    let draft = Draft::new(snapshot, &mut reserved);
    let alias = |attr, hash| Key::new(keyspace::ALIASES).attr(attr).number(hash).ordinal(ordinal).flat();
    let sub = snapshot.sub_of(ordinal)?;
    let mut keys = vec![(AttrId::SUB, alias(AttrId::SUB, leaf_hash(&snapshot.pool.digest_key, &sub.text())))];
    for attribute in snapshot.schema().attributes() {
        for key in draft.alias_keys(ordinal, attribute)? {
            keys.push((attribute.id, alias(attribute.id, snapshot.pool.alias_hash(&key))));
        }
        keys.extend(draft.order_keys(ordinal, attribute)?.into_iter().map(|key| (attribute.id, key)));
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}
