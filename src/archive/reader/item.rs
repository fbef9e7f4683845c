//! One item by its key.

use std::sync::Arc;

use bytes::Bytes;

use super::super::name::{self, Object, hour_len, minute_len};
use super::super::object::{DELETED, Damaged, FOOTER_LEN, Footer, GONE_LEN, Index, cut};
use super::super::store::{Part, Which};
use super::blocks::unpacked;
use super::known::Known;
use super::names::There;
use super::{ArchiveReader, LARGE, ReadArchiveError};
use crate::http::body::Share;
use crate::item::ItemKey;
use crate::item::pack::BadPack;
use crate::spoke::{ChannelId, ItemFlags, ItemHead, StoredItem, StoredPayload, WriteId};

/// What stands under an item's own name.
#[derive(Debug)]
pub enum Single {
    /// The item.
    Item(StoredItem),
    /// That it was deleted.
    Gone,
    /// Nothing: a minute or an hour may have it.
    Neither,
}

/// Which objects may have an item.
#[derive(Default)]
struct Holders {
    hour: Option<There>,
    minute: Option<There>,
    /// Its own: whether it was deleted; `None` if that is not known.
    own: Option<Own>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    None,
    Item,
    Deleted,
}

impl ArchiveReader {
    /// The item of a key, or the record of a bulk insert's; `None` if the archive has none.
    ///
    /// # Errors
    /// [`ReadArchiveError`].
    pub async fn item(
        &self,
        channel: ChannelId,
        key: &ItemKey,
    ) -> Result<Option<StoredItem>, ReadArchiveError> {
        self.told(self.item_of(channel, key).await)
    }

    async fn item_of(
        &self,
        channel: ChannelId,
        key: &ItemKey,
    ) -> Result<Option<StoredItem>, ReadArchiveError> {
        for object in [hour_of(key), minute_of(key)] {
            let name = object.name(channel);
            let Some(known) = self.objects.kept(&name).await else {
                continue;
            };
            match self.out_of(&known, key).await {
                Ok(None) => {}
                // It is looked for anew.
                Err(error) if error.may_have_moved() => self.objects.forget(&name).await,
                read => return read,
            }
        }
        match self.looked_up(channel, key).await {
            Err(error) if error.may_have_moved() => {
                let read = self.looked_up(channel, key).await?;
                if read.is_none() {
                    self.is_accounted_for(error).await?;
                }
                Ok(read)
            }
            read => read,
        }
    }

    /// What stands under an item's own name: of one that was written past Spoke nothing else counts.
    ///
    /// # Errors
    /// [`ReadArchiveError`].
    pub async fn single(
        &self,
        channel: ChannelId,
        key: &ItemKey,
    ) -> Result<Single, ReadArchiveError> {
        self.told(self.single_of(channel, key).await)
    }

    async fn single_of(
        &self,
        channel: ChannelId,
        key: &ItemKey,
    ) -> Result<Single, ReadArchiveError> {
        if key.is_bulk() {
            return Ok(Single::Neither);
        }
        let name = Object::Item(*key).name(channel);
        let damaged = |damaged| ReadArchiveError::Damaged {
            name: name.clone(),
            damaged,
        };
        // Most are small, and all there is; of others this has the index.
        let Some(mut read) = self.objects.store.read(&name, Which::Last(LARGE)).await? else {
            return Ok(Single::Neither);
        };
        let mut index = match index_in(&read) {
            Ok(index) => index,
            Err(DELETED) => return Ok(Single::Gone),
            Err(other) => return Err(damaged(other)),
        };
        let of_another = || damaged(Damaged("it is of another item"));
        let size = index.find(key).ok_or_else(of_another)?.block_size();
        let share = self.room(&name, size.max(read.length)).await?;
        if read.length > read.bytes.len() as u64 {
            match self.objects.store.read(&name, Which::All).await? {
                Some(whole) => read = whole,
                None => return Ok(Single::Neither),
            }
            // It may have been written again.
            index = match Index::of_object(&read.bytes) {
                Ok(index) => index,
                Err(DELETED) => return Ok(Single::Gone),
                Err(other) => return Err(damaged(other)),
            };
        }
        index.is_named(&name).map_err(damaged)?;
        let record = index.find(key).ok_or_else(of_another)?;
        let block = index.block_of(&record);
        let within = block.start as usize..block.end as usize;
        let packed = (within.end <= read.bytes.len()).then(|| read.bytes.slice(within));
        let plain = unpacked(&record, packed.unwrap_or_default()).await;
        let payload = plain.and_then(|plain| cut(&record, &plain));
        let payload = held(share, payload.map_err(damaged)?);
        let kind = record.content_type.map(str::to_owned);
        Ok(Single::Item(stored(*key, kind, payload)))
    }

    /// The item, from whichever object is there.
    async fn looked_up(
        &self,
        channel: ChannelId,
        key: &ItemKey,
    ) -> Result<Option<StoredItem>, ReadArchiveError> {
        let holders = self.holders(channel, key).await?;
        if holders.own == Some(Own::Deleted) {
            return Ok(None);
        }
        for there in [&holders.hour, &holders.minute].into_iter().flatten() {
            let known = self.objects.known(there, 1).await?;
            let read = self.out_of(&known, key).await;
            if matches!(&read, Err(error) if error.may_have_moved()) {
                self.objects.forget(&there.name).await;
            }
            if let Some(item) = read? {
                return Ok(Some(item));
            }
        }
        if holders.own == Some(Own::None) {
            return Ok(None);
        }
        match self.single_of(channel, key).await? {
            Single::Item(item) => Ok(Some(item)),
            Single::Gone | Single::Neither => Ok(None),
        }
    }

    /// Which objects of its hour may have an item: by one listing, or two where there are very many.
    async fn holders(
        &self,
        channel: ChannelId,
        key: &ItemKey,
    ) -> Result<Holders, ReadArchiveError> {
        let day = name::day_of(channel, key.millis);
        let (hour, minute) = (hour_of(key), minute_of(key));
        let own = Object::Item(*key);
        // Only items have names of their own.
        let objects = [Some(hour), Some(minute), (!key.is_bulk()).then_some(own)];
        let objects = objects.into_iter().flatten();
        if let Some(there) = self.names.which(channel, objects).await? {
            let find = |object| there.iter().find(|t| t.object == object);
            let deleted = |there: &There| there.size == GONE_LEN as u64;
            return Ok(Holders {
                hour: find(hour).cloned(),
                minute: find(minute).cloned().filter(|_| find(hour).is_none()),
                own: Some(match find(own) {
                    Some(there) if deleted(there) => Own::Deleted,
                    Some(_) => Own::Item,
                    None => Own::None,
                }),
            });
        }
        let after = name::before(channel, key.millis);
        let mut page = self.names.page(channel, &day, &after, false).await?;
        let find = |there: &[There], object| there.iter().find(|t| t.object == object).cloned();
        let mut holders = Holders {
            hour: find(&page.there, hour),
            ..Holders::default()
        };
        if !page.reaches(&minute.name(channel)) {
            let after = name::before_minute(channel, key.millis);
            page = self.names.page(channel, &day, &after, false).await?;
        }
        if holders.hour.is_none() {
            holders.minute = find(&page.there, minute);
        }
        holders.own = match find(&page.there, own) {
            Some(there) if there.size == GONE_LEN as u64 => Some(Own::Deleted),
            Some(_) => Some(Own::Item),
            None => (key.is_bulk() || page.reaches(&own.name(channel))).then_some(Own::None),
        };
        Ok(holders)
    }

    /// The item out of an object of many; `None` if it is not in it.
    async fn out_of(
        &self,
        known: &Arc<Known>,
        key: &ItemKey,
    ) -> Result<Option<StoredItem>, ReadArchiveError> {
        let Some((record, number)) = known.index.holder(key) else {
            return Ok(None);
        };
        if record.is_elsewhere() {
            return match self.single_of(known.index.channel(), key).await? {
                Single::Item(item) => Ok(Some(item)),
                Single::Gone => Ok(None),
                Single::Neither => Err(ReadArchiveError::Missing {
                    name: Object::Item(*key).name(known.index.channel()),
                }),
            };
        }
        let share = match record.size {
            // A part of a block that others are in as well: what is kept of those has a bound of its own.
            small if small < LARGE => None,
            size => {
                self.room(&known.name, size.max(record.block_size()))
                    .await?
            }
        };
        let payload = held(share, self.objects.payload(known, &record).await?);
        let kind = record.content_type.map(str::to_owned);
        let whole = stored(record.key, kind, payload);
        match number {
            None => Ok(Some(whole)),
            Some(number) => {
                let bad = |BadPack| known.damaged(Damaged("a bulk insert's items are no such"));
                whole.one(number).map_err(bad)
            }
        }
    }
}

/// The index of an object, of which these bytes are the end, or all.
fn index_in(read: &Part) -> Result<Index, Damaged> {
    if read.length <= read.bytes.len() as u64 {
        return Index::of_object(&read.bytes);
    }
    let footer = Footer::parse(&read.bytes, read.length)?;
    let missing = read.length - read.bytes.len() as u64;
    let at = footer.index_at.checked_sub(missing);
    let end = read.bytes.len() - FOOTER_LEN;
    let index = at.and_then(|at| read.bytes.get(at as usize..end));
    Index::parse(index.unwrap_or_default(), &footer)
}

/// The bytes, with the room that they take.
fn held(share: Option<Share>, bytes: Bytes) -> Bytes {
    match share {
        Some(share) => share.of(bytes),
        None => bytes,
    }
}

fn hour_of(key: &ItemKey) -> Object {
    Object::Hour(key.millis.floor_to(hour_len()))
}

fn minute_of(key: &ItemKey) -> Object {
    Object::Minute(key.millis.floor_to(minute_len()))
}

/// An item as Spoke would give it.
fn stored(key: ItemKey, content_type: Option<String>, payload: Bytes) -> StoredItem {
    StoredItem {
        head: ItemHead {
            key,
            write_id: WriteId(0),
            flags: ItemFlags::default(),
            content_type,
            size: payload.len() as u64,
            digest: 0,
            replicas: Vec::new(),
        },
        payload: StoredPayload::Whole(payload),
    }
}
