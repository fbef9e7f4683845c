//! The same store on a real folder.

use std::io::IoSlice;
use std::sync::Arc;

use tempfile::TempDir;

use super::rig::{A, B, MINUTE, START, STORE, Script, everything, head, key, listen, options};
use crate::env::{HubClock, ManualClock};
use crate::item::ItemKey;
use crate::spoke::files::{DiskFolder, Files, is_full};
use crate::spoke::{
    Append, ChannelId, Direction, Durability, ItemFlags, LogStore, ReadMode, SpokeStore,
};

fn open(folder: &TempDir, source: &Arc<ManualClock>, durability: Durability) -> LogStore {
    let files = Arc::new(DiskFolder::open(&folder.path().join("a/spoke")).unwrap());
    let clock = Arc::new(HubClock::start(source.clone()));
    let script = Arc::new(Script::default());
    LogStore::open(files, options(durability), STORE, 1, clock, script).unwrap()
}

fn put(store: &LogStore, channel: ChannelId, key: ItemKey, payload: &[u8]) {
    let (done, outcome) = listen();
    let head = head(key, 5, ItemFlags::default(), payload);
    let payload = payload.to_vec().into();
    store.append(Append::new(channel, &head, payload, done).unwrap());
    outcome.recv().unwrap().unwrap();
}

#[test]
fn a_store_on_disk_is_found_again() {
    for durability in [Durability::Fsync, Durability::Replicated] {
        let folder = TempDir::new().unwrap();
        let source = ManualClock::new(START);
        let large = vec![7; 2 << 20];
        for run in 0..4 {
            let store = open(&folder, &source, durability);
            assert!(store.status().intact);
            for number in 0..20 {
                put(
                    &store,
                    A,
                    key(run * MINUTE + number, "a"),
                    &[number as u8; 300],
                );
            }
            put(&store, B, key(run * MINUTE, "big"), &large);
            let found = store.range(&everything(A, Direction::Descending), ReadMode::Blocking);
            assert_eq!(found.unwrap().len() as i64, 20 * (run + 1));
            for earlier in 0..=run {
                let key = key(earlier * MINUTE, "big");
                let entry = store.find(B, &key, ReadMode::Blocking).unwrap().unwrap();
                let item = store.read(&entry, ReadMode::Blocking).unwrap();
                assert_eq!(item.into_payload().unwrap().bytes, large);
            }
            source.advance(MINUTE + 5000);
            // In order, or as a kill would leave it.
            if run % 2 == 0 {
                store.close(START.plus(run * MINUTE));
            }
        }
        let store = open(&folder, &source, durability);
        let status = store.status();
        assert_eq!((status.items, status.active, status.damaged), (84, 0, 0));
        assert!(status.free > 0);
    }
}

#[test]
fn a_folder_on_disk_does_what_the_store_asks() {
    let folder = TempDir::new().unwrap();
    let files = DiskFolder::open(folder.path()).unwrap();
    let file = files.create("one").unwrap();
    let again = files.create("one").unwrap_err();
    assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
    let missing = files.open("two").unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    assert!(!is_full(&missing) && is_full(&std::io::Error::from_raw_os_error(28)));
    // More slices than the system takes in one call, some of them empty.
    let parts: Vec<Vec<u8>> = (0..3000).map(|n: usize| vec![n as u8; n % 3]).collect();
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    file.write_at(&slices, 5).unwrap();
    let whole = parts.concat();
    let mut buf = vec![1; whole.len() + 100];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), whole.len() + 5);
    assert_eq!(
        (&buf[..5], &buf[5..whole.len() + 5]),
        (&[0; 5][..], &whole[..])
    );
    // Past its end there is nothing, whether one may wait for it or not.
    assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
    assert_eq!(file.read_cached_at(&mut buf, 0).unwrap(), None);
    file.sync().unwrap();
    file.forget_cached().unwrap();
    file.truncate(7).unwrap();
    assert_eq!(file.length().unwrap(), 7);
    files.rename("one", "two").unwrap();
    files.sync_folder().unwrap();
    assert_eq!(files.list().unwrap(), ["two"]);
    files.remove("two").unwrap();
    assert!(files.list().unwrap().is_empty());
    // Who has it open keeps it.
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 7);
    let room = files.room().unwrap();
    assert!(room.free > 0 && room.total >= room.free);
}
