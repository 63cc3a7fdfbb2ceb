//! SCIM 2.0 resources (RFC 7643) as NDJSON, groups with their members.
//!
//! Hashes have no place in SCIM; they, and whatever else has none, stand in the extension
//! [`EXTENSION`], which is the `stoa` field of this format.

use std::{
    io::{self, Write},
    sync::Arc,
};

use serde_json::{Map, Value, json};

use super::{
    ExportMember, ExportUser, Exporter, Memberships, ReadBack,
    json::{put, put_texts, value},
};
use crate::import::{
    Format,
    attrs::{AttrTable, standard},
    forms,
    record::{AttrKey, ImportGroup, ImportUser},
    rest::RestGroup,
    scim::{EXTENSION, GROUP_SCHEMA, USER_SCHEMA},
    time,
};

/// Writes SCIM resources, one a line.
pub(super) struct Scim<'w> {
    out: Box<dyn Write + 'w>,
    read_back: ReadBack,
    /// A group's line is open: how many members it has.
    open_members: Option<u64>,
}

impl<'w> Scim<'w> {
    pub(super) fn new(attributes: Arc<AttrTable>, out: Box<dyn Write + 'w>) -> Self {
        Self { out, read_back: ReadBack::new(Format::Scim, attributes), open_members: None }
    }

    fn end_group(&mut self) -> io::Result<()> {
        match self.open_members.take() {
            Some(_) => self.out.write_all(b"]}\n"),
            None => Ok(()),
        }
    }
}

fn native(user: &ImportUser<'_>, version: u64) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("schemas".into(), json!([USER_SCHEMA]));
    put(&mut object, "id", user.sub.as_ref().map(forms::uuid_text));
    put_texts(
        &mut object,
        user,
        &[
            ("userName", standard::USERNAME),
            ("nickName", standard::NICKNAME),
            ("profileUrl", standard::PROFILE),
            ("locale", standard::LOCALE),
            ("timezone", standard::ZONEINFO),
        ],
    );
    let mut name = Map::new();
    let parts =
        [("formatted", standard::NAME), ("givenName", standard::GIVEN_NAME), ("familyName", standard::FAMILY_NAME)];
    put_texts(&mut name, user, &parts);
    if !name.is_empty() {
        object.insert("name".into(), Value::Object(name));
    }
    let mut plural = |list: &str, member: &str, key: AttrKey| {
        let value = user.text(key).map(|text| json!([{ member: text, "primary": true }]));
        put(&mut object, list, value);
    };
    plural("emails", "value", standard::EMAIL);
    plural("phoneNumbers", "value", standard::PHONE_NUMBER);
    plural("photos", "value", standard::PICTURE);
    plural("addresses", "formatted", standard::ADDRESS);
    put(&mut object, "active", user.enabled);
    let mut meta = Map::new();
    put(&mut meta, "resourceType", Some("User"));
    put(&mut meta, "created", user.created_at_ms.map(time::rfc3339));
    put(&mut meta, "lastModified", user.updated_at_ms.map(time::rfc3339));
    put(&mut meta, "version", Some(format!("W/\"{version}\"")));
    object.insert("meta".into(), Value::Object(meta));
    object
}

impl Exporter for Scim<'_> {
    fn memberships(&self) -> Memberships {
        Memberships::OfGroups
    }

    fn group(&mut self, group: &ImportGroup<'_>) -> io::Result<()> {
        self.end_group()?;
        let head = json!({ "schemas": [GROUP_SCHEMA], "displayName": group.name }).to_string();
        self.out.write_all(head.trim_end_matches('}').as_bytes())?;
        if let Some(rest) = RestGroup::of(group).text() {
            write!(self.out, ",{}:{rest}", json!(EXTENSION))?;
        }
        self.open_members = Some(0);
        self.out.write_all(b",\"members\":[")
    }

    fn member(&mut self, member: &ExportMember<'_>) -> io::Result<()> {
        let Some(count) = &mut self.open_members else { return Ok(()) };
        let separator = if *count == 0 { "" } else { "," };
        *count += 1;
        let mut object = Map::new();
        put(&mut object, "value", Some(forms::uuid_text(&member.sub)));
        put(&mut object, "display", member.username);
        write!(self.out, "{separator}{}", Value::Object(object))
    }

    fn user(&mut self, user: &ExportUser<'_>) -> io::Result<()> {
        self.end_group()?;
        let mut object = native(&user.user, user.version);
        // Memberships are said by the groups.
        let want = ImportUser { groups: Vec::new(), ..user.user.clone() };
        let text = Value::Object(object.clone()).to_string();
        put(&mut object, EXTENSION, self.read_back.rest(text.into_bytes(), &want).as_deref().map(value));
        writeln!(self.out, "{}", Value::Object(object))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_group()?;
        self.out.flush()
    }
}
