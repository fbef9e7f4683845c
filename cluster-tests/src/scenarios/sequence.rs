//! One client writes item after item, each through another hub, while the clocks of the hubs are
//! apart and another client writes to the same channel: keys increase all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{channel, on, start, verified};
use crate::client::{Answer, Client};
use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, ensure};
use crate::faults::Bar;
use crate::history::{Recorder, Standing};
use crate::item::{ItemName, Key};
use crate::random::Choices;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// The seed.
    pub seed: u64,
    /// How many hubs.
    pub hubs: u8,
    /// How many items, one after the other.
    pub items: u32,
    /// How far each clock may be from the time, in milliseconds.
    pub skew: u64,
    /// How often clocks are set anew meanwhile.
    pub settings: u32,
}

const CHANNEL: &str = "sequence";
/// How far the clocks in the middle are from the time, in milliseconds.
const MIDDLE: u64 = 30;

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    let outcome = match Cluster::new(size.hubs) {
        Ok(cluster) => on(cluster, async |cluster| run(cluster, size).await).await,
        Err(failure) => Err(failure),
    };
    Bar::of("sequence", outcome)
}

async fn run(cluster: &mut Cluster, size: &Size) -> Outcome<String> {
    let choices = Choices::new(size.seed);
    set_clocks(cluster, size, &choices).await?;
    start(cluster).await?;
    channel(cluster, 1, CHANNEL).await?;
    let recorder = Arc::new(Recorder::default());
    recorder.stands(CHANNEL, Standing::Alive(0));
    let over = Arc::new(AtomicBool::new(false));
    let other = tokio::spawn({
        let (client, recorder) = (cluster.client(), Arc::clone(&recorder));
        let (over, run) = (Arc::clone(&over), size.seed);
        async move {
            let mut number = 0;
            while !over.load(Ordering::Relaxed) {
                insert(&client, &recorder, run, 1, number).await?;
                number += 1;
            }
            Ok::<u32, Failure>(number)
        }
    });
    let sequence = sequence(cluster, size, &recorder, &choices).await;
    over.store(true, Ordering::Relaxed);
    let beside = other.await.map_err(|error| Failure(error.to_string()))??;
    let keys = sequence?;
    let increasing = keys.windows(2).position(|pair| pair[0] >= pair[1]);
    ensure(increasing.is_none(), || {
        let at = increasing.unwrap_or_default();
        format!(
            "insert {}: {} came after {}",
            at + 1,
            keys[at + 1],
            keys[at]
        )
    })?;
    let verdict = verified(cluster, &cluster.numbers(), &recorder, &choices).await?;
    Ok(format!(
        "{} items through {} hubs by turns, clocks up to {} ms off and set {} times, {beside} by \
         another client meanwhile, seed {}: {verdict}",
        keys.len(),
        size.hubs,
        size.skew,
        size.settings,
        size.seed,
    ))
}

async fn sequence(
    cluster: &mut Cluster,
    size: &Size,
    recorder: &Recorder,
    choices: &Choices,
) -> Outcome<Vec<Key>> {
    let numbers = cluster.numbers();
    let hubs: Vec<Client> = numbers
        .iter()
        .map(|number| Ok(cluster.hub(*number)?.client()))
        .collect::<Outcome<_>>()?;
    let mut keys = Vec::new();
    for number in 0..size.items {
        if number > 0 && number.is_multiple_of(size.items / (size.settings + 1) + 1) {
            set_clocks(cluster, size, choices).await?;
        }
        let hub = &hubs[choices.between(0, hubs.len() as u64 - 1) as usize];
        keys.push(insert(hub, recorder, size.seed, 0, number).await?);
    }
    Ok(keys)
}

/// Sets every clock off: the first two as far apart as may be, the others, and so the median, close
/// to the time. A hub that is further from the median than half of `cluster.max_skew_ms` takes no
/// part in writing.
async fn set_clocks(cluster: &mut Cluster, size: &Size, choices: &Choices) -> Outcome<()> {
    let most = size.skew as i64;
    let sign = if choices.percent(50) { 1 } else { -1 };
    for number in cluster.numbers() {
        let millis = match number {
            1 => most * sign,
            2 => -most * sign,
            _ => choices.between(0, 2 * MIDDLE) as i64 - MIDDLE as i64,
        };
        cluster.play(&format!("skew {number} by {millis}")).await?;
    }
    Ok(())
}

/// How often an insert that was refused is tried again.
const TRIES: u32 = 5;

/// Inserts an item that must be acknowledged, at the latest when it is tried again.
async fn insert(
    hub: &Client,
    recorder: &Recorder,
    run: u64,
    writer: u32,
    number: u32,
) -> Outcome<Key> {
    let item = ItemName {
        run,
        writer,
        number,
        size: 64,
        channel: CHANNEL.to_owned(),
        life: 0,
    };
    let write = recorder.begin(item.clone());
    let key = item.to_string();
    let mut last = None;
    for _ in 0..TRIES {
        let trying = recorder.trying(write);
        let answer = hub.insert(&item, Some(&key)).await;
        trying.ended(&answer);
        match answer {
            Answer::Acked(key) => return Ok(key),
            other => last = Some(other),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Failure(format!(
        "insert {number} of writer {writer}: {last:?}"
    )))
}
