//! `stoa export`: writes a pool in another system's format.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use stoa_engine::Pool;
use stoa_engine::pool::request::UserRef;
use stoa_engine::pool::snapshot::Snapshot;
use stoa_engine::pool::value::Value;
use stoa_engine::pool::view::UserView;

use crate::export::{ExportFormat, ExportMember, ExportUser, Memberships, exporter};
use crate::import::attrs::{AttrSpec, AttrTable, Kind};
use crate::import::record::{Factor, FactorKind, ImportGroup, ImportPassword, ImportUser, ImportValue, Status, Text};
use crate::store::StoreArgs;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  stoa export --pool acme --format ldif --data DATA > people.ldif
  stoa export --pool acme --format keycloak --with-hashes --out realm.json --data DATA

Whoever can read the data directory and its key file may export hashes; the server must not be running on it.")]
pub(crate) struct ExportArgs {
    /// The pool
    #[arg(long)]
    pool: String,
    /// The format to write
    #[arg(long, value_enum)]
    format: ExportFormat,
    #[command(flatten)]
    store: StoreArgs,
    /// Export password hashes and further factors too
    #[arg(long)]
    with_hashes: bool,
    /// Write here instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: ExportArgs) -> Result<ExitCode> {
    let store = args.store.open(false)?;
    let pool = store.pool(&args.pool)?;
    let out: Box<dyn Write> = match &args.out {
        Some(path) => {
            Box::new(std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => Box::new(std::io::stdout().lock()),
    };
    write(&pool, &args, Box::new(BufWriter::with_capacity(1 << 20, out)))?;
    store.close()?;
    Ok(ExitCode::SUCCESS)
}

fn write(pool: &Pool, args: &ExportArgs, out: Box<dyn Write + '_>) -> Result<()> {
    let snapshot = pool.snapshot();
    let table = Arc::new(table(&snapshot));
    let mut exporter = exporter(args.format, &args.pool, &table, out)?;
    let of_groups = exporter.memberships() == Memberships::OfGroups;
    snapshot.each_group(&mut |group| -> Result<()> {
        let json = group.json.as_ref().map(|json| serde_json::Value::Object(json.clone()).to_string());
        exporter.group(&ImportGroup {
            line: 0,
            name: Text::Borrowed(&group.name),
            description: group.description.as_deref().map(Text::Borrowed),
            precedence: group.precedence,
            role: group.role.as_deref().map(Text::Borrowed),
            kind: group.kind.as_deref().map(Text::Borrowed),
            attributes: json.map(Text::Owned),
            members: Vec::new(),
        })?;
        if of_groups {
            snapshot.each_member(&group.name, &mut |view: UserView| -> Result<()> {
                let username = view.attrs.iter().find(|(name, _)| &**name == "username");
                let username = username.and_then(|(_, value)| value.as_ref()).map(|value| value.text().into_owned());
                exporter.member(&ExportMember { sub: view.sub.0, username: username.as_deref() })?;
                Ok(())
            })?;
        }
        Ok(())
    })?;
    snapshot.each_user(&mut |view: UserView| -> Result<()> {
        let record = record(&snapshot, &table, &view, args.with_hashes, !of_groups)?;
        exporter.user(&ExportUser { user: record, version: view.version })?;
        Ok(())
    })?;
    exporter.finish()?;
    Ok(())
}

fn table(snapshot: &Snapshot) -> AttrTable {
    let kind = |ty: stoa_engine::pool::value::AttrType| Kind::parse(ty.word()).unwrap_or(Kind::Str);
    AttrTable::with_schema(snapshot.schema().attributes().iter().map(|attribute| AttrSpec {
        name: attribute.name.as_str().into(),
        kind: kind(attribute.ty),
        multi: attribute.multi,
    }))
}

fn import_value(value: &Value) -> ImportValue<'static> {
    match value {
        Value::Str(text) => ImportValue::Str(Text::Owned(text.to_string())),
        Value::Int(number) => ImportValue::Int(*number),
        Value::Bool(truth) => ImportValue::Bool(*truth),
        Value::Time(ms) => ImportValue::Time(*ms),
        Value::Json(text) => ImportValue::Json(Text::Owned(text.to_string())),
        Value::Bytes(bytes) => ImportValue::Bytes(bytes.to_vec().into()),
        Value::Multi(values) => {
            ImportValue::Multi(values.iter().map(|value| Text::Owned(value.text().into_owned())).collect())
        }
    }
}

fn record(
    snapshot: &Snapshot,
    table: &AttrTable,
    view: &UserView,
    with_hashes: bool,
    with_groups: bool,
) -> Result<ImportUser<'static>> {
    let user = UserRef::Sub(view.sub);
    let mut record = ImportUser {
        sub: Some(view.sub.0),
        enabled: Some(view.enabled),
        status: Status::parse(view.status.word()),
        created_at_ms: Some(view.created_at_ms as i64),
        updated_at_ms: Some(view.updated_at_ms as i64),
        ..ImportUser::default()
    };
    for (name, value) in &view.attrs {
        if let (Some(key), Some(value)) = (table.key(name), value) {
            record.attrs.push((key, import_value(value)));
        }
    }
    match snapshot.password(&user)? {
        Some(password) if with_hashes => record.password = ImportPassword::Hash(Text::Owned(password.hash.to_string())),
        Some(_) => record.password = ImportPassword::ResetRequired,
        None => {}
    }
    for identity in snapshot.identities(&user)? {
        record.identities.push((Text::Owned(identity.provider.to_string()), Text::Owned(identity.subject.to_string())));
    }
    if with_hashes {
        for listed in snapshot.factors(&user)? {
            let Some(factor) = snapshot.factor(&user, &listed.kind, &listed.id)? else { continue };
            let Some(kind) = FactorKind::parse(&factor.kind) else { continue };
            record.factors.push(Factor {
                kind,
                id: Text::Owned(factor.id.to_string()),
                label: factor.label.map(|label| Text::Owned(label.to_string())),
                blob: factor.blob.unwrap_or_default().to_vec().into(),
            });
        }
    }
    if with_groups {
        record.groups = snapshot.group_names(&user)?.into_iter().map(Text::Owned).collect();
    }
    Ok(record)
}
