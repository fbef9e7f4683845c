//! A replica: the accept rule applied to a store, at one serial point per channel.
//!
//! It stamps keys as a coordinator, keeps its promises, and answers readers with a frontier and
//! what it holds. A key counts as pending from the moment it is stamped until it is stored and
//! readable, so a reader never learns of a frontier past an item that may yet appear below it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::sync::oneshot;

use super::accept::{Held, Limits, Offer, Promises, Reason, Standing, Verdict, decide};
use super::dedup::{Dedup, Known};
use super::ids::{ChannelId, WriteId};
use super::index::{Entry, ReadMode};
use super::record::{ItemFlags, ItemHead};
use super::store::{Append, AppendError, Range, ReadError, SpokeStore, StoreStatus, StoredItem};
use crate::env::{HubClock, Millis};
use crate::item::{Frontier, ItemKey, NodeSlot, Payload};

/// The clock mark is asked for anew when the clock is this close to it, in milliseconds.
const MARK_SOON: i64 = 400;

/// What a replica is told when it starts.
#[derive(Debug, Clone, Copy)]
pub struct ReplicaSettings {
    /// The limits of the accept rule.
    pub limits: Limits,
    /// What tells this node's suffixes from another's.
    pub slot: NodeSlot,
    /// How long idempotency keys are remembered, in milliseconds.
    pub dedup_window: i64,
    /// How much memory they may take, in bytes.
    pub dedup_bytes: u64,
    /// How long a write waits for another one with its idempotency key.
    pub patience: Duration,
}

/// A write to coordinate.
pub struct Write {
    /// The channel.
    pub channel: ChannelId,
    /// What stays the same however often it is tried.
    pub write_id: WriteId,
    /// Whether `write_id` comes from a client's idempotency key.
    pub keyed: bool,
    /// What to store.
    pub payload: Payload,
}

/// What the ring says about a write: whether a key may be stored here, and up to which time
/// anything may.
pub trait Placement: Send + Sync {
    /// Whether this replica, and the coordinator, are in the replica set of the key.
    fn is_placed(&self, key: &ItemKey) -> bool;
    /// The ring horizon: keys at or past it are refused.
    fn horizon(&self) -> Millis;
}

/// A write that is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its key.
    pub key: ItemKey,
    /// Whether an earlier try had stored it.
    pub repeated: bool,
}

/// Why a write was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WriteError {
    /// Nothing was stored, for that reason; it may be possible later.
    #[error("{}", reason_text(*.0))]
    NotNow(Reason),
    /// Nothing was stored: the disk is full.
    #[error("the disk is full")]
    Full,
    /// Nothing was stored: the node is stopping or starting.
    #[error("the store is not open")]
    NotOpen,
    /// Nothing was stored: no more idempotency keys can be remembered now.
    #[error("no more idempotency keys can be remembered now")]
    NoRoomForKey,
    /// The idempotency key was used before, with another payload.
    #[error("the idempotency key was used before with another payload")]
    KeyReused,
    /// The item is larger than the store's format holds, or has a time it cannot hold.
    #[error("{0}")]
    Unstorable(String),
    /// Whether it is stored is not known.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

fn reason_text(reason: Reason) -> &'static str {
    match reason {
        Reason::NotPlaced => "this node is not in the channel's replica set",
        Reason::PastHorizon => "this node could not confirm that it knows the newest ring",
        Reason::AheadOfClock => {
            "the node has just started, and its clock has not reached its promises"
        }
        Reason::OldChannel => "the channel was created anew",
        Reason::DiskFull => "the disk is nearly full",
    }
}

impl From<AppendError> for WriteError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full => Self::Full,
            AppendError::Closed => Self::NotOpen,
            AppendError::Refused { reason } => Self::Unstorable(reason),
            AppendError::Failed { reason } => Self::Unknown { reason },
        }
    }
}

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

/// A replica.
pub struct Replica {
    store: Arc<dyn SpokeStore>,
    clock: Arc<HubClock>,
    settings: ReplicaSettings,
    /// All that can have been promised before this run.
    floor: Frontier,
    channels: RwLock<HashMap<ChannelId, Arc<Mutex<Promises>>>>,
    dedup: Dedup,
    marking: AtomicBool,
}

impl Replica {
    /// A replica on a store that was just opened. The caller has waited until the clock had passed
    /// the store's mark.
    pub fn new(
        store: Arc<dyn SpokeStore>,
        clock: Arc<HubClock>,
        settings: ReplicaSettings,
    ) -> Arc<Self> {
        let floor = Frontier::before(store.mark().plus(2 * settings.limits.max_skew));
        let dedup = Dedup::new(settings.dedup_window, settings.dedup_bytes);
        for (channel, key, write_id, _) in store.recent_writes() {
            dedup.stored(write_id, channel, key, key.millis);
        }
        Arc::new(Self {
            store,
            clock,
            settings,
            floor,
            channels: RwLock::default(),
            dedup,
            marking: AtomicBool::new(false),
        })
    }

    /// When it can stamp keys: its clock must be within the skew of what was promised before.
    pub fn coordinates_from(&self) -> Millis {
        self.floor.millis().minus(self.settings.limits.max_skew)
    }

    /// Coordinates a write: stamps it, stores it, and says under which key once it is safe.
    ///
    /// Cancelling the caller does not cancel the write.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn coordinate(
        self: &Arc<Self>,
        write: Write,
        placement: &dyn Placement,
    ) -> Result<Stored, WriteError> {
        let digest = if write.keyed {
            digest(&write.payload)
        } else {
            0
        };
        if write.keyed
            && let Some(stored) = self.earlier_try(&write, digest).await?
        {
            return Ok(stored);
        }
        let channel = self.channel(write.channel);
        let stamped = match self.promised_clock().await {
            Ok(clock) => self.stamp(&channel, write.write_id, clock, placement),
            Err(error) => Err(error.into()),
        };
        match stamped {
            Ok(key) => self.store(&channel, key, write, digest).await,
            Err(error) => {
                // Nothing was stored: the next try is a new one.
                if write.keyed {
                    self.dedup.failed(write.write_id);
                }
                Err(error)
            }
        }
    }

    /// What an earlier try of a keyed write came to; `None` if there was none.
    async fn earlier_try(&self, write: &Write, digest: u128) -> Result<Option<Stored>, WriteError> {
        let waiting = async {
            loop {
                match self.dedup.begin(write.write_id, self.clock.now()) {
                    Known::New => return Ok(None),
                    Known::NoRoom => return Err(WriteError::NoRoomForKey),
                    Known::Stored(channel, key) => {
                        return self.same_payload(channel, key, digest).await.map(Some);
                    }
                    Known::Undecided(notify) => {
                        let ended = notify.notified();
                        tokio::pin!(ended);
                        ended.as_mut().enable();
                        // It may have ended before this one listened.
                        let again = self.dedup.begin(write.write_id, self.clock.now());
                        match again {
                            Known::Undecided(_) => ended.await,
                            Known::New => return Ok(None),
                            _ => {}
                        }
                    }
                }
            }
        };
        let waited = tokio::time::timeout(self.settings.patience, waiting).await;
        waited.unwrap_or_else(|_| {
            Err(WriteError::Unknown {
                reason: "an earlier try of this write is not decided".to_owned(),
            })
        })
    }

    async fn same_payload(
        &self,
        channel: ChannelId,
        key: ItemKey,
        digest: u128,
    ) -> Result<Stored, WriteError> {
        let unknown = |error: ReadError| WriteError::Unknown {
            reason: error.to_string(),
        };
        match self.get(channel, key).await.map_err(unknown)? {
            Some(item) if item.head.digest != digest => Err(WriteError::KeyReused),
            // Gone again, with its channel: the key it had is still the answer.
            _ => Ok(Stored {
                key,
                repeated: true,
            }),
        }
    }

    /// Stamps a key and accepts it: the serial point of the channel.
    fn stamp(
        &self,
        channel: &Mutex<Promises>,
        write_id: WriteId,
        clock: Millis,
        placement: &dyn Placement,
    ) -> Result<ItemKey, WriteError> {
        let limits = &self.settings.limits;
        let full = self.store.is_full();
        let mut promises = channel.lock();
        let key = promises.stamp(clock, limits, self.settings.slot);
        let offer = Offer { key, write_id };
        let standing = Standing {
            clock,
            horizon: placement.horizon(),
            placed: placement.is_placed(&key),
            current: true,
            full,
        };
        let frontier = promises.frontier(clock, limits);
        match decide(&offer, &Held::No, &frontier, &standing, limits) {
            Verdict::Accept => {
                promises.accept(key, write_id);
                Ok(key)
            }
            Verdict::NotNow(reason) => Err(WriteError::NotNow(reason)),
            // A key just stamped is above the frontier, and its write is held nowhere.
            other => Err(WriteError::Unstorable(format!(
                "{key} was judged {other:?}"
            ))),
        }
    }

    /// Stores an item under the key that was accepted for it.
    async fn store(
        self: &Arc<Self>,
        channel: &Arc<Mutex<Promises>>,
        key: ItemKey,
        write: Write,
        digest: u128,
    ) -> Result<Stored, WriteError> {
        let Payload {
            content_type,
            bytes,
        } = write.payload;
        let head = ItemHead {
            key,
            write_id: write.write_id,
            // The only copy there is to be is its own proof.
            flags: ItemFlags {
                pending: false,
                keyed: write.keyed,
            },
            content_type: content_type.map(|t| t.as_str().to_owned()),
            size: bytes.len() as u64,
            digest,
            replicas: Vec::new(),
        };
        let keyed = write.keyed.then_some(write.write_id);
        let (answer, outcome) = oneshot::channel();
        let (replica, promises, channel_id) =
            (Arc::clone(self), Arc::clone(channel), write.channel);
        let done = Box::new(move |result: Result<(), AppendError>| {
            replica.decided(&promises, channel_id, key, keyed, &result);
            // The client may have gone: its item is stored all the same.
            let _ = answer.send(result);
        });
        match Append::new(channel_id, &head, bytes, done) {
            Ok(append) => self.store.append(append),
            Err(error) => {
                let reason = error.to_string();
                let refused = Err(AppendError::Refused { reason });
                self.decided(channel, channel_id, key, keyed, &refused);
                return Err(WriteError::Unstorable(error.to_string()));
            }
        }
        let gone = || AppendError::Failed {
            reason: "the store went away".to_owned(),
        };
        outcome.await.unwrap_or_else(|_| Err(gone()))?;
        Ok(Stored {
            key,
            repeated: false,
        })
    }

    /// The store has answered for a key.
    fn decided(
        &self,
        channel: &Mutex<Promises>,
        channel_id: ChannelId,
        key: ItemKey,
        keyed: Option<WriteId>,
        outcome: &Result<(), AppendError>,
    ) {
        match outcome {
            Ok(()) => {
                if let Some(id) = keyed {
                    self.dedup.stored(id, channel_id, key, self.clock.now());
                }
            }
            // Nobody knows: it stays pending until the store has been opened again.
            Err(AppendError::Failed { .. }) => return,
            Err(_) => {
                if let Some(id) = keyed {
                    self.dedup.failed(id);
                }
            }
        }
        channel.lock().decided(&key);
    }

    /// The clock, once the mark on disk is past it: only then may a promise be made by it.
    async fn promised_clock(self: &Arc<Self>) -> Result<Millis, AppendError> {
        loop {
            let now = self.clock.now();
            let mark = self.store.mark();
            if now.plus(MARK_SOON) < mark {
                return Ok(now);
            }
            if now < mark {
                // Ask for the next mark before somebody has to wait for it.
                if !self.marking.swap(true, Ordering::AcqRel) {
                    let replica = Arc::clone(self);
                    self.store.advance_mark(Box::new(move |_| {
                        replica.marking.store(false, Ordering::Release);
                    }));
                }
                return Ok(now);
            }
            let (answer, marked) = oneshot::channel();
            self.store.advance_mark(Box::new(move |result| {
                // Whoever asked may have gone.
                let _ = answer.send(result);
            }));
            marked.await.map_err(|_| AppendError::Closed)??;
        }
    }

    fn channel(&self, id: ChannelId) -> Arc<Mutex<Promises>> {
        if let Some(channel) = self.channels.read().get(&id) {
            return Arc::clone(channel);
        }
        let mut channels = self.channels.write();
        let new = || Arc::new(Mutex::new(Promises::new(self.floor)));
        Arc::clone(channels.entry(id).or_insert_with(new))
    }

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
        let clock = self
            .promised_clock()
            .await
            .map_err(|error| ReadError::Closed {
                reason: error.to_string(),
            })?;
        let limits = &self.settings.limits;
        let known = self.channels.read().get(&channel).cloned();
        Ok(match known {
            Some(promises) => promises.lock().reported(clock, limits),
            None => Promises::new(self.floor).reported(clock, limits),
        })
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

    /// Forgets channels of which the clock alone promises as much.
    pub fn forget_idle(&self) {
        let clock = self.clock.now().min(self.store.mark());
        self.channels.write().retain(|_, promises| {
            // Somebody who holds it may be about to stamp.
            Arc::strong_count(promises) > 1
                || !promises.lock().is_idle(clock, &self.settings.limits)
        });
    }

    /// The writes that are not decided: how many, and the lowest key among them.
    pub fn undecided(&self) -> (u64, Option<ItemKey>) {
        let channels: Vec<_> = self.channels.read().values().cloned().collect();
        let mut count = 0;
        let mut lowest: Option<ItemKey> = None;
        for promises in channels {
            for (key, _) in promises.lock().pending() {
                count += 1;
                lowest = Some(lowest.map_or(*key, |low| low.min(*key)));
            }
        }
        (count, lowest)
    }

    /// How the store is.
    pub fn status(&self) -> StoreStatus {
        self.store.status()
    }

    /// Why the store takes no more appends, if so.
    pub fn failure(&self) -> Option<String> {
        self.store.failure()
    }

    /// Stores what is queued and closes the store in order. Waits for the disk.
    pub fn close(&self) {
        self.store.close(self.clock.now());
    }
}

/// What tells one payload from another under the same idempotency key: the first 128 bits of a
/// SHA-256 of the media type and the bytes.
fn digest(payload: &Payload) -> u128 {
    let content_type = payload.content_type.as_ref().map_or("", |t| t.as_str());
    let hash = Sha256::new()
        .chain_update(content_type)
        .chain_update([0])
        .chain_update(&payload.bytes)
        .finalize();
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash[..16]);
    u128::from_be_bytes(digest)
}

#[cfg(test)]
mod tests;
