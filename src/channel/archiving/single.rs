//! Channels that keep each item as an object of its own.

use std::collections::HashSet;
use std::io;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use xxhash_rust::xxh3::xxh3_64;

use super::minute::{Part, READ_AT_ONCE, Settled, payload};
use super::sending::Sending;
use super::{ArchiveError, Archiver};
use crate::archive::name::{Object, day_of, minute_len};
use crate::archive::object::{DELETED, Record};
use crate::archive::store::Created;
use crate::channel::registry::Channel;
use crate::env::Millis;
use crate::item::{ContentType, ItemKey, pack};
use crate::spoke::{StoredItem, StoredPayload};

/// Records of a minute whose items are put at the same time.
const PUT_AT_ONCE: usize = 16;
/// So many records of a minute are looked into; of the rest it is enough that they are listed.
const LOOKED_INTO: usize = 16;
/// How many names are listed at a time.
const NAMES: usize = 1000;

/// What is known of an item that was archived.
#[derive(Debug, Clone, Copy)]
struct Known {
    size: u64,
    /// The XXH3 of its payload; `None` if that would have to be read.
    sum: Option<u64>,
}

impl Known {
    fn of(bytes: &Bytes) -> Self {
        Self {
            size: bytes.len() as u64,
            sum: Some(xxh3_64(bytes)),
        }
    }
}

impl Archiver {
    /// Sees to it that each item of a minute has an object of its own.
    pub(super) async fn settle_single(
        &self,
        channel: &Channel,
        minute: Millis,
        records: &[ItemKey],
        part: Part,
    ) -> Result<Settled, ArchiveError> {
        let listed = self.items_of(channel, minute).await?;
        let (whole, lacking): (Vec<ItemKey>, Vec<ItemKey>) = records
            .iter()
            .partition(|record| record.items().all(|key| listed.contains(&key)));
        let step = whole.len().div_ceil(LOOKED_INTO).max(1);
        let looking = stream::iter(whole.into_iter().step_by(step))
            .map(|record| self.look_into(channel, record))
            .buffer_unordered(READ_AT_ONCE);
        looking.try_collect::<()>().await?;
        if lacking.is_empty() {
            return Ok(Settled::Found);
        }
        if part != Part::Writes {
            return Ok(Settled::Waits);
        }
        let putting = stream::iter(lacking)
            .map(|record| self.put_items(channel, record, &listed))
            .buffer_unordered(PUT_AT_ONCE);
        putting.try_collect::<()>().await?;
        Ok(Settled::Written)
    }

    /// The items of a minute that have objects of their own.
    async fn items_of(
        &self,
        channel: &Channel,
        minute: Millis,
    ) -> Result<HashSet<ItemKey>, ArchiveError> {
        let folder = day_of(channel.id, minute);
        // A minute's own object comes before its items, and they before those of the next minute.
        let mut at = Object::Minute(minute).name(channel.id);
        let mut items = HashSet::new();
        loop {
            let names = self.store.names(&folder, &at, NAMES).await?;
            for name in &names.names {
                match Object::parse(name) {
                    Ok((_, object)) if object.start() >= minute.plus(minute_len()) => {
                        return Ok(items);
                    }
                    Ok((_, Object::Item(key))) => {
                        items.insert(key);
                    }
                    _ => {}
                }
            }
            match names.names.last() {
                Some(last) if names.more => at.clone_from(last),
                _ => return Ok(items),
            }
        }
    }

    /// Looks into the object of the first item of a record that this node holds.
    async fn look_into(&self, channel: &Channel, record: ItemKey) -> Result<(), ArchiveError> {
        let own = self.source.own(channel.id, record).await;
        let (Ok(Some(own)), Some(key)) = (own, record.items().next()) else {
            return Ok(());
        };
        let known = match &own.payload {
            StoredPayload::Whole(pack) if record.is_bulk() => {
                let item = pack::item(pack, 0).map_err(io::Error::other)?;
                item.map(|item| Known::of(&item.bytes))
            }
            StoredPayload::Whole(bytes) => Some(Known::of(bytes)),
            // It would have to be read whole.
            StoredPayload::Large(_) if record.is_bulk() => None,
            StoredPayload::Large(_) => Some(Known {
                size: own.head.size,
                sum: None,
            }),
        };
        match known {
            Some(known) => self.check_item(channel, key, known).await,
            None => Ok(()),
        }
    }

    /// Holds an item's object against what is known of the item.
    async fn check_item(
        &self,
        channel: &Channel,
        key: ItemKey,
        known: Known,
    ) -> Result<(), ArchiveError> {
        let name = Object::Item(key).name(channel.id);
        let index = match self.index(&name).await {
            // Nobody is to find it any more.
            Err(ArchiveError::Damaged { damaged, .. }) if damaged == DELETED => return Ok(()),
            index => index?,
        };
        let difference = match index.as_ref().map(|index| (index, index.find(&key))) {
            None => "it is not there, though it was",
            Some((index, _)) if index.channel() != channel.id => "it is of another channel",
            Some((_, None)) => "its item is not in it",
            // It may have been written again since.
            Some((_, Some(_))) if channel.is_historical(&key) => return Ok(()),
            Some((_, Some(record)))
                if record.size != known.size || known.sum.is_some_and(|sum| sum != record.sum) =>
            {
                "its item is another one"
            }
            Some(_) => return Ok(()),
        };
        let difference = difference.to_owned();
        Err(ArchiveError::Differs { name, difference })
    }

    /// Puts an object for each item of a record that has none.
    async fn put_items(
        &self,
        channel: &Channel,
        record: ItemKey,
        listed: &HashSet<ItemKey>,
    ) -> Result<(), ArchiveError> {
        let found = self.record(channel, record).await?;
        if !record.is_bulk() {
            let sending = self.sending(channel, record);
            return self
                .put_item(channel, record, found, sending)
                .await
                .map(drop);
        }
        // It is in memory for as long as its items are put.
        let _turn = self.bounds.pack(found.head.size).await?;
        let pack = payload(found).await?;
        for (number, key) in record.items().enumerate() {
            if listed.contains(&key) {
                continue;
            }
            let item = pack::item(&pack, number as u32).map_err(io::Error::other)?;
            let item = item.ok_or_else(|| io::Error::other(format!("{key} is not there")))?;
            let kind = item.content_type.as_ref().map(ContentType::as_str);
            let kind = kind.map(str::to_owned);
            let sending = self.sending(channel, key);
            self.put_payload(channel, key, sending, kind, item.bytes)
                .await?;
        }
        Ok(())
    }

    /// Puts a large item as an object, while that of its minute is made; gives the XXH3 of its payload.
    pub(super) async fn put_large(
        &self,
        channel: &Channel,
        item: StoredItem,
    ) -> Result<u64, ArchiveError> {
        let key = item.head.key;
        let sending = self.sending(channel, key).aside();
        self.put_item(channel, key, item, sending).await
    }

    /// Holds the object of a large item, to which a minute's points, against what that says of it.
    pub(super) async fn check_large(
        &self,
        channel: &Channel,
        record: &Record<'_>,
    ) -> Result<(), ArchiveError> {
        let known = Known {
            size: record.size,
            sum: Some(record.sum),
        };
        self.check_item(channel, record.key, known).await
    }

    /// Puts an item as an object; gives the XXH3 of its payload.
    async fn put_item(
        &self,
        channel: &Channel,
        key: ItemKey,
        item: StoredItem,
        mut sending: Sending<'_>,
    ) -> Result<u64, ArchiveError> {
        let kind = item.head.content_type.clone();
        let room = sending.room(item.head.size).await;
        let read = match room {
            Ok(room) => payload(item).await.map(|payload| (payload, room)),
            Err(error) => Err(error),
        };
        match read {
            Ok((payload, _room)) => self.put_payload(channel, key, sending, kind, payload).await,
            Err(error) => {
                sending.give_up().await;
                Err(error)
            }
        }
    }

    async fn put_payload(
        &self,
        channel: &Channel,
        key: ItemKey,
        mut sending: Sending<'_>,
        kind: Option<String>,
        payload: Bytes,
    ) -> Result<u64, ArchiveError> {
        let (size, sum) = (payload.len() as u64, xxh3_64(&payload));
        let known = Known {
            size,
            sum: Some(sum),
        };
        if let Err(error) = sending.push(key, kind, payload).await {
            sending.give_up().await;
            return Err(error);
        }
        let name = Object::Item(key).name(channel.id);
        let is_there = async || Ok(self.index(&name).await?.is_some());
        let made = sending.finish(is_there).await?;
        // Somebody else may have taken over too: what is there is looked at.
        if made.created == Created::Before {
            self.check_item(channel, key, known).await?;
        }
        Ok(sum)
    }

    fn sending(&self, channel: &Channel, key: ItemKey) -> Sending<'_> {
        let name = Object::Item(key).name(channel.id);
        Sending::new(&self.store, &self.bounds, channel.id, &name)
    }
}
