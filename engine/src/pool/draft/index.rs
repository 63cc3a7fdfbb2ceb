//! The alias and the order index: kept as a transaction changes the values that they are over, and what
//! verification compares them with.
//!
//! Invariants:
//! 1. A key stands in an index exactly if the user's values call for it: whatever changes a value runs in
//!    [`Draft::reindexed`].
//! 2. Two keys of one hash may be two values: a claim is checked against the values themselves.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use stoa_format::{AttrId, Ordinal, Sub};

use super::Draft;
use super::conflict::alias_conflict;
use crate::digest::fact::leaf_hash;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::keyspace::{self, Key, alias_hash_in_key};
use crate::pool::schema::{Alias, Attribute};
use crate::pool::snapshot::Snapshot;
use crate::pool::value::{CellValue, Value};

/// An alias value that the transaction gives to a user.
pub(super) struct Claim {
    pub attr: AttrId,
    pub ordinal: Ordinal,
    pub what: Claimed,
    pub hash: u64,
    pub op: usize,
}

/// What is claimed.
pub(super) enum Claimed {
    /// To be the user of this sub.
    Sub(Sub),
    /// A value, collated.
    Key(String),
}

impl Draft<'_> {
    /// Stages the keys of a multi-valued attribute's elements.
    pub(super) fn set_elements(
        &mut self,
        ordinal: Ordinal,
        attribute: &Attribute,
        before: Option<&Value>,
        after: Option<&Value>,
    ) {
        let element_key = |value: &Value| {
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            Key::new(keyspace::MULTI).ordinal(ordinal).attr(attribute.id).rest(&bytes).flat()
        };
        let old: HashSet<Bytes> = before.map(Value::elements).unwrap_or_default().iter().map(element_key).collect();
        let new: HashSet<Bytes> = after.map(Value::elements).unwrap_or_default().iter().map(element_key).collect();
        for gone in old.difference(&new) {
            self.set_key(gone.clone(), None);
        }
        for come in new.difference(&old) {
            self.set_key(come.clone(), Some(Bytes::new()));
        }
    }

    /// The collated keys under which the alias index names this user for an attribute.
    pub(super) fn alias_keys(&self, ordinal: Ordinal, attribute: &Attribute) -> Result<Vec<String>> {
        if attribute.alias == Alias::None || self.users.get(&ordinal).is_some_and(|user| user.deleted) {
            return Ok(Vec::new());
        }
        if let Some(flag) = attribute.verified_by
            && self.int(ordinal, flag)? != Some(1)
        {
            return Ok(Vec::new());
        }
        let Some(value) = self.value(ordinal, attribute)? else { return Ok(Vec::new()) };
        let elements = if attribute.multi { value.elements().to_vec() } else { vec![value] };
        Ok(elements.iter().map(|value| attribute.key(&value.text()).into_owned()).collect())
    }

    /// The keys under which the order index names this user for an attribute.
    pub(super) fn order_keys(&self, ordinal: Ordinal, attribute: &Attribute) -> Result<Vec<Bytes>> {
        if !attribute.searchable || self.users.get(&ordinal).is_some_and(|user| user.deleted) {
            return Ok(Vec::new());
        }
        let Some(value) = self.value(ordinal, attribute)? else { return Ok(Vec::new()) };
        let elements = if attribute.multi { value.elements().to_vec() } else { vec![value] };
        let keys = elements.iter().filter_map(Value::as_cell).map(|cell| order_key(attribute, cell, ordinal));
        Ok(keys.collect())
    }

    /// Runs `change` and brings the indexes of `attributes` for this user up to date.
    pub(super) fn reindexed<T>(
        &mut self,
        ordinal: Ordinal,
        attributes: &[&Attribute],
        change: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let mut before = Vec::with_capacity(attributes.len());
        for attribute in attributes {
            before.push((self.alias_keys(ordinal, attribute)?, self.order_keys(ordinal, attribute)?));
        }
        let result = change(self)?;
        for (attribute, (old_aliases, old_order)) in attributes.iter().zip(before) {
            let (aliases, order) = (self.alias_keys(ordinal, attribute)?, self.order_keys(ordinal, attribute)?);
            let mut gone = Vec::new();
            for key in old_aliases.iter().filter(|key| !aliases.contains(key)) {
                let hash = self.snapshot.pool.alias_hash(key);
                gone.push(alias_hash_in_key(hash));
                self.set_alias(attribute.id, hash, ordinal, false);
                self.claims.retain(|claim| {
                    (claim.attr, claim.ordinal) != (attribute.id, ordinal)
                        || !matches!(&claim.what, Claimed::Key(claimed) if claimed == key)
                });
            }
            for key in aliases {
                let stays = old_aliases.contains(&key);
                if stays && gone.is_empty() {
                    continue;
                }
                let hash = self.snapshot.pool.alias_hash(&key);
                // What went can have had the same key in the index.
                if !stays || gone.contains(&alias_hash_in_key(hash)) {
                    self.set_alias(attribute.id, hash, ordinal, true);
                }
                if !stays {
                    let what = Claimed::Key(key);
                    self.claims.push(Claim { attr: attribute.id, ordinal, what, hash, op: self.op });
                }
            }
            for key in old_order.iter().filter(|key| !order.contains(key)) {
                self.set_key(key.clone(), None);
            }
            for key in order.into_iter().filter(|key| !old_order.contains(key)) {
                self.set_key(key, Some(Bytes::new()));
            }
        }
        Ok(result)
    }

    pub(super) fn set_alias(&mut self, attr: AttrId, hash: u64, ordinal: Ordinal, present: bool) {
        let value_conflict = alias_conflict(attr, hash);
        self.reads.insert(value_conflict);
        self.writes.insert(value_conflict);
        let flat = Key::alias(attr, hash).ordinal(ordinal).flat();
        self.stage_key(flat, present.then(Bytes::new));
    }

    /// No value that the transaction gives may have another holder after it.
    pub(super) fn check_claims(&mut self) -> Result<()> {
        for claim in std::mem::take(&mut self.claims) {
            let prefix = Key::alias(claim.attr, claim.hash).flat();
            for other in self.ordinals_with(&prefix)? {
                if other == claim.ordinal || !self.is_live(other) {
                    continue;
                }
                let key = match &claim.what {
                    Claimed::Sub(sub) if self.sub(other)? == *sub => {
                        let what = "a user with this sub is there already: use USER.SET, or leave SUB out";
                        return Err(Error::new(ErrorKind::Exists, what).at_op(claim.op));
                    }
                    Claimed::Sub(_) => continue,
                    Claimed::Key(key) => key,
                };
                let schema = Arc::clone(&self.schema);
                let Some(attribute) = schema.by_id(claim.attr) else { continue };
                if self.alias_keys(other, attribute)?.contains(key) {
                    let what = format!("{} is taken: another user of this pool holds that value", attribute.name);
                    return Err(Error::new(ErrorKind::Duplicate, what).at_op(claim.op));
                }
            }
        }
        Ok(())
    }
}

/// The key of the order index.
fn order_key(attribute: &Attribute, cell: CellValue<'_>, ordinal: Ordinal) -> Bytes {
    let mut order = Vec::new();
    attribute.order_key(cell, &mut order);
    Key::new(keyspace::ORDER).attr(attribute.id).terminated(&order).ordinal(ordinal).flat()
}

/// The keys of the alias and the order index that name a live user, each with its attribute.
pub(crate) fn index_keys(snapshot: &Snapshot, ordinal: Ordinal) -> Result<Vec<(AttrId, Bytes)>> {
    let mut reserved = Vec::new();
    let draft = Draft::new(snapshot, &mut reserved);
    let alias = |attr, hash| Key::alias(attr, hash).ordinal(ordinal).flat();
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

/// Whether two users own the same value of an alias.
pub(crate) fn share_alias(snapshot: &Snapshot, attr: AttrId, one: Ordinal, other: Ordinal) -> Result<bool> {
    let Some(attribute) = snapshot.schema().by_id(attr) else {
        return Ok(snapshot.sub_of(one)? == snapshot.sub_of(other)?);
    };
    let mut reserved = Vec::new();
    let draft = Draft::new(snapshot, &mut reserved);
    let others = draft.alias_keys(other, attribute)?;
    Ok(draft.alias_keys(one, attribute)?.iter().any(|key| others.contains(key)))
}

#[cfg(test)]
mod tests;
