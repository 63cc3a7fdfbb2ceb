//! Changing a schema: what a request may say, what comes out, and what must be done to the data for it.

use serde_json::Value as Json;
use stoa_format::AttrId;

use super::{Alias, Attribute, AttributeFault, InvalidSchema, Schema};
use crate::pool::collation::{COLLATION_VERSION, Collation};
use crate::pool::names::AttrName;
use crate::pool::value::{AttrType, read_json};

/// What a request says about attributes; what it does not say stays, or takes its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SchemaPatch {
    /// The attributes that it names, in the order of their names.
    pub attributes: Vec<(AttrName, AttrPatch)>,
}

/// What a request says about one attribute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of Attribute")]
pub struct AttrPatch {
    pub ty: Option<AttrType>,
    pub max_len: Option<u32>,
    pub required: Option<bool>,
    pub mutable: Option<bool>,
    pub multi: Option<bool>,
    pub alias: Option<Alias>,
    pub searchable: Option<bool>,
    pub collation: Option<Collation>,
}

/// One difference between two schemas, and so what has to be checked or built.
///
/// A new attribute brings [`SchemaChange::Added`] and, if it is required, [`SchemaChange::Required`]; its
/// indexes begin empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the state before (from) or after (to)")]
pub enum SchemaChange {
    /// A new attribute. Nothing to check, nothing to rewrite.
    Added { attr: AttrId },
    /// Check that no value is longer, if `to` is less than `from`.
    MaxLen { attr: AttrId, from: u32, to: u32 },
    /// Check that every user has it, if `to`.
    Required { attr: AttrId, to: bool },
    /// Nothing to check.
    Mutable { attr: AttrId, to: bool },
    /// `Unique`: check that no two users hold a value and none is empty, build the index. `Verified`: the same
    /// among those whose flag is true. `None`: drop the index.
    Alias { attr: AttrId, from: Alias, to: Alias },
    /// Build the index in order of values, or drop it.
    Searchable { attr: AttrId, to: bool },
    /// Rebuild the indexes that the attribute has; for an alias check that no two users' values become one.
    Collation { attr: AttrId, from: Collation, to: Collation },
}

impl SchemaChange {
    /// The attribute that changes.
    pub fn attr(&self) -> AttrId {
        match *self {
            Self::Added { attr }
            | Self::MaxLen { attr, .. }
            | Self::Required { attr, .. }
            | Self::Mutable { attr, .. }
            | Self::Alias { attr, .. }
            | Self::Searchable { attr, .. }
            | Self::Collation { attr, .. } => attr,
        }
    }

    /// Whether data that is there may contradict the change.
    pub fn needs_check(&self) -> bool {
        match *self {
            Self::Added { .. } | Self::Mutable { .. } | Self::Searchable { .. } => false,
            Self::MaxLen { from, to, .. } => to < from,
            Self::Required { to, .. } => to,
            Self::Alias { to, .. } => to != Alias::None,
            // Of an attribute that is no alias, too; the caller knows whether it is one.
            Self::Collation { .. } => true,
        }
    }

    /// Whether an index has to be built from the data.
    pub fn builds_index(&self) -> bool {
        match *self {
            Self::Alias { to, .. } => to != Alias::None,
            Self::Searchable { to, .. } => to,
            Self::Collation { .. } => true,
            Self::Added { .. } | Self::MaxLen { .. } | Self::Required { .. } | Self::Mutable { .. } => false,
        }
    }
}

impl SchemaPatch {
    /// Reads `{"attributes": {name: {rule: value, …}, …}}` (protocol §3).
    ///
    /// # Errors
    /// What is wrong with the text, and with which attribute.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidSchema> {
        let text = std::str::from_utf8(text).map_err(|_| InvalidSchema::NotJson)?;
        Self::from_json(&read_json(text).map_err(|_| InvalidSchema::NotJson)?)
    }

    /// Reads the same from JSON.
    ///
    /// # Errors
    /// As [`SchemaPatch::parse`].
    pub fn from_json(json: &Json) -> Result<Self, InvalidSchema> {
        let top = json.as_object().filter(|top| top.len() <= 1).ok_or(InvalidSchema::Shape)?;
        let attributes = match top.get("attributes") {
            Some(Json::Object(attributes)) => attributes,
            None if top.is_empty() => return Ok(Self::default()),
            _ => return Err(InvalidSchema::Shape),
        };
        let mut patches = Vec::with_capacity(attributes.len());
        for (name, rules) in attributes {
            let name = AttrName::parse(name)?;
            let patch =
                AttrPatch::from_json(rules).map_err(|fault| InvalidSchema::Attribute { attr: name.shared(), fault })?;
            patches.push((name, patch));
        }
        Ok(Self { attributes: patches })
    }
}

impl AttrPatch {
    fn from_json(rules: &Json) -> Result<Self, AttributeFault> {
        let mut patch = Self::default();
        for (rule, value) in rules.as_object().ok_or(AttributeFault::NotObject)? {
            let word = || value.as_str().unwrap_or_default();
            let flag = || value.as_bool().map(Some).ok_or(AttributeFault::NotBoolean);
            match rule.as_str() {
                "type" => patch.ty = Some(AttrType::from_word(word()).ok_or(AttributeFault::Type)?),
                "max_len" => {
                    // Too large a number is refused later, with the limit of the type.
                    let max_len = value.as_u64().filter(|&len| len > 0);
                    let limit = patch.ty.and_then(AttrType::max_bytes).unwrap_or(crate::pool::value::JSON_MAX_BYTES);
                    let max_len = max_len.ok_or(AttributeFault::MaxLen { max_bytes: limit })?;
                    patch.max_len = Some(u32::try_from(max_len).unwrap_or(u32::MAX));
                }
                "required" => patch.required = flag()?,
                "mutable" => patch.mutable = flag()?,
                "multi" => patch.multi = flag()?,
                "alias" => patch.alias = Some(Alias::from_word(word()).ok_or(AttributeFault::Alias)?),
                "searchable" => patch.searchable = flag()?,
                "collation" => patch.collation = Some(Collation::from_word(word()).ok_or(AttributeFault::Collation)?),
                _ => return Err(AttributeFault::UnknownRule),
            }
        }
        Ok(patch)
    }

    /// The attribute that this makes, new under `id`.
    fn create(&self, id: AttrId, name: AttrName) -> Result<Attribute, AttributeFault> {
        let ty = self.ty.ok_or(AttributeFault::NoType)?;
        Ok(Attribute {
            id,
            name,
            ty,
            max_len: self.max_len.unwrap_or(ty.max_bytes().map_or(0, |max| max as u32)),
            required: self.required.unwrap_or(false),
            mutable: self.mutable.unwrap_or(true),
            multi: self.multi.unwrap_or(false),
            alias: self.alias.unwrap_or_default(),
            searchable: self.searchable.unwrap_or(false),
            collation: self.collation.unwrap_or_default(),
            collation_version: COLLATION_VERSION,
            verified_by: None,
        })
    }

    /// Applies this to an attribute that exists.
    fn apply(&self, attribute: &mut Attribute) -> Result<(), AttributeFault> {
        if self.ty.is_some_and(|ty| ty != attribute.ty) {
            return Err(AttributeFault::TypeChange);
        }
        if self.multi.is_some_and(|multi| multi != attribute.multi) {
            return Err(AttributeFault::MultiChange);
        }
        set(&mut attribute.max_len, self.max_len);
        set(&mut attribute.required, self.required);
        set(&mut attribute.mutable, self.mutable);
        set(&mut attribute.alias, self.alias);
        set(&mut attribute.searchable, self.searchable);
        if self.collation.is_some_and(|collation| collation != attribute.collation) {
            // Its indexes are built anew, so under the present tables.
            attribute.collation_version = COLLATION_VERSION;
        }
        set(&mut attribute.collation, self.collation);
        Ok(())
    }
}

fn set<T>(place: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *place = new;
    }
}

impl Schema {
    /// The schema after `patch`, and what differs, in order of attribute id. The version is one higher if
    /// anything does. Whether the data allows it is for the caller to check ([`SchemaChange::needs_check`]).
    ///
    /// # Errors
    /// If the patch or the schema that it would make breaks a rule.
    pub fn alter(&self, patch: &SchemaPatch) -> Result<(Self, Vec<SchemaChange>), InvalidSchema> {
        let mut attributes = self.attributes.clone();
        let mut next_attr_id = self.next_attr_id;
        for (name, rules) in &patch.attributes {
            let fault = |fault| InvalidSchema::Attribute { attr: name.shared(), fault };
            match self.by_name.get(name) {
                Some(&at) => rules.apply(&mut attributes[usize::from(at)]).map_err(fault)?,
                None => {
                    attributes.push(rules.create(next_attr_id, name.clone()).map_err(fault)?);
                    next_attr_id = AttrId(next_attr_id.0.checked_add(1).ok_or(InvalidSchema::TooManyAttributes)?);
                }
            }
        }
        Self::check_all(&attributes)?;
        let mut changes = Vec::new();
        for (before, after) in self.attributes.iter().zip(&attributes) {
            differences(before, after, &mut changes);
        }
        for added in &attributes[self.attributes.len()..] {
            changes.push(SchemaChange::Added { attr: added.id });
            if added.required {
                changes.push(SchemaChange::Required { attr: added.id, to: true });
            }
        }
        let version = self.version + u64::from(!changes.is_empty());
        Ok((Self::assemble(version, next_attr_id, attributes), changes))
    }

    /// The schema with `attr`'s indexes taken as built under the present collation tables.
    pub fn with_fresh_keys(&self, attr: AttrId) -> Self {
        let mut attributes = self.attributes.clone();
        for attribute in attributes.iter_mut().filter(|attribute| attribute.id == attr) {
            attribute.collation_version = COLLATION_VERSION;
        }
        Self::assemble(self.version, self.next_attr_id, attributes)
    }
}

fn differences(before: &Attribute, after: &Attribute, changes: &mut Vec<SchemaChange>) {
    let attr = after.id;
    if before.max_len != after.max_len {
        changes.push(SchemaChange::MaxLen { attr, from: before.max_len, to: after.max_len });
    }
    if before.required != after.required {
        changes.push(SchemaChange::Required { attr, to: after.required });
    }
    if before.mutable != after.mutable {
        changes.push(SchemaChange::Mutable { attr, to: after.mutable });
    }
    if before.alias != after.alias {
        changes.push(SchemaChange::Alias { attr, from: before.alias, to: after.alias });
    }
    if before.searchable != after.searchable {
        changes.push(SchemaChange::Searchable { attr, to: after.searchable });
    }
    if before.collation != after.collation {
        changes.push(SchemaChange::Collation { attr, from: before.collation, to: after.collation });
    }
}
