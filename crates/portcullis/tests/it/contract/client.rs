//! A client of either era, so that a case is written once: what the eras do differently (handshake, sessions, server requests,
//! cancelling, subscribing) is said here and nowhere else.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::wire::{Response, send};
use crate::support::PATIENCE;

/// Protocol era of a client or a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

impl Era {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }

    pub(crate) const fn version(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }
}

/// What a person, a model and a file system on the client's side would say.
pub(crate) fn obliging(method: &str, params: &Value) -> Value {
    match method {
        "sampling/createMessage" => {
            json!({ "role": "assistant", "model": "test", "content": { "type": "text", "text": "a model said so" } })
        }
        "elicitation/create" if params["mode"] == "url" => json!({ "action": "accept" }),
        "elicitation/create" => json!({ "action": "accept", "content": filled_in(&params["requestedSchema"]) }),
        "roots/list" => json!({ "roots": [{ "uri": "file:///srv/test" }] }),
        other => panic!("the server asked for `{other}`"),
    }
}

fn filled_in(schema: &Value) -> Value {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let value = |name: &str| match schema["properties"][name]["type"].as_str() {
        Some("boolean") => json!(true),
        Some("integer" | "number") => json!(1),
        _ => json!("ada"),
    };
    required.map(|name| (name.to_owned(), value(name))).collect::<serde_json::Map<_, _>>().into()
}

pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) era: Era,
    pub(crate) session: Option<String>,
    next: AtomicU64,
}

/// A good client takes its session with it; a legacy one may hold a process.
impl Drop for Client {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            // The gateway may be gone already, and a test may be failing: nothing here may fail.
            let Ok(mut socket) = TcpStream::connect(self.address) else { return };
            let head = format!(
                "DELETE /mcp HTTP/1.1\r\nhost: {}\r\nmcp-session-id: {session}\r\nconnection: close\r\n\r\n",
                self.address
            );
            let _ = socket.set_read_timeout(Some(PATIENCE));
            let _ = socket.write_all(head.as_bytes()).and_then(|()| std::io::copy(&mut socket, &mut std::io::sink()));
        }
    }
}

/// A request under way.
pub(crate) struct Exchange<'a> {
    client: &'a Client,
    pub(crate) id: Value,
    pub(crate) response: Response,
}

impl Client {
    /// Connects as the era does: a handshake, or a look at what the server can do.
    pub(crate) fn connect(address: SocketAddr, era: Era) -> Self {
        let mut client = Self::unconnected(address, era);
        match era {
            Era::Legacy => client.initialize(),
            Era::Modern => {
                let found = client.result("server/discover", json!({}));
                assert!(found["supportedVersions"].as_array().unwrap().contains(&json!(era.version())), "{found}");
            }
        }
        client
    }

    /// Says nothing yet.
    pub(crate) fn unconnected(address: SocketAddr, era: Era) -> Self {
        Self { address, era, session: None, next: AtomicU64::new(1) }
    }

    fn initialize(&mut self) {
        let hello = json!({
            "protocolVersion": self.era.version(),
            "capabilities": capabilities(self.era),
            "clientInfo": { "name": "contract", "version": "1" },
        });
        let exchange = self.open("initialize", hello);
        assert_eq!(exchange.response.status, 200);
        let session = exchange.response.header("mcp-session-id").expect("a session id").to_owned();
        let greeting = exchange.last();
        assert_eq!(greeting["result"]["protocolVersion"], self.era.version(), "{greeting}");
        self.session = Some(session);
        self.notify("notifications/initialized", json!({}));
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Parameters with what this era puts into each request.
    pub(crate) fn params(&self, mut params: Value) -> Value {
        if self.era == Era::Modern {
            let meta = &mut params["_meta"];
            meta["io.modelcontextprotocol/protocolVersion"] = json!(self.era.version());
            meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "contract", "version": "1" });
            meta["io.modelcontextprotocol/clientCapabilities"] = capabilities(self.era);
        }
        params
    }

    /// Headers of a message about `method`, and of the tool, prompt or resource it names.
    pub(crate) fn headers(&self, method: &str, name: Option<&str>) -> Vec<(String, String)> {
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("accept".to_owned(), "application/json, text/event-stream".to_owned()),
        ];
        if method != "initialize" {
            headers.push(("mcp-protocol-version".to_owned(), self.era.version().to_owned()));
        }
        if self.era == Era::Modern {
            headers.push(("mcp-method".to_owned(), method.to_owned()));
            headers.extend(name.map(|name| ("mcp-name".to_owned(), name.to_owned())));
        }
        headers.extend(self.session.clone().map(|session| ("mcp-session-id".to_owned(), session)));
        headers
    }

    /// Sends exactly this body.
    pub(crate) fn send_raw(&self, method: &str, name: Option<&str>, more: &[(&str, &str)], body: &str) -> Response {
        let mut headers = self.headers(method, name);
        headers.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        send(self.address, "POST", &headers, body.as_bytes())
    }

    /// Sends a request with an id of the caller's choice.
    pub(crate) fn open_as(&self, id: Value, method: &str, params: Value) -> Exchange<'_> {
        let params = self.params(params);
        let name = ["name", "uri", "taskId"].iter().find_map(|key| params[key].as_str()).map(str::to_owned);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let response = self.send_raw(method, name.as_deref(), &[], &body.to_string());
        Exchange { client: self, id, response }
    }

    pub(crate) fn open(&self, method: &str, params: Value) -> Exchange<'_> {
        self.open_as(json!(self.next_id()), method, params)
    }

    pub(crate) fn open_call(&self, tool: &str, arguments: Value) -> Exchange<'_> {
        self.open("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// A call that asks for progress under `token`.
    pub(crate) fn open_watched(&self, token: &str, tool: &str, arguments: Value) -> Exchange<'_> {
        let params = json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": token } });
        self.open("tools/call", params)
    }

    /// The response, result or error; a server that asks on the way is obliged.
    pub(crate) fn request(&self, method: &str, params: Value) -> Value {
        self.request_answering(method, params, &mut obliging)
    }

    /// The response to a request on whose way the server may ask for things, in either era's manner.
    pub(crate) fn request_answering(
        &self,
        method: &str,
        mut params: Value,
        answer: &mut dyn FnMut(&str, &Value) -> Value,
    ) -> Value {
        loop {
            let response = self.open(method, params.clone()).last_answering(answer);
            let result = &response["result"];
            if result["resultType"] != "input_required" {
                return response;
            }
            let asked = result["inputRequests"].as_object().cloned().unwrap_or_default();
            let answers: serde_json::Map<_, _> = asked
                .iter()
                .map(|(key, ask)| (key.clone(), answer(ask["method"].as_str().unwrap(), &ask["params"])))
                .collect();
            params["inputResponses"] = answers.into();
            if let Some(state) = result.get("requestState") {
                params["requestState"] = state.clone();
            }
        }
    }

    pub(crate) fn result(&self, method: &str, params: Value) -> Value {
        let response = self.request(method, params);
        assert!(response.get("error").is_none(), "{method}: {response}");
        response["result"].clone()
    }

    pub(crate) fn call(&self, tool: &str, arguments: Value) -> Value {
        self.result("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// First text of a tool's result.
    pub(crate) fn text(&self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments);
        assert_ne!(result["isError"], true, "{tool}: {result}");
        result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{tool}: no text in {result}")).to_owned()
    }

    pub(crate) fn number(&self, tool: &str) -> u64 {
        self.text(tool, json!({})).parse().unwrap()
    }

    pub(crate) fn notify(&self, method: &str, params: Value) {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        accepted(method, self.send_raw(method, None, &[], &body.to_string()));
    }

    /// Answers a request of the server (legacy).
    fn answer(&self, id: &Value, result: &Value) {
        let body = json!({ "jsonrpc": "2.0", "id": id, "result": result });
        accepted("answer", self.send_raw("", None, &[], &body.to_string()));
    }

    /// What the server says unasked: the GET stream, or a subscription for `filter`. Ready when it returns.
    pub(crate) fn listen(&self, filter: Value) -> Response {
        match self.era {
            Era::Legacy => {
                let mut headers = self.headers("", None);
                headers.retain(|(name, _)| name != "content-type" && name != "accept");
                headers.push(("accept".to_owned(), "text/event-stream".to_owned()));
                let stream = send(self.address, "GET", &headers, b"");
                assert_eq!(stream.status, 200, "GET stream");
                stream
            }
            Era::Modern => {
                let mut exchange = self.open("subscriptions/listen", json!({ "notifications": filter }));
                assert_eq!(exchange.response.status, 200, "subscriptions/listen");
                let first = exchange.response.message().unwrap();
                assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
                assert_eq!(subscription(&first), &exchange.id, "{first}");
                exchange.response
            }
        }
    }

    /// Ends the session (legacy); gives the status.
    pub(crate) fn delete(&self) -> u16 {
        send(self.address, "DELETE", &self.headers("", None), b"").status
    }
}

impl Exchange<'_> {
    /// The next message, if there is one before the end.
    pub(crate) fn next(&mut self) -> Option<Value> {
        self.response.message()
    }

    /// The response, passing over notifications.
    pub(crate) fn last(self) -> Value {
        self.last_answering(&mut obliging)
    }

    /// The response, answering what the server asks on the way.
    pub(crate) fn last_answering(mut self, answer: &mut dyn FnMut(&str, &Value) -> Value) -> Value {
        let status = self.response.status;
        while let Some(message) = self.next() {
            match (message.get("method").and_then(Value::as_str), message.get("id")) {
                (Some(method), Some(id)) => {
                    assert_eq!(self.client.era, Era::Legacy, "a modern server has no requests: {message}");
                    self.client.answer(id, &answer(method, &message["params"]));
                }
                (Some(_), None) => {}
                (None, _) => {
                    assert_eq!(message["id"], self.id, "an answer to something else: {message}");
                    return message;
                }
            }
        }
        panic!("HTTP {status} ended without a response to {}", self.id)
    }

    /// Gives the request up, as the era does it.
    pub(crate) fn cancel(self) {
        if self.client.era == Era::Legacy {
            self.client.notify("notifications/cancelled", json!({ "requestId": self.id, "reason": "test" }));
        }
        self.response.hang_up();
    }
}

fn accepted(what: &str, response: Response) {
    let status = response.status;
    let text = response.text();
    assert_eq!((status, text.as_str()), (202, ""), "{what}");
}

/// Which subscription a notification belongs to (modern).
pub(crate) fn subscription(message: &Value) -> &Value {
    &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"]
}

/// Everything a server might ask for.
fn capabilities(era: Era) -> Value {
    let mut all = json!({ "sampling": {}, "roots": {}, "elicitation": { "form": {}, "url": {} } });
    if era == Era::Modern {
        all["extensions"] = json!({ "io.modelcontextprotocol/tasks": {} });
    }
    all
}
