use super::*;
use crate::Placement;

fn name(n: &str) -> Member {
    Member::new(n).unwrap()
}

fn names(list: &str) -> Vec<Member> {
    list.split_whitespace().map(name).collect()
}

fn first(from: i64, members: &str) -> RingMap {
    RingMap::in_force(1, from, names(members), Placement::default()).unwrap()
}

fn announced(version: u64, members: &str) -> RingMap {
    RingMap::announced(version, names(members), Placement::default()).unwrap()
}

/// Maps from 100, 200, 300 and so on, and one that is only announced if `open`.
fn history(members: &[&str], open: bool) -> RingHistory {
    let mut history = RingHistory::new();
    history.announce(first(100, members[0])).unwrap();
    for (version, list) in (2..).zip(&members[1..]) {
        history.announce(announced(version, list)).unwrap();
        if !open || version < members.len() as u64 {
            history.set_from(version, version as i64 * 100).unwrap();
        }
    }
    history
}

fn versions(maps: &[RingMap]) -> Vec<u64> {
    maps.iter().map(RingMap::version).collect()
}

#[test]
fn an_empty_history_knows_nothing() {
    let empty = RingHistory::new();
    assert_eq!(
        (empty.at(0), empty.newest(), empty.until_millis(0)),
        (None, None, None)
    );
    assert!(empty.is_empty() && empty.overlapping(i64::MIN, i64::MAX).is_empty());
    assert_eq!(
        (empty.mark(), empty.next_version()),
        (HistoryMark::default(), 1)
    );
}

#[test]
fn a_map_is_in_force_from_its_time_to_the_next_one_s() {
    let history = history(&["a", "a b", "a b c", "a b c d"], true);
    let at = |millis| history.at(millis).map(RingMap::version);
    assert_eq!(
        [i64::MIN, 99, 100, 199, 200, 299, 300, i64::MAX].map(at),
        [
            None,
            None,
            Some(1),
            Some(1),
            Some(2),
            Some(2),
            Some(3),
            Some(3)
        ]
    );
    let until = [0, 1, 2, 3, 4, 5].map(|version| history.until_millis(version));
    assert_eq!(until, [None, Some(200), Some(300), None, None, None]);
}

#[test]
fn the_maps_that_overlap_a_range() {
    let history = history(&["a", "a b", "a b c", "a b c d"], true);
    let over = |from, to| versions(history.overlapping(from, to));
    assert_eq!(over(i64::MIN, i64::MAX), [1, 2, 3]);
    assert_eq!(over(0, 100), [0; 0]);
    assert_eq!(over(0, 101), [1]);
    assert_eq!(over(150, 200), [1]);
    assert_eq!(over(150, 201), [1, 2]);
    assert_eq!(over(199, 301), [1, 2, 3]);
    assert_eq!(over(200, 300), [2]);
    assert_eq!(over(500, 600), [3]);
    assert_eq!(over(200, 200), [0; 0]);
    assert_eq!(over(300, 200), [0; 0]);
    assert_eq!(over(i64::MIN, i64::MIN), [0; 0]);
}

#[test]
fn one_change_at_a_time_and_versions_without_a_gap() {
    let mut history = RingHistory::new();
    assert_eq!(
        history.announce(announced(1, "a")),
        Err(HistoryError::FirstWithoutFrom)
    );
    let late = RingMap::in_force(2, 100, names("a"), Placement::default()).unwrap();
    assert_eq!(
        history.announce(late.clone()),
        Err(HistoryError::VersionNotNext {
            expected: 1,
            found: 2
        })
    );
    assert_eq!(history, RingHistory::new());
    history.announce(first(100, "a")).unwrap();
    assert_eq!(
        history.announce(late),
        Err(HistoryError::AnnouncedWithFrom { version: 2 })
    );
    assert_eq!(
        history.announce(announced(3, "a b")),
        Err(HistoryError::VersionNotNext {
            expected: 2,
            found: 3
        })
    );
    history.announce(announced(2, "a b")).unwrap();
    let before = history.clone();
    assert_eq!(
        history.announce(announced(3, "a b c")),
        Err(HistoryError::NewestWithoutFrom { version: 2 })
    );
    assert_eq!(history, before);
}

#[test]
fn a_time_is_set_once_on_the_newest_map_and_after_the_one_before() {
    let mut history = history(&["a", "a b"], true);
    let newest = 2;
    assert_eq!(
        history.set_from(1, 500),
        Err(HistoryError::NotNewest { version: 1, newest })
    );
    assert_eq!(
        history.set_from(3, 500),
        Err(HistoryError::NotNewest { version: 3, newest })
    );
    for from_millis in [i64::MIN, 99, 100] {
        assert_eq!(
            history.set_from(2, from_millis),
            Err(HistoryError::FromNotLater {
                version: 2,
                from_millis,
                previous_millis: 100
            })
        );
    }
    history.set_from(2, 101).unwrap();
    for again in [101, 102] {
        assert_eq!(
            history.set_from(2, again),
            Err(HistoryError::FromAlreadySet {
                version: 2,
                from_millis: 101
            })
        );
    }
    assert_eq!(history.at(101).map(RingMap::version), Some(2));
    assert_eq!(
        RingHistory::new().set_from(1, 5),
        Err(HistoryError::NotNewest {
            version: 1,
            newest: 0
        })
    );
}

#[test]
fn pruning_drops_what_had_ceased_to_be_in_force() {
    let full = history(&["a z", "a b", "a b c", "a b c d"], true);
    let pruned = |oldest_needed| {
        let mut history = full.clone();
        let dropped = history.prune(oldest_needed);
        assert_eq!(dropped, full.maps().len() - history.maps().len());
        assert_eq!(dropped > 0, history.is_newer_than(&full));
        versions(history.maps())
    };
    assert_eq!(pruned(i64::MIN), [1, 2, 3, 4]);
    assert_eq!(pruned(199), [1, 2, 3, 4]);
    assert_eq!(pruned(200), [2, 3, 4]);
    assert_eq!(pruned(299), [2, 3, 4]);
    assert_eq!(pruned(300), [3, 4]);
    // The map in force stays, and the announced one.
    assert_eq!(pruned(i64::MAX), [3, 4]);
    assert_eq!(RingHistory::new().prune(i64::MAX), 0);
}

#[test]
fn pruning_forgets_members_that_are_in_no_map() {
    let mut history = history(&["a y z", "a b z", "a b c"], false);
    history.set_absent([(name("y"), 150), (name("z"), 160), (name("c"), 170)].into());
    history.decommission(name("y"), 140);
    assert_eq!(history.prune(200), 1);
    assert_eq!(history.node_slot(&name("y")), None);
    assert_eq!(
        history.absent().keys().cloned().collect::<Vec<_>>(),
        names("c z")
    );
    assert!(history.node_slot(&name("z")).is_some());
    // It asked to leave, and is not to come back because nobody remembers its ring.
    assert!(history.decommissions().contains_key(&name("y")));
}

#[test]
fn a_member_keeps_its_node_slot_while_it_is_in_the_history() {
    let mut history = history(&["b c", "a c", "a b c d"], false);
    let slot = |history: &RingHistory, n: &str| history.node_slot(&name(n)).map(NodeSlot::number);
    assert_eq!(
        ["a", "b", "c", "d", "e"].map(|n| slot(&history, n)),
        [Some(2), Some(0), Some(1), Some(3), None]
    );
    history.announce(announced(4, "a c d")).unwrap();
    history.set_from(4, 400).unwrap();
    history.prune(400);
    assert_eq!(slot(&history, "b"), None);
    history.announce(announced(5, "a b c d e")).unwrap();
    assert_eq!(
        ["b", "e", "a"].map(|n| slot(&history, n)),
        [Some(0), Some(4), Some(2)]
    );
}

#[test]
fn node_slots_run_out() {
    let many = |from: usize| (from..from + 3_844).map(|i| name(&format!("m{i}")));
    let mut history = RingHistory::new();
    history
        .announce(RingMap::in_force(1, 0, many(0), Placement::default()).unwrap())
        .unwrap();
    let next = RingMap::announced(2, many(1), Placement::default()).unwrap();
    let before = history.clone();
    assert_eq!(
        history.announce(next),
        Err(HistoryError::NodeSlotsExhausted {
            version: 2,
            free: 0
        })
    );
    assert_eq!(history, before);
}

#[test]
fn a_history_takes_a_limited_number_of_maps() {
    let mut history = history(&["a"], false);
    for version in 2..=MAX_MAPS as u64 {
        history.announce(announced(version, "a b")).unwrap();
        history.set_from(version, version as i64 * 100).unwrap();
    }
    let next = announced(MAX_MAPS as u64 + 1, "a");
    assert_eq!(
        history.announce(next.clone()),
        Err(HistoryError::TooManyMaps { limit: MAX_MAPS })
    );
    history.prune(300);
    assert_eq!(history.announce(next), Ok(()));
}

#[test]
fn the_largest_ring_is_remembered_after_pruning() {
    let mut history = history(&["a b c", "a"], false);
    history.prune(i64::MAX);
    assert_eq!((history.maps().len(), history.largest_ring()), (1, 3));
}

#[test]
fn every_change_makes_a_history_newer() {
    let mut history = RingHistory::new();
    let mut check = |what: &str, change: &mut dyn FnMut(&mut RingHistory)| {
        let before = history.clone();
        change(&mut history);
        assert!(
            history.is_newer_than(&before) && !before.is_newer_than(&history),
            "{what}"
        );
        history.mark().knows_newer_ring_than(before.mark())
    };
    assert!(check("first", &mut |h| h
        .announce(first(100, "a b"))
        .unwrap()));
    assert!(check("announced", &mut |h| h
        .announce(announced(2, "a b c"))
        .unwrap()));
    assert!(check("complete", &mut |h| h.set_from(2, 200).unwrap()));
    assert!(!check("absent", &mut |h| assert!(
        h.set_absent([(name("c"), 150)].into())
    )));
    assert!(!check("leaving", &mut |h| assert!(
        h.decommission(name("c"), 160)
    )));
    assert!(!check("back", &mut |h| assert!(h.recommission(&name("c")))));
    assert!(!check("pruned", &mut |h| assert_eq!(h.prune(200), 1)));
    // Fewer maps do not make it older than one with a lower version.
    let mut long = self::history(&["a", "b", "a"], true);
    assert!(long.is_newer_than(&history));
    long.set_from(3, 300).unwrap();
    long.prune(300);
    assert!(long.mark().knows_newer_ring_than(history.mark()));
}

#[test]
fn what_changes_nothing_does_not_make_a_history_newer() {
    let mut history = history(&["a b"], false);
    history.decommission(name("b"), 160);
    let mark = history.mark();
    assert!(!history.decommission(name("b"), 999));
    assert!(!history.recommission(&name("a")));
    assert!(!history.set_absent([(name("stranger"), 1)].into()));
    assert_eq!(history.mark(), mark);
    assert_eq!(history.decommissions()[&name("b")], 160);
}

mod adopting {
    use super::*;

    fn guard(horizon_millis: Option<i64>) -> AdoptionGuard {
        AdoptionGuard {
            horizon_millis,
            announcement_seen: None,
            lease_millis: 10,
        }
    }

    #[test]
    fn only_a_newer_history_is_taken_over() {
        let own = history(&["a", "a b"], true);
        let mut newer = own.clone();
        newer.set_from(2, 200).unwrap();
        assert_eq!(own.adopt(&newer, &guard(None)), Ok(Adoption::Newer));
        assert_eq!(own.adopt(&own, &guard(None)), Ok(Adoption::Same));
        assert_eq!(newer.adopt(&own, &guard(None)), Ok(Adoption::Older));
        // A store that was emptied, or restored from a backup.
        assert_eq!(
            own.adopt(&RingHistory::new(), &guard(None)),
            Ok(Adoption::Older)
        );
        assert_eq!(
            RingHistory::new().adopt(&own, &guard(None)),
            Ok(Adoption::Newer)
        );
    }

    #[test]
    fn two_histories_that_disagree_on_a_map_are_an_alarm() {
        let own = history(&["a", "a b"], false);
        let differs = |version| Err(AdoptionAlarm::MapDiffers { version });
        let other = history(&["a", "a c", "a c d"], false);
        assert_eq!(own.adopt(&other, &guard(None)), differs(2));
        let mut from = history(&["a", "a b"], true);
        from.set_from(2, 201).unwrap();
        assert_eq!(own.adopt(&from, &guard(None)), differs(2));
        let mut placement = history(&["a"], false);
        let one = Placement::new(1, 256).unwrap();
        placement
            .announce(RingMap::announced(2, names("a b"), one).unwrap())
            .unwrap();
        assert_eq!(own.adopt(&placement, &guard(None)), differs(2));
    }

    #[test]
    fn a_new_map_cannot_be_in_force_before_the_horizon() {
        let own = history(&["a", "a b"], true);
        let mut found = own.clone();
        found.set_from(2, 200).unwrap();
        assert_eq!(own.adopt(&found, &guard(Some(200))), Ok(Adoption::Newer));
        let alarm = AdoptionAlarm::FromBeforeHorizon {
            version: 2,
            from_millis: 200,
            horizon_millis: 201,
        };
        assert_eq!(own.adopt(&found, &guard(Some(201))), Err(alarm));
        // What the node has known all along is no alarm, however far its horizon has moved.
        let mut absent = found.clone();
        absent.set_absent([(name("b"), 1)].into());
        assert_eq!(found.adopt(&absent, &guard(Some(900))), Ok(Adoption::Newer));
        // A map that it missed altogether counts as well.
        let later = history(&["a", "a b", "b"], true);
        let missed = history(&["a"], false).adopt(&later, &guard(Some(201)));
        assert!(matches!(
            missed,
            Err(AdoptionAlarm::FromBeforeHorizon { version: 2, .. })
        ));
    }

    #[test]
    fn a_time_long_before_its_announcement_was_seen_is_an_alarm() {
        let own = history(&["a", "a b"], true);
        let mut found = own.clone();
        found.set_from(2, 200).unwrap();
        let seen = |version, millis| AdoptionGuard {
            announcement_seen: Some((version, millis)),
            ..guard(None)
        };
        assert_eq!(own.adopt(&found, &seen(2, 210)), Ok(Adoption::Newer));
        let alarm = AdoptionAlarm::FromTooEarly {
            version: 2,
            from_millis: 200,
            seen_millis: 211,
        };
        assert_eq!(own.adopt(&found, &seen(2, 211)), Err(alarm));
        assert_eq!(own.adopt(&found, &seen(3, 211)), Ok(Adoption::Newer));
    }
}
