//! Several who work on one place.

use super::*;

#[tokio::test]
async fn two_backups_at_once_and_one_that_was_killed_do_no_harm() {
    let world = World::new();
    for minute in 0..20 {
        world.minute(minute, &[minute * MINUTE]).await;
    }
    {
        // It goes no further than its first steps, and leaves what it has done.
        let killed = world.make("killed", 1, true);
        let few = tokio::time::timeout(std::time::Duration::from_millis(1), killed);
        let _ = few.await;
    }
    let (a, b) = tokio::join!(world.make("a", 2, true), world.make("b", 2, true));
    assert_eq!(a.unwrap().totals, b.unwrap().totals);
    assert_eq!(world.names(OBJECTS).await.len(), 20);
    assert_eq!(world.verified().await, []);
}

#[tokio::test]
async fn nothing_is_removed_while_a_backup_is_made() {
    let world = World::new();
    world.minute(0, &[1]).await;
    world.make("a", 1, true).await.unwrap();
    let store = world.place.store();
    store.create("locks/create-x", Bytes::new()).await.unwrap();
    let progress = Progress::default();
    let busy = prune(&world.place, Millis::new(90 * DAY), 30, "p", &progress).await;
    assert!(matches!(busy, Err(BackupError::Busy { .. })), "{busy:?}");
    store.delete(&["locks/create-x".to_owned()]).await.unwrap();
    let pruned = prune(&world.place, Millis::new(90 * DAY), 30, "p", &progress).await;
    assert_eq!(pruned.unwrap().kept, ["a"]);
    assert!(world.names("locks").await.is_empty());
}

#[tokio::test]
async fn a_backup_whose_lock_was_taken_away_comes_to_nothing() {
    let (store, watch) = watched();
    let world = World {
        place: Arc::new(Place::on(store, "memory")),
        ..World::new()
    };
    world.minute(0, &[1]).await;
    watch.hold(Some(OBJECTS));
    let taken_away = async {
        while watch.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let locks = world.names("locks").await;
        assert_eq!(locks, ["locks/create-a"]);
        world.place.store().delete(&locks).await.unwrap();
    };
    let (made, ()) = tokio::join!(world.make("a", 1, true), taken_away);
    assert!(matches!(made, Err(BackupError::Busy { .. })), "{made:?}");
    watch.hold(None);
    assert!(world.place.ids().await.unwrap().is_empty());
    assert!(world.names("locks").await.is_empty());
    world.make("b", 2, true).await.unwrap();
    assert_eq!(world.verified().await, []);
}
