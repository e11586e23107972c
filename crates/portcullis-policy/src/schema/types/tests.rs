use super::*;

fn fields(schema: &str) -> BTreeMap<String, Field> {
    match project(Some(schema.as_bytes()), &Limits::default()) {
        Type::Record(record) => record.fields,
        other => panic!("{other:?}"),
    }
}

fn field(schema: &str) -> Field {
    fields(&format!(r##"{{"type":"object","properties":{{"x":{schema}}},"$defs":{{"s":{{"type":"string"}},"loop":{{"type":"object","properties":{{"next":{{"$ref":"#/$defs/loop"}}}}}}}}}}"##))
        .remove("x")
        .unwrap()
}

#[test]
fn json_types_become_cedar_types() {
    for (schema, expected) in [
        (r#"{"type":"string","enum":["a"]}"#, Type::String),
        (r#"{"enum":["a","b"]}"#, Type::String),
        (r#"{"const":7}"#, Type::Long),
        (r#"{"type":"integer"}"#, Type::Long),
        (r#"{"type":"number"}"#, Type::Decimal),
        (r#"{"type":"boolean"}"#, Type::Bool),
        (r#"{"type":"array","items":{"type":"string"}}"#, Type::Set(Box::new(Type::String))),
        (r##"{"$ref":"#/$defs/s"}"##, Type::String),
        (r##"{"allOf":[{"$ref":"#/$defs/s"}]}"##, Type::String),
    ] {
        assert_eq!(field(schema).ty, expected, "{schema}");
    }
}

#[test]
fn null_beside_one_type_makes_the_field_optional() {
    for schema in [r#"{"type":["string","null"]}"#, r#"{"anyOf":[{"type":"string"},{"type":"null"}],"default":null}"#] {
        let schema = format!(r#"{{"type":"object","required":["x"],"properties":{{"x":{schema}}}}}"#);
        assert_eq!(fields(&schema)["x"], Field { ty: Type::String, required: false, nullable: true });
    }
}

#[test]
fn what_cedar_cannot_express_is_opaque_and_says_why() {
    for (schema, expected) in [
        ("true", Opaque::Untyped),
        ("{}", Opaque::Untyped),
        (r#"{"type":["string","integer"]}"#, Opaque::SeveralTypes),
        (r#"{"oneOf":[{"type":"string"},{"type":"integer"}]}"#, Opaque::Alternatives),
        (r#"{"type":"object","additionalProperties":{"type":"string"}}"#, Opaque::Map),
        (r#"{"type":"array"}"#, Opaque::ArrayOfUnknown),
        (r#"{"$ref":"https://example.com/schema"}"#, Opaque::Reference),
        (r##"{"$ref":"#/$defs/missing"}"##, Opaque::Reference),
    ] {
        assert_eq!(field(schema).ty, Type::Opaque(expected), "{schema}");
    }
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let mut ty = field(r##"{"$ref":"#/$defs/loop"}"##).ty;
    let mut levels = 0;
    while let Type::Record(mut record) = ty {
        ty = record.fields.remove("next").unwrap().ty;
        levels += 1;
    }
    assert_eq!(ty, Type::Opaque(Opaque::TooDeep));
    assert!(levels < MOST_DEPTH);
}

#[test]
fn references_that_fan_out_stop_at_the_limit() {
    let mut schema =
        String::from(r##"{"type":"object","properties":{"x":{"$ref":"#/$defs/d0"}},"$defs":{"d12":{"type":"string"}"##);
    for level in 0..12 {
        let next = level + 1;
        schema.push_str(&format!(
            r##","d{level}":{{"type":"object","properties":{{"a":{{"$ref":"#/$defs/d{next}"}},"b":{{"$ref":"#/$defs/d{next}"}}}}}}"##
        ));
    }
    schema.push_str("}}");
    let text = format!("{:?}", fields(&schema));
    assert!(text.contains("TooLarge") || text.contains("TooDeep"));
    assert!(text.len() < 1 << 20);
}
