//! Objects of many records: what is known of them, and kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::future::Cache;
use parking_lot::Mutex;

use super::super::object::{Damaged, FOOTER_LEN, Footer, Index};
use super::super::store::{Store, Which};
use super::ReadArchiveError;
use super::blocks::{Block, Runs};
use super::names::There;

/// An object of up to this many bytes is read whole.
const SMALL: u64 = 1 << 20;
/// One of up to this many, if many of its items are asked for.
const SMALL_IN_A_WALK: u64 = 8 << 20;
/// From so many keys on it counts as a walk.
const MANY_KEYS: usize = 500;
/// How much of the end of another is read at first: of most objects that is all of the index.
const TAIL: (u64, u64) = (64 << 10, 1 << 20);
/// What part of the object that is.
const TAIL_PART: u64 = 16;

/// An object whose index was read.
#[derive(Debug)]
pub(super) struct Known {
    /// What its blocks are kept under.
    pub(super) id: u64,
    pub(super) name: String,
    /// What tells it from another of that name.
    stamp: u64,
    pub(super) index: Index,
    /// What is being fetched of it, and how much was at a time.
    pub(super) runs: Mutex<Runs>,
}

/// Reads objects, and keeps some of what it read.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) store: Arc<Store>,
    indexes: Cache<String, Arc<Known>>,
    /// The last one, however large it is.
    last: Mutex<Option<Arc<Known>>>,
    pub(super) blocks: Cache<(u64, u32), Block>,
    ids: AtomicU64,
}

impl Objects {
    /// Objects of a store; what is read of them is kept up to so many bytes.
    pub(super) fn new(store: Arc<Store>, bytes: u64) -> Self {
        let weight = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let indexes = Cache::builder()
            .max_capacity(bytes / 4)
            .weigher(move |name: &String, known: &Arc<Known>| {
                weight(2 * name.len() + size_of::<Known>() + known.index.weight())
            })
            .build();
        let blocks = Cache::builder()
            .max_capacity(bytes - bytes / 4)
            .weigher(move |_, block: &Block| weight(size_of::<Block>() + block.bytes().len()))
            .build();
        Self {
            store,
            indexes,
            last: Mutex::new(None),
            blocks,
            ids: AtomicU64::new(0),
        }
    }

    /// The object of that name, if it was read before and is kept.
    pub(super) async fn kept(&self, name: &str) -> Option<Arc<Known>> {
        let last = self.last.lock().clone();
        if let Some(last) = last.filter(|last| last.name == name) {
            return Some(last);
        }
        let kept = self.indexes.get(name).await?;
        *self.last.lock() = Some(Arc::clone(&kept));
        Some(kept)
    }

    /// Keeps nothing of the object of that name.
    pub(super) async fn forget(&self, name: &str) {
        self.last.lock().take_if(|last| last.name == name);
        self.indexes.invalidate(name).await;
    }

    /// An object that is listed. `keys`: about how many of its records are asked for.
    pub(super) async fn known(
        &self,
        there: &There,
        keys: usize,
    ) -> Result<Arc<Known>, ReadArchiveError> {
        if let Some(kept) = self.kept(&there.name).await {
            if kept.stamp == there.stamp {
                crate::metric::archive_kept("index", true);
                return Ok(kept);
            }
            self.forget(&there.name).await;
        }
        crate::metric::archive_kept("index", false);
        let read = self.read(there, keys >= MANY_KEYS);
        let read = self.indexes.try_get_with_by_ref(&there.name, read).await;
        let known = read.map_err(|error: Arc<ReadArchiveError>| (*error).clone())?;
        *self.last.lock() = Some(Arc::clone(&known));
        Ok(known)
    }

    async fn read(&self, there: &There, walk: bool) -> Result<Arc<Known>, ReadArchiveError> {
        let name = &there.name;
        let missing = || ReadArchiveError::Missing { name: name.clone() };
        let damaged = |damaged| ReadArchiveError::Damaged {
            name: name.clone(),
            damaged,
        };
        let small = there.size <= if walk { SMALL_IN_A_WALK } else { SMALL };
        let tail = (there.size / TAIL_PART).clamp(TAIL.0, TAIL.1);
        let which = if small { Which::All } else { Which::Last(tail) };
        let read = self.store.read(name, which).await?.ok_or_else(missing)?;
        let footer = Footer::parse(&read.bytes, read.length).map_err(damaged)?;
        let end = read.length - FOOTER_LEN as u64;
        let begin = read.length - read.bytes.len() as u64;
        let index = match footer.index_at.checked_sub(begin) {
            Some(at) => {
                let end = read.bytes.len() - FOOTER_LEN;
                read.bytes.slice(at as usize..end)
            }
            None => {
                let which = Which::These(footer.index_at..end);
                self.store
                    .read(name, which)
                    .await?
                    .ok_or_else(missing)?
                    .bytes
            }
        };
        let index = Index::parse(&index, &footer).map_err(damaged)?;
        index.is_named(name).map_err(damaged)?;
        let known = Arc::new(Known {
            id: self.ids.fetch_add(1, Ordering::Relaxed),
            name: name.clone(),
            stamp: there.stamp,
            index,
            runs: Mutex::default(),
        });
        if begin == 0 {
            self.keep_blocks(&known, 0..known.index.blocks(), 0, &read.bytes)
                .await;
        }
        Ok(known)
    }
}

impl Known {
    /// That it is damaged.
    pub(super) fn damaged(&self, damaged: Damaged) -> ReadArchiveError {
        ReadArchiveError::Damaged {
            name: self.name.clone(),
            damaged,
        }
    }
}
