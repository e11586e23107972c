//! Gateways that break a rule: a proxy before the real one that loses, doubles, changes, collects or keeps what it should not. A case
//! that is content with the proxy that breaks its rule checks nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

use super::client::Era::{self, Legacy, Modern};
use super::wire::{Event, Response, send};

/// What is wrong with a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Nothing: every case must be content with this one.
    None,
    /// Alters what the server says.
    Says(&'static str, &'static str),
    /// Alters what the client says, headers included.
    Hears(&'static str, &'static str),
    /// Loses the server's notifications of this method.
    Loses(&'static str),
    /// Says the server's notifications of this method twice.
    Doubles(&'static str),
    /// Sends a stream on when it has ended.
    Collects,
    /// Takes the client's notifications of this method, and that is all.
    Swallows(&'static str),
    /// Does not tell the server that the client has hung up.
    HoldsOn,
    /// Takes hanging up for a cancellation.
    Cancels,
    /// Takes DELETE, and that is all.
    Keeps,
    /// Lets everybody use the session that was opened first.
    SharesSessions,
    /// Gives a session to everybody.
    NamesSessions,
}

impl Flaw {
    /// Shows by what does *not* happen, so that a case has to wait for it.
    pub(super) const fn is_silent(self) -> bool {
        matches!(self, Self::Loses(_) | Self::Collects | Self::Swallows(_) | Self::HoldsOn | Self::Keeps)
    }
}

/// For each case a gateway that breaks its rule, and in which era.
pub(super) const PROOFS: &[(&str, Era, Flaw)] = &[
    (
        "calls::the_server_introduces_itself",
        Modern,
        Flaw::Says(r#""resultType":"complete""#, r#""resultType":"other""#),
    ),
    ("calls::tools_are_listed_once_and_completely", Modern, Flaw::Says(r#""name":"add""#, r#""name":"adds""#)),
    ("calls::the_other_lists_come_through", Legacy, Flaw::Says("resourceTemplates", "templates")),
    ("calls::a_tool_is_called", Legacy, Flaw::Says("héllo", "hello")),
    ("calls::a_structured_result_comes_whole", Modern, Flaw::Says("structuredContent", "structured")),
    ("calls::a_tool_error_is_a_result", Legacy, Flaw::Says(r#""isError":true"#, r#""isError":false"#)),
    ("calls::content_of_every_kind_comes_through", Modern, Flaw::Says(r#""type":"image""#, r#""type":"audio""#)),
    ("calls::a_large_result_comes_whole", Legacy, Flaw::Says("xxxxxxxx", "xxxx")),
    ("calls::a_resource_and_a_template_are_read", Modern, Flaw::Says("iVBOR", "iVBOX")),
    ("calls::a_resource_that_is_not_there_is_an_error", Legacy, Flaw::Says("-32002", "-32000")),
    ("calls::a_prompt_is_got", Legacy, Flaw::Says("arg2='two'", "arg2=''")),
    ("calls::a_completion_is_offered", Modern, Flaw::Says("party", "parties")),
    ("calls::ping_is_answered", Modern, Flaw::Says("-32601", "-32600")),
    ("calls::an_unknown_tool_is_an_error_with_the_id", Legacy, Flaw::Says("as given", "as read")),
    ("calls::an_unknown_method_is_an_error_with_the_id", Legacy, Flaw::Says("-32601", "-32000")),
    ("calls::ids_of_every_kind_come_back", Modern, Flaw::Says("9007199254740993", "9007199254740992")),
    ("calls::schemas_keep_every_keyword", Legacy, Flaw::Says("$defs", "definitions")),
    ("calls::a_mirrored_argument_reaches_the_server", Modern, Flaw::Hears("eu-west", "us-east")),
    ("calls::an_answer_that_breaks_its_schema_is_cut", Legacy, Flaw::Says("output_invalid", "answered")),
    (
        "calls::arguments_that_break_their_schema_are_refused",
        Legacy,
        Flaw::Says(r#""isError":true"#, r#""isError":false"#),
    ),
    (
        "calls::a_task_is_made_and_polled_to_its_end",
        Modern,
        Flaw::Says(r#""status":"completed""#, r#""status":"failed""#),
    ),
    ("streams::progress_arrives_when_it_happens", Legacy, Flaw::Collects),
    ("streams::progress_arrives_when_it_happens", Modern, Flaw::Collects),
    ("streams::progress_tokens_keep_their_type", Modern, Flaw::Says(r#""progressToken":7"#, r#""progressToken":"7""#)),
    ("streams::log_messages_arrive_once_and_in_order", Modern, Flaw::Doubles("notifications/message")),
    ("streams::a_cancelled_call_ends_at_the_server", Legacy, Flaw::Swallows("notifications/cancelled")),
    ("streams::a_cancelled_call_ends_at_the_server", Modern, Flaw::HoldsOn),
    ("streams::a_closed_legacy_stream_cancels_nothing", Legacy, Flaw::Cancels),
    ("streams::a_watched_resource_says_that_it_changed", Legacy, Flaw::Loses("notifications/resources/updated")),
    ("streams::changed_lists_are_announced", Modern, Flaw::Loses("notifications/tools/list_changed")),
    (
        "streams::two_calls_at_once_do_not_mix",
        Legacy,
        Flaw::Says(r#""progressToken":"one""#, r#""progressToken":"two""#),
    ),
    ("streams::clients_with_equal_ids_do_not_hear_each_other", Modern, Flaw::Says("15 steps", "10 steps")),
    (
        "streams::subscriptions_of_two_clients_do_not_mix",
        Modern,
        Flaw::Says("tools/list_changed", "prompts/list_changed"),
    ),
    ("streams::a_flood_arrives_whole_and_in_order", Modern, Flaw::Says(r#""7 of 3000""#, r#""6 of 3000""#)),
    ("streams::a_standing_stream_can_be_opened_again", Modern, Flaw::Loses("notifications/resources/updated")),
    (
        "streams::an_unwatched_resource_says_nothing_more",
        Legacy,
        Flaw::Hears("resources/unsubscribe", "resources/subscribe"),
    ),
    ("streams::a_closed_subscription_is_closed_at_the_server", Modern, Flaw::HoldsOn),
    ("asks::sampling_goes_to_the_client_and_back", Legacy, Flaw::Hears("a model said so", "nobody said so")),
    ("asks::elicitation_goes_to_the_client_and_back", Modern, Flaw::Hears(r#""ada""#, r#""bob""#)),
    (
        "asks::a_page_to_open_is_asked_for_by_its_address",
        Legacy,
        Flaw::Says("example.com/sign-in", "example.net/sign-in"),
    ),
    ("asks::a_declined_question_reaches_the_server", Modern, Flaw::Hears("decline", "accept")),
    ("asks::roots_go_to_the_server", Legacy, Flaw::Hears("file:///srv/test", "file:///srv/rest")),
    ("asks::rounds_keep_the_servers_state", Modern, Flaw::Says("All inputs received", "Some inputs received")),
    ("asks::altered_state_is_refused_by_the_server", Modern, Flaw::Says("-32602", "-32000")),
    ("asks::a_prompt_that_asks_gets_its_answer", Modern, Flaw::Hears(r#""ada""#, r#""bob""#)),
    ("asks::answers_reach_the_call_that_asked", Legacy, Flaw::Hears(r#""accept""#, r#""decline""#)),
    ("sessions::a_closed_session_is_gone_on_both_sides", Legacy, Flaw::Keeps),
    ("sessions::each_side_has_a_session_of_its_own", Legacy, Flaw::SharesSessions),
    ("sessions::a_closed_session_closes_its_streams", Legacy, Flaw::Keeps),
    ("sessions::sessions_end_alone", Legacy, Flaw::SharesSessions),
    ("sessions::a_modern_request_has_no_session", Modern, Flaw::NamesSessions),
    ("eras::a_client_of_the_other_era_is_told_which_versions_would_work", Legacy, Flaw::Says("supported", "known")),
    ("versions::every_legacy_revision_is_negotiated_and_served", Legacy, Flaw::Says("2025-06-18", "2025-03-26")),
    ("versions::unknown_and_modern_revisions_are_negotiated_down", Legacy, Flaw::Says("2025-11-25", "2025-06-18")),
];

/// A proxy before a gateway, with one flaw at a time.
pub(super) struct Broken {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    gateway: SocketAddr,
    flaw: Mutex<Flaw>,
    /// The session that was opened first under this flaw.
    first: Mutex<Option<String>>,
    stop: AtomicBool,
}

impl Broken {
    pub(super) fn before(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            gateway,
            flaw: Mutex::new(Flaw::None),
            first: Mutex::new(None),
            stop: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if own.stop.load(Ordering::Acquire) {
                    return;
                }
                let own = Arc::clone(&own);
                thread::spawn(move || own.serve(socket));
            }
        });
        Self { address, shared }
    }

    pub(super) fn set(&self, flaw: Flaw) {
        *self.shared.flaw.lock().unwrap_or_else(PoisonError::into_inner) = flaw;
        *self.shared.first.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the thread, which then lets go of the port.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    /// One request; its connection ends with its answer.
    fn serve(&self, mut socket: TcpStream) {
        let flaw = *self.flaw.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Asked { method, mut headers, mut body }) = request(&socket) else { return };
        if let Flaw::Hears(from, to) = flaw {
            body = body.replace(from, to);
            headers.iter_mut().for_each(|(_, value)| *value = value.replace(from, to));
        }
        let message: Value = serde_json::from_str(&body).unwrap_or_default();
        let taken = match flaw {
            Flaw::Keeps => method == "DELETE",
            Flaw::Swallows(name) => message["method"] == name,
            _ => false,
        };
        if taken {
            let _ = socket.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            return;
        }
        if flaw == Flaw::SharesSessions {
            self.share(&mut headers);
        }
        let response = send(self.gateway, &method, &headers, body.as_bytes());
        let (upstream, client) = (response.socket(), socket.try_clone().unwrap());
        let gateway = self.gateway;
        thread::spawn(move || left(flaw, client, &upstream, gateway, &headers, &message));
        // Whoever does not read any more has hung up.
        let _ = answer(flaw, &mut socket, response);
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }

    fn share(&self, headers: &mut [(String, String)]) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, session) in headers.iter_mut().filter(|(name, _)| name == "mcp-session-id") {
            session.clone_from(first.get_or_insert_with(|| session.clone()));
        }
    }
}

/// Waits until the client hangs up, and tells the gateway, or does not.
fn left(
    flaw: Flaw,
    mut client: TcpStream,
    upstream: &TcpStream,
    gateway: SocketAddr,
    headers: &[(String, String)],
    message: &Value,
) {
    let _ = std::io::copy(&mut client, &mut std::io::sink());
    match flaw {
        Flaw::HoldsOn => {}
        Flaw::Cancels if message.get("id").is_none() => {}
        Flaw::Cancels => {
            let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": message["id"] } });
            send(gateway, "POST", headers, cancel.to_string().as_bytes());
        }
        _ => {
            let _ = upstream.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// A request, without the headers of the connection itself.
struct Asked {
    method: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn request(socket: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let method = line.split(' ').next()?.to_owned();
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name {
            "content-length" => length = value.trim().parse().ok()?,
            "host" | "connection" => {}
            _ => headers.push((name.to_owned(), value.trim().to_owned())),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, headers, body: String::from_utf8(body).ok()? })
}

/// The gateway's answer, as the flaw has it.
fn answer(flaw: Flaw, client: &mut TcpStream, mut response: Response) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", response.status);
    for name in ["content-type", "mcp-session-id"] {
        if let Some(value) = response.header(name) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    if flaw == Flaw::NamesSessions {
        head.push_str("mcp-session-id: everybody\r\n");
    }
    let altered = |text: String| if let Flaw::Says(from, to) = flaw { text.replace(from, to) } else { text };
    if !response.is_stream() {
        let body = altered(response.text());
        return client.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }
    client.write_all(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes())?;
    let mut kept = String::new();
    while let Some(Event { id, data }) = response.any_event() {
        let message: Value = serde_json::from_str(&data).unwrap_or_default();
        let times = match flaw {
            Flaw::Loses(method) if message["method"] == method => 0,
            Flaw::Doubles(method) if message["method"] == method => 2,
            _ => 1,
        };
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        let event = format!("{id}data: {}\n\n", altered(data)).repeat(times);
        if flaw == Flaw::Collects {
            kept.push_str(&event);
        } else if let Err(gone) = chunk(client, &event)
            && flaw != Flaw::HoldsOn
        {
            return Err(gone);
        }
    }
    chunk(client, &kept)?;
    client.write_all(b"0\r\n\r\n")
}

fn chunk(client: &mut TcpStream, text: &str) -> std::io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    client.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
}
