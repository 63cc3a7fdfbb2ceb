//! Amazon Cognito's user import CSV.
//!
//! Values are not quoted: a comma is written `\,`, and spaces around a value mean nothing. The header may name its
//! columns in any order; `cognito:username` and `cognito:mfa_enabled` must be there, and have a value in each row. A user
//! without a hash has to set a new password. `middle_name` and `cognito:mfa_enabled` (where true) become custom
//! attributes, for which the pool has no standard ones. Our own column `stoa:rest` is described in
//! [`rest`](super::rest); a row that has it and no username is a group's.

use std::{borrow::Cow, sync::Arc};

use memchr::{memchr, memchr2};
use stoa_engine::password::Caps;

use super::{
    Options, Plan, Source,
    announce::Announcer,
    attrs::{AttrSpec, AttrTable, Kind, standard},
    forms, hashes,
    input::Input,
    mapping::Mapping,
    place::{Notes, Origin, Placer, put_fitted},
    record::{AttrKey, ImportGroup, ImportPassword, ImportUser, ImportValue, Item, Text},
    rest::{Rest, RestGroup},
    time,
};

/// Longest row in bytes.
const ROW_BYTES_MAX: usize = 1024 * 1024;

/// Plans an import of Cognito's CSV files.
pub(crate) fn plan<'a>(inputs: &'a [Input], options: &Options, attributes: &Arc<AttrTable>) -> Plan<'a> {
    let mut parts: Vec<Box<dyn Source<'a> + 'a>> = Vec::new();
    for input in inputs {
        let text = input.bytes();
        let first_row = memchr(b'\n', text).map_or(text.len(), |end| end + 1);
        let header = Header::parse(text[..first_row].trim_ascii_end(), attributes, &options.mapping).map(Arc::new);
        for (i, (from, to, line)) in cuts(text, first_row, options.part_bytes).into_iter().enumerate() {
            parts.push(Box::new(Part {
                input,
                header: header.clone(),
                text: &text[..to],
                from,
                at: from,
                line,
                first: i == 0,
                attributes: Arc::clone(attributes),
                mapping: Arc::clone(&options.mapping),
                announcer: Announcer::default(),
                caps: options.caps,
            }));
        }
    }
    Plan { parts, last: None, bytes_total: inputs.iter().map(|input| input.bytes().len() as u64).sum() }
}

/// Parts of about `part_bytes`: from, to, and the number of the first line.
fn cuts(text: &[u8], first_row: usize, part_bytes: usize) -> Vec<(usize, usize, u64)> {
    let (mut cuts, mut from, mut line) = (Vec::new(), first_row, 2);
    loop {
        let at_least = if part_bytes == 0 { text.len() } else { from.saturating_add(part_bytes).min(text.len()) };
        let to = memchr(b'\n', &text[at_least..]).map_or(text.len(), |end| at_least + end + 1);
        cuts.push((from, to, line));
        if to == text.len() {
            return cuts;
        }
        line += memchr::memchr_iter(b'\n', &text[from..to]).count() as u64;
        from = to;
    }
}

/// What the columns mean.
struct Header {
    columns: Vec<Column>,
    /// What the header leaves out, told once.
    notes: Notes,
}

enum Column {
    Username(Option<(AttrKey, Arc<AttrSpec>)>),
    MfaEnabled,
    PasswordHash,
    UpdatedAt,
    Birthdate(AttrKey, Arc<AttrSpec>),
    Phone(AttrKey, Arc<AttrSpec>),
    Boolean(AttrKey, Arc<AttrSpec>),
    Other(AttrKey, Arc<AttrSpec>),
    Rest,
    Ignored,
}

impl Header {
    fn parse(row: &[u8], attributes: &Arc<AttrTable>, mapping: &Arc<Mapping>) -> Result<Self, &'static str> {
        let row = std::str::from_utf8(row).map_err(|_| "the header is no UTF-8")?;
        let mut placer = Placer::new(attributes, mapping);
        let (mut columns, mut notes, mut names) = (Vec::new(), Notes::new(), Vec::new());
        for name in row.split(',').map(str::trim) {
            if names.contains(&name) {
                return Err("the header names a column twice");
            }
            names.push(name);
            columns.push(Self::column(name, &mut placer, &mut notes));
        }
        for required in ["cognito:username", "cognito:mfa_enabled"] {
            if !names.contains(&required) {
                return Err("the header must name cognito:username and cognito:mfa_enabled");
            }
        }
        Ok(Self { columns, notes })
    }

    fn column(name: &str, placer: &mut Placer, notes: &mut Notes) -> Column {
        match name {
            "cognito:username" => {
                return Column::Username(placer.target(Origin::standard(name, standard::USERNAME)).cloned());
            }
            "cognito:mfa_enabled" => return Column::MfaEnabled,
            "password_hash" => return Column::PasswordHash,
            "updated_at" => return Column::UpdatedAt,
            "stoa:rest" => return Column::Rest,
            _ => {}
        }
        let known = placer.table().key(name).filter(|_| !name.starts_with("custom:") && name != "username");
        if known.is_none() && !name.starts_with("custom:") && name != "middle_name" {
            notes.push("a column is none of Cognito's: left out".into());
            return Column::Ignored;
        }
        let origin = Origin { name, default: known, kind: Kind::Str, multi: false };
        let Some((key, spec)) = placer.target(origin).cloned() else { return Column::Ignored };
        match known {
            Some(standard::BIRTHDATE) => Column::Birthdate(key, spec),
            Some(standard::PHONE_NUMBER) => Column::Phone(key, spec),
            Some(standard::EMAIL_VERIFIED | standard::PHONE_NUMBER_VERIFIED) => Column::Boolean(key, spec),
            _ => Column::Other(key, spec),
        }
    }
}

/// A stretch of one CSV file.
struct Part<'a> {
    input: &'a Input,
    header: Result<Arc<Header>, &'static str>,
    text: &'a [u8],
    from: usize,
    at: usize,
    line: u64,
    first: bool,
    attributes: Arc<AttrTable>,
    mapping: Arc<Mapping>,
    announcer: Announcer,
    caps: Caps,
}

/// What one row is.
enum Row<'a> {
    User(ImportUser<'a>),
    Group(ImportGroup<'a>),
}

impl<'a> Part<'a> {
    fn row(&self, header: &Header, line: u64, row: &'a [u8], notes: &mut Notes) -> Result<Row<'a>, &'static str> {
        if row.len() > ROW_BYTES_MAX {
            return Err("the row is longer than 1 MiB");
        }
        let row = std::str::from_utf8(row).map_err(|_| "the row is no UTF-8")?;
        let mut user = ImportUser { line, attrs: Vec::with_capacity(header.columns.len()), ..ImportUser::default() };
        user.password = ImportPassword::ResetRequired;
        let (mut fields, mut rest) = (Fields { row: Some(row) }, None);
        let (mut no_username, mut no_mfa) = (false, false);
        for column in &header.columns {
            let mut value = fields.next().ok_or("the row has fewer values than the header has columns")?;
            if matches!(column, Column::PasswordHash) && value.starts_with("$argon2") {
                value = fields.join_argon2(value);
            }
            if value.is_empty() {
                no_username |= matches!(column, Column::Username(_));
                no_mfa |= matches!(column, Column::MfaEnabled);
                continue;
            }
            self.value(column, value, &mut user, &mut rest, notes)?;
        }
        if fields.next().is_some() {
            return Err("the row has more values than the header has columns: a comma in a value is written \\,");
        }
        match rest {
            Some(rest) if no_username && no_mfa => {
                let mut group = ImportGroup { line, ..ImportGroup::default() };
                RestGroup::parse(&rest)?.lay_over(&mut group);
                return if group.name.is_empty() { Err("the group has no name") } else { Ok(Row::Group(group)) };
            }
            Some(rest) => Rest::parse(&rest)?.lay_over(&mut user, &self.attributes)?,
            None if no_username => return Err("cognito:username is empty"),
            None => {}
        }
        if no_mfa { Err("cognito:mfa_enabled must be TRUE or FALSE") } else { Ok(Row::User(user)) }
    }

    fn value(
        &self,
        column: &Column,
        value: Text<'a>,
        user: &mut ImportUser<'a>,
        rest: &mut Option<Vec<u8>>,
        notes: &mut Notes,
    ) -> Result<(), &'static str> {
        match column {
            Column::Username(Some((key, spec))) | Column::Other(key, spec) => {
                put_fitted(user, *key, spec, ImportValue::Str(value), notes);
            }
            Column::MfaEnabled => {
                if forms::boolean(&value).ok_or("cognito:mfa_enabled must be TRUE or FALSE")? {
                    // Rare, and no attribute of the pool until it is needed.
                    let mut placer = Placer::new(&self.attributes, &self.mapping);
                    placer.put(user, Origin::custom("mfa_enabled", Kind::Bool, false), ImportValue::Bool(true), notes);
                }
            }
            Column::PasswordHash => user.password = hashes::checked(value, &self.caps),
            Column::UpdatedAt => {
                user.updated_at_ms = Some(time::epoch(&value).ok_or("updated_at must be seconds since 1970")?);
            }
            Column::Birthdate(key, spec) => {
                let day = forms::us_birthdate(&value).ok_or("birthdate must be a day written mm/dd/yyyy")?;
                put_fitted(user, *key, spec, ImportValue::Str(Cow::Owned(day)), notes);
            }
            Column::Phone(key, spec) => {
                if !forms::is_e164(&value) {
                    return Err("phone_number must be written as + and 2 to 15 digits (E.164)");
                }
                put_fitted(user, *key, spec, ImportValue::Str(value), notes);
            }
            Column::Boolean(key, spec) => {
                let value = forms::boolean(&value).ok_or("a verified column must be TRUE or FALSE")?;
                put_fitted(user, *key, spec, ImportValue::Bool(value), notes);
            }
            Column::Rest => *rest = Some(forms::base64(value.as_bytes()).ok_or("stoa:rest is no base64")?),
            Column::Username(None) | Column::Ignored => {}
        }
        Ok(())
    }
}

/// The values of a row, trimmed and without escapes.
struct Fields<'a> {
    row: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// The commas between Argon2's own parameters stand without a backslash in files that people have: `m=…`, then values
    /// that begin with `t=` and `p=`, are one hash.
    fn join_argon2(&mut self, first: Text<'a>) -> Text<'a> {
        let mut joined = first;
        for parameter in ["t=", "p="] {
            if self.row.is_some_and(|row| row.starts_with(parameter)) {
                let more = self.next().unwrap_or_default();
                joined = Cow::Owned(format!("{joined},{more}"));
            }
        }
        joined
    }

    fn next(&mut self) -> Option<Text<'a>> {
        let row = self.row?;
        let bytes = row.as_bytes();
        let mut escaped = false;
        let mut at = 0;
        let end = loop {
            match memchr2(b',', b'\\', &bytes[at..]) {
                None => break bytes.len(),
                Some(n) if bytes[at + n] == b',' => break at + n,
                Some(n) => {
                    // Only `\,` is an escape.
                    at += n + 1;
                    if bytes.get(at) == Some(&b',') {
                        escaped = true;
                        at += 1;
                    }
                }
            }
        };
        self.row = row.get(end + 1..);
        let value = row[..end].trim();
        Some(if escaped { Cow::Owned(value.replace("\\,", ",")) } else { Cow::Borrowed(value) })
    }
}

impl<'a> Source<'a> for Part<'a> {
    fn input(&self) -> &'a str {
        self.input.name()
    }

    fn next_batch(&mut self, max: usize, out: &mut Vec<Item<'a>>) -> bool {
        let header = match &self.header {
            Ok(header) => Arc::clone(header),
            Err(reason) => {
                if std::mem::take(&mut self.first) {
                    out.push(Item::Refused { line: 1, reason: (*reason).into() });
                }
                self.at = self.text.len();
                return false;
            }
        };
        if std::mem::take(&mut self.first) {
            out.extend(header.notes.iter().map(|note| Item::Changed { line: 1, note: note.clone() }));
        }
        let mut notes = Notes::new();
        for _ in 0..max {
            let rest = &self.text[self.at..];
            if rest.is_empty() {
                return false;
            }
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let line = self.line;
            self.at += (end + 1).min(rest.len());
            self.line += 1;
            let row = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            if row.trim_ascii().is_empty() {
                continue;
            }
            let item = match self.row(&header, line, row, &mut notes) {
                Ok(Row::User(user)) => Item::User(user),
                Ok(Row::Group(group)) => Item::Group(group),
                Err(reason) => Item::Refused { line, reason: reason.into() },
            };
            self.announcer.push(item, out);
            out.extend(notes.drain(..).map(|note| Item::Changed { line, note }));
        }
        true
    }

    fn bytes_done(&self) -> u64 {
        (self.at - self.from) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Format,
        testing::{Run, shared, string},
    };
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_documented_rules_hold_on_the_sample_without_hashes() {
        let Some(input) = shared("cognito/import_no_hash.csv") else { return };
        let inputs = [input];
        let run = Run::plain(Format::CognitoCsv, &inputs);
        // The same username twice is for whoever loads the users (see `seen`).
        assert_eq!(run.counts(), (6, 0, 3, 0));
        assert_eq!(run.refused.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [7, 9, 10]);
        let ana = run.user("ana");
        assert!(run.attr(ana, "address") == Some(string("12 Calle Mayor, 3º B")));
        assert!(run.attr(ana, "birthdate") == Some(string("1985-02-01")));
        assert!(run.attr(ana, "email_verified") == Some(ImportValue::Bool(true)));
        assert_eq!(ana.updated_at_ms, Some(1_471_453_471_000));
        assert_eq!(ana.password, ImportPassword::ResetRequired);
        assert!(run.attr(run.user("c.trim"), "custom:tier") == Some(string("x")));
    }

    #[test]
    fn hashes_are_taken_within_the_caps() {
        let Some(input) = shared("cognito/import_bcrypt.csv") else { return };
        let inputs = [input];
        let run = Run::plain(Format::CognitoCsv, &inputs);
        assert_eq!(run.counts(), (5, 0, 0, 0));
        let password = |name: &str| run.user(name).password.clone();
        assert!(matches!(password("hello"), ImportPassword::Hash(_)));
        assert_eq!(password("nohash"), ImportPassword::ResetRequired);
        assert!(matches!(password("cost15"), ImportPassword::Unsupported { .. }));
        // Its commas have no backslash.
        assert!(matches!(password("wrongalgo"), ImportPassword::Hash(_)));
        assert!(matches!(password("truncated"), ImportPassword::Unsupported { .. }));
    }

    #[test]
    fn a_header_without_the_required_columns_is_refused_once() {
        let inputs = [Input::from_bytes("x", b"email,name\na,b\nc,d\n".to_vec())];
        let run = Run::plain(Format::CognitoCsv, &inputs);
        assert_eq!((run.counts(), run.refused[0].0), ((0, 0, 1, 0), 1));
    }

    #[test]
    fn rows_with_too_few_or_many_values_are_refused() {
        let text = b"\xef\xbb\xbfcognito:username,cognito:mfa_enabled,name\r\na,FALSE\r\n\r\nb,FALSE,x,y\r\nc,false,x\\, y\r\n";
        let inputs = [Input::from_bytes("x", text.to_vec())];
        let run = Run::plain(Format::CognitoCsv, &inputs);
        assert_eq!(run.refused.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(run.user("c").text(standard::NAME), Some("x, y"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived_and_cut_alike(rows in "[a,\\\\ \nTé\r]{0,80}", bytes: Vec<u8>, part in 1_usize..20) {
            let mut text = b"cognito:username,cognito:mfa_enabled,name,stoa:rest\n".to_vec();
            text.extend_from_slice(rows.as_bytes());
            for bytes in [text, bytes] {
                let inputs = [Input::from_bytes("x", bytes)];
                let whole = Run::plain(Format::CognitoCsv, &inputs);
                let options = Options { part_bytes: part, ..Options::default() };
                let plan = super::super::plan(Format::CognitoCsv, &inputs, &options, &whole.attributes);
                let parts = Run::of(plan, &whole.attributes);
                prop_assert!(whole.users == parts.users && whole.refused == parts.refused);
            }
        }
    }
}
