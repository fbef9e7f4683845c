//! A ring change: who would join and who would go, and how much of that is allowed.

use std::collections::{BTreeMap, BTreeSet};

use super::decision::{Announcement, Decision, Reason, WhyKept, WhyRemoved};
use super::standing::{Away, Standing};
use super::{KeeperPolicy, Presence};
use crate::history::RingHistory;
use crate::map::RingMap;
use crate::member::Member;
use crate::quorum;

/// Members that are present, in no way on their way out, and not in the newest ring.
pub(super) fn newcomers<'a>(
    history: &RingHistory,
    newest: &RingMap,
    observed: &'a BTreeMap<Member, Presence>,
) -> impl Iterator<Item = &'a Member> {
    observed
        .keys()
        .filter(|member| !newest.contains(member) && !history.decommissions().contains_key(*member))
}

/// All that could change at once.
#[derive(Debug)]
pub(super) struct Change<'a> {
    joined: Vec<&'a Member>,
    leaving: Vec<&'a Member>,
    due: Vec<Away<'a>>,
}

/// Which of those that could go do.
#[derive(Debug, Clone, Copy)]
struct Going {
    due: bool,
    leaving: bool,
}

impl<'a> Change<'a> {
    pub(super) fn new(
        history: &RingHistory,
        newest: &'a RingMap,
        standing: &Standing<'a>,
        observed: &'a BTreeMap<Member, Presence>,
        policy: &KeeperPolicy,
    ) -> Self {
        let mut free = history.free_node_slots();
        let mut joined = Vec::new();
        for member in newcomers(history, newest, observed) {
            // One that has been in a ring of the history has kept its node slot.
            let has_slot = history.node_slot(member).is_some();
            if has_slot || free > 0 {
                free -= usize::from(!has_slot);
                joined.push(member);
            }
        }
        let asked = |member: &&Member| history.decommissions().contains_key(*member);
        let due = standing.due(newest.placement(), policy);
        Self {
            joined,
            leaving: newest.members().iter().filter(asked).collect(),
            due: due
                .into_iter()
                .filter(|away| !asked(&away.member))
                .collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.leaving.is_empty() && self.due.is_empty()
    }

    /// Rule 10: how long to wait for other changes (milliseconds), if at all. Counted from the
    /// first change, so that members that keep coming cannot put it off for ever. A request to
    /// leave may be old because it cannot be met, so it does not hurry new members.
    pub(super) fn must_settle(
        &self,
        history: &RingHistory,
        observed: &BTreeMap<Member, Presence>,
        now_millis: i64,
        policy: &KeeperPolicy,
    ) -> Option<i64> {
        if !self.due.is_empty() {
            return None;
        }
        let present = self
            .joined
            .iter()
            .filter_map(|m| observed.get(*m))
            .map(|p| p.present_millis);
        // Asked for by a wall clock. If the one that asked is far ahead of this one, that is no
        // reason to wait.
        let asked = self
            .leaving
            .iter()
            .filter_map(|m| history.decommissions().get(*m));
        let asked = asked.map(|&asked| now_millis.saturating_sub(asked).saturating_abs());
        let oldest = present.max().or_else(|| asked.max())?;
        (oldest < policy.settle_millis).then(|| policy.settle_millis - oldest)
    }

    /// Rules 5 to 9: the announcement, with as many of the changes as may be made. Who is away goes
    /// before who asked to leave: that is what makes channels writable again.
    pub(super) fn announce(
        &self,
        history: &RingHistory,
        newest: &RingMap,
        standing: &Standing<'_>,
        policy: &KeeperPolicy,
    ) -> Decision {
        let min_members = if history.largest_ring() <= 1 {
            1
        } else {
            policy.min_members.max(1)
        };
        // What stands in the way of the whole change; of its parts there may be other things.
        let mut blocked = None;
        for (due, leaving) in [(true, true), (true, false), (false, true), (false, false)] {
            let going = Going { due, leaving };
            let removed = self.removed(going);
            let members = self.members(newest, &removed);
            if !removed.is_empty() && members.len() < min_members {
                let would_leave = members.len();
                let reason = Reason::MinMembers {
                    would_leave,
                    min_members,
                };
                blocked.get_or_insert((WhyKept::MinMembers, reason));
                continue;
            }
            if leaving && !self.leaving.is_empty() && !keeps_quorum(newest, standing, &members) {
                let leaving = self.leaving.iter().map(|&m| m.clone()).collect();
                blocked.get_or_insert((WhyKept::Quorum, Reason::Quorum { leaving }));
                continue;
            }
            if removed.is_empty() && self.joined.is_empty() {
                break;
            }
            let version = history.next_version();
            let Ok(map) =
                RingMap::announced(version, members.into_iter().cloned(), newest.placement())
            else {
                break;
            };
            return Decision::Announce(Announcement {
                kept: self.kept(
                    standing,
                    &map,
                    blocked.map_or(WhyKept::MinMembers, |(why, _)| why),
                ),
                joined: self.joined.iter().map(|&member| member.clone()).collect(),
                removed: removed
                    .into_iter()
                    .map(|(member, why)| (member.clone(), why))
                    .collect(),
                map,
            });
        }
        let reason = blocked.map_or(Reason::Unchanged, |(_, reason)| reason);
        Decision::nothing(reason, standing.changes_in(policy))
    }

    fn removed(&self, going: Going) -> BTreeMap<&'a Member, WhyRemoved> {
        let due = self.due.iter().filter(|_| going.due).map(|away| {
            let away_millis = away.for_millis;
            (away.member, WhyRemoved::Away { away_millis })
        });
        let leaving = self.leaving.iter().filter(|_| going.leaving);
        due.chain(leaving.map(|&member| (member, WhyRemoved::Decommissioned)))
            .collect()
    }

    fn members<'b>(
        &'b self,
        newest: &'b RingMap,
        removed: &BTreeMap<&Member, WhyRemoved>,
    ) -> BTreeSet<&'b Member> {
        let staying = newest
            .members()
            .iter()
            .filter(|member| !removed.contains_key(member));
        staying.chain(self.joined.iter().copied()).collect()
    }

    fn kept(
        &self,
        standing: &Standing<'_>,
        map: &RingMap,
        blocked: WhyKept,
    ) -> Vec<(Member, WhyKept)> {
        let due = |member: &Member| self.due.iter().any(|away| away.member == member);
        let away = standing.away().iter().map(|away| {
            let why = if due(away.member) {
                WhyKept::MinMembers
            } else {
                WhyKept::InGrace
            };
            (away.member, why)
        });
        let mut kept: BTreeMap<&Member, WhyKept> = away.collect();
        kept.extend(self.leaving.iter().map(|&member| (member, blocked)));
        kept.into_iter()
            .filter(|(m, _)| map.contains(m))
            .map(|(m, why)| (m.clone(), why))
            .collect()
    }
}

/// Whether every replica set of a ring of these members surely keeps a write quorum, with those
/// away that are among them.
fn keeps_quorum(newest: &RingMap, standing: &Standing<'_>, members: &BTreeSet<&Member>) -> bool {
    let away = standing
        .away()
        .iter()
        .filter(|away| members.contains(away.member))
        .count();
    let replicas = newest.placement().replicas(members.len());
    replicas.saturating_sub(away) >= quorum(replicas)
}
