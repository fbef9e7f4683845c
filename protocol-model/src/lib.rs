//! A model of the hub's protocol, to be explored whole at small sizes and at random beyond.
//!
//! Keys, promises, replica sets and horizons keep the hub's promises only together, under crash,
//! loss, reordering and duplication. No test of one part shows that, and a cluster under faults
//! shows only what happened to happen. So the protocol stands here once more, as small as it can
//! be: nodes, messages that may arrive at any time, in any order, never or twice, clocks that
//! differ, and clients that remember what they were told. Where a rule is a pure function that
//! ships ([`hub::spoke::accept::decide`], [`hub::channel::merge::stable_bound`],
//! [`hub_ring::RingHorizon`], …) the model calls that one.
//!
//! [`config::Config`] says how large a model is; it is a [`stateright::Model`]. [`scopes`] are the
//! sizes that are checked, [`walk`] explores at random, and [`rules::Rule`] are switches: a rule
//! that can be left out without anybody noticing is not checked at all. `docs/model.md` says what
//! is modelled and what was found.

pub mod action;
pub mod check;
pub mod close;
pub mod config;
pub mod key;
mod life;
mod model;
mod random;
mod read;
pub mod report;
mod ring;
pub mod rules;
pub mod scopes;
pub mod state;
mod step;
pub mod walk;
mod write;

pub use config::Config;
pub use random::Random;
pub use rules::{Property, Rule};
