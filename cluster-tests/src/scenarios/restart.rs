//! Hubs that come and go: one is killed and starts again, and one is added, while clients write and
//! read through the others.

use std::time::Duration;

use super::{acked_more, for_a_while, load, on, start, verified};
use crate::cluster::Cluster;
use crate::failure::{Outcome, ensure};
use crate::faults::Bar;
use crate::latency::millis;
use crate::random::Choices;
use crate::rings::Rings;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// The seed.
    pub seed: u64,
    /// How many hubs.
    pub hubs: u8,
    /// Clients that write.
    pub writers: u32,
    /// How often a hub is killed and started again.
    pub kills: u32,
    /// For how long it is away.
    pub away: Duration,
    /// Whether a hub is added at last.
    pub add: bool,
}

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    let outcome = match Cluster::new(size.hubs) {
        Ok(cluster) => on(cluster, async |cluster| run(cluster, size).await).await,
        Err(failure) => Err(failure),
    };
    Bar::of("restart", outcome)
}

async fn run(cluster: &mut Cluster, size: &Size) -> Outcome<String> {
    let choices = Choices::new(size.seed);
    start(cluster).await?;
    // The last one goes: clients know of the others alone.
    let others: Vec<u8> = (1..size.hubs).collect();
    let client = cluster.client_of(&others);
    let mut load = load(cluster, &client, size.seed, size.writers, &choices).await?;
    acked_more(&load, 100).await?;
    let usual = load.longest();
    let last = size.hubs;
    for _ in 0..size.kills {
        cluster.play(&format!("kill {last}")).await?;
        for_a_while(&load, size.away).await?;
        cluster
            .play(&format!("start {last}; wait until {last} ready"))
            .await?;
        acked_more(&load, 50).await?;
    }
    let longest = load.longest();
    load.untroubled()?;
    for number in cluster.numbers() {
        let rings = Rings::of(&cluster.hub(number)?.client()).await?;
        ensure(rings.rings.len() == 1, || {
            format!("hub {number} knows more than one ring: {rings}")
        })?;
    }
    if size.add {
        let all: Vec<String> = (1..=size.hubs + 1)
            .map(|number| number.to_string())
            .collect();
        let (added, all) = (size.hubs + 1, all.join(","));
        cluster
            .play(&format!(
                "add; start {added}; wait until {added} ready; wait until all ring {all}; \
                 wait until all rings 2"
            ))
            .await?;
        for_a_while(&load, Duration::from_secs(1)).await?;
        load.untroubled()?;
    }
    load.end().await;
    let verdict = verified(cluster, &cluster.numbers(), load.recorder(), &choices).await?;
    Ok(format!(
        "{} kills of one of {} hubs, away for {:?} each, one ring; {}longest insert {} (before: {}), \
         seed {}: {verdict}",
        size.kills,
        size.hubs,
        size.away,
        if size.add {
            "one hub added, one new ring; "
        } else {
            ""
        },
        millis(longest),
        millis(usual),
        size.seed,
    ))
}
