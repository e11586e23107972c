//! Splices, to the byte. The property tests of the whole reader compare them with changed trees.

use crate::wire::{Direction, Id, Limits, Malformed, Message};

fn to_server(text: &'static str) -> Message {
    Message::read(text.to_owned().into(), Direction::ToServer, &Limits::default()).unwrap()
}

fn to_client(text: &'static str) -> Message {
    Message::read(text.into(), Direction::ToClient, &Limits::default()).unwrap()
}

fn text(message: Result<Message, Malformed>) -> String {
    String::from_utf8(message.unwrap().bytes().to_vec()).unwrap()
}

#[test]
fn meta_is_made_where_it_is_absent() {
    let limits = Limits::default();
    let bare = to_server(r#"{"jsonrpc":"2.0","id":1,"method":"ping" }"#);
    assert_eq!(
        text(bare.edit().set_meta("k", "1").set_meta("l", "\"x\"").apply(&limits)),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"k":1,"l":"x"}} }"#
    );
    let empty = to_server(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{ }}"#);
    assert_eq!(
        text(empty.edit().set_meta("k", "1").apply(&limits)),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"k":1} }}"#
    );
    let full = to_client(r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#);
    assert_eq!(
        text(full.edit().set_meta("k", "1").apply(&limits)),
        r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"k":1},"tools":[]}}"#
    );
}

#[test]
fn a_param_is_put_where_it_is_or_where_params_are_or_params_with_it() {
    let limits = Limits::default();
    for (params, after) in [
        ("", r#","params":{"k":[1]}"#),
        (r#","params":{ }"#, r#","params":{"k":[1] }"#),
        (r#","params":{"n":1.50}"#, r#","params":{"k":[1],"n":1.50}"#),
        (r#","params":{"n":1, "\u006b" : "old" }"#, r#","params":{"n":1, "\u006b" : [1] }"#),
    ] {
        let whole = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list"{params} }}"#);
        let message = Message::read(whole(params).into(), Direction::ToServer, &limits).unwrap();
        assert_eq!(text(message.edit().set_param("k", "[1]").apply(&limits)), whole(after));
    }
    let bare = to_server(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    for smuggled in [r#"1,"x":2"#, "", "1}"] {
        assert_eq!(bare.edit().set_param("k", smuggled).apply(&limits).map(drop), Err(Malformed::EditRefused));
    }
    let twice = bare.edit().set_meta("m", "1").set_param("k", "1").apply(&limits).map(drop);
    assert!(twice.is_err(), "two `params` are refused by the reader");
    let answer = to_client(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(answer.edit().set_param("k", "1").apply(&limits).map(drop), Err(Malformed::EditRefused));
}

/// C22: reserved keys are stripped before a legacy message is forwarded; all else stays byte for byte.
#[test]
fn meta_members_go_with_their_comma_and_nothing_else_moves() {
    let limits = Limits::default();
    let message = to_server(
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta": { "a" : 1 , "b":2, "\u0063":3 },"n":1.50}}"#,
    );
    let without =
        |keys: &[&str]| text(keys.iter().fold(message.edit(), |edit, key| edit.remove_meta(key)).apply(&limits));
    let around =
        |meta: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"_meta": {{{meta}}},"n":1.50}}}}"#);
    assert_eq!(without(&["a"]), around(r#" "b":2, "\u0063":3 "#));
    assert_eq!(without(&["b"]), around(r#" "a" : 1, "\u0063":3 "#));
    assert_eq!(without(&["c"]), around(r#" "a" : 1 , "b":2 "#));
    assert_eq!(without(&["a", "b", "c"]), around("  "));
    assert_eq!(without(&["zzz"]), around(r#" "a" : 1 , "b":2, "\u0063":3 "#));
    let replaced = message.edit().remove_meta("a").remove_meta("b").remove_meta("c").set_meta("d", "4").apply(&limits);
    assert_eq!(text(replaced), around(r#""d":4  "#));
}

#[test]
fn array_elements_go_with_their_commas() {
    let limits = Limits::default();
    let message =
        to_client(r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[ {"name":"a"} , {"name":"b"},{"name":"c"} ]}}"#);
    let tools = message.result_member("tools").unwrap();
    let kept = |keep: &dyn Fn(usize) -> bool| text(message.edit().remove_elements(tools, keep).apply(&limits));
    let around = |tools: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{tools}]}}}}"#);
    assert_eq!(kept(&|_| true), around(r#" {"name":"a"} , {"name":"b"},{"name":"c"} "#));
    assert_eq!(kept(&|index| index != 0), around(r#" {"name":"b"},{"name":"c"} "#));
    assert_eq!(kept(&|index| index != 1), around(r#" {"name":"a"},{"name":"c"} "#));
    assert_eq!(kept(&|index| index != 2), around(r#" {"name":"a"} , {"name":"b"} "#));
    assert_eq!(kept(&|_| false), around("  "));
}

#[test]
fn a_rename_inside_a_dropped_element_goes_with_it() {
    let message = to_client(r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"},{"name":"b"}]}}"#);
    let tools = message.result_member("tools").unwrap();
    let mut edit = message.edit();
    for tool in tools.elements() {
        edit = edit.replace(tool.get("name").unwrap(), "\"srv__x\"");
    }
    let edited = edit.remove_elements(tools, &|index| index == 1).apply(&Limits::default());
    assert_eq!(text(edited), r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"srv__x"}]}}"#);
}

#[test]
fn an_id_is_replaced_but_never_given_to_a_notification() {
    let limits = Limits::default();
    let request = to_server(r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#);
    let edited = request.edit().set_id(&Id::number(9)).apply(&limits).unwrap();
    assert_eq!(edited.id(), Some(&Id::number(9)));
    let notification = to_server(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert_eq!(notification.edit().set_id(&Id::number(9)).apply(&limits).unwrap_err(), Malformed::EditRefused);
    let error = to_client(r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"?"}}"#);
    assert_eq!(error.edit().set_id(&Id::number(9)).apply(&limits).unwrap().id(), Some(&Id::number(9)));
}

#[test]
fn a_value_that_smuggles_members_is_refused() {
    let limits = Limits::default();
    let message = to_server(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#);
    for raw in ["1,\"x\":2", "", "{", "1}", "{\"a\":1,\"a\":2}", "\"\\ud800\"", "nope"] {
        assert_eq!(message.edit().set_meta("k", raw).apply(&limits).unwrap_err(), Malformed::EditRefused, "{raw}");
        let replaced = message.edit().replace(message.name_view().unwrap(), raw).apply(&limits);
        assert_eq!(replaced.unwrap_err(), Malformed::EditRefused, "{raw}");
    }
}

#[test]
fn edits_that_overlap_or_belong_elsewhere_are_refused() {
    let limits = Limits::default();
    let message = to_server(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#);
    let name = message.name_view().unwrap();
    let twice = message.edit().replace(name, "\"b\"").replace(name, "\"c\"");
    assert_eq!(twice.apply(&limits).unwrap_err(), Malformed::EditRefused);
    let nested = message.edit().replace(message.params().unwrap(), r#"{"name":"z"}"#).replace(name, "\"c\"");
    assert_eq!(nested.apply(&limits).unwrap_err(), Malformed::EditRefused);
    let other = to_server(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#);
    let foreign = message.edit().replace(other.name_view().unwrap(), "\"b\"");
    assert!(!foreign.is_noop());
    assert_eq!(foreign.apply(&limits).unwrap_err(), Malformed::EditRefused);
}

#[test]
fn the_outcome_is_read_as_strictly_as_any_message() {
    let limits = Limits::default();
    let message = to_server(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#);
    let outcome = |edit: super::Edit<'_>| edit.apply(&limits).unwrap_err().code();
    assert_eq!(outcome(message.edit().replace(message.name_view().unwrap(), "7")), "name_not_string");
    assert_eq!(outcome(message.edit().set_meta("ProgressToken", "1")), "case_variant_key");
    let tiny = Limits { bytes: message.bytes().len(), ..limits };
    assert_eq!(message.edit().set_meta("k", "1").apply(&tiny).unwrap_err().code(), "too_large");
}

#[test]
fn an_error_has_no_meta_to_set() {
    let error = to_client(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","data":{"_meta":{"k":1}}}}"#);
    assert_eq!(error.edit().set_meta("k", "1").apply(&Limits::default()).unwrap_err(), Malformed::EditRefused);
    assert!(error.edit().remove_meta("k").is_noop());
}
