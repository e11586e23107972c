//! Upstreams: the MCP servers behind the gateway, over Streamable HTTP and stdio.
//!
//! An upstream accepts only what the gate cleared. What the gateway asks a server on its own account is a `Probe`.

mod answers; // one response to one request
pub mod breaker; // a server that keeps failing is left alone
pub mod bulkhead; // a slow server holds no more than its share
pub mod health; // how every server is
pub mod http; // Streamable HTTP
pub mod lazy; // sessions opened at first need
pub mod pattern; // names with `*` and `?`
mod probe; // what the gateway itself asks
pub mod selected; // a server of which only some tools are shown
pub mod settings; // what an operator may set
pub mod sse; // chunks -> events
mod standing; // era and tools, as known between calls
pub mod stdio; // child processes
#[cfg(test)]
mod testing;
pub mod warm; // lists answered from the catalogue

pub use self::breaker::Breaker;
pub use self::bulkhead::Bulkhead;
pub use self::health::HealthBoard;
pub use self::http::HttpUpstream;
pub use self::lazy::Lazy;
pub use self::pattern::Pattern;
pub use self::selected::{Choice, Selected};
pub use self::settings::{
    BreakerSettings, BulkheadSettings, EraSetting, HealthSettings, HttpSettings, LazySettings, Secret, SettingsError,
    StdioSettings, WarmSettings,
};
pub use self::stdio::guardian::{GUARDIAN_WORD, exec_child};
pub use self::stdio::{StderrSink, StdioUpstream};
pub use self::warm::Warm;
