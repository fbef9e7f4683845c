//! Channels that keep each item by itself.

use super::*;

async fn look(world: &World, archiver: &Archiver) {
    world.pass(5_000).await;
    archiver.archive().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn items_are_put_one_by_one_and_found_by_a_listing() {
    let world = World::new();
    let single = world.channel(1, r#"{"storage": "SINGLE"}"#);
    let both = world.channel(2, r#"{"storage": "BOTH"}"#);
    for channel in [single, both] {
        for at in 0..100 {
            world.store(channel, NOON.plus(at * 500), "one");
        }
        world.store_bulk(channel, NOON.plus(59_999), &["two", "three"]);
        // Of the next minute, which is not over.
        world.store(channel, NOON.plus(MINUTE), "next");
    }
    let (first, second) = (world.node(0), world.node(1));
    let (first, second) = (world.archiver("1", &first), world.archiver("2", &second));
    world.pass(MINUTE + SETTLE).await;
    look(&world, &first).await;
    assert_eq!(world.watch.take("put"), 102 + 103);
    assert_eq!(world.watch.take("list"), 2);
    assert_eq!(first.archived_to(), NOON.plus(MINUTE));
    assert_eq!(world.names().await.len(), 102 + 103);
    let key = key(NOON.plus(500));
    let index = world.index(single, Object::Item(key)).await;
    assert_eq!(keys_of(&index), [key]);
    let bulk = super::key(NOON.plus(59_999)).bulk(2).unwrap();
    let last = bulk.items().last().unwrap();
    let index = world.index(both, Object::Item(last)).await;
    assert_eq!(index.find(&last).unwrap().size, 5);
    // The other one lists, and looks into some.
    world.watch.clear();
    look(&world, &second).await;
    assert_eq!(second.archived_to(), NOON.plus(MINUTE));
    let asked = (world.watch.take("put"), world.watch.take("list"));
    assert_eq!(asked, (0, 2));
    let looked = world.watch.take("get");
    assert!((10..40).contains(&looked), "{looked}");
}

#[tokio::test(start_paused = true)]
async fn what_was_left_is_put_by_the_next() {
    let world = World::new();
    let channel = world.channel(1, r#"{"storage": "SINGLE"}"#);
    let keys: Vec<_> = (0..20)
        .map(|at| world.store(channel, NOON.plus(at), "one"))
        .collect();
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    world.pass(MINUTE + SETTLE).await;
    let of_one = Object::Item(keys[7]).name(channel);
    world.watch.fail(Some(&of_one));
    look(&world, &archiver).await;
    let obstacle = archiver.state().obstacle.unwrap();
    assert!(obstacle.contains(&of_one), "{obstacle}");
    world.watch.fail(None);
    world.watch.clear();
    let second = world.node(1);
    let second = world.archiver("2", &second);
    for _ in 0..20 {
        look(&world, &second).await;
    }
    let puts = world.watch.take("put");
    assert!((1..20).contains(&puts), "{puts}");
    assert_eq!(world.names().await.len(), 20);
    assert!(second.archived_to() > NOON);
}

#[tokio::test(start_paused = true)]
async fn an_item_that_is_another_one_is_told_of() {
    let world = World::new();
    let channel = world.channel(1, r#"{"storage": "SINGLE"}"#);
    let key = world.store(channel, NOON.plus(1), "one");
    let (first, second) = (world.node(0), world.node(1));
    let first = world.archiver("1", &first);
    world.pass(MINUTE + SETTLE).await;
    look(&world, &first).await;
    let item = Item {
        content_type: Some("text/plain".to_owned()),
        payload: "two".into(),
    };
    second.held.lock().insert((channel, key), Some(item));
    let second = world.archiver("2", &second);
    look(&world, &second).await;
    let obstacle = second.state().obstacle.unwrap();
    assert!(obstacle.ends_with("its item is another one"), "{obstacle}");
}

/// Puts another object in the place of an item's, as whoever inserts it again or deletes it.
async fn put_again(world: &World, channel: ChannelId, key: ItemKey, payload: Option<&[u8]>) {
    let object = match payload {
        Some(payload) => {
            let mut writer = crate::archive::object::ObjectWriter::new(channel);
            writer.push(key, None, payload).unwrap();
            writer.finish().unwrap()
        }
        None => crate::archive::object::gone(channel),
    };
    let name = Object::Item(key).name(channel);
    world.store.replace(&name, object).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_was_written_again_past_spoke_is_no_obstacle() {
    for storage in ["SINGLE", "BOTH", "BATCH"] {
        let world = World::new();
        let config = format!(r#"{{"storage": "{storage}"}}"#);
        let channel = world.channel(1, &config);
        let [again, deleted, stays] =
            [1, 2, 3].map(|at| world.store(channel, NOON.plus(at), "one"));
        let (first, second) = (world.node(0), world.node(1));
        let first = world.archiver("1", &first);
        world.pass(MINUTE + SETTLE).await;
        if storage != "BATCH" {
            look(&world, &first).await;
        }
        // It takes items of the past now, and both come there before the other replica has looked.
        world.change(channel, |channel| {
            channel.historical_to = Some(NOON.plus(HOUR));
        });
        put_again(&world, channel, again, Some(b"another")).await;
        put_again(&world, channel, deleted, None).await;
        // Whoever reads it finds what is there now.
        let item = Item {
            content_type: None,
            payload: "another".into(),
        };
        let before = world.stable.lock().insert((channel, again), item);
        second.held.lock().insert((channel, again), before);
        let removed = world.stable.lock().remove(&(channel, deleted));
        world.listed.lock().insert((channel, deleted));
        second.held.lock().insert((channel, deleted), removed);
        for node in [first, world.archiver("2", &second)] {
            for _ in 0..30 {
                look(&world, &node).await;
            }
            assert_eq!(node.state().obstacle, None, "{storage}");
            assert!(node.archived_to() > NOON, "{storage}");
        }
        if storage == "BATCH" {
            let index = world.index(channel, Object::Minute(NOON)).await;
            assert_eq!(keys_of(&index), [again, stays]);
        }
    }
}
