//! Comparing this node's clock with those of the others.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hub_ring::Member;
use tokio::time::timeout;

use super::clocks::{ClockSample, ClockStanding};
use super::handle::Cluster;

/// Members asked for their clock, at the most: the middle of so many is the middle of all.
const ASKED: usize = 12;
/// How often a clock that is out of bounds is said to be.
const SAY: Duration = Duration::from_mins(1);

/// Compares clocks three times a lease, and when that is waited for, as long as the node runs.
pub(super) async fn run(cluster: Arc<Cluster>) {
    let lease = u64::try_from(cluster.policy.lease_millis).unwrap_or(1);
    let pause = Duration::from_millis((lease / 3).max(1));
    let mut said = None;
    loop {
        let asked = cluster.view().asking(&cluster.clock);
        let standing = compare(&cluster, pause).await;
        if !cluster.view().stands(asked) {
            // That was said of the clock as it was.
            continue;
        }
        let before = cluster.standing.send_replace(standing);
        let now = cluster.clock.boot();
        if standing.within_bounds {
            said = None;
            if !before.within_bounds {
                tracing::info!("this node's clock is within bounds again");
            }
        } else if said.is_none_or(|said| now.saturating_sub(said) >= SAY) {
            said = Some(now);
            tracing::error!(
                behind_ms = standing.behind_millis,
                compared_with = standing.compared_with,
                "this node's clock is out of bounds: it takes no part in writing until it is set right"
            );
        }
        let _ = timeout(pause, cluster.compare_now.notified()).await;
    }
}

async fn compare(cluster: &Cluster, limit: Duration) -> ClockStanding {
    let history = cluster.view().history();
    let members = history.newest().map_or(&[][..], |map| map.members());
    // A ring of one compares with nobody: nobody's clock matters but its own.
    if members.len() < 2 {
        return ClockStanding::ALONE;
    }
    let samples = samples(cluster, members, limit).await;
    if samples.is_empty() {
        // Nobody answers: what was known last still holds.
        return *cluster.standing.borrow();
    }
    ClockStanding::of(&samples, cluster.policy.max_skew_millis)
}

async fn samples(cluster: &Cluster, members: &[Member], limit: Duration) -> Vec<ClockSample> {
    let mut samples: Vec<ClockSample> = cluster.mtime.lock().take().into_iter().collect();
    let Some(peers) = cluster.peers.get() else {
        return samples;
    };
    let own = members.partition_point(|member| member < cluster.own());
    let others: Vec<&Member> = members
        .iter()
        .cycle()
        .skip(own)
        .take(members.len())
        .filter(|&member| member != cluster.own() && peers.is_connected(member))
        .take(ASKED)
        .collect();
    let mut answers: FuturesUnordered<_> = others
        .into_iter()
        .map(async |member| {
            let sent = cluster.clock.now();
            let answer = timeout(limit, peers.vouch(member)).await.ok()?.ok()?;
            Some(ClockSample::new(sent, cluster.clock.now(), answer.clock))
        })
        .collect();
    while let Some(sample) = answers.next().await {
        samples.extend(sample);
    }
    samples
}
