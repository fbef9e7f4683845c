//! The twin in memory: what holds for the log holds for it, and what it offers beside that.

use std::sync::Arc;

use bytes::Bytes;

use super::rig::{A, B, KEYED, PLAIN, START, Script, everything, head, key, listen};
use crate::env::{HubClock, ManualClock};
use crate::item::ItemKey;
use crate::spoke::{
    Append, AppendError, Direction, ItemFlags, Keeps, MemoryStore, Range, ReadError, ReadMode,
    Removal, SpokeStore, WriteId,
};

struct Twin {
    source: Arc<ManualClock>,
    clock: Arc<HubClock>,
    store: MemoryStore,
}

fn twin() -> Twin {
    let source = ManualClock::new(START);
    let clock = Arc::new(HubClock::start(source.clone()));
    let store = MemoryStore::new(clock.clone(), 600_000);
    Twin {
        source,
        clock,
        store,
    }
}

fn append(store: &MemoryStore, key: ItemKey, flags: ItemFlags) -> Result<(), AppendError> {
    let (done, outcome) = listen();
    let head = head(key, 5, flags, b"x");
    store.append(Append::new(A, &head, Bytes::from_static(b"x"), done).unwrap());
    outcome.try_recv().unwrap()
}

fn remove(store: &MemoryStore, key: ItemKey) -> Result<(), AppendError> {
    let (done, outcome) = listen();
    store.remove(Removal {
        channel: A,
        key,
        write_id: WriteId(5),
        done,
    });
    outcome.try_recv().unwrap()
}

fn keys(store: &MemoryStore, direction: Direction, limit: usize) -> Vec<ItemKey> {
    let range = Range {
        limit,
        ..everything(A, direction)
    };
    let entries = store.range(&range, ReadMode::Cached).unwrap();
    entries.iter().map(|entry| entry.key).collect()
}

#[test]
fn gives_back_what_it_was_given() {
    let Twin { store, clock, .. } = twin();
    for number in [3, 1, 2] {
        append(&store, key(number, "a"), PLAIN).unwrap();
    }
    let [one, two, three] = [1, 2, 3].map(|number| key(number, "a"));
    assert_eq!(keys(&store, Direction::Ascending, 9), [one, two, three]);
    assert_eq!(keys(&store, Direction::Descending, 2), [three, two]);
    let entry = store.find(A, &two, ReadMode::Cached).unwrap().unwrap();
    let item = store.read(&entry, ReadMode::Cached).unwrap();
    assert_eq!(item.into_payload().unwrap().bytes, "x");
    assert_eq!(store.find(B, &two, ReadMode::Cached).unwrap(), None);
    assert!(store.mark() > clock.now());
    let status = store.status();
    assert_eq!((status.items, status.bytes, status.intact), (3, 3, true));
    remove(&store, two).unwrap();
    append(&store, two, PLAIN).unwrap();
    assert_eq!(store.find(A, &two, ReadMode::Cached).unwrap(), None);
    assert_eq!(keys(&store, Direction::Ascending, 9), [one, three]);
    let gone = store.read(&entry, ReadMode::Cached);
    assert!(matches!(gone, Err(ReadError::Gone { .. })));
}

#[test]
fn fills_up_fails_and_closes_as_it_is_told() {
    let Twin { store, clock, .. } = twin();
    store.set_full(true);
    assert!(store.is_full());
    assert_eq!(append(&store, key(0, "a"), PLAIN), Err(AppendError::Full));
    store.set_full(false);
    append(&store, key(0, "a"), PLAIN).unwrap();
    store.close(clock.now());
    assert_eq!(store.mark(), clock.now());
    assert_eq!(append(&store, key(1, "a"), PLAIN), Err(AppendError::Closed));
    let next = store.reopened(clock, true);
    append(&next, key(1, "a"), PLAIN).unwrap();
    next.fail("a test says so");
    assert_eq!(next.failure().as_deref(), Some("a test says so"));
    assert!(!next.status().intact);
    let failed = remove(&next, key(1, "a"));
    assert!(matches!(failed, Err(AppendError::Failed { .. })));
    assert_eq!(keys(&next, Direction::Ascending, 9).len(), 2);
}

#[test]
fn answers_when_it_is_told_to() {
    let Twin { store, clock, .. } = twin();
    store.hold();
    let (done, outcome) = listen();
    let item = head(key(0, "a"), 1, PLAIN, b"");
    store.append(Append::new(A, &item, Bytes::new(), done).unwrap());
    let (done, marked) = listen();
    store.advance_mark(done);
    assert!(outcome.try_recv().is_err());
    assert!(keys(&store, Direction::Ascending, 9).is_empty());
    assert!(store.step());
    outcome.try_recv().unwrap().unwrap();
    assert_eq!(keys(&store, Direction::Ascending, 9).len(), 1);
    assert!(marked.try_recv().is_err());
    // A kill now: what was not answered was not done.
    let next = store.reopened(clock, true);
    assert_eq!(keys(&next, Direction::Ascending, 9).len(), 1);
    assert!(store.step() && !store.step());
    marked.try_recv().unwrap().unwrap();
}

#[test]
fn remembers_writes_and_forgets_what_nobody_keeps() {
    let Twin {
        store,
        clock,
        source,
    } = twin();
    append(&store, key(0, "a"), KEYED).unwrap();
    append(&store, key(700_000, "b"), KEYED).unwrap();
    append(&store, key(700_001, "c"), KEYED).unwrap();
    remove(&store, key(700_001, "c")).unwrap();
    source.advance(700_000);
    let next = store.reopened(clock, true);
    let recent: Vec<_> = next.recent_writes().iter().map(|(_, k, ..)| *k).collect();
    assert_eq!(recent, [key(700_000, "b")]);
    let script = Script::default();
    assert_eq!(next.expire(&script), 0);
    script.set(A, Keeps::From(key(1, "a")));
    assert_eq!(next.expire(&script), 1);
    next.lose(A, &key(700_000, "b"));
    assert!(keys(&next, Direction::Ascending, 9).is_empty());
}

#[test]
fn is_whole_again_when_told() {
    let Twin { store, clock, .. } = twin();
    let next = store.reopened(clock, false);
    assert!(!next.status().intact);
    let (done, outcome) = listen();
    next.made_whole(done);
    outcome.try_recv().unwrap().unwrap();
    assert!(next.status().intact);
}
