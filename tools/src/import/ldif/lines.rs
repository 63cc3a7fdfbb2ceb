//! LDIF's lines (RFC 2849): records, folding, comments, and the three ways to write a value.

use std::borrow::Cow;

use memchr::memchr;

use super::entry::{Field, field, split_options};

/// Longest logical line in bytes, folded ones joined: a photo fits, a runaway file does not fill the memory.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One attribute line of a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// The attribute description as written: name and options.
    pub(crate) name: Cow<'a, [u8]>,
    /// What the name means, options apart.
    pub(crate) field: Field,
    pub(crate) value: Cow<'a, [u8]>,
}

/// One record, or why there is none at this place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The lines are in the caller's buffer.
    Record {
        /// Number of its first line.
        line: u64,
        /// Offset of its first line.
        offset: usize,
    },
    /// The record is not sound; reading goes on behind it.
    Bad {
        /// Number of the faulty line.
        line: u64,
        /// Why, without values.
        reason: &'static str,
    },
    /// Nothing is left.
    End,
}

/// Reads records from LDIF text one after another.
pub(crate) struct Records<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
    names: Names<'a>,
}

/// Most attribute names that are remembered.
const NAMES_MAX: usize = 24;

/// Attribute names that were read and checked before. A directory writes its entries' attributes in nearly the same order
/// each time, so the name of a line is most often the one behind that of the line before.
#[derive(Default)]
struct Names<'a> {
    known: Vec<(&'a [u8], Field)>,
    next: usize,
}

impl<'a> Names<'a> {
    /// The name that `text` begins with, if it is known and a colon follows.
    fn recall(&mut self, text: &[u8]) -> Option<(&'a [u8], Field)> {
        for at in (self.next..self.known.len()).chain(0..self.next) {
            let (name, field) = self.known[at];
            if text.get(name.len()) == Some(&b':') && text.starts_with(name) {
                self.next = at + 1;
                return Some((name, field));
            }
        }
        None
    }

    fn learn(&mut self, name: &'a [u8], field: Field) {
        if self.known.len() < NAMES_MAX {
            self.known.push((name, field));
        }
    }
}

impl<'a> Records<'a> {
    /// Reads from `at`, which is the start of line number `line`.
    pub(crate) fn new(text: &'a [u8], at: usize, line: u64) -> Self {
        Self { text, at, line, names: Names::default() }
    }

    /// Where the next record is looked for.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Reads the next record into `lines`, whose former content is dropped.
    pub(crate) fn next(&mut self, lines: &mut Vec<Line<'a>>) -> Read {
        lines.clear();
        let mut start = None;
        let mut fault = None;
        loop {
            let line = self.line;
            let offset = self.at;
            match self.logical() {
                Logical::End => break,
                Logical::Blank if start.is_none() => {}
                Logical::Blank => break,
                Logical::Comment => {}
                Logical::Text(text) => {
                    let first = start.is_none();
                    start.get_or_insert((line, offset));
                    // Ends one modification of a change record, which is refused as a whole and not for this.
                    if text.as_ref() == b"-" && lines.iter().any(|line| line.name.eq_ignore_ascii_case(b"changetype")) {
                        continue;
                    }
                    match attribute(text, &mut self.names) {
                        Ok(attribute) if first && is_version(&attribute) => {
                            // The version line stands alone or directly over the first record.
                            start = None;
                        }
                        Ok(attribute) => lines.push(attribute),
                        Err(reason) => {
                            fault.get_or_insert((line, reason));
                        }
                    }
                }
                Logical::TooLong => {
                    start.get_or_insert((line, offset));
                    fault.get_or_insert((line, "a line is longer than 16 MiB"));
                }
                Logical::Stray => {
                    start.get_or_insert((line, offset));
                    fault.get_or_insert((line, "a continued line has no line before it"));
                }
            }
        }
        match (start, fault) {
            (_, Some((line, reason))) => Read::Bad { line, reason },
            (Some((line, offset)), None) => Read::Record { line, offset },
            (None, None) => Read::End,
        }
    }

    /// The next physical line without its end, or None at the end of the text.
    fn physical(&mut self) -> Option<&'a [u8]> {
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return None;
        }
        let (line, skip) = match memchr(b'\n', rest) {
            Some(end) => (&rest[..end], end + 1),
            None => (rest, rest.len()),
        };
        self.at += skip;
        self.line += 1;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn logical(&mut self) -> Logical<'a> {
        let Some(first) = self.physical() else { return Logical::End };
        let kind = match first.first() {
            None => return Logical::Blank,
            Some(b' ') => Kind::Stray,
            Some(b'#') => Kind::Comment,
            Some(_) => Kind::Text,
        };
        if self.text.get(self.at) != Some(&b' ') {
            return match kind {
                Kind::Stray => Logical::Stray,
                Kind::Comment => Logical::Comment,
                Kind::Text => Logical::Text(Cow::Borrowed(first)),
            };
        }
        let mut joined = Vec::new();
        let mut too_long = false;
        while self.text.get(self.at) == Some(&b' ') {
            let Some(more) = self.physical() else { break };
            if !matches!(kind, Kind::Text) || too_long {
                continue;
            }
            if joined.is_empty() {
                joined.extend_from_slice(first);
            }
            joined.extend_from_slice(&more[1..]);
            too_long = joined.len() > LINE_BYTES_MAX;
        }
        match kind {
            Kind::Stray => Logical::Stray,
            Kind::Comment => Logical::Comment,
            Kind::Text if too_long => Logical::TooLong,
            Kind::Text => Logical::Text(Cow::Owned(joined)),
        }
    }
}

enum Kind {
    Text,
    Comment,
    Stray,
}

enum Logical<'a> {
    Text(Cow<'a, [u8]>),
    Comment,
    Blank,
    Stray,
    TooLong,
    End,
}

fn is_version(line: &Line<'_>) -> bool {
    line.name.eq_ignore_ascii_case(b"version")
}

/// Splits `name: value`, `name:: base64`; refuses `name:< url`.
fn attribute<'a>(text: Cow<'a, [u8]>, names: &mut Names<'a>) -> Result<Line<'a>, &'static str> {
    match text {
        Cow::Borrowed(text) => {
            let (name, field) = match names.recall(text) {
                Some(known) => known,
                None => {
                    let name = checked_name(text)?;
                    let field = field(split_options(name).0);
                    names.learn(name, field);
                    (name, field)
                }
            };
            let value = match form(&text[name.len() + 1..])? {
                (Form::Plain, value) => Cow::Borrowed(value),
                (Form::Base64, value) => Cow::Owned(decode(value)?),
            };
            Ok(Line { name: Cow::Borrowed(name), field, value })
        }
        Cow::Owned(mut text) => {
            let name = checked_name(&text)?.to_vec();
            let field = field(split_options(&name).0);
            let value = match form(&text[name.len() + 1..])? {
                (Form::Plain, value) => {
                    let start = text.len() - value.len();
                    text.drain(..start);
                    text
                }
                (Form::Base64, value) => decode(value)?,
            };
            let name = Cow::Owned(name);
            Ok(Line { name, field, value: Cow::Owned(value) })
        }
    }
}

enum Form {
    Plain,
    Base64,
}

/// The attribute description before the colon.
fn checked_name(text: &[u8]) -> Result<&[u8], &'static str> {
    let colon = memchr(b':', text).ok_or("a line has no colon")?;
    let name = &text[..colon];
    if name.is_empty() || !name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b';' | b'.' | b'_')) {
        return Err("a line's attribute name has characters that no name has");
    }
    Ok(name)
}

/// How the value is written, by what follows the first colon.
fn form(rest: &[u8]) -> Result<(Form, &[u8]), &'static str> {
    match rest.first() {
        Some(b':') => Ok((Form::Base64, skip_spaces(&rest[1..]))),
        Some(b'<') => Err("a value is given by address (`:<`): an import never reads what it names"),
        _ => Ok((Form::Plain, skip_spaces(rest))),
    }
}

fn skip_spaces(mut value: &[u8]) -> &[u8] {
    while let Some((b' ', rest)) = value.split_first() {
        value = rest;
    }
    value
}

fn decode(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    let trimmed = value.trim_ascii_end();
    super::super::forms::base64(trimmed).ok_or("a value marked as base64 is none")
}

/// Where the text can be cut into parts of about `part_bytes`: offsets and line numbers of records' first lines, the
/// first being the start.
pub(crate) fn cuts(text: &[u8], part_bytes: usize) -> Vec<(usize, u64)> {
    let mut cuts = vec![(0, 1)];
    if part_bytes == 0 {
        return cuts;
    }
    let (mut from, mut line) = (0, 1);
    while text.len() - from > part_bytes {
        let Some(blank) = blank_line(text, from + part_bytes) else { break };
        line += memchr::memchr_iter(b'\n', &text[from..blank]).count() as u64;
        from = blank;
        cuts.push((from, line));
    }
    cuts
}

/// The first offset behind an empty line that starts at or after `from`.
fn blank_line(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(end) = memchr(b'\n', text.get(at..)?) {
        let next = at + end + 1;
        let rest = &text[next..];
        if rest.starts_with(b"\n") {
            return Some(next + 1);
        }
        if rest.starts_with(b"\r\n") {
            return Some(next + 2);
        }
        at = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Found = Result<(u64, Vec<(String, String)>), (u64, &'static str)>;

    fn all(text: &[u8]) -> Vec<Found> {
        let mut records = Records::new(text, 0, 1);
        let (mut found, mut lines) = (Vec::new(), Vec::new());
        loop {
            let show = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
            found.push(match records.next(&mut lines) {
                Read::End => return found,
                Read::Bad { line, reason } => Err((line, reason)),
                Read::Record { line, .. } => {
                    Ok((line, lines.iter().map(|l| (show(&l.name), show(&l.value))).collect()))
                }
            });
        }
    }

    #[test]
    fn reads_folding_comments_and_base64() {
        let text =
            b"version: 1\n# a comment\n  that goes on\ndn: cn=a,\n dc=b\ncn:: w\n 7w=\ncn:  x \r\n\n\n\r\nd\n n: e\n";
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        assert_eq!(
            all(text),
            vec![
                Ok((4, vec![pair("dn", "cn=a,dc=b"), pair("cn", "ü"), pair("cn", "x ")])),
                Ok((12, vec![pair("dn", "e")])),
            ]
        );
    }

    #[test]
    fn a_faulty_record_is_told_and_the_next_one_is_read() {
        let text = b"dn: a\njpegPhoto:< file:///etc/passwd\ncn: x\n\ndn: b\nno colon here\n\n stray\n\ndn: c\ncn:: ***\n\ndn: d\n";
        let found = all(text);
        assert_eq!(found[0].as_ref().unwrap_err().0, 2);
        assert_eq!(found[1].as_ref().unwrap_err().0, 6);
        assert_eq!(found[2].as_ref().unwrap_err().0, 8);
        assert_eq!(found[3].as_ref().unwrap_err(), &(11, "a value marked as base64 is none"));
        assert!(found[4].is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived_and_cut_alike(bytes in prop::collection::vec(prop::sample::select(b"dn: \n\r:#xA=<\xff".to_vec()), 0..400), part in 1_usize..60) {
            let whole = all(&bytes);
            let cuts = cuts(&bytes, part);
            let mut pieces = Vec::new();
            for (i, (from, line)) in cuts.iter().enumerate() {
                let to = cuts.get(i + 1).map_or(bytes.len(), |(to, _)| *to);
                let mut records = Records::new(&bytes[..to], *from, *line);
                let mut lines = Vec::new();
                loop {
                    match records.next(&mut lines) {
                        Read::End => break,
                        Read::Bad { line, .. } => pieces.push((line, None)),
                        Read::Record { line, .. } => pieces.push((line, Some(lines.len()))),
                    }
                }
            }
            let whole: Vec<_> = whole.into_iter().map(|r| match r { Ok((line, l)) => (line, Some(l.len())), Err((line, _)) => (line, None) }).collect();
            prop_assert_eq!(whole, pieces);
        }
    }
}
