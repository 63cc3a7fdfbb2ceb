//! JSON without a document in memory: elements of an array, an object's array or NDJSON, and the members of one record,
//! all as slices of the input.
//!
//! A record is checked as a whole by `serde_json` (grammar, depth 128) before its members are looked at, so the splitting
//! below may trust what it sees.

mod elements;

use std::borrow::Cow;

use memchr::memchr;

pub(crate) use self::elements::{Element, Elements, members};

use super::{
    attrs::Kind,
    place::{Notes, Origin, Placer},
    record::{AttrKey, ImportUser, ImportValue, Item, Text},
};

/// Reads some `max` elements, of which `read` makes items or a reason why not; says whether there may be more. A
/// record's notes follow its items.
pub(crate) fn next_records<'a>(
    elements: &mut Elements<'a>,
    max: usize,
    out: &mut Vec<Item<'a>>,
    mut read: impl FnMut(u64, &'a [u8], &mut Notes, &mut Vec<Item<'a>>) -> Result<(), &'static str>,
) -> bool {
    let mut notes = Notes::new();
    for _ in 0..max {
        match elements.next() {
            Element::End => return false,
            Element::Bad { line, reason } => out.push(Item::Refused { line, reason: reason.into() }),
            Element::Record { line, text } => {
                if let Err(reason) = read(line, text, &mut notes, out) {
                    out.push(Item::Refused { line, reason: reason.into() });
                }
                out.extend(notes.drain(..).map(|note| Item::Changed { line, note }));
            }
        }
    }
    true
}

/// Most members of one object that is looked into.
const MEMBERS_MAX: usize = 4096;

/// One JSON value as it stands in a record.
#[derive(Clone, Copy)]
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl<'a> Raw<'a> {
    pub(crate) fn is_null(self) -> bool {
        self.0 == b"null"
    }

    /// A string's text.
    pub(crate) fn string(self) -> Option<Text<'a>> {
        let inner = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if memchr(b'\\', inner).is_none() {
            return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
        }
        serde_json::from_slice::<String>(self.0).ok().map(Cow::Owned)
    }

    /// A string's text, or a number or boolean as text.
    pub(crate) fn scalar(self) -> Option<Text<'a>> {
        if self.is_null() || matches!(self.0.first()?, b'{' | b'[') {
            return None;
        }
        self.string().or_else(|| std::str::from_utf8(self.0).ok().map(Cow::Borrowed))
    }

    /// A boolean, also as text or 0 and 1, as exports write it.
    pub(crate) fn boolean(self) -> Option<bool> {
        super::forms::boolean(self.scalar()?.trim())
    }

    /// An integer, also as text.
    pub(crate) fn int(self) -> Option<i64> {
        self.scalar()?.trim().parse().ok()
    }

    /// A point in time: epoch or text, or Mongo's `{"$date": …}`, in milliseconds.
    pub(crate) fn time(self) -> Option<i64> {
        if let Some(date) = self.object().and_then(|mut object| object.take("$date")) {
            return date.time();
        }
        super::time::any(self.scalar()?.trim())
    }

    /// An object's members.
    pub(crate) fn object(self) -> Option<Object<'a>> {
        self.0.starts_with(b"{").then(|| Object::of_checked(self.0)).flatten()
    }

    /// An array's elements; none for anything else.
    pub(crate) fn elements(self) -> impl Iterator<Item = Raw<'a>> {
        let mut elements = Elements::of_array(self.0);
        std::iter::from_fn(move || match elements.next() {
            Element::Record { text, .. } => Some(Raw(text)),
            _ => None,
        })
    }

    /// An array's strings and scalars.
    pub(crate) fn scalars(self) -> Vec<Text<'a>> {
        self.elements().filter_map(Raw::scalar).collect()
    }

    /// The JSON text.
    pub(crate) fn text(self) -> Text<'a> {
        String::from_utf8_lossy(self.0)
    }

    /// As an attribute's value with the type that it suggests; None for null.
    pub(crate) fn value(self) -> Option<(Kind, bool, ImportValue<'a>)> {
        Some(match self.0.first()? {
            b'n' => return None,
            b'"' => (Kind::Str, false, ImportValue::Str(self.string()?)),
            b't' | b'f' => (Kind::Bool, false, ImportValue::Bool(self.0 == b"true")),
            b'[' if self.is_array_of_strings() => {
                let values: Vec<_> = self.elements().filter_map(Raw::string).collect();
                if values.is_empty() {
                    return None;
                }
                (Kind::Str, true, ImportValue::Multi(values))
            }
            b'-' | b'0'..=b'9' => match std::str::from_utf8(self.0).ok()?.parse() {
                Ok(n) => (Kind::Int, false, ImportValue::Int(n)),
                Err(_) => (Kind::Json, false, ImportValue::Json(self.text())),
            },
            _ => (Kind::Json, false, ImportValue::Json(self.text())),
        })
    }

    fn is_array_of_strings(self) -> bool {
        self.elements().all(|element| element.0.starts_with(b"\""))
    }
}

/// A record's members, each of which is taken once; what is left becomes custom attributes.
pub(crate) struct Object<'a> {
    members: Vec<(Text<'a>, Raw<'a>)>,
}

impl<'a> Object<'a> {
    /// Checks a record and splits it.
    ///
    /// # Errors
    /// If it is no JSON object of bounded size.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "the record is no UTF-8")?;
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| "the record is no valid JSON")?;
        if !text.starts_with('{') {
            return Err("the record is no JSON object");
        }
        Self::of_checked(text.as_bytes()).ok_or("the record has more than 4,096 members")
    }

    fn of_checked(text: &'a [u8]) -> Option<Self> {
        let mut found: Vec<(Text<'a>, Raw<'a>)> = Vec::new();
        for (name, value) in members(text) {
            // Of members named twice the last one counts, as for most readers of JSON.
            match found.iter().position(|(n, _)| *n == name) {
                Some(at) => found[at].1 = Raw(value),
                None if found.len() == MEMBERS_MAX => return None,
                None => found.push((name, Raw(value))),
            }
        }
        Some(Self { members: found })
    }

    /// Takes a member out; None if it is not there or null.
    pub(crate) fn take(&mut self, name: &str) -> Option<Raw<'a>> {
        let at = self.members.iter().position(|(n, _)| n == name)?;
        let (_, value) = self.members.swap_remove(at);
        (!value.is_null()).then_some(value)
    }

    /// Takes a string member out.
    pub(crate) fn take_string(&mut self, name: &str) -> Option<Text<'a>> {
        self.take(name)?.scalar()
    }

    /// Whether a member is there, null or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(n, _)| n == name)
    }

    /// Drops members that mean nothing to an import.
    pub(crate) fn ignore(&mut self, names: &[&str]) {
        self.members.retain(|(name, _)| !names.contains(&&**name));
    }

    /// What is left.
    pub(crate) fn into_members(self) -> Vec<(Text<'a>, Raw<'a>)> {
        self.members
    }

    /// Moves a string member to a standard attribute, unless it is null.
    pub(crate) fn move_text(
        &mut self,
        name: &str,
        key: AttrKey,
        placer: &mut Placer,
        user: &mut ImportUser<'a>,
        notes: &mut Notes,
    ) {
        if let Some(text) = self.take_string(name) {
            placer.put(user, Origin::standard(name, key), ImportValue::Str(text), notes);
        }
    }

    /// Moves a boolean member to a standard attribute.
    pub(crate) fn move_bool(
        &mut self,
        name: &str,
        key: AttrKey,
        placer: &mut Placer,
        user: &mut ImportUser<'a>,
        notes: &mut Notes,
    ) {
        if let Some(value) = self.take(name) {
            match value.boolean() {
                Some(value) => placer.put(user, Origin::standard(name, key), ImportValue::Bool(value), notes),
                None => notes.push(format!("{name} is no boolean: left out").into()),
            }
        }
    }

    /// Moves a telephone number: international to `phone_number`, another to a custom attribute.
    pub(crate) fn move_phone(&mut self, name: &str, placer: &mut Placer, user: &mut ImportUser<'a>, notes: &mut Notes) {
        use super::attrs::standard::PHONE_NUMBER;
        let Some(text) = self.take_string(name) else { return };
        match super::forms::e164(text.clone()) {
            Some(number) => {
                placer.put(user, Origin::standard(name, PHONE_NUMBER), ImportValue::Str(number), notes);
            }
            None if text.is_empty() => {}
            None => {
                notes.push("the telephone number is not international: kept as a custom attribute".into());
                let other = Origin::custom("custom:phone_number_local", Kind::Str, false);
                placer.put(user, other, ImportValue::Str(text), notes);
            }
        }
    }

    /// Makes what is left custom attributes of the types that their values suggest.
    pub(crate) fn move_rest(self, placer: &mut Placer, user: &mut ImportUser<'a>, notes: &mut Notes) {
        for (name, raw) in self.members {
            if let Some((kind, multi, value)) = raw.value() {
                placer.put(user, Origin::custom(&name, kind, multi), value, notes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_suggest_their_types() {
        let value = |text: &'static str| Raw(text.as_bytes()).value().map(|(kind, multi, _)| (kind, multi));
        assert_eq!(value("\"a\""), Some((Kind::Str, false)));
        assert_eq!(value("-7"), Some((Kind::Int, false)));
        assert_eq!(value("1.5"), Some((Kind::Json, false)));
        assert_eq!(value("[\"a\",\"b\"]"), Some((Kind::Str, true)));
        assert_eq!(value("[1]"), Some((Kind::Json, false)));
        assert_eq!(value("null"), None);
        assert_eq!(Raw(b"\"True\"").boolean(), Some(true));
        assert_eq!(Raw(b"\"a\\u00e9\"").string().as_deref(), Some("aé"));
        assert_eq!(Raw(b"{\"$date\":\"2021-03-05T16:35:16.775Z\"}").time(), Some(1_614_962_116_775));
    }
}
