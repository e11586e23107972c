//! Portcullis itself under an allocator that counts: takes the same arguments. At the address in `BENCH_COUNTER` it tells every connection
//! how much was allocated since it started.

use std::alloc::System;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    if let Ok(address) = std::env::var("BENCH_COUNTER") {
        match TcpListener::bind(&address) {
            Ok(listener) => drop(std::thread::spawn(move || tell(&listener))),
            Err(error) => {
                let _unread = writeln!(std::io::stderr(), "{address}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    portcullis::main()
}

fn tell(listener: &TcpListener) {
    for mut asking in listener.incoming().flatten() {
        let stats = ALLOCATOR.stats();
        let count = stats.allocations + stats.reallocations;
        // Who does not wait for the answer does not get it.
        let _gone = write!(asking, "{count} {}", stats.bytes_allocated);
    }
}
