//! A pool's schema: which attributes its users may have, and under which rules.
//!
//! 1. The standard attributes (`standard`) are in every schema, with the same ids in every pool.
//! 2. An attribute keeps its id, name, type and `multi` for ever; everything else may be altered (`alter`).
//! 3. Ids are minted upwards and never reused; attributes are kept in order of id.
//! 4. Every schema made here passes `check_all`: an alias is a string, a verified alias has its boolean
//!    `<attr>_verified`, limits are within those of the type.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

use bytes::Bytes;
use stoa_format::{AttrId, DecodeError};
use thiserror::Error;

use super::collation::{COLLATION_VERSION, Collation};
use super::names::{AttrName, is_e164};
use super::value::{AttrType, CellValue, Input, Value, ValueFault};

mod alter;
mod error;
mod standard;
mod stored;

pub use alter::{AttrPatch, SchemaChange, SchemaPatch};
pub use error::{AttributeFault, InvalidSchema};
pub use standard::{EMAIL, EMAIL_VERIFIED, PHONE_NUMBER, PHONE_NUMBER_VERIFIED, USERNAME, standard_id};

/// The most attributes that a pool may have, standard ones included.
pub const ATTRIBUTE_MAX_COUNT: usize = 512;

/// Whether an attribute's values name a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Alias {
    /// They do not.
    #[default]
    None,
    /// A value has one holder in the pool.
    Unique,
    /// Many may hold a value; the one whose `<attr>_verified` is true owns it.
    Verified,
}

impl Alias {
    /// The word in a schema.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unique => "unique",
            Self::Verified => "verified",
        }
    }

    /// The kind of a schema's word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::None, Self::Unique, Self::Verified].into_iter().find(|alias| alias.word() == word)
    }
}

/// One attribute's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its id in this pool, [`AttrId::FIRST_USER`] or above.
    pub id: AttrId,
    /// Its name.
    pub name: AttrName,
    /// The type of its values.
    pub ty: AttrType,
    /// The longest value (each of several) in bytes; 0 for types of fixed size.
    pub max_len: u32,
    /// Whether every user must have it.
    pub required: bool,
    /// Whether it may change after the user's creation.
    pub mutable: bool,
    /// Whether it holds a set of values.
    pub multi: bool,
    /// Whether its values name a user.
    pub alias: Alias,
    /// Whether an index in order of values is kept: for prefixes, ranges and sorting.
    pub searchable: bool,
    /// How its values are compared.
    pub collation: Collation,
    /// The [`COLLATION_VERSION`] under which its indexes are built.
    pub collation_version: u16,
    /// For a verified alias: the boolean attribute that says so.
    pub verified_by: Option<AttrId>,
}

/// A value that an attribute does not take. Names the attribute, never the value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{attr} {fault}")]
pub struct InvalidValue {
    /// The attribute's name.
    pub attr: Arc<str>,
    /// What is wrong.
    pub fault: ValueFault,
}

impl Attribute {
    /// Reads a value for this attribute.
    ///
    /// # Errors
    /// If the value is not of its type, is too long, is an empty alias, or breaks a rule of the standard
    /// attribute (`phone_number` is E.164).
    pub fn parse(&self, input: &Input) -> Result<Value, InvalidValue> {
        Value::parse(self.ty, self.multi, input, self.max_bytes())
            .and_then(|value| self.checked(value))
            .map_err(|fault| self.invalid(fault))
    }

    /// Reads a value of an attribute of one value as it travels, without a copy on the way.
    ///
    /// # Errors
    /// As [`Attribute::parse`].
    pub fn parse_wire(&self, raw: &[u8]) -> Result<Value, InvalidValue> {
        Value::from_wire(self.ty, raw, self.max_bytes())
            .and_then(|value| self.checked(value))
            .map_err(|fault| self.invalid(fault))
    }

    /// Reads what USER.ADD and USER.REMOVE name: one value, or a JSON array of several.
    ///
    /// A raw value that is a JSON array of strings means its elements, anything else is one value as it stands.
    ///
    /// # Errors
    /// As [`Attribute::parse`].
    pub fn parse_elements(&self, input: &Input) -> Result<Vec<Value>, InvalidValue> {
        let several = match input {
            Input::Json(json) => json.is_array(),
            Input::Raw(raw) => raw.starts_with(b"[") && serde_json::from_slice::<Vec<String>>(raw).is_ok(),
        };
        Value::parse(self.ty, several, input, self.max_bytes())
            .and_then(|value| self.checked(value))
            .map(|value| value.elements().to_vec())
            .map_err(|fault| self.invalid(fault))
    }

    fn checked(&self, value: Value) -> Result<Value, ValueFault> {
        self.check(&value).map(|()| value)
    }

    fn invalid(&self, fault: ValueFault) -> InvalidValue {
        InvalidValue { attr: self.name.shared(), fault }
    }

    /// The longest value in bytes.
    fn max_bytes(&self) -> usize {
        if self.max_len == 0 { usize::MAX } else { self.max_len as usize }
    }

    /// Checks what goes beyond the type.
    ///
    /// # Errors
    /// The rule that the value breaks.
    pub fn check(&self, value: &Value) -> Result<(), ValueFault> {
        let texts = || {
            value
                .elements()
                .iter()
                .filter_map(|element| if let Value::Str(text) = element { Some(&**text) } else { None })
        };
        texts().try_for_each(|text| self.check_rules(text))?;
        if self.multi && self.alias != Alias::None && has_equals(texts().map(|text| self.key(text))) {
            return Err(ValueFault::SameAlias);
        }
        Ok(())
    }

    /// Checks a text for this attribute of one string, in place.
    ///
    /// # Errors
    /// As [`Attribute::parse`].
    pub fn check_text(&self, text: &str) -> Result<(), InvalidValue> {
        let max_bytes = self.max_bytes().min(self.ty.max_bytes().unwrap_or(usize::MAX));
        let short = if text.len() <= max_bytes { Ok(()) } else { Err(ValueFault::TooLong { max_bytes }) };
        short.and_then(|()| self.check_rules(text)).map_err(|fault| self.invalid(fault))
    }

    /// What goes beyond the type for each text alone.
    fn check_rules(&self, text: &str) -> Result<(), ValueFault> {
        if self.alias != Alias::None && (text.is_empty() || (!text.is_ascii() && self.key(text).is_empty())) {
            return Err(ValueFault::EmptyAlias);
        }
        if self.id == standard::PHONE_NUMBER && !is_e164(text) {
            return Err(ValueFault::NotE164);
        }
        Ok(())
    }

    /// The text under which a value is looked up: its collation's key.
    pub fn key<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.collation.key(text)
    }

    /// Appends the bytes under which a cell stands in the index of values in order: the collation's key for
    /// strings, 8 sortable bytes for integers, booleans and times.
    pub fn order_key(&self, cell: CellValue<'_>, out: &mut Vec<u8>) {
        match cell {
            CellValue::Int(value) => out.extend_from_slice(&super::value::sortable(value)),
            CellValue::Bytes(raw) => match (self.ty, std::str::from_utf8(raw)) {
                (AttrType::String, Ok(text)) => out.extend_from_slice(self.key(text).as_bytes()),
                _ => out.extend_from_slice(raw),
            },
        }
    }

    /// Whether its indexes were built under other collation tables than this program's.
    pub fn has_stale_keys(&self) -> bool {
        self.collation != Collation::Exact && self.collation_version != COLLATION_VERSION
    }
}

fn has_equals<'a>(keys: impl Iterator<Item = Cow<'a, str>>) -> bool {
    let mut keys: Vec<_> = keys.collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

/// A pool's attributes.
#[derive(Debug, Clone)]
pub struct Schema {
    version: u64,
    next_attr_id: AttrId,
    /// In order of id.
    attributes: Vec<Attribute>,
    by_name: HashMap<AttrName, u16>,
    /// What clients see, once somebody has asked.
    text: OnceLock<Box<str>>,
    /// What the pool keeps, likewise.
    kept: OnceLock<Bytes>,
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        (self.version, self.next_attr_id, &self.attributes) == (other.version, other.next_attr_id, &other.attributes)
    }
}

impl Eq for Schema {}

impl Schema {
    /// The schema of a pool that was created without one: one for all such pools.
    pub fn standard() -> Arc<Self> {
        static STANDARD: LazyLock<Arc<Schema>> = LazyLock::new(|| {
            let attributes = standard::attributes();
            let next_attr_id = AttrId(AttrId::FIRST_USER.0 + attributes.len() as u16);
            Arc::new(Schema::assemble(1, next_attr_id, attributes))
        });
        Arc::clone(&STANDARD)
    }

    /// Reads the form that is kept, as one that many pools share where it is the standard schema's.
    ///
    /// # Errors
    /// As [`Schema::decode`].
    pub(crate) fn shared(kept: &[u8]) -> Result<Arc<Self>, DecodeError> {
        let standard = Self::standard();
        if *standard.encode() == *kept { Ok(standard) } else { Self::decode(kept).map(Arc::new) }
    }

    /// Puts the look-up tables over `attributes`, which are in order of id and pass [`check_all`].
    fn assemble(version: u64, next_attr_id: AttrId, mut attributes: Vec<Attribute>) -> Self {
        assert!(attributes.is_sorted_by(|a, b| a.id < b.id), "attributes in order of id");
        let by_name: HashMap<_, _> =
            attributes.iter().enumerate().map(|(at, attribute)| (attribute.name.clone(), at as u16)).collect();
        let ids: Vec<AttrId> = attributes.iter().map(|attribute| attribute.id).collect();
        for attribute in &mut attributes {
            attribute.verified_by = (attribute.alias == Alias::Verified)
                .then(|| by_name.get(flag_name(&attribute.name).as_str()))
                .flatten()
                .map(|&at| ids[usize::from(at)]);
        }
        Self { version, next_attr_id, attributes, by_name, text: OnceLock::new(), kept: OnceLock::new() }
    }

    /// +1 for each change, 1 at first: what `POOL.ALTER … IF version` compares.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The id that the next new attribute gets.
    pub fn next_attr_id(&self) -> AttrId {
        self.next_attr_id
    }

    /// All attributes, in order of id.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The attribute of that name.
    pub fn by_name(&self, name: &str) -> Option<&Attribute> {
        self.by_name.get(name).map(|&at| &self.attributes[usize::from(at)])
    }

    /// The attribute of that id.
    pub fn by_id(&self, id: AttrId) -> Option<&Attribute> {
        // Ids are dense as long as no attribute was ever left out, so the first guess is right.
        let guess = usize::from(id.0.wrapping_sub(AttrId::FIRST_USER.0));
        match self.attributes.get(guess) {
            Some(attribute) if attribute.id == id => Some(attribute),
            _ => {
                let at = self.attributes.binary_search_by_key(&id, |attribute| attribute.id).ok()?;
                Some(&self.attributes[at])
            }
        }
    }

    /// The attributes that every user must have.
    pub fn required(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().filter(|attribute| attribute.required)
    }

    /// The attributes whose values name a user.
    pub fn aliases(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().filter(|attribute| attribute.alias != Alias::None)
    }

    /// The verified alias whose flag `id` is, if it is one.
    pub fn verified_alias_of(&self, id: AttrId) -> Option<&Attribute> {
        self.aliases().find(|attribute| attribute.verified_by == Some(id))
    }

    /// Checks the rules that concern an attribute alone and those between attributes.
    fn check_all(attributes: &[Attribute]) -> Result<(), InvalidSchema> {
        if attributes.len() > ATTRIBUTE_MAX_COUNT {
            return Err(InvalidSchema::TooManyAttributes);
        }
        for attribute in attributes {
            check_one(attribute, attributes)
                .map_err(|fault| InvalidSchema::Attribute { attr: attribute.name.shared(), fault })?;
        }
        Ok(())
    }
}

fn check_one(attribute: &Attribute, all: &[Attribute]) -> Result<(), AttributeFault> {
    let text = attribute.ty == AttrType::String;
    match attribute.ty.max_bytes() {
        Some(max_bytes) if !(1..=max_bytes).contains(&(attribute.max_len as usize)) => {
            return Err(AttributeFault::MaxLen { max_bytes });
        }
        None if attribute.max_len != 0 => return Err(AttributeFault::MaxLenOfFixed),
        _ => {}
    }
    if attribute.alias != Alias::None && !text {
        return Err(AttributeFault::AliasType);
    }
    if attribute.collation != Collation::Exact && !text {
        return Err(AttributeFault::CollationType);
    }
    if attribute.searchable && matches!(attribute.ty, AttrType::Json | AttrType::Bytes) {
        return Err(AttributeFault::SearchableType);
    }
    if attribute.multi && attribute.ty == AttrType::Json {
        return Err(AttributeFault::MultiJson);
    }
    if attribute.alias == Alias::Verified {
        if attribute.multi {
            return Err(AttributeFault::VerifiedMulti);
        }
        let flag = flag_name(&attribute.name);
        if !all.iter().any(|other| *other.name == *flag && other.ty == AttrType::Boolean && !other.multi) {
            return Err(AttributeFault::NoVerifiedFlag);
        }
    }
    Ok(())
}

/// The name of the boolean that says whether a verified alias is its holder's.
fn flag_name(name: &AttrName) -> String {
    format!("{name}_verified")
}

#[cfg(test)]
mod tests;
