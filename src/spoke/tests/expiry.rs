//! Expiry: what it may remove, and what it must not take along.

use super::rig::{A, B, MINUTE, Rig, key, options};
use crate::spoke::files::sim::{Call, Crash, Trouble};
use crate::spoke::{ChannelId, Direction, Durability, Keeps, SpokeStore};

/// Three sealed minutes of A; B is in the second one alone.
pub fn three_minutes(durability: Durability) -> Rig {
    let rig = Rig::new(durability);
    for minute in 0..3 {
        rig.put(A, key(minute * MINUTE, "a"), b"x").unwrap();
        if minute == 1 {
            rig.put(B, key(minute * MINUTE + 7, "b"), b"y").unwrap();
        }
        rig.pass(MINUTE + 3000);
    }
    rig.pass(MINUTE);
    assert_eq!(rig.store.status().active, 0);
    rig
}

#[test]
fn a_segment_goes_when_no_channel_keeps_any_of_it() {
    let rig = three_minutes(Durability::Fsync);
    assert_eq!(rig.store.expire(), 0);
    rig.script.set(A, Keeps::From(key(MINUTE, "a")));
    assert_eq!(rig.store.expire(), 1);
    assert_eq!(rig.keys(A), [key(MINUTE, "a"), key(2 * MINUTE, "a")]);
    rig.script.set(A, Keeps::Nothing);
    assert_eq!(rig.store.expire(), 1);
    rig.holds(B, key(MINUTE + 7, "b"), b"y");
    // Its very last key is kept, and then not.
    rig.script.set(B, Keeps::From(key(MINUTE + 7, "b")));
    assert_eq!(rig.store.expire(), 0);
    rig.script
        .set(B, Keeps::From(key(MINUTE + 7, "b").successor()));
    assert_eq!(rig.store.expire(), 1);
    assert!(rig.keys(A).is_empty() && rig.keys(B).is_empty());
    assert_eq!(rig.store.status().segments, 0);
    assert_eq!(rig.folder.names(""), ["CLOCK"]);
}

#[test]
fn a_segment_that_is_written_does_not_expire() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.script.set(A, Keeps::Nothing);
    assert_eq!(rig.store.expire(), 0);
    rig.holds(A, key(0, "a"), b"x");
}

#[test]
fn the_mark_does_not_go_with_the_segment_that_holds_it() {
    for durability in [Durability::Fsync, Durability::Replicated] {
        let rig = Rig::new(durability);
        rig.put(A, key(0, "a"), b"x").unwrap();
        rig.source.advance(MINUTE + 1500);
        rig.put(A, key(1, "b"), b"y").unwrap();
        rig.source.advance(3000);
        rig.pass(0);
        let mark = rig.store.mark();
        rig.script.set(A, Keeps::Nothing);
        assert_eq!(rig.store.expire(), 1);
        assert!(rig.kill().store.mark() >= mark, "{durability:?}");
    }
}

/// Whenever the end comes while segments are unlinked, what is found is either all there or gone,
/// and nothing counts as lost.
#[test]
fn an_end_in_the_middle_of_it_is_no_loss() {
    for crash in [Crash::Kill, Crash::PowerLoss] {
        for nth in 1..20 {
            for seed in 0..4 {
                let rig = three_minutes(Durability::Fsync);
                rig.script.set(A, Keeps::Nothing);
                let mark = rig.store.mark();
                rig.folder.stop_at(nth);
                rig.store.expire();
                let rig = rig.crash(crash, seed);
                let status = rig.store.status();
                assert_eq!(
                    (status.damaged, status.intact),
                    (0, true),
                    "{crash:?} at {nth}"
                );
                assert!(rig.store.mark() >= mark);
                rig.holds(B, key(MINUTE + 7, "b"), b"y");
                rig.holds(A, key(MINUTE, "a"), b"x");
                rig.store.expire();
                assert_eq!(rig.keys(A), [key(MINUTE, "a")], "{crash:?} at {nth}");
            }
        }
    }
}

#[test]
fn a_file_that_cannot_be_removed_is_not_in_the_way_of_the_next_segment() {
    for ending in ["log", "idx"] {
        let rig = three_minutes(Durability::Fsync);
        rig.script.set(A, Keeps::From(key(MINUTE, "a")));
        rig.folder.fail(Call::Remove, ending, 0, Trouble::Error);
        rig.store.expire();
        rig.put(A, key(9, "late"), b"z").unwrap();
        rig.holds(A, key(9, "late"), b"z");
        let rig = rig.restart();
        rig.holds(A, key(9, "late"), b"z");
    }
}

/// A minute that expired gets items again: they are found, under the name of the segment that
/// went, and nothing of that one is.
#[test]
fn a_minute_comes_back_empty() {
    let rig = three_minutes(Durability::Fsync);
    rig.holds(A, key(0, "a"), b"x");
    rig.script.set(A, Keeps::From(key(MINUTE, "a")));
    assert_eq!(rig.store.expire(), 1);
    rig.put(A, key(3, "late"), b"other").unwrap();
    for _ in 0..2 {
        assert_eq!(rig.get(A, key(0, "a")).unwrap(), None);
        rig.holds(A, key(3, "late"), b"other");
        rig.pass(2 * MINUTE);
    }
    assert_eq!(rig.store.status().active, 0);
}

#[test]
fn channels_that_are_gone_take_no_room_in_the_directory() {
    let mut options = options(Durability::Fsync);
    options.segment_items = 10;
    let rig = Rig::with(options);
    for number in 0..30 {
        let channel = ChannelId(1000 + number);
        rig.put(channel, key(number as i64, "a"), b"x").unwrap();
        rig.script.set(channel, Keeps::Nothing);
    }
    rig.pass(2 * MINUTE);
    assert_eq!(rig.store.expire(), 3);
    for number in 0..30 {
        let channel = ChannelId(1000 + number);
        assert_eq!(rig.all(channel, Direction::Ascending).unwrap(), []);
    }
    assert_eq!(rig.store.shared.directory.channels(), 0);
}
