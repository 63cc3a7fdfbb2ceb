//! Groups of an LDIF import, read when every entry has been seen, because members may come before or after the entries
//! that they name, in any of the files.
//!
//! While the parts are read, each entry leaves a fingerprint of its name and its place (16 bytes), each group its place. At
//! the end a member's name is looked up by fingerprint, its entry is read again where it stands, and the names are
//! compared, so that a clash of fingerprints costs time and never a wrong member.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Map, Value};

use super::{
    super::{
        Source,
        input::Input,
        record::{ImportGroup, Item, MemberRef},
        rest::RestGroup,
    },
    dn,
    entry::{self, Field},
    lines::{Line, Read, Records},
};

/// Longest group name in characters (protocol §3).
const NAME_CHARS_MAX: usize = 128;
/// Longest JSON value (protocol §2).
const ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;

/// Where an entry stands, in one number: input, whether it is a group, and the offset in the low 47 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryPlace(u64);

impl EntryPlace {
    const GROUP: u64 = 1 << 47;

    pub(crate) fn new(input: usize, offset: usize, is_group: bool) -> Self {
        Self((input as u64) << 48 | if is_group { Self::GROUP } else { 0 } | offset as u64)
    }

    fn input(self) -> usize {
        (self.0 >> 48) as usize
    }

    fn is_group(self) -> bool {
        self.0 & Self::GROUP != 0
    }

    fn offset(self) -> usize {
        (self.0 & (Self::GROUP - 1)) as usize
    }
}

/// What the parts leave for the end.
#[derive(Default)]
pub(crate) struct Directory {
    /// Fingerprint and place of each person and group.
    entries: Mutex<Vec<(u64, EntryPlace)>>,
    /// Place and line number of each group.
    groups: Mutex<Vec<(EntryPlace, u64)>>,
}

impl Directory {
    /// Adds what one part has seen.
    pub(crate) fn add(&self, entries: &mut Vec<(u64, EntryPlace)>, groups: &mut Vec<(EntryPlace, u64)>) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).append(entries);
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).append(groups);
    }
}

/// The source of an LDIF import's groups; to be read when all parts are at their end.
pub(crate) struct Groups<'a> {
    inputs: &'a [Input],
    directory: Arc<Directory>,
    /// None until the first batch.
    work: Option<Work>,
}

struct Work {
    entries: Vec<(u64, EntryPlace)>,
    groups: std::vec::IntoIter<(EntryPlace, u64)>,
    /// Lower-case names so far.
    names: HashSet<String>,
}

impl<'a> Groups<'a> {
    pub(crate) fn new(inputs: &'a [Input], directory: Arc<Directory>) -> Self {
        Self { inputs, directory, work: None }
    }

    fn start(&self) -> Work {
        let take = |mutex: &Mutex<Vec<_>>| std::mem::take(&mut *mutex.lock().unwrap_or_else(PoisonError::into_inner));
        let mut entries = take(&self.directory.entries);
        entries.sort_unstable();
        let mut groups = std::mem::take(&mut *self.directory.groups.lock().unwrap_or_else(PoisonError::into_inner));
        groups.sort_unstable();
        Work { entries, groups: groups.into_iter(), names: HashSet::new() }
    }

    /// Reads the record at a place again.
    fn read_at(&self, place: EntryPlace, lines: &mut Vec<Line<'a>>) -> bool {
        let Some(input) = self.inputs.get(place.input()) else { return false };
        matches!(Records::new(input.bytes(), place.offset(), 1).next(lines), Read::Record { .. })
    }

    fn group(&self, work: &mut Work, place: EntryPlace, line: u64, out: &mut Vec<Item<'a>>) {
        let mut lines = Vec::new();
        if !self.read_at(place, &mut lines) {
            return;
        }
        match self.build(work, line, &mut lines, out) {
            Ok(group) => out.push(Item::Group(group)),
            Err(reason) => out.push(Item::Refused { line, reason: reason.into() }),
        }
    }

    fn build(
        &self,
        work: &mut Work,
        line: u64,
        lines: &mut Vec<Line<'a>>,
        out: &mut Vec<Item<'a>>,
    ) -> Result<ImportGroup<'a>, &'static str> {
        let mut group = ImportGroup { line, name: Cow::Owned(name(lines)?), ..ImportGroup::default() };
        let mut scratch = Vec::new();
        let mut extra: Map<String, Value> = Map::new();
        let (mut absent, mut nested) = (0_u64, 0_u64);
        let mut members = HashSet::new();
        let mut rest = None;
        for Line { name, field, value } in lines.drain(1..) {
            match field {
                Field::Member => match self.member(work, &value, &mut scratch) {
                    Member::User(member) => {
                        members.insert(member);
                    }
                    Member::Nobody => {}
                    Member::Group => nested += 1,
                    Member::Absent => absent += 1,
                },
                Field::MemberUid => match entry::text(value) {
                    Some(uid) if !uid.trim_matches(' ').is_empty() => {
                        members.insert(MemberRef::Username(entry::trimmed(uid)));
                    }
                    _ => absent += 1,
                },
                Field::Description if group.description.is_none() => group.description = entry::text(value),
                Field::Rest => rest = Some(RestGroup::parse(&value)?),
                Field::Other | Field::Description | Field::Mail | Field::Uid | Field::Telephone => {
                    if let (Ok(name), Some(text)) = (std::str::from_utf8(&name), entry::text(value)) {
                        keep(&mut extra, name, text.into_owned());
                    }
                }
                _ => {}
            }
        }
        group.members = members.into_iter().collect();
        group.members.sort_unstable();
        if let Some(rest) = rest {
            rest.lay_over(&mut group);
        }
        if group.name.chars().count() > NAME_CHARS_MAX {
            return Err("the group's name is longer than 128 characters");
        }
        if !work.names.insert(group.name.to_lowercase()) {
            return Err("an earlier group has this name");
        }
        if !extra.is_empty() && group.attributes.is_none() {
            let text = Value::Object(extra).to_string();
            if text.len() <= ATTRIBUTES_BYTES_MAX {
                group.attributes = Some(Cow::Owned(text));
            } else {
                out.push(Item::Changed {
                    line,
                    note: "the group's attributes are longer than 64 KiB: left out".into(),
                });
            }
        }
        if absent > 0 {
            out.push(Item::Changed { line, note: format!("{absent} members are not in the input: left out").into() });
        }
        if nested > 0 {
            out.push(Item::Changed { line, note: format!("{nested} members are groups: left out").into() });
        }
        Ok(group)
    }

    fn member(&self, work: &Work, value: &[u8], scratch: &mut Vec<u8>) -> Member<'a> {
        let name = without_uid(value);
        let Some(fingerprint) = dn::fingerprint(name, scratch) else { return Member::Absent };
        if scratch.is_empty() {
            // The empty name is how an empty group is written where the schema asks for a member.
            return Member::Nobody;
        }
        let from = work.entries.partition_point(|(f, _)| *f < fingerprint);
        let mut own = Vec::new();
        for (_, place) in work.entries[from..].iter().take_while(|(f, _)| *f == fingerprint) {
            let Some((dn, reference)) = self.entry(*place) else { continue };
            if dn::fingerprint(&dn, &mut own).is_none() || own != *scratch {
                continue;
            }
            return match reference {
                _ if place.is_group() => Member::Group,
                Some(reference) => Member::User(reference),
                None => Member::Absent,
            };
        }
        Member::Absent
    }

    /// The name of the entry at a place, and how a group names the user that it became.
    fn entry(&self, place: EntryPlace) -> Option<(Cow<'a, [u8]>, Option<MemberRef<'a>>)> {
        let text = self.inputs.get(place.input())?.bytes().get(place.offset()..)?;
        if let Some((dn, reference)) = plain_entry(text) {
            return Some((Cow::Borrowed(dn), Some(reference)));
        }
        let mut lines = Vec::new();
        if !self.read_at(place, &mut lines) {
            return None;
        }
        let reference = reference(&lines);
        Some((lines.swap_remove(0).value, reference))
    }
}

/// Name and reference of the entry that `text` begins with, if the lines that say them are neither folded nor in base64:
/// nearly always, and a fraction of the work of reading the record.
fn plain_entry(text: &[u8]) -> Option<(&[u8], MemberRef<'_>)> {
    let (mut dn, mut uid, mut uuid) = (None, None, None);
    let mut rest = text;
    loop {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        let slot = match line.first() {
            None => break,
            Some(b'd' | b'D') if is_line_of(line, b"dn") => &mut dn,
            Some(b'u' | b'U') if is_line_of(line, b"uid") || is_line_of(line, b"userid") => &mut uid,
            Some(b'e' | b'E') if is_line_of(line, b"entryuuid") => &mut uuid,
            _ => continue,
        };
        let value = &line[memchr::memchr(b':', line)? + 1..];
        if rest.first() == Some(&b' ') || matches!(value.first(), Some(b':' | b'<')) {
            return None;
        }
        slot.get_or_insert(value.trim_ascii());
    }
    let reference = match uuid {
        Some(uuid) => MemberRef::Sub(super::super::forms::uuid(std::str::from_utf8(uuid).ok()?.trim())?),
        None => MemberRef::Username(Cow::Borrowed(std::str::from_utf8(uid?).ok().filter(|uid| !uid.is_empty())?)),
    };
    Some((dn?, reference))
}

fn is_line_of(line: &[u8], name: &[u8]) -> bool {
    line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name)
}

enum Member<'a> {
    User(MemberRef<'a>),
    Group,
    Nobody,
    Absent,
}

/// How a group names the user that an entry became.
fn reference<'a>(lines: &[Line<'a>]) -> Option<MemberRef<'a>> {
    let uuid = lines.iter().find(|line| line.field == Field::EntryUuid);
    if let Some(sub) = uuid.and_then(|line| super::super::forms::uuid(std::str::from_utf8(&line.value).ok()?.trim())) {
        return Some(MemberRef::Sub(sub));
    }
    entry::username(lines).map(|(username, _)| MemberRef::Username(username))
}

/// Name and optional UID (RFC 4517, 3.3.21): cuts `#'0101'B` off.
fn without_uid(value: &[u8]) -> &[u8] {
    let Some(start) = memchr::memmem::rfind(value, b"#'") else { return value };
    let bits = &value[start + 2..];
    match bits.strip_suffix(b"'B") {
        Some(bits) if bits.iter().all(|b| matches!(b, b'0' | b'1')) => &value[..start],
        _ => value,
    }
}

fn name(lines: &[Line<'_>]) -> Result<String, &'static str> {
    let by_cn = || {
        let cn = lines.iter().find(|line| line.field == Field::CommonName)?;
        entry::text(cn.value.clone()).filter(|name| !name.is_empty()).map(Cow::into_owned)
    };
    entry::rdn_value(lines).or_else(by_cn).ok_or("the group has no name that is understood")
}

/// One value is a string, several are an array.
fn keep(extra: &mut Map<String, Value>, name: &str, text: String) {
    let text = Value::String(text);
    match extra.get_mut(name) {
        None => {
            extra.insert(name.to_owned(), text);
        }
        Some(Value::Array(values)) => values.push(text),
        Some(first) => *first = Value::Array(vec![first.take(), text]),
    }
}

impl<'a> Source<'a> for Groups<'a> {
    fn input(&self) -> &'a str {
        self.inputs.first().map_or("", Input::name)
    }

    fn next_batch(&mut self, max: usize, out: &mut Vec<Item<'a>>) -> bool {
        let mut work = self.work.take().unwrap_or_else(|| self.start());
        let mut taken = 0;
        let mut more = true;
        while taken < max && more {
            match work.groups.next() {
                Some((place, line)) => {
                    let before = out.len();
                    self.group(&mut work, place, line, out);
                    taken += 1 + match out.get(before..).and_then(|new| new.last()) {
                        Some(Item::Group(group)) => group.members.len(),
                        _ => 0,
                    };
                }
                None => more = false,
            }
        }
        self.work = Some(work);
        more
    }

    fn bytes_done(&self) -> u64 {
        0
    }
}
