//! Bytes that rot: every byte of a small store, one at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::rig::{A, B, KEYED, MINUTE, PENDING, PLAIN, Rig, key};
use crate::item::ItemKey;
use crate::spoke::files::sim::{Crash, SimFolder};
use crate::spoke::{ChannelId, Direction, Durability, ReadError, SpokeStore};

/// The frame of a record.
const FRAME: usize = 32;

struct Known {
    channel: ChannelId,
    key: ItemKey,
    payload: Vec<u8>,
    log: String,
    /// Where its record stands.
    from: usize,
    to: usize,
}

/// Two minutes of a store: the first sealed, the second not.
struct Base {
    rig: Rig,
    sealed: String,
    unsealed: String,
    items: Vec<Known>,
    /// An item of the sealed segment that was removed, and where the word of it stands.
    removed: ItemKey,
}

fn base() -> Base {
    let rig = Rig::new(Durability::Fsync);
    let mut items = Vec::new();
    for minute in 0..2 {
        let flags = [PLAIN, PENDING, KEYED];
        for (number, flags) in flags.into_iter().cycle().take(5).enumerate() {
            let channel = if number == 3 { B } else { A };
            let key = key(minute * MINUTE + number as i64, "0000aX");
            let payload = format!("minute {minute}, number {number}").into_bytes();
            rig.append(channel, key, flags, &payload)
                .recv()
                .unwrap()
                .unwrap();
            items.push((channel, key, payload));
        }
        if minute == 0 {
            let removed = key(7, "gone");
            rig.put(A, removed, b"short-lived").unwrap();
            rig.remove(A, removed).unwrap();
            rig.pass(MINUTE + 3000);
        }
    }
    let [unsealed, sealed] = [1, 0].map(|at| rig.folder.names("log").remove(at));
    assert_eq!(rig.folder.names("idx"), [sealed.replace("log", "idx")]);
    let items = items.into_iter().map(|(channel, key, payload)| {
        let entry = rig.find(channel, key).unwrap().unwrap();
        let first_minute = key < super::rig::key(MINUTE, "0");
        Known {
            channel,
            key,
            payload,
            log: if first_minute { &sealed } else { &unsealed }.clone(),
            from: entry.offset as usize,
            to: entry.offset as usize + FRAME + entry.body_len as usize,
        }
    });
    Base {
        items: items.collect(),
        removed: key(7, "gone"),
        sealed,
        unsealed,
        rig,
    }
}

impl Base {
    /// The folder with one byte changed.
    fn flipped(&self, name: &str, at: usize) -> Arc<SimFolder> {
        let folder = self.rig.folder.crash(Crash::Kill, 0);
        let mut bytes = folder.bytes(name);
        bytes[at] ^= 1 << (at % 8);
        folder.put(name, bytes);
        folder
    }

    fn open(&self, folder: Arc<SimFolder>) -> Rig {
        self.rig.again(folder, 1)
    }

    /// Nothing is there that was not written, and nothing is said not to be there that was, but
    /// for `may_be_cut`. Gives what could not be told.
    fn check(&self, rig: &Rig, may_be_cut: &dyn Fn(&Known) -> bool, what: &str) -> Vec<&Known> {
        let mut unsaid = Vec::new();
        for item in &self.items {
            match rig.get(item.channel, item.key) {
                Ok(Some(found)) => assert_eq!(found, item.payload, "{:?}: {what}", item.key),
                Ok(None) => assert!(may_be_cut(item), "{:?} is denied: {what}", item.key),
                Err(ReadError::Damaged { .. } | ReadError::Incomplete { .. }) => unsaid.push(item),
                Err(error) => panic!("{error}: {what}"),
            }
        }
        for (channel, direction) in [(A, Direction::Ascending), (B, Direction::Descending)] {
            let Ok(entries) = rig.all(channel, direction) else {
                assert!(
                    !unsaid.is_empty() || rig.store.status().damaged > 0,
                    "{what}"
                );
                continue;
            };
            let found: BTreeSet<ItemKey> = entries.iter().map(|entry| entry.key).collect();
            let own = self.items.iter().filter(|item| item.channel == channel);
            for item in own.filter(|item| !may_be_cut(item)) {
                assert!(
                    found.contains(&item.key),
                    "{:?} is left out: {what}",
                    item.key
                );
            }
        }
        unsaid
    }
}

/// No item may be missing.
fn never(_: &Known) -> bool {
    false
}

#[test]
fn a_byte_of_a_sealed_log_costs_the_item_it_is_in_and_nothing_else() {
    let base = base();
    let log = base.rig.folder.bytes(&base.sealed);
    for at in 0..log.len() {
        let rig = base.open(base.flipped(&base.sealed, at));
        let what = format!("byte {at} of the sealed log");
        let hit = |item: &&Known| item.log == base.sealed && (item.from..item.to).contains(&at);
        let unsaid: Vec<ItemKey> = base
            .check(&rig, &never, &what)
            .iter()
            .map(|i| i.key)
            .collect();
        let touched: Vec<ItemKey> = base.items.iter().filter(hit).map(|i| i.key).collect();
        assert_eq!(unsaid, touched, "{what}");
        assert_eq!(rig.get(A, base.removed).unwrap(), None, "{what}");
    }
}

#[test]
fn a_byte_of_a_sealed_log_without_its_index_is_found_to_be_damage() {
    let base = base();
    let index = base.sealed.replace("log", "idx");
    let log = base.rig.folder.bytes(&base.sealed);
    for at in 0..log.len() {
        let folder = base.flipped(&base.sealed, at);
        crate::spoke::Files::remove(&*folder, &index).unwrap();
        let rig = base.open(folder);
        let what = format!("byte {at} of the sealed log, without index");
        let last = log.len() - (FRAME + 21);
        // Where the header rots, and where the seal does, no item is hit.
        let is_record = (96..last).contains(&at);
        base.check(&rig, &never, &what);
        assert_eq!(rig.store.status().damaged > 0, is_record, "{what}");
        assert_eq!(
            rig.folder.names("damage").len(),
            usize::from(is_record),
            "{what}"
        );
        let hit = |item: &&Known| item.log == base.sealed && (item.from..item.to).contains(&at);
        for item in base.items.iter().filter(hit) {
            let lost = rig.get(item.channel, item.key);
            assert!(matches!(lost, Err(ReadError::Incomplete { .. })), "{what}");
        }
    }
}

#[test]
fn a_byte_of_an_unsealed_log_is_damage_where_a_later_batch_says_it_was_synced() {
    let base = base();
    let log = base.rig.folder.bytes(&base.unsealed);
    let last = base.items.last().unwrap();
    for at in 0..log.len() {
        let rig = base.open(base.flipped(&base.unsealed, at));
        let what = format!("byte {at} of the unsealed log");
        // The last batch could as well have been cut off: no later one says that it was synced.
        let may_be_cut = |item: &Known| item.key == last.key && (last.from..last.to).contains(&at);
        base.check(&rig, &may_be_cut, &what);
        let hit = |item: &&Known| item.log == base.unsealed && (item.from..item.to).contains(&at);
        let hit = base
            .items
            .iter()
            .find(hit)
            .filter(|item| item.key != last.key);
        assert_eq!(
            rig.folder.names("damage").is_empty(),
            rig.store.status().damaged == 0
        );
        if let Some(hit) = hit {
            let lost = |rig: &Rig| {
                let found = rig.get(hit.channel, hit.key);
                assert!(matches!(found, Err(ReadError::Incomplete { .. })), "{what}");
                assert!(!rig.store.status().intact);
            };
            lost(&rig);
            // It is known from then on, whatever the next runs read.
            let rig = rig.kill();
            lost(&rig);
            let rig = rig.restart();
            lost(&rig);
            base.check(&rig, &never, &what);
            let [note] = &rig.folder.names("damage")[..] else {
                panic!("one note was expected: {what}");
            };
            // Whoever deletes the note accepts the loss.
            let folder = rig.folder.crash(Crash::Kill, 0);
            crate::spoke::Files::remove(&*folder, note).unwrap();
            let rig = rig.again(folder, 1);
            assert_eq!(rig.get(hit.channel, hit.key).unwrap(), None, "{what}");
            assert_eq!(rig.store.status().damaged, 0);
        }
    }
}

#[test]
fn damage_whose_frame_is_whole_concerns_its_own_channel_alone() {
    let base = base();
    let of_b = base
        .items
        .iter()
        .find(|item| item.channel == B && item.log == base.unsealed);
    let of_b = of_b.unwrap();
    let rig = base.open(base.flipped(&base.unsealed, of_b.to - 1));
    let absent = key(MINUTE + 50, "absent");
    assert!(matches!(
        rig.get(B, absent),
        Err(ReadError::Incomplete { .. })
    ));
    assert_eq!(rig.get(A, absent).unwrap(), None);
    assert!(rig.all(A, Direction::Ascending).is_ok());
    let rig = base.open(base.flipped(&base.unsealed, of_b.from));
    assert!(matches!(
        rig.get(A, absent),
        Err(ReadError::Incomplete { .. })
    ));
    // Another minute is another matter.
    assert_eq!(rig.get(A, key(50, "absent")).unwrap(), None);
}

#[test]
fn a_byte_of_an_index_costs_nothing_for_long() {
    let base = base();
    let name = base.sealed.replace("log", "idx");
    let index = base.rig.folder.bytes(&name);
    for at in 0..index.len() {
        let rig = base.open(base.flipped(&name, at));
        let what = format!("byte {at} of the index");
        base.check(&rig, &never, &what);
        rig.settle();
        let unsaid = base.check(&rig, &never, &what);
        assert!(unsaid.is_empty(), "the index was not made again: {what}");
        assert_eq!(rig.folder.bytes(&name), index, "{what}");
        assert_eq!(rig.get(A, base.removed).unwrap(), None, "{what}");
        assert_eq!(rig.store.status().damaged, 0, "{what}");
    }
}

/// A payload that holds, byte for byte, the log it is written to and that of another segment.
#[test]
fn a_payload_that_looks_like_records_brings_none_of_them_back() {
    let rig = Rig::new(Durability::Fsync);
    let ghost = key(1, "ghost");
    rig.put(A, ghost, b"it was removed").unwrap();
    // One that was undecided when the copy was taken, and is not any more.
    let decided = key(1, "decided");
    rig.append(A, decided, PENDING, b"x")
        .recv()
        .unwrap()
        .unwrap();
    let logs = rig.folder.names("log");
    let mut payload = rig.folder.bytes(&logs[0]);
    rig.append(A, decided, PLAIN, b"x").recv().unwrap().unwrap();
    rig.remove(A, ghost).unwrap();
    rig.put(B, key(MINUTE, "other"), b"another minute").unwrap();
    let logs = rig.folder.names("log");
    payload.extend(rig.folder.bytes(&logs[1]));
    // Frames at every distance from where they stood, and one that is cut.
    payload.extend_from_slice(&rig.folder.bytes(&logs[0])[96..]);
    payload.extend_from_slice(&rig.folder.bytes(&logs[0])[96..120]);
    let bait = key(2, "bait");
    rig.put(A, bait, &payload).unwrap();
    rig.put(A, key(3, "next"), b"after it").unwrap();
    let entry = rig.find(A, bait).unwrap().unwrap();
    let record = entry.offset as usize..entry.offset as usize + FRAME + entry.body_len as usize;
    for at in record.step_by(3) {
        let folder = rig.folder.crash(Crash::Kill, 0);
        let mut bytes = folder.bytes(&logs[0]);
        bytes[at] ^= 0x10;
        folder.put(&logs[0], bytes);
        let next = rig.again(folder, 1);
        next.holds(A, key(3, "next"), b"after it");
        let entry = next.find(A, decided).unwrap().unwrap();
        assert!(!entry.flags.pending, "an old record stands again");
        for absent in [ghost, bait, key(MINUTE, "other")] {
            let found = next.find(A, absent).ok().flatten();
            assert!(found.is_none(), "{absent:?} with byte {at} changed");
        }
        assert!(next.get(A, bait).is_err(), "byte {at}");
    }
}
