//! The keeper: one member of the newest ring, that announces ring changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hub_ring::keeper::{self, Announcement, Decision};
use hub_ring::{Adoption, Member, RingHistory, RingMap};

use super::archived;
use super::coordination::{
    Coordination, CoordinationError, KeeperLock, MemberRecord, VersionedRings,
};
use super::handle::{Cluster, TICK};
use crate::env::Millis;

/// How long deleted channels are remembered, and how often they are looked through.
const REMEMBER_DELETED: i64 = 24 * 3_600_000;
const FORGET_DELETED: Duration = Duration::from_hours(1);
/// How much longer than the longest retention ring maps are kept.
const RETENTION_MARGIN: i64 = 24 * 3_600_000;

/// Follows who is registered and who answers.
pub(super) async fn watch_members(cluster: Arc<Cluster>) {
    let mut members = cluster.coordination.members();
    let link = cluster.coordination.link();
    loop {
        // Who went while there was no connection is known when there is one again.
        if link.borrow().connected {
            let registered = Arc::clone(&members.borrow_and_update());
            sight(&cluster, &registered);
        }
        let _ = tokio::time::timeout(TICK, members.changed()).await;
        if members.has_changed().is_err() {
            return;
        }
    }
}

fn sight(cluster: &Cluster, registered: &BTreeMap<Member, MemberRecord>) {
    let history = cluster.view().history();
    cluster.sightings.lock().update(
        registered.keys(),
        history.members(),
        |member| cluster.answers(member),
        cluster.clock.boot(),
    );
}

/// Contends for the keeper's lock while this node may, and keeps the ring while it has it.
pub(super) async fn run(cluster: Arc<Cluster>) {
    loop {
        if may_keep(&cluster) {
            let locked = tokio::select! {
                locked = cluster.coordination.lock_keeper() => Some(locked),
                () = until_may_not(&cluster) => None,
            };
            match locked {
                Some(Ok(lock)) => {
                    tracing::info!("this node is the keeper");
                    keep(&cluster, &*lock).await;
                    tracing::info!("this node is the keeper no longer");
                    cluster.says.send_replace(None);
                }
                Some(Err(error)) => tracing::debug!(%error, "no keeper's lock"),
                None => {}
            }
        }
        tokio::time::sleep(TICK).await;
    }
}

fn may_keep(cluster: &Cluster) -> bool {
    let history = cluster.view().history();
    cluster.coordination.link().borrow().connected
        && keeper::may_keep(&history, cluster.own())
        && cluster.is_in_dated_ring(&history)
        && cluster.clock_is_sure()
}

async fn until_may_not(cluster: &Cluster) {
    while may_keep(cluster) {
        tokio::time::sleep(TICK).await;
    }
}

/// Keeps the ring, until this node may not any more or the lock is lost.
async fn keep(cluster: &Cluster, lock: &dyn KeeperLock) {
    let mut members = cluster.coordination.members();
    let mut rings = cluster.coordination.watch_rings();
    let mut forget_at = cluster.clock.boot() + FORGET_DELETED;
    while may_keep(cluster) {
        let known = members.borrow_and_update().clone();
        let found = rings.borrow_and_update().clone();
        sight(cluster, &known);
        let decision = decide(cluster, &known, &found.history);
        // What is to be written is decided again, by what is so now.
        let waiting = match decision {
            Decision::Nothing { .. } if !is_tidy_due(cluster, &found.history) => decision,
            _ => match act(cluster, lock).await {
                Ok(Some(waiting)) => waiting,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%error, "the keeper could not do its work");
                    return;
                }
            },
        };
        let pause = match waiting {
            Decision::Nothing {
                reason,
                look_again_millis,
            } => {
                say(cluster, &reason.to_string());
                let wait = look_again_millis.unwrap_or(1_000).clamp(10, 1_000);
                Duration::from_millis(u64::try_from(wait).unwrap_or(1_000))
            }
            _ => TICK,
        };
        let now = cluster.clock.boot();
        if now >= forget_at {
            forget_at = now + FORGET_DELETED;
            let before = cluster.clock.now().minus(REMEMBER_DELETED);
            if let Err(error) = cluster.coordination.forget_tombstones(before).await {
                tracing::debug!(%error, "deleted channels could not be forgotten");
            }
            if let Err(error) = forget_without_archive(cluster, before).await {
                tracing::debug!(%error, "numbers of deleted channels could not be forgotten");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = members.changed() => if changed.is_err() { return },
            changed = rings.changed() => if changed.is_err() { return },
        }
    }
}

/// Without an archive nobody else forgets the numbers of deleted channels, for there is nothing to remove.
async fn forget_without_archive(
    cluster: &Cluster,
    before: Millis,
) -> Result<(), CoordinationError> {
    if cluster.archives() {
        return Ok(());
    }
    let deleted = cluster.coordination.deleted_channels().await?;
    let old = deleted.into_iter().filter(|(_, at)| *at < before);
    let old: Vec<u64> = old.map(|(id, _)| id).collect();
    cluster.coordination.forget_deleted(&old).await
}

fn say(cluster: &Cluster, what: &str) {
    let news = cluster.says.send_if_modified(|said| {
        let news = said.as_deref() != Some(what);
        *said = Some(what.to_owned());
        news
    });
    if news {
        tracing::debug!(reason = what, "the keeper leaves the ring as it is");
    }
}

/// What the rules say.
fn decide(
    cluster: &Cluster,
    members: &BTreeMap<Member, MemberRecord>,
    history: &RingHistory,
) -> Decision {
    let now = cluster.clock.boot();
    let (observed, absences) = {
        let sightings = cluster.sightings.lock();
        (sightings.observed(now), sightings.absences(now))
    };
    let decision = keeper::decide(
        history,
        &observed,
        &absences,
        cluster.clock.now().get(),
        &cluster.policy,
    );
    // No first ring while a member holds a history: it is going to publish that.
    let held = members.values().any(|record| record.ring > 0);
    let held = held || !cluster.view().history().is_empty();
    match decision {
        Decision::Bootstrap { .. } if held => Decision::Nothing {
            reason: keeper::Reason::Bootstrapping {
                present: observed.len(),
                expected: cluster.policy.bootstrap_expect,
            },
            look_again_millis: None,
        },
        decision => decision,
    }
}

/// Reads members and rings again, decides by them, and writes what is to be written; gives the
/// decision if that was to do nothing.
async fn act(
    cluster: &Cluster,
    lock: &dyn KeeperLock,
) -> Result<Option<Decision>, CoordinationError> {
    let (members, found) = lock.observe().await?;
    match cluster.rings.take_up(&found.history).await {
        Ok(Adoption::Newer | Adoption::Same) => {}
        // Whoever holds the newer one publishes it; nothing is decided by the older.
        Ok(Adoption::Older) => {
            tokio::time::sleep(TICK).await;
            return Ok(None);
        }
        Err(error) => {
            let reason = error.to_string();
            return Err(CoordinationError::Unavailable { reason });
        }
    }
    // By the rings as they were known before, it might: a node that has just started knows none.
    if !may_keep(cluster) {
        return Ok(None);
    }
    sight(cluster, &members);
    let decision = decide(cluster, &members, &found.history);
    let mut history = RingHistory::clone(&found.history);
    let changed = match &decision {
        Decision::Bootstrap { map } => history.announce(map.clone()),
        Decision::Announce(announcement) => {
            tell(announcement);
            history.announce(announcement.map.clone())
        }
        Decision::Complete {
            version,
            from_millis,
        } => history.set_from(*version, *from_millis),
        Decision::Nothing { .. } => {
            if !tidy(cluster, &mut history) {
                return Ok(Some(decision));
            }
            Ok(())
        }
    };
    if let Err(error) = changed {
        let reason = error.to_string();
        return Err(CoordinationError::Unavailable { reason });
    }
    write(cluster, &found, history, async |expected, history| {
        lock.replace_rings(expected, history).await
    })
    .await?;
    Ok(None)
}

fn tell(announcement: &Announcement) {
    let names = |members: &[Member]| {
        let names: Vec<&str> = members.iter().map(Member::as_str).collect();
        names.join(" ")
    };
    tracing::info!(
        ring = announcement.map.version(),
        members = announcement.map.members().len(),
        joined = names(&announcement.joined),
        removed = ?announcement.removed,
        kept = ?announcement.kept,
        "announcing a ring"
    );
}

/// Writes a history in the place of the one found, and takes it up. It counts as known from before
/// it is sent.
pub(super) async fn write(
    cluster: &Cluster,
    found: &VersionedRings,
    history: RingHistory,
    write: impl AsyncFnOnce(u64, &RingHistory) -> Result<u64, CoordinationError>,
) -> Result<(), CoordinationError> {
    let sending = cluster.rings.sending(history.mark());
    match write(found.version, &history).await {
        Ok(_) => {}
        Err(CoordinationError::Conflict) => {
            sending.refused();
            return Ok(());
        }
        Err(error) => return Err(error),
    }
    let taken = cluster.rings.take_up(&Arc::new(history)).await;
    taken.map(drop).map_err(|error| {
        let reason = error.to_string();
        CoordinationError::Unavailable { reason }
    })
}

fn is_tidy_due(cluster: &Cluster, history: &RingHistory) -> bool {
    tidy(cluster, &mut RingHistory::clone(history))
}

/// Notes who is absent and drops maps that nobody needs; says whether that changed anything.
fn tidy(cluster: &Cluster, history: &mut RingHistory) -> bool {
    let now = cluster.clock.boot();
    let (observed, absences) = {
        let sightings = cluster.sightings.lock();
        (sightings.observed(now), sightings.absences(now))
    };
    let now = cluster.clock.now();
    let times = keeper::absent_times(history, &observed, &absences, now.get(), &cluster.policy);
    let noted = times.is_some_and(|times| history.set_absent(times));
    // What is not in the archive Spoke keeps until its channel's retention ends: until then no map may
    // go in whose time there may be an item that some channel keeps.
    let retention = cluster.book.get().and_then(|book| book.longest_retention());
    let by_retention = retention.map(|longest| {
        now.get()
            .saturating_sub(longest.saturating_add(RETENTION_MARGIN))
    });
    let by_archive = archived::needed_from(history, &cluster.archived.lock());
    let oldest = by_retention.max(by_archive);
    let pruned = oldest.is_some_and(|oldest| history.prune(oldest) > 0);
    noted || pruned
}

/// Completes an announcement that its keeper left without a time.
pub(super) async fn complete_left_over(cluster: Arc<Cluster>) {
    loop {
        tokio::time::sleep(TICK).await;
        let history = cluster.view().history();
        let Some(since) = cluster.rings.announced_since() else {
            continue;
        };
        let connected = cluster.coordination.link().borrow().connected;
        if !connected || !cluster.is_in_dated_ring(&history) || !cluster.clock_is_sure() {
            continue;
        }
        let held = cluster.clock.boot().saturating_sub(since).as_millis();
        let held = i64::try_from(held).unwrap_or(i64::MAX);
        let now = cluster.clock.now().get();
        let decision = keeper::complete_left_over(&history, held, now, &cluster.policy);
        let Decision::Complete {
            version,
            from_millis,
        } = decision
        else {
            continue;
        };
        if let Err(error) = complete(&cluster, version, from_millis).await {
            tracing::debug!(%error, ring = version, "an announced ring could not be given its time");
        }
    }
}

/// Gives an announced ring its time, unless somebody else has.
pub(super) async fn complete(
    cluster: &Cluster,
    version: u64,
    from_millis: i64,
) -> Result<(), CoordinationError> {
    let coordination: &dyn Coordination = &*cluster.coordination;
    let found = coordination.rings().await?;
    let newest = found.history.newest().map(RingMap::version);
    let mut history = RingHistory::clone(&found.history);
    // Somebody else has, or there is another history by now: the watch brings it.
    if newest != Some(version) || history.set_from(version, from_millis).is_err() {
        return Ok(());
    }
    tracing::info!(
        ring = version,
        from_millis,
        "giving an announced ring its time"
    );
    write(cluster, &found, history, async |expected, history| {
        coordination.replace_rings(expected, history).await
    })
    .await
}
