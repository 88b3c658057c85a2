//! The `scim-operator` binary: parses the command line and dispatches.

use std::process::ExitCode;

/// SCIM bodies are many small allocations; mimalloc serves them with less memory and less time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    scim_operator::cli::main()
}
