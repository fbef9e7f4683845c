//! How many hubs a request keeps busy, by what they count: a write its replica set and the hub that
//! took it, a read of an item no more than a read quorum and the hub that took it.

use super::{channel, replicas};
use crate::client::{Answer, Content};
use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, ensure};
use crate::faults::PATIENCE;
use crate::item::ItemName;
use crate::metrics::Metrics;
use crate::wait::until;

const ANSWERS: &str = "hub_peer_answers_total";
const FULL_FANOUTS: &str = "hub_read_full_fanouts_total";
/// What one hub asks another for a write.
const WRITING: [&str; 4] = ["write", "append", "stage", "settle"];
/// And for a read.
const READING: [&str; 2] = ["get", "report"];
/// How many writes, and how many reads.
const COUNT: u32 = 20;
const CHANNEL: &str = "touched";

/// Writes and reads through each hub, and counts which others had to do with it.
///
/// # Errors
/// [`Failure`] if more of them had than must.
pub async fn by_writes_and_reads(cluster: &Cluster) -> Outcome<String> {
    channel(cluster, 1, CHANNEL).await?;
    let (mut most_writing, mut most_reading) = (0, 0.0_f64);
    for entry in cluster.numbers() {
        let set = replicas(cluster, entry, CHANNEL).await?;
        let client = cluster.hub(entry)?.client();
        let before = answers(cluster, &WRITING).await?;
        let stored = stored(cluster).await?;
        let mut keys = Vec::new();
        for number in 0..COUNT {
            let item = ItemName {
                run: 2,
                writer: entry.into(),
                number,
                size: 100,
                channel: CHANNEL.to_owned(),
                life: 0,
            };
            match client.insert(&item, None).await {
                Answer::Acked(key) => keys.push(key),
                other => return Err(Failure(format!("through hub {entry}: {other:?}"))),
            }
        }
        // The last copy of an item is made in the background.
        let wanted = stored + f64::from(COUNT) * set.len() as f64;
        until("every replica holds every item", PATIENCE, async || {
            (self::stored(cluster).await.ok()? >= wanted).then_some(())
        })
        .await?;
        let after = answers(cluster, &WRITING).await?;
        let busy = cluster.numbers().into_iter().zip(before.iter().zip(&after));
        let busy: Vec<u8> = busy
            .filter(|(number, (before, after))| *number == entry || after > before)
            .map(|(number, _)| number)
            .collect();
        let allowed = |number: &u8| *number == entry || set.contains(number);
        ensure(busy.iter().all(allowed), || {
            format!("writes through hub {entry} to the replicas {set:?} kept hubs {busy:?} busy")
        })?;
        // Metrics that are not there would count as nobody being asked.
        ensure(busy.len() >= set.len().min(2), || {
            format!("by {ANSWERS} nobody but hub {entry} was asked")
        })?;
        most_writing = most_writing.max(busy.len());

        let before: f64 = answers(cluster, &READING).await?.iter().sum();
        for key in &keys {
            let content = client.item(CHANNEL, key).await;
            ensure(matches!(content, Content::Item(_)), || {
                format!("{key} through hub {entry}: {content:?}")
            })?;
        }
        let after: f64 = answers(cluster, &READING).await?.iter().sum();
        let asked = 1.0 + (after - before) / f64::from(COUNT);
        ensure(asked <= 3.0, || {
            format!("a read through hub {entry} kept {asked} hubs busy")
        })?;
        most_reading = most_reading.max(asked);
    }
    let mut fanouts = 0.0;
    for number in cluster.numbers() {
        let metrics = Metrics::of(&cluster.hub(number)?.client()).await?;
        ensure(metrics.has(FULL_FANOUTS), || {
            format!("hub {number} does not show {FULL_FANOUTS}")
        })?;
        fanouts += metrics.sum(FULL_FANOUTS, &[]);
    }
    ensure(fanouts < 0.5, || {
        format!("{fanouts} reads asked every hub there is")
    })?;
    Ok(format!(
        "a write touches {most_writing} hubs and a read {most_reading:.1} at the most, no read all of \
         them"
    ))
}

/// How many questions of these kinds each hub has answered.
async fn answers(cluster: &Cluster, kinds: &[&str]) -> Outcome<Vec<f64>> {
    let mut answers = Vec::new();
    for number in cluster.numbers() {
        let metrics = Metrics::of(&cluster.hub(number)?.client()).await?;
        let of_kind = |kind: &&str| metrics.sum(ANSWERS, &[("kind", kind)]);
        answers.push(kinds.iter().map(of_kind).sum());
    }
    Ok(answers)
}

/// How many items all hubs hold together.
async fn stored(cluster: &Cluster) -> Outcome<f64> {
    let mut stored = 0.0;
    for number in cluster.numbers() {
        let metrics = Metrics::of(&cluster.hub(number)?.client()).await?;
        stored += metrics.sum("hub_spoke_stored_items", &[]);
    }
    Ok(stored)
}
