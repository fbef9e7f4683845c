//! What operators read, and when the keeper looks again.

use super::*;

/// A world for each reason, with words that must be in what it says.
fn worlds() -> Vec<(World, &'static str)> {
    let mut behind = open_announcement();
    behind.now = NOW - 2 * HOUR;
    let mut full = World::ring("a b c");
    for version in 2..=MAX_MAPS as u64 {
        let map = RingMap::announced(version, names("a b c"), Placement::default()).unwrap();
        full.history.announce(map).unwrap();
        full.history
            .set_from(version, NOW - HOUR + version as i64)
            .unwrap();
    }
    let many: Vec<String> = (0..3_844).map(|i| format!("m{i}")).collect();
    vec![
        (World::ring("a b c"), "as it should be"),
        (
            World::empty()
                .present("a", 0)
                .policy(|policy| policy.bootstrap_expect = 3),
            "waits for 3 members, 1 are present",
        ),
        (behind, "clock is behind"),
        (
            open_announcement().act(),
            "ring map 2 is in force from 1800000010500",
        ),
        (
            World::ring("a b c d").away("b c d", 0),
            "1 of the ring's 4 members are present; the ring stays as it is for 600 s",
        ),
        (
            World::ring("a b c").away("b", 61_000),
            "b has been away for 61 s; the ring does without it for 539 s",
        ),
        (
            World::ring("a b c d")
                .present("a b", 4_000)
                .away("c d", 20_000),
            "2 of the ring's 4 members are present, half of them for a moment only",
        ),
        (
            World::ring("a b c").away("b", 0),
            "b went away a moment ago",
        ),
        // The grace of the other one ends sooner.
        (
            World::ring("a b c d").away("b", 597_000).away("c", 1_000),
            "c went away a moment ago",
        ),
        (
            World::ring("a b c d e f g").answering("a b c d e f", 0),
            "a, b, c, d, e and 1 more not registered",
        ),
        (
            World::ring("a b c").present("d", 0),
            "about to be announced",
        ),
        // Two members are due before that.
        (
            World::ring("a b c d e").away("b c", 9_000).present("f", 0),
            "about to be announced",
        ),
        (
            World::ring("a b").away("b", HOUR),
            "would have 1 members, fewer than ring.min_members (2)",
        ),
        (
            World::ring("a b c").away("b", 60_000).leaving("c", HOUR),
            "c asked to leave",
        ),
        (
            World::ring(&many.join(" ")).present("new", HOUR),
            "node slot",
        ),
        (full.present("d", HOUR), "1024 maps"),
    ]
}

#[test]
fn every_reason_says_what_operators_need() {
    let mut seen = std::collections::BTreeSet::new();
    for (world, words) in worlds() {
        let reason = world.reason();
        let said = reason.to_string();
        assert!(said.contains(words), "{reason:?} says: {said}");
        seen.insert(
            format!("{reason:?}")
                .split([' ', '{'])
                .next()
                .map(str::to_owned),
        );
    }
    let left = Reason::LeftToTheKeeper { version: 7 };
    assert!(left.to_string().contains("ring map 7"));
    assert_eq!(seen.len(), 14, "{seen:?}");
}

/// If nothing happens but time, the decision changes at the moment that was named, and not before.
#[test]
fn the_keeper_looks_again_when_the_decision_changes() {
    let essence = |world: &World| match world.decide() {
        Decision::Nothing { reason, .. } => format!("{:?}", std::mem::discriminant(&reason)),
        other => format!("{:?}", std::mem::discriminant(&other)),
    };
    let mut named = 0;
    for (world, _) in worlds() {
        let Decision::Nothing {
            look_again_millis, ..
        } = world.decide()
        else {
            panic!("{:?}", world.decide());
        };
        let before = essence(&world);
        match look_again_millis {
            Some(wait) => {
                assert!(wait > 0);
                assert_eq!(essence(&world.clone().later(wait - 1)), before);
                assert_ne!(essence(&world.later(wait)), before);
                named += 1;
            }
            None => assert_eq!(essence(&world.clone().later(1)), before),
        }
    }
    assert_eq!(named, 9);
}
