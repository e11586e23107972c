//! Whatever servers call their things: what clients are shown leads back to the same server and the same word.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use proptest::{collection::btree_set, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{names, offering};
use crate::catalogue::Catalogue;
use crate::naming::{Names, Placed, Prefix};
use crate::own::quoted;
use crate::wire::{Direction, Limits, Message};

const SERVERS: [&str; 3] = ["a", "Git_Hub", "ui"];

/// Names as servers choose them, among them those that try to pass for others.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c]{1,2}",
        2 => select(vec!["a__a", "ui__a", "Git_Hub__a", "a__", "__a", "git-hub__a", "\"\\\u{0}", "é\u{202e}"]).prop_map(str::to_owned),
        2 => "(a__|ui__)?[ab]{60,70}",
        1 => "\\PC{0,80}",
    ]
}

fn uri() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-zA-Z][a-zA-Z0-9+.-]{0,5}:(//)?[a-z/{}+]{0,10}",
        2 => "(ui|a|git-hub)(\\+|:|://)(a|ui)?[a-z/{}:+]{0,6}",
        1 => "\\PC{0,20}",
    ]
}

fn offers() -> impl Strategy<Value = [BTreeSet<String>; 3]> {
    let some = || btree_set(name(), 0..6);
    [some(), some(), some()]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    select(vec![Prefix::Always, Prefix::OnConflict, Prefix::Never])
}

fn catalogues(offers: &[BTreeSet<String>; 3]) -> Vec<Arc<Catalogue>> {
    offers.iter().map(|names| offering(&names.iter().map(String::as_str).collect::<Vec<_>>())).collect()
}

fn result(value: &Value) -> Message {
    let text = json!({ "jsonrpc": "2.0", "id": 1, "result": value }).to_string();
    Message::read(Bytes::from(text), Direction::ToClient, &Limits::default()).unwrap()
}

fn tree(message: &Message) -> Value {
    serde_json::from_slice(message.bytes()).unwrap()
}

/// Where a request with one param goes, and what the param is there.
fn placed(names: &Names, method: &str, member: &str, word: &str, known: &[Arc<Catalogue>]) -> Option<(usize, String)> {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"{member}":{}}}}}"#, quoted(word));
    let message = Message::read(Bytes::from(text), Direction::ToServer, &Limits::default()).unwrap();
    match names.place(&message, known, &Limits::default()).ok()? {
        Placed::One { server, message } => Some((server, message.name().unwrap().to_owned())),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn every_name_in_a_list_calls_the_tool_it_was_listed_for(offers in offers(), prefix in prefix()) {
        let (names, known) = (names(&SERVERS, prefix), catalogues(&offers));
        for (method, member, call) in [("tools/list", "tools", "tools/call"), ("prompts/list", "prompts", "prompts/get")] {
            let mut seen = BTreeSet::new();
            let mut hidden = 0;
            for (server, own) in offers.iter().enumerate() {
                let items: Vec<Value> = own.iter().map(|name| json!({ "name": name, "description": name })).collect();
                let list = result(&json!({ member: items }));
                let shown = names.expose(server, &list, Some(method), &known, &Limits::default()).unwrap();
                for item in tree(&shown)["result"][member].as_array().unwrap() {
                    let name = item["name"].as_str().unwrap();
                    let expected = Some((server, item["description"].as_str().unwrap().to_owned()));
                    prop_assert_eq!(placed(&names, call, "name", name, &known), expected, "{}", name);
                    prop_assert!(name.chars().count() <= 64, "{}", name);
                    prop_assert!(seen.insert(name.to_owned()), "{} is listed twice", name);
                }
                hidden += own.len() - tree(&shown)["result"][member].as_array().unwrap().len();
            }
            prop_assert!(prefix == Prefix::Never || hidden == 0);
        }
    }

    #[test]
    fn every_uri_leads_back_from_wherever_it_stood(uri in uri(), server in 0..3_usize, prefix in prefix()) {
        let names = names(&SERVERS, prefix);
        let known = catalogues(&Default::default());
        let content = json!([{ "type": "resource_link", "uri": uri }, { "type": "resource", "resource": { "uri": uri } }, { "type": "text", "text": uri }]);
        for (method, value, paths) in [
            ("resources/list", json!({ "resources": [{ "uri": uri }] }), vec!["/result/resources/0/uri"]),
            ("resources/templates/list", json!({ "resourceTemplates": [{ "uriTemplate": uri }] }), vec!["/result/resourceTemplates/0/uriTemplate"]),
            ("resources/read", json!({ "contents": [{ "uri": uri }] }), vec!["/result/contents/0/uri"]),
            ("tools/call", json!({ "content": content, "structuredContent": content }), vec!["/result/content/0/uri", "/result/content/1/resource/uri"]),
            ("prompts/get", json!({ "messages": [{ "content": content[0] }] }), vec!["/result/messages/0/content/uri"]),
            ("tools/list", json!({ "tools": [{ "_meta": { "ui": { "resourceUri": uri } } }] }), vec!["/result/tools/0/_meta/ui/resourceUri"]),
        ] {
            let message = result(&value);
            let shown = names.expose(server, &message, Some(method), &known, &Limits::default()).unwrap();
            let mut back = tree(&shown);
            for path in paths {
                let word = back.pointer(path).unwrap().as_str().unwrap().to_owned();
                prop_assert_eq!(placed(&names, "resources/read", "uri", &word, &known), Some((server, uri.clone())), "{}", path);
                prop_assert!(word.ends_with(uri.strip_prefix("ui://").unwrap_or(&uri)));
                *back.pointer_mut(path).unwrap() = Value::from(uri.clone());
            }
            // With those put back it is the message that came: nothing else changed.
            prop_assert_eq!(back, tree(&message));
        }
    }

    #[test]
    fn every_task_leads_back(id in "\\PC{0,20}", server in 0..3_usize) {
        let names = names(&SERVERS, Prefix::Never);
        let known = catalogues(&Default::default());
        let message = result(&json!({ "task": { "taskId": id } }));
        let shown = names.expose(server, &message, Some("tools/call"), &known, &Limits::default()).unwrap();
        let word = tree(&shown)["result"]["task"]["taskId"].as_str().unwrap().to_owned();
        for method in ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update"] {
            prop_assert_eq!(placed(&names, method, "taskId", &word, &known), Some((server, id.clone())));
        }
    }

    #[test]
    fn a_uri_in_the_form_of_one_stays_one(rest in "[a-z0-9/._~%-]{0,12}", scheme in "[a-zA-Z][a-zA-Z0-9+.-]{0,5}", server in 0..3_usize) {
        let names = names(&SERVERS, Prefix::Always);
        let shown = names.shown_uri(server, &format!("{scheme}:{rest}")).unwrap();
        let (shown_scheme, _) = shown.split_once(':').unwrap();
        prop_assert!(shown_scheme.starts_with(|first: char| first.is_ascii_alphabetic()));
        prop_assert!(shown_scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)));
    }

    #[test]
    fn nothing_that_a_client_says_reaches_two_servers_or_panics(word in "\\PC{0,70}", offers in offers(), prefix in prefix()) {
        let (names, known) = (names(&SERVERS, prefix), catalogues(&offers));
        for (method, member) in [("tools/call", "name"), ("resources/read", "uri"), ("tasks/get", "taskId")] {
            let once = placed(&names, method, member, &word, &known);
            prop_assert!(once.is_none_or(|(server, _)| server < SERVERS.len()));
        }
    }
}
