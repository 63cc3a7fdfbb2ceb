//! A realm's groups and roles.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    super::{
        json::{Object, Raw},
        record::{ImportGroup, Text},
        rest::RestGroup,
    },
    ROLE_KIND, ROLE_PREFIX,
};

type Read<'a> = Result<ImportGroup<'a>, &'static str>;

/// The realm roles of `roles`. Client roles are announced when a user holds them: a realm brings a hundred that manage
/// Keycloak itself.
pub(super) fn roles(text: &[u8]) -> Vec<Read<'_>> {
    let mut roles = match Object::parse(text) {
        Ok(roles) => roles,
        Err(reason) => return vec![Err(reason)],
    };
    let realm = roles.take("realm").into_iter().flat_map(Raw::elements);
    realm.map(|role| role.object().ok_or("a role is no object").and_then(role_group)).collect()
}

fn role_group(mut role: Object<'_>) -> Read<'_> {
    let name = role.take_string("name").ok_or("a role has no name")?;
    let mut attributes = Map::new();
    keep(&mut attributes, "composites", role.take("composites"));
    keep(&mut attributes, "attributes", role.take("attributes"));
    let mut read = ImportGroup {
        name: Cow::Owned(format!("{ROLE_PREFIX}{name}")),
        description: role.take_string("description"),
        kind: Some(ROLE_KIND.into()),
        attributes: object_text(attributes),
        ..ImportGroup::default()
    };
    if let Some(rest) = role.take("stoa") {
        RestGroup::parse(rest.0)?.lay_over(&mut read);
    }
    Ok(read)
}

/// The tree of `groups`, parents before children.
pub(super) fn groups(text: &[u8]) -> Vec<Read<'_>> {
    let mut found = Vec::new();
    collect(Raw(text), "", 0, &mut found);
    found
}

/// Deepest nesting of groups that is followed.
const DEPTH_MAX: usize = 32;

fn collect<'a>(groups: Raw<'a>, parent: &str, depth: usize, found: &mut Vec<Read<'a>>) {
    if depth > DEPTH_MAX {
        found.push(Err("groups are nested deeper than 32 levels"));
        return;
    }
    for group in groups.elements() {
        let mut group = match Object::parse(group.0) {
            Ok(group) => group,
            Err(reason) => {
                found.push(Err(reason));
                continue;
            }
        };
        let Some(name) = group.take_string("name") else {
            found.push(Err("a group has no name"));
            continue;
        };
        let path = if parent.is_empty() { name.into_owned() } else { format!("{parent}/{name}") };
        let children = group.take("subGroups");
        found.push(one(group, path.clone()));
        if let Some(children) = children {
            collect(children, &path, depth + 1, found);
        }
    }
}

fn one(mut group: Object<'_>, path: String) -> Read<'_> {
    let rest = group.take("stoa");
    let mut attributes = Map::new();
    keep(&mut attributes, "attributes", group.take("attributes"));
    keep(&mut attributes, "realmRoles", group.take("realmRoles"));
    keep(&mut attributes, "clientRoles", group.take("clientRoles"));
    let mut read = ImportGroup {
        name: Cow::Owned(path),
        description: group.take_string("description"),
        attributes: object_text(attributes),
        ..ImportGroup::default()
    };
    if let Some(rest) = rest {
        RestGroup::parse(rest.0)?.lay_over(&mut read);
    }
    Ok(read)
}

/// Keeps a member that says something.
fn keep(attributes: &mut Map<String, Value>, name: &str, raw: Option<Raw<'_>>) {
    let Some(value) = raw.and_then(|raw| serde_json::from_slice::<Value>(raw.0).ok()) else { return };
    let empty = match &value {
        Value::Object(object) => object.is_empty(),
        Value::Array(array) => array.is_empty(),
        _ => false,
    };
    if !empty {
        attributes.insert(name.to_owned(), value);
    }
}

fn object_text<'a>(attributes: Map<String, Value>) -> Option<Text<'a>> {
    (!attributes.is_empty()).then(|| Cow::Owned(Value::Object(attributes).to_string()))
}
