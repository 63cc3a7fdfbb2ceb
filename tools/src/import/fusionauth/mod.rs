//! FusionAuth's import JSON: `{"users": […]}` or the array alone; and exports of other products beside it, which
//! FusionAuth's own scripts turn into that form (see [`raw`]).
//!
//! `username` keeps what the user sees; a `uniqueUsername` that differs, `registrations`, `memberships` without names,
//! `tenantId`, `data` and whatever else there is become custom attributes.

mod raw;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

use stoa_engine::password::{Caps, HashError, convert};
use zeroize::Zeroizing;

use super::{
    Options, Plan, Source,
    attrs::{AttrTable, Kind, standard},
    forms, hashes,
    input::Input,
    json::{Elements, Object, Raw, next_records},
    place::{Notes, Origin, Placer},
    record::{Factor, FactorKind, ImportPassword, ImportUser, ImportValue, Item, Status, Text},
};

/// Plans an import of FusionAuth's users.
pub(crate) fn plan<'a>(inputs: &'a [Input], options: &Options, attributes: &Arc<AttrTable>) -> Plan<'a> {
    let mut parts: Vec<Box<dyn Source<'a> + 'a>> = Vec::new();
    for input in inputs {
        let users = Users { placer: Placer::new(attributes, &options.mapping), caps: options.caps };
        if raw::is_csv(input.bytes()) {
            parts.push(Box::new(raw::CsvPart::new(input, users)));
        } else {
            parts.push(Box::new(Part { input, elements: Elements::new(input.bytes(), &["users", "results"]), users }));
        }
    }
    Plan { parts, last: None, bytes_total: inputs.iter().map(|input| input.bytes().len() as u64).sum() }
}

/// Parts of a hash as FusionAuth writes them.
pub(super) struct HashParts<'a> {
    pub(super) scheme: Text<'a>,
    pub(super) factor: Option<u32>,
    pub(super) salt: Text<'a>,
    pub(super) password: Text<'a>,
}

/// Reads users on one thread.
pub(super) struct Users {
    pub(super) placer: Placer,
    pub(super) caps: Caps,
}

impl Users {
    fn record<'a>(&mut self, line: u64, text: &'a [u8], notes: &mut Notes) -> Result<ImportUser<'a>, &'static str> {
        let object = Object::parse(text)?;
        match raw::shape(&object) {
            raw::Shape::FusionAuth => Ok(self.user(line, object, notes)),
            raw::Shape::Akamai => Ok(self.akamai(line, object, notes)),
            raw::Shape::Passport => Ok(self.passport(line, object, notes)),
            raw::Shape::Generic => Ok(self.generic(line, object, notes)),
        }
    }

    fn user<'a>(&mut self, line: u64, mut object: Object<'a>, notes: &mut Notes) -> ImportUser<'a> {
        let mut user = ImportUser { line, ..ImportUser::default() };
        let placer = &mut self.placer;
        user.sub = object.take_string("id").and_then(|id| forms::uuid(&id));
        let unique = object.take_string("uniqueUsername");
        for (name, key) in [
            ("username", standard::USERNAME),
            ("email", standard::EMAIL),
            ("firstName", standard::GIVEN_NAME),
            ("lastName", standard::FAMILY_NAME),
            ("fullName", standard::NAME),
            ("birthDate", standard::BIRTHDATE),
            ("imageUrl", standard::PICTURE),
            ("timezone", standard::ZONEINFO),
        ] {
            object.move_text(name, key, placer, &mut user, notes);
        }
        if let Some(unique) = unique.filter(|unique| user.text(standard::USERNAME) != Some(&**unique)) {
            placer.put(&mut user, Origin::custom("uniqueUsername", Kind::Str, false), ImportValue::Str(unique), notes);
        }
        object.move_phone("mobilePhone", placer, &mut user, notes);
        object.move_bool("verified", standard::EMAIL_VERIFIED, placer, &mut user, notes);
        languages(&mut object, placer, &mut user, notes);
        user.enabled = object.take("active").and_then(Raw::boolean);
        user.created_at_ms = object.take("insertInstant").and_then(Raw::int);
        user.updated_at_ms = object.take("lastUpdateInstant").and_then(Raw::int);
        user.temporary = object.take("passwordChangeRequired").and_then(Raw::boolean) == Some(true);
        user.password = self.password(&mut object, notes);
        factors(&mut object, &mut user);
        for (name, kind) in [("data", Kind::Json), ("registrations", Kind::Json), ("memberships", Kind::Json)] {
            if let Some(raw) = object.take(name) {
                self.placer.put(&mut user, Origin::custom(name, kind, false), ImportValue::Json(raw.text()), notes);
            }
        }
        if let Some(at) = object.take("lastLoginInstant").and_then(Raw::int) {
            let origin = Origin::custom("lastLoginInstant", Kind::Time, false);
            self.placer.put(&mut user, origin, ImportValue::Time(at), notes);
        }
        object.ignore(&["breachedPasswordStatus", "cleanSpeakId", "usernameStatus", "verifiedInstant", "connectorId"]);
        object.move_rest(&mut self.placer, &mut user, notes);
        user
    }

    fn password<'a>(&self, object: &mut Object<'a>, notes: &mut Notes) -> ImportPassword<'a> {
        let scheme = object.take_string("encryptionScheme");
        let factor = object.take("factor").and_then(Raw::int).and_then(|n| u32::try_from(n).ok());
        let salt = object.take_string("salt").unwrap_or_default();
        match (object.take_string("password"), scheme) {
            (None, _) => ImportPassword::ResetRequired,
            (Some(password), None) => ImportPassword::Plain(Zeroizing::new(password.into_owned())),
            (Some(password), Some(scheme)) => self.hash(HashParts { scheme, factor, salt, password }, notes),
        }
    }

    /// A hash from its parts. Exports give a user who signs in elsewhere a random password and no salt.
    pub(super) fn hash(&self, parts: HashParts<'_>, notes: &mut Notes) -> ImportPassword<'static> {
        let HashParts { scheme, factor, salt, password } = parts;
        if scheme == "bcrypt" && salt.is_empty() {
            notes.push("a bcrypt hash without its salt: a new password is needed".into());
            return ImportPassword::ResetRequired;
        }
        let factor = match (factor, default_factor(&scheme)) {
            (Some(factor), _) => Ok(factor),
            (None, Some(factor)) => Ok(factor),
            (None, None) => Err(HashError::Malformed("fusionauth factor")),
        };
        let stored = factor.and_then(|factor| convert::fusionauth(&scheme, factor, &salt, &password));
        hashes::converted(stored, &self.caps)
    }
}

/// The factors that FusionAuth takes where an import names none.
fn default_factor(scheme: &str) -> Option<u32> {
    match scheme {
        "bcrypt" => Some(10),
        "salted-md5" | "salted-sha256" | "salted-hmac-sha256" => Some(1),
        scheme if scheme.starts_with("salted-pbkdf2") => Some(24_000),
        _ => None,
    }
}

/// The first preferred language is the locale, further ones are kept beside it.
fn languages<'a>(object: &mut Object<'a>, placer: &mut Placer, user: &mut ImportUser<'a>, notes: &mut Notes) {
    let mut languages = object.take("preferredLanguages").map(Raw::scalars).unwrap_or_default().into_iter();
    if let Some(first) = languages.next() {
        placer.put(user, Origin::standard("preferredLanguages", standard::LOCALE), ImportValue::Str(first), notes);
    }
    let further: Vec<_> = languages.collect();
    if !further.is_empty() {
        let origin = Origin::custom("further_languages", Kind::Str, true);
        placer.put(user, origin, ImportValue::Multi(further), notes);
    }
}

/// `twoFactor`: authenticators and recovery codes.
fn factors<'a>(object: &mut Object<'a>, user: &mut ImportUser<'a>) {
    let Some(mut two_factor) = object.take("twoFactor").and_then(Raw::object) else { return };
    for (number, raw) in two_factor.take("methods").into_iter().flat_map(Raw::elements).enumerate() {
        let Some(mut method) = raw.object() else { continue };
        if method.take_string("method").is_some_and(|method| method == "authenticator") {
            let id = method.take_string("id").unwrap_or_else(|| Cow::Owned(format!("fusionauth-{}", number + 1)));
            let label = method.take_string("name");
            user.factors.push(Factor { kind: FactorKind::Totp, id, label, blob: Cow::Borrowed(raw.0) });
        }
    }
    if let Some(codes) = two_factor.take("recoveryCodes").filter(|codes| codes.elements().next().is_some()) {
        let id = Cow::Borrowed("fusionauth-recovery");
        user.factors.push(Factor { kind: FactorKind::Recovery, id, label: None, blob: Cow::Borrowed(codes.0) });
    }
}

/// A user who signs in elsewhere and has no password here.
pub(super) fn external(user: &mut ImportUser<'_>) {
    user.password = ImportPassword::None;
    user.status = Some(Status::External);
}

struct Part<'a> {
    input: &'a Input,
    elements: Elements<'a>,
    users: Users,
}

impl<'a> Source<'a> for Part<'a> {
    fn input(&self) -> &'a str {
        self.input.name()
    }

    fn next_batch(&mut self, max: usize, out: &mut Vec<Item<'a>>) -> bool {
        let Self { elements, users, .. } = self;
        next_records(elements, max, out, |line, text, notes, out| {
            out.push(Item::User(users.record(line, text, notes)?));
            Ok(())
        })
    }

    fn bytes_done(&self) -> u64 {
        self.elements.at() as u64
    }
}
