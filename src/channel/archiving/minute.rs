//! A channel's minute: whether it is in the archive as it should be, and writing it if it is not.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use xxhash_rust::xxh3::xxh3_64;

use super::progress::{Due, Stopped};
use super::sending::{Made, Sending};
use super::{ArchiveError, Archiver};
use crate::archive::name::{Object, hour_len, minute_len};
use crate::archive::object::{Index, Record};
use crate::archive::store::Created;
use crate::channel::config::Storage;
use crate::channel::registry::Channel;
use crate::env::Millis;
use crate::item::ItemKey;
use crate::spoke::{ReadError, StoredItem, StoredPayload};

/// Records of a minute that are read at the same time.
pub(super) const READ_AT_ONCE: usize = 8;
/// For how long others leave a minute to its writer before they look for it, in milliseconds.
const HEAD_START: i64 = 5_000;

/// What has become of a channel's minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It was in the archive.
    Found,
    /// This node has written it.
    Written,
    /// Another one is to write it, and still has time to.
    Waits,
}

/// What this node does about a minute that is not in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It writes it.
    Writes,
    /// It looks whether it is there.
    Looks,
    /// It leaves it to its writer for the moment.
    Leaves,
}

/// What a node does about a minute that was to be archived from `due` on, if it has the place among those that
/// may, and has waited since then for others that write nothing. Each place has its own time, so that no two
/// begin at once; a minute that it has not looked for yet it does not begin with.
fn part(place: usize, now: Millis, due: Millis, waiting: Option<Millis>, takeover: i64) -> Part {
    if place == 0 {
        return Part::Writes;
    }
    let place = i64::try_from(place).unwrap_or(i64::MAX);
    let patience = takeover.saturating_mul(place);
    if waiting.is_some_and(|waiting| waiting.max(due).plus(patience) < now) {
        Part::Writes
    } else if now < due.plus(HEAD_START.min(takeover / 2)) {
        Part::Leaves
    } else {
        Part::Looks
    }
}

/// An object with its name.
struct Found {
    name: String,
    index: Arc<Index>,
}

/// What is kept in mind along a channel's minutes.
#[derive(Default)]
struct Walk {
    /// Since when others are waited for that write nothing.
    waiting: Option<Millis>,
    /// The hour that was looked at last.
    hour: Option<(Millis, Arc<Index>)>,
}

impl Archiver {
    /// Sees to it that what this node holds of a channel up to there is in the archive.
    pub(super) async fn archive_channel(
        &self,
        channel: &Channel,
        due: Due,
        to: Millis,
    ) -> Result<(), Stopped> {
        let mut walk = Walk {
            waiting: due.waiting,
            hour: None,
        };
        let failed = |at: Millis, error: &ArchiveError| {
            let name = channel.config.name.as_str();
            tracing::warn!(%error, channel = name, minute = %at, "a minute is not in the archive");
            crate::metric::archive_failed();
            Stopped {
                at,
                obstacle: Some(format!("{name}: {error}")),
                // Where the archive does not answer nobody writes.
                waiting: None,
            }
        };
        // Before it is looked what is held: what is on its way to the disk now is not listed yet.
        let undecided = self.source.undecided_from(channel.id);
        let decided_to = undecided.map_or(to, |at| at.floor_to(minute_len()).min(to));
        let mut at = due.from;
        loop {
            let held = self.source.next_held(channel.id, at, decided_to).await;
            let held = held.map_err(|error| failed(at, &error.into()))?;
            let Some(minute) = held else { break };
            at = minute.plus(minute_len());
            match self.settle(channel, minute, &mut walk).await {
                Ok(Settled::Found) => walk.waiting = None,
                Ok(Settled::Written) => {}
                Ok(Settled::Waits) => {
                    return Err(Stopped {
                        at: minute,
                        obstacle: None,
                        waiting: Some(walk.waiting.unwrap_or_else(|| self.source.now())),
                    });
                }
                Err(error) => return Err(failed(minute, &error)),
            }
        }
        if decided_to < to {
            return Err(Stopped {
                at: decided_to,
                obstacle: None,
                waiting: None,
            });
        }
        Ok(())
    }

    /// Sees to it that a channel's minute is in the archive.
    async fn settle(
        &self,
        channel: &Channel,
        minute: Millis,
        walk: &mut Walk,
    ) -> Result<Settled, ArchiveError> {
        // As it is now: its retention may have been changed, or it may be gone.
        let Some(channel) = self.source.channel(channel.id) else {
            return Ok(Settled::Found);
        };
        let (end, now) = (minute.plus(minute_len()), self.source.now());
        let due = end.plus(self.settings.settle);
        let place = self.source.place(&channel, minute, end);
        let part = part(place, now, due, walk.waiting, self.settings.takeover);
        if part == Part::Leaves {
            return Ok(Settled::Waits);
        }
        let keys = self.source.keys(&channel, minute, end).await?;
        let keys = self.not_deleted(&channel, keys).await?;
        if keys.is_empty() {
            return Ok(Settled::Found);
        }
        let storage = channel.config.storage;
        let mut settled = Settled::Found;
        if matches!(storage, Storage::Batch | Storage::Both) {
            settled = self
                .settle_batch(&channel, minute, &keys, part, walk)
                .await?;
        }
        if matches!(storage, Storage::Single | Storage::Both) && settled != Settled::Waits {
            let single = self.settle_single(&channel, minute, &keys, part).await?;
            if single != Settled::Found {
                settled = single;
            }
        }
        Ok(settled)
    }

    /// Without those that Spoke holds and that were deleted since, as items of the past can be.
    async fn not_deleted(
        &self,
        channel: &Channel,
        keys: Vec<ItemKey>,
    ) -> Result<Vec<ItemKey>, ArchiveError> {
        if !keys.iter().any(|key| channel.is_historical(key)) {
            return Ok(keys);
        }
        let looking = stream::iter(keys).map(async |key| {
            let is_there = !channel.is_historical(&key)
                || key.is_bulk()
                || self.source.record(channel, &key).await?.is_some();
            Ok::<_, ArchiveError>(is_there.then_some(key))
        });
        let found: Vec<Option<ItemKey>> = looking.buffered(READ_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn settle_batch(
        &self,
        channel: &Channel,
        minute: Millis,
        keys: &[ItemKey],
        part: Part,
        walk: &mut Walk,
    ) -> Result<Settled, ArchiveError> {
        if let Some(found) = self.find(channel, minute, walk).await? {
            self.check(channel, minute, &found, keys).await?;
            self.book.lock().expect(channel.id, minute);
            return Ok(Settled::Found);
        }
        if part != Part::Writes {
            return Ok(Settled::Waits);
        }
        let name = Object::Minute(minute).name(channel.id);
        let made = self.write(channel, &name, keys).await?;
        let missing = || ArchiveError::Differs {
            name: name.clone(),
            difference: "it is not there after it was written".to_owned(),
        };
        // An upload ends in place of what was there: what counts is what is read.
        let index = self.index(&name).await?.ok_or_else(missing)?;
        if index.footer().to_bytes()[..] != made.footer[..] {
            let index = Arc::new(index);
            self.check(channel, minute, &Found { name, index }, keys)
                .await?;
        }
        self.book.lock().expect(channel.id, minute);
        Ok(match made.created {
            Created::Now => Settled::Written,
            Created::Before => Settled::Found,
        })
    }

    /// The object that holds a minute: its own, or that of its hour.
    async fn find(
        &self,
        channel: &Channel,
        minute: Millis,
        walk: &mut Walk,
    ) -> Result<Option<Found>, ArchiveError> {
        let hour = minute.floor_to(hour_len());
        let name = Object::Hour(hour).name(channel.id);
        if let Some((at, index)) = &walk.hour
            && *at == hour
        {
            let index = Arc::clone(index);
            return Ok(Some(Found { name, index }));
        }
        let of_minute = Object::Minute(minute).name(channel.id);
        if let Some(index) = self.index(&of_minute).await? {
            return Ok(Some(Found {
                name: of_minute,
                index: Arc::new(index),
            }));
        }
        // Nobody puts minutes together before their hour is over by its own clock.
        if self.source.now() < hour.plus(hour_len()).minus(minute_len()) {
            return Ok(None);
        }
        let Some(index) = self.index(&name).await? else {
            return Ok(None);
        };
        let index = Arc::new(index);
        walk.hour = Some((hour, Arc::clone(&index)));
        Ok(Some(Found { name, index }))
    }

    /// Holds an object against a stable read of a minute. It must have all that was read, as this node holds
    /// it: this node lets go of what it finds there. It may have more, which others knew or which has
    /// expired since; what has not is told of.
    async fn check(
        &self,
        channel: &Channel,
        minute: Millis,
        found: &Found,
        keys: &[ItemKey],
    ) -> Result<(), ArchiveError> {
        let (name, index) = (&found.name, &found.index);
        let differs = |difference| {
            let name = name.clone();
            Err(ArchiveError::Differs { name, difference })
        };
        if index.channel() != channel.id {
            return differs("it is of another channel".to_owned());
        }
        // What has expired since it was read does not count.
        let (lacking, besides) = compare(index, minute, keys, &self.source.floor(channel));
        if let Some(key) = lacking {
            return differs(format!("{key} is not in it"));
        }
        if let Some(key) = besides {
            tracing::warn!(name, %key, "an archived object has an item that no replica lists");
            crate::metric::archive_surplus();
        }
        for record in keys.iter().filter_map(|key| index.find(key)) {
            if record.is_elsewhere() {
                self.check_large(channel, &record).await?;
            }
        }
        let mut rest = keys;
        while !rest.is_empty() {
            let own = self.source.own_some(channel.id, rest).await;
            let (some, others) = rest.split_at(own.len().clamp(1, rest.len()));
            rest = others;
            for (key, own) in some.iter().zip(own) {
                if let Some(what) = has_other(channel, index, key, own)? {
                    return differs(format!("{key} has another {what} in it"));
                }
            }
        }
        Ok(())
    }

    /// Writes an object of those records, unless there is one of its name meanwhile.
    async fn write(
        &self,
        channel: &Channel,
        name: &str,
        keys: &[ItemKey],
    ) -> Result<Made, ArchiveError> {
        let mut sending = Sending::new(&self.store, &self.bounds, channel.id, name);
        let filled = async {
            let mut rest = keys;
            while !rest.is_empty() {
                // Of most minutes this node has all there is.
                let own = self.source.own_some(channel.id, rest).await;
                let (some, others) = rest.split_at(own.len().clamp(1, rest.len()));
                rest = others;
                let held: Vec<_> = some
                    .iter()
                    .zip(own)
                    .map(|(key, own)| held(channel, *key, own))
                    .collect();
                if held.iter().all(|(_, own)| own.is_some()) {
                    for record in held.into_iter().filter_map(|(_, own)| own) {
                        self.send(channel, record, &mut sending).await?;
                    }
                    continue;
                }
                let records = stream::iter(held);
                let records = records.map(|(key, own)| self.own_or_asked(channel, key, own));
                let mut records = records.buffered(READ_AT_ONCE);
                while let Some(record) = records.try_next().await? {
                    self.send(channel, record, &mut sending).await?;
                }
            }
            Ok::<_, ArchiveError>(())
        };
        if let Err(error) = filled.await {
            sending.give_up().await;
            return Err(error);
        }
        let is_there = async || Ok(self.index(name).await?.is_some());
        sending.finish(is_there).await
    }

    /// Sends a record on, or an object of its own and what points to that.
    async fn send(
        &self,
        channel: &Channel,
        record: StoredItem,
        sending: &mut Sending<'_>,
    ) -> Result<(), ArchiveError> {
        let key = record.head.key;
        let kind = record.head.content_type.clone();
        let size = record.head.size;
        if size >= self.settings.large_item && !key.is_bulk() {
            let sum = self.put_large(channel, record).await?;
            return sending.point(key, kind, size, sum).await;
        }
        let _room = sending.room(size).await?;
        let payload = payload(record).await?;
        sending.push(key, kind, payload).await
    }

    /// A record as this node holds it, or else from whichever replica has it.
    async fn own_or_asked(
        &self,
        channel: &Channel,
        key: ItemKey,
        own: Option<StoredItem>,
    ) -> Result<StoredItem, ArchiveError> {
        match own {
            Some(own) => Ok(own),
            None => self.record(channel, key).await,
        }
    }

    /// A record, from whichever replica has it.
    pub(super) async fn record(
        &self,
        channel: &Channel,
        key: ItemKey,
    ) -> Result<StoredItem, ArchiveError> {
        let found = self.source.record(channel, &key).await?;
        let missing = || io::Error::other(format!("{key} is listed as stable and was not found"));
        let mut found = found.ok_or_else(missing)?;
        // Of a bulk insert the whole was asked for.
        found.head.key = key;
        Ok(found)
    }
}

/// What this node holds of a key, if that is what is to be archived: one of the past may have been written again
/// since, past Spoke.
fn held(
    channel: &Channel,
    key: ItemKey,
    own: Result<Option<StoredItem>, ReadError>,
) -> (ItemKey, Option<StoredItem>) {
    let own = own.ok().flatten();
    (key, own.filter(|_| !channel.is_historical(&key)))
}

/// In what an archived record differs from the one that this node holds of that key, if it holds one that
/// can be read.
fn has_other(
    channel: &Channel,
    index: &Index,
    key: &ItemKey,
    own: Result<Option<StoredItem>, ReadError>,
) -> Result<Option<&'static str>, ArchiveError> {
    if channel.is_historical(key) {
        // It may have been written again since, past Spoke.
        return Ok(None);
    }
    let own = match own {
        Ok(Some(own)) => own,
        // What is damaged here is not what it should be there.
        Ok(None)
        | Err(ReadError::Damaged { .. } | ReadError::Incomplete { .. } | ReadError::Gone { .. }) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    Ok(index.find(key).and_then(|it| difference(&own, &it)))
}

/// What an object lacks of a minute's records, and what it has besides: the first of each at or above `floor`.
fn compare(
    index: &Index,
    minute: Millis,
    keys: &[ItemKey],
    floor: &ItemKey,
) -> (Option<ItemKey>, Option<ItemKey>) {
    let wanted: HashSet<&ItemKey> = keys.iter().collect();
    let mut kept = keys.iter().filter(|key| *key >= floor);
    let lacking = kept.find(|key| index.find(key).is_none()).copied();
    let from = ItemKey::first_of(minute).max(*floor);
    let to = ItemKey::first_of(minute.plus(minute_len()));
    let found = index.between(&from, &to);
    let mut found = found.map(|record| record.key);
    (lacking, found.find(|key| !wanted.contains(key)))
}

/// In what an archived record differs from the one that is held; `None` if in nothing that can be told
/// without reading the disk.
fn difference(own: &StoredItem, record: &Record<'_>) -> Option<&'static str> {
    if own.head.size != record.size {
        return Some("size");
    }
    if own.head.content_type.as_deref() != record.content_type {
        return Some("media type");
    }
    match &own.payload {
        StoredPayload::Whole(bytes) if xxh3_64(bytes) != record.sum => Some("payload"),
        _ => None,
    }
}

/// A record's payload, read whole.
pub(super) async fn payload(record: StoredItem) -> Result<Bytes, ArchiveError> {
    if let StoredPayload::Whole(bytes) = record.payload {
        return Ok(bytes);
    }
    let reading = tokio::task::spawn_blocking(move || record.into_payload());
    Ok(reading.await.map_err(io::Error::other)??.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::name::MINUTE;
    use crate::archive::object::ObjectWriter;
    use crate::item::Suffix;
    use crate::spoke::ChannelId;

    fn key(at: i64) -> ItemKey {
        ItemKey::new(Millis::new(at), Suffix::parse("0").unwrap())
    }

    #[test]
    fn an_object_is_held_against_a_stable_read() {
        let mut writer = ObjectWriter::new(ChannelId(1));
        // Of an hour: what is before and behind the minute is no part of it.
        for at in [MINUTE - 1, MINUTE + 2, MINUTE + 4, MINUTE + 6, 2 * MINUTE] {
            writer.push(key(at), None, b"x").unwrap();
        }
        let index = Index::of_object(&writer.finish().unwrap()).unwrap();
        for (keys, floor, lacking, besides) in [
            (&[2, 4, 6][..], 0, None, None),
            (&[2, 4], 0, None, Some(6)),
            (&[4, 6], 0, None, Some(2)),
            (&[2, 4, 6, 8], 0, Some(8), None),
            (&[1, 2, 3, 4, 6], 0, Some(1), None),
            (&[2, 3, 6], 0, Some(3), Some(4)),
            (&[], 0, None, Some(2)),
            // What was given up hides nothing that was not.
            (&[1, 2, 3, 4, 6], 2, Some(3), None),
            (&[1, 2, 3, 4, 6], 4, None, None),
            (&[], 3, None, Some(4)),
            (&[], 7, None, None),
        ] {
            let wanted: Vec<_> = keys.iter().map(|at| key(MINUTE + at)).collect();
            let key = |at: i64| key(MINUTE + at);
            assert_eq!(
                compare(&index, Millis::new(MINUTE), &wanted, &key(floor)),
                (lacking.map(key), besides.map(key)),
                "{keys:?} from {floor}"
            );
        }
    }

    #[test]
    fn each_place_has_its_own_time() {
        let due = Millis::new(1_000_000);
        let takeover = 60_000;
        let part_at = |place, after: i64, waiting: Option<i64>| {
            let waiting = waiting.map(|at| due.plus(at));
            part(place, due.plus(after), due, waiting, takeover)
        };
        for place in 0..4 {
            let own = takeover * place as i64;
            for (after, waiting, wanted) in [
                (0, None, Part::Leaves),
                (4_999, None, Part::Leaves),
                (5_000, None, Part::Looks),
                (own, Some(0), Part::Looks),
                (own + 1, Some(0), Part::Writes),
                (own + 1, Some(-5_000), Part::Writes),
                (own + 3_600_000, None, Part::Looks),
                // Hours later it is no time to begin all at once.
                (own + 3_600_000, Some(3_600_000), Part::Looks),
                (own + 3_600_001, Some(3_600_000), Part::Writes),
            ] {
                let wanted = if place == 0 { Part::Writes } else { wanted };
                let found = part_at(place, after, waiting);
                assert_eq!(found, wanted, "{place}, {after} ms after, {waiting:?}");
            }
        }
    }
}
