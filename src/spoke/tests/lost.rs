//! Files that are not there, or not what they should be, when a store opens.

use super::rig::{A, MINUTE, Rig, STORE, key, options};
use crate::spoke::files::sim::{Call, Crash, SimFolder, Trouble};
use crate::spoke::{Durability, Files as _, LogStore, OpenError, SpokeStore, StoreId};

#[test]
fn drafts_and_strangers_in_the_folder_are_no_segments() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    let folder = rig.folder.crash(Crash::Kill, 0);
    for name in [
        "20261122T010200Z-0.idx.tmp",
        "README",
        "x.log",
        "20261122T010200Z-00.log",
        "20269922T010200Z-0.log",
        ".damage",
        "-0.log",
    ] {
        folder.put(name, b"not the hub's".to_vec());
    }
    let rig = rig.again(folder, 1);
    rig.holds(A, key(0, "a"), b"x");
    assert!(rig.store.status().intact);
    assert!(rig.folder.names("tmp").is_empty());
    assert_eq!(rig.folder.bytes("x.log"), b"not the hub's");
}

#[test]
fn another_nodes_folder_is_refused_and_left_as_it_is() {
    for closed in [false, true] {
        let rig = Rig::new(Durability::Fsync);
        rig.put(A, key(0, "a"), b"x").unwrap();
        if closed {
            // Then it has an index, which a start takes at its word.
            rig.store.close(rig.clock.now());
        }
        strange_options_are_refused(&rig);
    }
}

fn strange_options_are_refused(rig: &Rig) {
    let folder = rig.folder.crash(Crash::Kill, 0);
    let name = folder.names("log").remove(0);
    let log = folder.bytes(&name);
    let open = |id, bucket_millis| {
        let mut options = options(Durability::Fsync);
        options.bucket_millis = bucket_millis;
        let (folder, clock) = (folder.clone(), rig.clock.clone());
        LogStore::open(folder, options, id, 1, clock, rig.script.clone()).map(drop)
    };
    let foreign = open(StoreId(9), MINUTE);
    assert!(matches!(foreign, Err(OpenError::Foreign { found, .. }) if found == STORE.0));
    let width = open(STORE, 2 * MINUTE);
    assert!(matches!(
        width,
        Err(OpenError::Width {
            found: 60,
            configured: 120,
            ..
        })
    ));
    assert_eq!(folder.bytes(&name), log);
    open(STORE, MINUTE).unwrap();
}

/// Its index says all that a start needs.
#[test]
fn a_header_that_cannot_be_read_keeps_nobody_from_starting() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.store.close(rig.clock.now());
    let folder = rig.folder.crash(Crash::Kill, 0);
    folder.fail(Call::Read, ".log", 0, Trouble::Error);
    let rig = rig.again(folder, 1);
    rig.holds(A, key(0, "a"), b"x");
}

/// It may have held promises that no log does, and doubt.
#[test]
fn a_lost_clock_file_is_doubt_where_there_are_items() {
    let new = Rig::new(Durability::Fsync);
    assert!(new.store.status().intact);
    for noise in [None, Some(vec![0xa5; 1024])] {
        let rig = Rig::new(Durability::Fsync);
        rig.put(A, key(0, "a"), b"x").unwrap();
        let folder = rig.folder.crash(Crash::Kill, 0);
        match noise {
            None => folder.remove("CLOCK").unwrap(),
            Some(noise) => folder.put("CLOCK", noise),
        }
        let rig = rig.again(folder, 1);
        rig.holds(A, key(0, "a"), b"x");
        assert!(!rig.store.status().intact);
        assert!(!rig.restart().store.status().intact, "and it lasts");
    }
}

#[test]
fn a_mark_is_moved_before_the_clock_gets_to_it() {
    let rig = Rig::new(Durability::Fsync);
    rig.advance_mark().unwrap();
    let first = rig.store.mark();
    rig.advance_mark().unwrap();
    assert_eq!(rig.store.mark(), first, "it is far ahead");
    rig.source.advance(700);
    rig.advance_mark().unwrap();
    assert!(rig.store.mark() > first);
}

#[test]
fn a_later_format_is_refused() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    let folder = rig.folder.crash(Crash::Kill, 0);
    let name = folder.names("log").remove(0);
    let mut log = folder.bytes(&name);
    let header = crate::spoke::header::SegmentHeader::decode(&log).unwrap();
    let later = crate::spoke::header::SegmentHeader {
        format: header.format + 1,
        ..header
    };
    log[..96].copy_from_slice(&later.encode());
    folder.put(&name, log);
    let refused = rig.try_again(folder, 1);
    assert!(matches!(refused, Err(OpenError::Format { found: 2, .. })));
}

#[test]
fn a_store_without_a_clock_file_opens() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    let mark = rig.store.mark();
    for content in [None, Some(vec![]), Some(vec![0; 100]), Some(vec![7; 1024])] {
        let folder = rig.folder.crash(Crash::Kill, 0);
        folder.remove("CLOCK").unwrap();
        if let Some(content) = content {
            folder.put("CLOCK", content);
        }
        let next = rig.again(folder, 1);
        next.holds(A, key(0, "a"), b"x");
        assert!(next.store.mark() >= mark);
        next.advance_mark().unwrap();
        assert!(next.kill().store.mark() >= mark);
    }
}

#[test]
fn an_index_that_is_gone_is_made_again() {
    let rig = Rig::new(Durability::Fsync);
    for number in 0..300 {
        rig.put(A, key(number, "a"), &number.to_le_bytes()).unwrap();
    }
    rig.pass(2 * MINUTE);
    let index = rig.folder.names("idx").remove(0);
    let bytes = rig.folder.bytes(&index);
    // While the store is open, and not in use.
    let rig = rig.again(rig.folder.crash(Crash::Kill, 0), 1);
    rig.folder.remove(&index).unwrap();
    assert!(rig.get(A, key(7, "a")).is_err());
    rig.settle();
    rig.holds(A, key(7, "a"), &7i64.to_le_bytes());
    assert_eq!(rig.folder.bytes(&index), bytes);
    // And while it is not.
    let folder = rig.folder.crash(Crash::Kill, 0);
    folder.remove(&index).unwrap();
    let rig = rig.again(folder, 1);
    assert_eq!(rig.keys(A).len(), 300);
    assert_eq!(rig.folder.bytes(&index), bytes);
}

#[test]
fn a_new_folder_is_empty_and_intact() {
    let rig = Rig::new(Durability::Fsync);
    let status = rig.store.status();
    assert_eq!((status.items, status.segments, status.intact), (0, 0, true));
    assert_eq!(rig.folder.names(""), ["CLOCK"]);
    // Cut off while it is made.
    for nth in 1..=SimFolder::new(0).changes() + 4 {
        let folder = SimFolder::new(1);
        folder.stop_at(nth);
        let stopped = rig.try_again(folder.clone(), 1);
        for crash in [Crash::Kill, Crash::PowerLoss] {
            let next = rig.again(folder.crash(crash, nth), 1);
            next.put(A, key(0, "a"), b"x").unwrap();
        }
        drop(stopped);
    }
}
