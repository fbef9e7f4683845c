//! The keeper's rules, one by one.

use std::collections::BTreeMap;

use super::*;
use crate::Placement;

mod changes;
mod reasons;

fn name(n: &str) -> Member {
    Member::new(n).unwrap()
}

fn names(list: &str) -> Vec<Member> {
    list.split_whitespace().map(name).collect()
}

const HOUR: i64 = 3_600_000;
const NOW: i64 = 1_800_000_000_000;

/// What the keeper sees: everybody of the ring present for an hour, unless a test says otherwise.
#[derive(Debug, Clone)]
struct World {
    history: RingHistory,
    observed: BTreeMap<Member, Presence>,
    absences: BTreeMap<Member, Absence>,
    now: i64,
    policy: KeeperPolicy,
}

impl World {
    fn empty() -> Self {
        Self {
            history: RingHistory::new(),
            observed: BTreeMap::new(),
            absences: BTreeMap::new(),
            now: NOW,
            policy: KeeperPolicy::default(),
        }
    }

    /// A ring of these members, in force for an hour.
    fn ring(members: &str) -> Self {
        Self::placed(members, Placement::default())
    }

    fn placed(members: &str, placement: Placement) -> Self {
        let mut world = Self::empty();
        let first = RingMap::in_force(1, NOW - HOUR, names(members), placement).unwrap();
        world.history.announce(first).unwrap();
        world.present(members, HOUR)
    }

    fn present(mut self, members: &str, present_millis: i64) -> Self {
        for member in names(members) {
            self.absences.remove(&member);
            self.observed.insert(member, Presence { present_millis });
        }
        self
    }

    fn away(self, members: &str, away_millis: i64) -> Self {
        self.absence(members, away_millis, false)
    }

    fn answering(self, members: &str, away_millis: i64) -> Self {
        self.absence(members, away_millis, true)
    }

    fn absence(mut self, members: &str, away_millis: i64, answers: bool) -> Self {
        for member in names(members) {
            self.observed.remove(&member);
            self.absences.insert(
                member,
                Absence {
                    away_millis,
                    answers,
                },
            );
        }
        self
    }

    fn leaving(mut self, members: &str, asked_ago: i64) -> Self {
        for member in names(members) {
            self.history.decommission(member, self.now - asked_ago);
        }
        self
    }

    fn noted(mut self, member: &str, absent_ago: i64) -> Self {
        self.history
            .set_absent([(name(member), self.now - absent_ago)].into());
        self
    }

    fn policy(mut self, change: impl FnOnce(&mut KeeperPolicy)) -> Self {
        change(&mut self.policy);
        self
    }

    /// Lets time pass: everybody stays where they are.
    fn later(mut self, millis: i64) -> Self {
        self.now += millis;
        self.observed
            .values_mut()
            .for_each(|presence| presence.present_millis += millis);
        self.absences
            .values_mut()
            .for_each(|absence| absence.away_millis += millis);
        self
    }

    fn decide(&self) -> Decision {
        decide(
            &self.history,
            &self.observed,
            &self.absences,
            self.now,
            &self.policy,
        )
    }

    /// The members of the ring that is announced.
    #[track_caller]
    fn announced(&self) -> String {
        self.announcement()
            .map
            .members()
            .iter()
            .map(Member::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[track_caller]
    fn announcement(&self) -> Announcement {
        match self.decide() {
            Decision::Announce(announcement) => announcement,
            other => panic!("not announced: {other:?}"),
        }
    }

    #[track_caller]
    fn reason(&self) -> Reason {
        match self.decide() {
            Decision::Nothing { reason, .. } => reason,
            other => panic!("not nothing: {other:?}"),
        }
    }

    /// Does what is decided, until there is nothing to do at this moment.
    fn act(mut self) -> Self {
        loop {
            match self.decide() {
                Decision::Nothing { .. } => return self,
                Decision::Bootstrap { map } | Decision::Announce(Announcement { map, .. }) => {
                    self.history.announce(map).unwrap();
                }
                Decision::Complete {
                    version,
                    from_millis,
                } => self.history.set_from(version, from_millis).unwrap(),
            }
        }
    }
}

// Rule 1: the first ring.

#[test]
fn the_first_ring_waits_for_its_members_and_is_in_force_at_once() {
    let world = World::empty().policy(|policy| policy.bootstrap_expect = 3);
    let waiting = |present| Reason::Bootstrapping {
        present,
        expected: 3,
    };
    assert_eq!(world.reason(), waiting(0));
    let world = world.present("a b", HOUR);
    assert_eq!(world.reason(), waiting(2));
    let world = world.present("c d", 0);
    let Decision::Bootstrap { map } = world.decide() else {
        panic!("{:?}", world.decide());
    };
    assert_eq!((map.version(), map.from_millis()), (1, Some(NOW)));
    assert_eq!(map.members(), names("a b c d"));
    assert_eq!(world.act().reason(), Reason::Unchanged);
}

#[test]
fn the_first_ring_takes_its_placement_from_the_policy_and_later_ones_from_it() {
    let one = Placement::new(1, 64).unwrap();
    let world = World::empty()
        .policy(|policy| policy.placement = one)
        .present("a", HOUR);
    let Decision::Bootstrap { map } = world.decide() else {
        panic!("{:?}", world.decide());
    };
    assert_eq!(map.placement(), one);
    let world = world
        .act()
        .policy(|policy| policy.placement = Placement::default());
    assert_eq!(
        world
            .later(1)
            .present("b", HOUR)
            .announcement()
            .map
            .placement(),
        one
    );
}

#[test]
fn nobody_is_no_first_ring() {
    let nobody = World::empty().policy(|policy| policy.bootstrap_expect = 0);
    assert_eq!(
        nobody.reason(),
        Reason::Bootstrapping {
            present: 0,
            expected: 1
        }
    );
    let leaving = World::empty().present("a b", HOUR).leaving("b", HOUR);
    let Decision::Bootstrap { map } = leaving.decide() else {
        panic!("{:?}", leaving.decide());
    };
    assert_eq!(map.members(), names("a"));
}

// Rules 2 and 3: two writes, and one change at a time.

fn open_announcement() -> World {
    let mut world = World::ring("a b c").present("d", HOUR);
    let map = world.announcement().map;
    assert_eq!(map.from_millis(), None);
    world.history.announce(map).unwrap();
    world
}

#[test]
fn an_announcement_gets_its_time_by_the_clock_after_its_write() {
    let world = open_announcement().later(40_000);
    let from_millis = NOW + 40_000 + 10_000 + 500;
    assert_eq!(
        world.decide(),
        Decision::Complete {
            version: 2,
            from_millis
        }
    );
}

#[test]
fn any_member_completes_what_the_keeper_left() {
    let world = open_announcement();
    let left = |held| complete_left_over(&world.history, held, NOW, &world.policy);
    assert_eq!(
        left(400),
        Decision::Nothing {
            reason: Reason::LeftToTheKeeper { version: 2 },
            look_again_millis: Some(600)
        }
    );
    let from_millis = NOW + 10_500;
    assert_eq!(
        left(1_000),
        Decision::Complete {
            version: 2,
            from_millis
        }
    );
    let world = world.act();
    assert!(matches!(
        complete_left_over(&world.history, HOUR, NOW, &world.policy),
        Decision::Nothing { .. }
    ));
    assert!(matches!(
        complete_left_over(&RingHistory::new(), HOUR, NOW, &world.policy),
        Decision::Nothing { .. }
    ));
}

#[test]
fn a_clock_that_is_behind_sets_no_time() {
    let mut world = open_announcement();
    world.now = NOW - HOUR - 10_500;
    assert_eq!(
        world.reason(),
        Reason::ClockBehind {
            version: 2,
            from_millis: NOW - HOUR,
            previous_millis: NOW - HOUR
        }
    );
    world.now += 1;
    assert!(matches!(world.decide(), Decision::Complete { .. }));
}

#[test]
fn nothing_is_announced_before_the_newest_map_is_in_force() {
    let world = open_announcement().act().present("e", HOUR);
    assert_eq!(
        world.decide(),
        Decision::Nothing {
            reason: Reason::NotYetInForce {
                version: 2,
                from_millis: NOW + 10_500
            },
            look_again_millis: Some(10_500)
        }
    );
    assert!(matches!(
        world.clone().later(10_499).reason(),
        Reason::NotYetInForce { .. }
    ));
    assert_eq!(world.later(10_500).announced(), "a b c d e");
}

// Rule 4: a cluster that restarts finds its ring again.

#[test]
fn nothing_is_announced_while_fewer_than_half_are_present() {
    let world = World::ring("a b c d e")
        .away("c d e", 0)
        .present("x", HOUR)
        .leaving("b", HOUR);
    let reason = |world: &World| world.reason();
    for wait in [0, 10_000, 60_000, 599_999] {
        assert_eq!(
            reason(&world.clone().later(wait)),
            Reason::TooFewPresent {
                present: 2,
                members: 5,
                grace_left_millis: 600_000 - wait
            }
        );
    }
    assert_eq!(world.later(600_000).announced(), "a x");
}

#[test]
fn a_whole_cluster_that_restarts_finds_its_ring_again() {
    // Everybody was down for a day; they come up one by one, the keeper first.
    let mut world = World::ring("a b c d e")
        .later(24 * HOUR)
        .present("a", 0)
        .away("b c d e", 0);
    for next in ["b", "c", "d", "e"] {
        world = world.later(4_000);
        assert!(
            matches!(world.decide(), Decision::Nothing { .. }),
            "{:?}",
            world.decide()
        );
        world = world.present(next, 0);
        assert!(
            matches!(world.decide(), Decision::Nothing { .. }),
            "{:?}",
            world.decide()
        );
    }
    assert_eq!(world.later(HOUR).act().history.maps().len(), 1);
}

#[test]
fn those_who_are_up_first_give_the_others_as_long_as_themselves() {
    let world = World::ring("a b c d e")
        .present("a b", HOUR)
        .present("c", 9_999)
        .away("d e", 60_000);
    assert_eq!(
        world.reason(),
        Reason::Restarting {
            present: 3,
            members: 5
        }
    );
    assert_eq!(world.later(1).announced(), "a b c");
}

#[test]
fn half_is_enough() {
    let world = World::ring("a b c d").away("c d", 10_000);
    assert_eq!(world.announced(), "a b");
    let world = World::ring("a b c d e").away("c d e", 10_000);
    assert!(matches!(world.reason(), Reason::TooFewPresent { .. }));
}

#[test]
fn one_that_comes_and_goes_does_not_put_off_the_grace_of_the_others() {
    let world = World::ring("a b c d e f g")
        .away("b c d e", 600_000)
        .away("f", 3_000);
    assert_eq!(world.announced(), "a f g");
    // But fewer than half have been present for 3 s only, if it is the one that makes the
    // difference.
    let world = World::ring("a b c d e f g")
        .away("b c d", 600_000)
        .away("f", 3_000);
    assert!(matches!(
        world.reason(),
        Reason::TooFewPresent {
            grace_left_millis: 597_000,
            ..
        }
    ));
}

// Who may keep, and what is noted.

#[test]
fn only_members_of_the_newest_ring_contend_for_the_lock() {
    assert!(may_keep(&RingHistory::new(), &name("x")));
    let mut world = World::ring("a b c");
    assert!(may_keep(&world.history, &name("a")) && !may_keep(&world.history, &name("x")));
    world = world.present("d", HOUR).leaving("c", HOUR);
    world.history.announce(world.announcement().map).unwrap();
    assert!(may_keep(&world.history, &name("d")) && !may_keep(&world.history, &name("c")));
}

#[test]
fn absent_times_are_noted_and_taken_back() {
    let times = |world: &World| {
        absent_times(
            &world.history,
            &world.observed,
            &world.absences,
            world.now,
            &world.policy,
        )
    };
    let world = World::ring("a b c d").away("b", 9_999).answering("c", HOUR);
    assert_eq!(times(&world), None);
    let world = world.later(2);
    let noted = times(&world).unwrap();
    assert_eq!(noted, [(name("b"), NOW - 9_999)].into());
    let mut world = world;
    world.history.set_absent(noted.clone());
    assert_eq!(times(&world), None);
    // A new keeper has not seen it for long. What was noted stays, until it is back.
    let world = world.away("b", 50).away("d", 20_000);
    assert_eq!(
        times(&world).unwrap(),
        [(name("b"), NOW - 9_999), (name("d"), world.now - 20_000)].into()
    );
    assert_eq!(times(&world.present("b d", 0)), Some(BTreeMap::new()));
}
