//! Items of the past, which writers put where they belong: straight into the archive, past Spoke.
//!
//! A channel with a mutable time takes them at or below that time, in any order and by many writers at
//! once. Each has an object of its own, so that posting one again puts it in place of the first, and
//! deleting one leaves a mark there that hides whatever copy there may be in Spoke or in the object of a
//! minute.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::registry::{Channel, Channels};
use crate::archive::name::Object;
use crate::archive::object::{ObjectWriter, gone};
use crate::archive::reader::{ArchiveReader, ReadArchiveError, Single};
use crate::archive::store::{Created, Store, StoreError};
use crate::env::Millis;
use crate::item::{ContentType, ItemKey, PastStamps, Payload, Suffix};

/// An object of more bytes is sent part by part.
const AT_ONCE_MAX: usize = 8 << 20;
/// An item of more bytes is compressed where it holds nobody up.
const LARGE: usize = 256 << 10;
/// What a store is taken to take at the least.
const BYTES_PER_SECOND: f64 = 4.0 * 1024.0 * 1024.0;
/// How many stamps are tried before it is said that none is free: after a start the first may not be.
const TRIES: usize = 100;
/// The pause before an item is put again that another try seemed to have put.
const AGAIN: Duration = Duration::from_millis(50);
/// How much earlier than a channel an item must be for there to be no other copy of it: live items are
/// stamped by clocks, and no two differ by as much.
const BEFORE: i64 = 3_600_000;

/// Why an item of the past was not inserted, or not deleted.
#[derive(Debug, Clone, Error)]
pub enum HistoricalError {
    /// The channel takes none: it has no mutable time.
    #[error("historical inserts require a mutableTime on the channel.")]
    NoMutableTime,
    /// Its time is above the channel's mutable time.
    #[error("the time of the item is {at}, after the channel's mutableTime {mutable_time}")]
    TooLate {
        /// The item's time.
        at: Millis,
        /// The channel's.
        mutable_time: Millis,
    },
    /// It would be below what the channel keeps, for which it once gave up items.
    #[error("the channel keeps nothing below {kept_from}: it gave up its items there")]
    GivenUp {
        /// The lowest key that it keeps.
        kept_from: ItemKey,
    },
    /// There is no archive.
    #[error("this hub has no archive")]
    NoArchive,
    /// The archive did not answer: whether it was done is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is there could not be read.
    #[error(transparent)]
    Read(#[from] ReadArchiveError),
    /// The archive took too long: whether it was done is not known.
    #[error("the archive did not answer in time")]
    Slow,
    /// The idempotency key was used before, with another payload.
    #[error("the Idempotency-Key was used for another payload")]
    KeyReused,
    /// Something went wrong inside.
    #[error("{0}")]
    Inside(Arc<io::Error>),
}

/// Where an item of the past is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its time.
    pub at: Millis,
    /// What tells it from others of that time; `None`: the hub chooses.
    pub suffix: Option<Suffix>,
}

/// What is found under a key.
enum There {
    Item(Payload),
    Gone,
    Nothing,
}

/// The write path of items of the past.
pub struct Historical {
    /// `None` without an archive.
    archive: Option<(Arc<Store>, Arc<ArchiveReader>)>,
    channels: Arc<Channels>,
    stamps: PastStamps,
    deadline: Duration,
}

impl Historical {
    /// A write path into an archive, for the hub's clients, who wait for `deadline`.
    pub fn new(
        archive: Option<(Arc<Store>, Arc<ArchiveReader>)>,
        channels: Arc<Channels>,
        stamps: PastStamps,
        deadline: Duration,
    ) -> Self {
        Self {
            archive,
            channels,
            stamps,
            deadline,
        }
    }

    /// Whether a channel takes an item of that time.
    ///
    /// # Errors
    /// [`HistoricalError`] with the reason why not.
    pub fn check(&self, channel: &Channel, at: Millis) -> Result<(), HistoricalError> {
        let mutable_time = channel.config.mutable_time;
        let mutable_time = mutable_time.ok_or(HistoricalError::NoMutableTime)?;
        if at > mutable_time {
            return Err(HistoricalError::TooLate { at, mutable_time });
        }
        let kept_from = self.channels.floor(channel);
        if ItemKey::first_of(at.plus(1)) <= kept_from {
            return Err(HistoricalError::GivenUp { kept_from });
        }
        if self.archive.is_none() {
            return Err(HistoricalError::NoArchive);
        }
        Ok(())
    }

    /// Puts an item where it is to be, in place of one that is there; gives its key.
    ///
    /// With an idempotency key and no suffix, the suffix follows from the key, so that whoever tries again
    /// finds what was put there.
    ///
    /// # Errors
    /// [`HistoricalError`].
    pub async fn insert(
        &self,
        channel: &Channel,
        place: Place,
        payload: &Payload,
        idempotency_key: Option<&str>,
    ) -> Result<ItemKey, HistoricalError> {
        self.check(channel, place.at)?;
        let length = payload.bytes.len();
        let more = Duration::from_secs_f64(length as f64 / BYTES_PER_SECOND);
        let putting = async {
            match (place.suffix, idempotency_key) {
                (Some(suffix), _) => {
                    let key = ItemKey::new(place.at, suffix);
                    let object = self.object(channel, key, payload).await?;
                    self.replace(&Object::Item(key).name(channel.id), object)
                        .await?;
                    Ok(key)
                }
                (None, Some(text)) => {
                    let key = ItemKey::new(place.at, suffix_of(channel, text));
                    self.create_once(channel, key, payload).await
                }
                (None, None) => self.create_somewhere(channel, place.at, payload).await,
            }
        };
        let put = tokio::time::timeout(self.deadline + more, putting).await;
        put.unwrap_or(Err(HistoricalError::Slow))
    }

    /// Deletes an item, whether it exists or not: from now on no read finds it, until it is inserted again.
    ///
    /// # Errors
    /// [`HistoricalError`].
    pub async fn delete(&self, channel: &Channel, key: &ItemKey) -> Result<(), HistoricalError> {
        match self.check(channel, key.millis) {
            // It is not there.
            Err(HistoricalError::GivenUp { .. }) => return Ok(()),
            checked => checked?,
        }
        let (store, _) = self.archive.as_ref().ok_or(HistoricalError::NoArchive)?;
        let name = Object::Item(*key).name(channel.id);
        let deleting = async {
            // Where there was no channel yet, nothing can hide behind the object.
            if key.millis.plus(BEFORE) < channel.config.creation_date {
                store.delete(&[name]).await
            } else {
                store.replace(&name, gone(channel.id)).await
            }
        };
        match tokio::time::timeout(self.deadline, deleting).await {
            Ok(deleted) => Ok(deleted?),
            Err(_) => Err(HistoricalError::Slow),
        }
    }

    /// Puts an item unless it was put there before.
    async fn create_once(
        &self,
        channel: &Channel,
        key: ItemKey,
        payload: &Payload,
    ) -> Result<ItemKey, HistoricalError> {
        for _ in 0..TRIES {
            if self.create(channel, key, payload).await? == Created::Now {
                return Ok(key);
            }
            match self.there(channel, key).await? {
                There::Item(there) if there == *payload => return Ok(key),
                There::Item(_) => return Err(HistoricalError::KeyReused),
                // It was deleted since: then it was there.
                There::Gone => return Ok(key),
                // Another try was on its way, and did not come to its end.
                There::Nothing => tokio::time::sleep(AGAIN).await,
            }
        }
        Err(HistoricalError::Slow)
    }

    /// Puts an item under a stamp that nothing has.
    async fn create_somewhere(
        &self,
        channel: &Channel,
        at: Millis,
        payload: &Payload,
    ) -> Result<ItemKey, HistoricalError> {
        for _ in 0..TRIES {
            let key = self.stamps.stamp(at);
            if self.create(channel, key, payload).await? == Created::Now {
                return Ok(key);
            }
            // A request that was done and not answered is sent again, and finds its own item.
            if matches!(self.there(channel, key).await?, There::Item(there) if there == *payload) {
                return Ok(key);
            }
        }
        Err(inside(io::Error::other(format!("no key is free at {at}"))))
    }

    /// Puts an item unless there is something of its key.
    async fn create(
        &self,
        channel: &Channel,
        key: ItemKey,
        payload: &Payload,
    ) -> Result<Created, HistoricalError> {
        let (store, reader) = self.archive.as_ref().ok_or(HistoricalError::NoArchive)?;
        let name = Object::Item(key).name(channel.id);
        let object = self.object(channel, key, payload).await?;
        if object.len() <= AT_ONCE_MAX {
            return Ok(store.create(&name, object).await?);
        }
        // What is sent part by part takes the place of what is there.
        if !matches!(reader.single(channel.id, &key).await?, Single::Neither) {
            return Ok(Created::Before);
        }
        self.replace(&name, object).await?;
        Ok(Created::Now)
    }

    /// What is under a key.
    async fn there(&self, channel: &Channel, key: ItemKey) -> Result<There, HistoricalError> {
        let (_, reader) = self.archive.as_ref().ok_or(HistoricalError::NoArchive)?;
        Ok(match reader.single(channel.id, &key).await? {
            Single::Item(item) => There::Item(item.into_payload().map_err(inside)?),
            Single::Gone => There::Gone,
            Single::Neither => There::Nothing,
        })
    }

    /// Puts an object, in place of one that may be there.
    async fn replace(&self, name: &str, mut object: Bytes) -> Result<(), HistoricalError> {
        let (store, _) = self.archive.as_ref().ok_or(HistoricalError::NoArchive)?;
        if object.len() <= AT_ONCE_MAX {
            return Ok(store.replace(name, object).await?);
        }
        let mut upload = store.upload(name).await?;
        while !object.is_empty() {
            let part = object.split_to(object.len().min(AT_ONCE_MAX));
            if let Err(error) = upload.put(part).await {
                upload.abandon().await;
                return Err(error.into());
            }
        }
        Ok(upload.end().await?)
    }

    /// The object of an item.
    async fn object(
        &self,
        channel: &Channel,
        key: ItemKey,
        payload: &Payload,
    ) -> Result<Bytes, HistoricalError> {
        let id = channel.id;
        let packed = move |payload: &Payload| {
            let mut writer = ObjectWriter::new(id);
            let kind = payload.content_type.as_ref().map(ContentType::as_str);
            writer.push(key, kind, &payload.bytes)?;
            writer.finish()
        };
        if payload.bytes.len() <= LARGE {
            return packed(payload).map_err(inside);
        }
        let payload = payload.clone();
        let object = tokio::task::spawn_blocking(move || packed(&payload)).await;
        object.map_err(io::Error::other).flatten().map_err(inside)
    }
}

fn inside(error: io::Error) -> HistoricalError {
    HistoricalError::Inside(Arc::new(error))
}

/// The suffix that goes with an idempotency key: 20 characters that no other gives.
fn suffix_of(channel: &Channel, idempotency_key: &str) -> Suffix {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut hash = Sha256::new();
    hash.update(channel.id.0.to_be_bytes());
    hash.update([0]);
    hash.update(idempotency_key.as_bytes());
    let digest = hash.finalize();
    let mut rest = digest.first_chunk().copied().map_or(0, u128::from_be_bytes);
    let mut text = String::with_capacity(20);
    for _ in 0..20 {
        let digit = DIGITS.get((rest % 62) as usize).copied().unwrap_or(b'0');
        text.push(char::from(digit));
        rest /= 62;
    }
    // Twenty letters and digits are a suffix.
    Suffix::parse(&text).unwrap_or(Suffix::EMPTY)
}

#[cfg(test)]
mod tests;
