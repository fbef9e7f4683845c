//! What comes back, and where to.

use super::*;

#[tokio::test]
async fn the_channels_come_back_beside_an_archive_that_is_still_there() {
    let world = World::new();
    world.minute(0, &[1]).await;
    world.make("a", 1, false).await.unwrap();
    let settings = RestoreSettings {
        wanted: Wanted::Newest,
        state_only: true,
        with_rings: false,
    };
    let mut hub = NewHub::new();
    let progress = Progress::default();
    let elsewhere = restore(&world.place, &hub.target, &settings, &progress).await;
    let told = elsewhere.unwrap_err().to_string();
    assert!(told.contains("it is not the archive of that hub"), "{told}");
    hub.target.archive = world.archive;
    let restored = restore(&world.place, &hub.target, &settings, &progress)
        .await
        .unwrap();
    assert_eq!((restored.totals.objects, restored.absent), (1, 0));
    assert_eq!(hub.target.coordination.channels().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_archive_that_is_still_there_is_asked_for_months_and_not_for_objects() {
    let (archive, watch) = watched();
    let world = World {
        archive,
        ..World::new()
    };
    for minute in 0..30 {
        world.minute(minute, &[minute * MINUTE]).await;
    }
    world.make("a", DAY, false).await.unwrap();
    let gone = Object::Minute(Millis::new(0)).name(CHANNEL);
    world.archive.delete(&[gone]).await.unwrap();
    let mut hub = NewHub::new();
    hub.target.archive = world.archive.clone();
    let settings = RestoreSettings {
        wanted: Wanted::Newest,
        state_only: true,
        with_rings: false,
    };
    // No hub starts there while it is compared.
    watch.fail(Some("1970-01"));
    let failed = restore(&world.place, &hub.target, &settings, &Progress::default()).await;
    assert!(matches!(failed, Err(BackupError::Archive(_))), "{failed:?}");
    let restoring = hub.target.coordination.restoring().await.unwrap();
    assert!(restoring.is_some());
    watch.fail(None);
    watch.clear();
    let restored = restore(&world.place, &hub.target, &settings, &Progress::default()).await;
    let restored = restored.unwrap();
    assert_eq!((restored.found, restored.absent), (29, 1));
    let asked = ["list", "get", "head"].map(|kind| watch.take(kind));
    assert_eq!(asked, [1, 0, 0]);
}

#[tokio::test]
async fn a_time_is_put_together_from_the_backups_around_it() {
    let world = World::new();
    world.minute(0, &[1, 2]).await;
    world.make("a", MINUTE, true).await.unwrap();
    let mut world = world;
    world.channels.push(channel("later", 9));
    world.minute(1, &[MINUTE + 1, MINUTE + 2, MINUTE + 3]).await;
    world.minute(2, &[2 * MINUTE]).await;
    world.make("b", 3 * MINUTE, true).await.unwrap();
    for (until, wanted) in [
        (MINUTE, &[1, 2][..]),
        (MINUTE + 2, &[1, 2, MINUTE + 1, MINUTE + 2]),
        (
            2 * MINUTE,
            &[1, 2, MINUTE + 1, MINUTE + 2, MINUTE + 3, 2 * MINUTE],
        ),
    ] {
        let hub = NewHub::new();
        let until = Wanted::Until(Millis::new(until));
        let restored = hub.restore(&world, until).await.unwrap();
        assert_eq!(hub.times().await, wanted);
        // The other one was made later.
        assert_eq!(restored.channels, 1);
        assert!(!restored.falls_short(), "{restored:?}");
    }
    // Up to the time of the last one, and not including it, is everything there.
    for (until, falls_short) in [(3 * MINUTE - 1, false), (3 * MINUTE, true)] {
        let wanted = Wanted::Until(Millis::new(until));
        let restored = NewHub::new().restore(&world, wanted).await.unwrap();
        assert_eq!(restored.falls_short(), falls_short, "{restored:?}");
        assert_eq!(restored.complete_to, Some(Millis::new(3 * MINUTE)));
    }
    let hub = NewHub::new();
    let early = hub
        .restore(&world, Wanted::Until(Millis::new(0)))
        .await
        .unwrap_err();
    assert!(
        early.to_string().contains("the oldest one is of"),
        "{early}"
    );
}

/// What a damaged backup between the one that is taken and the time that is wanted had, nobody knows.
#[tokio::test]
async fn a_damaged_backup_before_the_time_is_not_passed_over() {
    let world = World::new();
    world.minute(0, &[1]).await;
    let names = [1, 2, 3].map(|at| new_id(Millis::new(at * MINUTE), &crate::env::OsRandom));
    for (at, name) in (1..).zip(&names) {
        world.make(name, at * MINUTE, true).await.unwrap();
    }
    harm(
        world.place.store(),
        &format!("backups/{}", names[1]),
        Harm::Changed,
    )
    .await;
    for (until, is_there) in [(MINUTE + 1, true), (2 * MINUTE, false), (3 * MINUTE, true)] {
        let wanted = Wanted::Until(Millis::new(until));
        let restored = NewHub::new().restore(&world, wanted).await;
        match restored {
            Err(BackupError::Damaged(damages)) if !is_there => {
                assert!(damages[0].name.contains(&names[1]), "{damages:?}");
            }
            Ok(_) if is_there => {}
            other => panic!("{until}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_was_deleted_stays_deleted() {
    let world = World::new();
    world.minute(0, &[1, 2]).await;
    let name = Object::Item(key(2)).name(CHANNEL);
    world.archive.create(&name, gone(CHANNEL)).await.unwrap();
    let document = world.make("a", 1, true).await.unwrap();
    assert_eq!((document.totals.objects, document.totals.items), (2, 2));
    let hub = NewHub::new();
    hub.restore(&world, Wanted::Newest).await.unwrap();
    assert_eq!(hub.times().await, [1]);
}

#[tokio::test]
async fn an_interrupted_restore_goes_on_and_nothing_else_does() {
    let world = World::new();
    for minute in 0..4 {
        world.minute(minute, &[minute * MINUTE]).await;
    }
    world.make("a", DAY, true).await.unwrap();
    let copies = world.names(OBJECTS).await;
    let broken = world
        .place
        .store()
        .read(&copies[2], Which::All)
        .await
        .unwrap()
        .unwrap()
        .bytes;
    harm(world.place.store(), &copies[2], Harm::Changed).await;
    let hub = NewHub::new();
    assert!(hub.restore(&world, Wanted::Newest).await.is_err());
    assert_eq!(hub.target.archive.all_names("").await.unwrap().len(), 3);
    let other = hub
        .restore(&world, Wanted::Until(Millis::new(DAY)))
        .await
        .unwrap_err();
    assert!(matches!(other, BackupError::NotEmpty { .. }), "{other}");

    world
        .place
        .store()
        .replace(&copies[2], broken)
        .await
        .unwrap();
    hub.target
        .archive
        .create("foreign", Bytes::new())
        .await
        .unwrap();
    let foreign = hub.restore(&world, Wanted::Newest).await.unwrap_err();
    assert!(foreign.to_string().contains("foreign"), "{foreign}");
    hub.target
        .archive
        .delete(&["foreign".to_owned()])
        .await
        .unwrap();
    let restored = hub.restore(&world, Wanted::Newest).await.unwrap();
    assert_eq!((restored.found, restored.totals.objects), (3, 4));
    assert_eq!(hub.times().await, [0, MINUTE, 2 * MINUTE, 3 * MINUTE]);
}

#[tokio::test]
async fn an_archive_or_hub_that_is_not_empty_is_left_alone() {
    let world = World::new();
    world.minute(0, &[1]).await;
    world.make("a", 1, true).await.unwrap();
    let hub = NewHub::new();
    hub.target.archive.create("x", Bytes::new()).await.unwrap();
    let told = hub.restore(&world, Wanted::Newest).await.unwrap_err();
    assert!(
        matches!(&told, BackupError::NotEmpty { reason } if reason.contains('x')),
        "{told}"
    );
    assert_eq!(hub.target.coordination.restoring().await.unwrap(), None);
    assert_eq!(hub.target.archive.all_names("").await.unwrap(), ["x"]);
}
