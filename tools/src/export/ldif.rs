//! LDIF: `ou=people` and `ou=groups` under `dc=NAME`, inetOrgPerson and groupOfNames.
//!
//! A user's DN is `uid=USERNAME`, or `entryUUID=SUB` without a username. The `stoa` field is the attribute `stoa-rest`;
//! a directory whose schema is strict needs it removed first (`grep -v`).

use std::{
    io::{self, Write},
    sync::Arc,
};

use stoa_engine::password::convert::to_ldap;

use super::{ExportMember, ExportUser, Exporter, Memberships, ReadBack};
use crate::import::{
    Format,
    attrs::{AttrTable, standard},
    forms,
    ldif::{custom_by_ldap_name, escape_dn_value},
    record::{AttrKey, ImportGroup, ImportPassword, ImportUser, ImportValue},
    rest::RestGroup,
    time,
};

/// Longest line, in bytes (RFC 2849 leaves it open; 76 is what tools write).
const LINE_BYTES: usize = 76;

/// Writes LDIF.
pub(super) struct Ldif<'w> {
    out: Box<dyn Write + 'w>,
    base: String,
    read_back: ReadBack,
    /// Custom attributes that have a name and type of LDAP's own.
    customs: Vec<(AttrKey, &'static str)>,
    open_group: Option<OpenGroup>,
}

struct OpenGroup {
    has_member: bool,
}

impl<'w> Ldif<'w> {
    pub(super) fn new(name: &str, attributes: Arc<AttrTable>, mut out: Box<dyn Write + 'w>) -> io::Result<Self> {
        let base = format!("dc={}", escape_dn_value(name));
        let mut head = b"version: 1\n\n".to_vec();
        line(&mut head, "dn", base.as_bytes());
        head.extend_from_slice(b"objectClass: domain\n");
        line(&mut head, "dc", name.as_bytes());
        for unit in ["people", "groups"] {
            head.push(b'\n');
            line(&mut head, "dn", format!("ou={unit},{base}").as_bytes());
            head.extend_from_slice(b"objectClass: organizationalUnit\n");
            line(&mut head, "ou", unit.as_bytes());
        }
        head.push(b'\n');
        out.write_all(&head)?;
        let customs = attributes
            .since(0)
            .into_iter()
            .filter_map(|(key, spec)| Some((key, custom_by_ldap_name(&spec)?)))
            .collect();
        Ok(Self { out, base, read_back: ReadBack::new(Format::Ldif, attributes), customs, open_group: None })
    }

    fn end_group(&mut self) -> io::Result<()> {
        match self.open_group.take() {
            // The schema asks for a member; the empty name is how directories write an empty group.
            Some(group) if !group.has_member => self.out.write_all(b"member:\n\n"),
            Some(_) => self.out.write_all(b"\n"),
            None => Ok(()),
        }
    }

    fn person(&self, user: &ImportUser<'_>) -> Vec<u8> {
        let mut entry = Vec::with_capacity(512);
        let username = user.text(standard::USERNAME).filter(|name| !name.is_empty());
        line(&mut entry, "dn", self.dn(user.sub.as_ref(), username).as_bytes());
        entry.extend_from_slice(b"objectClass: inetOrgPerson\n");
        let stand_in = username.unwrap_or("-");
        line(&mut entry, "cn", user.text(standard::NAME).unwrap_or(stand_in).as_bytes());
        line(&mut entry, "sn", user.text(standard::FAMILY_NAME).unwrap_or(stand_in).as_bytes());
        for (name, key) in [
            ("uid", standard::USERNAME),
            ("givenName", standard::GIVEN_NAME),
            ("mail", standard::EMAIL),
            ("mobile", standard::PHONE_NUMBER),
            ("preferredLanguage", standard::LOCALE),
        ] {
            if let Some(text) = user.text(key) {
                line(&mut entry, name, text.as_bytes());
            }
        }
        for (key, name) in &self.customs {
            match user.attr(*key) {
                Some(ImportValue::Str(text)) => line(&mut entry, name, text.as_bytes()),
                Some(ImportValue::Int(n)) => line(&mut entry, name, n.to_string().as_bytes()),
                Some(ImportValue::Bytes(bytes)) => line(&mut entry, name, bytes),
                Some(ImportValue::Multi(values)) => {
                    for value in values {
                        line(&mut entry, name, value.as_bytes());
                    }
                }
                _ => {}
            }
        }
        if let ImportPassword::Hash(hash) = &user.password {
            line(&mut entry, "userPassword", to_ldap(hash).as_bytes());
        }
        if let Some(sub) = &user.sub {
            line(&mut entry, "entryUUID", forms::uuid_text(sub).as_bytes());
        }
        for (name, at) in [("createTimestamp", user.created_at_ms), ("modifyTimestamp", user.updated_at_ms)] {
            if let Some(at) = at {
                line(&mut entry, name, time::to_generalized(at).as_bytes());
            }
        }
        if user.enabled == Some(false) {
            // "Locked for ever", in the password policy of OpenLDAP (draft-behera-ldap-password-policy).
            entry.extend_from_slice(b"pwdAccountLockedTime: 000001010000Z\n");
        }
        if user.temporary {
            entry.extend_from_slice(b"pwdReset: TRUE\n");
        }
        entry
    }

    fn dn(&self, sub: Option<&[u8; 16]>, username: Option<&str>) -> String {
        match (username, sub) {
            (Some(username), _) => format!("uid={},ou=people,{}", escape_dn_value(username), self.base),
            (None, Some(sub)) => format!("entryUUID={},ou=people,{}", forms::uuid_text(sub), self.base),
            (None, None) => format!("cn=-,ou=people,{}", self.base),
        }
    }
}

impl Exporter for Ldif<'_> {
    fn memberships(&self) -> Memberships {
        Memberships::OfGroups
    }

    fn group(&mut self, group: &ImportGroup<'_>) -> io::Result<()> {
        self.end_group()?;
        let mut entry = Vec::new();
        line(&mut entry, "dn", format!("cn={},ou=groups,{}", escape_dn_value(&group.name), self.base).as_bytes());
        entry.extend_from_slice(b"objectClass: groupOfNames\n");
        line(&mut entry, "cn", group.name.as_bytes());
        if let Some(description) = &group.description {
            line(&mut entry, "description", description.as_bytes());
        }
        let rest = RestGroup { description: None, ..RestGroup::of(group) };
        if let Some(rest) = rest.text() {
            line(&mut entry, "stoa-rest", rest.as_bytes());
        }
        self.open_group = Some(OpenGroup { has_member: false });
        self.out.write_all(&entry)
    }

    fn member(&mut self, member: &ExportMember<'_>) -> io::Result<()> {
        let mut text = Vec::new();
        let username = member.username.filter(|name| !name.is_empty());
        line(&mut text, "member", self.dn(Some(&member.sub), username).as_bytes());
        if let Some(group) = &mut self.open_group {
            group.has_member = true;
        }
        self.out.write_all(&text)
    }

    fn user(&mut self, user: &ExportUser<'_>) -> io::Result<()> {
        self.end_group()?;
        let mut entry = self.person(&user.user);
        // Memberships are said by the groups.
        let user = ImportUser { groups: Vec::new(), ..user.user.clone() };
        if let Some(rest) = self.read_back.rest(entry.clone(), &user) {
            line(&mut entry, "stoa-rest", rest.as_bytes());
        }
        entry.push(b'\n');
        self.out.write_all(&entry)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_group()?;
        self.out.flush()
    }
}

/// One attribute line, in base64 where the value is no safe string, folded.
fn line(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    let mut text = Vec::with_capacity(name.len() + value.len() + 2);
    text.extend_from_slice(name.as_bytes());
    if is_safe(value) {
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
    } else {
        text.extend_from_slice(b":: ");
        text.extend_from_slice(forms::to_base64(value).as_bytes());
    }
    let (first, mut rest) = text.split_at(text.len().min(LINE_BYTES));
    entry.extend_from_slice(first);
    while !rest.is_empty() {
        let (next, more) = rest.split_at(rest.len().min(LINE_BYTES - 1));
        entry.extend_from_slice(b"\n ");
        entry.extend_from_slice(next);
        rest = more;
    }
    entry.push(b'\n');
}

/// RFC 2849's SAFE-STRING, and no space at the end, which editors eat.
fn is_safe(value: &[u8]) -> bool {
    let starts_well = !matches!(value.first(), Some(b' ' | b':' | b'<'));
    starts_well && value.last() != Some(&b' ') && value.iter().all(|b| matches!(b, 1..=9 | 11 | 12 | 14..=127))
}
