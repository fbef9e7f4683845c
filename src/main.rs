//! The `hub` program; [`hub::cli`] is all of it.

use std::process::ExitCode;

/// Items are allocated on one thread and freed on another, which this allocator is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hub::cli::main()
}
