//! What came of a write.

use thiserror::Error;

use crate::item::ItemKey;
use crate::spoke::accept::Reason;
use crate::spoke::store::AppendError;

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
        Reason::OldChannel => "the channel is not known here, or it was created anew",
        Reason::DiskFull => "the disk is nearly full",
        Reason::Warming => "the node is warming: it does not know yet what it had promised",
        Reason::ClockOff => "the node's clock is too far from the others'",
        Reason::NoPeer => "no other replica of this channel is connected",
        Reason::NoPayload => "the payload has not arrived",
        Reason::TooLate => "nobody waits for the write any more",
        Reason::Backlog => "too many writes wait for other replicas",
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
