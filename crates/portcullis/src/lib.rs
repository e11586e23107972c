//! The `portcullis` program: command line, configuration, assembly. Everything that decides is in the other crates. A library only so
//! that the benchmark can run the very same program under an allocator that counts; nothing else is offered.

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

use portcullis_upstream::{GUARDIAN_WORD, exec_child};

use crate::exit::Exit;

/// The program, with the arguments and the environment of the process.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == GUARDIAN_WORD) {
        // Started by ourselves to become a stdio server; returns only when that failed.
        let error = exec_child(arguments);
        out::note(format_args!("cannot start the server: {error}"));
        return Exit::Failure.into();
    }
    // Libraries that speak TLS take the process default; one provider for all of them. An error means that one is installed already.
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::run().into()
}
