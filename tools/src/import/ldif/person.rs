//! An LDIF entry of a person as a user.
//!
//! `uid` → `username` (without one, the value that names the entry, with a note), `mail` → `email`, `sn` → `family_name`,
//! `givenName` → `given_name`, `cn` → `name`, `preferredLanguage` → `locale`, `mobile` or else `telephoneNumber` →
//! `phone_number` if it is an international number. Further values of these, values with a language option and all other
//! attributes become custom attributes, multi-valued as LDAP's are unless they are known to have one value.

use std::{borrow::Cow, sync::Arc};

use stoa_engine::password::Caps;

use super::{
    super::{
        Options,
        attrs::{AttrSpec, AttrTable, Kind, custom_name, standard},
        forms,
        place::{Notes, Origin, Placer, put_fitted},
        record::{AttrKey, ImportPassword, ImportUser, ImportValue},
        rest::Rest,
        time,
    },
    entry::{self, Field},
    lines::Line,
    password,
};

/// Custom attributes whose LDAP schema has one value, with their type (RFC 2307, RFC 2798).
const SINGLE: &[(&str, Kind)] = &[
    ("displayName", Kind::Str),
    ("employeeNumber", Kind::Str),
    ("uidNumber", Kind::Int),
    ("gidNumber", Kind::Int),
    ("homeDirectory", Kind::Str),
    ("loginShell", Kind::Str),
    ("gecos", Kind::Str),
    ("jpegPhoto", Kind::Bytes),
    ("photo", Kind::Bytes),
    ("thumbnailPhoto", Kind::Bytes),
    ("audio", Kind::Bytes),
    ("userCertificate", Kind::Bytes),
    ("userSMIMECertificate", Kind::Bytes),
    ("userPKCS12", Kind::Bytes),
    ("x500UniqueIdentifier", Kind::Bytes),
];

/// Names whose words only their usual spelling shows; LDIF writes names in any case.
const SPELLINGS: &[&str] = &[
    "telephoneNumber",
    "facsimileTelephoneNumber",
    "homePhone",
    "homePostalAddress",
    "postalAddress",
    "postalCode",
    "postOfficeBox",
    "employeeType",
    "departmentNumber",
    "carLicense",
    "roomNumber",
    "businessCategory",
    "labeledURI",
    "physicalDeliveryOfficeName",
    "destinationIndicator",
    "registeredAddress",
    "seeAlso",
    "internationalISDNNumber",
    "preferredDeliveryMethod",
    "telexNumber",
    "shadowLastChange",
    "shadowMin",
    "shadowMax",
    "shadowWarning",
    "shadowInactive",
    "shadowExpire",
    "shadowFlag",
    "sAMAccountName",
    "userPrincipalName",
    "preferredLanguage",
];

/// LDAP's name for a custom attribute, if an import gives the attribute of that name the same type again.
pub(crate) fn custom_by_ldap_name(spec: &AttrSpec) -> Option<&'static str> {
    if spec.multi {
        return SPELLINGS
            .iter()
            .copied()
            .find(|name| custom_name(name) == *spec.name)
            .filter(|_| spec.kind == Kind::Str);
    }
    SINGLE.iter().find(|(name, kind)| *kind == spec.kind && custom_name(name) == *spec.name).map(|(name, _)| *name)
}

/// Reads persons on one thread.
pub(crate) struct Persons {
    placer: Placer,
    caps: Caps,
    /// Where the attributes with a standard place go, by the user's mapping; None where they are left out.
    email: Known,
    family_name: Known,
    given_name: Known,
    name: Known,
    locale: Known,
    username: Known,
    phone_number: Known,
}

type Known = Option<(AttrKey, Arc<AttrSpec>)>;

impl Persons {
    pub(crate) fn new(table: &Arc<AttrTable>, options: &Options) -> Self {
        let mut placer = Placer::new(table, &options.mapping);
        let mut known = |name, key| placer.target(Origin::standard(name, key)).cloned();
        Self {
            email: known("mail", standard::EMAIL),
            family_name: known("sn", standard::FAMILY_NAME),
            given_name: known("givenName", standard::GIVEN_NAME),
            name: known("cn", standard::NAME),
            locale: known("preferredLanguage", standard::LOCALE),
            username: known("uid", standard::USERNAME),
            phone_number: known("phone_number", standard::PHONE_NUMBER),
            placer,
            caps: options.caps,
        }
    }

    /// Makes a user of an entry's lines, which are used up.
    ///
    /// # Errors
    /// Why the entry cannot be taken.
    pub(crate) fn read<'a>(
        &mut self,
        line: u64,
        lines: &mut Vec<Line<'a>>,
        notes: &mut Notes,
    ) -> Result<ImportUser<'a>, &'static str> {
        let (username, by_uid) = entry::username(lines).ok_or("the entry has no uid and no name that is understood")?;
        if !by_uid {
            notes.push("no uid: the username is the value that names the entry".into());
        }
        let mut user = ImportUser { line, attrs: Vec::with_capacity(10), ..ImportUser::default() };
        if let Some((key, spec)) = &self.username {
            put_fitted(&mut user, *key, spec, ImportValue::Str(username), notes);
        }
        let mut seen_uid = false;
        let mut passwords = Vec::new();
        let mut rest = None;
        let (mut mobile, mut telephone) = (Vec::new(), Vec::new());
        for Line { name: description, field, value } in lines.drain(1..) {
            let (name, options) = entry::split_options(&description);
            let binary = entry::is_binary_option(options);
            if options.is_some() && !binary && !matches!(field, Field::ObjectClass | Field::Ignored) {
                self.other(&mut user, &description, value, false, notes);
                continue;
            }
            match field {
                Field::Mail => self.standard(&mut user, Place::Email, value, notes),
                Field::Surname => self.standard(&mut user, Place::FamilyName, value, notes),
                Field::GivenName => self.standard(&mut user, Place::GivenName, value, notes),
                Field::CommonName => self.standard(&mut user, Place::Name, value, notes),
                Field::Language => self.standard(&mut user, Place::Locale, value, notes),
                Field::Uid => {
                    if seen_uid || value.is_empty() {
                        self.other(&mut user, b"uid", value, false, notes);
                    }
                    seen_uid = true;
                }
                Field::Mobile => mobile.push(value),
                Field::Telephone => telephone.push(value),
                Field::Password => passwords.push(value),
                Field::EntryUuid => {
                    user.sub = std::str::from_utf8(&value).ok().and_then(|text| forms::uuid(text.trim()));
                    if user.sub.is_none() {
                        return Err("entryUUID is no UUID");
                    }
                }
                Field::ObjectGuid => user.sub = user.sub.or_else(|| guid(&value)),
                Field::Created => user.created_at_ms = timestamp(&value),
                Field::Modified => user.updated_at_ms = timestamp(&value),
                Field::LockedTime => user.enabled = Some(false),
                Field::LockFlag if is_true(&value) => user.enabled = Some(false),
                Field::AccountControl if is_disabled(&value) => user.enabled = Some(false),
                Field::PasswordReset => user.temporary = is_true(&value),
                Field::Rest => rest = Some(Rest::parse(&value)?),
                Field::LockFlag | Field::AccountControl => {}
                Field::Dn | Field::ChangeType | Field::Control | Field::ObjectClass | Field::Ignored => {}
                Field::Description | Field::Member | Field::MemberUid | Field::Other => {
                    self.other(&mut user, name, value, binary, notes);
                }
            }
        }
        self.telephones(&mut user, mobile, telephone, notes);
        if !passwords.is_empty() {
            user.password = password::read(passwords, &self.caps, notes);
        }
        if user.password == ImportPassword::Locked {
            user.enabled = Some(false);
        }
        if let Some(rest) = rest {
            rest.lay_over(&mut user, self.placer.table())?;
        }
        Ok(user)
    }

    /// The first value has the standard place, further ones a custom attribute of LDAP's name.
    fn standard<'a>(&mut self, user: &mut ImportUser<'a>, place: Place, value: Cow<'a, [u8]>, notes: &mut Notes) {
        let (known, name) = match place {
            Place::Email => (&self.email, "mail"),
            Place::FamilyName => (&self.family_name, "sn"),
            Place::GivenName => (&self.given_name, "givenName"),
            Place::Name => (&self.name, "cn"),
            Place::Locale => (&self.locale, "preferredLanguage"),
        };
        let Some((key, spec)) = known else { return };
        if user.attr(*key).is_some() && !spec.multi {
            let further = further_name(name);
            self.custom(user, further, value, notes);
            return;
        }
        match entry::text(value) {
            Some(text) => {
                let text = if matches!(place, Place::Email) { entry::trimmed(text) } else { text };
                put_fitted(user, *key, spec, ImportValue::Str(text), notes);
            }
            None => notes.push(format!("{name} is no UTF-8: left out").into()),
        }
    }

    fn telephones<'a>(
        &mut self,
        user: &mut ImportUser<'a>,
        mobile: Vec<Cow<'a, [u8]>>,
        telephone: Vec<Cow<'a, [u8]>>,
        notes: &mut Notes,
    ) {
        let mut taken = false;
        for (name, values) in [("mobile", mobile), ("telephoneNumber", telephone)] {
            for value in values {
                let international = if taken { None } else { entry::text(value.clone()).and_then(forms::e164) };
                match (international, &self.phone_number) {
                    (Some(number), Some((key, spec))) => {
                        put_fitted(user, *key, spec, ImportValue::Str(number), notes);
                        taken = true;
                    }
                    _ => self.custom(user, name, value, notes),
                }
            }
        }
    }

    fn other<'a>(
        &mut self,
        user: &mut ImportUser<'a>,
        name: &[u8],
        value: Cow<'a, [u8]>,
        binary: bool,
        notes: &mut Notes,
    ) {
        // Attribute descriptions are ASCII (see `lines`).
        let Ok(name) = std::str::from_utf8(name) else { return };
        if let Some((name, kind)) = SINGLE.iter().find(|(single, _)| single.eq_ignore_ascii_case(name)) {
            self.put(user, Origin::custom(name, *kind, false), value, notes);
        } else if binary {
            self.put(user, Origin::custom(name, Kind::Bytes, false), value, notes);
        } else if let Some(name) = SPELLINGS.iter().find(|usual| usual.eq_ignore_ascii_case(name)) {
            self.custom(user, name, value, notes);
        } else {
            self.custom(user, &name.to_ascii_lowercase(), value, notes);
        }
    }

    fn custom<'a>(&mut self, user: &mut ImportUser<'a>, name: &str, value: Cow<'a, [u8]>, notes: &mut Notes) {
        self.put(user, Origin::custom(name, Kind::Str, true), value, notes);
    }

    fn put<'a>(&mut self, user: &mut ImportUser<'a>, origin: Origin<'_>, value: Cow<'a, [u8]>, notes: &mut Notes) {
        let Some((key, spec)) = self.placer.target(origin) else { return };
        let value = if spec.kind == Kind::Bytes {
            ImportValue::Bytes(value)
        } else {
            match entry::text(value) {
                Some(text) => ImportValue::Str(text),
                None => {
                    notes.push(format!("{} is no UTF-8: left out", spec.name).into());
                    return;
                }
            }
        };
        put_fitted(user, *key, spec, value, notes);
    }
}

#[derive(Clone, Copy)]
enum Place {
    Email,
    FamilyName,
    GivenName,
    Name,
    Locale,
}

/// Further values of an attribute with a standard place go to a custom attribute that a mapping of the first does not
/// catch.
fn further_name(name: &str) -> &'static str {
    match name {
        "mail" => "custom:mail",
        "sn" => "custom:sn",
        "givenName" => "custom:given_name",
        "cn" => "custom:cn",
        _ => "custom:preferred_language",
    }
}

/// Active Directory's objectGUID: its first three parts are little-endian (MS-DTYP 2.3.4.2).
fn guid(value: &[u8]) -> Option<[u8; 16]> {
    let mut guid: [u8; 16] = value.try_into().ok()?;
    guid[..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    Some(guid)
}

fn timestamp(value: &[u8]) -> Option<i64> {
    time::generalized(std::str::from_utf8(value).ok()?.trim())
}

fn is_true(value: &[u8]) -> bool {
    std::str::from_utf8(value).ok().and_then(|text| forms::boolean(text.trim())).unwrap_or(false)
}

/// ACCOUNTDISABLE (MS-ADTS 2.2.16).
fn is_disabled(value: &[u8]) -> bool {
    std::str::from_utf8(value).ok().and_then(|text| text.trim().parse::<u32>().ok()).is_some_and(|flags| flags & 2 != 0)
}
