use super::*;
use bytes::Bytes;
use proptest::prelude::*;

fn alter(schema: &Schema, json: &str) -> Result<(Schema, Vec<SchemaChange>), InvalidSchema> {
    schema.alter(&SchemaPatch::parse(json.as_bytes())?)
}

fn standard_with(json: &str) -> Schema {
    alter(&Schema::standard(), json).unwrap().0
}

fn fault_of(json: &str) -> AttributeFault {
    match alter(&Schema::standard(), json) {
        Err(InvalidSchema::Attribute { fault, .. }) => fault,
        other => panic!("{json}: {other:?}"),
    }
}

fn raw(text: &str) -> Input {
    Input::Raw(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn the_standard_attributes() {
    let schema = Schema::standard();
    assert_eq!(schema.attributes().len(), 18);
    assert_eq!(schema.version(), 1);
    assert_eq!(schema.next_attr_id(), AttrId(82));
    for attribute in schema.attributes() {
        assert_eq!(schema.by_id(attribute.id), Some(attribute));
        assert_eq!(schema.by_name(&attribute.name), Some(attribute));
        assert_eq!(standard_id(&attribute.name), Some(attribute.id));
        assert!(!attribute.required && attribute.mutable && !attribute.multi);
    }
    let alias = |name| schema.by_name(name).map(|attribute| (attribute.alias, attribute.collation)).unwrap();
    assert_eq!(alias("username"), (Alias::Unique, Collation::CaseFold));
    assert_eq!(alias("email"), (Alias::Unique, Collation::Email));
    assert_eq!(alias("phone_number"), (Alias::Unique, Collation::Exact));
    for (name, id) in [
        ("username", USERNAME),
        ("email", EMAIL),
        ("email_verified", EMAIL_VERIFIED),
        ("phone_number", PHONE_NUMBER),
        ("phone_number_verified", PHONE_NUMBER_VERIFIED),
    ] {
        assert_eq!(standard_id(name), Some(id));
    }
    assert_eq!(standard_id("custom:plan"), None);
    assert_eq!(schema.by_name("custom:plan"), None);
    assert_eq!(schema.by_id(AttrId::SUB), None);
    assert_eq!(schema.by_id(AttrId(500)), None);
}

#[test]
fn the_example_of_the_protocol() {
    let (schema, changes) = alter(
        &Schema::standard(),
        r#"{"attributes": {"custom:plan": {"type": "string", "max_len": 32, "required": false, "mutable": true,
        "multi": false, "alias": "none", "searchable": false, "collation": "exact"}}}"#,
    )
    .unwrap();
    let plan = schema.by_name("custom:plan").unwrap();
    assert_eq!(changes, [SchemaChange::Added { attr: plan.id }]);
    assert_eq!((plan.id, plan.max_len, plan.ty), (AttrId(82), 32, AttrType::String));
    assert_eq!(schema.version(), 2);
    assert_eq!(plan.parse(&raw("pro")).unwrap(), Value::Str("pro".into()));
    let too_long = plan.parse(&raw(&"x".repeat(33))).unwrap_err();
    assert_eq!(too_long.to_string(), "custom:plan is longer than 32 bytes");
}

#[test]
fn what_changes_is_told() {
    let before = standard_with(r#"{"attributes": {"custom:a": {"type": "string", "max_len": 100}}}"#);
    let attr = before.by_name("custom:a").unwrap().id;
    let (after, changes) = alter(
        &before,
        r#"{"attributes": {"custom:a": {"max_len": 10, "required": true, "mutable": false, "alias": "unique",
        "searchable": true, "collation": "casefold"}}}"#,
    )
    .unwrap();
    assert_eq!(
        changes,
        [
            SchemaChange::MaxLen { attr, from: 100, to: 10 },
            SchemaChange::Required { attr, to: true },
            SchemaChange::Mutable { attr, to: false },
            SchemaChange::Alias { attr, from: Alias::None, to: Alias::Unique },
            SchemaChange::Searchable { attr, to: true },
            SchemaChange::Collation { attr, from: Collation::Exact, to: Collation::CaseFold },
        ]
    );
    let checks: Vec<_> = changes.iter().map(SchemaChange::needs_check).collect();
    assert_eq!(checks, [true, true, false, true, false, true]);
    assert!(changes.iter().all(|change| change.attr() == attr));

    let (relaxed, changes) =
        alter(&after, r#"{"attributes": {"custom:a": {"max_len": 20, "required": false, "alias": "none"}}}"#).unwrap();
    assert!(!changes.iter().any(SchemaChange::needs_check));
    assert_eq!(relaxed.version(), 4);

    let (same, changes) = alter(&relaxed, r#"{"attributes": {"custom:a": {"max_len": 20}}}"#).unwrap();
    assert!(changes.is_empty());
    assert_eq!(same, relaxed);
    assert_eq!(alter(&relaxed, "{}").unwrap().0, relaxed);
}

#[test]
fn a_new_required_attribute_is_checked() {
    let (schema, changes) =
        alter(&Schema::standard(), r#"{"attributes": {"custom:a": {"type": "integer", "required": true}}}"#).unwrap();
    let attr = schema.by_name("custom:a").unwrap().id;
    assert_eq!(changes, [SchemaChange::Added { attr }, SchemaChange::Required { attr, to: true }]);
    assert_eq!(schema.required().map(|attribute| attribute.id).collect::<Vec<_>>(), [attr]);
}

#[test]
fn verified_aliases_have_a_flag() {
    let schema = standard_with(r#"{"attributes": {"email": {"alias": "verified"}}}"#);
    let (email, flag) = (schema.by_name("email").unwrap(), schema.by_name("email_verified").unwrap());
    assert_eq!(email.verified_by, Some(flag.id));
    assert_eq!(schema.verified_alias_of(flag.id), Some(email));
    assert_eq!(schema.verified_alias_of(email.id), None);

    let custom = r#"{"attributes": {"custom:work": {"type": "string", "alias": "verified"}}}"#;
    assert_eq!(fault_of(custom), AttributeFault::NoVerifiedFlag);
    let with_flag = r#"{"attributes": {"custom:work": {"type": "string", "alias": "verified"},
        "custom:work_verified": {"type": "boolean"}}}"#;
    let schema = standard_with(with_flag);
    let flag = schema.by_name("custom:work_verified").unwrap();
    assert_eq!(schema.by_name("custom:work").unwrap().verified_by, Some(flag.id));
}

#[test]
fn refused_rules() {
    use AttributeFault::*;
    for (rules, fault) in [
        (r#"{}"#, NoType),
        (r#"7"#, NotObject),
        (r#"{"type": "text"}"#, Type),
        (r#"{"type": "string", "length": 3}"#, UnknownRule),
        (r#"{"type": "string", "max_len": 0}"#, MaxLen { max_bytes: 65_536 }),
        (r#"{"type": "string", "max_len": 2049}"#, MaxLen { max_bytes: 2048 }),
        (r#"{"type": "string", "max_len": 18446744073709551615}"#, MaxLen { max_bytes: 2048 }),
        (r#"{"type": "integer", "max_len": 3}"#, MaxLenOfFixed),
        (r#"{"type": "string", "required": "yes"}"#, NotBoolean),
        (r#"{"type": "string", "alias": "maybe"}"#, Alias),
        (r#"{"type": "integer", "alias": "unique"}"#, AliasType),
        (r#"{"type": "string", "multi": true, "alias": "verified"}"#, VerifiedMulti),
        (r#"{"type": "string", "collation": "binary"}"#, Collation),
        (r#"{"type": "integer", "collation": "casefold"}"#, CollationType),
        (r#"{"type": "json", "searchable": true}"#, SearchableType),
        (r#"{"type": "json", "multi": true}"#, MultiJson),
    ] {
        assert_eq!(fault_of(&format!(r#"{{"attributes": {{"custom:a": {rules}}}}}"#)), fault, "{rules}");
    }
    assert_eq!(fault_of(r#"{"attributes": {"email": {"type": "bytes"}}}"#), TypeChange);
    assert_eq!(fault_of(r#"{"attributes": {"email": {"multi": true}}}"#), MultiChange);
    for (json, error) in [
        ("[]", InvalidSchema::Shape),
        (r#"{"attributes": []}"#, InvalidSchema::Shape),
        (r#"{"attributes": {}, "more": 1}"#, InvalidSchema::Shape),
        (r#"{"attributes": {"email": {}, "email": {}}}"#, InvalidSchema::NotJson),
    ] {
        assert_eq!(alter(&Schema::standard(), json), Err(error), "{json}");
    }
    assert!(matches!(SchemaPatch::parse(br#"{"attributes": {"status": {}}}"#), Err(InvalidSchema::Name(_))));
}

#[test]
fn at_most_512_attributes() {
    let patch = |count: usize| {
        let named = (0..count).map(|n| format!(r#""custom:a{n}": {{"type": "integer"}}"#)).collect::<Vec<_>>();
        format!(r#"{{"attributes": {{{}}}}}"#, named.join(","))
    };
    assert_eq!(standard_with(&patch(512 - 18)).attributes().len(), 512);
    assert_eq!(alter(&Schema::standard(), &patch(513 - 18)), Err(InvalidSchema::TooManyAttributes));
}

#[test]
fn values_are_checked_beyond_their_type() {
    let schema = standard_with(
        r#"{"attributes": {"custom:ids": {"type": "string", "multi": true, "alias": "unique", "collation": "casefold"}}}"#,
    );
    let parse = |name: &str, text: &str| schema.by_name(name).unwrap().parse(&raw(text)).map_err(|e| e.fault);
    assert_eq!(parse("username", ""), Err(ValueFault::EmptyAlias));
    assert_eq!(parse("username", "\u{200b}"), Err(ValueFault::EmptyAlias));
    assert!(parse("given_name", "").is_ok());
    assert!(parse("phone_number", "+15550109999").is_ok());
    assert_eq!(parse("phone_number", "555"), Err(ValueFault::NotE164));
    assert!(parse("custom:ids", r#"["a","b"]"#).is_ok());
    assert_eq!(parse("custom:ids", r#"["a","A"]"#), Err(ValueFault::SameAlias));
    assert_eq!(parse("custom:ids", r#"["a",""]"#), Err(ValueFault::EmptyAlias));
    let ids = schema.by_name("custom:ids").unwrap();
    let elements = |text: &str| ids.parse_elements(&raw(text)).map_err(|error| error.fault);
    let strings = |texts: &[&str]| Ok(texts.iter().map(|&text| Value::Str(text.into())).collect());
    assert_eq!(elements("a"), strings(&["a"]));
    assert_eq!(elements(r#"["b", "a"]"#), strings(&["a", "b"]));
    assert_eq!(elements("[b]"), strings(&["[b]"]), "not JSON: one value");
    assert_eq!(elements("[1]"), strings(&["[1]"]), "not strings: one value");
    assert_eq!(elements(""), Err(ValueFault::EmptyAlias));
    assert_eq!(elements("[]"), Err(ValueFault::NoValues));
    assert_eq!(ids.parse_elements(&Input::Json("a".into())).unwrap().len(), 1);
    assert_eq!(ids.parse_elements(&Input::Json(serde_json::json!(["a", "b"]))).unwrap().len(), 2);
    let username = schema.by_name("username").unwrap();
    assert_eq!(username.parse_wire(b"Babs"), username.parse(&raw("Babs")));
    assert_eq!(username.parse_wire(b"").unwrap_err().fault, ValueFault::EmptyAlias);
}

#[test]
fn order_keys_sort_as_values_do() {
    let schema = Schema::standard();
    let key = |name: &str, cell| {
        let mut out = Vec::new();
        schema.by_name(name).unwrap().order_key(cell, &mut out);
        out
    };
    assert_eq!(key("username", CellValue::Bytes(b"Babs")), b"babs");
    assert_eq!(key("locale", CellValue::Bytes(b"de-DE")), b"de-DE");
    assert!(key("email_verified", CellValue::Int(0)) < key("email_verified", CellValue::Int(1)));
}

#[test]
fn the_kept_form_reads_back() {
    let schema = standard_with(
        r#"{"attributes": {"custom:b": {"type": "bytes", "max_len": 9}, "custom:a": {"type": "timestamp", "searchable":
        true}, "email": {"alias": "verified", "required": true}}}"#,
    );
    let kept = schema.encode();
    assert_eq!(Schema::decode(&kept), Ok(schema.clone()));
    assert!(!schema.by_name("email").unwrap().has_stale_keys());

    // What clients see makes the same rules in a new pool, and changes nothing here.
    let seen = SchemaPatch::parse(schema.to_text().as_bytes()).unwrap();
    assert_eq!(Schema::standard().alter(&seen).unwrap().0.to_json(), schema.to_json());
    assert_eq!(schema.alter(&seen).unwrap(), (schema, vec![]));
}

#[test]
fn a_kept_form_that_is_none() {
    assert!(!std::str::from_utf8(&Schema::standard().encode()).unwrap().contains("username"));
    let altered = standard_with(r#"{"attributes": {"username": {"required": true}, "custom:a": {"type": "string"}}}"#);
    let kept = String::from_utf8(altered.encode().to_vec()).unwrap();
    let damage = |from: &str, to: &str| {
        let damaged = kept.replacen(from, to, 1);
        assert_ne!(damaged, kept, "{from}");
        Schema::decode(damaged.as_bytes()).unwrap_err().reason
    };
    assert_eq!(damage("\"format\":1", "\"format\":2"), "unknown format number");
    assert_eq!(damage("\"next_attr_id\":83", "\"next_attr_id\":82"), "next_attr_id is taken");
    assert_eq!(damage("\"id\":64", "\"id\":82"), "a standard attribute has another id or name");
    assert_eq!(damage("\"id\":82", "\"id\":65"), "a standard attribute has another id or name");
    assert_eq!(damage("\"id\":64", "\"id\":3"), "no id");
    assert_eq!(damage("\"username\"", "\"username2\""), "a standard attribute has another id or name");
    assert_eq!(
        damage("\"collation_version\":1", "\"collation_version\":2"),
        "collation_version is newer than this program"
    );
    assert_eq!(damage("\"max_len\":2048", "\"max_len\":4096"), "an attribute's rules contradict each other");
    assert_eq!(damage("{", ""), "not JSON");
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,60}", at in 0usize..2000, byte: u8) {
        let _ = SchemaPatch::parse(text.as_bytes());
        let _ = Schema::decode(text.as_bytes());
        let mut kept = Schema::standard().encode().to_vec();
        let at = at % kept.len();
        kept[at] = byte;
        let _ = Schema::decode(&kept);
    }
}
