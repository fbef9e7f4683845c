//! Hours: the minutes of one that is over become one object, and then go.
//!
//! An hour's object is written like a minute's, and is there before any of its minutes goes: readers find
//! one or the other. The minutes go a while later, as somebody may have listed them before.

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;

use super::book::{Entry, Obstacle, Outcome};
use super::sending::Sending;
use super::{ArchiveError, Archiver};
use crate::archive::name::{Object, before, channel_of, hour_len, minute_len};
use crate::archive::object::{Index, Record, cut, unpack};
use crate::archive::store::{Created, Which};
use crate::channel::config::Storage;
use crate::channel::registry::Channel;
use crate::env::Millis;
use crate::item::ItemKey;
use crate::spoke::ChannelId;

/// Hours that are put together at the same time.
const AT_ONCE: usize = 3;
/// For how long an hour is over before its minutes are put together, in milliseconds: others may still be
/// about to write some.
fn after() -> i64 {
    2 * minute_len()
}
/// How many times it is looked for what is missing of an hour, until it stays in minutes.
const TRIES: u32 = 20;
/// An hour with more records stays in minutes, so that its index is read in no time; and one with more
/// bytes, as an upload has room for so many.
const RECORDS_MAX: u64 = 1_000_000;
/// Minutes of an hour that are read at the same time: an index of each is in memory.
const PARTS_AT_ONCE: usize = 2;
const BYTES_MAX: u64 = 32 << 30;
/// An object up to this size is read whole, in bytes.
const SMALL: u64 = 64 * 1024;
/// The most blocks that are read at a time, in bytes, unless one is larger.
const RUN: u64 = 4 << 20;

/// A minute's object.
struct Part {
    name: String,
    index: Index,
    /// All of it, if it is small.
    whole: Option<Bytes>,
}

/// What there is of an hour.
#[derive(Debug, Default, PartialEq, Eq)]
struct There {
    hour: bool,
    minutes: Vec<Millis>,
}

impl Archiver {
    /// Puts the minutes of hours together that are over, and deletes those of which that was done a while
    /// ago; what something stands in the way of is tried again another time.
    ///
    /// # Errors
    /// If how far it has come was not kept.
    pub async fn roll_up(&self) -> Result<(), ArchiveError> {
        self.expect_of_last_run();
        let reached = self.progress.lock().reached().floor_to(hour_len());
        let (now, since) = (self.source.now(), Instant::now());
        let due = self.book.lock().due(since, |channel, hour| {
            let Some(channel) = self.source.channel(channel) else {
                // Its folder goes as a whole.
                return None;
            };
            let end = hour.plus(hour_len());
            let place = self.source.place(&channel, hour, end);
            let place = i64::try_from(place).unwrap_or(i64::MAX);
            // Whoever comes after the first sees whether it is done: its minutes are gone by then.
            let pause = i64::try_from(self.settings.rollup_pause.as_millis()).unwrap_or(i64::MAX);
            let turn = self.settings.takeover.saturating_add(pause);
            let from = end.plus(self.settings.settle + after());
            let from = from.plus(turn.saturating_mul(place));
            let archived = self.progress.lock().reached_by(channel.id) >= end;
            Some((now >= from && archived).then_some(channel))
        });
        let rolling = stream::iter(due).for_each_concurrent(AT_ONCE, async |(hour, entry, channel)| {
            let outcome = self.roll(&channel, hour, entry).await;
            let name = channel.config.name.as_str();
            if let Err(error) = &outcome {
                tracing::warn!(%error, channel = name, %hour, "the minutes of an hour were not put together");
                crate::metric::archive_failed();
            }
            let outcome = outcome.map_err(|error| Obstacle {
                what: format!("{name}: {error}"),
                lasts: matches!(error, ArchiveError::Damaged { .. } | ArchiveError::Differs { .. }),
            });
            self.book.lock().note((hour, channel.id), outcome, Instant::now());
        });
        rolling.await;
        let done_to = self.book.lock().done_to(reached);
        if done_to > self.book.lock().kept() {
            super::keep_file(&self.settings.rolled, done_to, &self.settings.url, None).await?;
            self.book.lock().set_kept(done_to);
        }
        Ok(())
    }

    /// What the run before this one may have left is to be looked at: of each channel that this node holds.
    fn expect_of_last_run(&self) {
        let mut channels = None;
        loop {
            let Some(hour) = self.book.lock().take_unknown() else {
                return;
            };
            for channel in channels.get_or_insert_with(|| self.source.channels()) {
                if self.source.is_replica(channel, hour.plus(hour_len())) {
                    self.book.lock().expect(channel.id, hour);
                }
            }
        }
    }

    /// Does for an hour of a channel what comes next.
    async fn roll(
        &self,
        channel: &Channel,
        hour: Millis,
        entry: Entry,
    ) -> Result<Outcome, ArchiveError> {
        let name = Object::Hour(hour).name(channel.id);
        if channel.config.storage == Storage::Single {
            return Ok(Outcome::Done);
        }
        if let Some((footer, minutes)) = entry.covered {
            // It was looked at a while ago: is it still the same?
            let index = self.index(&name).await?;
            if index.is_some_and(|index| index.footer().to_bytes()[..] == footer[..]) {
                let names = minutes
                    .iter()
                    .map(|minute| Object::Minute(*minute).name(channel.id));
                self.store.delete(&names.collect::<Vec<_>>()).await?;
                return Ok(Outcome::Done);
            }
            return Ok(Outcome::Again);
        }
        let there = self.there(channel.id, hour).await?;
        if there.minutes.is_empty() || (there.minutes.len() == 1 && !there.hour) {
            return Ok(Outcome::Done);
        }
        let Some(parts) = self.parts(channel, &there.minutes).await? else {
            return Ok(Outcome::Done);
        };
        if !there.hour {
            let floor = self.source.floor(channel);
            if floor.millis >= hour.plus(hour_len()) {
                return Ok(Outcome::Done);
            }
            if !self.is_whole(channel, hour, &parts).await? {
                // Perhaps its items were kept one by one for a while: then it stays as it is.
                let again = entry.tries < TRIES;
                return Ok(if again { Outcome::Again } else { Outcome::Done });
            }
            self.write_hour(channel, &name, &parts).await?;
        }
        let missing = || ArchiveError::Differs {
            name: name.clone(),
            difference: "it is not there after it was written".to_owned(),
        };
        let index = self.index(&name).await?.ok_or_else(missing)?;
        for part in &parts {
            if let Some(key) = lacks(&index, &part.index) {
                let difference = format!("{key} is not in it as it is in {}", part.name);
                return Err(ArchiveError::Differs { name, difference });
            }
        }
        let footer = Bytes::copy_from_slice(&index.footer().to_bytes());
        Ok(Outcome::Covers(
            footer,
            there.minutes,
            self.settings.rollup_pause,
        ))
    }

    /// What there is of an hour.
    async fn there(&self, channel: ChannelId, hour: Millis) -> Result<There, ArchiveError> {
        let mut there = There::default();
        let folder = channel_of(channel);
        let mut at = before(channel, hour);
        // Single items come after the minute that they are of: there may be more names than minutes.
        loop {
            let names = self.store.names(&folder, &at, 200).await?;
            for name in &names.names {
                let Ok((_, object)) = Object::parse(name) else {
                    continue;
                };
                if object.start() >= hour.plus(hour_len()) {
                    return Ok(there);
                }
                match object {
                    Object::Hour(_) => there.hour = true,
                    Object::Minute(minute) => there.minutes.push(minute),
                    Object::Item(_) => {}
                }
            }
            let Some(last) = names.names.last().filter(|_| names.more) else {
                return Ok(there);
            };
            // What is of a minute's items is passed over.
            let next = Object::parse(last)
                .ok()
                .and_then(|(_, object)| match object {
                    Object::Hour(_) | Object::Minute(_) => None,
                    item @ Object::Item(_) => {
                        Some(item.start().floor_to(minute_len()).plus(minute_len()))
                    }
                });
            at = match next {
                Some(next) if next >= hour.plus(hour_len()) => return Ok(there),
                Some(next) => crate::archive::name::before_minute(channel, next).max(last.clone()),
                None => last.clone(),
            };
        }
    }

    /// The objects of minutes, with their indexes; `None` if they are too much for one object of an hour, which
    /// is found before the indexes of all of them are in memory.
    async fn parts(
        &self,
        channel: &Channel,
        minutes: &[Millis],
    ) -> Result<Option<Vec<Part>>, ArchiveError> {
        let minutes = minutes.to_vec();
        let reading = stream::iter(minutes).map(|minute| self.part_of(channel, minute));
        let mut reading = reading.buffered(PARTS_AT_ONCE);
        let (mut parts, mut records, mut bytes) = (Vec::new(), 0, 0);
        while let Some(part) = reading.try_next().await? {
            records += part.index.footer().records;
            bytes += part.index.footer().index_at;
            if records > RECORDS_MAX || bytes > BYTES_MAX {
                return Ok(None);
            }
            parts.push(part);
        }
        Ok(Some(parts))
    }

    async fn part_of(&self, channel: &Channel, minute: Millis) -> Result<Part, ArchiveError> {
        let name = Object::Minute(minute).name(channel.id);
        let missing = || io::Error::other(format!("{name} is listed and is not there"));
        let tail = self.store.read(&name, Which::Last(SMALL)).await?;
        let tail = tail.ok_or_else(missing)?;
        let (index, whole) = if tail.bytes.len() as u64 == tail.length {
            let index = Index::of_object(&tail.bytes).map_err(|damaged| ArchiveError::Damaged {
                name: name.clone(),
                damaged,
            })?;
            (index, Some(tail.bytes))
        } else {
            (self.index(&name).await?.ok_or_else(missing)?, None)
        };
        let (from, to) = (minute, minute.plus(minute_len()));
        let is_inside = |record: Record<'_>| (from..to).contains(&record.key.millis);
        let strange = index.channel() != channel.id || !index.records().all(is_inside);
        if strange {
            let difference = "it is of another channel or minute".to_owned();
            return Err(ArchiveError::Differs { name, difference });
        }
        Ok(Part { name, index, whole })
    }

    /// Whether all that a stable read gives of an hour is in its minutes: one that somebody else is to write
    /// may not be there yet.
    async fn is_whole(
        &self,
        channel: &Channel,
        hour: Millis,
        parts: &[Part],
    ) -> Result<bool, ArchiveError> {
        let keys = self
            .source
            .keys(channel, hour, hour.plus(hour_len()))
            .await?;
        let holds = |key: &ItemKey| parts.iter().any(|part| part.index.find(key).is_some());
        Ok(keys.iter().all(holds))
    }

    /// Writes an hour's object out of those of its minutes.
    async fn write_hour(
        &self,
        channel: &Channel,
        name: &str,
        parts: &[Part],
    ) -> Result<(), ArchiveError> {
        let mut sending = Sending::new(&self.store, &self.bounds, channel.id, name);
        let filled = async {
            for part in parts {
                self.copy(part, &mut sending).await?;
            }
            Ok::<_, ArchiveError>(())
        };
        if let Err(error) = filled.await {
            sending.give_up().await;
            return Err(error);
        }
        let is_there = async || Ok(self.index(name).await?.is_some());
        let made = sending.finish(is_there).await?;
        if made.created == Created::Now {
            crate::metric::archive_rolled_up();
        }
        Ok(())
    }

    /// Copies the records of a minute, block by block.
    async fn copy(&self, part: &Part, sending: &mut Sending<'_>) -> Result<(), ArchiveError> {
        let records: Vec<Record<'_>> = part.index.records().collect();
        let blocks: Vec<&[Record<'_>]> = records.chunk_by(|a, b| a.number == b.number).collect();
        let size = |block: &[Record<'_>]| {
            let first = block.first();
            first.map_or(0, |record| {
                let range = part.index.block_of(record);
                range.end - range.start
            })
        };
        let mut rest = &blocks[..];
        while let Some(first) = rest.first() {
            if first.iter().all(Record::is_elsewhere) {
                for record in *first {
                    let kind = record.content_type.map(str::to_owned);
                    sending
                        .point(record.key, kind, record.size, record.sum)
                        .await?;
                }
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let mut bytes = size(first);
            let mut count = 1;
            while let Some(next) = rest.get(count)
                && !next.iter().any(Record::is_elsewhere)
                && bytes + size(next) <= RUN
            {
                bytes += size(next);
                count += 1;
            }
            let (run, behind) = rest.split_at(count);
            rest = behind;
            let largest = run.iter().flat_map(|block| block.iter());
            let largest = largest.map(Record::block_size).max().unwrap_or(0);
            // A large item has a block of its own.
            let _room = sending.room(largest).await?;
            self.copy_run(part, run, sending).await?;
        }
        Ok(())
    }

    async fn copy_run(
        &self,
        part: &Part,
        run: &[&[Record<'_>]],
        sending: &mut Sending<'_>,
    ) -> Result<(), ArchiveError> {
        let name = &part.name;
        let damaged = |damaged| ArchiveError::Damaged {
            name: name.clone(),
            damaged,
        };
        let ranges = run.iter().filter_map(|block| block.first());
        let ranges: Vec<_> = ranges.map(|record| part.index.block_of(record)).collect();
        let start = ranges.iter().map(|range| range.start).min().unwrap_or(0);
        let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        let bytes = match &part.whole {
            Some(whole) => whole.slice(start as usize..end as usize),
            None => {
                let read = self.store.read(name, Which::These(start..end)).await?;
                // Another one may have been put in its place.
                let whole = read.filter(|part| part.bytes.len() as u64 == end - start);
                let missing = || io::Error::other(format!("{name} is not there any more"));
                whole.ok_or_else(missing)?.bytes
            }
        };
        for (block, range) in run.iter().zip(ranges) {
            let packed = bytes.slice((range.start - start) as usize..(range.end - start) as usize);
            let Some(first) = block.first().copied() else {
                continue;
            };
            let place = first.place();
            let unpacking = tokio::task::spawn_blocking(move || unpack(&place, &packed));
            let plain = unpacking
                .await
                .map_err(io::Error::other)?
                .map_err(damaged)?;
            for record in *block {
                let payload = cut(record, &plain).map_err(damaged)?;
                let kind = record.content_type.map(str::to_owned);
                sending.push(record.key, kind, payload).await?;
            }
        }
        Ok(())
    }
}

/// The first record of a part that an index does not have just so.
fn lacks(index: &Index, part: &Index) -> Option<ItemKey> {
    let same = |record: &Record<'_>| {
        let found = index.find(&record.key);
        found.is_some_and(|found| {
            (found.size, found.sum, found.content_type)
                == (record.size, record.sum, record.content_type)
        })
    };
    let mut records = part.records();
    records
        .find(|record| !same(record))
        .map(|record| record.key)
}
