//! Whole messages, in each direction: what changes, and that nothing else does.

use std::sync::Arc;

use bytes::Bytes;

use super::{names, offering};
use crate::catalogue::Catalogue;
use crate::naming::{Placed, Prefix, Unplaced, cursor, with_cursor};
use crate::wire::{Direction, Id, Limits, Malformed, Message};

fn read(text: &str, direction: Direction) -> Message {
    Message::read(Bytes::from(text.to_owned()), direction, &Limits::default()).unwrap()
}

fn known() -> [Arc<Catalogue>; 2] {
    [offering(&["t", "only"]), offering(&["t"])]
}

/// What clients see of a result of the first server, `a`.
fn result(method: Option<&str>, result: &str) -> String {
    let head = r#"{"jsonrpc":"2.0","id":1,"result":"#;
    let message = read(&format!("{head}{result}}}"), Direction::ToClient);
    let shown = names(&["a", "b"], Prefix::Always).expose(0, &message, method, &known(), &Limits::default()).unwrap();
    let text = std::str::from_utf8(shown.bytes()).unwrap();
    text.strip_prefix(head).unwrap().strip_suffix('}').unwrap().to_owned()
}

fn asked(method: &str, params: &str) -> String {
    let head = format!(r#"{{"jsonrpc":"2.0","method":"{method}","#);
    let id = if method.starts_with("notifications/") { "" } else { r#""id":1,"# };
    let message = read(&format!(r#"{head}{id}"params":{params}}}"#), Direction::ToClient);
    let shown = names(&["a", "b"], Prefix::Always).expose(0, &message, None, &known(), &Limits::default()).unwrap();
    let text = std::str::from_utf8(shown.bytes()).unwrap();
    text.split_once(r#""params":"#).unwrap().1.strip_suffix('}').unwrap().to_owned()
}

fn request(method: &str, params: &str) -> Message {
    read(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#), Direction::ToServer)
}

fn notification(method: &str, params: &str) -> Message {
    read(&format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#), Direction::ToServer)
}

fn place(message: &Message) -> Result<Placed, Unplaced> {
    names(&["a", "b"], Prefix::Always).place(message, &known(), &Limits::default())
}

fn params(message: &Message) -> &str {
    message.params().unwrap().text()
}

fn one(message: &Message) -> (usize, String) {
    match place(message).unwrap() {
        Placed::One { server, message } => (server, params(&message).to_owned()),
        other => panic!("{other:?}"),
    }
}

fn all(message: &Message) -> Vec<(usize, Message)> {
    match place(message).unwrap() {
        Placed::All(all) => all,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lists_are_shown_with_names_uris_and_views_of_their_server() {
    for (method, list, shown) in [
        (
            "tools/list",
            r#"{ "tools":[{"name":"t" , "_meta":{"ui":{"resourceUri":"ui://v","x":1},"ui/resourceUri":"ui://v","y":"ui://v"}}, {"name":"only","description":"t"}],"nextCursor":"t"}"#,
            r#"{ "tools":[{"name":"a__t" , "_meta":{"ui":{"resourceUri":"ui://a/v","x":1},"ui/resourceUri":"ui://a/v","y":"ui://v"}}, {"name":"a__only","description":"t"}],"nextCursor":"t"}"#,
        ),
        (
            "tools/list",
            r#"{"tools":[{"name":"\u0074","_meta":{"openai/outputTemplate":"ui://v"}}]}"#,
            r#"{"tools":[{"name":"a__t","_meta":{"openai/outputTemplate":"ui://a/v"}}]}"#,
        ),
        (
            "prompts/list",
            r#"{"prompts":[{"name":"t","arguments":[{"name":"t"}]}]}"#,
            r#"{"prompts":[{"name":"a__t","arguments":[{"name":"t"}]}]}"#,
        ),
        (
            "resources/list",
            r#"{"resources":[{"name":"t","uri":"file:///x"}]}"#,
            r#"{"resources":[{"name":"t","uri":"a+file:///x"}]}"#,
        ),
        (
            "resources/templates/list",
            r#"{"resourceTemplates":[{"name":"t","uriTemplate":"file:///{x}"}]}"#,
            r#"{"resourceTemplates":[{"name":"t","uriTemplate":"a+file:///{x}"}]}"#,
        ),
        (
            "tasks/list",
            r#"{"tasks":[{"taskId":"1"},{"taskId":"2"}]}"#,
            r#"{"tasks":[{"taskId":"a__1"},{"taskId":"a__2"}]}"#,
        ),
    ] {
        assert_eq!(result(Some(method), list), shown);
        // On a resumed stream nobody knows what was asked.
        assert_eq!(result(None, list), shown);
        assert_eq!(result(Some("ping"), r#"{"tools":[{"name":"t"}]}"#), r#"{"tools":[{"name":"t"}]}"#);
    }
}

#[test]
fn links_and_embedded_resources_are_shown_as_they_can_be_read_back_and_text_is_not_touched() {
    let content = r#"[{"type":"text","text":"file:///x"},{"type":"resource_link","uri":"file:///x","name":"t"},{"type":"resource","resource":{"uri":"file:///x","text":"file:///x"}},{"type":"other","uri":"file:///x"}]"#;
    let shown = r#"[{"type":"text","text":"file:///x"},{"type":"resource_link","uri":"a+file:///x","name":"t"},{"type":"resource","resource":{"uri":"a+file:///x","text":"file:///x"}},{"type":"other","uri":"file:///x"}]"#;
    let tail = r#","structuredContent":{"uri":"file:///x","content":[{"type":"resource_link","uri":"file:///x"}]}}"#;
    for method in [Some("tools/call"), Some("tasks/result"), None] {
        assert_eq!(result(method, &format!(r#"{{"content":{content}{tail}"#)), format!(r#"{{"content":{shown}{tail}"#));
    }
    let whole = format!(r#"{{"taskId":"1","status":"completed","result":{{"content":{content}}}}}"#);
    let expected = format!(r#"{{"taskId":"a__1","status":"completed","result":{{"content":{shown}}}}}"#);
    assert_eq!(result(Some("tasks/get"), &whole), expected);
    assert_eq!(asked("notifications/tasks", &whole), expected);
    let one = r#"{"messages":[{"role":"user","content":{"type":"resource_link","uri":"x:y"}}]}"#;
    assert_eq!(result(Some("prompts/get"), one), one.replace("x:y", "a+x:y"));
    assert_eq!(asked("sampling/createMessage", one), one.replace("x:y", "a+x:y"));
    let several = format!(
        r#"{{"messages":[{{"content":[{{"type":"tool_result","content":{content}}}]}}],"tools":[{{"name":"t"}}]}}"#
    );
    let expected = several.replacen(content, shown, 1);
    assert_eq!(asked("sampling/createMessage", &several), expected);
    let asks = |params: &str| {
        format!(
            r#"{{"resultType":"input_required","inputRequests":{{"q":{{"method":"sampling/createMessage","params":{params}}},"e":{{"method":"elicitation/create","params":{{"url":"https://x"}}}}}},"requestState":"file:///x"}}"#
        )
    };
    assert_eq!(result(Some("tools/call"), &asks(&several)), asks(&expected));
    let read = r#"{"contents":[{"uri":"file:///x","text":"t","_meta":{"ui":{"csp":{}}}}],"ttlMs":1}"#;
    assert_eq!(result(Some("resources/read"), read), read.replace("file:///x", "a+file:///x"));
}

#[test]
fn a_task_is_shown_as_its_servers_wherever_its_id_stands() {
    for (method, text) in [
        ("tools/call", r#"{"task":{"taskId":"1","status":"working"}}"#),
        ("tools/call", r#"{"resultType":"task","taskId":"1"}"#),
        ("tools/call", r#"{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"1"}}}"#),
        ("tasks/cancel", r#"{"taskId":"1"}"#),
    ] {
        assert_eq!(result(Some(method), text), text.replace(r#""1""#, r#""a__1""#), "{method}");
    }
    let untouched = r#"{"content":[],"taskId":"1"}"#;
    assert_eq!(result(Some("tools/call"), untouched), untouched, "no member of this method's results");
    let status = r#"{"taskId":"1","status":"working"}"#;
    assert_eq!(asked("notifications/tasks/status", status), status.replace(r#""1""#, r#""a__1""#));
    let related = r#"{"message":"m","_meta":{"io.modelcontextprotocol/related-task":{"taskId":"1"}}}"#;
    assert_eq!(asked("elicitation/create", related), related.replace(r#""1""#, r#""a__1""#));
    // A task that the client runs for the server has the client's id.
    let clients = r#"{"taskId":"1"}"#;
    assert_eq!(asked("tasks/get", clients), clients);
}

#[test]
fn notifications_and_errors_name_resources_as_clients_know_them() {
    assert_eq!(asked("notifications/resources/updated", r#"{"uri":"file:///x"}"#), r#"{"uri":"a+file:///x"}"#);
    let honoured = r#"{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["x:1","x:2"],"taskIds":["1"]},"_meta":{"io.modelcontextprotocol/subscriptionId":"x:1"}}"#;
    let shown = r#"{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a+x:1","a+x:2"],"taskIds":["a__1"]},"_meta":{"io.modelcontextprotocol/subscriptionId":"x:1"}}"#;
    assert_eq!(asked("notifications/subscriptions/acknowledged", honoured), shown);
    let logged = r#"{"level":"info","data":{"uri":"file:///x"}}"#;
    assert_eq!(asked("notifications/message", logged), logged);
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"file:///x","data":{"uri":"file:///x"}}}"#;
    let names = names(&["a", "b"], Prefix::Always);
    let shown = |method| {
        let message = read(error, Direction::ToClient);
        names.expose(1, &message, Some(method), &known(), &Limits::default()).unwrap().bytes().clone()
    };
    assert_eq!(shown("resources/read"), error.replace(r#"{"uri":"f"#, r#"{"uri":"b+f"#));
    assert_eq!(shown("tools/call"), error);
}

#[test]
fn what_is_hidden_leaves_the_list_and_the_rest_stays() {
    let names = names(&["a", "b"], Prefix::Never);
    let list = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"t"}, {"name":"two"} ,{"nameless":1}]}}"#;
    let shown =
        names.expose(1, &read(list, Direction::ToClient), Some("tools/list"), &known(), &Limits::default()).unwrap();
    assert_eq!(shown.bytes(), &r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"two"} ,{"nameless":1}]}}"#);
}

#[test]
fn a_message_in_which_nothing_changes_is_the_same_message() {
    let message = read(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#, Direction::ToClient);
    let names = names(&["a", "b"], Prefix::Always);
    let shown = names.expose(0, &message, Some("tools/call"), &known(), &Limits::default()).unwrap();
    assert_eq!(shown.bytes().as_ptr(), message.bytes().as_ptr());
    // Nobody shows what a client says, or in the name of a server that does not exist.
    let refused = Err(Malformed::EditRefused);
    assert_eq!(names.expose(2, &message, None, &known(), &Limits::default()).map(drop), refused);
    assert_eq!(names.expose(0, &request("ping", "{}"), None, &known(), &Limits::default()).map(drop), refused);
}

#[test]
fn the_limits_hold_for_what_the_server_said_not_for_what_we_add() {
    let uri = format!("x:{}", "y".repeat(98));
    let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}"}}}}"#);
    let limits = Limits { bytes: text.len(), name: 100, ..Limits::default() };
    let message = Message::read(Bytes::from(text), Direction::ToClient, &limits).unwrap();
    let shown = names(&["a", "b"], Prefix::Always).expose(0, &message, None, &known(), &limits).unwrap();
    assert_eq!(shown.name().unwrap(), format!("a+{uri}"));
}

#[test]
fn what_a_client_names_goes_to_its_server_in_that_servers_words() {
    for (message, expected) in [
        (
            request("tools/call", r#"{"name":"b__t" ,"arguments":{"name":"b__t"}}"#),
            r#"{"name":"t" ,"arguments":{"name":"b__t"}}"#,
        ),
        (request("prompts/get", r#"{"name":"b__t"}"#), r#"{"name":"t"}"#),
        (request("resources/read", r#"{"uri":"b+file:///x"}"#), r#"{"uri":"file:///x"}"#),
        (request("resources/subscribe", r#"{"uri":"b+:x"}"#), r#"{"uri":"x"}"#),
        (request("resources/unsubscribe", r#"{"uri":"ui://b/x"}"#), r#"{"uri":"ui://x"}"#),
        (
            request(
                "completion/complete",
                r#"{"ref":{"type":"ref/prompt","name":"b__t"},"argument":{"name":"b__t","value":""}}"#,
            ),
            r#"{"ref":{"type":"ref/prompt","name":"t"},"argument":{"name":"b__t","value":""}}"#,
        ),
        (
            request("completion/complete", r#"{"ref":{"type":"ref/resource","uri":"b+x:{y}"}}"#),
            r#"{"ref":{"type":"ref/resource","uri":"x:{y}"}}"#,
        ),
        (request("tasks/get", r#"{"taskId":"b__1"}"#), r#"{"taskId":"1"}"#),
        (request("tasks/cancel", r#"{"taskId":"b__1"}"#), r#"{"taskId":"1"}"#),
        (request("tasks/result", r#"{"taskId":"b__1"}"#), r#"{"taskId":"1"}"#),
        (request("tasks/update", r#"{"taskId":"b__1","inputResponses":{}}"#), r#"{"taskId":"1","inputResponses":{}}"#),
        (notification("notifications/tasks/status", r#"{"taskId":"b__1"}"#), r#"{"taskId":"1"}"#),
        (
            request(
                "tools/call",
                r#"{"name":"b__t","_meta":{"io.modelcontextprotocol/related-task":{"taskId":"b__1"},"progressToken":"b__p"}}"#,
            ),
            r#"{"name":"t","_meta":{"io.modelcontextprotocol/related-task":{"taskId":"1"},"progressToken":"b__p"}}"#,
        ),
    ] {
        assert_eq!(one(&message), (1, expected.to_owned()));
    }
}

#[test]
fn what_is_nobodys_goes_nowhere() {
    for (message, why) in [
        (request("tools/call", r#"{"name":"t"}"#), Unplaced::Tool),
        (request("prompts/get", r#"{"name":"c__t"}"#), Unplaced::Prompt),
        (request("resources/read", r#"{"uri":"file:///x"}"#), Unplaced::Resource),
        (request("tasks/get", r#"{"taskId":"1"}"#), Unplaced::Task),
        (request("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"t"}}"#), Unplaced::Prompt),
        (notification("notifications/tasks/status", "{}"), Unplaced::Task),
        (request("other/method", "{}"), Unplaced::Nobody),
        (notification("notifications/other", "{}"), Unplaced::Nobody),
        (notification("notifications/cancelled", "{}"), Unplaced::Nobody),
        (notification("notifications/progress", "{}"), Unplaced::Nobody),
        (read(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, Direction::ToClient), Unplaced::Nobody),
    ] {
        assert_eq!(place(&message).unwrap_err(), why, "{message:?}");
    }
}

#[test]
fn what_concerns_all_goes_to_all_in_order_but_no_progress_is_reported_together() {
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "tasks/list",
        "subscriptions/listen",
    ] {
        let message = request(method, r#"{"x":"b__t","_meta":{"progressToken":1,"y":2}}"#);
        let all = all(&message);
        assert_eq!(all.iter().map(|(server, _)| *server).collect::<Vec<_>>(), [0, 1], "{method}");
        for (_, message) in all {
            assert_eq!(params(&message), r#"{"x":"b__t","_meta":{"y":2}}"#);
        }
    }
    for method in ["notifications/initialized", "notifications/roots/list_changed"] {
        let message = notification(method, r#"{"_meta":{}}"#);
        for (_, copy) in all(&message) {
            assert_eq!(copy.bytes(), message.bytes());
        }
    }
}

#[test]
fn a_subscription_is_split_by_server() {
    let filter = r#"{"notifications":{"resourceSubscriptions":["a+x:1", "b+x:2","x:3","a+x:4",5],"taskIds":["b__1"]}}"#;
    let shares = all(&request("subscriptions/listen", filter));
    let said: Vec<_> = shares.iter().map(|(server, share)| (*server, params(share))).collect();
    assert_eq!(
        said,
        [
            (0, r#"{"notifications":{"resourceSubscriptions":["x:1","x:4"],"taskIds":[]}}"#),
            (1, r#"{"notifications":{"resourceSubscriptions":["x:2"],"taskIds":["1"]}}"#),
        ]
    );
    let one = all(&request(
        "subscriptions/listen",
        r#"{"notifications":{"resourceSubscriptions":["b+x:2"],"toolsListChanged":false}}"#,
    ));
    assert_eq!(one.iter().map(|(server, _)| *server).collect::<Vec<_>>(), [1], "the other has nothing to tell");
    let both = all(&request(
        "subscriptions/listen",
        r#"{"notifications":{"resourceSubscriptions":["b+x:2"],"toolsListChanged":true}}"#,
    ));
    assert_eq!(both.len(), 2);
    // Where nothing is asked of anybody, nobody's resource is asked of anybody either.
    let none = all(&request("subscriptions/listen", r#"{"notifications":{"resourceSubscriptions":["x:3"]}}"#));
    assert_eq!(none.len(), 2);
    for (_, share) in none {
        assert_eq!(params(&share), r#"{"notifications":{"resourceSubscriptions":[]}}"#);
    }
}

#[test]
fn what_only_the_session_can_place_is_left_to_it() {
    let is = |message: &Message, expected: &str| {
        let placed = format!("{:?}", place(message).unwrap());
        assert!(placed.starts_with(expected), "{placed}");
    };
    is(&notification("notifications/cancelled", r#"{"requestId":"r"}"#), "Cancel");
    is(&notification("notifications/progress", r#"{"progressToken":7}"#), "Progress");
    is(&read(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Direction::ToServer), "Answer");
    let Placed::Cancel { id } = place(&notification("notifications/cancelled", r#"{"requestId":"r"}"#)).unwrap() else {
        panic!()
    };
    assert_eq!(id, Id::string("r"));
    let answer = |task: &str| {
        read(
            &format!(
                r#"{{"jsonrpc":"2.0","id":1,"result":{{"_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"{task}"}}}}}}}}"#
            ),
            Direction::ToServer,
        )
    };
    let names = names(&["a", "b"], Prefix::Always);
    let said = |server, task| names.answer(server, &answer(task), &Limits::default()).unwrap().bytes().clone();
    assert_eq!(said(0, "a__1"), answer("1").bytes());
    assert_eq!(said(1, "a__1"), answer("a__1").bytes(), "another server's task is not this one's");
    assert_eq!(said(0, "mine"), answer("mine").bytes(), "the client's own");
}

#[test]
fn a_later_page_is_left_to_whoever_made_the_cursor() {
    let limits = Limits::default();
    let list = request("tools/list", r#"{"cursor":"sealed\"","x":1}"#);
    let Placed::Page { cursor: sealed } = place(&list).unwrap() else { panic!() };
    assert_eq!(sealed, "sealed\"");
    let text = |message: &Message| params(message).to_owned();
    assert_eq!(text(&with_cursor(&list, Some("c\""), &limits).unwrap()), r#"{"cursor":"c\"","x":1}"#);
    assert_eq!(text(&with_cursor(&list, None, &limits).unwrap()), r#"{"x":1}"#);
    assert_eq!(text(&with_cursor(&request("tools/list", "{ }"), Some(""), &limits).unwrap()), r#"{"cursor":"" }"#);
    assert_eq!(
        text(&with_cursor(&request("tools/list", r#"{"x":1}"#), Some("c"), &limits).unwrap()),
        r#"{"cursor":"c","x":1}"#
    );
    let bare = read(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, Direction::ToServer);
    assert_eq!(cursor(&bare), None);
    assert_eq!(cursor(&with_cursor(&bare, Some("c"), &limits).unwrap()).as_deref(), Some("c"));
    assert_eq!(with_cursor(&bare, None, &limits).unwrap().bytes(), bare.bytes());
}
