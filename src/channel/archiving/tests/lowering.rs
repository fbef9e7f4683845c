//! What is stored below the mark.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_mark_goes_down_on_disk_before_something_is_stored_below() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    let node = world.node(1);
    let first = world.node(0);
    let (first, archiver) = (world.archiver("1", &first), world.archiver("2", &node));
    // Nothing of that time is held here: it goes on.
    let key = world.store(channel, NOON.plus(1), "one");
    node.held.lock().insert((channel, key), None);
    world.pass(5 * MINUTE + SETTLE).await;
    archiver.archive().await.unwrap();
    let far = archiver.archived_to();
    assert_eq!(far, NOON.plus(5 * MINUTE));
    // What is above it costs no write.
    let mark = world.settings("2").mark;
    std::fs::remove_file(&mark).unwrap();
    drop(archiver.lower(channel, far.plus(1)).await.unwrap());
    assert!(!mark.exists());
    // Repair is about to bring it.
    let storing = archiver.lower(channel, key.millis).await.unwrap();
    assert_eq!(archiver.archived_to(), NOON);
    assert_eq!(world.archiver("2", &node).archived_to(), NOON);
    let again = archiver.lower(channel, key.millis).await.unwrap();
    // Whatever is looked at meanwhile.
    world.pass(5_000).await;
    archiver.archive().await.unwrap();
    assert_eq!(archiver.archived_to(), NOON);
    node.held.lock().clear();
    drop((storing, again));
    // It is not archived yet, and this node is not the one to do that.
    world.pass(5_000).await;
    archiver.archive().await.unwrap();
    assert_eq!(archiver.archived_to(), NOON);
    first.archive().await.unwrap();
    world.pass(20_000).await;
    archiver.archive().await.unwrap();
    assert_eq!(archiver.archived_to(), far);
    assert_eq!(world.archiver("2", &node).archived_to(), far);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_not_to_be_stored() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    let node = world.node(0);
    let archiver = world.archiver("1", &node);
    world.pass(5 * MINUTE).await;
    archiver.archive().await.unwrap();
    let far = archiver.archived_to();
    assert!(far > NOON);
    let mark = world.settings("1").mark;
    std::fs::remove_file(&mark).unwrap();
    std::fs::create_dir(&mark).unwrap();
    assert!(archiver.lower(channel, NOON).await.is_err());
    assert_eq!(archiver.archived_to(), far);
    std::fs::remove_dir(&mark).unwrap();
    let storing = archiver.lower(channel, NOON).await.unwrap();
    assert_eq!(archiver.archived_to(), NOON);
    drop(storing);
}
