//! A disk that fills up, and has room again.

use super::rig::{A, B, MINUTE, PLAIN, Rig, key, options};
use crate::spoke::files::sim::{Call, Crash, Trouble};
use crate::spoke::{AppendError, Durability, SpokeStore};

#[test]
fn what_does_not_fit_is_refused_and_leaves_no_trace() {
    for durability in [Durability::Fsync, Durability::Replicated] {
        for fits in [0, 1, 40, 90, 150, 300, 500] {
            let rig = Rig::new(durability);
            rig.put(A, key(0, "a"), b"before").unwrap();
            rig.folder
                .fail(Call::Write, "log", 0, Trouble::NoSpace(fits));
            assert_eq!(rig.put(A, key(1, "b"), &[1; 600]), Err(AppendError::Full));
            assert!(rig.store.is_full());
            assert_eq!(rig.get(A, key(1, "b")).unwrap(), None);
            rig.settle();
            assert!(!rig.store.is_full(), "there is room again");
            rig.put(A, key(2, "c"), b"after").unwrap();
            let rig = rig.kill();
            rig.holds(A, key(0, "a"), b"before");
            rig.holds(A, key(2, "c"), b"after");
            assert_eq!(rig.get(A, key(1, "b")).unwrap(), None);
            assert!(rig.store.status().intact);
        }
    }
}

/// Of a burst that is refused some records may have been written whole before the disk was full.
#[test]
fn what_was_refused_does_not_come_back_with_a_power_loss() {
    for seed in 0..30 {
        let rig = Rig::new(Durability::Fsync);
        rig.put(A, key(0, "a"), b"before").unwrap();
        rig.folder.hold(Call::Sync, "log");
        let first = rig.append(A, key(1, "b"), PLAIN, b"holds the writer");
        assert!(rig.folder.wait_held());
        let burst: Vec<_> = (2..8)
            .map(|number| rig.append(A, key(number, "burst"), PLAIN, &[9; 100]))
            .collect();
        rig.folder
            .fail(Call::Write, "log", 0, Trouble::NoSpace(700));
        rig.folder.release();
        first.recv().unwrap().unwrap();
        for outcome in burst {
            assert_eq!(outcome.recv().unwrap(), Err(AppendError::Full));
        }
        let next = rig.again(rig.folder.crash(Crash::PowerLoss, seed), 2);
        assert_eq!(next.keys(A), [key(0, "a"), key(1, "b")], "seed {seed}");
        // Nor under what is written in its place.
        rig.folder.hold(Call::Sync, "log");
        let later = rig.append(A, key(10, "later"), PLAIN, &[5; 200]);
        assert!(rig.folder.wait_held());
        let next = rig.again(rig.folder.crash(Crash::PowerLoss, seed), 2);
        let mut keys = next.keys(A);
        keys.retain(|found| *found != key(10, "later"));
        assert_eq!(keys, [key(0, "a"), key(1, "b")], "seed {seed}");
        rig.folder.release();
        later.recv().unwrap().unwrap();
    }
}

#[test]
fn one_segment_that_does_not_fit_does_not_refuse_another() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.put(B, key(MINUTE, "b"), b"y").unwrap();
    rig.folder.hold(Call::Sync, "log");
    let first = rig.append(A, key(1, "a"), PLAIN, b"holds the writer");
    assert!(rig.folder.wait_held());
    let refused = rig.append(A, key(2, "a"), PLAIN, b"does not fit");
    let stored = rig.append(B, key(MINUTE + 1, "b"), PLAIN, b"fits");
    rig.folder.fail(Call::Write, "log", 0, Trouble::NoSpace(7));
    rig.folder.release();
    first.recv().unwrap().unwrap();
    assert_eq!(refused.recv().unwrap(), Err(AppendError::Full));
    stored.recv().unwrap().unwrap();
    let rig = rig.crash(Crash::PowerLoss, 1);
    rig.holds(B, key(MINUTE + 1, "b"), b"fits");
    assert_eq!(rig.get(A, key(2, "a")).unwrap(), None);
}

#[test]
fn a_disk_nearly_full_is_said_and_recovers_by_itself() {
    let mut options = options(Durability::Fsync);
    options.reserve_bytes = 10_000;
    let rig = Rig::with(options);
    rig.settle();
    assert!(!rig.store.is_full());
    rig.folder.set_room(9_999, 1 << 30);
    rig.settle();
    let status = rig.store.status();
    assert_eq!((status.full, status.free), (true, 9_999));
    rig.folder.set_room(10_000, 1 << 30);
    rig.settle();
    assert!(!rig.store.is_full());
    // On a small disk a tenth of it is enough.
    rig.folder.set_room(600, 5000);
    rig.settle();
    assert!(!rig.store.is_full());
}

#[test]
fn a_segment_that_cannot_be_sealed_for_want_of_room_is_read_and_sealed_later() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    for call in [Call::Write, Call::Create] {
        rig.folder.fail(call, "idx.tmp", 0, Trouble::NoSpace(20));
        rig.folder.fail(call, "idx.tmp", 1, Trouble::NoSpace(0));
    }
    rig.pass(2 * MINUTE);
    assert!(rig.store.failure().is_none());
    rig.holds(A, key(0, "a"), b"x");
    for _ in 0..5 {
        rig.settle();
    }
    assert_eq!(rig.store.status().active, 0);
    rig.holds(A, key(0, "a"), b"x");
    rig.kill().holds(A, key(0, "a"), b"x");
}

/// What the next run finds in a log is shown to readers, so it must be as safe as if it had just
/// been stored, even where there is no room to seal it.
#[test]
fn what_is_shown_after_a_kill_on_a_full_disk_survives_a_power_loss() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.folder.hold(Call::Sync, "log");
    let unanswered = rig.append(A, key(1, "b"), PLAIN, &[3; 2000]);
    assert!(rig.folder.wait_held());
    let folder = rig.folder.crash(Crash::Kill, 0);
    rig.folder.release();
    unanswered.recv().unwrap().unwrap();
    folder.set_room(0, 1 << 30);
    let rig = rig.again(folder, 1);
    assert_eq!(rig.store.status().active, 1);
    rig.holds(A, key(1, "b"), &[3; 2000]);
    for seed in 0..10 {
        let next = rig.again(rig.folder.crash(Crash::PowerLoss, seed), 2);
        next.holds(A, key(1, "b"), &[3; 2000]);
    }
    // Room comes back: it is sealed, and written to again.
    rig.folder.set_room(1 << 20, 1 << 30);
    rig.settle();
    assert_eq!(rig.store.status().active, 0);
    rig.put(A, key(2, "c"), b"y").unwrap();
    assert_eq!(rig.restart().keys(A).len(), 3);
}

#[test]
fn a_store_closes_in_order_on_a_full_disk() {
    let rig = Rig::new(Durability::Replicated);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.folder.set_room(0, 1 << 30);
    rig.store.close(rig.clock.now());
    assert!(rig.store.failure().is_none());
    let next = rig.again(rig.folder.crash(Crash::PowerLoss, 3), 2);
    next.holds(A, key(0, "a"), b"x");
    assert!(next.store.status().intact);
}
