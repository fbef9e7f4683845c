//! What members agree through.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hub_ring::{Member, RingHistory};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

use crate::env::Millis;

/// The order of the runs of one member: a later run has a greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// What a member says of itself while it is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Which run of the member it is.
    pub incarnation: Incarnation,
    /// The address of its public listener.
    pub public: String,
    /// The hub's version.
    pub version: String,
    /// When this run began.
    pub started: i64,
}

/// A ring history, with the number that compare-and-set goes by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionedRings {
    /// Counts the writes.
    pub version: u64,
    /// The history.
    pub history: Arc<RingHistory>,
}

/// A channel as it is stored: what it says is the business of `channel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRecord {
    /// The name in lower case.
    pub name: String,
    /// Greater each time a channel of that name is created.
    pub id: u64,
    /// Counts the changes; compare-and-set goes by it.
    pub version: u64,
    /// The configuration.
    pub data: Vec<u8>,
}

/// Why coordination did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CoordinationError {
    /// Somebody else has changed it since it was read.
    #[error("changed by somebody else in the meantime")]
    Conflict,
    /// It exists already.
    #[error("exists already")]
    Exists,
    /// It does not exist.
    #[error("does not exist")]
    Missing,
    /// No answer, or one that makes no sense: whether a write was done is not known.
    #[error("coordination is not available: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
}

/// What members agree through: ZooKeeper in a cluster, the data folder of a hub that is alone.
///
/// Every answer is the newest there is, unless it says otherwise; every write has been made durable
/// when it is answered.
#[async_trait]
pub trait Coordination: Send + Sync {
    /// Registers this node, for as long as it runs.
    async fn register(
        &self,
        member: &Member,
        record: MemberRecord,
    ) -> Result<Incarnation, CoordinationError>;

    /// Takes the registration back.
    async fn deregister(&self) -> Result<(), CoordinationError>;

    /// The members that are registered, as they come and go.
    fn members(&self) -> watch::Receiver<Arc<BTreeMap<Member, MemberRecord>>>;

    /// The ring history.
    async fn rings(&self) -> Result<VersionedRings, CoordinationError>;

    /// The ring history as it changes.
    fn watch_rings(&self) -> watch::Receiver<VersionedRings>;

    /// Replaces the ring history, if nobody has since `expected` was read; gives the new version.
    async fn replace_rings(
        &self,
        expected: u64,
        history: &RingHistory,
    ) -> Result<u64, CoordinationError>;

    /// Confirms, by a write, that `version` of the ring history is the newest; gives the time at
    /// which that was written, by the clock of whoever wrote it.
    async fn confirm(&self, version: u64) -> Result<Millis, CoordinationError>;

    /// All channels.
    async fn channels(&self) -> Result<Vec<ChannelRecord>, CoordinationError>;

    /// A channel, by its name in lower case.
    async fn channel(&self, name: &str) -> Result<Option<ChannelRecord>, CoordinationError>;

    /// Creates a channel.
    async fn create_channel(
        &self,
        name: &str,
        data: Vec<u8>,
    ) -> Result<ChannelRecord, CoordinationError>;

    /// Replaces a channel's configuration, if nobody has since `expected` was read.
    async fn replace_channel(
        &self,
        name: &str,
        expected: u64,
        data: Vec<u8>,
    ) -> Result<ChannelRecord, CoordinationError>;

    /// Deletes a channel, and its document.
    async fn delete_channel(&self, name: &str) -> Result<(), CoordinationError>;

    /// A channel's document.
    async fn document(&self, name: &str) -> Result<Option<String>, CoordinationError>;

    /// Sets a channel's document, or deletes it; says whether there was one.
    /// [`CoordinationError::Missing`] if there is no such channel.
    async fn set_document(
        &self,
        name: &str,
        text: Option<String>,
    ) -> Result<bool, CoordinationError>;
}
