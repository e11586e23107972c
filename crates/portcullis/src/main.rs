//! The `portcullis` program, with the allocator it is meant to run under.

use std::process::ExitCode;

/// Under many small allocations from many threads it costs less than the system's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portcullis::main()
}
