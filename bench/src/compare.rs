//! The hub beside the bare server, in turn and in several rounds.
//!
//! Each round measures every operation on both, one right after the other and the other way round
//! in the next, and compares only these two: what else the machine does then weighs on both. The
//! result is the median of the rounds' ratios.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::args::{ClientArgs, CompareArgs, Durability};
use crate::comparison::{Comparison, Row, Sample, Settings};
use crate::error::BenchError;
use crate::histogram::median;
use crate::host::Host;
use crate::load::{Inserts, Load, Requests};
use crate::prepare;
use crate::process::{self, Usage};
use crate::query::{self, Scaling};
use crate::server::{Hub, Server};
use crate::summary::{Summary, grouped};

/// What is measured on both servers.
struct Contest {
    operation: &'static str,
    durability: Option<Durability>,
    /// Which hub.
    hub: usize,
    requests: Requests,
    rounds: Vec<[Sample; 2]>,
}

/// Measures.
pub async fn run(args: &CompareArgs) -> Result<Comparison, BenchError> {
    let settings = settings(args);
    let folder = temporary_folder(args.hub.data_dir.as_deref())?;
    let host = Host::look(folder.path())?;
    eprintln!("{}", host.sentence());
    let durabilities = durabilities(args);
    // Declared after the folder, and so ended before it is removed.
    let bare = Server::bare(folder.path(), settings.item_bytes).await?;
    let mut hubs = Vec::new();
    for &durability in &durabilities {
        let hub = Hub {
            program: &args.hub.hub,
            folder: folder.path(),
            durability,
            settings: &[],
        };
        hubs.push(Server::hub(hub).await?);
    }
    let mut contests = contests(&settings, &durabilities, &hubs).await?;
    let load = load(&settings);
    let mut pids = vec![std::process::id(), bare.pid()];
    pids.extend(hubs.iter().map(Server::pid));
    let before = Usage::of(&pids);
    for round in 0..settings.rounds {
        for contest in &mut contests {
            let Some(hub) = hubs.get(contest.hub) else {
                continue;
            };
            let pair = pair(&bare, hub, contest, &load, round % 2 == 1).await?;
            let [with_bare, with_hub] = pair;
            eprintln!(
                "round {} of {}: {}: bare {}/s, hub {}/s",
                round + 1,
                settings.rounds,
                contest.title(),
                grouped(with_bare.summary.rate),
                grouped(with_hub.summary.rate),
            );
            contest.rounds.push(pair);
        }
    }
    let others = Usage::of(&pids).zip(before);
    let queries = match hubs.last() {
        Some(hub) => queries(hub, &settings).await?,
        None => Vec::new(),
    };
    let rows = contests.into_iter().map(|contest| {
        let durability = contest.durability.map(Durability::name);
        Row::of(contest.operation, durability, &contest.rounds)
    });
    Ok(Comparison {
        host,
        rows: rows.collect(),
        queries,
        other_cores: others.map(|(after, before)| after.others_since(&before)),
        settings,
    })
}

impl Contest {
    fn new(operation: &'static str, hub: usize, requests: Requests) -> Self {
        Self {
            operation,
            durability: None,
            hub,
            requests,
            rounds: Vec::new(),
        }
    }

    fn title(&self) -> String {
        match self.durability {
            Some(durability) => format!("{}, {}", self.operation, durability.name()),
            None => self.operation.to_owned(),
        }
    }
}

/// A folder that is removed when it is dropped.
pub fn temporary_folder(within: Option<&Path>) -> Result<tempfile::TempDir, BenchError> {
    let within = within.map_or_else(std::env::temp_dir, Path::to_owned);
    tempfile::Builder::new()
        .prefix("hub-bench-")
        .tempdir_in(&within)
        .map_err(BenchError::io(format!(
            "create a folder in {}",
            within.display()
        )))
}

/// What was asked for, with what was left open decided.
fn settings(args: &CompareArgs) -> Settings {
    let quick = args.quick;
    let millis = |full, small| Duration::from_millis(if quick { small } else { full });
    let clients = &args.clients;
    let mut query_items = match &args.query_items {
        Some(sizes) => sizes.clone(),
        None if quick => vec![1_000, 10_000],
        None => vec![10_000, 1_000_000],
    };
    query_items.retain(|&size| size > 0);
    query_items.sort_unstable();
    query_items.dedup();
    Settings {
        rounds: args.rounds.map_or(if quick { 2 } else { 5 }, usize::from),
        seconds: args.seconds.unwrap_or(millis(5_000, 800)).as_secs_f64(),
        warmup_seconds: args.warmup.unwrap_or(millis(1_000, 200)).as_secs_f64(),
        connections: clients.connections.get(),
        client_threads: client_threads(clients),
        item_bytes: clients.item_bytes,
        channels: clients.channels.get(),
        items: args
            .items
            .map_or(if quick { 1_000 } else { 10_000 }, usize::from),
        query_items,
        query_second_items: args.query_second_items.get(),
        query_item_bytes: args.query_item_bytes,
    }
}

/// How many threads the connections share.
pub fn client_threads(clients: &ClientArgs) -> usize {
    clients.client_threads.map_or_else(
        || {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            (cores / 2).max(1)
        },
        usize::from,
    )
}

fn durabilities(args: &CompareArgs) -> Vec<Durability> {
    let mut durabilities = Vec::new();
    for &durability in &args.durability {
        if !durabilities.contains(&durability) {
            durabilities.push(durability);
        }
    }
    durabilities
}

/// The load that every operation is measured with, but for its target and its requests.
fn load(settings: &Settings) -> impl Fn(&Server, Requests) -> Load + use<> {
    let (warmup, measured) = (settings.warmup(), settings.measured());
    let (connections, threads) = (settings.connections, settings.client_threads);
    move |server, requests| Load {
        target: server.target.clone(),
        connections,
        threads,
        warmup,
        measured,
        requests,
    }
}

/// Puts into the hubs what is needed.
async fn contests(
    settings: &Settings,
    durabilities: &[Durability],
    hubs: &[Server],
) -> Result<Vec<Contest>, BenchError> {
    let mut contests = Vec::new();
    let mut inserts = None;
    for (number, (hub, &durability)) in hubs.iter().zip(durabilities).enumerate() {
        let channels = prepare::channels(&hub.target, settings.channels).await;
        let channels = channels.map_err(|error| hub.failed(format!("failed: {error}")))?;
        let requests = Arc::new(Inserts::new(channels, settings.item_bytes));
        inserts = Some((hub, number, Arc::clone(&requests)));
        contests.push(Contest {
            durability: Some(durability),
            ..Contest::new("insert", number, Requests::Insert(requests))
        });
    }
    if let Some((hub, number, inserts)) = inserts {
        let paths = prepare::items(&hub.target, &inserts, settings.items).await;
        let paths = paths.map_err(|error| hub.failed(format!("failed: {error}")))?;
        let requests = Requests::Get {
            paths: paths.into(),
            body_len: Some(settings.item_bytes as u64),
        };
        contests.push(Contest::new("get by key", number, requests));
    }
    Ok(contests)
}

/// Measures on both servers; gives back what came of the bare one first.
async fn pair(
    bare: &Server,
    hub: &Server,
    contest: &Contest,
    load: &impl Fn(&Server, Requests) -> Load,
    hub_first: bool,
) -> Result<[Sample; 2], BenchError> {
    let one = async |server: &Server| {
        let before = process::cpu(server.pid());
        let outcome = load(server, contest.requests.clone()).run().await;
        let outcome = outcome
            .map_err(|error| server.failed(format!("failed in {}: {error}", contest.title())))?;
        let used = process::cpu(server.pid())
            .zip(before)
            .map(|(after, before)| {
                after.saturating_sub(before).as_secs_f64() * 1e6 / outcome.all.max(1) as f64
            });
        Ok::<_, BenchError>(Sample {
            summary: outcome.summary,
            cpu_us: used,
        })
    };
    if hub_first {
        let with_hub = one(hub).await?;
        return Ok([one(bare).await?, with_hub]);
    }
    Ok([one(bare).await?, one(hub).await?])
}

/// Asks channels of different sizes for a second.
async fn queries(hub: &Server, settings: &Settings) -> Result<Vec<Scaling>, BenchError> {
    let plan = query::Plan {
        sizes: settings.query_items.clone(),
        second_items: settings.query_second_items,
        item_len: settings.query_item_bytes,
    };
    if plan.sizes.is_empty() {
        return Ok(Vec::new());
    }
    eprintln!("filling channels with {:?} items", plan.sizes);
    let failed = |error: BenchError| hub.failed(format!("failed: {error}"));
    let probes = query::fill(&hub.target, &plan).await.map_err(failed)?;
    let mut rounds = vec![Vec::new(); probes.len()];
    for _ in 0..settings.rounds {
        for (probe, summaries) in probes.iter().zip(&mut rounds) {
            let measured = settings.measured();
            let summary = query::measure(&hub.target, probe, settings.warmup(), measured).await;
            summaries.push(summary.map_err(failed)?);
        }
    }
    let scalings = probes.iter().zip(rounds).map(|(probe, summaries)| Scaling {
        channel_items: probe.channel_items,
        second_items: probe.second_items,
        summary: middle(&summaries),
    });
    Ok(scalings.collect())
}

/// The median of each number.
fn middle(summaries: &[Summary]) -> Summary {
    let of = |number: fn(&Summary) -> f64| median(summaries.iter().map(number)).unwrap_or_default();
    Summary {
        requests: summaries.iter().map(|summary| summary.requests).sum(),
        seconds: summaries.iter().map(|summary| summary.seconds).sum(),
        rate: of(|summary| summary.rate),
        p50_ms: of(|summary| summary.p50_ms),
        p90_ms: of(|summary| summary.p90_ms),
        p99_ms: of(|summary| summary.p99_ms),
        p999_ms: of(|summary| summary.p999_ms),
        max_ms: of(|summary| summary.max_ms),
    }
}
