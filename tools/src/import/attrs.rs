//! The attributes of one import: their names, types and keys.
//!
//! Invariants:
//! 1. Keys are dense and never change: a key that was handed out names the same attribute for the whole import, on every
//!    thread. Standard attributes have fixed keys ([`standard`]).
//! 2. An attribute's type is settled when its name is first seen and never changes; values that do not fit are refused by
//!    [`AttrSpec::fit`], not by the pool.
//! 3. The table only grows: a caller that remembers its length knows which attributes the pool's schema still lacks.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::record::{AttrKey, ImportValue, Text};

/// An attribute's type, as the protocol's schema names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Str,
    Bool,
    Int,
    Time,
    Json,
    Bytes,
}

impl Kind {
    /// The type as a schema writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Str => "string",
            Self::Bool => "boolean",
            Self::Int => "integer",
            Self::Time => "timestamp",
            Self::Json => "json",
            Self::Bytes => "bytes",
        }
    }

    /// Reads what [`Kind::as_str`] writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Str, Self::Bool, Self::Int, Self::Time, Self::Json, Self::Bytes].into_iter().find(|k| k.as_str() == text)
    }
}

/// Name and type of one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttrSpec {
    /// A standard name, or `custom:` and a name of the same shape.
    pub(crate) name: Box<str>,
    pub(crate) kind: Kind,
    pub(crate) multi: bool,
}

/// Most attributes that a pool's schema may have (protocol §3).
const ATTRIBUTES_MAX: usize = 512;
/// Longest string value in bytes (protocol §2).
const STRING_BYTES_MAX: usize = 2048;
/// Longest JSON or bytes value (protocol §2).
const BLOB_BYTES_MAX: usize = 64 * 1024;
/// Most values of a multi-valued attribute (protocol §2).
const VALUES_MAX: usize = 64;
/// Longest attribute name, without `custom:`.
const NAME_BYTES_MAX: usize = 32;

/// Keys of the standard attributes.
pub(crate) mod standard {
    use super::{AttrKey, Kind};

    macro_rules! standard {
        ($($key:ident = $name:literal $kind:ident,)*) => {
            standard!(@keys 0u16, $($key)*);
            /// Name and type of each standard attribute, in order of their keys.
            pub(super) const ALL: &[(&str, Kind)] = &[$(($name, Kind::$kind)),*];
        };
        (@keys $at:expr, $key:ident $($rest:ident)*) => {
            #[doc = "The standard attribute of this name."]
            pub(crate) const $key: AttrKey = AttrKey($at);
            standard!(@keys $at + 1, $($rest)*);
        };
        (@keys $at:expr,) => {};
    }

    standard! {
        USERNAME = "username" Str,
        EMAIL = "email" Str,
        EMAIL_VERIFIED = "email_verified" Bool,
        PHONE_NUMBER = "phone_number" Str,
        PHONE_NUMBER_VERIFIED = "phone_number_verified" Bool,
        GIVEN_NAME = "given_name" Str,
        FAMILY_NAME = "family_name" Str,
        NAME = "name" Str,
        NICKNAME = "nickname" Str,
        PREFERRED_USERNAME = "preferred_username" Str,
        LOCALE = "locale" Str,
        ZONEINFO = "zoneinfo" Str,
        BIRTHDATE = "birthdate" Str,
        ADDRESS = "address" Str,
        PICTURE = "picture" Str,
        PROFILE = "profile" Str,
        WEBSITE = "website" Str,
        GENDER = "gender" Str,
    }
}

/// The attributes of one import, shared by its threads.
#[derive(Debug)]
pub(crate) struct AttrTable {
    entries: RwLock<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    specs: Vec<Arc<AttrSpec>>,
    by_name: HashMap<Box<str>, AttrKey>,
    /// Which source name a custom attribute stands for, so that two names that sanitise alike stay apart.
    source_names: HashMap<AttrKey, Box<str>>,
}

impl Default for AttrTable {
    fn default() -> Self {
        let mut entries = Entries::default();
        for (name, kind) in standard::ALL {
            entries.add(AttrSpec { name: (*name).into(), kind: *kind, multi: false });
        }
        Self { entries: RwLock::new(entries) }
    }
}

impl Entries {
    fn add(&mut self, spec: AttrSpec) -> AttrKey {
        let key = AttrKey(self.specs.len() as u16);
        self.by_name.insert(spec.name.clone(), key);
        self.specs.push(Arc::new(spec));
        key
    }
}

impl AttrTable {
    /// A table that knows what the pool's schema already holds, so that a second import uses the types of the first.
    /// Standard attributes may be named again with the type that the pool gives them.
    pub(crate) fn with_schema(specs: impl IntoIterator<Item = AttrSpec>) -> Self {
        let table = Self::default();
        {
            let mut entries = table.entries.write().unwrap_or_else(PoisonError::into_inner);
            for spec in specs {
                match entries.by_name.get(&spec.name).copied() {
                    Some(key) => entries.specs[usize::from(key.0)] = Arc::new(spec),
                    None if entries.specs.len() < ATTRIBUTES_MAX => {
                        entries.add(spec);
                    }
                    None => {}
                }
            }
        }
        table
    }

    /// How many attributes there are; keys are the numbers below.
    pub(crate) fn len(&self) -> usize {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).specs.len()
    }

    /// Name and type behind a key.
    ///
    /// # Panics
    /// If the key is from another table.
    pub(crate) fn spec(&self, key: AttrKey) -> Arc<AttrSpec> {
        Arc::clone(&self.entries.read().unwrap_or_else(PoisonError::into_inner).specs[usize::from(key.0)])
    }

    /// The key of an attribute, if the table has it.
    pub(crate) fn key(&self, name: &str) -> Option<AttrKey> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).by_name.get(name).copied()
    }

    /// The attributes from key `first` on: what a schema needs that knew `first` attributes.
    pub(crate) fn since(&self, first: usize) -> Vec<(AttrKey, Arc<AttrSpec>)> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let specs = entries.specs.iter().enumerate().skip(first);
        specs.map(|(at, spec)| (AttrKey(at as u16), Arc::clone(spec))).collect()
    }

    /// The key of `name`, added with this type if it is new; None if the schema would grow too large. An attribute that
    /// is known keeps its own type.
    pub(crate) fn intern(&self, name: &str, kind: Kind, multi: bool) -> Option<AttrKey> {
        if let Some(key) = self.key(name) {
            return Some(key);
        }
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = entries.by_name.get(name) {
            return Some(*key);
        }
        let room = entries.specs.len() < ATTRIBUTES_MAX;
        room.then(|| entries.add(AttrSpec { name: name.into(), kind, multi }))
    }

    /// The custom attribute that stands for a source's `name`. Two source names never share one.
    pub(super) fn intern_custom(&self, source_name: &str, kind: Kind, multi: bool) -> Option<AttrKey> {
        let plain = custom_name(source_name);
        for name in [plain.clone(), with_fingerprint(&plain, source_name)] {
            let key = self.intern(&name, kind, multi)?;
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            if &**entries.source_names.entry(key).or_insert_with(|| source_name.into()) == source_name {
                return Some(key);
            }
        }
        None
    }
}

impl AttrSpec {
    /// Turns a value into this attribute's type where nothing is lost by it.
    ///
    /// # Errors
    /// What does not fit, without the value.
    pub(crate) fn fit<'a>(&self, value: ImportValue<'a>) -> Result<ImportValue<'a>, &'static str> {
        if let (Kind::Str, false, ImportValue::Str(text)) = (self.kind, self.multi, &value) {
            // Nearly every value.
            return if text.len() > STRING_BYTES_MAX { Err("is longer than 2,048 bytes") } else { Ok(value) };
        }
        let fitted = if self.multi { fit_multi(value)? } else { fit_single(self.kind, value)? };
        match &fitted {
            ImportValue::Str(text) if text.len() > STRING_BYTES_MAX => Err("is longer than 2,048 bytes"),
            ImportValue::Json(text) if text.len() > BLOB_BYTES_MAX => Err("is longer than 64 KiB"),
            ImportValue::Bytes(bytes) if bytes.len() > BLOB_BYTES_MAX => Err("is longer than 64 KiB"),
            ImportValue::Multi(values) if values.len() > VALUES_MAX => Err("has more than 64 values"),
            ImportValue::Multi(values) if values.iter().any(|v| v.len() > STRING_BYTES_MAX) => {
                Err("has a value longer than 2,048 bytes")
            }
            _ => Ok(fitted),
        }
    }
}

fn fit_multi(value: ImportValue<'_>) -> Result<ImportValue<'_>, &'static str> {
    let mut values = match value {
        ImportValue::Multi(values) => values,
        single => vec![scalar_text(single)?],
    };
    values.sort_unstable();
    values.dedup();
    if values.is_empty() { Err("has no value") } else { Ok(ImportValue::Multi(values)) }
}

fn fit_single(kind: Kind, value: ImportValue<'_>) -> Result<ImportValue<'_>, &'static str> {
    match (kind, value) {
        (Kind::Json, ImportValue::Multi(values)) => {
            Ok(ImportValue::Json(Cow::Owned(serde_json::to_string(&values).map_err(|_| "cannot be written as JSON")?)))
        }
        (_, ImportValue::Multi(mut values)) if values.len() == 1 => {
            fit_single(kind, ImportValue::Str(values.pop().unwrap_or_default()))
        }
        (_, ImportValue::Multi(_)) => Err("has several values and takes one"),
        (Kind::Str, value @ ImportValue::Str(_))
        | (Kind::Bool, value @ ImportValue::Bool(_))
        | (Kind::Int, value @ ImportValue::Int(_))
        | (Kind::Time, value @ ImportValue::Time(_))
        | (Kind::Json, value @ ImportValue::Json(_))
        | (Kind::Bytes, value @ ImportValue::Bytes(_)) => Ok(value),
        (Kind::Str, value) => scalar_text(value).map(ImportValue::Str),
        (Kind::Bool, ImportValue::Str(text)) => {
            super::forms::boolean(&text).map(ImportValue::Bool).ok_or("is no boolean")
        }
        (Kind::Int, ImportValue::Str(text)) => text.parse().map(ImportValue::Int).map_err(|_| "is no integer"),
        (Kind::Time, ImportValue::Str(text)) => {
            super::time::any(&text).map(ImportValue::Time).ok_or("is no point in time that is understood")
        }
        (Kind::Json, ImportValue::Str(text)) => {
            Ok(ImportValue::Json(Cow::Owned(serde_json::to_string(&text).map_err(|_| "cannot be written as JSON")?)))
        }
        (Kind::Json, ImportValue::Bool(b)) => Ok(ImportValue::Json(Cow::Borrowed(if b { "true" } else { "false" }))),
        (Kind::Json, ImportValue::Int(n)) => Ok(ImportValue::Json(Cow::Owned(n.to_string()))),
        (Kind::Bytes, ImportValue::Str(text)) => Ok(ImportValue::Bytes(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })),
        _ => Err("is of another type than before"),
    }
}

fn scalar_text(value: ImportValue<'_>) -> Result<Text<'_>, &'static str> {
    match value {
        ImportValue::Str(text) | ImportValue::Json(text) => Ok(text),
        ImportValue::Bool(b) => Ok(Cow::Borrowed(if b { "true" } else { "false" })),
        ImportValue::Int(n) => Ok(Cow::Owned(n.to_string())),
        ImportValue::Time(ms) => Ok(Cow::Owned(super::time::rfc3339(ms))),
        ImportValue::Bytes(bytes) => match bytes {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| "is no UTF-8"),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| "is no UTF-8"),
        },
        ImportValue::Multi(_) => Err("has several values and takes one"),
    }
}

/// Whether a pool can have an attribute of this name.
pub(crate) fn is_attribute_name(name: &str) -> bool {
    match name.strip_prefix("custom:") {
        Some(custom) => {
            let shape = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            custom.len() <= NAME_BYTES_MAX
                && custom.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
                && custom.bytes().all(shape)
        }
        None => standard::ALL.iter().any(|(standard, _)| *standard == name),
    }
}

/// A custom attribute's name made from the source's: camel case becomes words, whatever is no letter or digit becomes `_`.
pub(crate) fn custom_name(source_name: &str) -> String {
    let mut name = String::from("custom:");
    let bare = name.len();
    let source_name = source_name.strip_prefix("custom:").unwrap_or(source_name);
    let mut previous_lower = false;
    for c in source_name.chars() {
        if c.is_ascii_uppercase() && previous_lower {
            name.push('_');
        }
        if c.is_ascii_alphanumeric() {
            if name.len() == bare && c.is_ascii_digit() {
                name.push_str("x_");
            }
            name.push(c.to_ascii_lowercase());
        } else if !name.ends_with('_') && name.len() > bare {
            name.push('_');
        }
        previous_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
    }
    if is_attribute_name(source_name) || is_attribute_name(&format!("custom:{source_name}")) {
        // Already in our shape, trailing underscores and all.
        return format!("custom:{source_name}");
    }
    while name.ends_with('_') {
        name.pop();
    }
    if name.len() == bare {
        name.push('x');
    }
    if name.len() > bare + NAME_BYTES_MAX { with_fingerprint(&name, source_name) } else { name }
}

/// The same name, cut to length and ended by four hex digits that depend on the whole source name.
fn with_fingerprint(name: &str, source_name: &str) -> String {
    let fingerprint = xxhash_rust::xxh3::xxh3_64(source_name.as_bytes()) as u16;
    let keep = name.len().min("custom:".len() + NAME_BYTES_MAX - 5);
    format!("{}_{fingerprint:04x}", &name[..keep])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_keys_name_their_attributes() {
        let table = AttrTable::default();
        assert_eq!(&*table.spec(standard::USERNAME).name, "username");
        assert_eq!(&*table.spec(standard::GENDER).name, "gender");
        assert_eq!(table.spec(standard::EMAIL_VERIFIED).kind, Kind::Bool);
        assert_eq!(table.key("zoneinfo"), Some(standard::ZONEINFO));
    }

    #[test]
    fn standard_attributes_are_the_engines() {
        for (position, (name, _)) in standard::ALL.iter().enumerate() {
            let id = stoa_engine::pool::schema::standard_id(name).expect(name);
            assert_eq!(usize::from(id.0 - stoa_format::AttrId::FIRST_USER.0), position, "{name}");
        }
    }

    #[test]
    fn custom_names_have_the_protocols_shape() {
        for (source, want) in [
            ("employeeNumber", "custom:employee_number"),
            ("custom:tier", "custom:tier"),
            ("cn;lang-en", "custom:cn_lang_en"),
            ("2fa", "custom:x_2fa"),
            ("名前", "custom:x"),
            ("a_", "custom:a_"),
            ("URL", "custom:url"),
        ] {
            assert_eq!(custom_name(source), want, "{source}");
        }
        let long = custom_name("o;lang-zz;lang-y;lang-yy;lang-xx;lang-x;lang-z");
        assert!(is_attribute_name(&long), "{long}");
    }

    #[test]
    fn values_fit_their_attribute_or_say_why() {
        let spec = |kind, multi| AttrSpec { name: "custom:x".into(), kind, multi };
        let text = |t: &'static str| ImportValue::Str(Cow::Borrowed(t));
        assert_eq!(spec(Kind::Int, false).fit(text("42")), Ok(ImportValue::Int(42)));
        assert_eq!(spec(Kind::Str, true).fit(text("a")), Ok(ImportValue::Multi(vec!["a".into()])));
        assert!(spec(Kind::Bool, false).fit(text("perhaps")).is_err());
        let two = ImportValue::Multi(vec!["b".into(), "a".into(), "b".into()]);
        assert!(spec(Kind::Str, false).fit(two.clone()).is_err());
        assert_eq!(spec(Kind::Str, true).fit(two), Ok(ImportValue::Multi(vec!["a".into(), "b".into()])));
        assert!(spec(Kind::Str, false).fit(ImportValue::Str("x".repeat(2049).into())).is_err());
    }
}
