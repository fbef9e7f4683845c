//! The segmented log: what its threads share, and how it is read.
//!
//! Readers never wait for the writer: they look at sealed indexes and at the active index, to
//! which entries are only added, and read records at their offsets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use crossbeam_skiplist::SkipMap;
use parking_lot::{Mutex, RwLock};
use xxhash_rust::xxh3::xxh3_64;

use super::directory::{Direction, Directory};
use super::files::{Files, LogFile};
use super::header::StoreId;
use super::ids::{ChannelId, SegmentId, WriteId};
use super::index::{Entry, IndexError, ReadMode, SealedIndex, read_mode};
use super::large::LargePayload;
use super::record::{FRAME_LEN, Frame, ItemFlags, Record, decode_body};
use super::scan::{Gap, checksum};
use super::segment::{Active, OpenSegment, Segment, State};
use super::store::{Range, ReadError, StoreStatus, StoredItem, StoredPayload};
use crate::env::{HubClock, Millis};
use crate::item::ItemKey;

/// Payloads above this many bytes are read part by part.
const LARGE: u64 = 1024 * 1024;
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

/// A damaged range of a segment's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub segment: SegmentId,
    /// Where.
    pub gap: Gap,
}

/// How many channels' damage a read must mind: all of a bucket's, or one's.
#[derive(Debug, Default)]
pub(super) struct DamageBook {
    buckets: RwLock<BTreeMap<Millis, Vec<Damage>>>,
}

impl DamageBook {
    pub(super) fn add(&self, damage: Damage) {
        let mut buckets = self.buckets.write();
        let known = buckets.entry(damage.segment.bucket).or_default();
        if !known.contains(&damage) {
            known.push(damage);
        }
    }

    pub(super) fn remove(&self, bucket: Millis) {
        self.buckets.write().remove(&bucket);
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.read().values().map(|d| d.len() as u64).sum()
    }

    /// A segment in those buckets that may have lost a record of the channel.
    fn of(&self, channel: ChannelId, from: Millis, to: Millis) -> Option<SegmentId> {
        let buckets = self.buckets.read();
        if buckets.is_empty() || from > to {
            return None;
        }
        let mut damages = buckets.range(from..=to).flat_map(|(_, damages)| damages);
        damages
            .find(|damage| damage.gap.channel.is_none_or(|named| named == channel))
            .map(|damage| damage.segment)
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
    pub(super) directory: Directory,
    pub(super) damage: DamageBook,
    pub(super) open: moka::sync::Cache<SegmentId, Arc<OpenSegment>>,
    pub(super) mark: AtomicI64,
    pub(super) sequence: AtomicU64,
    pub(super) full: AtomicBool,
    pub(super) free: AtomicU64,
    pub(super) failed: Mutex<Option<String>>,
    pub(super) intact: bool,
    pub(super) recent: Mutex<Vec<(ChannelId, ItemKey, WriteId, ItemFlags)>>,
}

impl Shared {
    pub(super) fn open_cache(options: &Options) -> moka::sync::Cache<SegmentId, Arc<OpenSegment>> {
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

    /// The store fails for good: what it was asked and has not answered is not known.
    pub(super) fn fail(&self, reason: String) -> String {
        let mut failed = self.failed.lock();
        if failed.is_none() {
            tracing::error!(error = %reason, "the store failed and takes no more appends");
            crate::metric::store_failed();
        }
        failed.get_or_insert(reason).clone()
    }

    /// The next place in the order of batches.
    pub(super) fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// A sealed segment, opened if it is not.
    pub(super) fn opened(
        &self,
        segment: &Segment,
        mode: ReadMode,
    ) -> Result<Arc<OpenSegment>, ReadError> {
        if let Some(open) = self.open.get(&segment.id) {
            return Ok(open);
        }
        if mode == ReadMode::Cached {
            return Err(ReadError::NotCached);
        }
        let id = segment.id;
        let log = self.files.open(&id.log_name());
        let log = log.map_err(|source| ReadError::Io {
            segment: id,
            source,
        })?;
        let index = self.open_index(segment)?;
        let open = Arc::new(OpenSegment { log, index });
        self.open.insert(id, Arc::clone(&open));
        Ok(open)
    }

    /// The index of a sealed segment, opened aside from the cache.
    pub(super) fn open_index(&self, segment: &Segment) -> Result<SealedIndex, ReadError> {
        let id = segment.id;
        let file = self.files.open(&id.index_name());
        let file = file.map_err(|source| ReadError::Io {
            segment: id,
            source,
        })?;
        SealedIndex::open(file, segment.salt).map_err(|error| index_error(id, error))
    }

    pub(super) fn in_bucket(
        &self,
        bucket: Millis,
    ) -> impl DoubleEndedIterator<Item = Arc<Segment>> + '_ {
        let id = |number| SegmentId { bucket, number };
        self.segments
            .range(id(0)..=id(u32::MAX))
            .map(|entry| Arc::clone(entry.value()))
    }

    /// Looks for a key in the segments of its bucket, newest first, and gives what `take` makes of
    /// the first entry that it takes. A removal stands before whatever it removed.
    fn search<T>(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        mode: ReadMode,
        mut take: impl FnMut(&Segment, &Arc<dyn LogFile>, Entry) -> Result<T, ReadError>,
    ) -> Result<Option<T>, ReadError> {
        let bucket = self.directory.bucket(key.millis);
        let mut failed = None;
        if self.directory.next(channel, bucket, Direction::Ascending) == Some(bucket) {
            for segment in self.in_bucket(bucket).rev() {
                let (log, entry) = match &*segment.state() {
                    State::Active(active) => (Arc::clone(&active.file), active.find(channel, key)),
                    State::Sealed(_) => {
                        let open = self.opened(&segment, mode)?;
                        let entry = open.index.find(channel, key, mode);
                        let entry = entry.map_err(|e| index_error(segment.id, e))?;
                        (Arc::clone(&open.log), entry)
                    }
                };
                let Some(entry) = entry else { continue };
                if entry.removed {
                    return Ok(None);
                }
                match take(&segment, &log, entry) {
                    Ok(taken) => return Ok(Some(taken)),
                    Err(ReadError::NotCached) => return Err(ReadError::NotCached),
                    // Another segment may hold a good copy.
                    Err(error) => failed = Some(error),
                }
            }
        }
        match (failed, self.damage.of(channel, bucket, bucket)) {
            (Some(error), _) => Err(error),
            (None, Some(segment)) => Err(ReadError::Incomplete { segment }),
            (None, None) => Ok(None),
        }
    }

    pub(super) fn find(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        mode: ReadMode,
    ) -> Result<Option<Entry>, ReadError> {
        self.search(channel, key, mode, |_, _, entry| Ok(entry))
    }

    pub(super) fn get(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        mode: ReadMode,
    ) -> Result<Option<StoredItem>, ReadError> {
        self.search(channel, key, mode, |segment, log, entry| {
            read_item(log, segment, &entry, mode)
        })
    }

    pub(super) fn read(&self, entry: &Entry, mode: ReadMode) -> Result<StoredItem, ReadError> {
        let found = self.search(entry.channel, &entry.key, mode, |segment, log, held| {
            read_item(log, segment, &held, mode)
        });
        // Expired between the look-up and now.
        found?.ok_or_else(|| ReadError::Damaged {
            segment: SegmentId {
                bucket: self.directory.bucket(entry.key.millis),
                number: 0,
            },
            offset: entry.offset,
        })
    }

    pub(super) fn range(&self, range: &Range, mode: ReadMode) -> Result<Vec<Entry>, ReadError> {
        let mut out = Vec::new();
        if range.from >= range.to {
            return Ok(out);
        }
        let last_millis = if range.to.suffix.is_empty() {
            range.to.millis.minus(1)
        } else {
            range.to.millis
        };
        let (low, high) = (
            self.directory.bucket(range.from.millis),
            self.directory.bucket(last_millis),
        );
        let mut at = match range.direction {
            Direction::Ascending => low,
            Direction::Descending => high,
        };
        let mut last = at;
        while out.len() < range.limit {
            let next = self.directory.next(range.channel, at, range.direction);
            let Some(bucket) = next.filter(|bucket| (low..=high).contains(bucket)) else {
                // Nothing up to the range's far end.
                last = match range.direction {
                    Direction::Ascending => high,
                    Direction::Descending => low,
                };
                break;
            };
            self.range_in(bucket, range, mode, &mut out)?;
            last = bucket;
            at = match range.direction {
                Direction::Ascending => self.directory.end(bucket),
                Direction::Descending => bucket.minus(1),
            };
        }
        let (from, to) = match range.direction {
            Direction::Ascending => (low, last),
            Direction::Descending => (last, high),
        };
        match self.damage.of(range.channel, from, to) {
            Some(segment) => Err(ReadError::Incomplete { segment }),
            None => Ok(out),
        }
    }

    /// Adds what a bucket holds of a range, until the range's limit is reached.
    fn range_in(
        &self,
        bucket: Millis,
        range: &Range,
        mode: ReadMode,
        out: &mut Vec<Entry>,
    ) -> Result<(), ReadError> {
        let mut range = *range;
        loop {
            let wanted = range.limit - out.len();
            let mut merged: Vec<Entry> = Vec::new();
            // A list that was cut by the limit is complete only up to its last key.
            let mut complete_to = None;
            for segment in self.in_bucket(bucket) {
                let (entries, cut) = self.range_of(&segment, &range, wanted, mode)?;
                if let (true, Some(last)) = (cut, entries.last()) {
                    complete_to = Some(match (complete_to, range.direction) {
                        (None, _) => last.key,
                        (Some(key), Direction::Ascending) => last.key.min(key),
                        (Some(key), Direction::Descending) => last.key.max(key),
                    });
                }
                merged.extend(entries);
            }
            // The removed entry of a key comes first, so that it stands for the key.
            merged.sort_by_key(|entry| (entry.key, !entry.removed));
            merged.dedup_by_key(|entry| entry.key);
            if range.direction == Direction::Descending {
                merged.reverse();
            }
            let complete = |entry: &Entry| match (complete_to, range.direction) {
                (None, _) => true,
                (Some(key), Direction::Ascending) => entry.key <= key,
                (Some(key), Direction::Descending) => entry.key >= key,
            };
            let kept = merged.into_iter().filter(|e| complete(e) && !e.removed);
            out.extend(kept.take(wanted));
            match complete_to {
                Some(key) if out.len() < range.limit => match range.direction {
                    Direction::Ascending => range.from = key.successor(),
                    Direction::Descending => range.to = key,
                },
                _ => return Ok(()),
            }
        }
    }

    /// What one segment holds of a range, removed items included, and whether the limit cut it.
    fn range_of(
        &self,
        segment: &Segment,
        range: &Range,
        limit: usize,
        mode: ReadMode,
    ) -> Result<(Vec<Entry>, bool), ReadError> {
        let mut entries = Vec::new();
        let mut cut = false;
        let (low, high) = (range.from, range.to);
        let take = |entry: &Entry| {
            let inside = entry.key >= low && entry.key < high;
            let beyond = match range.direction {
                Direction::Ascending => entry.key >= high,
                Direction::Descending => entry.key < low,
            };
            if beyond {
                return false;
            }
            if inside {
                entries.push(*entry);
            }
            cut = entries.len() >= limit;
            !cut
        };
        let channel = range.channel;
        match (&*segment.state(), range.direction) {
            (State::Active(active), Direction::Ascending) => active.ascend(channel, &low, take),
            (State::Active(active), Direction::Descending) => active.descend(channel, &high, take),
            (State::Sealed(_), direction) => {
                let open = self.opened(segment, mode)?;
                match direction {
                    Direction::Ascending => open.index.ascend(channel, &low, mode, take),
                    Direction::Descending => open.index.descend(channel, &high, mode, take),
                }
                .map_err(|e| index_error(segment.id, e))?;
            }
        }
        Ok((entries, cut))
    }

    pub(super) fn status(&self) -> StoreStatus {
        let mut status = StoreStatus {
            failed: self.failure(),
            full: self.full.load(Ordering::Relaxed),
            free: self.free.load(Ordering::Relaxed),
            damaged: self.damage.count(),
            intact: self.intact,
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

pub(super) fn index_error(segment: SegmentId, error: IndexError) -> ReadError {
    match error {
        IndexError::NotCached => ReadError::NotCached,
        IndexError::Io(source) => ReadError::Io { segment, source },
        IndexError::Damaged(_) => ReadError::Damaged { segment, offset: 0 },
    }
}

/// Reads an item's record and checks it.
fn read_item(
    log: &Arc<dyn LogFile>,
    segment: &Segment,
    entry: &Entry,
    mode: ReadMode,
) -> Result<StoredItem, ReadError> {
    let id = segment.id;
    let damaged = || {
        crate::metric::damaged_record();
        tracing::error!(segment = %id, offset = entry.offset, key = %entry.key, "a record is damaged");
        ReadError::Damaged {
            segment: id,
            offset: entry.offset,
        }
    };
    let body_len = u64::from(entry.body_len);
    let large = body_len > LARGE;
    if large && mode == ReadMode::Cached {
        return Err(ReadError::NotCached);
    }
    let first = if large {
        super::record::HEAD_MAX as u64
    } else {
        body_len
    };
    let bytes = read_mode(&**log, entry.offset, FRAME_LEN + first as usize, mode);
    let bytes = Bytes::from(bytes.map_err(|e| match e {
        // The index says that it is there, so a log that ends before it is damaged.
        IndexError::Io(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => damaged(),
        other => index_error(id, other),
    })?);
    let frame = Frame::decode(&bytes, segment.salt, entry.offset).map_err(|_| damaged())?;
    let body = bytes.slice(FRAME_LEN..);
    let body_at = entry.offset + FRAME_LEN as u64;
    let sum = if large {
        let sum = checksum(&**log, body_at, body_len);
        sum.map_err(|source| ReadError::Io {
            segment: id,
            source,
        })?
    } else {
        xxh3_64(&body)
    };
    if frame.body_len != entry.body_len || frame.body_sum != sum {
        return Err(damaged());
    }
    let Ok((Record::Item(head), head_len)) = decode_body(&body) else {
        return Err(damaged());
    };
    if frame.channel != entry.channel || head.key != entry.key {
        return Err(damaged());
    }
    let payload = if large {
        let at = body_at + head_len as u64;
        StoredPayload::Large(LargePayload::new(
            Arc::clone(log),
            at,
            body_len - head_len as u64,
        ))
    } else {
        StoredPayload::Whole(body.slice(head_len..))
    };
    Ok(StoredItem { head, payload })
}
