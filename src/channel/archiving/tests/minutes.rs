//! Minutes, and who writes them.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_minute_is_put_once_and_verified_by_the_others() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    let nodes = [0, 1, 2].map(|place| world.node(place));
    let archivers: Vec<_> = nodes
        .iter()
        .map(|node| world.archiver(&node.place.load(Ordering::SeqCst).to_string(), node))
        .collect();
    let archivers: Vec<_> = archivers.iter().collect();
    world.run(&archivers, 60_000).await;
    let keys = [
        world.store(channel, NOON.plus(1), "one"),
        world.store_bulk(channel, NOON.plus(2), &["two", "three"]),
        world.store(channel, NOON.plus(60_001), "four"),
    ];
    world.watch.clear();
    world.run(&archivers, 120_000).await;
    let asked = (world.watch.take("put"), world.watch.take("upload"));
    assert_eq!(asked, (2, 0));
    // Whoever verifies looks a little later, and reads once; the writer looks before and after.
    assert_eq!(world.watch.take("get"), 2 * 4);
    assert_eq!(world.watch.take("list"), 0);
    let first = world.index(channel, Object::Minute(NOON)).await;
    assert_eq!(keys_of(&first), keys[..2]);
    let second = world
        .index(channel, Object::Minute(NOON.plus(MINUTE)))
        .await;
    assert_eq!(keys_of(&second), keys[2..]);
    for archiver in &archivers {
        assert_eq!(archiver.archived_to(), NOON.plus(2 * MINUTE));
        assert_eq!(archiver.state().obstacle, None);
    }
    // Nothing is asked where nothing is held.
    world.watch.clear();
    world.run(&archivers, 300_000).await;
    assert_eq!((world.watch.take("get"), world.watch.take("list")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_minute_that_its_writer_leaves_is_written_by_the_next_in_turn() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    let (second, third) = (world.node(1), world.node(2));
    let (second, third) = (world.archiver("2", &second), world.archiver("3", &third));
    world.store(channel, NOON.plus(1), "one");
    let over = MINUTE + SETTLE;
    world.run(&[&third, &second], over + TAKEOVER - 5_000).await;
    assert_eq!(world.watch.take("put"), 0);
    // The second has its own time before the third.
    world.run(&[&third, &second], 35_000).await;
    assert_eq!(world.watch.take("put"), 1);
    assert!(second.archived_to() > NOON);
    world.run(&[&third, &second], TAKEOVER).await;
    assert_eq!(world.watch.take("put"), 0);
    assert!(third.archived_to() > NOON);
    // Without it the third does.
    world.store(channel, world.now(), "two");
    world.run(&[&third], over + TAKEOVER).await;
    assert_eq!(world.watch.take("put"), 0);
    world.run(&[&third], TAKEOVER + 60_000).await;
    assert_eq!(world.watch.take("put"), 1);
    assert_eq!(world.names().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_the_writer_writes_and_the_others_wait_for_it() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    let nodes = [0, 1, 2].map(|place| world.node(place));
    let archivers: Vec<_> = nodes
        .iter()
        .map(|node| world.archiver(&node.place.load(Ordering::SeqCst).to_string(), node))
        .collect();
    let archivers: Vec<_> = archivers.iter().collect();
    // Those that come first are those that are to wait.
    let order = [archivers[2], archivers[1], archivers[0]];
    world.watch.fail(Some(""));
    for minute in 0..30 {
        world.store(channel, NOON.plus(minute * MINUTE), "one");
    }
    world.run(&order, 40 * MINUTE).await;
    for archiver in &archivers {
        assert_eq!(archiver.archived_to(), NOON);
        let obstacle = archiver.state().obstacle.unwrap();
        assert!(
            obstacle.starts_with("c1: the archive did not read "),
            "{obstacle}"
        );
    }
    world.watch.fail(None);
    world.watch.clear();
    world.run(&order, 10 * MINUTE).await;
    assert_eq!(world.watch.take("put"), 30);
    for archiver in &archivers {
        assert!(archiver.archived_to() > NOON.plus(45 * MINUTE));
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_over_for_good_does_not_wait_before_each_minute() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    for minute in 0..30 {
        world.store(channel, NOON.plus(minute * MINUTE), "one");
    }
    world.pass(40 * MINUTE).await;
    let second = world.node(1);
    let second = world.archiver("2", &second);
    world.run(&[&second], TAKEOVER + 60_000).await;
    assert_eq!(world.watch.take("put"), 30);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_differs_is_told_of_and_stays() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    let other = world.channel(2, "{}");
    let (first, second) = (world.node(0), world.node(1));
    let key = world.store(channel, NOON.plus(1), "one");
    let key_of_other = world.store(other, NOON.plus(1), "one");
    // The second holds another payload, and of the other channel all is well.
    let changed = |payload: &'static str, content_type: &str| Item {
        content_type: Some(content_type.to_owned()),
        payload: payload.into(),
    };
    let held = [
        ("two", "text/plain", "payload"),
        ("longer", "text/plain", "size"),
        ("one", "text/css", "media type"),
    ];
    let (first, archived) = (world.archiver("1", &first), NOON.plus(MINUTE));
    world.run(&[&first], MINUTE + SETTLE).await;
    assert_eq!(first.archived_to(), archived);
    let before = world.names().await;
    for (number, (payload, content_type, what)) in held.into_iter().enumerate() {
        let item = Some(changed(payload, content_type));
        second.held.lock().insert((channel, key), item);
        let archiver = world.archiver(&format!("of {number}"), &second);
        world.run(&[&archiver], 30_000).await;
        assert_eq!(archiver.archived_to(), NOON);
        let obstacle = archiver.state().obstacle.unwrap();
        let name = Object::Minute(NOON).name(channel);
        let wanted = format!(
            "c1: {name} differs from what the replicas hold: {key} has another {what} in it"
        );
        assert_eq!(obstacle, wanted);
    }
    // It holds back no other channel, and nothing was changed.
    assert_eq!(world.names().await, before);
    second.held.lock().clear();
    let late = world.store(channel, NOON.plus(2), "late");
    world.store(other, NOON.plus(2 * MINUTE), "more");
    let archiver = world.archiver("late", &second);
    world.run(&[&archiver], 5 * MINUTE).await;
    let obstacle = archiver.state().obstacle.unwrap();
    assert!(
        obstacle.ends_with(&format!("{late} is not in it")),
        "{obstacle}"
    );
    let index = world
        .index(other, Object::Minute(NOON.plus(2 * MINUTE)))
        .await;
    assert_eq!(index.records().len(), 1);
    let of_other = world.index(other, Object::Minute(NOON)).await;
    assert_eq!(keys_of(&of_other), [key_of_other]);
}

#[tokio::test(start_paused = true)]
async fn what_is_past_its_retention_is_no_obstacle() {
    let world = World::new();
    let channel = world.channel(1, r#"{"maxItems": 2}"#);
    let (first, second) = (world.node(0), world.node(1));
    let keys: Vec<_> = (1..=4)
        .map(|at| world.store(channel, NOON.plus(at), "one"))
        .collect();
    let (first, second) = (world.archiver("1", &first), world.archiver("2", &second));
    world.pass(MINUTE).await;
    world.run(&[&first], SETTLE).await;
    assert_eq!(
        world
            .index(channel, Object::Minute(NOON))
            .await
            .records()
            .len(),
        4
    );
    // Two are given up between the one and the other: the object has more than is listed.
    world.change(channel, |channel| channel.kept_from = keys[2]);
    world.run(&[&second], 30_000).await;
    assert_eq!(second.archived_to(), NOON.plus(MINUTE));
    assert_eq!(second.state().obstacle, None);
    // Of one that keeps nothing of a minute nothing is written.
    let expired = world.channel(2, r#"{"ttlDays": 1}"#);
    world.store(expired, NOON.plus(1), "one");
    world.pass(2 * 24 * HOUR).await;
    world.watch.clear();
    let third = world.node(0);
    let third = world.archiver("3", &third);
    world.run(&[&third], 30_000).await;
    assert_eq!(world.watch.take("put"), 0);
    assert!(third.archived_to() > NOON.plus(24 * HOUR));
}

#[tokio::test(start_paused = true)]
async fn two_that_write_at_once_leave_one_object() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    // Noise does not compress: it goes out in parts.
    let mut noise = vec![0u8; 12 << 20];
    let mut state = 7u64;
    for byte in &mut noise {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    let keys = [
        world.store(channel, NOON.plus(1), "one"),
        world.store(channel, NOON.plus(2), noise),
    ];
    let (one, other) = (world.node(0), world.node(0));
    let (one, other) = (world.archiver("1", &one), world.archiver("2", &other));
    world.pass(MINUTE + SETTLE).await;
    world.watch.hold(Some("minute"));
    let release = async {
        while world.watch.waiting() < 2 {
            tokio::task::yield_now().await;
        }
        world.watch.hold(None);
    };
    let (a, b, ()) = tokio::join!(one.archive(), other.archive(), release);
    a.unwrap();
    b.unwrap();
    assert_eq!(
        (world.watch.take("upload"), world.watch.take("put")),
        (2, 0)
    );
    assert_eq!(one.archived_to(), NOON.plus(MINUTE));
    assert_eq!(other.archived_to(), NOON.plus(MINUTE));
    assert_eq!(world.names().await.len(), 1);
    let index = world.index(channel, Object::Minute(NOON)).await;
    assert_eq!(keys_of(&index), keys);
}

#[tokio::test(start_paused = true)]
async fn another_archive_is_filled_from_the_beginning() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    world.store(channel, NOON.plus(1), "one");
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    world.run(&[&archiver], 2 * MINUTE).await;
    assert!(archiver.archived_to() > NOON);
    let again = world.archiver("1", &node);
    assert_eq!(again.archived_to(), archiver.archived_to());
    let settings = ArchiveSettings {
        url: "file:///folder".to_owned(),
        ..world.settings("1")
    };
    let elsewhere = Archiver::of(Arc::clone(&node) as _, &world.store, settings).unwrap();
    assert_eq!(elsewhere.archived_to(), Millis::new(0));
    // A folder of this machine is told of where there are others.
    let advice = elsewhere.state().advice.unwrap();
    assert_eq!(
        advice,
        "file:///folder is a folder of this machine: is it the same one for all 3 members?"
    );
    node.members.store(1, Ordering::SeqCst);
    assert_eq!(elsewhere.state().advice, None);
    assert_eq!(again.state().advice, None);
}

#[tokio::test(start_paused = true)]
async fn an_hour_s_object_stands_for_its_minutes() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    let node = world.node(0);
    let mut writer = crate::archive::object::ObjectWriter::new(channel);
    for minute in [0, 1, 5] {
        let key = world.store(channel, NOON.plus(minute * MINUTE), "one");
        writer.push(key, Some("text/plain"), b"one").unwrap();
    }
    let name = Object::Hour(NOON).name(channel);
    let made = writer.finish().unwrap();
    world.store.create(&name, made).await.unwrap();
    world.pass(HOUR + SETTLE).await;
    world.watch.clear();
    let archiver = world.archiver("1", &node);
    world.run(&[&archiver], 5_000).await;
    assert_eq!(archiver.archived_to(), NOON.plus(HOUR));
    // It is read once, and then known.
    assert_eq!((world.watch.take("put"), world.watch.take("get")), (0, 2));
    // What is not in it is told of, and no minute is written beside it.
    let late = world.store(channel, NOON.plus(2 * MINUTE), "late");
    let archiver = world.archiver("2", &node);
    world.run(&[&archiver], 5_000).await;
    let obstacle = archiver.state().obstacle.unwrap();
    assert!(
        obstacle.ends_with(&format!("{late} is not in it")),
        "{obstacle}"
    );
    assert_eq!(world.names().await, [name]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_not_written() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    world.store(channel, NOON.plus(1), "one");
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    node.away.store(true, Ordering::SeqCst);
    world.run(&[&archiver], 5 * MINUTE).await;
    assert_eq!(archiver.archived_to(), NOON);
    assert_eq!(archiver.state().lagging, 1);
    let obstacle = archiver.state().obstacle.unwrap();
    assert!(obstacle.contains("too few replicas"), "{obstacle}");
    assert!(world.names().await.is_empty());
    node.away.store(false, Ordering::SeqCst);
    world.run(&[&archiver], 3 * MINUTE).await;
    assert_eq!(archiver.state().lagging, 0);
    assert_eq!(world.names().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_to_the_disk_is_waited_for() {
    let world = World::new();
    let (slow, other) = (world.channel(1, "{}"), world.channel(2, "{}"));
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    world.store(other, NOON.plus(1), "one");
    // It is stamped, and its sync takes long: nothing is listed yet.
    node.undecided.lock().insert(slow, NOON.plus(59_900));
    world.run(&[&archiver], 5 * MINUTE).await;
    assert_eq!(world.names().await.len(), 1);
    assert_eq!(archiver.archived_to(), NOON);
    assert_eq!(archiver.state().obstacle, None);
    let key = world.store(slow, NOON.plus(59_900), "two");
    node.undecided.lock().clear();
    world.run(&[&archiver], 2 * MINUTE).await;
    let index = world.index(slow, Object::Minute(NOON)).await;
    assert_eq!(keys_of(&index), [key]);
    assert!(archiver.archived_to() > NOON.plus(MINUTE));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_cannot_be_looked_up_holds_up_no_other() {
    let world = World::new();
    let (broken, other) = (world.channel(1, "{}"), world.channel(2, "{}"));
    world.store(broken, NOON.plus(1), "one");
    world.store(other, NOON.plus(150 * MINUTE), "two");
    world.pass(4 * HOUR).await;
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    node.unreadable.lock().insert(broken);
    world.run(&[&archiver], MINUTE).await;
    assert_eq!(world.names().await.len(), 1);
    let obstacle = archiver.state().obstacle.unwrap();
    assert!(obstacle.starts_with("c1: "), "{obstacle}");
    assert!(archiver.archived_to() <= NOON);
    node.unreadable.lock().clear();
    world.run(&[&archiver], 5 * MINUTE).await;
    assert_eq!(world.names().await.len(), 2);
    assert_eq!(archiver.state().obstacle, None);
}
