//! The ring horizon: up to which key time a node knows the ring.
//!
//! A node accepts an append, and says anything about a key, only for key times before its horizon.
//! Each time it confirms that it holds the newest history, the horizon moves to the clock at which
//! it *asked*, plus the lease. A new ring map comes into force a lease and the clock skew after its
//! announcement was written, so it cannot come into force before the horizon of a node that has not
//! heard of it.
//!
//! A confirmation comes from a write to ZooKeeper, or from [`Vouching`]: every member of the newest
//! map says that it knows of no newer one. Nobody but a member of the newest ring announces, and
//! who announces counts the announcement as known before it sends it, so one of them would know.

use std::collections::BTreeSet;

use crate::history::{HistoryMark, RingHistory};
use crate::member::Member;

/// Up to which key time a node knows the ring; it moves forward, except with the clock itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingHorizon {
    millis: Option<i64>,
}

/// What a confirmation did to a horizon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HorizonStep {
    /// It moved forward.
    Moved {
        /// The new horizon (UTC milliseconds).
        millis: i64,
    },
    /// A later question had been confirmed before: nothing changed.
    Unchanged,
    /// The newest map is announced without a time, so it may come into force at any time after the
    /// present horizon: nothing changed.
    Announced {
        /// The version of that map.
        version: u64,
    },
    /// There is no ring yet: nothing changed.
    NoRing,
    /// The history is no longer the one that was vouched for: nothing changed.
    HistoryChanged,
    /// Not every member has vouched: nothing changed.
    NotVouched,
    /// The node's clock was set since the question was sent: nothing changed.
    ClockSet,
}

impl RingHorizon {
    /// A horizon that allows nothing: that of a node that has confirmed nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first key time (UTC milliseconds) about which the node says nothing; `None`: about none.
    pub fn millis(&self) -> Option<i64> {
        self.millis
    }

    /// Whether a key time (UTC milliseconds) is before the horizon.
    pub fn allows(&self, key_millis: i64) -> bool {
        self.millis.is_some_and(|horizon| key_millis < horizon)
    }

    /// Takes up that `history` is the newest one, confirmed by a write to ZooKeeper that the node
    /// sent when its clock showed `sent_millis` (UTC milliseconds).
    pub fn confirm(
        &mut self,
        history: &RingHistory,
        sent_millis: i64,
        lease_millis: i64,
    ) -> HorizonStep {
        match history.newest() {
            None => HorizonStep::NoRing,
            Some(map) if map.from_millis().is_none() => HorizonStep::Announced {
                version: map.version(),
            },
            Some(_) => {
                let millis = sent_millis.saturating_add(lease_millis);
                if self.millis.is_some_and(|horizon| millis <= horizon) {
                    return HorizonStep::Unchanged;
                }
                self.millis = Some(millis);
                HorizonStep::Moved { millis }
            }
        }
    }

    /// Takes up that the node's clock was set back by so many milliseconds: what was confirmed is
    /// worth as much of the new clock as it was of the old one, and no more.
    pub fn set_back(&mut self, by_millis: i64) {
        let by_millis = by_millis.max(0);
        self.millis = self.millis.map(|millis| millis.saturating_sub(by_millis));
    }

    /// Takes up that every member has vouched for `history`, the node's present one.
    pub fn confirm_vouched(
        &mut self,
        history: &RingHistory,
        vouching: &Vouching,
        lease_millis: i64,
    ) -> HorizonStep {
        if !vouching.is_complete() {
            return HorizonStep::NotVouched;
        }
        if history.mark().knows_newer_ring_than(vouching.known) {
            return HorizonStep::HistoryChanged;
        }
        self.confirm(history, vouching.sent_millis, lease_millis)
    }
}

/// One round of asking every member of the newest map, announced or in force, whether it knows of a
/// newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouching {
    known: HistoryMark,
    sent_millis: i64,
    waiting: BTreeSet<Member>,
    newer: bool,
}

/// What an answer did to a round of vouching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VouchStep {
    /// More members have to answer.
    Waiting {
        /// How many.
        members: usize,
    },
    /// Every member knows of no newer history.
    Complete,
    /// A member knows of a newer history: the round is void, and that history is to be fetched.
    Newer,
}

impl Vouching {
    /// Begins a round for the node's `history`, asked when its clock showed `sent_millis` (UTC
    /// milliseconds). `own` is the node itself and what it knows: the mark of its history, or that
    /// of an announcement that it has sent and that is still under way.
    pub fn new(history: &RingHistory, own: (&Member, HistoryMark), sent_millis: i64) -> Self {
        let members = history.newest().map_or(&[][..], |map| map.members());
        let mut vouching = Self {
            known: history.mark(),
            sent_millis,
            waiting: members.iter().cloned().collect(),
            newer: false,
        };
        vouching.answer(own.0, own.1);
        vouching
    }

    /// The members that have not answered yet: those to ask.
    pub fn waiting(&self) -> &BTreeSet<Member> {
        &self.waiting
    }

    /// Whether every member has answered that it knows of no newer history.
    pub fn is_complete(&self) -> bool {
        !self.newer && self.waiting.is_empty()
    }

    /// Takes up what a member says that it knows, including an announcement of its own under way.
    pub fn answer(&mut self, member: &Member, knows: HistoryMark) -> VouchStep {
        self.newer |= knows.knows_newer_ring_than(self.known);
        self.waiting.remove(member);
        match (self.newer, self.waiting.len()) {
            (true, _) => VouchStep::Newer,
            (false, 0) => VouchStep::Complete,
            (false, members) => VouchStep::Waiting { members },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Placement, RingMap};

    fn name(n: &str) -> Member {
        Member::new(n).unwrap()
    }

    fn history() -> RingHistory {
        let mut history = RingHistory::new();
        let members = ["a", "b", "c"].map(name);
        history
            .announce(RingMap::in_force(1, 1_000, members, Placement::default()).unwrap())
            .unwrap();
        history
    }

    fn announced() -> RingHistory {
        let mut history = history();
        let members = ["a", "b", "c", "d"].map(name);
        history
            .announce(RingMap::announced(2, members, Placement::default()).unwrap())
            .unwrap();
        history
    }

    #[test]
    fn a_horizon_moves_forward_by_the_clock_of_the_question() {
        let mut horizon = RingHorizon::new();
        assert!(!horizon.allows(i64::MIN));
        assert_eq!(
            horizon.confirm(&RingHistory::new(), 5_000, 10_000),
            HorizonStep::NoRing
        );
        assert_eq!(
            horizon.confirm(&history(), 5_000, 10_000),
            HorizonStep::Moved { millis: 15_000 }
        );
        assert_eq!(
            horizon.confirm(&history(), 4_000, 10_000),
            HorizonStep::Unchanged
        );
        assert!(horizon.allows(14_999) && !horizon.allows(15_000));
    }

    #[test]
    fn a_horizon_goes_back_with_the_clock_and_never_ahead_of_it() {
        let mut horizon = RingHorizon::new();
        horizon.set_back(1);
        assert_eq!(horizon.millis(), None);
        let _ = horizon.confirm(&history(), 5_000, 10_000);
        horizon.set_back(3_000);
        assert_eq!(horizon.millis(), Some(12_000));
        horizon.set_back(-3_000);
        assert_eq!(horizon.millis(), Some(12_000));
    }

    #[test]
    fn an_announcement_without_a_time_holds_the_horizon() {
        let mut horizon = RingHorizon::new();
        let _ = horizon.confirm(&history(), 5_000, 10_000);
        assert_eq!(
            horizon.confirm(&announced(), 9_000, 10_000),
            HorizonStep::Announced { version: 2 }
        );
        assert_eq!(horizon.millis(), Some(15_000));
        let mut complete = announced();
        complete.set_from(2, 20_500).unwrap();
        assert_eq!(
            horizon.confirm(&complete, 9_000, 10_000),
            HorizonStep::Moved { millis: 19_000 }
        );
    }

    #[test]
    fn every_member_vouches_itself_included() {
        let history = history();
        let own = name("a");
        let mut vouching = Vouching::new(&history, (&own, history.mark()), 7_000);
        let mut horizon = RingHorizon::new();
        assert_eq!(
            vouching.answer(&name("b"), history.mark()),
            VouchStep::Waiting { members: 1 }
        );
        assert_eq!(
            horizon.confirm_vouched(&history, &vouching, 10_000),
            HorizonStep::NotVouched
        );
        // Someone outside the newest map, and someone asked twice, do not stand in for a member.
        assert_eq!(
            vouching.answer(&name("x"), history.mark()),
            VouchStep::Waiting { members: 1 }
        );
        assert_eq!(
            vouching.answer(&name("b"), history.mark()),
            VouchStep::Waiting { members: 1 }
        );
        assert_eq!(
            vouching.answer(&name("c"), HistoryMark::default()),
            VouchStep::Complete
        );
        assert_eq!(
            horizon.confirm_vouched(&history, &vouching, 10_000),
            HorizonStep::Moved { millis: 17_000 }
        );
    }

    #[test]
    fn one_member_that_knows_a_newer_ring_voids_the_round() {
        let history = history();
        let own = name("a");
        let mut vouching = Vouching::new(&history, (&own, history.mark()), 7_000);
        let _ = vouching.answer(&name("b"), announced().mark());
        assert_eq!(
            vouching.answer(&name("c"), history.mark()),
            VouchStep::Newer
        );
        assert_eq!(
            RingHorizon::new().confirm_vouched(&history, &vouching, 10_000),
            HorizonStep::NotVouched
        );
    }

    #[test]
    fn a_keeper_counts_its_own_announcement_under_way() {
        let history = history();
        let own = name("a");
        let vouching = Vouching::new(&history, (&own, announced().mark()), 7_000);
        assert!(!vouching.is_complete());
        let mut answered = vouching;
        let _ = answered.answer(&name("b"), history.mark());
        assert_eq!(
            answered.answer(&name("c"), history.mark()),
            VouchStep::Newer
        );
    }

    #[test]
    fn more_absent_times_are_no_newer_ring_but_a_history_that_changed_meanwhile_is() {
        let before = history();
        let own = name("a");
        let mut vouching = Vouching::new(&before, (&own, before.mark()), 7_000);
        let mut noted = before.clone();
        noted.decommission(name("c"), 1);
        let _ = vouching.answer(&name("b"), noted.mark());
        assert_eq!(
            vouching.answer(&name("c"), noted.mark()),
            VouchStep::Complete
        );
        let mut horizon = RingHorizon::new();
        let mut later = announced();
        later.set_from(2, 20_000).unwrap();
        assert_eq!(
            horizon.confirm_vouched(&later, &vouching, 10_000),
            HorizonStep::HistoryChanged
        );
        assert_eq!(horizon.millis(), None);
        assert_eq!(
            horizon.confirm_vouched(&noted, &vouching, 10_000),
            HorizonStep::Moved { millis: 17_000 }
        );
    }
}
