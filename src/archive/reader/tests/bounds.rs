//! What reading costs, and what is not taken for what it says it is.

use super::*;

/// Items that come far apart: what lies between is not asked for day by day.
#[tokio::test]
async fn walking_back_costs_a_request_for_each_month() {
    let (watched, store) = watched();
    let last = at("2026-11-22T13:14:15.016Z");
    let keys: Vec<_> = (0..1000)
        .map(|days| key(last.minus(days * 24 * HOUR), "0"))
        .collect();
    for key in &keys {
        put(&store, Object::Item(*key), packed(&[(*key, vec![1])])).await;
    }
    let reader = ArchiveReader::new(store, CACHE, Inflight::new(1 << 30));
    for singles_to in [None, Some(Millis::MAX)] {
        for (limit, most) in [(1, 2), (1000, 36)] {
            let query = Wanted {
                singles_to,
                ..wanted(Direction::Descending, limit)
            };
            watched.asked_to_read();
            let listed = reader.list(&query).await.unwrap();
            assert_eq!(listed.keys, keys[..limit]);
            let asked = watched.asked_to_read();
            assert!(asked <= most, "{limit} items: {asked} requests");
        }
    }
}

/// An object that was copied under another name, as by somebody who mends an archive by hand.
#[tokio::test]
async fn an_object_under_another_name_is_damaged() {
    let (_watched, store) = watched();
    let start = at("2026-11-22T05:00:00Z");
    let (own, next) = (key(start, "0"), key(start.plus(MINUTE), "0"));
    let cases = [
        (Object::Minute(start), Object::Minute(start.plus(MINUTE))),
        (Object::Hour(start.plus(HOUR)), Object::Hour(start)),
        (Object::Item(own), Object::Item(next)),
    ];
    for (of, name) in cases {
        let held = match of {
            Object::Item(key) => key,
            _ => key(of.start(), "0"),
        };
        put(&store, name, packed(&[(held, vec![1])])).await;
        let reader = ArchiveReader::new(Arc::clone(&store), CACHE, Inflight::new(1 << 30));
        let wanted_key = match name {
            Object::Item(key) => key,
            _ => key(name.start(), "0"),
        };
        let read = reader.item(CHANNEL, &wanted_key).await;
        let name = name.name(CHANNEL);
        let is_told = |error: &ReadArchiveError| matches!(error, ReadArchiveError::Damaged { name: of, .. } if *of == name);
        assert!(read.as_ref().is_err_and(is_told), "{name}: {read:?}");
        if !matches!(of, Object::Item(_)) {
            let listed = reader.list(&wanted(Direction::Ascending, 9)).await;
            assert!(listed.as_ref().is_err_and(is_told), "{name}: {listed:?}");
        }
        store.delete(&[name]).await.unwrap();
    }
    // Of another channel.
    let minute = Object::Minute(start);
    let bytes = packed(&[(own, vec![1])]);
    let other = ChannelId(CHANNEL.0 + 1);
    store.create(&minute.name(other), bytes).await.unwrap();
    let reader = ArchiveReader::new(Arc::clone(&store), CACHE, Inflight::new(1 << 30));
    let of_other = Wanted {
        channel: other,
        ..wanted(Direction::Ascending, 9)
    };
    let listed = reader.list(&of_other).await;
    assert!(
        matches!(listed, Err(ReadArchiveError::Damaged { .. })),
        "{listed:?}"
    );
}

/// What an item takes in memory is what it is, and not what it is compressed.
#[tokio::test(start_paused = true)]
async fn a_large_item_takes_its_room_however_well_it_compresses() {
    const SIZE: usize = 3 << 20;
    let (_watched, store) = watched();
    let start = at("2026-11-22T05:00:00Z");
    let (own, minutes) = (key(start, "0"), key(start.plus(HOUR), "0"));
    for (object, key) in [
        (Object::Item(own), own),
        (Object::Minute(start.plus(HOUR)), minutes),
    ] {
        put(&store, object, packed(&[(key, vec![0; SIZE])])).await;
    }
    let answers = Inflight::new(3 * SIZE as u64);
    let reader = ArchiveReader::new(store, 1 << 20, answers);
    for (first, second) in [(own, minutes), (minutes, own)] {
        let held = reader.item(CHANNEL, &first).await.unwrap().unwrap();
        let refused = reader.item(CHANNEL, &second).await;
        assert!(
            matches!(refused, Err(ReadArchiveError::Full { .. })),
            "{refused:?}"
        );
        drop(held);
        let read = reader.item(CHANNEL, &second).await.unwrap().unwrap();
        assert_eq!(bytes(read), vec![0; SIZE]);
    }
}
