//! Hostile schemas and hostile instances. Costs are bounded by structure, so the tests ask for refusals, or simply for an end.
#![expect(clippy::disallowed_methods, reason = "one test listens for a connection that must not come")]

use portcullis_core::wire::{Limits, view_json};
use serde_json::json;

use super::*;

const MOST: usize = 4 << 20;

fn compiled(schema: &Value) -> Compiled {
    Compiled::new(schema.to_string().as_bytes()).unwrap()
}

fn refused(schema: &Value) -> Unusable {
    Compiled::new(schema.to_string().as_bytes()).unwrap_err()
}

fn check(schema: &Compiled, instance: &str) -> Result<(), Mismatch> {
    let limits = Limits { depth: 1000, bytes: 64 << 20, members: 1 << 22, ..Limits::default() };
    schema.check(view_json(instance.as_bytes(), &limits).unwrap(), MOST)
}

fn text_of(schema: &Value, instance: &Value) -> String {
    check(&compiled(schema), &instance.to_string()).unwrap_err().to_string()
}

/// Runs on a stack as small as those of the server's worker threads.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

/// C48
#[test]
fn a_reference_that_leaves_the_document_is_refused_without_asking_anyone() {
    // A listener that would notice a connection.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let here = format!("http://{}/schema.json", listener.local_addr().unwrap());
    for uri in [here.as_str(), "file:///etc/passwd", "other.json", "https://example.com/a#/b", "//example.com/a"] {
        assert_eq!(refused(&json!({"$ref": uri})), Unusable::RemoteReference { keyword: "$ref" }, "{uri}");
        let unused = json!({"type": "object", "$defs": {"never": {"$ref": uri}}});
        assert_eq!(refused(&unused), Unusable::RemoteReference { keyword: "$ref" }, "{uri}");
        assert_eq!(refused(&json!({"$dynamicRef": uri})), Unusable::RemoteReference { keyword: "$dynamicRef" });
        assert!(Compiled::new(json!({"$schema": uri}).to_string().as_bytes()).is_err());
        // Even where only the validator itself looks.
        let _ = Compiled::new(json!({"x-unknown": {"$ref": uri}}).to_string().as_bytes());
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// C48: even without the survey, the validator has nobody to ask.
#[test]
fn the_validator_itself_cannot_fetch() {
    let built = jsonschema::options().with_retriever(NothingIsFetched).build(&json!({"$ref": "http://127.0.0.1:1/a"}));
    assert!(built.is_err());
    assert!(
        jsonschema::options().build(&json!({"$ref": "file:///etc/hostname"})).is_err(),
        "a feature that fetches is on"
    );
}

/// C47
#[test]
fn the_declared_dialect_is_respected_and_an_unknown_one_refused() {
    // `items` with a list means a tuple in draft-07, and is not a schema in 2020-12.
    let tuple = json!({"items": [{"type": "integer"}], "additionalItems": false});
    let mut draft7 = tuple.clone();
    draft7["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    let draft7 = compiled(&draft7);
    assert!(check(&draft7, "[1]").is_ok());
    assert!(check(&draft7, "[1,2]").is_err());
    assert!(matches!(refused(&tuple), Unusable::Invalid { .. }));
    assert_eq!(refused(&json!({"$schema": "https://example.com/mine"})), Unusable::Dialect);
    assert_eq!(refused(&json!({"$schema": 7})), Unusable::Dialect);
    let tuple = compiled(&json!({"prefixItems": [{"type": "integer"}], "items": false}));
    assert!(check(&tuple, "[1]").is_ok() && check(&tuple, "[1,2]").is_err());
}

#[test]
fn boolean_schemas_are_schemas_and_other_scalars_are_not() {
    assert!(check(&compiled(&json!(true)), "[1]").is_ok());
    assert_eq!(check(&compiled(&json!(false)), "{}").unwrap_err().to_string(), "/: must not be there (falseSchema)");
    for other in [json!(1), json!("object"), json!([]), json!(null)] {
        assert_eq!(refused(&other), Unusable::NotASchema);
    }
}

#[test]
fn a_recursive_schema_ends() {
    let tree = compiled(&json!({
        "type": "object", "properties": {"child": {"$ref": "#"}, "value": {"type": "integer"}}, "additionalProperties": false,
    }));
    assert!(check(&tree, r#"{"child":{"child":{"value":1}}}"#).is_ok());
    assert_eq!(
        check(&tree, r#"{"child":{"child":{"value":"x"}}}"#).unwrap_err().to_string(),
        "/child/child/value: must be integer (type)"
    );
}

/// C49
#[test]
fn a_schema_that_applies_itself_to_the_same_value_is_refused() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}}),
        // Reached first through an inner value, so that the path from the root alone would not show the circle.
        json!({"$ref": "#/$defs/z", "$defs": {
            "z": {"allOf": [{"$ref": "#/$defs/p"}, {"$ref": "#/$defs/r"}]},
            "p": {"properties": {"q": {"$ref": "#/$defs/q"}}},
            "q": {"allOf": [{"$ref": "#/$defs/z"}]},
            "r": {"allOf": [{"$ref": "#/$defs/q"}]},
        }}),
    ] {
        assert_eq!(refused(&schema), Unusable::Endless, "{schema}");
    }
}

/// C49: 2^n evaluations from n subschemas.
#[test]
fn a_schema_that_doubles_its_work_is_refused() {
    let double = |inner: bool| {
        let mut defs = serde_json::Map::new();
        for level in 0..20 {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            let twice = json!({"anyOf": [next, next]});
            defs.insert(
                format!("d{level}"),
                if inner { json!({"anyOf": [{"items": next}, {"items": next}]}) } else { twice },
            );
        }
        defs.insert("d20".to_owned(), json!({"type": "integer"}));
        json!({"$ref": "#/$defs/d0", "$defs": defs})
    };
    assert!(matches!(refused(&double(true)), Unusable::TooLarge { .. }));
    assert!(matches!(refused(&double(false)), Unusable::TooLarge { .. }));
}

/// C49: the validator answers recursive references from memory, but only when asked whether, not why.
#[test]
fn a_recursive_choice_is_judged_fast_at_any_depth_and_explained_only_where_that_is_cheap() {
    let expression = compiled(&json!({"$ref": "#/$defs/e", "$defs": {"e": {"oneOf": [
        {"type": "object", "properties": {"and": {"$ref": "#/$defs/e"}}, "required": ["and"]},
        {"type": "object", "properties": {"and": {"$ref": "#/$defs/e"}, "x": true}, "required": ["and", "x"]},
        {"type": "integer"},
    ]}}}));
    assert!(expression.explain_depth < 30, "{}", expression.explain_depth);
    let deep = |leaf: &str| format!("{}{leaf}{}", r#"{"and":"#.repeat(60), "}".repeat(60));
    assert!(check(&expression, &deep("1")).is_ok());
    assert_eq!(check(&expression, &deep("\"s\"")).unwrap_err().to_string(), "does not fit the schema");
    assert_ne!(check(&expression, r#"{"and":"s"}"#).unwrap_err().to_string(), "does not fit the schema");
}

/// C49
#[test]
fn patterns_are_matched_in_linear_time_and_those_that_cannot_be_are_refused() {
    let victim = compiled(&json!({"pattern": "^(a+)+$"}));
    let attack = format!("\"{}!\"", "a".repeat(1 << 20));
    assert!(check(&victim, &attack).is_err());
    assert!(matches!(refused(&json!({"pattern": "(?=a)b"})), Unusable::Invalid { .. }));
    assert!(matches!(refused(&json!({"pattern": "(a)\\1"})), Unusable::Invalid { .. }));
    assert!(matches!(refused(&json!({"pattern": "((a{100}){100}){100}"})), Unusable::Invalid { .. }));
    let many: Vec<_> = (0..200).map(|n| json!({"pattern": format!("a{n}")})).collect();
    assert!(matches!(refused(&json!({"prefixItems": many})), Unusable::TooLarge { what: "regular expressions", .. }));
    for honest in ["^.{0,1024}$", r"^\w{1,255}$", r"^[\p{L}\d._%+-]+@[A-Za-z0-9.-]+$", r"^\d{4}-\d{2}-\d{2}T"] {
        assert!(Compiled::new(json!({"pattern": honest}).to_string().as_bytes()).is_ok(), "{honest}");
    }
}

/// C49
#[test]
fn schemas_over_the_bounds_are_refused() {
    let wide = |count: usize| {
        let properties: serde_json::Map<_, _> = (0..count).map(|n| (format!("p{n}"), json!(true))).collect();
        json!({"type": "object", "properties": properties})
    };
    compiled(&wide(4000));
    assert!(Compiled::new(wide(10_000).to_string().as_bytes()).is_err());
    assert!(matches!(refused(&json!({"description": "x".repeat(SCHEMA_BYTES)})), Unusable::Text(_)));
    let objects: Vec<_> = (0..5000).map(|_| json!({})).collect();
    assert!(matches!(refused(&json!({"prefixItems": objects})), Unusable::TooLarge { what: "subschemas", .. }));
    let mut deep = json!({});
    for _ in 0..70 {
        deep = json!({"items": deep});
    }
    assert!(matches!(refused(&deep), Unusable::Text(_)));
}

/// C49: chains of references are as deep as a schema is long; neither compiling nor validating may end the stack.
#[test]
fn long_chains_of_references_do_not_end_the_stack() {
    on_a_small_stack(|| {
        let chain = |count: usize, link: fn(Value) -> Value| {
            let mut defs: serde_json::Map<_, _> =
                (0..count).map(|n| (format!("d{n}"), link(json!({"$ref": format!("#/$defs/d{}", n + 1)})))).collect();
            defs.insert(format!("d{count}"), json!({"type": "integer"}));
            json!({"$ref": "#/$defs/d0", "$defs": defs})
        };
        assert!(matches!(refused(&chain(2000, |next| next)), Unusable::TooLarge { .. }));
        assert!(matches!(refused(&chain(2000, |next| json!({"items": next}))), Unusable::TooLarge { .. }));
        compiled(&chain(60, |next| json!({"items": next})));
        // The longest permitted chain for one value, at every level of the deepest permitted instance.
        let mut defs: serde_json::Map<_, _> =
            (0..10).map(|n| (format!("d{n}"), json!({"allOf": [{"$ref": format!("#/$defs/d{}", n + 1)}]}))).collect();
        defs.insert("d10".to_owned(), json!({"type": "array", "items": {"$ref": "#/$defs/d0"}}));
        let recursive = compiled(&json!({"$ref": "#/$defs/d0", "$defs": defs}));
        let deep = format!("{}{}", "[".repeat(INSTANCE_DEPTH), "]".repeat(INSTANCE_DEPTH));
        assert!(check(&recursive, &deep).is_ok());
        let deep = format!("{}1{}", "[".repeat(INSTANCE_DEPTH), "]".repeat(INSTANCE_DEPTH));
        assert!(check(&recursive, &deep).is_err());
    });
}

#[test]
fn an_instance_of_a_megabyte_is_judged_and_one_over_the_limit_refused() {
    let strings = compiled(&json!({"type": "array", "items": {"type": "string"}}));
    let megabyte = format!("[{}\"\"]", "\"aaaaaaa\",".repeat(100_000));
    assert!(megabyte.len() >= 1_000_000);
    assert!(check(&strings, &megabyte).is_ok());
    let wrong = format!("[{}1]", "\"aaaaaaa\",".repeat(100_000));
    assert_eq!(check(&strings, &wrong).unwrap_err().to_string(), "/100000: must be string (type)");
    let view = view_json(megabyte.as_bytes(), &Limits::default()).unwrap();
    assert!(matches!(strings.check(view, 1000), Err(Mismatch::Unjudgeable(_))));
}

/// C49: neither alone is over a bound.
#[test]
fn a_large_instance_of_a_costly_schema_is_refused() {
    let numbers: Vec<_> = (0..16_000).collect();
    let costly = compiled(&json!({"items": {"enum": numbers}}));
    assert!(check(&costly, "[1,2,3]").is_ok());
    let long = format!("[{}1]", "1,".repeat(200_000));
    assert!(matches!(check(&costly, &long), Err(Mismatch::Unjudgeable(_))));
    let patterns: Vec<_> = (0..128).map(|n| json!({"pattern": format!("a{n}b")})).collect();
    let costly = compiled(&json!({"allOf": patterns}));
    assert!(matches!(check(&costly, &format!("\"{}\"", "a".repeat(4_000_000))), Err(Mismatch::Unjudgeable(_))));
}

#[test]
fn an_instance_deeper_than_the_limit_is_refused() {
    let anything = compiled(&json!(true));
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(check(&anything, &deep(INSTANCE_DEPTH)).is_ok());
    // One level more, and more than the parser goes down.
    for depth in [INSTANCE_DEPTH + 1, 1000] {
        assert!(matches!(check(&anything, &deep(depth)), Err(Mismatch::Unjudgeable(_))), "{depth}");
    }
}

#[test]
fn numbers_beyond_64_bits_are_still_held_to_bounds_within_them() {
    let amount = compiled(
        &json!({"type": "integer", "minimum": -9_223_372_036_854_775_807_i64, "maximum": 18_446_744_073_709_551_615_u64}),
    );
    for fits in ["0", "-1", "18446744073709551615", "-9223372036854775807", "1.0"] {
        assert!(check(&amount, fits).is_ok(), "{fits}");
    }
    for beyond in [
        "18446744073709551616",
        "123456789012345678901234567890",
        "1e300",
        "-9223372036854775808",
        "-123456789012345678901234567890",
    ] {
        assert!(check(&amount, beyond).is_err(), "{beyond}");
    }
    assert!(matches!(check(&amount, "1e400"), Err(Mismatch::Unjudgeable(_))));
}

/// I26: the judged value and the forwarded text must not be read differently.
#[test]
fn escaped_names_are_judged_by_what_they_mean() {
    let closed = compiled(&json!({"properties": {"ab": {"maximum": 5}}, "additionalProperties": false}));
    assert!(check(&closed, r#"{"\u0061b":5}"#).is_ok());
    assert!(check(&closed, r#"{"\u0061b":6}"#).is_err());
}

#[test]
fn texts_name_places_and_rules_but_nothing_of_the_instance() {
    let schema = json!({
        "type": "object",
        "properties": {
            "amount": {"type": "integer", "maximum": 500},
            "currency": {"enum": ["EUR", "USD"]},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "tags": {"type": "object", "additionalProperties": {"type": "string"}},
            "code": {"pattern": "^[A-Z]+$"},
        },
        "required": ["amount"],
        "additionalProperties": false,
    });
    let secret = json!({"tags": {"s3cret-key": 7777}, "s3cret-name": "s3cret", "code": "s3cret", "note": 7777, "currency": "s3cret", "amount": 7777});
    for (instance, text) in [
        (json!({"amount": 7777}), "/amount: must be <= 500 (maximum)"),
        (json!({}), "/: must have the property \"amount\" (required)"),
        (json!({"amount": 1, "currency": "s3cret"}), "/currency: must be one of \"EUR\", \"USD\" (enum)"),
        (json!({"amount": 1, "note": 7777}), "/note: must be string or null (anyOf)"),
        (json!({"amount": 1, "tags": {"s3cret-key": 7777}}), "/tags/*: must be string (type)"),
        (json!({"amount": 1, "code": "s3cret"}), "/code: must match `^[A-Z]+$` (pattern)"),
        (
            json!({"amount": 1, "s3cret-name": 1}),
            "/: must not have properties that the schema does not name (additionalProperties)",
        ),
    ] {
        assert_eq!(text_of(&schema, &instance), text);
    }
    let text = text_of(&schema, &secret);
    assert!(!text.contains("s3cret") && !text.contains("7777"), "{text}");
    assert!(text.ends_with("more") && text.len() < 1000, "{text}");
}

#[test]
fn long_words_of_a_schema_are_cut() {
    let options: Vec<_> = (0..1000).map(|n| format!("option {n}")).collect();
    let text = text_of(&json!({"enum": options}), &json!(1));
    assert!(text.len() < 300 && text.ends_with('…'), "{text}");
}

/// C49: what would defeat the bounds is refused by name, so that an operator knows why.
#[test]
fn references_the_survey_cannot_follow_are_refused() {
    for (schema, keyword) in [
        (json!({"$dynamicRef": "#a"}), "$dynamicRef"),
        (json!({"$ref": "#a", "$defs": {"a": {"$anchor": "a"}}}), "$anchor"),
        (json!({"properties": {"a": {"$id": "https://example.com/a"}}}), "$id"),
    ] {
        assert_eq!(refused(&schema), Unusable::Unsupported { keyword });
    }
    assert_eq!(refused(&json!({"$ref": "#/$defs/none"})), Unusable::LostReference);
    // The root's own name, a property called `$id`, and an escaped pointer are all ordinary.
    compiled(
        &json!({"$id": "https://example.com/root", "$ref": "https://example.com/root#/$defs/a", "$defs": {"a": {}}}),
    );
    compiled(&json!({"properties": {"$id": {"type": "string"}, "$ref": {"type": "string"}}}));
    let escaped = compiled(&json!({"$ref": "#/$defs/a%20b~1c", "$defs": {"a b/c": {"type": "integer"}}}));
    assert!(check(&escaped, "1").is_ok() && check(&escaped, "\"\"").is_err());
}

/// C49: the walk knows the far end of this chain before it meets its near end, so it counts no long path; the validator meets the
/// near end first.
#[test]
fn a_long_path_found_from_its_far_end_does_not_end_the_stack() {
    on_a_small_stack(|| {
        let count = 2000;
        let link = |n: usize| match n {
            0 => json!({"type": "string"}),
            n => json!({"items": {"$ref": format!("#/properties/p{:05}", n - 1)}}),
        };
        let links: serde_json::Map<_, _> = (0..count).map(|n| (format!("p{n:05}"), link(n))).collect();
        let first = format!("#/properties/p{:05}", count - 1);
        let schema = compiled(&json!({ "items": { "$ref": first }, "properties": links }));
        let deep = format!("{}1{}", "[".repeat(INSTANCE_DEPTH), "]".repeat(INSTANCE_DEPTH));
        assert_eq!(check(&schema, &deep), Ok(()));
        assert!(check(&schema, r#"{"p00000":1}"#).is_err());
    });
}
