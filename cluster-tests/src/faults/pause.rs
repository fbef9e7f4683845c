//! A process that stands still for some seconds, as on a machine that swaps or is moved.

use std::time::Duration;

use super::{Bar, PATIENCE, durability_of, sealing_often, usual_load, verified_clean};
use crate::failure::Outcome;
use crate::hub::Hub;
use crate::load::Load;
use crate::random::Choices;
use crate::wait::until;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// The seed.
    pub seed: u64,
    /// Clients that write.
    pub writers: u32,
    /// How long each pause is.
    pub pauses: Vec<Duration>,
}

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    Bar::of("pause", run(size).await)
}

async fn run(size: &Size) -> Outcome<String> {
    let choices = Choices::new(size.seed);
    let mut hub = sealing_often(Hub::new()?, durability_of(size.seed));
    hub.start().await?;
    let client = hub.client();
    let load = usual_load(&client, size.seed, size.writers, 64 * 1024, &choices);
    let mut load = load.await?;
    for pause in &size.pauses {
        acked_more(&load, 200).await?;
        hub.pause()?;
        tokio::time::sleep(*pause).await;
        hub.resume()?;
        acked_more(&load, 200).await?;
        let quiet = load.quiet().await;
        verified_clean(&hub, load.recorder(), &choices).await?;
        drop(quiet);
    }
    load.end().await;
    let verdict = verified_clean(&hub, load.recorder(), &choices).await?;
    // And nothing of it was in memory alone.
    hub.kill()?;
    hub.start().await?;
    verified_clean(&hub, load.recorder(), &choices).await?;
    let pauses: Vec<String> = size.pauses.iter().map(|p| format!("{p:?}")).collect();
    Ok(format!(
        "{} pauses ({}), seed {}: {verdict}; {} inserts answered 503 after them",
        pauses.len(),
        pauses.join(" "),
        size.seed,
        load.refused(503),
    ))
}

async fn acked_more(load: &Load, more: u64) -> Outcome<()> {
    let goal = load.acked() + more;
    let acked = async || (load.acked() >= goal).then_some(());
    until("inserts are acknowledged", PATIENCE, acked).await
}
