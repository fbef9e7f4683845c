//! A replica: the accept rule applied to a store, at one serial point per channel.
//!
//! It stamps keys as a coordinator, keeps its promises, and answers readers with a frontier and
//! what it holds. A key counts as pending from the moment it is stamped until it is stored and
//! readable, so a reader never learns of a frontier past an item that may yet appear below it.

mod keyed;
mod read;
mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use super::accept::{Limits, Promises};
use super::dedup::Dedup;
use super::ids::ChannelId;
use super::store::{AppendError, SpokeStore, StoreStatus};
use crate::env::{HubClock, Millis};
use crate::item::{Frontier, ItemKey, NodeSlot};

pub use read::Report;
pub use write::{Stored, Write, WriteError};

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

/// What the ring says about a write: whether a key may be stored here, and up to which time
/// anything may.
pub trait KeyPlacement: Send + Sync {
    /// Whether this replica, and the coordinator, are in the replica set of the key.
    fn is_placed(&self, key: &ItemKey) -> bool;
    /// The ring horizon: keys at or past it are refused.
    fn horizon(&self) -> Millis;
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

    /// Waits until the mark on disk is ahead of the clock: only then may a promise be made by it.
    async fn mark_ahead(self: &Arc<Self>) -> Result<(), AppendError> {
        loop {
            let now = self.clock.now();
            let mark = self.store.mark();
            if now.plus(MARK_SOON) < mark {
                return Ok(());
            }
            if now < mark {
                // Ask for the next mark before somebody has to wait for it.
                if !self.marking.swap(true, Ordering::AcqRel) {
                    let replica = Arc::clone(self);
                    self.store.advance_mark(Box::new(move |_| {
                        replica.marking.store(false, Ordering::Release);
                    }));
                }
                return Ok(());
            }
            let (answer, marked) = oneshot::channel();
            self.store.advance_mark(Box::new(move |result| {
                // Whoever asked may have gone.
                let _ = answer.send(result);
            }));
            marked.await.map_err(|_| AppendError::Closed)??;
        }
    }

    /// The clock, if a promise may be made by it.
    fn clock_below_mark(&self) -> Option<Millis> {
        let now = self.clock.now();
        (now < self.store.mark()).then_some(now)
    }

    fn channel(&self, id: ChannelId) -> Arc<Mutex<Promises>> {
        if let Some(channel) = self.channels.read().get(&id) {
            return Arc::clone(channel);
        }
        let mut channels = self.channels.write();
        let new = || Arc::new(Mutex::new(Promises::new(self.floor)));
        Arc::clone(channels.entry(id).or_insert_with(new))
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

    /// Stores what is queued and closes the store in order; says whether nothing touches its files
    /// any more. Waits for the disk.
    pub fn close(&self) -> bool {
        self.store.close(self.clock.now())
    }
}

#[cfg(test)]
mod tests;
