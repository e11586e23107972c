use proptest::prelude::*;

use super::*;
use crate::wire::{Limits, view_json};

fn read(schema: &str) -> Result<Vec<HeaderParam>, HeaderParamError> {
    header_params(view_json(schema.as_bytes(), &Limits::default()).unwrap())
}

fn with_property(property: &str) -> Result<Vec<HeaderParam>, HeaderParamError> {
    read(&format!(r#"{{"type":"object","properties":{{"p":{property}}}}}"#))
}

fn at_p() -> String {
    "properties/p".to_owned()
}

#[test]
fn a_schema_without_annotations_has_no_header_params() {
    assert_eq!(read(r#"{"type":"object","properties":{"a":{"type":"string"}}}"#), Ok(Vec::new()));
    assert_eq!(read("true"), Ok(Vec::new()));
}

#[test]
fn annotated_properties_are_found_with_path_kind_and_spelling() {
    let schema = r#"{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "n":{"x-mcp-header":"count","type":"integer"},
        "deep":{"type":"object","properties":{"er":{"type":"object","properties":{"flag":{"type":"boolean","x-mcp-header":"Flag"}}}}}}}"#;
    let param = |spelled: &str, path: &[&str], kind| HeaderParam {
        header: spelled.to_ascii_lowercase(),
        spelled: spelled.to_owned(),
        path: path.iter().map(|&name| name.to_owned()).collect(),
        kind,
    };
    assert_eq!(
        read(schema),
        Ok(vec![
            param("count", &["n"], ParamKind::Integer),
            param("Flag", &["deep", "er", "flag"], ParamKind::Boolean),
            param("Region", &["region"], ParamKind::String),
        ])
    );
}

#[test]
fn c36_a_name_must_not_be_empty() {
    assert_eq!(with_property(r#"{"type":"string","x-mcp-header":""}"#), Err(HeaderParamError::Empty { at: at_p() }));
}

#[test]
fn c36_a_name_is_a_token_without_control_characters() {
    for name in
        ["My Region", "a:b", "R\u{e9}gion", "a\\tb", "a\\r\\nb", "a\\u0000", "a/b", "a(b", "\\\"a\\\"", "\u{7f}"]
    {
        let schema = format!(r#"{{"type":"string","x-mcp-header":"{name}"}}"#);
        assert_eq!(with_property(&schema), Err(HeaderParamError::NotAToken { at: at_p() }), "{name}");
    }
    let strange = r#"{"type":"string","x-mcp-header":"!#$%&'*+-.^_`|~09azAZ"}"#;
    assert!(with_property(strange).is_ok());
}

#[test]
fn c36_a_name_is_a_string() {
    for value in ["1", "null", "true", "[]", "{}"] {
        let schema = format!(r#"{{"type":"string","x-mcp-header":{value}}}"#);
        assert_eq!(with_property(&schema), Err(HeaderParamError::NotText { at: at_p() }), "{value}");
    }
}

#[test]
fn c36_names_are_unique_without_regard_to_case() {
    for (one, other) in [("Region", "Region"), ("Region", "rEGION")] {
        let schema = format!(
            r#"{{"properties":{{"a":{{"type":"string","x-mcp-header":"{one}"}},
               "b":{{"properties":{{"c":{{"type":"string","x-mcp-header":"{other}"}}}}}}}}}}"#
        );
        assert!(matches!(read(&schema), Err(HeaderParamError::Repeated { .. })));
    }
}

#[test]
fn c37_only_strings_integers_and_booleans_are_mirrored() {
    for kind in [
        r#""number""#,
        r#""object""#,
        r#""array""#,
        r#""null""#,
        r#"["string","null"]"#,
        r#"["string"]"#,
        "null",
        r#""String""#,
    ] {
        let schema = format!(r#"{{"type":{kind},"x-mcp-header":"A"}}"#);
        assert_eq!(with_property(&schema), Err(HeaderParamError::NotPrimitive { at: at_p() }), "{kind}");
    }
    assert_eq!(with_property(r#"{"x-mcp-header":"A"}"#), Err(HeaderParamError::NotPrimitive { at: at_p() }));
}

#[test]
fn c38_annotations_off_the_chain_of_properties_are_refused() {
    let annotated = r#"{"type":"string","x-mcp-header":"A"}"#;
    for schema in [
        format!(r#"{{"type":"array","items":{annotated}}}"#),
        format!(r#"{{"type":"array","prefixItems":[true,{annotated}]}}"#),
        format!(r#"{{"type":"array","items":{{"properties":{{"a":{annotated}}}}}}}"#),
        format!(r#"{{"oneOf":[{annotated}]}}"#),
        format!(r#"{{"anyOf":[{{"type":"null"}},{annotated}]}}"#),
        format!(r#"{{"allOf":[{{"properties":{{"a":{annotated}}}}}]}}"#),
        format!(r#"{{"not":{annotated}}}"#),
        format!(r#"{{"if":{annotated}}}"#),
        format!(r#"{{"then":{annotated}}}"#),
        format!(r#"{{"else":{{"properties":{{"a":{annotated}}}}}}}"#),
        format!(r#"{{"additionalProperties":{annotated}}}"#),
        format!(r#"{{"patternProperties":{{"^a":{annotated}}}}}"#),
        format!(r#"{{"dependentSchemas":{{"a":{{"properties":{{"b":{annotated}}}}}}}}}"#),
        format!(r##"{{"$ref":"#/$defs/a","$defs":{{"a":{annotated}}}}}"##),
        format!(r#"{{"x-vendor":[[{annotated}]]}}"#),
    ] {
        assert!(matches!(with_property(&schema), Err(HeaderParamError::Unreachable { .. })), "{schema}");
        assert!(matches!(read(&schema), Err(HeaderParamError::Unreachable { .. })), "{schema}");
    }
    assert!(matches!(read(annotated), Err(HeaderParamError::Unreachable { .. })));
}

#[test]
fn a_property_or_a_datum_of_that_name_is_no_annotation() {
    assert_eq!(read(r#"{"properties":{"x-mcp-header":{"type":"string"}}}"#), Ok(Vec::new()));
    assert_eq!(read(r#"{"items":{"properties":{"x-mcp-header":{"type":"string"}}}}"#), Ok(Vec::new()));
    for data in ["default", "const", "enum", "examples"] {
        let schema = format!(r#"{{"properties":{{"a":{{"{data}":[{{"x-mcp-header":"A"}}]}}}}}}"#);
        assert_eq!(read(&schema), Ok(Vec::new()), "{data}");
    }
    let nested = r#"{"properties":{"properties":{"properties":{"items":{"type":"string","x-mcp-header":"A"}}}}}"#;
    let found = read(nested).unwrap();
    assert_eq!(found[0].path, ["properties", "items"]);
    let named_default = r#"{"properties":{"default":{"type":"string","x-mcp-header":"A"}}}"#;
    assert_eq!(read(named_default).unwrap()[0].path, ["default"]);
}

#[test]
fn an_escaped_spelling_of_the_keyword_is_the_keyword() {
    let found = with_property(r#"{"type":"string","\u0078-mcp-header":"A"}"#).unwrap();
    assert_eq!(found[0].header, "a");
}

/// A copy of the way for each schema below a long key would take gigabytes here.
#[test]
fn long_keys_above_many_schemas_are_not_copied() {
    let key = "k".repeat(1 << 20);
    // The walk goes through what comes last first, so it meets the error after all of these.
    let below: Vec<String> = (0..2000).map(|index| format!("\"p{index}\":{{\"items\":{{}}}}")).collect();
    let below = below.join(",");
    let schema = format!(r#"{{"properties":{{"{key}":{{"items":{{"x-mcp-header":"A"}},"properties":{{{below}}}}}}}}}"#);
    let Err(HeaderParamError::Unreachable { at }) = read(&schema) else { panic!("accepted") };
    assert_eq!(at.len(), MOST_PLACE);
}

#[test]
fn the_error_says_where_and_why() {
    let error = with_property(r#"{"type":"number","x-mcp-header":"A"}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`x-mcp-header` at `/properties/p` is on a property that is not of type string, integer or boolean"
    );
}

fn schema() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just(r#"{"type":"string","x-mcp-header":"A"}"#.to_owned()),
        Just(r#"{"type":"integer","x-mcp-header":"B"}"#.to_owned()),
        Just(r#"{"type":"number"}"#.to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let key = prop_oneof![
            Just("properties"),
            Just("items"),
            Just("x-mcp-header"),
            Just("default"),
            Just("$defs"),
            Just("a"),
            Just("type"),
        ];
        proptest::collection::btree_map(key, inner, 0..3).prop_map(|members| {
            let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        })
    })
}

proptest! {
    #[test]
    fn any_schema_gives_reachable_unique_params_or_an_error(schema in schema()) {
        let view = view_json(schema.as_bytes(), &Limits::default()).unwrap();
        if let Ok(found) = header_params(view) {
            for param in &found {
                let mut at = view;
                for name in &param.path {
                    at = at.path(&["properties", name]).unwrap();
                }
                prop_assert!(at.get(ANNOTATION).is_some());
            }
            prop_assert!(found.is_sorted_by(|a, b| a.header < b.header));
        }
    }
}
