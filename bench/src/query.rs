//! Whether asking for one second of a channel takes longer as the channel grows.
//!
//! In the middle of each channel, with a pause before and after, some items are inserted, and it is
//! the second of most of them that is asked for later: it holds about as much in each channel, and
//! lies neither at its end nor at its beginning.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::client::{Body, Target, ask, first_line};
use crate::error::BenchError;
use crate::load::{Inserts, Load, Requests};
use crate::prepare;
use crate::random::Random;
use crate::summary::Summary;

/// Longer than a second, so that what comes after lies in another one.
const PAUSE: Duration = Duration::from_millis(1_100);
/// Connections that insert.
const LANES: u64 = 64;
/// The longest answer that is looked into.
const ANSWER_MAX: usize = 64 * 1_024 * 1_024;

/// What the channels are to hold.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many items each channel has.
    pub sizes: Vec<u64>,
    /// How many of them are inserted together to be asked for.
    pub second_items: usize,
    /// How long an item is.
    pub item_len: usize,
}

/// A channel and its second.
#[derive(Debug, Clone)]
pub struct Probe {
    /// How many items the channel holds.
    pub channel_items: u64,
    /// How many the second holds.
    pub second_items: usize,
    path: String,
    body_len: u64,
}

/// What was measured of a channel.
#[derive(Debug, Clone, Serialize)]
pub struct Scaling {
    /// How many items the channel holds.
    pub channel_items: u64,
    /// How many the second holds.
    pub second_items: usize,
    /// How fast it was answered, one request at a time.
    pub summary: Summary,
}

/// Fills the channels.
pub async fn fill(target: &Target, plan: &Plan) -> Result<Vec<Probe>, BenchError> {
    let mut connection = prepare::connect(target, 1_024).await?;
    let channels: Vec<(u64, String)> = plan
        .sizes
        .iter()
        .map(|&size| (size, format!("/channel/query-{size}")))
        .collect();
    for (size, channel) in &channels {
        prepare::channel(target, &mut connection, channel).await?;
        inserts(target, channel, size / 2, plan.item_len).await?;
    }
    tokio::time::sleep(PAUSE).await;
    let mut seconds = Vec::new();
    for (_, channel) in &channels {
        let inserts = Arc::new(Inserts::new(vec![channel.clone()], plan.item_len));
        let items = prepare::items(target, &inserts, plan.second_items).await?;
        let second = fullest_second(&items).ok_or_else(|| BenchError::Answer {
            request: format!("POST {channel}"),
            reason: "its Location has no time in it".to_owned(),
        })?;
        seconds.push(second);
    }
    tokio::time::sleep(PAUSE).await;
    let mut probes = Vec::new();
    for ((size, channel), (path, items)) in channels.into_iter().zip(seconds) {
        let rest = (size - size / 2).saturating_sub(plan.second_items as u64);
        inserts(target, &channel, rest, plan.item_len).await?;
        let body_len = check(target, &path, items).await?;
        probes.push(Probe {
            channel_items: size / 2 + plan.second_items as u64 + rest,
            second_items: items,
            path,
            body_len,
        });
    }
    Ok(probes)
}

/// Asks for the second again and again.
pub async fn measure(
    target: &Target,
    probe: &Probe,
    warmup: Duration,
    measured: Duration,
) -> Result<Summary, BenchError> {
    let load = Load {
        target: target.clone(),
        // A single one: what is asked is how long it takes, not how many at once there can be.
        connections: 1,
        threads: 1,
        warmup,
        measured,
        requests: Requests::Get {
            paths: Arc::from([probe.path.clone()]),
            body_len: Some(probe.body_len),
        },
    };
    Ok(load.run().await?.summary)
}

/// Inserts so many items, over many connections.
async fn inserts(
    target: &Target,
    channel: &str,
    count: u64,
    item_len: usize,
) -> Result<(), BenchError> {
    let left = Arc::new(AtomicU64::new(count));
    let path: Arc<str> = channel.into();
    let mut tasks = JoinSet::new();
    for lane in 0..LANES {
        tasks.spawn(some_inserts(
            target.clone(),
            Arc::clone(&path),
            Arc::clone(&left),
            Random::new(lane).bytes(item_len),
        ));
    }
    while let Some(end) = tasks.join_next().await {
        end.map_err(|_| BenchError::Interrupted)??;
    }
    Ok(())
}

async fn some_inserts(
    target: Target,
    path: Arc<str>,
    left: Arc<AtomicU64>,
    item: Vec<u8>,
) -> Result<(), BenchError> {
    let mut connection = prepare::connect(&target, 1_024).await?;
    let mut request = Vec::new();
    let body = Body {
        media: "application/octet-stream",
        bytes: &item,
    };
    target.write_request("POST", &path, Some(body), &mut request);
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok()
    {
        ask(&mut connection, &request, 201).await?;
    }
    Ok(())
}

/// The path of the second in which most of these items lie, and how many do.
fn fullest_second(items: &[String]) -> Option<(String, usize)> {
    let mut seconds: BTreeMap<&str, usize> = BTreeMap::new();
    for item in items {
        // .../Y/M/D/h/m/s/ms/suffix
        let mut parts = item.rsplitn(3, '/');
        let (_, _, second) = (parts.next()?, parts.next()?, parts.next()?);
        *seconds.entry(second).or_default() += 1;
    }
    let fullest = seconds.into_iter().max_by_key(|&(_, count)| count)?;
    (fullest.0.split('/').count() == 9).then(|| (fullest.0.to_owned(), fullest.1))
}

/// Checks that the second holds what it should; gives back how long the answer's body is.
async fn check(target: &Target, path: &str, items: usize) -> Result<u64, BenchError> {
    let mut connection = prepare::connect(target, ANSWER_MAX).await?;
    let mut request = Vec::new();
    target.write_request("GET", path, None, &mut request);
    ask(&mut connection, &request, 200).await?;
    let answer = connection.answer();
    match listed(answer.body()) {
        Some(listed) if listed == items => Ok(answer.body_len()),
        listed => {
            let mut reason = format!("{items} items were inserted in this second, and ");
            // Writing to a string cannot fail.
            let _ = match listed {
                Some(listed) => write!(reason, "{listed} are listed"),
                None => write!(reason, "the answer is no list"),
            };
            Err(BenchError::Answer {
                request: first_line(&request),
                reason,
            })
        }
    }
}

/// How many items an answer lists; `None` if it is no list.
fn listed(body: &[u8]) -> Option<usize> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    Some(answer.get("_links")?.get("uris")?.as_array()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_second_wins() {
        let item =
            |second: &str, suffix: &str| format!("/channel/c/2024/05/01/09/15/{second}/{suffix}");
        let items = [
            item("07", "999/a"),
            item("08", "000/b"),
            item("08", "001/c"),
            item("09", "000/d"),
        ];
        let second = fullest_second(&items);
        assert_eq!(
            second,
            Some(("/channel/c/2024/05/01/09/15/08".to_owned(), 2))
        );
        assert_eq!(fullest_second(&[]), None);
        assert_eq!(fullest_second(&["/channel/c".to_owned()]), None);
    }

    #[test]
    fn lists_are_counted() {
        assert_eq!(listed(br#"{"_links":{"uris":["a","b"]}}"#), Some(2));
        assert_eq!(listed(br#"{"_links":{}}"#), None);
        assert_eq!(listed(b"\0"), None);
    }
}
