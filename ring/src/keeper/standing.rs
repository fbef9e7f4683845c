//! Who of the newest ring is there.

use std::collections::BTreeMap;

use super::{Absence, KeeperPolicy, Presence};
use crate::history::RingHistory;
use crate::map::RingMap;
use crate::member::Member;
use crate::placement::Placement;
use crate::quorum;

/// A member of the newest ring that is neither registered nor answers over the peer link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Away<'a> {
    pub(super) member: &'a Member,
    /// By the keeper's boot-time clock.
    pub(super) away_millis: i64,
    /// How much of its grace it has used: the same, or since the absent time noted in the history if that is
    /// longer.
    pub(super) grace_used_millis: i64,
}

/// The members of the newest ring, as the keeper sees them.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    members: usize,
    answering: Vec<&'a Member>,
    away: Vec<Away<'a>>,
}

impl<'a> Standing<'a> {
    pub(super) fn new(
        history: &RingHistory,
        newest: &'a RingMap,
        observed: &BTreeMap<Member, Presence>,
        absences: &BTreeMap<Member, Absence>,
        now_millis: i64,
    ) -> Self {
        let mut standing = Self {
            members: newest.members().len(),
            answering: Vec::new(),
            away: Vec::new(),
        };
        for member in newest.members() {
            if observed.contains_key(member) {
                continue;
            }
            let Absence {
                away_millis,
                answers,
            } = absences.get(member).copied().unwrap_or_default();
            if answers {
                standing.answering.push(member);
                continue;
            }
            let noted = history
                .absent()
                .get(member)
                .map_or(0, |&since| now_millis.saturating_sub(since));
            standing.away.push(Away {
                member,
                away_millis,
                grace_used_millis: away_millis.max(noted),
            });
        }
        standing
    }

    /// The size of the newest ring.
    pub(super) fn members(&self) -> usize {
        self.members
    }

    /// Members that are registered, or answer.
    pub(super) fn present(&self) -> usize {
        self.members - self.away.len()
    }

    /// Members that answer but are not registered.
    pub(super) fn answering(&self) -> &[&'a Member] {
        &self.answering
    }

    pub(super) fn away(&self) -> &[Away<'a>] {
        &self.away
    }

    /// For how long fewer than half of the members have been present (milliseconds); `None` if half or more are.
    ///
    /// Fewer than half are present when more than half are away, so it is as long as the last one needed
    /// for that has been away. One that comes and goes does not start it anew if there are enough others.
    pub(super) fn fewer_than_half_for(&self) -> Option<i64> {
        let mut ages: Vec<i64> = self.away.iter().map(|away| away.away_millis).collect();
        ages.sort_unstable_by(|a, b| b.cmp(a));
        ages.get(self.members / 2).copied()
    }

    /// The one member that is away, if that is no reason for a change: for less than the grace, and every
    /// replica set keeps a write quorum without it. Members that have hardly gone do not count yet.
    pub(super) fn blip(&self, placement: Placement, policy: &KeeperPolicy) -> Option<Away<'a>> {
        let replicas = placement.replicas(self.members);
        let mut long = self
            .away
            .iter()
            .filter(|away| away.away_millis >= policy.away_millis);
        match (long.next(), long.next()) {
            (Some(&one), None)
                if one.grace_used_millis < policy.grace_millis && replicas > quorum(replicas) =>
            {
                Some(one)
            }
            _ => None,
        }
    }

    /// The members that have been away long enough to leave the ring.
    pub(super) fn due(&self, placement: Placement, policy: &KeeperPolicy) -> Vec<Away<'a>> {
        if self.blip(placement, policy).is_some() {
            return Vec::new();
        }
        let long = |away: &&Away<'_>| away.away_millis >= policy.away_millis;
        self.away.iter().filter(long).copied().collect()
    }
}
