//! Upstreams: the MCP servers behind the gateway, over Streamable HTTP (on a network or a Unix socket), stdio, WebSocket and, behind a key of its
//! own, HTTP+SSE of 2024-11-05.
//!
//! An upstream accepts only what the gate cleared. What the gateway asks a server on its own account is a `Probe`.

mod account; // on whose account something goes
mod answers; // one response to one request
pub mod breaker; // a server that keeps failing is left alone
pub mod bulkhead; // a slow server holds no more than its share
mod departure; // whether a call may have left
mod door; // opening connections: TLS, Unix sockets, time limits
pub mod fallback; // several ways to one server
pub mod health; // how every server is
pub mod http; // Streamable HTTP
pub mod http_sse; // HTTP+SSE of 2024-11-05
pub mod lazy; // sessions opened at first need
pub mod pattern; // names with `*` and `?`
mod pipe; // what stdio, WebSocket and HTTP+SSE have in common
mod probe; // what the gateway itself asks
mod replicas; // which of several has the least to do
pub mod selected; // a server of which only some tools are shown
pub mod settings; // what an operator may set
pub mod sse; // chunks -> events
mod standing; // era and tools, as known between calls
pub mod stdio; // child processes
#[cfg(test)]
mod testing;
pub mod warm; // lists answered from the catalogue
pub mod websocket; // WebSocket

pub use self::breaker::Breaker;
pub use self::bulkhead::Bulkhead;
pub use self::fallback::{Fallback, Way};
pub use self::health::HealthBoard;
pub use self::http::HttpUpstream;
pub use self::http_sse::EventStreams;
pub use self::lazy::Lazy;
pub use self::pattern::Pattern;
pub use self::pipe::{PipeUpstream, StderrSink};
pub use self::selected::{Choice, Selected};
pub use self::settings::{
    BreakerSettings, BulkheadSettings, EraSetting, FallbackSettings, HealthSettings, HttpSettings, HttpSseSettings,
    LazySettings, Secret, SettingsError, StdioSettings, WarmSettings, WebSocketSettings,
};
pub use self::stdio::Children;
pub use self::stdio::guardian::{GUARDIAN_WORD, exec_child};
pub use self::warm::Warm;
pub use self::websocket::WebSockets;
