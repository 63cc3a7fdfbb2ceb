//! Records and members as slices of the text.

use memchr::{memchr, memchr2};

use super::{super::record::Text, Raw};

/// Longest record in bytes.
const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

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

/// Reads elements one after another; by default, none.
#[derive(Default)]
pub(crate) struct Elements<'a> {
    text: &'a [u8],
    at: usize,
    layout: Layout,
    /// Of the next element; `u64::MAX` once the end was told.
    line: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Layout {
    #[default]
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
            // The first value has no end. Where the next line begins a value of its own it was one bad line, else
            // the file was cut short, which is told once.
            None if text.get(start) == Some(&b'{') && text.get(first_line_end + 1) != Some(&b'{') => {
                whole(Layout::Concatenated, start)
            }
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
                let reason = match self.text[start] {
                    b'{' | b'[' | b'"' => "the JSON value that begins here has no end: the file was cut short",
                    _ => "this is no JSON value: what follows cannot be read",
                };
                Element::Bad { line, reason }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Object, *};

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
