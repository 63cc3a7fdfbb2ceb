//! Auth0's bulk import as NDJSON, hashes inline: bcrypt as `password_hash`, others as `custom_password_hash`.
//!
//! The `stoa` field is the member `stoa`; a group is a line with the member `stoa_group` alone.

use std::{
    io::{self, Write},
    sync::Arc,
};

use serde_json::{Map, Value};
use stoa_engine::password::convert::to_auth0_custom;

use super::{
    ExportMember, ExportUser, Exporter, Memberships, ReadBack,
    json::{put, put_booleans, put_texts, value},
};
use crate::import::{
    Format,
    attrs::{AttrTable, Kind, standard},
    record::{ImportGroup, ImportPassword, ImportUser, ImportValue},
    rest::RestGroup,
    time,
};

/// Writes Auth0's NDJSON.
pub(super) struct Auth0<'w> {
    out: Box<dyn Write + 'w>,
    read_back: ReadBack,
}

impl<'w> Auth0<'w> {
    pub(super) fn new(attributes: Arc<AttrTable>, out: Box<dyn Write + 'w>) -> Self {
        Self { out, read_back: ReadBack::new(Format::Auth0, attributes) }
    }

    fn native(&self, user: &ImportUser<'_>) -> Map<String, Value> {
        let mut object = Map::new();
        if let Some((provider, subject)) = user.identities.first() {
            object.insert("user_id".into(), format!("{provider}|{subject}").into());
            let identities = user.identities.iter().map(|(provider, subject)| {
                let mut identity = Map::new();
                put(&mut identity, "provider", Some(&**provider));
                put(&mut identity, "user_id", Some(&**subject));
                Value::Object(identity)
            });
            object.insert("identities".into(), identities.collect());
        }
        put_texts(
            &mut object,
            user,
            &[
                ("email", standard::EMAIL),
                ("username", standard::USERNAME),
                ("given_name", standard::GIVEN_NAME),
                ("family_name", standard::FAMILY_NAME),
                ("name", standard::NAME),
                ("nickname", standard::NICKNAME),
                ("picture", standard::PICTURE),
                ("locale", standard::LOCALE),
                ("phone_number", standard::PHONE_NUMBER),
            ],
        );
        let booleans =
            [("email_verified", standard::EMAIL_VERIFIED), ("phone_verified", standard::PHONE_NUMBER_VERIFIED)];
        put_booleans(&mut object, user, &booleans);
        put(&mut object, "blocked", user.enabled.map(|enabled| !enabled));
        put(&mut object, "created_at", user.created_at_ms.map(time::rfc3339));
        put(&mut object, "updated_at", user.updated_at_ms.map(time::rfc3339));
        for (key, name) in self.read_back.customs(Kind::Json, false) {
            if let (Some(ImportValue::Json(text)), "app_metadata" | "user_metadata") = (user.attr(key), &*name) {
                object.insert(name, value(text));
            }
        }
        match &user.password {
            ImportPassword::Hash(hash) if hash.starts_with("$2a$") || hash.starts_with("$2b$") => {
                object.insert("password_hash".into(), hash.to_string().into());
            }
            ImportPassword::Hash(hash) => {
                object.insert("custom_password_hash".into(), to_auth0_custom(hash));
            }
            _ => {}
        }
        object
    }
}

impl Exporter for Auth0<'_> {
    fn memberships(&self) -> Memberships {
        Memberships::OfUsers
    }

    fn group(&mut self, group: &ImportGroup<'_>) -> io::Result<()> {
        let rest = RestGroup { name: Some(group.name.to_string()), ..RestGroup::of(group) };
        writeln!(self.out, "{{\"stoa_group\":{}}}", rest.text().unwrap_or_default())
    }

    fn member(&mut self, _: &ExportMember<'_>) -> io::Result<()> {
        Ok(())
    }

    fn user(&mut self, user: &ExportUser<'_>) -> io::Result<()> {
        let mut object = self.native(&user.user);
        let native = Value::Object(object.clone()).to_string();
        put(&mut object, "stoa", self.read_back.rest(native.into_bytes(), &user.user).as_deref().map(value));
        writeln!(self.out, "{}", Value::Object(object))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
