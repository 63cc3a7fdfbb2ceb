//! Auth0: the user export (NDJSON or JSON array) and, beside it, the file of password hashes.
//!
//! A file whose first record has a `passwordHash` and no `user_id` is a password file; its hashes are joined to the users
//! by the id behind `auth0|`, else by e-mail. `user_id` and `identities` become linked identities, `blocked` disables,
//! `app_metadata` and `user_metadata` and whatever else there is become custom attributes. A user of another connection
//! than Auth0's own database has no password here.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use stoa_engine::password::{Caps, convert};

use super::{
    Options, Plan, Source,
    announce::Announcer,
    attrs::{AttrTable, Kind, standard},
    hashes,
    input::Input,
    json::{Element, Elements, Object, Raw, next_records},
    place::{Notes, Origin, Placer},
    record::{Factor, FactorKind, ImportGroup, ImportPassword, ImportUser, ImportValue, Item, Status, Text},
    rest::{Rest, RestGroup},
};

/// Members under which an object holds the users, if it is not the array itself.
const KEYS: &[&str] = &["users"];

/// Plans an import of Auth0's files, users and passwords in any order.
pub(crate) fn plan<'a>(inputs: &'a [Input], options: &Options, attributes: &Arc<AttrTable>) -> Plan<'a> {
    let (passwords, users): (Vec<_>, Vec<_>) = inputs.iter().partition(|input| is_password_file(input));
    let passwords = Arc::new(Passwords { files: passwords, by_owner: OnceLock::new() });
    let mut parts: Vec<Box<dyn Source<'a> + 'a>> = Vec::new();
    for input in &users {
        parts.push(Box::new(Part {
            input,
            elements: Elements::new(input.bytes(), KEYS),
            placer: Placer::new(attributes, &options.mapping),
            passwords: Arc::clone(&passwords),
            announcer: Announcer::default(),
            caps: options.caps,
        }));
    }
    let bytes_total = users.iter().map(|input| input.bytes().len() as u64).sum();
    Plan { parts, last: None, bytes_total }
}

fn is_password_file(input: &Input) -> bool {
    let Element::Record { text, .. } = Elements::new(input.bytes(), KEYS).next() else { return false };
    Object::parse(text).is_ok_and(|object| object.has("passwordHash") && !object.has("user_id"))
}

/// The hashes of all password files.
struct Passwords<'a> {
    files: Vec<&'a Input>,
    by_owner: OnceLock<HashMap<Text<'a>, Raw<'a>>>,
}

impl<'a> Passwords<'a> {
    /// The hash under an id or, in lower case, an e-mail address.
    fn find(&self, owner: &str) -> Option<Raw<'a>> {
        self.by_owner.get_or_init(|| self.read()).get(owner).copied()
    }

    fn read(&self) -> HashMap<Text<'a>, Raw<'a>> {
        let mut by_owner = HashMap::new();
        for file in &self.files {
            let mut elements = Elements::new(file.bytes(), KEYS);
            loop {
                let text = match elements.next() {
                    Element::End => break,
                    Element::Bad { .. } => continue,
                    Element::Record { text, .. } => text,
                };
                let Ok(mut object) = Object::parse(text) else { continue };
                let Some(hash) = object.take("passwordHash") else { continue };
                let id = object.take("_id").or_else(|| object.take("_ID")).and_then(oid);
                let email = object.take_string("email").map(|email| Cow::Owned(email.to_lowercase()));
                by_owner.extend([id, email].into_iter().flatten().map(|owner| (owner, hash)));
            }
        }
        by_owner
    }
}

/// An id as text or as Mongo's `{"$oid": …}`.
fn oid(id: Raw<'_>) -> Option<Text<'_>> {
    match id.object() {
        Some(mut object) => object.take_string("$oid"),
        None => id.scalar(),
    }
}

struct Part<'a> {
    input: &'a Input,
    elements: Elements<'a>,
    placer: Placer,
    passwords: Arc<Passwords<'a>>,
    announcer: Announcer,
    caps: Caps,
}

impl<'a> Part<'a> {
    fn record(&mut self, line: u64, text: &'a [u8], notes: &mut Notes) -> Result<Item<'a>, &'static str> {
        let mut object = Object::parse(text)?;
        if let Some(group) = object.take("stoa_group") {
            let mut read = ImportGroup { line, ..ImportGroup::default() };
            RestGroup::parse(group.0)?.lay_over(&mut read);
            return if read.name.is_empty() { Err("the group has no name") } else { Ok(Item::Group(read)) };
        }
        self.user(line, object, notes).map(Item::User)
    }

    fn user(&mut self, line: u64, mut object: Object<'a>, notes: &mut Notes) -> Result<ImportUser<'a>, &'static str> {
        let mut user = ImportUser { line, ..ImportUser::default() };
        let user_id = object.take_string("user_id");
        let rest = object.take("stoa");
        identities(&mut user, user_id.as_ref(), object.take("identities"));
        let own = user.identities.iter().find(|(provider, _)| provider == "auth0").map(|(_, id)| id.clone());
        let email = object.take_string("email");
        user.password = self.password(&mut object, own.as_deref(), email.as_deref());
        let elsewhere = own.is_none() && !user.identities.is_empty();
        match user.password {
            ImportPassword::None if elsewhere => user.status = Some(Status::External),
            ImportPassword::None => user.password = ImportPassword::ResetRequired,
            _ => {}
        }
        if let Some(email) = email {
            self.placer.put(&mut user, Origin::standard("email", standard::EMAIL), ImportValue::Str(email), notes);
        }
        let placer = &mut self.placer;
        for (name, key) in [
            ("username", standard::USERNAME),
            ("given_name", standard::GIVEN_NAME),
            ("family_name", standard::FAMILY_NAME),
            ("name", standard::NAME),
            ("nickname", standard::NICKNAME),
            ("picture", standard::PICTURE),
            ("locale", standard::LOCALE),
        ] {
            object.move_text(name, key, placer, &mut user, notes);
        }
        object.move_bool("email_verified", standard::EMAIL_VERIFIED, placer, &mut user, notes);
        object.move_bool("phone_verified", standard::PHONE_NUMBER_VERIFIED, placer, &mut user, notes);
        object.move_phone("phone_number", placer, &mut user, notes);
        user.created_at_ms = object.take("created_at").and_then(Raw::time);
        user.updated_at_ms = object.take("updated_at").and_then(Raw::time);
        user.enabled = object.take("blocked").and_then(Raw::boolean).map(|blocked| !blocked);
        if let Some(factors) = object.take("mfa_factors") {
            factors_of(&mut user, factors);
        }
        for name in ["app_metadata", "user_metadata"] {
            if let Some(metadata) = object.take(name) {
                let origin = Origin::custom(name, Kind::Json, false);
                placer.put(&mut user, origin, ImportValue::Json(metadata.text()), notes);
            }
        }
        object.ignore(&["_id", "_ID", "__version", "_tmp_is_unique", "tenant", "client_id", "connection"]);
        object.move_rest(placer, &mut user, notes);
        if let Some(rest) = rest {
            Rest::parse(rest.0)?.lay_over(&mut user, placer.table())?;
        }
        Ok(user)
    }

    fn password(&self, object: &mut Object<'a>, own: Option<&str>, email: Option<&str>) -> ImportPassword<'a> {
        let inline = ["password_hash", "passwordHash"].into_iter().find_map(|name| object.take_string(name));
        if let Some(hash) = inline {
            return hashes::checked(hash, &self.caps);
        }
        if let Some(custom) = object.take("custom_password_hash") {
            return match serde_json::from_slice(custom.0) {
                Ok(value) => hashes::converted(convert::auth0_custom(&value), &self.caps),
                Err(_) => ImportPassword::Unsupported { reason: "custom_password_hash is no object".into() },
            };
        }
        let joined = own
            .and_then(|id| self.passwords.find(id))
            .or_else(|| email.and_then(|email| self.passwords.find(&email.to_lowercase())));
        match joined.and_then(Raw::string) {
            Some(hash) => hashes::checked(hash, &self.caps),
            None => ImportPassword::None,
        }
    }
}

/// `provider|subject`, and the list of all of a user's accounts.
fn identities<'a>(user: &mut ImportUser<'a>, user_id: Option<&Text<'a>>, list: Option<Raw<'a>>) {
    let mut link = |provider: Text<'a>, subject: Text<'a>| {
        if !user.identities.iter().any(|(p, s)| *p == provider && *s == subject) {
            user.identities.push((provider, subject));
        }
    };
    if let Some(id) = user_id {
        let (provider, subject) = match id {
            Cow::Borrowed(id) => match id.split_once('|') {
                Some((provider, subject)) => (Cow::Borrowed(provider), Cow::Borrowed(subject)),
                None => (Cow::Borrowed("auth0"), Cow::Borrowed(*id)),
            },
            Cow::Owned(id) => {
                let (provider, subject) = id.split_once('|').unwrap_or(("auth0", id));
                (Cow::Owned(provider.to_owned()), Cow::Owned(subject.to_owned()))
            }
        };
        link(provider, subject);
    }
    for identity in list.into_iter().flat_map(Raw::elements) {
        let Some(mut identity) = identity.object() else { continue };
        if let (Some(provider), Some(subject)) = (identity.take_string("provider"), identity.take_string("user_id")) {
            link(provider, subject);
        }
    }
}

/// `mfa_factors` of the bulk import: `[{"totp": {"secret": …}}, …]`; telephones and addresses stay in the attributes.
fn factors_of<'a>(user: &mut ImportUser<'a>, factors: Raw<'a>) {
    for (number, factor) in factors.elements().enumerate() {
        let Some(totp) = factor.object().and_then(|mut factor| factor.take("totp")) else { continue };
        let id = Cow::Owned(format!("auth0-{}", number + 1));
        user.factors.push(Factor { kind: FactorKind::Totp, id, label: None, blob: Cow::Borrowed(totp.0) });
    }
}

impl<'a> Source<'a> for Part<'a> {
    fn input(&self) -> &'a str {
        self.input.name()
    }

    fn next_batch(&mut self, max: usize, out: &mut Vec<Item<'a>>) -> bool {
        let mut elements = std::mem::take(&mut self.elements);
        let more = next_records(&mut elements, max, out, |line, text, notes, out| {
            let item = self.record(line, text, notes)?;
            self.announcer.push(item, out);
            Ok(())
        });
        self.elements = elements;
        more
    }

    fn bytes_done(&self) -> u64 {
        self.elements.at() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Format,
        testing::{Run, shared, string},
    };
    use super::*;

    #[test]
    fn users_and_passwords_are_joined() {
        let Some(users) = shared("auth0/zitadel-tools-auth0-users.ndjson") else { return };
        let Some(passwords) = shared("auth0/zitadel-tools-auth0-passwords.ndjson") else { return };
        let inputs = [passwords, users];
        let run = Run::plain(Format::Auth0, &inputs);
        assert_eq!(run.counts(), (5, 0, 0, 0));
        assert!(run.users.iter().all(|user| matches!(user.password, ImportPassword::Hash(_))));
        let john = run.user("johndoe");
        assert!(john.identities == [("auth0".into(), "60425dc43519d90068f82973".into())]);
        assert!(run.attr(john, "phone_number_verified") == Some(ImportValue::Bool(true)));
        assert!(run.attr(john, "phone_number") == Some(string("+1234567890")));
        let ImportPassword::Hash(hash) = &john.password else { panic!("no hash") };
        assert!(hash.starts_with("$2b$10$Z6hU"));
    }

    #[test]
    fn hashes_of_all_documented_algorithms_are_read() {
        let Some(input) = shared("auth0/auth0-docs-custom-password-hash-examples.json") else { return };
        let inputs = [input];
        let run = Run::plain(Format::Auth0, &inputs);
        assert_eq!(run.counts(), (8, 0, 0, 0));
        for user in &run.users {
            let email = user.text(standard::EMAIL).unwrap();
            assert!(matches!(user.password, ImportPassword::Hash(_)), "{email}");
        }
    }

    #[test]
    fn other_providers_metadata_and_blocks_are_kept() {
        let text = r#"[{"user_id":"google-oauth2|1","email":"G@x","identities":[{"provider":"google-oauth2","user_id":"1"},{"provider":"github","user_id":7}],"app_metadata":{"a":[1]},"blocked":true,"logins_count":3,"created_at":"2020-06-04T12:00:00.000Z"},
            {"user_id":"auth0|2","email":"h@x","mfa_factors":[{"totp":{"secret":"ABC"}}]}, 5]"#;
        let inputs = [Input::from_bytes("x", text.as_bytes().to_vec())];
        let run = Run::plain(Format::Auth0, &inputs);
        assert_eq!(run.counts(), (2, 0, 1, 0));
        let user = &run.users[0];
        assert_eq!((user.status, user.enabled), (Some(Status::External), Some(false)));
        assert_eq!(user.identities.len(), 2);
        assert_eq!(user.created_at_ms, Some(1_591_272_000_000));
        assert!(run.attr(user, "custom:app_metadata") == Some(ImportValue::Json("{\"a\":[1]}".into())));
        assert!(run.attr(user, "custom:logins_count") == Some(ImportValue::Int(3)));
        assert_eq!(run.users[1].factors.len(), 1);
        assert_eq!(run.users[1].password, ImportPassword::ResetRequired);
    }
}
