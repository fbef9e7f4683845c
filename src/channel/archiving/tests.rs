//! Archivers of several nodes with one store in memory, in a time that is set.

mod elsewhere;
mod hours;
mod large;
mod lowering;
mod minutes;
mod singles;
mod sweeping;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize};

use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;

use super::*;
use crate::archive::name::Object;
use crate::archive::name::{HOUR, MINUTE};
use crate::archive::object::Record;
use crate::archive::store::Which;
use crate::archive::store::watched::{Watch, watched};
use crate::channel::config::{ConfigUpdate, Defaults, create};
use crate::channel::retention;
use crate::cluster::CoordinationError;
use crate::item::{ItemKey, Suffix, pack::PackBuilder};
use crate::spoke::{ItemFlags, ItemHead, StoredItem, StoredPayload, WriteId};

/// Noon, of some day.
const NOON: Millis = Millis::new(1_790_000_000_000 / HOUR * HOUR);
const SETTLE: i64 = 10_000;
const TAKEOVER: i64 = 60_000;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    content_type: Option<String>,
    payload: Bytes,
}

/// What the nodes share.
struct World {
    now: AtomicI64,
    channels: Mutex<BTreeMap<ChannelId, Arc<Channel>>>,
    /// Deleted ones, with when that was.
    deleted: Mutex<BTreeMap<ChannelId, Millis>>,
    /// What a stable read gives.
    stable: Mutex<BTreeMap<(ChannelId, ItemKey), Item>>,
    /// What it lists besides, though nobody finds it any more.
    listed: Mutex<BTreeSet<(ChannelId, ItemKey)>>,
    store: Store,
    watch: Arc<Watch>,
    folder: tempfile::TempDir,
}

/// A node as its archiver sees it.
struct Node {
    world: Arc<World>,
    place: AtomicUsize,
    members: AtomicUsize,
    /// Which of the records it holds, if not all; and as what.
    held: Mutex<BTreeMap<(ChannelId, ItemKey), Option<Item>>>,
    /// Channels that it cannot look up.
    unreadable: Mutex<BTreeSet<ChannelId>>,
    /// From when on what it has of a channel is not decided.
    undecided: Mutex<BTreeMap<ChannelId, Millis>>,
    /// Whether it can be asked for items.
    away: AtomicBool,
    /// Whether coordination answers it.
    cut_off: AtomicBool,
    /// From when on it says nothing, as its ring or its clock may be wrong.
    horizon: AtomicI64,
}

impl World {
    fn new() -> Arc<Self> {
        let (store, watch) = watched();
        Arc::new(Self {
            now: AtomicI64::new(NOON.get()),
            channels: Mutex::default(),
            deleted: Mutex::default(),
            stable: Mutex::default(),
            listed: Mutex::default(),
            store,
            watch,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn now(&self) -> Millis {
        Millis::new(self.now.load(Ordering::SeqCst))
    }

    /// Lets time pass, for clocks and timers.
    async fn pass(&self, millis: i64) {
        self.now.fetch_add(millis, Ordering::SeqCst);
        tokio::time::advance(Duration::from_millis(millis as u64)).await;
    }

    fn channel(&self, id: u64, config: &str) -> ChannelId {
        let update = ConfigUpdate::parse(config.as_bytes()).unwrap();
        let name = format!("c{id}");
        let config = create(&update, Some(&name), &Defaults::default(), NOON).unwrap();
        let id = ChannelId(id);
        let channel = Channel {
            id,
            version: 1,
            config,
            kept_from: ItemKey::MIN,
            historical_to: None,
        };
        self.channels.lock().insert(id, Arc::new(channel));
        id
    }

    /// Stores an item on all nodes.
    fn store(&self, channel: ChannelId, at: Millis, payload: impl Into<Bytes>) -> ItemKey {
        let key = key(at);
        let item = Item {
            content_type: Some("text/plain".to_owned()),
            payload: payload.into(),
        };
        self.stable.lock().insert((channel, key), item);
        key
    }

    fn store_bulk(&self, channel: ChannelId, at: Millis, payloads: &[&str]) -> ItemKey {
        let key = key(at).bulk(payloads.len() as u32).unwrap();
        let mut pack = PackBuilder::default();
        for payload in payloads {
            pack.begin(None).unwrap();
            pack.put(payload.as_bytes()).unwrap();
            pack.end();
        }
        let item = Item {
            content_type: None,
            payload: pack.finish(),
        };
        self.stable.lock().insert((channel, key), item);
        key
    }

    fn node(self: &Arc<Self>, place: usize) -> Arc<Node> {
        Arc::new(Node {
            world: Arc::clone(self),
            place: place.into(),
            members: AtomicUsize::new(3),
            held: Mutex::default(),
            unreadable: Mutex::default(),
            undecided: Mutex::default(),
            away: AtomicBool::new(false),
            cut_off: AtomicBool::new(false),
            horizon: AtomicI64::new(Millis::MAX.get()),
        })
    }

    fn settings(&self, name: &str) -> ArchiveSettings {
        ArchiveSettings {
            settle: SETTLE,
            takeover: TAKEOVER,
            requests_per_second: None,
            mark: self.folder.path().join(name),
            rolled: self.folder.path().join(format!("{name}-hours")),
            rollup_pause: Duration::from_mins(5),
            deleted_pause: Duration::from_mins(30),
            large_item: 40 << 20,
            url: "s3://bucket".to_owned(),
        }
    }

    fn archiver(self: &Arc<Self>, name: &str, node: &Arc<Node>) -> Archiver {
        let source = Arc::clone(node) as Arc<dyn Source>;
        Archiver::of(source, &self.store, self.settings(name)).unwrap()
    }

    /// Lets archivers look every five seconds, for so long.
    async fn run(&self, archivers: &[&Archiver], millis: i64) {
        for _ in 0..millis / 5_000 {
            self.pass(5_000).await;
            for archiver in archivers {
                archiver.archive().await.unwrap();
                archiver.roll_up().await.unwrap();
            }
        }
    }

    /// Changes a channel.
    fn change(&self, id: ChannelId, change: impl FnOnce(&mut Channel)) {
        let mut channels = self.channels.lock();
        let mut channel = (**channels.get(&id).unwrap()).clone();
        change(&mut channel);
        channels.insert(id, Arc::new(channel));
    }

    fn delete(&self, id: ChannelId) {
        self.channels.lock().remove(&id);
        self.deleted.lock().insert(id, self.now());
    }

    /// The names of all objects.
    async fn names(&self) -> Vec<String> {
        let mut names = self.store.all_names("").await.unwrap();
        names.sort();
        names
    }

    async fn index(&self, channel: ChannelId, object: Object) -> Index {
        let name = object.name(channel);
        let read = self.store.read(&name, Which::All).await.unwrap();
        Index::of_object(&read.unwrap_or_else(|| panic!("{name}")).bytes).unwrap()
    }
}

fn key(at: Millis) -> ItemKey {
    ItemKey::new(at, Suffix::parse("000a00").unwrap())
}

fn keys_of(index: &Index) -> Vec<ItemKey> {
    index
        .records()
        .map(|record: Record<'_>| record.key)
        .collect()
}

fn stored(key: ItemKey, item: &Item) -> StoredItem {
    StoredItem {
        head: ItemHead {
            key,
            write_id: WriteId(0),
            flags: ItemFlags::default(),
            content_type: item.content_type.clone(),
            size: item.payload.len() as u64,
            digest: 0,
            replicas: Vec::new(),
        },
        payload: StoredPayload::Whole(item.payload.clone()),
    }
}

impl Node {
    /// What it holds of a record.
    fn item(&self, channel: ChannelId, key: ItemKey) -> Option<Item> {
        let held = self.held.lock().get(&(channel, key)).cloned();
        let all = || self.world.stable.lock().get(&(channel, key)).cloned();
        held.unwrap_or_else(all)
    }

    fn answered(&self) -> Result<(), ChannelError> {
        if self.cut_off.load(Ordering::SeqCst) {
            let reason = "it is cut off".to_owned();
            return Err(CoordinationError::Unavailable { reason }.into());
        }
        Ok(())
    }

    fn all(&self, channel: ChannelId) -> BTreeSet<ItemKey> {
        let stable = self.world.stable.lock();
        let held = self.held.lock();
        let keys = stable.keys().chain(held.keys());
        let keys = keys.filter(|(of, _)| *of == channel).map(|(_, key)| *key);
        keys.collect()
    }
}

#[async_trait]
impl Source for Node {
    fn now(&self) -> Millis {
        self.world.now()
    }

    fn horizon(&self) -> Millis {
        Millis::new(self.horizon.load(Ordering::SeqCst))
    }

    fn members(&self) -> usize {
        self.members.load(Ordering::SeqCst)
    }

    fn channels(&self) -> Vec<Arc<Channel>> {
        self.world.channels.lock().values().cloned().collect()
    }

    fn channel(&self, id: ChannelId) -> Option<Arc<Channel>> {
        self.world.channels.lock().get(&id).cloned()
    }

    fn floor(&self, channel: &Channel) -> ItemKey {
        retention::floor(channel, self.world.now()).record_floor()
    }

    fn place(&self, _channel: &Channel, _from: Millis, _to: Millis) -> usize {
        self.place.load(Ordering::SeqCst)
    }

    fn is_replica(&self, channel: &Channel, at: Millis) -> bool {
        self.place(channel, at, at) < 3
    }

    fn leads(&self, channel: &Channel) -> bool {
        self.place(channel, self.world.now(), self.world.now()) == 0
    }

    fn is_first(&self) -> bool {
        self.place.load(Ordering::SeqCst) == 0
    }

    fn grace_floor(&self, channel: &Channel) -> ItemKey {
        retention::grace_floor(channel, self.world.now()).record_floor()
    }

    async fn fetch(&self, channel: &Channel) -> Result<Option<Arc<Channel>>, ChannelError> {
        self.answered()?;
        Ok(self.channel(channel.id))
    }

    async fn known(&self) -> Result<BTreeSet<ChannelId>, ChannelError> {
        self.answered()?;
        Ok(self.world.channels.lock().keys().copied().collect())
    }

    async fn deleted(&self) -> Result<BTreeMap<ChannelId, Millis>, ChannelError> {
        self.answered()?;
        Ok(self.world.deleted.lock().clone())
    }

    async fn forget_deleted(&self, ids: &[ChannelId]) -> Result<(), ChannelError> {
        self.answered()?;
        self.world.deleted.lock().retain(|id, _| !ids.contains(id));
        Ok(())
    }

    async fn next_held(
        &self,
        channel: ChannelId,
        from: Millis,
        to: Millis,
    ) -> Result<Option<Millis>, ReadError> {
        if self.unreadable.lock().contains(&channel) {
            let reason = "its disk does not answer".to_owned();
            return Err(ReadError::Closed { reason });
        }
        let keys = self.all(channel).into_iter();
        let keys = keys.filter(|key| (from..to).contains(&key.millis));
        let mut keys = keys.filter(|key| self.item(channel, *key).is_some());
        Ok(keys.next().map(|key| key.millis.floor_to(MINUTE)))
    }

    fn undecided_from(&self, channel: ChannelId) -> Option<Millis> {
        self.undecided.lock().get(&channel).copied()
    }

    async fn keys(
        &self,
        channel: &Channel,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<ItemKey>, QueryError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(QueryError::Unavailable {
                reason: "too few replicas could answer".to_owned(),
                missing: Vec::new(),
            });
        }
        let floor = self.floor(channel);
        let stable = self.world.stable.lock();
        let listed = self.world.listed.lock();
        let keys = stable.keys().chain(listed.iter());
        let keys = keys.filter(|(of, _)| *of == channel.id);
        let keys = keys.map(|(_, key)| *key);
        let keys = keys.filter(|key| (from..to).contains(&key.millis) && *key >= floor);
        let keys: BTreeSet<ItemKey> = keys.collect();
        Ok(keys.into_iter().collect())
    }

    async fn record(
        &self,
        channel: &Channel,
        key: &ItemKey,
    ) -> Result<Option<StoredItem>, QueryError> {
        let item = self.world.stable.lock().get(&(channel.id, *key)).cloned();
        Ok(item.map(|item| stored(*key, &item)))
    }

    async fn own_some(
        &self,
        channel: ChannelId,
        keys: &[ItemKey],
    ) -> Vec<Result<Option<StoredItem>, ReadError>> {
        let mut some = Vec::new();
        for key in keys.iter().take(3) {
            some.push(self.own(channel, *key).await);
        }
        some
    }

    async fn own(&self, channel: ChannelId, key: ItemKey) -> Result<Option<StoredItem>, ReadError> {
        Ok(self.item(channel, key).map(|item| stored(key, &item)))
    }
}
