//! Reading: the frontier of a channel, and then what is held.

use std::sync::Arc;

use super::Replica;
use crate::item::{Frontier, ItemKey};
use crate::spoke::accept::Promises;
use crate::spoke::ids::ChannelId;
use crate::spoke::index::{Entry, ReadMode};
use crate::spoke::store::{Range, ReadError, SpokeStore, StoredItem};

/// What a replica answers to a reader of a range.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it promises: taken before the list was made.
    pub frontier: Frontier,
    /// What it holds, in the order of the walk.
    pub entries: Vec<Entry>,
    /// Whether the limit cut the list: then it is complete only to its last key.
    pub cut: bool,
}

impl Replica {
    /// The item of that key; `None` if it is not held. A copy that is not yet decided counts.
    ///
    /// # Errors
    /// [`ReadError`]: neither "held" nor "not held".
    pub async fn get(
        &self,
        channel: ChannelId,
        key: ItemKey,
    ) -> Result<Option<StoredItem>, ReadError> {
        self.reading(move |store, mode| store.get(channel, &key, mode))
            .await
    }

    /// The frontier of a channel, and then what is held of a range.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::Closed`] if no promise can be made now.
    pub async fn report(self: &Arc<Self>, range: Range) -> Result<Report, ReadError> {
        let frontier = self.frontier(range.channel).await?;
        let entries = self
            .reading(move |store, mode| store.range(&range, mode))
            .await?;
        Ok(Report {
            frontier,
            cut: entries.len() >= range.limit,
            entries,
        })
    }

    /// The frontier of a channel as it is reported to readers.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if no promise can be made now.
    pub async fn frontier(self: &Arc<Self>, channel: ChannelId) -> Result<Frontier, ReadError> {
        loop {
            let ahead = self.mark_ahead().await;
            ahead.map_err(|error| ReadError::Closed {
                reason: error.to_string(),
            })?;
            if let Some(frontier) = self.try_frontier(channel) {
                return Ok(frontier);
            }
        }
    }

    /// `None` if the clock has passed the mark meanwhile.
    fn try_frontier(&self, channel: ChannelId) -> Option<Frontier> {
        let limits = &self.settings.limits;
        // Before the channel is looked for: whoever adds it later reads a later clock.
        let clock = self.clock_below_mark()?;
        let known = self.channels.read().get(&channel).cloned();
        let Some(promises) = known else {
            return Some(Promises::new(self.floor).reported(clock, limits));
        };
        let promises = promises.lock();
        Some(promises.reported(self.clock_below_mark()?, limits))
    }

    /// Runs a read where it is: here if it needs no disk, else on a thread that may wait.
    async fn reading<T: Send + 'static>(
        &self,
        read: impl Fn(&dyn SpokeStore, ReadMode) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        match read(&*self.store, ReadMode::Cached) {
            Err(ReadError::NotCached) => {}
            other => return other,
        }
        let store = Arc::clone(&self.store);
        let waiting = tokio::task::spawn_blocking(move || read(&*store, ReadMode::Blocking));
        waiting.await.unwrap_or_else(|error| {
            Err(ReadError::Closed {
                reason: error.to_string(),
            })
        })
    }
}
