//! `stoa import`: reads another system's export and brings a pool up to date with it.
//!
//! Parsers run on their own threads and feed one loader; rows are taken one by one, so a bad one is
//! reported and the rest goes on. A second run of the same file changes nothing.

mod direct;
mod local;
mod plain;
mod remote;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use stoa_engine::password::convert::FirebaseParams;

use crate::client::LoginArgs;
use crate::import::attrs::{AttrSpec, AttrTable, Kind};
use crate::import::input::{Input, expand};
use crate::import::mapping::Mapping;
use crate::import::record::{ImportGroup, ImportUser, Item, MemberRef};
use crate::import::seen::Seen;
use crate::import::{Format, Options, Plan, plan, sniff};
use crate::store::StoreArgs;
use report::Report;

/// Parts of this size are parsed on different threads.
const PART_BYTES: usize = 8 << 20;
/// Items a parser hands over at once.
const BATCH_ITEMS: usize = 1024;
/// Batches that may wait for the loader.
const BATCHES_WAITING: usize = 8;
/// Batches that are read before the first row is taken.
const FIRST_BATCHES: usize = 32;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  stoa import --pool acme --format ldif people.ldif --data DATA
  stoa import --pool acme --format keycloak export-dir/ --data DATA --report report.json
  stoa import --pool acme --format auth0 users.ndjson passwords.ndjson --to 127.0.0.1:7862
  stoa import --pool acme --format ldif people.ldif --map attributes.toml --data DATA

A mapping file (TOML) says where attributes without a standard name go:
  [attributes]
  employeeNumber = \"custom:employee_no\"
  jpegPhoto = \"\"                        # left out")]
pub(crate) struct ImportArgs {
    /// The pool; made if it is not there
    #[arg(long)]
    pool: String,
    /// The format of the files
    #[arg(long, value_enum)]
    format: Format,
    /// Files, or directories of them; - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    /// Load over TCP into a running server instead of into a data directory
    #[arg(long, value_name = "ADDR")]
    to: Option<String>,
    #[command(flatten)]
    login: LoginArgs,
    /// Where attributes without a standard name go (TOML)
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Write a line of JSON for each row that was refused, skipped or changed, and the counts
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
    /// Firebase: a TOML file with signer_key, salt_separator, rounds and mem_cost of the project
    #[arg(long, value_name = "FILE")]
    firebase_parameters: Option<PathBuf>,
}

/// What a row did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Created,
    Updated,
    Unchanged,
}

/// Where rows go. `'a` is the mapped input, from which rows borrow.
trait Target<'a> {
    /// The attributes of the pool's schema.
    fn schema(&mut self) -> Result<Vec<AttrSpec>>;
    /// Adds attributes to the pool's schema.
    fn extend_schema(&mut self, specs: &[Arc<AttrSpec>]) -> Result<()>;
    /// Takes a group, without its members.
    fn group(&mut self, group: &ImportGroup<'_>, table: &AttrTable) -> Result<Change, String>;
    /// Takes a user; the report is told what became of it, now or when a batch is committed.
    fn user(&mut self, user: ImportUser<'a>, table: &AttrTable, report: &mut Report) -> Result<()>;
    /// Takes a membership.
    fn membership(&mut self, group: &str, member: &MemberRef<'static>, report: &mut Report) -> Result<()>;
    /// Commits what waits.
    fn flush(&mut self, report: &mut Report) -> Result<()>;
    /// How many users were made whose times of creation could not be kept.
    fn times_lost(&self) -> u64 {
        0
    }
    /// Everything has been given: ends what was begun.
    fn finish(&mut self, table: &AttrTable, report: &mut Report) -> Result<()>;
}

pub(crate) fn run(args: ImportArgs) -> Result<ExitCode> {
    let inputs = open_inputs(&args)?;
    let options = options(&args)?;
    // Before anything is made: a mistake in the command leaves nothing behind.
    stoa_engine::pool::names::PoolName::parse(&args.pool)?;
    inputs.iter().try_for_each(|input| sniff::check(args.format, input))?;
    let mut target: Box<dyn Target<'_>> = match &args.to {
        Some(address) => Box::new(remote::Remote::connect(address, &args)?),
        None if args.login.given() => {
            bail!("--user and --secret-… go with --to ADDR: a data directory asks for no user")
        }
        None => Box::new(local::Local::open(&args.store, &args.pool)?),
    };
    let table = Arc::new(AttrTable::with_schema(target.schema()?));
    let known = table.len();
    let plan = plan(args.format, &inputs, &options, &table);
    let mut report = Report::new(args.report.as_deref())?;
    let started = Instant::now();
    load(plan, &mut *target, &table, known, &mut report)?;
    let refused = report.finish(started.elapsed(), args.json)?;
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn open_inputs(args: &ImportArgs) -> Result<Vec<Input>> {
    let wanted = |name: &str| match args.format {
        Format::Ldif => name.ends_with(".ldif"),
        Format::CognitoCsv => name.ends_with(".csv"),
        Format::Firebase => name.ends_with(".csv") || name.ends_with(".json"),
        _ => name.ends_with(".json") || name.ends_with(".ndjson"),
    };
    let files = expand(&args.files, wanted)?;
    if files.is_empty() {
        bail!("there is no file of this format in the directories given: see the endings that --format takes");
    }
    Ok(files.iter().map(|path| Input::open(path)).collect::<Result<_, _>>()?)
}

fn options(args: &ImportArgs) -> Result<Options> {
    let mut options = Options { part_bytes: PART_BYTES, ..Options::default() };
    if let Some(path) = &args.map {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        options.mapping = Arc::new(Mapping::parse(&text).with_context(|| format!("{}", path.display()))?);
    }
    if let Some(path) = &args.firebase_parameters {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let table: toml::Table = text.parse().with_context(|| format!("{}", path.display()))?;
        let text = |key: &str| table.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        let number = |key: &str| table.get(key).and_then(toml::Value::as_integer).unwrap_or_default() as u32;
        let key = text("signer_key");
        let parameters = FirebaseParams::new(&key, &text("salt_separator"), number("rounds"), number("mem_cost"));
        options.firebase = Some(parameters.with_context(|| format!("{}", path.display()))?);
    }
    Ok(options)
}

/// Runs the parsers and gives their items to the target.
fn load<'a>(
    plan: Plan<'a>,
    target: &mut dyn Target<'a>,
    table: &Arc<AttrTable>,
    known: usize,
    report: &mut Report,
) -> Result<()> {
    let Plan { parts, last, bytes_total, .. } = plan;
    let bar = progress(bytes_total);
    let mut rows = Rows { target, table, known, seen: Seen::default(), memberships: Vec::new() };
    let parts = std::sync::Mutex::new(parts.into_iter().collect::<std::collections::VecDeque<_>>());
    std::thread::scope(|scope| -> Result<()> {
        let (send, receive) = sync_channel(BATCHES_WAITING);
        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1));
        let parts = &parts;
        for _ in 0..threads {
            let send = send.clone();
            let parse = move || {
                loop {
                    let next = parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front();
                    let Some(mut part) = next else { return };
                    loop {
                        let mut items = Vec::with_capacity(BATCH_ITEMS);
                        let before = part.bytes_done();
                        let more = part.next_batch(BATCH_ITEMS, &mut items);
                        let read = part.bytes_done().saturating_sub(before);
                        if send.send((part.input(), items, read)).is_err() {
                            return;
                        }
                        if !more {
                            break;
                        }
                    }
                }
            };
            std::thread::Builder::new().name("stoa-parse".into()).spawn_scoped(scope, parse)?;
        }
        drop(send);
        let receive: Receiver<(&str, Vec<Item<'a>>, u64)> = receive;
        // The first batches are looked at together, so that the schema is whole before the first row is taken.
        let mut first: Vec<_> = receive.iter().take(FIRST_BATCHES).collect();
        rows.extend_schema(report)?;
        for (input, items, read) in first.drain(..).chain(receive) {
            rows.take(input, items, report)?;
            bar.inc(read);
        }
        Ok(())
    })?;
    if let Some(mut last) = last {
        loop {
            let mut items = Vec::new();
            let more = last.next_batch(BATCH_ITEMS, &mut items);
            rows.take(last.input(), items, report)?;
            if !more {
                break;
            }
        }
    }
    let Rows { target, memberships, .. } = rows;
    target.flush(report)?;
    for (group, member) in memberships {
        target.membership(&group, &member, report)?;
    }
    target.finish(table, report)?;
    report.times_lost(target.times_lost());
    bar.finish_and_clear();
    Ok(())
}

/// Gives rows to the target, one by one.
struct Rows<'t, 'a> {
    target: &'t mut dyn Target<'a>,
    table: &'t AttrTable,
    /// So many of the table's attributes are in the pool's schema.
    known: usize,
    seen: Seen,
    /// Members may come before the users whom they name: they are taken at the end.
    memberships: Vec<(String, MemberRef<'static>)>,
}

impl<'a> Rows<'_, 'a> {
    fn extend_schema(&mut self, report: &mut Report) -> Result<()> {
        if self.table.len() > self.known {
            self.target.flush(report)?;
            let specs: Vec<_> = self.table.since(self.known).into_iter().map(|(_, spec)| spec).collect();
            self.target.extend_schema(&specs)?;
            self.known += specs.len();
        }
        Ok(())
    }

    fn take(&mut self, input: &str, items: Vec<Item<'a>>, report: &mut Report) -> Result<()> {
        report.input(input);
        self.extend_schema(report)?;
        for item in items {
            match item {
                Item::User(user) => match self.seen.note(&user) {
                    Some(line) => report.refused(user.line, &format!("line {line} of this import is the same user")),
                    None => self.target.user(user, self.table, report)?,
                },
                Item::Group(mut group) => {
                    let members = std::mem::take(&mut group.members);
                    self.memberships.extend(members.into_iter().map(|member| (group.name.to_string(), owned(member))));
                    report.group(group.line, self.target.group(&group, self.table));
                }
                Item::Refused { line, reason } => report.refused(line, &reason),
                Item::Skipped { line, reason } => report.skipped(line, &reason),
                Item::Changed { line, note } => report.changed(line, &note),
            }
        }
        Ok(())
    }
}

fn owned(member: MemberRef<'_>) -> MemberRef<'static> {
    match member {
        MemberRef::Sub(sub) => MemberRef::Sub(sub),
        MemberRef::Username(name) => MemberRef::Username(name.into_owned().into()),
        MemberRef::Email(email) => MemberRef::Email(email.into_owned().into()),
    }
}

fn progress(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {elapsed} (eta {eta})");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    // Nothing is drawn for what takes less than a second.
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

/// An attribute's rules as POOL.ALTER takes them.
fn schema_patch(specs: &[Arc<AttrSpec>]) -> String {
    let rule = |spec: &AttrSpec| {
        let mut rule = serde_json::Map::new();
        rule.insert("type".into(), spec.kind.as_str().into());
        if spec.multi {
            rule.insert("multi".into(), true.into());
        }
        serde_json::Value::Object(rule)
    };
    let attributes: serde_json::Map<_, _> = specs.iter().map(|spec| (spec.name.to_string(), rule(spec))).collect();
    serde_json::json!({ "attributes": attributes }).to_string()
}

/// The attributes of a schema document.
pub(crate) fn specs_of(schema: &serde_json::Value) -> Vec<AttrSpec> {
    let Some(attributes) = schema.get("attributes").and_then(serde_json::Value::as_object) else { return Vec::new() };
    attributes
        .iter()
        .map(|(name, rule)| AttrSpec {
            name: name.as_str().into(),
            kind: rule.get("type").and_then(serde_json::Value::as_str).and_then(Kind::parse).unwrap_or(Kind::Str),
            multi: rule.get("multi").and_then(serde_json::Value::as_bool).unwrap_or(false),
        })
        .collect()
}
