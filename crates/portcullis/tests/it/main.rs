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
mod check;
mod children;
mod config;
mod demo;
mod explain;
mod help;
mod policy;
mod run;
