//! Parsers of the formats in which real users arrive.
//!
//! [`plan`] turns mapped files into a [`Plan`]: *parts* that can be read at the same time on different threads, each in
//! batches, and a *last* source for what can only be said when all parts are read (groups whose members come anywhere in
//! the input). All of them yield neutral [`Item`]s; nothing here knows of pools.
//!
//! Invariants:
//! 1. No input makes a parser fail or panic: a row that cannot be taken is an [`Item::Refused`] with its place and reason,
//!    and the next row is read.
//! 2. No reason holds a value of the input.
//! 3. The parsers never read a file or address that an input names.
//! 4. Memory is bounded by one batch a part, besides 16 bytes for each LDIF entry and the hashes of an Auth0 password file.
//! 5. The same input gives the same items, however it is split.

mod announce;
pub(crate) mod attrs;
pub(crate) mod auth0;
pub(crate) mod cognito;
pub(crate) mod firebase;
pub(crate) mod forms;
pub(crate) mod fusionauth;
mod hashes;
pub(crate) mod input;
pub(crate) mod json;
pub(crate) mod keycloak;
pub(crate) mod ldif;
pub(crate) mod mapping;
pub(crate) mod place;
pub(crate) mod record;
pub(crate) mod rest;
pub(crate) mod scim;
pub(crate) mod seen;
pub(crate) mod sniff;
pub(crate) mod time;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod speed;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

use stoa_engine::password::{Caps, convert::FirebaseParams};

use attrs::AttrTable;
use input::Input;
use mapping::Mapping;

use record::Item;

/// The formats that can be imported, by the names of `stoa import --format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// LDAP Data Interchange Format (RFC 2849).
    Ldif,
    /// Amazon Cognito's user import CSV.
    CognitoCsv,
    /// Auth0 user export, NDJSON or JSON, with its password file.
    Auth0,
    /// Keycloak realm file or directory export.
    Keycloak,
    /// Firebase `auth:export`, JSON or CSV.
    Firebase,
    /// SCIM 2.0 resources, JSON or NDJSON.
    Scim,
    /// FusionAuth's import JSON.
    Fusionauth,
}

/// What the user chose for an import.
#[derive(Clone, Default)]
pub(crate) struct Options {
    /// Where attributes without a standard name go.
    pub(crate) mapping: Arc<Mapping>,
    /// Needed for the hashes of a Firebase export.
    pub(crate) firebase: Option<FirebaseParams>,
    /// What a hash may cost at most.
    pub(crate) caps: Caps,
    /// About how large a part is, in bytes; 0 leaves each file whole.
    pub(crate) part_bytes: usize,
}

/// A stretch of one input, read in batches.
pub(crate) trait Source<'a>: Send {
    /// The input's name, for reports.
    fn input(&self) -> &'a str;

    /// Appends some `max` items to `out` (a record brings its notes with it) and says whether there may be more.
    fn next_batch(&mut self, max: usize, out: &mut Vec<Item<'a>>) -> bool;

    /// How many bytes of the input were read so far.
    fn bytes_done(&self) -> u64;
}

/// An import that is ready to run.
pub(crate) struct Plan<'a> {
    /// To be read in any order, on any threads.
    pub(crate) parts: Vec<Box<dyn Source<'a> + 'a>>,
    /// To be read when all parts are at their end.
    pub(crate) last: Option<Box<dyn Source<'a> + 'a>>,
    /// Size of all parts.
    pub(crate) bytes_total: u64,
}

/// Plans the import of `inputs`. The items' attributes are those of `attributes`, which grows while parts are read.
pub(crate) fn plan<'a>(
    format: Format,
    inputs: &'a [Input],
    options: &Options,
    attributes: &Arc<AttrTable>,
) -> Plan<'a> {
    match format {
        Format::Ldif => ldif::plan(inputs, options, attributes),
        Format::CognitoCsv => cognito::plan(inputs, options, attributes),
        Format::Auth0 => auth0::plan(inputs, options, attributes),
        Format::Keycloak => keycloak::plan(inputs, options, attributes),
        Format::Firebase => firebase::plan(inputs, options, attributes),
        Format::Scim => scim::plan(inputs, options, attributes),
        Format::Fusionauth => fusionauth::plan(inputs, options, attributes),
    }
}
