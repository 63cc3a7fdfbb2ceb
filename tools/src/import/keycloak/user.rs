//! A realm's users.

use std::{borrow::Cow, sync::Arc};

use stoa_engine::password::Caps;

use super::{
    super::{
        Options,
        attrs::{AttrTable, Kind, standard},
        forms,
        json::{Object, Raw},
        place::{Notes, Origin, Placer},
        record::{AttrKey, ImportPassword, ImportUser, ImportValue, Item, Status, Text},
        rest::Rest,
    },
    ROLE_PREFIX, credential,
};

/// Reads users on one thread.
pub(super) struct Users {
    placer: Placer,
    caps: Caps,
}

impl Users {
    pub(super) fn new(attributes: &Arc<AttrTable>, options: &Options) -> Self {
        Self { placer: Placer::new(attributes, &options.mapping), caps: options.caps }
    }

    /// Reads one user.
    ///
    /// # Errors
    /// Why the record cannot be taken.
    pub(super) fn read<'a>(&mut self, line: u64, text: &'a [u8], notes: &mut Notes) -> Result<Item<'a>, &'static str> {
        let mut object = Object::parse(text)?;
        if object.take("serviceAccountClientId").is_some() {
            return Ok(Item::Skipped { line, reason: "the account of a service".into() });
        }
        let mut user = ImportUser { line, ..ImportUser::default() };
        let rest = object.take("stoa");
        if let Some(id) = object.take_string("id") {
            user.sub = forms::uuid(&id);
            if user.sub.is_none() {
                self.placer.put(
                    &mut user,
                    Origin::custom("keycloak_id", Kind::Str, false),
                    ImportValue::Str(id),
                    notes,
                );
            }
        }
        user.created_at_ms = object.take("createdTimestamp").and_then(Raw::int);
        user.enabled = object.take("enabled").and_then(Raw::boolean);
        let placer = &mut self.placer;
        for (name, key) in [
            ("username", standard::USERNAME),
            ("email", standard::EMAIL),
            ("firstName", standard::GIVEN_NAME),
            ("lastName", standard::FAMILY_NAME),
        ] {
            object.move_text(name, key, placer, &mut user, notes);
        }
        object.move_bool("emailVerified", standard::EMAIL_VERIFIED, placer, &mut user, notes);
        if let Some(attributes) = object.take("attributes").and_then(Raw::object) {
            self.attributes(attributes, &mut user, notes);
        }
        for credential in object.take("credentials").into_iter().flat_map(Raw::elements) {
            credential::read(&mut user, credential, &self.caps, notes);
        }
        groups(&mut object, &mut user, notes);
        for identity in object.take("federatedIdentities").into_iter().flat_map(Raw::elements) {
            let Some(mut identity) = identity.object() else { continue };
            if let (Some(provider), Some(subject)) =
                (identity.take_string("identityProvider"), identity.take_string("userId"))
            {
                user.identities.push((provider, subject));
            }
        }
        if user.password == ImportPassword::None {
            if user.identities.is_empty() {
                user.password = ImportPassword::ResetRequired;
            } else {
                user.status = Some(Status::External);
            }
        }
        self.required_actions(&mut object, &mut user, notes);
        object.ignore(&[
            "totp",
            "disableableCredentialTypes",
            "notBefore",
            "access",
            "federationLink",
            "userProfileMetadata",
            "self",
            "origin",
        ]);
        object.move_rest(&mut self.placer, &mut user, notes);
        if let Some(rest) = rest {
            Rest::parse(rest.0)?.lay_over(&mut user, self.placer.table())?;
        }
        Ok(Item::User(user))
    }

    fn attributes<'a>(&mut self, attributes: Object<'a>, user: &mut ImportUser<'a>, notes: &mut Notes) {
        for (name, raw) in attributes.into_members() {
            let mut values = if raw.0.starts_with(b"[") { raw.scalars() } else { raw.scalar().into_iter().collect() };
            if values.is_empty() {
                continue;
            }
            match standard_place(&name) {
                Some(standard::PHONE_NUMBER) => match forms::e164(values.swap_remove(0)) {
                    Some(number) => {
                        let origin = Origin::standard(&name, standard::PHONE_NUMBER);
                        self.placer.put(user, origin, ImportValue::Str(number), notes);
                    }
                    None => notes.push("the telephone number is not international: left out".into()),
                },
                Some(key) => {
                    self.placer.put(user, Origin::standard(&name, key), ImportValue::Str(values.swap_remove(0)), notes);
                }
                None => {
                    let origin = Origin::custom(&name, Kind::Str, true);
                    self.placer.put(user, origin, ImportValue::Multi(values), notes);
                }
            }
        }
    }

    /// A password to be changed makes it temporary; other actions are kept as an attribute.
    fn required_actions<'a>(&mut self, object: &mut Object<'a>, user: &mut ImportUser<'a>, notes: &mut Notes) {
        let mut actions: Vec<Text<'a>> = object.take("requiredActions").map(Raw::scalars).unwrap_or_default();
        let count = actions.len();
        actions.retain(|action| action != "UPDATE_PASSWORD");
        user.temporary |= actions.len() < count;
        if !actions.is_empty() {
            let origin = Origin::custom("required_actions", Kind::Str, true);
            self.placer.put(user, origin, ImportValue::Multi(actions), notes);
        }
    }
}

/// Where the attributes go that Keycloak's own token mappers know.
fn standard_place(name: &str) -> Option<AttrKey> {
    Some(match name {
        "phoneNumber" | "phone_number" => standard::PHONE_NUMBER,
        "phoneNumberVerified" | "phone_number_verified" => standard::PHONE_NUMBER_VERIFIED,
        "nickname" => standard::NICKNAME,
        "locale" => standard::LOCALE,
        "zoneinfo" => standard::ZONEINFO,
        "birthdate" => standard::BIRTHDATE,
        "picture" => standard::PICTURE,
        "profile" => standard::PROFILE,
        "website" => standard::WEBSITE,
        "gender" => standard::GENDER,
        _ => return None,
    })
}

/// Groups by path, realm roles and client roles.
fn groups<'a>(object: &mut Object<'a>, user: &mut ImportUser<'a>, notes: &mut Notes) {
    for path in object.take("groups").map(Raw::scalars).unwrap_or_default() {
        let name = match path {
            Cow::Borrowed(path) => Cow::Borrowed(path.strip_prefix('/').unwrap_or(path)),
            Cow::Owned(path) => Cow::Owned(path.strip_prefix('/').map(str::to_owned).unwrap_or(path)),
        };
        user.join(name, notes);
    }
    for role in object.take("realmRoles").map(Raw::scalars).unwrap_or_default() {
        user.groups.push(Cow::Owned(format!("{ROLE_PREFIX}{role}")));
    }
    for (client, roles) in object.take("clientRoles").and_then(Raw::object).into_iter().flat_map(Object::into_members) {
        user.groups.extend(roles.scalars().into_iter().map(|role| Cow::Owned(format!("{ROLE_PREFIX}{client}/{role}"))));
    }
}
