//! The internal protocol: how members ask each other, over HTTP and authenticated.
//!
//! [`PeerServer`] answers with this node's services, [`PeerClient`] asks other members and keeps in
//! touch with them, [`PeerIdentity`] is who this member is to both. `docs/adr/0009-peer-protocol.md`
//! says what goes over the wire and why.
//!
//! What it guarantees: a question reaches only the member and the run of it that it is meant for,
//! from nobody who does not know the cluster's secret, once, and an answer comes from that member
//! and to that question; appends of one sender are taken in their order; an error says whether the
//! question may have been acted upon; whatever one member does, or does not, others are asked as
//! if it were not there, and what waits for it is bounded. What it does not: hide what is said from
//! whoever can read the network.

mod body;
mod client;
mod gets;
mod identity;
mod kind;
mod lane;
mod link;
mod place;
mod replay;
mod resolver;
mod secret;
mod server;
mod state;
mod wire;

pub use client::{PeerClient, PeerClientError, PeerSettings};
pub use identity::PeerIdentity;
pub use link::PeerSnapshot;
pub use resolver::{PeerResolver, ResolverError};
pub use secret::{Secret, SecretError};
pub use server::{PeerServer, PeerServerLimits};
pub use state::PeerState;

#[cfg(test)]
mod tests;
