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
    pub(super) for_millis: i64,
    /// How much of its grace it has used: the same, or since the absent time noted in the history
    /// if that is longer.
    pub(super) grace_used_millis: i64,
}

/// The members of the newest ring, as the keeper sees them.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    members: usize,
    /// For how long each member that is registered has been, the longest first; for ever, if it
    /// answers.
    present_millis: Vec<i64>,
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
            present_millis: Vec::new(),
            answering: Vec::new(),
            away: Vec::new(),
        };
        for member in newest.members() {
            if let Some(presence) = observed.get(member) {
                standing.present_millis.push(presence.present_millis);
                continue;
            }
            let Absence {
                away_millis,
                answers,
            } = absences.get(member).copied().unwrap_or_default();
            if answers {
                standing.answering.push(member);
                standing.present_millis.push(i64::MAX);
                continue;
            }
            let noted = history
                .absent()
                .get(member)
                .map_or(0, |&since| now_millis.saturating_sub(since));
            standing.away.push(Away {
                member,
                for_millis: away_millis,
                grace_used_millis: away_millis.max(noted),
            });
        }
        standing.present_millis.sort_unstable_by(|a, b| b.cmp(a));
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

    /// For how long fewer than half of the members have been present (milliseconds); `None` if half
    /// or more are.
    ///
    /// Fewer than half are present when more than half are away, so it is as long as the last one
    /// needed for that has been away. One that comes and goes does not start it anew if there are
    /// enough others.
    pub(super) fn fewer_than_half_for(&self) -> Option<i64> {
        let mut ages: Vec<i64> = self.away.iter().map(|away| away.for_millis).collect();
        ages.sort_unstable_by(|a, b| b.cmp(a));
        ages.get(self.members / 2).copied()
    }

    /// How long it takes (milliseconds) until half of the members have been present for
    /// `ring.away`, if they have not been; `None` too where fewer than half are present, which is
    /// for another rule.
    pub(super) fn restarting_for(&self, policy: &KeeperPolicy) -> Option<i64> {
        let half = self.members.div_ceil(2);
        let lasted = *self.present_millis.get(half - 1)?;
        (lasted < policy.away_millis).then(|| policy.away_millis - lasted)
    }

    /// When who is due changes next, though nobody comes or goes (milliseconds from now).
    pub(super) fn changes_in(&self, policy: &KeeperPolicy) -> Option<i64> {
        let away = |away: &Away<'_>| {
            let due = policy.away_millis - away.for_millis;
            let grace = policy.grace_millis - away.grace_used_millis;
            [due, grace]
        };
        let waits = self
            .away
            .iter()
            .flat_map(away)
            .chain(self.restarting_for(policy));
        waits.filter(|&wait| wait > 0).min()
    }

    /// The one member that is away, if that is no reason for a change: for less than the grace, and
    /// every replica set keeps a write quorum without it. Members that have hardly gone do not
    /// count yet.
    pub(super) fn blip(&self, placement: Placement, policy: &KeeperPolicy) -> Option<Away<'a>> {
        let replicas = placement.replicas(self.members);
        let mut long = self
            .away
            .iter()
            .filter(|away| away.for_millis >= policy.away_millis);
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
        if self.restarting_for(policy).is_some() || self.blip(placement, policy).is_some() {
            return Vec::new();
        }
        let long = |away: &&Away<'_>| away.for_millis >= policy.away_millis;
        self.away.iter().filter(long).copied().collect()
    }
}
