//! Where a source's attributes go: the user's mapping file, and the rules without one.

use std::collections::HashMap;

use super::{
    attrs::{AttrTable, Kind, is_attribute_name},
    record::AttrKey,
};

/// Where a source's attribute goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nowhere: the mapping says so, or the schema is full.
    Drop,
    /// To this attribute.
    Attr(AttrKey),
}

/// The user's mapping file.
///
/// ```toml
/// [attributes]
/// employeeNumber = "custom:employee_no"
/// labeledURI = "website"
/// gidNumber = { to = "custom:gid", type = "integer" }
/// carLicense = ""          # leave it out
/// ```
#[derive(Debug, Default)]
pub(crate) struct Mapping {
    by_name: HashMap<Box<str>, Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    to: Box<str>,
    kind: Option<Kind>,
    multi: Option<bool>,
}

/// Why a mapping file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MappingError {
    /// Not TOML.
    #[error("the mapping is no valid TOML: {0}")]
    Toml(String),
    /// A word that the mapping does not have.
    #[error("the mapping has an unknown key `{0}`: it takes a table [attributes] of `source = \"target\"`")]
    Key(String),
    /// A target that no pool can have.
    #[error("the mapping of `{0}` must name a standard attribute, `custom:` and [a-z][a-z0-9_]{{0,31}}, or \"\"")]
    Target(String),
    /// A type that there is not.
    #[error("the type of `{0}` must be string, integer, boolean, timestamp, json or bytes")]
    Type(String),
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// If it is no TOML or names what no pool can have.
    pub(crate) fn parse(text: &str) -> Result<Self, MappingError> {
        let root: toml::Table = text.parse().map_err(|e: toml::de::Error| MappingError::Toml(e.message().into()))?;
        let mut by_name = HashMap::new();
        for (key, value) in root {
            let (true, toml::Value::Table(attributes)) = (key == "attributes", value) else {
                return Err(MappingError::Key(key));
            };
            for (source, rule) in attributes {
                let rule = Rule::parse(&source, rule)?;
                by_name.insert(source.to_lowercase().into(), rule.clone());
                by_name.insert(source.into(), rule);
            }
        }
        Ok(Self { by_name })
    }

    fn rule(&self, source_name: &str) -> Option<&Rule> {
        if self.by_name.is_empty() {
            return None;
        }
        self.by_name.get(source_name).or_else(|| self.by_name.get(&*source_name.to_lowercase()))
    }

    /// Where the source's attribute `name` goes: by the mapping, else to `default`, else to a custom attribute with a
    /// name made from the source's.
    pub(crate) fn target(
        &self,
        table: &AttrTable,
        name: &str,
        default: Option<AttrKey>,
        kind: Kind,
        multi: bool,
    ) -> Target {
        let key = match self.rule(name) {
            Some(rule) if rule.to.is_empty() => None,
            Some(rule) => table.intern(&rule.to, rule.kind.unwrap_or(kind), rule.multi.unwrap_or(multi)),
            None => default.or_else(|| table.intern_custom(name, kind, multi)),
        };
        key.map_or(Target::Drop, Target::Attr)
    }
}

impl Rule {
    fn parse(source: &str, value: toml::Value) -> Result<Self, MappingError> {
        let (to, kind, multi) = match &value {
            toml::Value::String(to) => (Some(to.as_str()), None, None),
            toml::Value::Table(table) => {
                if let Some(key) = table.keys().find(|key| !["to", "type", "multi"].contains(&key.as_str())) {
                    return Err(MappingError::Key(key.clone()));
                }
                let kind = match table.get("type") {
                    None => None,
                    Some(kind) => match kind.as_str().and_then(Kind::parse) {
                        Some(kind) => Some(kind),
                        None => return Err(MappingError::Type(source.into())),
                    },
                };
                (table.get("to").and_then(toml::Value::as_str), kind, table.get("multi").and_then(toml::Value::as_bool))
            }
            _ => (None, None, None),
        };
        let to = to.filter(|to| to.is_empty() || is_attribute_name(to));
        Ok(Self { to: to.ok_or_else(|| MappingError::Target(source.into()))?.into(), kind, multi })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_sanitise_alike_stay_apart() {
        let (table, mapping) = (AttrTable::default(), Mapping::default());
        let of = |name| mapping.target(&table, name, None, Kind::Str, false);
        assert_ne!(of("plan-x"), of("plan.x"));
        assert_eq!(of("plan-x"), of("plan-x"));
    }

    #[test]
    fn a_mapping_renames_types_and_drops() {
        let mapping = Mapping::parse(
            "[attributes]\nemployeeNumber = \"custom:employee_no\"\ncarLicense = \"\"\ngid = { to = \"custom:gid\", type = \"integer\" }",
        )
        .unwrap();
        let table = AttrTable::default();
        let of = |name| mapping.target(&table, name, None, Kind::Str, true);
        assert_eq!(of("employeenumber"), Target::Attr(table.key("custom:employee_no").unwrap()));
        assert_eq!(of("carLicense"), Target::Drop);
        let Target::Attr(gid) = of("gid") else { panic!("dropped") };
        assert_eq!(table.spec(gid).kind, Kind::Int);
        assert!(matches!(Mapping::parse("[attributes]\na = \"Custom:X\""), Err(MappingError::Target(_))));
        assert!(matches!(Mapping::parse("[other]"), Err(MappingError::Key(_))));
    }
}
