//! What the tests of all formats share.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use super::{
    Format, Options, Plan,
    attrs::AttrTable,
    input::Input,
    record::{AttrKey, ImportGroup, ImportUser, ImportValue, Item},
};

/// An input of the directory of sample data, or None, with a line, where that is not there.
pub(crate) fn shared(path: &str) -> Option<Input> {
    let root = std::env::var_os("STOA_SHARED_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    match Input::open(&root.join(path)) {
        Ok(input) => Some(input),
        Err(_) => {
            println!("skipped: there is no sample file {path}");
            None
        }
    }
}

/// Everything that an import yields.
pub(crate) struct Run<'a> {
    pub(crate) users: Vec<ImportUser<'a>>,
    pub(crate) groups: Vec<ImportGroup<'a>>,
    pub(crate) refused: Vec<(u64, String)>,
    pub(crate) skipped: Vec<(u64, String)>,
    pub(crate) changed: Vec<(u64, String)>,
    pub(crate) attributes: Arc<AttrTable>,
}

impl<'a> Run<'a> {
    /// Runs a plan with small batches.
    pub(crate) fn of(plan: Plan<'a>, attributes: &Arc<AttrTable>) -> Self {
        let mut items = Vec::new();
        for mut source in plan.parts.into_iter().chain(plan.last) {
            while source.next_batch(7, &mut items) {}
        }
        let attributes = Arc::clone(attributes);
        let mut run =
            Self { users: vec![], groups: vec![], refused: vec![], skipped: vec![], changed: vec![], attributes };
        for item in items {
            match item {
                Item::User(user) => run.users.push(user),
                Item::Group(group) => run.groups.push(group),
                Item::Refused { line, reason } => run.refused.push((line, reason.into_owned())),
                Item::Skipped { line, reason } => run.skipped.push((line, reason.into_owned())),
                Item::Changed { line, note } => run.changed.push((line, note.into_owned())),
            }
        }
        run
    }

    /// Imports inputs of a format with no options.
    pub(crate) fn plain(format: Format, inputs: &'a [Input]) -> Self {
        Self::with(format, inputs, &Options::default())
    }

    /// Imports inputs of a format.
    pub(crate) fn with(format: Format, inputs: &'a [Input], options: &Options) -> Self {
        let attributes = Arc::new(AttrTable::default());
        Self::of(super::plan(format, inputs, options, &attributes), &attributes)
    }

    /// Users, groups, refused, skipped.
    pub(crate) fn counts(&self) -> (usize, usize, usize, usize) {
        (self.users.len(), self.groups.len(), self.refused.len(), self.skipped.len())
    }

    /// The user of this username.
    pub(crate) fn user(&self, username: &str) -> &ImportUser<'a> {
        let found = self.users.iter().find(|u| u.text(super::attrs::standard::USERNAME) == Some(username));
        found.unwrap_or_else(|| panic!("no user {username}"))
    }

    /// The group of this name.
    pub(crate) fn group(&self, name: &str) -> &ImportGroup<'a> {
        self.groups.iter().find(|g| g.name == name).unwrap_or_else(|| panic!("no group {name}"))
    }

    /// The value of a user's attribute by its name.
    pub(crate) fn attr(&self, user: &ImportUser<'a>, name: &str) -> Option<ImportValue<'a>> {
        let key: AttrKey = self.attributes.key(name)?;
        user.attr(key).cloned()
    }

    /// A user's attributes by name.
    pub(crate) fn attrs(&self, user: &ImportUser<'a>) -> BTreeMap<String, ImportValue<'a>> {
        user.attrs.iter().map(|(key, value)| (self.attributes.spec(*key).name.to_string(), value.clone())).collect()
    }
}

/// A string value.
pub(crate) fn string(text: &'static str) -> ImportValue<'static> {
    ImportValue::Str(text.into())
}

/// A set of strings.
pub(crate) fn strings(texts: &[&'static str]) -> ImportValue<'static> {
    ImportValue::Multi(texts.iter().map(|t| (*t).into()).collect())
}
