//! Explores the model at its full sizes, for the rehearsal, and prints what `docs/model.md` cites.
#![allow(clippy::print_stdout, reason = "what was explored is what it is for")]

use std::process::ExitCode;

use hub_protocol_model::report;

fn main() -> ExitCode {
    let full = std::env::args()
        .skip(1)
        .any(|argument| argument == "--full");
    let mut out = String::new();
    let holds = report::write(full, &mut |line| {
        println!("{line}");
        out.push_str(line);
    });
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
