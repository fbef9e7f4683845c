//! What members say to each other about rings and channels, whatever carries it.

use std::sync::Arc;

use async_trait::async_trait;
use hub_ring::{HistoryMark, Member, RingHistory};
use thiserror::Error;

use super::coordination::{ChannelRecord, Incarnation};
use crate::env::Millis;

/// Why a member could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PeerError {
    /// There is no connection to it: it has not seen the question.
    #[error("{member} is not connected: {reason}")]
    NotConnected {
        /// Who.
        member: Member,
        /// Why.
        reason: String,
    },
    /// The question was sent and no answer came: it may or may not have been acted upon.
    #[error("{member} did not answer: {reason}")]
    NoAnswer {
        /// Who.
        member: Member,
        /// Why.
        reason: String,
    },
    /// What waits for that member takes as much memory as it may: the question was not sent.
    #[error("too much waits for {member}")]
    Overloaded {
        /// Who.
        member: Member,
    },
    /// It refused: the question was not acted upon.
    #[error("{member} refused: {reason}")]
    Refused {
        /// Who.
        member: Member,
        /// Why.
        reason: String,
    },
}

impl PeerError {
    /// Whether the question was certainly not acted upon.
    pub fn is_harmless(&self) -> bool {
        !matches!(self, Self::NoAnswer { .. })
    }
}

/// What a member knows of the rings, said to one that wants to know whether its own history is the
/// newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vouched {
    /// The run of the member that answers.
    pub incarnation: Incarnation,
    /// The newest history that it knows of, one that it has announced and not heard back about
    /// included.
    pub knows: HistoryMark,
    /// Its clock when it answered.
    pub clock: Millis,
    /// What tells whether the two know the same channels: XXH3 of all names, numbers and versions.
    pub channels: u64,
    /// Of times before it, everything that the member ever held is in the archive, and has been for a
    /// while; the lowest time without an archive.
    pub archived_to: Millis,
}

/// The channels that a member knows, and those that it knows to be gone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownChannels {
    /// Those that exist.
    pub channels: Vec<ChannelRecord>,
    /// Names of channels deleted lately, with the number that each one had.
    pub deleted: Vec<(String, u64)>,
}

/// Asks other members about rings and channels.
#[async_trait]
pub trait RingPeers: Send + Sync {
    /// Whether a member answers on the peer link now.
    fn is_connected(&self, member: &Member) -> bool;

    /// Asks a member what it knows of the rings.
    async fn vouch(&self, member: &Member) -> Result<Vouched, PeerError>;

    /// Asks a member for its ring history.
    async fn history(&self, member: &Member) -> Result<Arc<RingHistory>, PeerError>;

    /// Asks a member for its channels.
    async fn channels(&self, member: &Member) -> Result<KnownChannels, PeerError>;
}

/// What a member answers to those questions.
#[async_trait]
pub trait RingService: Send + Sync {
    /// What this node knows of the rings.
    async fn vouch(&self, from: &Member) -> Vouched;

    /// Its ring history.
    async fn history(&self, from: &Member) -> Arc<RingHistory>;

    /// Its channels.
    async fn channels(&self, from: &Member) -> KnownChannels;
}
