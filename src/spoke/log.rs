//! The segmented log: what its threads share.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crossbeam_skiplist::SkipMap;
use parking_lot::Mutex;

use super::clockfile::ClockFile;
use super::damage::{DamageBook, write_note};
use super::directory::Directory;
use super::files::Files;
use super::header::StoreId;
use super::ids::{ChannelId, SegmentId, WriteId};
use super::index::{Entry, IndexError, IndexMeta, ReadMode, SealedIndex, write_index};
use super::record::ItemFlags;
use super::segment::{Active, OpenSegment, Segment, State};
use super::store::{ReadError, StoreStatus, Undecided};
use crate::env::{HubClock, Millis};
use crate::item::ItemKey;

/// Memory for the tables of sealed segments in use, in bytes.
const TABLES_MAX: u64 = 64 * 1024 * 1024;

/// What a store is told when it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whether an item is synced before it is acknowledged.
    pub durability: Durability,
    /// The length of a time bucket, in milliseconds.
    pub bucket_millis: i64,
    /// A segment is sealed at this many bytes.
    pub segment_bytes: u64,
    /// And at this many items.
    pub segment_items: u64,
    /// How often to sync where acknowledgements do not wait for it, in milliseconds.
    pub sync_interval_millis: u64,
    /// How long after the end of a bucket its items may still come, in milliseconds.
    pub late_millis: i64,
    /// Appends are refused while the disk has fewer bytes free than this.
    pub reserve_bytes: u64,
    /// How many sealed segments are kept open.
    pub open_segments: u64,
    /// How far back write ids are remembered, in milliseconds.
    pub dedup_millis: i64,
    /// Whether other members may know of promises that this node made and whose disk it has lost: a
    /// new store then counts as not intact until it is said to be whole.
    pub has_peers: bool,
}

/// When an item counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When it is on disk: it survives a power loss.
    Fsync,
    /// When the operating system has it: it survives the process.
    Replicated,
}

impl Durability {
    /// `fsync` or `replicated`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Replicated => "replicated",
        }
    }
}

/// What the threads of a segmented log share.
pub(super) struct Shared {
    pub(super) files: Arc<dyn Files>,
    pub(super) options: Options,
    pub(super) id: StoreId,
    pub(super) boot: u128,
    pub(super) clock: Arc<HubClock>,
    pub(super) segments: SkipMap<SegmentId, Arc<Segment>>,
    /// Held while a segment is added, and while the last one of a bucket is removed: the bucket is
    /// then removed from the directory, and must not lose what a new segment put there.
    pub(super) layout: Mutex<()>,
    pub(super) directory: Directory,
    pub(super) damage: DamageBook,
    /// Sealed segments whose index could not be used: it is to be made again.
    pub(super) suspects: Mutex<BTreeSet<SegmentId>>,
    /// The open ones, by [`Segment::generation`]: a later segment may have the same name.
    pub(super) open: moka::sync::Cache<u64, Arc<OpenSegment>>,
    pub(super) mark: AtomicI64,
    /// Items of times before it may be in the archive only.
    pub(super) holds_from: AtomicI64,
    /// Whether what is written leaves the mark where it is.
    pub(super) holds_mark: AtomicBool,
    pub(super) sequence: AtomicU64,
    pub(super) full: AtomicBool,
    pub(super) free: AtomicU64,
    /// What may still be written before the reserve is touched: as last looked at, less what was
    /// written since.
    pub(super) room: AtomicU64,
    pub(super) failed: Mutex<Option<String>>,
    pub(super) clock_file: Mutex<ClockFile>,
    /// Whether something that was promised may be missing.
    pub(super) doubt: AtomicBool,
    pub(super) recent: Mutex<Vec<(ChannelId, ItemKey, WriteId, ItemFlags)>>,
    /// Up to where the items of each channel that this node coordinates are decided.
    pub(super) decided: Mutex<HashMap<ChannelId, ItemKey>>,
    /// Those that were not when the store was opened.
    pub(super) undecided: Mutex<Vec<Undecided>>,
}

impl Shared {
    pub(super) fn open_cache(options: &Options) -> moka::sync::Cache<u64, Arc<OpenSegment>> {
        // A segment weighs what its tables take, and at least its share of the open files.
        let share = u32::try_from(TABLES_MAX / options.open_segments.max(1)).unwrap_or(u32::MAX);
        moka::sync::Cache::builder()
            .max_capacity(TABLES_MAX)
            .weigher(move |_, segment: &Arc<OpenSegment>| {
                u32::try_from(segment.index.weight())
                    .unwrap_or(u32::MAX)
                    .max(share)
            })
            .eviction_policy(moka::policy::EvictionPolicy::lru())
            .build()
    }

    /// The store fails for good: what it was asked and has not answered is not known, and what it
    /// answered may be gone. Gives the first reason.
    pub(super) fn fail(&self, reason: String) -> String {
        let mut failed = self.failed.lock();
        if let Some(first) = &*failed {
            return first.clone();
        }
        *failed = Some(reason.clone());
        drop(failed);
        tracing::error!(error = %reason, "the store failed and takes no more appends");
        crate::metric::store_failed();
        self.doubt.store(true, Ordering::Relaxed);
        if let Err(error) = self.replace_mark(true) {
            tracing::error!(%error, "and it could not write that down");
        }
        reason
    }

    /// Puts a clock mark into its own file.
    pub(super) fn write_mark(&self, mark: Millis, clean: bool) -> io::Result<()> {
        let mut file = self.clock_file.lock();
        file.write(self.next_sequence(), mark, clean)?;
        if !clean {
            self.mark.fetch_max(mark.get(), Ordering::Release);
        }
        Ok(())
    }

    /// Puts the present clock mark into its own file, in place of whatever stands there, and
    /// whether something that was promised may be missing.
    pub(super) fn replace_mark(&self, doubt: bool) -> io::Result<()> {
        let mut file = self.clock_file.lock();
        let mark = Millis::new(self.mark.load(Ordering::Acquire));
        file.replace(self.next_sequence(), mark, doubt)
    }

    /// A segment with that mark is about to go: the mark that is promised must not go with it.
    pub(super) fn keep_mark(&self, of_segment: Millis) -> io::Result<()> {
        let mut file = self.clock_file.lock();
        if file.mark() >= of_segment {
            return Ok(());
        }
        let mark = Millis::new(self.mark.load(Ordering::Acquire));
        file.write(self.next_sequence(), mark, false)
    }

    /// Takes down that items of times before `from` may be here no more: on disk, and then for readers.
    /// Only after that may any of them go.
    pub(super) fn let_go(&self, from: Millis) -> io::Result<()> {
        if self.holds_from.load(Ordering::Acquire) >= from.get() {
            return Ok(());
        }
        let mut file = self.clock_file.lock();
        let mark = Millis::new(self.mark.load(Ordering::Acquire));
        let sequence = [self.next_sequence(), self.next_sequence()];
        file.let_go(sequence, mark, from)?;
        self.holds_from.fetch_max(from.get(), Ordering::AcqRel);
        Ok(())
    }

    /// Takes up that every item of the channel which this node coordinates, up to and including that
    /// key, is decided.
    pub(super) fn decided_to(&self, channel: ChannelId, key: ItemKey) {
        let mut decided = self.decided.lock();
        let to = decided.entry(channel).or_insert(key);
        *to = key.max(*to);
    }

    /// Whether an item that this node coordinates is known to be decided.
    pub(super) fn is_decided(&self, channel: ChannelId, key: &ItemKey) -> bool {
        let decided = self.decided.lock();
        decided.get(&channel).is_some_and(|to| key <= to)
    }

    /// The next place in the order of batches.
    pub(super) fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// A sealed segment, opened if it is not; `None` if it has expired meanwhile.
    pub(super) fn opened(
        &self,
        segment: &Segment,
        mode: ReadMode,
    ) -> Result<Option<Arc<OpenSegment>>, ReadError> {
        let generation = segment.generation();
        if let Some(open) = self.open.get(&generation) {
            return Ok(Some(open));
        }
        if mode == ReadMode::Cached {
            return Err(ReadError::NotCached);
        }
        let id = segment.id;
        let opened = self.files.open(&id.log_name());
        let opened = opened.map_err(|source| ReadError::Io {
            segment: id,
            source,
        });
        let opened = opened.and_then(|log| {
            let index = self.open_index(segment)?;
            Ok(Arc::new(OpenSegment { log, index }))
        });
        match opened {
            Ok(open) => {
                self.open.insert(generation, Arc::clone(&open));
                Ok(Some(open))
            }
            Err(_) if !self.holds(segment) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a segment is still one of the store's.
    fn holds(&self, segment: &Segment) -> bool {
        let held = self.segments.get(&segment.id);
        held.is_some_and(|held| std::ptr::eq(&raw const **held.value(), segment))
    }

    /// The index of a sealed segment, opened aside from the cache.
    pub(super) fn open_index(&self, segment: &Segment) -> Result<SealedIndex, ReadError> {
        let file = self.files.open(&segment.id.index_name());
        let index = file
            .map_err(IndexError::Io)
            .and_then(|file| SealedIndex::open(file, segment.salt));
        index.map_err(|error| self.index_error(segment.id, error))
    }

    /// What a reader hears of an index that cannot be used. It will be made again.
    pub(super) fn index_error(&self, segment: SegmentId, error: IndexError) -> ReadError {
        match error {
            IndexError::NotCached => ReadError::NotCached,
            IndexError::Io(source) if source.kind() != io::ErrorKind::NotFound => {
                ReadError::Io { segment, source }
            }
            IndexError::Io(_) | IndexError::Damaged(_) => {
                self.suspects.lock().insert(segment);
                ReadError::Damaged { segment, offset: 0 }
            }
        }
    }

    /// Writes the index of a complete segment, and before it what of the segment is damaged: once
    /// there is an index, the log is not looked through again.
    pub(super) fn write_index(
        &self,
        segment: &Segment,
        log_len: u64,
        mark: Millis,
        sequence: u64,
        entries: impl Iterator<Item = Entry>,
    ) -> io::Result<IndexMeta> {
        let (files, id, salt) = (&*self.files, segment.id, segment.salt);
        let damaged = self.damage.of_segment(id);
        if !damaged.is_empty() {
            write_note(files, id, &damaged)?;
        }
        let decided = self.decided.lock().clone();
        let entries = entries.map(|mut entry| {
            if entry.flags.pending
                && decided
                    .get(&entry.channel)
                    .is_some_and(|to| entry.key <= *to)
            {
                entry.flags.pending = false;
            }
            entry
        });
        write_index(files, id, salt, log_len, mark, sequence, entries)
    }

    pub(super) fn in_bucket(&self, bucket: Millis) -> impl Iterator<Item = Arc<Segment>> + '_ {
        let id = |number| SegmentId { bucket, number };
        self.segments
            .range(id(0)..=id(u32::MAX))
            .map(|entry| Arc::clone(entry.value()))
    }

    pub(super) fn status(&self) -> StoreStatus {
        let mut status = StoreStatus {
            failed: self.failure(),
            full: self.full.load(Ordering::Relaxed),
            free: self.free.load(Ordering::Relaxed),
            damaged: self.damage.count(),
            intact: !self.doubt.load(Ordering::Relaxed) && self.damage.count() == 0,
            ..StoreStatus::default()
        };
        for segment in &self.segments {
            status.segments += 1;
            match &*segment.value().state() {
                State::Active(active) => {
                    status.active += 1;
                    status.items += active.items();
                    status.bytes += active.length();
                }
                State::Sealed(meta) => {
                    status.items += meta.items;
                    status.bytes += meta.log_len + meta.index_len;
                }
            }
        }
        status
    }

    /// The segments that still grow.
    pub(super) fn active(&self) -> Vec<(Arc<Segment>, Arc<Active>)> {
        self.segments
            .iter()
            .filter_map(|entry| match &*entry.value().state() {
                State::Active(active) => Some((Arc::clone(entry.value()), Arc::clone(active))),
                State::Sealed(_) => None,
            })
            .collect()
    }
}
