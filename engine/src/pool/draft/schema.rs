//! Changing the schema and the configuration documents.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use stoa_format::ops::{EventKind, Subject};
use stoa_format::{Ordinal, Sub};

use super::Draft;
use super::conflict::schema_conflict;
use crate::error::{Error, Result};
use crate::pool::keyspace::{self, Key};
use crate::pool::names::ConfigName;
use crate::pool::policy::PasswordPolicy;
use crate::pool::record::{decode_document, encode_document};
use crate::pool::request::Outcome;
use crate::pool::schema::{Alias, Attribute, Schema, SchemaChange, SchemaPatch};
use crate::pool::snapshot::damaged;
use crate::pool::version::{CONFIG_PREFIX, SCHEMA_DOCUMENT};

/// The longest configuration document.
const CONFIG_MAX_BYTES: usize = 1024 * 1024;

impl Draft<'_> {
    pub(super) fn schema_alter(&mut self, if_version: Option<u64>, patch: &str) -> Result<Outcome> {
        let before = Arc::clone(&self.schema);
        if let Some(expected) = if_version
            && expected != before.version()
        {
            return Err(Error::conflict(format!("version={} expected={expected}", before.version())));
        }
        let invalid = |fault: crate::pool::schema::InvalidSchema| Error::invalid(fault.to_string()).because(fault);
        let patch = SchemaPatch::parse(patch.as_bytes()).map_err(invalid)?;
        let (after, changes) = before.alter(&patch).map_err(invalid)?;
        if changes.is_empty() {
            return Ok(Outcome { sub: None, version: Some(before.version()), changed: Some(0) });
        }
        for change in &changes {
            if change.needs_check() {
                self.exclusive = true;
                self.check_change(&after, change)?;
            }
            if change.builds_index() || drops_index(change) {
                self.exclusive = true;
                self.rebuild(&before, &after, change)?;
            }
        }
        self.count_fact(Sub::NIL, "$schema", before.to_text().as_bytes(), false);
        self.count_fact(Sub::NIL, "$schema", after.to_text().as_bytes(), true);
        self.documents.insert(SCHEMA_DOCUMENT.into(), Some(after.encode().to_vec()));
        self.writes.insert(schema_conflict());
        let version = after.version();
        self.schema = Arc::new(after);
        self.event(EventKind::PoolAlter, Subject::Pool, version, changes.iter().map(SchemaChange::attr).collect());
        Ok(Outcome { sub: None, version: Some(version), changed: Some(changes.len() as u64) })
    }

    /// Refuses a change that the data contradicts, with the number of users in the way.
    fn check_change(&self, after: &Schema, change: &SchemaChange) -> Result<()> {
        let Some(attribute) = after.by_id(change.attr()) else { return Ok(()) };
        let mut in_the_way = 0u64;
        let mut holders: HashMap<String, u64> = HashMap::new();
        for ordinal in self.snapshot.live_ordinals(Ordinal(0)) {
            let value = self.value(ordinal, attribute)?;
            match change {
                SchemaChange::Required { to: true, .. } => in_the_way += u64::from(value.is_none()),
                SchemaChange::MaxLen { to, .. } => {
                    let long = value.is_some_and(|value| {
                        value.elements().iter().any(|element| element.wire().len() > *to as usize)
                    });
                    in_the_way += u64::from(long);
                }
                SchemaChange::Alias { .. } | SchemaChange::Collation { .. } if attribute.alias != Alias::None => {
                    for key in self.alias_keys(ordinal, attribute)? {
                        if key.is_empty() {
                            in_the_way += 1;
                        }
                        *holders.entry(key).or_default() += 1;
                    }
                }
                _ => {}
            }
        }
        in_the_way += holders.values().filter(|count| **count > 1).sum::<u64>();
        match in_the_way {
            0 => Ok(()),
            count => Err(Error::invalid(format!(
                "{} cannot be changed like this: {count} users are in the way (without a value, with a longer one, or \
                 sharing one); change them first",
                attribute.name
            ))),
        }
    }

    /// Builds the indexes that a change needs out of the data, and drops those that it ends.
    fn rebuild(&mut self, before: &Schema, after: &Schema, change: &SchemaChange) -> Result<()> {
        let (Some(old), Some(new)) = (before.by_id(change.attr()), after.by_id(change.attr())) else { return Ok(()) };
        for keyspace in [keyspace::ALIASES, keyspace::ORDER] {
            let kept = if keyspace == keyspace::ALIASES { old.alias != Alias::None } else { old.searchable };
            if kept {
                for flat in self.keys_with(&Key::new(keyspace).attr(old.id).flat())?.into_keys() {
                    self.set_key(flat, None);
                }
            }
        }
        let ordinals: Vec<Ordinal> = self.snapshot.live_ordinals(Ordinal(0)).collect();
        for ordinal in ordinals {
            self.index_user(ordinal, new)?;
        }
        Ok(())
    }

    fn index_user(&mut self, ordinal: Ordinal, attribute: &Attribute) -> Result<()> {
        for key in self.alias_keys(ordinal, attribute)? {
            let hash = self.snapshot.pool.alias_hash(&key);
            let flat = Key::alias(attribute.id, hash).ordinal(ordinal).flat();
            self.set_key(flat, Some(Bytes::new()));
        }
        for flat in self.order_keys(ordinal, attribute)? {
            self.set_key(flat, Some(Bytes::new()));
        }
        Ok(())
    }

    pub(super) fn config_set(&mut self, name: &str, if_version: Option<u64>, json: &str) -> Result<Outcome> {
        ConfigName::parse(name).map_err(|fault| Error::invalid(fault.to_string()).because(fault))?;
        let parsed: serde_json::Value =
            serde_json::from_str(json).map_err(|_| Error::invalid("the document is not JSON: send one JSON value"))?;
        check_known(name, &parsed)?;
        let canonical = serde_json_canonicalizer::to_string(&parsed)
            .map_err(|error| Error::invalid("the document has no canonical form: use plain numbers").because(error))?;
        if canonical.len() > CONFIG_MAX_BYTES {
            return Err(Error::limit("a configuration document takes 1 MiB at most"));
        }
        let before = self.document(name)?;
        let version = before.as_ref().map_or(0, |(version, _)| *version);
        if let Some(expected) = if_version
            && expected != version
        {
            return Err(Error::conflict(format!("version={version} expected={expected}")));
        }
        if before.as_ref().is_some_and(|(_, json)| *json == canonical) {
            return Ok(Outcome { sub: None, version: Some(version), changed: Some(0) });
        }
        if let Some((_, old)) = &before {
            self.count_fact(Sub::NIL, &format!("$config:{name}"), old.as_bytes(), false);
        }
        self.count_fact(Sub::NIL, &format!("$config:{name}"), canonical.as_bytes(), true);
        self.documents.insert(format!("{CONFIG_PREFIX}{name}"), Some(encode_document(version + 1, &canonical)));
        self.event(EventKind::ConfigSet, Subject::Named(name), version + 1, Vec::new());
        Ok(Outcome { sub: None, version: Some(version + 1), changed: Some(1) })
    }

    pub(super) fn config_del(&mut self, name: &str) -> Result<Outcome> {
        let Some((_, old)) = self.document(name)? else {
            return Ok(Outcome { sub: None, version: None, changed: Some(0) });
        };
        self.count_fact(Sub::NIL, &format!("$config:{name}"), old.as_bytes(), false);
        self.documents.insert(format!("{CONFIG_PREFIX}{name}"), None);
        self.event(EventKind::ConfigDel, Subject::Named(name), 0, Vec::new());
        Ok(Outcome { sub: None, version: None, changed: Some(1) })
    }

    fn document(&self, name: &str) -> Result<Option<(u64, String)>> {
        let name = format!("{CONFIG_PREFIX}{name}");
        let stored = match self.documents.get(&name) {
            Some(staged) => staged.clone().map(Bytes::from),
            None => self.snapshot.version.documents.by_name.get(name.as_str()).cloned(),
        };
        stored
            .map(|bytes| {
                let (version, json) = decode_document(&bytes).map_err(|fault| damaged(&fault))?;
                Ok((version, json.to_owned()))
            })
            .transpose()
    }
}

fn drops_index(change: &SchemaChange) -> bool {
    matches!(change, SchemaChange::Alias { to: Alias::None, .. } | SchemaChange::Searchable { to: false, .. })
}

/// The documents that Stoa reads itself must make sense to it.
fn check_known(name: &str, json: &serde_json::Value) -> Result<()> {
    let whole = |key: &str| match json.get(key) {
        None => true,
        Some(value) => value.as_u64().is_some(),
    };
    match name {
        "lockout"
            if !json.is_object() || !["max_attempts", "base_delay_ms", "max_delay_ms"].iter().all(|key| whole(key)) =>
        {
            Err(Error::invalid(
                "lockout wants an object with max_attempts, base_delay_ms and max_delay_ms as whole numbers",
            ))
        }
        "password" => {
            PasswordPolicy::parse(json).map(drop).map_err(|fault| Error::invalid(format!("password: {fault}")))
        }
        "protection" if !json.is_object() => Err(Error::invalid("protection wants an object, e.g. {\"drop\": false}")),
        _ => Ok(()),
    }
}
