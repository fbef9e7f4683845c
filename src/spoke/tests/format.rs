//! The bytes of the files that are not logs, pinned as `docs/spoke-format.md` draws them.

use super::rig::{A, B, Rig, START, STORE, key};
use crate::env::Millis;
use crate::spoke::files::sim::{Crash, SimFolder};
use crate::spoke::header::salt;
use crate::spoke::index::{Entry, write_index};
use crate::spoke::{ChannelId, Durability, ItemFlags, SegmentId, SpokeStore, WriteId};

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Should this test fail, indexes on disk are made again at the next start: no loss, but the number
/// of the format must change with it.
#[test]
fn the_bytes_of_an_index_are_these() {
    let folder = SimFolder::new(1);
    let id = SegmentId {
        bucket: START,
        number: 2,
    };
    let entry = |channel: ChannelId, removed| Entry {
        channel,
        key: key(1, "000aXb"),
        offset: 0x0102,
        body_len: 0x0304,
        flags: ItemFlags {
            pending: true,
            keyed: false,
        },
        removed,
        write_id: WriteId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
    };
    let entries = [entry(A, false), entry(B, true)];
    let salt = salt(STORE, id);
    write_index(&*folder, id, salt, 5000, START, 9, entries.into_iter()).unwrap();
    let bytes = folder.bytes(&id.index_name());
    let key = "0e800001a200c63741303030615862";
    let [a, b] = ["0b00000000000000", "0c00000000000000"];
    let place = "020100000000000004030000";
    let write = "100f0e0d0c0b0a090807060504030201";
    let expected = [
        // The one block, and its checksum.
        &[a, key, place, "01", write].concat(),
        &[b, key, place, "81", write].concat(),
        "771e59f6647d3c9a",
        // The one fence.
        &[a, key, "0000000000000000", "68000000"].concat(),
        // The two channels.
        &[a, "0100000000000000", "0403000000000000", key, key].concat(),
        &[b, "0100000000000000", "0403000000000000", key, key].concat(),
        // The footer.
        "485542494e444558",
        "02000000",
        "01000000",
        "7000000000000000",
        "8f00000000000000",
        "2300000000000000",
        "0200000000000000",
        "1c408ac90c5f70fc",
        "8813000000000000",
        "0200000000000000",
        "0100000000000000",
        "0200000000000000",
        "4037c600a2010000",
        "0900000000000000",
        "30a76558fdd5fbbc",
    ];
    assert_eq!(hex(&bytes), expected.concat());
}

#[test]
fn the_bytes_of_a_clock_mark_are_these() {
    let rig = Rig::new(Durability::Fsync);
    rig.advance_mark().unwrap();
    let clock = rig.folder.bytes("CLOCK");
    let mark = START.plus(1000).get().to_le_bytes();
    let expected = [
        "0200000000000000",
        &hex(&mark),
        "00",
        "02",
        "0028d3ed7cc7ffff",
        "7c48c96f1ce20872",
        &"00".repeat(478),
    ];
    assert_eq!(hex(&clock[512..]), expected.concat());
    // The other slot is as the start left it: of the place before, and without a time.
    assert_eq!((clock[0], clock[16]), (1, 0));
    assert_eq!(clock[8..16], Millis::MIN.get().to_le_bytes());
    rig.store.close(rig.clock.now());
    let clock = rig.folder.bytes("CLOCK");
    assert_eq!((clock[0], clock[16]), (3, 1), "clean");
    // The next run writes both: it is not clean any more.
    let next = rig.again(rig.folder.crash(Crash::Kill, 0), 1);
    let clock = next.folder.bytes("CLOCK");
    assert_eq!((clock[16], clock[512 + 16]), (0, 0));
    assert_eq!(clock[..512], clock[512..]);
}
