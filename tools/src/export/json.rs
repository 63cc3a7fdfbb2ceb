//! What the JSON exporters share.

use serde_json::{Map, Value};

use super::boolean;
use crate::import::record::{AttrKey, ImportUser};

/// Adds a member unless it is None.
pub(super) fn put(object: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value.into());
    }
}

/// Adds string attributes by name.
pub(super) fn put_texts(object: &mut Map<String, Value>, user: &ImportUser<'_>, texts: &[(&str, AttrKey)]) {
    for (name, key) in texts {
        put(object, name, user.text(*key));
    }
}

/// Adds boolean attributes by name.
pub(super) fn put_booleans(object: &mut Map<String, Value>, user: &ImportUser<'_>, booleans: &[(&str, AttrKey)]) {
    for (name, key) in booleans {
        put(object, name, boolean(user, *key));
    }
}

/// The value that a text of our own making stands for.
pub(super) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
