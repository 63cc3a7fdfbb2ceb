//! LDIF (RFC 2849), as OpenLDAP, 389 Directory Server, Active Directory and others export it.

mod dn;
mod entry;
mod groups;
mod lines;
mod password;
mod person;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use self::{dn::escaped as escape_dn_value, person::custom_by_ldap_name};
use self::{
    entry::Class,
    groups::{Directory, EntryPlace, Groups},
    lines::{Line, Read, Records},
    person::Persons,
};
use super::{Options, Plan, Source, attrs::AttrTable, input::Input, place::Notes, record::Item};

/// Plans an import of LDIF files.
pub(crate) fn plan<'a>(inputs: &'a [Input], options: &Options, attributes: &Arc<AttrTable>) -> Plan<'a> {
    let directory = Arc::new(Directory::default());
    let mut parts: Vec<Box<dyn Source<'a> + 'a>> = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        let cuts = lines::cuts(input.bytes(), options.part_bytes);
        for (i, (from, line)) in cuts.iter().enumerate() {
            let to = cuts.get(i + 1).map_or(input.bytes().len(), |(to, _)| *to);
            parts.push(Box::new(Part {
                input,
                number,
                from: *from,
                records: Records::new(&input.bytes()[..to], *from, *line),
                lines: Vec::new(),
                persons: Persons::new(attributes, options),
                directory: Arc::clone(&directory),
                entries: Vec::new(),
                groups: Vec::new(),
                scratch: Vec::new(),
                notes: Notes::new(),
            }));
        }
    }
    Plan {
        parts,
        last: Some(Box::new(Groups::new(inputs, directory))),
        bytes_total: inputs.iter().map(|input| input.bytes().len() as u64).sum(),
    }
}

/// A stretch of one LDIF file.
struct Part<'a> {
    input: &'a Input,
    number: usize,
    from: usize,
    records: Records<'a>,
    lines: Vec<Line<'a>>,
    persons: Persons,
    directory: Arc<Directory>,
    entries: Vec<(u64, EntryPlace)>,
    groups: Vec<(EntryPlace, u64)>,
    scratch: Vec<u8>,
    notes: Notes,
}

impl<'a> Part<'a> {
    /// None for a group: groups are yielded by the last source.
    fn entry(&mut self, line: u64, offset: usize) -> Option<Item<'a>> {
        let refused = |reason: &'static str| Some(Item::Refused { line, reason: reason.into() });
        if entry::is_of_the_search(&self.lines) {
            return Some(Item::Skipped { line, reason: "what ldapsearch says of its search".into() });
        }
        if let Some(reason) = entry::fault(&self.lines) {
            return refused(reason);
        }
        let class = entry::classify(&self.lines);
        if class == Class::Neither {
            return Some(Item::Skipped { line, reason: "no person and no group".into() });
        }
        let Some(fingerprint) = dn::fingerprint(&self.lines[0].value, &mut self.scratch) else {
            return refused("the dn is no name");
        };
        let place = EntryPlace::new(self.number, offset, class == Class::Group);
        self.entries.push((fingerprint, place));
        if class == Class::Group {
            self.groups.push((place, line));
            return None;
        }
        match self.persons.read(line, &mut self.lines, &mut self.notes) {
            Ok(user) => Some(Item::User(user)),
            Err(reason) => refused(reason),
        }
    }
}

impl<'a> Source<'a> for Part<'a> {
    fn input(&self) -> &'a str {
        self.input.name()
    }

    fn next_batch(&mut self, max: usize, out: &mut Vec<Item<'a>>) -> bool {
        for _ in 0..max {
            match self.records.next(&mut self.lines) {
                Read::End => {
                    self.directory.add(&mut self.entries, &mut self.groups);
                    return false;
                }
                Read::Bad { line, reason } => out.push(Item::Refused { line, reason: reason.into() }),
                Read::Record { line, offset } => {
                    out.extend(self.entry(line, offset));
                    out.extend(self.notes.drain(..).map(|note| Item::Changed { line, note }));
                }
            }
        }
        true
    }

    fn bytes_done(&self) -> u64 {
        (self.records.at() - self.from) as u64
    }
}
