//! Eviction: what the archive has goes once it is old enough, and readers hear of it before.

use super::expiry::three_minutes;
use super::rig::{A, B, MINUTE, Rig, START, key};
use crate::env::Millis;
use crate::spoke::files::sim::{Call, Crash, Trouble};
use crate::spoke::{Durability, Keeps, SpokeStore};

#[test]
fn what_is_archived_goes_and_is_known_to_have_gone() {
    let rig = three_minutes(Durability::Fsync);
    assert_eq!(rig.store.holds_from(), Millis::MIN);
    // The end of the first minute is not reached.
    rig.script.archived_to(&[START.plus(MINUTE - 1)]);
    assert_eq!(rig.store.expire(), 0);
    assert_eq!(rig.store.holds_from(), Millis::MIN);
    rig.script.archived_to(&[START.plus(2 * MINUTE)]);
    assert_eq!(rig.store.expire(), 2);
    assert_eq!(rig.keys(A), [key(2 * MINUTE, "a")]);
    assert_eq!(rig.keys(B), []);
    assert_eq!(rig.store.holds_from(), START.plus(2 * MINUTE));
    // The next run knows it, however this one ends.
    let rig = rig.kill();
    assert_eq!(rig.store.holds_from(), START.plus(2 * MINUTE));
    let rig = rig.restart();
    assert_eq!(rig.store.holds_from(), START.plus(2 * MINUTE));
}

#[test]
fn what_is_still_written_stays() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.script.archived_to(&[START.plus(MINUTE)]);
    assert_eq!(rig.store.expire(), 0);
    rig.holds(A, key(0, "a"), b"x");
}

/// Something late comes between the look at the archive and the end of its segment.
#[test]
fn what_came_late_is_looked_for_in_the_archive_first() {
    let rig = three_minutes(Durability::Fsync);
    rig.script
        .archived_to(&[START.plus(2 * MINUTE), START.plus(MINUTE)]);
    rig.store.expire();
    rig.holds(A, key(MINUTE, "a"), b"x");
    rig.holds(B, key(MINUTE + 7, "b"), b"y");
}

#[test]
fn nothing_goes_before_it_is_written_down() {
    let rig = three_minutes(Durability::Fsync);
    // Each time: the store looks by itself as well, now and then.
    for time in 1..1000 {
        rig.folder.fail(Call::Sync, "CLOCK", time, Trouble::Error);
    }
    rig.script.archived_to(&[START.plus(2 * MINUTE)]);
    assert_eq!(rig.store.expire(), 0);
    rig.holds(A, key(0, "a"), b"x");
    rig.folder.heal();
    // What was found impossible is tried again, by whoever comes first.
    rig.store.expire();
    assert_eq!(rig.keys(A), [key(2 * MINUTE, "a")]);
    assert_eq!(rig.keys(B), []);
}

/// Whenever the end comes: what is not there any more is from before the time that is written down.
#[test]
fn an_end_in_the_middle_of_it_is_no_loss() {
    for crash in [Crash::Kill, Crash::PowerLoss] {
        for nth in 1..24 {
            for seed in 0..4 {
                let rig = three_minutes(Durability::Fsync);
                rig.script.archived_to(&[START.plus(2 * MINUTE)]);
                rig.folder.stop_at(nth);
                rig.store.expire();
                let rig = rig.crash(crash, seed);
                let status = rig.store.status();
                assert_eq!(
                    (status.damaged, status.intact),
                    (0, true),
                    "{crash:?} at {nth}"
                );
                let holds_from = rig.store.holds_from();
                for (channel, at, suffix) in [
                    (A, 0, "a"),
                    (A, MINUTE, "a"),
                    (B, MINUTE + 7, "b"),
                    (A, 2 * MINUTE, "a"),
                ] {
                    let key = key(at, suffix);
                    let held = rig.get(channel, key).unwrap().is_some();
                    assert!(held || key.millis < holds_from, "{key} {crash:?} at {nth}");
                }
                rig.store.expire();
                assert_eq!(rig.keys(A), [key(2 * MINUTE, "a")]);
            }
        }
    }
}

/// What nobody keeps goes without a word: it is not in the archive either.
#[test]
fn expiry_says_nothing_of_the_archive() {
    let rig = three_minutes(Durability::Fsync);
    rig.script.set(A, Keeps::From(key(MINUTE, "a")));
    assert_eq!(rig.store.expire(), 1);
    assert_eq!(rig.store.holds_from(), Millis::MIN);
}

#[test]
fn it_only_goes_up() {
    let rig = three_minutes(Durability::Fsync);
    rig.store.let_go(START.plus(2 * MINUTE)).unwrap();
    rig.store.let_go(START).unwrap();
    assert_eq!(rig.store.holds_from(), START.plus(2 * MINUTE));
    assert_eq!(rig.kill().store.holds_from(), START.plus(2 * MINUTE));
}
