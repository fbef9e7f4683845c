//! Items of the past, where the archive's answers are not what was done.

use super::*;
use crate::archive::store::watched::{Watch, watched};
use crate::channel::config::{ConfigUpdate, Defaults};
use crate::cluster::EmbeddedCoordination;
use crate::env::{HubClock, SystemClock};
use crate::http::body::Inflight;
use crate::item::NodeSlot;

struct World {
    historical: Historical,
    channel: Arc<Channel>,
    store: Store,
    watch: Arc<Watch>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(HubClock::start(Arc::new(SystemClock)));
        let coordination =
            EmbeddedCoordination::open(&folder.path().join("coordination"), Arc::clone(&clock));
        let coordination = Arc::new(coordination.unwrap());
        let channels = Channels::load(coordination, clock, Defaults::default()).await;
        let channels = channels.unwrap();
        let update = ConfigUpdate::parse(br#"{"mutableTime": "2013-06-01"}"#).unwrap();
        let channel = channels.put("past", &update).await.unwrap();
        let (store, watch) = watched();
        let reader = ArchiveReader::new(Arc::new(store.clone()), 1 << 20, Inflight::new(1 << 30));
        let historical = Historical::new(
            Some((Arc::new(store.clone()), Arc::new(reader))),
            channels,
            PastStamps::new(NodeSlot::new(1).unwrap(), 7),
            Duration::from_secs(10),
        );
        Self {
            historical,
            channel,
            store,
            watch,
            _folder: folder,
        }
    }

    async fn insert(&self, text: &str, key: Option<&str>) -> Result<ItemKey, HistoricalError> {
        let place = Place {
            at: Millis::parse_iso("2013-01-01T00:00:00Z").unwrap(),
            suffix: None,
        };
        let payload = Payload {
            content_type: None,
            bytes: text.to_owned().into(),
        };
        self.historical
            .insert(&self.channel, place, &payload, key)
            .await
    }

    async fn names(&self) -> Vec<String> {
        self.store.all_names("").await.unwrap()
    }
}

#[tokio::test]
async fn an_insert_that_is_said_to_be_there_is_there() {
    let world = World::new().await;
    // Another try was on its way, and died.
    world.watch.lie(false);
    let key = world.insert("one", Some("key")).await.unwrap();
    let names = [Object::Item(key).name(world.channel.id)];
    assert_eq!(world.names().await, names);
    // The same again, and another payload.
    assert_eq!(world.insert("one", Some("key")).await.unwrap(), key);
    let reused = world.insert("two", Some("key")).await;
    assert!(matches!(reused, Err(HistoricalError::KeyReused)));
    // One that was deleted was there.
    world.historical.delete(&world.channel, &key).await.unwrap();
    assert_eq!(world.insert("one", Some("key")).await.unwrap(), key);
    assert_eq!(world.names().await, names);
}

#[tokio::test]
async fn an_insert_that_was_done_and_not_answered_is_there_once() {
    let world = World::new().await;
    world.watch.lie(true);
    let key = world.insert("one", None).await.unwrap();
    let names = [Object::Item(key).name(world.channel.id)];
    assert_eq!(world.names().await, names);
    // Two that are alike are two.
    let other = world.insert("one", None).await.unwrap();
    assert_ne!(other, key);
    assert_eq!(world.names().await.len(), 2);
}
