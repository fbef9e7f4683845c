//! Retention by number: a channel with `maxItems` = n keeps its newest n items.
//!
//! The node that coordinates a channel's writes counts them from time to time and raises the key
//! from which on the channel keeps anything ([`Channel::kept_from`]). Nothing is removed here: no
//! query lists what lies below it, no key finds it, and segments go once nobody keeps any of them.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use thiserror::Error;

use super::read::{Epoch, Query, QueryError, Reads};
use super::registry::{Channel, ChannelError, Channels};
use super::write::Writes;
use crate::cluster::CoordinationError;
use crate::item::ItemKey;
use crate::spoke::Direction;

/// Channels counted at the same time.
const AT_ONCE: usize = 4;
/// How many times a channel is counted again that was changed meanwhile.
const TRIES: usize = 5;

/// Why a channel was not brought down to its number of items.
#[derive(Debug, Error)]
pub enum TrimError {
    /// It keeps its items by another rule.
    #[error("channel {name} has no maxItems")]
    NoLimit {
        /// The channel.
        name: String,
    },
    /// Its items could not be counted.
    #[error("the items could not be counted: {0}")]
    Query(#[from] QueryError),
    /// The channel could not be read or changed.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

/// Sees to it that channels keep no more items than they are to.
pub struct Trimmer {
    channels: Arc<Channels>,
    reads: Arc<Reads>,
    writes: Arc<Writes>,
}

impl Trimmer {
    /// A trimmer; it counts by reading, and sees from the write path what this node coordinates.
    pub fn new(channels: Arc<Channels>, reads: Arc<Reads>, writes: Arc<Writes>) -> Self {
        Self {
            channels,
            reads,
            writes,
        }
    }

    /// Brings every channel that this node coordinates down to its number of items.
    pub async fn trim_led(&self) {
        let mut due = self.channels.list();
        due.retain(|channel| channel.config.max_items > 0 && self.writes.leads(channel));
        let trimming = stream::iter(due).for_each_concurrent(AT_ONCE, async |channel| {
            let name = channel.config.name.as_str();
            match self.trim_counted(&channel).await {
                // Deleted meanwhile, changed meanwhile: the next time comes.
                Ok(_)
                | Err(TrimError::Channel(
                    ChannelError::Missing { .. }
                    | ChannelError::Coordination(CoordinationError::Conflict),
                )) => {}
                Err(error) => {
                    tracing::warn!(%error, channel = name, "a channel keeps more items than maxItems");
                }
            }
        });
        trimming.await;
    }

    /// Brings a channel down to its number of items now; gives it as it is then.
    ///
    /// Items that are not stable yet are not counted, and stay.
    ///
    /// # Errors
    /// [`TrimError`].
    pub async fn trim(&self, name: &str) -> Result<Arc<Channel>, TrimError> {
        let missing = || ChannelError::Missing {
            name: name.to_owned(),
        };
        let mut tries = 0;
        loop {
            // As coordination has it: what was changed on another node may not be known here yet.
            let channel = self.channels.fetch(name).await?.ok_or_else(missing)?;
            tries += 1;
            match self.trim_counted(&channel).await {
                Err(TrimError::Channel(ChannelError::Coordination(
                    CoordinationError::Conflict,
                ))) if tries < TRIES => {}
                other => return other,
            }
        }
    }

    async fn trim_counted(&self, channel: &Arc<Channel>) -> Result<Arc<Channel>, TrimError> {
        let keep = channel.config.max_items as usize;
        if keep == 0 {
            let name = channel.config.name.as_str().to_owned();
            return Err(TrimError::NoLimit { name });
        }
        match self.lowest_kept(channel, keep).await? {
            Some(lowest) => Ok(self.channels.keep_from(channel, lowest).await?),
            None => Ok(Arc::clone(channel)),
        }
    }

    /// The lowest of a channel's newest `keep` items; `None` if there are no others.
    async fn lowest_kept(
        &self,
        channel: &Channel,
        keep: usize,
    ) -> Result<Option<ItemKey>, QueryError> {
        let mut count = Count::new(keep);
        let mut to = None;
        loop {
            let query = Query {
                from: ItemKey::MIN,
                to,
                direction: Direction::Descending,
                limit: count.wanted(),
                stable: true,
                epoch: Epoch::All,
                whole: false,
                records: false,
            };
            let page = self.reads.page(channel, &query).await?;
            to = page.keys.last().copied();
            if let Some(lowest) = count.take(&page.keys) {
                return Ok(Some(lowest));
            }
            if !page.more || to.is_none() {
                return Ok(None);
            }
        }
    }
}

/// Counts a channel's items, the newest first.
#[derive(Debug, Clone, Copy)]
struct Count {
    keep: usize,
    seen: usize,
    lowest: Option<ItemKey>,
}

impl Count {
    /// Nothing is counted yet; `keep`, at least 1, are to be kept.
    fn new(keep: usize) -> Self {
        Self {
            keep,
            seen: 0,
            lowest: None,
        }
    }

    /// How many more are to be seen to know: those to be kept, and one that is not.
    fn wanted(&self) -> usize {
        (self.keep + 1).saturating_sub(self.seen)
    }

    /// Counts the next ones; gives the lowest key to be kept once there is an item below it.
    fn take(&mut self, keys: &[ItemKey]) -> Option<ItemKey> {
        for key in keys {
            self.seen += 1;
            if self.seen > self.keep {
                return self.lowest;
            }
            self.lowest = Some(*key);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::env::Millis;

    proptest! {
        #[test]
        fn the_newest_are_kept_however_they_are_paged(
            times in proptest::collection::btree_set(0i64..1_000, 0..60),
            keep in 1usize..50,
            mut sizes in proptest::collection::vec(1usize..9, 60),
        ) {
            let keys: Vec<ItemKey> = times.iter().rev()
                .map(|time| ItemKey::first_of(Millis::new(*time)))
                .collect();
            let mut count = Count::new(keep);
            let (mut rest, mut found) = (&keys[..], None);
            while !rest.is_empty() && found.is_none() {
                // No more than is asked for, and at times less.
                let size = sizes.pop().unwrap().min(count.wanted()).min(rest.len());
                prop_assert!(size > 0, "more is asked for until it is known");
                let (page, behind) = rest.split_at(size);
                found = count.take(page);
                rest = behind;
            }
            let expected = (keys.len() > keep).then(|| keys[keep - 1]);
            prop_assert_eq!(found, expected);
        }
    }
}
