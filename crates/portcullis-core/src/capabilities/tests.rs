//! What of a client's declaration reaches a server.

use super::{QUESTIONS, without};
use crate::wire::{Direction, Limits, Message};

fn initialize(capabilities: &str) -> Message {
    read(&format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{capabilities} }}}}"#
    ))
}

fn modern(capabilities: &str) -> Message {
    read(&format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"_meta":{{"io.modelcontextprotocol/clientCapabilities":{capabilities} }},"name":"t","arguments":{{"sampling":{{}}}}}}}}"#
    ))
}

fn read(text: &str) -> Message {
    Message::read(text.to_owned().into(), Direction::ToServer, &Limits::default()).unwrap()
}

fn stripped(message: &Message, forbidden: &[&str]) -> Option<String> {
    without(message, forbidden, &Limits::default()).unwrap().as_ref().map(text)
}

fn text(message: &Message) -> String {
    String::from_utf8(message.bytes().to_vec()).unwrap()
}

/// I1.
#[test]
fn what_is_forbidden_is_not_declared_and_all_else_stays_to_the_byte() {
    for made in [initialize, modern] {
        let message = made(r#"{"sampling" : {"tools":{}}, "roots":{"listChanged":true} ,"x":1.50}"#);
        let expected = |capabilities| Some(text(&made(capabilities)));
        assert_eq!(stripped(&message, &["sampling"]), expected(r#"{"roots":{"listChanged":true} ,"x":1.50}"#));
        assert_eq!(stripped(&message, &["roots"]), expected(r#"{"sampling" : {"tools":{}} ,"x":1.50}"#));
        assert_eq!(stripped(&message, &["roots", "sampling", "x"]), expected("{}"));
    }
}

/// I1.
#[test]
fn a_spelling_that_a_lax_server_understands_goes_too() {
    for made in [initialize, modern] {
        for spelled in ["s\\u0061mpling", "Sampling", "\u{17F}ampling", "sampling\\u0000"] {
            let message = made(&format!(r#"{{"{spelled}":{{}}}}"#));
            assert_eq!(stripped(&message, &["sampling"]), Some(text(&made("{}"))), "{spelled}");
        }
    }
}

/// I1: the declaration that a question may be put as a task is an invitation as well.
#[test]
fn questions_put_as_tasks_are_not_declared_either() {
    let tasks = |requests: &str| initialize(&format!(r#"{{"tasks":{{"list":{{}},"requests":{requests}}}}}"#));
    let message = tasks(r#"{"sampling":{"createMessage":{}},"elicitation":{"create":{}}}"#);
    assert_eq!(stripped(&message, &["sampling"]), Some(text(&tasks(r#"{"elicitation":{"create":{}}}"#))));
    assert_eq!(stripped(&message, &["sampling", "elicitation"]), Some(text(&tasks("{}"))));
}

#[test]
fn what_declares_nothing_forbidden_is_left_alone() {
    let forbidden = QUESTIONS.map(|(_, capability)| capability);
    for capabilities in ["{}", r#"{"experimental":{"sampling":{}},"tasks":{"requests":[]}}"#] {
        for made in [initialize, modern] {
            assert_eq!(stripped(&made(capabilities), &forbidden), None, "{capabilities}");
        }
    }
    assert_eq!(stripped(&initialize(r#"{"sampling":{}}"#), &[]), None);
    // Only `initialize` declares in its params.
    let other = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"capabilities":{"sampling":{}}}}"#;
    assert_eq!(stripped(&read(other), &forbidden), None);
}
