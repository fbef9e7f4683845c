//! ZooKeeper goes and comes back: nobody notices, while all hubs are up.

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
    /// For how long the hubs may accept writes after they last confirmed the ring. Sessions last
    /// half as long.
    pub lease: Duration,
    /// For how long ZooKeeper is away: longer than the lease, or nothing is shown.
    pub away: Duration,
}

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    let outcome = match Cluster::new(size.hubs) {
        Ok(cluster) => on(cluster, async |cluster| run(cluster, size).await).await,
        Err(failure) => Err(failure),
    };
    Bar::of("zookeeper", outcome)
}

async fn run(cluster: &mut Cluster, size: &Size) -> Outcome<String> {
    let choices = Choices::new(size.seed);
    let lease = size.lease.as_millis();
    cluster.set("HUB_RING_LEASE_MS", lease);
    cluster.set("HUB_ZOOKEEPER_SESSION_TIMEOUT_MS", lease / 2);
    start(cluster).await?;
    let client = cluster.client();
    let mut load = load(cluster, &client, size.seed, size.writers, &choices).await?;
    acked_more(&load, 100).await?;
    // A restart, as by hand.
    cluster
        .play("stop zk; start zk; wait until zk ready")
        .await?;
    acked_more(&load, 50).await?;
    // It is gone for longer than any lease and any session.
    cluster.play("kill zk").await?;
    for_a_while(&load, size.away).await?;
    cluster.play("start zk; wait until zk ready").await?;
    for_a_while(&load, size.lease).await?;
    // It hangs, which no connection shows.
    cluster.play("pause zk").await?;
    for_a_while(&load, size.away).await?;
    cluster.play("resume zk; wait until zk ready").await?;
    for_a_while(&load, size.lease).await?;
    load.untroubled()?;
    cluster.play("wait until all ready").await?;
    for number in cluster.numbers() {
        let rings = Rings::of(&cluster.hub(number)?.client()).await?;
        ensure(rings.rings.len() == 1, || {
            format!("hub {number} knows more than one ring: {rings}")
        })?;
    }
    let longest = load.longest();
    load.end().await;
    let verdict = verified(cluster, &cluster.numbers(), load.recorder(), &choices).await?;
    Ok(format!(
        "restarted, killed for {:?}, paused for {:?}; {} hubs, lease {:?}, longest insert {}, seed {}: \
         {verdict}",
        size.away,
        size.away,
        size.hubs,
        size.lease,
        millis(longest),
        size.seed,
    ))
}
