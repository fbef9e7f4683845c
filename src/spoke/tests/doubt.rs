//! What the store says of itself: whether everything that it ever promised is sure to be there.

use super::rig::{A, MINUTE, Rig, key};
use crate::spoke::files::sim::{Call, Crash, Trouble};
use crate::spoke::{AppendError, Durability, Files as _, SpokeStore};

fn is_intact(rig: &Rig) -> bool {
    rig.store.status().intact
}

#[test]
fn a_kill_leaves_a_store_intact() {
    for durability in [Durability::Fsync, Durability::Replicated] {
        let rig = Rig::new(durability);
        rig.put(A, key(0, "a"), b"x").unwrap();
        assert!(is_intact(&rig.kill()), "{durability:?}");
    }
}

#[test]
fn a_power_loss_is_admitted_even_if_no_trace_of_what_was_lost_is_left() {
    let rig = Rig::new(Durability::Replicated);
    rig.put(A, key(0, "a"), b"x").unwrap();
    // Everything up to here is on disk, and said to be.
    let rig = rig.restart();
    assert!(is_intact(&rig));
    rig.put(A, key(1, "b"), b"y").unwrap();
    for seed in 0..40 {
        let next = rig.again(rig.folder.crash(Crash::PowerLoss, seed), 2);
        next.holds(A, key(0, "a"), b"x");
        assert!(!is_intact(&next), "seed {seed}");
    }
}

#[test]
fn a_power_loss_costs_nothing_that_was_closed_in_order() {
    let rig = Rig::new(Durability::Replicated);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.store.close(rig.clock.now());
    for seed in 0..10 {
        let next = rig.again(rig.folder.crash(Crash::PowerLoss, seed), 2);
        next.holds(A, key(0, "a"), b"x");
        assert!(is_intact(&next), "seed {seed}");
    }
}

#[test]
fn doubt_lasts_until_somebody_lifts_it() {
    let rig = Rig::new(Durability::Replicated);
    rig.put(A, key(0, "a"), b"x").unwrap();
    let rig = rig.crash(Crash::PowerLoss, 1);
    assert!(!is_intact(&rig));
    // A kill while it is fetching what it lost, and even an orderly restart.
    let rig = rig.kill();
    assert!(!is_intact(&rig));
    let rig = rig.restart();
    assert!(!is_intact(&rig));
    rig.advance_mark().unwrap();
    let rig = rig.crash(Crash::PowerLoss, 2);
    assert!(!is_intact(&rig));
    rig.made_whole().unwrap();
    assert!(is_intact(&rig));
    let rig = rig.crash(Crash::PowerLoss, 3);
    assert!(is_intact(&rig));
    assert!(is_intact(&rig.restart()));
}

#[test]
fn a_damaged_clock_mark_brings_no_earlier_word_back() {
    let rig = Rig::new(Durability::Replicated).restart();
    rig.put(A, key(1, "b"), b"y").unwrap();
    for slot in [0, 512] {
        let folder = rig.folder.crash(Crash::PowerLoss, 4);
        let mut bytes = folder.bytes("CLOCK");
        bytes[slot] ^= 1;
        folder.put("CLOCK", bytes);
        let next = rig.again(folder, 2);
        assert!(!is_intact(&next), "the slot at {slot}");
    }
}

#[test]
fn a_clock_file_older_than_the_logs_says_nothing_of_them() {
    let rig = Rig::new(Durability::Replicated).restart();
    rig.store.close(rig.clock.now());
    let closed = rig.folder.bytes("CLOCK");
    let rig = rig.restart();
    rig.put(A, key(0, "a"), b"x").unwrap();
    let folder = rig.folder.crash(Crash::Kill, 0);
    folder.put("CLOCK", closed);
    let next = rig.again(folder, 2);
    assert!(!is_intact(&next));
    next.holds(A, key(0, "a"), b"x");
}

#[test]
fn a_failed_sync_is_admitted_by_the_next_run() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.folder.fail(Call::Sync, "log", 0, Trouble::Error);
    let failed = rig.put(A, key(1, "b"), b"y");
    assert!(matches!(failed, Err(AppendError::Failed { .. })));
    assert!(!is_intact(&rig));
    assert!(rig.store.failure().is_some());
    let rig = rig.kill();
    assert!(rig.store.failure().is_none());
    assert!(
        !is_intact(&rig),
        "the page cache may show what the disk has lost"
    );
    rig.holds(A, key(0, "a"), b"x");
}

#[test]
fn a_failed_background_sync_fails_the_store_and_is_admitted() {
    let mut options = super::rig::options(Durability::Replicated);
    options.sync_interval_millis = 1;
    let rig = Rig::with(options);
    // The segment's header, and then the first sync behind an acknowledgement.
    rig.folder.fail(Call::Sync, "log", 1, Trouble::Error);
    rig.put(A, key(0, "a"), b"x").unwrap();
    while rig.store.failure().is_none() {
        std::thread::yield_now();
    }
    let failed = rig.put(A, key(1, "b"), b"y");
    assert!(matches!(failed, Err(AppendError::Failed { .. })));
    let rig = rig.kill();
    assert!(!is_intact(&rig), "an acknowledged item may be gone");
}

/// The sync before a seal is the only one that an acknowledged item gets without `fsync`. Should it
/// fail for want of room, the room that comes back does not bring back what it lost.
#[test]
fn a_failed_sync_before_a_seal_is_not_tried_again() {
    let rig = Rig::new(Durability::Replicated);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.folder.fail(Call::Sync, "log", 0, Trouble::NoSpace(0));
    rig.pass(2 * MINUTE);
    assert!(rig.store.failure().is_some());
    assert!(!is_intact(&rig.kill()));
}

#[test]
fn what_is_synced_in_the_background_survives_a_power_loss() {
    let mut options = super::rig::options(Durability::Replicated);
    options.sync_interval_millis = 1;
    let rig = Rig::with(options);
    rig.put(A, key(0, "a"), b"x").unwrap();
    let survives = |seed| {
        let next = rig.again(rig.folder.crash(Crash::PowerLoss, seed), 2);
        next.get(A, key(0, "a")).unwrap().is_some()
    };
    while !(0..5).all(survives) {
        std::thread::yield_now();
    }
}

/// Expiry removes the index first: a log that is found without one was still synced when it was
/// sealed.
#[test]
fn a_sealed_log_without_its_index_leaves_no_doubt() {
    let rig = Rig::new(Durability::Replicated);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.pass(2 * MINUTE);
    let folder = rig.folder.crash(Crash::PowerLoss, 1);
    folder.remove(&folder.names("idx")[0]).unwrap();
    let rig = rig.again(folder, 2);
    assert!(is_intact(&rig));
    rig.holds(A, key(0, "a"), b"x");
}

/// A seal says that all before it was synced. Without `fsync` it is not, before the seal is
/// written: the disk must not have the one without the other.
#[test]
fn a_seal_is_not_on_disk_before_what_it_seals() {
    for seed in 0..40 {
        let rig = Rig::new(Durability::Replicated);
        for number in 0..5 {
            rig.put(A, key(number, "a"), &[1; 900]).unwrap();
        }
        rig.source.advance(2 * MINUTE);
        rig.advance_mark().unwrap();
        rig.folder.stop_at(1 + seed % 4);
        rig.settle();
        let next = rig.crash(Crash::PowerLoss, seed);
        assert_eq!(next.store.status().damaged, 0, "seed {seed}");
    }
}

#[test]
fn a_sealed_segment_needs_no_word_of_the_clock_file() {
    let rig = Rig::new(Durability::Replicated);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.pass(2 * MINUTE);
    assert_eq!(rig.store.status().active, 0);
    let rig = rig.crash(Crash::PowerLoss, 1);
    assert!(is_intact(&rig), "all of it was synced when it was sealed");
    rig.holds(A, key(0, "a"), b"x");
}
