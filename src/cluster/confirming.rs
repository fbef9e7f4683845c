//! Moving the ring horizon: by a write to coordination, or by the word of every member.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hub_ring::{Adoption, HorizonStep, Member, VouchStep, Vouching};
use tokio::time::timeout;

use super::clocks::{ClockSample, ClockStanding};
use super::coordination::{CoordinationError, VersionedRings};
use super::handle::Cluster;
use super::peers::{RingPeers, Vouched};
use super::view::Asked;
use crate::env::Millis;

/// Confirms the history three times a lease, for as long as the node runs, and takes up what
/// changes.
pub(super) async fn run(cluster: Arc<Cluster>) {
    let mut rings = cluster.coordination.watch_rings();
    let pause = part_of_lease(&cluster, 3);
    let mut told = None;
    loop {
        let found = rings.borrow_and_update().clone();
        let trouble = confirm(&cluster, &found).await.err();
        // What the next try mends is nothing to speak of: each change of the rings is such a thing.
        let left = cluster.view().horizon().get() - cluster.clock.now().get();
        let lasts = trouble.is_none() || left < cluster.policy.lease_millis / 2;
        if lasts && trouble != told {
            match &trouble {
                Some(reason) => {
                    tracing::warn!(reason, horizon = %cluster.view().horizon(), "the ring horizon stands still");
                }
                None => tracing::info!("the ring horizon moves again"),
            }
            told = trouble;
        }
        let waiting = timeout(pause, rings.changed());
        if let Ok(Err(_)) = waiting.await {
            return;
        }
    }
}

fn part_of_lease(cluster: &Cluster, parts: i64) -> Duration {
    let part = (cluster.policy.lease_millis / parts).max(1);
    Duration::from_millis(u64::try_from(part).unwrap_or(1))
}

/// Confirms the history once; says why the horizon did not move.
async fn confirm(cluster: &Cluster, found: &VersionedRings) -> Result<(), String> {
    if !cluster.clock_is_right() {
        // ZooKeeper may be all there is to tell when it is right again.
        let asked = cluster.view().asking(&cluster.clock);
        let asking = cluster.coordination.confirm(found.version);
        if cluster.coordination.link().borrow().connected
            && let Ok(Ok(theirs)) = timeout(part_of_lease(cluster, 5), asking).await
        {
            saw(cluster, asked, theirs);
        }
        return Err("this node's clock is out of bounds".to_owned());
    }
    if let Some(by) = cluster.coordination.link().borrow().superseded {
        return Err(format!("a later run of this node has registered: {}", by.0));
    }
    let limit = part_of_lease(cluster, 5);
    let unanswered = if cluster.coordination.link().borrow().connected {
        let asking = async {
            match by_coordination(cluster, found).await {
                // The watch brings what is newer, but nothing relies on that.
                Err(Unconfirmed::Changed) => match cluster.coordination.rings().await {
                    Ok(newer) => by_coordination(cluster, &newer).await,
                    Err(error) => Err(Unconfirmed::NoAnswer(error.to_string())),
                },
                other => other,
            }
        };
        match timeout(limit, asking).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(Unconfirmed::Changed)) => {
                return Err("the ring history has changed".to_owned());
            }
            Ok(Err(Unconfirmed::Refused(reason))) => return Err(reason),
            Ok(Err(Unconfirmed::NoAnswer(reason))) => reason,
            Err(_) => "ZooKeeper did not answer in time".to_owned(),
        }
    } else {
        cluster.coordination.link().borrow().why.clone()
    };
    match timeout(limit, by_members(cluster)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(format!("{unanswered}; {reason}")),
        Err(_) => Err(format!("{unanswered}; not every member answered in time")),
    }
}

/// Why coordination did not confirm.
enum Unconfirmed {
    /// The rings have changed since they were read.
    Changed,
    /// It has: something else stands in the way.
    Refused(String),
    /// It did not answer.
    NoAnswer(String),
}

async fn by_coordination(cluster: &Cluster, found: &VersionedRings) -> Result<(), Unconfirmed> {
    match cluster.rings.take_up(&found.history).await {
        Ok(Adoption::Newer | Adoption::Same) => {}
        Ok(Adoption::Older) => {
            publish(cluster, found).await;
            let reason = "this node holds a newer ring history than ZooKeeper";
            return Err(Unconfirmed::Refused(reason.to_owned()));
        }
        Err(error) => return Err(Unconfirmed::Refused(error.to_string())),
    }
    let doubtful = cluster.rings.doubtful();
    let asked = cluster.view().asking(&cluster.clock);
    match cluster.coordination.confirm(found.version).await {
        Ok(theirs) => {
            if cluster.coordination.is_shared() {
                let sample = saw(cluster, asked, theirs);
                // Before the first comparison with others, this clock is all there is; and one may
                // have been made since this was asked.
                let members = found.history.newest().map_or(0, |map| map.members().len());
                let compared = cluster.standing.borrow().compared_with > 0;
                let standing = ClockStanding::of(&[sample], cluster.policy.max_skew_millis);
                let doubted = !compared && !standing.within_bounds;
                if members > 1 && (doubted || !cluster.clock_is_right()) {
                    let reason = "this node's clock is out of bounds, or not ZooKeeper's and not compared yet";
                    return Err(Unconfirmed::Refused(reason.to_owned()));
                }
            }
            if let Some(doubtful) = doubtful
                && doubtful > found.history.mark()
            {
                cluster.rings.was_not_written(doubtful);
            }
            let lease = cluster.policy.lease_millis;
            let step = cluster
                .view()
                .confirmed_at(found.history.mark(), asked, lease);
            moved(step).map_err(Unconfirmed::Refused)
        }
        Err(CoordinationError::Conflict) => Err(Unconfirmed::Changed),
        Err(error) => Err(Unconfirmed::NoAnswer(error.to_string())),
    }
}

/// Keeps what an answer says of coordination's clock, for the next comparison.
fn saw(cluster: &Cluster, asked: Asked, theirs: Millis) -> ClockSample {
    let sample = ClockSample::new(asked.sent, cluster.clock.now(), theirs);
    if cluster.view().stands(asked) {
        *cluster.mtime.lock() = Some(sample);
    }
    if cluster.standing.borrow().compared_with == 0 {
        // The keeper and an operator wait for the first one.
        cluster.compare_now.notify_one();
    }
    sample
}

/// Whether a step means that the horizon is as far as it can be.
fn moved(step: HorizonStep) -> Result<(), String> {
    match step {
        HorizonStep::Moved { .. } | HorizonStep::Unchanged => Ok(()),
        HorizonStep::Announced { version } => {
            Err(format!("ring map {version} is announced without its time"))
        }
        HorizonStep::NoRing => Err("there is no ring yet".to_owned()),
        HorizonStep::HistoryChanged => Err("the ring history has changed".to_owned()),
        HorizonStep::NotVouched => Err("a member knows of a newer ring".to_owned()),
        HorizonStep::ClockSet => Err("this node's clock was set meanwhile".to_owned()),
    }
}

/// Writes this node's history where there is an older one: a store that was brought back from a
/// copy must not undo rings that items were stored by.
async fn publish(cluster: &Cluster, found: &VersionedRings) {
    let own = cluster.view().history();
    // Not the rings alone: a history that is older by one note of who is absent is not taken up
    // either, and as long as it stands nobody's horizon moves.
    if own.mark() <= found.history.mark() {
        return;
    }
    tracing::error!(
        own = own.mark().version,
        own_revision = own.mark().revision,
        found = found.history.mark().version,
        found_revision = found.history.mark().revision,
        "ZooKeeper holds an older ring history than this node; the newer one is published again"
    );
    match cluster
        .coordination
        .replace_rings(found.version, &own)
        .await
    {
        Ok(_) => tracing::warn!("the ring history is published again"),
        Err(error) => tracing::warn!(%error, "the ring history could not be published"),
    }
}

/// Asks every member of the newest map whether it knows of a newer one.
async fn by_members(cluster: &Cluster) -> Result<(), String> {
    let Some(peers) = cluster.peers.get() else {
        return Err("no peers yet".to_owned());
    };
    let history = cluster.view().history();
    if history.is_empty() {
        return Err("there is no ring yet".to_owned());
    }
    let own = (cluster.own(), cluster.rings.knows());
    let asked = cluster.view().asking(&cluster.clock);
    let sent = asked.sent;
    let mut vouching = Vouching::new(&history, own, sent.get());
    let members: Vec<Member> = vouching.waiting().iter().cloned().collect();
    let mut answers: FuturesUnordered<_> = members
        .iter()
        .map(async |member| (member, peers.vouch(member).await))
        .collect();
    let digest = cluster.book.get().map(|book| book.digest());
    let mut differ = Vec::new();
    let mut clocks = Vec::new();
    while let Some((member, answer)) = answers.next().await {
        let answer: Vouched = answer.map_err(|error| error.to_string())?;
        clocks.push(ClockSample::new(sent, cluster.clock.now(), answer.clock));
        if answer.knows.version == 0 {
            return Err(format!("{member} holds no ring history yet"));
        }
        if digest.is_some_and(|digest| digest != answer.channels) {
            differ.push(member);
        }
        if vouching.answer(member, answer.knows) == VouchStep::Newer {
            fetch(cluster, &**peers, member).await;
            return Err(format!("{member} knows of a newer ring"));
        }
    }
    let standing = ClockStanding::of(&clocks, cluster.policy.max_skew_millis);
    if !standing.within_bounds || !cluster.clock_is_right() {
        return Err("this node's clock is not the members'".to_owned());
    }
    // Before the horizon moves: a name is given to a new channel once nobody accepts for the old one
    // any more, by a horizon of before it was deleted.
    if let Some(book) = cluster.book.get() {
        for member in differ {
            let known = peers.channels(member).await;
            book.take_up(known.map_err(|error| error.to_string())?)
                .await;
        }
    }
    let lease = cluster.policy.lease_millis;
    let step = cluster.view().confirmed_by(&vouching, asked, lease);
    moved(step)
}

/// Takes up the history of a member that knows of a newer one.
async fn fetch(cluster: &Cluster, peers: &dyn RingPeers, member: &Member) {
    match peers.history(member).await {
        Ok(history) => {
            // What is wrong with it has been said.
            let _ = cluster.rings.take_up(&history).await;
        }
        Err(error) => tracing::debug!(%error, "a member's history could not be had"),
    }
}
