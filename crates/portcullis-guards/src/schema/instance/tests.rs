use jsonschema::json::SerdeJson;
use jsonschema::{PatternOptions, Validator};
use portcullis_core::wire::{Limits, view_json};
use serde_json::json;

use super::*;

const DEEPEST: usize = 64;

fn view(text: &str) -> View<'_> {
    view_json(text.as_bytes(), &Limits::default()).unwrap()
}

/// Each text twice or more in what it can be about: names, lists and objects of few and of many, numbers of every kind.
fn texts() -> Vec<String> {
    let many: Vec<String> = (0..40).rev().map(|n| format!(r#""name{n}": {n}"#)).collect();
    let nested = format!(
        r#"{{"a": {{{}}}, "b": [[], {{}}, [[1], [1]], {{{}}}], "a\u0062": "x\ty"}}"#,
        many.join(","),
        many.join(" , ")
    );
    let plain = [
        "null",
        "true",
        "false",
        "\"\"",
        "\"text\"",
        r#""\u00e9\n\ud83d\ude00""#,
        "0",
        "-0",
        "1",
        "1.0",
        "-7",
        "1e2",
        "18446744073709551615",
        "18446744073709551616",
        "1e300",
        "0.1",
        "[]",
        "{}",
        "[[]]",
        "[1,1.0]",
        "[1,2,[3,{\"a\":4}],\"5\"]",
        r#"{"a":1}"#,
        r#"{"a":1.0,"b":[true,null]}"#,
        r#"{"":{"":""},"a/b":"~"}"#,
    ];
    plain.into_iter().map(str::to_owned).chain([nested, format!("{{{}}}", many.join(","))]).collect()
}

#[test]
fn an_instance_holds_what_a_parser_reads() {
    for text in texts() {
        let expected: Value = serde_json::from_str(&text).unwrap();
        let instance = Instance::of(view(&text), DEEPEST).unwrap();
        assert_eq!(*instance.root().to_value(), expected, "{text}");
        assert!(instance.root().equals_value(&expected), "{text}");
        assert_eq!((instance.depth, instance.values), size_of(&expected), "{text}");
    }
}

/// Nesting and number of values.
fn size_of(value: &Value) -> (usize, u64) {
    let inner = |(deepest, values): (usize, u64), value: &Value| {
        let (depth, more) = size_of(value);
        (deepest.max(depth + 1), values + more)
    };
    match value {
        Value::Array(items) => items.iter().fold((1, 1), inner),
        Value::Object(members) => members.values().fold((1, 1), inner),
        _ => (0, 1),
    }
}

#[test]
fn two_instances_are_equal_exactly_when_json_schema_says_so() {
    let texts = texts();
    for one in &texts {
        let instance = Instance::of(view(one), DEEPEST).unwrap();
        for other in &texts {
            let (left, right): (Value, Value) =
                (serde_json::from_str(one).unwrap(), serde_json::from_str(other).unwrap());
            assert_eq!(instance.root().equals_value(&right), cmp::equal(&left, &right), "{one} and {other}");
        }
    }
}

#[test]
fn every_member_is_found_by_its_name_and_no_other() {
    for count in [0, 1, FEW - 1, FEW, FEW + 1, 100] {
        let members: Vec<String> = (0..count).map(|n| format!(r#""n{}":{n}"#, (n * 37) % 101)).collect();
        let text = format!(r#"[{{"first":{{"n0":"inner"}}}},{{{}}}]"#, members.join(","));
        let instance = Instance::of(view(&text), DEEPEST).unwrap();
        let object = instance.root().as_array().unwrap().elements().nth(1).unwrap().as_object().unwrap();
        assert_eq!(object.len(), count as usize);
        for n in 0..count {
            let found = object.get(&Read::prepare_key(&format!("n{}", (n * 37) % 101))).unwrap();
            assert_eq!(found.as_number().unwrap().as_u64(), Some(n.into()));
        }
        for missing in ["", "n", "n102", "first", "inner"] {
            assert!(object.get(&Read::prepare_key(missing)).is_none(), "{missing}");
        }
    }
}

#[test]
fn what_cannot_be_judged_is_no_instance() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Instance::of(view(&deep(3)), 3).is_ok());
    assert_eq!(Instance::of(view(&deep(4)), 3).unwrap_err(), Unmade::TooDeep);
    for text in ["1e400", "[0,-1e999]"] {
        assert_eq!(Instance::of(view(text), DEEPEST).unwrap_err(), Unmade::Number, "{text}");
    }
}

/// The validator over our representation says what it says over its own.
#[test]
fn every_keyword_judges_as_it_judges_parsed_values() {
    let schemas = [
        json!({"type": "integer"}),
        json!({"type": ["string", "null"]}),
        json!({"const": {"a": 1}}),
        json!({"const": [1, 1]}),
        json!({"enum": [1, "text", [], {}, null, {"b": [true, null], "a": 1}]}),
        json!({"multipleOf": 0.1}),
        json!({"minimum": 1, "exclusiveMaximum": 100}),
        json!({"minLength": 2, "maxLength": 4}),
        json!({"pattern": "^t"}),
        json!({"uniqueItems": true}),
        json!({"items": {"uniqueItems": true}}),
        json!({"prefixItems": [{"type": "integer"}], "items": {"type": "integer"}}),
        json!({"contains": {"type": "array"}, "maxContains": 1}),
        json!({"minItems": 1, "maxItems": 3}),
        json!({"minProperties": 1, "maxProperties": 2}),
        json!({"required": ["a"]}),
        json!({"required": ["name0", "name39", "name7"]}),
        json!({"properties": {"a": {"type": "number"}}, "additionalProperties": false}),
        json!({"properties": {"name3": {"const": 3.0}, "name39": {"type": "integer"}}, "additionalProperties": {"type": "integer"}}),
        json!({"patternProperties": {"^name": {"maximum": 38}}}),
        json!({"propertyNames": {"maxLength": 5}}),
        json!({"propertyNames": {"enum": ["a", "b"]}}),
        json!({"dependentRequired": {"a": ["b"]}}),
        json!({"properties": {"a": true}, "unevaluatedProperties": false}),
        json!({"prefixItems": [true], "unevaluatedItems": false}),
        json!({"$ref": "#/$defs/t", "$defs": {"t": {"additionalProperties": {"$ref": "#/$defs/t"}, "type": ["object", "integer", "array"]}}}),
        json!({"oneOf": [{"type": "object"}, {"required": ["a"]}]}),
        json!({"if": {"type": "object"}, "then": {"required": ["b"]}, "else": {"not": {"type": "number"}}}),
    ];
    let patterns = || PatternOptions::regex();
    for schema in &schemas {
        let ours: Validator<Read> = jsonschema::options_for().with_pattern_options(patterns()).build(schema).unwrap();
        let theirs: Validator<SerdeJson> =
            jsonschema::options_for().with_pattern_options(patterns()).build(schema).unwrap();
        for text in texts() {
            let value: Value = serde_json::from_str(&text).unwrap();
            let instance = Instance::of(view(&text), DEEPEST).unwrap();
            assert_eq!(ours.is_valid(instance.root()), theirs.is_valid(&value), "{schema} of {text}");
            // Members come in the text's order here, and there perhaps in that of their names.
            let errors = |errors: jsonschema::ErrorIterator<'_>| {
                let mut all: Vec<_> =
                    errors.map(|error| format!("{} {}", error.instance_path(), error.kind().keyword())).collect();
                all.sort();
                all
            };
            assert_eq!(
                errors(ours.iter_errors(instance.root())),
                errors(theirs.iter_errors(&value)),
                "{schema} of {text}"
            );
        }
    }
}
