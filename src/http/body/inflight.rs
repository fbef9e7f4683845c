//! A bound on the bytes that are held at one time, whoever they are of.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// There is no room for more bytes.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("too many bytes are in flight")]
pub struct Full;

/// What a node may hold at one time. Each has its own: clients that read slowly keep none from writing.
#[derive(Debug, Clone)]
pub struct Budgets {
    /// The bytes of requests' bodies.
    pub bodies: Inflight,
    /// The bytes of items that were read from other members, for answers.
    pub answers: Inflight,
    /// The bytes that lists with contents read ahead. Apart from the answers that they wait for.
    pub ahead: Inflight,
}

impl Budgets {
    /// At most that many bytes each.
    pub fn new(bytes: u64) -> Self {
        Self {
            bodies: Inflight::new(bytes),
            answers: Inflight::new(bytes),
            ahead: Inflight::new(bytes),
        }
    }
}

/// A bounded number of bytes in flight.
#[derive(Debug, Clone)]
pub struct Inflight {
    permits: Arc<Semaphore>,
    total: usize,
}

/// One permit stands for this many bytes.
const PERMIT_BYTES: u64 = 1024;

/// A share of the bytes in flight, given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    inflight: Inflight,
    permits: Option<OwnedSemaphorePermit>,
    bytes: u64,
}

impl Inflight {
    /// At most that many bytes.
    pub fn new(bytes: u64) -> Self {
        let total = usize::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(Semaphore::MAX_PERMITS);
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(total)),
            total,
        }
    }

    /// How many bytes are in flight, roughly.
    pub fn bytes(&self) -> u64 {
        (self.total - self.permits.available_permits().min(self.total)) as u64 * PERMIT_BYTES
    }

    /// How many bytes there is room for once nothing else is in flight.
    pub(super) fn most(&self) -> u64 {
        self.total as u64 * PERMIT_BYTES
    }

    /// How many bytes there is room for now.
    pub(super) fn room(&self) -> u64 {
        self.permits.available_permits() as u64 * PERMIT_BYTES
    }

    /// A share of no bytes yet.
    pub fn share(&self) -> Share {
        Share {
            inflight: self.clone(),
            permits: None,
            bytes: 0,
        }
    }

    /// A share of that many bytes as soon as there is room for them, or of all that there are where they
    /// are more. Those who wait are served in turn.
    ///
    /// # Errors
    /// [`Full`], if there is none for that long.
    pub async fn wait(&self, bytes: u64, patience: Duration) -> Result<Share, Full> {
        let bytes = bytes.min(self.most());
        let wanted = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).map_err(|_| Full)?;
        let turn = Arc::clone(&self.permits).acquire_many_owned(wanted);
        match tokio::time::timeout(patience, turn).await {
            Ok(Ok(permits)) => Ok(Share {
                inflight: self.clone(),
                permits: Some(permits),
                bytes,
            }),
            _ => Err(Full),
        }
    }
}

impl Share {
    /// How many bytes there is room for once nothing else is in flight.
    pub(super) fn most(&self) -> u64 {
        self.inflight.most()
    }

    /// Grows to that many bytes.
    ///
    /// # Errors
    /// [`Full`], now: it does not wait.
    pub fn cover(&mut self, bytes: u64) -> Result<(), Full> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let wanted = bytes.div_ceil(PERMIT_BYTES) - self.bytes.div_ceil(PERMIT_BYTES);
        let wanted = u32::try_from(wanted).map_err(|_| Full)?;
        let more = Arc::clone(&self.inflight.permits).try_acquire_many_owned(wanted);
        let more = more.map_err(|_| Full)?;
        match &mut self.permits {
            Some(permits) => permits.merge(more),
            None => self.permits = Some(more),
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Shrinks to that many bytes.
    pub fn give_back_to(&mut self, bytes: u64) {
        let Some(surplus) = self.bytes.checked_sub(bytes) else {
            return;
        };
        let permits = (bytes + surplus).div_ceil(PERMIT_BYTES) - bytes.div_ceil(PERMIT_BYTES);
        let held = self.permits.as_mut();
        // What is split off is given back here.
        drop(held.and_then(|held| held.split(permits as usize)));
        self.bytes = bytes;
    }

    /// The bytes that the share is of: it is given back with the last of them.
    pub fn of(self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() {
            return bytes;
        }
        Bytes::from_owner(Shared {
            bytes,
            _share: self,
        })
    }
}

/// Bytes that hold a share.
struct Shared {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
