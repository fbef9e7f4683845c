//! A channel that is deleted through one hub while others still know it: they do not take it for one that
//! cannot be written to now, and its name is there for a new one.

use reqwest::Method;
use tokio::task::JoinSet;

use crate::client::{Answer, Client};
use crate::failure::{Failure, Outcome, ensure};
use crate::item::{ItemName, Key};

/// Deletes channels through one hub after the other, and uses their names through the next at once.
///
/// # Errors
/// [`Failure`] if an answer is wrong.
pub async fn and_used_elsewhere(hubs: &[Client]) -> Outcome<()> {
    let mut rounds = JoinSet::new();
    for round in 0..hubs.len() {
        // Each through other hubs than the one before.
        let mut hubs = hubs.to_vec();
        hubs.rotate_left(round);
        rounds.spawn(insert(round, hubs.clone()));
        rounds.spawn(put_again(round, hubs));
    }
    while let Some(round) = rounds.join_next().await {
        round.map_err(|error| Failure(error.to_string()))??;
    }
    Ok(())
}

async fn insert(round: usize, hubs: Vec<Client>) -> Outcome<()> {
    let [first, second, third] = three(&hubs)?;
    let name = format!("deleted-{round}");
    first.put_channel(&name).await?;
    let mut earlier = Vec::new();
    for (number, hub) in hubs.iter().enumerate() {
        earlier.push(acked(hub.insert(&item(&name, number), None).await)?);
    }
    delete(second, &name).await?;
    // Who has not heard of it yet may still take it for one that exists.
    match third.insert(&item(&name, hubs.len()), None).await {
        Answer::Acked(key) => earlier.push(key),
        Answer::Refused(404, _) => {}
        other => return Err(Failure(format!("{name} after it was deleted: {other:?}"))),
    }
    let request = third.request(Method::POST, "/provider");
    let request = request.header("channelName", &name).body("new");
    let said = |error: reqwest::Error| Failure(format!("{name} through the provider: {error}"));
    let answer = request.send().await.map_err(said)?;
    let status = answer.status();
    let text = answer.text().await.map_err(said)?;
    ensure(status == 200, || {
        format!("{name} through the provider: {status} {text}")
    })?;
    // What the earlier one had is not there any more.
    for key in &earlier {
        for hub in &hubs {
            let (status, _) = hub
                .send(Method::GET, &format!("/channel/{name}/{key}"))
                .await?;
            ensure(status == 404, || {
                format!("{key} of an earlier {name}: {status}")
            })?;
        }
    }
    Ok(())
}

async fn put_again(round: usize, hubs: Vec<Client>) -> Outcome<()> {
    let [first, second, third] = three(&hubs)?;
    let name = format!("put-again-{round}");
    first.put_channel(&name).await?;
    acked(third.insert(&item(&name, 0), None).await)?;
    delete(second, &name).await?;
    third.put_channel(&name).await
}

fn three(hubs: &[Client]) -> Outcome<&[Client; 3]> {
    hubs.first_chunk()
        .ok_or_else(|| Failure::new("three hubs are needed"))
}

async fn delete(hub: &Client, name: &str) -> Outcome<()> {
    let (status, _) = hub
        .send(Method::DELETE, &format!("/channel/{name}"))
        .await?;
    ensure(status == 202, || {
        format!("{name} was not deleted: {status}")
    })
}

fn acked(answer: Answer) -> Outcome<Key> {
    match answer {
        Answer::Acked(key) => Ok(key),
        other => Err(Failure(format!("an insert: {other:?}"))),
    }
}

fn item(channel: &str, number: usize) -> ItemName {
    ItemName {
        run: 3,
        writer: 0,
        number: number as u32,
        size: 50,
        channel: channel.to_owned(),
        life: 0,
    }
}
