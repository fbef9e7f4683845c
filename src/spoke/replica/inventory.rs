//! What is held, listed and handed over for repair and warming.

use std::collections::BTreeMap;
use std::time::Duration;

use hub_ring::Member;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use super::Replica;
use crate::env::Millis;
use crate::item::ItemKey;
use crate::spoke::directory::Direction;
use crate::spoke::ids::ChannelId;
use crate::spoke::index::Entry;
use crate::spoke::peers::{Digest, InventoryLine, ItemBody, PeerItem, PeerPayload};
use crate::spoke::store::{Range, ReadError, StoredItem, StoredPayload};

/// The length of the times that digests stand for, in milliseconds.
pub const MINUTE: i64 = 60_000;
/// The KiB of large payloads that are read whole at a time.
pub(super) const LARGE_KIB: u32 = 256 * 1024;
/// How many entries are listed at a time.
const PAGE: usize = 10_000;

impl Replica {
    /// What is held of a channel between two times, minute by minute.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn digests(
        &self,
        channel: ChannelId,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<Digest>, ReadError> {
        let mut minutes: BTreeMap<Millis, (u64, Xxh3)> = BTreeMap::new();
        let mut bytes = Vec::new();
        let mut at = ItemKey::first_of(from);
        loop {
            let page = self.page(channel, at, to, PAGE).await?;
            for entry in &page {
                let minute = minutes
                    .entry(entry.key.millis.floor_to(MINUTE))
                    .or_default();
                bytes.clear();
                entry.key.write_bytes(&mut bytes);
                // Keys differ in length: the end of one is no part of the next.
                bytes.push(0);
                minute.0 += 1;
                minute.1.update(&bytes);
            }
            match page.last() {
                Some(last) if page.len() >= PAGE => at = last.key.successor(),
                _ => break,
            }
        }
        let digest = |(minute, (items, hash)): (Millis, (u64, Xxh3))| Digest {
            channel,
            minute,
            items,
            hash: hash.digest(),
        };
        Ok(minutes.into_iter().map(digest).collect())
    }

    /// The first time between two of which anything is held of a channel; `None` if nothing is.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn first_held(
        &self,
        channel: ChannelId,
        from: Millis,
        to: Millis,
    ) -> Result<Option<Millis>, ReadError> {
        let first = self.page(channel, ItemKey::first_of(from), to, 1).await?;
        Ok(first.first().map(|entry| entry.key.millis))
    }

    /// The lowest time of what is on its way to the disk, or not decided, of a channel; `None` if nothing is.
    pub fn undecided_from(&self, channel: ChannelId) -> Option<Millis> {
        let promises = self.channels.read().get(&channel).cloned()?;
        let promises = promises.lock();
        promises.pending().next().map(|(key, _)| key.millis)
    }

    /// What is held of a channel from a position on, up to a time: `limit` lines, or fewer if that is
    /// all.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn lines(
        &self,
        channel: ChannelId,
        from: ItemKey,
        to: Millis,
        limit: usize,
    ) -> Result<Vec<InventoryLine>, ReadError> {
        self.stored(channel).await?;
        let (mut lines, mut at) = (Vec::new(), from);
        // What has gone since it was listed leaves room for more: fewer lines would be taken for all.
        while lines.len() < limit {
            let wanted = limit - lines.len();
            let page = self.page(channel, at, to, wanted).await?;
            let last = page.last().map(|entry| entry.key);
            let is_full = page.len() >= wanted;
            for entry in page {
                lines.extend(self.line(channel, &entry).await?);
            }
            match last {
                Some(last) if is_full => at = last.successor(),
                _ => break,
            }
        }
        Ok(lines)
    }

    /// An entry as it is listed; `None` if it is gone.
    async fn line(
        &self,
        channel: ChannelId,
        entry: &Entry,
    ) -> Result<Option<InventoryLine>, ReadError> {
        let own = entry.flags.pending && self.is_undecided(channel, &entry.key);
        if own {
            // Before it is looked whether it is about to go: whoever lets it go looks here after it has
            // said so.
            self.told.lock().insert((channel, entry.key));
        }
        if self.dropping.lock().contains(&(channel, entry.key)) {
            return Ok(None);
        }
        // Removed since it was listed, if it was decided that way: it is gone before it is decided.
        if entry.flags.pending && !own && !self.holds(channel, entry.key).await? {
            return Ok(None);
        }
        let named = if own {
            let item = self.get(channel, entry.key).await?;
            item.map(|item| {
                let names = item.head.replicas.iter();
                names.filter_map(|name| Member::new(name).ok()).collect()
            })
        } else {
            None
        };
        Ok(Some(InventoryLine {
            channel,
            key: entry.key,
            write_id: entry.write_id,
            named,
        }))
    }

    /// Waits until what was accepted so far is on the disk: whoever lists it to learn what it may have
    /// promised must not miss what is about to be acknowledged.
    async fn stored(&self, channel: ChannelId) -> Result<(), ReadError> {
        let under_way = || -> Vec<ItemKey> {
            let known = self.channels.read().get(&channel).cloned();
            let promises = known.as_ref().map(|promises| promises.lock());
            let pending = promises.iter().flat_map(|promises| promises.pending());
            pending
                .filter(|(_, p)| !p.own)
                .map(|(key, _)| *key)
                .collect()
        };
        let mut waiting = under_way();
        let until = Instant::now() + self.settings.patience;
        while !waiting.is_empty() {
            if Instant::now() >= until {
                return Err(ReadError::Closed {
                    reason: "the store does not answer".to_owned(),
                });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            let still = under_way();
            waiting.retain(|key| still.contains(key));
        }
        Ok(())
    }

    fn is_undecided(&self, channel: ChannelId, key: &ItemKey) -> bool {
        let known = self.channels.read().get(&channel).cloned();
        known.is_some_and(|promises| promises.lock().is_pending(key))
    }

    async fn page(
        &self,
        channel: ChannelId,
        from: ItemKey,
        to: Millis,
        limit: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        let range = Range {
            channel,
            from,
            to: ItemKey::first_of(to),
            direction: Direction::Ascending,
            limit,
        };
        self.reading(move |store, mode| store.range(&range, mode))
            .await
    }

    /// An item as it is given to another member; `None` if it is not held.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn item_for_peer(
        &self,
        channel: ChannelId,
        key: ItemKey,
    ) -> Result<Option<PeerItem>, ReadError> {
        let Some(item) = self.get(channel, key).await? else {
            return Ok(None);
        };
        let record = item.head.key;
        let pending = item.head.flags.pending && self.is_undecided(channel, &record);
        if item.head.flags.pending && !pending && !self.holds(channel, record).await? {
            return Ok(None);
        }
        let body = if matches!(item.payload, StoredPayload::Whole(_)) {
            whole(item)?
        } else {
            // Many who ask at once take turns: nobody counts these bytes before they are read.
            let kib = item.head.size.div_ceil(1024).min(LARGE_KIB.into());
            let turn = self
                .large
                .acquire_many(u32::try_from(kib).unwrap_or(LARGE_KIB));
            let _turn = turn.await;
            let reading = tokio::task::spawn_blocking(move || whole(item)).await;
            reading.map_err(|error| ReadError::Closed {
                reason: error.to_string(),
            })??
        };
        Ok(Some(PeerItem { key, pending, body }))
    }
}

fn whole(item: StoredItem) -> Result<ItemBody, ReadError> {
    let head = item.head;
    let bytes = match item.payload {
        StoredPayload::Whole(bytes) => bytes,
        StoredPayload::Large(large) => large.read_all().map_err(|error| ReadError::Closed {
            reason: error.to_string(),
        })?,
    };
    Ok(ItemBody {
        write_id: head.write_id,
        keyed: head.flags.keyed,
        content_type: head.content_type,
        size: head.size,
        digest: head.digest,
        payload: PeerPayload::Inline(bytes),
    })
}
