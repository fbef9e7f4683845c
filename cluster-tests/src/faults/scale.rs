//! Many items: how long the hub takes to open them, how much memory it takes for them, and whether
//! a channel of many is slower to read than a channel of few.
//!
//! The channels have the same items a second and differ in how far back they reach, so that the
//! same query gives the same number of items on each. They are written through the library, with
//! the code that the server appends with, and a clock that is moved along: a day in a minute.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hub::cluster::{Coordination as _, DataFolder, EmbeddedCoordination, Identity};
use hub::env::{HubClock, ManualClock, Millis, OsRandom, SystemClock};
use hub::item::{ItemKey, NodeSlot};
use hub::spoke::{
    Append, ChannelId, DiskFolder, Durability, ItemFlags, ItemHead, Keeps, LogStore, Options,
    Retention, SpokeStore as _, StoreId, WriteId,
};
use hub_ring::{Placement, RingHistory, RingMap};
use rustix::fs::{Advice, fadvise};

use super::{Bar, PATIENCE};
use crate::client::{Client, Content};
use crate::failure::{Failure, Outcome, ensure};
use crate::hub::{Hub, MEMBER};
use crate::item::{ItemName, Key};
use crate::latency::{Latency, millis};
use crate::random::Choices;
use crate::wait::now;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// The seed of the positions that are read.
    pub seed: u64,
    /// The items of each channel, fewest first.
    pub channels: Vec<u64>,
    /// Items a second, of each channel.
    pub rate: u64,
    /// Requests of each kind on each channel.
    pub requests: u64,
    /// The most memory that it may take, in bytes.
    pub memory_max: u64,
    /// Bounds of times, where nothing else runs on the machine.
    pub times: Option<Times>,
}

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Times {
    /// From the hub's start to `/health` 200.
    pub open_max: Duration,
    /// How many times as long a query may take on the largest channel as on the smallest.
    pub ratio_max: f64,
}

const MINUTE: i64 = 60_000;
const ITEM_BYTES: usize = 100;
/// What is added to a time before ratios are judged: times below it are as good as none.
const NOTHING: Duration = Duration::from_millis(1);

/// Runs it in that size; `tell` hears how far it is.
pub async fn rehearse(size: &Size, mut tell: impl FnMut(&str)) -> Bar {
    let mut bar = Bar::new("scale");
    if let Err(failure) = run(size, &mut bar, &mut tell).await {
        bar.wrong.push(failure.to_string());
    }
    bar
}

async fn run(size: &Size, bar: &mut Bar, tell: &mut impl FnMut(&str)) -> Outcome<()> {
    let mut hub = Hub::new()?;
    let store = Store::of(size);
    store.prepare(&hub).await?;
    hub.start().await?;
    for channel in &store.channels {
        hub.client().put_channel(&channel.name).await?;
    }
    hub.stop().await?;
    let started = now();
    let ids = channel_ids(hub.data()).await?;
    let (written, data) = (store.clone(), hub.data().to_owned());
    let writing = tokio::task::spawn_blocking(move || written.write(&data, &ids));
    writing
        .await
        .map_err(|error| Failure(error.to_string()))??;
    let items: u64 = size.channels.iter().sum();
    tell(&format!(
        "{items} items written in {:.0?}",
        started.elapsed()
    ));

    forget_cached(&hub.spoke())?;
    let after_stop = hub.start().await?;
    let opened = hub.memory("VmHWM")?;
    let (_, health) = hub.health().await?;
    let segments = health["store"]["segments"].clone();
    bar.demand(health["store"]["items"] == items, || {
        format!("{} of {items} items are there", health["store"]["items"])
    });
    let measured = measure(&hub.client(), &store, size).await?;
    let queried = hub.memory("VmHWM")?;
    let resident = hub.memory("VmRSS")?;

    hub.kill()?;
    forget_cached(&hub.spoke())?;
    let after_kill = hub.start().await?;

    for (kind, times) in &measured {
        let small = times[0].percentile(50);
        let large = times[times.len() - 1].percentile(50);
        let ratio = ratio(large, small);
        let each: Vec<String> = store
            .channels
            .iter()
            .zip(times)
            .map(|(c, t)| format!("{} items {t}", c.items))
            .collect();
        tell(&format!(
            "{kind}: {}; p50 of the largest to the smallest {ratio:.2}",
            each.join(", ")
        ));
        let judged = (large + NOTHING).as_secs_f64() / (small + NOTHING).as_secs_f64();
        let bound = size.times.as_ref().map(|times| times.ratio_max);
        bar.demand(bound.is_none_or(|most| judged <= most), || {
            format!("{kind} takes {ratio:.2} times as long on the largest channel")
        });
    }
    for (what, took) in [("a stop", after_stop), ("a kill", after_kill)] {
        let bound = size.times.as_ref().map(|times| times.open_max);
        bar.demand(bound.is_none_or(|most| took < most), || {
            format!("ready {} after {what}", millis(took))
        });
    }
    bar.demand(queried < size.memory_max, || {
        format!("{} MB of memory", queried / 1_000_000)
    });
    let worst = measured
        .values()
        .map(|times| {
            ratio(
                times[times.len() - 1].percentile(50),
                times[0].percentile(50),
            )
        })
        .fold(0.0, f64::max);
    bar.numbers = format!(
        "{items} items in {segments} segments, seed {}: ready {} after a stop, {} after a kill; \
         memory at its highest {} MB once open, {} MB after queries (then {} MB); \
         p50 on the largest channel at the most {worst:.2} times that on the smallest",
        size.seed,
        millis(after_stop),
        millis(after_kill),
        opened / 1_000_000,
        queried / 1_000_000,
        resident / 1_000_000,
    );
    hub.stop().await
}

fn ratio(large: Duration, small: Duration) -> f64 {
    large.as_secs_f64() / small.as_secs_f64().max(1e-9)
}

/// A store to be written.
#[derive(Debug, Clone)]
struct Store {
    channels: Vec<Reach>,
    rate: u64,
    /// The minute behind the newest item.
    end: i64,
}

/// A channel, and how far back it reaches.
#[derive(Debug, Clone)]
struct Reach {
    name: String,
    items: u64,
}

impl Store {
    fn of(size: &Size) -> Self {
        let wall = HubClock::start(Arc::new(SystemClock)).now();
        let channels = size.channels.iter().map(|items| Reach {
            name: format!("holds-{items}"),
            items: *items,
        });
        Self {
            channels: channels.collect(),
            rate: size.rate,
            end: wall.floor_to(MINUTE).get() - MINUTE,
        }
    }

    /// The time of an item: number 0 is the oldest of its channel.
    fn time(&self, channel: &Reach, number: u64) -> Millis {
        let back = (channel.items - number) * 1000 / self.rate;
        Millis::new(self.end - back as i64)
    }

    fn begin(&self) -> Millis {
        let first = self.channels.iter().map(|c| self.time(c, 0)).min();
        first.unwrap_or(Millis::new(self.end)).floor_to(MINUTE)
    }

    fn key(&self, channel: &Reach, number: u64) -> ItemKey {
        let time = self.time(channel, number);
        let slot = NodeSlot::new(0).expect("a slot");
        ItemKey::stamp(&ItemKey::MIN, time, slot)
    }

    fn item(&self, channel: &Reach, number: u64) -> ItemName {
        ItemName {
            run: self.rate,
            writer: 0,
            number: number as u32,
            size: ITEM_BYTES,
            channel: channel.name.clone(),
            life: 0,
        }
    }

    /// Makes the folder of a hub that has been there for longer than the oldest item.
    async fn prepare(&self, hub: &Hub) -> Outcome<()> {
        let (folder, identity) = folder_of(hub.data())?;
        let from = self.begin().get() - MINUTE;
        let map = RingMap::in_force(1, from, [identity.member], Placement::default());
        let map = map.map_err(|error| Failure(error.to_string()))?;
        let mut history = RingHistory::new();
        let announced = history.announce(map);
        announced.map_err(|error| Failure(error.to_string()))?;
        let coordination = coordination(folder.path())?;
        let replaced = coordination.replace_rings(0, &history).await;
        replaced.map_err(|error| Failure(error.to_string()))?;
        Ok(())
    }

    /// Writes every item, a minute after the other.
    fn write(&self, data: &Path, ids: &BTreeMap<String, ChannelId>) -> Outcome<()> {
        let (_folder, identity) = folder_of(data)?;
        let source = ManualClock::new(self.begin());
        let clock = Arc::new(HubClock::start(Arc::clone(&source) as Arc<_>));
        let files = Arc::new(DiskFolder::open(&data.join("spoke"))?);
        let id = StoreId(identity.store);
        let retention = Arc::new(KeepAll);
        let store = LogStore::open(files, options(), id, 1, Arc::clone(&clock), retention);
        let store = store.map_err(|error| Failure(error.to_string()))?;
        let stored = Arc::new(AtomicU64::new(0));
        let (mut appended, mut next) = (0, vec![0; self.channels.len()]);
        while clock.now().get() < self.end {
            let minute_end = clock.now().plus(MINUTE);
            for (channel, next) in self.channels.iter().zip(&mut next) {
                let id = ids.get(&channel.name).copied();
                let id = id.ok_or_else(|| Failure(format!("no channel {}", channel.name)))?;
                while *next < channel.items && self.time(channel, *next) < minute_end {
                    store.append(self.append(channel, id, *next, &stored)?);
                    appended += 1;
                    *next += 1;
                }
            }
            wait_for(
                || stored.load(Ordering::Acquire) == appended,
                "items are stored",
            )?;
            source.advance(MINUTE);
        }
        source.advance(MINUTE);
        // The writer lets go of the last segment by itself, within a second.
        wait_for(|| store.status().active == 0, "every segment is sealed")?;
        store.close(clock.now());
        Ok(())
    }

    fn append(
        &self,
        channel: &Reach,
        id: ChannelId,
        number: u64,
        stored: &Arc<AtomicU64>,
    ) -> Outcome<Append> {
        let item = self.item(channel, number);
        let payload = item.payload();
        let head = ItemHead {
            key: self.key(channel, number),
            write_id: WriteId(u128::from(id.0) << 64 | u128::from(number)),
            flags: ItemFlags::default(),
            content_type: Some(item.content_type(&payload)),
            size: payload.len() as u64,
            digest: 0,
            replicas: Vec::new(),
        };
        let stored = Arc::clone(stored);
        let done = Box::new(move |result: Result<(), _>| {
            stored.fetch_add(u64::from(result.is_ok()), Ordering::Release);
        });
        Append::new(id, &head, payload, done).map_err(|error| Failure(error.to_string()))
    }
}

/// As the hub has them where nothing is set.
fn options() -> Options {
    Options {
        durability: Durability::Fsync,
        bucket_millis: MINUTE,
        segment_bytes: 256 << 20,
        segment_items: 1_000_000,
        sync_interval_millis: 100,
        late_millis: 1500,
        reserve_bytes: 256 << 20,
        open_segments: 512,
        dedup_millis: 600_000,
        has_peers: false,
    }
}

struct KeepAll;

impl Retention for KeepAll {
    fn keeps(&self, _: ChannelId) -> Keeps {
        Keeps::All
    }
}

fn wait_for(holds: impl Fn() -> bool, what: &str) -> Outcome<()> {
    let started = now();
    while !holds() {
        ensure(started.elapsed() < PATIENCE, || {
            format!("{what}: not in time")
        })?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn folder_of(data: &Path) -> Outcome<(DataFolder, Identity)> {
    let folder = DataFolder::open(data).map_err(|error| Failure(error.to_string()))?;
    let identity = Identity::load(&folder, Some(MEMBER), MEMBER, &OsRandom);
    let identity = identity.map_err(|error| Failure(error.to_string()))?;
    Ok((folder, identity))
}

fn coordination(data: &Path) -> Outcome<EmbeddedCoordination> {
    let clock = Arc::new(HubClock::start(Arc::new(SystemClock)));
    let opened = EmbeddedCoordination::open(&data.join("coordination.redb"), clock);
    opened.map_err(|error| Failure(error.to_string()))
}

async fn channel_ids(data: &Path) -> Outcome<BTreeMap<String, ChannelId>> {
    let records = coordination(data)?.channels().await;
    let records = records.map_err(|error| Failure(error.to_string()))?;
    let ids = records.into_iter().map(|r| (r.name, ChannelId(r.id)));
    Ok(ids.collect())
}

/// Drops what the system keeps of the files in memory, so that they are opened from the disk.
fn forget_cached(folder: &Path) -> Outcome<()> {
    for entry in std::fs::read_dir(folder)? {
        let file = std::fs::File::open(entry?.path())?;
        fadvise(&file, 0, None, Advice::DontNeed).map_err(std::io::Error::from)?;
    }
    Ok(())
}

/// Times queries on every channel by turns: by kind, the times of each channel.
async fn measure(
    client: &Client,
    store: &Store,
    size: &Size,
) -> Outcome<BTreeMap<&'static str, Vec<Latency>>> {
    let choices = Choices::new(size.seed);
    let mut measured: BTreeMap<&'static str, Vec<Latency>> = BTreeMap::new();
    for _ in 0..size.requests {
        for (place, channel) in store.channels.iter().enumerate() {
            // Not so near to either end that fewer than a hundred follow.
            let number = choices.between(200, channel.items - 300);
            let mut path = String::new();
            store.key(channel, number).write_path(&mut path);
            let key = Key::of_url(&format!("/channel/x/{path}"));
            let key = key.ok_or_else(|| Failure(format!("{path} is no key")))?;
            for kind in ["second", "latest", "earliest", "next/100", "item"] {
                let started = now();
                ask(client, store, channel, kind, number, &key).await?;
                let times = measured
                    .entry(kind)
                    .or_insert_with(|| vec![Latency::default(); store.channels.len()]);
                times[place].add(started.elapsed());
            }
        }
    }
    Ok(measured)
}

/// One request, whose answer must be what was written.
async fn ask(
    client: &Client,
    store: &Store,
    channel: &Reach,
    kind: &str,
    number: u64,
    key: &Key,
) -> Outcome<()> {
    let name = &channel.name;
    let text = |number| {
        let mut path = String::new();
        store.key(channel, number).write_path(&mut path);
        path
    };
    let wrong = |what: String| Err(Failure(format!("{kind} of {name} at {key}: {what}")));
    match kind {
        "second" => {
            let path = format!("/channel/{name}/{}", key.second());
            let (keys, _) = client.list(&path, false).await?;
            let near = store.rate - 1..=store.rate + 1;
            if !keys.contains(key) || !near.contains(&(keys.len() as u64)) {
                return wrong(format!("{} items", keys.len()));
            }
        }
        "latest" | "earliest" => {
            let found = client.redirect(&format!("/channel/{name}/{kind}")).await?;
            let expected = if kind == "latest" {
                channel.items - 1
            } else {
                0
            };
            if found.as_ref().map(Key::as_str) != Some(&text(expected)) {
                return wrong(format!("{found:?}"));
            }
        }
        "next/100" => {
            let path = format!("/channel/{name}/{key}/next/100");
            let (keys, _) = client.list(&path, false).await?;
            let expected = (number + 1..=number + 100).map(text);
            if !expected.eq(keys.iter().map(|key| key.as_str().to_owned())) {
                return wrong(format!("{} items", keys.len()));
            }
        }
        _ => {
            let content = client.item(name, key).await;
            if content != Content::Item(store.item(channel, number)) {
                return wrong(format!("{content:?}"));
            }
        }
    }
    Ok(())
}
