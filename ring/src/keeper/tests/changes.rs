//! Joining, leaving, being away, and what settles into one announcement.

use super::*;

/// The two-replica and one-replica rings, which cannot do without a member.
fn placed(replicas: u8) -> Placement {
    Placement::new(replicas, 256).unwrap()
}

// Rule 5: joining.

#[test]
fn a_new_member_joins() {
    let announcement = World::ring("a b c").present("d", HOUR).announcement();
    assert_eq!(announcement.map.members(), names("a b c d"));
    assert_eq!(
        (announcement.map.version(), announcement.map.from_millis()),
        (2, None)
    );
    assert_eq!(announcement.joined, names("d"));
    assert_eq!((announcement.removed, announcement.kept), (vec![], vec![]));
}

#[test]
fn a_member_that_joins_during_an_absence_leaves_the_absent_one_in() {
    let world = World::ring("a b c").away("c", 300_000).present("d", HOUR);
    let announcement = world.announcement();
    assert_eq!(announcement.map.members(), names("a b c d"));
    assert_eq!(announcement.kept, [(name("c"), WhyKept::InGrace)]);
    // It has gone this very moment, and the keeper has not even noted it.
    let mut world = World::ring("a b c d").present("e", HOUR);
    world.observed.remove(&name("b"));
    assert_eq!(world.announced(), "a b c d e");
}

#[test]
fn a_member_that_joins_when_a_grace_has_passed_takes_the_place_of_the_one_away() {
    let world = World::ring("a b c").away("c", 600_000).present("d", 0);
    let announcement = world.announcement();
    assert_eq!(announcement.map.members(), names("a b d"));
    assert_eq!(announcement.joined, names("d"));
    assert_eq!(
        announcement.removed,
        [(
            name("c"),
            WhyRemoved::Away {
                away_millis: 600_000
            }
        )]
    );
}

#[test]
fn a_ring_of_one_grows() {
    assert_eq!(World::ring("a").present("b", HOUR).announced(), "a b");
}

#[test]
fn new_members_wait_for_a_node_slot() {
    let many: Vec<String> = (0..3_843).map(|i| format!("m{i}")).collect();
    let world = World::ring(&many.join(" ")).present("new1 new2", HOUR);
    assert_eq!(world.announcement().joined, names("new1"));
    let world = world.act().later(HOUR);
    assert_eq!(world.reason(), Reason::NodeSlotsExhausted);
    // One that was in a ring of the history has its slot and does not need another.
    let world = world.leaving("m7", HOUR).act().later(HOUR);
    let mut world = world;
    world.history.recommission(&name("m7"));
    assert_eq!(world.announcement().joined, names("m7"));
}

// Rule 6: leaving.

#[test]
fn a_member_that_asks_to_leave_goes_without_a_grace_and_does_not_join_again() {
    let world = World::ring("a b c d").leaving("d", 2_000);
    let announcement = world.announcement();
    assert_eq!(announcement.map.members(), names("a b c"));
    assert_eq!(
        announcement.removed,
        [(name("d"), WhyRemoved::Decommissioned)]
    );
    let mut world = world.act().later(HOUR);
    assert_eq!(world.reason(), Reason::Unchanged);
    assert!(world.observed.contains_key(&name("d")));
    world.history.recommission(&name("d"));
    assert_eq!(world.announced(), "a b c d");
}

#[test]
fn a_member_that_asked_to_leave_waits_while_another_one_away_could_cost_a_quorum() {
    let world = World::ring("a b c").away("b", 60_000).leaving("c", HOUR);
    assert_eq!(
        world.reason(),
        Reason::Quorum {
            leaving: names("c")
        }
    );
    assert_eq!(world.clone().present("b", 0).announced(), "a b");
    // Larger sets can do without both.
    let world = World::ring("a b c d").away("b", 60_000).leaving("c", HOUR);
    assert_eq!(world.announced(), "a b d");
    // Others may still join, and then it can go, too.
    let world = World::ring("a b c")
        .away("b", 60_000)
        .leaving("c", HOUR)
        .present("d", HOUR);
    assert_eq!(world.announced(), "a b d");
    let world = World::ring("a b")
        .away("b", 5_000)
        .leaving("a", HOUR)
        .present("d", HOUR);
    let announcement = world.announcement();
    assert_eq!(announcement.map.members(), names("a b d"));
    assert_eq!(
        announcement.kept,
        [(name("a"), WhyKept::Quorum), (name("b"), WhyKept::InGrace)]
    );
}

#[test]
fn one_that_asked_to_leave_and_stopped_is_no_absence() {
    let announcement = World::ring("a b c d")
        .away("d", 500)
        .leaving("d", HOUR)
        .announcement();
    assert_eq!(announcement.map.members(), names("a b c"));
    assert_eq!(
        announcement.removed,
        [(name("d"), WhyRemoved::Decommissioned)]
    );
}

// Rule 7: a blip.

#[test]
fn a_restart_makes_no_ring() {
    // [a b c d], [a c d], [a b c d]: the history shows one ring.
    let mut world = World::ring("a b c d").away("b", 0);
    for _ in 0..599 {
        world = world.later(1_000).act();
    }
    assert!(matches!(
        world.reason(),
        Reason::Blip {
            grace_left_millis: 1_000,
            ..
        }
    ));
    world = world.present("b", 0).act().later(HOUR).act();
    assert_eq!(
        (world.reason(), world.history.maps().len()),
        (Reason::Unchanged, 1)
    );
}

#[test]
fn a_rolling_restart_makes_no_ring() {
    let mut world = World::ring("a b c d e");
    for member in ["a", "b", "c", "d", "e"] {
        world = world.away(member, 0);
        for _ in 0..40 {
            world = world.later(1_000).act();
        }
        world = world.present(member, 0).act();
    }
    assert_eq!(world.history.maps().len(), 1);
}

#[test]
fn a_grace_that_has_passed_ends_a_blip() {
    let world = World::ring("a b c").away("b", 599_999);
    assert!(matches!(world.reason(), Reason::Blip { .. }));
    let announcement = world.later(1).announcement();
    assert_eq!(announcement.map.members(), names("a c"));
    assert_eq!(
        announcement.removed,
        [(
            name("b"),
            WhyRemoved::Away {
                away_millis: 600_000
            }
        )]
    );
}

#[test]
fn a_keeper_that_restarted_gives_no_new_grace() {
    // Noted as absent an hour ago; this keeper has seen that for a moment only.
    let world = World::ring("a b c").away("b", 9_999).noted("b", HOUR);
    assert!(matches!(world.reason(), Reason::AwayTooShort { .. }));
    assert_eq!(world.later(1).announced(), "a c");
    let world = World::ring("a b c").away("b", 10_000).noted("b", 599_999);
    assert!(matches!(
        world.reason(),
        Reason::Blip {
            grace_left_millis: 1,
            ..
        }
    ));
    // It counts for nothing else: a cluster that was off for an hour gets its grace.
    let mut world = World::ring("a b c d e").away("c d e", 20_000);
    world.history.set_absent(
        names("c d e")
            .into_iter()
            .map(|member| (member, NOW - HOUR))
            .collect(),
    );
    assert!(matches!(world.reason(), Reason::TooFewPresent { .. }));
}

// Rule 8: away.

#[test]
fn two_members_away_leave_after_ring_away() {
    let world = World::ring("a b c d e").away("b", 300_000).away("d", 9_999);
    assert_eq!(
        world.reason(),
        Reason::AwayTooShort {
            members: names("d")
        }
    );
    assert_eq!(world.clone().later(1).announced(), "a c e");
    assert!(matches!(
        world.present("d", 0).reason(),
        Reason::Blip { .. }
    ));
}

#[test]
fn a_third_one_that_has_hardly_gone_stays() {
    let world = World::ring("a b c d e f")
        .away("b c", 10_000)
        .away("d", 2_000);
    let announcement = world.announcement();
    assert_eq!(announcement.map.members(), names("a d e f"));
    assert_eq!(announcement.kept, [(name("d"), WhyKept::InGrace)]);
}

#[test]
fn who_answers_over_the_peer_link_is_not_away() {
    let world = World::ring("a b c d e").answering("b c d", HOUR);
    assert_eq!(
        world.reason(),
        Reason::OnlyUnregistered {
            members: names("b c d")
        }
    );
    let world = world.away("e", 20_000);
    assert!(matches!(world.reason(), Reason::Blip { .. }));
    assert_eq!(world.away("d", 20_000).announced(), "a b c");
}

#[test]
fn a_ring_that_cannot_do_without_a_member_gives_it_no_grace() {
    for replicas in [1, 2] {
        let world = World::placed("a b c", placed(replicas)).away("b", 9_999);
        assert!(matches!(world.reason(), Reason::AwayTooShort { .. }));
        assert_eq!(world.later(1).announced(), "a c", "{replicas} replicas");
    }
}

// Rule 9: small rings.

#[test]
fn a_ring_of_two_waits_for_its_second_member_or_an_operator() {
    let world = World::ring("a b").away("b", 0);
    assert!(matches!(world.reason(), Reason::AwayTooShort { .. }));
    let world = world.later(HOUR);
    assert_eq!(
        world.reason(),
        Reason::MinMembers {
            would_leave: 1,
            min_members: 2
        }
    );
    let allowed = world.clone().policy(|policy| policy.min_members = 1);
    assert_eq!(allowed.announced(), "a");
    // A new member makes it possible.
    assert_eq!(world.present("c", HOUR).announced(), "a c");
}

#[test]
fn a_ring_of_three_with_two_away_waits_for_one_of_them() {
    let world = World::ring("a b c").away("b c", 20_000);
    assert!(matches!(world.reason(), Reason::TooFewPresent { .. }));
    let world = world.later(HOUR);
    assert_eq!(
        world.reason(),
        Reason::MinMembers {
            would_leave: 1,
            min_members: 2
        }
    );
    assert_eq!(world.present("b", 10_000).announced(), "a b");
}

#[test]
fn a_cluster_that_never_had_more_may_have_one_member() {
    let world = World::ring("a").present("b", HOUR).leaving("a", HOUR);
    assert_eq!(world.announced(), "b");
    // It has had two: now one is too few.
    let world = World::ring("a")
        .present("b", HOUR)
        .act()
        .later(HOUR)
        .leaving("a", HOUR);
    assert_eq!(
        world.reason(),
        Reason::MinMembers {
            would_leave: 1,
            min_members: 2
        }
    );
    // An operator has made it one again: that is not what the keeper makes.
    let mut world = World::ring("a b");
    let map = RingMap::announced(2, names("a"), Placement::default()).unwrap();
    world.history.announce(map).unwrap();
    world.history.set_from(2, NOW - 1_000).unwrap();
    let announcement = world.leaving("a", HOUR).announcement();
    assert_eq!(announcement.map.members(), names("a b"));
    assert_eq!(announcement.kept, [(name("a"), WhyKept::MinMembers)]);
    let world = World::ring("a").leaving("a", HOUR);
    assert_eq!(
        world.reason(),
        Reason::MinMembers {
            would_leave: 0,
            min_members: 1
        }
    );
}

#[test]
fn what_is_allowed_of_a_change_is_made() {
    let small = |world: World| world.policy(|policy| policy.min_members = 4);
    // The one away would leave too few; the new one joins all the same.
    let announcement = small(World::ring("a b c d e").away("d e", HOUR))
        .present("f", 0)
        .announcement();
    assert_eq!(announcement.map.members(), names("a b c f"));
    let announcement = small(World::ring("a b c d").away("c d", HOUR))
        .present("e", 0)
        .announcement();
    assert_eq!(announcement.map.members(), names("a b c d e"));
    assert_eq!(
        announcement.kept,
        [
            (name("c"), WhyKept::MinMembers),
            (name("d"), WhyKept::MinMembers)
        ]
    );
    // Who is away goes before who asked to leave.
    let announcement =
        small(World::ring("a b c d e").away("d", HOUR).leaving("a", HOUR)).announcement();
    assert_eq!(announcement.map.members(), names("a b c e"));
    assert_eq!(announcement.kept, [(name("a"), WhyKept::MinMembers)]);
}

// Rule 10: settle.

#[test]
fn changes_within_the_settling_time_become_one_announcement() {
    let world = World::ring("a b c").present("d", 0);
    let settling = |left| Decision::Nothing {
        reason: Reason::Settling,
        look_again_millis: Some(left),
    };
    assert_eq!(world.decide(), settling(2_000));
    let world = world.later(1_500).present("e", 0).leaving("b", 0);
    assert_eq!(world.decide(), settling(500));
    assert_eq!(world.later(500).announced(), "a c d e");
}

#[test]
fn members_that_keep_coming_do_not_put_off_the_announcement() {
    let mut world = World::ring("a b c");
    for newcomer in ["d", "e"] {
        world = world.present(newcomer, 0).later(1_000);
    }
    assert_eq!(world.present("f", 0).announced(), "a b c d e f");
}

#[test]
fn leaving_settles_too_whoever_s_clock_it_was_asked_by() {
    assert_eq!(
        World::ring("a b c d").leaving("d", 1_999).reason(),
        Reason::Settling
    );
    assert_eq!(
        World::ring("a b c d").leaving("d", -HOUR).announced(),
        "a b c"
    );
}

#[test]
fn a_request_to_leave_that_cannot_be_met_does_not_hurry_new_members() {
    let world = World::ring("a b").leaving("b", HOUR).present("c", 500);
    assert_eq!(world.reason(), Reason::Settling);
    assert_eq!(
        world.later(1_000).present("d", 0).later(500).announced(),
        "a c d"
    );
}

#[test]
fn members_that_were_away_do_not_wait_again() {
    let world = World::ring("a b c d e").away("b c", 10_000).present("f", 0);
    assert_eq!(world.announced(), "a d e f");
}
