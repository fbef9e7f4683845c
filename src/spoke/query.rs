//! How the segmented log is read: by key, by range, and an item's record.
//!
//! Readers never wait for the writer: they look at sealed indexes and at the active index, to
//! which entries are only added, and read records at their offsets.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::directory::Direction;
use super::files::LogFile;
use super::ids::{ChannelId, SegmentId};
use super::index::{Entry, IndexError, ReadMode, read_mode};
use super::large::LargePayload;
use super::log::Shared;
use super::record::{FRAME_LEN, Frame, Record, decode_body};
use super::scan::checksum;
use super::segment::{Segment, State};
use super::store::{Range, ReadError, StoredItem, StoredPayload};
use crate::env::Millis;
use crate::item::ItemKey;

/// Payloads above this many bytes are read part by part.
const LARGE: u64 = 1024 * 1024;

/// Where an item's record is.
struct Place {
    segment: Arc<Segment>,
    log: Arc<dyn LogFile>,
    entry: Entry,
}

impl Shared {
    pub(super) fn find(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        mode: ReadMode,
    ) -> Result<Option<Entry>, ReadError> {
        let place = self.locate(channel, key, mode)?;
        Ok(place.map(|place| place.entry))
    }

    /// The item of that key, with one look at the indexes unless something is wrong with it.
    pub(super) fn get(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        mode: ReadMode,
    ) -> Result<Option<StoredItem>, ReadError> {
        loop {
            let Some(Place {
                segment,
                log,
                entry,
            }) = self.locate(channel, key, mode)?
            else {
                return Ok(None);
            };
            match read_item(&log, &segment, &entry, mode) {
                Err(ReadError::NotCached) => return Err(ReadError::NotCached),
                Ok(item) => return Ok(Some(item)),
                Err(_) => match self.read(&entry, mode) {
                    // Stored anew, removed or expired between the two: look again.
                    Err(ReadError::Gone { .. }) => {}
                    read => return read.map(Some),
                },
            }
        }
    }

    /// Where an item stands: in the latest segment that has it, unless any says that it was removed.
    fn locate(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        mode: ReadMode,
    ) -> Result<Option<Place>, ReadError> {
        let bucket = self.directory.bucket(key.millis);
        let missing = || match self.damage.of(channel, bucket, bucket) {
            Some(segment) => Err(ReadError::Incomplete { segment }),
            None => Ok(None),
        };
        if self.directory.next(channel, bucket, Direction::Ascending) != Some(bucket) {
            return missing();
        }
        let mut found = None;
        for segment in self.in_bucket(bucket) {
            let Some(place) = self.place_in(segment, channel, key, mode)? else {
                continue;
            };
            if place.entry.removed {
                return Ok(None);
            }
            found = Some(place);
        }
        found.map_or_else(missing, |place| Ok(Some(place)))
    }

    /// What a segment has of a key, removed or not.
    fn place_in(
        &self,
        segment: Arc<Segment>,
        channel: ChannelId,
        key: &ItemKey,
        mode: ReadMode,
    ) -> Result<Option<Place>, ReadError> {
        let (log, entry) = match &*segment.state() {
            State::Active(active) => (Arc::clone(&active.file), active.find(channel, key)),
            State::Sealed(_) => {
                let Some(open) = self.opened(&segment, mode)? else {
                    return Ok(None);
                };
                let entry = open.index.find(channel, key, mode);
                let entry = entry.map_err(|e| self.index_error(segment.id, e))?;
                (Arc::clone(&open.log), entry)
            }
        };
        Ok(entry.map(|entry| Place {
            segment,
            log,
            entry,
        }))
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
            // Of several entries of a key the latest stands, and a removal for good: it comes first.
            merged.reverse();
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
    pub(super) fn range_of(
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
                let Some(open) = self.opened(segment, mode)? else {
                    return Ok((entries, false));
                };
                match direction {
                    Direction::Ascending => open.index.ascend(channel, &low, mode, take),
                    Direction::Descending => open.index.descend(channel, &high, mode, take),
                }
                .map_err(|e| self.index_error(segment.id, e))?;
            }
        }
        Ok((entries, cut))
    }

    pub(super) fn read(&self, entry: &Entry, mode: ReadMode) -> Result<StoredItem, ReadError> {
        self.read_by(entry, mode, |place| {
            read_item(&place.log, &place.segment, entry, mode)
        })
    }

    /// The item of that number of a bulk insert's record; `None` if it has fewer.
    pub(super) fn read_one(
        &self,
        entry: &Entry,
        number: u32,
        mode: ReadMode,
    ) -> Result<Option<StoredItem>, ReadError> {
        self.read_by(entry, mode, |place| {
            super::bulk::read_one(&place.log, &place.segment, entry, number, mode)
        })
    }

    /// Reads from an entry's record, in whichever segment of its bucket that is whole.
    fn read_by<T>(
        &self,
        entry: &Entry,
        mode: ReadMode,
        how: impl Fn(&Place) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let bucket = self.directory.bucket(entry.key.millis);
        let mut error = None;
        for segment in self.in_bucket(bucket) {
            let (channel, key) = entry.position();
            let id = segment.id;
            let item = match self.place_in(segment, channel, &key, mode) {
                Ok(Some(place)) if place.entry == *entry => how(&place),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            match item {
                Ok(item) => return Ok(item),
                Err(ReadError::NotCached) => return Err(ReadError::NotCached),
                // Another segment of the bucket may hold it, and be whole. What is wrong with this
                // one is looked into, so that it is known of and not met again by every reader.
                Err(other) => {
                    if let ReadError::Damaged { offset, .. } = other {
                        crate::metric::damaged_record();
                        let key = entry.key;
                        tracing::error!(segment = %id, offset, %key, "a record is damaged");
                        self.suspects.lock().insert(id);
                    }
                    error = Some(other);
                }
            }
        }
        let segment = SegmentId { bucket, number: 0 };
        Err(error.unwrap_or(ReadError::Gone { segment }))
    }
}

/// What a read of an entry's record means that did not give its bytes. The index says that it is
/// there, so a log that ends before it is damaged.
pub(super) fn wrong(segment: &Segment, entry: &Entry, error: IndexError) -> ReadError {
    let damaged = ReadError::Damaged {
        segment: segment.id,
        offset: entry.offset,
    };
    match error {
        IndexError::NotCached => ReadError::NotCached,
        IndexError::Damaged(_) => damaged,
        IndexError::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => damaged,
        IndexError::Io(source) => ReadError::Io {
            segment: segment.id,
            source,
        },
    }
}

/// Reads an item's record and checks it.
pub(super) fn read_item(
    log: &Arc<dyn LogFile>,
    segment: &Segment,
    entry: &Entry,
    mode: ReadMode,
) -> Result<StoredItem, ReadError> {
    let id = segment.id;
    let damaged = || ReadError::Damaged {
        segment: id,
        offset: entry.offset,
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
    let bytes = Bytes::from(bytes.map_err(|e| wrong(segment, entry, e))?);
    let frame = Frame::decode(&bytes, segment.salt, entry.offset).map_err(|_| damaged())?;
    let body = bytes.slice(FRAME_LEN..);
    let body_at = entry.offset + FRAME_LEN as u64;
    let sum = if large {
        checksum(&**log, body_at, body_len).map_err(|e| wrong(segment, entry, IndexError::Io(e)))?
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
