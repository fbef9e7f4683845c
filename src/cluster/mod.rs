//! The cluster: who is in it, which ring is in force, and the life of this node.
//!
//! [`Coordination`] is what members agree through: memberships, the ring history and channel
//! records. [`EmbeddedCoordination`] keeps all three in the data folder of a hub that is alone.
//! [`RingView`] answers `R(c, k)` and holds the ring horizon; [`join`] brings a node into the ring
//! and keeps its horizon moving; [`Life`] says how far the node has come.

mod coordination;
mod embedded;
mod identity;
mod life;
mod membership;
mod peers;
mod view;

pub use coordination::{
    ChannelRecord, Coordination, CoordinationError, Incarnation, MemberRecord, VersionedRings,
};
pub use embedded::EmbeddedCoordination;
pub use identity::{DataFolder, Identity, IdentityError};
pub use life::{Life, Phase};
pub use membership::{JoinError, MembershipSettings, join, keep_confirming};
pub use peers::{KnownChannels, PeerError, RingPeers, RingService, Vouched};
pub use view::RingView;
