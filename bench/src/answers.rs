//! What the server says: results made once, found by the few words of a request that decide. Reads only traffic of this benchmark and
//! the gateway's own questions, so it looks for members by their text and parses nothing.

use memchr::memmem::Finder;

use crate::traffic::EVENTS;

/// Results by what was asked for; each without the braces and the `resultType` that depend on the era.
#[derive(Debug)]
pub struct Answers {
    method: Finder<'static>,
    id: Finder<'static>,
    name: Finder<'static>,
    tools: Vec<u8>,
    export: Vec<u8>,
    search: Vec<u8>,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Raw JSON; absent in notifications.
    pub id: Option<&'a [u8]>,
    pub method: &'a [u8],
    pub name: &'a [u8],
}

/// How to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Members of the result.
    Result(&'a [u8]),
    /// A result that begins a session.
    Hello(&'a [u8]),
    /// 202 without a body.
    Accepted,
    /// 100 events, then a result; `true`: one event each millisecond.
    Stream(bool),
    /// A stream that stays open.
    Standing,
    /// -32601.
    Unknown,
}

/// The result at the end of a stream.
pub const STREAMED: &[u8] = br#""content":[{"type":"text","text":"streamed"}]"#;

const DONE: &[u8] = br#""content":[{"type":"text","text":"done"}]"#;
const CHECKED: &[u8] = br#""content":[{"type":"text","text":"{\"rows\":3}"}],"structuredContent":{"rows":3,"names":["a","b","c"],"total":7.5,"complete":true}"#;
const HELLO: &[u8] = br#""protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench-upstream","version":"1"}"#;
const DISCOVERED: &[u8] = br#""supportedVersions":["2025-11-25","2026-07-28"],"capabilities":{"tools":{"listChanged":true}},"ttlMs":60000,"cacheScope":"private""#;

impl Answers {
    /// Makes the results; the list holds this many tools (at least those with answers of their own).
    #[must_use]
    pub fn new(tools: usize) -> Self {
        let line = "2026-11-22,A-00017,a line of an export that goes on and on,17.25\\n";
        let export = format!(
            r#""content":[{{"type":"text","text":"{}the last row"}}]"#,
            line.repeat((1 << 20) / (line.len() - 1))
        );
        let found =
            "done: /srv/notes/2026/november/gate.md, /srv/notes/2026/november/portcullis.md, /srv/notes/walls.md";
        let search = format!(r#""content":[{{"type":"text","text":"{found}"}}],"isError":false"#);
        Self {
            method: Finder::new(r#""method":""#),
            id: Finder::new(r#""id":"#),
            name: Finder::new(r#""name":""#),
            tools: list(tools).into_bytes(),
            export: export.into_bytes(),
            search: search.into_bytes(),
        }
    }

    /// Finds what a body asks.
    #[must_use]
    pub fn asked<'a>(&self, body: &'a [u8]) -> Asked<'a> {
        let method = after(&self.method, body).map(|rest| until(rest, b'"')).unwrap_or_default();
        let id =
            after(&self.id, body).map(|rest| rest.split(|byte| matches!(byte, b',' | b'}')).next().unwrap_or(rest));
        let name = if method == b"tools/call" { after(&self.name, body).map(|rest| until(rest, b'"')) } else { None };
        Asked { id, method, name: name.unwrap_or_default() }
    }

    /// The answer to it.
    #[must_use]
    pub fn to(&self, asked: &Asked<'_>) -> Answer<'_> {
        if asked.id.is_none() {
            return Answer::Accepted;
        }
        match asked.method {
            b"tools/call" => match asked.name {
                b"search" => Answer::Result(&self.search),
                b"export" => Answer::Result(&self.export),
                b"lookup" => Answer::Result(CHECKED),
                b"watch" => Answer::Stream(false),
                b"follow" => Answer::Stream(true),
                _ => Answer::Result(DONE),
            },
            b"tools/list" => Answer::Result(&self.tools),
            b"initialize" => Answer::Hello(HELLO),
            b"server/discover" => Answer::Result(DISCOVERED),
            b"subscriptions/listen" => Answer::Standing,
            b"ping" => Answer::Result(b""),
            _ => Answer::Unknown,
        }
    }
}

fn after<'a>(finder: &Finder<'_>, text: &'a [u8]) -> Option<&'a [u8]> {
    text.get(finder.find(text)? + finder.needle().len()..)
}

fn until(text: &[u8], end: u8) -> &[u8] {
    memchr::memchr(end, text).and_then(|at| text.get(..at)).unwrap_or_default()
}

/// One event of a stream.
#[must_use]
pub fn progress(token: &[u8], step: usize) -> Vec<u8> {
    let token = String::from_utf8_lossy(token);
    format!(
        "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{token},\"progress\":{step},\"total\":{EVENTS},\"message\":\"step {step} of {EVENTS}\"}}}}\n\n"
    )
    .into_bytes()
}

/// Tools that this server answers in their own way, then others like them.
fn list(count: usize) -> String {
    let own = [
        (
            "search",
            r#"{"type":"object","properties":{"query":{"type":"string","description":"Words to look for."},"path":{"type":"string","description":"Folder to look in."},"limit":{"type":"integer","minimum":1,"maximum":100},"recursive":{"type":"boolean"},"sort":{"type":"string","enum":["name","date","size"]}},"required":["query"],"additionalProperties":false}"#,
            "",
        ),
        (
            "write",
            r#"{"type":"object","properties":{"path":{"type":"string"},"text":{"type":"string"}},"required":["path","text"],"additionalProperties":false}"#,
            "",
        ),
        (
            "order",
            r#"{"type":"object","properties":{"items":{"type":"array","items":{"type":"object","properties":{"sku":{"type":"string"},"title":{"type":"string"},"count":{"type":"integer"},"price":{"type":"number"},"tags":{"type":"array","items":{"type":"string"}},"open":{"type":"boolean"}},"required":["sku","count"],"additionalProperties":false}}},"required":["items"],"additionalProperties":false}"#,
            "",
        ),
        (
            "export",
            r#"{"type":"object","properties":{"format":{"type":"string","enum":["csv","json"]}},"required":["format"],"additionalProperties":false}"#,
            "",
        ),
        (
            "lookup",
            r#"{"type":"object","properties":{"table":{"type":"string"},"limit":{"type":"integer"}},"required":["table"],"additionalProperties":false}"#,
            r#","outputSchema":{"type":"object","properties":{"rows":{"type":"integer"},"names":{"type":"array","items":{"type":"string"}},"total":{"type":"number"},"complete":{"type":"boolean"}},"required":["rows"]}"#,
        ),
        (
            "watch",
            r#"{"type":"object","properties":{"topic":{"type":"string"}},"required":["topic"],"additionalProperties":false}"#,
            "",
        ),
        (
            "follow",
            r#"{"type":"object","properties":{"topic":{"type":"string"}},"required":["topic"],"additionalProperties":false}"#,
            "",
        ),
    ];
    let mut tools: Vec<String> = own
        .iter()
        .map(|(name, input, output)| {
            format!(r#"{{"name":"{name}","title":"Bench {name}","description":"Does what its name says, for the benchmark.","inputSchema":{input}{output},"annotations":{{"readOnlyHint":true}}}}"#)
        })
        .collect();
    let (_, schema, _) = own.first().copied().unwrap_or_default();
    for number in tools.len()..count {
        tools.push(format!(r#"{{"name":"tool_{number:03}","title":"Tool {number}","description":"One of many tools that a server lists and that nobody calls in this run, with a description as long as descriptions are.","inputSchema":{schema},"annotations":{{"readOnlyHint":true}}}}"#));
    }
    format!(r#""tools":[{}],"ttlMs":60000,"cacheScope":"private""#, tools.join(","))
}

#[cfg(test)]
mod tests {
    use super::{Answer, Answers, Asked, list, progress};

    #[test]
    fn what_decides_is_found_in_our_requests_and_in_the_gateways_own() {
        let answers = Answers::new(100);
        let body = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"watch","arguments":{},"_meta":{"x":1}}}"#;
        let asked = answers.asked(body);
        assert_eq!(asked, Asked { id: Some(b"7"), method: b"tools/call", name: b"watch" });
        assert_eq!(answers.to(&asked), Answer::Stream(false));
        let body = br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"clientInfo":{"name":"search"}}}"#;
        assert!(matches!(answers.to(&answers.asked(body)), Answer::Hello(_)));
        let body = br#"{"jsonrpc":"2.0","method":"notifications/initialized","params":{}}"#;
        assert_eq!(answers.to(&answers.asked(body)), Answer::Accepted);
    }

    #[test]
    fn lists_and_events_are_json() {
        let json: serde_json::Value = serde_json::from_str(&format!("{{{}}}", list(100))).unwrap();
        assert_eq!(json["tools"].as_array().unwrap().len(), 100);
        let event = String::from_utf8(progress(b"7", 3)).unwrap();
        let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(data).unwrap()["params"]["progress"], 3);
    }
}
