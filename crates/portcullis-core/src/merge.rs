//! Several servers' answers to one request become one: lists joined in the servers' order, item by item as they came; capabilities
//! united; instructions under each server's name. It adds nothing but our own words, and never looks at what an item says.

mod acknowledged;
mod capabilities;

use std::fmt;

use bytes::Bytes;

pub use self::acknowledged::acknowledged;
pub use self::capabilities::is_for;
use crate::catalogue::{Caching, Listed};
use crate::own;
use crate::version::Era;
use crate::wire::{Id, Limits, Message, View};

/// The member of `_meta` that names the servers whose part is missing.
pub const UNAVAILABLE: &str = "io.portcullis/unavailable";

const META_SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// One server's answer, in the clients' words.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub server: &'a str,
    /// A response with a result.
    pub answer: &'a Message,
}

/// A server that did not answer with a result, and why, in our words.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    pub server: &'a str,
    /// Stable code of the refusal or fault.
    pub code: &'a str,
    /// Its public sentence.
    pub message: &'a str,
}

/// What the gateway says about itself.
#[derive(Clone, Copy, Debug)]
pub struct OwnHello<'a> {
    /// The era of the exchange.
    pub era: Era,
    /// `serverInfo`, raw JSON.
    pub server_info: &'a str,
    /// The answer to `initialize`.
    pub protocol_version: &'a str,
    /// The answer to `server/discover`.
    pub supported_versions: &'a [&'a str],
    /// Stand before those of the servers.
    pub instructions: Option<&'a str>,
}

/// Why there is no joint answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeError {
    /// No server answered with a result. What the first failure answers is the answer.
    AllFailed,
    /// Not a request that several servers answer together.
    Method,
    /// What a server answered is no result of the method.
    NoResult { server: String },
    /// The whole is larger than a message may be; bytes.
    TooLarge { limit: usize },
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllFailed => f.write_str("no server answered"),
            Self::Method => f.write_str("not a request that several servers answer together"),
            Self::NoResult { server } => write!(f, "`{server}` did not answer with a result of the method"),
            Self::TooLarge { limit } => write!(f, "the servers' answers together are larger than {limit} bytes"),
        }
    }
}

impl std::error::Error for MergeError {}

/// One response of several servers' results. `parts` and `failed` in the order of the servers; `next_cursor` is our own.
///
/// Modern results carry what C12, C16 and C43 ask for: the least `ttlMs` (0 where a server gives none or is missing, so that clients ask
/// again soon), and `private` unless every server says `public`.
///
/// # Errors
/// [`MergeError`]; the size is that of `limits.bytes`.
pub fn merge(
    method: &str,
    id: &Id,
    parts: &[Part<'_>],
    failed: &[Failed<'_>],
    next_cursor: Option<&str>,
    own: &OwnHello<'_>,
    limits: &Limits,
) -> Result<Bytes, MergeError> {
    if parts.is_empty() {
        return Err(MergeError::AllFailed);
    }
    let mut result = Members::within(format!(r#"{{"jsonrpc":"2.0","id":{},"result":"#, id.raw()), limits.bytes);
    result.reserve(parts);
    if own.era == Era::Modern {
        result.raw("resultType", r#""complete""#);
    }
    let is_cacheable = match method {
        "initialize" | "server/discover" => {
            hello(&mut result, method, parts, own);
            true
        }
        "ping" | "logging/setLevel" | "subscriptions/listen" => false,
        _ => {
            let tasks = (method == "tasks/list").then_some("tasks");
            let member = tasks.or_else(|| Listed::of_method(method).map(Listed::member)).ok_or(MergeError::Method)?;
            items(&mut result, member, parts)?;
            if let Some(cursor) = next_cursor {
                result.text("nextCursor", cursor);
            }
            true
        }
    };
    if own.era == Era::Modern && is_cacheable {
        hints(&mut result, parts, failed);
    }
    meta(&mut result, method, id, failed, own);
    // The end of the result; that of the whole is the last.
    result.push("}");
    result.whole().map(Bytes::from)
}

/// The items of all servers' lists.
fn items(result: &mut Members, member: &str, parts: &[Part<'_>]) -> Result<(), MergeError> {
    result.key(member);
    result.push("[");
    let mut first = true;
    for part in parts {
        let list = part.answer.result_member(member).map(View::text);
        // Of what was read, only an array begins like this.
        let inside = list.and_then(|list| list.strip_prefix('[')?.strip_suffix(']'));
        let inside = inside.ok_or_else(|| MergeError::NoResult { server: part.server.to_owned() })?;
        let inside = inside.trim_matches([' ', '\t', '\n', '\r']);
        if inside.is_empty() {
            continue;
        }
        if !first {
            result.push(",");
        }
        first = false;
        result.push(inside);
    }
    result.push("]");
    Ok(())
}

/// What the servers are together: the answer to `initialize` and to `server/discover`.
fn hello(result: &mut Members, method: &str, parts: &[Part<'_>], own: &OwnHello<'_>) {
    if method == "initialize" {
        result.text("protocolVersion", own.protocol_version);
    } else {
        let versions: Vec<String> = own.supported_versions.iter().map(|version| own::quoted(version)).collect();
        result.raw("supportedVersions", &format!("[{}]", versions.join(",")));
    }
    let declared: Vec<View<'_>> = parts.iter().filter_map(|part| part.answer.result_member("capabilities")).collect();
    result.raw("capabilities", &capabilities::united(&declared));
    if method == "initialize" {
        result.raw("serverInfo", own.server_info);
    }
    let mut instructions: Vec<String> = own.instructions.into_iter().map(str::to_owned).collect();
    for part in parts {
        let text = part.answer.result_member("instructions").and_then(View::as_str);
        if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
            instructions.push(format!("## {}\n\n{}", part.server, below_heading(&text)));
        }
    }
    if !instructions.is_empty() {
        result.text("instructions", &instructions.join("\n\n"));
    }
}

/// A server's instructions as they stand below its name: with their own headings two levels down, so that none reads as another server's.
fn below_heading(text: &str) -> String {
    let mut below = String::with_capacity(text.len());
    for line in text.trim_end().split_inclusive(['\n', '\r']) {
        let bare = line.trim_start();
        let is_heading = bare.starts_with('#');
        below.push_str(if is_heading { "##" } else { "" });
        below.push_str(if is_heading { bare } else { line });
    }
    below
}

/// How long, and by whom, the whole may be kept: no longer and by no more than any of its parts (C43-C45). What is missing may be missing
/// now only, and for this caller only.
fn hints(result: &mut Members, parts: &[Part<'_>], failed: &[Failed<'_>]) {
    let all = parts.iter().map(|part| Caching::of(part.answer)).reduce(Caching::and);
    let all = all.filter(|_| failed.is_empty()).unwrap_or_default();
    result.raw("ttlMs", &all.ttl_ms.to_string());
    result.text("cacheScope", if all.public { "public" } else { "private" });
}

fn meta(result: &mut Members, method: &str, id: &Id, failed: &[Failed<'_>], own: &OwnHello<'_>) {
    let mut meta = Members::new(result.limit);
    if own.era == Era::Modern {
        meta.raw(META_SERVER_INFO, own.server_info);
    }
    if method == "subscriptions/listen" {
        meta.raw(META_SUBSCRIPTION, id.raw());
    }
    if !failed.is_empty() {
        let missing = failed.iter().map(|failed| {
            let mut one = Members::new(result.limit);
            one.text("server", failed.server);
            one.text("code", failed.code);
            one.text("message", failed.message);
            one.closed()
        });
        meta.raw(UNAVAILABLE, &format!("[{}]", missing.collect::<Vec<_>>().join(",")));
    }
    if !meta.is_empty() {
        result.raw("_meta", &meta.closed());
    }
}

/// A JSON object that is written member by member, up to a size.
struct Members {
    text: String,
    /// Where its own text begins.
    start: usize,
    limit: usize,
}

impl Members {
    fn new(limit: usize) -> Self {
        Self::within(String::new(), limit)
    }

    /// After a text that is not its own and counts towards the limit.
    fn within(mut text: String, limit: usize) -> Self {
        text.push('{');
        Self { start: text.len(), text, limit }
    }

    /// Room for all that the parts say, so that long lists are copied once.
    fn reserve(&mut self, parts: &[Part<'_>]) {
        let bytes: usize = parts.iter().map(|part| part.answer.bytes().len()).sum();
        self.text.reserve(bytes.min(self.limit));
    }

    fn is_empty(&self) -> bool {
        self.text.len() == self.start
    }

    fn key(&mut self, key: &str) {
        if !self.is_empty() {
            self.push(",");
        }
        self.push(&own::quoted(key));
        self.push(":");
    }

    fn raw(&mut self, key: &str, raw: &str) {
        self.key(key);
        self.push(raw);
    }

    fn text(&mut self, key: &str, value: &str) {
        self.raw(key, &own::quoted(value));
    }

    /// Beyond the limit nothing is kept but the fact that there is more.
    fn push(&mut self, text: &str) {
        if self.text.len() <= self.limit {
            self.text.push_str(text);
        }
    }

    fn closed(mut self) -> String {
        self.text.push('}');
        self.text
    }

    fn whole(self) -> Result<String, MergeError> {
        let limit = self.limit;
        let text = self.closed();
        if text.len() > limit { Err(MergeError::TooLarge { limit }) } else { Ok(text) }
    }
}

#[cfg(test)]
mod tests;
