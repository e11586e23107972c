//! Which era a server speaks: proven, never guessed, never fallen back to because something failed (G1–G5).

use portcullis_core::call::Subject;
use portcullis_core::refusal::FaultKind;
use portcullis_core::upstream::Upstream;
use portcullis_core::version::Era;
use tokio::io::AsyncWriteExt;

use super::{CALL, kind, upstream};
use crate::settings::EraSetting;
use crate::testing::{Canned, all, id_of, json, legacy, modern, modern_call};

/// A server that answers `server/discover` with `discover` and everything of a legacy session properly.
async fn legacy_server(discover: (u16, &'static str)) -> Canned {
    Canned::scripted(move |heard, mut socket| async move {
        let result = |id: &str, result: &str| json(200, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
        let answer = match &heard.body {
            body if body.contains("server/discover") => json(discover.0, &discover.1.replace("ID", &id_of(body))),
            body if body.contains("\"initialize\"") => result(
                &id_of(body),
                r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}}}"#,
            )
            .replacen("content-type", "mcp-session-id: probe\r\ncontent-type", 1),
            body if body.contains("nextpage") => result(&id_of(body), r#"{"tools":[{"name":"b","inputSchema":{}}]}"#),
            body if body.contains("tools/list") => {
                result(&id_of(body), r#"{"tools":[{"name":"a"}],"nextCursor":"nextpage"}"#)
            }
            _ => "HTTP/1.1 202 X\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        socket.write_all(answer.as_bytes()).await.ok()?;
        Some(socket)
    })
    .await
}

async fn modern_server(discover: &'static str) -> Canned {
    Canned::scripted(move |heard, mut socket| async move {
        let answer = if heard.body.contains("server/discover") {
            json(200, &discover.replace("ID", &id_of(&heard.body)))
        } else {
            json(
                200,
                &format!(
                    r#"{{"jsonrpc":"2.0","id":{},"result":{{"resultType":"complete","tools":[{{"name":"m"}}]}}}}"#,
                    id_of(&heard.body)
                ),
            )
        };
        socket.write_all(answer.as_bytes()).await.ok()?;
        Some(socket)
    })
    .await
}

#[tokio::test]
async fn what_legacy_servers_say_to_discover_is_a_candidate_that_initialize_proves_g3() {
    for discover in [
        (200, r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"message":"x"}}"#),
        (400, r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32600,"message":"missing session id"}}"#),
        (400, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"x"}}"#),
        (200, r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32602,"message":"x"}}"#),
        // A server of the Python SDK 1.x that keeps sessions.
        (400, r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Missing session ID"}}"#),
        (404, "not found"),
        (405, ""),
        (200, r#"{"jsonrpc":"2.0","id":ID,"result":{"supportedVersions":["2025-11-25"]}}"#),
        (400, r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32022,"message":"x","data":{"supported":["2025-11-25"]}}}"#),
    ] {
        let server = legacy_server(discover).await;
        let upstream = upstream(&server.url, EraSetting::Auto);
        assert_eq!(upstream.era(), None);
        let catalogue = upstream.refresh().await.unwrap();
        assert_eq!(upstream.era(), Some(Era::Legacy), "{discover:?}");
        let names: Vec<_> = catalogue.tools().map(|tool| tool.name.clone()).collect();
        assert_eq!(names, ["a", "b"], "all pages");
        let heard = server.heard();
        let goodbye = heard.last().unwrap();
        assert_eq!((goodbye.method(), goodbye.header("mcp-session-id")), ("DELETE", Some("probe")));
        assert!(heard[1..].iter().skip(1).all(|request| request.header("mcp-protocol-version") == Some("2025-06-18")));
        let fault = upstream.send(modern().say(&modern_call("7"))).await.unwrap_err();
        assert_eq!((fault.kind, fault.never_left), (FaultKind::EraMismatch { served: Era::Legacy }, true));
    }
}

#[tokio::test]
async fn a_modern_server_is_known_by_its_version_list_only_g2() {
    let discover = r#"{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}}"#;
    let server = modern_server(discover).await;
    let upstream = upstream(&server.url, EraSetting::Auto);
    // The first call asks; nobody had to connect before.
    all(upstream.send(modern().say(&modern_call("7"))).await.unwrap()).await;
    assert_eq!(upstream.era(), Some(Era::Modern));
    assert!(upstream.catalogue().tool("m").is_some());
    let heard = server.heard();
    assert_eq!(heard[0].header("mcp-method"), Some("server/discover"));
    assert_eq!(heard[0].header("mcp-protocol-version"), Some("2026-07-28"));
    let fault = upstream.send(legacy(1).say(CALL)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::EraMismatch { served: Era::Modern });
}

#[tokio::test]
async fn a_server_that_lists_both_eras_gets_calls_of_both() {
    let discover = r#"{"jsonrpc":"2.0","id":ID,"result":{"supportedVersions":["2025-11-25","2026-07-28"]}}"#;
    let server = modern_server(discover).await;
    let upstream = upstream(&server.url, EraSetting::Auto);
    upstream.refresh().await.unwrap();
    assert!(upstream.send(modern().say(&modern_call("7"))).await.is_ok());
    assert_eq!(kind(upstream.send(legacy(1).say(CALL)).await), FaultKind::SessionLost, "taken for what it is");
}

#[tokio::test]
async fn failures_are_no_answer_and_nothing_is_remembered_of_them_g4() {
    for (status, expected) in [
        (401, FaultKind::Unauthorized),
        (403, FaultKind::Unauthorized),
        (429, FaultKind::Throttled { retry_after_ms: None }),
        (500, FaultKind::Garbage),
        (503, FaultKind::Unreachable),
    ] {
        let server = legacy_server((status, "{}")).await;
        let upstream = upstream(&server.url, EraSetting::Auto);
        let fault = upstream.refresh().await.unwrap_err();
        assert_eq!(fault.kind, expected, "{status}: {fault}");
        assert_eq!(upstream.era(), None);
        assert_eq!(server.heard().len(), 1, "no `initialize` after {status}");
        let again = upstream.send(legacy(1).say(CALL)).await.unwrap_err();
        assert!(again.never_left);
        assert_eq!(server.heard().len(), 2, "asked again");
    }
}

#[tokio::test]
async fn a_set_era_is_not_probed_g1() {
    let server = legacy_server((200, "{}")).await;
    let upstream = upstream(&server.url, EraSetting::Legacy);
    assert_eq!(upstream.era(), Some(Era::Legacy));
    assert_eq!(
        kind(upstream.send(modern().say(&modern_call("7"))).await),
        FaultKind::EraMismatch { served: Era::Legacy }
    );
    assert!(server.heard().is_empty());
}

/// Lists only modern versions; serves `initialize` too, or not.
async fn silent_about_legacy(serves: bool) -> Canned {
    Canned::scripted(move |heard, mut socket| async move {
        let id = id_of(&heard.body);
        let answer = if heard.body.contains("\"initialize\"") {
            let result = r#""result":{"protocolVersion":"2025-11-25","capabilities":{}}"#;
            let error = r#""error":{"code":-32020,"message":"headers"}"#;
            json(
                if serves { 200 } else { 400 },
                &format!(r#"{{"jsonrpc":"2.0","id":{id},{}}}"#, if serves { result } else { error }),
            )
        } else {
            let result = r#"{"supportedVersions":["2026-07-28"],"tools":[{"name":"m"}]}"#;
            json(200, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
        };
        socket.write_all(answer.as_bytes()).await.ok()?;
        Some(socket)
    })
    .await
}

#[tokio::test]
async fn a_version_list_without_legacy_does_not_prove_its_absence_g3() {
    let server = silent_about_legacy(true).await;
    let upstream = upstream(&server.url, EraSetting::Auto);
    assert_eq!(
        kind(upstream.send(legacy(1).say(CALL)).await),
        FaultKind::EraMismatch { served: Era::Modern },
        "only `initialize` may try"
    );
    let opened = all(upstream.send(legacy(1).say(super::INITIALIZE)).await.unwrap()).await;
    assert!(opened.len() == 1 && opened[0].is_ok());
    assert!(upstream.send(legacy(1).say(CALL)).await.is_ok());
    assert!(upstream.send(modern().say(&modern_call("7"))).await.is_ok());
}

#[tokio::test]
async fn an_initialize_a_modern_server_refuses_is_a_clear_mismatch_and_changes_nothing() {
    let server = silent_about_legacy(false).await;
    let upstream = upstream(&server.url, EraSetting::Auto);
    upstream.refresh().await.unwrap();
    let before = server.heard().len();
    for _ in 0..2 {
        assert_eq!(
            kind(upstream.send(legacy(1).say(super::INITIALIZE)).await),
            FaultKind::EraMismatch { served: Era::Modern }
        );
    }
    assert_eq!(server.heard().len(), before + 2, "no new probe");
    assert!(upstream.send(modern().say(&modern_call("7"))).await.is_ok());
}

fn greetings(server: &Canned) -> usize {
    server.heard().iter().filter(|request| request.body.contains("\"initialize\"")).count()
}

#[tokio::test]
async fn asking_anew_is_single_flight() {
    let server = legacy_server((404, "")).await;
    let upstream = upstream(&server.url, EraSetting::Legacy);
    let (a, b, c, d) = tokio::join!(upstream.refresh(), upstream.refresh(), upstream.refresh(), upstream.refresh());
    assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok());
    assert_eq!(greetings(&server), 2, "one that had begun already, and one for all who came later");
}

#[tokio::test]
async fn the_first_calls_share_one_probe() {
    let server = legacy_server((404, "")).await;
    let upstream = upstream(&server.url, EraSetting::Auto);
    let call = || upstream.send(legacy(1).say(CALL));
    let (a, b, c) = tokio::join!(call(), call(), call());
    assert!(a.is_err() && b.is_err() && c.is_err(), "no session was opened");
    assert_eq!(greetings(&server), 1);
}

#[tokio::test]
async fn a_changed_tool_list_is_read_again_once() {
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    let (server, upstream) = super::with_session("2025-11-25", move |heard| match heard.method() {
        "GET" => crate::testing::events(&format!("data: {changed}\n\n").repeat(50)),
        _ if heard.body.contains("tools/list") => json(
            200,
            &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"tools":[{{"name":"new"}}]}}}}"#, id_of(&heard.body)),
        ),
        _ => json(202, ""),
    })
    .await;
    let stream = Subject::Stream { last_event_id: None, request: None };
    assert_eq!(all(upstream.send(legacy(1).clear(stream)).await.unwrap()).await.len(), 50);
    for _ in 0..100 {
        if upstream.catalogue().tool("new").is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(upstream.catalogue().tool("new").is_some());
    assert_eq!(server.heard().iter().filter(|request| request.body.contains("tools/list")).count(), 1);
}

/// D5: its tools change without a word, and it refuses the headers that its list asked for before.
#[tokio::test]
async fn refused_headers_have_the_tools_read_anew_before_the_refusal_is_passed_on_d5() {
    let lists = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let listed = std::sync::Arc::clone(&lists);
    let server = Canned::scripted(move |heard, mut socket| {
        let listed = std::sync::Arc::clone(&listed);
        async move {
            let id = id_of(&heard.body);
            let answer = if heard.body.contains("tools/list") {
                let number = listed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let tool = format!(r#"{{"name":"echo","description":"{number}"}}"#);
                json(200, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{tool}]}}}}"#))
            } else {
                json(400, &format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32020,"message":"headers"}}}}"#))
            };
            socket.write_all(answer.as_bytes()).await.ok()?;
            Some(socket)
        }
    })
    .await;
    let upstream = upstream(&server.url, EraSetting::Modern);
    upstream.refresh().await.unwrap();
    for _ in 0..3 {
        let reply = upstream.send(modern().say(&modern_call("7"))).await.unwrap();
        assert_eq!(reply.status, Some(400));
        let definition = upstream.catalogue().tool("echo").unwrap().definition.clone();
        assert!(definition.ends_with(br#""1"}"#), "{definition:?}");
        assert!(crate::testing::text(&all(reply).await[0]).contains("-32020"), "the client has to try again itself");
    }
    let calls = server.heard().iter().filter(|request| request.body.contains("tools/call")).count();
    assert_eq!(calls, 3, "nothing is sent again unjudged");
}

/// A check of health is the smallest exchange: no list is read, and a session of our own is closed again.
#[tokio::test]
async fn a_check_asks_little_and_leaves_nothing_behind() {
    let server = legacy_server((200, r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"message":"x"}}"#)).await;
    let checked = upstream(&server.url, EraSetting::Legacy);
    checked.check().await.unwrap();
    let heard: Vec<_> = server.heard().iter().map(|heard| heard.method().to_owned()).collect();
    assert_eq!(heard, ["POST", "POST", "DELETE"], "initialize, initialized, and the end of the session");
    assert!(!server.heard().iter().any(|heard| heard.body.contains("tools/list")));

    let server = modern_server(r#"{"jsonrpc":"2.0","id":ID,"result":{"supportedVersions":["2026-07-28"]}}"#).await;
    upstream(&server.url, EraSetting::Modern).check().await.unwrap();
    assert_eq!(server.heard().len(), 1);
}

/// A page, or a refusal, is no answer of an MCP server.
#[tokio::test]
async fn a_page_or_a_refusal_is_not_healthy() {
    let page = "HTTP/1.1 200 X\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>";
    let refusal = json(401, r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"no"}}"#);
    for (answer, expected) in [(page.to_owned(), FaultKind::Garbage), (refusal, FaultKind::Unauthorized)] {
        for era in [EraSetting::Legacy, EraSetting::Modern, EraSetting::Auto] {
            let server = Canned::bytes(answer.clone()).await;
            let fault = upstream(&server.url, era).check().await.unwrap_err();
            assert_eq!(fault.kind, expected, "{era:?}: {fault}");
        }
    }
}
