//! One row: what can refuse it, what it claims, what it writes.

use stoa_format::column::Cell;
use stoa_format::{AttrId, Sub};
use xxhash_rust::xxh3::xxh3_64;

use super::load::{BulkLoad, no_ordinals, position};
use super::sorted::Keys;
use super::user::{BulkFactor, BulkUser, Checked, check};
use crate::error::{Error, Result};
use crate::pool::draft::{check_factor, check_length, check_password};
use crate::pool::keyspace::terminate;
use crate::pool::record::FactorRecord;
use crate::pool::schema::Attribute;
use crate::pool::value::{AttrType, CellValue, Value};

/// Ordinals are 32 bits in memory.
const ORDINALS_MAX: u64 = u32::MAX as u64;
/// A value in a key that is longer goes the ordinary way, which knows what to do with it.
const KEY_VALUE_BYTES_MAX: usize = 768;

impl BulkLoad {
    /// Everything that can refuse a row, whatever other rows say.
    pub(super) fn check_row<'a>(&mut self, user: &BulkUser<'a>, checked: &mut Vec<(usize, Checked<'a>)>) -> Result<()> {
        if u64::from(self.base) + u64::from(self.taken) >= ORDINALS_MAX {
            return Err(no_ordinals());
        }
        self.row += 1;
        let mut required = 0;
        for (attr, value) in user.attrs {
            let Some(at) = position(&self.schema, *attr) else {
                return Err(Error::invalid("an attribute is not in this pool's schema"));
            };
            let attribute = &self.plans[at].attribute;
            if std::mem::replace(&mut self.named[at], self.row) == self.row {
                return Err(Error::invalid(format!("{} is named twice", attribute.name)));
            }
            required += usize::from(attribute.required);
            checked.push((at, check(attribute, value)?));
        }
        if required < self.required_count {
            let missing =
                self.plans.iter().zip(&self.named).find(|(plan, row)| plan.attribute.required && **row != self.row);
            let name = missing.map_or("an attribute", |(plan, _)| &plan.attribute.name);
            return Err(Error::invalid(format!("{name} is required by this pool's schema")));
        }
        if let Some(stored) = user.password {
            check_password(stored, &self.pool.limits().password_caps)?;
        }
        if user.groups.iter().any(|group| *group as usize >= self.groups.len()) {
            return Err(Error::invalid("a membership names a group that is not in this load"));
        }
        for (provider, subject) in user.identities {
            check_length("a provider", provider)?;
            check_length("a subject", subject)?;
        }
        user.factors.iter().try_for_each(|factor| check_factor(factor.kind, factor.id, factor.blob))
    }

    /// Notes the hashes of the row's alias values; `false` if the row must go the ordinary way.
    pub(super) fn claim_values(&mut self, checked: &[(usize, Checked<'_>)]) -> bool {
        for (at, value) in checked {
            let plan = &self.plans[*at];
            if (plan.order.is_some() || plan.attribute.multi) && has_long_part(value) {
                return false;
            }
            let Some(table) = plan.table else { continue };
            if let Some(flag) = plan.flag {
                let is_set = |value: &Checked<'_>| matches!(value, Checked::Int(1) | Checked::Owned(Value::Bool(true)));
                if !checked.iter().any(|(other, value)| *other == flag && is_set(value)) {
                    continue;
                }
            }
            let attribute = &plan.attribute;
            match value {
                Checked::Text(text) => {
                    let hash = self.pool.alias_hash(&attribute.key(text));
                    self.claims.push((table, hash));
                }
                Checked::Owned(value) => {
                    for element in value.elements() {
                        let hash = self.pool.alias_hash(&attribute.key(&element.text()));
                        self.claims.push((table, hash));
                    }
                }
                Checked::Int(_) | Checked::Bytes(_) => return false,
            }
        }
        true
    }

    /// Notes identities and factor ids that are unique in the pool; `false` if one was seen.
    pub(super) fn claim_rest(&mut self, user: &BulkUser<'_>) -> bool {
        if user.identities.is_empty() && user.factors.is_empty() {
            return true;
        }
        let mut hashes = Vec::new();
        let mut key = Vec::new();
        for (provider, subject) in user.identities {
            identity_key(provider, subject, &mut key);
            hashes.push(xxh3_64(&key));
        }
        for factor in user.factors {
            key.clear();
            // Beside identities in one set: their terminated provider never begins with 0 0.
            key.extend_from_slice(&[0, 0]);
            if factor.kind != "webauthn" {
                key.extend_from_slice(&u64::from(self.taken).to_be_bytes());
            }
            factor_key(factor, &mut key);
            hashes.push(xxh3_64(&key));
        }
        for (i, hash) in hashes.iter().enumerate() {
            if !self.seen.insert(*hash) {
                for hash in &hashes[..i] {
                    self.seen.remove(hash);
                }
                return false;
            }
        }
        true
    }

    pub(super) fn write_row(
        &mut self,
        user: &BulkUser<'_>,
        sub: Sub,
        checked: &[(usize, Checked<'_>)],
        ordinal: u32,
    ) -> Result<()> {
        self.write_built_in(user, sub, ordinal);
        for (at, value) in checked {
            let plan = &self.plans[*at];
            let cell = match value {
                Checked::Text(text) => CellValue::Bytes(text.as_bytes()),
                Checked::Int(value) => CellValue::Int(*value),
                Checked::Bytes(raw) => CellValue::Bytes(raw),
                Checked::Owned(value) => match value.as_cell() {
                    Some(cell) => cell,
                    None => {
                        for element in value.elements() {
                            self.multi.push(&[], |key| {
                                key.extend_from_slice(&u64::from(ordinal).to_be_bytes());
                                key.extend_from_slice(&plan.attribute.id.0.to_be_bytes());
                                element.encode(key);
                            });
                            if let (Some(order), Some(cell)) = (plan.order, element.as_cell()) {
                                push_order(&mut self.orders[order].1, &plan.attribute, cell, ordinal);
                            }
                        }
                        continue;
                    }
                },
            };
            if let Some(order) = plan.order {
                push_order(&mut self.orders[order].1, &plan.attribute, cell, ordinal);
            }
            let cell = match cell {
                CellValue::Int(value) => Cell::Int(value),
                CellValue::Bytes(bytes) => Cell::Bytes(bytes.into()),
            };
            self.columns.push(plan.column, ordinal, &cell);
        }
        user.groups.iter().for_each(|group| self.groups.join(*group, ordinal));
        self.write_lists(user, ordinal);
        self.columns.end_row()
    }

    fn write_built_in(&mut self, user: &BulkUser<'_>, sub: Sub, ordinal: u32) {
        let created_at_ms = user.created_at_ms.unwrap_or(self.now_ms);
        let updated_at_ms = user.updated_at_ms.unwrap_or(created_at_ms);
        let columns = &mut self.columns;
        columns.push(usize::from(AttrId::SUB.0), ordinal, &Cell::Fixed16(sub.0));
        let numbers = [
            (AttrId::LIVE, 1),
            (AttrId::VERSION, 1),
            (AttrId::CREATED_AT, created_at_ms as i64),
            (AttrId::UPDATED_AT, updated_at_ms as i64),
            (AttrId::ENABLED, i64::from(user.enabled.unwrap_or(true))),
            (AttrId::STATUS, user.status().code()),
        ];
        for (attr, value) in numbers {
            columns.push(usize::from(attr.0), ordinal, &Cell::Int(value));
        }
        if let Some(stored) = user.password {
            columns.push(usize::from(AttrId::PASSWORD.0), ordinal, &Cell::Bytes(stored.as_bytes().into()));
            columns.push(usize::from(AttrId::PASSWORD_SET_AT.0), ordinal, &Cell::Int(self.now_ms as i64));
        }
    }

    /// Identities and factors.
    fn write_lists(&mut self, user: &BulkUser<'_>, ordinal: u32) {
        let number = u64::from(ordinal).to_be_bytes();
        for (provider, subject) in user.identities {
            self.identities.push(&number, |key| identity_key_after(provider, subject, key));
            self.identities_of.push(&[], |key| {
                key.extend_from_slice(&number);
                identity_key_after(provider, subject, key);
            });
        }
        for factor in user.factors {
            let record = FactorRecord {
                label: factor.label.map(Into::into),
                created_at_ms: self.now_ms,
                blob: factor.blob.to_vec(),
            };
            self.factors.push(&record.encode(), |key| {
                key.extend_from_slice(&number);
                factor_key(factor, key);
            });
            if factor.kind == "webauthn" {
                self.factor_ids.push(&number, |key| factor_key(factor, key));
            }
        }
    }
}

/// Whether a text of this value makes a key that may be too long.
fn has_long_part(value: &Checked<'_>) -> bool {
    let is_long =
        |cell: Option<CellValue<'_>>| matches!(cell, Some(CellValue::Bytes(raw)) if raw.len() > KEY_VALUE_BYTES_MAX);
    match value {
        Checked::Text(text) => text.len() > KEY_VALUE_BYTES_MAX,
        Checked::Bytes(raw) => raw.len() > KEY_VALUE_BYTES_MAX,
        Checked::Int(_) => false,
        Checked::Owned(value) => value.elements().iter().any(|element| is_long(element.as_cell())),
    }
}

fn push_order(keys: &mut Keys, attribute: &Attribute, cell: CellValue<'_>, ordinal: u32) {
    keys.push(&[], |key| {
        match cell {
            CellValue::Bytes(raw) if attribute.ty == AttrType::String => {
                terminate(attribute.key(std::str::from_utf8(raw).unwrap_or_default()).as_bytes(), key);
            }
            cell => {
                let mut order = Vec::new();
                attribute.order_key(cell, &mut order);
                terminate(&order, key);
            }
        }
        key.extend_from_slice(&u64::from(ordinal).to_be_bytes());
    });
}

fn identity_key(provider: &str, subject: &str, key: &mut Vec<u8>) {
    key.clear();
    identity_key_after(provider, subject, key);
}

fn identity_key_after(provider: &str, subject: &str, key: &mut Vec<u8>) {
    terminate(provider.as_bytes(), key);
    key.extend_from_slice(subject.as_bytes());
}

fn factor_key(factor: &BulkFactor<'_>, key: &mut Vec<u8>) {
    terminate(factor.kind.as_bytes(), key);
    key.extend_from_slice(factor.id.as_bytes());
}
