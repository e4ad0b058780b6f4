//! The command `portcullis`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Per-thread heaps: a worker allocates and frees on its own core without meeting the others.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portcullis::cli::main()
}
