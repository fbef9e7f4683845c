//! Reading channels from the archive: what there is in a range, and what an item is.
//!
//! What costs is the number of requests. So the objects of a range are found by their names, and time in
//! which there is nothing is stepped over; of an object its index is read once, and kept; and items that
//! are read one after the other are fetched many at a time. Only what can be overwritten is never
//! kept: the objects of single items.

mod ascending;
mod blocks;
mod descending;
mod item;
mod known;
mod merger;
mod names;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;

use super::name::{Object, hour_len};
use super::object::{Damaged, FOOTER_LEN, Footer, Index, Record};
use super::store::{Store, StoreError, Which};
use crate::env::Millis;
use crate::http::body::{Inflight, Share};
use crate::item::ItemKey;
use crate::spoke::{ChannelId, Direction};

pub use self::item::Single;
use self::known::Objects;
use self::names::Names;

/// How much of an object's end is read at first, in bytes: of most objects that is all of the index, and
/// of small ones all there is.
const TAIL: u64 = 64 * 1024;

/// An object's index; `None` if there is no object of that name.
///
/// # Errors
/// [`StoreError`] if that is not known; what is wrong with the object stands within.
pub async fn index(
    store: &Store,
    name: &str,
) -> Result<Option<Result<Index, Damaged>>, StoreError> {
    let Some(tail) = store.read(name, Which::Last(TAIL)).await? else {
        return Ok(None);
    };
    let footer = match Footer::parse(&tail.bytes, tail.length) {
        Ok(footer) => footer,
        Err(damaged) => return Ok(Some(Err(damaged))),
    };
    let end = tail.length - FOOTER_LEN as u64;
    let missing = tail.length - tail.bytes.len() as u64;
    let bytes = match footer.index_at.checked_sub(missing) {
        Some(at) => tail.bytes.slice(at as usize..tail.bytes.len() - FOOTER_LEN),
        None => match store.read(name, Which::These(footer.index_at..end)).await? {
            Some(part) => part.bytes,
            None => return Ok(None),
        },
    };
    let index = Index::parse(&bytes, &footer);
    Ok(Some(index.and_then(|index| {
        index.is_named(name)?;
        Ok(index)
    })))
}

/// A record's payload; `None` if its object is not there any more.
///
/// # Errors
/// As [`index`].
pub async fn payload(
    store: &Store,
    name: &str,
    index: &Index,
    record: &Record<'_>,
) -> Result<Option<Result<Bytes, Damaged>>, StoreError> {
    let block = store
        .read(name, Which::These(index.block_of(record)))
        .await?;
    Ok(block.map(|block| index.payload(record, &block.bytes)))
}

/// Which records of a channel are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The channel.
    pub channel: ChannelId,
    /// The lowest key that may be in the answer.
    pub from: ItemKey,
    /// The first key above the range.
    pub to: ItemKey,
    /// Which way to walk it.
    pub direction: Direction,
    /// How many keys to give at the most.
    pub limit: usize,
    /// The highest time of which items were ever written past Spoke; `None`: there were none. Above it the
    /// objects of single items hold nothing that those of minutes and hours do not, where both are.
    pub singles_to: Option<Millis>,
}

impl Wanted {
    /// Whether at or after a time there may be single items that no minute and no hour has.
    fn singles_from(&self, at: Millis) -> bool {
        self.singles_to.is_some_and(|to| to >= at)
    }
}

/// What the archive holds of a range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// The keys of records, in the order of the walk: single items', and those of bulk inserts.
    pub keys: Vec<ItemKey>,
    /// Keys of items that were deleted: whoever else holds one of them, or has it in a bulk insert's
    /// record, does not count.
    pub gone: Vec<ItemKey>,
    /// If the limit cut the list: the key up to which it is complete, that one included.
    pub complete_to: Option<ItemKey>,
}

impl Listed {
    /// These keys, in the order of a walk, cut off at the limit.
    fn cut(mut keys: Vec<ItemKey>, gone: Vec<ItemKey>, limit: usize) -> Self {
        keys.truncate(limit);
        let last = keys.last().copied();
        Self {
            complete_to: last.filter(|_| keys.len() >= limit),
            keys,
            gone,
        }
    }
}

/// Why the archive did not answer.
#[derive(Debug, Clone, Error)]
pub enum ReadArchiveError {
    /// The store did not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object is not what was written.
    #[error("{name}: {damaged}")]
    Damaged {
        /// The object.
        name: String,
        /// What is wrong with it.
        damaged: Damaged,
    },
    /// There is no room for the item now: others are on their way to clients.
    #[error(
        "no room for {bytes} bytes of {name}: clients take their time with what they asked for"
    )]
    Full {
        /// The object.
        name: String,
        /// How much of it was wanted.
        bytes: u64,
    },
    /// An object that is listed, or was, is not there.
    #[error("{name} is missing from the archive")]
    Missing {
        /// The object.
        name: String,
    },
}

impl ReadArchiveError {
    /// Whether it may be that an object was taken away, or put in place of another, since it was looked
    /// for.
    fn may_have_moved(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Missing { .. })
    }
}

/// Reads channels from the archive.
#[derive(Debug)]
pub struct ArchiveReader {
    names: Names,
    objects: Objects,
    /// What bounds the large items that are on their way to clients.
    answers: Inflight,
    /// The objects of which it was said that they cannot be read.
    told: Mutex<HashSet<String>>,
}

/// The most objects of which that is noted: after so many it is said again.
const TOLD_MOST: usize = 1000;

/// From so many bytes on an item counts as large.
const LARGE: u64 = 64 << 10;
/// How long is waited for room for one.
const PATIENCE: Duration = Duration::from_secs(10);

impl ArchiveReader {
    /// A reader of a store, which keeps up to so many bytes of what it read in memory. Large items that
    /// are on their way to clients have a bound of their own.
    pub fn new(store: Arc<Store>, cache_bytes: u64, answers: Inflight) -> Self {
        Self {
            answers,
            names: Names::new(Arc::clone(&store), cache_bytes / 16, names::MOMENT),
            objects: Objects::new(store, cache_bytes - cache_bytes / 16),
            told: Mutex::default(),
        }
    }

    /// Tells operators of an object that could not be read: each time it is counted, and once it is named.
    fn told<T>(&self, read: Result<T, ReadArchiveError>) -> Result<T, ReadArchiveError> {
        let (what, name, error) = match &read {
            Err(error @ ReadArchiveError::Damaged { name, .. }) => ("damaged", name, error),
            Err(error @ ReadArchiveError::Missing { name }) => ("missing", name, error),
            _ => return read,
        };
        crate::metric::archive_unreadable(what);
        let mut told = self.told.lock();
        if told.len() >= TOLD_MOST {
            told.clear();
        }
        if told.insert(name.clone()) {
            tracing::error!(%error, "an archived object cannot be read; a backup with items may have it");
        }
        read
    }

    /// Room for an item of that size, as it is and as it stands in the object; `None` if it is not large.
    async fn room(&self, name: &str, bytes: u64) -> Result<Option<Share>, ReadArchiveError> {
        if bytes < LARGE {
            return Ok(None);
        }
        let share = self.answers.wait(bytes.saturating_mul(2), PATIENCE).await;
        let full = |_| ReadArchiveError::Full {
            name: name.to_owned(),
            bytes,
        };
        share.map(Some).map_err(full)
    }

    /// What the archive holds of a range.
    ///
    /// # Errors
    /// [`ReadArchiveError`].
    pub async fn list(&self, wanted: &Wanted) -> Result<Listed, ReadArchiveError> {
        self.told(self.listed_twice(wanted).await)
    }

    async fn listed_twice(&self, wanted: &Wanted) -> Result<Listed, ReadArchiveError> {
        match self.listed(wanted).await {
            // Minutes are taken away once their hour is there.
            Err(error) if error.may_have_moved() => {
                self.names.forget(wanted.channel);
                let listed = self.listed(wanted).await?;
                self.is_accounted_for(error).await?;
                Ok(listed)
            }
            listed => listed,
        }
    }

    /// Whether it is in order that an object is missing that was listed: its items are in that of its hour.
    ///
    /// # Errors
    /// That it is missing, if they are not.
    async fn is_accounted_for(&self, error: ReadArchiveError) -> Result<(), ReadArchiveError> {
        let ReadArchiveError::Missing { name } = &error else {
            return Ok(());
        };
        if let Ok((channel, Object::Minute(start))) = Object::parse(name) {
            let hour = Object::Hour(start.floor_to(hour_len())).name(channel);
            if self
                .objects
                .store
                .read(&hour, Which::Last(1))
                .await?
                .is_some()
            {
                return Ok(());
            }
        }
        Err(error)
    }

    async fn listed(&self, wanted: &Wanted) -> Result<Listed, ReadArchiveError> {
        let wanted = Wanted {
            limit: wanted.limit.max(1),
            ..*wanted
        };
        if wanted.from >= wanted.to {
            return Ok(Listed::default());
        }
        match wanted.direction {
            Direction::Ascending => self.ascending(&wanted).await,
            Direction::Descending => self.descending(&wanted).await,
        }
    }
}

#[cfg(test)]
mod tests;
