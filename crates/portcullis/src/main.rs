//! The `portcullis` program: command line, configuration, assembly. Everything that decides is in the other crates.

mod cli; // what can be asked
mod commands; // one file for each command
mod config; // file and options -> a checked configuration
mod demo; // the gateway at work on a sample server
mod exit; // how the program ends
mod finding; // what is wrong with a file, where, and the way out
mod out; // the one place that prints
mod plan; // configuration -> what decides
mod run; // a running gateway

use std::process::ExitCode;

/// Under many small allocations from many threads it costs less than the system's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Libraries that speak TLS take the process default; one provider for all of them. An error means that one is installed already.
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::run().into()
}
