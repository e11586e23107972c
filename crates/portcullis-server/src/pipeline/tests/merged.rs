//! Several servers behind one endpoint.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use portcullis_core::call::{Call, Subject};
use portcullis_core::guard::{About, Decision, Guard, Phase};
use portcullis_core::naming::{Names, Prefix};
use portcullis_core::refusal::{Fault, FaultKind, Manner};
use portcullis_core::upstream::{Arrived, Media, Reply, Upstream};

use crate::endpoint::{EndpointParts, Merging, Missing};
use crate::settings::{ApiKey, ServerSettings};
use crate::testing::{
    CannedUpstream, Client, DenyList, INITIALIZE, Running, api_key, from_server, next_event, plan, reply, result,
    start_endpoints,
};
use crate::workers::Workers;

/// A server that has one tool, `search`, one resource and one prompt, and says so.
fn server(name: &'static str) -> Arc<CannedUpstream> {
    CannedUpstream::named(name, move |call| Ok(answer(name, call)))
}

fn answer(name: &str, call: &Call) -> Reply {
    let answered = |text: String| reply(Media::Json, vec![result(call, &text)]);
    let modern = if call.context.session.is_none() { r#""resultType":"complete","# } else { "" };
    match call.method() {
        _ if !call.expects_response() => reply(Media::Accepted, Vec::new()),
        "initialize" => answered(format!(
            r#"{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"{name}","version":"1"}},"instructions":"I am {name}."}}"#
        )),
        "tools/list" => answered(format!(
            r#"{{{modern}"tools":[{{"name":"search","description":"of {name}","inputSchema":{{"type":"object"}}}}]}}"#
        )),
        "resources/list" => {
            answered(format!(r#"{{{modern}"resources":[{{"uri":"file:///{name}.txt","name":"{name}"}}]}}"#))
        }
        "tools/call" => answered(format!(r#"{{{modern}"content":[{{"type":"text","text":"{name} did it"}}]}}"#)),
        "resources/read" => {
            let uri = call.name().unwrap_or_default().to_owned();
            answered(format!(r#"{{{modern}"contents":[{{"uri":"{uri}","text":"{name}"}}]}}"#))
        }
        _ => answered("{}".to_owned()),
    }
}

/// A stream that stays open after these.
fn standing(said: Vec<Arrived>) -> Reply {
    let arrivals = stream::iter(said.into_iter().map(Ok)).chain(stream::pending()).boxed();
    Reply::new(Media::EventStream, arrivals)
}

fn down(name: &'static str) -> Arc<CannedUpstream> {
    CannedUpstream::named(name, |_| Err(Fault::before_sending(FaultKind::Unreachable, "down")))
}

fn merging(servers: &[Arc<CannedUpstream>], missing: Missing) -> Merging {
    let names = servers.iter().map(|server| Arc::clone(server.name())).collect();
    let names = Arc::new(Names::new(names, "__", Prefix::Always).unwrap());
    Merging { names, missing, deadline: Duration::from_secs(5) }
}

/// All of them at `/mcp`, and each alone at `/mcp/NAME`.
async fn start(
    servers: &[Arc<CannedUpstream>],
    policy: DenyList,
    missing: Missing,
    settings: ServerSettings,
) -> Running {
    let policy = Arc::new(policy);
    let upstream = |server: &Arc<CannedUpstream>| Arc::clone(server) as Arc<dyn Upstream>;
    let mut endpoints = vec![EndpointParts {
        path: "/mcp".to_owned(),
        servers: servers.iter().map(upstream).collect(),
        merging: Some(merging(servers, missing)),
        plan: plan(Arc::clone(&policy) as _),
    }];
    for server in servers {
        let path = format!("/mcp/{}", server.name());
        let servers = vec![upstream(server)];
        endpoints.push(EndpointParts { path, servers, merging: None, plan: plan(Arc::clone(&policy) as _) });
    }
    start_endpoints(Workers::here(), Arc::clone(&servers[0]), endpoints, settings).await
}

/// Under policies that permit everything.
pub(super) async fn start_merged(servers: &[Arc<CannedUpstream>], settings: ServerSettings) -> Running {
    start(servers, DenyList(&[]), Missing::Partial, settings).await
}

async fn two() -> (Running, Arc<CannedUpstream>, Arc<CannedUpstream>) {
    let (notes, mail) = (server("notes"), server("mail"));
    let servers = [Arc::clone(&notes), Arc::clone(&mail)];
    (start_merged(&servers, ServerSettings::default()).await, notes, mail)
}

pub(super) fn modern(running: &Running, method: &str, name: Option<&str>) -> Client {
    let client = running.client().with("mcp-protocol-version", "2026-07-28").with("mcp-method", method);
    name.map_or_else(|| client.clone(), |name| client.with("mcp-name", name))
}

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;

pub(super) fn request(method: &str, params: &str) -> String {
    let comma = if params.is_empty() { "" } else { "," };
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{{params}{comma}{META}}}}}"#)
}

#[tokio::test]
async fn the_lists_of_all_servers_become_one_in_their_order_under_their_names() {
    let (running, ..) = two().await;
    let answer = modern(&running, "tools/list", None).post(&request("tools/list", "")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let (first, second) = (answer.body.find("notes__search").unwrap(), answer.body.find("mail__search").unwrap());
    assert!(first < second, "{answer:?}");
    let list = modern(&running, "resources/list", None).post(&request("resources/list", "")).await;
    assert!(list.body.contains(r#""uri":"notes+file:///notes.txt""#), "{list:?}");
    assert_eq!(running.outcomes(4).await, ["answered"; 4], "one entry for each server");
}

#[tokio::test]
async fn a_call_goes_to_the_one_server_that_its_name_names_and_in_that_servers_words() {
    let (running, notes, mail) = two().await;
    let call = request("tools/call", r#""name":"mail__search","arguments":{}"#);
    let answer = modern(&running, "tools/call", Some("mail__search")).post(&call).await;
    assert!(answer.body.contains("mail did it"), "{answer:?}");
    assert!(notes.sent().is_empty());
    assert!(mail.sent()[0].contains(r#""name":"search""#), "{:?}", mail.sent());
    let uri = "notes+file:///notes.txt";
    let read = modern(&running, "resources/read", Some(uri))
        .post(&request("resources/read", &format!(r#""uri":"{uri}""#)))
        .await;
    assert!(read.body.contains(r#""uri":"notes+file:///notes.txt","text":"notes""#), "{read:?}");
    let alone = modern(&running, "tools/call", Some("search"));
    let answer = alone.ask("POST", "/mcp/mail", &request("tools/call", r#""name":"search","arguments":{}"#)).await;
    assert!(answer.body.contains("mail did it"), "unprefixed where it is alone: {answer:?}");
}

#[tokio::test]
async fn what_no_server_has_is_answered_like_what_its_server_does_not_have_and_reaches_nobody() {
    let (running, notes, mail) = two().await;
    for name in ["search", "other__search", "notes_search", "Notes__search", "notes"] {
        let call = request("tools/call", &format!(r#""name":"{name}","arguments":{{}}"#));
        let answer = modern(&running, "tools/call", Some(name)).post(&call).await;
        assert!(answer.body.contains(r#""code":-32602,"message":"unknown tool""#), "{name}: {answer:?}");
    }
    assert!(notes.sent().is_empty() && mail.sent().is_empty());
}

#[tokio::test]
async fn a_server_that_is_down_leaves_the_others_working_and_is_named_and_its_calls_fail() {
    let (notes, mail) = (down("notes"), server("mail"));
    let servers = [Arc::clone(&notes), Arc::clone(&mail)];
    let running = start(&servers, DenyList(&[]), Missing::Partial, ServerSettings::default()).await;
    let answer = modern(&running, "tools/list", None).post(&request("tools/list", "")).await;
    assert!(answer.body.contains("mail__search") && !answer.body.contains("notes__search"), "{answer:?}");
    let missing = r#""io.portcullis/unavailable":[{"server":"notes","code":"upstream_unreachable","#;
    assert!(answer.body.contains(missing), "{answer:?}");
    let call = request("tools/call", r#""name":"notes__search","arguments":{}"#);
    let answer = modern(&running, "tools/call", Some("notes__search")).post(&call).await;
    assert!(answer.body.contains("upstream_unreachable"), "{answer:?}");
    assert!(!mail.sent().iter().any(|sent| sent.contains("tools/call")), "never sent to another server");
}

#[tokio::test]
async fn a_strict_endpoint_answers_for_all_servers_or_for_none() {
    let servers = [down("notes"), server("mail")];
    let running = start(&servers, DenyList(&[]), Missing::Strict, ServerSettings::default()).await;
    let answer = modern(&running, "tools/list", None).post(&request("tools/list", "")).await;
    assert!(answer.body.contains("upstream_unreachable") && !answer.body.contains("mail__search"), "{answer:?}");
}

#[tokio::test]
async fn what_policies_refuse_everywhere_is_refused_and_not_an_empty_list() {
    let servers = [server("notes"), server("mail")];
    let running =
        start(&servers, DenyList(&[("tools/list", Manner::Plain)]), Missing::Partial, ServerSettings::default()).await;
    let answer = modern(&running, "tools/list", None).post(&request("tools/list", "")).await;
    assert!(answer.body.contains(r#""error""#), "{answer:?}");
}

#[tokio::test]
async fn a_cursor_leads_each_server_to_its_own_next_page_and_belongs_to_its_caller_and_list() {
    let paged = |name: &'static str, pages: usize| {
        CannedUpstream::named(name, move |call| {
            let message = call.message().unwrap();
            let page = message.param("cursor").and_then(|cursor| cursor.as_str()?.parse().ok()).unwrap_or(1_usize);
            let next = if page < pages { format!(r#","nextCursor":"{}""#, page + 1) } else { String::new() };
            let tool = format!(r#"{{"name":"t{page}","inputSchema":{{"type":"object"}}}}"#);
            Ok(reply(
                Media::Json,
                vec![result(call, &format!(r#"{{"resultType":"complete","tools":[{tool}]{next}}}"#))],
            ))
        })
    };
    let (notes, mail) = (paged("notes", 3), paged("mail", 1));
    let mut settings = ServerSettings::default();
    settings.identity.keys = vec![api_key("ana"), api_key("ben")];
    let running = start(&[notes, Arc::clone(&mail)], DenyList(&[]), Missing::Partial, settings).await;
    let ask = |caller: &'static str, method: &'static str, params: String| {
        let client = modern(&running, method, None).with("x-api-key", caller);
        async move { client.post(&request(method, &params)).await.body }
    };
    let mut seen = String::new();
    let mut params = String::new();
    for page in 1..=3 {
        let body = ask("ana", "tools/list", params.clone()).await;
        seen.push_str(&body);
        let cursor = body.split_once(r#""nextCursor":""#).map(|(_, rest)| rest.split('"').next().unwrap().to_owned());
        assert_eq!(cursor.is_some(), page < 3, "{body}");
        params = format!(r#""cursor":"{}""#, cursor.unwrap_or_default());
        if page == 1 {
            for (caller, method) in [("ben", "tools/list"), ("ana", "resources/list")] {
                let refused = ask(caller, method, params.clone()).await;
                assert!(refused.contains("cursor_unknown"), "{caller} {method}: {refused}");
            }
        }
    }
    for name in ["notes__t1", "notes__t2", "notes__t3", "mail__t1"] {
        assert_eq!(seen.matches(name).count(), 1, "{name}: {seen}");
    }
    assert_eq!(mail.sent().len(), 1, "its list had ended");
    assert!(ask("ana", "tools/list", r#""cursor":"2""#.to_owned()).await.contains("cursor_unknown"));
}

#[tokio::test]
async fn ten_thousand_tools_of_one_server_are_listed_beside_the_others_and_each_can_be_called() {
    let hoard = CannedUpstream::named("hoard", |call| {
        if call.method() != "tools/list" {
            return Ok(answer("hoard", call));
        }
        let tool = |number: usize| format!(r#"{{"name":"t{number}","inputSchema":{{"type":"object"}}}}"#);
        let tools = (0..10_000).map(tool).collect::<Vec<_>>().join(",");
        Ok(reply(Media::Json, vec![result(call, &format!(r#"{{"resultType":"complete","tools":[{tools}]}}"#))]))
    });
    let settings = ServerSettings::default();
    let running = start(&[hoard, server("notes")], DenyList(&[]), Missing::Partial, settings).await;
    let listed = modern(&running, "tools/list", None).post(&request("tools/list", "")).await.body;
    assert_eq!((listed.matches(r#""hoard__t"#).count(), listed.matches("notes__search").count()), (10_000, 1));
    let client = modern(&running, "tools/call", Some("hoard__t9999"));
    let called = client.post(&request("tools/call", r#""name":"hoard__t9999","arguments":{}"#)).await.body;
    assert!(called.contains("hoard did it"), "{called}");
}

/// A client that is handed cursors of ours cannot see that a server's go round in a circle.
#[tokio::test]
async fn a_list_that_goes_on_for_ever_is_ended_for_the_client_and_its_server_named() {
    let circle = CannedUpstream::named("circle", |call| {
        let page = r#"{"resultType":"complete","tools":[],"nextCursor":"again"}"#;
        Ok(reply(Media::Json, vec![result(call, page)]))
    });
    let settings = ServerSettings::default();
    let running = start(&[Arc::clone(&circle), server("notes")], DenyList(&[]), Missing::Partial, settings).await;
    let client = modern(&running, "tools/list", None);
    let (mut params, mut pages) = (String::new(), Vec::new());
    loop {
        let body = client.post(&request("tools/list", &params)).await.body;
        pages.push(body.clone());
        let Some((_, cursor)) = body.split_once(r#""nextCursor":""#) else { break };
        params = format!(r#""cursor":"{}""#, cursor.split('"').next().unwrap());
        assert!(pages.len() <= 100, "it goes on");
    }
    assert_eq!((pages.len(), circle.sent().len()), (100, 100));
    assert!(pages[0].contains("notes__search") && !pages[98].contains("io.portcullis/unavailable"), "{}", pages[98]);
    assert!(pages[99].contains(r#""server":"circle""#) && pages[99].contains("upstream_too_large"), "{}", pages[99]);
}

#[tokio::test]
async fn a_key_for_some_servers_sees_and_reaches_no_others() {
    let mut settings = ServerSettings::default();
    settings.identity.keys = vec![ApiKey { servers: vec!["mail".into()], ..api_key("ana") }];
    let servers = [server("notes"), server("mail")];
    let running = start(&servers, DenyList(&[]), Missing::Partial, settings).await;
    let list = modern(&running, "tools/list", None).with("x-api-key", "ana").post(&request("tools/list", "")).await;
    assert!(list.body.contains("mail__search") && !list.body.contains("notes"), "{list:?}");
    let call = request("tools/call", r#""name":"notes__search","arguments":{}"#);
    let answer = modern(&running, "tools/call", Some("notes__search")).with("x-api-key", "ana").post(&call).await;
    assert!(answer.body.contains("unknown tool"), "{answer:?}");
    assert!(servers[0].sent().is_empty());
    let alone = modern(&running, "tools/list", None).with("x-api-key", "ana");
    assert_eq!(alone.ask("POST", "/mcp/notes", &request("tools/list", "")).await.status, 403);
}

#[tokio::test]
async fn a_session_is_one_with_all_servers_and_unknown_at_other_endpoints() {
    let (running, notes, mail) = two().await;
    let opened = running.client().post(INITIALIZE).await;
    for text in [r#""name":"portcullis""#, "## notes", "I am notes.", "## mail", r#""tools":{}"#] {
        assert!(opened.body.contains(text), "{text}: {opened:?}");
    }
    let id = opened.headers["mcp-session-id"].to_str().unwrap().to_owned();
    let client = running.client().with("mcp-session-id", &id).with("mcp-protocol-version", "2025-11-25");
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(client.post(initialized).await.status, 202);
    for server in [&notes, &mail] {
        assert!(server.sent().iter().any(|sent| sent.contains("notifications/initialized")), "{server:?}");
    }
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"mail__search","arguments":{}}}"#;
    assert!(client.post(call).await.body.contains("mail did it"));
    assert_eq!(client.ask("POST", "/mcp/mail", call).await.status, 404);
    assert_eq!(client.delete().await.status, 204);
    assert_eq!(client.post(call).await.status, 404);
}

#[tokio::test]
async fn a_server_that_was_down_when_the_session_opened_joins_it_later() {
    let notes = CannedUpstream::named("notes", |call| {
        if call.method() == "initialize" {
            return Err(Fault::new(FaultKind::Unreachable, "down"));
        }
        Ok(answer("notes", call))
    });
    let servers = [Arc::clone(&notes), server("mail")];
    let running = start(&servers, DenyList(&[]), Missing::Partial, ServerSettings::default()).await;
    let opened = running.client().post(INITIALIZE).await;
    assert!(opened.body.contains("io.portcullis/unavailable") && !opened.body.contains("## notes"), "{opened:?}");
    let client = running.client().with("mcp-session-id", opened.headers["mcp-session-id"].to_str().unwrap());
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    assert!(client.post(list).await.body.contains("notes__search"), "one that was only down may join later");
}

/// The questions of two servers have one id; the client's answer must come to the one that asked, under the id that it gave.
#[tokio::test]
async fn questions_of_several_servers_are_told_apart_and_answers_find_the_one_that_asked() {
    let asking = |name: &'static str| {
        CannedUpstream::named(name, move |call| match (call.method(), &call.subject) {
            ("tools/call", _) => {
                let question =
                    r#"{"jsonrpc":"2.0","id":1,"method":"roots/list","params":{"_meta":{"progressToken":5}}}"#;
                Ok(standing(vec![from_server(question)]))
            }
            (_, Subject::Message(_)) => Ok(answer(name, call)),
            _ => Ok(reply(Media::Accepted, Vec::new())),
        })
    };
    let (notes, mail) = (asking("notes"), asking("mail"));
    let servers = [Arc::clone(&notes), Arc::clone(&mail)];
    let running = start(&servers, DenyList(&[]), Missing::Partial, ServerSettings::default()).await;
    let client = running.session().await;
    let call = |id: u8, name: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}__search","arguments":{{}}}}}}"#
        )
    };
    let mut first = client.open("POST", &call(11, "notes")).await.into_body();
    let mut second = client.open("POST", &call(12, "mail")).await.into_body();
    for (stream, server) in [(&mut first, "notes"), (&mut second, "mail")] {
        let event = next_event(stream).await.unwrap();
        assert!(event.contains(&format!(r#""id":"{server}:1""#)), "{event}");
        assert!(event.contains(&format!(r#""progressToken":"{server}:5""#)), "{event}");
    }
    let answer = r#"{"jsonrpc":"2.0","id":"mail:1","result":{"roots":[]}}"#;
    assert_eq!(client.post(answer).await.status, 202);
    let progress =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"mail:5","progress":1}}"#;
    assert_eq!(client.post(progress).await.status, 202);
    let told: Vec<_> = mail.sent().into_iter().filter(|sent| sent.contains(r#""roots":[]"#)).collect();
    assert_eq!(told, [r#"{"jsonrpc":"2.0","id":1,"result":{"roots":[]}}"#]);
    assert!(mail.sent().iter().any(|sent| sent.contains(r#""progressToken":5"#)), "{:?}", mail.sent());
    assert!(!notes.sent().iter().any(|sent| sent.contains("roots\":[]") || sent.contains("notifications/progress")));
    assert_eq!(client.post(answer).await.status, 400, "one answer to one question");
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":11}}"#;
    assert_eq!(client.post(cancel).await.status, 202);
    assert!(notes.sent().iter().any(|sent| sent.contains("notifications/cancelled")));
    assert!(!mail.sent().iter().any(|sent| sent.contains("notifications/cancelled")), "not to the other");
}

#[tokio::test]
async fn the_standing_streams_of_all_servers_are_one_and_each_is_resumed_at_its_own() {
    let streaming = |name: &'static str| {
        CannedUpstream::named(name, move |call| match &call.subject {
            Subject::Stream { last_event_id, .. } => {
                let from = last_event_id.clone().unwrap_or_default();
                let text = format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":"{name} after [{from}]"}}}}"#
                );
                Ok(standing(vec![Arrived { event_id: Some(format!("{name}-1")), ..from_server(text) }]))
            }
            _ => Ok(answer(name, call)),
        })
    };
    let servers = [streaming("notes"), streaming("mail")];
    let running = start(&servers, DenyList(&[]), Missing::Partial, ServerSettings::default()).await;
    let client = running.session().await;
    let mut stream = client.open("GET", "").await.into_body();
    let mut seen = String::new();
    while !(seen.contains("notes after []") && seen.contains("mail after []")) {
        seen.push_str(&next_event(&mut stream).await.unwrap());
    }
    let of_mail = seen.split("id: ").find(|event| event.contains("mail after")).unwrap().lines().next().unwrap();
    let mut resumed = client.with("last-event-id", of_mail).open("GET", "").await.into_body();
    let mut seen = String::new();
    while !(seen.contains("notes after []") && seen.contains("mail after [mail-1]")) {
        seen.push_str(&next_event(&mut resumed).await.unwrap());
    }
}

/// C70: one acknowledgement of what all honour, and nothing before it.
#[tokio::test]
async fn a_subscription_is_acknowledged_once_for_all_servers_and_carries_what_each_says() {
    let subscribed = |name: &'static str| {
        CannedUpstream::named(name, move |call| {
            let meta = r#""_meta":{"io.modelcontextprotocol/subscriptionId":7}"#;
            let uri = call.message().unwrap().param("notifications").unwrap().get("resourceSubscriptions").unwrap();
            let said = [
                (
                    "subscriptions/acknowledged",
                    format!(r#""notifications":{{"resourceSubscriptions":{}}}"#, uri.text()),
                ),
                ("resources/updated", format!(r#""uri":"file:///{name}""#)),
            ];
            let said = said.map(|(method, params)| {
                from_server(format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{{{params},{meta}}}}}"#
                ))
            });
            Ok(standing(said.to_vec()))
        })
    };
    let servers = [subscribed("notes"), subscribed("mail")];
    let running = start(&servers, DenyList(&[]), Missing::Partial, ServerSettings::default()).await;
    let wanted = r#""notifications":{"resourceSubscriptions":["mail+file:///mail","notes+file:///notes","file:///x"]}"#;
    let client = modern(&running, "subscriptions/listen", None);
    let mut stream = client.open("POST", &request("subscriptions/listen", wanted)).await.into_body();
    let mut seen = String::new();
    while seen.matches("resources/updated").count() < 2 {
        seen.push_str(&next_event(&mut stream).await.unwrap());
    }
    assert_eq!(seen.matches("acknowledged").count(), 1, "{seen}");
    assert!(seen.find("acknowledged") < seen.find("resources/updated"), "{seen}");
    assert!(seen.contains(r#"["notes+file:///notes","mail+file:///mail"]"#), "{seen}");
    assert!(seen.contains(r#""uri":"mail+file:///mail""#) && seen.contains(r#""uri":"notes+file:///notes""#), "{seen}");
    assert!(servers[1].sent()[0].contains(r#""resourceSubscriptions":["file:///mail"]"#), "{:?}", servers[1].sent());
}

#[tokio::test]
async fn who_asks_for_warnings_is_told_of_a_missing_server_in_its_log_too() {
    let servers = [down("notes"), server("mail")];
    let running = start(&servers, DenyList(&[]), Missing::Partial, ServerSettings::default()).await;
    let ask = |level: &'static str| {
        let meta = format!(r#"{{"io.modelcontextprotocol/logLevel":"{level}","#);
        let body = request("tools/list", "").replace(r#""_meta":{"#, &format!(r#""_meta":{meta}"#).replace("{{", "{"));
        let client = modern(&running, "tools/list", None);
        async move { client.post(&body).await.body }
    };
    let told = ask("warning").await;
    assert!(told.contains("notifications/message") && told.contains(r#""data":{"server":"notes""#), "{told}");
    assert!(told.contains("mail__search"), "{told}");
    assert!(!ask("error").await.contains("notifications/message"));
}

/// A11: no stream from anybody is our 405.
#[tokio::test]
async fn where_no_server_has_a_standing_stream_there_is_none() {
    let silent = |name: &'static str| {
        CannedUpstream::named(name, move |call| match &call.subject {
            Subject::Stream { .. } => Err(Fault::new(FaultKind::NoStream, "405")),
            _ => Ok(answer(name, call)),
        })
    };
    let running =
        start(&[silent("notes"), silent("mail")], DenyList(&[]), Missing::Partial, ServerSettings::default()).await;
    assert_eq!(running.session().await.get().await.status, 405);
}

/// A tool of one server must not be taken for another's by a policy that asks what was called before.
#[tokio::test]
async fn what_a_session_has_called_is_told_by_server_to_the_calls_of_others() {
    #[derive(Debug, Default)]
    struct Looks(Mutex<Vec<String>>);
    impl Guard for Looks {
        fn about(&self) -> &'static About {
            &About { code: "G000", name: "policy", phase: Phase::Policy, purpose: "test" }
        }
        fn check(&self, call: &Call) -> Decision {
            if let Some(tally) = call.context.session.as_ref().and_then(|session| session.tally.as_ref())
                && call.method() == "tools/call"
            {
                let used = tally.used_tools.as_ref().unwrap().join(",");
                self.0.lock().unwrap().push(format!("{}: {used} {}", call.context.server, tally.tool_calls));
            }
            Decision::pass()
        }
        fn heeds_tally(&self) -> bool {
            true
        }
    }
    let looks = Arc::new(Looks::default());
    let servers = [server("notes"), server("mail")];
    let endpoint = EndpointParts {
        path: "/mcp".to_owned(),
        servers: servers.iter().map(|server| Arc::clone(server) as Arc<dyn Upstream>).collect(),
        merging: Some(merging(&servers, Missing::Partial)),
        plan: plan(Arc::clone(&looks) as _),
    };
    let here = Workers::here();
    let running = start_endpoints(here, Arc::clone(&servers[0]), vec![endpoint], ServerSettings::default()).await;
    let client = running.session().await;
    for (id, name) in ["notes__search", "mail__search", "mail__x:y", "mail__search"].into_iter().enumerate() {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{{"name":"{name}","arguments":{{}}}}}}"#,
            id + 1
        );
        client.post(&call).await;
    }
    let seen = looks.0.lock().unwrap().clone();
    assert_eq!(
        seen,
        ["notes:  1", "mail: notes:search 1", "mail: notes:search,search 1", "mail: notes:search,search,mail:x:y 2"]
    );
}

/// C20: what no server has is no method, and the status says so too.
#[tokio::test]
async fn an_error_of_all_servers_has_the_status_that_its_code_has() {
    let without = |name: &'static str| {
        CannedUpstream::named(name, |call| {
            let id = call.message().unwrap().id().unwrap().raw().to_owned();
            let error = r#"{"code":-32601,"message":"no prompts here"}"#;
            let answer = from_server(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#));
            Ok(reply(Media::Json, vec![answer]))
        })
    };
    let servers = [without("notes"), without("mail")];
    let running = start(&servers, DenyList(&[]), Missing::Partial, ServerSettings::default()).await;
    let answer = modern(&running, "prompts/list", None).post(&request("prompts/list", "")).await;
    assert_eq!((answer.status, answer.body.contains("no prompts here")), (404, true), "{answer:?}");
}

#[tokio::test]
async fn a_server_that_policies_refuse_a_session_takes_no_part_in_it() {
    #[derive(Debug)]
    struct NoNotes;
    impl Guard for NoNotes {
        fn about(&self) -> &'static About {
            DenyList(&[]).about()
        }
        fn check(&self, call: &Call) -> Decision {
            let refused = call.method() == "initialize" && *call.context.server == *"notes";
            if refused { DenyList(&[("initialize", Manner::Plain)]).check(call) } else { Decision::pass() }
        }
    }
    let servers = [server("notes"), server("mail")];
    let endpoint = EndpointParts {
        path: "/mcp".to_owned(),
        servers: servers.iter().map(|server| Arc::clone(server) as Arc<dyn Upstream>).collect(),
        merging: Some(merging(&servers, Missing::Strict)),
        plan: plan(Arc::new(NoNotes)),
    };
    let here = Workers::here();
    let running = start_endpoints(here, Arc::clone(&servers[0]), vec![endpoint], ServerSettings::default()).await;
    let client = running.session().await;
    let list = client.post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
    assert!(list.body.contains("mail__search"), "what is hidden is not missing: {list:?}");
    assert!(!list.body.contains("notes"), "{list:?}");
    assert!(servers[0].sent().is_empty(), "{:?}", servers[0].sent());
}
