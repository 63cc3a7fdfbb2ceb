//! Writers of the formats that other products read.
//!
//! Every exporter writes what its format has a place for, reads that back with the importer of the same format, and puts
//! the difference to the user into the format's `stoa` field (see [`rest`](crate::import::rest)). So whatever a format
//! changes or cannot say, importing what was exported gives an equal record; other products ignore the field.
//!
//! Invariants:
//! 1. Records are written as they come; memory does not grow with the number of users. (Keycloak's exporter holds the
//!    groups, without their members, until the first user.)
//! 2. The order of calls is: each group with its members, then the users, then `finish`.
//! 3. Custom attributes are written in the format's own place only where the importer gives them the pool's type again.

mod auth0;
mod cognito;
mod json;
mod keycloak;
mod ldif;
mod scim;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Write},
    sync::Arc,
};

use crate::import::{
    Format, Options,
    attrs::{AttrTable, Kind},
    input::Input,
    record::{AttrKey, ImportGroup, ImportUser, ImportValue, Item},
    rest::Rest,
};

/// The formats that can be exported, by the names of `stoa export --format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExportFormat {
    /// LDAP Data Interchange Format (RFC 2849).
    Ldif,
    /// Amazon Cognito's user import CSV.
    CognitoCsv,
    /// Auth0's bulk import, NDJSON.
    Auth0,
    /// A Keycloak realm file.
    Keycloak,
    /// SCIM 2.0 resources, NDJSON.
    Scim,
}

/// A user on the way out. Whoever may not see the hash passes [`ImportPassword::ResetRequired`] in its place.
///
/// [`ImportPassword::ResetRequired`]: crate::import::record::ImportPassword::ResetRequired
pub(crate) struct ExportUser<'a> {
    pub(crate) user: ImportUser<'a>,
    /// The user's version in the pool; only SCIM has a place for it.
    pub(crate) version: u64,
}

/// A member of a group on the way out; each format names members in its own way.
pub(crate) struct ExportMember<'a> {
    pub(crate) sub: [u8; 16],
    pub(crate) username: Option<&'a str>,
}

/// Which side a format writes memberships on: the other side need not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memberships {
    /// `ImportUser::groups` of each user; `member` is not called.
    OfUsers,
    /// `member` after each group; `ImportUser::groups` is ignored.
    OfGroups,
}

/// Writes one format.
pub(crate) trait Exporter {
    /// Where this format wants memberships.
    fn memberships(&self) -> Memberships;

    /// Begins a group, after the end of the one before. Its `members` are ignored.
    ///
    /// # Errors
    /// If the output fails.
    fn group(&mut self, group: &ImportGroup<'_>) -> io::Result<()>;

    /// Adds a member to the group that was begun last.
    ///
    /// # Errors
    /// If the output fails.
    fn member(&mut self, member: &ExportMember<'_>) -> io::Result<()>;

    /// Writes a user.
    ///
    /// # Errors
    /// If the output fails.
    fn user(&mut self, user: &ExportUser<'_>) -> io::Result<()>;

    /// Writes what the format ends with, and flushes.
    ///
    /// # Errors
    /// If the output fails.
    fn finish(&mut self) -> io::Result<()>;
}

/// An exporter of `format` to `out` for users whose attributes are those of `attributes`; `name` is the pool's.
///
/// # Errors
/// If the output fails.
pub(crate) fn exporter<'w>(
    format: ExportFormat,
    name: &str,
    attributes: &Arc<AttrTable>,
    out: Box<dyn Write + 'w>,
) -> io::Result<Box<dyn Exporter + 'w>> {
    let attributes = Arc::clone(attributes);
    Ok(match format {
        ExportFormat::Ldif => Box::new(ldif::Ldif::new(name, attributes, out)?),
        ExportFormat::CognitoCsv => Box::new(cognito::Cognito::new(attributes, out)?),
        ExportFormat::Auth0 => Box::new(auth0::Auth0::new(attributes, out)),
        ExportFormat::Keycloak => Box::new(keycloak::Keycloak::new(name, attributes, out)?),
        ExportFormat::Scim => Box::new(scim::Scim::new(attributes, out)),
    })
}

/// Compares what an importer makes of written text with the user that was meant.
struct ReadBack {
    format: Format,
    options: Options,
    /// The pool's attributes.
    want: Arc<AttrTable>,
    /// The attributes that importing the written text would bring.
    read: Arc<AttrTable>,
}

impl ReadBack {
    fn new(format: Format, want: Arc<AttrTable>) -> Self {
        Self { format, options: Options::default(), want, read: Arc::new(AttrTable::default()) }
    }

    /// What must be said beside `native` so that it comes back as `user`.
    fn rest(&self, native: Vec<u8>, user: &ImportUser<'_>) -> Option<String> {
        let input = [Input::from_bytes("export", native)];
        let plan = crate::import::plan(self.format, &input, &self.options, &self.read);
        let mut items = Vec::new();
        for mut part in plan.parts {
            while part.next_batch(16, &mut items) {}
        }
        let nothing = ImportUser::default();
        let read = items.iter().find_map(|item| match item {
            Item::User(user) => Some(user),
            _ => None,
        });
        Rest::difference(read.unwrap_or(&nothing), &self.read, user, &self.want).text()
    }

    /// The attributes of the pool that have `kind` and `multi`, and whose custom name is given, with that name.
    fn customs(&self, kind: Kind, multi: bool) -> Vec<(AttrKey, String)> {
        let specs = self.want.since(0).into_iter();
        specs
            .filter(|(_, spec)| spec.kind == kind && spec.multi == multi)
            .filter_map(|(key, spec)| Some((key, spec.name.strip_prefix("custom:")?.to_owned())))
            .collect()
    }
}

/// A boolean attribute's value.
fn boolean(user: &ImportUser<'_>, key: AttrKey) -> Option<bool> {
    match user.attr(key)? {
        ImportValue::Bool(value) => Some(*value),
        _ => None,
    }
}
