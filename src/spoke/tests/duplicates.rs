//! Several records of one key, in one segment and in several.

use super::rig::{A, KEYED, MINUTE, PENDING, PLAIN, Rig, everything, key, options};
use crate::env::Millis;
use crate::item::ItemKey;
use crate::spoke::{Direction, Durability, Entry, ItemFlags, Range, ReadMode, SpokeStore};

fn by_range(rig: &Rig, direction: Direction) -> Vec<Entry> {
    rig.all(A, direction).unwrap()
}

fn put(rig: &Rig, flags: ItemFlags, payload: &[u8]) {
    rig.append(A, key(0, "a"), flags, payload)
        .recv()
        .unwrap()
        .unwrap();
}

/// In every state of the segments that hold it, the latest record of a key stands.
#[test]
fn the_latest_record_stands_however_it_is_found() {
    for apart in [false, true] {
        let mut rig = Rig::new(Durability::Fsync);
        put(&rig, PENDING, b"pending");
        if apart {
            rig = rig.kill();
        }
        put(&rig, PLAIN, b"committed");
        for _ in 0..3 {
            let found = rig.find(A, key(0, "a")).unwrap().unwrap();
            assert!(!found.flags.pending);
            for direction in [Direction::Ascending, Direction::Descending] {
                assert_eq!(by_range(&rig, direction), [found], "apart: {apart}");
            }
            rig.holds(A, key(0, "a"), b"committed");
            rig.pass(MINUTE);
            rig = rig.kill();
        }
    }
}

#[test]
fn a_removal_stands_for_good() {
    for (before, after) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut rig = Rig::new(Durability::Fsync);
        put(&rig, PLAIN, b"first");
        if before {
            rig = rig.kill();
        }
        rig.remove(A, key(0, "a")).unwrap();
        if after {
            rig = rig.kill();
        }
        // A late copy of it, from a replica that has not heard.
        put(&rig, PLAIN, b"late");
        for run in 0..3 {
            let what = format!("{before}, {after}, run {run}");
            assert_eq!(rig.get(A, key(0, "a")).unwrap(), None, "{what}");
            for direction in [Direction::Ascending, Direction::Descending] {
                assert_eq!(by_range(&rig, direction), [], "{what}");
            }
            rig.pass(MINUTE);
            rig = rig.kill();
        }
    }
}

#[test]
fn what_a_writer_is_told_after_a_restart_does_not_name_removed_items() {
    for (rotated, sealed) in [(false, false), (true, false), (true, true)] {
        let mut rig = Rig::new(Durability::Fsync);
        for number in 0..2 {
            let outcome = rig.append(A, key(number, "a"), KEYED, b"x");
            outcome.recv().unwrap().unwrap();
        }
        if rotated {
            rig = rig.kill();
        }
        rig.remove(A, key(0, "a")).unwrap();
        if sealed {
            rig = rig.kill();
        }
        let rig = rig.kill();
        let recent: Vec<_> = rig
            .store
            .recent_writes()
            .iter()
            .map(|(_, k, ..)| *k)
            .collect();
        assert_eq!(recent, [key(1, "a")], "{rotated}, {sealed}");
        assert!(rig.store.recent_writes().is_empty(), "they are given once");
    }
}

#[test]
fn write_ids_are_remembered_for_the_window_and_not_longer() {
    let rig = Rig::new(Durability::Fsync);
    for minute in 0..15 {
        let outcome = rig.append(A, key(minute * MINUTE, "a"), KEYED, b"x");
        outcome.recv().unwrap().unwrap();
        let outcome = rig.append(A, key(minute * MINUTE, "b"), PLAIN, b"x");
        outcome.recv().unwrap().unwrap();
        rig.pass(MINUTE);
    }
    let rig = rig.kill();
    let recent = rig.store.recent_writes();
    assert!(
        recent
            .iter()
            .all(|(channel, _, _, flags)| *channel == A && flags.keyed)
    );
    let mut keys: Vec<_> = recent.iter().map(|(_, key, ..)| *key).collect();
    keys.sort();
    // Ten minutes, and the rest of the minute that began before them.
    let expected: Vec<_> = (4..15).map(|minute| key(minute * MINUTE, "a")).collect();
    assert_eq!(keys, expected);
}

/// Limits count items, not records.
#[test]
fn a_limit_is_reached_over_removed_items_and_repeated_ones() {
    let mut options = options(Durability::Fsync);
    options.segment_items = 4;
    let mut rig = Rig::with(options);
    for number in 0..20 {
        rig.put(A, key(number, "a"), b"x").unwrap();
    }
    for number in (0..20).filter(|number| number % 4 != 0) {
        rig.remove(A, key(number, "a")).unwrap();
    }
    for number in [4, 8] {
        rig.put(A, key(number, "a"), b"x").unwrap();
    }
    for _ in 0..2 {
        for limit in 1..7 {
            for direction in [Direction::Ascending, Direction::Descending] {
                let mut expected = [0, 4, 8, 12, 16].map(|number| key(number, "a"));
                if direction == Direction::Descending {
                    expected.reverse();
                }
                let range = Range {
                    limit,
                    ..everything(A, direction)
                };
                let found = rig.store.range(&range, ReadMode::Blocking).unwrap();
                let found: Vec<_> = found.iter().map(|entry| entry.key).collect();
                assert_eq!(found, expected[..limit.min(5)]);
            }
        }
        rig = rig.kill();
    }
}

/// The first minute that can be held: a walk down that goes on past it ends there.
#[test]
fn a_walk_past_the_first_minute_of_1970_ends() {
    let rig = Rig::new(Durability::Fsync);
    let first = ItemKey::new(Millis::new(5), key(0, "a").suffix);
    rig.put(A, first, b"x").unwrap();
    for direction in [Direction::Ascending, Direction::Descending] {
        assert_eq!(by_range(&rig, direction).len(), 1, "{direction:?}");
    }
    let nothing = Range {
        to: ItemKey::first_of(Millis::new(-MINUTE)),
        ..everything(A, Direction::Descending)
    };
    assert_eq!(rig.store.range(&nothing, ReadMode::Blocking).unwrap(), []);
}
