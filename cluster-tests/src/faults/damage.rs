//! A byte that went bad on disk while the hub was stopped.

use super::{Bar, PATIENCE, sealing_often};
use crate::client::{Answer, Content};
use crate::failure::{Failure, Outcome, ensure};
use crate::hub::Hub;
use crate::item::{ItemName, Key};
use crate::wait::until;

/// Items of each channel.
const ITEMS: u32 = 60;
const CHANNELS: [&str; 2] = ["damaged", "sound"];

/// Damages a byte of one item in a sealed segment, sees what clients are told, and accepts the loss.
pub async fn rehearse(seed: u64) -> Bar {
    let mut bar = Bar::new("damage");
    match run(seed).await {
        Ok(numbers) => bar.numbers = numbers,
        Err(failure) => bar.wrong.push(failure.to_string()),
    }
    bar
}

async fn run(seed: u64) -> Outcome<String> {
    let mut hub = sealing_often(Hub::new()?, "fsync");
    hub.start().await?;
    let items = fill(&hub, seed).await?;
    until("every segment is sealed", PATIENCE, async || {
        (hub.files(".idx").len() == hub.files(".log").len()).then_some(())
    })
    .await?;
    hub.stop().await?;

    let (victim, key) = items
        .iter()
        .find(|(item, _)| item.channel == CHANNELS[0] && item.number == ITEMS / 2)
        .ok_or_else(|| Failure::new("no item to damage"))?;
    let segment = flip_a_byte(&hub, victim)?;
    hub.start().await?;
    let client = hub.client();

    // The item: neither there nor not there. Everything else: as if nothing had happened.
    let unavailable = |content: &Content| match content {
        Content::Unavailable(text) => text.starts_with("503") && text.contains(&segment),
        _ => false,
    };
    let content = client.item(&victim.channel, key).await;
    ensure(unavailable(&content), || {
        format!("the damaged item of {segment} answers {content:?}")
    })?;
    let named = format!("/health names the damage of {segment}");
    until(&named, PATIENCE, async || {
        let (_, health) = hub.health().await.ok()?;
        let named = health["store"]["damagedRanges"] == 1
            && health["checks"]["damage"]["ok"] == false
            && !hub.files(".damage").is_empty();
        named.then_some(())
    })
    .await?;
    let content = client.item(&victim.channel, key).await;
    ensure(unavailable(&content), || {
        format!("the damaged item answers {content:?} once the damage is known")
    })?;
    others_are_found(&hub, &items, key).await?;
    let all = format!("/channel/{}/latest/1000", CHANNELS[1]);
    let (listed, _) = client.list(&all, false).await?;
    ensure(listed.len() == ITEMS as usize, || {
        format!("the other channel lists {} items", listed.len())
    })?;
    // A list that the item would be in says that it cannot say.
    let second = format!("/channel/{}/{}", CHANNELS[0], key.second());
    let (status, _) = client.send(reqwest::Method::GET, &second).await?;
    ensure(status == 503, || format!("GET {second}: {status}"))?;

    // A restart does not forget it.
    hub.kill()?;
    hub.start().await?;
    let content = client.item(&victim.channel, key).await;
    ensure(unavailable(&content), || {
        format!("the damaged item answers {content:?} after a restart")
    })?;

    // Deleting the note accepts the loss: stop, delete, start.
    hub.stop().await?;
    let notes = hub.files(".damage");
    ensure(notes.len() == 1, || format!("notes of damage: {notes:?}"))?;
    std::fs::remove_file(hub.spoke().join(&notes[0]))?;
    hub.start().await?;
    let content = client.item(&victim.channel, key).await;
    ensure(content == Content::Missing, || {
        format!("the accepted loss answers {content:?}")
    })?;
    let (_, health) = hub.health().await?;
    ensure(health["store"]["damagedRanges"] == 0, || {
        format!("/health after the loss was accepted: {health}")
    })?;
    others_are_found(&hub, &items, key).await?;
    let all = format!("/channel/{}/latest/1000", CHANNELS[0]);
    let (listed, _) = client.list(&all, false).await?;
    let expected = items
        .iter()
        .filter(|(item, other)| item.channel == CHANNELS[0] && other != key);
    ensure(expected.map(|(_, key)| key).eq(listed.iter()), || {
        format!("{} items are listed after the loss", listed.len())
    })?;
    hub.stop().await?;
    Ok(format!(
        "1 of {} items damaged in {segment}, seed {seed}: it answers 503, the others 200; \
         404 once the loss is accepted",
        items.len()
    ))
}

/// Fills both channels, over some seconds; gives the items with their keys.
async fn fill(hub: &Hub, seed: u64) -> Outcome<Vec<(ItemName, Key)>> {
    let client = hub.client();
    let mut items = Vec::new();
    for channel in CHANNELS {
        client.put_channel(channel).await?;
    }
    for number in 0..ITEMS {
        for channel in CHANNELS {
            let item = ItemName {
                run: seed,
                writer: 0,
                number,
                size: 2000,
                channel: channel.to_owned(),
                life: 0,
            };
            match client.insert(&item, None).await {
                Answer::Acked(key) => items.push((item, key)),
                other => return Err(Failure(format!("an insert was answered with {other:?}"))),
            }
        }
    }
    Ok(items)
}

/// Changes a byte of the item's payload where it stands on disk; gives the name of the segment.
fn flip_a_byte(hub: &Hub, item: &ItemName) -> Outcome<String> {
    let payload = item.payload();
    for name in hub.files(".log") {
        let path = hub.spoke().join(&name);
        let mut log = std::fs::read(&path)?;
        let at = log
            .windows(payload.len())
            .position(|part| part == &payload[..]);
        if let Some(byte) = at.and_then(|at| log.get_mut(at + payload.len() / 2)) {
            *byte ^= 0x10;
            std::fs::write(&path, &log)?;
            return Ok(name.trim_end_matches(".log").to_owned());
        }
    }
    Err(Failure::new("the item is in no segment"))
}

async fn others_are_found(hub: &Hub, items: &[(ItemName, Key)], damaged: &Key) -> Outcome<()> {
    let client = hub.client();
    for (item, key) in items.iter().filter(|(_, key)| key != damaged) {
        let content = client.item(&item.channel, key).await;
        ensure(content == Content::Item(item.clone()), || {
            format!("{key} of {} answers {content:?}", item.channel)
        })?;
    }
    Ok(())
}
