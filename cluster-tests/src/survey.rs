//! Reading back all there is of a channel, in every way that a client can.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;

use crate::client::{Client, Content};
use crate::failure::{Failure, Outcome};
use crate::faults::PATIENCE;
use crate::history::{Recorder, Standing};
use crate::item::Key;
use crate::random::Choices;
use crate::wait::until;

/// What a channel holds, while nobody writes to it.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The channel.
    pub channel: String,
    /// Whether the channel exists.
    pub exists: bool,
    /// What each way of listing it gave.
    pub listings: Vec<(Way, Vec<Key>)>,
    /// What stands under every key that was listed or acknowledged.
    pub items: BTreeMap<Key, Content>,
}

/// A way to list a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `earliest/n`, then `next/n` to the end, stable.
    Stable,
    /// The same, with items that are not stable yet.
    Unstable,
    /// `latest/n`, then `previous/n` to the beginning.
    Backwards,
    /// A list for each day.
    Days,
    /// A list for each second that has items.
    Seconds,
}

/// How many seconds are listed one by one at the most.
const SECONDS_MAX: usize = 200;
/// How many pages a walk over a large channel takes, about: with pages of a few items each, a walk over
/// tens of thousands takes longer than the load did that wrote them.
const PAGES: usize = 200;
/// How many items are read at a time.
const READERS: usize = 32;

/// Reads every channel of a history back.
///
/// # Errors
/// [`Failure`] if a list does not come: what cannot be listed cannot be checked.
pub async fn survey(
    client: &Client,
    recorder: &Recorder,
    choices: &Choices,
) -> Outcome<Vec<Reading>> {
    survey_again(client, client, &[], recorder, choices).await
}

/// As [`survey`], of one hub among several: lists come through it, items through `contents`, and
/// those that an earlier survey has read are not read again.
///
/// # Errors
/// As [`survey`].
pub async fn survey_again(
    client: &Client,
    contents: &Client,
    earlier: &[Reading],
    recorder: &Recorder,
    choices: &Choices,
) -> Outcome<Vec<Reading>> {
    let (channels, acked) = recorder.with(|history| {
        let mut acked: BTreeMap<String, BTreeSet<Key>> = BTreeMap::new();
        for write in &history.writes {
            let alive = match history.channels.get(&write.item.channel) {
                Some(Standing::Alive(life) | Standing::Unsure(life)) => *life == write.item.life,
                _ => false,
            };
            if alive {
                let keys = acked.entry(write.item.channel.clone()).or_default();
                keys.extend(write.acks.iter().cloned());
            }
        }
        let channels: Vec<String> = history.channels.keys().cloned().collect();
        (channels, acked)
    });
    let mut readings = Vec::new();
    for channel in channels {
        let known = acked.get(&channel).cloned().unwrap_or_default();
        let mut reading = list_channel(client, &channel, &known, choices).await?;
        let mut keys = known;
        keys.extend(reading.listings.iter().flat_map(|(_, keys)| keys.clone()));
        if let Some(earlier) = earlier.iter().find(|earlier| earlier.channel == channel) {
            reading.items.clone_from(&earlier.items);
            keys.retain(|key| !earlier.items.contains_key(key));
        }
        if reading.exists {
            reading.items.extend(items(contents, &channel, keys).await?);
        }
        readings.push(reading);
    }
    Ok(readings)
}

async fn list_channel(
    client: &Client,
    channel: &str,
    keys: &BTreeSet<Key>,
    choices: &Choices,
) -> Outcome<Reading> {
    let path = format!("/channel/{channel}");
    let asked = format!("{path}?cached=false");
    // While a hub is without ZooKeeper for a moment it says that it does not know.
    let status = until("the hub knows its channels", PATIENCE, async || {
        let answer = client.send(reqwest::Method::GET, &asked).await;
        answer.ok().map(|(status, _)| status).filter(|s| *s != 503)
    })
    .await?;
    let mut reading = Reading {
        channel: channel.to_owned(),
        exists: status == 200,
        ..Reading::default()
    };
    match status {
        200 => {}
        404 => return Ok(reading),
        _ => return Err(Failure(format!("GET {path}: {status}"))),
    }
    let page = choices.between(7, 1500).max((keys.len() / PAGES) as u64);
    let stable = forwards(client, channel, page, true).await?;
    let unstable = forwards(client, channel, page, false).await?;
    let backwards = backwards(client, channel, page).await?;
    let days: BTreeSet<&str> = stable.iter().chain(keys).map(Key::day).collect();
    let mut by_day = Vec::new();
    for day in days {
        by_day.extend(client.list(&format!("{path}/{day}"), false).await?.0);
    }
    let seconds: BTreeSet<&str> = stable.iter().chain(keys).map(Key::second).collect();
    if seconds.len() <= SECONDS_MAX {
        let mut by_second = Vec::new();
        for second in seconds {
            by_second.extend(client.list(&format!("{path}/{second}"), false).await?.0);
        }
        reading.listings.push((Way::Seconds, by_second));
    }
    reading.listings.extend([
        (Way::Stable, stable),
        (Way::Unstable, unstable),
        (Way::Backwards, backwards),
        (Way::Days, by_day),
    ]);
    Ok(reading)
}

async fn forwards(client: &Client, channel: &str, page: u64, stable: bool) -> Outcome<Vec<Key>> {
    let query = format!("?stable={stable}");
    let first = format!("/channel/{channel}/earliest/{page}{query}");
    let (mut keys, _) = client.list(&first, true).await?;
    while let Some(last) = keys.last() {
        let path = format!("/channel/{channel}/{last}/next/{page}{query}");
        let (more, _) = client.list(&path, false).await?;
        if more.is_empty() {
            break;
        }
        keys.extend(more);
    }
    Ok(keys)
}

async fn backwards(client: &Client, channel: &str, page: u64) -> Outcome<Vec<Key>> {
    let (mut pages, _) = client
        .list(&format!("/channel/{channel}/latest/{page}"), true)
        .await
        .map(|(keys, next)| (vec![keys], next))?;
    while let Some(first) = pages.last().and_then(|page| page.first()) {
        let path = format!("/channel/{channel}/{first}/previous/{page}");
        let (more, _) = client.list(&path, false).await?;
        if more.is_empty() {
            break;
        }
        pages.push(more);
    }
    pages.reverse();
    Ok(pages.concat())
}

/// What stands under each key.
async fn items(
    client: &Client,
    channel: &str,
    keys: BTreeSet<Key>,
) -> Outcome<BTreeMap<Key, Content>> {
    let keys: Vec<Key> = keys.into_iter().collect();
    let mut reading = JoinSet::new();
    for part in keys.chunks(keys.len().div_ceil(READERS).max(1)) {
        let (client, channel, part) = (client.clone(), channel.to_owned(), part.to_vec());
        reading.spawn(async move {
            let mut found = Vec::with_capacity(part.len());
            for key in part {
                let content = client.item(&channel, &key).await;
                found.push((key, content));
            }
            found
        });
    }
    let mut items = BTreeMap::new();
    while let Some(part) = reading.join_next().await {
        items.extend(part.map_err(|error| Failure(error.to_string()))?);
    }
    Ok(items)
}
