//! JSON values in their canonical form (RFC 8785, JSON Canonicalization Scheme).
//!
//! What would not survive is refused rather than changed: a key that stands twice in one object, and an
//! integer that a double does not give back digit for digit (RFC 8785 §3.2.2.3 has doubles only).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};

use super::ValueFault;

/// How deep arrays and objects may stand in one another; a scalar has depth 0.
pub const JSON_MAX_DEPTH: usize = 32;

/// Integers up to 2^53 are exact as doubles.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

/// Reads one JSON text strictly: a key may stand only once in an object.
pub(crate) fn read(text: &str) -> Result<Json, ValueFault> {
    serde_json::from_str::<Strict>(text).map(|strict| strict.0).map_err(|_| ValueFault::NotJson)
}

/// The canonical text of `json`, at most `max_bytes` long.
pub(crate) fn canonical(json: &Json, max_bytes: usize) -> Result<Box<str>, ValueFault> {
    check(json, 0)?;
    let text = serde_json_canonicalizer::to_string(json).map_err(|_| ValueFault::NotJson)?;
    if text.len() > max_bytes {
        return Err(ValueFault::TooLong { max_bytes });
    }
    Ok(text.into_boxed_str())
}

fn check(json: &Json, depth: usize) -> Result<(), ValueFault> {
    let inner = || if depth < JSON_MAX_DEPTH { Ok(depth + 1) } else { Err(ValueFault::JsonTooDeep) };
    match json {
        Json::Array(items) => {
            let depth = inner()?;
            items.iter().try_for_each(|item| check(item, depth))
        }
        Json::Object(fields) => {
            let depth = inner()?;
            fields.values().try_for_each(|field| check(field, depth))
        }
        Json::Number(number) if !survives(number) => Err(ValueFault::JsonInteger),
        _ => Ok(()),
    }
}

/// Whether the canonical form gives the same digits back.
fn survives(number: &Number) -> bool {
    let magnitude = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
    match magnitude {
        // Rust and ECMAScript both print the shortest digits that read back as the same double,
        // and neither uses an exponent in this range.
        Some(integer) if integer > EXACT_INTEGER_MAX => (integer as f64).to_string() == integer.to_string(),
        _ => true,
    }
}

/// A JSON value that refuses repeated keys, where `serde_json::Value` keeps the last.
struct Strict(Json);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut object = Map::new();
        while let Some((key, Strict(field))) = fields.next_entry::<String, Strict>()? {
            if object.insert(key, field).is_some() {
                return Err(A::Error::custom("repeated key"));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canon(text: &str) -> Result<String, ValueFault> {
        read(text).and_then(|json| canonical(&json, 1000)).map(String::from)
    }

    #[test]
    fn canonical_form() {
        // The sorting example of RFC 8785 §3.2.3, by UTF-16 code units.
        let sorted = canon(
            r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
            "\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#,
        );
        let expected = "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With \
             Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With \
             Dagesh\"}";
        assert_eq!(sorted.as_deref(), Ok(expected));
        assert_eq!(
            canon(" [ 1.0, 1e21, 0.000001, -0.0, true, null ] ").as_deref(),
            Ok("[1,1e+21,0.000001,0,true,null]")
        );
    }

    #[test]
    fn what_would_change_is_refused() {
        assert_eq!(canon(r#"{"a":1,"b":{"a":2,"a":3}}"#), Err(ValueFault::NotJson));
        assert_eq!(canon("9007199254740992").as_deref(), Ok("9007199254740992"));
        assert_eq!(canon("9007199254740993"), Err(ValueFault::JsonInteger));
        assert_eq!(canon("-9007199254740993"), Err(ValueFault::JsonInteger));
        assert_eq!(canon("1152921504606846976"), Err(ValueFault::JsonInteger));
        let kept = canon("1152921504606847000");
        assert_eq!(kept.as_deref(), Ok("1152921504606847000"));
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(canon(&nested(32)).is_ok());
        assert_eq!(canon(&nested(33)), Err(ValueFault::JsonTooDeep));
        assert_eq!(canon(&nested(100_000)), Err(ValueFault::NotJson));
        assert_eq!(canonical(&Json::String("abc".into()), 4), Err(ValueFault::TooLong { max_bytes: 4 }));
        assert_eq!(canonical(&Json::String("abc".into()), 5).as_deref(), Ok("\"abc\""));
    }

    #[test]
    fn not_json() {
        for bad in ["", "{", "{'a':1}", "[1,]", "nul", "1 2", "\"\\ud800\"", "1e999"] {
            assert_eq!(canon(bad), Err(ValueFault::NotJson), "{bad}");
        }
    }
}
