//! Every way to say no, in three families by who is at fault. Each hostile or unlucky behaviour is its own variant with a stable code.
//!
//! `Malformed` (from [`crate::wire`]) and [`Violation`]: the client sent nonsense. [`Denial`]: we said no. [`Fault`]: the server or we failed.
//! Turning any of them into an HTTP status and a JSON-RPC error happens in one file of the server crate, not here.

mod proof;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use self::proof::{Challenge, ProofFailure};
use crate::attempt::Attempts;
use crate::version::Era;

/// Readable bytes, but not a message MCP allows here: wrong headers, era, session or HTTP form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// No such path on this listener.
    PathUnknown,
    /// HTTP method without meaning here (405).
    MethodNotAllowed { allow: &'static str },
    /// `Content-Type` is not `application/json` (415).
    UnsupportedMediaType,
    /// `Accept` leaves no form we may answer in (406).
    NotAcceptable,
    /// All headers together over the configured size, or too many of them (431).
    HeadersTooLarge,
    /// The headers, or the first byte, did not arrive in time (408, or just the end of the connection).
    HeadersTimedOut,
    /// Not HTTP/1.1 (400).
    NotHttp,
    /// The TLS handshake failed; the client's certificate included.
    HandshakeFailed,
    /// The TLS handshake, or the PROXY header before it, did not come to its end in time.
    HandshakeTimedOut,
    /// A connection that must begin with a PROXY header begins with something else.
    ProxyHeaderInvalid,
    /// A connection to a listener for load balancers, and not from one of ours.
    ProxyUntrusted,
    /// Body over the configured size (413). Unit: bytes.
    BodyTooLarge { limit: usize },
    /// Body did not arrive in time (408).
    BodyTimedOut,
    /// Body ended early or the framing was broken (400).
    BodyBroken,
    /// `Origin` present and not allowed (A3, 403).
    OriginRefused,
    /// `Host` missing, repeated or not ours (A4, 403).
    HostRefused,
    /// A header that may occur once occurs more often (C30).
    HeaderRepeated { header: &'static str },
    /// A required header is missing (C25, C26).
    HeaderMissing { header: Cow<'static, str> },
    /// A header is not what the body says, or cannot be decoded (C25–C31).
    HeaderMismatch { header: Cow<'static, str> },
    /// `MCP-Protocol-Version` names nothing we know and the body does not say otherwise (A30).
    VersionHeaderUnknown,
    /// The header names another version than the one this session negotiated.
    VersionNotNegotiated,
    /// A version we do not speak (C18): answered with the list of those we do.
    VersionUnsupported { requested: String },
    /// A required member of `_meta` is missing or of the wrong type (C14).
    MetaMissing { key: &'static str },
    /// The client did not declare a capability this needs (C19). `required`: JSON text of the `ClientCapabilities` that would do.
    CapabilityMissing { required: &'static str },
    /// A method that this era does not have (C20).
    MethodUnknown,
    /// Modern clients never send responses (C3).
    ResponseInModern,
    /// A request without the session id it needs (A23, 400).
    SessionMissing,
    /// A session id that is unknown, ended, expired, forged, or another caller's: one answer for all (A24, 404).
    SessionUnknown,
    /// `initialize` inside a session.
    AlreadyInitialized,
    /// A request id that this client already has in flight (C11, A34).
    IdInUse,
    /// A response to nothing the server asked in this session (I5).
    ResponseUnmatched,
    /// `notifications/cancelled` for something the client never asked (I9).
    CancelUnmatched,
    /// An event id that is not ours or not this caller's.
    EventUnknown,
    /// A WebSocket handshake that is none (400).
    UpgradeInvalid { why: &'static str },
    /// A WebSocket handshake of another version than 13 (426).
    UpgradeVersion,
    /// A client that offers subprotocols, and none that we speak (400).
    SubprotocolUnknown,
    /// A binary frame, where only text is spoken (J5).
    BinaryFrame,
    /// Frames that RFC 6455 does not allow, or text that is not UTF-8.
    FrameInvalid,
    /// Messages faster than they may come, for longer than the pause of reading could slow them.
    TooManyMessages,
    /// A client that does not read what it asked for.
    SlowReader,
    /// A cursor of a merged list that is not ours, or not this caller's for this list.
    CursorUnknown,
}

impl Violation {
    /// Stable code for metrics, log and tests.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PathUnknown => "path_unknown",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::NotAcceptable => "not_acceptable",
            Self::HeadersTooLarge => "headers_too_large",
            Self::HeadersTimedOut => "headers_timed_out",
            Self::NotHttp => "not_http",
            Self::HandshakeFailed => "handshake_failed",
            Self::HandshakeTimedOut => "handshake_timed_out",
            Self::ProxyHeaderInvalid => "proxy_header_invalid",
            Self::ProxyUntrusted => "proxy_untrusted",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTimedOut => "body_timed_out",
            Self::BodyBroken => "body_broken",
            Self::OriginRefused => "origin_refused",
            Self::HostRefused => "host_refused",
            Self::HeaderRepeated { .. } => "header_repeated",
            Self::HeaderMissing { .. } => "header_missing",
            Self::HeaderMismatch { .. } => "header_mismatch",
            Self::VersionHeaderUnknown => "version_header_unknown",
            Self::VersionNotNegotiated => "version_not_negotiated",
            Self::VersionUnsupported { .. } => "version_unsupported",
            Self::MetaMissing { .. } => "meta_missing",
            Self::CapabilityMissing { .. } => "capability_missing",
            Self::MethodUnknown => "method_unknown",
            Self::ResponseInModern => "response_in_modern",
            Self::SessionMissing => "session_missing",
            Self::SessionUnknown => "session_unknown",
            Self::AlreadyInitialized => "already_initialized",
            Self::IdInUse => "id_in_use",
            Self::ResponseUnmatched => "response_unmatched",
            Self::CancelUnmatched => "cancel_unmatched",
            Self::EventUnknown => "event_unknown",
            Self::UpgradeInvalid { .. } => "upgrade_invalid",
            Self::UpgradeVersion => "upgrade_version",
            Self::SubprotocolUnknown => "subprotocol_unknown",
            Self::BinaryFrame => "binary_frame",
            Self::FrameInvalid => "frame_invalid",
            Self::TooManyMessages => "too_many_messages",
            Self::SlowReader => "slow_reader",
            Self::CursorUnknown => "cursor_unknown",
        }
    }

    /// What the client reads. Fixed words; only names of headers and members that the specification itself defines are filled in.
    #[must_use]
    pub fn public(&self) -> Cow<'static, str> {
        match self {
            Self::PathUnknown => "no MCP endpoint at this path".into(),
            Self::MethodNotAllowed { allow } => format!("this endpoint takes {allow}").into(),
            Self::UnsupportedMediaType => "the body must be sent as `content-type: application/json`".into(),
            Self::NotAcceptable => {
                "the `accept` header must list `application/json` and `text/event-stream` (for GET: `text/event-stream`)".into()
            }
            Self::HeadersTooLarge => "the headers are too large or too many".into(),
            Self::HeadersTimedOut => "the headers did not arrive in time".into(),
            Self::NotHttp => "this is not HTTP/1.1".into(),
            Self::HandshakeFailed => "the TLS handshake failed".into(),
            Self::HandshakeTimedOut => "the handshake did not end in time".into(),
            Self::ProxyHeaderInvalid => "the connection does not begin with a PROXY header".into(),
            Self::ProxyUntrusted => "only trusted proxies may connect here".into(),
            Self::BodyTooLarge { limit } => format!("the body is larger than {limit} bytes").into(),
            Self::BodyTimedOut => "the body did not arrive in time".into(),
            Self::BodyBroken => "the body ended early".into(),
            Self::OriginRefused => "this `origin` may not use this server".into(),
            Self::HostRefused => "this server is not reached under this `host`".into(),
            Self::HeaderRepeated { header } => format!("header `{header}` may occur only once").into(),
            Self::HeaderMissing { header } => format!("required header `{header}` is missing").into(),
            Self::HeaderMismatch { header } => format!("header `{header}` does not match the message body").into(),
            Self::VersionHeaderUnknown => "unknown `mcp-protocol-version`".into(),
            Self::VersionNotNegotiated => "`mcp-protocol-version` is not the version this session negotiated".into(),
            Self::VersionUnsupported { .. } => "unsupported protocol version".into(),
            Self::MetaMissing { key } => format!("`_meta` must have `{key}`").into(),
            Self::CapabilityMissing { required } => {
                format!("this needs the client capability `{required}`, which the request does not declare").into()
            }
            Self::MethodUnknown => "method not found".into(),
            Self::ResponseInModern => "this protocol version has no client responses".into(),
            Self::SessionMissing => "`mcp-session-id` is required after `initialize`".into(),
            Self::SessionUnknown => "session not found; send `initialize` again".into(),
            Self::AlreadyInitialized => "`initialize` must not carry a session id".into(),
            Self::IdInUse => "a request with this id is still in progress".into(),
            Self::ResponseUnmatched => "no request of the server waits for this response".into(),
            Self::CancelUnmatched => "no request with this id is in progress".into(),
            Self::EventUnknown => "unknown `last-event-id`".into(),
            Self::UpgradeInvalid { why } => format!("not a WebSocket handshake: {why}").into(),
            Self::UpgradeVersion => "`sec-websocket-version` must be 13".into(),
            Self::SubprotocolUnknown => "none of the subprotocols is spoken here; offer `mcp`".into(),
            Self::BinaryFrame => "messages are text frames".into(),
            Self::FrameInvalid => "the frames cannot be read".into(),
            Self::TooManyMessages => "too many messages".into(),
            Self::SlowReader => "messages wait for too long to be read".into(),
            Self::CursorUnknown => "unknown cursor; begin the list again".into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public())
    }
}

impl std::error::Error for Violation {}

/// We said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub code: DenialCode,
    /// Name of the guard that decided, or `gateway`.
    pub guard: &'static str,
    /// What the caller reads: a fixed sentence, or the deciding policy's own `@reason`.
    pub public: Cow<'static, str>,
    /// For the log only.
    pub detail: String,
    /// `@id`s of the policies that decided.
    pub policies: Vec<Arc<str>>,
    /// Which shape the refusal takes.
    pub manner: Manner,
    /// What the client would have to prove instead (401, or 403 `insufficient_scope`).
    pub challenge: Option<Box<Challenge>>,
}

/// Why we said no; one per behaviour, stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenialCode {
    /// No policy permits it.
    NotPermitted,
    /// The server lists no tool of this name, and what nobody was shown cannot be called: it answers like a hidden one.
    NotListed,
    /// A `forbid` policy applies.
    Forbidden,
    /// A policy could not be evaluated; an error denies.
    PolicyError,
    /// A policy asks for a person's approval.
    ApprovalRequired,
    /// Arguments do not fit the tool's own `inputSchema`.
    ArgumentsInvalid,
    /// The tool's schema cannot be used for validation (remote reference, too large, not a schema).
    SchemaUnusable,
    /// `structuredContent` does not fit the tool's own `outputSchema`.
    OutputInvalid,
    /// The server's answer is of a kind that MCP, or what the client declared in this request, does not allow here.
    ResultInvalid,
    /// The server's message cannot be said in the words that clients of several servers use.
    Unexposable,
    /// The task is another caller's.
    NotOwner,
    /// The caller could not be authenticated: nothing was presented, or nothing that is known.
    Unauthenticated,
    /// A proof was presented, or is required, and is not good.
    Proof(ProofFailure),
    /// Too many sessions, for this caller or in total.
    TooManySessions,
    /// Too many requests in flight.
    TooManyRequests,
    /// Too many bytes of request bodies held, for this caller or in total.
    TooManyBytes,
    /// Strict mode and the audit log cannot be written.
    Unrecorded,
    /// The gateway is shutting down.
    ShuttingDown,
}

impl DenialCode {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotPermitted => "not_permitted",
            Self::NotListed => "not_listed",
            Self::Forbidden => "forbidden",
            Self::PolicyError => "policy_error",
            Self::ApprovalRequired => "approval_required",
            Self::ArgumentsInvalid => "arguments_invalid",
            Self::SchemaUnusable => "schema_unusable",
            Self::OutputInvalid => "output_invalid",
            Self::ResultInvalid => "result_invalid",
            Self::Unexposable => "unexposable",
            Self::NotOwner => "not_owner",
            Self::Unauthenticated => "unauthenticated",
            Self::Proof(failure) => failure.as_str(),
            Self::TooManySessions => "too_many_sessions",
            Self::TooManyRequests => "too_many_requests",
            Self::TooManyBytes => "too_many_bytes",
            Self::Unrecorded => "unrecorded",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// Which shape a refusal takes towards the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manner {
    /// As if it did not exist: for what the caller may never call and therefore does not see.
    Unknown,
    /// A visible tool refused for these arguments: a tool result with `isError: true`, so that the model can correct itself
    /// (or a JSON-RPC error, by configuration).
    Correctable,
    /// A JSON-RPC error that says no.
    Plain,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public)
    }
}

impl std::error::Error for Denial {}

/// The server or the gateway failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// Whether the call provably never reached the server, so that sending it again is safe.
    pub never_left: bool,
    /// For the log only.
    pub detail: String,
    /// What was tried before, where there was a choice.
    pub attempts: Attempts,
}

/// What failed; one per behaviour, stable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Connection refused, name not resolved, child not started.
    Unreachable,
    /// No answer within the time limit.
    TimedOut,
    /// The server answered something that is not MCP: bad JSON, bad SSE, wrong media type, unexpected status.
    Garbage,
    /// A message or event over the size limit.
    TooLarge,
    /// The connection or child ended before the response.
    Died,
    /// An answer to an id nobody asked with, or a second answer to one id.
    AnswerUnmatched,
    /// The server does not know our session any more; the client must initialize again.
    SessionLost,
    /// The server lost our session while this call was on its way. A new one is opened, but the call may have been carried out and is not
    /// safe to repeat.
    NotRepeated,
    /// The server offers no standalone stream, or nothing to resume (A11: its 405 becomes ours).
    NoStream,
    /// Client and server speak different eras; carries what the server speaks.
    EraMismatch { served: Era },
    /// The server refused our credentials (its 401 or 403 never goes through).
    Unauthorized,
    /// Too much in flight towards this server.
    Overloaded,
    /// The server asks to be called less often (its 429, or a 503 that says when to come back); milliseconds, if it says.
    Throttled { retry_after_ms: Option<u64> },
    /// As many calls as the operator allows are under way to this server, and as many as may wait are waiting.
    Busy,
    /// The server, or the tool, kept failing and is left alone for a while; milliseconds until it is tried again.
    CircuitOpen { retry_after_ms: u64 },
    /// The gateway is shutting down.
    ShuttingDown,
}

impl FaultKind {
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable => "upstream_unreachable",
            Self::TimedOut => "upstream_timed_out",
            Self::Garbage => "upstream_garbage",
            Self::TooLarge => "upstream_too_large",
            Self::Died => "upstream_died",
            Self::AnswerUnmatched => "upstream_answer_unmatched",
            Self::SessionLost => "upstream_session_lost",
            Self::NotRepeated => "upstream_not_repeated",
            Self::NoStream => "upstream_no_stream",
            Self::EraMismatch { .. } => "era_mismatch",
            Self::Unauthorized => "upstream_unauthorized",
            Self::Overloaded => "upstream_overloaded",
            Self::Throttled { .. } => "upstream_throttled",
            Self::Busy => "upstream_busy",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// What the client reads.
    #[must_use]
    pub const fn public(&self) -> &'static str {
        match self {
            Self::Unreachable => "the MCP server cannot be reached",
            Self::TimedOut => "the MCP server did not answer in time",
            Self::Garbage => "the MCP server sent something that is not MCP",
            Self::TooLarge => "the MCP server sent a message over the size limit",
            Self::Died => "the MCP server ended the connection before it answered",
            Self::AnswerUnmatched => "the MCP server answered something nobody asked",
            Self::SessionLost => "session not found; send `initialize` again",
            Self::NotRepeated => {
                "the MCP server lost its session during this call, which was not repeated because it may have been carried out; call again if that is safe"
            }
            Self::NoStream => "the MCP server offers no stream here",
            Self::EraMismatch { served: Era::Legacy } => {
                "this MCP server speaks only protocol versions up to 2025-11-25; send `initialize`"
            }
            Self::EraMismatch { served: Era::Modern } => {
                "this MCP server speaks only protocol version 2026-07-28, which has no `initialize`"
            }
            Self::Unauthorized => "the gateway is not authorized at the MCP server",
            Self::Overloaded => {
                "this MCP server takes no more at the moment; end what is not needed, or try again later"
            }
            Self::Throttled { .. } => "the MCP server asks to be called less often; try again later",
            Self::Busy => "too many calls to this MCP server are under way or waiting; try again later",
            Self::CircuitOpen { .. } => "this MCP server kept failing and is left alone for a while; try again later",
            Self::ShuttingDown => "the gateway is shutting down",
        }
    }

    /// When another try makes sense, in milliseconds, where that is known.
    #[must_use]
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::CircuitOpen { retry_after_ms } => Some(*retry_after_ms),
            Self::Throttled { retry_after_ms } => *retry_after_ms,
            _ => None,
        }
    }
}

impl Fault {
    /// A fault after the call may have reached the server.
    #[must_use]
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, never_left: false, detail: detail.into(), attempts: None }
    }

    /// A fault before a byte of the call left.
    #[must_use]
    pub fn before_sending(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, never_left: true, detail: detail.into(), attempts: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind.public(), self.detail)
    }
}

impl std::error::Error for Fault {}
