//! `JSON {object}`: attributes of values that come from people, safe from being taken for words.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use stoa_engine::pool::request::Input;

use super::pairs;
use crate::refusal::{Refusal, Result};

/// Members of an object in the order given, duplicates too: serde_json's map would drop them.
struct Members(Vec<(Box<str>, Value)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    members.push((name.into(), value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Attributes and values of a JSON object; null removes the attribute.
pub(super) fn attributes(text: &str) -> Result<Vec<(Box<str>, Input)>> {
    let input = |(name, value): (Box<str>, Value)| {
        if !pairs::may_be_set(&name) {
            return Err(Refusal::invalid("JSON names something that is no attribute: see the reserved words"));
        }
        Ok((name, Input::Json(value)))
    };
    let members: Members = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    members.0.into_iter().map(input).collect()
}

/// A JSON object, its members unread.
pub(crate) fn object(text: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| malformed(&error))
}

/// Where the text stops being an object; serde_json's own sentence may quote it.
fn malformed(error: &serde_json::Error) -> Refusal {
    Refusal::invalid(format!("JSON is not an object (line {} column {})", error.line(), error.column()))
}
