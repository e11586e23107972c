use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::own::quoted;
use crate::wire::{Direction, Limits, view_json};

#[derive(Clone, Default)]
struct Fields(Vec<(String, Vec<u8>)>);

impl Headers for Fields {
    fn values(&self, name: &str) -> [Option<&[u8]>; 2] {
        let mut values = self.0.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_slice());
        [values.next(), values.next()]
    }

    fn with_prefix(&self, prefix: &str) -> Vec<(String, &[u8])> {
        let fields = self.0.iter().filter(|(field, _)| field.starts_with(prefix));
        fields.map(|(field, value)| (field.clone(), value.as_slice())).collect()
    }
}

/// All of them, in order.
fn outgoing(message: &Message, tool: Option<&Tool>, forwarded: &[(String, String)]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let Ok(()) = super::outgoing(message, tool, forwarded, |name, value| {
        fields.push((name.to_owned(), value.to_owned()));
        Ok::<_, std::convert::Infallible>(())
    });
    fields
}

fn fields(list: &[(&str, &str)]) -> Fields {
    Fields(list.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect())
}

fn read(text: &str) -> Message {
    Message::read(Bytes::copy_from_slice(text.as_bytes()), Direction::ToServer, &Limits::default())
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn request(method: &str, params: &str) -> Message {
    read(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#))
}

fn call(arguments: &str) -> Message {
    request("tools/call", &format!(r#"{{"name":"t","arguments":{arguments}}}"#))
}

fn tool() -> Tool {
    let definition = r#"{"name":"t","inputSchema":{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "count":{"type":"integer","x-mcp-header":"Count"},
        "deep":{"type":"object","properties":{"flag":{"type":"boolean","x-mcp-header":"Flag"}}}}}}"#;
    Tool::from_view(view_json(definition.as_bytes(), &Limits::default()).unwrap()).unwrap()
}

/// A call of `t` with these arguments and these `Mcp-Param-*` fields.
fn check_call(arguments: &str, params: &[(&str, &str)]) -> Result<Vec<(String, String)>, Violation> {
    let mut list = vec![("mcp-method", "tools/call"), ("mcp-name", "t")];
    list.extend(params);
    check_request(&call(arguments), &fields(&list), Some(&tool()))
}

fn check(method: &str, params: &str, list: &[(&str, &str)]) -> Result<Vec<(String, String)>, Violation> {
    check_request(&request(method, params), &fields(list), None)
}

fn missing(header: &'static str) -> Violation {
    Violation::HeaderMissing { header: header.into() }
}

#[test]
fn c26_the_method_header_is_required_on_requests() {
    assert_eq!(check("tools/list", "{}", &[]), Err(missing(METHOD)));
    assert_eq!(check("tools/list", "{}", &[("mcp-method", "tools/list")]), Ok(Vec::new()));
    assert_eq!(check("tools/list", "{}", &[("mcp-method", "prompts/list")]), Err(mismatch(METHOD)));
    assert_eq!(check("vendor/x", "{}", &[]), Err(missing(METHOD)));
}

#[test]
fn c26_the_name_header_repeats_name_uri_or_task_id() {
    for (method, params, name) in [
        ("tools/call", r#"{"name":"t"}"#, "t"),
        ("prompts/get", r#"{"name":"p"}"#, "p"),
        ("resources/read", r#"{"uri":"file:///a,b"}"#, "file:///a,b"),
        ("tasks/get", r#"{"taskId":"k"}"#, "k"),
        ("tasks/update", r#"{"taskId":"k"}"#, "k"),
        ("tasks/cancel", r#"{"taskId":"k"}"#, "k"),
    ] {
        let method_only = [("mcp-method", method)];
        assert_eq!(check(method, params, &method_only), Err(missing(NAME)), "{method}");
        assert_eq!(check(method, params, &[("mcp-method", method), ("mcp-name", name)]), Ok(Vec::new()), "{method}");
        let other = [("mcp-method", method), ("mcp-name", "other")];
        assert_eq!(check(method, params, &other), Err(mismatch(NAME)), "{method}");
    }
}

#[test]
fn c26_a_name_header_where_the_body_names_nothing_is_a_mismatch() {
    let given = [("mcp-method", "tools/list"), ("mcp-name", "t")];
    assert_eq!(check("tools/list", "{}", &given), Err(mismatch(NAME)));
    let given = [("mcp-method", "completion/complete"), ("mcp-name", "p")];
    let params = r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":""}}"#;
    assert_eq!(check("completion/complete", params, &given), Ok(Vec::new()));
    let given = [("mcp-method", "vendor/x"), ("mcp-name", "anything")];
    assert_eq!(check("vendor/x", "{}", &given), Ok(Vec::new()));
}

#[test]
fn c28_values_are_compared_with_case_and_without_outer_white_space() {
    assert_eq!(check("tools/list", "{}", &[("mcp-method", "TOOLS/LIST")]), Err(mismatch(METHOD)));
    assert_eq!(check("tools/list", "{}", &[("mcp-method", " \ttools/list\t ")]), Ok(Vec::new()));
    let named = |name| check("tools/call", r#"{"name":"t"}"#, &[("mcp-method", "tools/call"), ("mcp-name", name)]);
    assert_eq!(named("  t  "), Ok(Vec::new()));
    assert_eq!(named("T"), Err(mismatch(NAME)));
    assert_eq!(named("\u{b}t"), Err(mismatch(NAME)));
}

#[test]
fn c29_an_encoded_name_is_decoded_before_it_is_compared() {
    let named = |body: &str, name: &str| {
        check("tools/call", &format!(r#"{{"name":"{body}"}}"#), &[("mcp-method", "tools/call"), ("mcp-name", name)])
    };
    assert_eq!(named("世界", "=?base64?5LiW55WM?="), Ok(Vec::new()));
    assert_eq!(named("t", "=?base64?dA==?="), Ok(Vec::new()));
    assert_eq!(named("t", "=?base64?dA?="), Err(mismatch(NAME)));
    assert_eq!(named("t", "=?BASE64?dA==?="), Err(mismatch(NAME)));
    assert_eq!(named("=?BASE64?dA==?=", "=?BASE64?dA==?="), Ok(Vec::new()));
    assert_eq!(named("世界", "世界"), Err(mismatch(NAME)));
}

#[test]
fn c29_the_method_has_no_encoded_form() {
    let encoded = [("mcp-method", "=?base64?dG9vbHMvbGlzdA==?=")];
    assert_eq!(check("tools/list", "{}", &encoded), Err(mismatch(METHOD)));
}

#[test]
fn c30_values_are_compared_without_unicode_normalization() {
    let composed = encode_value("\u{e9}");
    let given = [("mcp-method", "tools/call"), ("mcp-name", &*composed)];
    assert_eq!(check("tools/call", "{\"name\":\"e\u{301}\"}", &given), Err(mismatch(NAME)));
    assert_eq!(check("tools/call", "{\"name\":\"\u{e9}\"}", &given), Ok(Vec::new()));
}

#[test]
fn c30_repeated_fields_are_refused_even_when_they_agree() {
    let repeated = |header| Err(Violation::HeaderRepeated { header });
    let twice = [("mcp-method", "tools/list"), ("mcp-method", "tools/list")];
    assert_eq!(check("tools/list", "{}", &twice), repeated(METHOD));
    let twice = [("mcp-method", "tools/call"), ("mcp-name", "t"), ("mcp-name", "t")];
    assert_eq!(check("tools/call", r#"{"name":"t"}"#, &twice), repeated(NAME));
    let region = ("mcp-param-region", "a");
    assert_eq!(check_call(r#"{"region":"a"}"#, &[region, region]), repeated(SOME_PARAM));
    let unknown = ("mcp-param-unknown", "a");
    assert_eq!(check_call("{}", &[unknown, unknown]), repeated(SOME_PARAM));
}

#[test]
fn l10_a_name_with_a_comma_is_one_name() {
    let given = [("mcp-method", "tools/call"), ("mcp-name", "a,b")];
    assert_eq!(check("tools/call", r#"{"name":"a,b"}"#, &given), Ok(Vec::new()));
    assert_eq!(check("tools/call", r#"{"name":"a"}"#, &given), Err(mismatch(NAME)));
}

#[test]
fn c31_a_recognized_header_must_repeat_the_argument() {
    let given = check_call(r#"{"region":"eu"}"#, &[("mcp-param-region", " eu ")]);
    assert_eq!(given, Ok(vec![("mcp-param-region".to_owned(), "eu".to_owned())]));
    assert_eq!(check_call(r#"{"region":"eu"}"#, &[("mcp-param-region", "us")]), Err(mismatch("mcp-param-region")));
    assert_eq!(check_call(r#"{"region":"eu"}"#, &[("mcp-param-region", "EU")]), Err(mismatch("mcp-param-region")));
    assert_eq!(check_call(r#"{"region":"eu"}"#, &[]), Err(missing("mcp-param-region")));
    assert_eq!(check_call(r#"{"region":""}"#, &[("mcp-param-region", "")]).map(|given| given.len()), Ok(1));
    assert_eq!(check_call(r#"{"region":""}"#, &[]), Err(missing("mcp-param-region")));
}

#[test]
fn c31_a_recognized_header_without_an_argument_is_a_mismatch() {
    for arguments in ["{}", r#"{"region":null}"#] {
        assert_eq!(check_call(arguments, &[]), Ok(Vec::new()));
        assert_eq!(check_call(arguments, &[("mcp-param-region", "eu")]), Err(mismatch("mcp-param-region")));
        assert_eq!(check_call(arguments, &[("mcp-param-region", "")]), Err(mismatch("mcp-param-region")));
        assert_eq!(check_call(arguments, &[("mcp-param-region", "null")]), Err(mismatch("mcp-param-region")));
    }
    let bare = request("tools/call", r#"{"name":"t"}"#);
    let given = fields(&[("mcp-method", "tools/call"), ("mcp-name", "t"), ("mcp-param-region", "eu")]);
    assert_eq!(check_request(&bare, &given, Some(&tool())), Err(mismatch("mcp-param-region")));
}

#[test]
fn c31_invalid_characters_in_a_parameter_header_are_refused() {
    assert_eq!(check_call(r#"{"region":"ü"}"#, &[("mcp-param-region", "ü")]), Err(mismatch(SOME_PARAM)));
    assert_eq!(check_call("{}", &[("mcp-param-unknown", "a\u{1}b")]), Err(mismatch(SOME_PARAM)));
    let bad = [("mcp-param-region", "=?base64?*?=")];
    assert_eq!(check_call(r#"{"region":"a"}"#, &bad), Err(mismatch("mcp-param-region")));
}

#[test]
fn c31_nested_arguments_are_read_at_their_exact_path() {
    assert_eq!(check_call(r#"{"deep":{"flag":true}}"#, &[]), Err(missing("mcp-param-flag")));
    assert!(check_call(r#"{"deep":{"flag":true}}"#, &[("mcp-param-flag", "true")]).is_ok());
    assert_eq!(check_call(r#"{"flag":true}"#, &[("mcp-param-flag", "true")]), Err(mismatch("mcp-param-flag")));
    assert!(check_call(r#"{"flag":true}"#, &[]).is_ok());
    assert!(check_call(r#"{"deep":7}"#, &[]).is_ok());
}

#[test]
fn c31_an_argument_that_is_no_scalar_cannot_be_mirrored() {
    assert_eq!(check_call(r#"{"region":{}}"#, &[]), Err(missing("mcp-param-region")));
    assert_eq!(check_call(r#"{"region":["a"]}"#, &[("mcp-param-region", "a")]), Err(mismatch("mcp-param-region")));
}

#[test]
fn c32_integers_are_compared_as_numbers() {
    let counted = |body: &str, header: &str| {
        check_call(&format!(r#"{{"count":{body}}}"#), &[("mcp-param-count", header)]).is_ok()
    };
    assert!(counted("42", "42"));
    assert!(counted("42", "42.0"));
    assert!(counted("42.0", "42"));
    assert!(counted("42", "=?base64?NDI=?="));
    assert!(counted("9007199254740993", "9007199254740993"));
    assert!(!counted("9007199254740993", "9007199254740992"));
    assert!(!counted("42", "43"));
    assert!(!counted("42", "042"));
    assert!(!counted("42", "+42"));
    assert!(!counted("42", ""));
    assert!(!counted("42", "4 2"));
}

#[test]
fn c32_strings_that_look_like_numbers_are_compared_as_text() {
    assert!(check_call(r#"{"region":"42"}"#, &[("mcp-param-region", "42.0")]).is_err());
    assert!(check_call(r#"{"count":"42"}"#, &[("mcp-param-count", "42.0")]).is_err());
}

#[test]
fn c32_booleans_are_lower_case() {
    for (header, fits) in [("true", true), ("True", false), ("TRUE", false), ("1", false), ("false", false)] {
        let checked = check_call(r#"{"deep":{"flag":true}}"#, &[("mcp-param-flag", header)]);
        assert_eq!(checked.is_ok(), fits, "{header}");
    }
}

#[test]
fn e2_an_unknown_parameter_header_is_handed_on_as_it_is() {
    let given = check_call("{}", &[("mcp-param-zone", " =?base64?not really?= ")]);
    assert_eq!(given, Ok(vec![("mcp-param-zone".to_owned(), "=?base64?not really?=".to_owned())]));
    let unknown_tool = check(
        "tools/call",
        r#"{"name":"t"}"#,
        &[("mcp-method", "tools/call"), ("mcp-name", "t"), ("mcp-param-region", "x")],
    );
    assert_eq!(unknown_tool, Ok(vec![("mcp-param-region".to_owned(), "x".to_owned())]));
}

#[test]
fn l2_headers_of_a_notification_are_optional_and_true() {
    let message = read(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    let check = |list: &[(&str, &str)]| check_notification(&message, &fields(list));
    assert_eq!(check(&[]), Ok(()));
    assert_eq!(check(&[("mcp-method", "notifications/cancelled")]), Ok(()));
    assert_eq!(check(&[("mcp-method", "notifications/progress")]), Err(mismatch(METHOD)));
    assert_eq!(check(&[("mcp-name", "t")]), Err(mismatch(NAME)));
    let twice = [("mcp-method", "notifications/cancelled"), ("mcp-method", "notifications/cancelled")];
    assert_eq!(check(&twice), Err(Violation::HeaderRepeated { header: METHOD }));
}

#[test]
fn d1_outgoing_fields_name_method_and_subject() {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let list = request("tools/list", "{}");
    assert_eq!(outgoing(&list, None, &[]), [field(METHOD, "tools/list")]);
    let named = request("prompts/get", r#"{"name":" p"}"#);
    assert_eq!(outgoing(&named, None, &[]), [field(METHOD, "prompts/get"), field(NAME, "=?base64?IHA=?=")]);
    let completion = request(
        "completion/complete",
        r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":""}}"#,
    );
    assert_eq!(outgoing(&completion, None, &[]), [field(METHOD, "completion/complete")]);
}

#[test]
fn d3_annotated_arguments_are_written_anew_and_unknown_fields_passed_on() {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let message = call(r#"{"region":"世界","count":42.0,"deep":{"flag":false},"other":1}"#);
    let forwarded = [field("mcp-param-region", "stale"), field("mcp-param-zone", "z")];
    assert_eq!(
        outgoing(&message, Some(&tool()), &forwarded),
        [
            field(METHOD, "tools/call"),
            field(NAME, "t"),
            field("mcp-param-count", "42"),
            field("mcp-param-flag", "false"),
            field("mcp-param-region", "=?base64?5LiW55WM?="),
            field("mcp-param-zone", "z"),
        ]
    );
}

#[test]
fn d3_null_and_absent_arguments_send_no_field_whatever_the_client_sent() {
    let message = call(r#"{"region":null}"#);
    let stale = [("mcp-param-region".to_owned(), "x".to_owned())];
    let sent = outgoing(&message, Some(&tool()), &stale);
    assert!(sent.iter().all(|(name, _)| !name.starts_with(PARAM_PREFIX)));
}

#[test]
fn d1_no_value_can_break_out_of_its_field() {
    let method = request(r"a\r\nx-evil: 1", "{}");
    let name = request("tools/call", r#"{"name":"t\r\nx-evil: 1"}"#);
    for message in [method, name] {
        let plain = |(_, value): &(String, String)| value.bytes().all(|byte| (0x20..0x7F).contains(&byte));
        assert!(outgoing(&message, None, &[]).iter().all(plain));
    }
}

proptest! {
    #[test]
    fn what_goes_out_is_accepted_where_it_comes_in(
        name in any::<String>(),
        region in proptest::option::of(any::<String>()),
        count in proptest::option::of(prop_oneof![any::<i64>().prop_map(|n| n.to_string()), "-?[1-9][0-9]{0,3}(\\.[0-9]{1,3})?(e[0-9])?"]),
        flag in proptest::option::of(any::<bool>()),
    ) {
        let or_null = |text: Option<String>| text.unwrap_or_else(|| "null".to_owned());
        let message = request("tools/call", &format!(
            r#"{{"name":{},"arguments":{{"region":{},"count":{},"deep":{{"flag":{}}}}}}}"#,
            quoted(&name),
            or_null(region.as_deref().map(quoted)),
            or_null(count),
            or_null(flag.map(|flag| flag.to_string())),
        ));
        let sent = outgoing(&message, Some(&tool()), &[]);
        let arrived = Fields(sent.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect());
        let given = check_request(&message, &arrived, Some(&tool()));
        prop_assert!(given.is_ok(), "{:?}", given);
        prop_assert_eq!(outgoing(&message, Some(&tool()), &given.unwrap()), sent);
    }

    #[test]
    fn any_headers_are_answered(
        method in any::<Vec<u8>>(),
        name in any::<Vec<u8>>(),
        param in any::<Vec<u8>>(),
    ) {
        let list = [(METHOD, method), (NAME, name), ("mcp-param-region", param)];
        let given = Fields(list.map(|(name, value)| (name.to_owned(), value)).to_vec());
        let accepted = check_request(&call(r#"{"region":"eu"}"#), &given, Some(&tool()));
        if let Ok(forwarded) = accepted {
            prop_assert_eq!(decode_value(forwarded[0].1.as_bytes()).unwrap(), "eu");
        }
    }
}
