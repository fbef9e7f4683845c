//! The program as it is run, with a stand-in for the hub.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

#[path = "commands/stub.rs"]
mod stub;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_hub-bench");

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server that says where it listens; gives back its URL.
fn serve(command: &mut Command) -> (Running, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let running = Running(child);
    let mut lines = out.lines().map_while(Result::ok);
    let url = lines.find_map(|line| Some(line.split_once("listening at ")?.1.to_owned()));
    (running, url.unwrap())
}

fn bare() -> (Running, String) {
    serve(Command::new(BENCH).args(["bare", "--listen", "127.0.0.1:0", "--threads", "1"]))
}

/// The stand-in is this very program, which runs nothing but [`stub_hub`] then.
fn stub(fault: &str) -> (Running, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(stub::ARGUMENTS);
    serve(
        command
            .env("HUB_HTTP_LISTEN", "127.0.0.1:0")
            .env("STUB_FAULT", fault),
    )
}

#[test]
#[ignore = "the stand-in for the hub: other tests run it as a process"]
fn stub_hub() {
    stub::serve();
}

/// A script that runs as `hub serve` would.
fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("hub");
    fs::write(&path, format!("#!/bin/sh\necho $$ > \"$0.pid\"\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn stub_script(folder: &Path) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let arguments = stub::ARGUMENTS.join(" ");
    script(
        folder,
        &format!("exec \"{}\" {arguments}", program.display()),
    )
}

fn bench(arguments: &[&str]) -> Output {
    Command::new(BENCH).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const SMALL: [&str; 6] = ["--seconds", "0.3", "--warmup", "0.1", "--connections", "8"];

#[test]
fn load_measures_inserts_and_gets() {
    for (server, url) in [bare(), stub("")] {
        for mode in ["insert", "get"] {
            let mut arguments = vec!["load", mode, "--url", &url, "--items", "50", "--json"];
            arguments.extend(SMALL);
            let answer = json(&bench(&arguments));
            assert!(answer["requests"].as_u64().unwrap() > 0, "{answer}");
            assert!(
                answer["p50_ms"].as_f64() <= answer["max_ms"].as_f64(),
                "{answer}"
            );
            assert_eq!(answer["connections"], 8);
        }
        drop(server);
    }
}

#[test]
fn a_failed_request_fails_the_run() {
    let (_server, url) = stub("insert");
    let mut arguments = vec!["load", "insert", "--url", &url];
    arguments.extend(SMALL);
    let output = bench(&arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("x 503"), "{errors}");
    assert!(
        errors.contains("POST /channel/bench-003 HTTP/1.1: 503 on purpose"),
        "{errors}"
    );
    assert!(output.stdout.is_empty());
}

fn compare<'a>(hub: &'a Path, data: &'a Path) -> Vec<&'a str> {
    let mut arguments = vec!["compare", "--quick", "--rounds", "2", "--items", "50"];
    arguments.extend(["--query-items", "500,3000,0", "--query-second-items", "20"]);
    arguments.extend([
        "--hub",
        hub.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    arguments.extend(SMALL);
    arguments
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn compare_puts_the_hub_beside_the_bare_server() {
    let (home, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hub = stub_script(home.path());
    let mut arguments = compare(&hub, data.path());
    arguments.push("--json");
    let answer = json(&bench(&arguments));
    let rows = answer["rows"].as_array().unwrap();
    let operations: Vec<(&str, Option<&str>)> = rows
        .iter()
        .map(|row| {
            (
                row["operation"].as_str().unwrap(),
                row["durability"].as_str(),
            )
        })
        .collect();
    let wanted = [
        ("insert", Some("fsync")),
        ("insert", Some("replicated")),
        ("get by key", None),
    ];
    assert_eq!(operations, wanted);
    for row in rows {
        assert!(row["ratio"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["hub"]["rounds"].as_array().unwrap().len(), 2);
    }
    let queries = answer["queries"].as_array().unwrap();
    let sizes: Vec<&Value> = queries
        .iter()
        .map(|query| &query["channel_items"])
        .collect();
    assert_eq!(sizes, [500, 3_000]);
    assert!(answer["host"]["cores"].as_u64().unwrap() > 0);
    assert!(is_empty(data.path()), "the data is gone");

    let mut arguments = vec!["compare", "--quick", "--rounds", "1", "--query-items", "0"];
    arguments.extend(["--durability", "fsync", "--items", "10", "--markdown"]);
    arguments.extend(["--hub", hub.to_str().unwrap()]);
    arguments.extend(SMALL);
    let output = bench(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("| insert     | fsync      |"), "{text}");
}

#[test]
fn a_hub_that_does_not_start_is_shown_with_its_log() {
    let (home, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hub = script(
        home.path(),
        "echo $1 $HUB_SPOKE_DURABILITY $HUB_OTHER: broken >&2; exit 3",
    );
    let mut command = Command::new(BENCH);
    command
        .args(compare(&hub, data.path()))
        .env("HUB_OTHER", "set");
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("hub-fsync ended before it served: exit status: 3"),
        "{errors}"
    );
    assert!(errors.contains("\n  | serve fsync : broken"), "{errors}");
    assert!(is_empty(data.path()), "the data is gone");
    let output = bench(&compare(&home.path().join("none"), data.path()));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("no program at"), "{errors}");
}

#[test]
fn no_server_outlives_the_benchmark() {
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let (home, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let hub = stub_script(home.path());
        let mut command = Command::new(BENCH);
        command
            .args(compare(&hub, data.path()))
            .stderr(Stdio::null());
        let mut bench = Running(command.spawn().unwrap());
        let server = wait_for(|| {
            let text = fs::read_to_string(home.path().join("hub.pid")).ok()?;
            text.trim().parse::<u32>().ok()
        });
        let bench_pid = Pid::from_raw(bench.0.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(bench_pid, signal).unwrap();
        let status = bench.0.wait().unwrap();
        if signal != Signal::KILL {
            assert_eq!(status.code(), Some(130));
            assert!(is_empty(data.path()), "the data is gone");
        }
        // A zombie, which nobody may have waited for, has ended as well.
        wait_for(
            || match fs::read_to_string(format!("/proc/{server}/stat")) {
                Ok(stat) if !stat.contains(") Z ") => None,
                _ => Some(()),
            },
        );
    }
}

fn wait_for<T>(mut what: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1_000 {
        if let Some(found) = what() {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("waited in vain");
}

#[test]
fn idle_connections_are_held_and_answered() {
    let (home, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hub = stub_script(home.path());
    let hub = [
        "--hub",
        hub.to_str().unwrap(),
        "--data-dir",
        data.path().to_str().unwrap(),
    ];
    let mut arguments = vec!["idle", "--connections", "300", "--seconds", "0.2", "--json"];
    arguments.extend(hub);
    let answer = json(&bench(&arguments));
    assert_eq!(answer["connections"], 300);
    assert!(answer["memory_held"].as_u64() > Some(0), "{answer}");

    let (server, url) = stub("idle");
    let pid = server.0.id().to_string();
    let arguments = [
        "idle",
        "--connections",
        "20",
        "--seconds",
        "0.5",
        "--url",
        &url,
        "--pid",
        &pid,
    ];
    let output = bench(&arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("20 of 20 idle connections were not answered"),
        "{errors}"
    );
}
