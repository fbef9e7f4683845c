//! Explores the model and prints what was found, with `--full` at the sizes of the rehearsal:
//! `docs/model.md` cites its output.
#![allow(clippy::print_stdout, reason = "what was explored is what it is for")]

use std::process::ExitCode;

use hub_protocol_model::report;

fn main() -> ExitCode {
    let full = std::env::args().any(|argument| argument == "--full");
    if report::write(full, &mut |line| println!("{line}")) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
