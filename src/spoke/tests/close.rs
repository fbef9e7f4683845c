//! Closing in order.

use std::sync::Arc;

use super::rig::{A, B, MINUTE, PLAIN, Rig, key};
use crate::env::Millis;
use crate::spoke::files::sim::{Call, Crash};
use crate::spoke::{AppendError, Durability, SpokeStore};

#[test]
fn a_store_closed_in_order_promises_nothing_past_that_time() {
    for durability in [Durability::Fsync, Durability::Replicated] {
        let rig = Rig::new(durability);
        rig.put(A, key(0, "a"), b"x").unwrap();
        assert!(rig.store.mark() > rig.clock.now());
        let now = rig.clock.now();
        let rig = rig.restart();
        assert_eq!(rig.store.mark(), now);
        let rig = rig.kill();
        assert!(rig.store.mark() >= now);
    }
}

#[test]
fn an_empty_store_has_no_mark_and_keeps_the_first_one() {
    let rig = Rig::new(Durability::Fsync);
    assert_eq!(rig.store.mark(), Millis::MIN);
    rig.advance_mark().unwrap();
    let mark = rig.store.mark();
    assert!(mark > rig.clock.now());
    for seed in 0..10 {
        let next = rig.again(rig.folder.crash(Crash::PowerLoss, seed), 2);
        assert_eq!(next.store.mark(), mark);
    }
}

/// An orderly end leaves no batch that only the next one would have said was synced: all of it is
/// sealed, and rot in it is damage.
#[test]
fn rot_in_the_last_batch_of_a_closed_store_is_not_taken_for_a_cut() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.put(B, key(MINUTE, "b"), b"last").unwrap();
    let entry = rig.find(B, key(MINUTE, "b")).unwrap().unwrap();
    rig.store.close(rig.clock.now());
    let folder = rig.folder.crash(Crash::Kill, 0);
    let name = folder.names("log").remove(1);
    for at in 0..entry.body_len as usize + 32 {
        let folder = folder.crash(Crash::Kill, 0);
        let mut bytes = folder.bytes(&name);
        bytes[entry.offset as usize + at] ^= 4;
        folder.put(&name, bytes);
        let rig = rig.again(folder, 1);
        assert!(
            rig.get(B, key(MINUTE, "b")).is_err(),
            "it is denied, with byte {at} changed"
        );
        rig.holds(A, key(0, "a"), b"x");
    }
}

#[test]
fn what_comes_after_the_end_is_refused() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.store.close(rig.clock.now());
    assert_eq!(rig.put(A, key(1, "b"), b"y"), Err(AppendError::Closed));
    assert_eq!(rig.remove(A, key(0, "a")), Err(AppendError::Closed));
    assert_eq!(rig.advance_mark(), Err(AppendError::Closed));
    assert_eq!(rig.made_whole(), Err(AppendError::Closed));
    // A second time is as good as the first.
    rig.store.close(rig.clock.now());
    rig.holds(A, key(0, "a"), b"x");
    let rig = rig.kill();
    assert_eq!(rig.keys(A), [key(0, "a")]);
}

/// Whoever closes waits until it is done, also if somebody else asked first.
#[test]
fn two_who_close_at_once_both_wait() {
    let rig = Arc::new(Rig::new(Durability::Fsync));
    rig.folder.hold(Call::Sync, "log");
    let first = rig.append(A, key(0, "a"), PLAIN, b"holds the writer");
    assert!(rig.folder.wait_held());
    let closers: Vec<_> = (0..2)
        .map(|_| {
            let rig = Arc::clone(&rig);
            std::thread::spawn(move || {
                rig.store.close(rig.clock.now());
                let next = rig.again(rig.folder.crash(Crash::PowerLoss, 1), 2);
                next.holds(A, key(0, "a"), b"holds the writer");
                assert_eq!(next.folder.calls(Call::Create, "idx.tmp"), 0);
            })
        })
        .collect();
    rig.folder.release();
    first.recv().unwrap().unwrap();
    for closer in closers {
        closer.join().unwrap();
    }
}

#[test]
fn times_that_cannot_be_held_are_refused() {
    let rig = Rig::new(Durability::Fsync);
    let before_1970 = crate::item::ItemKey::new(Millis::new(-5), key(0, "a").suffix);
    let refused = rig.put(A, before_1970, b"x");
    assert!(matches!(refused, Err(AppendError::Refused { .. })));
    rig.remove(A, before_1970).unwrap();
    assert!(rig.folder.names("log").is_empty());
    assert_eq!(rig.get(A, before_1970).unwrap(), None);
}
