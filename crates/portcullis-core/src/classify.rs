//! Which revision, and so which era, one message belongs to (C22). A pure function of headers, body and session.
//! Only version values decide, never the presence of other members or headers (C22a). It must never look a session up:
//! a modern message's session id means nothing (C22b), and a legacy one's was resolved by whoever owns sessions.

use std::borrow::Cow;

use crate::refusal::Violation;
use crate::version::{Era, Version};
use crate::wire::{Direction, Eras, JsonKind, Kind, Limits, METHODS, Malformed, Message};

/// The header that names the revision, in lower case.
pub const VERSION_HEADER: &str = "mcp-protocol-version";

/// The member of `_meta` that names the revision of a modern message.
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The member of `_meta` in which a modern request declares what its client can do (C14).
pub const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// The modern per-request fields. A legacy message that carries one is forwarded without it, so that a server of both eras
/// cannot classify it anew (C22). `related-task` is legacy's own and stays.
pub const RESERVED_META: [&str; 4] =
    [META_VERSION, "io.modelcontextprotocol/clientInfo", META_CAPABILITIES, "io.modelcontextprotocol/logLevel"];

/// All that classification may look at.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Every field value of `MCP-Protocol-Version`, outer white space trimmed.
    pub version_headers: &'a [&'a str],
    pub message: &'a Message,
    /// What the session named by `MCP-Session-Id` negotiated: only for a live session that belongs to this caller.
    pub session: Option<Version>,
    /// Whether `MCP-Session-Id` was sent at all.
    pub session_presented: bool,
}

/// The verdict that everything behind it sticks to (C23).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified {
    pub version: Version,
    /// A legacy message with members of [`RESERVED_META`]: forward what [`without_reserved`] makes of it.
    pub strip_reserved: bool,
}

/// What the version header says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim<'a> {
    Absent,
    Legacy(Version),
    /// 2026-07-28 or a later date, spoken here or not: C22 (1) asks for modern answers to either.
    Modern(&'a str),
    /// Not a date of either era.
    Unknown(&'a str),
}

/// What `_meta` says about the version.
enum Body<'a> {
    Absent,
    Text(Cow<'a, str>),
    /// Present, but not a string.
    NotText,
}

/// Applies C22, its rules in their order.
///
/// # Errors
/// `HeaderRepeated` (C30), `HeaderMissing` or `HeaderMismatch` (C25), `MetaMissing` (C14), `VersionUnsupported` (C18),
/// `VersionHeaderUnknown` (A30), `VersionNotNegotiated`, `SessionUnknown` (A24), `ResponseInModern` (C3).
pub fn classify(evidence: &Evidence<'_>) -> Result<Classified, Violation> {
    let body = Body::of(evidence.message);
    match Claim::read(evidence.version_headers)? {
        Claim::Modern(claimed) => modern(claimed, &body, evidence.message),
        Claim::Legacy(claimed) => {
            session_is_known(evidence)?;
            // Inside a session the era was settled by `initialize`, so a stray value in the body changes nothing there.
            if body.contradicts(claimed.as_str()) && evidence.session.is_none() {
                return Err(mismatch());
            }
            legacy(evidence, Some(claimed))
        }
        Claim::Absent => match body {
            Body::Absent => {
                session_is_known(evidence)?;
                legacy(evidence, None)
            }
            // Whoever writes the member knows the revision that demands the header. This holds for legacy values too: a
            // message in modern shape that names a legacy revision has no defined meaning (L13).
            Body::Text(_) | Body::NotText => Err(Violation::HeaderMissing { header: VERSION_HEADER.into() }),
        },
        Claim::Unknown(claimed) => Err(match body {
            Body::Absent => Violation::VersionHeaderUnknown,
            _ if body.contradicts(claimed) => mismatch(),
            _ => Violation::VersionUnsupported { requested: claimed.to_owned() },
        }),
    }
}

/// The revision of a `GET` or `DELETE`, which have no body and exist in the legacy era only. `session` as in [`Evidence`].
///
/// # Errors
/// `MethodNotAllowed` under a modern header (C1), else as [`classify`] for a legacy message.
pub fn classify_sessionless_stream(version_headers: &[&str], session: Option<Version>) -> Result<Version, Violation> {
    match Claim::read(version_headers)? {
        Claim::Modern(_) => Err(Violation::MethodNotAllowed { allow: "POST" }),
        Claim::Unknown(_) => Err(Violation::VersionHeaderUnknown),
        Claim::Legacy(claimed) => settle(Some(claimed), session),
        Claim::Absent => settle(None, session),
    }
}

/// Whether the body may be a batch (A7): header and session agree on the one revision that has them. Each item must still
/// go through [`classify`] on its own.
#[must_use]
pub fn allows_batch(version_headers: &[&str], session: Option<Version>) -> bool {
    classify_sessionless_stream(version_headers, session).is_ok_and(Version::allows_batches)
}

/// Whether `MCP-Session-Id` may be looked up at all: not under a modern header (C22b).
#[must_use]
pub fn heeds_session(version_headers: &[&str]) -> bool {
    !matches!(Claim::read(version_headers), Ok(Claim::Modern(_)))
}

/// Whether this revision has the message's method (C20). Methods we do not know pass, for policy to judge: an extension may
/// define them. Legacy servers answer a method of the other era themselves, as they always did.
#[must_use]
pub fn method_exists(version: Version, message: &Message) -> bool {
    message.method().is_none_or(|method| has_method(version.era(), method, message.direction()))
}

/// The same for a message that was not read because its params do not fit its method: what an era lacks is unknown there,
/// whatever its params.
#[must_use]
pub fn has_method(era: Era, method: &str, direction: Direction) -> bool {
    let known = METHODS.iter().find(|info| info.name == method);
    match (era, known) {
        (Era::Legacy, _) | (_, None) => true,
        (Era::Modern, Some(info)) => info.eras != Eras::Legacy && info.travels(direction),
    }
}

/// The message without the members of [`RESERVED_META`].
///
/// # Errors
/// When the reader refuses the outcome; removing members does not cause that.
pub fn without_reserved(message: &Message, limits: &Limits) -> Result<Message, Malformed> {
    RESERVED_META.iter().fold(message.edit(), |edit, key| edit.remove_meta(key)).apply(limits)
}

impl<'a> Claim<'a> {
    fn read(version_headers: &[&'a str]) -> Result<Self, Violation> {
        let text = match version_headers {
            [] => return Ok(Self::Absent),
            [text] => *text,
            _ => return Err(Violation::HeaderRepeated { header: VERSION_HEADER }),
        };
        Ok(match Version::parse(text) {
            Some(version) if version.era() == Era::Legacy => Self::Legacy(version),
            Some(_) => Self::Modern(text),
            // Dates of this form sort as text.
            None if is_date(text) && text > Version::LATEST_MODERN.as_str() => Self::Modern(text),
            None => Self::Unknown(text),
        })
    }
}

/// `dddd-dd-dd`, as all revisions are named.
fn is_date(text: &str) -> bool {
    let fits = |(place, byte): (usize, u8)| match place {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.bytes().enumerate().all(fits)
}

impl<'a> Body<'a> {
    fn of(message: &'a Message) -> Self {
        // A response's `_meta` says nothing about the request it came by.
        if !asks(message) {
            return Self::Absent;
        }
        match message.meta(META_VERSION) {
            None => Self::Absent,
            Some(value) => value.as_str().map_or(Self::NotText, Self::Text),
        }
    }

    fn contradicts(&self, claimed: &str) -> bool {
        match self {
            Self::Absent => false,
            Self::Text(text) => text != claimed,
            Self::NotText => true,
        }
    }
}

/// Rule (4), in its order: mismatch, missing members, unsupported.
fn modern(claimed: &str, body: &Body<'_>, message: &Message) -> Result<Classified, Violation> {
    match (message.kind(), body) {
        (Kind::Result | Kind::Error, _) => return Err(Violation::ResponseInModern),
        (Kind::Request, Body::Absent | Body::NotText) => return Err(Violation::MetaMissing { key: META_VERSION }),
        // Notifications need no members in `_meta` (L2), but may not contradict themselves.
        _ if body.contradicts(claimed) => return Err(mismatch()),
        (Kind::Notification, _) => {}
        (Kind::Request, Body::Text(_)) => {
            let capabilities = message.meta(META_CAPABILITIES);
            if capabilities.is_none_or(|value| value.kind() != JsonKind::Object) {
                return Err(Violation::MetaMissing { key: META_CAPABILITIES });
            }
        }
    }
    let version =
        Version::parse(claimed).ok_or_else(|| Violation::VersionUnsupported { requested: claimed.to_owned() })?;
    Ok(Classified { version, strip_reserved: false })
}

fn legacy(evidence: &Evidence<'_>, claimed: Option<Version>) -> Result<Classified, Violation> {
    let message = evidence.message;
    let version = if is_initialize(message) {
        // Nothing is negotiated yet: the header of a confused client is tolerated, and an offer we cannot meet is answered
        // with one that we can (A31).
        offered(message).unwrap_or(Version::LATEST_LEGACY)
    } else {
        settle(claimed, evidence.session)?
    };
    let strip_reserved = asks(message) && RESERVED_META.iter().any(|key| message.meta(key).is_some());
    Ok(Classified { version, strip_reserved })
}

/// What header and session make together.
fn settle(claimed: Option<Version>, session: Option<Version>) -> Result<Version, Violation> {
    match (claimed, session) {
        (Some(claimed), Some(negotiated)) if claimed != negotiated => Err(Violation::VersionNotNegotiated),
        (_, Some(negotiated)) => Ok(negotiated),
        (Some(claimed), None) => Ok(claimed),
        (None, None) => Ok(Version::ASSUMED),
    }
}

/// A24 goes before what the body says: 404 is the one answer that makes a client start over. `initialize` starts over
/// already.
fn session_is_known(evidence: &Evidence<'_>) -> Result<(), Violation> {
    let lost = evidence.session_presented && evidence.session.is_none();
    if lost && !is_initialize(evidence.message) { Err(Violation::SessionUnknown) } else { Ok(()) }
}

fn offered(message: &Message) -> Option<Version> {
    let text = message.param("protocolVersion")?.as_str()?;
    Version::parse(&text).filter(|version| version.era() == Era::Legacy)
}

fn is_initialize(message: &Message) -> bool {
    message.method() == Some("initialize")
}

fn asks(message: &Message) -> bool {
    matches!(message.kind(), Kind::Request | Kind::Notification)
}

fn mismatch() -> Violation {
    Violation::HeaderMismatch { header: VERSION_HEADER.into() }
}

#[cfg(test)]
mod tests;
