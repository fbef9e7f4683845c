//! What clusters must stand: a module for each, in two sizes.
//!
//! A scenario is written in the language of [`crate::script`] where something is done to the
//! cluster, and checked by what clients saw ([`crate::check`]), by the rings that the hubs know, and
//! by what they count.

pub mod archive;
pub mod archiving;
mod deleted;
pub mod everywhere;
pub mod health;
pub mod large;
pub mod recover;
pub mod restart;
pub mod rivals;
pub mod sequence;
pub mod speed;
pub mod touched;
pub mod upkeep;
pub mod zookeeper;

use std::time::Duration;

use crate::check::{Verdict, check};
use crate::client::Client;
use crate::cluster::{Cluster, fqdn};
use crate::failure::{Failure, Outcome, ensure};
use crate::faults::PATIENCE;
use crate::history::{Recorder, Standing};
use crate::hub::Hub;
use crate::load::{Load, Plan};
use crate::metrics::Metrics;
use crate::random::Choices;
use crate::survey::survey_again;
use crate::wait::until;

/// If there are more items than this, each is read through one of the hubs, and not through every one;
/// lists come through every one whatever they hold.
const ITEMS_EACH: usize = 50_000;
/// How much of each log a failure shows.
const LOG_LINES: usize = 8;

/// Runs a scenario. If it fails, the cluster's folder stays, and the failure shows how each hub's
/// log ends.
///
/// # Errors
/// The scenario's.
pub async fn on<T>(
    mut cluster: Cluster,
    scenario: impl AsyncFnOnce(&mut Cluster) -> Outcome<T>,
) -> Outcome<T> {
    match scenario(&mut cluster).await {
        Ok(result) => Ok(result),
        Err(Failure(text)) => {
            let steps = cluster.played().join("\n  ");
            let logs = cluster.log_ends(LOG_LINES);
            let folder = cluster.keep().display();
            Err(Failure(format!(
                "{text}\nafter these steps:\n  {steps}\n{logs}\nall of it is in {folder}"
            )))
        }
    }
}

/// Starts a whole cluster and waits until every hub is ready and knows the same ring.
async fn start(cluster: &mut Cluster) -> Outcome<()> {
    let numbers: Vec<String> = cluster.numbers().iter().map(u8::to_string).collect();
    let all = numbers.join(",");
    let script = format!(
        "start zk; wait until zk ready; start all; wait until all ready; wait until all ring {all}"
    );
    cluster.play(&script).await
}

/// Makes a channel, and waits until each of those hubs knows it.
async fn channel(cluster: &Cluster, through: u8, name: &str) -> Outcome<()> {
    cluster.hub(through)?.client().put_channel(name).await?;
    let path = format!("/channel/{name}");
    for number in cluster.numbers() {
        let client = cluster.hub(number)?.client();
        if !cluster.hub(number)?.runs() {
            continue;
        }
        until(
            &format!("hub {number} knows {name}"),
            PATIENCE,
            async || {
                let answer = client.send(reqwest::Method::GET, &path).await;
                matches!(answer, Ok((200, _))).then_some(())
            },
        )
        .await?;
    }
    Ok(())
}

/// Starts a load of so many writers on two channels, through that client.
async fn load(
    cluster: &Cluster,
    client: &Client,
    seed: u64,
    writers: u32,
    choices: &Choices,
) -> Outcome<Load> {
    let plan = Plan {
        run: seed,
        writers,
        channels: vec!["kept-0".to_owned(), "kept-1".to_owned()],
        doomed: Vec::new(),
        item_max: 32 * 1024,
    };
    let first = cluster.numbers().first().copied().unwrap_or(1);
    for name in &plan.channels {
        channel(cluster, first, name).await?;
    }
    Ok(Load::begin(client, plan, choices.bits()))
}

/// Waits until so many more inserts are acknowledged; if they are not, says why.
async fn acked_more(load: &Load, more: u64) -> Outcome<()> {
    let goal = load.acked() + more;
    let acked = until("inserts are acknowledged", PATIENCE, async || {
        (load.acked() >= goal).then_some(())
    });
    acked.await.map_err(|failure| match load.untroubled() {
        Ok(()) => failure,
        Err(trouble) => Failure(format!("{failure}; {trouble}")),
    })
}

/// Lets the load go on for that long.
async fn for_a_while(load: &Load, time: Duration) -> Outcome<()> {
    let began = crate::wait::now();
    while began.elapsed() < time {
        acked_more(load, 10).await?;
    }
    Ok(())
}

/// Reads everything back through each of these hubs, and checks it; nobody may write meanwhile.
///
/// # Errors
/// [`Failure`] that names the first thing that is wrong, and through which hub it was seen.
async fn verified(
    cluster: &Cluster,
    through: &[u8],
    recorder: &Recorder,
    choices: &Choices,
) -> Outcome<Verdict> {
    settled(cluster, recorder).await?;
    let mut last = Verdict::default();
    let many = recorder.with(|history| history.writes.len()) > ITEMS_EACH;
    let all = cluster.client_of(through);
    let mut readings = Vec::new();
    for number in through {
        let client = cluster.hub(*number)?.client();
        let seen = |failure: Failure| Failure(format!("through hub {number}: {failure}"));
        let contents = if many {
            &all
        } else {
            readings.clear();
            &client
        };
        let surveyed = survey_again(&client, contents, &readings, recorder, choices).await;
        readings = surveyed.map_err(seen)?;
        last = recorder.with(|history| check(history, &readings));
        if let Some(first) = last.findings.first() {
            return Err(seen(Failure(format!("{last}; {first}"))));
        }
    }
    ensure(last.acked > 0, || "nothing was acknowledged".to_owned())?;
    Ok(last)
}

/// Waits until nothing is under way and every hub's stable lists reach past all that was written:
/// clients may have given up on writes that the hubs have not, and a hub that was away lists no
/// further than it has heard.
async fn settled(cluster: &Cluster, recorder: &Recorder) -> Outcome<()> {
    nothing_under_way(cluster).await?;
    let channels: Vec<String> = recorder.with(|history| {
        let there = |standing: &Standing| matches!(standing, Standing::Alive(_));
        let channels = history.channels.iter();
        let there = channels.filter(|(_, standing)| there(standing));
        there.map(|(name, _)| name.clone()).collect()
    });
    // No clock has reached anything later yet, and nothing is stamped ahead of every clock.
    let mut present = i64::MIN;
    for channel in &channels {
        for hub in running(cluster)? {
            let (now, _) = times(&hub.client(), channel).await?;
            present = present.max(now);
        }
    }
    for channel in &channels {
        for hub in running(cluster)? {
            let client = hub.client();
            let mut last = String::new();
            let waited = until("all of it is stable", PATIENCE, async || {
                let times = times(&client, channel).await;
                last = format!("{channel}: {times:?}, wanted: {present}");
                times
                    .is_ok_and(|(_, stable)| stable > present)
                    .then_some(())
            });
            let outcome = waited.await;
            outcome.map_err(|failure| Failure(format!("{}: {failure}: {last}", hub.url())))?;
        }
    }
    // What was still on its way then came later than that.
    nothing_under_way(cluster).await
}

/// The present of a hub, and up to when a channel is stable through it, both in milliseconds.
async fn times(client: &Client, channel: &str) -> Outcome<(i64, i64)> {
    let path = format!("/channel/{channel}/time");
    let (status, body) = client.send(reqwest::Method::GET, &path).await?;
    let broken = || {
        let text = String::from_utf8_lossy(&body);
        Failure(format!("{path}: {status} {text}"))
    };
    let body: serde_json::Value = serde_json::from_slice(&body).map_err(|_| broken())?;
    let millis = |name: &str| body[name]["millis"].as_i64().ok_or_else(broken);
    Ok((millis("now")?, millis("stable")?))
}

fn running(cluster: &Cluster) -> Outcome<Vec<&Hub>> {
    let hubs = cluster.numbers().into_iter();
    let hubs = hubs.map(|number| cluster.hub(number));
    let hubs = hubs.collect::<Outcome<Vec<&Hub>>>()?;
    Ok(hubs.into_iter().filter(|hub| hub.runs()).collect())
}

async fn nothing_under_way(cluster: &Cluster) -> Outcome<()> {
    for hub in running(cluster)? {
        let client = hub.client();
        let mut last = String::new();
        let waited = until("everything is decided", PATIENCE, async || {
            let metrics = Metrics::of(&client).await.ok()?;
            let undecided = metrics.sum("hub_undecided_items", &[]);
            let bodies = metrics.sum("hub_inflight_bytes", &[]);
            last = format!("{undecided} items undecided, {bodies} bytes in flight");
            (undecided + bodies < 0.5).then_some(())
        });
        let outcome = waited.await;
        outcome.map_err(|failure| Failure(format!("{}: {failure}: {last}", hub.url())))?;
    }
    Ok(())
}

/// The hubs that hold what is written to a channel now, as one of them says; the first one
/// coordinates.
async fn replicas(cluster: &Cluster, asked: u8, channel: &str) -> Outcome<Vec<u8>> {
    let path = format!("/internal/rings/{channel}");
    let client = cluster.hub(asked)?.client();
    let (status, body) = client.send(reqwest::Method::GET, &path).await?;
    let text = String::from_utf8_lossy(&body);
    let broken = || Failure(format!("{path}: {status} {text}"));
    let body: serde_json::Value = serde_json::from_slice(&body).map_err(|_| broken())?;
    let names = body["replicas"].as_array().ok_or_else(broken)?;
    let numbers = cluster.numbers();
    let named = names.iter().map(|name| {
        let is_it = |number: &&u8| Some(fqdn(**number).as_str()) == name.as_str();
        numbers.iter().find(is_it).copied().ok_or_else(broken)
    });
    let named = named.collect::<Outcome<Vec<u8>>>()?;
    ensure(!named.is_empty(), || broken().0)?;
    Ok(named)
}
