//! How fast a cluster is beside one hub of the same build, measured in turn by the same program: what
//! else the machine does weighs on both.
//!
//! Hubs, clients and ZooKeeper share the machine's processors, so a hub that has to ask another one
//! pays for both. What the processors and disks were busy with is printed beside the rates.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::{on, start};
use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, ensure};
use crate::faults::Bar;
use crate::metrics::Metrics;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// How often each is measured; the medians count.
    pub rounds: usize,
    /// How long each time.
    pub seconds: Duration,
}

/// The least share of one hub's rate at which items that were written through one hub of a cluster
/// are read through another one.
const READ_SHARE: f64 = 0.5;

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Vec<Bar> {
    let mut bars = Vec::new();
    for hubs in [3, 5] {
        bars.push(Bar::of("speed", beside_one(hubs, size).await));
    }
    bars
}

async fn beside_one(hubs: u8, size: &Size) -> Outcome<String> {
    let one = Cluster::new(1)?;
    on(one, async |one| {
        start(one).await?;
        on(Cluster::new(hubs)?, async |cluster| {
            start(cluster).await?;
            let reads = reads(one, cluster, size).await?;
            let writes = writes(one, cluster, size).await?;
            Ok(format!("{hubs} hubs: {reads}; {writes}"))
        })
        .await
    })
    .await
}

async fn reads(one: &Cluster, cluster: &Cluster, size: &Size) -> Outcome<String> {
    let alone = one.hub(1)?.url();
    let (through, by) = (cluster.hub(1)?.url(), cluster.hub(2)?.url());
    let mut pairs = Vec::new();
    for _ in 0..size.rounds {
        let single = bench(&["get", "--url", &alone], size.seconds).await?;
        let other = bench(&["get", "--url", &by, "--through", &through], size.seconds).await?;
        pairs.push((single, other));
    }
    let share = share(&pairs);
    ensure(share >= READ_SHARE, || {
        format!("reads through another hub come at {share:.2} of one hub's rate")
    })?;
    let (single, other) = (median(&pairs, |p| p.0.rate), median(&pairs, |p| p.1.rate));
    Ok(format!(
        "GET through another hub {other:.0}/s, of one hub {single:.0}/s: {share:.2}"
    ))
}

async fn writes(one: &Cluster, cluster: &Cluster, size: &Size) -> Outcome<String> {
    let (alone, entry) = (one.hub(1)?.url(), cluster.hub(1)?.url());
    let mut pairs = Vec::new();
    let before = Spent::of(cluster).await?;
    for _ in 0..size.rounds {
        let single = bench(&["insert", "--url", &alone], size.seconds).await?;
        let replicated = bench(&["insert", "--url", &entry], size.seconds).await?;
        pairs.push((single, replicated));
    }
    let spent = Spent::of(cluster).await?.since(&before);
    let (single, rate) = (median(&pairs, |p| p.0.rate), median(&pairs, |p| p.1.rate));
    let (p50, p99) = (median(&pairs, |p| p.1.p50), median(&pairs, |p| p.1.p99));
    let share = share(&pairs);
    Ok(format!(
        "POST with fsync {rate:.0}/s (p50 {p50:.1} ms, p99 {p99:.1} ms), of one hub {single:.0}/s: \
         {share:.2}; {spent}"
    ))
}

/// What came of one measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) rate: f64,
    p50: f64,
    p99: f64,
}

/// Has a hub put under load from 64 connections.
pub(super) async fn bench(arguments: &[&str], seconds: Duration) -> Outcome<Measured> {
    let mut command = Command::new(program()?);
    let seconds = seconds.as_secs_f64().to_string();
    command.arg("load").args(arguments);
    command.args(["--seconds", &seconds, "--warmup", "1", "--json"]);
    command.kill_on_drop(true);
    let output = command.output().await?;
    ensure(output.status.success(), || {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("hub-bench load {arguments:?}: {said}")
    })?;
    let broken = || Failure::new("hub-bench did not print its numbers");
    let numbers: Value = serde_json::from_slice(&output.stdout).map_err(|_| broken())?;
    let number = |name: &str| numbers[name].as_f64().ok_or_else(broken);
    Ok(Measured {
        rate: number("rate")?,
        p50: number("p50_ms")?,
        p99: number("p99_ms")?,
    })
}

/// The program that measures: beside this one, or where `HUB_BENCH_BIN` says.
fn program() -> Outcome<PathBuf> {
    if let Some(named) = std::env::var_os("HUB_BENCH_BIN") {
        return Ok(named.into());
    }
    let beside = std::env::current_exe()?.with_file_name("hub-bench");
    ensure(beside.is_file(), || {
        format!(
            "{} is not there: build it, or set HUB_BENCH_BIN",
            beside.display()
        )
    })?;
    Ok(beside)
}

fn share(pairs: &[(Measured, Measured)]) -> f64 {
    median(pairs, |(single, other)| other.rate / single.rate)
}

pub(super) fn median(
    pairs: &[(Measured, Measured)],
    of: impl Fn(&(Measured, Measured)) -> f64,
) -> f64 {
    let mut values: Vec<f64> = pairs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What the hubs of a cluster were busy with.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    items: f64,
    batches: f64,
    syncs: f64,
    sync_seconds: f64,
    asked: f64,
    ask_seconds: f64,
    appends: f64,
    carried: f64,
    cpu_seconds: f64,
}

impl Spent {
    async fn of(cluster: &Cluster) -> Outcome<Self> {
        let mut spent = Self::default();
        for number in cluster.numbers() {
            let hub = cluster.hub(number)?;
            let metrics = Metrics::of(&hub.client()).await?;
            let appends = [("kind", "append")];
            spent.items += metrics.sum("hub_spoke_items_total", &[]);
            spent.batches += metrics.sum("hub_spoke_batches_total", &[]);
            spent.syncs += metrics.sum("hub_spoke_fsync_seconds_count", &[]);
            spent.sync_seconds += metrics.sum("hub_spoke_fsync_seconds_sum", &[]);
            spent.asked += metrics.sum("hub_peer_request_seconds_count", &appends);
            spent.ask_seconds += metrics.sum("hub_peer_request_seconds_sum", &appends);
            spent.appends += metrics.sum("hub_peer_appends_total", &[]);
            spent.carried += metrics.sum("hub_peer_batches_total", &[]);
            spent.cpu_seconds += cpu_seconds(hub.pid()?)?;
        }
        Ok(spent)
    }

    fn since(self, before: &Self) -> Self {
        Self {
            items: self.items - before.items,
            batches: self.batches - before.batches,
            syncs: self.syncs - before.syncs,
            sync_seconds: self.sync_seconds - before.sync_seconds,
            asked: self.asked - before.asked,
            ask_seconds: self.ask_seconds - before.ask_seconds,
            appends: self.appends - before.appends,
            carried: self.carried - before.carried,
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
        }
    }
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Every item is stored three times.
        let writes = self.items / 3.0;
        let micros = |seconds: f64, of: f64| seconds / of.max(1.0) * 1e6;
        write!(
            f,
            "a write takes {:.0} us of processor in all hubs together; a sync {:.1} ms, {:.1} items a \
             batch; a question to append {:.1} ms, {:.1} items each",
            micros(self.cpu_seconds, writes),
            micros(self.sync_seconds, self.syncs) / 1e3,
            self.items / self.batches.max(1.0),
            micros(self.ask_seconds, self.asked) / 1e3,
            self.appends / self.carried.max(1.0),
        )
    }
}

/// The processor time that a process has taken.
fn cpu_seconds(pid: u32) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let broken = || Failure(format!("/proc/{pid}/stat: {stat}"));
    // The name before them is in brackets, and may hold anything.
    let (_, numbers) = stat.rsplit_once(')').ok_or_else(broken)?;
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    let ticks = |at: usize| numbers.get(at).and_then(|n| n.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).ok_or_else(broken)?;
    Ok((user + system) / rustix::param::clock_ticks_per_second() as f64)
}
