//! Reading: the frontier of a channel, and then what is held.

use std::io;
use std::sync::Arc;

use super::Replica;
use crate::env::Millis;
use crate::item::{Frontier, ItemKey};
use crate::spoke::accept::Promises;
use crate::spoke::ids::ChannelId;
use crate::spoke::index::ReadMode;
use crate::spoke::peers::{Report, ReportRequest};
use crate::spoke::store::{Range, ReadError, SpokeStore, StoredItem};

/// What a replica says of an item.
#[derive(Debug)]
pub enum Vote {
    /// It holds it.
    Held(StoredItem),
    /// It holds everything of that time that it ever held, and not this.
    No,
    /// It does not hold everything of that time any more: the archive does.
    Evicted,
}

impl Replica {
    /// The item of that key, also where it is one of a bulk insert; `None` if it is not held. A copy
    /// that is not yet decided counts.
    ///
    /// # Errors
    /// [`ReadError`]: neither "held" nor "not held".
    pub async fn get(
        &self,
        channel: ChannelId,
        key: ItemKey,
    ) -> Result<Option<StoredItem>, ReadError> {
        self.reading(move |store, mode| store.item(channel, &key, mode))
            .await
    }

    /// The first of these items or records, whose keys are in order: as many as have about so many bytes in memory
    /// together, and at least one.
    pub async fn get_some(
        &self,
        channel: ChannelId,
        keys: Vec<ItemKey>,
        bytes: u64,
    ) -> Vec<Result<Option<StoredItem>, ReadError>> {
        let store = Arc::clone(&self.store);
        let reading = tokio::task::spawn_blocking(move || store.several(channel, &keys, bytes));
        reading.await.unwrap_or_else(|error| {
            vec![Err(ReadError::Closed {
                reason: error.to_string(),
            })]
        })
    }

    /// As [`Self::get`], for those who take "not held" for an answer.
    ///
    /// # Errors
    /// As [`Self::get`]; [`ReadError::Closed`] if it is not held and this replica may have forgotten
    /// that it ever was.
    pub async fn vote_on(&self, channel: ChannelId, key: ItemKey) -> Result<Vote, ReadError> {
        // Before it is looked for: what it learns meanwhile may be this very item.
        let votes = self.votes_at(key.millis);
        match self.get(channel, key).await? {
            Some(item) => Ok(Vote::Held(item)),
            None => self.absent(votes, key),
        }
    }

    /// What is said of an item that was looked for and is not held.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if this replica may have forgotten that it ever was.
    pub fn absent(&self, votes: bool, key: ItemKey) -> Result<Vote, ReadError> {
        if !votes {
            return Err(warming());
        }
        // It went up before anything went.
        if key.millis < self.store.holds_from() {
            return Ok(Vote::Evicted);
        }
        Ok(Vote::No)
    }

    /// The time from which on this replica still holds everything that it ever held.
    pub fn holds_from(&self) -> Millis {
        self.store.holds_from()
    }

    /// What it ever held of times before `from` may be missing here, though it is in the archive.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn let_go(&self, from: Millis) -> io::Result<()> {
        if self.store.holds_from() >= from {
            return Ok(());
        }
        let store = Arc::clone(&self.store);
        let written = tokio::task::spawn_blocking(move || store.let_go(from)).await;
        written.map_err(io::Error::other)?
    }

    /// The frontier of a channel, and then what is held of a range.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::Closed`] if no promise can be made now.
    pub async fn report(self: &Arc<Self>, request: &ReportRequest) -> Result<Report, ReadError> {
        let end = request.to.millis.plus(1).min(self.clock.now().plus(1));
        if !self.votes_between(request.from.millis, end) {
            return Err(warming());
        }
        let channel = request.channel.id;
        let frontier = self.frontier(channel).await?;
        let mut report = Report {
            frontier,
            keys: Vec::new(),
            complete_to: None,
            holds_from: self.store.holds_from(),
        };
        if request.limit == 0 {
            return Ok(report);
        }
        let mut to = request.to;
        if !request.undecided {
            // What is above it may be undecided, or may have been when it was taken. Nobody misses it
            // here: what is stable for a reader is covered by the frontiers of a read quorum, and held
            // by one of those.
            to = to.min(frontier.end());
        }
        if request.from >= to {
            return Ok(report);
        }
        let range = Range {
            channel,
            from: request.from,
            to,
            direction: request.direction,
            limit: request.limit,
        };
        let entries = self
            .reading(move |store, mode| store.range(&range, mode))
            .await?;
        // After they were listed: it went up before anything went.
        report.holds_from = self.store.holds_from();
        report.complete_to = match entries.last() {
            Some(last) if entries.len() >= request.limit => Some(last.key),
            _ => None,
        };
        report.keys = entries.iter().map(|entry| entry.key).collect();
        Ok(report)
    }

    /// The frontier of a channel as it is reported to readers.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if no promise can be made now.
    pub async fn frontier(self: &Arc<Self>, channel: ChannelId) -> Result<Frontier, ReadError> {
        loop {
            if self.is_clock_off() {
                return Ok(self.frontier_without_clock(channel));
            }
            let ahead = self.mark_ahead().await;
            ahead.map_err(|error| ReadError::Closed {
                reason: error.to_string(),
            })?;
            if let Some(frontier) = self.try_frontier(channel) {
                return Ok(frontier);
            }
        }
    }

    /// What was promised otherwise than by the clock.
    fn frontier_without_clock(&self, channel: ChannelId) -> Frontier {
        let limits = &self.settings.limits;
        let known = self.channels.read().get(&channel).cloned();
        match known {
            None => Promises::new(self.floor).reported(Millis::MIN, limits),
            Some(promises) => promises.lock().reported(Millis::MIN, limits),
        }
    }

    /// `None` if the clock has passed the mark meanwhile.
    fn try_frontier(&self, channel: ChannelId) -> Option<Frontier> {
        let limits = &self.settings.limits;
        // Before the channel is looked for: whoever adds it later reads a later clock.
        let clock = self.promising(self.clock_below_mark()?);
        let known = self.channels.read().get(&channel).cloned();
        let Some(promises) = known else {
            return Some(Promises::new(self.floor).reported(clock, limits));
        };
        let promises = promises.lock();
        let clock = self.promising(self.clock_below_mark()?);
        Some(promises.reported(clock, limits))
    }

    /// Runs a read where it is: here if it needs no disk, else on a thread that may wait.
    pub(super) async fn reading<T: Send + 'static>(
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

fn warming() -> ReadError {
    ReadError::Closed {
        reason: "the replica is warming: it does not know yet what it had promised".to_owned(),
    }
}
