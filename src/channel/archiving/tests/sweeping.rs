//! What the archive need not keep.

use super::*;

const DAY: i64 = 24 * HOUR;

/// Puts an empty object of that name's channel; sweeping goes by names alone.
async fn put(world: &World, channel: ChannelId, object: Object) -> String {
    let name = object.name(channel);
    world
        .store
        .create(&name, Bytes::from_static(b"x"))
        .await
        .unwrap();
    name
}

/// A channel's objects of an hour that began so long ago: the hour's, one of a minute, one of an item.
async fn fill(world: &World, channel: ChannelId, ago: i64) -> [String; 3] {
    let at = world.now().minus(ago).floor_to(HOUR);
    [
        put(world, channel, Object::Hour(at)).await,
        put(world, channel, Object::Minute(at)).await,
        put(world, channel, Object::Item(key(at.plus(1)))).await,
    ]
}

#[tokio::test(start_paused = true)]
async fn what_is_past_its_retention_goes() {
    let world = World::new();
    let short = world.channel(1, r#"{"ttlDays": 1}"#);
    let long = world.channel(2, r#"{"ttlDays": 100}"#);
    let forever = world.channel(3, r#"{"keepForever": true}"#);
    let historical = world.channel(4, r#"{"mutableTime": "2001-01-01"}"#);
    let mut stay = Vec::new();
    for channel in [short, long, forever, historical] {
        for ago in [DAY / 2, DAY, DAY + 2 * HOUR, 40 * DAY] {
            let names = fill(&world, channel, ago).await;
            // The hour that began a day ago is in part younger.
            let goes = channel == short && ago >= DAY + 2 * HOUR;
            stay.extend(names.into_iter().filter(|_| !goes));
        }
    }
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    // It begins on the hour, with a quarter of an hour of grace: nothing of that one is a day old.
    let swept = archiver.sweep().await;
    stay.sort();
    assert_eq!(world.names().await, stay);
    assert_eq!(
        swept,
        Sweep {
            expired: 6,
            deleted: 0
        }
    );
    // Nothing is asked where nothing can have expired; a folder is listed again when something may have.
    world.watch.clear();
    assert_eq!(archiver.sweep().await, Sweep::default());
    assert_eq!(world.watch.take("list"), 1);
    world.pass(HOUR + 16 * MINUTE).await;
    assert_eq!(archiver.sweep().await.expired, 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_by_number_goes() {
    let world = World::new();
    let channel = world.channel(1, r#"{"maxItems": 3}"#);
    let old = fill(&world, channel, 3 * HOUR).await;
    let young = fill(&world, channel, HOUR).await;
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    assert_eq!(archiver.sweep().await, Sweep::default());
    let lowest = key(world.now().minus(2 * HOUR));
    world.change(channel, |channel| channel.kept_from = lowest);
    // Not by one that coordination does not answer.
    node.cut_off.store(true, Ordering::SeqCst);
    assert_eq!(archiver.sweep().await, Sweep::default());
    node.cut_off.store(false, Ordering::SeqCst);
    // Nor by one that does not lead it.
    node.place.store(1, Ordering::SeqCst);
    assert_eq!(archiver.sweep().await, Sweep::default());
    node.place.store(0, Ordering::SeqCst);
    // Nor by one whose clock nobody vouches for.
    node.horizon.store(world.now().get(), Ordering::SeqCst);
    assert_eq!(archiver.sweep().await, Sweep::default());
    node.horizon.store(Millis::MAX.get(), Ordering::SeqCst);
    assert_eq!(archiver.sweep().await.expired, old.len() as u64);
    assert_eq!(world.names().await, young);
}

#[tokio::test(start_paused = true)]
async fn many_objects_go_in_batches() {
    let world = World::new();
    let channel = world.channel(1, r#"{"ttlDays": 1}"#);
    let at = world.now().minus(3 * DAY);
    for number in 0..2_500 {
        put(&world, channel, Object::Item(key(at.plus(number)))).await;
    }
    let stays = put(&world, channel, Object::Item(key(world.now()))).await;
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    world.watch.clear();
    assert_eq!(archiver.sweep().await.expired, 2_500);
    assert_eq!(world.names().await, [stays]);
    // One more for the names of the folders.
    let lists = world.watch.take("list");
    assert!(lists <= 4 + 1, "{lists}");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_deleted_channels_goes() {
    let world = World::new();
    let (stays, goes, again) = (
        world.channel(1, "{}"),
        world.channel(2, "{}"),
        world.channel(3, "{}"),
    );
    fill(&world, goes, HOUR).await;
    let mut left = fill(&world, stays, HOUR).await.to_vec();
    left.extend(fill(&world, again, HOUR).await);
    // What is nobody's channel is nobody's business.
    let other = "backups/x".to_owned();
    world.store.create(&other, Bytes::new()).await.unwrap();
    left.push(other);
    left.sort();
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    assert_eq!(archiver.sweep().await, Sweep::default());
    world.delete(goes);
    let restored = world.channels.lock()[&again].clone();
    world.delete(again);
    world.channels.lock().insert(again, restored);
    // Whoever writes to it still may have to hear of it first.
    world.pass(20 * MINUTE).await;
    assert_eq!(archiver.sweep().await, Sweep::default());
    world.pass(31 * MINUTE).await;
    node.cut_off.store(true, Ordering::SeqCst);
    assert_eq!(archiver.sweep().await, Sweep::default());
    node.cut_off.store(false, Ordering::SeqCst);
    node.place.store(1, Ordering::SeqCst);
    assert_eq!(archiver.sweep().await, Sweep::default());
    node.place.store(0, Ordering::SeqCst);
    let all = Sweep {
        expired: 0,
        deleted: 3,
    };
    assert_eq!(archiver.sweep().await, all);
    assert_eq!(world.names().await, left);
    // A request that was on its way comes late: that goes as well, and then the channel is forgotten.
    fill(&world, goes, HOUR).await;
    assert!(world.deleted.lock().contains_key(&goes));
    assert_eq!(archiver.sweep().await, all);
    assert_eq!(world.names().await, left);
    assert_eq!(archiver.sweep().await, Sweep::default());
    let remembered: Vec<ChannelId> = world.deleted.lock().keys().copied().collect();
    assert_eq!(remembered, [again]);
    assert_eq!(archiver.state().advice, None);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_deleted_stays() {
    let world = World::new();
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    // As with the archive of another cluster, or after coordination has lost channels.
    for id in 1..=30 {
        fill(&world, ChannelId(id), HOUR).await;
    }
    for id in 1_000..1_100 {
        world.channel(id, "{}");
    }
    for _ in 0..3 {
        assert_eq!(archiver.sweep().await, Sweep::default());
        world.pass(HOUR).await;
    }
    let advice = archiver.state().advice.unwrap();
    assert!(advice.starts_with(
        "the archive has 30 folders of channels that this cluster neither has nor has deleted"
    ));
    assert_eq!(world.names().await.len(), 90);
}
