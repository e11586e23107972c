//! The binary from outside: one test program, one module per subject, everything on port 0.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "a test stops at the first surprise"
)]

mod support;

mod audit;
mod bad_input;
mod bytes;
mod chaos;
mod check;
mod children;
mod config;
mod contract;
mod contract_eras;
mod contract_http2;
mod contract_lifecycle;
mod contract_lines;
mod contract_policy;
mod contract_versions;
mod crossing;
mod demo;
mod explain;
mod help;
mod hostile;
mod identity;
mod keys;
mod listener;
mod operator;
mod policy;
mod recipes;
mod renewal;
mod run;
mod servers;
mod sign;
mod sockets;
mod stdio;
mod tls;
mod trace;
