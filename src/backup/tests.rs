//! Backups from one end to the other, on stores in memory.

mod busy;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::place::{OBJECTS, PARTS};
use super::*;
use crate::archive::name::{MINUTE, Object};
use crate::archive::object::{ObjectWriter, gone};
use crate::archive::store::watched::watched;
use crate::archive::store::{Store, Which};
use crate::cluster::EmbeddedCoordination;
use crate::env::{HubClock, ManualClock, Millis};
use crate::item::{ItemKey, Suffix};
use crate::spoke::ChannelId;

const CHANNEL: ChannelId = ChannelId(7);
const DAY: i64 = 86_400_000;

fn key(at: i64) -> ItemKey {
    ItemKey::new(Millis::new(at), Suffix::parse("0").unwrap())
}

/// An object of the items of those times.
fn object(times: &[i64]) -> Bytes {
    let mut writer = ObjectWriter::new(CHANNEL);
    for at in times {
        let payload = format!("item {at}");
        writer
            .push(key(*at), Some("text/plain"), payload.as_bytes())
            .unwrap();
    }
    writer.finish().unwrap()
}

/// A hub's archive, and where its backups are.
struct World {
    archive: Store,
    place: Arc<Place>,
    channels: Vec<ChannelState>,
}

fn channel(name: &str, id: u64) -> ChannelState {
    ChannelState {
        name: name.to_owned(),
        id: ChannelFolder(ChannelId(id)),
        data: serde_json::json!({"name": name, "ttlDays": 3, "keptFrom": [5, "a"]}),
        document: Some(format!("# {name}")),
    }
}

impl World {
    fn new() -> Self {
        Self {
            archive: Store::in_memory(),
            place: Arc::new(Place::on(Store::in_memory(), "memory")),
            channels: vec![channel("clicks", CHANNEL.0)],
        }
    }

    async fn minute(&self, minute: i64, times: &[i64]) {
        let name = Object::Minute(Millis::new(minute * MINUTE)).name(CHANNEL);
        self.archive.create(&name, object(times)).await.unwrap();
    }

    async fn make(&self, id: &str, at: i64, with_items: bool) -> Result<Document, BackupError> {
        let told = Told {
            now: Millis::new(at),
            hub: "1".to_owned(),
            cluster: "hub".to_owned(),
            archive: "memory".to_owned(),
            archived_to: Some(Millis::new(at)),
            state: State {
                channels: self.channels.clone(),
                rings: RingState::default(),
            },
        };
        let settings = CreateSettings {
            id: id.to_owned(),
            with_items,
            skip_damaged: false,
        };
        let ended = || Millis::new(at + 1);
        let progress = Progress::default();
        create(
            &self.place,
            &self.archive,
            told,
            &settings,
            ended,
            &progress,
        )
        .await
    }

    async fn verified(&self) -> Vec<Damage> {
        let ids = self.place.ids().await.unwrap();
        let verified = verify(&self.place, &ids, &Progress::default()).await;
        verified.unwrap().damages
    }

    async fn names(&self, folder: &str) -> Vec<String> {
        self.place.store().all_names(folder).await.unwrap()
    }
}

/// A hub that is being restored.
struct NewHub {
    target: Target,
    _folder: tempfile::TempDir,
}

impl NewHub {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(HubClock::start(ManualClock::new(Millis::new(0))));
        let path = folder.path().join("coordination.redb");
        Self {
            target: Target {
                coordination: Arc::new(EmbeddedCoordination::open(&path, clock).unwrap()),
                archive: Store::in_memory(),
                archive_url: "memory".to_owned(),
            },
            _folder: folder,
        }
    }

    async fn restore(&self, world: &World, wanted: Wanted) -> Result<Restored, BackupError> {
        let settings = RestoreSettings {
            wanted,
            state_only: false,
            with_rings: false,
        };
        restore(&world.place, &self.target, &settings, &Progress::default()).await
    }

    /// The times of all its items.
    async fn times(&self) -> Vec<i64> {
        let mut times = Vec::new();
        for month in self
            .target
            .archive
            .folders(&ChannelFolder(CHANNEL).name())
            .await
            .unwrap()
        {
            let items = items_of(&self.target.archive, &month).await.unwrap();
            times.extend(items.iter().map(|item| item.key.millis.get()));
        }
        times
    }
}

#[tokio::test]
async fn what_was_backed_up_comes_back() {
    let world = World::new();
    world.minute(0, &[1, 2]).await;
    world.minute(1, &[MINUTE]).await;
    let document = world.make("a", 2 * MINUTE, true).await.unwrap();
    assert_eq!((document.totals.objects, document.totals.items), (2, 3));
    assert_eq!(document.newest, Some(Millis::new(MINUTE)));
    assert_eq!(world.verified().await, []);

    let hub = NewHub::new();
    let restored = hub.restore(&world, Wanted::Newest).await.unwrap();
    assert_eq!((restored.channels, restored.totals), (1, document.totals));
    assert_eq!(hub.times().await, [1, 2, MINUTE]);
    let coordination = &hub.target.coordination;
    let channels = coordination.channels().await.unwrap();
    let data: serde_json::Value = serde_json::from_slice(&channels[0].data).unwrap();
    assert_eq!(
        (channels[0].id, data),
        (CHANNEL.0, world.channels[0].data.clone())
    );
    let text = coordination.document("clicks").await.unwrap();
    assert_eq!(text.as_deref(), Some("# clicks"));
    assert_eq!(coordination.restoring().await.unwrap(), None);
    // What is made later has another number.
    let later = coordination.create_channel("later", b"{}".to_vec(), None);
    assert!(later.await.unwrap().id > CHANNEL.0);
    // And it is not restored into again.
    let again = hub.restore(&world, Wanted::Newest).await.unwrap_err();
    assert!(
        again.to_string().contains("the hub has 2 channels"),
        "{again}"
    );
}

#[tokio::test]
async fn only_what_is_new_is_read_and_copied() {
    let world = World::new();
    world.minute(0, &[1]).await;
    let first = world.make("a", 1, true).await.unwrap();
    world.minute(1, &[MINUTE]).await;
    let second = world.make("b", 2, true).await.unwrap();
    assert_eq!((first.added.objects, second.added.objects), (1, 1));
    assert_eq!((first.totals.objects, second.totals.objects), (1, 2));
    let third = world.make("c", 3, true).await.unwrap();
    assert_eq!(third.added, Totals::default());
    // Nothing changed, so it has the same list.
    assert_eq!(third.months, second.months);
    assert_eq!(world.names(OBJECTS).await.len(), 2);

    // A copy that is gone is made again, and so is one of another length.
    let copies = world.names(OBJECTS).await;
    let store = world.place.store();
    store.delete(&copies[..1]).await.unwrap();
    store
        .replace(&copies[1], Bytes::from_static(b"x"))
        .await
        .unwrap();
    assert_eq!(world.verified().await.len(), 2);
    let fourth = world.make("d", 4, true).await.unwrap();
    assert_eq!(fourth.added.objects, 2);
    assert_eq!(world.verified().await, []);
}

#[tokio::test]
async fn what_was_only_listed_is_copied_when_that_is_wanted() {
    let world = World::new();
    world.minute(0, &[1]).await;
    world.make("a", 1, false).await.unwrap();
    assert!(world.names(OBJECTS).await.is_empty());
    let hub = NewHub::new();
    let refused = hub.restore(&world, Wanted::Newest).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("there is no backup with items"),
        "{refused}"
    );
    world.make("b", 2, true).await.unwrap();
    assert_eq!(world.names(OBJECTS).await.len(), 1);
    hub.restore(&world, Wanted::Newest).await.unwrap();
    assert_eq!(hub.times().await, [1]);
}

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

/// What can happen to an object of a place.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Gone,
    Changed,
    Cut,
    Longer,
}

async fn harm(store: &Store, name: &str, harm: Harm) {
    let bytes = store.read(name, Which::All).await.unwrap().unwrap().bytes;
    let mut bytes = bytes.to_vec();
    match harm {
        Harm::Gone => return store.delete(&[name.to_owned()]).await.unwrap(),
        Harm::Changed => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        Harm::Cut => bytes.truncate(bytes.len() - 1),
        Harm::Longer => bytes.push(b'\n'),
    }
    store.replace(name, bytes.into()).await.unwrap();
}

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// An archive that grows, is rolled up and loses what is past its retention, and is backed up now and then.
    #[test]
    fn whatever_is_pruned_the_rest_can_be_restored(
        steps in proptest::collection::vec((0u8..4, 0i64..12), 1..25),
        keep in 0u32..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let mut there: BTreeMap<String, Vec<i64>> = BTreeMap::new();
            let mut made: Vec<(Document, Vec<i64>)> = Vec::new();
            let mut today = 0;
            for (what, number) in steps {
                let minute = Millis::new(number * 20 * MINUTE);
                match what {
                    0 | 1 => {
                        let name = Object::Minute(minute).name(CHANNEL);
                        let hour = Object::Hour(minute.floor_to(60 * MINUTE)).name(CHANNEL);
                        if !there.contains_key(&hour) && !there.contains_key(&name) {
                            let times = vec![minute.get(), minute.get() + 1];
                            world.archive.create(&name, object(&times)).await.unwrap();
                            there.insert(name, times);
                        }
                    }
                    2 => {
                        // All minutes of the hour become one object.
                        let hour = minute.floor_to(60 * MINUTE);
                        let name = Object::Hour(hour).name(CHANNEL);
                        let minutes: Vec<String> = (0..60)
                            .map(|at| Object::Minute(hour.plus(at * MINUTE)).name(CHANNEL))
                            .filter(|minute| there.contains_key(minute))
                            .collect();
                        if minutes.is_empty() {
                            continue;
                        }
                        let times: Vec<i64> = minutes
                            .iter()
                            .flat_map(|minute| there.remove(minute).unwrap())
                            .collect();
                        world.archive.create(&name, object(&times)).await.unwrap();
                        world.archive.delete(&minutes).await.unwrap();
                        there.insert(name, times);
                    }
                    _ => {
                        today += 1;
                        let id = format!("{today:03}");
                        let document = world.make(&id, today * DAY, true).await.unwrap();
                        made.push((document, there.values().flatten().copied().collect()));
                    }
                }
            }
            let documents: Vec<Document> = made.iter().map(|(document, _)| document.clone()).collect();
            let now = Millis::new((today + 1) * DAY);
            let gone = expired(&documents, now, keep);
            let pruned = prune(&world.place, now, keep, "p", &Progress::default()).await.unwrap();
            assert_eq!(pruned.removed, gone);
            let ids = world.place.ids().await.unwrap();
            assert_eq!(pruned.kept, ids);
            assert_eq!(world.verified().await, []);
            for (document, mut times) in made {
                if !ids.contains(&document.id) {
                    continue;
                }
                let hub = NewHub::new();
                hub.restore(&world, Wanted::Named(document.id)).await.unwrap();
                times.sort_unstable();
                assert_eq!(hub.times().await, times);
            }
            // Nothing is kept that nobody refers to.
            let again = prune(&world.place, now, keep, "q", &Progress::default()).await.unwrap();
            assert_eq!((again.objects, again.removed.len()), (0, 0));
            let copies = world.names(OBJECTS).await.len();
            assert!(!ids.is_empty() || copies == 0);
        });
    }
}
