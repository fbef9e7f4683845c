//! Backups and archives that are damaged.

use super::*;

#[tokio::test]
async fn a_damaged_backup_is_refused_by_name() {
    for how in [Harm::Gone, Harm::Changed, Harm::Cut, Harm::Longer] {
        let names = {
            let world = World::new();
            world.minute(0, &[1]).await;
            world.make("a", 1, true).await.unwrap();
            world.names("").await
        };
        // The document, three parts, and a copy.
        assert_eq!(names.len(), 5, "{names:?}");
        for name in names {
            let world = World::new();
            world.minute(0, &[1]).await;
            world.make("a", 1, true).await.unwrap();
            harm(world.place.store(), &name, how).await;
            let hub = NewHub::new();
            let refused = hub.restore(&world, Wanted::Newest).await.unwrap_err();
            let named = refused.to_string();
            let missing = matches!(how, Harm::Gone) && name.starts_with("backups/");
            if missing {
                assert!(matches!(refused, BackupError::NoBackup { .. }), "{refused}");
            } else {
                assert!(
                    matches!(refused, BackupError::Damaged(_)),
                    "{name}: {refused}"
                );
                assert!(named.contains(&name), "{name}: {refused}");
                let damages = world.verified().await;
                assert!(
                    damages.iter().any(|damage| damage.name.contains(&name)),
                    "{damages:?}"
                );
            }
            // A changed byte is found when it is copied: no hub starts then.
            let begun = hub.target.coordination.restoring().await.unwrap().is_some();
            let copied = name.starts_with(OBJECTS) && matches!(how, Harm::Changed);
            assert_eq!(begun, copied, "{name}");
            assert!(hub.target.coordination.channels().await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn a_damaged_archive_is_not_backed_up_unless_that_is_wanted() {
    let world = World::new();
    world.minute(0, &[1]).await;
    world.minute(1, &[MINUTE]).await;
    let name = Object::Minute(Millis::new(0)).name(CHANNEL);
    harm(&world.archive, &name, Harm::Changed).await;
    let refused = world.make("a", 1, true).await.unwrap_err();
    assert!(refused.to_string().contains(&name), "{refused}");
    assert!(world.place.ids().await.unwrap().is_empty());
    assert!(world.names("locks").await.is_empty());

    let settings = CreateSettings {
        id: "b".to_owned(),
        with_items: true,
        skip_damaged: true,
    };
    let told = Told {
        now: Millis::new(1),
        hub: String::new(),
        cluster: String::new(),
        archive: String::new(),
        archived_to: None,
        state: State {
            channels: world.channels.clone(),
            rings: RingState::default(),
        },
    };
    let (ended, progress) = (|| Millis::new(2), Progress::default());
    let made = create(
        &world.place,
        &world.archive,
        told,
        &settings,
        ended,
        &progress,
    )
    .await;
    assert_eq!(made.unwrap().left_out, std::slice::from_ref(&name));
    let restored = NewHub::new().restore(&world, Wanted::Newest).await.unwrap();
    assert_eq!(restored.left_out, [name]);
}

#[tokio::test]
async fn a_copy_that_is_damaged_is_made_anew_once_it_is_removed() {
    let world = World::new();
    world.minute(0, &[1]).await;
    world.minute(1, &[MINUTE]).await;
    world.make("a", 1, true).await.unwrap();
    let before = world.names("").await;
    let copies = world.names(OBJECTS).await;
    harm(world.place.store(), &copies[0], Harm::Changed).await;
    let ids = world.place.ids().await.unwrap();
    let read = async || {
        verify(&world.place, &ids, &Progress::default())
            .await
            .unwrap()
    };
    let bad = read().await.damaged_copies;
    assert_eq!(bad.len(), 1);
    // Whoever makes a backup just then may refer to it.
    let lock = "locks/create-x".to_owned();
    let store = world.place.store();
    store.create(&lock, Bytes::new()).await.unwrap();
    let busy = remove_damaged(&world.place, &bad, "r").await;
    assert!(matches!(busy, Err(BackupError::Busy { .. })), "{busy:?}");
    store.delete(&[lock]).await.unwrap();
    // A backup that is made without that refers to it again.
    world.make("b", 2, true).await.unwrap();
    assert_eq!(read().await.damages.len(), 1);

    let removed = remove_damaged(&world.place, &bad, "r").await.unwrap();
    assert_eq!(removed, copies[..1]);
    assert_eq!(world.names(OBJECTS).await, copies[1..]);
    // What is missing is nothing that could be removed.
    assert_eq!(read().await.damaged_copies, []);
    world.make("c", 3, true).await.unwrap();
    assert_eq!(world.verified().await, []);
    assert_eq!(world.names(OBJECTS).await, copies);
    // And what is whole by then stays.
    let again = remove_damaged(&world.place, &bad, "r").await.unwrap();
    assert_eq!((again.len(), world.names("locks").await.len()), (0, 0));
    let now = world.names("").await;
    assert!(before.iter().all(|name| now.contains(name)), "{now:?}");
}

#[tokio::test]
async fn a_kept_backup_that_cannot_be_read_keeps_everything() {
    let world = World::new();
    world.minute(0, &[1]).await;
    world.make("a", 1, true).await.unwrap();
    world.make("b", 40 * DAY, true).await.unwrap();
    let parts = world.names(PARTS).await;
    let list = world
        .place
        .document("b")
        .await
        .unwrap()
        .months
        .sha256
        .to_string();
    let list = parts.iter().find(|name| name.contains(&list)).unwrap();
    harm(world.place.store(), list, Harm::Changed).await;
    let before = world.names("").await;
    let pruned = prune(
        &world.place,
        Millis::new(41 * DAY),
        30,
        "p",
        &Progress::default(),
    )
    .await;
    assert!(matches!(pruned, Err(BackupError::Damaged(_))), "{pruned:?}");
    assert_eq!(world.names("").await, before);
}
