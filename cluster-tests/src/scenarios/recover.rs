//! Two hubs of three are gone for good: nothing is written any more until an operator goes on
//! without them, and everything is again then.

use reqwest::Method;
use serde_json::Value;

use super::{channel, on, start};
use crate::client::{Answer, Client, Content};
use crate::cluster::{Cluster, fqdn};
use crate::failure::{Failure, Outcome, ensure};
use crate::faults::{Bar, PATIENCE};
use crate::item::{ItemName, Key};
use crate::wait::until;

const CHANNEL: &str = "recovered";

/// Runs it.
pub async fn rehearse() -> Bar {
    let outcome = match Cluster::new(3) {
        Ok(cluster) => on(cluster, run).await,
        Err(failure) => Err(failure),
    };
    Bar::of("recover", outcome)
}

/// Runs it for a ring of one that has lost its member: a hub that waits to join goes on instead.
pub async fn alone() -> Bar {
    let outcome = match Cluster::new(1) {
        Ok(cluster) => on(cluster, run_alone).await,
        Err(failure) => Err(failure),
    };
    Bar::of("recover alone", outcome)
}

async fn run_alone(cluster: &mut Cluster) -> Outcome<String> {
    start(cluster).await?;
    channel(cluster, 1, CHANNEL).await?;
    cluster.play("kill 1; add; start 2").await?;
    let ops = Client::new(&cluster.hub(2)?.ops_url());
    let gone = fqdn(1);
    let found = until("the only member is away", PATIENCE, async || {
        let found = json(&ops, Method::GET, "/internal/cluster/recover").await;
        let (_, found) = found.ok()?;
        (found["away"][0] == gone && found["choices"][0]["losses"].is_object()).then_some(found)
    })
    .await?;
    let lost = &found["choices"][0]["losses"]["lost"];
    ensure(lost["channels"] == 1, || {
        format!("nobody else has a copy: {found}")
    })?;
    let path = format!(
        "/internal/cluster/recover?without={gone}&ring={}",
        found["ring"]
    );
    let (status, made) = json(&ops, Method::POST, &path).await?;
    ensure(status == 200, || format!("{status} {made}"))?;
    cluster
        .play("wait until 2 ring 2; wait until 2 ready")
        .await?;
    acked(&cluster.hub(2)?.client(), &item(0)).await?;
    Ok(format!("another hub went on with ring {}", made["version"]))
}

async fn json(client: &Client, method: Method, path: &str) -> Outcome<(u16, Value)> {
    let (status, body) = client.send(method, path).await?;
    let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok((status, value))
}

async fn run(cluster: &mut Cluster) -> Outcome<String> {
    start(cluster).await?;
    channel(cluster, 1, CHANNEL).await?;
    let ops = Client::new(&cluster.hub(1)?.ops_url());
    of_all(cluster, &ops).await?;
    let client = cluster.hub(1)?.client();
    let before = item(0);
    let key = acked(&client, &before).await?;
    cluster.play("kill 2,3").await?;
    let away = until("two members are away", PATIENCE, async || {
        let found = json(&ops, Method::GET, "/internal/cluster/recover").await;
        let (_, found) = found.ok()?;
        let away = found["away"].as_array()?;
        (away.len() == 2).then_some(found)
    })
    .await?;
    let choices = away["choices"].as_array().map_or(0, Vec::len);
    ensure(choices == 3, || format!("{choices} choices: {away}"))?;
    let all = &away["choices"][0];
    ensure(all["losses"]["atRisk"]["channels"] == 1, || {
        format!("one of three replicas is no read quorum: {all}")
    })?;
    let path = format!(
        "/internal/cluster/recover?without={},{}&ring={}",
        fqdn(2),
        fqdn(3),
        away["ring"]
    );
    // Whoever is there is not left out, and who looked at another ring is told.
    for (path, says) in [
        (
            format!("/internal/cluster/recover?without={}", fqdn(1)),
            "is there",
        ),
        (format!("{path}7"), "newest ring"),
    ] {
        let (status, said) = json(&ops, Method::POST, &path).await?;
        let reason = said["reason"].as_str().unwrap_or_default();
        ensure(status == 409 && reason.contains(says), || {
            format!("{path}: {status} {said}")
        })?;
    }
    let (status, made) = json(&ops, Method::POST, &path).await?;
    ensure(status == 200 && made["from"].is_string(), || {
        format!("{status} {made}")
    })?;
    cluster
        .play("wait until 1 ring 1; wait until 1 ready")
        .await?;
    acked(&client, &item(1)).await?;
    // What has a copy here is still there.
    let found = client.item(CHANNEL, &key).await;
    ensure(found == Content::Item(before), || {
        format!("{key:?}: {found:?}")
    })?;
    // They were only away after all: the keeper lets them in again.
    cluster
        .play("start 2,3; wait until all ready; wait until all ring 1,2,3")
        .await?;
    Ok(format!("went on alone with ring {}", made["version"]))
}

fn item(number: u32) -> ItemName {
    ItemName {
        run: 1,
        writer: 1,
        number,
        size: 32,
        channel: CHANNEL.to_owned(),
        life: 0,
    }
}

/// Inserts an item until that is acknowledged. Without an idempotency key: a write with one asks the
/// replicas of the ring before whether they hold it, for as long as keys are remembered.
async fn acked(client: &Client, item: &ItemName) -> Outcome<Key> {
    until(
        "an insert is acknowledged",
        PATIENCE,
        async || match client.insert(item, None).await {
            Answer::Acked(key) => Some(key),
            _ => None,
        },
    )
    .await
}

/// What every hub says of all of them.
async fn of_all(cluster: &Cluster, ops: &Client) -> Outcome<()> {
    for number in cluster.numbers() {
        let client = cluster.hub(number)?.client();
        let (_, page) = json(&client, Method::GET, "/internal/cluster").await?;
        let members = page["members"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let there = |member: &&Value| {
            let linked = member["link"] == "connected" || member["link"] == "self";
            linked && member["registered"] == true && member["inRing"] == true
        };
        ensure(members.iter().filter(there).count() == 3, || {
            format!("hub {number}: {page}")
        })?;
        let (status, health) = json(&client, Method::GET, "/internal/health").await?;
        let healthy = health.as_object().map_or(0, |all| {
            all.values().filter(|node| node["healthy"] == true).count()
        });
        ensure(status == 200 && healthy == 3, || {
            format!("hub {number}: {health}")
        })?;
        let (_, deploy) = json(&client, Method::GET, "/internal/deploy").await?;
        ensure(deploy.as_array().map(Vec::len) == Some(3), || {
            deploy.to_string()
        })?;
        let (status, time) = json(&client, Method::GET, "/internal/time/remote").await?;
        ensure(status == 200 && time.is_i64(), || {
            format!("{status} {time}")
        })?;
        let (_, time) = json(&client, Method::GET, "/internal/time").await?;
        ensure(time["servers"].as_array().map(Vec::len) == Some(3), || {
            time.to_string()
        })?;
        let (status, _) = json(&client, Method::GET, "/internal/cluster/recover").await?;
        ensure(status == 403, || format!("everybody may look: {status}"))?;
    }
    let keepers = json(ops, Method::GET, "/internal/health").await?.1;
    let keepers = keepers.as_object().map_or(0, |all| {
        all.values()
            .filter(|node| node["keeper"].is_string())
            .count()
    });
    if keepers == 1 {
        Ok(())
    } else {
        Err(Failure(format!("{keepers} keepers")))
    }
}
