//! Puts a source's attributes where they belong in a record.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use super::{
    attrs::{AttrSpec, AttrTable, Kind},
    mapping::{Mapping, Target},
    record::{AttrKey, ImportUser, ImportValue},
};

/// Notes on one record, to become [`Item::Changed`](super::record::Item::Changed).
pub(crate) type Notes = Vec<Cow<'static, str>>;

/// What a source knows of one of its attributes.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'n> {
    /// The source's name for it.
    pub(crate) name: &'n str,
    /// The standard attribute that it is, if it is one.
    pub(crate) default: Option<AttrKey>,
    /// Its type where it becomes a custom attribute that is not yet known.
    pub(crate) kind: Kind,
    pub(crate) multi: bool,
}

impl<'n> Origin<'n> {
    /// An attribute that is a standard one.
    pub(crate) fn standard(name: &'n str, key: AttrKey) -> Self {
        Self { name, default: Some(key), kind: Kind::Str, multi: false }
    }

    /// An attribute that becomes a custom one.
    pub(crate) fn custom(name: &'n str, kind: Kind, multi: bool) -> Self {
        Self { name, default: None, kind, multi }
    }
}

/// One thread's way from source names to attributes: each name is looked up in the shared table once.
pub(crate) struct Placer {
    table: Arc<AttrTable>,
    mapping: Arc<Mapping>,
    known: HashMap<Box<str>, Option<(AttrKey, Arc<AttrSpec>)>>,
}

impl Placer {
    pub(crate) fn new(table: &Arc<AttrTable>, mapping: &Arc<Mapping>) -> Self {
        Self { table: Arc::clone(table), mapping: Arc::clone(mapping), known: HashMap::new() }
    }

    /// The table behind it.
    pub(crate) fn table(&self) -> &Arc<AttrTable> {
        &self.table
    }

    /// Where an attribute goes; None where it is left out.
    pub(crate) fn target(&mut self, origin: Origin<'_>) -> Option<&(AttrKey, Arc<AttrSpec>)> {
        if !self.known.contains_key(origin.name) {
            let target = self.mapping.target(&self.table, origin.name, origin.default, origin.kind, origin.multi);
            let known = match target {
                Target::Drop => None,
                Target::Attr(key) => Some((key, self.table.spec(key))),
            };
            self.known.insert(origin.name.into(), known);
        }
        self.known.get(origin.name)?.as_ref()
    }

    /// Puts a value into the record under the attribute that it belongs to. A value that does not fit is left out with a
    /// note, and so is a second value of an attribute that takes one.
    pub(crate) fn put<'a>(
        &mut self,
        user: &mut ImportUser<'a>,
        origin: Origin<'_>,
        value: ImportValue<'a>,
        notes: &mut Notes,
    ) {
        let Some((key, spec)) = self.target(origin) else { return };
        put_fitted(user, *key, spec, value, notes);
    }
}

/// Puts a value under an attribute whose place is known; see [`Placer::put`].
pub(crate) fn put_fitted<'a>(
    user: &mut ImportUser<'a>,
    key: AttrKey,
    spec: &AttrSpec,
    value: ImportValue<'a>,
    notes: &mut Notes,
) {
    let value = match spec.fit(value) {
        Ok(value) => value,
        Err(why) => {
            notes.push(format!("{} {why}: left out", spec.name).into());
            return;
        }
    };
    match user.attrs.iter_mut().find(|(k, _)| *k == key) {
        None => user.attrs.push((key, value)),
        Some((_, ImportValue::Multi(old))) => {
            if let ImportValue::Multi(mut new) = value {
                old.append(&mut new);
                old.sort_unstable();
                old.dedup();
            }
        }
        Some((_, old)) if *old == value => {}
        Some(_) => notes.push(format!("{} is named twice: the first value is kept", spec.name).into()),
    }
}
