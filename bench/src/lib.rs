//! The load generator, the fast server behind the gateway, and what both share. Nothing here is part of the product, and no test
//! depends on a figure made here.
//!
//! Both ends are hand-written HTTP/1.1 over tokio with requests and answers made in advance: what a proxy costs is seen best when
//! everything around it costs little and the same each time. Neither is a general client or server.

pub mod answers; // what the server says, made in advance
pub mod load; // closed loop, every answer verified
pub mod messages; // messages of the sizes that matter
pub mod process; // processor time and memory of other processes
pub mod server; // the fast server
pub mod traffic; // what the client says, made in advance
pub mod wire; // HTTP/1.1 as far as both need it
