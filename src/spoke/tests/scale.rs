//! What must not grow with the number of segments, items or records.

use super::rig::{A, B, MINUTE, PLAIN, Rig, STORE, everything, key, options};
use crate::env::ManualClock;
use crate::item::ItemKey;
use crate::spoke::files::sim::{Call, Crash, SimFolder};
use crate::spoke::index::{Entry, write_index};
use crate::spoke::{
    ChannelId, Direction, Durability, Files as _, ItemFlags, Range, ReadMode, SegmentId,
    SpokeStore, WriteId,
};

fn opens(folder: &SimFolder) -> u64 {
    folder.calls(Call::Open, "idx") + folder.calls(Call::Open, "log")
}

/// B has items in every minute, A in three of them.
#[test]
fn segments_without_items_of_a_channel_are_not_opened_for_it() {
    const SEGMENTS: i64 = 2000;
    let rig = Rig::new(Durability::Replicated);
    let of_a = [3, 1000, 1990];
    for minute in 0..SEGMENTS {
        let mut outcomes = vec![rig.append(B, key(minute * MINUTE, "b"), PLAIN, b"y")];
        if of_a.contains(&minute) {
            outcomes.push(rig.append(A, key(minute * MINUTE, "a"), PLAIN, b"x"));
        }
        for outcome in outcomes {
            outcome.recv().unwrap().unwrap();
        }
        rig.source.advance(MINUTE);
    }
    rig.pass(MINUTE);
    let rig = rig.restart();
    let status = rig.store.status();
    assert_eq!((status.segments, status.active), (2000, 0));
    let before = opens(&rig.folder);
    for minute in of_a {
        rig.holds(A, key(minute * MINUTE, "a"), b"x");
    }
    for direction in [Direction::Ascending, Direction::Descending] {
        assert_eq!(rig.all(A, direction).unwrap().len(), 3);
    }
    assert_eq!(rig.get(A, key(500 * MINUTE, "a")).unwrap(), None);
    let opened = opens(&rig.folder) - before;
    assert!(opened <= 6, "{opened} files were opened");
    // The newest few of a channel that is everywhere.
    let before = opens(&rig.folder);
    let newest = Range {
        limit: 5,
        ..everything(B, Direction::Descending)
    };
    assert_eq!(
        rig.store.range(&newest, ReadMode::Blocking).unwrap().len(),
        5
    );
    let opened = opens(&rig.folder) - before;
    assert!(opened <= 10, "{opened} files were opened");
}

#[test]
fn a_limited_range_reads_a_few_blocks_of_a_big_index() {
    let folder = SimFolder::new(1);
    let source = ManualClock::new(super::rig::START);
    let id = SegmentId {
        bucket: super::rig::START,
        number: 0,
    };
    let salt = crate::spoke::header::salt(STORE, id);
    let entry = |number: u64| Entry {
        channel: A,
        key: key((number / 4) as i64, &format!("{number:06}")),
        offset: 96 + number,
        body_len: 100,
        flags: ItemFlags::default(),
        removed: false,
        write_id: WriteId(number.into()),
    };
    let entries = (0..100_000).map(entry);
    let mark = super::rig::START;
    write_index(&*folder, id, salt, 96, mark, 1, entries).unwrap();
    let header = crate::spoke::header::SegmentHeader {
        format: 1,
        store: STORE,
        id,
        width: MINUTE,
        boot: 1,
        synced: true,
    };
    folder.put(&id.log_name(), header.encode());
    let rig = Rig::on(
        folder,
        source,
        options(Durability::Fsync),
        1,
        std::sync::Arc::default(),
    )
    .unwrap();
    let middle = key(12_000, "0");
    // Opens it.
    assert!(rig.find(A, middle).unwrap().is_none());
    for direction in [Direction::Ascending, Direction::Descending] {
        let before = rig.folder.calls(Call::Read, "idx");
        let (from, to) = match direction {
            Direction::Ascending => (middle, ItemKey::first_of(crate::env::Millis::MAX)),
            Direction::Descending => (ItemKey::MIN, middle),
        };
        let range = Range {
            channel: A,
            from,
            to,
            direction,
            limit: 100,
        };
        let found = rig.store.range(&range, ReadMode::Blocking).unwrap();
        assert_eq!(found.len(), 100);
        let read = rig.folder.calls(Call::Read, "idx") - before;
        assert!(read <= 4, "{read} blocks were read");
    }
    let before = rig.folder.calls(Call::Read, "idx");
    assert!(rig.find(A, key(24_999, "099999")).unwrap().is_some());
    assert_eq!(rig.folder.calls(Call::Read, "idx") - before, 1);
}

/// Late items come one by one, for many minutes at a time: they share segments.
#[test]
fn late_items_do_not_cost_a_segment_each() {
    let rig = Rig::new(Durability::Fsync);
    rig.source.advance(60 * MINUTE);
    for number in 0..300 {
        rig.put(A, key((number % 5) * MINUTE + number, "late"), b"x")
            .unwrap();
        rig.source.advance(20);
    }
    assert!(rig.store.status().segments <= 10);
    // Nor do many minutes keep a segment each in memory.
    for minute in 0..200 {
        rig.put(A, key(-minute * MINUTE, "older"), b"x").unwrap();
    }
    rig.store.tidy();
    assert!(rig.store.status().active <= 65, "{:?}", rig.store.status());
    assert_eq!(rig.keys(A).len(), 500);
    rig.pass(10_000);
    assert_eq!(rig.store.status().active, 0);
}

/// A batch that was torn in thousands of places is cut in all of them, and that is remembered.
#[test]
fn a_seal_with_thousands_of_cuts_is_read_again() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"synced").unwrap();
    rig.folder.hold(Call::Sync, "log");
    let first = rig.append(A, key(1, "a"), PLAIN, b"holds the writer");
    assert!(rig.folder.wait_held());
    let burst: Vec<_> = (2..4000)
        .map(|number| rig.append(A, key(number, "a"), PLAIN, b"x"))
        .collect();
    rig.folder.release();
    for outcome in [first].into_iter().chain(burst) {
        outcome.recv().unwrap().unwrap();
    }
    let folder = rig.folder.crash(Crash::Kill, 0);
    let name = folder.names("log").remove(0);
    let mut log = folder.bytes(&name);
    for number in (2..4000).step_by(2) {
        let entry = rig.find(A, key(number, "a")).unwrap().unwrap();
        log[entry.offset as usize + 33] ^= 1;
    }
    folder.put(&name, log);
    let rig = rig.again(folder, 1);
    assert_eq!((rig.keys(A).len(), rig.store.status().damaged), (2001, 0));
    // The index is lost: what was cut is still known as cut, and what was not is not.
    let folder = rig.folder.crash(Crash::Kill, 0);
    folder.remove(&folder.names("idx")[0]).unwrap();
    let rig = rig.again(folder, 1);
    assert_eq!((rig.keys(A).len(), rig.store.status().damaged), (2001, 0));
    assert_eq!(
        rig.folder.calls(Call::Write, "log"),
        0,
        "its seal was not seen"
    );
}

/// A payload of several megabytes is written, found and checked without being held in memory.
#[test]
fn a_large_payload_is_read_part_by_part() {
    let rig = Rig::new(Durability::Fsync);
    let payload: Vec<u8> = (0..3 << 20).map(|at: u32| (at ^ (at >> 9)) as u8).collect();
    rig.put(A, key(0, "big"), &payload).unwrap();
    rig.put(A, key(1, "next"), b"small").unwrap();
    let rig = rig.kill();
    rig.holds(A, key(1, "next"), b"small");
    let entry = rig.find(A, key(0, "big")).unwrap().unwrap();
    let item = rig.store.read(&entry, ReadMode::Blocking).unwrap();
    let crate::spoke::StoredPayload::Large(large) = item.payload else {
        panic!("it was read whole");
    };
    assert_eq!((large.len(), large.is_empty()), (3 << 20, false));
    assert_eq!(
        large.part(1_000_000, 5000).unwrap(),
        payload[1_000_000..1_005_000]
    );
    assert_eq!(large.part((3 << 20) - 3, 100).unwrap().len(), 3);
    assert!(large.part(4 << 20, 1).unwrap().is_empty());
    assert_eq!(large.read_all().unwrap(), payload);
    // Rot anywhere in it, and an end before its end.
    let folder = rig.folder.crash(Crash::Kill, 0);
    let name = folder.names("log").remove(0);
    let log = folder.bytes(&name);
    let at = entry.offset as usize;
    for changed in [at + 3, at + 40, at + 1_500_000, at + (3 << 20)] {
        let mut rotten = log.clone();
        rotten[changed] ^= 1;
        folder.put(&name, rotten);
        let rig = rig.again(folder.crash(Crash::Kill, 0), 1);
        let read = rig.get(A, key(0, "big"));
        assert!(
            matches!(read, Err(crate::spoke::ReadError::Damaged { .. })),
            "{read:?}"
        );
    }
    folder.put(&name, log[..at + 2_000_000].to_vec());
    let read = rig.again(folder, 1).get(A, key(0, "big"));
    assert!(
        matches!(read, Err(crate::spoke::ReadError::Damaged { .. })),
        "{read:?}"
    );
}

#[test]
fn segments_rotate_at_their_limits() {
    for (segment_bytes, segment_items, least) in [(3000, 1000, 6), (1 << 20, 7, 9), (1, 1, 60)] {
        let mut options = options(Durability::Fsync);
        (options.segment_bytes, options.segment_items) = (segment_bytes, segment_items);
        let rig = Rig::with(options);
        rig.folder.hold(Call::Create, "");
        let outcomes: Vec<_> = (0..60)
            .map(|number| {
                rig.append(
                    ChannelId(number % 3),
                    key(number as i64, "a"),
                    PLAIN,
                    &[1; 200],
                )
            })
            .collect();
        rig.folder.release();
        for outcome in outcomes {
            outcome.recv().unwrap().unwrap();
        }
        rig.settle();
        let logs = rig.folder.names("log");
        let longest = logs
            .iter()
            .map(|name| rig.folder.bytes(name).len())
            .max()
            .unwrap();
        assert!(logs.len() >= least, "{} segments", logs.len());
        // One record more than the limit, at the most.
        assert!(longest as u64 <= segment_bytes + 500, "{longest} bytes");
        let rig = rig.kill();
        for number in 0..60 {
            rig.holds(ChannelId(number % 3), key(number as i64, "a"), &[1; 200]);
        }
    }
}
