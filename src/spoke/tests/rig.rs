//! What the tests share: a store on a simulated disk, with a clock and a retention they move.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::env::{HubClock, ManualClock, Millis};
use crate::item::{ItemKey, Suffix};
use crate::spoke::files::sim::{Crash, SimFolder};
use crate::spoke::{
    Append, AppendError, ChannelId, Direction, Done, Durability, Entry, ItemFlags, ItemHead, Keeps,
    LogStore, OpenError, Options, Range, ReadError, ReadMode, Removal, Retention, SpokeStore,
    StoreId, WriteId,
};

pub const STORE: StoreId = StoreId(0x5707_e000_0000_0000_0000_0000_0000_0001);
pub const MINUTE: i64 = 60_000;

/// The start of a minute in 2026.
pub const START: Millis = Millis::new(1_795_309_320_000);

pub const A: ChannelId = ChannelId(11);
pub const B: ChannelId = ChannelId(12);

pub const PLAIN: ItemFlags = ItemFlags {
    pending: false,
    keyed: false,
};
pub const PENDING: ItemFlags = ItemFlags {
    pending: true,
    keyed: false,
};
pub const KEYED: ItemFlags = ItemFlags {
    pending: false,
    keyed: true,
};

/// Segments of a minute that never rotate, and nothing that happens by itself.
pub fn options(durability: Durability) -> Options {
    Options {
        durability,
        bucket_millis: MINUTE,
        segment_bytes: 64 << 20,
        segment_items: 100_000,
        sync_interval_millis: 3_600_000,
        late_millis: 2000,
        reserve_bytes: 0,
        open_segments: 16,
        dedup_millis: 600_000,
        has_peers: false,
    }
}

/// A key that many milliseconds after the start.
pub fn key(after: i64, suffix: &str) -> ItemKey {
    ItemKey::new(START.plus(after), Suffix::parse(suffix).unwrap())
}

pub fn head(key: ItemKey, write: u128, flags: ItemFlags, payload: &[u8]) -> ItemHead {
    ItemHead {
        key,
        write_id: WriteId(write),
        flags,
        content_type: Some("text/plain".to_owned()),
        size: payload.len() as u64,
        digest: if flags.keyed { write } else { 0 },
        replicas: if flags.pending {
            vec!["hub-2.example".to_owned()]
        } else {
            Vec::new()
        },
    }
}

/// What each channel keeps: everything, unless a test says otherwise.
#[derive(Default)]
pub struct Script {
    keeps: Mutex<Vec<(ChannelId, Keeps)>>,
    /// Up to where everything is archived, as it is said each time; the last one stays.
    archived: Mutex<VecDeque<Millis>>,
}

impl Script {
    pub fn set(&self, channel: ChannelId, keeps: Keeps) {
        self.keeps.lock().retain(|(c, _)| *c != channel);
        self.keeps.lock().push((channel, keeps));
    }

    /// Says so each time it is asked, in turn.
    pub fn archived_to(&self, times: &[Millis]) {
        *self.archived.lock() = times.iter().copied().collect();
    }
}

impl Retention for Script {
    fn keeps(&self, channel: ChannelId) -> Keeps {
        let script = self.keeps.lock();
        let said = script.iter().find(|(c, _)| *c == channel);
        said.map_or(Keeps::All, |(_, keeps)| *keeps)
    }

    fn evicts_to(&self) -> Millis {
        let mut archived = self.archived.lock();
        let now = archived.front().copied();
        if archived.len() > 1 {
            archived.pop_front();
        }
        now.unwrap_or(Millis::MIN)
    }
}

/// Hears an outcome.
pub fn listen() -> (Done, Receiver<Result<(), AppendError>>) {
    let (send, receive) = channel();
    // A test that does not care has let go of the other end.
    let done: Done = Box::new(move |outcome| drop(send.send(outcome)));
    (done, receive)
}

/// A store that is open, and what it stands on.
pub struct Rig {
    pub folder: Arc<SimFolder>,
    pub source: Arc<ManualClock>,
    pub clock: Arc<HubClock>,
    pub options: Options,
    pub boot: u128,
    pub script: Arc<Script>,
    pub store: LogStore,
}

impl Drop for Rig {
    /// A test that fails while it holds the disk must end all the same.
    fn drop(&mut self) {
        self.folder.release();
    }
}

impl Rig {
    pub fn new(durability: Durability) -> Self {
        Self::with(options(durability))
    }

    pub fn with(options: Options) -> Self {
        let folder = SimFolder::new(1);
        Self::on(folder, ManualClock::new(START), options, 1, Arc::default()).unwrap()
    }

    /// A store on a disk whose whims follow from a seed.
    pub fn seeded(durability: Durability, seed: u64) -> Self {
        let (folder, source) = (SimFolder::new(seed), ManualClock::new(START));
        Self::on(folder, source, options(durability), 1, Arc::default()).unwrap()
    }

    /// Opens a store in a folder.
    pub fn on(
        folder: Arc<SimFolder>,
        source: Arc<ManualClock>,
        options: Options,
        boot: u128,
        script: Arc<Script>,
    ) -> Result<Self, OpenError> {
        let clock = Arc::new(HubClock::start(source.clone()));
        let store = LogStore::open(
            folder.clone(),
            options.clone(),
            STORE,
            boot,
            clock.clone(),
            script.clone(),
        )?;
        Ok(Self {
            folder,
            source,
            clock,
            options,
            boot,
            script,
            store,
        })
    }

    /// The next run of the same node, in that folder; a power loss was a boot ago.
    pub fn again(&self, folder: Arc<SimFolder>, boot: u128) -> Self {
        self.try_again(folder, boot).unwrap()
    }

    pub fn try_again(&self, folder: Arc<SimFolder>, boot: u128) -> Result<Self, OpenError> {
        let (source, options) = (self.source.clone(), self.options.clone());
        Self::on(folder, source, options, boot, self.script.clone())
    }

    /// Ends the process so, and starts the next one.
    pub fn crash(self, crash: Crash, seed: u64) -> Self {
        let folder = self.folder.crash(crash, seed);
        let boot = self.boot + u128::from(crash == Crash::PowerLoss);
        self.again(folder, boot)
    }

    /// Ends the process by a kill that finds nothing in flight, and starts the next one.
    pub fn kill(self) -> Self {
        self.crash(Crash::Kill, 0)
    }

    /// Closes the store in order, and opens it again.
    pub fn restart(self) -> Self {
        self.store.close(self.clock.now());
        let folder = self.folder.crash(Crash::Kill, 0);
        let boot = self.boot;
        self.again(folder, boot)
    }

    pub fn append(
        &self,
        channel: ChannelId,
        key: ItemKey,
        flags: ItemFlags,
        payload: &[u8],
    ) -> Receiver<Result<(), AppendError>> {
        let (done, outcome) = listen();
        let write = u128::from(key.millis.get() as u64) << 32 | u128::from(channel.0);
        let head = head(key, write, flags, payload);
        let payload = Bytes::copy_from_slice(payload);
        let append = Append::new(channel, &head, payload, done).unwrap();
        self.store.append(append);
        outcome
    }

    /// Appends an item and waits for the outcome.
    pub fn put(&self, channel: ChannelId, key: ItemKey, payload: &[u8]) -> Result<(), AppendError> {
        self.append(channel, key, PLAIN, payload).recv().unwrap()
    }

    pub fn remove(&self, channel: ChannelId, key: ItemKey) -> Result<(), AppendError> {
        let (done, outcome) = listen();
        self.store.remove(Removal {
            channel,
            key,
            write_id: WriteId(7),
            done,
        });
        outcome.recv().unwrap()
    }

    pub fn advance_mark(&self) -> Result<(), AppendError> {
        let (done, outcome) = listen();
        self.store.advance_mark(done);
        outcome.recv().unwrap()
    }

    pub fn made_whole(&self) -> Result<(), AppendError> {
        let (done, outcome) = listen();
        self.store.made_whole(done);
        outcome.recv().unwrap()
    }

    /// Time passes, and what is due by then is done.
    pub fn pass(&self, millis: i64) {
        self.source.advance(millis);
        self.settle();
    }

    /// Waits until the writer and housekeeping have done what is due.
    pub fn settle(&self) {
        // The writer answers before it lets go of old segments, so only the second answer says
        // that it has.
        for _ in 0..2 {
            let _ = self.advance_mark();
        }
        self.store.tidy();
    }

    pub fn find(&self, channel: ChannelId, key: ItemKey) -> Result<Option<Entry>, ReadError> {
        self.store.find(channel, &key, ReadMode::Blocking)
    }

    /// The payload under a key; `None` if it is not held.
    pub fn get(&self, channel: ChannelId, key: ItemKey) -> Result<Option<Bytes>, ReadError> {
        let Some(entry) = self.find(channel, key)? else {
            return Ok(None);
        };
        let item = self.store.read(&entry, ReadMode::Blocking)?;
        assert_eq!(item.head.key, key);
        Ok(Some(item.into_payload().unwrap().bytes))
    }

    /// Asserts that an item is there, byte for byte.
    pub fn holds(&self, channel: ChannelId, key: ItemKey, payload: &[u8]) {
        assert_eq!(self.get(channel, key).unwrap().as_deref(), Some(payload));
    }

    /// Every item of a channel, in that order.
    pub fn all(&self, channel: ChannelId, direction: Direction) -> Result<Vec<Entry>, ReadError> {
        let range = everything(channel, direction);
        self.store.range(&range, ReadMode::Blocking)
    }

    pub fn keys(&self, channel: ChannelId) -> Vec<ItemKey> {
        let entries = self.all(channel, Direction::Ascending).unwrap();
        entries.iter().map(|entry| entry.key).collect()
    }
}

pub fn everything(channel: ChannelId, direction: Direction) -> Range {
    Range {
        channel,
        from: ItemKey::MIN,
        to: ItemKey::first_of(Millis::MAX),
        direction,
        limit: 100_000,
    }
}
