use super::*;
use proptest::prelude::*;

const NO_LIMIT: usize = usize::MAX;

fn raw(text: &str) -> Input {
    Input::Raw(Bytes::copy_from_slice(text.as_bytes()))
}

fn parse(ty: AttrType, text: &str) -> Result<Value, ValueFault> {
    Value::parse(ty, false, &raw(text), NO_LIMIT)
}

fn parse_json(ty: AttrType, multi: bool, json: Json) -> Result<Value, ValueFault> {
    Value::parse(ty, multi, &Input::Json(json), NO_LIMIT)
}

#[test]
fn wire_text_of_each_type() {
    for (ty, text, wire) in [
        (AttrType::String, "", ""),
        (AttrType::String, "Bjørn 🐻", "Bjørn 🐻"),
        (AttrType::Integer, "-9223372036854775808", "-9223372036854775808"),
        (AttrType::Integer, "0", "0"),
        (AttrType::Boolean, "TRUE", "true"),
        (AttrType::Boolean, "false", "false"),
        (AttrType::Timestamp, "2026-11-22T13:00:00+01:00", "2026-11-22T12:00:00.000Z"),
        (AttrType::Json, r#"{"b": 1.0, "a": []}"#, r#"{"a":[],"b":1}"#),
    ] {
        let value = parse(ty, text).unwrap();
        assert_eq!(value.wire().as_ref(), wire.as_bytes());
        assert_eq!(value.text(), wire);
    }
    let bytes = Value::parse(AttrType::Bytes, false, &Input::Raw(Bytes::from_static(&[0, 255])), NO_LIMIT).unwrap();
    assert_eq!(bytes.wire().as_ref(), [0, 255]);
    assert_eq!(bytes.text(), "AP8=");
}

#[test]
fn what_is_no_value() {
    use ValueFault::*;
    for (ty, text, fault) in [
        (AttrType::Integer, "", NotInteger),
        (AttrType::Integer, "+1", NotInteger),
        (AttrType::Integer, "-0", NotInteger),
        (AttrType::Integer, "007", NotInteger),
        (AttrType::Integer, "1.5", NotInteger),
        (AttrType::Integer, "9223372036854775808", NotInteger),
        (AttrType::Boolean, "1", NotBoolean),
        (AttrType::Timestamp, "2026-11-22", NotTime),
        (AttrType::Json, "{", NotJson),
    ] {
        assert_eq!(parse(ty, text), Err(fault), "{text}");
    }
    let not_utf8 = Input::Raw(Bytes::from_static(&[0xff]));
    assert_eq!(Value::parse(AttrType::String, false, &not_utf8, NO_LIMIT), Err(NotUtf8));
    assert_eq!(Value::parse(AttrType::Json, false, &not_utf8, NO_LIMIT), Err(NotUtf8));
    assert_eq!(parse_json(AttrType::String, false, Json::from(5)), Err(NotString));
    assert_eq!(parse_json(AttrType::Integer, false, Json::from(1.5)), Err(NotInteger));
    assert_eq!(parse_json(AttrType::Integer, false, Json::from(u64::MAX)), Err(NotInteger));
    assert_eq!(parse_json(AttrType::Bytes, false, Json::from("*")), Err(NotBase64));
    assert_eq!(parse_json(AttrType::String, false, Json::Null), Err(Null));
}

#[test]
fn lengths_are_in_bytes() {
    let limit = |text: &str, max| Value::parse(AttrType::String, false, &raw(text), max);
    assert!(limit("ää", 4).is_ok());
    assert_eq!(limit("ää", 3), Err(ValueFault::TooLong { max_bytes: 3 }));
    assert!(parse(AttrType::String, &"a".repeat(2048)).is_ok());
    assert_eq!(parse(AttrType::String, &"a".repeat(2049)), Err(ValueFault::TooLong { max_bytes: 2048 }));
    assert_eq!(parse(AttrType::Bytes, &"a".repeat(65_537)), Err(ValueFault::TooLong { max_bytes: 65_536 }));
    let json = format!("  \"{}\"", "a".repeat(65_534));
    assert!(parse(AttrType::Json, &json).is_ok(), "the canonical form counts");
}

#[test]
fn json_attributes_in_json() {
    let object = serde_json::json!({"b": 1, "a": null});
    let value = parse_json(AttrType::Json, false, object).unwrap();
    assert_eq!(value.text(), r#"{"a":null,"b":1}"#);
    assert_eq!(parse_json(AttrType::Json, false, Json::from("{\"a\":1}")).unwrap().text(), "{\"a\":1}");
    for text in ["null", "\"text\"", "[1]", "true", "7"] {
        let value = parse(AttrType::Json, text).unwrap();
        assert_eq!(parse_json(AttrType::Json, false, value.to_json()), Ok(value));
    }
}

#[test]
fn several_values_are_a_sorted_set() {
    let value = Value::parse(AttrType::String, true, &raw(r#"["b","a","B","a"]"#), NO_LIMIT).unwrap();
    assert_eq!(value.wire().as_ref(), br#"["B","a","b"]"#);
    let numbers = Value::parse(AttrType::Integer, true, &raw(r#"["9","10",10]"#), NO_LIMIT).unwrap();
    assert_eq!(numbers.text(), r#"["10","9"]"#, "sorted as text, bytewise");

    let parse = |text: &str| Value::parse(AttrType::String, true, &raw(text), NO_LIMIT);
    assert_eq!(parse("a"), Err(ValueFault::NotArray));
    assert_eq!(parse("\"a\""), Err(ValueFault::NotArray));
    assert_eq!(parse("[]"), Err(ValueFault::NoValues));
    assert_eq!(parse("[1]"), Err(ValueFault::NotString));
    assert_eq!(parse("[null]"), Err(ValueFault::Null));
    let many = |count: usize| Json::from((0..count).map(|n| n.to_string()).collect::<Vec<_>>()).to_string();
    assert!(parse(&many(64)).is_ok());
    assert_eq!(parse(&many(65)), Err(ValueFault::TooManyValues));
}

#[test]
fn integers_sort_bytewise() {
    let ordered = [i64::MIN, -2, -1, 0, 1, 255, 256, i64::MAX];
    assert!(ordered.windows(2).all(|pair| encoding::sortable(pair[0]) < encoding::sortable(pair[1])));
}

#[test]
fn damaged_encodings_are_errors() {
    assert!(Value::decode(AttrType::Integer, false, &[1, 2]).is_err());
    assert!(Value::decode(AttrType::Boolean, false, &encoding::sortable(2)).is_err());
    assert!(Value::decode(AttrType::Timestamp, false, &encoding::sortable(i64::MAX)).is_err());
    assert!(Value::decode(AttrType::String, false, &[0xff]).is_err());
    assert!(Value::decode(AttrType::String, true, &[]).is_err());
    assert!(Value::decode(AttrType::String, true, &[9, 0, 0, 0, b'a']).is_err());
    assert!(Value::decode(AttrType::String, true, &[1, 0, 0, 0, b'b', 1, 0, 0, 0, b'a']).is_err());
    assert!(Value::from_cell(AttrType::String, CellValue::Int(1)).is_err());
}

#[test]
fn cells_of_runs_and_logs() {
    use stoa_format::column::Cell;
    use stoa_format::ops::CellRef;
    for value in [CellValue::Int(-5), CellValue::Bytes(b"text")] {
        assert_eq!(CellValue::of_log(CellRef::from(value)), Some(value));
    }
    assert_eq!(CellValue::of_log(CellRef::Absent), None);
    assert_eq!(CellValue::of_run(&Cell::Missing), None);
    assert_eq!(CellValue::of_run(&Cell::Absent), None);
    assert_eq!(CellValue::of_run(&Cell::Int(7)), Some(CellValue::Int(7)));
    assert_eq!(CellValue::of_run(&Cell::Fixed16([3; 16])), Some(CellValue::Bytes(&[3; 16])));
    assert_eq!(CellValue::of_run(&Cell::Bytes(b"x".into())), Some(CellValue::Bytes(b"x")));
}

#[test]
fn debug_shows_no_value() {
    let value = Value::multi(vec![Value::Str("secret".into())]).unwrap();
    assert_eq!(format!("{value:?} {:?}", raw("secret")), "Multi([Str(6 bytes)]) Raw(6 bytes)");
    assert_eq!(format!("{:?}", Value::Int(987_654)), "Int");
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        ".{0,8}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::btree_map(".{0,4}", inner, 0..4)
                .prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
}

fn scalar(ty: AttrType) -> BoxedStrategy<Value> {
    match ty {
        AttrType::String => ".{0,20}".prop_map(|text| Value::Str(text.into())).boxed(),
        AttrType::Integer => any::<i64>().prop_map(Value::Int).boxed(),
        AttrType::Boolean => any::<bool>().prop_map(Value::Bool).boxed(),
        AttrType::Timestamp => (TIME_MIN_MS..=TIME_MAX_MS).prop_map(Value::Time).boxed(),
        AttrType::Json => {
            any_json().prop_map(|json| Value::Json(json::canonical(&json, JSON_MAX_BYTES).unwrap())).boxed()
        }
        AttrType::Bytes => {
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(|raw| Value::Bytes(raw.into())).boxed()
        }
    }
}

/// A type, whether several values, and a value of it. JSON attributes hold one value only.
fn typed_value() -> impl Strategy<Value = (AttrType, bool, Value)> {
    (proptest::sample::select(&AttrType::ALL), any::<bool>()).prop_flat_map(|(ty, multi)| {
        let multi = multi && ty != AttrType::Json;
        let value = if multi {
            proptest::collection::vec(scalar(ty), 1..6).prop_map(|all| Value::multi(all).unwrap()).boxed()
        } else {
            scalar(ty)
        };
        (Just(ty), Just(multi), value)
    })
}

proptest! {
    #[test]
    fn every_form_reads_back((ty, multi, value) in typed_value()) {
        let wire = Input::Raw(Bytes::copy_from_slice(&value.wire()));
        prop_assert_eq!(&Value::parse(ty, multi, &wire, NO_LIMIT).unwrap(), &value);
        prop_assert_eq!(&parse_json(ty, multi, value.to_json()).unwrap(), &value);
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        prop_assert_eq!(&Value::decode(ty, multi, &bytes).unwrap(), &value);
        if let Some(cell) = value.as_cell() {
            prop_assert_eq!(&Value::from_cell(ty, cell).unwrap(), &value);
        }
    }

    #[test]
    fn parsers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "[\\[\\]{}\":,a0-9 ]{0,30}") {
        for ty in AttrType::ALL {
            for multi in [false, true] {
                let _ = Value::parse(ty, multi, &Input::Raw(Bytes::copy_from_slice(&bytes)), NO_LIMIT);
                let _ = Value::parse(ty, multi, &raw(&text), NO_LIMIT);
                let _ = Value::decode(ty, multi, &bytes);
            }
        }
    }
}
