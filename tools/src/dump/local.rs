//! Reading a pool of a data directory.

use anyhow::Result;
use stoa_engine::Store;
use stoa_engine::pool::request::UserRef;
use stoa_engine::pool::snapshot::Snapshot;
use stoa_engine::pool::value::Value;
use stoa_engine::pool::view::{GroupView, UserView};

use super::{ExportArgs, Origin, Sink, without_hash};
use crate::import::attrs::{AttrSpec, AttrTable, Kind};
use crate::import::record::{Factor, FactorKind, ImportGroup, ImportPassword, ImportUser, ImportValue, Status, Text};

/// One state of a pool in an open store.
pub(super) struct Local {
    store: Store,
    snapshot: Snapshot,
}

impl Local {
    pub(super) fn open(args: &ExportArgs) -> Result<Self> {
        let store = args.store.open(false)?;
        let snapshot = store.pool(&args.pool)?.snapshot();
        Ok(Self { store, snapshot })
    }
}

impl Origin for Local {
    fn table(&mut self) -> Result<AttrTable> {
        Ok(table_of(&self.snapshot))
    }

    fn groups(&mut self, sink: &mut Sink<'_, '_>, members: bool) -> Result<()> {
        let snapshot = &self.snapshot;
        snapshot.each_group(&mut |group: GroupView| -> Result<()> {
            let json = group.json.as_ref().map(|json| serde_json::Value::Object(json.clone()).to_string());
            sink.group(&ImportGroup {
                line: 0,
                name: Text::Borrowed(&group.name),
                description: group.description.as_deref().map(Text::Borrowed),
                precedence: group.precedence,
                role: group.role.as_deref().map(Text::Borrowed),
                kind: group.kind.as_deref().map(Text::Borrowed),
                attributes: json.map(Text::Owned),
                members: Vec::new(),
            })?;
            if members {
                snapshot.each_member(&group.name, &mut |view: UserView| -> Result<()> {
                    let username = view.attrs.iter().find(|(name, _)| &**name == "username");
                    let username =
                        username.and_then(|(_, value)| value.as_ref()).map(|value| value.text().into_owned());
                    sink.member(view.sub.0, username.as_deref())
                })?;
            }
            Ok(())
        })
    }

    fn users(&mut self, sink: &mut Sink<'_, '_>, groups: bool, secrets: bool) -> Result<()> {
        let snapshot = &self.snapshot;
        let table = sink.table.clone();
        snapshot.each_user(&mut |view: UserView| -> Result<()> {
            let record = record(snapshot, &table, &view, secrets, groups)?;
            sink.user(record, view.version)
        })
    }

    fn finish(self: Box<Self>) -> Result<()> {
        drop(self.snapshot);
        Ok(self.store.close()?)
    }
}

fn table_of(snapshot: &Snapshot) -> AttrTable {
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
        _ if with_hashes => {}
        _ => record.password = without_hash(record.status),
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
