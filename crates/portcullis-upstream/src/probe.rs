//! What the gateway asks a server on its own account: its era, what it says of itself, and its lists.
//! A probe is built from constants and the server's own cursors; it cannot carry anything of a client, so it needs no seal.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use portcullis_core::catalogue::{Hello, Listed};
use portcullis_core::own;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::version::{Era, Version};
use portcullis_core::wire::{Direction, Id, Kind, Limits, Malformed, Message};

mod listing;

pub(crate) use self::listing::survey;

/// How long a server may be silent on a question that it need not know. 5 s: some legacy servers never answer what they do not know, and no
/// server computes a list of its own for longer.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);

/// One message of our own.
#[derive(Debug)]
pub(crate) struct Probe {
    method: &'static str,
    id: Option<Id>,
    body: Bytes,
}

/// Someone who can put a probe to a server and wait for its answer.
pub(crate) trait Ask: Send {
    /// The response to a probe that asks; other messages of the reply are not looked at.
    fn ask(&mut self, probe: Probe) -> impl Future<Output = Result<Message, Fault>> + Send;
    /// Delivers a probe that only tells.
    fn tell(&mut self, probe: Probe) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// The eras a server turned out to speak; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) legacy: bool,
    pub(crate) modern: bool,
}

/// What an answer to `server/discover` says about the era (G2, G3, D14, D15).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Discovered {
    /// Proven: the server lists versions we speak.
    Serves(Served),
    /// Not modern as far as this answer goes: to be proven by one `initialize`.
    MaybeLegacy,
    /// Modern, but in no version we speak.
    Foreign,
}

/// `clientInfo` and `clientCapabilities` of our own requests: no capability, because nobody behind a probe could serve one (B13).
const CLIENT_INFO: &str = concat!(r#"{"name":"portcullis","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);

fn modern_meta() -> String {
    format!(
        r#""_meta":{{"io.modelcontextprotocol/protocolVersion":"{}","io.modelcontextprotocol/clientInfo":{CLIENT_INFO},"io.modelcontextprotocol/clientCapabilities":{{}}}}"#,
        Version::LATEST_MODERN
    )
}

impl Probe {
    fn request(id: i64, method: &'static str, params: &str) -> Self {
        let id = Id::number(id);
        let body = own::request(&id, method, params);
        Self { method, id: Some(id), body }
    }

    pub(crate) fn discover(id: i64) -> Self {
        Self::request(id, "server/discover", &format!("{{{}}}", modern_meta()))
    }

    pub(crate) fn initialize(id: i64) -> Self {
        let version = Version::LATEST_LEGACY;
        let params = format!(r#"{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{CLIENT_INFO}}}"#);
        Self::request(id, "initialize", &params)
    }

    pub(crate) fn initialized() -> Self {
        let method = "notifications/initialized";
        Self { method, id: None, body: own::notification(method, "{}") }
    }

    /// `cursor` is the exact JSON text the server gave, or none for the first page.
    fn list(list: Listed, id: i64, era: Era, cursor: Option<&str>) -> Self {
        let cursor = cursor.map(|raw| format!(r#""cursor":{raw}"#));
        let meta = (era == Era::Modern).then(modern_meta);
        let params: Vec<String> = cursor.into_iter().chain(meta).collect();
        Self::request(id, list.method(), &format!("{{{}}}", params.join(",")))
    }

    pub(crate) const fn method(&self) -> &'static str {
        self.method
    }

    pub(crate) const fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }

    pub(crate) const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The probe as a message, for transports that rewrite ids.
    pub(crate) fn message(&self, limits: &Limits) -> Result<Message, Malformed> {
        Message::read(self.body.clone(), Direction::ToServer, limits)
    }
}

impl Served {
    pub(crate) const LEGACY: Self = Self { legacy: true, modern: false };
    pub(crate) const MODERN: Self = Self { legacy: false, modern: true };

    pub(crate) const fn speaks(self, era: Era) -> bool {
        match era {
            Era::Legacy => self.legacy,
            Era::Modern => self.modern,
        }
    }

    /// The era to name when there is room for one: the newer.
    pub(crate) const fn newest(self) -> Era {
        if self.modern { Era::Modern } else { Era::Legacy }
    }
}

/// Reads the answer to `server/discover`.
pub(crate) fn discovered(answer: &Message) -> Discovered {
    let listed = match answer.kind() {
        Kind::Result => answer.result_member("supportedVersions"),
        // A modern error proves a modern server only together with a version list we can use, or by being about our headers (G2).
        Kind::Error => match answer.error_code() {
            Some(-32022) => answer.error().and_then(|error| error.path(&["data", "supported"])),
            Some(-32020 | -32021) => return Discovered::Serves(Served::MODERN),
            _ => None,
        },
        Kind::Request | Kind::Notification => None,
    };
    let Some(listed) = listed else { return Discovered::MaybeLegacy };
    let mut served = Served { legacy: false, modern: false };
    let mut newer = false;
    for version in listed.elements().take(64).filter_map(|version| version.as_str()) {
        match Version::parse(&version).map(Version::era) {
            Some(Era::Legacy) => served.legacy = true,
            Some(Era::Modern) => served.modern = true,
            None => newer |= version.as_ref() > Version::LATEST_MODERN.as_str(),
        }
    }
    match served {
        Served { modern: true, .. } => Discovered::Serves(served),
        Served { legacy: false, modern: false } if newer => Discovered::Foreign,
        // Listing legacy versions is not yet serving them: `initialize` proves it.
        _ => Discovered::MaybeLegacy,
    }
}

/// Reads the answer to `initialize` (B3, B4).
pub(crate) fn greeted(answer: &Message) -> Result<Hello, Fault> {
    if answer.kind() == Kind::Error {
        let code = answer.error_code().unwrap_or_default();
        return Err(Fault::new(FaultKind::Garbage, format!("the server refused `initialize` with code {code}")));
    }
    legacy_version(answer)?;
    Hello::of(answer).ok_or_else(|| Fault::new(FaultKind::Garbage, "the answer to `initialize` is no result"))
}

/// The version an `InitializeResult` names, if it is one of the handshake's versions (B4).
pub(crate) fn legacy_version(answer: &Message) -> Result<Version, Fault> {
    answer
        .result_member("protocolVersion")
        .and_then(|version| Version::parse(&version.as_str()?))
        .filter(|version| version.era() == Era::Legacy)
        .ok_or_else(|| Fault::new(FaultKind::Garbage, "the answer to `initialize` names no protocol version we speak"))
}

/// `initialize` and `notifications/initialized`.
pub(crate) async fn handshake(server: &mut impl Ask, id: i64) -> Result<Hello, Fault> {
    let hello = greeted(&server.ask(Probe::initialize(id)).await?)?;
    server.tell(Probe::initialized()).await?;
    Ok(hello)
}

/// What a modern server says of itself, or nothing: it is asked for its lists all the same.
pub(crate) async fn introduction(server: &mut impl Ask, id: i64) -> Option<Hello> {
    match tokio::time::timeout(SILENCE, server.ask(Probe::discover(id))).await {
        Ok(Ok(answer)) => Hello::of(&answer),
        Ok(Err(fault)) => {
            tracing::debug!(%fault, "a modern server does not say what it is");
            None
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
