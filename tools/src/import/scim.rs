//! SCIM 2.0 resources (RFC 7643): a ListResponse, an array, or NDJSON, users and groups mixed.
//!
//! `id` is the sub if it is a UUID, else the attribute `custom:scim_id`. Of e-mails, telephone numbers and addresses the
//! primary one (or the first) has the standard place and the others become custom attributes, as do the enterprise
//! extension and everything else. Members of groups are named by `id`; where that is no UUID they are looked up among the
//! users of the same input. Our own extension [`EXTENSION`] is described in [`rest`](super::rest).

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use zeroize::Zeroizing;

use super::{
    Options, Plan, Source,
    announce::Announcer,
    attrs::{AttrTable, Kind, standard},
    forms,
    input::Input,
    json::{Elements, Object, Raw, next_records},
    place::{Notes, Origin, Placer},
    record::{ImportGroup, ImportPassword, ImportUser, ImportValue, Item, MemberRef, Text},
    rest::{Rest, RestGroup},
    time,
};

/// The schema of our own extension.
pub(crate) const EXTENSION: &str = "urn:stoa:params:scim:schemas:extension:2.0:Rest";
/// The schema of groups.
pub(crate) const GROUP_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The schema of users.
pub(crate) const USER_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
/// Longest group name in characters (protocol §3).
const NAME_CHARS_MAX: usize = 128;

/// Plans an import of SCIM resources.
pub(crate) fn plan<'a>(inputs: &'a [Input], options: &Options, attributes: &Arc<AttrTable>) -> Plan<'a> {
    let later = Arc::new(Later::default());
    let mut parts: Vec<Box<dyn Source<'a> + 'a>> = Vec::new();
    for input in inputs {
        parts.push(Box::new(Part {
            input,
            elements: Elements::new(input.bytes(), &["Resources"]),
            placer: Placer::new(attributes, &options.mapping),
            later: Arc::clone(&later),
            announcer: Announcer::default(),
        }));
    }
    Plan {
        parts,
        last: Some(Box::new(Groups { name: inputs.first().map_or("", Input::name), later })),
        bytes_total: inputs.iter().map(|input| input.bytes().len() as u64).sum(),
    }
}

/// What the parts leave for the end.
#[derive(Default)]
struct Later<'a> {
    /// Users by an id that is no UUID.
    users: Mutex<HashMap<Text<'a>, MemberRef<'a>>>,
    /// Groups, read when all users are known: line and text.
    groups: Mutex<Vec<(u64, &'a [u8])>>,
}

impl<'a> Later<'a> {
    /// Notes how groups are to name a user whose id is no UUID.
    fn note(&self, id: Text<'a>, user: &ImportUser<'a>) {
        let text = |key| match user.attr(key) {
            Some(ImportValue::Str(text)) => Some(text.clone()),
            _ => None,
        };
        let member = text(standard::USERNAME).map(MemberRef::Username);
        let Some(member) = member.or_else(|| text(standard::EMAIL).map(MemberRef::Email)) else { return };
        self.users.lock().unwrap_or_else(PoisonError::into_inner).insert(id, member);
    }
}

struct Part<'a> {
    input: &'a Input,
    elements: Elements<'a>,
    placer: Placer,
    later: Arc<Later<'a>>,
    announcer: Announcer,
}

impl<'a> Part<'a> {
    /// None for a group: those are yielded at the end.
    fn record(&mut self, line: u64, text: &'a [u8], notes: &mut Notes) -> Result<Option<Item<'a>>, &'static str> {
        let mut object = Object::parse(text)?;
        let schemas = object.take("schemas").map(Raw::scalars).unwrap_or_default();
        let is_group = schemas.iter().any(|schema| schema == GROUP_SCHEMA);
        if is_group || (object.has("members") && !object.has("userName")) {
            self.later.groups.lock().unwrap_or_else(PoisonError::into_inner).push((line, text));
            return Ok(None);
        }
        self.user(line, object, notes).map(|user| Some(Item::User(user)))
    }

    fn user(&mut self, line: u64, mut object: Object<'a>, notes: &mut Notes) -> Result<ImportUser<'a>, &'static str> {
        let mut user = ImportUser { line, ..ImportUser::default() };
        let rest = object.take(EXTENSION);
        let placer = &mut self.placer;
        let id = object.take_string("id");
        user.sub = id.as_deref().and_then(forms::uuid);
        for (name, key) in [
            ("userName", standard::USERNAME),
            ("nickName", standard::NICKNAME),
            ("profileUrl", standard::PROFILE),
            ("locale", standard::LOCALE),
            ("timezone", standard::ZONEINFO),
        ] {
            object.move_text(name, key, placer, &mut user, notes);
        }
        names(&mut object, placer, &mut user, notes);
        emails(&mut object, placer, &mut user, notes);
        phones(&mut object, placer, &mut user, notes);
        if let Some(id) = id.filter(|_| user.sub.is_none()) {
            self.later.note(id.clone(), &user);
            placer.put(&mut user, Origin::custom("scim_id", Kind::Str, false), ImportValue::Str(id), notes);
        }
        for (list, key) in [("photos", standard::PICTURE), ("addresses", standard::ADDRESS)] {
            one_of(&mut object, list, key, placer, &mut user, notes);
        }
        user.enabled = object.take("active").and_then(Raw::boolean);
        user.password = match object.take_string("password") {
            Some(password) => ImportPassword::Plain(Zeroizing::new(password.into_owned())),
            None => ImportPassword::ResetRequired,
        };
        for group in object.take("groups").into_iter().flat_map(Raw::elements) {
            let Some(mut group) = group.object() else { continue };
            if let Some(name) = group.take_string("display").or_else(|| group.take_string("value")) {
                user.join(name, notes);
            }
        }
        if let Some(mut meta) = object.take("meta").and_then(Raw::object) {
            user.created_at_ms = meta.take_string("created").and_then(|text| time::iso(&text));
            user.updated_at_ms = meta.take_string("lastModified").and_then(|text| time::iso(&text));
        }
        if let Some(enterprise) = object.take(ENTERPRISE).and_then(Raw::object) {
            enterprise.move_rest(placer, &mut user, notes);
        }
        extensions(object, placer, &mut user, notes);
        if let Some(rest) = rest {
            Rest::parse(rest.0)?.lay_over(&mut user, placer.table())?;
        }
        Ok(user)
    }
}

/// `name` and its parts; without a formatted name, `displayName`.
fn names<'a>(object: &mut Object<'a>, placer: &mut Placer, user: &mut ImportUser<'a>, notes: &mut Notes) {
    let mut formatted = None;
    if let Some(mut name) = object.take("name").and_then(Raw::object) {
        formatted = name.take_string("formatted");
        name.move_text("givenName", standard::GIVEN_NAME, placer, user, notes);
        name.move_text("familyName", standard::FAMILY_NAME, placer, user, notes);
        name.move_rest(placer, user, notes);
    }
    let display = object.take_string("displayName");
    let (name, other) = if formatted.is_some() { (formatted, display) } else { (display, None) };
    if let Some(name) = name {
        placer.put(user, Origin::standard("name", standard::NAME), ImportValue::Str(name), notes);
    }
    if let Some(other) = other.filter(|other| Some(&**other) != user.text(standard::NAME)) {
        placer.put(user, Origin::custom("displayName", Kind::Str, false), ImportValue::Str(other), notes);
    }
}

/// A plural attribute's values, the primary one first.
fn values<'a>(object: &mut Object<'a>, list: &str, value: &str) -> Vec<Text<'a>> {
    let mut found = Vec::new();
    for element in object.take(list).into_iter().flat_map(Raw::elements) {
        let (text, primary) = match element.object() {
            Some(mut object) => {
                (object.take_string(value), object.take("primary").and_then(Raw::boolean) == Some(true))
            }
            None => (element.scalar(), false),
        };
        let Some(text) = text.filter(|text| !text.is_empty()) else { continue };
        if primary {
            found.insert(0, text);
        } else {
            found.push(text);
        }
    }
    found
}

fn emails<'a>(object: &mut Object<'a>, placer: &mut Placer, user: &mut ImportUser<'a>, notes: &mut Notes) {
    let mut emails = values(object, "emails", "value").into_iter();
    if let Some(email) = emails.next() {
        placer.put(user, Origin::standard("email", standard::EMAIL), ImportValue::Str(email), notes);
    }
    further("emails", emails.collect(), placer, user, notes);
}

fn phones<'a>(object: &mut Object<'a>, placer: &mut Placer, user: &mut ImportUser<'a>, notes: &mut Notes) {
    let (mut taken, mut others) = (false, Vec::new());
    for phone in values(object, "phoneNumbers", "value") {
        // RFC 7643 writes them as tel: addresses (RFC 3966).
        let bare = match &phone {
            Cow::Borrowed(phone) => Cow::Borrowed(phone.strip_prefix("tel:").unwrap_or(phone)),
            Cow::Owned(phone) => Cow::Owned(phone.strip_prefix("tel:").unwrap_or(phone).to_owned()),
        };
        match forms::e164(bare).filter(|_| !taken) {
            Some(number) => {
                let origin = Origin::standard("phoneNumber", standard::PHONE_NUMBER);
                placer.put(user, origin, ImportValue::Str(number), notes);
                taken = true;
            }
            None => others.push(phone),
        }
    }
    further("phoneNumbers", others, placer, user, notes);
}

fn further<'a>(name: &str, values: Vec<Text<'a>>, placer: &mut Placer, user: &mut ImportUser<'a>, notes: &mut Notes) {
    if !values.is_empty() {
        placer.put(user, Origin::custom(name, Kind::Str, true), ImportValue::Multi(values), notes);
    }
}

/// A plural attribute of which one value has a standard place: a picture's address, a formatted postal address or the
/// JSON of its parts. Several are kept as they are in a custom attribute.
fn one_of<'a>(
    object: &mut Object<'a>,
    list: &str,
    key: super::record::AttrKey,
    placer: &mut Placer,
    user: &mut ImportUser<'a>,
    notes: &mut Notes,
) {
    let Some(raw) = object.take(list) else { return };
    let mut elements: Vec<_> = raw.elements().collect();
    let [only] = &mut elements[..] else {
        if !elements.is_empty() {
            placer.put(user, Origin::custom(list, Kind::Json, false), ImportValue::Json(raw.text()), notes);
        }
        return;
    };
    let text = match only.object() {
        Some(mut object) => {
            object.take_string("value").or_else(|| object.take_string("formatted")).unwrap_or_else(|| only.text())
        }
        None => only.scalar().unwrap_or_default(),
    };
    if !text.is_empty() {
        placer.put(user, Origin::standard(list, key), ImportValue::Str(text), notes);
    }
}

/// What is left: extensions by the last part of their schema's name, other members by theirs.
fn extensions<'a>(object: Object<'a>, placer: &mut Placer, user: &mut ImportUser<'a>, notes: &mut Notes) {
    for (name, raw) in object.into_members() {
        let short = match name.strip_prefix("urn:") {
            Some(urn) => urn.rsplit(':').nth(1).unwrap_or(urn),
            None => &name,
        };
        if let Some((kind, multi, value)) = raw.value() {
            placer.put(user, Origin::custom(short, kind, multi), value, notes);
        }
    }
}

impl<'a> Source<'a> for Part<'a> {
    fn input(&self) -> &'a str {
        self.input.name()
    }

    fn next_batch(&mut self, max: usize, out: &mut Vec<Item<'a>>) -> bool {
        let mut elements = std::mem::take(&mut self.elements);
        let more = next_records(&mut elements, max, out, |line, text, notes, out| {
            if let Some(item) = self.record(line, text, notes)? {
                self.announcer.push(item, out);
            }
            Ok(())
        });
        self.elements = elements;
        more
    }

    fn bytes_done(&self) -> u64 {
        self.elements.at() as u64
    }
}

/// The groups of all inputs.
struct Groups<'a> {
    name: &'a str,
    later: Arc<Later<'a>>,
}

impl<'a> Groups<'a> {
    fn group(&self, line: u64, text: &'a [u8], out: &mut Vec<Item<'a>>) -> Result<ImportGroup<'a>, &'static str> {
        let mut object = Object::parse(text)?;
        let name = object.take_string("displayName").ok_or("the group has no displayName")?;
        let mut group = ImportGroup { line, name, ..ImportGroup::default() };
        let users = self.later.users.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut absent, mut nested) = (0_u64, 0_u64);
        for member in object.take("members").into_iter().flat_map(Raw::elements) {
            let Some(mut member) = member.object() else { continue };
            if member.take_string("type").is_some_and(|kind| kind == "Group") {
                nested += 1;
                continue;
            }
            let value = member.take_string("value").unwrap_or_default();
            let known = forms::uuid(&value).map(MemberRef::Sub).or_else(|| users.get(&value).cloned());
            match known {
                Some(member) => group.members.push(member),
                None => absent += 1,
            }
        }
        if let Some(rest) = object.take(EXTENSION) {
            RestGroup::parse(rest.0)?.lay_over(&mut group);
        }
        group.members.sort_unstable();
        group.members.dedup();
        if group.name.is_empty() || group.name.chars().count() > NAME_CHARS_MAX {
            return Err("the group's name must have 1 to 128 characters");
        }
        for (count, what) in [(absent, "are not in the input"), (nested, "are groups")] {
            if count > 0 {
                out.push(Item::Changed { line, note: format!("{count} members {what}: left out").into() });
            }
        }
        Ok(group)
    }
}

impl<'a> Source<'a> for Groups<'a> {
    fn input(&self) -> &'a str {
        self.name
    }

    fn next_batch(&mut self, max: usize, out: &mut Vec<Item<'a>>) -> bool {
        for _ in 0..max {
            let next = self.later.groups.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((line, text)) = next else { return false };
            match self.group(line, text, out) {
                Ok(group) => out.push(Item::Group(group)),
                Err(reason) => out.push(Item::Refused { line, reason: reason.into() }),
            }
        }
        true
    }

    fn bytes_done(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Format,
        testing::{Run, string, strings},
    };
    use super::*;
    use proptest::prelude::*;

    const USERS: &str = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":3,"Resources":[
      {"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"2819c223-7f76-453a-919d-413861904646","userName":"bjensen",
       "name":{"formatted":"Ms. Barbara J Jensen","familyName":"Jensen","givenName":"Barbara","middleName":"Jane"},"displayName":"Babs",
       "emails":[{"value":"home@x","type":"home"},{"value":"bj@x","primary":true}],"phoneNumbers":[{"value":"tel:+1-201-555-0123"},{"value":"555"}],
       "active":"True","password":"t1meMa$heen","addresses":[{"formatted":"100 Universal City"}],"photos":[{"value":"https://p/1"}],
       "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"employeeNumber":"701984","manager":{"value":"26"}},
       "meta":{"created":"2020-06-04T12:00:00Z","lastModified":"2020-06-04T12:00:01Z"}},
      {"id":"u-7","userName":"seven","active":false,"title":"x"},
      {"id":"u-8","emails":[{"value":"eight@x"}]},
      {"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"id":"g","displayName":"Tour Guides",
       "members":[{"value":"2819c223-7f76-453a-919d-413861904646"},{"value":"u-7"},{"value":"u-8"},{"value":"gone"},{"value":"h","type":"Group"}]}]}"#;

    #[test]
    fn users_and_groups_are_read() {
        let inputs = [Input::from_bytes("x", USERS.as_bytes().to_vec())];
        let run = Run::plain(Format::Scim, &inputs);
        assert_eq!(run.counts(), (3, 1, 0, 0));
        let babs = run.user("bjensen");
        for (name, value) in [
            ("name", string("Ms. Barbara J Jensen")),
            ("custom:display_name", string("Babs")),
            ("custom:middle_name", string("Jane")),
            ("email", string("bj@x")),
            ("custom:emails", strings(&["home@x"])),
            ("phone_number", string("+12015550123")),
            ("custom:phone_numbers", strings(&["555"])),
            ("address", string("100 Universal City")),
            ("picture", string("https://p/1")),
            ("custom:employee_number", string("701984")),
            ("custom:manager", ImportValue::Json("{\"value\":\"26\"}".into())),
        ] {
            assert!(run.attr(babs, name) == Some(value), "{name}");
        }
        assert_eq!((babs.enabled, babs.created_at_ms), (Some(true), Some(1_591_272_000_000)));
        assert!(matches!(babs.password, ImportPassword::Plain(_)));
        assert_eq!(run.user("seven").enabled, Some(false));
        let members = &run.group("Tour Guides").members;
        assert_eq!(members.len(), 3);
        assert!(members.contains(&MemberRef::Username("seven".into())));
        assert!(members.contains(&MemberRef::Email("eight@x".into())));
        assert_eq!(run.changed.len(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, cut in 0..1000_usize) {
            let inputs = [Input::from_bytes("x", bytes), Input::from_bytes("y", USERS.as_bytes()[..cut.min(USERS.len())].to_vec())];
            let _ = Run::plain(Format::Scim, &inputs);
        }
    }
}
