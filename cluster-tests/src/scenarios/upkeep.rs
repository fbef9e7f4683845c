//! What operators ask of a cluster: a channel brought down to its number of items stays so through
//! every hub, restart and ring; pages that ask every hub; hubs that leave one at a time.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HOST};
use serde_json::{Value, json};

use super::{channel, on, start};
use crate::client::{Answer, Client, Content};
use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, ensure};
use crate::faults::{Bar, PATIENCE};
use crate::hub::Hub;
use crate::item::{ItemName, Key};
use crate::wait::until;

const CHANNEL: &str = "trimmed";
/// How many items it keeps.
const KEPT: usize = 5;

/// Runs it.
pub async fn rehearse() -> Bar {
    let outcome = match Cluster::new(3) {
        Ok(cluster) => on(cluster, run).await,
        Err(failure) => Err(failure),
    };
    Bar::of("upkeep", outcome)
}

async fn run(cluster: &mut Cluster) -> Outcome<String> {
    // A hub that leaves goes on holding the lock until it is killed here.
    cluster.set("HUB_SHUTDOWN_DELAY_SECONDS", 3_600);
    start(cluster).await?;
    let rounds = trimmed(cluster).await?;
    pages(cluster).await?;
    one_leaves_at_a_time(cluster).await?;
    Ok(format!(
        "{KEPT} items were kept through {rounds} changes, and hubs left one at a time"
    ))
}

/// Asks as a caller on the hub's machine does.
async fn ask(client: &Client, method: Method, path: &str) -> Outcome<(u16, Value)> {
    let request = client.request(method, path).header(HOST, "localhost:8080");
    answered(path, request).await
}

async fn answered(path: &str, request: reqwest::RequestBuilder) -> Outcome<(u16, Value)> {
    let wrong = |error: reqwest::Error| Failure(format!("{path}: {error}"));
    let answer = request.send().await.map_err(wrong)?;
    let status = answer.status().as_u16();
    let body = answer.text().await.map_err(wrong)?;
    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
    Ok((status, body))
}

async fn configure(client: &Client, config: Value) -> Outcome<()> {
    let path = format!("/channel/{CHANNEL}");
    let request = client.request(Method::PATCH, &path);
    let request = request.header(CONTENT_TYPE, "application/json");
    let (status, body) = answered(&path, request.body(config.to_string())).await?;
    ensure(status == 200, || format!("PATCH {path}: {status} {body}"))
}

/// Every hub that runs comes to list these, and has none of the others.
async fn only(cluster: &Cluster, gone: &[Key], kept: &[Key]) -> Outcome<()> {
    for number in cluster.numbers() {
        let hub = cluster.hub(number)?;
        if !hub.runs() {
            continue;
        }
        let client = hub.client();
        let path = format!("/channel/{CHANNEL}/earliest/100");
        let mut listed = Vec::new();
        let what = format!("hub {number} lists what is kept");
        let seen = until(&what, PATIENCE, async || {
            listed = client.list(&path, true).await.ok()?.0;
            (listed == kept).then_some(())
        });
        seen.await
            .map_err(|failure| Failure(format!("{failure}: {listed:?} and not {kept:?}")))?;
        let (unstable, _) = client.list(&format!("{path}?stable=false"), true).await?;
        ensure(unstable == kept, || format!("hub {number}: {unstable:?}"))?;
        for key in gone {
            let content = client.item(CHANNEL, key).await;
            ensure(content == Content::Missing, || {
                format!("{key} through hub {number}: {content:?}")
            })?;
        }
        for key in kept {
            let content = client.item(CHANNEL, key).await;
            ensure(matches!(content, Content::Item(_)), || {
                format!("{key} through hub {number}: {content:?}")
            })?;
        }
    }
    Ok(())
}

async fn insert(client: &Client, numbers: std::ops::Range<u32>) -> Outcome<Vec<Key>> {
    let mut keys = Vec::new();
    for number in numbers {
        let item = ItemName {
            run: 1,
            writer: 1,
            number,
            size: 64,
            channel: CHANNEL.to_owned(),
            life: 0,
        };
        match client.insert(&item, None).await {
            Answer::Acked(key) => keys.push(key),
            other => return Err(Failure(format!("insert {number}: {other:?}"))),
        }
    }
    Ok(keys)
}

/// A channel is brought down through one hub; gives through how many changes it stayed so.
async fn trimmed(cluster: &mut Cluster) -> Outcome<usize> {
    channel(cluster, 1, CHANNEL).await?;
    let [one, two, three] = [1, 2, 3].map(|number| cluster.hub(number).map(Hub::client));
    let (one, two, three) = (one?, two?, three?);
    configure(&one, json!({"keepForever": false, "maxItems": KEPT})).await?;
    let mut keys = insert(&two, 0..20).await?;
    only(cluster, &[], &keys).await?;
    // It has the limit by now, though another hub set it.
    let path = format!("/internal/max-items/{CHANNEL}");
    let (status, body) = ask(&three, Method::PATCH, &path).await?;
    ensure(status == 200, || format!("PATCH {path}: {status} {body}"))?;
    let at = keys.len() - KEPT;
    only(cluster, &keys[..at], &keys[at..]).await?;

    let mut rounds = 0;
    for change in [
        "kill 1; start 1; wait until all ready",
        "kill 1,2,3; start 1,2,3; wait until all ready",
        "add; start 4; wait until all ready; wait until all ring 1,2,3,4",
    ] {
        cluster.play(change).await?;
        only(cluster, &keys[..at], &keys[at..]).await?;
        rounds += 1;
    }
    // A number that is raised brings nothing back, through a hub of the new ring either.
    let four = cluster.hub(4)?.client();
    configure(&four, json!({"maxItems": 1_000})).await?;
    only(cluster, &keys[..at], &keys[at..]).await?;
    keys.extend(insert(&four, 20..23).await?);
    only(cluster, &keys[..at], &keys[at..]).await?;
    // And what was written before the ring changed is given up after it.
    configure(&two, json!({"maxItems": KEPT})).await?;
    let (status, body) = ask(&four, Method::PATCH, &path).await?;
    ensure(status == 200, || format!("PATCH {path}: {status} {body}"))?;
    let at = keys.len() - KEPT;
    only(cluster, &keys[..at], &keys[at..]).await?;
    Ok(rounds + 2)
}

/// Pages that ask every hub.
async fn pages(cluster: &Cluster) -> Outcome<()> {
    let client = cluster.hub(2)?.client();
    let (_, nodes) = ask(&client, Method::GET, "/internal/deploy").await?;
    let nodes = nodes.as_array().cloned().unwrap_or_default();
    ensure(nodes.len() == 4, || format!("{nodes:?}"))?;
    let (status, body) = ask(&client, Method::GET, "/internal/channel/refresh").await?;
    let all = nodes
        .iter()
        .all(|node| body[node.as_str().unwrap_or_default()] == "success");
    ensure(status == 200 && all, || format!("refresh: {status} {body}"))?;
    let (status, body) = ask(&client, Method::GET, "/internal/channel/stale/0").await?;
    let uris = body["stale"]["uris"].as_array().map_or(0, Vec::len);
    ensure(status == 200 && uris >= 1, || {
        format!("stale: {status} {body}")
    })?;
    let (status, body) = ask(&client, Method::GET, "/internal/traces").await?;
    let servers = body["servers"].as_array().map_or(0, Vec::len);
    ensure(status == 200 && servers == 4, || {
        format!("traces: {status} {body}")
    })?;
    // The time of another hub, where this one is not to tell its own.
    for (method, path, expected) in [
        (Method::GET, "/internal/time/remote", 200),
        (Method::PUT, "/internal/time/remote", 200),
        (Method::GET, "/internal/time/millis", 521),
        (Method::GET, "/internal/time/remote", 200),
        (Method::PUT, "/internal/time/local", 200),
        (Method::GET, "/internal/time/millis", 200),
    ] {
        let (status, body) = ask(&client, method.clone(), path).await?;
        ensure(status == expected, || {
            format!("{method} {path}: {status} {body}")
        })?;
    }
    Ok(())
}

async fn one_leaves_at_a_time(cluster: &mut Cluster) -> Outcome<()> {
    const PATH: &str = "/internal/shutdown";
    let [one, two, three] = [1, 2, 3].map(|number| cluster.hub(number).map(Hub::client));
    let (one, two, three) = (one?, two?, three?);
    let holder = async |client: &Client| -> Outcome<Value> {
        let (status, body) = ask(client, Method::GET, PATH).await?;
        ensure(status == 200, || format!("GET {PATH}: {status} {body}"))?;
        Ok(body["shutdownLock"].clone())
    };
    let leave = async |client: &Client, waits: bool| -> Outcome<Value> {
        let (status, body) = ask(client, Method::POST, PATH).await?;
        ensure(status == 200 && body["waiting"] == waits, || {
            format!("POST {PATH}: {status} {body}")
        })?;
        Ok(body["shutdownLock"].clone())
    };
    ensure(holder(&three).await? == "none", || {
        "nobody leaves yet".to_owned()
    })?;
    // Who is not on its machine may not.
    let request = one.request(Method::POST, PATH);
    let (status, body) = answered(PATH, request).await?;
    ensure(status == 403, || format!("from afar: {status} {body}"))?;

    let first = leave(&one, false).await?;
    cluster.play("wait until 1 not ready").await?;
    let again = leave(&one, false).await?;
    ensure(again == first, || format!("{again} and {first}"))?;
    // The next one goes on serving until the first is gone, however often it is asked.
    for _ in 0..2 {
        let seen = leave(&two, true).await?;
        ensure(seen == first, || format!("{seen} and not {first}"))?;
    }
    let (status, body) = two.health().await?;
    ensure(status == 200, || {
        format!("hub 2 left before its turn: {body}")
    })?;
    ensure(holder(&three).await? == first, || {
        "it is the first's turn".to_owned()
    })?;
    cluster.play("kill 1; wait until 2 not ready").await?;
    let second = holder(&three).await?;
    ensure(second != first && second != "none", || format!("{second}"))?;
    // A hub that takes too long loses its turn to whoever an operator lets go on.
    let reset = format!("{PATH}/resetLock");
    let (status, body) = ask(&three, Method::POST, &reset).await?;
    ensure(status == 200 && body["shutdownLock"] == "none", || {
        format!("POST {reset}: {status} {body}")
    })?;
    leave(&three, false).await?;
    cluster.play("wait until 3 not ready").await
}
