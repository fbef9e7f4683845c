//! Readers, the writer and housekeeping at the same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use super::rig::{A, B, MINUTE, PLAIN, Rig, key};
use crate::spoke::files::sim::{Call, Crash};
use crate::spoke::{Durability, Keeps, ReadError, ReadMode, SpokeStore};

/// What a reader has seen must survive: with `fsync` nothing is shown before it is synced.
#[test]
fn an_item_is_not_shown_before_it_is_synced() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"before").unwrap();
    let mark = rig.store.mark();
    rig.source.advance(50);
    rig.folder.hold(Call::Sync, "log");
    let outcome = rig.append(A, key(1, "b"), PLAIN, b"x");
    assert!(rig.folder.wait_held());
    assert_eq!(rig.get(A, key(1, "b")).unwrap(), None);
    assert_eq!(rig.keys(A), [key(0, "a")]);
    assert!(outcome.try_recv().is_err());
    assert_eq!(rig.store.mark(), mark, "the new mark is not on disk yet");
    rig.folder.release();
    outcome.recv().unwrap().unwrap();
    rig.holds(A, key(1, "b"), b"x");
    assert!(rig.store.mark() > mark);
}

#[test]
fn the_mark_is_not_reported_before_it_is_on_disk() {
    let rig = Rig::new(Durability::Fsync);
    rig.folder.hold(Call::Sync, "CLOCK");
    let (done, outcome) = super::rig::listen();
    rig.store.advance_mark(done);
    assert!(rig.folder.wait_held());
    assert!(rig.store.mark() < rig.clock.now());
    rig.folder.release();
    outcome.recv().unwrap().unwrap();
    assert!(rig.store.mark() > rig.clock.now());
}

/// Readers never wait for the writer.
#[test]
fn reads_go_on_while_the_disk_syncs() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.folder.hold(Call::Sync, "");
    let outcome = rig.append(A, key(1, "b"), PLAIN, b"y");
    assert!(rig.folder.wait_held());
    rig.holds(A, key(0, "a"), b"x");
    assert_eq!(rig.keys(A).len(), 1);
    assert_eq!(rig.get(A, key(9, "c")).unwrap(), None);
    assert!(rig.store.status().failed.is_none());
    rig.folder.release();
    outcome.recv().unwrap().unwrap();
}

/// What waits while a batch is synced goes together in the next one.
#[test]
fn a_batch_costs_one_sync() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.folder.hold(Call::Sync, "log");
    let first = rig.append(A, key(1, "a"), PLAIN, b"holds the writer");
    assert!(rig.folder.wait_held());
    let rest: Vec<_> = (2..100)
        .map(|number| rig.append(A, key(number, "a"), PLAIN, b"x"))
        .collect();
    let (syncs, writes) = (Call::Sync, Call::Write);
    let before = [syncs, writes].map(|call| rig.folder.calls(call, "log"));
    rig.folder.release();
    first.recv().unwrap().unwrap();
    for outcome in rest {
        outcome.recv().unwrap().unwrap();
    }
    let after = [syncs, writes].map(|call| rig.folder.calls(call, "log"));
    assert_eq!(after, before.map(|count| count + 1));
}

/// A copy of an item that is stored again under its key: a reader finds the one or the other, and
/// at no moment none.
#[test]
fn an_item_that_is_stored_again_is_never_absent() {
    let rig = Arc::new(Rig::new(Durability::Replicated));
    rig.put(A, key(0, "a"), b"x").unwrap();
    let (stop, ready) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(2)));
    let reader = {
        let (rig, stop, ready) = (rig.clone(), stop.clone(), ready.clone());
        std::thread::spawn(move || {
            ready.wait();
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..500 {
                    assert!(rig.find(A, key(0, "a")).unwrap().is_some());
                }
                assert_eq!(rig.keys(A).len(), 1);
            }
        })
    };
    ready.wait();
    for _ in 0..40 {
        let outcomes: Vec<_> = (0..200)
            .map(|_| rig.append(A, key(0, "a"), PLAIN, b"x"))
            .collect();
        for outcome in outcomes {
            outcome.recv().unwrap().unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    reader.join().unwrap();
}

/// A sealed segment of one item, not open.
fn sealed() -> Rig {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.pass(2 * MINUTE);
    rig
}

/// A reader that has seen a segment opens its files just when it expires.
#[test]
fn a_segment_that_expires_under_a_reader_is_empty_and_no_error() {
    for ending in ["log", "idx"] {
        let rig = Arc::new(sealed());
        rig.folder.hold(Call::Open, ending);
        let reader = {
            let rig = Arc::clone(&rig);
            std::thread::spawn(move || (rig.find(A, key(0, "a")), rig.keys(A)))
        };
        assert!(rig.folder.wait_held());
        rig.script.set(A, Keeps::Nothing);
        // Housekeeping opens the index too: only the reader is to be held.
        rig.folder.hold_no_more();
        rig.store.expire();
        rig.folder.release();
        let (found, keys) = reader.join().unwrap();
        assert!(matches!(found, Ok(None)), "{found:?} at {ending}");
        assert!(keys.is_empty());
    }
}

/// An item that expires between its look-up and its reading is neither damaged nor there.
#[test]
fn an_entry_that_does_not_stand_any_more_is_said_to_be_gone() {
    let rig = sealed();
    let sealed_entry = rig.find(A, key(0, "a")).unwrap().unwrap();
    rig.script.set(A, Keeps::Nothing);
    assert_eq!(rig.store.expire(), 1);
    let read = |entry| rig.store.read(&entry, ReadMode::Blocking);
    assert!(matches!(read(sealed_entry), Err(ReadError::Gone { .. })));
    rig.put(A, key(4 * MINUTE, "b"), b"y").unwrap();
    let entry = rig.find(A, key(4 * MINUTE, "b")).unwrap().unwrap();
    rig.remove(A, key(4 * MINUTE, "b")).unwrap();
    assert!(matches!(read(entry), Err(ReadError::Gone { .. })));
}

/// While the last segment of a minute is removed, the minute gets a new one: its items stay found.
#[test]
fn a_late_item_of_a_minute_that_expires_is_found() {
    for round in 0..30 {
        let rig = Arc::new(sealed());
        rig.script.set(A, Keeps::Nothing);
        let ready = Arc::new(Barrier::new(2));
        let keeper = {
            let (rig, ready) = (rig.clone(), ready.clone());
            std::thread::spawn(move || {
                ready.wait();
                rig.store.expire()
            })
        };
        ready.wait();
        rig.put(B, key(5, "late"), b"z").unwrap();
        assert_eq!(keeper.join().unwrap(), 1);
        rig.holds(B, key(5, "late"), b"z");
        assert_eq!(rig.keys(B), [key(5, "late")], "round {round}");
    }
}

/// The same with the worst of timings: the new segment is made while the old one is looked at.
#[test]
fn a_late_item_that_comes_while_the_last_segment_is_looked_at_is_found() {
    let rig = Arc::new(sealed());
    rig.script.set(A, Keeps::Nothing);
    rig.folder.hold(Call::Remove, "idx");
    let keeper = {
        let rig = Arc::clone(&rig);
        std::thread::spawn(move || rig.store.expire())
    };
    assert!(rig.folder.wait_held());
    rig.put(B, key(5, "late"), b"z").unwrap();
    rig.holds(B, key(5, "late"), b"z");
    rig.folder.release();
    assert_eq!(keeper.join().unwrap(), 1);
    rig.holds(B, key(5, "late"), b"z");
    let rig = rig.again(rig.folder.crash(Crash::PowerLoss, 1), 2);
    rig.holds(B, key(5, "late"), b"z");
}

/// Open files are remembered by more than their name: a reader that held on to a segment which
/// expired must not leave its files to the next one of that name.
#[test]
fn a_later_segment_of_the_same_name_is_not_read_from_the_old_files() {
    let rig = Arc::new(sealed());
    rig.folder.hold(Call::Read, "idx");
    let reader = {
        let rig = Arc::clone(&rig);
        std::thread::spawn(move || rig.find(A, key(0, "a")))
    };
    assert!(rig.folder.wait_held());
    // The reader has opened the files, and goes on when the segment is gone.
    rig.script.set(A, Keeps::Nothing);
    rig.folder.hold_no_more();
    assert_eq!(rig.store.expire(), 1);
    rig.folder.release();
    reader.join().unwrap().unwrap();
    rig.script.set(A, Keeps::All);
    rig.put(A, key(3, "new"), b"other").unwrap();
    rig.pass(4 * MINUTE);
    assert_eq!(rig.store.status().active, 0);
    rig.holds(A, key(3, "new"), b"other");
    assert_eq!(rig.keys(A), [key(3, "new")]);
}

#[test]
fn what_is_not_in_memory_is_said_where_nobody_may_wait() {
    let rig = sealed();
    let find = |mode| rig.store.find(A, &key(0, "a"), mode);
    assert!(
        matches!(find(ReadMode::Cached), Err(ReadError::NotCached)),
        "not open"
    );
    let entry = find(ReadMode::Blocking).unwrap().unwrap();
    assert_eq!(find(ReadMode::Cached).unwrap(), Some(entry));
    assert!(rig.store.read(&entry, ReadMode::Cached).is_ok());
    rig.folder.set_cold(true);
    assert!(
        matches!(find(ReadMode::Cached), Err(ReadError::NotCached)),
        "not in the cache"
    );
    let read = rig.store.read(&entry, ReadMode::Cached);
    assert!(matches!(read, Err(ReadError::NotCached)));
    assert_eq!(find(ReadMode::Blocking).unwrap(), Some(entry));
    // What is certainly absent needs no disk.
    let absent = rig.store.find(B, &key(0, "a"), ReadMode::Cached);
    assert_eq!(absent.unwrap(), None);
}
