//! A schema as JSON: as clients see it, and as the pool keeps it.
//!
//! Kept form, canonical (RFC 8785): `{"attributes": {name: {alias, collation, collation_version, id, max_len,
//! multi, mutable, required, searchable, type}}, "format": 1, "next_attr_id": n, "version": n}`, without the standard
//! attributes whose rules are the standard ones: most pools keep no attribute. Clients see
//! `{"attributes": …}` without ids and collation versions; `max_len` stands only where there is a length. What clients
//! see can be sent back as it is, and is what the pool's `$schema` fact is taken of.

use std::fmt::Write;

use bytes::Bytes;
use serde_json::{Map, Value as Json, json};
use stoa_format::{AttrId, DecodeError};

use super::{Alias, Attribute, Schema, standard};
use crate::pool::collation::{COLLATION_VERSION, Collation};
use crate::pool::names::AttrName;
use crate::pool::value::{AttrType, read_json};

/// The format number of the kept form.
const FORMAT: u64 = 1;

impl Schema {
    /// The schema as clients see it.
    pub fn to_json(&self) -> Json {
        let attributes: Map<_, _> = self
            .attributes
            .iter()
            .map(|attribute| (attribute.name.to_string(), Json::Object(rules(attribute))))
            .collect();
        json!({ "attributes": attributes })
    }

    /// The schema as clients see it, as canonical text.
    pub fn to_text(&self) -> String {
        self.text.get_or_init(|| canonical(&self.attributes, &|_, _| ()).into()).to_string()
    }

    /// The form that is kept.
    pub fn encode(&self) -> Bytes {
        self.kept.get_or_init(|| self.to_kept().into()).clone()
    }

    fn to_kept(&self) -> Vec<u8> {
        let standard = unaltered();
        let altered = self.attributes.iter().filter(|attribute| !standard.contains(attribute));
        let mut kept = canonical(altered, &|attribute, out| {
            let Attribute { collation_version, id, .. } = attribute;
            let _ = write!(out, "\"collation_version\":{collation_version},\"id\":{},", id.0);
        });
        kept.pop();
        let (next, version) = (self.next_attr_id.0, self.version);
        kept.push_str(&format!(",\"format\":{FORMAT},\"next_attr_id\":{next},\"version\":{version}}}"));
        kept.into_bytes()
    }

    /// Reads the form that is kept.
    ///
    /// # Errors
    /// If the bytes are no schema, or one that a newer program wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let text = std::str::from_utf8(bytes).map_err(|_| fault("not UTF-8"))?;
        let kept = read_json(text).map_err(|_| fault("not JSON"))?;
        if kept["format"] != FORMAT {
            return Err(fault("unknown format number"));
        }
        let version = kept["version"].as_u64().ok_or(fault("no version"))?;
        let next_attr_id = small(&kept["next_attr_id"]).map(AttrId).ok_or(fault("no next_attr_id"))?;
        let named = kept["attributes"].as_object().ok_or(fault("no attributes"))?;
        let mut attributes = named.iter().map(|(name, kept)| attribute(name, kept)).collect::<Result<Vec<_>, _>>()?;
        for standard in unaltered() {
            match attributes.iter().find(|kept| kept.id == standard.id || kept.name == standard.name) {
                None => attributes.push(standard),
                Some(kept) if (kept.id, &kept.name) == (standard.id, &standard.name) => {}
                Some(_) => return Err(fault("a standard attribute has another id or name")),
            }
        }
        attributes.sort_unstable_by_key(|attribute| attribute.id);
        if attributes.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(fault("two attributes have one id"));
        }
        if attributes.last().is_some_and(|last| last.id >= next_attr_id) {
            return Err(fault("next_attr_id is taken"));
        }
        Self::check_all(&attributes).map_err(|_| fault("an attribute's rules contradict each other"))?;
        Ok(Self::assemble(version, next_attr_id, attributes))
    }
}

/// The standard attributes as format 1 means them where it says nothing of them: with indexes of collation version 1,
/// also in programs that know later ones.
fn unaltered() -> Vec<Attribute> {
    let of_format_1 = |attribute| Attribute { collation_version: 1, ..attribute };
    standard::attributes().into_iter().map(of_format_1).collect()
}

/// Canonical text (RFC 8785) of the attributes; `more` adds to an attribute's rules what comes after
/// `collation`. Names and words are ASCII, which sorts alike in every encoding.
fn canonical<'a>(
    attributes: impl IntoIterator<Item = &'a Attribute>,
    more: &dyn Fn(&Attribute, &mut String),
) -> String {
    let mut sorted: Vec<&Attribute> = attributes.into_iter().collect();
    sorted.sort_unstable_by_key(|attribute| attribute.name.as_str());
    let mut out = String::with_capacity(sorted.len() * 200);
    out.push_str("{\"attributes\":{");
    for (at, attribute) in sorted.into_iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let (alias, collation, ty) = (attribute.alias.word(), attribute.collation.word(), attribute.ty.word());
        let Attribute { name, max_len, multi, mutable, required, searchable, .. } = attribute;
        // A string takes whatever is written.
        let _ = write!(out, "{comma}\"{name}\":{{\"alias\":\"{alias}\",\"collation\":\"{collation}\",");
        more(attribute, &mut out);
        if *max_len != 0 {
            let _ = write!(out, "\"max_len\":{max_len},");
        }
        let _ = write!(out, "\"multi\":{multi},\"mutable\":{mutable},\"required\":{required},");
        let _ = write!(out, "\"searchable\":{searchable},\"type\":\"{ty}\"}}");
    }
    out.push_str("}}");
    out
}

fn fault(reason: &'static str) -> DecodeError {
    DecodeError::new("schema", 0, reason)
}

fn small(json: &Json) -> Option<u16> {
    json.as_u64().and_then(|number| u16::try_from(number).ok())
}

fn rules(attribute: &Attribute) -> Map<String, Json> {
    let mut rules = Map::new();
    rules.insert("type".into(), attribute.ty.word().into());
    if attribute.max_len != 0 {
        rules.insert("max_len".into(), attribute.max_len.into());
    }
    rules.insert("required".into(), attribute.required.into());
    rules.insert("mutable".into(), attribute.mutable.into());
    rules.insert("multi".into(), attribute.multi.into());
    rules.insert("alias".into(), attribute.alias.word().into());
    rules.insert("searchable".into(), attribute.searchable.into());
    rules.insert("collation".into(), attribute.collation.word().into());
    rules
}

fn attribute(name: &str, kept: &Json) -> Result<Attribute, DecodeError> {
    let word = |rule: &str| kept[rule].as_str().unwrap_or_default();
    let flag = |rule: &str| kept[rule].as_bool().ok_or(fault("a rule is not a boolean"));
    let max_len = match &kept["max_len"] {
        Json::Null => 0,
        given => given.as_u64().and_then(|len| u32::try_from(len).ok()).ok_or(fault("max_len is no length"))?,
    };
    let collation_version = small(&kept["collation_version"]).ok_or(fault("no collation_version"))?;
    if collation_version > COLLATION_VERSION {
        return Err(fault("collation_version is newer than this program"));
    }
    Ok(Attribute {
        id: small(&kept["id"]).map(AttrId).filter(|id| *id >= AttrId::FIRST_USER).ok_or(fault("no id"))?,
        name: AttrName::parse(name).map_err(|_| fault("not an attribute's name"))?,
        ty: AttrType::from_word(word("type")).ok_or(fault("unknown type"))?,
        max_len,
        required: flag("required")?,
        mutable: flag("mutable")?,
        multi: flag("multi")?,
        alias: Alias::from_word(word("alias")).ok_or(fault("unknown alias kind"))?,
        searchable: flag("searchable")?,
        collation: Collation::from_word(word("collation")).ok_or(fault("unknown collation"))?,
        collation_version,
        verified_by: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_canonical() {
        let schema = Schema::standard();
        assert_eq!(schema.to_text(), serde_json_canonicalizer::to_string(&schema.to_json()).unwrap());
        let kept = String::from_utf8(schema.encode().to_vec()).unwrap();
        assert_eq!(serde_json_canonicalizer::to_string(&read_json(&kept).unwrap()).unwrap(), kept);
    }

    #[test]
    fn the_specification_lists_the_standard_attributes() {
        let chapter = include_str!("../../../../format-spec/chapters/conventions.md");
        let rows: Vec<_> = chapter.lines().collect();
        let row = |attribute: &Attribute| {
            let Attribute { id, name, ty, max_len, alias, collation, .. } = attribute;
            let (ty, alias, collation) = (ty.word(), alias.word(), collation.word());
            format!("| {} | `{name}` | {ty} | {max_len} | {alias} | {collation} |", id.0)
        };
        let listed: Vec<_> = unaltered().iter().map(row).filter(|row| rows.contains(&&row[..])).collect();
        assert_eq!(listed, unaltered().iter().map(row).collect::<Vec<_>>());
    }
}
