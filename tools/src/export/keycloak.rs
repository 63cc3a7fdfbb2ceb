//! A Keycloak realm file, which `kc.sh import` and the admin console's partial import read.
//!
//! Groups become Keycloak's tree where a parent exists, groups of kind `role` named `role:…` realm roles. The `stoa` field
//! is the member `stoa` of users, groups and roles.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
};

use serde_json::{Map, Value, json};
use stoa_engine::password::{Caps, convert::to_keycloak};

use super::{
    ExportMember, ExportUser, Exporter, Memberships, ReadBack,
    json::{put, put_booleans, put_texts, value},
};
use crate::import::{
    Format,
    attrs::{AttrTable, Kind, standard},
    forms,
    keycloak::{ROLE_KIND, ROLE_PREFIX},
    record::{AttrKey, ImportGroup, ImportPassword, ImportUser, ImportValue},
    rest::RestGroup,
};

/// Standard attributes that Keycloak keeps among a user's attributes, under the names of its own token mappers.
const ATTRIBUTES: [(&str, AttrKey); 9] = [
    ("phoneNumber", standard::PHONE_NUMBER),
    ("nickname", standard::NICKNAME),
    ("locale", standard::LOCALE),
    ("zoneinfo", standard::ZONEINFO),
    ("birthdate", standard::BIRTHDATE),
    ("picture", standard::PICTURE),
    ("profile", standard::PROFILE),
    ("website", standard::WEBSITE),
    ("gender", standard::GENDER),
];

/// Writes a realm file.
pub(super) struct Keycloak<'w> {
    out: Box<dyn Write + 'w>,
    read_back: ReadBack,
    customs: Vec<(AttrKey, String)>,
    roles: Vec<Value>,
    groups: BTreeMap<String, Map<String, Value>>,
    users: u64,
}

impl<'w> Keycloak<'w> {
    pub(super) fn new(name: &str, attributes: Arc<AttrTable>, mut out: Box<dyn Write + 'w>) -> io::Result<Self> {
        write!(out, "{{\"realm\":{},\"enabled\":true", json!(name))?;
        let read_back = ReadBack::new(Format::Keycloak, attributes);
        let customs = read_back.customs(Kind::Str, true);
        Ok(Self { out, read_back, customs, roles: Vec::new(), groups: BTreeMap::new(), users: 0 })
    }

    /// Groups and roles stand before the users.
    fn begin_users(&mut self) -> io::Result<()> {
        let roles = std::mem::take(&mut self.roles);
        let groups = tree(std::mem::take(&mut self.groups));
        write!(self.out, ",\n\"roles\":{},\n\"groups\":{},\n\"users\":[", json!({ "realm": roles }), groups)
    }

    fn native(&self, user: &ImportUser<'_>) -> Map<String, Value> {
        let mut object = Map::new();
        put(&mut object, "id", user.sub.as_ref().map(forms::uuid_text));
        put(&mut object, "createdTimestamp", user.created_at_ms);
        put_texts(
            &mut object,
            user,
            &[
                ("username", standard::USERNAME),
                ("email", standard::EMAIL),
                ("firstName", standard::GIVEN_NAME),
                ("lastName", standard::FAMILY_NAME),
            ],
        );
        put(&mut object, "enabled", user.enabled);
        put_booleans(&mut object, user, &[("emailVerified", standard::EMAIL_VERIFIED)]);
        object.insert("attributes".into(), Value::Object(self.attributes(user)));
        let mut credentials: Vec<Value> = password(&user.password).into_iter().collect();
        credentials.extend(user.factors.iter().filter_map(|factor| credential(&factor.blob)));
        object.insert("credentials".into(), credentials.into());
        if user.temporary {
            object.insert("requiredActions".into(), json!(["UPDATE_PASSWORD"]));
        }
        groups(&mut object, user);
        let identities = user
            .identities
            .iter()
            .map(|(provider, subject)| json!({"identityProvider": provider, "userId": subject, "userName": subject}));
        object.insert("federatedIdentities".into(), identities.collect());
        object
    }

    fn attributes(&self, user: &ImportUser<'_>) -> Map<String, Value> {
        let mut attributes = Map::new();
        for (name, key) in ATTRIBUTES {
            put(&mut attributes, name, user.text(key).map(|text| vec![text.to_owned()]));
        }
        let verified = super::boolean(user, standard::PHONE_NUMBER_VERIFIED);
        put(&mut attributes, "phoneNumberVerified", verified.map(|verified| vec![verified.to_string()]));
        for (key, name) in &self.customs {
            if let Some(ImportValue::Multi(values)) = user.attr(*key) {
                attributes.insert(name.clone(), json!(values));
            }
        }
        attributes
    }
}

fn password(password: &ImportPassword<'_>) -> Option<Value> {
    let ImportPassword::Hash(hash) = password else { return None };
    let parts = to_keycloak(hash, &Caps::default());
    let data = json!({
        "hashIterations": parts.iterations, "algorithm": parts.algorithm, "additionalParameters": parts.additional,
    });
    let secret = json!({"value": parts.value, "salt": parts.salt, "additionalParameters": {}});
    // Both are JSON inside a string.
    Some(json!({"type": "password", "credentialData": data.to_string(), "secretData": secret.to_string()}))
}

/// A factor that came from Keycloak is one of its credentials already.
fn credential(blob: &[u8]) -> Option<Value> {
    let credential: Value = serde_json::from_slice(blob).ok()?;
    let kind = credential.get("type")?.as_str()?;
    matches!(kind, "otp" | "totp" | "webauthn" | "webauthn-passwordless" | "recovery-authn-codes").then_some(credential)
}

fn groups(object: &mut Map<String, Value>, user: &ImportUser<'_>) {
    let (mut paths, mut roles, mut clients) = (Vec::new(), Vec::new(), BTreeMap::<&str, Vec<&str>>::new());
    for name in &user.groups {
        match name.strip_prefix(ROLE_PREFIX) {
            None => paths.push(format!("/{name}")),
            Some(role) => match role.split_once('/') {
                Some((client, role)) => clients.entry(client).or_default().push(role),
                None => roles.push(role),
            },
        }
    }
    object.insert("groups".into(), json!(paths));
    object.insert("realmRoles".into(), json!(roles));
    object.insert("clientRoles".into(), json!(clients));
}

/// Nests groups under the longest path that is a group itself. Parents come before children in the order of names.
fn tree(groups: BTreeMap<String, Map<String, Value>>) -> Value {
    let names: Vec<String> = groups.keys().cloned().collect();
    let parent_of = |name: &str| {
        let ends = name.rmatch_indices('/').map(|(at, _)| at);
        ends.into_iter().map(|at| &name[..at]).find(|parent| groups.contains_key(*parent)).map(str::to_owned)
    };
    let mut children: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
    for name in names {
        children.entry(parent_of(&name)).or_default().push(name);
    }
    fn build(
        parent: Option<String>,
        groups: &BTreeMap<String, Map<String, Value>>,
        children: &BTreeMap<Option<String>, Vec<String>>,
    ) -> Value {
        let skip = parent.as_ref().map_or(0, |parent| parent.len() + 1);
        let names = children.get(&parent).map(Vec::as_slice).unwrap_or_default();
        let built = names.iter().map(|name| {
            let mut group = groups.get(name).cloned().unwrap_or_default();
            group.insert("name".into(), name[skip..].into());
            group.insert("path".into(), format!("/{name}").into());
            group.insert("subGroups".into(), build(Some(name.clone()), groups, children));
            Value::Object(group)
        });
        built.collect()
    }
    build(None, &groups, &children)
}

impl Exporter for Keycloak<'_> {
    fn memberships(&self) -> Memberships {
        Memberships::OfUsers
    }

    fn group(&mut self, group: &ImportGroup<'_>) -> io::Result<()> {
        let mut object = Map::new();
        put(&mut object, "description", group.description.as_deref());
        let mut rest = RestGroup { description: None, ..RestGroup::of(group) };
        let role = group.name.strip_prefix(ROLE_PREFIX).filter(|_| group.kind.as_deref() == Some(ROLE_KIND));
        if role.is_some() {
            rest.kind = None;
        }
        put(&mut object, "stoa", rest.text().as_deref().map(value));
        match role {
            Some(role) => {
                object.insert("name".into(), role.into());
                self.roles.push(Value::Object(object));
            }
            None => {
                self.groups.insert(group.name.to_string(), object);
            }
        }
        Ok(())
    }

    fn member(&mut self, _: &ExportMember<'_>) -> io::Result<()> {
        Ok(())
    }

    fn user(&mut self, user: &ExportUser<'_>) -> io::Result<()> {
        if self.users == 0 {
            self.begin_users()?;
        }
        let separator = if self.users == 0 { "\n" } else { ",\n" };
        self.users += 1;
        let mut object = self.native(&user.user);
        let native = json!({ "users": [&object] }).to_string();
        put(&mut object, "stoa", self.read_back.rest(native.into_bytes(), &user.user).as_deref().map(value));
        write!(self.out, "{separator}{}", Value::Object(object))
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.users == 0 {
            self.begin_users()?;
        }
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()
    }
}
