//! What is read is what was written, however it is laid out, and with few requests.

mod bounds;
mod layouts;

use std::collections::BTreeSet;

use super::super::name::{HOUR, MINUTE, Object};
use super::super::object::{ObjectWriter, gone};
use super::super::store::watched::Watch;
use super::*;
use crate::item::Suffix;
use crate::spoke::{StoredItem, StoredPayload};

/// A store like S3, and what it is asked for.
fn watched() -> (Arc<Watch>, Arc<Store>) {
    let (store, watch) = super::super::store::watched::watched();
    (watch, Arc::new(store))
}

const CHANNEL: ChannelId = ChannelId(7);
const CACHE: u64 = 64 << 20;

fn at(iso: &str) -> Millis {
    Millis::parse_iso(iso).unwrap()
}

fn key(millis: Millis, suffix: &str) -> ItemKey {
    ItemKey::new(millis, Suffix::parse(suffix).unwrap())
}

fn bytes(item: StoredItem) -> Vec<u8> {
    match item.payload {
        StoredPayload::Whole(bytes) => bytes.to_vec(),
        StoredPayload::Large(_) => panic!("it is in memory"),
    }
}

/// An object of those items.
fn packed(items: &[(ItemKey, Vec<u8>)]) -> Bytes {
    let mut writer = ObjectWriter::new(CHANNEL);
    for (key, payload) in items {
        writer.push(*key, Some("a/b"), payload).unwrap();
    }
    writer.finish().unwrap()
}

async fn put(store: &Store, object: Object, bytes: Bytes) {
    store.replace(&object.name(CHANNEL), bytes).await.unwrap();
}

fn wanted(direction: Direction, limit: usize) -> Wanted {
    Wanted {
        channel: CHANNEL,
        from: ItemKey::MIN,
        to: ItemKey::first_of(Millis::MAX),
        direction,
        limit,
        singles_to: None,
    }
}

/// Payloads that do not compress.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(next).collect()
}

/// A year in which nothing came, behind some months full of minutes.
#[tokio::test]
async fn the_latest_after_a_silent_year_costs_five_requests_at_the_most() {
    let (watched, store) = watched();
    let last = at("2025-11-22T13:14:15.016Z");
    for months in 0..3 {
        for minutes in 0..40 {
            let time = last.minus(months * 31 * 24 * HOUR + minutes * MINUTE);
            let items = [(key(time, "000aXb"), vec![1])];
            put(
                &store,
                Object::Minute(time.floor_to(MINUTE)),
                packed(&items),
            )
            .await;
        }
    }
    for singles_to in [None, Some(Millis::MAX)] {
        let reader = ArchiveReader::new(Arc::clone(&store), CACHE, Inflight::new(1 << 30));
        let query = Wanted {
            to: ItemKey::first_of(at("2026-11-22T00:00:00Z")),
            singles_to,
            ..wanted(Direction::Descending, 1)
        };
        watched.asked_to_read();
        let listed = reader.list(&query).await.unwrap();
        assert_eq!(listed.keys, [key(last, "000aXb")]);
        let asked = watched.asked_to_read();
        assert!(asked <= 5, "{asked} requests");
        // The item itself comes with the index of a small object.
        assert!(
            reader
                .item(CHANNEL, &listed.keys[0])
                .await
                .unwrap()
                .is_some()
        );
        assert_eq!(watched.asked_to_read(), 0);
    }
}

/// What lies between is stepped over, whichever way.
#[tokio::test]
async fn centuries_without_items_cost_nothing() {
    let (watched, store) = watched();
    let times = [
        "0001-01-01T00:00:00Z",
        "1066-10-14T09:00:00Z",
        "2013-01-01T05:00:00Z",
        "9999-12-29T23:59:59.999Z",
    ];
    let keys: Vec<_> = times.iter().map(|time| key(at(time), "0")).collect();
    for key in &keys {
        put(&store, Object::Item(*key), packed(&[(*key, vec![1])])).await;
    }
    let reader = ArchiveReader::new(store, CACHE, Inflight::new(1 << 30));
    let all = Some(Millis::MAX);
    for (number, from) in keys.iter().enumerate() {
        for (direction, rest) in [
            (Direction::Ascending, &keys[number + 1..]),
            (Direction::Descending, &keys[..number]),
        ] {
            let (from, to) = match direction {
                Direction::Ascending => (from.successor(), ItemKey::first_of(Millis::MAX)),
                Direction::Descending => (ItemKey::MIN, *from),
            };
            watched.asked_to_read();
            let query = Wanted {
                from,
                to,
                singles_to: all,
                ..wanted(direction, 1)
            };
            let listed = reader.list(&query).await.unwrap();
            let next = match direction {
                Direction::Ascending => rest.first(),
                Direction::Descending => rest.last(),
            };
            assert_eq!(listed.keys.first(), next);
            let asked = watched.asked_to_read();
            // Backward from an item: its own month, day and names, and those of the one before.
            assert!(
                asked <= 6,
                "{asked} requests {direction:?} from {from} to {to}"
            );
        }
    }
}

/// How many requests it costs to list a day page by page and to read every item of it.
async fn requests_for_a_day(size: usize, hourly: usize, direction: Direction, seed: u64) -> u64 {
    let (watched, store) = watched();
    let day = at("2026-11-22T00:00:00Z");
    let mut payloads = std::collections::HashMap::new();
    for hour in 0..24 {
        let start = day.plus(hour * HOUR);
        let items: Vec<_> = (0..hourly)
            .map(|number| {
                let millis = start.plus(number as i64 * HOUR / hourly as i64);
                (
                    key(millis, "0000aX"),
                    noise(size, seed + hour as u64 * 1_000_000 + number as u64),
                )
            })
            .collect();
        put(&store, Object::Hour(start), packed(&items)).await;
        payloads.extend(items);
    }
    // What comes before and after does not matter.
    for other in [day.minus(HOUR), day.plus(24 * HOUR)] {
        put(
            &store,
            Object::Hour(other),
            packed(&[(key(other, "0000aX"), vec![1])]),
        )
        .await;
    }
    let mut reader = ArchiveReader::new(Arc::clone(&store), CACHE, Inflight::new(1 << 30));
    // However slow the machine is that this runs on.
    reader.names = Names::new(store, CACHE, std::time::Duration::from_mins(10));
    let (mut from, mut to) = (
        ItemKey::first_of(day),
        ItemKey::first_of(day.plus(24 * HOUR)),
    );
    watched.asked_to_read();
    loop {
        let query = Wanted {
            from,
            to,
            ..wanted(direction, 2000)
        };
        let listed = reader.list(&query).await.unwrap();
        for key in &listed.keys {
            let item = reader.item(CHANNEL, key).await.unwrap().unwrap();
            assert_eq!(Some(&bytes(item)), payloads.remove(key).as_ref());
        }
        match (listed.complete_to, direction) {
            (Some(last), Direction::Ascending) => from = last.successor(),
            (Some(last), Direction::Descending) => to = last,
            (None, _) => break,
        }
    }
    assert!(payloads.is_empty());
    watched.asked_to_read()
}

/// 100,000 items, which is what a day of them may cost 30 requests for.
#[tokio::test]
async fn a_day_is_read_with_thirty_requests() {
    let asked = requests_for_a_day(120, 4167, Direction::Ascending, 1).await;
    assert!(asked <= 30, "{asked} requests");
    // As many requests for fewer that are larger, and backward.
    let asked = requests_for_a_day(4000, 300, Direction::Descending, 2).await;
    assert!(asked <= 30, "{asked} requests backward");
}

/// Objects too large to be read at once: by blocks, more and more of them at a time.
#[tokio::test]
async fn items_next_to_each_other_are_fetched_together() {
    let (watched, store) = watched();
    let start = at("2026-11-22T05:00:00Z");
    let items: Vec<_> = (0..400)
        .map(|number| {
            (
                key(start.plus(number), "0000aX"),
                noise(60_000, number as u64 + 1),
            )
        })
        .collect();
    put(&store, Object::Hour(start), packed(&items)).await;
    for backward in [false, true] {
        let reader = ArchiveReader::new(Arc::clone(&store), CACHE, Inflight::new(1 << 30));
        let mut order: Vec<_> = items.iter().collect();
        if backward {
            order.reverse();
        }
        watched.asked_to_read();
        for (key, payload) in order {
            let item = reader.item(CHANNEL, key).await.unwrap().unwrap();
            assert_eq!(&bytes(item), payload);
        }
        // 24 MB, 8 MiB at a time, once it is clear that it is a walk.
        let asked = watched.asked_to_read();
        assert!(asked <= 9, "{asked} requests");
        // One somewhere costs one block.
        let reader = ArchiveReader::new(Arc::clone(&store), CACHE, Inflight::new(1 << 30));
        reader.item(CHANNEL, &items[200].0).await.unwrap();
        assert_eq!(watched.asked_to_read(), 3, "names, index, block");
        reader.item(CHANNEL, &items[201].0).await.unwrap();
        assert!(watched.asked_to_read() <= 1);
    }
}

#[tokio::test]
async fn who_asks_for_the_same_waits_for_one_answer() {
    let (watched, store) = watched();
    let start = at("2026-11-22T05:00:00Z");
    let items: Vec<_> = (0..100)
        .map(|number| {
            (
                key(start.plus(number), "0000aX"),
                noise(60_000, number as u64 + 1),
            )
        })
        .collect();
    put(&store, Object::Hour(start), packed(&items)).await;
    watched.give_way();
    let reader = ArchiveReader::new(store, CACHE, Inflight::new(1 << 30));
    let query = wanted(Direction::Ascending, 100);
    let many = (0..20).map(|_| reader.list(&query));
    for listed in futures_util::future::join_all(many).await {
        assert_eq!(listed.unwrap().keys.len(), 100);
    }
    // Each may list; the index is read once.
    assert!(watched.asked_to_read() <= 21);
    let many = (0..20).map(|_| reader.item(CHANNEL, &items[50].0));
    for item in futures_util::future::join_all(many).await {
        assert_eq!(bytes(item.unwrap().unwrap()), items[50].1);
    }
    assert_eq!(watched.asked_to_read(), 1);
}

#[tokio::test]
async fn nothing_is_kept_where_nothing_may_be() {
    let (_watched, store) = watched();
    let start = at("2026-11-22T05:00:00Z");
    let items: Vec<_> = (0..30)
        .map(|number| {
            (
                key(start.plus(number), "0000aX"),
                noise(100_000, number as u64 + 1),
            )
        })
        .collect();
    put(&store, Object::Hour(start), packed(&items)).await;
    let reader = ArchiveReader::new(store, 0, Inflight::new(1 << 30));
    assert_eq!(
        reader
            .list(&wanted(Direction::Ascending, 9))
            .await
            .unwrap()
            .keys
            .len(),
        9
    );
    let many = items.iter().map(|(key, _)| reader.item(CHANNEL, key));
    for (item, (_, payload)) in futures_util::future::join_all(many)
        .await
        .into_iter()
        .zip(&items)
    {
        assert_eq!(&bytes(item.unwrap().unwrap()), payload);
    }
}

#[tokio::test]
async fn what_was_listed_and_is_gone_is_missing_unless_its_hour_is_there() {
    let (_watched, store) = watched();
    let start = at("2026-11-22T05:00:00Z");
    let items = [(key(start.plus(1), "0000aX"), vec![1])];
    let minute = Object::Minute(start).name(CHANNEL);
    let hour = Object::Hour(start);
    let later = [(key(start.plus(MINUTE), "0000aX"), vec![2])];
    for rolled_up in [false, true] {
        put(&store, Object::Minute(start), packed(&items)).await;
        put(&store, Object::Minute(start.plus(MINUTE)), packed(&later)).await;
        let reader = ArchiveReader::new(Arc::clone(&store), 1 << 10, Inflight::new(1 << 30));
        let forward = wanted(Direction::Ascending, 100);
        assert_eq!(reader.list(&forward).await.unwrap().keys.len(), 2);
        reader.objects.forget(&minute).await;
        store.delete(std::slice::from_ref(&minute)).await.unwrap();
        if rolled_up {
            put(
                &store,
                hour,
                packed(&[items.clone(), later.clone()].concat()),
            )
            .await;
            assert_eq!(reader.list(&forward).await.unwrap().keys.len(), 2);
            continue;
        }
        let listed = reader.list(&forward).await;
        let missing = ReadArchiveError::Missing {
            name: minute.clone(),
        };
        assert_eq!(listed.unwrap_err().to_string(), missing.to_string());
    }
}

#[tokio::test]
async fn an_item_deleted_of_the_last_record_is_said_to_be() {
    let (_watched, store) = watched();
    let start = at("2013-01-01T05:00:00Z");
    let bulk = key(start.plus(1), "0000aX").bulk(3).unwrap();
    let items: Vec<_> = bulk.items().collect();
    put(&store, Object::Minute(start), packed(&[(bulk, vec![1])])).await;
    for deleted in &items[..2] {
        put(&store, Object::Item(*deleted), gone(CHANNEL)).await;
    }
    for (most, limit) in [(1, 1), (1000, 1), (1000, 9)] {
        let mut reader = ArchiveReader::new(Arc::clone(&store), CACHE, Inflight::new(1 << 30));
        reader.names.most = most;
        for direction in [Direction::Ascending, Direction::Descending] {
            let query = Wanted {
                singles_to: Some(Millis::MAX),
                ..wanted(direction, limit)
            };
            let listed = reader.list(&query).await.unwrap();
            assert_eq!(listed.keys, [bulk]);
            let said: BTreeSet<ItemKey> = listed.gone.into_iter().collect();
            assert_eq!(said, items[..2].iter().copied().collect());
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_object_is_told_with_its_name() {
    let (_watched, store) = watched();
    let start = at("2026-11-22T05:00:00Z");
    let items: Vec<_> = (0..30)
        .map(|number| {
            (
                key(start.plus(number), "0000aX"),
                noise(100_000, number as u64 + 1),
            )
        })
        .collect();
    let whole = packed(&items);
    let minute = Object::Minute(start);
    let name = minute.name(CHANNEL);
    for (from, what) in [(whole.len() - 100, "index"), (50, "block")] {
        let mut damaged = whole.to_vec();
        damaged[from] ^= 0x40;
        put(&store, minute, damaged.into()).await;
        let reader = ArchiveReader::new(Arc::clone(&store), CACHE, Inflight::new(1 << 30));
        let listed = reader.list(&wanted(Direction::Ascending, 100)).await;
        let backward = reader.list(&wanted(Direction::Descending, 100)).await;
        let item = reader.item(CHANNEL, &items[0].0).await;
        let is_told = |error: &ReadArchiveError| matches!(error, ReadArchiveError::Damaged { name: of, .. } if *of == name);
        assert!(is_told(&item.unwrap_err()), "{what}");
        if what == "index" {
            assert!(is_told(&listed.unwrap_err()));
            assert!(is_told(&backward.unwrap_err()));
        } else {
            assert_eq!(listed.unwrap().keys.len(), 30);
            assert_eq!(backward.unwrap().keys.len(), 30);
            // The other items are there all the same.
            assert!(reader.item(CHANNEL, &items[29].0).await.unwrap().is_some());
        }
        // And once it is mended nothing of that is remembered.
        put(&store, minute, whole.clone()).await;
        assert_eq!(
            reader
                .list(&wanted(Direction::Ascending, 100))
                .await
                .unwrap()
                .keys
                .len(),
            30
        );
        let item = reader.item(CHANNEL, &items[0].0).await.unwrap().unwrap();
        assert_eq!(bytes(item), items[0].1);
    }
}

/// What is remembered of names may end among those of one millisecond.
#[tokio::test]
async fn items_of_one_millisecond_are_walked_one_by_one() {
    let (_watched, store) = watched();
    let start = at("2026-11-22T05:00:00Z");
    let keys: Vec<_> = (0..7).map(|n| key(start, &format!("{n}"))).collect();
    for key in &keys {
        put(&store, Object::Item(*key), packed(&[(*key, vec![1])])).await;
    }
    for most in 1..9 {
        let mut reader = ArchiveReader::new(Arc::clone(&store), CACHE, Inflight::new(1 << 30));
        reader.names.most = most;
        let mut query = wanted(Direction::Descending, 1);
        for key in keys.iter().rev() {
            let listed = reader.list(&query).await.unwrap();
            assert_eq!(listed.keys, [*key], "{most} names at a time");
            query.to = *key;
        }
    }
}

/// Minutes are taken away once their hour is there.
#[tokio::test]
async fn minutes_that_become_an_hour_are_found_there() {
    let (_watched, store) = watched();
    let start = at("2026-11-22T05:00:00Z");
    let items: Vec<_> = (0..60)
        .map(|number| {
            (
                key(start.plus(number * MINUTE), "0000aX"),
                vec![number as u8],
            )
        })
        .collect();
    for item in &items {
        let minute = Object::Minute(item.0.millis);
        put(&store, minute, packed(std::slice::from_ref(item))).await;
    }
    let reader = ArchiveReader::new(Arc::clone(&store), CACHE, Inflight::new(1 << 30));
    let page = reader
        .list(&wanted(Direction::Ascending, 20))
        .await
        .unwrap();
    assert_eq!(page.keys.len(), 20);
    put(&store, Object::Hour(start), packed(&items)).await;
    let minutes = items
        .iter()
        .map(|(key, _)| Object::Minute(key.millis).name(CHANNEL));
    store.delete(&minutes.collect::<Vec<_>>()).await.unwrap();
    for direction in [Direction::Ascending, Direction::Descending] {
        let listed = reader.list(&wanted(direction, 100)).await.unwrap();
        assert_eq!(listed.keys.len(), 60, "{direction:?}");
    }
    for (key, payload) in &items {
        let item = reader.item(CHANNEL, key).await.unwrap().unwrap();
        assert_eq!(&bytes(item), payload);
    }
    // What is listed and not there is missing, and the list not shorter.
    let names: Vec<_> = store.all_names("").await.unwrap();
    assert_eq!(names.len(), 1);
}

#[tokio::test]
async fn a_deleted_item_counts_nowhere_until_it_is_there_again() {
    let (_watched, store) = watched();
    let start = at("2026-11-22T05:00:00Z");
    let items: Vec<_> = (0..5)
        .map(|number| (key(start.plus(number), "0000aX"), vec![1]))
        .collect();
    put(&store, Object::Minute(start), packed(&items)).await;
    let reader = ArchiveReader::new(Arc::clone(&store), CACHE, Inflight::new(1 << 30));
    let deleted = items[2].0;
    put(&store, Object::Item(deleted), gone(CHANNEL)).await;
    for direction in [Direction::Ascending, Direction::Descending] {
        let query = Wanted {
            singles_to: Some(Millis::MAX),
            ..wanted(direction, 4)
        };
        let listed = reader.list(&query).await.unwrap();
        assert_eq!(
            (listed.keys.len(), &listed.gone[..]),
            (4, &[deleted][..]),
            "{direction:?}"
        );
        assert!(!listed.keys.contains(&deleted));
    }
    assert!(matches!(
        reader.single(CHANNEL, &deleted).await,
        Ok(Single::Gone)
    ));
    assert!(matches!(
        reader.single(CHANNEL, &items[1].0).await,
        Ok(Single::Neither)
    ));
    let reader = ArchiveReader::new(Arc::clone(&store), CACHE, Inflight::new(1 << 30));
    assert!(reader.item(CHANNEL, &deleted).await.unwrap().is_none());
    put(&store, Object::Item(deleted), packed(&[(deleted, vec![9])])).await;
    let Ok(Single::Item(item)) = reader.single(CHANNEL, &deleted).await else {
        panic!("it is there again");
    };
    assert_eq!(bytes(item), [9]);
    let query = Wanted {
        singles_to: Some(Millis::MAX),
        ..wanted(Direction::Ascending, 10)
    };
    let listed = reader.list(&query).await.unwrap();
    assert_eq!((listed.keys.len(), listed.gone.len()), (5, 0));
}
