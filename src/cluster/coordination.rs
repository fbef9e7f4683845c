//! What members agree through.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use hub_ring::{Member, RingHistory};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{broadcast, watch};

use crate::env::{BootTime, Millis};

/// The order of the runs of one member: a later run has a greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// What a member says of itself while it is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Which run of the member it is.
    pub incarnation: Incarnation,
    /// The address by which other members reach it; `None`: its name has to be looked up.
    #[serde(default)]
    pub ip: Option<IpAddr>,
    /// The port of its listener for other members.
    #[serde(default)]
    pub peer_port: u16,
    /// `host:port` of its public listener, as its answers name it.
    pub public: String,
    /// The URL by which clients reach it, where one is configured.
    #[serde(default)]
    pub public_url: Option<String>,
    /// The hub's version.
    pub version: String,
    /// How far it has come: the name of a phase.
    #[serde(default)]
    pub state: String,
    /// When this run began (UTC milliseconds).
    pub started: i64,
    /// The version of the newest ring map that it held when it registered, 0 for none: no first
    /// ring is made while a member holds a history.
    #[serde(default)]
    pub ring: u64,
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

/// A channel that was deleted, and whose name has not been used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// The number that the channel had.
    pub id: u64,
    /// When it was deleted, by the clock of the node that did.
    pub deleted: Millis,
    /// Counts the deletions; creating a channel goes by it.
    pub version: u64,
}

/// What has become of channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelNews {
    /// The channel of that name (in lower case) was created, changed or deleted.
    Touched(String),
    /// Anything may have: all of them are to be read again.
    Relist,
}

/// Which archive the members write to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveNote {
    /// Where it is, as it was configured.
    pub url: String,
    /// What it says of itself: the number in its marker.
    pub id: String,
}

/// Whether coordination can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Whether it can.
    pub connected: bool,
    /// Since when that has been so, by the boot-time clock.
    pub since: BootTime,
    /// Why not, in words for operators; empty while it can.
    pub why: String,
    /// A later run of this member has registered: this one must not go on.
    pub superseded: Option<Incarnation>,
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
    /// Registers this node, for as long as it runs, however often the connection is lost
    /// meanwhile; called again, replaces what the node says of itself. The number of the run in the
    /// record does not count, the one answered does.
    async fn register(
        &self,
        member: &Member,
        record: MemberRecord,
    ) -> Result<Incarnation, CoordinationError>;

    /// Takes the registration back, and ends what this node has with coordination.
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

    /// What is left of a channel that was deleted, if its name has not been used again.
    async fn tombstone(&self, name: &str) -> Result<Option<Tombstone>, CoordinationError>;

    /// Forgets the channels deleted before a time, by the clocks of the nodes that did; gives their
    /// number.
    async fn forget_tombstones(&self, before: Millis) -> Result<usize, CoordinationError>;

    /// The channels that were deleted and of which the archive may still have something, with when that was
    /// by the clocks of the nodes that did. Each is kept until it is [`forgotten`](Self::forget_deleted).
    async fn deleted_channels(&self) -> Result<BTreeMap<u64, Millis>, CoordinationError>;

    /// Forgets deleted channels of which nothing is left.
    async fn forget_deleted(&self, ids: &[u64]) -> Result<(), CoordinationError>;

    /// Which archive the members write to; `None` if none has been noted.
    async fn archive(&self) -> Result<Option<ArchiveNote>, CoordinationError>;

    /// Notes which archive the members write to from now on.
    async fn set_archive(&self, note: ArchiveNote) -> Result<(), CoordinationError>;

    /// What becomes of channels, from now on.
    fn watch_channels(&self) -> broadcast::Receiver<ChannelNews>;

    /// Creates a channel, in the place of `tombstone` where there is one.
    /// [`CoordinationError::Conflict`] if the channel was deleted (again) since that was read.
    async fn create_channel(
        &self,
        name: &str,
        data: Vec<u8>,
        tombstone: Option<Tombstone>,
    ) -> Result<ChannelRecord, CoordinationError>;

    /// Puts back a channel that was backed up, under its number; later ones get greater numbers.
    /// [`CoordinationError::Exists`] if there is one of its name.
    async fn restore_channel(&self, record: ChannelRecord) -> Result<(), CoordinationError>;

    /// What is being restored here and is not done, in the words of whoever restores it.
    async fn restoring(&self) -> Result<Option<String>, CoordinationError>;

    /// Notes that something is being restored here, or that it is done: no hub starts in between.
    async fn set_restoring(&self, what: Option<String>) -> Result<(), CoordinationError>;

    /// Replaces a channel's configuration, if nobody has since `expected` was read.
    async fn replace_channel(
        &self,
        name: &str,
        expected: u64,
        data: Vec<u8>,
    ) -> Result<ChannelRecord, CoordinationError>;

    /// Deletes a channel, and its document, and notes its number among
    /// [`deleted_channels`](Self::deleted_channels), in one step.
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

    /// Contends for the keeper's lock, and waits until this node has it.
    async fn lock_keeper(&self) -> Result<Box<dyn KeeperLock>, CoordinationError>;

    /// Takes the lock of the node that is about to leave, for as long as this node's session lasts;
    /// gives the name of who has it, if that is another one. `holder` is this node's.
    async fn lock_shutdown(&self, holder: &str) -> Result<Option<String>, CoordinationError>;

    /// Who has that lock.
    async fn shutdown_lock(&self) -> Result<Option<String>, CoordinationError>;

    /// Takes that lock away from whoever has it.
    async fn reset_shutdown_lock(&self) -> Result<(), CoordinationError>;

    /// Whether coordination can be reached.
    fn link(&self) -> watch::Receiver<Link>;

    /// Whether other members go by it too, and so other clocks.
    fn is_shared(&self) -> bool;
}

/// The keeper's lock, held until it is dropped or lost.
#[async_trait]
pub trait KeeperLock: Send + Sync {
    /// The members that are registered and the ring history, read now by the session that holds the
    /// lock. [`CoordinationError::Conflict`] if it is lost.
    async fn observe(
        &self,
    ) -> Result<(BTreeMap<Member, MemberRecord>, VersionedRings), CoordinationError>;

    /// Replaces the ring history, if nobody has since `expected` was read and the lock is still
    /// held; gives the new version.
    async fn replace_rings(
        &self,
        expected: u64,
        history: &RingHistory,
    ) -> Result<u64, CoordinationError>;
}
