//! Reading items that come one after the other, with one look at the index for all of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::directory::Direction;
use super::files::LogFile;
use super::ids::ChannelId;
use super::index::{Entry, ReadMode};
use super::log::Shared;
use super::query::read_item;
use super::segment::{Segment, State};
use super::store::{Range, ReadError, StoredItem, StoredPayload};
use crate::item::ItemKey;

/// Where records stand, by their keys; `None` for what was removed.
type Places = HashMap<ItemKey, Option<(Entry, Arc<Segment>, Arc<dyn LogFile>)>>;

/// The first of some items, as many as have about so many bytes in memory, and at least one.
pub(super) fn first_of(
    keys: &[ItemKey],
    bytes: u64,
    mut get: impl FnMut(&ItemKey) -> Result<Option<StoredItem>, ReadError>,
) -> Vec<Result<Option<StoredItem>, ReadError>> {
    let mut found = Vec::with_capacity(keys.len());
    let mut read = 0;
    for key in keys {
        let item = get(key);
        if let Ok(Some(item)) = &item
            && let StoredPayload::Whole(payload) = &item.payload
        {
            read += payload.len() as u64;
        }
        found.push(item);
        if read >= bytes {
            break;
        }
    }
    found
}

impl Shared {
    /// The first of some items, which are in the order of their keys: as many as have about so many bytes in
    /// memory, and at least one. Waits for the disk.
    pub(super) fn several(
        &self,
        channel: ChannelId,
        keys: &[ItemKey],
        bytes: u64,
        item: impl Fn(&ItemKey) -> Result<Option<StoredItem>, ReadError>,
    ) -> Vec<Result<Option<StoredItem>, ReadError>> {
        let places = self.places(channel, keys);
        first_of(keys, bytes, |key| {
            match places.get(key) {
                Some(None) => return Ok(None),
                Some(Some((entry, segment, log))) => {
                    if let Ok(item) = read_item(log, segment, entry, ReadMode::Blocking) {
                        return Ok(Some(item));
                    }
                }
                None => {}
            }
            // As for one by itself: what is wrong with it is looked into there.
            item(key)
        })
    }

    /// Where these items stand, of the bucket of the first one; what cannot be looked up is left out.
    fn places(&self, channel: ChannelId, keys: &[ItemKey]) -> Places {
        let mut places = Places::new();
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
            return places;
        };
        let bucket = self.directory.bucket(first.millis);
        let end = ItemKey::first_of(self.directory.end(bucket));
        let range = Range {
            channel,
            from: *first,
            to: last.successor().min(end),
            direction: Direction::Ascending,
            limit: usize::MAX,
        };
        for segment in self.in_bucket(bucket) {
            let log = match &*segment.state() {
                State::Active(active) => Arc::clone(&active.file),
                State::Sealed(_) => match self.opened(&segment, ReadMode::Blocking) {
                    Ok(Some(open)) => Arc::clone(&open.log),
                    Ok(None) => continue,
                    Err(_) => return Places::new(),
                },
            };
            let entries = self.range_of(&segment, &range, usize::MAX, ReadMode::Blocking);
            let Ok((entries, _)) = entries else {
                // A later one may say that what an earlier one has was removed.
                return Places::new();
            };
            for entry in entries {
                let place = || (entry, Arc::clone(&segment), Arc::clone(&log));
                match places.get_mut(&entry.key) {
                    None => {
                        places.insert(entry.key, (!entry.removed).then(place));
                    }
                    // The latest one stands, unless any says that it was removed.
                    Some(Some(_)) if !entry.removed => {
                        places.insert(entry.key, Some(place()));
                    }
                    Some(removed) => *removed = None,
                }
            }
        }
        places
    }
}
