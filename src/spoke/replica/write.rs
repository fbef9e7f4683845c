//! Writing: a key for each item, at the serial point of its channel, and then the store.

use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;

use super::keyed::{Attempt, digest};
use super::{KeyPlacement, Replica};
use crate::item::{ItemKey, Payload};
use crate::spoke::accept::{Held, Offer, Promises, Reason, Standing, Verdict, decide};
use crate::spoke::ids::{ChannelId, WriteId};
use crate::spoke::record::{ItemFlags, ItemHead};
use crate::spoke::store::{Append, AppendError};

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

impl Replica {
    /// Coordinates a write: stamps it, stores it, and says under which key once it is safe.
    ///
    /// Cancelling the caller does not cancel the write.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn coordinate(
        self: &Arc<Self>,
        write: Write,
        placement: &dyn KeyPlacement,
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
        // Until the store has it nothing is stored, whatever ends this: the next try is a new one.
        let attempt = write
            .keyed
            .then(|| Attempt::new(&self.dedup, write.write_id));
        let channel = self.channel(write.channel);
        let key = self.stamp(&channel, write.write_id, placement).await?;
        if let Some(attempt) = attempt {
            attempt.handed_over();
        }
        self.store(&channel, key, write, digest).await
    }

    /// Stamps a key and accepts it: the serial point of the channel.
    async fn stamp(
        self: &Arc<Self>,
        channel: &Mutex<Promises>,
        write_id: WriteId,
        placement: &dyn KeyPlacement,
    ) -> Result<ItemKey, WriteError> {
        loop {
            self.mark_ahead().await?;
            if let Some(stamped) = self.try_stamp(channel, write_id, placement) {
                return stamped;
            }
        }
    }

    /// `None` if the clock has passed the mark meanwhile.
    fn try_stamp(
        &self,
        channel: &Mutex<Promises>,
        write_id: WriteId,
        placement: &dyn KeyPlacement,
    ) -> Option<Result<ItemKey, WriteError>> {
        let limits = &self.settings.limits;
        let full = self.store.is_full();
        let mut promises = channel.lock();
        // Read in here: a clock that was read before, and a process that was stopped in between,
        // would stamp a key below what a reader has been promised since.
        let clock = self.clock_below_mark()?;
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
        Some(
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
            },
        )
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
}
