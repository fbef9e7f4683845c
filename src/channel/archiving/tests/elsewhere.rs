//! An archive that is another one of a sudden, or a copy.

use crate::archive::store::{Guard, MARKER};

use super::*;

/// A guard of the world's store, which must have that number.
async fn guarded(world: &World, id: &str) -> (Arc<Guard>, Store) {
    let guard = Guard::new(&world.store);
    guard.mark(id).await.unwrap();
    guard.expect(id.to_owned());
    assert_eq!(guard.look().await, Looked::Right);
    let store = world.store.guarded(&guard);
    (guard, store)
}

async fn put_marker(world: &World, id: &str) {
    let text = format!("{{\"archive\":\"{id}\",\"format\":1}}");
    world.store.replace(MARKER, text.into()).await.unwrap();
}

/// Whoever puts the marker into an empty archive, or one that was restored from a copy, gets there what Spoke
/// still has.
#[tokio::test(start_paused = true)]
async fn what_counts_as_archived_begins_anew_in_a_copy() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    world.store(channel, NOON.plus(1), "one");
    let node = world.node(0);
    let (guard, store) = guarded(&world, "7").await;
    let settings = || world.settings("1");
    let archiver = Archiver::of(Arc::clone(&node) as _, &store, settings()).unwrap();
    world.run(&[&archiver], 2 * MINUTE).await;
    assert!(archiver.archived_to() > NOON && archiver.is_where_it_was());
    let minute = Object::Minute(NOON).name(channel);
    for restarts in [false, true] {
        world
            .store
            .delete(std::slice::from_ref(&minute))
            .await
            .unwrap();
        put_marker(&world, "7").await;
        let (_, store) = guarded(&world, "7").await;
        let other = Archiver::of(Arc::clone(&node) as _, &store, settings()).unwrap();
        let archiver = if restarts { &other } else { &archiver };
        if !restarts {
            assert_eq!(guard.look().await, Looked::Right);
        }
        // Until it has looked, nothing counts.
        assert!(!archiver.is_where_it_was(), "restarts: {restarts}");
        world.run(&[archiver], MINUTE).await;
        assert!(archiver.archived_to() > NOON && archiver.is_where_it_was());
        assert!(
            world.names().await.contains(&minute),
            "restarts: {restarts}"
        );
    }
}

/// The mark does not pass what was written to another archive since the last look.
#[tokio::test(start_paused = true)]
async fn nothing_counts_that_was_found_in_another_archive() {
    let world = World::new();
    let channel = world.channel(1, "{}");
    let node = world.node(0);
    let (guard, store) = guarded(&world, "7").await;
    let archiver = Archiver::of(Arc::clone(&node) as _, &store, world.settings("1")).unwrap();
    world.run(&[&archiver], MINUTE).await;
    let at = world.now().floor_to(MINUTE);
    world.store(channel, at, "one");
    world.pass(MINUTE + SETTLE).await;
    let before = archiver.archived_to();
    world.watch.hold(Some(".minute"));
    let swapped = async {
        while world.watch.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        put_marker(&world, "8").await;
        world.watch.hold(None);
    };
    let (archived, ()) = tokio::join!(archiver.archive(), swapped);
    archived.unwrap();
    assert_eq!(archiver.archived_to(), before);
    assert!(!archiver.is_where_it_was());
    let told = archiver.state().obstacle.unwrap();
    assert!(told.contains("says \"8\", and not \"7\""), "{told}");
    // What it had written is not there when the right one is back, and comes again.
    let minute = Object::Minute(at).name(channel);
    world
        .store
        .delete(std::slice::from_ref(&minute))
        .await
        .unwrap();
    put_marker(&world, "7").await;
    assert_eq!(guard.look().await, Looked::Right);
    world.run(&[&archiver], MINUTE).await;
    assert!(archiver.archived_to() > at);
    assert!(world.names().await.contains(&minute));
}
