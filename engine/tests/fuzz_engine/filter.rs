//! Filters: a text that is one means the same in parentheses, beside itself, and the contrary behind `not`.

use std::collections::HashMap;
use std::convert::Infallible;

use bytes::Bytes;
use stoa_engine::pool::filter::{Filter, FilterFault, GroupRef, InvalidFilter, Row};
use stoa_engine::pool::schema::Schema;
use stoa_engine::pool::value::{CellValue, Input, Value};
use stoa_format::AttrId;
use stoa_fuzz::{Seen, Target};

/// A user in plain collections.
struct User {
    values: HashMap<AttrId, Value>,
    groups: Vec<&'static str>,
}

fn user(schema: &Schema, values: &[(&str, &str)], groups: &[&'static str]) -> User {
    let values = values.iter().map(|(name, text)| {
        let attribute = schema.by_name(name).expect("an attribute");
        let input = Input::Raw(Bytes::copy_from_slice(text.as_bytes()));
        (attribute.id, attribute.parse(&input).expect("a value"))
    });
    User { values: values.collect(), groups: groups.to_vec() }
}

struct Looked<'a>(&'a User, &'a Filter);

impl Row for Looked<'_> {
    type Error = Infallible;

    fn cell(&mut self, attr: AttrId) -> Result<Option<CellValue<'_>>, Infallible> {
        Ok(match attr {
            AttrId::SUB => Some(CellValue::Bytes(&[7; 16])),
            AttrId::STATUS | AttrId::ENABLED => Some(CellValue::Int(1)),
            AttrId::CREATED_AT | AttrId::UPDATED_AT => Some(CellValue::Int(1_700_000_000_000)),
            _ => self.0.values.get(&attr).and_then(Value::as_cell),
        })
    }

    fn each_value(&mut self, attr: AttrId, matches: &mut dyn FnMut(CellValue<'_>) -> bool) -> Result<bool, Infallible> {
        let Some(value) = self.0.values.get(&attr) else { return Ok(false) };
        let _ = value.elements().iter().filter_map(Value::as_cell).any(matches);
        Ok(true)
    }

    fn locked(&mut self) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn in_group(&mut self, group: GroupRef) -> Result<bool, Infallible> {
        Ok(self.0.groups.iter().any(|name| **name == *self.1.groups()[group.0]))
    }

    fn each_group(&mut self, matches: &mut dyn FnMut(&str) -> bool) -> Result<bool, Infallible> {
        let _ = self.0.groups.iter().any(|name| matches(name));
        Ok(!self.0.groups.is_empty())
    }
}

fn verdicts(filter: &Filter, users: &[User]) -> Vec<bool> {
    let verdict = |user| match filter.matches(&mut Looked(user, filter)) {
        Ok(verdict) => verdict,
        Err(never) => match never {},
    };
    users.iter().map(verdict).collect()
}

const TOKENS: [&str; 54] = [
    " eq ",
    " ne ",
    " co ",
    " sw ",
    " ew ",
    " gt ",
    " ge ",
    " lt ",
    " le ",
    " pr",
    " and ",
    " or ",
    "not (",
    "(",
    ")",
    "$1",
    "$2",
    "$0",
    "null",
    "true",
    "false",
    "\"",
    "\\u0041",
    "\\ud83d\\ude00",
    "\\ud800",
    "ß",
    "İ",
    "ǅ",
    "\u{345}",
    "@",
    "username",
    "email",
    "phone_number",
    "given_name",
    "custom:n",
    "custom:t",
    "custom:b",
    "custom:s",
    "custom:m",
    "custom:mail",
    "custom:mn",
    "custom:j",
    "custom:raw",
    "sub",
    "status",
    "enabled",
    "locked",
    "created_at",
    "updated_at",
    "groups",
    "CONFIRMED",
    "2026-01-01T00:00:00Z",
    "-9223372036854775808",
    "\0",
];

const SEEDS: [&str; 20] = [
    r#"username eq "babs" and (custom:n gt 41 or not (custom:b eq true))"#,
    r#"email ew "@xn--mnchen-3ya.example" or email co "münchen""#,
    r#"custom:t ge "2025-12-31T23:59:59.999Z" and custom:t lt $1"#,
    r#"groups eq "/staff/admins" and groups ne "x" and groups sw "/st""#,
    r#"custom:m eq "red" and custom:m co "LU" and custom:m pr"#,
    "custom:n eq -42 or custom:n le 9007199254740993 or custom:mn gt 3",
    r#"sub eq "36cdc8af-909f-48d3-909d-313a9fdfe6c1" or status eq "CONFIRMED" or status ne "EXTERNAL""#,
    "enabled eq true and locked eq false",
    "created_at gt \"2023-01-01T00:00:00Z\" and updated_at pr",
    r#"custom:j pr and custom:raw eq null and given_name ne null"#,
    r#"custom:s eq "" or not (not (custom:s gt "a"))"#,
    "USERNAME EQ $1 OR phone_number sw \"+49\"\0babs",
    "custom:mail eq $1 and custom:n gt $2\0Babs@MÜNCHEN.example\x0042",
    "custom:n eq $1\x0042",
    "custom:t eq $1\x002026-01-01T00:00:00Z",
    "custom:b ne $1\0true",
    "groups eq $1\0all",
    "custom:m eq $1\0rED",
    "sub eq $1\x0036cdc8af-909f-48d3-909d-313a9fdfe6c1",
    "custom:s co $1\0a",
];

#[test]
fn fuzz_filter() {
    let schema = super::schema();
    let values = [
        ("username", "Babs"),
        ("email", "Babs@München.example"),
        ("given_name", "Barbara"),
        ("custom:n", "42"),
        ("custom:t", "2026-01-01T00:00:00Z"),
        ("custom:b", "true"),
        ("custom:s", ""),
        ("custom:m", r#"["red","Blue","straße"]"#),
        ("custom:mn", "[1,5]"),
        ("custom:mail", "ana@example.com"),
        ("custom:j", r#"{"b":1}"#),
        ("custom:raw", "xy"),
    ];
    let users = [user(&schema, &[], &[]), user(&schema, &values, &["/staff/admins", "all"])];
    let run = |input: &[u8], seen: &mut Seen| {
        let mut parts = input.split(|byte| *byte == 0);
        let text = parts.next().unwrap_or_default();
        let args: Vec<Bytes> = parts.map(Bytes::copy_from_slice).collect();
        let parse = |text: &[u8]| Filter::parse(text, &args, &schema);
        let filter = match parse(text) {
            Ok(filter) => filter,
            Err(InvalidFilter { position, fault }) => {
                assert!((1..=text.len() + 1).contains(&position), "a position outside of the text");
                seen.note(std::mem::discriminant(&fault));
                return seen.message(&fault.to_string());
            }
        };
        let found = verdicts(&filter, &users);
        seen.note((&found, filter.single_test().is_some(), filter.index_hint().is_some()));
        filter.attributes().for_each(|name| seen.note(name));
        seen.count("groups", filter.groups().len());
        let again = |before: &str, after: &[u8], expected: &dyn Fn(bool) -> bool| {
            match parse(&[before.as_bytes(), text, after].concat()) {
                Ok(other) => {
                    let expected: Vec<bool> = found.iter().map(|verdict| expected(*verdict)).collect();
                    assert_eq!(verdicts(&other, &users), expected, "another meaning behind {before}");
                }
                // Longer, with more terms or deeper than is taken.
                Err(InvalidFilter {
                    fault: FilterFault::TooLong | FilterFault::TooManyTerms | FilterFault::TooDeep,
                    ..
                }) => {}
                Err(other) => panic!("a filter is none behind {before}: {other}"),
            }
        };
        again("(", b")", &|verdict| verdict);
        again("not (", b")", &|verdict| !verdict);
        again("(", &[b") and (", text, b")"].concat(), &|verdict| verdict);
        again("(", &[b") or not (", text, b")"].concat(), &|_| true);
    };
    Target::new("filter", run).seeds(SEEDS).tokens(&TOKENS).memory(400, 64 << 10).longest(5000).explore();
}
