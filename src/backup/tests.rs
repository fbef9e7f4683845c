//! Backups from one end to the other, on stores in memory.

mod busy;
mod damage;
mod restoring;
mod rivals;

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
