use super::*;
use crate::pool::collation::{Collation, fold};
use crate::pool::names::Status;
use crate::pool::schema::SchemaPatch;
use crate::pool::value::{AttrType, Input, Value, sortable};
use proptest::prelude::*;
use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::Bound;
use stoa_format::Sub;

fn schema() -> Schema {
    let patch = SchemaPatch::parse(
        br#"{"attributes": {
        "custom:n": {"type": "integer", "searchable": true},
        "custom:t": {"type": "timestamp"},
        "custom:b": {"type": "boolean"},
        "custom:s": {"type": "string", "searchable": true},
        "custom:m": {"type": "string", "multi": true, "collation": "casefold"},
        "custom:mail": {"type": "string", "searchable": true, "collation": "email"},
        "custom:j": {"type": "json"},
        "custom:raw": {"type": "bytes"},
        "given_name": {"searchable": true}}}"#,
    );
    Schema::standard().alter(&patch.unwrap()).unwrap().0
}

/// A user in plain collections.
#[derive(Debug, Clone, Default)]
struct User {
    sub: Sub,
    values: HashMap<AttrId, Vec<Value>>,
    status: i64,
    locked: bool,
    groups: Vec<String>,
}

/// A user under the eyes of a filter.
struct Looked<'a>(&'a User, &'a Filter);

impl Row for Looked<'_> {
    type Error = Infallible;

    fn cell(&mut self, attr: AttrId) -> Result<Option<CellValue<'_>>, Infallible> {
        Ok(match attr {
            AttrId::SUB => Some(CellValue::Bytes(&self.0.sub.0)),
            AttrId::STATUS => Some(CellValue::Int(self.0.status)),
            AttrId::ENABLED => Some(CellValue::Int(1)),
            AttrId::CREATED_AT => Some(CellValue::Int(1000)),
            _ => self.0.values.get(&attr).and_then(|values| values[0].as_cell()),
        })
    }

    fn each_value(&mut self, attr: AttrId, matches: &mut dyn FnMut(CellValue<'_>) -> bool) -> Result<bool, Infallible> {
        let values = self.0.values.get(&attr);
        for value in values.into_iter().flatten() {
            if matches(value.as_cell().unwrap()) {
                break;
            }
        }
        Ok(values.is_some())
    }

    fn locked(&mut self) -> Result<bool, Infallible> {
        Ok(self.0.locked)
    }

    fn in_group(&mut self, group: GroupRef) -> Result<bool, Infallible> {
        Ok(self.0.groups.iter().any(|name| **name == *self.1.groups()[group.0]))
    }

    fn each_group(&mut self, matches: &mut dyn FnMut(&str) -> bool) -> Result<bool, Infallible> {
        for name in &self.0.groups {
            if matches(name) {
                break;
            }
        }
        Ok(!self.0.groups.is_empty())
    }
}

fn matches(filter: &Filter, user: &User) -> bool {
    let Ok(answer) = filter.matches(&mut Looked(user, filter));
    answer
}

fn parse(text: &str) -> Result<Filter, InvalidFilter> {
    Filter::parse(text.as_bytes(), &[], &schema())
}

/// A user with these values, as they travel.
fn user(values: &[(&str, &str)]) -> User {
    let schema = schema();
    let values = values.iter().map(|(name, text)| {
        let attribute = schema.by_name(name).unwrap();
        let value = attribute.parse(&Input::Raw(Bytes::copy_from_slice(text.as_bytes()))).unwrap();
        (attribute.id, value.elements().to_vec())
    });
    User { values: values.collect(), ..User::default() }
}

#[test]
fn filters_and_what_they_find() {
    let mut babs = user(&[
        ("username", "Babs"),
        ("email", "Babs@München.example"),
        ("given_name", "Barbara"),
        ("custom:n", "42"),
        ("custom:t", "2026-01-01T00:00:00Z"),
        ("custom:b", "true"),
        ("custom:s", ""),
        ("custom:m", r#"["red","Blue"]"#),
        ("custom:j", r#"{"b":1,"a":[2]}"#),
        ("custom:raw", "xy"),
    ]);
    babs.sub = Sub::parse("36cdc8af-909f-48d3-909d-313a9fdfe6c1").unwrap();
    babs.status = Status::ResetRequired.code();
    babs.groups = vec!["/staff/admins".into(), "all".into()];
    for (text, expected) in [
        (r#"username eq "BABS""#, true),
        (r#"USERNAME EQ "babs""#, true),
        (r#"username ne "babs""#, false),
        (r#"username gt "b" and username lt "C""#, true),
        (r#"email eq "babs@xn--mnchen-3ya.example""#, true),
        (r#"email ew "@münchen.example""#, true),
        (r#"email ew "@xn--mnchen-3ya.example""#, true),
        (r#"email sw "babs@mün""#, true),
        (r#"email co "MÜNCHEN""#, true),
        (r#"email co "@""#, true),
        (r#"email co "@other""#, false),
        (r#"given_name co "BAR""#, true),
        (r#"given_name co "arbarax""#, false),
        (r#"given_name eq "B\u0061rbara""#, true),
        ("custom:n eq 42", true),
        (r#"custom:n eq "42""#, true),
        ("custom:n gt 42", false),
        ("custom:n ge 42 and custom:n le 42", true),
        ("custom:n lt -1", false),
        (r#"custom:t gt "2025-12-31T23:59:59.999Z""#, true),
        (r#"custom:t eq "2026-01-01T01:00:00+01:00""#, true),
        ("custom:b eq true", true),
        ("custom:b ne true", false),
        (r#"custom:s eq """#, true),
        ("custom:s pr", true),
        (r#"custom:s sw """#, true),
        (r#"custom:m eq "blue""#, true),
        (r#"custom:m eq "green""#, false),
        (r#"custom:m ne "blue""#, true),
        (r#"not (custom:m eq "blue")"#, false),
        (r#"custom:m sw "re" and custom:m ew "UE""#, true),
        (r#"custom:j eq "{\"a\": [2.0], \"b\": 1}""#, true),
        (r#"custom:raw eq "eHk=""#, true),
        (r#"sub eq "36CDC8AF-909F-48D3-909D-313A9FDFE6C1""#, true),
        (r#"sub lt "46cdc8af-909f-48d3-909d-313a9fdfe6c1""#, true),
        (r#"status eq "reset_required""#, true),
        (r#"status ne "CONFIRMED""#, true),
        ("enabled eq true and locked eq false", true),
        (r#"created_at ge "1970-01-01T00:00:01Z""#, true),
        (r#"groups eq "all""#, true),
        (r#"groups eq "ALL""#, false),
        (r#"groups ne "all""#, false),
        (r#"groups ne "none""#, true),
        (r#"groups sw "/staff/""#, true),
        ("groups pr", true),
        // Absent values.
        (r#"nickname eq "x""#, false),
        (r#"nickname ne "x""#, true),
        (r#"nickname gt """#, false),
        ("nickname pr", false),
        ("nickname eq null", true),
        ("nickname ne null", false),
        ("username ne null", true),
        (r#"not (nickname eq "x")"#, true),
        // Precedence.
        ("custom:b eq false and custom:b eq false or custom:b eq true", true),
        ("custom:b eq true or custom:b eq false and custom:b eq false", true),
        ("(custom:b eq true or custom:b eq false) and custom:b eq false", false),
        ("not (custom:b eq false) and custom:b eq true", true),
        ("not (not (custom:b eq true))", true),
    ] {
        assert_eq!(matches(&parse(text).unwrap(), &babs), expected, "{text}");
    }
    let nobody = User::default();
    for (text, expected) in [
        ("groups pr", false),
        (r#"groups eq "all""#, false),
        (r#"groups ne "all""#, true),
        (r#"groups co "a""#, false),
        (r#"custom:m ne "blue""#, true),
        ("custom:m pr", false),
    ] {
        assert_eq!(matches(&parse(text).unwrap(), &nobody), expected, "{text}");
    }
}

#[test]
fn arguments_stand_for_values() {
    let args = [Bytes::from_static(b"say \"hi\""), Bytes::from_static(b"42"), Bytes::from_static(b"xy")];
    let filter = Filter::parse(b"custom:s eq $1 and custom:n eq $2 and custom:raw eq $3", &args, &schema()).unwrap();
    let found = user(&[("custom:s", "say \"hi\""), ("custom:n", "42"), ("custom:raw", "xy")]);
    assert!(matches(&filter, &found));
    for (text, fault, position) in [
        ("custom:s eq $4", FilterFault::NoSuchArgument { given: 3 }, 13),
        ("custom:s eq $0", FilterFault::NoSuchArgument { given: 3 }, 13),
        ("custom:s eq $", FilterFault::Argument, 13),
        ("custom:n eq $1", FilterFault::Value(ValueFault::NotInteger), 13),
    ] {
        let error = Filter::parse(text.as_bytes(), &args, &schema()).unwrap_err();
        assert_eq!(error, InvalidFilter { position, fault }, "{text}");
    }
}

#[test]
fn refusals_name_the_place() {
    use FilterFault::*;
    let takes_equality = Operator { takes: "eq, ne and pr" };
    for (text, position, fault) in [
        ("", 1, WantsTerm),
        ("   ", 4, WantsTerm),
        ("()", 2, WantsTerm),
        ("username", 9, WantsOperator),
        ("username is \"a\"", 10, WantsOperator),
        ("username eq", 12, WantsValue),
        ("username eq babs", 13, WantsValue),
        ("username eq 5", 13, Value(ValueFault::NotString)),
        ("username eq \"babs", 13, String),
        ("username eq \"\\x\"", 13, String),
        ("username eq 'babs'", 13, Character),
        ("username eq \"a\" \"b\"", 17, WantsEnd),
        ("username eq \"a\" and", 20, WantsTerm),
        ("(username pr", 13, WantsClose),
        ("username pr)", 12, WantsEnd),
        ("not username pr", 5, WantsOpen),
        ("userName.x pr", 1, UnknownAttribute),
        ("custom:nothing pr", 1, UnknownAttribute),
        ("email[type eq \"work\"]", 6, ValuePath),
        ("custom:n eq 1.5", 13, Value(ValueFault::NotInteger)),
        ("custom:n eq 1x", 13, Number),
        ("custom:n eq -", 13, Number),
        ("custom:n co 1", 10, Operator { takes: "eq, ne, gt, ge, lt, le and pr" }),
        ("custom:b gt true", 10, takes_equality),
        ("custom:raw sw \"eHk=\"", 12, takes_equality),
        ("custom:t eq \"2026\"", 13, Value(ValueFault::NotTime)),
        ("status gt \"CONFIRMED\"", 8, takes_equality),
        ("status eq \"GONE\"", 11, NotStatus),
        ("sub eq \"12\"", 8, NotUuid),
        ("groups gt \"a\"", 8, Operator { takes: "eq, ne, co, sw, ew and pr" }),
        ("groups eq \"\"", 11, NotGroup),
        ("username gt null", 10, takes_equality),
    ] {
        assert_eq!(parse(text).unwrap_err(), InvalidFilter { position, fault }, "{text}");
    }
    let not_utf8 = Filter::parse(b"name eq \"\xff\"", &[], &schema()).unwrap_err();
    assert_eq!(not_utf8, InvalidFilter { position: 10, fault: NotUtf8 });
    assert_eq!(
        parse("custom:n eq x").unwrap_err().to_string(),
        "filter, byte 13: a value is wanted here: \"text\", a number, true, false, null or $1"
    );
}

#[test]
fn limits() {
    let terms = |count: usize| vec!["custom:n eq 1"; count].join(" or ");
    assert!(parse(&terms(64)).is_ok());
    assert_eq!(parse(&terms(65)).unwrap_err().fault, FilterFault::TooManyTerms);
    let nested = |depth: usize| format!("{}custom:n pr{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(16)).is_ok());
    assert_eq!(parse(&nested(17)).unwrap_err(), InvalidFilter { position: 17, fault: FilterFault::TooDeep });
    assert_eq!(parse(&nested(2000)).unwrap_err().fault, FilterFault::TooDeep);
    assert_eq!(parse(&"not (".repeat(800)).unwrap_err().fault, FilterFault::TooDeep);
    assert!(parse(&format!("name eq \"{}\"", "a".repeat(4096 - 10))).is_ok());
    assert_eq!(parse(&format!("name eq \"{}\"", "a".repeat(4096 - 9))).unwrap_err().fault, FilterFault::TooLong);
}

#[test]
fn what_a_filter_names() {
    let filter =
        parse(r#"email pr and (Email sw "a" or groups eq "g") and not (groups eq "g" or groups eq "h")"#).unwrap();
    assert_eq!(filter.attributes().collect::<Vec<_>>(), ["email", "groups"]);
    assert_eq!(filter.groups().iter().map(|group| group.as_str()).collect::<Vec<_>>(), ["g", "h"]);
    assert!(filter.single_test().is_none());
    assert!(parse("custom:n gt 1").unwrap().single_test().is_some());
}

#[test]
fn hints() {
    let hint = |text: &str| parse(text).unwrap().index_hint().map(|hint| format!("{hint:?}"));
    let id = |name: &str| schema().by_name(name).unwrap().id;
    let named = |kind: &str, name: &str| Some(format!("{kind}({})", id(name)));
    assert_eq!(hint(r#"username eq "a""#), named("Alias", "username"));
    assert_eq!(hint(r#"custom:n gt 1 and username eq "a" and groups eq "g""#), named("Alias", "username"));
    assert_eq!(hint(r#"given_name sw "a""#), named("Prefix", "given_name"));
    assert_eq!(hint(r#"given_name sw "a" and (custom:s sw "ab" and name pr)"#), named("Prefix", "custom:s"));
    assert_eq!(hint("custom:n ge 5"), named("Range", "custom:n"));
    assert_eq!(hint(r#"groups eq "g""#), Some("Member(0)".into()));
    assert_eq!(hint(r#"sub eq "36cdc8af-909f-48d3-909d-313a9fdfe6c1" and username eq "a""#), Some("Sub".into()));
    for none in [
        r#"username ne "a""#,
        r#"username sw "a""#,
        r#"not (username eq "a")"#,
        r#"username eq "a" or username eq "b""#,
        r#"name eq "a""#,
        r#"groups ne "g""#,
        r#"given_name sw """#,
        r#"given_name co "a""#,
        "custom:n ne 5",
        "custom:n pr",
    ] {
        assert_eq!(hint(none), None, "{none}");
    }
    let verified = SchemaPatch::parse(br#"{"attributes": {"email": {"alias": "verified"}}}"#).unwrap();
    let schema = schema().alter(&verified).unwrap().0;
    assert!(Filter::parse(b"email eq \"a\"", &[], &schema).unwrap().index_hint().is_none());
}

#[test]
fn debug_shows_no_literal() {
    let filter =
        parse(r#"username eq "secret" and sub eq "36cdc8af-909f-48d3-909d-313a9fdfe6c1" and groups eq "inner""#);
    let shown = format!("{:?}", filter.unwrap());
    assert!(!shown.contains("secret") && !shown.contains("inner") && !shown.contains("54"), "{shown}");
}

/// A filter as a tree, for the model.
#[derive(Debug, Clone)]
enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Compare(&'static str, &'static str, Literal),
    Present(&'static str),
}

#[derive(Debug, Clone)]
enum Literal {
    Text(String),
    Int(i64),
}

impl Expr {
    fn text(&self) -> String {
        let joined = |nodes: &[Expr], word: &str| {
            nodes.iter().map(|node| format!("({})", node.text())).collect::<Vec<_>>().join(word)
        };
        match self {
            Self::And(nodes) => joined(nodes, " and "),
            Self::Or(nodes) => joined(nodes, " or "),
            Self::Not(node) => format!("not ({})", node.text()),
            Self::Compare(name, op, Literal::Text(text)) => format!("{name} {op} {}", serde_json::json!(text)),
            Self::Compare(name, op, Literal::Int(value)) => format!("{name} {op} {value}"),
            Self::Present(name) => format!("{name} pr"),
        }
    }

    fn holds(&self, schema: &Schema, user: &User) -> bool {
        match self {
            Self::And(nodes) => nodes.iter().all(|node| node.holds(schema, user)),
            Self::Or(nodes) => nodes.iter().any(|node| node.holds(schema, user)),
            Self::Not(node) => !node.holds(schema, user),
            Self::Present(name) => user.values.contains_key(&schema.by_name(name).unwrap().id),
            Self::Compare(name, op, literal) => {
                let attribute = schema.by_name(name).unwrap();
                match user.values.get(&attribute.id) {
                    None => *op == "ne",
                    Some(values) => values.iter().any(|value| compare(attribute.collation, value, op, literal)),
                }
            }
        }
    }
}

fn compare(collation: Collation, value: &Value, op: &str, literal: &Literal) -> bool {
    let by_order = |order: std::cmp::Ordering| match op {
        "eq" => order.is_eq(),
        "ne" => order.is_ne(),
        "gt" => order.is_gt(),
        "ge" => order.is_ge(),
        "lt" => order.is_lt(),
        _ => order.is_le(),
    };
    let by_part = |a: &str, b: &str| match op {
        "co" => a.contains(b),
        "sw" => a.starts_with(b),
        _ => a.ends_with(b),
    };
    match (value, literal) {
        (Value::Int(value), Literal::Int(literal)) => by_order(value.cmp(literal)),
        (Value::Str(value), Literal::Text(literal)) if matches!(op, "co" | "sw" | "ew") => {
            by_part(&collation.key(value), &collation.key(literal))
                || (collation == Collation::Email && by_part(&fold(value), &fold(literal)))
        }
        (Value::Str(value), Literal::Text(literal)) => by_order(collation.key(value).cmp(&collation.key(literal))),
        _ => unreachable!("literals are of the attribute's type"),
    }
}

const TEXTS: [&str; 5] = ["custom:s", "custom:m", "custom:mail", "given_name", "username"];

fn any_text() -> impl Strategy<Value = String> {
    "[aAbB@.ßäÄü\u{308}\u{212a}k＠]{0,5}"
}

fn any_expr() -> impl Strategy<Value = Expr> {
    let text_ops = ["eq", "ne", "gt", "ge", "lt", "le", "co", "sw", "ew"];
    let leaf = prop_oneof![
        4 => (proptest::sample::select(&TEXTS), proptest::sample::select(text_ops.to_vec()), any_text())
            .prop_map(|(name, op, text)| Expr::Compare(name, op, Literal::Text(text))),
        2 => (proptest::sample::select(text_ops[..6].to_vec()), -2..3i64)
            .prop_map(|(op, value)| Expr::Compare("custom:n", op, Literal::Int(value))),
        1 => proptest::sample::select(&TEXTS).prop_map(Expr::Present),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::And),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::Or),
            inner.prop_map(|node| Expr::Not(Box::new(node))),
        ]
    })
}

fn any_user() -> impl Strategy<Value = User> {
    let single = || proptest::option::of(any_text().prop_map(|text| vec![Value::Str(text.into())]));
    let several = proptest::option::of(proptest::collection::vec(any_text(), 1..4));
    (single(), several, single(), single(), single(), proptest::option::of(-2..3i64)).prop_map(
        |(s, several, mail, given, username, n)| {
            let schema = schema();
            let several = several.map(|texts| texts.into_iter().map(|text| Value::Str(text.into())).collect());
            let mut values = HashMap::new();
            for (name, value) in TEXTS.into_iter().zip([s, several, mail, given, username]) {
                values.extend(value.map(|value| (schema.by_name(name).unwrap().id, value)));
            }
            values.extend(n.map(|n| (schema.by_name("custom:n").unwrap().id, vec![Value::Int(n)])));
            User { values, ..User::default() }
        },
    )
}

/// Whether an index look-up by this hint would find the user.
fn leads_to(hint: &Hint, schema: &Schema, user: &User) -> bool {
    let keys = |attr: AttrId| {
        let attribute = schema.by_id(attr).unwrap();
        user.values.get(&attr).into_iter().flatten().map(move |value| {
            let mut key = Vec::new();
            attribute.order_key(value.as_cell().unwrap(), &mut key);
            key
        })
    };
    match hint {
        Hint::Alias { attr, key } => keys(*attr).any(|of_user| of_user == key.as_bytes()),
        Hint::Prefix { attr, prefix } => keys(*attr).any(|of_user| of_user.starts_with(prefix)),
        Hint::Range { attr, from, to } => keys(*attr).any(|of_user| {
            (match from {
                Bound::Included(from) => of_user[..] >= from[..],
                Bound::Excluded(from) => of_user[..] > from[..],
                Bound::Unbounded => true,
            }) && (match to {
                Bound::Included(to) => of_user[..] <= to[..],
                Bound::Excluded(to) => of_user[..] < to[..],
                Bound::Unbounded => true,
            })
        }),
        Hint::Sub(sub) => *sub == user.sub,
        Hint::Member(_) => unreachable!("the model has no groups"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn filters_agree_with_the_model(expr in any_expr(), user in any_user()) {
        let schema = schema();
        let filter = Filter::parse(expr.text().as_bytes(), &[], &schema).unwrap();
        let expected = expr.holds(&schema, &user);
        prop_assert_eq!(matches(&filter, &user), expected, "{}", expr.text());
        if let (true, Some(hint)) = (expected, filter.index_hint()) {
            prop_assert!(leads_to(hint, &schema, &user), "{} {:?}", expr.text(), hint);
        }
    }

    #[test]
    fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = Filter::parse(&bytes, &[], &schema());
    }

    #[test]
    fn parsing_words_never_panics(words in proptest::collection::vec(proptest::sample::select(vec![
        "username", "custom:n", "groups", "sub", "eq", "ne", "co", "pr", "gt", "and", "or", "not", "(", ")",
        "\"a\"", "\"", "\\", "1", "-", "$1", "$", "true", "null", "[", "é", " ",
    ]), 0..14)) {
        for separator in ["", " "] {
            let _ = Filter::parse(words.join(separator).as_bytes(), &[Bytes::new()], &schema());
        }
    }
}

#[test]
fn integer_ranges_at_the_ends() {
    for (order, literal, passes) in [
        (Order::Gt, i64::MAX, vec![]),
        (Order::Lt, i64::MIN, vec![]),
        (Order::Ge, i64::MAX, vec![i64::MAX]),
        (Order::Le, i64::MIN, vec![i64::MIN]),
        (Order::Ne, 0, vec![i64::MIN, i64::MAX]),
    ] {
        let test = IntTest::new(order, literal);
        let passed: Vec<_> = [i64::MIN, 0, i64::MAX].into_iter().filter(|&value| test.test(value)).collect();
        assert_eq!(passed, passes, "{order:?} {literal}");
    }
    assert!(sortable(i64::MIN) < sortable(i64::MAX));
    assert_eq!(AttrType::Integer.max_bytes(), None);
}
