//! `/health` is 200 on a hub that can serve, and never before: it is asked every ten milliseconds.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{acked_more, load, on, start, verified};
use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, ensure};
use crate::faults::{Bar, PATIENCE};
use crate::latency::millis;
use crate::metrics::Metrics;
use crate::random::Choices;
use crate::wait::now;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// The seed.
    pub seed: u64,
    /// Clients that write.
    pub writers: u32,
    /// How many items there are at the least.
    pub items: u64,
}

/// How often it is asked.
const LOOK: Duration = Duration::from_millis(10);

/// A hub that has lost its disk says how far it has caught up, and 200 when it has.
pub async fn wiped(size: &Size) -> Bar {
    let outcome = match Cluster::new(3) {
        Ok(cluster) => on(cluster, async |cluster| catch_up(cluster, size).await).await,
        Err(failure) => Err(failure),
    };
    Bar::of("wiped", outcome)
}

async fn catch_up(cluster: &mut Cluster, size: &Size) -> Outcome<String> {
    let choices = Choices::new(size.seed);
    start(cluster).await?;
    let client = cluster.client_of(&[1, 2]);
    let mut load = load(cluster, &client, size.seed, size.writers, &choices).await?;
    acked_more(&load, size.items).await?;
    load.end().await;
    load.untroubled()?;
    cluster.play("kill 3; wipe 3").await?;
    // With three hubs each of them holds everything.
    let acked = load.recorder().with(|history| {
        let acked = history.writes.iter().filter(|write| write.key().is_some());
        acked.count()
    });
    let wanted = acked as f64;
    let began = now();
    cluster.play("start 3").await?;
    let watched = watch(cluster, 3, began, PATIENCE, |status, _| status == 200).await?;
    let stored = Metrics::of(&cluster.hub(3)?.client()).await?;
    let stored = stored.sum("hub_spoke_stored_items", &[]);
    ensure(stored >= wanted && wanted > 0.0, || {
        format!("/health was 200 with {stored} of {wanted} items")
    })?;
    ensure(watched.progress, || {
        format!(
            "no answer said how far it was; they said {:?}",
            watched.said
        )
    })?;
    let verdict = verified(cluster, &[1, 2, 3], load.recorder(), &choices).await?;
    Ok(format!(
        "503 for {} ({} answers), then 200 with {stored} items, seed {}: {verdict}",
        millis(watched.took),
        watched.answers,
        size.seed,
    ))
}

/// A hub that cannot reach ZooKeeper when it starts is not ready, and says why.
///
/// # Errors
/// The reason for which this machine cannot show it.
pub async fn cut_off(size: &Size) -> Outcome<Bar> {
    let cluster = Cluster::with_links(3)?;
    let outcome = on(cluster, async |cluster| {
        without_zookeeper(cluster, size).await
    })
    .await;
    Ok(Bar::of("cut-off", outcome))
}

async fn without_zookeeper(cluster: &mut Cluster, size: &Size) -> Outcome<String> {
    start(cluster).await?;
    cluster.play("stop 3; cut 3 from zk; start 3").await?;
    let began = now();
    // Until it has said why, and then for as long again as a hub takes to start.
    let said_why = |_, body: &Value| body.to_string().to_lowercase().contains("zookeeper");
    let why = watch(cluster, 3, began, PATIENCE, said_why).await?;
    ensure(why.last != 200, || "200 without ZooKeeper".to_owned())?;
    let stay = Duration::from_secs(5);
    let still = watch(cluster, 3, now(), stay, |status, _| status == 200).await;
    ensure(still.is_err(), || "200 without ZooKeeper".to_owned())?;
    cluster.play("heal; wait until 3 ready").await?;
    Ok(format!(
        "503 that names ZooKeeper after {}, until the link was whole; seed {}",
        millis(why.took),
        size.seed,
    ))
}

/// What `/health` said.
struct Watched {
    answers: u64,
    took: Duration,
    last: u16,
    /// Whether an answer said how far it was.
    progress: bool,
    said: Vec<String>,
}

/// Asks for health until an answer is as wanted. Every one before it must be 503.
async fn watch(
    cluster: &Cluster,
    number: u8,
    began: Instant,
    patience: Duration,
    wanted: impl Fn(u16, &Value) -> bool,
) -> Outcome<Watched> {
    let client = cluster.hub(number)?.client();
    let mut watched = Watched {
        answers: 0,
        took: Duration::ZERO,
        last: 0,
        progress: false,
        said: Vec::new(),
    };
    while began.elapsed() < patience {
        if let Ok((status, body)) = client.health().await {
            watched.answers += 1;
            watched.last = status;
            let description = body["description"].as_str().unwrap_or_default().to_owned();
            watched.progress |= status == 503 && description.contains(" items");
            if !watched.said.contains(&description) {
                watched.said.push(description);
            }
            if wanted(status, &body) {
                watched.took = began.elapsed();
                return Ok(watched);
            }
            ensure(status == 503, || format!("/health: {status} {body}"))?;
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(Failure(format!(
        "/health of hub {number} was not as wanted within {patience:?}; it said {:?}",
        watched.said
    )))
}
