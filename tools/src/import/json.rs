//! JSON without a document in memory: elements of an array, an object's array or NDJSON, and the members of one record,
//! all as slices of the input.
//!
//! A record is checked as a whole by `serde_json` (grammar, depth 128) before its members are looked at, so the splitting
//! below may trust what it sees.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::{
    attrs::Kind,
    place::{Notes, Origin, Placer},
    record::{AttrKey, ImportUser, ImportValue, Text},
};

/// Longest record in bytes.
const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most members of one object that is looked into.
const MEMBERS_MAX: usize = 4096;

/// One element of the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Element<'a> {
    /// A record, unchecked.
    Record {
        /// Line for NDJSON, place from 1 for an array.
        line: u64,
        text: &'a [u8],
    },
    /// The record is not sound; reading goes on behind it where that can be found.
    Bad {
        /// As above.
        line: u64,
        reason: &'static str,
    },
    /// Nothing is left.
    End,
}

/// Reads elements one after another.
pub(crate) struct Elements<'a> {
    text: &'a [u8],
    at: usize,
    layout: Layout,
    /// Of the next element; `u64::MAX` once the end was told.
    line: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Array,
    /// One record a line.
    Lines,
    /// Records one behind the other, over several lines each.
    Concatenated,
}

impl<'a> Elements<'a> {
    /// Finds the records: the elements of an array; of the array under the first of `keys` that a single object has; the
    /// lines of NDJSON; or a single object.
    pub(crate) fn new(text: &'a [u8], keys: &[&str]) -> Self {
        let start = skip_space(text, 0);
        let whole = |layout, at| Self { text, at, layout, line: 1 };
        if text.get(start) == Some(&b'[') {
            return whole(Layout::Array, start + 1);
        }
        let first_line_end = memchr(b'\n', &text[start..]).map_or(text.len(), |end| start + end);
        match skip_value(text, start) {
            Some(end) if skip_space(text, end) == text.len() => {
                let array = keys.iter().find_map(|key| {
                    members(&text[start..end]).find(|(name, value)| name == key && value.starts_with(b"["))
                });
                match array {
                    Some((_, array)) => Self { text: array, at: 1, layout: Layout::Array, line: 1 },
                    None => whole(Layout::Concatenated, start),
                }
            }
            Some(end) if end > first_line_end => whole(Layout::Concatenated, start),
            _ => whole(Layout::Lines, 0),
        }
    }

    /// The elements of an array's text.
    pub(crate) fn of_array(text: &'a [u8]) -> Self {
        let at = skip_space(text, 0);
        let layout = if text.get(at) == Some(&b'[') { Layout::Array } else { Layout::Concatenated };
        Self { text, at: if layout == Layout::Array { at + 1 } else { text.len() }, layout, line: 1 }
    }

    /// Where the next element is looked for.
    pub(crate) fn at(&self) -> usize {
        self.at.min(self.text.len())
    }

    /// The next element.
    pub(crate) fn next(&mut self) -> Element<'a> {
        if self.layout == Layout::Lines { self.next_line() } else { self.next_value() }
    }

    fn next_line(&mut self) -> Element<'a> {
        while self.at < self.text.len() {
            let rest = &self.text[self.at..];
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let line = self.line;
            self.at += end + 1;
            self.line += 1;
            let text = rest[..end].trim_ascii();
            if !text.is_empty() {
                return element(line, text);
            }
        }
        Element::End
    }

    fn next_value(&mut self) -> Element<'a> {
        let mut start = skip_space(self.text, self.at);
        if self.layout == Layout::Array {
            match self.text.get(start) {
                Some(b',') => start = skip_space(self.text, start + 1),
                Some(b']') => {
                    self.at = self.text.len();
                    self.line = u64::MAX;
                    return Element::End;
                }
                _ => {}
            }
        }
        let line = self.line;
        if start >= self.text.len() {
            self.at = self.text.len();
            let cut = self.layout == Layout::Array && self.line != u64::MAX;
            self.line = u64::MAX;
            return if cut { Element::Bad { line, reason: "the array has no end" } } else { Element::End };
        }
        self.line += 1;
        match skip_value(self.text, start) {
            Some(end) => {
                self.at = end;
                element(line, &self.text[start..end])
            }
            None => {
                self.at = self.text.len();
                self.line = u64::MAX;
                Element::Bad { line, reason: "this is no JSON value: what follows cannot be read" }
            }
        }
    }
}

fn element(line: u64, text: &[u8]) -> Element<'_> {
    if text.len() > RECORD_BYTES_MAX {
        return Element::Bad { line, reason: "the record is longer than 16 MiB" };
    }
    Element::Record { line, text }
}

fn skip_space(text: &[u8], at: usize) -> usize {
    text[at.min(text.len())..].iter().position(|b| !b.is_ascii_whitespace()).map_or(text.len(), |n| at + n)
}

/// The end of the value that starts at `at`; strings and nesting are followed, the rest is not checked.
fn skip_value(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => skip_string(text, at),
        b'{' | b'[' => {
            let mut depth = 0_u64;
            let mut i = at;
            while let Some(&b) = text.get(i) {
                match b {
                    b'"' => {
                        i = skip_string(text, i)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(i + 1);
                        }
                    }
                    _ => {}
                }
                i += 1;
            }
            None
        }
        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
            let end = text[at..].iter().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')));
            Some(end.map_or(text.len(), |n| at + n))
        }
        _ => None,
    }
}

fn skip_string(text: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        i += memchr2(b'"', b'\\', text.get(i..)?)?;
        if text[i] == b'"' {
            return Some(i + 1);
        }
        i += 2;
    }
}

/// The members of an object's text, as far as it is one.
pub(crate) fn members(object: &[u8]) -> impl Iterator<Item = (Text<'_>, &[u8])> {
    let start = skip_space(object, 0);
    let mut at = if object.get(start) == Some(&b'{') { start + 1 } else { object.len() };
    std::iter::from_fn(move || {
        let mut name_at = skip_space(object, at);
        if object.get(name_at) == Some(&b',') {
            name_at = skip_space(object, name_at + 1);
        }
        if object.get(name_at) != Some(&b'"') {
            return None;
        }
        let name_end = skip_string(object, name_at)?;
        let colon = skip_space(object, name_end);
        if object.get(colon) != Some(&b':') {
            return None;
        }
        let value_at = skip_space(object, colon + 1);
        let value_end = skip_value(object, value_at)?;
        at = value_end;
        Some((Raw(&object[name_at..name_end]).string()?, &object[value_at..value_end]))
    })
}

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
    use proptest::prelude::*;

    fn all(text: &str, keys: &[&str]) -> Vec<(u64, Result<String, &'static str>)> {
        let mut elements = Elements::new(text.as_bytes(), keys);
        let mut found = Vec::new();
        loop {
            match elements.next() {
                Element::Record { line, text } => found.push((line, Ok(String::from_utf8_lossy(text).into_owned()))),
                Element::Bad { line, reason } => found.push((line, Err(reason))),
                Element::End => return found,
            }
        }
    }

    #[test]
    fn finds_records_in_each_layout() {
        let two = |a: u64, b: u64| vec![(a, Ok("{\"a\":1}".to_owned())), (b, Ok("{\"b\":\"]}\\\"\"}".to_owned()))];
        assert_eq!(all("[{\"a\":1}, {\"b\":\"]}\\\"\"}]", &[]), two(1, 2));
        assert_eq!(all("{\"x\":[], \"users\" : [{\"a\":1},{\"b\":\"]}\\\"\"}]}", &["users"]), two(1, 2));
        assert_eq!(all("{\"a\":1}\r\n\r\n{\"b\":\"]}\\\"\"}\r\n", &["users"]), two(1, 3));
        assert_eq!(all("{\"a\":\n1}\n{\"b\":2}", &[]).len(), 2);
        assert_eq!(all("{\"a\":1}", &["users"]), vec![(1, Ok("{\"a\":1}".to_owned()))]);
        assert_eq!(all("", &[]), vec![]);
        assert_eq!(all("[]", &[]), vec![]);
    }

    #[test]
    fn a_broken_line_of_ndjson_costs_that_line() {
        let found = all("{\"a\":1}\n{\"b\": \"x\n{\"c\":3}\n", &[]);
        assert_eq!(found.len(), 3);
        assert!(Object::parse(found[1].1.as_ref().unwrap().as_bytes()).is_err());
    }

    #[test]
    fn a_broken_array_is_told() {
        assert_eq!(all("[{\"a\":1},", &[]).last(), Some(&(2, Err("the array has no end"))));
        assert!(all("[{\"a\":1}, }", &[]).last().is_some_and(|(_, r)| r.is_err()));
    }

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

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[\\[\\]{}\":,\\\\a1 \n]{0,60}", bytes: Vec<u8>) {
            for bytes in [text.as_bytes(), &bytes] {
                let mut elements = Elements::new(bytes, &["a"]);
                for _ in 0..200 {
                    match elements.next() {
                        Element::End => break,
                        Element::Record { text, .. } => { let _ = Object::parse(text).map(Object::into_members); }
                        Element::Bad { .. } => {}
                    }
                }
                prop_assert_eq!(elements.next(), Element::End);
            }
        }
    }
}
