//! Large items: each in an object of its own, to which that of its minute points.

use super::*;
use crate::archive::reader::{ArchiveReader, ReadArchiveError, Wanted};
use crate::http::body::Inflight;
use crate::spoke::Direction;

/// An archiver to which a thousand bytes are many.
fn archiver(world: &World, name: &str, node: &Arc<Node>) -> Archiver {
    let settings = ArchiveSettings {
        large_item: 1_000,
        ..world.settings(name)
    };
    Archiver::of(Arc::clone(node) as _, &world.store, settings).unwrap()
}

/// The archivers of two nodes.
fn two(world: &Arc<World>) -> (Archiver, Archiver) {
    let [first, second] = [0, 1].map(|place| world.node(place));
    (archiver(world, "1", &first), archiver(world, "2", &second))
}

/// An item before a large one, that one, and one behind it.
fn fill(world: &World, channel: ChannelId) -> [ItemKey; 3] {
    [
        world.store(channel, NOON.plus(1), "one"),
        world.store(channel, NOON.plus(2), "large".repeat(300)),
        world.store(channel, NOON.plus(3), "three"),
    ]
}

fn reader(world: &World) -> ArchiveReader {
    let store = Arc::new(world.store.clone());
    ArchiveReader::new(store, 1 << 20, Inflight::new(1 << 30))
}

/// All keys of a channel, and what is found under each.
async fn read(world: &World, channel: ChannelId) -> Vec<(ItemKey, Bytes)> {
    let reader = reader(world);
    let mut all = Vec::new();
    for direction in [Direction::Ascending, Direction::Descending] {
        let wanted = Wanted {
            channel,
            from: ItemKey::first_of(NOON),
            to: ItemKey::first_of(NOON.plus(HOUR)),
            direction,
            limit: 1_000,
            singles_to: None,
        };
        let keys = reader.list(&wanted).await.unwrap().keys;
        let mut found = Vec::new();
        for key in keys {
            let item = reader.item(channel, &key).await.unwrap().unwrap();
            found.push((key, item.into_payload().unwrap().bytes));
        }
        found.sort();
        assert!(all.is_empty() || all == found);
        all = found;
    }
    all
}

#[tokio::test(start_paused = true)]
async fn it_is_an_object_of_its_own_and_its_minute_points_to_it() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    let (first, second) = two(&world);
    let keys = fill(&world, channel);
    let pack = "pack".repeat(500);
    // A bulk insert stays whole, however large.
    let bulk = world.store_bulk(channel, NOON.plus(MINUTE), &[&pack, "x"]);
    world.run(&[&first, &second], 3 * MINUTE).await;
    let own = Object::Item(keys[1]).name(channel);
    let minutes = [NOON, NOON.plus(MINUTE)].map(|at| Object::Minute(at).name(channel));
    let [minute, next] = minutes.clone();
    assert_eq!(world.names().await, [minute, own.clone(), next]);
    let index = world.index(channel, Object::Minute(NOON)).await;
    let pointer = index.find(&keys[1]).unwrap();
    assert!(pointer.is_elsewhere());
    assert_eq!(
        (pointer.size, pointer.content_type),
        (1_500, Some("text/plain"))
    );
    for archiver in [&first, &second] {
        assert_eq!(archiver.archived_to(), NOON.plus(2 * MINUTE));
    }
    let found = read(&world, channel).await;
    let wanted = [
        (keys[0], "one".into()),
        (keys[1], "large".repeat(300).into()),
    ];
    assert_eq!(found[..2], wanted);
    assert_eq!((found[2].0, found[3].0), (keys[2], bulk));
    // So it stays where the minutes become an hour.
    world.run(&[&first, &second], HOUR + 10 * MINUTE).await;
    let hour = Object::Hour(NOON).name(channel);
    assert_eq!(world.names().await, [hour, own]);
    assert_eq!(read(&world, channel).await, found);
}

#[tokio::test(start_paused = true)]
async fn nothing_points_to_what_is_not_there() {
    let world = World::new();
    let channel = world.channel(1, r#"{"storage": "BOTH"}"#);
    let node = world.node(0);
    let archiver = archiver(&world, "1", &node);
    let keys = fill(&world, channel);
    let own = Object::Item(keys[1]).name(channel);
    world.watch.fail(Some(&own));
    world.run(&[&archiver], 2 * MINUTE).await;
    assert_eq!(world.names().await, [""; 0]);
    assert_eq!(archiver.archived_to(), NOON);
    world.watch.fail(None);
    world.run(&[&archiver], 10 * MINUTE).await;
    assert_eq!(world.names().await.len(), 4);
    assert!(archiver.archived_to() > NOON);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_missing_or_another_is_told_of() {
    for there in [false, true] {
        let world = World::new();
        let channel = world.channel(1, "{}");
        let (first, second) = two(&world);
        let keys = fill(&world, channel);
        world.run(&[&first], 2 * MINUTE).await;
        let own = Object::Item(keys[1]).name(channel);
        world
            .store
            .delete(std::slice::from_ref(&own))
            .await
            .unwrap();
        if there {
            let mut writer = crate::archive::object::ObjectWriter::new(channel);
            writer.push(keys[1], None, b"another").unwrap();
            world
                .store
                .create(&own, writer.finish().unwrap())
                .await
                .unwrap();
        } else {
            let missing = reader(&world).item(channel, &keys[1]).await;
            assert!(matches!(missing, Err(ReadArchiveError::Missing { name }) if name == own));
        }
        // Nobody lets go of it.
        world.run(&[&second], 10 * MINUTE).await;
        let obstacle = second.state().obstacle.unwrap();
        assert!(obstacle.contains(&own), "{obstacle}");
        assert_eq!(second.archived_to(), NOON);
    }
}
