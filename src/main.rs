//! The `hub` program; [`hub::cli`] is all of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    hub::cli::main()
}
