//! A clean stop under load, beside a kill.

use super::{Bar, PATIENCE, durability_of, sealing_often, usual_load, verified_clean};
use crate::failure::{Failure, Outcome, ensure};
use crate::hub::Hub;
use crate::latency::{Latency, millis};
use crate::random::Choices;
use crate::wait::{now, until};

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// The seed.
    pub seed: u64,
    /// Clients that write.
    pub writers: u32,
    /// How often the hub is stopped, and how often it is killed.
    pub rounds: u32,
    /// Whether a stop must also save time: only where nothing else runs on the machine.
    pub times: bool,
}

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    Bar::of("stop", run(size).await)
}

async fn run(size: &Size) -> Outcome<String> {
    let choices = Choices::new(size.seed);
    let mut hub = sealing_often(Hub::new()?, durability_of(size.seed));
    hub.start().await?;
    let client = hub.client();
    let load = usual_load(&client, size.seed, size.writers, 64 * 1024, &choices);
    let mut load = load.await?;
    let (mut stopping, mut after_stop) = (Latency::default(), Latency::default());
    let mut after_kill = Latency::default();
    for round in 0..2 * size.rounds {
        let goal = load.acked() + 300;
        let acked = async || (load.acked() >= goal).then_some(());
        until("inserts are acknowledged", PATIENCE, acked).await?;
        let asked = now();
        let stops = round.is_multiple_of(2);
        if stops {
            hub.stop().await?;
            stopping.add(asked.elapsed());
        } else {
            hub.kill()?;
        }
        let quiet = load.quiet().await;
        ensure(is_clean(&hub)? == stops, || {
            let what = if stops { "a stop" } else { "a kill" };
            format!("after {what}, the store says the opposite of how it was closed")
        })?;
        let ended = now();
        hub.start().await?;
        // What is true of the run before says nothing of this one.
        ensure(!is_clean(&hub)?, || {
            "a store that is open counts as closed in order".to_owned()
        })?;
        if stops {
            after_stop.add(ended.elapsed());
        } else {
            after_kill.add(ended.elapsed());
        }
        verified_clean(&hub, load.recorder(), &choices).await?;
        drop(quiet);
    }
    load.end().await;
    let verdict = verified_clean(&hub, load.recorder(), &choices).await?;
    hub.stop().await?;
    let (stopped, killed) = (after_stop.percentile(50), after_kill.percentile(50));
    // After a stop nothing needs to be waited for but the clocks of others.
    ensure(!size.times || stopped < killed.mul_f64(0.75), || {
        format!(
            "ready {} after a stop, {} after a kill",
            millis(stopped),
            millis(killed)
        )
    })?;
    Ok(format!(
        "{} stops and {} kills, seed {}: {verdict}; stopping takes {}, then ready after {}; \
         after a kill {}",
        size.rounds,
        size.rounds,
        size.seed,
        millis(stopping.percentile(50)),
        millis(stopped),
        millis(killed),
    ))
}

/// Whether the clock mark of the hub's store says that it was closed in order.
fn is_clean(hub: &Hub) -> Outcome<bool> {
    const SLOT: usize = 512;
    const FLAGS: usize = 16;
    let bytes = std::fs::read(hub.spoke().join("CLOCK"))?;
    let newest = bytes.chunks_exact(SLOT).max_by_key(|slot| {
        let sequence = slot.first_chunk().copied().unwrap_or_default();
        // Of two alike, a clean one was written later.
        (u64::from_le_bytes(sequence), slot[FLAGS])
    });
    let newest = newest.ok_or_else(|| Failure::new("the clock mark is cut off"))?;
    Ok(newest[FLAGS] & 1 != 0)
}
