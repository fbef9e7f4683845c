//! Many clients insert and read large items at once: what hubs hold of them is bounded, whatever the
//! number of clients. Who finds no room is told so, and gets there by trying again.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{channel, on, start};
use crate::client::{Answer, Client, Content};
use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, ensure};
use crate::faults::{Bar, PATIENCE};
use crate::item::{ItemName, Key};
use crate::wait::now;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// How many hubs; with more than three, most items are read through a hub that does not hold them.
    pub hubs: u8,
    /// How many clients write and read at once, all of them through one hub.
    pub clients: u32,
    /// How large the items are, in bytes.
    pub item: usize,
    /// What each hub may hold of bodies, in bytes.
    pub inflight: u64,
}

/// How many bounds of that size a hub has: bodies of clients, requests of other hubs, payloads on their way
/// to the log, items held for answers.
const BOUNDS: u64 = 4;
/// What else a hub may take, in bytes.
const BESIDE: u64 = 128 << 20;
/// How long one of its tries takes a client at the most.
const TRY: Duration = Duration::from_mins(1);

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    let outcome = match Cluster::new(size.hubs) {
        Ok(cluster) => {
            let cluster = cluster
                .with("HUB_LIMITS_INFLIGHT_BYTES", size.inflight)
                .with("HUB_LIMITS_ITEM_BYTES", size.inflight)
                .with("HUB_LIMITS_BULK_BYTES", size.inflight);
            on(cluster, async |cluster| run(cluster, size).await).await
        }
        Err(failure) => Err(failure),
    };
    Bar::of("large", outcome)
}

async fn run(cluster: &mut Cluster, size: &Size) -> Outcome<String> {
    start(cluster).await?;
    for number in 0..size.clients {
        channel(cluster, 1, &name_of(number)).await?;
    }
    let client = Client::patient(vec![cluster.hub(1)?.url()], TRY);
    let began = now();
    let mut tries = 0;
    let mut keys = vec![None; size.clients as usize];
    let mut writing = JoinSet::new();
    for number in 0..size.clients {
        writing.spawn(write(client.clone(), item(number, size)));
    }
    while let Some(written) = writing.join_next().await {
        let (name, key, count) = written.map_err(|error| Failure(error.to_string()))??;
        tries += count;
        keys[name.number as usize] = Some(key);
    }
    let wrote = began.elapsed();
    let keys = Arc::new(keys);
    let began = now();
    let mut asked = 0;
    let mut reading = JoinSet::new();
    for number in 0..size.clients {
        reading.spawn(read(client.clone(), item(number, size), Arc::clone(&keys)));
    }
    while let Some(read) = reading.join_next().await {
        asked += read.map_err(|error| Failure(error.to_string()))??;
    }
    let read = began.elapsed();
    let mut most = 0;
    for number in cluster.numbers() {
        most = most.max(cluster.hub(number)?.memory("VmHWM")?);
    }
    let allowed = BOUNDS * size.inflight + BESIDE;
    ensure(most <= allowed, || {
        format!("a hub took {most} bytes of memory, {allowed} are allowed")
    })?;
    let mb = |bytes: u64| bytes / 1_000_000;
    Ok(format!(
        "{} clients at one of {} hubs, an item of {} MB each, {} MB in all, where a hub may hold {} MB: written \
         in {:.1} s and {tries} tries, read in {:.1} s and {asked} tries; no hub took more than {} MB",
        size.clients,
        size.hubs,
        mb(size.item as u64),
        mb(size.item as u64 * u64::from(size.clients)),
        mb(size.inflight),
        wrote.as_secs_f64(),
        read.as_secs_f64(),
        mb(most),
    ))
}

fn name_of(number: u32) -> String {
    format!("large-{number}")
}

fn item(number: u32, size: &Size) -> ItemName {
    ItemName {
        run: 1,
        writer: number,
        number,
        size: size.item,
        channel: name_of(number),
        life: 0,
    }
}

/// Writes an item until it is acknowledged; gives how often it was tried.
async fn write(client: Client, item: ItemName) -> Outcome<(ItemName, Key, u32)> {
    let began = now();
    let mut tries = 0;
    loop {
        tries += 1;
        let idempotency_key = format!("large-{}", item.number);
        let said = match client.insert(&item, Some(&idempotency_key)).await {
            Answer::Acked(key) => return Ok((item, key, tries)),
            // It may be refused while it is sent: then all that the client sees is an error.
            Answer::Refused(503, said) | Answer::Unknown(said) => said,
            other => return Err(Failure(format!("{item}: {other:?}"))),
        };
        ensure(began.elapsed() < 10 * PATIENCE, || {
            format!("{item} found no room: {said}")
        })?;
        // As a client does that was told to try again, only sooner.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Reads an item until it comes; gives how often it was asked for.
async fn read(client: Client, item: ItemName, keys: Arc<Vec<Option<Key>>>) -> Outcome<u32> {
    let key = keys.get(item.number as usize).and_then(Option::as_ref);
    let key = key.ok_or_else(|| Failure(format!("{item} has no key")))?;
    let began = now();
    let mut tries = 0;
    loop {
        tries += 1;
        let said = match client.item(&item.channel, key).await {
            Content::Item(found) => {
                ensure(found == item, || format!("{found} under the key of {item}"))?;
                return Ok(tries);
            }
            Content::Unavailable(said) => said,
            other => return Err(Failure(format!("{item}: {other:?}"))),
        };
        ensure(began.elapsed() < 10 * PATIENCE, || {
            format!("{item} was not read: {said}")
        })?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
