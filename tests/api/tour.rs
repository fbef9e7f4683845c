//! The README's tour: every command in it, as it stands there.

use std::io::Write as _;
use std::process::Stdio;

use http::Method;

use crate::harness::{Answer, Hub, Setup, free_address, hub_command};

/// What the README says before every path.
const BASE: &str = "http://localhost:8080";

/// The commands of the tour, a line each.
fn commands() -> Vec<String> {
    let readme = include_str!("../../README.md");
    let tour = readme.split("## A tour").nth(1).unwrap();
    let tour = tour.split("\n## ").next().unwrap();
    let tour = tour.replace("\\\n", " ");
    let known = ["curl ", "echo ", "./target/"];
    let lines = tour.lines().map(str::trim);
    let commands = lines.filter(|line| known.iter().any(|start| line.starts_with(start)));
    commands.map(str::to_owned).collect()
}

/// The words of a shell command that knows single quotes only.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in command.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Asks as `curl` would.
async fn curl(hub: &Hub, words: &[String]) -> Answer {
    let (mut method, mut headers, mut data) = (None, Vec::new(), None);
    let (mut url, mut follow) = (None, false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-X" => method = words.next().cloned(),
            "-H" => headers.extend(words.next().and_then(|header| header.split_once(": "))),
            "-d" => data = words.next().cloned(),
            flags if flags.starts_with('-') => follow |= flags.contains('L'),
            address => url = Some(address.strip_prefix(BASE).unwrap()),
        }
    }
    let usual = if data.is_some() { "POST" } else { "GET" };
    let method = Method::from_bytes(method.as_deref().unwrap_or(usual).as_bytes()).unwrap();
    let mut ask = hub.ask(method, url.unwrap());
    if let Some(data) = data {
        if !headers.iter().any(|(name, _)| *name == "Content-Type") {
            headers.push(("Content-Type", "application/x-www-form-urlencoded"));
        }
        ask = ask.body(data);
    }
    let mut answer = ask.headers(&headers).send().await;
    while follow && answer.status == 303 {
        answer = hub.get(answer.location()).await;
    }
    answer
}

#[tokio::test]
async fn every_command_of_the_tour_works() {
    let ops = free_address();
    let hub = Setup::new().set("OPS_LISTEN", ops).start().await;
    let (mut asked, mut ran) = (0, 0);
    for command in commands() {
        // What a pipe ends in only shortens what is shown.
        let (first, piped) = command.split_once(" | ").unwrap_or((&command, ""));
        let (first, piped) = (words(first), words(piped));
        if first[0] == "curl" {
            let answer = curl(&hub, &first[1..]).await;
            assert!(answer.status < 300, "{command}: {answer:?}");
            asked += 1;
            continue;
        }
        let (program, input) = match first[0].as_str() {
            "echo" => (&piped, format!("{}\n", first[1])),
            _ => (&first, String::new()),
        };
        let mut process = hub_command()
            .args(&program[1..])
            .env("HUB_URL", hub.base())
            .env("HUB_OPS_URL", format!("http://{ops}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        process
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        assert!(!output.stdout.is_empty(), "{command}");
        ran += 1;
    }
    assert!(asked >= 9 && ran >= 3, "{asked} asked, {ran} ran");
}
