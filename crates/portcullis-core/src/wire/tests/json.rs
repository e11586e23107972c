//! Generators: JSON text in many spellings, messages with every kind of member in the wrong place, damaged bytes.

use proptest::{collection::vec, prelude::*, sample::select, string::string_regex};

/// Space between tokens.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => string_regex("[ \t\r\n]{1,3}").unwrap()]
}

/// Few keys, so that objects repeat themselves often, in spellings that hide it.
fn key() -> impl Strategy<Value = String> {
    let keys = [
        r#""a""#,
        r#""\u0061""#,
        r#""b""#,
        r#""id""#,
        r#""\u0069d""#,
        r#""name""#,
        r#""""#,
        r#""\u0000""#,
        r#""é""#,
        r#""\u00e9""#,
        r#""\ud83d\ude00""#,
        r#""😀""#,
        r#""k\n""#,
        r#""k\u000a""#,
        r#""long key, long key, long key""#,
    ];
    prop_oneof![4 => select(keys.to_vec()).prop_map(str::to_owned), 3 => string()]
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        2 => string_regex(r#""([a-z ]|\\u00[0-7][0-9a-fA-F]|\\[bfnrt/"\\]|é|😀|\\ud83d\\ude00){0,80}""#).unwrap(),
    ]
}

fn number() -> impl Strategy<Value = String> {
    string_regex(r"-?(0|[1-9][0-9]{0,22})(\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?").unwrap()
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => select(vec!["null", "true", "false"]).prop_map(str::to_owned),
        2 => number(),
        2 => string(),
    ]
}

fn object(value: impl Strategy<Value = String>, size: usize) -> impl Strategy<Value = String> {
    let member = (space(), key(), space(), space(), value, space())
        .prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
    vec(member, 0..size).prop_map(|members| format!("{{{}}}", members.join(",")))
}

fn array(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let item = (space(), value, space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
    vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(",")))
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(7, 40, 5, |inner| prop_oneof![array(inner.clone()), object(inner, 5)])
}

/// A JSON text; sometimes an object with enough keys to be sorted.
pub(super) fn any_json() -> impl Strategy<Value = String> {
    let text = prop_oneof![6 => value(), 1 => object(scalar(), 40)];
    (space(), text, space()).prop_map(|(a, text, b)| format!("{a}{text}{b}"))
}

/// An array without space around it.
pub(super) fn any_array() -> impl Strategy<Value = String> {
    array(value())
}

/// Values that envelope members have, or should not have.
fn odd_value() -> impl Strategy<Value = String> {
    let odd = [
        "null",
        "1",
        "-0",
        "1.0",
        "1e0",
        r#""a""#,
        r#""\u0061""#,
        "{}",
        "[]",
        "true",
        r#""2.0""#,
        r#""tools/call""#,
        r#"{"code":1,"message":"m"}"#,
        r#"{"_meta":{"progressToken":1}}"#,
        r#"{"name":"n","arguments":{"x":[1]}}"#,
        r#"{"uri":"file:///a","taskId":"t"}"#,
        r#"{"ref":{"type":"ref/prompt","name":"p"}}"#,
        r#"{"requestId":"r"}"#,
    ];
    prop_oneof![6 => select(odd.to_vec()).prop_map(str::to_owned), 1 => value()]
}

fn method() -> impl Strategy<Value = String> {
    let methods = [
        r#""tools/call""#,
        r#""tools\/call""#,
        r#""tools/list""#,
        r#""ping""#,
        r#""resources/read""#,
        r#""tasks/get""#,
        r#""completion/complete""#,
        r#""notifications/cancelled""#,
        r#""notifications/progress""#,
        r#""custom/method""#,
        r#""initialize""#,
        r#""notifications/initialized""#,
        "7",
    ];
    select(methods.to_vec()).prop_map(str::to_owned)
}

/// Mostly well-formed messages, with members missing, repeated, misspelled and of the wrong type.
pub(super) fn any_message() -> impl Strategy<Value = String> {
    let optional = |name: &'static str, value: BoxedStrategy<String>| {
        proptest::option::of(value.prop_map(move |value| format!("\"{name}\":{value}")))
    };
    let id = prop_oneof![Just("7".to_owned()), string(), odd_value()].boxed();
    let params = prop_oneof![3 => params(), 1 => odd_value()].boxed();
    let extra = prop_oneof![
        Just(r#""ID":1"#.to_owned()),
        Just(r#""x":{"a":1}"#.to_owned()),
        Just(r#""result":{"_meta":{"a":1},"b":[1,2]}"#.to_owned()),
        Just(r#""error":{"code":-1,"message":"no"}"#.to_owned()),
    ];
    let members = (
        prop_oneof![9 => Just(Some("\"jsonrpc\":\"2.0\"".to_owned())), 1 => optional("jsonrpc", odd_value().boxed())],
        optional("id", id),
        prop_oneof![4 => method().prop_map(|method| Some(format!("\"method\":{method}"))), 1 => Just(None)],
        optional("params", params),
        proptest::option::weighted(0.3, extra),
    );
    let members = members.prop_map(|(a, b, c, d, e)| [a, b, c, d, e].into_iter().flatten().collect::<Vec<_>>());
    members.prop_shuffle().prop_map(|members| format!("{{{}}}", members.join(", ")))
}

fn params() -> impl Strategy<Value = String> {
    let names =
        ["name", "arguments", "uri", "_meta", "taskId", "ref", "requestId", "progressToken", "Name", "x", "\\u0078"];
    let member = (select(names.to_vec()), odd_value()).prop_map(|(name, value)| format!("\"{name}\" : {value}"));
    vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(",")))
}

/// A text with up to three bytes changed, added or lost.
pub(super) fn mutated(text: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let sharp = select(b"\"\\{}[]:, \t\n\x00\x1f\x7f\x80\xc3\xef\xf0\xed\xa0\x2d+.eE0u/".to_vec());
    let change = (any::<prop::sample::Index>(), 0..4_u8, prop_oneof![4 => sharp, 1 => any::<u8>()]);
    (text, vec(change, 1..4)).prop_map(|(text, changes)| {
        let mut bytes = text.into_bytes();
        for (place, what, byte) in changes {
            let at = place.index(bytes.len() + 1);
            match what {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.truncate(at),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

/// Runs of the pieces that JSON is made of, in no order.
pub(super) fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"\"",
        b"\"a\"",
        b"\"a\":",
        b"1",
        b"-",
        b"0",
        b".",
        b"e",
        b"true",
        b"null",
        b"\\u",
        b"\\ud800",
        b"\\udc00",
        b"\\",
        b" ",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80",
        b"\x00",
        b"\x1f",
        b"[[",
        b"]]",
    ];
    vec(select(pieces), 0..12).prop_map(|pieces| pieces.concat())
}
