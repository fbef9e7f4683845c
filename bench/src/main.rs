//! `hub-bench`: what a request to the hub costs beside a bare hyper server that does nothing with
//! it.
//!
//! Everything is measured from outside, over HTTP, by clients on the same machine, so that the
//! numbers hold for a whole request; they are to be read with the machine they come from, which is
//! printed with them. Nothing of the hub's code is in here.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "results go to standard output, and what is going on to standard error"
)]

mod args;
mod bare;
mod client;
mod clock;
mod compare;
mod comparison;
mod error;
mod histogram;
mod host;
mod idle;
mod limits;
mod load;
mod prepare;
mod process;
mod query;
mod random;
mod server;
mod summary;
mod table;
mod wire;

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Cli, Command, CompareArgs, LoadArgs, Mode};
use crate::client::Target;
use crate::error::BenchError;
use crate::load::{Inserts, Load, Requests};
use crate::summary::{Summary, grouped, three_digits};
use crate::table::Style;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Bare(args) => bare::run(&args),
        Command::Load(args) => interruptible(load(&args)),
        Command::Compare(args) => interruptible(compare(&args)),
        Command::Idle(args) => interruptible(async {
            let held = idle::run(&args).await?;
            print(args.json, &held, || held.text())
        }),
        Command::Guarded(args) => Err(server::become_guarded(&args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hub-bench: {error}");
            ExitCode::from(if matches!(error, BenchError::Interrupted) {
                130
            } else {
                1
            })
        }
    }
}

/// Runs a command on this thread. When the process is asked to end, the command is dropped, and
/// with it go the servers that it started and their data.
fn interruptible(command: impl Future<Output = Result<(), BenchError>>) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::io("start"))?;
    runtime.block_on(async {
        let watch = |kind| signal(kind).map_err(BenchError::io("watch for signals"));
        let mut interrupt = watch(SignalKind::interrupt())?;
        let mut terminate = watch(SignalKind::terminate())?;
        let mut hangup = watch(SignalKind::hangup())?;
        tokio::select! {
            done = command => done,
            _ = interrupt.recv() => Err(BenchError::Interrupted),
            _ = terminate.recv() => Err(BenchError::Interrupted),
            _ = hangup.recv() => Err(BenchError::Interrupted),
        }
    })
}

/// What `load --json` prints.
#[derive(Debug, Serialize)]
struct Loaded {
    connections: usize,
    client_threads: usize,
    item_bytes: usize,
    channels: usize,
    #[serde(flatten)]
    summary: Summary,
}

async fn load(args: &LoadArgs) -> Result<(), BenchError> {
    let target = Target::resolve(&args.url).await?;
    let clients = &args.clients;
    let through = match &args.through {
        Some(url) => Target::resolve(url).await?,
        None => target.clone(),
    };
    let channels = prepare::channels(&through, clients.channels.get()).await?;
    let inserts = Arc::new(Inserts::new(channels, clients.item_bytes));
    let requests = match args.mode {
        Mode::Insert => Requests::Insert(inserts),
        Mode::Get => Requests::Get {
            paths: prepare::items(&through, &inserts, args.items.get())
                .await?
                .into(),
            body_len: Some(clients.item_bytes as u64),
        },
    };
    let load = Load {
        target,
        connections: clients.connections.get(),
        threads: compare::client_threads(clients),
        warmup: args.warmup,
        measured: args.seconds,
        requests,
    };
    let loaded = Loaded {
        connections: load.connections,
        client_threads: load.threads,
        item_bytes: clients.item_bytes,
        channels: clients.channels.get(),
        summary: load.run().await?.summary,
    };
    print(args.json, &loaded, || loaded.text())
}

impl Loaded {
    fn text(&self) -> String {
        let Summary {
            requests,
            seconds,
            rate,
            ..
        } = self.summary;
        let [p50, p90, p99, p999, max] = [
            self.summary.p50_ms,
            self.summary.p90_ms,
            self.summary.p99_ms,
            self.summary.p999_ms,
            self.summary.max_ms,
        ]
        .map(three_digits);
        format!(
            "{} requests in {seconds} s: {} per second, from {} connections\n\
             latency in ms: p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}\n",
            grouped(requests as f64),
            grouped(rate),
            self.connections,
        )
    }
}

async fn compare(args: &CompareArgs) -> Result<(), BenchError> {
    let comparison = compare::run(args).await?;
    let style = if args.markdown {
        Style::Markdown
    } else {
        Style::Plain
    };
    print(args.json, &comparison, || comparison.text(style))
}

fn print(json: bool, value: &impl Serialize, text: impl Fn() -> String) -> Result<(), BenchError> {
    if json {
        let json = serde_json::to_string_pretty(value)
            .map_err(|error| BenchError::io("write JSON")(error.into()))?;
        println!("{json}");
    } else {
        print!("{}", text());
    }
    Ok(())
}
