//! `stoa export`: writes a pool in another system's format, from a data directory or from a running server.
//!
//! What is written does not depend on where it is read: the same pool gives the same file.

mod local;
mod remote;

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::client::LoginArgs;
use crate::export::{ExportFormat, ExportMember, ExportUser, Exporter, Memberships, exporter};
use crate::import::attrs::AttrTable;
use crate::import::record::{ImportGroup, ImportPassword, ImportUser, Status};
use crate::store::StoreArgs;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  stoa export --pool acme --format ldif --data DATA > people.ldif
  stoa export --pool acme --format keycloak --with-hashes --out realm.json --data DATA
  stoa export --pool acme --format scim --from 127.0.0.1:7862 --user ops --secret-file ops.secret > people.ndjson

Whoever can read the data directory and its key file may export hashes; the server must not be running on it. From a
server, --with-hashes needs the right @credentials.")]
pub(crate) struct ExportArgs {
    /// The pool
    #[arg(long)]
    pool: String,
    /// The format to write
    #[arg(long, value_enum)]
    format: ExportFormat,
    #[command(flatten)]
    store: StoreArgs,
    /// Read from a running server instead of from a data directory
    #[arg(long, value_name = "ADDR")]
    from: Option<String>,
    #[command(flatten)]
    login: LoginArgs,
    /// Export password hashes and further factors too
    #[arg(long)]
    with_hashes: bool,
    /// Write here instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Where a pool is read from.
trait Origin {
    /// The attributes of the pool's schema.
    fn table(&mut self) -> Result<AttrTable>;
    /// Shows every group in order of name; with `members`, each group's members behind it.
    fn groups(&mut self, sink: &mut Sink<'_, '_>, members: bool) -> Result<()>;
    /// Shows every user in order of creation; with `groups`, the names of each user's groups.
    fn users(&mut self, sink: &mut Sink<'_, '_>, groups: bool, secrets: bool) -> Result<()>;
    /// Everything was shown.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Takes what an origin shows.
struct Sink<'s, 'w> {
    exporter: &'s mut (dyn Exporter + 'w),
    table: Arc<AttrTable>,
}

impl Sink<'_, '_> {
    fn group(&mut self, group: &ImportGroup<'_>) -> Result<()> {
        Ok(self.exporter.group(group)?)
    }

    fn member(&mut self, sub: [u8; 16], username: Option<&str>) -> Result<()> {
        Ok(self.exporter.member(&ExportMember { sub, username })?)
    }

    fn user(&mut self, user: ImportUser<'_>, version: u64) -> Result<()> {
        Ok(self.exporter.user(&ExportUser { user, version })?)
    }
}

/// What stands in the place of a hash where hashes are left out: whoever may sign in here needs a new password.
fn without_hash(status: Option<Status>) -> ImportPassword<'static> {
    if status == Some(Status::External) { ImportPassword::None } else { ImportPassword::ResetRequired }
}

pub(crate) fn run(args: ExportArgs) -> Result<ExitCode> {
    let mut origin: Box<dyn Origin> = match &args.from {
        Some(address) => Box::new(remote::Remote::connect(address, &args)?),
        None if args.login.given() => {
            bail!("--user and --secret-… go with --from ADDR: a data directory asks for no user")
        }
        None => Box::new(local::Local::open(&args)?),
    };
    let table = Arc::new(origin.table()?);
    let out: Box<dyn Write> = match &args.out {
        Some(path) => {
            Box::new(std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => Box::new(std::io::stdout().lock()),
    };
    let out = Box::new(BufWriter::with_capacity(1 << 20, out));
    let mut exporter = exporter(args.format, &args.pool, &table, out)?;
    let of_groups = exporter.memberships() == Memberships::OfGroups;
    let mut sink = Sink { exporter: &mut *exporter, table };
    origin.groups(&mut sink, of_groups)?;
    origin.users(&mut sink, !of_groups, args.with_hashes)?;
    exporter.finish()?;
    origin.finish()?;
    Ok(ExitCode::SUCCESS)
}
