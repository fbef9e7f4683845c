//! What the keeper decides, and the words that operators read.

use std::fmt;

use crate::map::RingMap;
use crate::member::Member;

/// What the keeper does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Nothing {
        /// Why.
        reason: Reason,
        /// When to ask again though nothing has happened, in milliseconds from now; `None`: when a
        /// member comes or goes, or the history changes.
        look_again_millis: Option<i64>,
    },
    /// Write the first ring map: it is in force at once.
    Bootstrap {
        /// The map, with its time.
        map: RingMap,
    },
    /// Announce a ring map. When that write has returned, ask again, by a fresh clock, for its
    /// time.
    Announce(Announcement),
    /// Set the time from which the newest ring map is in force.
    Complete {
        /// The version of the map.
        version: u64,
        /// The time (UTC milliseconds).
        from_millis: i64,
    },
}

impl Decision {
    pub(super) fn nothing(reason: Reason, look_again_millis: Option<i64>) -> Self {
        Self::Nothing {
            reason,
            look_again_millis,
        }
    }
}

/// A ring change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The map to announce, without a time.
    pub map: RingMap,
    /// The members that join, ascending.
    pub joined: Vec<Member>,
    /// The members that leave, ascending, and why.
    pub removed: Vec<(Member, WhyRemoved)>,
    /// The members that stay though they are away or asked to leave, ascending, and why.
    pub kept: Vec<(Member, WhyKept)>,
}

/// Why a member leaves the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyRemoved {
    /// It asked to leave.
    Decommissioned,
    /// It has been away too long for this ring.
    Away {
        /// For how long, in milliseconds.
        away_millis: i64,
    },
}

/// Why a member stays in the ring though it is away or asked to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyKept {
    /// It is away, and its grace has not passed, or it has hardly gone.
    InGrace,
    /// It is away, or asked to leave, but the ring would be too small without it.
    MinMembers,
    /// It asked to leave, but another member is away and a replica set could lose its write quorum.
    Quorum,
}

/// Why the keeper does nothing. What it displays is for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The ring is as it should be.
    Unchanged,
    /// The first ring waits for members.
    Bootstrapping {
        /// Members present that may join.
        present: usize,
        /// Members waited for.
        expected: usize,
    },
    /// The announced map has no time yet; the keeper has a second to set it before others do.
    LeftToTheKeeper {
        /// The version of the map.
        version: u64,
    },
    /// The announced map's time would not be after that of the map before: this node's clock is
    /// behind.
    ClockBehind {
        /// The version of the map.
        version: u64,
        /// The time that it would get (UTC milliseconds).
        from_millis: i64,
        /// The time of the map before (UTC milliseconds).
        previous_millis: i64,
    },
    /// The newest map is not in force yet: one change at a time.
    NotYetInForce {
        /// The version of the map.
        version: u64,
        /// The time from which it is (UTC milliseconds).
        from_millis: i64,
    },
    /// Fewer than half of the ring's members are present: a cluster that restarts must find its
    /// ring again.
    TooFewPresent {
        /// Members of the newest ring that are present.
        present: usize,
        /// Members of the newest ring.
        members: usize,
        /// How much of the grace is left, in milliseconds.
        grace_left_millis: i64,
    },
    /// Members are away, but half of the ring's members have not been present for long either: the
    /// cluster restarts.
    Restarting {
        /// Members of the newest ring that are present.
        present: usize,
        /// Members of the newest ring.
        members: usize,
    },
    /// One member is away, and the ring can do without it for the grace.
    Blip {
        /// The member.
        member: Member,
        /// For how long it has been away, in milliseconds.
        away_millis: i64,
        /// How much of the grace is left, in milliseconds.
        grace_left_millis: i64,
    },
    /// Members are away, but have not been for long enough.
    AwayTooShort {
        /// The members.
        members: Vec<Member>,
    },
    /// Members are not registered but answer over the peer link: they are cut off from ZooKeeper
    /// only.
    OnlyUnregistered {
        /// The members.
        members: Vec<Member>,
    },
    /// A change is wanted; others that may come along are waited for.
    Settling,
    /// Members are away or asked to leave, but a ring this small is made by an operator only.
    MinMembers {
        /// The number of members that would be left.
        would_leave: usize,
        /// The fewest that the keeper leaves.
        min_members: usize,
    },
    /// A member asked to leave, but another one is away and a replica set could lose its write
    /// quorum.
    Quorum {
        /// The members that asked to leave.
        leaving: Vec<Member>,
    },
    /// New members are waiting, but no node slot is free for them until the history is pruned.
    NodeSlotsExhausted,
    /// The history can take no more maps until it is pruned.
    HistoryFull {
        /// The number of maps it holds.
        maps: usize,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |millis: &i64| (millis + 999) / 1_000;
        match self {
            Self::Unchanged => write!(f, "the ring is as it should be"),
            Self::Bootstrapping { present, expected } => {
                write!(
                    f,
                    "the first ring waits for {expected} members, {present} are present"
                )
            }
            Self::LeftToTheKeeper { version } => {
                write!(
                    f,
                    "ring map {version} is announced and the keeper is about to set its time"
                )
            }
            Self::ClockBehind {
                version,
                from_millis,
                previous_millis,
            } => write!(
                f,
                "this node's clock is behind: ring map {version} would be in force from {from_millis}, \
                 not after the one before it ({previous_millis})"
            ),
            Self::NotYetInForce {
                version,
                from_millis,
            } => {
                write!(
                    f,
                    "ring map {version} is in force from {from_millis} on, and one change is made at a time"
                )
            }
            Self::TooFewPresent {
                present,
                members,
                grace_left_millis,
            } => write!(
                f,
                "only {present} of the ring's {members} members are present; the ring stays as it is for {} s more",
                seconds(grace_left_millis)
            ),
            Self::Restarting { present, members } => write!(
                f,
                "{present} of the ring's {members} members are present, half of them for a moment only; \
                 the others are given time to come back, too"
            ),
            Self::Blip {
                member,
                away_millis,
                grace_left_millis,
            } => write!(
                f,
                "{member} has been away for {} s; the ring does without it for {} s more before it changes",
                away_millis / 1_000,
                seconds(grace_left_millis)
            ),
            Self::AwayTooShort { members } => {
                write!(f, "{} went away a moment ago", Names(members))
            }
            Self::OnlyUnregistered { members } => write!(
                f,
                "{} not registered in ZooKeeper, but answering over the peer link",
                Names(members)
            ),
            Self::Settling => write!(
                f,
                "a change is about to be announced, together with others that may follow"
            ),
            Self::MinMembers {
                would_leave,
                min_members,
            } => write!(
                f,
                "the ring would have {would_leave} members, fewer than ring.min_members ({min_members}); \
                 only an operator makes it that small (hub cluster recover)"
            ),
            Self::Quorum { leaving } => write!(
                f,
                "{} asked to leave, but another member is away and channels could lose their write quorum",
                Names(leaving)
            ),
            Self::NodeSlotsExhausted => write!(
                f,
                "new members wait for a node slot: all are taken by members of the ring history"
            ),
            Self::HistoryFull { maps } => {
                write!(
                    f,
                    "the ring history holds {maps} maps and takes no more until old ones can go"
                )
            }
        }
    }
}

/// A list of names, cut after some: a large ring must not fill a log line.
struct Names<'a>(&'a [Member]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for (i, member) in self.0.iter().take(SHOWN).enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{member}")?;
        }
        match self.0.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}
