//! A segment while it is written, and after.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_skiplist::SkipMap;

use super::files::LogFile;
use super::ids::{ChannelId, SegmentId};
use super::index::{Entry, IndexMeta, SealedIndex};
use crate::env::BootTime;
use crate::item::ItemKey;

/// Counts the segments of this process, so that two of one name can be told apart.
static GENERATIONS: AtomicU64 = AtomicU64::new(0);

/// One segment. Readers see it as it was when they looked; it changes once, when it is sealed.
#[derive(Debug)]
pub struct Segment {
    /// Which one.
    pub id: SegmentId,
    /// What salts its checksums.
    pub salt: u64,
    generation: AtomicU64,
    state: ArcSwap<State>,
    /// When it was last looked at for expiry, in seconds of boot time; 0: never.
    looked_at: AtomicU64,
}

/// Whether a segment still grows.
#[derive(Debug)]
pub enum State {
    /// It does, or its index is being written.
    Active(Arc<Active>),
    /// It does not.
    Sealed(IndexMeta),
}

impl Segment {
    /// A segment in that state.
    pub fn new(id: SegmentId, salt: u64, state: State) -> Arc<Self> {
        Arc::new(Self {
            id,
            salt,
            generation: AtomicU64::new(GENERATIONS.fetch_add(1, Ordering::Relaxed)),
            state: ArcSwap::from_pointee(state),
            looked_at: AtomicU64::new(0),
        })
    }

    /// Whether it was last looked at for expiry that long ago; if so, it counts as looked at now.
    pub fn due(&self, now: BootTime, patience: Duration) -> bool {
        let last = Duration::from_secs(self.looked_at.load(Ordering::Relaxed));
        let due = last.is_zero() || now.saturating_sub(last) >= patience;
        if due {
            self.looked_at
                .store(now.as_secs().max(1), Ordering::Relaxed);
        }
        due
    }

    /// Its state now.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// What its open files are known by: no other segment has it, and this one gets another when
    /// its index is replaced.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Its index was made again.
    pub fn mend(&self, meta: IndexMeta) {
        self.seal(meta);
        let next = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        self.generation.store(next, Ordering::Release);
    }

    /// From now on it is sealed; its index in memory goes when the last reader has let go of it.
    pub fn seal(&self, meta: IndexMeta) {
        self.state.store(Arc::new(State::Sealed(meta)));
    }
}

/// A segment that is written: its log, and the index of what readers may see of it.
///
/// One thread adds to it; any number read. An entry is added only once its record is as safe as
/// the durability asks, so what a reader finds here has been, or is about to be, acknowledged.
pub struct Active {
    /// The log.
    pub file: Arc<dyn LogFile>,
    /// By channel, key and offset, the latest first. Nothing is ever replaced in it: between the
    /// old entry and the new one a reader would find none.
    entries: SkipMap<(ChannelId, ItemKey, Reverse<u64>), Entry>,
    items: AtomicU64,
    length: AtomicU64,
    synced: AtomicU64,
    /// Ranges of the log that were cut off when it was recovered.
    pub cuts: Vec<(u64, u64)>,
}

impl std::fmt::Debug for Active {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Active")
            .field("items", &self.items())
            .field("length", &self.length())
            .finish_non_exhaustive()
    }
}

impl Active {
    /// An empty one, whose log has that length (its header).
    pub fn new(file: Arc<dyn LogFile>, length: u64) -> Arc<Self> {
        Self::recovered(file, length, Vec::new())
    }

    /// An empty one whose log was recovered.
    pub fn recovered(file: Arc<dyn LogFile>, length: u64, cuts: Vec<(u64, u64)>) -> Arc<Self> {
        Arc::new(Self {
            file,
            entries: SkipMap::new(),
            items: AtomicU64::new(0),
            length: AtomicU64::new(length),
            synced: AtomicU64::new(0),
            cuts,
        })
    }

    /// Makes an entry visible, in place of an earlier one of its position. A removal stands for
    /// good.
    pub fn add(&self, entry: Entry) {
        match self.find(entry.channel, &entry.key) {
            Some(earlier) if earlier.removed => return,
            Some(_) => {}
            None => {
                self.items.fetch_add(1, Ordering::Relaxed);
            }
        }
        let key = (entry.channel, entry.key, Reverse(entry.offset));
        self.entries.insert(key, entry);
    }

    /// How many entries.
    pub fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }

    /// The bytes written.
    pub fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    /// Says that the log now has that length.
    pub fn set_length(&self, length: u64) {
        self.length.store(length, Ordering::Release);
    }

    /// Below this offset everything survives a power loss.
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// Says that everything below `offset` does.
    pub fn set_synced(&self, offset: u64) {
        self.synced.fetch_max(offset, Ordering::AcqRel);
    }

    /// The entry of that position.
    pub fn find(&self, channel: ChannelId, key: &ItemKey) -> Option<Entry> {
        let all = (channel, *key, Reverse(u64::MAX))..=(channel, *key, Reverse(0));
        // The latest one.
        self.entries.range(all).next().map(|entry| *entry.value())
    }

    /// As [`SealedIndex::ascend`].
    pub fn ascend(&self, channel: ChannelId, from: &ItemKey, mut take: impl FnMut(&Entry) -> bool) {
        let all = (channel, *from, Reverse(u64::MAX))..;
        let mut last = None;
        for entry in self.entries.range(all).map(|entry| *entry.value()) {
            if last.replace(entry.position()) == Some(entry.position()) {
                continue;
            }
            if entry.channel != channel || !take(&entry) {
                return;
            }
        }
    }

    /// As [`SealedIndex::descend`].
    pub fn descend(
        &self,
        channel: ChannelId,
        from: &ItemKey,
        mut take: impl FnMut(&Entry) -> bool,
    ) {
        let all = ..=(channel, *from, Reverse(0));
        let entries = self.entries.range(all).rev().map(|entry| *entry.value());
        let mut entries = entries.peekable();
        while let Some(entry) = entries.next() {
            // Downwards the latest of a position comes last.
            if entries.peek().map(Entry::position) == Some(entry.position()) {
                continue;
            }
            if entry.channel != channel || !take(&entry) {
                return;
            }
        }
    }

    /// Every entry, in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let mut last = None;
        let entries = self.entries.iter().map(|entry| *entry.value());
        entries.filter(move |e| last.replace(e.position()) != Some(e.position()))
    }
}

/// A sealed segment that is in use: its files and the tables of its index.
#[derive(Debug)]
pub struct OpenSegment {
    /// The log.
    pub log: Arc<dyn LogFile>,
    /// The index.
    pub index: SealedIndex,
}
