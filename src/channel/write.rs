//! The write path: from a payload to a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hub_ring::Member;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::registry::Channel;
use super::spoke_handle::LocalReplica;
use crate::cluster::RingView;
use crate::env::{HubClock, Millis, Random};
use crate::item::{ItemKey, Payload};
use crate::spoke::accept::Reason;
use crate::spoke::{ChannelId, KeyPlacement, Write, WriteError, WriteId};

/// Why an insert was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InsertError {
    /// No coordinator could take the write: nothing was stored.
    #[error("{reason}")]
    Unavailable {
        /// Why not.
        reason: String,
        /// The members that would have had to take part.
        missing: Vec<String>,
    },
    /// The coordinator's answer.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The write path of this node.
pub struct Writes {
    view: Arc<RingView>,
    local: Arc<LocalReplica>,
    clock: Arc<HubClock>,
    /// What makes this run's write ids differ from any other's.
    run: u64,
    count: AtomicU64,
    deadline: Duration,
}

impl Writes {
    /// A write path that gives up on a write after `deadline`.
    pub fn new(
        view: Arc<RingView>,
        local: Arc<LocalReplica>,
        clock: Arc<HubClock>,
        random: &dyn Random,
        deadline: Duration,
    ) -> Self {
        Self {
            view,
            local,
            clock,
            run: random.next_u64(),
            count: AtomicU64::new(0),
            deadline,
        }
    }

    /// Inserts an item; gives its key once it is committed.
    ///
    /// # Errors
    /// [`InsertError`]; [`WriteError::Unknown`] if the deadline passes first.
    pub async fn insert(
        &self,
        channel: &Channel,
        payload: Payload,
        idempotency_key: Option<&str>,
    ) -> Result<ItemKey, InsertError> {
        let name = channel.config.name.key();
        let set = self.view.replica_set(name, self.clock.now());
        let coordinator = self.view.own();
        let replica = self.local.get();
        let (true, Some(replica)) = (set.contains(coordinator), replica) else {
            return Err(InsertError::Unavailable {
                reason: "no replica of this channel can take the write now".to_owned(),
                missing: set.iter().map(|m| m.as_str().to_owned()).collect(),
            });
        };
        if set.len() > 1 {
            // Two copies make a write, and there is nobody here to take the second.
            let others = set.iter().filter(|m| *m != coordinator);
            return Err(InsertError::Unavailable {
                reason: "no other replica of this channel is connected".to_owned(),
                missing: others.map(|m| m.as_str().to_owned()).collect(),
            });
        }
        let write = Write {
            channel: channel.id,
            write_id: self.write_id(channel.id, idempotency_key),
            keyed: idempotency_key.is_some(),
            payload,
        };
        let placement = ChannelPlacement {
            view: &self.view,
            channel: name,
            coordinator,
        };
        let writing = replica.coordinate(write, &placement);
        match tokio::time::timeout(self.deadline, writing).await {
            Ok(stored) => Ok(stored?.key),
            Err(_) => Err(WriteError::Unknown {
                reason: "the store did not answer in time".to_owned(),
            }
            .into()),
        }
    }

    /// An id for a write: from the client's key if it gave one, else one that no other write has.
    fn write_id(&self, channel: ChannelId, idempotency_key: Option<&str>) -> WriteId {
        match idempotency_key {
            Some(key) => keyed_write_id(channel, key),
            None => {
                let number = self.count.fetch_add(1, Ordering::Relaxed);
                WriteId(u128::from(self.run) << 64 | u128::from(number))
            }
        }
    }
}

/// Where the keys of one channel may be stored, as the accept rule asks it.
struct ChannelPlacement<'a> {
    view: &'a RingView,
    /// The channel's name in lower case.
    channel: &'a str,
    /// Who stamped the key.
    coordinator: &'a Member,
}

impl KeyPlacement for ChannelPlacement<'_> {
    fn is_placed(&self, key: &ItemKey) -> bool {
        let view = self.view;
        view.is_placed(self.channel, key.millis, self.coordinator)
    }

    fn horizon(&self) -> Millis {
        self.view.horizon()
    }
}

/// The write id of an idempotency key on a channel: the first 128 bits of a SHA-256 of both, so the
/// same on every node and for every try, and no client can make two keys meet.
pub fn keyed_write_id(channel: ChannelId, key: &str) -> WriteId {
    let hash = Sha256::new()
        .chain_update(channel.0.to_be_bytes())
        .chain_update([0])
        .chain_update(key)
        .finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    WriteId(u128::from_be_bytes(id))
}

/// Whether a refusal is the disk's, which a client is told with its own status.
pub fn is_full(error: &InsertError) -> bool {
    matches!(
        error,
        InsertError::Write(WriteError::Full | WriteError::NotNow(Reason::DiskFull))
    )
}
