//! The `stoa` field: what an export format has no place for.
//!
//! Every exporter writes what its format can carry faithfully, and the remainder as one JSON object in a field of its own
//! (`stoa-rest` in LDIF, `stoa:rest` in Cognito's CSV, `stoa` in JSON formats). Other products ignore it; the importer
//! lays it over what it read from the format, so that an export comes back equal. All keys are optional:
//!
//! | key | content |
//! | --- | --- |
//! | `sub` | UUID |
//! | `attrs` | attributes by name: string, boolean, integer, array of strings (multi-valued), or `{"json": text}`, `{"bytes": base64}`, `{"time": ms}` |
//! | `drop` | what the format made its writer invent: names of attributes, or `sub`, `enabled`, `status`, `created_at`, `updated_at` |
//! | `password` | `{"hash": text}`, `"none"`, `"reset"`, `"locked"` |
//! | `enabled`, `status`, `temporary`, `created_at`, `updated_at` | as in the record, times in ms |
//! | `groups` | names |
//! | `identities` | `[provider, subject]` each |
//! | `factors` | `{"kind", "id", "label", "blob": base64}` each |
//!
//! and for a group `name`, `description`, `precedence`, `role`, `kind`, `attributes` (JSON text).

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    attrs::{AttrTable, Kind, is_attribute_name},
    forms,
    record::{Factor, FactorKind, ImportGroup, ImportPassword, ImportUser, ImportValue, Status},
};

/// The field's content.
#[derive(Serialize, Deserialize, Default, Debug)]
#[serde(default)]
pub(crate) struct Rest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sub: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) attrs: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) drop: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) temporary: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) updated_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) groups: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) identities: Option<Vec<(String, String)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) factors: Option<Vec<RestFactor>>,
}

/// A further factor in the field.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct RestFactor {
    kind: String,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    blob: String,
}

/// The field's content for a group.
#[derive(Serialize, Deserialize, Default, Debug)]
#[serde(default)]
pub(crate) struct RestGroup {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) precedence: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attributes: Option<String>,
}

/// Why the field cannot be laid over a record.
pub(crate) type Fault = &'static str;

impl Rest {
    /// Reads the field's text.
    ///
    /// # Errors
    /// If it is not what an export writes.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Fault> {
        serde_json::from_slice(text).map_err(|_| "the stoa field is not what an export writes")
    }

    /// The field's text; None if there is nothing to say.
    pub(crate) fn text(&self) -> Option<String> {
        let text = serde_json::to_string(self).ok()?;
        (text != "{}").then_some(text)
    }

    /// What must be laid over `read` to make it `want`; their attributes' keys are those of their own tables.
    pub(crate) fn difference(
        read: &ImportUser<'_>,
        read_table: &AttrTable,
        want: &ImportUser<'_>,
        want_table: &AttrTable,
    ) -> Self {
        let mut rest = Self::default();
        for (key, value) in &want.attrs {
            let name = &want_table.spec(*key).name;
            if read_table.key(name).and_then(|key| read.attr(key)) != Some(value) {
                rest.attrs.insert(name.to_string(), attr_to_json(value));
            }
        }
        for (key, _) in &read.attrs {
            let name = &read_table.spec(*key).name;
            if want_table.key(name).is_none_or(|key| want.attr(key).is_none()) {
                rest.drop.push(name.to_string());
            }
        }
        if read.password != want.password {
            rest.password = Some(password_to_json(&want.password));
        }
        rest.sub = rest.replaced("sub", &read.sub, &want.sub).map(|sub| forms::uuid_text(&sub));
        rest.enabled = rest.replaced("enabled", &read.enabled, &want.enabled);
        rest.status = rest.replaced("status", &read.status, &want.status).map(|status| status.as_str().to_owned());
        rest.created_at = rest.replaced("created_at", &read.created_at_ms, &want.created_at_ms);
        rest.updated_at = rest.replaced("updated_at", &read.updated_at_ms, &want.updated_at_ms);
        rest.temporary = (read.temporary != want.temporary).then_some(want.temporary);
        if read.groups != want.groups {
            rest.groups = Some(want.groups.iter().map(ToString::to_string).collect());
        }
        if read.identities != want.identities {
            rest.identities = Some(want.identities.iter().map(|(p, s)| (p.to_string(), s.to_string())).collect());
        }
        if read.factors != want.factors {
            rest.factors = Some(want.factors.iter().map(RestFactor::of).collect());
        }
        rest
    }

    /// The value to lay over, or a note to drop what was read.
    fn replaced<T: PartialEq + Copy>(&mut self, word: &str, read: &Option<T>, want: &Option<T>) -> Option<T> {
        if read.is_some() && want.is_none() {
            self.drop.push(word.to_owned());
        }
        if read == want { None } else { *want }
    }

    /// Lays the field over a record that was read from the format.
    ///
    /// # Errors
    /// If it names what no pool can have; the record is then not to be taken.
    pub(crate) fn lay_over(self, user: &mut ImportUser<'_>, table: &Arc<AttrTable>) -> Result<(), Fault> {
        for name in &self.drop {
            match name.as_str() {
                "sub" => user.sub = None,
                "enabled" => user.enabled = None,
                "status" => user.status = None,
                "created_at" => user.created_at_ms = None,
                "updated_at" => user.updated_at_ms = None,
                name => {
                    if let Some(key) = table.key(name) {
                        user.attrs.retain(|(k, _)| *k != key);
                    }
                }
            }
        }
        for (name, value) in self.attrs {
            let (kind, multi, value) = attr_from_json(value)?;
            if !is_attribute_name(&name) {
                return Err("the stoa field names an attribute that no pool can have");
            }
            let key = table.intern(&name, kind, multi).ok_or("the schema would have more than 512 attributes")?;
            user.set(key, table.spec(key).fit(value).map_err(|_| "the stoa field has an attribute of another type")?);
        }
        if let Some(sub) = self.sub {
            user.sub = Some(forms::uuid(&sub).ok_or("the stoa field's sub is no UUID")?);
        }
        if let Some(password) = self.password {
            user.password = password_from_json(password)?;
        }
        if let Some(status) = self.status {
            user.status = Some(Status::parse(&status).ok_or("the stoa field's status is unknown")?);
        }
        user.enabled = self.enabled.or(user.enabled);
        user.temporary = self.temporary.unwrap_or(user.temporary);
        user.created_at_ms = self.created_at.or(user.created_at_ms);
        user.updated_at_ms = self.updated_at.or(user.updated_at_ms);
        if let Some(groups) = self.groups {
            if groups.iter().any(String::is_empty) {
                return Err("the stoa field names a group without a name");
            }
            user.groups = groups.into_iter().map(Cow::Owned).collect();
        }
        if let Some(identities) = self.identities {
            user.identities = identities.into_iter().map(|(p, s)| (Cow::Owned(p), Cow::Owned(s))).collect();
        }
        if let Some(factors) = self.factors {
            user.factors = factors.into_iter().map(RestFactor::into_factor).collect::<Result<_, _>>()?;
        }
        Ok(())
    }
}

impl RestFactor {
    fn of(factor: &Factor<'_>) -> Self {
        Self {
            kind: factor.kind.as_str().into(),
            id: factor.id.to_string(),
            label: factor.label.as_ref().map(ToString::to_string),
            blob: forms::to_base64(&factor.blob),
        }
    }

    fn into_factor(self) -> Result<Factor<'static>, Fault> {
        Ok(Factor {
            kind: FactorKind::parse(&self.kind).ok_or("the stoa field has a factor of an unknown kind")?,
            id: Cow::Owned(self.id),
            label: self.label.map(Cow::Owned),
            blob: Cow::Owned(forms::base64(self.blob.as_bytes()).ok_or("the stoa field has a damaged factor")?),
        })
    }
}

impl RestGroup {
    /// Reads the field's text.
    ///
    /// # Errors
    /// If it is not what an export writes.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Fault> {
        serde_json::from_slice(text).map_err(|_| "the stoa field is not what an export writes")
    }

    /// The field's text; None if there is nothing to say.
    pub(crate) fn text(&self) -> Option<String> {
        let text = serde_json::to_string(self).ok()?;
        (text != "{}").then_some(text)
    }

    /// Everything of a group but its name and members.
    pub(crate) fn of(group: &ImportGroup<'_>) -> Self {
        let owned = |text: &Option<Cow<'_, str>>| text.as_ref().map(ToString::to_string);
        Self {
            name: None,
            description: owned(&group.description),
            precedence: group.precedence,
            role: owned(&group.role),
            kind: owned(&group.kind),
            attributes: owned(&group.attributes),
        }
    }

    /// Lays the field over a group that was read from the format.
    ///
    pub(crate) fn lay_over(self, group: &mut ImportGroup<'_>) {
        if let Some(name) = self.name {
            group.name = Cow::Owned(name);
        }
        group.precedence = self.precedence.or(group.precedence);
        for (new, old) in [
            (self.description, &mut group.description),
            (self.role, &mut group.role),
            (self.kind, &mut group.kind),
            (self.attributes, &mut group.attributes),
        ] {
            if let Some(new) = new {
                *old = Some(Cow::Owned(new));
            }
        }
    }
}

fn attr_to_json(value: &ImportValue<'_>) -> Value {
    let tagged = |tag: &str, value: Value| {
        let mut object = Map::new();
        object.insert(tag.into(), value);
        Value::Object(object)
    };
    match value {
        ImportValue::Str(text) => Value::String(text.to_string()),
        ImportValue::Bool(b) => Value::Bool(*b),
        ImportValue::Int(n) => Value::from(*n),
        ImportValue::Time(ms) => tagged("time", Value::from(*ms)),
        ImportValue::Json(text) => tagged("json", Value::String(text.to_string())),
        ImportValue::Bytes(bytes) => tagged("bytes", Value::String(forms::to_base64(bytes))),
        ImportValue::Multi(values) => Value::Array(values.iter().map(|v| Value::String(v.to_string())).collect()),
    }
}

fn attr_from_json(value: Value) -> Result<(Kind, bool, ImportValue<'static>), Fault> {
    const DAMAGED: Fault = "the stoa field has an attribute of an unknown type";
    Ok(match value {
        Value::String(text) => (Kind::Str, false, ImportValue::Str(Cow::Owned(text))),
        Value::Bool(b) => (Kind::Bool, false, ImportValue::Bool(b)),
        Value::Number(n) => (Kind::Int, false, ImportValue::Int(n.as_i64().ok_or(DAMAGED)?)),
        Value::Array(values) => {
            let texts = values.into_iter().map(|v| match v {
                Value::String(text) => Ok(Cow::Owned(text)),
                _ => Err(DAMAGED),
            });
            (Kind::Str, true, ImportValue::Multi(texts.collect::<Result<_, _>>()?))
        }
        Value::Object(object) => match object.into_iter().next().ok_or(DAMAGED)? {
            (tag, Value::Number(ms)) if tag == "time" => {
                (Kind::Time, false, ImportValue::Time(ms.as_i64().ok_or(DAMAGED)?))
            }
            (tag, Value::String(text)) if tag == "json" => (Kind::Json, false, ImportValue::Json(Cow::Owned(text))),
            (tag, Value::String(text)) if tag == "bytes" => {
                let bytes = forms::base64(text.as_bytes()).ok_or(DAMAGED)?;
                (Kind::Bytes, false, ImportValue::Bytes(Cow::Owned(bytes)))
            }
            _ => return Err(DAMAGED),
        },
        Value::Null => return Err(DAMAGED),
    })
}

fn password_to_json(password: &ImportPassword<'_>) -> Value {
    match password {
        ImportPassword::Hash(hash) => {
            let mut object = Map::new();
            object.insert("hash".into(), Value::String(hash.to_string()));
            Value::Object(object)
        }
        ImportPassword::ResetRequired => "reset".into(),
        ImportPassword::Locked => "locked".into(),
        // A store has no password in the clear, and none that it could not take.
        ImportPassword::None | ImportPassword::Plain(_) | ImportPassword::Unsupported { .. } => "none".into(),
    }
}

fn password_from_json(value: Value) -> Result<ImportPassword<'static>, Fault> {
    match value {
        Value::String(word) if word == "none" => Ok(ImportPassword::None),
        Value::String(word) if word == "reset" => Ok(ImportPassword::ResetRequired),
        Value::String(word) if word == "locked" => Ok(ImportPassword::Locked),
        Value::Object(mut object) => match object.remove("hash") {
            Some(Value::String(hash)) => Ok(ImportPassword::Hash(Cow::Owned(hash))),
            _ => Err("the stoa field has a damaged password"),
        },
        _ => Err("the stoa field has a damaged password"),
    }
}
