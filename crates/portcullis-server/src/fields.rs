//! Names of the header fields that are looked up in every request; parsed once.

use http::HeaderName;

pub(crate) static PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(crate) static METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(crate) static NAME: HeaderName = HeaderName::from_static("mcp-name");
pub(crate) static SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(crate) static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(crate) static API_KEY: HeaderName = HeaderName::from_static("x-api-key");
pub(crate) static AGENT_IDENTITY: HeaderName = HeaderName::from_static("x-agent-identity");
pub(crate) static SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
pub(crate) static DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
pub(crate) static TRANSPORT_PREFERENCE: HeaderName = HeaderName::from_static("mcp-transport-preference");
pub(crate) static ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
