//! Listeners, identity, sessions and the pipeline. Read `pipeline.rs` first: it is the seven words, in order.

mod accept; // request -> Arrival: path, method, media types, size, time
mod answer; // the one place that turns a failure into an HTTP status and a JSON-RPC error
mod answering; // what answers one message: one server's reply, or several's
mod authority; // the one host a request names
mod batch; // 2025-03-26 arrays: several exchanges behind one body
mod bell; // the waker of a connection
mod body; // what an HTTP answer carries
mod conversation; // one connection: PROXY header, TLS, HTTP
mod cors; // what a web page must be told to be let in by its browser
mod cursor; // how far merged lists have come, sealed for one caller
mod departure; // the outgoing stream: SSE framing, keep-alive
mod desk; // what waits for a client that holds one connection for everything
mod discovery; // how this gateway is reached
mod endpoint; // the paths of a listener and the servers behind each
mod envelope; // the id of a session beside a message
mod event; // event ids, sealed for one session
mod exchange; // one read message to the end of its reply, however it is framed
mod fields; // names of header fields
mod forward; // one judged call, sent; its reply begun
mod gateway; // everything an exchange needs, behind one Arc
mod http2; // what one HTTP/2 connection may do
mod identify; // Arrival -> Caller
mod journey; // inspect and record: one reply from first arrival to closed entry
mod line; // one connection that carries messages both ways without HTTP
mod listener; // sockets, connections, drain
mod merged; // one answer from several servers
mod origin; // which Host and Origin values are ours
mod peer; // the other end of a connection
mod pipeline; // accept, identify, read, judge, forward, inspect, record
mod place; // which servers a message is for
mod preference; // which transports a client would rather use
mod proxies; // trusted proxies and what they say of a request
mod proxy_protocol; // what a load balancer says in front of a connection
mod random; // the only source of randomness
mod read; // bytes -> Call: strict reader, era, mirrored headers, session
mod record; // what goes into the record
mod renewal; // what is asked again of a server that lost a session
mod seal; // authenticated encryption of session and event ids
mod session; // legacy sessions
mod settings; // what the operator may set
mod signal; // a word that everybody hears once: draining, overdue, cut off
mod stdio; // our own standard input and output
mod surviving; // a future that outlives its client
mod tls; // handshakes, certificates and their renewal
mod websocket; // an upgraded connection
mod workers; // the threads that serve connections

#[cfg(test)]
mod testing; // canned upstream, memory ledger, a client on a real socket

pub use self::{
    endpoint::{EndpointParts, Merging, Missing},
    gateway::{Gateway, Plan, SetupError},
    identify::{CertificateCaller, Examined, Expiry, KeyProblem, key_problems},
    listener::{Bound, SystemClock},
    origin::OriginRule,
    proxies::Via,
    proxy_protocol::ProxyProtocol,
    settings::{
        ApiKey, Errors, IdentitySettings, LimitSettings, Refusals, ServerSettings, SessionSettings, TimeoutSettings,
    },
    tls::{ClientCertificates, TlsSettings},
    websocket::WebSocketListener,
    workers::Workers,
};
