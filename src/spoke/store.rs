//! What the rest of the hub asks of a short-term store.

use std::io;

use bytes::Bytes;
use thiserror::Error;

use super::directory::Direction;
use super::ids::{ChannelId, SegmentId, WriteId};
use super::index::{Entry, ReadMode};
use super::large::LargePayload;
use super::record::{Encoded, ItemFlags, ItemHead, Malformed};
use super::several::first_of;
use crate::env::Millis;
use crate::item::pack::{self, BadPack};
use crate::item::{ItemKey, Payload};

/// A short-term store of items: a segmented log on disk, or its twin in memory.
///
/// It keeps what it is told to keep and gives it back; which keys may be written is the accept
/// rule's business, not the store's.
pub trait SpokeStore: Send + Sync {
    /// Stores an item; `append.done` hears when it is as safe as the durability asks and readable,
    /// or why it is not. It is called exactly once, on a thread of the store's.
    fn append(&self, append: Append);

    /// Removes an item: its key is dead, or another copy of its write holds.
    fn remove(&self, removal: Removal);

    /// Takes up that every item of the channel which this node coordinates, up to and including that
    /// key, is decided. It is written down when there is occasion: a start that does not find it
    /// asks the other replicas once more, and no harm is done.
    fn decided_to(&self, channel: ChannelId, key: ItemKey);

    /// Adds members to those that an undecided item may have been sent to; `naming.done` hears when
    /// that is on disk, and only then may it be sent to them.
    fn name(&self, naming: Naming);

    /// The undecided items that this node coordinates, as found at the start. Given once.
    fn undecided(&self) -> Vec<Undecided>;

    /// Puts a clock mark on disk that is ahead of the clock, unless the one there is well ahead of
    /// it already, and then says so.
    fn advance_mark(&self, done: Done);

    /// While it holds, nothing moves the mark but [`Self::advance_mark`] and the end: the clock is off.
    fn hold_mark(&self, holds: bool);

    /// The clock mark that is on disk: no promise may speak of a later time.
    fn mark(&self) -> Millis;

    /// The time from which on it still holds everything: items before it may have gone, as the archive
    /// has them. Asked after something was looked up and not found: it goes up before anything goes.
    fn holds_from(&self) -> Millis;

    /// Says that items of times before `from` are not to be looked for here alone. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says; it may hold or not.
    fn let_go(&self, from: Millis) -> io::Result<()>;

    /// Where an item stands; `None` if it is not held.
    ///
    /// # Errors
    /// [`ReadError`]; in particular [`ReadError::Incomplete`] where "not held" could be a lie.
    fn find(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        mode: ReadMode,
    ) -> Result<Option<Entry>, ReadError>;

    /// The items of a channel in a range, in the order of the walk: all of them if they are fewer
    /// than the range's limit, else the first so many.
    ///
    /// # Errors
    /// As [`Self::find`].
    fn range(&self, range: &Range, mode: ReadMode) -> Result<Vec<Entry>, ReadError>;

    /// What an entry stands for.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if the record's checksum fails: neither "held" nor "not held".
    fn read(&self, entry: &Entry, mode: ReadMode) -> Result<StoredItem, ReadError>;

    /// The item of that key; `None` if it is not held.
    ///
    /// # Errors
    /// As [`Self::find`] and [`Self::read`].
    fn get(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        mode: ReadMode,
    ) -> Result<Option<StoredItem>, ReadError> {
        loop {
            let Some(entry) = self.find(channel, key, mode)? else {
                return Ok(None);
            };
            match self.read(&entry, mode) {
                // Stored anew, removed or expired between the two: look again.
                Err(ReadError::Gone { .. }) => {}
                read => return read.map(Some),
            }
        }
    }

    /// The first of some items or records, whose keys are in order: as many as have about so many bytes in memory
    /// together, and at least one. Waits for the disk.
    fn several(
        &self,
        channel: ChannelId,
        keys: &[ItemKey],
        bytes: u64,
    ) -> Vec<Result<Option<StoredItem>, ReadError>> {
        first_of(keys, bytes, |key| {
            self.item(channel, key, ReadMode::Blocking)
        })
    }

    /// The item of that key, also where it is one of a bulk insert's record; `None` if it is not held.
    /// `head` is the record's, but for what is said of the item itself: its media type and size.
    ///
    /// # Errors
    /// As [`Self::get`].
    fn item(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        mode: ReadMode,
    ) -> Result<Option<StoredItem>, ReadError> {
        if let Some(item) = self.get(channel, key, mode)? {
            return Ok(Some(item));
        }
        let Some((number, from, to)) = key.in_bulk() else {
            return Ok(None);
        };
        let range = Range {
            channel,
            from,
            to,
            direction: Direction::Ascending,
            limit: 1,
        };
        loop {
            let Some(entry) = self.range(&range, mode)?.pop() else {
                return Ok(None);
            };
            match self.read_one(&entry, number, mode) {
                // Stored anew, removed or expired between the two: look again.
                Err(ReadError::Gone { .. }) => {}
                read => return read,
            }
        }
    }

    /// The item of that number of a bulk insert's record; `None` if it has fewer.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn read_one(
        &self,
        entry: &Entry,
        number: u32,
        mode: ReadMode,
    ) -> Result<Option<StoredItem>, ReadError> {
        self.read(entry, mode)?
            .one(number)
            .map_err(|BadPack| ReadError::Damaged {
                segment: SegmentId {
                    bucket: entry.key.millis,
                    number: 0,
                },
                offset: entry.offset,
            })
    }

    /// The write ids of the dedup window with the keys they are held under, as found at the start,
    /// and those of the last [`RECALL`] milliseconds that come from no idempotency key. Given once.
    fn recent_writes(&self) -> Vec<(ChannelId, ItemKey, WriteId, ItemFlags)>;

    /// How the store is. Looks at every segment: for operators, not for requests.
    fn status(&self) -> StoreStatus;

    /// Whether appends are refused because the disk is nearly full.
    fn is_full(&self) -> bool;

    /// Why the store takes no appends any more, if so.
    fn failure(&self) -> Option<String>;

    /// What the store may have lost was fetched from elsewhere: from now on, and after the next
    /// start, it counts as intact again, but for damage that it knows of. `done` hears when that is
    /// on disk.
    fn made_whole(&self, done: Done);

    /// Stores what is queued, marks the store clean as of `now`, and stops. Says whether nothing
    /// touches its files any more: only then may they be opened again.
    fn close(&self, now: Millis) -> bool;
}

/// How long writes without an idempotency key are remembered, in milliseconds: twice as long as a
/// client waits for one.
pub const RECALL: i64 = 20_000;

/// Members to which an undecided item is about to be sent as well.
pub struct Naming {
    /// The channel.
    pub channel: ChannelId,
    /// The item's key.
    pub key: ItemKey,
    /// The members.
    pub replicas: Vec<String>,
    /// Hears the outcome.
    pub done: Done,
}

/// An item that this node coordinates, and of which it is not known whether a second copy exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    /// The channel.
    pub channel: ChannelId,
    /// Its key.
    pub key: ItemKey,
    /// The write that made it.
    pub write_id: WriteId,
    /// What kind of copy it is.
    pub flags: ItemFlags,
    /// The members that it may have been sent to; `None`: any of its replica set.
    pub replicas: Option<Vec<String>>,
}

/// Hears the outcome of an append.
pub type Done = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

/// An item to store.
pub struct Append {
    /// The channel.
    pub channel: ChannelId,
    /// The item's key.
    pub key: ItemKey,
    /// The write that made it.
    pub write_id: WriteId,
    /// What kind of copy it is.
    pub flags: ItemFlags,
    /// Its record.
    pub record: Encoded,
    /// Hears the outcome.
    pub done: Done,
}

impl Append {
    /// An append of that item.
    ///
    /// # Errors
    /// [`Malformed`] if the item is larger than the format holds.
    pub fn new(
        channel: ChannelId,
        head: &ItemHead,
        payload: Bytes,
        done: Done,
    ) -> Result<Self, Malformed> {
        Ok(Self {
            channel,
            key: head.key,
            write_id: head.write_id,
            flags: head.flags,
            record: Encoded::item(channel, head, payload)?,
            done,
        })
    }
}

/// An item to remove.
pub struct Removal {
    /// The channel.
    pub channel: ChannelId,
    /// The item's key.
    pub key: ItemKey,
    /// The write that made it.
    pub write_id: WriteId,
    /// Hears the outcome.
    pub done: Done,
}

/// Why an append failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The disk is full. Nothing was stored.
    #[error("the disk is full")]
    Full,
    /// The store failed; whether the item is stored is not known.
    #[error("the store failed: {reason}")]
    Failed {
        /// What happened.
        reason: String,
    },
    /// The store cannot hold such an item. Nothing was stored.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The store has been closed. Nothing was stored.
    #[error("the store is closed")]
    Closed,
}

/// A range of a channel's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The channel.
    pub channel: ChannelId,
    /// The lowest key that may be in it.
    pub from: ItemKey,
    /// The first key above it.
    pub to: ItemKey,
    /// Which way to walk it.
    pub direction: Direction,
    /// How many items to give at the most.
    pub limit: usize,
}

/// An item as it is stored.
#[derive(Debug)]
pub struct StoredItem {
    /// Its key, media type and sizes.
    pub head: ItemHead,
    /// Its payload.
    pub payload: StoredPayload,
}

/// A payload, in memory or to be read part by part.
#[derive(Debug)]
pub enum StoredPayload {
    /// In memory.
    Whole(Bytes),
    /// On disk; its checksum has been verified.
    Large(LargePayload),
}

impl StoredItem {
    /// The item of that number, if this is the record of a bulk insert and was read whole; `None` if
    /// it has fewer.
    ///
    /// # Errors
    /// [`BadPack`] if the record is none of a bulk insert.
    pub fn one(self, number: u32) -> Result<Option<Self>, BadPack> {
        let StoredPayload::Whole(pack) = &self.payload else {
            return Err(BadPack);
        };
        let item = pack::item(pack, number)?;
        Ok(item.map(|item| self.with(item)))
    }

    /// The record's item with that payload.
    pub(super) fn with(self, item: Payload) -> Self {
        let head = ItemHead {
            content_type: item.content_type.map(|kind| kind.as_str().to_owned()),
            size: item.bytes.len() as u64,
            ..self.head
        };
        Self {
            head,
            payload: StoredPayload::Whole(item.bytes),
        }
    }

    /// The payload with its media type, read whole.
    ///
    /// # Errors
    /// What the file says.
    pub fn into_payload(self) -> io::Result<Payload> {
        let bytes = match self.payload {
            StoredPayload::Whole(bytes) => bytes,
            StoredPayload::Large(large) => large.read_all()?,
        };
        let content_type = self
            .head
            .content_type
            .as_deref()
            .and_then(crate::item::ContentType::from_stored);
        Ok(Payload {
            content_type,
            bytes,
        })
    }
}

/// Why the store could not answer.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The answer is on disk, and the caller may not wait for it.
    #[error("the answer is not in memory")]
    NotCached,
    /// The item's record, or the index that names it, is damaged.
    #[error("segment {segment} is damaged at byte {offset}")]
    Damaged {
        /// The segment.
        segment: SegmentId,
        /// Where in the log (0: in its index).
        offset: u64,
    },
    /// Something of that time is damaged, so an item that is not found there may yet exist.
    #[error("segment {segment} has lost records")]
    Incomplete {
        /// The segment.
        segment: SegmentId,
    },
    /// The entry does not stand any more: since it was looked up its item was removed or stored
    /// anew, or has expired. Looking it up again tells which.
    #[error("segment {segment}: the item is not there any more")]
    Gone {
        /// The segment, or another one of its time.
        segment: SegmentId,
    },
    /// The store is being opened or closed, or cannot promise anything now.
    #[error("the store cannot answer now: {reason}")]
    Closed {
        /// Why.
        reason: String,
    },
    /// The disk did not answer.
    #[error("segment {segment}: {source}")]
    Io {
        /// The segment.
        segment: SegmentId,
        /// What the system said.
        source: io::Error,
    },
}

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreStatus {
    /// Why it takes no appends any more, if so.
    pub failed: Option<String>,
    /// Whether appends are refused because the disk is nearly full.
    pub full: bool,
    /// The bytes that the disk has left, as last looked at.
    pub free: u64,
    /// How many items it holds.
    pub items: u64,
    /// The bytes of its files.
    pub bytes: u64,
    /// How many segments.
    pub segments: u64,
    /// How many of them are not sealed yet.
    pub active: u64,
    /// How many damaged ranges of bytes it knows of.
    pub damaged: u64,
    /// Whether everything it ever promised is sure to be there.
    pub intact: bool,
}
