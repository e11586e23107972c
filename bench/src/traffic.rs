//! What the client says in each kind of call: the whole HTTP request made in advance, with places where the id goes.

/// Digits of an id: always as many, so that every request of a kind has one length. They stay exact in every JSON reader.
pub const ID_DIGITS: usize = 12;
/// The first id.
pub const FIRST_ID: u64 = 100_000_000_000;

/// Events of a stream before its result.
pub const EVENTS: usize = 100;

/// Kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// `tools/call` with five arguments, 200 bytes each way.
    Small,
    /// One argument of 64 KiB of text.
    String64k,
    /// 64 KiB of small objects.
    Args64k,
    /// A result of 1 MiB.
    Result1m,
    /// A tool with an `outputSchema`, so that its result is checked.
    Checked,
    /// `tools/list`.
    List,
    /// `tools/list` of twenty servers of fifty tools each behind one endpoint.
    MergedList,
    /// A small call of a tool of one of them.
    MergedCall,
    /// 100 progress events, then the result: the first event at once, the others together.
    Stream,
    /// The same, one event each millisecond.
    Paced,
    /// A small call that the benchmark's policy forbids by an argument. Sent direct, it is answered.
    Refused,
}

/// Which of the protocol's two forms is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Era {
    Legacy,
    Modern,
}

impl Era {
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }
}

/// A request ready to be sent, again and again under new ids.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    /// Where the digits of the id go.
    places: Vec<usize>,
}

impl Request {
    /// The bytes under this id.
    pub fn under(&mut self, id: u64) -> &[u8] {
        let digits = format!("{id:0ID_DIGITS$}");
        for place in &self.places {
            if let Some(room) = self.bytes.get_mut(*place..place + ID_DIGITS) {
                room.copy_from_slice(digits.as_bytes());
            }
        }
        &self.bytes
    }
}

/// What an answer must hold beside its id.
#[must_use]
pub const fn proof(kind: Kind, refused: bool) -> &'static [u8] {
    match kind {
        Kind::Refused if refused => REFUSAL.as_bytes(),
        Kind::Small | Kind::MergedCall | Kind::String64k | Kind::Args64k | Kind::Refused => br#""text":"done"#,
        Kind::Result1m => b"the last row\"",
        Kind::Checked => br#""structuredContent":{"rows":3"#,
        Kind::List => br#""name":"tool_094""#,
        Kind::MergedList => br#""name":"s19__tool_049""#,
        Kind::Stream | Kind::Paced => br#""text":"streamed"#,
    }
}

/// The reason that the benchmark's policy gives.
pub const REFUSAL: &str = "Nothing below /etc is anybody's business.";

/// Stands where the id goes, and nowhere else: no JSON text holds it.
const HOLE: &str = "\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}";

/// A call of this kind. `session` is what a legacy server gave.
#[must_use]
pub fn call(host: &str, era: Era, kind: Kind, session: Option<&str>) -> Request {
    match kind {
        Kind::List | Kind::MergedList => request(host, era, "tools/list", None, "", "", session),
        Kind::Small => tool(host, era, "search", &search("/srv/notes/2026/november"), session),
        Kind::MergedCall => tool(host, era, "s07__search", &search("/srv/notes/2026/november"), session),
        Kind::Refused => tool(host, era, "search", &search("/etc/portcullis/keys.txt"), session),
        Kind::String64k => {
            let text = "All work and no play makes a gateway fast. ".repeat(1525);
            tool(host, era, "write", &format!(r#"{{"path":"/srv/notes/long.txt","text":"{text}"}}"#), session)
        }
        Kind::Args64k => {
            let item = |number: usize| {
                format!(
                    r#"{{"sku":"A-{number:05}","title":"Item number {number}","count":{count},"price":{number}.25,"tags":["new","blue"],"open":true}}"#,
                    count = number % 7
                )
            };
            let items: Vec<String> = (0..637).map(item).collect();
            tool(host, era, "order", &format!(r#"{{"items":[{}]}}"#, items.join(",")), session)
        }
        Kind::Result1m => tool(host, era, "export", r#"{"format":"csv"}"#, session),
        Kind::Checked => tool(host, era, "lookup", r#"{"table":"orders","limit":3}"#, session),
        Kind::Stream => tool(host, era, "watch", r#"{"topic":"builds"}"#, session),
        Kind::Paced => tool(host, era, "follow", r#"{"topic":"builds"}"#, session),
    }
}

fn search(path: &str) -> String {
    format!(r#"{{"query":"gate","path":"{path}","limit":20,"recursive":true,"sort":"date"}}"#)
}

fn tool(host: &str, era: Era, name: &str, arguments: &str, session: Option<&str>) -> Request {
    // The name comes first, so that the server finds it without reading what follows.
    let params = format!(r#""name":"{name}","arguments":{arguments}"#);
    let token = if matches!(name, "watch" | "follow") { format!(r#""progressToken":{HOLE}"#) } else { String::new() };
    request(host, era, "tools/call", Some(name), &params, &token, session)
}

/// `params` and `meta` are members without braces.
fn request(
    host: &str,
    era: Era,
    method: &str,
    name: Option<&str>,
    params: &str,
    meta: &str,
    session: Option<&str>,
) -> Request {
    let meta: Vec<&str> =
        [meta, if era == Era::Modern { META } else { "" }].into_iter().filter(|m| !m.is_empty()).collect();
    let meta = if meta.is_empty() { String::new() } else { format!(r#""_meta":{{{}}}"#, meta.join(",")) };
    let params: Vec<&str> = [params, &meta].into_iter().filter(|part| !part.is_empty()).collect();
    let body = format!(r#"{{"jsonrpc":"2.0","id":{HOLE},"method":"{method}","params":{{{}}}}}"#, params.join(","));
    let mirrored = match (era, name) {
        (Era::Modern, Some(name)) => format!("Mcp-Method: {method}\r\nMcp-Name: {name}\r\n"),
        (Era::Modern, None) => format!("Mcp-Method: {method}\r\n"),
        (Era::Legacy, _) => String::new(),
    };
    post(host, era, &mirrored, session, &body)
}

const META: &str =
    r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#;

fn post(host: &str, era: Era, mirrored: &str, session: Option<&str>, body: &str) -> Request {
    let session = session.map(|id| format!("Mcp-Session-Id: {id}\r\n")).unwrap_or_default();
    let text = format!(
        "POST /mcp HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: {version}\r\n{mirrored}{session}Content-Length: {length}\r\n\r\n{body}",
        version = era.version(),
        length = body.len(),
    );
    let places = text.match_indices(HOLE).map(|(place, _)| place).collect();
    Request { bytes: text.into_bytes(), places }
}

/// `initialize`. It carries no version header: there is none yet.
#[must_use]
pub fn initialize(host: &str) -> Request {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{HOLE},"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{{}},"clientInfo":{{"name":"bench-load","version":"1"}}}}}}"#
    );
    post(host, Era::Legacy, "", None, &body)
}

/// `notifications/initialized`.
#[must_use]
pub fn initialized(host: &str, session: Option<&str>) -> Request {
    post(host, Era::Legacy, "", session, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
}

/// The end of a session.
#[must_use]
pub fn goodbye(host: &str, session: &str) -> Request {
    let text = format!(
        "DELETE /mcp HTTP/1.1\r\nHost: {host}\r\nMCP-Protocol-Version: {version}\r\nMcp-Session-Id: {session}\r\n\r\n",
        version = Era::Legacy.version(),
    );
    Request { bytes: text.into_bytes(), places: Vec::new() }
}

/// A standing stream of the modern era.
#[must_use]
pub fn listen(host: &str) -> Request {
    request(host, Era::Modern, "subscriptions/listen", None, r#""notifications":{"toolsListChanged":true}"#, "", None)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::{Era, FIRST_ID, Kind, call};

    fn body(era: Era, kind: Kind) -> (String, serde_json::Value) {
        let text = String::from_utf8(call("h:1", era, kind, Some("s")).under(FIRST_ID + 7).to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        (head.to_owned(), serde_json::from_str(body).unwrap())
    }

    #[test]
    fn every_request_is_json_with_its_length_and_id() {
        for era in [Era::Legacy, Era::Modern] {
            for kind in Kind::value_variants() {
                let (head, json) = body(era, *kind);
                assert_eq!(json["id"], 100_000_000_007_u64);
                assert_eq!(head.contains("Mcp-Method"), era == Era::Modern);
            }
        }
    }

    #[test]
    fn sizes_are_what_the_rows_say() {
        let length = |era, kind| serde_json::to_string(&body(era, kind).1).unwrap().len();
        assert!((180..=220).contains(&length(Era::Legacy, Kind::Small)), "{}", length(Era::Legacy, Kind::Small));
        for kind in [Kind::String64k, Kind::Args64k] {
            assert!((64_000..=68_000).contains(&length(Era::Legacy, kind)), "{}", length(Era::Legacy, kind));
        }
    }

    #[test]
    fn a_stream_has_its_id_as_progress_token() {
        assert_eq!(body(Era::Modern, Kind::Paced).1["params"]["_meta"]["progressToken"], 100_000_000_007_u64);
    }
}
