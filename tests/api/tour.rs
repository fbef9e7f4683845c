//! The README's tour: every command in it, as it stands there but for the address, in a shell.

use std::process::Stdio;

use tokio::process::Command;

use crate::harness::{Setup, free_address, soon};

/// What the README says before every path.
const BASE: &str = "http://localhost:8080";
/// And where its hub command is.
const HUB: &str = "./target/release/hub";

/// The commands of the tour, one each.
fn commands() -> Vec<String> {
    let readme = include_str!("../../README.md");
    let tour = readme.split("## A tour").nth(1).unwrap();
    let tour = tour.split("\n## ").next().unwrap();
    let tour = tour.replace("\\\n", " ");
    let known = ["curl ", "echo ", "printf ", HUB];
    let lines = tour.lines().map(str::trim);
    let commands = lines.filter(|line| known.iter().any(|start| line.starts_with(start)));
    commands.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_command_of_the_tour_works() {
    let ops = free_address();
    let hub = Setup::new().set("OPS_LISTEN", ops).start().await;
    let (mut asked, mut ran) = (0, 0);
    for command in commands() {
        asked += usize::from(command.contains("curl "));
        ran += usize::from(command.contains(HUB));
        // Without this curl takes a refusal for an answer.
        let line = command.replace("curl ", "curl --fail-with-body ");
        let line = line.replace(BASE, &hub.base()).replace(HUB, "\"$HUB\"");
        let running = Command::new("bash")
            .args(["-o", "pipefail", "-c", &line])
            .env("HUB", env!("CARGO_BIN_EXE_hub"))
            .env("HUB_URL", hub.base())
            .env("HUB_OPS_URL", format!("http://{ops}"))
            .env("no_proxy", "*")
            .stdin(Stdio::null())
            .output();
        let output = soon("a command of the tour ends", running).await.unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        assert!(!output.stdout.is_empty(), "{command}: {output:?}");
    }
    assert!(asked >= 13 && ran >= 3, "{asked} asked, {ran} ran");
}
