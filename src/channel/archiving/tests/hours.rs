//! Hours whose minutes are put together.

use super::*;

/// Items in some minutes of the hour that begins at noon: their keys.
fn fill(world: &World, channel: ChannelId, minutes: &[i64]) -> Vec<ItemKey> {
    let mut keys = Vec::new();
    for minute in minutes {
        let at = NOON.plus(minute * MINUTE);
        keys.push(world.store(channel, at.plus(5), format!("item {minute}")));
        keys.push(world.store_bulk(channel, at.plus(6), &["two", "three"]));
    }
    keys
}

fn hour(channel: ChannelId) -> String {
    Object::Hour(NOON).name(channel)
}

fn minute(channel: ChannelId, minute: i64) -> String {
    Object::Minute(NOON.plus(minute * MINUTE)).name(channel)
}

#[tokio::test(start_paused = true)]
async fn the_minutes_of_an_hour_become_one_object() {
    let world = World::new();
    let (busy, idle) = (world.channel(1, "{}"), world.channel(2, "{}"));
    let none = world.channel(3, "{}");
    let nodes = [0, 1, 2].map(|place| world.node(place));
    let archivers: Vec<_> = nodes
        .iter()
        .map(|node| world.archiver(&node.place.load(Ordering::SeqCst).to_string(), node))
        .collect();
    let archivers: Vec<_> = archivers.iter().collect();
    world.run(&archivers, MINUTE).await;
    let keys = fill(&world, busy, &[0, 1, 7, 30, 59]);
    let alone = fill(&world, idle, &[12]);
    // Before the hour is over there are minutes.
    world.run(&archivers, HOUR - MINUTE + SETTLE + 20_000).await;
    let minutes = [0, 1, 7, 30, 59].map(|at| minute(busy, at));
    let of_idle = minute(idle, 12);
    let before: Vec<_> = minutes.iter().chain([&of_idle]).cloned().collect();
    assert_eq!(world.names().await, before);
    world.watch.clear();
    world.run(&archivers, 3 * MINUTE).await;
    assert_eq!(
        (world.watch.take("put"), world.watch.take("upload")),
        (1, 0)
    );
    // One listing of each channel that has something.
    assert_eq!(world.watch.take("list"), 2);
    // The hour is there, and its minutes still are.
    let both: Vec<_> = [hour(busy)].into_iter().chain(before).collect();
    assert_eq!(world.names().await, both);
    world.run(&archivers, 6 * MINUTE).await;
    assert_eq!(world.names().await, [hour(busy), of_idle.clone()]);
    let index = world.index(busy, Object::Hour(NOON)).await;
    assert_eq!(keys_of(&index), keys);
    let first = index.find(&keys[0]).unwrap();
    assert_eq!((first.size, first.content_type), (6, Some("text/plain")));
    // The others see that it is done, and all of them go on.
    world.run(&archivers, 20 * MINUTE).await;
    for archiver in &archivers {
        assert_eq!(archiver.state().rolled_to, NOON.plus(HOUR));
        assert_eq!(archiver.state().rollup_obstacle, None);
    }
    world.watch.clear();
    world.run(&archivers, 2 * HOUR).await;
    let asked = ["put", "get", "list", "delete"].map(|kind| world.watch.take(kind));
    assert_eq!(asked, [0; 4]);
    assert_eq!(
        keys_of(
            &world
                .index(idle, Object::Minute(NOON.plus(12 * MINUTE)))
                .await
        ),
        alone
    );
    let _ = none;
}

#[tokio::test(start_paused = true)]
async fn a_roll_up_goes_on_wherever_it_was_left() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    let keys = fill(&world, channel, &[0, 1, 2]);
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    world.run(&[&archiver], HOUR + SETTLE).await;
    assert_eq!(world.names().await.len(), 3);
    // Stopped before, in the middle, and before the minutes are gone.
    for failing in [Some(hour(channel)), Some("delete me".to_owned()), None] {
        world.watch.fail(failing.as_deref());
        let archiver = world.archiver("1", &node);
        world.run(&[&archiver], 4 * MINUTE).await;
        if failing.as_ref() == Some(&hour(channel)) {
            let obstacle = archiver.state().rollup_obstacle.unwrap();
            assert!(obstacle.contains(&hour(channel)), "{obstacle}");
            assert_eq!(world.names().await.len(), 3);
        } else {
            assert_eq!(world.names().await.len(), 4);
        }
        assert!(archiver.state().rolled_to <= NOON);
    }
    let archiver = world.archiver("1", &node);
    world.watch.clear();
    world.run(&[&archiver], 10 * MINUTE).await;
    assert_eq!(world.names().await, [hour(channel)]);
    assert_eq!(world.watch.take("put"), 0);
    assert_eq!(
        keys_of(&world.index(channel, Object::Hour(NOON)).await),
        keys
    );
    assert_eq!(
        world.archiver("1", &node).state().rolled_to,
        NOON.plus(HOUR)
    );
}

#[tokio::test(start_paused = true)]
async fn what_another_one_left_is_rolled_up_by_the_next() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    fill(&world, channel, &[0, 1, 2]);
    let (first, second) = (world.node(0), world.node(1));
    let (first, second) = (world.archiver("1", &first), world.archiver("2", &second));
    for _ in 0..13 {
        world.pass(5 * MINUTE).await;
        first.archive().await.unwrap();
    }
    world.run(&[&second], 2 * MINUTE).await;
    assert_eq!(world.names().await.len(), 3);
    world.run(&[&second], 15 * MINUTE).await;
    assert_eq!(world.names().await, [hour(channel)]);
}

#[tokio::test(start_paused = true)]
async fn an_hour_waits_for_what_others_are_to_write() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    fill(&world, channel, &[0, 1]);
    let late = fill(&world, channel, &[40]);
    // Minute 40 is held by others, of another ring.
    let node = world.node(0);
    for key in &late {
        node.held.lock().insert((channel, *key), None);
    }
    let archiver = world.archiver("1", &node);
    world.run(&[&archiver], HOUR + 10 * MINUTE).await;
    assert_eq!(
        world.names().await,
        [minute(channel, 0), minute(channel, 1)]
    );
    let other = world.node(0);
    let other = world.archiver("2", &other);
    world.pass(5_000).await;
    other.archive().await.unwrap();
    world.run(&[&archiver], 30 * MINUTE).await;
    assert_eq!(world.names().await, [hour(channel)]);
    let index = world.index(channel, Object::Hour(NOON)).await;
    assert!(index.find(&late[0]).is_some());
}

#[tokio::test(start_paused = true)]
async fn minutes_that_are_not_in_their_hour_stay_and_are_told_of() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    let keys = fill(&world, channel, &[0, 1]);
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    world.run(&[&archiver], HOUR + SETTLE).await;
    let mut writer = crate::archive::object::ObjectWriter::new(channel);
    writer.push(keys[0], Some("text/plain"), b"other!").unwrap();
    let made = writer.finish().unwrap();
    world.store.create(&hour(channel), made).await.unwrap();
    world.run(&[&archiver], 20 * MINUTE).await;
    assert_eq!(world.names().await.len(), 3);
    let obstacle = archiver.state().rollup_obstacle.unwrap();
    let wanted = format!(
        "{} is not in it as it is in {}",
        keys[0],
        minute(channel, 0)
    );
    assert!(obstacle.ends_with(&wanted), "{obstacle}");
    // A damaged minute is not put together either.
    let damaged = world.channel(2, "{}");
    let at = NOON.plus(HOUR);
    for minute in [85, 86] {
        world.store(damaged, NOON.plus(minute * MINUTE), "one");
    }
    world.run(&[&archiver], HOUR - 20 * MINUTE).await;
    let name = minute(damaged, 85);
    let read = world.store.read(&name, Which::All).await.unwrap().unwrap();
    let mut bytes = read.bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    world.store.replace(&name, bytes.into()).await.unwrap();
    world.run(&[&archiver], 20 * MINUTE).await;
    let names = world.names().await;
    assert!(names.contains(&name) && !names.contains(&Object::Hour(at).name(damaged)));
}

#[tokio::test(start_paused = true)]
async fn a_large_hour_is_sent_in_parts() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    let mut state = 7u64;
    let mut noise = |length: usize| {
        let byte = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(byte).collect::<Vec<u8>>()
    };
    let mut keys = Vec::new();
    for minute in 0..4 {
        for item in 0..10 {
            let at = NOON.plus(minute * MINUTE + item);
            keys.push(world.store(channel, at, noise(300_000)));
        }
    }
    keys.push(world.store(channel, NOON.plus(5 * MINUTE), noise(6 << 20)));
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    world.run(&[&archiver], HOUR + 20 * MINUTE).await;
    assert_eq!(world.names().await, [hour(channel)]);
    let index = world.index(channel, Object::Hour(NOON)).await;
    assert_eq!(keys_of(&index), keys);
    assert!(world.watch.take("upload") >= 1);
}

#[tokio::test(start_paused = true)]
async fn late_comers_are_held_against_the_hour() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    let keys = fill(&world, channel, &[0, 1, 2]);
    let (first, second) = (world.node(0), world.node(1));
    let (first, second) = (world.archiver("1", &first), world.archiver("2", &second));
    world.run(&[&first], HOUR + 20 * MINUTE).await;
    assert_eq!(world.names().await, [hour(channel)]);
    world.run(&[&second], MINUTE).await;
    assert!(second.archived_to() >= NOON.plus(HOUR));
    // What nobody had written down then is told of, and nothing is written over.
    let late = world.store(channel, NOON.plus(7), "late");
    drop(second.lower(channel, late.millis).await.unwrap());
    world.run(&[&second], MINUTE).await;
    let obstacle = second.state().obstacle.unwrap();
    assert!(
        obstacle.ends_with(&format!("{late} is not in it")),
        "{obstacle}"
    );
    assert_eq!(second.archived_to(), NOON);
    assert_eq!(
        keys_of(&world.index(channel, Object::Hour(NOON)).await),
        keys
    );
}
