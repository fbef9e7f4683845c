//! A kill at every byte: the log ends anywhere inside its last records.

use std::sync::Arc;

use super::rig::{A, B, KEYED, PENDING, PLAIN, Rig, key};
use crate::item::ItemKey;
use crate::spoke::files::sim::{Call, Crash, SimFolder};
use crate::spoke::{ChannelId, Durability, SpokeStore};

struct Written {
    channel: ChannelId,
    key: ItemKey,
    payload: Vec<u8>,
    /// Where its record ends in the log.
    end: usize,
}

/// Some batches of one record, and one of several.
fn write(rig: &Rig) -> Vec<Written> {
    let mut items = Vec::new();
    let mut put = |number: i64, wait: bool| {
        let channel = if number % 3 == 2 { B } else { A };
        let flags = [PLAIN, PENDING, KEYED][(number % 3) as usize];
        let payload = vec![b'0' + number as u8; (number * 7) as usize];
        let key = key(number, "0000aX");
        let outcome = rig.append(channel, key, flags, &payload);
        if wait {
            outcome.recv().unwrap().unwrap();
        }
        items.push(Written {
            channel,
            key,
            payload,
            end: 0,
        });
        outcome
    };
    for number in 0..4 {
        put(number, true);
    }
    // While the sync of the first one is held, the others gather for the next batch.
    rig.folder.hold(Call::Write, "log");
    let first = put(4, false);
    assert!(rig.folder.wait_held());
    let rest = [put(5, false), put(6, false), put(7, false)];
    rig.folder.release();
    for outcome in [first].iter().chain(&rest) {
        outcome.recv().unwrap().unwrap();
    }
    for item in &mut items {
        let entry = rig.find(item.channel, item.key).unwrap().unwrap();
        item.end = (entry.offset + 32) as usize + entry.body_len as usize;
    }
    items
}

#[test]
fn a_log_cut_at_any_byte_keeps_every_whole_record_and_no_torn_one() {
    for durability in [Durability::Fsync, Durability::Replicated] {
        let rig = Rig::new(durability);
        let items = write(&rig);
        let [name] = &rig.folder.names("log")[..] else {
            panic!("one segment was expected");
        };
        let log = rig.folder.bytes(name);
        for length in items[1].end..=log.len() {
            let folder = rig.folder.crash(Crash::Kill, 0);
            folder.put(name, log[..length].to_vec());
            check(&rig, folder, &items, length);
        }
    }
}

fn check(rig: &Rig, folder: Arc<SimFolder>, items: &[Written], length: usize) {
    let next = rig.again(folder, rig.boot);
    let expect = |rig: &Rig| {
        for item in items {
            let found = rig.get(item.channel, item.key).unwrap();
            let expected = (item.end <= length).then_some(&item.payload[..]);
            assert_eq!(found.as_deref(), expected, "{:?} at {length}", item.key);
        }
        let status = rig.store.status();
        assert_eq!((status.damaged, status.intact), (0, true), "at {length}");
    };
    expect(&next);
    let later = key(100, "later");
    next.put(A, later, b"more").unwrap();
    expect(&next);
    let next = next.kill();
    expect(&next);
    next.holds(A, later, b"more");
}

#[test]
fn a_log_cut_inside_its_header_never_held_anything() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    let name = &rig.folder.names("log")[0];
    let log = rig.folder.bytes(name);
    for length in 0..=96 {
        let folder = rig.folder.crash(Crash::Kill, 0);
        folder.put(name, log[..length].to_vec());
        let next = rig.again(folder, 1);
        assert_eq!(next.get(A, key(0, "a")).unwrap(), None);
        assert!(next.store.status().intact);
        next.put(A, key(0, "b"), b"y").unwrap();
        next.kill().holds(A, key(0, "b"), b"y");
    }
}
