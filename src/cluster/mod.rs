//! The cluster: who is in it, which ring is in force, and the life of this node.
//!
//! [`Coordination`] is what members agree through: memberships, the ring history and channel
//! records. [`EmbeddedCoordination`] keeps all three in the data folder of a hub that is alone.
//! [`RingView`] answers `R(c, k)` and holds the ring horizon; [`join`] brings a node into the ring
//! and keeps its horizon moving; [`Life`] says how far the node has come.

mod archived;
mod clocks;
mod comparing;
mod confirming;
mod coordination;
mod embedded;
mod handle;
mod identity;
mod keeping;
mod life;
mod peers;
mod recovering;
mod ring_file;
mod rings;
mod sightings;
mod view;
mod zookeeper;

pub use clocks::{ClockSample, ClockStanding};
pub use coordination::{
    ArchiveNote, ChannelNews, ChannelRecord, Coordination, CoordinationError, Incarnation,
    KeeperLock, Link, MemberRecord, Tombstone, VersionedRings,
};
pub use embedded::EmbeddedCoordination;
pub use handle::{ChannelBook, Cluster, ClusterError, ClusterSettings, ClusterStatus, NoPeers};
pub use identity::{DataFolder, Identity, IdentityError};
pub use life::{Life, Phase};
pub use peers::{KnownChannels, PeerError, RingPeers, RingService, Vouched};
pub use recovering::RecoverError;
pub use ring_file::RingFileError;
pub use view::{Asked, RingView};
pub use zookeeper::{ZooKeeperCoordination, ZooKeeperSettings};
