//! Two coordinators that compete: the first is stopped where it is, the second takes over, and then
//! the first goes on with what it was at, while clients try their writes again elsewhere.

use std::time::Duration;

use super::{acked_more, load, on, replicas, start, verified};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome};
use crate::faults::Bar;
use crate::random::Choices;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// The seed.
    pub seed: u64,
    /// How many hubs.
    pub hubs: u8,
    /// Clients that write.
    pub writers: u32,
    /// How often a coordinator is stopped.
    pub rounds: u32,
    /// How often everything is read back and checked, in rounds.
    pub check_every: u32,
}

/// A client waits no longer, and tries again at another hub.
const IMPATIENCE: Duration = Duration::from_millis(400);

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    let outcome = match Cluster::new(size.hubs) {
        Ok(cluster) => on(cluster, async |cluster| run(cluster, size).await).await,
        Err(failure) => Err(failure),
    };
    Bar::of("rivals", outcome)
}

async fn run(cluster: &mut Cluster, size: &Size) -> Outcome<String> {
    let choices = Choices::new(size.seed);
    start(cluster).await?;
    let numbers = cluster.numbers();
    let urls = numbers.iter().map(|number| Ok(cluster.hub(*number)?.url()));
    let client = Client::patient(urls.collect::<Outcome<_>>()?, IMPATIENCE);
    let mut load = load(cluster, &client, size.seed, size.writers, &choices).await?;
    acked_more(&load, 50).await?;
    for round in 1..=size.rounds {
        let channel = format!("kept-{}", round % 2);
        let asked = numbers[choices.between(0, numbers.len() as u64 - 1) as usize];
        let first = replicas(cluster, asked, &channel).await?[0];
        cluster.play(&format!("pause {first}")).await?;
        // Short of what others take for its end, and beyond.
        let pause = Duration::from_millis(choices.between(1, 1500));
        let others = acked_more(&load, choices.between(1, 30)).await;
        tokio::time::sleep(pause).await;
        cluster.play(&format!("resume {first}")).await?;
        others?;
        acked_more(&load, 30).await?;
        if round.is_multiple_of(size.check_every) || round == size.rounds {
            let quiet = load.quiet().await;
            let seen = |failure: Failure| Failure(format!("round {round}: {failure}"));
            let verified = verified(cluster, &numbers, load.recorder(), &choices).await;
            verified.map_err(seen)?;
            drop(quiet);
        }
    }
    load.end().await;
    let verdict = verified(cluster, &numbers, load.recorder(), &choices).await?;
    Ok(format!(
        "{} rounds of two coordinators, {} hubs, {} writers, seed {}: {verdict}",
        size.rounds, size.hubs, size.writers, size.seed,
    ))
}
