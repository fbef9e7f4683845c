//! A disk that answers with errors.

use super::rig::{A, B, MINUTE, PLAIN, Rig, key};
use crate::spoke::files::sim::{Call, Crash, Trouble};
use crate::spoke::{AppendError, Durability, SpokeStore};

fn is_failed(outcome: &Result<(), AppendError>) -> bool {
    matches!(outcome, Err(AppendError::Failed { .. }))
}

#[test]
fn after_a_failed_write_nothing_is_taken_and_nothing_is_lost() {
    for durability in [Durability::Fsync, Durability::Replicated] {
        for trouble in [Trouble::Error, Trouble::Short(0), Trouble::Short(130)] {
            let rig = Rig::new(durability);
            rig.put(A, key(0, "a"), b"before").unwrap();
            rig.folder.fail(Call::Write, "log", 0, trouble);
            assert!(is_failed(&rig.put(A, key(1, "b"), &[1; 300])));
            assert!(is_failed(&rig.put(A, key(2, "c"), b"after")));
            assert!(is_failed(&rig.advance_mark()));
            assert!(is_failed(&rig.made_whole()));
            assert!(is_failed(&rig.remove(A, key(0, "a"))));
            rig.holds(A, key(0, "a"), b"before");
            assert_eq!(rig.get(A, key(1, "b")).unwrap(), None);
            let rig = rig.kill();
            rig.holds(A, key(0, "a"), b"before");
            assert_eq!(rig.get(A, key(2, "c")).unwrap(), None);
            assert_eq!(rig.store.status().damaged, 0);
            rig.put(A, key(2, "c"), b"after").unwrap();
        }
    }
}

#[test]
fn a_write_that_cannot_be_undone_is_unknown() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"before").unwrap();
    rig.folder
        .fail(Call::Write, "log", 0, Trouble::NoSpace(200));
    rig.folder.fail(Call::Truncate, "log", 0, Trouble::Error);
    assert!(is_failed(&rig.put(A, key(1, "b"), b"whole, or not")));
    rig.kill().holds(A, key(0, "a"), b"before");
}

/// Every append of a batch is answered, whichever of its segments fails.
#[test]
fn a_failed_write_answers_for_every_segment_of_the_batch() {
    for call in [Call::Create, Call::Write, Call::Sync, Call::SyncFolder] {
        for after in 0..4 {
            let rig = Rig::new(Durability::Fsync);
            rig.put(A, key(0, "a"), b"before").unwrap();
            rig.folder.hold(Call::Sync, "log");
            let first = rig.append(A, key(1, "b"), PLAIN, b"holds the writer");
            assert!(rig.folder.wait_held());
            let rest: Vec<_> = (1..6)
                .map(|minute| rig.append(B, key(minute * MINUTE, "c"), PLAIN, b"waits"))
                .collect();
            rig.folder.fail(call, "", after, Trouble::Error);
            rig.folder.release();
            first.recv().unwrap().ok();
            let answers: Vec<_> = rest.iter().map(|outcome| outcome.recv().unwrap()).collect();
            assert!(answers.iter().any(is_failed), "{call:?} after {after}");
            let rig = rig.kill();
            rig.holds(A, key(0, "a"), b"before");
            for (minute, answer) in (1..6).zip(&answers) {
                if answer.is_ok() {
                    rig.holds(B, key(minute * MINUTE, "c"), b"waits");
                }
            }
        }
    }
}

/// After a sync that failed, reads may still show what never got to the disk: the next run must
/// not take it for stored.
#[test]
fn what_a_failed_sync_lost_is_not_found_in_the_page_cache() {
    for seed in 0..20 {
        // The seed decides what part gets to the disk all the same.
        let rig = Rig::seeded(Durability::Fsync, seed);
        rig.put(A, key(0, "a"), b"before").unwrap();
        rig.folder.fail(Call::Sync, "log", 0, Trouble::Error);
        assert!(is_failed(&rig.put(A, key(1, "b"), &[3; 3000])));
        let rig = rig.kill();
        let found = rig.get(A, key(1, "b")).unwrap();
        // Whatever it said, it must go on saying, power loss or not.
        let rig = rig.crash(Crash::PowerLoss, 5);
        assert_eq!(rig.get(A, key(1, "b")).unwrap(), found, "seed {seed}");
        rig.holds(A, key(0, "a"), b"before");
    }
}

#[test]
fn a_store_that_is_dropped_ends_and_stores_what_was_queued() {
    let rig = Rig::new(Durability::Fsync);
    let outcomes: Vec<_> = (0..50)
        .map(|number| rig.append(A, key(number, "a"), PLAIN, b"queued"))
        .collect();
    let (folder, source, options) = (rig.folder.clone(), rig.source.clone(), rig.options.clone());
    drop(rig);
    for outcome in outcomes {
        outcome.recv().unwrap().unwrap();
    }
    let rig = Rig::on(folder, source, options, 1, std::sync::Arc::default()).unwrap();
    assert_eq!(rig.keys(A).len(), 50);
}

#[test]
fn a_seal_that_fails_fails_the_store() {
    for (call, ending) in [
        (Call::Write, "log"),
        (Call::Sync, "log"),
        (Call::Create, "idx.tmp"),
        (Call::Write, "idx.tmp"),
        (Call::Sync, "idx.tmp"),
        (Call::Rename, "idx.tmp"),
        (Call::SyncFolder, ""),
    ] {
        let rig = Rig::new(Durability::Fsync);
        rig.put(A, key(0, "a"), b"x").unwrap();
        rig.folder.fail(call, ending, 0, Trouble::Error);
        rig.pass(2 * MINUTE);
        assert!(rig.store.failure().is_some(), "{call:?} of {ending}");
        rig.holds(A, key(0, "a"), b"x");
        let rig = rig.kill();
        rig.holds(A, key(0, "a"), b"x");
        assert_eq!(rig.store.status().active, 0);
    }
}

/// A disk that does not answer is neither damage nor an absent item.
#[test]
fn a_read_error_is_said() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.pass(2 * MINUTE);
    for ending in ["log", "idx"] {
        let rig = rig.again(rig.folder.crash(Crash::Kill, 0), 1);
        rig.folder.fail(Call::Read, ending, 0, Trouble::Error);
        let failed = rig.get(A, key(0, "a"));
        assert!(
            matches!(failed, Err(crate::spoke::ReadError::Io { .. })),
            "{ending}"
        );
        rig.holds(A, key(0, "a"), b"x");
    }
}

#[test]
fn a_disk_that_does_not_answer_does_not_open() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    for (call, ending) in [
        (Call::List, ""),
        (Call::Open, "log"),
        (Call::Read, "log"),
        (Call::Read, "CLOCK"),
        (Call::Sync, "log"),
        (Call::Write, "idx.tmp"),
    ] {
        let folder = rig.folder.crash(Crash::Kill, 0);
        folder.fail(call, ending, 0, Trouble::Error);
        assert!(
            rig.try_again(folder.clone(), 1).is_err(),
            "{call:?} of {ending}"
        );
        rig.again(folder, 1).holds(A, key(0, "a"), b"x");
    }
}
