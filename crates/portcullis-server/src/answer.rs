//! The one place that turns a failure into an HTTP status and a JSON-RPC error, for both eras (requirements H).
//!
//! Codes that MCP defines are used only with their meaning. Our own lie outside -32768…-32000, as MCP asks: -31xxx, where xxx resembles
//! the HTTP status of the same idea. Every error carries `data.code`, the stable name that the log and the metrics use too.

mod challenge;

use http::StatusCode;
use http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION};
use portcullis_core::attempt::Attempt;
use portcullis_core::gate::Inspected;
use portcullis_core::own::push_string;
use portcullis_core::refusal::{Denial, DenialCode, Fault, FaultKind, Manner, ProofFailure, Violation};
use portcullis_core::version::{Era, Version};
use portcullis_core::wire::{Id, Malformed};
use smol_str::SmolStr;

use crate::settings::Refusals;

/// Why a request is not served.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    Malformed(Malformed),
    Violation(Violation),
    Denial(Denial),
    Fault(Fault),
}

/// What the failure answers: enough to choose the right form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) id: Option<Id>,
    pub(crate) method: Option<SmolStr>,
    pub(crate) modern: bool,
    pub(crate) refusals: Refusals,
    /// What was tried is said in an error's data.
    pub(crate) tells_attempts: bool,
}

impl Asked {
    /// Whether its reply stands until somebody ends it.
    pub(crate) fn is_standing(&self) -> bool {
        self.id.is_none() || self.method.as_deref() == Some("subscriptions/listen")
    }
}

/// A failure in its public form.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// `None` for statuses that have no body (202).
    pub(crate) message: Option<Inspected>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// A refusal with what is known of the request it refuses. Boxed in results, since it is the rare and the larger half.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) refusal: Refusal,
    pub(crate) asked: Asked,
    /// It was a call and has its entry; recording it again would count it twice.
    pub(crate) recorded: bool,
}

/// A no of the gateway's own: no guard was asked.
pub(crate) fn gateway_denial(code: DenialCode, public: &'static str, detail: impl Into<String>) -> Denial {
    let detail = detail.into();
    Denial {
        code,
        guard: "gateway",
        public: public.into(),
        detail,
        policies: Vec::new(),
        manner: Manner::Plain,
        challenge: None,
    }
}

impl Unread {
    pub(crate) fn new(refusal: impl Into<Refusal>, asked: Asked) -> Box<Self> {
        Box::new(Self { refusal: refusal.into(), asked, recorded: false })
    }

    /// For a call that has its entry.
    pub(crate) fn recorded(refusal: impl Into<Refusal>, asked: Asked) -> Box<Self> {
        Box::new(Self { refusal: refusal.into(), asked, recorded: true })
    }
}

impl Refusal {
    pub(crate) const fn family(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Violation(_) => "violation",
            Self::Denial(_) => "denial",
            Self::Fault(_) => "fault",
        }
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::Violation(violation) => violation.code(),
            Self::Denial(denial) => denial.code.as_str(),
            Self::Fault(fault) => fault.kind.code(),
        }
    }

    /// For the log only.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Malformed(malformed) => malformed.to_string(),
            Self::Violation(violation) => violation.to_string(),
            Self::Denial(denial) => denial.detail.clone(),
            Self::Fault(fault) => fault.detail.clone(),
        }
    }

    pub(crate) fn answer(&self, asked: &Asked) -> Answer {
        match self {
            Self::Malformed(malformed) => {
                let too_large = matches!(malformed, Malformed::TooLarge { .. });
                let status = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
                self.error(asked, status, malformed.rpc_code(), &malformed.public(), None)
            }
            Self::Violation(violation) => self.violation(violation, asked),
            Self::Denial(denial) => self.denial(denial, asked),
            Self::Fault(fault) => self.fault(fault, asked),
        }
    }

    /// The message alone, for a stream whose status is long sent.
    pub(crate) fn message(&self, asked: &Asked) -> Option<Inspected> {
        self.answer(asked).message
    }

    fn error(&self, asked: &Asked, status: StatusCode, rpc: i64, public: &str, extra: Option<&str>) -> Answer {
        let mut data = String::from(r#"{"code":"#);
        push_string(&mut data, self.code());
        if let Some(extra) = extra {
            data.push(',');
            data.push_str(extra);
        }
        if let Self::Fault(fault) = self
            && asked.tells_attempts
        {
            push_attempts(&mut data, fault.attempts.as_deref().unwrap_or_default());
        }
        data.push('}');
        let message = Inspected::refusal(asked.id.as_ref(), rpc, public, Some(&data));
        Answer { status, message: Some(message), headers: Vec::new() }
    }

    fn violation(&self, violation: &Violation, asked: &Asked) -> Answer {
        let public = violation.public();
        let (status, rpc) = match violation {
            Violation::PathUnknown => (StatusCode::NOT_FOUND, -32601),
            Violation::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, -32600),
            Violation::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, -32600),
            Violation::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, -32600),
            Violation::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, -32600),
            Violation::BodyTimedOut | Violation::HeadersTimedOut => (StatusCode::REQUEST_TIMEOUT, -32600),
            Violation::HeadersTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, -32600),
            Violation::OriginRefused | Violation::HostRefused => (StatusCode::FORBIDDEN, -32600),
            Violation::HeaderMissing { .. } | Violation::HeaderMismatch { .. } | Violation::HeaderRepeated { .. } => {
                // -32020 has a meaning only where headers mirror the body (H.1: never towards legacy clients).
                (StatusCode::BAD_REQUEST, if asked.modern { -32020 } else { -32600 })
            }
            Violation::VersionUnsupported { .. } => (StatusCode::BAD_REQUEST, -32022),
            Violation::MetaMissing { .. } => (StatusCode::BAD_REQUEST, -32602),
            // With an id, clients read the JSON-RPC error, and the SDKs do so only under status 200.
            Violation::CursorUnknown => (StatusCode::OK, -32602),
            Violation::CapabilityMissing { .. } => (StatusCode::BAD_REQUEST, -32021),
            Violation::MethodUnknown => (StatusCode::NOT_FOUND, -32601),
            Violation::SessionUnknown | Violation::EventUnknown => (StatusCode::NOT_FOUND, -31404),
            // Not an error: a late cancellation races with the answer it comes too late for.
            Violation::CancelUnmatched => {
                return Answer { status: StatusCode::ACCEPTED, message: None, headers: Vec::new() };
            }
            Violation::UpgradeVersion => (StatusCode::UPGRADE_REQUIRED, -32600),
            // After the handshake nobody reads a status: the log has the one that comes nearest.
            Violation::TooManyMessages => (StatusCode::TOO_MANY_REQUESTS, -31429),
            Violation::SlowReader => (StatusCode::REQUEST_TIMEOUT, -32600),
            Violation::UpgradeInvalid { .. }
            | Violation::SubprotocolUnknown
            | Violation::BinaryFrame
            | Violation::FrameInvalid
            | Violation::BodyBroken
            | Violation::NotHttp
            | Violation::HandshakeFailed
            | Violation::HandshakeTimedOut
            | Violation::ProxyHeaderInvalid
            | Violation::ProxyUntrusted
            | Violation::VersionHeaderUnknown
            | Violation::VersionNotNegotiated
            | Violation::ResponseInModern
            | Violation::SessionMissing
            | Violation::AlreadyInitialized
            | Violation::IdInUse
            | Violation::ResponseUnmatched => (StatusCode::BAD_REQUEST, -32600),
        };
        let extra = match violation {
            Violation::VersionUnsupported { requested } => {
                Some(supported(Some(requested), Version::names(Era::Modern)))
            }
            Violation::CapabilityMissing { required } => Some(format!(r#""requiredCapabilities":{required}"#)),
            _ => None,
        };
        let mut answer = self.error(asked, status, rpc, &public, extra.as_deref());
        match violation {
            Violation::MethodNotAllowed { allow } => answer.headers.push((ALLOW, HeaderValue::from_static(allow))),
            Violation::UpgradeVersion => answer.headers.push((SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))),
            _ => {}
        }
        answer
    }

    fn denial(&self, denial: &Denial, asked: &Asked) -> Answer {
        let public = &denial.public;
        let (status, rpc) = match denial.code {
            DenialCode::Unauthenticated => return self.unproven(denial, StatusCode::UNAUTHORIZED, asked),
            // A decision of the policies like any other: no further proof would help (F18), and what is hidden stays hidden.
            DenialCode::Proof(ProofFailure::ChainDenied) => (StatusCode::OK, -31403),
            DenialCode::Proof(failure) => return self.unproven(denial, challenge::status(failure), asked),
            DenialCode::TooManySessions | DenialCode::TooManyRequests | DenialCode::TooManyBytes => {
                (StatusCode::TOO_MANY_REQUESTS, -31429)
            }
            DenialCode::Unrecorded | DenialCode::ShuttingDown => {
                let mut answer = self.error(asked, StatusCode::SERVICE_UNAVAILABLE, -31503, public, None);
                answer.headers.push((RETRY_AFTER, HeaderValue::from_static("5")));
                return answer;
            }
            DenialCode::ApprovalRequired => (StatusCode::OK, -31409),
            DenialCode::ArgumentsInvalid | DenialCode::SchemaUnusable => (StatusCode::OK, -32602),
            DenialCode::OutputInvalid | DenialCode::ResultInvalid | DenialCode::Unexposable => (StatusCode::OK, -31502),
            DenialCode::NotOwner => (StatusCode::OK, -32602),
            DenialCode::NotPermitted | DenialCode::NotListed | DenialCode::Forbidden | DenialCode::PolicyError => {
                (StatusCode::OK, -31403)
            }
        };
        let Some(id) = &asked.id else {
            // Nobody waits for an answer to a notification: the status alone says no, and 202 would lie.
            let status = if status == StatusCode::OK { StatusCode::FORBIDDEN } else { status };
            return self.error(asked, status, rpc, public, None);
        };
        match denial.manner {
            // Which task is meant is said in more methods than one; what the caller reads is the same (A55, C80).
            Manner::Unknown if denial.code == DenialCode::NotOwner => {
                let message = Inspected::refusal(Some(id), rpc, public, None);
                Answer { status, message: Some(message), headers: Vec::new() }
            }
            Manner::Unknown => unknown(id, asked),
            Manner::Correctable
                if asked.refusals == Refusals::Result && asked.method.as_deref() == Some("tools/call") =>
            {
                let message = Inspected::refused_tool_result(id, public, asked.modern);
                Answer { status: StatusCode::OK, message: Some(message), headers: Vec::new() }
            }
            Manner::Correctable | Manner::Plain => self.error(asked, status, rpc, public, None),
        }
    }

    /// Not now: the server is left alone, asks for it, or has enough to do. Says when, where that is known.
    fn later(&self, asked: &Asked, kind: &FaultKind) -> Answer {
        let rpc = if matches!(kind, FaultKind::Throttled { .. }) { -31429 } else { -31503 };
        // With an id, clients read the JSON-RPC error, and the SDKs do so only under status 200.
        let status = if asked.id.is_some() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let wait = kind.retry_after_ms();
        let extra = wait.map(|millis| format!(r#""retryAfterMs":{millis}"#));
        let mut answer = self.error(asked, status, rpc, kind.public(), extra.as_deref());
        answer.headers.extend(wait.map(|millis| (RETRY_AFTER, seconds(millis))));
        answer
    }

    /// A proof that is missing or not good, and what would do instead.
    fn unproven(&self, denial: &Denial, status: StatusCode, asked: &Asked) -> Answer {
        let rpc = match status {
            StatusCode::BAD_REQUEST => -32600,
            StatusCode::UNAUTHORIZED => -31401,
            StatusCode::SERVICE_UNAVAILABLE => -31503,
            _ => -31403,
        };
        let mut answer = self.error(asked, status, rpc, &denial.public, None);
        answer.headers = challenge::headers(status, denial.challenge.as_deref());
        answer
    }

    fn fault(&self, fault: &Fault, asked: &Asked) -> Answer {
        let public = fault.kind.public();
        match &fault.kind {
            FaultKind::SessionLost => self.error(asked, StatusCode::NOT_FOUND, -31404, public, None),
            FaultKind::NoStream => {
                let mut answer = self.error(asked, StatusCode::METHOD_NOT_ALLOWED, -32600, public, None);
                answer.headers.push((ALLOW, HeaderValue::from_static("POST, DELETE")));
                answer
            }
            FaultKind::EraMismatch { served } => {
                // Never -32022 towards a modern client here: that code says "modern, do not fall back" (H6), and an era-probing client
                // must fall back to `initialize`. A legacy client learns from -32602 what the server speaks (A37, C24).
                let rpc = if asked.modern { -32600 } else { -32602 };
                let extra = supported(None, Version::names(*served));
                self.error(asked, StatusCode::BAD_REQUEST, rpc, public, Some(&extra))
            }
            FaultKind::CircuitOpen { .. } | FaultKind::Throttled { .. } | FaultKind::Busy => {
                self.later(asked, &fault.kind)
            }
            kind => {
                // With an id, clients read the JSON-RPC error; the SDKs do so only under status 200.
                let status = match kind {
                    _ if asked.id.is_some() => StatusCode::OK,
                    FaultKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
                    FaultKind::Overloaded | FaultKind::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::BAD_GATEWAY,
                };
                self.error(asked, status, -32603, public, None)
            }
        }
    }
}

/// What was tried and what came of it. Why it failed stays in the log: it may name addresses, and every caller reads this.
fn push_attempts(data: &mut String, attempts: &[Attempt]) {
    for (index, attempt) in attempts.iter().enumerate() {
        data.push_str(if index == 0 { r#","attempts":[{"transport":"# } else { r#",{"transport":"# });
        push_string(data, &attempt.transport);
        let left = if attempt.left { "perhaps" } else { "never" };
        data.push_str(&format!(
            r#","outcome":"{}","left":"{left}","ms":{}}}"#,
            attempt.outcome,
            attempt.took.as_millis()
        ));
    }
    if !attempts.is_empty() {
        data.push(']');
    }
}

/// Whole seconds, as HTTP counts them; never zero, which would say at once.
fn seconds(millis: u64) -> HeaderValue {
    HeaderValue::from(millis.div_ceil(1000).max(1))
}

/// What a caller may never call is answered as what does not exist.
fn unknown(id: &Id, asked: &Asked) -> Answer {
    let method = asked.method.as_deref().unwrap_or_default();
    let (status, rpc, public) = match method {
        "tools/call" => (StatusCode::OK, -32602, "unknown tool"),
        "prompts/get" => (StatusCode::OK, -32602, "unknown prompt"),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            (StatusCode::OK, if asked.modern { -32602 } else { -32002 }, "resource not found")
        }
        _ => (if asked.modern { StatusCode::NOT_FOUND } else { StatusCode::OK }, -32601, "method not found"),
    };
    Answer { status, message: Some(Inspected::refusal(Some(id), rpc, public, None)), headers: Vec::new() }
}

fn supported<'a>(requested: Option<&str>, versions: impl IntoIterator<Item = &'a str>) -> String {
    let mut extra = String::from(r#""supported":["#);
    for (index, version) in versions.into_iter().enumerate() {
        if index > 0 {
            extra.push(',');
        }
        push_string(&mut extra, version);
    }
    extra.push(']');
    if let Some(requested) = requested {
        extra.push_str(r#","requested":"#);
        push_string(&mut extra, requested);
    }
    extra
}

/// HTTP status of a JSON-RPC error of the server's own: fixed by the code where the specification fixes it, otherwise the server's.
pub(crate) fn status_of(era: Era, error_code: Option<i64>, hint: Option<u16>) -> StatusCode {
    if era == Era::Legacy {
        return StatusCode::OK;
    }
    match (error_code, hint) {
        (Some(-32601), _) => StatusCode::NOT_FOUND,
        (Some(-32700 | -32600 | -32020 | -32021 | -32022), _) => StatusCode::BAD_REQUEST,
        (Some(_), Some(status @ (200 | 400 | 404 | 500))) => StatusCode::from_u16(status).unwrap_or(StatusCode::OK),
        _ => StatusCode::OK,
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Denial(denial)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::wire::{Direction, Limits, Message};

    use super::*;

    /// A55, C80: the same words for another's task wherever it is named, and nothing that tells it from one that does not exist.
    #[test]
    fn another_callers_task_is_an_unknown_one_in_every_method() {
        for method in ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update", "subscriptions/listen"] {
            for modern in [false, true] {
                let text = br#"{"jsonrpc":"2.0","id":7,"method":"tasks/get","params":{"taskId":"t"}}"#;
                let request = Message::read(text.as_slice().into(), Direction::ToServer, &Limits::default()).unwrap();
                let id = request.id().cloned();
                let asked = Asked { id, method: Some(method.into()), modern, ..Asked::default() };
                let denial = Denial {
                    code: DenialCode::NotOwner,
                    guard: "tasks",
                    public: "unknown task".into(),
                    detail: "another caller's".into(),
                    policies: Vec::new(),
                    manner: Manner::Unknown,
                    challenge: None,
                };
                let answer = Refusal::Denial(denial).answer(&asked);
                let body = String::from_utf8(answer.message.unwrap().bytes().to_vec()).unwrap();
                assert_eq!(answer.status, StatusCode::OK, "{method}");
                assert_eq!(body, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"unknown task"}}"#);
            }
        }
    }

    #[test]
    fn a_server_that_is_left_alone_says_for_how_long_in_data_and_header() {
        let text = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t"}}"#;
        let request = Message::read(text.as_slice().into(), Direction::ToServer, &Limits::default()).unwrap();
        let with_id = Asked { id: request.id().cloned(), ..Asked::default() };
        let open = FaultKind::CircuitOpen { retry_after_ms: 1501 };
        let rows = [
            (open.clone(), &with_id, 200, r#""code":-31503"#, Some(("1501", "2"))),
            (open, &Asked::default(), 503, r#""code":-31503"#, Some(("1501", "2"))),
            (FaultKind::Throttled { retry_after_ms: Some(0) }, &with_id, 200, r#""code":-31429"#, Some(("0", "1"))),
            (FaultKind::Throttled { retry_after_ms: None }, &with_id, 200, r#""code":-31429"#, None),
            (FaultKind::Busy, &with_id, 200, r#""code":-31503"#, None),
        ];
        for (kind, asked, status, code, wait) in rows {
            let answer = Refusal::Fault(Fault::before_sending(kind.clone(), "d")).answer(asked);
            let body = String::from_utf8(answer.message.unwrap().bytes().to_vec()).unwrap();
            assert_eq!(answer.status.as_u16(), status, "{body}");
            assert!(body.contains(code) && body.contains(kind.code()), "{body}");
            let header = answer.headers.iter().find(|(name, _)| name == RETRY_AFTER).map(|(_, value)| value.to_str());
            assert_eq!(header.transpose().unwrap(), wait.map(|(_, seconds)| seconds), "{body}");
            let said = wait.map(|(millis, _)| format!(r#""retryAfterMs":{millis}}}"#));
            assert_eq!(body.contains("retryAfterMs"), said.is_some(), "{body}");
            assert!(said.is_none_or(|said| body.contains(&said)), "{body}");
        }
    }

    #[test]
    fn what_was_tried_is_told_only_where_the_operator_wants_it_and_never_why_it_failed() {
        let attempt = |transport: &str, outcome, left| Attempt {
            transport: transport.into(),
            outcome,
            left,
            took: Duration::from_millis(12),
            why: "10.0.0.7 refused".to_owned(),
        };
        let attempts = [attempt("http", "circuit_open", false), attempt("stdio", "upstream_died", true)];
        let fault = Fault { attempts: Some(attempts.into()), ..Fault::new(FaultKind::Died, "10.0.0.7 refused") };
        let body = |fault: &Fault, tells_attempts| {
            let asked = Asked { tells_attempts, ..Asked::default() };
            let answer = Refusal::Fault(fault.clone()).answer(&asked);
            String::from_utf8(answer.message.unwrap().bytes().to_vec()).unwrap()
        };
        let told = body(&fault, true);
        let expected = concat!(
            r#""data":{"code":"upstream_died","attempts":[{"transport":"http","outcome":"circuit_open","left":"never","ms":12},"#,
            r#"{"transport":"stdio","outcome":"upstream_died","left":"perhaps","ms":12}]}"#,
        );
        assert!(told.contains(expected) && !told.contains("10.0.0.7"), "{told}");
        assert!(!body(&fault, false).contains("attempts"));
        assert!(!body(&Fault::new(FaultKind::Died, "d"), true).contains("attempts"));
    }

    /// F18: no further proof would help, and what is hidden is told from what does not exist by nothing.
    #[test]
    fn what_an_agent_of_the_chain_may_not_do_is_answered_as_policies_answer() {
        let text = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t"}}"#;
        let request = Message::read(text.as_slice().into(), Direction::ToServer, &Limits::default()).unwrap();
        let asked = Asked { id: request.id().cloned(), method: Some("tools/call".into()), ..Asked::default() };
        let answer = |code: DenialCode, manner: Manner| {
            let (public, detail) = ("no".into(), String::new());
            let denial =
                Denial { code, guard: "policy", public, detail, policies: Vec::new(), manner, challenge: None };
            let answer = Refusal::Denial(denial).answer(&asked);
            let body = String::from_utf8(answer.message.unwrap().bytes().to_vec()).unwrap();
            (answer.status, answer.headers, body)
        };
        let chain = DenialCode::Proof(ProofFailure::ChainDenied);
        assert_eq!(answer(chain, Manner::Unknown), answer(DenialCode::NotListed, Manner::Unknown));
        let (status, headers, body) = answer(chain, Manner::Plain);
        assert!(status == StatusCode::OK && headers.is_empty(), "{status} {headers:?}");
        assert!(body.contains(r#""code":-31403,"message":"no","data":{"code":"chain_denied"}"#), "{body}");
    }
}
