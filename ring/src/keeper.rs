//! The keeper's rules: when the ring changes, and why it does not.
//!
//! The keeper is the one member that announces ring changes. Everything here is a pure function of
//! what it knows; reading the members, the history and the clock, holding the lock and writing are
//! its driver's business. Just before it writes, the driver reads members and history again under
//! its own session and asks again.
//!
//! # The rules, in the order in which they are asked
//!
//! 1. **First ring.** Without a history the keeper waits for `bootstrap_expect` members; the ring
//!    of those present is in force at once. (The history given here must be the newest that any
//!    member holds: a store that has lost it is no reason to begin again.)
//! 2. **Two writes.** An announcement left without its time gets it: the clock now, plus the lease,
//!    plus the clock skew. A time that would not be after that of the map before is refused: this
//!    clock is behind.
//! 3. **One change at a time.** While the newest map is not in force yet, nothing is announced.
//! 4. **A cluster that restarts finds its ring again.** While fewer than half of the newest ring's
//!    members are present, nothing is announced, until that has lasted for the grace.
//! 5. **A new member** joins: the newest ring and the new one, members in their grace included.
//!    Members that asked to leave do not join.
//! 6. **A member that asked to leave** goes without a grace. But while another one is away, and a
//!    replica set could lose its write quorum by the going, it waits.
//! 7. **A blip.** One member away, for less than the grace, and every replica set keeps a write
//!    quorum without it: it stays in the ring. It restarts, and the history is to show one ring,
//!    not three.
//! 8. **Away.** Otherwise those that have been away for `ring.away` go, once half of the ring's
//!    members have been present for as long (a cluster that restarts comes up one by one, and rule
//!    4 ends with the first half of it). Away is who is not registered and does not answer the
//!    keeper over the peer link either.
//! 9. **Small rings.** A ring smaller than `min_members` (1 in a cluster that never had more) is
//!    made by an operator only. If not all may go that should, those that are away go first.
//! 10. **Settle.** Changes become one announcement: it is made when the first new member has been
//!     there for `settle`, or, if none is, when the first request to leave is as old. Members that
//!     are away have waited long enough, and whatever else is wanted by then comes along.
//!
//! How long a member has been away is measured by the boot-time clock of the node that asks. The
//! `absent` times of the history are wall-clock times of an earlier keeper; they serve as a lower
//! bound in rule 7 only, so that a keeper that restarts does not give a dead member another grace.

use std::collections::BTreeMap;

use crate::history::{MAX_MAPS, RingHistory};
use crate::map::RingMap;
use crate::member::Member;

mod change;
mod decision;
mod policy;
mod standing;
#[cfg(test)]
mod tests;

pub use decision::{Announcement, Decision, Reason, WhyKept, WhyRemoved};
pub use policy::KeeperPolicy;

use change::Change;
use standing::Standing;

/// A member that is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Presence {
    /// For how long the keeper has seen it registered, in milliseconds of its boot-time clock.
    pub present_millis: i64,
}

/// A member that is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Absence {
    /// For how long the keeper has seen that it is not registered, in milliseconds of its boot-time
    /// clock.
    pub away_millis: i64,
    /// Whether it answers the keeper over the peer link: then it works, and is only cut off from
    /// ZooKeeper.
    pub answers: bool,
}

/// Decides what the keeper does now.
///
/// - `history`: the newest ring history.
/// - `observed`: the members that are registered.
/// - `absences`: those of the newest ring that are not. One that is in neither has been away for no
///   time; one that is in both is present.
/// - `now_millis`: the keeper's clock (UTC milliseconds). A keeper whose clock is out of bounds
///   does not ask.
///
/// The rules are in the documentation of this module.
pub fn decide(
    history: &RingHistory,
    observed: &BTreeMap<Member, Presence>,
    absences: &BTreeMap<Member, Absence>,
    now_millis: i64,
    policy: &KeeperPolicy,
) -> Decision {
    let Some(newest) = history.newest() else {
        return bootstrap(history, observed, now_millis, policy);
    };
    let Some(from_millis) = newest.from_millis() else {
        return complete(history, now_millis, policy);
    };
    if from_millis > now_millis {
        let reason = Reason::NotYetInForce {
            version: newest.version(),
            from_millis,
        };
        return Decision::nothing(reason, Some(from_millis.saturating_sub(now_millis)));
    }
    let standing = Standing::new(history, newest, observed, absences, now_millis);
    if let Some(decision) = too_few_present(&standing, policy) {
        return decision;
    }
    let change = Change::new(history, newest, &standing, observed, policy);
    if change.is_empty() {
        return idle(history, newest, &standing, observed, policy);
    }
    if let Some(wait) = change.must_settle(history, observed, now_millis, policy) {
        let wait = standing
            .changes_in(policy)
            .map_or(wait, |sooner| wait.min(sooner));
        return Decision::nothing(Reason::Settling, Some(wait));
    }
    if history.maps().len() >= MAX_MAPS {
        return Decision::nothing(Reason::HistoryFull { maps: MAX_MAPS }, None);
    }
    change.announce(history, newest, &standing, policy)
}

/// Completes an announcement that was left without its time (rule 2), on behalf of any member, the
/// keeper or not, lock or no lock, that has held it like that for `held_millis` (of its boot-time
/// clock).
pub fn complete_left_over(
    history: &RingHistory,
    held_millis: i64,
    now_millis: i64,
    policy: &KeeperPolicy,
) -> Decision {
    match history.newest() {
        Some(map) if map.from_millis().is_none() => {
            let wait = policy.complete_after_millis - held_millis;
            if wait > 0 {
                let version = map.version();
                return Decision::nothing(Reason::LeftToTheKeeper { version }, Some(wait));
            }
            complete(history, now_millis, policy)
        }
        _ => Decision::nothing(Reason::Unchanged, None),
    }
}

/// Whether a member may contend for the keeper's lock: only members of the newest ring may, and
/// anybody before there is one. (A member that may not, but holds the lock, would keep all others
/// from announcing.)
pub fn may_keep(history: &RingHistory, member: &Member) -> bool {
    history.newest().is_none_or(|map| map.contains(member))
}

/// The absent times that the history should hold (UTC milliseconds), if they are not those it
/// holds.
///
/// A member of any map is noted once it has been away for `ring.away`, so that a quick restart
/// writes nothing, and no longer when it is back. A time that is noted stays.
pub fn absent_times(
    history: &RingHistory,
    observed: &BTreeMap<Member, Presence>,
    absences: &BTreeMap<Member, Absence>,
    now_millis: i64,
    policy: &KeeperPolicy,
) -> Option<BTreeMap<Member, i64>> {
    let mut times = BTreeMap::new();
    for member in history.members() {
        let absence = absences.get(member).copied().unwrap_or_default();
        if observed.contains_key(member) || absence.answers {
            continue;
        }
        let noted = history.absent().get(member).copied();
        let due = (absence.away_millis >= policy.away_millis)
            .then(|| now_millis.saturating_sub(absence.away_millis));
        if let Some(since) = noted.or(due) {
            times.insert(member.clone(), since);
        }
    }
    (times != *history.absent()).then_some(times)
}

/// Rule 1.
fn bootstrap(
    history: &RingHistory,
    observed: &BTreeMap<Member, Presence>,
    now_millis: i64,
    policy: &KeeperPolicy,
) -> Decision {
    let staying = |member: &&Member| !history.decommissions().contains_key(*member);
    let members: Vec<Member> = observed.keys().filter(staying).cloned().collect();
    let waiting = Reason::Bootstrapping {
        present: members.len(),
        expected: policy.bootstrap_expect.max(1),
    };
    if members.len() < policy.bootstrap_expect {
        return Decision::nothing(waiting, None);
    }
    let first = members.into_iter().take(crate::MAX_MEMBERS);
    match RingMap::in_force(history.next_version(), now_millis, first, policy.placement) {
        Ok(map) => Decision::Bootstrap { map },
        // Nobody is there, whatever number is expected.
        Err(_) => Decision::nothing(waiting, None),
    }
}

/// Rule 2, for a history whose newest map has no time.
fn complete(history: &RingHistory, now_millis: i64, policy: &KeeperPolicy) -> Decision {
    let from_millis = policy.from_millis(now_millis);
    let version = history.mark().version;
    let previous = history.maps().iter().rev().find_map(RingMap::from_millis);
    match previous {
        Some(previous_millis) if from_millis <= previous_millis => Decision::nothing(
            Reason::ClockBehind {
                version,
                from_millis,
                previous_millis,
            },
            None,
        ),
        _ => Decision::Complete {
            version,
            from_millis,
        },
    }
}

/// Rule 4.
fn too_few_present(standing: &Standing<'_>, policy: &KeeperPolicy) -> Option<Decision> {
    let lasted = standing.fewer_than_half_for()?;
    let grace_left_millis = policy.grace_millis - lasted;
    if grace_left_millis <= 0 {
        return None;
    }
    let reason = Reason::TooFewPresent {
        present: standing.present(),
        members: standing.members(),
        grace_left_millis,
    };
    Some(Decision::nothing(reason, Some(grace_left_millis)))
}

/// Why there is nothing to change.
fn idle(
    history: &RingHistory,
    newest: &RingMap,
    standing: &Standing<'_>,
    observed: &BTreeMap<Member, Presence>,
    policy: &KeeperPolicy,
) -> Decision {
    let short = standing
        .away()
        .iter()
        .filter(|away| away.for_millis < policy.away_millis);
    let members: Vec<Member> = short.map(|away| away.member.clone()).collect();
    if !members.is_empty() {
        return Decision::nothing(
            Reason::AwayTooShort { members },
            standing.changes_in(policy),
        );
    }
    if let Some(away) = standing.blip(newest.placement(), policy) {
        let grace_left_millis = policy.grace_millis - away.grace_used_millis;
        let reason = Reason::Blip {
            member: away.member.clone(),
            away_millis: away.for_millis,
            grace_left_millis,
        };
        return Decision::nothing(reason, Some(grace_left_millis));
    }
    if !standing.away().is_empty() && standing.restarting_for(policy).is_some() {
        let (present, members) = (standing.present(), standing.members());
        return Decision::nothing(
            Reason::Restarting { present, members },
            standing.changes_in(policy),
        );
    }
    if !standing.answering().is_empty() {
        let members = standing
            .answering()
            .iter()
            .map(|&member| member.clone())
            .collect();
        return Decision::nothing(Reason::OnlyUnregistered { members }, None);
    }
    if change::newcomers(history, newest, observed)
        .next()
        .is_some()
    {
        return Decision::nothing(Reason::NodeSlotsExhausted, None);
    }
    Decision::nothing(Reason::Unchanged, None)
}
